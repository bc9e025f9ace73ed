mod mixins;
mod parts;
mod sending;

use super::*;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use model::{
    Batch, LogBatch, LogRecord, LogStream, MetricBatch, ResourceSpans, SpanBatch, SystemClock, Tenant, Write,
};
use std::collections::{BTreeSet, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};

/// Every series of a batch with its first value.
pub fn labels_and_values(batch: &MetricBatch) -> Vec<(model::Labels, f64)> {
    let all = batch.iter();
    all.map(|(labels, _, values)| (model::Labels::from_bytes(labels).unwrap(), values[0])).collect()
}

/// Series of a batch that are told, and those that end, as Prometheus writes them; both sorted.
pub fn told_and_ended(batch: &MetricBatch) -> (Vec<String>, Vec<String>) {
    let all = labels_and_values(batch).into_iter();
    let (ended, told): (Vec<_>, Vec<_>) = all.partition(|(_, value)| model::is_stale_marker(*value));
    let sorted = |series: Vec<(model::Labels, f64)>| {
        let mut series: Vec<String> = series.into_iter().map(|(labels, _)| labels.to_string()).collect();
        series.sort();
        series
    };
    (sorted(told), sorted(ended))
}

/// Metrics that wait in a queue, request by request.
pub fn queued_metrics(queue: &Queue) -> Vec<MetricBatch> {
    let all = queue.next_unsent(1 << 20).unwrap().into_iter();
    let metrics = all.filter(|record| record.path().ends_with("/metrics"));
    metrics
        .map(|record| {
            let body = wire::otlp::Notation::Protobuf.read(&decoded(record.body.into())).unwrap();
            let mut sums = wire::otlp::Sums::default();
            wire::otlp::metrics(body, &wire::otlp::Translation::default(), &mut sums).batch
        })
        .collect()
}

/// Bodies of the log records that wait in a queue.
pub fn queued_lines(queue: &Queue) -> Vec<String> {
    lines(queue.next_unsent(1 << 20).unwrap())
}

pub fn lines(records: Vec<crate::queue::Record>) -> Vec<String> {
    let logs = records.into_iter().filter(|record| record.path().ends_with("/logs"));
    let batches = logs.map(|record| {
        let body = wire::otlp::Notation::Protobuf.read(&decoded(record.body.into()));
        wire::otlp::logs(body.unwrap(), 0, &[]).batch
    });
    let records = batches.flat_map(|batch| batch.streams).flat_map(|stream| stream.records);
    records.map(|record| record.body).collect()
}

/// What an ingest was sent: path, origin, and the body out of its compression.
type Sent = (String, String, Vec<u8>);

/// A real HTTP server that takes OTLP, and does not while it is closed.
#[derive(Clone, Default)]
struct Ingest {
    sent: Arc<Mutex<Vec<Sent>>>,
    is_open: Arc<AtomicBool>,
    refuses: Arc<AtomicBool>,
    /// What it answers before all else: a status, a header and a body. Where it speaks OTLP and says no mistake, the
    /// request was taken.
    answers: Arc<Mutex<VecDeque<Answer>>>,
    /// What it fails at.
    poison: Arc<Mutex<Option<&'static str>>>,
    /// What it says of itself, where whoever stands before it lets one ask.
    readiness: Arc<Mutex<Option<u16>>>,
}

type Answer = (u16, (&'static str, &'static str), Vec<u8>);

/// The body as it was before compression.
fn decoded(body: Bytes) -> Vec<u8> {
    wire::compression::Encoding::Zstd.decompress(body, 64 << 20).unwrap().to_vec()
}

async fn take(State(ingest): State<Ingest>, uri: Uri, headers: HeaderMap, body: Bytes) -> Response {
    if uri.path() == "/health/ready" {
        let status = ingest.readiness.lock().unwrap_or(404);
        let json = [("content-type", "application/json")];
        return (StatusCode::from_u16(status).unwrap(), json, "{}").into_response();
    }
    let answer = ingest.answers.lock().pop_front();
    let Some((status, header, text)) = answer else {
        return ingest.take(&uri, &headers, body).into_response();
    };
    if status < 300 && header.1 == "application/x-protobuf" {
        let _ = ingest.take(&uri, &headers, body);
    }
    (StatusCode::from_u16(status).unwrap(), [header], text).into_response()
}

