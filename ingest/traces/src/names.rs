//! Names of spans, told apart as long as there are few. A sender that puts an id into each name would make a series of
//! each request: names that differ in words with a digit alone are clustered, and what is still too much is one.

use foldhash::{HashMap, HashMapExt};

/// What stands for names, services and edges beyond the bounds, as in Tempo.
pub(crate) const OVERFLOW: &str = "__cardinality_overflow__";
/// Names alike but for their numbers; the next is one with all further ones.
const ALIKE_MAX: u32 = 20;
/// Names of one service.
const NAMES_MAX: usize = 500;
const ANY: &str = "<_>";

/// The names of one service, each with what belongs to it.
pub(crate) struct Names<T> {
    known: HashMap<Box<str>, T>,
    /// How many names share a shape.
    alike: HashMap<Box<str>, u32>,
}

impl<T> Default for Names<T> {
    fn default() -> Names<T> {
        Names { known: HashMap::new(), alike: HashMap::new() }
    }
}

impl<T: Default> Names<T> {
    /// Calls `found` with what belongs to the name and with the name that stands for it.
    pub fn of<R>(&mut self, name: &str, found: impl FnOnce(&mut T, &str) -> R) -> R {
        if let Some(known) = self.known.get_mut(name) {
            return found(known, name);
        }
        let shape = shape(name);
        let clustered =
            shape.as_deref().filter(|shape| self.alike.get(*shape).is_some_and(|n| *n >= ALIKE_MAX));
        let stands = clustered.unwrap_or(name);
        let stands = match self.known.len() < NAMES_MAX || self.known.contains_key(stands) {
            true => stands,
            false => OVERFLOW,
        };
        if stands == name
            && let Some(shape) = &shape
        {
            *self.alike.entry(shape.as_str().into()).or_default() += 1;
        }
        found(self.known.entry(stands.into()).or_default(), stands)
    }

    /// Forgets names of which nothing is kept.
    pub fn retain(&mut self, mut keep: impl FnMut(&mut T) -> bool) {
        let alike = &mut self.alike;
        self.known.retain(|name, of| {
            let kept = keep(of);
            if !kept
                && let Some(shape) = shape(name)
                && let Some(count) = alike.get_mut(shape.as_str())
            {
                *count = count.saturating_sub(1);
            }
            kept
        });
        alike.retain(|_, count| *count > 0);
    }

    pub fn is_empty(&self) -> bool {
        self.known.is_empty()
    }
}

/// The name with each word that holds a digit as [`ANY`]; `None` where there is none. A version as in `/v1/` is none.
fn shape(name: &str) -> Option<String> {
    if !name.bytes().any(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let mut shape = String::with_capacity(name.len());
    let mut varies = false;
    for part in name.split_inclusive(|c: char| !is_word(c)) {
        let word = part.trim_end_matches(|c: char| !is_word(c));
        let version =
            word.len() <= 3 && word.starts_with('v') && word[1..].bytes().all(|b| b.is_ascii_digit());
        if word.bytes().any(|byte| byte.is_ascii_digit()) && !version {
            varies = true;
            shape.push_str(ANY);
            shape.push_str(&part[word.len()..]);
        } else {
            shape.push_str(part);
        }
    }
    varies.then_some(shape)
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '_' | '-' | '.')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stands(names: &mut Names<u32>, name: &str) -> String {
        names.of(name, |count, stands| {
            *count += 1;
            stands.to_owned()
        })
    }

    #[test]
    fn names_with_ids_are_clustered_and_others_are_not() {
        let mut names = Names::default();
        for id in 0..ALIKE_MAX {
            assert_eq!(stands(&mut names, &format!("GET /v1/users/{id}")), format!("GET /v1/users/{id}"));
        }
        assert_eq!(stands(&mut names, "GET /v1/users/7000"), "GET /v1/users/<_>");
        assert_eq!(stands(&mut names, "GET /v1/users/4f2a-11"), "GET /v1/users/<_>");
        assert_eq!(stands(&mut names, "GET /v1/users/3"), "GET /v1/users/3", "what was told apart stays so");
        assert_eq!(stands(&mut names, "GET /v1/users"), "GET /v1/users");
        // What has gone makes room.
        names.retain(|_| false);
        assert!(names.is_empty() && names.alike.is_empty());
        assert_eq!(stands(&mut names, "GET /v1/users/7001"), "GET /v1/users/7001");
    }

    #[test]
    fn names_without_end_are_one() {
        let mut names = Names::default();
        for at in 0..2 * NAMES_MAX {
            let word: String = at.to_string().bytes().map(|b| (b - b'0' + b'a') as char).collect();
            stands(&mut names, &word);
        }
        assert_eq!(stands(&mut names, "yet another"), OVERFLOW);
        assert!(names.known.len() <= NAMES_MAX + 1);
        assert_eq!(names.known[OVERFLOW], NAMES_MAX as u32 + 1);
    }
}
