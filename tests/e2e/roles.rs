//! The roles as processes of their own, speaking over the network.

use crate::server::{Server, eventually, now_ms};
use crate::traffic::{loki_push, remote_write, samples, trace};

#[test]
fn ingest_query_alerts_and_agent_apart_with_tokens() {
    let dir = tempfile::tempdir().unwrap();
    let folder = |name: &str| {
        let path = dir.path().join(name);
        std::fs::create_dir(&path).unwrap();
        path
    };
    let write = |name: &str, text: &str| {
        let path = dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let rules = write(
        "rules.yaml",
        "groups:\n- name: g\n  interval: 1s\n  rules:\n  - record: apart:sum\n    expr: sum(apart)\n  \
         - record: apart:native\n    expr: sum(native)\n  - alert: Apart\n    expr: apart:sum > 1\n",
    );
    // Each door has its own; the agent's is wrong at first, and put right while it runs.
    let (tokens, token) = (write("tokens", "door\n"), write("token", "door\n"));
    let agents_token = write("agents-token", "old\n");
    let logs = write("app.log", "a line of a file\n");
    let (hook, notifications) = crate::alerting::receiver();

    let asked = ["--token-file", tokens.as_str(), "--web.enable-admin-api"];
    let ingest = Server::start("ingest", &folder("ingest"), &asked).with_token("door");
    let url = ingest.url("");
    let shown = ["--ingest", url.as_str(), "--ingest-token-file", token.as_str()];
    let query =
        Server::start("query", &folder("query"), &[&asked[..], &shown[..]].concat()).with_token("door");
    let query_url = query.url("");
    let alerting = ["--query", query_url.as_str(), "--rules", rules.as_str(), "--webhook", hook.as_str()];
    let alerts =
        Server::start("alerts", &folder("alerts"), &[&asked[..2], &shown[..], &alerting[..]].concat())
            .with_token("door");
    let agent = [
        "--ingest",
        url.as_str(),
        "--ingest-token-file",
        agents_token.as_str(),
        "--log-files",
        logs.as_str(),
        "--collect-interval",
        "1s",
    ];
    let agent = Server::start("agent", &folder("agent"), &agent);
    eventually("an attempt with the wrong token", || {
        (crate::traffic::reading(&agent, "binnacle_agent_send_failures_total") >= 1.0).then_some(())
    });
    std::fs::write(&agents_token, "door\n").unwrap();

    let now = now_ms();
    assert!(
        remote_write(&ingest, samples(&[(&[("__name__", "apart")], &[(now, 5.0)])])).status().is_success()
    );
    assert!(
        loki_push(&ingest, serde_json::json!({ "app": "apart" }), &[(now * 1_000_000, "a line")])
            .status()
            .is_success()
    );
    // By way of the agent, which keeps it and gives it its own attributes.
    assert!(trace(&agent, now * 1_000_000).status().is_success());
    assert_eq!(query.promql("apart")[0]["value"][1], "5");
    assert_eq!(query.sql("select body from logs where body = 'a line'").len(), 1);
    eventually("the trace", || (query.sql("select count(*) as n from spans")[0]["n"] == 2).then_some(()));
    let host = query.sql("select distinct attr(resource, 'host.name') as host from spans");
    assert!(host.len() == 1 && !host[0]["host"].as_str().unwrap_or("").is_empty(), "{host:?}");
    eventually("the file's line", || {
        query.sql("select body from logs where body = 'a line of a file'").first().cloned()
    });
    eventually("a recorded series, by way of three processes", || query.promql("apart:sum").first().cloned());
    let firing = eventually("the notification", || notifications.try_recv().ok());
    assert_eq!(firing["alerts"][0]["labels"]["alertname"], "Apart", "{firing}");
    eventually("the alert's own series", || query.promql("ALERTS{alertstate=\"firing\"}").first().cloned());
    let point = serde_json::json!({ "timeUnixNano": (now * 1_000_000).to_string(), "count": "3", "sum": 4.5, "scale": 0,
        "positive": { "offset": 0, "bucketCounts": ["1", "2"] } });
    let native = serde_json::json!({ "resourceMetrics": [{ "scopeMetrics": [{ "metrics": [{ "name": "native",
        "exponentialHistogram": { "aggregationTemporality": 2, "dataPoints": [point] } }] }] }] });
    let written = ingest.http.post(ingest.url("/otlp/v1/metrics")).json(&native).send().unwrap();
    assert!(written.status().is_success());
    let recorded = eventually("a recorded histogram", || query.promql("apart:native").first().cloned());
    let buckets = serde_json::json!([[0, "1", "2", "1"], [0, "2", "4", "2"]]);
    assert_eq!(
        (&recorded["histogram"][1]["sum"], &recorded["histogram"][1]["buckets"]),
        (&"4.5".into(), &buckets)
    );
    let delete = "/api/v1/admin/tsdb/delete_series?match[]=native";
    let deleted = query.http.post(query.url(delete)).send().unwrap();
    assert_eq!(deleted.status(), 204, "by way of the query process");
    assert!(query.promql("native").is_empty());
    assert_eq!(alerts.json("/api/v1/rules")["status"], "success");
    assert_eq!(query.json("/api/v1/rules")["data"]["groups"], serde_json::json!([]), "as one without rules");
    eventually("this machine's metrics from the agent", || query.promql("node_load1").first().cloned());
    for server in [&ingest, &query, &alerts, &agent] {
        assert!(server.get("/health/ready").status().is_success());
        assert!(server.get("/metrics").text().unwrap().contains("binnacle_build_info"));
    }
    let stranger = reqwest::blocking::get(query.url("/api/v1/query?query=apart")).unwrap();
    assert_eq!(stranger.status(), 401);
}

#[test]
fn one_trace_shows_a_query_in_both_processes_that_answer_it() {
    const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
    const CALLER: &str = "b7ad6b7169203331";
    let dir = tempfile::tempdir().unwrap();
    let folder = |name: &str| {
        let path = dir.path().join(name);
        std::fs::create_dir(&path).unwrap();
        path
    };
    let ingest = Server::start("ingest", &folder("ingest"), &["--self-telemetry", "self"]);
    let (url, otlp) = (ingest.url(""), format!("http://{}", ingest.address("otlp_grpc")));
    let query = Server::start(
        "query",
        &folder("query"),
        &["--ingest", url.as_str(), "--self-telemetry", otlp.as_str()],
    );
    let asked = query.http.get(query.url("/api/v1/labels"));
    let asked = asked.header("traceparent", format!("00-{TRACE}-{CALLER}-01")).send().unwrap();
    assert!(asked.status().is_success());
    let parents = eventually("the spans of both", || {
        let rows = query.sql(&format!(
            "select name, span_id, parent_span_id from spans where service = 'binnacle' and trace_id = '{TRACE}'"
        ));
        let of = |name: &str, key: &str| {
            rows.iter().find(|row| row["name"] == name).map(|row| row[key].as_str().unwrap_or("").to_owned())
        };
        Some([
            (of("GET /api/v1/labels", "parent_span_id")?, CALLER.to_owned()),
            (of("POST /api/peer/snapshots", "parent_span_id")?, of("GET /api/v1/labels", "span_id")?),
            (of("POST /api/peer/snapshots/{id}", "parent_span_id")?, of("GET /api/v1/labels", "span_id")?),
            (of("DELETE /api/peer/snapshots/{id}", "parent_span_id")?, of("GET /api/v1/labels", "span_id")?),
        ])
    });
    for (is, should_be) in parents {
        assert_eq!(is, should_be);
    }
}

#[test]
fn the_agent_loses_nothing_while_ingest_is_down() {
    let dir = tempfile::tempdir().unwrap();
    let (agent_dir, ingest_dir) = (dir.path().join("agent"), dir.path().join("ingest"));
    std::fs::create_dir(&agent_dir).unwrap();
    std::fs::create_dir(&ingest_dir).unwrap();
    let logs = dir.path().join("app.log");
    std::fs::write(&logs, "one\n").unwrap();
    let port = crate::server::free_port();
    let url = format!("http://127.0.0.1:{port}");
    let flags = ["--ingest", url.as_str(), "--log-files", logs.to_str().unwrap()];
    // Down from the start; the agent is killed in between, too.
    let agent = Server::start("agent", &agent_dir, &flags);
    eventually("the first line in the agent's queue", || {
        let text = agent.get("/metrics").text().ok()?;
        let queued = text.lines().find(|line| line.starts_with("binnacle_agent_queue_bytes"))?;
        (queued.rsplit(' ').next()?.parse::<f64>().ok()? > 0.0).then_some(())
    });
    agent.kill();
    std::fs::write(&logs, "one\ntwo\n").unwrap();
    let _agent = Server::start("agent", &agent_dir, &flags);
    let ingest = Server::start("ingest", &ingest_dir, &["--http", &format!("127.0.0.1:{port}")]);
    let query_dir = dir.path().join("query");
    std::fs::create_dir(&query_dir).unwrap();
    let query = Server::start("query", &query_dir, &["--ingest", &ingest.url("")]);
    for line in ["one", "two"] {
        eventually(line, || {
            query.sql(&format!("select body from logs where body = '{line}'")).first().cloned()
        });
    }
    let counts = query.sql("select body, count(*) as n from logs where body in ('one', 'two') group by body");
    assert!(counts.iter().all(|row| row["n"] == 1), "{counts:?}");
}
