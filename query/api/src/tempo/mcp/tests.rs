//! Row T12: an assistant finds Tempo's tools and resources, and calls them.

use super::*;
use crate::tempo::tests::{TRACE, World};
use axum::body::{Body, to_bytes};
use axum::http::Request;
use tower::ServiceExt;

async fn post(world: &World, body: &Value, headers: &[(&str, &str)]) -> (StatusCode, Value) {
    let mut request = Request::post("/tempo/api/mcp")
        .header("content-type", "application/json")
        .header("accept", "application/json, text/event-stream");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(Body::from(body.to_string())).unwrap();
    let response = world.router.clone().oneshot(request).await.unwrap();
    let status = response.status();
    let body = to_bytes(response.into_body(), 1 << 20).await.unwrap();
    (status, serde_json::from_slice(&body).unwrap_or(Value::Null))
}

async fn ask(world: &World, method: &str, params: Value) -> Value {
    let message = json!({ "jsonrpc": "2.0", "id": 7, "method": method, "params": params });
    let (status, answer) = post(world, &message, &[]).await;
    assert_eq!(status, StatusCode::OK, "{method}");
    assert_eq!((&answer["jsonrpc"], &answer["id"]), (&json!("2.0"), &json!(7)), "{method}");
    answer
}

/// The text of a tool's answer, and whether it says that it went wrong.
async fn tool(world: &World, name: &str, arguments: Value) -> (String, bool) {
    let answer = ask(world, "tools/call", json!({ "name": name, "arguments": arguments })).await;
    let result = &answer["result"];
    let text = result["content"][0]["text"].as_str().unwrap_or_else(|| panic!("{answer}"));
    (text.to_owned(), result["isError"].as_bool().unwrap())
}

#[tokio::test]
async fn an_assistant_begins_and_finds_the_tools() {
    let world = World::new().await;
    let begun =
        ask(&world, "initialize", json!({ "protocolVersion": "2025-06-18", "capabilities": {} })).await;
    assert_eq!(begun["result"]["protocolVersion"], "2025-06-18");
    let newer = ask(&world, "initialize", json!({ "protocolVersion": "2999-01-01" })).await;
    assert_eq!(newer["result"]["protocolVersion"], VERSIONS[0]);
    let note = json!({ "jsonrpc": "2.0", "method": "notifications/initialized" });
    assert_eq!(post(&world, &note, &[]).await, (StatusCode::ACCEPTED, Value::Null));

    let told = ask(&world, "tools/list", json!({})).await;
    let tools = told["result"]["tools"].as_array().unwrap();
    let mut names: Vec<&str> = tools.iter().map(|tool| tool["name"].as_str().unwrap()).collect();
    names.sort_unstable();
    assert_eq!(
        names,
        [
            "docs-config",
            "docs-traceql",
            "get-attribute-names",
            "get-attribute-values",
            "get-trace",
            "trace-diff",
            "traceql-metrics-instant",
            "traceql-metrics-range",
            "traceql-search",
        ]
    );
    for tool in tools {
        assert_eq!(tool["annotations"]["readOnlyHint"], true, "{tool}");
        assert_eq!(tool["annotations"]["destructiveHint"], false, "{tool}");
        assert_eq!(tool["annotations"]["openWorldHint"], false, "{tool}");
        assert_eq!(tool["inputSchema"]["type"], "object", "{tool}");
    }
}

