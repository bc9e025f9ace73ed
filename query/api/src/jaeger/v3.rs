//! The Jaeger query API, version 3, under `/jaeger/api/v3`: what version 2 answers, with traces as OTLP's JSON. Grafana
//! asks it when its Jaeger source is told to use gRPC's gateway.
//!
//! Times are RFC 3339, durations as Go writes them.

use super::params::{Params, trace_id};
use super::{Refusal as V2, ask};
use crate::TenantHeader;
use crate::tempo::otlp_json;
use crate::traces::{self, whole_traces};
use axum::extract::{FromRequestParts, Path, Query, State};
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use engine::{Engine, QueryError};
use model::{SpanBatch, TimeRange, TraceId};
use serde_json::{Value, json};
use std::sync::Arc;

pub(super) fn router() -> Router<Arc<Engine>> {
    Router::new()
        .route("/services", get(services))
        .route("/operations", get(operations))
        .route("/traces", get(search))
        .route("/traces/{id}", get(trace))
        .route("/dependencies", get(dependencies))
}

/// A status and a sentence, as the gateway writes them.
struct Refusal(StatusCode, String);

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let error = json!({ "httpCode": self.0.as_u16(), "message": self.1 });
        (self.0, Json(json!({ "error": error }))).into_response()
    }
}

impl From<V2> for Refusal {
    fn from(V2(status, why): V2) -> Refusal {
        Refusal(status, why)
    }
}

impl From<QueryError> for Refusal {
    fn from(error: QueryError) -> Refusal {
        V2::from(error).into()
    }
}

type Answer = Result<Json<Value>, Refusal>;

/// Names and texts of the URL.
struct Asked(Vec<(String, String)>);

impl<S: Send + Sync> FromRequestParts<S> for Asked {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Self::Rejection> {
        match Query::try_from_uri(&parts.uri) {
            Ok(Query(params)) => Ok(Asked(params)),
            Err(why) => Err(Refusal(StatusCode::BAD_REQUEST, why.to_string())),
        }
    }
}

impl Asked {
    fn get(&self, name: &str) -> Option<&str> {
        let found = self.0.iter().find(|(known, text)| known == name && !text.is_empty());
        found.map(|(_, text)| text.as_str())
    }

    fn time_ns(&self, name: &str) -> Result<Option<i64>, Refusal> {
        let Some(text) = self.get(name) else { return Ok(None) };
        // A `+` that was not encoded arrives as a blank.
        let time = chrono::DateTime::parse_from_rfc3339(&text.replace(' ', "+")).ok();
        time.and_then(|time| time.timestamp_nanos_opt()).map(Some).ok_or_else(|| {
            let why =
                format!("malformed parameter {name}: {text:?}; write RFC 3339, as 2026-01-02T15:04:05Z");
            Refusal(StatusCode::BAD_REQUEST, why)
        })
    }

    /// The same search in version 2's names.
    fn search(&self) -> Result<Params, Refusal> {
        let mut params = vec![];
        for (ours, names) in [
            ("service", ["query.service_name", "query.serviceName"]),
            ("operation", ["query.operation_name", "query.operationName"]),
            ("minDuration", ["query.duration_min", "query.durationMin"]),
            ("maxDuration", ["query.duration_max", "query.durationMax"]),
            ("limit", ["query.num_traces", "query.search_depth"]),
            ("tags", ["query.attributes", "query.tags"]),
        ] {
            let given = names.into_iter().find_map(|name| self.get(name));
            params.extend(given.map(|text| (ours.to_owned(), text.to_owned())));
        }
        for (ours, names) in [
            ("start", ["query.start_time_min", "query.startTimeMin"]),
            ("end", ["query.start_time_max", "query.startTimeMax"]),
        ] {
            for name in names {
                // With so many digits it is read as nanoseconds.
                params.extend(self.time_ns(name)?.map(|ns| (ours.to_owned(), format!("{ns:019}"))));
            }
        }
        Ok(Params(params))
    }
}

async fn services(State(engine): State<Arc<Engine>>, TenantHeader(tenant): TenantHeader) -> Answer {
    let (names, _) = ask::services(&engine, &tenant).await?;
    Ok(Json(json!({ "services": names })))
}

async fn operations(
    State(engine): State<Arc<Engine>>,
    TenantHeader(tenant): TenantHeader,
    asked: Asked,
) -> Answer {
    let Some(service) = asked.get("service") else {
        return Err(V2::bad("malformed parameter service: it is required").into());
    };
    let (found, _) = ask::operations(&engine, &tenant, service, asked.get("span_kind").unwrap_or("")).await?;
    Ok(Json(json!({ "operations": found.iter().map(ask::Operation::json).collect::<Vec<_>>() })))
}

/// Where something could not be read there is no answer, as there is no room to say so.
fn found((traces, warnings): ask::Told<(TraceId, SpanBatch)>) -> Answer {
    if !warnings.is_empty() {
        return Err(Refusal(StatusCode::INTERNAL_SERVER_ERROR, warnings.join("; ")));
    }
    let resources: Vec<Value> = traces.iter().flat_map(|(_, spans)| otlp_json(spans)).collect();
    if resources.is_empty() {
        return Err(Refusal(StatusCode::NOT_FOUND, "No traces found".to_owned()));
    }
    Ok(Json(json!({ "result": { "resourceSpans": resources } })))
}

async fn trace(
    State(engine): State<Arc<Engine>>,
    TenantHeader(tenant): TenantHeader,
    Path(id): Path<String>,
    asked: Asked,
) -> Answer {
    let range = match (asked.time_ns("start_time")?, asked.time_ns("end_time")?) {
        (Some(start), Some(end)) => Some(whole_traces(TimeRange { start, end })),
        _ => None,
    };
    found(ask::traces(&engine, &tenant, &[trace_id(&id)?], range).await?)
}

async fn search(
    State(engine): State<Arc<Engine>>,
    TenantHeader(tenant): TenantHeader,
    asked: Asked,
) -> Answer {
    found(ask::search(&engine, &tenant, &asked.search()?).await?)
}

async fn dependencies(
    State(engine): State<Arc<Engine>>,
    TenantHeader(tenant): TenantHeader,
    asked: Asked,
) -> Answer {
    let (Some(start), Some(end)) = (asked.time_ns("start_time")?, asked.time_ns("end_time")?) else {
        return Err(V2::bad("start_time and end_time are required").into());
    };
    let range = traces::within(start, end).map_err(V2::bad)?;
    let (calls, _) = traces::calls(&engine, &tenant, range).await?;
    // A whole number of 64 bits is text in protobuf's JSON.
    let edge = |call: traces::Calls| json!({ "parent": call.parent, "child": call.child, "callCount": call.count.to_string() });
    Ok(Json(json!({ "dependencies": calls.into_iter().map(edge).collect::<Vec<_>>() })))
}
