//! Bottlenecks over a real store.

use super::*;
use crate::Limits;
use model::{Batch, LogBatch, ResourceSpans, Sink, Span, SpanBatch, SystemClock, Value, Write};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use std::collections::HashSet;
use std::sync::Arc;
use store::Store;

/// 2026-03-01T12:00:00Z.
const NOON_NS: i64 = 1_772_366_400_000_000_000;
const MS: f64 = 1e6;

pub(super) struct World {
    pub engine: Engine,
    pub store: Arc<Store>,
    _dir: tempfile::TempDir,
}

impl World {
    pub async fn new() -> World {
        let dir = tempfile::tempdir().unwrap();
        let config = store::Config { dir: dir.path().to_owned(), fsync: false, ..store::Config::default() };
        let store = Store::open(config, Arc::new(SystemClock)).await.unwrap();
        let engine = Engine::new(store.clone(), Arc::new(SystemClock), Limits::default()).unwrap();
        World { engine, store, _dir: dir }
    }

    pub async fn write(&self, batch: SpanBatch) {
        let write = Write { tenant: Tenant::default(), batch: Batch::Spans(batch), origin: None };
        self.store.write(write).await.unwrap();
    }

    pub async fn log(&self, batch: LogBatch) {
        let write = Write { tenant: Tenant::default(), batch: Batch::Logs(batch), origin: None };
        self.store.write(write).await.unwrap();
    }

    async fn of(&self, service: Option<&str>) -> Bottlenecks {
        self.engine.bottlenecks(&Tenant::default(), service, range()).await.unwrap()
    }
}

/// With 400 requests of a shop that makes some wait.
pub(crate) async fn engine_with_a_shop() -> Engine {
    let world = World::new().await;
    world.write(traffic(Shop::new(400, 0.15, 300.0))).await;
    // The folder is deleted with its handle; what the test reads is in memory.
    world.engine
}

pub(super) fn range() -> TimeRange {
    TimeRange { start: NOON_NS, end: NOON_NS + 3_600_000_000_000 }
}

/// What the shop of a test does. All in milliseconds.
#[derive(Clone, Copy)]
pub(super) struct Shop {
    pub requests: u32,
    /// The pool of `inventory` makes this share wait so long.
    pub share: f64,
    pub wait_ms: f64,
    /// One request in so many is a checkout, and of the payments this share takes half a second longer.
    pub checkout_every: u32,
    pub slow_payments: f64,
}

impl Shop {
    pub fn new(requests: u32, share: f64, wait_ms: f64) -> Shop {
        Shop { requests, share, wait_ms, checkout_every: 4, slow_payments: 0.0 }
    }
}

pub(super) fn traffic(shop: Shop) -> SpanBatch {
    let mut rng = StdRng::seed_from_u64(11);
    let mut services: [Vec<Span>; 3] = Default::default();
    for number in 0..shop.requests {
        let start_ns = NOON_NS + i64::from(number) * 100_000_000;
        let mut trace_id = [0; 16];
        rng.fill(&mut trace_id);
        let mut next = 0u8;
        let mut span = |parent: u8, name: &str, kind: SpanKind, from: f64, to: f64| {
            next += 1;
            let span = Span {
                trace_id,
                span_id: [next; 8],
                parent_span_id: (parent != 0).then_some([parent; 8]),
                start_ns: start_ns + (from * MS) as i64,
                duration_ns: ((to - from) * MS) as i64,
                name: name.to_owned(),
                kind,
                ..Span::default()
            };
            (next, span)
        };
        let mut work = |ms: f64| ms * (0.8 + 0.4 * rng.random::<f64>());
        // Checkouts do more than page views: two kinds of requests.
        let checkout = number % shop.checkout_every == 0;
        let (own, mut payment) = (work(if checkout { 40.0 } else { 8.0 }), work(60.0));
        let (stock, select) = (work(3.0), work(4.0));
        let wait = if rng.random_bool(shop.share) {
            shop.wait_ms * (0.9 + 0.2 * rng.random::<f64>())
        } else {
            0.05 + 0.1 * rng.random::<f64>()
        };
        if checkout && rng.random_bool(shop.slow_payments) {
            payment += 500.0;
        }
        let mut at = own;
        let name = if checkout { "POST /checkout" } else { "GET /" };
        let (front, mut root) = span(0, name, SpanKind::Server, 0.0, 0.0);
        let (asks, mut ask) = span(front, "GET", SpanKind::Client, at, 0.0);
        let (serves, mut serve) = span(asks, "GET /stock", SpanKind::Server, at + 0.2, 0.0);
        at += 0.2 + stock;
        services[1].push(span(serves, "db.pool", SpanKind::Internal, at, at + wait).1);
        at += wait;
        let (_, mut statement) = span(serves, "SELECT stock", SpanKind::Client, at, at + select);
        at += select;
        statement.attributes = vec![("db.pool.exhausted".into(), Value::Bool(wait > 1.0))].into();
        services[1].push(statement);
        serve.duration_ns = start_ns + (at * MS) as i64 - serve.start_ns;
        at += 0.2;
        ask.duration_ns = start_ns + (at * MS) as i64 - ask.start_ns;
        if checkout {
            services[2].push(span(front, "POST /payments", SpanKind::Server, at, at + payment).1);
            at += payment;
        }
        root.duration_ns = ((at + 1.0) * MS) as i64;
        services[0].extend([root, ask]);
        services[1].push(serve);
    }
    let names = ["frontend", "inventory", "payment"];
    let resources = names.iter().zip(services).map(|(name, spans)| ResourceSpans {
        resource: Arc::new(vec![("service.name".to_owned(), Value::from(*name))]),
        spans,
        ..ResourceSpans::default()
    });
    SpanBatch { resources: resources.collect() }
}

