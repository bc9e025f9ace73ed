//! The store: the write path, opening after whatever happened, and the tasks that flush, merge and delete.

use crate::active::Active;
use crate::admit;
use crate::catalog::Catalog;
use crate::config::{Config, LogLimits, Retention};
use crate::downsample::Downsampling;
use crate::exemplars::ExemplarBook;
use crate::indexes::Indexes;
use crate::limits::{LimitBook, Limits};
use crate::log_deletions::{LogDeletion, LogDeletions};
use crate::memory::{MetadataBook, Sealed, Tenants};
use crate::objects::Objects;
use crate::part::{self, Part, PartMeta, Signal};
use crate::rates::Rates;
use crate::record::{self, Rows};
use crate::rewrite::{RAW_WAIT_MAX, raw_parts};
use crate::rows::build;
use crate::rows::known_groups::KnownGroups;
use crate::senders::{Sender, Senders};
use crate::tombstones::{Tombstone, Tombstones};
use anyhow::Context;
use model::{Batch, Clock, Receipt, Refused, Sink, Tenant, Write};
use parking_lot::{Mutex, RwLock};
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinHandle;
use tracing::{error, info, warn};
use wal::{AppendError, Wal};

/// The store of one process. Cloning gives another handle to it.
#[derive(Clone)]
pub struct Store(pub(crate) Arc<Inner>);

impl std::ops::Deref for Store {
    type Target = Inner;

    fn deref(&self) -> &Inner {
        &self.0
    }
}

/// What the handles share.
pub struct Inner {
    pub(crate) config: Config,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) wal: Wal,
    pub(crate) catalog: Catalog,
    pub(crate) objects: Arc<Objects>,
    pub(crate) indexes: Arc<Indexes>,
    pub(crate) state: RwLock<State>,
    pub(crate) metadata: Mutex<MetadataBook>,
    pub(crate) exemplars: Mutex<ExemplarBook>,
    /// Held for reading from before a record enters the WAL until it is in its memtable, for writing while memtables
    /// are sealed: so a sealed one holds exactly the records before its WAL position.
    pub(crate) gate: tokio::sync::RwLock<()>,
    /// Held by whoever replaces parts by others.
    pub(crate) rewriting: tokio::sync::Mutex<()>,
    /// Held by whoever makes parts of memtables; after `rewriting` where both are. A flush goes on beside a merge, which is
    /// long: memory must not fill meanwhile.
    pub(crate) flushing: tokio::sync::Mutex<()>,
    pub(crate) next_part: AtomicI64,
    pub(crate) janitor: mpsc::UnboundedSender<PartMeta>,
    pub(crate) counts: Counts,
    pub(crate) senders: Senders,
    memory_bytes: AtomicUsize,
    /// Of all memtables, and of those that are written to: see [`crate::memory::Taken`].
    pressing_bytes: AtomicUsize,
    pub(crate) unsealed_bytes: AtomicUsize,
    flushed: Notify,
    pub(crate) flush_now: Notify,
    pub(crate) raw_written: Notify,
    stopping: AtomicBool,
    tasks: Mutex<Vec<JoinHandle<()>>>,
    /// Set when the disk refused, and when; shown by readiness.
    refuses: Mutex<Option<(String, i64)>>,
    pub(crate) retention: Mutex<Retention>,
    rates: Rates,
    known_groups: KnownGroups,
    pub(crate) active: Mutex<HashMap<Tenant, Arc<Mutex<Active>>>>,
    limits: RwLock<Arc<LimitBook>>,
    pub(crate) downsampling: Mutex<Downsampling>,
}

/// Of the memory for memtables, what decoded pages may take at most beside it: a hundred pages of lines.
const DECODED_SHARE: usize = 16;
const DECODED_BYTES_MAX: usize = 24 << 20;

/// After its last refusal the store counts as ready again: readiness that waits for a write would keep all writes away.
const REFUSES_MS: i64 = 10_000;

