//! Decisions over traces that come in pieces.

use super::*;
use model::{Span, StatusCode, Value};
use std::sync::atomic::{AtomicI64, Ordering};

const NOON_MS: i64 = 1_772_366_400_000;

struct Hands(AtomicI64);

impl Clock for Hands {
    fn now_ns(&self) -> i64 {
        self.0.load(Ordering::Relaxed) * 1_000_000
    }
}

#[derive(Default)]
struct Kept {
    /// Trace and span, by their first byte.
    spans: Mutex<Vec<(u8, u8)>>,
    full: Mutex<bool>,
}

#[async_trait::async_trait]
impl Sink for Kept {
    async fn write(&self, write: Write) -> Result<Receipt, Refused> {
        if *self.full.lock() {
            return Err(Refused::Busy { why: "full".into(), retry_after: Duration::from_secs(1) });
        }
        let Batch::Spans(batch) = &write.batch else { return Ok(Receipt::of_all(&write.batch)) };
        let spans = batch.resources.iter().flat_map(|resource| &resource.spans);
        self.spans.lock().extend(spans.map(|span| (span.trace_id[0], span.span_id[0])));
        Ok(Receipt::of_all(&write.batch))
    }
}

struct World {
    sampler: Sampler,
    kept: Arc<Kept>,
    clock: Arc<Hands>,
}

impl World {
    fn new(file: &str) -> World {
        World::with_room(file, 64 << 20)
    }

    fn with_room(file: &str, bytes_max: usize) -> World {
        let (kept, clock) = (Arc::new(Kept::default()), Arc::new(Hands(AtomicI64::new(NOON_MS))));
        let sampling = Sampling::parse(file).unwrap();
        World { sampler: Sampler::new(kept.clone(), clock.clone(), sampling, bytes_max), kept, clock }
    }

    async fn write_as(&self, service: &str, spans: Vec<Span>, origin: Option<model::Origin>) -> Receipt {
        let resource = ResourceSpans {
            resource: Arc::new(vec![("service.name".to_owned(), Value::from(service))]),
            spans,
            ..ResourceSpans::default()
        };
        let batch = Batch::Spans(SpanBatch { resources: vec![resource] });
        self.sampler.write(Write { tenant: Tenant::default(), batch, origin }).await.unwrap()
    }

    async fn write(&self, spans: Vec<Span>) -> Receipt {
        self.write_as("shop", spans, None).await
    }

    /// What was written after so long.
    async fn after(&self, ms: i64) -> Vec<(u8, u8)> {
        self.clock.0.fetch_add(ms, Ordering::Relaxed);
        self.sampler.decide(self.clock.now_ms()).await;
        let mut spans = std::mem::take(&mut *self.kept.spans.lock());
        spans.sort_unstable();
        spans
    }

    fn reading(&self, name: &str, label: &str) -> f64 {
        let readings = self.sampler.readings();
        let found = readings.iter().find(|reading| {
            reading.name.ends_with(name)
                && (label.is_empty() || reading.labels.iter().any(|(_, v)| v == label))
        });
        found.unwrap_or_else(|| panic!("{name} {label}")).value
    }
}

fn span(trace: u8, id: u8, parent: u8, duration_ms: i64) -> Span {
    Span {
        trace_id: [trace; 16],
        span_id: [id; 8],
        parent_span_id: (parent != 0).then_some([parent; 8]),
        start_ns: NOON_MS * 1_000_000,
        duration_ns: duration_ms * 1_000_000,
        ..Span::default()
    }
}

fn failed(span: Span) -> Span {
    Span { status: StatusCode::Error, ..span }
}

const ERRORS: &str = "
decision_wait: 10s
policies:
  - { name: errors, type: status_code, status_code: { status_codes: [ERROR] } }
";

