//! The agent, and where its doors write to.

use crate::app::agent_config::{agent_config, reload_agent};
use crate::app::doors::Guards;
use crate::app::inputs::Inputs;
use crate::app::listeners::Addresses;
use crate::app::own_metrics;
use crate::app::reload::Reload;
use crate::config::{Config, Role};
use agent::Agent;
use anyhow::bail;
use model::{Clock, Reading, Sink, SystemClock};
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

pub struct Parts {
    /// Always there; the whole binary has roles without it.
    pub agent: Option<Agent>,
    pub sink: Option<Arc<dyn Sink>>,
    pub guards: Guards,
    pub stopping: CancellationToken,
    started_ms: i64,
}

impl Parts {
    pub async fn start(
        config: &Config,
        inputs: Inputs,
        addresses: &Addresses,
        stop: &CancellationToken,
    ) -> anyhow::Result<Parts> {
        if config.role != Role::Agent {
            bail!("this binary is the agent alone; role {} is in the whole one", config.role.name());
        }
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let mut agent_config = agent_config(config, addresses, &inputs.guards.tokens);
        agent_config.scrape_jobs = inputs.scrape_jobs;
        agent_config.log_rules = inputs.log_rules;
        let started_ms = clock.now_ms();
        let agent = Agent::start(agent_config, clock, stop.clone()).await?;
        Ok(Parts {
            sink: Some(agent.sink()),
            agent: Some(agent),
            guards: inputs.guards,
            stopping: stop.clone(),
            started_ms,
        })
    }

    /// SIGHUP: tokens, certificates, scrape jobs, log rules. What does not parse is logged, and what was stays in force.
    pub async fn reload(&self, config: &Config, mut reload: Reload) {
        self.guards.reload(config, &mut reload);
        if let Some(agent) = &self.agent {
            reload_agent(agent, config, &mut reload);
        }
        reload.tell();
    }

    pub async fn close(&self) -> anyhow::Result<()> {
        if let Some(agent) = &self.agent {
            agent.join().await;
        }
        Ok(())
    }

    pub fn readings(&self) -> Vec<Reading> {
        let mut readings = own_metrics::process(self.started_ms, Role::Agent.name());
        readings.extend(self.agent.iter().flat_map(Agent::readings));
        readings
    }
}
