use super::*;
use crate::{StreamRetention, config};
use model::{JudgeLog, JudgedLog, LogQuery};

/// `app`, or `app text`.
fn read(query: &str) -> Result<LogQuery, String> {
    #[derive(Debug)]
    struct Holds(String);
    impl JudgeLog for Holds {
        fn passes(&self, record: &JudgedLog<'_>) -> bool {
            record.body.contains(&self.0)
        }
    }
    let (app, text) = query.split_once(' ').map_or((query, None), |(app, text)| (app, Some(text.to_owned())));
    let judge = text.map(|text| -> Arc<dyn JudgeLog> { Arc::new(Holds(text)) });
    Ok(LogQuery { matchers: vec![Matcher::equal("app", app)], judge })
}

async fn open_with(
    dir: &Path,
    clock: &Arc<TestClock>,
    change: impl FnOnce(&mut config::Config),
) -> Arc<Store> {
    let mut config = config(dir);
    config.read_log_query = read;
    config.delete_cancel_period = Duration::from_secs(60);
    change(&mut config);
    Store::open(config, clock.clone()).await.unwrap()
}

async fn left(store: &Store) -> Vec<String> {
    bodies(store, &LogSelect::all(TimeRange::ALL)).await
}

fn seconds(from: i64, to: i64) -> TimeRange {
    TimeRange { start: NOON_NS + from * 1_000_000_000, end: NOON_NS + to * 1_000_000_000 }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn deleted_lines_stay_hidden_and_go_when_it_can_not_be_taken_back() {
    let dir = tempfile::tempdir().unwrap();
    let (tenant, clock) = (Tenant::default(), clock());
    let mut store = open_with(dir.path(), &clock, |_| ()).await;
    store.write(write(lines("a", &["one", "two"], 0))).await.unwrap();
    store.flush().await.unwrap();
    store.write(write(lines("a", &["three", "two again"], 10))).await.unwrap();
    store.write(write(lines("b", &["b two"], 0))).await.unwrap();
    let before = store.snapshot(&tenant).await.unwrap();
    store.delete_logs(&tenant, "a two", TimeRange::ALL).await.unwrap();
    clock.0.fetch_add(30_000_000_000, Ordering::Relaxed);
    store.delete_logs(&tenant, "a", seconds(0, 0)).await.unwrap();
    assert_eq!(left(&store).await, ["b two", "three"]);
    let whole = before.logs(&LogSelect::all(TimeRange::ALL), &LogColumns::all()).await.unwrap();
    let whole: Vec<RecordBatch> = whole.try_collect().await.unwrap();
    assert_eq!(whole.iter().map(RecordBatch::num_rows).sum::<usize>(), 5, "a snapshot stays as it was");
    drop(before);
    killed(store).await;
    store = open_with(dir.path(), &clock, |_| ()).await;
    assert_eq!(left(&store).await, ["b two", "three"], "after a restart");
    // Written after, at times that were deleted.
    store.write(write(lines("a", &["two later"], 0))).await.unwrap();
    store.flush().await.unwrap();
    assert_eq!(left(&store).await, ["b two", "three", "two later"]);

    // One deletion stands by now, the other may still be taken back: its lines are hidden in the rewritten part too.
    clock.0.fetch_add(40_000_000_000, Ordering::Relaxed);
    store.carry_out_log_deletions().await.unwrap();
    assert_eq!(left(&store).await, ["b two", "three", "two later"]);
    let processed =
        || store.log_deletions(&tenant).iter().map(|deletion| deletion.processed).collect::<Vec<_>>();
    assert_eq!(processed(), [true, false]);
    let second = store.log_deletions(&tenant)[1].request_id.clone();
    let rows = |store: &Store| -> i64 {
        store.state.read().parts.values().flatten().map(|part| part.meta.rows).sum()
    };
    assert_eq!(rows(&store), 4);
    killed(store).await;
    store = open_with(dir.path(), &clock, |_| ()).await;
    assert_eq!(left(&store).await, ["b two", "three", "two later"], "after a restart");
    let first = store.log_deletions(&tenant)[0].request_id.clone();
    assert!(matches!(store.cancel_log_deletion(&tenant, &first).await, Err(crate::CancelError::TooLate)));
    assert!(matches!(store.cancel_what_is_left(&tenant, &first).await, Err(crate::CancelError::TooLate)));
    store.cancel_log_deletion(&tenant, &second).await.unwrap();
    assert_eq!(left(&store).await, ["b two", "one", "three", "two later"]);
    let other = Tenant::new("other").unwrap();
    assert!(store.log_deletions(&other).is_empty());
    assert_eq!(store.compact().await.unwrap().rows, 4);
    assert_eq!(left(&store).await, ["b two", "one", "three", "two later"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_late_is_taken_back_by_force_alone() {
    let dir = tempfile::tempdir().unwrap();
    let (tenant, clock) = (Tenant::default(), clock());
    let store = open_with(dir.path(), &clock, |_| ()).await;
    store.end_tasks();
    store.write(write(lines("a", &["one", "two"], 0))).await.unwrap();
    let id = store.delete_logs(&tenant, "a two", TimeRange::ALL).await.unwrap();
    clock.0.fetch_add(60_000_000_000, Ordering::Relaxed);
    let late = store.cancel_log_deletion(&tenant, &id).await;
    assert!(matches!(late, Err(crate::CancelError::PastDeadline(period)) if period.as_secs() == 60));
    assert_eq!(left(&store).await, ["one"]);
    store.cancel_what_is_left(&tenant, &id).await.unwrap();
    assert_eq!(left(&store).await, ["one", "two"]);
    assert!(matches!(store.cancel_what_is_left(&tenant, &id).await, Err(crate::CancelError::Unknown)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_part_of_which_all_is_deleted_goes() {
    let dir = tempfile::tempdir().unwrap();
    let (tenant, clock) = (Tenant::default(), clock());
    let store = open_with(dir.path(), &clock, |config| config.delete_cancel_period = Duration::ZERO).await;
    store.write(write(lines("a", &["one", "two"], 0))).await.unwrap();
    store.flush().await.unwrap();
    store.write(write(lines("b", &["three"], 0))).await.unwrap();
    store.delete_logs(&tenant, "a", TimeRange::ALL).await.unwrap();
    store.delete_logs(&tenant, "b four", TimeRange::ALL).await.unwrap();
    let untouched = store.state.read().parts.values().flatten().map(|part| part.meta.id).max();
    store.carry_out_log_deletions().await.unwrap();
    let parts: Vec<i64> = store.state.read().parts.values().flatten().map(|part| part.meta.id).collect();
    assert_eq!(parts, Vec::from_iter(untouched), "nothing is rewritten that has none of it");
    assert!(store.log_deletions(&tenant).iter().all(|deletion| deletion.processed));
    assert_eq!(left(&store).await, ["three"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streams_are_kept_as_long_as_is_said_of_them() {
    let dir = tempfile::tempdir().unwrap();
    let clock = clock();
    let hours = |hours: u64| Duration::from_secs(hours * 3600);
    let rule = |app: &str, priority, period| StreamRetention {
        matchers: vec![Matcher::equal("app", app)],
        priority,
        period: hours(period),
    };
    let streams = vec![
        rule("short", 0, 1),
        rule("long", 0, 100),
        // The more important one counts, and of two the shorter.
        rule("kept", 0, 1),
        rule("kept", 1, 72),
        rule("kept", 1, 50),
    ];
    let store = open_with(dir.path(), &clock, |config| {
        config.retention = Retention { metrics: hours(10), logs: hours(10), streams, spans: hours(10) };
    })
    .await;
    for app in ["short", "long", "kept", "rest"] {
        store.write(write(lines(app, &[app], 0))).await.unwrap();
    }
    store.flush().await.unwrap();
    let after = async |hours: i64| {
        clock.0.store(NOON_NS + hours * 3_600_000_000_000, Ordering::Relaxed);
        store.expire().await.unwrap();
        left(&store).await
    };
    assert_eq!(
        after(2).await,
        ["kept", "long", "rest", "short"],
        "a quarter of a part is not worth a rewrite"
    );
    assert_eq!(after(13).await, ["kept", "long"]);
    assert_eq!(after(49).await, ["kept", "long"]);
    assert_eq!(after(51).await, ["long"]);
    assert_eq!(after(101).await, [] as [&str; 0]);
    assert_eq!(store.state.read().parts.values().flatten().count(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn raw_parts_are_merged_apart_while_a_deletion_that_covers_some_can_be_taken_back() {
    let dir = tempfile::tempdir().unwrap();
    let (tenant, clock) = (Tenant::default(), clock());
    let store = open_with(dir.path(), &clock, |config| config.raw_from_bytes = 0).await;
    store.end_tasks();
    for from in [0, 10, 20, 30] {
        if from == 20 {
            store.delete_logs(&tenant, "a two", TimeRange::ALL).await.unwrap();
        }
        store.write(write(lines("a", &["one", "two"], from))).await.unwrap();
        store.flush().await.unwrap();
    }
    assert_eq!(left(&store).await, ["one", "one", "one", "one", "two", "two"]);
    assert_eq!(store.merge_raw().await.unwrap().parts, 2);
    assert!(!store.has_raw_parts(|_| 1));
    assert_eq!(left(&store).await, ["one", "one", "one", "one", "two", "two"]);
    let deletion = store.log_deletions(&tenant)[0].request_id.clone();
    store.cancel_log_deletion(&tenant, &deletion).await.unwrap();
    assert_eq!(left(&store).await.len(), 8);
}
