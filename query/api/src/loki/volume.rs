//! How many bytes of lines streams have, `/index/volume` and `/index/volume_range`, by the labels that are asked for. What Loki
//! counts besides lines, its own bytes of structured metadata, is not counted.
//!
//! Bytes are told by the index alone, which knows them of a stream and not of each time. By step, lines are counted, and the bytes of
//! what has the same labels are shared out among them: steps add up to what `/index/volume` tells, and a burst shows, but for
//! lines that are longer than others of theirs.

use super::params::Params;
use super::{Answer, Refusal, VOLUME_LIMIT_MAX, encode, now_ns, success};
use crate::TenantHeader;
use axum::Json;
use axum::extract::State;
use engine::{CountTimes, Engine, VolumeBy};
use model::{Labels, SeriesPoints, Tenant, TimeRange};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;

const LIMIT_DEFAULT: usize = 100;
const NS_PER_MS: i64 = 1_000_000;

fn volume_by(params: &Params) -> Answer<VolumeBy> {
    match params.get("aggregateBy") {
        None | Some("" | "series") => Ok(VolumeBy::Series),
        Some("labels") => Ok(VolumeBy::Labels),
        Some(_) => Err(Refusal::bad("invalid aggregation option")),
    }
}

fn target_labels(params: &Params) -> Vec<String> {
    let text = params.get("targetLabels").unwrap_or("");
    text.split(',').map(str::trim).filter(|name| !name.is_empty()).map(str::to_owned).collect()
}

/// None at all is the default, too.
fn limit(params: &Params) -> Answer<usize> {
    match params.get("limit") {
        Some("0") => Ok(LIMIT_DEFAULT),
        _ => Ok(params.limit("limit", LIMIT_DEFAULT)?.min(VOLUME_LIMIT_MAX)),
    }
}

pub(super) async fn at_once(
    State(engine): State<Arc<Engine>>,
    TenantHeader(tenant): TenantHeader,
    params: Params,
) -> Answer<Json<Value>> {
    let limit = limit(&params)?;
    let range = params.time_range(now_ns())?;
    let (by, targets) = (volume_by(&params)?, target_labels(&params));
    let query = params.required("query")?;
    let volumes = match range.start < range.end {
        true if targets.is_empty() => engine.log_volume(&tenant, query, range, &targets, by, limit).await?,
        true => {
            let (series, all) = (VolumeBy::Series, usize::MAX);
            let volumes = engine.log_volume(&tenant, query, range, &targets, series, all).await?;
            largest(with_all(volumes, &targets), by, limit)
        }
        false => vec![],
    };
    let at = encode::seconds(range.end.div_euclid(NS_PER_MS));
    let result: Vec<Value> = volumes
        .into_iter()
        .map(|(labels, bytes)| json!({ "metric": named(&labels, by), "value": [at, bytes.to_string()] }))
        .collect();
    Ok(success(json!({ "resultType": "vector", "result": result, "stats": encode::no_stats() })))
}

/// By label, the metric is the label's name with an empty value, as Loki writes it.
fn named(labels: &Labels, by: VolumeBy) -> Value {
    match by {
        VolumeBy::Series => json!(labels),
        VolumeBy::Labels => {
            Value::Object(labels.iter().map(|(name, _)| (name.to_owned(), json!(""))).collect())
        }
    }
}

