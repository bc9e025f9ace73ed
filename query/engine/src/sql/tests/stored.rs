//! SQL over a real store: the same rows from memory and from parts.

use super::table;
use crate::{Engine, Limits};
use model::*;
use std::sync::Arc;
use store::Store;

/// 2026-03-01T12:00:00Z.
const NOON_MS: i64 = 1_772_366_400_000;
const NOON_NS: i64 = NOON_MS * 1_000_000;
const TRACE: TraceId = [7; 16];

fn metrics() -> Batch {
    let mut batch = MetricBatch::default();
    batch.begin_labels(&Labels::from_pairs([("__name__", "pool_pending"), ("service", "orders")]));
    batch.push(NOON_MS, 3.0);
    batch.push(NOON_MS + 15_000, 7.0);
    batch.begin_labels(&Labels::from_pairs([("__name__", "up"), ("job", "a")]));
    batch.push(NOON_MS, 1.0);
    Batch::Metrics(batch)
}

fn logs() -> Batch {
    let record = |second: i64, severity: u8, body: &str, trace_id: Option<TraceId>| LogRecord {
        ts_ns: NOON_NS + second * 1_000_000_000,
        severity,
        body: body.to_owned(),
        trace_id,
        attributes: vec![("customer".into(), Value::from("c-42"))],
        ..LogRecord::default()
    };
    let records = vec![record(1, 17, "pool exhausted", Some(TRACE)), record(2, 9, "all is well", None)];
    let labels = Labels::from_pairs([("service_name", "orders")]);
    let resource = vec![("service.name".to_owned(), Value::from("orders"))];
    Batch::Logs(LogBatch { streams: vec![LogStream { labels, resource, records }] })
}

fn spans() -> Batch {
    let span = |id: u8, name: &str, duration_ms: i64| Span {
        trace_id: TRACE,
        span_id: [id; 8],
        parent_span_id: (id > 1).then_some([1; 8]),
        start_ns: NOON_NS,
        duration_ns: duration_ms * 1_000_000,
        name: name.to_owned(),
        kind: SpanKind::Server,
        status: if id == 1 { StatusCode::Error } else { StatusCode::Ok },
        attributes: vec![("http.response.status_code".into(), Value::Int(500))].into(),
        events: vec![SpanEvent { ts_ns: NOON_NS, name: "retry".into(), ..SpanEvent::default() }],
        ..Span::default()
    };
    let resource = Arc::new(vec![("service.name".to_owned(), Value::from("orders"))]);
    let spans = vec![span(1, "create", 400), span(2, "pool.acquire", 100)];
    let one = ResourceSpans { resource, scope: Scope::named("s", "1"), spans, ..ResourceSpans::default() };
    Batch::Spans(SpanBatch { resources: vec![one] })
}

async fn world() -> (Arc<Engine>, Arc<Store>, tempfile::TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let config = store::Config { dir: dir.path().to_owned(), fsync: false, ..store::Config::default() };
    let store = Store::open(config, Arc::new(SystemClock)).await.unwrap();
    for batch in [metrics(), logs(), spans()] {
        store.write(Write { tenant: Tenant::default(), batch, origin: None }).await.unwrap();
    }
    let engine = Engine::new(store.clone(), Arc::new(SystemClock), Limits::default()).unwrap();
    (Arc::new(engine), store, dir)
}

