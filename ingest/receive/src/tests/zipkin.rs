//! Which bodies are Zipkin's.

use super::*;

/// The ids 1 and 2 and the time 7.
const PROTOBUF: &str = concat!(
    "\n\x25\n\x10\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01",
    "\x1a\x08\0\0\0\0\0\0\0\x02",
    "1\x07\0\0\0\0\0\0\0",
);

#[tokio::test]
async fn what_names_no_other_format_is_json_and_nothing_is_no_spans() {
    let span = r#"[{"traceId":"1","id":"2","timestamp":7}]"#;
    for (headers, body, status, spans) in [
        (vec![], span, StatusCode::ACCEPTED, Some(1)),
        (vec![("content-type", "application/x-www-form-urlencoded")], span, StatusCode::ACCEPTED, Some(1)),
        (vec![("content-type", "text/plain; charset=utf-8")], span, StatusCode::ACCEPTED, Some(1)),
        (vec![JSON], "", StatusCode::ACCEPTED, None),
        (vec![JSON], "{}", StatusCode::BAD_REQUEST, None),
        (vec![("content-type", "application/x-protobuf")], span, StatusCode::BAD_REQUEST, None),
        (vec![("content-type", "application/x-protobuf")], PROTOBUF, StatusCode::ACCEPTED, Some(1)),
        (vec![("content-type", "application/x-thrift")], span, StatusCode::UNSUPPORTED_MEDIA_TYPE, None),
    ] {
        let (memory, doors) = doors(Config::default());
        let (answer, why) = post(&doors, "/api/v2/spans", &headers, body).await;
        assert_eq!(answer, status, "{headers:?} {body}: {why}");
        let written = memory.writes.lock().pop().map(|write| match write.batch {
            Batch::Spans(batch) => batch.spans(),
            other => panic!("{other:?}"),
        });
        assert_eq!(written, spans, "{headers:?} {body}");
    }
}
