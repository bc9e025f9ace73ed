//! The critical path of one request: of each span the time in which nothing else but itself kept the request from
//! ending.
//!
//! Walked from the end backwards: the child that ended last before the point reached is what was waited for, and the
//! walk goes on from where that child began. What no child covers is the span's own. The times of all spans add up to
//! the request's, so no second is blamed twice.

use model::SpanKind;
use std::cmp::Reverse;
use std::collections::BTreeSet;

/// A span of a trace, by its place in the list of all of them.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub start_ns: i64,
    pub end_ns: i64,
    pub kind: SpanKind,
    /// Which clock it was measured with; services do not share one.
    pub clock: u32,
    /// Whether that clock and the parent's are known to differ: where it lies within the parent's time is chance then.
    pub off: bool,
    /// Whether one of both is known to differ from others, and no span of the call tells when it was: it may have run a moment
    /// before or after what it seems to have run beside.
    pub doubtful: bool,
    /// Whether who began it waits for it; of one trace alone that is not known, and taken for true.
    pub awaited: bool,
    pub children: Vec<u32>,
}

impl Node {
    pub(super) fn length_ns(&self) -> i64 {
        self.end_ns.saturating_sub(self.start_ns).max(0)
    }
}

/// A child may overlap with what came after it by this share of its length and still count as before it: clocks are
/// read a moment after the fact.
const OVERLAP_SHARE: i64 = 20;

/// A child that was waited for.
enum Waited {
    At(Step),
    /// Nothing says when.
    Sometime(usize),
}

struct Step {
    node: usize,
    from_ns: i64,
    to_ns: i64,
    /// What must be added to the span's own clock to have the request's.
    offset_ns: i64,
}

/// Calls `own` with each span on the path from `entry` down, its own time in nanoseconds, and how much of that may be the time of
/// others that it began: of which nothing tells when they ran, and nothing that they ran beside something.
pub(super) fn walk(nodes: &[Node], entry: usize, mut own: impl FnMut(usize, i64, i64)) {
    let Some(first) = nodes.get(entry) else { return };
    let mut todo = vec![Step {
        node: entry,
        from_ns: first.start_ns,
        to_ns: first.end_ns.max(first.start_ns),
        offset_ns: 0,
    }];
    // Parents that form a ring would be walked for ever.
    let mut steps_left = nodes.len();
    let (mut waited_for, mut sometime): (Vec<Step>, Vec<usize>) = (vec![], vec![]);
    // How long what found no place took.
    let mut unplaced: Vec<i64> = vec![];
    // Of the span itself, as length and beginning.
    let mut gaps: BTreeSet<(i64, i64)> = BTreeSet::new();
    while let Some(step) = todo.pop() {
        let Some(left) = steps_left.checked_sub(1) else { return };
        steps_left = left;
        let node = &nodes[step.node];
        waited_for.clear();
        for child in &node.children {
            match placed(nodes, &step, *child as usize) {
                Some(Waited::At(child)) => waited_for.push(child),
                Some(Waited::Sometime(child)) => sometime.push(child),
                None => {}
            }
        }
        waited_for.sort_by_key(|child| (child.to_ns, child.from_ns));
        gaps.clear();
        let before = todo.len();
        let mut reached_ns = step.to_ns;
        while let Some(mut child) = waited_for.pop() {
            if reached_ns <= step.from_ns {
                break;
            }
            if child.to_ns > reached_ns {
                let overlap_ns = child.to_ns - reached_ns;
                if child.from_ns >= reached_ns || overlap_ns * OVERLAP_SHARE > child.to_ns - child.from_ns {
                    if nodes[child.node].doubtful {
                        unplaced.push(child.to_ns - child.from_ns);
                    }
                    continue;
                }
                child.to_ns = reached_ns;
            }
            gaps.insert((reached_ns - child.to_ns, child.to_ns));
            reached_ns = child.from_ns;
            todo.push(child);
        }
        gaps.insert(((reached_ns - step.from_ns).max(0), step.from_ns));
        // They take what the others leave. What does not fit in ran beside something, and the longer of the two was waited for.
        sometime.sort_by_key(|child| Reverse(nodes[*child].length_ns()));
        for (nth, child) in sometime.drain(..).enumerate() {
            let length_ns = nodes[child].length_ns();
            let window_ns = step.to_ns - step.from_ns;
            let others_ns = window_ns - gaps.iter().map(|(gap_ns, _)| gap_ns).sum::<i64>();
            let (gap_ns, from_ns) = match gaps.range((length_ns, i64::MIN)..).next().copied() {
                Some(gap) => gap,
                None if nth == 0 && length_ns > others_ns => {
                    todo.truncate(before);
                    gaps.clear();
                    unplaced.push(others_ns);
                    (window_ns, step.from_ns)
                }
                None => {
                    unplaced.push(length_ns);
                    continue;
                }
            };
            gaps.remove(&(gap_ns, from_ns));
            gaps.insert((gap_ns - length_ns, from_ns));
            let to_ns = from_ns + gap_ns;
            let offset_ns = to_ns - nodes[child].end_ns;
            todo.push(Step { node: child, from_ns: to_ns - length_ns, to_ns, offset_ns });
        }
        let own_ns: i64 = gaps.iter().map(|(gap_ns, _)| gap_ns).sum();
        // What is longer than all that is left did run beside something.
        let unsure_ns: i64 = unplaced.drain(..).filter(|length_ns| *length_ns <= own_ns).sum();
        own(step.node, own_ns, unsure_ns);
    }
}

