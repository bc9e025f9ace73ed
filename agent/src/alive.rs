//! The series of one part of what is collected that are alive: its last collection told them. Those that its next one does
//! not tell have ended, as they have for whoever scrapes. It knows no clock and no batch: label bytes come in, and go out
//! where a series ended.
//!
//! A node of 110 pods has 25,000 series with 280 bytes of labels each, nearly always the same ones in the same order. They
//! are kept in blocks: a hash of each, and the labels of all packed together. A block that is told again as it was is not
//! opened; its labels are read when one of its series is missing. Measured of such a node: 8 bytes a series for the hash and
//! 14 for the labels. A part is as large as what one collection of it told, and no larger.

use std::collections::{HashMap, HashSet};
use std::ops::Deref;
use wire::compression::{Encoding, zstd};
use xxhash_rust::xxh3::xxh3_64;

/// Bits of a hash that are zero in the last series of a block, which has 128 by that. Blocks end by what is told and not by
/// how much was before: a series more or fewer is another block where it stands, and not all behind it.
const LAST_OF_BLOCK: u64 = 127;

/// A block of longer labels ends here.
const BLOCK_BYTES_MAX: usize = 256 << 10;

/// By the hashes of their series, in the order in which they were told.
type Blocks = HashMap<Box<[u64]>, Packed>;

#[derive(Default)]
pub struct Alive(Blocks);

/// A collection that goes on.
#[derive(Default)]
pub struct Telling {
    /// What the collection before told, but for what this one has told again.
    before: Blocks,
    now: Blocks,
    /// The block that is being told: each series' hash, and its labels behind their length.
    hashes: Vec<u64>,
    labels: Vec<u8>,
}

struct Packed {
    bytes: Box<[u8]>,
    unpacked_bytes: usize,
}

impl Alive {
    pub fn tell(self) -> Telling {
        Telling { now: HashMap::with_capacity(self.0.len()), before: self.0, ..Telling::default() }
    }
}

impl Telling {
    pub fn add(&mut self, labels: &[u8]) {
        let hash = xxh3_64(labels);
        self.hashes.push(hash);
        self.labels.extend_from_slice(&(labels.len() as u32).to_le_bytes());
        self.labels.extend_from_slice(labels);
        if hash & LAST_OF_BLOCK == 0 || self.labels.len() >= BLOCK_BYTES_MAX {
            self.end_block();
        }
    }

    /// The collection is whole: `ended` is given the labels of each series that was alive before it, once.
    pub fn finish(mut self, mut ended: impl FnMut(&[u8])) -> Alive {
        self.end_block();
        if !self.before.is_empty() {
            let mut known: HashSet<u64> = self.now.keys().flat_map(|hashes| hashes.iter().copied()).collect();
            for (hashes, packed) in &self.before {
                if hashes.iter().all(|hash| known.contains(hash)) {
                    continue;
                }
                let unpacked = packed.open();
                for (hash, labels) in hashes.iter().zip(each(&unpacked)) {
                    if known.insert(*hash) {
                        ended(labels);
                    }
                }
            }
        }
        Alive(self.now)
    }

    fn end_block(&mut self) {
        if self.hashes.is_empty() {
            return;
        }
        let again = self.before.remove_entry(self.hashes.as_slice());
        let (hashes, packed) =
            again.unwrap_or_else(|| (self.hashes.as_slice().into(), Packed::of(&self.labels)));
        self.now.insert(hashes, packed);
        self.hashes.clear();
        self.labels.clear();
    }
}

impl Packed {
    /// In memory nothing fails; if it did, these series would fade as those of an agent that is gone.
    fn of(labels: &[u8]) -> Packed {
        Packed { bytes: zstd(labels).unwrap_or_default().into(), unpacked_bytes: labels.len() }
    }

    fn open(&self) -> impl Deref<Target = [u8]> {
        Encoding::Zstd.decompress(self.bytes.to_vec().into(), self.unpacked_bytes).unwrap_or_default()
    }
}

