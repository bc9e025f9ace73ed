//! The queue on disk between collectors and the network: what is in it survives a restart, and is sent in order.
//!
//! A record is `│ kind 'M' 'L' 'T' │ tenant length u8 │ tenant │ positions length u32 │ positions JSON │ contents length u32 │
//! contents JSON │ OTLP, zstd │`; one of kind `m`, `l` or `t` has no contents, as those of earlier versions. Contents say how
//! much of whom is in it: when the queue is full and the oldest are dropped, that is told.
//! Positions say how far log files were read when the record was made: they become true in the moment in which the lines
//! are safe, so a restart reads no line twice and leaves none out.

mod contents;
mod counts;

use contents::Contents;
use counts::Counts;
use model::{LogBatch, MetricBatch, Reading, SpanBatch, Tenant};
use parking_lot::Mutex;
use std::ops::Range;
use std::path::{Path, PathBuf};
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
    /// Where sending reads on. A reader begins at the first record of a segment, and what is before its place is read and
    /// checked for nothing: with one made anew for every batch that was a fifth of what log lines cost.
    reader: Mutex<Option<Reader>>,
    /// Of records before this one it is counted which are damaged.
    damage_counted: AtomicU64,
    pub pushed: Notify,
    pub sender: u128,
    pub counts: Counts,
    /// Records from here on carry positions that are nowhere else yet; `u64::MAX` where there are none.
    keep_from: AtomicU64,
}

/// As the mixins' dashboards call it.
pub const CLUSTER_LABEL: &str = "cluster";

const KINDS: [(u8, &str); 3] = [(b'm', "metrics"), (b'l', "logs"), (b't', "traces")];

/// Why records are given up.
const QUEUE_FULL: &str = "queue_full";
const REFUSED: &str = "refused";
const DISK: &str = "disk";
const DAMAGED: &str = "damaged";

/// Small, so that giving back the oldest gives back little.
const SEGMENT_BYTES: u64 = 16 << 20;