impl Ingest {
    fn take(&self, uri: &Uri, headers: &HeaderMap, body: Bytes) -> (StatusCode, &'static str) {
        if !self.is_open.load(Ordering::SeqCst) {
            return (StatusCode::SERVICE_UNAVAILABLE, "closed");
        }
        if self.refuses.load(Ordering::SeqCst) {
            return (StatusCode::BAD_REQUEST, "not like this");
        }
        assert_eq!(headers["content-encoding"], "zstd");
        let (origin, body) = (headers[wire::ORIGIN_HEADER].to_str().unwrap().to_owned(), decoded(body));
        let poison = *self.poison.lock();
        if poison.is_some_and(|poison| memchr::memmem::find(&body, poison.as_bytes()).is_some()) {
            return (StatusCode::INTERNAL_SERVER_ERROR, "poisoned");
        }
        self.sent.lock().push((uri.path().to_owned(), origin, body));
        (StatusCode::OK, "")
    }

    /// Its address.
    async fn serve(&self) -> String {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = axum::Router::new().fallback(take).with_state(self.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        format!("http://{address}")
    }

    fn logs(&self) -> Vec<String> {
        let sent = self.sent.lock();
        let requests = sent.iter().filter(|(path, _, _)| path == "/otlp/v1/logs");
        let batches = requests.map(|(_, _, body)| {
            wire::otlp::logs(wire::otlp::Notation::Protobuf.read(body).unwrap(), 0, &[]).batch
        });
        let streams = batches.flat_map(|batch| batch.streams);
        streams.flat_map(|stream| stream.records).map(|record| record.body).collect()
    }
}

/// A clock that breaks when it is wanted, for whoever looks at it first.
#[derive(Default)]
pub struct Fragile {
    pub breaks: AtomicBool,
}

impl Clock for Fragile {
    fn now_ns(&self) -> i64 {
        assert!(!self.breaks.swap(false, Ordering::SeqCst), "the clock is broken");
        SystemClock.now_ns()
    }
}

/// Until it is so; what never becomes so is a failure after a minute.
pub async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let tries = async {
        while !is_so() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), tries).await.unwrap_or_else(|_| panic!("never: {what}"));
}

struct World {
    dir: tempfile::TempDir,
    ingest: Ingest,
    config: Config,
    stop: CancellationToken,
}

impl World {
    async fn new() -> World {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("root");
        for (path, text) in [
            ("proc/loadavg", "0.5 0.5 0.5 1/1 1\n"),
            ("proc/sys/kernel/hostname", "n1\n"),
            ("var/log/app.log", "one\n"),
        ] {
            std::fs::create_dir_all(root.join(path).parent().unwrap()).unwrap();
            std::fs::write(root.join(path), text).unwrap();
        }
        let ingest = Ingest::default();
        let config = Config {
            data_dir: dir.path().join("agent"),
            ingest: ingest.serve().await,
            host_root: root,
            interval: Duration::from_secs(3600),
            ..Config::default()
        };
        World { dir, ingest, config, stop: CancellationToken::new() }
    }

    async fn start(&mut self) -> Agent {
        self.start_by(Arc::new(SystemClock)).await
    }

    async fn start_by(&mut self, clock: Arc<dyn Clock>) -> Agent {
        self.stop = CancellationToken::new();
        // The binary does so for the whole process.
        let _ = rustls::crypto::ring::default_provider().install_default();
        Agent::start(self.config.clone(), clock, self.stop.clone()).await.unwrap()
    }

    async fn end(&self, agent: Agent) {
        self.stop.cancel();
        agent.join().await;
    }

    fn log(&self, text: &str) {
        use std::io::Write;
        let path = self.dir.path().join("root/var/log/app.log");
        std::fs::OpenOptions::new().append(true).open(path).unwrap().write_all(text.as_bytes()).unwrap();
    }
}

