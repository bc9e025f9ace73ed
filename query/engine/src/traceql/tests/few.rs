//! What is told of many traces by columns, and of those that are left on all threads, is what is found where each is read whole.

use super::*;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

const TRACES: u32 = 1_500;
/// Of so many traces the greater part is told by other ways than to read each whole at once.
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

async fn found(world: &World, query: &str, limit: usize) -> TraceSearch {
    let options = SearchOptions { range: range(), limit, spans_per_spanset: 10 };
    let tenant = Tenant::new("few").unwrap();
    let found = world.engine.traceql_search(&tenant, query, options).await;
    let mut found = found.unwrap_or_else(|why| panic!("{query}: {why}"));
    found.traces.sort_by_key(|trace| trace.trace_id);
    found
}

/// `whole` is answered by traces that are all read whole. Whether there were few answers, and fewer traces to read for them.
async fn check(world: &World, query: &str, whole: &str, place: &str) -> bool {
    let (few, all) = (found(world, query, FEW).await, found(world, whole, TRACES as usize).await);
    assert_eq!(few.traces.len(), all.traces.len().min(FEW), "{query} in {place}");
    for trace in &few.traces {
        let at = all.traces.binary_search_by_key(&trace.trace_id, |other| other.trace_id);
        assert_eq!(at.ok().map(|at| &all.traces[at]), Some(trace), "{query} in {place}");
    }
    all.traces.len() < FEW && few.inspected_traces < all.inspected_traces
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
            // Also asked of single spans first, but by what takes the whole trace.
            "sum(duration) > 2500ms | by(name) | max(childCount) >= 0",
        ];
        for (at, condition) in conditions.iter().enumerate() {
            for filter in [filters[at % filters.len()], filters[(at + 2) % filters.len()]] {
                let query = format!("{{ {filter} }} | {condition}");
                let whole = format!("{{ {filter} }} || {{ {filter} }} | {condition}");
                left_out += usize::from(check(&world, &query, &whole, place).await);
            }
        }
        for query in [
            "{ name = `query` && status = error } >> { span.n = 3 && duration = 1s }",
            "{ name = `query` } > { status = error }",
            "{ span.n = 3 } ~ { span.n = 2.5 }",
            "{ status = error && kind = client } << { name = `write` && span.n = 1 }",
            "{ status = ok } !>> { name = `write` && duration = 1s && kind = server }",
            "{ name = `query` && span.n = 1 } &> { name = `write` }",
            "{ parent.span.n = 3 && .n = 1 } && { status = error }",
            "{ rootName = `GET /` && childCount > 2 } | by(name) | count() > 1",
            "{ nestedSetLeft > 3 && .n = 1 } | select(resource.zone)",
            "{ traceDuration > 1700s && rootServiceName = `web` && name = `query` } | avg(duration) > 5ms",
        ] {
            check(&world, query, query, place).await;
        }
    }
    assert!(left_out > 10, "{left_out}");
}
