//! Cost over HTTP: OpenCost's `/cost/allocation`, its `/summary`, and `/cost/assets`, and our own `/api/cost`.
//!
//! All three ask the engine for hours and add them up by what was asked for. A window is whole hours: the hours it
//! begins and ends in are in it. What nobody had is in the answer unless it is left out, so that it adds up to what is paid.

mod ask;
mod filter;
mod opencost;
mod sum;
mod window;

use crate::TenantHeader;
use ask::{Asked, Wanted};
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use chrono::{DateTime, SecondsFormat, Utc};
use engine::{Costs, Engine, QueryError};
use model::Tenant;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use sum::Sum;
use window::Window;

const HOUR_MS: i64 = 3_600_000;

pub fn router(engine: Arc<Engine>) -> Router {
    Router::new()
        .route("/cost/allocation", get(allocation))
        .route("/cost/allocation/compute", get(allocation))
        .route("/cost/allocation/summary", get(summary))
        .route("/cost/assets", get(assets))
        .route("/api/cost", get(cost))
        .with_state(engine)
}

/// What was asked for and the costs of its window, or a refusal.
async fn costs(
    engine: &Engine,
    tenant: &Tenant,
    asked: Asked,
    by_default: &str,
) -> Result<(Wanted, Costs), Response> {
    let wanted = Wanted::of(asked, by_default).map_err(|why| refuse(StatusCode::BAD_REQUEST, &why))?;
    let Window { start_ms, end_ms } = wanted.window;
    match engine.costs(tenant, start_ms, end_ms).await {
        Ok(costs) => Ok((wanted, costs)),
        Err(wrong) => Err(refuse(status(&wrong), &wrong.to_string())),
    }
}

/// What allocations are added up by where a question does not say it.
const BY_EACH: &str = "cluster,node,namespace,pod,container";

async fn allocation(
    State(engine): State<Arc<Engine>>,
    TenantHeader(tenant): TenantHeader,
    asked: Asked,
) -> Result<Response, Response> {
    let (wanted, costs) = costs(&engine, &tenant, asked, BY_EACH).await?;
    let sets = steps(&wanted, &costs).map(|(window, sums)| {
        let each =
            sums.into_iter().map(|(name, sum)| (name.clone(), opencost::allocation(&name, &sum, window)));
        Value::Object(each.collect())
    });
    Ok(success(sets.collect()))
}

/// The same in fewer fields.
async fn summary(
    State(engine): State<Arc<Engine>>,
    TenantHeader(tenant): TenantHeader,
    asked: Asked,
) -> Result<Response, Response> {
    let (wanted, costs) = costs(&engine, &tenant, asked, BY_EACH).await?;
    let sets = steps(&wanted, &costs).map(|(window, sums)| {
        let each = sums.into_iter().map(|(name, sum)| (name.clone(), opencost::summary(&name, &sum, window)));
        let allocations: serde_json::Map<String, Value> = each.collect();
        json!({ "allocations": allocations, "window": opencost::window(window) })
    });
    let sets: Vec<Value> = sets.collect();
    Ok(success(json!({
        "step": wanted.step_ms.saturating_mul(1_000_000),
        "sets": sets,
        "window": opencost::window(wanted.window),
    })))
}

/// Each step of the window, and what was spent in it.
fn steps<'c>(
    wanted: &'c Wanted,
    costs: &'c Costs,
) -> impl Iterator<Item = (Window, BTreeMap<String, Sum>)> + 'c {
    let Window { start_ms, end_ms } = wanted.window;
    let next = move |from_ms: &i64| Some(from_ms.saturating_add(wanted.step_ms)).filter(|at| *at < end_ms);
    let first = Some(start_ms).filter(|_| start_ms < end_ms);
    std::iter::successors(first, next).map(move |from_ms| {
        let to_ms = from_ms.saturating_add(wanted.step_ms).min(end_ms);
        let inside = costs.allocations.iter().filter(move |row| {
            let at_ms = row.window_start_ms.max(start_ms);
            (from_ms..to_ms).contains(&at_ms)
        });
        (Window { start_ms: from_ms, end_ms: to_ms }, wanted.sums(inside))
    })
}

