//! Delta points summed up to cumulative ones, as the collector's `deltatocumulative` processor does it: a series begins
//! with its first point and grows by each later one; a point that is not newer than the last, or that began before the
//! series did, is left out.
//!
//! [`Deltas`] are the sums of one tenant, in memory and bounded. A request changes a copy of those that it touches
//! ([`Sums`]), which is [committed](Deltas::commit) once the points are stored: a sender that is refused sends the same
//! points again. After a restart every series begins anew, and says when, which is how a reader tells that the counter was
//! set back.

use model::{Histogram, RejectReason};
use std::collections::HashMap;

/// A series that was not sent for so long is forgotten (the processor's `max_stale`).
const STALE_MS: i64 = 5 * 60_000;

/// Between two looks for forgotten series.
const SWEEP_MS: i64 = 60_000;

/// What a series costs beside what its sum holds on the heap.
const STREAM_BYTES: usize = size_of::<Stream>() + size_of::<u128>() + 16;

/// A sum so far.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Total {
    Int(i64),
    Double(f64),
    Explicit(Explicit),
    Exponential(Histogram),
}

/// A histogram with bounds of the sender's choice; `counts` has one more than `bounds`, or none.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Explicit {
    pub bounds: Vec<f64>,
    pub counts: Vec<u64>,
    pub count: u64,
    pub sum: Option<f64>,
}

#[derive(Clone, Debug)]
struct Stream {
    start_ns: u64,
    last_ns: u64,
    seen_ms: i64,
    total: Total,
}

/// The sums of one tenant.
#[derive(Debug)]
pub struct Deltas {
    streams: HashMap<u128, Stream>,
    bytes: usize,
    bytes_max: usize,
    swept_ms: i64,
}

/// What one request adds to the sums of its tenant.
#[derive(Debug, Default)]
pub struct Sums<'d> {
    before: Option<&'d Deltas>,
    changed: HashMap<u128, Stream>,
    bytes: usize,
    now_ms: i64,
    /// Points that went into a sum.
    pub points: u64,
    /// Points before which others are missing.
    pub gaps: u64,
}

/// The sums that one request changed.
#[derive(Debug)]
pub struct Changes(HashMap<u128, Stream>);

/// Why a point is left out, and in which words.
pub(super) struct LeftOut {
    pub reason: RejectReason,
    pub why: String,
}

impl Deltas {
    pub fn new(bytes_max: usize) -> Deltas {
        Deltas { streams: HashMap::new(), bytes: 0, bytes_max, swept_ms: 0 }
    }

    /// Series that are summed up now.
    pub fn streams(&self) -> usize {
        self.streams.len()
    }

    pub fn commit(&mut self, changes: Changes, now_ms: i64) {
        for (key, stream) in changes.0 {
            self.bytes += stream.bytes();
            if let Some(before) = self.streams.insert(key, stream) {
                self.bytes -= before.bytes();
            }
        }
        self.forget(now_ms);
    }

    /// Forgets what is not sent any more.
    pub fn forget(&mut self, now_ms: i64) {
        if now_ms.saturating_sub(self.swept_ms) < SWEEP_MS {
            return;
        }
        self.swept_ms = now_ms;
        let bytes = &mut self.bytes;
        self.streams.retain(|_, stream| {
            let stays = now_ms.saturating_sub(stream.seen_ms) < STALE_MS;
            if !stays {
                *bytes -= stream.bytes();
            }
            stays
        });
    }
}

