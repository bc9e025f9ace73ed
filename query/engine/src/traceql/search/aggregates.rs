//! Traces that the condition of an aggregate rules out, as `{ name = "a" } | avg(duration) > 290ms`, without reading them whole:
//! of the spans that the filter holds of, what is aggregated is read by columns and put together by trace. What a query
//! asks behind such conditions is not asked here: traces that are left are read whole.

use super::passing::Passing;
use super::{Search, range_of_traces};
use crate::QueryError;
use crate::traceql::evaluate::{SpanAt, compare};
use crate::traceql::scan::narrow;
use crate::traceql::shares::in_shares;
use crate::traceql::spans::{Spans, Val, fields_or_columns_of};
use crate::traceql::trace::scalar_of;
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryReservation};
use foldhash::fast::RandomState;
use futures::StreamExt;
use model::{SpanId, SpanSelect, TraceId};
use std::collections::HashMap;
use std::sync::Arc;
use traceql::{CompareOp, Element, Field, FieldExpr, Pipeline, Scalar, SpansetExpr};

/// Spans that may be remembered, of 40 bytes each. Where there are more, no trace is ruled out.
const ROWS_MAX: usize = 4_000_000;

/// What is asked of the spans of one filter together.
struct Aggregated<'a> {
    filter: &'a FieldExpr,
    /// What is aggregated. `None`: they are only counted.
    field: Option<&'a Field>,
    conditions: Vec<(&'a Scalar, CompareOp, &'a Scalar)>,
}

impl<'a> Aggregated<'a> {
    /// `None` where nothing of the kind stands behind the filter, or where it takes whole traces to know what to aggregate.
    fn of(pipeline: &'a Pipeline) -> Option<Aggregated<'a>> {
        let (Element::Spansets(SpansetExpr::Filter(filter)), rest) = pipeline.elements.split_first()? else {
            return None;
        };
        let mut own = Aggregated { filter, field: None, conditions: vec![] };
        for element in rest {
            match element {
                Element::Scalar { left, op, right } => own.add(left, *op, right),
                Element::Select(_) => {}
                // What follows is asked of other spans.
                _ => break,
            }
        }
        let mut of_trace = own.field.is_some_and(Field::of_trace);
        filter.fields(&mut |field| of_trace |= field.of_trace());
        (!of_trace && !own.conditions.is_empty()).then_some(own)
    }

    /// Only the first field is read. Who reads traces whole asks what is said of others.
    fn add(&mut self, left: &'a Scalar, op: CompareOp, right: &'a Scalar) {
        let mut fields = vec![];
        let is_plain = aggregated_fields(left, &mut fields) && aggregated_fields(right, &mut fields);
        let field = self.field.or(fields.first().copied());
        if is_plain && fields.iter().all(|own| Some(*own) == field) {
            self.field = field;
            self.conditions.push((left, op, right));
        }
    }

    /// Whether spans of one trace, in order of their start, are what is asked.
    fn holds(&self, rows: &[Row]) -> bool {
        let value = |scalar: &Scalar| {
            scalar_of(scalar, rows.len(), &|_, see| {
                rows.iter().for_each(|row| see(&row.number.value()));
            })
        };
        self.conditions.iter().all(|(left, op, right)| match (value(left), value(right)) {
            (Some(left), Some(right)) => compare(*op, &left, &right) == Some(true),
            _ => false,
        })
    }
}

/// Gathers the fields that are aggregated; false where it is not plain fields.
fn aggregated_fields<'a>(scalar: &'a Scalar, fields: &mut Vec<&'a Field>) -> bool {
    match scalar {
        Scalar::Count | Scalar::Static(_) => true,
        Scalar::Arithmetic(_, left, right) => {
            aggregated_fields(left, fields) && aggregated_fields(right, fields)
        }
        Scalar::Aggregate(_, FieldExpr::Field(field)) => {
            fields.push(field);
            true
        }
        Scalar::Aggregate(..) => false,
    }
}