fn reading(agent: &Agent, name: &str) -> f64 {
    agent.readings().iter().filter(|reading| reading.name == name).map(|reading| reading.value).sum()
}

#[tokio::test]
async fn while_ingest_is_away_everything_waits_and_then_comes_once() {
    let mut world = World::new().await;
    let agent = world.start().await;
    until("a line in the queue", || reading(&agent, "binnacle_agent_log_lines_total") == 1.0).await;
    assert!(reading(&agent, "binnacle_agent_queue_bytes") > 0.0);
    until("a failed attempt", || reading(&agent, "binnacle_agent_send_failures_total") >= 1.0).await;
    world.end(agent).await;
    world.log("two\n");
    let agent = world.start().await;
    until("the second line", || reading(&agent, "binnacle_agent_log_lines_total") == 1.0).await;
    world.ingest.is_open.store(true, Ordering::SeqCst);
    until("the queue is empty", || reading(&agent, "binnacle_agent_queue_records") == 0.0).await;
    world.end(agent).await;
    assert_eq!(world.ingest.logs(), ["one", "two"]);
    let sent = world.ingest.sent.lock();
    let origins: BTreeSet<&String> = sent.iter().map(|(_, origin, _)| origin).collect();
    assert_eq!(origins.len(), sent.len(), "each record has a name of its own");
    assert!(sent.iter().any(|(path, _, _)| path == "/otlp/v1/metrics"));
}

#[tokio::test]
async fn a_crash_between_queue_and_positions_reads_no_line_twice() {
    let mut world = World::new().await;
    let agent = world.start().await;
    until("a line in the queue", || reading(&agent, "binnacle_agent_log_lines_total") == 1.0).await;
    world.end(agent).await;
    // As if the power had gone before positions were written.
    std::fs::remove_file(world.config.data_dir.join("positions.json")).unwrap();
    world.log("two\n");
    world.ingest.is_open.store(true, Ordering::SeqCst);
    let agent = world.start().await;
    until("both lines", || world.ingest.logs().len() >= 2).await;
    world.end(agent).await;
    assert_eq!(world.ingest.logs(), ["one", "two"]);
}

#[tokio::test]
async fn what_is_refused_for_good_does_not_hold_up_the_rest() {
    let mut world = World::new().await;
    world.ingest.is_open.store(true, Ordering::SeqCst);
    world.ingest.refuses.store(true, Ordering::SeqCst);
    let agent = world.start().await;
    until("refused batches", || reading(&agent, "binnacle_agent_dropped_records_total") >= 2.0).await;
    world.ingest.refuses.store(false, Ordering::SeqCst);
    world.log("two\n");
    until("the next line", || world.ingest.logs() == ["two"]).await;
    world.end(agent).await;
}

#[tokio::test]
async fn a_full_queue_drops_its_oldest_and_counts_them() {
    let dir = tempfile::tempdir().unwrap();
    let queue = Queue::open(dir.path().to_owned(), 64 << 10).unwrap();
    let tenant = Tenant::default();
    for n in 0..400u64 {
        // Hard to compress, so that the bound is met.
        let body: String = (0..200).map(|_| rand::random_range('a'..='z')).collect();
        let record = LogRecord { body, ts_ns: n as i64, ..LogRecord::default() };
        let container = if n % 4 == 0 { "db" } else { "cart" };
        let resource =
            [("k8s.namespace.name", "shop"), ("k8s.pod.name", "p"), ("k8s.container.name", container)];
        let resource = resource.map(|(name, value)| (name.to_owned(), value.into())).to_vec();
        let stream = LogStream { records: vec![record], resource, ..LogStream::default() };
        queue.push_logs(&tenant, &LogBatch { streams: vec![stream] }, &[]).await.unwrap();
    }
    let value = |name: &str| queue.readings().iter().find(|reading| reading.name == name).unwrap().value;
    assert!(value("binnacle_agent_queue_bytes") <= f64::from(64 << 10));
    let dropped = value("binnacle_agent_dropped_records_total");
    let first = queue.next_unsent(1).unwrap()[0].seq;
    assert_eq!(dropped, (first - 1) as f64, "the oldest went, and each is counted");
    assert!(dropped > 0.0 && dropped < 400.0);
    let of = |source: &str| {
        let readings = queue.readings();
        let is_it = |reading: &&Reading| {
            reading.name == "binnacle_agent_dropped_items_total"
                && reading.labels.contains(&("source", source.to_owned()))
        };
        readings.iter().find(is_it).map_or(0.0, |reading| reading.value)
    };
    let of_db = (0..first - 1).filter(|n| n % 4 == 0).count() as f64;
    assert_eq!((of("shop/p/db"), of("shop/p/cart")), (of_db, dropped - of_db), "and whose they were");
}

