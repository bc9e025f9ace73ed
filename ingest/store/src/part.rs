//! A part: one file of data, most often Parquet, and one side index of one tenant, signal and day, written once and never changed.
//!
//! A part is named by its id in the catalog. Whoever reads holds it by `Arc`; a part that the catalog no longer lists
//! is deleted when the last holder is gone.

use crate::indexes::Indexes;
use crate::objects::Objects;
use crate::rows::spilled::Spilled;
use crate::spool::Contents;
use crate::{metrics, rows};
use bytes::Bytes;
use model::Tenant;
use object_store::path::Path;
use parquet::arrow::arrow_reader::ArrowReaderMetadata;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::sync::{Mutex, mpsc};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Signal {
    Metrics,
    Logs,
    Spans,
}

impl Signal {
    pub const ALL: [Signal; 3] = [Signal::Metrics, Signal::Logs, Signal::Spans];

    pub fn as_str(self) -> &'static str {
        match self {
            Signal::Metrics => "metrics",
            Signal::Logs => "logs",
            Signal::Spans => "spans",
        }
    }

    pub fn from_word(word: &str) -> Option<Signal> {
        Signal::ALL.into_iter().find(|signal| signal.as_str() == word)
    }

    /// Ticks of its times in a day: metrics count milliseconds, the others nanoseconds.
    pub fn day(self) -> i64 {
        match self {
            Signal::Metrics => 86_400_000,
            Signal::Logs | Signal::Spans => 86_400_000_000_000,
        }
    }
}

/// The level of a raw part, which is merged soon.
pub const RAW: i64 = -1;

/// What the catalog knows of a part.
#[derive(Clone, Debug, PartialEq)]
pub struct PartMeta {
    pub id: i64,
    pub tenant: Tenant,
    pub signal: Signal,
    /// Days since 1970; every record of the part is of this day.
    pub window: i64,
    /// 0 from a flush, then one more at each merge; [`RAW`] where the flush left the rows as they came.
    pub level: i64,
    /// Times of the first and last record, in the signal's unit.
    pub first_ts: i64,
    pub last_ts: i64,
    pub rows: i64,
    /// Of both files.
    pub bytes: i64,
    /// Of metrics, what it was downsampled to; 0 has every sample.
    pub interval_ms: i64,
}

/// A part's two files before they are stored.
pub struct PartFiles {
    pub data: Contents,
    pub index: Bytes,
    pub first_ts: i64,
    pub last_ts: i64,
    pub rows: usize,
    pub is_raw: bool,
}

impl PartMeta {
    pub fn is_raw(&self) -> bool {
        self.level == RAW
    }

    /// Whether its rows lie as they did in memory: [`rows::spilled`].
    pub fn is_spilled(&self) -> bool {
        self.is_raw() && self.signal == Signal::Spans
    }

    pub fn data_path(&self) -> Path {
        self.path(if self.is_spilled() { "arrows" } else { "parquet" })
    }

    pub fn index_path(&self) -> Path {
        self.path("idx")
    }

    fn path(&self, extension: &str) -> Path {
        let (tenant, signal) = (self.tenant.as_str(), self.signal.as_str());
        Path::from_iter([tenant, signal, &self.window.to_string(), &format!("{:012}.{extension}", self.id)])
    }
}

/// The id of the part whose file is named so, where it is a name of ours.
pub(crate) fn id_of(path: &Path) -> Option<i64> {
    let (id, _) = path.filename()?.split_once('.')?;
    let is_ours = id.len() == 12 && id.bytes().all(|byte| byte.is_ascii_digit());
    if is_ours { id.parse().ok() } else { None }
}

/// A part in use.
pub struct Part {
    pub meta: PartMeta,
    objects: Arc<Objects>,
    indexes: Arc<Indexes>,
    /// Held while the index is read, so that it is read once by all who ask at a time.
    reading: Mutex<()>,
    doomed: AtomicBool,
    janitor: mpsc::UnboundedSender<PartMeta>,
}

/// A side index.
#[derive(Clone)]
pub enum Index {
    Metrics(Arc<metrics::part::Index>),
    Rows(Arc<rows::part::Index>),
    Spilled(Arc<Spilled>),
}

/// Why a part cannot be read: names the file.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{file}: {why}")]
pub struct Damaged {
    pub file: String,
    pub why: String,
}

impl Part {
    pub fn new(
        meta: PartMeta,
        objects: Arc<Objects>,
        indexes: Arc<Indexes>,
        janitor: mpsc::UnboundedSender<PartMeta>,
    ) -> Arc<Part> {
        let (reading, doomed) = (Mutex::default(), AtomicBool::new(false));
        Arc::new(Part { meta, objects, indexes, reading, doomed, janitor })
    }

    /// Its files go when the last holder goes.
    pub fn doom(&self) {
        self.doomed.store(true, Ordering::Release);
    }

    pub fn objects(&self) -> &Arc<Objects> {
        &self.objects
    }

