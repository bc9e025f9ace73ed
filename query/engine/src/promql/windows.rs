//! Functions over the samples of a window. Formulas follow Prometheus' `promql/functions.go`, so that answers are equal
//! to the last digits.

use crate::quantile::quantile;

/// The samples of `(start_ms, end_ms]`, at least one.
pub(super) struct Window<'a> {
    pub ts_ms: &'a [i64],
    pub values: &'a [f64],
    pub start_ms: i64,
    pub end_ms: i64,
    /// The step that is computed; differs from `end_ms` by offset and `@`.
    pub step_ms: i64,
    /// When the counter of each sample began, 0 where that is not known; empty where it is of none.
    pub starts: &'a [i64],
    /// No value of the whole series is below the one before it: a counter without resets.
    pub ascends: bool,
}

#[derive(Clone, Copy)]
pub(super) struct Over {
    pub name: &'static str,
    pub keeps_name: bool,
    pub compute: Compute,
}

impl Over {
    /// Whether it takes its series for a counter, and the name is to say so.
    pub fn is_rate(self) -> bool {
        matches!(self.name, "rate" | "increase")
    }
}

impl std::fmt::Debug for Over {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

pub(super) type Compute = fn(&Window<'_>, [f64; 2]) -> Option<f64>;

/// The function of that name, where it is one over windows.
pub(super) fn named(name: &str) -> Option<Over> {
    const KEEPS: bool = true;
    const DROPS: bool = false;
    let (name, keeps_name, compute): (&'static str, bool, Compute) = match name {
        "rate" => ("rate", DROPS, |w, _| {
            extrapolated(w, true).map(|increase| increase / (w.range_ms() as f64 / 1e3))
        }),
        "increase" => ("increase", DROPS, |w, _| extrapolated(w, true)),
        "delta" => ("delta", DROPS, |w, _| extrapolated(w, false)),
        "irate" => ("irate", DROPS, |w, _| last_two(w, true)),
        "idelta" => ("idelta", DROPS, |w, _| last_two(w, false)),
        "deriv" => ("deriv", DROPS, |w, _| Some(regression(w, *w.ts_ms.first()?)?.0)),
        "predict_linear" => ("predict_linear", DROPS, |w, p| {
            let (slope, intercept) = regression(w, w.step_ms)?;
            Some(slope * p[0] + intercept)
        }),
        "changes" => ("changes", DROPS, |w, _| {
            let differ = |pair: &[f64]| pair[0] != pair[1] && !(pair[0].is_nan() && pair[1].is_nan());
            Some(w.values.windows(2).filter(|pair| differ(pair)).count() as f64)
        }),
        "resets" => ("resets", DROPS, |w, _| {
            Some((1..w.values.len()).filter(|at| w.values[*at] < w.values[at - 1] || w.began(*at)).count()
                as f64)
        }),
        "avg_over_time" => ("avg_over_time", DROPS, |w, _| Some(mean(w.values))),
        "sum_over_time" => ("sum_over_time", DROPS, |w, _| Some(kahan_sum(w.values.iter().copied()))),
        "count_over_time" => ("count_over_time", DROPS, |w, _| Some(w.values.len() as f64)),
        "min_over_time" => ("min_over_time", DROPS, |w, _| extreme(w.values, |new, old| new < old)),
        "max_over_time" => ("max_over_time", DROPS, |w, _| extreme(w.values, |new, old| new > old)),
        "last_over_time" => ("last_over_time", KEEPS, |w, _| w.values.last().copied()),
        "first_over_time" => ("first_over_time", KEEPS, |w, _| w.values.first().copied()),
        "present_over_time" => ("present_over_time", DROPS, |_, _| Some(1.0)),
        "stdvar_over_time" => ("stdvar_over_time", DROPS, |w, _| Some(variance(w.values))),
        "stddev_over_time" => ("stddev_over_time", DROPS, |w, _| Some(variance(w.values).sqrt())),
        "quantile_over_time" => {
            ("quantile_over_time", DROPS, |w, p| Some(quantile(p[0], &mut w.values.to_vec())))
        }
        "mad_over_time" => ("mad_over_time", DROPS, |w, _| {
            if w.values.iter().any(|value| value.is_nan()) {
                return Some(f64::NAN);
            }
            let median = quantile(0.5, &mut w.values.to_vec());
            let mut distances: Vec<f64> = w.values.iter().map(|value| (value - median).abs()).collect();
            Some(quantile(0.5, &mut distances))
        }),
        "double_exponential_smoothing" | "holt_winters" => ("double_exponential_smoothing", DROPS, smoothed),
        "ts_of_first_over_time" => {
            ("ts_of_first_over_time", DROPS, |w, _| Some(*w.ts_ms.first()? as f64 / 1e3))
        }
        "ts_of_last_over_time" => ("ts_of_last_over_time", DROPS, |w, _| Some(*w.ts_ms.last()? as f64 / 1e3)),
        "ts_of_min_over_time" => {
            ("ts_of_min_over_time", DROPS, |w, _| time_of_extreme(w, |new, old| new <= old))
        }
        "ts_of_max_over_time" => {
            ("ts_of_max_over_time", DROPS, |w, _| time_of_extreme(w, |new, old| new >= old))
        }
        _ => return None,
    };
    Some(Over { name, keeps_name, compute })
}

impl Window<'_> {
    pub fn range_ms(&self) -> i64 {
        self.end_ms - self.start_ms
    }

    fn start(&self, at: usize) -> i64 {
        self.starts.get(at).copied().unwrap_or(0)
    }

    /// Whether the counter of a sample began after the sample before it.
    pub fn began(&self, at: usize) -> bool {
        let before = Began { ts_ms: self.ts_ms[at - 1], start_ms: self.start(at - 1) };
        began(before, Began { ts_ms: self.ts_ms[at], start_ms: self.start(at) })
    }

    /// Where the first sample's counter began, if that is within the window: it was zero then.
    pub fn start_within(&self) -> Option<i64> {
        let start = self.start(0);
        (start != 0 && start > self.start_ms && start < *self.ts_ms.first()?).then_some(start)
    }

    /// The factor to the whole window where it is known when the counter was zero.
    pub fn rate_from_start(&self, start_ms: i64, first_ms: i64, last_ms: i64, intervals: usize) -> f64 {
        let sampled = (last_ms - start_ms) as f64 / 1e3;
        let average = if intervals > 0 { (last_ms - first_ms) as f64 / 1e3 / intervals as f64 } else { 0.0 };
        let mut to_end = (self.end_ms - last_ms) as f64 / 1e3;
        if to_end >= average * 1.1 {
            to_end = average / 2.0;
        }
        if sampled == 0.0 { 1.0 } else { (sampled + to_end) / sampled }
    }
}

/// A sample's time and when its counter began.
#[derive(Clone, Copy)]
pub(super) struct Began {
    pub ts_ms: i64,
    pub start_ms: i64,
}

/// Whether a counter began anew between two samples: its start lies behind the sample before. One that is that very
/// time means a difference sent as a counter, unless nothing was known of the start before.
pub(super) fn began(before: Began, now: Began) -> bool {
    if now.start_ms == 0 || now.start_ms >= now.ts_ms || now.start_ms < before.ts_ms {
        return false;
    }
    if now.start_ms > before.ts_ms {
        return true;
    }
    before.start_ms != 0 && before.start_ms < before.ts_ms
}

/// How much the value grew over the whole window, from what it grew between the first and the last sample.
fn extrapolated(w: &Window<'_>, is_counter: bool) -> Option<f64> {
    let n = w.values.len();
    let from_start = if is_counter { w.start_within() } else { None };
    if n < 2 && from_start.is_none() {
        return None;
    }
    let (first, last) = (w.values[0], w.values[n - 1]);
    let mut result = last - first;
    if is_counter && !w.ascends {
        for pair in w.values.windows(2).filter(|pair| pair[1] < pair[0]) {
            result += pair[0];
        }
    }
    if is_counter && !w.starts.is_empty() {
        // Where the value fell as well, that was counted.
        let again = (1..n).filter(|at| w.began(*at) && w.values[*at] >= w.values[at - 1]);
        result += again.map(|at| w.values[at - 1]).sum::<f64>();
    }
    if let Some(start_ms) = from_start {
        return Some((result + first) * w.rate_from_start(start_ms, w.ts_ms[0], w.ts_ms[n - 1], n - 1));
    }
    let to_zero = (is_counter && result > 0.0 && first >= 0.0).then(|| first / result);
    Some(result * extrapolation(w, w.ts_ms[0], w.ts_ms[n - 1], n - 1, to_zero))
}

/// The factor from what was sampled to the whole window. `to_zero`: how far before the first sample, as a share of the
/// sampled time, a counter was zero: it does not come from below.
pub(super) fn extrapolation(
    w: &Window<'_>,
    first_ms: i64,
    last_ms: i64,
    intervals: usize,
    to_zero: Option<f64>,
) -> f64 {
    let seconds = |ms: i64| ms as f64 / 1e3;
    let mut to_start = seconds(first_ms - w.start_ms);
    let mut to_end = seconds(w.end_ms - last_ms);
    let sampled = seconds(last_ms - first_ms);
    let average = sampled / intervals as f64;
    let threshold = average * 1.1;
    if to_start >= threshold {
        to_start = average / 2.0;
    }
    if let Some(share) = to_zero {
        to_start = to_start.min(sampled * share);
    }
    if to_end >= threshold {
        to_end = average / 2.0;
    }
    (sampled + to_start + to_end) / sampled
}

fn last_two(w: &Window<'_>, is_rate: bool) -> Option<f64> {
    let n = w.values.len();
    if n < 2 {
        return None;
    }
    let (previous, last) = (w.values[n - 2], w.values[n - 1]);
    let difference = if is_rate && (last < previous || w.began(n - 1)) { last } else { last - previous };
    let ms = w.ts_ms[n - 1] - w.ts_ms[n - 2];
    match (is_rate, ms) {
        (_, 0) => None,
        (true, ms) => Some(difference / (ms as f64 / 1e3)),
        (false, _) => Some(difference),
    }
}

/// Slope per second and value at `origin_ms` of the line of least squares.
fn regression(w: &Window<'_>, origin_ms: i64) -> Option<(f64, f64)> {
    if w.values.len() < 2 {
        return None;
    }
    let first = w.values[0];
    if w.values.iter().all(|value| *value == first) {
        return Some(if first.is_infinite() { (f64::NAN, f64::NAN) } else { (0.0, first) });
    }
    let (mut x, mut y, mut xy, mut xx) =
        (Kahan::default(), Kahan::default(), Kahan::default(), Kahan::default());
    for (ts, value) in w.ts_ms.iter().zip(w.values) {
        let seconds = (ts - origin_ms) as f64 / 1e3;
        x.add(seconds);
        y.add(*value);
        xy.add(seconds * value);
        xx.add(seconds * seconds);
    }
    let n = w.values.len() as f64;
    let (x, y, xy, xx) = (x.sum(), y.sum(), xy.sum(), xx.sum());
    let covariance = xy - x * y / n;
    let variance = xx - x * x / n;
    let slope = covariance / variance;
    Some((slope, y / n - slope * x / n))
}

/// Summation that keeps the low digits (Neumaier's).
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Kahan {
    sum: f64,
    lost: f64,
}

impl Kahan {
    pub fn starting(sum: f64) -> Kahan {
        Kahan { sum, lost: 0.0 }
    }

