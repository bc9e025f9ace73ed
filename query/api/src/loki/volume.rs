//! How many bytes of lines streams have, `/index/volume` and `/index/volume_range`, by the labels that are asked for. What Loki
//! counts besides lines, its own bytes of structured metadata, is not counted.

use super::params::Params;
use super::{Answer, Refusal, VOLUME_LIMIT_MAX, encode, now_ns, success};
use crate::TenantHeader;
use axum::Json;
use axum::extract::State;
use engine::{Engine, QueryError, VolumeBy};
use model::{Labels, TimeRange};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

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
    let volumes = engine.log_volume(&tenant, query, range, &targets, by, limit).await?;
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

/// A question for each step: which streams are the largest is another matter in each.
pub(super) async fn by_step(
    State(engine): State<Arc<Engine>>,
    TenantHeader(tenant): TenantHeader,
    params: Params,
) -> Answer<Json<Value>> {
    let limit = limit(&params)?;
    let (start, end) = params.range(now_ns())?;
    let step_ns = params.step_ms(start, end)?.saturating_mul(NS_PER_MS);
    let (by, targets) = (volume_by(&params)?, target_labels(&params));
    let query = params.required("query")?;
    let (began, timeout) = (Instant::now(), engine.timeout());
    let mut found: BTreeMap<Labels, Vec<(i64, u64)>> = BTreeMap::new();
    for (range, told_ms) in windows(start, end, step_ns) {
        if began.elapsed() > timeout {
            return Err(QueryError::Timeout(timeout.as_millis() as u64).into());
        }
        for (labels, bytes) in engine.log_volume(&tenant, query, range, &targets, by, limit).await? {
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

/// Ranges between multiples of the step, the first and the last cut by what was asked for, and the time in milliseconds that each
/// is told with: its end, which is a millisecond before the next.
fn windows(start: i64, end: i64, step_ns: i64) -> impl Iterator<Item = (TimeRange, i64)> {
    let mut from = start;
    std::iter::from_fn(move || {
        if from >= end {
            return None;
        }
        let next = from.div_euclid(step_ns).saturating_add(1).saturating_mul(step_ns).min(end);
        let range = TimeRange { start: from, end: next };
        from = next;
        Some((range, next.div_euclid(NS_PER_MS) - i64::from(next < end)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_lie_at_multiples_of_the_step() {
        let ms = |ms: i64| ms * NS_PER_MS;
        let found: Vec<_> = windows(ms(5), ms(32), ms(10))
            .map(|(range, told)| (range.start / NS_PER_MS, range.end / NS_PER_MS, told))
            .collect();
        assert_eq!(found, [(5, 10, 9), (10, 20, 19), (20, 30, 29), (30, 32, 32)]);
        assert_eq!(windows(ms(10), ms(20), ms(10)).count(), 1);
        assert_eq!(windows(ms(10), ms(10), ms(10)).count(), 0);
    }
}
