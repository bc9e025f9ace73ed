//! `/api/v1/targets` and `/api/v1/scrape_pools`, as Prometheus shows them: what this process' agent scrapes.

use super::built::Parts;
use agent::scrape::{LastScrape, TargetStatus, Targets};
use axum::extract::{Query, State};
use axum::routing::get;
use axum::{Json, Router};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

pub fn router(parts: Arc<Parts>) -> Router {
    let routes = Router::new().route("/targets", get(targets)).route("/scrape_pools", get(scrape_pools));
    let routes = Router::new().nest("/api/v1", routes).with_state(parts);
    Router::new().nest("/prometheus", routes.clone()).merge(routes)
}

fn of_agent(parts: &Parts) -> Targets {
    parts.agent.as_ref().map(agent::Agent::targets).unwrap_or_default()
}

async fn targets(
    State(parts): State<Arc<Parts>>,
    Query(params): Query<HashMap<String, String>>,
) -> Json<Value> {
    let found = of_agent(&parts);
    let state = params.get("state").map_or("any", String::as_str);
    let pool = params.get("scrapePool").filter(|pool| !pool.is_empty());
    let is_asked = |job: &str| pool.is_none_or(|pool| pool == job);
    let active = found.active.iter().filter(|one| state != "dropped" && is_asked(&one.job)).map(shown);
    let dropped = found.dropped.iter().filter(|(job, _)| state != "active" && is_asked(job));
    let dropped = dropped.map(|(job, labels)| json!({ "discoveredLabels": labels, "scrapePool": job }));
    Json(json!({ "status": "success", "data": {
        "activeTargets": active.collect::<Vec<_>>(),
        "droppedTargets": dropped.collect::<Vec<_>>(),
        "droppedTargetCounts": found.dropped_counts,
    }}))
}

fn shown(target: &TargetStatus) -> Value {
    let last = target.last.as_ref();
    let (health, error) = match last {
        None => ("unknown", ""),
        Some(LastScrape { error: None, .. }) => ("up", ""),
        Some(LastScrape { error: Some(why), .. }) => ("down", why.as_str()),
    };
    let at = last.and_then(|last| chrono::DateTime::from_timestamp_millis(last.at_ms));
    let at = at.map_or_else(
        || "0001-01-01T00:00:00Z".to_owned(),
        |at| at.to_rfc3339_opts(chrono::SecondsFormat::Millis, true),
    );
    json!({
        "discoveredLabels": target.discovered,
        "labels": target.labels,
        "scrapePool": target.job,
        "scrapeUrl": target.url,
        "globalUrl": target.url,
        "lastError": error,
        "lastScrape": at,
        "lastScrapeDuration": last.map_or(0.0, |last| last.took.as_secs_f64()),
        "health": health,
        "scrapeInterval": span(target.interval),
        "scrapeTimeout": span(target.timeout),
    })
}

/// As Prometheus writes a duration.
fn span(span: Duration) -> String {
    promql::format_duration(i64::try_from(span.as_millis()).unwrap_or(i64::MAX))
}

async fn scrape_pools(State(parts): State<Arc<Parts>>) -> Json<Value> {
    Json(json!({ "status": "success", "data": { "scrapePools": of_agent(&parts).jobs } }))
}
