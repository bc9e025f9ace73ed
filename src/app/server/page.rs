//! The web page's files, and the Grafana dashboards that it and Grafana draw.

use axum::Json;
use axum::extract::Path;
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

/// Any path that no API has: a file of the page, or the page itself for the paths that it routes.
pub async fn asset(uri: Uri, headers: HeaderMap) -> Response {
    let Some(asset) = dashboards::asset(uri.path().trim_start_matches('/')) else {
        return api::refusal::no_such_path(uri, headers).await;
    };
    let etag = asset.etag.clone();
    if headers.get(header::IF_NONE_MATCH).is_some_and(|known| known.as_bytes() == etag.as_bytes()) {
        return StatusCode::NOT_MODIFIED.into_response();
    }
    let cache = if asset.immutable { "public, max-age=31536000, immutable" } else { "no-cache" };
    let mut response = (
        [
            (header::CONTENT_TYPE, asset.content_type.to_owned()),
            (header::ETAG, etag),
            (header::CACHE_CONTROL, cache.to_owned()),
            (header::X_CONTENT_TYPE_OPTIONS, "nosniff".to_owned()),
        ],
        asset.bytes,
    )
        .into_response();
    if let Some(encoding) = asset.encoding.and_then(|encoding| encoding.parse().ok()) {
        response.headers_mut().insert(header::CONTENT_ENCODING, encoding);
    }
    response
}

/// `/api/dashboards`: uid and title of each.
pub async fn list() -> Json<Value> {
    let list: Vec<Value> = dashboards::grafana()
        .iter()
        .map(|dashboard| json!({ "uid": dashboard.uid, "title": dashboard.title, "tags": dashboard.tags }))
        .collect();
    Json(json!({ "dashboards": list }))
}

/// `/api/dashboards/{uid}`: the classic Grafana JSON as it is in the repository.
pub async fn one(Path(uid): Path<String>) -> Response {
    match dashboards::grafana().iter().find(|dashboard| dashboard.uid == uid) {
        Some(dashboard) => {
            ([(header::CONTENT_TYPE, "application/json")], dashboard.json.to_owned()).into_response()
        }
        None => {
            (StatusCode::NOT_FOUND, Json(json!({ "error": format!("no dashboard has the uid {uid:?}") })))
                .into_response()
        }
    }
}
