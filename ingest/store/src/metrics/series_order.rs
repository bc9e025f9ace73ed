//! The order of many label sets. Sets of a metric have most of their labels in common, and comparing two of them walks
//! through all of these, in two places of memory that are far apart. So sets are put together by their first label, the
//! few different ones are sorted, and each group goes on with the next: a set is walked through once.

use crate::hash::BytesHasher;
use model::Labels;
use std::collections::HashMap;
use std::hash::BuildHasherDefault;

/// Groups of fewer are sorted by comparing.
const GROUPED_MIN: usize = 24;

struct Set<'a> {
    id: u32,
    /// Labels that the group does not have in common.
    rest: &'a [u8],
}

/// The ids (places in `labels`) from `first` on, by ascending labels.
pub fn of(labels: &[Labels], first: usize) -> Vec<u32> {
    let set = |id: usize| Set { id: id as u32, rest: labels[id].as_bytes() };
    let mut sets: Vec<Set> = (first..labels.len()).map(set).collect();
    sort(&mut sets);
    sets.into_iter().map(|set| set.id).collect()
}

/// As deep as a set has labels.
fn sort(sets: &mut [Set]) {
    if sets.len() < GROUPED_MIN {
        return sets.sort_unstable_by(|a, b| Labels::raw_pairs_in(a.rest).cmp(Labels::raw_pairs_in(b.rest)));
    }
    let groups = group(sets);
    let mut at = 0;
    for group in groups {
        let end = at + group.len();
        sets[at..end].iter_mut().zip(group).for_each(|(place, set)| *place = set);
        // Those that end here are alike.
        if sets[at..end].iter().any(|set| !set.rest.is_empty()) {
            sort(&mut sets[at..end]);
        }
        at = end;
    }
}

type Label<'a> = (&'a [u8], &'a [u8]);

/// By ascending first label, without it.
fn group<'a>(sets: &[Set<'a>]) -> Vec<Vec<Set<'a>>> {
    // `None`, of sets that end here, is less than any label.
    let mut groups: Vec<(Option<Label>, Vec<Set>)> = vec![];
    let mut numbers: HashMap<&[u8], usize, BuildHasherDefault<BytesHasher>> = HashMap::default();
    let (mut last, mut number) = ([].as_slice(), usize::MAX);
    for set in sets {
        let mut pairs = Labels::raw_pairs_in(set.rest);
        let label = pairs.next();
        let written = &set.rest[..set.rest.len() - pairs.rest().len()];
        if number == usize::MAX || written != last {
            number = *numbers.entry(written).or_insert(groups.len());
            last = written;
            if number == groups.len() {
                groups.push((label, vec![]));
            }
        }
        groups[number].1.push(Set { id: set.id, rest: pairs.rest() });
    }
    groups.sort_unstable_by_key(|(label, _)| *label);
    groups.into_iter().map(|(_, sets)| sets).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_the_order_that_comparing_gives() {
        let number = |n: usize, of: usize| (n * 7_919 % of).to_string();
        let labels: Vec<Labels> = (0..2_000)
            .map(|n| {
                let mut pairs = vec![("__name__", format!("m{}", n % 3))];
                pairs.extend((n % 5 > 0).then(|| ("a", number(n, 11))));
                pairs.extend((n % 7 > 2).then(|| ("ab", number(n, 300))));
                pairs.extend((n % 2 > 0).then(|| ("b", "x".repeat(n % 200))));
                pairs.push(("n", number(n, 2_003)));
                // Sets that are the beginning of others.
                pairs.truncate(1 + n % 6);
                Labels::from_pairs(pairs)
            })
            .collect();
        let ordered = of(&labels, 100);
        let mut ids = ordered.clone();
        ids.sort_unstable();
        assert_eq!(ids, (100..2_000).collect::<Vec<u32>>());
        assert!(ordered.is_sorted_by_key(|id| &labels[*id as usize]));
        assert_eq!(of(&[], 0), Vec::<u32>::new());
    }
}
