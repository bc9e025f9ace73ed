//! A span in both notations, and bodies that are none.

use super::protobuf::{Batch, KeyValue, Log, Process, Span as Message, SpanRef, Time};
use super::*;
use proptest::prelude::*;

const TRACE: TraceId = [0, 0, 0, 0, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0, 9];

fn tag(key: &str, v_str: &str) -> KeyValue {
    KeyValue { key: key.into(), v_str: v_str.into(), ..KeyValue::default() }
}

fn expected() -> SpanBatch {
    let resource = vec![
        ("service.name".to_owned(), Value::from("shop")),
        ("hostname".to_owned(), Value::from("host-1")),
    ];
    let link = |span: u8, trace: TraceId, kind: &str| SpanLink {
        trace_id: trace,
        span_id: [0, 0, 0, 0, 0, 0, 0, span],
        attributes: vec![("opentracing.ref_type".to_owned(), Value::from(kind))],
        ..SpanLink::default()
    };
    let mut other = TRACE;
    other[15] = 8;
    let span = Span {
        trace_id: TRACE,
        span_id: [0, 0, 0, 0, 0, 0, 0, 2],
        parent_span_id: Some([0, 0, 0, 0, 0, 0, 0, 1]),
        start_ns: 1_700_000_000_000_001_000,
        duration_ns: 2_000,
        name: "GET /".into(),
        kind: SpanKind::Server,
        status: StatusCode::Error,
        attributes: vec![
            ("http.status_code".to_owned(), Value::Int(500)),
            ("share".to_owned(), Value::Double(0.5)),
        ]
        .into(),
        events: vec![SpanEvent {
            ts_ns: 1_700_000_000_000_002_000,
            name: "retry".into(),
            attributes: vec![("first".to_owned(), Value::Bool(true))],
            ..SpanEvent::default()
        }],
        links: vec![link(5, TRACE, "follows_from"), link(6, other, "child_of")],
        ..Span::default()
    };
    SpanBatch {
        resources: vec![ResourceSpans {
            resource: Arc::new(resource),
            scope: Scope::named("tracer", ""),
            spans: vec![span],
            ..ResourceSpans::default()
        }],
    }
}

#[test]
fn by_grpc() {
    let reference = |span: u8, last: u8, ref_type| SpanRef {
        trace_id: [&TRACE[..15], &[last]].concat(),
        span_id: vec![0, 0, 0, 0, 0, 0, 0, span],
        ref_type,
    };
    let integer = KeyValue { key: "http.status_code".into(), v_type: 2, v_int64: 500, ..KeyValue::default() };
    let number = KeyValue { key: "share".into(), v_type: 3, v_float64: 0.5, ..KeyValue::default() };
    let truth = |key: &str| KeyValue { key: key.into(), v_type: 1, v_bool: true, ..KeyValue::default() };
    let span = Message {
        trace_id: TRACE.to_vec(),
        span_id: vec![0, 0, 0, 0, 0, 0, 0, 2],
        operation_name: "GET /".into(),
        references: vec![reference(1, 9, 0), reference(5, 9, 1), reference(6, 8, 0)],
        start_time: Some(Time { seconds: 1_700_000_000, nanos: 1_000 }),
        duration: Some(Time { seconds: 0, nanos: 2_000 }),
        tags: vec![
            tag("span.kind", "server"),
            integer,
            truth("error"),
            number,
            tag("otel.scope.name", "tracer"),
        ],
        logs: vec![Log {
            timestamp: Some(Time { seconds: 1_700_000_000, nanos: 2_000 }),
            fields: vec![tag("event", "retry"), truth("first")],
        }],
        process: None,
    };
    let process = Process { service_name: "shop".into(), tags: vec![tag("hostname", "host-1")] };
    let nameless = Message { trace_id: vec![0; 16], ..span.clone() };
    let request =
        PostSpansRequest { batch: Some(Batch { spans: vec![span, nameless], process: Some(process) }) };
    let decoded = decode_protobuf(request);
    assert_eq!(decoded.batch, expected());
    assert_eq!((decoded.rejected.0[0].reason, decoded.rejected.0[0].count), (RejectReason::InvalidId, 1));
}

/// Thrift's binary protocol, written by hand.
#[derive(Default)]
struct Thrift(Vec<u8>);

impl Thrift {
    fn field(mut self, kind: u8, number: i16) -> Thrift {
        self.0.push(kind);
        self.0.extend(number.to_be_bytes());
        self
    }

    fn i32(mut self, number: i16, value: i32) -> Thrift {
        self = self.field(8, number);
        self.0.extend(value.to_be_bytes());
        self
    }

    fn i64(mut self, number: i16, value: i64) -> Thrift {
        self = self.field(10, number);
        self.0.extend(value.to_be_bytes());
        self
    }

    fn double(mut self, number: i16, value: f64) -> Thrift {
        self = self.field(4, number);
        self.0.extend(value.to_bits().to_be_bytes());
        self
    }

    fn truth(mut self, number: i16) -> Thrift {
        self = self.field(2, number);
        self.0.push(1);
        self
    }

    fn text(mut self, number: i16, text: &str) -> Thrift {
        self = self.field(11, number);
        self.0.extend((text.len() as i32).to_be_bytes());
        self.0.extend(text.as_bytes());
        self
    }

    fn list(mut self, number: i16, items: &[Vec<u8>]) -> Thrift {
        self = self.field(15, number);
        self.0.push(12);
        self.0.extend((items.len() as i32).to_be_bytes());
        items.iter().for_each(|item| self.0.extend(item));
        self
    }

