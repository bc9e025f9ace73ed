//! Unwrapped values by window.

use super::super::matrix::Steps;
use crate::quantile::quantile;
use logql::RangeOp;

/// The value of each step over the samples of its window. `samples` ascend in time.
pub(super) fn by_step(
    op: RangeOp,
    param: Option<f64>,
    range_ns: i64,
    steps: &Steps,
    samples: &[(i64, f64)],
) -> Vec<Option<f64>> {
    let (mut from, mut to) = (0, 0);
    (0..steps.count)
        .map(|step| {
            let at = steps.at(step);
            while to < samples.len() && samples[to].0 <= at {
                to += 1;
            }
            while from < to && samples[from].0 <= at.saturating_sub(range_ns) {
                from += 1;
            }
            let window = &samples[from..to];
            (!window.is_empty()).then(|| over(op, param, (at.saturating_sub(range_ns), at), window))
        })
        .collect()
}

/// `edges` are the start and the end of the window.
fn over(op: RangeOp, param: Option<f64>, edges: (i64, i64), window: &[(i64, f64)]) -> f64 {
    let values = || window.iter().map(|sample| sample.1);
    let count = window.len() as f64;
    let seconds = (edges.1 - edges.0) as f64 / 1e9;
    match op {
        RangeOp::Sum => values().sum(),
        RangeOp::Rate => values().sum::<f64>() / seconds,
        RangeOp::Avg => values().sum::<f64>() / count,
        RangeOp::Min => values().fold(f64::NAN, |a, b| if b < a || a.is_nan() { b } else { a }),
        RangeOp::Max => values().fold(f64::NAN, |a, b| if b > a || a.is_nan() { b } else { a }),
        RangeOp::First => window[0].1,
        RangeOp::Last => window[window.len() - 1].1,
        RangeOp::Stdvar => variance(values()),
        RangeOp::Stddev => variance(values()).sqrt(),
        RangeOp::Quantile => quantile(param.unwrap_or(f64::NAN), &mut values().collect::<Vec<_>>()),
        RangeOp::RateCounter => rate_counter(window, edges),
        RangeOp::Count | RangeOp::Bytes | RangeOp::BytesRate | RangeOp::Absent => count,
    }
}

/// Of the whole population, by Welford's method.
pub(crate) fn variance(values: impl Iterator<Item = f64>) -> f64 {
    let (mut count, mut mean, mut squares) = (0.0, 0.0, 0.0);
    for value in values {
        count += 1.0;
        let delta = value - mean;
        mean += delta / count;
        squares += delta * (value - mean);
    }
    squares / count
}

/// Per-second rate of a counter, resets added back. Towards each edge of the window it is drawn out: to the edge where
/// that is near, else by half of the usual distance, and never to where the counter would be below zero.
fn rate_counter(window: &[(i64, f64)], (start, end): (i64, i64)) -> f64 {
    let (first, last) = (window[0], window[window.len() - 1]);
    let seconds = |from: i64, to: i64| (to - from) as f64 / 1e9;
    let sampled = seconds(first.0, last.0);
    if window.len() < 2 || sampled == 0.0 {
        return 0.0;
    }
    let resets: f64 = window.windows(2).filter(|pair| pair[1].1 < pair[0].1).map(|pair| pair[0].1).sum();
    let increase = last.1 - first.1 + resets;
    let between = sampled / (window.len() as f64 - 1.0);
    let reach = |distance: f64| if distance < between * 1.1 { distance } else { between / 2.0 };
    let mut before = reach(seconds(start, first.0));
    if increase > 0.0 && first.1 >= 0.0 {
        before = before.min(sampled * (first.1 / increase));
    }
    let drawn_out = sampled + before + reach(seconds(last.0, end));
    increase * (drawn_out / sampled) / seconds(start, end)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A value that is no number is the smallest, as in Loki.
    #[test]
    fn a_quantile_has_what_is_no_number_first() {
        let window = [(1, 1.0), (2, f64::NAN), (3, 2.0)];
        let at = |q: f64| over(RangeOp::Quantile, Some(q), (0, 10), &window);
        assert_eq!((at(1.0), at(0.75)), (2.0, 1.5));
        assert!(at(0.0).is_nan());
        assert_eq!((at(-0.1), at(1.1)), (f64::NEG_INFINITY, f64::INFINITY));
    }
}
