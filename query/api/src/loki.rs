//! The Loki HTTP API under `/loki/api/v1`: queries, labels, series, sizes, and what Logs Drilldown asks for.
//!
//! Errors are plain text, as Loki's are: Grafana shows the whole body. Parameters come in the query string or, by
//! POST, in a form; times are nanoseconds, seconds (whole or with a fraction) or RFC 3339.

mod config;
mod delete;
mod detect;
mod drilldown;
mod encode;
mod params;
mod patterns;
mod tail;
mod thinned;
mod volume;

pub use delete::router as delete_router;
pub use drilldown::Told;

use crate::TenantHeader;
use crate::pieces::Pieces;
use crate::refusal::Refusal;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::map_response;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use engine::{Engine, LogAnswer, LogStatistics};
use model::{Clock, SystemClock, TimeRange};
use params::Params;
use serde_json::{Value, json};
use std::sync::Arc;

const ENCODING_FLAGS: &str = "x-loki-response-encoding-flags";
const CATEGORIZE: &str = "categorize-labels";
/// Of the Loki whose API this is: Grafana shows what that version has.
const LOKI_VERSION: &str = "3.5.0";
const LIMIT_DEFAULT: usize = 100;
/// As Loki's `volume_max_series`; Grafana asks for so many.
const VOLUME_LIMIT_MAX: usize = 5_000;

/// `told` is what Logs Drilldown is told of the doors and the store.
pub fn router(engine: Arc<Engine>, told: Arc<Told>) -> Router {
    let of_config = told.clone();
    let config = move |State(engine): State<Arc<Engine>>| async move { config::config(&engine, &of_config) };
    let config = Router::new().route("/config", get(config.clone())).route("/loki/config", get(config));
    let limits = move |State(engine): State<Arc<Engine>>| async move { drilldown::limits(&engine, &told) };
    let routes: Router<Arc<Engine>> = Router::new()
        .route("/query_range", get(query_range).post(query_range))
        .route("/query", get(query).post(query))
        .route("/labels", get(labels).post(labels))
        .route("/label", get(labels).post(labels))
        .route("/label/{name}/values", get(label_values).post(label_values))
        .route("/series", get(series).post(series))
        .route("/index/stats", get(stats).post(stats))
        .route("/index/volume", get(volume::at_once).post(volume::at_once))
        .route("/index/volume_range", get(volume::by_step).post(volume::by_step))
        .route("/detected_labels", get(detect::labels).post(detect::labels))
        .route("/detected_fields", get(detect::fields).post(detect::fields))
        .route("/detected_field/{name}/values", get(detect::field_values).post(detect::field_values))
        .route("/patterns", get(patterns::patterns).post(patterns::patterns))
        .layer(map_response(with_charset))
        .route("/tail", get(tail::tail))
        .route("/drilldown-limits", get(limits))
        .route("/format_query", get(format_query).post(format_query))
        .route("/status/buildinfo", get(buildinfo));
    Router::new()
        .nest("/loki/api/v1", routes)
        .route("/loki/api/v2alpha/tail", get(tail::tail_frames))
        .merge(config)
        .with_state(engine)
}

/// Loki names the charset of most of its answers.
async fn with_charset(mut response: Response) -> Response {
    let headers = response.headers_mut();
    if headers.get(header::CONTENT_TYPE).is_some_and(|kind| kind == "application/json") {
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json; charset=UTF-8"));
    }
    response
}

type Answer<T> = Result<T, Refusal>;

fn success(data: Value) -> Json<Value> {
    Json(json!({ "status": "success", "data": data }))
}

/// Loki leaves out an empty list of names or values.
fn success_of_any(found: &[String]) -> Json<Value> {
    match found.is_empty() {
        true => Json(json!({ "status": "success" })),
        false => success(json!(found)),
    }
}

fn now_ns() -> i64 {
    SystemClock.now_ns()
}

fn categorizes(headers: &HeaderMap) -> bool {
    let flags = headers.get(ENCODING_FLAGS).and_then(|value| value.to_str().ok()).unwrap_or("");
    flags.split(',').any(|flag| flag.trim() == CATEGORIZE)
}