#[tokio::test]
async fn a_trace_is_kept_as_a_whole_or_not_at_all() {
    let world = World::new(ERRORS);
    world.write(vec![span(1, 1, 0, 5), span(2, 1, 0, 5)]).await;
    world.write(vec![failed(span(1, 2, 1, 3)), span(2, 2, 1, 3)]).await;
    assert_eq!(world.after(9_999).await, []);
    assert_eq!(world.after(1).await, [(1, 1), (1, 2)]);
    // What comes late follows the decision, at once.
    world.write(vec![span(1, 3, 1, 1), failed(span(2, 3, 1, 1))]).await;
    assert_eq!(*world.kept.spans.lock(), [(1, 3)]);
    assert_eq!(
        (
            world.reading("sampling_traces_total", "sampled"),
            world.reading("sampling_traces_total", "not_sampled")
        ),
        (1.0, 1.0)
    );
    assert_eq!(
        (world.reading("late_spans_total", "sampled"), world.reading("late_spans_total", "not_sampled")),
        (1.0, 1.0)
    );
    assert_eq!(world.reading("policy_traces_total", "errors"), 1.0);
    assert_eq!(world.reading("waiting_bytes", ""), 0.0);
}

#[tokio::test]
async fn a_root_shortens_the_wait() {
    let world = World::new(&format!("decision_wait_after_root_received: 2s{ERRORS}"));
    world.write(vec![failed(span(1, 2, 1, 3)), failed(span(2, 2, 1, 3))]).await;
    world.clock.0.fetch_add(1_000, Ordering::Relaxed);
    world.write(vec![span(1, 1, 0, 5)]).await;
    assert_eq!(world.after(2_000).await, [(1, 1), (1, 2)]);
    assert_eq!(world.after(7_000).await, [(2, 2)]);
}

#[tokio::test]
async fn other_policies_hold_for_what_waits_and_those_that_stay_count_on() {
    let world = World::new(ERRORS);
    world.write(vec![failed(span(1, 1, 0, 5))]).await;
    assert_eq!(world.after(10_000).await, [(1, 1)]);
    world.write(vec![failed(span(2, 1, 0, 5)), span(3, 1, 0, 900), span(4, 1, 0, 5)]).await;
    let slow = "  - { name: slow, type: latency, latency: { threshold_ms: 500 } }";
    world.sampler.set(Sampling::parse(&ERRORS.replace("policies:", &format!("policies:\n{slow}"))).unwrap());
    assert_eq!(world.after(10_000).await, [(2, 1), (3, 1)]);
    assert_eq!(
        (world.reading("policy_traces_total", "errors"), world.reading("policy_traces_total", "slow")),
        (2.0, 1.0)
    );
}

/// Late spans of what was forgotten wait again.
#[tokio::test]
async fn a_smaller_memory_of_decisions_keeps_the_last() {
    let world = World::new(ERRORS);
    world.write(vec![failed(span(1, 1, 0, 5)), failed(span(2, 1, 0, 5))]).await;
    assert_eq!(world.after(10_000).await, [(1, 1), (2, 1)]);
    let smaller = format!("decision_cache: {{ sampled_cache_size: 1 }}{ERRORS}");
    world.sampler.set(Sampling::parse(&smaller).unwrap());
    world.write(vec![span(1, 2, 1, 5), span(2, 2, 1, 5)]).await;
    assert_eq!(world.after(0).await, [(2, 2)]);
    assert_eq!(world.after(10_000).await, []);
}