/// What is paid for, used or not: nodes, volumes, load balancers, traffic.
async fn assets(
    State(engine): State<Arc<Engine>>,
    TenantHeader(tenant): TenantHeader,
    asked: Asked,
) -> Result<Response, Response> {
    let (wanted, costs) = costs(&engine, &tenant, asked, "node").await?;
    let of_clusters = costs.assets.iter().filter(|asset| wanted.has_cluster(&asset.cluster));
    Ok(success(opencost::assets(of_clusters, wanted.window)))
}

/// Nothing adds up to -0.0 in Rust, and JSON would tell it.
fn added(costs: impl Iterator<Item = f64>) -> f64 {
    0.0 + costs.sum::<f64>()
}

/// The same in fewer words, with the prices it was computed from.
async fn cost(
    State(engine): State<Arc<Engine>>,
    TenantHeader(tenant): TenantHeader,
    asked: Asked,
) -> Result<Response, Response> {
    let (wanted, costs) = costs(&engine, &tenant, asked, "namespace,workload").await?;
    let of_clusters = costs.assets.iter().filter(|asset| wanted.has_cluster(&asset.cluster));
    let total = added(of_clusters.map(engine::Asset::cost));
    let idle = costs.allocations.iter().filter(|row| row.is_idle() && wanted.has_cluster(&row.cluster));
    let idle = added(idle.map(engine::Allocation::total_cost));
    let mut sums: Vec<(String, Sum)> = wanted.sums(costs.allocations.iter()).into_iter().collect();
    sums.sort_by(|a, b| b.1.total().total_cmp(&a.1.total()));
    let row = |(name, sum): (String, Sum)| {
        json!({
            "name": name,
            "cluster": sum.cluster.as_deref().map(ask::cluster_name),
            "namespace": sum.namespace,
            "workload": sum.workload,
            "workload_kind": sum.workload_kind,
            "pod": sum.pod,
            "node": sum.node,
            "cpu_core_hours": sum.cpu.hours,
            "cpu_request_core_hours": sum.cpu.requested,
            "cpu_usage_core_hours": sum.cpu.used,
            "memory_gib_hours": sum.memory.hours,
            "memory_request_gib_hours": sum.memory.requested,
            "memory_usage_gib_hours": sum.memory.used,
            "usage_missing": sum.usage_is_missing(),
            "gpu_hours": sum.gpu.hours,
            "cpu_cost": sum.cpu.cost,
            "memory_cost": sum.memory.cost,
            "gpu_cost": sum.gpu.cost,
            "volume_cost": sum.volume_cost,
            "load_balancer_cost": sum.load_balancer_cost,
            "network_cost": sum.network_cost,
            "shared_cost": sum.shared_cost,
            "total_cost": sum.total(),
        })
    };
    let prices = engine.prices();
    let prices: Vec<Value> = prices
        .prices()
        .iter()
        .map(|price| {
            json!({
                "item": price.item.name(), "provider": price.provider, "region": price.region,
                "instance_type": price.instance_type, "lifecycle": price.lifecycle.name(),
                "usd_per_hour": price.usd_per_hour, "as_of": price.as_of, "source": price.source,
            })
        })
        .collect();
    let answer = Json(json!({
        "start": time(wanted.window.start_ms),
        "end": time(wanted.window.end_ms),
        "currency": "USD",
        "total_cost": total,
        "idle_cost": idle,
        "rows": sums.into_iter().map(row).collect::<Vec<_>>(),
        "prices": prices,
    }));
    Ok(answer.into_response())
}

fn success(data: Value) -> Response {
    Json(json!({ "code": 200, "status": "success", "data": data })).into_response()
}

fn time(ms: i64) -> String {
    DateTime::<Utc>::from_timestamp_millis(ms)
        .map(|time| time.to_rfc3339_opts(SecondsFormat::Secs, true))
        .unwrap_or_default()
}

fn status(error: &QueryError) -> StatusCode {
    match error {
        QueryError::Bad(_) | QueryError::TooMuch(_) => StatusCode::BAD_REQUEST,
        QueryError::Execution(_) => StatusCode::UNPROCESSABLE_ENTITY,
        QueryError::Timeout(_) | QueryError::Cancelled => StatusCode::SERVICE_UNAVAILABLE,
        QueryError::Broken(_) => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

/// OpenCost's shape of an error.
fn refuse(status: StatusCode, why: &str) -> Response {
    (status, Json(json!({ "code": status.as_u16(), "status": "error", "message": why, "error": why })))
        .into_response()
}

#[cfg(test)]
mod tests;
