//! What Zipkin's page and Grafana's Zipkin data source call, over a real store.

use super::*;
use axum::body::{Body, to_bytes};
use axum::http::Request;
use model::{
    Batch, Clock, ResourceSpans, Sink, Span, SpanEvent, SpanKind, StatusCode as SpanStatus, SystemClock,
    Value as Attribute, Write,
};
use store::Store;
use tower::ServiceExt;

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";

struct World {
    router: Router,
    start_us: i64,
    _dir: tempfile::TempDir,
}

fn batch(start_ns: i64) -> SpanBatch {
    let span = |id: u8, parent: u8, kind: SpanKind, name: &str| Span {
        trace_id: traces::trace_id(TRACE).unwrap(),
        span_id: [id; 8],
        parent_span_id: (parent != 0).then_some([parent; 8]),
        start_ns: start_ns + i64::from(id) * 1_000_000,
        duration_ns: 100_000_000,
        name: name.into(),
        kind,
        ..Span::default()
    };
    let client = Span {
        status: SpanStatus::Error,
        status_message: "refused".into(),
        attributes: vec![
            ("http.method".into(), Attribute::from("GET")),
            ("peer.service".into(), Attribute::from("bank")),
            ("network.peer.address".into(), Attribute::from("192.0.2.9")),
            ("network.peer.port".into(), Attribute::Int(443)),
        ]
        .into(),
        events: vec![
            SpanEvent { ts_ns: start_ns + 1_000, name: "ws".into(), ..SpanEvent::default() },
            SpanEvent {
                ts_ns: start_ns + 2_000,
                name: "retry".into(),
                attributes: vec![("n".into(), Attribute::Int(2)), ("why".into(), Attribute::from("busy"))],
                ..SpanEvent::default()
            },
        ],
        ..span(2, 1, SpanKind::Client, "ask")
    };
    let of = |service: &str, spans: Vec<Span>| ResourceSpans {
        resource: Arc::new(vec![("service.name".to_owned(), Attribute::from(service))]),
        spans,
        ..ResourceSpans::default()
    };
    // The bank shares the client's id.
    let bank = Span {
        status: SpanStatus::Error,
        start_ns: start_ns + 3_000_000,
        ..span(2, 2, SpanKind::Server, "pay")
    };
    SpanBatch {
        resources: vec![
            of("shop", vec![span(1, 0, SpanKind::Server, "GET /"), client]),
            of("bank", vec![bank]),
        ],
    }
}

impl World {
    async fn new() -> World {
        let dir = tempfile::tempdir().unwrap();
        let config = store::Config { dir: dir.path().to_owned(), fsync: false, ..store::Config::default() };
        let store = Store::open(config, Arc::new(SystemClock)).await.unwrap();
        let start_ns = (SystemClock.now_ns() - 30_000_000_000) / 1_000 * 1_000;
        let write = Write { tenant: Tenant::default(), batch: Batch::Spans(batch(start_ns)), origin: None };
        store.write(write).await.unwrap();
        let engine = Engine::new(store, Arc::new(SystemClock), engine::Limits::default()).unwrap();
        World { router: router(Arc::new(engine)), start_us: start_ns / 1_000, _dir: dir }
    }

    async fn get(&self, path: &str) -> (StatusCode, String) {
        let request = Request::get(path).body(Body::empty()).unwrap();
        let response = self.router.clone().oneshot(request).await.unwrap();
        let status = response.status();
        let body = to_bytes(response.into_body(), 1 << 20).await.unwrap();
        (status, String::from_utf8(body.to_vec()).unwrap())
    }

    async fn json(&self, path: &str) -> Value {
        let (status, body) = self.get(&format!("/zipkin/api/v2{path}")).await;
        assert_eq!(status, StatusCode::OK, "{path}: {body}");
        serde_json::from_str(&body).unwrap()
    }
}

