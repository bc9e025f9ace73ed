//! Which HTTP status a failed query has where the emulated API leaves it open: Loki, Tempo and Jaeger. Prometheus and SQL
//! have rules of their own, in their rooms.

use axum::http::StatusCode;
use engine::QueryError;

pub(crate) fn status(error: &QueryError) -> StatusCode {
    match error {
        QueryError::Bad(_) | QueryError::Execution(_) => StatusCode::BAD_REQUEST,
        QueryError::TooMuch(_) => StatusCode::UNPROCESSABLE_ENTITY,
        QueryError::Timeout(_) => StatusCode::GATEWAY_TIMEOUT,
        QueryError::Cancelled => StatusCode::SERVICE_UNAVAILABLE,
        QueryError::Broken(_) => StatusCode::INTERNAL_SERVER_ERROR,
    }
}
