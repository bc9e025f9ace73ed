//! The other side: a [`Source`] whose snapshots are held by an ingest process.

use super::frames::Frame;
use super::{ExemplarRow, Read, listings, samples};
use anyhow::Context;
use bytes::BytesMut;
use futures::stream::{self, BoxStream, StreamExt, TryStreamExt};
use model::{Exemplar, LogSelect, Metadata, SeriesSelect, SpanSelect, Tenant};
use parking_lot::Mutex;
use reqwest::header::HeaderMap;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use store::{
    Allowance, BatchStream, BlockStream, LogColumns, LogStreamInfo, ReadError, SeriesInfo, Snapshot, Source,
    SpanColumns,
};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Between two pieces of an answer.
const READ_TIMEOUT: Duration = Duration::from_secs(60);

/// Reads the store of the process at a URL.
pub struct PeerSource {
    http: reqwest::Client,
    base: String,
    token: Option<String>,
    trace: fn() -> HeaderMap,
}

impl PeerSource {
    /// `token` is sent as the bearer token, where the ingest process asks for one.
    pub fn new(base: &str, token: Option<String>) -> anyhow::Result<PeerSource> {
        let http = reqwest::Client::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .read_timeout(READ_TIMEOUT)
            .build()
            .context("making the HTTP client")?;
        let base = base.trim_end_matches('/').to_owned();
        Ok(PeerSource { http, base, token, trace: HeaderMap::new })
    }

    /// Requests carry these headers, which name the span that asks. They are asked for once, where a snapshot is taken: it is
    /// read for the same question, and often by other tasks.
    pub fn in_trace(self, headers: fn() -> HeaderMap) -> PeerSource {
        PeerSource { trace: headers, ..self }
    }
}

#[derive(Deserialize)]
struct Taken {
    id: String,
}

#[async_trait::async_trait]
impl Source for PeerSource {
    async fn snapshot(&self, tenant: &Tenant) -> Result<Arc<dyn Snapshot>, ReadError> {
        let url = format!("{}/api/peer/snapshots", self.base);
        let trace = (self.trace)();
        let request = self.http.post(&url).headers(trace.clone());
        let request = request.header(crate::tenant::TENANT_HEADER, tenant.as_str());
        let response = sent(authorized(request, &self.token), &self.base).await?;
        let taken: Taken = response.json().await.map_err(|wrong| unreachable_at(&self.base, &wrong))?;
        Ok(Arc::new(PeerSnapshot {
            http: self.http.clone(),
            url: format!("{url}/{}", taken.id),
            tenant: tenant.clone(),
            token: self.token.clone(),
            trace,
            warnings: Arc::default(),
        }))
    }
}

fn authorized(request: reqwest::RequestBuilder, token: &Option<String>) -> reqwest::RequestBuilder {
    match token {
        Some(token) => request.bearer_auth(token),
        None => request,
    }
}

fn unreachable_at(url: &str, wrong: &reqwest::Error) -> ReadError {
    ReadError::Io(format!("the ingest process at {url} does not answer: {wrong}"))
}

async fn sent(request: reqwest::RequestBuilder, url: &str) -> Result<reqwest::Response, ReadError> {
    let response = request.send().await.map_err(|wrong| unreachable_at(url, &wrong))?;
    let status = response.status();
    if status.is_success() {
        return Ok(response);
    }
    let text = response.text().await.unwrap_or_default();
    Err(ReadError::Io(format!("the ingest process at {url} answers {status}: {text}")))
}

struct PeerSnapshot {
    http: reqwest::Client,
    url: String,
    tenant: Tenant,
    token: Option<String>,
    trace: HeaderMap,
    warnings: Arc<Mutex<BTreeSet<String>>>,
}

impl Drop for PeerSnapshot {
    fn drop(&mut self) {
        // Best effort: what is not given back is dropped there after some minutes.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            let request = self.named(self.http.delete(&self.url));
            runtime.spawn(request.send());
        }
    }
}

impl PeerSnapshot {
    fn named(&self, request: reqwest::RequestBuilder) -> reqwest::RequestBuilder {
        let request = authorized(request, &self.token).headers(self.trace.clone());
        request.header(crate::tenant::TENANT_HEADER, self.tenant.as_str())
    }