#[tokio::test]
async fn every_policy_keeps_what_it_says() {
    let file = "
decision_wait: 1s
policies:
  - { name: slow, type: latency, latency: { threshold_ms: 100, upper_threshold_ms: 500 } }
  - { name: code, type: numeric_attribute, numeric_attribute: { key: code, min_value: 500, max_value: 599 } }
  - { name: always, type: string_attribute, string_attribute: { key: service.name, values: [payment] } }
  - { name: like, type: string_attribute, string_attribute: { key: user, values: ['vip-.*'], enabled_regex_matching: true } }
  - { name: flag, type: boolean_attribute, boolean_attribute: { key: debug, value: true } }
  - { name: long, type: span_count, span_count: { min_spans: 3 } }
  - name: both
    type: and
    and:
      and_sub_policy:
        - { name: e, type: status_code, status_code: { status_codes: [ERROR] } }
        - { name: s, type: latency, latency: { threshold_ms: 50 } }
  - name: no health checks
    type: drop
    drop:
      drop_sub_policy:
        - { name: h, type: string_attribute, string_attribute: { key: route, values: [/health] } }
";
    let with = |trace: u8, duration_ms: i64, name: &str, value: Value| Span {
        attributes: model::Packed::from(vec![(name.to_owned(), value)]),
        ..span(trace, 1, 0, duration_ms)
    };
    let world = World::new(file);
    world
        .write(vec![
            span(1, 1, 0, 100),
            span(2, 1, 0, 99),
            span(3, 1, 0, 501),
            with(4, 1, "code", Value::Int(500)),
            with(5, 1, "code", Value::Int(404)),
            with(6, 1, "user", Value::from("vip-7")),
            with(7, 1, "user", Value::from("guest")),
            with(8, 1, "debug", Value::Bool(true)),
            span(9, 1, 0, 1),
            span(9, 2, 1, 1),
            span(9, 3, 1, 1),
            failed(span(10, 1, 0, 50)),
            failed(span(11, 1, 0, 49)),
            with(12, 200, "route", Value::from("/health")),
        ])
        .await;
    world.write_as("payment", vec![span(13, 1, 0, 1)], None).await;
    let mut traces: Vec<u8> = world.after(1_000).await.into_iter().map(|(trace, _)| trace).collect();
    traces.dedup();
    assert_eq!(traces, [1, 4, 6, 8, 9, 10, 13]);
    assert_eq!(
        world.reading("policy_traces_total", "slow"),
        2.0,
        "that another refused one is not its matter"
    );
}

/// As the collector's own example has them.
#[tokio::test]
async fn the_collectors_file_is_read() {
    let file = "
decision_wait: 1s
num_traces: 50_000
expected_new_traces_per_sec: 10
decision_cache: { sampled_cache_size: 100_000, non_sampled_cache_size: 100000 }
policies:
  - { name: state, type: trace_state, trace_state: { key: vendor, values: [a, b] } }
  - name: fast is not wanted
    type: and
    and:
      and_sub_policy:
        - { name: e, type: status_code, status_code: { status_codes: [ERROR] } }
        - name: n
          type: not
          not:
            not_sub_policy: { name: s, type: latency, latency: { threshold_ms: 0, upper_threshold_ms: 50 } }
";
    let state = |trace: u8, text: &str| Span { trace_state: text.to_owned(), ..span(trace, 1, 0, 1) };
    let world = World::new(file);
    world
        .write(vec![
            state(1, "ot=th:8, vendor=b"),
            state(2, "vendor=c"),
            state(3, "vendor"),
            failed(span(4, 1, 0, 51)),
            failed(span(5, 1, 0, 50)),
        ])
        .await;
    assert_eq!(world.after(1_000).await, [(1, 1), (4, 1)]);
}

