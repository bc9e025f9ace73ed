//! What was acknowledged is there once, after any end.

use super::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_signal_survives_a_kill_before_and_after_a_flush() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = open(dir.path()).await;
    for batch in [samples("up", 0..3, 0..10), lines("web", &["one", "two"], 0), spans("cart", 5)] {
        assert!(store.write(write(batch)).await.unwrap().rejected.is_empty());
    }
    for flushes in [false, true, true] {
        if flushes {
            store.flush().await.unwrap();
        }
        killed(store).await;
        store = open(dir.path()).await;
        let block = read_samples(&store, vec![Matcher::equal("__name__", "up")]).await;
        assert_eq!((block.labels.len(), block.values.len()), (3, 30), "flushed: {flushes}");
        assert_eq!(bodies(&store, &LogSelect::all(TimeRange::ALL)).await, ["one", "two"]);
        assert_eq!(span_count(&store, &SpanSelect::all(TimeRange::ALL)).await, 5);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_larger_than_memory_is_read_in_pieces() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    let many = || (0..20i64).map(|n| lines("web", &["one", "two", "three"], n * 10));
    for (sequence, batch) in many().enumerate() {
        let origin = Some(Origin { sender: 7, sequence: sequence as u64 + 1 });
        store.write(Write { origin, ..write(batch) }).await.unwrap();
        store
            .write(write(samples("up", 0..2, sequence as i64 * 10..sequence as i64 * 10 + 5)))
            .await
            .unwrap();
    }
    killed(store).await;
    for _ in 0..2 {
        let little = Config { flush_bytes: 1_000, ..config(dir.path()) };
        let store = Store::open(little, clock()).await.unwrap();
        assert!(store.memory_bytes() < 20_000, "{}", store.memory_bytes());
        assert_eq!(bodies(&store, &LogSelect::all(TimeRange::ALL)).await.len(), 60);
        assert_eq!(read_samples(&store, vec![]).await.values.len(), 200);
        // Parts do not forget whose records they hold.
        let again =
            Write { origin: Some(Origin { sender: 7, sequence: 20 }), ..write(lines("web", &["x"], 0)) };
        store.write(again).await.unwrap();
        assert_eq!(bodies(&store, &LogSelect::all(TimeRange::ALL)).await.len(), 60);
        killed(store).await;
    }
}

/// As where the disk is full: what is in the log can be asked for, and becomes parts once there is room.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_that_cannot_become_parts_is_read_all_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    for n in 0..20i64 {
        store.write(write(lines("web", &["one", "two", "three"], n * 10))).await.unwrap();
    }
    killed(store).await;
    // Nothing can be made below a link to nowhere.
    let of_tenant = dir.path().join("parts").join(Tenant::default().as_str());
    std::os::unix::fs::symlink("nowhere", &of_tenant).unwrap();
    let little = Config { flush_bytes: 1_000, ..config(dir.path()) };
    let store = Store::open(little, clock()).await.unwrap();
    assert_eq!(bodies(&store, &LogSelect::all(TimeRange::ALL)).await.len(), 60);
    assert!(store.flush().await.is_err());
    std::fs::remove_file(&of_tenant).unwrap();
    store.flush().await.unwrap();
    killed(store).await;
    let store = open(dir.path()).await;
    assert_eq!(bodies(&store, &LogSelect::all(TimeRange::ALL)).await.len(), 60);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_sent_again_is_acknowledged_and_not_stored() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = open(dir.path()).await;
    let again = |sequence| Write {
        origin: Some(Origin { sender: 7, sequence }),
        ..write(lines("web", &["once"], 0))
    };
    for sequence in [1, 1, 2, 1] {
        assert_eq!(store.write(again(sequence)).await.unwrap().accepted, 1);
    }
    assert_eq!(bodies(&store, &LogSelect::all(TimeRange::ALL)).await.len(), 2);
    // The sender's position outlives the process: by the log, and by the catalog once the log is given back.
    for flushes in [false, true] {
        if flushes {
            store.flush().await.unwrap();
        }
        killed(store).await;
        store = open(dir.path()).await;
        store.write(again(2)).await.unwrap();
        assert_eq!(bodies(&store, &LogSelect::all(TimeRange::ALL)).await.len(), 2);
    }
}

/// What is flushed leaves the log: then the catalog alone knows whose it was.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flush_beside_a_write_of_the_same_sender_forgets_nothing_of_it() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    let again =
        || Write { origin: Some(Origin { sender: 7, sequence: 1 }), ..write(lines("web", &["once"], 0)) };
    store.write(again()).await.unwrap();
    let sender = store.senders.sender(7, NOON_MS);
    let writing = sender.writing.lock().await;
    store.flush().await.unwrap();
    drop(writing);
    killed(store).await;
    let store = open(dir.path()).await;
    assert!(store.write(again()).await.unwrap().repeated);
    assert_eq!(bodies(&store, &LogSelect::all(TimeRange::ALL)).await, ["once"]);
}

