//! Traces that the condition of an aggregate leaves, as `{ name = "a" } | avg(duration) > 290ms`, without reading them whole: of
//! the spans that the filter holds of, what is aggregated is read by columns and put together by trace. What a query asks
//! behind such conditions is not asked here: traces that are left are read whole.
//!
//! First only those spans are looked for that the conditions demand one of (`demanded`), as these are rarer, wherever in the
//! trace they are.

use super::matching::Matching;
use super::{Search, demanded, tested};
use crate::QueryError;
use crate::traceql::copies::outlasts;
use crate::traceql::evaluate::compare;
use crate::traceql::trace::scalar_of;
use crate::traceql::value::Val;
use foldhash::fast::RandomState;
use model::{SpanId, TimeRange, TraceId};
use std::cmp::Reverse;
use std::collections::HashSet;
use traceql::{Aggregate, CompareOp, Element, Field, FieldExpr, Pipeline, Scalar, SpansetExpr};

/// What is asked of the spans of one filter together.
struct Aggregated<'a> {
    filter: &'a FieldExpr,
    /// Every answer has a span for each of these.
    demands: Vec<FieldExpr>,
    /// What is aggregated. `None`: they are only counted.
    field: Option<&'a Field>,
    conditions: Vec<(&'a Scalar, CompareOp, &'a Scalar)>,
}