#[tokio::test]
async fn names() {
    let world = World::new().await;
    assert_eq!(world.json("/services").await, json!(["bank", "shop"]));
    assert_eq!(world.json("/spans?serviceName=shop").await, json!(["GET /", "ask"]));
    assert_eq!(world.json("/remoteServices?serviceName=shop").await, json!(["bank"]));
    assert_eq!(world.json("/autocompleteKeys").await.as_array().map(Vec::len), Some(4));
    assert_eq!(world.json("/autocompleteValues?key=http.method").await, json!(["GET"]));
    assert_eq!(world.get("/api/v2/services").await.1, r#"["bank","shop"]"#);
    let (status, why) = world.get("/api/v2/spans").await;
    assert_eq!((status, why.as_str()), (StatusCode::BAD_REQUEST, "parameter serviceName is required\n"));
}

#[tokio::test]
async fn a_trace() {
    let world = World::new().await;
    let trace = world.json(&format!("/trace/{TRACE}")).await;
    let us = |ms: i64| world.start_us + ms * 1_000;
    assert_eq!(
        trace,
        json!([
            { "traceId": TRACE, "id": "0101010101010101", "name": "GET /", "kind": "SERVER",
              "timestamp": us(1), "duration": 100_000, "localEndpoint": { "serviceName": "shop" } },
            { "traceId": TRACE, "id": "0202020202020202", "parentId": "0101010101010101", "name": "ask",
              "kind": "CLIENT", "timestamp": us(2), "duration": 100_000, "localEndpoint": { "serviceName": "shop" },
              "remoteEndpoint": { "serviceName": "bank", "ipv4": "192.0.2.9", "port": 443 },
              "annotations": [
                { "timestamp": world.start_us + 1, "value": "ws" },
                { "timestamp": world.start_us + 2, "value": r#""retry": {"n":2,"why":"busy"}"# },
              ],
              "tags": { "http.method": "GET", "otel.status_code": "ERROR", "error": "refused" } },
            { "traceId": TRACE, "id": "0202020202020202", "parentId": "0101010101010101", "shared": true,
              "name": "pay", "kind": "SERVER", "timestamp": us(3), "duration": 100_000,
              "localEndpoint": { "serviceName": "bank" },
              "tags": { "otel.status_code": "ERROR", "error": "true" } },
        ])
    );
    let (status, why) = world.get("/api/v2/trace/ff").await;
    assert_eq!((status, why.as_str()), (StatusCode::NOT_FOUND, "00000000000000ff not found\n"));
    assert_eq!(world.get("/api/v2/trace/nope").await.0, StatusCode::BAD_REQUEST);
    let many = world.json(&format!("/traceMany?traceIds={TRACE},ff")).await;
    assert_eq!(many, json!([trace]));
    for (ids, why) in [
        (TRACE.to_owned(), "Use /api/v2/trace/{traceId} endpoint to retrieve a single trace\n"),
        ("ff,1,0ff".to_owned(), "redundant traceId: 0ff\n"),
        (String::new(), "parameter traceIds is required\n"),
    ] {
        let told = world.get(&format!("/api/v2/traceMany?traceIds={ids}")).await;
        assert_eq!((told.0, told.1.as_str()), (StatusCode::BAD_REQUEST, why));
    }
}

#[tokio::test]
async fn what_the_page_asks_beside() {
    let world = World::new().await;
    let json = async |path: &str| {
        let (status, body) = world.get(path).await;
        assert_eq!(status, StatusCode::OK, "{path}: {body}");
        serde_json::from_str::<Value>(&body).unwrap()
    };
    let config = json("/zipkin/config.json").await;
    assert_eq!((&config["queryLimit"], &config["searchEnabled"]), (&json!(10), &json!(true)));
    assert_eq!(json("/zipkin/health").await["status"], "UP");
    assert_eq!(json("/zipkin/info").await["zipkin"]["version"], env!("CARGO_PKG_VERSION"));
}

#[tokio::test]
async fn search() {
    let world = World::new().await;
    for (query, count) in [
        ("", 1),
        ("serviceName=shop&spanName=ask&remoteServiceName=bank", 1),
        ("serviceName=bank&spanName=ask", 0),
        ("annotationQuery=http.method=GET%20and%20ws%20and%20error", 1),
        ("annotationQuery=http.method=POST", 0),
        ("annotationQuery=http.method%3D%20and%20error=refused", 1),
        ("annotationQuery=error=gone", 0),
        ("annotationQuery=nothing%3D", 0),
        ("minDuration=99000&maxDuration=101000", 1),
        ("minDuration=101000", 0),
        ("endTs=1000&lookback=1000", 0),
    ] {
        let found = world.json(&format!("/traces?limit=5&{query}")).await;
        assert_eq!(found.as_array().map(Vec::len), Some(count), "{query}: {found}");
    }
    for wrong in
        ["limit=many", "limit=0", "lookback=0", "endTs=-1", "minDuration=0", "minDuration=5&maxDuration=4"]
    {
        let (status, why) = world.get(&format!("/api/v2/traces?{wrong}")).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{wrong}: {why}");
    }
}

#[tokio::test]
async fn who_calls_whom() {
    let world = World::new().await;
    let end_ms = world.start_us / 1_000 + 60_000;
    let links = world.json(&format!("/dependencies?endTs={end_ms}&lookback=3600000")).await;
    assert_eq!(links, json!([{ "parent": "shop", "child": "bank", "callCount": 1, "errorCount": 1 }]));
    assert_eq!(world.get("/api/v2/dependencies").await.0, StatusCode::BAD_REQUEST);
}
