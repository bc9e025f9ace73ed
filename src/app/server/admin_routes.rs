//! Deleting series by a query process: the calls go on to the ingest process, whose answer is given back. What may be
//! called is switched on in both (`--web.enable-admin-api`), as whoever reaches one may not be meant to reach the other.

use crate::config::Config;
use crate::remote::{Access, Process};
use axum::Router;
use axum::body::Bytes;
use axum::extract::{OriginalUri, State};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;

struct Ingest {
    process: Process,
    is_on: bool,
}

/// Deleting waits for the catalog, cleaning for merges.
const TIMEOUT: Duration = Duration::from_secs(600);

pub fn router(config: &Config) -> anyhow::Result<Router> {
    let ingest = Arc::new(Ingest {
        process: Process::new(&config.ingest_url, Access::of(config), TIMEOUT)?,
        is_on: config.admin_api,
    });
    let routes = Router::new()
        .route("/delete_series", post(forward).put(forward))
        .route("/clean_tombstones", post(forward).put(forward));
    let routes = Router::new().nest("/api/v1/admin/tsdb", routes);
    Ok(routes.clone().merge(Router::new().nest("/prometheus", routes)).with_state(ingest))
}

async fn forward(
    State(ingest): State<Arc<Ingest>>,
    OriginalUri(uri): OriginalUri,
    method: Method,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    if !ingest.is_on {
        return refused("admin APIs disabled; start with --web.enable-admin-api".into());
    }
    let path = uri.path_and_query().map_or("", |path| path.as_str());
    let mut request = ingest.process.request(method, format!("{}{path}", ingest.process.base()));
    for name in [header::CONTENT_TYPE, header::HeaderName::from_static("x-scope-orgid")] {
        if let Some(value) = headers.get(&name) {
            request = request.header(name, value);
        }
    }
    match request.body(body).send().await {
        Ok(answer) => {
            let kind = answer.headers().get(header::CONTENT_TYPE).cloned();
            let (status, body) = (answer.status(), answer.bytes().await.unwrap_or_default());
            let mut response = (status, body).into_response();
            response.headers_mut().remove(header::CONTENT_TYPE);
            if let Some(kind) = kind {
                response.headers_mut().insert(header::CONTENT_TYPE, kind);
            }
            response
        }
        Err(wrong) => refused(format!("{} (--ingest)", ingest.process.no_answer(&wrong))),
    }
}

fn refused(why: String) -> Response {
    let body = json!({ "status": "error", "errorType": "unavailable", "error": why });
    (StatusCode::SERVICE_UNAVAILABLE, axum::Json(body)).into_response()
}
