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
    pub store: Arc<Store>,
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

/// A server that shares its client's id, as Zipkin's may.
fn shared_ids(start_ns: i64) -> SpanBatch {
    let span = |id: u8, parent: Option<u8>, kind: SpanKind| Span {
        trace_id: params::trace_id(TRACE).unwrap_or_default(),
        span_id: [id; 8],
        parent_span_id: parent.map(|parent| [parent; 8]),
        start_ns,
        duration_ns: 1_000_000,
        name: kind.as_str().into(),
        kind,
        ..Span::default()
    };
    let server = vec![span(1, Some(1), SpanKind::Server), span(2, Some(1), SpanKind::Internal)];
    SpanBatch { resources: vec![of("shop", vec![span(1, None, SpanKind::Client)]), of("bank", server)] }
}

impl World {
    pub async fn new() -> World {
        World::of(batch).await
    }

    async fn of(batch: impl FnOnce(i64) -> SpanBatch) -> World {
        let dir = tempfile::tempdir().unwrap();
        let config = store::Config { dir: dir.path().to_owned(), fsync: false, ..store::Config::default() };
        let store = Store::open(config, Arc::new(SystemClock)).await.unwrap();
        // Whole microseconds, as Jaeger has no finer ones.
        let start_ns = (SystemClock.now_ns() - 30_000_000_000) / 1_000 * 1_000;
        let write = Write { tenant: Tenant::default(), batch: Batch::Spans(batch(start_ns)), origin: None };
        store.write(write).await.unwrap();
        store.flush().await.unwrap();
        let engine = Engine::new(store.clone(), Arc::new(SystemClock), engine::Limits::default()).unwrap();
        let engine = Arc::new(engine);
        World { router: router(engine.clone()), store, engine, start_ns, _dir: dir }
    }

