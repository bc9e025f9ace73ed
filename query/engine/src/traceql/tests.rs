//! TraceQL over a real store: the same answers from memory and from parts.

mod answers;
mod corpus;
mod counted;
mod few;
mod many;
mod told;

use super::*;
use crate::Limits;
use model::{Batch, Sink, Span, SpanEvent, SpanKind, StatusCode, SystemClock, Value, Write};
use store::Store;

/// 2026-03-01T12:00:00Z.
const NOON_NS: i64 = 1_772_366_400_000_000_000;
const SECOND_NS: i64 = 1_000_000_000;
const MS: i64 = 1_000_000;

struct World {
    engine: Engine,
    store: Arc<Store>,
    _dir: tempfile::TempDir,
}

fn span(trace: u8, id: u8, parent: u8, name: &str, start_ms: i64, duration_ms: i64) -> Span {
    Span {
        trace_id: [trace; 16],
        span_id: [id; 8],
        parent_span_id: (parent != 0).then_some([parent; 8]),
        start_ns: NOON_NS + i64::from(trace) * SECOND_NS + start_ms * MS,
        duration_ns: duration_ms * MS,
        name: name.to_owned(),
        kind: if parent == 0 { SpanKind::Server } else { SpanKind::Internal },
        ..Span::default()
    }
}

fn of(service: &str, spans: Vec<Span>) -> ResourceSpans {
    let resource =
        vec![("service.name".to_owned(), Value::from(service)), ("zone".to_owned(), Value::from("a"))];
    ResourceSpans {
        resource: Arc::new(resource),
        scope: model::Scope {
            attributes: vec![("team".into(), Value::from("checkout")), ("build".into(), Value::Int(7))],
            ..model::Scope::named("test", "1")
        },
        spans,
        ..ResourceSpans::default()
    }
}

/// Trace 1: frontend calls orders, which waits for its pool; it fails. Trace 2: frontend alone, fast.
fn batch() -> SpanBatch {
    let mut checkout = span(1, 1, 0, "GET /checkout", 0, 400);
    checkout.status = StatusCode::Error;
    checkout.status_message = "boom".into();
    checkout.attributes = vec![("http.response.status_code".into(), Value::Int(500))].into();
    let mut create = span(1, 2, 1, "create", 1, 350);
    create.events = vec![SpanEvent { ts_ns: NOON_NS, name: "retry".into(), ..SpanEvent::default() }];
    let mut acquire = span(1, 3, 2, "pool.acquire", 2, 300);
    acquire.attributes = vec![("pool.name".into(), Value::from("orders-db"))].into();
    let mut home = span(2, 4, 0, "GET /", 0, 20);
    home.attributes = vec![("http.response.status_code".into(), Value::Int(200))].into();
    SpanBatch { resources: vec![of("frontend", vec![checkout, home]), of("orders", vec![create, acquire])] }
}

impl World {
    async fn new() -> World {
        let dir = tempfile::tempdir().unwrap();
        let config = store::Config { dir: dir.path().to_owned(), fsync: false, ..store::Config::default() };
        let store = Store::open(config, Arc::new(SystemClock)).await.unwrap();
        let write = Write { tenant: Tenant::default(), batch: Batch::Spans(batch()), origin: None };
        store.write(write).await.unwrap();
        let engine = Engine::new(store.clone(), Arc::new(SystemClock), Limits::default()).unwrap();
        World { engine, store, _dir: dir }
    }

    async fn search(&self, query: &str) -> Result<TraceSearch, QueryError> {
        let options = SearchOptions { range: range(), limit: 10, spans_per_spanset: 3 };
        self.engine.traceql_search(&Tenant::default(), query, options).await
    }

    async fn metrics(&self, query: &str) -> Result<TraceMetrics, QueryError> {
        let range = TimeRange { start: NOON_NS, end: NOON_NS + 60 * SECOND_NS };
        self.engine.traceql_metrics(&Tenant::default(), query, range, 60_000, 10).await
    }
}

fn range() -> TimeRange {
    TimeRange { start: NOON_NS, end: NOON_NS + 60 * SECOND_NS }
}

/// The first byte of the trace, and those of its matched spans.
type Match = (u8, Vec<u8>);

