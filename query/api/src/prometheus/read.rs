//! Remote read: `POST /api/v1/read`, as a Prometheus asks another storage (source: prompb/remote.proto of Prometheus).
//!
//! A request is `ReadRequest` under snappy. The answer is whole samples (`ReadResponse` under snappy), or a stream of
//! frames, each a part of one series as chunks, where the caller takes them: the first kind of its list that is known.

mod bits;
mod chunks;
mod messages;

use crate::TenantHeader;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use engine::{Engine, Found, PromSeries, QueryError};
use futures::stream;
use messages::{Message, Query, ReadRequest, TimeSeries};
use model::{Match, Matcher, SeriesSelect, TimeRange};
use std::sync::Arc;

/// Bytes of a request when decompressed: matchers, no data.
const REQUEST_BYTES_MAX: usize = 4 << 20;

/// Queries of one request; a Prometheus sends one.
const QUERIES_MAX: usize = 100;

/// Fields of `ReadResponse` and `QueryResult`.
const RESULTS: u32 = 1;
const TIMESERIES: u32 = 1;

const SAMPLES: i32 = 0;
const STREAMED_XOR_CHUNKS: i32 = 1;

pub(super) async fn read(
    State(engine): State<Arc<Engine>>,
    TenantHeader(tenant): TenantHeader,
    body: Bytes,
) -> Response {
    let request = match request(&body) {
        Ok(request) => request,
        Err(why) => return (StatusCode::BAD_REQUEST, why + "\n").into_response(),
    };
    let selections: Result<Vec<SeriesSelect>, String> = request.queries.iter().map(select).collect();
    let (selections, kind) = match (selections, kind(&request.accepted_response_types)) {
        (Ok(selections), Ok(kind)) => (selections, kind),
        (Err(why), _) | (_, Err(why)) => return (StatusCode::BAD_REQUEST, why + "\n").into_response(),
    };
    match engine.prom_raw(&tenant, selections).await {
        // An answer has no place for warnings: what is not whole is no answer.
        Ok(found) if !found.warnings.is_empty() => {
            (StatusCode::INTERNAL_SERVER_ERROR, found.warnings.join("; ") + "\n").into_response()
        }
        Ok(found) if kind == STREAMED_XOR_CHUNKS => streamed(found),
        Ok(found) => whole(found).await,
        Err(wrong) => {
            let status = match &wrong {
                QueryError::Bad(_) => StatusCode::BAD_REQUEST,
                QueryError::TooMuch(_) | QueryError::Execution(_) => StatusCode::UNPROCESSABLE_ENTITY,
                QueryError::Timeout(_) | QueryError::Cancelled => StatusCode::SERVICE_UNAVAILABLE,
                QueryError::Broken(_) => StatusCode::INTERNAL_SERVER_ERROR,
            };
            (status, format!("{wrong}\n")).into_response()
        }
    }
}

fn request(body: &[u8]) -> Result<ReadRequest, String> {
    let wrong = |why: &dyn std::fmt::Display| format!("not a ReadRequest of remote read under snappy: {why}");
    let length = snap::raw::decompress_len(body).map_err(|why| wrong(&why))?;
    if length > REQUEST_BYTES_MAX {
        return Err(format!("a ReadRequest of {length} bytes; the most is {REQUEST_BYTES_MAX}"));
    }
    let raw = snap::raw::Decoder::new().decompress_vec(body).map_err(|why| wrong(&why))?;
    let request = ReadRequest::decode(&raw[..]).map_err(|why| wrong(&why))?;
    match request.queries.len() {
        0..=QUERIES_MAX => Ok(request),
        more => Err(format!("{more} queries in one request; the most is {QUERIES_MAX}")),
    }
}

fn select(query: &Query) -> Result<SeriesSelect, String> {
    let matchers = query.matchers.iter().map(|matcher| {
        let op = match matcher.kind {
            0 => Match::Equal,
            1 => Match::NotEqual,
            2 => Match::Regex,
            3 => Match::NotRegex,
            other => return Err(format!("a matcher of kind {other} is not known")),
        };
        Matcher::new(&*matcher.name, op, &*matcher.value).map_err(|wrong| wrong.to_string())
    });
    let range = TimeRange { start: query.start_timestamp_ms, end: query.end_timestamp_ms };
    Ok(SeriesSelect { matchers: matchers.collect::<Result<_, _>>()?, range })
}

/// The first that we speak; a caller that names none is of before streams.
fn kind(accepted: &[i32]) -> Result<i32, String> {
    match accepted {
        [] => Ok(SAMPLES),
        some => some
            .iter()
            .copied()
            .find(|kind| matches!(*kind, SAMPLES | STREAMED_XOR_CHUNKS))
            .ok_or_else(|| format!("none of the response types {some:?} is known; 0 and 1 are")),
    }
}

async fn whole(found: Found<Vec<PromSeries>>) -> Response {
    let encoded = tokio::task::spawn_blocking(move || {
        let Found { found, held, .. } = found;
        let raw = encoded(found);
        drop(held);
        snap::raw::Encoder::new().compress_vec(&raw)
    });
    match encoded.await {
        Ok(Ok(body)) => {
            let kinds =
                [(header::CONTENT_TYPE, "application/x-protobuf"), (header::CONTENT_ENCODING, "snappy")];
            (kinds, body).into_response()
        }
        Ok(Err(wrong)) => (StatusCode::UNPROCESSABLE_ENTITY, format!("{wrong}\n")).into_response(),
        Err(wrong) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{wrong}\n")).into_response(),
    }
}

/// A `ReadResponse`, one series after the other: each is dropped when it is written.
fn encoded(found: Vec<Vec<PromSeries>>) -> Vec<u8> {
    let mut raw = vec![];
    for all in found {
        let mut result = vec![];
        for series in all {
            prost::encoding::message::encode(TIMESERIES, &TimeSeries::of(series), &mut result);
        }
        prost::encoding::bytes::encode(RESULTS, &result, &mut raw);
    }
    raw
}

/// Frames are made as they are sent.
fn streamed(found: Found<Vec<PromSeries>>) -> Response {
    let Found { found, held, .. } = found;
    let frames = found.into_iter().enumerate().flat_map(move |(query, all)| {
        let _until_the_last_is_made = &held;
        all.into_iter().flat_map(move |series| chunks::frames(query as i64, series))
    });
    let body = Body::from_stream(stream::iter(frames.map(Ok::<_, std::convert::Infallible>)));
    let kind = "application/x-streamed-protobuf; proto=prometheus.ChunkedReadResponse";
    ([(header::CONTENT_TYPE, kind)], body).into_response()
}

#[cfg(test)]
mod tests;
