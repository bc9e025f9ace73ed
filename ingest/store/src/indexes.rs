//! Side indexes in memory: those that were used last, up to a bound. A query over months reads many once; without the bound
//! they would stay as long as their parts.

use crate::part::Index;
use parking_lot::Mutex;
use std::collections::HashMap;

pub struct Indexes {
    bytes_max: usize,
    held: Mutex<Held>,
}

#[derive(Default)]
struct Held {
    /// By the part's id.
    entries: HashMap<i64, Entry>,
    bytes: usize,
    uses: u64,
}

struct Entry {
    index: Index,
    bytes: usize,
    used: u64,
}

impl Indexes {
    pub fn new(bytes_max: usize) -> Indexes {
        Indexes { bytes_max, held: Mutex::default() }
    }

    pub fn get(&self, part: i64) -> Option<Index> {
        let mut held = self.held.lock();
        held.uses += 1;
        let uses = held.uses;
        let entry = held.entries.get_mut(&part)?;
        entry.used = uses;
        Some(entry.index.clone())
    }

    pub fn has(&self, part: i64) -> bool {
        self.held.lock().entries.contains_key(&part)
    }

    /// Keeps an index of about so many bytes; those that were not used for longest go, though whoever has one keeps it.
    pub fn put(&self, part: i64, index: Index, bytes: usize) {
        let mut held = self.held.lock();
        held.uses += 1;
        let used = held.uses;
        held.remove(part);
        while held.bytes + bytes > self.bytes_max
            && let Some(oldest) =
                held.entries.iter().min_by_key(|(_, entry)| entry.used).map(|(part, _)| *part)
        {
            held.remove(oldest);
        }
        held.entries.insert(part, Entry { index, bytes, used });
        held.bytes += bytes;
    }

    pub fn forget(&self, part: i64) {
        self.held.lock().remove(part);
    }
}

impl Held {
    fn remove(&mut self, part: i64) {
        if let Some(entry) = self.entries.remove(&part) {
            self.bytes -= entry.bytes;
        }
    }
}

#[cfg(test)]
impl Indexes {
    pub fn bytes(&self) -> usize {
        self.held.lock().bytes
    }

    /// Ids of parts, ascending.
    pub fn parts(&self) -> Vec<i64> {
        let mut parts: Vec<i64> = self.held.lock().entries.keys().copied().collect();
        parts.sort_unstable();
        parts
    }
}