/// While the queue has no room for long, senders are asked to wait, which exporters do; the agent's own telemetry goes on.
#[tokio::test]
async fn applications_wait_while_the_queue_is_nearly_full() {
    let dir = tempfile::tempdir().unwrap();
    let queue = Arc::new(Queue::open(dir.path().to_owned(), 64 << 10).unwrap());
    let host = Arc::new(Host::of(std::path::Path::new("/")));
    let gateway = Gateway { queue: queue.clone(), host, pods: pods::Pods::default() };
    let write = || {
        let body: String = (0..2_000).map(|_| rand::random_range('a'..='z')).collect();
        let stream =
            LogStream { records: vec![LogRecord { body, ..LogRecord::default() }], ..LogStream::default() };
        let batch = Batch::Logs(LogBatch { streams: vec![stream] });
        Write { tenant: Tenant::default(), batch, origin: None }
    };
    let mut taken = 0;
    let refused = loop {
        match gateway.write(write()).await {
            Ok(_) => taken += 1,
            Err(refused) => break refused,
        }
    };
    assert!(matches!(refused, model::Refused::Busy { .. }), "{refused}");
    assert!(taken > 10, "{taken}");
    assert!(queue.readings().iter().all(|reading| reading.name != "binnacle_agent_dropped_records_total"));
    let Batch::Logs(own) = write().batch else { unreachable!() };
    queue.push_logs(&Tenant::default(), &own, &[]).await.unwrap();
    queue.mark_sent(queue.next_unsent(usize::MAX).unwrap().last().unwrap().seq);
    assert!(gateway.write(write()).await.is_ok(), "what was taken by ingest makes room");
}

