//! What the configuration names and a start needs: token files, scrape jobs, rules, a directory that can be written.
//! Read and checked before a port is bound, so that a mistake in them ends the start as one in a flag does.

use super::auth::Tokens;
use super::data_dir::DataDir;
use super::doors::Guards;
use super::tls::Tls;
use crate::config::{Config, Role};
use anyhow::{Context, bail};
use std::path::Path;
use std::sync::Arc;

pub struct Inputs {
    pub guards: Guards,
    /// What this process shows to the ingest process.
    pub ingest_token: Option<String>,
    pub scrape_jobs: Vec<agent::scrape::Job>,
    pub log_rules: agent::LogRules,
    #[cfg(feature = "server")]
    pub server: super::server::Inputs,
}

impl Inputs {
    pub fn read(config: &Config) -> anyhow::Result<Inputs> {
        let inputs = Inputs::checked(config)?;
        // Last: a start that is refused makes no directory.
        DataDir::prepare(&config.data_dir)?;
        Ok(inputs)
    }

    /// Without a directory.
    pub fn checked(config: &Config) -> anyhow::Result<Inputs> {
        let ingest_token = config.ingest_token_file.as_deref().map(token).transpose()?;
        config.ingest_certificates.check()?;
        let tokens = Tokens::load(config.token_file.as_deref())?;
        #[cfg(feature = "server")]
        let server = super::server::Inputs::read(config)?;
        host_root(config)?;
        let scrape_jobs = scrape_jobs(config)?;
        let log_rules = log_rules(config)?;
        let tls = |files| Tls::read(files).map(Arc::new);
        let guards = Guards {
            tokens,
            tls: config.tls.clone().map(tls).transpose()?,
            syslog_tls: config.syslog_tls.clone().map(|(_, files)| tls(files)).transpose()?,
        };
        Ok(Inputs {
            guards,
            ingest_token,
            scrape_jobs,
            log_rules,
            #[cfg(feature = "server")]
            server,
        })
    }
}

/// An agent without the machine's root would go on for ever and tell next to nothing.
fn host_root(config: &Config) -> anyhow::Result<()> {
    let root = &config.host_root;
    if matches!(config.role, Role::Up { agent: true, .. } | Role::Agent) && !root.is_dir() {
        bail!(
            "--host-root {}: there is no such folder; the machine's root is to be mounted there",
            root.display()
        );
    }
    Ok(())
}

/// What the agent scrapes; none where the role has no agent.
pub fn scrape_jobs(config: &Config) -> anyhow::Result<Vec<agent::scrape::Job>> {
    let (Some(path), Role::Up { agent: true, .. } | Role::Agent) = (&config.scrape_config, config.role)
    else {
        return Ok(vec![]);
    };
    let text = std::fs::read_to_string(path)
        .with_context(|| format!("reading --scrape-config {}", path.display()))?;
    let folder = path.parent().unwrap_or(Path::new("."));
    let parsed = agent::scrape::parse_jobs(&text, folder)
        .map_err(|wrong| anyhow::anyhow!("--scrape-config {}:{wrong}", path.display()))?;
    for warning in parsed.warnings {
        tracing::warn!(file = %path.display(), "{warning}");
    }
    Ok(parsed.jobs)
}

/// What the agent does with lines of containers.
pub fn log_rules(config: &Config) -> anyhow::Result<agent::LogRules> {
    let Some(path) = &config.log_rules else { return Ok(agent::LogRules::default()) };
    let text =
        std::fs::read_to_string(path).with_context(|| format!("reading --log-rules {}", path.display()))?;
    agent::LogRules::parse(&text).map_err(|wrong| anyhow::anyhow!("--log-rules {}:{wrong}", path.display()))
}

fn token(path: &Path) -> anyhow::Result<String> {
    let text = std::fs::read_to_string(path)
        .with_context(|| format!("reading --ingest-token-file {}", path.display()))?;
    let token = text.trim();
    if token.is_empty() || token.contains(char::is_whitespace) {
        bail!("--ingest-token-file {} must hold one token and nothing else", path.display());
    }
    Ok(token.to_owned())
}
