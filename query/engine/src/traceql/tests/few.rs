//! What is told of many traces by columns is what is found where each is read whole.

use super::*;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

const TRACES: u32 = 1_500;
/// Answers that are asked for: where there are fewer, all traces are told.
const FEW: usize = 20;

fn trace_id(number: u32) -> TraceId {
    let mut id = [7; 16];
    id[..4].copy_from_slice(&number.wrapping_mul(2_654_435_761).to_be_bytes());
    id
}

/// Some spans of each trace, by chance also of the half hours before and after, of both ends of a call, and below any other.
fn spans(rng: &mut StdRng) -> Vec<(usize, Span)> {
    let mut all: Vec<(usize, Span)> = vec![];
    for number in 0..TRACES {
        let count = rng.random_range(1..7);
        for place in 0..count {
            let id = rng.random_range(1..6u8);
            let away = [0, 0, 0, 0, 0, -1_800, 1_800, 3 * 3_600][rng.random_range(0..8)];
            let mut one = span(1, id, 0, ["GET /", "query", "write"][rng.random_range(0..3)], 0, 0);
            one.trace_id = trace_id(number);
            one.parent_span_id = (place > 0).then(|| [rng.random_range(1..7); 8]);
            // Most are in the newest part of the range, which is looked through first.
            let second = 59 - i64::from(number % 20) + if place > 0 { away } else { 0 };
            one.start_ns = NOON_NS + second * SECOND_NS + i64::from(rng.random_range(0..3u8));
            one.duration_ns = [0, 1, 5 * MS, 10 * MS, 50 * MS, SECOND_NS][rng.random_range(0..6)];
            one.kind = [SpanKind::Server, SpanKind::Client][rng.random_range(0..2)];
            one.status = [StatusCode::Unset, StatusCode::Ok, StatusCode::Error][rng.random_range(0..3)];
            let values =
                [Value::Int(1), Value::Int(3), Value::Double(2.5), Value::from("1"), Value::Bool(true)];
            if rng.random_bool(0.7) {
                one.attributes =
                    vec![("n".to_owned(), values[rng.random_range(0..values.len())].clone())].into();
            }
            if rng.random_bool(0.2) {
                let ts_ns = one.start_ns + SECOND_NS;
                one.events = vec![SpanEvent { ts_ns, name: "retry".into(), ..SpanEvent::default() }];
            }
            // Another span would be this one sent with something else in it.
            let key = |span: &Span| (span.trace_id, span.span_id, span.kind as u8, span.start_ns);
            if all.iter().rev().take(8).all(|(_, other)| key(other) != key(&one)) {
                all.push((rng.random_range(0..2), one));
            }
        }
    }
    all
}

fn batch_of(spans: impl Iterator<Item = (usize, Span)>) -> Batch {
    let mut resources = [of("cart", vec![]), of("web", vec![])];
    spans.for_each(|(service, span)| resources[service].spans.push(span));
    Batch::Spans(SpanBatch { resources: resources.into() })
}

/// Not a short one, of which the first traces are read whole before anything is told by columns. Some spans start before it.
fn hour() -> TimeRange {
    TimeRange { start: NOON_NS - 900 * SECOND_NS, end: NOON_NS + 3_000 * SECOND_NS }
}

async fn found(world: &World, query: &str, range: TimeRange, limit: usize) -> TraceSearch {
    let options = SearchOptions { range, limit, spans_per_spanset: 10 };
    let tenant = Tenant::new("few").unwrap();
    let found = world.engine.traceql_search(&tenant, query, options).await;
    let mut found = found.unwrap_or_else(|why| panic!("{query}: {why}"));
    found.traces.sort_by_key(|trace| trace.trace_id);
    found
}

