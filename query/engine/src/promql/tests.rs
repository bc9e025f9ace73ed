//! The language over a real store.

mod script;
mod suite;

use super::*;
use crate::Limits;
use model::*;
use std::sync::Arc;
use store::Store;

struct At(i64);

impl Clock for At {
    fn now_ns(&self) -> i64 {
        self.0 * 1_000_000
    }
}

const T0: i64 = 1_772_366_400_000;

/// Labels, first value, step.
type Line<'a> = (&'a [(&'a str, &'a str)], f64, f64);

/// Series as `name{…} first+step` over 0..=10 minutes, one sample a minute.
async fn engine(dir: &std::path::Path, series: &[Line<'_>]) -> Engine {
    let mut batch = MetricBatch::default();
    for (labels, first, step) in series {
        batch.begin_series(&mut labels.to_vec()).unwrap();
        for minute in 0..=10 {
            batch.push(T0 + minute * 60_000, first + step * minute as f64);
        }
    }
    engine_over(dir, batch).await
}

async fn engine_over(dir: &std::path::Path, batch: MetricBatch) -> Engine {
    engine_with(dir, batch, Limits::default()).await
}

async fn engine_with(dir: &std::path::Path, batch: MetricBatch, limits: Limits) -> Engine {
    let clock: Arc<dyn Clock> = Arc::new(At(T0 + 3_600_000));
    let store =
        Store::open(store::Config { dir: dir.to_owned(), fsync: false, ..Default::default() }, clock.clone());
    let store = store.await.unwrap();
    store
        .write(Write { tenant: Tenant::default(), batch: Batch::Metrics(batch), origin: None })
        .await
        .unwrap();
    Engine::new(store, clock, limits).unwrap()
}

const SHOP: &[Line<'_>] = &[
    (&[("__name__", "requests_total"), ("job", "web"), ("code", "200")], 0.0, 60.0),
    (&[("__name__", "requests_total"), ("job", "web"), ("code", "500")], 0.0, 6.0),
    (&[("__name__", "requests_total"), ("job", "db"), ("code", "200")], 0.0, 30.0),
    (&[("__name__", "limit"), ("job", "web")], 100.0, 0.0),
    (&[("__name__", "limit"), ("job", "db")], 10.0, 0.0),
    (&[("__name__", "d_bucket"), ("le", "0.1")], 0.0, 50.0),
    (&[("__name__", "d_bucket"), ("le", "1")], 0.0, 90.0),
    (&[("__name__", "d_bucket"), ("le", "+Inf")], 0.0, 100.0),
];

/// `labels value` of each series at minute 10, sorted.
async fn at_ten(engine: &Engine, query: &str) -> Vec<String> {
    let answer = engine.promql_instant(&Tenant::default(), query, T0 + 600_000, LOOKBACK_MS).await;
    let answer = answer.unwrap_or_else(|wrong| panic!("{query}: {wrong}"));
    match answer.result {
        PromResult::Scalar(point) => vec![point.value.to_string()],
        PromResult::Vector(series) => {
            let mut rows: Vec<String> = series
                .iter()
                .map(|s| format!("{} {}", s.labels, (s.points[0].value * 1e6).round() / 1e6))
                .collect();
            rows.sort();
            rows
        }
        other => panic!("{query}: {other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_line_is_drawn_from_custom_buckets_to_exponential_ones() {
    let custom = Histogram {
        schema: CUSTOM_BUCKETS_SCHEMA,
        count: 1.0,
        positive: vec![(0, 1.0)],
        custom_values: Arc::from([5.0, 10.0]),
        ..Histogram::default()
    };
    let exponential = Histogram { count: 4.0, positive: vec![(0, 4.0)], ..Histogram::default() };
    let mut batch = MetricBatch::default();
    let labels = Labels::from_pairs([("__name__", "mix")]);
    batch.push_histograms(&labels, &[(T0, custom), (T0 + 30_000, exponential)]);
    let dir = tempfile::tempdir().unwrap();
    let engine = engine_over(dir.path(), batch).await;
    let query = "histogram_count(mix smoothed)";
    let answer = engine.promql_instant(&Tenant::default(), query, T0 + 15_000, LOOKBACK_MS).await.unwrap();
    assert_eq!(answer.result, PromResult::Vector(vec![]));
    assert_eq!(
        answer.warnings,
        [
            "PromQL warning: vector contains a mix of histograms with exponential and custom buckets schemas for metric name \"mix\" (1:17)"
        ]
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn end_is_what_was_asked_for_and_not_the_last_step() {
    let dir = tempfile::tempdir().unwrap();
    let engine = engine(dir.path(), SHOP).await;
    for (query, expected) in [
        ("requests_total{job=\"db\"} @ end()", 270.0),
        ("requests_total{job=\"db\"} @ start()", 30.0),
        ("vector(end())", (T0 / 1000 + 559) as f64),
        ("vector(range())", 499.0),
        ("max_over_time(requests_total{job=\"db\"}[range()] @ end())", 270.0),
    ] {
        // Steps at 60, 240 and 420 s; the end is at 559 s, a sample later than at 540 s there is not.
        let times = (T0 + 60_000, T0 + 559_000, 180_000);
        let answer =
            engine.promql_range(&Tenant::default(), query, times.0, times.1, times.2, LOOKBACK_MS).await;
        let PromResult::Matrix(series) = answer.unwrap().result else { panic!("{query}") };
        let values: Vec<f64> = series[0].points.iter().map(|point| point.value).collect();
        assert_eq!(values, [expected; 3], "{query}");
    }
}

/// The figures are those that Prometheus counts (its `TestQueryStatistics` has the same kinds of queries).
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn samples_are_counted_by_step_as_prometheus_counts_them() {
    let dir = tempfile::tempdir().unwrap();
    let mut batch = MetricBatch::default();
    let named = |name: &'static str, n: &'static str| [("__name__", name), ("n", n)];
    for pairs in [named("one", "1"), named("three", "1"), named("three", "2"), named("three", "3")] {
        batch.begin_series(&mut pairs.to_vec()).unwrap();
        (0..=100).for_each(|n| batch.push(T0 + n * 10_000, n as f64));
    }
    let buckets = vec![(0, 1.0), (1, 2.0), (2, 1.0), (3, 1.0)];
    let histogram = Histogram { schema: 1, count: 5.0, sum: 20.0, positive: buckets, ..Histogram::default() };
    let points: Vec<_> = (0..=100).map(|n| (T0 + n * 10_000, histogram.clone())).collect();
    batch.push_histograms(&Labels::from_pairs([("__name__", "large")]), &points);
    let engine = engine_over(dir.path(), batch).await;
    let options = PromOptions { lookback_ms: LOOKBACK_MS, counts: true };
    for (query, at_s, expected) in [
        ("1", 21, 0),
        ("one", 21, 1),
        ("large", 21, 13),
        ("timestamp(large)", 21, 1),
        ("three[20s] @ 1772366419", 21, 6),
        ("large[60s]", 201, 78),
        ("one[60s] @ 1772366430", 201, 4),
        ("max_over_time(one[60s])[20s:5s]", 201, 24),
        ("one[60s:5s]", 201, 12),
        ("sum(max_over_time(three[60s:5s])) + sum(max_over_time(three[60s:5s]))", 201, 72),
    ] {
        let answer =
            engine.promql_instant(&Tenant::default(), query, T0 + at_s * 1_000, options).await.unwrap();
        assert_eq!(answer.samples_by_step, [(T0 + at_s * 1_000, expected)], "{query}");
    }
    for (query, times_s, expected) in [
        ("three", (201, 220, 5), [3, 3, 3, 3]),
        ("large", (204, 223, 5), [13, 13, 13, 13]),
        ("max_over_time(three{n=\"1\"}[10s])", (991, 1_021, 10), [1, 1, 0, 0]),
        ("max_over_time(three[60s] @ 1772366430)", (201, 220, 5), [12, 12, 12, 12]),
    ] {
        let [start, end, step] = [T0 + times_s.0 * 1_000, T0 + times_s.1 * 1_000, times_s.2 * 1_000];
        let answer = engine.promql_range(&Tenant::default(), query, start, end, step, options).await.unwrap();
        let counts: Vec<u64> = answer.samples_by_step.iter().map(|(_, count)| *count).collect();
        assert_eq!(counts, expected, "{query}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn queries_have_the_answers_that_prometheus_gives() {
    let dir = tempfile::tempdir().unwrap();
    let engine = engine(dir.path(), SHOP).await;
    for (query, expected) in [
        ("1 + 2 * 3", vec!["7"]),
        ("sum(rate(requests_total[5m]))", vec!["{} 1.6"]),
        ("sum by (job) (increase(requests_total[5m]))", vec![r#"{job="db"} 150"#, r#"{job="web"} 330"#]),
        (
            "sum by (job) (rate(requests_total[5m])) / on (job) limit",
            vec![r#"{job="db"} 0.05"#, r#"{job="web"} 0.011"#],
        ),
        ("count(requests_total) by (code)", vec![r#"{code="200"} 2"#, r#"{code="500"} 1"#]),
        ("topk(1, requests_total)", vec![r#"requests_total{code="200", job="web"} 600"#]),
        ("histogram_quantile(0.5, d_bucket)", vec!["{} 0.1"]),
        ("histogram_quantile(0.7, rate(d_bucket[5m]))", vec!["{} 0.55"]),
        ("quantile(0.5, requests_total)", vec!["{} 300"]),
        ("max_over_time(requests_total{code=\"500\"}[3m])", vec![r#"{code="500", job="web"} 60"#]),
        ("requests_total > 500", vec![r#"requests_total{code="200", job="web"} 600"#]),
        ("limit > bool 50", vec![r#"{job="db"} 0"#, r#"{job="web"} 1"#]),
        ("requests_total{code=\"500\"} * on (job) group_left limit", vec![r#"{code="500", job="web"} 6000"#]),
        ("limit and on (job) requests_total{code=\"500\"}", vec![r#"limit{job="web"} 100"#]),
        ("limit unless on (job) requests_total{code=\"500\"}", vec![r#"limit{job="db"} 10"#]),
        (
            "label_replace(limit{job=\"db\"}, \"kind\", \"$1-x\", \"job\", \"(.*)\")",
            vec![r#"limit{job="db", kind="db-x"} 10"#],
        ),
        ("absent(nothing{job=\"x\"})", vec![r#"{job="x"} 1"#]),
        ("requests_total{code=\"500\"} offset 5m", vec![r#"requests_total{code="500", job="web"} 30"#]),
        ("max_over_time(sum(rate(requests_total[2m]))[5m:1m])", vec!["{} 1.6"]),
        ("scalar(limit{job=\"db\"}) + 1", vec!["11"]),
        (
            "requests_total{job=~\"d.*\", code!=\"500\"} @ 1772366460",
            vec![r#"requests_total{code="200", job="db"} 30"#],
        ),
    ] {
        assert_eq!(at_ten(&engine, query).await, expected, "{query}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_range_query_has_a_point_a_step_and_ends_with_the_lookback() {
    let dir = tempfile::tempdir().unwrap();
    let engine = engine(dir.path(), &SHOP[3..4]).await;
    let answer = engine
        .promql_range(&Tenant::default(), "limit", T0, T0 + 1_200_000, 60_000, LOOKBACK_MS)
        .await
        .unwrap();
    let PromResult::Matrix(series) = answer.result else { panic!() };
    // Ten minutes of samples and, open at its left end, five of lookback.
    assert_eq!(series[0].points.len(), 15);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_matched_is_an_execution_error() {
    let dir = tempfile::tempdir().unwrap();
    let engine = engine(dir.path(), SHOP).await;
    for query in [
        "limit / on (job) requests_total",
        "requests_total / on (job) limit",
        "abs({__name__=~\"requests_total|limit\"}) + on () limit",
    ] {
        let wrong =
            engine.promql_instant(&Tenant::default(), query, T0 + 600_000, LOOKBACK_MS).await.unwrap_err();
        assert!(matches!(&wrong, QueryError::Execution(text) if text.contains("match")), "{query}: {wrong}");
    }
    let wrong =
        engine.promql_range(&Tenant::default(), "up", 0, 1_000_000_000, 1, LOOKBACK_MS).await.unwrap_err();
    assert!(wrong.to_string().contains("exceeded maximum resolution"));
}

/// What a query would hold is refused while it grows, and what it held is given back with the answer.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn memory_is_asked_for_before_it_is_taken() {
    let dir = tempfile::tempdir().unwrap();
    let mut batch = MetricBatch::default();
    for series in 0..200 {
        batch.begin_series(&mut [("__name__", "m"), ("n", &series.to_string())]).unwrap();
        (0..=100).for_each(|minute| batch.push(T0 + minute * 60_000, f64::from(series) + minute as f64));
    }
    let limits = Limits { memory_bytes_max: 1 << 20, ..Limits::default() };
    let engine = engine_with(dir.path(), batch, limits).await;
    let tenant = Tenant::default();
    let ask =
        |query: &'static str| engine.promql_range(&tenant, query, T0, T0 + 5_999_000, 1_000, LOOKBACK_MS);
    for query in ["m", "avg by (n) (m)", "rate(m[5m])", "count_values('v', m)", "max_over_time(m[5m:1m])"] {
        let refused = ask(query).await;
        assert!(
            matches!(&refused, Err(QueryError::TooMuch(text)) if text.contains("--memory")),
            "{query}: {refused:?}"
        );
        assert_eq!(engine.runtime.memory_pool.reserved(), 0, "{query}");
    }
    let refused = engine.promql_instant(&tenant, "m[2h]", T0 + 6_000_000, LOOKBACK_MS).await.map(|_| ());
    assert_eq!(refused, Ok(()), "20,200 samples of 16 bytes");
    let answer = ask("sum(m)").await.unwrap();
    assert!(answer.held.bytes() >= 6_000 * 16, "{:?}", answer.held);
    assert_eq!(engine.runtime.memory_pool.reserved(), answer.held.bytes());
    drop(answer);
    assert_eq!(engine.runtime.memory_pool.reserved(), 0);
}

/// Lists of series and of labels do too, and keep what they hold as long as they are somewhere.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lists_ask_for_memory() {
    let dir = tempfile::tempdir().unwrap();
    let mut batch = MetricBatch::default();
    for series in 0..6_000 {
        batch.begin_series(&mut [("__name__", "m"), ("n", &series.to_string())]).unwrap();
        batch.push(T0, 1.0);
    }
    let limits = |memory_bytes_max| Limits { memory_bytes_max, ..Limits::default() };
    let engine = engine_with(dir.path(), batch.clone(), limits(4 << 20)).await;
    let (tenant, all) = (Tenant::default(), ["{n!=''}".to_owned()]);
    let series = engine.prom_series(&tenant, &all, TimeRange::ALL).await.unwrap();
    let values = engine.prom_label_values(&tenant, "n", &all, TimeRange::ALL).await.unwrap();
    assert_eq!((series.found.len(), values.found.len()), (6_000, 6_000));
    assert!(series.held.bytes() > 6_000 * 64 && values.held.bytes() > 6_000 * 32);
    assert_eq!(engine.runtime.memory_pool.reserved(), series.held.bytes() + values.held.bytes());
    drop((series, values));
    assert_eq!(engine.runtime.memory_pool.reserved(), 0);

    let dir = tempfile::tempdir().unwrap();
    let engine = Arc::new(engine_with(dir.path(), batch, limits(100 << 10)).await);
    let refused = [
        engine.prom_series(&tenant, &all, TimeRange::ALL).await.map(|_| ()),
        engine.prom_label_values(&tenant, "n", &all, TimeRange::ALL).await.map(|_| ()),
        engine.prom_cardinality(&tenant, 10).await.map(|_| ()),
        engine.sql(&tenant, "SELECT * FROM series", vec![]).await.map(|_| ()),
    ];
    for refused in refused {
        assert!(
            matches!(&refused, Err(QueryError::TooMuch(text)) if text.contains("--memory")),
            "{refused:?}"
        );
    }
    assert_eq!(engine.runtime.memory_pool.reserved(), 0);
}