#[tokio::test]
async fn the_tools_answer_as_the_doors_do() {
    let world = World::new().await;
    for (name, arguments, says) in [
        ("traceql-search", json!({ "query": "{ status = error }" }), TRACE),
        ("traceql-metrics-instant", json!({ "query": "{ } | count_over_time()" }), r#""value":2.0"#),
        ("traceql-metrics-range", json!({ "query": "{ } | rate()" }), "samples"),
        ("get-trace", json!({ "trace_id": TRACE }), TRACE),
        (
            "trace-diff",
            json!({ "base_trace_id": TRACE, "compare_trace_id": TRACE }),
            "trace-summary-v0-composed",
        ),
        ("get-attribute-names", json!({ "scope": "span" }), "pool.name"),
        ("get-attribute-values", json!({ "name": "span.pool.name", "filter-query": "{" }), "orders-db"),
        ("docs-traceql", json!({ "name": "structural" }), "&>>"),
        ("docs-config", json!({ "name": "reference" }), "--help"),
    ] {
        let (text, wrong) = tool(&world, name, arguments).await;
        assert!(!wrong && text.contains(says), "{name}: {text}");
    }
    for (name, arguments, says) in [
        ("traceql-search", json!({ "query": "{ status =" }), "1"),
        ("traceql-search", json!({ "query": "{ } | rate()" }), "metrics"),
        ("traceql-search", json!({}), "\"query\" is missing"),
        ("traceql-search", json!({ "query": "{}", "since": "1h" }), "takes query, start, end"),
        ("get-trace", json!({ "trace_id": "ff" }), "not found"),
        ("trace-diff", json!({ "base_trace_id": TRACE, "compare_trace_id": TRACE, "format": "" }), "empty"),
        (
            "trace-diff",
            json!({ "base_trace_id": TRACE, "compare_trace_id": TRACE, "base_end": "2026-01-02T15:04:05Z" }),
            "go together",
        ),
        ("docs-traceql", json!({ "name": "nothing" }), "basic"),
    ] {
        let (text, wrong) = tool(&world, name, arguments).await;
        assert!(wrong && text.contains(says), "{name}: {text}");
    }
    let other = json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call",
        "params": { "name": "get-trace", "arguments": { "trace_id": TRACE } } });
    let (_, answer) = post(&world, &other, &[("x-scope-orgid", "other")]).await;
    assert_eq!(answer["result"]["isError"], true, "{answer}");
}

#[tokio::test]
async fn what_is_no_call_is_refused() {
    let world = World::new().await;
    assert_eq!(ask(&world, "tools/call", json!({ "name": "drop" })).await["error"]["code"], INVALID_PARAMS);
    assert_eq!(ask(&world, "prompts/list", json!({})).await["error"]["code"], NO_METHOD);
    assert_eq!(
        ask(&world, "resources/read", json!({ "uri": "docs://x" })).await["error"]["code"],
        NO_RESOURCE
    );
    let (_, answer) = post(&world, &json!({ "id": 1 }), &[]).await;
    assert_eq!(answer["error"]["code"], INVALID_REQUEST);
    let ping = json!({ "jsonrpc": "2.0", "id": "a", "method": "ping" });
    let (_, answer) = post(&world, &json!([ping, ping]), &[]).await;
    assert_eq!(answer.as_array().map(Vec::len), Some(2));
    let (status, _) = post(&world, &json!(vec![ping.clone(); BATCH_MAX + 1]), &[]).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    let here = [("host", "a:7400"), ("origin", "http://a:7400")];
    assert_eq!(post(&world, &ping, &here).await.0, StatusCode::OK);
    let elsewhere = [("host", "a:7400"), ("origin", "http://evil.example")];
    assert_eq!(post(&world, &ping, &elsewhere).await.0, StatusCode::FORBIDDEN);
}

/// What is told to be TraceQL is.
#[tokio::test]
async fn the_pages_are_read_and_their_queries_parse() {
    let world = World::new().await;
    let told = ask(&world, "resources/list", json!({})).await;
    let resources = told["result"]["resources"].as_array().unwrap();
    assert_eq!(resources.len(), 6);
    let mut queries = 0;
    for resource in resources {
        let read = ask(&world, "resources/read", json!({ "uri": resource["uri"] })).await;
        let text = read["result"]["contents"][0]["text"].as_str().unwrap();
        for query in text.lines().filter_map(|line| line.strip_prefix("    ")) {
            traceql::parse(query).unwrap_or_else(|why| panic!("{query}: {why}"));
            queries += 1;
        }
    }
    assert!(queries > 15, "{queries}");
}
