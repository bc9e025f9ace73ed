//! Spans as Zipkin's own instrumentation sends them.

use super::protobuf::{AnnotationMessage, EndpointMessage, ListOfSpans, SpanMessage};
use super::*;
use model::attribute;
use prost::Message;

#[test]
fn a_client_and_the_server_that_shares_its_id() {
    let body = r#"[
      {"traceId":"5982fe77008310cc80f1da5e10147517","parentId":"90394f6bcffb5d13","id":"67fae42571535f60",
       "kind":"CLIENT","name":"get","timestamp":1516781775726000,"duration":26000,
       "localEndpoint":{"serviceName":"frontend","ipv4":"192.0.2.1","port":3306},
       "remoteEndpoint":{"serviceName":"backend","ipv6":"2001:db8::1","port":9000},
       "annotations":[{"timestamp":1516781775726100,"value":"ws"}],
       "tags":{"http.method":"GET","error":"connection refused"}},
      {"traceId":"5982fe77008310cc80f1da5e10147517","parentId":"90394f6bcffb5d13","id":"67fae42571535f60",
       "kind":"SERVER","shared":true,"name":"/api","timestamp":1516781775727000,"duration":20000,
       "localEndpoint":{"serviceName":"backend"},"tags":{"otel.scope.name":"brave","error":"false"}}
    ]"#;
    let decoded = decode_json(body.as_bytes()).unwrap();
    let [frontend, backend] = decoded.batch.resources.as_slice() else { panic!("{decoded:?}") };
    assert_eq!(attribute(&frontend.resource, "service.name"), Some(&Value::from("frontend")));
    let client = &frontend.spans[0];
    assert_eq!(hex::encode(client.trace_id), "5982fe77008310cc80f1da5e10147517");
    assert_eq!(client.parent_span_id.map(hex::encode).as_deref(), Some("90394f6bcffb5d13"));
    assert_eq!((client.start_ns, client.duration_ns), (1_516_781_775_726_000_000, 26_000_000));
    assert_eq!((client.kind, client.status), (SpanKind::Client, StatusCode::Error));
    assert_eq!(client.status_message, "connection refused");
    assert_eq!(client.events[0].name, "ws");
    let expected = [
        ("http.method", Value::from("GET")),
        ("network.local.address", Value::from("192.0.2.1")),
        ("network.local.port", Value::Int(3306)),
        ("peer.service", Value::from("backend")),
        ("network.peer.address", Value::from("2001:db8::1")),
        ("network.peer.port", Value::Int(9000)),
    ];
    assert_eq!(client.attributes.unpacked(), expected.map(|(name, value)| (name.to_owned(), value)));
    let server = &backend.spans[0];
    assert_eq!((server.span_id, server.parent_span_id), (client.span_id, Some(client.span_id)));
    assert_eq!((server.status, backend.scope.name.as_str()), (StatusCode::Unset, "brave"));
}

#[test]
fn the_least_a_span_has_and_what_is_none() {
    let decoded =
        decode_json(br#"[{"traceId":"1","id":"2"},{"traceId":"x","id":"2"},{"traceId":"0","id":"2"}]"#);
    let decoded = decoded.unwrap();
    assert_eq!(decoded.batch.spans(), 1);
    assert_eq!(decoded.batch.resources[0].spans[0].span_id, [0, 0, 0, 0, 0, 0, 0, 2]);
    assert_eq!((decoded.rejected.0[0].reason, decoded.rejected.0[0].count), (RejectReason::InvalidId, 2));
    for wrong in ["", "{}", r#"[{"traceId":1}]"#, "[1]"] {
        let why = decode_json(wrong.as_bytes()).unwrap_err().0;
        assert!(why.contains("Zipkin v2") && why.contains("line 1"), "{why}");
    }
    assert_eq!(decode_json(b"[]").unwrap().batch.spans(), 0);
}

/// zipkin-go, and so the collector's exporter, writes empty lists as `null`.
#[test]
fn what_is_null_is_not_there() {
    let body = r#"[{"traceId":"1","id":"2","parentId":null,"name":null,"kind":null,"timestamp":7,"duration":null,
      "shared":null,"debug":null,"localEndpoint":null,"remoteEndpoint":null,"annotations":null,"tags":null}]"#;
    let decoded = decode_json(body.as_bytes()).unwrap();
    let span = &decoded.batch.resources[0].spans[0];
    assert_eq!((span.start_ns, span.parent_span_id, span.events.len()), (7_000, None, 0));
    assert!(span.attributes.is_empty());
}

