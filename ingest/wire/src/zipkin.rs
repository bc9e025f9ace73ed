//! Zipkin's spans, version 2, as JSON (<https://zipkin.io/zipkin-api/zipkin2-api.yaml>) or protobuf.
//!
//! Its tags are text and stay text. The service of the local endpoint is the resource; the remote one is `peer.service` and the
//! address of the peer. A server that shares its span's id with the client has that id as its parent, too: so it is
//! found below the client, who comes first. What is `null` is not there: the Go library writes empty lists so.

mod protobuf;
mod written;

use crate::jaeger::take_fields;
use crate::{Decoded, Malformed, Rejected, pairs};
use model::{
    Attributes, RejectReason, ResourceSpans, Scope, Span, SpanBatch, SpanEvent, SpanId, SpanKind, StatusCode,
    TraceId, Value,
};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::sync::Arc;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Sent {
    trace_id: String,
    id: String,
    parent_id: Option<String>,
    name: Option<String>,
    kind: Option<String>,
    /// Microseconds.
    #[serde(default, deserialize_with = "written::whole_or_null")]
    timestamp: Option<i64>,
    #[serde(default, deserialize_with = "written::whole_or_null")]
    duration: Option<i64>,
    shared: Option<bool>,
    debug: Option<bool>,
    local_endpoint: Option<Endpoint>,
    remote_endpoint: Option<Endpoint>,
    annotations: Option<Vec<Annotation>>,
    #[serde(default, deserialize_with = "written::tags")]
    tags: Option<BTreeMap<String, String>>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase")]
struct Endpoint {
    service_name: Option<String>,
    ipv4: Option<String>,
    ipv6: Option<String>,
    #[serde(default, deserialize_with = "written::whole_or_null")]
    port: Option<i64>,
}

#[derive(Deserialize)]
struct Annotation {
    #[serde(deserialize_with = "written::whole")]
    timestamp: i64,
    value: String,
}

/// The attribute of a span that was traced whatever the sampling.
const DEBUG: &str = "zipkin.debug";

/// The body of a POST to `/api/v2/spans`: a list of spans.
pub fn decode_json(body: &[u8]) -> Result<Decoded<SpanBatch>, Malformed> {
    let sent = serde_json::from_slice(&pairs::whole(body));
    sent.map(batch).map_err(|wrong| Malformed(format!("not a list of Zipkin v2 spans: {wrong}")))
}

/// The same in protobuf.
pub fn decode_protobuf(body: &[u8]) -> Result<Decoded<SpanBatch>, Malformed> {
    protobuf::spans(body).map(batch)
}

fn batch(sent: Vec<Sent>) -> Decoded<SpanBatch> {
    let mut decoded = Decoded::<SpanBatch>::default();
    // Spans of one service and scope, in the order in which these were met.
    let mut places: BTreeMap<(String, String, String), usize> = BTreeMap::new();
    for sent in sent {
        let service = sent.local_endpoint.as_ref().and_then(|local| local.service_name.clone());
        let service = service.unwrap_or_default();
        let Some((span, scope)) = span(sent, &mut decoded.rejected) else { continue };
        let resources = &mut decoded.batch.resources;
        let key = (service, scope.name, scope.version);
        let at = *places.entry(key).or_insert_with_key(|(service, name, version)| {
            let scope = Scope::named(name, version);
            let name =
                (!service.is_empty()).then(|| ("service.name".to_owned(), Value::String(service.clone())));
            resources.push(ResourceSpans {
                resource: Arc::new(name.into_iter().collect()),
                scope,
                ..ResourceSpans::default()
            });
            resources.len() - 1
        });
        resources[at].spans.push(span);
    }
    decoded
}

fn trace_id(text: &str) -> Option<TraceId> {
    let mut id = [0; 16];
    if text.is_empty() || text.len() > 32 {
        return None;
    }
    hex::decode_to_slice(format!("{text:0>32}"), &mut id).ok()?;
    (id != [0; 16]).then_some(id)
}

fn span_id(text: &str) -> Option<SpanId> {
    let mut id = [0; 8];
    if text.is_empty() || text.len() > 16 {
        return None;
    }
    hex::decode_to_slice(format!("{text:0>16}"), &mut id).ok()?;
    (id != [0; 8]).then_some(id)
}

fn span(sent: Sent, rejected: &mut Rejected) -> Option<(Span, Scope)> {
    let (Some(trace_id), Some(id)) = (trace_id(&sent.trace_id), span_id(&sent.id)) else {
        rejected.add(RejectReason::InvalidId, 1, || {
            format!(
                "traceId {:?} and id {:?} must be up to 32 and 16 hex digits and not zero",
                sent.trace_id, sent.id
            )
        });
        return None;
    };
    // One that names itself as its parent has none.
    let parent = sent.parent_id.as_deref().and_then(span_id).filter(|parent| *parent != id);
    let annotations = sent.annotations.unwrap_or_default();
    // A span that was never finished may have no time but those of its annotations.
    let first = annotations.iter().map(|annotation| annotation.timestamp).min();
    let start_us = sent.timestamp.filter(|us| *us != 0).or(first).unwrap_or(0);
    let mut span = Span {
        trace_id,
        span_id: id,
        parent_span_id: if sent.shared == Some(true) { Some(id) } else { parent },
        start_ns: start_us.saturating_mul(1_000),
        duration_ns: sent.duration.unwrap_or(0).max(0).saturating_mul(1_000),
        name: sent.name.unwrap_or_default(),
        events: annotations.into_iter().map(event).collect(),
        ..Span::default()
    };
    let (scope, mut rest) = take_fields(tags(sent.tags.unwrap_or_default(), &mut span), &mut span);
    if let Some(kind) = sent.kind.and_then(|kind| SpanKind::from_word(&kind.to_ascii_lowercase())) {
        span.kind = kind;
    }
    for (side, endpoint) in [("local", sent.local_endpoint), ("peer", sent.remote_endpoint)] {
        rest.extend(endpoint.map(|endpoint| attributes(side, endpoint)).unwrap_or_default());
    }
    if sent.debug == Some(true) {
        rest.push((DEBUG.to_owned(), Value::Bool(true)));
    }
    span.attributes = rest.into();
    Some((span, scope))
}

fn event(Annotation { timestamp, value }: Annotation) -> SpanEvent {
    SpanEvent { ts_ns: timestamp.saturating_mul(1_000), name: value, ..SpanEvent::default() }
}

/// A tag `error` is there when the span failed, and its text says why.
fn tags(mut tags: BTreeMap<String, String>, span: &mut Span) -> Attributes {
    match tags.get("error").map(String::as_str) {
        None | Some("false") => {}
        Some(why) => {
            span.status = StatusCode::Error;
            if why != "true" && !tags.contains_key("otel.status_description") {
                span.status_message = why.to_owned();
            }
            tags.remove("error");
        }
    }
    tags.into_iter().map(|(name, value)| (name, Value::String(value))).collect()
}

/// Of the peer also its service; that of the local end is the resource's.
fn attributes(side: &str, endpoint: Endpoint) -> Attributes {
    let service = endpoint.service_name.filter(|name| side == "peer" && !name.is_empty());
    let service = service.map(|name| ("peer.service".to_owned(), Value::String(name)));
    let [v4, v6] = [endpoint.ipv4, endpoint.ipv6].map(|address| address.filter(|text| !text.is_empty()));
    // OpenTelemetry has one address; of two the newer stands beside it.
    let (address, second) = if v4.is_some() { (v4, v6) } else { (v6, None) };
    let address = address.map(|address| (format!("network.{side}.address"), Value::String(address)));
    let second = second.map(|address| (format!("zipkin.{side}.ipv6"), Value::String(address)));
    let port = endpoint.port.filter(|port| *port != 0);
    let port = port.map(|port| (format!("network.{side}.port"), Value::Int(port)));
    service.into_iter().chain(address).chain(second).chain(port).collect()
}

#[cfg(test)]
mod tests;
