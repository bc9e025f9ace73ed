use super::*;
use crate::Config;
use crate::host::Host;
use crate::kubelet::Trust;
use crate::queue::Queue;
use axum::Router;
use axum::extract::{RawQuery, State};
use axum::routing::get;
use parking_lot::Mutex;
use serde_json::{Value, json};

/// Watches that an API server gives one after another, and what it was asked.
#[derive(Clone, Default)]
struct Server {
    watches: Arc<Mutex<Vec<Vec<Value>>>>,
    asked: Arc<Mutex<Vec<String>>>,
}

async fn pods(State(server): State<Server>, RawQuery(query): RawQuery) -> (axum::http::StatusCode, String) {
    server.asked.lock().push(query.unwrap_or_default());
    let mut watches = server.watches.lock();
    if watches.is_empty() {
        return (axum::http::StatusCode::FORBIDDEN, "no".into());
    }
    let lines = watches.remove(0).into_iter().map(|event| format!("{event}\n"));
    (axum::http::StatusCode::OK, lines.collect())
}

fn event(kind: &str, name: &str, version: &str, reason: &str) -> Value {
    let condition = json!({ "type": "DisruptionTarget", "status": "True", "reason": reason,
        "lastTransitionTime": "2200-01-01T00:00:00Z" });
    json!({ "type": kind, "object": {
        "metadata": { "name": name, "namespace": "shop", "uid": name, "resourceVersion": version },
        "status": { "conditions": if reason.is_empty() { vec![] } else { vec![condition] } } } })
}

#[tokio::test]
async fn a_pod_that_is_gone_in_a_second_is_told_once() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let server = Server::default();
    let error = |code: u16| json!({ "type": "ERROR", "object": { "code": code, "metadata": {} } });
    *server.watches.lock() = vec![
        vec![
            event("ADDED", "cart", "5", ""),
            event("MODIFIED", "cart", "6", "EvictionByEvictionAPI"),
            event("DELETED", "cart", "9", "EvictionByEvictionAPI"),
        ],
        vec![error(410)],
        vec![event("ADDED", "db", "10", "TerminationByKubelet")],
        vec![error(500)],
    ];
    let router = Router::new().route("/api/v1/pods", get(pods)).with_state(server.clone());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(axum::serve(listener, router).into_future());
    let dir = tempfile::tempdir().unwrap();
    let queue = Arc::new(Queue::open(dir.path().join("queue"), 1 << 20).unwrap());
    let host = Arc::new(Host { name: "n1".into(), ..Host::of(dir.path()) });
    let config = Config { data_dir: dir.path().into(), ..Config::default() };
    let evictions = Arc::new(Evictions::new(&config, (host, queue.clone()), 0).await);
    let settings = Settings { url, token_file: dir.path().join("absent"), trust: Trust::System };
    let mut watch = Watch::new(&settings, "n1", evictions).unwrap();
    for _ in 0..3 {
        assert_eq!(watch.follow().await, Ok(()));
    }
    assert!(watch.follow().await.unwrap_err().contains("\"code\":500"));
    assert!(watch.follow().await.unwrap_err().starts_with("403: the agent's ClusterRole must allow"));
    assert_eq!(crate::tests::queued_lines(&queue), ["Pod cart is evicted from node n1"]);
    let asked = server.asked.lock().clone();
    assert!(asked[0].contains("fieldSelector=spec.nodeName%3Dn1&"), "{asked:?}");
    let versions: Vec<&str> = asked.iter().filter_map(|query| query.rsplit('=').next()).collect();
    assert_eq!(versions, ["0", "9", "0", "10", "10"], "after a gap all pods are told of again");
}
