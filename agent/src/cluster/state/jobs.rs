//! Jobs and what makes them by the clock.

use super::Of;
use crate::cluster::schedule::Due;
use crate::pods::time_ns;
use serde_json::Value;

/// Why a job has failed, as far as kube-state-metrics names it.
const REASONS: [&str; 3] = ["BackoffLimitExceeded", "DeadlineExceeded", "Evicted"];

pub(super) fn job(object: &Value, of: &mut Of<'_, '_>) {
    of.gauge("info", &[], 1.0);
    for (name, path) in
        [("status_start_time", "/status/startTime"), ("status_completion_time", "/status/completionTime")]
    {
        of.time(name, object.pointer(path));
    }
    let all = object.pointer("/status/conditions").and_then(Value::as_array);
    for condition in all.into_iter().flatten() {
        let name = match condition["type"].as_str() {
            Some("Complete") => "complete",
            Some("Failed") => "failed",
            _ => continue,
        };
        let is = condition["status"].as_str().unwrap_or("").to_lowercase();
        of.one_of(name, "condition", &["true", "false", "unknown"], &is);
    }
    failures(object, of);
}

/// The number of pods that failed, until the job itself has: then why, which is 1.
fn failures(object: &Value, of: &mut Of<'_, '_>) {
    let failed = object.pointer("/status/failed").and_then(Value::as_f64).unwrap_or(0.0);
    let conditions = object.pointer("/status/conditions").and_then(Value::as_array);
    let mut ends = conditions.into_iter().flatten().filter(|condition| condition["type"] == "Failed");
    let reason = ends.next().and_then(|end| end["reason"].as_str()).unwrap_or("");
    if failed > 0.0 && REASONS.contains(&reason) {
        return of.one_of("status_failed", "reason", &REASONS, reason);
    }
    of.gauge("status_failed", &[], failed);
}

pub(super) fn cron_job(object: &Value, of: &mut Of<'_, '_>) {
    let text = |path: &str| object.pointer(path).and_then(Value::as_str).unwrap_or("");
    // The controller's own, which is what kube-state-metrics calls it.
    let zone = if text("/spec/timeZone").is_empty() { "local" } else { text("/spec/timeZone") };
    let info = [
        ("schedule", text("/spec/schedule")),
        ("concurrency_policy", text("/spec/concurrencyPolicy")),
        ("timezone", zone),
    ];
    of.gauge("info", &info, 1.0);
    if let Ok(version) = text("/metadata/resourceVersion").parse::<f64>() {
        of.gauge("metadata_resource_version", &[], version);
    }
    let active = object.pointer("/status/active").and_then(Value::as_array).map_or(0, Vec::len);
    of.gauge("status_active", &[], active as f64);
    for (name, path) in [
        ("status_last_schedule_time", "/status/lastScheduleTime"),
        ("status_last_successful_time", "/status/lastSuccessfulTime"),
    ] {
        of.time(name, object.pointer(path));
    }
    if !Due::is_valid(text("/spec/schedule"), text("/spec/timeZone")) {
        of.gauge("schedule_invalid", &[], 1.0);
    }
    let last = ["/status/lastScheduleTime", "/metadata/creationTimestamp"];
    let last = last.iter().find_map(|path| time_ns(object.pointer(path).and_then(Value::as_str)));
    if object.pointer("/spec/suspend") != Some(&Value::Bool(true))
        && let Some(due) = Due::parse(text("/spec/schedule"))
        && let Some(next) =
            last.and_then(|last| due.next(last.div_euclid(1_000_000_000), text("/spec/timeZone")))
    {
        of.gauge("next_schedule_time", &[], next as f64);
    }
}
