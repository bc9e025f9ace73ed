//! Row T12: the patch and its summary, as pure values and through the door.

use super::*;
use crate::tempo::tests::{TRACE, World};
use axum::body::{Body, to_bytes};
use axum::http::Request;
use model::{ResourceSpans, Span, SpanKind, StatusCode as SpanStatus, Value as Attribute};
use tower::ServiceExt;

const MS: i64 = 1_000_000;

/// Service, id, parent, name, start and duration in ms.
type Row = (&'static str, u8, u8, &'static str, i64, i64);

fn batch(rows: &[Row], change: impl Fn(&mut Span)) -> SpanBatch {
    let resource = |&(service, id, parent, name, start, duration): &Row| {
        let mut span = Span {
            span_id: [id; 8],
            parent_span_id: (parent > 0).then_some([parent; 8]),
            name: name.into(),
            kind: SpanKind::Server,
            start_ns: (1_000 + start) * MS,
            duration_ns: duration * MS,
            ..Span::default()
        };
        change(&mut span);
        let resource = Arc::new(vec![("service.name".to_owned(), Attribute::from(service))]);
        ResourceSpans { resource, spans: vec![span], ..ResourceSpans::default() }
    };
    SpanBatch { resources: rows.iter().map(resource).collect() }
}

const SHOP: &[Row] = &[
    ("web", 1, 0, "GET /", 0, 100),
    ("cart", 2, 1, "read", 10, 20),
    ("cart", 3, 1, "read", 40, 20),
    ("db", 4, 2, "SELECT", 12, 10),
    ("db", 5, 3, "SELECT", 42, 10),
];

fn told(base: SpanBatch, compare: SpanBatch, format: Format) -> Value {
    document(&([1; 16], base), &([2; 16], compare), format).unwrap_or_else(|Refusal(_, why)| panic!("{why}"))
}

#[test]
fn the_same_request_twice_differs_in_nothing() {
    // Other ids, other times, siblings told in another order, and a jitter of a tenth.
    let again = &[
        ("db", 9, 8, "SELECT", 47, 11),
        ("web", 6, 0, "GET /", 5, 109),
        ("cart", 8, 6, "read", 45, 21),
        ("cart", 7, 6, "read", 15, 20),
        ("db", 10, 7, "SELECT", 17, 10),
    ];
    let patch = told(batch(SHOP, |_| ()), batch(again, |_| ()), Format::Patch);
    assert_eq!(patch["stats"]["matchedSpans"], 5, "{patch}");
    for list in ["modified", "added", "removed", "warnings"] {
        assert_eq!(patch[list], json!([]), "{list}");
    }
    assert_eq!(patch["base"], json!({ "traceId": "01".repeat(16), "spanCount": 5 }));
    let summary = told(batch(SHOP, |_| ()), batch(again, |_| ()), Format::Summary);
    assert_eq!(summary["signals"]["structure"], "unchanged");
    assert_eq!(summary["signals"]["traceLatency"], "increased");
    assert_eq!(summary["trust"], json!({ "matchedSpanRatio": 1.0, "structureOverlap": 1.0 }));
    // A tenth more in every span of `web` is below the patch's tolerance, and told here.
    assert_eq!(summary["changedServices"], json!(["db", "web"]), "{summary}");
    assert_eq!(summary["services"][0]["name"], "web");
    assert_eq!(summary["services"][0]["sumSpanDurationDeltaMs"], 9);
}