pub(super) async fn by_step(
    State(engine): State<Arc<Engine>>,
    TenantHeader(tenant): TenantHeader,
    params: Params,
) -> Answer<Json<Value>> {
    let limit = limit(&params)?;
    let (start, end) = params.range(now_ns())?;
    let step_ms = params.step_ms(start, end)?;
    let (by, targets) = (volume_by(&params)?, target_labels(&params));
    let query = params.required("query")?;
    let asked = Asked { engine: &engine, tenant: &tenant, query };
    let range = TimeRange { start, end };
    let names = asked.names(&targets, by, range).await?;
    let mut found: BTreeMap<Labels, Vec<(i64, u64)>> = BTreeMap::new();
    for (told_ms, volumes) in asked.volumes(&names, range, step_ms).await? {
        // Which are the largest is another matter in each step.
        for (labels, bytes) in largest(with_all(volumes, &targets), by, limit) {
            found.entry(labels).or_default().push((told_ms, bytes));
        }
    }
    let mut found: Vec<_> = found.into_iter().collect();
    // Stable: of as many bytes, the first by its labels.
    found.sort_by_key(|(_, samples)| std::cmp::Reverse(samples[0].1));
    let is_vector = found.iter().all(|(_, samples)| samples.len() == 1);
    let sample = |(at_ms, bytes): &(i64, u64)| json!([encode::seconds(*at_ms), bytes.to_string()]);
    let result: Vec<Value> = found
        .iter()
        .map(|(labels, samples)| match is_vector {
            true => json!({ "metric": named(labels, by), "value": sample(&samples[0]) }),
            false => {
                let values: Vec<Value> = samples.iter().map(sample).collect();
                json!({ "metric": named(labels, by), "values": values })
            }
        })
        .collect();
    let kind = if is_vector { "vector" } else { "matrix" };
    Ok(success(json!({ "resultType": kind, "result": result, "stats": encode::no_stats() })))
}

/// Whose lines are measured.
struct Asked<'a> {
    engine: &'a Engine,
    tenant: &'a Tenant,
    query: &'a str,
}

impl Asked<'_> {
    /// The labels of streams that tell volumes apart: those that are asked for, else those of the matchers, or all.
    async fn names(&self, targets: &[String], by: VolumeBy, range: TimeRange) -> Answer<Vec<String>> {
        let matchers = match self.query.trim() {
            "{}" => vec![],
            selector => logql::parse_selector(selector).map_err(Refusal::bad)?,
        };
        let mut names = self.engine.log_labels(self.tenant, Some(self.query), range).await?;
        if !targets.is_empty() {
            names.retain(|name| targets.contains(name));
        } else if by == VolumeBy::Series && !matchers.is_empty() {
            names.retain(|name| matchers.iter().any(|matcher| matcher.name == *name));
        }
        Ok(names)
    }

    /// The bytes of each window that has lines, by the time that it is told with.
    async fn volumes(
        &self,
        names: &[String],
        range: TimeRange,
        step_ms: i64,
    ) -> Answer<BTreeMap<i64, Vec<(Labels, u64)>>> {
        if names.is_empty() {
            return Ok(BTreeMap::new());
        }
        let (series, all) = (VolumeBy::Series, usize::MAX);
        let bytes = self.engine.log_volume(self.tenant, self.query, range, names, series, all).await?;
        let bytes: BTreeMap<Labels, u64> = bytes.into_iter().collect();
        Ok(shared_out(self.lines(names, range, step_ms).await?, &bytes))
    }

    /// The lines of each window that has any. Whole windows are one question, the first and the last, which what was asked
    /// for may cut, one each.
    async fn lines(
        &self,
        names: &[String],
        range: TimeRange,
        step_ms: i64,
    ) -> Answer<BTreeMap<i64, Vec<(Labels, u64)>>> {
        let all: Vec<Window> = windows(range.start, range.end, step_ms.saturating_mul(NS_PER_MS)).collect();
        let (whole, cut) = match all.as_slice() {
            [first, whole @ .., last] if whole.len() > 1 => (whole, vec![first, last]),
            few => (&[][..], few.iter().collect()),
        };
        let mut found: BTreeMap<i64, Vec<(Labels, u64)>> = BTreeMap::new();
        if let [first, .., last] = whole {
            let range = TimeRange { start: first.range.end, end: last.range.end };
            let times = CountTimes { range, step_ms };
            take(self.counted(names, step_ms, times).await?, None, &mut found);
        }
        for window in cut {
            let TimeRange { start, end } = window.range;
            let times = CountTimes { range: TimeRange { start: end, end }, step_ms: 1 };
            let counted = self.counted(names, (end - start) / NS_PER_MS + 1, times).await?;
            take(counted, Some(window.told_ms), &mut found);
        }
        Ok(found)
    }

    async fn counted(
        &self,
        names: &[String],
        window_ms: i64,
        times: CountTimes,
    ) -> Answer<Vec<SeriesPoints>> {
        Ok(self.engine.log_counts(self.tenant, self.query, names, window_ms, times).await?)
    }
}

