//! Words and ids that are told apart as they lie in the store: the same rows as by their texts.

use super::table;
use crate::{Engine, Limits};
use model::*;
use std::sync::Arc;
use store::Store;

const NOON_NS: i64 = 1_772_366_400_000_000_000;

/// Spans of three services and of none, each below the one before it but for every seventh.
fn spans(from: u64, count: u64) -> Batch {
    let span = |n: u64| Span {
        trace_id: [(n / 7) as u8; 16],
        span_id: n.to_be_bytes(),
        parent_span_id: (!n.is_multiple_of(7)).then_some((n - 1).to_be_bytes()),
        start_ns: NOON_NS + n as i64,
        duration_ns: (n * n % 1_009) as i64,
        name: format!("op {}", n % 5),
        kind: if n.is_multiple_of(3) { SpanKind::Server } else { SpanKind::Client },
        ..Span::default()
    };
    let of_service = |service: u64| {
        let resource = match service {
            3 => vec![],
            service => vec![("service.name".to_owned(), Value::from(format!("s{service}")))],
        };
        let spans = (from..from + count).filter(|n| n * 31 % 4 == service).map(span).collect();
        ResourceSpans { resource: Arc::new(resource), spans, ..ResourceSpans::default() }
    };
    Batch::Spans(SpanBatch { resources: (0..4).map(of_service).collect() })
}

/// Lines of which some tell the trace they belong to.
fn lines() -> Batch {
    let record = |n: u64| LogRecord {
        ts_ns: NOON_NS + n as i64,
        severity: 9,
        body: format!("line {n}"),
        trace_id: n.is_multiple_of(2).then_some([n as u8; 16]),
        ..LogRecord::default()
    };
    let labels = Labels::from_pairs([("service_name", "s1")]);
    let one = LogStream { labels, resource: vec![], records: (1..40).map(record).collect() };
    Batch::Logs(LogBatch { streams: vec![one] })
}

async fn world() -> (Arc<Engine>, Arc<Store>, tempfile::TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let config = store::Config { dir: dir.path().to_owned(), fsync: false, ..store::Config::default() };
    let store = Store::open(config, Arc::new(SystemClock)).await.unwrap();
    let engine = Engine::new(store.clone(), Arc::new(SystemClock), Limits::default()).unwrap();
    (Arc::new(engine), store, dir)
}

async fn write(store: &Arc<Store>, batch: Batch) {
    store.write(Write { tenant: Tenant::default(), batch, origin: None }).await.unwrap();
}

/// A statement over words, and over texts that are made of them.
fn both(statement: &str) -> [String; 2] {
    let made = "(select service || '' as service, name || '' as name, kind || '' as kind, duration_ns, \
                trace_id || '' as trace_id, span_id || '' as span_id, parent_span_id || '' as parent_span_id from spans)";
    [statement.replace("SPANS", "spans"), statement.replace("SPANS", made)]
}

/// Statements over spans, and what `EXPLAIN` says of them. Percentiles are of so few values that they are exact.
const STATEMENTS: [(&str, &[&str]); 10] = [
    ("select service, count(*) as n from SPANS group by service order by 1", &["WordGroups"]),
    (
        "select name, service, min(duration_ns) as a, max(duration_ns) as b, avg(duration_ns) as c, sum(duration_ns) as d \
         from SPANS group by service, name order by 1, 2",
        &["WordGroups"],
    ),
    (
        "select service, name, kind, count(*) filter (where duration_ns > 500) as n, count(distinct span_id) as ids \
         from SPANS where kind = 'server' or duration_ns < 100 group by service, name, kind order by 1, 2, 3",
        &[],
    ),
    (
        "select service, name, approx_percentile_cont(duration_ns, 0.9) as q from SPANS where kind <> 'server' \
         group by service, name having count(*) > 1 order by q desc, 1, 2",
        &["WordGroups"],
    ),
    (
        "select name, service, approx_percentile_cont(0.5) within group (order by duration_ns desc) as q from SPANS \
         group by name, service order by 1, 2",
        &["WordGroups"],
    ),
    // What is looked at as text is text.
    ("select service, max(service) as m from SPANS group by service order by 1", &[]),
    ("select upper(service) as s, count(*) as n from SPANS group by 1 order by 1", &[]),
    (
        "select p.service as a, c.service as b, count(*) as n from SPANS c join SPANS p on c.parent_span_id = p.span_id \
         where c.kind = 'server' group by a, b order by a, b",
        &["WordGroups"],
    ),
    (
        "select p.name as a, c.name as b, c.duration_ns as d from SPANS c left join SPANS p on c.parent_span_id = p.span_id \
         and p.trace_id = c.trace_id and p.duration_ns > c.duration_ns order by 1, 2, 3",
        &[],
    ),
    (
        "select c.span_id as id, p.service as s from SPANS c join SPANS p on c.parent_span_id = p.span_id order by 1",
        &[],
    ),
];

