//! The store's own snapshot: parts and memtables as they were when it was taken.

use crate::memory::Memtables;
use crate::metrics::{self, Run};
use crate::part::{Damaged, Part, Signal};
use crate::rows::head::Head as RowsHead;
use crate::rows::part::{PartStream, Select};
use crate::rows::{self, logs};
use crate::snapshot::{
    BatchStream, LogColumns, LogStreamInfo, ReadError, SampleBlock, SeriesInfo, Snapshot, Source, SpanColumns,
};
use crate::store::Store;
use arrow::array::{Array, AsArray, RecordBatch, StringArray};
use arrow::compute::filter_record_batch;
use arrow::datatypes::UInt32Type;
use futures::{StreamExt, stream};
use model::{Labels, LogSelect, Metadata, SeriesSelect, SpanSelect, Tenant};
use parking_lot::{Mutex, RwLock};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use tracing::error;

struct View {
    store: Store,
    tenant: Tenant,
    parts: [Vec<Arc<Part>>; 3],
    /// Oldest first; the last one is still written to, later records may show.
    memory: Vec<Arc<Memtables>>,
    damaged: Arc<Mutex<BTreeSet<String>>>,
}

#[async_trait::async_trait]
impl Source for Store {
    async fn snapshot(&self, tenant: &Tenant) -> Result<Arc<dyn Snapshot>, ReadError> {
        let state = self.state.read();
        let parts =
            Signal::ALL.map(|signal| state.parts.get(&(tenant.clone(), signal)).cloned().unwrap_or_default());
        let sealed = state.sealed.iter().filter_map(|sealed| sealed.tenants.get(tenant));
        let memory = sealed.chain(state.tenants.get(tenant)).cloned().collect();
        drop(state);
        Ok(Arc::new(View {
            store: self.clone(),
            tenant: tenant.clone(),
            parts,
            memory,
            damaged: Arc::default(),
        }))
    }
}

/// A damaged part is told and passed over: the rest is answered.
fn told(store: &Store, damaged: &Mutex<BTreeSet<String>>, wrong: &Damaged) {
    if damaged.lock().insert(format!("part {wrong} (its records are missing from this answer)")) {
        store.counts.damaged_parts.fetch_add(1, Ordering::Relaxed);
        error!(file = wrong.file, why = wrong.why, "a part cannot be read");
    }
}

impl View {
    fn parts(&self, signal: Signal) -> &[Arc<Part>] {
        match signal {
            Signal::Metrics => &self.parts[0],
            Signal::Logs => &self.parts[1],
            Signal::Spans => &self.parts[2],
        }
    }

    fn overlapping(&self, signal: Signal, range: model::TimeRange) -> impl Iterator<Item = &Arc<Part>> {
        self.parts(signal).iter().filter(move |part| range.overlaps(part.meta.first_ts, part.meta.last_ts))
    }

    /// The value, or nothing and a warning.
    fn or_told<T>(&self, read: Result<T, Damaged>) -> Option<T> {
        read.map_err(|wrong| told(&self.store, &self.damaged, &wrong)).ok()
    }

    fn rows(
        &self,
        signal: Signal,
        select: Select,
        columns: Vec<usize>,
        head: fn(&Memtables) -> &RwLock<RowsHead>,
    ) -> BatchStream {
        let mut in_memory = vec![];
        for memtables in &self.memory {
            for batch in head(memtables).read().batches() {
                let mask = select.mask(&batch);
                if mask.true_count() > 0 {
                    in_memory.push(project(&batch, &mask, &columns));
                }
            }
        }
        let range = match &select {
            Select::Logs(select) => select.range,
            Select::Spans(select) => select.range,
        };
        let parts: Vec<Arc<Part>> = self.overlapping(signal, range).cloned().collect();
        let (store, damaged) = (self.store.clone(), self.damaged.clone());
        let from_parts = stream::iter(parts).then(move |part| {
            let (select, columns, store, damaged) =
                (select.clone(), columns.clone(), store.clone(), damaged.clone());
            async move {
                let opened = rows::part::read(part, select, columns).await;
                let batches: PartStream = opened.unwrap_or_else(|wrong| stream::iter([Err(wrong)]).boxed());
                batches.filter_map(move |batch| {
                    let batch = batch.map_err(|wrong| told(&store, &damaged, &wrong)).ok();
                    futures::future::ready(batch.map(Ok))
                })
            }
        });
        stream::iter(in_memory).chain(from_parts.flatten()).boxed()
    }
}

fn project(
    batch: &RecordBatch,
    mask: &arrow::array::BooleanArray,
    columns: &[usize],
) -> Result<RecordBatch, ReadError> {
    let projected = batch.project(columns).and_then(|batch| {
        if mask.false_count() == 0 { Ok(batch) } else { filter_record_batch(&batch, mask) }
    });
    projected.map_err(|wrong| ReadError::Io(wrong.to_string()))
}

