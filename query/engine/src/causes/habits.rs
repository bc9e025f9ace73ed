//! What is usual between spans and those that they began: which of them nobody waits for, and which are nearly always there.
//!
//! Of one trace neither can be told. Work that goes on when who began it has ended is waited for by nobody, also in those
//! traces in which it happens to end in time. And where a span got lost that most of its kind have, its time looks as if it
//! were its parent's own, which is then no sign of anything slow.

use super::{Row, Tree};
use model::SpanKind;
use std::collections::{HashMap, HashSet};

/// Of spans of an operation, this part must have been left behind by their parents: one in so many.
const LEFT_BEHIND_ONE_IN: usize = 10;
/// So much longer they went on at the least; clocks are read a moment after the fact.
const LEFT_BEHIND_NS_MIN: i64 = 1_000_000;
/// What so many of an operation's spans began is missing where it is not, if there were enough of them to say.
const USUAL_SHARE: f64 = 0.8;
const USUAL_MIN: usize = 10;
/// What is missing may have taken as long as all but a hundredth did.
const LONGEST_PERCENT: usize = 99;

#[derive(Default)]
pub(super) struct Habits {
    unawaited: HashSet<u32>,
    /// What an operation usually begins, of one operation or (`None`) at all, and how long that takes together at most.
    begins: HashMap<u32, Vec<(Option<u32>, i64)>>,
}

impl Habits {
    /// Marks what nobody waits for, and in which spans something is missing.
    pub(super) fn tell(&self, rows: &[Row], tree: &mut Tree) {
        for (at, row) in rows.iter().enumerate() {
            tree.nodes[at].awaited = !self.unawaited.contains(&row.operation);
            tree.missing_ns[at] = self.missing_ns(rows, row.operation, &tree.nodes[at].children);
        }
    }

    /// How long at most that took which a span of an operation usually begins, and this one did not.
    fn missing_ns(&self, rows: &[Row], operation: u32, children: &[u32]) -> i64 {
        let Some(usual) = self.begins.get(&operation) else { return 0 };
        let began: HashSet<u32> = children.iter().map(|child| rows[*child as usize].operation).collect();
        let (mut of_operations, mut at_all) = (0i64, 0);
        for (of, ns) in usual {
            match of {
                Some(of) if !began.contains(of) => of_operations = of_operations.saturating_add(*ns),
                None if began.is_empty() => at_all = *ns,
                _ => {}
            }
        }
        of_operations.max(at_all)
    }
}

/// What was seen of all traces.
#[derive(Default)]
pub(super) struct Seen {
    spans: HashMap<u32, usize>,
    /// Of an operation's spans that may have been waited for, how many were left behind.
    left_behind: HashMap<u32, (usize, usize)>,
    /// How long that took which an operation's spans began.
    began: HashMap<(u32, Option<u32>), Vec<i64>>,
}

impl Seen {
    pub(super) fn see(&mut self, rows: &[Row], tree: &Tree) {
        let mut each: Vec<(u32, i64)> = vec![];
        for (row, node) in rows.iter().zip(&tree.nodes) {
            *self.spans.entry(row.operation).or_default() += 1;
            each.clear();
            for child in &node.children {
                let (child, begun) = (&rows[*child as usize], &tree.nodes[*child as usize]);
                each.push((child.operation, begun.length_ns()));
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
                }
            }
            self.began_all(row.operation, &mut each);
        }
    }

    fn began_all(&mut self, operation: u32, each: &mut [(u32, i64)]) {
        if each.is_empty() {
            return;
        }
        let together = |some: &[(u32, i64)]| some.iter().fold(0i64, |sum, (_, ns)| sum.saturating_add(*ns));
        each.sort_unstable();
        for alike in each.chunk_by(|a, b| a.0 == b.0) {
            self.began.entry((operation, Some(alike[0].0))).or_default().push(together(alike));
        }
        self.began.entry((operation, None)).or_default().push(together(&*each));
    }

    pub(super) fn habits(self) -> Habits {
        let unawaited = |(operation, (behind, all)): (u32, (usize, usize))| {
            (behind * LEFT_BEHIND_ONE_IN >= all).then_some(operation)
        };
        let mut habits = Habits {
            unawaited: self.left_behind.into_iter().filter_map(unawaited).collect(),
            ..Habits::default()
        };
        for ((operation, of), mut took) in self.began {
            let spans = self.spans.get(&operation).copied().unwrap_or(0);
            // What all have is missing nowhere.
            let usual = USUAL_MIN.max((USUAL_SHARE * spans as f64).ceil() as usize);
            if (usual..spans).contains(&took.len()) {
                took.sort_unstable();
                let longest_ns = took[(took.len() - 1) * LONGEST_PERCENT / 100];
                habits.begins.entry(operation).or_default().push((of, longest_ns));
            }
        }
        habits
    }
}
