//! What is compared by columns, as spans are scanned, is what is compared span by span in traces that are read whole, and what is
//! compared where names of attributes are not known.

use super::*;
use crate::traceql::metrics::Steps;
use crate::{Engine, Limits};
use model::{
    Attributes as Pairs, Batch, Exemplar, LogSelect, Metadata, ResourceSpans, SeriesSelect, Sink, Span,
    SpanBatch, SpanKind, SpanSelect, StatusCode, SystemClock, Tenant, TimeRange, Write,
};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use std::sync::Arc;
use store::{
    Allowance, BatchStream, BlockStream, LogColumns, LogStreamInfo, ReadError, RootSearch, SeriesInfo,
    Snapshot, SpanColumns, Store, TraceRoots,
};
use traceql::{Metrics, Root};

/// 2026-03-01T12:00:00Z.
const NOON_NS: i64 = 1_772_366_400_000_000_000;
const SECOND_NS: i64 = 1_000_000_000;
const MS: i64 = 1_000_000;

/// Does not tell the names of attributes.
struct WithoutNames(Arc<dyn Snapshot>);

#[async_trait::async_trait]
impl Snapshot for WithoutNames {
    async fn series(&self, select: &SeriesSelect, all: &dyn Allowance) -> Result<Vec<SeriesInfo>, ReadError> {
        self.0.series(select, all).await
    }

    async fn sample_blocks(&self, select: &SeriesSelect) -> Result<BlockStream, ReadError> {
        self.0.sample_blocks(select).await
    }

    async fn metadata(&self) -> Result<Vec<Metadata>, ReadError> {
        self.0.metadata().await
    }

    async fn exemplars(&self, select: &SeriesSelect) -> Result<Vec<Exemplar>, ReadError> {
        self.0.exemplars(select).await
    }

    async fn log_streams(&self, select: &LogSelect) -> Result<Vec<LogStreamInfo>, ReadError> {
        self.0.log_streams(select).await
    }

    async fn logs(&self, select: &LogSelect, columns: &LogColumns) -> Result<BatchStream, ReadError> {
        self.0.logs(select, columns).await
    }

    async fn spans(&self, select: &SpanSelect, columns: &SpanColumns) -> Result<BatchStream, ReadError> {
        self.0.spans(select, columns).await
    }

    async fn spans_rooted(
        &self,
        select: &SpanSelect,
        columns: &SpanColumns,
        roots: &Arc<TraceRoots>,
    ) -> Result<BatchStream, ReadError> {
        self.0.spans_rooted(select, columns, roots).await
    }

    async fn root_search(
        &self,
        range: TimeRange,
        reach: TimeRange,
        without: (&str, &str),
    ) -> Result<Option<RootSearch>, ReadError> {
        self.0.root_search(range, reach, without).await
    }

    fn warnings(&self) -> Vec<String> {
        self.0.warnings()
    }
}

/// Of a trace of four, the first of which is its root.
fn span(rng: &mut StdRng, number: u32) -> Span {
    let id_of = |number: u32| {
        let mut id = [0; 8];
        id[..4].copy_from_slice(&(number + 1).to_be_bytes());
        id
    };
    let mut trace_id = [0; 16];
    trace_id[..4].copy_from_slice(&(number / 4 + 1).wrapping_mul(0x9e37_79b9).to_be_bytes());
    let values = [
        Value::Int(rng.random_range(0..4)),
        Value::Double(1.5),
        Value::Double(f64::NAN),
        Value::Bool(true),
        Value::from("1"),
        Value::from(""),
        Value::Json("[1,2]".to_owned()),
        Value::Json("[]".to_owned()),
    ];
    let mut attributes = Pairs::new();
    if rng.random_bool(0.7) {
        attributes.push(("n".to_owned(), values[rng.random_range(0..values.len())].clone()));
    }
    if rng.random_bool(0.3) {
        let user = format!("u-{}", rng.random_range(0..300));
        attributes.push(("user".to_owned(), Value::from(user.as_str())));
    }
    // Too few for a column.
    if number % 400 == 3 {
        attributes.push(("rare".to_owned(), Value::from(["x", "y"][rng.random_range(0..2)])));
    }
    if rng.random_bool(0.5) {
        attributes.reverse();
    }
    let on_a_step = i64::from(rng.random_bool(0.1)) * 10 * SECOND_NS;
    let start = if on_a_step > 0 { on_a_step } else { rng.random_range(0..60_000) * MS };
    Span {
        trace_id,
        span_id: id_of(number),
        parent_span_id: (!number.is_multiple_of(4)).then(|| id_of(number / 4 * 4)),
        start_ns: NOON_NS + start,
        duration_ns: [0, 1, 10 * MS, 10 * MS + 1, SECOND_NS][rng.random_range(0..5)],
        name: ["GET /", "query", ""][rng.random_range(0..3)].to_owned(),
        kind: SpanKind::from_number(rng.random_range(0..6)),
        status: [StatusCode::Unset, StatusCode::Ok, StatusCode::Error][rng.random_range(0..3)],
        status_message: ["", "", "", "boom", "late"][rng.random_range(0..5)].to_owned(),
        trace_state: ["", "", "ot=th:8", "ot=th:c"][rng.random_range(0..4)].to_owned(),
        attributes: attributes.into(),
        ..Span::default()
    }
}

