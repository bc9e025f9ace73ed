//! The Jaeger query API under `/jaeger/api`: services, operations, traces and what calls what; its version 3 in `v3`, and
//! by gRPC in `grpc`.
//!
//! Times are microseconds, durations as Go writes them. Answers and errors are Jaeger's envelope
//! `{"data", "total", "limit", "offset", "errors"}`.

mod ask;
mod convert;
mod grpc;
mod params;
mod v3;

use crate::TenantHeader;
use crate::traces::{self, whole_traces};
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use engine::{Engine, QueryError};
use model::{SpanBatch, TraceId};
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
    Router::new().nest("/jaeger/api", routes).nest("/jaeger/api/v3", v3::router()).with_state(engine)
}

/// Version 3 by gRPC. Its path is fixed at the root: a client dials host and port alone.
pub fn grpc_router(engine: Arc<Engine>) -> Router {
    grpc::router(engine)
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

async fn services(
    State(engine): State<Arc<Engine>>,
    TenantHeader(tenant): TenantHeader,
) -> Answer<Json<Value>> {
    let (names, warnings) = ask::services(&engine, &tenant).await?;
    Ok(answered(names.into_iter().map(Value::from).collect(), &warnings))
}

async fn operations_of(
    State(engine): State<Arc<Engine>>,
    TenantHeader(tenant): TenantHeader,
    Path(service): Path<String>,
) -> Answer<Json<Value>> {
    let (found, warnings) = ask::operations(&engine, &tenant, &service, "").await?;
    let mut names: Vec<Value> = found.into_iter().map(|operation| operation.name.into()).collect();
    names.dedup();
    Ok(answered(names, &warnings))
}

async fn operations(
    State(engine): State<Arc<Engine>>,
    TenantHeader(tenant): TenantHeader,
    params: Params,
) -> Answer<Json<Value>> {
    let service = params.get("service").ok_or_else(|| Refusal::bad("parameter 'service' is required"))?;
    let kind = params.get("spanKind").unwrap_or("");
    let (found, warnings) = ask::operations(&engine, &tenant, service, kind).await?;
    Ok(answered(found.iter().map(ask::Operation::json).collect(), &warnings))
}

fn found((traces, warnings): ask::Told<(TraceId, SpanBatch)>) -> Json<Value> {
    answered(traces.iter().map(|(id, spans)| convert::trace(*id, spans)).collect(), &warnings)
}

async fn search(
    State(engine): State<Arc<Engine>>,
    TenantHeader(tenant): TenantHeader,
    params: Params,
) -> Answer<Json<Value>> {
    let ids = params.trace_ids()?;
    if !ids.is_empty() {
        return Ok(found(ask::traces(&engine, &tenant, &ids, None).await?));
    }
    Ok(found(ask::search(&engine, &tenant, &params).await?))
}

/// A trace that is not known is no data: Grafana shows an empty view.
async fn trace(
    State(engine): State<Arc<Engine>>,
    TenantHeader(tenant): TenantHeader,
    Path(id): Path<String>,
    params: Params,
) -> Answer<Json<Value>> {
    let range = params.given_range()?.map(whole_traces);
    Ok(found(ask::traces(&engine, &tenant, &[params::trace_id(&id)?], range).await?))
}

async fn dependencies(
    State(engine): State<Arc<Engine>>,
    TenantHeader(tenant): TenantHeader,
    params: Params,
) -> Answer<Json<Value>> {
    let range = params.lookback()?;
    let (calls, warnings) = traces::calls(&engine, &tenant, range).await?;
    let edges = calls.into_iter();
    let edges =
        edges.map(|call| json!({ "parent": call.parent, "child": call.child, "callCount": call.count }));
    Ok(answered(edges.collect(), &warnings))
}

#[cfg(test)]
mod tests;
