use super::*;
use axum::body::Body;
use axum::http::Request;
use http_body_util::BodyExt;
use model::*;
use serde_json::Value;
use store::Store;
use tower::ServiceExt;

async fn api(dir: &std::path::Path) -> Router {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let config = store::Config { dir: dir.to_owned(), fsync: false, ..Default::default() };
    let store = Store::open(config, clock.clone()).await.unwrap();
    let mut batch = MetricBatch::default();
    for (job, value) in [("web", 1.5), ("db", f64::INFINITY)] {
        batch.begin_series(&mut [("__name__", "up"), ("job", job), ("path", "a\"b")]).unwrap();
        batch.push(1_700_000_000_000, value);
    }
    let exemplar = |job, trace, ts_ms, value| Exemplar {
        series: Labels::from_pairs([("__name__", "up"), ("job", job)]),
        labels: Labels::from_pairs([("trace_id", trace)]),
        ts_ms,
        value,
    };
    batch.exemplars = vec![
        exemplar("web", "b", 1_700_000_001_000, f64::NAN),
        exemplar("web", "a", 1_700_000_000_250, 0.5),
        exemplar("web", "late", 1_700_000_001_001, 0.5),
        exemplar("db", "c", 1_700_000_000_500, 0.5),
    ];
    let kind = MetricKind::Gauge;
    batch.metadata.push(Metadata { name: "up".into(), kind, help: "Is it up".into(), unit: String::new() });
    store
        .write(Write { tenant: Tenant::default(), batch: Batch::Metrics(batch), origin: None })
        .await
        .unwrap();
    router(Arc::new(Engine::new(store, clock, engine::Limits::default()).unwrap()), About::default())
}

async fn call(api: &Router, request: Request<Body>) -> (u16, Value) {
    let response = api.clone().oneshot(request).await.unwrap();
    let status = response.status().as_u16();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (status, serde_json::from_slice(&body).unwrap_or_else(|_| panic!("{body:?}")))
}

