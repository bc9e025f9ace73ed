//! Which door is at which path, and the servers behind the listeners.

use super::auth::Tokens;
use super::listeners::Listeners;
use super::parts::Parts;
use super::{
    admin_routes, auth, health, own_metrics, page, ruler_routes, rules_routes, targets_routes, trace,
};
use crate::config::{Config, Role};
use anyhow::Context;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router, middleware};
use receive::Doors;
use serde_json::{Value, json};
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tower_http::compression::CompressionLayer;

/// What the handlers of this file need.
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
) -> anyhow::Result<JoinSet<anyhow::Result<()>>> {
    let doors_config = receive::Config {
        otlp: config.otlp.clone(),
        delta_bytes_max: config.otlp_delta_bytes,
        replicas: config.replicas.clone(),
        ..receive::Config::default()
    };
    let doors = parts.sink.clone().map(|sink| Arc::new(Doors::new(sink, doors_config)));
    let shared = Shared { parts: parts.clone(), doors: doors.clone() };
    let guard = || middleware::from_fn_with_state(parts.tokens.clone(), auth::require);
    let mut servers = JoinSet::new();

    let http = http_router(config, shared)?.layer(guard());
    servers.spawn(serve_http(listeners.http, http, stop.clone()));
    if let (Some(listener), Some(doors)) = (listeners.otlp_http, &doors) {
        servers.spawn(serve_http(listener, receive::otlp_http_router(doors).layer(guard()), stop.clone()));
    }
    if let (Some(listener), Some(doors)) = (listeners.otlp_grpc, &doors) {
        servers.spawn(serve_http(listener, receive::otlp_grpc_router(doors).layer(guard()), stop.clone()));
    }
    if let (Some(sockets), Some(doors)) = (listeners.syslog, &doors) {
        let (doors, tenant, stop) = (doors.clone(), config.tenant.clone(), stop.clone());
        let limits = receive::syslog::Limits::default();
        servers.spawn(async move {
            receive::syslog::serve(sockets, doors, tenant, limits, stop).await.context("syslog listener")
        });
    }
    if let (Some(listener), Some(tls), Some(doors)) = (listeners.syslog_tls, parts.syslog_tls.clone(), &doors)
    {
        let (doors, tenant, stop) = (doors.clone(), config.tenant.clone(), stop.clone());
        let limits = receive::syslog::Limits::default();
        servers.spawn(async move {
            let served = receive::syslog::serve_tls((listener, tls), doors, tenant, limits, stop).await;
            served.context("listener of syslog over TLS")
        });
    }
    if let (Some(listener), Some(engine)) = (listeners.pg, parts.engine.clone()) {
        let (stop, passwords) = (stop.clone(), passwords(&parts.tokens));
        servers.spawn(async move {
            api::pg::serve(listener, engine, passwords, stop).await.context("PostgreSQL listener")
        });
    }
    Ok(servers)
}

/// Where HTTP asks for a token, PostgreSQL asks for it as the password.
fn passwords(tokens: &Arc<Tokens>) -> api::pg::Passwords {
    let tokens = tokens.clone();
    tokens.are_asked_for().then(|| -> Arc<dyn Fn(&str) -> bool + Send + Sync> {
        Arc::new(move |password| tokens.accepts(Some(password)))
    })
}

async fn serve_http(listener: TcpListener, router: Router, stop: CancellationToken) -> anyhow::Result<()> {
    axum::serve(listener, router)
        .with_graceful_shutdown(stop.cancelled_owned())
        .await
        .context("HTTP listener")
}

fn http_router(config: &Config, shared: Shared) -> anyhow::Result<Router> {
    let mut router: Router<Shared> = Router::new()
        .route("/health/live", get(health::live))
        .route("/health/ready", get(ready))
        .route("/metrics", get(metrics));
    if shared.parts.store.is_some() {
        router = router.route("/api/admin/flush", post(flush)).route("/api/admin/compact", post(compact));
    }
    let mut router = router.with_state(shared.clone());
    if let Some(doors) = &shared.doors {
        router = router.merge(receive::http_router(doors));
    }
    if let Some(store) = &shared.parts.store {
        let admin = api::prometheus::admin::router(store.clone(), config.admin_api);
        router = router
            .merge(api::peer::router(store.clone()))
            .merge(api::loki::delete_router(store.clone()))
            .merge(Router::new().nest("/prometheus", admin.clone()))
            .merge(admin);
    }
    if config.role == Role::Query {
        router = router.merge(admin_routes::router(config)?);
    }
    if let Some(engine) = &shared.parts.engine {
        let prometheus = api::prometheus::router(engine.clone());
        let queries = prometheus
            .clone()
            .merge(api::loki::router(engine.clone()))
            .merge(api::tempo::router(engine.clone()))
            .merge(api::jaeger::router(engine.clone()))
            .merge(api::zipkin::router(engine.clone()))
            .merge(api::sql::router(engine.clone()))
            .merge(api::cost::router(engine.clone()))
            .merge(api::causes::router(engine.clone()))
            .nest("/prometheus", prometheus);
        // Answers are compressed, requests are not touched: the write doors decode their own, within their bounds.
        // A stream of gRPC compresses its own messages.
        let queries = queries
            .layer(CompressionLayer::new())
            .merge(api::tempo::grpc_router(engine.clone()))
            .merge(api::jaeger::grpc_router(engine.clone()));
        router = router.merge(queries.layer(middleware::from_fn(trace::request)));
    }
    if shared.parts.engine.is_some() || shared.parts.agent.is_some() {
        router = router.merge(targets_routes::router(shared.parts.clone()));
    }
    if let Some(alerts) = &shared.parts.alerts {
        let rules = rules_routes::router(alerts.clone()).merge(ruler_routes::router(alerts.clone()));
        router = router.merge(rules.layer(middleware::from_fn(trace::request)));
    }
    if matches!(config.role, Role::Up { web: true, .. } | Role::Query) {
        router = router
            .route("/api/dashboards", get(page::list))
            .route("/api/dashboards/{uid}", get(page::one))
            .fallback(page::asset);
    } else {
        router = router.fallback(api::refusal::no_such_path);
    }
    Ok(router.method_not_allowed_fallback(api::refusal::no_such_method))
}

async fn ready(State(shared): State<Shared>) -> (StatusCode, Json<Value>) {
    let refuses = shared.parts.store.as_ref().and_then(|store| store.refuses());
    health::ready(shared.parts.stopping.is_cancelled(), refuses)
}

async fn metrics(State(shared): State<Shared>) -> Response {
    let mut readings = shared.parts.readings();
    if let Some(doors) = &shared.doors {
        readings.extend(doors.readings());
    }
    ([(header::CONTENT_TYPE, own_metrics::CONTENT_TYPE)], own_metrics::render(&readings)).into_response()
}

async fn flush(State(shared): State<Shared>) -> Response {
    let Some(store) = &shared.parts.store else { return StatusCode::NOT_FOUND.into_response() };
    done(store.flush().await)
}

async fn compact(State(shared): State<Shared>) -> Response {
    let Some(store) = &shared.parts.store else { return StatusCode::NOT_FOUND.into_response() };
    done(store.compact().await)
}

fn done<E: Into<anyhow::Error>>(report: Result<store::Report, E>) -> Response {
    match report {
        Ok(report) => {
            Json(json!({ "parts": report.parts, "rows": report.rows, "bytes": report.bytes })).into_response()
        }
        Err(wrong) => {
            (StatusCode::SERVICE_UNAVAILABLE, Json(json!({ "error": format!("{:#}", wrong.into()) })))
                .into_response()
        }
    }
}