/// Some 1,600 spans. Where they are `plain` each counts once, and no status has a message.
fn spans(rng: &mut StdRng, first: u32, plain: bool) -> SpanBatch {
    let service = |name: &str| ("service.name".to_owned(), Value::from(name));
    let zone = |value: Value| ("zone".to_owned(), value);
    let scope = |attributes: Pairs| model::Scope { attributes, ..model::Scope::named("test", "1") };
    let kinds = [
        (vec![service("cart"), zone(Value::from("1"))], scope(vec![])),
        (vec![service("cart"), zone(Value::from("2"))], scope(vec![("team".to_owned(), Value::Int(7))])),
        (vec![zone(Value::Int(1)), service("web")], model::Scope::named("", "")),
        (vec![], scope(vec![])),
    ];
    let mut resources = vec![];
    for (number, (resource, scope)) in kinds.into_iter().enumerate() {
        let mut spans: Vec<Span> = (0..400).map(|at| span(rng, first + number as u32 * 400 + at)).collect();
        if plain {
            spans.iter_mut().for_each(|span| {
                span.trace_state.clear();
                span.status_message.clear();
            });
        }
        resources.push(ResourceSpans {
            resource: Arc::new(resource),
            scope,
            spans,
            ..ResourceSpans::default()
        });
    }
    SpanBatch { resources }
}

struct World {
    engine: Engine,
    store: Arc<Store>,
    _dir: tempfile::TempDir,
}

impl World {
    async fn new() -> World {
        let dir = tempfile::tempdir().unwrap();
        let config = store::Config { dir: dir.path().to_owned(), fsync: false, ..store::Config::default() };
        let store = Store::open(config, Arc::new(SystemClock)).await.unwrap();
        let engine = Engine::new(store.clone(), Arc::new(SystemClock), Limits::default()).unwrap();
        World { engine, store, _dir: dir }
    }

    async fn write(&self, batch: SpanBatch) {
        let write = Write { tenant: Tenant::default(), batch: Batch::Spans(batch), origin: None };
        self.store.write(write).await.unwrap();
    }

    /// Of 50 of the 60 seconds.
    async fn query(&self, exemplars: usize) -> MetricsQuery {
        let range = TimeRange { start: NOON_NS + 5 * SECOND_NS, end: NOON_NS + 55 * SECOND_NS };
        MetricsQuery {
            snapshot: self.engine.source.snapshot(&Tenant::default()).await.unwrap(),
            context: self.engine.task_context(),
            steps: Steps::over(range, 10 * SECOND_NS),
            exemplars,
        }
    }

    async fn knows_names(&self) -> bool {
        let query = self.query(0).await;
        query.snapshot.attribute_names(query.steps.range()).await.unwrap().is_some()
    }

    /// Three ways to the same.
    async fn check(&self, text: &str, place: &str) {
        let aggregate = aggregate(text);
        let mut query = self.query(0).await;
        let series = query.compare(&aggregate, &mut 0, &mut vec![]).await.unwrap();
        let whole = told(series);
        assert!(whole.len() > 10, "{text} in {place}: {whole:?}");
        assert_eq!(told(scanned(&query, &aggregate).await), whole, "{text} by columns in {place}");
        query.snapshot = Arc::new(WithoutNames(query.snapshot));
        assert_eq!(told(scanned(&query, &aggregate).await), whole, "{text} without names in {place}");
    }
}

fn aggregate(text: &str) -> MetricsAggregate {
    match traceql::parse(text).unwrap().root {
        Root::Metrics(Metrics::Aggregate(aggregate)) => *aggregate,
        other => panic!("{text}: {other:?}"),
    }
}

fn asked(aggregate: &MetricsAggregate) -> scan::Asked {
    let param = |at: usize| aggregate.params.get(at).map(|ns| *ns as i64);
    scan::Asked {
        filter: single_filter(&aggregate.spansets).unwrap().clone(),
        selection: aggregate.selection.clone().unwrap(),
        selected: (param(1).unwrap_or(i64::MIN), param(2).unwrap_or(i64::MAX)),
        top: param(0).map_or(TOP_DEFAULT, |top| top as usize),
    }
}

