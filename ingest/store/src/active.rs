//! Which series of a tenant are active: those that a memtable took up in this stretch of ten minutes or the one before.
//! Memtables are sealed every minute or so, and a series that goes on is taken up again by the next, so nothing is asked for
//! a sample whose series is in memory already.
//!
//! Series are known by 64 bits of their labels' hash: of a million, two may be taken for one once in 37 million times, and
//! then one more fits.

use model::{Labels, component_in, is_meta};
use std::borrow::Cow;
use std::collections::HashMap;

const STRETCH_MS: i64 = 600_000;

#[derive(Default)]
pub struct Active {
    series: HashMap<u64, Seen>,
    metrics: Vec<Metric>,
    by_name: HashMap<Box<str>, u32>,
    /// Of `metrics`, those without series.
    free: Vec<u32>,
    stretch: u32,
}

struct Seen {
    metric: u32,
    stretch: u32,
}

#[derive(Default)]
struct Metric {
    name: Box<str>,
    series: u32,
}

/// Bytes of the labels that a sender knows: the parts of a histogram are one series.
pub fn identity(label_bytes: &[u8]) -> Cow<'_, [u8]> {
    if component_in(label_bytes).is_none() {
        return label_bytes.into();
    }
    let labels = Labels::from_bytes(label_bytes).unwrap_or_default();
    model::without_component(&labels).as_bytes().to_vec().into()
}

pub fn key(label_bytes: &[u8]) -> u64 {
    xxhash_rust::xxh3::xxh3_64(&identity(label_bytes))
}

pub fn metric_of(label_bytes: &[u8]) -> &str {
    let name = |(name, value)| (name == model::METRIC_NAME).then_some(value);
    Labels::pairs_in(label_bytes).find_map(name).unwrap_or("")
}

impl Active {
    /// A memtable takes up a series.
    pub fn took_up(&mut self, label_bytes: &[u8], now_ms: i64) {
        if !component_in(label_bytes).is_none_or(is_meta) {
            return;
        }
        self.sweep(now_ms);
        let (key, stretch) = (key(label_bytes), self.stretch);
        if let Some(seen) = self.series.get_mut(&key) {
            seen.stretch = stretch;
            return;
        }
        let name = metric_of(label_bytes);
        let metric = match self.by_name.get(name) {
            Some(known) => *known,
            None => self.name(name),
        };
        self.metrics[metric as usize].series += 1;
        self.series.insert(key, Seen { metric, stretch });
    }

    fn name(&mut self, name: &str) -> u32 {
        let metric = Metric { name: name.into(), series: 0 };
        let at = match self.free.pop() {
            Some(at) => {
                self.metrics[at as usize] = metric;
                at
            }
            None => {
                self.metrics.push(metric);
                self.metrics.len() as u32 - 1
            }
        };
        self.by_name.insert(name.into(), at);
        at
    }

    /// Forgets what was not taken up since the stretch before this one.
    pub fn sweep(&mut self, now_ms: i64) {
        let now = (now_ms / STRETCH_MS) as u32;
        if now <= self.stretch {
            return;
        }
        self.stretch = now;
        let (metrics, by_name, free) = (&mut self.metrics, &mut self.by_name, &mut self.free);
        self.series.retain(|_, seen| {
            let stays = seen.stretch + 1 >= now;
            if !stays {
                let metric = &mut metrics[seen.metric as usize];
                metric.series -= 1;
                if metric.series == 0 {
                    by_name.remove(&std::mem::take(&mut metric.name));
                    free.push(seen.metric);
                }
            }
            stays
        });
    }

    pub fn len(&self) -> usize {
        self.series.len()
    }

    pub fn has(&self, key: u64) -> bool {
        self.series.contains_key(&key)
    }

    pub fn of_metric(&self, name: &str) -> usize {
        self.by_name.get(name).map_or(0, |at| self.metrics[*at as usize].series as usize)
    }

    /// The metrics with the most series, the largest first.
    pub fn largest(&self, count: usize) -> Vec<(&str, usize)> {
        let named = self.metrics.iter().filter(|metric| metric.series > 0);
        let mut all: Vec<(&str, usize)> =
            named.map(|metric| (&*metric.name, metric.series as usize)).collect();
        all.sort_unstable_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(b.0)));
        all.truncate(count);
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::{Histogram, MetricBatch};

    fn labels(name: &str, n: usize) -> Labels {
        Labels::from_pairs([("__name__", name), ("n", &n.to_string())])
    }

    #[test]
    fn series_are_active_until_a_stretch_passes_without_them() {
        let mut active = Active::default();
        for (at_ms, name, count) in [(0, "a", 3), (0, "b", 1), (STRETCH_MS, "a", 2)] {
            (0..count).for_each(|n| active.took_up(labels(name, n).as_bytes(), at_ms));
        }
        assert_eq!((active.len(), active.of_metric("a")), (4, 3));
        assert_eq!(active.largest(1), [("a", 3)]);
        active.sweep(2 * STRETCH_MS);
        assert_eq!((active.len(), active.of_metric("b")), (2, 0));
        assert!(active.has(key(labels("a", 1).as_bytes())) && !active.has(key(labels("a", 2).as_bytes())));
        active.took_up(labels("c", 0).as_bytes(), 2 * STRETCH_MS);
        assert_eq!(active.largest(9), [("a", 2), ("c", 1)]);
    }

    #[test]
    fn a_histogram_is_one_series() {
        let mut batch = MetricBatch::default();
        let histogram = Histogram { count: 2.0, positive: vec![(0, 1.0), (1, 1.0)], ..Histogram::default() };
        batch.push_histograms(&labels("h", 0), &[(1, histogram)]);
        batch.push_starts(&labels("h", 0), &[(1, 0)]);
        let mut active = Active::default();
        batch.iter().for_each(|(bytes, _, _)| active.took_up(bytes, 0));
        assert_eq!((active.len(), active.has(key(labels("h", 0).as_bytes()))), (1, true));
        assert!(batch.iter().all(|(bytes, _, _)| active.has(key(bytes))));
    }
}
