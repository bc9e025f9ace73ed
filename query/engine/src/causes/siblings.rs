//! What an operation's spans usually begin, and how long that may have taken which one of them lacks.
//!
//! Three things are usual: an operation that nearly all spans begin; one of several where nearly all begin one, as a cart asks
//! for stock, a search or a payment and never for two of them; and, of what is left, so many different operations and hardly
//! ever more, as a search asks three shards of forty. Each is looked at by itself, because spans get lost one by one: of eight that a span begins each
//! is nearly always there, and all eight together often are not. Several of one operation, as calls are that are all named `GET`,
//! are as many things.

use foldhash::fast::RandomState;
use std::cmp::Reverse;
use std::collections::{HashMap, HashSet};

/// What so many of an operation's spans began is missing where it is not, if there were enough of them to say.
const USUAL_SHARE: f64 = 0.8;
const USUAL_MIN: usize = 10;
/// Operations are begun one instead of the other if no more than one in so many of the rarer one's spans have both: a call that
/// failed and was made elsewhere.
const BOTH_ONE_IN: usize = 20;
/// Groups of such operations that are looked for; each time, all that is begun is gone through.
const GROUPS_TRIED_MAX: usize = 16;
/// What is missing may have taken as long as all but a hundredth did.
const LONGEST_PERCENT: usize = 99;

/// What the spans of an operation were seen to begin.
#[derive(Default)]
pub(super) struct Siblings {
    spans: usize,
    begun: Vec<Begun>,
}

/// An operation, and which one of those that a span began of it: the shortest is the first. So it is the longest of them that
/// seems to be missing where any is.
type Nth = (u32, u32);

/// By one span; how long it took.
struct Begun {
    span: u32,
    of: Nth,
    ns: i64,
}

/// What nearly all of an operation's spans begin.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Begins {
    /// The group of which an operation is; one of each is begun.
    groups: HashMap<Nth, usize, RandomState>,
    /// By group.
    longest_ns: Vec<i64>,
    /// Of operations that are in no group so many, hardly ever more, and how long all of them take together at most.
    beside: usize,
    beside_longest_ns: i64,
    /// Operations of which some are in no group.
    others: HashSet<u32, RandomState>,
}

impl Siblings {
    /// Of one more span; `each` is in the order of operations, and of those the shortest first.
    pub(super) fn see(&mut self, each: &[(u32, i64)]) {
        let span = self.spans as u32;
        self.spans += 1;
        for alike in each.chunk_by(|a, b| a.0 == b.0) {
            self.begun.extend(alike.iter().zip(0u32..).map(|((of, ns), nth)| Begun {
                span,
                of: (*of, nth),
                ns: *ns,
            }));
        }
    }

    /// `None` where nothing is.
    pub(super) fn usual(mut self) -> Option<Begins> {
        let enough = USUAL_MIN.max((USUAL_SHARE * self.spans as f64).ceil() as usize);
        if self.begun.len() < enough {
            return None;
        }
        self.begun.sort_unstable_by_key(|begun| (begun.of, begun.span));
        let mut usual = Begins::default();
        for group in self.groups(enough) {
            let took = group.iter().flat_map(|alike| alike.iter().map(|begun| begun.ns));
            usual.longest_ns.push(longest_ns(took.collect()));
            usual.groups.extend(group.iter().map(|alike| (alike[0].of, usual.longest_ns.len() - 1)));
        }
        let mut beside = vec![(0usize, 0i64); self.spans];
        for begun in self.begun.iter().filter(|begun| !usual.groups.contains_key(&begun.of)) {
            let (operations, ns) = &mut beside[begun.span as usize];
            *operations += 1;
            *ns = ns.saturating_add(begun.ns);
            usual.others.insert(begun.of.0);
        }
        beside.sort_unstable_by_key(|(operations, _)| Reverse(*operations));
        let most = beside.get(enough - 1).map_or(0, |(operations, _)| *operations);
        let more = beside.partition_point(|(operations, _)| *operations > most);
        // Where others begin more, one that begins fewer may lack none.
        usual.beside = if more * BOTH_ONE_IN <= self.spans { most } else { 0 };
        let some = beside.iter().take_while(|(operations, _)| *operations > 0);
        usual.beside_longest_ns = longest_ns(some.map(|(_, ns)| *ns).collect());
        (!usual.groups.is_empty() || usual.beside > 0).then_some(usual)
    }

