//! OpenTelemetry's spans as Jaeger's: what it has no field for becomes tags, links become references, events become logs,
//! resources become processes.

use super::idl::{self, KeyValue, Log, Process, Seconds, Span, SpanRef};
use model::{Attributes, ResourceSpans, SpanBatch, SpanEvent, SpanKind, StatusCode, Value, attribute};
use std::net::Ipv4Addr;

/// Spans of one process. They stand apart so that it is not repeated with each.
pub struct Told {
    pub process: Process,
    pub spans: Vec<Span>,
}

pub(super) fn spans(found: &SpanBatch) -> Vec<Told> {
    let told = |resource: &ResourceSpans| Told {
        process: process(&resource.resource),
        spans: resource.spans.iter().map(|one| span(resource, one)).collect(),
    };
    found.resources.iter().map(told).collect()
}

fn process(resource: &Attributes) -> Process {
    const SERVICE: &str = "service.name";
    let service_name = attribute(resource, SERVICE)
        .map_or_else(|| "OTLPResourceNoServiceName".to_owned(), ToString::to_string);
    let tags = resource.iter().filter(|(name, _)| name != SERVICE);
    Process { service_name, tags: tags.map(|(name, value)| tag(name, value)).collect() }
}

fn span(resource: &ResourceSpans, span: &model::Span) -> Span {
    Span {
        trace_id: span.trace_id.to_vec(),
        span_id: span.span_id.to_vec(),
        operation_name: span.name.clone(),
        references: references(span),
        start_time: Some(Seconds::of(span.start_ns)),
        duration: Some(Seconds::of(span.duration_ns)),
        tags: tags(resource, span),
        logs: span.events.iter().map(log).collect(),
        process: None,
    }
}

fn log(event: &SpanEvent) -> Log {
    // One that names itself twice has one name.
    let named = event.name.is_empty() || attribute(&event.attributes, "event").is_some();
    let name = (!named).then(|| KeyValue::text("event", &event.name));
    let rest = event.attributes.iter().map(|(name, value)| tag(name, value));
    Log { timestamp: Some(Seconds::of(event.ts_ns)), fields: name.into_iter().chain(rest).collect() }
}

fn references(span: &model::Span) -> Vec<SpanRef> {
    let reference = |ref_type: i32, trace: &[u8], span: &[u8]| SpanRef {
        trace_id: trace.to_vec(),
        span_id: span.to_vec(),
        ref_type,
    };
    let parent = span.parent_span_id.map(|parent| reference(idl::CHILD_OF, &span.trace_id, &parent));
    let links = span
        .links
        .iter()
        .filter(|link| link.trace_id != [0; 16])
        .filter(|link| Some(link.span_id) != span.parent_span_id || link.trace_id != span.trace_id);
    let links = links.map(|link| {
        let kind = attribute(&link.attributes, "opentracing.ref_type").and_then(Value::as_str);
        let kind = if kind == Some("child_of") { idl::CHILD_OF } else { idl::FOLLOWS_FROM };
        reference(kind, &link.trace_id, &link.span_id)
    });
    parent.into_iter().chain(links).collect()
}

fn tags(resource: &ResourceSpans, span: &model::Span) -> Vec<KeyValue> {
    let text = KeyValue::text;
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
            tags.push(KeyValue { v_bool: true, ..KeyValue::of_type("error", idl::BOOL) });
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

fn tag(name: &str, value: &Value) -> KeyValue {
    let of = |kind: i32| KeyValue::of_type(name, kind);
    match value {
        // Jaeger's own clients send addresses as numbers of 32 bits, with or without a sign.
        Value::Int(number) if matches!(name, "ip" | "peer.ipv4") => {
            KeyValue::text(name, &Ipv4Addr::from(*number as u32).to_string())
        }
        Value::Bool(truth) => KeyValue { v_bool: *truth, ..of(idl::BOOL) },
        Value::Int(number) => KeyValue { v_int64: *number, ..of(idl::INT64) },
        Value::Double(number) => KeyValue { v_float64: *number, ..of(idl::FLOAT64) },
        Value::Bytes(bytes) => KeyValue { v_binary: bytes.clone(), ..of(idl::BINARY) },
        other => KeyValue::text(name, &other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_32_bits_are_written_as_such() {
        for (name, number, text) in [
            ("peer.ipv4", 0x0808_0404, "8.8.4.4"),
            ("ip", i64::from(0xc0a8_0001_u32 as i32), "192.168.0.1"),
            ("ip", 0xc0a8_0001, "192.168.0.1"),
        ] {
            assert_eq!(tag(name, &Value::Int(number)), KeyValue::text(name, text));
        }
        assert_eq!(tag("ips", &Value::Int(7)).v_int64, 7);
    }

    #[test]
    fn a_link_to_nothing_is_left_out() {
        let to = |trace: u8| model::SpanLink { trace_id: [trace; 16], span_id: [2; 8], ..Default::default() };
        let span = model::Span { links: vec![to(0), to(7)], ..model::Span::default() };
        let told = references(&span);
        assert_eq!((told.len(), told[0].trace_id.as_slice()), (1, [7_u8; 16].as_slice()));
    }

    #[test]
    fn a_log_has_one_name() {
        let attributes = vec![("event".to_owned(), Value::from("retry"))];
        let event = SpanEvent { name: "log".into(), attributes, ..SpanEvent::default() };
        assert_eq!(log(&event).fields, [KeyValue::text("event", "retry")]);
    }
}
