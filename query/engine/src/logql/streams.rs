//! What exists: labels, values, series, sizes and volumes of log streams, without reading a line.

use crate::{Engine, QueryError};
use model::{Labels, LogSelect, Matcher, Tenant, TimeRange};
use std::collections::{BTreeMap, BTreeSet};
use store::LogStreamInfo;

/// Size of what a selector matches.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LogStatistics {
    pub streams: u64,
    pub chunks: u64,
    pub bytes: u64,
    pub entries: u64,
}

/// How volumes are put together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VolumeBy {
    /// One number for each combination of the labels' values.
    Series,
    /// One number for each label.
    Labels,
}

/// `{}` is every stream where sizes are asked for.
pub(super) fn matchers_of(selector: &str) -> Result<Vec<Matcher>, QueryError> {
    match selector.trim() {
        "{}" => Ok(vec![]),
        selector => logql::parse_selector(selector).map_err(QueryError::Bad),
    }
}

impl Engine {
    async fn log_streams(
        &self,
        tenant: &Tenant,
        selectors: &[String],
        range: TimeRange,
    ) -> Result<Vec<LogStreamInfo>, QueryError> {
        let mut wanted: Vec<Vec<Matcher>> = Vec::new();
        for selector in selectors {
            wanted.push(matchers_of(selector)?);
        }
        if wanted.is_empty() {
            wanted.push(Vec::new());
        }
        let snapshot = self.log_snapshot(tenant).await?;
        let mut found: BTreeMap<Labels, LogStreamInfo> = BTreeMap::new();
        for matchers in wanted {
            let select = LogSelect { matchers, ..LogSelect::all(range) };
            for stream in snapshot.log_streams(&select).await? {
                found.insert(stream.labels.clone(), stream);
            }
        }
        Ok(found.into_values().collect())
    }

    /// Names of the labels of streams in the range, sorted; of those that a selector matches where one is given.
    pub async fn log_labels(
        &self,
        tenant: &Tenant,
        selector: Option<&str>,
        range: TimeRange,
    ) -> Result<Vec<String>, QueryError> {
        let selectors: Vec<String> = selector.map(str::to_owned).into_iter().collect();
        let streams = self.log_streams(tenant, &selectors, range).await?;
        let names: BTreeSet<&str> =
            streams.iter().flat_map(|s| s.labels.iter()).map(|(name, _)| name).collect();
        Ok(names.into_iter().map(str::to_owned).collect())
    }

    /// Values of one label, sorted.
    pub async fn log_label_values(
        &self,
        tenant: &Tenant,
        name: &str,
        selector: Option<&str>,
        range: TimeRange,
    ) -> Result<Vec<String>, QueryError> {
        let selectors: Vec<String> = selector.map(str::to_owned).into_iter().collect();
        let streams = self.log_streams(tenant, &selectors, range).await?;
        let values: BTreeSet<&str> = streams.iter().filter_map(|stream| stream.labels.get(name)).collect();
        Ok(values.into_iter().map(str::to_owned).collect())
    }

    /// Label sets of the streams that any of the selectors matches, sorted; all where there is none.
    pub async fn log_series(
        &self,
        tenant: &Tenant,
        selectors: &[String],
        range: TimeRange,
    ) -> Result<Vec<Labels>, QueryError> {
        let streams = self.log_streams(tenant, selectors, range).await?;
        Ok(streams.into_iter().map(|stream| stream.labels).collect())
    }

    pub async fn log_stats(
        &self,
        tenant: &Tenant,
        query: &str,
        range: TimeRange,
    ) -> Result<LogStatistics, QueryError> {
        let streams = self.log_streams(tenant, &[query.to_owned()], range).await?;
        Ok(LogStatistics {
            streams: streams.len() as u64,
            // A part is what Loki calls a chunk; each stream has at least one.
            chunks: streams.len() as u64,
            bytes: streams.iter().map(|stream| stream.bytes).sum(),
            entries: streams.iter().map(|stream| stream.records).sum(),
        })
    }

    /// Bytes by labels, largest first. Without target labels, those that the selector names are taken.
    pub async fn log_volume(
        &self,
        tenant: &Tenant,
        query: &str,
        range: TimeRange,
        targets: &[String],
        by: VolumeBy,
        limit: usize,
    ) -> Result<Vec<(Labels, u64)>, QueryError> {
        let matchers = matchers_of(query)?;
        let all = matchers.is_empty() && targets.is_empty();
        let names: Vec<String> = match targets.is_empty() {
            true => matchers.into_iter().map(|matcher| matcher.name).collect(),
            false => targets.to_vec(),
        };
        let mut volumes: BTreeMap<Labels, u64> = BTreeMap::new();
        for stream in self.log_streams(tenant, &[query.to_owned()], range).await? {
            match by {
                VolumeBy::Series => {
                    let labels = stream.labels.without(|name| !all && !names.iter().any(|n| n == name));
                    *volumes.entry(labels).or_default() += stream.bytes;
                }
                VolumeBy::Labels => {
                    let wanted = |name: &str| targets.is_empty() || names.iter().any(|n| n == name);
                    for (name, _) in stream.labels.iter().filter(|(name, _)| wanted(name)) {
                        *volumes.entry(Labels::from_pairs([(name, "volume")])).or_default() += stream.bytes;
                    }
                }
            }
        }
        let mut volumes: Vec<_> = volumes.into_iter().filter(|(labels, _)| !labels.is_empty()).collect();
        volumes.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
        volumes.truncate(limit);
        Ok(volumes)
    }
}
