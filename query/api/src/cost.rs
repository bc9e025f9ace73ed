//! Cost over HTTP: OpenCost's `/cost/allocation` and `/cost/assets`, and our own `/api/cost`.
//!
//! All three ask the engine for hours and add them up by what was asked for. A window is whole hours: the hours it
//! begins and ends in are in it.

mod window;

use crate::TenantHeader;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use chrono::{DateTime, SecondsFormat, Utc};
use engine::{Allocation, Engine, QueryError};
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use window::Window;

const GIB: f64 = (1u64 << 30) as f64;
const HOUR_MS: i64 = 3_600_000;
/// Sets of one answer: a month of hours.
const STEPS_MAX: i64 = 32 * 24;

pub fn router(engine: Arc<Engine>) -> Router {
    Router::new()
        .route("/cost/allocation", get(allocation))
        .route("/cost/allocation/compute", get(allocation))
        .route("/cost/assets", get(assets))
        .route("/api/cost", get(cost))
        .with_state(engine)
}

#[derive(Deserialize)]
struct Request {
    #[serde(default = "last_day")]
    window: String,
    aggregate: Option<String>,
    step: Option<String>,
}

fn last_day() -> String {
    "24h".into()
}

type Asked = Result<Query<Request>, QueryRejection>;

/// What a query asks for, understood.
struct Wanted {
    window: Window,
    by: Vec<By>,
    step_ms: i64,
}

impl Wanted {
    fn of(asked: Asked, by_default: &str) -> Result<Wanted, String> {
        let Query(request) = asked.map_err(|wrong| wrong.body_text())?;
        let window = window::parse(&request.window, Utc::now())?;
        let by = request.aggregate.as_deref().filter(|text| !text.is_empty()).unwrap_or(by_default);
        let by = by.split(',').map(By::parse).collect::<Result<Vec<_>, _>>()?;
        let step_ms = match request.step.as_deref() {
            None | Some("") => window.length_ms().max(1),
            Some(step) => window::duration_ms(step)?,
        };
        if step_ms < HOUR_MS && step_ms < window.length_ms() {
            return Err(format!(
                "step {:?} is shorter than 1h, and costs are by hour",
                request.step.unwrap_or_default()
            ));
        }
        if window.length_ms() / step_ms > STEPS_MAX {
            return Err(format!("more than {STEPS_MAX} steps; make the step longer or the window shorter"));
        }
        Ok(Wanted { window, by, step_ms })
    }
}

/// What rows are added up by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum By {
    All,
    Node,
    Namespace,
    Workload,
    Pod,
    Container,
}

impl By {
    fn parse(text: &str) -> Result<By, String> {
        match text.trim() {
            // There is one cluster.
            "all" | "cluster" => Ok(By::All),
            "node" => Ok(By::Node),
            "namespace" => Ok(By::Namespace),
            "workload" | "controller" | "deployment" => Ok(By::Workload),
            "pod" => Ok(By::Pod),
            "container" => Ok(By::Container),
            other => Err(format!(
                "aggregate {other:?} is not known; use all, node, namespace, workload (or controller), pod, container"
            )),
        }
    }

    fn of(self, row: &Allocation) -> &str {
        match self {
            By::All => "cluster",
            By::Node => &row.node,
            By::Namespace => &row.namespace,
            By::Workload => &row.workload,
            By::Pod => &row.pod,
            By::Container => &row.container,
        }
    }
}

/// Hours added up.
#[derive(Clone, Debug, Default)]
struct Sum {
    cpu_core_hours: f64,
    memory_gib_hours: f64,
    cpu_cost: f64,
    memory_cost: f64,
    /// What it is of, as far as all its rows agree.
    namespace: Option<String>,
    workload: Option<String>,
    pod: Option<String>,
    container: Option<String>,
    node: Option<String>,
    rows: usize,
}