/// Labels of each series of a block.
fn each(mut block: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let (length, rest) = block.split_first_chunk::<4>()?;
        let (labels, behind) = rest.split_at_checked(u32::from_le_bytes(*length) as usize)?;
        block = behind;
        Some(labels)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ops::Range;
    use xxhash_rust::xxh3::xxh3_128;

    /// As a container's: most of it the same in many series.
    fn labels(number: usize) -> String {
        let (container, metric) = (number / 60, number % 60);
        let half = |of: &str| format!("{:032x}", xxh3_128(format!("{of} {container}").as_bytes()));
        let (uid, id) = (half("pod"), half("one") + &half("other"));
        format!(
            "__name__ container_metric_{metric}_bytes_total container app-{container} id /kubepods/burstable/pod{uid}/{id} \
             image registry.example/shop/cart:1 instance node-1 job cadvisor metrics_path /metrics/cadvisor name {id} \
             namespace shop node node-1 pod web-{container}"
        )
    }

    /// What ended with a collection of these, sorted.
    fn told(alive: &mut Alive, series: impl IntoIterator<Item = usize>) -> Vec<String> {
        let mut telling = std::mem::take(alive).tell();
        series.into_iter().for_each(|number| telling.add(labels(number).as_bytes()));
        let mut ended = vec![];
        *alive = telling.finish(|labels| ended.push(String::from_utf8(labels.to_vec()).unwrap()));
        ended.sort();
        ended
    }

    fn these(series: impl IntoIterator<Item = usize>) -> Vec<String> {
        let mut all: Vec<String> = series.into_iter().map(labels).collect();
        all.sort();
        all
    }

    #[test]
    fn what_is_not_told_again_ends_once_and_may_come_back() {
        const ALL: Range<usize> = 0..2_000;
        let mut alive = Alive::default();
        assert_eq!(told(&mut alive, ALL), these([]));
        assert_eq!(told(&mut alive, ALL), these([]));
        // One of the middle, the last, and one that is another now.
        let without = || ALL.filter(|number| ![700, 1_200, 1_999].contains(number)).chain([5_000]);
        assert_eq!(told(&mut alive, without()), these([700, 1_200, 1_999]));
        assert_eq!(told(&mut alive, without()), these([]));
        assert_eq!(told(&mut alive, ALL), these([5_000]));
        assert_eq!(told(&mut alive, ALL.rev()), these([]), "order is nothing");
        assert_eq!(told(&mut alive, []), these(ALL));
        assert_eq!(told(&mut alive, []), these([]));
    }

    /// A mistake of who tells, but none that a series may end by.
    #[test]
    fn a_series_that_is_told_twice_ends_with_its_last() {
        let mut alive = Alive::default();
        told(&mut alive, (0..300).chain(0..300));
        assert_eq!(told(&mut alive, 0..300), these([]));
        told(&mut alive, (0..300).chain(0..300));
        assert_eq!(told(&mut alive, []), these(0..300));
    }

    #[test]
    fn a_series_more_is_another_block_where_it_stands() {
        let mut alive = Alive::default();
        told(&mut alive, 0..10_000);
        let blocks = |alive: &Alive| alive.0.keys().cloned().collect::<HashSet<_>>();
        let before = blocks(&alive);
        told(&mut alive, std::iter::once(20_000).chain(0..10_000));
        assert!(before.len() > 40, "{}", before.len());
        assert!(blocks(&alive).difference(&before).count() <= 2);
    }

    #[test]
    fn series_are_kept_small() {
        let mut alive = Alive::default();
        told(&mut alive, 0..25_000);
        let bytes: usize =
            alive.0.iter().map(|(hashes, packed)| 8 * hashes.len() + packed.bytes.len() + 64).sum();
        let told: usize = (0..25_000).map(|number| labels(number).len()).sum();
        assert!(told > 250 * 25_000 && bytes < 32 * 25_000, "{bytes} bytes of {told}");
    }

    #[test]
    fn labels_of_any_length_come_back() {
        let long = ["a".repeat(3 * BLOCK_BYTES_MAX), String::new(), "b".into()];
        let mut telling = Alive::default().tell();
        long.iter().for_each(|labels| telling.add(labels.as_bytes()));
        let alive = telling.finish(|_| panic!("nothing was before"));
        let mut lengths = vec![];
        alive.tell().finish(|labels| lengths.push(labels.len()));
        lengths.sort_unstable();
        assert_eq!(lengths, [0, 1, 3 * BLOCK_BYTES_MAX]);
    }
}