impl<'d> Sums<'d> {
    pub fn over(before: &'d Deltas, now_ms: i64) -> Sums<'d> {
        Sums { before: Some(before), now_ms, ..Sums::default() }
    }

    pub fn into_changes(self) -> Changes {
        Changes(self.changed)
    }

    /// The sum of a series with one more point, and since when it runs (nanoseconds; 0 where the sender does not say).
    pub(super) fn add(
        &mut self,
        series: &[u8],
        (start_ns, time_ns): (u64, u64),
        point: Total,
    ) -> Result<(&Total, u64), LeftOut> {
        let key = xxhash_rust::xxh3::xxh3_128(series);
        let fresh = Stream { start_ns, last_ns: time_ns, seen_ms: self.now_ms, total: point };
        let known = self.changed.contains_key(&key);
        let before = self.before.and_then(|before| before.streams.get(&key)).filter(|_| !known);
        if !known && before.is_none() {
            let bytes = fresh.bytes();
            if bytes > self.room() {
                return Err(self.full());
            }
            self.bytes += bytes;
            self.points += 1;
            let stream = self.changed.entry(key).or_insert(fresh);
            return Ok((&stream.total, start_ns));
        }
        let stream = self.changed.entry(key).or_insert_with(|| before.unwrap_or(&fresh).clone());
        if start_ns != 0 && start_ns < stream.start_ns {
            return Err(older_start(start_ns, stream.start_ns));
        }
        if time_ns <= stream.last_ns {
            return Err(out_of_order(time_ns, stream.last_ns));
        }
        self.points += 1;
        self.gaps += u64::from(start_ns > stream.last_ns);
        if stream.total.add(&fresh.total) {
            (stream.last_ns, stream.seen_ms) = (time_ns, fresh.seen_ms);
        } else {
            // Other bounds, or another kind of point: a series of its own from here on.
            *stream = fresh;
        }
        Ok((&stream.total, stream.start_ns))
    }

    fn room(&self) -> usize {
        let used = |before: &Deltas| before.bytes_max.saturating_sub(before.bytes);
        self.before.map_or(usize::MAX, used).saturating_sub(self.bytes)
    }

    fn full(&self) -> LeftOut {
        let (streams, bytes) = self.before.map_or((0, 0), |before| (before.streams.len(), before.bytes_max));
        LeftOut {
            reason: RejectReason::DeltaStateFull,
            why: format!(
                "the sums of this tenant's {streams} delta series fill the {bytes} bytes that they may take (otlp_delta_memory); \
                 send fewer series, or cumulative ones (OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE=cumulative)"
            ),
        }
    }
}

fn older_start(start_ns: u64, known_ns: u64) -> LeftOut {
    LeftOut {
        reason: RejectReason::DeltaOlderStart,
        why: format!(
            "a point that began at {start_ns} ns is of an older series than the one that began at {known_ns} ns; look for several \
             processes that send the very same series"
        ),
    }
}

fn out_of_order(time_ns: u64, last_ns: u64) -> LeftOut {
    LeftOut {
        reason: RejectReason::DeltaOutOfOrder,
        why: format!("a delta point of {time_ns} ns is out of order: its series is already at {last_ns} ns"),
    }
}

impl Stream {
    fn bytes(&self) -> usize {
        STREAM_BYTES
            + match &self.total {
                Total::Int(_) | Total::Double(_) => 0,
                Total::Explicit(explicit) => (explicit.bounds.len() + explicit.counts.len()) * 8,
                Total::Exponential(histogram) => histogram.bytes(),
            }
    }
}

impl Total {
    /// False where the two cannot be one sum.
    fn add(&mut self, more: &Total) -> bool {
        match (self, more) {
            (Total::Int(sum), Total::Int(more)) => *sum = sum.saturating_add(*more),
            (Total::Double(sum), Total::Double(more)) => *sum += more,
            (Total::Double(sum), Total::Int(more)) => *sum += *more as f64,
            (sum @ Total::Int(_), Total::Double(more)) => *sum = Total::Double(sum.number() + more),
            (Total::Explicit(sum), Total::Explicit(more)) => return sum.add(more),
            (Total::Exponential(sum), Total::Exponential(more)) => return sum.add(more).is_ok(),
            _ => return false,
        }
        true
    }

