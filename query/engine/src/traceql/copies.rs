//! Rows that are copies of one span. Who got no answer sends its spans again, and some send a span when it begins and once
//! more when it has ended. Copies have the span's id, its kind (a server may share the id of its client) and its start.
//! Of several the span is the one that ended last, and of those that ended at once one that failed: what was sent before
//! the end does not know it. What else differs is as it lies there first.

use super::spans::Spans;
use model::{SpanId, StatusCode};
use std::cmp::Ordering;

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
