//! A store as another process reads it: snapshots by HTTP between the query and the ingest role.
//!
//! `POST /api/peer/snapshots` takes a snapshot and answers its id; reads name the id, so that all reads of a query see
//! one picture. Answers are frames: a kind byte, a length (u32, little-endian) and that many bytes. Kinds: `b` an
//! Arrow IPC stream of one batch, `j` JSON, `w` warnings as a JSON list, `e` an error's text, `z` the end; an answer
//! without its end was cut and is an error.

mod client;
mod frames;
mod samples;

pub use client::PeerSource;

use crate::TenantHeader;
use axum::body::{Body, Bytes};
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, post};
use axum::{Json, Router};
use frames::Frame;
use futures::stream::{self, BoxStream, StreamExt};
use model::{LogSelect, SeriesSelect, SpanSelect};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use store::{LogColumns, ReadError, Snapshot, Source, SpanColumns};

/// Snapshots held for peers at one time.
const SNAPSHOTS_MAX: usize = 1_000;

/// A snapshot that no read has named for so long is dropped: its peer is gone.
const IDLE_MAX: Duration = Duration::from_secs(300);

/// What a read asks for.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "read")]
enum Read {
    Series { select: SeriesSelect },
    Samples { select: SeriesSelect },
    Metadata,
    LogStreams { select: LogSelect },
    Logs { select: LogSelect, columns: Vec<usize> },
    Spans { select: SpanSelect, columns: Vec<usize> },
}

struct Held {
    snapshot: Arc<dyn Snapshot>,
    used: Instant,
}

struct Peers {
    source: Arc<dyn Source>,
    next: AtomicU64,
    held: Mutex<HashMap<u64, Held>>,
}

pub fn router(source: Arc<dyn Source>) -> Router {
    let peers = Peers { source, next: AtomicU64::new(1), held: Mutex::default() };
    Router::new()
        .route("/api/peer/snapshots", post(take))
        .route("/api/peer/snapshots/{id}", post(read).merge(delete(drop_one)))
        .with_state(Arc::new(peers))
}

async fn take(State(peers): State<Arc<Peers>>, TenantHeader(tenant): TenantHeader) -> Response {
    let snapshot = match peers.source.snapshot(&tenant).await {
        Ok(snapshot) => snapshot,
        Err(wrong) => return (StatusCode::SERVICE_UNAVAILABLE, wrong.to_string()).into_response(),
    };
    let now = Instant::now();
    let mut held = peers.held.lock();
    held.retain(|_, held| now.duration_since(held.used) < IDLE_MAX);
    if held.len() >= SNAPSHOTS_MAX {
        return (StatusCode::TOO_MANY_REQUESTS, "too many snapshots are held for peers").into_response();
    }
    let id = peers.next.fetch_add(1, Ordering::Relaxed);
    held.insert(id, Held { snapshot, used: now });
    Json(json!({ "id": id })).into_response()
}

async fn drop_one(State(peers): State<Arc<Peers>>, Path(id): Path<u64>) -> StatusCode {
    peers.held.lock().remove(&id);
    StatusCode::NO_CONTENT
}

async fn read(State(peers): State<Arc<Peers>>, Path(id): Path<u64>, Json(read): Json<Read>) -> Response {
    let snapshot = peers.held.lock().get_mut(&id).map(|held| {
        held.used = Instant::now();
        held.snapshot.clone()
    });
    let Some(snapshot) = snapshot else {
        return (StatusCode::NOT_FOUND, format!("snapshot {id} is no longer held; ask again")).into_response();
    };
    let frames = match answer(&snapshot, read).await {
        Ok(frames) => frames,
        Err(wrong) => stream::iter([Frame::error(&wrong)]).boxed(),
    };
    // Warnings are known only after everything was read.
    let end = stream::once(async move { Frame::warnings(&snapshot.warnings()) }).chain(stream::iter([Frame::end()]));
    let body = frames.chain(end).map(|frame| Ok::<Bytes, std::convert::Infallible>(frame.encode()));
    Body::from_stream(body).into_response()
}

type Frames = BoxStream<'static, Frame>;

async fn answer(snapshot: &Arc<dyn Snapshot>, read: Read) -> Result<Frames, ReadError> {
    let one = |frame: Frame| stream::iter([frame]).boxed();
    Ok(match read {
        Read::Series { select } => {
            let series = snapshot.series(&select).await?;
            let rows: Vec<_> =
                series.iter().map(|series| (series.labels.as_bytes(), series.first_ms, series.last_ms)).collect();
            one(Frame::json(&rows))
        }
        Read::Metadata => one(Frame::json(&snapshot.metadata().await?)),
        Read::LogStreams { select } => {
            let streams = snapshot.log_streams(&select).await?;
            let rows: Vec<_> =
                streams.iter().map(|stream| (stream.labels.as_bytes(), stream.records, stream.bytes)).collect();
            one(Frame::json(&rows))
        }
        Read::Samples { select } => {
            let block = snapshot.samples(&select).await?;
            stream::iter(samples::batches(&block).map(|batch| Frame::of(batch.map_err(ReadError::Io)))).boxed()
        }
        Read::Logs { select, columns } => {
            let batches = snapshot.logs(&select, &LogColumns(columns)).await?;
            batches.map(Frame::of).boxed()
        }
        Read::Spans { select, columns } => {
            let batches = snapshot.spans(&select, &SpanColumns(columns)).await?;
            batches.map(Frame::of).boxed()
        }
    })
}

#[cfg(test)]
mod tests;
