//! What the condition of an aggregate demands of one span: an average above 290 ms has a span of 290 ms or more. So does a further
//! filter, which one of the spans must pass as well. Traces are looked for by that, too, as it is rarer than what the filter asks.
//!
//! Two such conditions may be met by two spans, and each by one that starts outside the asked range.

use super::tested::narrows;
use traceql::{Aggregate, CompareOp, Element, FieldExpr, Pipeline, Scalar, SpansetExpr, Static};

/// Of spans of the filter that the pipeline begins with: every answer has, in its whole trace, one for each of these.
pub fn of(pipeline: &Pipeline) -> Vec<FieldExpr> {
    let Some((Element::Spansets(SpansetExpr::Filter(filter)), rest)) = pipeline.elements.split_first() else {
        return vec![];
    };
    let of_element = |element: &Element| match element {
        Element::Scalar { left, op, right } => of_one_span(left, *op, right),
        // Where neither narrows what is read, all spans would be looked at once more.
        Element::Spansets(SpansetExpr::Filter(other)) if narrows(filter) || narrows(other) => {
            Some(other.clone())
        }
        _ => None,
    };
    let both = |condition| FieldExpr::And(Box::new(filter.clone()), Box::new(condition));
    rest.iter().filter_map(of_element).map(both).collect()
}

/// `None` also where only the whole trace would tell.
fn of_one_span(aggregate: &Scalar, op: CompareOp, than: &Scalar) -> Option<FieldExpr> {
    let (Scalar::Aggregate(aggregate, expr), Scalar::Static(number)) = (aggregate, than) else { return None };
    let number = match number {
        Static::Int(_) | Static::Float(_) | Static::Duration(_) => number.clone(),
        _ => return None,
    };
    let mut of_trace = false;
    expr.fields(&mut |field| of_trace |= field.of_trace());
    // Not strictly: an average is rounded.
    let op = match (aggregate, op) {
        _ if of_trace => return None,
        (Aggregate::Avg | Aggregate::Max, CompareOp::Greater | CompareOp::GreaterEqual) => {
            CompareOp::GreaterEqual
        }
        (Aggregate::Avg | Aggregate::Min, CompareOp::Less | CompareOp::LessEqual) => CompareOp::LessEqual,
        (Aggregate::Min | Aggregate::Max, CompareOp::Equal) => CompareOp::Equal,
        _ => return None,
    };
    Some(FieldExpr::Compare(op, Box::new(expr.clone()), Box::new(FieldExpr::Static(number))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use traceql::Root;

    fn pipeline(query: &str) -> Pipeline {
        match traceql::parse(query).unwrap().root {
            Root::Spansets(pipeline) => pipeline,
            Root::Metrics(_) => panic!("{query} is of metrics"),
        }
    }

    /// As the filters of a query that joins them.
    fn demanded(query: &str) -> Vec<String> {
        of(&pipeline(query)).into_iter().map(|filter| SpansetExpr::Filter(filter).to_string()).collect()
    }

    #[test]
    fn an_aggregate_demands_a_span_where_it_says_something_of_one() {
        for (query, expected) in [
            ("{ name = `a` } | avg(duration) > 290ms", vec!["{ name = `a` && duration >= 290ms }"]),
            (
                "{ name = `a` } | by(kind) | max(duration) > 290ms",
                vec!["{ name = `a` && duration >= 290ms }"],
            ),
            ("{ name = `a` } | min(span.x) <= 2.5 | count() > 2", vec!["{ name = `a` && span.x <= 2.5 }"]),
            // Another span may be the one for the other.
            (
                "{ name = `a` } | avg(span.x) < 2 | max(span.y) = 3",
                vec!["{ name = `a` && span.x <= 2 }", "{ name = `a` && span.y = 3 }"],
            ),
            ("{ name = `a` } | sum(span.x) > 2", vec![]),
            ("{ name = `a` } | avg(span.x) != 2", vec![]),
            ("{ name = `a` } | min(span.x) > 2", vec![]),
            ("{ name = `a` } | max(span.x) < 2", vec![]),
            ("{ name = `a` } | max(span.x) > min(span.y)", vec![]),
            ("{ name = `a` } | max(childCount) > 2", vec![]),
            ("{ name = `a` } >> { name = `b` } | avg(duration) > 1s", vec![]),
            ("{ name = `a` } | { status = error } | count() > 2", vec!["{ name = `a` && status = error }"]),
            ("{ kind = client } | by(name) | { span.x = `a` }", vec!["{ kind = client && span.x = `a` }"]),
            ("{ kind = client } | { span.x > 1 }", vec![]),
            ("{ name = `a` } | { status = error } || { .x = 1 }", vec![]),
        ] {
            let expected: Vec<String> = expected
                .into_iter()
                .map(|filter| match &pipeline(filter).elements[0] {
                    Element::Spansets(expr) => expr.to_string(),
                    other => panic!("{other:?}"),
                })
                .collect();
            assert_eq!(demanded(query), expected, "{query}");
        }
    }
}
