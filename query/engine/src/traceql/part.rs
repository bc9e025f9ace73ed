//! Some spans of a trace: those that a filter holds of, and so many levels of what is above and below them.

use super::copies::{self, Key};
use super::search::{SHOWN, Search, fields_of};
use super::sources::columns_of;
use super::trace::Trace;
use super::{TraceById, parse_words};
use crate::{Engine, QueryError};
use model::{Tenant, TimeRange, TraceId};
use std::collections::HashSet;
use traceql::{Element, Pipeline, Root, SpansetExpr};

/// Which spans of a trace are wanted.
#[derive(Clone, Debug)]
pub struct SpansWanted {
    filter: Pipeline,
    above: usize,
    below: usize,
}

impl SpansWanted {
    /// Those that one filter of TraceQL holds of, with so many levels of their ancestors and of their descendants;
    /// `usize::MAX` is all of them. In Tempo's words where it is none.
    pub fn of(filter: &str, above: usize, below: usize) -> Result<SpansWanted, QueryError> {
        match parse_words(filter, "invalid TraceQL filter: failed to parse TraceQL spanset filter: ")? {
            Root::Spansets(filter) if is_one_filter(&filter) => Ok(SpansWanted { filter, above, below }),
            _ => Err(QueryError::Bad(
                "invalid TraceQL filter: only a single TraceQL filter is supported, as { status = error }"
                    .to_owned(),
            )),
        }
    }
}

fn is_one_filter(pipeline: &Pipeline) -> bool {
    matches!(pipeline.elements.as_slice(), [Element::Spansets(SpansetExpr::Filter(_))])
}

impl Engine {
    /// As [`Engine::trace_by_id`], with the wanted spans alone. The filter sees the whole trace.
    pub async fn trace_part(
        &self,
        tenant: &Tenant,
        trace_id: TraceId,
        range: Option<TimeRange>,
        wanted: SpansWanted,
    ) -> Result<TraceById, QueryError> {
        let mut found = self.trace_by_id(tenant, trace_id, range).await?;
        let search = Search {
            snapshot: self.source.snapshot(tenant).await?,
            context: self.task_context(),
            pipeline: wanted.filter.clone(),
            range: range.unwrap_or(TimeRange::ALL),
            limit: 1,
            spans_per_spanset: 1,
        };
        let kept = self
            .off_thread(async move {
                let mut columns = SHOWN.to_vec();
                fields_of(&search.pipeline, &mut |field| columns_of(field, &mut columns));
                let mut kept: HashSet<Key> = HashSet::new();
                search
                    .whole(&[trace_id], &columns, &mut |_, trace, spansets| {
                        let held: Vec<usize> =
                            spansets.iter().flat_map(|set| set.spans.iter().copied()).collect();
                        kept.extend(wanted.around(trace, &held));
                        Ok(())
                    })
                    .await?;
                Ok(kept)
            })
            .await?;
        for resource in &mut found.spans.resources {
            resource.spans.retain(|span| kept.contains(&(span.span_id, span.kind as u8, span.start_ns)));
        }
        found.spans.resources.retain(|resource| !resource.spans.is_empty());
        Ok(found)
    }
}

impl SpansWanted {
    /// The spans that the filter holds of, and those above and below that are wanted with them.
    fn around(&self, trace: &Trace<'_>, held: &[usize]) -> Vec<Key> {
        let count = trace.rows.len();
        let mut kept = vec![false; count];
        held.iter().for_each(|at| kept[*at] = true);
        reach(&mut kept, held, self.above, |at| trace.facts.parent(at).into_iter());
        if self.below > 0 {
            let mut children = vec![Vec::new(); count];
            for at in 0..count {
                if let Some(parent) = trace.facts.parent(at) {
                    children[parent].push(at);
                }
            }
            reach(&mut kept, held, self.below, |at| children[at].iter().copied());
        }
        let key = |at: usize| copies::key(trace.rows[at].0, trace.rows[at].1);
        (0..count).filter(|at| kept[*at]).map(key).collect()
    }
}

/// Keeps what is at most so many hops from one of `from`, level by level: what a long way leads to may be near another.
fn reach<I: Iterator<Item = usize>>(
    kept: &mut [bool],
    from: &[usize],
    hops: usize,
    next: impl Fn(usize) -> I,
) {
    let mut seen = vec![false; kept.len()];
    from.iter().for_each(|at| seen[*at] = true);
    let mut level = from.to_vec();
    for _ in 0..hops {
        let mut further = Vec::new();
        for at in level.into_iter().flat_map(&next) {
            if !std::mem::replace(&mut seen[at], true) {
                kept[at] = true;
                further.push(at);
            }
        }
        if further.is_empty() {
            return;
        }
        level = further;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_near_is_reached_by_the_shortest_way() {
        // 0 → 1 → 2 → 3, and a ring of 4 and 5.
        let next = [vec![1], vec![2], vec![3], vec![], vec![5], vec![4]];
        let reached = |from: &[usize], hops: usize| {
            let mut kept = vec![false; next.len()];
            reach(&mut kept, from, hops, |at| next[at].iter().copied());
            (0..next.len()).filter(|at| kept[*at]).collect::<Vec<usize>>()
        };
        assert_eq!(reached(&[0], 0), [0usize; 0]);
        assert_eq!(reached(&[0], 2), [1, 2]);
        assert_eq!(reached(&[0, 2], 1), [1, 3]);
        assert_eq!(reached(&[0], usize::MAX), [1, 2, 3]);
        assert_eq!(reached(&[4], usize::MAX), [5]);
    }

    #[test]
    fn one_filter_says_which_spans() {
        for good in
            ["{ }", "({ status = error })", "{ .a = 1 && !(event:name = `x`) }", "{ nestedSetParent < 0 }"]
        {
            assert!(SpansWanted::of(good, 0, 0).is_ok(), "{good}");
        }
        for bad in ["{ } | rate()", "{ } >> { }", "{ } && { }", "{ } | count() > 1", "{ } | select(name)"] {
            let why = SpansWanted::of(bad, 0, 0).unwrap_err().to_string();
            assert!(why.contains("only a single TraceQL filter is supported"), "{bad}: {why}");
        }
        let why = SpansWanted::of("{ status = }", 0, 0).unwrap_err().to_string();
        assert!(why.starts_with("invalid TraceQL filter: failed to parse"), "{why}");
    }
}
