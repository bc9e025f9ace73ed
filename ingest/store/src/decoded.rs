//! Columns of pages as they were decoded lately: a question that is asked again, or one for other rows of the same
//! pages, takes no page apart twice. Bounded by bytes; what was not asked for longest goes first.

use arrow::array::{Array, ArrayRef};
use parking_lot::Mutex;
use std::collections::HashMap;

/// A part, a page of its rows, and a column of its file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Key {
    pub part: i64,
    pub page: u32,
    pub column: u32,
}

struct Entry {
    column: ArrayRef,
    bytes: usize,
    asked_for: u64,
}

#[derive(Default)]
struct Inner {
    entries: HashMap<Key, Entry>,
    bytes: usize,
    /// Counts what is asked for.
    now: u64,
}

pub struct Decoded {
    inner: Mutex<Inner>,
    bytes_max: usize,
}

impl Decoded {
    pub fn new(bytes_max: usize) -> Decoded {
        Decoded { inner: Mutex::default(), bytes_max }
    }

    pub fn get(&self, key: Key) -> Option<ArrayRef> {
        let mut inner = self.inner.lock();
        inner.now += 1;
        let now = inner.now;
        let entry = inner.entries.get_mut(&key)?;
        entry.asked_for = now;
        Some(entry.column.clone())
    }

    /// The column is of this page alone and shares no memory with others.
    pub fn put(&self, key: Key, column: ArrayRef) {
        let bytes = column.get_array_memory_size() + 128;
        let mut inner = self.inner.lock();
        inner.now += 1;
        let entry = Entry { column, bytes, asked_for: inner.now };
        inner.bytes += bytes;
        if let Some(before) = inner.entries.insert(key, entry) {
            inner.bytes -= before.bytes;
        }
        if inner.bytes > self.bytes_max {
            inner.shrink(self.bytes_max / 4 * 3);
        }
    }

    pub fn bytes(&self) -> usize {
        self.inner.lock().bytes
    }
}

impl Inner {
    fn shrink(&mut self, bytes_max: usize) {
        let mut by_age: Vec<(u64, Key)> =
            self.entries.iter().map(|(key, entry)| (entry.asked_for, *key)).collect();
        by_age.sort_unstable_by_key(|(asked_for, _)| *asked_for);
        for (_, key) in by_age {
            if self.bytes <= bytes_max {
                return;
            }
            if let Some(entry) = self.entries.remove(&key) {
                self.bytes -= entry.bytes;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::Int64Array;
    use std::sync::Arc;

    #[test]
    fn what_was_not_asked_for_longest_goes_first() {
        let decoded = Decoded::new(100_000);
        let key = |page: u32| Key { part: 1, page, column: 0 };
        for page in 0..100 {
            decoded.put(key(page), Arc::new(Int64Array::from(vec![i64::from(page); 1_000])));
            assert!(decoded.get(key(0)).is_some(), "it is asked for all the time");
            assert!(decoded.bytes() <= 100_000);
        }
        assert!(decoded.get(key(99)).is_some() && decoded.get(key(50)).is_none());
        let before = decoded.bytes();
        decoded.put(key(99), decoded.get(key(99)).unwrap());
        assert_eq!(decoded.bytes(), before);
    }
}
