//! How data is read: one consistent picture of a tenant, whatever is flushed or merged meanwhile.
//!
//! The traits stand here so that the engine reads a local store and a remote one alike.

use arrow::array::RecordBatch;
use futures::stream::{BoxStream, TryStreamExt};
use model::{
    Exemplar, Labels, LogSelect, Metadata, SeriesSelect, SpanField, SpanSelect, Tenant, TimeRange, TraceId,
};
use std::collections::BTreeSet;
use std::sync::Arc;

pub use crate::rows::root_names::RootNames;
pub use crate::rows::trace_facts::Root;
pub use crate::rows::trace_roots::{RootSearch, RootShare, TraceRoots};

/// Hands out snapshots.
#[async_trait::async_trait]
pub trait Source: Send + Sync + 'static {
    /// Everything acknowledged before this call is in it.
    async fn snapshot(&self, tenant: &Tenant) -> Result<Arc<dyn Snapshot>, ReadError>;
}

/// Why a read ended.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    #[error("{0}")]
    Io(String),
    /// Past the memory or size bound of a read; the text names it.
    #[error("{0}")]
    TooMuch(String),
}

/// Who is asked before a list of series or of their labels grows.
pub trait Allowance: Send + Sync {
    /// # Errors
    /// [`ReadError::TooMuch`] where whoever reads may not hold so many bytes more.
    fn take(&self, bytes: usize) -> Result<(), ReadError>;

    /// So many bytes of what was taken are held no longer.
    fn give_back(&self, bytes: usize);
}

/// Allows everything: for readers whose lists are short by nature.
pub struct Unbounded;

impl Allowance for Unbounded {
    fn take(&self, _: usize) -> Result<(), ReadError> {
        Ok(())
    }

    fn give_back(&self, _: usize) {}
}

/// Column indices into [`crate::schema::LOGS`], ascending. Only these are read and handed out, in this order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogColumns(pub Vec<usize>);

/// Column indices into [`crate::schema::SPANS`], ascending. Only these are read and handed out, in this order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpanColumns(pub Vec<usize>);

impl LogColumns {
    pub fn all() -> Self {
        LogColumns((0..crate::schema::LOGS.fields().len()).collect())
    }

    /// By name; names that are no column are left out.
    pub fn named(names: &[&str]) -> Self {
        let mut columns: Vec<usize> =
            names.iter().filter_map(|name| crate::schema::LOGS.index_of(name).ok()).collect();
        columns.sort_unstable();
        columns.dedup();
        LogColumns(columns)
    }
}

impl SpanColumns {
    pub fn all() -> Self {
        SpanColumns((0..crate::schema::SPANS.fields().len()).collect())
    }

    /// By name; names that are no column are left out.
    pub fn named(names: &[&str]) -> Self {
        let mut columns: Vec<usize> =
            names.iter().filter_map(|name| crate::schema::SPANS.index_of(name).ok()).collect();
        columns.sort_unstable();
        columns.dedup();
        SpanColumns(columns)
    }
}

/// Of each row of a batch, whether it may be asked for.
type Passing = dyn Fn(&RecordBatch) -> Vec<bool> + Send + Sync;

/// What rules spans out by some of their columns, so that the others are read only of those that are left.
#[derive(Clone)]
pub struct SpanTest {
    pub columns: SpanColumns,
    /// Behind them, as [`SpanSelect::fields`] brings them.
    pub fields: Vec<SpanField>,
    /// Of each row of a batch of these, whether it may be wanted.
    pub passing: Arc<Passing>,
}

/// Names by which spans are asked for.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SpanNames {
    /// Of the spans themselves; `None` where there are too many to be handed out.
    pub operations: Option<BTreeSet<String>>,
    /// Of attributes of resources: all.
    pub of_resources: BTreeSet<String>,
    /// Of attributes of spans: those that many stored ones have.
    pub frequent: BTreeSet<String>,
}

/// Names of all attributes of some spans, none of which has two of one name.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct AttributeNames {
    pub of_spans: BTreeSet<String>,
    /// Whether scopes have any.
    pub scopes_have_some: bool,
}

/// What is known of a trace without its spans. Its times are whole milliseconds that hold it.
#[derive(Clone, Debug, PartialEq)]
pub struct TraceFact {
    pub id: TraceId,
    pub start_ms: i64,
    pub end_ms: i64,
    /// A span that was sent twice may count twice.
    pub spans: u32,
    /// Its number is one of [`TraceFacts::roots`].
    pub root: Root,
}