pub(crate) struct State {
    pub tenants: Tenants,
    /// Oldest first.
    pub sealed: Vec<Arc<Sealed>>,
    pub parts: Parts,
    pub tombstones: Tombstones,
    pub log_deletions: LogDeletions,
}

pub(crate) type Parts = Arc<HashMap<(Tenant, Signal), Vec<Arc<Part>>>>;

#[derive(Default)]
pub(crate) struct Counts {
    pub flushes: AtomicU64,
    pub flush_errors: AtomicU64,
    pub merges: AtomicU64,
    pub parts_expired: AtomicU64,
    pub series_deletions: AtomicU64,
    pub log_deletions: AtomicU64,
    pub damaged_parts: AtomicU64,
}

/// What a flush or a merge did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Report {
    pub parts: usize,
    pub rows: usize,
    pub bytes: usize,
}

/// Memtables that may be in memory at one time: one that is written to, one that is flushed, and half a one for what
/// comes meanwhile, rounded up.
const MEMTABLES_MAX: usize = 3;

/// A sender that has waited so long is let through; past the hard bound it is refused.
const ROOM_WAIT_MAX: Duration = Duration::from_secs(5);

/// Metrics and labels that a refusal names.
const OFFENDERS: usize = 5;

/// Bytes of a batch above which its encoding leaves the async threads' time slice to others first.
const YIELD_RECORDS: u64 = 1_000;

