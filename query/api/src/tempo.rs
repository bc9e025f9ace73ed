//! The Tempo HTTP API under `/tempo/api`: traces by id, search, tags and their values, metrics.
//!
//! Errors are plain text, as Tempo's are. Times are seconds (whole or with a fraction), nanoseconds or RFC 3339;
//! without them the last hour is asked. An answer that misses what could not be read says `PARTIAL`, or, where
//! Grafana's strict decoder knows no such field, counts fewer completed jobs than there were.

mod diff;
mod encode;
mod grpc;
mod json;
mod mcp;
mod messages;
mod otlp;
mod params;

use crate::refusal::Refusal;
use crate::{TenantHeader, traces};
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use encode::RangeMetrics;
use engine::{Engine, SearchOptions, TraceById, TraceMetrics, TraceSearch};
use model::{SpanBatch, Tenant, TimeRange, TraceId};
use opentelemetry_proto::tonic::trace::v1::TracesData;
use params::Params;
use prost::Message;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::sync::Arc;

const PROTOBUF: &str = "application/protobuf";
const TRACES_DEFAULT: usize = 20;
const SPANS_PER_SPANSET_DEFAULT: usize = 3;
const TAGS_DEFAULT: usize = 5_000;
/// Names or values one completion may have, whatever is asked.
const TAGS_MAX: usize = 50_000;
/// Exemplars one answer has where nothing is asked, as in Tempo.
const EXEMPLARS_DEFAULT: usize = 100;

pub fn router(engine: Arc<Engine>) -> Router {
    let routes: Router<Arc<Engine>> = Router::new()
        .route("/echo", get(echo))
        .route("/traces/{id}", get(trace_v1))
        .route("/v2/traces/{id}", get(trace_v2))
        .route("/v2/traces/diff", post(diff::diff))
        .route("/search", get(search).post(search))
        .route("/search/tags", get(tags_v1).post(tags_v1))
        .route("/v2/search/tags", get(tags_v2).post(tags_v2))
        .route("/search/tag/{tag}/values", get(values_v1).post(values_v1))
        .route("/v2/search/tag/{tag}/values", get(values_v2).post(values_v2))
        .route("/metrics/query_range", get(metrics_range).post(metrics_range))
        .route("/metrics/query", get(metrics_instant).post(metrics_instant))
        .route("/mcp", post(mcp::call))
        .route("/status/buildinfo", get(buildinfo));
    Router::new().nest("/tempo/api", routes).with_state(engine)
}

/// The streaming gRPC service. Its path is fixed at the root: a client dials host and port alone.
pub fn grpc_router(engine: Arc<Engine>) -> Router {
    grpc::router(engine)
}

/// A trace as OTLP has it.
pub(crate) fn otlp_traces(spans: &SpanBatch) -> TracesData {
    otlp::traces(spans)
}

/// The resources of a trace with their spans, in OTLP's JSON.
pub(crate) fn otlp_json(spans: &SpanBatch) -> Vec<Value> {
    otlp_traces(spans).resource_spans.iter().map(json::with_numbers).collect()
}

type Answer<T> = Result<T, Refusal>;

async fn echo() -> &'static str {
    "echo"
}

async fn buildinfo() -> Json<Value> {
    Json(json!({
        "version": "2.9.0",
        "revision": env!("CARGO_PKG_VERSION"),
        "branch": "main",
        "buildUser": "",
        "buildDate": "",
        "goVersion": "",
    }))
}

async fn trace(engine: &Engine, tenant: &Tenant, id: &str, params: &Params) -> Answer<TraceById> {
    let (id, range) = which_trace(id, params)?;
    Ok(engine.trace_by_id(tenant, id, range).await?)
}

fn which_trace(id: &str, params: &Params) -> Answer<(TraceId, Option<TimeRange>)> {
    // Unlike in a search, the range says where to look: a trace is whole or it is not the trace.
    let range = params.given_range()?.map(traces::whole_traces);
    Ok((traces::trace_id(id).map_err(Refusal::bad)?, range))
}

/// With the spans that are asked for alone.
async fn part_of_trace(engine: &Engine, tenant: &Tenant, id: &str, params: &Params) -> Answer<TraceById> {
    let Some(wanted) = params.wanted_spans()? else { return trace(engine, tenant, id, params).await };
    let (id, range) = which_trace(id, params)?;
    Ok(engine.trace_part(tenant, id, range, wanted).await?)
}

fn wants_protobuf(headers: &HeaderMap) -> bool {
    headers
        .get(header::ACCEPT)
        .and_then(|value| value.to_str().ok())
        .is_some_and(|kinds| kinds.contains(PROTOBUF))
}

