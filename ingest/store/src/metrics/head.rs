//! Recent samples by series, in memory. A batch finds its series by the bytes of its labels, without decoding them.

use super::Run;
use crate::labels_index::LabelsIndex;
use crate::snapshot::SeriesInfo;
use model::{Labels, MetricBatch, SeriesSelect, TimeRange};
use roaring::RoaringBitmap;
use std::collections::{BTreeSet, HashMap};
use std::hash::{BuildHasherDefault, Hasher};

/// Label bytes are long and already distinct: one pass of xxh3 over them.
#[derive(Default)]
pub struct BytesHasher(u64);

impl Hasher for BytesHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        self.0 = xxhash_rust::xxh3::xxh3_64_with_seed(bytes, self.0);
    }

    fn write_u8(&mut self, byte: u8) {
        self.0 ^= u64::from(byte).rotate_left(17);
    }

    fn write_usize(&mut self, length: usize) {
        self.0 ^= (length as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }
}

#[derive(Default)]
pub struct Head {
    ids: HashMap<Labels, u32, BuildHasherDefault<BytesHasher>>,
    series: Vec<Series>,
    index: LabelsIndex,
    samples: usize,
    label_bytes: usize,
}

struct Series {
    labels: Labels,
    ts_ms: Vec<i64>,
    values: Vec<f64>,
    /// Times ascend strictly, as they nearly always do.
    ordered: bool,
}

/// Beside its labels, what a series costs: map entry, postings, vectors.
const SERIES_BYTES: usize = 300;

impl Head {
    /// Adds a batch, and tells `began` the labels of series that were not here. Series whose bytes are no label set are left out; the admission before let none through.
    pub fn append(&mut self, batch: &MetricBatch, mut began: impl FnMut(&[u8])) {
        for (label_bytes, ts_ms, values) in batch.iter() {
            if ts_ms.is_empty() {
                continue;
            }
            let id = match self.ids.get(label_bytes) {
                Some(id) => *id,
                None => match Labels::from_bytes(label_bytes) {
                    Ok(labels) => {
                        began(label_bytes);
                        self.begin(labels)
                    }
                    Err(_) => continue,
                },
            };
            self.series[id as usize].push(ts_ms, values);
            self.samples += ts_ms.len();
        }
    }

    fn begin(&mut self, labels: Labels) -> u32 {
        let id = self.index.add(&labels);
        self.label_bytes += labels.as_bytes().len();
        self.ids.insert(labels.clone(), id);
        self.series.push(Series { labels, ts_ms: vec![], values: vec![], ordered: true });
        id
    }

    pub fn bytes(&self) -> usize {
        self.samples * 16 + self.label_bytes * 2 + self.series.len() * SERIES_BYTES
    }

    pub fn series_count(&self) -> usize {
        self.series.len()
    }

    pub fn is_empty(&self) -> bool {
        self.series.is_empty()
    }

    /// The label names with the most values here.
    pub fn largest_labels(&self, count: usize) -> Vec<(&str, usize)> {
        self.index.largest(count)
    }

    pub fn series(&self, select: &SeriesSelect) -> Vec<SeriesInfo> {
        let ids = self.index.select(&select.matchers);
        let mut found: Vec<SeriesInfo> = ids
            .iter()
            .filter_map(|id| {
                let series = &self.series[id as usize];
                let (first_ms, last_ms) = series.bounds()?;
                let labels = series.labels.clone();
                select.range.overlaps(first_ms, last_ms).then_some(SeriesInfo { labels, first_ms, last_ms })
            })
            .collect();
        found.sort_unstable_by(|a, b| a.labels.cmp(&b.labels));
        found
    }

    pub fn label_names(&self, select: &SeriesSelect, into: &mut BTreeSet<String>) {
        self.index.names(&self.ids(select), into);
    }

    pub fn label_values(&self, name: &str, select: &SeriesSelect, into: &mut BTreeSet<String>) {
        self.index.values(name, &self.ids(select), into);
    }

    /// Series that pass the matchers and have a sample in the range.
    fn ids(&self, select: &SeriesSelect) -> RoaringBitmap {
        let mut ids = self.index.select(&select.matchers);
        let outside: Vec<u32> = ids
            .iter()
            .filter(|id| {
                let bounds = self.series[*id as usize].bounds();
                bounds.is_none_or(|(first, last)| !select.range.overlaps(first, last))
            })
            .collect();
        outside.into_iter().for_each(|id| {
            ids.remove(id);
        });
        ids
    }

    /// Samples in the range, by series in the order of their labels.
    pub fn runs(&self, select: &SeriesSelect) -> Vec<Run> {
        let ids = self.index.select(&select.matchers);
        let mut runs: Vec<Run> =
            ids.iter().filter_map(|id| self.series[id as usize].run(select.range)).collect();
        runs.sort_unstable_by(|a, b| a.labels.cmp(&b.labels));
        runs
    }

    pub fn samples(&self) -> usize {
        self.samples
    }

    /// Every series with its samples in order, by ascending labels.
    pub fn for_each_run<E>(
        &self,
        mut each: impl FnMut(&Labels, &[i64], &[f64]) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut sorted: Vec<&Series> = self.series.iter().collect();
        sorted.sort_unstable_by(|a, b| a.labels.cmp(&b.labels));
        for series in sorted {
            if series.ordered {
                each(&series.labels, &series.ts_ms, &series.values)?;
            } else if let Some(run) = series.run(TimeRange::ALL) {
                each(&run.labels, &run.ts_ms, &run.values)?;
            }
        }
        Ok(())
    }
}

impl Series {
    fn push(&mut self, ts_ms: &[i64], values: &[f64]) {
        let after = self.ts_ms.last().is_none_or(|last| *last < ts_ms[0]);
        self.ordered &= after && ts_ms.is_sorted_by(|a, b| a < b);
        self.ts_ms.extend_from_slice(ts_ms);
        self.values.extend_from_slice(values);
    }

    fn bounds(&self) -> Option<(i64, i64)> {
        if self.ordered {
            return Some((*self.ts_ms.first()?, *self.ts_ms.last()?));
        }
        Some((*self.ts_ms.iter().min()?, *self.ts_ms.iter().max()?))
    }

    fn run(&self, range: TimeRange) -> Option<Run> {
        if !self.ordered {
            let mut run =
                Run { labels: self.labels.clone(), ts_ms: self.ts_ms.clone(), values: self.values.clone() };
            super::merge::put_in_order(&mut run);
            super::merge::cut(&mut run, range);
            return (!run.ts_ms.is_empty()).then_some(run);
        }
        let start = self.ts_ms.partition_point(|ts| *ts < range.start);
        let end = self.ts_ms.partition_point(|ts| *ts <= range.end);
        (start < end).then(|| Run {
            labels: self.labels.clone(),
            ts_ms: self.ts_ms[start..end].to_vec(),
            values: self.values[start..end].to_vec(),
        })
    }
}
