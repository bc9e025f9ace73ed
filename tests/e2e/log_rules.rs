//! Rules over logs set by the ruler's API, and lines deleted by the compactor's: from the outside, through a restart.

use crate::alerting::receiver;
use crate::server::{Server, eventually, now_ms};
use serde_json::{Value, json};

fn push(server: &Server, labels: Value, lines: &[String]) -> (u16, String) {
    let now = now_ms();
    let values: Vec<Value> = lines
        .iter()
        .enumerate()
        .map(|(n, line)| json!([((now - 5_000) * 1_000_000 + n as i64).to_string(), line]))
        .collect();
    let body = json!({ "streams": [{ "stream": labels, "values": values }] });
    let response = server.http.post(server.url("/loki/api/v1/push")).json(&body).send().unwrap();
    (response.status().as_u16(), response.text().unwrap())
}

fn send(server: &Server, method: &str, path: &str, body: &str) -> (u16, String) {
    let method = reqwest::Method::from_bytes(method.as_bytes()).unwrap();
    let response = server.http.request(method, server.url(path)).body(body.to_owned()).send().unwrap();
    (response.status().as_u16(), response.text().unwrap())
}

const GROUP: &str = "name: errors\ninterval: 1s\nrules:\n- record: shop:errors:count\n  expr: sum(count_over_time({app=\"shop\"} |= \"error\" [1h]))\n\
    - alert: TooManyErrors\n  expr: sum by (app) (count_over_time({app=\"shop\"} |= \"error\" [1h])) > 2\n  annotations: { summary: '{{ $labels.app }}: {{ $value }}' }\n";

#[test]
fn rules_over_logs_come_by_api_and_stay_through_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let (hook, notifications) = receiver();
    let flags = ["--no-agent", "--no-web", "--webhook", &hook];
    let server = Server::start("up", dir.path(), &flags);
    let errors: Vec<String> = (0..3).map(|n| format!("error {n}")).collect();
    assert_eq!(push(&server, json!({ "app": "shop" }), &errors).0, 204);
    let (status, why) = send(&server, "POST", "/loki/api/v1/rules/shop", &GROUP.replace("[1h]", ""));
    assert_eq!(status, 400);
    assert!(why.contains("5:9: rules[0].expr: parse error at line 1, col"), "{why}");
    let (status, why) = send(&server, "GET", "/loki/api/v1/rules", "");
    assert_eq!((status, why.as_str()), (404, "no rule groups found\n"));
    assert_eq!(send(&server, "POST", "/loki/api/v1/rules/shop", GROUP).0, 202);
    let told = eventually("the firing notification", || notifications.try_recv().ok());
    assert_eq!(told["alerts"][0]["annotations"]["summary"], "shop: 3", "{told}");
    let recorded =
        || server.promql("shop:errors:count").first().filter(|row| row["value"][1] == "3").cloned();
    eventually("the recorded metric", recorded);
    server.terminate();

    let server = Server::start("up", dir.path(), &flags);
    let (status, list) = send(&server, "GET", "/api/prom/rules", "");
    assert!(status == 200 && list.starts_with("shop:\n") && list.contains("TooManyErrors"), "{list}");
    let (_, group) = send(&server, "GET", "/api/prom/rules/shop/errors", "");
    assert!(group.starts_with("name: errors\n"), "{group}");
    let rules = server.json("/prometheus/api/v1/rules");
    assert_eq!(rules["data"]["groups"][0]["file"], "shop", "{rules}");
    assert_eq!(send(&server, "DELETE", "/loki/api/v1/rules/shop/errors", "").0, 202);
    let (status, why) = send(&server, "DELETE", "/loki/api/v1/rules/shop", "");
    assert_eq!((status, why.as_str()), (404, "group namespace does not exist\n"));
    let told = eventually("the resolved notification", || notifications.try_recv().ok());
    assert_eq!(told["status"], "resolved", "{told}");
    // The other ruler's: PromQL, and an empty list is none.
    assert_eq!(send(&server, "GET", "/config/v1/rules", ""), (200, "{}\n".into()));
    let ours = "name: up\nrules:\n- record: one\n  expr: vector(1)\n";
    assert_eq!(send(&server, "POST", "/prometheus/config/v1/rules/a%2Fb", ours).0, 202);
    let (_, list) = send(&server, "GET", "/config/v1/rules/a%2Fb", "");
    assert!(list.starts_with("a/b:\n"), "{list}");
}