async fn check_search(world: &World) {
    let expected: Vec<(&str, Vec<Match>)> = vec![
        ("{ }", vec![(2, vec![4]), (1, vec![1, 2, 3])]),
        (r#"{ resource.service.name = "orders" && duration > 320ms }"#, vec![(1, vec![2])]),
        ("{ status = error }", vec![(1, vec![1])]),
        ("{ span.http.response.status_code >= 500 }", vec![(1, vec![1])]),
        ("{ .http.response.status_code < 300 }", vec![(2, vec![4])]),
        (r#"{ .pool.name = "orders-db" }"#, vec![(1, vec![3])]),
        (r#"{ name =~ "GET.*" }"#, vec![(2, vec![4]), (1, vec![1])]),
        (r#"{ name = "GET /checkout" } && { duration > 320ms && kind = internal }"#, vec![(1, vec![1, 2])]),
        (r#"{ name = "GET /checkout" } > { name = "create" }"#, vec![(1, vec![2])]),
        (r#"{ name = "GET /checkout" } >> { name = "pool.acquire" }"#, vec![(1, vec![3])]),
        (r#"{ rootServiceName = "frontend" && name = "create" }"#, vec![(1, vec![2])]),
        ("{ traceDuration > 100ms && kind = server }", vec![(1, vec![1])]),
        ("{ } | count() > 2", vec![(1, vec![1, 2, 3])]),
        (r#"{ event:name = "retry" }"#, vec![(1, vec![2])]),
        (r#"{ statusMessage = "boom" || name = "GET /" }"#, vec![(2, vec![4]), (1, vec![1])]),
        ("{ duration > 10s }", vec![]),
        (r#"{ name = "GET /" } && { status = error }"#, vec![]),
        // Of the parent.
        ("{ parent.http.response.status_code = 500 }", vec![(1, vec![2])]),
        ("{ parent.span.http.response.status_code = 500 && duration > 1ms }", vec![(1, vec![2])]),
        ("{ parent.resource.http.response.status_code = 500 }", vec![]),
        (r#"{ parent.resource.service.name = "orders" }"#, vec![(1, vec![3])]),
        (r#"{ parent.resource.service.name != resource.service.name }"#, vec![(1, vec![2])]),
        ("{ parent = nil }", vec![(2, vec![4]), (1, vec![1])]),
        ("{ parent != nil && !(parent.zone = nil) }", vec![(1, vec![2, 3])]),
        // Arithmetic, nil and grouping.
        ("{ duration * 2 > 650ms && duration - 1ms < 360ms }", vec![(1, vec![2])]),
        (
            "{ .http.response.status_code % 100 = 0 && .http.response.status_code / 100 > 4 }",
            vec![(1, vec![1])],
        ),
        ("{ .pool.name != nil }", vec![(1, vec![3])]),
        ("{ .pool.name = nil && kind = internal }", vec![(1, vec![2])]),
        ("{ } | by(resource.service.name) | count() > 1 | coalesce()", vec![(1, vec![2, 3])]),
        ("{ event:timeSinceStart < 0s }", vec![(1, vec![2])]),
        (
            r#"{ instrumentation:name = "test" && instrumentation:version = "1" && name = "create" }"#,
            vec![(1, vec![2])],
        ),
        (
            r#"{ instrumentation.team = "checkout" && instrumentation.build > 6 }"#,
            vec![(2, vec![4]), (1, vec![1, 2, 3])],
        ),
        (
            r#"{ instrumentation.team != "checkout" || instrumentation.nothing = "x" || .team = "checkout" }"#,
            vec![],
        ),
    ];
    for (query, expected) in expected {
        let answer = world.search(query).await.unwrap_or_else(|why| panic!("{query}: {why}"));
        let ids = |set: &FoundSpanset| set.spans.iter().map(|span| span.span_id[0]).collect::<Vec<u8>>();
        let found: Vec<Match> = answer
            .traces
            .iter()
            .map(|trace| {
                let mut spans: Vec<u8> = trace.spansets.iter().flat_map(ids).collect();
                spans.sort_unstable();
                (trace.trace_id[0], spans)
            })
            .collect();
        assert_eq!(found, expected, "{query}");
    }
}

#[tokio::test]
async fn search_in_memory_and_in_parts() {
    let world = World::new().await;
    check_search(&world).await;
    world.store.flush().await.unwrap();
    check_search(&world).await;
    let found = world.search("{ status = error }").await.unwrap().traces.remove(0);
    assert_eq!((found.root_service.as_str(), found.root_name.as_str()), ("frontend", "GET /checkout"));
    assert_eq!(found.duration_ns, 400 * MS);
    assert_eq!(found.spansets[0].matched, 1);
    assert_eq!(found.services["orders"], ServiceStats { spans: 2, errors: 0 });
    assert_eq!(found.services["frontend"], ServiceStats { spans: 1, errors: 1 });
}

#[tokio::test]
async fn a_trace_comes_back_as_it_was_sent() {
    let world = World::new().await;
    for flushed in [false, true] {
        if flushed {
            world.store.flush().await.unwrap();
        }
        let answer = world.engine.trace_by_id(&Tenant::default(), [1; 16], None).await.unwrap();
        let mut sent = batch();
        sent.resources.iter_mut().for_each(|resource| resource.spans.retain(|span| span.trace_id == [1; 16]));
        assert_eq!(answer.spans, sent, "flushed={flushed}");
        assert!(answer.warnings.is_empty());
    }
    let unknown = world.engine.trace_by_id(&Tenant::default(), [9; 16], None).await.unwrap();
    assert!(unknown.spans.resources.is_empty());
    let other = world.engine.trace_by_id(&Tenant::new("other").unwrap(), [1; 16], None).await.unwrap();
    assert!(other.spans.resources.is_empty());
}

#[tokio::test]
async fn a_span_sent_twice_is_answered_once() {
    let world = World::new().await;
    world.store.flush().await.unwrap();
    let again = Write { tenant: Tenant::default(), batch: Batch::Spans(batch()), origin: None };
    world.store.write(again).await.unwrap();
    let answer = world.engine.trace_by_id(&Tenant::default(), [1; 16], None).await.unwrap();
    assert_eq!(answer.spans.spans(), 3);
    assert!(world.search("{ } | count() > 3").await.unwrap().traces.is_empty());
}

#[tokio::test]
async fn of_a_span_sent_when_it_began_and_when_it_ended_the_end_is_told() {
    let world = World::new().await;
    let at_start = span(3, 5, 0, "GET /slow", 0, 0);
    let ended = Span { duration_ns: 700 * MS, ..at_start.clone() };
    let failed = Span { status: StatusCode::Error, ..ended.clone() };
    let client = Span { kind: SpanKind::Client, ..at_start.clone() };
    // The copies come in any order, and of the resource more may be known at the end.
    for (at, service) in [(&at_start, "slow"), (&failed, "slow-1"), (&ended, "slow"), (&client, "slow")] {
        let batch = SpanBatch { resources: vec![of(service, vec![at.clone()])] };
        let write = Write { tenant: Tenant::default(), batch: Batch::Spans(batch), origin: None };
        world.store.write(write).await.unwrap();
        if at.duration_ns == 0 {
            world.store.flush().await.unwrap();
        }
    }
    for flushed in [false, true] {
        if flushed {
            world.store.flush().await.unwrap();
        }
        let answer = world.engine.trace_by_id(&Tenant::default(), [3; 16], None).await.unwrap();
        let mut told: Vec<(i64, bool)> = answer
            .spans
            .resources
            .iter()
            .flat_map(|resource| &resource.spans)
            .map(|span| (span.duration_ns / MS, span.status == StatusCode::Error))
            .collect();
        told.sort_unstable();
        assert_eq!(told, [(0, false), (700, true)], "flushed={flushed}");
        let found = world.search(r#"{ name = "GET /slow" }"#).await.unwrap().traces.remove(0);
        assert_eq!((found.duration_ns, found.spansets[0].matched), (700 * MS, 2));
        assert_eq!(found.services["slow-1"], ServiceStats { spans: 1, errors: 1 });
        assert!(world.search("{ duration = 0 && kind = server }").await.unwrap().traces.is_empty());
    }
}

#[tokio::test]
async fn numbers_by_step_and_field() {
    let world = World::new().await;
    world.store.flush().await.unwrap();
    for (query, expected) in [
        ("{ } | count_over_time()", vec![("{__name__=\"count_over_time\"}", 4.0)]),
        ("{ status = error } | rate()", vec![("{__name__=\"rate\"}", 1.0 / 60.0)]),
        (
            "{ } | count_over_time() by (resource.service.name)",
            vec![("{resource.service.name=\"frontend\"}", 2.0), ("{resource.service.name=\"orders\"}", 2.0)],
        ),
        ("{ } | max_over_time(duration)", vec![("{__name__=\"max_over_time\"}", 0.4)]),
        ("{ } | quantile_over_time(duration, 0.5)", vec![("{p=\"0.5\"}", 0.325)]),
    ] {
        let answer = world.metrics(query).await.unwrap_or_else(|why| panic!("{query}: {why}"));
        let found: Vec<(String, f64)> = answer
            .series
            .iter()
            .map(|one| (prom_labels(&one.labels), one.points[one.points.len() - 1].1))
            .collect();
        assert_eq!(found.len(), expected.len(), "{query}: {found:?}");
        for ((labels, value), (labels_expected, value_expected)) in found.iter().zip(&expected) {
            assert_eq!(labels, labels_expected, "{query}");
            assert!((value - value_expected).abs() < 1e-9, "{query}: {value} is not {value_expected}");
        }
    }
}

#[tokio::test]
async fn tags_and_their_values() {
    let world = World::new().await;
    let (engine, tenant) = (&world.engine, Tenant::default());
    for flushed in [false, true] {
        if flushed {
            world.store.flush().await.unwrap();
        }
        let tags = engine.traceql_tags(&tenant, None, None, range(), 100).await.unwrap();
        assert_eq!(tags["span"], ["http.response.status_code", "pool.name"]);
        assert_eq!(tags["resource"], ["service.name", "zone"]);
        assert!(tags["intrinsic"].contains(&"duration".to_owned()));
        let span = engine.traceql_tags(&tenant, Some("span"), None, range(), 1).await.unwrap();
        assert_eq!((span.len(), span["span"].len()), (1, 1));
        assert!(engine.traceql_tags(&tenant, Some("nowhere"), None, range(), 1).await.is_err());
        let values = |tag: &'static str, query: Option<&'static str>| {
            let (engine, tenant) = (engine, &tenant);
            async move {
                let values = engine.traceql_tag_values(tenant, tag, query, range(), 100).await.unwrap();
                values.iter().map(|value| format!("{} {}", value.kind, value.value)).collect::<Vec<_>>()
            }
        };
        assert_eq!(values("resource.service.name", None).await, ["string frontend", "string orders"]);
        assert_eq!(values("span.http.response.status_code", None).await, ["int 200", "int 500"]);
        assert_eq!(
            values("name", Some(r#"{ resource.service.name = "orders" }"#)).await,
            ["string create", "string pool.acquire"]
        );
        assert_eq!(values("pool.name", Some("{ name = ")).await, ["string orders-db"]);
        assert_eq!(values("status", None).await, ["keyword error", "keyword ok", "keyword unset"]);
        assert_eq!(values("rootServiceName", None).await, ["string frontend"]);
        // The root of those that are found, and those that are found by their root.
        let of_orders = r#"{ resource.service.name = "orders" }"#;
        assert_eq!(values("rootName", Some(of_orders)).await, ["string GET /checkout"]);
        let below_checkout = r#"{ rootName = "GET /checkout" && nestedSetParent > 0 }"#;
        assert_eq!(values("name", Some(below_checkout)).await, ["string create", "string pool.acquire"]);
        assert_eq!(
            values("name", Some(r#"{ resource.service.name = "orders" } | rate() by (name)"#)).await,
            ["string create", "string pool.acquire"]
        );
        for nobody_types in ["duration", "span:id", "parent"] {
            assert!(values(nobody_types, None).await.is_empty(), "{nobody_types}");
        }
        assert_eq!(values("span:childCount", None).await, ["int 0", "int 1"]);
        assert_eq!(values("parent.pool.name", None).await, ["string orders-db"]);
        assert!(engine.traceql_tags(&tenant, Some("trace"), None, range(), 9).await.unwrap().is_empty());
        let none = engine.traceql_tags(&tenant, Some("link"), None, range(), 9).await.unwrap();
        assert!(none.is_empty(), "{none:?}");
    }
}

#[tokio::test]
async fn tags_are_of_spans_in_the_range_alone() {
    let world = World::new().await;
    let tenant = Tenant::default();
    // Without the second trace, which lies in the same page.
    let first = TimeRange { start: NOON_NS, end: NOON_NS + 3 * SECOND_NS / 2 };
    for flushed in [false, true] {
        if flushed {
            world.store.flush().await.unwrap();
        }
        let of_frontend = Some(r#"{ resource.service.name = "frontend" }"#);
        let values = world.engine.traceql_tag_values(&tenant, "name", of_frontend, first, 9).await.unwrap();
        assert_eq!(values.iter().map(|value| value.value.as_str()).collect::<Vec<_>>(), ["GET /checkout"]);
        let of_home = Some(r#"{ name = "GET /" }"#);
        let names = |range| world.engine.traceql_tags(&tenant, Some("resource"), of_home, range, 9);
        assert!(names(first).await.unwrap().is_empty());
        assert_eq!(names(range()).await.unwrap()["resource"], ["service.name", "zone"]);
    }
}

#[tokio::test]
async fn wrong_queries_are_named() {
    let world = World::new().await;
    for query in ["{ duration >", "{ } | rate() +", "{ .a = 1 } | nonsense()", "", "}"] {
        let wrong = world.search(query).await.unwrap_err();
        assert!(matches!(wrong, QueryError::Bad(_)), "{query}: {wrong:?}");
    }
    // As many as a Tempo answers at most.
    for (limit, found) in [(262_144, true), (262_145, false)] {
        let options = SearchOptions { range: range(), limit, spans_per_spanset: 3 };
        let answer = world.engine.traceql_search(&Tenant::default(), "{ }", options).await;
        assert_eq!(answer.is_ok_and(|answer| answer.traces.len() == 2), found, "{limit}");
    }
    for query in ["{ }", "{ } | rate() by (", "{ parent.a > } | rate()"] {
        let wrong = world.metrics(query).await.unwrap_err();
        assert!(matches!(wrong, QueryError::Bad(_)), "{query}: {wrong:?}");
    }
}

/// `labels value` of each series, in the order of the answer.
fn told(found: &TraceMetrics) -> Vec<String> {
    let sum = |series: &TraceSeries| series.points.iter().map(|(_, value)| value).sum::<f64>();
    found.series.iter().map(|series| format!("{} {}", prom_labels(&series.labels), sum(series))).collect()
}

#[tokio::test]
async fn metrics_over_whole_traces() {
    let world = World::new().await;
    for flushed in [false, true] {
        if flushed {
            world.store.flush().await.unwrap();
        }
        for (query, expected) in [
            (
                r#"{ name = "GET /checkout" } >> { } | count_over_time() by (name)"#,
                vec![r#"{name="create"} 1"#, r#"{name="pool.acquire"} 1"#],
            ),
            ("{ } | count() > 2 | count_over_time()", vec![r#"{__name__="count_over_time"} 3"#]),
            ("{ traceDuration > 100ms } | count_over_time()", vec![r#"{__name__="count_over_time"} 3"#]),
            (
                r#"{ } | count_over_time() by (rootName)"#,
                vec![r#"{rootName="GET /"} 1"#, r#"{rootName="GET /checkout"} 3"#],
            ),
            (
                "{ } | count_over_time() by (parent.resource.service.name)",
                vec![
                    r#"{parent.resource.service.name="frontend"} 1"#,
                    r#"{parent.resource.service.name="nil"} 2"#,
                    r#"{parent.resource.service.name="orders"} 1"#,
                ],
            ),
            (
                r#"({ name = "create" } && { status = error }) | count_over_time()"#,
                vec![r#"{__name__="count_over_time"} 2"#],
            ),
        ] {
            let found = world.metrics(query).await.unwrap_or_else(|why| panic!("{query}: {why}"));
            assert_eq!(told(&found), expected, "{query}");
        }
    }
}

/// Of requests one in four was kept, of failures all: numbers are those of all requests.
#[tokio::test]
async fn sampled_spans_count_for_those_that_were_left_out() {
    let world = World::new().await;
    let kept = |id: u8, state: &str, ms: i64, status| Span {
        trace_state: state.to_owned(),
        status,
        ..span(20 + id, id, 0, "GET /sampled", 0, ms)
    };
    let mut spans: Vec<Span> = (1..=5).map(|id| kept(id, "ot=th:c", 100, StatusCode::Unset)).collect();
    spans.push(kept(6, "vendor=x", 1_000, StatusCode::Error));
    spans.push(kept(7, "ot=p:1;r:5", 300, StatusCode::Unset));
    let batch = Batch::Spans(SpanBatch { resources: vec![of("sampled", spans)] });
    world.store.write(Write { tenant: Tenant::default(), batch, origin: None }).await.unwrap();
    for at in ["memory", "parts"] {
        let value = async |function: &str| {
            let query = format!("{{ name = \"GET /sampled\" }} | {function}");
            let found = world.metrics(&query).await.unwrap();
            found
                .series
                .iter()
                .flat_map(|series| &series.points)
                // The step before the range has none of them.
                .filter(|(ts_ms, _)| *ts_ms > NOON_NS / MS)
                .map(|(_, value)| *value)
                .collect::<Vec<f64>>()
        };
        // 5 spans for 4 each, one for itself, one for 2.
        assert_eq!(value("count_over_time()").await, [23.0], "{at}");
        assert_eq!(value("rate()").await, [23.0 / 60.0], "{at}");
        let seconds = 20.0 * 0.1 + 1.0 + 2.0 * 0.3;
        assert!((value("sum_over_time(duration)").await[0] - seconds).abs() < 1e-9, "{at}");
        assert!((value("avg_over_time(duration)").await[0] - seconds / 23.0).abs() < 1e-9, "{at}");
        assert_eq!(value("max_over_time(duration)").await, [1.0], "{at}");
        assert_eq!(value("min_over_time(duration)").await, [0.1], "{at}");
        assert_eq!(value("quantile_over_time(duration, 0.5)").await, [0.1], "{at}");
        assert!((value("quantile_over_time(duration, 0.95)").await[0] - 0.3).abs() < 1e-9, "{at}");
        assert_eq!(value("histogram_over_time(duration)").await, [20.0, 2.0, 1.0], "{at}");
        assert_eq!(value("count_over_time() by (status)").await.iter().sum::<f64>(), 23.0, "{at}");
        let compared =
            world.metrics("{ name = \"GET /sampled\" } | compare({ status = error })").await.unwrap();
        let total: f64 = compared
            .series
            .iter()
            .filter(|s| s.labels.iter().any(|(name, _)| name == "name"))
            .filter(|s| s.labels[0].1.to_string() == "baseline")
            .flat_map(|s| s.points.iter().map(|(_, value)| value))
            .sum();
        assert_eq!(total, 22.0, "{at}");
        let sql = "select sum(sampling_weight(trace_state)) from spans where name = 'GET /sampled'";
        let engine =
            Arc::new(Engine::new(world.store.clone(), Arc::new(SystemClock), Limits::default()).unwrap());
        let answer = engine.sql(&Tenant::default(), sql, vec![]).await.unwrap();
        let sum = arrow::util::display::array_value_to_string(answer.batches[0].column(0), 0).unwrap();
        assert_eq!(sum, "23.0", "{at}");
        world.store.flush().await.unwrap();
    }
}

#[tokio::test]
async fn one_number_over_the_whole_range() {
    let world = World::new().await;
    let range = TimeRange { start: NOON_NS + 1, end: NOON_NS + 7 * SECOND_NS };
    let query = "{ } | count_over_time() by (resource.service.name)";
    let found = world.engine.traceql_metrics_instant(&Tenant::default(), query, range).await.unwrap();
    assert_eq!(
        told(&found),
        [r#"{resource.service.name="frontend"} 2"#, r#"{resource.service.name="orders"} 2"#]
    );
    assert!(found.series.iter().all(|series| series.points.len() == 1));
}

#[tokio::test]
async fn exemplars_are_of_the_spans_and_bounded() {
    let world = World::new().await;
    let found = world.metrics("{ } | max_over_time(duration)").await.unwrap();
    let exemplars = &found.series[0].exemplars;
    assert_eq!((exemplars.len(), exemplars[0].trace_id, exemplars[0].value), (1, [1; 16], 0.4));
    let found = world.metrics("{ } | rate()").await.unwrap();
    assert_eq!(found.series[0].exemplars.len(), 1);
    // Of several series, no more than the whole answer may have.
    let by = "{ } | rate() by (name)";
    let found = world.engine.traceql_metrics(&Tenant::default(), by, range(), 60_000, 2).await.unwrap();
    assert_eq!(found.series.len(), 4);
    assert_eq!(found.series.iter().map(|series| series.exemplars.len()).sum::<usize>(), 2);
    let none = world.engine.traceql_metrics(&Tenant::default(), "{ } | rate()", range(), 60_000, 0).await;
    assert!(none.unwrap().series[0].exemplars.is_empty());
    let hinted = world.metrics("{ } | rate() by (name) with (exemplars=1)").await.unwrap();
    assert_eq!(hinted.series.iter().map(|series| series.exemplars.len()).sum::<usize>(), 1);
    let hinted = world.metrics("{ } | rate() with (exemplars=false)").await.unwrap();
    assert!(hinted.series[0].exemplars.is_empty());
    let hinted = "{ } | rate() by (name) with (exemplars=3)";
    let found = world.engine.traceql_metrics(&Tenant::default(), hinted, range(), 60_000, 1).await.unwrap();
    assert_eq!(found.series.iter().map(|series| series.exemplars.len()).sum::<usize>(), 3);
}

#[tokio::test]
async fn a_selection_is_compared_with_the_rest() {
    let world = World::new().await;
    let found = world.metrics("{ } | compare({ status = error }, 2)").await.unwrap();
    let told = told(&found);
    for expected in [
        r#"{__meta_type="selection", span.http.response.status_code="500"} 1"#,
        r#"{__meta_type="baseline", span.http.response.status_code="200"} 1"#,
        r#"{__meta_type="baseline", resource.service.name="orders"} 2"#,
        r#"{__meta_type="baseline_total", resource.service.name="nil"} 3"#,
        r#"{__meta_type="selection_total", name="nil"} 1"#,
    ] {
        assert!(told.iter().any(|line| line == expected), "{expected} in {told:#?}");
    }
    let totals = found.series.iter().filter(|series| !series.exemplars.is_empty());
    let told_by: Vec<(String, u8)> =
        totals.map(|series| (prom_labels(&series.labels), series.exemplars[0].trace_id[0])).collect();
    assert_eq!(told_by.len(), 2, "{told_by:?}");
    assert!(
        told_by.contains(&(r#"{__meta_type="selection_total", name="nil"}"#.to_owned(), 1)),
        "{told_by:?}"
    );
    // The span that fails starts at this very time.
    let at = NOON_NS + SECOND_NS;
    for (from, to, count) in [(at - SECOND_NS, at, 1), (at, at + SECOND_NS, 0), (at - SECOND_NS, at - 512, 0)]
    {
        let query = format!("{{ }} | compare({{ status = error }}, 10, {from}, {to})");
        let found = world.metrics(&query).await.unwrap();
        let selected =
            found.series.iter().filter(|series| series.labels[0].1 == Value::from("selection_total"));
        assert_eq!(usize::from(selected.count() > 0), count, "{query}");
    }
    // Three names in the baseline, of which the two commonest are told.
    let names = told.iter().filter(|line| line.starts_with(r#"{__meta_type="baseline", name="#));
    assert_eq!(names.count(), 2);
}

#[tokio::test]
async fn a_condition_on_a_list_holds_for_any_element_and_its_negation_for_each() {
    let dir = tempfile::tempdir().unwrap();
    let config = store::Config { dir: dir.path().to_owned(), fsync: false, ..store::Config::default() };
    let store = Store::open(config, Arc::new(SystemClock)).await.unwrap();
    let mut one = span(1, 1, 0, "list", 0, 1);
    one.attributes = vec![
        ("tags".into(), Value::Json(r#"["a",2,true]"#.into())),
        ("words".into(), Value::Json(r#"["bar","baz"]"#.into())),
        ("numbers".into(), Value::Json("[1,2]".into())),
        ("whole".into(), Value::Double(3.0)),
        ("zero".into(), Value::Double(-0.0)),
        ("large".into(), Value::Double(9_007_199_254_740_992.0)),
    ]
    .into();
    let batch = Batch::Spans(SpanBatch { resources: vec![of("x", vec![one])] });
    store.write(Write { tenant: Tenant::default(), batch, origin: None }).await.unwrap();
    let engine = Engine::new(store, Arc::new(SystemClock), Limits::default()).unwrap();
    for (query, count) in [
        (r#"{ span.tags = "a" }"#, 1),
        ("{ .tags > 1 }", 1),
        ("{ .tags = true }", 1),
        (r#"{ .tags =~ "b.*" }"#, 0),
        (r#"{ resource.tags = "a" }"#, 0),
        ("{ span.tags = true }", 1),
        ("{ span.tags = 3 }", 0),
        (r#"{ span.words != "bar" }"#, 0),
        (r#"{ span.words != "foo" && .words !~ "b" }"#, 1),
        (r#"{ span.words !~ ".*z" }"#, 0),
        (r#"{ "baz" = span.words && "foo" != .words }"#, 1),
        (r#"{ "baz" != span.words }"#, 0),
        ("{ 1 < span.numbers && 2 = .numbers && .numbers != 3 }", 1),
        ("{ 3 < span.numbers || 2 != span.numbers }", 0),
        // Integers stay some.
        ("{ 1 / 10 = 0 && 1 / 10. = .1 && -7 % 4 = -3 && 2 ^ 3 = 8 }", 1),
        ("{ 5 / 0 = 1 || 5 % 0 = 0 || 5.0 / 0.0 = 1.0 }", 0),
        ("{ } | count() / 2 = 0 | sum(span.whole) > 2", 1),
        ("{ nil = nil || nil != nil }", 0),
        ("{ span.whole > minInt && span.whole < maxInt }", 1),
        // What is equal in numbers is so in whatever way it was sent.
        ("{ span.whole = 3 && span.zero = 0 }", 1),
        ("{ span.large = 9007199254740993 }", 1),
        ("{ span.whole = 4 }", 0),
    ] {
        let options = SearchOptions { range: range(), limit: 10, spans_per_spanset: 3 };
        let found = engine.traceql_search(&Tenant::default(), query, options).await.unwrap();
        assert_eq!(found.traces.len(), count, "{query}");
    }
}

#[tokio::test]
async fn several_traces_at_once() {
    let world = World::new().await;
    let ids = [[2; 16], [7; 16], [1; 16], [2; 16]];
    let (found, warnings) = world.engine.traces_by_id(&Tenant::default(), &ids, None).await.unwrap();
    assert_eq!(found.iter().map(SpanBatch::spans).collect::<Vec<_>>(), [1, 0, 3, 1]);
    assert!(warnings.is_empty());
}

/// Enough is found in the newest part of the range, and no more is looked through; what is told is what a search through all tells.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_newest_traces_are_found_without_looking_at_all() {
    const TRACES: u16 = 600;
    let world = World::new().await;
    let long_ago = |at: u16| {
        let mut one = span(1, 1, 0, "tick", i64::from(at) * 5_000, 10);
        one.trace_id[..2].copy_from_slice(&(at + 0x1000).to_be_bytes());
        // Its oldest span is in another part of the range than the newest one.
        let late = Span {
            span_id: [2; 8],
            parent_span_id: Some([1; 8]),
            start_ns: one.start_ns + 600 * SECOND_NS,
            ..one.clone()
        };
        [one, late]
    };
    let resources = vec![of("clock", (0..TRACES).flat_map(long_ago).collect())];
    let batch = Batch::Spans(SpanBatch { resources });
    world.store.write(Write { tenant: Tenant::default(), batch, origin: None }).await.unwrap();
    let range = TimeRange { start: NOON_NS, end: NOON_NS + 3_700 * SECOND_NS };
    let search = async |query: &str, limit: usize| {
        let options = SearchOptions { range, limit, spans_per_spanset: 3 };
        world.engine.traceql_search(&Tenant::default(), query, options).await.unwrap()
    };
    for flushed in [false, true] {
        for query in [r#"{ name =~ "ti.k" }"#, "{ traceDuration > 100s }", "{ } | count() > 1"] {
            let all = search(query, 1_000).await;
            assert_eq!(
                all.traces.len(),
                usize::from(TRACES) + usize::from(query.contains("count")),
                "{query}"
            );
            let few = search(query, 10).await;
            assert_eq!(few.traces, all.traces[..10], "{query}");
            assert!(few.inspected_spans < all.inspected_spans / 4, "{query}: {few:?}");
        }
        if !flushed {
            world.store.flush().await.unwrap();
        }
    }
}

/// Its spans may lie in several parts and in memory.
#[tokio::test]
async fn what_a_trace_is_as_a_whole_is_known_of_all_its_spans() {
    let world = World::new().await;
    let check = async |expected: &[(&str, &[u8])]| {
        for (query, expected) in expected {
            let found = world.search(query).await.unwrap();
            let ids: Vec<u8> = found.traces.iter().map(|trace| trace.trace_id[0]).collect();
            assert_eq!(ids, *expected, "{query}");
        }
    };
    let late = vec![of("late", vec![span(2, 9, 4, "later", 500, 100), span(3, 5, 7, "orphan", 0, 5)])];
    let before: [(&str, &[u8]); 3] = [
        ("{ traceDuration > 399ms }", &[1]),
        (r#"{ rootServiceName = "frontend" }"#, &[2, 1]),
        ("{ } | count() > 1", &[1]),
    ];
    let after: [(&str, &[u8]); 12] = [
        ("{ traceDuration > 399ms }", &[2, 1]),
        ("{ traceDuration >= 600ms }", &[2]),
        ("{ traceDuration > 600ms }", &[]),
        ("{ traceDuration = 400ms }", &[1]),
        ("{ traceDuration < 20ms }", &[3]),
        ("{ traceDuration * 2 = 800ms }", &[1]),
        (r#"{ rootServiceName = "frontend" }"#, &[2, 1]),
        (r#"{ rootName = "GET /checkout" && traceDuration > 1ms }"#, &[1]),
        (r#"{ rootName =~ "GET.*" } | count() > 2"#, &[1]),
        (r#"{ rootServiceName = "" }"#, &[3]),
        ("{ } | count() = 2", &[2]),
        ("{ } | count() > 3", &[]),
    ];
    check(&before).await;
    world.store.flush().await.unwrap();
    check(&before).await;
    let batch = Batch::Spans(SpanBatch { resources: late });
    world.store.write(Write { tenant: Tenant::default(), batch, origin: None }).await.unwrap();
    check(&after).await;
    world.store.flush().await.unwrap();
    check(&after).await;
    world.store.compact().await.unwrap();
    check(&after).await;
    let snapshot = world.engine.source.snapshot(&Tenant::default()).await.unwrap();
    assert!(snapshot.trace_facts(range(), (0, 2)).await.unwrap().is_some(), "and without reading spans");
}
