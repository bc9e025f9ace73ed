//! Whether times come in two sizes: the usual one, and one that some requests pay on top.
//!
//! Latencies are never alike, and their slow tail is not a cause. What is looked for is a second hill with a valley
//! before it. The two groups are those that leave the least spread within each; a split counts when the slow group is far
//! from the usual one as measured by the latter's own spread, and when there is next to nothing in between: a tail that
//! is cut in two goes on behind the cut. Checked on uniform, exponential, normal and log-normal times from 60 values on.

use super::weighted::Values;
use std::ops::Range;

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Split {
    /// Of the sorted values, the first of the slow group.
    pub at: usize,
    /// The first behind them: from there on are such as are slow for what is known.
    pub until: usize,
    /// Median of the usual group.
    pub usual: f64,
    /// What the slow ones pay on top: their mean, less the usual.
    pub adds: f64,
}

/// How many times the usual group's spread the slow one must be away. An exponential tail cut in two has 2, a
/// log-normal one up to 3.
const SPREADS_MIN: f64 = 4.0;
/// Where the slow group is a good part of all it is no tail, and need not be as far.
const SPREADS_OF_MANY_MIN: f64 = 3.0;
const MANY_SHARE_MIN: f64 = 0.2;
/// What lies in the valley, as a share of the slow group. A tail has as much there as beyond it.
const VALLEY_MAX: f64 = 0.25;
/// What lies right above the usual group, as far again as it is wide, as a share of it. One hill cut in two has a good
/// part of itself there.
const ABOVE_MAX: f64 = 0.03;
/// With so many values it is twice as many spreads: of few values the spread is not well known.
const FEW: f64 = 150.0;
/// The usual group is at least so many, and such a part of all.
const USUAL_MIN: usize = 15;
const USUAL_SHARE_MIN: f64 = 0.2;
/// What is so far from the usual, as a part of what the slow group found first is, is slow as well.
const SLOW_TOO_MIN: f64 = 0.05;
/// Where it ends this near to the usual, as a part of where the slow group begins, it is a size of its own between the two.
const OWN_SIZE_MAX: f64 = 0.5;
/// A slow group that is wide itself draws the first cut into it; the cut below it is the right one.
const CUTS: usize = 4;

/// The lowest cut that counts. Of what a cut adds to the slow ones `is_known` says, by its place and by how far beyond the usual
/// it begins, whether something else is known to bring it: then it is no part of them.
pub(super) fn two_sizes(sorted: Values<'_>, is_known: impl Fn(Range<usize>, f64) -> bool) -> Option<Split> {
    let mut sorted = sorted;
    let mut found: Option<Split> = None;
    let mut end = sorted.len();
    for _ in 0..CUTS {
        let Some(at) = cut(sorted.until(end)) else { break };
        end = at;
        let Some(lower) = judged(sorted, at) else { continue };
        let added = at..found.map_or(sorted.len(), |found| found.at);
        if is_known(added, sorted.at(at) - lower.usual) {
            // What is behind it is judged as if it were not there.
            sorted = if found.is_none() { sorted.until(at) } else { sorted };
        } else if found.is_none_or(|found| goes_with(found, lower, sorted)) {
            found = Some(lower);
        }
    }
    found
}

/// What lies between two cuts goes with the slow ones only if it is slow itself and no other size: an attempt that failed
/// soon is not a part of what the others waited for.
fn goes_with(found: Split, lower: Split, sorted: Values<'_>) -> bool {
    if lower.at >= found.at {
        return true;
    }
    let (mean, last) = (sorted.mean_of(lower.at..found.at), sorted.at(found.at - 1));
    mean - lower.usual >= SLOW_TOO_MIN * found.adds
        && last - lower.usual >= OWN_SIZE_MAX * (sorted.at(found.at) - lower.usual)
}

fn judged(sorted: Values<'_>, at: usize) -> Option<Split> {
    let (low, all) = (sorted.until(at), sorted.weight());
    if at < USUAL_MIN || low.weight() < USUAL_SHARE_MIN * all {
        return None;
    }
    let high = at..sorted.len();
    let high_weight = sorted.weight_of(high.clone());
    let usual = low.quantile(0.5);
    let top = 2.0 * low.quantile(0.98) - low.at(0);
    let above = sorted.weight_of(at..sorted.first_above(top));
    let spread = low.quantile(0.95) - usual;
    let adds = sorted.mean_of(high) - usual;
    let between = |share: f64| sorted.first_from(usual + share * adds);
    let valley = sorted.weight_of(between(0.25)..between(0.5));
    let spreads = if high_weight >= MANY_SHARE_MIN * all { SPREADS_OF_MANY_MIN } else { SPREADS_MIN };
    let counts = adds > 0.0
        && adds >= spreads * (1.0 + FEW / sorted.len() as f64) * spread
        && above <= ABOVE_MAX * low.weight()
        && valley <= VALLEY_MAX * high_weight;
    counts.then_some(Split { at, until: sorted.len(), usual, adds })
}