impl Store {
    /// Opens or makes the store in `config.dir`, reads what the WAL has beyond the parts, and starts its tasks.
    pub async fn open(config: Config, clock: Arc<dyn Clock>) -> anyhow::Result<Arc<Store>> {
        std::fs::create_dir_all(&config.dir)
            .with_context(|| format!("the data directory {} cannot be made", config.dir.display()))?;
        let catalog = Catalog::open(&config.dir.join("catalog.db")).await?;
        let covered = catalog.covered().await?;
        let wal_config = wal::Config {
            bytes_max: config.wal_bytes_max,
            fsync: config.fsync,
            // A log whose files were deleted would begin at 1, and what is before `covered` is never read again.
            next_min: covered,
            ..wal::Config::new(config.dir.join("wal"))
        };
        let (wal, damage) = tokio::task::spawn_blocking(move || Wal::open(wal_config))
            .await?
            .with_context(|| format!("the data directory {} cannot be opened", config.dir.display()))?;
        for stretch in damage.iter().filter(|stretch| !stretch.torn_tail) {
            error!(segment = %stretch.segment.display(), offset = stretch.offset, bytes = stretch.bytes, "log is damaged; the rest of it was read");
        }
        let decoded_bytes_max = (config.memory_bytes_max / DECODED_SHARE).min(DECODED_BYTES_MAX);
        let objects = Objects::local(config.dir.join("parts"), decoded_bytes_max);
        let objects = Arc::new(objects.context("opening the parts")?);
        let indexes = Arc::new(Indexes::new(config.index_bytes_max));
        let (janitor, doomed) = mpsc::unbounded_channel();
        let metas = catalog.parts().await?;
        let left = remove_orphans(&objects, &metas).await?;
        let mut tombstones: HashMap<Tenant, Vec<Arc<Tombstone>>> = HashMap::new();
        for (tenant, tombstone) in catalog.tombstones().await? {
            tombstones.entry(tenant).or_default().push(Arc::new(tombstone));
        }
        // What a tombstone covers is told by part ids: none is given out again.
        let mut log_deletions: HashMap<Tenant, Vec<Arc<LogDeletion>>> = HashMap::new();
        for (tenant, deletion) in catalog.log_deletions(config.read_log_query).await? {
            log_deletions.entry(tenant).or_default().push(Arc::new(deletion));
        }
        let covered_parts = tombstones.values().flatten().map(|tombstone| tombstone.parts_before);
        let covered_parts = covered_parts
            .chain(log_deletions.values().flatten().map(|deletion| deletion.parts_before))
            .chain(
                log_deletions.values().flatten().flat_map(|deletion| &deletion.parts_also).map(|id| id + 1),
            );
        let known_parts = metas.iter().map(|meta| meta.id + 1);
        let next_part = known_parts.chain(covered_parts).chain(left.map(|id| id + 1)).max().unwrap_or(1);
        let mut parts: HashMap<(Tenant, Signal), Vec<Arc<Part>>> = HashMap::new();
        for meta in metas {
            let key = (meta.tenant.clone(), meta.signal);
            parts.entry(key).or_default().push(Part::new(
                meta,
                objects.clone(),
                indexes.clone(),
                janitor.clone(),
            ));
        }
        let senders = Senders::of(catalog.senders(clock.now_ms()).await?);
        let metadata = MetadataBook::load(catalog.metadata().await?);
        let exemplars = ExemplarBook::load(catalog.exemplars().await?, config.exemplar_bytes_max);
        let store = Store(Arc::new(Inner {
            retention: Mutex::new(config.retention.clone()),
            active: Mutex::default(),
            limits: RwLock::new(Arc::new(config.limits.clone())),
            downsampling: Mutex::new(config.downsampling.clone()),
            config,
            clock,
            wal,
            catalog,
            objects: objects.clone(),
            indexes,
            state: RwLock::new(State {
                tenants: HashMap::new(),
                sealed: vec![],
                parts: Arc::new(parts),
                tombstones: Arc::new(tombstones),
                log_deletions: Arc::new(log_deletions),
            }),
            metadata: Mutex::new(metadata),
            exemplars: Mutex::new(exemplars),
            gate: tokio::sync::RwLock::new(()),
            rewriting: tokio::sync::Mutex::new(()),
            flushing: tokio::sync::Mutex::new(()),
            next_part: AtomicI64::new(next_part),
            janitor,
            counts: Counts::default(),
            senders,
            memory_bytes: AtomicUsize::new(0),
            pressing_bytes: AtomicUsize::new(0),
            unsealed_bytes: AtomicUsize::new(0),
            flushed: Notify::new(),
            flush_now: Notify::new(),
            raw_written: Notify::new(),
            stopping: AtomicBool::new(false),
            tasks: Mutex::new(vec![]),
            refuses: Mutex::new(None),
            rates: Rates::default(),
            known_groups: KnownGroups::default(),
        }));
        store.replay(covered).await?;
        let tasks = vec![
            tokio::spawn(store.clone().flush_forever()),
            tokio::spawn(store.clone().merge_raw_forever()),
            tokio::spawn(store.clone().keep_house()),
            tokio::spawn(delete_doomed(objects, doomed)),
        ];
        *store.tasks.lock() = tasks;
        Ok(Arc::new(store))
    }

    /// Records that the WAL has and no part does. A log that grew while flushes failed does not fit memory: what was read
    /// so far becomes parts in between.
    async fn replay(&self, covered: u64) -> anyhow::Result<()> {
        let mut reader = self.wal.read_from(covered);
        let (mut records, mut unreadable) = (0u64, 0u64);
        while let Some((seq, bytes)) = reader.next_record().context("reading the log")? {
            match record::decode(&bytes) {
                Ok(record) => {
                    self.insert(&record.tenant, &record.rows)?;
                    if let Some(origin) = record.origin {
                        let now_ms = self.clock.now_ms();
                        self.senders.sender(origin.sender, now_ms).sent(origin.sequence, now_ms);
                    }
                    records += 1;
                    if self.unsealed_bytes.load(Ordering::Relaxed) > self.config.flush_bytes * MEMTABLES_MAX
                        && let Err(wrong) = self.flush_replayed(seq + 1).await
                    {
                        // On a disk that is full, what is there can be asked for as long as it fits memory.
                        if self.memory_bytes() > self.config.memory_bytes_max {
                            return Err(wrong);
                        }
                        warn!(error = format!("{wrong:#}"), "what was read of the log stays in memory");
                    }
                }
                Err(wrong) => {
                    unreadable += 1;
                    error!(seq, error = %wrong, "a log record is passed over");
                }
            }
        }
        if records + unreadable > 0 {
            info!(records, unreadable, "read the log");
        }
        if self.unsealed_bytes.load(Ordering::Relaxed) > self.config.flush_bytes {
            self.flush_now.notify_one();
        }
        Ok(())
    }