    pub fn number(&self) -> f64 {
        match self {
            Total::Int(number) => *number as f64,
            Total::Double(number) => *number,
            Total::Explicit(explicit) => explicit.count as f64,
            Total::Exponential(histogram) => histogram.count,
        }
    }
}

impl Explicit {
    fn add(&mut self, more: &Explicit) -> bool {
        if self.bounds != more.bounds || self.counts.len() != more.counts.len() {
            return false;
        }
        self.counts.iter_mut().zip(&more.counts).for_each(|(sum, more)| *sum = sum.saturating_add(*more));
        self.count = self.count.saturating_add(more.count);
        self.sum = self.sum.zip(more.sum).map(|(sum, more)| sum + more);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Points of one series one after another, each as (start, time, value); what comes out of each.
    fn check(points: &[(u64, u64, i64)], expected: &[Result<(f64, u64), RejectReason>]) -> (u64, u64) {
        let deltas = Deltas::new(1 << 20);
        let mut sums = Sums::over(&deltas, 0);
        let found: Vec<_> = points
            .iter()
            .map(|(start, time, value)| {
                let added = sums.add(b"s", (*start, *time), Total::Int(*value));
                added.map(|(total, start)| (total.number(), start)).map_err(|left_out| left_out.reason)
            })
            .collect();
        assert_eq!(found, expected);
        (sums.points, sums.gaps)
    }

    #[test]
    fn points_add_up_in_their_order() {
        let counts = check(
            &[(10, 20, 3), (20, 30, 4), (20, 30, 4), (25, 28, 1), (5, 40, 9), (40, 50, 1), (0, 60, 1)],
            &[
                Ok((3.0, 10)),
                Ok((7.0, 10)),
                Err(RejectReason::DeltaOutOfOrder),
                Err(RejectReason::DeltaOutOfOrder),
                Err(RejectReason::DeltaOlderStart),
                Ok((8.0, 10)),
                Ok((9.0, 10)),
            ],
        );
        assert_eq!(counts, (4, 1), "one gap, from 30 to 40");
    }

    #[test]
    fn what_is_not_committed_did_not_happen() {
        let mut deltas = Deltas::new(1 << 20);
        let add = |deltas: &Deltas, time: u64| {
            let mut sums = Sums::over(deltas, 0);
            let total = sums.add(b"s", (time - 1, time), Total::Int(1)).map(|(total, _)| total.number());
            (total.ok(), sums.into_changes())
        };
        let (total, changes) = add(&deltas, 10);
        deltas.commit(changes, 0);
        assert_eq!(total, Some(1.0));
        assert_eq!(add(&deltas, 20).0, Some(2.0), "refused by the store: the sender tries again");
        let (total, changes) = add(&deltas, 20);
        deltas.commit(changes, 0);
        assert_eq!((total, add(&deltas, 20).0), (Some(2.0), None));
        deltas.commit(Changes(HashMap::new()), STALE_MS);
        assert_eq!((deltas.streams(), deltas.bytes), (0, 0));
    }

    #[test]
    fn a_full_state_refuses_new_series_and_adds_to_those_it_has() {
        let mut deltas = Deltas::new(STREAM_BYTES + 8);
        let mut sums = Sums::over(&deltas, 0);
        assert!(sums.add(b"a", (1, 2), Total::Int(1)).is_ok());
        let refused = sums.add(b"b", (1, 2), Total::Int(1)).err().map(|left_out| left_out.reason);
        assert_eq!(refused, Some(RejectReason::DeltaStateFull));
        let changes = sums.into_changes();
        deltas.commit(changes, 0);
        let mut sums = Sums::over(&deltas, 0);
        assert!(sums.add(b"a", (2, 3), Total::Double(0.5)).is_ok_and(|(total, _)| total.number() == 1.5));
        assert!(sums.add(b"b", (2, 3), Total::Int(1)).is_err());
    }

    #[test]
    fn other_bounds_begin_anew() {
        let deltas = Deltas::new(1 << 20);
        let mut sums = Sums::over(&deltas, 0);
        let point = |bounds: &[f64]| {
            let counts = vec![1; bounds.len() + 1];
            let count = counts.len() as u64;
            Total::Explicit(Explicit { bounds: bounds.to_vec(), counts, count, sum: Some(0.5) })
        };
        let mut add = |at: u64, bounds: &[f64]| match sums.add(b"h", (at - 1, at), point(bounds)) {
            Ok((Total::Explicit(explicit), start)) => (explicit.count, explicit.sum, start),
            _ => panic!("{at}"),
        };
        assert_eq!(add(10, &[1.0]), (2, Some(0.5), 9));
        assert_eq!(add(11, &[1.0]), (4, Some(1.0), 9));
        assert_eq!(add(12, &[1.0, 2.0]), (3, Some(0.5), 11));
    }
}
