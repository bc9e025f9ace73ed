//! Texts that are none. Programs in C++ or PHP tell bytes of a header or a statement as they are, and one of them would have the
//! spans of all refused, as protobuf's texts are UTF-8. OpenTelemetry's collector takes them.

use super::DEPTH_MAX;
use super::messages::Message;
use crate::protobuf::{Fields, Value};

impl Message {
    /// The body with a question mark in place of each byte that is no text where one belongs: so nothing in it moves, and no
    /// length changes. `None` where all texts are.
    pub fn mended(&self, body: &[u8]) -> Option<Vec<u8>> {
        let mut mending = Mending { body, mended: None };
        mending.message(self, body, 0, 0);
        mending.mended
    }
}

struct Mending<'a> {
    body: &'a [u8],
    mended: Option<Vec<u8>>,
}

impl Mending<'_> {
    /// What does not read is left to who decodes it.
    fn message(&mut self, of: &Message, bytes: &[u8], at: usize, depth: usize) {
        let mut fields = Fields::of(bytes);
        while let Ok(Some((number, value))) = fields.next() {
            let Value::Bytes(inner) = value else { continue };
            let start = at + bytes.len() - fields.left().len() - inner.len();
            if of.is_text(number) {
                self.text(inner, start);
            } else if let Some(held) = of.field(number)
                && depth < DEPTH_MAX
            {
                self.message(held.message, inner, start, depth + 1);
            }
        }
    }

    fn text(&mut self, text: &[u8], mut at: usize) {
        if std::str::from_utf8(text).is_ok() {
            return;
        }
        let body = self.body;
        let mended = self.mended.get_or_insert_with(|| body.to_vec());
        for chunk in text.utf8_chunks() {
            let wrong = at + chunk.valid().len();
            at = wrong + chunk.invalid().len();
            mended[wrong..at].fill(b'?');
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::otlp::{ExportTraceServiceRequest, Notation, Resources, decode_spans};
    use crate::parts::messages;
    use opentelemetry_proto::tonic::common::v1::{AnyValue, ArrayValue, KeyValue, any_value::Value as Any};
    use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, Status, span::Event};
    use prost::Message as _;

    #[test]
    fn bytes_that_are_no_text_cost_themselves_alone() {
        let text = |text: &str| AnyValue { value: Some(Any::StringValue(text.into())) };
        let pair = |key: &str, value| KeyValue { key: key.into(), value: Some(value), ..KeyValue::default() };
        let list = AnyValue { value: Some(Any::ArrayValue(ArrayValue { values: vec![text("ü BAD")] })) };
        let bytes = AnyValue { value: Some(Any::BytesValue(b"BAD".to_vec())) };
        let span = Span {
            trace_id: vec![0xff; 16],
            span_id: vec![0xfe; 8],
            name: "BAD name".into(),
            attributes: vec![pair("a BAD", list), pair("b", text("BAD")), pair("c", bytes)],
            events: vec![Event { name: "BAD".into(), ..Event::default() }],
            status: Some(Status { message: "BAD".into(), code: 2 }),
            ..Span::default()
        };
        let scope_spans = vec![ScopeSpans { spans: vec![span], ..ScopeSpans::default() }];
        let resource_spans = vec![ResourceSpans { scope_spans, ..ResourceSpans::default() }];
        let whole = ExportTraceServiceRequest { resource_spans }.encode_to_vec();
        assert_eq!(messages::TRACES.mended(&whole), None);
        let mut spoiled = whole.clone();
        let marks = (0..whole.len()).filter(|at| whole[*at..].starts_with(b"BAD"));
        marks.for_each(|at| spoiled[at..at + 3].copy_from_slice(&[0xe4, 0xff, 0x80]));
        let by_tree: ExportTraceServiceRequest = Notation::Protobuf.read(&spoiled).unwrap();
        let straight = decode_spans(Notation::Protobuf, &spoiled, &Resources::default()).unwrap();
        assert_eq!(crate::otlp::spans(by_tree.clone()), straight);
        let span = &by_tree.resource_spans[0].scope_spans[0].spans[0];
        assert_eq!((span.name.as_str(), span.events[0].name.as_str()), ("??? name", "???"));
        assert_eq!(span.trace_id, [0xff; 16]);
        assert_eq!(span.status.as_ref().unwrap().message, "???");
        let Some(Any::ArrayValue(list)) = &span.attributes[0].value.as_ref().unwrap().value else { panic!() };
        assert_eq!((span.attributes[0].key.as_str(), &list.values[0]), ("a ???", &text("ü ???")));
        let bytes = Some(Any::BytesValue(vec![0xe4, 0xff, 0x80]));
        assert_eq!(span.attributes[2].value.as_ref().unwrap().value, bytes);
    }
}
