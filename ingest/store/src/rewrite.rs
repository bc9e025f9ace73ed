//! From memory to parts, from small parts to large ones, from old parts to nothing. Each is: write files, commit the
//! catalog in one transaction, then change what readers see.

use crate::catalog::Commit;
use crate::config::Rewrite;
use crate::delete_logs;
use crate::log_deletions::{Hidden, LogDeletion, Periods};
use crate::memory::{Memtables, Sealed};
use crate::metrics;
use crate::part::{Part, PartFiles, PartMeta, RAW, Signal};
use crate::rows::part::WordBounds;
use crate::rows::{self, order::Ranked};
use crate::spool::{Contents, Spool};
use crate::store::{Parts, Report, Store};
use crate::tombstones::Covers;
use anyhow::Context;
use futures::FutureExt;
use model::Tenant;
use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::sync::MutexGuard;
use tracing::{debug, warn};

/// Parts of one level of one day that are merged to one of the next.
const MERGE_PARTS: usize = 6;

/// Raw parts of one day that are merged at once: 1.4 million lines of some 300 bytes, which take a search 0.4 CPU seconds,
/// or half a million spans.
pub(crate) fn raw_parts(signal: Signal) -> usize {
    if signal == Signal::Spans { 12 } else { 24 }
}

/// How long fewer wait for others.
pub(crate) const RAW_WAIT_MAX: Duration = Duration::from_secs(10);

/// Bytes of the parts of one merge: a metrics part's file is in memory until it is stored, and a log part's side index is while
/// it is made.
const MERGE_BYTES_MAX: i64 = 128 << 20;

/// A part of logs of so many bytes, a million lines, is not merged any more: all of its lines would be taken apart again, and to ask
/// five such parts for a needle costs half a millisecond more than one.
const GROWN_BYTES: i64 = 32 << 20;

/// Of the memory for memtables, one part in so many may be series that stay known over a flush.
const REGISTRY_SHARE: usize = 8;

/// Tells the end however it comes.
struct Told(fn(Rewrite));

impl Told {
    fn by(tell: fn(Rewrite)) -> Told {
        tell(Rewrite::Begins);
        Told(tell)
    }
}

impl Drop for Told {
    fn drop(&mut self) {
        (self.0)(Rewrite::Ended);
    }
}

/// A part before it is committed.
pub(crate) struct NewPart {
    pub meta: PartMeta,
}

impl Report {
    pub(crate) fn add(&mut self, part: Option<&NewPart>) {
        if let Some(part) = part {
            self.parts += 1;
            self.rows += part.meta.rows as usize;
            self.bytes += part.meta.bytes as usize;
        }
    }
}

impl Store {
    /// Everything that is in memory becomes committed parts.
    pub async fn flush(&self) -> anyhow::Result<Report> {
        self.flush_and_hold().await.map(|(report, _)| report)
    }

    /// As [`flush`](Self::flush); nothing else is flushed while what it returns is held.
    pub(crate) async fn flush_and_hold(&self) -> anyhow::Result<(Report, MutexGuard<'_, ()>)> {
        let one = self.flushing.lock().await;
        let report = {
            let _told = Told::by(self.config.on_rewrite);
            self.seal().await?;
            self.write_out().await?
        };
        if self.has_raw_parts(|_| 1) {
            self.raw_written.notify_one();
        }
        Ok((report, one))
    }

    /// While the log is read at the start: what was read becomes parts. Nobody writes yet; the records before `covered`
    /// are those in memory.
    pub(crate) async fn flush_replayed(&self, covered: u64) -> anyhow::Result<Report> {
        let _one = self.flushing.lock().await;
        let _told = Told::by(self.config.on_rewrite);
        self.seal_up_to(covered);
        self.write_out().await
    }