#[test]
fn what_changed_in_a_span_is_named() {
    let slow = &[
        ("web", 1, 0, "GET /", 0, 400),
        ("cart", 2, 1, "read", 10, 20),
        ("cart", 3, 1, "read", 40, 20),
        ("db", 4, 2, "SELECT", 12, 10),
        ("db", 5, 3, "SELECT", 42, 310),
    ];
    let before = batch(SHOP, |span| {
        span.attributes =
            vec![("rows".into(), Attribute::Int(1)), ("body.size".into(), Attribute::Int(100))].into();
    });
    let after = batch(slow, |span| {
        let mut attributes = vec![("body.size".into(), Attribute::Int(103))];
        if span.span_id == [5; 8] {
            span.status = SpanStatus::Error;
            attributes.push(("retry".into(), Attribute::Bool(true)));
        }
        if span.span_id != [2; 8] {
            attributes.push(("rows".into(), Attribute::Int(1)));
        }
        span.attributes = attributes.into();
    });
    let composed = told(before, after, Format::Composed);
    let patch = &composed["patch"];
    let modified = patch["modified"].as_array().unwrap();
    assert_eq!(modified.len(), 3, "{patch}");
    let query = modified.iter().find(|one| one["span"]["path"] == json!([0, 1, 0])).unwrap();
    assert_eq!(
        query["span"],
        json!({ "path": [0, 1, 0], "service": "db", "name": "SELECT", "kind": "server" })
    );
    assert_eq!(
        query["changes"],
        json!([
            { "op": "modify", "target": { "type": "field", "name": "duration_nanos" }, "before": 10 * MS, "after": 310 * MS },
            { "op": "modify", "target": { "type": "field", "name": "status" }, "before": "unset", "after": "error" },
            { "op": "add", "target": { "type": "attribute", "scope": "span", "key": "retry" }, "before": null, "after": true },
        ])
    );
    let cart = modified.iter().find(|one| one["span"]["path"] == json!([0, 0])).unwrap();
    assert_eq!(cart["changes"][0]["op"], "remove");
    assert_eq!(cart["changes"][0]["before"], 1);
    let summary = &composed["summary"];
    assert_eq!(summary["stats"]["traceLatencyDeltaMs"], 300);
    assert_eq!(summary["stats"]["errorSpanDelta"], 1);
    assert_eq!(summary["compare"]["rootName"], "GET /");
    let db = summary["services"].as_array().unwrap().iter().find(|one| one["name"] == "db").unwrap();
    assert_eq!((&db["newErrors"], &db["sumSpanDurationDeltaMs"]), (&json!(1), &json!(300)));
}

#[test]
fn spans_that_came_and_went_have_their_place() {
    // A proxy came between, one read went, and so what is below the proxy is still the same.
    let proxied = &[
        ("web", 1, 0, "GET /", 0, 100),
        ("proxy", 9, 1, "pass", 8, 24),
        ("cart", 2, 9, "read", 10, 20),
        ("db", 4, 2, "SELECT", 12, 10),
    ];
    let patch = told(batch(SHOP, |_| ()), batch(proxied, |_| ()), Format::Patch);
    assert_eq!(patch["stats"]["matchedSpans"], 3, "{patch}");
    let added = patch["added"].as_array().unwrap();
    assert_eq!(added.len(), 1);
    assert_eq!(added[0]["target"], json!({ "type": "span", "parentPath": [0], "index": 0 }));
    assert_eq!(added[0]["span"]["service"], "proxy");
    let removed = patch["removed"].as_array().unwrap();
    assert_eq!(removed.len(), 2);
    assert_eq!(removed[0]["target"]["type"], "span");
    let summary = told(batch(SHOP, |_| ()), batch(proxied, |_| ()), Format::Summary);
    assert_eq!(summary["signals"]["structure"], "changed");
    assert_eq!(summary["trust"], json!({ "matchedSpanRatio": 0.6, "structureOverlap": 0.75 }));
    assert_eq!(summary["changedServices"], json!(["cart", "db", "proxy"]));
}

#[test]
fn a_large_patch_is_left_out_of_the_composed_answer() {
    let many: Vec<Row> = (0..1_000).map(|at| ("web", 1, 0, "GET /", at, 1)).collect();
    let composed = told(batch(SHOP, |_| ()), batch(&many, |_| ()), Format::Composed);
    assert_eq!(composed["patchOmitted"]["reason"], "over_budget");
    assert!(composed["patchOmitted"]["bytes"].as_u64().unwrap() > PATCH_BYTES_MAX as u64);
    assert_eq!(composed.get("patch"), None);
    assert_eq!(composed["summary"]["warnings"][0]["code"], "duplicate_span_id");
}

