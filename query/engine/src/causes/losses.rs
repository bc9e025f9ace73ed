//! How many spans get lost, as those tell that name a parent which is not there.
//!
//! Where an operation begins now this and now that, nothing in its one span tells that something below it got lost: its time
//! then looks as if it were its own. But what gets lost has children of its own, elsewhere, and these are left without a
//! parent. So it is known how often that happens, and no wait that is as rare is told from it.

use super::{Row, Tree};
use foldhash::fast::RandomState;
use std::collections::HashMap;

/// Fewer spans that name a parent of one service say nothing of it alone; then all services are taken together.
const NAMED_MIN: f64 = 100.0;

/// The parents that an operation's spans name.
#[derive(Default)]
struct Named {
    /// Such as are there, by clock.
    there: HashMap<u32, usize, RandomState>,
    lost: usize,
}

impl Named {
    fn there(&self) -> usize {
        self.there.values().sum()
    }

    /// Where most are not there they are somebody's who keeps his spans to himself.
    fn is_of_ours(&self) -> bool {
        self.lost <= self.there()
    }
}

/// What was seen of all traces.
#[derive(Default)]
pub(super) struct Parents {
    named: HashMap<u32, Named, RandomState>,
}

/// Spans of a service that are there, and such as got lost.
#[derive(Clone, Copy, Default)]
struct Count {
    there: f64,
    lost: f64,
}

impl Count {
    fn add(&mut self, there: f64, lost: f64) {
        self.there += there;
        self.lost += lost;
    }

    fn for_one(self) -> f64 {
        if self.there > 0.0 { self.lost / self.there } else { 0.0 }
    }
}

#[derive(Default)]
pub(super) struct Losses {
    by_clock: HashMap<u32, Count, RandomState>,
    of_all: Count,
    named: HashMap<u32, Named, RandomState>,
}

impl Parents {
    pub(super) fn see(&mut self, rows: &[Row], tree: &Tree) {
        // A trace whose beginning is missing began before the time that is looked at, or is begun by others.
        if rows.iter().all(|row| row.parent.is_some()) {
            return;
        }
        for (at, row) in rows.iter().enumerate().filter(|(_, row)| row.parent.is_some()) {
            let named = self.named.entry(row.operation).or_default();
            match tree.parents[at] {
                Some(parent) => *named.there.entry(tree.nodes[parent].clock).or_default() += 1,
                None => named.lost += 1,
            }
        }
    }

    pub(super) fn losses(self) -> Losses {
        let mut losses = Losses::default();
        for named in self.named.values().filter(|named| named.is_of_ours()) {
            let all = named.there() as f64;
            for (clock, there) in &named.there {
                // Those that are lost were of the services that the others are of, in their proportion.
                let (there, lost) = (*there as f64, named.lost as f64 * *there as f64 / all);
                losses.by_clock.entry(*clock).or_default().add(there, lost);
                losses.of_all.add(there, lost);
            }
        }
        Losses { named: self.named, ..losses }
    }
}

impl Losses {
    /// How many of a service's spans get lost for one that is there.
    pub(super) fn for_one(&self, clock: u32) -> f64 {
        let count = self.by_clock.get(&clock).filter(|count| count.there + count.lost >= NAMED_MIN);
        count.copied().unwrap_or(self.of_all).for_one()
    }

    /// Operations in what a lost span tore off a trace. A span that `enters` is a request of its own, and no part of another.
    pub(super) fn torn_off(&self, rows: &[Row], tree: &Tree, enters: &[bool]) -> Vec<u32> {
        let is_first = |at: &usize| {
            let row = &rows[*at];
            let lost = row.parent.is_some() && tree.parents[*at].is_none();
            lost && self.named.get(&row.operation).is_some_and(Named::is_of_ours)
        };
        let mut todo: Vec<usize> = (0..rows.len()).filter(is_first).collect();
        let mut operations = vec![];
        // Each has one parent: none is met twice, and a ring not at all.
        while let Some(at) = todo.pop() {
            if !enters[at] {
                operations.push(rows[at].operation);
                todo.extend(tree.nodes[at].children.iter().map(|child| *child as usize));
            }
        }
        operations.sort_unstable();
        operations.dedup();
        operations
    }
}

#[cfg(test)]
mod tests {
    use super::super::Node;
    use super::*;
    use model::SpanKind;

    /// Spans by their operations, which are their clocks as well, and their parents: `None` got lost, and the first has none.
    fn trace(spans: &[(u32, Option<usize>)]) -> (Vec<Row>, Tree) {
        let row = |(at, (operation, _)): (usize, &(u32, Option<usize>))| Row {
            trace: [1; 16],
            start_ns: 0,
            end_ns: 10,
            span: [at as u8 + 1; 8],
            parent: (at > 0).then_some([99; 8]),
            operation: *operation,
            kind: SpanKind::Internal,
            weight: 1.0,
        };
        let node = |(at, (operation, _)): (usize, &(u32, Option<usize>))| Node {
            start_ns: 0,
            end_ns: 10,
            kind: SpanKind::Internal,
            clock: *operation,
            off: false,
            doubtful: false,
            awaited: true,
            children: (0..spans.len())
                .filter(|child| *child > 0 && spans[*child].1 == Some(at))
                .map(|child| child as u32)
                .collect(),
        };
        let tree = Tree {
            nodes: spans.iter().enumerate().map(node).collect(),
            parents: spans.iter().map(|(_, parent)| *parent).collect(),
            missing_ns: vec![0; spans.len()],
            untold: vec![0.0; spans.len()],
            torn_off: vec![],
            whole: true,
        };
        (spans.iter().enumerate().map(row).collect(), tree)
    }

    /// A page asks 1, which asks 2 and 3; of one in ten traces 1 is lost. Nobody ever saw who asks 4.
    #[test]
    fn as_many_are_lost_as_leave_children_without_a_parent() {
        let whole = trace(&[(0, None), (1, Some(0)), (2, Some(1)), (3, Some(1)), (4, None)]);
        let torn = trace(&[(0, None), (2, None), (3, Some(1)), (4, None)]);
        let mut parents = Parents::default();
        for number in 0..200 {
            let (rows, tree) = if number % 10 == 0 { &torn } else { &whole };
            parents.see(rows, tree);
        }
        let losses = parents.losses();
        let near = |clock: u32, expected: f64| (losses.for_one(clock) - expected).abs() < 1e-9;
        // By 2, 180 of 1 are there and 20 are not; by 3, 180 are there, and 20 of 2.
        assert!(near(0, 0.0) && near(1, 20.0 / 360.0), "{}", losses.for_one(1));
        // 20 are too few.
        assert!(near(2, 20.0 / 560.0), "{}", losses.for_one(2));
        let (rows, tree) = &torn;
        assert_eq!(losses.torn_off(rows, tree, &[true, false, false, false]), [2, 3]);
        assert_eq!(losses.torn_off(rows, tree, &[true, true, false, false]), [0u32; 0]);
        let (rows, tree) = &whole;
        assert_eq!(losses.torn_off(rows, tree, &[true, false, false, false, false]), [0u32; 0]);
    }

    #[test]
    fn a_trace_that_began_before_says_nothing() {
        let (mut rows, tree) = trace(&[(0, None), (1, None), (1, None), (1, Some(0))]);
        rows[0].parent = Some([99; 8]);
        let mut parents = Parents::default();
        parents.see(&rows, &tree);
        assert!(parents.named.is_empty());
    }
}
