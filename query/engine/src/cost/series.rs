//! Series of one hour of one cluster as numbers: how much a counter grew, what a gauge was on average and for how long.

use crate::QueryError;
use model::{Labels, METRIC_NAME, Match, Matcher, SeriesSelect, TimeRange, is_stale_marker};
use std::collections::BTreeSet;
use store::{SampleBlock, Snapshot, Unbounded};

pub const HOUR_MS: i64 = 3_600_000;
pub const GIB: f64 = (1u64 << 30) as f64;

/// A counter's last sample before the hour gives the first increase of the hour, if it is not older than this.
const BEFORE_MS: i64 = 120_000;

/// What says which cluster a series is of: agents' `--cluster-name`, an external label of a Prometheus.
const CLUSTER: &str = "cluster";

/// One hour of a tenant's series of one cluster: names of nodes, namespaces and pods are a cluster's own.
pub struct Hour<'s> {
    pub snapshot: &'s dyn Snapshot,
    pub start_ms: i64,
    /// By its label; "" selects the series that have none.
    pub cluster: &'s str,
}

/// The clusters of which an hour has series of these names, by their label; "" where series have none.
pub async fn clusters(
    snapshot: &dyn Snapshot,
    start_ms: i64,
    names: &[&str],
) -> Result<BTreeSet<String>, QueryError> {
    let named = Matcher::new(METRIC_NAME, Match::Regex, names.join("|"))
        .map_err(|wrong| QueryError::Broken(wrong.to_string()))?;
    let mut select = SeriesSelect { matchers: vec![named], range: range_of(start_ms) };
    let mut clusters = snapshot.label_values(CLUSTER, &select, &Unbounded).await?;
    select.matchers.push(Matcher::equal(CLUSTER, ""));
    // A list of values costs no look at each series. Where there is none, no series need be looked for that lacks one.
    if clusters.is_empty() || !snapshot.series(&select, &Unbounded).await?.is_empty() {
        clusters.insert(String::new());
    }
    Ok(clusters)
}

fn range_of(start_ms: i64) -> TimeRange {
    TimeRange { start: start_ms, end: start_ms + HOUR_MS - 1 }
}

impl Hour<'_> {
    fn range(&self) -> TimeRange {
        range_of(self.start_ms)
    }

    /// The series of a gauge, one of whose labels may have to have a value.
    pub async fn gauges(&self, name: &str, matcher: Option<(&str, &str)>) -> Result<SampleBlock, QueryError> {
        let told = self.snapshot.samples(&self.select(name, matcher, self.range())).await?;
        Ok(without_ends(told))
    }

    pub async fn counters(&self, name: &str) -> Result<SampleBlock, QueryError> {
        let range = self.range();
        let early = TimeRange { start: range.start - BEFORE_MS, end: range.end };
        Ok(self.snapshot.samples(&self.select(name, None, early)).await?)
    }

    /// The labels alone.
    pub async fn labels(&self, name: &str, matcher: Option<(&str, &str)>) -> Result<Vec<Labels>, QueryError> {
        let series = self.snapshot.series(&self.select(name, matcher, self.range()), &Unbounded).await?;
        Ok(series.into_iter().map(|series| series.labels).collect())
    }

    pub fn increase(&self, ts_ms: &[i64], values: &[f64]) -> f64 {
        increase(ts_ms, values, self.start_ms)
    }

    fn select(&self, name: &str, matcher: Option<(&str, &str)>, range: TimeRange) -> SeriesSelect {
        let mut matchers = vec![Matcher::equal(METRIC_NAME, name), Matcher::equal(CLUSTER, self.cluster)];
        matchers.extend(matcher.map(|(label, value)| Matcher::equal(label, value)));
        SeriesSelect { matchers, range }
    }
}

/// What says that a series has ended stands for no time.
fn without_ends(block: SampleBlock) -> SampleBlock {
    if !block.values.iter().any(|value| is_stale_marker(*value)) {
        return block;
    }
    let mut kept = SampleBlock::default();
    for (labels, ts_ms, values) in block.iter() {
        let pairs = ts_ms.iter().copied().zip(values.iter().copied());
        let (ts_ms, values): (Vec<i64>, Vec<f64>) =
            pairs.filter(|(_, value)| !is_stale_marker(*value)).unzip();
        kept.push(labels.clone(), &ts_ms, &values);
    }
    kept
}

/// How much a counter grew within the hour; a fall is a restart from zero.
fn increase(ts_ms: &[i64], values: &[f64], start_ms: i64) -> f64 {
    let (mut sum, mut before) = (0.0, None);
    for (ts_ms, value) in ts_ms.iter().zip(values) {
        if is_stale_marker(*value) || !value.is_finite() {
            continue;
        }
        if let Some(before) = before
            && *ts_ms >= start_ms
        {
            sum += if *value >= before { value - before } else { *value };
        }
        before = Some(*value);
    }
    sum
}

pub fn mean(values: &[f64]) -> f64 {
    let (sum, count) = values.iter().filter(|v| v.is_finite()).fold((0.0, 0u32), |(s, n), v| (s + v, n + 1));
    if count == 0 { 0.0 } else { sum / f64::from(count) }
}

/// From the first to the last sample, and one interval on: a sample stands for the time since the one before it.
pub fn covered_hours(ts_ms: &[i64]) -> f64 {
    let (Some(first), Some(last)) = (ts_ms.first(), ts_ms.last()) else { return 0.0 };
    let interval = (last - first) / (ts_ms.len() as i64 - 1).max(1);
    ((last - first + interval) as f64 / HOUR_MS as f64).min(1.0)
}

/// A gauge times the time that it was there for.
pub fn gauge_hours(ts_ms: &[i64], values: &[f64]) -> f64 {
    mean(values) * covered_hours(ts_ms)
}

/// A gauge that several may tell, one after the other or at once.
#[derive(Default)]
pub struct Gauge {
    ts_ms: Vec<i64>,
    values: Vec<f64>,
}

impl Gauge {
    pub fn add(&mut self, ts_ms: &[i64], values: &[f64]) {
        self.ts_ms.extend_from_slice(ts_ms);
        self.values.extend_from_slice(values);
    }

    pub fn covered_hours(&mut self) -> f64 {
        self.ts_ms.sort_unstable();
        self.ts_ms.dedup();
        covered_hours(&self.ts_ms)
    }

    pub fn mean(&self) -> f64 {
        mean(&self.values)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_grow_through_restarts() {
        assert_eq!(increase(&[0, 10, 20, 30], &[5.0, 7.0, 1.0, 2.0], 0), 4.0);
        assert_eq!(increase(&[0, 10, 20], &[5.0, 7.0, 9.0], 10), 4.0, "the sample before the hour counts");
        assert_eq!(increase(&[], &[], 0), 0.0);
        assert_eq!(covered_hours(&[0, HOUR_MS / 2]), 1.0);
        assert_eq!(covered_hours(&[5]), 0.0);
    }
}
