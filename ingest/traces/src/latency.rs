//! Durations of one series, told twice: as a classic histogram, which every dashboard knows, and as a native one, which
//! has the finer buckets. The latest measurement in each classic bucket leads to its trace.

use crate::export::Export;
use model::{Histogram, TraceId};
use std::collections::VecDeque;
use std::fmt::Write;

/// Buckets grow by 2^(1/8), 9 %: Tempo's factor of 1.1.
const SCHEMA: i8 = 3;
/// As many buckets as Tempo lets a native histogram have; past it, neighbours become one.
const NATIVE_BUCKETS_MAX: usize = 100;
const ZERO_THRESHOLD: f64 = 2.938_735_877_055_719e-39;

#[derive(Clone, Copy)]
struct Seen {
    trace: TraceId,
    seconds: f64,
    at_ms: i64,
}

#[derive(Clone, Copy, Default)]
struct Bucket {
    count: f64,
    latest: Option<Seen>,
}

pub(crate) struct Latency {
    bounds: &'static [f64],
    /// One more than bounds: the last is beyond them all.
    buckets: Box<[Bucket]>,
    count: f64,
    sum: f64,
    schema: i8,
    zero: f64,
    positive: Native,
}

/// Buckets of a native histogram from the first to the last that has anything, side by side: durations of one series are
/// close to one another.
#[derive(Default)]
struct Native {
    first: i32,
    counts: VecDeque<f64>,
    filled: usize,
}

impl Native {
    fn add(&mut self, index: i32, weight: f64) {
        if self.counts.is_empty() {
            self.first = index;
        }
        while index < self.first {
            self.counts.push_front(0.0);
            self.first -= 1;
        }
        let at = (index - self.first) as usize;
        if at >= self.counts.len() {
            self.counts.resize(at + 1, 0.0);
        }
        let count = &mut self.counts[at];
        self.filled += usize::from(*count == 0.0 && weight != 0.0);
        *count += weight;
    }

    /// Those that have anything.
    fn iter(&self) -> impl Iterator<Item = (i32, f64)> {
        (self.first..).zip(self.counts.iter().copied()).filter(|(_, count)| *count != 0.0)
    }

    /// With half as many buckets to a power of two.
    fn halved(&self) -> Native {
        let mut halved = Native::default();
        self.iter().for_each(|(index, count)| halved.add((index + 1).div_euclid(2), count));
        halved
    }
}

impl Latency {
    /// `bounds` ascend and are in seconds.
    pub fn new(bounds: &'static [f64]) -> Latency {
        Latency {
            bounds,
            buckets: vec![Bucket::default(); bounds.len() + 1].into(),
            count: 0.0,
            sum: 0.0,
            schema: SCHEMA,
            zero: 0.0,
            positive: Native::default(),
        }
    }

    /// A duration that happened `weight` times, ended at `at_ms`.
    pub fn observe(&mut self, duration_ns: i64, weight: f64, trace: TraceId, at_ms: i64) {
        let seconds = duration_ns.max(0) as f64 / 1e9;
        let at = self.bounds.partition_point(|bound| *bound < seconds);
        let bucket = &mut self.buckets[at];
        bucket.count += weight;
        bucket.latest = Some(Seen { trace, seconds, at_ms });
        self.count += weight;
        self.sum += seconds * weight;
        if seconds <= ZERO_THRESHOLD {
            self.zero += weight;
            return;
        }
        let index = (seconds.log2() * f64::from(1u32 << self.schema.max(0))).ceil() as i32;
        // Schemas below 0 are never reached: a second in nanoseconds spans 63 powers of two.
        self.positive.add(index, weight);
        if self.positive.filled > NATIVE_BUCKETS_MAX && self.schema > 0 {
            self.schema -= 1;
            self.positive = self.positive.halved();
        }
    }

    fn native(&self) -> Histogram {
        Histogram {
            schema: self.schema,
            count: self.count,
            sum: self.sum,
            zero_threshold: ZERO_THRESHOLD,
            zero_count: self.zero,
            positive: self.positive.iter().collect(),
            ..Histogram::default()
        }
    }

    /// `name` with `_bucket`, `_sum` and `_count`, and by itself.
    pub fn export(&mut self, name: &str, labels: &[(&str, &str)], out: &mut Export<'_>) {
        let mut so_far = 0.0;
        let mut bound = String::new();
        for (at, bucket) in self.buckets.iter_mut().enumerate() {
            so_far += bucket.count;
            bound.clear();
            // Writing to a string cannot fail.
            let _ = match self.bounds.get(at) {
                Some(number) => write!(bound, "{number}"),
                None => write!(bound, "+Inf"),
            };
            let labels = with(labels, ("le", &bound));
            out.counter(name, "_bucket", &labels, so_far);
            if let Some(seen) = bucket.latest.take() {
                out.exemplar(name, "_bucket", &labels, &seen.trace, seen.at_ms, seen.seconds);
            }
        }
        out.counter(name, "_sum", labels, self.sum);
        out.counter(name, "_count", labels, self.count);
        out.histogram(name, labels, self.native());
    }

    /// The end of all that [`Latency::export`] writes.
    pub fn end(&self, name: &str, labels: &[(&str, &str)], out: &mut Export<'_>) {
        for bound in self.bounds.iter().map(f64::to_string).chain(["+Inf".to_owned()]) {
            out.end(name, "_bucket", &with(labels, ("le", &bound)));
        }
        out.end(name, "_sum", labels);
        out.end(name, "_count", labels);
        out.end_histogram(name, labels);
    }
}

fn with<'a>(labels: &[(&'a str, &'a str)], one: (&'a str, &'a str)) -> Vec<(&'a str, &'a str)> {
    labels.iter().copied().chain([one]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_native_bucket_holds_what_lies_below_its_bound() {
        let mut latency = Latency::new(&[0.1, 1.0]);
        for ns in [0, 100_000_000, 100_000_001, 1_000_000_000, 5_000_000_000] {
            latency.observe(ns, 2.0, [1; 16], 0);
        }
        assert_eq!(latency.buckets.iter().map(|bucket| bucket.count).collect::<Vec<_>>(), [4.0, 4.0, 2.0]);
        let native = latency.native();
        native.validate().unwrap();
        assert_eq!((native.count, native.zero_count), (10.0, 2.0));
        // 1 s is 2^0 and belongs to the bucket that ends there.
        assert_eq!(native.positive.iter().find(|(index, _)| *index == 0), Some(&(0, 2.0)));
        let bound = |index: i32| 2f64.powf(f64::from(index) / 8.0);
        let of_five = native.positive.last().unwrap().0;
        assert!(bound(of_five - 1) < 5.0 && 5.0 <= bound(of_five));
    }

    #[test]
    fn buckets_are_bounded() {
        let mut latency = Latency::new(&[1.0]);
        for step in 0..600 {
            latency.observe((1.05f64.powi(step) * 1_000.0) as i64, 1.0, [1; 16], 0);
        }
        let native = latency.native();
        assert!(native.positive.len() <= NATIVE_BUCKETS_MAX && native.schema < SCHEMA);
        assert_eq!(native.positive.iter().map(|(_, count)| count).sum::<f64>(), 600.0);
        native.validate().unwrap();
    }
}
