use super::traffic::{Did, choose, play};
use super::*;
use model::{Batch, ResourceSpans, Sink, Span, SpanBatch, SpanKind, SystemClock, Tenant, TimeRange, Write};
use rand::Rng;
use std::sync::Arc;

#[test]
fn the_rate_swells_and_ebbs_around_its_mean() {
    let rates: Vec<f64> = (0..600).map(|second| tidal_rate(12.0, Duration::from_secs(second))).collect();
    let mean = rates.iter().sum::<f64>() / rates.len() as f64;
    assert!((mean - 12.0).abs() < 0.01);
    assert!(rates.iter().all(|rate| (7.0..17.0).contains(rate)));
}

#[tokio::test]
async fn a_rate_that_no_machine_should_carry_is_refused() {
    let config = Config { requests_per_second: 1e9, ..Config::default() };
    let wrong = run(config, CancellationToken::new()).await.unwrap_err();
    assert!(wrong.to_string().contains("0.1 to 200"), "{wrong}");
}

#[tokio::test]
async fn an_endpoint_that_is_no_url_is_named() {
    let config = Config { otlp_grpc: "not a url".into(), ..Config::default() };
    let wrong = run(config, CancellationToken::new()).await.unwrap_err();
    assert!(format!("{wrong:#}").contains("not a url"), "{wrong:#}");
}

/// Nobody listens: the shop still opens, and closes within its bound.
#[tokio::test(flavor = "multi_thread")]
async fn a_shop_that_cannot_send_still_closes() {
    let stop = CancellationToken::new();
    stop.cancel();
    let config = Config { otlp_grpc: "http://127.0.0.1:1".into(), ..Config::default() };
    run(config, stop).await.unwrap();
}

/// 2026-03-01T12:00:00Z.
const NOON_NS: i64 = 1_772_366_400_000_000_000;

/// What so many requests of the shop leave.
fn spans(bottleneck: &Bottleneck, requests: u64, seed: u64) -> SpanBatch {
    let flows = topology::flows(bottleneck.service);
    let mut rng = StdRng::seed_from_u64(seed);
    let mut lots = pool::Lots::new(*bottleneck);
    let mut by_service: Vec<Vec<Span>> = topology::SERVICES.iter().map(|_| vec![]).collect();
    for number in 0..requests {
        let request = play(choose(&flows, &mut rng).unwrap(), &mut lots, &mut rng);
        let trace_id: [u8; 16] = rng.random();
        let start_ns = NOON_NS + number as i64 * 80_000_000;
        let id = |at: usize| (at as u64 + 1).to_be_bytes();
        for (at, played) in request.spans.iter().enumerate() {
            let (name, kind) = match &played.did {
                Did::Serve { method, route, .. } => (format!("{method} {route}"), SpanKind::Server),
                Did::Ask { method, .. } => ((*method).to_owned(), SpanKind::Client),
                Did::Statement { operation, table, .. } => (format!("{operation} {table}"), SpanKind::Client),
                Did::AcquireConnection(_) => ("pool.acquire".to_owned(), SpanKind::Internal),
                Did::Publish { topic } => (format!("publish {topic}"), SpanKind::Producer),
                Did::Consume { topic } => (format!("process {topic}"), SpanKind::Consumer),
            };
            by_service[played.service].push(Span {
                trace_id,
                span_id: id(at),
                parent_span_id: played.parent.map(id),
                start_ns: start_ns + played.start.as_nanos() as i64,
                duration_ns: (played.end - played.start).as_nanos() as i64,
                name,
                kind,
                ..Span::default()
            });
        }
    }
    let named = topology::SERVICES.iter().zip(by_service).map(|(service, spans)| ResourceSpans {
        resource: Arc::new(vec![("service.name".to_owned(), service.name.into())]),
        spans,
        ..ResourceSpans::default()
    });
    SpanBatch { resources: named.filter(|resource| !resource.spans.is_empty()).collect() }
}

async fn found(bottleneck: &Bottleneck, requests: u64, seed: u64) -> Vec<engine::Bottleneck> {
    let dir = tempfile::tempdir().unwrap();
    let config = store::Config { dir: dir.path().to_owned(), fsync: false, ..store::Config::default() };
    let store = store::Store::open(config, Arc::new(SystemClock)).await.unwrap();
    let batch = Batch::Spans(spans(bottleneck, requests, seed));
    store.write(Write { tenant: Tenant::default(), batch, origin: None }).await.unwrap();
    let engine = engine::Engine::new(store, Arc::new(SystemClock), engine::Limits::default()).unwrap();
    let range = TimeRange { start: NOON_NS, end: NOON_NS + 3_600_000_000_000 };
    engine.bottlenecks(&Tenant::default(), None, range).await.unwrap().found
}

/// Whichever service it is put into and however large it is, without being told where to look.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_bottleneck_is_the_first_answer_wherever_it_is_put() {
    for (seed, text) in [
        "orders:0.15:300ms",
        "orders:0.01:300ms",
        "users:0.1:500ms",
        "payment:0.1:300ms",
        "cart:0.15:100ms",
        "inventory:0.05:1s",
        "catalog:0.4:50ms",
    ]
    .iter()
    .enumerate()
    {
        let bottleneck = Bottleneck::parse(text).unwrap();
        let found = found(&bottleneck, 4_000, seed as u64).await;
        let [first] = found.as_slice() else { panic!("{text}: {found:?}") };
        assert_eq!((first.service.as_str(), first.operation.as_str()), (bottleneck.service, "pool.acquire"));
        let wait_ms = bottleneck.wait.as_secs_f64() * 1e3;
        assert!((first.adds_ms / wait_ms - 1.0).abs() < 0.1, "{text}: {first:?}");
        // Every visitor is shown open orders, so their pool slows as many of all requests.
        let share = first.share_of_requests / bottleneck.share;
        assert!(bottleneck.service != "orders" || (share - 1.0).abs() < 0.05, "{text}: {first:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_a_shop_without_one_nothing_is_claimed() {
    let none = Bottleneck::parse("none").unwrap();
    for seed in 0..5 {
        let found = found(&none, 3_000, seed).await;
        assert!(found.is_empty(), "{seed}: {found:?}");
    }
}