#[async_trait::async_trait]
impl Snapshot for View {
    async fn series(&self, select: &SeriesSelect) -> Result<Vec<SeriesInfo>, ReadError> {
        let mut found: Vec<SeriesInfo> = vec![];
        for part in self.overlapping(Signal::Metrics, select.range) {
            if let Some(index) = self.or_told(part.metrics_index().await) {
                found = join_series(found, index.series(select));
            }
        }
        for memtables in &self.memory {
            found = join_series(found, memtables.metrics.read().series(select));
        }
        Ok(found)
    }

    async fn samples(&self, select: &SeriesSelect) -> Result<SampleBlock, ReadError> {
        let mut sources: Vec<Vec<Run>> = vec![];
        for part in self.overlapping(Signal::Metrics, select.range) {
            sources.extend(self.or_told(metrics::part::read(part, select).await));
        }
        for memtables in &self.memory {
            sources.push(memtables.metrics.read().runs(select));
        }
        sources.retain(|source| !source.is_empty());
        Ok(metrics::merge::block(metrics::merge::runs(sources)))
    }

    async fn metadata(&self) -> Result<Vec<Metadata>, ReadError> {
        Ok(self.store.metadata.lock().of(&self.tenant))
    }

    async fn log_streams(&self, select: &LogSelect) -> Result<Vec<LogStreamInfo>, ReadError> {
        let mut streams: BTreeMap<Labels, (u64, u64)> = BTreeMap::new();
        let mut add = |info: LogStreamInfo| {
            let (records, bytes) = streams.entry(info.labels).or_default();
            *records += info.records;
            *bytes += info.bytes;
        };
        for part in self.overlapping(Signal::Logs, select.range) {
            if let Some(index) = self.or_told(part.rows_index().await) {
                index.streams(select).into_iter().for_each(&mut add);
            }
        }
        for memtables in &self.memory {
            for batch in memtables.logs.read().batches() {
                streams_of(&batch, select).into_iter().for_each(&mut add);
            }
        }
        Ok(streams
            .into_iter()
            .map(|(labels, (records, bytes))| LogStreamInfo { labels, records, bytes })
            .collect())
    }

    async fn logs(&self, select: &LogSelect, columns: &LogColumns) -> Result<BatchStream, ReadError> {
        Ok(self
            .rows(Signal::Logs, Select::Logs(select.clone()), columns.0.clone(), |memtables| &memtables.logs))
    }

    async fn spans(&self, select: &SpanSelect, columns: &SpanColumns) -> Result<BatchStream, ReadError> {
        Ok(self.rows(Signal::Spans, Select::Spans(select.clone()), columns.0.clone(), |memtables| {
            &memtables.spans
        }))
    }

    fn warnings(&self) -> Vec<String> {
        self.damaged.lock().iter().cloned().collect()
    }
}

/// Both are sorted by labels.
fn join_series(a: Vec<SeriesInfo>, b: Vec<SeriesInfo>) -> Vec<SeriesInfo> {
    if a.is_empty() {
        return b;
    }
    let mut out = Vec::with_capacity(a.len().max(b.len()));
    let (mut a, mut b) = (a.into_iter().peekable(), b.into_iter().peekable());
    loop {
        let order = match (a.peek(), b.peek()) {
            (Some(x), Some(y)) => metrics::merge::compare(&x.labels, &y.labels),
            (Some(_), None) => std::cmp::Ordering::Less,
            (None, Some(_)) => std::cmp::Ordering::Greater,
            (None, None) => return out,
        };
        match order {
            std::cmp::Ordering::Less => out.extend(a.next()),
            std::cmp::Ordering::Greater => out.extend(b.next()),
            std::cmp::Ordering::Equal => {
                if let (Some(mut x), Some(y)) = (a.next(), b.next()) {
                    x.first_ms = x.first_ms.min(y.first_ms);
                    x.last_ms = x.last_ms.max(y.last_ms);
                    out.push(x);
                }
            }
        }
    }
}

fn streams_of(batch: &RecordBatch, select: &LogSelect) -> Vec<LogStreamInfo> {
    // Only stream and time decide which streams there are; other conditions would need the bodies.
    let select = LogSelect { contains: vec![], trace_id: None, ..select.clone() };
    let mask = logs::mask(batch, &select);
    let (Some(stream), Some(body)) = (batch.column_by_name("stream"), batch.column_by_name("body")) else {
        return vec![];
    };
    let stream = stream.as_dictionary::<UInt32Type>();
    let bodies: &StringArray = body.as_string();
    let values = stream.values().as_binary::<i32>();
    let mut counts = vec![(0u64, 0u64); values.len()];
    for row in (0..batch.num_rows()).filter(|row| mask.value(*row)) {
        if let Some(key) = stream.key(row) {
            counts[key].0 += 1;
            counts[key].1 += bodies.value_length(row) as u64;
        }
    }
    counts
        .into_iter()
        .enumerate()
        .filter(|(_, (records, _))| *records > 0)
        .map(|(key, (records, bytes))| LogStreamInfo {
            labels: Labels::from_bytes(values.value(key)).unwrap_or_default(),
            records,
            bytes,
        })
        .collect()
}