    /// Sealed memtables to parts, the oldest first.
    async fn write_out(&self) -> anyhow::Result<Report> {
        let mut report = Report::default();
        loop {
            let Some(sealed) = self.state.read().sealed.first().cloned() else { return Ok(report) };
            let new = self.write_sealed(&sealed).await?;
            let added: Vec<PartMeta> = new.iter().map(|part| part.meta.clone()).collect();
            let metadata = self.metadata.lock().unsaved();
            let exemplars = self.exemplars.lock().changes();
            let (senders, senders_gone) = self.senders.unsaved(self.clock.now_ms());
            let commit = Commit {
                added: added.clone(),
                covered: Some(sealed.covered),
                senders,
                senders_gone,
                metadata,
                exemplars,
                ..Commit::default()
            };
            self.catalog.commit(&commit).await.context("committing parts")?;
            self.senders.saved(&commit.senders, &commit.senders_gone);
            self.metadata.lock().saved(commit.metadata.len());
            self.exemplars.lock().saved(&commit.exemplars);
            self.publish(added, &[], true, vec![]);
            self.memory_freed(&sealed);
            self.wal.truncate_before(sealed.covered).context("giving back log space")?;
            self.counts.flushes.fetch_add(1, Ordering::Relaxed);
            new.iter().for_each(|part| report.add(Some(part)));
        }
    }

    /// From here on records go to new memtables; those that are sealed hold exactly what is before a WAL position.
    async fn seal(&self) -> anyhow::Result<()> {
        let _gate = self.gate.write().await;
        if self.state.read().tenants.values().all(|tables| tables.is_empty()) {
            return Ok(());
        }
        // The log's space is given back by whole segments: later records must not keep these alive.
        self.wal.begin_segment().await.context("beginning a log segment")?;
        self.seal_up_to(self.wal.next_seq());
        // Whoever asked this far has it. Another flush at once would make a part of the little that comes meanwhile, with an
        // index of its own.
        let _ = self.flush_now.notified().now_or_never();
        Ok(())
    }

    fn seal_up_to(&self, covered: u64) {
        let mut state = self.state.write();
        let tenants = std::mem::take(&mut state.tenants);
        let registry_bytes_max = self.config.memory_bytes_max / REGISTRY_SHARE;
        let next = |tables: &Arc<Memtables>| tables.next(registry_bytes_max).map(Arc::new);
        state.tenants =
            tenants.iter().filter_map(|(tenant, tables)| Some((tenant.clone(), next(tables)?))).collect();
        self.unsealed_bytes.store(0, Ordering::Relaxed);
        state.sealed.push(Arc::new(Sealed { tenants, covered }));
    }

    async fn write_sealed(&self, sealed: &Arc<Sealed>) -> anyhow::Result<Vec<NewPart>> {
        let mut new = vec![];
        for (tenant, tables) in &sealed.tenants {
            for signal in Signal::ALL {
                let tables = tables.clone();
                let (tell, words) = (self.config.on_rewrite, self.config.words);
                let raw_from = self.config.raw_from_bytes;
                let files = tokio::task::spawn_blocking(move || {
                    let files = files_of(&tables, signal, words, raw_from);
                    tell(Rewrite::Computed);
                    files
                });
                let files = files.await??;
                for (window, files) in files {
                    let level = if files.is_raw { RAW } else { 0 };
                    let id = self.new_id();
                    new.push(self.store_files(id, tenant, signal, window, (level, 0), files).await?);
                }
            }
        }
        Ok(new)
    }

    /// Of a part; the later one's samples stand where two have the same.
    fn new_id(&self) -> i64 {
        self.next_part.fetch_add(1, Ordering::Relaxed)
    }

    async fn store_files(
        &self,
        id: i64,
        tenant: &Tenant,
        signal: Signal,
        window: i64,
        (level, interval_ms): (i64, i64),
        files: PartFiles,
    ) -> anyhow::Result<NewPart> {
        let meta = PartMeta {
            interval_ms,
            id,
            tenant: tenant.clone(),
            signal,
            window,
            level,
            first_ts: files.first_ts,
            last_ts: files.last_ts,
            rows: files.rows as i64,
            bytes: files.data.len() as i64 + files.index.len() as i64,
        };
        self.objects.put(&meta.data_path(), files.data).await.context("writing a part")?;
        let index = Contents::Memory(files.index);
        self.objects.put(&meta.index_path(), index).await.context("writing a part's index")?;
        Ok(NewPart { meta })
    }

