//! Opening a log: the lock, the segments that are there, and what a crash or a bad disk left in them.

use crate::disk::Disk;
use crate::record::{self, HEADER_BYTES};
use crate::{Config, Segment, Seq, Shared};
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicU64;
use tracing::warn;

#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("{} is in use by another process", .0.display())]
    Locked(PathBuf),
    #[error("{}: {error}", path.display())]
    Io { path: PathBuf, error: io::Error },
}

/// Bytes of a segment that hold no sound record. Everything before and after them was kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    pub segment: PathBuf,
    pub offset: u64,
    pub bytes: u64,
    /// At the end of the last segment, where a crash during a write leaves half a record that nobody was told is safe.
    pub torn_tail: bool,
}

pub struct Opened {
    pub shared: Shared,
    /// The last segment, positioned at its end.
    pub file: File,
    pub lock: File,
    pub damage: Vec<Damage>,
}

pub fn segment_path(dir: &Path, first: Seq) -> PathBuf {
    dir.join(format!("{first:020}.wal"))
}

pub fn open(config: &Config, disk: &mut dyn Disk) -> Result<Opened, OpenError> {
    let at = |path: &Path| {
        let path = path.to_owned();
        move |error| OpenError::Io { path, error }
    };
    std::fs::create_dir_all(&config.dir).map_err(at(&config.dir))?;
    let lock = lock(&config.dir)?;
    let mut segments = VecDeque::new();
    let (mut next, mut total, mut damage) = (1, 0, vec![]);
    let firsts = list(&config.dir).map_err(at(&config.dir))?;
    for (i, &first) in firsts.iter().enumerate() {
        let path = segment_path(&config.dir, first);
        let bytes = std::fs::read(&path).map_err(at(&path))?;
        let is_last = i + 1 == firsts.len();
        next = next.max(first);
        // What has the number of a record in the next segment was refused, and could not be cut.
        let end = firsts.get(i + 1).copied().unwrap_or(Seq::MAX);
        let mut length = bytes.len() as u64;
        for gap in gaps(&bytes, &mut next, end) {
            let torn_tail = is_last && gap.end == bytes.len();
            warn!(segment = %path.display(), offset = gap.start, bytes = gap.len(), torn_tail, "log holds bytes that are no record");
            damage.push(Damage {
                segment: path.clone(),
                offset: gap.start as u64,
                bytes: gap.len() as u64,
                torn_tail,
            });
            if torn_tail {
                length = gap.start as u64;
                let file = OpenOptions::new().write(true).open(&path).map_err(at(&path))?;
                file.set_len(length).and_then(|()| file.sync_all()).map_err(at(&path))?;
            }
        }
        total += length;
        segments.push_back(Segment { first, bytes: length });
    }
    next = next.max(config.next_min);
    if segments.is_empty() {
        segments.push_back(Segment { first: next, bytes: 0 });
    }
    let last = segments.back().map_or(next, |segment| segment.first);
    let path = segment_path(&config.dir, last);
    let file = OpenOptions::new().create(true).append(true).open(&path).map_err(at(&path))?;
    disk.sync_dir(&config.dir).map_err(at(&config.dir))?;
    let shared = Shared {
        dir: config.dir.clone(),
        segments: Mutex::new(segments),
        bytes: AtomicU64::new(total),
        next: AtomicU64::new(next),
        syncs: AtomicU64::new(0),
        sync_us: AtomicU64::new(0),
    };
    Ok(Opened { shared, file, lock, damage })
}

fn lock(dir: &Path) -> Result<File, OpenError> {
    let path = dir.join("LOCK");
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path)
        .map_err(|error| OpenError::Io { path: path.clone(), error })?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(OpenError::Locked(dir.to_owned())),
        Err(TryLockError::Error(error)) => Err(OpenError::Io { path, error }),
    }
}

fn list(dir: &Path) -> io::Result<Vec<Seq>> {
    let mut firsts = vec![];
    for entry in std::fs::read_dir(dir)? {
        let name = entry?.file_name();
        if let Some(first) = name.to_str().and_then(|n| n.strip_suffix(".wal")).and_then(|n| n.parse().ok()) {
            firsts.push(first);
        }
    }
    firsts.sort_unstable();
    Ok(firsts)
}

/// Ranges of `bytes` that hold no sound record of a place before `end`; `next` moves past the records that are there.
fn gaps(bytes: &[u8], next: &mut Seq, end: Seq) -> Vec<Range<usize>> {
    let mut gaps = vec![];
    let mut at = 0;
    while at < bytes.len() {
        if let Some((seq, payload)) =
            record::decode(&bytes[at..]).filter(|(seq, _)| (*next..end).contains(seq))
        {
            *next = seq + 1;
            at += HEADER_BYTES + payload.len();
            continue;
        }
        let resume = next_sound(bytes, at + 1, *next..end).unwrap_or(bytes.len());
        gaps.push(at..resume);
        at = resume;
    }
    gaps
}

/// How far past the expected position a record after a damaged stretch may be; bounds the search to real candidates.
const SEQ_SKIP_MAX: u64 = 1 << 32;

/// Where the first sound record begins, of those from `from` on whose place is one of these.
pub fn next_sound(bytes: &[u8], from: usize, places: Range<Seq>) -> Option<usize> {
    let places = places.start..places.end.min(places.start.saturating_add(SEQ_SKIP_MAX));
    (from..bytes.len()).find(|&at| {
        // The position first: it rules out almost every offset without a checksum over megabytes.
        let seq = bytes.get(at + 8..at + 16).and_then(|seq| seq.try_into().ok()).map(u64::from_le_bytes);
        seq.is_some_and(|seq| places.contains(&seq)) && record::decode(&bytes[at..]).is_some()
    })
}

/// An error of "no such file" is a segment that was truncated meanwhile.
pub fn is_gone(error: &io::Error) -> bool {
    error.kind() == ErrorKind::NotFound
}
