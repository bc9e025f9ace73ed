//! A store as another process reads it: snapshots by HTTP between the query and the ingest role.
//!
//! `POST /api/peer/snapshots` takes a snapshot and answers its id; reads name the id, so that all reads of a query see
//! one picture. Answers are frames: a kind byte, a length (u32, little-endian) and that many bytes. Kinds: `b` an
//! Arrow IPC stream of one batch, `j` JSON, `w` warnings as a JSON list, `e` an error's text, `t` the same where a bound
//! was passed, `z` the end; an answer without its end was cut and is an error.

mod client;
mod frames;
mod listings;
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
use futures::stream::{self, BoxStream, StreamExt, TryStreamExt};
use listings::{List, Lists};
use model::{Exemplar, Labels, LogSelect, SeriesSelect, SpanSelect, Tenant};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};
use store::{LogColumns, ReadError, SeriesInfo, Snapshot, Source, SpanColumns};

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
    Exemplars { select: SeriesSelect },
    LogStreams { select: LogSelect },
    Logs { select: LogSelect, columns: Vec<usize> },
    Spans { select: SpanSelect, columns: Vec<usize> },
}

type ExemplarRow = (Labels, Labels, i64, u64);

impl Read {
    /// Column numbers are another process's; the store trusts the engine's.
    fn check(&self) -> Result<(), String> {
        let (columns, of) = match self {
            Read::Logs { columns, .. } => (columns, store::schema::LOGS.fields().len()),
            Read::Spans { columns, .. } => (columns, store::schema::SPANS.fields().len()),
            _ => return Ok(()),
        };
        if columns.is_sorted_by(|a, b| a < b) && columns.last().is_none_or(|&last| last < of) {
            return Ok(());
        }
        Err(format!("columns {columns:?} do not ascend within 0..{of}: the peer is of another version"))
    }
}

struct Held {
    snapshot: Arc<dyn Snapshot>,
    tenant: Tenant,
    used: Instant,
}

struct Peers {
    source: Arc<dyn Source>,
    shelf: Mutex<Shelf>,
    lists: Lists,
}

#[derive(Default)]
struct Shelf {
    /// By an id that cannot be guessed, and that no earlier process gave out for another snapshot.
    held: HashMap<String, Held>,
    /// Whether a task looks for what is idle.
    swept: bool,
}

pub fn router(source: Arc<dyn Source>) -> Router {
    let peers = Peers { source, shelf: Mutex::default(), lists: Lists::default() };
    Router::new()
        .route("/api/peer/snapshots", post(take))
        .route("/api/peer/snapshots/{id}", post(read).merge(delete(drop_one)))
        .with_state(Arc::new(peers))
}

fn fresh_id() -> String {
    // Each state has keys of the system's randomness.
    let half = || RandomState::new().hash_one(0);
    format!("{:016x}{:016x}", half(), half())
}

async fn take(State(peers): State<Arc<Peers>>, TenantHeader(tenant): TenantHeader) -> Response {
    let snapshot = match peers.source.snapshot(&tenant).await {
        Ok(snapshot) => snapshot,
        Err(wrong) => return (StatusCode::SERVICE_UNAVAILABLE, wrong.to_string()).into_response(),
    };
    let mut shelf = peers.shelf.lock();
    if shelf.held.len() >= SNAPSHOTS_MAX {
        return (StatusCode::TOO_MANY_REQUESTS, "too many snapshots are held for peers").into_response();
    }
    if !std::mem::replace(&mut shelf.swept, true) {
        tokio::spawn(sweep(Arc::downgrade(&peers)));
    }
    let id = fresh_id();
    shelf.held.insert(id.clone(), Held { snapshot, tenant, used: Instant::now() });
    Json(json!({ "id": id })).into_response()
}

/// Drops what is idle, until nothing is held: a peer that is gone must not keep files from being deleted.
async fn sweep(peers: Weak<Peers>) {
    loop {
        tokio::time::sleep(IDLE_MAX / 4).await;
        let Some(peers) = peers.upgrade() else { return };
        let mut shelf = peers.shelf.lock();
        shelf.held.retain(|_, held| held.used.elapsed() < IDLE_MAX);
        if shelf.held.is_empty() {
            shelf.swept = false;
            return;
        }
    }
}

async fn drop_one(
    State(peers): State<Arc<Peers>>,
    TenantHeader(tenant): TenantHeader,
    Path(id): Path<String>,
) -> StatusCode {
    let mut shelf = peers.shelf.lock();
    if shelf.held.get(&id).is_some_and(|held| held.tenant == tenant) {
        shelf.held.remove(&id);
    }
    StatusCode::NO_CONTENT
}

async fn read(
    State(peers): State<Arc<Peers>>,
    TenantHeader(tenant): TenantHeader,
    Path(id): Path<String>,
    Json(read): Json<Read>,
) -> Response {
    if let Err(why) = read.check() {
        return (StatusCode::BAD_REQUEST, why).into_response();
    }
    let snapshot = peers.shelf.lock().held.get_mut(&id).filter(|held| held.tenant == tenant).map(|held| {
        held.used = Instant::now();
        held.snapshot.clone()
    });
    let Some(snapshot) = snapshot else {
        return (StatusCode::NOT_FOUND, format!("snapshot {id} is no longer held; ask again"))
            .into_response();
    };
    let frames = match answer(&snapshot, read, peers.lists.begin()).await {
        Ok(frames) => frames,
        Err(wrong) => stream::iter([Frame::error(&wrong)]).boxed(),
    };
    // Warnings are known only after everything was read.
    let end = stream::once(async move { Frame::warnings(&snapshot.warnings()) })
        .chain(stream::iter([Frame::end()]));
    let body = frames.chain(end).map(|frame| Ok::<Bytes, std::convert::Infallible>(frame.encode()));
    Body::from_stream(body).into_response()
}

type Frames = BoxStream<'static, Frame>;

async fn answer(snapshot: &Arc<dyn Snapshot>, read: Read, list: List) -> Result<Frames, ReadError> {
    let listed = |rows, list: List| {
        let frames = listings::batches(rows).map(move |batch| {
            let _until_the_last_is_made = &list;
            Frame::of(batch)
        });
        stream::iter(frames).boxed()
    };
    Ok(match read {
        Read::Series { select } => {
            let series = snapshot.series(&select, &list).await?;
            let row = |series: SeriesInfo| (series.labels, series.first_ms, series.last_ms);
            listed(series.into_iter().map(row).collect(), list)
        }
        Read::Metadata => {
            let metadata = Frame::json(&snapshot.metadata().await?);
            stream::iter([metadata]).boxed()
        }
        Read::Exemplars { select } => {
            let exemplars = snapshot.exemplars(&select).await?;
            // By its bits: JSON knows no NaN.
            let row = |e: Exemplar| (e.series, e.labels, e.ts_ms, e.value.to_bits());
            let rows: Vec<ExemplarRow> = exemplars.into_iter().map(row).collect();
            stream::iter([Frame::json(&rows)]).boxed()
        }
        Read::LogStreams { select } => {
            let streams = snapshot.log_streams(&select).await?;
            let number = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
            listed(
                streams.into_iter().map(|s| (s.labels, number(s.records), number(s.bytes))).collect(),
                list,
            )
        }
        Read::Samples { select } => {
            let blocks = snapshot.sample_blocks(&select).await?;
            blocks.map_ok(|block| stream::iter(samples::batches(block))).try_flatten().map(Frame::of).boxed()
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
