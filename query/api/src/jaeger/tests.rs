//! Rows J1 to J5 of what Grafana calls, over a real store.

use super::*;
use axum::body::{Body, to_bytes};
use axum::http::Request;
use model::{
    Batch, Clock, ResourceSpans, Scope, Sink, Span, SpanBatch, SpanEvent, SpanKind, SpanLink,
    StatusCode as SpanStatus, SystemClock, Tenant, Value as Attribute, Write,
};
use store::Store;
use tower::ServiceExt;

pub(super) const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";

pub(super) struct World {
    router: Router,
    pub engine: Arc<Engine>,
    pub start_ns: i64,
    _dir: tempfile::TempDir,
}

fn of(service: &str, spans: Vec<Span>) -> ResourceSpans {
    let resource = vec![
        ("service.name".to_owned(), Attribute::from(service)),
        ("zone".to_owned(), Attribute::from("a")),
    ];
    ResourceSpans {
        resource: Arc::new(resource),
        scope: Scope::named("test", ""),
        spans,
        ..ResourceSpans::default()
    }
}

fn batch(start_ns: i64) -> SpanBatch {
    let trace_id = params::trace_id(TRACE).unwrap_or_default();
    let root = Span {
        trace_id,
        span_id: [1; 8],
        start_ns,
        duration_ns: 400_000_000,
        name: "GET /checkout".into(),
        kind: SpanKind::Server,
        status: SpanStatus::Error,
        status_message: "boom".into(),
        attributes: vec![("http.status_code".into(), Attribute::Int(500))].into(),
        events: vec![SpanEvent {
            ts_ns: start_ns + 1_000,
            name: "retry".into(),
            attributes: vec![("n".into(), Attribute::Bool(true))],
            ..SpanEvent::default()
        }],
        ..Span::default()
    };
    let child = Span {
        trace_id,
        span_id: [2; 8],
        parent_span_id: Some([1; 8]),
        start_ns: start_ns + 1_000_000,
        duration_ns: 300_000_000,
        name: "pool.acquire".into(),
        links: vec![SpanLink { trace_id: [9; 16], span_id: [8; 8], ..SpanLink::default() }],
        ..Span::default()
    };
    SpanBatch { resources: vec![of("frontend", vec![root]), of("orders", vec![child])] }
}

impl World {
    pub async fn new() -> World {
        let dir = tempfile::tempdir().unwrap();
        let config = store::Config { dir: dir.path().to_owned(), fsync: false, ..store::Config::default() };
        let store = Store::open(config, Arc::new(SystemClock)).await.unwrap();
        // Whole microseconds, as Jaeger has no finer ones.
        let start_ns = (SystemClock.now_ns() - 30_000_000_000) / 1_000 * 1_000;
        let write = Write { tenant: Tenant::default(), batch: Batch::Spans(batch(start_ns)), origin: None };
        store.write(write).await.unwrap();
        store.flush().await.unwrap();
        let engine = Engine::new(store, Arc::new(SystemClock), engine::Limits::default()).unwrap();
        let engine = Arc::new(engine);
        World { router: router(engine.clone()), engine, start_ns, _dir: dir }
    }

    async fn get(&self, path: &str) -> (StatusCode, Value) {
        let request = Request::get(format!("/jaeger/api{path}")).body(Body::empty()).unwrap();
        let response = self.router.clone().oneshot(request).await.unwrap();
        let status = response.status();
        let body = to_bytes(response.into_body(), 1 << 20).await.unwrap();
        (status, serde_json::from_slice(&body).unwrap())
    }

    async fn data(&self, path: &str) -> Value {
        let (status, body) = self.get(path).await;
        assert_eq!(status, StatusCode::OK, "{path}: {body}");
        assert_eq!(body["errors"], Value::Null, "{path}: {body}");
        body["data"].clone()
    }
}

#[tokio::test]
async fn j1_j2_services_and_operations() {
    let world = World::new().await;
    assert_eq!(world.data("/services").await, json!(["frontend", "orders"]));
    assert_eq!(world.data("/services/frontend/operations").await, json!(["GET /checkout"]));
    assert_eq!(world.data("/services/nobody/operations").await, json!([]));
    let operations = world.data("/operations?service=frontend&spanKind=server").await;
    assert_eq!(operations, json!([{ "name": "GET /checkout", "spanKind": "server" }]));
    assert_eq!(world.data("/operations?service=frontend&spanKind=client").await, json!([]));
}

#[tokio::test]
async fn j3_search() {
    let world = World::new().await;
    let (start, end) = (world.start_ns / 1_000 - 60_000_000, world.start_ns / 1_000 + 60_000_000);
    let found = |query: &str| format!("/traces?start={start}&end={end}&limit=20&{query}");
    for (query, count) in [
        ("service=frontend", 1),
        ("service=frontend&operation=GET%20/checkout", 1),
        ("service=frontend&operation=pool.acquire", 0),
        ("service=orders&operation=pool.acquire&minDuration=250ms&maxDuration=1s", 1),
        ("service=orders&minDuration=2s", 0),
        ("service=frontend&tags=%7B%22error%22:%22true%22,%22http.status_code%22:%22500%22%7D", 1),
        ("service=frontend&tags=%7B%22n%22:%22true%22%7D", 1),
        ("service=frontend&tags=%7B%22zone%22:%22b%22%7D", 0),
        ("service=orders&tag=error:true", 0),
        ("service=nobody", 0),
    ] {
        let data = world.data(&found(query)).await;
        assert_eq!(data.as_array().map(Vec::len), Some(count), "{query}: {data}");
    }
    // What is found is the whole trace.
    let data = world.data(&found("service=orders")).await;
    assert_eq!(data[0]["spans"].as_array().map(Vec::len), Some(2));
    let (status, body) = world.get(&found("operation=x")).await;
    assert_eq!((status, body["errors"][0]["code"].as_u64()), (StatusCode::BAD_REQUEST, Some(400)));
    assert!(body["errors"][0]["msg"].as_str().unwrap().contains("service"), "{body}");
    assert_eq!(
        world.data(&format!("/traces?traceID={TRACE}&traceID=ff")).await.as_array().map(Vec::len),
        Some(1)
    );
}