    /// The number that it began with, as long as nothing was added.
    pub fn main(self) -> f64 {
        self.sum
    }

    pub fn add(&mut self, value: f64) {
        let sum = self.sum + value;
        if sum.is_infinite() {
            self.lost = 0.0;
        } else if self.sum.abs() >= value.abs() {
            self.lost += (self.sum - sum) + value;
        } else {
            self.lost += (value - sum) + self.sum;
        }
        self.sum = sum;
    }

    pub fn sum(self) -> f64 {
        self.sum + self.lost
    }
}

pub(super) fn kahan_sum(values: impl Iterator<Item = f64>) -> f64 {
    let mut sum = Kahan::default();
    values.for_each(|value| sum.add(value));
    sum.sum()
}

pub(super) fn mean(values: &[f64]) -> f64 {
    let mut mean = Mean::default();
    values.iter().for_each(|value| mean.add(*value));
    mean.value().unwrap_or(f64::NAN)
}

/// A mean in the making. Where the plain sum leaves the range of numbers, the mean is moved value by value instead.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Mean {
    count: u64,
    sum: Kahan,
    moved: Option<Kahan>,
}

impl Mean {
    pub fn add(&mut self, value: f64) {
        self.count += 1;
        let count = self.count as f64;
        if self.count == 1 {
            self.sum = Kahan::starting(value);
            return;
        }
        let moved = match self.moved {
            Some(moved) => moved,
            None => {
                let mut next = self.sum;
                next.add(value);
                if !next.sum.is_infinite() {
                    self.sum = next;
                    return;
                }
                Kahan { sum: self.sum.sum() / (count - 1.0), lost: self.sum.lost / (count - 1.0) }
            }
        };
        let share = (count - 1.0) / count;
        let mut moved = Kahan { sum: share * moved.sum, lost: share * moved.lost };
        moved.add(value / count);
        self.moved = Some(moved);
    }

