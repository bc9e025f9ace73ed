//! The Jaeger query API under `/jaeger/api`: services, operations, traces and what calls what; its version 3 in `v3`, and
//! both by gRPC in `grpc`.
//!
//! Times are microseconds, durations as Go writes them. Answers and errors are Jaeger's envelope
//! `{"data", "total", "limit", "offset", "errors"}`. Spans have ids of their own, unless `raw` asks for them as sent.

mod ask;
mod convert;
mod grpc;
mod idl;
mod json;
mod monitor;
mod params;
mod summary;
mod v3;

use crate::TenantHeader;
use crate::shared_ids::told_apart;
use crate::traces::{self, whole_traces};
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
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
        .route("/services/{*path}", get(operations_of))
        .route("/operations", get(operations))
        .route("/traces", get(search))
        .route("/traces/{id}", get(trace))
        .route("/archive/{id}", post(archive))
        .route("/dependencies", get(dependencies));
    Router::new()
        .nest("/jaeger/api", routes)
        .nest("/jaeger/api/metrics", monitor::router())
        .nest("/jaeger/api/v3", v3::router())
        .with_state(engine)
}

/// Versions 2 and 3 by gRPC. Their path is fixed at the root: a client dials host and port alone.
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
    answered_with(data, warnings.iter().map(|msg| json!({ "code": 206, "msg": msg })).collect())
}

fn answered_with(data: Vec<Value>, errors: Vec<Value>) -> Json<Value> {
    let errors = if errors.is_empty() { Value::Null } else { Value::Array(errors) };
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
    Path(path): Path<String>,
) -> Answer<Json<Value>> {
    // A service's name may have a slash, and Grafana sends it as it is.
    let service = path.strip_suffix("/operations");
    let service = service.ok_or_else(|| Refusal(StatusCode::NOT_FOUND, "404 page not found".to_owned()))?;
    let (found, warnings) = ask::operations(&engine, &tenant, service, "").await?;
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

/// Of the ids that were `asked` for, those that are not known are told among the errors.
fn found((traces, warnings): ask::Told<(TraceId, SpanBatch)>, asked: &[TraceId], raw: bool) -> Json<Value> {
    let told = |(id, spans): &(TraceId, SpanBatch)| match raw {
        true => json::trace(*id, &convert::spans(spans)),
        false => json::trace(*id, &convert::spans(&told_apart(spans))),
    };
    let missing = asked.iter().filter(|id| !traces.iter().any(|(known, _)| known == *id));
    let missing = missing.map(|id| json!({ "msg": "trace not found", "traceID": hex::encode(id) }));
    let unread = warnings.iter().map(|msg| json!({ "code": 206, "msg": msg }));
    answered_with(traces.iter().map(told).collect(), unread.chain(missing).collect())
}

async fn search(
    State(engine): State<Arc<Engine>>,
    TenantHeader(tenant): TenantHeader,
    params: Params,
) -> Answer<Json<Value>> {
    let (ids, raw) = (params.trace_ids()?, params.raw()?);
    if !ids.is_empty() {
        return Ok(found(ask::traces(&engine, &tenant, &ids, None).await?, &ids, raw));
    }
    params.get("service").ok_or_else(|| Refusal::bad("parameter 'service' is required"))?;
    Ok(found(ask::search(&engine, &tenant, &params).await?, &[], raw))
}

/// A trace that is not known is no data: Grafana shows an empty view.
async fn trace(
    State(engine): State<Arc<Engine>>,
    TenantHeader(tenant): TenantHeader,
    Path(id): Path<String>,
    params: Params,
) -> Answer<Json<Value>> {
    let (range, raw) = (params.given_range()?.map(whole_traces), params.raw()?);
    let ids = [params::trace_id(&id)?];
    Ok(found(ask::traces(&engine, &tenant, &ids, range).await?, &ids, raw))
}

/// What Jaeger says where it has no archive; what to do instead follows.
const NO_ARCHIVE: &str =
    "archive span storage was not configured: traces are kept for as long as --retention-traces says";

/// As a Jaeger without an archive refuses, with its status; its page then shows why.
async fn archive(Path(id): Path<String>, params: Params) -> Refusal {
    let read = || -> Answer<()> {
        params::trace_id(&id)?;
        params.given_range()?;
        params.raw().map(|_| ())
    };
    match read() {
        Err(wrong) => wrong,
        Ok(()) => Refusal(StatusCode::INTERNAL_SERVER_ERROR, NO_ARCHIVE.to_owned()),
    }
}

async fn dependencies(
    State(engine): State<Arc<Engine>>,
    TenantHeader(tenant): TenantHeader,
    params: Params,
) -> Answer<Json<Value>> {
    let range = params.lookback()?;
    let (calls, warnings) = traces::calls(&engine, &tenant, range).await?;
    // Of one service where it is named, on either side.
    let service = params.get("service");
    let edges =
        calls.into_iter().filter(|call| service.is_none_or(|name| call.parent == name || call.child == name));
    let edges =
        edges.map(|call| json!({ "parent": call.parent, "child": call.child, "callCount": call.count }));
    Ok(answered(edges.collect(), &warnings))
}

#[cfg(test)]
mod tests;
