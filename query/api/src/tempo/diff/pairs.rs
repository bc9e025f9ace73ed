//! Which span of one trace is which of the other. Ids tell nothing, as every trace has its own: a span is its service,
//! name and kind, and of several that are alike the one below the same parent.

use super::flat::Flat;
use std::collections::{HashMap, VecDeque};
use std::hash::Hash;

/// For each span of `compare` the one of `base`, each of those at most once.
pub(super) fn pairs(base: &Flat<'_>, compare: &Flat<'_>) -> Vec<Option<usize>> {
    let mut found = vec![None; compare.spans.len()];
    let mut free = vec![true; base.spans.len()];
    // From the root down: once parents are a pair, their children are sought below them first.
    let mut below = Queues::of(base, |at| (base.spans[at].parent, base.identity(at)));
    for at in 0..compare.spans.len() {
        let parent = match compare.spans[at].parent {
            Some(parent) if found[parent].is_none() => continue,
            Some(parent) => found[parent],
            None => None,
        };
        found[at] = below.take(&(parent, compare.identity(at)), &mut free);
    }
    // Then below a parent of the same name, then anywhere: a span that came between two others moves what is below it.
    let mut alike = Queues::of(base, |at| (base.parent_identity(at), base.identity(at)));
    for (at, pair) in found.iter_mut().enumerate() {
        if pair.is_none() {
            *pair = alike.take(&(compare.parent_identity(at), compare.identity(at)), &mut free);
        }
    }
    let mut anywhere = Queues::of(base, |at| base.identity(at));
    for (at, pair) in found.iter_mut().enumerate() {
        if pair.is_none() {
            *pair = anywhere.take(&compare.identity(at), &mut free);
        }
    }
    found
}

/// Spans of the base by what they are sought by, in their order.
struct Queues<K>(HashMap<K, VecDeque<usize>>);

impl<K: Hash + Eq> Queues<K> {
    fn of(base: &Flat<'_>, key: impl Fn(usize) -> K) -> Queues<K> {
        let mut queues: HashMap<K, VecDeque<usize>> = HashMap::new();
        for at in 0..base.spans.len() {
            queues.entry(key(at)).or_default().push_back(at);
        }
        Queues(queues)
    }

    fn take(&mut self, key: &K, free: &mut [bool]) -> Option<usize> {
        let queue = self.0.get_mut(key)?;
        while let Some(at) = queue.pop_front() {
            if std::mem::replace(&mut free[at], false) {
                return Some(at);
            }
        }
        None
    }
}
