//! OpenTelemetry's spans as Zipkin writes them: tags are text, events are annotations, the peer is the remote endpoint.

use model::{
    Packed, ResourceSpans, Span, SpanBatch, SpanEvent, SpanId, SpanKind, StatusCode, Value as Attribute,
    attribute,
};
use serde_json::{Map, Value, json};
use std::collections::HashMap;

/// All spans of a trace, by their start.
pub(super) fn trace(found: &SpanBatch) -> Value {
    let all = || {
        found.resources.iter().flat_map(|resource| resource.spans.iter().map(move |span| (resource, span)))
    };
    // Whose id a server shares.
    let clients: HashMap<SpanId, &Span> =
        all().filter(|(_, span)| !shares(span)).map(|(_, span)| (span.span_id, span)).collect();
    let mut spans: Vec<_> = all().collect();
    spans.sort_by_key(|(_, span)| span.start_ns);
    Value::Array(spans.into_iter().map(|(resource, one)| span(resource, one, &clients)).collect())
}

/// A server with the id of the client that asked it.
fn shares(span: &Span) -> bool {
    span.parent_span_id == Some(span.span_id)
}

fn span(resource: &ResourceSpans, span: &Span, clients: &HashMap<SpanId, &Span>) -> Value {
    let mut told = Map::new();
    let mut tell = |name: &str, value: Value| {
        told.insert(name.to_owned(), value);
    };
    tell("traceId", json!(hex::encode(span.trace_id)));
    tell("id", json!(hex::encode(span.span_id)));
    let parent = match shares(span) {
        true => clients.get(&span.span_id).and_then(|client| client.parent_span_id),
        false => span.parent_span_id,
    };
    if let Some(parent) = parent {
        tell("parentId", json!(hex::encode(parent)));
    }
    if shares(span) {
        tell("shared", json!(true));
    }
    tell("name", json!(span.name));
    if !matches!(span.kind, SpanKind::Unspecified | SpanKind::Internal) {
        tell("kind", json!(span.kind.as_str().to_uppercase()));
    }
    tell("timestamp", json!(span.start_ns.div_euclid(1_000)));
    // A span of no length has no duration in Zipkin; the shortest there is has one microsecond.
    tell("duration", json!((span.duration_ns / 1_000).max(1)));
    let service = attribute(&resource.resource, "service.name").map(ToString::to_string);
    tell("localEndpoint", endpoint("local", service, &span.attributes));
    let peer = span.attributes.get("peer.service").map(|peer| peer.to_string());
    let remote = endpoint("peer", peer, &span.attributes);
    if remote.as_object().is_some_and(|fields| !fields.is_empty()) {
        tell("remoteEndpoint", remote);
    }
    if !span.events.is_empty() {
        tell("annotations", span.events.iter().map(annotation).collect());
    }
    let tags = tags(resource, span);
    if !tags.is_empty() {
        tell("tags", Value::Object(tags));
    }
    Value::Object(told)
}

/// An annotation is one text: what an event has beside its name stands behind it, as OpenTelemetry's exporters write it.
fn annotation(event: &SpanEvent) -> Value {
    let attributes: Map<String, Value> =
        event.attributes.iter().map(|(name, value)| (name.clone(), as_json(value))).collect();
    let value = match attributes.is_empty() {
        true => event.name.clone(),
        false => format!("{}: {}", json!(event.name), Value::Object(attributes)),
    };
    json!({ "timestamp": event.ts_ns.div_euclid(1_000), "value": value })
}

fn as_json(value: &Attribute) -> Value {
    match value {
        Attribute::Bool(truth) => json!(truth),
        Attribute::Int(number) => json!(number),
        Attribute::Double(number) if number.is_finite() => json!(number),
        Attribute::Json(text) => serde_json::from_str(text).unwrap_or_else(|_| json!(text)),
        other => json!(other.to_string()),
    }
}

const ENDPOINTS: [&str; 5] = [
    "peer.service",
    "network.local.address",
    "network.local.port",
    "network.peer.address",
    "network.peer.port",
];

fn endpoint(side: &str, service: Option<String>, attributes: &Packed) -> Value {
    let mut endpoint = Map::new();
    if let Some(service) = service {
        endpoint.insert("serviceName".to_owned(), json!(service));
    }
    let of = |what: &str| attributes.get(&format!("network.{side}.{what}"));
    if let Some(address) = of("address") {
        let address = address.to_string();
        let family = if address.contains(':') { "ipv6" } else { "ipv4" };
        endpoint.insert(family.to_owned(), json!(address));
    }
    if let Some(Attribute::Int(port)) = of("port") {
        endpoint.insert("port".to_owned(), json!(port));
    }
    Value::Object(endpoint)
}

fn tags(resource: &ResourceSpans, span: &Span) -> Map<String, Value> {
    let of_resource = resource.resource.iter().filter(|(name, _)| name != "service.name");
    let of_scope = resource.scope.attributes.iter();
    let own = span.attributes.unpacked();
    let of_span = own.iter().filter(|(name, _)| !ENDPOINTS.contains(&name.as_str()));
    let mut tags: Map<String, Value> = of_resource
        .chain(of_scope)
        .chain(of_span)
        .map(|(name, value)| (name.clone(), json!(value.to_string())))
        .collect();
    let mut tell = |name: &str, value: &str| {
        if !value.is_empty() {
            tags.insert(name.to_owned(), json!(value));
        }
    };
    tell("otel.scope.name", &resource.scope.name);
    tell("otel.scope.version", &resource.scope.version);
    match span.status {
        StatusCode::Unset => {}
        StatusCode::Ok => tell("otel.status_code", "OK"),
        StatusCode::Error => {
            tell("otel.status_code", "ERROR");
            tell("error", if span.status_message.is_empty() { "true" } else { &span.status_message });
        }
    }
    tell("w3c.tracestate", &span.trace_state);
    tags
}
