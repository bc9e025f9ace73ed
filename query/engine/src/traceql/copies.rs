//! Rows that are copies of one span. Who got no answer sends its spans again, and some send a span when it begins and once
//! more when it has ended. Copies have the span's id, its kind (a server may share the id of its client) and its start.
//! Of several the span is the one that ended last, and of those that ended at once one that failed: what was sent before
//! the end does not know it. What else differs is as it lies there first.

use super::scan::turned;
use super::spans::Spans;
use model::{SpanId, StatusCode};
use std::cmp::Ordering;
use traceql::{CompareOp, Field, FieldExpr, Intrinsic, Static};

/// A row of a batch.
pub(super) type At<'a> = (&'a Spans<'a>, usize);

/// What copies share within a trace.
pub(super) type Key = (SpanId, u8, i64);

pub(super) fn key(spans: &Spans<'_>, row: usize) -> Key {
    (spans.span_id(row), spans.kind(row) as u8, spans.start(row))
}

/// What a copy knows of the span's end: of two the larger knows more.
pub(super) fn end(duration_ns: i64, status: StatusCode) -> (i64, bool) {
    (duration_ns, status == StatusCode::Error)
}

/// The spans of one trace, each once, in order of their start.
pub(super) fn once(rows: &mut Vec<At<'_>>) {
    rows.sort_by(order);
    rows.dedup_by(|next, kept| {
        let copy = order(next, kept).is_eq();
        let end_of = |(spans, row): &At<'_>| end(spans.duration(*row), spans.status(*row));
        if copy && end_of(next) > end_of(kept) {
            *kept = *next;
        }
        copy
    });
}

/// The kind is a word, and is looked at last.
fn order((a, x): &At<'_>, (b, y): &At<'_>) -> Ordering {
    a.start(*x)
        .cmp(&b.start(*y))
        .then_with(|| a.span_id(*x).cmp(&b.span_id(*y)))
        .then_with(|| (a.kind(*x) as u8).cmp(&(b.kind(*y) as u8)))
}

/// Whether a filter that holds of a span before its end does so of the copy that has it, too: that took as long or longer, may have
/// failed meanwhile, and has more attributes and events. Of another filter, as of `{ duration < 5ms }`, only the copy may be
/// found that does not count.
pub(super) fn outlasts(filter: &FieldExpr) -> bool {
    match filter {
        FieldExpr::Static(_) | FieldExpr::Field(_) => true,
        FieldExpr::And(left, right) | FieldExpr::Or(left, right) => outlasts(left) && outlasts(right),
        FieldExpr::OfOne(conditions) => conditions.iter().all(outlasts),
        FieldExpr::Regex { value, .. } => {
            matches!(value.as_ref(), FieldExpr::Field(field) if *field != Field::Intrinsic(Intrinsic::StatusMessage))
        }
        FieldExpr::Compare(op, left, right) => match (left.as_ref(), right.as_ref()) {
            (FieldExpr::Field(field), FieldExpr::Static(value)) => compared_outlasts(field, *op, value),
            (FieldExpr::Static(value), FieldExpr::Field(field)) => {
                compared_outlasts(field, turned(*op), value)
            }
            _ => false,
        },
        FieldExpr::Not(_) | FieldExpr::Negate(_) | FieldExpr::Arithmetic(..) => false,
    }
}

fn compared_outlasts(field: &Field, op: CompareOp, value: &Static) -> bool {
    match field {
        Field::Intrinsic(Intrinsic::Duration) => {
            matches!(op, CompareOp::Greater | CompareOp::GreaterEqual)
        }
        Field::Intrinsic(Intrinsic::Status) => {
            op == CompareOp::Equal && *value == Static::Status(StatusCode::Error)
        }
        Field::Intrinsic(Intrinsic::StatusMessage) => false,
        _ => op != CompareOp::Equal || *value != Static::Nil,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use traceql::{Element, Root, SpansetExpr};

    #[test]
    fn what_the_end_of_a_span_may_change_does_not_outlast_it() {
        for (query, expected) in [
            ("{ }", true),
            ("{ name = `a` && duration > 5ms || status = error }", true),
            ("{ 5ms <= duration && kind != server }", true),
            ("{ span.a =~ `x` && span.b != nil && event:name = `e` && event.c = 1 }", true),
            ("{ duration < 5ms }", false),
            ("{ 5ms > duration && name = `a` }", false),
            ("{ duration != 5ms }", false),
            ("{ status = ok }", false),
            ("{ status != error || name = `a` }", false),
            ("{ statusMessage =~ `x` }", false),
            ("{ span.a = nil }", false),
            ("{ !(span.a = 1) }", false),
            ("{ span.a + 1 = 2 }", false),
            ("{ span.a = span.b }", false),
        ] {
            let Root::Spansets(pipeline) = traceql::parse(query).unwrap().root else { panic!("{query}") };
            let [Element::Spansets(SpansetExpr::Filter(filter))] = &pipeline.elements[..] else {
                panic!("{query}")
            };
            assert_eq!(outlasts(filter), expected, "{query}");
        }
    }
}
