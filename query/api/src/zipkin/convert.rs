//! OpenTelemetry's spans as Zipkin writes them: tags are text, events are annotations, the peer is the remote endpoint.

use model::{
    Packed, ResourceSpans, Span, SpanBatch, SpanEvent, SpanId, SpanKind, StatusCode, TraceId,
    Value as Attribute, attribute,
};
use serde_json::{Map, Value, json};
use std::collections::HashMap;
use std::net::IpAddr;

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

/// One of 64 bits has 16 digits, as it was sent.
pub(super) fn trace_id(id: TraceId) -> String {
    let high = if id[..8] == [0; 8] { 8 } else { 0 };
    hex::encode(&id[high..])
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
    tell("traceId", json!(trace_id(span.trace_id)));
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
    if !span.name.is_empty() {
        tell("name", json!(span.name));
    }
    if !matches!(span.kind, SpanKind::Unspecified | SpanKind::Internal) {
        tell("kind", json!(span.kind.as_str().to_uppercase()));
    }
    tell("timestamp", json!(span.start_ns.div_euclid(1_000)));
    // A span of no length has no duration in Zipkin; the shortest there is has one microsecond.
    tell("duration", json!((span.duration_ns / 1_000).max(1)));
    let service = attribute(&resource.resource, "service.name").map(ToString::to_string);
    let peer = span.attributes.get(PEER).map(|peer| peer.to_string());
    let mut told_elsewhere = vec![PEER.to_owned()];
    for (name, side, service) in [("localEndpoint", "local", service), ("remoteEndpoint", "peer", peer)] {
        let (endpoint, attributes) = endpoint(side, service, &span.attributes);
        told_elsewhere.extend(attributes);
        if !endpoint.is_empty() {
            tell(name, Value::Object(endpoint));
        }
    }
    if span.attributes.get(DEBUG) == Some(Attribute::Bool(true)) {
        told_elsewhere.push(DEBUG.to_owned());
        tell("debug", json!(true));
    }
    if !span.events.is_empty() {
        tell("annotations", span.events.iter().map(annotation).collect());
    }
    let tags = tags(resource, span, &told_elsewhere);
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

const PEER: &str = "peer.service";
/// Of a span that was traced whatever the sampling.
const DEBUG: &str = "zipkin.debug";

/// And which attributes are told with it. Readers refuse a trace with an address that is none, as OpenTelemetry's names of
/// sockets, or with a port beyond 16 bits: what does not fit stays a tag.
fn endpoint(side: &str, service: Option<String>, attributes: &Packed) -> (Map<String, Value>, Vec<String>) {
    let (mut endpoint, mut told) = (Map::new(), vec![]);
    if let Some(service) = service.filter(|service| !service.is_empty()) {
        endpoint.insert("serviceName".to_owned(), json!(service));
    }
    for name in [format!("network.{side}.address"), format!("zipkin.{side}.ipv6")] {
        let address = attributes.get(&name).and_then(|address| address.to_string().parse::<IpAddr>().ok());
        if let Some(address) = address {
            let family = if address.is_ipv6() { "ipv6" } else { "ipv4" };
            endpoint.insert(family.to_owned(), json!(address.to_string()));
            told.push(name);
        }
    }
    let name = format!("network.{side}.port");
    if let Some(Attribute::Int(port)) = attributes.get(&name)
        && let Some(port) = u16::try_from(port).ok().filter(|port| *port != 0)
    {
        endpoint.insert("port".to_owned(), json!(port));
        told.push(name);
    }
    (endpoint, told)
}

fn tags(resource: &ResourceSpans, span: &Span, told_elsewhere: &[String]) -> Map<String, Value> {
    let of_resource = resource.resource.iter().filter(|(name, _)| name != "service.name");
    let of_scope = resource.scope.attributes.iter();
    let own = span.attributes.unpacked();
    let of_span = own.iter().filter(|(name, _)| !told_elsewhere.contains(name));
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    fn told(service: &str, attributes: &[(&str, Attribute)]) -> Value {
        let attributes = attributes.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
        let span = Span { span_id: [1; 8], attributes, ..Span::default() };
        let resource = (!service.is_empty()).then(|| ("service.name".to_owned(), Attribute::from(service)));
        let resource = Arc::new(resource.into_iter().collect());
        let batch = SpanBatch {
            resources: vec![ResourceSpans { resource, spans: vec![span], ..Default::default() }],
        };
        trace(&batch)[0].clone()
    }

    /// Go's `net.IP` ends the reading of the whole trace at what is no address.
    #[test]
    fn an_address_that_is_none_and_a_port_that_is_none_are_tags() {
        let span = told(
            "",
            &[
                ("network.peer.address", "/tmp/db.sock".into()),
                ("network.peer.port", 70_000_i64.into()),
                ("network.local.address", "db.example.org".into()),
                ("network.local.port", "http".into()),
            ],
        );
        assert_eq!((&span["localEndpoint"], &span["remoteEndpoint"]), (&Value::Null, &Value::Null));
        assert_eq!(
            span["tags"],
            json!({
                "network.peer.address": "/tmp/db.sock",
                "network.peer.port": "70000",
                "network.local.address": "db.example.org",
                "network.local.port": "http",
            })
        );
    }

    #[test]
    fn both_addresses_and_debug_come_back() {
        let span = told(
            "shop",
            &[
                ("network.peer.address", "192.0.2.1".into()),
                ("zipkin.peer.ipv6", "2001:db8::1".into()),
                ("peer.service", "bank".into()),
                ("zipkin.debug", true.into()),
            ],
        );
        let bank = json!({ "serviceName": "bank", "ipv4": "192.0.2.1", "ipv6": "2001:db8::1" });
        assert_eq!(span["remoteEndpoint"], bank);
        assert_eq!((&span["debug"], &span["tags"]), (&json!(true), &Value::Null));
        assert_eq!(span["localEndpoint"], json!({ "serviceName": "shop" }));
    }

    #[test]
    fn an_id_of_64_bits_has_16_digits() {
        let mut id = [0; 16];
        id[15] = 7;
        assert_eq!(trace_id(id), "0000000000000007");
        id[0] = 1;
        assert_eq!(trace_id(id), "01000000000000000000000000000007");
    }
}
