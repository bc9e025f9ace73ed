//! The store's own settings, each bound with its default and the reason for it.

use crate::downsample::Downsampling;
use crate::limits::LimitBook;
pub use crate::rows::part::WordBounds;
use model::{Labels, Matcher, ReadLogQuery};
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
    /// Log lines of so many bytes come so fast that their part stays raw until it is merged.
    pub raw_from_bytes: usize,
    pub flush_interval: Duration,
    /// The log may grow to this while flushes fail; past it writes are refused.
    pub wal_bytes_max: u64,
    /// Off only in tests.
    pub fsync: bool,
    pub retention: Retention,
    pub limits: LimitBook,
    pub downsampling: Downsampling,
    /// Exemplars in memory and in the catalog; past it the oldest go. This is about 100,000 of them.
    pub exemplar_bytes_max: usize,
    /// Side indexes of parts in memory; past it those that were not used for longest go.
    pub index_bytes_max: usize,
    /// What the words of a part of logs may take while it is made.
    pub words: WordBounds,
    /// Told when a flush or a merge begins, when a thread has computed for it, and when it has ended: these use and free
    /// much memory in a short time, and the process can have its allocator give it back at once.
    pub on_rewrite: fn(Rewrite),
    /// What deletions of logs are written in.
    pub read_log_query: ReadLogQuery,
    /// How long a deletion of logs can be taken back; what it hides stays on disk as long. Loki's default.
    pub delete_cancel_period: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rewrite {
    Begins,
    /// On the thread that did it.
    Computed,
    Ended,
}

/// How long records are kept, by their own time.
#[derive(Clone, Debug)]
pub struct Retention {
    pub metrics: Duration,
    pub logs: Duration,
    /// Log streams that are kept for another time.
    pub streams: Vec<StreamRetention>,
    pub spans: Duration,
}

/// Of the streams that pass the matchers. Where several fit, the one with the highest priority counts, and of these the
/// shortest: Loki's `retention_stream`.
#[derive(Clone, Debug, PartialEq)]
pub struct StreamRetention {
    pub matchers: Vec<Matcher>,
    pub priority: i32,
    pub period: Duration,
}

impl StreamRetention {
    pub fn matches(&self, labels: &Labels) -> bool {
        self.matchers.iter().all(|matcher| matcher.matches_labels(labels))
    }
}

/// What log lines and their streams may be, beside what holds for all records. `None` and 0: no limit. Named in refusals
/// as Loki's `limits_config` names them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LogLimits {
    /// `max_label_names_per_series`, where it is less than [`Limits::labels_max`].
    pub label_names_max: usize,
    /// `max_label_name_length` and `max_label_value_length`, in bytes.
    pub label_name_bytes_max: usize,
    pub label_value_bytes_max: usize,
    /// `reject_old_samples_max_age`.
    pub age_max: Option<Duration>,
    /// `creation_grace_period`; without it [`Limits::future_max`].
    pub future_max: Option<Duration>,
    /// `ingestion_rate_mb` and `ingestion_burst_size_mb`, of one tenant.
    pub rate: Option<Rate>,
    /// `per_stream_rate_limit` and its burst.
    pub stream_rate: Option<Rate>,
}

/// Bytes of lines a second, and how many may come at once.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rate {
    pub bytes_per_s: f64,
    pub burst_bytes: f64,
}

const DAY: Duration = Duration::from_secs(86_400);

impl Default for Config {
    fn default() -> Self {
        Config {
            dir: "binnacle-data".into(),
            memory_bytes_max: 1 << 30,
            flush_bytes: 16 << 20,
            raw_from_bytes: 8 << 20,
            flush_interval: Duration::from_secs(60),
            wal_bytes_max: 8 << 30,
            fsync: true,
            exemplar_bytes_max: 32 << 20,
            index_bytes_max: 256 << 20,
            words: WordBounds::default(),
            retention: Retention { metrics: 31 * DAY, logs: 31 * DAY, streams: vec![], spans: 14 * DAY },
            downsampling: Downsampling::default(),
            limits: LimitBook::default(),
            on_rewrite: |_| (),
            read_log_query: |_| Err("nobody here reads log queries".into()),
            delete_cancel_period: DAY,
        }
    }
}
