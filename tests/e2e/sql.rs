//! SQL over HTTP and on the command line: one statement joins metrics, logs and spans.

use crate::server::{Server, now_ms};
use crate::traffic::{TRACE, otlp_log, remote_write, samples, trace};
use serde_json::Value;
use std::io::Write;
use std::process::{Command, Stdio};

pub fn server_with_all_signals() -> Server {
    let server = Server::bare();
    let now = now_ms();
    assert!(trace(&server, (now - 10_000) * 1_000_000).status().is_success());
    assert!(
        otlp_log(&server, (now - 9_000) * 1_000_000, "orders", "pool exhausted", Some(TRACE))
            .status()
            .is_success()
    );
    let body = samples(&[(&[("__name__", "pool_pending"), ("service", "orders")], &[(now - 9_500, 7.0)])]);
    assert!(remote_write(&server, body).status().is_success());
    server
}

/// Which log lines belong to slow spans, and how many requests were waiting then.
pub const JOIN: &str = "select s.service, s.name, l.body, max(m.value) as waiting \
     from spans s join logs l on l.trace_id = s.trace_id and l.service = s.service \
     join metrics m on label(m.labels, 'service') = s.service and m.name = 'pool_pending' \
     where s.duration_ns > 200000000 group by s.service, s.name, l.body";

#[test]
fn one_statement_joins_metrics_logs_and_spans() {
    let server = server_with_all_signals();
    let rows = server.sql(JOIN);
    assert_eq!(rows.len(), 1, "{rows:?}");
    assert_eq!(rows[0]["service"], "orders");
    assert_eq!(rows[0]["name"], "pool.acquire");
    assert_eq!(rows[0]["body"], "pool exhausted");
    assert_eq!(rows[0]["waiting"].as_f64(), Some(7.0));
    // The same after everything is in Parquet.
    assert!(server.http.post(server.url("/api/admin/flush")).send().unwrap().status().is_success());
    assert_eq!(server.sql(JOIN), rows);
    assert_eq!(server.sql("select name from series")[0]["name"], "pool_pending");
}

/// One agent of all tells what happens on any node.
#[test]
fn a_change_is_of_the_node_that_it_happened_on() {
    let server = Server::bare();
    let text = |key: &str, value: &str| serde_json::json!({ "key": key, "value": { "stringValue": value } });
    let record = |what: &str, attributes: Value| {
        serde_json::json!({ "timeUnixNano": (now_ms() * 1_000_000).to_string(), "body": { "stringValue": what },
            "attributes": attributes })
    };
    let resource = [text("service.name", "binnacle.changes"), text("k8s.node.name", "watcher")];
    let records = [
        record("evicted", serde_json::json!([text("k8s.node.name", "n2")])),
        record("scaled", serde_json::json!([])),
    ];
    let logs = serde_json::json!({ "resourceLogs": [{ "resource": { "attributes": resource },
        "scopeLogs": [{ "logRecords": records }] }] });
    let sent = server.http.post(server.url("/otlp/v1/logs")).json(&logs).send().unwrap();
    assert!(sent.status().is_success());
    let rows = server.sql("select what, node from changes order by what");
    let found: Vec<_> = rows.iter().map(|row| (row["what"].as_str(), row["node"].as_str())).collect();
    assert_eq!(found, [(Some("evicted"), Some("n2")), (Some("scaled"), Some("watcher"))]);
}

#[test]
fn formats_parameters_and_errors() {
    let server = server_with_all_signals();
    let post = |body: Value| server.http.post(server.url("/api/sql")).json(&body).send().unwrap();
    let csv = post(
        serde_json::json!({ "query": "select name, value from metrics where value > $1", "params": [1], "format": "csv" }),
    );
    assert_eq!(csv.text().unwrap().trim(), "name,value\npool_pending,7.0");
    let arrow = post(serde_json::json!({ "query": "select 1 as one", "format": "arrow" })).bytes().unwrap();
    let batches: Vec<_> = arrow::ipc::reader::StreamReader::try_new(&arrow[..], None)
        .unwrap()
        .collect::<Result<_, _>>()
        .unwrap();
    assert_eq!(batches[0].num_rows(), 1);
    let wrong = post(serde_json::json!({ "query": "select nope from logs" }));
    assert_eq!(wrong.status(), 400);
    assert!(wrong.text().unwrap().contains("nope"));
    for forbidden in [
        "drop table logs",
        "create table x as select 1",
        "copy logs to '/tmp/binnacle-x.csv'",
        "set datafusion.execution.batch_size = 1",
    ] {
        assert_eq!(post(serde_json::json!({ "query": forbidden })).status(), 400, "{forbidden}");
    }
}

#[test]
fn the_command_line_prints_tables_json_and_csv() {
    let server = server_with_all_signals();
    let run = |arguments: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_binnacle"))
            .args(arguments)
            .args(["--server", &server.url("")])
            .output()
            .unwrap();
        (
            output.status.success(),
            String::from_utf8(output.stdout).unwrap(),
            String::from_utf8(output.stderr).unwrap(),
        )
    };
    let (good, table, _) = run(&["sql", "select body from logs"]);
    assert!(good && table.contains("pool exhausted") && table.contains("(1 row)"), "{table}");
    let (good, csv, _) = run(&["promql", "pool_pending", "--format", "csv"]);
    assert!(good && csv.contains(",7\n"), "{csv}");
    let (good, lines, _) = run(&["logql", r#"{service_name="orders"}"#]);
    assert!(good && lines.contains("pool exhausted"), "{lines}");
    let (good, traces, _) = run(&["traceql", "{ status = error }"]);
    assert!(good && traces.contains("GET /checkout"), "{traces}");
    let (good, _, wrong) = run(&["promql", "sum("]);
    assert!(!good && wrong.contains("1:"), "{wrong}");
}

#[test]
fn a_script_runs_up_to_its_first_mistake_and_points_at_it() {
    let server = server_with_all_signals();
    let mut client = Command::new(env!("CARGO_BIN_EXE_binnacle"))
        .args(["sql", "--format", "csv", "--server", &server.url("")])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let script =
        "select 1 as one; -- a comment\nselect ';' as two;\nselect\n  nope from logs;\nselect 4 as four;";
    client.stdin.take().unwrap().write_all(script.as_bytes()).unwrap();
    let output = client.wait_with_output().unwrap();
    assert!(!output.status.success());
    assert_eq!(String::from_utf8(output.stdout).unwrap(), "one\n1\ntwo\n;\n");
    let wrong = String::from_utf8(output.stderr).unwrap();
    assert!(wrong.contains("nope") && wrong.ends_with("LINE 2:   nope from logs\n          ^\n"), "{wrong}");
}
