//! What is usual between spans and those that they began: which of them nobody waits for, which are nearly always there, which
//! their own service begins, and whose clocks differ.
//!
//! Of one trace neither can be told. Work that goes on when who began it has ended is waited for by nobody, also in those
//! traces in which it happens to end in time. And where a span got lost that most of its kind have, its time looks as if it
//! were its parent's own, which is then no sign of anything slow. What an operation begins may be another thing for each kind of
//! request: so it is looked at by where requests begin, too. What of it is usual is said in `siblings`; how often spans get
//! lost where that tells of none, in `losses`.

use super::losses::{Losses, Parents};
use super::siblings::{Begins, Siblings};
use super::{Row, Tree};
use foldhash::fast::RandomState;
use model::SpanKind;
use std::collections::{HashMap, HashSet};

/// Of spans of an operation, this part must have been left behind by their parents: one in so many.
const LEFT_BEHIND_ONE_IN: usize = 10;
/// So much longer they went on at the least; clocks are read a moment after the fact.
const LEFT_BEHIND_NS_MIN: i64 = 1_000_000;
/// Of the calls from one service to another, this part must lie outside of the time of who called: one in so many.
const OUTSIDE_ONE_IN: usize = 20;

/// An operation's spans in requests that begin with another, or (`None`) in all.
type Among = (Option<u32>, u32);

#[derive(Default)]
pub(super) struct Habits {
    unawaited: HashSet<u32>,
    /// Operations that mostly their own service begins, by those of their spans whose parents are there.
    begun_within: HashSet<u32>,
    begins: HashMap<Among, Begins, RandomState>,
    /// Clocks of who calls and who is called.
    off: HashSet<(u32, u32)>,
    /// Clocks that differ from another at all: any of both may be wrong, and by less than is seen beside others.
    doubted: HashSet<u32>,
    losses: Losses,
}

impl Habits {
    /// Marks what nobody waits for, whose time is not known, and in which spans something is missing.
    pub(super) fn tell(&self, rows: &[Row], tree: &mut Tree) {
        let first = first_operations(rows, tree);
        for (at, row) in rows.iter().enumerate() {
            let caller = tree.parents[at].map(|parent| (tree.nodes[parent].clock, tree.nodes[parent].kind));
            let node = &mut tree.nodes[at];
            node.awaited = !self.unawaited.contains(&row.operation);
            node.off = caller.is_some_and(|(caller, _)| self.off.contains(&(caller, node.clock)));
            let served = node.kind == SpanKind::Server;
            node.doubtful = caller.is_some_and(|(caller, kind)| {
                let doubted = self.doubted.contains(&caller) || self.doubted.contains(&node.clock);
                served && kind != SpanKind::Client && caller != node.clock && doubted
            });
            let among = (first[at], row.operation);
            tree.missing_ns[at] = self.missing_ns(rows, among, &tree.nodes[at].children);
            for child in tree.nodes[at].children.iter().map(|child| *child as usize) {
                if !self.tell_of(among, rows[child].operation) {
                    tree.untold[child] = self.losses.for_one(tree.nodes[child].clock);
                }
            }
        }
    }

    /// Operations in what a lost span tore off a trace.
    pub(super) fn torn_off(&self, rows: &[Row], tree: &Tree, enters: &[bool]) -> Vec<u32> {
        self.losses.torn_off(rows, tree, enters)
    }

    /// Whether it is known of a span of an operation if it lacks one of another.
    fn tell_of(&self, (first, operation): (u32, u32), begun: u32) -> bool {
        let mut usual =
            [Some(first), None].into_iter().filter_map(|first| self.begins.get(&(first, operation)));
        usual.any(|usual| usual.tells(begun))
    }

    /// Whether a span without its parent may be where a request enters a service. Where it is the service itself that usually
    /// begins such spans, the parent got lost, and others of what it began would be requests of their own as well.
    pub(super) fn may_enter(&self, operation: u32) -> bool {
        !self.begun_within.contains(&operation)
    }

    /// How long at most that took which a span of an operation usually begins, and this one did not.
    fn missing_ns(&self, rows: &[Row], (first, operation): (u32, u32), children: &[u32]) -> i64 {
        let usual = [Some(first), None].map(|first| self.begins.get(&(first, operation)));
        if usual.iter().all(Option::is_none) {
            return 0;
        }
        let mut began: Vec<u32> = children.iter().map(|child| rows[*child as usize].operation).collect();
        began.sort_unstable();
        usual.into_iter().flatten().map(|usual| usual.missing_ns(&began)).max().unwrap_or(0)
    }
}

