//! What an answer tells, and how: values with their types, labels, steps.

use super::*;
use model::Attributes;

pub(super) async fn world_of(resources: Vec<ResourceSpans>) -> World {
    let dir = tempfile::tempdir().unwrap();
    let config = store::Config { dir: dir.path().to_owned(), fsync: false, ..store::Config::default() };
    let store = Store::open(config, Arc::new(SystemClock)).await.unwrap();
    let batch = Batch::Spans(SpanBatch { resources });
    store.write(Write { tenant: Tenant::default(), batch, origin: None }).await.unwrap();
    let engine = Engine::new(store.clone(), Arc::new(SystemClock), Limits::default()).unwrap();
    World { engine, store, _dir: dir }
}

/// Names of the spans that are found.
async fn names(world: &World, query: &str) -> Vec<String> {
    let found = world.search(query).await.unwrap_or_else(|why| panic!("{query}: {why}"));
    let sets = found.traces.iter().flat_map(|trace| &trace.spansets);
    let mut names: Vec<String> =
        sets.flat_map(|set| set.spans.iter().map(|span| span.name.clone())).collect();
    names.sort();
    names
}

#[tokio::test]
async fn a_step_counts_what_was_since_the_one_before() {
    let second =
        |at: i64| Span { start_ns: NOON_NS + at * SECOND_NS, ..span(1, at as u8 + 1, 0, "tick", 0, 1) };
    let world = world_of(vec![of("clock", (0..=4).map(second).collect())]).await;
    let range = TimeRange { start: NOON_NS + SECOND_NS, end: NOON_NS + 3 * SECOND_NS };
    let query = "{ } | count_over_time()";
    let counts = async |range, step_ms| {
        let found = world.engine.traceql_metrics(&Tenant::default(), query, range, step_ms, 0).await.unwrap();
        let points = found.series.into_iter().flat_map(|series| series.points);
        points.map(|(ts_ms, count)| (ts_ms - NOON_NS / MS, count)).collect::<Vec<(i64, f64)>>()
    };
    assert_eq!(counts(range, 1_000).await, [(1_000, 1.0), (2_000, 1.0), (3_000, 1.0)]);
    // (-2, 0], (0, 2], (2, 4]: steps hold more than the range that they begin and end in.
    assert_eq!(counts(range, 2_000).await, [(0, 1.0), (2_000, 2.0), (4_000, 2.0)]);
    let one = world.engine.traceql_metrics_instant(&Tenant::default(), query, range).await.unwrap();
    assert_eq!(one.series[0].points[0].1, 3.0);
}