    /// Operations of which nearly all spans begin one and hardly any two. What is begun is in the order of operations.
    fn groups(&self, enough: usize) -> Vec<Vec<&[Begun]>> {
        let mut operations: Vec<&[Begun]> = self.begun.chunk_by(|a, b| a.of == b.of).collect();
        operations.sort_by_key(|alike| Reverse(alike.len()));
        let alone = operations.partition_point(|alike| alike.len() >= enough);
        let mut left = operations.split_off(alone);
        let mut groups: Vec<Vec<&[Begun]>> = operations.into_iter().map(|alike| vec![alike]).collect();
        for _ in 0..GROUPS_TRIED_MAX {
            if left.iter().map(|alike| alike.len()).sum::<usize>() < enough {
                break;
            }
            let (group, others, covered) = self.group(&left);
            if covered >= enough {
                groups.push(group);
                left = others;
            } else {
                left.remove(0);
            }
        }
        groups
    }

    /// The first operation with all that are begun instead of it, the others, and how many spans begin one of the group.
    fn group<'a>(&self, operations: &[&'a [Begun]]) -> (Vec<&'a [Begun]>, Vec<&'a [Begun]>, usize) {
        let mut begins = vec![false; self.spans];
        let (group, others) = operations.iter().copied().partition(|alike| {
            let both = alike.iter().filter(|begun| begins[begun.span as usize]).count();
            let instead = both * BOTH_ONE_IN <= alike.len();
            if instead {
                alike.iter().for_each(|begun| begins[begun.span as usize] = true);
            }
            instead
        });
        (group, others, begins.into_iter().filter(|begins| *begins).count())
    }
}

impl Begins {
    /// How long at most that took which a span did not begin that began these, in the order of operations.
    pub(super) fn missing_ns(&self, began: &[u32]) -> i64 {
        let (mut there, mut beside) = (vec![false; self.longest_ns.len()], 0);
        for alike in began.chunk_by(|a, b| a == b) {
            for nth in alike.iter().copied().zip(0u32..) {
                match self.groups.get(&nth) {
                    Some(group) => there[*group] = true,
                    None => beside += 1,
                }
            }
        }
        let missing = self.longest_ns.iter().zip(there).filter(|(_, there)| !there);
        let missing_ns = missing.fold(0i64, |sum, (ns, _)| sum.saturating_add(*ns));
        missing_ns.saturating_add(if beside < self.beside { self.beside_longest_ns } else { 0 })
    }

    /// Whether it is told where one of an operation is missing: by which of these a span begins, or by how many.
    pub(super) fn tells(&self, operation: u32) -> bool {
        match self.others.contains(&operation) {
            true => self.beside > 0,
            false => self.groups.contains_key(&(operation, 0)),
        }
    }
}