/// Where to cut so that both parts are as much of one size as can be (Otsu's method).
fn cut(sorted: Values<'_>) -> Option<usize> {
    let total: f64 = sorted.iter().map(|(value, weight)| value * weight).sum();
    let (mut best, mut most) = (None, 0.0);
    let (mut low, mut low_count, mut last) = (0.0, 0.0, f64::INFINITY);
    for (at, (value, weight)) in sorted.iter().enumerate() {
        // Equal values stay together.
        if value > last {
            let high_count = sorted.weight() - low_count;
            let apart = low / low_count - (total - low) / high_count;
            let between = low_count * high_count * apart * apart;
            if between > most {
                (best, most) = (Some(at), between);
            }
        }
        low += value * weight;
        low_count += weight;
        last = value;
    }
    best
}

#[cfg(test)]
mod tests {
    use super::super::weighted::Weighted;
    use super::*;
    use rand::rngs::StdRng;
    use rand::{Rng, SeedableRng};

    fn two_sizes(values: &[f64]) -> Option<Split> {
        beside(values, |_, _| false)
    }

    /// Where `known` says what is known to bring it.
    fn beside(values: &[f64], known: impl Fn(Range<usize>, f64) -> bool) -> Option<Split> {
        let each = values.iter().map(|value| (*value, 1.0)).collect();
        super::two_sizes(Weighted::of(each).all(), known)
    }

    fn drawn(count: usize, mut draw: impl FnMut(&mut StdRng) -> f64) -> Vec<f64> {
        let mut rng = StdRng::seed_from_u64(7);
        let mut values: Vec<f64> = (0..count).map(|_| draw(&mut rng)).collect();
        values.sort_by(f64::total_cmp);
        values
    }

    fn exponential(rng: &mut StdRng) -> f64 {
        -(1.0 - rng.random::<f64>()).ln()
    }

    fn normal(rng: &mut StdRng) -> f64 {
        (0..12).map(|_| rng.random::<f64>()).sum::<f64>() - 6.0
    }

    #[test]
    fn a_second_size_is_found_with_its_share_and_its_cost() {
        for (share, cost) in [(0.15, 300.0), (0.02, 80.0), (0.4, 40.0)] {
            let values = drawn(5_000, |rng| {
                let usual = 3.0 + rng.random::<f64>() * 2.0;
                if rng.random_bool(share) { usual + cost * (0.9 + 0.2 * rng.random::<f64>()) } else { usual }
            });
            let split = two_sizes(&values).unwrap();
            let found = (values.len() - split.at) as f64 / values.len() as f64;
            assert!((found / share - 1.0).abs() < 0.25, "{share}: {found}");
            assert!((split.adds / cost - 1.0).abs() < 0.05, "{cost}: {split:?}");
        }
    }

    #[test]
    fn a_wide_second_size_is_found_whole() {
        let values = drawn(5_000, |rng| {
            if rng.random_bool(0.15) { 5.0 + 300.0 * exponential(rng) } else { 1.0 + rng.random::<f64>() }
        });
        let split = two_sizes(&values).unwrap();
        let share = (values.len() - split.at) as f64 / values.len() as f64;
        assert!((0.1..0.16).contains(&share), "{share}");
    }

    #[test]
    fn a_little_more_than_nothing_is_not_slow_where_something_is() {
        // Some do without it, most pay a little, and some wait.
        let values = drawn(5_000, |rng| match rng.random::<f64>() {
            ..0.22 => 0.0,
            ..0.95 => 0.05 + 0.1 * rng.random::<f64>(),
            _ => 80.0 * (0.9 + 0.2 * rng.random::<f64>()),
        });
        let split = two_sizes(&values).unwrap();
        let share = 1.0 - split.at as f64 / values.len() as f64;
        assert!((share - 0.05).abs() < 0.01 && (split.adds - 80.0).abs() < 4.0, "{share} {split:?}");
    }

    #[test]
    fn of_two_slow_sizes_the_slower_is_told_alone() {
        // An attempt in thirty fails after 40 ms, and one in ten waits.
        let values = drawn(3_000, |rng| match rng.random::<f64>() {
            ..0.03 => 40.0 + 2.0 * rng.random::<f64>(),
            ..0.13 => 500.0 * (0.9 + 0.2 * rng.random::<f64>()),
            _ => 1.0 + rng.random::<f64>(),
        });
        let split = two_sizes(&values).unwrap();
        let share = 1.0 - split.at as f64 / values.len() as f64;
        assert!((share - 0.1).abs() < 0.015 && (split.adds - 500.0).abs() < 10.0, "{share} {split:?}");
    }

