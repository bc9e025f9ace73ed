//! The queue on disk between collectors and the network: what is in it survives a restart, and is sent in order.
//!
//! Its records are a [log](wal). Contents say how much of whom is in each: when the queue is full and the oldest are dropped,
//! that is told. Positions say how far log files were read when the record was made: they become true in the moment in
//! which the lines are safe, so a restart reads no line twice and leaves none out.
//!
//! Ingest knows a record again by its sender and its number, and takes a lower number for a copy. So no number may ever be
//! given twice by one sender. Only whoever stopped in order knows which was the last: its sender goes on in the next run.
//! After a kill numbers go on where the files end, which may be before what was sent, where a file is gone or its end is
//! torn; then a new sender counts on. Each record says whose it is, so those before it are still known.

pub mod aside;
mod contents;
mod counts;
mod record;

use anyhow::Context;
use aside::Aside;
use contents::Contents;
use counts::Counts;
use model::{LogBatch, MetricBatch, Reading, SpanBatch, Tenant};
use parking_lot::Mutex;
pub use record::Record;
use record::signal;
use std::fs::File;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::sync::Notify;
use tracing::warn;
use wal::{AppendError, Disk, Reader, RealDisk, Seq, Wal};

pub struct Queue {
    /// What every series says of itself that does not say otherwise.
    cluster: Option<String>,
    wal: Wal,
    bytes_max: u64,
    dir: PathBuf,
    /// Everything up to here has been taken by ingest.
    sent: AtomicU64,
    /// The record that is being sent, or that waits in memory to be sent again; 0 where there is none. It is not dropped:
    /// else it would be counted as lost and arrive all the same. Held by whoever gives space back.
    sending: Mutex<Seq>,
    /// Where sending reads on. A reader begins at the first record of a segment, and what is before its place is read and
    /// checked for nothing: with one made anew for every batch that was a fifth of what log lines cost.
    reader: Mutex<Option<Reader>>,
    /// Of records before this one it is counted which are damaged.
    damage_counted: AtomicU64,
    pub pushed: Notify,
    /// Of what is pushed in this run.
    sender: u128,
    /// Of records that do not say it.
    earlier_sender: u128,
    pub aside: Aside,
    pub counts: Counts,
    /// Records from here on carry positions that are nowhere else yet; `u64::MAX` where there are none.
    keep_from: AtomicU64,
}

/// As the mixins' dashboards call it.
pub const CLUSTER_LABEL: &str = "cluster";

/// Why records are given up.
const QUEUE_FULL: &str = "queue_full";
const REFUSED: &str = "refused";
const DISK: &str = "disk";
const DAMAGED: &str = "damaged";

/// What is set aside may be such a part of the queue's size, beside it.
const ASIDE_SHARE: u64 = 16;

/// Small, so that giving back the oldest gives back little.
const SEGMENT_BYTES: u64 = 16 << 20;

