//! The bottleneck: a pool of ten database connections that is too small.
//!
//! Whether a request finds the pool empty is drawn, not queued: a real queue at this modest rate would need a load that
//! this machine should not carry, and its share would move with it. What is drawn is then told as a real pool tells it:
//! connections in use, requests waiting, the wait of each.

use super::topology::POOL_CONNECTIONS_MAX;
use rand::Rng;
use std::collections::VecDeque;
use std::time::{Duration, SystemTime};

/// The share of requests that find the pool empty, and what that costs them.
pub const EXHAUSTED_SHARE: f64 = 0.15;
const WAIT_MS: f64 = 300.0;
/// Waits are 300 ms give or take this share.
const WAIT_SPREAD: f64 = 0.1;

/// Waits that are remembered to count those at the same time. At 20 requests a second about one is there at once.
const WAITS_MAX: usize = 64;

/// How one request got its connection.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Acquired {
    pub wait: Duration,
    pub exhausted: bool,
}

/// Draws how a request gets its connection.
pub fn acquire(rng: &mut impl Rng) -> Acquired {
    if rng.random_bool(EXHAUSTED_SHARE) {
        let wait_ms = WAIT_MS * rng.random_range(1.0 - WAIT_SPREAD..1.0 + WAIT_SPREAD);
        return Acquired { wait: Duration::from_secs_f64(wait_ms / 1e3), exhausted: true };
    }
    Acquired { wait: Duration::from_micros(rng.random_range(20..200)), exhausted: false }
}

/// What the pool's gauges say. A gauge is read every few seconds while a wait lasts 0.3, so each tells the most since
/// it was read last.
#[derive(Debug, Default)]
pub struct Pool {
    waits_until: VecDeque<SystemTime>,
    used_peak: u64,
    pending_peak: u64,
}

impl Pool {
    /// Takes one acquisition into account; returns how many requests wait, this one included.
    pub fn observe(&mut self, at: SystemTime, acquired: Acquired) -> u64 {
        self.waits_until.retain(|until| *until > at);
        if !acquired.exhausted {
            // One for this statement, beside the three that the pool keeps busy with housekeeping.
            self.used_peak = self.used_peak.max(4);
            return 0;
        }
        if self.waits_until.len() == WAITS_MAX {
            self.waits_until.pop_front();
        }
        self.waits_until.push_back(at + acquired.wait);
        let pending = self.waits_until.len() as u64;
        self.used_peak = POOL_CONNECTIONS_MAX;
        self.pending_peak = self.pending_peak.max(pending);
        pending
    }

    /// Most connections in use since the last call.
    pub fn take_used_peak(&mut self) -> u64 {
        std::mem::take(&mut self.used_peak)
    }

    /// Most requests waiting since the last call.
    pub fn take_pending_peak(&mut self) -> u64 {
        std::mem::take(&mut self.pending_peak)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::UNIX_EPOCH;

    #[test]
    fn waits_at_the_same_time_are_counted_and_then_forgotten() {
        let slow = Acquired { wait: Duration::from_millis(300), exhausted: true };
        let at = |ms| UNIX_EPOCH + Duration::from_millis(ms);
        let mut pool = Pool::default();
        assert_eq!(pool.observe(at(0), slow), 1);
        assert_eq!(pool.observe(at(100), slow), 2);
        assert_eq!(pool.observe(at(350), slow), 2, "the first has its connection");
        assert_eq!((pool.take_used_peak(), pool.take_pending_peak()), (10, 2));
        assert_eq!((pool.take_used_peak(), pool.take_pending_peak()), (0, 0));
    }

    #[test]
    fn memory_of_waits_is_bounded() {
        let forever = Acquired { wait: Duration::from_secs(3600), exhausted: true };
        let mut pool = Pool::default();
        let most = (0..1000).map(|_| pool.observe(UNIX_EPOCH, forever)).max();
        assert_eq!(most, Some(WAITS_MAX as u64));
    }
}
