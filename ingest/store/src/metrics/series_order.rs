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

/// Groups wait in a list: sets of any number of labels are no deep recursion.
fn sort(sets: &mut [Set]) {
    let mut open = vec![(0, sets.len())];
    while let Some((start, end)) = open.pop() {
        let some = &mut sets[start..end];
        if some.len() < GROUPED_MIN {
            some.sort_unstable_by(|a, b| Labels::raw_pairs_in(a.rest).cmp(Labels::raw_pairs_in(b.rest)));
            continue;
        }
        let mut at = start;
        for group in group(some) {
            let end = at + group.len();
            // Those that end here are alike.
            if group.iter().any(|set| !set.rest.is_empty()) {
                open.push((at, end));
            }
            sets[at..end].iter_mut().zip(group).for_each(|(place, set)| *place = set);
            at = end;
        }
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
    use model::LabelSetBuilder;

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

    #[test]
    fn sets_of_very_many_labels_are_sorted_too() {
        let names: Vec<String> = (0..50_000).map(|n| format!("l{n:05}")).collect();
        let set = |n: usize| {
            let last = (n * 7 % 30 + 10).to_string();
            let mut pairs: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "x")).collect();
            pairs.push(("z", &last));
            let mut bytes = vec![];
            LabelSetBuilder::encode_into(&mut pairs, &mut bytes).unwrap();
            Labels::from_bytes(&bytes).unwrap()
        };
        let labels: Vec<Labels> = (0..30).map(set).collect();
        assert!(of(&labels, 0).is_sorted_by_key(|id| &labels[*id as usize]));
    }
}