#[tokio::test]
async fn the_pool_is_named_with_its_effect_whoever_asks() {
    for (share, wait_ms) in [(0.15, 300.0), (0.05, 120.0), (0.3, 25.0)] {
        let world = World::new().await;
        world.write(traffic(Shop::new(2_000, share, wait_ms))).await;
        for service in [None, Some("frontend"), Some("inventory")] {
            let answer = world.of(service).await;
            let [pool] = answer.found.as_slice() else { panic!("{service:?} {share}: {answer:?}") };
            assert_eq!((pool.service.as_str(), pool.operation.as_str()), ("inventory", "db.pool"));
            assert_eq!(pool.of.as_deref(), service);
            assert!((pool.adds_ms / wait_ms - 1.0).abs() < 0.05, "{pool:?}");
            assert!((pool.share_of_requests / share - 1.0).abs() < 0.15, "{pool:?}");
            assert_eq!((answer.requests, answer.sampled), (2_000, 1.0));
            assert_eq!(pool.traces.len(), EXAMPLES);
            // Where the time of the slowest goes, of which the pool is the first where it makes them slow.
            let sum: f64 = answer.path.iter().map(|on| on.share_of_p95).sum();
            assert!((sum - 1.0).abs() < 1e-6, "{:?}", answer.path);
            let on = answer.path.iter().find(|on| on.operation == "db.pool").unwrap();
            assert_eq!(on.share_of_p95, pool.share_of_p95);
            assert!(on.share_of_p95 >= on.share_of_time, "{on:?}");
            assert!(wait_ms < 300.0 || answer.path[0] == *on && on.share_of_p95 > 0.6, "{:?}", answer.path);
            assert!(share < 0.1 || answer.p95_ms > wait_ms, "{}", answer.p95_ms);
        }
        let elsewhere = world.of(Some("payment")).await;
        assert_eq!((elsewhere.found.len(), elsewhere.requests), (0, 500));
    }
}

#[tokio::test]
async fn without_it_nothing_is_claimed() {
    let world = World::new().await;
    world.write(traffic(Shop::new(2_000, 0.0, 0.0))).await;
    for service in [None, Some("frontend"), Some("inventory"), Some("payment"), Some("nobody")] {
        assert_eq!(world.of(service).await.found, [], "{service:?}");
    }
}

#[tokio::test]
async fn a_few_slow_requests_are_no_claim() {
    let world = World::new().await;
    world.write(traffic(Shop::new(20, 0.3, 300.0))).await;
    assert_eq!(world.of(None).await.found, [], "too few requests");
    let world = World::new().await;
    world.write(traffic(Shop::new(2_000, 0.004, 900.0))).await;
    assert_eq!(world.of(None).await.found, [], "too small a share");
}

/// Slow payments are too few to be seen among all requests, and many of those that pay.
#[tokio::test]
async fn a_rare_kind_of_request_is_judged_by_its_own_share() {
    let rare = Shop { checkout_every: 25, slow_payments: 0.1, ..Shop::new(4_000, 0.0, 0.0) };
    let world = World::new().await;
    world.write(traffic(rare)).await;
    for service in [None, Some("payment")] {
        let answer = world.of(service).await;
        let [pay] = answer.found.as_slice() else { panic!("{service:?}: {answer:?}") };
        assert_eq!((pay.service.as_str(), pay.operation.as_str()), ("payment", "POST /payments"));
        assert!((pay.adds_ms / 500.0 - 1.0).abs() < 0.1, "{pay:?}");
        assert!(service.is_some() || pay.share_of_requests < 0.005, "{pay:?}");
    }
    // One in a hundred payments is nothing to the shop, and chance to who asks for payments.
    let rarer = Shop { checkout_every: 4, slow_payments: 0.01, ..rare };
    let world = World::new().await;
    world.write(traffic(rarer)).await;
    for service in [None, Some("payment")] {
        assert_eq!(world.of(service).await.found, [], "{service:?}");
    }
}

/// More spans than are held: the answer says so, and is as right.
#[tokio::test]
async fn more_spans_than_are_held_are_sampled_by_trace() {
    let world = World::new().await;
    let requests = 80_000;
    let batch = traffic(Shop::new(requests, 0.15, 300.0));
    for resource in batch.resources {
        for spans in resource.spans.chunks(5_000) {
            let part = ResourceSpans { spans: spans.to_vec(), ..resource.clone() };
            world.write(SpanBatch { resources: vec![part] }).await;
        }
    }
    let late = TimeRange { start: NOON_NS, end: NOON_NS + 3 * 3_600_000_000_000 };
    let answer = world.engine.bottlenecks(&Tenant::default(), None, late).await.unwrap();
    assert_eq!(answer.sampled, 0.5);
    assert!((30_000..50_000).contains(&answer.requests), "{}", answer.requests);
    assert!((answer.found[0].share_of_requests - 0.15).abs() < 0.01, "{answer:?}");
}

/// One asks two at the same time and waits for both.
fn two_at_once(requests: u32, slow_share: f64, hidden_share: f64) -> SpanBatch {
    let mut rng = StdRng::seed_from_u64(5);
    let mut services: [Vec<Span>; 4] = Default::default();
    for number in 0..requests {
        let start_ns = NOON_NS + i64::from(number) * 100_000_000;
        let mut trace_id = [0; 16];
        rng.fill(&mut trace_id);
        let mut span = |of: usize, id: u8, parent: u8, name: &str, kind: SpanKind, from: f64, to: f64| {
            services[of].push(Span {
                trace_id,
                span_id: [id; 8],
                parent_span_id: (parent != 0).then_some([parent; 8]),
                start_ns: start_ns + (from * MS) as i64,
                duration_ns: ((to - from) * MS) as i64,
                name: name.to_owned(),
                kind,
                ..Span::default()
            });
        };
        let mut stock = 6.0 * (0.7 + 0.6 * rng.random::<f64>());
        let price = 7.0 * (0.7 + 0.6 * rng.random::<f64>());
        if rng.random_bool(slow_share) {
            stock += 120.0;
        }
        // Who takes the message later and who audits are waited for by nobody.
        let slow = rng.random_bool(hidden_share);
        let taken = if slow { 250.0 } else { 10.0 };
        let end = 2.0 + stock.max(price) + 1.0;
        span(0, 1, 0, "GET /", SpanKind::Server, 0.0, end);
        span(1, 2, 1, "GET /stock", SpanKind::Server, 2.0, 2.0 + stock);
        span(2, 3, 1, "GET /price", SpanKind::Server, 2.0, 2.0 + price);
        span(0, 4, 1, "send", SpanKind::Producer, end - 0.5, end - 0.4);
        span(3, 5, 4, "take", SpanKind::Consumer, end, end + taken + rng.random::<f64>());
        span(0, 6, 1, "audit", SpanKind::Internal, end - 0.5, end + taken);
    }
    let names = ["frontend", "stock", "price", "mailer"];
    let resources = names.iter().zip(services).map(|(name, spans)| ResourceSpans {
        resource: Arc::new(vec![("service.name".to_owned(), Value::from(*name))]),
        spans,
        ..ResourceSpans::default()
    });
    SpanBatch { resources: resources.collect() }
}

