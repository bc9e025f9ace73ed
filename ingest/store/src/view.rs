//! The store's own snapshot: parts and memtables as they were when it was taken.

use crate::log_deletions::{Hidden, LogDeletion};
use crate::memory::Memtables;
use crate::metrics;
use crate::metrics::merge::{Left, Source as Runs, Tell};
use crate::part::{Damaged, Part, Signal};
use crate::rows::attribute_names::Found;
use crate::rows::groups::{Group, GroupColumns};
use crate::rows::head::Head as RowsHead;
use crate::rows::part::{PartStream, Select};
use crate::rows::trace_facts::Memory;
use crate::rows::{self, logs, stored};
use crate::snapshot::{
    Allowance, AttributeNames, BatchStream, BlockStream, LogColumns, LogStreamInfo, ReadError, RootSearch,
    SeriesInfo, Snapshot, Source, SpanColumns, SpanNames, SpanTest, TraceFacts, TraceRoots, bytes_of_series,
    bytes_of_texts,
};
use crate::store::Store;
use crate::tombstones::{Covers, Tombstone};
use arrow::array::{Array, AsArray, RecordBatch, StringArray};
use arrow::compute::filter_record_batch;
use arrow::datatypes::UInt32Type;
use futures::{StreamExt, TryStreamExt, stream};
use model::{Exemplar, Labels, LogSelect, Metadata, SeriesSelect, SpanSelect, Tenant};
use parking_lot::{Mutex, RwLock};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use tracing::error;

/// Names of spans that are handed out; more are as many as there are requests.
const OPERATIONS_MAX: usize = 50_000;