/// Of each span, the operation of the first one above it that is there.
fn first_operations(rows: &[Row], tree: &Tree) -> Vec<u32> {
    let mut first: Vec<u32> = rows.iter().map(|row| row.operation).collect();
    let mut todo: Vec<usize> = (0..rows.len()).filter(|at| tree.parents[*at].is_none()).collect();
    // Each has one parent: none is met twice, and a ring not at all.
    while let Some(at) = todo.pop() {
        for child in tree.nodes[at].children.iter().map(|child| *child as usize) {
            first[child] = first[at];
            todo.push(child);
        }
    }
    first
}

/// What was seen of all traces.
#[derive(Default)]
pub(super) struct Seen {
    /// Of an operation's spans that may have been waited for, how many were left behind.
    left_behind: HashMap<u32, (usize, usize), RandomState>,
    /// Of an operation's spans with a parent that is there, how many their own service began.
    begun_within: HashMap<u32, (usize, usize), RandomState>,
    siblings: HashMap<Among, Siblings, RandomState>,
    /// Of calls by clocks, how many lie outside of the time of who called.
    outside: HashMap<(u32, u32), (usize, usize), RandomState>,
    parents: Parents,
}

impl Seen {
    pub(super) fn see(&mut self, rows: &[Row], tree: &Tree) {
        let mut each: Vec<(u32, i64)> = vec![];
        let first = first_operations(rows, tree);
        self.parents.see(rows, tree);
        for (at, (row, node)) in rows.iter().zip(&tree.nodes).enumerate() {
            each.clear();
            for child in &node.children {
                let (child, begun) = (&rows[*child as usize], &tree.nodes[*child as usize]);
                each.push((child.operation, begun.length_ns()));
                let (within, all) = self.begun_within.entry(child.operation).or_default();
                *within += usize::from(begun.clock == node.clock);
                *all += 1;
                let left = if begun.clock == node.clock {
                    let late_ns = begun.end_ns.saturating_sub(node.end_ns);
                    late_ns > LEFT_BEHIND_NS_MIN.max(begun.length_ns() / 2)
                } else {
                    // Two clocks tell lengths alone.
                    begun.length_ns() - node.length_ns() > LEFT_BEHIND_NS_MIN
                };
                let called = node.clock != begun.clock && node.kind == SpanKind::Client;
                if !called && node.kind != SpanKind::Producer && begun.kind != SpanKind::Consumer {
                    let (behind, all) = self.left_behind.entry(child.operation).or_default();
                    *behind += usize::from(left);
                    *all += 1;
                    if begun.clock != node.clock && begun.length_ns() <= node.length_ns() {
                        let (outside, all) = self.outside.entry((node.clock, begun.clock)).or_default();
                        *outside += usize::from(begun.start_ns < node.start_ns || begun.end_ns > node.end_ns);
                        *all += 1;
                    }
                }
            }
            each.sort_unstable();
            for first in [Some(first[at]), None] {
                self.siblings.entry((first, row.operation)).or_default().see(&each);
            }
        }
    }

    pub(super) fn habits(self) -> Habits {
        let unawaited = |(operation, (behind, all)): (u32, (usize, usize))| {
            (behind * LEFT_BEHIND_ONE_IN >= all).then_some(operation)
        };
        let begun_within =
            |(operation, (within, all)): (u32, (usize, usize))| (2 * within > all).then_some(operation);
        let off = |(clocks, (outside, all)): ((u32, u32), (usize, usize))| {
            (outside > 0 && outside * OUTSIDE_ONE_IN >= all).then_some(clocks)
        };
        let off: HashSet<(u32, u32)> = self.outside.into_iter().filter_map(off).collect();
        let begins = |(among, siblings): (Among, Siblings)| Some((among, siblings.usual()?));
        Habits {
            unawaited: self.left_behind.into_iter().filter_map(unawaited).collect(),
            begun_within: self.begun_within.into_iter().filter_map(begun_within).collect(),
            begins: self.siblings.into_iter().filter_map(begins).collect(),
            doubted: off.iter().flat_map(|(caller, called)| [*caller, *called]).collect(),
            off,
            losses: self.parents.losses(),
        }
    }
}