/// Both `spansets | rest`, and with what is asked of the spans more often than branches are told apart, joined by `or`, for which
/// all traces that have spans of it are read whole. Whether fewer were read for all answers.
async fn check(world: &World, (spansets, rest): (&str, &str), range: TimeRange, place: &str) -> bool {
    let query = format!("{spansets}{rest}");
    let branches: Vec<String> = std::iter::repeat_n(format!("({spansets})"), 5).collect();
    let whole = format!("{}{rest}", branches.join(" || "));
    let all = found(world, &whole, range, TRACES as usize).await;
    let mut fewer = false;
    for limit in [FEW, TRACES as usize] {
        let few = found(world, &query, range, limit).await;
        assert_eq!(few.traces.len(), all.traces.len().min(limit), "{query} in {place}");
        for trace in &few.traces {
            let at = all.traces.binary_search_by_key(&trace.trace_id, |other| other.trace_id);
            assert_eq!(at.ok().map(|at| &all.traces[at]), Some(trace), "{query} in {place}");
        }
        fewer |= all.traces.len() < limit && few.inspected_traces < all.inspected_traces;
    }
    fewer
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn few_of_many_traces_are_found_as_if_each_were_read_whole() {
    let world = World::new().await;
    let tenant = Tenant::new("few").unwrap();
    let mut rng = StdRng::seed_from_u64(7);
    let spans = spans(&mut rng);
    let write = async |batch: Batch| {
        let write = Write { tenant: tenant.clone(), batch, origin: None };
        world.store.write(write).await.unwrap();
    };
    let mut left_out = 0;
    for place in ["memory", "a part, and memory", "a part"] {
        match place {
            "memory" => write(batch_of(spans.iter().cloned())).await,
            "a part, and memory" => {
                world.store.flush().await.unwrap();
                // Some were sent twice.
                write(batch_of(spans.iter().filter(|_| rng.random_bool(0.2)).cloned())).await;
            }
            _ => {
                world.store.flush().await.unwrap();
                world.store.compact().await.unwrap();
            }
        }
        let filters = [
            "name = `query`",
            "duration >= 5ms && name != `write`",
            "span.n != nil && kind = client",
            "resource.service.name = `cart` && status != ok",
            "span.n = 1 || event:name = `retry`",
        ];
        let conditions = [
            "avg(duration) > 900ms",
            "sum(duration) > 2500ms",
            "sum(duration) < 2ns | count() > 2",
            "min(span.n) < 2.6 | count() > 4",
            "max(duration) - min(duration) > 999ms | count() > 3",
            "avg(duration) < 6ms | count() > 3 | sum(.n) / count() > 2.9",
            "avg(event:timeSinceStart) >= 1s | select(span.n) | count() > 3",
            "count() > 3 | by(kind) | max(span.n) > 2.5",
            "count() > 4",
            // Each demands a span, and not the same one; the third is not read by columns.
            "max(span.n) > 2.5 | min(span.n) < 2 | avg(duration) > 10ms",
            "by(name) | max(span.n) > 2.5 | min(duration) <= 5ms",
            // Also asked of single spans first, but by what takes the whole trace.
            "sum(duration) > 2500ms | by(name) | max(childCount) >= 0",
        ];
        for (at, condition) in conditions.iter().enumerate() {
            for filter in [filters[at % filters.len()], filters[(at + 2) % filters.len()]] {
                let (spansets, rest) = (format!("{{ {filter} }}"), format!(" | {condition}"));
                let range = if at % 3 == 2 { range() } else { hour() };
                left_out += usize::from(check(&world, (&spansets, &rest), range, place).await);
            }
        }
        for query in [
            ("{ name = `query` && status = error } >> { span.n = 3 && name = `write` }", ""),
            ("{ name = `query` } > { status = error }", ""),
            ("{ name = `query` } < { status = error && duration > 50ms }", ""),
            ("{ span.n = 3 } ~ { span.n = 1 }", ""),
            ("{ status = error && kind = client } << { name = `write` && span.n = 1 }", ""),
            ("{ status = error } >> { name = `write` && duration = 1s }", " | count() > 1"),
            ("{ name = `query` && span.n = 1 } &> { name = `write` }", " | by(kind) | max(duration) > 5ms"),
            ("{ name = `query` } &>> { name = `write` && duration >= 50ms }", ""),
            ("{ name = `query` && status = error } &~ { span.n = 1 && kind = client }", ""),
            ("{ status = error && span.n = true } >> { span.n = `1` }", " | select(resource.zone)"),
        ] {
            left_out += usize::from(check(&world, query, hour(), place).await);
        }
        // Few of which are looked into before all spans are.
        let of_any = [
            "{ name = `query` && span.n = 1 } > { }",
            "{ } < { name = `query` && status = error }",
            "{ } > { span.n = 3 && kind = client }",
            "{ name = `write` && span.n = 1 } >> { }",
            "{ } &>> { name = `write` && span.n = 3 && kind = server }",
            "{ name = `query` && span.n = true } &> { duration < 10ms }",
            "{ kind = client && duration <= 5ms } ~ { name = `write` && span.n = 1 }",
        ];
        for query in of_any {
            check(&world, (query, " | by(kind)"), hour(), place).await;
        }
        // As one of two pipelines each is told alone.
        for (at, one) in of_any.iter().enumerate() {
            let other = of_any[(at + 3) % of_any.len()];
            let either = format!("({one}) || ({other} | count() > 1)");
            assert!(check(&world, (&either, ""), hour(), place).await, "{either} in {place}");
        }
        for query in [
            ("{ span.n = 1 } ~ { span.n = 1 }", ""),
            ("{ name = `query` } &~ { name = `query` && span.n = true }", ""),
            ("{ name = `query` }", " | { status = error } | by(kind) | max(duration) > 5ms"),
            ("{ status = error && kind = client }", " | { span.n = 1 }"),
            ("{ parent.span.n = 3 }", ""),
            ("{ parent.n = `1` && status = error }", " | avg(duration) > 5ms"),
            ("{ parent.span.n = 1 && parent.n != 2 && childCount > 0 && kind = client }", " | by(name)"),
            ("{ parent.n =~ `1` && name = `write` }", ""),
            ("({ name = `query` } | count() > 3) || ({ name = `write` } | avg(duration) > 900ms)", ""),
            ("{ name = `query` && span.n = `1` } || ({ status = error } | count() > 3)", " | count() > 1"),
        ] {
            assert!(check(&world, query, hour(), place).await, "{query:?} in {place}");
        }
        // Of which all are candidates: once most were looked into, columns tell what is asked of an operand.
        for query in [
            ("({ duration >= 0ns } | avg(duration) > 900ms) && { }", ""),
            ("{ } > { duration >= 0ns } > { duration >= 0ns }", ""),
            ("{ duration >= 0ns } >> { duration >= 0ns } >> { }", " | by(kind)"),
        ] {
            assert!(check(&world, query, hour(), place).await, "{query:?} in {place}");
        }
        // Traces that are too small or too short for it are not read.
        for query in [
            ("{ childCount > 3 }", ""),
            ("{ 4 <= childCount }", " | by(kind)"),
            ("{ nestedSetLeft > 8 }", ""),
            ("{ 9 < nestedSetRight && nestedSetParent >= 5 }", ""),
            ("({ } | sum(duration) > 4100ms)", ""),
            ("({ childCount >= 0 } | by(name) | sum(duration) >= 3s)", ""),
        ] {
            assert!(check(&world, query, hour(), place).await, "{query:?} in {place}");
        }
        for query in [
            ("{ status = ok } !>> { name = `write` && duration = 1s && kind = server }", ""),
            ("{ parent.span.n = 3 && .n = 1 } && { status = error }", ""),
            ("{ rootName = `GET /` && childCount > 2 }", " | by(name) | count() > 1"),
            ("{ nestedSetLeft > 3 && .n = 1 }", " | select(resource.zone)"),
            ("{ rootServiceName = `web` && name = `query` }", " | avg(duration) > 5ms"),
            ("{ childCount > 0 }", " | by(kind) | max(span.n) > 2.5"),
        ] {
            check(&world, query, range(), place).await;
        }
    }
    assert!(left_out > 10, "{left_out}");
}

fn with_number(mut one: Span, number: i64) -> Span {
    one.attributes = vec![("n".to_owned(), Value::Int(number))].into();
    one
}

const BEFORE_MS: i64 = -1_800_000;
const LONG_AFTER_MS: i64 = 3 * 3_600_000;

/// Traces by their first byte, ascending.
async fn numbers(world: &World, query: &str, range: TimeRange) -> Vec<u8> {
    found(world, query, range, FEW).await.traces.iter().map(|trace| trace.trace_id[0]).collect()
}

#[tokio::test]
async fn what_is_told_of_some_spans_of_a_trace_holds_for_all_that_are_read_of_it() {
    let world = World::new().await;
    let (call, sent) = (SpanKind::Client, SpanKind::Producer);
    let kind = |kind: SpanKind, one: Span| Span { kind, ..one };
    let spans = vec![
        // What an aggregate demands one span of is another span, or one that starts before the range.
        with_number(span(1, 1, 0, "a", 0, 1), 1),
        with_number(span(1, 2, 1, "a", BEFORE_MS, 1), 3),
        with_number(span(2, 1, 0, "a", 0, 1), 1),
        with_number(span(2, 2, 1, "a", 1, 1), 3),
        // Two spans with one id and one start, whichever was sent first.
        kind(call, with_number(span(3, 1, 0, "b", 0, 1), 7)),
        kind(sent, with_number(span(3, 1, 0, "b", 0, 1), 8)),
        span(3, 2, 1, "c", 0, 1),
        kind(sent, with_number(span(4, 1, 0, "b", 0, 1), 8)),
        kind(call, with_number(span(4, 1, 0, "b", 0, 1), 7)),
        span(4, 2, 1, "c", 0, 1),
        // What begins more than an hour after the range is not read.
        span(5, 1, 0, "d", 0, 1),
        span(5, 2, 1, "d", LONG_AFTER_MS, 1),
        // Sent before its end, and after it.
        span(6, 1, 0, "e", 0, 1),
        span(6, 2, 1, "e", 0, 1),
        span(6, 2, 1, "e", 0, 50),
        // What one of two pipelines finds lies before the range, and what the other would begin with does not.
        span(7, 1, 0, "f", BEFORE_MS, 1),
        span(7, 2, 1, "f", BEFORE_MS, 1),
        span(7, 3, 1, "g", 0, 1),
        span(8, 1, 0, "f", BEFORE_MS, 1),
        span(8, 2, 1, "f", 0, 1),
        // Only the root is in the range.
        span(9, 1, 0, "h", 0, 1),
        span(9, 2, 1, "h", BEFORE_MS, 1),
        span(9, 3, 2, "h", BEFORE_MS, 1),
    ];
    let batch = batch_of(spans.into_iter().map(|span| (0, span)));
    let write = Write { tenant: Tenant::new("few").unwrap(), batch, origin: None };
    world.store.write(write).await.unwrap();
    for place in ["memory", "a part"] {
        for (query, expected) in [
            ("{ name = `a` } | max(span.n) > 2", vec![1, 2]),
            ("{ name = `a` } | max(span.n) > 2 | min(span.n) < 2", vec![1, 2]),
            ("{ name = `a` } | by(span.n) | avg(span.n) = 3", vec![1, 2]),
            ("{ name = `a` } | max(span.n) > 3", vec![]),
            ("{ parent.span.n = 7 }", vec![3, 4]),
            ("{ parent.span.n = 8 }", vec![]),
            ("{ traceDuration < 10m && rootName = `d` }", vec![5]),
            ("{ name = `e` && duration < 10ms } | count() = 1", vec![6]),
            ("{ name = `e` && duration < 10ms } | count() = 2", vec![]),
            ("{ name = `e` } | avg(duration) > 25ms", vec![6]),
            ("({ name = `f` } | count() > 1) || ({ name = `g` } | count() > 1)", vec![8]),
            ("{ name = `f` && nestedSetParent < 0 }", vec![]),
            ("{ name = `h` && nestedSetParent < 0 }", vec![9]),
            ("{ nestedSetParent >= 2 }", vec![]),
        ] {
            for range in [range(), hour()] {
                assert_eq!(numbers(&world, query, range).await, expected, "{query} in {place}");
            }
        }
        world.store.flush().await.unwrap();
        world.store.compact().await.unwrap();
    }
}
