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
    /// The next writes are refused with these, the last one first.
    refuse_next: Mutex<Vec<Refused>>,
    /// Log records that it leaves out, as a store with limits does.
    leave_out: Mutex<Vec<u32>>,
}

#[async_trait::async_trait]
impl Sink for Memory {
    async fn write(&self, write: Write) -> Result<Receipt, Refused> {
        if let Some(refused) = self.refuse.lock().clone() {
            return Err(refused);
        }
        if let Some(refused) = self.refuse_next.lock().pop() {
            return Err(refused);
        }
        let mut receipt = Receipt::of_all(&write.batch);
        for at in self.leave_out.lock().iter() {
            receipt.accepted -= 1;
            receipt.reject_at(RejectReason::LineTooLong, *at..*at + 1, || "a line of 9 bytes".into());
        }
        self.writes.lock().push(write);
        Ok(receipt)
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

mod elastic;
mod journal;
mod jsonline;
mod message;
mod peers;
mod syslog;
mod zipkin;

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
        ("/otlp/v1/metrics", vec![protobuf], wire::otlp::encode_metrics(&batch, &[]).next().unwrap().bytes),
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
async fn the_kind_of_a_loki_push_may_have_any_case() {
    let (memory, doors) = doors(Config::default());
    let kind = ("content-type", "Application/JSON; charset=UTF-8");
    let (status, text) = post(&doors, "/loki/api/v1/push", &[kind], LINE).await;
    assert_eq!(status, StatusCode::NO_CONTENT, "{text}");
    assert_eq!(memory.writes.lock().len(), 1);
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

#[tokio::test]
async fn each_signal_of_otlp_has_its_own_name_for_what_was_left_out() {
    let (memory, doors) = doors(Config::default());
    memory.leave_out.lock().push(0);
    let point = r#"{"resourceMetrics":[{"scopeMetrics":[{"metrics":[{"name":"n","gauge":{"dataPoints":[
        {"timeUnixNano":"1700000000000000000","asInt":"2"}]}}]}]}]}"#;
    let record = r#"{"resourceLogs":[{"scopeLogs":[{"logRecords":[
        {"timeUnixNano":"1700000000000000000","body":{"stringValue":"hello"}}]}]}]}"#;
    for (path, body, name) in
        [("/otlp/v1/metrics", point, "rejectedDataPoints"), ("/otlp/v1/logs", record, "rejectedLogRecords")]
    {
        let (status, text) = post(&doors, path, &[JSON], body).await;
        assert_eq!(status, StatusCode::OK, "{path}: {text}");
        assert!(text.contains(&format!("\"{name}\":\"1\"")), "{path}: {text}");
    }
}

#[tokio::test]
async fn delta_points_are_summed_once_they_are_stored() {
    let (memory, doors) = doors(Config::default());
    let point = |start: u64, time: u64| {
        format!(
            r#"{{"resourceMetrics":[{{"scopeMetrics":[{{"metrics":[{{"name":"n","sum":{{"aggregationTemporality":1,
            "isMonotonic":true,"dataPoints":[{{"startTimeUnixNano":"{start}000000000","timeUnixNano":"{time}000000000","asInt":"2"}}]}}}}]}}]}}]}}"#
        )
    };
    let send = async |start: u64, time: u64, tenant: &str| {
        post(&doors, "/otlp/v1/metrics", &[JSON, ("x-scope-orgid", tenant)], point(start, time)).await
    };
    assert_eq!(send(1, 2, "a").await.0, StatusCode::OK);
    *memory.refuse.lock() = Some(Refused::Stopping);
    assert_eq!(send(2, 3, "a").await.0, StatusCode::SERVICE_UNAVAILABLE);
    *memory.refuse.lock() = None;
    assert_eq!(send(2, 3, "a").await.0, StatusCode::OK, "what was refused is sent again");
    let (status, text) = send(2, 3, "a").await;
    assert_eq!((status, text.contains("1 rejected (delta_out_of_order)")), (StatusCode::OK, true), "{text}");
    send(5, 6, "b").await;
    let values: Vec<f64> = memory
        .writes
        .lock()
        .iter()
        .filter_map(|write| match &write.batch {
            Batch::Metrics(batch) => batch.values.first().copied(),
            _ => None,
        })
        .collect();
    assert_eq!(values, [2.0, 4.0, 2.0], "each tenant has its own sums");
    let reading = |name: &str| doors.readings().into_iter().find(|r| r.name == name).map(|r| r.value);
    assert_eq!(reading("binnacle_ingest_delta_points_total"), Some(3.0));
    assert_eq!(reading("binnacle_ingest_delta_series"), Some(2.0));
}

