use super::*;
use axum::body::Body;
use axum::http::{Request, StatusCode};
use http_body_util::BodyExt;
use model::*;
use parking_lot::Mutex;
use std::time::Duration;
use tower::ServiceExt;

/// Remembers what it is given; refuses on request.
#[derive(Default)]
struct Memory {
    writes: Mutex<Vec<Write>>,
    refuse: Mutex<Option<Refused>>,
}

#[async_trait::async_trait]
impl Sink for Memory {
    async fn write(&self, write: Write) -> Result<Receipt, Refused> {
        if let Some(refused) = self.refuse.lock().clone() {
            return Err(refused);
        }
        let accepted = match &write.batch {
            Batch::Metrics(batch) => batch.samples(),
            Batch::Logs(batch) => batch.records(),
            Batch::Spans(batch) => batch.spans(),
        };
        self.writes.lock().push(write);
        Ok(Receipt { accepted: accepted as u64, rejected: vec![] })
    }
}

fn doors(config: Config) -> (Arc<Memory>, Arc<Doors>) {
    let memory = Arc::new(Memory::default());
    (memory.clone(), Arc::new(Doors::new(memory, config)))
}

async fn post(
    doors: &Arc<Doors>,
    path: &str,
    headers: &[(&str, &str)],
    body: impl Into<Body>,
) -> (StatusCode, String) {
    let mut request = Request::post(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let response = http_router(doors).oneshot(request.body(body.into()).unwrap()).await.unwrap();
    let status = response.status();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (status, String::from_utf8_lossy(&body).into_owned())
}

const JSON: (&str, &str) = ("content-type", "application/json");
const LINE: &str = r#"{"streams":[{"stream":{"app":"web"},"values":[["1700000000000000000","hello"]]}]}"#;

#[tokio::test]
async fn each_door_writes_under_its_tenant() {
    let (memory, doors) = doors(Config::default());
    let mut batch = MetricBatch::default();
    batch.begin_series(&mut [("__name__", "up")]).unwrap();
    batch.push(1, 1.0);
    let protobuf = ("content-type", "application/x-protobuf");
    for (path, headers, body) in [
        ("/api/v1/write", vec![protobuf], wire::remote_write::encode(&batch)),
        ("/prometheus/api/v1/write", vec![("x-scope-orgid", "other")], wire::remote_write::encode(&batch)),
        ("/otlp/v1/metrics", vec![protobuf], wire::otlp::encode_metrics(&batch)),
        ("/api/v1/import/prometheus", vec![], b"up 1 1\n".to_vec()),
        ("/loki/api/v1/push", vec![JSON], LINE.into()),
    ] {
        let (status, text) = post(&doors, path, &headers, body).await;
        assert!(status.is_success(), "{path}: {status} {text}");
    }
    let writes = memory.writes.lock();
    assert_eq!(writes[1].tenant.as_str(), "other");
    assert!(writes[..4].iter().all(|write| write.batch == Batch::Metrics(batch.clone())), "{writes:?}");
    let accepted =
        doors.readings().into_iter().find(|r| r.labels.contains(&("signal", "metrics".into()))).unwrap();
    assert_eq!(accepted.value, 4.0);
}

#[tokio::test]
async fn an_origin_names_the_batch() {
    let (memory, doors) = doors(Config::default());
    post(&doors, "/loki/api/v1/push", &[JSON, (wire::ORIGIN_HEADER, "ff-7")], LINE).await;
    assert_eq!(memory.writes.lock()[0].origin, Some(Origin { sender: 255, sequence: 7 }));
    let (status, _) = post(&doors, "/loki/api/v1/push", &[JSON, (wire::ORIGIN_HEADER, "x")], LINE).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn bodies_past_a_bound_are_413() {
    let (_, doors) = doors(Config { body_bytes_max: 100, decompressed_bytes_max: 200, ..Config::default() });
    let (status, text) = post(&doors, "/loki/api/v1/push", &[JSON], "x".repeat(101)).await;
    assert_eq!((status, text.contains("100 bytes")), (StatusCode::PAYLOAD_TOO_LARGE, true), "{text}");
    let bomb = wire::compression::zstd(&[b' '; 201]).unwrap();
    let (status, text) = post(&doors, "/loki/api/v1/push", &[JSON, ("content-encoding", "zstd")], bomb).await;
    assert_eq!((status, text.contains("200 bytes")), (StatusCode::PAYLOAD_TOO_LARGE, true), "{text}");
    let (status, _) = post(&doors, "/loki/api/v1/push", &[JSON, ("content-encoding", "br")], "x").await;
    assert_eq!(status, StatusCode::UNSUPPORTED_MEDIA_TYPE);
}

#[tokio::test]
async fn a_sink_that_refuses_is_told_in_the_words_of_http() {
    let (memory, doors) = doors(Config::default());
    let busy = Refused::Busy { why: "full".into(), retry_after: Duration::from_secs(3) };
    for (refused, status) in [(busy, 429), (Refused::Broken("disk".into()), 503), (Refused::Stopping, 503)] {
        *memory.refuse.lock() = Some(refused);
        let request =
            Request::post("/loki/api/v1/push").header(JSON.0, JSON.1).body(Body::from(LINE)).unwrap();
        let response = http_router(&doors).oneshot(request).await.unwrap();
        assert_eq!(response.status(), status);
        assert!(response.headers().contains_key("retry-after"));
    }
}

#[tokio::test]
async fn otlp_tells_what_was_left_out() {
    let (_, doors) = doors(Config::default());
    let body = r#"{"resourceSpans":[{"scopeSpans":[{"spans":[{"traceId":"","spanId":"","name":"x"}]}]}]}"#;
    let (status, text) = post(&doors, "/otlp/v1/traces", &[JSON], body).await;
    assert_eq!(status, StatusCode::OK);
    assert!(text.contains("\"rejectedSpans\":\"1\""), "{text}");
    let (status, text) = post(&doors, "/otlp/v1/traces", &[JSON], "[]").await;
    assert_eq!((status, text.contains("\"code\":3")), (StatusCode::BAD_REQUEST, true), "{text}");
}
