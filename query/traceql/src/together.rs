//! Conditions on events that are joined by `&&` in one filter are of one event, and those on links of one link: who asks for
//! `event.exception.type = "IOError" && event.attempt > 2` means the attempt that failed so.

use crate::ast::*;

pub(crate) fn query(query: &mut Query) {
    match &mut query.root {
        Root::Spansets(pipeline) => of_pipeline(pipeline),
        Root::Metrics(metrics) => of_metrics(metrics),
    }
}

fn of_metrics(metrics: &mut Metrics) {
    match metrics {
        Metrics::Aggregate(aggregate) => {
            of_pipeline(&mut aggregate.spansets);
            aggregate.selection.iter_mut().for_each(of_filter);
        }
        Metrics::Topk(inner, _) | Metrics::Bottomk(inner, _) | Metrics::Filter(inner, _, _) => {
            of_metrics(inner)
        }
        Metrics::Arithmetic(_, left, right) => {
            of_metrics(left);
            of_metrics(right);
        }
        Metrics::Number(_) => {}
    }
}

fn of_pipeline(pipeline: &mut Pipeline) {
    for element in &mut pipeline.elements {
        if let Element::Spansets(expr) = element {
            of_spansets(expr);
        }
    }
}

fn of_spansets(expr: &mut SpansetExpr) {
    match expr {
        SpansetExpr::Filter(filter) => of_filter(filter),
        SpansetExpr::Pipeline(pipeline) => of_pipeline(pipeline),
        SpansetExpr::Op { left, right, .. } => {
            of_spansets(left);
            of_spansets(right);
        }
    }
}

/// Puts together what is joined by `&&`, at the place of the first of them.
fn of_filter(filter: &mut FieldExpr) {
    match filter {
        FieldExpr::And(..) => {
            let mut conditions = Vec::new();
            split(std::mem::replace(filter, FieldExpr::Static(Static::Nil)), &mut conditions);
            for part in [Scope::Event, Scope::Link] {
                gather(part, &mut conditions);
            }
            let joined =
                conditions.into_iter().reduce(|left, right| FieldExpr::And(left.into(), right.into()));
            *filter = joined.unwrap_or(FieldExpr::Static(Static::Bool(true)));
        }
        FieldExpr::Or(left, right) => {
            of_filter(left);
            of_filter(right);
        }
        FieldExpr::Not(inner) => of_filter(inner),
        _ => {}
    }
}

/// What stands between `&&`.
fn split(filter: FieldExpr, conditions: &mut Vec<FieldExpr>) {
    match filter {
        FieldExpr::And(left, right) => {
            split(*left, conditions);
            split(*right, conditions);
        }
        mut one => {
            of_filter(&mut one);
            conditions.push(one);
        }
    }
}

fn gather(part: Scope, conditions: &mut Vec<FieldExpr>) {
    let is_of = |condition: &FieldExpr| part_of(condition) == Some(part);
    let Some(first) = conditions.iter().position(is_of) else { return };
    if conditions.iter().filter(|condition| is_of(condition)).count() < 2 {
        return;
    }
    let (own, mut others): (Vec<_>, Vec<_>) = conditions.drain(..).partition(is_of);
    others.insert(first, FieldExpr::OfOne(own));
    *conditions = others;
}

/// Whether a condition compares a field of an event or of a link with a value. What is missing is asked of all of them.
fn part_of(condition: &FieldExpr) -> Option<Scope> {
    let field = match condition {
        FieldExpr::Compare(_, left, right) => match (left.as_ref(), right.as_ref()) {
            (_, FieldExpr::Static(Static::Nil)) | (FieldExpr::Static(Static::Nil), _) => None,
            (FieldExpr::Field(field), FieldExpr::Static(_))
            | (FieldExpr::Static(_), FieldExpr::Field(field)) => Some(field),
            _ => None,
        },
        FieldExpr::Regex { value, .. } => match value.as_ref() {
            FieldExpr::Field(field) => Some(field),
            _ => None,
        },
        _ => None,
    }?;
    match field {
        Field::Attribute { scope: scope @ (Scope::Event | Scope::Link), .. } => Some(*scope),
        Field::Intrinsic(Intrinsic::EventName | Intrinsic::EventTimeSinceStart) => Some(Scope::Event),
        Field::Intrinsic(Intrinsic::LinkTraceId | Intrinsic::LinkSpanId) => Some(Scope::Link),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn together(text: &str) -> Vec<usize> {
        fn found(filter: &FieldExpr, sizes: &mut Vec<usize>) {
            match filter {
                FieldExpr::OfOne(conditions) => sizes.push(conditions.len()),
                FieldExpr::And(left, right) | FieldExpr::Or(left, right) => {
                    found(left, sizes);
                    found(right, sizes);
                }
                FieldExpr::Not(inner) => found(inner, sizes),
                _ => {}
            }
        }
        let Root::Spansets(pipeline) = crate::parse(text).unwrap().root else { panic!("{text}") };
        let Element::Spansets(SpansetExpr::Filter(filter)) = &pipeline.elements[0] else { panic!("{text}") };
        let mut sizes = Vec::new();
        found(filter, &mut sizes);
        sizes
    }

    #[test]
    fn conditions_on_events_are_of_one() {
        let cases: [(&str, &[usize]); 11] = [
            ("{ event.a = 1 && event.b = 2 }", &[2]),
            ("{ event.a = 1 && span.x = 3 && event:name =~ `x.*` && event:timeSinceStart > 1s }", &[3]),
            ("{ event.a = 1 && link.b = 2 }", &[]),
            ("{ link.a = 1 && event.b = 2 && link.c = 3 && event.d = 4 }", &[2, 2]),
            ("{ event.a = 1 || event.b = 2 }", &[]),
            ("{ (event.a = 1 && event.b = 2) || span.c = 3 }", &[2]),
            ("{ !(event.a = 1 && event.b = 2) }", &[2]),
            ("{ event.a = nil && event.b = 2 }", &[]),
            ("{ 1 = event.a && event.b = 2 }", &[2]),
            ("{ nil = event.a && event.b = 2 }", &[]),
            ("{ event.a = 1 && (event.b = 2 || event.c = 3) }", &[]),
        ];
        for (text, expected) in cases {
            assert_eq!(together(text), expected, "{text}");
        }
    }
}
