//! Recent samples by series, in memory. A batch finds its series by the bytes of its labels, without decoding them.

use super::Run;
use super::registry::{self, Registry};
use crate::snapshot::{Allowance, ReadError, SERIES_TAKEN_AT_ONCE, SeriesInfo, bytes_of_series};
use model::{Labels, Matcher, MetricBatch, SeriesSelect, TimeRange};
use parking_lot::RwLock;
use roaring::RoaringBitmap;
use std::collections::BTreeSet;
use std::sync::Arc;

#[derive(Default)]
pub struct Head {
    registry: Arc<RwLock<Registry>>,
    /// By id; shorter than the registry where later series have no sample here.
    series: Vec<Series>,
    samples: usize,
    pressing: usize,
    /// Series that have a sample.
    count: usize,
}

#[derive(Default)]
struct Series {
    /// Times in milliseconds, and values.
    samples: Vec<(i64, f64)>,
    /// Times do not ascend strictly, as they nearly always do.
    disordered: bool,
}

/// Series by ascending labels as they were when they were chosen: what came to them later is not read, so that all
/// series are read as of one moment, however long it takes.
pub struct Chosen {
    series: std::vec::IntoIter<ChosenSeries>,
    range: TimeRange,
}

struct ChosenSeries {
    id: u32,
    /// How many it had.
    samples: usize,
    labels: Labels,
}

impl Chosen {
    pub fn is_empty(&self) -> bool {
        self.series.as_slice().is_empty()
    }
}

/// Bytes that a sample presses for a flush with. It takes 16; less counts, as a flush of metrics writes all series anew. The
/// first samples of a series press hardly: where series are many, a flush for a few samples of each would be made of
/// labels, and their labels take more memory than so many samples.
const PRESSING_BYTES: usize = 12;
const PRESSING_BYTES_AT_FIRST: usize = 1;
const AT_FIRST: usize = 12;

/// Selections above this are put in order by the registry's.
const SORTED_ALONE_MAX: u64 = 1_000;

impl Head {
    /// A memtable for what comes after this one, with its registry where that is of use: most of its series go on, and
    /// it is no larger than `bytes_max`.
    pub fn next(&self, bytes_max: usize) -> Option<Head> {
        let registry = self.registry.read();
        let of_use = self.count > 0 && registry.len() <= self.count * 2 && registry.bytes() <= bytes_max;
        of_use.then(|| Head { registry: self.registry.clone(), ..Head::default() })
    }

    /// Adds a batch, and tells `began` the labels of series that were not here. Series whose bytes are no label set are
    /// left out; the admission before let none through.
    pub fn append(&mut self, batch: &MetricBatch, mut began: impl FnMut(&[u8])) {
        let mut registry = self.registry.upgradable_read();
        let known = registry.find_all(batch.iter().map(|(label_bytes, ..)| label_bytes));
        for ((label_bytes, ts_ms, values), known) in batch.iter().zip(known) {
            if ts_ms.is_empty() {
                continue;
            }
            // One that was not known may have come in this batch.
            let id = match known.or_else(|| registry.find(label_bytes)) {
                Some(id) => id,
                None => match Labels::from_bytes(label_bytes) {
                    Ok(labels) => registry.with_upgraded(|registry| registry.add(labels)),
                    Err(_) => continue,
                },
            };
            if self.series.len() <= id as usize {
                self.series.resize_with(registry.len(), Series::default);
            }
            let series = &mut self.series[id as usize];
            if series.samples.is_empty() {
                began(label_bytes);
                self.count += 1;
            }
            let at_first = AT_FIRST.saturating_sub(series.samples.len()).min(ts_ms.len());
            self.pressing += at_first * PRESSING_BYTES_AT_FIRST + (ts_ms.len() - at_first) * PRESSING_BYTES;
            series.push(ts_ms, values);
            self.samples += ts_ms.len();
        }
    }

    /// With the registry, which other memtables may have as well.
    pub fn bytes(&self) -> usize {
        self.own_bytes() + self.registry.read().bytes()
    }

