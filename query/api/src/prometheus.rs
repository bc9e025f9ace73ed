//! The Prometheus HTTP API under `/api/v1`: queries, series, labels, metadata.
//!
//! Parameters come in the query string, by POST also in a form, or both. Errors have Prometheus' shape, status and
//! `errorType`.

pub mod admin;
mod encode;
mod params;
mod read;
mod search;
mod status;
mod tree;

pub use status::About;

use crate::TenantHeader;
use crate::pieces::Pieces;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use engine::{Engine, Found, LOOKBACK_MS, PromOptions, QueryError};
use model::{Clock, Exemplar, SystemClock, TimeRange};
use params::Params;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

pub fn router(engine: Arc<Engine>, about: About) -> Router {
    let routes: Router<Arc<Engine>> = Router::new()
        .route("/query", get(query).post(query))
        .route("/query_range", get(query_range).post(query_range))
        .route("/query_exemplars", get(exemplars).post(exemplars))
        .route("/format_query", get(format_query).post(format_query))
        .route("/parse_query", get(parse_query).post(parse_query))
        .route("/labels", get(labels).post(labels))
        .route("/label/{name}/values", get(label_values).post(label_values))
        .route("/series", get(series).post(series))
        .route("/metadata", get(metadata))
        .route("/read", post(read::read));
    Router::new()
        .nest("/api/v1", routes.merge(status::routes(about)).merge(search::routes()))
        .with_state(engine)
}

/// Why a request is refused, in Prometheus' words.
pub(crate) struct Refusal {
    status: StatusCode,
    kind: &'static str,
    why: String,
}

impl Refusal {
    fn bad(why: impl Into<String>) -> Refusal {
        Refusal { status: StatusCode::BAD_REQUEST, kind: "bad_data", why: why.into() }
    }
}

impl From<QueryError> for Refusal {
    fn from(wrong: QueryError) -> Refusal {
        let (status, kind) = match &wrong {
            QueryError::Bad(_) => (StatusCode::BAD_REQUEST, "bad_data"),
            QueryError::Execution(_) | QueryError::TooMuch(_) => {
                (StatusCode::UNPROCESSABLE_ENTITY, "execution")
            }
            QueryError::Timeout(_) => (StatusCode::SERVICE_UNAVAILABLE, "timeout"),
            QueryError::Cancelled => (StatusCode::SERVICE_UNAVAILABLE, "canceled"),
            QueryError::Broken(_) => (StatusCode::INTERNAL_SERVER_ERROR, "internal"),
        };
        Refusal { status, kind, why: wrong.to_string() }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let body = json!({ "status": "error", "errorType": self.kind, "error": self.why });
        (self.status, Json(body)).into_response()
    }
}

type Answered<T> = Result<T, Refusal>;

