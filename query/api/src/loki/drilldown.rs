//! What Logs Drilldown asks before it asks for anything else: the limits in force, by the names of Loki's `limits_config`.

use super::{LOKI_VERSION, VOLUME_LIMIT_MAX};
use crate::loki::detect;
use axum::Json;
use engine::Engine;
use serde_json::{Value, json};
use std::time::Duration;

/// What the engine does not know of this process.
pub struct Told {
    /// Labels that `service_name` is taken from.
    pub service_name_from: Vec<String>,
    /// Fields that a line's level is taken from.
    pub level_from: &'static [&'static str],
    /// As it is when it is asked for: it can be set anew.
    pub retention: Box<dyn Fn() -> store::Retention + Send + Sync>,
}

pub(super) fn limits(engine: &Engine, told: &Told) -> Json<Value> {
    Json(json!({
        "limits": limits_config(engine, told),
        // Patterns are mined when they are asked for, which it takes as a pattern ingester.
        "pattern_ingester_enabled": true,
        "version": LOKI_VERSION,
        "maxDetectedFields": detect::FIELDS_DEFAULT,
        "maxDetectedValues": detect::VALUES_MAX,
    }))
}

/// 0 is no limit, as in Loki.
pub(super) fn limits_config(engine: &Engine, told: &Told) -> Value {
    let retention = (told.retention)();
    let streams: Vec<Value> = retention
        .streams
        .iter()
        .map(|stream| {
            let selector = logql::LogExpr { matchers: stream.matchers.clone(), stages: vec![] };
            json!({
                "period": written(stream.period),
                "priority": stream.priority,
                "selector": selector.to_string(),
            })
        })
        .collect();
    json!({
        "discover_log_levels": engine.limits().discover_log_levels,
        "discover_service_name": told.service_name_from,
        "log_level_fields": told.level_from,
        "max_entries_limit_per_query": engine.limits().log_entries_max,
        "max_line_size_truncate": false,
        "max_query_bytes_read": "0B",
        "max_query_length": "0s",
        "max_query_lookback": "0s",
        "max_query_range": "0s",
        "max_query_series": 0,
        "metric_aggregation_enabled": false,
        "pattern_persistence_enabled": false,
        "query_timeout": written(engine.timeout()),
        "retention_period": written(retention.logs),
        "retention_stream": streams,
        "volume_enabled": true,
        "volume_max_series": VOLUME_LIMIT_MAX,
    })
}

fn written(duration: Duration) -> String {
    promql::format_duration(i64::try_from(duration.as_millis()).unwrap_or(i64::MAX))
}
