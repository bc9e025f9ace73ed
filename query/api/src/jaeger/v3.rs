//! The Jaeger query API, version 3, under `/jaeger/api/v3`: what version 2 answers, with traces as OTLP's JSON. Grafana
//! asks it when its Jaeger source is told to use gRPC's gateway.
//!
//! Times are RFC 3339, durations as Go writes them. Parameters have their names of protobuf's JSON, or those of before.

use super::params::{Params, trace_id, truth};
use super::{Refusal as V2, ask, summary};
use crate::TenantHeader;
use crate::shared_ids::told_apart;
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
        .route("/trace-summaries", get(summaries))
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
    /// The first of these names that is given, and its text.
    fn get(&self, names: &[&'static str]) -> Option<(&'static str, &str)> {
        names.iter().find_map(|name| {
            let found = self.0.iter().find(|(known, text)| known == name && !text.is_empty());
            found.map(|(_, text)| (*name, text.as_str()))
        })
    }

    fn text(&self, names: &[&'static str]) -> Option<&str> {
        self.get(names).map(|(_, text)| text)
    }

    fn time_ns(&self, names: &[&'static str]) -> Result<Option<i64>, Refusal> {
        let Some((name, text)) = self.get(names) else { return Ok(None) };
        // A `+` that was not encoded arrives as a blank.
        let time = chrono::DateTime::parse_from_rfc3339(&text.replace(' ', "+")).ok();
        time.and_then(|time| time.timestamp_nanos_opt())
            .map(Some)
            .ok_or_else(|| malformed(name, &format!("{text:?}; write RFC 3339, as 2026-01-02T15:04:05Z")))
    }

    fn raw(&self, names: &[&'static str]) -> Result<bool, Refusal> {
        let Some((name, text)) = self.get(names) else { return Ok(false) };
        truth(text).ok_or_else(|| malformed(name, &format!("{text:?}; write true or false")))
    }

    fn range(&self) -> Result<Option<TimeRange>, Refusal> {
        match (self.time_ns(&START)?, self.time_ns(&END)?) {
            (Some(start), Some(end)) => Ok(Some(traces::within(start, end).map_err(V2::bad)?)),
            _ => Ok(None),
        }
    }

    /// The same search in version 2's names.
    fn search(&self) -> Result<Params, Refusal> {
        // It must not be passed over: more would be answered than was asked for.
        if self.text(&["query.filter"]).is_some() {
            return Err(malformed("query.filter", "it is not known here; use the other parameters"));
        }
        let (min, max) = (self.time_ns(&START_MIN)?, self.time_ns(&START_MAX)?);
        let (Some(min), Some(max)) = (min, max) else {
            return Err(V2::bad("query.startTimeMin and query.startTimeMax are required").into());
        };
        if min >= max {
            return Err(V2::bad("query.startTimeMin must be before query.startTimeMax").into());
        }
        // With so many digits they are read as nanoseconds.
        let mut params =
            vec![("start".to_owned(), format!("{min:019}")), ("end".to_owned(), format!("{max:019}"))];
        for (ours, names) in SEARCH {
            params.extend(self.text(names).map(|text| (ours.to_owned(), text.to_owned())));
        }
        Ok(Params(params))
    }
}

const START: [&str; 2] = ["startTime", "start_time"];
const END: [&str; 2] = ["endTime", "end_time"];
const START_MIN: [&str; 2] = ["query.startTimeMin", "query.start_time_min"];
const START_MAX: [&str; 2] = ["query.startTimeMax", "query.start_time_max"];

/// What a search has beside its times, by version 2's names.
const SEARCH: [(&str, &[&str]); 6] = [
    ("service", &["query.serviceName", "query.service_name"]),
    ("operation", &["query.operationName", "query.operation_name"]),
    ("minDuration", &["query.durationMin", "query.duration_min"]),
    ("maxDuration", &["query.durationMax", "query.duration_max"]),
    ("limit", &["query.searchDepth", "query.search_depth", "query.num_traces"]),
    ("tags", &["query.attributes", "query.tags"]),
];

fn malformed(name: &str, why: &str) -> Refusal {
    V2::bad(format!("malformed parameter {name}: {why}")).into()
}

async fn services(State(engine): State<Arc<Engine>>, TenantHeader(tenant): TenantHeader) -> Answer {
    let names = whole(ask::services(&engine, &tenant).await?)?;
    Ok(Json(json!({ "services": names })))
}

async fn operations(
    State(engine): State<Arc<Engine>>,
    TenantHeader(tenant): TenantHeader,
    asked: Asked,
) -> Answer {
    let service = asked.text(&["service"]).ok_or_else(|| malformed("service", "it is required"))?;
    let kind = asked.text(&["spanKind", "span_kind"]).unwrap_or("");
    let found = whole(ask::operations(&engine, &tenant, service, kind).await?)?;
    let operation = |one: ask::Operation| {
        let kind = if one.kind.is_empty() { "internal" } else { one.kind.as_str() };
        json!({ "name": one.name, "spanKind": kind })
    };
    Ok(Json(json!({ "operations": found.into_iter().map(operation).collect::<Vec<_>>() })))
}

/// Where something could not be read there is no answer, as there is no room to say so.
fn whole<T>((found, warnings): ask::Told<T>) -> Result<Vec<T>, Refusal> {
    match warnings.is_empty() {
        true => Ok(found),
        false => Err(Refusal(StatusCode::INTERNAL_SERVER_ERROR, warnings.join("; "))),
    }
}

fn found(told: ask::Told<(TraceId, SpanBatch)>, raw: bool) -> Answer {
    let traces = whole(told)?;
    let resources: Vec<Value> = traces
        .iter()
        .flat_map(|(_, spans)| if raw { otlp_json(spans) } else { otlp_json(&told_apart(spans)) })
        .collect();
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
    let (range, raw) = (asked.range()?.map(whole_traces), asked.raw(&["rawTraces", "raw_traces"])?);
    found(ask::traces(&engine, &tenant, &[trace_id(&id)?], range).await?, raw)
}

async fn search(
    State(engine): State<Arc<Engine>>,
    TenantHeader(tenant): TenantHeader,
    asked: Asked,
) -> Answer {
    let raw = asked.raw(&["query.rawTraces", "query.raw_traces"])?;
    found(ask::search(&engine, &tenant, &asked.search()?).await?, raw)
}

async fn summaries(
    State(engine): State<Arc<Engine>>,
    TenantHeader(tenant): TenantHeader,
    asked: Asked,
) -> Answer {
    let traces = whole(ask::search(&engine, &tenant, &asked.search()?).await?)?;
    let summaries: Vec<Value> =
        traces.iter().map(|(id, spans)| summary::of(*id, &told_apart(spans)).json()).collect();
    Ok(Json(json!({ "summaries": summaries })))
}

async fn dependencies(
    State(engine): State<Arc<Engine>>,
    TenantHeader(tenant): TenantHeader,
    asked: Asked,
) -> Answer {
    let range = asked.range()?.ok_or_else(|| V2::bad("startTime and endTime are required"))?;
    let calls = whole(traces::calls(&engine, &tenant, range).await?)?;
    // A whole number of 64 bits is text in protobuf's JSON.
    let edge = |call: traces::Calls| json!({ "parent": call.parent, "child": call.child, "callCount": call.count.to_string() });
    Ok(Json(json!({ "dependencies": calls.into_iter().map(edge).collect::<Vec<_>>() })))
}
