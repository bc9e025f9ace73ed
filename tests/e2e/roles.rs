//! The roles as processes of their own, speaking over the network.

use crate::server::{Server, eventually, now_ms};
use crate::traffic::{loki_push, remote_write, samples, trace};

#[test]
fn ingest_query_alerts_and_agent_apart() {
    let dir = tempfile::tempdir().unwrap();
    let folder = |name: &str| {
        let path = dir.path().join(name);
        std::fs::create_dir(&path).unwrap();
        path
    };
    let ingest = Server::start("ingest", &folder("ingest"), &[]);
    let query = Server::start("query", &folder("query"), &["--ingest", &ingest.url("")]);
    let rules = dir.path().join("rules.yaml");
    std::fs::write(
        &rules,
        "groups:\n- name: g\n  interval: 1s\n  rules:\n  - record: apart:sum\n    expr: sum(apart)\n",
    )
    .unwrap();
    let alerts = Server::start(
        "alerts",
        &folder("alerts"),
        &["--query", &query.url(""), "--ingest", &ingest.url(""), "--rules", rules.to_str().unwrap()],
    );
    let agent = Server::start("agent", &folder("agent"), &["--ingest", &ingest.url("")]);

    let now = now_ms();
    assert!(
        remote_write(&ingest, samples(&[(&[("__name__", "apart")], &[(now, 5.0)])])).status().is_success()
    );
    assert!(
        loki_push(&ingest, serde_json::json!({ "app": "apart" }), &[(now * 1_000_000, "a line")])
            .status()
            .is_success()
    );
    assert!(trace(&ingest, now * 1_000_000).status().is_success());
    assert_eq!(query.promql("apart")[0]["value"][1], "5");
    assert_eq!(query.sql("select body from logs")[0]["body"], "a line");
    assert_eq!(query.sql("select count(*) as n from spans")[0]["n"], 2);
    eventually("a recorded series, by way of three processes", || query.promql("apart:sum").first().cloned());
    assert_eq!(alerts.json("/api/v1/rules")["status"], "success");
    eventually("this machine's metrics from the agent", || query.promql("node_load1").first().cloned());
    for server in [&ingest, &query, &alerts, &agent] {
        assert!(server.get("/health/ready").status().is_success());
        assert!(server.get("/metrics").text().unwrap().contains("binnacle_build_info"));
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
