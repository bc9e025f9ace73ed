//! The parts that a role consists of, started in the order in which they need one another and closed in reverse.

use super::inputs;
use super::span_path::SpanPath;
use crate::app::agent_config::{agent_config, reload_agent};
use crate::app::doors::Guards;
use crate::app::inputs::Inputs;
use crate::app::listeners::Addresses;
use crate::app::own_metrics;
use crate::app::reload::Reload;
use crate::config::{Config, Role};
use crate::remote::{Access, RemoteAsk, RemoteSink};
use crate::trace_context;
use agent::Agent;
use alerts::{Alerts, Asks};
use anyhow::Context;
use engine::{Engine, LogAsk};
use model::{Clock, Reading, Sink, SystemClock};
use std::sync::Arc;
use store::{Source, Store};
use tokio_util::sync::CancellationToken;

/// What runs in this process. A part that the role does not have is `None`.
pub struct Parts {
    pub store: Option<Arc<Store>>,
    pub engine: Option<Arc<Engine>>,
    pub alerts: Option<Arc<Alerts>>,
    pub agent: Option<Agent>,
    /// Where the doors write to: the store, through what is derived of spans, or the agent's queue.
    pub sink: Option<Arc<dyn Sink>>,
    span_path: Option<SpanPath>,
    pub guards: Guards,
    pub stopping: CancellationToken,
    started_ms: i64,
    role: Role,
}

/// Shares of `--memory`, in eighths: what the store may hold of what comes in (memtables, indexing, merging), what it may keep
/// of the side indexes of its parts, and what all queries together may hold.
const STORE_EIGHTHS: usize = 4;
const INDEX_EIGHTHS: usize = 1;
const QUERY_EIGHTHS: usize = 3;

/// Changes from the records that agents make of them; orders and revenue from the attributes of the spans that took them (`shop.order.*`, as the demo's shop sets them).
const VIEWS: [(&str, &str); 3] = [
    (
        "changes",
        "select ts, attr(attributes, 'change.kind') as kind, namespace, \
         attr(attributes, 'change.workload') as workload, body as what, \
         attr(attributes, 'change.before') as before, attr(attributes, 'change.after') as after, \
         coalesce(attr(attributes, 'k8s.node.name'), node) as node, attributes \
         from logs where service = 'binnacle.changes'",
    ),
    (
        "business_orders",
        "select start_ts as ts, trace_id, attr(attributes, 'shop.order.id') as order_id, \
         cast(attr(attributes, 'shop.order.total') as double) as total_eur \
         from spans where attr(attributes, 'shop.order.id') is not null",
    ),
    (
        "business_revenue_by_minute",
        "select date_bin(interval '1 minute', start_ts) as minute, count(*) as orders, \
         round(sum(cast(attr(attributes, 'shop.order.total') as double)), 2) as revenue_eur \
         from spans where attr(attributes, 'shop.order.id') is not null group by 1 order by 1",
    ),
];

impl Parts {
    pub async fn start(
        config: &Config,
        inputs: Inputs,
        addresses: &Addresses,
        stop: &CancellationToken,
    ) -> anyhow::Result<Parts> {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let mut parts = Parts {
            store: None,
            engine: None,
            alerts: None,
            agent: None,
            sink: None,
            span_path: None,
            guards: inputs.guards,
            stopping: stop.clone(),
            started_ms: clock.now_ms(),
            role: config.role,
        };
        let (with_agent, with_alerts) = match config.role {
            Role::Up { agent, alerts, .. } => (agent, alerts),
            Role::Agent => (true, false),
            Role::Alerts => (false, true),
            Role::Ingest | Role::Query => (false, false),
        };
        if matches!(config.role, Role::Up { .. } | Role::Ingest) {
            let store = Store::open(store_config(config), clock.clone()).await?;
            parts.sink = Some(store.clone());
            if let Some(path) = SpanPath::start(config, inputs.server.sampling, store.clone(), clock.clone())
            {
                parts.sink = Some(path.sink());
                parts.span_path = Some(path);
            }
            parts.store = Some(store);
        }
        if matches!(config.role, Role::Up { .. } | Role::Query) {
            let source: Arc<dyn Source> = match &parts.store {
                Some(store) => store.clone(),
                None => {
                    let peer = api::peer::PeerSource::new(&config.ingest_url, inputs.ingest_token)?;
                    Arc::new(peer.in_trace(trace_context::headers))
                }
            };
            let engine = Engine::new(source, clock.clone(), query_limits(config))?;
            if let Some(prices) = inputs.server.prices {
                engine.set_prices(prices);
            }
            VIEWS.iter().for_each(|(name, query)| engine.add_view(name, query));
            parts.engine = Some(Arc::new(engine));
        }
        if with_alerts {
            parts.alerts = Some(parts.start_alerts(config, addresses, &clock, stop).await?);
        }
        if with_agent {
            let mut agent_config = agent_config(config, addresses, &parts.guards.tokens);
            agent_config.scrape_jobs = inputs.scrape_jobs;
            agent_config.log_rules = inputs.log_rules;
            let agent = Agent::start(agent_config, clock, stop.clone()).await?;
            if config.role == Role::Agent {
                parts.sink = Some(agent.sink());
            }
            parts.agent = Some(agent);
        }
        Ok(parts)
    }

