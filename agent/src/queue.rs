//! The queue on disk between collectors and the network: what is in it survives a restart, and is sent in order.
//!
//! A record is `│ kind 'm' 'l' 't' │ tenant length u8 │ tenant │ positions length u32 │ positions JSON │ OTLP, zstd │`.
//! Positions say how far log files were read when the record was made: they become true in the moment in which the lines
//! are safe, so a restart reads no line twice and leaves none out.

use model::{LogBatch, MetricBatch, Reading, SpanBatch, Tenant};
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::sync::Notify;
use tracing::warn;
use wal::{AppendError, Seq, Wal};

pub struct Queue {
    wal: Wal,
    dir: PathBuf,
    /// Everything up to here has been taken by ingest.
    sent: AtomicU64,
    pub pushed: Notify,
    pub sender: u128,
    pub counts: Counts,
    /// Records from here on carry positions that are nowhere else yet; `u64::MAX` where there are none.
    keep_from: AtomicU64,
}

#[derive(Default)]
pub struct Counts {
    pub sent: [AtomicU64; 3],
    pub send_failures: AtomicU64,
    dropped: Mutex<BTreeMap<&'static str, u64>>,
    pub log_lines: AtomicU64,
}

const KINDS: [(u8, &str); 3] = [(b'm', "metrics"), (b'l', "logs"), (b't', "traces")];

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
        KINDS.iter().position(|(kind, _)| *kind == self.kind).unwrap_or(0)
    }
}

fn encode(kind: u8, tenant: &Tenant, positions: &[u8], body: &[u8]) -> Vec<u8> {
    let tenant = tenant.as_str().as_bytes();
    let mut out = Vec::with_capacity(6 + tenant.len() + positions.len() + body.len());
    out.extend_from_slice(&[kind, tenant.len() as u8]);
    out.extend_from_slice(tenant);
    out.extend_from_slice(&(positions.len() as u32).to_le_bytes());
    out.extend_from_slice(positions);
    out.extend_from_slice(body);
    out
}

fn decode(seq: Seq, bytes: &[u8]) -> Option<Record> {
    let (&[kind, tenant_len], rest) = bytes.split_first_chunk::<2>()?;
    let (tenant, rest) = rest.split_at_checked(tenant_len as usize)?;
    let (length, rest) = rest.split_first_chunk::<4>()?;
    let (positions, body) = rest.split_at_checked(u32::from_le_bytes(*length) as usize)?;
    let tenant = String::from_utf8(tenant.to_vec()).ok()?;
    Some(Record { seq, kind, tenant, positions: positions.to_vec(), body: body.to_vec() })
}

impl Queue {
    pub fn open(dir: PathBuf, bytes_max: u64) -> anyhow::Result<Queue> {
        let config = wal::Config {
            bytes_max,
            segment_bytes: SEGMENT_BYTES.min(bytes_max / 4),
            ..wal::Config::new(&dir)
        };
        let (wal, damage) = Wal::open(config)?;
        for stretch in damage.iter().filter(|stretch| !stretch.torn_tail) {
            warn!(segment = %stretch.segment.display(), bytes = stretch.bytes, "the agent's queue is damaged; the rest of it is sent");
        }
        let sent = std::fs::read_to_string(dir.join("sent"))
            .ok()
            .and_then(|text| text.trim().parse().ok())
            .unwrap_or(0);
        Ok(Queue {
            sender: sender(&dir)?,
            wal,
            dir,
            sent: AtomicU64::new(sent),
            pushed: Notify::new(),
            counts: Counts::default(),
            // Until positions are first saved, what the queue holds of them may be all there is.
            keep_from: AtomicU64::new(0),
        })
    }

