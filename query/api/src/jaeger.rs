//! The Jaeger query API under `/jaeger/api`: services, operations, traces and what calls what.
//!
//! Times are microseconds, durations as Go writes them. Answers and errors are Jaeger's envelope
//! `{"data", "total", "limit", "offset", "errors"}`.

mod convert;
mod params;

use crate::TenantHeader;
use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::Int64Type;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use engine::{Engine, QueryError, SearchOptions, SqlParameter};
use model::{Tenant, TimeRange, TraceId};
use params::Params;
use serde_json::{Value, json};
use std::sync::Arc;

/// Traces of one search where no limit is given, as in Jaeger.
const TRACES_DEFAULT: usize = 100;

pub fn router(engine: Arc<Engine>) -> Router {
    let routes: Router<Arc<Engine>> = Router::new()
        .route("/services", get(services))
        .route("/services/{service}/operations", get(operations_of))
        .route("/operations", get(operations))
        .route("/traces", get(search))
        .route("/traces/{id}", get(trace))
        .route("/dependencies", get(dependencies));
    Router::new().nest("/jaeger/api", routes).with_state(engine)
}

/// Why a request is refused: a status and a sentence, in Jaeger's envelope.
pub(crate) struct Refusal(pub StatusCode, pub String);

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let told = json!([{ "code": self.0.as_u16(), "msg": self.1 }]);
        let body = json!({ "data": null, "total": 0, "limit": 0, "offset": 0, "errors": told });
        (self.0, Json(body)).into_response()
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

/// What could not be read is told among the errors, and the rest is answered.
fn answered(data: Vec<Value>, warnings: &[String]) -> Json<Value> {
    let errors = match warnings {
        [] => Value::Null,
        told => told.iter().map(|msg| json!({ "code": 206, "msg": msg })).collect(),
    };
    Json(json!({ "total": data.len(), "data": data, "limit": 0, "offset": 0, "errors": errors }))
}

/// Rows of a statement over the table `spans`.
async fn rows<T>(
    engine: &Arc<Engine>,
    tenant: &Tenant,
    query: &str,
    parameters: Vec<SqlParameter>,
    row: impl Fn(&RecordBatch, usize) -> T,
) -> Answer<(Vec<T>, Vec<String>)> {
    let answer = engine.sql(tenant, query, parameters).await?;
    let all = answer.batches.iter().flat_map(|batch| (0..batch.num_rows()).map(move |at| (batch, at)));
    Ok((all.map(|(batch, at)| row(batch, at)).collect(), answer.warnings))
}

fn text(batch: &RecordBatch, column: usize, row: usize) -> String {
    let texts = batch.column(column).as_string_opt::<i32>();
    texts.filter(|texts| texts.is_valid(row)).map_or("", |texts| texts.value(row)).to_owned()
}

async fn services(
    State(engine): State<Arc<Engine>>,
    TenantHeader(tenant): TenantHeader,
) -> Answer<Json<Value>> {
    let query = "select distinct service from spans where service is not null order by service";
    let (names, warnings) =
        rows(&engine, &tenant, query, vec![], |batch, row| json!(text(batch, 0, row))).await?;
    Ok(answered(names, &warnings))
}

async fn operations_of(
    State(engine): State<Arc<Engine>>,
    TenantHeader(tenant): TenantHeader,
    Path(service): Path<String>,
) -> Answer<Json<Value>> {
    let query = "select distinct name from spans where service = $1 order by name";
    let service = vec![SqlParameter::Text(service)];
    let (names, warnings) =
        rows(&engine, &tenant, query, service, |batch, row| json!(text(batch, 0, row))).await?;
    Ok(answered(names, &warnings))
}

async fn operations(
    State(engine): State<Arc<Engine>>,
    TenantHeader(tenant): TenantHeader,
    params: Params,
) -> Answer<Json<Value>> {
    let service = params.get("service").ok_or_else(|| Refusal::bad("parameter 'service' is required"))?;
    let kind = params.get("spanKind").unwrap_or("");
    let query = "select distinct name, kind from spans where service = $1 and ($2 = '' or kind = $2) \
                 order by name, kind";
    let asked = [service, kind].map(|text| SqlParameter::Text(text.to_owned())).to_vec();
    let operation = |batch: &RecordBatch, row: usize| {
        let kind = text(batch, 1, row);
        let kind = if kind == "unspecified" { "" } else { &kind };
        json!({ "name": text(batch, 0, row), "spanKind": kind })
    };
    let (found, warnings) = rows(&engine, &tenant, query, asked, operation).await?;
    Ok(answered(found, &warnings))
}

/// Traces that are known, in the order of `ids`.
async fn traces(
    engine: &Engine,
    tenant: &Tenant,
    ids: &[TraceId],
    range: Option<TimeRange>,
) -> Answer<Json<Value>> {
    let (found, warnings) = engine.traces_by_id(tenant, ids, range).await?;
    let known = ids.iter().zip(&found).filter(|(_, spans)| !spans.resources.is_empty());
    Ok(answered(known.map(|(id, spans)| convert::trace(*id, spans)).collect(), &warnings))
}

async fn search(
    State(engine): State<Arc<Engine>>,
    TenantHeader(tenant): TenantHeader,
    params: Params,
) -> Answer<Json<Value>> {
    let ids = params.trace_ids()?;
    if !ids.is_empty() {
        return traces(&engine, &tenant, &ids, None).await;
    }
    let options =
        SearchOptions { range: params.range()?, limit: params.limit(TRACES_DEFAULT)?, spans_per_spanset: 1 };
    let found = engine.traceql_search(&tenant, &params.query()?, options).await?;
    let ids: Vec<TraceId> = found.traces.iter().map(|trace| trace.trace_id).collect();
    traces(&engine, &tenant, &ids, Some(params::whole_traces(options.range))).await
}

/// A trace that is not known is no data: Grafana shows an empty view.
async fn trace(
    State(engine): State<Arc<Engine>>,
    TenantHeader(tenant): TenantHeader,
    Path(id): Path<String>,
    params: Params,
) -> Answer<Json<Value>> {
    let range = params.given_range()?.map(params::whole_traces);
    traces(&engine, &tenant, &[params::trace_id(&id)?], range).await
}

async fn dependencies(
    State(engine): State<Arc<Engine>>,
    TenantHeader(tenant): TenantHeader,
    params: Params,
) -> Answer<Json<Value>> {
    let range = params.lookback()?;
    let query = "select p.service, c.service, count(*) \
                 from spans c join spans p on c.trace_id = p.trace_id and c.parent_span_id = p.span_id \
                 where p.service <> c.service \
                 and c.start_ts >= to_timestamp_nanos($1) and c.start_ts <= to_timestamp_nanos($2) \
                 and p.start_ts >= to_timestamp_nanos($3) and p.start_ts <= to_timestamp_nanos($4) \
                 group by 1, 2 order by 1, 2";
    // A call's other end may have begun a little before or after.
    let wide = params::whole_traces(range);
    let bounds = [range.start, range.end, wide.start, wide.end].map(SqlParameter::Integer).to_vec();
    let edge = |batch: &RecordBatch, row: usize| {
        let calls = batch.column(2).as_primitive_opt::<Int64Type>().map_or(0, |counts| counts.value(row));
        json!({ "parent": text(batch, 0, row), "child": text(batch, 1, row), "callCount": calls })
    };
    let (edges, warnings) = rows(&engine, &tenant, query, bounds, edge).await?;
    Ok(answered(edges, &warnings))
}

#[cfg(test)]
mod tests;
