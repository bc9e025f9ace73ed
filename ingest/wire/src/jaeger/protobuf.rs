//! `jaeger.api_v2`: the messages of `collector.proto` and `model.proto` of jaegertracing/jaeger-idl, by their numbers.

use super::{Reference, Sent, resource};
use crate::otlp::id;
use model::{Attributes, Value};
use std::collections::HashMap;
use std::sync::Arc;

#[derive(Clone, PartialEq, prost::Message)]
pub struct PostSpansRequest {
    #[prost(message, optional, tag = "1")]
    pub batch: Option<Batch>,
}

#[derive(Clone, Copy, PartialEq, prost::Message)]
pub struct PostSpansResponse {}

#[derive(Clone, PartialEq, prost::Message)]
pub struct Batch {
    #[prost(message, repeated, tag = "1")]
    pub spans: Vec<Span>,
    #[prost(message, optional, tag = "2")]
    pub process: Option<Process>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct Process {
    #[prost(string, tag = "1")]
    pub service_name: String,
    #[prost(message, repeated, tag = "2")]
    pub tags: Vec<KeyValue>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct Span {
    #[prost(bytes = "vec", tag = "1")]
    pub trace_id: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    pub span_id: Vec<u8>,
    #[prost(string, tag = "3")]
    pub operation_name: String,
    #[prost(message, repeated, tag = "4")]
    pub references: Vec<SpanRef>,
    #[prost(message, optional, tag = "6")]
    pub start_time: Option<Time>,
    #[prost(message, optional, tag = "7")]
    pub duration: Option<Time>,
    #[prost(message, repeated, tag = "8")]
    pub tags: Vec<KeyValue>,
    #[prost(message, repeated, tag = "9")]
    pub logs: Vec<Log>,
    /// Of this span alone, where it differs from the batch's.
    #[prost(message, optional, tag = "10")]
    pub process: Option<Process>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct SpanRef {
    #[prost(bytes = "vec", tag = "1")]
    pub trace_id: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    pub span_id: Vec<u8>,
    /// 0 is CHILD_OF, 1 FOLLOWS_FROM.
    #[prost(int32, tag = "3")]
    pub ref_type: i32,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct Log {
    #[prost(message, optional, tag = "1")]
    pub timestamp: Option<Time>,
    #[prost(message, repeated, tag = "2")]
    pub fields: Vec<KeyValue>,
}

/// `google.protobuf.Timestamp`, and `Duration`: they are alike.
#[derive(Clone, Copy, PartialEq, prost::Message)]
pub struct Time {
    #[prost(int64, tag = "1")]
    pub seconds: i64,
    #[prost(int32, tag = "2")]
    pub nanos: i32,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct KeyValue {
    #[prost(string, tag = "1")]
    pub key: String,
    /// 0 text, 1 bool, 2 integer, 3 number, 4 bytes.
    #[prost(int32, tag = "2")]
    pub v_type: i32,
    #[prost(string, tag = "3")]
    pub v_str: String,
    #[prost(bool, tag = "4")]
    pub v_bool: bool,
    #[prost(int64, tag = "5")]
    pub v_int64: i64,
    #[prost(double, tag = "6")]
    pub v_float64: f64,
    #[prost(bytes = "vec", tag = "7")]
    pub v_binary: Vec<u8>,
}

fn ns(time: Option<Time>) -> i64 {
    let Time { seconds, nanos } = time.unwrap_or_default();
    seconds.saturating_mul(1_000_000_000).saturating_add(i64::from(nanos))
}

fn tags(tags: Vec<KeyValue>) -> Attributes {
    let value = |tag: KeyValue| {
        let value = match tag.v_type {
            1 => Value::Bool(tag.v_bool),
            2 => Value::Int(tag.v_int64),
            3 => Value::Double(tag.v_float64),
            4 => Value::Bytes(tag.v_binary),
            _ => Value::String(tag.v_str),
        };
        (tag.key, value)
    };
    tags.into_iter().map(value).collect()
}

pub(super) fn spans(request: PostSpansRequest) -> Vec<(Sent, Arc<Attributes>)> {
    let Batch { spans, process } = request.batch.unwrap_or_default();
    let of = |process: Process| resource(process.service_name, tags(process.tags));
    let shared = of(process.unwrap_or_default());
    // Spans of one process have one resource, so that they stay together.
    let mut own: HashMap<Vec<u8>, Arc<Attributes>> = HashMap::new();
    spans
        .into_iter()
        .map(|mut span| {
            let process = match span.process.take() {
                None => shared.clone(),
                Some(process) => {
                    own.entry(prost::Message::encode_to_vec(&process)).or_insert_with(|| of(process)).clone()
                }
            };
            (sent(span), process)
        })
        .collect()
}

/// A trace id may have 8 bytes, as it was once.
fn trace_id(bytes: &[u8]) -> Option<model::TraceId> {
    match bytes.len() {
        8 => id(&[&[0; 8], bytes].concat()),
        _ => id(bytes),
    }
}

fn sent(span: Span) -> Sent {
    let reference = |reference: SpanRef| Reference {
        child_of: reference.ref_type == 0,
        trace_id: trace_id(&reference.trace_id),
        span_id: id(&reference.span_id),
    };
    Sent {
        trace_id: trace_id(&span.trace_id),
        span_id: id(&span.span_id),
        parent: None,
        name: span.operation_name,
        references: span.references.into_iter().map(reference).collect(),
        start_ns: ns(span.start_time),
        duration_ns: ns(span.duration),
        tags: tags(span.tags),
        logs: span.logs.into_iter().map(|log| (ns(log.timestamp), tags(log.fields))).collect(),
    }
}
