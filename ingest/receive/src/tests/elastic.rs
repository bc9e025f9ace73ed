//! The bulk door: answers per item, refusals in Elasticsearch's shape, and what shippers ask first.

use super::*;
use serde_json::Value;

const NDJSON: (&str, &str) = ("content-type", "application/x-ndjson");

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|wrong| panic!("{wrong}: {text}"))
}

fn lines(lines: &[&str]) -> String {
    lines.iter().map(|line| format!("{{\"create\":{{}}}}\n{{\"message\":\"{line}\"}}\n")).collect()
}

fn rejected(doors: &Doors, reason: &str) -> f64 {
    let of = |reading: &Reading| reading.labels.contains(&("reason", reason.into()));
    doors.readings().into_iter().find(of).map_or(0.0, |reading| reading.value)
}

#[tokio::test]
async fn each_item_is_answered_with_what_became_of_it() {
    let (memory, doors) = doors(Config::default());
    *memory.leave_out.lock() = vec![1];
    let body = format!("{{\"delete\":{{\"_id\":\"7\"}}}}\n{}", lines(&["one", "too long", "three"]));
    let (status, text) = post(&doors, "/elastic/logs/_bulk", &[NDJSON], body).await;
    let answer = json(&text);
    assert_eq!((status, &answer["errors"]), (StatusCode::OK, &Value::Bool(true)));
    let items = answer["items"].as_array().unwrap();
    let statuses: Vec<_> = items[1..].iter().map(|item| item["create"]["status"].as_u64().unwrap()).collect();
    assert_eq!(statuses, [201, 400, 201], "{text}");
    assert_eq!((&items[0]["delete"]["status"], &items[0]["delete"]["_id"]), (&400.into(), &"7".into()));
    assert_eq!(items[1]["create"]["_index"], "logs");
    assert_eq!(items[2]["create"]["error"]["reason"], "line_too_long: a line of 9 bytes");
    assert_eq!((rejected(&doors, "line_too_long"), rejected(&doors, "unsupported_action")), (1.0, 1.0));
}

