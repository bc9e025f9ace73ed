//! Ids of documents that were stored lately, so that a batch that is sent once more is not stored twice.
//!
//! It is a window, not an index: past its bound, and at a restart, the oldest are forgotten, and a document that comes
//! again then is a record of its own. Shippers that set ids send again within seconds.

use std::collections::{HashMap, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher};
use wire::elastic::Known;

/// About 50 bytes each.
const IDS_MAX: usize = 200_000;

#[derive(Default)]
pub struct Ids {
    documents: HashMap<u64, u64>,
    order: VecDeque<u64>,
}

/// An id in its index and tenant, and its document, each by a hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stored {
    id: u64,
    document: u64,
}

fn hash(value: impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

impl Stored {
    pub fn of(tenant: &str, index: &str, id: &str, document: &[u8]) -> Stored {
        Stored { id: hash((tenant, index, id)), document: hash(document) }
    }

    pub fn id(self) -> u64 {
        self.id
    }

    /// What this one is to another that was stored.
    pub fn known(self, before: Stored) -> Option<Known> {
        (self.id == before.id).then(|| Known::of(self.document == before.document))
    }
}

impl Ids {
    pub fn known(&self, document: Stored) -> Option<Known> {
        self.documents.get(&document.id).map(|before| Known::of(*before == document.document))
    }

    pub fn add(&mut self, stored: impl IntoIterator<Item = Stored>) {
        for Stored { id, document } in stored {
            if self.documents.insert(id, document).is_none() {
                self.order.push_back(id);
            }
        }
        while self.order.len() > IDS_MAX {
            if let Some(oldest) = self.order.pop_front() {
                self.documents.remove(&oldest);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_known_in_its_index_and_tenant_until_it_is_pushed_out() {
        let mut ids = Ids::default();
        let first = Stored::of("t", "i", "1", b"a");
        ids.add([first]);
        assert_eq!(ids.known(first), Some(Known::SameDocument));
        assert_eq!(ids.known(Stored::of("t", "i", "1", b"b")), Some(Known::OtherDocument));
        for other in [
            Stored::of("u", "i", "1", b"a"),
            Stored::of("t", "j", "1", b"a"),
            Stored::of("t", "i", "2", b"a"),
        ] {
            assert_eq!(ids.known(other), None);
        }
        ids.add((0..IDS_MAX).map(|n| Stored::of("t", "many", &n.to_string(), b"")));
        assert_eq!((ids.known(first), ids.order.len(), ids.documents.len()), (None, IDS_MAX, IDS_MAX));
    }
}
