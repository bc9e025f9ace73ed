//! What the configuration says to the agent, at the start and at SIGHUP.

use super::auth::Tokens;
use super::inputs;
use super::listeners::Addresses;
use super::reload::Reload;
use crate::config::{Config, Role};
use agent::Agent;

pub fn agent_config(config: &Config, addresses: &Addresses, tokens: &Tokens) -> agent::Config {
    let (ingest, token) = match (config.role, &config.ingest_token_file) {
        (Role::Agent, None) => (config.ingest_url.clone(), agent::Token::None),
        (Role::Agent, Some(path)) => (config.ingest_url.clone(), agent::Token::File(path.clone())),
        _ => (format!("http://{}", addresses.reachable_http()), agent::Token::Text(tokens.own().to_owned())),
    };
    collecting(config, ingest, token)
}

/// What an agent collects, and where it sends it.
pub fn collecting(config: &Config, ingest: String, token: agent::Token) -> agent::Config {
    let mut agent = agent::Config {
        data_dir: config.data_dir.join("agent"),
        ingest,
        token,
        tenant: config.tenant.clone(),
        host_root: config.host_root.clone(),
        interval: config.collect_interval,
        kubelet: config.kubelet.clone(),
        cluster: config.cluster.clone(),
        cluster_name: config.cluster_name.clone(),
        cloud_metadata: config.cloud_metadata.clone(),
        discover: config.discover,
        metadata: config.metadata.clone(),
        job_names: config.job_names.clone(),
        textfile_dir: config.textfile_dir.clone(),
        certificates: match config.role {
            Role::Agent => config.ingest_certificates.clone(),
            // Its own listener on loopback.
            _ => agent::Certificates::default(),
        },
        ..agent::Config::default()
    };
    if let Some(bytes) = config.agent_queue_bytes {
        agent.queue_bytes_max = bytes;
    }
    if !config.log_files.is_empty() {
        agent.log_files = config.log_files.clone();
    }
    agent
}

/// Scrape jobs and log rules.
pub fn reload_agent(agent: &Agent, config: &Config, reload: &mut Reload) {
    let jobs = inputs::scrape_jobs(config).map(|jobs| agent.set_scrape_jobs(jobs));
    reload.came_to("scrape jobs", jobs);
    let rules = inputs::log_rules(config).map(|rules| agent.set_log_rules(rules));
    reload.came_to("log rules", rules);
}