/// Takes a write when it is let.
struct Slow(tokio::sync::Semaphore);

#[async_trait::async_trait]
impl Sink for Slow {
    async fn write(&self, write: Write) -> Result<Receipt, Refused> {
        self.0.acquire().await.map_err(|closed| Refused::Broken(closed.to_string()))?.forget();
        Ok(Receipt::of_all(&write.batch))
    }
}

#[tokio::test]
async fn sums_are_remembered_when_their_sender_hangs_up() {
    let slow = Arc::new(Slow(tokio::sync::Semaphore::new(0)));
    let doors = Arc::new(Doors::new(slow.clone(), Config::default()));
    let body = r#"{"resourceMetrics":[{"scopeMetrics":[{"metrics":[{"name":"orders","sum":{"aggregationTemporality":1,
        "isMonotonic":true,"dataPoints":[{"startTimeUnixNano":"1","timeUnixNano":"2","asInt":"5"}]}}]}]}]}"#;
    let request = wire::otlp::Notation::Json.read(body.as_bytes()).unwrap();
    let caller = crate::doors::Caller::of(&axum::http::HeaderMap::new()).unwrap();
    tokio::select! {
        biased;
        _ = doors.write_otlp_metrics(caller, request) => panic!("nothing let it"),
        () = std::future::ready(()) => {}
    }
    slow.0.add_permits(1);
    for _ in 0..10 {
        tokio::task::yield_now().await;
    }
    let readings = doors.readings();
    let points = readings.iter().find(|reading| reading.name == "binnacle_ingest_delta_points_total");
    assert_eq!(points.map(|reading| reading.value), Some(1.0));
}

#[tokio::test]
async fn influx_lines_are_written_by_both_versions() {
    let (memory, doors) = doors(Config::default());
    let line = "cpu,host=a idle=1.5 1700000000";
    for path in ["/write?db=telegraf&precision=s", "/api/v2/write?org=x&bucket=y&precision=s"] {
        let (status, text) = post(&doors, path, &[("x-scope-orgid", "team")], line).await;
        assert_eq!((status, &text[..]), (StatusCode::NO_CONTENT, ""), "{path}");
    }
    {
        let writes = memory.writes.lock();
        let labels = |at: usize| match &writes[at].batch {
            Batch::Metrics(batch) => {
                let (labels, ts_ms, _) = batch.iter().next().unwrap();
                assert_eq!(ts_ms, [1_700_000_000_000]);
                Labels::from_bytes(labels).unwrap().to_string()
            }
            other => panic!("{other:?}"),
        };
        assert_eq!(labels(0), "cpu_idle{db=\"telegraf\", host=\"a\"}");
        assert_eq!((labels(1).as_str(), writes[1].tenant.as_str()), ("cpu_idle{host=\"a\"}", "team"));
    }
    let (status, text) = post(&doors, "/write", &[], format!("{line}\nbroken")).await;
    assert_eq!(
        (status, text.contains("partial write: 1 rejected (invalid_value): line 2")),
        (StatusCode::BAD_REQUEST, true),
        "{text}"
    );
    let (status, text) = post(&doors, "/write?precision=days", &[], line).await;
    assert_eq!((status, text.contains("days")), (StatusCode::BAD_REQUEST, true), "{text}");
}