#[test]
fn deleted_lines_are_gone_through_kill_and_compaction() {
    let dir = tempfile::tempdir().unwrap();
    let flags = ["--no-agent", "--no-web", "--no-alerts", "--delete-request-cancel-period", "0s"];
    let server = Server::start("up", dir.path(), &flags);
    let lines: Vec<String> = (0..10).map(|n| format!("user {n} card {}", n % 2)).collect();
    assert_eq!(push(&server, json!({ "app": "pay" }), &lines).0, 204);
    let query = "%7Bapp%3D%22pay%22%7D%20%7C%3D%20%22card%201%22";
    let path = format!("/loki/api/v1/delete?query={query}&start={}", now_ms() / 1_000 - 60);
    assert_eq!(send(&server, "POST", &path, ""), (204, String::new()));
    let count = |server: &Server| server.sql("select count(*) as n from logs")[0]["n"].as_i64();
    assert_eq!(count(&server), Some(5));
    server.kill();
    let server = Server::start("up", dir.path(), &flags);
    assert_eq!(count(&server), Some(5));
    assert_eq!(send(&server, "POST", "/api/admin/compact", "").0, 200);
    let listed = server.json("/loki/api/v1/delete");
    assert_eq!(listed[0]["status"], "processed", "{listed}");
    assert_eq!(count(&server), Some(5));
}

#[test]
fn lines_past_a_limit_are_told_in_lokis_words_and_the_others_kept() {
    let flags = ["--no-agent", "--no-web", "--no-alerts"];
    let limits = ["--max-line-size", "100", "--reject-old-samples-max-age", "1h"];
    let labels = ["--max-label-name-length", "12", "--per-stream-rate-limit", "1KB"];
    let server = Server::up(&[&flags[..], &limits[..], &labels[..]].concat());
    let (status, why) = push(&server, json!({ "app": "a" }), &["kept".into(), "x".repeat(101)]);
    let expected = "max entry size '100' bytes exceeded for stream '{app=\"a\", service_name=\"a\"}' while adding an entry with length \
                    '101' bytes\n";
    assert_eq!((status, why.as_str()), (400, expected));
    let old = json!({ "streams": [{ "stream": { "app": "a" }, "values": [["1600000000000000000", "old"],
        ["1600000000000000001", "old"], [(now_ms() * 1_000_000).to_string(), "new"]] }] });
    let response = server.http.post(server.url("/loki/api/v1/push")).json(&old).send().unwrap();
    let (status, why) = (response.status().as_u16(), response.text().unwrap());
    let begin = "2 errors like: entry for stream '{app=\"a\", service_name=\"a\"}' has timestamp too old: 2020-09-13T12:26:40Z, oldest \
                 acceptable timestamp is: 20";
    assert!(status == 400 && why.starts_with(begin), "{status} {why}");
    let (status, why) = push(&server, json!({ "much_too_long": "a" }), &["lost".into()]);
    assert_eq!(status, 400);
    assert!(why.contains("has label name too long: 'much_too_long'"), "{why}");
    let much: Vec<String> = (0..60).map(|n| format!("{n:0>100}")).collect();
    let (status, why) = push(&server, json!({ "app": "fast" }), &much);
    assert_eq!(status, 429, "{why}");
    assert!(why.contains("Per stream rate limit exceeded (limit: 1KB/sec)"), "{why}");
    let empty =
        server.http.post(server.url("/loki/api/v1/push")).json(&json!({ "streams": [] })).send().unwrap();
    assert_eq!(empty.status(), 422);
    assert_eq!(server.sql("select count(*) as n from logs")[0]["n"], 2);
    let metrics = server.get("/metrics").text().unwrap();
    for reason in
        ["line_too_long", "greater_than_max_sample_age", "label_name_too_long", "per_stream_rate_limit"]
    {
        assert!(metrics.contains(&format!("reason=\"{reason}\"")), "{reason}");
    }
    let rated = Server::up(&[&flags[..], &["--ingestion-rate-mb", "0.001"][..]].concat());
    let (status, why) = push(&rated, json!({ "app": "fast" }), &much);
    assert_eq!(status, 429);
    let begin = "ingestion rate limit exceeded for user default (limit: 1048 bytes/sec) while attempting to ingest \
                 '60' lines totaling '6000' bytes";
    assert!(why.starts_with(begin), "{why}");
}