    fn end(mut self) -> Vec<u8> {
        self.0.push(0);
        self.0
    }
}

fn body() -> Vec<u8> {
    let new = Thrift::default;
    let text = |name: &str, value: &str| new().text(1, name).i32(2, 0).text(3, value).end();
    let reference = |kind, low, span| new().i32(1, kind).i64(2, low).i64(3, 7).i64(4, span).end();
    let event = [text("event", "retry"), new().text(1, "first").i32(2, 2).truth(5).end()];
    let tags = [
        text("span.kind", "server"),
        new().text(1, "http.status_code").i32(2, 3).i64(6, 500).end(),
        new().text(1, "error").i32(2, 2).truth(5).end(),
        new().text(1, "share").i32(2, 1).double(4, 0.5).end(),
        text("otel.scope.name", "tracer"),
    ];
    let span = new()
        .i64(1, 9)
        .i64(2, 7)
        .i64(3, 2)
        .i64(4, 1)
        .text(5, "GET /")
        .list(6, &[reference(1, 9, 5), reference(0, 8, 6)])
        .i32(7, 1)
        .i64(8, 1_700_000_000_000_001)
        .i64(9, 2)
        .list(10, &tags)
        .list(11, &[new().i64(1, 1_700_000_000_000_002).list(2, &event).end()])
        .end();
    let process = new().text(1, "shop").list(2, &[text("hostname", "host-1")]).end();
    let mut batch = new().field(12, 1);
    batch.0.extend(process);
    batch.list(2, &[span]).i64(3, 1).end()
}

#[test]
fn by_thrift() {
    let decoded = decode_thrift(&body()).unwrap();
    assert_eq!(decoded.batch, expected());
    assert_eq!(decoded.rejected, Rejected::default());
}

/// Written by OpenTelemetry's exporter for Node: each tag has the fields of all types, and those that it has not are zeros.
fn all_types(name: &str, kind: i32, text: &str, number: i64) -> Vec<u8> {
    let zeros = "\0\0\0\0\0\0\0\0";
    let written = |of: i32, text: &str| if kind == of { text.to_owned() } else { zeros.to_owned() };
    let number = if kind == 3 { number } else { 0 };
    let tag = Thrift::default().text(1, name).i32(2, kind).text(3, &written(0, text)).double(4, 0.0);
    tag.truth(5).i64(6, number).text(7, &written(4, text)).end()
}

fn of_tags(tags: &[Vec<u8>]) -> Span {
    let span = Thrift::default().i64(1, 9).i64(3, 2).text(5, "GET /").list(10, tags).end();
    let mut batch = Thrift::default().field(12, 1);
    batch.0.extend(Thrift::default().text(1, "shop").end());
    let mut decoded = decode_thrift(&batch.list(2, &[span]).end()).unwrap();
    decoded.batch.resources.remove(0).spans.remove(0)
}

#[test]
fn a_tag_of_all_types_is_of_the_one_it_says() {
    let tags = [
        all_types("span.kind", 0, "server", 0),
        all_types("peer", 0, "db", 0),
        all_types("http.status_code", 3, "", 500),
        all_types("error", 2, "", 0),
        all_types("share", 1, "", 0),
        all_types("blob", 4, "ab", 0),
    ];
    let span = of_tags(&tags);
    assert_eq!((span.kind, span.status), (SpanKind::Server, StatusCode::Error));
    let expected = [
        ("peer", Value::from("db")),
        ("http.status_code", Value::Int(500)),
        ("share", Value::Double(0.0)),
        ("blob", Value::Bytes(b"ab".to_vec())),
    ];
    assert_eq!(span.attributes.unpacked(), expected.map(|(name, value)| (name.to_owned(), value)));
}

#[test]
fn a_text_that_is_none_is_bytes_and_the_rest_stays() {
    let mut broken = Thrift::default().text(1, "path").i32(2, 0).field(11, 3);
    broken.0.extend([0, 0, 0, 2, b'a', 0xff]);
    let whole = Thrift::default().text(1, "n").i32(2, 3).i64(6, 7).end();
    let span = of_tags(&[broken.end(), whole]);
    let expected = [("path", Value::Bytes(vec![b'a', 0xff])), ("n", Value::Int(7))];
    assert_eq!(span.attributes.unpacked(), expected.map(|(name, value)| (name.to_owned(), value)));
}

#[test]
fn what_is_no_batch_is_refused_with_its_place() {
    for (bytes, says) in [
        (vec![], "1 bytes announced, 0 left at byte 0"),
        (vec![0], "without its process"),
        (body()[..40].to_vec(), "at byte"),
        // A list of two billion.
        (vec![15, 0, 2, 12, 0x7f, 0xff, 0xff, 0xff, 0], "list of 2147483647"),
        (vec![99, 0, 1], "field type 99"),
    ] {
        let wrong = decode_thrift(&bytes).unwrap_err().0;
        assert!(wrong.contains(says), "{wrong}");
    }
    // Structures without end are not followed without end.
    let deep: Vec<u8> = [12, 0, 9].repeat(100_000);
    assert!(decode_thrift(&deep).unwrap_err().0.contains("too deep"));
}

proptest! {
    #[test]
    fn no_body_is_too_strange(mut bytes in proptest::collection::vec(any::<u8>(), 0..200), at in 0usize..400, value: u8) {
        let _ = decode_thrift(&bytes);
        bytes = body();
        let at = at % bytes.len();
        bytes[at] = value;
        let _ = decode_thrift(&bytes);
    }
}