    /// What readers see changes in one step.
    fn publish(
        &self,
        added: Vec<PartMeta>,
        removed: &[i64],
        sealed_done: bool,
        deletions: Vec<(Tenant, Arc<LogDeletion>)>,
    ) {
        let mut state = self.state.write();
        let mut parts: HashMap<_, _> = (*state.parts).clone();
        let removed: BTreeSet<i64> = removed.iter().copied().collect();
        for list in parts.values_mut() {
            list.retain(|part: &Arc<Part>| {
                let stays = !removed.contains(&part.meta.id);
                if !stays {
                    part.doom();
                }
                stays
            });
        }
        for meta in added {
            let key = (meta.tenant.clone(), meta.signal);
            let list = parts.entry(key).or_default();
            list.push(Part::new(meta, self.objects.clone(), self.indexes.clone(), self.janitor.clone()));
        }
        state.parts = Arc::new(parts);
        if !deletions.is_empty() {
            let mut changed = (*state.log_deletions).clone();
            delete_logs::replace(&mut changed, deletions);
            state.log_deletions = Arc::new(changed);
        }
        if sealed_done {
            state.sealed.remove(0);
        }
    }

    /// Whether some day of some tenant has as many as its signal needs.
    pub(crate) fn has_raw_parts(&self, parts: impl Fn(Signal) -> usize) -> bool {
        let all = self.state.read().parts.clone();
        all.iter().any(|((_, signal), list)| {
            let mut of_days: BTreeMap<i64, usize> = BTreeMap::new();
            let raw = list.iter().filter(|part| part.meta.is_raw());
            raw.for_each(|part| *of_days.entry(part.meta.window).or_default() += 1);
            of_days.into_values().any(|of_day| of_day >= parts(*signal))
        })
    }

    /// Merges raw parts, each day's to one.
    pub(crate) async fn merge_raw(&self) -> anyhow::Result<Report> {
        self.merge(|parts| parts.iter().filter(|part| part.meta.is_raw()).cloned().collect()).await
    }

    /// Merges that are due: several parts of one level in one day.
    pub(crate) async fn merge_small(&self) -> anyhow::Result<Report> {
        self.merge(|parts| {
            let mut by_level: BTreeMap<i64, Vec<Arc<Part>>> = BTreeMap::new();
            let indexed = parts.iter().filter(|part| !part.meta.is_raw());
            indexed.for_each(|part| by_level.entry(part.meta.level).or_default().push(part.clone()));
            by_level.into_values().find(|level| level.len() >= MERGE_PARTS).unwrap_or_default()
        })
        .await
    }

    /// All merges that can be done: each day's parts become as few as the memory bound allows, but for grown ones.
    pub async fn compact(&self) -> anyhow::Result<Report> {
        let mut report = self.carry_out_log_deletions().await?;
        let merged = self.merge(|parts| parts.to_vec()).await?;
        report.parts += merged.parts;
        report.rows += merged.rows;
        report.bytes += merged.bytes;
        Ok(report)
    }

    /// Merges what `choose` picks of a day's parts, until it picks fewer than two and none that is raw.
    async fn merge(&self, choose: impl Fn(&[Arc<Part>]) -> Vec<Arc<Part>>) -> anyhow::Result<Report> {
        let mut report = Report::default();
        let mut given_up: BTreeSet<i64> = BTreeSet::new();
        loop {
            let _one = self.rewriting.lock().await;
            let (parts, deletions): (Parts, _) = {
                let state = self.state.read();
                (state.parts.clone(), state.log_deletions.clone())
            };
            // What a deletion covers stays apart from what it does not, until it is carried out.
            let covered_by = |part: &Part| -> Vec<i64> {
                let of_tenant = deletions.get(&part.meta.tenant).into_iter().flatten();
                of_tenant.filter(|known| known.concerns(&part.meta)).map(|known| known.id).collect()
            };
            let chosen = parts.values().find_map(|list| {
                let mut by_day: BTreeMap<(i64, Vec<i64>), Vec<Arc<Part>>> = BTreeMap::new();
                for part in list.iter().filter(|part| !given_up.contains(&part.meta.id) && !is_grown(part)) {
                    by_day.entry((part.meta.window, covered_by(part))).or_default().push(part.clone());
                }
                let is_worth_it = |chosen: &Vec<Arc<Part>>| {
                    chosen.len() > 1 || chosen.iter().any(|part| part.meta.is_raw())
                };
                by_day.into_values().map(|day| bounded(choose(&day))).find(is_worth_it)
            });
            drop(parts);
            let Some(chosen) = chosen else { return Ok(report) };
            let _told = Told::by(self.config.on_rewrite);
            let level = chosen.iter().map(|part| part.meta.level).max().unwrap_or(0).max(0) + 1;
            match self.merge_parts(&chosen, level).await {
                Ok(part) => report.add(part.as_ref()),
                Err(wrong) => {
                    warn!(error = format!("{wrong:#}"), "parts are left unmerged");
                    given_up.extend(chosen.iter().map(|part| part.meta.id));
                }
            }
        }
    }

