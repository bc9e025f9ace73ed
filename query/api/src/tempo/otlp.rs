//! Spans as OTLP messages, which is how Tempo answers a trace.

use crate::shared_ids::told_apart;
use model::{Attributes, ResourceSpans as Ours, SpanBatch, Value};
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::common::v1::{
    AnyValue, ArrayValue, InstrumentationScope, KeyValue, KeyValueList,
};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::span::{Event, Link};
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, Status, TracesData};

/// Tempo's message. Field 2, its metrics, is left out. `status` is 0 for a whole trace, 1 for a part of it.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct TraceByIdResponse {
    /// Set even where the trace is not known: Grafana looks into it without asking.
    #[prost(message, optional, tag = "1")]
    pub trace: Option<TracesData>,
    #[prost(int32, tag = "3")]
    pub status: i32,
    #[prost(string, tag = "4")]
    pub message: String,
}

/// Tempo's `Trace` is OTLP's `TracesData` by another name.
pub(super) fn traces(spans: &SpanBatch) -> TracesData {
    TracesData { resource_spans: spans.resources.iter().map(resource_spans).collect() }
}

/// The same for whoever draws a trace by its spans' ids.
pub(super) fn drawn(spans: &SpanBatch) -> TracesData {
    traces(&told_apart(spans))
}

fn resource_spans(ours: &Ours) -> ResourceSpans {
    let scope = InstrumentationScope {
        name: ours.scope.name.clone(),
        version: ours.scope.version.clone(),
        attributes: pairs(&ours.scope.attributes),
        dropped_attributes_count: ours.scope.dropped_attributes,
    };
    let spans = ScopeSpans {
        scope: Some(scope),
        spans: ours.spans.iter().map(span).collect(),
        schema_url: ours.scope.schema_url.clone(),
    };
    let resource = Resource {
        attributes: pairs(&ours.resource),
        dropped_attributes_count: ours.dropped_attributes,
        ..Resource::default()
    };
    ResourceSpans { resource: Some(resource), scope_spans: vec![spans], schema_url: ours.schema_url.clone() }
}

fn span(ours: &model::Span) -> Span {
    let start = ours.start_ns.max(0) as u64;
    let event = |event: &model::SpanEvent| Event {
        time_unix_nano: event.ts_ns.max(0) as u64,
        name: event.name.clone(),
        attributes: pairs(&event.attributes),
        dropped_attributes_count: event.dropped_attributes,
    };
    let link = |link: &model::SpanLink| Link {
        trace_id: link.trace_id.to_vec(),
        span_id: link.span_id.to_vec(),
        trace_state: link.trace_state.clone(),
        attributes: pairs(&link.attributes),
        dropped_attributes_count: link.dropped_attributes,
        flags: link.flags,
    };
    Span {
        trace_id: ours.trace_id.to_vec(),
        span_id: ours.span_id.to_vec(),
        trace_state: ours.trace_state.clone(),
        flags: ours.flags,
        parent_span_id: ours.parent_span_id.map(|id| id.to_vec()).unwrap_or_default(),
        name: ours.name.clone(),
        kind: ours.kind as i32,
        start_time_unix_nano: start,
        end_time_unix_nano: start.saturating_add(ours.duration_ns.max(0) as u64),
        attributes: pairs(&ours.attributes.unpacked()),
        dropped_attributes_count: ours.dropped_attributes,
        events: ours.events.iter().map(event).collect(),
        dropped_events_count: ours.dropped_events,
        links: ours.links.iter().map(link).collect(),
        dropped_links_count: ours.dropped_links,
        status: Some(Status { code: ours.status as i32, message: ours.status_message.clone() }),
    }
}

fn pairs(attributes: &Attributes) -> Vec<KeyValue> {
    attributes.iter().map(|(name, value)| pair(name, any(value))).collect()
}

pub(super) fn pair(name: &str, value: Option<Any>) -> KeyValue {
    KeyValue { key: name.to_owned(), value: Some(AnyValue { value }), ..KeyValue::default() }
}

pub(super) fn any(value: &Value) -> Option<Any> {
    Some(match value {
        Value::String(text) => Any::StringValue(text.clone()),
        Value::Int(number) => Any::IntValue(*number),
        Value::Double(number) => Any::DoubleValue(*number),
        Value::Bool(truth) => Any::BoolValue(*truth),
        Value::Bytes(bytes) => Any::BytesValue(bytes.clone()),
        // serde_json bounds how deep a text may be, and so how deep `nested` goes.
        Value::Json(text) => match serde_json::from_str(text) {
            Ok(json) => return nested(&json),
            Err(_) => Any::StringValue(text.clone()),
        },
    })
}

fn nested(json: &serde_json::Value) -> Option<Any> {
    let value = |json| AnyValue { value: nested(json) };
    Some(match json {
        serde_json::Value::Null => return None,
        serde_json::Value::Bool(truth) => Any::BoolValue(*truth),
        serde_json::Value::String(text) => Any::StringValue(text.clone()),
        serde_json::Value::Number(number) => match number.as_i64() {
            Some(number) => Any::IntValue(number),
            None => Any::DoubleValue(number.as_f64().unwrap_or(f64::NAN)),
        },
        serde_json::Value::Array(items) => {
            Any::ArrayValue(ArrayValue { values: items.iter().map(value).collect() })
        }
        serde_json::Value::Object(items) => Any::KvlistValue(KeyValueList {
            values: items.iter().map(|(name, item)| pair(name, nested(item))).collect(),
        }),
    })
}
