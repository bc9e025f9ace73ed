//! `tempopb.StreamingQuerier`, all of its calls: what Grafana asks instead of the HTTP API when streaming is on, on the
//! same port. A call's message is the parameters of the HTTP call by other names and is answered alike.
//!
//! A search is told while it goes on; other answers are computed whole and told in messages that a client takes. `completedJobs` of
//! `totalJobs` is how far it is: in the last message they are equal, unless something could not be read.

use super::messages::{self as message, parts};
use super::params::Params;
use super::{Refusal, search_options};
use crate::tenant;
use axum::Router;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http;
use axum::response::Response;
use axum::routing::post;
use engine::{Engine, QueryError, SearchProgress};
use futures::Stream;
use futures::stream::poll_fn;
use model::Tenant;
use std::future::Future;
use std::sync::Arc;
use tokio::sync::mpsc;
use tonic::codec::CompressionEncoding::Gzip;
use tonic::{Code, Request, Status};
use tonic_prost::ProstCodec;

/// A query and a few numbers; Tempo's own bound is larger, and nobody comes near either.
const REQUEST_BYTES_MAX: usize = 1 << 20;
/// Messages that wait for a slow reader; then the search waits.
const WAITING_MAX: usize = 4;

pub(super) fn router(engine: Arc<Engine>) -> Router {
    Router::new().route("/tempopb.StreamingQuerier/{call}", post(answer)).with_state(engine)
}

async fn answer(
    State(engine): State<Arc<Engine>>,
    Path(call): Path<String>,
    request: http::Request<Body>,
) -> Response {
    match call.as_str() {
        "Search" => serve(request, engine, search).await,
        "SearchTags" => serve(request, engine, tags_v1).await,
        "SearchTagsV2" => serve(request, engine, tags_v2).await,
        "SearchTagValues" => serve(request, engine, values_v1).await,
        "SearchTagValuesV2" => serve(request, engine, values_v2).await,
        "MetricsQueryRange" => serve(request, engine, metrics_range).await,
        "MetricsQueryInstant" => serve(request, engine, metrics_instant).await,
        _ => {
            let why = format!("unknown method {call} for service tempopb.StreamingQuerier");
            Status::unimplemented(why).into_http::<tonic::body::Body>().map(Body::new)
        }
    }
}

/// Where the messages of one call go; an error when the client is gone.
type Told<A> = mpsc::Sender<Result<A, Status>>;

/// Runs a call for as long as somebody reads its answer.
async fn serve<Q, A, F, W>(request: http::Request<Body>, engine: Arc<Engine>, work: F) -> Response
where
    Q: prost::Message + Default + 'static,
    A: prost::Message + 'static,
    F: Fn(Arc<Engine>, Tenant, Q, Told<A>) -> W + Clone + Send + 'static,
    W: Future<Output = Result<(), Status>> + Send + 'static,
{
    let service = tower::service_fn(move |request: Request<Q>| {
        let (engine, work) = (engine.clone(), work.clone());
        async move { Ok::<_, Status>(tonic::Response::new(stream(engine, request, work)?)) }
    });
    let mut grpc = tonic::server::Grpc::new(ProstCodec::<A, Q>::default())
        .max_decoding_message_size(REQUEST_BYTES_MAX)
        .accept_compressed(Gzip)
        .send_compressed(Gzip);
    grpc.server_streaming(service, request).await.map(Body::new)
}

fn stream<Q, A, F, W>(
    engine: Arc<Engine>,
    request: Request<Q>,
    work: F,
) -> Result<impl Stream<Item = Result<A, Status>> + Send + 'static, Status>
where
    A: Send + 'static,
    F: Fn(Arc<Engine>, Tenant, Q, Told<A>) -> W,
    W: Future<Output = Result<(), Status>> + Send + 'static,
{
    let headers = request.metadata().clone().into_headers();
    let tenant = tenant::of_headers(&headers).map_err(Status::invalid_argument)?;
    let (told, mut listens) = mpsc::channel(WAITING_MAX);
    let running = work(engine, tenant, request.into_inner(), told.clone());
    tokio::spawn(async move {
        tokio::select! {
            ended = running => if let Err(wrong) = ended {
                // Nobody listens any more: then nobody misses it.
                let _ = told.send(Err(wrong)).await;
            },
            () = told.closed() => {}
        }
    });
    Ok(poll_fn(move |context| listens.poll_recv(context)))
}

async fn tell<A>(told: &Told<A>, message: A) -> Result<(), Status> {
    told.send(Ok(message)).await.map_err(|_| Status::cancelled("nobody reads the answer"))
}

