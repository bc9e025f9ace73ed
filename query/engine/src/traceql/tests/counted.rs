//! What is counted by columns, as spans are scanned, is what is counted span by span in traces that are read whole.

use super::*;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

/// Spans of two minutes: of few services and names, with attributes of several types or none, some of them kept of many.
fn spans(rng: &mut StdRng) -> SpanBatch {
    let mut resources = vec![];
    for service in ["cart", "web", ""] {
        let one = |rng: &mut StdRng| {
            let (trace, id) = (rng.random_range(1..60), rng.random_range(1..=255));
            let name = ["GET /", "query"][rng.random_range(0..2)];
            let mut one = span(trace, id, rng.random_range(0..3), name, rng.random_range(0..1_000), 0);
            one.start_ns += [0, 0, 1, -1][rng.random_range(0..4)];
            one.duration_ns = [0, 1, 5 * MS, 10 * MS, 10 * MS + 1, SECOND_NS][rng.random_range(0..6)];
            one.kind = SpanKind::from_number(rng.random_range(0..6));
            one.status = [StatusCode::Unset, StatusCode::Error][rng.random_range(0..2)];
            one.trace_state = ["", "", "ot=th:8", "ot=th:c"][rng.random_range(0..4)].to_owned();
            let values = [
                Value::Int(rng.random_range(0..4)),
                Value::Double(1.5),
                Value::Double(f64::NAN),
                Value::Bool(true),
                Value::from("1"),
                Value::from("b"),
                Value::Json("[1,2]".to_owned()),
            ];
            let value = values[rng.random_range(0..values.len())].clone();
            let mut attributes = model::Attributes::new();
            if rng.random_bool(0.7) {
                attributes.push(("n".to_owned(), value));
            }
            one.attributes = attributes.into();
            one
        };
        resources.push(of(service, (0..400).map(|_| one(rng)).collect()));
    }
    SpanBatch { resources }
}

async fn counted(world: &World, query: &str) -> Vec<(String, Vec<(i64, f64)>)> {
    let range = TimeRange { start: NOON_NS + 5 * SECOND_NS, end: NOON_NS + 55 * SECOND_NS };
    let tenant = Tenant::new("counted").unwrap();
    let found = world.engine.traceql_metrics(&tenant, query, range, 10_000, 10).await;
    let found = found.unwrap_or_else(|why| panic!("{query}: {why}"));
    let told = found.series.into_iter().map(|series| (prom_labels(&series.labels), series.points));
    let mut told: Vec<(String, Vec<(i64, f64)>)> = told.collect();
    // A number and a text are two series, and may read the same.
    told.sort_by(|a, b| {
        a.0.cmp(&b.0).then_with(|| a.1.partial_cmp(&b.1).unwrap_or(std::cmp::Ordering::Equal))
    });
    told
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn spans_are_counted_by_columns_as_one_by_one() {
    let world = World::new().await;
    let tenant = Tenant::new("counted").unwrap();
    let mut rng = StdRng::seed_from_u64(11);
    for place in ["memory", "a spilled part", "parts and memory"] {
        let batch = Batch::Spans(spans(&mut rng));
        if place != "a spilled part" {
            world.store.write(Write { tenant: tenant.clone(), batch, origin: None }).await.unwrap();
        }
        for filter in [
            "true",
            "duration >= 10ms",
            "kind = server && 10ms < duration && span.n != 1",
            "span.n = `1` || duration < 5ms",
            "resource.service.name =~ `c.*|` && duration != 0",
            "name = `none`",
        ] {
            for function in [
                "rate()",
                "count_over_time() by (resource.service.name)",
                "rate() by (span.n, status)",
                "sum_over_time(duration) by (.n)",
                "min_over_time(span.n) by (name)",
                "max_over_time(duration)",
                "avg_over_time(span.n) by (statusMessage)",
                "quantile_over_time(duration, 0.5, 0.9) by (kind)",
                "histogram_over_time(duration) by (resource.service.name)",
                "histogram_over_time(span.n)",
            ] {
                let by_columns = counted(&world, &format!("{{ {filter} }} | {function}")).await;
                let one_by_one =
                    counted(&world, &format!("{{ {filter} }} || {{ {filter} }} | {function}")).await;
                let labels = |series: &[(String, Vec<(i64, f64)>)]| -> Vec<String> {
                    series.iter().map(|(labels, _)| labels.clone()).collect()
                };
                assert_eq!(labels(&by_columns), labels(&one_by_one), "{filter} {function} in {place}");
                for ((labels, own), (_, others)) in by_columns.iter().zip(&one_by_one) {
                    assert_eq!(own.len(), others.len(), "{filter} {function} {labels} in {place}");
                    for ((at, value), (other_at, other)) in own.iter().zip(others) {
                        // Sums are of the same numbers in another order.
                        let same = value == other || (value - other).abs() <= 1e-9 * value.abs();
                        assert!(at == other_at && same, "{filter} {function} {labels} {at} in {place}");
                    }
                }
            }
        }
        if place == "memory" {
            world.store.flush().await.unwrap();
        } else {
            world.store.compact().await.unwrap();
        }
    }
}
