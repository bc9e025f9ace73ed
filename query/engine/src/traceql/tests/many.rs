//! More traces than are read whole.

use super::*;

const TRACES: u32 = 20_500;

/// Of each trace a root and a span below it; every tenth fails.
fn traces() -> SpanBatch {
    let one = |number: u32, of_child: bool| {
        let mut trace_id = [7; 16];
        trace_id[..4].copy_from_slice(&number.wrapping_mul(2_654_435_761).to_be_bytes());
        let id = |place: u32| u64::from(number * 2 + place + 1).to_be_bytes();
        Span {
            trace_id,
            span_id: id(u32::from(of_child)),
            parent_span_id: of_child.then(|| id(0)),
            start_ns: NOON_NS + i64::from(number % 50) * SECOND_NS,
            duration_ns: MS,
            name: if of_child { "query".into() } else { format!("GET /{}", number % 3) },
            kind: if of_child { SpanKind::Client } else { SpanKind::Server },
            status: if number.is_multiple_of(10) { StatusCode::Error } else { StatusCode::Unset },
            attributes: vec![
                ("shard".to_owned(), Value::Int(i64::from(number % 7))),
                ("user".to_owned(), Value::from(format!("u-{number}"))),
            ]
            .into(),
            ..Span::default()
        }
    };
    let spans = |of_child: bool| (0..TRACES).map(|number| one(number, of_child)).collect();
    SpanBatch { resources: vec![of("web", spans(false)), of("store", spans(true))] }
}

/// Each of a root, a span below it and one below that, but for one, in which both are below the root.
#[tokio::test]
async fn children_are_counted_where_many_traces_have_spans_enough() {
    let world = World::new().await;
    let of_trace = |number: u32| {
        let mut trace_id = [9; 16];
        trace_id[..4].copy_from_slice(&number.wrapping_mul(2_654_435_761).to_be_bytes());
        let parents = if number == 7 { [0, 1, 1] } else { [0, 1, 2] };
        (1..).zip(parents).map(move |(id, parent)| Span {
            trace_id,
            start_ns: NOON_NS + i64::from(number % 50) * SECOND_NS,
            ..span(1, id, parent, "step", 0, 1)
        })
    };
    let spans: Vec<Span> = (0..TRACES).flat_map(of_trace).collect();
    let sent = Batch::Spans(SpanBatch { resources: vec![of("web", spans)] });
    let tenant = Tenant::new("many").unwrap();
    world.store.write(Write { tenant: tenant.clone(), batch: sent, origin: None }).await.unwrap();
    world.store.flush().await.unwrap();
    world.store.compact().await.unwrap();
    let options = SearchOptions { range: range(), limit: 10, spans_per_spanset: 3 };
    let found = world.engine.traceql_search(&tenant, "{ childCount = 2 }", options).await.unwrap();
    let [trace] = &found.traces[..] else { panic!("{:?}", found.traces) };
    assert_eq!(trace.trace_id[..4], 7u32.wrapping_mul(2_654_435_761).to_be_bytes());
    assert!(found.inspected_traces < u64::from(TRACES) / 4, "{} read whole", found.inspected_traces);
}

#[tokio::test]
async fn traces_that_are_too_many_are_compared_as_they_are_scanned() {
    let world = World::new().await;
    let sent = Batch::Spans(traces());
    world.store.write(Write { tenant: Tenant::default(), batch: sent, origin: None }).await.unwrap();
    // In memory, then in a part.
    for _ in 0..2 {
        let found = world.metrics("{ span.shard >= 0 } | compare({ status = error }, 3)").await.unwrap();
        let [warning] = &found.warnings[..] else { panic!("{:?}", found.warnings) };
        assert!(warning.contains("leaves out childCount"), "{warning}");
        assert!(!warning.contains("rootName"), "{warning}");
        let stored = u64::from(2 * TRACES) + batch().spans() as u64;
        assert!(found.inspected_spans <= stored, "{} of {stored} spans", found.inspected_spans);
        let sum = |kind: &str, name: &str, value: Value| {
            let wanted = [("__meta_type".to_owned(), Value::from(kind)), (name.to_owned(), value)];
            let of = found.series.iter().filter(|series| series.labels == wanted);
            of.flat_map(|series| &series.points).map(|(_, count)| *count).sum::<f64>()
        };
        let count = |keep: &dyn Fn(u32) -> bool| (0..TRACES).filter(|number| keep(*number)).count() as f64;
        let of_shard = |failed: bool| count(&|n| n % 7 == 0 && (n % 10 == 0) == failed);
        assert_eq!(sum("selection", "span.shard", Value::Int(0)), 2.0 * of_shard(true));
        assert_eq!(sum("baseline", "span.shard", Value::Int(0)), 2.0 * of_shard(false));
        let failed = count(&|n| n % 10 == 0);
        assert_eq!(sum("selection", "name", Value::from("query")), failed);
        assert_eq!(sum("selection", "kind", Value::from("client")), failed);
        assert_eq!(sum("selection", "resource.service.name", Value::from("store")), failed);
        assert_eq!(sum("selection_total", "span.user", Value::from("nil")), 2.0 * failed);
        assert_eq!(
            sum("baseline_total", "span.user", Value::from("nil")),
            2.0 * (f64::from(TRACES) - failed)
        );
        let users = |series: &&TraceSeries| {
            series.labels[0].1 == Value::from("baseline") && series.labels[1].0 == "span.user"
        };
        assert_eq!(found.series.iter().filter(users).count(), 3, "of 18,450 those that were asked for");
        let of_root = 2.0 * count(&|n| n % 3 == 1 && n % 10 == 0);
        assert_eq!(sum("selection", "rootName", Value::from("GET /1")), of_root);
        assert_eq!(sum("selection", "rootServiceName", Value::from("web")), 2.0 * failed);
        world.store.flush().await.unwrap();
    }
}