/// Of some traces, each once; which ones a slice has is not told.
pub struct TraceFacts {
    /// Service and name.
    pub roots: RootNames,
    pub slices: BoxStream<'static, Vec<TraceFact>>,
}

/// One series that exists.
#[derive(Clone, Debug, PartialEq)]
pub struct SeriesInfo {
    pub labels: Labels,
    /// Milliseconds of its first and last sample that the snapshot holds (may reach beyond the asked range).
    pub first_ms: i64,
    pub last_ms: i64,
}

/// What labels or a text of a set take beside their own bytes: counts of references, a place in a tree.
const OVERHEAD: usize = 32;

impl SeriesInfo {
    /// What it takes in memory, about.
    pub fn bytes(&self) -> usize {
        size_of::<SeriesInfo>() + OVERHEAD + self.labels.as_bytes().len()
    }
}

/// Series that are listed before an allowance is asked again: a megabyte of them.
pub(crate) const SERIES_TAKEN_AT_ONCE: usize = 4096;

pub(crate) fn bytes_of_series(series: &[SeriesInfo]) -> usize {
    series.iter().map(SeriesInfo::bytes).sum()
}

/// What a set takes in memory, about.
pub(crate) fn bytes_of_texts(texts: &BTreeSet<String>) -> usize {
    texts.iter().map(|text| size_of::<String>() + OVERHEAD + text.len()).sum()
}

/// One log stream that exists.
#[derive(Clone, Debug, PartialEq)]
pub struct LogStreamInfo {
    pub labels: Labels,
    /// Records and bytes of their bodies in the asked range; exact for whole parts, an estimate at its edges.
    pub records: u64,
    pub bytes: u64,
}

/// Samples by series, in flat arrays: series `i` owns `offsets[i]..offsets[i + 1]` of both. Series are sorted by
/// [`Labels`]' order; within one, times strictly ascend.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SampleBlock {
    pub labels: Vec<Labels>,
    /// One longer than `labels`; starts with 0.
    pub offsets: Vec<usize>,
    pub ts_ms: Vec<i64>,
    pub values: Vec<f64>,
}

impl SampleBlock {
    /// Adds a series after those that are there.
    pub fn push(&mut self, labels: Labels, ts_ms: &[i64], values: &[f64]) {
        if self.offsets.is_empty() {
            self.offsets.push(0);
        }
        self.labels.push(labels);
        self.ts_ms.extend_from_slice(ts_ms);
        self.values.extend_from_slice(values);
        self.offsets.push(self.ts_ms.len());
    }

    /// Adds the series of another block after those that are there.
    pub fn append(&mut self, later: SampleBlock) {
        if self.labels.is_empty() {
            *self = later;
            return;
        }
        let before = self.ts_ms.len();
        self.labels.extend(later.labels);
        self.offsets.extend(later.offsets.iter().skip(1).map(|end| before + end));
        self.ts_ms.extend(later.ts_ms);
        self.values.extend(later.values);
    }

    /// Labels, times and values of each series.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&Labels, &[i64], &[f64])> {
        self.labels.iter().enumerate().map(|(i, labels)| {
            let range = self.offsets[i]..self.offsets[i + 1];
            (labels, &self.ts_ms[range.clone()], &self.values[range])
        })
    }
}

pub type BlockStream = BoxStream<'static, Result<SampleBlock, ReadError>>;

pub type BatchStream = BoxStream<'static, Result<RecordBatch, ReadError>>;

/// One consistent picture of one tenant's data. Files it names are not deleted before it is dropped.
#[async_trait::async_trait]
pub trait Snapshot: Send + Sync {
    /// Series that pass the matchers and have a sample in the range (judged by part and series bounds), each once,
    /// sorted by labels. What the list takes in the end stays taken from the allowance.
    async fn series(
        &self,
        select: &SeriesSelect,
        allowance: &dyn Allowance,
    ) -> Result<Vec<SeriesInfo>, ReadError>;

    /// Whether it is known, with nothing read, that no more than so many series pass, each counted once a part.
    fn selects_at_most(&self, _select: &SeriesSelect, _series: usize) -> bool {
        false
    }

    /// Names of labels that such series have; what they take stays taken from the allowance.
    async fn label_names(
        &self,
        select: &SeriesSelect,
        allowance: &dyn Allowance,
    ) -> Result<BTreeSet<String>, ReadError> {
        let series = self.series(select, allowance).await?;
        Ok(series.iter().flat_map(|one| one.labels.iter()).map(|(name, _)| name.to_owned()).collect())
    }

