//! Spans as OTLP messages, which is how Tempo answers a trace.

use model::{Attributes, ResourceSpans as Ours, SpanBatch, SpanKind, Value};
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::common::v1::{
    AnyValue, ArrayValue, InstrumentationScope, KeyValue, KeyValueList,
};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::span::{Event, Link};
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, Status, TracesData};
use std::collections::HashMap;

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

/// The same for who draws a trace by its spans' ids: a server's span that has its client's, as Zipkin's may, gets one of
/// its own, below the client's, and what was below both is below it. New ids are the least that no span has.
pub(super) fn drawn(spans: &SpanBatch) -> TracesData {
    let mut told = traces(spans);
    // Whether a client has the id.
    let mut of_clients: HashMap<Vec<u8>, bool> = HashMap::new();
    for span in each_span(&mut told) {
        *of_clients.entry(span.span_id.clone()).or_default() |= span.kind == SpanKind::Client as i32;
    }
    let mut free = (1u64..).map(|id| id.to_be_bytes().to_vec()).filter(|id| !of_clients.contains_key(id));
    let mut renamed: HashMap<Vec<u8>, Vec<u8>> = HashMap::new();
    for span in each_span(&mut told).filter(|span| span.kind == SpanKind::Server as i32) {
        if of_clients.get(&span.span_id) == Some(&true)
            && let Some(id) = free.next()
        {
            span.parent_span_id = std::mem::replace(&mut span.span_id, id.clone());
            renamed.insert(span.parent_span_id.clone(), id);
        }
    }
    for span in each_span(&mut told) {
        if let Some(server) = renamed.get(&span.parent_span_id).filter(|server| **server != span.span_id) {
            span.parent_span_id.clone_from(server);
        }
    }
    told
}

fn each_span(traces: &mut TracesData) -> impl Iterator<Item = &mut Span> {
    let scopes = traces.resource_spans.iter_mut().flat_map(|resource| &mut resource.scope_spans);
    scopes.flat_map(|scope| &mut scope.spans)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_with_its_clients_id_is_told_from_it() {
        let span = |id: u8, parent: u8, kind| model::Span {
            span_id: [0, 0, 0, 0, 0, 0, 0, id],
            parent_span_id: (parent != 0).then_some([0, 0, 0, 0, 0, 0, 0, parent]),
            kind,
            ..model::Span::default()
        };
        let spans = vec![
            span(1, 0, SpanKind::Server),
            span(7, 1, SpanKind::Client),
            span(7, 1, SpanKind::Server),
            span(9, 7, SpanKind::Internal),
        ];
        let batch = SpanBatch { resources: vec![Ours { spans, ..Ours::default() }] };
        let told = drawn(&batch);
        let ids: Vec<(u8, Option<u8>)> = told.resource_spans[0].scope_spans[0]
            .spans
            .iter()
            .map(|span| (span.span_id[7], span.parent_span_id.last().copied()))
            .collect();
        assert_eq!(ids, [(1, None), (7, Some(1)), (2, Some(7)), (9, Some(2))]);
        let as_sent = traces(&batch);
        assert_eq!(as_sent.resource_spans[0].scope_spans[0].spans[2].span_id[7], 7);
    }
}
