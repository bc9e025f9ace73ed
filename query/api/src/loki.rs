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

pub use delete::router as delete_router;
pub use drilldown::Told;

use crate::TenantHeader;
use crate::pieces::Pieces;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use engine::{Direction, Engine, LogAnswer, LogResult, QueryError, VolumeBy};
use model::{Clock, Labels, SeriesPoints, SystemClock, TimeRange};
use params::Params;
use serde_json::{Value, json};
use std::sync::Arc;

const ENCODING_FLAGS: &str = "x-loki-response-encoding-flags";
const CATEGORIZE: &str = "categorize-labels";
/// Of the Loki whose API this is: Grafana shows what that version has.
const LOKI_VERSION: &str = "3.5.0";
const LIMIT_DEFAULT: usize = 100;
const VOLUME_LIMIT_DEFAULT: usize = 100;
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
        .route("/index/volume", get(volume).post(volume))
        .route("/index/volume_range", get(volume_range).post(volume_range))
        .route("/detected_labels", get(detect::labels).post(detect::labels))
        .route("/detected_fields", get(detect::fields).post(detect::fields))
        .route("/detected_field/{name}/values", get(detect::field_values).post(detect::field_values))
        .route("/patterns", get(patterns::patterns).post(patterns::patterns))
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

/// Why a request is refused: a status and a sentence.
struct Refusal(StatusCode, String);

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        (self.0, [(header::CONTENT_TYPE, "text/plain; charset=utf-8")], self.1).into_response()
    }
}

impl From<QueryError> for Refusal {
    fn from(error: QueryError) -> Self {
        Refusal(crate::refusal::status(&error), error.to_string())
    }
}

impl Refusal {
    fn bad(text: impl Into<String>) -> Refusal {
        Refusal(StatusCode::BAD_REQUEST, text.into())
    }
}

type Answer<T> = Result<T, Refusal>;

fn success(data: Value) -> Json<Value> {
    Json(json!({ "status": "success", "data": data }))
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
    let names = engine.log_labels(&tenant, params.selector(), params.time_range(now_ns())?).await?;
    Ok(success(json!(names)))
}

async fn label_values(
    State(engine): State<Arc<Engine>>,
    TenantHeader(tenant): TenantHeader,
    Path(name): Path<String>,
    params: Params,
) -> Answer<Json<Value>> {
    let range = params.time_range(now_ns())?;
    let values = engine.log_label_values(&tenant, &name, params.selector(), range).await?;
    Ok(success(json!(values)))
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
    let series = engine.log_series(&tenant, &selectors, params.time_range(now_ns())?).await?;
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
    let stats = engine.log_stats(&tenant, query, params.time_range(now_ns())?).await?;
    Ok(Json(json!({
        "streams": stats.streams,
        "chunks": stats.chunks,
        "bytes": stats.bytes,
        "entries": stats.entries,
    })))
}

/// The stream selector of a whole query: sizes are known of streams only.
fn selector_of(query: &str) -> String {
    match logql::parse(query) {
        Ok(logql::Expr::Log(log)) => {
            logql::Expr::Log(logql::LogExpr { matchers: log.matchers, stages: Vec::new() }).to_string()
        }
        _ => query.to_owned(),
    }
}

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

async fn volume(
    State(engine): State<Arc<Engine>>,
    TenantHeader(tenant): TenantHeader,
    params: Params,
) -> Answer<Json<Value>> {
    let query = params.required("query")?;
    let range = params.time_range(now_ns())?;
    let limit = params.limit("limit", VOLUME_LIMIT_DEFAULT)?.min(VOLUME_LIMIT_MAX);
    let (by, targets) = (volume_by(&params)?, target_labels(&params));
    let volumes = engine.log_volume(&tenant, query, range, &targets, by, limit).await?;
    let at = encode::seconds(range.end.div_euclid(1_000_000));
    let result: Vec<Value> = volumes
        .into_iter()
        .map(|(labels, bytes)| json!({ "metric": by_name(&labels, by), "value": [at, bytes.to_string()] }))
        .collect();
    Ok(success(json!({ "resultType": "vector", "result": result, "stats": encode::no_stats() })))
}

/// By label, the metric is the label's name with an empty value, as Loki writes it.
fn by_name(labels: &Labels, by: VolumeBy) -> Value {
    match by {
        VolumeBy::Series => json!(labels),
        VolumeBy::Labels => {
            Value::Object(labels.iter().map(|(name, _)| (name.to_owned(), json!(""))).collect())
        }
    }
}

async fn volume_range(
    State(engine): State<Arc<Engine>>,
    TenantHeader(tenant): TenantHeader,
    headers: HeaderMap,
    params: Params,
) -> Answer<Response> {
    let query = params.required("query")?;
    volume_by(&params)?;
    let matchers = logql::parse_selector(query).map_err(Refusal::bad)?;
    let (start, end) = params.range(now_ns())?;
    let step_ms = params.step_ms(start, end)?;
    let mut names = target_labels(&params);
    if names.is_empty() {
        names = matchers.into_iter().map(|matcher| matcher.name).collect();
    }
    if let Some(wrong) = names.iter().find(|name| !is_label_name(name)) {
        return Err(Refusal::bad(format!("targetLabels: {wrong:?} is no label name")));
    }
    let volume = format!("sum by ({}) (bytes_over_time({query}[{step_ms}ms]))", names.join(","));
    let limit = params.limit("limit", VOLUME_LIMIT_DEFAULT)?.min(VOLUME_LIMIT_MAX);
    let mut answer =
        engine.logql_range(&tenant, &volume, start, end, step_ms, 1, Direction::Backward).await?;
    if let LogResult::Matrix(series) = &mut answer.result
        && series.len() > limit
    {
        let bytes = |one: &SeriesPoints| one.points.iter().map(|point| point.value).sum::<f64>();
        series.sort_by(|a, b| bytes(b).total_cmp(&bytes(a)));
        series.truncate(limit);
    }
    Ok(answered(answer, &headers))
}

fn is_label_name(name: &str) -> bool {
    !name.starts_with(|c: char| c.is_ascii_digit())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// The one call whose refusals are JSON in Loki, too.
async fn format_query(params: Params) -> Response {
    match logql::parse(params.get("query").unwrap_or("")) {
        Ok(expr) => success(json!(logql::pretty(&expr))).into_response(),
        Err(why) => {
            let refusal = json!({ "status": "invalid-query", "error": why.to_string() });
            (StatusCode::BAD_REQUEST, Json(refusal)).into_response()
        }
    }
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