/// A span that the filter holds of.
struct Row {
    /// The place of its trace.
    trace: u32,
    start_ns: i64,
    id: SpanId,
    kind: u8,
    number: Number,
}

impl Row {
    /// In the order in which the spans of a trace are aggregated. Spans of which it is the same are one that was sent twice.
    fn key(&self) -> (u32, i64, SpanId, u8) {
        (self.trace, self.start_ns, self.id, self.kind)
    }
}

/// What is aggregated of one span.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Number {
    None,
    Int(i64),
    Float(f64),
    Duration(i64),
}

impl Number {
    fn of(value: &Val<'_>) -> Number {
        match value {
            Val::Int(number) => Number::Int(*number),
            Val::Float(number) => Number::Float(*number),
            Val::Duration(ns) => Number::Duration(*ns),
            _ => Number::None,
        }
    }

    fn value(self) -> Val<'static> {
        match self {
            Number::None => Val::Nil,
            Number::Int(number) => Val::Int(number),
            Number::Float(number) => Val::Float(number),
            Number::Duration(ns) => Val::Duration(ns),
        }
    }
}

type Places = HashMap<TraceId, u32, RandomState>;

impl Search {
    /// Whether [`Search::without_failing`] can tell anything.
    pub(super) fn aggregates_tell(&self) -> bool {
        Aggregated::of(&self.pipeline).is_some()
    }

    /// The traces of which the spans that the filter holds of are together what is asked, in their order. All of them
    /// where it takes too much room to tell.
    pub(super) async fn without_failing(&self, ids: Vec<TraceId>) -> Result<Vec<TraceId>, QueryError> {
        let Some(asked) = Aggregated::of(&self.pipeline) else { return Ok(ids) };
        let reservation = MemoryConsumer::new("traceql aggregates").register(self.context.memory_pool());
        let places: Places = ids.iter().copied().zip(0..).collect();
        reservation
            .try_grow(places.capacity() * size_of::<(TraceId, u32)>())
            .map_err(crate::logql::broken)?;
        let places = Arc::new(places);
        let shares = in_shares(|share| {
            let (own, places) = (self.clone(), places.clone());
            async move { own.share_of_rows(&places, share).await }
        })
        .await?;
        let (mut rows, mut reservations) = (vec![], vec![]);
        for share in shares {
            let Some((own, taken)) = share else { return Ok(ids) };
            if reservation.try_grow(own.len() * size_of::<Row>()).is_err() {
                return Ok(ids);
            }
            rows.extend(own);
            reservations.push(taken);
        }
        let possible = possible(&asked, rows, ids.len());
        Ok(ids.into_iter().zip(possible).filter(|(_, possible)| *possible).map(|(id, _)| id).collect())
    }

    /// Spans of these traces that the filter holds of, from where traces are read whole; `None` where they are too many.
    async fn share_of_rows(
        &self,
        places: &Places,
        share: (usize, usize),
    ) -> Result<Option<(Vec<Row>, MemoryReservation)>, QueryError> {
        let Some(asked) = Aggregated::of(&self.pipeline) else { return Ok(None) };
        let range = range_of_traces(self.range);
        let mut select = SpanSelect { share: Some(share), ..SpanSelect::all(range) };
        narrow(&mut select, asked.filter);
        let mut columns = vec!["trace_id", "span_id", "start_ts", "kind"];
        let mut read: Vec<&Field> = asked.field.into_iter().collect();
        asked.filter.fields(&mut |field| read.push(field));
        read.into_iter().for_each(|field| fields_or_columns_of(field, &mut select.fields, &mut columns));
        let reservation = MemoryConsumer::new("traceql aggregates").register(self.context.memory_pool());
        let mut filter = Passing::new(asked.filter);
        let mut rows = vec![];
        let mut batches = self.scan(select, &columns)?;
        while let Some(batch) = batches.next().await {
            let batch = batch.map_err(crate::logql::broken)?;
            let spans = Spans::of(&batch);
            let starts = spans.starts().unwrap_or_default();
            let mut passing: Vec<bool> = starts.iter().map(|start| range.contains(*start)).collect();
            filter.judge(&spans, &mut passing);
            for (row, start_ns) in starts.iter().copied().enumerate().filter(|(row, _)| passing[*row]) {
                let Some(trace) = places.get(&spans.trace_id(row)).copied() else { continue };
                let at = SpanAt { spans: &spans, row, trace: None };
                let number = asked.field.map_or(Number::None, |field| Number::of(&at.value(field)));
                let (id, kind) = (spans.span_id(row), spans.kind(row) as u8);
                rows.push(Row { trace, start_ns, id, kind, number });
            }
            let has_room = reservation.try_resize(rows.capacity() * size_of::<Row>()).is_ok();
            if !has_room || rows.len() > ROWS_MAX {
                return Ok(None);
            }
        }
        Ok(Some((rows, reservation)))
    }
}

