//! Quantiles and fractions of histograms. Classic ones are series that differ in `le` alone, the buckets of one
//! histogram; native ones are samples.

use super::matrix::{Matrix, Row, Sample, Series};
use super::node::{Node, Times, join_same, scalar_at};
use super::notes::{Fixed, Notes, about};
use crate::QueryError;
use crate::room::Room;
use model::{Bucket as Native, Histogram as NativeHistogram, LabelSetBuilder, Labels};
use std::collections::HashMap;

/// What is asked of each histogram.
#[derive(Clone, Debug)]
pub(super) enum Asked {
    Quantile,
    /// Of each, told apart by a label.
    Quantiles {
        label: String,
    },
    Fraction,
}

/// Inputs: the buckets, then the quantiles, or the bounds of the fraction.
#[derive(Debug)]
pub(super) struct Histogram {
    pub asked: Asked,
    pub times: Times,
    pub notes: Notes,
    /// Where in the query the vector and the quantiles stand.
    pub at: usize,
    pub quantiles_at: Vec<usize>,
}

#[derive(Clone, Copy, Debug)]
struct Bucket {
    upper: f64,
    /// Cumulative.
    count: f64,
}

/// The buckets of one classic histogram, and the native one of the same labels.
#[derive(Default)]
struct Group {
    /// Bound and place in the input.
    buckets: Vec<(f64, usize)>,
    native: Option<usize>,
}

#[async_trait::async_trait]
impl Node for Histogram {
    fn name(&self) -> &'static str {
        match self.asked {
            Asked::Fraction => "PromHistogramFraction",
            _ => "PromHistogramQuantile",
        }
    }

    async fn evaluate(&self, inputs: Vec<Matrix>, _: &Room) -> Result<Matrix, QueryError> {
        let mut inputs = inputs.into_iter();
        let Some(matrix) = inputs.next() else { return Ok(Matrix::default()) };
        let parameters: Vec<Matrix> = inputs.collect();
        let groups = self.groups(&matrix);
        let mut out = vec![];
        match &self.asked {
            Asked::Fraction => {
                let bounds = |step: usize| [0, 1].map(|at| bound_at(&parameters, at, step));
                for (labels, group) in groups {
                    let row = self.row(&labels, &group, &matrix, |step, histogram| {
                        let [lower, upper] = bounds(step);
                        match histogram {
                            Kind::Classic(buckets) => classic_fraction(lower, upper, buckets),
                            Kind::Native(native, metric) => {
                                self.native_fraction(lower, upper, native, metric)
                            }
                        }
                    });
                    out.push(row.series(labels, true));
                }
            }
            Asked::Quantile | Asked::Quantiles { .. } => {
                for (at, quantiles) in parameters.iter().enumerate() {
                    self.note_quantiles(at, quantiles);
                    for (labels, group) in &groups {
                        let row = self.row(labels, group, &matrix, |step, histogram| {
                            let q = scalar_at(quantiles, step);
                            match histogram {
                                Kind::Classic(buckets) => self.classic_quantile(q, buckets, labels, step),
                                Kind::Native(native, metric) => self.native_quantile(q, native, metric),
                            }
                        });
                        let series = row.series(labels.clone(), true);
                        match &self.asked {
                            Asked::Quantiles { label } => self.told_apart(label, series, quantiles, &mut out),
                            _ => out.push(series),
                        }
                    }
                }
            }
        }
        join_same(Matrix(out).without_empty())
    }
}

enum Kind<'a> {
    Classic(&'a mut Vec<Bucket>),
    Native(&'a NativeHistogram, &'a str),
}

fn bound_at(parameters: &[Matrix], at: usize, step: usize) -> f64 {
    parameters.get(at).map_or(f64::NAN, |matrix| scalar_at(matrix, step))
}