impl<'a> Aggregated<'a> {
    /// `None` where nothing of the kind stands behind the filter.
    fn of(pipeline: &'a Pipeline) -> Option<Aggregated<'a>> {
        let (Element::Spansets(SpansetExpr::Filter(filter)), rest) = pipeline.elements.split_first()? else {
            return None;
        };
        let demands = demanded::of(pipeline);
        let mut own = Aggregated { filter, demands, field: None, conditions: vec![] };
        let mut of_trace = false;
        filter.fields(&mut |field| of_trace |= field.of_trace());
        if !of_trace {
            own.add_all(rest);
        }
        (!own.conditions.is_empty() || !own.demands.is_empty()).then_some(own)
    }

    /// Whether not all spans have to be read for it: of a filter that asks nothing the newest traces are looked into before.
    fn is_rarer_than_all(&self) -> bool {
        !self.demands.is_empty() || tested::is_of_spans(self.filter)
    }

    fn add_all(&mut self, elements: &'a [Element]) {
        for element in elements {
            match element {
                Element::Scalar { left, op, right } => self.add(left, *op, right),
                Element::Select(_) => {}
                // What follows is asked of other spans.
                _ => break,
            }
        }
    }

    /// Only the first field is read, and none that takes the whole trace. Who reads traces whole asks what is said of others.
    fn add(&mut self, left: &'a Scalar, op: CompareOp, right: &'a Scalar) {
        let mut fields = vec![];
        let is_plain = aggregated_fields(left, &mut fields) && aggregated_fields(right, &mut fields);
        let field = self.field.or(fields.first().copied());
        let tells = outlasts(self.filter) || holds_of_more(left, op, right);
        if is_plain && tells && fields.iter().all(|own| Some(*own) == field && !own.of_trace()) {
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

/// Whether what holds of some spans holds of others with them, which may be copies that do not count.
fn holds_of_more(left: &Scalar, op: CompareOp, right: &Scalar) -> bool {
    let at_least = matches!(op, CompareOp::Greater | CompareOp::GreaterEqual);
    let at_most = matches!(op, CompareOp::Less | CompareOp::LessEqual);
    matches!(right, Scalar::Static(_))
        && match left {
            Scalar::Count | Scalar::Aggregate(Aggregate::Max, _) => at_least,
            Scalar::Aggregate(Aggregate::Min, _) => at_most,
            _ => false,
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
    trace: TraceId,
    start_ns: i64,
    id: SpanId,
    kind: u8,
    number: Number,
}

impl Row {
    /// In the order in which the spans of a trace are aggregated. Spans of which it is the same are one that was sent twice.
    fn key(&self) -> (TraceId, i64, SpanId, u8) {
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

impl Search {
    /// Whether [`Search::told_by_aggregates`] can tell anything.
    pub(super) fn aggregates_tell(&self) -> bool {
        Aggregated::of(&self.pipeline).is_some_and(|asked| asked.is_rarer_than_all())
    }

    /// Traces that may be answers, those with the newest spans of the filter in the range first; `None` where it takes too much
    /// room to tell.
    pub(super) async fn told_by_aggregates(
        &self,
        inspected: &mut u64,
    ) -> Result<Option<Vec<(i64, TraceId)>>, QueryError> {
        let asked = Aggregated::of(&self.pipeline).filter(Aggregated::is_rarer_than_all);
        let Some(asked) = asked else { return Ok(None) };
        let mut among = None;
        for demand in &asked.demands {
            let filter = demand.clone();
            let wanted = Matching { filter, fields: vec![], columns: &[], among: among.take(), test: None };
            let Some(found) = self.matching(wanted, |at| at.spans.trace_id(at.row)).await? else {
                return Ok(None);
            };
            *inspected += found.inspected_spans;
            let Some(traces) = self.among(found.rows.into_iter()) else { return Ok(None) };
            if traces.is_empty() {
                return Ok(Some(vec![]));
            }
            among = Some(traces);
        }
        let (filter, field) = (asked.filter.clone(), asked.field.cloned());
        let fields = field.iter().cloned().collect();
        let wanted = Matching { filter, fields, columns: &["span_id", "kind"], among, test: None };
        let found = self
            .matching(wanted, move |at| Row {
                trace: at.spans.trace_id(at.row),
                start_ns: at.spans.start(at.row),
                id: at.spans.span_id(at.row),
                kind: at.spans.kind(at.row) as u8,
                number: field.as_ref().map_or(Number::None, |field| Number::of(&at.value(field))),
            })
            .await?;
        let Some(found) = found else { return Ok(None) };
        *inspected += found.inspected_spans;
        Ok(Some(fitting(&asked, found.rows, self.range)))
    }
}

/// Traces that have a span in the range, and of which all are together what is asked. Where a span was sent twice and the two
/// differ, who reads the trace whole sees which one counts.
fn fitting(asked: &Aggregated<'_>, mut rows: Vec<Row>, range: TimeRange) -> Vec<(i64, TraceId)> {
    rows.sort_unstable_by_key(Row::key);
    let mut uncertain: HashSet<TraceId, RandomState> = HashSet::default();
    rows.dedup_by(|again, first| {
        let is_same = again.key() == first.key();
        if is_same && again.number != first.number {
            uncertain.insert(first.trace);
        }
        is_same
    });
    let mut fitting = vec![];
    for own in rows.chunk_by(|one, next| one.trace == next.trace) {
        let newest = own.iter().map(|row| row.start_ns).filter(|start_ns| range.contains(*start_ns)).max();
        if let Some(newest_ns) = newest
            && (asked.holds(own) || uncertain.contains(&own[0].trace))
        {
            fitting.push((newest_ns, own[0].trace));
        }
    }
    fitting.sort_unstable_by_key(|newest| Reverse(*newest));
    fitting
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
            ("{ name = `a` } | by(span.y) | max(span.x) > 2", 0),
            ("{ name = `a` } | count() > 2 | by(span.y) | count() > 3", 1),
            ("{ name = `a` } | sum(span.x + 1) > 2", 0),
            ("{ name = `a` } >> { name = `b` } | count() > 2", 0),
            ("{ name = `a` } | count() > 2 | { name = `b` } | max(span.x) > 2", 1),
            ("{ traceDuration > 1s } | count() > 2", 0),
            ("{ name = `a` } | max(childCount) > 2", 0),
            ("{ name = `a` } | max(childCount) > 2 | count() > 2", 1),
            ("{ parent.zone = `a` } | count() > 2", 0),
            // An earlier copy may be one of them alone.
            ("{ duration < 5ms } | count() = 2 | avg(span.x) > 2 | max(span.x) < 3", 0),
            ("{ duration < 5ms } | count() > 2 | max(span.x) >= 3 | min(span.x) < 2", 3),
            ("{ name = `a` }", 0),
        ] {
            let pipeline = pipeline(query);
            let told = Aggregated::of(&pipeline).map_or(0, |asked| asked.conditions.len());
            assert_eq!(told, conditions, "{query}");
        }
    }

    fn row(trace: u8, id: u8, kind: u8, ms: i64) -> Row {
        let number = Number::Duration(ms * 1_000_000);
        Row { trace: [trace; 16], start_ns: i64::from(trace), id: [id; 8], kind, number }
    }

    fn told(query: &str, rows: Vec<Row>) -> Vec<u8> {
        let pipeline = pipeline(query);
        let range = TimeRange { start: 0, end: 100 };
        fitting(&Aggregated::of(&pipeline).unwrap(), rows, range)
            .into_iter()
            .map(|(_, trace)| trace[0])
            .collect()
    }

    #[test]
    fn a_span_that_was_sent_twice_counts_once() {
        let rows = || vec![row(2, 1, 0, 100), row(9, 1, 0, 100), row(2, 2, 0, 10), row(2, 1, 0, 100)];
        assert_eq!(told("{ } | avg(duration) > 60ms", rows()), [9]);
        assert_eq!(told("{ } | avg(duration) > 50ms", rows()), [9, 2]);
        assert_eq!(told("{ } | count() = 2", rows()), [2]);
        // Another end of a call, and a copy that differs.
        assert_eq!(told("{ } | count() = 2", vec![row(1, 1, 2, 1), row(1, 1, 3, 1)]), [1]);
        assert_eq!(told("{ } | count() = 2", vec![row(1, 1, 2, 1), row(1, 1, 2, 7)]), [1]);
    }

    #[test]
    fn spans_around_the_range_are_aggregated_but_one_must_lie_in_it() {
        let (mut early, mut outside) = (row(3, 1, 0, 500), row(4, 1, 0, 500));
        (early.start_ns, outside.start_ns) = (-5, -5);
        let rows = vec![early, row(3, 2, 0, 1), outside];
        assert_eq!(told("{ } | max(duration) > 400ms", rows), [3]);
    }
}
