//! Series and what is done with whole ones: the best of them, sums of two, buckets.

use super::exemplars::TraceExemplar;
use super::groups::Bucket;
use super::{Labels, Steps};
use model::Value;
use std::cmp::Ordering;
use std::collections::BTreeMap;
use traceql::Arithmetic;

/// Values by step; `None` where there is none.
pub(super) struct Series {
    pub labels: Labels,
    pub values: Vec<Option<f64>>,
    pub exemplars: Vec<TraceExemplar>,
}

impl Series {
    pub fn new(labels: Labels, values: Vec<Option<f64>>) -> Series {
        Series { labels, values, exemplars: Vec::new() }
    }

    /// Exemplars of steps that still have a value: a stage may have taken it, and theirs with it.
    pub fn standing(&self, steps: &Steps) -> Vec<TraceExemplar> {
        let stands = |exemplar: &&TraceExemplar| {
            let step = steps.of(exemplar.ts_ms.saturating_mul(1_000_000));
            self.values.get(step).is_some_and(Option::is_some)
        };
        self.exemplars.iter().filter(stands).cloned().collect()
    }
}

/// Counts by the power of two that bounds a value from above, of which `parts` are one in the answer.
pub(super) fn histogram(
    buckets: &[Bucket],
    parts: f64,
    with: impl Fn(Option<(&str, Value)>) -> Labels,
) -> Vec<Series> {
    let mut counts: BTreeMap<i32, Vec<Option<f64>>> = BTreeMap::new();
    for (step, bucket) in buckets.iter().enumerate() {
        for (power, weight) in bucket.powers.iter() {
            let count = &mut counts.entry(power).or_insert_with(|| vec![Some(0.0); buckets.len()])[step];
            *count = Some(count.unwrap_or(0.0) + weight);
        }
    }
    let bound = |power: i32| Some(("__bucket", Value::Double(2f64.powi(power) / parts)));
    counts.into_iter().map(|(power, values)| Series::new(with(bound(power)), values)).collect()
}

/// At each step the values of so many series. Of equal ones those whose labels come first are among the largest, and those
/// whose labels come last among the smallest.
pub(super) fn best(mut series: Vec<Series>, keep: usize, largest: bool) -> Vec<Series> {
    series.sort_by(|a, b| before(&a.labels, &b.labels));
    if !largest {
        series.reverse();
    }
    let steps = series.first().map_or(0, |s| s.values.len());
    let mut there: Vec<(f64, usize)> = Vec::with_capacity(series.len());
    for step in 0..steps {
        there.clear();
        there.extend(series.iter().enumerate().filter_map(|(at, of)| Some((of.values[step]?, at))));
        if there.len() <= keep {
            continue;
        }
        // Nobody asks for the order of those that stay.
        there.select_nth_unstable_by(keep, |a, b| {
            let by_value = if largest { b.0.total_cmp(&a.0) } else { a.0.total_cmp(&b.0) };
            by_value.then(a.1.cmp(&b.1))
        });
        there[keep..].iter().for_each(|(_, at)| series[*at].values[step] = None);
    }
    series
}

/// Texts by their letters; larger numbers before smaller ones, as Tempo has it where values are equal.
fn before(a: &Labels, b: &Labels) -> Ordering {
    let text = |value: &Value| match value {
        Value::String(text) | Value::Json(text) => text.clone(),
        _ => String::new(),
    };
    let number = |value: &Value| match value {
        Value::Int(number) => *number as f64,
        Value::Double(number) => *number,
        Value::Bool(truth) => f64::from(u8::from(*truth)),
        _ => 0.0,
    };
    for ((own, of_own), (other, of_other)) in a.iter().zip(b) {
        let order = text(of_own).cmp(&text(of_other)).then_with(|| own.cmp(other));
        let order = order.then_with(|| number(of_other).total_cmp(&number(of_own)));
        if order.is_ne() {
            return order;
        }
    }
    a.len().cmp(&b.len())
}

/// By equal labels; a side without `by` goes with every series of the other. Nothing is what is divided by nothing.
pub(super) fn arithmetic(op: Arithmetic, left: &[Series], right: &[Series], steps: &Steps) -> Vec<Series> {
    let plain = |series: &Series| !series.labels.iter().any(|(name, _)| name != "__name__");
    let apply = |a: f64, b: f64| (op != Arithmetic::Div || b != 0.0).then(|| op.apply(a, b));
    let mut out = Vec::new();
    for a in left {
        for b in right {
            let labels = match (a.labels.as_slice(), b.labels.as_slice()) {
                ([(name, of_a)], [(_, of_b)]) if plain(a) && plain(b) => {
                    vec![(name.clone(), Value::String(format!("({of_a} {} {of_b})", op.as_str())))]
                }
                (_, []) => a.labels.clone(),
                _ if plain(a) => b.labels.clone(),
                _ if plain(b) || a.labels == b.labels => a.labels.clone(),
                _ => continue,
            };
            let values: Vec<Option<f64>> =
                a.values.iter().zip(&b.values).map(|(a, b)| apply((*a)?, (*b)?)).collect();
            out.push(Series { labels, exemplars: on_line(a, b, &values, steps), values });
        }
    }
    out
}

/// Exemplars of both sides, at the height of what came out.
fn on_line(a: &Series, b: &Series, values: &[Option<f64>], steps: &Steps) -> Vec<TraceExemplar> {
    let both = a.exemplars.iter().chain(&b.exemplars);
    both.filter_map(|exemplar| {
        let value = *values.get(steps.of(exemplar.ts_ms.saturating_mul(1_000_000)))?;
        Some(TraceExemplar { value: value?, ..exemplar.clone() })
    })
    .collect()
}

/// `{a="b", c="1"}`, as Prometheus writes labels.
pub fn prom_labels(labels: &[(String, Value)]) -> String {
    let pairs: Vec<String> =
        labels.iter().map(|(name, value)| format!("{name}={:?}", value.to_string())).collect();
    format!("{{{}}}", pairs.join(", "))
}
