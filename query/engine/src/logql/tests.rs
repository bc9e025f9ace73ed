//! LogQL over a real store: the same answers from memory and from parts.

mod odd_lines;
mod patterns;

use super::*;
use crate::Limits;
use model::{Batch, LogBatch, LogRecord, LogStream, Sink, SystemClock, Value, Write};
use store::Store;

/// 2026-03-01T12:00:00Z.
const NOON_NS: i64 = 1_772_366_400_000_000_000;
const SECOND_NS: i64 = 1_000_000_000;

struct World {
    engine: Engine,
    store: Arc<Store>,
    _dir: tempfile::TempDir,
}

fn record(at_s: i64, body: &str) -> LogRecord {
    LogRecord { ts_ns: NOON_NS + at_s * SECOND_NS, body: body.to_owned(), ..LogRecord::default() }
}

fn stream(app: &str, records: Vec<LogRecord>) -> LogStream {
    LogStream { labels: Labels::from_pairs([("app", app), ("env", "prod")]), resource: vec![], records }
}

/// Ten seconds of two apps, and one line with metadata.
fn batch() -> LogBatch {
    let mut api = vec![
        record(0, r#"{"level":"error","msg":"payment timeout","ms":512}"#),
        record(1, r#"{"level":"info","msg":"payment done","ms":12}"#),
        record(2, "level=info msg=done took=3ms"),
        record(3, "plain words, a timeout too"),
    ];
    api[3].severity = 13;
    api[3].attributes = vec![("user.id".into(), Value::Int(42))];
    let web = (0..10).map(|at| record(at, &format!("GET /items/{at} took={at}0ms"))).collect();
    LogBatch { streams: vec![stream("api", api), stream("web", web)] }
}

impl World {
    async fn with(batch: LogBatch) -> World {
        let dir = tempfile::tempdir().unwrap();
        let config = store::Config { dir: dir.path().to_owned(), fsync: false, ..store::Config::default() };
        let store = Store::open(config, Arc::new(SystemClock)).await.unwrap();
        let write = Write { tenant: Tenant::default(), batch: Batch::Logs(batch), origin: None };
        store.write(write).await.unwrap();
        let engine = Engine::new(store.clone(), Arc::new(SystemClock), Limits::default()).unwrap();
        World { engine, store, _dir: dir }
    }

    async fn range(&self, query: &str, limit: usize, direction: Direction) -> Result<LogAnswer, QueryError> {
        let end = NOON_NS + 60 * SECOND_NS;
        self.engine.logql_range(&Tenant::default(), query, NOON_NS, end, 10_000, limit, direction).await
    }

    /// The lines of an answer, newest first.
    async fn lines(&self, query: &str) -> Vec<String> {
        let answer = self.range(query, 100, Direction::Backward).await;
        let LogResult::Streams(streams) = answer.unwrap_or_else(|why| panic!("{query}: {why}")).result else {
            panic!("{query} answers no lines")
        };
        let mut entries: Vec<LogEntry> = streams.into_iter().flat_map(|stream| stream.entries).collect();
        entries.sort_by_key(|entry| -entry.ts_ns);
        entries.into_iter().map(|entry| entry.line).collect()
    }

    /// `{labels} value` of each series 30 s after the start.
    async fn numbers(&self, query: &str) -> Vec<String> {
        let at = NOON_NS + 30 * SECOND_NS;
        let answer = self.engine.logql_instant(&Tenant::default(), query, at, 100, Direction::Backward).await;
        match answer.unwrap_or_else(|why| panic!("{query}: {why}")).result {
            LogResult::Vector(series) => {
                series.iter().map(|one| format!("{} {}", one.labels, one.points[0].value)).collect()
            }
            other => panic!("{query}: {other:?}"),
        }
    }
}

async fn check_lines(world: &World) {
    for (query, first, count) in [
        (r#"{app="api"} |= "timeout""#, "plain words, a timeout too", 2),
        (
            r#"{app="api"} |= "timeout" != "plain""#,
            r#"{"level":"error","msg":"payment timeout","ms":512}"#,
            1,
        ),
        (
            r#"{app=~"a.*"} |~ "pay(ment)? (timeout|done)""#,
            r#"{"level":"info","msg":"payment done","ms":12}"#,
            2,
        ),
        (
            r#"{app="api"} | json | __error__="" | ms > 500"#,
            r#"{"level":"error","msg":"payment timeout","ms":512}"#,
            1,
        ),
        // As in Loki, a comparison drops lines without the label, also those that a parser failed on.
        (r#"{app="api"} | json | ms > 500"#, r#"{"level":"error","msg":"payment timeout","ms":512}"#, 1),
        (r#"{app="api"} | logfmt | took < 5ms"#, "level=info msg=done took=3ms", 1),
        (r#"{app="api"} | user_id="42""#, "plain words, a timeout too", 1),
        (r#"{app="api"} | json | line_format "{{.msg}}" | msg=~".+""#, "payment done", 2),
        (r#"{app="web"} |= "/items/7""#, "GET /items/7 took=70ms", 1),
        (r#"{env="prod"} |= "took=""#, "GET /items/9 took=90ms", 11),
        (r#"{app!="web", env="prod"}"#, "plain words, a timeout too", 4),
    ] {
        let lines = world.lines(query).await;
        assert_eq!(
            (lines.first().map(String::as_str), lines.len()),
            (Some(first), count),
            "{query}: {lines:?}"
        );
    }
    assert!(world.lines(r#"{app="api"} |= "no such words""#).await.is_empty());
    assert!(world.lines(r#"{app="nobody"}"#).await.is_empty());
}

async fn check_numbers(world: &World) {
    for (query, expected) in [
        (
            r#"sum by (app) (count_over_time({env="prod"}[1m]))"#,
            vec![r#"{app="api"} 4"#, r#"{app="web"} 10"#],
        ),
        (r#"sum(count_over_time({env="prod"} |= "timeout" [1m]))"#, vec!["{} 2"]),
        (r#"sum(rate({app="web"}[30s])) * 30"#, vec!["{} 9"]),
        (
            r#"sum by (level) (count_over_time({app="api"} | json | __error__="" [1m]))"#,
            vec![r#"{level="error"} 1"#, r#"{level="info"} 1"#],
        ),
        (
            r#"sum by (level) (count_over_time({app="api"} | json | __error__="" | ms > 100 [1m]))"#,
            vec![r#"{level="error"} 1"#],
        ),
        (
            r#"sum by (msg, app) (count_over_time({app="api"} | json | __error__="" | level="info" | ms < 13 [1m]))"#,
            vec![r#"{app="api", msg="payment done"} 1"#],
        ),
        // A line that is no JSON has no such label, so the comparison drops it with its error.
        (r#"sum(count_over_time({app="api"} | json | ms > 100 [1m]))"#, vec!["{} 1"]),
        (
            r#"count_over_time({app="api"} | logfmt --keep-empty gone, level | drop level, __error__ [1m])"#,
            vec![
                r#"{app="api", detected_level="error", env="prod", gone=""} 1"#,
                r#"{app="api", detected_level="info", env="prod", gone=""} 2"#,
                r#"{app="api", detected_level="warn", env="prod", gone="", user_id="42"} 1"#,
            ],
        ),
        (
            r#"count_over_time({app="api"} | json none="no.where" | msg="" | user_id="" | __error__="" [1m])"#,
            vec![
                r#"{app="api", detected_level="error", env="prod", none=""} 1"#,
                r#"{app="api", detected_level="info", env="prod", none=""} 1"#,
            ],
        ),
        (r#"sum(sum_over_time({app="api"} | json | __error__="" | unwrap ms [1m]))"#, vec!["{} 524"]),
        (r#"count(count_over_time({app="api"} | json | __error__="" [1m]))"#, vec!["{} 2"]),
        (r#"max(max_over_time({app="web"} | logfmt | unwrap duration_seconds(took) [1m]))"#, vec!["{} 0.09"]),
        (r#"sum(bytes_over_time({app="api"} |= "plain" [1m]))"#, vec!["{} 26"]),
        (r#"topk(1, sum by (app) (count_over_time({env="prod"}[1m])))"#, vec![r#"{app="web"} 10"#]),
        ("vector(1)+vector(1)", vec!["{} 2"]),
        (r#"absent_over_time({app="nobody"}[1m])"#, vec![r#"{app="nobody"} 1"#]),
    ] {
        assert_eq!(world.numbers(query).await, expected, "{query}");
    }
}

#[tokio::test]
async fn lines_and_numbers_from_memory_and_from_parts() {
    let world = World::with(batch()).await;
    check_lines(&world).await;
    check_numbers(&world).await;
    world.store.flush().await.unwrap();
    check_lines(&world).await;
    check_numbers(&world).await;
}

/// JSON whose labels also come from the stream, are missing, or cannot be compared.
fn odd_json() -> LogBatch {
    let bodies = [
        r#"{"app":"inner","level":"info","ms":5,"ok":true}"#,
        r#"{"app":"inner","level":"in\u0066o","ms":"7"}"#,
        r#"{"app":"other","level":"","ms":50,"tags":["a"]}"#,
        r#"{"level":null,"ms":500}"#,
        r#"{"level":"info","ms":"fast"}"#,
        r#"{"level":"info"}"#,
        r#"{"deep":{"level":"info"},"ms":1}"#,
    ];
    let records = |metadata: &str| {
        let with = |at: i64| LogRecord {
            attributes: vec![(metadata.to_owned(), Value::Int(9))],
            ..record(at, bodies[at as usize % bodies.len()])
        };
        (0..21).map(with).collect()
    };
    // The metadata of the last has the name of a field.
    LogBatch { streams: vec![stream("api", records("user.id")), stream("web", records("ms"))] }
}

#[tokio::test]
async fn labels_of_json_count_the_same_from_columns_and_from_lines() {
    let world = World::with(odd_json()).await;
    let queries = [
        (r#"sum by (level) (count_over_time({env="prod"} | json | __error__="" [1m]))"#, 3),
        (r#"sum by (level, app) (count_over_time({env="prod"} | json | ms < 100 | __error__="" [1m]))"#, 6),
        (r#"sum by (app_extracted) (count_over_time({env="prod"} | json [1m]))"#, 3),
        (r#"sum by (level) (count_over_time({env="prod"} | json | app="api" [1m]))"#, 3),
        (
            r#"sum by (deep_level) (count_over_time({env="prod"} | json | __error__="" | level!="info" [1m]))"#,
            2,
        ),
        (
            r#"sum by (level) (count_over_time({env="prod"} |= "inner" | json | ms >= 5 | __error__="" [1m]))"#,
            1,
        ),
        (r#"sum by (ms) (count_over_time({env="prod"} | json | ms > 40 | __error__="" [1m]))"#, 2),
        (
            r#"sum by (level) (sum_over_time({env="prod"} | json | level="info" | unwrap ms | __error__="" [1m]))"#,
            1,
        ),
    ];
    let mut from_lines = vec![];
    for (query, series) in queries {
        let numbers = world.numbers(query).await;
        assert_eq!(numbers.len(), series, "{query}: {numbers:?}");
        from_lines.push(numbers);
    }
    world.store.flush().await.unwrap();
    for ((query, _), expected) in queries.into_iter().zip(from_lines) {
        assert_eq!(world.numbers(query).await, expected, "{query}");
    }
}

/// Enough lines that a dictionary of values is full, and that some row groups have pages of their own sizes.
fn many_lines(from: i64) -> LogBatch {
    let line = |at: i64| match at % 5 {
        0 => format!("GET /items/{at} {} ok", 200 + at % 3 * 100),
        _ => format!(
            r#"{{"level":"{}","user":"user-with-a-name-of-length-{}","status":{},"ms":{}.5}}"#,
            if at % 7 == 0 { "error" } else { "info" },
            at * 31 % 4_001,
            if at % 7 == 0 { 500 } else { 200 },
            at % 900
        ),
    };
    let records = |shift: i64| {
        let at = |at: i64| (from + at) * 2 + shift;
        let record =
            |at: i64| LogRecord { ts_ns: NOON_NS + at * 1_000_000, body: line(at), ..LogRecord::default() };
        (0..5_500).map(|n| record(at(n))).collect()
    };
    LogBatch { streams: vec![stream("api", records(0)), stream("web", records(1))] }
}

#[tokio::test]
async fn many_lines_count_the_same_wherever_they_lie() {
    let world = World::with(many_lines(0)).await;
    let batch = Batch::Logs(many_lines(5_500));
    world.store.write(Write { tenant: Tenant::default(), batch, origin: None }).await.unwrap();
    let queries = [
        (r#"sum by (level) (count_over_time({env="prod"} | json | __error__="" [1m]))"#, 2),
        (r#"sum(count_over_time({env="prod"} | json | __error__="" | status >= 500 | ms > 450 [1m]))"#, 1),
        (r#"sum by (app) (count_over_time({env="prod"} | json | level=~"err.*" | ms < 10 [1m]))"#, 2),
        (r#"topk(3, sum by (user) (count_over_time({app="api"} | json | __error__="" [1m])))"#, 3),
        (r#"topk(2, sum by (app, user) (count_over_time({env="prod"} | json | status = 500 [1m])))"#, 2),
        (
            r#"sum by (user) (count_over_time({env="prod"} | json | user="user-with-a-name-of-length-31" [1m]))"#,
            1,
        ),
        (r#"sum(count_over_time({app="web"} |~ "items/[0-9]*5 .* ok" [1m]))"#, 1),
        (r#"sum(count_over_time({env="prod"} |= "length-1234" [1m]))"#, 1),
        (r#"sum by (app) (count_over_time({env="prod"}[12s]))"#, 2),
    ];
    let lines = r#"{app="web"} | json | status >= 500 | ms > 880"#;
    let mut in_memory = vec![];
    for (query, series) in queries {
        let numbers = world.numbers(query).await;
        assert!(numbers.len() >= series, "{query}: {numbers:?}");
        in_memory.push(numbers);
    }
    let found = world.lines(lines).await;
    assert!(found.len() > 10 && found.iter().all(|line| line.contains("500")), "{found:?}");
    for compacted in [false, true] {
        world.store.flush().await.unwrap();
        if compacted {
            world.store.compact().await.unwrap();
        }
        for ((query, _), expected) in queries.iter().zip(&in_memory) {
            assert_eq!(world.numbers(query).await, *expected, "{query} compacted={compacted}");
        }
        assert_eq!(world.lines(lines).await, found, "compacted={compacted}");
        // What comes now lies in a part of its own, and is merged.
        let batch = Batch::Logs(LogBatch { streams: vec![stream("db", vec![record(50, "{}")])] });
        world.store.write(Write { tenant: Tenant::default(), batch, origin: None }).await.unwrap();
    }
}

/// What a stream got when it came without it stays with the stream as any other label, as in Loki.
#[tokio::test]
async fn an_added_service_name_is_a_label_as_any_other() {
    let of = |name: &str| LogStream {
        labels: Labels::from_pairs([("app", name), ("env", "e"), ("service_name", name)]),
        resource: vec![],
        records: vec![record(1, "x")],
    };
    let world = World::with(LogBatch { streams: vec![of("a"), of("b")] }).await;
    let without_app = [
        r#"{detected_level="unknown", env="e", service_name="a"} 1"#,
        r#"{detected_level="unknown", env="e", service_name="b"} 1"#,
    ];
    let query = r#"sum without (app) (count_over_time({app=~".+"}[1m]))"#;
    assert_eq!(world.numbers(query).await, without_app);
    let query = r#"count_over_time({app="a"}[1m]) + ignoring (app) count_over_time({app="b"}[1m])"#;
    assert!(world.numbers(query).await.is_empty());
}

#[tokio::test]
async fn a_limit_keeps_the_wanted_end() {
    let world = World::with(batch()).await;
    for flushed in [false, true] {
        if flushed {
            world.store.flush().await.unwrap();
        }
        for (direction, query, expected) in [
            (Direction::Backward, r#"{env="prod"}"#, vec![9, 8, 7]),
            (Direction::Forward, r#"{app="web"}"#, vec![0, 1, 2]),
            (Direction::Backward, r#"{app="web"} |= "took""#, vec![9, 8, 7]),
        ] {
            let answer = world.range(query, 3, direction).await.unwrap();
            let LogResult::Streams(streams) = answer.result else { panic!("{query}") };
            let times: Vec<i64> = streams
                .iter()
                .flat_map(|stream| &stream.entries)
                .map(|entry| (entry.ts_ns - NOON_NS) / SECOND_NS)
                .collect();
            assert_eq!(times, expected, "{query} flushed={flushed}");
            assert_eq!(answer.stats.entries_returned, 3);
        }
    }
}

#[tokio::test]
async fn a_range_query_counts_by_step() {
    let world = World::with(batch()).await;
    let query = r#"sum by (app) (count_over_time({app="web"}[10s]))"#;
    let LogResult::Matrix(series) = world.range(query, 1, Direction::Backward).await.unwrap().result else {
        panic!("no matrix")
    };
    assert_eq!(series.len(), 1);
    let points: Vec<(i64, f64)> =
        series[0].points.iter().map(|point| (point.ts_ms - NOON_NS / NS_PER_MS, point.value)).collect();
    // Windows are open at their start: the line at 0 s is not in the one that ends at 10 s.
    assert_eq!(points, [(0, 1.0), (10_000, 9.0)]);
}

#[tokio::test]
async fn what_is_parsed_and_sent_beside_stays_apart() {
    let world = World::with(batch()).await;
    let answer = world.range(r#"{app="api"} | logfmt | took != """#, 10, Direction::Backward).await.unwrap();
    let LogResult::Streams(streams) = answer.result else { panic!("no lines") };
    assert_eq!(streams[0].labels, Labels::from_pairs([("app", "api"), ("env", "prod")]));
    assert_eq!(streams[0].entries[0].parsed.get("msg"), Some("done"));
    let answer = world.range(r#"{app="api"} |= "plain""#, 10, Direction::Backward).await.unwrap();
    let LogResult::Streams(streams) = answer.result else { panic!("no lines") };
    assert_eq!(streams[0].entries[0].metadata.get("user_id"), Some("42"));
}

#[tokio::test]
async fn lists_and_sizes() {
    let world = World::with(batch()).await;
    let (engine, tenant) = (&world.engine, Tenant::default());
    let range = TimeRange { start: NOON_NS, end: NOON_NS + 60 * SECOND_NS };
    for flushed in [false, true] {
        if flushed {
            world.store.flush().await.unwrap();
        }
        let labels = engine.log_labels(&tenant, None, range).await.unwrap();
        assert!(labels.contains(&"app".to_owned()) && labels.contains(&"env".to_owned()), "{labels:?}");
        assert_eq!(engine.log_label_values(&tenant, "app", None, range).await.unwrap(), ["api", "web"]);
        let only = engine.log_label_values(&tenant, "app", Some(r#"{app=~"w.*"}"#), range).await.unwrap();
        assert_eq!(only, ["web"]);
        let series = engine.log_series(&tenant, &[r#"{app="api"}"#.to_owned()], range).await.unwrap();
        assert_eq!(series.len(), 1);
        let stats = engine.log_stats(&tenant, r#"{app="web"}"#, range).await.unwrap();
        assert_eq!((stats.streams, stats.entries), (1, 10), "flushed={flushed}");
        let other = Tenant::new("other").unwrap();
        assert!(engine.log_labels(&other, None, range).await.unwrap().is_empty());
    }
}

#[tokio::test]
async fn counting_by_stream_labels_reads_no_line() {
    let world = World::with(batch()).await;
    world.store.flush().await.unwrap();
    let end = NOON_NS + 60 * SECOND_NS;
    let query = r#"sum by (app) (count_over_time({env="prod"}[1m]))"#;
    let answer = world
        .engine
        .logql_range(&Tenant::default(), query, NOON_NS, end, 60_000, 1, Direction::Backward)
        .await
        .unwrap();
    assert_eq!(answer.stats.bytes_read, 0, "{:?}", answer.stats);
    assert_eq!(answer.stats.lines_read, 14);
}

/// Pages without the word are not read.
#[tokio::test]
async fn a_line_filter_reads_only_pages_that_have_its_words() {
    const LINES: i64 = 40_000;
    let records = (0..LINES).map(|at| LogRecord {
        ts_ns: NOON_NS + at * 1_000_000,
        body: if at == LINES / 2 {
            "a rare needle here".into()
        } else {
            format!("ordinary line of work {at}")
        },
        ..LogRecord::default()
    });
    let world = World::with(LogBatch { streams: vec![stream("big", records.collect())] }).await;
    world.store.flush().await.unwrap();
    let answer = world.range(r#"{app="big"} |= "needle""#, 10, Direction::Backward).await.unwrap();
    assert_eq!(answer.stats.entries_returned, 1);
    assert!(answer.stats.lines_read <= 8_192, "{:?}", answer.stats);
}

/// With one place, queries wait for one another and all are answered; none is lost or answered out of turn.
#[tokio::test]
async fn queries_wait_for_a_place() {
    let world = World::with(batch()).await;
    let limits = Limits { concurrency_max: 1, ..Limits::default() };
    let engine = Engine::new(world.store.clone(), Arc::new(SystemClock), limits).unwrap();
    let (end, tenant) = (NOON_NS + 60 * SECOND_NS, Tenant::default());
    let ask =
        || engine.logql_instant(&tenant, r#"count_over_time({app="web"}[1m])"#, end, 1, Direction::Backward);
    let answers = futures::future::join_all((0..8).map(|_| ask())).await;
    assert!(answers.iter().all(Result::is_ok), "{answers:?}");
}

#[tokio::test]
async fn a_full_house_is_said_after_the_time_is_up() {
    let world = World::with(batch()).await;
    let limits =
        Limits { concurrency_max: 1, timeout: std::time::Duration::from_millis(20), ..Limits::default() };
    let engine = Engine::new(world.store.clone(), Arc::new(SystemClock), limits).unwrap();
    let _taken = engine.turns.clone().acquire_owned().await.unwrap();
    let end = NOON_NS + 60 * SECOND_NS;
    let query = r#"count_over_time({app="web"}[1m])"#;
    let refused = engine.logql_instant(&Tenant::default(), query, end, 1, Direction::Backward).await;
    assert!(
        matches!(&refused, Err(QueryError::TooMuch(text)) if text.contains("concurrency")),
        "{refused:?}"
    );
}

#[tokio::test]
async fn wrong_queries_are_named() {
    let world = World::with(batch()).await;
    for (query, says) in [
        (r#"{app="#, "line 1"),
        ("{}", "matcher"),
        (r#"{app="api"} |= "#, "line 1"),
        (r#"rate({app="api"})"#, ""),
    ] {
        let wrong = world.range(query, 10, Direction::Backward).await.unwrap_err();
        assert!(matches!(&wrong, QueryError::Bad(text) if text.contains(says)), "{query}: {wrong:?}");
    }
    let many = world.range(r#"{app="api"}"#, 1_000_000, Direction::Backward).await.unwrap_err();
    assert!(matches!(many, QueryError::Bad(_)), "{many:?}");
    let erring =
        world.range(r#"sum_over_time({app="api"} | json | unwrap msg [1m])"#, 10, Direction::Backward).await;
    assert!(matches!(&erring, Err(QueryError::Bad(text)) if text.contains("pipeline error")), "{erring:?}");
}