/// Of a span or of one of its events, whichever holds.
#[tokio::test]
async fn conditions_in_the_collectors_language() {
    let world = World::new(
        r#"
decision_wait: 1s
policies:
  - name: odd
    type: ottl_condition
    ottl_condition:
      error_mode: ignore
      span:
        - 'attributes["code"] >= 500 and resource.attributes["service.name"] == "shop"'
        - 'status.code == STATUS_CODE_ERROR and not IsMatch(name, "^health")'
      spanevent:
        - 'name == "retry" and attributes["tries"] > 2'
"#,
    );
    let coded = |trace: u8, code: i64| Span {
        attributes: model::Packed::from(vec![("code".to_owned(), Value::Int(code))]),
        ..span(trace, 1, 0, 1)
    };
    let tried = |trace: u8, tries: i64| Span {
        events: vec![model::SpanEvent {
            name: "retry".to_owned(),
            attributes: vec![("tries".to_owned(), Value::Int(tries))],
            ..model::SpanEvent::default()
        }],
        ..span(trace, 1, 0, 1)
    };
    let health = Span { name: "health".to_owned(), ..failed(span(5, 1, 0, 1)) };
    world
        .write(vec![coded(1, 500), coded(2, 499), tried(3, 3), tried(4, 2), health, failed(span(6, 2, 1, 1))])
        .await;
    world.write_as("payment", vec![coded(7, 500)], None).await;
    let kept: Vec<u8> = world.after(1_000).await.into_iter().map(|(trace, _)| trace).collect();
    assert_eq!(kept, [1, 3, 6]);
}

#[tokio::test]
async fn a_composite_gives_each_policy_its_share_of_a_second() {
    let file = "
decision_wait: 1s
policies:
  - name: all of it
    type: composite
    composite:
      max_total_spans_per_second: 8
      policy_order: [errors, rest]
      composite_sub_policy:
        - { name: rest, type: always_sample }
        - { name: errors, type: status_code, status_code: { status_codes: [ERROR] } }
      rate_allocation:
        - { policy: errors, percent: 25 }
";
    let world = World::new(file);
    let (failing, fine) =
        ((1..=5).map(|trace| failed(span(trace, 1, 0, 1))), (11..=20).map(|trace| span(trace, 1, 0, 1)));
    world.write(failing.chain(fine).collect()).await;
    let kept: Vec<u8> = world.after(1_000).await.into_iter().map(|(trace, _)| trace).collect();
    // Two spans a second of errors, which have no place among the rest; of the rest the half that is not shared out.
    assert_eq!(kept, [1, 2, 11, 12, 13, 14]);
    for (order, says) in [("[errors]", "does not name \"rest\""), ("[errors, rest, x]", "names \"x\"")] {
        let wrong = Sampling::parse(&file.replace("[errors, rest]", order)).err().unwrap_or_default();
        assert!(wrong.contains(says), "{wrong}");
    }
}

#[tokio::test]
async fn shares_and_rates() {
    let half = "
decision_wait: 1s
policies: [{ name: some, type: probabilistic, probabilistic: { sampling_percentage: 50 } }]
";
    let world = World::new(half);
    for trace in 1..=200u8 {
        world.write(vec![span(trace, 1, 0, 1), span(trace, 2, 1, 1)]).await;
    }
    let kept = world.after(1_000).await;
    assert!((120..280).contains(&kept.len()) && kept.len() % 2 == 0, "{}", kept.len());
    let again = World::new(half);
    for trace in 1..=200u8 {
        again.write(vec![span(trace, 1, 0, 1), span(trace, 2, 1, 1)]).await;
    }
    assert_eq!(again.after(1_000).await, kept, "by the trace's id, wherever it is decided");

    let traces = |from: u8| -> Vec<Span> {
        (from..from + 10).flat_map(|trace| [span(trace, 1, 0, 1), span(trace, 2, 1, 1)]).collect()
    };
    // What two seconds bring is there at first, where nothing else is said.
    for (limit, first) in [("spans_per_second: 5", 10), ("spans_per_second: 5, burst_capacity: 5", 4)] {
        let world = World::new(&format!(
            "
decision_wait: 1s
policies: [{{ name: few, type: rate_limiting, rate_limiting: {{ {limit} }} }}]
"
        ));
        world.write(traces(1)).await;
        assert_eq!(world.after(1_000).await.len(), first, "{limit}");
        world.write(traces(20)).await;
        assert_eq!(world.after(1_000).await.len(), 4, "{limit}");
        world.write(traces(40)).await;
        assert_eq!(world.after(60_000).await.len(), first, "{limit}");
    }
}