    /// What goes when this memtable does.
    pub fn bytes_freed(&self) -> usize {
        match Arc::strong_count(&self.registry) {
            1 => self.bytes(),
            _ => self.own_bytes(),
        }
    }

    fn own_bytes(&self) -> usize {
        self.samples * 16 + self.series.len() * size_of::<Series>()
    }

    pub fn series_count(&self) -> usize {
        self.count
    }

    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The label names with the most values here; `None` where a writer is at it.
    pub fn largest_labels(&self, count: usize) -> Option<Vec<(String, usize)>> {
        let registry = self.registry.try_read()?;
        let largest = registry.index().largest(count).into_iter();
        Some(largest.map(|(name, values)| (name.to_owned(), values)).collect())
    }

    pub fn series(
        &self,
        select: &SeriesSelect,
        allowance: &dyn Allowance,
    ) -> Result<Vec<SeriesInfo>, ReadError> {
        let registry = self.registry.read();
        let ids = registry.index().select(&select.matchers);
        let mut passing = ids.iter().filter_map(|id| {
            let (first_ms, last_ms) = self.series.get(id as usize)?.bounds()?;
            let labels = registry.labels(id).clone();
            select.range.overlaps(first_ms, last_ms).then_some(SeriesInfo { labels, first_ms, last_ms })
        });
        let mut found: Vec<SeriesInfo> = vec![];
        loop {
            let before = found.len();
            found.extend(passing.by_ref().take(SERIES_TAKEN_AT_ONCE));
            if found.len() == before {
                break;
            }
            allowance.take(bytes_of_series(&found[before..]))?;
        }
        found.sort_unstable_by(|a, b| a.labels.cmp(&b.labels));
        Ok(found)
    }

    pub fn label_names(&self, select: &SeriesSelect, into: &mut BTreeSet<String>) {
        let registry = self.registry.read();
        registry.index().names(&self.ids(&registry, select), into);
    }

    pub fn label_values(&self, name: &str, select: &SeriesSelect, into: &mut BTreeSet<String>) {
        let registry = self.registry.read();
        registry.index().values(name, &self.ids(&registry, select), into);
    }

    /// Series that pass the matchers and have a sample in the range.
    fn ids(&self, registry: &Registry, select: &SeriesSelect) -> RoaringBitmap {
        let mut ids = registry.index().select(&select.matchers);
        let outside: Vec<u32> = ids
            .iter()
            .filter(|id| {
                let bounds = self.series.get(*id as usize).and_then(Series::bounds);
                bounds.is_none_or(|(first, last)| !select.range.overlaps(first, last))
            })
            .collect();
        outside.into_iter().for_each(|id| {
            ids.remove(id);
        });
        ids
    }

    /// Series that pass the matchers; some of them may have no sample here.
    pub fn count_of(&self, matchers: &[Matcher]) -> usize {
        self.registry.read().index().select(matchers).len() as usize
    }

    /// Series that pass, to read one after the other with [`next_run`](Self::next_run).
    pub fn choose(&self, select: &SeriesSelect) -> Chosen {
        let ids = self.registry.read().index().select(&select.matchers);
        let one = |id: u32, labels: &Labels| {
            let samples = self.series.get(id as usize)?.samples.len();
            (samples > 0).then(|| ChosenSeries { id, samples, labels: labels.clone() })
        };
        let series: Vec<ChosenSeries> = if ids.len() > SORTED_ALONE_MAX {
            let (order, labels) = registry::in_order(&self.registry);
            let chosen = order.iter().filter(|id| ids.contains(**id));
            chosen.filter_map(|id| one(*id, &labels[*id as usize])).collect()
        } else {
            let registry = self.registry.read();
            let mut few: Vec<_> = ids.iter().filter_map(|id| one(id, registry.labels(id))).collect();
            few.sort_unstable_by(|a, b| a.labels.cmp(&b.labels));
            few
        };
        Chosen { series: series.into_iter(), range: select.range }
    }

    /// The samples in the range of the next series that has any.
    pub fn next_run(&self, chosen: &mut Chosen) -> Option<Run> {
        let range = chosen.range;
        chosen.series.by_ref().find_map(|ChosenSeries { id, samples, labels }| {
            self.series.get(id as usize)?.run(&labels, samples, range)
        })
    }