    pub async fn push_metrics(&self, tenant: &Tenant, batch: &MetricBatch) -> Result<(), PushError> {
        for request in wire::otlp::encode_metrics(batch) {
            self.push(b'm', tenant, &[], &request).await?;
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
        let seq = self.push(b'l', tenant, positions, &wire::otlp::encode_logs(batch)).await?;
        self.counts.log_lines.fetch_add(batch.records() as u64, Ordering::Relaxed);
        Ok(seq)
    }

    /// All positions in the queue are also in their file: records need no longer stay for them.
    pub fn positions_are_saved(&self) {
        self.keep_from.store(u64::MAX, Ordering::Release);
    }

    pub async fn push_spans(&self, tenant: &Tenant, batch: &SpanBatch) -> Result<(), PushError> {
        self.push(b't', tenant, &[], &wire::otlp::encode_spans(batch)).await.map(|_| ())
    }

    async fn push(&self, kind: u8, tenant: &Tenant, positions: &[u8], body: &[u8]) -> Result<Seq, PushError> {
        let record = encode(kind, tenant, positions, &wire::compression::zstd(body)?);
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
        while self.wal.bytes() == before && until < next {
            until = (until + 64).min(next);
            if let Err(wrong) = self.wal.truncate_before(until) {
                warn!(error = %wrong, "the agent's queue is full and its oldest segment cannot be removed");
                return false;
            }
        }
        let unsent = self.wal.first_seq().saturating_sub(first.max(self.sent() + 1));
        if unsent > 0 {
            warn!(records = unsent, "the agent's queue is full; its oldest records are dropped");
            self.dropped("queue_full", unsent);
        }
        self.wal.bytes() < before
    }

    pub fn dropped(&self, reason: &'static str, records: u64) {
        *self.counts.dropped.lock().entry(reason).or_default() += records;
    }

    pub fn sent(&self) -> Seq {
        self.sent.load(Ordering::Acquire)
    }

    pub fn waiting(&self) -> u64 {
        (self.wal.next_seq() - 1).saturating_sub(self.sent())
    }

    /// The next records that were not sent, up to about so many bytes.
    pub fn next_unsent(&self, bytes_max: usize) -> std::io::Result<Vec<Record>> {
        let mut reader = self.wal.read_from((self.sent() + 1).max(self.wal.first_seq()));
        loop {
            let batch = reader.next_batch(bytes_max)?;
            let Some(last) = batch.last().map(|(seq, _)| *seq) else { return Ok(vec![]) };
            let read = batch.len();
            let records: Vec<Record> =
                batch.into_iter().filter_map(|(seq, bytes)| decode(seq, &bytes)).collect();
            if records.len() < read {
                self.dropped("damaged", (read - records.len()) as u64);
            }
            if !records.is_empty() {
                return Ok(records);
            }
            self.mark_sent(last);
        }
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
        write_whole(&self.dir.join("sent"), sent.to_string().as_bytes())?;
        // Read after `sent`: a record that was sent had announced its positions before.
        let keep_from = self.keep_from.load(Ordering::Acquire);
        self.wal.truncate_before((sent + 1).min(keep_from))
    }

    pub fn readings(&self) -> Vec<Reading> {
        let unsent_bytes = if self.waiting() == 0 { 0 } else { self.wal.bytes() };
        let mut readings = vec![
            Reading::gauge(
                "binnacle_agent_queue_bytes",
                "The queue on disk while records wait in it",
                unsent_bytes as f64,
            ),
            Reading::gauge(
                "binnacle_agent_queue_records",
                "Records that wait to be sent",
                self.waiting() as f64,
            ),
            Reading::counter(
                "binnacle_agent_send_failures_total",
                "Attempts to send that failed and are repeated",
                self.counts.send_failures.load(Ordering::Relaxed) as f64,
            ),
            Reading::counter(
                "binnacle_agent_log_lines_total",
                "Log lines read",
                self.counts.log_lines.load(Ordering::Relaxed) as f64,
            ),
        ];
        for ((_, signal), count) in KINDS.iter().zip(&self.counts.sent) {
            let count = count.load(Ordering::Relaxed) as f64;
            readings.push(
                Reading::counter("binnacle_agent_sent_records_total", "Batches that ingest has taken", count)
                    .with("signal", *signal),
            );
        }
        for (reason, count) in &*self.counts.dropped.lock() {
            readings.push(
                Reading::counter("binnacle_agent_dropped_records_total", "Batches given up", *count as f64)
                    .with("reason", *reason),
            );
        }
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