struct View {
    store: Store,
    tenant: Tenant,
    parts: [Vec<Arc<Part>>; 3],
    /// Oldest first; the last one is still written to, later records may show.
    memory: Vec<Arc<Memtables>>,
    tombstones: Vec<Arc<Tombstone>>,
    log_deletions: Vec<Arc<LogDeletion>>,
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
        let tombstones = state.tombstones.get(tenant).cloned().unwrap_or_default();
        let of_logs = state.log_deletions.get(tenant).into_iter().flatten();
        let log_deletions = of_logs.filter(|deletion| !deletion.processed).cloned().collect();
        drop(state);
        Ok(Arc::new(View {
            store: self.clone(),
            tenant: tenant.clone(),
            parts,
            memory,
            tombstones,
            log_deletions,
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
        let overlaps = move |part: &&Arc<Part>| range.overlaps(part.meta.first_ts, part.meta.last_ts);
        self.parts(signal).iter().filter(|part| !part.meta.is_spilled()).filter(overlaps)
    }

    /// Parts of spans that lie as they did in memory.
    fn spilled(&self, range: model::TimeRange) -> impl Iterator<Item = &Arc<Part>> {
        let overlaps = move |part: &&Arc<Part>| range.overlaps(part.meta.first_ts, part.meta.last_ts);
        self.parts(Signal::Spans).iter().filter(|part| part.meta.is_spilled()).filter(overlaps)
    }

    /// What tells of traces in memory, and of spans that lie as they did there.
    async fn spans_in_memory(&self, range: model::TimeRange) -> Memory {
        let mut memory = Memory::new();
        for tables in &self.memory {
            let (groups, batches) = taken(Signal::Spans, &tables.spans.read());
            memory.push((Arc::new(groups), batches));
        }
        for part in self.spilled(range) {
            let Some(spilled) = self.or_told(part.spilled().await) else { continue };
            let rows = rows::spilled::read_columns(part.clone(), &spilled, rows::trace_facts::COLUMNS);
            let batches = rows.filter_map(|batch| futures::future::ready(self.or_told(batch))).collect();
            memory.push((spilled.groups.clone(), batches.await));
        }
        memory
    }

    fn covers(&self, part: &Part) -> Covers {
        Covers::of(&self.tombstones, &part.meta)
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
        test: Option<SpanTest>,
        head: fn(&Memtables) -> &RwLock<RowsHead>,
    ) -> BatchStream {
        let mut in_memory = vec![];
        let memory = if select.is_first_share() { &self.memory[..] } else { &[] };
        for memtables in memory {
            let (groups, batches) = taken(signal, &head(memtables).read());
            for batch in batches {
                let mask = select.mask(&batch, &groups);
                if mask.true_count() > 0 {
                    let published = stored::project(&select, &groups, &batch, &mask, &columns);
                    in_memory.push(published.map_err(|wrong| ReadError::Io(wrong.to_string())));
                }
            }
        }
        let range = select.range();
        let mut parts: Vec<Arc<Part>> = self.overlapping(signal, range).cloned().collect();
        if signal == Signal::Spans && select.is_first_share() {
            parts.extend(self.spilled(range).cloned());
        }
        let (store, damaged) = (self.store.clone(), self.damaged.clone());
        let deletions = self.log_deletions.clone();
        let from_parts = stream::iter(parts).then(move |part| {
            let (select, columns, test) = (select.clone(), columns.clone(), test.clone());
            let (store, damaged) = (store.clone(), damaged.clone());
            let hidden = Hidden::by(&deletions, &part.meta);
            async move {
                let opened = match hidden.is_nothing() {
                    true if part.meta.is_spilled() => {
                        let spilled = part.spilled().await;
                        spilled.map(|spilled| rows::spilled::read(part, spilled, select, columns))
                    }
                    true => rows::part::read(part, select, columns, test).await,
                    false => read_shown(part, select, columns, hidden).await,
                };
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

/// As [`rows::part::read`], without what is hidden.
async fn read_shown(
    part: Arc<Part>,
    select: Select,
    columns: Vec<usize>,
    hidden: Hidden,
) -> Result<PartStream, Damaged> {
    // The first rows may be hidden, so any may be among the first that show; and judges look at whole bodies.
    let select = match select {
        Select::Logs(select) => {
            Select::Logs(LogSelect { limit: None, json_labels: vec![], json_values: vec![], ..select })
        }
        other => other,
    };
    let mut with_judged = [columns.clone(), hidden.columns().0].concat();
    with_judged.sort_unstable();
    with_judged.dedup();
    let asked: Vec<usize> =
        columns.iter().map(|column| with_judged.partition_point(|other| other < column)).collect();
    let path = part.meta.data_path();
    let rows = rows::part::read(part.clone(), select, with_judged, None).await?;
    let shown = move |batch: RecordBatch| {
        let kept = hidden.kept(&batch)?;
        filter_record_batch(&batch.project(&asked)?, &kept)
    };
    Ok(rows
        .map(move |batch| batch.and_then(|batch| shown(batch).map_err(|wrong| part.damaged(&path, wrong))))
        .boxed())
}

/// Streams of a part some of whose rows are hidden: those that nothing can hide from as its index has them, the others
/// counted row by row.
async fn streams_shown(
    part: &Arc<Part>,
    select: &LogSelect,
    hidden: Hidden,
) -> Result<Vec<LogStreamInfo>, Damaged> {
    let index = part.rows_index().await?;
    let touched = |labels: &Labels| hidden.deletions.iter().any(|deletion| deletion.matches(labels));
    let (counted, whole): (Vec<_>, Vec<_>) =
        index.streams(select).into_iter().partition(|stream| touched(&stream.labels));
    if counted.is_empty() {
        return Ok(whole);
    }
    let columns = LogColumns::named(&["body", "stream"]).0;
    let rows = select.of_streams();
    let mut rows = read_shown(part.clone(), Select::Logs(rows), columns, hidden.clone()).await?;
    let mut found: BTreeMap<Labels, (u64, u64)> = BTreeMap::new();
    while let Some(batch) = rows.try_next().await? {
        let damaged = |why: String| part.damaged(&part.meta.data_path(), why);
        let bodies = batch.column(0).as_string::<i32>();
        let streams = batch.column(1).as_dictionary::<UInt32Type>();
        let labels = streams.values().as_binary::<i32>();
        let mut counts = vec![(0u64, 0u64); labels.len()];
        for (row, key) in streams.keys().values().iter().enumerate() {
            counts[*key as usize].0 += 1;
            counts[*key as usize].1 += bodies.value_length(row) as u64;
        }
        for (at, (records, bytes)) in counts.into_iter().enumerate().filter(|(_, (records, _))| *records > 0)
        {
            let labels = Labels::from_bytes(labels.value(at)).map_err(|wrong| damaged(wrong.to_string()))?;
            if touched(&labels) {
                let of_stream = found.entry(labels).or_default();
                *of_stream = (of_stream.0 + records, of_stream.1 + bytes);
            }
        }
    }
    let counted =
        found.into_iter().map(|(labels, (records, bytes))| LogStreamInfo { labels, records, bytes });
    Ok(whole.into_iter().chain(counted).collect())
}

fn taken(signal: Signal, head: &RowsHead) -> (GroupColumns, Vec<RecordBatch>) {
    (head.groups(signal), head.batches())
}

#[async_trait::async_trait]
impl Snapshot for View {
    async fn series(
        &self,
        select: &SeriesSelect,
        allowance: &dyn Allowance,
    ) -> Result<Vec<SeriesInfo>, ReadError> {
        let mut found: Vec<SeriesInfo> = vec![];
        for part in self.overlapping(Signal::Metrics, select.range) {
            if let Some(index) = self.or_told(part.metrics_index().await) {
                let of_part =
                    left_of(index.series(select, allowance)?, &self.covers(part), select, allowance);
                found = join_series(found, of_part, allowance);
            }
        }
        for memtables in &self.memory {
            let of_memory = memtables.metrics.read().series(select, allowance)?;
            found = join_series(found, of_memory, allowance);
        }
        Ok(found)
    }

    async fn label_names(
        &self,
        select: &SeriesSelect,
        allowance: &dyn Allowance,
    ) -> Result<BTreeSet<String>, ReadError> {
        let mut names = Texts::of(allowance);
        for part in self.overlapping(Signal::Metrics, select.range) {
            let Some(index) = self.or_told(part.metrics_index().await) else { continue };
            let covers = self.covers(part);
            if covers.is_empty() {
                names.grow(|names| index.label_names(select, names))?;
            } else {
                let left = left_of(index.series(select, allowance)?, &covers, select, allowance);
                let named =
                    left.iter().flat_map(|series| series.labels.iter()).map(|(name, _)| name.to_owned());
                names.grow(|names| names.extend(named))?;
                allowance.give_back(bytes_of_series(&left));
            }
        }
        for memtables in &self.memory {
            names.grow(|names| memtables.metrics.read().label_names(select, names))?;
        }
        Ok(names.found)
    }

    async fn label_values(
        &self,
        name: &str,
        select: &SeriesSelect,
        allowance: &dyn Allowance,
    ) -> Result<BTreeSet<String>, ReadError> {
        let mut values = Texts::of(allowance);
        for part in self.overlapping(Signal::Metrics, select.range) {
            let Some(index) = self.or_told(part.metrics_index().await) else { continue };
            let covers = self.covers(part);
            if covers.is_empty() {
                values.grow(|values| index.label_values(name, select, values))?;
            } else {
                let left = left_of(index.series(select, allowance)?, &covers, select, allowance);
                let of_name = left.iter().filter_map(|series| series.labels.get(name)).map(str::to_owned);
                values.grow(|values| values.extend(of_name))?;
                allowance.give_back(bytes_of_series(&left));
            }
        }
        for memtables in &self.memory {
            values.grow(|values| memtables.metrics.read().label_values(name, select, values))?;
        }
        Ok(values.found)
    }

    fn selects_at_most(&self, select: &SeriesSelect, series: usize) -> bool {
        let mut left = series;
        let mut fit = |more: usize| match left.checked_sub(more) {
            Some(less) => {
                left = less;
                true
            }
            None => false,
        };
        self.overlapping(Signal::Metrics, select.range)
            .all(|part| part.metrics_index_read().is_some_and(|index| fit(index.select(select).len())))
            && self.memory.iter().all(|memtables| fit(memtables.metrics.read().count_of(&select.matchers)))
    }

    async fn sample_blocks(&self, select: &SeriesSelect) -> Result<BlockStream, ReadError> {
        let (store, damaged) = (self.store.clone(), self.damaged.clone());
        let tell: Tell = Arc::new(move |wrong| told(&store, &damaged, wrong));
        let mut sources = vec![];
        for part in self.overlapping(Signal::Metrics, select.range) {
            let left = self.or_told(Left::of(part, self.covers(part), select).await);
            sources.extend(left.map(|left| Runs::Shown(left, tell.clone())));
        }
        for memtables in &self.memory {
            let mut chosen = memtables.metrics.read().choose(select);
            if !chosen.is_empty() {
                let memtables = memtables.clone();
                let next = move || memtables.metrics.read().next_run(&mut chosen);
                sources.push(Runs::Memory(Box::new(std::iter::from_fn(next))));
            }
        }
        metrics::merge::blocks(sources).await.map_err(|wrong| ReadError::Io(wrong.to_string()))
    }

    async fn metadata(&self) -> Result<Vec<Metadata>, ReadError> {
        Ok(self.store.metadata.lock().of(&self.tenant))
    }

    async fn exemplars(&self, select: &SeriesSelect) -> Result<Vec<Exemplar>, ReadError> {
        Ok(self.store.exemplars.lock().select(&self.tenant, select))
    }

    async fn log_streams(&self, select: &LogSelect) -> Result<Vec<LogStreamInfo>, ReadError> {
        let mut streams: BTreeMap<Labels, (u64, u64)> = BTreeMap::new();
        let mut add = |info: LogStreamInfo| {
            let (records, bytes) = streams.entry(info.labels).or_default();
            *records += info.records;
            *bytes += info.bytes;
        };
        for part in self.overlapping(Signal::Logs, select.range) {
            let hidden = Hidden::by(&self.log_deletions, &part.meta);
            let streams = match hidden.is_nothing() {
                true => part.rows_index().await.map(|index| index.streams(select)),
                false => streams_shown(part, select, hidden).await,
            };
            self.or_told(streams).into_iter().flatten().for_each(&mut add);
        }
        for memtables in &self.memory {
            let (groups, batches) = taken(Signal::Logs, &memtables.logs.read());
            for batch in batches {
                streams_of(&batch, &groups, select).into_iter().for_each(&mut add);
            }
        }
        Ok(streams
            .into_iter()
            .map(|(labels, (records, bytes))| LogStreamInfo { labels, records, bytes })
            .collect())
    }

    async fn logs(&self, select: &LogSelect, columns: &LogColumns) -> Result<BatchStream, ReadError> {
        let select = Select::Logs(select.clone());
        Ok(self.rows(Signal::Logs, select, columns.0.clone(), None, |memtables| &memtables.logs))
    }

    async fn spans(&self, select: &SpanSelect, columns: &SpanColumns) -> Result<BatchStream, ReadError> {
        let select = Select::Spans(select.clone(), None);
        Ok(self.rows(Signal::Spans, select, columns.0.clone(), None, |memtables| &memtables.spans))
    }

    async fn spans_passing(
        &self,
        select: &SpanSelect,
        columns: &SpanColumns,
        test: &SpanTest,
    ) -> Result<BatchStream, ReadError> {
        let (select, test) = (Select::Spans(select.clone(), None), Some(test.clone()));
        Ok(self.rows(Signal::Spans, select, columns.0.clone(), test, |memtables| &memtables.spans))
    }

    async fn spans_rooted(
        &self,
        select: &SpanSelect,
        columns: &SpanColumns,
        roots: &Arc<TraceRoots>,
    ) -> Result<BatchStream, ReadError> {
        let select = Select::Spans(select.clone(), Some(roots.clone()));
        Ok(self.rows(Signal::Spans, select, columns.0.clone(), None, |memtables| &memtables.spans))
    }

    async fn root_search(
        &self,
        range: model::TimeRange,
        reach: model::TimeRange,
        without: (&str, &str),
    ) -> Result<Option<RootSearch>, ReadError> {
        let parts = self.overlapping(Signal::Spans, reach).cloned().collect();
        let memory = self.spans_in_memory(reach).await;
        let (store, damaged) = (self.store.clone(), self.damaged.clone());
        let told = move |wrong: &Damaged| told(&store, &damaged, wrong);
        Ok(RootSearch::of(parts, memory, (range, without), told).await)
    }

    async fn span_names(&self, range: model::TimeRange) -> Result<Option<SpanNames>, ReadError> {
        let mut found = SpanNames { operations: Some(BTreeSet::new()), ..SpanNames::default() };
        let mut runs = 0;
        for part in self.overlapping(Signal::Spans, range) {
            let Some(index) = self.or_told(part.rows_index().await) else { continue };
            found.frequent.extend(index.frequent_attributes().map(str::to_owned));
            found.add_resources(index.groups.groups());
            runs += index.runs.len();
            if runs > OPERATIONS_MAX {
                found.operations = None;
            }
            found.add_operations(index.runs.iter().map(|run| run.name.as_str()));
        }
        for part in self.spilled(range) {
            let Some(spilled) = self.or_told(part.spilled().await) else { continue };
            found.add_resources(spilled.groups.groups());
            found.add_operations(spilled.runs.iter().map(|run| run.name.as_str()));
        }
        for tables in &self.memory {
            let (groups, batches) = taken(Signal::Spans, &tables.spans.read());
            found.add_resources(groups.groups());
            for batch in batches {
                let names = batch.column_by_name("name").and_then(|n| n.as_dictionary_opt::<UInt32Type>());
                let words = names.and_then(|names| names.values().as_string_opt::<i32>());
                found.add_operations(words.into_iter().flat_map(|words| words.iter().flatten()));
            }
        }
        Ok(Some(found))
    }

    async fn attribute_names(&self, range: model::TimeRange) -> Result<Option<AttributeNames>, ReadError> {
        let mut found = Found::default();
        for tables in &self.memory {
            let groups = tables.spans.read().groups(Signal::Spans);
            found.add_groups(groups.groups());
            groups.shapes().iter().for_each(|shape| found.add_shape(shape));
        }
        for part in self.spilled(range) {
            let Some(spilled) = self.or_told(part.spilled().await) else { continue };
            found.add_groups(spilled.groups.groups());
            spilled.groups.shapes().iter().for_each(|shape| found.add_shape(shape));
        }
        for part in self.overlapping(Signal::Spans, range) {
            if !found.is_decided() {
                self.or_told(found.add_part(part).await);
            }
        }
        Ok(found.names())
    }

    async fn trace_facts(
        &self,
        range: model::TimeRange,
        share: (usize, usize),
    ) -> Result<Option<TraceFacts>, ReadError> {
        let parts = self.overlapping(Signal::Spans, range).cloned().collect();
        let memory = self.spans_in_memory(range).await;
        let (store, damaged) = (self.store.clone(), self.damaged.clone());
        rows::trace_facts::read(parts, memory, share, move |wrong| told(&store, &damaged, wrong)).await
    }

    fn warnings(&self) -> Vec<String> {
        self.damaged.lock().iter().cloned().collect()
    }
}

impl SpanNames {
    fn add_resources(&mut self, groups: &[Arc<Group>]) {
        for (name, ..) in groups.iter().flat_map(|group| group.resource.iter()) {
            if !self.of_resources.contains(name) {
                self.of_resources.insert(name.to_owned());
            }
        }
    }

    fn add_operations<'a>(&mut self, names: impl Iterator<Item = &'a str>) {
        let Some(operations) = &mut self.operations else { return };
        for name in names {
            if !operations.contains(name) {
                operations.insert(name.to_owned());
            }
        }
        if operations.len() > OPERATIONS_MAX {
            self.operations = None;
        }
    }
}

/// Texts that are found piece by piece, and what they take of an allowance.
struct Texts<'a> {
    found: BTreeSet<String>,
    taken: usize,
    allowance: &'a dyn Allowance,
}

impl<'a> Texts<'a> {
    fn of(allowance: &'a dyn Allowance) -> Texts<'a> {
        Texts { found: BTreeSet::new(), taken: 0, allowance }
    }

    /// What one part adds is no more than its dictionary, which is in memory already.
    fn grow(&mut self, add: impl FnOnce(&mut BTreeSet<String>)) -> Result<(), ReadError> {
        add(&mut self.found);
        let bytes = bytes_of_texts(&self.found);
        self.allowance.take(bytes - self.taken)?;
        self.taken = bytes;
        Ok(())
    }
}

/// Series of a part of which something is left in the range; what the others took is given back.
fn left_of(
    series: Vec<SeriesInfo>,
    covers: &Covers,
    select: &SeriesSelect,
    allowance: &dyn Allowance,
) -> Vec<SeriesInfo> {
    if covers.is_empty() {
        return series;
    }
    let before = bytes_of_series(&series);
    let left = series.into_iter().filter_map(|series| covers.left_of(series));
    let left: Vec<SeriesInfo> =
        left.filter(|series| select.range.overlaps(series.first_ms, series.last_ms)).collect();
    allowance.give_back(before - bytes_of_series(&left));
    left
}

/// Both are sorted by labels; what those in both took twice is given back.
fn join_series(a: Vec<SeriesInfo>, b: Vec<SeriesInfo>, allowance: &dyn Allowance) -> Vec<SeriesInfo> {
    if a.is_empty() {
        return b;
    }
    let mut twice = 0;
    let mut out = Vec::with_capacity(a.len().max(b.len()));
    let (mut a, mut b) = (a.into_iter().peekable(), b.into_iter().peekable());
    loop {
        let order = match (a.peek(), b.peek()) {
            (Some(x), Some(y)) => metrics::merge::compare(&x.labels, &y.labels),
            (Some(_), None) => std::cmp::Ordering::Less,
            (None, Some(_)) => std::cmp::Ordering::Greater,
            (None, None) => {
                allowance.give_back(twice);
                return out;
            }
        };
        match order {
            std::cmp::Ordering::Less => out.extend(a.next()),
            std::cmp::Ordering::Greater => out.extend(b.next()),
            std::cmp::Ordering::Equal => {
                if let (Some(mut x), Some(y)) = (a.next(), b.next()) {
                    twice += y.bytes();
                    x.first_ms = x.first_ms.min(y.first_ms);
                    x.last_ms = x.last_ms.max(y.last_ms);
                    out.push(x);
                }
            }
        }
    }
}

fn streams_of(batch: &RecordBatch, groups: &GroupColumns, select: &LogSelect) -> Vec<LogStreamInfo> {
    // Only stream and time decide which streams there are; other conditions would need the bodies.
    let select = select.of_streams();
    let mask = logs::mask(batch, groups, &select);
    let (Ok(numbers), Some(body)) = (stored::numbers(batch), batch.column_by_name("body")) else {
        return vec![];
    };
    let bodies: &StringArray = body.as_string();
    let mut counts = vec![(0u64, 0u64); groups.groups().len()];
    for row in (0..batch.num_rows()).filter(|row| mask.value(*row)) {
        let (records, bytes) = &mut counts[numbers.value(row) as usize];
        *records += 1;
        *bytes += bodies.value_length(row) as u64;
    }
    let found = counts.into_iter().zip(groups.groups()).filter(|((records, _), _)| *records > 0);
    found
        .map(|((records, bytes), group)| LogStreamInfo { labels: group.labels.clone(), records, bytes })
        .collect()
}
