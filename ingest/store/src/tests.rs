//! The store as its users see it: records in through `Sink`, out through `Source`, whatever happens in between.

mod damage;
mod deletes;
mod downsampling;
mod durable;
mod limits;
mod log_deletes;
mod parts;
mod queries;
mod raw;

use crate::{
    Config, LogColumns, Retention, SampleBlock, Source, SpanColumns, SpanTest, Store, Unbounded, WordBounds,
};
use arrow::array::{AsArray, RecordBatch};
use futures::{StreamExt, TryStreamExt};
use model::*;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

/// 2026-03-01T12:00:00Z.
const NOON_MS: i64 = 1_772_366_400_000;
const NOON_NS: i64 = NOON_MS * 1_000_000;

struct TestClock(AtomicI64);

impl Clock for TestClock {
    fn now_ns(&self) -> i64 {
        self.0.load(Ordering::Relaxed)
    }
}

fn clock() -> Arc<TestClock> {
    Arc::new(TestClock(AtomicI64::new(NOON_NS)))
}

fn config(dir: &Path) -> Config {
    let long = Duration::from_secs(86_400);
    Config { dir: dir.to_owned(), fsync: false, flush_interval: long, ..Config::default() }
}

async fn open(dir: &Path) -> Arc<Store> {
    Store::open(config(dir), clock()).await.unwrap()
}

/// As after `kill -9`: nothing is flushed, the lock on the directory is gone.
async fn killed(store: Arc<Store>) {
    store.end_tasks();
    let lock = std::fs::File::open(store.config.dir.join("wal/LOCK")).unwrap();
    let weak = Arc::downgrade(&store.0);
    drop(store);
    while weak.strong_count() > 0 {
        tokio::task::yield_now().await;
    }
    // Nobody holds it any more, but the last holder's thread may still be letting go.
    tokio::task::spawn_blocking(move || lock.lock().unwrap()).await.unwrap();
}

fn write(batch: Batch) -> Write {
    Write { tenant: Tenant::default(), batch, origin: None }
}

fn samples(name: &str, instances: std::ops::Range<usize>, times_s: std::ops::Range<i64>) -> Batch {
    let mut batch = MetricBatch::default();
    for instance in instances {
        let instance = format!("i{instance}");
        batch.begin_series(&mut [("__name__", name), ("instance", &instance)]).unwrap();
        for time in times_s.clone() {
            batch.push(NOON_MS + time * 1000, time as f64);
        }
    }
    Batch::Metrics(batch)
}

fn lines(app: &str, bodies: &[&str], from_s: i64) -> Batch {
    let records = bodies.iter().enumerate().map(|(i, body)| LogRecord {
        ts_ns: NOON_NS + (from_s + i as i64) * 1_000_000_000,
        severity: 9,
        body: (*body).to_owned(),
        trace_id: Some([i as u8 + 1; 16]),
        attributes: vec![("code".into(), Value::Int(i as i64))],
        ..LogRecord::default()
    });
    let labels = Labels::from_pairs([("app", app), ("namespace", "shop")]);
    Batch::Logs(LogBatch {
        streams: vec![LogStream { labels, resource: vec![], records: records.collect() }],
    })
}

fn spans(service: &str, count: u8) -> Batch {
    let spans = (1..=count).map(|i| Span {
        trace_id: [i; 16],
        span_id: [i; 8],
        start_ns: NOON_NS + i64::from(i),
        duration_ns: i64::from(i) * 1_000_000,
        name: "GET /".into(),
        kind: SpanKind::Server,
        attributes: vec![("http.response.status_code".into(), Value::Int(200))].into(),
        events: vec![SpanEvent { ts_ns: NOON_NS, name: "begun".into(), ..SpanEvent::default() }],
        ..Span::default()
    });
    let resource = Arc::new(vec![("service.name".to_owned(), Value::from(service))]);
    let of = ResourceSpans {
        resource,
        scope: Scope::named("s", "1"),
        spans: spans.collect(),
        ..ResourceSpans::default()
    };
    Batch::Spans(SpanBatch { resources: vec![of] })
}

async fn read_samples(store: &Store, matchers: Vec<Matcher>) -> SampleBlock {
    let snapshot = store.snapshot(&Tenant::default()).await.unwrap();
    snapshot.samples(&SeriesSelect { matchers, range: TimeRange::ALL }).await.unwrap()
}

async fn read_logs(store: &Store, select: &LogSelect) -> Vec<RecordBatch> {
    let snapshot = store.snapshot(&Tenant::default()).await.unwrap();
    snapshot.logs(select, &LogColumns::all()).await.unwrap().try_collect().await.unwrap()
}

async fn bodies(store: &Store, select: &LogSelect) -> Vec<String> {
    let mut bodies = vec![];
    for batch in read_logs(store, select).await {
        let column = batch.column_by_name("body").unwrap().as_string::<i32>();
        bodies.extend(column.iter().map(|body| body.unwrap().to_owned()));
    }
    bodies.sort();
    bodies
}

async fn span_count(store: &Store, select: &SpanSelect) -> usize {
    let snapshot = store.snapshot(&Tenant::default()).await.unwrap();
    let found: Vec<RecordBatch> = snapshot
        .spans(select, &SpanColumns::named(&["trace_id"]))
        .await
        .unwrap()
        .try_collect()
        .await
        .unwrap();
    found.iter().map(RecordBatch::num_rows).sum()
}