    /// Values that a label has in such series; what they take stays taken from the allowance.
    async fn label_values(
        &self,
        name: &str,
        select: &SeriesSelect,
        allowance: &dyn Allowance,
    ) -> Result<BTreeSet<String>, ReadError> {
        let series = self.series(select, allowance).await?;
        Ok(series.iter().filter_map(|one| one.labels.get(name)).map(str::to_owned).collect())
    }

    /// Their samples in the range, duplicates of one time removed (the one written last stands), stale markers
    /// included. The blocks follow one another in the order of labels; a series is whole in one of them.
    async fn sample_blocks(&self, select: &SeriesSelect) -> Result<BlockStream, ReadError>;

    /// As [`sample_blocks`](Self::sample_blocks), in one.
    async fn samples(&self, select: &SeriesSelect) -> Result<SampleBlock, ReadError> {
        let mut whole = SampleBlock { offsets: vec![0], ..SampleBlock::default() };
        let mut blocks = self.sample_blocks(select).await?;
        while let Some(block) = blocks.try_next().await? {
            whole.append(block);
        }
        Ok(whole)
    }

    /// What is known of metrics, by name.
    async fn metadata(&self) -> Result<Vec<Metadata>, ReadError>;

    /// Exemplars of such series in the range, by series in their order, then by time. The newest that are kept at the
    /// time of the call, whatever was when the snapshot was taken.
    async fn exemplars(&self, select: &SeriesSelect) -> Result<Vec<Exemplar>, ReadError>;

    /// Streams that pass the matchers and have records in the range.
    async fn log_streams(&self, select: &LogSelect) -> Result<Vec<LogStreamInfo>, ReadError>;

    /// Records of [`crate::schema::LOGS`] projected to `columns`. All that the selection wants are among them. With a
    /// `limit`, no record may be missing that is among the first `limit` in its direction.
    async fn logs(&self, select: &LogSelect, columns: &LogColumns) -> Result<BatchStream, ReadError>;

    /// Spans of [`crate::schema::SPANS`] projected to `columns`. All that the selection wants are among them.
    async fn spans(&self, select: &SpanSelect, columns: &SpanColumns) -> Result<BatchStream, ReadError>;

    /// As [`spans`](Self::spans). Those that do not pass the test may be left out; some of them come all the same.
    async fn spans_passing(
        &self,
        select: &SpanSelect,
        columns: &SpanColumns,
        _test: &SpanTest,
    ) -> Result<BatchStream, ReadError> {
        self.spans(select, columns).await
    }

    /// Names that spans have which start in the range, and maybe others; `None` where only the spans tell.
    async fn span_names(&self, _range: TimeRange) -> Result<Option<SpanNames>, ReadError> {
        Ok(None)
    }

    /// Names of attributes of all spans that start in the range, and maybe of others. `None` where names do not tell everything: a
    /// span has two attributes of one name, or there are too many names.
    async fn attribute_names(&self, _range: TimeRange) -> Result<Option<AttributeNames>, ReadError> {
        Ok(None)
    }

    /// What is known, without reading spans, of all traces of which some start in the range, and maybe of others: one, counted
    /// from 0, of so many shares. Of each it is what is known of all of its spans that are stored with any of these. `None` where
    /// only the spans tell.
    async fn trace_facts(
        &self,
        _range: TimeRange,
        _share: (usize, usize),
    ) -> Result<Option<TraceFacts>, ReadError> {
        Ok(None)
    }

    /// As [`spans`](Self::spans), with the roots of their traces for [`SpanField::Root`], which must be those of this snapshot.
    async fn spans_rooted(
        &self,
        select: &SpanSelect,
        columns: &SpanColumns,
        _roots: &Arc<TraceRoots>,
    ) -> Result<BatchStream, ReadError> {
        self.spans(select, columns).await
    }

    /// What finds the roots of all traces of which some spans start in the range, and maybe of others, without reading spans.
    /// `reach` is the time in which all spans of such traces start; `without` are service and name that a trace without a root is
    /// said to have. `None` where only the spans tell.
    async fn root_search(
        &self,
        _range: TimeRange,
        _reach: TimeRange,
        _without: (&str, &str),
    ) -> Result<Option<RootSearch>, ReadError> {
        Ok(None)
    }

    /// What could not be read so far, one sentence each: damaged or missing parts. Answers that used this snapshot
    /// are partial when it is not empty.
    fn warnings(&self) -> Vec<String>;
}
