use super::*;

/// Times in seconds by instance.
async fn left(store: &Store) -> Vec<(String, Vec<i64>)> {
    let block = read_samples(store, vec![]).await;
    block
        .iter()
        .map(|(labels, ts_ms, _)| {
            let seconds = ts_ms.iter().map(|ts| (ts - NOON_MS) / 1000).collect();
            (labels.get("instance").unwrap().to_owned(), seconds)
        })
        .collect()
}

fn of_instance(instance: &str) -> Vec<Vec<Matcher>> {
    vec![vec![Matcher::equal("__name__", "up"), Matcher::equal("instance", instance)]]
}

fn seconds(from: i64, to: i64) -> TimeRange {
    TimeRange { start: NOON_MS + from * 1000, end: NOON_MS + to * 1000 }
}

async fn listed(store: &Store) -> (Vec<String>, Vec<String>) {
    let snapshot = store.snapshot(&Tenant::default()).await.unwrap();
    let all = SeriesSelect { matchers: vec![], range: TimeRange::ALL };
    let series = snapshot.series(&all, &Unbounded).await.unwrap();
    let values = snapshot.label_values("instance", &all, &Unbounded).await.unwrap();
    let series = series.iter().map(|series| series.labels.get("instance").unwrap().to_owned());
    (series.collect(), values.into_iter().collect())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_deleted_stays_so_and_what_comes_later_shows() {
    let dir = tempfile::tempdir().unwrap();
    let tenant = Tenant::default();
    let mut store = open(dir.path()).await;
    store.write(write(samples("up", 0..3, 0..2))).await.unwrap();
    store.flush().await.unwrap();
    store.write(write(samples("up", 0..3, 2..4))).await.unwrap();
    let before = store.snapshot(&tenant).await.unwrap();
    store.delete_series(&tenant, of_instance("i0"), TimeRange::ALL).await.unwrap();
    store.delete_series(&tenant, of_instance("i1"), seconds(1, 2)).await.unwrap();
    let rest = [("i1".to_owned(), vec![0, 3]), ("i2".to_owned(), vec![0, 1, 2, 3])];
    assert_eq!(left(&store).await, rest);
    assert_eq!(listed(&store).await, (vec!["i1".into(), "i2".into()], vec!["i1".into(), "i2".into()]));
    let everything = SeriesSelect { matchers: vec![], range: TimeRange::ALL };
    assert_eq!(before.samples(&everything).await.unwrap().values.len(), 12, "a snapshot stays as it was");
    let other = Tenant::new("other").unwrap();
    assert!(store.snapshot(&other).await.unwrap().samples(&everything).await.unwrap().values.is_empty());
    drop(before);
    // Written after: also at a time that was deleted.
    killed(store).await;
    store = open(dir.path()).await;
    assert_eq!(left(&store).await, rest, "after a restart");
    store.write(write(samples("up", 0..1, 1..2))).await.unwrap();
    let again = [("i0".to_owned(), vec![1]), rest[0].clone(), rest[1].clone()];
    assert_eq!(left(&store).await, again);
    store.flush().await.unwrap();
    assert_eq!(left(&store).await, again, "in a part of its own");
    // A merge leaves it out for good.
    assert_eq!(store.compact().await.unwrap().rows, 1 + 2 + 4);
    assert_eq!(left(&store).await, again);
    store.clean_tombstones().await.unwrap();
    assert!(store.state.read().tombstones.is_empty());
    assert_eq!(left(&store).await, again);
    killed(store).await;
    let store = open(dir.path()).await;
    assert_eq!(left(&store).await, again);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cleaning_rewrites_what_has_something_deleted_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let tenant = Tenant::default();
    let day = 86_400;
    let mut store = open(dir.path()).await;
    for from in [0, -day, -2 * day] {
        store.write(write(samples("up", 0..2, from..from + 2))).await.unwrap();
    }
    store.write(write(samples("other", 0..1, 0..1))).await.unwrap();
    store.flush().await.unwrap();
    store.delete_series(&tenant, of_instance("i1"), seconds(0, 0)).await.unwrap();
    store.delete_series(&tenant, vec![vec![]], seconds(-2 * day, -2 * day + 1)).await.unwrap();
    store.delete_series(&tenant, of_instance("i7"), TimeRange::ALL).await.unwrap();
    let rest = left(&store).await;
    let report = store.clean_tombstones().await.unwrap();
    // Of today's part one row is gone, of the day before yesterday's all, yesterday's has nothing to do with it.
    assert_eq!((report.parts, report.rows), (1, 4));
    assert_eq!((left(&store).await, store.state.read().tombstones.len()), (rest.clone(), 0));
    assert_eq!(store.clean_tombstones().await.unwrap(), crate::Report::default());
    killed(store).await;
    store = open(dir.path()).await;
    assert_eq!((left(&store).await, store.state.read().tombstones.len()), (rest, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn part_ids_that_a_tombstone_names_are_not_given_again() {
    let dir = tempfile::tempdir().unwrap();
    let tenant = Tenant::default();
    let store = open(dir.path()).await;
    store.write(write(samples("up", 0..1, 0..2))).await.unwrap();
    store.delete_series(&tenant, of_instance("i0"), TimeRange::ALL).await.unwrap();
    let only: Vec<i64> = store.state.read().parts.values().flatten().map(|part| part.meta.id).collect();
    store.catalog.commit(&crate::catalog::Commit { removed: only, ..Default::default() }).await.unwrap();
    killed(store).await;
    let store = open(dir.path()).await;
    store.write(write(samples("up", 0..1, 0..2))).await.unwrap();
    store.flush().await.unwrap();
    assert_eq!(left(&store).await, [("i0".to_owned(), vec![0, 1])]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn deletions_that_wait_are_bounded() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    let many = vec![vec![]; crate::tombstones::TOMBSTONES_MAX];
    store.delete_series(&Tenant::default(), many, TimeRange::ALL).await.unwrap();
    let refused = store.delete_series(&Tenant::default(), vec![vec![]], TimeRange::ALL).await;
    assert!(matches!(refused, Err(crate::DeleteError::TooMany)));
    store.clean_tombstones().await.unwrap();
    store.delete_series(&Tenant::default(), vec![vec![]], TimeRange::ALL).await.unwrap();
}
