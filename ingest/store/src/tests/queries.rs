//! Selections: the same answer from memory, from parts, and from both.

use super::*;
use crate::{Allowance, ReadError, SeriesInfo};
use arrow::array::{Array, ArrayRef};
use arrow::datatypes::{DataType, Int32Type, TimestampNanosecondType};
use model::Match;

/// Runs `read` with the records in memory and again with them in parts, in raw ones, and in what these are merged to.
async fn in_memory_and_in_parts<F, T>(batches: Vec<Batch>, read: F, expected: T)
where
    F: AsyncFn(&Store) -> T,
    T: PartialEq + std::fmt::Debug,
{
    for raw_from_bytes in [usize::MAX, 0] {
        let dir = tempfile::tempdir().unwrap();
        let config = Config { raw_from_bytes, ..config(dir.path()) };
        let store = Store::open(config, clock()).await.unwrap();
        for batch in &batches {
            store.write(write(batch.clone())).await.unwrap();
        }
        assert_eq!(read(&store).await, expected, "in memory");
        store.flush().await.unwrap();
        assert_eq!(read(&store).await, expected, "in parts, raw from {raw_from_bytes}");
        store.compact().await.unwrap();
        assert_eq!(read(&store).await, expected, "in merged parts, raw from {raw_from_bytes}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn matchers_choose_series() {
    for (name, op, value, expected) in [
        ("__name__", Match::Equal, "up", 30),
        ("__name__", Match::NotEqual, "up", 20),
        ("instance", Match::Regex, "i[01]", 40),
        ("instance", Match::NotRegex, "i[01]", 10),
        ("absent", Match::Equal, "", 50),
        ("absent", Match::NotEqual, "", 0),
    ] {
        let batches = vec![samples("up", 0..3, 0..10), samples("down", 0..2, 0..10)];
        let matcher = Matcher::new(name, op, value).unwrap();
        let read = async |store: &Store| read_samples(store, vec![matcher.clone()]).await.values.len();
        in_memory_and_in_parts(batches, read, expected).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_snapshot_says_where_few_series_are_read_of_what_is_in_memory() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    let few = async |series| {
        let select = SeriesSelect { matchers: vec![Matcher::equal("__name__", "up")], range: TimeRange::ALL };
        store.snapshot(&Tenant::default()).await.unwrap().selects_at_most(&select, series)
    };
    store.write(write(samples("up", 0..3, 0..10))).await.unwrap();
    store.write(write(samples("down", 0..3, 0..10))).await.unwrap();
    assert!(few(3).await && !few(2).await);
    store.flush().await.unwrap();
    assert!(!few(100).await, "the part's index was not read yet");
    read_samples(&store, vec![]).await;
    store.write(write(samples("up", 0..2, 10..20))).await.unwrap();
    // The memtable knows the third series as well, though it has no sample of it.
    assert!(few(6).await && !few(5).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ranges_include_both_ends() {
    let read = async |store: &Store| {
        let snapshot = store.snapshot(&Tenant::default()).await.unwrap();
        let range = TimeRange { start: NOON_MS + 2000, end: NOON_MS + 4000 };
        let block = snapshot.samples(&SeriesSelect { matchers: vec![], range }).await.unwrap();
        block.values
    };
    in_memory_and_in_parts(vec![samples("up", 0..1, 0..10)], read, vec![2.0, 3.0, 4.0]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_last_lines_of_a_place_are_found_behind_those_of_another() {
    // One stream, whose resource says where a line is from.
    let stream = |service: &str, from_s: i64| {
        let records = (0..3).map(|at| LogRecord {
            ts_ns: NOON_NS + (from_s + at) * 1_000_000_000,
            body: format!("{service} {at}"),
            ..LogRecord::default()
        });
        let resource = vec![("service.name".to_owned(), Value::from(service))];
        LogStream { labels: Labels::from_pairs([("app", "web")]), resource, records: records.collect() }
    };
    let batch = Batch::Logs(LogBatch { streams: vec![stream("a", 0), stream("b", 10)] });
    let select = LogSelect {
        places: vec![("service".to_owned(), "a".to_owned())],
        limit: Some(1),
        newest_first: true,
        ..LogSelect::all(TimeRange::ALL)
    };
    let read = async |store: &Store| bodies(store, &select).await.contains(&"a 2".to_owned());
    in_memory_and_in_parts(vec![batch], read, true).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn words_ids_and_streams_choose_lines() {
    let batches =
        || vec![lines("web", &["GET /cart 500", "GET /home 200"], 0), lines("db", &["slow query"], 5)];
    let select = LogSelect { contains: vec!["/cart".into()], ..LogSelect::all(TimeRange::ALL) };
    let read = async |store: &Store| bodies(store, &select).await.contains(&"GET /cart 500".to_owned());
    in_memory_and_in_parts(batches(), read, true).await;

    let select = LogSelect { matchers: vec![Matcher::equal("app", "db")], ..LogSelect::all(TimeRange::ALL) };
    in_memory_and_in_parts(
        batches(),
        async |store: &Store| bodies(store, &select).await,
        vec!["slow query".to_owned()],
    )
    .await;

    let select = LogSelect { trace_id: Some([2; 16]), ..LogSelect::all(TimeRange::ALL) };
    in_memory_and_in_parts(
        batches(),
        async |store: &Store| bodies(store, &select).await,
        vec!["GET /home 200".to_owned()],
    )
    .await;

    let select = LogSelect::all(TimeRange::ALL);
    let streams = async |store: &Store| {
        let snapshot = store.snapshot(&Tenant::default()).await.unwrap();
        let streams = snapshot.log_streams(&select).await.unwrap();
        streams
            .iter()
            .map(|stream| (stream.labels.get("app").unwrap().to_owned(), stream.records))
            .collect::<Vec<_>>()
    };
    in_memory_and_in_parts(batches(), streams, vec![("db".to_owned(), 1), ("web".to_owned(), 2)]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_word_that_no_line_has_finds_nothing_in_many_pages() {
    let many: Vec<String> = (0..20_000).map(|i| format!("request {i} took {}ms", i % 977)).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    for (word, expected) in [("request 19999 ", 1), ("took 976ms", 20), ("nowhere", 0), ("quest 12345", 1)] {
        let select = LogSelect { contains: vec![word.into()], ..LogSelect::all(TimeRange::ALL) };
        let read = async |store: &Store| {
            bodies(store, &select).await.iter().filter(|body| body.contains(word)).count()
        };
        in_memory_and_in_parts(vec![lines("web", &many, 0)], read, expected).await;
    }
}

/// Lines that are taken apart in parts, and one that is not.
fn json_lines() -> Batch {
    let bodies: Vec<String> = (0..40)
        .map(|i| format!(r#"{{"level":"{}","user":"u-{i}","ms":{i}.5}}"#, ["info", "warn"][i % 2]))
        .chain(["u-7 in plain words".to_owned()])
        .collect();
    lines("web", &bodies.iter().map(String::as_str).collect::<Vec<_>>(), 0)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn strings_choose_lines_of_json() {
    for (text, expected) in [
        (r#""user":"u-7""#, 1),
        (r#""user":"u-1"#, 11),
        ("u-7", 2),
        (r#"warn","user":"u-3"#, 6),
        (r#"7.5}"#, 4),
        (r#""level":"#, 40),
        (r#""user": "u-7""#, 0),
    ] {
        let select = LogSelect { contains: vec![text.into()], ..LogSelect::all(TimeRange::ALL) };
        let read = async |store: &Store| bodies(store, &select).await.len();
        in_memory_and_in_parts(vec![json_lines()], read, expected).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn any_part_of_a_line_is_found_whatever_column_it_is_in() {
    let of = |i: usize| match i % 4 {
        0 => format!(r#"{{"level":"info","msg":"order {i} placed","id":"{:032x}","ms":{i}.5}}"#, i * 7_919),
        1 => format!(
            r#"{{"level":"warn","msg":"cart-{i} kept","error":{{"kind":"Timeout","tries":[{i},2]}}}}"#
        ),
        2 => format!("order {i} in plain words, {:032x}", i * 104_729),
        _ => format!(r#"{{"msg":"placed","level":"error","note":"{}"}}"#, "word ".repeat(i % 30)),
    };
    // More than one page, of three shapes and of none.
    let bodies: Vec<String> = (0..6_000).map(of).collect();
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    for piece in bodies.chunks(200) {
        let piece: Vec<&str> = piece.iter().map(String::as_str).collect();
        store.write(write(lines("web", &piece, 0))).await.unwrap();
    }
    store.flush().await.unwrap();
    let mut needles: Vec<&str> = vec!["placed", "Timeout", "ord", "\"note\":\"word word \"", "absent"];
    for line in [&bodies[4_400], &bodies[1], &bodies[5_002], &bodies[5_999]] {
        for from in (0..line.len()).step_by(5) {
            needles.extend([3, 9, 40, 200].map(|len| &line[from..line.len().min(from + len)]));
        }
    }
    for needle in needles {
        let select = LogSelect { contains: vec![needle.into()], ..LogSelect::all(TimeRange::ALL) };
        let found = super::bodies(&store, &select).await.len();
        assert_eq!(found, bodies.iter().filter(|body| body.contains(needle)).count(), "{needle:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_without_attributes_have_none_from_parts_as_well() {
    let Batch::Logs(mut batch) = lines("web", &["one", "two"], 0) else { panic!("no lines") };
    batch.streams[0].records.iter_mut().for_each(|record| record.attributes.clear());
    let read = async |store: &Store| {
        let batches = read_logs(store, &LogSelect::all(TimeRange::ALL)).await;
        let rows = batches.iter().map(|batch| {
            let entries = |name: &str| batch.column_by_name(name).unwrap().as_map().entries().len();
            (batch.num_rows(), entries("attributes"), entries("resource"))
        });
        rows.fold((0, 0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1, sum.2 + one.2))
    };
    in_memory_and_in_parts(vec![Batch::Logs(batch)], read, (2, 0, 0)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn times_come_back_to_the_nanosecond_whatever_unit_they_lie_in() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    let mut written = vec![];
    let read = async || {
        let batches = read_logs(&store, &LogSelect::all(TimeRange::ALL)).await;
        let times = batches.iter().flat_map(|batch| {
            let times = batch.column_by_name("ts").unwrap().as_primitive::<TimestampNanosecondType>();
            times.values().to_vec()
        });
        let mut times: Vec<i64> = times.collect();
        times.sort_unstable();
        times
    };
    for step in [1_000_000, 1_000, 1] {
        let Batch::Logs(mut batch) = lines("web", &["one", "two", "three"], 0) else { panic!("no lines") };
        for (at, record) in batch.streams[0].records.iter_mut().enumerate() {
            record.ts_ns = NOON_NS + at as i64 * 7 * step;
            written.push(record.ts_ns);
        }
        written.sort_unstable();
        store.write(write(Batch::Logs(batch))).await.unwrap();
        store.flush().await.unwrap();
        assert_eq!(read().await, written, "a part of steps of {step} ns");
    }
    let until = LogSelect::all(TimeRange { start: NOON_NS + 7, end: NOON_NS + 7_000 });
    let within = read_logs(&store, &until).await.iter().map(RecordBatch::num_rows).sum::<usize>();
    assert_eq!(within, written.iter().filter(|ts| until.range.contains(**ts)).count());
    store.compact().await.unwrap();
    assert_eq!(read().await, written, "merged");
}

/// Values of `json_labels` by body and label; of a body that told none, the body.
fn told(batches: &[RecordBatch]) -> Vec<String> {
    let mut out = vec![];
    for batch in batches {
        let plain = |column: &ArrayRef| arrow::compute::cast(column, &DataType::Utf8).unwrap();
        let text = |name: &str| batch.column_by_name(name).map(plain);
        let known = batch.column_by_name(crate::schema::JSON_KNOWN).map(|known| known.as_boolean());
        for row in 0..batch.num_rows() {
            let value = |name: &str| {
                let column = text(name)?;
                Some(if column.is_valid(row) {
                    column.as_string::<i32>().value(row).to_owned()
                } else {
                    String::new()
                })
            };
            let value = |name: &str| value(name).unwrap_or("-".into());
            match known.is_some_and(|known| known.value(row)) {
                true => out.push(format!("{}|{}|{}", value("json:user"), value("json:nope"), value("body"))),
                false => out.push(value("body")),
            }
        }
    }
    out.sort();
    out
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn labels_come_without_their_bodies() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    store.write(write(json_lines())).await.unwrap();
    let select = LogSelect {
        json_labels: vec!["user".into(), "nope".into()],
        contains: vec!["u-7".into()],
        ..LogSelect::all(TimeRange::ALL)
    };
    assert_eq!(told(&read_logs(&store, &select).await)[1], r#"{"level":"warn","user":"u-7","ms":7.5}"#);
    store.flush().await.unwrap();
    assert_eq!(told(&read_logs(&store, &select).await), ["u-7 in plain words", "u-7||"]);
    // Of all lines the values lie coded, and come so.
    let select = LogSelect { json_labels: vec!["level".into()], ..LogSelect::all(TimeRange::ALL) };
    let batches = read_logs(&store, &select).await;
    let levels = batches[0].column_by_name("json:level").unwrap();
    let levels = levels.as_dictionary_opt::<Int32Type>().expect("a dictionary");
    assert_eq!(levels.values().as_string::<i32>().iter().flatten().collect::<Vec<_>>(), ["info", "warn"]);
    let counts = [0, 1].map(|code| levels.keys().iter().filter(|key| *key == Some(code)).count());
    assert_eq!((counts, levels.null_count()), ([20, 20], 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lines_that_are_no_objects_are_not_put_together_for_labels() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    let bodies: Vec<String> = (0..40)
        .map(|i| match i % 4 {
            0 => format!(r#"{{"user":"u-{i}"}}"#),
            _ => format!("request {i} took {i}ms"),
        })
        .chain(["  {broken".to_owned()])
        .collect();
    let bodies: Vec<&str> = bodies.iter().map(String::as_str).collect();
    store.write(write(lines("web", &bodies, 0))).await.unwrap();
    store.flush().await.unwrap();
    let select = LogSelect { json_labels: vec!["user".into()], ..LogSelect::all(TimeRange::ALL) };
    let told = told(&read_logs(&store, &select).await);
    assert_eq!(told.iter().filter(|line| line.is_empty()).count(), 30, "{told:?}");
    assert_eq!(told.iter().filter(|line| line.starts_with("u-")).count(), 10, "{told:?}");
    assert!(told.contains(&"  {broken".to_owned()), "{told:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn attributes_choose_spans() {
    let with = |attributes: Vec<(&str, Value)>| {
        let Batch::Spans(mut batch) = spans("cart", 3) else { panic!("no spans") };
        let own: Vec<(String, Value)> =
            attributes.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        let span = &mut batch.resources[0].spans[0];
        span.attributes = span.attributes.unpacked().into_iter().chain(own).collect();
        Batch::Spans(batch)
    };
    let batches = || {
        vec![
            with(vec![("user.id", Value::from("u-1"))]),
            with(vec![("user.id", Value::Json(r#"["u-1","u-2"]"#.into()))]),
            with(vec![("user.id", Value::from("u-2"))]),
            spans("db", 200),
        ]
    };
    for (asked, expected) in [
        (vec![("user.id", "u-1")], 2),
        (vec![("user.id", "u-2"), ("http.response.status_code", "200")], 2),
        (vec![("user.id", "u-3")], 1),
        (vec![("absent", "x")], 0),
    ] {
        let attributes = asked.into_iter().map(|(name, text)| (name.to_owned(), text.to_owned())).collect();
        let select = SpanSelect { attributes, ..SpanSelect::all(TimeRange::ALL) };
        in_memory_and_in_parts(batches(), async |store: &Store| span_count(store, &select).await, expected)
            .await;
    }
}

/// In one batch, in a later one, and in another part until it is merged with the first; what differs is another row.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_span_that_came_twice_is_there_once() {
    let all = SpanSelect::all(TimeRange::ALL);
    let Batch::Spans(mut ended) = spans("cart", 3) else { panic!() };
    let own = &mut ended.resources[0].spans;
    own.extend_from_within(..);
    own[0].duration_ns += 1;
    own[1].attributes = vec![("http.response.status_code".into(), Value::from("200"))].into();
    let other = |change: fn(&mut Span)| {
        let Batch::Spans(mut batch) = spans("cart", 1) else { panic!() };
        change(&mut batch.resources[0].spans[0]);
        Batch::Spans(batch)
    };
    let batches = || {
        vec![
            spans("cart", 3),
            spans("cart", 3),
            Batch::Spans(ended.clone()),
            other(|span| span.kind = SpanKind::Client),
            other(|span| span.name = "GET /2".into()),
            other(|span| span.start_ns += 1),
            other(|span| span.status = StatusCode::Error),
            other(|span| span.events.clear()),
            other(|span| span.events[0].name = "begun again".into()),
            other(|span| span.events[0].attributes = vec![("n".into(), Value::Int(1))]),
            other(|span| span.events[0].attributes = vec![("n".into(), Value::from("1"))]),
            other(|span| span.parent_span_id = Some([9; 8])),
        ]
    };
    in_memory_and_in_parts(batches(), async |store: &Store| span_count(store, &all).await, 14).await;
    for raw_from_bytes in [usize::MAX, 0] {
        let dir = tempfile::tempdir().unwrap();
        let config = Config { raw_from_bytes, ..config(dir.path()) };
        let store = Store::open(config, clock()).await.unwrap();
        store.end_tasks();
        for batch in batches().into_iter().chain(batches()) {
            store.write(write(batch)).await.unwrap();
            store.flush().await.unwrap();
        }
        store.compact().await.unwrap();
        assert_eq!(span_count(&store, &all).await, 14, "raw from {raw_from_bytes}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn traces_are_found_by_id() {
    let select = SpanSelect { trace_ids: vec![[3; 16]], ..SpanSelect::all(TimeRange::ALL) };
    in_memory_and_in_parts(
        vec![spans("cart", 9), spans("db", 9)],
        async |store: &Store| span_count(store, &select).await,
        2,
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tenants_do_not_see_each_other() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    let other = Tenant::new("other").unwrap();
    for batch in [samples("up", 0..3, 0..10), lines("web", &["theirs"], 0), spans("cart", 3)] {
        store.write(Write { tenant: other.clone(), batch, origin: None }).await.unwrap();
    }
    for _ in 0..2 {
        assert!(read_samples(&store, vec![]).await.labels.is_empty());
        assert!(bodies(&store, &LogSelect::all(TimeRange::ALL)).await.is_empty());
        assert_eq!(span_count(&store, &SpanSelect::all(TimeRange::ALL)).await, 0);
        let theirs = store.snapshot(&other).await.unwrap();
        assert_eq!(
            theirs
                .series(&SeriesSelect { matchers: vec![], range: TimeRange::ALL }, &Unbounded)
                .await
                .unwrap()
                .len(),
            3
        );
        store.flush().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn words_narrow_to_the_pages_that_have_them() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    // Two pages and a bit; each rare word is in one line.
    let mut texts: Vec<String> = (0..10_000).map(|n| format!("request {n} done in 3ms")).collect();
    texts[100] = "Payment TIMEOUT for card".into();
    texts[9_000] = r#"{"msg":"payment refused","kind":"Timeouts"}"#.into();
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    for (at, texts) in texts.chunks(200).enumerate() {
        store.write(write(lines("a", texts, -20_000 + 200 * at as i64))).await.unwrap();
    }
    store.flush().await.unwrap();
    let word = |word: &str| WordQuery::Word(word.into());
    let read = async |query: WordQuery| {
        let select = LogSelect { words: vec![query], ..LogSelect::all(TimeRange::ALL) };
        bodies(&store, &select).await.len()
    };
    let page = crate::rows::part::LOG_PAGE_ROWS;
    assert_eq!(read(word("timeout")).await, page, "one page has it");
    assert_eq!(read(word("nowhere")).await, 0);
    assert_eq!(read(word("Payment")).await, page + 10_000 - 2 * page);
    assert_eq!(read(WordQuery::Prefix("timeo".into())).await, page + 10_000 - 2 * page);
    assert_eq!(read(WordQuery::Phrase(vec!["payment".into(), "timeout".into()])).await, page);
    assert_eq!(read(WordQuery::Any(vec![word("timeout"), word("nowhere")])).await, page);
    assert_eq!(read(WordQuery::All(vec![word("timeout"), word("refused")])).await, 0);
    assert_eq!(read(WordQuery::Not(Box::new(word("request")))).await, 10_000);
    assert_eq!(read(word("4711")).await, 10_000, "numbers are in no index");
}

/// A memtable that takes up the series of the one before it answers as if it did not.
#[tokio::test]
async fn series_that_go_on_after_a_flush_are_those_of_before() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    let select = SeriesSelect { matchers: vec![Matcher::equal("__name__", "up")], range: TimeRange::ALL };
    store.write(write(samples("up", 0..40, 0..2))).await.unwrap();
    let of_series = store.memory_bytes() - 80 * 16;
    store.flush().await.unwrap();
    let kept = store.memory_bytes();
    assert!(kept > 0 && kept < of_series, "the labels stay and the samples go: {kept} of {of_series}");
    // Some go on, some end, some are new, out of their order.
    store.write(write(samples("up", 20..60, 2..4))).await.unwrap();
    store.write(write(samples("down", 0..3, 2..4))).await.unwrap();
    let tenant = Tenant::default();
    for _ in 0..2 {
        let snapshot = store.snapshot(&tenant).await.unwrap();
        let found = snapshot.samples(&select).await.unwrap();
        assert_eq!(found.labels.len(), 60);
        assert!(found.labels.iter().map(|labels| labels.get("instance").unwrap()).is_sorted());
        assert_eq!(found.values.len(), 160);
        let late =
            SeriesSelect { range: TimeRange { start: NOON_MS + 2_000, end: i64::MAX }, ..select.clone() };
        assert_eq!(snapshot.series(&late, &Unbounded).await.unwrap().len(), 40);
        assert_eq!(snapshot.label_values("instance", &late, &Unbounded).await.unwrap().len(), 40);
        store.flush().await.unwrap();
    }
    // Another tenant's turn: nothing came of this one since the last flush, and its series are forgotten.
    let before = store.memory_bytes();
    let other = Tenant::new("other").unwrap();
    store.write(Write { tenant: other, ..write(samples("up", 0..1, 0..1)) }).await.unwrap();
    store.flush().await.unwrap();
    assert!(store.memory_bytes() < before / 10);
}

/// Counts what is taken, up to a limit.
struct Purse {
    taken: AtomicI64,
    most: i64,
}

impl Allowance for Purse {
    fn take(&self, bytes: usize) -> Result<(), ReadError> {
        let taken = self.taken.fetch_add(bytes as i64, Ordering::Relaxed) + bytes as i64;
        if taken > self.most { Err(ReadError::TooMuch("empty".into())) } else { Ok(()) }
    }

    fn give_back(&self, bytes: usize) {
        self.taken.fetch_sub(bytes as i64, Ordering::Relaxed);
    }
}

/// Of a list over parts, deletions and memory stays taken what it holds, and one that may not grow ends.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lists_of_series_take_of_an_allowance() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    let tenant = Tenant::default();
    let all = SeriesSelect { matchers: vec![], range: TimeRange::ALL };
    for hour in 0..3 {
        store.write(write(samples("up", 0..5_000, hour * 3600..hour * 3600 + 2))).await.unwrap();
        if hour < 2 {
            store.flush().await.unwrap();
        }
    }
    let gone = vec![vec![Matcher::new("instance", Match::Regex, "i1.*").unwrap()]];
    store.delete_series(&tenant, gone, TimeRange { start: i64::MIN, end: NOON_MS + 5_000 }).await.unwrap();
    let snapshot = store.snapshot(&tenant).await.unwrap();
    let purse = |most| Purse { taken: AtomicI64::new(0), most };
    let whole = purse(i64::MAX);
    let found = snapshot.series(&all, &whole).await.unwrap();
    assert_eq!(found.len(), 5_000);
    let held: usize = found.iter().map(SeriesInfo::bytes).sum();
    assert_eq!(whole.taken.load(Ordering::Relaxed), held as i64);
    for (most, has) in [(held as i64 / 4, false), (held as i64 * 3, true)] {
        assert_eq!(snapshot.series(&all, &purse(most)).await.is_ok(), has);
        assert_eq!(snapshot.label_values("instance", &all, &purse(most)).await.is_ok(), has);
    }
    let names = purse(i64::MAX);
    assert_eq!(snapshot.label_names(&all, &names).await.unwrap().len(), 2);
    let left = names.taken.load(Ordering::Relaxed);
    assert!((1..200).contains(&left), "two names: {left}");
}
