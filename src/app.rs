//! The composition root: the one place that knows all the parts, and only connects them.
//!
//! A role is a choice of parts. Listeners are bound before anything slow, `<data-dir>/listeners.json` is written once
//! all of them accept, and SIGTERM takes the parts down in the order in which data flows: doors, agent, alerts, store.

mod agent_config;
#[cfg(not(feature = "server"))]
mod agent_only;
mod auth;
mod connections;
mod data_dir;
mod doors;
mod files;
mod health;
mod inputs;
mod listeners;
mod own_metrics;
mod reload;
#[cfg(feature = "server")]
mod server;
mod targets_routes;
mod tls;

#[cfg(not(feature = "server"))]
use agent_only as built;
#[cfg(feature = "server")]
use server as built;

use crate::config::{Config, Role, SelfTelemetry};
use crate::{memory, telemetry};
use anyhow::Context;
use built::Parts;
use data_dir::DataDir;
use files::Files;
pub use inputs::Inputs;
use listeners::Listeners;
use reload::Reload;
use std::sync::Arc;
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

/// From SIGTERM to exit 0; what is not flushed by then is still in the WAL.
const DRAIN_MAX: Duration = Duration::from_secs(10);

/// How long a thread for blocking work waits for more of it.
const BLOCKING_KEEP_ALIVE: Duration = Duration::from_secs(1);

/// Reads the configuration once more, from where it was read at the start.
pub type Again = Box<dyn Fn() -> anyhow::Result<Config> + Send + Sync>;

/// Runs a role until a signal ends it.
pub fn run(config: Config, inputs: Inputs, again: Again) -> anyhow::Result<()> {
    telemetry::install_tls();
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    if config.role == Role::Agent {
        agent::stand_back();
        let cores = std::thread::available_parallelism().map_or(1, |cores| cores.get());
        runtime.worker_threads(cores.min(agent::THREADS_MAX));
    }
    let runtime = runtime
        .enable_all()
        // Plans of deeply nested queries recurse; DataFusion's own guard needs room to do so.
        .thread_stack_size(8 << 20)
        .on_thread_park(memory::tidy)
        // What queries freed of such a thread goes back to the system when the thread ends.
        .thread_keep_alive(BLOCKING_KEEP_ALIVE)
        .build()
        .context("starting the runtime")?;
    let ended = runtime.block_on(run_role(config, inputs, again));
    runtime.shutdown_timeout(Duration::from_millis(200));
    ended
}

/// What an agent of this configuration would collect; a mistake that would end its start ends this, too.
pub fn preview(config: &Config) -> anyhow::Result<String> {
    telemetry::install_tls();
    let Inputs { scrape_jobs, log_rules, .. } = Inputs::checked(config)?;
    let mut agent = agent_config::collecting(config, config.ingest_url.clone(), agent::Token::None);
    agent.scrape_jobs = scrape_jobs;
    agent.log_rules = log_rules;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    Ok(runtime.block_on(agent::preview(&agent)))
}

async fn run_role(config: Config, inputs: Inputs, again: Again) -> anyhow::Result<()> {
    let bound = Listeners::bind(&config).await?;
    let own_token = inputs.guards.tokens.own().to_owned();
    let log = telemetry::start(&config.log, own_telemetry(&config, &bound.addresses, &own_token).as_ref())?;
    let _held = DataDir::hold(&config.data_dir)?;
    let stop = CancellationToken::new();
    let parts = Arc::new(Parts::start(&config, inputs, &bound.addresses, &stop).await?);

    if config.role == Role::Agent {
        memory::keep_little_free();
        // By then everything that is done again and again was done twice.
        let settled = config.collect_interval * 2;
        tokio::spawn(async move {
            tokio::time::sleep(settled).await;
            memory::give_back_free();
            agent::give_back_code();
        });
    }

    let addresses = bound.addresses.clone();
    let mut doors = built::serve(bound, &config, &parts, &stop)?;
    addresses.announce(&config).await?;
    let shop_closes = CancellationToken::new();
    let demo = built::start_demo(&config, &addresses, &own_token, &shop_closes);

    tokio::select! {
        () = until_signal(&parts, &config, &again) => info!("stopping"),
        ended = doors.join_next() => error!(?ended, "a listener ended by itself; stopping"),
    }
    drain(stop, doors, (shop_closes, demo), &parts, &log).await
}

/// Where own traces and logs go. Our token is for our own doors only.
fn own_telemetry(
    config: &Config,
    addresses: &listeners::Addresses,
    own_token: &str,
) -> Option<telemetry::Destination> {
    let (endpoint, token) = match &config.self_telemetry {
        SelfTelemetry::Off => return None,
        SelfTelemetry::OnSelf => {
            (format!("http://{}", addresses.reachable_otlp_grpc()?), Some(own_token.to_owned()))
        }
        SelfTelemetry::To(url) => (url.clone(), None),
    };
    Some(telemetry::Destination { endpoint, token })
}

/// Returns at SIGTERM or SIGINT; SIGHUP, and of an agent a change of its files, reloads what can be and goes on.
async fn until_signal(parts: &Parts, was: &Config, again: &Again) {
    let (Ok(mut term), Ok(mut interrupt), Ok(mut hangup)) =
        (signal(SignalKind::terminate()), signal(SignalKind::interrupt()), signal(SignalKind::hangup()))
    else {
        error!("signals cannot be received; stop with kill -9");
        return std::future::pending().await;
    };
    let mut files = Files::of(was);
    let mut looks = tokio::time::interval(files::LOOK_EVERY);
    loop {
        tokio::select! {
            _ = term.recv() => return,
            _ = interrupt.recv() => return,
            _ = hangup.recv() => files.note(),
            _ = looks.tick() => {
                if !files.changed() {
                    continue;
                }
            }
        }
        match again() {
            Ok(config) => {
                parts.reload(&config, Reload::of(was, &config)).await;
                files.follow(&config);
            }
            Err(wrong) => warn!(error = format!("{wrong:#}"), "the configuration stays as it was"),
        }
    }
}

async fn drain(
    stop: CancellationToken,
    mut doors: tokio::task::JoinSet<anyhow::Result<()>>,
    (shop_closes, demo): (CancellationToken, Option<tokio::task::JoinHandle<()>>),
    parts: &Parts,
    log: &Arc<telemetry::Telemetry>,
) -> anyhow::Result<()> {
    let orderly = async {
        // The shop's last batch and our own telemetry still find open doors.
        shop_closes.cancel();
        if let Some(demo) = demo {
            let _ = demo.await;
        }
        let log = log.clone();
        let _ = tokio::task::spawn_blocking(move || log.shutdown()).await;
        stop.cancel();
        while let Some(ended) = doors.join_next().await {
            if let Ok(Err(wrong)) = ended {
                warn!(error = format!("{wrong:#}"), "listener");
            }
        }
        parts.close().await
    };
    match tokio::time::timeout(DRAIN_MAX, orderly).await {
        Ok(closed) => closed,
        Err(_) => {
            warn!("not everything was flushed in 10 s; the rest is in the WAL and is read at the next start");
            Ok(())
        }
    }
}