/// Somebody made room by hand. Positions of the log must not begin anew: what is before those that parts cover is not read.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_whose_files_were_deleted_loses_nothing_that_comes_after() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    for second in 0..5 {
        store.write(write(lines("web", &["before"], second))).await.unwrap();
    }
    store.flush().await.unwrap();
    killed(store).await;
    for entry in std::fs::read_dir(dir.path().join("wal")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "wal") {
            std::fs::remove_file(path).unwrap();
        }
    }
    let store = open(dir.path()).await;
    store.write(write(lines("web", &["after"], 10))).await.unwrap();
    killed(store).await;
    let store = open(dir.path()).await;
    let mut expected = vec!["before"; 5];
    expected.insert(0, "after");
    assert_eq!(bodies(&store, &LogSelect::all(TimeRange::ALL)).await, expected);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn merging_parts_changes_no_answer() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    for round in 0..4i64 {
        store.write(write(samples("up", 0..5, round * 10..round * 10 + 12))).await.unwrap();
        store.write(write(lines("web", &["error: timeout", "fine"], round * 100))).await.unwrap();
        store.write(write(spans("cart", 3))).await.unwrap();
        store.flush().await.unwrap();
    }
    let words = LogSelect { contains: vec!["timeout".into()], ..LogSelect::all(TimeRange::ALL) };
    let before = (read_samples(&store, vec![]).await, bodies(&store, &words).await);
    let report = store.compact().await.unwrap();
    assert_eq!(report.parts, 3, "one part a signal");
    let after = (read_samples(&store, vec![]).await, bodies(&store, &words).await);
    assert_eq!(before, after);
    assert_eq!(before.0.values.len(), 5 * 42, "one sample a time");
    assert_eq!(
        span_count(&store, &SpanSelect::all(TimeRange::ALL)).await,
        3,
        "what came again is there once"
    );
    killed(store).await;
    let store = open(dir.path()).await;
    assert_eq!(read_samples(&store, vec![]).await, before.0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn parts_past_their_retention_go_and_a_snapshot_keeps_its_own() {
    let dir = tempfile::tempdir().unwrap();
    let clock = clock();
    let hour = Duration::from_secs(3600);
    let retention = Retention { metrics: hour, logs: hour, streams: vec![], spans: 100 * hour };
    let store = Store::open(Config { retention, ..config(dir.path()) }, clock.clone()).await.unwrap();
    store.write(write(samples("up", 0..1, 0..3))).await.unwrap();
    store.write(write(lines("web", &["old"], 0))).await.unwrap();
    store.write(write(spans("cart", 2))).await.unwrap();
    store.flush().await.unwrap();
    let snapshot = store.snapshot(&Tenant::default()).await.unwrap();
    clock.0.fetch_add(2 * 3600 * 1_000_000_000, Ordering::Relaxed);
    assert_eq!(store.expire().await.unwrap(), 2);
    assert!(read_samples(&store, vec![]).await.labels.is_empty());
    assert_eq!(span_count(&store, &SpanSelect::all(TimeRange::ALL)).await, 2);
    let kept = snapshot.samples(&SeriesSelect { matchers: vec![], range: TimeRange::ALL }).await.unwrap();
    assert_eq!(kept.values.len(), 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn exemplars_outlive_the_process_and_end_with_their_retention() {
    let dir = tempfile::tempdir().unwrap();
    let clock = clock();
    let (hour, minute_ms) = (Duration::from_secs(3600), 60_000);
    let retention = Retention { metrics: hour, logs: hour, streams: vec![], spans: hour };
    let open = || {
        let retention = retention.clone();
        Store::open(Config { retention, ..config(dir.path()) }, clock.clone())
    };
    let exemplar = |minutes: i64, trace: &str| Exemplar {
        series: Labels::from_pairs([("__name__", "up")]),
        labels: Labels::from_pairs([("trace_id", trace)]),
        ts_ms: NOON_MS + minutes * minute_ms,
        value: minutes as f64,
    };
    let with = |exemplars: Vec<Exemplar>| {
        let Batch::Metrics(batch) = samples("up", 0..1, 0..1) else { unreachable!() };
        write(Batch::Metrics(MetricBatch { exemplars, ..batch }))
    };
    let traces = async |store: &Store| {
        let everything = SeriesSelect { matchers: vec![], range: TimeRange::ALL };
        let found = store.snapshot(&Tenant::default()).await.unwrap().exemplars(&everything).await.unwrap();
        found.iter().map(|exemplar| exemplar.labels.get("trace_id").unwrap().to_owned()).collect::<Vec<_>>()
    };
    let mut store = open().await.unwrap();
    let far = Exemplar { ts_ms: -1, ..exemplar(0, "far") };
    let long = exemplar(0, &"x".repeat(2_000));
    let receipt = store.write(with(vec![exemplar(0, "a"), far, long, exemplar(1, "b")])).await.unwrap();
    assert_eq!((receipt.accepted, receipt.exemplars, receipt.rejected_count()), (1, 2, 2));
    assert!(receipt.rejected[0].example.contains("1970"), "{receipt:?}");
    // By the log, and by the catalog once the log is given back.
    for flushes in [false, true, true] {
        if flushes {
            store.flush().await.unwrap();
        }
        killed(store).await;
        store = open().await.unwrap();
        assert_eq!(traces(&store).await, ["a", "b"]);
        assert_eq!(store.write(with(vec![exemplar(1, "b")])).await.unwrap().exemplars, 1, "told as written");
    }
    assert_eq!(traces(&store).await, ["a", "b"], "and there once");
    clock.0.fetch_add(3_601 * 1_000_000_000, Ordering::Relaxed);
    store.expire().await.unwrap();
    assert_eq!(traces(&store).await, ["b"]);
    killed(store).await;
    let store = open().await.unwrap();
    assert_eq!(traces(&store).await, ["b"]);
}