    /// One part in place of several; none where all they have is deleted.
    pub(crate) async fn merge_parts(
        &self,
        parts: &[Arc<Part>],
        level: i64,
    ) -> anyhow::Result<Option<NewPart>> {
        // Of parts that were not all downsampled, the new one was not.
        let interval_ms = parts.iter().map(|part| part.meta.interval_ms).min().unwrap_or(0);
        self.rewrite(parts, level, interval_ms).await
    }

    /// The part with one sample an interval in its place. Returns the samples that are left.
    pub(crate) async fn thin_part(&self, part: &Arc<Part>, interval_ms: i64) -> anyhow::Result<usize> {
        let _told = Told::by(self.config.on_rewrite);
        let new = self.rewrite(std::slice::from_ref(part), part.meta.level, interval_ms).await?;
        Ok(new.map_or(0, |part| part.meta.rows as usize))
    }

    async fn rewrite(
        &self,
        parts: &[Arc<Part>],
        level: i64,
        interval_ms: i64,
    ) -> anyhow::Result<Option<NewPart>> {
        let first = &parts[0].meta;
        let (signal, window) = (first.signal, first.window);
        // Of what is flushed meanwhile it is older.
        let id = self.new_id();
        let (tombstones, deletions) = {
            let state = self.state.read();
            let tombstones = state.tombstones.get(&first.tenant).cloned().unwrap_or_default();
            (tombstones, state.log_deletions.get(&first.tenant).cloned().unwrap_or_default())
        };
        // Those that may be taken back leave their lines where they are.
        let (due, waiting): (Vec<_>, Vec<_>) = deletions
            .into_iter()
            .filter(|deletion| parts.iter().any(|part| deletion.concerns(&part.meta)))
            .partition(|deletion| self.is_due(deletion));
        let periods = self.periods();
        let (sources, words) = (parts.to_vec(), self.config.words);
        let merge = async move {
            match signal {
                Signal::Metrics => {
                    let covered = |part: Arc<Part>| (part.clone(), Covers::of(&tombstones, &part.meta));
                    let thinned_to = (interval_ms > 0).then_some(interval_ms);
                    let sources: Vec<_> = sources.into_iter().map(covered).collect();
                    metrics::merge::merge(&sources, thinned_to).await
                }
                Signal::Logs => {
                    let hidden = |part: Arc<Part>| {
                        let hidden = Hidden { periods: periods.clone(), ..Hidden::by(&due, &part.meta) };
                        (part, hidden)
                    };
                    rows::merge::merge(signal, sources.into_iter().map(hidden).collect(), words).await
                }
                Signal::Spans => {
                    let whole = sources.into_iter().map(|part| (part, Hidden::default()));
                    rows::merge::merge(signal, whole.collect(), words).await
                }
            }
        };
        // Decoding and encoding are long; the few reads in between wait on this thread.
        let (runtime, tell) = (tokio::runtime::Handle::current(), self.config.on_rewrite);
        let files = tokio::task::spawn_blocking(move || {
            let files = runtime.block_on(merge);
            tell(Rewrite::Computed);
            files
        });
        let files = files.await??;
        let tenant = first.tenant.clone();
        let new = match files {
            Some(files) => {
                Some(self.store_files(id, &tenant, signal, window, (level.max(0), interval_ms), files).await?)
            }
            None => None,
        };
        let added: Vec<PartMeta> = new.iter().map(|part| part.meta.clone()).collect();
        let removed: Vec<i64> = parts.iter().map(|part| part.meta.id).collect();
        let still_covering: Vec<(Tenant, Arc<LogDeletion>)> = waiting
            .iter()
            .filter(|_| !added.is_empty())
            .map(|deletion| {
                let mut covering = deletion.as_ref().clone();
                covering.parts_also.extend(added.iter().map(|meta| meta.id));
                (tenant.clone(), Arc::new(covering))
            })
            .collect();
        let commit = Commit {
            added: added.clone(),
            removed: removed.clone(),
            log_deletions: still_covering.clone(),
            ..Commit::default()
        };
        self.catalog.commit(&commit).await.context("committing a merge")?;
        let rows = new.as_ref().map_or(0, |part| part.meta.rows);
        debug!(%tenant, signal = signal.as_str(), window, parts = removed.len(), rows, "merged");
        self.publish(added, &removed, false, still_covering);
        self.counts.merges.fetch_add(1, Ordering::Relaxed);
        Ok(new)
    }

