//! From memory to parts, from small parts to large ones, from old parts to nothing. Each is: write files, commit the
//! catalog in one transaction, then change what readers see.

use crate::catalog::Commit;
use crate::memory::{Memtables, Sealed};
use crate::metrics::{self, Run};
use crate::part::{Part, PartFiles, PartMeta, Signal};
use crate::rows::{self, part::time_column};
use crate::store::{Parts, Report, Store};
use anyhow::Context;
use arrow::array::{AsArray, BooleanArray, RecordBatch};
use arrow::compute::{concat_batches, filter_record_batch};
use arrow::datatypes::TimestampNanosecondType;
use model::{Tenant, TimeRange};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use tracing::{debug, warn};

/// Parts of one level of one day that are merged to one of the next.
const MERGE_PARTS: usize = 6;

/// Rows in memory of one merge; larger parts are left as they are.
const MERGE_RAW_BYTES_MAX: i64 = 768 << 20;

/// A part before it is committed.
struct NewPart {
    meta: PartMeta,
    files: PartFiles,
}

impl Store {
    /// Everything that is in memory becomes committed parts.
    pub async fn flush(&self) -> anyhow::Result<Report> {
        let _one = self.rewriting.lock().await;
        self.seal().await;
        let mut report = Report::default();
        loop {
            let Some(sealed) = self.state.read().sealed.first().cloned() else { return Ok(report) };
            let new = self.write_sealed(&sealed).await?;
            let added: Vec<PartMeta> = new.iter().map(|part| part.meta.clone()).collect();
            let metadata = self.metadata.lock().unsaved();
            let commit = Commit {
                added: added.clone(),
                covered: Some(sealed.covered),
                senders: self.sender_positions(),
                metadata,
                ..Commit::default()
            };
            self.catalog.commit(&commit).await.context("committing parts")?;
            self.metadata.lock().saved(commit.metadata.len());
            self.publish(added, &[], true);
            self.memory_freed(&sealed);
            self.wal.truncate_before(sealed.covered).context("giving back log space")?;
            self.counts.flushes.fetch_add(1, Ordering::Relaxed);
            for part in &new {
                report.parts += 1;
                report.rows += part.files.rows;
                report.bytes += part.meta.bytes as usize;
            }
        }
    }

    /// From here on records go to new memtables; those that are sealed hold exactly what is before a WAL position.
    async fn seal(&self) {
        let _gate = self.gate.write().await;
        let mut state = self.state.write();
        if state.tenants.values().all(|tables| tables.is_empty()) {
            return;
        }
        let tenants = std::mem::take(&mut state.tenants);
        state.sealed.push(Arc::new(Sealed { tenants, covered: self.wal.next_seq() }));
    }

    async fn write_sealed(&self, sealed: &Arc<Sealed>) -> anyhow::Result<Vec<NewPart>> {
        let mut new = vec![];
        for (tenant, tables) in &sealed.tenants {
            for signal in Signal::ALL {
                let tables = tables.clone();
                let files = tokio::task::spawn_blocking(move || files_of(&tables, signal)).await??;
                for (window, files) in files {
                    new.push(self.store_files(tenant, signal, window, 0, files).await?);
                }
            }
        }
        Ok(new)
    }

    async fn store_files(
        &self,
        tenant: &Tenant,
        signal: Signal,
        window: i64,
        level: i64,
        files: PartFiles,
    ) -> anyhow::Result<NewPart> {
        let meta = PartMeta {
            id: self.next_part.fetch_add(1, Ordering::Relaxed),
            tenant: tenant.clone(),
            signal,
            window,
            level,
            first_ts: files.first_ts,
            last_ts: files.last_ts,
            rows: files.rows as i64,
            bytes: (files.parquet.len() + files.index.len()) as i64,
            raw_bytes: files.raw_bytes as i64,
        };
        self.objects.put(&meta.parquet_path(), files.parquet.clone()).await.context("writing a part")?;
        self.objects.put(&meta.index_path(), files.index.clone()).await.context("writing a part's index")?;
        Ok(NewPart { meta, files })
    }

