//! Quantiles and fractions of classic histograms: series that differ in `le` alone are the buckets of one histogram.

use super::node::{Node, Times, join_same, scalar_at, without_name};
use crate::QueryError;
use crate::logql::matrix::{Matrix, Series};
use model::{LabelSetBuilder, Labels};
use std::collections::HashMap;

/// Inputs: the buckets, then the quantile, or the bounds of the fraction.
#[derive(Debug)]
pub(super) struct Histogram {
    pub fraction: bool,
    pub times: Times,
}

#[derive(Clone, Copy)]
struct Bucket {
    upper: f64,
    /// Cumulative.
    count: f64,
}

#[async_trait::async_trait]
impl Node for Histogram {
    fn name(&self) -> &'static str {
        if self.fraction { "PromHistogramFraction" } else { "PromHistogramQuantile" }
    }

    async fn evaluate(&self, inputs: Vec<Matrix>) -> Result<Matrix, QueryError> {
        let mut inputs = inputs.into_iter();
        let Some(buckets) = inputs.next() else { return Ok(Matrix::default()) };
        let parameters: Vec<Matrix> = inputs.collect();
        let mut order: Vec<(Labels, Vec<(f64, usize)>)> = vec![];
        let mut known: HashMap<Labels, usize> = HashMap::new();
        for (at, series) in buckets.0.iter().enumerate() {
            let Some(upper) = series.labels.get("le").and_then(bound) else { continue };
            let labels = series.labels.without(|name| name == "le");
            let group = *known.entry(labels.clone()).or_insert_with(|| {
                order.push((labels, vec![]));
                order.len() - 1
            });
            order[group].1.push((upper, at));
        }
        let mut of_step = vec![];
        let series = order.into_iter().map(|(labels, mut members)| {
            members.sort_by(|a, b| a.0.total_cmp(&b.0));
            let values = (0..self.times.count).map(|step| {
                of_step.clear();
                let present = members.iter().filter_map(|(upper, at)| {
                    buckets.0[*at].values[step].map(|count| Bucket { upper: *upper, count })
                });
                of_step.extend(present);
                if of_step.is_empty() {
                    return None;
                }
                let parameter =
                    |at: usize| parameters.get(at).map_or(f64::NAN, |matrix| scalar_at(matrix, step));
                Some(match self.fraction {
                    true => fraction(parameter(0), parameter(1), &mut of_step),
                    false => quantile(parameter(0), &mut of_step),
                })
            });
            // Two metrics are two histograms; without their names they must still differ.
            Series { labels: without_name(&labels), values: values.collect() }
        });
        join_same(Matrix(series.collect()).without_empty())
    }
}

/// Inputs: in turn the answer for one quantile, and the quantile.
#[derive(Debug)]
pub(super) struct Quantiles {
    pub label: String,
    pub times: Times,
}

#[async_trait::async_trait]
impl Node for Quantiles {
    fn name(&self) -> &'static str {
        "PromHistogramQuantiles"
    }

    async fn evaluate(&self, inputs: Vec<Matrix>) -> Result<Matrix, QueryError> {
        let mut out = vec![];
        for pair in inputs.chunks_exact(2) {
            let mut step = 0;
            // A quantile that changes by the step is another series from there on.
            while step < self.times.count {
                let quantile = scalar_at(&pair[1], step);
                let same = |step: &usize| scalar_at(&pair[1], *step).to_bits() == quantile.to_bits();
                let until = (step..self.times.count).find(|step| !same(step)).unwrap_or(self.times.count);
                for series in &pair[0].0 {
                    if series.labels.get(&self.label).is_some() {
                        return Err(QueryError::Execution(format!(
                            "label {:?} is there already",
                            self.label
                        )));
                    }
                    let mut labels = LabelSetBuilder::from_labels(&series.labels);
                    labels.set(&self.label, &quantile_text(quantile));
                    let within = |at: usize| (step..until).contains(&at);
                    let values =
                        series.values.iter().enumerate().map(|(at, value)| value.filter(|_| within(at)));
                    out.push(Series { labels: labels.build(), values: values.collect() });
                }
                step = until;
            }
        }
        join_same(Matrix(out).without_empty())
    }
}

/// As labels of quantiles are written: whole numbers with `.0`.
fn quantile_text(quantile: f64) -> String {
    match quantile {
        whole if whole.is_finite() && whole.fract() == 0.0 => format!("{whole:.1}"),
        infinite if infinite.is_infinite() => (if infinite > 0.0 { "+Inf" } else { "-Inf" }).into(),
        other => other.to_string(),
    }
}

fn bound(text: &str) -> Option<f64> {
    match text {
        "+Inf" => Some(f64::INFINITY),
        other => other.parse().ok(),
    }
}

/// Buckets of one bound become one, and no bucket holds less than the one below it. `None` where there is no
/// histogram: no bucket at infinity, or that one alone, or empty.
fn prepared(buckets: &mut Vec<Bucket>) -> Option<&[Bucket]> {
    buckets.dedup_by(|next, kept| {
        let same = next.upper == kept.upper;
        if same {
            kept.count += next.count;
        }
        same
    });
    if buckets.len() < 2 || buckets.last()?.upper != f64::INFINITY {
        return None;
    }
    let mut most = f64::NEG_INFINITY;
    for bucket in buckets.iter_mut() {
        most = most.max(bucket.count);
        bucket.count = most;
    }
    (most > 0.0).then_some(buckets)
}

fn quantile(q: f64, buckets: &mut Vec<Bucket>) -> f64 {
    if q.is_nan() {
        return f64::NAN;
    }
    if q < 0.0 {
        return f64::NEG_INFINITY;
    }
    if q > 1.0 {
        return f64::INFINITY;
    }
    let Some(buckets) = prepared(buckets) else { return f64::NAN };
    let last = buckets.len() - 1;
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

/// The share of observations between two values.
fn fraction(lower: f64, upper: f64, buckets: &mut Vec<Bucket>) -> f64 {
    if lower.is_nan() || upper.is_nan() {
        return f64::NAN;
    }
    if let [Bucket { upper: bound, count }] = buckets[..]
        && bound == f64::INFINITY
        && count > 0.0
    {
        // Nothing is known of where in it the values lie.
        return if lower == f64::NEG_INFINITY && upper == f64::INFINITY { 1.0 } else { 0.0 };
    }
    let Some(buckets) = prepared(buckets) else { return f64::NAN };
    if lower >= upper {
        return 0.0;
    }
    let total = buckets[buckets.len() - 1].count;
    (rank_of(upper, buckets) - rank_of(lower, buckets)) / total
}

/// Observations at or below a value, by interpolation within its bucket.
fn rank_of(value: f64, buckets: &[Bucket]) -> f64 {
    let at = buckets.partition_point(|bucket| bucket.upper < value);
    let Some(bucket) = buckets.get(at) else { return buckets[buckets.len() - 1].count };
    let below = if at == 0 { Bucket { upper: 0.0, count: 0.0 } } else { buckets[at - 1] };
    if at == 0 && (bucket.upper <= 0.0 || value <= 0.0) {
        return if value < bucket.upper { 0.0 } else { bucket.count };
    }
    if bucket.upper.is_infinite() {
        return if value.is_infinite() { bucket.count } else { below.count };
    }
    below.count + (bucket.count - below.count) * (value - below.upper) / (bucket.upper - below.upper)
}
