//! A tenant's name. It becomes a folder, a catalog column and a header value, so only what is safe in all three is
//! accepted: letters, digits and `!-_.*'()`, at most 150 bytes, as Loki, Mimir and Tempo accept.

use std::fmt;
use std::sync::Arc;

/// Whose data a record is. Comparing two is comparing their names.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Tenant(Arc<str>);

#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum InvalidTenant {
    #[error("tenant name is empty; leave the X-Scope-OrgID header out to use `default`")]
    Empty,
    #[error("tenant name has {0} bytes; the longest is 150")]
    TooLong(usize),
    #[error("tenant name {0:?} has the character {1:?}; letters, digits and !-_.*'() are allowed")]
    Character(String, char),
    #[error("tenant name {0:?} is reserved")]
    Reserved(String),
}

impl Tenant {
    pub const BYTES_MAX: usize = 150;

    pub fn new(name: &str) -> Result<Tenant, InvalidTenant> {
        if name.is_empty() {
            return Err(InvalidTenant::Empty);
        }
        if name.len() > Self::BYTES_MAX {
            return Err(InvalidTenant::TooLong(name.len()));
        }
        if let Some(bad) = name.chars().find(|c| !(c.is_ascii_alphanumeric() || "!-_.*'()".contains(*c))) {
            return Err(InvalidTenant::Character(name.to_owned(), bad));
        }
        // `.` and `..` would walk out of the tenant's folder.
        if name == "." || name == ".." {
            return Err(InvalidTenant::Reserved(name.to_owned()));
        }
        Ok(Tenant(name.into()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for Tenant {
    fn default() -> Self {
        Tenant("default".into())
    }
}

impl fmt::Display for Tenant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Tenant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tenant({})", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_leave_the_folder_are_refused() {
        for bad in ["", ".", "..", "a/b", "a\\b", "ü", "a b"] {
            assert!(Tenant::new(bad).is_err(), "{bad:?}");
        }
        assert!(Tenant::new(&"x".repeat(151)).is_err());
        for good in ["default", "team-a", "1", "a.b", "x_(y)!"] {
            assert_eq!(Tenant::new(good).unwrap().as_str(), good);
        }
    }
}
