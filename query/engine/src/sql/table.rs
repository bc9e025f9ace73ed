//! `metrics`, `histograms`, `series`, `logs` and `spans` as DataFusion tables over a snapshot.

use super::columns::{append_labels, label_map_builder, sql_field};
use super::log_scan::{self, LogScan};
use super::span_scan::{self, SpanScan};
use super::{histograms, pushdown};
use crate::logql::Operator;
use crate::room::Room;
use crate::{Limits, QueryError};
use arrow::array::{
    ArrayRef, Float64Builder, RecordBatch, RecordBatchOptions, StringBuilder, TimestampNanosecondBuilder,
    UInt64Builder,
};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::error::ArrowError;
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::{DataFusionError, Result};
use datafusion::execution::TaskContext;
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown, TableType};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::streaming::{PartitionStream, StreamingTableExec};
use datafusion::physical_plan::{ExecutionPlan, SendableRecordBatchStream};
use futures::{StreamExt, TryStreamExt, stream};
use model::{
    COMPONENT, Labels, METRIC_NAME, Match, Matcher, SeriesSelect, Tenant, component_of, without_component,
};
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, LazyLock};
use store::{ReadError, SampleBlock, SeriesInfo, Snapshot, Source};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TableKind {
    Metrics,
    Histograms,
    Series,
    Logs,
    Spans,
}

static METRICS: LazyLock<SchemaRef> = LazyLock::new(|| {
    Arc::new(Schema::new(vec![
        Field::new("ts", store::schema::timestamp(), false),
        Field::new("name", DataType::Utf8, false),
        Field::new("value", DataType::Float64, false),
        Field::new("labels", store::schema::text_map(), false),
    ]))
});

static SERIES: LazyLock<SchemaRef> = LazyLock::new(|| {
    Arc::new(Schema::new(vec![
        Field::new("id", DataType::UInt64, false),
        Field::new("name", DataType::Utf8, false),
        Field::new("labels", store::schema::text_map(), false),
        Field::new("first_ts", store::schema::timestamp(), false),
        Field::new("last_ts", store::schema::timestamp(), false),
    ]))
});

/// SQL's columns of a snapshot table, and which snapshot column each is.
fn shown(schema: &SchemaRef) -> (SchemaRef, Vec<usize>) {
    let (fields, from): (Vec<Field>, Vec<usize>) =
        schema.fields().iter().enumerate().filter_map(|(i, field)| Some((sql_field(field)?, i))).unzip();
    (Arc::new(Schema::new(fields)), from)
}

pub(super) static LOGS: LazyLock<(SchemaRef, Vec<usize>)> = LazyLock::new(|| shown(&store::schema::LOGS));
pub(super) static SPANS: LazyLock<(SchemaRef, Vec<usize>)> = LazyLock::new(|| shown(&store::schema::SPANS));

impl TableKind {
    pub const ALL: [TableKind; 5] =
        [TableKind::Metrics, TableKind::Histograms, TableKind::Series, TableKind::Logs, TableKind::Spans];

    pub fn name(self) -> &'static str {
        match self {
            TableKind::Metrics => "metrics",
            TableKind::Histograms => "histograms",
            TableKind::Series => "series",
            TableKind::Logs => "logs",
            TableKind::Spans => "spans",
        }
    }

    fn schema(self) -> SchemaRef {
        match self {
            TableKind::Metrics => METRICS.clone(),
            TableKind::Histograms => histograms::SCHEMA.clone(),
            TableKind::Series => SERIES.clone(),
            TableKind::Logs => LOGS.0.clone(),
            TableKind::Spans => SPANS.0.clone(),
        }
    }
}

/// All scans of a statement read the same one.
pub type Snapshots = Arc<StatementSnapshot>;

/// The snapshot that a session's present statement reads: taken by its first scan, given back when it ends, so that an
/// idle session keeps no file from being deleted.
pub struct StatementSnapshot {
    source: Arc<dyn Source>,
    tenant: Tenant,
    taken: Mutex<Option<Arc<dyn Snapshot>>>,
    /// What its functions said beside their rows.
    told: Mutex<Vec<String>>,
}

impl StatementSnapshot {
    pub(super) fn new(source: Arc<dyn Source>, tenant: Tenant) -> Arc<StatementSnapshot> {
        let (taken, told) = (Mutex::new(None), Mutex::new(vec![]));
        Arc::new(StatementSnapshot { source, tenant, taken, told })
    }