#[test]
fn a_sender_is_known_by_what_it_says_and_else_by_its_address() {
    let pods = pods::Pods::default();
    let pod = |name: &str, ip: &str, host_network: bool| {
        let container = serde_json::json!({ "name": "main", "image": "shop/cart:1.2" });
        serde_json::from_value(serde_json::json!({
            "metadata": { "name": name, "namespace": "shop", "uid": format!("uid-{name}"), "ownerReferences": [
                { "kind": "StatefulSet", "name": "cart", "controller": true }] },
            "spec": { "nodeName": "n1", "hostNetwork": host_network, "containers": [container] },
            "status": { "phase": "Running", "podIP": ip, "podIPs": [{ "ip": ip }, { "ip": "fd00::1" }],
                "containerStatuses": [{ "name": "main", "containerID": format!("containerd://id-{name}") }] },
        }))
        .unwrap()
    };
    pods.replace(vec![pod("cart-0", "10.1.2.3", false), pod("proxy", "192.168.0.7", true)]);
    let dir = tempfile::tempdir().unwrap();
    let queue = Arc::new(Queue::open(dir.path().to_owned(), 16 << 20).unwrap());
    let gateway = Gateway { queue, host: Arc::new(Host::of(std::path::Path::new("/"))), pods };
    let known = |peer: &str, said: &[(&str, &str)]| {
        let said = |name: &str| said.iter().find(|(n, _)| *n == name).map(|(_, value)| (*value).to_owned());
        let found = gateway.identify(peer.parse().unwrap(), &said);
        model::attribute(&found, "k8s.pod.name").and_then(|value| value.as_str().map(str::to_owned))
    };
    assert_eq!(known("10.1.2.3", &[]).as_deref(), Some("cart-0"));
    assert_eq!(known("fd00::1", &[]).as_deref(), Some("cart-0"));
    assert_eq!(known("192.168.0.7", &[]), None, "an address of the node is nobody's");
    assert_eq!(known("10.9.9.9", &[("k8s.pod.uid", "uid-proxy")]).as_deref(), Some("proxy"));
    assert_eq!(known("10.9.9.9", &[("k8s.pod.ip", "10.1.2.3")]).as_deref(), Some("cart-0"));
    assert_eq!(known("10.1.2.3", &[("k8s.pod.uid", "of another node")]), None);
    assert_eq!(known("10.1.2.3", &[("k8s.pod.name", "another")]), None, "a collector passes on for others");
    assert_eq!(known("10.1.2.3", &[("k8s.pod.name", "cart-0")]).as_deref(), Some("cart-0"));
    assert_eq!(known("10.9.9.9", &[("k8s.pod.ip", "::ffff:10.1.2.3")]).as_deref(), Some("cart-0"));
    // On the node's network a pod is known by nothing but what it says.
    let named = |namespace| [("k8s.pod.name", "proxy"), ("k8s.namespace.name", namespace)];
    assert_eq!(known("192.168.0.7", &named("shop")).as_deref(), Some("proxy"));
    assert_eq!(known("192.168.0.7", &named("bank")), None, "of another node");
    assert_eq!(known("192.168.0.7", &[("container.id", "id-proxy")]).as_deref(), Some("proxy"));
    assert_eq!(known("10.1.2.3", &[("container.id", "of no pod")]).as_deref(), Some("cart-0"));
    let found = gateway.identify("10.1.2.3".parse().unwrap(), &|_| None);
    for (name, value) in [
        ("k8s.namespace.name", "shop"),
        ("k8s.statefulset.name", "cart"),
        ("k8s.container.name", "main"),
        ("k8s.pod.uid", "uid-cart-0"),
        ("k8s.pod.ip", "10.1.2.3"),
    ] {
        assert_eq!(model::attribute(&found, name).and_then(model::Value::as_str), Some(value), "{name}");
    }
}

#[tokio::test]
async fn applications_are_given_the_hosts_attributes() {
    let mut world = World::new().await;
    world.config.cluster_name = Some("prod-eu".into());
    world.ingest.is_open.store(true, Ordering::SeqCst);
    let agent = world.start().await;
    let sink = agent.sink();
    let tenant = Tenant::new("team").unwrap();
    let mut metrics = MetricBatch::default();
    metrics.begin_series(&mut [("__name__", "orders_total"), ("job", "shop")]).unwrap();
    metrics.push(1_000, 5.0);
    let spans = SpanBatch {
        resources: vec![ResourceSpans {
            resource: Arc::new(vec![
                ("service.name".into(), "cart".into()),
                ("host.name".into(), "mine".into()),
            ]),
            spans: vec![model::Span {
                trace_id: [1; 16],
                span_id: [2; 8],
                name: "get".into(),
                ..model::Span::default()
            }],
            ..ResourceSpans::default()
        }],
    };
    let logs = LogBatch {
        streams: vec![LogStream {
            resource: vec![("service.name".into(), "cart".into())],
            records: vec![LogRecord { body: "hello".into(), ts_ns: 1, ..LogRecord::default() }],
            ..LogStream::default()
        }],
    };
    for batch in [Batch::Metrics(metrics), Batch::Spans(spans), Batch::Logs(logs)] {
        let receipt = sink.write(Write { tenant: tenant.clone(), batch, origin: None }).await.unwrap();
        assert_eq!(receipt.accepted, 1);
    }
    until("the log record", || world.ingest.logs().contains(&"hello".to_owned())).await;
    until("the span", || world.ingest.sent.lock().iter().any(|(path, _, _)| path == "/otlp/v1/traces")).await;
    world.end(agent).await;
    let sent = world.ingest.sent.lock();
    let body = |path: &str, part: &[u8]| {
        let bodies = sent.iter().filter(|(sent, _, _)| sent == path).map(|(_, _, body)| body);
        bodies
            .into_iter()
            .find(|body| memchr::memmem::find(body, part).is_some())
            .cloned()
            .unwrap_or_default()
    };
    let has = |body: &[u8], part: &str| memchr::memmem::find(body, part.as_bytes()).is_some();
    assert!(has(&body("/otlp/v1/metrics", b"orders_total"), "host_name"));
    assert!(has(&body("/otlp/v1/logs", b"hello"), "n1"));
    let span = body("/otlp/v1/traces", b"cart");
    assert!(has(&span, "mine") && !has(&span, "n1"), "what the sender says of itself stands");
    for (path, _, body) in sent.iter() {
        assert!(has(body, "prod-eu"), "{path}: every record says of which cluster it is");
    }
    for part in ["one", "orders_total", "node_load1"] {
        let body = sent.iter().map(|(_, _, body)| body).find(|body| has(body, part));
        assert!(body.is_some(), "{part}");
    }
}