#[tokio::test]
async fn so_many_bytes_a_second() {
    // A span's are some 50, its resource's some 30.
    let world = World::new(
        "
decision_wait: 1s
policies: [{ name: few, type: bytes_limiting, bytes_limiting: { bytes_per_second: 1_00, burst_capacity: 250 } }]
",
    );
    let long = Span { name: "x".repeat(200), ..span(1, 1, 0, 1) };
    world.write(vec![long.clone(), span(2, 1, 0, 1), span(3, 1, 0, 1), span(4, 1, 0, 1)]).await;
    assert_eq!(world.after(1_000).await, [(2, 1), (3, 1), (4, 1)], "what is too long takes nothing");
    world.write(vec![span(5, 1, 0, 1), span(6, 1, 0, 1)]).await;
    assert_eq!(world.after(1_000).await, [(5, 1)]);
    world.write(vec![Span { trace_id: [7; 16], ..long }]).await;
    assert_eq!(world.after(60_000).await, [], "longer than all that is ever there");
}

#[tokio::test]
async fn memory_is_bounded_by_deciding_early() {
    let world = World::new(&format!("num_traces: 2{ERRORS}"));
    world.write(vec![failed(span(1, 1, 0, 1)), span(2, 1, 0, 1), span(3, 1, 0, 1)]).await;
    assert_eq!(world.after(0).await, [(1, 1)], "the oldest was decided to make room");
    assert_eq!(world.reading("early_decisions_total", ""), 1.0);
    let world = World::with_room(ERRORS, 10 * held(&span(1, 1, 0, 1)));
    for trace in 1..=50 {
        world.write(vec![failed(span(trace, 1, 0, 1))]).await;
    }
    assert!(world.sampler.state.lock().bytes <= 10 * held(&span(1, 1, 0, 1)));
    let kept = world.after(i64::from(u16::MAX)).await.len();
    assert_eq!(kept, 50);

    // The store takes nothing: what is kept fills the room, and then senders are told to wait.
    *world.kept.full.lock() = true;
    let mut taken = 0;
    let refused = loop {
        let resource =
            ResourceSpans { spans: vec![failed(span(taken + 1, 1, 0, 1))], ..ResourceSpans::default() };
        let batch = Batch::Spans(SpanBatch { resources: vec![resource] });
        match world.sampler.write(Write { tenant: Tenant::new("other").unwrap(), batch, origin: None }).await
        {
            Ok(_) => taken += 1,
            Err(refused) => break refused,
        }
        assert!(taken < 50, "nobody says stop");
    };
    assert!(matches!(refused, Refused::Busy { .. }), "{refused:?}");
    *world.kept.full.lock() = false;
    assert_eq!(
        world.after(i64::from(u16::MAX)).await.len(),
        usize::from(taken),
        "nothing that was taken is lost"
    );
}

#[tokio::test]
async fn a_batch_that_comes_again_is_known_and_what_cannot_be_stored_is_told() {
    let world = World::new(ERRORS);
    let origin = Some(model::Origin { sender: 7, sequence: 1 });
    assert!(!world.write_as("shop", vec![failed(span(1, 1, 0, 1))], origin).await.repeated);
    assert!(world.write_as("shop", vec![failed(span(1, 1, 0, 1))], origin).await.repeated);
    assert_eq!(world.after(10_000).await, [(1, 1)]);
    let receipt = world.write(vec![span(2, 1, 0, -1), span(2, 2, 0, 1)]).await;
    assert_eq!((receipt.accepted, receipt.rejected_count()), (1, 1));
}