/// The bytes of all, by labels, in the place of lines by window and labels.
fn shared_out(
    mut lines: BTreeMap<i64, Vec<(Labels, u64)>>,
    bytes: &BTreeMap<Labels, u64>,
) -> BTreeMap<i64, Vec<(Labels, u64)>> {
    let mut all: BTreeMap<Labels, u64> = BTreeMap::new();
    lines.values().flatten().for_each(|(labels, count)| *all.entry(labels.clone()).or_default() += count);
    let mut before: BTreeMap<Labels, u64> = BTreeMap::new();
    for (labels, count) in lines.values_mut().flatten() {
        let (of_all, total) = (u128::from(all[labels]), u128::from(bytes.get(labels).copied().unwrap_or(0)));
        // What was shared out so far is rounded, and not each share: they add up.
        let shared = |lines: u64| (total * u128::from(lines) / of_all.max(1)) as u64;
        let before = before.entry(labels.clone()).or_default();
        let (from, to) = (*before, *before + *count);
        (*before, *count) = (to, shared(to) - shared(from));
    }
    lines
}

/// `told_ms` is the time of all points, where it is not their own.
fn take(counted: Vec<SeriesPoints>, told_ms: Option<i64>, found: &mut BTreeMap<i64, Vec<(Labels, u64)>>) {
    for SeriesPoints { labels, points } in counted {
        for point in points {
            let of_window = found.entry(told_ms.unwrap_or(point.ts_ms)).or_default();
            of_window.push((labels.clone(), point.value as u64));
        }
    }
}

/// Streams that lack one of the labels that are asked for are not told, as in Loki.
fn with_all(mut volumes: Vec<(Labels, u64)>, targets: &[String]) -> Vec<(Labels, u64)> {
    volumes.retain(|(labels, _)| targets.iter().all(|name| labels.get(name).is_some()));
    volumes
}

fn largest(volumes: Vec<(Labels, u64)>, by: VolumeBy, limit: usize) -> Vec<(Labels, u64)> {
    let mut found: Vec<_> = match by {
        VolumeBy::Series => volumes,
        VolumeBy::Labels => {
            let mut of_names: BTreeMap<Labels, u64> = BTreeMap::new();
            for (labels, bytes) in volumes {
                for (name, _) in labels.iter() {
                    *of_names.entry(Labels::from_pairs([(name, "volume")])).or_default() += bytes;
                }
            }
            of_names.into_iter().collect()
        }
    };
    found.retain(|(labels, _)| !labels.is_empty());
    found.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    found.truncate(limit);
    found
}

#[derive(Debug, PartialEq)]
struct Window {
    /// Both ends are of it. It begins at a whole millisecond, but for the first.
    range: TimeRange,
    told_ms: i64,
}

/// Ranges between multiples of the step, the first and the last cut by what was asked for, and the time in milliseconds that each
/// is told with: its end, which is a millisecond before the next. What is at the end of what was asked for is not of it.
fn windows(start: i64, end: i64, step_ns: i64) -> impl Iterator<Item = Window> {
    let mut from = start;
    std::iter::from_fn(move || {
        if from >= end {
            return None;
        }
        let next = from.div_euclid(step_ns).saturating_add(1).saturating_mul(step_ns).min(end);
        let range = TimeRange { start: from, end: next - 1 };
        from = next;
        Some(Window { range, told_ms: next.div_euclid(NS_PER_MS) - i64::from(next < end) })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_lie_at_multiples_of_the_step() {
        let ms = |ms: i64| ms * NS_PER_MS;
        let found: Vec<_> = windows(ms(5), ms(32), ms(10))
            .map(|Window { range, told_ms }| (range.start, range.end, told_ms))
            .collect();
        let before = |at| ms(at) - 1;
        let expected = [(5, before(10), 9), (10, before(20), 19), (20, before(30), 29), (30, before(32), 32)];
        assert_eq!(found, expected.map(|(from, to, told)| (ms(from), to, told)));
        assert_eq!(windows(ms(10), ms(20), ms(10)).count(), 1);
        assert_eq!(windows(ms(10), ms(10), ms(10)).count(), 0);
    }
}
