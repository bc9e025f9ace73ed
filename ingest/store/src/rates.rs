//! How fast tenants and log streams may write: a bucket each, which fills at the rate and holds the burst.

use crate::config::Rate;
use model::Tenant;
use parking_lot::Mutex;
use std::collections::HashMap;

/// Streams that are remembered. Past it those whose buckets are full again are forgotten.
const STREAMS_MAX: usize = 100_000;

#[derive(Clone, Copy, Debug)]
struct Bucket {
    bytes: f64,
    at_ms: i64,
}

impl Bucket {
    fn full(rate: Rate, now_ms: i64) -> Bucket {
        Bucket { bytes: rate.burst_bytes, at_ms: now_ms }
    }

    fn fill(&mut self, rate: Rate, now_ms: i64) {
        let passed_s = (now_ms - self.at_ms).max(0) as f64 / 1e3;
        self.bytes = (self.bytes + passed_s * rate.bytes_per_s).min(rate.burst_bytes);
        self.at_ms = now_ms;
    }

    fn take(&mut self, rate: Rate, bytes: usize, now_ms: i64) -> bool {
        self.fill(rate, now_ms);
        let has = self.bytes >= bytes as f64;
        if has {
            self.bytes -= bytes as f64;
        }
        has
    }
}

#[derive(Default)]
pub struct Rates {
    tenants: Mutex<HashMap<Tenant, Bucket>>,
    /// By tenant and labels, hashed.
    streams: Mutex<HashMap<u64, Bucket>>,
}

impl Rates {
    /// Whether the tenant may write so many bytes now; they are counted where it may.
    pub fn tenant(&self, tenant: &Tenant, rate: Rate, bytes: usize, now_ms: i64) -> bool {
        let mut tenants = self.tenants.lock();
        let bucket = tenants.entry(tenant.clone()).or_insert_with(|| Bucket::full(rate, now_ms));
        bucket.take(rate, bytes, now_ms)
    }

    pub fn stream(&self, stream: u64, rate: Rate, bytes: usize, now_ms: i64) -> bool {
        let mut streams = self.streams.lock();
        if streams.len() >= STREAMS_MAX && !streams.contains_key(&stream) {
            streams.retain(|_, bucket| {
                bucket.fill(rate, now_ms);
                bucket.bytes < rate.burst_bytes
            });
            // All of them write at their limit: a new one is not held to it until there is room to remember it.
            if streams.len() >= STREAMS_MAX {
                return true;
            }
        }
        streams.entry(stream).or_insert_with(|| Bucket::full(rate, now_ms)).take(rate, bytes, now_ms)
    }

    /// What was counted for lines that are not written after all.
    pub fn give_back(&self, stream: u64, rate: Rate, bytes: usize) {
        if let Some(bucket) = self.streams.lock().get_mut(&stream) {
            bucket.bytes = (bucket.bytes + bytes as f64).min(rate.burst_bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_fills_at_its_rate_and_holds_its_burst() {
        let (rates, tenant) = (Rates::default(), Tenant::default());
        let rate = Rate { bytes_per_s: 100.0, burst_bytes: 250.0 };
        let may = |bytes, now_ms| rates.tenant(&tenant, rate, bytes, now_ms);
        assert!(may(200, 0) && !may(100, 0) && may(50, 0), "what is refused is not counted");
        assert!(!may(100, 500) && may(100, 1_000));
        assert!(!may(251, 1_000_000) && may(250, 1_000_000));
        assert!(rates.tenant(&Tenant::new("other").unwrap(), rate, 250, 0));
        assert!(rates.stream(1, rate, 250, 0) && !rates.stream(1, rate, 1, 0) && rates.stream(2, rate, 1, 0));
        rates.give_back(1, rate, 100);
        assert!(rates.stream(1, rate, 100, 0) && !rates.stream(1, rate, 1, 0));
        for stream in 0..2 * STREAMS_MAX as u64 {
            rates.stream(stream, rate, 1, 1_000);
        }
        assert!(rates.streams.lock().len() <= STREAMS_MAX);
    }
}