fn protobuf(message: &impl Message) -> Response {
    ([(header::CONTENT_TYPE, PROTOBUF)], message.encode_to_vec()).into_response()
}

/// The first version has no room to say that a trace is not whole: then there is no answer, but a word on where one is.
async fn trace_v1(
    State(engine): State<Arc<Engine>>,
    TenantHeader(tenant): TenantHeader,
    Path(id): Path<String>,
    headers: HeaderMap,
    params: Params,
) -> Answer<Response> {
    let found = trace(&engine, &tenant, &id, &params).await?;
    if found.cut {
        let why = found.warnings.join("; ");
        let why = format!("trace exceeds max size: {why}; /tempo/api/v2/traces/{id} answers it as PARTIAL");
        return Err(Refusal(StatusCode::UNPROCESSABLE_ENTITY, why));
    }
    if !found.warnings.is_empty() {
        return Err(Refusal(StatusCode::INTERNAL_SERVER_ERROR, found.warnings.join("; ")));
    }
    if found.spans.resources.is_empty() {
        return Err(Refusal(StatusCode::NOT_FOUND, format!("trace {id} not found")));
    }
    let trace = otlp::drawn(&found.spans);
    if wants_protobuf(&headers) {
        return Ok(protobuf(&trace));
    }
    Ok(Json(json!({ "batches": json::resources(&trace) })).into_response())
}

/// A trace that is not known is an empty one: Grafana looks into it. With `q` it has the spans that a filter holds of.
async fn trace_v2(
    State(engine): State<Arc<Engine>>,
    TenantHeader(tenant): TenantHeader,
    Path(id): Path<String>,
    headers: HeaderMap,
    params: Params,
) -> Answer<Response> {
    let found = part_of_trace(&engine, &tenant, &id, &params).await?;
    if wants_protobuf(&headers) {
        let status = i32::from(!found.warnings.is_empty());
        let (trace, message) = (Some(otlp::drawn(&found.spans)), found.warnings.join("; "));
        return Ok(protobuf(&otlp::TraceByIdResponse { trace, status, message }));
    }
    Ok(Json(trace_json(&found)).into_response())
}

fn trace_json(found: &TraceById) -> Value {
    let resources = json::resources(&otlp::drawn(&found.spans));
    let mut body = json!({ "trace": {}, "metrics": {} });
    if !resources.is_empty() {
        body["trace"]["resourceSpans"] = json!(resources);
    }
    if !found.warnings.is_empty() {
        body["status"] = json!("PARTIAL");
        body["message"] = json!(found.warnings.join("; "));
    }
    body
}

fn search_options(params: &Params) -> Answer<SearchOptions> {
    Ok(SearchOptions {
        range: params.range()?,
        limit: params.limit(TRACES_DEFAULT)?,
        spans_per_spanset: params.spans_told(SPANS_PER_SPANSET_DEFAULT)?,
    })
}

async fn search(
    State(engine): State<Arc<Engine>>,
    TenantHeader(tenant): TenantHeader,
    headers: HeaderMap,
    params: Params,
) -> Answer<Response> {
    let found = searched(&engine, &tenant, &params).await?;
    Ok(match wants_protobuf(&headers) {
        true => protobuf(&messages::search(&found)),
        false => Json(encode::search(&found)).into_response(),
    })
}

async fn searched(engine: &Engine, tenant: &Tenant, params: &Params) -> Answer<TraceSearch> {
    Ok(engine.traceql_search(tenant, &params.query()?, search_options(params)?).await?)
}

async fn tags(engine: &Engine, tenant: &Tenant, params: &Params) -> Answer<engine::TraceTags> {
    let limit = params.number("limit", TAGS_DEFAULT)?.min(TAGS_MAX);
    Ok(engine.traceql_tags(tenant, params.get("scope"), params.get("q"), params.range()?, limit).await?)
}

async fn tags_v1(
    State(engine): State<Arc<Engine>>,
    TenantHeader(tenant): TenantHeader,
    headers: HeaderMap,
    params: Params,
) -> Answer<Response> {
    let names = names_v1(tags(&engine, &tenant, &params).await?, &params);
    if wants_protobuf(&headers) {
        let (tag_names, metrics) = (names.into_iter().collect(), messages::done(0, 1));
        return Ok(protobuf(&messages::SearchTagsResponse { tag_names, metrics }));
    }
    Ok(Json(json!({ "tagNames": names, "metrics": {} })).into_response())
}

/// The first version names what spans have by itself to who asks for that alone.
fn names_v1(mut tags: engine::TraceTags, params: &Params) -> BTreeSet<String> {
    if params.get("scope") != Some("intrinsic") {
        tags.remove("intrinsic");
    }
    tags.into_values().flatten().collect()
}

