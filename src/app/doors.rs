//! The servers behind the listeners that every role has: HTTP with what the role serves there, and the doors that take
//! telemetry in (OTLP, syslog).

use super::auth::{self, Tokens};
use super::connections::{Connections, Peer};
use super::listeners::Listeners;
use super::reload::Reload;
use super::tls::Tls;
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

/// What the listeners ask of callers and show to them.
#[derive(Clone)]
pub struct Guards {
    pub tokens: Arc<Tokens>,
    /// Of HTTP, OTLP and PostgreSQL.
    pub tls: Option<Arc<Tls>>,
    pub syslog_tls: Option<Arc<Tls>>,
}

impl Guards {
    /// Of listeners on loopback that only this process knows.
    fn of_own_calls(&self) -> Guards {
        Guards { tokens: self.tokens.of_own_calls(), tls: None, syslog_tls: None }
    }

    /// SIGHUP: tokens and certificates.
    pub fn reload(&self, config: &Config, reload: &mut Reload) {
        reload.came_to("tokens", self.tokens.reload(config.token_file.as_deref()));
        for tls in self.tls.iter().chain(&self.syslog_tls) {
            reload.came_to("certificates", tls.reload());
        }
    }
}

/// Starts a server on every listener but PostgreSQL's, which is given back.
pub fn serve(
    listeners: Listeners,
    http: Router,
    doors: Option<Arc<Doors>>,
    guards: &Guards,
    config: &Config,
    stop: &CancellationToken,
) -> (Servers, Option<TcpListener>) {
    let mut servers = JoinSet::new();
    let mut serve = |listener: Option<TcpListener>, router: &Router, guards: &Guards| {
        if let Some(listener) = listener {
            let guard = middleware::from_fn_with_state(guards.tokens.clone(), auth::require);
            servers.spawn(serve_http(
                listener,
                guards.tls.clone(),
                router.clone().layer(guard),
                stop.clone(),
            ));
        }
    };
    let own = guards.of_own_calls();
    serve(Some(listeners.http), &http, guards);
    serve(listeners.own_http, &http, &own);
    let Some(doors) = doors else { return (servers, listeners.pg) };
    serve(listeners.otlp_http, &receive::otlp_http_router(&doors), guards);
    let grpc = receive::otlp_grpc_router(&doors);
    serve(listeners.otlp_grpc, &grpc, guards);
    serve(listeners.own_grpc, &grpc, &own);
    if let Some(sockets) = listeners.syslog {
        let (doors, tenant, stop) = (doors.clone(), config.tenant.clone(), stop.clone());
        let limits = receive::syslog::Limits::default();
        servers.spawn(async move {
            receive::syslog::serve(sockets, doors, tenant, limits, stop).await.context("syslog listener")
        });
    }
    if let (Some(listener), Some(tls)) = (listeners.syslog_tls, guards.syslog_tls.clone()) {
        let (tenant, stop) = (config.tenant.clone(), stop.clone());
        let limits = receive::syslog::Limits::default();
        servers.spawn(async move {
            let served =
                receive::syslog::serve_tls((listener, tls.greeting()), doors, tenant, limits, stop).await;
            served.context("listener of syslog over TLS")
        });
    }
    (servers, listeners.pg)
}

async fn serve_http(
    listener: TcpListener,
    tls: Option<Arc<Tls>>,
    router: Router,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let router = router.layer(middleware::from_fn(say_peer));
    axum::serve(Connections::of(listener, tls)?, router.into_make_service_with_connect_info::<Peer>())
        .with_graceful_shutdown(stop.cancelled_owned())
        .await
        .context("HTTP listener")
}

/// The address that a request comes from, for the doors: in the place of whatever the sender wrote there.
async fn say_peer(ConnectInfo(Peer(peer)): ConnectInfo<Peer>, mut request: Request, next: Next) -> Response {
    if let Ok(peer) = HeaderValue::try_from(peer.ip().to_string()) {
        request.headers_mut().insert(receive::PEER_HEADER, peer);
    }
    next.run(request).await
}
