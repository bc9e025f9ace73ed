//! Traces in by every door and out again: the streaming gRPC of Tempo beside HTTP, metrics of requests that are derived on
//! the way in, Zipkin and Jaeger.

use crate::server::{Server, eventually, now_ms};
use crate::traffic::{TRACE, trace};
use prost::Message;
use serde_json::{Value, json};
use tonic::metadata::MetadataValue;

/// Of `tempopb`, what this test reads.
#[derive(Clone, PartialEq, Message)]
struct SearchRequest {
    #[prost(uint32, tag = "4")]
    limit: u32,
    #[prost(uint32, tag = "5")]
    start: u32,
    #[prost(uint32, tag = "6")]
    end: u32,
    #[prost(string, tag = "8")]
    query: String,
}

#[derive(Clone, PartialEq, Message)]
struct SearchResponse {
    #[prost(message, repeated, tag = "1")]
    traces: Vec<Found>,
    #[prost(message, optional, tag = "2")]
    metrics: Option<Metrics>,
}

#[derive(Clone, PartialEq, Message)]
struct Found {
    #[prost(string, tag = "1")]
    trace_id: String,
    #[prost(string, tag = "2")]
    root_service_name: String,
}

#[derive(Clone, PartialEq, Message)]
struct Metrics {
    #[prost(uint32, tag = "4")]
    completed_jobs: u32,
    #[prost(uint32, tag = "5")]
    total_jobs: u32,
}