/// A list of names or label sets, cut at the caller's limit, which is then said.
fn list<T>(found: Found<T>, limit: usize) -> Response
where
    T: serde::Serialize + Send + 'static,
{
    let Found { found: mut all, mut warnings, held } = found;
    if limit > 0 && all.len() > limit {
        all.truncate(limit);
        warnings.push("results truncated due to limit".into());
    }
    let tail = match &warnings[..] {
        [] => "]}".to_owned(),
        warnings => format!(r#"],"warnings":{}}}"#, json!(warnings)),
    };
    let head = r#"{"status":"success","data":["#.to_owned();
    let write = move |out: &mut String, one: T| {
        let _until_the_last_is_written = &held;
        // Names and label sets always are JSON.
        out.push_str(&serde_json::to_string(&one).unwrap_or_default());
    };
    Pieces::new(head, all.into_iter(), tail, write).into_response()
}

async fn query(
    State(engine): State<Arc<Engine>>,
    TenantHeader(tenant): TenantHeader,
    params: Params,
) -> Answered<Response> {
    let began = Instant::now();
    let at_ms = params.time("time")?.unwrap_or_else(|| SystemClock.now_ms());
    let lookback_ms = params.duration("lookback_delta")?.unwrap_or(LOOKBACK_MS);
    let stats = encode::Stats::asked_for(&params);
    let options = PromOptions { lookback_ms, counts: stats.is_some() };
    let asked = engine.promql_instant(&tenant, query_text(&params)?, at_ms, options);
    let answer = within(&params, asked).await?;
    let histograms = encode::Histograms::asked_for(&params);
    let stats = stats.map(|stats| (stats, began.elapsed()));
    Ok(encode::answer(answer, params.limit()?, stats, histograms).into_response())
}

/// The text of the query; one that does not parse is the caller's fault, and the message says of which parameter.
fn query_text(params: &Params) -> Answered<&str> {
    let query = params.get("query").unwrap_or("");
    parsed(query)?;
    Ok(query)
}

fn parsed(query: &str) -> Answered<promql::Expr> {
    promql::parse(query).map_err(|wrong| Refusal::bad(format!("invalid parameter \"query\": {wrong}")))
}

async fn query_range(
    State(engine): State<Arc<Engine>>,
    TenantHeader(tenant): TenantHeader,
    params: Params,
) -> Answered<Response> {
    let began = Instant::now();
    let required = |name: &str, kind: &str| {
        Refusal::bad(format!("invalid parameter {name:?}: cannot parse \"\" to a valid {kind}"))
    };
    let start_ms = params.time("start")?.ok_or_else(|| required("start", "timestamp"))?;
    let end_ms = params.time("end")?.ok_or_else(|| required("end", "timestamp"))?;
    let step_ms = params.duration("step")?.ok_or_else(|| required("step", "duration"))?;
    let lookback_ms = params.duration("lookback_delta")?.unwrap_or(LOOKBACK_MS);
    let query = query_text(&params)?;
    let stats = encode::Stats::asked_for(&params);
    let options = PromOptions { lookback_ms, counts: stats.is_some() };
    let asked = engine.promql_range(&tenant, query, start_ms, end_ms, step_ms, options);
    let answer = within(&params, asked).await?;
    let histograms = encode::Histograms::asked_for(&params);
    let stats = stats.map(|stats| (stats, began.elapsed()));
    Ok(encode::answer(answer, params.limit()?, stats, histograms).into_response())
}

/// The caller's own time limit, where it gives one; the engine's holds as well.
async fn within<T>(params: &Params, asked: impl Future<Output = Result<T, QueryError>>) -> Answered<T> {
    match params.duration("timeout")? {
        Some(ms) if ms > 0 => match tokio::time::timeout(Duration::from_millis(ms as u64), asked).await {
            Ok(answer) => Ok(answer?),
            Err(_) => Err(QueryError::Timeout(ms as u64).into()),
        },
        _ => Ok(asked.await?),
    }
}

/// Grafana asks `query=test` with times in milliseconds to see whether there is such a call: any time is fine.
async fn exemplars(
    State(engine): State<Arc<Engine>>,
    TenantHeader(tenant): TenantHeader,
    params: Params,
) -> Answered<Response> {
    let found = engine.prom_exemplars(&tenant, query_text(&params)?, range(&params)?).await?;
    let by_series = found.found.chunk_by(|a, b| a.series == b.series).map(|exemplars| {
        let one = |exemplar: &Exemplar| {
            json!({
                "labels": exemplar.labels,
                "value": encode::number_text(exemplar.value),
                "timestamp": exemplar.ts_ms as f64 / 1e3,
            })
        };
        json!({
            "seriesLabels": exemplars[0].series,
            "exemplars": exemplars.iter().map(one).collect::<Vec<_>>(),
        })
    });
    Ok(list(Found { found: by_series.collect(), warnings: found.warnings, held: found.held }, 0))
}

async fn format_query(params: Params) -> Answered<Json<Value>> {
    let expr = parsed(params.get("query").unwrap_or(""))?;
    Ok(Json(json!({ "status": "success", "data": expr.pretty() })))
}

async fn parse_query(params: Params) -> Answered<Json<Value>> {
    let expr = parsed(params.get("query").unwrap_or(""))?;
    Ok(Json(json!({ "status": "success", "data": tree::node(&expr) })))
}

fn range(params: &Params) -> Answered<TimeRange> {
    let start = params.time("start")?.unwrap_or(i64::MIN);
    let end = params.time("end")?.unwrap_or(i64::MAX);
    if end < start {
        return Err(Refusal::bad("invalid parameter \"end\": end timestamp must not be before start time"));
    }
    Ok(TimeRange { start, end })
}

async fn labels(
    State(engine): State<Arc<Engine>>,
    TenantHeader(tenant): TenantHeader,
    params: Params,
) -> Answered<Response> {
    let found = engine.prom_label_names(&tenant, &params.all("match[]"), range(&params)?).await?;
    Ok(list(found, params.limit()?))
}

async fn label_values(
    State(engine): State<Arc<Engine>>,
    TenantHeader(tenant): TenantHeader,
    Path(name): Path<String>,
    params: Params,
) -> Answered<Response> {
    let name = params::unescaped_name(&name);
    if name.is_empty() {
        return Err(Refusal::bad(format!("invalid label name: {}", promql::quoted(&name))));
    }
    let selectors = params.all("match[]");
    let found = engine.prom_label_values(&tenant, &name, &selectors, range(&params)?).await?;
    Ok(list(found, params.limit()?))
}

async fn series(
    State(engine): State<Arc<Engine>>,
    TenantHeader(tenant): TenantHeader,
    params: Params,
) -> Answered<Response> {
    let selectors = params.all("match[]");
    if selectors.is_empty() {
        return Err(Refusal::bad("no match[] parameter provided"));
    }
    let found = engine.prom_series(&tenant, &selectors, range(&params)?).await?;
    Ok(list(found, params.limit()?))
}

async fn metadata(
    State(engine): State<Arc<Engine>>,
    TenantHeader(tenant): TenantHeader,
    params: Params,
) -> Answered<Json<Value>> {
    let wanted = params.get("metric").filter(|name| !name.is_empty());
    let (limit, of_metric) = (params.limit()?, params.count("limit_per_metric")?);
    let mut by_name: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    for metadata in engine.prom_metadata(&tenant).await? {
        let is_new = !by_name.contains_key(&metadata.name);
        let full = limit > 0 && is_new && by_name.len() >= limit;
        if wanted.is_some_and(|name| name != metadata.name) || full {
            continue;
        }
        let row = json!({ "type": metadata.kind.as_str(), "help": metadata.help, "unit": metadata.unit });
        let rows = by_name.entry(metadata.name).or_default();
        if of_metric == 0 || rows.len() < of_metric {
            rows.push(row);
        }
    }
    Ok(Json(json!({ "status": "success", "data": by_name })))
}

#[cfg(test)]
mod tests;