async fn get(api: &Router, path: &str) -> (u16, Value) {
    call(api, Request::get(path).body(Body::empty()).unwrap()).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn grafana_s_basic_calls_have_the_shapes_that_it_reads() {
    let dir = tempfile::tempdir().unwrap();
    let api = api(dir.path()).await;
    let (_, health) = get(&api, "/api/v1/query?query=1%2B1&time=4").await;
    assert_eq!(health, json!({"status": "success", "data": {"resultType": "scalar", "result": [4, "2"]}}));
    let (_, vector) = get(&api, "/api/v1/query?query=up&time=1700000060.5").await;
    assert_eq!(
        vector["data"]["result"][0],
        json!({"metric": {"__name__": "up", "job": "db", "path": "a\"b"}, "value": [1700000060.5, "+Inf"]})
    );
    let (_, matrix) =
        get(&api, "/api/v1/query_range?query=up&start=1700000000&end=1700000060&step=30s").await;
    assert_eq!(
        matrix["data"]["result"][1]["values"],
        json!([[1700000000, "1.5"], [1700000030, "1.5"], [1700000060, "1.5"]])
    );
    let form = Request::post("/api/v1/query?stats=all")
        .header("content-type", "application/x-www-form-urlencoded")
        .body(Body::from("query=sum(up%7Bjob%3D%22web%22%7D)&time=1700000000"))
        .unwrap();
    let (_, posted) = call(&api, form).await;
    assert_eq!(posted["data"]["result"][0]["value"][1], "1.5");
    let (_, replay) = get(&api, "/api/v1/status/walreplay").await;
    assert_eq!(replay["data"]["state"], "done");
    let (_, flags) = get(&api, "/api/v1/status/flags").await;
    assert_eq!(flags, json!({"status": "success", "data": {}}));
    let samples = &posted["data"]["stats"]["samples"];
    assert_eq!(samples["totalQueryableSamples"], 1);
    assert_eq!(samples["totalQueryableSamplesPerStep"], json!([[1700000000, 1]]));
    let (_, names) = get(&api, "/api/v1/labels").await;
    assert_eq!(names["data"], json!(["__name__", "job", "path"]));
    let (_, values) = get(&api, "/api/v1/label/job/values?limit=1").await;
    assert_eq!(
        (&values["data"], &values["warnings"]),
        (&json!(["db"]), &json!(["results truncated due to limit"]))
    );
    let (_, series) = get(&api, "/api/v1/series?match[]=up%7Bjob%3D%22web%22%7D").await;
    assert_eq!(series["data"], json!([{"__name__": "up", "job": "web", "path": "a\"b"}]));
    let (_, metadata) = get(&api, "/api/v1/metadata").await;
    assert_eq!(metadata["data"], json!({"up": [{"type": "gauge", "help": "Is it up", "unit": ""}]}));
    let (_, exemplars) =
        get(&api, "/api/v1/query_exemplars?query=test&start=1700000000000&end=1700000060000").await;
    assert_eq!(exemplars, json!({"status": "success", "data": []}));
    // Both selectors name the first of the two.
    let query = "rate(up%7Bjob%3D%22web%22%7D%5B5m%5D)%20%2F%20up%7Bjob!%3D%22db%22%7D";
    let path = format!("/api/v1/query_exemplars?query={query}&start=1700000000&end=1700000001");
    let (_, exemplars) = get(&api, &path).await;
    let of_web = json!({"seriesLabels": {"__name__": "up", "job": "web"}, "exemplars": [
        {"labels": {"trace_id": "a"}, "value": "0.5", "timestamp": 1700000000.25},
        {"labels": {"trace_id": "b"}, "value": "NaN", "timestamp": 1700000001.0}]});
    assert_eq!(exemplars, json!({"status": "success", "data": [of_web]}));
    let (status, wrong) = get(&api, "/api/v1/query_exemplars?query=up%7B").await;
    assert_eq!((status, &wrong["errorType"]), (400, &json!("bad_data")));
    let (_, tree) =
        get(&api, "/api/v1/parse_query?query=sum%20by(a)(rate(x%7Bb!%3D%22c%22%7D%5B5m%5D))%2F2").await;
    let sum = &tree["data"]["lhs"];
    assert_eq!(
        (&tree["data"]["type"], &tree["data"]["op"], &tree["data"]["rhs"]["val"]),
        (&json!("binaryExpr"), &json!("/"), &json!("2"))
    );
    assert_eq!(
        (&sum["type"], &sum["grouping"], &sum["expr"]["func"]["name"]),
        (&json!("aggregation"), &json!(["a"]), &json!("rate"))
    );
    let range = &sum["expr"]["args"][0];
    assert_eq!(
        (&range["type"], &range["name"], &range["range"]),
        (&json!("matrixSelector"), &json!("x"), &json!(300_000))
    );
    assert_eq!(range["matchers"][0], json!({"name": "b", "type": "!=", "value": "c"}));
    let (_, text) = get(&api, "/api/v1/format_query?query=sum(up)by(job)").await;
    assert_eq!(text["data"], "sum by (job) (up)");
    let (_, tsdb) = get(&api, "/api/v1/status/tsdb").await;
    assert_eq!(
        (&tsdb["data"]["headStats"]["numSeries"], &tsdb["data"]["labelValueCountByLabelName"][0]),
        (&json!(2), &json!({"name": "job", "value": 2}))
    );
    let (_, features) = get(&api, "/api/v1/features").await;
    assert_eq!(features["data"]["promql_functions"]["rate"], true);
    let (_, info) = get(&api, "/api/v1/query?query=rate(up%5B5m%5D)&time=1700000000").await;
    assert!(info.get("infos").is_none() && info.get("warnings").is_none(), "{info}");
    let (_, warned) = get(&api, "/api/v1/query?query=quantile(2,up)&time=1700000000").await;
    assert_eq!(
        warned["warnings"],
        json!(["PromQL warning: quantile value should be between 0 and 1, got 2 (1:10)"])
    );
    let (_, build) = get(&api, "/api/v1/status/buildinfo").await;
    assert!(build["data"]["version"].is_string() && build["data"].get("features").is_none());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn errors_have_prometheus_shape_and_say_where() {
    let dir = tempfile::tempdir().unwrap();
    let api = api(dir.path()).await;
    for (path, status, kind, words) in [
        ("/api/v1/query?query=sum(", 400, "bad_data", "1:5: parse error"),
        ("/api/v1/query?query=", 400, "bad_data", "no expression"),
        ("/api/v1/query?query=up%7Ba=%22%ff%22%7D", 400, "bad_data", "1:6: parse error: invalid UTF-8 rune"),
        ("/api/v1/series?match%5B%5D=%0aup%ff", 400, "bad_data", "2:3: parse error: invalid UTF-8 rune"),
        ("/api/v1/query?query=up&time=noon", 400, "bad_data", "cannot parse \"noon\""),
        ("/api/v1/query_range?query=up&start=0&end=1&step=0", 400, "bad_data", "zero or negative"),
        (
            "/api/v1/query_range?query=up&start=0&end=1000000&step=1",
            400,
            "bad_data",
            "exceeded maximum resolution",
        ),
        ("/api/v1/series", 400, "bad_data", "no match[]"),
        ("/api/v1/query?query=up%2Bon()up&time=1700000000", 422, "execution", "match group"),
    ] {
        let (found, body) = get(&api, path).await;
        assert_eq!((found, &body["errorType"]), (status, &json!(kind)), "{path}: {body}");
        assert!(body["error"].as_str().unwrap().contains(words), "{path}: {body}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn native_histograms_have_prometheus_shape() {
    let dir = tempfile::tempdir().unwrap();
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let config = store::Config { dir: dir.path().to_owned(), fsync: false, ..Default::default() };
    let store = Store::open(config, clock.clone()).await.unwrap();
    let mut batch = MetricBatch::default();
    let histogram = Histogram {
        count: 4.0,
        sum: 1.5,
        zero_threshold: 0.001,
        zero_count: 1.0,
        positive: vec![(0, 2.0), (1, 0.0), (2, 1.0)],
        ..Histogram::default()
    };
    let labels = Labels::from_pairs([("__name__", "h"), ("job", "web")]);
    batch.push_histograms(&labels, &[(1_700_000_000_000, histogram)]);
    let write = Write { tenant: Tenant::default(), batch: Batch::Metrics(batch), origin: None };
    store.write(write).await.unwrap();
    let api =
        router(Arc::new(Engine::new(store, clock, engine::Limits::default()).unwrap()), About::default());
    let shape = json!({
        "count": "4",
        "sum": "1.5",
        "buckets": [[3, "-0.001", "0.001", "1"], [0, "0.5", "1", "2"], [0, "2", "4", "1"]],
    });
    let (_, vector) = get(&api, "/api/v1/query?query=h&time=1700000000").await;
    assert_eq!(vector["data"]["result"][0]["histogram"], json!([1_700_000_000, shape]));
    let (_, matrix) = get(&api, "/api/v1/query_range?query=h&start=1700000000&end=1700000000&step=1").await;
    assert_eq!(matrix["data"]["result"][0]["histograms"], json!([[1_700_000_000, shape]]));
    let (_, quantile) = get(&api, "/api/v1/query?query=histogram_quantile(0.9,h)&time=1700000000").await;
    assert_eq!(quantile["data"]["result"][0]["metric"], json!({"job": "web"}));
    // How it is kept is nobody's business.
    let (_, series) = get(&api, "/api/v1/series?match[]=h").await;
    assert_eq!(series["data"], json!([{"__name__": "h", "job": "web"}]));
    let (_, names) = get(&api, "/api/v1/labels").await;
    assert_eq!(names["data"], json!(["__name__", "job"]));
}

#[test]
fn escaped_label_names_are_read() {
    assert_eq!(params::unescaped_name("U__http_2e_route"), "http.route");
    assert_eq!(params::unescaped_name("U__a__b"), "a_b");
    assert_eq!(params::unescaped_name("job"), "job");
}

/// Status, type and lines of an answer that is lines of JSON.
async fn lines(api: &Router, path: &str) -> (u16, Vec<Value>) {
    let response = api.clone().oneshot(Request::get(path).body(Body::empty()).unwrap()).await.unwrap();
    let status = response.status().as_u16();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    let text = String::from_utf8(body.to_vec()).unwrap();
    (status, text.lines().map(|line| serde_json::from_str(line).unwrap()).collect())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn searches_answer_with_lines() {
    let dir = tempfile::tempdir().unwrap();
    let api = api(dir.path()).await;
    let when = "start=1700000000&end=1700000060";
    let end = json!({ "status": "success", "has_more": false });
    let (status, found) =
        lines(&api, &format!("/api/v1/search/metric_names?{when}&include_metadata=true&include_score=1"))
            .await;
    let up = json!({ "name": "up", "score": 1.0, "type": "gauge", "help": "Is it up" });
    assert_eq!((status, found), (200, vec![json!({ "results": [up] }), end.clone()]));
    let (_, found) =
        lines(&api, &format!("/api/v1/search/label_names?{when}&batch_size=2&sort_by=alpha&sort_dir=dsc"))
            .await;
    let names =
        |names: &[&str]| json!({ "results": names.iter().map(|n| json!({"name": n})).collect::<Vec<_>>() });
    assert_eq!(found, [names(&["path", "job"]), names(&["__name__"]), end.clone()]);
    let (_, found) = lines(&api, &format!("/api/v1/search/label_values?{when}&label=job&limit=1")).await;
    assert_eq!(found, [names(&["db"]), json!({ "status": "success", "has_more": true })]);
    let (_, found) = lines(
        &api,
        &format!("/api/v1/search/label_values?{when}&label=job&search[]=WB&case_sensitive=false"),
    )
    .await;
    assert_eq!(found[0], names(&["web"]));
    // Without times, the last hour is sought.
    let (_, found) = lines(&api, "/api/v1/search/metric_names?search[]=up").await;
    assert_eq!(found, [names(&[]), end]);
    for (path, why) in [
        ("label_values", "missing required parameter \"label\""),
        ("metric_names?sort_by=score", "sort_by=score requires search[] to be set"),
        ("metric_names?sort_dir=asc", "sort_dir is only valid when sort_by is set"),
        ("label_names?sort_by=size", "invalid sort_by \"size\" for label_names"),
        ("metric_names?fuzz_threshold=101", "must be 0-100"),
        ("metric_names?fuzz_alg=x", "must be one of [subsequence jarowinkler]"),
        ("metric_names?limit=-1", "invalid limit \"-1\""),
        ("metric_names?include_score=maybe", "must be boolean"),
    ] {
        let (status, answer) = get(&api, &format!("/api/v1/search/{path}")).await;
        assert_eq!((status, answer["errorType"].as_str()), (400, Some("bad_data")), "{path}");
        assert!(answer["error"].as_str().unwrap().contains(why), "{path}: {answer}");
    }
}