    /// Removes parts whose last record is past its signal's retention, and rewrites those that have streams which are.
    pub(crate) async fn expire(&self) -> anyhow::Result<usize> {
        let _one = self.rewriting.lock().await;
        let retention = self.retention.lock().clone();
        let keep = |signal| match signal {
            Signal::Metrics => retention.metrics,
            Signal::Logs => retention.logs,
            Signal::Spans => retention.spans,
        };
        let now_ms = self.clock.now_ms();
        self.expire_exemplars(now_ms.saturating_sub(retention.metrics.as_millis() as i64)).await?;
        let parts: Parts = self.state.read().parts.clone();
        let (mut expired, mut with_expired) = (vec![], vec![]);
        for part in parts.values().flatten() {
            if part.meta.signal == Signal::Logs
                && let Some(periods) = self.periods()
            {
                match self.expired_of(part, &periods).await {
                    Expired::Nothing => {}
                    Expired::All => expired.push(part.meta.id),
                    Expired::Streams => with_expired.push(part.clone()),
                }
                continue;
            }
            let ticks_per_ms = part.meta.signal.day() / 86_400_000;
            let oldest_ms = now_ms.saturating_sub(keep(part.meta.signal).as_millis() as i64);
            if part.meta.last_ts < oldest_ms.saturating_mul(ticks_per_ms) {
                expired.push(part.meta.id);
            }
        }
        if !expired.is_empty() {
            self.catalog.commit(&Commit { removed: expired.clone(), ..Commit::default() }).await?;
            self.publish(vec![], &expired, false, vec![]);
            self.counts.parts_expired.fetch_add(expired.len() as u64, Ordering::Relaxed);
        }
        for part in &with_expired {
            self.merge_parts(std::slice::from_ref(part), part.meta.level).await?;
        }
        Ok(expired.len() + with_expired.len())
    }

    /// How long streams are kept, where not all are kept alike.
    pub(crate) fn periods(&self) -> Option<Periods> {
        let retention = self.retention.lock();
        (!retention.streams.is_empty()).then(|| Periods {
            streams: Arc::new(retention.streams.clone()),
            rest_ns: i64::try_from(retention.logs.as_nanos()).unwrap_or(i64::MAX),
            now_ns: self.clock.now_ms().saturating_mul(1_000_000),
        })
    }

    /// What retention by stream has for a part. A part that cannot be read is left to be told by who reads it.
    async fn expired_of(&self, part: &Part, periods: &Periods) -> Expired {
        let Ok(index) = part.rows_index().await else { return Expired::Nothing };
        let past = |run: &&rows::part::Run| run.last_ts < periods.kept_from(&index.group_of(run).labels);
        let rows: i64 = index.runs.iter().filter(past).map(|run| i64::from(run.rows)).sum();
        // While a day lasts, its streams expire one by one: a rewrite waits for it to be worth it.
        let day_over = (part.meta.window + 1).saturating_mul(part.meta.signal.day()) < periods.now_ns;
        match rows {
            0 => Expired::Nothing,
            all if all >= part.meta.rows => Expired::All,
            some if some * 2 >= part.meta.rows || day_over => Expired::Streams,
            _ => Expired::Nothing,
        }
    }