#[derive(Debug, thiserror::Error)]
pub enum PushError {
    #[error("compressing a batch: {0}")]
    Compress(#[from] std::io::Error),
    #[error("a batch of {bytes} bytes; the whole queue may have {bytes_max}")]
    TooLarge { bytes: u64, bytes_max: u64 },
    #[error(transparent)]
    Append(#[from] AppendError),
}

impl PushError {
    /// It will not be taken later either.
    pub fn is_for_good(&self) -> bool {
        matches!(self, PushError::TooLarge { .. } | PushError::Append(AppendError::TooLarge { .. }))
    }
}

impl Queue {
    pub fn open(dir: PathBuf, bytes_max: u64) -> anyhow::Result<Queue> {
        Queue::open_on(dir, bytes_max, Box::new(RealDisk))
    }

    /// As [`open`](Queue::open), over a disk that can be made to fail.
    pub fn open_on(dir: PathBuf, bytes_max: u64, disk: Box<dyn Disk>) -> anyhow::Result<Queue> {
        let config = wal::Config {
            bytes_max,
            segment_bytes: SEGMENT_BYTES.min(bytes_max / 4),
            ..wal::Config::new(&dir)
        };
        let (wal, damage) = Wal::open_on(config, disk)?;
        for stretch in damage.iter().filter(|stretch| !stretch.torn_tail) {
            warn!(segment = %stretch.segment.display(), bytes = stretch.bytes, "the agent's queue is damaged; the rest of it is sent");
        }
        let sender = sender_that_goes_on(&dir, wal.next_seq()).unwrap_or_else(rand::random);
        let sent = std::fs::read_to_string(dir.join("sent"));
        let mut sent: Seq = sent.ok().and_then(|text| text.trim().parse().ok()).unwrap_or(0);
        if sent >= wal.next_seq() {
            // Somebody made room by deleting its files. Numbers are given a second time, and new records would be taken
            // for sent ones.
            warn!(dir = %dir.display(), "files of the agent's queue are gone; what they held is lost where it was not sent");
            sent = wal.next_seq() - 1;
            write_whole(&dir.join("sent"), sent.to_string().as_bytes())
                .context("writing down what was sent")?;
        }
        // What was sent and given back while it could not be written down.
        sent = sent.max(wal.first_seq() - 1);
        Ok(Queue {
            cluster: None,
            sender,
            earlier_sender: earlier_sender(&dir).unwrap_or(sender),
            aside: Aside::open(dir.join("aside"), bytes_max / ASIDE_SHARE)
                .context("reading what was set aside")?,
            wal,
            bytes_max,
            dir,
            sent: AtomicU64::new(sent),
            sending: Mutex::new(0),
            reader: Mutex::default(),
            damage_counted: AtomicU64::new(0),
            pushed: Notify::new(),
            counts: Counts::default(),
            // Until positions are first saved, what the queue holds of them may be all there is.
            keep_from: AtomicU64::new(0),
        })
    }

    /// What is pushed is of this cluster.
    pub fn of_cluster(self, name: Option<String>) -> Queue {
        Queue { cluster: name, ..self }
    }

    pub async fn push_metrics(&self, tenant: &Tenant, batch: &MetricBatch) -> Result<(), PushError> {
        self.push_pieces(tenant, batch).await.map_err(|(wrong, _)| wrong)
    }

    /// Large batches are sent in pieces. Where one of them cannot be queued: how many samples are in none that was.
    async fn push_pieces(&self, tenant: &Tenant, batch: &MetricBatch) -> Result<(), (PushError, usize)> {
        let also: Vec<(&str, &str)> =
            self.cluster.iter().map(|name| (CLUSTER_LABEL, name.as_str())).collect();
        let mut left = batch.samples();
        for piece in wire::otlp::encode_metrics(batch, &also) {
            let contents = Contents::of_samples(piece.samples);
            let pushed = self.push(b'm', tenant, (&[], contents), &piece.bytes).await;
            pushed.map_err(|wrong| (wrong, left))?;
            left = left.saturating_sub(piece.samples);
        }
        Ok(())
    }

    /// `positions`: how far files are read once these lines are safe. Returns the record's place.
    pub async fn push_logs(
        &self,
        tenant: &Tenant,
        batch: &LogBatch,
        positions: &[u8],
    ) -> Result<Seq, PushError> {
        if !positions.is_empty() {
            self.keep_from.fetch_min(self.wal.next_seq(), Ordering::AcqRel);
        }
        let seq = self
            .push(b'l', tenant, (positions, Contents::of_logs(batch)), &wire::otlp::encode_logs(batch))
            .await?;
        self.counts.log_lines.fetch_add(batch.records() as u64, Ordering::Relaxed);
        Ok(seq)
    }

    /// All positions in the queue are also in their file: records need no longer stay for them.
    pub fn positions_are_saved(&self) {
        self.keep_from.store(u64::MAX, Ordering::Release);
    }

    /// Those of records up to this one, before any is pushed in this run. A disk that is full has no room for the others,
    /// and has it once these records may go.
    pub fn positions_are_saved_up_to(&self, seq: Seq) {
        self.keep_from.store(seq.saturating_add(1), Ordering::Release);
    }

    pub async fn push_spans(&self, tenant: &Tenant, batch: &SpanBatch) -> Result<(), PushError> {
        let contents = Contents::of_spans(batch);
        self.push(b't', tenant, (&[], contents), &wire::otlp::encode_spans(batch)).await.map(|_| ())
    }

    async fn push(
        &self,
        kind: u8,
        tenant: &Tenant,
        (positions, contents): (&[u8], Contents),
        body: &[u8],
    ) -> Result<Seq, PushError> {
        self.append(packed(kind, tenant, (positions, contents), body)?).await
    }

    async fn append(&self, record: Record) -> Result<Seq, PushError> {
        let record = Record { sender: self.sender, ..record }.to_bytes();
        // Said before anything makes room for it.
        let (bytes, bytes_max) = (record.len() as u64, self.bytes_max);
        if bytes > bytes_max {
            return Err(PushError::TooLarge { bytes, bytes_max });
        }
        let seq = loop {
            match self.wal.append(record.clone()).await {
                Ok(seq) => break seq,
                Err(AppendError::Full { .. }) if self.make_room(bytes).await => {}
                Err(wrong) => return Err(wrong.into()),
            }
        };
        self.pushed.notify_one();
        Ok(seq)
    }

    /// For so many bytes. False where nothing can be given back. The segment that is written to stays, and may be all there
    /// is: then it is written to no more.
    async fn make_room(&self, bytes: u64) -> bool {
        self.drop_oldest(bytes) || (self.wal.begin_segment().await.is_ok() && self.drop_oldest(bytes))
    }

    /// Gives the oldest segment back, where nobody else made room meanwhile; false where there is none to be given.
    fn drop_oldest(&self, bytes: u64) -> bool {
        let sending = self.sending.lock();
        if self.wal.bytes() + bytes <= self.bytes_max {
            return true;
        }
        let Some(oldest) = self.wal.oldest_segment() else { return false };
        let unsent = oldest.start.max(self.sent() + 1)..oldest.end;
        let lost = self.look_through(unsent.clone());
        if let Err(wrong) = self.wal.truncate_before(oldest.end) {
            warn!(error = %wrong, "the agent's queue is full and its oldest segment cannot be removed");
            return false;
        }
        let records = unsent.filter(|seq| *seq != *sending).count() as u64;
        let mut all = Contents::default();
        for record in lost.into_iter().filter(|record| record.seq != *sending) {
            self.counts.dropped_contents(QUEUE_FULL, record.signal(), record.contents.clone());
            all.merge(record.contents);
        }
        if records > 0 {
            warn!(records, what = all.told(), "the agent's queue is full; its oldest records are dropped");
            self.counts.dropped(QUEUE_FULL, records);
        }
        true
    }

    /// What is in these records, without their bodies.
    fn look_through(&self, places: Range<Seq>) -> Vec<Record> {
        let mut reader = self.wal.read_from(places.start);
        let mut found = vec![];
        while reader.position() < places.end
            && let Ok(Some((seq, bytes))) = reader.next_record()
        {
            let record = self.record(seq, &bytes).filter(|record| places.contains(&record.seq));
            found.extend(record.map(|record| Record { body: vec![], positions: vec![], ..record }));
        }
        found
    }

    /// Whether it may be sent: it was not dropped since it was read. From here on it is not, until
    /// [`mark_sent`](Queue::mark_sent).
    pub fn begin_sending(&self, seq: Seq) -> bool {
        let mut sending = self.sending.lock();
        let is_there = seq == *sending || seq >= self.wal.first_seq();
        if is_there {
            *sending = seq;
        }
        is_there
    }

    /// Whether what is pushed now would soon push out what waits.
    pub fn is_nearly_full(&self) -> bool {
        self.waiting() > 0 && self.wal.bytes() > self.bytes_max / 10 * 9
    }

    /// The agent's own metrics, which nobody sends again: what the disk does not take is lost, and counted.
    pub async fn keep_metrics(&self, tenant: &Tenant, batch: &MetricBatch) {
        if let Err((wrong, samples)) = self.push_pieces(tenant, batch).await {
            self.lost(b'm', Contents::of_samples(samples), &wrong);
        }
    }

    /// The agent's own logs and changes, which were [packed](packed_logs) before, likewise.
    pub async fn keep_packed(&self, record: Record) {
        let (kind, contents) = (record.kind, record.contents.clone());
        let lines = contents.iter().map(|(_, count)| count).sum::<u64>();
        match self.append(record).await {
            Ok(_) => _ = self.counts.log_lines.fetch_add(lines, Ordering::Relaxed),
            Err(wrong) => self.lost(kind, contents, &wrong),
        }
    }

    /// Those that it does not have, for who begins anew and cannot know what was queued before a kill.
    pub async fn new_of(self: Arc<Self>, batches: Vec<Record>) -> Vec<Record> {
        let is_new = move |batch: &Record| !self.has(batch);
        let new = tokio::task::spawn_blocking(move || batches.into_iter().filter(is_new).collect::<Vec<_>>());
        new.await.unwrap_or_default()
    }

    /// Whether a record with the same bytes in it is in the log of the queue, sent or not.
    fn has(&self, record: &Record) -> bool {
        let mut reader = self.wal.read_from(self.wal.first_seq());
        let records = std::iter::from_fn(|| reader.next_record().ok().flatten());
        let mut decoded = records.filter_map(|(seq, bytes)| self.record(seq, &bytes));
        decoded.any(|one| one.kind == record.kind && one.body == record.body)
    }

    /// They cannot be queued, and nobody reads them again.
    pub fn lost_logs(&self, batch: &LogBatch, wrong: &PushError) {
        self.lost(b'l', Contents::of_logs(batch), wrong);
    }

    fn lost(&self, kind: u8, contents: Contents, wrong: &PushError) {
        warn!(error = %wrong, what = contents.told(), "what was collected cannot be queued and is lost");
        self.counts.dropped(DISK, 1);
        self.counts.dropped_contents(DISK, signal(kind), contents);
    }

    /// Ingest will never take it.
    pub fn give_up(&self, record: &Record, why: &str) {
        warn!(why, what = record.contents.told(), "ingest refuses a batch; it is given up");
        self.counts.dropped(REFUSED, 1);
        self.counts.dropped_contents(REFUSED, record.signal(), record.contents.clone());
    }

    /// Ingest refuses it again and again, and may take others: it waits beside the queue, which goes on.
    pub fn set_aside(&self, record: &Record, why: &str) -> std::io::Result<()> {
        self.aside.put(record)?;
        let what = record.contents.told();
        warn!(why, what, "ingest refuses a batch again and again; it is set aside and tried again later");
        while let Some(key) = self.aside.one_too_many() {
            if let Some(oldest) = self.read_aside(key)? {
                self.give_up(&oldest, "more batches are set aside than may be");
                self.aside.remove(key)?;
            }
        }
        Ok(())
    }

    /// One that was set aside, as it is sent now. Nothing where it is damaged: then it is gone.
    pub fn read_aside(&self, key: aside::Key) -> std::io::Result<Option<Record>> {
        let record = self.aside.read(key)?;
        if record.is_none() {
            warn!(dir = %self.dir.display(), "a batch that was set aside is damaged and lost");
            self.counts.dropped(DAMAGED, 1);
            self.aside.remove(key)?;
        }
        Ok(record)
    }

    pub fn sent(&self) -> Seq {
        self.sent.load(Ordering::Acquire)
    }

    pub fn waiting(&self) -> u64 {
        // What was dropped does not wait.
        self.newest().saturating_sub(self.sent().max(self.wal.first_seq().saturating_sub(1)))
    }

    /// The next records that were not sent, up to about so many bytes.
    pub fn next_unsent(&self, bytes_max: usize) -> std::io::Result<Vec<Record>> {
        let from = (self.sent() + 1).max(self.wal.first_seq());
        let mut held = self.reader.lock();
        let goes_on = held.take().filter(|reader| reader.position() == from);
        let reader = held.insert(goes_on.unwrap_or_else(|| self.wal.read_from(from)));
        loop {
            let from = reader.position();
            let batch = reader.next_batch(bytes_max)?;
            let Some(last) = batch.last().map(|(seq, _)| *seq) else { return Ok(vec![]) };
            let records: Vec<Record> =
                batch.into_iter().filter_map(|(seq, bytes)| self.record(seq, &bytes)).collect();
            self.count_damaged(from..last + 1, &records);
            if !records.is_empty() {
                return Ok(records);
            }
            self.mark_sent(last);
        }
    }

    /// What is missing in what was read, once for however often it is read again.
    fn count_damaged(&self, read: Range<Seq>, records: &[Record]) {
        let counted = self.damage_counted.fetch_max(read.end, Ordering::AcqRel);
        // What is not there any more was dropped, and is counted so.
        let from = read.start.max(counted).max(self.wal.first_seq());
        let found = records.iter().filter(|record| record.seq >= from).count() as u64;
        let lost = read.end.saturating_sub(from).saturating_sub(found);
        if lost > 0 {
            warn!(records = lost, dir = %self.dir.display(), "records of the agent's queue are damaged and lost");
            self.counts.dropped(DAMAGED, lost);
        }
    }

    /// The newest record's place; 0 where there never was one.
    pub fn newest(&self) -> Seq {
        self.wal.next_seq() - 1
    }

    /// Positions that records in the queue carry, oldest first, and the records' places.
    pub fn positions_in_queue(&self) -> Vec<(Seq, Vec<u8>)> {
        let mut reader = self.wal.read_from(self.wal.first_seq());
        let records = std::iter::from_fn(|| reader.next_record().ok().flatten());
        let decoded = records.filter_map(|(seq, bytes)| self.record(seq, &bytes));
        let positions = decoded.map(|record| (record.seq, record.positions));
        positions.filter(|(_, positions)| !positions.is_empty()).collect()
    }

    fn record(&self, seq: Seq, bytes: &[u8]) -> Option<Record> {
        Record::from_bytes(seq, bytes, self.earlier_sender)
    }

    /// Sending ends while it waits in memory. It is sent in the next run, but where it was dropped in the queue.
    pub fn end_sending(&self, record: &Record) {
        let mut sending = self.sending.lock();
        if record.seq == std::mem::take(&mut *sending) && record.seq < self.wal.first_seq() {
            warn!(
                what = record.contents.told(),
                "the agent's queue was full; a record that was not sent is dropped"
            );
            self.counts.dropped(QUEUE_FULL, 1);
            self.counts.dropped_contents(QUEUE_FULL, record.signal(), record.contents.clone());
        }
    }

    pub fn mark_sent(&self, seq: Seq) {
        let mut sending = self.sending.lock();
        self.sent.store(seq, Ordering::Release);
        *sending = 0;
    }

    /// Remembers what was sent, and gives its space back. Lost in a crash, it is sent again and known to ingest.
    pub fn save_sent(&self) -> std::io::Result<()> {
        let sent = self.sent();
        let written = write_whole(&self.dir.join("sent"), sent.to_string().as_bytes());
        // Also where nothing can be written: a disk that is full has room by this alone, and what is gone is not sent again.
        self.give_back()?;
        written
    }

    /// What was sent, but for what carries positions that are nowhere else.
    pub fn give_back(&self) -> std::io::Result<()> {
        let sent = self.sent();
        // Read after `sent`: a record that was sent had announced its positions before.
        let keep_from = self.keep_from.load(Ordering::Acquire);
        self.wal.truncate_before((sent + 1).min(keep_from))
    }

    /// All that was sent. The positions in it must be written down at once.
    pub fn give_back_sent(&self) -> std::io::Result<()> {
        self.wal.truncate_before(self.sent() + 1)
    }

    /// Nothing is sent after this: what is sent next has the next number, so its sender may stay the same.
    pub fn close(&self) -> std::io::Result<()> {
        let text = format!("{} {:032x} {}", self.wal.next_seq(), self.sender, boot());
        write_whole(&self.dir.join(CLOSED), text.as_bytes())
    }

    pub fn readings(&self) -> Vec<Reading> {
        let unsent_bytes = if self.waiting() == 0 { 0 } else { self.wal.bytes() };
        let bytes = Reading::gauge(
            "binnacle_agent_queue_bytes",
            "The queue on disk while records wait in it",
            unsent_bytes as f64,
        );
        let records = Reading::gauge(
            "binnacle_agent_queue_records",
            "Records that wait to be sent",
            self.waiting() as f64,
        );
        let aside = Reading::gauge(
            "binnacle_agent_set_aside_records",
            "Records that ingest refused again and again, and that are tried now and then",
            self.aside.keys().len() as f64,
        );
        let mut readings = vec![bytes, records, aside];
        readings.extend(self.counts.readings());
        readings
    }
}

/// A batch of logs as a record that has no place and no sender yet, for whoever holds it until it may be sent.
pub fn packed_logs(tenant: &Tenant, batch: &LogBatch) -> std::io::Result<Record> {
    packed(b'l', tenant, (&[], Contents::of_logs(batch)), &wire::otlp::encode_logs(batch))
}

fn packed(
    kind: u8,
    tenant: &Tenant,
    (positions, contents): (&[u8], Contents),
    body: &[u8],
) -> std::io::Result<Record> {
    Ok(Record {
        seq: 0,
        sender: 0,
        kind,
        tenant: tenant.as_str().to_owned(),
        positions: positions.to_vec(),
        contents,
        body: wire::compression::zstd(body)?,
    })
}

/// Says which number comes next and whose it is, while nobody has the queue open, and in which start of the machine.
const CLOSED: &str = "closed";

/// Whoever closed the queue, if it is as it was then.
fn sender_that_goes_on(dir: &Path, next: Seq) -> Option<u128> {
    let path = dir.join(CLOSED);
    let text = std::fs::read_to_string(&path).ok()?;
    // Before a number is given: after a kill it would not be true any more.
    let gone = std::fs::remove_file(&path).and_then(|()| File::open(dir)?.sync_all());
    let (closed_at, rest) = text.split_once(' ')?;
    let (sender, closed_in) = rest.split_once(' ')?;
    let is_true = gone.is_ok() && closed_at.parse::<Seq>().is_ok_and(|at| at == next) && closed_in == boot();
    u128::from_str_radix(sender, 16).ok().filter(|_| is_true)
}

/// Which start of this machine it is. Machines are made of one image with all that is on it, and each of them would go on
/// as the sender of that.
fn boot() -> String {
    let id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    id.trim().to_owned()
}

/// The one sender of all records, in earlier versions.
fn earlier_sender(dir: &Path) -> Option<u128> {
    let text = std::fs::read_to_string(dir.join("sender")).ok()?;
    u128::from_str_radix(text.trim(), 16).ok()
}

/// A file that is either as it was or as it shall be.
pub fn write_whole(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    use std::io::Write;
    let next = path.with_extension("next");
    let mut file = File::create(&next)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    std::fs::rename(&next, path)?;
    match path.parent() {
        Some(dir) => File::open(dir)?.sync_all(),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests;
