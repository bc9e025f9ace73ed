//! `tempopb.StreamingQuerier`, all of its calls: what Grafana asks instead of the HTTP API when streaming is on, on the
//! same port. A call's message is the parameters of the HTTP call by other names and is answered alike.
//!
//! A search is told while it goes on; other answers are computed whole and told in messages that a client takes. `completedJobs` of
//! `totalJobs` is how far it is: in the last message they are equal, unless something could not be read.

use super::messages as message;
use super::params::Params;
use super::{Refusal, search_options};
use crate::grpc::{self, Told, failed, parts, serve, tell, tell_parts};
use axum::Router;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http;
use axum::response::Response;
use axum::routing::post;
use engine::{Engine, SearchProgress};
use model::Tenant;
use std::sync::Arc;
use tokio::sync::mpsc;
use tonic::Status;

const SERVICE: &str = "tempopb.StreamingQuerier";

pub(super) fn router(engine: Arc<Engine>) -> Router {
    Router::new().route(&format!("/{SERVICE}/{{call}}"), post(answer)).with_state(engine)
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
        _ => grpc::unknown_method(SERVICE, &call),
    }
}

impl From<Refusal> for Status {
    fn from(Refusal(status, why): Refusal) -> Status {
        grpc::status(status, why)
    }
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
    let mut params = params([
        ("q", asked.query),
        ("tags", tags(asked.tags)),
        ("minDuration", milliseconds(asked.min_duration_ms)),
        ("maxDuration", milliseconds(asked.max_duration_ms)),
        ("limit", asked.limit.to_string()),
        ("start", asked.start.to_string()),
        ("end", asked.end.to_string()),
    ]);
    // Where the message has none, all are told.
    params.0.insert("spss".to_owned(), asked.spans_per_span_set.to_string());
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
    let found = found.map_err(failed)?;
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

async fn tags_v1(
    engine: Arc<Engine>,
    tenant: Tenant,
    asked: message::SearchTagsRequest,
    told: Told<message::SearchTagsResponse>,
) -> Result<(), Status> {
    let params = tag_params(asked);
    let names = super::names_v1(super::tags(&engine, &tenant, &params).await?, &params);
    tell_parts(&told, names.into_iter().collect(), String::len, |tag_names, at, of| {
        message::SearchTagsResponse { tag_names, metrics: message::done(at, of) }
    })
    .await
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
    tell_parts(&told, scopes, prost::Message::encoded_len, |scopes, at, of| message::SearchTagsV2Response {
        scopes,
        metrics: message::done(at, of),
    })
    .await
}

async fn values_v1(
    engine: Arc<Engine>,
    tenant: Tenant,
    asked: message::SearchTagValuesRequest,
    told: Told<message::SearchTagValuesResponse>,
) -> Result<(), Status> {
    let values = super::values_by_old_name(&engine, &tenant, &asked.tag_name, &value_params(&asked)).await?;
    let values = values.into_iter().collect();
    tell_parts(&told, values, String::len, |tag_values, at, of| message::SearchTagValuesResponse {
        tag_values,
        metrics: message::done(at, of),
    })
    .await
}

async fn values_v2(
    engine: Arc<Engine>,
    tenant: Tenant,
    asked: message::SearchTagValuesRequest,
    told: Told<message::SearchTagValuesV2Response>,
) -> Result<(), Status> {
    let values = super::values(&engine, &tenant, &asked.tag_name, &value_params(&asked)).await?;
    let values = values.into_iter().map(message::value).collect();
    tell_parts(&told, values, prost::Message::encoded_len, |tag_values, at, of| {
        message::SearchTagValuesV2Response { tag_values, metrics: message::done(at, of) }
    })
    .await
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
        ("maxSeries", asked.max_series.to_string()),
    ]);
    let found = super::range_metrics(&engine, &tenant, &params).await?;
    let series = found.series.iter().map(message::series).collect();
    tell_parts(&told, series, prost::Message::encoded_len, |series, at, of| message::QueryRangeResponse {
        series,
        metrics: Some(message::search_metrics(&found, at, of)),
        status: i32::from(!found.warnings.is_empty()),
        message: found.warnings.join("; "),
    })
    .await
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
    tell_parts(&told, series, prost::Message::encoded_len, |series, at, of| message::QueryInstantResponse {
        series,
        metrics: Some(message::search_metrics(&found, at, of)),
        status: i32::from(!found.warnings.is_empty()),
        message: found.warnings.join("; "),
    })
    .await
}

#[cfg(test)]
mod tests;