    pub fn samples(&self) -> usize {
        self.samples
    }

    /// Bytes that a flush is made for.
    pub fn pressing(&self) -> usize {
        self.pressing
    }

    /// Every series with its samples in order, by ascending labels.
    pub fn for_each_run<E>(
        &self,
        mut each: impl FnMut(&Labels, &[i64], &[f64]) -> Result<(), E>,
    ) -> Result<(), E> {
        let (order, labels) = registry::in_order(&self.registry);
        let (mut ts_ms, mut values) = (vec![], vec![]);
        for id in order.iter() {
            let (Some(series), labels) = (self.series.get(*id as usize), &labels[*id as usize]) else {
                continue;
            };
            if !series.disordered {
                if !series.samples.is_empty() {
                    ts_ms.clear();
                    values.clear();
                    ts_ms.extend(series.samples.iter().map(|(ts_ms, _)| *ts_ms));
                    values.extend(series.samples.iter().map(|(_, value)| *value));
                    each(labels, &ts_ms, &values)?;
                }
            } else if let Some(run) = series.run(labels, series.samples.len(), TimeRange::ALL) {
                each(&run.labels, &run.ts_ms, &run.values)?;
            }
        }
        Ok(())
    }
}

impl Series {
    fn push(&mut self, ts_ms: &[i64], values: &[f64]) {
        let after = self.samples.last().is_none_or(|(last, _)| *last < ts_ms[0]);
        self.disordered |= !after || !ts_ms.is_sorted_by(|a, b| a < b);
        if self.samples.capacity() - self.samples.len() < ts_ms.len() {
            // Twice the room, as is usual, would be half of it empty in the middle of a memtable's life.
            self.samples.reserve_exact(ts_ms.len().max(self.samples.len() / 4).max(4));
        }
        self.samples.extend(ts_ms.iter().copied().zip(values.iter().copied()));
    }

    fn bounds(&self) -> Option<(i64, i64)> {
        if !self.disordered {
            return Some((self.samples.first()?.0, self.samples.last()?.0));
        }
        let times = || self.samples.iter().map(|(ts_ms, _)| *ts_ms);
        Some((times().min()?, times().max()?))
    }

    /// Of the first `count` samples, those in the range.
    fn run(&self, labels: &Labels, count: usize, range: TimeRange) -> Option<Run> {
        let samples = self.samples.get(..count)?;
        let of = |samples: &[(i64, f64)]| {
            let (ts_ms, values) = samples.iter().copied().unzip();
            Run { labels: labels.clone(), ts_ms, values }
        };
        if self.disordered {
            let mut run = of(samples);
            super::merge::put_in_order(&mut run);
            super::merge::cut(&mut run, range);
            return (!run.ts_ms.is_empty()).then_some(run);
        }
        let start = samples.partition_point(|(ts_ms, _)| *ts_ms < range.start);
        let end = samples.partition_point(|(ts_ms, _)| *ts_ms <= range.end);
        (start < end).then(|| of(&samples[start..end]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_after_the_choice_is_not_read() {
        let batch = |ts_ms: i64| {
            let mut batch = MetricBatch::default();
            for name in ["b", "a"] {
                batch.begin_series(&mut [("__name__", name)]).unwrap();
                batch.push(ts_ms, ts_ms as f64);
            }
            batch
        };
        let mut head = Head::default();
        head.append(&batch(10), |_| ());
        let mut chosen = head.choose(&SeriesSelect { matchers: vec![], range: TimeRange::ALL });
        // One later, one that puts the series out of order.
        head.append(&batch(20), |_| ());
        let first = head.next_run(&mut chosen).unwrap();
        head.append(&batch(5), |_| ());
        let second = head.next_run(&mut chosen).unwrap();
        for (run, name) in [(first, "a"), (second, "b")] {
            assert_eq!((run.labels.metric_name(), run.ts_ms), (name, vec![10]));
        }
        assert!(head.next_run(&mut chosen).is_none());
    }
}