#[test]
fn mistakes_are_named() {
    for (file, says) in [
        ("policies: []", "empty"),
        (
            "policies: [{ name: a, type: guess }]",
            "policy \"a\": type \"guess\" is not known; use always_sample",
        ),
        ("policies: [{ name: a, type: latency }]", "type latency needs the key"),
        ("policies: [{ name: a, type: status_code, status_code: { status_codes: [BAD] } }]", "BAD"),
        ("decision_wait: soon\npolicies: [{ name: a, type: always_sample }]", "decision_wait is \"soon\""),
        (
            "policies: [{ name: a, type: string_attribute, string_attribute: { key: k, values: ['('], enabled_regex_matching: true } }]",
            "(",
        ),
        ("policies: [{ name: a, type: always_sample, x: 1 }]", "unknown field `x`"),
        ("policies: [{ name: a, type: ottl_condition, ottl_condition: { error_mode: ignore } }]", "neither"),
        (
            "policies:\n- name: a\n  type: ottl_condition\n  ottl_condition: { error_mode: ignored, span: ['name == \"a\"'] }",
            "policies[0].ottl_condition: error_mode is \"ignored\"; use ignore, silent or propagate at line 4",
        ),
        (
            "policies: [{ name: a, type: ottl_condition, ottl_condition: { span: ['IsString(name)'] } }]",
            "policy \"a\": condition \"IsString(name)\", at \"IsString(name)\": of the functions IsMatch",
        ),
        ("num_traces: many\npolicies: [{ name: a, type: always_sample }]", "\"many\" is no whole number"),
        ("decision_wait: 1s", "policies"),
    ] {
        let wrong = Sampling::parse(file).err().unwrap_or_default();
        assert!(wrong.contains(says), "{file}: {wrong}");
    }
    let mut deep = "{ name: a, type: always_sample }".to_owned();
    for _ in 0..10 {
        deep = format!("{{ name: a, type: and, and: {{ and_sub_policy: [{deep}] }} }}");
    }
    assert!(Sampling::parse(&format!("policies: [{deep}]")).err().unwrap_or_default().contains("at most 4"));
}

#[test]
fn modes_for_errors_are_the_collectors() {
    let read = |mode: &str| {
        let condition = format!("{{ error_mode: {mode}, span: ['name == \"a\"'] }}");
        Sampling::parse(&format!(
            "policies: [{{ name: a, type: ottl_condition, ottl_condition: {condition} }}]"
        ))
    };
    for mode in ["ignore", "silent", "propagate", "Silent", "IGNORE", "null"] {
        assert!(read(mode).is_ok(), "{mode}: {:?}", read(mode).err());
    }
    for mode in ["fail", "''", "1", "true", "[ignore]"] {
        let wrong = read(mode).err().unwrap_or_default();
        assert!(wrong.contains("error_mode"), "{mode}: {wrong}");
    }
}

/// Traces that are decided at once leave nothing behind, however many come before their time is over.
#[tokio::test]
async fn what_is_decided_takes_no_place_in_the_queues() {
    let world = World::new(
        "
decision_wait: 10h
num_traces: 10
decision_cache: { sampled_cache_size: 5, non_sampled_cache_size: 5 }
policies:
  - { name: all, type: always_sample }
",
    );
    for at in 0..1_000u16 {
        let mut root = span(0, 1, 0, 1);
        root.trace_id[..2].copy_from_slice(&at.to_be_bytes());
        world.write(vec![root.clone(), Span { span_id: [2; 8], ..root }]).await;
    }
    let state = world.sampler.state.lock();
    assert_eq!(state.waiting.len(), 10);
    assert!(state.due.len() <= 20, "{}", state.due.len());
    assert!(state.decided.known.len() <= 10, "{}", state.decided.known.len());
}

/// Roots without end in one trace are one entry in the queue.
#[tokio::test]
async fn many_roots_of_a_trace_wait_once() {
    let world = World::new(
        "
decision_wait: 10h
decision_wait_after_root_received: 1h
policies:
  - { name: all, type: always_sample }
",
    );
    for id in 1..=200u8 {
        world.write(vec![span(1, id, 0, 1)]).await;
    }
    assert_eq!(world.sampler.state.lock().due_after_root.len(), 1);
    assert_eq!(world.after(3_600_000).await.len(), 200);
}
