//! Raw parts: lines that came fast lie as they came until they are merged.

use super::parts::{all_rows, rich};
use super::*;
use crate::part::Signal;
use crate::rewrite::RAW_PARTS;

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
    for second in 0..RAW_PARTS as i64 {
        store.write(write(lines("web", &["one"], second))).await.unwrap();
        store.flush().await.unwrap();
    }
    while levels(&store) != [1] {
        tokio::task::yield_now().await;
    }
    assert_eq!(bodies(&store, &LogSelect::all(TimeRange::ALL)).await.len(), RAW_PARTS);
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
    assert!(store.has_raw_parts(1) && !store.has_raw_parts(2));
    assert_eq!(store.merge_raw().await.unwrap().parts, 1);
    assert_eq!(levels(&store), [0, 1]);
    assert_eq!(bodies(&store, &LogSelect::all(TimeRange::ALL)).await, ["much", "small"]);
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