    fn insert(&self, tenant: &Tenant, rows: &Rows) -> anyhow::Result<()> {
        let known = self.state.read().tenants.get(tenant).cloned();
        let tables = match known {
            Some(tables) => tables,
            None => self.state.write().tenants.entry(tenant.clone()).or_default().clone(),
        };
        let taken = tables.append(rows, &self.active_of(tenant), self.clock.now_ms())?;
        if let Rows::Metrics(batch) = rows {
            if !batch.metadata.is_empty() {
                self.metadata.lock().add(tenant, &batch.metadata);
            }
            if !batch.exemplars.is_empty() {
                self.exemplars.lock().add(tenant, &batch.exemplars);
            }
        }
        self.memory_bytes.fetch_add(taken.bytes, Ordering::Relaxed);
        self.pressing_bytes.fetch_add(taken.pressing, Ordering::Relaxed);
        self.unsealed_bytes.fetch_add(taken.pressing, Ordering::Relaxed);
        Ok(())
    }

    pub(crate) fn memory_freed(&self, sealed: &Sealed) {
        let less = |count: &AtomicUsize, bytes: usize| {
            let _ = count
                .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |held| Some(held.saturating_sub(bytes)));
        };
        for taken in sealed.tenants.values().map(|tables| tables.freed()) {
            less(&self.memory_bytes, taken.bytes);
            less(&self.pressing_bytes, taken.pressing);
        }
        self.flushed.notify_waiters();
    }

    pub(crate) fn memory_bytes(&self) -> usize {
        self.memory_bytes.load(Ordering::Relaxed)
    }

    /// Refuse? → admit → log (durable) → memtable (visible) → receipt.
    async fn write_through(&self, write: Write) -> Result<Receipt, Refused> {
        self.wait_for_room().await;
        self.refuse_when_pressed()?;
        let Some(origin) = write.origin else { return self.write_once(write, None).await };
        let sender = self.senders.sender(origin.sender, self.clock.now_ms());
        let _one = sender.writing.lock().await;
        if sender.has_sent(origin.sequence) {
            return Ok(Receipt { repeated: true, ..Receipt::of_all(&write.batch) });
        }
        let receipt = self.write_once(write, Some(&sender)).await?;
        // Also where nothing of the batch was to be stored.
        sender.sent(origin.sequence, self.clock.now_ms());
        Ok(receipt)
    }

    /// Where senders are faster than flushes, they are slowed down to them: memory stays at a few memtables.
    async fn wait_for_room(&self) {
        let deadline = tokio::time::Instant::now() + ROOM_WAIT_MAX;
        loop {
            let flushed = self.flushed.notified();
            tokio::pin!(flushed);
            flushed.as_mut().enable();
            let full = self.pressing_bytes.load(Ordering::Relaxed) > self.config.flush_bytes * MEMTABLES_MAX;
            if !full || self.stopping.load(Ordering::Acquire) {
                return;
            }
            self.flush_now.notify_one();
            if tokio::time::timeout_at(deadline, flushed).await.is_err() {
                return;
            }
        }
    }

    fn refuse_when_pressed(&self) -> Result<(), Refused> {
        if self.stopping.load(Ordering::Acquire) {
            return Err(Refused::Stopping);
        }
        if self.memory_bytes() > self.config.memory_bytes_max {
            self.flush_now.notify_one();
            return Err(Refused::Busy {
                why: "memtables have reached their share of --memory and are being flushed".into(),
                retry_after: Duration::from_secs(1),
            });
        }
        Ok(())
    }

    async fn write_once(&self, write: Write, sender: Option<&Sender>) -> Result<Receipt, Refused> {
        let Write { tenant, batch, origin } = write;
        if admit::records(&batch) > YIELD_RECORDS {
            tokio::task::yield_now().await;
        }
        let (book, now_ms) = (self.limits.read().clone(), self.clock.now_ms());
        let limits = book.of(&tenant);
        let (batch, receipt) = self.admitted(&tenant, batch, limits, now_ms);
        if let Batch::Logs(batch) = &batch {
            self.refuse_when_fast(&tenant, &limits.logs, batch, now_ms)?;
        }
        let broken = |wrong: &dyn std::fmt::Display| Refused::Broken(wrong.to_string());
        let rows = match batch {
            Batch::Metrics(batch) if batch.is_empty() => return Ok(receipt),
            Batch::Metrics(batch) => Rows::Metrics(batch),
            _ if receipt.accepted == 0 => return Ok(receipt),
            Batch::Logs(batch) => Rows::Logs(build::logs(&batch).map_err(|e| broken(&e))?),
            Batch::Spans(batch) => {
                Rows::Spans(build::spans(&batch, &self.known_groups).map_err(|e| broken(&e))?)
            }
        };
        let payload = record::encode(&tenant, origin, &rows).map_err(|e| broken(&e))?;
        let _gate = self.gate.read().await;
        self.wal.append(payload).await.map_err(|wrong| self.refused(wrong))?;
        *self.refuses.lock() = None;
        // Before a flush can cover the record: what the catalog then knows of its sender has it.
        if let (Some(sender), Some(origin)) = (sender, origin) {
            sender.sent(origin.sequence, now_ms);
        }
        self.insert(&tenant, &rows).map_err(|e| broken(&e))?;
        if self.unsealed_bytes.load(Ordering::Relaxed) > self.config.flush_bytes {
            self.flush_now.notify_one();
        }
        Ok(receipt)
    }

    /// The words are Loki's, whose clients show them.
    fn refuse_when_fast(
        &self,
        tenant: &Tenant,
        limits: &LogLimits,
        batch: &model::LogBatch,
        now_ms: i64,
    ) -> Result<(), Refused> {
        let Some(rate) = limits.rate else { return Ok(()) };
        let bytes_of = |stream: &model::LogStream| -> usize {
            stream.records.iter().map(|record| record.body.len()).sum()
        };
        let bytes = batch.streams.iter().map(bytes_of).sum();
        if bytes == 0 || self.rates.tenant(tenant, rate, bytes, now_ms) {
            return Ok(());
        }
        // Else the same lines, sent again as they should be, would be too many for their streams.
        if let Some(rate) = limits.stream_rate {
            for stream in &batch.streams {
                self.rates.give_back(stream_identity(tenant, &stream.labels), rate, bytes_of(stream));
            }
        }
        Err(Refused::Busy {
            why: format!(
                "ingestion rate limit exceeded for user {tenant} (limit: {} bytes/sec) while attempting to ingest \
                 '{}' lines totaling '{bytes}' bytes, reduce log volume or contact your Loki administrator to see if \
                 the limit can be increased",
                rate.bytes_per_s as u64,
                batch.records()
            ),
            retry_after: Duration::from_secs(1),
        })
    }

    fn admitted(&self, tenant: &Tenant, batch: Batch, limits: &Limits, now_ms: i64) -> (Batch, Receipt) {
        let fast = |labels: &model::Labels, bytes: usize| {
            limits
                .logs
                .stream_rate
                .is_none_or(|rate| self.rates.stream(stream_identity(tenant, labels), rate, bytes, now_ms))
        };
        let active = self.active_of(tenant);
        let mut active = active.lock();
        active.sweep(now_ms);
        let known = admit::Known { active: &active, offenders: &|| self.offenders(tenant, &active) };
        admit::admit(batch, limits, now_ms, &known, &fast)
    }

    fn active_of(&self, tenant: &Tenant) -> Arc<Mutex<Active>> {
        let mut active = self.active.lock();
        match active.get(tenant) {
            Some(known) => known.clone(),
            None => active.entry(tenant.clone()).or_default().clone(),
        }
    }

    /// What makes a tenant's series many.
    fn offenders(&self, tenant: &Tenant, active: &Active) -> String {
        fn told(rows: &[(impl AsRef<str>, usize)]) -> String {
            let row = |(name, count): &(_, usize)| format!("{} {count}", AsRef::<str>::as_ref(name));
            rows.iter().map(row).collect::<Vec<_>>().join(", ")
        }
        let metrics = told(&active.largest(OFFENDERS));
        let tables = self.state.read().tenants.get(tenant).cloned();
        // Not waited for: whoever holds it may wait for the series that are counted here.
        let labels =
            tables.and_then(|tables| Some(told(&tables.metrics.try_read()?.largest_labels(OFFENDERS)?)));
        let labels = labels.filter(|labels| !labels.is_empty());
        let labels =
            labels.map_or_else(String::new, |labels| format!("; labels with the most values: {labels}"));
        format!("metrics with the most series: {metrics}{labels}")
    }

    fn refused(&self, wrong: AppendError) -> Refused {
        match wrong {
            AppendError::Full { .. } => {
                self.flush_now.notify_one();
                Refused::Busy {
                    why: format!("{wrong} (flushes do not keep up)"),
                    retry_after: Duration::from_secs(2),
                }
            }
            AppendError::TooLarge { .. } => Refused::TooMuch(wrong.to_string()),
            AppendError::Io { .. } => {
                *self.refuses.lock() = Some((wrong.to_string(), self.clock.now_ms()));
                Refused::Broken(wrong.to_string())
            }
            AppendError::Closed => Refused::Stopping,
        }
    }

    /// Why writes are refused now, where they are.
    pub fn refuses(&self) -> Option<String> {
        let now_ms = self.clock.now_ms();
        let refused = self.refuses.lock().clone();
        refused.filter(|(_, at_ms)| now_ms - at_ms < REFUSES_MS).map(|(why, _)| why)
    }

    /// In force from the next write on.
    pub fn set_limits(&self, limits: LimitBook) {
        *self.limits.write() = Arc::new(limits);
    }

    pub fn retention(&self) -> Retention {
        self.retention.lock().clone()
    }

    /// In force from the next look for old parts on.
    pub fn set_retention(&self, retention: Retention) {
        *self.retention.lock() = retention;
    }

    /// In force from the next look for old parts on; what is downsampled already stays so.
    pub fn set_downsampling(&self, downsampling: Downsampling) {
        *self.downsampling.lock() = downsampling;
    }

    async fn flush_forever(self) {
        while !self.stopping.load(Ordering::Acquire) {
            let _ = tokio::time::timeout(self.config.flush_interval, self.flush_now.notified()).await;
            if self.stopping.load(Ordering::Acquire) {
                return;
            }
            if let Err(wrong) = self.flush().await {
                self.counts.flush_errors.fetch_add(1, Ordering::Relaxed);
                error!(
                    error = format!("{wrong:#}"),
                    "flush failed; the records stay in memory and in the log"
                );
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        }
    }

    /// Raw parts are merged when they are many, or when the first has waited for others.
    async fn merge_raw_forever(self) {
        while !self.stopping.load(Ordering::Acquire) {
            if !self.has_raw_parts(|_| 1) {
                self.raw_written.notified().await;
            }
            let deadline = tokio::time::Instant::now() + RAW_WAIT_MAX;
            while !self.has_raw_parts(raw_parts)
                && tokio::time::timeout_at(deadline, self.raw_written.notified()).await.is_ok()
            {}
            match self.merge_raw().await {
                Ok(merged) if merged.parts > 0 => {}
                // What cannot be merged now is not tried again at once.
                Ok(_) => tokio::time::sleep(RAW_WAIT_MAX).await,
                Err(wrong) => {
                    warn!(error = format!("{wrong:#}"), "merge failed; the parts stay as they are");
                    tokio::time::sleep(RAW_WAIT_MAX).await;
                }
            }
        }
    }

    /// Merging and retention, after every few flushes.
    async fn keep_house(self) {
        let interval = self.config.flush_interval * 2;
        while !self.stopping.load(Ordering::Acquire) {
            tokio::time::sleep(interval).await;
            if let Err(wrong) = self.merge_small().await {
                warn!(error = format!("{wrong:#}"), "merge failed; the parts stay as they are");
            }
            if let Err(wrong) = self.clean_tombstones().await {
                warn!(error = format!("{wrong:#}"), "deleted series stay hidden on disk; it is tried again");
            }
            if let Err(wrong) = self.carry_out_log_deletions().await {
                warn!(error = format!("{wrong:#}"), "deleted lines stay hidden on disk; it is tried again");
            }
            if let Err(wrong) = self.downsample().await {
                warn!(error = format!("{wrong:#}"), "downsampling failed; it is tried again");
            }
            if let Err(wrong) = self.expire().await {
                warn!(error = format!("{wrong:#}"), "retention failed; it is tried again");
            }
        }
    }

    /// Stops taking records, flushes what is in memory, ends the tasks.
    pub async fn close(&self) -> anyhow::Result<()> {
        self.stopping.store(true, Ordering::Release);
        self.flush_now.notify_one();
        let flushed = self.flush().await;
        self.end_tasks();
        self.catalog.close().await;
        flushed.map(|_| ())
    }

    pub(crate) fn end_tasks(&self) {
        let tasks = std::mem::take(&mut *self.tasks.lock());
        tasks.into_iter().for_each(|task| task.abort());
    }
}

