//! Jaeger's own tests of what stores traces: each of their searches finds the traces that they say.

use crate::server::{Server, http_client};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

fn fixtures() -> PathBuf {
    let shared = std::env::var_os("BINNACLE_SHARED").map(PathBuf::from);
    let shared = shared.unwrap_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared"));
    shared.join("suites/data/traces/jaeger_fixtures")
}

fn read(path: PathBuf) -> Value {
    let text = std::fs::read_to_string(&path).unwrap_or_else(|why| panic!("{}: {why}", path.display()));
    serde_json::from_str(&text).unwrap_or_else(|why| panic!("{}: {why}", path.display()))
}

fn micros(time: &Value) -> String {
    let time = chrono::DateTime::parse_from_rfc3339(time.as_str().unwrap()).unwrap();
    time.timestamp_micros().to_string()
}

/// The search as its HTTP call.
fn parameters(query: &Value) -> Vec<(&'static str, String)> {
    let text = |name: &str| query[name].as_str().unwrap_or_default().to_owned();
    let mut asked = vec![
        ("service", text("ServiceName")),
        ("operation", text("OperationName")),
        ("start", micros(&query["StartTimeMin"])),
        ("end", micros(&query["StartTimeMax"])),
        ("limit", query["NumTraces"].to_string()),
    ];
    for (name, from) in [("minDuration", "DurationMin"), ("maxDuration", "DurationMax")] {
        if query[from].as_i64().is_some_and(|ns| ns > 0) {
            asked.push((name, format!("{}ns", query[from])));
        }
    }
    if let Some(tags) = query["Tags"].as_object() {
        let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        let tags: BTreeMap<&String, String> = tags.iter().map(|(name, value)| (name, text(value))).collect();
        asked.push(("tags", serde_json::to_string(&tags).unwrap()));
    }
    asked
}

#[test]
fn jaegers_storage_tests() {
    let folder = fixtures().join("internal/storage/integration/fixtures");
    // Their traces are of 2017.
    let server = Server::up(&["--no-agent", "--no-alerts", "--no-web", "--retention-traces", "5000w"]);
    let mut known: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for file in std::fs::read_dir(folder.join("traces")).unwrap() {
        let path = file.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        let trace = read(path);
        let spans = trace["resourceSpans"].as_array().unwrap().iter().flat_map(|resource| {
            let scopes = resource["scopeSpans"].as_array().unwrap();
            scopes.iter().flat_map(|scope| scope["spans"].as_array().unwrap())
        });
        known.insert(name, spans.map(|span| span["traceId"].as_str().unwrap().to_owned()).collect());
        let sent = http_client().post(server.url("/otlp/v1/traces")).json(&trace).send().unwrap();
        assert!(sent.status().is_success(), "{}", sent.text().unwrap());
    }
    assert!(known.len() > 20, "{known:?}");
    for place in ["memory", "parts"] {
        let mut asked = 0;
        for test in read(folder.join("queries.json")).as_array().unwrap() {
            let wanted: Option<Vec<&BTreeSet<String>>> = test["ExpectedFixtures"]
                .as_array()
                .unwrap()
                .iter()
                .map(|name| known.get(name.as_str().unwrap()))
                .collect();
            // Some traces are kept back.
            let Some(wanted) = wanted else { continue };
            let wanted: BTreeSet<String> = wanted.into_iter().flatten().cloned().collect();
            let parameters = parameters(&test["Query"]);
            let parameters: Vec<(&str, &str)> = parameters.iter().map(|(n, v)| (*n, v.as_str())).collect();
            let answer = server.query("/jaeger/api/traces", &parameters);
            let traces = answer["data"].as_array().unwrap_or_else(|| panic!("{answer}"));
            let found: BTreeSet<String> =
                traces.iter().map(|trace| trace["traceID"].as_str().unwrap().to_owned()).collect();
            assert_eq!(found, wanted, "{} in {place}: {parameters:?}", test["Caption"]);
            asked += 1;
        }
        assert!(asked > 15, "{asked}");
        let flushed = server.http.post(server.url("/api/admin/flush")).send().unwrap();
        assert!(flushed.status().is_success());
    }
}

/// The answer for a trace, field by field; what Jaeger leaves out is not looked at.
#[test]
fn a_trace_is_told_as_jaeger_tells_it() {
    let folder = fixtures().join("cmd/jaeger/internal/extension/jaegerquery/internal/fixture");
    let server = Server::up(&["--no-agent", "--no-alerts", "--no-web", "--retention-traces", "5000w"]);
    let sent =
        server.http.post(server.url("/otlp/v1/traces")).json(&read(folder.join("otlp2jaeger-in.json")));
    assert!(sent.send().unwrap().status().is_success());
    let expected = read(folder.join("otlp2jaeger-out.json"));
    let id = expected["data"][0]["traceID"].as_str().unwrap();
    let told = server.json(&format!("/jaeger/api/traces/{id}"));
    assert_eq!(told["errors"], expected["errors"]);
    let (told, expected) = (&told["data"][0], &expected["data"][0]);
    assert_eq!(told["processes"]["p1"]["serviceName"], expected["processes"]["p1"]["serviceName"]);
    // The span is in the file twice, as if it had been sent again.
    let (span, wanted) = (&told["spans"][0], expected["spans"][0].as_object().unwrap());
    for (field, wanted) in wanted.iter().filter(|(field, _)| *field != "tags") {
        assert_eq!(&span[field], wanted, "{field}");
    }
    let tags = |span: &Value| -> BTreeMap<String, String> {
        let tags = span["tags"].as_array().unwrap();
        tags.iter().map(|tag| (tag["key"].to_string(), format!("{} {}", tag["type"], tag["value"]))).collect()
    };
    assert_eq!(tags(span), tags(&expected["spans"][0]));
}
