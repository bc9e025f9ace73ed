//! Raw parts: lines that came fast lie as they came until they are merged.

use super::parts::{all_rows, rich};
use super::*;
use crate::Root;
use crate::part::Signal;
use crate::rewrite::raw_parts;
use futures::FutureExt;

async fn open_raw(dir: &Path) -> Arc<Store> {
    Store::open(Config { raw_from_bytes: 0, ..config(dir) }, clock()).await.unwrap()
}

fn levels(store: &Store) -> Vec<i64> {
    let parts = store.state.read().parts.clone();
    let of_logs = parts.iter().filter(|((_, signal), _)| *signal == Signal::Logs);
    let mut levels: Vec<i64> = of_logs.flat_map(|(_, list)| list).map(|part| part.meta.level).collect();
    levels.sort_unstable();
    levels
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_come_back_from_raw_parts_and_from_what_they_become() {
    let dir = tempfile::tempdir().unwrap();
    let store = open_raw(dir.path()).await;
    for from in [0, 500_000] {
        for batch in rich(from) {
            store.write(write(batch)).await.unwrap();
        }
        let expected = all_rows(&store).await;
        store.flush().await.unwrap();
        assert_eq!(all_rows(&store).await, expected);
    }
    let expected = all_rows(&store).await;
    assert_eq!(levels(&store), [-1, -1]);
    killed(store).await;
    let store = open_raw(dir.path()).await;
    assert_eq!((levels(&store), all_rows(&store).await), (vec![-1, -1], expected.clone()));
    store.compact().await.unwrap();
    assert_eq!((levels(&store), all_rows(&store).await), (vec![1], expected));
}

/// Bodies in JSON and in words get columns, templates and indexes by a look at some of the raw rows.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_raw_parts_become_lies_as_if_they_had_never_been_raw() {
    let mut columns = vec![];
    for raw_from_bytes in [usize::MAX, 0] {
        let dir = tempfile::tempdir().unwrap();
        let config = Config { raw_from_bytes, ..config(dir.path()) };
        let store = Store::open(config, clock()).await.unwrap();
        for part in 0..5 {
            // Numbers are not indexed.
            let letters = |n: usize| -> String {
                n.to_string().bytes().map(|digit| char::from(digit - b'0' + b'a')).collect()
            };
            let line = |n: usize| match n % 2 {
                0 => format!(r#"{{"level":"info","user":"{}","part":{part}}}"#, letters(n)),
                _ => format!("posting account {} took {n}ms", letters(n)),
            };
            let texts: Vec<String> = (0..9_000).map(line).collect();
            let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
            store.write(write(lines("web", &texts, part * 1_000))).await.unwrap();
            store.flush().await.unwrap();
        }
        store.compact().await.unwrap();
        let part = store.state.read().parts.values().flatten().next().cloned().unwrap();
        let index = part.rows_index().await.unwrap();
        columns.push(index.field_names().map(str::to_owned).collect::<Vec<_>>());
        let select = LogSelect { contains: vec!["ccount iiib".into()], ..LogSelect::all(TimeRange::ALL) };
        assert!(index.rows_to_look_at(&select) < index.total() / 2);
        assert_eq!(bodies(&store, &select).await.len(), 5);
    }
    assert!(columns[0].contains(&"json.user".to_owned()) && columns[0].contains(&"body_values".to_owned()));
    assert_eq!(columns[0], columns[1]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_raw_parts_are_merged_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let store = open_raw(dir.path()).await;
    for second in 0..raw_parts(Signal::Logs) as i64 {
        store.write(write(lines("web", &["one"], second))).await.unwrap();
        store.flush().await.unwrap();
    }
    while levels(&store) != [1] {
        tokio::task::yield_now().await;
    }
    assert_eq!(bodies(&store, &LogSelect::all(TimeRange::ALL)).await.len(), raw_parts(Signal::Logs));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_raw_part_is_merged_and_others_are_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    store.write(write(lines("web", &["small"], 0))).await.unwrap();
    store.flush().await.unwrap();
    killed(store).await;
    let store = open_raw(dir.path()).await;
    store.end_tasks();
    store.write(write(lines("web", &["much"], 1))).await.unwrap();
    store.flush().await.unwrap();
    assert_eq!(levels(&store), [-1, 0]);
    assert!(store.has_raw_parts(|_| 1) && !store.has_raw_parts(|_| 2));
    assert_eq!(store.merge_raw().await.unwrap().parts, 1);
    assert_eq!(levels(&store), [0, 1]);
    assert_eq!(bodies(&store, &LogSelect::all(TimeRange::ALL)).await, ["much", "small"]);
}

/// Their row groups are shorter than the pages by which the few lines that have a needle are read.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn needles_are_found_in_every_row_group_of_a_raw_part() {
    let dir = tempfile::tempdir().unwrap();
    let store = open_raw(dir.path()).await;
    store.end_tasks();
    let texts: Vec<String> = (0..10_000).map(|n| format!("request {n}.")).collect();
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    for (at, texts) in texts.chunks(200).enumerate() {
        store.write(write(lines("web", texts, -20_000 + 200 * at as i64))).await.unwrap();
    }
    store.flush().await.unwrap();
    assert_eq!(levels(&store), [-1]);
    for needle in texts.iter().step_by(999) {
        let select = LogSelect { contains: vec![(*needle).into()], ..LogSelect::all(TimeRange::ALL) };
        assert_eq!(bodies(&store, &select).await, [*needle]);
    }
    let all = LogSelect { contains: vec!["request".into()], ..LogSelect::all(TimeRange::ALL) };
    assert_eq!(bodies(&store, &all).await.len(), texts.len());
}

/// Fewer of them are looked at and read at a time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn long_lines_come_back_from_raw_parts_and_from_what_they_become() {
    let dir = tempfile::tempdir().unwrap();
    let store = open_raw(dir.path()).await;
    store.end_tasks();
    let long = |n: usize| match n % 3 {
        0 => format!("{n} {}", "word ".repeat(100_000)),
        1 => format!(r#"{{"n":{n},"text":"{}"}}"#, "long ".repeat(200_000)),
        _ => format!("short {n}"),
    };
    let mut expected: Vec<String> = (0..60).map(long).collect();
    for (from, piece) in expected.chunks(30).enumerate() {
        let piece: Vec<&str> = piece.iter().map(String::as_str).collect();
        store.write(write(lines("web", &piece, from as i64 * 30))).await.unwrap();
        store.flush().await.unwrap();
    }
    expected.sort();
    let all = LogSelect::all(TimeRange::ALL);
    assert!(bodies(&store, &all).await == expected, "raw");
    store.merge_raw().await.unwrap();
    assert_eq!(levels(&store), [1]);
    assert!(bodies(&store, &all).await == expected, "merged");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flush_does_not_wait_for_a_merge() {
    let dir = tempfile::tempdir().unwrap();
    let store = open_raw(dir.path()).await;
    store.write(write(lines("web", &["one"], 0))).await.unwrap();
    let _merging = store.rewriting.lock().await;
    store.flush().await.unwrap();
    assert_eq!(levels(&store), [-1]);
}

/// What is told of spans without their rows, in words.
async fn told_of_spans(store: &Store) -> Vec<String> {
    let snapshot = store.snapshot(&Tenant::default()).await.unwrap();
    let facts = snapshot.trace_facts(TimeRange::ALL, (0, 1)).await.unwrap().unwrap();
    let mut told = vec![];
    for fact in facts.slices.collect::<Vec<_>>().await.concat() {
        let root = match fact.root {
            Root::One(number) => format!("{:?}", facts.roots.get(number)),
            other => format!("{other:?}"),
        };
        told.push(format!("{:?} {} {} {} {root}", fact.id, fact.start_ms, fact.end_ms, fact.spans));
    }
    let names = snapshot.span_names(TimeRange::ALL).await.unwrap().unwrap();
    told.push(format!("{:?} {:?}", names.operations, names.of_resources));
    assert!(snapshot.warnings().is_empty(), "{:?}", snapshot.warnings());
    told
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn spilled_spans_answer_as_those_in_memory_and_merged_ones() {
    let dir = tempfile::tempdir().unwrap();
    let store = open_raw(dir.path()).await;
    store.end_tasks();
    let all = SpanSelect::all(TimeRange::ALL);
    let selects = [
        SpanSelect { service: Some("cart".into()), ..all.clone() },
        SpanSelect { name: Some("GET /3".into()), ..all.clone() },
        SpanSelect { duration_ns_min: Some(100_000), errors_only: true, ..all.clone() },
        SpanSelect { range: TimeRange { start: NOON_NS + 20_000, end: NOON_NS + 50_000 }, ..all.clone() },
        SpanSelect { attributes: vec![("code".into(), "40".into())], ..all.clone() },
        SpanSelect { trace_ids: vec![[5; 16], [7; 16]], ..all.clone() },
    ];
    let told = async || {
        let mut counts = vec![];
        for select in &selects {
            counts.push(span_count(&store, select).await);
        }
        (counts, told_of_spans(&store).await, all_rows(&store).await)
    };
    for from in [0, 3_000, 500] {
        for batch in rich(from) {
            store.write(write(batch)).await.unwrap();
        }
        let in_memory = told().await;
        assert!(in_memory.0.iter().all(|count| *count > 0), "{:?}", in_memory.0);
        store.flush().await.unwrap();
        assert_eq!(told().await, in_memory);
    }
    let spilled = told().await;
    store.compact().await.unwrap();
    assert_eq!(told().await, spilled);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_piece_of_spilled_spans_is_named_and_is_not_merged() {
    for ending in [".arrows", ".idx"] {
        let dir = tempfile::tempdir().unwrap();
        let store = open_raw(dir.path()).await;
        for service in ["damaged", "whole"] {
            store.write(write(spans(service, 3))).await.unwrap();
            store.flush().await.unwrap();
        }
        killed(store).await;
        let first = &super::damage::parts(dir.path(), ending)[0];
        let mut bytes = std::fs::read(first).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        std::fs::write(first, &bytes).unwrap();
        let store = open_raw(dir.path()).await;
        store.end_tasks();
        for _ in 0..2 {
            let snapshot = store.snapshot(&Tenant::default()).await.unwrap();
            let all = SpanSelect::all(TimeRange::ALL);
            let rows = snapshot.spans(&all, &SpanColumns::named(&["service"])).await.unwrap();
            let rows: Vec<RecordBatch> = rows.try_collect().await.unwrap();
            assert_eq!(rows.iter().map(RecordBatch::num_rows).sum::<usize>(), 3, "{ending}");
            assert_eq!(snapshot.warnings().len(), 1, "{ending}: {:?}", snapshot.warnings());
            assert_eq!(store.compact().await.unwrap().parts, 0);
        }
        assert!(first.exists());
    }
}

#[tokio::test]
async fn a_flush_takes_what_was_asked_for_before_it() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(Config { flush_bytes: 1 << 10, ..config(dir.path()) }, clock()).await.unwrap();
    store.end_tasks();
    let full = || lines("web", &["a line of a memtable that is full by it"; 64], 0);
    store.write(write(full())).await.unwrap();
    store.write(write(full())).await.unwrap();
    store.flush().await.unwrap();
    assert!(store.flush_now.notified().now_or_never().is_none());
    store.write(write(full())).await.unwrap();
    assert!(store.flush_now.notified().now_or_never().is_some());
}
