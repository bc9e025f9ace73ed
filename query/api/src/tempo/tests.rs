//! Rows T1, T3, T4, T5, T7, T8, T10, T11 and T12 of what Grafana calls, over a real store.

use super::*;
use axum::body::{Body, to_bytes};
use axum::http::Request;
use model::{
    Batch, Clock, ResourceSpans, Scope, Sink, Span, SpanBatch, SpanKind, StatusCode as SpanStatus,
    SystemClock, Value as Attribute, Write,
};
use store::Store;
use tower::ServiceExt;

pub(super) const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";

pub(super) struct World {
    pub router: Router,
    pub engine: Arc<Engine>,
    pub start_ns: i64,
    _dir: tempfile::TempDir,
}

fn resource(service: &str, spans: Vec<Span>) -> ResourceSpans {
    let resource = Arc::new(vec![("service.name".to_owned(), Attribute::from(service))]);
    ResourceSpans { resource, scope: Scope::named("test", ""), spans, ..ResourceSpans::default() }
}

fn batch(start_ns: i64) -> SpanBatch {
    let trace_id = traces::trace_id(TRACE).unwrap_or_default();
    let root = Span {
        trace_id,
        span_id: [1; 8],
        start_ns,
        duration_ns: 400_000_000,
        name: "GET /checkout".into(),
        kind: SpanKind::Server,
        status: SpanStatus::Error,
        status_message: "boom".into(),
        attributes: vec![
            ("http.response.status_code".into(), Attribute::Int(500)),
            ("list".into(), Attribute::Json(r#"[1,"two",{"three":3.5}]"#.into())),
        ]
        .into(),
        ..Span::default()
    };
    let child = Span {
        trace_id,
        span_id: [2; 8],
        parent_span_id: Some([1; 8]),
        start_ns: start_ns + 1_000_000,
        duration_ns: 300_000_000,
        name: "pool.acquire".into(),
        attributes: vec![("pool.name".into(), Attribute::from("orders-db"))].into(),
        ..Span::default()
    };
    SpanBatch { resources: vec![resource("frontend", vec![root]), resource("orders", vec![child])] }
}

impl World {
    pub async fn new() -> World {
        let dir = tempfile::tempdir().unwrap();
        let config = store::Config { dir: dir.path().to_owned(), fsync: false, ..store::Config::default() };
        let store = Store::open(config, Arc::new(SystemClock)).await.unwrap();
        let start_ns = SystemClock.now_ns() - 30_000_000_000;
        let write = Write { tenant: Tenant::default(), batch: Batch::Spans(batch(start_ns)), origin: None };
        store.write(write).await.unwrap();
        store.flush().await.unwrap();
        let engine = Engine::new(store, Arc::new(SystemClock), engine::Limits::default()).unwrap();
        let engine = Arc::new(engine);
        World { router: router(engine.clone()), engine, start_ns, _dir: dir }
    }

    async fn get(&self, path: &str, headers: &[(&str, &str)]) -> (StatusCode, String, Vec<u8>) {
        let mut request = Request::get(format!("/tempo/api{path}"));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Body::empty()).unwrap();
        let response = self.router.clone().oneshot(request).await.unwrap();
        let kind = response.headers().get(header::CONTENT_TYPE).map(|kind| kind.to_str().unwrap().to_owned());
        let status = response.status();
        let body = to_bytes(response.into_body(), 1 << 20).await.unwrap().to_vec();
        (status, kind.unwrap_or_default(), body)
    }

    async fn json(&self, path: &str) -> Value {
        let (status, _, body) = self.get(path, &[]).await;
        assert_eq!(status, StatusCode::OK, "{path}: {}", String::from_utf8_lossy(&body));
        serde_json::from_slice(&body).unwrap()
    }

    async fn search(&self, query: &str) -> Value {
        let encoded: String = query.bytes().map(|byte| format!("%{byte:02X}")).collect();
        let start = self.start_ns / 1_000_000_000;
        self.json(&format!("/search?q={encoded}&limit=10&spss=2&start={}&end={}", start - 60, start + 60))
            .await
    }
}

#[tokio::test]
async fn t1_echo_and_build() {
    let world = World::new().await;
    let (status, _, body) = world.get("/echo", &[]).await;
    assert_eq!((status, body.as_slice()), (StatusCode::OK, b"echo".as_slice()));
    assert!(world.json("/status/buildinfo").await["version"].is_string());
}

#[tokio::test]
async fn t3_a_trace_as_protobuf_and_json() {
    let world = World::new().await;
    let accept = [("accept", PROTOBUF)];
    let (status, kind, body) = world.get(&format!("/v2/traces/{TRACE}"), &accept).await;
    assert_eq!((status, kind.as_str()), (StatusCode::OK, PROTOBUF));
    let message = otlp::TraceByIdResponse::decode(body.as_slice()).unwrap();
    assert_eq!((message.status, message.message.as_str()), (0, ""));
    let trace = message.trace.unwrap();
    assert_eq!(trace.resource_spans.len(), 2);
    let span = &trace.resource_spans[0].scope_spans[0].spans[0];
    assert_eq!((span.name.as_str(), span.kind), ("GET /checkout", 2));
    assert_eq!(span.end_time_unix_nano - span.start_time_unix_nano, 400_000_000);
    assert_eq!(span.status.as_ref().map(|status| (status.code, status.message.as_str())), Some((2, "boom")));
    assert!(format!("{:?}", span.attributes).contains("ArrayValue"), "{:?}", span.attributes);

    // Zeros at the front may be left out; a range around it finds it too.
    let seconds = world.start_ns / 1_000_000_000;
    let json = world.json(&format!("/v2/traces/{}?start={seconds}&end={}", &TRACE[1..], seconds + 60)).await;
    let first = &json["trace"]["resourceSpans"][0]["scopeSpans"][0]["spans"][0];
    assert_eq!(first["traceId"], TRACE, "{json}");
    assert_eq!(first["startTimeUnixNano"], world.start_ns.to_string());

    // Not known: an empty trace, which is set.
    let (status, _, body) = world.get("/v2/traces/ff", &accept).await;
    assert_eq!((status, body.as_slice()), (StatusCode::OK, [0x0a, 0].as_slice()));
    // Of another tenant: not known either.
    let (_, _, body) =
        world.get(&format!("/v2/traces/{TRACE}"), &[accept[0], ("x-scope-orgid", "other")]).await;
    assert_eq!(body, [0x0a, 0]);
}

#[tokio::test]
async fn of_a_trace_the_spans_that_a_filter_holds_of() {
    let world = World::new().await;
    let names = async |asked: &str| {
        let json = world.json(&format!("/v2/traces/{TRACE}?{asked}")).await;
        let resources = json["trace"]["resourceSpans"].as_array().cloned().unwrap_or_default();
        let spans = resources.iter().flat_map(|of| of["scopeSpans"][0]["spans"].as_array().unwrap().clone());
        spans.map(|span| span["name"].as_str().unwrap().to_owned()).collect::<Vec<String>>()
    };
    let both = ["GET /checkout", "pool.acquire"];
    let pool = "q=%7B%20span.pool.name%20%3D%20%22orders-db%22%20%7D";
    let failed = "q=%7B%20status%20%3D%20error%20%7D";
    assert_eq!(names("q=%20").await, both);
    assert_eq!(names(pool).await, ["pool.acquire"]);
    assert_eq!(names(&format!("{pool}&keep_hierarchy=true")).await, both);
    assert_eq!(names(&format!("{pool}&keep_hierarchy=true&ancestor_depth=0")).await, ["pool.acquire"]);
    assert_eq!(
        names(&format!("{pool}&ancestor_depth=-9")).await,
        ["pool.acquire"],
        "it has nothing to act on"
    );
    assert_eq!(names(failed).await, ["GET /checkout"]);
    assert_eq!(names(&format!("{failed}&match_depth=1")).await, both);
    assert_eq!(names(&format!("{failed}&match_depth=-1")).await, both);
    assert_eq!(
        names("q=%7B%20parent.span.http.response.status_code%20%3D%20500%20%7D").await,
        ["pool.acquire"]
    );
    assert_eq!(names("q=%7B%20duration%20%3E%201h%20%7D").await, [""; 0]);
    for (asked, says) in [
        ("q=%7B%20%7D%20%7C%20rate()", "only a single TraceQL filter is supported"),
        ("q=%7B%20duration%20%3E", "invalid TraceQL filter"),
        ("q=%7B%7D&match_depth=-2", "match_depth: must be >= -1"),
        ("q=%7B%7D&match_depth=all", "match_depth"),
        ("q=%7B%7D&keep_hierarchy=perhaps", "keep_hierarchy"),
        ("q=%7B%7D&keep_hierarchy=1&ancestor_depth=-2", "ancestor_depth: must be >= -1"),
    ] {
        let (status, _, body) = world.get(&format!("/v2/traces/{TRACE}?{asked}"), &[]).await;
        let text = String::from_utf8(body).unwrap();
        assert!(status == StatusCode::BAD_REQUEST && text.contains(says), "{asked}: {status} {text}");
    }
}

#[tokio::test]
async fn t4_the_first_version() {
    let world = World::new().await;
    let json = world.json(&format!("/traces/{TRACE}")).await;
    assert_eq!(json["batches"].as_array().map(Vec::len), Some(2));
    let (_, _, body) = world.get(&format!("/traces/{TRACE}"), &[("accept", PROTOBUF)]).await;
    let trace = opentelemetry_proto::tonic::trace::v1::TracesData::decode(body.as_slice()).unwrap();
    assert_eq!(trace.resource_spans.len(), 2);
    assert_eq!(world.get("/traces/ff", &[]).await.0, StatusCode::NOT_FOUND);
    for wrong in ["xyz", "0af7651916cd43dd8448eb211c80319c00", "%C3%A4"] {
        let (status, _, body) = world.get(&format!("/traces/{wrong}"), &[]).await;
        assert_eq!(status, StatusCode::BAD_REQUEST);
        assert!(String::from_utf8(body).unwrap().contains("hex"));
    }
}

#[tokio::test]
async fn t5_search() {
    let world = World::new().await;
    for query in [
        "{ }",
        r#"{ resource.service.name = "orders" && duration > 200ms }"#,
        "{ status = error }",
        "{ span.http.response.status_code >= 500 }",
        r#"{ name = "GET /checkout" } && { duration > 200ms }"#,
    ] {
        let answer = world.search(query).await;
        let traces = answer["traces"].as_array().unwrap();
        assert_eq!(traces.len(), 1, "{query}: {answer}");
        assert_eq!(traces[0]["traceID"], TRACE);
        assert_eq!(traces[0]["rootServiceName"], "frontend");
        assert_eq!(traces[0]["rootTraceName"], "GET /checkout");
        assert_eq!(traces[0]["durationMs"], 400);
        assert_eq!(traces[0]["startTimeUnixNano"], world.start_ns.to_string());
        assert_eq!(traces[0]["serviceStats"]["frontend"], json!({ "spanCount": 1, "errorCount": 1 }));
    }
    let answer = world.search("{ span.http.response.status_code >= 500 }").await;
    let set = &answer["traces"][0]["spanSets"][0];
    assert_eq!(set["matched"], 1);
    assert_eq!(set["spans"][0]["spanID"], "0101010101010101");
    assert_eq!(set["spans"][0]["durationNanos"], "400000000");
    let attribute = json!({ "key": "http.response.status_code", "value": { "intValue": "500" } });
    assert!(set["spans"][0]["attributes"].as_array().unwrap().contains(&attribute), "{set}");
    assert_eq!(answer["traces"][0]["spanSet"], answer["traces"][0]["spanSets"][0]);
    assert_eq!(world.search("{ duration > 10s }").await["traces"], json!([]));
    // A list keeps the types of its elements.
    let answer = world.search("{ span.list != nil } | select(span.list)").await;
    let list =
        &answer["traces"][0]["spanSets"][0]["spans"][0]["attributes"][0]["value"]["arrayValue"]["values"];
    assert_eq!(list[0], json!({ "intValue": "1" }), "{answer}");
    assert_eq!(list[1], json!({ "stringValue": "two" }), "{answer}");
}

/// Grafana's decoder refuses a search answer with a field that Tempo's message does not have.
#[tokio::test]
async fn t5_no_field_that_tempo_does_not_have() {
    let world = World::new().await;
    let answer = world.search("{ }").await;
    let names = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    let known = |value: &Value, known: &[&str]| {
        for name in names(value) {
            assert!(known.contains(&name.as_str()), "{name} in {value}");
        }
    };
    known(&answer, &["traces", "metrics"]);
    known(
        &answer["metrics"],
        &[
            "inspectedTraces",
            "inspectedBytes",
            "totalBlocks",
            "completedJobs",
            "totalJobs",
            "totalBlockBytes",
            "inspectedSpans",
        ],
    );
    let trace = &answer["traces"][0];
    known(
        trace,
        &[
            "traceID",
            "rootServiceName",
            "rootTraceName",
            "startTimeUnixNano",
            "durationMs",
            "spanSet",
            "spanSets",
            "serviceStats",
        ],
    );
    known(&trace["spanSets"][0], &["spans", "matched", "attributes"]);
    known(
        &trace["spanSets"][0]["spans"][0],
        &["spanID", "name", "startTimeUnixNano", "durationNanos", "attributes"],
    );
}

#[tokio::test]
async fn search_by_tags_and_without_a_range() {
    let world = World::new().await;
    let found = world.json("/search?tags=service.name%3Dorders%20http.response.status_code%3D500").await;
    assert_eq!(found["traces"].as_array().map(Vec::len), Some(1), "the trace has both, if no span");
    let found = world.json("/search?tags=service.name%3Dorders%20http.response.status_code%3D404").await;
    assert_eq!(found["traces"], json!([]));
    let found = world.json("/search?minDuration=500ms").await;
    assert_eq!(found["traces"], json!([]), "it takes 400 ms");
    let found = world
        .json("/search?tags=service.name%3Dfrontend%20http.response.status_code%3D500&minDuration=1ms")
        .await;
    assert_eq!(found["traces"].as_array().map(Vec::len), Some(1));
}

#[tokio::test]
async fn t7_metrics() {
    let world = World::new().await;
    let start = world.start_ns / 1_000_000_000;
    let query = "%7B%7D%20%7C%20count_over_time()%20by%20(resource.service.name)";
    let path = format!("/metrics/query_range?q={query}&start={}&end={}&step=60s", start - 60, start + 60);
    let answer = world.json(&path).await;
    let series = answer["series"].as_array().unwrap();
    assert_eq!(series.len(), 2, "{answer}");
    let label = json!({ "key": "resource.service.name", "value": { "stringValue": "frontend" } });
    assert_eq!(series[0]["labels"], json!([label]));
    let sum: f64 =
        series[0]["samples"].as_array().unwrap().iter().map(|sample| sample["value"].as_f64().unwrap()).sum();
    assert_eq!(sum, 1.0);
    assert!(series[0]["samples"][0]["timestampMs"].is_string());
    let first = world.json(&format!("{path}&maxSeries=1")).await;
    assert_eq!((first["series"].as_array().map(Vec::len), &first["status"]), (Some(1), &json!("PARTIAL")));
    assert_eq!(world.json(&format!("{path}&maxSeries=2")).await["status"], Value::Null);
    assert_eq!(world.get("/metrics/query_range?q=%7B%7D&step=60s", &[]).await.0, StatusCode::BAD_REQUEST);
    assert_eq!(world.get(&format!("{path}&step=-1"), &[]).await.0, StatusCode::BAD_REQUEST);
}

/// A query that is too long for a URL is sent as a form.
#[tokio::test]
async fn questions_are_answered_to_post() {
    let world = World::new().await;
    let start = world.start_ns / 1_000_000_000;
    let range = format!("start={}&end={}", start - 60, start + 60);
    let post = async |path: &str, form: &str| -> Value {
        let request = Request::post(format!("/tempo/api{path}"))
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(Body::from(form.to_owned()))
            .unwrap();
        let response = world.router.clone().oneshot(request).await.unwrap();
        assert_eq!(response.status(), StatusCode::OK, "{path}");
        serde_json::from_slice(&to_bytes(response.into_body(), 1 << 20).await.unwrap()).unwrap()
    };
    let found = post("/search?q=%7B%20false%20%7D&limit=5", &format!("q={{ status = error }}&{range}")).await;
    assert_eq!(found["traces"][0]["traceID"], TRACE);
    assert_eq!(post(&format!("/search?q=%7B%20false%20%7D&{range}"), "").await["traces"], json!([]));
    let counted = post("/metrics/query", &format!("q={{}}|count_over_time()&{range}")).await;
    assert_eq!(counted["series"][0]["value"], 2.0);
    let spans = post(&format!("/v2/search/tags?{range}"), "scope=span").await;
    assert_eq!(spans["scopes"].as_array().map(Vec::len), Some(1));
    for path in ["/search/tags", "/search/tag/pool.name/values", "/v2/search/tag/span.pool.name/values"] {
        post(path, &range).await;
    }
}

#[tokio::test]
async fn t10_t11_t12_tags_and_values() {
    let world = World::new().await;
    let tags = world.json("/v2/search/tags?limit=5000").await;
    let scope = |name: &str| {
        let scopes = tags["scopes"].as_array().unwrap();
        scopes.iter().find(|scope| scope["name"] == name).unwrap()["tags"].clone()
    };
    assert_eq!(scope("span"), json!(["http.response.status_code", "list", "pool.name"]));
    assert_eq!(scope("resource"), json!(["service.name"]));
    assert!(scope("intrinsic").as_array().unwrap().contains(&json!("duration")));
    let one = world.json("/v2/search/tags?scope=resource").await;
    assert_eq!(one["scopes"], json!([{ "name": "resource", "tags": ["service.name"] }]));
    let names = world.json("/search/tags").await;
    assert!(names["tagNames"].as_array().unwrap().contains(&json!("pool.name")));
    assert!(!names["tagNames"].as_array().unwrap().contains(&json!("duration")), "{names}");
    let names = world.json("/search/tags?scope=intrinsic").await;
    assert!(names["tagNames"].as_array().unwrap().contains(&json!("span:duration")), "{names}");

    let values = world.json("/v2/search/tag/resource.service.name/values").await;
    assert_eq!(
        values["tagValues"],
        json!([{ "type": "string", "value": "frontend" }, { "type": "string", "value": "orders" }])
    );
    // What is being typed narrows nothing.
    let values = world.json("/v2/search/tag/span.http.response.status_code/values?q=%7B%20.a%20%3D").await;
    assert_eq!(values["tagValues"], json!([{ "type": "int", "value": "500" }]));
    let values = world.json("/search/tag/service.name/values").await;
    assert_eq!(values["tagValues"], json!(["frontend", "orders"]));
    for (old, expected) in [
        ("status.code", json!(["error", "ok", "unset"])),
        ("root.name", json!(["GET /checkout"])),
        ("root.service.name", json!(["frontend"])),
        ("error", json!(["true"])),
    ] {
        assert_eq!(world.json(&format!("/search/tag/{old}/values")).await["tagValues"], expected, "{old}");
    }
}

#[tokio::test]
async fn searches_names_and_values_are_protobuf_for_who_asks_for_it() {
    async fn told<M: Message + Default>(world: &World, path: &str) -> M {
        let (status, kind, body) = world.get(path, &[("accept", PROTOBUF)]).await;
        assert_eq!((status, kind.as_str()), (StatusCode::OK, PROTOBUF), "{path}");
        M::decode(body.as_slice()).unwrap()
    }
    let world = World::new().await;
    let found: messages::SearchResponse = told(&world, "/search?q=%7B%7D").await;
    assert!(found.traces.iter().any(|trace| trace.trace_id == TRACE), "{found:?}");
    assert_eq!(found.metrics.map(|jobs| (jobs.completed_jobs, jobs.total_jobs)), Some((1, 1)));
    let names: messages::SearchTagsResponse = told(&world, "/search/tags?scope=resource").await;
    assert_eq!(names.tag_names, ["service.name"]);
    let names: messages::SearchTagsV2Response = told(&world, "/v2/search/tags?scope=resource").await;
    assert_eq!(names.scopes[0].name, "resource");
    assert_eq!(names.scopes[0].tags, ["service.name"]);
    let values: messages::SearchTagValuesResponse = told(&world, "/search/tag/service.name/values").await;
    assert_eq!(values.tag_values, ["frontend", "orders"]);
    let values: messages::SearchTagValuesV2Response =
        told(&world, "/v2/search/tag/resource.service.name/values").await;
    let texts: Vec<&str> = values.tag_values.iter().map(|value| value.value.as_str()).collect();
    assert_eq!(texts, ["frontend", "orders"]);
}

#[tokio::test]
async fn wrong_requests_say_what_is_wrong() {
    let world = World::new().await;
    for (path, says) in [
        ("/search?q=%7B%20duration%20%3E", "1"),
        ("/search?q=%7B+.a=%22%ff%22%7D", "parse error at line 1, col 6: invalid UTF-8 encoding"),
        ("/search?q=%7B%7D&limit=many", "limit"),
        ("/search?q=%7B%7D&start=yesterday", "start"),
        ("/search?q=%7B%7D&start=20&end=10", "start is after end"),
        ("/search?tags=broken", "tags"),
        ("/v2/search/tags?scope=nowhere", "scope"),
    ] {
        let (status, kind, body) = world.get(path, &[]).await;
        let text = String::from_utf8(body).unwrap();
        assert_eq!(status, StatusCode::BAD_REQUEST, "{path}: {text}");
        assert!(kind.starts_with("text/plain") && text.contains(says), "{path}: {text}");
    }
    let (status, _, _) = world.get("/search?q=%7B%7D", &[("x-scope-orgid", "../default")]).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn t7_exemplars() {
    let world = World::new().await;
    let start = world.start_ns / 1_000_000_000;
    let query = "%7B%7D%20%7C%20max_over_time(duration)";
    let path = format!("/metrics/query_range?q={query}&start={}&end={}&step=60s", start - 60, start + 60);
    let answer = world.json(&format!("{path}&exemplars=5")).await;
    let exemplar = &answer["series"][0]["exemplars"][0];
    let labels = [("duration", "400ms"), ("trace:id", TRACE)]
        .map(|(key, value)| json!({ "key": key, "value": { "stringValue": value } }));
    assert_eq!(exemplar["labels"], json!(labels));
    assert_eq!(exemplar["value"], 0.4);
    assert_eq!(exemplar["timestampMs"], (world.start_ns / 1_000_000).to_string());
    let none = world.json(&format!("{path}&exemplars=0")).await;
    assert_eq!(none["series"][0]["exemplars"], json!([]));
    let unasked = world.json(&path).await;
    assert_eq!(unasked["series"][0]["exemplars"].as_array().map(Vec::len), Some(1));
}

/// Grafana's decoder refuses a field that it does not know.
#[tokio::test]
async fn t8_one_number_a_series() {
    let world = World::new().await;
    let start = world.start_ns / 1_000_000_000;
    let query = "%7B%7D%20%7C%20count_over_time()%20by%20(resource.service.name)";
    let answer =
        world.json(&format!("/metrics/query?q={query}&start={}&end={}", start - 60, start + 60)).await;
    let label =
        |service: &str| json!([{ "key": "resource.service.name", "value": { "stringValue": service } }]);
    assert_eq!(
        answer["series"],
        json!([
            { "labels": label("frontend"), "value": 1.0 },
            { "labels": label("orders"), "value": 1.0 },
        ])
    );
    let known = ["series", "metrics", "status", "message"];
    assert!(answer.as_object().unwrap().keys().all(|key| known.contains(&key.as_str())), "{answer}");
    assert_eq!(world.get("/metrics/query?q=%7B%7D", &[]).await.0, StatusCode::BAD_REQUEST);
}
