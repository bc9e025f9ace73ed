//! What a tenant may have, and what it is told past that.

use super::*;
use crate::{LimitBook, Limits};

async fn limited(dir: &Path, limits: &[&str], clock: Arc<TestClock>) -> Arc<Store> {
    let lines: Vec<String> = limits.iter().map(|line| (*line).to_owned()).collect();
    let limits = LimitBook::parse(&lines, Limits::default()).unwrap();
    Store::open(Config { limits, ..config(dir) }, clock).await.unwrap()
}

/// What one batch comes to: samples taken, and reason, count and words of those that were not.
async fn sent(store: &Store, batch: Batch) -> (u64, Option<(RejectReason, u64, String)>) {
    let receipt = store.write(write(batch)).await.unwrap();
    let left_out = receipt.rejected.into_iter().next();
    (receipt.accepted, left_out.map(|row| (row.reason, row.count, row.example)))
}

#[tokio::test]
async fn series_past_the_limit_are_refused_and_those_that_are_there_go_on() {
    let dir = tempfile::tempdir().unwrap();
    let clock = clock();
    let store = limited(dir.path(), &["series_max=5", "team-a/series_max=1"], clock.clone()).await;
    assert_eq!(sent(&store, samples("a", 0..3, 0..1)).await, (3, None));
    let (accepted, refused) = sent(&store, samples("b", 0..4, 0..2)).await;
    let (reason, count, told) = refused.unwrap();
    assert_eq!((accepted, reason, count), (4, RejectReason::TooManySeries, 4));
    for part in [
        "has 5 active series, the most it may (limits.series_max)",
        "b{instance=\"i2\"}",
        "metrics with the most series: a 3",
        "labels with the most values: instance 3",
    ] {
        assert!(told.contains(part), "{part}: {told}");
    }
    // A flush empties the memtable and frees nobody's place.
    store.flush().await.unwrap();
    assert_eq!(sent(&store, samples("a", 0..3, 1..2)).await, (3, None));
    assert_eq!(sent(&store, samples("c", 0..1, 0..1)).await.0, 0);
    let of_a =
        Write { tenant: Tenant::new("team-a").unwrap(), batch: samples("x", 0..2, 0..1), origin: None };
    assert_eq!(store.write(of_a).await.unwrap().accepted, 1, "a tenant has its own limit");
    // What comes no more makes room.
    clock.0.fetch_add(1_200_000_000_000, Ordering::Relaxed);
    assert_eq!(sent(&store, samples("c", 0..5, 0..1)).await, (5, None));
}

#[tokio::test]
async fn one_metric_has_a_limit_of_its_own_and_a_histogram_is_one_series() {
    let dir = tempfile::tempdir().unwrap();
    let store = limited(dir.path(), &["series_of_metric_max=2"], clock()).await;
    let histogram = Histogram { count: 2.0, positive: vec![(0, 1.0), (1, 1.0)], ..Histogram::default() };
    let mut batch = MetricBatch::default();
    for n in 0..3 {
        let labels = Labels::from_pairs([("__name__", "h"), ("n", &n.to_string())]);
        batch.push_histograms(&labels, &[(NOON_MS, histogram.clone())]);
    }
    let (accepted, refused) = sent(&store, Batch::Metrics(batch)).await;
    let (reason, count, told) = refused.unwrap();
    assert_eq!((accepted, reason, count), (2, RejectReason::TooManySeriesOfMetric, 1), "{told}");
    assert!(told.contains("limits.series_of_metric_max") && told.contains("h{n=\"2\"}"), "{told}");
    // Nothing of the third is stored: no part of it either.
    assert!(read_samples(&store, vec![Matcher::equal("n", "2")]).await.labels.is_empty());
    store.set_limits(LimitBook::default());
    assert_eq!(sent(&store, samples("h", 0..9, 0..1)).await, (9, None));
}

#[tokio::test]
async fn labels_and_ages_have_bounds_that_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let limits = [
        "labels_max=3",
        "label_name_bytes_max=20",
        "label_value_bytes_max=40",
        "label_bytes_max=100",
        "past_max=1h",
        "future_max=10m",
    ];
    let store = limited(dir.path(), &limits, clock()).await;
    let one = |pairs: &[(&str, &str)], time_s: i64| {
        let mut batch = MetricBatch::default();
        batch.begin_series(&mut [&[("__name__", "m")], pairs].concat()).unwrap();
        batch.push(NOON_MS + time_s * 1000, 1.0);
        Batch::Metrics(batch)
    };
    let long = "v".repeat(41);
    for (batch, reason, key) in [
        (one(&[("a", "1"), ("b", "2"), ("c", "3")], 0), RejectReason::TooManyLabels, "limits.labels_max"),
        (one(&[(&long, "1")], 0), RejectReason::LabelTooLong, "limits.label_name_bytes_max"),
        (one(&[("a", &long)], 0), RejectReason::LabelTooLong, "limits.label_value_bytes_max"),
        (
            one(&[("a", &long), ("b", &long), ("c", &long)], 0),
            RejectReason::InvalidLabels,
            "limits.label_bytes_max",
        ),
        (one(&[], -3_601), RejectReason::TimestampOutOfRange, "limits.past_max"),
        (one(&[], 601), RejectReason::TimestampOutOfRange, "limits.future_max"),
    ] {
        let (accepted, refused) = sent(&store, batch).await;
        let (found, count, told) = refused.unwrap();
        assert_eq!((accepted, found, count, told.contains(key)), (0, reason, 1, true), "{key}: {told}");
    }
    assert_eq!(sent(&store, one(&[("a", "1"), ("b", "2")], -3_600)).await, (1, None));
}

#[tokio::test]
async fn what_the_tenants_rate_refuses_leaves_its_streams_their_own() {
    let dir = tempfile::tempdir().unwrap();
    let limits = ["ingestion_rate_mb=0.001", "per_stream_rate_limit=10", "per_stream_rate_limit_burst=4000"];
    let clock = clock();
    let store = limited(dir.path(), &limits, clock.clone()).await;
    let body = "x".repeat(1_500);
    let batch = || write(lines("web", &[body.as_str()], 0));
    assert_eq!(store.write(batch()).await.unwrap().accepted, 1);
    for _ in 0..3 {
        let refused = store.write(batch()).await;
        assert!(matches!(refused, Err(Refused::Busy { .. })), "{refused:?}");
    }
    clock.0.fetch_add(2_000_000_000, Ordering::Relaxed);
    let receipt = store.write(batch()).await.unwrap();
    assert_eq!((receipt.accepted, receipt.rejected), (1, vec![]));
}

#[tokio::test]
async fn a_line_is_left_out_for_one_reason() {
    let dir = tempfile::tempdir().unwrap();
    let limits =
        ["reject_old_samples_max_age=1h", "per_stream_rate_limit=10", "per_stream_rate_limit_burst=100"];
    let store = limited(dir.path(), &limits, clock()).await;
    let body = "x".repeat(200);
    let receipt = store.write(write(lines("web", &[body.as_str(); 3], -3_601))).await.unwrap();
    let left_out: Vec<_> =
        receipt.rejected.iter().map(|row| (row.reason, row.count, row.at.as_slice())).collect();
    let expected: [(RejectReason, u64, &[u32]); 2] =
        [(RejectReason::TooOld, 1, &[0]), (RejectReason::StreamRateLimit, 2, &[1, 2])];
    assert_eq!((receipt.accepted, left_out.as_slice()), (0, expected.as_slice()));
}
