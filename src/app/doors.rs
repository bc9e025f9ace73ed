//! The servers behind the listeners that every role has: HTTP with what the role serves there, and the doors that take
//! telemetry in (OTLP, syslog).

use super::auth::{self, Tokens};
use super::listeners::Listeners;
use crate::config::{Config, Role};
use agent::Agent;
use anyhow::Context;
use axum::Router;
use axum::extract::{ConnectInfo, Request};
use axum::http::HeaderValue;
use axum::middleware::{self, Next};
use axum::response::Response;
use model::Sink;
use receive::Doors;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// Tasks that end after the stop, or with what went wrong.
pub type Servers = JoinSet<anyhow::Result<()>>;

/// The doors in front of where they write to.
pub fn doors(sink: Arc<dyn Sink>, agent: Option<&Agent>, config: &Config) -> Arc<Doors> {
    let doors_config = receive::Config {
        otlp: config.otlp.clone(),
        service_name_from: config.service_name_from.clone(),
        delta_bytes_max: config.otlp_delta_bytes,
        replicas: config.replicas.clone(),
        ..receive::Config::default()
    };
    let doors = Doors::new(sink, doors_config);
    // Where an agent's queue is behind the doors, its node's pods are in front of them.
    Arc::new(match agent.filter(|_| config.role == Role::Agent) {
        Some(agent) => doors.identified_by(agent.identify()),
        None => doors,
    })
}

/// Starts a server on every listener but PostgreSQL's, which is given back.
pub fn serve(
    listeners: Listeners,
    http: Router,
    doors: Option<Arc<Doors>>,
    (tokens, syslog_tls): (&Arc<Tokens>, Option<Arc<rustls::ServerConfig>>),
    config: &Config,
    stop: &CancellationToken,
) -> (Servers, Option<TcpListener>) {
    let guard = || middleware::from_fn_with_state(tokens.clone(), auth::require);
    let mut servers = JoinSet::new();
    servers.spawn(serve_http(listeners.http, http.layer(guard()), stop.clone()));
    let Some(doors) = doors else { return (servers, listeners.pg) };
    if let Some(listener) = listeners.otlp_http {
        servers.spawn(serve_http(listener, receive::otlp_http_router(&doors).layer(guard()), stop.clone()));
    }
    if let Some(listener) = listeners.otlp_grpc {
        servers.spawn(serve_http(listener, receive::otlp_grpc_router(&doors).layer(guard()), stop.clone()));
    }
    if let Some(sockets) = listeners.syslog {
        let (doors, tenant, stop) = (doors.clone(), config.tenant.clone(), stop.clone());
        let limits = receive::syslog::Limits::default();
        servers.spawn(async move {
            receive::syslog::serve(sockets, doors, tenant, limits, stop).await.context("syslog listener")
        });
    }
    if let (Some(listener), Some(tls)) = (listeners.syslog_tls, syslog_tls) {
        let (tenant, stop) = (config.tenant.clone(), stop.clone());
        let limits = receive::syslog::Limits::default();
        servers.spawn(async move {
            let served = receive::syslog::serve_tls((listener, tls), doors, tenant, limits, stop).await;
            served.context("listener of syslog over TLS")
        });
    }
    (servers, listeners.pg)
}

async fn serve_http(listener: TcpListener, router: Router, stop: CancellationToken) -> anyhow::Result<()> {
    let router = router.layer(middleware::from_fn(say_peer));
    axum::serve(listener, router.into_make_service_with_connect_info::<SocketAddr>())
        .with_graceful_shutdown(stop.cancelled_owned())
        .await
        .context("HTTP listener")
}

/// The address that a request comes from, for the doors: in the place of whatever the sender wrote there.
async fn say_peer(ConnectInfo(peer): ConnectInfo<SocketAddr>, mut request: Request, next: Next) -> Response {
    if let Ok(peer) = HeaderValue::try_from(peer.ip().to_string()) {
        request.headers_mut().insert(receive::PEER_HEADER, peer);
    }
    next.run(request).await
}