#[tokio::test]
async fn words_and_ids_give_the_rows_that_texts_give() {
    let (engine, store, _dir) = world().await;
    let is_parallel = std::thread::available_parallelism().is_ok_and(|threads| threads.get() > 1);
    for step in 0..3 {
        write(&store, spans(step * 350, 350)).await;
        for (statement, explained) in STATEMENTS {
            let [words, texts] = both(statement);
            let (of_words, of_texts) = (table(&engine, &words).await, table(&engine, &texts).await);
            assert_eq!(of_words, of_texts, "{statement} in step {step}");
            assert!(of_words.lines().count() > 6, "{statement}: {of_words}");
            let plan = table(&engine, &format!("explain {words}")).await;
            for part in explained.iter().filter(|_| is_parallel) {
                assert!(plan.contains(part), "{statement}: {plan}");
            }
            let of_texts = table(&engine, &format!("explain {texts}")).await;
            assert!(!of_texts.contains("WordGroups"), "{of_texts}");
        }
        match step {
            0 => drop(store.flush().await.unwrap()),
            _ => drop(store.compact().await.unwrap()),
        }
    }
}

#[tokio::test]
async fn lines_and_spans_meet_by_the_bytes_of_their_traces() {
    let (engine, store, _dir) = world().await;
    write(&store, spans(0, 350)).await;
    write(&store, lines()).await;
    let joined = |on: &str| {
        format!(
            "select s.service, l.body, count(*) as n from spans s join logs l on {on} group by s.service, l.body \
             order by 1, 2"
        )
    };
    for step in 0..2 {
        let by_bytes = table(&engine, &joined("l.trace_id = s.trace_id")).await;
        assert_eq!(by_bytes, table(&engine, &joined("l.trace_id || '' = s.trace_id || ''")).await);
        assert!(by_bytes.contains("line 38"), "{by_bytes}");
        assert!(!by_bytes.contains("line 37"), "{by_bytes}");
        // One of a span is none of a trace.
        assert!(!table(&engine, &joined("l.trace_id = s.span_id")).await.contains("line"), "{step}");
        store.flush().await.unwrap();
    }
}

#[tokio::test]
async fn percentiles_of_groups_are_near_those_of_all_values() {
    let (engine, _store, _dir) = world().await;
    let of = |what: &str, rows: u64| {
        format!(
            "select g, {what} as q from (select value % 4 as g, case when value % 4 = 3 then null else \
             arrow_cast(value, 'Float64') end as v from generate_series(1, {rows})) group by g order by g"
        )
    };
    // Once more than is gathered at a time.
    for rows in [1_000_u64, 400_000] {
        for (what, expected) in [
            ("approx_percentile_cont(v, 0.99)", 0.99),
            ("approx_percentile_cont(0.25) within group (order by v desc)", 0.75),
            ("approx_percentile_cont(v, 0.5) filter (where v > 0)", 0.5),
        ] {
            let answer = table(&engine, &of(what, rows)).await;
            let cells: Vec<Vec<&str>> =
                answer.lines().map(|line| line.split('|').map(str::trim).collect()).collect();
            for group in 0..3 {
                let value: f64 = cells[3 + group][2].parse().unwrap();
                let wanted = expected * rows as f64;
                assert!((value - wanted).abs() < 0.01 * rows as f64, "{what} of {rows}: {answer}");
            }
            assert_eq!(cells[6][2], "", "{what} of nothing: {answer}");
        }
    }
}
