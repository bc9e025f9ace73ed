//! Rows L1 to L14 of what Grafana calls, over a real store.

use super::*;
use axum::body::{Body, to_bytes};
use axum::http::Request;
use model::{Batch, Labels, LogBatch, LogRecord, LogStream, Sink, Tenant, Value as Attribute, Write};
use store::Store;
use tower::ServiceExt;

const SECOND_NS: i64 = 1_000_000_000;

struct World {
    router: Router,
    /// Of the last line, in whole seconds.
    last_ns: i64,
    _dir: tempfile::TempDir,
}

pub(super) fn told() -> Arc<Told> {
    let day = std::time::Duration::from_secs(86_400);
    let streams = vec![store::StreamRetention {
        matchers: logql::parse_selector(r#"{app="web", env!~"a|b"}"#).unwrap(),
        priority: 5,
        period: 36 * day / 24,
    }];
    let retention = store::Retention { metrics: day, logs: 31 * day, streams, spans: day };
    Arc::new(Told {
        service_name_from: vec!["app".into()],
        level_from: &["level", "lvl"],
        retention: Box::new(move || retention.clone()),
    })
}

fn batch(last_ns: i64) -> LogBatch {
    let bodies = [r#"{"msg":"payment timeout","ms":512}"#, "level=info msg=done took=3ms", "plain words"];
    let records = bodies.iter().enumerate().map(|(at, body)| LogRecord {
        ts_ns: last_ns - (2 - at as i64) * SECOND_NS,
        body: (*body).to_owned(),
        attributes: vec![("user.id".into(), Attribute::Int(at as i64))],
        ..LogRecord::default()
    });
    let labels = Labels::from_pairs([("app", "api"), ("service_name", "api")]);
    LogBatch { streams: vec![LogStream { labels, resource: vec![], records: records.collect() }] }
}

impl World {
    async fn new() -> World {
        let dir = tempfile::tempdir().unwrap();
        let config = store::Config { dir: dir.path().to_owned(), fsync: false, ..store::Config::default() };
        let store = Store::open(config, Arc::new(SystemClock)).await.unwrap();
        let last_ns = (now_ns() / SECOND_NS - 10) * SECOND_NS;
        let write = Write { tenant: Tenant::default(), batch: Batch::Logs(batch(last_ns)), origin: None };
        store.write(write).await.unwrap();
        store.flush().await.unwrap();
        let engine = Engine::new(store, Arc::new(SystemClock), engine::Limits::default()).unwrap();
        World { router: router(Arc::new(engine), told()), last_ns, _dir: dir }
    }

    async fn send(&self, request: Request<Body>) -> (StatusCode, String) {
        let response = self.router.clone().oneshot(request).await.unwrap();
        let status = response.status();
        let body = to_bytes(response.into_body(), 1 << 20).await.unwrap();
        (status, String::from_utf8(body.to_vec()).unwrap())
    }

    async fn get(&self, path: &str, params: &[(&str, &str)]) -> (StatusCode, String) {
        self.send(Request::get(url(path, params)).body(Body::empty()).unwrap()).await
    }

    async fn json(&self, path: &str, params: &[(&str, &str)]) -> Value {
        let (status, body) = self.get(path, params).await;
        assert_eq!(status, StatusCode::OK, "{path} {params:?}: {body}");
        serde_json::from_str(&body).unwrap()
    }

    /// Start and end around all lines.
    fn range(&self) -> [(&'static str, String); 2] {
        [
            ("start", (self.last_ns - 60 * SECOND_NS).to_string()),
            ("end", (self.last_ns + SECOND_NS).to_string()),
        ]
    }

    async fn within(&self, path: &str, params: &[(&str, &str)]) -> Value {
        let range = self.range();
        let mut all: Vec<(&str, &str)> = range.iter().map(|(name, value)| (*name, value.as_str())).collect();
        all.extend(params);
        self.json(path, &all).await
    }

    async fn query_range(&self, query: &str) -> Value {
        self.within("/query_range", &[("query", query), ("step", "1000ms"), ("direction", "backward")]).await
    }
}

fn encoded(params: &[(&str, &str)]) -> String {
    let percent = |text: &str| text.bytes().map(|byte| format!("%{byte:02X}")).collect::<String>();
    let pairs: Vec<String> =
        params.iter().map(|(name, value)| format!("{}={}", percent(name), percent(value))).collect();
    pairs.join("&")
}

fn url(path: &str, params: &[(&str, &str)]) -> String {
    format!("/loki/api/v1{path}?{}", encoded(params))
}

#[tokio::test]
async fn l1_lines() {
    let world = World::new().await;
    let found = world.query_range(r#"{app="api"} |= "timeout""#).await;
    assert_eq!(found["status"], "success");
    assert_eq!(found["data"]["resultType"], "streams");
    let values = &found["data"]["result"][0]["values"];
    assert_eq!(values[0][0], (world.last_ns - 2 * SECOND_NS).to_string());
    assert_eq!(values[0].as_array().map(Vec::len), Some(2));
    assert!(found["data"].get("encodingFlags").is_none());
    let parsed = world.query_range(r#"{app="api"} | json | __error__="" | ms > 500"#).await;
    let stream = &parsed["data"]["result"][0]["stream"];
    assert_eq!((&stream["msg"], &stream["user_id"]), (&json!("payment timeout"), &json!("0")));
}

#[tokio::test]
async fn l1_categorized() {
    let world = World::new().await;
    let range = world.range();
    let params = [
        ("query", r#"{app="api"} | logfmt | took != """#),
        ("start", range[0].1.as_str()),
        ("end", range[1].1.as_str()),
    ];
    let request = Request::get(url("/query_range", &params)).header(ENCODING_FLAGS, CATEGORIZE);
    let (_, body) = world.send(request.body(Body::empty()).unwrap()).await;
    let found: Value = serde_json::from_str(&body).unwrap();
    assert_eq!(found["data"]["encodingFlags"], json!([CATEGORIZE]));
    let line = &found["data"]["result"][0]["values"][0];
    assert_eq!(found["data"]["result"][0]["stream"]["app"], "api");
    assert!(found["data"]["result"][0]["stream"].get("msg").is_none());
    assert_eq!(
        (&line[2]["parsed"]["msg"], &line[2]["structuredMetadata"]["user_id"]),
        (&json!("done"), &json!("1"))
    );
}

#[tokio::test]
async fn l1_numbers() {
    let world = World::new().await;
    let found = world.query_range(r#"sum by (app) (count_over_time({app="api"}[1m]))"#).await;
    assert_eq!(found["data"]["resultType"], "matrix");
    let series = &found["data"]["result"][0];
    assert_eq!(series["metric"], json!({ "app": "api" }));
    assert_eq!(series["values"].as_array().unwrap().last().unwrap()[1], "3");
}

#[tokio::test]
async fn l2_l3_instant_and_health() {
    let world = World::new().await;
    let params = [("query", "vector(1)+vector(1)"), ("direction", "backward"), ("time", "4000000000")];
    let health = world.json("/query", &params).await;
    let expected = json!([{ "metric": {}, "value": [4_000_000_000_i64, "2"] }]);
    assert_eq!(health["data"]["resultType"], "vector");
    assert_eq!(health["data"]["result"], expected);
    let time = (world.last_ns + SECOND_NS).to_string();
    let params = [("query", r#"sum(count_over_time({app="api"}[1m]))"#), ("time", time.as_str())];
    assert_eq!(world.json("/query", &params).await["data"]["result"][0]["value"][1], "3");
    // The same by POST, in a form.
    let request = Request::post("/loki/api/v1/query")
        .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
        .body(Body::from(encoded(&params)))
        .unwrap();
    let (status, body) = world.send(request).await;
    assert_eq!(status, StatusCode::OK, "{body}");
    assert_eq!(serde_json::from_str::<Value>(&body).unwrap()["data"]["result"][0]["value"][1], "3");
}

#[tokio::test]
async fn l4_to_l7_labels_series_sizes() {
    let world = World::new().await;
    assert_eq!(world.within("/labels", &[]).await["data"], json!(["app", "service_name"]));
    assert_eq!(world.within("/label/app/values", &[]).await["data"], json!(["api"]));
    // As Loki, which leaves out an empty list.
    assert_eq!(world.within("/label/__stream_shard__/values", &[]).await, json!({ "status": "success" }));
    let series = world.within("/series", &[("match[]", r#"{app="api"}"#)]).await;
    assert_eq!(series["data"], json!([{ "app": "api", "service_name": "api" }]));
    let stats = world.within("/index/stats", &[("query", r#"{app="api"}"#)]).await;
    assert_eq!((&stats["streams"], &stats["entries"]), (&json!(1), &json!(3)));
    assert!(stats["bytes"].as_u64() > Some(0) && stats["chunks"].is_number(), "{stats}");
}

/// A range is without its end, but for labels, as in Loki.
#[tokio::test]
async fn a_range_that_ends_where_it_begins_has_no_lines() {
    let world = World::new().await;
    let (at, api) = (world.last_ns.to_string(), ("query", r#"{app="api"}"#));
    let told = async |path: &str| {
        let params = [("start", at.as_str()), ("end", at.as_str()), ("match[]", api.1), api];
        world.json(path, &params).await
    };
    for path in ["/query_range", "/index/volume", "/index/volume_range"] {
        assert_eq!(told(path).await["data"]["result"], json!([]), "{path}");
    }
    assert_eq!(told("/series").await["data"], json!([]));
    assert_eq!(told("/patterns").await["data"], json!([]));
    assert_eq!(told("/index/stats").await["entries"], json!(0));
    assert_eq!(told("/detected_labels").await, json!({}));
    assert_eq!(told("/detected_fields").await, json!({}));
    assert_eq!(told("/labels").await["data"], json!(["app", "service_name"]));
}

#[tokio::test]
async fn l8_to_l12_what_drilldown_asks() {
    let world = World::new().await;
    let volume =
        world.within("/index/volume", &[("query", r#"{service_name=~".+"}"#), ("limit", "5000")]).await;
    assert_eq!(volume["data"]["result"][0]["metric"], json!({ "service_name": "api" }), "{volume}");
    let range = [("query", r#"{service_name=~".+"}"#), ("step", "1s")];
    let volumes = world.within("/index/volume_range", &range).await;
    assert_eq!(volumes["data"]["resultType"], "matrix");
    assert_eq!(volumes["data"]["result"].as_array().map(Vec::len), Some(1), "{volumes}");
    let every = [("query", "{}"), ("step", "1s")];
    let every = world.within("/index/volume_range", &every).await;
    assert_eq!(
        every["data"]["result"][0]["metric"],
        json!({ "app": "api", "service_name": "api" }),
        "{every}"
    );
    let labels = world.within("/detected_labels", &[("query", r#"{app="api"}"#)]).await;
    assert_eq!(labels["detectedLabels"][0], json!({ "label": "app", "cardinality": 1 }));
    let fields = world.within("/detected_fields", &[("query", r#"{app="api"}"#)]).await;
    let names: Vec<&str> =
        fields["fields"].as_array().unwrap().iter().map(|field| field["label"].as_str().unwrap()).collect();
    assert!(names.contains(&"msg") && names.contains(&"took") && names.contains(&"user_id"), "{fields}");
    let values = world.within("/detected_field/took/values", &[("query", r#"{app="api"}"#)]).await;
    assert_eq!(values["values"], json!(["3ms"]));
}

#[tokio::test]
async fn l14_the_limits_in_force() {
    let world = World::new().await;
    let answer = world.json("/drilldown-limits", &[]).await;
    assert_eq!(answer["pattern_ingester_enabled"], true);
    let of_streams = json!([{ "period": "1d12h", "priority": 5, "selector": r#"{app="web", env!~"a|b"}"# }]);
    for (name, expected) in [
        ("discover_service_name", json!(["app"])),
        ("log_level_fields", json!(["level", "lvl"])),
        ("max_entries_limit_per_query", json!(5_000)),
        ("query_timeout", json!("2m")),
        ("retention_period", json!("31d")),
        ("retention_stream", of_streams),
        ("volume_max_series", json!(5_000)),
    ] {
        assert_eq!(answer["limits"][name], expected, "{name}");
    }
}

#[tokio::test]
async fn volumes_by_step_follow_the_lines_and_add_up() {
    let world = World::new().await;
    let last = (world.last_ns / SECOND_NS) as f64;
    let volumes = async |step: &str, more: &[(&str, &str)]| {
        let params = [&[("query", r#"{app="api"}"#), ("step", step)], more].concat();
        world.within("/index/volume_range", &params).await["data"]["result"].take()
    };
    // Each line lies where one step ends and the next begins; of 73 bytes each has its third.
    let values = json!([[last - 1.001, "24"], [last - 0.001, "24"], [world.last_ns / SECOND_NS + 1, "25"]]);
    assert_eq!(volumes("1s", &[]).await, json!([{ "metric": { "app": "api" }, "values": values }]));
    let of_labels = volumes("1s", &[("aggregateBy", "labels"), ("targetLabels", "app")]).await;
    assert_eq!(of_labels, json!([{ "metric": { "app": "" }, "values": values }]));
    for targets in ["app,none", "none"] {
        for by in ["series", "labels"] {
            let params = [("aggregateBy", by), ("targetLabels", targets)];
            assert_eq!(volumes("1s", &params).await, json!([]), "{by} {targets}");
            let params = [&[("query", r#"{app="api"}"#)], &params[..]].concat();
            let at_once = world.within("/index/volume", &params).await;
            assert_eq!(at_once["data"]["result"], json!([]), "{by} {targets}");
        }
    }
    let both = [("query", r#"{app="api"}"#), ("targetLabels", "app,service_name")];
    let both = world.within("/index/volume", &both).await;
    let metric = json!({ "app": "api", "service_name": "api" });
    assert_eq!(both["data"]["result"][0]["metric"], metric, "{both}");
    let names = volumes("1s", &[("aggregateBy", "labels")]).await;
    assert_eq!(names.as_array().map(Vec::len), Some(2), "{names}");
    for step in ["7s", "40s", "1h"] {
        let found = volumes(step, &[]).await;
        let of = |series: &Value| {
            let values = series["values"].as_array().cloned();
            values.unwrap_or_else(|| vec![series["value"].clone()])
        };
        let bytes: u64 =
            of(&found[0]).iter().map(|value| value[1].as_str().unwrap().parse::<u64>().unwrap()).sum();
        assert_eq!(bytes, 73, "{step}: {found}");
    }
    assert_eq!(volumes("1s", &[("targetLabels", "no name")]).await, json!([]));
}

#[tokio::test]
async fn wrong_requests_say_what_is_wrong_as_text() {
    let world = World::new().await;
    for (path, params, says) in [
        ("/query_range", vec![("query", "{app=")], "line 1"),
        ("/query_range", vec![], "parse error : syntax error: unexpected $end"),
        ("/query_range", vec![("query", r#"{app="api"}"#), ("step", "-1")], "step"),
        (
            "/query_range",
            vec![("query", r#"{app="api"}"#), ("limit", "many")],
            "strconv.Atoi: parsing \"many\": invalid syntax",
        ),
        (
            "/query_range",
            vec![("query", r#"{app="api"}"#), ("limit", "99999999999999999999")],
            "strconv.Atoi: parsing \"99999999999999999999\": value out of range",
        ),
        ("/query_range", vec![("query", r#"{app="api"}"#), ("direction", "up")], "direction"),
        ("/labels", vec![("start", "yesterday")], "start"),
        ("/labels", vec![("query", "{}")], "at least one regexp or equality matcher"),
        ("/label/app/values", vec![("query", r#"{app="api"} |= "x""#)], "only label matchers are supported"),
        (
            "/index/volume",
            vec![("query", r#"{app="api"}"#), ("aggregateBy", "x")],
            "invalid aggregation option",
        ),
        ("/index/stats", vec![("query", r#"{app="api"} |= "x""#)], "only label matchers are supported"),
        ("/index/stats", vec![("query", r#"{app="api"}"#), ("step", "0")], "zero or negative"),
        (
            "/index/stats",
            vec![("query", r#"{app="api"}"#), ("limit", "-1")],
            "limit must be a positive value",
        ),
        (
            "/query",
            vec![("query", r#"{app="api"}"#)],
            "log queries are not supported as an instant query type",
        ),
    ] {
        let (status, body) = world.get(path, &params).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{path} {params:?}: {body}");
        assert!(body.contains(says), "{path} {params:?}: {body}");
    }
}

#[tokio::test]
async fn another_tenant_sees_nothing() {
    let world = World::new().await;
    for path in ["/labels", "/label/app/values", "/series?match[]=%7Bapp%3D%22api%22%7D"] {
        let request = Request::get(format!("/loki/api/v1{path}")).header("x-scope-orgid", "other");
        let (status, body) = world.send(request.body(Body::empty()).unwrap()).await;
        assert_eq!(status, StatusCode::OK, "{body}");
        assert!(!body.contains("api"), "{path}: {body}");
    }
}

#[tokio::test]
async fn l13_patterns() {
    let world = World::new().await;
    let answer = world.within("/patterns", &[("query", r#"{app="api"}"#), ("step", "60s")]).await;
    let patterns = answer["data"].as_array().unwrap();
    let found = |pattern: &str| patterns.iter().find(|one| one["pattern"] == pattern).cloned();
    let of_logfmt = found("level=info msg=done took=<_>").unwrap_or_else(|| panic!("{answer}"));
    assert_eq!(of_logfmt["level"], "info");
    let minute = (world.last_ns / SECOND_NS - 1) / 60 * 60;
    assert_eq!(of_logfmt["samples"], json!([[minute, 1]]));
    assert!(found("<_>payment timeout<_>").is_some(), "{answer}");
    let (status, body) = world.get("/patterns", &[("query", r#"rate({app="api"}[1m])"#)]).await;
    assert_eq!(status, StatusCode::BAD_REQUEST, "{body}");
}

#[tokio::test]
async fn l15_tail_is_refused_before_it_begins() {
    let world = World::new().await;
    for (params, says) in [
        (vec![("query", r#"{app="api"}"#)], "WebSocket"),
        // Told when the socket closes.
        (vec![("query", r#"rate({app="api"}[1m])"#)], "WebSocket"),
        (vec![("query", "{app=")], "line 1, col"),
        (vec![], "unexpected $end"),
        (vec![("query", r#"{app="api"}"#), ("delay_for", "6")], "delay_for can't be greater than 5"),
        (vec![("query", r#"{app="api"}"#), ("delay_for", "-1")], "delay_for value -1 is out of range"),
        (vec![("query", r#"{app="api"}"#), ("limit", "0")], "limit must be a positive value"),
        (vec![("query", r#"{app="api"}"#), ("limit", "5001")], "WebSocket"),
        (
            vec![("query", r#"{app="api"}"#), ("start", "soon")],
            "could not parse 'start' parameter: strconv.ParseInt",
        ),
    ] {
        let (status, body) = world.get("/tail", &params).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{params:?}");
        assert!(body.contains(says), "{params:?}: {body}");
    }
}
