//! What the tests send: small, known batches of each signal.

use crate::server::Server;
use model::{Labels, MetricBatch};
use serde_json::{Value, json};

/// Labels, and samples as time and value.
pub type Series<'a> = (&'a [(&'a str, &'a str)], &'a [(i64, f64)]);

pub fn samples(series: &[Series<'_>]) -> Vec<u8> {
    let mut batch = MetricBatch::default();
    for (labels, samples) in series {
        batch.begin_labels(&Labels::from_pairs(labels.iter().copied()));
        for (ts_ms, value) in *samples {
            batch.push(*ts_ms, *value);
        }
    }
    wire::remote_write::encode(&batch)
}

/// The sum of one of a server's own metrics over its labels; 0 where it has none.
pub fn reading(server: &Server, name: &str) -> f64 {
    let text = server.get("/metrics").text().unwrap();
    let lines =
        text.lines().filter(|line| line.strip_prefix(name).is_some_and(|rest| rest.starts_with([' ', '{'])));
    lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
}

pub fn remote_write(server: &Server, body: Vec<u8>) -> reqwest::blocking::Response {
    server
        .http
        .post(server.url("/api/v1/write"))
        .header("Content-Type", "application/x-protobuf")
        .header("Content-Encoding", "snappy")
        .header("X-Prometheus-Remote-Write-Version", "0.1.0")
        .body(body)
        .send()
        .unwrap()
}

pub fn loki_push(server: &Server, labels: Value, lines: &[(i64, &str)]) -> reqwest::blocking::Response {
    let values: Vec<Value> = lines.iter().map(|(ns, line)| json!([ns.to_string(), line])).collect();
    let body = json!({ "streams": [{ "stream": labels, "values": values }] });
    server.http.post(server.url("/loki/api/v1/push")).json(&body).send().unwrap()
}

pub const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";

/// A trace of two services: `frontend` calls `orders`, whose pool makes it wait; with one log line of the same trace.
pub fn trace(server: &Server, start_ns: i64) -> reqwest::blocking::Response {
    let attribute = |key: &str, value: Value| json!({ "key": key, "value": value });
    let resource = |service: &str| json!({ "attributes": [attribute("service.name", json!({ "stringValue": service }))] });
    let body = json!({ "resourceSpans": [
        { "resource": resource("frontend"), "scopeSpans": [{ "scope": { "name": "test" }, "spans": [{
            "traceId": TRACE, "spanId": "00f067aa0ba902b7", "name": "GET /checkout", "kind": 2,
            "startTimeUnixNano": start_ns.to_string(), "endTimeUnixNano": (start_ns + 400_000_000).to_string(),
            "attributes": [attribute("http.response.status_code", json!({ "intValue": "500" }))],
            "status": { "code": 2, "message": "boom" } }] }] },
        { "resource": resource("orders"), "scopeSpans": [{ "scope": { "name": "test" }, "spans": [{
            "traceId": TRACE, "spanId": "b7ad6b7169203331", "parentSpanId": "00f067aa0ba902b7", "name": "pool.acquire",
            "kind": 1, "startTimeUnixNano": (start_ns + 1_000_000).to_string(),
            "endTimeUnixNano": (start_ns + 301_000_000).to_string(),
            "attributes": [attribute("db.client.connection.pool.name", json!({ "stringValue": "orders-db" }))] }] }] }
    ] });
    server.http.post(server.url("/otlp/v1/traces")).json(&body).send().unwrap()
}

pub fn otlp_log(
    server: &Server,
    ts_ns: i64,
    service: &str,
    body: &str,
    trace: Option<&str>,
) -> reqwest::blocking::Response {
    let mut record = json!({ "timeUnixNano": ts_ns.to_string(), "severityNumber": 17, "severityText": "ERROR",
        "body": { "stringValue": body }, "attributes": [{ "key": "customer", "value": { "stringValue": "c-42" } }] });
    if let Some(trace) = trace {
        record["traceId"] = json!(trace);
        record["spanId"] = json!("b7ad6b7169203331");
    }
    let body = json!({ "resourceLogs": [{ "resource": { "attributes": [{ "key": "service.name", "value": { "stringValue": service } }] },
        "scopeLogs": [{ "logRecords": [record] }] }] });
    server.http.post(server.url("/otlp/v1/logs")).json(&body).send().unwrap()
}
