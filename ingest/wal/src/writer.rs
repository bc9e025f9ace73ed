//! The one thread that writes: takes what waits, writes it with one call, syncs once, answers all.

use crate::disk::Disk;
use crate::open::segment_path;
use crate::{Config, Segment, Seq, Shared, record};
use std::fs::{File, OpenOptions};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;
use tokio::sync::{mpsc, oneshot};
use tracing::{error, info};

/// Why a record is not in the log.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum AppendError {
    #[error("the log has reached its {bytes_max} bytes")]
    Full { bytes_max: u64 },
    #[error("a record of {bytes} bytes; the largest is {bytes_max}")]
    TooLarge { bytes: usize, bytes_max: usize },
    /// The disk's own words, such as "No space left on device".
    #[error("writing the log in {}: {text}", dir.display())]
    Io { dir: PathBuf, text: String },
    #[error("the log is closed")]
    Closed,
}

pub struct Append {
    pub payload: Vec<u8>,
    pub done: oneshot::Sender<Result<Seq, AppendError>>,
}

/// What the writer is asked for, in the order of asking.
pub enum Order {
    Append(Append),
    BeginSegment(oneshot::Sender<Result<(), AppendError>>),
}

/// Payload bytes that share one write and one fsync; more wait for the next.
const GROUP_BYTES_MAX: usize = 16 << 20;

pub struct Writer {
    shared: Arc<Shared>,
    segment_bytes: u64,
    fsync: bool,
    file: File,
    disk: Box<dyn Disk>,
    buffer: Vec<u8>,
    /// Nothing may be written to this segment any more, and a new one begins: after a failed sync the kernel takes for
    /// written what is not, and after a failed cut there is something behind the last record.
    spoiled: bool,
    /// The last records were refused.
    refuses: bool,
}

impl Writer {
    pub fn new(shared: Arc<Shared>, config: &Config, file: File, disk: Box<dyn Disk>) -> Writer {
        Writer {
            shared,
            segment_bytes: config.segment_bytes,
            fsync: config.fsync,
            file,
            disk,
            buffer: vec![],
            spoiled: false,
            refuses: false,
        }
    }

    /// Until the last handle is dropped.
    pub fn run(mut self, mut waiting: mpsc::Receiver<Order>) {
        while let Some(order) = waiting.blocking_recv() {
            // A mistake costs whoever waits for this order, not all who come after.
            let done = catch_unwind(AssertUnwindSafe(|| self.carry_out(order, &mut waiting)));
            if done.is_err() {
                error!(dir = %self.shared.dir.display(), "the log's writer came to a panic; it begins a new segment");
                self.spoiled = true;
            }
        }
    }

    /// The order, and the appends that wait behind it.
    fn carry_out(&mut self, order: Order, waiting: &mut mpsc::Receiver<Order>) {
        let mut begun = None;
        match order {
            Order::BeginSegment(done) => begun = Some(done),
            Order::Append(first) => {
                let mut bytes = first.payload.len();
                let mut group = vec![first];
                while bytes < GROUP_BYTES_MAX && begun.is_none() {
                    match waiting.try_recv() {
                        Ok(Order::Append(next)) => {
                            bytes += next.payload.len();
                            group.push(next);
                        }
                        // It was asked for after these appends: they are written first.
                        Ok(Order::BeginSegment(done)) => begun = Some(done),
                        Err(_) => break,
                    }
                }
                self.commit(group);
            }
        }
        if let Some(done) = begun {
            let _ = done.send(self.begin_next_segment());
        }
    }

    fn begin_next_segment(&mut self) -> Result<(), AppendError> {
        if self.size() == 0 && !self.spoiled {
            return Ok(());
        }
        let next = self.shared.next.load(Ordering::Relaxed);
        self.begin_segment(next)
            .map_err(|wrong| AppendError::Io { dir: self.shared.dir.clone(), text: wrong.to_string() })
    }