    /// The frames of an answer up to its end, warnings taken out.
    async fn frames(&self, read: Read) -> Result<BoxStream<'static, Result<Frame, ReadError>>, ReadError> {
        let request = self.named(self.http.post(&self.url).json(&read));
        let body = sent(request, &self.url).await?.bytes_stream().boxed();
        let (url, warnings) = (self.url.clone(), self.warnings.clone());
        let state = (body, BytesMut::new(), url, warnings, false);
        let frames =
            stream::try_unfold(state, |(mut body, mut buffer, url, warnings, mut ended)| async move {
                loop {
                    if let Some(frame) = Frame::take(&mut buffer)? {
                        match frame.kind {
                            b'w' => {
                                let told: Vec<String> =
                                    serde_json::from_slice(&frame.body).unwrap_or_default();
                                warnings.lock().extend(told);
                            }
                            b'e' => {
                                return Err(ReadError::Io(String::from_utf8_lossy(&frame.body).into_owned()));
                            }
                            b't' => {
                                return Err(ReadError::TooMuch(
                                    String::from_utf8_lossy(&frame.body).into_owned(),
                                ));
                            }
                            b'z' => ended = true,
                            _ => return Ok(Some((frame, (body, buffer, url, warnings, ended)))),
                        }
                        continue;
                    }
                    match body.next().await {
                        Some(Ok(bytes)) => buffer.extend_from_slice(&bytes),
                        Some(Err(wrong)) => return Err(unreachable_at(&url, &wrong)),
                        None if ended => return Ok(None),
                        None => return Err(ReadError::Io(format!("the answer of {url} ended early"))),
                    }
                }
            });
        Ok(frames.boxed())
    }

    async fn json<T: DeserializeOwned>(&self, read: Read) -> Result<T, ReadError> {
        let frames: Vec<Frame> = self.frames(read).await?.try_collect().await?;
        let body = frames.first().map_or(&b"null"[..], |frame| &frame.body);
        serde_json::from_slice(body).map_err(|wrong| ReadError::Io(format!("a peer's answer: {wrong}")))
    }

    async fn listing(&self, read: Read) -> Result<Vec<listings::Row>, ReadError> {
        let mut rows = vec![];
        let mut batches = self.batches(read).await?;
        while let Some(batch) = batches.try_next().await? {
            listings::append(&mut rows, &batch)?;
        }
        Ok(rows)
    }

    async fn batches(&self, read: Read) -> Result<BatchStream, ReadError> {
        let frames = self.frames(read).await?;
        let batches = frames.map(|frame| match frame.and_then(|frame| frame.batches()) {
            Ok(batches) => batches.into_iter().map(Ok).collect(),
            Err(wrong) => vec![Err(wrong)],
        });
        Ok(batches.flat_map(stream::iter).boxed())
    }
}

#[async_trait::async_trait]
impl Snapshot for PeerSnapshot {
    async fn series(
        &self,
        select: &SeriesSelect,
        allowance: &dyn Allowance,
    ) -> Result<Vec<SeriesInfo>, ReadError> {
        let mut found: Vec<SeriesInfo> = vec![];
        let mut batches = self.batches(Read::Series { select: select.clone() }).await?;
        while let Some(batch) = batches.try_next().await? {
            let (mut rows, before) = (vec![], found.len());
            listings::append(&mut rows, &batch)?;
            let info = |(labels, first_ms, last_ms)| SeriesInfo { labels, first_ms, last_ms };
            found.extend(rows.into_iter().map(info));
            allowance.take(found[before..].iter().map(SeriesInfo::bytes).sum())?;
        }
        Ok(found)
    }

    async fn sample_blocks(&self, select: &SeriesSelect) -> Result<BlockStream, ReadError> {
        let batches = self.batches(Read::Samples { select: select.clone() }).await?;
        Ok(batches.map(|batch| samples::block(&batch?)).boxed())
    }

    async fn metadata(&self) -> Result<Vec<Metadata>, ReadError> {
        self.json(Read::Metadata).await
    }

    async fn exemplars(&self, select: &SeriesSelect) -> Result<Vec<Exemplar>, ReadError> {
        let rows: Vec<ExemplarRow> = self.json(Read::Exemplars { select: select.clone() }).await?;
        let exemplar =
            |(series, labels, ts_ms, bits)| Exemplar { series, labels, ts_ms, value: f64::from_bits(bits) };
        Ok(rows.into_iter().map(exemplar).collect())
    }

    async fn log_streams(&self, select: &LogSelect) -> Result<Vec<LogStreamInfo>, ReadError> {
        let rows = self.listing(Read::LogStreams { select: select.clone() }).await?;
        let number = |count: i64| u64::try_from(count).unwrap_or(0);
        let info = |(labels, records, bytes)| LogStreamInfo {
            labels,
            records: number(records),
            bytes: number(bytes),
        };
        Ok(rows.into_iter().map(info).collect())
    }

    async fn logs(&self, select: &LogSelect, columns: &LogColumns) -> Result<BatchStream, ReadError> {
        self.batches(Read::Logs { select: select.clone(), columns: columns.0.clone() }).await
    }

    async fn spans(&self, select: &SpanSelect, columns: &SpanColumns) -> Result<BatchStream, ReadError> {
        // The peer is asked for everything once.
        if select.share.is_some_and(|(at, _)| at > 0) {
            return Ok(stream::empty().boxed());
        }
        self.batches(Read::Spans { select: select.clone(), columns: columns.0.clone() }).await
    }

    fn warnings(&self) -> Vec<String> {
        self.warnings.lock().iter().cloned().collect()
    }
}
