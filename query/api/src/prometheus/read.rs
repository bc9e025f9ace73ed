//! Remote read: `POST /api/v1/read`, as a Prometheus asks another storage (source: prompb/remote.proto of Prometheus).
//!
//! A request is `ReadRequest` under snappy. The answer is whole samples (`ReadResponse` under snappy), or a stream of
//! frames, each a part of one series as chunks, where the caller takes them: the first kind of its list that is known.

mod bits;
mod chunks;
mod messages;
mod whole;

use crate::TenantHeader;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use engine::{Engine, Found, PromSeries, QueryError, RawStream};
use futures::stream::{self, StreamExt};
use messages::{Message, Query, ReadRequest};
use model::{Match, Matcher, SeriesSelect, Tenant, TimeRange};
use std::convert::Infallible;
use std::sync::Arc;
use tracing::warn;

/// Bytes of a request when decompressed: matchers, no data.
const REQUEST_BYTES_MAX: usize = 4 << 20;

/// Queries of one request; a Prometheus sends one.
const QUERIES_MAX: usize = 100;

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
    let answered = match kind {
        STREAMED_XOR_CHUNKS => stream_of(&engine, &tenant, selections).await,
        _ => engine.prom_raw(&tenant, selections).await.and_then(all_of).and_then(whole),
    };
    answered.unwrap_or_else(|wrong| {
        let status = match &wrong {
            QueryError::Bad(_) => StatusCode::BAD_REQUEST,
            QueryError::TooMuch(_) | QueryError::Execution(_) => StatusCode::UNPROCESSABLE_ENTITY,
            QueryError::Timeout(_) | QueryError::Cancelled => StatusCode::SERVICE_UNAVAILABLE,
            QueryError::Broken(_) => StatusCode::INTERNAL_SERVER_ERROR,
        };
        (status, format!("{wrong}\n")).into_response()
    })
}

/// An answer has no place for warnings: what is not whole is no answer.
fn all_of(found: Found<Vec<PromSeries>>) -> Result<Found<Vec<PromSeries>>, QueryError> {
    match &found.warnings[..] {
        [] => Ok(found),
        warnings => Err(QueryError::Broken(warnings.join("; "))),
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

fn whole(found: Found<Vec<PromSeries>>) -> Result<Response, QueryError> {
    let Found { found, held, .. } = found;
    let pieces = whole::pieces(found).map_err(QueryError::TooMuch)?.map(move |piece| {
        let _until_the_last_is_made = &held;
        Ok::<_, Infallible>(piece)
    });
    let kinds = [(header::CONTENT_TYPE, "application/x-protobuf"), (header::CONTENT_ENCODING, "snappy")];
    Ok((kinds, Body::from_stream(stream::iter(pieces))).into_response())
}

/// Frames are made as they are sent, and where nothing is in the way of it series are read so.
async fn stream_of(
    engine: &Engine,
    tenant: &Tenant,
    selections: Vec<SeriesSelect>,
) -> Result<Response, QueryError> {
    let mut series: RawStream = match engine.prom_raw_stream(tenant, &selections).await? {
        Some(series) => series,
        None => {
            let Found { found, held, .. } = all_of(engine.prom_raw(tenant, selections).await?)?;
            let numbered = found.into_iter().enumerate().map(move |of_query| {
                let _until_the_last_is_made = &held;
                Ok(of_query)
            });
            stream::iter(numbered).boxed()
        }
    };
    // What fails at once has a status; what fails later can only end the answer before its end.
    let first = series.next().await.transpose()?;
    let frames = stream::iter(first.map(Ok)).chain(series).flat_map(|piece| match piece {
        Ok((query, all)) => {
            let frames = all.into_iter().flat_map(move |series| chunks::frames(query as i64, series));
            stream::iter(frames.map(Ok)).left_stream()
        }
        Err(wrong) => {
            warn!(error = %wrong, "a remote read ends early");
            stream::iter([Err(wrong)]).right_stream()
        }
    });
    let kind = "application/x-streamed-protobuf; proto=prometheus.ChunkedReadResponse";
    Ok(([(header::CONTENT_TYPE, kind)], Body::from_stream(frames)).into_response())
}

#[cfg(test)]
mod tests;