/// A collector on this node may stand before pods of all nodes.
#[tokio::test]
async fn what_is_passed_on_for_another_node_is_not_given_this_hosts_name() {
    let dir = tempfile::tempdir().unwrap();
    let queue = Arc::new(Queue::open(dir.path().to_owned(), 64 << 20).unwrap());
    let host = Host { name: "n1".into(), ..Host::of(dir.path()) }.in_cluster(Some("prod-eu".into()));
    let gateway = Gateway { queue: queue.clone(), host: Arc::new(host), pods: pods::Pods::default() };
    for node in ["n1", "n2"] {
        let resource = vec![("k8s.node.name".to_owned(), node.into())];
        let record = LogRecord { body: "x".into(), ts_ns: 1, ..LogRecord::default() };
        let stream = LogStream { resource, records: vec![record], ..LogStream::default() };
        let batch = Batch::Logs(LogBatch { streams: vec![stream] });
        gateway.write(Write { tenant: Tenant::default(), batch, origin: None }).await.unwrap();
        let mut metrics = MetricBatch::default();
        metrics.begin_series(&mut [("__name__", "orders_total"), ("k8s_node_name", node)]).unwrap();
        metrics.push(1_000, 5.0);
        let batch = Batch::Metrics(metrics);
        gateway.write(Write { tenant: Tenant::default(), batch, origin: None }).await.unwrap();
    }
    // OTLP without a resource is of this host, syslog of whoever sent it.
    for label in ["service_name", "host"] {
        let labels = model::Labels::from_pairs([(label, "x")]);
        let record = LogRecord { body: "x".into(), ts_ns: 1, ..LogRecord::default() };
        let stream = LogStream { labels, records: vec![record], ..LogStream::default() };
        let batch = Batch::Logs(LogBatch { streams: vec![stream] });
        gateway.write(Write { tenant: Tenant::default(), batch, origin: None }).await.unwrap();
    }
    let queued = queue.next_unsent(1 << 20).unwrap().into_iter();
    let bodies: Vec<Vec<u8>> = queued.map(|record| decoded(record.body.into())).collect();
    let has = |at: usize, part: &str| memchr::memmem::find(&bodies[at], part.as_bytes()).is_some();
    assert!(has(0, "host.name") && has(1, "host_name"));
    assert!(!has(2, "host.name") && !has(2, "os.type") && !has(3, "host_name"));
    assert!(has(0, "prod-eu") && has(2, "prod-eu"));
    assert!(has(4, "host.name") && has(4, "prod-eu") && !has(5, "host.name"));
}

#[tokio::test]
async fn a_directory_that_cannot_be_made_is_named() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let config = Config { data_dir: file.path().join("below"), ..Config::default() };
    let wrong = Agent::start(config, Arc::new(SystemClock), CancellationToken::new()).await.err().unwrap();
    assert!(format!("{wrong:#}").contains(&file.path().display().to_string()));
}
