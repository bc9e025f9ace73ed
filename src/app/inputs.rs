//! What the configuration names and a start needs: token files, prices, rules, SLOs, a directory that can be written.
//! Read and checked before a port is bound, so that a mistake in them ends the start as one in a flag does.

use super::auth::Tokens;
use super::data_dir::DataDir;
use crate::config::{Config, Role};
use anyhow::{Context, bail};
use std::path::Path;
use std::sync::Arc;

pub struct Inputs {
    pub tokens: Arc<Tokens>,
    /// What this process shows to the ingest process.
    pub ingest_token: Option<String>,
    pub prices: Option<engine::PriceBook>,
    pub scrape_jobs: Vec<agent::scrape::Job>,
    pub syslog_tls: Option<Arc<rustls::ServerConfig>>,
    pub log_rules: agent::LogRules,
    pub sampling: Option<traces::Sampling>,
}

impl Inputs {
    pub fn read(config: &Config) -> anyhow::Result<Inputs> {
        let ingest_token = config.ingest_token_file.as_deref().map(token).transpose()?;
        if matches!(config.role, Role::Up { alerts: true, .. } | Role::Alerts) {
            refuse_mistakes("--rules", &config.rules)?;
            refuse_mistakes("--slos", &config.slos)?;
        }
        let tokens = Tokens::load(config.token_file.as_deref())?;
        let prices = config.prices.as_deref().map(price_book).transpose()?;
        let scrape_jobs = scrape_jobs(config)?;
        let log_rules = log_rules(config)?;
        let syslog_tls = config.syslog_tls.as_ref().map(super::tls::server_config).transpose()?;
        let sampling = config.tail_sampling.as_deref().map(sampling).transpose()?;
        // Last: a start that is refused makes no directory.
        DataDir::prepare(&config.data_dir)?;
        Ok(Inputs { tokens, ingest_token, prices, scrape_jobs, log_rules, syslog_tls, sampling })
    }
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
    agent::LogRules::parse(&text).map_err(|wrong| anyhow::anyhow!("--log-rules {}: {wrong}", path.display()))
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

fn price_book(path: &Path) -> anyhow::Result<engine::PriceBook> {
    let text =
        std::fs::read_to_string(path).with_context(|| format!("reading --prices {}", path.display()))?;
    engine::PriceBook::parse(&text).map_err(|wrong| anyhow::anyhow!("--prices {}: {wrong}", path.display()))
}

fn sampling(path: &Path) -> anyhow::Result<traces::Sampling> {
    let text = std::fs::read_to_string(path)
        .with_context(|| format!("reading --tail-sampling {}", path.display()))?;
    traces::Sampling::parse(&text)
        .map_err(|wrong| anyhow::anyhow!("--tail-sampling {}: {wrong}", path.display()))
}

/// The first mistake in words; `binnacle check` tells them all.
fn refuse_mistakes(flag: &str, patterns: &[String]) -> anyhow::Result<()> {
    let parses = |query: &str| promql::parse(query).map(|_| ()).map_err(|wrong| wrong.to_string());
    for pattern in patterns {
        for path in alerts::matching(pattern).with_context(|| flag.to_owned())? {
            if let Err(mistakes) = alerts::check_file(&path, &parses)
                && let Some(first) = mistakes.first()
            {
                let more = match mistakes.len() {
                    1 => String::new(),
                    all => format!(" ({} more; `binnacle check` tells all)", all - 1),
                };
                bail!("{flag} {}:{first}{more}", path.display());
            }
        }
    }
    Ok(())
}