/// Where a child lies in its parent's time; `None` where the parent does not wait for it.
fn placed(nodes: &[Node], parent: &Step, child: usize) -> Option<Waited> {
    let (node, of) = (nodes.get(child)?, &nodes[parent.node]);
    if of.kind == SpanKind::Producer || node.kind == SpanKind::Consumer || !node.awaited {
        return None;
    }
    let length_ns = node.length_ns();
    let window_ns = parent.to_ns - parent.from_ns;
    let mut offset_ns = parent.offset_ns;
    let inside = |offset_ns: i64| {
        node.start_ns + offset_ns >= parent.from_ns && node.end_ns + offset_ns <= parent.to_ns
    };
    let elsewhere = node.clock != of.clock;
    let asked = of.kind == SpanKind::Client && elsewhere;
    if asked {
        // A client that waited for its answer tells how far the other clock is off: the server's time lies within its own, all of
        // it, also where a moment of that counts as another's.
        let whole_ns = of.length_ns();
        let begins_ns = node.start_ns - of.start_ns + offset_ns - parent.offset_ns;
        let latest_ns = if length_ns > whole_ns { whole_ns } else { whole_ns - length_ns };
        if !(0..=latest_ns).contains(&begins_ns) {
            offset_ns += (whole_ns - length_ns).max(0) / 2 - begins_ns;
        }
    }
    let served = node.kind == SpanKind::Server && elsewhere && !asked;
    if served && length_ns <= window_ns && (node.off || !inside(offset_ns)) {
        // No span of the call itself tells how long it was under way.
        return Some(Waited::Sometime(child));
    }
    let (from_ns, to_ns) = (node.start_ns + offset_ns, node.end_ns + offset_ns);
    // It outlives who began it: nobody waited. An answer that came too late was waited for as long as it was.
    let outlives = to_ns - parent.to_ns > (length_ns / OVERLAP_SHARE);
    if outlives && !asked {
        return None;
    }
    let (from_ns, to_ns) = (from_ns.max(parent.from_ns), to_ns.min(parent.to_ns));
    (to_ns > from_ns).then_some(Waited::At(Step { node: child, from_ns, to_ns, offset_ns }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use SpanKind::{Client, Consumer, Internal, Producer, Server};

    /// Spans as parent, start, end, kind, clock; what each has of the path, by place, 0 where it has nothing.
    fn own(spans: &[Told]) -> Vec<i64> {
        own_of(spans, false)
    }

    type Told = (Option<usize>, i64, i64, SpanKind, u32);

    /// `off` says of clocks that differ that they are known to.
    fn own_of(spans: &[Told], off: bool) -> Vec<i64> {
        let mut times = vec![0; spans.len()];
        walk(&nodes_of(spans, off), 0, |at, ns, _| times[at] += ns);
        times
    }

    fn nodes_of(spans: &[Told], off: bool) -> Vec<Node> {
        let mut nodes: Vec<Node> = spans
            .iter()
            .map(|(_, start_ns, end_ns, kind, clock)| Node {
                start_ns: *start_ns,
                end_ns: *end_ns,
                kind: *kind,
                clock: *clock,
                off: false,
                doubtful: false,
                awaited: true,
                children: vec![],
            })
            .collect();
        for (at, span) in spans.iter().enumerate() {
            if let Some(parent) = span.0 {
                nodes[parent].children.push(at as u32);
                nodes[at].off = off && span.4 != spans[parent].4;
            }
        }
        nodes
    }

    /// What the first of them has of the path, and how much of that may be others'.
    fn first(nodes: &[Node]) -> (i64, i64) {
        let mut first = (0, 0);
        walk(nodes, 0, |at, ns, unsure_ns| {
            if at == 0 {
                first = (ns, unsure_ns);
            }
        });
        first
    }

    #[test]
    fn one_after_the_other() {
        let times = own(&[
            (None, 0, 1000, Server, 0),
            (Some(0), 100, 400, Internal, 0),
            (Some(0), 500, 900, Internal, 0),
            (Some(2), 600, 800, Internal, 0),
        ]);
        assert_eq!(times, [300, 300, 200, 200]);
    }

    #[test]
    fn of_those_at_the_same_time_only_the_last_to_end_counts() {
        let times = own(&[
            (None, 0, 1000, Server, 0),
            (Some(0), 0, 700, Internal, 0),
            (Some(0), 0, 1000, Internal, 0),
        ]);
        assert_eq!(times, [0, 0, 1000]);
    }

    #[test]
    fn a_moment_of_overlap_is_a_matter_of_clocks() {
        let times = own(&[
            (None, 0, 1000, Server, 0),
            (Some(0), 0, 505, Internal, 0),
            (Some(0), 500, 1000, Internal, 0),
        ]);
        assert_eq!(times, [0, 500, 500]);
    }

    #[test]
    fn what_outlives_its_parent_was_not_waited_for() {
        let times = own(&[
            (None, 0, 1000, Server, 0),
            (Some(0), 500, 5000, Internal, 0),
            (Some(0), 100, 200, Producer, 0),
            (Some(2), 150, 190, Consumer, 1),
        ]);
        assert_eq!(times, [900, 0, 100, 0]);
    }

    #[test]
    fn another_machines_clock_is_set_right_and_with_it_all_below() {
        let skew = 1_000_000;
        let times = own(&[
            (None, 0, 1000, Server, 0),
            (Some(0), 100, 900, Client, 0),
            (Some(1), 200 + skew, 800 + skew, Server, 1),
            (Some(2), 300 + skew, 700 + skew, Internal, 1),
        ]);
        assert_eq!(times, [200, 200, 200, 400]);
    }

    /// It took all of the server's time for the client's own once, as the server's was longer than what was left of it.
    #[test]
    fn another_machines_clock_is_set_right_where_a_moment_of_the_call_is_anothers() {
        for skew in [-1_000_000, -400, -3, 0, 400, 1_000_000] {
            let times = own(&[
                (None, 0, 1000, Server, 0),
                (Some(0), 0, 505, Client, 0),
                (Some(0), 500, 1000, Client, 0),
                (Some(1), 2 + skew, 503 + skew, Server, 1),
            ]);
            assert_eq!(times.iter().sum::<i64>(), 1000, "{skew}: {times:?}");
            assert!(times[3] >= 497, "{skew}: {times:?}");
        }
        // Clocks do not run alike: the answer took a moment longer than it was waited for.
        let times = own(&[
            (None, 0, 1000, Server, 0),
            (Some(0), 100, 900, Client, 0),
            (Some(1), 5_000, 5_801, Server, 1),
        ]);
        assert_eq!(times, [200, 0, 800]);
    }

    /// As traces of services that leave no spans of their calls have it.
    #[test]
    fn another_machines_clock_is_set_right_where_only_servers_tell() {
        for skew in [-1_000_000, -250, 0, 150, 1_000_000] {
            let times = own(&[
                (None, 0, 1000, Server, 0),
                (Some(0), 100, 300, Internal, 0),
                (Some(0), 300 + skew, 900 + skew, Server, 1),
                (Some(2), 400 + skew, 800 + skew, Internal, 1),
            ]);
            assert_eq!(times[2..], [200, 400], "{skew}");
            assert_eq!(times.iter().sum::<i64>(), 1000, "{skew}");
        }
        // What takes longer than who began it was not waited for, whatever its clock says.
        let times = own(&[(None, 0, 1000, Server, 0), (Some(0), 100, 1500, Server, 1)]);
        assert_eq!(times, [1000, 0]);
    }

    /// A statement that ran beside it was once waited for in some requests and in others not, as the lengths were just then.
    #[test]
    fn whose_time_is_not_known_stands_in_nobodys_way() {
        for (length, expected) in
            [(20, [70, 910, 20]), (50, [40, 910, 50]), (80, [90, 910, 0]), (400, [90, 910, 0])]
        {
            let times = own(&[
                (None, 0, 1000, Server, 0),
                (Some(0), 50, 960, Client, 0),
                (Some(0), 5_000, 5_000 + length, Server, 1),
            ]);
            assert_eq!(times, expected, "{length}");
        }
        // What is longer than all that it ran beside was waited for.
        let times = own(&[
            (None, 0, 1000, Server, 0),
            (Some(0), 50, 100, Client, 0),
            (Some(0), 6_000, 6_030, Server, 2),
            (Some(0), 5_000, 5_990, Server, 1),
        ]);
        assert_eq!(times, [10, 0, 0, 990]);
        // One after the other, each has its own.
        let times = own(&[
            (None, 0, 1000, Server, 0),
            (Some(0), 5_000, 5_300, Server, 1),
            (Some(0), 300, 400, Client, 0),
            (Some(0), 7_000, 7_500, Server, 2),
        ]);
        assert_eq!(times, [100, 300, 100, 500]);
    }

    #[test]
    fn a_clock_that_is_off_tells_nothing_by_chance() {
        let spans = [
            (None, 0, 1000, Server, 0),
            (Some(0), 0, 500, Internal, 0),
            (Some(0), 200, 600, Server, 1),
            (Some(2), 300, 500, Internal, 1),
        ];
        assert_eq!(own(&spans), [600, 0, 200, 200]);
        assert_eq!(own_of(&spans, true), [100, 500, 200, 200]);
    }

    #[test]
    fn the_time_of_what_found_no_place_may_be_nobodys_else() {
        // One after the other; the clock of the last is 800 behind, and what is known to be off finds no place around it.
        let mut nodes = nodes_of(
            &[
                (None, 0, 1250, Server, 0),
                (Some(0), 5_000, 5_830, Server, 1),
                (Some(0), 300, 350, Server, 2),
                (Some(0), 6_000, 6_330, Server, 3),
            ],
            true,
        );
        nodes[2].off = false;
        assert_eq!(first(&nodes), (370, 330));
        // What is longer than all that is left of it ran beside something.
        nodes[3].end_ns = 6_400;
        assert_eq!(first(&nodes), (370, 0));
        // What takes all of it for itself hides where the others were.
        nodes[1].end_ns = 6_180;
        nodes[2].end_ns = 370;
        nodes[3].children.clear();
        nodes[0].children = vec![1, 2];
        assert_eq!(first(&nodes), (70, 70));
    }

    #[test]
    fn who_seems_to_run_beside_another_by_a_doubtful_clock_may_not() {
        let mut nodes = nodes_of(
            &[(None, 0, 400, Server, 0), (Some(0), 330, 400, Client, 0), (Some(0), 280, 360, Server, 1)],
            false,
        );
        assert_eq!(first(&nodes), (330, 0));
        nodes[2].doubtful = true;
        assert_eq!(first(&nodes), (330, 80));
        nodes[1].start_ns = 50;
        assert_eq!(first(&nodes), (50, 0));
    }

    #[test]
    fn an_answer_that_came_too_late_was_waited_for_until_the_client_gave_up() {
        let times = own(&[
            (None, 0, 1000, Server, 0),
            (Some(0), 100, 900, Client, 0),
            (Some(1), 200, 5000, Server, 1),
        ]);
        assert_eq!(times, [200, 100, 700]);
    }

    #[test]
    fn a_ring_ends_and_times_never_exceed_the_request() {
        let mut nodes = vec![
            Node {
                start_ns: 0,
                end_ns: 100,
                kind: Server,
                clock: 0,
                off: false,
                doubtful: false,
                awaited: true,
                children: vec![1],
            },
            Node {
                start_ns: 0,
                end_ns: 100,
                kind: Internal,
                clock: 0,
                off: false,
                doubtful: false,
                awaited: true,
                children: vec![0],
            },
        ];
        let mut sum = 0;
        walk(&nodes, 0, |_, ns, _| sum += ns);
        assert!(sum <= 100, "{sum}");
        nodes[1].children = vec![7];
        walk(&nodes, 0, |_, ns, _| assert!(ns <= 100));
        walk(&nodes, 9, |_, _, _| unreachable!("there is no such span"));
    }
}
