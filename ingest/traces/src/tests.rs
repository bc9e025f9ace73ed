//! What is derived, of batches that pass through to a sink that keeps what it gets.

use super::*;
use model::{ResourceSpans, Span, SpanKind, StatusCode};
use std::sync::atomic::{AtomicI64, Ordering};

/// 2026-03-01T12:00:00Z.
const NOON_MS: i64 = 1_772_366_400_000;

struct Hands(AtomicI64);

impl Clock for Hands {
    fn now_ns(&self) -> i64 {
        self.0.load(Ordering::Relaxed) * 1_000_000
    }
}

#[derive(Default)]
struct Kept {
    metrics: Mutex<Vec<MetricBatch>>,
    refuse: Mutex<bool>,
    repeated: Mutex<bool>,
}

#[async_trait::async_trait]
impl Sink for Kept {
    async fn write(&self, write: Write) -> Result<Receipt, Refused> {
        if *self.refuse.lock() {
            return Err(Refused::Stopping);
        }
        let receipt = Receipt { repeated: *self.repeated.lock(), ..Receipt::of_all(&write.batch) };
        if let Batch::Metrics(batch) = write.batch {
            self.metrics.lock().push(batch);
        }
        Ok(receipt)
    }
}

struct World {
    derive: Derive,
    kept: Arc<Kept>,
    clock: Arc<Hands>,
}

impl World {
    fn new() -> World {
        let (kept, clock) = (Arc::new(Kept::default()), Arc::new(Hands(AtomicI64::new(NOON_MS))));
        let derive = Derive::new(kept.clone(), clock.clone(), Config::default());
        World { derive, kept, clock }
    }

    fn later(&self, ms: i64) {
        self.clock.0.fetch_add(ms, Ordering::Relaxed);
    }

    async fn write(&self, spans: &[(&str, Span)]) {
        let resource = |(service, span): &(&str, Span)| ResourceSpans {
            resource: Arc::new(vec![("service.name".to_owned(), Value::from(*service))]),
            spans: vec![span.clone()],
            ..ResourceSpans::default()
        };
        let batch = Batch::Spans(SpanBatch { resources: spans.iter().map(resource).collect() });
        let write = Write { tenant: Tenant::default(), batch, origin: None };
        let _ = self.derive.write(write).await;
    }

    /// Writes the counts and gives the last value of each series that is not a bucket of a native histogram.
    async fn counts(&self) -> HashMap<String, f64> {
        self.kept.metrics.lock().clear();
        self.derive.write_counts().await;
        let mut counts = HashMap::new();
        for batch in self.kept.metrics.lock().iter() {
            for (labels, _, values) in batch.iter() {
                let labels = model::Labels::from_bytes(labels).unwrap();
                counts.insert(labels.to_string(), *values.last().unwrap());
            }
        }
        counts
    }
}

fn span(id: u8, parent: u8, kind: SpanKind, name: &str) -> Span {
    Span {
        trace_id: [9; 16],
        span_id: [id; 8],
        parent_span_id: (parent != 0).then_some([parent; 8]),
        start_ns: NOON_MS * 1_000_000,
        duration_ns: 100_000_000,
        kind,
        name: name.into(),
        ..Span::default()
    }
}

const CALLS: &str = r#"traces_spanmetrics_calls_total{service="SERVICE", span_kind="SPAN_KIND_SERVER", span_name="GET /", status_code="STATUS_CODE_UNSET"}"#;

fn calls(service: &str) -> String {
    CALLS.replace("SERVICE", service)
}

