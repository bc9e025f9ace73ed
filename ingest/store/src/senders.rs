//! What each sender sent last: a batch that it sends again is known by its number, and not stored a second time.
//!
//! An agent begins anew as another sender after a kill, so there are ever more of them. One that was silent for long is
//! forgotten: an agent that comes back after that sends at most those batches again that it had sent in its last seconds.

use parking_lot::Mutex;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

/// A month: longer than a machine is off for a repair.
const SILENT_MS_MAX: i64 = 31 * 86_400_000;

/// Beside that, so many are remembered, of about 150 bytes each. Past it those go that were silent for longest.
const SENDERS_MAX: usize = 100_000;

/// They go by so many at once, so that not each new one looks through all.
const SURPLUS: usize = SENDERS_MAX / 8;

#[derive(Default)]
pub struct Senders(Mutex<Book>);

#[derive(Default)]
struct Book {
    known: HashMap<u128, Arc<Sender>>,
    /// Forgotten here and still in the catalog.
    gone: Vec<u128>,
}

#[derive(Default)]
pub struct Sender {
    /// Held while one of its batches is written: a second copy waits, and then finds that it is there.
    pub writing: tokio::sync::Mutex<()>,
    /// Its highest number in the log.
    sequence: AtomicU64,
    /// As the catalog has it; 0 where it does not know this sender.
    saved: AtomicU64,
    last_ms: AtomicI64,
}

/// How far a sender is, as the catalog has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    pub sender: u128,
    pub sequence: u64,
    pub last_ms: i64,
}

impl Sender {
    pub fn has_sent(&self, sequence: u64) -> bool {
        sequence <= self.sequence.load(Ordering::Acquire)
    }

    /// The batch is in the log.
    pub fn sent(&self, sequence: u64, now_ms: i64) {
        self.sequence.fetch_max(sequence, Ordering::AcqRel);
        self.last_ms.fetch_max(now_ms, Ordering::Relaxed);
    }
}

impl Senders {
    pub fn of(saved: Vec<Position>) -> Senders {
        let sender = |position: Position| {
            let sender = Sender {
                sequence: AtomicU64::new(position.sequence),
                saved: AtomicU64::new(position.sequence),
                last_ms: AtomicI64::new(position.last_ms),
                ..Sender::default()
            };
            (position.sender, Arc::new(sender))
        };
        Senders(Mutex::new(Book { known: saved.into_iter().map(sender).collect(), gone: vec![] }))
    }

    pub fn sender(&self, id: u128, now_ms: i64) -> Arc<Sender> {
        let mut book = self.0.lock();
        if let Some(known) = book.known.get(&id) {
            return known.clone();
        }
        if book.known.len() >= SENDERS_MAX + SURPLUS {
            book.forget(now_ms);
        }
        let new = Arc::new(Sender { last_ms: AtomicI64::new(now_ms), ..Sender::default() });
        book.known.insert(id, new.clone());
        new
    }

    /// What the catalog does not know yet: those that sent something, and those that are forgotten.
    pub fn unsaved(&self, now_ms: i64) -> (Vec<Position>, Vec<u128>) {
        let mut book = self.0.lock();
        book.forget(now_ms);
        let position = |(id, sender): (&u128, &Arc<Sender>)| {
            let sequence = sender.sequence.load(Ordering::Acquire);
            let is_new = sequence != sender.saved.load(Ordering::Relaxed);
            let last_ms = sender.last_ms.load(Ordering::Relaxed);
            is_new.then_some(Position { sender: *id, sequence, last_ms })
        };
        (book.known.iter().filter_map(position).collect(), book.gone.clone())
    }

    /// The catalog knows it now.
    pub fn saved(&self, positions: &[Position], gone: &[u128]) {
        let mut book = self.0.lock();
        for position in positions {
            if let Some(sender) = book.known.get(&position.sender) {
                sender.saved.store(position.sequence, Ordering::Relaxed);
            }
        }
        let gone: HashSet<&u128> = gone.iter().collect();
        book.gone.retain(|id| !gone.contains(id));
    }
}

impl Book {
    /// Those that were silent for too long, and of too many the ones that were for longest.
    fn forget(&mut self, now_ms: i64) {
        let mut by_age: Vec<(i64, u128)> =
            self.known.iter().map(|(id, sender)| (sender.last_ms.load(Ordering::Relaxed), *id)).collect();
        by_age.sort_unstable();
        let surplus = self.known.len().saturating_sub(SENDERS_MAX);
        for (at, (last_ms, id)) in by_age.into_iter().enumerate() {
            if at >= surplus && now_ms - last_ms <= SILENT_MS_MAX {
                return;
            }
            // Whoever holds it is just writing.
            let is_held = self.known.get(&id).is_none_or(|sender| Arc::strong_count(sender) > 1);
            if !is_held && let Some(sender) = self.known.remove(&id) {
                // One that the catalog never knew need not be taken out of it.
                if sender.saved.load(Ordering::Relaxed) > 0 {
                    self.gone.push(id);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sender_that_is_silent_for_long_is_forgotten_and_no_other() {
        let senders = Senders::default();
        let day = 86_400_000;
        senders.sender(1, 0).sent(5, 0);
        senders.sender(2, 0).sent(7, 20 * day);
        let (mut unsaved, gone) = senders.unsaved(20 * day);
        unsaved.sort_by_key(|position| position.sender);
        let first = Position { sender: 1, sequence: 5, last_ms: 0 };
        let second = Position { sender: 2, sequence: 7, last_ms: 20 * day };
        assert_eq!((&unsaved, &gone), (&vec![first, second], &vec![]));
        senders.saved(&unsaved, &gone);
        assert_eq!(senders.unsaved(20 * day), (vec![], vec![]));
        // Whoever is just writing is not.
        let held = senders.sender(1, 0);
        assert_eq!(senders.unsaved(40 * day), (vec![], vec![]));
        drop(held);
        assert_eq!(senders.unsaved(40 * day), (vec![], vec![1]));
        assert!(!senders.sender(1, 40 * day).has_sent(5) && senders.sender(2, 40 * day).has_sent(7));
        senders.saved(&[], &[1]);
        assert_eq!(senders.unsaved(40 * day), (vec![], vec![]));
    }

    #[test]
    fn of_too_many_senders_those_go_that_were_silent_for_longest() {
        let senders = Senders::default();
        for id in 0..(SENDERS_MAX + SURPLUS) as u128 {
            senders.sender(id, id as i64).sent(1, id as i64);
        }
        senders.sender(u128::MAX, 0).sent(1, 1_000_000);
        assert_eq!(senders.0.lock().known.len(), SENDERS_MAX + 1);
        assert!(!senders.0.lock().known.contains_key(&0));
        assert!(senders.sender(SURPLUS as u128, 1_000_000).has_sent(1));
        assert!(senders.0.lock().gone.is_empty(), "the catalog never knew them");
    }

    #[test]
    fn what_comes_while_the_catalog_is_written_is_saved_the_next_time() {
        let senders = Senders::of(vec![Position { sender: 1, sequence: 5, last_ms: 0 }]);
        let sender = senders.sender(1, 0);
        assert!(sender.has_sent(5) && !sender.has_sent(6));
        sender.sent(6, 1);
        let (unsaved, _) = senders.unsaved(1);
        sender.sent(7, 2);
        senders.saved(&unsaved, &[]);
        assert_eq!(senders.unsaved(2).0, [Position { sender: 1, sequence: 7, last_ms: 2 }]);
    }
}