async fn query_range(
    State(engine): State<Arc<Engine>>,
    TenantHeader(tenant): TenantHeader,
    headers: HeaderMap,
    params: Params,
) -> Answer<Response> {
    let query = params.required("query")?;
    let (start, end) = params.range(now_ns())?;
    let step_ms = params.step_ms(start, end)?;
    let (limit, direction) = (params.limit("limit", LIMIT_DEFAULT)?, params.direction()?);
    let answer = match params.interval_ns()? {
        0 => engine.logql_range(&tenant, query, start, end, step_ms, limit, direction).await?,
        interval => {
            let range = TimeRange { start, end };
            thinned::lines(&engine, &tenant, query, range, step_ms, (limit, direction), interval).await?
        }
    };
    Ok(answered(answer, &headers))
}

async fn query(
    State(engine): State<Arc<Engine>>,
    TenantHeader(tenant): TenantHeader,
    headers: HeaderMap,
    params: Params,
) -> Answer<Response> {
    let query = params.required("query")?;
    let at = params.time("time")?.unwrap_or_else(now_ns);
    let limit = params.limit("limit", LIMIT_DEFAULT)?;
    let answer = engine.logql_instant(&tenant, query, at, limit, params.direction()?).await?;
    Ok(answered(answer, &headers))
}

fn answered(answer: LogAnswer, headers: &HeaderMap) -> Response {
    encode::answer(answer, categorizes(headers))
}

async fn labels(
    State(engine): State<Arc<Engine>>,
    TenantHeader(tenant): TenantHeader,
    params: Params,
) -> Answer<Json<Value>> {
    let names = engine.log_labels(&tenant, params.selector()?, params.time_range(now_ns())?).await?;
    Ok(success_of_any(&names))
}

async fn label_values(
    State(engine): State<Arc<Engine>>,
    TenantHeader(tenant): TenantHeader,
    Path(name): Path<String>,
    params: Params,
) -> Answer<Json<Value>> {
    let range = params.time_range(now_ns())?;
    let values = engine.log_label_values(&tenant, &name, params.selector()?, range).await?;
    Ok(success_of_any(&values))
}

async fn series(
    State(engine): State<Arc<Engine>>,
    TenantHeader(tenant): TenantHeader,
    params: Params,
) -> Answer<Response> {
    let mut selectors = params.all("match[]");
    selectors.extend(params.all("match"));
    // `{}` asks for everything, which as a query would be refused.
    selectors.retain(|selector| selector.trim() != "{}");
    let series = match params.times(now_ns())? {
        Some(range) => engine.log_series(&tenant, &selectors, range).await?,
        None => vec![],
    };
    // There may be a million of them.
    let head = "{\"status\":\"success\",\"data\":[".to_owned();
    let pieces =
        Pieces::new(head, series.into_iter(), "]}".to_owned(), |text, labels| encode::put(text, &labels));
    Ok(pieces.into_response())
}

async fn stats(
    State(engine): State<Arc<Engine>>,
    TenantHeader(tenant): TenantHeader,
    params: Params,
) -> Answer<Json<Value>> {
    let query = params.required("query")?;
    // What would read everything is refused here, not where volumes are asked for.
    logql::parse_selector(query).map_err(Refusal::bad)?;
    let (start, end) = params.range(now_ns())?;
    // Loki reads the parameters of a query, which may be wrong.
    params.limit("limit", LIMIT_DEFAULT)?;
    params.direction()?;
    params.step_ms(start, end)?;
    let stats = match start < end {
        true => engine.log_stats(&tenant, query, TimeRange { start, end }).await?,
        false => LogStatistics::default(),
    };
    Ok(Json(json!({
        "streams": stats.streams,
        "chunks": stats.chunks,
        "bytes": stats.bytes,
        "entries": stats.entries,
    })))
}

/// The one call whose refusals are JSON in Loki, too.
async fn format_query(params: Params) -> Response {
    let (status, said) = match logql::parse_to_print(params.get("query").unwrap_or("")) {
        Ok(expr) => (StatusCode::OK, json!({ "status": "success", "data": logql::pretty(&expr) })),
        Err(why) => (StatusCode::BAD_REQUEST, json!({ "status": "invalid-query", "error": why.to_string() })),
    };
    (status, [(header::CONTENT_TYPE, "application/json; charset=utf-8")], said.to_string()).into_response()
}

async fn buildinfo() -> Json<Value> {
    Json(json!({
        "version": LOKI_VERSION,
        "revision": env!("CARGO_PKG_VERSION"),
        "branch": "main",
        "buildUser": "",
        "buildDate": "",
        "goVersion": "",
    }))
}

#[cfg(test)]
mod tests;
