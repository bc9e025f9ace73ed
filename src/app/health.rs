//! `/health/live` and `/health/ready`: 200 or 503, and a reason as JSON.

use axum::Json;
use axum::http::StatusCode;
use serde_json::{Value, json};

/// The process runs and answers.
pub async fn live() -> Json<Value> {
    Json(json!({ "status": "ok" }))
}

/// Whether requests will be served: not before all parts are up, not while stopping, not when the store refuses.
pub fn ready(stopping: bool, refuses: Option<String>) -> (StatusCode, Json<Value>) {
    let reason = if stopping { Some("shutting down".to_owned()) } else { refuses };
    match reason {
        None => (StatusCode::OK, Json(json!({ "status": "ok" }))),
        Some(reason) => {
            (StatusCode::SERVICE_UNAVAILABLE, Json(json!({ "status": "unavailable", "reason": reason })))
        }
    }
}
