//! What only a server needs of what the configuration names: prices, rules, SLOs, policies of tail sampling.

use crate::config::{Config, Role};
use anyhow::{Context, bail};
use std::path::Path;

pub struct Inputs {
    pub prices: Option<engine::PriceBook>,
    pub sampling: Option<traces::Sampling>,
}

impl Inputs {
    pub fn read(config: &Config) -> anyhow::Result<Inputs> {
        if matches!(config.role, Role::Up { alerts: true, .. } | Role::Alerts) {
            refuse_mistakes("--rules", &config.rules)?;
            refuse_mistakes("--slos", &config.slos)?;
        }
        Ok(Inputs { prices: prices(config)?, sampling: sampling(config)? })
    }
}

pub fn prices(config: &Config) -> anyhow::Result<Option<engine::PriceBook>> {
    config.prices.as_deref().map(price_book).transpose()
}

pub fn sampling(config: &Config) -> anyhow::Result<Option<traces::Sampling>> {
    config.tail_sampling.as_deref().map(policies).transpose()
}

fn price_book(path: &Path) -> anyhow::Result<engine::PriceBook> {
    let text =
        std::fs::read_to_string(path).with_context(|| format!("reading --prices {}", path.display()))?;
    engine::PriceBook::parse(&text).map_err(|wrong| anyhow::anyhow!("--prices {}:{wrong}", path.display()))
}

fn policies(path: &Path) -> anyhow::Result<traces::Sampling> {
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
