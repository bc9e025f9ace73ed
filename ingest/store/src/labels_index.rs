//! Which series have which label: postings as bitmaps, so that matchers become a set of ids before any sample is read.

use crate::hash::BytesHasher;
use model::{Labels, Match, Matcher};
use roaring::RoaringBitmap;
use std::collections::{BTreeSet, HashMap};
use std::hash::BuildHasherDefault;

type Map<T> = HashMap<String, T, BuildHasherDefault<BytesHasher>>;

/// Ids are 0, 1, 2, … in the order of adding.
#[derive(Default)]
pub struct LabelsIndex {
    postings: Map<Map<RoaringBitmap>>,
    count: u32,
}

impl LabelsIndex {
    pub fn add(&mut self, labels: &Labels) -> u32 {
        let id = self.count;
        self.count += 1;
        for (name, value) in labels.iter() {
            let values = match self.postings.get_mut(name) {
                Some(values) => values,
                None => self.postings.entry(name.to_owned()).or_default(),
            };
            match values.get_mut(value) {
                Some(ids) => {
                    ids.insert(id);
                }
                None => {
                    values.insert(value.to_owned(), RoaringBitmap::from_iter([id]));
                }
            }
        }
        id
    }

    /// The names with the most values, the largest first.
    pub fn largest(&self, count: usize) -> Vec<(&str, usize)> {
        let mut all: Vec<(&str, usize)> =
            self.postings.iter().map(|(name, values)| (name.as_str(), values.len())).collect();
        all.sort_unstable_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(b.0)));
        all.truncate(count);
        all
    }

    /// Ids of the sets that pass all matchers.
    pub fn select(&self, matchers: &[Matcher]) -> RoaringBitmap {
        let mut selected: Option<RoaringBitmap> = None;
        for matcher in matchers {
            let passing = self.passing(matcher);
            selected = Some(match selected {
                None => passing,
                Some(earlier) => earlier & passing,
            });
        }
        selected.unwrap_or_else(|| self.all())
    }

    /// Names that one of the sets has.
    pub fn names(&self, ids: &RoaringBitmap, into: &mut BTreeSet<String>) {
        for (name, values) in &self.postings {
            if !into.contains(name) && values.values().any(|with_value| !with_value.is_disjoint(ids)) {
                into.insert(name.clone());
            }
        }
    }

    /// Values of a name that one of the sets has.
    pub fn values(&self, name: &str, ids: &RoaringBitmap, into: &mut BTreeSet<String>) {
        for (value, with_value) in self.postings.get(name).into_iter().flatten() {
            if !into.contains(value) && !with_value.is_disjoint(ids) {
                into.insert(value.clone());
            }
        }
    }

    fn all(&self) -> RoaringBitmap {
        let mut all = RoaringBitmap::new();
        all.insert_range(0..self.count);
        all
    }

    fn passing(&self, matcher: &Matcher) -> RoaringBitmap {
        let values = self.postings.get(&matcher.name);
        if matcher.op == Match::Equal && !matcher.value.is_empty() {
            return values.and_then(|values| values.get(&matcher.value)).cloned().unwrap_or_default();
        }
        // A set without the label passes where "" does: then the ids that fail are taken from all.
        let wanted = !matcher.matches("");
        let mut ids = RoaringBitmap::new();
        for (value, with_value) in values.into_iter().flatten() {
            if matcher.matches(value) == wanted {
                ids |= with_value;
            }
        }
        if wanted { ids } else { self.all() - ids }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn postings_agree_with_looking_at_each_set() {
        let sets: Vec<Labels> = (0..50)
            .map(|n| {
                let job = format!("job-{}", n % 7);
                Labels::from_pairs([
                    ("n", n.to_string().as_str()),
                    (if n % 3 == 0 { "job" } else { "other" }, &job),
                ])
            })
            .collect();
        let mut index = LabelsIndex::default();
        sets.iter().for_each(|labels| {
            index.add(labels);
        });
        let matchers = [
            Matcher::equal("job", "job-3"),
            Matcher::equal("job", ""),
            Matcher::new("job", Match::NotEqual, "job-3").unwrap(),
            Matcher::new("job", Match::NotEqual, "").unwrap(),
            Matcher::new("job", Match::Regex, "job-[12]|").unwrap(),
            Matcher::new("n", Match::Regex, "1.*").unwrap(),
            Matcher::new("job", Match::NotRegex, "job-.*").unwrap(),
            Matcher::equal("absent", "x"),
        ];
        for first in &matchers {
            for second in &matchers {
                let both = [first.clone(), second.clone()];
                let expected: Vec<u32> = (0..50)
                    .filter(|n| both.iter().all(|matcher| matcher.matches_labels(&sets[*n as usize])))
                    .collect();
                assert_eq!(index.select(&both).iter().collect::<Vec<_>>(), expected, "{both:?}");
            }
        }
    }
}
