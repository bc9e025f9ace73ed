//! `jaeger.api_v3.QueryService` by gRPC: what `v3` answers over HTTP, on the same port. Messages have the numbers of Jaeger's
//! `api_v3/query_service.proto`. The version before is in `v2`.

mod v2;

use super::idl::Seconds;
use super::params::{Params, trace_id};
use super::summary::{self, TraceSummary};
use super::{Refusal, ask};
use crate::grpc::{self, MESSAGE_BYTES_MAX, Told, failed, serve, tell, tell_parts};
use crate::shared_ids::told_apart;
use crate::tempo::otlp_traces;
use crate::traces::{self, whole_traces};
use axum::Router;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http;
use axum::response::Response;
use axum::routing::post;
use engine::Engine;
use model::{SpanBatch, Tenant, TimeRange, TraceId};
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, TracesData};
use prost::Message;
use std::collections::BTreeMap;
use std::sync::Arc;
use tonic::Status;

const SERVICE: &str = "jaeger.api_v3.QueryService";

pub(super) fn router(engine: Arc<Engine>) -> Router {
    Router::new()
        .route(&format!("/{SERVICE}/{{call}}"), post(answer))
        .route(&format!("/{}/{{call}}", v2::SERVICE), post(v2::answer))
        .with_state(engine)
}