#[test]
fn numbers_in_quotes_and_tags_that_are_numbers_are_read() {
    let body = r#"[
      {"traceId":"1","id":"2","timestamp":"1516781775726000","duration":26000.0,
       "localEndpoint":{"serviceName":"shop","port":"3306"},
       "annotations":[{"timestamp":"1516781775726100","value":"ws"}],
       "tags":{"http.status_code":200,"share":0.5,"http.method":"GET"}}
    ]"#;
    let decoded = decode_json(body.as_bytes()).unwrap();
    let span = &decoded.batch.resources[0].spans[0];
    assert_eq!((span.start_ns, span.duration_ns), (1_516_781_775_726_000_000, 26_000_000));
    assert_eq!(span.events[0].ts_ns, 1_516_781_775_726_100_000);
    let expected = [
        ("http.method", Value::from("GET")),
        ("http.status_code", Value::from("200")),
        ("share", Value::from("0.5")),
        ("network.local.port", Value::Int(3306)),
    ];
    assert_eq!(span.attributes.unpacked(), expected.map(|(name, value)| (name.to_owned(), value)));
    for wrong in [r#""timestamp":"soon""#, r#""duration":0.5"#, r#""duration":1e30"#, r#""tags":{"a":true}"#]
    {
        let why = decode_json(format!(r#"[{{"traceId":"1","id":"2",{wrong}}}]"#).as_bytes()).unwrap_err().0;
        assert!(why.contains("expected") && why.contains("line 1"), "{why}");
    }
}

/// JavaScript's exporters cut texts in the middle of an emoji.
#[test]
fn half_a_pair_of_utf_16_is_no_reason_to_refuse() {
    let body = r#"[{"traceId":"1","id":"2","timestamp":7,"name":"a \ud83d","tags":{"half":"\ude00","whole":"\ud83d\ude00"}}]"#;
    let decoded = decode_json(body.as_bytes()).unwrap();
    let span = &decoded.batch.resources[0].spans[0];
    assert_eq!(span.name, "a \u{fffd}");
    let expected = [("half", Value::from("\u{fffd}")), ("whole", Value::from("😀"))];
    assert_eq!(span.attributes.unpacked(), expected.map(|(name, value)| (name.to_owned(), value)));
}

#[test]
fn what_a_span_leaves_open() {
    let body = r#"[
      {"traceId":"1","id":"2","parentId":"2","debug":true,"annotations":[{"timestamp":9,"value":"b"},{"timestamp":5,"value":"a"}],
       "localEndpoint":{"serviceName":""},
       "remoteEndpoint":{"serviceName":"","ipv4":"192.0.2.1","ipv6":"2001:db8::1","port":0}},
      {"traceId":"1","id":"3","timestamp":0,"annotations":[]}
    ]"#;
    let decoded = decode_json(body.as_bytes()).unwrap();
    let [resource] = decoded.batch.resources.as_slice() else { panic!("{decoded:?}") };
    assert!(resource.resource.is_empty());
    let [first, second] = resource.spans.as_slice() else { panic!("{resource:?}") };
    assert_eq!((first.start_ns, first.parent_span_id), (5_000, None));
    let expected = [
        ("network.peer.address", Value::from("192.0.2.1")),
        ("zipkin.peer.ipv6", Value::from("2001:db8::1")),
        ("zipkin.debug", Value::Bool(true)),
    ];
    assert_eq!(first.attributes.unpacked(), expected.map(|(name, value)| (name.to_owned(), value)));
    assert_eq!(second.start_ns, 0);
}

#[test]
fn in_protobuf_it_is_the_same() {
    let json = r#"[{"traceId":"5982fe77008310cc80f1da5e10147517","parentId":"90394f6bcffb5d13","id":"67fae42571535f60",
      "kind":"CLIENT","name":"get","timestamp":1516781775726000,"duration":26000,"debug":true,
      "localEndpoint":{"serviceName":"frontend","ipv4":"192.0.2.1","port":3306},
      "remoteEndpoint":{"serviceName":"backend","ipv6":"2001:db8::1"},
      "annotations":[{"timestamp":1516781775726100,"value":"ws"}],"tags":{"http.method":"GET"}}]"#;
    let bytes = |text: &str| hex::decode(text).unwrap();
    let span = SpanMessage {
        trace_id: bytes("5982fe77008310cc80f1da5e10147517"),
        parent_id: bytes("90394f6bcffb5d13"),
        id: bytes("67fae42571535f60"),
        kind: 1,
        name: "get".into(),
        timestamp: 1_516_781_775_726_000,
        duration: 26_000,
        local_endpoint: Some(EndpointMessage {
            service_name: "frontend".into(),
            ipv4: vec![192, 0, 2, 1],
            port: 3306,
            ..Default::default()
        }),
        remote_endpoint: Some(EndpointMessage {
            service_name: "backend".into(),
            ipv6: bytes("20010db8000000000000000000000001"),
            ..Default::default()
        }),
        annotations: vec![AnnotationMessage { timestamp: 1_516_781_775_726_100, value: "ws".into() }],
        tags: BTreeMap::from([("http.method".to_owned(), "GET".to_owned())]),
        debug: true,
        shared: false,
    };
    let nameless = SpanMessage { id: vec![], ..span.clone() };
    let body = ListOfSpans { spans: vec![span, nameless] }.encode_to_vec();
    let decoded = decode_protobuf(&body).unwrap();
    assert_eq!(decoded.batch, decode_json(json.as_bytes()).unwrap().batch);
    assert_eq!((decoded.rejected.0[0].reason, decoded.rejected.0[0].count), (RejectReason::InvalidId, 1));
    let wrong = decode_protobuf(&body[..body.len() - 1]).unwrap_err().0;
    assert!(wrong.contains("Zipkin"), "{wrong}");
    assert_eq!(decode_protobuf(&[]).unwrap().batch.spans(), 0);
}