fn requests(client: &str, server: &str, connection: &str) -> String {
    let connection = match connection {
        "" => String::new(),
        some => format!(r#", connection_type="{some}""#),
    };
    format!(r#"traces_service_graph_request_total{{client="{client}"{connection}, server="{server}"}}"#)
}

#[tokio::test]
async fn spans_are_counted_as_they_are_stored() {
    let world = World::new();
    let get = |id| ("shop", span(id, 0, SpanKind::Server, "GET /"));
    world.write(&[get(1), get(2)]).await;
    // Neither what is refused nor what was there before, nor what cannot be stored.
    *world.kept.refuse.lock() = true;
    world.write(&[get(3)]).await;
    *world.kept.refuse.lock() = false;
    *world.kept.repeated.lock() = true;
    world.write(&[get(4)]).await;
    *world.kept.repeated.lock() = false;
    let mut negative = get(5);
    negative.1.duration_ns = -1;
    world.write(&[negative]).await;

    let counts = world.counts().await;
    let of = |name: &str| {
        let key = calls("shop").replace("calls_total", name);
        counts.get(&key).copied()
    };
    assert_eq!((of("calls_total"), of("latency_count")), (Some(2.0), Some(2.0)), "{counts:#?}");
    assert_eq!(of("size_total"), Some(2.0 * size::of(&get(1).1) as f64));
    let bucket = |le: &str| {
        let key = calls("shop").replace("calls_total{", &format!("latency_bucket{{le=\"{le}\", "));
        counts.get(&key).copied()
    };
    assert_eq!((bucket("0.064"), bucket("0.128"), bucket("+Inf")), (Some(0.0), Some(2.0), Some(2.0)));
    let native =
        counts.keys().any(|key| key.contains("__histogram__") && key.contains("spanmetrics_latency"));
    assert!(native, "{counts:#?}");
}

/// As its sender got no answer, or sends on two ways.
#[tokio::test]
async fn a_span_that_comes_twice_is_counted_once() {
    let world = World::new();
    let (ask, answer) =
        (("shop", span(2, 1, SpanKind::Client, "ask")), ("stock", span(3, 2, SpanKind::Server, "GET /")));
    *world.kept.refuse.lock() = true;
    world.write(&[ask.clone(), answer.clone()]).await;
    *world.kept.refuse.lock() = false;
    world.write(&[ask.clone(), answer.clone(), answer.clone()]).await;
    world.write(&[answer.clone(), ask.clone()]).await;
    let counts = world.counts().await;
    assert_eq!(counts.get(&calls("stock")), Some(&1.0), "{counts:#?}");
    assert_eq!(counts.get(&requests("shop", "stock", "")), Some(&1.0));
    let sent = [
        ask.clone(),
        ("stock", Span { duration_ns: 1, ..answer.1.clone() }),
        ("stock", Span { start_ns: 1_000_000, ..answer.1.clone() }),
        ("stock", Span { trace_id: [8; 16], ..answer.1.clone() }),
        ("stock-2", answer.1.clone()),
        answer,
    ];
    world.write(&sent).await;
    let counts = world.counts().await;
    assert_eq!((counts[&calls("stock")], counts[&calls("stock-2")]), (4.0, 1.0), "{counts:#?}");
    let asked = calls("shop").replace("GET /", "ask").replace("_SERVER", "_CLIENT");
    assert_eq!(counts.get(&asked), Some(&1.0), "{counts:#?}");
}

#[tokio::test]
async fn a_new_series_begins_at_zero_and_its_exemplar_leads_to_a_trace() {
    let world = World::new();
    world.later(60_000);
    world.write(&[("shop", span(1, 0, SpanKind::Server, "GET /"))]).await;
    let now_ms = world.clock.now_ms();
    world.derive.write_counts().await;
    let batches = std::mem::take(&mut *world.kept.metrics.lock());
    let wanted = calls("shop");
    let found = batches[0]
        .iter()
        .find(|(labels, _, _)| model::Labels::from_bytes(labels).unwrap().to_string() == wanted);
    let (_, ts_ms, values) = found.unwrap();
    assert_eq!((ts_ms, values), (&[now_ms - 15_000, now_ms][..], &[0.0, 1.0][..]));
    let exemplar = &batches[0].exemplars[0];
    assert_eq!(exemplar.labels.get("trace_id"), Some(hex::encode([9u8; 16]).as_str()));
    assert_eq!((exemplar.value, exemplar.ts_ms), (0.1, NOON_MS + 100));
    assert_eq!(exemplar.series.get("le"), Some("0.128"));
    assert_eq!(batches[0].metadata.len(), 7);

    // Told once: later there is one sample, and no exemplar without a new span.
    world.later(15_000);
    world.derive.write_counts().await;
    let batches = std::mem::take(&mut *world.kept.metrics.lock());
    assert!(batches[0].iter().all(|(_, ts_ms, _)| ts_ms.len() == 1));
    assert_eq!(batches[0].exemplars.len(), 0);
}

#[tokio::test]
async fn a_pair_is_an_edge_in_whatever_order_its_halves_come() {
    let world = World::new();
    let (ask, answer) = (span(2, 1, SpanKind::Client, "ask"), span(3, 2, SpanKind::Server, "answer"));
    world.write(&[("shop", ask.clone())]).await;
    world.write(&[("stock", answer.clone())]).await;
    let mut failed = answer.clone();
    failed.status = StatusCode::Error;
    failed.trace_id = [8; 16];
    let ask = Span { trace_id: [8; 16], ..ask };
    world.write(&[("stock", failed), ("shop", ask)]).await;
    let counts = world.counts().await;
    let edge = requests("shop", "stock", "");
    assert_eq!(counts.get(&edge), Some(&2.0), "{counts:#?}");
    assert_eq!(counts.get(&edge.replace("request_total", "request_failed_total")), Some(&1.0));
    for side in ["server", "client"] {
        let seconds = edge.replace("request_total", &format!("request_{side}_seconds_sum"));
        assert!((counts[&seconds] - 0.2).abs() < 1e-9, "{seconds}");
    }
}

#[tokio::test]
async fn a_message_has_an_edge_to_each_of_its_consumers() {
    let world = World::new();
    let send = span(2, 1, SpanKind::Producer, "send");
    let take = |id| span(id, 2, SpanKind::Consumer, "take");
    world.write(&[("mail", take(3)), ("shop", send), ("sms", take(4)), ("sms", take(5))]).await;
    let counts = world.counts().await;
    assert_eq!(counts.get(&requests("shop", "mail", "messaging_system")), Some(&1.0), "{counts:#?}");
    assert_eq!(counts.get(&requests("shop", "sms", "messaging_system")), Some(&2.0));
}

#[tokio::test]
async fn nodes_without_spans_are_named_by_those_that_have_some() {
    let world = World::new();
    let with = |mut span: Span, attributes: &[(&str, &str)]| {
        let owned = attributes.iter().map(|(name, value)| ((*name).to_owned(), Value::from(*value)));
        span.attributes = owned.collect();
        span
    };
    let client = |id, attributes: &[(&str, &str)]| with(span(id, 1, SpanKind::Client, "c"), attributes);
    world
        .write(&[
            ("shop", span(1, 0, SpanKind::Server, "GET /")),
            ("shop", client(2, &[("db.system", "postgresql"), ("db.name", "orders")])),
            ("shop", client(3, &[("db.system.name", "redis"), ("server.address", "cache-1")])),
            ("shop", client(4, &[("peer.service", "bank")])),
            ("shop", client(5, &[])),
            ("shop", client(6, &[("peer.service", ""), ("db.name", ""), ("db.system", "")])),
        ])
        .await;
    let counts = world.counts().await;
    assert_eq!(counts.get(&requests("user", "shop", "virtual_node")), Some(&1.0), "{counts:#?}");
    assert_eq!(counts.get(&requests("shop", "orders", "database")), Some(&1.0));
    assert_eq!(counts.get(&requests("shop", "cache-1", "database")), Some(&1.0));
    // The bank may still answer.
    assert_eq!(counts.get(&requests("shop", "bank", "virtual_node")), None);
    world.later(graph::WAIT_MS);
    let counts = world.counts().await;
    assert_eq!(counts.get(&requests("shop", "bank", "virtual_node")), Some(&1.0), "{counts:#?}");
    let edges = counts.keys().filter(|key| key.contains("request_total")).count();
    assert_eq!(edges, 4, "who asked nobody that is known makes no edge");
    let expired = world.derive.readings().into_iter().find(|r| r.name.ends_with("graph_expired_total"));
    assert_eq!(expired.map(|reading| reading.value), Some(2.0));
}

#[tokio::test]
async fn a_sampled_span_counts_for_those_that_were_left_out() {
    let world = World::new();
    let state = |span: Span| Span { trace_state: "ot=th:c".into(), ..span };
    let (ask, answer) = (span(2, 1, SpanKind::Client, "ask"), span(3, 2, SpanKind::Server, "GET /"));
    world.write(&[("shop", state(ask)), ("stock", state(answer))]).await;
    let counts = world.counts().await;
    assert_eq!(counts.get(&calls("stock")), Some(&4.0), "{counts:#?}");
    assert_eq!(counts.get(&requests("shop", "stock", "")), Some(&4.0));
}

#[tokio::test]
async fn a_series_that_nothing_is_added_to_ends() {
    let world = World::new();
    let pair =
        [("shop", span(2, 1, SpanKind::Client, "ask")), ("stock", span(3, 2, SpanKind::Server, "GET /"))];
    world.write(&pair).await;
    assert_eq!(world.counts().await[&calls("stock")], 1.0);
    world.later(16 * 60_000);
    let counts = world.counts().await;
    assert!(model::is_stale_marker(counts[&calls("stock")]), "{counts:#?}");
    let told = counts.iter().filter(|(key, _)| !key.contains("__histogram__=\"meta\""));
    assert!(told.into_iter().all(|(_, value)| model::is_stale_marker(*value)), "{counts:#?}");
    assert!(model::is_stale_marker(counts[&requests("shop", "stock", "")]));
    assert!(world.counts().await.is_empty());
    assert!(world.derive.tenants.lock().is_empty());
    world.write(&pair).await;
    assert_eq!(world.counts().await[&calls("stock")], 1.0);
}

#[tokio::test]
async fn label_sets_without_end_are_bounded() {
    let world = World::new();
    for service in 0..1_800 {
        let spans: Vec<(String, Span)> = (0..3)
            .map(|at| (format!("service-{service}"), span(at + 1, 0, SpanKind::Server, &format!("op-{at}"))))
            .collect();
        let borrowed: Vec<(&str, Span)> =
            spans.iter().map(|(name, span)| (name.as_str(), span.clone())).collect();
        world.write(&borrowed).await;
    }
    let counts = world.counts().await;
    let all = counts.iter().filter(|(key, _)| key.contains("calls_total"));
    let (series, spans) = all.fold((0, 0.0), |(series, spans), (_, value)| (series + 1, spans + value));
    assert_eq!((series, spans), (5_001, 5_400.0), "no span is lost");
    let overflow = calls("__cardinality_overflow__").replace("GET /", "__cardinality_overflow__");
    assert_eq!(counts.get(&overflow), Some(&400.0));
}

#[tokio::test]
async fn a_service_with_names_without_end_leaves_room_to_others() {
    let world = World::new();
    for name in 0..400 {
        let kinds =
            [SpanKind::Server, SpanKind::Client, SpanKind::Internal, SpanKind::Producer, SpanKind::Consumer];
        let mut spans = vec![];
        for (kind, status) in
            kinds.into_iter().flat_map(|kind| [StatusCode::Ok, StatusCode::Error].map(|s| (kind, s)))
        {
            let word: String = name.to_string().bytes().map(|b| (b - b'0' + b'a') as char).collect();
            spans.push(("greedy", Span { status, ..span(1, 0, kind, &word) }));
        }
        world.write(&spans).await;
    }
    let late = [("late", span(2, 0, SpanKind::Server, "GET /"))];
    world.write(&late).await;
    let counts = world.counts().await;
    let greedy = counts.keys().filter(|key| key.contains("calls_total") && key.contains("greedy")).count();
    assert!((2_000..=2_500).contains(&greedy), "{greedy}");
    assert_eq!(counts.get(&calls("late")), Some(&1.0));
}

#[tokio::test]
async fn what_came_once_makes_room_when_there_is_none() {
    let world = World::new();
    for service in 0..5_100 {
        world.write(&[(format!("once-{service}").as_str(), span(1, 0, SpanKind::Server, "GET /"))]).await;
    }
    let late = |id| [("late", span(id, 0, SpanKind::Server, "GET /"))];
    for minute in 0..3 {
        world.write(&late(minute as u8 + 2)).await;
        let counts = world.counts().await;
        let ended = counts
            .iter()
            .filter(|(key, value)| key.contains("calls_total") && model::is_stale_marker(**value));
        // Written once more as they are after a minute, when the first of them are idle.
        assert_eq!(ended.count(), [0, 0, 100][minute], "{minute}");
        world.later(60_000);
    }
    world.write(&late(9)).await;
    assert_eq!(world.counts().await.get(&calls("late")), Some(&1.0));
}

#[tokio::test]
async fn other_signals_pass_untouched() {
    let world = World::new();
    let mut batch = MetricBatch::default();
    batch.push_sample(&model::Labels::from_pairs([("__name__", "up")]), NOON_MS, 1.0);
    let write = Write { tenant: Tenant::default(), batch: Batch::Metrics(batch.clone()), origin: None };
    assert_eq!(world.derive.write(write).await.unwrap().accepted, 1);
    assert_eq!(*world.kept.metrics.lock(), [batch]);
}