    pub async fn get(&self, path: &str) -> (StatusCode, Value) {
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
    // Grafana does not escape a slash in a service's name.
    assert_eq!(world.data("/services/team/app/operations").await, json!([]));
    assert_eq!(world.get("/services/frontend").await.0, StatusCode::NOT_FOUND);
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
    let (status, body) = world.get(&found("service=frontend&minDuration=2s&maxDuration=1s")).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert_eq!(body["errors"][0]["msg"], "'maxDuration' should be greater than 'minDuration'");
    // One that is not known is told beside those that are.
    let (status, body) = world.get(&format!("/traces?traceID={TRACE}&traceID=ff")).await;
    assert_eq!((status, body["data"].as_array().map(Vec::len)), (StatusCode::OK, Some(1)), "{body}");
    let unknown = format!("{:0>32}", "ff");
    assert_eq!(body["errors"], json!([{ "msg": "trace not found", "traceID": unknown }]));
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
    // Hex and base64 name the same.
    assert_eq!(world.data("/traces/CvdlGRbNQ92ESOshHIAxnA==").await[0]["traceID"], TRACE);
    let (status, body) = world.get("/traces/ff").await;
    assert_eq!((status, &body["data"]), (StatusCode::OK, &json!([])));
    assert_eq!(body["errors"][0]["msg"], "trace not found");
    assert_eq!(world.get("/traces/xyz").await.0, StatusCode::BAD_REQUEST);
    assert_eq!(world.get(&format!("/traces/{TRACE}?raw=maybe")).await.0, StatusCode::BAD_REQUEST);
    // As a Jaeger without an archive answers.
    for (id, status) in [(TRACE, StatusCode::INTERNAL_SERVER_ERROR), ("xyz", StatusCode::BAD_REQUEST)] {
        let request = Request::post(format!("/jaeger/api/archive/{id}")).body(Body::empty()).unwrap();
        assert_eq!(world.router.clone().oneshot(request).await.unwrap().status(), status);
    }
}

#[tokio::test]
async fn each_span_has_an_id_of_its_own_unless_they_are_asked_for_as_sent() {
    let world = World::of(shared_ids).await;
    let ids = |trace: &Value| -> Vec<(String, String)> {
        let text = |id: &Value| id.as_str().unwrap_or("").trim_start_matches('0').to_owned();
        let spans = trace["spans"].as_array().unwrap().iter();
        let mut ids: Vec<_> =
            spans.map(|span| (text(&span["spanID"]), text(&span["references"][0]["spanID"]))).collect();
        ids.sort();
        ids
    };
    let pair = |id: &str, parent: &str| (id.to_owned(), parent.to_owned());
    let (first, second) = ("101010101010101", "202020202020202");
    let told = world.data(&format!("/traces/{TRACE}")).await;
    assert_eq!(ids(&told[0]), [pair("1", first), pair(first, ""), pair(second, "1")]);
    let raw = world.data(&format!("/traces/{TRACE}?raw=true")).await;
    assert_eq!(ids(&raw[0]), [pair(first, ""), pair(first, first), pair(second, first)]);
    // What is below the server is not called by the client.
    let calls = world.data("/dependencies").await;
    assert_eq!(calls, json!([{ "parent": "shop", "child": "bank", "callCount": 1 }]));
    let (_, body) = world.get(&format!("/v3/traces/{TRACE}")).await;
    let all = body["result"]["resourceSpans"].to_string();
    assert!(all.contains(r#""spanId":"0000000000000001""#), "{all}");
    let (_, body) = world.get(&format!("/v3/traces/{TRACE}?rawTraces=true")).await;
    let all = body["result"]["resourceSpans"].to_string();
    assert!(!all.contains(r#""spanId":"0000000000000001""#), "{all}");
}

#[tokio::test]
async fn j5_dependencies() {
    let world = World::new().await;
    let end = world.start_ns / 1_000_000 + 60_000;
    let edges = world.data(&format!("/dependencies?endTs={end}&lookback=3600000")).await;
    assert_eq!(edges, json!([{ "parent": "frontend", "child": "orders", "callCount": 1 }]));
    assert_eq!(world.data(&format!("/dependencies?endTs={end}&service=orders")).await, edges);
    assert_eq!(world.data(&format!("/dependencies?endTs={end}&service=nobody")).await, json!([]));
    assert_eq!(world.data("/dependencies?endTs=1000&lookback=1000").await, json!([]));
    assert_eq!(world.get("/dependencies?endTs=soon").await.0, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn a_service_with_an_empty_name_is_no_choice_and_calls_nobody() {
    let nameless = |start_ns| {
        let mut all = batch(start_ns);
        all.resources[0] = of("", std::mem::take(&mut all.resources[0].spans));
        all
    };
    let world = World::of(nameless).await;
    assert_eq!(world.data("/services").await, json!(["orders"]));
    assert_eq!(world.data("/dependencies").await, json!([]));
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
    // As Jaeger writes it: numbers of kinds and codes, and nothing that is none.
    assert!(span["kind"].is_u64() && span["status"]["code"].is_u64(), "{span}");
    for none in ["parentSpanId", "traceState", "flags", "links", "droppedLinksCount"] {
        assert_eq!(span.get(none), None, "{span}");
    }
    assert_eq!((span["traceId"].as_str(), span["name"].as_str()), (Some(TRACE), Some("GET /checkout")));
    let query = |query: &str| {
        format!("/v3/traces?query.start_time_min={start}&query.start_time_max={end}&query.{query}")
    };
    for (asked, count) in [
        ("service_name=orders&query.duration_min=250ms&query.num_traces=5", Some(2)),
        ("serviceName=orders&query.durationMin=250ms&query.searchDepth=5", Some(2)),
        // Of all services.
        ("operationName=pool.acquire", Some(2)),
        ("durationMin=2s", None),
        ("service_name=orders&query.operation_name=nothing", None),
    ] {
        let (_, body) = world.get(&query(asked)).await;
        assert_eq!(resources(&body), count, "{asked}: {body}");
    }
    let (status, body) = world.get("/v3/traces/ff").await;
    assert_eq!((status, body["error"]["httpCode"].as_u64()), (StatusCode::NOT_FOUND, Some(404)));
    let (status, body) = world.get(&format!("/v3/traces/{TRACE}?start_time=now")).await;
    assert_eq!(status, StatusCode::BAD_REQUEST, "{body}");
    let (status, body) = world.get("/v3/traces?query.serviceName=orders").await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert_eq!(body["error"]["message"], "query.startTimeMin and query.startTimeMax are required");
    let backwards = format!("/v3/traces?query.startTimeMin={end}&query.startTimeMax={start}");
    assert_eq!(world.get(&backwards).await.0, StatusCode::BAD_REQUEST);
    let filtered = query("serviceName=orders&query.filter=%7B%22op%22:%22eq%22%7D");
    assert_eq!(world.get(&filtered).await.0, StatusCode::BAD_REQUEST);
    // Who does not say of which kind a span is means an internal one.
    assert_eq!(
        world.get("/v3/operations?service=orders").await.1,
        json!({ "operations": [{ "name": "pool.acquire", "spanKind": "internal" }] })
    );
    let none = json!({ "operations": [] });
    assert_eq!(world.get("/v3/operations?service=frontend&spanKind=client").await.1, none);
}

#[tokio::test]
async fn summaries_of_version_3() {
    let world = World::new().await;
    let time = |ns: i64| {
        chrono::DateTime::from_timestamp_nanos(ns).to_rfc3339_opts(chrono::SecondsFormat::Nanos, true)
    };
    let (start, end) = (time(world.start_ns - 1_000_000), time(world.start_ns + 60_000_000_000));
    let path = |query: &str| {
        format!("/v3/trace-summaries?query.startTimeMin={start}&query.startTimeMax={end}&query.{query}")
    };
    assert_eq!(
        world.get(&path("serviceName=orders")).await.1,
        json!({ "summaries": [{
            "traceId": TRACE,
            "rootServiceName": "frontend",
            "rootOperationName": "GET /checkout",
            "minStartTimeUnixNano": world.start_ns.to_string(),
            "maxEndTimeUnixNano": (world.start_ns + 400_000_000).to_string(),
            "spanCount": 2,
            "errorSpanCount": 1,
            "services": [
                { "name": "frontend", "spanCount": 1, "errorSpanCount": 1 },
                { "name": "orders", "spanCount": 1 },
            ],
        }] })
    );
    assert_eq!(world.get(&path("serviceName=nobody")).await.1, json!({ "summaries": [] }));
}
