//! How many samples a query looks at, step by step, in the way that Prometheus counts them for `stats=all`: each step as
//! if it were asked alone, so that a window counts all it has at each step; a histogram as so many samples as it is
//! large; of a function over a subquery what the subquery yields, not what it reads.

use super::matrix::Series;
use super::scan::{Samples, Windows, between};
use model::Histogram;
use parking_lot::Mutex;

/// By step of the query.
#[derive(Debug)]
pub(super) struct Tally(Mutex<Vec<u64>>);

impl Tally {
    pub fn new(steps: usize) -> Tally {
        Tally(Mutex::new(vec![0; steps]))
    }

    pub fn counts(&self) -> Vec<u64> {
        self.0.lock().clone()
    }

    /// What a selector found at each step. A time, taken of a sample, is a number.
    pub fn add_found(&self, series: &Series) {
        let histograms = series.histograms.iter().enumerate();
        let histograms = histograms.filter_map(|(step, found)| Some((step, size(found.as_ref()?))));
        let numbers = series.values.iter().enumerate();
        self.add(numbers.filter_map(|(step, value)| value.map(|_| (step, 1))).chain(histograms));
    }

    /// What each window has.
    pub fn add_windows(&self, windows: &Windows<'_>, samples: &Samples<'_>) {
        self.add((0..windows.times.count).map(|step| {
            let (start_ms, end_ms) = windows.bounds(step);
            let numbers = between(&samples.ts_ms, |ts| *ts, start_ms, end_ms).len() as u64;
            let histograms = between(&samples.histograms, |(ts, _)| *ts, start_ms, end_ms);
            let histograms = &samples.histograms[histograms];
            (step, numbers + histograms.iter().map(|(_, histogram)| size(histogram)).sum::<u64>())
        }));
    }

    /// A range vector that is the whole query.
    pub fn add_raw(&self, numbers: usize, histograms: &[(i64, std::sync::Arc<Histogram>)]) {
        let histograms: u64 = histograms.iter().map(|(_, histogram)| size(histogram)).sum();
        self.add(std::iter::once((0, numbers as u64 + histograms)));
    }

    /// Steps of a subquery that is the whole query are of its one step.
    fn add(&self, found: impl Iterator<Item = (usize, u64)>) {
        let mut counts = self.0.lock();
        let last = counts.len().saturating_sub(1);
        for (step, count) in found {
            if let Some(counted) = counts.get_mut(step.min(last)) {
                *counted += count;
            }
        }
    }
}

/// In samples of 16 bytes, as Prometheus weighs it: what it has always, its spans, buckets and bounds, its time.
fn size(histogram: &Histogram) -> u64 {
    const ALWAYS: usize = 168;
    let spans = |buckets: &[(i32, f64)]| {
        let breaks = buckets.windows(2).filter(|pair| pair[0].0 + 1 != pair[1].0).count();
        if buckets.is_empty() { 0 } else { breaks + 1 }
    };
    let buckets = histogram.positive.len() + histogram.negative.len() + histogram.custom_values.len();
    let words = buckets + spans(&histogram.positive) + spans(&histogram.negative);
    ((ALWAYS + words * 8 + 8) / 16) as u64
}