    async fn start_alerts(
        &self,
        config: &Config,
        addresses: &Addresses,
        clock: &Arc<dyn Clock>,
        stop: &CancellationToken,
    ) -> anyhow::Result<Arc<Alerts>> {
        let access = Access::of(config);
        let asks = match &self.engine {
            Some(engine) => Asks { metrics: engine.clone(), logs: Arc::new(LogAsk::new(engine.clone())) },
            None => Asks {
                metrics: Arc::new(RemoteAsk::metrics(&config.query_url, access.clone())?),
                logs: Arc::new(RemoteAsk::logs(&config.query_url, access.clone())?),
            },
        };
        let sink: Arc<dyn Sink> = match &self.store {
            Some(store) => store.clone(),
            None => Arc::new(RemoteSink::new(&config.ingest_url, access)?),
        };
        Alerts::start(alerts_config(config, addresses), asks, sink, clock.clone(), stop.clone()).await
    }

    /// SIGHUP: tokens, limits, prices, policies, rules and SLOs. What does not parse is logged, and what was stays in force.
    pub async fn reload(&self, config: &Config, mut reload: Reload) {
        if let Some(engine) = &self.engine {
            engine.set_timeout(config.query_timeout);
            let prices = inputs::prices(config).map(|book| engine.set_prices(book.unwrap_or_default()));
            reload.came_to("prices", prices);
        }
        if let Some(path) = &self.span_path {
            let policies = inputs::sampling(config).map(|policies| {
                if let Some(policies) = policies {
                    path.set_sampling(policies);
                }
            });
            reload.came_to("policies of tail sampling", policies);
        }
        if let Some(store) = &self.store {
            store.set_retention(retention(config));
            store.set_limits(config.server.limits.clone());
            store.set_downsampling(config.server.downsampling.clone());
        }
        self.guards.reload(config, &mut reload);
        if let Some(alerts) = &self.alerts {
            reload.came_to("rules and SLOs", alerts.reload().await);
        }
        if let Some(agent) = &self.agent {
            reload_agent(agent, config, &mut reload);
        }
        reload.tell();
    }

    /// After the doors are closed: collection ends, then evaluation, then what is in memory becomes parts.
    pub async fn close(&self) -> anyhow::Result<()> {
        if let Some(agent) = &self.agent {
            agent.join().await;
        }
        if let Some(alerts) = &self.alerts {
            alerts.join().await;
        }
        if let Some(path) = &self.span_path {
            path.close().await;
        }
        if let Some(store) = &self.store {
            store.close().await.context("closing the store")?;
        }
        Ok(())
    }

    pub fn readings(&self) -> Vec<Reading> {
        let mut readings = own_metrics::process(self.started_ms, self.role.name());
        if let Some(store) = &self.store {
            readings.extend(store.readings());
        }
        if let Some(path) = &self.span_path {
            readings.extend(path.readings());
        }
        if let Some(engine) = &self.engine {
            readings.extend(engine.readings());
        }
        if let Some(alerts) = &self.alerts {
            readings.extend(alerts.readings());
        }
        if let Some(agent) = &self.agent {
            readings.extend(agent.readings());
        }
        readings
    }
}

fn store_config(config: &Config) -> store::Config {
    store::Config {
        dir: config.data_dir.clone(),
        memory_bytes_max: config.memory_bytes / 8 * STORE_EIGHTHS,
        index_bytes_max: config.memory_bytes / 8 * INDEX_EIGHTHS,
        retention: retention(config),
        read_log_query: logql::read_log_query,
        delete_cancel_period: config.server.delete_cancel_period,
        limits: config.server.limits.clone(),
        downsampling: config.server.downsampling.clone(),
        on_rewrite: crate::memory::on_rewrite,
        ..store::Config::default()
    }
}

pub fn retention(config: &Config) -> store::Retention {
    store::Retention {
        metrics: config.server.retention.metrics,
        logs: config.server.retention.logs,
        streams: config.server.retention.streams.clone(),
        spans: config.server.retention.traces,
    }
}

fn query_limits(config: &Config) -> engine::Limits {
    engine::Limits {
        memory_bytes_max: config.memory_bytes / 8 * QUERY_EIGHTHS,
        on_release: crate::memory::give_back_free,
        timeout: config.query_timeout,
        experimental_functions: config.experimental_functions,
        discover_log_levels: config.discover_log_levels,
        ..engine::Limits::default()
    }
}

fn alerts_config(config: &Config, addresses: &Addresses) -> alerts::Config {
    let external_url = config
        .external_url
        .clone()
        .unwrap_or_else(|| format!("{}://{}", addresses.http_scheme(), addresses.http));
    alerts::Config {
        rules: config.rules.clone(),
        slos: config.slos.clone(),
        data_dir: config.data_dir.join("alerts"),
        webhooks: config.webhook.clone(),
        alertmanagers: config.alertmanager.clone(),
        external_url,
        evaluation_interval: config.evaluation_interval,
        with_demo_slos: matches!(config.role, Role::Up { demo: true, .. }),
        ..alerts::Config::default()
    }
}
