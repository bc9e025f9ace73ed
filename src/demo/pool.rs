//! The bottleneck: a pool of ten database connections that is too small.
//!
//! Whether a request finds the pool empty is drawn, not queued: a real queue at this modest rate would need a load that
//! this machine should not carry, and its share would move with it. What is drawn is then told as a real pool tells it:
//! connections in use, requests waiting, the wait of each.

use super::topology::{POOL_CONNECTIONS_MAX, SLOW_SERVICE, services_with_database};
use anyhow::{Context, bail};
use rand::Rng;
use std::collections::VecDeque;
use std::time::{Duration, SystemTime};

/// Whose pool is too small, how many of its requests find it empty, and what that costs them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bottleneck {
    pub service: &'static str,
    pub share: f64,
    pub wait: Duration,
}

impl Default for Bottleneck {
    fn default() -> Bottleneck {
        Bottleneck { service: SLOW_SERVICE, share: 0.15, wait: Duration::from_millis(300) }
    }
}

impl Bottleneck {
    /// `SERVICE:SHARE:DELAY`, as in `inventory:0.05:120ms`, or `none` for a shop without one.
    pub fn parse(text: &str) -> anyhow::Result<Bottleneck> {
        if text == "none" {
            return Ok(Bottleneck { share: 0.0, ..Bottleneck::default() });
        }
        let [service, share, wait] = text.split(':').collect::<Vec<_>>()[..] else {
            bail!("write SERVICE:SHARE:DELAY as in inventory:0.05:120ms, or none");
        };
        let known = services_with_database();
        let Some(service) = known.iter().copied().find(|known| *known == service) else {
            bail!("{service:?} has no database; choose {}", known.join(", "));
        };
        let share: f64 = share.parse().with_context(|| format!("share {share:?}"))?;
        if !(0.0..=1.0).contains(&share) {
            bail!("share {share} is not from 0 to 1");
        }
        let wait = crate::config::parse_duration(wait).with_context(|| format!("delay {wait:?}"))?;
        if wait > Duration::from_secs(10) {
            bail!("delay {wait:?} is longer than 10 s, which no visitor waits");
        }
        Ok(Bottleneck { service, share, wait })
    }

    /// What the service calls its pool.
    pub fn pool(&self) -> String {
        format!("{}-db", self.service)
    }
}

/// Waits are as long as they are said to be, give or take this share.
const WAIT_SPREAD: f64 = 0.1;

/// Waits that are remembered to count those at the same time. At 20 requests a second about one is there at once.
const WAITS_MAX: usize = 64;

/// How one request got its connection.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Acquired {
    pub wait: Duration,
    pub exhausted: bool,
}

/// Draws how requests get their connections. Which of them wait is chance, how many is not: after any of them that is the
/// share asked for, give or take one, so that what somebody finds can be held against what was made.
pub struct Lots {
    bottleneck: Bottleneck,
    /// Requests that should have waited by now and did not.
    owed: f64,
}

impl Lots {
    pub fn new(bottleneck: Bottleneck) -> Lots {
        Lots { bottleneck, owed: 0.0 }
    }

    pub fn acquire(&mut self, rng: &mut impl Rng) -> Acquired {
        self.owed += self.bottleneck.share;
        if rng.random_bool(self.owed.clamp(0.0, 1.0)) {
            self.owed -= 1.0;
            let spread = rng.random_range(1.0 - WAIT_SPREAD..1.0 + WAIT_SPREAD);
            return Acquired { wait: self.bottleneck.wait.mul_f64(spread), exhausted: true };
        }
        Acquired { wait: Duration::from_micros(rng.random_range(20..200)), exhausted: false }
    }
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
    use rand::SeedableRng;
    use rand::rngs::StdRng;
    use std::time::UNIX_EPOCH;

    #[test]
    fn of_any_hundred_requests_as_many_wait_as_are_said_to() {
        for (seed, share) in [0.0, 0.01, 0.15, 0.6, 1.0].into_iter().enumerate() {
            let mut lots = Lots::new(Bottleneck { share, ..Bottleneck::default() });
            let mut rng = StdRng::seed_from_u64(seed as u64);
            let waited: Vec<bool> = (0..2_000).map(|_| lots.acquire(&mut rng).exhausted).collect();
            for hundred in waited.windows(100) {
                let slow = hundred.iter().filter(|waited| **waited).count() as f64;
                assert!((slow - share * 100.0).abs() <= 2.0, "{share}: {slow}");
            }
        }
    }

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
    fn a_bottleneck_is_read_or_told_what_is_wrong() {
        let read = Bottleneck::parse("inventory:0.05:120ms").unwrap();
        assert_eq!((read.service, read.share, read.wait), ("inventory", 0.05, Duration::from_millis(120)));
        assert_eq!(Bottleneck::parse("none").unwrap().share, 0.0);
        for (text, says) in [
            ("inventory", "SERVICE:SHARE:DELAY"),
            ("cms:0.1:1s", "choose"),
            ("orders:2:1s", "0 to 1"),
            ("orders:0.1:soon", "delay"),
            ("orders:0.1:1h", "10 s"),
        ] {
            let wrong = format!("{:#}", Bottleneck::parse(text).unwrap_err());
            assert!(wrong.contains(says), "{text}: {wrong}");
        }
    }

    #[test]
    fn memory_of_waits_is_bounded() {
        let forever = Acquired { wait: Duration::from_secs(3600), exhausted: true };
        let mut pool = Pool::default();
        let most = (0..1000).map(|_| pool.observe(UNIX_EPOCH, forever)).max();
        assert_eq!(most, Some(WAITS_MAX as u64));
    }
}
