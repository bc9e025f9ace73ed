//! An API server that lists, watches, and refuses to.

use super::*;
use crate::kubelet::Trust;
use axum::extract::{Query, State};
use axum::response::IntoResponse;
use axum::routing::get;
use axum::{Json, Router};
use parking_lot::Mutex;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;

/// What it was asked, and what it answers: to lists a status, to watches lines, or a status.
struct Server {
    asked: Mutex<Vec<String>>,
    lists: Mutex<StatusCode>,
    watches: Mutex<Result<String, StatusCode>>,
}

fn service(name: &str, version: &str) -> Value {
    json!({ "metadata": { "name": name, "namespace": "shop", "resourceVersion": version },
        "spec": { "selector": { "app": name }, "ports": [{ "port": 90 }] } })
}

async fn services(
    State(server): State<Arc<Server>>,
    Query(query): Query<BTreeMap<String, String>>,
) -> axum::response::Response {
    let is_watch = query.contains_key("watch");
    let what = if is_watch { "watch" } else { "list" };
    server.asked.lock().push(format!("{what} {}", query["resourceVersion"]));
    if !is_watch {
        let status = *server.lists.lock();
        if status != StatusCode::OK {
            return status.into_response();
        }
        let items = [service("a", "5")];
        return Json(json!({ "metadata": { "resourceVersion": "7" }, "items": items })).into_response();
    }
    match server.watches.lock().clone() {
        Ok(lines) => lines.into_response(),
        Err(status) => status.into_response(),
    }
}

async fn monitors() -> Json<Value> {
    let monitor = json!({ "metadata": { "name": "m", "namespace": "shop" }, "spec": { "selector": {} } });
    Json(json!({ "metadata": {}, "items": [monitor] }))
}

async fn begun(watches: Result<String, StatusCode>) -> (Api, Arc<Server>) {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let server = Arc::new(Server {
        asked: Mutex::default(),
        lists: Mutex::new(StatusCode::OK),
        watches: Mutex::new(watches),
    });
    let router = Router::new()
        .route(Kind::Service.path(), get(services))
        .route(Kind::ServiceMonitor.path(), get(monitors))
        .with_state(server.clone());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    let settings = ClusterSettings {
        url,
        token_file: "/nowhere".into(),
        trust: Trust::System,
        namespace: "default".into(),
        identity: "me".into(),
    };
    (Api::new(&settings).unwrap(), server)
}

fn names(api: &Api) -> Vec<&str> {
    api.objects().services().map(|service| service.name.as_str()).collect()
}

async fn turn(api: &mut Api) {
    api.kinds.iter_mut().for_each(|following| following.next = Instant::now());
    api.list().await;
    api.watch().await;
}

#[tokio::test]
async fn what_is_listed_once_is_watched_from_there_on() {
    let event = json!({ "type": "ADDED", "object": service("b", "9") });
    let (mut api, server) = begun(Ok(format!("{event}\n"))).await;
    turn(&mut api).await;
    assert_eq!(names(&api), ["a"]);
    // The event, and the end of the watch.
    while api.kinds[2].watch.is_some() {
        api.follow_once().await;
    }
    assert_eq!(names(&api), ["a", "b"]);
    turn(&mut api).await;
    assert_eq!(*server.asked.lock(), ["list 0", "watch 7", "watch 9"], "no other list");
    let gone = json!({ "type": "ERROR", "object": { "code": 410, "message": "too old" } });
    *server.watches.lock() = Ok(format!("{gone}\n"));
    while api.kinds[2].watch.is_some() {
        api.follow_once().await;
    }
    turn(&mut api).await;
    while api.kinds[2].watch.is_some() {
        api.follow_once().await;
    }
    assert_eq!(names(&api), ["a", "b"], "until the list is read");
    turn(&mut api).await;
    assert_eq!(server.asked.lock()[3..], ["watch 9", "list 0", "watch 7"]);
    assert_eq!(names(&api), ["a"]);
}

#[tokio::test]
async fn who_may_not_watch_lists_again() {
    let (mut api, server) = begun(Err(StatusCode::FORBIDDEN)).await;
    for _ in 0..4 {
        turn(&mut api).await;
    }
    assert_eq!(*server.asked.lock(), ["list 0", "watch 7", "watch 7", "list 0", "list 0"]);
    assert_eq!(names(&api), ["a"]);
}

#[tokio::test]
async fn one_refusal_takes_nothing_away() {
    let (mut api, server) = begun(Err(StatusCode::FORBIDDEN)).await;
    for _ in 0..3 {
        turn(&mut api).await;
    }
    for status in [StatusCode::FORBIDDEN, StatusCode::NOT_FOUND] {
        *server.lists.lock() = status;
        turn(&mut api).await;
        assert_eq!(names(&api), ["a"], "an API server that begins");
        turn(&mut api).await;
        assert!(names(&api).is_empty());
        *server.lists.lock() = StatusCode::OK;
        turn(&mut api).await;
        assert_eq!(names(&api), ["a"]);
    }
}