    /// What readers see changes in one step.
    fn publish(&self, added: Vec<PartMeta>, removed: &[i64], sealed_done: bool) {
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
            list.push(Part::new(meta, self.objects.clone(), self.janitor.clone()));
        }
        state.parts = Arc::new(parts);
        if sealed_done {
            state.sealed.remove(0);
        }
    }

    /// Merges that are due: several parts of one level in one day.
    pub(crate) async fn merge_small(&self) -> anyhow::Result<Report> {
        self.merge(|parts| {
            let mut by_level: BTreeMap<i64, Vec<Arc<Part>>> = BTreeMap::new();
            parts.iter().for_each(|part| by_level.entry(part.meta.level).or_default().push(part.clone()));
            by_level.into_values().find(|level| level.len() >= MERGE_PARTS).unwrap_or_default()
        })
        .await
    }

    /// All merges that can be done: each day's parts become as few as the memory bound allows.
    pub async fn compact(&self) -> anyhow::Result<Report> {
        self.merge(|parts| parts.to_vec()).await
    }

    /// Merges what `choose` picks of a day's parts, until it picks fewer than two.
    async fn merge(&self, choose: impl Fn(&[Arc<Part>]) -> Vec<Arc<Part>>) -> anyhow::Result<Report> {
        let mut report = Report::default();
        let mut given_up: BTreeSet<i64> = BTreeSet::new();
        loop {
            // Between merges a flush may run: a long compaction must not let memory fill.
            let _one = self.rewriting.lock().await;
            let parts: Parts = self.state.read().parts.clone();
            let chosen = parts.values().find_map(|list| {
                let mut by_day: BTreeMap<i64, Vec<Arc<Part>>> = BTreeMap::new();
                for part in list.iter().filter(|part| !given_up.contains(&part.meta.id)) {
                    by_day.entry(part.meta.window).or_default().push(part.clone());
                }
                by_day.into_values().map(|day| bounded(choose(&day))).find(|chosen| chosen.len() > 1)
            });
            drop(parts);
            let Some(chosen) = chosen else { return Ok(report) };
            match self.merge_parts(&chosen).await {
                Ok(part) => {
                    report.parts += 1;
                    report.rows += part.files.rows;
                    report.bytes += part.meta.bytes as usize;
                }
                Err(wrong) => {
                    warn!(error = format!("{wrong:#}"), "parts are left unmerged");
                    given_up.extend(chosen.iter().map(|part| part.meta.id));
                }
            }
        }
    }

    async fn merge_parts(&self, parts: &[Arc<Part>]) -> anyhow::Result<NewPart> {
        let first = &parts[0].meta;
        let (signal, window) = (first.signal, first.window);
        let level = parts.iter().map(|part| part.meta.level).max().unwrap_or(0) + 1;
        let files = match signal {
            Signal::Metrics => {
                let everything = model::SeriesSelect { matchers: vec![], range: TimeRange::ALL };
                let mut sources = vec![];
                for part in parts {
                    sources.push(metrics::part::read(part, &everything).await?);
                }
                let merge = move || metrics::part::write(&metrics::merge::runs(sources));
                tokio::task::spawn_blocking(merge).await??
            }
            Signal::Logs | Signal::Spans => {
                let mut batches = vec![];
                for part in parts {
                    batches.extend(rows::part::read_all(part).await?);
                }
                let merge = move || -> anyhow::Result<PartFiles> {
                    let schema = batches.first().context("parts without rows")?.schema();
                    let whole = concat_batches(&schema, &batches)?;
                    drop(batches);
                    rows::part::write(signal, &whole)
                };
                tokio::task::spawn_blocking(merge).await??
            }
        };
        let tenant = first.tenant.clone();
        let new = self.store_files(&tenant, signal, window, level, files).await?;
        let removed: Vec<i64> = parts.iter().map(|part| part.meta.id).collect();
        let commit = Commit { added: vec![new.meta.clone()], removed: removed.clone(), ..Commit::default() };
        self.catalog.commit(&commit).await.context("committing a merge")?;
        debug!(%tenant, signal = signal.as_str(), window, parts = removed.len(), rows = new.files.rows, "merged");
        self.publish(vec![new.meta.clone()], &removed, false);
        self.counts.merges.fetch_add(1, Ordering::Relaxed);
        Ok(new)
    }

    /// Removes parts whose last record is past its signal's retention.
    pub(crate) async fn expire(&self) -> anyhow::Result<usize> {
        let _one = self.rewriting.lock().await;
        let keep = |signal| match signal {
            Signal::Metrics => self.config.retention.metrics,
            Signal::Logs => self.config.retention.logs,
            Signal::Spans => self.config.retention.spans,
        };
        let now_ms = self.clock.now_ms();
        let expired: Vec<i64> = self
            .state
            .read()
            .parts
            .values()
            .flatten()
            .filter(|part| {
                let ticks_per_ms = part.meta.signal.day() / 86_400_000;
                let oldest_ms = now_ms.saturating_sub(keep(part.meta.signal).as_millis() as i64);
                part.meta.last_ts < oldest_ms.saturating_mul(ticks_per_ms)
            })
            .map(|part| part.meta.id)
            .collect();
        if !expired.is_empty() {
            self.catalog.commit(&Commit { removed: expired.clone(), ..Commit::default() }).await?;
            self.publish(vec![], &expired, false);
            self.counts.parts_expired.fetch_add(expired.len() as u64, Ordering::Relaxed);
        }
        Ok(expired.len())
    }
}

