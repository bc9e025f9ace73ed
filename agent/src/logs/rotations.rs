//! A file's earlier selves, by their names: `0.log.20260101-101500`, packed ones with `.gz` behind it, and logrotate's
//! `app.log.1`. Names tell the order, not times: a file may be written to after it was renamed.

use std::path::{Path, PathBuf};

/// One rotation: the name without `.gz`, and the file that has it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rotation {
    age: (i64, String),
    pub path: PathBuf,
}

impl Rotation {
    /// The name behind the base, as positions remember it.
    pub fn suffix(&self) -> &str {
        &self.age.1
    }

    /// Dates stay with their file; numbers wander from file to file.
    pub fn is_dated(&self) -> bool {
        self.age.0 == 0
    }

    pub fn is_packed(&self) -> bool {
        self.path.extension().is_some_and(|extension| extension == "gz")
    }
}

/// Longer ones are dates.
const NUMBER_DIGITS_MAX: usize = 4;

/// The oldest first. For a moment a file is there packed and not: it is one, and the one that is not packed is whole.
/// What ends in `.tmp` is not finished, and what is no file or leads to none has no lines.
pub fn all(path: &Path, with_packed: bool) -> Vec<Rotation> {
    let (Some(folder), Some(base)) = (path.parent(), path.file_name().and_then(|name| name.to_str())) else {
        return vec![];
    };
    let mut found = vec![];
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let Some(name) = name.to_str() else { continue };
        let bare = if with_packed { name.strip_suffix(".gz").unwrap_or(name) } else { name };
        if is_rotation_of(bare, base) && entry.path().is_file() {
            found.push(Rotation { age: age(bare, base), path: entry.path() });
        }
    }
    found.sort();
    // Of two of one name the shorter path sorts first: the plain one.
    found.dedup_by(|later, earlier| later.age == earlier.age);
    found
}

/// `app.log.1`, `app.log-20260101`, `0.log.20260101-101500`.
pub fn is_rotation_of(name: &str, base: &str) -> bool {
    let rest = name.strip_prefix(base).and_then(|rest| rest.strip_prefix(['.', '-']));
    rest.is_some_and(|rest| {
        !rest.is_empty() && rest.bytes().all(|b| b.is_ascii_digit() || b"-_.T".contains(&b))
    })
}

/// Smaller is older: `app.log.2` is older than `app.log.1`, and numbers are not mixed with dates, whose order is theirs.
fn age(name: &str, base: &str) -> (i64, String) {
    let rest = &name[base.len().min(name.len())..];
    let digits = &rest[rest.len().min(1)..];
    let is_number = digits.len() <= NUMBER_DIGITS_MAX && digits.bytes().all(|byte| byte.is_ascii_digit());
    let number = if is_number { digits.parse::<i64>().unwrap_or(0) } else { 0 };
    (-number, rest.to_owned())
}