/// Of each trace by its place. Where a span was sent twice and the two differ, who reads the trace whole sees which one counts.
fn possible(asked: &Aggregated<'_>, mut rows: Vec<Row>, traces: usize) -> Vec<bool> {
    let mut possible = vec![false; traces];
    rows.sort_unstable_by_key(Row::key);
    rows.dedup_by(|again, first| {
        let is_same = again.key() == first.key();
        possible[first.trace as usize] |= is_same && again.number != first.number;
        is_same
    });
    for of_trace in rows.chunk_by(|one, next| one.trace == next.trace) {
        possible[of_trace[0].trace as usize] |= asked.holds(of_trace);
    }
    possible
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

    #[test]
    fn conditions_of_one_field_behind_one_filter_are_told() {
        for (query, conditions) in [
            ("{ name = `a` } | avg(duration) > 290ms", 1),
            ("{ name = `a` } | select(span.y) | count() > 2 | max(span.x) < 3 | min(span.x) > 1", 3),
            ("{ name = `a` } | max(span.x) - min(span.x) > 2 | sum(span.y) > 3", 1),
            ("{ name = `a` } | by(span.y) | count() > 2", 0),
            ("{ name = `a` } | count() > 2 | by(span.y) | count() > 3", 1),
            ("{ name = `a` } | sum(span.x + 1) > 2", 0),
            ("{ name = `a` } >> { name = `b` } | count() > 2", 0),
            ("{ traceDuration > 1s } | count() > 2", 0),
            ("{ name = `a` } | max(childCount) > 2", 0),
            ("{ parent.zone = `a` } | count() > 2", 0),
            ("{ name = `a` }", 0),
        ] {
            let pipeline = pipeline(query);
            let told = Aggregated::of(&pipeline).map_or(0, |asked| asked.conditions.len());
            assert_eq!(told, conditions, "{query}");
        }
    }

    #[test]
    fn a_span_that_was_sent_twice_counts_once() {
        let row = |trace, id: u8, kind, ms: i64| Row {
            trace,
            start_ns: 5,
            id: [id; 8],
            kind,
            number: Number::Duration(ms * 1_000_000),
        };
        let told = |query: &str, rows: Vec<Row>| {
            let pipeline = pipeline(query);
            possible(&Aggregated::of(&pipeline).unwrap(), rows, 3)
        };
        let rows = || vec![row(2, 1, 0, 100), row(0, 1, 0, 100), row(2, 2, 0, 10), row(2, 1, 0, 100)];
        assert_eq!(told("{ } | avg(duration) > 60ms", rows()), [true, false, false]);
        assert_eq!(told("{ } | avg(duration) > 50ms", rows()), [true, false, true]);
        assert_eq!(told("{ } | count() = 2", rows()), [false, false, true]);
        // Another end of a call, and a copy that differs.
        assert_eq!(told("{ } | count() = 2", vec![row(1, 1, 2, 1), row(1, 1, 3, 1)]), [false, true, false]);
        assert_eq!(told("{ } | count() = 2", vec![row(1, 1, 2, 1), row(1, 1, 2, 7)]), [false, true, false]);
    }
}