impl Sum {
    fn add(&mut self, row: &Allocation) {
        self.cpu_core_hours += row.cpu_core_hours;
        self.memory_gib_hours += row.memory_gib_hours;
        self.cpu_cost += row.cpu_cost;
        self.memory_cost += row.memory_cost;
        let first = self.rows == 0;
        for (known, value) in [
            (&mut self.namespace, &row.namespace),
            (&mut self.workload, &row.workload),
            (&mut self.pod, &row.pod),
            (&mut self.container, &row.container),
            (&mut self.node, &row.node),
        ] {
            if first {
                *known = Some(value.clone());
            } else if known.as_ref().is_some_and(|known| known != value) {
                *known = None;
            }
        }
        self.rows += 1;
    }

    fn total(&self) -> f64 {
        self.cpu_cost + self.memory_cost
    }
}

/// By name (`shop/cart`). What nobody used stays one row of its own, whatever is asked for.
fn add_up<'r>(rows: impl Iterator<Item = &'r Allocation>, by: &[By]) -> BTreeMap<String, Sum> {
    let mut sums: BTreeMap<String, Sum> = BTreeMap::new();
    for row in rows {
        let name = if row.is_idle() && !by.contains(&By::Node) && by != [By::All] {
            engine::IDLE.to_owned()
        } else {
            by.iter().map(|by| by.of(row)).filter(|part| !part.is_empty()).collect::<Vec<_>>().join("/")
        };
        sums.entry(name).or_default().add(row);
    }
    sums
}

async fn allocation(
    State(engine): State<Arc<Engine>>,
    TenantHeader(tenant): TenantHeader,
    asked: Asked,
) -> Response {
    let wanted = match Wanted::of(asked, "node,namespace,pod,container") {
        Ok(wanted) => wanted,
        Err(why) => return refuse(StatusCode::BAD_REQUEST, &why),
    };
    let Window { start_ms, end_ms } = wanted.window;
    let rows = match engine.allocation(&tenant, start_ms, end_ms).await {
        Ok(rows) => rows,
        Err(wrong) => return refuse(status(&wrong), &wrong.to_string()),
    };
    let mut sets = vec![];
    let mut from_ms = start_ms;
    while from_ms < end_ms {
        let to_ms = from_ms.saturating_add(wanted.step_ms).min(end_ms);
        let inside = rows.iter().filter(|row| {
            let at_ms = row.window_start_ms.max(start_ms);
            (from_ms..to_ms).contains(&at_ms)
        });
        let set: serde_json::Map<String, Value> = add_up(inside, &wanted.by)
            .into_iter()
            .map(|(name, sum)| (name.clone(), opencost(&name, &sum, from_ms, to_ms)))
            .collect();
        sets.push(Value::Object(set));
        from_ms = to_ms;
    }
    Json(json!({ "code": 200, "data": sets })).into_response()
}

/// OpenCost's fields; those of what we do not price (GPU, network, volumes) are 0, as there.
fn opencost(name: &str, sum: &Sum, start_ms: i64, end_ms: i64) -> Value {
    let hours = ((end_ms - start_ms) as f64 / HOUR_MS as f64).max(f64::MIN_POSITIVE);
    let ram_byte_hours = sum.memory_gib_hours * GIB;
    let mut properties = serde_json::Map::from_iter([("cluster".to_owned(), json!("default"))]);
    for (key, value) in [
        ("node", &sum.node),
        ("namespace", &sum.namespace),
        ("controller", &sum.workload),
        ("pod", &sum.pod),
        ("container", &sum.container),
    ] {
        if let Some(value) = value.as_ref().filter(|value| !value.is_empty()) {
            properties.insert(key.to_owned(), json!(value));
        }
    }
    json!({
        "name": name,
        "properties": properties,
        "window": { "start": time(start_ms), "end": time(end_ms) },
        "start": time(start_ms),
        "end": time(end_ms),
        "minutes": (end_ms - start_ms) as f64 / 60_000.0,
        "cpuCores": sum.cpu_core_hours / hours,
        "cpuCoreHours": sum.cpu_core_hours,
        "cpuCoreUsageAverage": sum.cpu_core_hours / hours,
        "cpuCost": sum.cpu_cost,
        "ramBytes": ram_byte_hours / hours,
        "ramByteHours": ram_byte_hours,
        "ramByteUsageAverage": ram_byte_hours / hours,
        "ramCost": sum.memory_cost,
        "gpuCount": 0, "gpuHours": 0, "gpuCost": 0,
        "networkCost": 0, "loadBalancerCost": 0, "pvCost": 0, "sharedCost": 0, "externalCost": 0,
        "totalCost": sum.total(),
    })
}

