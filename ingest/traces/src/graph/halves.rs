//! Halves of requests by the client's span, which both sides know. They lie apart from their keys: a table of keys grows by moving
//! all that is in it, and so little is moved.

use crate::slab::Slab;
use foldhash::HashMap;
use model::{SpanId, TraceId};

pub(super) type Key = (TraceId, SpanId);

pub(super) struct Halves<T> {
    places: HashMap<Key, u32>,
    kept: Slab<T>,
}

impl<T> Default for Halves<T> {
    fn default() -> Halves<T> {
        Halves { places: HashMap::default(), kept: Slab::default() }
    }
}

impl<T> Halves<T> {
    pub fn get_mut(&mut self, key: &Key) -> Option<&mut T> {
        self.kept.get_mut(*self.places.get(key)?)
    }

    /// In the place of what is there already.
    pub fn insert(&mut self, key: Key, half: T) {
        match self.get_mut(&key) {
            Some(known) => *known = half,
            None => _ = self.places.insert(key, self.kept.insert(half)),
        }
    }

    pub fn remove(&mut self, key: &Key) -> Option<T> {
        self.kept.remove(self.places.remove(key)?)
    }

    pub fn has(&self, key: &Key) -> bool {
        self.places.contains_key(key)
    }

    pub fn retain(&mut self, keep: impl Fn(&T) -> bool) {
        let kept = &mut self.kept;
        self.places.retain(|_, at| {
            let stays = kept.get_mut(*at).is_some_and(|half| keep(half));
            if !stays {
                kept.remove(*at);
            }
            stays
        });
    }

    #[cfg(test)]
    pub fn len(&self) -> usize {
        self.places.len()
    }
}