#[derive(Clone, PartialEq, prost::Message)]
struct Request2 {
    #[prost(string, repeated, tag = "4")]
    symbols: Vec<String>,
    #[prost(message, repeated, tag = "5")]
    timeseries: Vec<Series2>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Series2 {
    #[prost(uint32, repeated, tag = "1")]
    labels_refs: Vec<u32>,
    #[prost(message, repeated, tag = "2")]
    samples: Vec<Sample2>,
    #[prost(message, repeated, tag = "4")]
    exemplars: Vec<Exemplar2>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Sample2 {
    #[prost(double, tag = "1")]
    value: f64,
    #[prost(int64, tag = "2")]
    timestamp: i64,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Exemplar2 {
    #[prost(uint32, repeated, tag = "1")]
    labels_refs: Vec<u32>,
    #[prost(double, tag = "2")]
    value: f64,
}

const V2: &str = "application/x-protobuf;proto=io.prometheus.write.v2.Request";

/// A series with a sample and an exemplar for each set of label references.
fn written_as_v2(sets: &[&[u32]]) -> Vec<u8> {
    let series = sets.iter().map(|set| Series2 {
        labels_refs: set.to_vec(),
        samples: vec![Sample2 { value: 1.0, timestamp: 5 }],
        exemplars: vec![Exemplar2 { labels_refs: vec![3, 4], value: 1.0 }],
    });
    let symbols = ["", "__name__", "up", "trace_id", "abc"].map(str::to_owned).to_vec();
    let request = Request2 { symbols, timeseries: series.collect() };
    wire::compression::snappy(&prost::Message::encode_to_vec(&request))
}

async fn post_v2(doors: &Arc<Doors>, kind: &str, encoding: &str, body: Vec<u8>) -> (u16, String, String) {
    let request = Request::post("/api/v1/write")
        .header("content-type", kind)
        .header("content-encoding", encoding)
        .body(Body::from(body))
        .unwrap();
    let response = http_router(doors).oneshot(request).await.unwrap();
    let written = ["samples", "histograms", "exemplars"].map(|what| {
        let name = format!("x-prometheus-remote-write-{what}-written");
        response.headers().get(name).map_or("-", |value| value.to_str().unwrap()).to_owned()
    });
    let status = response.status().as_u16();
    let text = response.into_body().collect().await.unwrap().to_bytes();
    (status, written.join(" "), String::from_utf8_lossy(&text).into_owned())
}

#[tokio::test]
async fn version_two_tells_what_it_wrote() {
    let (memory, doors) = doors(Config::default());
    let fine: &[u32] = &[1, 2];
    let (status, written, _) = post_v2(&doors, V2, "snappy", written_as_v2(&[fine])).await;
    assert_eq!((status, &written[..]), (204, "1 0 1"));
    let quoted = "Application/X-Protobuf; proto=\"io.prometheus.write.v2.Request\"";
    let body = written_as_v2(&[fine, &[3, 4], fine]);
    let (status, written, text) = post_v2(&doors, quoted, "snappy", body).await;
    assert_eq!((status, &written[..]), (400, "2 0 2"), "what can be written is");
    assert!(text.contains("1 rejected (invalid_labels)") && text.contains("no metric name"), "{text}");
    let (status, written, _) = post_v2(&doors, V2, "snappy", b"no snappy".to_vec()).await;
    assert_eq!((status, &written[..]), (400, "0 0 0"));
    *memory.refuse.lock() = Some(Refused::Stopping);
    let (status, written, _) = post_v2(&doors, V2, "snappy", written_as_v2(&[fine])).await;
    assert_eq!((status, &written[..]), (503, "0 0 0"));
}

#[tokio::test]
async fn the_content_type_says_the_version() {
    let (memory, doors) = doors(Config::default());
    let mut batch = MetricBatch::default();
    batch.push_sample(&Labels::from_pairs([("__name__", "up")]), 1, 1.0);
    let one = wire::remote_write::encode(&batch);
    for kind in ["application/x-protobuf", "application/x-protobuf;proto=prometheus.WriteRequest"] {
        let (status, written, _) = post_v2(&doors, kind, "snappy", one.clone()).await;
        assert_eq!((status, &written[..]), (204, "- - -"), "{kind}");
    }
    for kind in [
        "application/json",
        "application/x-protobuf;proto=io.prometheus.write.v3.Request",
        "x;proto=prometheus.WriteRequest",
    ] {
        let (status, _, text) = post_v2(&doors, kind, "snappy", one.clone()).await;
        assert_eq!((status, text.contains("2.0 is application/x-protobuf;proto=")), (415, true), "{kind}");
    }
    let (status, written, _) = post_v2(&doors, V2, "gzip", written_as_v2(&[&[1, 2]])).await;
    assert_eq!((status, &written[..]), (415, "0 0 0"));
    assert_eq!(memory.writes.lock().len(), 2);
}