    pub(super) async fn take(&self) -> Result<Arc<dyn Snapshot>, ReadError> {
        if let Some(taken) = self.taken.lock().clone() {
            return Ok(taken);
        }
        let fresh = self.source.snapshot(&self.tenant).await?;
        // Of scans that start together, the first one's stands.
        Ok(self.taken.lock().get_or_insert(fresh).clone())
    }

    pub(super) fn tell(&self, warnings: Vec<String>) {
        self.told.lock().extend(warnings);
    }

    /// What the statement could not read so far, and what its functions said beside their rows; each once.
    pub fn warnings(&self) -> Vec<String> {
        let mut warnings = self.taken.lock().as_ref().map_or(vec![], |taken| taken.warnings());
        for told in self.told.lock().iter() {
            if !warnings.contains(told) {
                warnings.push(told.clone());
            }
        }
        warnings
    }

    /// The statement is over, or another begins.
    pub fn release(&self) {
        self.taken.lock().take();
        self.told.lock().clear();
    }
}

pub struct SnapshotTable {
    kind: TableKind,
    snapshots: Snapshots,
    limits: Limits,
}

impl SnapshotTable {
    pub fn new(kind: TableKind, snapshots: Snapshots, limits: Limits) -> SnapshotTable {
        SnapshotTable { kind, snapshots, limits }
    }
}

impl fmt::Debug for SnapshotTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SnapshotTable({})", self.kind.name())
    }
}

#[async_trait]
impl TableProvider for SnapshotTable {
    fn schema(&self) -> SchemaRef {
        self.kind.schema()
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> Result<Vec<TableProviderFilterPushDown>> {
        let judged = |filter: &&Expr| match self.kind {
            TableKind::Logs if pushdown::is_judged_by_scan(filter) => TableProviderFilterPushDown::Exact,
            TableKind::Spans if pushdown::attribute(filter).is_some() => TableProviderFilterPushDown::Exact,
            _ => TableProviderFilterPushDown::Inexact,
        };
        Ok(filters.iter().map(judged).collect())
    }

    async fn scan(
        &self,
        _: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let all = self.schema();
        let columns = projection.cloned().unwrap_or_else(|| (0..all.fields().len()).collect());
        let schema = Arc::new(all.project(&columns)?);
        let want = match self.kind {
            TableKind::Metrics => Want::Samples(pushdown::series_select(filters)),
            TableKind::Histograms => Want::Histograms(pushdown::series_select(filters)),
            TableKind::Series => Want::Series(pushdown::series_select(filters)),
            TableKind::Logs => {
                let scan = LogScan {
                    schema,
                    outputs: columns.into_iter().map(log_scan::Output::Column).collect(),
                    select: pushdown::log_select(filters, limit),
                    snapshots: self.snapshots.clone(),
                };
                return Ok(Operator::plan(scan, vec![]));
            }
            TableKind::Spans => {
                let scan = SpanScan {
                    schema,
                    outputs: columns.into_iter().map(span_scan::Output::Column).collect(),
                    select: pushdown::span_select(filters),
                    judged: filters.iter().filter_map(pushdown::attribute).collect(),
                    snapshots: self.snapshots.clone(),
                };
                return Ok(Operator::plan(scan, vec![]));
            }
        };
        let scan = Scan {
            schema: schema.clone(),
            columns,
            want,
            snapshots: self.snapshots.clone(),
            limits: self.limits.clone(),
        };
        Ok(Arc::new(StreamingTableExec::try_new(schema, vec![Arc::new(scan)], None, vec![], false, limit)?))
    }
}

#[derive(Clone)]
enum Want {
    Samples(SeriesSelect),
    Histograms(SeriesSelect),
    Series(SeriesSelect),
}

/// One scan: opened when it is polled, so that a plan that is only explained reads nothing.
#[derive(Clone)]
struct Scan {
    schema: SchemaRef,
    columns: Vec<usize>,
    want: Want,
    snapshots: Snapshots,
    limits: Limits,
}

impl fmt::Debug for Scan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Want::Samples(select) | Want::Histograms(select) | Want::Series(select)) = &self.want;
        write!(f, "{select:?}")
    }
}

impl PartitionStream for Scan {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, context: Arc<TaskContext>) -> SendableRecordBatchStream {
        let scan = self.clone();
        let room = Room::of("the series of an SQL statement", context.memory_pool());
        let opened = stream::once(async move { scan.open(room).await }).try_flatten();
        Box::pin(RecordBatchStreamAdapter::new(self.schema.clone(), opened))
    }
}