impl From<Refusal> for Status {
    fn from(Refusal(status, why): Refusal) -> Status {
        let code = match status.as_u16() {
            400 => Code::InvalidArgument,
            404 => Code::NotFound,
            422 => Code::ResourceExhausted,
            503 => Code::Unavailable,
            504 => Code::DeadlineExceeded,
            _ => Code::Internal,
        };
        Status::new(code, why)
    }
}

fn refused(error: QueryError) -> Status {
    Refusal::from(error).into()
}

/// Parameters of the HTTP call; a number of 0 and an empty text are not there.
fn params(given: impl IntoIterator<Item = (&'static str, String)>) -> Params {
    Params(given.into_iter().filter(|(_, text)| !text.is_empty() && text != "0").map(own).collect())
}

fn own((name, text): (&'static str, String)) -> (String, String) {
    (name.to_owned(), text)
}

/// With so many digits that it is read as nanoseconds whenever it is.
fn nanoseconds(ns: u64) -> String {
    if ns == 0 { String::new() } else { format!("{ns:020}") }
}

fn milliseconds(ms: u32) -> String {
    if ms == 0 { String::new() } else { format!("{ms}ms") }
}

fn tags(tags: std::collections::HashMap<String, String>) -> String {
    let quoted = |text: &str| text.replace('\\', "\\\\").replace('"', "\\\"");
    tags.iter().map(|(name, value)| format!("{name}=\"{}\" ", quoted(value))).collect()
}

async fn search(
    engine: Arc<Engine>,
    tenant: Tenant,
    asked: message::SearchRequest,
    told: Told<message::SearchResponse>,
) -> Result<(), Status> {
    let params = params([
        ("q", asked.query),
        ("tags", tags(asked.tags)),
        ("minDuration", milliseconds(asked.min_duration_ms)),
        ("maxDuration", milliseconds(asked.max_duration_ms)),
        ("limit", asked.limit.to_string()),
        ("spss", asked.spans_per_span_set.to_string()),
        ("start", asked.start.to_string()),
        ("end", asked.end.to_string()),
    ]);
    let (query, options) = (params.query()?, search_options(&params)?);
    let (progress, mut goes_on) = mpsc::channel::<SearchProgress>(1);
    let searched = engine.traceql_search_told(&tenant, &query, options, progress);
    // The end is a job, too: it tells of what could not be read.
    let mut jobs = 1;
    let forwarded = async {
        while let Some(progress) = goes_on.recv().await {
            jobs = progress.of as u32 + 1;
            let metrics = message::SearchMetrics {
                inspected_traces: progress.inspected_traces as u32,
                inspected_spans: progress.inspected_spans,
                completed_jobs: progress.done as u32,
                total_jobs: jobs,
            };
            let traces = progress.traces.iter().map(message::trace).collect();
            for traces in parts(traces, prost::Message::encoded_len) {
                tell(&told, message::SearchResponse { traces, metrics: Some(metrics.clone()) }).await?;
            }
        }
        Ok::<_, Status>(())
    };
    let (found, forwarded) = tokio::join!(searched, forwarded);
    forwarded?;
    let found = found.map_err(refused)?;
    let metrics = message::SearchMetrics {
        inspected_traces: found.inspected_traces as u32,
        inspected_spans: found.inspected_spans,
        completed_jobs: jobs,
        total_jobs: jobs + found.warnings.len() as u32,
    };
    tell(&told, message::SearchResponse { traces: vec![], metrics: Some(metrics) }).await
}

fn tag_params(asked: message::SearchTagsRequest) -> Params {
    params([
        ("scope", asked.scope),
        ("q", asked.query),
        ("start", asked.start.to_string()),
        ("end", asked.end.to_string()),
        ("limit", asked.max_tags_per_scope.to_string()),
    ])
}

fn value_params(asked: &message::SearchTagValuesRequest) -> Params {
    params([
        ("q", asked.query.clone()),
        ("start", asked.start.to_string()),
        ("end", asked.end.to_string()),
        ("limit", asked.max_tag_values.to_string()),
    ])
}

fn done(at: usize, of: usize) -> Option<message::MetadataMetrics> {
    Some(message::MetadataMetrics { completed_jobs: at as u32 + 1, total_jobs: of as u32 })
}

async fn tags_v1(
    engine: Arc<Engine>,
    tenant: Tenant,
    asked: message::SearchTagsRequest,
    told: Told<message::SearchTagsResponse>,
) -> Result<(), Status> {
    let tags = super::tags(&engine, &tenant, &tag_params(asked)).await?;
    let names: std::collections::BTreeSet<String> = tags.into_values().flatten().collect();
    let parts = parts(names.into_iter().collect(), String::len);
    let of = parts.len();
    for (at, tag_names) in parts.into_iter().enumerate() {
        tell(&told, message::SearchTagsResponse { tag_names, metrics: done(at, of) }).await?;
    }
    Ok(())
}

async fn tags_v2(
    engine: Arc<Engine>,
    tenant: Tenant,
    asked: message::SearchTagsRequest,
    told: Told<message::SearchTagsV2Response>,
) -> Result<(), Status> {
    let tags = super::tags(&engine, &tenant, &tag_params(asked)).await?;
    let mut scopes = vec![];
    for (name, tags) in tags {
        let scope = |tags| message::SearchTagsV2Scope { name: name.to_owned(), tags };
        scopes.extend(parts(tags, String::len).into_iter().map(scope));
    }
    let parts = parts(scopes, prost::Message::encoded_len);
    let of = parts.len();
    for (at, scopes) in parts.into_iter().enumerate() {
        tell(&told, message::SearchTagsV2Response { scopes, metrics: done(at, of) }).await?;
    }
    Ok(())
}

async fn values_v1(
    engine: Arc<Engine>,
    tenant: Tenant,
    asked: message::SearchTagValuesRequest,
    told: Told<message::SearchTagValuesResponse>,
) -> Result<(), Status> {
    let values = super::values(&engine, &tenant, &asked.tag_name, &value_params(&asked)).await?;
    let parts = parts(values.into_iter().map(|value| value.value).collect(), String::len);
    let of = parts.len();
    for (at, tag_values) in parts.into_iter().enumerate() {
        tell(&told, message::SearchTagValuesResponse { tag_values, metrics: done(at, of) }).await?;
    }
    Ok(())
}

async fn values_v2(
    engine: Arc<Engine>,
    tenant: Tenant,
    asked: message::SearchTagValuesRequest,
    told: Told<message::SearchTagValuesV2Response>,
) -> Result<(), Status> {
    let values = super::values(&engine, &tenant, &asked.tag_name, &value_params(&asked)).await?;
    let value =
        |value: engine::TagValue| message::TagValue { kind: value.kind.to_owned(), value: value.value };
    let parts = parts(values.into_iter().map(value).collect(), prost::Message::encoded_len);
    let of = parts.len();
    for (at, tag_values) in parts.into_iter().enumerate() {
        tell(&told, message::SearchTagValuesV2Response { tag_values, metrics: done(at, of) }).await?;
    }
    Ok(())
}

async fn metrics_range(
    engine: Arc<Engine>,
    tenant: Tenant,
    asked: message::QueryRangeRequest,
    told: Told<message::QueryRangeResponse>,
) -> Result<(), Status> {
    let step = if asked.step == 0 { String::new() } else { format!("{}ns", asked.step) };
    let params = params([
        ("q", asked.query),
        ("start", nanoseconds(asked.start)),
        ("end", nanoseconds(asked.end)),
        ("step", step),
        ("exemplars", asked.exemplars.to_string()),
    ]);
    let found = super::range_metrics(&engine, &tenant, &params).await?;
    let parts = parts(found.series.iter().map(message::series).collect(), prost::Message::encoded_len);
    let of = parts.len();
    for (at, series) in parts.into_iter().enumerate() {
        let response = message::QueryRangeResponse {
            series,
            metrics: Some(message::search_metrics(&found, at, of)),
            status: i32::from(!found.warnings.is_empty()),
            message: found.warnings.join("; "),
        };
        tell(&told, response).await?;
    }
    Ok(())
}

async fn metrics_instant(
    engine: Arc<Engine>,
    tenant: Tenant,
    asked: message::QueryInstantRequest,
    told: Told<message::QueryInstantResponse>,
) -> Result<(), Status> {
    let params =
        params([("q", asked.query), ("start", nanoseconds(asked.start)), ("end", nanoseconds(asked.end))]);
    let found = super::instant_metrics(&engine, &tenant, &params).await?;
    let series = found.series.iter().map(message::instant_series).collect();
    let parts = parts(series, prost::Message::encoded_len);
    let of = parts.len();
    for (at, series) in parts.into_iter().enumerate() {
        let response = message::QueryInstantResponse {
            series,
            metrics: Some(message::search_metrics(&found, at, of)),
            status: i32::from(!found.warnings.is_empty()),
            message: found.warnings.join("; "),
        };
        tell(&told, response).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