fn longest_ns(mut took: Vec<i64>) -> i64 {
    took.sort_unstable();
    took.get(took.len().saturating_sub(1) * LONGEST_PERCENT / 100).copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is usual where the spans by their numbers begin these, each of which takes ten times its number.
    fn usual(spans: u32, began: impl Fn(u32) -> Vec<u32>) -> Option<Begins> {
        let mut siblings = Siblings::default();
        for span in 0..spans {
            let mut each: Vec<(u32, i64)> =
                began(span).into_iter().map(|of| (of, 10 * i64::from(of))).collect();
            each.sort_unstable();
            siblings.see(&each);
        }
        siblings.usual()
    }

    fn missing(usual: &Begins, began: &[u32]) -> i64 {
        let mut began = began.to_vec();
        began.sort_unstable();
        usual.missing_ns(&began)
    }

    #[test]
    fn what_nearly_all_begin_is_missing_each_by_itself() {
        // Of ten things every span lacks one.
        let usual = usual(100, |span| (1..=10).filter(|of| *of != 1 + span % 10).collect()).unwrap();
        let all: Vec<u32> = (1..=10).collect();
        assert_eq!(missing(&usual, &all), 0);
        assert_eq!(missing(&usual, &all[..9]), 100);
        assert_eq!(missing(&usual, &all[2..]), 30);
        assert_eq!(missing(&usual, &[]), 550);
    }

    #[test]
    fn of_several_of_one_name_the_longest_is_missing() {
        // Three calls, of which one in ten spans lacks one.
        let mut siblings = Siblings::default();
        for span in 0..300usize {
            let mut each: Vec<(u32, i64)> = vec![(1, 10), (1, 20), (1, 30)];
            if span % 10 == 0 {
                each.remove(span / 10 % 3);
            }
            siblings.see(&each);
        }
        let usual = siblings.usual().unwrap();
        assert_eq!((missing(&usual, &[1, 1, 1, 1]), missing(&usual, &[1, 1, 1])), (0, 0));
        assert_eq!((missing(&usual, &[1, 1]), missing(&usual, &[2, 1])), (30, 60));
    }

    #[test]
    fn one_of_several_is_missing_where_none_of_them_is_there() {
        // One of three and one of two, beside what all have; one in ten lacks the first, one in ten the second.
        let usual = usual(600, |span| {
            let mut began = vec![1];
            began.extend((span % 10 != 3).then_some(2 + span % 3));
            began.extend((span % 10 != 6).then_some(5 + span / 3 % 2));
            began
        })
        .unwrap();
        for first in 2..=4 {
            for second in 5..=6 {
                assert_eq!(missing(&usual, &[1, first, second]), 0);
                assert_eq!(missing(&usual, &[1, second]), 40);
                assert_eq!(missing(&usual, &[1, first]), 60);
                assert_eq!(missing(&usual, &[first, second]), 10);
            }
        }
        assert_eq!(usual.beside, 0);
    }

    #[test]
    fn a_call_that_was_made_again_elsewhere_is_still_one_of_several() {
        // A third each; one in fifty of the first is followed by the second.
        let usual = usual(600, |span| match span {
            0..4 => vec![1, 2],
            4..200 => vec![1],
            200..400 => vec![2],
            400..580 => vec![3],
            _ => vec![],
        })
        .unwrap();
        assert_eq!((missing(&usual, &[]), missing(&usual, &[2])), (30, 0));
        assert_eq!(usual.longest_ns, [30]);
    }

    #[test]
    fn of_what_is_in_no_group_so_many_are_missing() {
        // Three of seven in all ways, of which one in ten spans lacks one.
        let usual = usual(700, |span| {
            let three = [span % 7, (span + 1 + span / 7 % 2) % 7, (span + 4 + span / 14 % 2) % 7];
            three.into_iter().take(if span % 10 == 9 { 2 } else { 3 }).map(|of| of + 1).collect()
        })
        .unwrap();
        assert_eq!((usual.groups.len(), usual.beside), (0, 3));
        assert!((1..=7).all(|of| usual.tells(of)) && !usual.tells(8));
        assert_eq!((missing(&usual, &[1, 2, 5]), missing(&usual, &[8, 9, 10, 11])), (0, 0));
        assert!(missing(&usual, &[1, 2]) > 100, "{usual:?}");
    }

    /// Of a loop the first turn is usual, and so is what stands before it; how many turns there are is not.
    #[test]
    fn of_what_only_some_begin_nothing_tells_that_it_is_missing() {
        let usual = usual(400, |span| [vec![1, 2], vec![3; 1 + span as usize % 10]].concat()).unwrap();
        assert_eq!([1, 2, 3, 4].map(|of| usual.tells(of)), [true, true, false, false]);
        assert_eq!((missing(&usual, &[1, 2, 3]) > 0, missing(&usual, &[1, 2, 3, 3, 3, 3])), (true, 0));
    }

    #[test]
    fn what_only_some_begin_is_missing_nowhere() {
        // Each half of the spans, and both a quarter.
        assert_eq!(usual(400, |span| (0u32..2).filter(|bit| (span >> *bit) & 1 == 1).collect()), None);
        // Three of four spans begin one of two.
        assert_eq!(usual(400, |span| if span % 4 == 3 { vec![] } else { vec![span % 4 % 2] }), None);
        // Nine are too few to say.
        assert_eq!(usual(9, |_| vec![1]), None);
        assert_eq!(usual(0, |_| vec![]), None);
    }

    /// Ten thousand different ones are gone through a few times, not once for each of them.
    #[test]
    fn of_very_many_one_is_begun() {
        let usual = usual(20_000, |span| if span % 20 == 0 { vec![] } else { vec![span % 9_973] }).unwrap();
        assert_eq!(usual.longest_ns.len(), 1);
        assert!(missing(&usual, &[]) > 90_000);
        assert_eq!(missing(&usual, &[77]), 0);
    }
}