/// Rings of parents, a parent that is not there, and a chain that would take minutes to name.
#[test]
fn broken_traces_are_compared_or_refused() {
    let ring =
        &[("a", 1, 2, "x", 0, 1), ("a", 2, 1, "y", 1, 1), ("a", 3, 3, "z", 2, 1), ("a", 4, 99, "w", 3, 1)];
    let patch = told(batch(ring, |_| ()), batch(ring, |_| ()), Format::Patch);
    assert_eq!((&patch["stats"]["matchedSpans"], &patch["added"]), (&json!(4), &json!([])));
    let mut chain = batch(&[("a", 1, 0, "x", 0, 1); 10_000], |_| ());
    for (at, resource) in chain.resources.iter_mut().enumerate() {
        resource.spans[0].span_id = (at as u64 + 1).to_be_bytes();
        resource.spans[0].parent_span_id = (at > 0).then(|| (at as u64).to_be_bytes());
        resource.spans[0].start_ns += at as i64;
    }
    let base = batch(ring, |_| ());
    let refused = document(&([1; 16], base), &([2; 16], chain), Format::Patch);
    assert_eq!(refused.err().map(|Refusal(status, _)| status), Some(StatusCode::UNPROCESSABLE_ENTITY));
}

async fn post(world: &World, body: &str) -> (StatusCode, String) {
    let request = Request::post("/tempo/api/v2/traces/diff").header("content-type", "application/json");
    let request = request.body(Body::from(body.to_owned())).unwrap();
    let response = world.router.clone().oneshot(request).await.unwrap();
    let status = response.status();
    let body = to_bytes(response.into_body(), 1 << 20).await.unwrap();
    (status, String::from_utf8(body.to_vec()).unwrap())
}

#[tokio::test]
async fn t12_two_traces_by_their_ids() {
    let world = World::new().await;
    let of =
        |rest: &str| format!(r#"{{"base":{{"traceId":"{TRACE}"}},"compare":{{"traceId":"{TRACE}"{rest}}}}}"#);
    let (status, body) = post(&world, &of("")).await;
    assert_eq!(status, StatusCode::OK, "{body}");
    let patch: Value = serde_json::from_str(&body).unwrap();
    assert_eq!((&patch["version"], &patch["stats"]["matchedSpans"]), (&json!("trace-patch-v0"), &json!(2)));
    let seconds = world.start_ns / 1_000_000_000;
    let near = format!(r#","start":{},"end":{}"#, seconds - 60, seconds + 60);
    assert_eq!(post(&world, &of(&near)).await.0, StatusCode::OK);
    let missing = format!(r#"{{"base":{{"traceId":"{TRACE}"}},"compare":{{"traceId":"ff"}}}}"#);
    let format =
        format!(r#"{{"base":{{"traceId":"{TRACE}"}},"compare":{{"traceId":"{TRACE}"}},"format":"x"}}"#);
    for (body, status, says) in [
        (missing.as_str(), StatusCode::NOT_FOUND, "compare: trace ff not found"),
        (format.as_str(), StatusCode::BAD_REQUEST, "trace-patch-v0"),
        (of(r#","start":20,"end":10"#).as_str(), StatusCode::BAD_REQUEST, "start is after end"),
        (r#"{"base":{"traceId":"x"}}"#, StatusCode::BAD_REQUEST, "hex"),
        ("{}", StatusCode::BAD_REQUEST, "base.traceId is missing"),
        ("{", StatusCode::BAD_REQUEST, ""),
    ] {
        let answer = post(&world, body).await;
        assert!(answer.0 == status && answer.1.contains(says), "{body}: {answer:?}");
    }
}
