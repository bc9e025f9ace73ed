//! What is told of events, of values that were asked for, and of spans that stand for others.

use super::*;

fn event(name: &str, at_ms: i64, attributes: &[(&str, i64)]) -> SpanEvent {
    let attributes =
        attributes.iter().map(|(name, value)| ((*name).to_owned(), Value::Int(*value))).collect();
    SpanEvent { ts_ns: NOON_NS + at_ms * MS, name: name.into(), attributes, ..SpanEvent::default() }
}

/// Of each span that is found its name and what is told of it.
async fn told_of(world: &World, query: &str) -> Vec<String> {
    let found = world.search(query).await.unwrap_or_else(|why| panic!("{query}: {why}"));
    let sets = found.traces.iter().flat_map(|trace| &trace.spansets);
    let mut told: Vec<String> = sets
        .flat_map(|set| &set.spans)
        .map(|span| {
            let told = span.attributes.iter().map(|(name, value)| format!(" {name}={value}"));
            format!("{}{}", span.name, told.collect::<String>())
        })
        .collect();
    told.sort();
    told
}

async fn retries() -> World {
    let mut first = span(1, 1, 0, "first", 0, 100);
    first.events = vec![event("try", 1, &[("n", 1), ("ms", 90)]), event("retry", 2, &[("n", 2), ("ms", 5)])];
    first.attributes = vec![("code".into(), Value::Int(500))].into();
    let mut second = span(1, 2, 1, "second", 0, 50);
    second.events = vec![event("retry", 1, &[("n", 3), ("ms", 90)]), event("done", 2, &[("ms", 1)])];
    second.attributes =
        vec![("code".into(), Value::Int(200)), ("words".into(), Value::Json(r#"["a","b"]"#.into()))].into();
    answers::world_of(vec![of("x", vec![first, second])]).await
}

#[tokio::test]
async fn conditions_on_events_hold_of_one_event() {
    let world = retries().await;
    for (query, expected) in [
        ("{ event.n = 2 && event.ms = 5 }", vec!["first n=2 ms=5"]),
        ("{ event.n = 1 && event.ms = 5 }", vec![]),
        ("{ event:name = `retry` && event.ms > 50 }", vec!["second event:name=retry ms=90"]),
        (
            "{ event:name =~ `.*try` && span.code = 500 && event.n < 2 }",
            vec!["first event:name=try code=500 n=1"],
        ),
        ("{ event.n = 1 } && { event.ms = 5 }", vec!["first n=1 ms=5"]),
        // What `!` is about is told as it is: its conditions are those that did not hold.
        ("{ !(event.n = 1 && event.ms = 90) && event.n > 0 }", vec!["second n=3 ms=1"]),
    ] {
        let mut told = told_of(&world, query).await;
        // The order in which fields are told is the query's.
        told.iter_mut().for_each(|line| *line = sorted(line));
        let expected: Vec<String> = expected.into_iter().map(sorted).collect();
        assert_eq!(told, expected, "{query}");
    }
    let twice = "{ .service.name = `x` && resource.service.name = `x` && span.code = 200 }";
    assert_eq!(told_of(&world, twice).await, ["second service.name=x code=200"]);
    let counted = world.metrics("{ event.n = 1 && event.ms = 5 } | count_over_time()").await.unwrap();
    assert!(counted.series.iter().flat_map(|series| &series.points).all(|(_, count)| *count == 0.0));
}

fn sorted(line: &str) -> String {
    let mut words: Vec<&str> = line.split(' ').collect();
    words.sort_unstable();
    words.join(" ")
}

#[tokio::test]
async fn what_did_not_pass_is_not_told() {
    let world = retries().await;
    for (query, expected) in [
        ("{ event.ms > 50 }", vec!["first ms=90", "second ms=90"]),
        ("{ event.n >= 1 }", vec!["first n=2", "second n=3"]),
        ("{ } | select(event.ms)", vec!["first ms=5", "second ms=1"]),
        ("{ span.code = 500 || event.n = 3 }", vec!["first code=500", "second n=3"]),
        (
            "{ span.code = 500 || event.n = 3 } | select(span.code)",
            vec!["first code=500", "second code=200 n=3"],
        ),
        ("{ span.code = 500 } >> { span.code = 200 }", vec!["second code=200"]),
        ("{ span.code != 500 }", vec!["second code=200"]),
        ("{ span.words = `b` }", vec!["second words=b"]),
        ("{ span.words = nil }", vec!["first words=nil"]),
        ("{ span.words = nil || span.code = 200 }", vec!["first words=nil", "second code=200"]),
        ("{ event.n = nil }", vec!["second n=nil"]),
        ("{ 5 = event.ms && event.n = 2 }", vec!["first ms=5 n=2"]),
        ("{ 5 = event.ms && 1 = event.n }", vec![]),
    ] {
        assert_eq!(told_of(&world, query).await, expected, "{query}");
    }
}

#[tokio::test]
async fn values_of_events_are_those_that_are_asked_for() {
    let world = retries().await;
    for (tag, query, expected) in [
        ("event:name", "{ event:name = `retry` }", vec!["retry"]),
        ("event.n", "{ event:name = `retry` && event.n > 1 }", vec!["2", "3"]),
        ("event:name", "{ span.code = 500 }", vec!["retry", "try"]),
    ] {
        let values = world.engine.traceql_tag_values(&Tenant::default(), tag, Some(query), range(), 9).await;
        let values: Vec<String> = values.unwrap().into_iter().map(|value| value.value).collect();
        assert_eq!(values, expected, "{tag} {query}");
    }
}

#[tokio::test]
async fn a_search_for_numbers_answers_their_spans() {
    let world = retries().await;
    for (query, expected) in [
        ("{ span.code > 200 } | rate()", vec!["first code=500"]),
        ("{ } | count_over_time() by (span.code) | topk(3)", vec!["first code=500", "second code=200"]),
        ("{ name = `second` } | avg_over_time(duration) > 1", vec!["second"]),
        ("({ name = `second` } | rate()) * 100 > 1", vec!["second"]),
        ("1 / (2 - ({ name = `second` } | rate()))", vec!["second"]),
        ("({ span.code = 500 } | rate()) / ({ event.n = 3 } | rate())", vec!["first code=500", "second n=3"]),
        (
            "2 * ({ name = `second` } | rate()) - ({ name = `second` } | rate() by (span.code))",
            vec!["second code=200"],
        ),
        ("({ name = `second` } | count() > 1 | rate()) + ({ name = `first` } | rate())", vec!["first"]),
    ] {
        assert_eq!(told_of(&world, query).await, expected, "{query}");
    }
}

#[tokio::test]
async fn exemplars_tell_what_the_query_reads() {
    let world = retries().await;
    for (query, expected) in [
        ("{ } | rate()", ""),
        ("{ span.code = 500 } | max_over_time(duration)", "span.code=500 duration=100ms"),
        ("{ .code = 500 } | rate() by (name)", "span.code=500 name=first"),
        ("{ nestedSetParent < 0 } | rate() by (resource.service.name)", "resource.service.name=x"),
        ("({ span.code = 500 } | rate()) * 2", "span.code=500"),
    ] {
        let found = world.metrics(query).await.unwrap_or_else(|why| panic!("{query}: {why}"));
        let exemplars: Vec<&TraceExemplar> =
            found.series.iter().flat_map(|series| &series.exemplars).collect();
        let told = |(name, value): &(String, Value)| format!("{name}={value}");
        let read: Vec<String> = exemplars[0].read.iter().map(told).collect();
        assert_eq!((exemplars.len(), read.join(" ").as_str()), (1, expected), "{query}");
        assert_eq!(exemplars[0].labels().last().map(|(name, _)| name.as_str()), Some("trace:id"));
    }
}

#[tokio::test]
async fn of_equal_series_the_first_by_name_are_largest_and_the_last_smallest() {
    let spans = ["d", "b", "a", "c"].iter().zip(1..).map(|(name, id)| span(1, id, 0, name, 0, 1)).collect();
    let world = answers::world_of(vec![of("x", spans)]).await;
    for (query, expected) in [
        ("{ } | count_over_time() by (name) | topk(2)", [r#"{name="a"}"#, r#"{name="b"}"#]),
        ("{ } | count_over_time() by (name) | bottomk(2)", [r#"{name="c"}"#, r#"{name="d"}"#]),
    ] {
        let found = world.metrics(query).await.unwrap();
        let names: Vec<String> = found.series.iter().map(|series| prom_labels(&series.labels)).collect();
        assert_eq!(names, expected, "{query}");
    }
}

#[tokio::test]
async fn exemplars_go_with_their_values() {
    let spans = vec![span(1, 1, 0, "slow", 0, 100), span(1, 2, 1, "quick", 30_000, 10)];
    let world = answers::world_of(vec![of("x", spans)]).await;
    for (query, expected) in
        [("{ } | max_over_time(duration)", 2), ("{ } | max_over_time(duration) > 0.05", 1)]
    {
        let found =
            world.engine.traceql_metrics(&Tenant::default(), query, range(), 15_000, 10).await.unwrap();
        assert_eq!(found.series[0].exemplars.len(), expected, "{query}");
    }
}

#[tokio::test]
async fn every_series_has_its_part_of_the_exemplars() {
    let of_name = |(name, id): (&'static str, u8)| {
        (0..4).map(move |turn| span(turn + 1, id, 0, name, i64::from(turn) * 14_000, 10))
    };
    let world = answers::world_of(vec![of(
        "x",
        [("a", 1), ("b", 2), ("c", 3)].into_iter().flat_map(of_name).collect(),
    )])
    .await;
    for (most, expected) in [(2, [1, 1, 0]), (6, [2, 2, 2]), (100, [4, 4, 4])] {
        let by = "{ } | rate() by (name)";
        let found =
            world.engine.traceql_metrics(&Tenant::default(), by, range(), 15_000, most).await.unwrap();
        let told: Vec<usize> = found.series.iter().map(|series| series.exemplars.len()).collect();
        assert_eq!(told, expected, "{most}");
    }
}

#[tokio::test]
async fn a_label_that_says_nil_stands_alone() {
    let world = retries().await;
    for (query, expected) in [
        ("{ } | rate() by (span.none)", r#"{span.none="nil"}"#),
        ("{ } | quantile_over_time(duration, .5) by (span.none)", r#"{p="0.5"}"#),
    ] {
        let found = world.metrics(query).await.unwrap();
        let names: Vec<String> = found.series.iter().map(|series| prom_labels(&series.labels)).collect();
        assert_eq!(names, [expected], "{query}");
    }
}
