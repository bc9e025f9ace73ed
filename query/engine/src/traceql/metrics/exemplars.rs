//! Spans that stand for others of a series and step, told with what the query reads of them.

use super::super::evaluate::SpanAt;
use super::super::search::{fields_of, value_of};
use super::Labels;
use model::{TraceId, Value};
use traceql::{Field, Intrinsic, MetricsAggregate, Scope};

/// A span that stands for others of its series and step.
#[derive(Clone, Debug, PartialEq)]
pub struct TraceExemplar {
    pub trace_id: TraceId,
    pub ts_ms: i64,
    pub value: f64,
    /// What the query reads of the span, by names with their scopes.
    pub read: Vec<(String, Value)>,
}

impl TraceExemplar {
    /// What is told of the span, its trace last.
    pub fn labels(&self) -> Vec<(String, Value)> {
        let id = Value::String(hex::encode(self.trace_id));
        self.read.iter().cloned().chain([("trace:id".to_owned(), id)]).collect()
    }
}

/// A span of a step.
#[derive(Clone)]
pub(super) struct Example {
    pub trace_id: TraceId,
    pub start_ns: i64,
    pub value: f64,
    pub labels: Labels,
}

impl Example {
    pub fn new(at: &SpanAt<'_>, value: f64, read: &[Field]) -> Example {
        let (trace_id, start_ns) = (at.spans.trace_id(at.row), at.spans.start(at.row));
        let label = |field: &Field| Some((field.to_string(), value_of(at.value(field))?));
        Example { trace_id, start_ns, value, labels: read.iter().filter_map(label).collect() }
    }

    /// About what it takes beside the place it stands at.
    pub fn bytes(&self) -> usize {
        let of_label = |(name, value): &(String, Value)| {
            let text = match value {
                Value::String(text) | Value::Json(text) => text.len(),
                _ => 0,
            };
            name.len() + text + size_of::<(String, Value)>()
        };
        self.labels.iter().map(of_label).sum()
    }

    pub fn at_its_own(self) -> TraceExemplar {
        let value = self.value;
        self.told(value)
    }

    pub fn told(self, value: f64) -> TraceExemplar {
        let Example { trace_id, start_ns, labels, .. } = self;
        TraceExemplar { trace_id, ts_ms: start_ns.div_euclid(1_000_000), value, read: labels }
    }
}

/// The fields that an exemplar is told with: what the query reads of a span, each once. Of what may stand at the span or
/// at its resource both are told; where a span lies in its trace is nothing to tell, and the trace is told anyway.
pub(super) fn read_by(query: &MetricsAggregate) -> Vec<Field> {
    let mut read: Vec<Field> = Vec::new();
    let mut add = |field: &Field| {
        let told = match field {
            Field::Intrinsic(
                Intrinsic::NestedSetLeft
                | Intrinsic::NestedSetRight
                | Intrinsic::NestedSetParent
                | Intrinsic::TraceId,
            ) => vec![],
            Field::Attribute { scope: Scope::Any, name } => [Scope::Span, Scope::Resource]
                .map(|scope| Field::Attribute { scope, name: name.clone() })
                .to_vec(),
            other => vec![other.clone()],
        };
        for field in told {
            if !read.contains(&field) {
                read.push(field);
            }
        }
    };
    fields_of(&query.spansets, &mut add);
    query.by.iter().chain(&query.field).for_each(&mut add);
    read
}

/// No more than so many, evenly taken.
pub(super) fn spread(all: Vec<TraceExemplar>, most: usize) -> Vec<TraceExemplar> {
    let every = all.len().div_ceil(most.max(1)).max(1);
    all.into_iter().step_by(every).take(most).collect()
}