type Batches = stream::BoxStream<'static, Result<RecordBatch>>;

pub(super) fn external(error: ReadError) -> DataFusionError {
    DataFusionError::External(Box::new(QueryError::from(error)))
}

impl Scan {
    async fn open(self, room: Room) -> Result<Batches> {
        let snapshot = self.snapshots.take().await.map_err(external)?;
        match self.want.clone() {
            Want::Samples(select) => self.samples(snapshot, select, &room).await,
            Want::Histograms(select) => self.histograms(snapshot, select, &room).await,
            Want::Series(select) => self.series(snapshot, select, room).await,
        }
    }

    /// Metric by metric when there are many series, so that what is held at once stays small.
    async fn samples(
        self,
        snapshot: Arc<dyn Snapshot>,
        mut select: SeriesSelect,
        room: &Room,
    ) -> Result<Batches> {
        // The parts that histograms are stored as are no samples to whoever asks.
        select.matchers.push(Matcher::equal(COMPONENT, ""));
        let scan = Arc::new(self);
        let blocks = scan.clone().blocks(snapshot, select, room).await?;
        let batches = blocks.map_ok(move |block| {
            stream::iter(SampleBatches { scan: scan.clone(), block, series: 0, sample: 0 })
        });
        Ok(batches.try_flatten().boxed())
    }

    async fn histograms(
        self,
        snapshot: Arc<dyn Snapshot>,
        mut select: SeriesSelect,
        room: &Room,
    ) -> Result<Batches> {
        let is_part = Matcher::new(COMPONENT, Match::NotEqual, "")
            .map_err(|wrong| DataFusionError::Internal(wrong.to_string()))?;
        select.matchers.push(is_part);
        let scan = Arc::new(self);
        let blocks = scan.clone().blocks(snapshot, select, room).await?;
        let batches = blocks.map(move |block| {
            let (columns, rows) = histograms::columns(&block?)?;
            Ok(scan.project(&columns, rows)?)
        });
        Ok(batches.boxed())
    }

    /// What is selected: all at once, or metric by metric.
    async fn blocks(
        self: Arc<Self>,
        snapshot: Arc<dyn Snapshot>,
        select: SeriesSelect,
        room: &Room,
    ) -> Result<stream::BoxStream<'static, Result<SampleBlock>>> {
        let series = snapshot.series(&select, room).await.map_err(external)?;
        let mut selects = vec![select.clone()];
        if series.len() > SERIES_AT_ONCE_MAX {
            let mut names: Vec<&str> = series.iter().map(|info| info.labels.metric_name()).collect();
            names.sort_unstable();
            names.dedup();
            selects = names
                .into_iter()
                .map(|name| {
                    let mut narrower = select.clone();
                    narrower.matchers.push(Matcher::equal(METRIC_NAME, name));
                    narrower
                })
                .collect();
        }
        let blocks = stream::iter(selects).then(move |select| {
            let (snapshot, scan) = (snapshot.clone(), self.clone());
            async move {
                let block = snapshot.samples(&select).await.map_err(external)?;
                if block.ts_ms.len() > scan.limits.samples_max {
                    let text = format!(
                        "one metric alone has more than {} samples in the range (query.samples_max); narrow ts or labels",
                        scan.limits.samples_max
                    );
                    return Err(DataFusionError::External(Box::new(QueryError::TooMuch(text))));
                }
                Ok::<_, DataFusionError>(block)
            }
        });
        Ok(blocks.boxed())
    }

    async fn series(self, snapshot: Arc<dyn Snapshot>, select: SeriesSelect, room: Room) -> Result<Batches> {
        let series = whole(snapshot.series(&select, &room).await.map_err(external)?);
        let mut from = 0;
        let batches = std::iter::from_fn(move || {
            let _until_the_last_is_made = &room;
            let piece = &series[from..series.len().min(from + BATCH_ROWS)];
            from += piece.len();
            (!piece.is_empty()).then(|| self.series_batch(piece))
        });
        Ok(stream::iter(batches).boxed())
    }

    fn series_batch(&self, series: &[SeriesInfo]) -> Result<RecordBatch> {
        let (mut ids, mut names, mut labels) =
            (UInt64Builder::new(), StringBuilder::new(), label_map_builder());
        let (mut first, mut last) = (timestamps(), timestamps());
        for info in series {
            ids.append_value(info.labels.fingerprint());
            names.append_value(info.labels.metric_name());
            append_labels(&mut labels, &info.labels)?;
            first.append_value(info.first_ms.saturating_mul(1_000_000));
            last.append_value(info.last_ms.saturating_mul(1_000_000));
        }
        let all: Vec<ArrayRef> = vec![
            Arc::new(ids.finish()),
            Arc::new(names.finish()),
            Arc::new(labels.finish()),
            Arc::new(first.finish()),
            Arc::new(last.finish()),
        ];
        Ok(self.project(&all, series.len())?)
    }

    fn project(&self, all: &[ArrayRef], rows: usize) -> Result<RecordBatch, ArrowError> {
        let columns = self.columns.iter().map(|&column| all[column].clone()).collect();
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        RecordBatch::try_new_with_options(self.schema.clone(), columns, &options)
    }
}