#[tokio::test]
async fn j4_a_trace() {
    let world = World::new().await;
    let data = world.data(&format!("/traces/{TRACE}")).await;
    let trace = &data[0];
    assert_eq!(trace["traceID"], TRACE);
    assert_eq!(
        trace["processes"]["p1"],
        json!({ "serviceName": "frontend", "tags": [{ "key": "zone", "type": "string", "value": "a" }] })
    );
    let root = &trace["spans"][0];
    assert_eq!(root["startTime"], world.start_ns / 1_000);
    assert_eq!((root["duration"].as_i64(), root["processID"].as_str()), (Some(400_000), Some("p1")));
    assert_eq!(
        root["tags"],
        json!([
            { "key": "otel.scope.name", "type": "string", "value": "test" },
            { "key": "http.status_code", "type": "int64", "value": 500 },
            { "key": "span.kind", "type": "string", "value": "server" },
            { "key": "otel.status_code", "type": "string", "value": "ERROR" },
            { "key": "error", "type": "bool", "value": true },
            { "key": "otel.status_description", "type": "string", "value": "boom" },
        ])
    );
    assert_eq!(
        root["logs"],
        json!([{ "timestamp": world.start_ns / 1_000 + 1, "fields": [
            { "key": "event", "type": "string", "value": "retry" },
            { "key": "n", "type": "bool", "value": true },
        ] }])
    );
    assert_eq!(
        trace["spans"][1]["references"],
        json!([
            { "refType": "CHILD_OF", "traceID": TRACE, "spanID": "0101010101010101" },
            { "refType": "FOLLOWS_FROM", "traceID": "09".repeat(16), "spanID": "0808080808080808" },
        ])
    );
    // Milliseconds, as Grafana sends them with "time params".
    let ms = world.start_ns / 1_000_000;
    let data = world.data(&format!("/traces/{TRACE}?start={}&end={}", ms - 1_000, ms + 1_000)).await;
    assert_eq!(data.as_array().map(Vec::len), Some(1));
    assert_eq!(world.data("/traces/ff").await, json!([]));
    assert_eq!(world.get("/traces/xyz").await.0, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn j5_dependencies() {
    let world = World::new().await;
    let end = world.start_ns / 1_000_000 + 60_000;
    let edges = world.data(&format!("/dependencies?endTs={end}&lookback=3600000")).await;
    assert_eq!(edges, json!([{ "parent": "frontend", "child": "orders", "callCount": 1 }]));
    assert_eq!(world.data("/dependencies?endTs=1000&lookback=1000").await, json!([]));
    assert_eq!(world.get("/dependencies?endTs=soon").await.0, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn j6_version_3() {
    let world = World::new().await;
    assert_eq!(world.get("/v3/services").await.1, json!({ "services": ["frontend", "orders"] }));
    assert_eq!(
        world.get("/v3/operations?service=frontend").await.1,
        json!({ "operations": [{ "name": "GET /checkout", "spanKind": "server" }] })
    );
    let time = |ns: i64| {
        chrono::DateTime::from_timestamp_nanos(ns).to_rfc3339_opts(chrono::SecondsFormat::Nanos, true)
    };
    let (start, end) = (time(world.start_ns - 1_000_000), time(world.start_ns + 60_000_000_000));
    let resources = |body: &Value| body["result"]["resourceSpans"].as_array().map(Vec::len);
    let (status, body) = world.get(&format!("/v3/traces/{TRACE}?start_time={start}&end_time={end}")).await;
    assert_eq!((status, resources(&body)), (StatusCode::OK, Some(2)), "{body}");
    let span = &body["result"]["resourceSpans"][0]["scopeSpans"][0]["spans"][0];
    assert_eq!((span["traceId"].as_str(), span["name"].as_str()), (Some(TRACE), Some("GET /checkout")));
    let query = |query: &str| {
        format!("/v3/traces?query.start_time_min={start}&query.start_time_max={end}&query.{query}")
    };
    for (asked, count) in [
        ("service_name=orders&query.duration_min=250ms&query.num_traces=5", Some(2)),
        ("service_name=orders&query.operation_name=nothing", None),
    ] {
        let (_, body) = world.get(&query(asked)).await;
        assert_eq!(resources(&body), count, "{asked}: {body}");
    }
    let (status, body) = world.get("/v3/traces/ff").await;
    assert_eq!((status, body["error"]["httpCode"].as_u64()), (StatusCode::NOT_FOUND, Some(404)));
    let (status, body) = world.get(&format!("/v3/traces/{TRACE}?start_time=now")).await;
    assert_eq!(status, StatusCode::BAD_REQUEST, "{body}");
}