    /// `None` of no value.
    pub fn value(self) -> Option<f64> {
        let count = self.count as f64;
        let plain = || self.sum.sum / count + self.sum.lost / count;
        (self.count > 0).then(|| self.moved.map_or_else(plain, Kahan::sum))
    }
}

pub(super) fn variance(values: &[f64]) -> f64 {
    let mut variance = Variance::default();
    values.iter().for_each(|value| variance.add(*value));
    variance.value().unwrap_or(f64::NAN)
}

/// Of the population, in one pass without what rounding loses.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Variance {
    count: u64,
    mean: Kahan,
    squares: Kahan,
}

impl Variance {
    pub fn add(&mut self, value: f64) {
        self.count += 1;
        let delta = value - self.mean.sum();
        self.mean.add(delta / self.count as f64);
        self.squares.add(delta * (value - self.mean.sum()));
    }

    /// `None` of no value.
    pub fn value(self) -> Option<f64> {
        (self.count > 0).then(|| self.squares.sum() / self.count as f64)
    }
}

fn extreme(values: &[f64], better: fn(f64, f64) -> bool) -> Option<f64> {
    let mut best = *values.first()?;
    for &value in values {
        if better(value, best) || best.is_nan() {
            best = value;
        }
    }
    Some(best)
}

fn time_of_extreme(w: &Window<'_>, better: fn(f64, f64) -> bool) -> Option<f64> {
    let mut best = 0;
    for (i, &value) in w.values.iter().enumerate() {
        if better(value, w.values[best]) || w.values[best].is_nan() {
            best = i;
        }
    }
    Some(w.ts_ms[best] as f64 / 1e3)
}

fn smoothed(w: &Window<'_>, [smoothing, trend_factor]: [f64; 2]) -> Option<f64> {
    if w.values.len() < 2 {
        return None;
    }
    let (mut before, mut level, mut trend) = (0.0, w.values[0], w.values[1] - w.values[0]);
    for (i, value) in w.values.iter().enumerate().skip(1) {
        if i > 1 {
            trend = trend_factor * (level - before) + (1.0 - trend_factor) * trend;
        }
        before = level;
        level = smoothing * value + (1.0 - smoothing) * (level + trend);
    }
    Some(level)
}