/// A histogram is one series, whatever it is stored as.
fn whole(series: Vec<SeriesInfo>) -> Vec<SeriesInfo> {
    if series.iter().all(|info| component_of(&info.labels).is_none()) {
        return series;
    }
    let mut whole: BTreeMap<Labels, SeriesInfo> = BTreeMap::new();
    for info in series {
        let labels = without_component(&info.labels);
        let known = whole.entry(labels.clone()).or_insert(SeriesInfo { labels, ..info });
        known.first_ms = known.first_ms.min(info.first_ms);
        known.last_ms = known.last_ms.max(info.last_ms);
    }
    whole.into_values().collect()
}

/// Series above which samples are read metric by metric.
const SERIES_AT_ONCE_MAX: usize = 20_000;

/// Rows of a batch, DataFusion's own default.
const BATCH_ROWS: usize = 8_192;

fn timestamps() -> TimestampNanosecondBuilder {
    TimestampNanosecondBuilder::new().with_timezone("UTC")
}

/// Cuts a block into batches; only the asked columns are built.
struct SampleBatches {
    scan: Arc<Scan>,
    block: SampleBlock,
    series: usize,
    /// Next sample, counted over the whole block.
    sample: usize,
}

impl Iterator for SampleBatches {
    type Item = Result<RecordBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        let start = self.sample;
        let end = (start + BATCH_ROWS).min(self.block.ts_ms.len());
        if start == end {
            return None;
        }
        self.sample = end;
        Some(self.batch(start, end).map_err(Into::into))
    }
}

impl SampleBatches {
    fn batch(&mut self, start: usize, end: usize) -> Result<RecordBatch, ArrowError> {
        let columns = self.scan.columns.clone();
        let first_series = self.series;
        let built: Vec<ArrayRef> = columns
            .iter()
            .map(|&column| self.column(column, first_series, start, end))
            .collect::<Result<_, ArrowError>>()?;
        while self.block.offsets.get(self.series + 1).is_some_and(|&next| next <= end) {
            self.series += 1;
        }
        let options = RecordBatchOptions::new().with_row_count(Some(end - start));
        RecordBatch::try_new_with_options(self.scan.schema.clone(), built, &options)
    }

    fn column(&self, column: usize, series: usize, start: usize, end: usize) -> Result<ArrayRef, ArrowError> {
        Ok(match column {
            0 => {
                let mut out = timestamps();
                for ts_ms in &self.block.ts_ms[start..end] {
                    out.append_value(ts_ms.saturating_mul(1_000_000));
                }
                Arc::new(out.finish())
            }
            1 => {
                let mut out = StringBuilder::new();
                self.by_series(series, start, end, |labels| {
                    out.append_value(labels.metric_name());
                    Ok(())
                })?;
                Arc::new(out.finish())
            }
            2 => {
                let mut out = Float64Builder::with_capacity(end - start);
                out.append_slice(&self.block.values[start..end]);
                Arc::new(out.finish())
            }
            _ => {
                let mut out = label_map_builder();
                self.by_series(series, start, end, |labels| append_labels(&mut out, labels))?;
                Arc::new(out.finish())
            }
        })
    }

    /// Calls `each` with the labels of every sample of `start..end`, the first of which is in `series` or after it.
    fn by_series(
        &self,
        mut series: usize,
        start: usize,
        end: usize,
        mut each: impl FnMut(&Labels) -> Result<(), ArrowError>,
    ) -> Result<(), ArrowError> {
        for sample in start..end {
            while self.block.offsets[series + 1] <= sample {
                series += 1;
            }
            each(&self.block.labels[series])?;
        }
        Ok(())
    }
}