#[tokio::test]
async fn of_two_at_once_neither_is_a_bottleneck_for_being_the_last() {
    for (slow, hidden) in [(0.0, 0.0), (0.08, 0.0), (0.0, 0.1)] {
        let world = World::new().await;
        world.write(two_at_once(1_500, slow, hidden)).await;
        let found = world.of(None).await.found;
        let named: Vec<(&str, Option<&str>)> =
            found.iter().map(|one| (one.operation.as_str(), one.of.as_deref())).collect();
        let expected: &[(&str, Option<&str>)] = match (slow > 0.0, hidden > 0.0) {
            (true, _) => &[("GET /stock", None)],
            // Nobody waits for the audit, and who takes messages is told beside those who ask from outside.
            (_, true) => &[("take", Some("messages"))],
            _ => &[],
        };
        assert_eq!(named, expected, "{slow} {hidden}: {found:?}");
        if let Some(one) = found.first() {
            let (adds, share) = if slow > 0.0 { (120.0, slow) } else { (240.0, hidden) };
            assert!((one.adds_ms / adds - 1.0).abs() < 0.1, "{one:?}");
            assert!((one.share_of_requests / share - 1.0).abs() < 0.2, "{one:?}");
        }
    }
}

/// A span as service, id, parent (0 is none), name, kind, and from when to when in milliseconds of its request.
type Left = (usize, u8, u8, &'static str, SpanKind, f64, f64);

/// What requests leave at services.
fn left_by(names: &[&str], requests: u32, request: impl Fn(&mut StdRng) -> Vec<Left>) -> SpanBatch {
    let mut rng = StdRng::seed_from_u64(9);
    let mut services: Vec<Vec<Span>> = names.iter().map(|_| vec![]).collect();
    for number in 0..requests {
        let start_ns = NOON_NS + i64::from(number) * 100_000_000;
        let mut trace_id = [0; 16];
        rng.fill(&mut trace_id);
        for (of, id, parent, name, kind, from, to) in request(&mut rng) {
            services[of].push(Span {
                trace_id,
                span_id: [id; 8],
                parent_span_id: (parent != 0).then_some([parent; 8]),
                start_ns: start_ns + (from * MS) as i64,
                duration_ns: ((to - from) * MS) as i64,
                name: name.to_owned(),
                kind,
                ..Span::default()
            });
        }
    }
    let resources = names.iter().zip(services).map(|(name, spans)| ResourceSpans {
        resource: Arc::new(vec![("service.name".to_owned(), Value::from(*name))]),
        spans,
        ..ResourceSpans::default()
    });
    SpanBatch { resources: resources.collect() }
}

/// An audit that nobody waits for ends in time only where the request is slow by itself.
#[tokio::test]
async fn what_is_begun_and_left_behind_takes_nothing_of_what_is_slow() {
    for share in [0.0, 0.15, 0.6] {
        let world = World::new().await;
        let batch = left_by(&["frontend"], 1_000, |rng| {
            let mut own = 10.0 * (0.8 + 0.4 * rng.random::<f64>());
            if rng.random_bool(share) {
                own += 200.0;
            }
            let audit = 40.0 * (0.8 + 0.4 * rng.random::<f64>());
            vec![
                (0, 1, 0, "GET /", SpanKind::Server, 0.0, own),
                (0, 2, 1, "audit", SpanKind::Internal, 1.0, 1.0 + audit),
            ]
        });
        world.write(batch).await;
        let found = world.of(None).await.found;
        if share == 0.0 {
            assert_eq!(found, []);
            continue;
        }
        let [slow] = found.as_slice() else { panic!("{share}: {found:?}") };
        assert_eq!(slow.operation, "GET /");
        assert!((slow.adds_ms / 200.0 - 1.0).abs() < 0.05, "{slow:?}");
        assert!((slow.share_of_requests / share - 1.0).abs() < 0.2, "{slow:?}");
    }
}

/// Whether it is waited for or not, what itself asks two at once takes as long.
#[tokio::test]
async fn of_two_at_once_the_one_that_asks_others_at_once_is_none_either() {
    let world = World::new().await;
    let batch = left_by(&["frontend", "stock", "price"], 1_000, |rng| {
        let mut work = |ms: f64| ms * (0.9 + 0.2 * rng.random::<f64>());
        let (left, right, own) = (work(6.0), work(6.0), work(6.0));
        let stock = own + left.max(right);
        let price = 13.0 + 4.0 * (work(10.0) - 10.0);
        let end = stock.max(price) + 1.0;
        vec![
            (0, 1, 0, "GET /", SpanKind::Server, 0.0, end),
            (1, 2, 1, "GET /stock", SpanKind::Server, 0.5, 0.5 + stock),
            (1, 3, 2, "left", SpanKind::Internal, 0.5, 0.5 + left),
            (1, 4, 2, "right", SpanKind::Internal, 0.5, 0.5 + right),
            (2, 5, 1, "GET /price", SpanKind::Server, 0.5, 0.5 + price),
        ]
    });
    world.write(batch).await;
    assert_eq!(world.of(None).await.found, []);
}

/// Leaves a part of all spans out, but for those of whole requests.
fn torn(mut batch: SpanBatch, share: f64) -> SpanBatch {
    let mut rng = StdRng::seed_from_u64(3);
    for resource in &mut batch.resources {
        resource.spans.retain(|span| span.parent_span_id.is_none() || !rng.random_bool(share));
    }
    batch
}

#[tokio::test]
async fn spans_that_got_lost_are_no_bottleneck_and_hide_none() {
    let world = World::new().await;
    world.write(torn(traffic(Shop::new(3_000, 0.0, 0.0)), 0.05)).await;
    for service in [None, Some("frontend"), Some("inventory")] {
        assert_eq!(world.of(service).await.found, [], "{service:?}");
    }
    let world = World::new().await;
    world.write(torn(traffic(Shop::new(3_000, 0.15, 300.0)), 0.05)).await;
    let found = world.of(None).await.found;
    let [pool] = found.as_slice() else { panic!("{found:?}") };
    assert_eq!((pool.service.as_str(), pool.operation.as_str()), ("inventory", "db.pool"));
    assert!((pool.adds_ms / 300.0 - 1.0).abs() < 0.05, "{pool:?}");
    assert!((pool.share_of_requests / 0.15 - 1.0).abs() < 0.17, "{pool:?}");
}

/// By operation alone, nothing but the pool is begun by four of five requests for the cart.
#[tokio::test]
async fn spans_that_got_lost_are_none_either_where_what_is_begun_differs_by_request() {
    for pages in [["GET /a", "GET /b", "GET /c"], ["GET /", "GET /", "GET /"]] {
        let names = ["web", "cart", "stock", "payment", "search"];
        let batch = left_by(&names, 3_000, |rng| {
            let page = rng.random_range(0..3usize);
            let end = [30.0, 40.0, 25.0][page] * (0.9 + 0.2 * rng.random::<f64>());
            let asks = ["ask stock", "ask payment", "ask search"][page];
            vec![
                (0, 1, 0, pages[page], SpanKind::Server, 0.0, end + 4.0),
                (0, 2, 1, "ask cart", SpanKind::Client, 0.5, end + 3.5),
                (1, 3, 2, "POST /cart", SpanKind::Server, 1.0, end + 3.0),
                (1, 4, 3, "pool.acquire", SpanKind::Internal, 2.0, 2.1),
                (1, 5, 3, asks, SpanKind::Client, 2.2, end + 2.0),
                (2 + page, 6, 5, "GET", SpanKind::Server, 2.4, end + 1.8),
            ]
        });
        let world = World::new().await;
        world.write(torn(batch, 0.03)).await;
        for service in [None, Some("cart")] {
            assert_eq!(world.of(service).await.found, [], "{pages:?} {service:?}");
        }
    }
}

/// All that a cart begins is rarely there as a whole, and one of three that it asks is begun by no four of five.
#[tokio::test]
async fn spans_that_got_lost_are_none_either_where_several_things_are_begun() {
    let statements = ["SELECT 1", "SELECT 2", "SELECT 3", "SELECT 4", "SELECT 5"];
    for (count, lost, waits) in [(1, 0.06, false), (3, 0.04, false), (5, 0.02, false), (3, 0.04, true)] {
        let names = ["web", "cart", "stock", "payment", "search"];
        let batch = left_by(&names, 2_000, |rng| {
            let mut at = 1.2;
            let mut spans = vec![];
            for (id, statement) in (10..).zip(&statements[..count]) {
                let slow = waits && id == 10 && rng.random_bool(0.15);
                let wait = if slow { 100.0 * (0.9 + 0.2 * rng.random::<f64>()) } else { 0.0 };
                spans.push((1, id, 3, *statement, SpanKind::Client, at, at + 0.1 + wait));
                at += 0.2 + wait;
            }
            let one = rng.random_range(0..3usize);
            let asks = ["ask stock", "ask payment", "ask search"][one];
            let end = at + [30.0, 40.0, 25.0][one] * (0.9 + 0.2 * rng.random::<f64>());
            spans.extend([
                (1, 4, 3, asks, SpanKind::Client, at, end),
                (2 + one, 5, 4, "GET", SpanKind::Server, at + 0.2, end - 0.2),
                (1, 3, 2, "POST /cart", SpanKind::Server, 1.0, end + 1.0),
                (0, 2, 1, "ask cart", SpanKind::Client, 0.5, end + 2.5),
                (0, 1, 0, "GET /", SpanKind::Server, 0.0, end + 3.0),
            ]);
            spans
        });
        let world = World::new().await;
        world.write(torn(batch, lost)).await;
        for service in [None, Some("cart")] {
            let found = world.of(service).await.found;
            if !waits {
                assert_eq!(found, [], "{count} {lost} {service:?}");
                continue;
            }
            let [slow] = found.as_slice() else { panic!("{service:?}: {found:?}") };
            assert_eq!((slow.service.as_str(), slow.operation.as_str()), ("cart", "SELECT 1"));
            assert!((slow.adds_ms / 100.0 - 1.0).abs() < 0.05, "{slow:?}");
            assert!(service.is_some() || (slow.share_of_requests / 0.15 - 1.0).abs() < 0.2, "{slow:?}");
        }
    }
}

/// Calls of anybody are all named for their method.
#[tokio::test]
async fn spans_that_got_lost_are_none_either_where_several_of_one_name_are_begun() {
    for waits in [false, true] {
        let batch = left_by(&["web", "cart", "stock", "payment", "search"], 2_000, |rng| {
            let mut at = 1.2;
            let mut spans = vec![];
            for (of, id, usual_ms) in [(2usize, 10u8, 20.0), (3, 12, 15.0), (4, 14, 8.0)] {
                let end = at + usual_ms * (0.8 + 0.4 * rng.random::<f64>());
                spans.push((1, id, 3, "GET", SpanKind::Client, at, end));
                spans.push((of, id + 1, id, "GET /", SpanKind::Server, at + 0.2, end - 0.2));
                at = end + 0.1;
            }
            at += if waits && rng.random_bool(0.15) { 100.0 } else { 0.0 };
            spans.extend([
                (1, 3, 2, "POST /cart", SpanKind::Server, 1.0, at + 1.0),
                (0, 2, 1, "POST", SpanKind::Client, 0.5, at + 2.5),
                (0, 1, 0, "GET /", SpanKind::Server, 0.0, at + 3.0),
            ]);
            spans
        });
        let world = World::new().await;
        world.write(torn(batch, 0.02)).await;
        for service in [None, Some("cart")] {
            let found = world.of(service).await.found;
            let named: Vec<&str> = found.iter().map(|one| one.operation.as_str()).collect();
            let expected: &[&str] = if waits { &["POST /cart"] } else { &[] };
            assert_eq!(named, expected, "{service:?}: {found:?}");
            if let Some(cart) = found.first() {
                assert!((cart.adds_ms / 100.0 - 1.0).abs() < 0.05, "{cart:?}");
                assert!((cart.share_of_requests / 0.15 - 1.0).abs() < 0.2, "{cart:?}");
            }
        }
    }
}

/// What a cart begins, and what ends its request.
fn asks_cart(mut spans: Vec<Left>, end: f64) -> Vec<Left> {
    spans.extend([
        (1, 3, 2, "POST /cart", SpanKind::Server, 1.0, end + 1.0),
        (0, 2, 1, "POST", SpanKind::Client, 0.5, end + 2.5),
        (0, 1, 0, "GET /", SpanKind::Server, 0.0, end + 3.0),
    ]);
    spans
}

/// That one of them lacks a call nothing tells but how often calls get lost: each is made by half of the requests, or by now
/// two and now ten turns of a loop.
#[tokio::test]
async fn lost_calls_that_only_some_requests_make_are_no_bottleneck_and_hide_none() {
    for (names, answers, usual_ms, in_a_loop) in [
        (
            ["ask coupons", "ask points", "ask gifts", "ask friends"],
            ["GET /coupons", "GET /points", "GET /gifts", "GET /friends"],
            20.0,
            false,
        ),
        (["GET"; 4], ["GET /"; 4], 3.0, true),
    ] {
        for waits in [false, true] {
            let slowed = std::cell::Cell::new(0);
            let batch = left_by(&["web", "cart", "others"], 2_000, |rng| {
                let turns = if in_a_loop { rng.random_range(1..=10usize) } else { 4 };
                let mut at = 1.2;
                let mut spans = vec![];
                for (turn, id) in (0..turns).zip((10u8..).step_by(2)) {
                    if in_a_loop || rng.random_bool(0.5) {
                        let end = at + usual_ms * (0.8 + 0.4 * rng.random::<f64>());
                        spans.push((1, id, 3, names[turn % 4], SpanKind::Client, at, end));
                        spans.push((2, id + 1, id, answers[turn % 4], SpanKind::Server, at + 0.2, end - 0.2));
                        at = end + 0.1;
                    }
                }
                let slow = waits && rng.random_bool(0.15);
                slowed.set(slowed.get() + u32::from(slow));
                asks_cart(spans, at + if slow { 100.0 } else { 0.0 })
            });
            let world = World::new().await;
            world.write(torn(batch, 0.04)).await;
            for service in [None, Some("cart")] {
                let found = world.of(service).await.found;
                let named: Vec<&str> = found.iter().map(|one| one.operation.as_str()).collect();
                let expected: &[&str] = if waits { &["POST /cart"] } else { &[] };
                assert_eq!(named, expected, "{names:?} {service:?}: {found:?}");
                if let Some(cart) = found.first() {
                    assert!((cart.adds_ms / 100.0 - 1.0).abs() < 0.06, "{cart:?}");
                    let share = cart.share_of_requests / (f64::from(slowed.get()) / 2_000.0);
                    assert!((0.85..1.1).contains(&share), "{share} {cart:?}");
                }
            }
        }
    }
}

/// Of many requests one of the two is torn off, by a span that got lost above it: once is as usual as twice then.
#[tokio::test]
async fn what_runs_twice_far_below_lost_spans_is_no_bottleneck_where_it_is_seen_twice() {
    for waits in [false, true] {
        let slowed = std::cell::Cell::new(0);
        let batch = left_by(&["web", "cart", "stock", "depots", "shelves"], 2_000, |rng| {
            let slow = waits && rng.random_bool(0.15);
            slowed.set(slowed.get() + u32::from(slow));
            let (mut at, mut id) = (1.2, 10u8);
            let mut spans = vec![];
            for wait in [if slow { 200.0 } else { 0.0 }, 0.0] {
                let end = at + 22.0 + wait + 4.0 * rng.random::<f64>();
                let mut parent = 3;
                for (of, inset) in [(1, 0.0), (2, 0.2), (3, 0.4)] {
                    spans.push((of, id, parent, "ask", SpanKind::Client, at + inset, end - inset));
                    let serves =
                        (of + 1, id + 1, id, "GET /", SpanKind::Server, at + inset + 0.1, end - inset - 0.1);
                    spans.push(serves);
                    (parent, id) = (id + 1, id + 2);
                }
                spans.push((4, id, parent, "read", SpanKind::Internal, at + 1.0, end - 1.0));
                (at, id) = (end + 0.1, id + 1);
            }
            asks_cart(spans, at)
        });
        let world = World::new().await;
        world.write(torn(batch, 0.05)).await;
        let found = world.of(None).await.found;
        if !waits {
            assert_eq!(found, []);
            continue;
        }
        let [read] = found.as_slice() else { panic!("{found:?}") };
        assert_eq!((read.service.as_str(), read.operation.as_str()), ("shelves", "read"));
        assert!((read.adds_ms / 200.0 - 1.0).abs() < 0.05, "{read:?}");
        // One in twenty of its own spans is lost, and half of the requests are known in part.
        let share = read.share_of_requests / (f64::from(slowed.get()) / 2_000.0);
        assert!((0.78..1.15).contains(&share), "{share} {read:?}");
    }
}

/// Where the span got lost by which a request entered a service, each of those that it began would be a request of its own.
#[tokio::test]
async fn what_lost_its_parent_is_no_request_of_its_own() {
    let statements = ["SELECT 1", "SELECT 2", "SELECT 3", "SELECT 4", "SELECT 5"];
    let slowed = std::cell::Cell::new(0);
    let batch = left_by(&["web", "cart"], 2_000, |rng| {
        let slow = rng.random_bool(0.15);
        slowed.set(slowed.get() + u32::from(slow));
        let mut at = 1.2;
        let mut spans = vec![];
        for (id, statement) in (10..).zip(statements) {
            let wait = if slow && id == 10 { 100.0 } else { 0.0 };
            spans.push((1, id, 3, statement, SpanKind::Client, at, at + 0.5 + wait));
            at += 0.6 + wait;
        }
        spans.extend([
            (1, 3, 2, "POST /cart", SpanKind::Server, 1.0, at + 1.0),
            (0, 2, 1, "ask cart", SpanKind::Client, 0.5, at + 2.5),
            (0, 1, 0, "GET /", SpanKind::Server, 0.0, at + 3.0),
        ]);
        spans
    });
    let world = World::new().await;
    world.write(torn(batch, 0.05)).await;
    let answer = world.of(Some("cart")).await;
    assert!((1_800..2_000).contains(&answer.requests), "{}", answer.requests);
    let [slow] = answer.found.as_slice() else { panic!("{answer:?}") };
    assert_eq!(slow.operation, "SELECT 1");
    // One in twenty of its own spans is lost, and nothing tells so.
    let share = slow.share_of_requests / (f64::from(slowed.get()) / 2_000.0);
    assert!((0.88..1.02).contains(&share), "{share} {slow:?}");
}

/// Whoever asks may keep what it did to itself.
#[tokio::test]
async fn a_service_whose_callers_are_unknown_has_requests() {
    let mut batch = traffic(Shop::new(1_000, 0.15, 300.0));
    batch.resources.remove(0);
    for span in batch.resources.iter_mut().flat_map(|resource| &mut resource.spans) {
        span.kind = SpanKind::Internal;
    }
    let world = World::new().await;
    world.write(batch).await;
    let answer = world.of(Some("inventory")).await;
    let [pool] = answer.found.as_slice() else { panic!("{answer:?}") };
    assert_eq!((answer.requests, pool.operation.as_str()), (1_000, "db.pool"));
}

/// Servers alone tell of calls, and one whose clock is off runs beside a statement that takes longer.
#[tokio::test]
async fn whose_clock_is_off_makes_nobody_slow_that_it_runs_beside() {
    for (slow, expected) in [("", None), ("UPDATE", Some("UPDATE")), ("rates", Some("GET /rates"))] {
        let batch = left_by(&["shop", "rates"], 1_500, |rng| {
            let mut works = |ms: f64, name: &str| {
                let wait = if slow == name && rng.random_bool(0.15) { 100.0 } else { 0.0 };
                ms * (0.8 + 0.4 * rng.random::<f64>()) + wait
            };
            let (update, rates) = (works(5.0, "UPDATE"), works(0.6, "rates"));
            let end = 0.2 + update.max(rates) + works(0.3, "itself");
            vec![
                (0, 1, 0, "GET /", SpanKind::Server, 0.0, end),
                (0, 2, 1, "UPDATE", SpanKind::Client, 0.2, 0.2 + update),
                (1, 3, 1, "GET /rates", SpanKind::Server, 68.0, 68.0 + rates),
            ]
        });
        let world = World::new().await;
        world.write(batch).await;
        let found = world.of(None).await.found;
        assert_eq!(found.first().map(|one| one.operation.as_str()), expected, "{slow}: {found:?}");
        assert!(found.len() <= 1, "{slow}: {found:?}");
        for one in found {
            assert!((one.adds_ms / 100.0 - 1.0).abs() < 0.06, "{slow}: {one:?}");
            assert!((one.share_of_requests / 0.15 - 1.0).abs() < 0.2, "{slow}: {one:?}");
        }
    }
}

/// Rates are asked for before the statement and seem to run beside it, as their clock is a little late.
#[tokio::test]
async fn whose_clock_is_off_by_less_than_a_request_takes_makes_nobody_slow_that_began_it() {
    for (share, expected) in [(0.0, None), (0.15, Some("GET /"))] {
        let batch = left_by(&["shop", "rates", "stock"], 1_500, |rng| {
            let mut works = |ms: f64| ms * (0.8 + 0.4 * rng.random::<f64>());
            let (stock, rates, update) = (works(2.0), works(0.5), works(5.0));
            let (select, itself) = (works(20.0), works(0.3));
            // What is not in its cache a statement must find.
            let select = if rng.random_bool(0.2) { select } else { 0.0 };
            let wait = if rng.random_bool(share) { 100.0 } else { 0.0 };
            let (asks, late) = (0.4 + stock, 3.0);
            let told = asks + rates + select;
            let updates = told + 0.2;
            let mut left = vec![
                (0, 1, 0, "GET /", SpanKind::Server, 0.0, updates + update + itself + wait),
                (2, 2, 1, "GET /stock", SpanKind::Server, 68.0, 68.0 + stock),
                (1, 3, 1, "GET /rates", SpanKind::Server, asks + late, told + late),
                (0, 4, 1, "UPDATE", SpanKind::Client, updates, updates + update),
            ];
            if select > 0.0 {
                left.push((1, 5, 3, "SELECT", SpanKind::Client, asks + rates + late, told + late));
            }
            left
        });
        let world = World::new().await;
        world.write(batch).await;
        let found = world.of(None).await.found;
        assert_eq!(found.first().map(|one| one.operation.as_str()), expected, "{found:?}");
        assert!(found.len() <= 1, "{found:?}");
        for one in found {
            assert!((one.adds_ms / 100.0 - 1.0).abs() < 0.1, "{one:?}");
            assert!((one.share_of_requests / 0.15 - 1.0).abs() < 0.2, "{one:?}");
        }
    }
}

#[tokio::test]
async fn what_only_some_ask_for_is_no_bottleneck_but_a_wait_that_only_some_have_is() {
    for waits in [false, true] {
        let world = World::new().await;
        let batch = left_by(&["frontend", "coupons"], 1_000, |rng| {
            let took = 100.0 * (0.9 + 0.2 * rng.random::<f64>());
            let (end, some) = (10.0 * (0.8 + 0.4 * rng.random::<f64>()), rng.random_bool(0.15));
            match (some, waits) {
                (false, _) => vec![(0, 1, 0, "GET /", SpanKind::Server, 0.0, end)],
                (true, true) => vec![
                    (0, 1, 0, "GET /", SpanKind::Server, 0.0, end + took),
                    (0, 2, 1, "wait", SpanKind::Internal, 5.0, 5.0 + took),
                ],
                (true, false) => vec![
                    (0, 1, 0, "GET /", SpanKind::Server, 0.0, end + took),
                    (0, 2, 1, "GET", SpanKind::Client, 5.0, 5.0 + took),
                    (1, 3, 2, "GET /coupons", SpanKind::Server, 5.5, 4.5 + took),
                ],
            }
        });
        world.write(batch).await;
        let found = world.of(None).await.found;
        let named: Vec<&str> = found.iter().map(|one| one.operation.as_str()).collect();
        let expected: &[&str] = if waits { &["wait"] } else { &[] };
        assert_eq!(named, expected, "{found:?}");
        if let Some(wait) = found.first() {
            assert!((wait.adds_ms / 100.0 - 1.0).abs() < 0.05, "{wait:?}");
            assert!((wait.share_of_requests / 0.15 - 1.0).abs() < 0.2, "{wait:?}");
        }
    }
}

/// A loop of two services that ask one another is one trace with as many requests as spans.
#[tokio::test]
async fn a_trace_without_end_is_looked_at_so_far() {
    let world = World::new().await;
    let spans = |of: u32| {
        let span = |number: u32| Span {
            trace_id: [7; 16],
            span_id: u64::from(number + 1).to_be_bytes(),
            parent_span_id: (number > 0).then(|| u64::from(number).to_be_bytes()),
            start_ns: NOON_NS + i64::from(number),
            duration_ns: 1_000_000 - 2 * i64::from(number),
            name: "again".to_owned(),
            kind: SpanKind::Server,
            ..Span::default()
        };
        (0..20_000).filter(|number| number % 2 == of).map(span).collect::<Vec<Span>>()
    };
    let resources = ["ping", "pong"].into_iter().zip(0..).map(|(name, of)| ResourceSpans {
        resource: Arc::new(vec![("service.name".to_owned(), Value::from(name))]),
        spans: spans(of),
        ..ResourceSpans::default()
    });
    world.write(SpanBatch { resources: resources.collect() }).await;
    let answer = world.of(Some("pong")).await;
    assert_eq!((answer.requests, answer.found.len()), (LOOKED_THROUGH_MAX / 20_000, 0));
}

/// Slow requests were all kept, and of the others one in ten, which say so.
#[tokio::test]
async fn a_request_stands_for_those_that_a_sampler_did_not_keep() {
    let mut batch = traffic(Shop::new(4_000, 0.15, 300.0));
    let whole = World::new().await;
    whole.write(batch.clone()).await;
    let whole = whole.of(None).await;
    let waited = |span: &&Span| span.name == "db.pool" && span.duration_ns > 100_000_000;
    let slow: HashSet<TraceId> =
        batch.resources[1].spans.iter().filter(waited).map(|span| span.trace_id).collect();
    let is_fast_root = |span: &&Span| span.parent_span_id.is_none() && !slow.contains(&span.trace_id);
    let roots = batch.resources[0].spans.iter().filter(is_fast_root);
    let tenth: HashSet<TraceId> = roots.step_by(10).map(|span| span.trace_id).collect();
    for resource in &mut batch.resources {
        resource.spans.retain(|span| slow.contains(&span.trace_id) || tenth.contains(&span.trace_id));
        for span in resource.spans.iter_mut().filter(|span| tenth.contains(&span.trace_id)) {
            span.trace_state = "ot=th:e6666666666666".into();
        }
    }
    let world = World::new().await;
    world.write(batch).await;
    let kept = world.of(None).await;
    assert_eq!((kept.requests, whole.requests), (slow.len() + tenth.len(), 4_000));
    let ([pool], [expected]) = (kept.found.as_slice(), whole.found.as_slice()) else { panic!("{kept:?}") };
    let near = |of_kept: f64, of_whole: f64| {
        assert!((of_kept / of_whole - 1.0).abs() < 0.1, "{of_kept} of {of_whole}: {pool:?} {expected:?}");
    };
    near(pool.share_of_requests, 0.15);
    near(pool.share_of_requests, expected.share_of_requests);
    near(pool.adds_ms, expected.adds_ms);
    near(pool.share_of_time, expected.share_of_time);
    near(pool.share_of_p95, expected.share_of_p95);
    near(kept.p95_ms, whole.p95_ms);
    let on_path = |of: &Bottlenecks| of.path.iter().find(|on| on.operation == "db.pool").unwrap().clone();
    let (pool, expected) = (on_path(&kept), on_path(&whole));
    assert!((pool.share_of_time / expected.share_of_time - 1.0).abs() < 0.1, "{pool:?} {expected:?}");
    assert!((pool.mean_ms / expected.mean_ms - 1.0).abs() < 0.1, "{pool:?} {expected:?}");
}

/// Requests run a statement of 5 ms so often; of some one waits 25 ms.
fn statements(runs: impl Fn(u32) -> u32, waits: impl Fn(u32) -> bool) -> SpanBatch {
    let mut rng = StdRng::seed_from_u64(3);
    let mut spans = vec![];
    for number in 0..1_000u32 {
        let mut trace_id = [0; 16];
        rng.fill(&mut trace_id);
        let (start_ns, mut at) = (NOON_NS + i64::from(number) * 100_000_000, 0.5);
        let root = Span {
            trace_id,
            span_id: [200; 8],
            start_ns,
            name: "GET /".to_owned(),
            kind: SpanKind::Server,
            ..Span::default()
        };
        for nth in 0..runs(number) {
            let wait = if nth == 0 && waits(number) { 25.0 } else { 0.0 };
            let took = 5.0 * (0.95 + 0.1 * rng.random::<f64>()) + wait;
            spans.push(Span {
                span_id: [nth as u8 + 1; 8],
                parent_span_id: Some([200; 8]),
                start_ns: start_ns + (at * MS) as i64,
                duration_ns: (took * MS) as i64,
                name: "SELECT".to_owned(),
                kind: SpanKind::Client,
                ..root.clone()
            });
            at += took;
        }
        spans.push(Span { duration_ns: ((at + 0.5) * MS) as i64, ..root });
    }
    let resource = Arc::new(vec![("service.name".to_owned(), Value::from("shop"))]);
    SpanBatch { resources: vec![ResourceSpans { resource, spans, ..ResourceSpans::default() }] }
}

async fn found_of_statements(runs: impl Fn(u32) -> u32, waits: impl Fn(u32) -> bool) -> Vec<Bottleneck> {
    let world = World::new().await;
    world.write(statements(runs, waits)).await;
    world.of(None).await.found
}

#[tokio::test]
async fn what_runs_a_few_times_more_takes_longer_and_is_not_slow() {
    // Times of one to four, and of one now and then two, are as many sizes.
    assert_eq!(found_of_statements(|number| 1 + number % 4, |_| false).await, []);
    assert_eq!(found_of_statements(|number| 1 + u32::from(number % 5 == 0), |_| false).await, []);
    // What is slow beside that is.
    let slow = found_of_statements(|number| 1 + number % 4, |number| number % 7 == 0).await;
    let [select] = slow.as_slice() else { panic!("{slow:?}") };
    assert!((select.adds_ms / 25.0 - 1.0).abs() < 0.05 && select.slowed == 143, "{select:?}");
    // And so is what a few run for each of many rows.
    let many = found_of_statements(|number| if number % 10 == 0 { 50 } else { 1 }, |_| false).await;
    let [select] = many.as_slice() else { panic!("{many:?}") };
    assert!((select.adds_ms / 245.0 - 1.0).abs() < 0.02 && select.slowed == 100, "{select:?}");
}

/// Two operations run statements of one name, of 2 and of 20 ms; three requests in ten run the second, too.
fn statements_of_two(waits: impl Fn(u32) -> bool) -> SpanBatch {
    let mut rng = StdRng::seed_from_u64(4);
    let mut spans = vec![];
    for number in 0..1_000u32 {
        let mut trace_id = [0; 16];
        rng.fill(&mut trace_id);
        let start_ns = NOON_NS + i64::from(number) * 100_000_000;
        let mut span = |id: u8, parent: u8, name: &str, kind: SpanKind, from: f64, to: f64| {
            spans.push(Span {
                trace_id,
                span_id: [id; 8],
                parent_span_id: (parent != 0).then_some([parent; 8]),
                start_ns: start_ns + (from * MS) as i64,
                duration_ns: ((to - from) * MS) as i64,
                name: name.to_owned(),
                kind,
                ..Span::default()
            });
        };
        let wait = if waits(number) { 60.0 } else { 0.0 };
        let mut end = 1.0 + 2.0 * (0.9 + 0.2 * rng.random::<f64>()) + wait;
        span(2, 1, "list", SpanKind::Internal, 0.5, end + 0.5);
        span(3, 2, "SELECT", SpanKind::Client, 1.0, end);
        if number % 10 < 3 {
            let from = end + 1.0;
            end = from + 20.0 * (0.9 + 0.2 * rng.random::<f64>());
            span(4, 1, "fill", SpanKind::Internal, from - 0.2, end + 0.5);
            span(5, 4, "SELECT", SpanKind::Client, from, end);
        }
        span(1, 0, "GET /", SpanKind::Server, 0.0, end + 1.0);
    }
    let resource = Arc::new(vec![("service.name".to_owned(), Value::from("shop"))]);
    SpanBatch { resources: vec![ResourceSpans { resource, spans, ..ResourceSpans::default() }] }
}

#[tokio::test]
async fn statements_of_one_name_take_as_long_as_who_runs_them_makes_them() {
    let world = World::new().await;
    world.write(statements_of_two(|_| false)).await;
    assert_eq!(world.of(None).await.found, []);
    let world = World::new().await;
    world.write(statements_of_two(|number| number % 7 == 0)).await;
    let found = world.of(None).await.found;
    let [select] = found.as_slice() else { panic!("{found:?}") };
    assert_eq!((select.operation.as_str(), select.slowed), ("SELECT", 143));
    assert!((select.adds_ms / 60.0 - 1.0).abs() < 0.05, "{select:?}");
}

#[tokio::test]
async fn who_waits_for_news_hides_nothing() {
    let mut batch = traffic(Shop::new(1_000, 0.05, 60.0));
    let wait = |number: u8| Span {
        trace_id: [number; 16],
        span_id: [1; 8],
        start_ns: NOON_NS + i64::from(number) * 1_000_000_000,
        duration_ns: 20_000_000_000 + i64::from(number) * 10_000_000,
        name: "GET /events".to_owned(),
        kind: SpanKind::Server,
        ..Span::default()
    };
    batch.resources[0].spans.extend((1..=100).map(wait));
    let world = World::new().await;
    world.write(batch).await;
    let answer = world.of(None).await;
    let [pool] = answer.found.as_slice() else { panic!("{answer:?}") };
    assert_eq!((pool.operation.as_str(), answer.requests), ("db.pool", 1_100));
    assert!((pool.adds_ms / 60.0 - 1.0).abs() < 0.05 && pool.share_of_time < 0.01, "{pool:?}");
}
