use super::*;
use axum::body::Body;
use axum::http::Request;
use http_body_util::BodyExt;
use model::*;
use tower::ServiceExt;

async fn called(admin: &Router, path: &str) -> (u16, String) {
    let request = Request::post(format!("/api/v1/admin/tsdb/{path}")).body(Body::empty()).unwrap();
    let response = admin.clone().oneshot(request).await.unwrap();
    let status = response.status().as_u16();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (status, String::from_utf8_lossy(&body).into_owned())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn series_are_deleted_where_it_is_switched_on() {
    let dir = tempfile::tempdir().unwrap();
    let config = store::Config { dir: dir.path().to_owned(), fsync: false, ..Default::default() };
    let store = Store::open(config, Arc::new(SystemClock)).await.unwrap();
    let mut batch = MetricBatch::default();
    for (job, name) in [("a", "up"), ("b", "up"), ("a", "down")] {
        batch.begin_series(&mut [("__name__", name), ("job", job)]).unwrap();
        (1..=3).for_each(|second| batch.push(second * 1000, 1.0));
    }
    let write = Write { tenant: Tenant::default(), batch: Batch::Metrics(batch), origin: None };
    store.write(write).await.unwrap();
    let left = async || {
        let snapshot = store::Source::snapshot(&*store, &Tenant::default()).await.unwrap();
        let all = SeriesSelect { matchers: vec![], range: TimeRange::ALL };
        let block = snapshot.samples(&all).await.unwrap();
        block.iter().map(|(labels, ts_ms, _)| format!("{labels} {ts_ms:?}")).collect::<Vec<_>>()
    };
    let all = left().await;
    let off = router(store.clone(), false);
    for path in ["delete_series?match[]=up", "clean_tombstones"] {
        let (status, text) = called(&off, path).await;
        assert_eq!((status, text.contains("--web.enable-admin-api")), (503, true), "{text}");
    }
    let on = router(store.clone(), true);
    for (path, place) in [
        ("delete_series", "no match[]"),
        ("delete_series?match[]=up%7B", "match[]"),
        ("delete_series?match[]=up&start=5&end=4", "end"),
    ] {
        let (status, text) = called(&on, path).await;
        assert_eq!((status, text.contains(place)), (400, true), "{path}: {text}");
    }
    assert_eq!(left().await, all);
    let (status, text) = called(&on, "delete_series?match[]=up%7Bjob=%22a%22%7D&match[]=down&start=2").await;
    assert_eq!((status, &text[..]), (204, ""));
    let kept = ["down{job=\"a\"} [1000]", "up{job=\"a\"} [1000]", "up{job=\"b\"} [1000, 2000, 3000]"];
    assert_eq!(left().await, kept);
    assert_eq!(called(&on, "clean_tombstones").await.0, 204);
    assert_eq!(left().await, kept);
}
