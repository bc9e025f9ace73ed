//! How long a span is as OTLP's protobuf, which is what `traces_spanmetrics_size_total` counts and tail sampling by bytes.

use model::{Attributes, Packed, ResourceSpans, Span, SpanEvent, SpanLink, Value};

fn varint(mut value: u64) -> usize {
    let mut bytes = 1;
    while value >= 0x80 {
        value >>= 7;
        bytes += 1;
    }
    bytes
}

/// Of a field with a number below 16: its tag, its length, itself. An empty one is not written.
fn text(bytes: usize) -> usize {
    if bytes == 0 { 0 } else { message(bytes) }
}

/// As [`text`], written even if empty.
fn message(bytes: usize) -> usize {
    1 + varint(bytes as u64) + bytes
}

/// Of a value with this type byte and text.
fn any(kind: u8, text: &str) -> usize {
    match kind {
        b'i' => 1 + varint(text.parse::<i64>().unwrap_or(0) as u64),
        b'd' => 9,
        b'b' => 2,
        // Its text is hexadecimal.
        b'x' => message(text.len() / 2),
        // A list's JSON is about as long.
        _ => message(text.len()),
    }
}

fn packed(attributes: &Packed) -> usize {
    attributes.iter().map(|(name, kind, value)| message(text(name.len()) + message(any(kind, value)))).sum()
}

fn attributes(attributes: &Attributes) -> usize {
    let long = |value: &Value| match value.as_str() {
        Some(text) => message(text.len()),
        None => any(value.type_byte(), &value.to_string()),
    };
    attributes.iter().map(|(name, value)| message(text(name.len()) + message(long(value)))).sum()
}

/// Of how many were dropped; 0 is not written.
fn count(dropped: u32) -> usize {
    if dropped == 0 { 0 } else { 1 + varint(u64::from(dropped)) }
}

fn event(event: &SpanEvent) -> usize {
    let dropped = count(event.dropped_attributes);
    message(9 + text(event.name.len()) + attributes(&event.attributes) + dropped)
}

fn link(link: &SpanLink) -> usize {
    let flags = if link.flags == 0 { 0 } else { 5 };
    let dropped = count(link.dropped_attributes);
    message(18 + 10 + text(link.trace_state.len()) + attributes(&link.attributes) + dropped + flags)
}

/// In bytes.
pub(crate) fn of(span: &Span) -> usize {
    let kind = if span.kind as u8 == 0 { 0 } else { 2 };
    let code = if span.status as u8 == 0 { 0 } else { 2 };
    let status = code + text(span.status_message.len());
    // Its field's number takes two bytes.
    let flags = if span.flags == 0 { 0 } else { 6 };
    // Both ids, both times.
    18 + 10
        + 18
        + text(span.trace_state.len())
        + span.parent_span_id.map_or(0, |_| 10)
        + text(span.name.len())
        + kind
        + packed(&span.attributes)
        + span.events.iter().map(event).sum::<usize>()
        + span.links.iter().map(link).sum::<usize>()
        + [span.dropped_attributes, span.dropped_events, span.dropped_links].map(count).iter().sum::<usize>()
        + flags
        // Written even where nothing is said, as every collector between a sender and Tempo does.
        + message(status)
}

/// In bytes, with what is said once of all its spans.
pub(crate) fn of_part(part: &ResourceSpans) -> usize {
    let scope =
        text(part.scope.name.len()) + text(part.scope.version.len()) + attributes(&part.scope.attributes);
    let spans: usize = part.spans.iter().map(|span| message(of(span))).sum();
    message(attributes(&part.resource)) + message(scope) + spans
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::{SpanKind, StatusCode};

    #[test]
    fn as_long_as_its_fields_are() {
        let bare = Span { trace_id: [1; 16], span_id: [1; 8], start_ns: 1, ..Span::default() };
        assert_eq!(of(&bare), 46 + 2);
        assert_eq!(of(&Span { flags: 0x101, dropped_events: 200, ..bare.clone() }), 48 + 6 + 3);
        let link = SpanLink { flags: 0x100, dropped_attributes: 1, ..SpanLink::default() };
        assert_eq!(of(&Span { links: vec![link], ..bare.clone() }), 48 + 2 + 18 + 10 + 5 + 2);
        let resource = std::sync::Arc::new(vec![("a".to_owned(), Value::Int(500))]);
        let part = ResourceSpans { resource, spans: vec![bare.clone(); 2], ..ResourceSpans::default() };
        // Its attribute takes 10 and two spans 50 each; of the scope nothing is known.
        assert_eq!(of_part(&part), 2 + 10 + 2 + 2 * 50);
        let full = Span {
            parent_span_id: Some([2; 8]),
            name: "GET /".into(),
            kind: SpanKind::Server,
            status: StatusCode::Error,
            attributes: Packed::from(vec![
                ("a".into(), Value::Int(500)),
                ("b".into(), Value::from("x".repeat(200).as_str())),
            ]),
            ..bare
        };
        // 46, parent 10, name 7, kind 2, status 1+1+2; a: 2 + 3 + (2 + 3); b: 3 + 3 + (3 + 203).
        assert_eq!(of(&full), 46 + 10 + 7 + 2 + 4 + 10 + 212);
    }
}
