//! What a Prometheus says of itself: build, features, cardinality, and the lists of what it scrapes, which here are
//! empty: agents collect and push.

use super::params::Params;
use super::{Answered, Refusal};
use crate::TenantHeader;
use axum::extract::State;
use axum::routing::get;
use axum::{Extension, Json, Router};
use chrono::{DateTime, SecondsFormat, Utc};
use engine::Engine;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;

/// The release whose API this is, as clients ask it before they use newer calls.
const PROMETHEUS_VERSION: &str = "3.5.0";

/// What is told of this process.
#[derive(Clone, Debug, Default)]
pub struct About {
    pub started: DateTime<Utc>,
    /// By Prometheus' names, for those that mean the same.
    pub flags: BTreeMap<&'static str, String>,
    /// How long metrics are kept, as Prometheus writes durations.
    pub retention: String,
}

pub(super) fn routes(about: About) -> Router<Arc<Engine>> {
    Router::new()
        .route("/status/buildinfo", get(buildinfo))
        .route("/status/tsdb", get(tsdb))
        .route("/status/config", get(config))
        .route("/status/runtimeinfo", get(runtimeinfo))
        .route("/status/flags", get(flags))
        .route("/status/walreplay", get(walreplay))
        .route("/features", get(features))
        .route("/targets/metadata", get(nothing))
        .route("/alertmanagers", get(alertmanagers))
        .layer(Extension(Arc::new(about)))
}

fn success(data: Value) -> Json<Value> {
    Json(json!({ "status": "success", "data": data }))
}

async fn buildinfo() -> Json<Value> {
    success(json!({
        "version": PROMETHEUS_VERSION,
        "revision": env!("CARGO_PKG_VERSION"),
        "branch": "main",
        "buildUser": "binnacle",
        "buildDate": "",
        "goVersion": "",
    }))
}

/// Rows of each list where the caller names no number, and the most that it may name.
const TOP: usize = 10;
const TOP_MAX: usize = 10_000;

/// Which metrics and labels make the most series.
async fn tsdb(
    State(engine): State<Arc<Engine>>,
    TenantHeader(tenant): TenantHeader,
    params: Params,
) -> Answered<Json<Value>> {
    let top = match params.get("limit").filter(|text| !text.is_empty()) {
        None => TOP,
        Some(text) => match text.parse() {
            Ok(0) | Err(_) => return Err(Refusal::bad("limit must be a positive number")),
            Ok(top) if top > TOP_MAX => {
                return Err(Refusal::bad(format!("limit must not exceed {TOP_MAX}")));
            }
            Ok(top) => top,
        },
    };
    let cardinality = engine.prom_cardinality(&tenant, top).await?;
    let rows = |rows: Vec<(String, u64)>| -> Vec<Value> {
        rows.into_iter().map(|(name, value)| json!({ "name": name, "value": value })).collect()
    };
    Ok(success(json!({
        "headStats": {
            "numSeries": cardinality.series,
            "numLabelPairs": cardinality.label_pairs,
            "chunkCount": 0,
            "minTime": cardinality.first_ms,
            "maxTime": cardinality.last_ms,
        },
        "seriesCountByMetricName": rows(cardinality.series_by_metric),
        "labelValueCountByLabelName": rows(cardinality.values_by_label),
        "memoryInBytesByLabelName": rows(cardinality.bytes_by_label),
        "seriesCountByLabelValuePair": rows(cardinality.series_by_pair),
    })))
}

/// There is no file in Prometheus' format.
async fn config() -> Json<Value> {
    success(json!({ "yaml": "" }))
}

async fn runtimeinfo(Extension(about): Extension<Arc<About>>) -> Json<Value> {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let text = |time: DateTime<Utc>| time.to_rfc3339_opts(SecondsFormat::AutoSi, true);
    let cwd = std::env::current_dir().map_or_else(|_| String::new(), |dir| dir.display().to_string());
    success(json!({
        "startTime": text(about.started),
        "CWD": cwd,
        "serverTime": text(Utc::now()),
        "reloadConfigSuccess": true,
        "lastConfigTime": text(about.started),
        "corruptionCount": 0,
        "GOMAXPROCS": cores,
        "storageRetention": about.retention,
    }))
}

async fn flags(Extension(about): Extension<Arc<About>>) -> Json<Value> {
    success(json!(about.flags))
}

/// Who answers has read its log.
async fn walreplay() -> Json<Value> {
    success(json!({ "min": 0, "max": 0, "current": 0, "state": "done" }))
}

/// What of PromQL is understood. Everything is on.
async fn features() -> Json<Value> {
    let on = |names: &[&str]| -> Map<String, Value> {
        names.iter().map(|name| ((*name).to_owned(), Value::Bool(true))).collect()
    };
    let functions: Vec<&str> = promql::functions().iter().map(|function| function.name).collect();
    let mut operators: Vec<&str> = promql::AggregateOp::ALL.iter().map(|(_, name)| *name).collect();
    operators.extend(promql::BinaryOp::ALL.iter().map(|op| op.as_str()));
    success(json!({
        "api": on(&["label_values_match", "query_stats", "search", "query_warnings", "time_range_labels"]),
        "promql": on(&[
            "anchored", "at_modifier", "bool", "by", "delayed_name_removal", "duration_expr", "fill", "fill_left",
            "fill_right", "group_left", "group_right", "ignoring", "negative_offset", "offset", "on", "smoothed",
            "subqueries", "without",
        ]),
        "promql_functions": on(&functions),
        "promql_operators": on(&operators),
    }))
}

async fn nothing() -> Json<Value> {
    success(json!([]))
}

async fn alertmanagers() -> Json<Value> {
    success(json!({ "activeAlertmanagers": [], "droppedAlertmanagers": [] }))
}