#[derive(Debug, thiserror::Error)]
pub enum PushError {
    #[error("compressing a batch: {0}")]
    Compress(#[from] std::io::Error),
    #[error(transparent)]
    Append(#[from] AppendError),
}

/// A record as it is sent.
pub struct Record {
    pub seq: Seq,
    pub kind: u8,
    pub tenant: String,
    pub positions: Vec<u8>,
    pub contents: Contents,
    pub body: Vec<u8>,
}

impl Record {
    /// Path of the OTLP door.
    pub fn path(&self) -> &'static str {
        match self.kind {
            b'm' => "/otlp/v1/metrics",
            b'l' => "/otlp/v1/logs",
            _ => "/otlp/v1/traces",
        }
    }

    pub fn signal(&self) -> usize {
        signal(self.kind)
    }
}

fn signal(kind: u8) -> usize {
    KINDS.iter().position(|(one, _)| *one == kind).unwrap_or(0)
}

fn encode(kind: u8, tenant: &Tenant, positions: &[u8], contents: &Contents, body: &[u8]) -> Vec<u8> {
    let tenant = tenant.as_str().as_bytes();
    let contents = serde_json::to_vec(contents).unwrap_or_default();
    let mut out = Vec::with_capacity(10 + tenant.len() + positions.len() + contents.len() + body.len());
    out.extend_from_slice(&[kind.to_ascii_uppercase(), tenant.len() as u8]);
    out.extend_from_slice(tenant);
    out.extend_from_slice(&(positions.len() as u32).to_le_bytes());
    out.extend_from_slice(positions);
    out.extend_from_slice(&(contents.len() as u32).to_le_bytes());
    out.extend_from_slice(&contents);
    out.extend_from_slice(body);
    out
}

fn decode(seq: Seq, bytes: &[u8]) -> Option<Record> {
    let (&[kind, tenant_len], rest) = bytes.split_first_chunk::<2>()?;
    let (tenant, rest) = rest.split_at_checked(tenant_len as usize)?;
    let counted = |bytes: &'_ [u8]| -> Option<(usize, usize)> {
        let (length, rest) = bytes.split_first_chunk::<4>()?;
        let length = u32::from_le_bytes(*length) as usize;
        (length <= rest.len()).then_some((4, 4 + length))
    };
    let (from, to) = counted(rest)?;
    let (positions, mut body) = (rest[from..to].to_vec(), &rest[to..]);
    let mut contents = Contents::default();
    if kind.is_ascii_uppercase() {
        let (from, to) = counted(body)?;
        contents = serde_json::from_slice(&body[from..to]).unwrap_or_default();
        body = &body[to..];
    }
    let (tenant, kind) = (String::from_utf8(tenant.to_vec()).ok()?, kind.to_ascii_lowercase());
    Some(Record { seq, kind, tenant, positions, contents, body: body.to_vec() })
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
        let sent = std::fs::read_to_string(dir.join("sent"));
        let mut sent: Seq = sent.ok().and_then(|text| text.trim().parse().ok()).unwrap_or(0);
        if sent >= wal.next_seq() {
            // Somebody made room by deleting its files. Numbers are given a second time, and by these neither it nor
            // ingest would know new records from those that were sent.
            warn!(dir = %dir.display(), "files of the agent's queue are gone; what they held is lost where it was not sent");
            sent = wal.next_seq() - 1;
            remove(&dir.join("sender"))?;
            write_whole(&dir.join("sent"), sent.to_string().as_bytes())?;
        }
        // What was sent and given back while it could not be written down.
        sent = sent.max(wal.first_seq() - 1);
        Ok(Queue {
            cluster: None,
            sender: sender(&dir)?,
            wal,
            bytes_max,
            dir,
            sent: AtomicU64::new(sent),
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
        // Large batches are sent in pieces; what they hold is told of the first.
        let mut contents = Contents::of_metrics(batch);
        let also: Vec<(&str, &str)> =
            self.cluster.iter().map(|name| (CLUSTER_LABEL, name.as_str())).collect();
        for request in wire::otlp::encode_metrics(batch, &also) {
            self.push(b'm', tenant, (&[], &std::mem::take(&mut contents)), &request).await?;
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
            .push(b'l', tenant, (positions, &Contents::of_logs(batch)), &wire::otlp::encode_logs(batch))
            .await?;
        self.counts.log_lines.fetch_add(batch.records() as u64, Ordering::Relaxed);
        Ok(seq)
    }

    /// All positions in the queue are also in their file: records need no longer stay for them.
    pub fn positions_are_saved(&self) {
        self.keep_from.store(u64::MAX, Ordering::Release);
    }

    pub async fn push_spans(&self, tenant: &Tenant, batch: &SpanBatch) -> Result<(), PushError> {
        let contents = Contents::of_spans(batch);
        self.push(b't', tenant, (&[], &contents), &wire::otlp::encode_spans(batch)).await.map(|_| ())
    }

    async fn push(
        &self,
        kind: u8,
        tenant: &Tenant,
        (positions, contents): (&[u8], &Contents),
        body: &[u8],
    ) -> Result<Seq, PushError> {
        let record = encode(kind, tenant, positions, contents, &wire::compression::zstd(body)?);
        let seq = loop {
            match self.wal.append(record.clone()).await {
                Ok(seq) => break seq,
                Err(AppendError::Full { .. }) if self.drop_oldest() => {}
                Err(wrong) => return Err(wrong.into()),
            }
        };
        self.pushed.notify_one();
        Ok(seq)
    }

    /// Gives the oldest segment back; false where nothing can be given.
    fn drop_oldest(&self) -> bool {
        let (first, next, before) = (self.wal.first_seq(), self.wal.next_seq(), self.wal.bytes());
        let mut until = first;
        let mut passed: Vec<(Seq, usize, Contents)> = vec![];
        let mut reader = self.wal.read_from(first.max(self.sent() + 1));
        while self.wal.bytes() == before && until < next {
            self.look_through(&mut reader, (until + 64).min(next), &mut passed);
            until = (until + 64).min(next);
            if let Err(wrong) = self.wal.truncate_before(until) {
                warn!(error = %wrong, "the agent's queue is full and its oldest segment cannot be removed");
                return false;
            }
        }
        let unsent = self.wal.first_seq().saturating_sub(first.max(self.sent() + 1));
        if unsent > 0 {
            let first = self.wal.first_seq();
            let mut all = Contents::default();
            for (_, signal, contents) in passed.into_iter().filter(|(seq, ..)| *seq < first) {
                self.counts.dropped_contents(QUEUE_FULL, signal, contents.clone());
                all.merge(contents);
            }
            warn!(
                records = unsent,
                what = all.told(),
                "the agent's queue is full; its oldest records are dropped"
            );
            self.counts.dropped(QUEUE_FULL, unsent);
        }
        self.wal.bytes() < before
    }

    /// What is in the records before this one, as far as they were not looked through.
    fn look_through(&self, reader: &mut wal::Reader, until: Seq, passed: &mut Vec<(Seq, usize, Contents)>) {
        while reader.position() < until {
            let Ok(Some((seq, bytes))) = reader.next_record() else { return };
            if let Some(record) = decode(seq, &bytes) {
                passed.push((seq, record.signal(), record.contents));
            }
        }
    }

    /// Whether what is pushed now would soon push out what waits.
    pub fn is_nearly_full(&self) -> bool {
        self.waiting() > 0 && self.wal.bytes() > self.bytes_max / 10 * 9
    }

    /// The agent's own metrics, which nobody sends again: what the disk does not take is lost, and counted.
    pub async fn keep_metrics(&self, tenant: &Tenant, batch: &MetricBatch) {
        if let Err(wrong) = self.push_metrics(tenant, batch).await {
            self.lost(b'm', Contents::of_metrics(batch), &wrong);
        }
    }

    /// The agent's own logs and changes, likewise.
    pub async fn keep_logs(&self, tenant: &Tenant, batch: &LogBatch) {
        if let Err(wrong) = self.push_logs(tenant, batch, &[]).await {
            self.lost(b'l', Contents::of_logs(batch), &wrong);
        }
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

    pub fn sent(&self) -> Seq {
        self.sent.load(Ordering::Acquire)
    }

    pub fn waiting(&self) -> u64 {
        self.newest().saturating_sub(self.sent())
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
                batch.into_iter().filter_map(|(seq, bytes)| decode(seq, &bytes)).collect();
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
        let decoded = records.filter_map(|(seq, bytes)| decode(seq, &bytes));
        let positions = decoded.map(|record| (record.seq, record.positions));
        positions.filter(|(_, positions)| !positions.is_empty()).collect()
    }

    pub fn mark_sent(&self, seq: Seq) {
        self.sent.store(seq, Ordering::Release);
    }

    /// Remembers what was sent, and gives its space back. Lost in a crash, it is sent again and known to ingest.
    pub fn save_sent(&self) -> std::io::Result<()> {
        let sent = self.sent();
        let written = write_whole(&self.dir.join("sent"), sent.to_string().as_bytes());
        // Read after `sent`: a record that was sent had announced its positions before.
        let keep_from = self.keep_from.load(Ordering::Acquire);
        // Also where nothing can be written: a disk that is full has room by this alone, and what is gone is not sent again.
        self.wal.truncate_before((sent + 1).min(keep_from))?;
        written
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
        let mut readings = vec![bytes, records];
        readings.extend(self.counts.readings());
        readings
    }
}

/// This agent's name to ingest, made once.
fn sender(dir: &Path) -> anyhow::Result<u128> {
    let path = dir.join("sender");
    if let Ok(text) = std::fs::read_to_string(&path) {
        return Ok(u128::from_str_radix(text.trim(), 16)?);
    }
    let sender: u128 = rand::random();
    write_whole(&path, format!("{sender:032x}").as_bytes())?;
    Ok(sender)
}

fn remove(path: &Path) -> std::io::Result<()> {
    match std::fs::remove_file(path) {
        Err(wrong) if wrong.kind() != std::io::ErrorKind::NotFound => Err(wrong),
        _ => Ok(()),
    }
}

/// A file that is either as it was or as it shall be.
pub fn write_whole(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    use std::io::Write;
    let next = path.with_extension("next");
    let mut file = std::fs::File::create(&next)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    std::fs::rename(&next, path)?;
    match path.parent() {
        Some(dir) => std::fs::File::open(dir)?.sync_all(),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests;
