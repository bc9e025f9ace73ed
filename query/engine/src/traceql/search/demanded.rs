//! What the condition of an aggregate demands of one span: an average above 290 ms has a span of 290 ms or more. Spans are
//! looked for by that, too, or every trace that has the others would be read whole.

use traceql::{Aggregate, CompareOp, Element, FieldExpr, Pipeline, Scalar, SpansetExpr, Static};

/// The pipeline with such conditions in its first filter. Its answers are answers of this one, which may have more.
pub fn of(pipeline: &Pipeline) -> Pipeline {
    let mut demanded = pipeline.clone();
    let Some((Element::Spansets(SpansetExpr::Filter(filter)), rest)) = demanded.elements.split_first_mut()
    else {
        return demanded;
    };
    for element in rest {
        if let Element::Scalar { left, op, right } = element
            && let Some(condition) = of_one_span(left, *op, right)
        {
            *filter = FieldExpr::And(Box::new(filter.clone()), Box::new(condition));
        }
    }
    demanded
}

fn of_one_span(aggregate: &Scalar, op: CompareOp, than: &Scalar) -> Option<FieldExpr> {
    let (Scalar::Aggregate(aggregate, expr), Scalar::Static(number)) = (aggregate, than) else { return None };
    let number = match number {
        Static::Int(_) | Static::Float(_) | Static::Duration(_) => number.clone(),
        _ => return None,
    };
    // Not strictly: an average is rounded.
    let op = match (aggregate, op) {
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

    fn first_filter(query: &str) -> String {
        let Root::Spansets(pipeline) = traceql::parse(query).unwrap().root else { panic!("{query}") };
        match &of(&pipeline).elements[0] {
            Element::Spansets(expr) => expr.to_string(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn an_aggregate_demands_a_span_where_it_says_something_of_one() {
        for (query, expected) in [
            ("{ name = `a` } | avg(duration) > 290ms", "{ name = `a` && duration >= 290ms }"),
            ("{ name = `a` } | by(kind) | max(duration) > 290ms", "{ name = `a` && duration >= 290ms }"),
            ("{ name = `a` } | min(span.x) <= 2.5 | count() > 2", "{ name = `a` && span.x <= 2.5 }"),
            (
                "{ name = `a` } | avg(span.x) < 2 | max(span.y) = 3",
                "{ (name = `a` && span.x <= 2) && span.y = 3 }",
            ),
            ("{ name = `a` } | sum(span.x) > 2", "{ name = `a` }"),
            ("{ name = `a` } | avg(span.x) != 2", "{ name = `a` }"),
            ("{ name = `a` } | min(span.x) > 2", "{ name = `a` }"),
            ("{ name = `a` } | max(span.x) < 2", "{ name = `a` }"),
            ("{ name = `a` } | max(span.x) > min(span.y)", "{ name = `a` }"),
        ] {
            assert_eq!(first_filter(query), first_filter(expected), "{query}");
        }
        let of_two = "{ name = `a` } >> { name = `b` }";
        assert_eq!(first_filter(&format!("{of_two} | avg(duration) > 1s")), first_filter(of_two));
    }
}