/// Statements with the one cell or the cells of the one row that they answer.
const ANSWERS: [(&str, &str); 20] = [
    (
        "select p.ts, p.value, label(p.labels, 'service') as s from promql('pool_pending', '2026-03-01T12:00:15Z', \
         '2026-03-01T12:00:15Z', '15s') p",
        "| 2026-03-01T12:00:15Z | 7.0   | orders |",
    ),
    (
        "select name, value from promql('sum(up)', timestamp '2026-03-01T12:00:00Z', \
         timestamp '2026-03-01T12:00:00Z' + interval '10 seconds', interval '1 minute')",
        "|      | 1.0   |",
    ),
    (
        "select body, label(labels, 'service_name') as s, attr(attributes, 'customer') as c \
         from logql('{service_name=\"orders\"} |= \"well\"', '2026-03-01T12:00:00Z', '2026-03-01T13:00:00Z', 10)",
        "| all is well | orders | c-42 |",
    ),
    (
        "select max(value) as lines from logql('sum(count_over_time({service_name=\"orders\"}[1m]))', \
         '2026-03-01T12:00:00Z', '2026-03-01T12:01:00Z', 15)",
        "| 2.0   |",
    ),
    (
        "select t.name, t.duration_ns / 1000000 as ms, t.root_name, l.body from \
         traceql('{ name = \"pool.acquire\" }', '2026-03-01T12:00:00Z', '2026-03-01T13:00:00Z') t \
         join logs l on l.trace_id = t.trace_id join metrics m on m.name = 'up'",
        "| pool.acquire | 100 | create    | pool exhausted |",
    ),
    (
        "select label(labels, 'name') as n, sum(value) as v from traceql('{ status = error } | count_over_time() by (name)', \
         '2026-03-01T12:00:00Z', '2026-03-01T12:01:00Z', '1m') group by 1",
        "| create | 1.0 |",
    ),
    (
        "select s.name, l.body, max(m.value) as waiting from spans s join logs l on l.trace_id = s.trace_id \
         join metrics m on label(m.labels, 'service') = s.service and m.name = 'pool_pending' \
         where s.duration_ns > 200000000 group by s.name, l.body",
        "| create | pool exhausted | 7.0     |",
    ),
    ("select count(*) as n from metrics", "| 3 |"),
    ("select count(*) as n from series where name = 'up'", "| 1 |"),
    ("select avg(value) as v from metrics where name like 'pool%'", "| 5.0 |"),
    ("select count(*) as n from logs where body like '%exhausted%'", "| 1 |"),
    ("select severity from logs where body = 'pool exhausted'", "| error    |"),
    ("select attr(attributes, 'customer') as c from logs where severity = 'info'", "| c-42 |"),
    ("select trace_id as t from logs where trace_id is not null", "07070707070707070707070707070707"),
    ("select name from spans where status = 'error'", "| create |"),
    ("select attr(attributes, 'http.response.status_code') as c from spans where name = 'create'", "| 500 |"),
    ("select count(*) as n from spans where trace_id = '07070707070707070707070707070707'", "| 2 |"),
    (
        "select count(*) as n from spans where attributes['http.response.status_code'] = '500' \
         and resource['service.name'] = 'orders'",
        "| 2 |",
    ),
    ("select count(*) as n from spans where attr(attributes, 'http.response.status_code') = '404'", "| 0 |"),
    (
        "select date_bin(interval '1 minute', ts) as t, count(*) as n from logs group by 1",
        "| 2026-03-01T12:00:00Z | 2 |",
    ),
];

#[tokio::test]
async fn one_statement_joins_metrics_logs_and_spans() {
    let (engine, store, _dir) = world().await;
    for flushed in [false, true] {
        if flushed {
            store.flush().await.unwrap();
        }
        for (query, expected) in ANSWERS {
            let text = table(&engine, query).await;
            assert!(text.contains(expected), "{query} flushed={flushed}:\n{text}");
        }
    }
}

