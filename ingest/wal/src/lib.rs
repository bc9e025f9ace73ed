//! Bytes in, bytes out, crash-safe: a segmented write-ahead log with group commit.
//!
//! A record is durable when [`Wal::append`] returns: many appends share one fsync. [`Wal::read_from`] gives records back
//! in order, after a restart too; [`Wal::truncate_before`] gives their space back. The log knows nothing of what the
//! bytes mean, so the store uses it as its WAL and the agent as its queue on disk. Format: FORMAT.md beside this crate.

mod disk;
mod open;
mod reader;
mod record;
mod writer;

pub use disk::{Disk, RealDisk};
pub use open::{Damage, OpenError};
pub use reader::Reader;
pub use writer::AppendError;

use open::Opened;
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::fs::File;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::sync::{mpsc, oneshot};
use writer::{Append, Order, Writer};

/// Position of a record: 1 for the first ever written, then one more each.
pub type Seq = u64;

#[derive(Clone, Debug)]
pub struct Config {
    /// Made where it is missing; locked against other processes while the log is open.
    pub dir: PathBuf,
    /// A new segment begins past this size. Space is given back by whole segments.
    pub segment_bytes: u64,
    /// Appends that would make the log larger are refused.
    pub bytes_max: u64,
    /// Off only for tests and for data that may be lost with the machine.
    pub fsync: bool,
    /// Every position before it was given, whatever the files tell: somebody may have deleted them.
    pub next_min: Seq,
}

impl Config {
    pub fn new(dir: impl Into<PathBuf>) -> Config {
        Config { dir: dir.into(), segment_bytes: 64 << 20, bytes_max: 4 << 30, fsync: true, next_min: 1 }
    }
}

/// What the writer thread and the handles share.
pub(crate) struct Shared {
    pub(crate) dir: PathBuf,
    /// Oldest first; the last one is written to.
    pub(crate) segments: Mutex<VecDeque<Segment>>,
    /// Bytes in all segments.
    pub(crate) bytes: AtomicU64,
    /// The next record's position: everything before it is durable.
    pub(crate) next: AtomicU64,
    pub(crate) syncs: AtomicU64,
    pub(crate) sync_us: AtomicU64,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Segment {
    pub(crate) first: Seq,
    pub(crate) bytes: u64,
}

/// An open log. Cloning gives another handle to the same one.
#[derive(Clone)]
pub struct Wal {
    shared: Arc<Shared>,
    orders: mpsc::Sender<Order>,
    bytes_max: u64,
    /// Held for the lock on the directory.
    _lock: Arc<File>,
}

/// Appends that wait for the writer; each waiter holds its own payload, so this bounds little but the line's length.
const APPENDS_WAITING_MAX: usize = 1_024;

impl Wal {
    /// Opens or makes the log: cuts a torn tail, skips what is damaged and tells where.
    pub fn open(config: Config) -> Result<(Wal, Vec<Damage>), OpenError> {
        Wal::open_on(config, Box::new(RealDisk))
    }

    /// As [`open`](Wal::open), over a disk that can be made to fail.
    pub fn open_on(config: Config, mut disk: Box<dyn Disk>) -> Result<(Wal, Vec<Damage>), OpenError> {
        let Opened { shared, file, lock, damage } = open::open(&config, &mut *disk)?;
        let shared = Arc::new(shared);
        let (orders, waiting) = mpsc::channel(APPENDS_WAITING_MAX);
        let writer = Writer::new(shared.clone(), &config, file, disk);
        std::thread::Builder::new()
            .name("wal".into())
            .spawn(move || writer.run(waiting))
            .map_err(|error| OpenError::Io { path: config.dir.clone(), error })?;
        Ok((Wal { shared, orders, bytes_max: config.bytes_max, _lock: Arc::new(lock) }, damage))
    }

    /// Returns the record's position once it is on disk. A refused record left nothing behind. Cancelling the call
    /// leaves it unknown whether the record is in the log.
    pub async fn append(&self, payload: Vec<u8>) -> Result<Seq, AppendError> {
        if payload.len() > record::PAYLOAD_BYTES_MAX {
            return Err(AppendError::TooLarge { bytes: payload.len(), bytes_max: record::PAYLOAD_BYTES_MAX });
        }
        if self.bytes() + payload.len() as u64 > self.bytes_max {
            return Err(AppendError::Full { bytes_max: self.bytes_max });
        }
        let (done, waits) = oneshot::channel();
        let order = Order::Append(Append { payload, done });
        self.orders.send(order).await.map_err(|_| AppendError::Closed)?;
        waits.await.unwrap_or_else(|_| Err(self.came_to_a_panic()))
    }

    /// Begins a new segment, so that [`truncate_before`](Wal::truncate_before) can give back every record that is
    /// there now. Nothing happens where the newest segment is empty.
    pub async fn begin_segment(&self) -> Result<(), AppendError> {
        let (done, waits) = oneshot::channel();
        self.orders.send(Order::BeginSegment(done)).await.map_err(|_| AppendError::Closed)?;
        waits.await.unwrap_or_else(|_| Err(self.came_to_a_panic()))
    }

    /// While somebody has the log open, its writer leaves no order without an answer but for this.
    fn came_to_a_panic(&self) -> AppendError {
        AppendError::Io { dir: self.shared.dir.clone(), text: "the log's writer came to a panic".into() }
    }

    /// Reads durable records from `seq` on, in order. Records that were truncated are passed over.
    pub fn read_from(&self, seq: Seq) -> Reader {
        Reader::new(self.shared.clone(), seq)
    }

    /// Deletes segments all of whose records are before `seq`. The segment that is written to stays.
    pub fn truncate_before(&self, seq: Seq) -> std::io::Result<()> {
        while let Some(oldest) = self.oldest_segment().filter(|oldest| oldest.end <= seq) {
            // One that cannot be deleted is there still, and counts.
            match std::fs::remove_file(open::segment_path(&self.shared.dir, oldest.start)) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            let mut segments = self.shared.segments.lock();
            if segments.front().is_some_and(|front| front.first == oldest.start)
                && let Some(gone) = segments.pop_front()
            {
                self.shared.bytes.fetch_sub(gone.bytes, Ordering::Relaxed);
            }
        }
        Ok(())
    }

    /// The positions in the oldest segment, where it is not the one that is written to: what can be given back alone.
    pub fn oldest_segment(&self) -> Option<Range<Seq>> {
        let segments = self.shared.segments.lock();
        Some(segments.front()?.first..segments.get(1)?.first)
    }

    /// Bytes on disk.
    pub fn bytes(&self) -> u64 {
        self.shared.bytes.load(Ordering::Relaxed)
    }

    /// The position that the next record will have; every record before it is durable.
    pub fn next_seq(&self) -> Seq {
        self.shared.next.load(Ordering::Acquire)
    }

    /// The oldest position still in the log, or [`next_seq`](Wal::next_seq) where it is empty.
    pub fn first_seq(&self) -> Seq {
        self.shared.segments.lock().front().map_or(self.next_seq(), |segment| segment.first)
    }

    /// Number of fsyncs and the microseconds they took, since the log was opened.
    pub fn syncs(&self) -> (u64, u64) {
        (self.shared.syncs.load(Ordering::Relaxed), self.shared.sync_us.load(Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests;
