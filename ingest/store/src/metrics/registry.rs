//! The series of a tenant by their labels. It outlives the memtables that use it: a series that goes on after a flush is
//! not checked, kept, indexed and put in order again.

use super::series_order;
use crate::hash::NoHasher;
use crate::labels_index::LabelsIndex;
use model::Labels;
use parking_lot::RwLock;
use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hash, Hasher};
use std::sync::Arc;

/// Label bytes as a map knows them: by 128 bits of their hash, so that a series that is known is found without a look at its
/// labels, which are far away in memory. Of a billion series, two are taken for one once in 10^20 times.
#[derive(PartialEq, Eq)]
struct Identity([u64; 2]);

impl Identity {
    fn of(label_bytes: &[u8]) -> Identity {
        let hash = xxhash_rust::xxh3::xxh3_128(label_bytes);
        Identity([hash as u64, (hash >> 64) as u64])
    }
}

impl Hash for Identity {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.0[0]);
    }
}

/// Ids are 0, 1, 2, … in the order of adding; a series is never taken out.
#[derive(Default)]
pub struct Registry {
    ids: HashMap<Identity, u32, BuildHasherDefault<NoHasher>>,
    labels: Vec<Labels>,
    index: LabelsIndex,
    label_bytes: usize,
    /// The first so many ids by ascending labels.
    order: Arc<Vec<u32>>,
}

/// Beside its labels, what a series costs: map entry, postings, place in the order.
const SERIES_BYTES: usize = 220;

impl Registry {
    pub fn find(&self, label_bytes: &[u8]) -> Option<u32> {
        self.ids.get(&Identity::of(label_bytes)).copied()
    }

    /// As [`find`](Self::find) for each of many: places far apart in memory are waited for together and not one after another.
    pub fn find_all<'a>(&self, label_bytes: impl Iterator<Item = &'a [u8]>) -> Vec<Option<u32>> {
        let identities: Vec<Identity> = label_bytes.map(Identity::of).collect();
        identities.iter().map(|identity| self.ids.get(identity).copied()).collect()
    }

    pub fn add(&mut self, labels: Labels) -> u32 {
        let id = self.index.add(&labels);
        self.label_bytes += labels.as_bytes().len();
        self.ids.insert(Identity::of(labels.as_bytes()), id);
        self.labels.push(labels);
        id
    }

    pub fn labels(&self, id: u32) -> &Labels {
        &self.labels[id as usize]
    }

    pub fn index(&self) -> &LabelsIndex {
        &self.index
    }

    pub fn len(&self) -> usize {
        self.labels.len()
    }

    pub fn bytes(&self) -> usize {
        self.label_bytes + self.labels.len() * SERIES_BYTES
    }
}

/// All ids by ascending labels, and the labels by id, as they were at one time. The sorting is done without the lock,
/// which writers want, and only of series that came since it was done last.
pub fn in_order(registry: &RwLock<Registry>) -> (Arc<Vec<u32>>, Vec<Labels>) {
    let (order, labels) = {
        let registry = registry.read();
        (registry.order.clone(), registry.labels.clone())
    };
    if order.len() == labels.len() {
        return (order, labels);
    }
    let mut all = Vec::with_capacity(labels.len());
    all.extend_from_slice(&order);
    all.extend(series_order::of(&labels, order.len()));
    if !order.is_empty() {
        // Two runs in order: the stable sort joins them in one pass.
        all.sort_by(|a, b| labels[*a as usize].cmp(&labels[*b as usize]));
    }
    let all = Arc::new(all);
    let mut registry = registry.write();
    if registry.order.len() < all.len() {
        registry.order = all.clone();
    }
    (all, labels)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_later_is_put_in_its_place() {
        let registry = RwLock::<Registry>::default();
        let mut names = vec![];
        for round in 0..3 {
            for n in 0..40u32 {
                let name = format!("n{}", (n * 7_919 + round * 13) % 1_000);
                let labels = Labels::from_pairs([("__name__", &name)]);
                if registry.read().find(labels.as_bytes()).is_none() {
                    registry.write().add(labels);
                    names.push(name);
                }
            }
            let (order, labels) = in_order(&registry);
            let found: Vec<&str> = order.iter().map(|id| labels[*id as usize].metric_name()).collect();
            names.sort();
            assert_eq!(found, names);
        }
    }
}