/// As many of the parts, small ones first, as fit the memory of a merge.
fn bounded(mut parts: Vec<Arc<Part>>) -> Vec<Arc<Part>> {
    parts.sort_by_key(|part| part.meta.raw_bytes);
    let mut total = 0;
    parts.retain(|part| {
        total += part.meta.raw_bytes;
        total <= MERGE_RAW_BYTES_MAX
    });
    // Oldest first: of two samples of one time the later part's stands.
    parts.sort_by_key(|part| part.meta.id);
    parts
}

/// The files of one signal's memtable, one part a day.
fn files_of(tables: &Memtables, signal: Signal) -> anyhow::Result<Vec<(i64, PartFiles)>> {
    match signal {
        Signal::Metrics => {
            let runs = tables.metrics.read().all_runs();
            split_runs(runs)
                .into_iter()
                .map(|(window, runs)| Ok((window, metrics::part::write(&runs)?)))
                .collect()
        }
        Signal::Logs | Signal::Spans => {
            let head = if signal == Signal::Logs { &tables.logs } else { &tables.spans };
            let batches = head.read().batches();
            let Some(first) = batches.first() else { return Ok(vec![]) };
            let whole = concat_batches(first.schema_ref(), &batches)?;
            drop(batches);
            split_rows(signal, whole)?
                .into_iter()
                .map(|(window, batch)| Ok((window, rows::part::write(signal, &batch)?)))
                .collect()
        }
    }
}

fn split_runs(runs: Vec<Run>) -> BTreeMap<i64, Vec<Run>> {
    let day = Signal::Metrics.day();
    let mut windows: BTreeMap<i64, Vec<Run>> = BTreeMap::new();
    for mut run in runs {
        while let Some(&first) = run.ts_ms.first() {
            let window = first.div_euclid(day);
            let end = run.ts_ms.partition_point(|ts| *ts < (window + 1) * day);
            let (rest_ts, rest_values) = (run.ts_ms.split_off(end), run.values.split_off(end));
            let labels = run.labels.clone();
            windows
                .entry(window)
                .or_default()
                .push(std::mem::replace(&mut run, Run { labels, ts_ms: rest_ts, values: rest_values }));
        }
    }
    windows
}

fn split_rows(signal: Signal, batch: RecordBatch) -> anyhow::Result<Vec<(i64, RecordBatch)>> {
    let day = signal.day();
    let ts = batch.column_by_name(time_column(signal)).context("rows without a time")?;
    let ts = ts.as_primitive::<TimestampNanosecondType>().values().clone();
    let windows: BTreeSet<i64> = ts.iter().map(|ts| ts.div_euclid(day)).collect();
    if windows.len() == 1 {
        return Ok(windows.into_iter().map(|window| (window, batch.clone())).collect());
    }
    windows
        .into_iter()
        .map(|window| {
            let mask: BooleanArray = ts.iter().map(|ts| Some(ts.div_euclid(day) == window)).collect();
            Ok((window, filter_record_batch(&batch, &mask)?))
        })
        .collect()
}
