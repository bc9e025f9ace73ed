//! The doors of an agent: health, its metrics, its targets, and what it takes in.

use super::parts::Parts;
use crate::app::doors::{self, Servers};
use crate::app::listeners::Listeners;
use crate::app::{health, own_metrics, targets_routes};
use crate::config::Config;
use axum::extract::State;
use axum::http::{StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use receive::Doors;
use serde_json::Value;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

#[derive(Clone)]
struct Shared {
    parts: Arc<Parts>,
    doors: Option<Arc<Doors>>,
}

/// Starts a server on every listener; the set's tasks end after `stop`.
pub fn serve(
    listeners: Listeners,
    config: &Config,
    parts: &Arc<Parts>,
    stop: &CancellationToken,
) -> anyhow::Result<Servers> {
    let doors = parts.sink.clone().map(|sink| doors::doors(sink, parts.agent.as_ref(), config));
    let shared = Shared { parts: parts.clone(), doors: doors.clone() };
    let mut http = Router::new()
        .route("/health/live", get(health::live))
        .route("/health/ready", get(ready))
        .route("/metrics", get(metrics))
        .with_state(shared)
        .merge(targets_routes::router(parts.clone()));
    if let Some(doors) = &doors {
        http = http.merge(receive::http_router(doors));
    }
    let http = http.fallback(no_such_path);
    let (servers, _) = doors::serve(listeners, http, doors, &parts.guards, config, stop);
    Ok(servers)
}

async fn no_such_path(uri: Uri) -> Response {
    super::refusal(uri.path(), StatusCode::NOT_FOUND, "404 page not found")
}

async fn ready(State(shared): State<Shared>) -> (StatusCode, Json<Value>) {
    health::ready(shared.parts.stopping.is_cancelled(), None)
}

async fn metrics(State(shared): State<Shared>) -> Response {
    let mut readings = shared.parts.readings();
    readings.extend(shared.doors.iter().flat_map(|doors| doors.readings()));
    ([(header::CONTENT_TYPE, own_metrics::CONTENT_TYPE)], own_metrics::render(&readings)).into_response()
}
