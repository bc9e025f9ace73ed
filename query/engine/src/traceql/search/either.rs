//! Traces that one of several pipelines joined by `||` may find, as `({ name = "a" } | avg(duration) > 1s) || ({ status = error } >>
//! { name = "b" })`, each by what columns tell of it alone.

use super::Search;
use super::sides::CLIMBED;
use super::waiting::Told;
use crate::QueryError;
use foldhash::fast::RandomState;
use model::TraceId;
use std::cmp::Reverse;
use std::collections::{HashMap, HashSet};
use traceql::{Element, Pipeline, SpansetExpr, SpansetOp};

/// Each is looked for by itself.
const BRANCHES_MAX: usize = 4;
/// With more traces, it is not asked of each whether its spans hang together.
const CLIMBED_MAX: usize = 4 * CLIMBED;

/// What is joined by `||`; `None` where the pipeline does not begin so, and where a further filter must have spans in the range as
/// well.
pub(super) fn branches(pipeline: &Pipeline) -> Option<Vec<Pipeline>> {
    let (Element::Spansets(spansets @ SpansetExpr::Op { op: SpansetOp::Or, .. }), rest) =
        pipeline.elements.split_first()?
    else {
        return None;
    };
    if rest.iter().any(|element| matches!(element, Element::Spansets(_))) {
        return None;
    }
    let mut branches = vec![];
    add_branches(spansets, &mut branches);
    Some(branches)
}

fn add_branches(spansets: &SpansetExpr, branches: &mut Vec<Pipeline>) {
    match spansets {
        SpansetExpr::Op { op: SpansetOp::Or, left, right } => {
            add_branches(left, branches);
            add_branches(right, branches);
        }
        SpansetExpr::Pipeline(pipeline) => branches.push(pipeline.as_ref().clone()),
        other => branches.push(Pipeline { elements: vec![Element::Spansets(other.clone())] }),
    }
}

impl Search {
    /// `None` where columns tell of none of them more than its filters do: these are looked for together.
    pub(super) async fn told_by_either(&self, inspected: &mut u64) -> Result<Option<Told>, QueryError> {
        let few = branches(&self.pipeline).filter(|branches| branches.len() <= BRANCHES_MAX);
        let Some(branches) = few else { return Ok(None) };
        let of_branch = |pipeline| Search { pipeline, ..self.clone() };
        let branches: Vec<Search> = branches.into_iter().map(of_branch).collect();
        if !branches.iter().any(|branch| branch.aggregates_tell() || branch.sides_tell()) {
            return Ok(None);
        }
        let mut found: HashMap<TraceId, i64, RandomState> = HashMap::default();
        for branch in branches {
            for (newest_ns, trace) in branch.told_alone(inspected).await? {
                let known = found.entry(trace).or_insert(newest_ns);
                *known = newest_ns.max(*known);
            }
            super::candidates::bounded(found.len())?;
        }
        let mut traces: Vec<(i64, TraceId)> =
            found.into_iter().map(|(trace, newest_ns)| (newest_ns, trace)).collect();
        traces.sort_unstable_by_key(|newest| Reverse(*newest));
        Ok(Some(Told { traces, links: None }))
    }

    /// By what tells the most of it.
    pub(super) async fn told_alone(&self, inspected: &mut u64) -> Result<Vec<(i64, TraceId)>, QueryError> {
        if let Some(told) = self.told_by_sides(inspected).await? {
            return self.hanging_together(told).await;
        }
        match self.told_by_aggregates(inspected).await? {
            Some(told) => Ok(told),
            None => self.newest_candidates(self.range, inspected).await,
        }
    }

    async fn hanging_together(&self, told: Told) -> Result<Vec<(i64, TraceId)>, QueryError> {
        let Told { mut traces, links } = told;
        let Some(links) = links.filter(|_| traces.len() <= CLIMBED_MAX) else { return Ok(traces) };
        let mut together: HashSet<TraceId, RandomState> = HashSet::default();
        for some in traces.chunks(CLIMBED) {
            let ids = some.iter().map(|(_, id)| *id).collect();
            together.extend(self.climbed(&links, ids).await?);
        }
        traces.retain(|(_, id)| together.contains(id));
        Ok(traces)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use traceql::Root;

    #[test]
    fn a_branch_is_what_stands_beside_or() {
        for (query, expected) in [
            ("{ .a = 1 } || { .b = 1 }", Some(vec!["{ .a = 1 }", "{ .b = 1 }"])),
            (
                "({ .a = 1 } | count() > 2) || { .b = 1 } >> { .c = 1 } || { .d = 1 } | by(name)",
                Some(vec!["{ .a = 1 } | count() > 2", "{ .b = 1 } >> { .c = 1 }", "{ .d = 1 }"]),
            ),
            ("{ .a = 1 } || { .b = 1 } | { .c = 1 }", None),
            ("({ .a = 1 } || { .b = 1 }) && { .c = 1 }", None),
            ("{ .a = 1 }", None),
            ("{ .a = 1 || .b = 1 }", None),
        ] {
            let Root::Spansets(pipeline) = traceql::parse(query).unwrap().root else { panic!("{query}") };
            let spelled_out = |branches: Vec<Pipeline>| branches.iter().map(Pipeline::to_string).collect();
            let own: Option<Vec<String>> = branches(&pipeline).map(spelled_out);
            let expected = expected.map(|all| all.into_iter().map(spelled).collect::<Vec<String>>());
            assert_eq!(own, expected, "{query}");
        }
    }

    /// As the printer does it.
    fn spelled(query: &str) -> String {
        let Root::Spansets(pipeline) = traceql::parse(query).unwrap().root else { panic!("{query}") };
        pipeline.to_string()
    }
}
