//! OpenTelemetry's spans as Jaeger writes them: what it has no field for becomes tags, links become references, events
//! become logs, resources become processes.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use model::{
    Attributes, ResourceSpans, Span, SpanBatch, SpanKind, StatusCode, TraceId, Value as Attribute, attribute,
};
use serde_json::{Map, Value, json};
use std::net::Ipv4Addr;

pub(super) fn trace(id: TraceId, found: &SpanBatch) -> Value {
    let id = hex::encode(id);
    let (mut processes, mut known) = (Map::new(), Vec::<(&Attributes, String)>::new());
    let mut spans = Vec::new();
    for resource in &found.resources {
        let process = match known.iter().find(|(attributes, _)| **attributes == *resource.resource) {
            Some((_, process)) => process.clone(),
            None => {
                let process = format!("p{}", known.len() + 1);
                processes.insert(process.clone(), process_of(&resource.resource));
                known.push((&resource.resource, process.clone()));
                process
            }
        };
        spans.extend(resource.spans.iter().map(|one| span(&id, resource, one, &process)));
    }
    json!({ "traceID": id, "spans": spans, "processes": processes, "warnings": null })
}

fn process_of(resource: &Attributes) -> Value {
    const SERVICE: &str = "service.name";
    let service = resource.iter().find(|(name, _)| name == SERVICE);
    let service =
        service.map_or_else(|| "OTLPResourceNoServiceName".to_owned(), |(_, name)| name.to_string());
    let tags: Vec<Value> =
        resource.iter().filter(|(name, _)| name != SERVICE).map(|(name, value)| tag(name, value)).collect();
    json!({ "serviceName": service, "tags": tags })
}

fn span(trace_id: &str, resource: &ResourceSpans, span: &Span, process: &str) -> Value {
    let logs: Vec<Value> = span
        .events
        .iter()
        .map(|event| {
            let named = event.name.is_empty() || attribute(&event.attributes, "event").is_some();
            let name = (!named).then(|| text("event", &event.name));
            let rest = event.attributes.iter().map(|(name, value)| tag(name, value));
            json!({ "timestamp": event.ts_ns.div_euclid(1_000), "fields": name.into_iter().chain(rest).collect::<Vec<_>>() })
        })
        .collect();
    json!({
        "traceID": trace_id,
        "spanID": hex::encode(span.span_id),
        "operationName": span.name,
        "references": references(trace_id, span),
        "startTime": span.start_ns.div_euclid(1_000),
        "duration": span.duration_ns / 1_000,
        "tags": tags(resource, span),
        "logs": logs,
        "processID": process,
        "warnings": null,
    })
}

fn references(trace_id: &str, span: &Span) -> Vec<Value> {
    let reference = |kind: &str, trace: &str, span: &[u8]| json!({ "refType": kind, "traceID": trace, "spanID": hex::encode(span) });
    let parent = span.parent_span_id.map(|parent| reference("CHILD_OF", trace_id, &parent));
    let links =
        span.links.iter().filter(|link| link.trace_id != [0; 16]).filter(|link| {
            Some(link.span_id) != span.parent_span_id || hex::encode(link.trace_id) != trace_id
        });
    let links = links.map(|link| {
        let child = link
            .attributes
            .iter()
            .any(|(name, value)| name == "opentracing.ref_type" && *value == Attribute::from("child_of"));
        let kind = if child { "CHILD_OF" } else { "FOLLOWS_FROM" };
        reference(kind, &hex::encode(link.trace_id), &link.span_id)
    });
    parent.into_iter().chain(links).collect()
}

fn tags(resource: &ResourceSpans, span: &Span) -> Vec<Value> {
    let mut tags = Vec::new();
    for (name, value) in
        [("otel.scope.name", &resource.scope.name), ("otel.scope.version", &resource.scope.version)]
    {
        if !value.is_empty() {
            tags.push(text(name, value));
        }
    }
    let own = span.attributes.unpacked();
    tags.extend(resource.scope.attributes.iter().chain(&own).map(|(name, value)| tag(name, value)));
    if span.kind != SpanKind::Unspecified {
        tags.push(text("span.kind", span.kind.as_str()));
    }
    match span.status {
        StatusCode::Unset => {}
        StatusCode::Ok => tags.push(text("otel.status_code", "OK")),
        StatusCode::Error => {
            tags.push(text("otel.status_code", "ERROR"));
            tags.push(json!({ "key": "error", "type": "bool", "value": true }));
        }
    }
    for (name, value) in
        [("otel.status_description", &span.status_message), ("w3c.tracestate", &span.trace_state)]
    {
        if !value.is_empty() {
            tags.push(text(name, value));
        }
    }
    tags
}

fn text(name: &str, value: &str) -> Value {
    json!({ "key": name, "type": "string", "value": value })
}

/// Beyond these a reader whose numbers are all of floating point would tell another.
const EXACT_MAX: i64 = (1 << 53) - 1;

fn tag(name: &str, value: &Attribute) -> Value {
    let (kind, value) = match value {
        Attribute::Bool(truth) => ("bool", json!(truth)),
        // Jaeger's own clients send addresses as numbers of 32 bits, with or without a sign.
        Attribute::Int(number) if matches!(name, "ip" | "peer.ipv4") => {
            ("string", json!(Ipv4Addr::from(*number as u32).to_string()))
        }
        Attribute::Int(number) if !(-EXACT_MAX..=EXACT_MAX).contains(number) => {
            ("int64", json!(number.to_string()))
        }
        Attribute::Int(number) => ("int64", json!(number)),
        Attribute::Double(number) if number.is_finite() => ("float64", json!(number)),
        Attribute::Bytes(bytes) => ("binary", json!(BASE64_STANDARD.encode(bytes))),
        other => ("string", json!(other.to_string())),
    };
    json!({ "key": name, "type": kind, "value": value })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_that_a_page_cannot_hold_are_text_and_addresses_are_written_as_such() {
        let told = |name: &str, number: i64| {
            let tag = tag(name, &Attribute::Int(number));
            (tag["type"].as_str().unwrap_or_default().to_owned(), tag["value"].clone())
        };
        let of = |kind: &str, value: Value| (kind.to_owned(), value);
        assert_eq!(told("n", EXACT_MAX), of("int64", json!(9_007_199_254_740_991_i64)));
        assert_eq!(told("n", EXACT_MAX + 1), of("int64", json!("9007199254740992")));
        assert_eq!(told("n", i64::MIN), of("int64", json!("-9223372036854775808")));
        assert_eq!(told("peer.ipv4", 0x0808_0404), of("string", json!("8.8.4.4")));
        assert_eq!(told("ip", i64::from(0xc0a8_0001_u32 as i32)), of("string", json!("192.168.0.1")));
    }

    #[test]
    fn a_link_to_nothing_is_left_out() {
        let to = |trace: u8| model::SpanLink { trace_id: [trace; 16], span_id: [2; 8], ..Default::default() };
        let span = Span { links: vec![to(0), to(7)], ..Span::default() };
        let told = references("", &span);
        assert_eq!((told.len(), &told[0]["traceID"]), (1, &json!("07".repeat(16))));
    }

    #[test]
    fn a_log_has_one_name() {
        let event = model::SpanEvent {
            name: "log".into(),
            attributes: vec![("event".into(), Attribute::from("retry"))],
            ..Default::default()
        };
        let span = Span { events: vec![event], ..Span::default() };
        let told = super::span("", &ResourceSpans::default(), &span, "p1");
        assert_eq!(
            told["logs"][0]["fields"],
            json!([{ "key": "event", "type": "string", "value": "retry" }])
        );
    }
}
