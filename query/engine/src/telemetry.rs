//! How long queries take, by language: a histogram that the binary shows on `/metrics`.

use crate::Engine;
use model::{Reading, ReadingKind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Upper bounds in seconds; the last bucket is +Inf.
const BOUNDS: [f64; 10] = [0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0, 60.0];

pub const LANGUAGES: [&str; 4] = ["promql", "logql", "traceql", "sql"];

/// Counts by language; the order is that of [`LANGUAGES`].
#[derive(Default)]
pub struct QueryTimes([Histogram; LANGUAGES.len()]);

#[derive(Default)]
struct Histogram {
    buckets: [AtomicU64; BOUNDS.len() + 1],
    sum_us: AtomicU64,
}

impl QueryTimes {
    fn observe(&self, language: &str, took: Duration) {
        let Some(histogram) = LANGUAGES.iter().position(|l| *l == language).map(|i| &self.0[i]) else {
            return;
        };
        let seconds = took.as_secs_f64();
        let bucket = BOUNDS.iter().position(|bound| seconds <= *bound).unwrap_or(BOUNDS.len());
        histogram.buckets[bucket].fetch_add(1, Ordering::Relaxed);
        histogram.sum_us.fetch_add(took.as_micros() as u64, Ordering::Relaxed);
    }
}

const HELP: &str = "Time from parsing a query to its answer, by language";

impl Engine {
    /// Counts one query of a language of [`LANGUAGES`], answered or not.
    pub(crate) fn observe(&self, language: &str, took: Duration) {
        self.times.observe(language, took);
    }

    pub fn readings(&self) -> Vec<Reading> {
        let mut readings = vec![
            Reading::gauge(
                "binnacle_query_memory_bytes",
                "Memory that running queries have reserved",
                self.runtime.memory_pool.reserved() as f64,
            ),
            Reading::gauge(
                "binnacle_query_memory_max_bytes",
                "Memory that running queries may reserve together",
                self.limits.memory_bytes_max as f64,
            ),
        ];
        for (language, histogram) in LANGUAGES.iter().zip(&self.times.0) {
            let mut count = 0;
            let part = |name, value| Reading {
                name,
                help: HELP,
                kind: ReadingKind::Histogram,
                labels: vec![("language", (*language).to_owned())],
                value,
            };
            for (i, bucket) in histogram.buckets.iter().enumerate() {
                count += bucket.load(Ordering::Relaxed);
                let bound = BOUNDS.get(i).map_or("+Inf".to_owned(), f64::to_string);
                readings.push(part("binnacle_query_duration_seconds_bucket", count as f64).with("le", bound));
            }
            let sum = histogram.sum_us.load(Ordering::Relaxed) as f64 / 1e6;
            readings.push(part("binnacle_query_duration_seconds_sum", sum));
            readings.push(part("binnacle_query_duration_seconds_count", count as f64));
        }
        readings
    }
}
