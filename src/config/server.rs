//! What only a server is told: how long it keeps what, what a tenant may have, where the demo's shop waits.

use super::units::{parse_bytes_of_loki, parse_duration};
use super::{Flags, duration};
use anyhow::{Context, bail};
use std::time::Duration;

#[derive(Clone, Debug)]
pub struct Config {
    pub retention: Retention,
    pub delete_cancel_period: Duration,
    pub limits: store::LimitBook,
    pub downsampling: store::Downsampling,
    pub demo_bottleneck: crate::demo::Bottleneck,
}

#[derive(Clone, Debug)]
pub struct Retention {
    pub metrics: Duration,
    pub logs: Duration,
    pub streams: Vec<store::StreamRetention>,
    pub traces: Duration,
}

const DAY: Duration = Duration::from_secs(86_400);

impl Config {
    /// `memory_bytes`: what `--memory` comes to.
    pub fn of(flags: &Flags, memory_bytes: usize) -> anyhow::Result<Config> {
        Ok(Config {
            retention: Retention {
                metrics: duration("--retention-metrics", flags.retention_metrics.clone(), 31 * DAY)?,
                logs: duration("--retention-logs", flags.retention_logs.clone(), 31 * DAY)?,
                streams: flags
                    .retention_stream
                    .iter()
                    .map(|text| {
                        stream_retention(text).with_context(|| format!("--retention-stream {text:?}"))
                    })
                    .collect::<Result<_, _>>()?,
                traces: duration("--retention-traces", flags.retention_traces.clone(), 14 * DAY)?,
            },
            delete_cancel_period: match flags.delete_request_cancel_period.as_deref() {
                Some("0" | "0s") => Duration::ZERO,
                written => duration("--delete-request-cancel-period", written.map(str::to_owned), DAY)?,
            },
            limits: store::LimitBook::parse(&flags.limit, limits(flags, memory_bytes)?)
                .map_err(|wrong| anyhow::anyhow!("--limit {wrong}"))?,
            downsampling: store::Downsampling::parse(&flags.downsample)
                .map_err(|wrong| anyhow::anyhow!("--downsample {wrong}"))?,
            demo_bottleneck: match flags.demo_bottleneck.as_deref() {
                None => crate::demo::Bottleneck::default(),
                Some(text) => crate::demo::Bottleneck::parse(text)
                    .with_context(|| format!("--demo-bottleneck {text:?}"))?,
            },
        })
    }
}

/// What holds for a tenant that `--limit` does not speak of.
fn limits(flags: &Flags, memory_bytes: usize) -> anyhow::Result<store::Limits> {
    let mut limits = store::Limits { logs: log_limits(flags)?, ..store::Limits::within(memory_bytes) };
    if let Some(text) = &flags.max_line_size {
        limits.line_bytes_max =
            parse_bytes_of_loki(text).with_context(|| format!("--max-line-size {text:?}"))?;
    }
    Ok(limits)
}

/// Loki's limits under Loki's names; a megabyte is what Loki takes for one.
fn log_limits(flags: &Flags) -> anyhow::Result<store::LogLimits> {
    const MB: f64 = 1048576.0;
    let longest = |flag: &str, written: &Option<String>| -> anyhow::Result<Option<Duration>> {
        written
            .as_deref()
            .map(|text| parse_duration(text).with_context(|| format!("{flag} {text:?}")))
            .transpose()
    };
    let bytes = |flag: &str, written: &Option<String>| -> anyhow::Result<Option<f64>> {
        let read = |text: &str| parse_bytes_of_loki(text).with_context(|| format!("{flag} {text:?}"));
        Ok(written.as_deref().map(read).transpose()?.map(|bytes| bytes as f64))
    };
    let positive = |flag: &str, written: Option<f64>| -> anyhow::Result<Option<f64>> {
        match written {
            Some(number) if !(number > 0.0 && number.is_finite()) => {
                bail!("{flag} {number}: a number above 0 is expected; leave it out for no limit")
            }
            number => Ok(number),
        }
    };
    let mb = positive("--ingestion-rate-mb", flags.ingestion_rate_mb)?.map(|mb| mb * MB);
    let burst_mb = positive("--ingestion-burst-size-mb", flags.ingestion_burst_size_mb)?.map(|mb| mb * MB);
    let of_stream = bytes("--per-stream-rate-limit", &flags.per_stream_rate_limit)?;
    let burst = bytes("--per-stream-rate-limit-burst", &flags.per_stream_rate_limit_burst)?;
    Ok(store::LogLimits {
        label_names_max: flags.max_label_names_per_series.unwrap_or(0),
        label_name_bytes_max: flags.max_label_name_length.unwrap_or(0),
        label_value_bytes_max: flags.max_label_value_length.unwrap_or(0),
        age_max: longest("--reject-old-samples-max-age", &flags.reject_old_samples_max_age)?,
        future_max: longest("--creation-grace-period", &flags.creation_grace_period)?,
        rate: mb.map(|mb| store::Rate::of_tenant(mb, burst_mb)),
        stream_rate: positive("--per-stream-rate-limit", of_stream)?
            .map(|bytes| store::Rate::of_stream(bytes, burst)),
    })
}

/// A duration, perhaps a priority, and a stream selector.
fn stream_retention(text: &str) -> anyhow::Result<store::StreamRetention> {
    let form = "write a duration and a stream selector, as in 24h {app=\"web\"}";
    let (before, selector) = text.split_at(text.find('{').context(form)?);
    let mut words = before.split_whitespace();
    let period = parse_duration(words.next().context(form)?)?;
    let priority = words.next().map_or(Ok(0), str::parse).context("the priority is a whole number")?;
    if words.next().is_some() {
        bail!("{form}");
    }
    let matchers = logql::parse_selector(selector).map_err(|why| anyhow::anyhow!("{why}"))?;
    Ok(store::StreamRetention { matchers, priority, period })
}
