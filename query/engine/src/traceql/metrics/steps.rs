//! When numbers are told, and which spans each tells of.

use model::TimeRange;

const MS: i64 = 1_000_000;

/// Steps that follow one another. As in Tempo, and in Prometheus' ranges, a step tells of what was since the one before: a
/// span that starts at its very time belongs to it, one at the time of the step before does not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::traceql) struct Steps {
    /// Where the first begins, which it does not hold itself.
    after_ns: i64,
    until_ns: i64,
    step_ns: i64,
    pub count: usize,
}

impl Steps {
    /// At whole multiples of the step, so that the same span counts for the same time in every answer: from the last
    /// before the range, of which there is something to tell as well, to the first after it.
    pub fn over(range: TimeRange, step_ns: i64) -> Steps {
        let first_ns = range.start.div_euclid(step_ns).saturating_mul(step_ns);
        let after_ns = first_ns.saturating_sub(step_ns);
        let steps =
            range.end.saturating_sub(after_ns).saturating_sub(1).div_euclid(step_ns).saturating_add(1);
        let until_ns = after_ns.saturating_add(step_ns.saturating_mul(steps));
        Steps { after_ns, until_ns, step_ns, count: usize::try_from(steps).unwrap_or(0) }
    }

    /// One, of the whole range with both its ends.
    pub fn one(range: TimeRange) -> Steps {
        Steps {
            after_ns: range.start.saturating_sub(1),
            until_ns: range.end,
            step_ns: range.end.saturating_sub(range.start),
            count: 1,
        }
    }

    /// Of a span that starts in the range.
    pub fn of(&self, start_ns: i64) -> usize {
        let since = start_ns.saturating_sub(self.after_ns).saturating_sub(1).max(0);
        ((since / self.step_ns) as usize).min(self.count.saturating_sub(1))
    }

    /// Spans of a step start after the one time and not after the other; the first and the last step may have more.
    pub fn times(&self, step: usize) -> (i64, i64) {
        let after = self.after_ns.saturating_add(self.step_ns.saturating_mul(step as i64));
        (after, after.saturating_add(self.step_ns))
    }

    /// Starts of the spans that are counted.
    pub fn range(&self) -> TimeRange {
        TimeRange { start: self.after_ns.saturating_add(1), end: self.until_ns }
    }

    pub fn told_at_ms(&self, step: usize) -> i64 {
        let ns = self.after_ns.saturating_add(self.step_ns.saturating_mul(step as i64 + 1));
        ns.div_euclid(MS)
    }

    pub fn seconds(&self) -> f64 {
        self.step_ns as f64 / 1e9
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_holds_its_own_time_and_not_that_of_the_step_before() {
        let steps = Steps::over(TimeRange { start: 125 * MS, end: 170 * MS }, 20 * MS);
        let told: Vec<i64> = (0..steps.count).map(|step| steps.told_at_ms(step)).collect();
        assert_eq!(told, [120, 140, 160, 180]);
        assert_eq!(steps.range(), TimeRange { start: 100 * MS + 1, end: 180 * MS });
        let of = [(100 * MS + 1, 0), (120 * MS, 0), (120 * MS + 1, 1), (140 * MS, 1), (180 * MS, 3)];
        for (start, step) in of {
            assert_eq!(steps.of(start), step, "{start}");
            let (after, until) = steps.times(step);
            assert!(after < start && start <= until, "{start}");
        }
        let whole = Steps::over(TimeRange { start: 120 * MS, end: 180 * MS }, 20 * MS);
        assert_eq!((whole.range(), whole.count), (steps.range(), 4));
    }

    #[test]
    fn one_step_holds_both_its_ends() {
        let one = Steps::one(TimeRange { start: 100, end: 200 });
        assert_eq!((one.range(), one.count), (TimeRange { start: 100, end: 200 }, 1));
        assert_eq!([one.of(100), one.of(200)], [0, 0]);
        assert_eq!(Steps::one(TimeRange { start: 0, end: 2_000_000_000 }).seconds(), 2.0);
    }
}
