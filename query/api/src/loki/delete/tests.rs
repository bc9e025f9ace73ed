use super::*;
use axum::body::{Body, to_bytes};
use axum::http::Request;
use engine::{Engine, Limits};
use model::{Batch, Labels, LogBatch, LogRecord, LogStream, Sink, SystemClock, Tenant, Write};
use tower::ServiceExt;

struct World {
    router: Router,
    store: Arc<Store>,
    first_s: i64,
    _dir: tempfile::TempDir,
}

const CARD: &str = r#"{app="shop"} |= "card""#;

impl World {
    /// Twenty lines of `shop`, one a second, every second one with a card; two of `other`.
    async fn new(cancel_period_s: u64) -> World {
        let dir = tempfile::tempdir().unwrap();
        let config = store::Config {
            dir: dir.path().to_owned(),
            fsync: false,
            read_log_query: logql::read_log_query,
            delete_cancel_period: std::time::Duration::from_secs(cancel_period_s),
            ..store::Config::default()
        };
        let store = Store::open(config, Arc::new(SystemClock)).await.unwrap();
        let first_s = now_ns() / 1_000_000_000 - 100;
        let stream = |app: &str, count: i64| LogStream {
            labels: Labels::from_pairs([("app", app)]),
            resource: vec![],
            records: (0..count)
                .map(|at| LogRecord {
                    ts_ns: (first_s + at) * 1_000_000_000,
                    body: format!("{} {at}", if at % 2 == 0 { "card" } else { "cash" }),
                    ..LogRecord::default()
                })
                .collect(),
        };
        let batch = Batch::Logs(LogBatch { streams: vec![stream("shop", 20), stream("other", 2)] });
        store.write(Write { tenant: Tenant::default(), batch, origin: None }).await.unwrap();
        let engine = Engine::new(store.clone(), Arc::new(SystemClock), Limits::default()).unwrap();
        let router =
            crate::loki::router(Arc::new(engine), crate::loki::tests::told()).merge(router(store.clone()));
        World { router, store, first_s, _dir: dir }
    }

    async fn call(&self, method: &str, path: &str, params: &[(&str, &str)]) -> (u16, String) {
        let percent = |text: &str| text.bytes().map(|byte| format!("%{byte:02X}")).collect::<String>();
        let pairs: Vec<String> = params.iter().map(|(n, v)| format!("{n}={}", percent(v))).collect();
        let uri = format!("/loki/api/v1/{path}?{}", pairs.join("&"));
        let request = Request::builder().method(method).uri(uri).body(Body::empty()).unwrap();
        let response = self.router.clone().oneshot(request).await.unwrap();
        let status = response.status().as_u16();
        let body = to_bytes(response.into_body(), 1 << 20).await.unwrap();
        (status, String::from_utf8(body.to_vec()).unwrap())
    }

    async fn get(&self, path: &str, params: &[(&str, &str)]) -> Value {
        let (status, body) = self.call("GET", path, params).await;
        assert_eq!(status, 200, "{path}: {body}");
        serde_json::from_str(&body).unwrap()
    }

    async fn delete(&self, query: &str, from_s: i64, to_s: i64) {
        let (start, end) = ((self.first_s + from_s).to_string(), (self.first_s + to_s).to_string());
        let (status, body) =
            self.call("POST", "delete", &[("query", query), ("start", &start), ("end", &end)]).await;
        assert_eq!((status, body.as_str()), (204, ""));
    }

