//! Which door is at which path, and the servers behind the listeners.

use super::parts::Parts;
use super::{admin_routes, page, ruler_routes, rules_routes, trace};
use crate::app::auth::Tokens;
use crate::app::listeners::Listeners;
use crate::app::tls::Tls;
use crate::app::{doors, health, own_metrics, targets_routes};
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
use std::time::Duration;
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
) -> anyhow::Result<doors::Servers> {
    let doors = parts.sink.clone().map(|sink| doors::doors(sink, parts.agent.as_ref(), config));
    let shared = Shared { parts: parts.clone(), doors: doors.clone() };
    let http = http_router(config, shared)?;
    let (mut servers, pg) = doors::serve(listeners, http, doors, &parts.guards, config, stop);
    if let (Some(listener), Some(engine)) = (pg, parts.engine.clone()) {
        let tls: api::pg::Tls = parts.guards.tls.as_ref().map(Tls::greeting);
        let (stop, guards) = (stop.clone(), (passwords(&parts.guards.tokens), tls));
        servers.spawn(async move {
            api::pg::serve(listener, engine, guards, stop).await.context("PostgreSQL listener")
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

fn http_router(config: &Config, shared: Shared) -> anyhow::Result<Router> {
    let mut router: Router<Shared> = Router::new()
        .route("/health/live", get(health::live))
        .route("/health/ready", get(ready))
        .route("/ready", get(ready_text))
        .route("/loki/ready", get(ready_text))
        .route("/tempo/ready", get(ready_text))
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
        let asked = api::peer::router(store.clone())
            .merge(api::loki::delete_router(store.clone()))
            .merge(Router::new().nest("/prometheus", admin.clone()))
            .merge(admin);
        router = router.merge(asked.layer(middleware::from_fn(trace::request)));
    }
    if config.role == Role::Query {
        let admin = admin_routes::router(config)?;
        router = router.merge(admin.layer(middleware::from_fn(trace::request)));
    }
    if let Some(engine) = &shared.parts.engine {
        let prometheus = api::prometheus::router(engine.clone(), about(config));
        let queries = prometheus
            .clone()
            .merge(api::loki::router(engine.clone(), told(config, &shared.parts)))
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
    let alerts = &shared.parts.alerts;
    if shared.parts.engine.is_some() || alerts.is_some() {
        let rules = rules_routes::router(alerts.clone());
        router = router.merge(rules.layer(middleware::from_fn(trace::request)));
    }
    if let Some(alerts) = alerts {
        let ruler = ruler_routes::router(alerts.clone());
        router = router.merge(ruler.layer(middleware::from_fn(trace::request)));
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

/// Flags that a Prometheus has as well.
fn about(config: &Config) -> api::prometheus::About {
    let duration = |of: Duration| promql::format_duration(i64::try_from(of.as_millis()).unwrap_or(i64::MAX));
    let retention = duration(config.server.retention.metrics);
    let limits = engine::Limits::default();
    let features = if config.experimental_functions { "promql-experimental-functions" } else { "" };
    api::prometheus::About {
        started: chrono::Utc::now(),
        flags: [
            ("enable-feature", features.to_owned()),
            ("query.lookback-delta", duration(Duration::from_millis(engine::LOOKBACK_MS as u64))),
            ("query.max-samples", limits.samples_max.to_string()),
            ("query.timeout", duration(config.query_timeout)),
            ("storage.tsdb.path", config.data_dir.display().to_string()),
            ("storage.tsdb.retention.time", retention.clone()),
            ("web.enable-admin-api", config.admin_api.to_string()),
            ("web.enable-otlp-receiver", "true".to_owned()),
            ("web.enable-remote-write-receiver", "true".to_owned()),
            ("web.external-url", config.external_url.clone().unwrap_or_default()),
            ("web.listen-address", config.http.to_string()),
        ]
        .into(),
        retention,
    }
}

/// Retention is asked of the store, where it may have been set anew; a query process alone knows its own flags.
fn told(config: &Config, parts: &Parts) -> Arc<api::loki::Told> {
    let (store, written) = (parts.store.clone(), super::parts::retention(config));
    Arc::new(api::loki::Told {
        service_name_from: config.service_name_from.clone(),
        level_from: &model::level::FIELDS,
        retention: Box::new(move || {
            store.as_ref().map_or_else(|| written.clone(), |store| store.retention())
        }),
    })
}

async fn ready(State(shared): State<Shared>) -> (StatusCode, Json<Value>) {
    let refuses = shared.parts.store.as_ref().and_then(|store| store.refuses());
    health::ready(shared.parts.stopping.is_cancelled(), refuses)
}

/// As Loki says it.
async fn ready_text(State(shared): State<Shared>) -> (StatusCode, String) {
    let (status, Json(why)) = ready(State(shared)).await;
    (status, format!("{}\n", why["reason"].as_str().unwrap_or("ready")))
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
