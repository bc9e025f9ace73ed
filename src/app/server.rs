//! What runs beside the agent in the whole binary: store, engine, alerts, their doors and the page. Without the feature
//! `server` none of it is there, and `agent_only` has its place.

mod admin_routes;
mod inputs;
mod page;
mod parts;
mod routes;
mod ruler_routes;
mod rules_routes;
mod span_path;
mod trace;

pub use inputs::Inputs;
pub use parts::Parts;
pub use routes::serve;

use crate::app::listeners::Addresses;
use crate::config::{Config, Role};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tracing::error;

/// A request that ends before its door, in the words of the API whose path it has.
pub fn refusal(path: &str, status: StatusCode, why: &str) -> Response {
    api::refusal::at(path, status, why)
}

/// UNAUTHENTICATED, where the request is a call of gRPC.
pub fn refusal_of_call(headers: &HeaderMap, why: &str) -> Option<Response> {
    api::grpc::is_call(headers).then(|| api::grpc::refused(StatusCode::UNAUTHORIZED, why))
}

pub fn start_demo(
    config: &Config,
    addresses: &Addresses,
    own_token: &str,
    stop: &CancellationToken,
) -> Option<JoinHandle<()>> {
    let grpc = addresses.reachable_otlp_grpc();
    let (Role::Up { demo: true, .. }, Some(grpc)) = (config.role, grpc) else { return None };
    let token = Some(own_token.to_owned());
    let shop = crate::demo::Config {
        otlp_grpc: format!("http://{grpc}"),
        token,
        bottleneck: config.server.demo_bottleneck,
        ..Default::default()
    };
    let stop = stop.clone();
    Some(tokio::spawn(async move {
        if let Err(wrong) = crate::demo::run(shop, stop).await {
            error!(error = format!("{wrong:#}"), "demo ended");
        }
    }))
}