    async fn expire_exemplars(&self, from_ms: i64) -> anyhow::Result<()> {
        let removed = {
            let mut book = self.exemplars.lock();
            let before = book.len();
            book.expire(from_ms);
            before > book.len()
        };
        if removed {
            self.catalog.commit(&Commit { exemplars_from_ms: Some(from_ms), ..Commit::default() }).await?;
        }
        Ok(())
    }
}

/// What of a part is past its retention.
enum Expired {
    Nothing,
    Streams,
    All,
}

fn is_grown(part: &Part) -> bool {
    part.meta.signal == Signal::Logs && !part.meta.is_raw() && part.meta.bytes >= GROWN_BYTES
}

/// As many of the parts, small ones first, as fit the memory of a merge.
fn bounded(mut parts: Vec<Arc<Part>>) -> Vec<Arc<Part>> {
    parts.sort_by_key(|part| part.meta.bytes);
    let mut total = 0;
    parts.retain(|part| {
        total += part.meta.bytes;
        total <= MERGE_BYTES_MAX
    });
    // Oldest first: of two samples of one time the later part's stands.
    parts.sort_by_key(|part| part.meta.id);
    parts
}

/// The files of one signal's memtable, one part a day.
fn files_of(
    tables: &Memtables,
    signal: Signal,
    words: WordBounds,
    raw_from_bytes: usize,
) -> anyhow::Result<Vec<(i64, PartFiles)>> {
    match signal {
        Signal::Metrics => metrics_files(tables),
        Signal::Logs => row_files(signal, &tables.logs.read(), words, raw_from_bytes),
        Signal::Spans => row_files(signal, &tables.spans.read(), words, raw_from_bytes),
    }
}

fn metrics_files(tables: &Memtables) -> anyhow::Result<Vec<(i64, PartFiles)>> {
    let head = tables.metrics.read();
    let day = Signal::Metrics.day();
    let rows_of_a_series = head.samples() / head.series_count().max(1);
    let mut writers: BTreeMap<i64, metrics::part::Writer> = BTreeMap::new();
    head.for_each_run(|labels, ts_ms, values| {
        let mut at = 0;
        while at < ts_ms.len() {
            let window = ts_ms[at].div_euclid(day);
            let end = at + ts_ms[at..].partition_point(|ts| *ts < (window + 1) * day);
            let writer = match writers.entry(window) {
                Entry::Occupied(writer) => writer.into_mut(),
                Entry::Vacant(new) => new.insert(metrics::part::Writer::new(rows_of_a_series)?),
            };
            writer.push(labels, &ts_ms[at..end], &values[at..end])?;
            at = end;
        }
        anyhow::Ok(())
    })?;
    writers.into_iter().map(|(window, writer)| Ok((window, writer.finish()?))).collect()
}

fn row_files(
    signal: Signal,
    head: &rows::head::Head,
    words: WordBounds,
    raw_from_bytes: usize,
) -> anyhow::Result<Vec<(i64, PartFiles)>> {
    let (groups, shapes, batches) = (head.groups(signal), head.shapes(), head.batches());
    let Ranked { keys, places } = rows::order::rank(signal, groups.groups(), &batches)?;
    let mut windows: BTreeMap<i64, Vec<rows::order::Row>> = BTreeMap::new();
    for (batch, places) in places.iter().enumerate() {
        for (row, place) in places.iter().enumerate() {
            let window = place.1.div_euclid(signal.day());
            windows.entry(window).or_default().push((*place, batch as u32, row as u32));
        }
    }
    drop(places);
    let is_raw = head.bytes() >= raw_from_bytes;
    let layout = match is_raw && signal == Signal::Logs {
        true => rows::part::Layout::raw(&batches),
        false => rows::part::Layout::of(signal, &batches, &shapes, words),
    };
    let mut files = vec![];
    for (window, mut rows) in windows {
        rows.sort_unstable();
        if is_raw && signal == Signal::Spans {
            files.push((window, rows::spilled::write(&groups, &keys, &layout, &batches, &rows)?));
            continue;
        }
        let groups = head.groups(signal);
        let mut writer =
            rows::part::Writer::new(signal, groups, keys.clone(), layout.clone(), Spool::Memory(vec![]))?;
        rows::order::in_pieces(&batches, &rows, |piece, rows| writer.push(&piece, rows, &shapes))?;
        files.push((window, writer.finish()?));
    }
    Ok(files)
}
