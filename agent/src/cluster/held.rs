//! What was seen of the cluster and is not told yet: changes, and events as log lines. It is told when the lease says so,
//! and only then: who is killed before leaves it to who comes next, and who is killed after finds it in a file when it
//! begins anew.
//!
//! Each batch has a number, by which the lease speaks of it. It knows no lease and no network.

use crate::queue::Record;
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;

/// Who watches waits while more than this is held.
pub const BYTES_MAX: usize = 1 << 20;

#[derive(Default)]
pub struct Held {
    says: Says,
    /// The oldest first; their places are their numbers.
    batches: VecDeque<Record>,
    bytes: usize,
    /// Of the last batch.
    number: u64,
    /// By an agent that was here before, which may have queued some of it when it was killed.
    pub is_of_before: bool,
}

/// The file begins with this in one line; behind it is of each batch `│ number u64 │ length u32 │ record │`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Says {
    /// To the lease.
    holder: String,
    /// Of the lease that was last to be replaced by one that says that all this is told. Where it was replaced by another
    /// one, none will say so any more.
    version: String,
}

impl Held {
    /// A file that is not whole was never written.
    pub fn from_bytes(bytes: &[u8]) -> Option<Held> {
        let line = memchr::memchr(b'\n', bytes)?;
        let (says, mut rest) = (serde_json::from_slice(&bytes[..line]).ok()?, &bytes[line + 1..]);
        let mut held = Held { says, is_of_before: true, ..Held::default() };
        while !rest.is_empty() {
            let (number, after) = rest.split_first_chunk::<8>()?;
            let (length, after) = after.split_first_chunk::<4>()?;
            let (record, after) = after.split_at_checked(u32::from_le_bytes(*length) as usize)?;
            held.number = u64::from_le_bytes(*number);
            held.push(Record::from_bytes(held.number, record, 0)?);
            rest = after;
        }
        Some(held)
    }

    /// Nothing where nothing is held.
    pub fn to_bytes(&self) -> Option<Vec<u8>> {
        if self.batches.is_empty() {
            return None;
        }
        let mut out = serde_json::to_vec(&self.says).ok()?;
        out.push(b'\n');
        for batch in &self.batches {
            let record = batch.to_bytes();
            out.extend_from_slice(&batch.seq.to_le_bytes());
            out.extend_from_slice(&(record.len() as u32).to_le_bytes());
            out.extend_from_slice(&record);
        }
        Some(out)
    }

    /// A term: what is held from now on is this holder's, and its numbers go on after `number`.
    pub fn begin(&mut self, holder: &str, number: u64) {
        let says = Says { holder: holder.to_owned(), version: String::new() };
        *self = Held { says, number, ..Held::default() };
    }

    pub fn add(&mut self, batch: Record) {
        self.number += 1;
        self.push(Record { seq: self.number, ..batch });
    }

    fn push(&mut self, batch: Record) {
        self.bytes += batch.body.len();
        self.batches.push_back(batch);
    }

    /// The lease of this version is about to be replaced by one that says that all this is told.
    pub fn replaces(&mut self, version: String) {
        self.says.version = version;
    }

    pub fn holder(&self) -> &str {
        &self.says.holder
    }

    pub fn number(&self) -> u64 {
        self.number
    }

    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Batches up to this number: a lease says that they are told.
    pub fn take(&mut self, number: u64) -> Vec<Record> {
        let told = self.batches.partition_point(|batch| batch.seq <= number);
        let told: Vec<Record> = self.batches.drain(..told).collect();
        self.bytes -= told.iter().map(|batch| batch.body.len()).sum::<usize>();
        told
    }

    /// The lease has this version now, and another one holds it: who does tells what it does not say.
    pub fn fell_to_another(&mut self, version: &str) {
        if self.says.version != version {
            self.batches.clear();
            self.bytes = 0;
        }
    }

    #[cfg(test)]
    pub fn batches(&self) -> impl Iterator<Item = &Record> {
        self.batches.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::changes::{Change, batch};
    use crate::host::Host;
    use crate::queue::packed_logs;
    use model::Tenant;
    use std::path::Path;

    fn record(what: &str) -> Record {
        let change = Change { what: what.into(), ..Change::default() };
        packed_logs(&Tenant::default(), &batch(vec![change], &Host::of(Path::new("/")))).unwrap()
    }

    fn numbers(batches: &[Record]) -> Vec<u64> {
        batches.iter().map(|batch| batch.seq).collect()
    }

    #[test]
    fn what_is_held_is_told_up_to_a_number_and_survives_a_kill() {
        let mut held = Held::default();
        held.begin("n1_7", 4);
        assert_eq!((held.number(), held.to_bytes()), (4, None));
        ["a", "b", "c"].into_iter().for_each(|what| held.add(record(what)));
        held.replaces("70".into());
        let bytes = held.to_bytes().unwrap();
        assert_eq!(numbers(&held.take(5)), [5]);
        let mut next = Held::from_bytes(&bytes).unwrap();
        assert_eq!((next.holder(), next.number(), next.is_of_before), ("n1_7", 7, true));
        assert!(next.batches().skip(1).eq(held.batches()), "as they were");
        // While the lease is the one that was to be replaced, it may be yet.
        next.fell_to_another("70");
        assert_eq!(numbers(&next.take(6)), [5, 6]);
        next.fell_to_another("71");
        assert_eq!((next.take(9), next.bytes()), (vec![], 0));
        for end in 0..bytes.len() {
            let numbers = Held::from_bytes(&bytes[..end]).map(|held| held.batches().count());
            assert!(numbers.is_none_or(|count| count < 3), "{end}");
        }
    }
}
