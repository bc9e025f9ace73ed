//! The store's own settings, each bound with its default and the reason for it.

use std::path::PathBuf;
use std::time::Duration;

#[derive(Clone, Debug)]
pub struct Config {
    /// Holds `wal/`, `catalog.db` and `parts/`.
    pub dir: PathBuf,
    /// Memtables together; past it writes are refused until a flush has made room.
    pub memory_bytes_max: usize,
    /// Memtables are flushed at this size (rows, and half of samples), or at `flush_interval` where they hold anything.
    /// Small, as a merge costs little memory and a flush as much as the memtable.
    pub flush_bytes: usize,
    pub flush_interval: Duration,
    /// The log may grow to this while flushes fail; past it writes are refused.
    pub wal_bytes_max: u64,
    /// Off only in tests.
    pub fsync: bool,
    pub retention: Retention,
    pub limits: Limits,
    /// Exemplars in memory and in the catalog; past it the oldest go. This is about 100,000 of them.
    pub exemplar_bytes_max: usize,
    /// Told when a flush or a merge begins and when it has ended: these use and free much memory in a short time, and
    /// the process can have its allocator give it back at once.
    pub on_rewrite: fn(Rewrite),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rewrite {
    Begins,
    Ended,
}

/// How long records are kept, by their own time.
#[derive(Clone, Copy, Debug)]
pub struct Retention {
    pub metrics: Duration,
    pub logs: Duration,
    pub spans: Duration,
}

/// What one record may be. A refusal names the field here.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Labels of one series or stream.
    pub labels_max: usize,
    /// Names and values of one series or stream together.
    pub label_bytes_max: usize,
    /// Bytes of one log line; Loki's own limit is 256 KB, real stack dumps are longer.
    pub line_bytes_max: usize,
    /// Names and values of one exemplar together, without those of its series.
    pub exemplar_bytes_max: usize,
    /// Active series of one tenant in memory.
    pub series_max: usize,
    /// How far ahead of this machine's clock a record may be.
    pub future_max: Duration,
}

const DAY: Duration = Duration::from_secs(86_400);

impl Default for Config {
    fn default() -> Self {
        Config {
            dir: "binnacle-data".into(),
            memory_bytes_max: 1 << 30,
            flush_bytes: 24 << 20,
            flush_interval: Duration::from_secs(60),
            wal_bytes_max: 8 << 30,
            fsync: true,
            exemplar_bytes_max: 32 << 20,
            retention: Retention { metrics: 31 * DAY, logs: 31 * DAY, spans: 14 * DAY },
            limits: Limits {
                labels_max: 128,
                label_bytes_max: 64 << 10,
                line_bytes_max: 2 << 20,
                exemplar_bytes_max: 1 << 10,
                series_max: 2_000_000,
                future_max: DAY,
            },
            on_rewrite: |_| (),
        }
    }
}