    /// Lines by query, and by what is known without reading them.
    async fn left(&self, query: &str) -> (usize, u64) {
        let lines = self.get("query_range", &[("query", query), ("limit", "1000")]).await;
        let streams = lines["data"]["result"].as_array().unwrap().iter();
        let lines = streams.map(|stream| stream["values"].as_array().unwrap().len()).sum();
        let stats = self.get("index/stats", &[("query", query)]).await;
        (lines, stats["entries"].as_u64().unwrap())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lines_are_gone_on_every_road_and_come_back_where_it_is_taken_back() {
    let world = World::new(3600).await;
    let shop = r#"{app="shop"}"#;
    assert_eq!(world.left(shop).await, (20, 20));
    world.delete(CARD, 0, 9).await;
    assert_eq!(world.left(shop).await, (15, 15));
    world.delete(r#"{app="other"}"#, 0, 50).await;
    assert_eq!(world.left(r#"{app=~".+"}"#).await, (15, 15));
    let values = world.get("label/app/values", &[]).await;
    assert_eq!(values["data"], json!(["shop"]));
    let series = world.get("series", &[]).await;
    assert_eq!(series["data"], json!([{ "app": "shop" }]));
    let volume = world.get("index/volume", &[("query", shop)]).await;
    // Ten lines of seven bytes and five of six.
    assert_eq!(volume["data"]["result"][0]["value"][1], "100");
    let count = r#"sum(count_over_time({app=~".+"} |= "card" [5m]))"#;
    let counted = world.get("query", &[("query", count)]).await;
    assert_eq!(counted["data"]["result"][0]["value"][1], "5");
    // A limit counts the lines that show.
    let first = world.get("query_range", &[("query", shop), ("limit", "3"), ("direction", "forward")]).await;
    let first: Vec<&str> = first["data"]["result"][0]["values"]
        .as_array()
        .unwrap()
        .iter()
        .map(|value| value[1].as_str().unwrap())
        .collect();
    assert_eq!(first, ["cash 1", "cash 3", "cash 5"]);
    let engine = Engine::new(world.store.clone(), Arc::new(SystemClock), Limits::default()).unwrap();
    let count = "select body from logs";
    let answer = Arc::new(engine).sql(&Tenant::default(), count, vec![]).await.unwrap();
    assert_eq!(answer.batches.iter().map(|batch| batch.num_rows()).sum::<usize>(), 15);

    // Compaction keeps what may be taken back.
    world.store.compact().await.unwrap();
    assert_eq!(world.left(shop).await, (15, 15));
    let listed = world.get("delete", &[]).await;
    assert_eq!((listed[0]["query"].as_str(), listed[0]["status"].as_str()), (Some(CARD), Some("received")));
    assert_eq!(listed[0]["start_time"].as_f64(), Some(world.first_s as f64));
    let id = listed[0]["request_id"].as_str().unwrap();
    assert_eq!(world.call("DELETE", "delete", &[("request_id", id)]).await.0, 204);
    assert_eq!(world.left(shop).await, (20, 20));
    assert_eq!(world.get("delete", &[]).await.as_array().map(Vec::len), Some(1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn compaction_carries_out_what_stands() {
    let world = World::new(0).await;
    world.delete(CARD, 0, 19).await;
    world.store.compact().await.unwrap();
    assert_eq!(world.left(r#"{app="shop"}"#).await, (10, 10));
    let rows = |name: &str| {
        let readings = world.store.readings();
        let logs = |r: &&model::Reading| r.labels.iter().any(|(_, value)| value == "logs");
        readings.iter().filter(|r| r.name == name).find(logs).map(|r| r.value)
    };
    assert_eq!(rows("binnacle_store_parts_rows"), Some(12.0));
    let listed = world.get("delete", &[]).await;
    assert_eq!(listed[0]["status"], "processed");
    let id = listed[0]["request_id"].as_str().unwrap();
    let (status, why) = world.call("DELETE", "delete", &[("request_id", id)]).await;
    assert_eq!((status, why.contains("already processed")), (400, true), "{why}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_deleted_is_refused_in_lokis_words() {
    let world = World::new(3600).await;
    let start = world.first_s.to_string();
    let later = (world.first_s + 1_000).to_string();
    for (params, expected) in [
        (vec![("start", start.as_str())], "query not set"),
        (vec![("query", CARD)], "start time not set"),
        (
            vec![("query", CARD), ("start", "soon")],
            "invalid start time: require unix seconds or RFC3339 format",
        ),
        (vec![("query", CARD), ("start", &start), ("end", "x")], "invalid end time"),
        // Of queries these would be nanoseconds.
        (vec![("query", CARD), ("start", "1700000000000")], "invalid start time"),
        (vec![("query", CARD), ("start", "5")], "invalid start time"),
        (vec![("query", CARD), ("start", &start), ("end", &later)], "deletes in the future are not allowed"),
        (
            vec![("query", CARD), ("start", &start), ("end", "1000000000")],
            "start time can't be greater than or equal to end time",
        ),
        (vec![("query", CARD), ("start", &start), ("max_interval", "1x")], "invalid max_interval"),
        (vec![("query", CARD), ("start", &start), ("max_interval", "9h")], "max_interval can't be greater"),
        (vec![("query", CARD), ("start", &start), ("max_interval", "1d")], "invalid max_interval"),
        (
            vec![("query", "{app=shop}"), ("start", &start)],
            "invalid query expression: parse error at line 1, col",
        ),
        (vec![("query", r#"rate({app="a"}[1m])"#), ("start", &start)], "invalid query expression"),
    ] {
        let (status, why) = world.call("PUT", "delete", &params).await;
        assert_eq!((status, why.starts_with(expected)), (400, true), "{params:?}: {why}");
    }
    assert_eq!(world.get("delete", &[]).await, json!([]));
    let (status, why) = world.call("DELETE", "delete", &[("request_id", "nope")]).await;
    assert_eq!((status, why.as_str()), (404, "could not find delete request with given id"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn deletions_are_listed_by_time_and_taken_back_late_by_force() {
    let world = World::new(0).await;
    // By labels alone nothing is cut into pieces, so that it does not matter how long they would be.
    let start = world.first_s.to_string();
    let of_labels = [("query", r#"{app="other"}"#), ("start", start.as_str()), ("max_interval", "9h")];
    assert_eq!(world.call("POST", "delete", &of_labels).await.0, 204);
    world.delete(CARD, -500, -400).await;
    let at = |seconds: i64| (world.first_s + seconds).to_string();
    for (from, to, count) in [(-600, -550, 0), (-600, -450, 1), (-450, -440, 1), (-400, 0, 2), (5, 9, 1)] {
        let listed = world.get("delete", &[("start", &at(from)), ("end", &at(to))]).await;
        assert_eq!(listed.as_array().map(Vec::len), Some(count), "{from} to {to}");
    }
    let listed = world.get("delete", &[("start", &start)]).await;
    let id = listed[0]["request_id"].as_str().unwrap();
    let (status, why) = world.call("DELETE", "delete", &[("request_id", id)]).await;
    assert_eq!((status, why.contains("past the deadline of 0s since")), (400, true), "{why}");
    assert_eq!(world.call("DELETE", "delete", &[("request_id", id), ("force", "true")]).await.0, 204);
    assert_eq!(world.get("delete", &[]).await.as_array().map(Vec::len), Some(1));
}
