//! What Zipkin's page and those who watch a Zipkin ask beside its API: how it is set up, how it is, and of which version.

use crate::TenantHeader;
use crate::traces::rows;
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use engine::Engine;
use serde_json::{Value, json};
use std::sync::Arc;

/// Zipkin's defaults: how many traces and how many milliseconds back its page searches, and which rates of errors its
/// graph colours.
pub(super) async fn config() -> Json<Value> {
    Json(json!({
        "environment": "",
        "queryLimit": super::TRACES_DEFAULT,
        "defaultLookback": 900_000,
        "searchEnabled": true,
        "logsUrl": null,
        "supportUrl": null,
        "archivePostUrl": null,
        "archiveUrl": null,
        "dependency": { "enabled": true, "lowErrorRate": 0.5, "highErrorRate": 0.75 },
    }))
}

/// Whether spans can be read.
pub(super) async fn health(
    State(engine): State<Arc<Engine>>,
    TenantHeader(tenant): TenantHeader,
) -> (StatusCode, Json<Value>) {
    let read = rows(&engine, &tenant, "select 1 from spans limit 1", vec![], |_, _| ()).await;
    let (status, word, details) = match read {
        Ok(_) => (StatusCode::OK, "UP", json!({})),
        Err(why) => (StatusCode::SERVICE_UNAVAILABLE, "DOWN", json!({ "error": why.to_string() })),
    };
    (status, Json(json!({ "status": word, "zipkin": { "status": word, "details": details } })))
}

pub(super) async fn info() -> Json<Value> {
    Json(json!({ "zipkin": { "version": env!("CARGO_PKG_VERSION"), "commit": "" } }))
}