async fn scanned(query: &MetricsQuery, aggregate: &MetricsAggregate) -> Vec<Series> {
    let asked = asked(aggregate);
    let top = asked.top;
    let compared = query.compare_by_scan(asked, query.roots().await.unwrap()).await.unwrap();
    assert!(compared.has_roots && compared.inspected > 0);
    all_told(compared.attributes, compared.examples, top)
}

/// All but the number of children, which only whole traces tell.
fn told(series: Vec<Series>) -> Vec<String> {
    let compared = series.iter().filter(|series| series.labels[1].0 != Intrinsic::ChildCount.as_str());
    let mut told: Vec<String> =
        compared.map(|series| format!("{:?} {:?}", series.labels, series.values)).collect();
    told.sort();
    told
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn spans_are_compared_by_columns_as_one_by_one() {
    let times = format!(", {}, {}", NOON_NS + 12 * SECOND_NS, NOON_NS + 33 * SECOND_NS);
    for (seed, plain) in [(11, false), (12, true)] {
        let world = World::new().await;
        let mut rng = StdRng::seed_from_u64(seed);
        for (number, place) in ["memory", "a spilled part", "parts and memory"].into_iter().enumerate() {
            if place != "a spilled part" {
                world.write(spans(&mut rng, number as u32 * 1_600, plain)).await;
            }
            assert!(world.knows_names().await, "{place}");
            for (filter, selection, times) in [
                ("true", "status = error", ""),
                ("true", "duration > 10ms", ""),
                ("kind = server || span.n = 1", "span.n = `1` || resource.zone = 1", ""),
                ("duration >= 1ns && name =~ `q.*|`", "span.user =~ `u-1.*` && duration < 1s", ""),
                ("resource.service.name = `cart`", "instrumentation:name = `test` && .nothing = nil", ""),
                ("span.n != 2", "true", times.as_str()),
            ] {
                let text = format!("{{ {filter} }} | compare({{ {selection} }}, 1000{times})");
                world.check(&text, place).await;
            }
            if place == "memory" {
                world.store.flush().await.unwrap();
            } else {
                world.store.compact().await.unwrap();
            }
        }
        for top in [1, 3, 1_000] {
            world.check(&format!("{{ true }} | compare({{ status = error }}, {top})"), "parts").await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_attributes_of_one_name_both_are_compared() {
    let world = World::new().await;
    let mut rng = StdRng::seed_from_u64(13);
    let mut batch = spans(&mut rng, 0, true);
    let twins = vec![("n".to_owned(), Value::Int(1)), ("n".to_owned(), Value::from("b"))];
    batch.resources[0].spans[0].attributes = twins.into();
    world.write(batch).await;
    for place in ["memory", "a spilled part", "a part"] {
        assert!(!world.knows_names().await, "{place}");
        world.check("{ } | compare({ status = error }, 1000)", place).await;
        if place == "memory" {
            world.store.flush().await.unwrap();
        } else {
            world.store.compact().await.unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_example_has_all_attributes() {
    let world = World::new().await;
    world.write(spans(&mut StdRng::seed_from_u64(14), 0, false)).await;
    let mut query = world.query(10).await;
    let asked = asked(&aggregate("{ span.n != nil } | compare({ status = error })"));
    let by_columns = query.compare_by_scan(asked.clone(), query.roots().await.unwrap()).await.unwrap();
    query.snapshot = Arc::new(WithoutNames(query.snapshot));
    let by_maps = query.compare_by_scan(asked, query.roots().await.unwrap()).await.unwrap();
    let told = |examples: Examples| -> Vec<String> {
        let one = |mut example: Example| {
            example.labels.sort_by(|a, b| a.0.cmp(&b.0));
            format!("{} {} {:?}", example.start_ns, example.value, example.labels)
        };
        examples.into_iter().flatten().map(|(step, example)| format!("{step} {}", one(example))).collect()
    };
    let examples = told(by_columns.examples);
    assert!(examples.len() > 5 && examples.iter().all(|example| example.contains("span.n")), "{examples:?}");
    // In memory all spans are of the first share.
    assert_eq!(examples, told(by_maps.examples));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn that_there_are_more_traces_shows_at_the_first_spans() {
    let world = World::new().await;
    world.write(spans(&mut StdRng::seed_from_u64(15), 0, true)).await;
    let query = world.query(0).await;
    for (filter, max, more) in [
        ("true", 10, true),
        ("true", 400, false),
        ("duration >= 0 && name = `query`", 10, true),
        ("name = `none`", 0, false),
        ("span.rare != nil", 4, false),
    ] {
        let aggregate = aggregate(&format!("{{ {filter} }} | compare({{ status = error }})"));
        let filter_of = single_filter(&aggregate.spansets).unwrap();
        assert_eq!(query.shows_more_than(max, filter_of).await.unwrap(), more, "{filter} {max}");
    }
}