impl Histogram {
    fn groups(&self, matrix: &Matrix) -> Vec<(Labels, Group)> {
        let mut groups: Vec<(Labels, Group)> = vec![];
        let mut known: HashMap<Labels, usize> = HashMap::new();
        let mut group = |labels: Labels| {
            *known.entry(labels.clone()).or_insert_with(|| {
                groups.push((labels, Group::default()));
                groups.len() - 1
            })
        };
        let mut native = vec![];
        let mut buckets = vec![];
        for (at, series) in matrix.0.iter().enumerate() {
            if !series.histograms.is_empty() {
                native.push((group(series.labels.clone()), at));
            }
            if !series.values.any() {
                continue;
            }
            let le = series.labels.get("le").unwrap_or("");
            match bound(le) {
                Some(upper) => buckets.push((group(series.labels.without(|name| name == "le")), upper, at)),
                None => {
                    let text = format!("bucket label \"le\" is missing or has a malformed value of {le:?}");
                    self.notes.warn(self.at, about(&text, series.labels.metric_name()));
                }
            }
        }
        for (group, at) in native {
            groups[group].1.native = Some(at);
        }
        for (group, upper, at) in buckets {
            groups[group].1.buckets.push((upper, at));
        }
        for (_, group) in &mut groups {
            group.buckets.sort_by(|a, b| a.0.total_cmp(&b.0));
        }
        groups
    }