#[tokio::test]
async fn both_prefixes_and_compression_are_taken_and_the_filter_is_kept_to() {
    let (memory, doors) = doors(Config::default());
    let body = wire::compression::zstd(lines(&["one"]).as_bytes()).unwrap();
    for path in ["/_bulk", "/i/_bulk", "/elastic/_bulk", "/elastic/i/_bulk"] {
        let path = format!("{path}?filter_path=errors%2Citems.%2A.error%2Citems.%2A.status");
        let (status, text) = post(&doors, &path, &[NDJSON, ("content-encoding", "zstd")], body.clone()).await;
        assert_eq!(
            (status, json(&text)["items"].to_string().as_str()),
            (StatusCode::OK, r#"[{"create":{"status":201}}]"#)
        );
        assert_eq!(json(&text)["errors"], false);
    }
    assert_eq!(memory.writes.lock().len(), 4);
}

#[tokio::test]
async fn a_body_that_unpacks_to_more_than_there_is_room_for_is_to_come_again() {
    let (memory, doors) = doors(Config { in_flight_bytes_max: 64 << 10, ..Config::default() });
    // What the first takes is there again for the second.
    for (bytes, expected) in [(1 << 20, StatusCode::TOO_MANY_REQUESTS), (50 << 10, StatusCode::OK)] {
        let body = wire::compression::zstd(lines(&[&"x".repeat(bytes)]).as_bytes()).unwrap();
        let length = body.len().to_string();
        let packed = [NDJSON, ("content-encoding", "zstd"), ("content-length", length.as_str())];
        let (status, text) = post(&doors, "/elastic/_bulk", &packed, body).await;
        assert_eq!(status, expected, "{text}");
    }
    assert_eq!(memory.writes.lock().len(), 1);
}

#[tokio::test]
async fn what_is_refused_as_a_whole_has_elasticsearchs_shape() {
    let (memory, doors) = doors(Config::default());
    let (status, text) = post(&doors, "/elastic/_bulk", &[NDJSON], "{\"create\":{}}\n{}").await;
    assert_eq!((status, &json(&text)["status"]), (StatusCode::BAD_REQUEST, &400.into()));
    assert_eq!(json(&text)["error"]["type"], "illegal_argument_exception");
    let busy = Refused::Busy { why: "full".into(), retry_after: Duration::from_secs(3) };
    *memory.refuse.lock() = Some(busy);
    let (status, text) = post(&doors, "/elastic/_bulk", &[NDJSON], lines(&["one"])).await;
    assert_eq!(status, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(json(&text)["error"]["root_cause"][0]["type"], "es_rejected_execution_exception");
}

#[tokio::test]
async fn a_document_with_an_id_is_stored_once() {
    let (memory, doors) = doors(Config::default());
    let item = |action: &str, line: &str| {
        format!("{{\"{action}\":{{\"_index\":\"i\",\"_id\":\"7\"}}}}\n{{\"message\":\"{line}\"}}\n")
    };
    let busy = Refused::Busy { why: "full".into(), retry_after: Duration::from_secs(3) };
    *memory.refuse.lock() = Some(busy);
    post(&doors, "/elastic/_bulk", &[NDJSON], item("create", "one")).await;
    *memory.refuse.lock() = None;
    for (body, expected) in [
        (item("create", "one") + &item("create", "one"), vec![201, 409]),
        (item("create", "two"), vec![409]),
        (item("index", "one"), vec![200]),
        (item("index", "two"), vec![201]),
    ] {
        let (_, text) = post(&doors, "/elastic/_bulk", &[NDJSON], body).await;
        let items = json(&text)["items"].as_array().unwrap().clone();
        let result = |item: &Value| item.as_object().unwrap().values().next().unwrap().clone();
        let statuses: Vec<_> = items.iter().map(|item| result(item)["status"].as_u64().unwrap()).collect();
        assert_eq!(statuses, expected, "{text}");
        for conflict in items.iter().map(result).filter(|item| item["status"] == 409) {
            assert_eq!(conflict["error"]["type"], "version_conflict_engine_exception");
        }
    }
    let records = |write: &Write| match &write.batch {
        Batch::Logs(batch) => batch.records(),
        _ => 0,
    };
    assert_eq!(memory.writes.lock().iter().map(records).sum::<usize>(), 2);
    assert_eq!(rejected(&doors, "duplicate_id"), 2.0);
}

async fn ask(doors: &Arc<Doors>, method: &str, path: &str) -> axum::response::Response {
    let request = Request::builder().method(method).uri(path).body(Body::from("{}")).unwrap();
    http_router(doors).oneshot(request).await.unwrap()
}

#[tokio::test]
async fn what_filebeat_asks_first_lets_it_go_on() {
    let (_, doors) = doors(Config::default());
    for (method, path, at, expected) in [
        ("GET", "/elastic", "/version/number", "8.17.0"),
        ("GET", "/elastic/", "/tagline", "You Know, for Search"),
        ("GET", "/elastic/_license?human=false", "/license/status", "active"),
        ("GET", "/elastic/_xpack?categories=license", "/license/mode", "basic"),
        ("GET", "/elastic/_ilm/policy/filebeat", "/filebeat/version", "1"),
        ("PUT", "/elastic/_ilm/policy/filebeat", "/acknowledged", "true"),
        ("GET", "/elastic/_index_template/filebeat-8", "/index_templates/0/name", "filebeat-8"),
        ("PUT", "/elastic/_index_template/filebeat-8", "/acknowledged", "true"),
        ("GET", "/elastic/_data_stream/filebeat-8", "/data_streams/0/name", "filebeat-8"),
        ("PUT", "/elastic/_ingest/pipeline/p", "/acknowledged", "true"),
        ("GET", "/elastic/_cluster/health", "/status", "green"),
        ("PUT", "/elastic/%3Clogstash-%7Bnow%2Fd%7D-000001%3E", "/acknowledged", "true"),
        ("PUT", "/elastic/%3Clogstash-%7Bnow%2Fd%7D-000001%3E", "/index", "<logstash-{now/d}-000001>"),
    ] {
        let response = ask(&doors, method, path).await;
        assert_eq!(response.status(), StatusCode::OK, "{path}");
        assert_eq!(response.headers()["x-elastic-product"], "Elasticsearch", "{path}");
        let acknowledged = at == "/acknowledged";
        assert!(
            !acknowledged || response.headers().contains_key("warning"),
            "{path}: says that it is not used"
        );
        let body = response.into_body().collect().await.unwrap().to_bytes();
        let answer = json(std::str::from_utf8(&body).unwrap());
        let found = answer.pointer(at).map(|value| value.to_string().trim_matches('"').to_owned());
        assert_eq!(found.as_deref(), Some(expected), "{path}");
    }
    let there = ["/elastic/", "/elastic/_template/filebeat", "/elastic/_index_template/filebeat-8"];
    for path in there.into_iter().chain(["/elastic/logstash"]) {
        assert_eq!(ask(&doors, "HEAD", path).await.status(), StatusCode::OK, "{path}");
    }
    assert_eq!(ask(&doors, "GET", "/elastic/_nodes").await.status(), StatusCode::NOT_FOUND);
}