async fn answer(
    State(engine): State<Arc<Engine>>,
    Path(call): Path<String>,
    request: http::Request<Body>,
) -> Response {
    // On the wire a call of one answer is a stream of one message.
    match call.as_str() {
        "GetTrace" => serve(request, engine, get_trace).await,
        "FindTraces" => serve(request, engine, find_traces).await,
        "FindTraceSummaries" => serve(request, engine, find_summaries).await,
        "GetServices" => serve(request, engine, get_services).await,
        "GetOperations" => serve(request, engine, get_operations).await,
        "GetDependencies" => serve(request, engine, get_dependencies).await,
        _ => grpc::unknown_method(SERVICE, &call),
    }
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct GetTraceRequest {
    #[prost(string, tag = "1")]
    pub trace_id: String,
    #[prost(message, optional, tag = "2")]
    pub start_time: Option<Seconds>,
    #[prost(message, optional, tag = "3")]
    pub end_time: Option<Seconds>,
    /// As they were sent: ids that a client and its server share stay shared.
    #[prost(bool, tag = "4")]
    pub raw_traces: bool,
}

/// `FindTraceSummariesRequest` is the same by another name.
#[derive(Clone, PartialEq, prost::Message)]
pub struct FindTracesRequest {
    #[prost(message, optional, tag = "1")]
    pub query: Option<TraceQuery>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct TraceQuery {
    #[prost(string, tag = "1")]
    pub service_name: String,
    #[prost(string, tag = "2")]
    pub operation_name: String,
    #[prost(btree_map = "string, string", tag = "3")]
    pub attributes: BTreeMap<String, String>,
    #[prost(message, optional, tag = "4")]
    pub start_time_min: Option<Seconds>,
    #[prost(message, optional, tag = "5")]
    pub start_time_max: Option<Seconds>,
    #[prost(message, optional, tag = "6")]
    pub duration_min: Option<Seconds>,
    #[prost(message, optional, tag = "7")]
    pub duration_max: Option<Seconds>,
    #[prost(int32, tag = "8")]
    pub search_depth: i32,
    #[prost(bool, tag = "9")]
    pub raw_traces: bool,
    /// An expression. It must not be passed over: more would be answered than was asked for.
    #[prost(bytes = "vec", optional, tag = "10")]
    pub filter: Option<Vec<u8>>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct FindTraceSummariesResponse {
    #[prost(message, repeated, tag = "1")]
    summaries: Vec<TraceSummary>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct GetServicesRequest {}

#[derive(Clone, PartialEq, prost::Message)]
pub struct GetServicesResponse {
    #[prost(string, repeated, tag = "1")]
    pub services: Vec<String>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct GetOperationsRequest {
    #[prost(string, tag = "1")]
    pub service: String,
    #[prost(string, tag = "2")]
    pub span_kind: String,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct GetOperationsResponse {
    #[prost(message, repeated, tag = "1")]
    pub operations: Vec<Operation>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct Operation {
    #[prost(string, tag = "1")]
    pub name: String,
    #[prost(string, tag = "2")]
    pub span_kind: String,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct GetDependenciesRequest {
    #[prost(message, optional, tag = "1")]
    pub start_time: Option<Seconds>,
    #[prost(message, optional, tag = "2")]
    pub end_time: Option<Seconds>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct DependenciesResponse {
    #[prost(message, repeated, tag = "1")]
    pub dependencies: Vec<Dependency>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct Dependency {
    #[prost(string, tag = "1")]
    pub parent: String,
    #[prost(string, tag = "2")]
    pub child: String,
    #[prost(uint64, tag = "3")]
    pub call_count: u64,
}

impl From<traces::Calls> for Dependency {
    fn from(call: traces::Calls) -> Dependency {
        let call_count = u64::try_from(call.count).unwrap_or(0);
        Dependency { parent: call.parent, child: call.child, call_count }
    }
}

impl From<Refusal> for Status {
    fn from(Refusal(status, why): Refusal) -> Status {
        grpc::status(status, why)
    }
}

/// Version 3 wants the times of a search.
fn timed(query: Option<TraceQuery>) -> Result<TraceQuery, Status> {
    let query = query.ok_or_else(|| Status::invalid_argument("missing query"))?;
    let given = |time| Seconds::time_ns(time).is_some();
    match given(query.start_time_min) && given(query.start_time_max) {
        true => Ok(query),
        false => Err(Status::invalid_argument("start time min and max are required parameters")),
    }
}

impl TraceQuery {
    /// The same search in version 2's names.
    fn params(self) -> Result<Params, Status> {
        if self.filter.is_some() {
            return Err(Status::unimplemented("query.filter is not known here; use the other fields"));
        }
        let tags =
            serde_json::to_string(&self.attributes).map_err(|why| Status::internal(why.to_string()))?;
        let length = |given| Seconds::length_ns(given).map(|ns| format!("{ns}ns"));
        // With so many digits it is read as nanoseconds.
        let time = |given| Seconds::time_ns(given).map(|ns| format!("{ns:019}"));
        let given = [
            ("service", Some(self.service_name)),
            ("operation", Some(self.operation_name)),
            ("tags", Some(tags)),
            ("start", time(self.start_time_min)),
            ("end", time(self.start_time_max)),
            ("minDuration", length(self.duration_min)),
            ("maxDuration", length(self.duration_max)),
            ("limit", Some(self.search_depth.max(0).to_string())),
        ];
        let given = given.into_iter().filter_map(|(name, text)| Some((name.to_owned(), text?)));
        Ok(Params(given.filter(|(_, text)| !text.is_empty()).collect()))
    }
}

/// There is no room to say that an answer is not whole: then there is none.
fn whole(warnings: &[String]) -> Result<(), Status> {
    if warnings.is_empty() { Ok(()) } else { Err(Status::internal(warnings.join("; "))) }
}

fn range(start: Option<Seconds>, end: Option<Seconds>) -> Result<Option<TimeRange>, Status> {
    let (Some(start), Some(end)) = (Seconds::time_ns(start), Seconds::time_ns(end)) else { return Ok(None) };
    traces::within(start, end).map(Some).map_err(Status::invalid_argument)
}

async fn get_trace(
    engine: Arc<Engine>,
    tenant: Tenant,
    asked: GetTraceRequest,
    told: Told<TracesData>,
) -> Result<(), Status> {
    let range = range(asked.start_time, asked.end_time)?.map(whole_traces);
    let id = trace_id(&asked.trace_id)?;
    let (found, warnings) = ask::traces(&engine, &tenant, &[id], range).await.map_err(failed)?;
    whole(&warnings)?;
    if found.is_empty() {
        return Err(Status::not_found("trace not found"));
    }
    tell_traces(&told, found, asked.raw_traces).await
}

async fn find_traces(
    engine: Arc<Engine>,
    tenant: Tenant,
    asked: FindTracesRequest,
    told: Told<TracesData>,
) -> Result<(), Status> {
    let query = timed(asked.query)?;
    let raw = query.raw_traces;
    let (found, warnings) = ask::search(&engine, &tenant, &query.params()?).await?;
    whole(&warnings)?;
    tell_traces(&told, found, raw).await
}

async fn find_summaries(
    engine: Arc<Engine>,
    tenant: Tenant,
    asked: FindTracesRequest,
    told: Told<FindTraceSummariesResponse>,
) -> Result<(), Status> {
    let query = timed(asked.query)?;
    let (found, warnings) = ask::search(&engine, &tenant, &query.params()?).await?;
    whole(&warnings)?;
    let summaries = found.iter().map(|(id, spans)| summary::of(*id, &told_apart(spans))).collect();
    tell_parts(&told, summaries, Message::encoded_len, |summaries, _, _| FindTraceSummariesResponse {
        summaries,
    })
    .await
}

/// A trace begins with a message of its own.
async fn tell_traces(
    told: &Told<TracesData>,
    found: Vec<(TraceId, SpanBatch)>,
    raw: bool,
) -> Result<(), Status> {
    for (_, spans) in found {
        let traces = if raw { otlp_traces(&spans) } else { otlp_traces(&told_apart(&spans)) };
        let resources = traces.resource_spans.into_iter().flat_map(split).collect();
        tell_parts(told, resources, Message::encoded_len, |resource_spans, _, _| TracesData {
            resource_spans,
        })
        .await?;
    }
    Ok(())
}

/// In halves, until each goes into a message.
fn split(mut resource: ResourceSpans) -> Vec<ResourceSpans> {
    let spans = resource.scope_spans.first().map_or(0, |scope| scope.spans.len());
    if resource.encoded_len() <= MESSAGE_BYTES_MAX || spans < 2 {
        return vec![resource];
    }
    let mut rest = resource.clone();
    for (scope, rest) in resource.scope_spans.iter_mut().zip(&mut rest.scope_spans) {
        rest.spans = scope.spans.split_off(scope.spans.len() / 2);
    }
    split(resource).into_iter().chain(split(rest)).collect()
}

async fn get_services(
    engine: Arc<Engine>,
    tenant: Tenant,
    _: GetServicesRequest,
    told: Told<GetServicesResponse>,
) -> Result<(), Status> {
    let (services, warnings) = ask::services(&engine, &tenant).await.map_err(failed)?;
    whole(&warnings)?;
    tell(&told, GetServicesResponse { services }).await
}

async fn get_operations(
    engine: Arc<Engine>,
    tenant: Tenant,
    asked: GetOperationsRequest,
    told: Told<GetOperationsResponse>,
) -> Result<(), Status> {
    if asked.service.is_empty() {
        return Err(Status::invalid_argument("please provide service name"));
    }
    let (found, warnings) =
        ask::operations(&engine, &tenant, &asked.service, &asked.span_kind).await.map_err(failed)?;
    whole(&warnings)?;
    let operations = found.into_iter().map(|one| Operation { name: one.name, span_kind: one.kind }).collect();
    tell(&told, GetOperationsResponse { operations }).await
}

async fn get_dependencies(
    engine: Arc<Engine>,
    tenant: Tenant,
    asked: GetDependenciesRequest,
    told: Told<DependenciesResponse>,
) -> Result<(), Status> {
    let range = range(asked.start_time, asked.end_time)?
        .ok_or_else(|| Status::invalid_argument("start_time and end_time are required"))?;
    let (calls, warnings) = traces::calls(&engine, &tenant, range).await.map_err(failed)?;
    whole(&warnings)?;
    tell(&told, DependenciesResponse { dependencies: calls.into_iter().map(Dependency::from).collect() })
        .await
}

#[cfg(test)]
mod tests;
