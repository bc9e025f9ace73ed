//! The write doors: HTTP and gRPC handlers that decode a request, write it through a [`model::Sink`], and answer in the
//! words of the protocol; syslog has none. They know no storage.
//!
//! Every request passes the same way: bounded body → bounded decompression → decode → write → answer. What is left out
//! of a request is counted by reason whichever door it came through.

mod body;
mod deltas;
mod doors;
mod elastic;
mod grpc;
mod ids;
mod influx;
mod jaeger;
mod journal;
mod jsonline;
mod loki;
mod message;
mod otlp;
mod peers;
mod prometheus;
pub mod replicas;
mod retry;
pub mod syslog;
mod zipkin;

pub use doors::{Config, Doors};
pub use peers::PEER_HEADER;

use axum::Router;
use axum::routing::{get, post};
use std::sync::Arc;

/// All write routes of the one HTTP port.
pub fn http_router(doors: &Arc<Doors>) -> Router {
    let mut router = elastic::router()
        .route("/loki/api/v1/push", post(loki::push))
        .route("/insert/jsonline", post(jsonline::insert))
        .route("/upload", post(journal::upload))
        .route("/insert/journald/upload", post(journal::upload))
        .route("/api/v1/import/prometheus", post(prometheus::import))
        .route("/write", post(influx::write))
        .route("/api/v2/write", post(influx::write))
        .route("/ping", get(influx::ping))
        .route("/api/traces", post(jaeger::thrift))
        .route("/jaeger/api/traces", post(jaeger::thrift))
        .route("/api/v2/spans", post(zipkin::spans))
        .route("/zipkin/api/v2/spans", post(zipkin::spans))
        .route("/otlp/v1/metrics", post(otlp::metrics))
        .route("/otlp/v1/logs", post(otlp::logs))
        .route("/otlp/v1/traces", post(otlp::traces));
    for prefix in ["", "/prometheus"] {
        router = router
            .route(&format!("{prefix}/api/v1/write"), post(prometheus::write))
            .route(&format!("{prefix}/api/v1/otlp/v1/metrics"), post(otlp::metrics));
    }
    bounded(router, doors)
}

/// The routes of the OTLP/HTTP port, which also takes what Jaeger's and Zipkin's clients send by HTTP.
pub fn otlp_http_router(doors: &Arc<Doors>) -> Router {
    let router = Router::new()
        .route("/v1/metrics", post(otlp::metrics))
        .route("/v1/logs", post(otlp::logs))
        .route("/v1/traces", post(otlp::traces))
        .route("/api/traces", post(jaeger::thrift))
        .route("/api/v2/spans", post(zipkin::spans));
    bounded(router, doors)
}

/// The services of the OTLP/gRPC port, Jaeger's collector among them.
pub fn otlp_grpc_router(doors: &Arc<Doors>) -> Router {
    grpc::router(doors)
}

/// Bodies are read by [`body::read`], with bounds of its own.
fn bounded(router: Router<Arc<Doors>>, doors: &Arc<Doors>) -> Router {
    router.layer(axum::extract::DefaultBodyLimit::disable()).with_state(doors.clone())
}

#[cfg(test)]
mod tests;
