//! Refusals that no single door can word: which HTTP status a failed query has where the emulated API leaves it open
//! (Loki, Tempo and Jaeger; Prometheus and SQL have rules of their own), and what a request is answered that ends
//! before its door, in the words of the API whose path it has.

use axum::Json;
use axum::http::{HeaderMap, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use engine::QueryError;
use serde_json::json;

pub(crate) fn status(error: &QueryError) -> StatusCode {
    match error {
        QueryError::Bad(_) | QueryError::Execution(_) => StatusCode::BAD_REQUEST,
        QueryError::TooMuch(_) => StatusCode::UNPROCESSABLE_ENTITY,
        QueryError::Timeout(_) => StatusCode::GATEWAY_TIMEOUT,
        QueryError::Cancelled => StatusCode::SERVICE_UNAVAILABLE,
        QueryError::Broken(_) => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

/// Why a request is refused, in plain text as Loki and Tempo tell it: a status and a sentence.
pub(crate) struct Refusal(pub StatusCode, pub String);

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        (self.0, [(header::CONTENT_TYPE, "text/plain; charset=utf-8")], self.1).into_response()
    }
}

impl From<QueryError> for Refusal {
    fn from(error: QueryError) -> Self {
        Refusal(status(&error), error.to_string())
    }
}

impl Refusal {
    pub fn bad(text: impl Into<String>) -> Refusal {
        Refusal(StatusCode::BAD_REQUEST, text.into())
    }
}

/// Whose errors a path has: Grafana and every client reads the API that it dialled.
pub fn at(path: &str, status: StatusCode, why: &str) -> Response {
    let below =
        |root: &str| path.strip_prefix(root).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    if below("/api/v1") || below("/prometheus") {
        let kind = match status {
            StatusCode::UNAUTHORIZED => "unauthorized",
            StatusCode::NOT_FOUND => "not_found",
            _ => "bad_data",
        };
        return (status, Json(json!({ "status": "error", "errorType": kind, "error": why }))).into_response();
    }
    if below("/jaeger/api/v3") {
        let error = json!({ "httpCode": status.as_u16(), "message": why });
        return (status, Json(json!({ "error": error }))).into_response();
    }
    if below("/jaeger") {
        return crate::jaeger::Refusal(status, why.to_owned()).into_response();
    }
    if below("/elastic") {
        let cause = json!({ "type": "exception", "reason": why });
        let error = json!({ "root_cause": [cause], "type": "exception", "reason": why });
        return (status, Json(json!({ "error": error, "status": status.as_u16() }))).into_response();
    }
    if below("/api") || below("/cost") || below("/otlp") {
        return (status, Json(json!({ "error": why }))).into_response();
    }
    let text = format!("{why}\n");
    (status, [(header::CONTENT_TYPE, "text/plain; charset=utf-8")], text).into_response()
}

/// A path that no door has. Loki, Tempo and Prometheus' own server all say these words; a client that knows its
/// Prometheus by JSON finds them in it.
pub async fn no_such_path(uri: Uri, headers: HeaderMap) -> Response {
    if crate::grpc::is_call(&headers) {
        let called = uri.path().trim_start_matches('/');
        return crate::grpc::refused(
            StatusCode::NOT_IMPLEMENTED,
            &format!("unknown service or method {called}"),
        );
    }
    at(uri.path(), StatusCode::NOT_FOUND, "404 page not found")
}

/// A path that has a door, for other methods; axum names those in `Allow`.
pub async fn no_such_method(method: Method, uri: Uri) -> Response {
    let why = format!("method {method} is not allowed here; the header Allow has those that are");
    at(uri.path(), StatusCode::METHOD_NOT_ALLOWED, &why)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_refusal_has_the_words_of_the_api_that_its_path_belongs_to() {
        let prometheus = r#"{"error":"why","errorType":"not_found","status":"error"}"#;
        let jaeger = r#"{"data":null,"errors":[{"code":404,"msg":"why"}],"limit":0,"offset":0,"total":0}"#;
        for (path, expected) in [
            ("/api/v1/nope", prometheus),
            ("/api/v1", prometheus),
            ("/prometheus/api/v1/nope", prometheus),
            ("/loki/api/v1/nope", "why\n"),
            ("/tempo/api/nope", "why\n"),
            ("/jaeger/api/nope", jaeger),
            ("/jaeger/api/v3/nope", r#"{"error":{"httpCode":404,"message":"why"}}"#),
            (
                "/elastic/_search",
                r#"{"error":{"reason":"why","root_cause":[{"reason":"why","type":"exception"}],"type":"exception"},"status":404}"#,
            ),
            ("/api/nope", r#"{"error":"why"}"#),
            ("/api/v10", r#"{"error":"why"}"#),
            ("/apiary", "why\n"),
            ("/", "why\n"),
        ] {
            let response = at(path, StatusCode::NOT_FOUND, "why");
            assert_eq!(response.status(), 404, "{path}");
            let body = axum::body::to_bytes(response.into_body(), 1_000).await.unwrap();
            assert_eq!(body, expected, "{path}");
        }
    }
}
