use super::*;
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use futures::TryStreamExt;
use model::*;
use store::{Store, Unbounded};
use tokio::net::TcpListener;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_reads_what_the_store_has() {
    let dir = tempfile::tempdir().unwrap();
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let config = store::Config { dir: dir.path().to_owned(), fsync: false, ..Default::default() };
    let store = Store::open(config, clock).await.unwrap();
    let mut batch = MetricBatch::default();
    for i in 0..3 {
        let instance = i.to_string();
        batch.begin_series(&mut [("__name__", "up"), ("instance", &instance)]).unwrap();
        for second in 0..5 {
            batch.push(1_700_000_000_000 + second * 1000, f64::from(i));
        }
    }
    batch.metadata.push(Metadata {
        name: "up".into(),
        kind: MetricKind::Gauge,
        help: "h".into(),
        unit: String::new(),
    });
    let record = LogRecord { ts_ns: 1_700_000_000_000_000_000, body: "line".into(), ..LogRecord::default() };
    let labels = Labels::from_pairs([("app", "web")]);
    let logs = LogBatch { streams: vec![LogStream { labels, resource: vec![], records: vec![record] }] };
    batch.exemplars.push(Exemplar {
        series: Labels::from_pairs([("__name__", "up")]),
        labels: Labels::from_pairs([("trace_id", "abc")]),
        ts_ms: 1_700_000_000_000,
        value: f64::NEG_INFINITY,
    });
    for batch in [Batch::Metrics(batch), Batch::Logs(logs)] {
        store.write(Write { tenant: Tenant::default(), batch, origin: None }).await.unwrap();
    }
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(axum::serve(listener, router(store.clone())).into_future());
    let _ = rustls::crypto::ring::default_provider().install_default();
    let remote = PeerSource::new(&url, None).unwrap().snapshot(&Tenant::default()).await.unwrap();
    let local = store.snapshot(&Tenant::default()).await.unwrap();

    let all = SeriesSelect { matchers: vec![], range: TimeRange::ALL };
    assert_eq!(remote.series(&all, &Unbounded).await.unwrap(), local.series(&all, &Unbounded).await.unwrap());
    assert_eq!(remote.samples(&all).await.unwrap(), local.samples(&all).await.unwrap());
    let exemplars = remote.exemplars(&all).await.unwrap();
    assert_eq!((exemplars.len(), exemplars), (1, local.exemplars(&all).await.unwrap()));
    assert_eq!(remote.metadata().await.unwrap(), local.metadata().await.unwrap());
    let some =
        SeriesSelect { matchers: vec![Matcher::new("instance", Match::Regex, "[01]").unwrap()], ..all };
    assert_eq!(remote.samples(&some).await.unwrap().labels.len(), 2);
    let lines = LogSelect::all(TimeRange::ALL);
    assert_eq!(remote.log_streams(&lines).await.unwrap(), local.log_streams(&lines).await.unwrap());
    let columns = LogColumns::named(&["ts", "body", "stream"]);
    let theirs: Vec<_> = remote.logs(&lines, &columns).await.unwrap().try_collect().await.unwrap();
    let ours: Vec<_> = local.logs(&lines, &columns).await.unwrap().try_collect().await.unwrap();
    assert_eq!(theirs, ours);
    let spans: Vec<_> = remote
        .spans(&SpanSelect::all(TimeRange::ALL), &SpanColumns::all())
        .await
        .unwrap()
        .try_collect()
        .await
        .unwrap();
    assert!(spans.iter().all(|batch: &arrow::array::RecordBatch| batch.num_rows() == 0));
    let other = PeerSource::new(&url, None).unwrap().snapshot(&Tenant::new("other").unwrap()).await.unwrap();
    assert!(
        other
            .samples(&SeriesSelect { matchers: vec![], range: TimeRange::ALL })
            .await
            .unwrap()
            .labels
            .is_empty()
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_snapshot_is_for_its_own_tenant_and_for_columns_that_are() {
    let dir = tempfile::tempdir().unwrap();
    let config = store::Config { dir: dir.path().to_owned(), fsync: false, ..Default::default() };
    let store = Store::open(config, Arc::new(SystemClock)).await.unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/api/peer/snapshots", listener.local_addr().unwrap());
    tokio::spawn(axum::serve(listener, router(store)).into_future());
    let _ = rustls::crypto::ring::default_provider().install_default();
    let http = reqwest::Client::new();
    let taken: serde_json::Value = http.post(&url).send().await.unwrap().json().await.unwrap();
    let url = format!("{url}/{}", taken["id"].as_str().unwrap());
    let asked = async |tenant: &str, read: &Read| {
        http.post(&url).header("X-Scope-OrgID", tenant).json(read).send().await.unwrap().status().as_u16()
    };
    let logs = |columns| Read::Logs { select: LogSelect::all(TimeRange::ALL), columns };
    assert_eq!(asked("default", &logs(vec![0, 3])).await, 200);
    assert_eq!(asked("other", &logs(vec![0, 3])).await, 404);
    for columns in [vec![3, 0], vec![0, 0], vec![99]] {
        assert_eq!(asked("default", &logs(columns)).await, 400);
    }
    http.delete(&url).header("X-Scope-OrgID", "other").send().await.unwrap();
    assert_eq!(asked("default", &Read::Metadata).await, 200, "another tenant's delete does nothing");
    http.delete(&url).send().await.unwrap();
    assert_eq!(asked("default", &Read::Metadata).await, 404);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_request_for_a_question_names_its_span() {
    const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let dir = tempfile::tempdir().unwrap();
    let config = store::Config { dir: dir.path().to_owned(), fsync: false, ..Default::default() };
    let store = Store::open(config, Arc::new(SystemClock)).await.unwrap();
    let (told, mut heard) = tokio::sync::mpsc::unbounded_channel();
    let listens =
        axum::middleware::from_fn(move |request: axum::extract::Request, next: axum::middleware::Next| {
            let header = request.headers().get("traceparent");
            let parent = header.map(|value| value.to_str().unwrap().to_owned());
            told.send((request.method().to_string(), parent)).unwrap();
            next.run(request)
        });
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(axum::serve(listener, router(store).layer(listens)).into_future());
    let _ = rustls::crypto::ring::default_provider().install_default();
    let peer = || PeerSource::new(&url, None).unwrap();
    let named =
        || HeaderMap::from_iter([(HeaderName::from_static("traceparent"), HeaderValue::from_static(PARENT))]);
    for (source, parent) in [(peer(), None), (peer().in_trace(named), Some(PARENT))] {
        let snapshot = source.snapshot(&Tenant::default()).await.unwrap();
        // Given back at the end of a task that knows nothing of the question.
        let reads = tokio::spawn(async move { snapshot.metadata().await });
        assert!(reads.await.unwrap().unwrap().is_empty());
        for method in ["POST", "POST", "DELETE"] {
            let (asked, told) = heard.recv().await.unwrap();
            assert_eq!((asked.as_str(), told.as_deref()), (method, parent));
        }
    }
}

#[test]
fn an_error_keeps_its_kind_and_listings_their_rows() {
    assert_eq!(Frame::error(&ReadError::TooMuch("x".into())).kind, b't');
    assert_eq!(Frame::error(&ReadError::Io("x".into())).kind, b'e');
    let rows: Vec<listings::Row> =
        (0..40_000).map(|i| (Labels::from_pairs([("n", i.to_string())]), i, -i)).collect();
    let mut back = vec![];
    for batch in listings::batches(rows.clone()) {
        listings::append(&mut back, &batch.unwrap()).unwrap();
    }
    assert!(back == rows);
}

#[test]
fn frames_come_back_whole_or_not_at_all() {
    let whole = Frame::json(&[1, 2]).encode();
    for length in 0..whole.len() {
        let mut cut = bytes::BytesMut::from(&whole[..length]);
        assert_eq!(Frame::take(&mut cut).unwrap(), None);
    }
    let mut buffer = bytes::BytesMut::from(&whole[..]);
    assert_eq!(Frame::take(&mut buffer).unwrap(), Some(Frame::json(&[1, 2])));
    let mut absurd = bytes::BytesMut::from(&[b'b', 0xff, 0xff, 0xff, 0xff][..]);
    assert!(Frame::take(&mut absurd).is_err());
}
