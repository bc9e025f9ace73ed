//! What columns tell of the operands of `&&` and of structural operators, as of `{ .a = 1 } >> { .b = 1 } >> { .c = 1 }` or of
//! `({ .a = 1 } | count() > 4) && { .b = 1 }`: an answer has spans of each of them. It is asked once the first candidates were
//! read in vain.

use super::Search;
use crate::QueryError;
use foldhash::fast::RandomState;
use model::TraceId;
use std::collections::HashSet;
use traceql::{Answers, Element, Pipeline, SpansetExpr, SpansetOp};

/// Each is looked for by itself.
const OPERANDS_MAX: usize = 4;

/// Those of which every answer has spans, each as a pipeline.
fn operands(pipeline: &Pipeline) -> Vec<Pipeline> {
    let mut operands = vec![];
    if let Some(Element::Spansets(spansets)) = pipeline.elements.first() {
        add_operands(spansets, &mut operands);
    }
    operands
}

fn add_operands(spansets: &SpansetExpr, operands: &mut Vec<Pipeline>) {
    let is_filter = |one: &SpansetExpr| matches!(one, SpansetExpr::Filter(_));
    match spansets {
        SpansetExpr::Pipeline(pipeline) => operands.push(pipeline.as_ref().clone()),
        SpansetExpr::Op { op: SpansetOp::Or, .. } => {}
        SpansetExpr::Op { op: SpansetOp::Structural(_, Answers::Not), right, .. } => {
            add_operands(right, operands);
        }
        SpansetExpr::Op { op, left, right }
            if *op == SpansetOp::And || !is_filter(left) || !is_filter(right) =>
        {
            add_operands(left, operands);
            add_operands(right, operands);
        }
        // A filter, or two that tell by how their spans stand to each other.
        told => operands.push(Pipeline { elements: vec![Element::Spansets(told.clone())] }),
    }
}

impl Search {
    fn telling_operands(&self) -> Vec<Search> {
        let of_operand = |pipeline| Search { pipeline, ..self.clone() };
        let operands = operands(&self.pipeline).into_iter().map(of_operand);
        operands.filter(|own| own.aggregates_tell() || own.sides_tell()).take(OPERANDS_MAX).collect()
    }

    /// Whether [`Search::told_by_operands`] can tell anything.
    pub(super) fn operands_tell(&self) -> bool {
        !self.telling_operands().is_empty()
    }

    /// Traces that may be answers by what is told of each operand; `None` where nothing is.
    pub(super) async fn told_by_operands(
        &self,
        inspected: &mut u64,
    ) -> Result<Option<HashSet<TraceId, RandomState>>, QueryError> {
        let mut told: Option<HashSet<TraceId, RandomState>> = None;
        for operand in self.telling_operands() {
            let traces = operand.told_alone(inspected).await?.into_iter().map(|(_, id)| id);
            told = Some(match told {
                Some(before) => traces.filter(|id| before.contains(id)).collect(),
                None => traces.collect(),
            });
        }
        Ok(told)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use traceql::Root;

    #[test]
    fn an_operand_is_what_every_answer_has_spans_of() {
        for (query, expected) in [
            (
                "{ .a = 1 } >> { .b = 1 } >> { .c = 1 } | count() > 1",
                vec!["{ .a = 1 } >> { .b = 1 }", "{ .c = 1 }"],
            ),
            ("({ .a = 1 } | count() > 2) && { .b = 1 }", vec!["{ .a = 1 } | count() > 2", "{ .b = 1 }"]),
            ("({ .a = 1 } | count() > 2) !> { .b = 1 }", vec!["{ .b = 1 }"]),
            ("({ .a = 1 } || { .b = 1 }) && { .c = 1 }", vec!["{ .c = 1 }"]),
            ("{ .a = 1 } || { .b = 1 }", vec![]),
            ("count() > 2", vec![]),
        ] {
            let pipeline = parsed(query);
            let own: Vec<String> = operands(&pipeline).iter().map(Pipeline::to_string).collect();
            let expected: Vec<String> = expected.into_iter().map(|one| parsed(one).to_string()).collect();
            assert_eq!(own, expected, "{query}");
        }
    }

    fn parsed(query: &str) -> Pipeline {
        match traceql::parse(query).unwrap().root {
            Root::Spansets(pipeline) => pipeline,
            Root::Metrics(_) => panic!("{query} is of metrics"),
        }
    }
}