/// As Grafana dials it: host and port alone, headers as metadata.
async fn search(
    address: &str,
    request: SearchRequest,
    headers: &[(&'static str, &str)],
) -> Result<Vec<SearchResponse>, tonic::Status> {
    let channel = tonic::transport::Endpoint::from_shared(format!("http://{address}")).unwrap();
    let mut client = tonic::client::Grpc::new(channel.connect().await.unwrap());
    client.ready().await.unwrap();
    let mut request = tonic::Request::new(request);
    for (name, value) in headers {
        request.metadata_mut().insert(*name, MetadataValue::try_from(*value).unwrap());
    }
    let path = "/tempopb.StreamingQuerier/Search".parse().unwrap();
    let codec = tonic_prost::ProstCodec::<SearchRequest, SearchResponse>::default();
    let mut stream = client.server_streaming(request, path, codec).await?.into_inner();
    let mut messages = vec![];
    while let Some(message) = stream.message().await? {
        messages.push(message);
    }
    Ok(messages)
}

/// A call whose message has no fields, and of whose answer none is read.
async fn call_empty(address: &str, path: &str, token: Option<&str>) -> Result<(), tonic::Status> {
    let channel = tonic::transport::Endpoint::from_shared(format!("http://{address}")).unwrap();
    let mut client = tonic::client::Grpc::new(channel.connect().await.unwrap());
    client.ready().await.unwrap();
    let mut request = tonic::Request::new(());
    if let Some(token) = token {
        request.metadata_mut().insert("authorization", MetadataValue::try_from(token).unwrap());
    }
    client.unary(request, path.parse().unwrap(), tonic_prost::ProstCodec::<(), ()>::default()).await.map(drop)
}

#[test]
fn tempo_streams_on_the_port_of_http() {
    let folder = tempfile::tempdir().unwrap();
    let tokens = folder.path().join("tokens");
    std::fs::write(&tokens, "secret\n").unwrap();
    let arguments = ["--no-agent", "--no-alerts", "--no-web", "--token-file", tokens.to_str().unwrap()];
    let server = Server::up(&arguments).with_token("secret");
    assert!(trace(&server, (now_ms() - 30_000) * 1_000_000).status().is_success());
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let end = (now_ms() / 1_000) as u32 + 1;
    let ask = |query: &str, headers: &[(&'static str, &str)]| {
        let request = SearchRequest { query: query.into(), start: end - 900, end, limit: 20 };
        runtime.block_on(search(server.address("http"), request, headers))
    };
    let bearer = ("authorization", "Bearer secret");
    let told = ask("{ status = error }", &[bearer]).unwrap();
    let traces: Vec<&Found> = told.iter().flat_map(|message| &message.traces).collect();
    assert_eq!(traces.len(), 1, "{told:?}");
    assert_eq!((traces[0].trace_id.as_str(), traces[0].root_service_name.as_str()), (TRACE, "frontend"));
    let last = told.last().and_then(|message| message.metrics.clone()).unwrap();
    assert_eq!(last.completed_jobs, last.total_jobs);
    // Another tenant sees nothing; a wrong query, or none that may ask, has a code.
    let other = ask("{ status = error }", &[bearer, ("x-scope-orgid", "other")]).unwrap();
    assert!(other.iter().all(|message| message.traces.is_empty()), "{other:?}");
    assert_eq!(ask("{ status =", &[bearer]).unwrap_err().code(), tonic::Code::InvalidArgument);
    // Whoever has no token is told so in gRPC's words, at every door that speaks it.
    let nobody = ask("{ }", &[]).unwrap_err();
    assert_eq!(nobody.code(), tonic::Code::Unauthenticated, "{nobody:?}");
    assert!(nobody.message().contains("authorization: Bearer"), "{nobody:?}");
    for (listener, path) in [
        ("http", "/jaeger.api_v3.QueryService/GetServices"),
        ("http", "/jaeger.api_v2.QueryService/GetServices"),
        ("otlp_grpc", "/opentelemetry.proto.collector.trace.v1.TraceService/Export"),
        ("otlp_grpc", "/jaeger.api_v2.CollectorService/PostSpans"),
    ] {
        let called =
            |token: Option<&str>| runtime.block_on(call_empty(server.address(listener), path, token));
        assert_eq!(called(None).unwrap_err().code(), tonic::Code::Unauthenticated, "{path}");
        assert_eq!(called(Some("Bearer wrong")).unwrap_err().code(), tonic::Code::Unauthenticated, "{path}");
        called(Some("Bearer secret")).unwrap_or_else(|why| panic!("{path}: {why}"));
    }
    let nowhere = call_empty(server.address("http"), "/no.Such/Call", Some("Bearer secret"));
    assert_eq!(runtime.block_on(nowhere).unwrap_err().code(), tonic::Code::Unimplemented);
    assert!(server.terminate().success());
}

/// A client's span, and below it a server's in another service.
fn call(server: &Server, number: u32, failed: bool) {
    let attribute = |key: &str, text: &str| json!({ "key": key, "value": { "stringValue": text } });
    let resource = |service: &str| json!({ "attributes": [attribute("service.name", service)] });
    let start = (now_ms() - 1_000) * 1_000_000;
    let span = |id: u64, parent: u64, kind: u8, name: &str, attributes: Vec<Value>| {
        let parent = if parent == 0 { String::new() } else { format!("{parent:016x}") };
        json!({ "traceId": format!("{:032x}", 0x1000 + number), "spanId": format!("{id:016x}"), "parentSpanId": parent,
            "name": name, "kind": kind, "startTimeUnixNano": start.to_string(),
            "endTimeUnixNano": (start + 50_000_000).to_string(), "attributes": attributes,
            "status": { "code": if failed && kind == 2 { 2 } else { 0 } } })
    };
    let database = vec![attribute("db.system", "postgresql"), attribute("db.name", "stock")];
    let body = json!({ "resourceSpans": [
        { "resource": resource("shop"), "scopeSpans": [{ "spans": [
            span(1, 0, 2, "GET /", vec![]), span(2, 1, 3, "ask", vec![])] }] },
        { "resource": resource("stock"), "scopeSpans": [{ "spans": [
            span(3, 2, 2, "GET /stock", vec![]), span(4, 3, 3, "SELECT", database)] }] },
    ] });
    let sent = server.http.post(server.url("/otlp/v1/traces")).json(&body).send().unwrap();
    assert!(sent.status().is_success());
}

fn number(series: &[Value]) -> f64 {
    series.first().map_or(0.0, |one| one["value"][1].as_str().unwrap().parse().unwrap())
}

/// Row T13: the metrics are those of the spans that are stored, each once, also after a crash.
#[test]
fn metrics_of_requests_count_the_spans_that_are_stored() {
    let folder = tempfile::tempdir().unwrap();
    let bare = ["--no-agent", "--no-alerts", "--no-web"];
    let server = Server::start("up", folder.path(), &bare);
    for at in 0..20 {
        call(&server, at, at % 5 == 0);
    }
    let stored = |server: &Server, of: &str| {
        let rows = server.sql(&format!("select count(*) as n from spans c {of}"));
        rows[0]["n"].as_f64().unwrap()
    };
    let calls = "sum(traces_spanmetrics_calls_total)";
    eventually("span metrics of all spans", || (number(&server.promql(calls)) == 80.0).then_some(()));
    assert_eq!(stored(&server, ""), 80.0);
    let failing = r#"sum(traces_spanmetrics_calls_total{span_kind="SPAN_KIND_SERVER",status_code="STATUS_CODE_ERROR"})"#;
    assert_eq!(
        number(&server.promql(failing)),
        stored(&server, "where c.kind = 'server' and c.status = 'error'")
    );
    let pairs = "join spans p on c.trace_id = p.trace_id and c.parent_span_id = p.span_id \
                 where c.kind = 'server' and p.kind = 'client' and c.service = 'stock' and p.service = 'shop'";
    let edge = r#"sum(traces_service_graph_request_total{client="shop",server="stock"})"#;
    assert_eq!((number(&server.promql(edge)), stored(&server, pairs)), (20.0, 20.0));
    for (query, count) in [
        (
            r#"traces_service_graph_request_total{client="stock",server="stock",connection_type="database"}"#,
            20.0,
        ),
        (
            r#"traces_service_graph_request_total{client="user",server="shop",connection_type="virtual_node"}"#,
            20.0,
        ),
        (r#"traces_service_graph_request_failed_total{client="shop",server="stock"}"#, 4.0),
        (r#"traces_service_graph_request_server_seconds_count{client="shop"}"#, 20.0),
        (r#"traces_service_graph_request_client_seconds_bucket{client="shop",le="0.1"}"#, 20.0),
        (r#"histogram_count(traces_spanmetrics_latency{span_name="GET /"})"#, 20.0),
        (
            r#"traces_spanmetrics_latency_bucket{span_name="GET /",status_code="STATUS_CODE_UNSET",le="0.064"}"#,
            16.0,
        ),
    ] {
        let found: f64 = server.promql(query).iter().map(|one| number(std::slice::from_ref(one))).sum();
        assert_eq!(found, count, "{query}");
    }
    let exemplars = server.query(
        "/api/v1/query_exemplars",
        &[
            ("query", "traces_spanmetrics_latency_bucket"),
            ("start", &(now_ms() / 1_000 - 600).to_string()),
            ("end", &(now_ms() / 1_000 + 60).to_string()),
        ],
    );
    let id = exemplars["data"][0]["exemplars"][0]["labels"]["trace_id"].as_str().unwrap_or_default();
    assert!(id.starts_with("00000000000000000000000000001"), "{exemplars}");

    // What the log replays after a crash was counted by who wrote it.
    let folder = server.kill();
    let server = Server::start("up", &folder, &bare);
    assert_eq!(stored(&server, ""), 80.0);
    let again = r#"traces_spanmetrics_calls_total{span_name="GET /stock",status_code="STATUS_CODE_UNSET"}"#;
    assert_eq!(number(&server.promql(again)), 16.0, "what was counted is still told");
    call(&server, 100, false);
    eventually("counters that begin anew", || (number(&server.promql(again)) == 1.0).then_some(()));
    assert!(server.terminate().success());
}

#[test]
fn zipkin_and_jaeger_in_and_out() {
    let server = Server::bare();
    let us = (now_ms() - 30_000) * 1_000;
    let spans = json!([
        { "traceId": "5982fe77008310cc80f1da5e10147517", "id": "90394f6bcffb5d13", "kind": "SERVER", "name": "get /",
          "timestamp": us, "duration": 30_000, "localEndpoint": { "serviceName": "frontend" },
          "annotations": null, "remoteEndpoint": null },
        { "traceId": "5982fe77008310cc80f1da5e10147517", "parentId": "90394f6bcffb5d13", "id": "67fae42571535f60",
          "kind": "CLIENT", "name": "ask", "timestamp": us + 1_000, "duration": 20_000,
          "localEndpoint": { "serviceName": "frontend" }, "tags": { "http.method": "GET" } },
        { "traceId": "5982fe77008310cc80f1da5e10147517", "parentId": "90394f6bcffb5d13", "id": "67fae42571535f60",
          "kind": "SERVER", "shared": true, "name": "get /stock", "timestamp": us + 2_000, "duration": 18_000,
          "localEndpoint": { "serviceName": "backend" } },
    ]);
    for path in ["/zipkin/api/v2/spans", "/api/v2/spans"] {
        let only = if path.starts_with("/api") { json!([]) } else { spans.clone() };
        let sent = server.http.post(server.url(path)).json(&only).send().unwrap();
        assert_eq!(sent.status(), 202, "{path}");
    }
    assert_eq!(server.json("/api/v2/services"), json!(["backend", "frontend"]));
    let trace = server.json("/zipkin/api/v2/trace/5982fe77008310cc80f1da5e10147517");
    assert_eq!(trace[2]["shared"], true);
    for field in
        ["traceId", "id", "parentId", "kind", "name", "timestamp", "duration", "localEndpoint", "tags"]
    {
        for at in 0..3 {
            assert_eq!(trace[at][field], spans[at][field], "{field} of {at}");
        }
    }
    let end = (now_ms() + 1_000).to_string();
    let links = server.query("/zipkin/api/v2/dependencies", &[("endTs", &end)]);
    assert_eq!(links, json!([{ "parent": "frontend", "child": "backend", "callCount": 1 }]));
    // The same trace to Jaeger's and Tempo's clients.
    let jaeger = server.json("/jaeger/api/traces/5982fe77008310cc80f1da5e10147517");
    let spans = jaeger["data"][0]["spans"].as_array().unwrap();
    let ids: std::collections::BTreeSet<&str> =
        spans.iter().map(|span| span["spanID"].as_str().unwrap()).collect();
    assert_eq!((spans.len(), ids.len()), (3, 3), "the server has an id of its own: {jaeger}");
    assert_eq!(server.json("/zipkin/config.json")["searchEnabled"], true);
    assert_eq!(server.json("/zipkin/health")["status"], "UP");
    let wrong = server.http.post(server.url("/api/v2/spans")).body("{}").send().unwrap();
    assert_eq!(wrong.status(), 400);
    // A Batch without its process, in Thrift's binary protocol.
    let thrift =
        || server.http.post(server.url("/api/traces")).header("Content-Type", "application/x-thrift");
    assert_eq!(thrift().body(vec![0]).send().unwrap().status(), 400);
    let mut batch = vec![12, 0, 1, 11, 0, 1, 0, 0, 0, 4];
    batch.extend(b"cart\0\x0f\0\x02\x0c\0\0\0\x01");
    for (number, value) in [(1u8, 7i64), (2, 0), (3, 9), (8, us), (9, 5)] {
        batch.extend([10, 0, number]);
        batch.extend(value.to_be_bytes());
    }
    batch.extend([11, 0, 5, 0, 0, 0, 3]);
    batch.extend(b"put\0\0");
    assert_eq!(thrift().body(batch).send().unwrap().status(), 202);
    assert_eq!(server.json("/jaeger/api/services")["data"], json!(["backend", "cart", "frontend"]));
    let cart = server.json("/jaeger/api/traces/7");
    assert_eq!(cart["data"][0]["spans"][0]["operationName"], "put");
}
