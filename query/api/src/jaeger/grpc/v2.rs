//! `jaeger.api_v2.QueryService`: the same questions, with spans as Jaeger has them. Kiali asks it. Messages have the numbers
//! of Jaeger's `api_v2/query.proto`; where those are version 3's, so are the messages.

use super::{
    FindTracesRequest, GetDependenciesRequest, GetOperationsRequest, Operation, ask, failed, get_services,
    range, whole,
};
use crate::grpc::{self, Told, serve, tell, tell_parts};
use crate::jaeger::NO_ARCHIVE;
use crate::jaeger::convert::{self, Told as OfProcess};
use crate::jaeger::idl::{Seconds, Span};
use crate::shared_ids::told_apart;
use crate::traces::{self, whole_traces};
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http;
use axum::response::Response;
use engine::Engine;
use model::{SpanBatch, Tenant, TraceId};
use prost::Message;
use std::sync::Arc;
use tonic::Status;

pub(super) const SERVICE: &str = "jaeger.api_v2.QueryService";
/// Spans that are given their process at a time, as it is repeated with each.
const SPANS_AT_ONCE: usize = 100;

pub(super) async fn answer(
    State(engine): State<Arc<Engine>>,
    Path(call): Path<String>,
    request: http::Request<Body>,
) -> Response {
    match call.as_str() {
        "GetTrace" => serve(request, engine, get_trace).await,
        "ArchiveTrace" => serve(request, engine, archive_trace).await,
        "FindTraces" => serve(request, engine, find_traces).await,
        "GetServices" => serve(request, engine, get_services).await,
        "GetOperations" => serve(request, engine, get_operations).await,
        "GetDependencies" => serve(request, engine, get_dependencies).await,
        _ => grpc::unknown_method(SERVICE, &call),
    }
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct GetTraceRequest {
    #[prost(bytes = "vec", tag = "1")]
    pub trace_id: Vec<u8>,
    #[prost(message, optional, tag = "2")]
    pub start_time: Option<Seconds>,
    #[prost(message, optional, tag = "3")]
    pub end_time: Option<Seconds>,
    #[prost(bool, tag = "4")]
    pub raw_traces: bool,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct ArchiveTraceRequest {
    #[prost(bytes = "vec", tag = "1")]
    pub trace_id: Vec<u8>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct ArchiveTraceResponse {}

#[derive(Clone, PartialEq, prost::Message)]
pub struct SpansResponseChunk {
    #[prost(message, repeated, tag = "1")]
    pub spans: Vec<Span>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct GetOperationsResponse {
    /// For clients that know no kinds.
    #[prost(string, repeated, tag = "1")]
    pub names: Vec<String>,
    #[prost(message, repeated, tag = "2")]
    pub operations: Vec<Operation>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct GetDependenciesResponse {
    #[prost(message, repeated, tag = "1")]
    pub dependencies: Vec<super::Dependency>,
}

/// 8 bytes are those of an older id.
fn trace_id(bytes: &[u8]) -> Result<TraceId, Status> {
    let mut id = [0; 16];
    if !matches!(bytes.len(), 8 | 16) {
        let why = format!("a trace id has 16 bytes or 8, not {}", bytes.len());
        return Err(Status::invalid_argument(why));
    }
    id[16 - bytes.len()..].copy_from_slice(bytes);
    match id == [0; 16] {
        true => Err(Status::invalid_argument("uninitialized TraceID is not allowed")),
        false => Ok(id),
    }
}

async fn get_trace(
    engine: Arc<Engine>,
    tenant: Tenant,
    asked: GetTraceRequest,
    told: Told<SpansResponseChunk>,
) -> Result<(), Status> {
    let range = range(asked.start_time, asked.end_time)?.map(whole_traces);
    let id = trace_id(&asked.trace_id)?;
    let (found, warnings) = ask::traces(&engine, &tenant, &[id], range).await.map_err(failed)?;
    whole(&warnings)?;
    if found.is_empty() {
        return Err(Status::not_found("trace not found"));
    }
    tell_spans(&told, found, asked.raw_traces).await
}

/// As a Jaeger without an archive refuses.
async fn archive_trace(
    _: Arc<Engine>,
    _: Tenant,
    asked: ArchiveTraceRequest,
    _: Told<ArchiveTraceResponse>,
) -> Result<(), Status> {
    trace_id(&asked.trace_id)?;
    Err(Status::internal(format!("failed to archive trace: {NO_ARCHIVE}")))
}

async fn find_traces(
    engine: Arc<Engine>,
    tenant: Tenant,
    asked: FindTracesRequest,
    told: Told<SpansResponseChunk>,
) -> Result<(), Status> {
    let query = asked.query.ok_or_else(|| Status::invalid_argument("missing query"))?;
    let raw = query.raw_traces;
    let (found, warnings) = ask::search(&engine, &tenant, &query.params()?).await?;
    whole(&warnings)?;
    tell_spans(&told, found, raw).await
}

async fn tell_spans(
    told: &Told<SpansResponseChunk>,
    found: Vec<(TraceId, SpanBatch)>,
    raw: bool,
) -> Result<(), Status> {
    for (_, spans) in found {
        let all = if raw { convert::spans(&spans) } else { convert::spans(&told_apart(&spans)) };
        for OfProcess { process, spans } in all {
            for some in spans.chunks(SPANS_AT_ONCE) {
                let with_process = |span: &Span| Span { process: Some(process.clone()), ..span.clone() };
                let some = some.iter().map(with_process).collect();
                tell_parts(told, some, Message::encoded_len, |spans, _, _| SpansResponseChunk { spans })
                    .await?;
            }
        }
    }
    Ok(())
}

async fn get_operations(
    engine: Arc<Engine>,
    tenant: Tenant,
    asked: GetOperationsRequest,
    told: Told<GetOperationsResponse>,
) -> Result<(), Status> {
    let (found, warnings) =
        ask::operations(&engine, &tenant, &asked.service, &asked.span_kind).await.map_err(failed)?;
    whole(&warnings)?;
    let mut names: Vec<String> = found.iter().map(|one| one.name.clone()).collect();
    names.dedup();
    let operations = found.into_iter().map(|one| Operation { name: one.name, span_kind: one.kind }).collect();
    tell(&told, GetOperationsResponse { names, operations }).await
}

async fn get_dependencies(
    engine: Arc<Engine>,
    tenant: Tenant,
    asked: GetDependenciesRequest,
    told: Told<GetDependenciesResponse>,
) -> Result<(), Status> {
    let range = range(asked.start_time, asked.end_time)?
        .ok_or_else(|| Status::invalid_argument("StartTime and EndTime must be initialized."))?;
    let (calls, warnings) = traces::calls(&engine, &tenant, range).await.map_err(failed)?;
    whole(&warnings)?;
    let dependencies = calls.into_iter().map(super::Dependency::from).collect();
    tell(&told, GetDependenciesResponse { dependencies }).await
}