/// Nodes and what they cost, used or not.
async fn assets(
    State(engine): State<Arc<Engine>>,
    TenantHeader(tenant): TenantHeader,
    asked: Asked,
) -> Response {
    let window = match Wanted::of(asked, "node") {
        Ok(wanted) => wanted.window,
        Err(why) => return refuse(StatusCode::BAD_REQUEST, &why),
    };
    let rows = match engine.allocation(&tenant, window.start_ms, window.end_ms).await {
        Ok(rows) => rows,
        Err(wrong) => return refuse(status(&wrong), &wrong.to_string()),
    };
    let node = |(name, sum): (String, Sum)| {
        let asset = json!({
            "type": "Node",
            "properties": { "category": "Compute", "cluster": "default", "name": name, "service": "Kubernetes" },
            "window": { "start": time(window.start_ms), "end": time(window.end_ms) },
            "start": time(window.start_ms),
            "end": time(window.end_ms),
            "cpuCoreHours": sum.cpu_core_hours,
            "ramByteHours": sum.memory_gib_hours * GIB,
            "cpuCost": sum.cpu_cost,
            "ramCost": sum.memory_cost,
            "totalCost": sum.total(),
        });
        (name, asset)
    };
    let assets: serde_json::Map<String, Value> =
        add_up(rows.iter(), &[By::Node]).into_iter().map(node).collect();
    Json(json!({ "code": 200, "data": assets })).into_response()
}

/// The same in fewer words, with the prices it was computed from.
async fn cost(
    State(engine): State<Arc<Engine>>,
    TenantHeader(tenant): TenantHeader,
    asked: Asked,
) -> Response {
    let wanted = match Wanted::of(asked, "namespace,workload") {
        Ok(wanted) => wanted,
        Err(why) => return refuse(StatusCode::BAD_REQUEST, &why),
    };
    let Window { start_ms, end_ms } = wanted.window;
    let rows = match engine.allocation(&tenant, start_ms, end_ms).await {
        Ok(rows) => rows,
        Err(wrong) => return refuse(status(&wrong), &wrong.to_string()),
    };
    let total: f64 = rows.iter().map(Allocation::total_cost).sum();
    let idle: f64 = rows.iter().filter(|row| row.is_idle()).map(Allocation::total_cost).sum();
    let mut sums: Vec<(String, Sum)> = add_up(rows.iter(), &wanted.by).into_iter().collect();
    sums.sort_by(|a, b| b.1.total().total_cmp(&a.1.total()));
    let row = |(name, sum): (String, Sum)| {
        json!({
            "name": name,
            "namespace": sum.namespace,
            "workload": sum.workload,
            "pod": sum.pod,
            "node": sum.node,
            "cpu_core_hours": sum.cpu_core_hours,
            "memory_gib_hours": sum.memory_gib_hours,
            "cpu_cost": sum.cpu_cost,
            "memory_cost": sum.memory_cost,
            "total_cost": sum.total(),
        })
    };
    let prices = engine.prices();
    let prices: Vec<Value> = prices
        .prices()
        .iter()
        .map(|price| {
            json!({
                "item": match price.item {
                    engine::Item::CpuCore => "cpu_core",
                    engine::Item::MemoryGib => "memory_gib",
                    engine::Item::Node => "node",
                },
                "provider": price.provider, "region": price.region, "instance_type": price.instance_type,
                "usd_per_hour": price.usd_per_hour, "as_of": price.as_of, "source": price.source,
            })
        })
        .collect();
    Json(json!({
        "start": time(start_ms),
        "end": time(end_ms),
        "currency": "USD",
        "total_cost": total,
        "idle_cost": idle,
        "rows": sums.into_iter().map(row).collect::<Vec<_>>(),
        "prices": prices,
    }))
    .into_response()
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
