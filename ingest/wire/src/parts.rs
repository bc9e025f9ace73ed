//! How many records, attributes and values a body holds, told before it is decoded: two bytes of protobuf and three of JSON may
//! become a record of hundreds, so that a body's length says little of the room that it needs.

pub mod messages;
mod texts;

use crate::otlp::Notation;
use crate::protobuf::{Fields, Value, starts_group};
use messages::Message;

/// What parts a body is made of.
#[derive(Clone, Copy)]
pub enum Kind {
    Protobuf(&'static Message),
    /// Objects and lists; also the braces in texts, which are rarely many of a text.
    Json,
    Lines,
    /// Jaeger's batches in Thrift.
    Thrift,
}

/// No deeper do decoders go.
const DEPTH_MAX: usize = 100;

impl Kind {
    pub fn of(notation: Notation, message: &'static Message) -> Kind {
        match notation {
            Notation::Protobuf => Kind::Protobuf(message),
            Notation::Json => Kind::Json,
        }
    }

    /// Of what does not read, those before it: who decodes it goes no further either.
    pub fn parts(self, body: &[u8]) -> usize {
        match self {
            Kind::Protobuf(message) => message.parts(body, 0),
            Kind::Json => memchr::memchr2_iter(b'{', b'[', body).count(),
            Kind::Lines => memchr::memchr_iter(b'\n', body).count() + 1,
            Kind::Thrift => crate::jaeger::thrift::structures(body),
        }
    }
}

impl Message {
    fn parts(&self, bytes: &[u8], depth: usize) -> usize {
        let (mut fields, mut parts) = (Fields::of(bytes), 0);
        loop {
            let left = fields.left();
            let (number, bytes) = match fields.next() {
                Ok(Some((number, Value::Bytes(bytes)))) => (number, bytes),
                Ok(Some(_)) => continue,
                Ok(None) => return parts,
                // A group is skipped where a message is decoded whole, and what is behind it may be anything.
                Err(_) if starts_group(left) => return parts + left.len() / 2,
                Err(_) => return parts,
            };
            let Some(held) = self.field(number) else { continue };
            parts += usize::from(held.repeated);
            if depth < DEPTH_MAX {
                parts += held.message.parts(bytes, depth + 1);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::otlp::ExportLogsServiceRequest;
    use opentelemetry_proto::tonic::common::v1::{AnyValue, ArrayValue, KeyValue, any_value::Value as Any};
    use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
    use prost::Message as _;

    #[test]
    fn what_may_be_there_often_is_a_part() {
        let text = |text: &str| AnyValue { value: Some(Any::StringValue(text.into())) };
        let list = AnyValue { value: Some(Any::ArrayValue(ArrayValue { values: vec![text("{["); 5] })) };
        let attribute = |value| KeyValue { key: "k".into(), value: Some(value), ..KeyValue::default() };
        let record = LogRecord {
            body: Some(list.clone()),
            attributes: vec![attribute(text("\n")), attribute(list)],
            ..LogRecord::default()
        };
        let scope_logs = vec![ScopeLogs { log_records: vec![record; 3], ..ScopeLogs::default() }];
        let resource_logs = vec![ResourceLogs { scope_logs, ..ResourceLogs::default() }];
        let body = ExportLogsServiceRequest { resource_logs }.encode_to_vec();
        let parts = |body: &[u8]| Kind::Protobuf(&messages::LOGS).parts(body);
        // A resource, a scope, three records with two attributes each and two lists of five.
        assert_eq!(parts(&body), 1 + 1 + 3 * (1 + 2 + 5 + 5));
        assert_eq!(parts(&[]), 0);
        // A group of two bytes before all else, and a body that ends early.
        assert!(parts(&[&[0x5b, 0x5c][..], &body].concat()) >= body.len() / 2);
        assert!(parts(&body[..body.len() - 1]) < parts(&body));
        // Deeper than anything is decoded.
        let mut deep = vec![];
        for _ in 0..300 {
            deep = [&[0x2a, 1][..], &deep].concat();
        }
        assert!(parts(&deep) <= 1);
        assert_eq!(Kind::Json.parts(br#"{"a":[{},{}]}"#), 4);
        assert_eq!(Kind::Lines.parts(b"a 1\nb 2"), 2);
        // A batch with a list of five spans of a byte each.
        let batch = [&[15, 0, 2, 12, 0, 0, 0, 5][..], &[0; 5], &[0]].concat();
        assert_eq!(Kind::Thrift.parts(&batch), 6);
        assert_eq!(Kind::Thrift.parts(&batch[..10]), 3 + 1);
    }
}