#[async_trait::async_trait]
impl Sink for Store {
    async fn write(&self, write: Write) -> Result<Receipt, Refused> {
        // A task of its own: a sender that hangs up must not leave a record in the log that no memtable has.
        let store = self.clone();
        let written = tokio::spawn(async move { store.write_through(write).await }).await;
        written.unwrap_or_else(|ended| Err(Refused::Broken(format!("the write ended early: {ended}"))))
    }
}

/// Files that a crash left between being written and being committed, or between being removed and deleted. Nobody reads
/// them: one that cannot be removed costs its place on the disk, and nothing else. The answer is the highest id that such
/// a one has in its name: where it cannot be removed, a new part's file could not take its place either.
async fn remove_orphans(objects: &Objects, metas: &[PartMeta]) -> anyhow::Result<Option<i64>> {
    let known: std::collections::HashSet<_> =
        metas.iter().flat_map(|meta| [meta.data_path(), meta.index_path()]).collect();
    let mut left: Option<i64> = None;
    for path in objects.list().await.context("listing the parts")? {
        if known.contains(&path) {
            continue;
        }
        info!(%path, "removing a file that no catalog row names");
        if let Err(wrong) = objects.delete(&path).await {
            warn!(%path, error = %wrong, "a file that no catalog row names stays until the next start");
            left = left.max(part::id_of(&path));
        }
    }
    Ok(left)
}

async fn delete_doomed(objects: Arc<Objects>, mut doomed: mpsc::UnboundedReceiver<PartMeta>) {
    while let Some(meta) = doomed.recv().await {
        for path in [meta.data_path(), meta.index_path()] {
            if let Err(wrong) = objects.delete(&path).await {
                warn!(%path, error = %wrong, "a part's file stays until the next start");
            }
        }
    }
}

/// By which the rate of a stream is remembered.
fn stream_identity(tenant: &Tenant, labels: &model::Labels) -> u64 {
    xxhash_rust::xxh3::xxh3_64(&[tenant.as_str().as_bytes(), &[0], labels.as_bytes()].concat())
}