async fn tags_v2(
    State(engine): State<Arc<Engine>>,
    TenantHeader(tenant): TenantHeader,
    headers: HeaderMap,
    params: Params,
) -> Answer<Response> {
    let tags = tags(&engine, &tenant, &params).await?;
    Ok(match wants_protobuf(&headers) {
        true => protobuf(&messages::tags(tags)),
        false => Json(scopes(tags)).into_response(),
    })
}

fn scopes(tags: engine::TraceTags) -> Value {
    let scopes: Vec<Value> =
        tags.into_iter().map(|(name, tags)| json!({ "name": name, "tags": tags })).collect();
    json!({ "scopes": scopes, "metrics": {} })
}

async fn values(
    engine: &Engine,
    tenant: &Tenant,
    tag: &str,
    params: &Params,
) -> Answer<Vec<engine::TagValue>> {
    let limit = params.number("limit", TAGS_DEFAULT)?.min(TAGS_MAX);
    Ok(engine.traceql_tag_values(tenant, tag, params.get("q"), params.range()?, limit).await?)
}

async fn values_v1(
    State(engine): State<Arc<Engine>>,
    TenantHeader(tenant): TenantHeader,
    Path(tag): Path<String>,
    headers: HeaderMap,
    params: Params,
) -> Answer<Response> {
    let values = values_by_old_name(&engine, &tenant, &tag, &params).await?;
    if wants_protobuf(&headers) {
        let (tag_values, metrics) = (values.into_iter().collect(), messages::done(0, 1));
        return Ok(protobuf(&messages::SearchTagValuesResponse { tag_values, metrics }));
    }
    Ok(Json(json!({ "tagValues": values, "metrics": {} })).into_response())
}

/// The first version has names of its own for what is no attribute.
async fn values_by_old_name(
    engine: &Engine,
    tenant: &Tenant,
    tag: &str,
    params: &Params,
) -> Answer<BTreeSet<String>> {
    let field = match tag {
        "status.code" => "status",
        "root.name" => "rootName",
        "root.service.name" => "rootServiceName",
        other => other,
    };
    let found = values(engine, tenant, field, params).await?;
    let mut texts: BTreeSet<String> = found.into_iter().map(|value| value.value).collect();
    if tag == "error" {
        texts.insert("true".to_owned());
    }
    Ok(texts)
}

async fn values_v2(
    State(engine): State<Arc<Engine>>,
    TenantHeader(tenant): TenantHeader,
    Path(tag): Path<String>,
    headers: HeaderMap,
    params: Params,
) -> Answer<Response> {
    let values = values(&engine, &tenant, &tag, &params).await?;
    if wants_protobuf(&headers) {
        let (tag_values, metrics) = (values.into_iter().map(messages::value).collect(), messages::done(0, 1));
        return Ok(protobuf(&messages::SearchTagValuesV2Response { tag_values, metrics }));
    }
    Ok(Json(typed(values)).into_response())
}

fn typed(values: Vec<engine::TagValue>) -> Value {
    let values: Vec<Value> =
        values.into_iter().map(|value| json!({ "type": value.kind, "value": value.value })).collect();
    json!({ "tagValues": values, "metrics": {} })
}

async fn range_metrics(engine: &Engine, tenant: &Tenant, params: &Params) -> Answer<TraceMetrics> {
    let range = params.metrics_range()?;
    let step_ms = params.step_ms(range)?;
    let exemplars = params.exemplars(EXEMPLARS_DEFAULT)?;
    let series_max = params.number("maxSeries", usize::MAX)?;
    let query = params.metrics_query()?;
    let mut found = engine.traceql_metrics(tenant, &query, range, step_ms, exemplars).await?;
    if found.series.len() > series_max {
        let all = found.series.len();
        found.warnings.push(format!("of {all} series these are the first {series_max}, as maxSeries says"));
        found.series.truncate(series_max);
    }
    Ok(found)
}

async fn metrics_range(
    State(engine): State<Arc<Engine>>,
    TenantHeader(tenant): TenantHeader,
    params: Params,
) -> Answer<Json<RangeMetrics>> {
    Ok(Json(RangeMetrics(range_metrics(&engine, &tenant, &params).await?)))
}

async fn instant_metrics(engine: &Engine, tenant: &Tenant, params: &Params) -> Answer<TraceMetrics> {
    let range = params.metrics_range()?;
    Ok(engine.traceql_metrics_instant(tenant, &params.metrics_query()?, range).await?)
}

async fn metrics_instant(
    State(engine): State<Arc<Engine>>,
    TenantHeader(tenant): TenantHeader,
    params: Params,
) -> Answer<Json<Value>> {
    Ok(Json(encode::metrics_instant(&instant_metrics(&engine, &tenant, &params).await?)))
}

#[cfg(test)]
mod tests;