    #[test]
    fn what_is_known_is_neither_slow_nor_a_part_of_it() {
        // Some lack a call of 20 to 24 ms, a few two of them, and one in seven waits.
        let values = |waits: f64| {
            drawn(3_000, |rng| match rng.random::<f64>() {
                ..0.036 => 20.0 + 4.0 * rng.random::<f64>(),
                ..0.04 => 46.0 + 4.0 * rng.random::<f64>(),
                at if at < 0.04 + waits => 100.0 * (0.9 + 0.2 * rng.random::<f64>()),
                _ => rng.random::<f64>(),
            })
        };
        let known = |at: Range<usize>, beyond: f64| at.len() < 250 && beyond < 70.0;
        assert!(two_sizes(&values(0.0)).is_some());
        assert_eq!(beside(&values(0.0), known), None);
        let split = beside(&values(0.14), known).unwrap();
        let share = 1.0 - split.at as f64 / 3_000.0;
        assert!((share - 0.14).abs() < 0.02 && (split.adds - 100.0).abs() < 3.0, "{share} {split:?}");
        // Nor does it make anything slow that is next to it: half of the usual times are a little longer.
        let next_to_it = drawn(3_000, |rng| match rng.random::<f64>() {
            ..0.04 => 20.0 + 4.0 * rng.random::<f64>(),
            ..0.5 => 1.3 + 0.01 * rng.random::<f64>(),
            _ => 1.0 + 0.01 * rng.random::<f64>(),
        });
        let split = beside(&next_to_it, known).unwrap();
        assert!((split.adds - 0.3).abs() < 0.01 && next_to_it[split.until] >= 20.0, "{split:?}");
    }

    /// The spread of the usual times is 4.5, and the wait a bit less than four times that.
    #[test]
    fn what_many_wait_for_is_found_nearer_to_wide_usual_times() {
        for (share, found) in [(0.3, true), (0.1, false)] {
            let values = drawn(3_000, |rng| {
                let wide = rng.random::<f64>();
                if rng.random_bool(share) { 21.0 + 2.0 * wide } else { 10.0 * wide }
            });
            let split = two_sizes(&values);
            assert_eq!(split.is_some(), found, "{share}: {split:?}");
            let Some(split) = split else { continue };
            let of_all = 1.0 - split.at as f64 / values.len() as f64;
            assert!((of_all - share).abs() < 0.03 && (split.adds - 17.0).abs() < 0.5, "{split:?}");
        }
    }

    #[test]
    fn a_slow_tail_is_no_second_size() {
        type Tail = (&'static str, fn(&mut StdRng) -> f64);
        let tails: [Tail; 6] = [
            ("uniform", |rng| rng.random()),
            ("exponential", exponential),
            ("normal", |rng| 10.0 + normal(rng)),
            ("log-normal", |rng| normal(rng).exp()),
            ("wide log-normal", |rng| (1.5 * normal(rng)).exp()),
            ("the demo's", |rng| {
                let drawn: f64 = rng.random();
                0.7 + 0.5 * drawn + 1.2 * drawn.powi(8)
            }),
        ];
        for (name, draw) in tails {
            for count in [60, 500, 5_000] {
                let values = drawn(count, draw);
                // A few far values may look like a size of their own; they are too rare to be told.
                let share = two_sizes(&values).map_or(0.0, |split| 1.0 - split.at as f64 / count as f64);
                assert!(share < 0.01 || count == 60 && share < 0.06, "{name} {count}: {share}");
            }
        }
    }

    /// All slow ones were kept, and of the others one in a hundred: more slow ones than others are there, and they are few.
    #[test]
    fn one_that_was_kept_stands_for_those_that_were_not() {
        let slow = |value: f64| value > 50.0;
        let all = drawn(20_000, |rng| {
            let usual = 3.0 + 2.0 * rng.random::<f64>();
            if rng.random_bool(0.05) { usual + 100.0 * (0.9 + 0.2 * rng.random::<f64>()) } else { usual }
        });
        let kept = |(at, value): (usize, &f64)| slow(*value) || at % 100 == 0;
        let kept: Vec<f64> =
            all.iter().enumerate().filter(|one| kept(*one)).map(|(_, value)| *value).collect();
        let alone = kept.len() - kept.partition_point(|value| !slow(*value));
        assert!(alone * 10 > kept.len() * 8 && two_sizes(&kept).is_none(), "{alone} of {}", kept.len());
        let each = kept.iter().map(|value| (*value, if slow(*value) { 1.0 } else { 100.0 })).collect();
        let split = super::two_sizes(Weighted::of(each).all(), |_, _| false).unwrap();
        assert_eq!(kept.len() - split.at, alone);
        assert!((split.adds - 100.0).abs() < 3.0, "{split:?}");
    }

    #[test]
    fn nothing_alike_and_single_values_have_one_size() {
        assert_eq!(two_sizes(&[]), None);
        assert_eq!(two_sizes(&[1.0]), None);
        assert_eq!(two_sizes(&[5.0; 100]), None);
    }
}