    fn row(
        &self,
        labels: &Labels,
        group: &Group,
        matrix: &Matrix,
        mut of: impl FnMut(usize, Kind<'_>) -> f64,
    ) -> Row {
        let mut row = Row::new(self.times.count);
        let mut buckets: Vec<Bucket> = vec![];
        let metric = labels.metric_name();
        for step in 0..self.times.count {
            buckets.clear();
            buckets.extend(group.buckets.iter().filter_map(|(upper, at)| {
                matrix.0[*at].values.get(step).map(|count| Bucket { upper: *upper, count })
            }));
            let native = group.native.and_then(|at| matrix.0[at].histogram(step));
            let value = match (native, buckets.is_empty()) {
                (Some(_), false) => {
                    let text = "vector contains a mix of classic and native histograms";
                    self.notes.warn(self.at, about(text, metric));
                    continue;
                }
                (Some(native), true) => of(step, Kind::Native(native, metric)),
                (None, false) => of(step, Kind::Classic(&mut buckets)),
                (None, true) => continue,
            };
            row.set(step, Sample::Number(value));
        }
        row
    }

    fn note_quantiles(&self, at: usize, quantiles: &Matrix) {
        for step in 0..self.times.count {
            let q = scalar_at(quantiles, step);
            if !(0.0..=1.0).contains(&q) {
                self.notes.invalid_quantile(self.quantiles_at.get(at).copied().unwrap_or(self.at), q);
            }
        }
    }

    /// A quantile that changes by the step is another series from there on.
    fn told_apart(&self, label: &str, series: Series, quantiles: &Matrix, out: &mut Vec<Series>) {
        let mut step = 0;
        while step < self.times.count {
            let quantile = scalar_at(quantiles, step);
            let same = |step: &usize| scalar_at(quantiles, *step).to_bits() == quantile.to_bits();
            let until = (step..self.times.count).find(|step| !same(step)).unwrap_or(self.times.count);
            let mut labels = LabelSetBuilder::from_labels(&series.labels);
            labels.set(label, &quantile_text(quantile));
            let part = series.clone().filtered(|at| (step..until).contains(&at));
            out.push(Series { labels: labels.build(), ..part });
            step = until;
        }
    }

    fn classic_quantile(&self, q: f64, buckets: &mut Vec<Bucket>, labels: &Labels, step: usize) -> f64 {
        if q.is_nan() {
            return f64::NAN;
        }
        if q < 0.0 {
            return f64::NEG_INFINITY;
        }
        if q > 1.0 {
            return f64::INFINITY;
        }
        if buckets.last().is_none_or(|last| last.upper != f64::INFINITY) {
            return f64::NAN;
        }
        coalesce(buckets);
        if let Some((lowest, highest, most)) = make_monotonic(buckets) {
            let now = self.times.at(step);
            let fixed = Fixed { first_ms: now, last_ms: now, lowest, highest, most, more: 0 };
            self.notes.forced_monotonicity(self.at, labels.metric_name(), fixed);
        }
        if buckets.len() < 2 {
            return f64::NAN;
        }
        let last = buckets.len() - 1;
        if buckets[last].count == 0.0 {
            return f64::NAN;
        }
        let mut rank = q * buckets[last].count;
        let at = buckets[..last].partition_point(|bucket| bucket.count < rank);
        if at == last {
            return buckets[last - 1].upper;
        }
        if at == 0 && buckets[0].upper <= 0.0 {
            return buckets[0].upper;
        }
        let Bucket { upper, mut count } = buckets[at];
        let mut start = 0.0;
        if at > 0 {
            start = buckets[at - 1].upper;
            count -= buckets[at - 1].count;
            rank -= buckets[at - 1].count;
        }
        start + (upper - start) * (rank / count)
    }

    fn native_quantile(&self, q: f64, h: &NativeHistogram, metric: &str) -> f64 {
        if q < 0.0 {
            return f64::NEG_INFINITY;
        }
        if q > 1.0 {
            return f64::INFINITY;
        }
        if h.count == 0.0 || q.is_nan() {
            return f64::NAN;
        }
        // NaN observations are in the count and in no bucket: then only counting from below tells where one is.
        let has_nan = h.sum.is_nan();
        let forward = has_nan || q < 0.5;
        let mut rank = if forward { q * h.count } else { (1.0 - q) * h.count };
        let mut buckets = h.all_buckets();
        if !forward {
            buckets.reverse();
        }
        let nothing =
            Native { lower: 0.0, upper: 0.0, lower_inclusive: false, upper_inclusive: false, count: 0.0 };
        let (mut count, mut bucket, mut seen) = (0.0, nothing, 0);
        for next in buckets.iter() {
            seen += 1;
            bucket = *next;
            if bucket.count == 0.0 {
                continue;
            }
            count += bucket.count;
            if count >= rank {
                break;
            }
        }
        let custom = h.uses_custom_buckets();
        if !custom && bucket.lower < 0.0 && bucket.upper > 0.0 {
            narrow_zero(&mut bucket, h);
        } else if custom {
            if bucket.lower == f64::NEG_INFINITY {
                if bucket.upper <= 0.0 {
                    return bucket.upper;
                }
                bucket.lower = 0.0;
            } else if bucket.upper == f64::INFINITY {
                return bucket.lower;
            }
        }
        count = count.min(h.count);
        if count < rank {
            if has_nan {
                let text = "input to histogram_quantile has NaN observations, result is NaN";
                self.notes.info(self.at, about(text, metric));
                return f64::NAN;
            }
            return bucket.upper;
        }
        rank = if forward { rank - (count - bucket.count) } else { count - rank };
        if has_nan {
            count += buckets[seen..].iter().map(|bucket| bucket.count).sum::<f64>();
            if count < h.count {
                let text = "input to histogram_quantile has NaN observations, result is skewed higher";
                self.notes.info(self.at, about(text, metric));
            }
        }
        let share = rank / bucket.count;
        if custom || (bucket.lower <= 0.0 && bucket.upper >= 0.0) {
            return bucket.lower + (bucket.upper - bucket.lower) * share;
        }
        // On a logarithmic scale exponential buckets are equally wide.
        let (lower, upper) = (bucket.lower.abs().log2(), bucket.upper.abs().log2());
        if bucket.lower > 0.0 {
            (lower + (upper - lower) * share).exp2()
        } else {
            -(upper + (lower - upper) * (1.0 - share)).exp2()
        }
    }

    fn native_fraction(&self, lower: f64, upper: f64, h: &NativeHistogram, metric: &str) -> f64 {
        if h.count == 0.0 || lower.is_nan() || upper.is_nan() {
            return f64::NAN;
        }
        if lower >= upper {
            return 0.0;
        }
        let custom = h.uses_custom_buckets();
        let (mut rank, mut at_lower, mut at_upper) = (0.0, None, None);
        for mut bucket in h.all_buckets() {
            let is_zero = bucket.lower <= 0.0 && bucket.upper >= 0.0;
            if is_zero {
                narrow_zero(&mut bucket, h);
            }
            let within = |value: f64| {
                if custom || is_zero {
                    if bucket.lower == f64::NEG_INFINITY {
                        return bucket.count;
                    }
                    return rank + bucket.count * bucket.fraction_below(value, true);
                }
                rank + bucket.count * bucket.fraction_below(value, false)
            };
            for (known, value) in [(&mut at_lower, lower), (&mut at_upper, upper)] {
                if known.is_none() && bucket.lower >= value {
                    *known = Some(rank);
                } else if known.is_none() && bucket.lower < value && bucket.upper > value {
                    *known = Some(within(value));
                }
            }
            if at_lower.is_some() && at_upper.is_some() {
                break;
            }
            rank += bucket.count;
        }
        let mut count = h.count;
        if h.sum.is_nan() {
            count = h.all_buckets().iter().map(|bucket| bucket.count).sum();
            if count < h.count {
                let text =
                    "input to histogram_fraction has NaN observations, which are excluded from all fractions";
                self.notes.info(self.at, about(text, metric));
            }
        }
        let bounded = |rank: Option<f64>| rank.filter(|rank| *rank <= count).unwrap_or(count);
        (bounded(at_upper) - bounded(at_lower)) / h.count
    }
}

/// With values of one sign alone, the zero bucket holds none of the other.
fn narrow_zero(bucket: &mut Native, h: &NativeHistogram) {
    match (h.negative.is_empty(), h.positive.is_empty()) {
        (true, false) => bucket.lower = 0.0,
        (false, true) => bucket.upper = 0.0,
        _ => {}
    }
}

/// As labels of quantiles are written: whole numbers with `.0`.
fn quantile_text(quantile: f64) -> String {
    match quantile {
        whole if whole.is_finite() && whole.fract() == 0.0 => format!("{whole:.1}"),
        other => model::short(other),
    }
}

/// A number in Go's notation.
fn bound(text: &str) -> Option<f64> {
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    let known = digits.starts_with(|c: char| c.is_ascii_digit() || c == '.')
        || ["inf", "infinity", "nan"].iter().any(|word| digits.eq_ignore_ascii_case(word));
    known.then(|| text.parse().ok()).flatten()
}

/// Buckets of one bound become one.
fn coalesce(buckets: &mut Vec<Bucket>) {
    buckets.dedup_by(|next, kept| {
        let same = next.upper == kept.upper;
        if same {
            kept.count += next.count;
        }
        same
    });
}

/// No bucket holds less than the one below it. Differences that rounding makes pass without a word; others are told:
/// lowest and highest bound that was changed, and by how much at most.
fn make_monotonic(buckets: &mut [Bucket]) -> Option<(f64, f64, f64)> {
    let mut fixed: Option<(f64, f64, f64)> = None;
    let mut before = buckets.first()?.count;
    for bucket in &mut buckets[1..] {
        let now = bucket.count;
        if now == before {
            continue;
        }
        if almost_equal(before, now) {
            bucket.count = before;
        } else if now < before {
            bucket.count = before;
            let (lowest, highest, most) = fixed.unwrap_or((f64::INFINITY, f64::NEG_INFINITY, 0.0));
            fixed = Some((lowest.min(bucket.upper), highest.max(bucket.upper), f64::max(most, before - now)));
        } else {
            before = now;
        }
    }
    fixed
}

fn almost_equal(a: f64, b: f64) -> bool {
    const TOLERANCE: f64 = 1e-12;
    /// The smallest normal number.
    const MIN: f64 = f64::MIN_POSITIVE;
    if a.is_nan() && b.is_nan() {
        return true;
    }
    let (sum, difference) = (a.abs() + b.abs(), (a - b).abs());
    if a == 0.0 || b == 0.0 || sum < MIN {
        return difference < TOLERANCE * MIN;
    }
    difference / sum.min(f64::MAX) < TOLERANCE
}

/// The share of observations between two values.
fn classic_fraction(lower: f64, upper: f64, buckets: &mut Vec<Bucket>) -> f64 {
    if buckets.last().is_none_or(|last| last.upper != f64::INFINITY) {
        return f64::NAN;
    }
    coalesce(buckets);
    let count = buckets[buckets.len() - 1].count;
    if count == 0.0 || lower.is_nan() || upper.is_nan() {
        return f64::NAN;
    }
    if lower >= upper {
        return 0.0;
    }
    let (mut rank, mut at_lower, mut at_upper) = (0.0, None, None);
    let mut start = if buckets[0].upper <= 0.0 { f64::NEG_INFINITY } else { 0.0 };
    for bucket in buckets.iter() {
        let within = |value: f64| {
            if start == f64::NEG_INFINITY {
                return bucket.count;
            }
            rank + (bucket.count - rank) * (value - start) / (bucket.upper - start)
        };
        for (known, value) in [(&mut at_lower, lower), (&mut at_upper, upper)] {
            if known.is_none() && start >= value {
                *known = Some(rank);
            } else if known.is_none() && start < value && bucket.upper > value {
                *known = Some(within(value));
            }
        }
        if at_lower.is_some() && at_upper.is_some() {
            break;
        }
        rank = bucket.count;
        start = bucket.upper;
    }
    let bounded = |rank: Option<f64>| rank.filter(|rank| *rank <= count).unwrap_or(count);
    (bounded(at_upper) - bounded(at_lower)) / count
}