    fn commit(&mut self, group: Vec<Append>) {
        let first = self.shared.next.load(Ordering::Relaxed);
        self.buffer.clear();
        for (i, append) in group.iter().enumerate() {
            record::encode(first + i as u64, &append.payload, &mut self.buffer);
        }
        let written = self.make_durable(first);
        self.tell(&written);
        if written.is_ok() {
            self.shared.next.store(first + group.len() as u64, Ordering::Release);
        }
        for (i, append) in group.into_iter().enumerate() {
            let answer = match &written {
                Ok(()) => Ok(first + i as u64),
                Err(wrong) => Err(AppendError::Io { dir: self.shared.dir.clone(), text: wrong.to_string() }),
            };
            // A caller that went away does not wait for its answer.
            let _ = append.done.send(answer);
        }
        // One huge request must not keep its buffer for ever.
        self.buffer.shrink_to(GROUP_BYTES_MAX);
    }

    /// Once each: who is refused comes again, and a full disk stays full for long.
    fn tell(&mut self, written: &io::Result<()>) {
        let refused = std::mem::replace(&mut self.refuses, written.is_err());
        let dir = self.shared.dir.display();
        match written {
            Err(wrong) if !refused => error!(%dir, error = %wrong, "write-ahead log refuses records"),
            Ok(()) if refused => info!(%dir, "write-ahead log takes records again"),
            _ => {}
        }
    }

    fn make_durable(&mut self, first: Seq) -> io::Result<()> {
        let size = self.size();
        if self.spoiled || (size > 0 && size >= self.segment_bytes) {
            self.begin_segment(first)?;
        }
        let start = self.size();
        if let Err(wrong) = self.write_and_sync() {
            // Half a record may be there, or a whole one that nobody was told is safe: neither may come back.
            self.spoiled |= self.disk.cut(&self.file, start).and_then(|()| self.sync()).is_err();
            return Err(wrong);
        }
        let bytes = self.buffer.len() as u64;
        if let Some(segment) = self.shared.segments.lock().back_mut() {
            segment.bytes += bytes;
        }
        self.shared.bytes.fetch_add(bytes, Ordering::Relaxed);
        Ok(())
    }

    fn write_and_sync(&mut self) -> io::Result<()> {
        self.disk.write(&mut self.file, &self.buffer)?;
        let synced = self.sync();
        self.spoiled |= synced.is_err();
        synced
    }

    fn sync(&mut self) -> io::Result<()> {
        if self.fsync {
            let started = Instant::now();
            self.disk.sync(&self.file)?;
            self.shared.syncs.fetch_add(1, Ordering::Relaxed);
            self.shared.sync_us.fetch_add(started.elapsed().as_micros() as u64, Ordering::Relaxed);
        }
        Ok(())
    }

    /// Of the segment that is written to.
    fn size(&self) -> u64 {
        self.shared.segments.lock().back().map_or(0, |segment| segment.bytes)
    }

    /// Where the last step fails, the segment may be there after a crash, and then ends the one before it: nothing may be
    /// written to either until it is there for certain. One of the same name, into which nothing could be written, is
    /// replaced: it may hold what was refused.
    fn begin_segment(&mut self, first: Seq) -> io::Result<()> {
        if self.spoiled {
            let size = self.size();
            // Once more: else the next opening finds bytes there that are no record. Where it fails, that is told then.
            let _ = self.disk.cut(&self.file, size);
        }
        let path = segment_path(&self.shared.dir, first);
        let made = path.with_extension("next");
        let file = OpenOptions::new().create(true).append(true).open(&made)?;
        file.set_len(0)?;
        self.spoiled = true;
        std::fs::rename(&made, &path)?;
        self.disk.sync_dir(&self.shared.dir)?;
        let mut segments = self.shared.segments.lock();
        if segments.back().is_none_or(|last| last.first != first) {
            segments.push_back(Segment { first, bytes: 0 });
        }
        drop(segments);
        (self.file, self.spoiled) = (file, false);
        Ok(())
    }
}