    pub fn damaged(&self, file: &Path, why: impl ToString) -> Damaged {
        Damaged { file: file.to_string(), why: why.to_string() }
    }

    pub async fn metrics_index(&self) -> Result<Arc<metrics::part::Index>, Damaged> {
        match self.index().await? {
            Index::Metrics(index) => Ok(index),
            _ => Err(self.damaged(&self.meta.index_path(), "it is no index of metrics")),
        }
    }

    /// The index where it is in memory.
    pub fn metrics_index_read(&self) -> Option<Arc<metrics::part::Index>> {
        match self.indexes.get(self.meta.id)? {
            Index::Metrics(index) => Some(index),
            _ => None,
        }
    }

    pub async fn rows_index(&self) -> Result<Arc<rows::part::Index>, Damaged> {
        match self.index().await? {
            Index::Rows(index) => Ok(index),
            _ => Err(self.damaged(&self.meta.index_path(), "it is no index of rows")),
        }
    }

    /// Of a part for which [`PartMeta::is_spilled`] holds.
    pub async fn spilled(&self) -> Result<Arc<Spilled>, Damaged> {
        match self.index().await? {
            Index::Spilled(spilled) => Ok(spilled),
            _ => Err(self.damaged(&self.meta.index_path(), "it is no index of spilled rows")),
        }
    }

    /// For who reads the whole part once: the one in memory, or one without what only searches need.
    pub async fn rows_index_to_merge(&self) -> Result<Arc<rows::part::Index>, Damaged> {
        if self.indexes.has(self.meta.id) {
            return self.rows_index().await;
        }
        let (bytes, metadata) = self.read_files().await?;
        let index = rows::part::Index::decode_to_merge(self.meta.signal, &bytes, metadata);
        index.map(Arc::new).map_err(|why| self.damaged(&self.meta.index_path(), why))
    }

    async fn index(&self) -> Result<Index, Damaged> {
        if let Some(index) = self.indexes.get(self.meta.id) {
            return Ok(index);
        }
        let _one = self.reading.lock().await;
        if let Some(index) = self.indexes.get(self.meta.id) {
            return Ok(index);
        }
        let (index, bytes) = self.read_index().await?;
        self.indexes.put(self.meta.id, index.clone(), bytes);
        Ok(index)
    }

    /// What lies before the blocks of traces; the last eight bytes say how long it is.
    async fn index_without_traces(&self, path: &Path) -> Result<Bytes, Damaged> {
        let (tail, size) = self.objects.tail(path, 8).await.map_err(|e| self.damaged(path, e))?;
        let length = <[u8; 8]>::try_from(&tail[..]).map_or(u64::MAX, u64::from_le_bytes);
        // What ends otherwise is of another version or damaged: whoever takes the whole apart says which.
        let head = 0..if length > size { size } else { length };
        let mut read = self.objects.ranges(path, vec![head]).await.map_err(|e| self.damaged(path, e))?;
        read.pop().ok_or_else(|| self.damaged(path, "nothing was read"))
    }

    async fn read_files(&self) -> Result<(Bytes, ArrowReaderMetadata), Damaged> {
        let path = self.meta.index_path();
        let bytes = match self.meta.signal {
            Signal::Spans => self.index_without_traces(&path).await?,
            Signal::Metrics | Signal::Logs => {
                self.objects.get(&path).await.map_err(|e| self.damaged(&path, e))?
            }
        };
        let metadata = self.objects.parquet_metadata(&self.meta.data_path()).await;
        Ok((bytes, metadata.map_err(|e| self.damaged(&self.meta.data_path(), e))?))
    }

    /// With about how many bytes of memory it takes.
    async fn read_index(&self) -> Result<(Index, usize), Damaged> {
        if self.meta.is_spilled() {
            let path = self.meta.index_path();
            let bytes = self.objects.get(&path).await.map_err(|e| self.damaged(&path, e))?;
            let spilled = Spilled::decode(&bytes).map_err(|why| self.damaged(&path, why))?;
            let bytes = spilled.bytes();
            return Ok((Index::Spilled(Arc::new(spilled)), bytes));
        }
        let (bytes, metadata) = self.read_files().await?;
        let of_metadata = metadata.metadata().memory_size();
        match self.meta.signal {
            Signal::Metrics => metrics::part::Index::decode(&bytes, metadata).map(|index| {
                let bytes = index.bytes() + of_metadata;
                (Index::Metrics(Arc::new(index)), bytes)
            }),
            Signal::Logs | Signal::Spans => rows::part::Index::decode(self.meta.signal, &bytes, metadata)
                .map(|index| {
                    let bytes = index.bytes() + of_metadata;
                    (Index::Rows(Arc::new(index)), bytes)
                }),
        }
        .map_err(|why| self.damaged(&self.meta.index_path(), why))
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        self.indexes.forget(self.meta.id);
        if self.doomed.load(Ordering::Acquire) {
            // After shutdown nobody listens; the file is an orphan then and goes at the next start.
            let _ = self.janitor.send(self.meta.clone());
        }
    }
}
