//! Batches that ingest refuses again and again while it takes others: they wait here, each in a file of its own, so that
//! one of them does not hold up all that come after it, and are tried again now and then.
//!
//! Ingest takes a number below one that it has for a copy. So what comes later than its turn comes from a sender of its
//! own, which is made of its sender and its place: it is the same one after a kill, and nothing is there twice.

use super::record::Record;
use super::write_whole;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use wal::Seq;

/// More of them are a sign of something else than a bad batch among good ones.
const RECORDS_MAX: usize = 64;

const ENDING: &str = ".record";

/// The place that a record had in the queue, and whose it is.
pub type Key = (Seq, u128);

pub struct Aside {
    dir: PathBuf,
    bytes_max: u64,
    /// Bytes of each file.
    files: Mutex<BTreeMap<Key, u64>>,
}

impl Aside {
    /// What is there. The folder is made when there is something to put into it.
    pub fn open(dir: PathBuf, bytes_max: u64) -> io::Result<Aside> {
        let mut files = BTreeMap::new();
        let entries = match std::fs::read_dir(&dir) {
            Err(wrong) if wrong.kind() == io::ErrorKind::NotFound => None,
            entries => Some(entries?),
        };
        for entry in entries.into_iter().flatten() {
            let entry = entry?;
            match entry.file_name().to_str().and_then(key_of) {
                Some(key) => _ = files.insert(key, entry.metadata()?.len()),
                // Half written in a crash: the record is in the queue still.
                None => remove(&entry.path())?,
            }
        }
        Ok(Aside { dir, bytes_max, files: Mutex::new(files) })
    }

    /// The record is safe here once this returns.
    pub fn put(&self, record: &Record) -> io::Result<()> {
        let bytes = record.to_bytes();
        std::fs::create_dir_all(&self.dir)?;
        if let Some(above) = self.dir.parent() {
            File::open(above)?.sync_all()?;
        }
        let key = (record.seq, record.sender);
        write_whole(&self.path(key), &bytes)?;
        self.files.lock().insert(key, bytes.len() as u64);
        Ok(())
    }

    /// The oldest, where there are more than may be.
    pub fn one_too_many(&self) -> Option<Key> {
        let files = self.files.lock();
        let bytes: u64 = files.values().sum();
        let is_full = files.len() > RECORDS_MAX || (bytes > self.bytes_max && files.len() > 1);
        files.keys().next().copied().filter(|_| is_full)
    }

    /// Whether it can come to the others, and none of them has to go for it.
    pub fn has_room_for(&self, record: &Record) -> bool {
        let files = self.files.lock();
        let bytes: u64 = files.values().sum();
        files.len() < RECORDS_MAX && bytes + record.to_bytes().len() as u64 <= self.bytes_max
    }

    pub fn has(&self, record: &Record) -> bool {
        self.files.lock().contains_key(&(record.seq, record.sender))
    }

    /// The oldest first.
    pub fn keys(&self) -> Vec<Key> {
        self.files.lock().keys().copied().collect()
    }

    /// As it is sent from here; `None` where the file is damaged or gone.
    pub fn read(&self, key: Key) -> io::Result<Option<Record>> {
        let bytes = match std::fs::read(self.path(key)) {
            Err(wrong) if wrong.kind() == io::ErrorKind::NotFound => return Ok(None),
            read => read?,
        };
        let (seq, sender) = key;
        let record = Record::from_bytes(1, &bytes, sender);
        Ok(record.map(|record| Record { sender: sender ^ u128::from(seq), ..record }))
    }

    pub fn remove(&self, key: Key) -> io::Result<()> {
        remove(&self.path(key))?;
        self.files.lock().remove(&key);
        Ok(())
    }

    fn path(&self, (seq, sender): Key) -> PathBuf {
        self.dir.join(format!("{seq:020}-{sender:032x}{ENDING}"))
    }
}

fn key_of(name: &str) -> Option<Key> {
    let (seq, sender) = name.strip_suffix(ENDING)?.split_once('-')?;
    Some((seq.parse().ok()?, u128::from_str_radix(sender, 16).ok()?))
}

fn remove(path: &Path) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Err(wrong) if wrong.kind() != io::ErrorKind::NotFound => Err(wrong),
        _ => Ok(()),
    }
}