/// JSON of all kinds, and lines that are none.
fn json_lines() -> Batch {
    let mut bodies = vec![
        r#"{"level":"in\u0066o","n":1e3,"tags":["a", "b"],"user":{"id":7}}"#.to_owned(),
        r#"{"level":null,"n":"12","tags":[],"user":{}}"#.to_owned(),
        r#"{"level":"warn","n":true,"user":"none"}"#.to_owned(),
        r#"[{"level":"in an array"}]"#.to_owned(),
        r#"{"level":"broken""#.to_owned(),
        r#"{"level":"huge","n":1e400,"user":{"id":8}}"#.to_owned(),
        "level=info 100% of it_all".to_owned(),
        "two\nlines".to_owned(),
    ];
    bodies.extend((0..400).map(|n| format!(r#"{{"level":"info","n":{n},"user":{{"id":{}}}}}"#, n % 7)));
    bodies.extend((0..40).map(|n| format!("request {n} took {n}ms")));
    let record = |(at, body)| LogRecord { ts_ns: NOON_NS + at as i64, body, ..LogRecord::default() };
    let records = bodies.into_iter().enumerate().map(record).collect();
    let labels = Labels::from_pairs([("service_name", "json")]);
    Batch::Logs(LogBatch { streams: vec![LogStream { labels, resource: vec![], records }] })
}

#[tokio::test]
async fn json_is_the_same_from_columns_and_from_lines() {
    let (engine, store, _dir) = world().await;
    store.write(Write { tenant: Tenant::default(), batch: json_lines(), origin: None }).await.unwrap();
    let statements = [
        "select json_extract_string(body, '$.level') as k, count(*) as c from logs group by k order by c desc, k",
        "select count(*) as c from logs where body like '{%' and json_get_float(body, 'n') >= 390",
        "select json_get_int(body, 'user', 'id') as u, count(*) as c, max(json_get_float(body, 'n')) as m from logs \
         where service = 'json' group by u order by c desc, u",
        "select json_get(body, 'user') as u, count(*) as c from logs group by u order by c desc, u",
        "select json_extract(body, '$.tags') as t, json_get(body, 'level') as l from logs order by ts limit 8",
        "select body, json_get_str(body, 'n') as n from logs where service = 'json' order by ts limit 7",
        "select count(*) as c from logs where json_contains(body, 'level')",
        "select json_get_bool(body, 'n') as b, json_length(body, 'tags') as l, ts from logs order by ts limit 4",
        "select count(*) as c from logs where body like 'request _ took %' and body not like '%3ms'",
        "select count(*) as c from logs where body like '100\\% of%' or body like '%00\\% of it\\_all'",
        "select count(*) as c from logs where body ~ '^request [0-9]+ took' and body !~ '7ms$'",
        "select count(*) as c from logs where body like 'two%lines'",
        "select l.body from logs l where l.service = 'orders' order by ts",
    ];
    let mut in_memory = vec![];
    for statement in statements {
        in_memory.push(table(&engine, statement).await);
    }
    let counts = [(1, "| 12 |"), (6, "| 404 |"), (8, "| 9 |"), (9, "| 1 |"), (10, "| 36 |"), (11, "| 1 |")];
    for (at, expected) in counts {
        assert!(in_memory[at].contains(expected), "{}:\n{}", statements[at], in_memory[at]);
    }
    for compacted in [false, true] {
        store.flush().await.unwrap();
        if compacted {
            store.compact().await.unwrap();
        }
        for (statement, expected) in statements.iter().zip(&in_memory) {
            assert_eq!(table(&engine, statement).await, *expected, "{statement} compacted={compacted}");
        }
    }
    let explained = table(&engine, &format!("explain {}", statements[0])).await;
    assert!(explained.contains("json_values: [[\"level\"]]"), "{explained}");
}

#[tokio::test]
async fn lines_are_counted_run_by_run_wherever_they_lie() {
    let (engine, store, _dir) = world().await;
    for part in 0..3 {
        let stream = |service: &str, every_s: i64| {
            let record = |n: i64| LogRecord {
                ts_ns: NOON_NS + (part * 100 + n * every_s) * 1_000_000_000,
                severity: 9,
                body: format!("line {n}"),
                ..LogRecord::default()
            };
            let labels = Labels::from_pairs([("service_name", service)]);
            LogStream { labels, resource: vec![], records: (0..40).map(record).collect() }
        };
        let streams = vec![stream("b", 7), stream("a", 11), stream("c", 1)];
        let batch = Batch::Logs(LogBatch { streams });
        store.write(Write { tenant: Tenant::default(), batch, origin: None }).await.unwrap();
        let cases = [
            ("date_trunc('minute', ts), service", "ts >= '2026-03-01T12:01:00Z'"),
            ("service", "body like '%7%'"),
            ("date_bin(interval '30 seconds', ts)", "service <> 'a'"),
            ("severity, service", "true"),
        ];
        for (by, condition) in cases {
            let counted = |count: &str| {
                format!(
                    "select {by}, {count} as n, {count} as m from logs where {condition} group by {by} order by {by}"
                )
            };
            // A sum of ones is nothing that is counted by runs.
            let (counts, sums) =
                (table(&engine, &counted("count(*)")).await, table(&engine, &counted("sum(1)")).await);
            assert_eq!(counts, sums, "{by} {condition}");
            let explained = table(&engine, &format!("explain {}", counted("count(*)"))).await;
            let is_parallel = std::thread::available_parallelism().is_ok_and(|threads| threads.get() > 1);
            assert_eq!(
                explained.contains("RunCounts"),
                is_parallel && !by.contains("severity"),
                "{by} {explained}"
            );
        }
        match part {
            0 => drop(store.flush().await.unwrap()),
            1 => drop(store.compact().await.unwrap()),
            _ => {}
        }
    }
}

#[tokio::test]
async fn a_tenant_sees_its_own_rows_only() {
    let (engine, _store, _dir) = world().await;
    let other = Tenant::new("other").unwrap();
    for name in ["metrics", "series", "logs", "spans"] {
        let answer = engine.sql(&other, &format!("select * from {name}"), vec![]).await.unwrap();
        assert_eq!(answer.batches.iter().map(|batch| batch.num_rows()).sum::<usize>(), 0, "{name}");
    }
}

#[tokio::test]
async fn time_conditions_cut_exactly() {
    let (engine, store, _dir) = world().await;
    store.flush().await.unwrap();
    for (condition, count) in [
        ("ts >= '2026-03-01T12:00:02Z'", 1),
        ("ts > '2026-03-01T12:00:02Z'", 0),
        ("ts between '2026-03-01T12:00:01Z' and '2026-03-01T12:00:02Z'", 2),
        ("ts < '2026-03-01T12:00:02Z'", 1),
        ("ts <> '2026-03-01T12:00:02Z'", 1),
        ("not (ts < '2026-03-01T12:00:02Z')", 1),
    ] {
        let text = table(&engine, &format!("select count(*) as n from logs where {condition}")).await;
        assert!(text.contains(&format!("| {count} |")), "{condition}:\n{text}");
    }
}

#[tokio::test]
async fn a_time_cut_to_seconds_is_compared_as_it_is_cut() {
    let (engine, store, _dir) = world().await;
    let record = LogRecord { ts_ns: NOON_NS + 2_500_000_000, body: "later".into(), ..LogRecord::default() };
    let labels = Labels::from_pairs([("service_name", "orders")]);
    let stream = LogStream { labels, resource: vec![], records: vec![record] };
    let batch = Batch::Logs(LogBatch { streams: vec![stream] });
    store.write(Write { tenant: Tenant::default(), batch, origin: None }).await.unwrap();
    store.flush().await.unwrap();
    for (condition, count) in [
        ("ts::timestamp(0) <= '2026-03-01T12:00:02'", 3),
        ("ts::timestamp(0) = '2026-03-01T12:00:02'", 2),
        ("ts <= '2026-03-01T12:00:02Z'", 2),
        ("ts > '2026-03-01T12:00:02.499Z'", 1),
        ("ts > '2026-03-01T12:00:02.5Z'", 0),
        ("ts < '2026-03-01T12:00:02.5Z'", 2),
    ] {
        let text = table(&engine, &format!("select count(*) as n from logs where {condition}")).await;
        assert!(text.contains(&format!("| {count} |")), "{condition}:\n{text}");
    }
}

#[tokio::test]
async fn the_last_lines_are_those_at_the_ends_of_streams() {
    let (engine, store, _dir) = world().await;
    // Of two streams the labels say the service; two more have the same labels, and only their resources say it.
    let stream = |labels: [(&str, &str); 2], service: &str, first_ms: i64| {
        let record = |n: i64| LogRecord {
            ts_ns: NOON_NS + (first_ms + 10 * n) * 1_000_000,
            severity: if n % 2 == 0 { 9 } else { 17 },
            body: format!("{service} {n}"),
            ..LogRecord::default()
        };
        let resource = vec![("service.name".to_owned(), Value::from(service))];
        LogStream { labels: Labels::from_pairs(labels), resource, records: (0..50).map(record).collect() }
    };
    let streams = vec![
        stream([("service_name", "a"), ("pod", "a-1")], "a", 1),
        stream([("service_name", "a"), ("pod", "a-2")], "a", 302),
        stream([("app", "shared"), ("env", "prod")], "c", 3),
        stream([("app", "shared"), ("env", "prod")], "d", 404),
    ];
    let batch = Batch::Logs(LogBatch { streams });
    store.write(Write { tenant: Tenant::default(), batch, origin: None }).await.unwrap();
    let statements = [
        ("select body from logs where service = 'a' order by ts desc limit 3", true),
        ("select body from logs where service = 'a' order by ts limit 3", true),
        ("select ts, body from logs where service = 'c' order by ts desc limit 3", true),
        (
            "select body from logs where ts < '2026-03-01T12:00:00.492Z' and service = 'a' order by ts desc limit 2",
            true,
        ),
        ("select body from logs where ts >= '2026-03-01T12:00:00.2Z' order by ts limit 5", true),
        ("select body from logs where labels['pod'] = 'a-1' order by ts desc limit 3", true),
        (
            "select body from logs where label(labels, 'app') = 'shared' and service = 'c' order by ts limit 3",
            true,
        ),
        ("select body from logs where labels['pod'] <> 'a-1' order by ts desc limit 3", false),
        ("select body from logs where service = 'a' and severity = 'error' order by ts desc limit 3", false),
        ("select body from logs where service = 'a' or service = 'd' order by ts desc limit 3", false),
        ("select body from logs where service <> 'a' order by ts desc limit 3", false),
        ("select body from logs where service = 'a' order by ts desc, body limit 3", false),
        ("select body from logs where service = 'a' order by body limit 3", false),
    ];
    for step in 0..3 {
        for (statement, is_told) in statements {
            let explained = table(&engine, &format!("explain {statement}")).await;
            assert_eq!(explained.contains("limit: Some("), is_told, "{statement}:\n{explained}");
            // Of this condition no scan knows anything.
            let slowly =
                statement.replace("where ", "where length(body) > 0 and (").replace(" order", ") order");
            let (lines, all) = (table(&engine, statement).await, table(&engine, &slowly).await);
            assert_eq!(lines, all, "{statement} in step {step}");
        }
        let by_label =
            "select labels['pod'] as p, label(labels, 'app') as a, count(*) as n from logs group by p, a";
        let counts = table(&engine, by_label).await;
        for row in ["| a-1 |        | 50  |", "| a-2 |        | 50  |", "|     | shared | 100 |"] {
            assert!(counts.contains(row), "step {step}:\n{counts}");
        }
        match step {
            0 => drop(store.flush().await.unwrap()),
            _ => drop(store.compact().await.unwrap()),
        }
    }
}

#[tokio::test]
async fn an_attribute_is_asked_of_the_store_by_its_name() {
    let (engine, store, _dir) = world().await;
    // A list that has what is asked is not equal to it.
    let user = |n: usize| match (n % 7, n % 50) {
        (0, _) => None,
        (_, 1) => Some(Value::Json(r#"["u1"]"#.to_owned())),
        _ => Some(Value::from(format!("u{}", n % 3))),
    };
    let span = |n: usize| {
        let mut attributes = vec![("n".to_owned(), Value::Int(n as i64 % 5))];
        attributes.extend(user(n).map(|user| ("user.id".to_owned(), user)));
        attributes.extend((n == 300).then(|| ("rare".to_owned(), Value::from("x"))));
        Span {
            trace_id: [(n % 9) as u8 + 20; 16],
            span_id: (n as u64 + 1_000).to_be_bytes(),
            start_ns: NOON_NS + n as i64,
            duration_ns: 1,
            name: format!("op {}", n % 2),
            attributes: attributes.into(),
            ..Span::default()
        }
    };
    let resource = Arc::new(vec![("service.name".to_owned(), Value::from("users"))]);
    let spans = (0..600).map(span).collect();
    let one = ResourceSpans { resource, scope: Scope::named("s", "1"), spans, ..ResourceSpans::default() };
    let batch = Batch::Spans(SpanBatch { resources: vec![one] });
    store.write(Write { tenant: Tenant::default(), batch, origin: None }).await.unwrap();
    let is_u1 = |n: usize| user(n) == Some(Value::from("u1"));
    let count = |passes: &dyn Fn(usize) -> bool| (0..600).filter(|n| passes(*n)).count();
    let of_u1 = count(&is_u1);
    let cases = [
        ("count(*)", "attributes['user.id'] = 'u1'", of_u1),
        ("count(*)", "'u1' = attr(attributes, 'user.id') and resource['service.name'] = 'users'", of_u1),
        ("count(*)", "attributes['user.id'] = 'u1' and resource['service.name'] = 'orders'", 0),
        (
            "count(*)",
            "attributes['user.id'] = 'u1' and attributes['n'] = '3'",
            count(&|n| is_u1(n) && n % 5 == 3),
        ),
        ("count(*)", "attributes['user.id'] = 'u1' and attributes['user.id'] = 'u2'", 0),
        ("count(*)", "attributes['user.id'] = '[\"u1\"]'", count(&|n| n % 7 != 0 && n % 50 == 1)),
        ("count(*)", "attributes['rare'] = 'x' and attributes['user.id'] = 'u0'", 1),
        ("count(*)", "service = 'users' and attributes['user.id'] is null", count(&|n| n % 7 == 0)),
        ("count(attributes['user.id'])", "name = 'op 1'", count(&|n| n % 2 == 1 && n % 7 != 0)),
        ("count(distinct attributes['n'])", "attributes['user.id'] <> 'u1'", 5),
        ("max(cardinality(attributes))", "attributes['user.id'] = 'u0' and attributes['rare'] = 'x'", 3),
    ];
    for step in 0..3 {
        for (what, condition, expected) in cases {
            let answer = table(&engine, &format!("select {what} as n from spans where {condition}")).await;
            assert!(
                answer.contains(&format!("| {expected} ")),
                "{what} {condition} in step {step}:\n{answer}"
            );
        }
        let explained =
            table(&engine, "explain select count(*) from spans where attributes['user.id'] = 'u1'").await;
        assert!(explained.contains("attributes=[span:user.id]"), "{explained}");
        assert!(!explained.contains("FilterExec"), "{explained}");
        let by_name = "explain select attributes['n'] as v, count(*) from spans group by v";
        let explained = table(&engine, by_name).await;
        assert!(explained.contains("attributes=[span:n]"), "{explained}");
        match step {
            0 => drop(store.flush().await.unwrap()),
            _ => drop(store.compact().await.unwrap()),
        }
    }
}

#[tokio::test]
async fn what_is_wrong_in_a_call_is_said() {
    let (engine, _, _dir) = world().await;
    for (call, says) in [
        ("promql()", "takes a query"),
        ("promql('sum(')", "promql(): 1:5"),
        ("promql('up', 'yesterday')", "start is yesterday"),
        ("promql('up', 20, 10)", "end is before start"),
        ("promql('up', 10, 20, 'often')", "step is often"),
        ("promql('up', 10, 20, '1s', 5)", "at most"),
        ("promql(5)", "the query is text"),
        ("logql('{a=\"b\"}', 10, 20, -1)", "limit is -1"),
        ("logql('{a=')", "line 1, col"),
        ("traceql('{ .a = ')", "line 1, col"),
        ("nosuch('x')", "table function 'nosuch' not found"),
    ] {
        let query = format!("select * from {call}");
        let wrong = engine.sql(&Tenant::default(), &query, vec![]).await.unwrap_err();
        assert!(matches!(&wrong, crate::QueryError::Bad(text) if text.contains(says)), "{call}: {wrong:?}");
    }
}

#[tokio::test]
async fn mistakes_have_line_and_column() {
    let (engine, _, _dir) = world().await;
    for (query, place) in [
        ("select\n  nope from logs", "Line: 2, Column: 3"),
        ("select l.nope from logs l", "Line: 1, Column: 8"),
        ("select 1 from nowhere", "Line: 1, Column: 15"),
        ("select service from logs group by service having nope > 1", "Line: 1, Column: 50"),
        ("select foo(1)", "Line: 1, Column: 8"),
        ("selec 1", "Line: 1, Column: 1"),
        ("select count(*) from logs where", "Line: 1, Column: 32"),
    ] {
        let wrong = engine.sql(&Tenant::default(), query, vec![]).await.unwrap_err();
        assert!(wrong.to_string().contains(place), "{query}: {wrong}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_histogram_is_one_series_and_its_parts_are_no_samples() {
    let (engine, store, _dir) = world().await;
    let mut batch = MetricBatch::default();
    let histogram = Histogram { count: 3.0, sum: 4.5, positive: vec![(1, 3.0)], ..Histogram::default() };
    let labels = Labels::from_pairs([("__name__", "latency"), ("job", "a")]);
    batch.push_histograms(&labels, &[(NOON_MS, histogram.clone()), (NOON_MS + 1, histogram)]);
    batch.push_starts(&Labels::from_pairs([("__name__", "up"), ("job", "a")]), &[(NOON_MS, 5)]);
    let write = Write { tenant: Tenant::default(), batch: Batch::Metrics(batch), origin: None };
    store.write(write).await.unwrap();
    for _ in 0..2 {
        let query = "select name, label(labels, '__histogram__') as part from series order by name";
        let series = table(&engine, query).await;
        assert_eq!(
            (series.matches("| latency").count(), series.matches("start").count()),
            (1, 0),
            "{series}"
        );
        let samples =
            table(&engine, "select name, count(*) as n from metrics group by name order by name").await;
        assert!(!samples.contains("latency") && samples.contains("| up           | 1 |"), "{samples}");
        let rows = table(&engine, "select count(*) as n from series").await;
        assert!(rows.contains("| 3 |"), "{rows}");
        let query = "select name, \"count\", sum, schema, buckets, label(labels, 'job') as job from histograms \
            where name = 'latency' order by ts";
        let histograms = table(&engine, query).await;
        let row = "| latency | 3.0   | 4.5 | 0      | [{\"lower\":1,\"upper\":2,\"count\":3}] | a   |";
        assert_eq!(histograms.matches(row).count(), 2, "{histograms}");
        let none = table(&engine, "select count(*) as n from histograms where name = 'up'").await;
        assert!(none.contains("| 0 |"), "{none}");
        store.flush().await.unwrap();
    }
}

#[tokio::test]
async fn lines_are_asked_by_words_json_and_patterns() {
    let (engine, store, _dir) = world().await;
    let bodies = [
        "Payment TIMEOUT after 30ms for order 17",
        "Payment ok after 12ms for order 18",
        r#"{"msg":"payment refused","user":{"id":7},"ms":12.5,"tags":["a","b"],"ok":false}"#,
    ];
    let records = bodies.iter().enumerate().map(|(at, body)| LogRecord {
        ts_ns: NOON_NS + at as i64,
        body: (*body).to_owned(),
        ..LogRecord::default()
    });
    let labels = Labels::from_pairs([("service_name", "pay")]);
    let stream = LogStream { labels, resource: vec![], records: records.collect() };
    let batch = Batch::Logs(LogBatch { streams: vec![stream] });
    store.write(Write { tenant: Tenant::default(), batch, origin: None }).await.unwrap();
    for flushed in [false, true] {
        if flushed {
            store.flush().await.unwrap();
        }
        for (query, expected) in [
            ("select count(*) as n from logs where match(body, 'timeout AND payment')", "| 1 |"),
            ("select count(*) as n from logs where MATCH (body, 'pay*')", "| 3 |"),
            (
                "select count(*) as n from logs l where match(l.body, 'payment NOT (timeout OR refused)')",
                "| 1 |",
            ),
            (
                "select count(*) as n from logs where match(body, '\"ok after\"') or match(body, 'refused')",
                "| 2 |",
            ),
            ("select count(*) as n from logs where not match(body, 'payment')", "| 2 |"),
            ("select json_extract(body, '$.user.id') as id from logs where match(body, 'refused')", "| 7  |"),
            ("select json_get_float(body, 'ms') as ms from logs where match(body, 'refused')", "| 12.5 |"),
            ("select json_get_str(body, 'tags', 1) as t from logs where match(body, 'refused')", "| b |"),
            ("select json_get_bool(body, 'ok') as t from logs where match(body, 'refused')", "| false |"),
            ("select json_length(body, 'tags') as t from logs where match(body, 'refused')", "| 2 |"),
            (
                "select body -> 'user' ->> 'id' as id from logs where (body ->> 'msg') = 'payment refused'",
                "| 7  |",
            ),
            ("select count(*) as n from logs where json_extract(body, '$.user.id') is null", "| 4 |"),
            ("select sum(json_get_int(body, 'user', 'id')) as n from logs", "| 7 |"),
            ("select attributes ->> 'customer' as c from logs where severity = 'info'", "| c-42 |"),
            ("select attributes['customer'] as c from logs where severity = 'info'", "| c-42 |"),
            ("select count(*) as n from logs where labels['service_name'] = 'pay'", "| 3 |"),
            (
                "select log_pattern(body) as p, count(*) as n from logs where labels['service_name'] = 'pay' group by 1 \
                 order by p limit 1",
                "<_>payment refused<_>",
            ),
            (
                "select log_pattern(body) as p from logs where match(body, 'timeout')",
                "| Payment TIMEOUT after <_> for order <_> |",
            ),
            (
                "select quantile_cont(0.5) within group (order by value) as q, percentile_cont(value, 0.5) as p, \
                 median(value) as m from metrics where name = 'pool_pending'",
                "| 5.0 | 5.0 | 5.0 |",
            ),
            (
                "select l.body, m.value from logs l join promql('pool_pending', '2026-03-01T12:00:15Z', \
                 '2026-03-01T12:00:15Z', '15s') m on label(m.labels, 'service') = l.service where match(l.body, 'exhausted')",
                "| pool exhausted | 7.0   |",
            ),
        ] {
            let text = table(&engine, query).await;
            assert!(text.contains(expected), "{query} flushed={flushed}:\n{text}");
        }
    }
    for (query, says) in [
        ("select count(*) from logs where match(body, 'a AND')", "a word is missing here"),
        ("select match(body) from logs", "match takes a text and what to look for"),
        ("select json_extract(body, '$..a') from logs", "is wrong at character"),
        ("select json_extract(body) from logs", "takes a text and a path"),
        ("select json_get(ts, 'a') from logs", "takes a text and keys"),
    ] {
        let wrong = engine.sql(&Tenant::default(), query, vec![]).await.unwrap_err();
        assert!(wrong.to_string().contains(says), "{query}: {wrong}");
    }
}
