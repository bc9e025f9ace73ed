//! What was said of the members of two sets, and by what of it they differ.
//!
//! Things are ranked by the phi coefficient: 1 where one holds for all of one set and none of the other, 0 where it is as
//! frequent in both. What a resource says is said once more of its service alone: one bad node or version of a service is not
//! seen where others run on the same node, or have a version by the same name.

use foldhash::fast::RandomState;
use std::collections::{HashMap, HashSet};

/// What was said of one member of a set before.
pub(super) type Said = HashSet<u32, RandomState>;

/// Distinct things that are remembered; ids would otherwise fill the memory.
const THINGS_MAX: usize = 200_000;
/// A text longer than this is no value that anybody compares.
pub(super) const VALUE_CHARS_MAX: usize = 200;
const DIFFERENCES_MAX: usize = 50;
/// How many standard deviations the shares must differ by.
const SIGNIFICANT: f64 = 3.0;
/// So many members of both sets together differ in nothing that may not be chance.
const FEW: usize = (SIGNIFICANT * SIGNIFICANT) as usize;

/// One thing that is more frequent in one of the two sets.
#[derive(Clone, Debug, PartialEq)]
pub struct Difference {
    pub attribute: String,
    pub value: String,
    /// Traces or lines of each set in which it holds.
    pub selection_count: u32,
    pub baseline_count: u32,
    pub selection_share: f64,
    pub baseline_share: f64,
    /// 0 to 1.
    pub score: f64,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Comparison {
    /// The one that explains most first.
    pub differences: Vec<Difference>,
    /// How many traces or lines were compared.
    pub selection: usize,
    pub baseline: usize,
    pub warnings: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Set {
    Selection,
    Baseline,
}

struct Thing {
    attribute: String,
    value: String,
    /// In how many members of the selection and of the baseline it holds.
    held: [u32; 2],
    /// The same said of any service, where this is said of one.
    of_any: Option<u32>,
}

#[derive(Default)]
pub(super) struct Counts {
    pub selection: usize,
    pub baseline: usize,
    places: HashMap<String, HashMap<String, u32, RandomState>, RandomState>,
    /// Where that is which is said of one service, by the thing and the service.
    of_services: HashMap<(u32, u32), u32, RandomState>,
    services: HashMap<String, u32, RandomState>,
    things: Vec<Thing>,
}

impl Counts {
    /// Of sets of so many members, of which nothing is noted yet.
    pub fn of_sets(selection: usize, baseline: usize) -> Counts {
        Counts { selection, baseline, ..Counts::default() }
    }

    /// Notes that `attribute` is `value` in one member of a set.
    pub fn say(&mut self, set: Set, attribute: &str, value: &str, said: &mut Said) {
        if let Some(at) = self.thing(attribute, value) {
            self.note(set, at, said);
        }
    }

    /// The same by the thing's place.
    pub fn note(&mut self, set: Set, at: u32, said: &mut Said) {
        if said.insert(at) {
            self.things[at as usize].held[usize::from(set == Set::Baseline)] += 1;
        }
    }

    /// The places of `attribute` being `value`, and of the same said of one service alone.
    pub fn things_of(&mut self, service: &str, attribute: &str, value: &str) -> [Option<u32>; 2] {
        let of_any = self.thing(attribute, value);
        [of_any, of_any.and_then(|of_any| self.thing_of(service, of_any))]
    }

    fn thing(&mut self, attribute: &str, value: &str) -> Option<u32> {
        if value.is_empty() || value.len() > VALUE_CHARS_MAX {
            return None;
        }
        if let Some(at) = self.places.get(attribute).and_then(|values| values.get(value)) {
            return Some(*at);
        }
        let thing =
            Thing { attribute: attribute.to_owned(), value: value.to_owned(), held: [0, 0], of_any: None };
        let at = self.add(thing)?;
        self.places.entry(attribute.to_owned()).or_default().insert(value.to_owned(), at);
        Some(at)
    }

    fn thing_of(&mut self, service: &str, of_any: u32) -> Option<u32> {
        let service_at = match self.services.get(service) {
            Some(at) => *at,
            None => {
                let next = self.services.len() as u32;
                self.services.insert(service.to_owned(), next);
                next
            }
        };
        if let Some(at) = self.of_services.get(&(of_any, service_at)) {
            return Some(*at);
        }
        let any = &self.things[of_any as usize];
        let thing = Thing {
            attribute: format!("{service}: {}", any.attribute),
            value: any.value.clone(),
            held: [0, 0],
            of_any: Some(of_any),
        };
        let at = self.add(thing)?;
        self.of_services.insert((of_any, service_at), at);
        Some(at)
    }

    fn add(&mut self, thing: Thing) -> Option<u32> {
        if self.things.len() >= THINGS_MAX {
            return None;
        }
        self.things.push(thing);
        Some(self.things.len() as u32 - 1)
    }

    pub fn compared(self, mut warnings: Vec<String>) -> Comparison {
        let (selection, baseline) = (self.selection, self.baseline);
        if selection == 0 {
            warnings.push("nothing matches the selection in its time".to_owned());
        } else if baseline == 0 {
            warnings.push("nothing matches the baseline in its time but what is selected".to_owned());
        } else if selection + baseline <= FEW {
            warnings.push(format!(
                "{selection} against {baseline} are too few to tell causes from chance; it takes more than {FEW} \
                 of both together"
            ));
        }
        // What is said of one service and holds no less of any says nothing more.
        let says_more = |thing: &&Thing| {
            thing.of_any.is_none_or(|of_any| self.things[of_any as usize].held != thing.held)
        };
        let mut differences: Vec<Difference> = self
            .things
            .iter()
            .filter(says_more)
            .filter_map(|thing| difference(thing, selection as f64, baseline as f64))
            .collect();
        differences.sort_by(|a, b| {
            b.score
                .total_cmp(&a.score)
                .then(b.selection_share.total_cmp(&a.selection_share))
                .then_with(|| (&a.attribute, &a.value).cmp(&(&b.attribute, &b.value)))
        });
        differences.truncate(DIFFERENCES_MAX);
        Comparison { differences, selection, baseline, warnings }
    }
}

/// Of `n1` selected and `n0` others; `None` where it may be chance.
fn difference(thing: &Thing, n1: f64, n0: f64) -> Option<Difference> {
    if n1 == 0.0 || n0 == 0.0 {
        return None;
    }
    let [in_selection, in_baseline] = thing.held;
    let (p1, p0) = (f64::from(in_selection) / n1, f64::from(in_baseline) / n0);
    let pooled = f64::from(in_selection + in_baseline) / (n1 + n0);
    let deviation = (pooled * (1.0 - pooled) * (1.0 / n1 + 1.0 / n0)).sqrt();
    if (p1 - p0).abs() <= SIGNIFICANT * deviation {
        return None;
    }
    let mean = (p1 + p0) / 2.0;
    let score = (p1 - p0).abs() / (2.0 * (mean * (1.0 - mean)).sqrt());
    Some(Difference {
        attribute: thing.attribute.clone(),
        value: thing.value.clone(),
        selection_count: in_selection,
        baseline_count: in_baseline,
        selection_share: p1,
        baseline_share: p0,
        score: score.min(1.0),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(members: &[(Set, &str, &str)]) -> Comparison {
        let mut counts = Counts::default();
        for &(set, a, b) in members {
            let mut said = Said::default();
            for (service, node) in [("a", a), ("b", b)] {
                for at in counts.things_of(service, "node", node).into_iter().flatten() {
                    counts.note(set, at, &mut said);
                }
            }
            match set {
                Set::Selection => counts.selection += 1,
                Set::Baseline => counts.baseline += 1,
            }
        }
        counts.compared(vec![])
    }

    #[test]
    fn one_services_bad_node_is_seen_where_others_share_it() {
        let bad = [(Set::Selection, "one", "two"), (Set::Selection, "one", "one")];
        let good = [(Set::Baseline, "two", "one"), (Set::Baseline, "two", "two")];
        let all: Vec<_> = bad.iter().chain(&good).copied().cycle().take(40).collect();
        let found = told(&all);
        let first = &found.differences[0];
        assert_eq!((first.attribute.as_str(), first.value.as_str()), ("a: node", "one"));
        assert_eq!((first.selection_count, first.baseline_count, first.score), (20, 0, 1.0));
        // Where it is the only one there, it is said once.
        let all: Vec<_> = [(Set::Selection, "one", "b1"), (Set::Baseline, "two", "b1")].repeat(20);
        let said: Vec<String> = told(&all).differences.iter().map(|one| one.attribute.clone()).collect();
        assert_eq!(said, ["node", "node"]);
    }

    #[test]
    fn too_few_and_none_are_told_as_that() {
        let one = [(Set::Selection, "one", "b1"), (Set::Baseline, "two", "b1")];
        let found = told(&one);
        assert_eq!(found.differences, []);
        assert!(found.warnings[0].starts_with("1 against 1 are too few"), "{found:?}");
        let found = told(&one[..1]);
        assert!(found.warnings[0].contains("baseline"), "{found:?}");
        let found = told(&one[1..]);
        assert!(found.warnings[0].contains("selection"), "{found:?}");
        // One bad among nine good ones is told.
        let mut all = vec![one[1]; 9];
        all.push(one[0]);
        assert!(told(&all).differences.iter().any(|one| one.value == "one"), "{:?}", told(&all));
    }
}