#[tokio::test]
async fn lists_and_durations_are_told_as_what_they_are() {
    let mut lists = span(1, 1, 0, "lists", 0, 250);
    lists.attributes =
        vec![("words".into(), Value::Json(r#"["a","b"]"#.into())), ("none".into(), Value::Json("[]".into()))]
            .into();
    lists.events =
        vec![SpanEvent { ts_ns: lists.start_ns + 1_500_000, name: "e".into(), ..SpanEvent::default() }];
    let world = world_of(vec![of("x", vec![lists])]).await;
    let query = "{ } | select(span.words, span.none, event:timeSinceStart, rootName, traceDuration, span:id)";
    let found = world.search(query).await.unwrap().traces.remove(0);
    let span = &found.spansets[0].spans[0];
    let expected = [
        ("words".to_owned(), Value::Json(r#"["a","b"]"#.into())),
        ("event:timeSinceStart".to_owned(), Value::from("1.5ms")),
    ];
    assert_eq!(span.attributes, expected);
    let found = world.search("{ } | avg(duration) > 1ms | by(span.words)").await.unwrap().traces.remove(0);
    let expected = [
        ("avg(duration)".to_owned(), Value::from("250ms")),
        ("by(span.words)".to_owned(), Value::Json(r#"["a","b"]"#.into())),
    ];
    assert_eq!(found.spansets[0].attributes, expected);
    assert_eq!(names(&world, "{ span.none = nil && span.words != nil }").await, ["lists"]);
    let values =
        world.engine.traceql_tag_values(&Tenant::default(), "span.words", None, range(), 9).await.unwrap();
    let values: Vec<&str> = values.iter().map(|value| value.value.as_str()).collect();
    assert_eq!(values, ["a", "b"]);
}

#[tokio::test]
async fn a_span_whose_parent_is_missing_is_no_root() {
    let spans = vec![
        span(1, 1, 0, "root", 0, 10),
        span(1, 2, 1, "child", 1, 5),
        span(1, 4, 9, "stray", 2, 5),
        span(1, 5, 4, "below stray", 3, 5),
        span(1, 6, 0, "second root", 4, 5),
    ];
    let world = world_of(vec![of("x", spans)]).await;
    for (query, expected) in [
        ("{ nestedSetParent < 0 }", vec!["root", "second root"]),
        ("{ nestedSetParent = 0 }", vec!["below stray", "stray"]),
        ("{ nestedSetLeft = 0 && nestedSetRight = 0 }", vec!["below stray", "stray"]),
        (r#"{ name = "root" } ~ { }"#, vec!["second root"]),
        (r#"{ name = "stray" } ~ { }"#, vec![]),
        // What is there hangs together all the same.
        (r#"{ name = "stray" } > { }"#, vec!["below stray"]),
        (r#"{ rootName = "root" && name = "stray" }"#, vec!["stray"]),
    ] {
        assert_eq!(names(&world, query).await, expected, "{query}");
    }
    let orphans = world_of(vec![of("x", vec![span(1, 2, 9, "orphan", 0, 1)])]).await;
    let found = orphans.search("{ rootServiceName = `` }").await.unwrap().traces.remove(0);
    assert_eq!((found.root_service.as_str(), found.root_name.as_str()), ("<root span not yet received>", ""));
}

/// Where it lies the index knows, and no share of the work counts it once more. A short text is an id without its first zeros.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_trace_is_found_by_its_id() {
    let world = world_of(vec![of("x", (1..200).map(|id| span(id, id, 0, "one", 0, 1)).collect())]).await;
    for _ in 0..2 {
        let id = hex::encode([7; 16]);
        let found = world.search(&format!("{{ trace:id = `{id}` }}")).await.unwrap();
        assert_eq!(found.traces.iter().map(|trace| trace.trace_id).collect::<Vec<_>>(), [[7; 16]]);
        for (asked, expected) in [(id.clone(), 1.0), (hex::encode([250; 16]), 0.0), (id[1..].to_owned(), 1.0)]
        {
            let query = format!("{{ trace:id = `{asked}` }} | count_over_time()");
            let counted = world.metrics(&query).await.unwrap();
            let points = counted.series.iter().flat_map(|series| &series.points);
            assert_eq!(points.map(|(_, count)| count).sum::<f64>(), expected, "{query}");
        }
        world.store.flush().await.unwrap();
    }
}

/// As Zipkin has it: what is below the id that both have was asked by the server.
#[tokio::test]
async fn a_server_may_have_its_clients_id() {
    let kind = |kind, span: Span| Span { kind, ..span };
    let spans = vec![
        span(1, 1, 0, "root", 0, 100),
        kind(SpanKind::Client, span(1, 2, 1, "client", 1, 80)),
        kind(SpanKind::Server, span(1, 2, 1, "server", 2, 60)),
        span(1, 3, 2, "query", 3, 10),
    ];
    let world = world_of(vec![of("x", spans)]).await;
    assert_eq!(names(&world, r#"{ kind = server && name = "server" } > { }"#).await, ["query"]);
    assert!(names(&world, "{ kind = client } > { }").await.is_empty());
}

#[tokio::test]
async fn labels_leave_out_what_is_missing() {
    let with = |id: u8, attributes: &[(&str, i64)]| Span {
        attributes: attributes.iter().map(|(name, value)| ((*name).to_owned(), Value::Int(*value))).collect(),
        ..span(1, id, 0, "x", i64::from(id), 1)
    };
    let spans = vec![with(1, &[("a", 1), ("b", 2)]), with(2, &[("b", 2)]), with(3, &[])];
    let world = world_of(vec![of("x", spans)]).await;
    let found = world.metrics("{ } | count_over_time() by (span.a, span.b)").await.unwrap();
    let expected =
        [r#"{span.a="1", span.b="2"} 1"#, r#"{span.a="nil"} 1"#, r#"{span.b="2"} 1"#].map(str::to_owned);
    assert_eq!(told(&found), expected);
}

#[tokio::test]
async fn what_is_divided_by_nothing_is_nothing() {
    let world = World::new().await;
    let found = world.metrics("({ status = error } | rate()) / ({ } | rate())").await.unwrap();
    // No span lies in the step before the range.
    assert_eq!(found.series[0].points.len(), 1);
    assert_eq!(told(&found), [r#"{__name__="(rate / rate)"} 0.25"#]);
    assert!(world.metrics("({ } | rate()) / 0").await.unwrap().series.is_empty());
    let scaled = world.metrics("({ } | count_over_time()) * 2").await.unwrap();
    assert_eq!(told(&scaled), [r#"{__name__="count_over_time"} 8"#]);
    assert!(world.metrics("{ } | quantile_over_time(duration, 1.5)").await.is_err());
}

/// Powers of two of nanoseconds, in seconds.
#[tokio::test]
async fn a_histogram_bounds_durations_as_tempo_does() {
    let world = World::new().await;
    let found = world.metrics("{ } | histogram_over_time(duration)").await.unwrap();
    let expected = [r#"{__bucket="0.033554432"} 1"#, r#"{__bucket="0.536870912"} 3"#];
    assert_eq!(told(&found), expected);
    assert!(found.series.iter().all(|series| series.points.len() == 2));
}

#[tokio::test]
async fn zeros_at_the_front_of_an_id_may_be_left_out() {
    let mut short = span(1, 1, 0, "short", 0, 1);
    short.trace_id = [0; 16];
    short.trace_id[15] = 0xab;
    let world = world_of(vec![of("x", vec![short, span(2, 2, 0, "other", 0, 1)])]).await;
    for at in ["memory", "parts"] {
        for query in ["{ trace:id = `ab` }", "{ `0AB` = trace:id }", "{ trace:id = `ab` && name = `short` }"]
        {
            assert_eq!(names(&world, query).await, ["short"], "{query} in {at}");
        }
        assert_eq!(names(&world, "{ trace:id != `ab` }").await, ["other"], "{at}");
        let counted = world.metrics("{ trace:id = `ab` } | count_over_time()").await.unwrap();
        assert_eq!(told(&counted), [r#"{__name__="count_over_time"} 1"#], "{at}");
        world.store.flush().await.unwrap();
    }
}

#[tokio::test]
async fn nothing_counted_is_zero() {
    let world = World::new().await;
    let found = world.metrics("{ name = `nosuch` } | count_over_time()").await.unwrap();
    assert_eq!(told(&found), [r#"{__name__="count_over_time"} 0"#]);
    assert!(world.metrics("{ name = `nosuch` } | rate() by (name)").await.unwrap().series.is_empty());
}

/// A span without events has none that lacks an attribute.
#[tokio::test]
async fn an_event_may_lack_an_attribute() {
    let event = |attributes: Attributes| SpanEvent { name: "e".into(), attributes, ..SpanEvent::default() };
    let with = |id: u8, name: &str, events| Span { events, ..span(1, id, 0, name, i64::from(id), 1) };
    let a = || vec![("a".to_owned(), Value::from("x"))];
    let spans = vec![
        with(1, "none", vec![]),
        with(2, "both", vec![event(vec![]), event(a())]),
        with(3, "has", vec![event(a())]),
    ];
    let world = world_of(vec![of("x", spans)]).await;
    assert_eq!(names(&world, "{ event.a = nil }").await, ["both"]);
    assert_eq!(names(&world, "{ event.a != nil }").await, ["both", "has"]);
    assert_eq!(names(&world, r#"{ event.a = "x" }"#).await, ["both", "has"]);
    let found = world.search("{ name = `both` } | select(event.a)").await.unwrap().traces.remove(0);
    let expected = [("a".to_owned(), Value::from("x"))];
    assert_eq!(found.spansets[0].spans[0].attributes, expected);
}

#[tokio::test]
async fn what_is_compared_keeps_its_type() {
    let world = World::new().await;
    let found = world.metrics("{ } | compare({ status = error })").await.unwrap();
    let code = |series: &&TraceSeries| {
        series.labels.iter().any(|(name, _)| name == "span.http.response.status_code")
    };
    let values: Vec<Value> =
        found.series.iter().filter(code).map(|series| series.labels[1].1.clone()).collect();
    assert!(values.contains(&Value::Int(500)) && values.contains(&Value::Int(200)), "{values:?}");
}

#[tokio::test]
async fn who_has_no_service_has_an_empty_one() {
    let without =
        ResourceSpans { resource: Arc::new(vec![]), ..of("x", vec![span(1, 1, 0, "without", 0, 5)]) };
    let world = world_of(vec![without, of("x", vec![span(2, 2, 0, "with", 0, 5)])]).await;
    for sealed in [false, true] {
        if sealed {
            world.store.flush().await.unwrap();
        }
        for (query, expected) in [
            ("{ resource.service.name = `` }", vec!["without"]),
            ("{ .service.name = `` }", vec!["without"]),
            ("{ resource.service.name != `x` }", vec!["without"]),
            ("{ resource.service.name =~ `.*` }", vec!["with", "without"]),
            ("{ resource.service.name != nil }", vec!["with", "without"]),
            ("{ resource.service.name = `x` }", vec!["with"]),
        ] {
            assert_eq!(names(&world, query).await, expected, "{query} {sealed}");
        }
        let found = world.metrics("{ } | count_over_time() by (resource.service.name)").await.unwrap();
        let labels: Vec<String> = found.series.iter().map(|series| prom_labels(&series.labels)).collect();
        assert_eq!(labels, [r#"{resource.service.name=""}"#, r#"{resource.service.name="x"}"#]);
    }
}

#[tokio::test]
async fn what_is_missing_is_neither_like_nor_unlike_another() {
    let with = |id, name, attributes: &[(&str, i64)]| Span {
        attributes: attributes.iter().map(|(name, value)| ((*name).to_owned(), Value::Int(*value))).collect(),
        ..span(1, id, 0, name, 0, 5)
    };
    let spans = vec![
        with(1, "none", &[]),
        with(2, "one", &[("a", 1)]),
        with(3, "same", &[("a", 1), ("b", 1)]),
        with(4, "two", &[("a", 1), ("b", 2)]),
    ];
    let world = world_of(vec![of("x", spans)]).await;
    for (query, expected) in [
        ("{ span.a = span.b }", vec!["same"]),
        ("{ span.a != span.b }", vec!["two"]),
        ("{ span.b - 1 = span.a - 1 }", vec!["same"]),
        ("{ span.b = nil && span.a != nil }", vec!["one"]),
        ("{ nil = span.a }", vec!["none"]),
        ("{ nil != span.b }", vec!["same", "two"]),
        ("{ nil != duration && !(nil != span.a) }", vec!["none"]),
    ] {
        assert_eq!(names(&world, query).await, expected, "{query}");
    }
    let found = world.search("{ span.b = nil && span.a != nil }").await.unwrap().traces.remove(0);
    let told = [("b".to_owned(), Value::from("nil")), ("a".to_owned(), Value::Int(1))];
    assert_eq!(found.spansets[0].spans[0].attributes, told);
    let found = world.search("{ } | by(span.a + 1) | avg(-duration) < 0s").await.unwrap().traces.remove(0);
    let told: Vec<&str> = found.spansets[0].attributes.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(told, ["by(span.a + 1)", "avg(-duration)"]);
}

#[tokio::test]
async fn the_parent_of_a_root_is_zeros() {
    let spans = vec![span(1, 1, 0, "root", 0, 9), span(1, 2, 1, "child", 1, 2), span(1, 3, 9, "torn", 1, 2)];
    let world = world_of(vec![of("x", spans)]).await;
    for (query, expected) in [
        (r#"{ span:parentID != "0101010101010101" }"#, vec!["root", "torn"]),
        (r#"{ span:parentID = "0000000000000000" }"#, vec!["root"]),
        (r#"{ span:parentID != "0000000000000000" }"#, vec!["child", "torn"]),
        (r#"{ span:parentID =~ "0[01]+" }"#, vec!["child", "root"]),
        (r#"{ span:parentID = "" }"#, vec![]),
        ("{ parent = nil }", vec!["root"]),
        (r#"{ parent != "0101010101010101" }"#, vec!["torn"]),
    ] {
        assert_eq!(names(&world, query).await, expected, "{query}");
    }
}

#[tokio::test]
async fn whole_numbers_are_put_together_to_the_last_digit() {
    let with = |id: u8, number: i64| {
        let mut span = span(1, id, 0, "x", 0, 1);
        span.attributes = vec![("a".into(), Value::Int(number))].into();
        span
    };
    // The first is one more than 2^53.
    let told = async |numbers: [i64; 2], aggregate: &str| {
        let spans = numbers.into_iter().zip(1..).map(|(number, id)| with(id, number)).collect();
        let world = world_of(vec![of("x", spans)]).await;
        let query = format!("{{ }} | {aggregate}(span.a) != 0");
        world.search(&query).await.unwrap().traces.remove(0).spansets[0].attributes[0].1.clone()
    };
    let most = 9_007_199_254_740_993;
    assert_eq!(told([most, 2], "sum").await, Value::Int(most + 2));
    assert_eq!(told([most, 2], "max").await, Value::Int(most));
    assert_eq!(told([-most, 2], "min").await, Value::Int(-most));
    assert_eq!(told([i64::MAX, 2], "sum").await, Value::Int(i64::MAX));
}
