//! The agent alone, for a binary that is built without the feature `server`: the agent, and the doors that write to its
//! queue. It has what `server` shows to the composition root, and no more.

mod parts;
mod routes;

pub use parts::Parts;
pub use routes::serve;

use crate::app::listeners::Addresses;
use crate::config::Config;
use axum::Json;
use axum::body::Body;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tonic::Status;

/// None of the doors here has words of its own.
pub fn refusal(_path: &str, status: StatusCode, why: &str) -> Response {
    (status, Json(serde_json::json!({ "error": why }))).into_response()
}

/// UNAUTHENTICATED, where the request is a call of gRPC.
pub fn refusal_of_call(headers: &HeaderMap, why: &str) -> Option<Response> {
    let kind = headers.get(header::CONTENT_TYPE)?.to_str().ok()?;
    let refused = || Status::unauthenticated(why).into_http::<tonic::body::Body>().map(Body::new);
    kind.starts_with("application/grpc").then(refused)
}

/// The shop runs beside a server.
pub fn start_demo(_: &Config, _: &Addresses, _: &str, _: &CancellationToken) -> Option<JoinHandle<()>> {
    None
}
