//! Functions of one value, of the step's time, and of whether there are values at all.

use super::matrix::{Matrix, Sample, Series, Values};
use super::node::{Node, Times, scalar, scalar_at};
use super::notes::Notes;
use super::windows::Kahan;
use crate::QueryError;
use crate::room::Room;
use chrono::{DateTime, Datelike, Timelike, Utc};
use model::{Histogram, LabelSetBuilder, Labels, Match, Matcher};
use std::sync::Arc;

/// The same number at every step.
#[derive(Debug)]
pub(super) struct Constant {
    pub value: f64,
    pub times: Times,
}

#[async_trait::async_trait]
impl Node for Constant {
    fn name(&self) -> &'static str {
        "PromConstant"
    }

    async fn evaluate(&self, _: Vec<Matrix>, _: &Room) -> Result<Matrix, QueryError> {
        Ok(scalar((0..self.times.count).map(|_| self.value)))
    }
}

/// `time()`
#[derive(Debug)]
pub(super) struct TimeOf {
    pub times: Times,
}

#[async_trait::async_trait]
impl Node for TimeOf {
    fn name(&self) -> &'static str {
        "PromTime"
    }

    async fn evaluate(&self, _: Vec<Matrix>, _: &Room) -> Result<Matrix, QueryError> {
        Ok(scalar((0..self.times.count).map(|step| self.times.at(step) as f64 / 1e3)))
    }
}

/// `scalar(v)`: the one value of a step, or NaN.
#[derive(Debug)]
pub(super) struct ToScalar {
    pub times: Times,
}

#[async_trait::async_trait]
impl Node for ToScalar {
    fn name(&self) -> &'static str {
        "PromToScalar"
    }

    async fn evaluate(&self, inputs: Vec<Matrix>, _: &Room) -> Result<Matrix, QueryError> {
        let series = inputs.first().map_or(&[][..], |matrix| &matrix.0);
        Ok(scalar((0..self.times.count).map(|step| {
            let mut present = series.iter().filter_map(|series| series.values.get(step));
            match (present.next(), present.next()) {
                (Some(only), None) => only,
                _ => f64::NAN,
            }
        })))
    }
}

/// A function of each value, with scalar parameters behind the first input.
#[derive(Debug)]
pub(super) struct Elementwise {
    pub function: &'static str,
    pub times: Times,
}

#[async_trait::async_trait]
impl Node for Elementwise {
    fn name(&self) -> &'static str {
        "PromFunction"
    }

    fn details(&self) -> String {
        self.function.to_owned()
    }

    async fn evaluate(&self, inputs: Vec<Matrix>, _: &Room) -> Result<Matrix, QueryError> {
        let mut inputs = inputs.into_iter();
        let Some(matrix) = inputs.next() else { return Ok(Matrix::default()) };
        let parameters: Vec<Matrix> = inputs.collect();
        let of_step = |step: usize| self.times.at(step) as f64 / 1e3;
        if self.function == "timestamp" {
            let series = matrix.0.into_iter().map(|series| {
                let present = |step: usize| series.is_present(step).then(|| of_step(step));
                let values = (0..self.times.count).map(present).collect();
                Series { drop_name: true, values, ..series.without_histograms() }
            });
            return Ok(Matrix(series.collect()).without_empty());
        }
        if let Some(compute) = of_histogram(self.function) {
            let series = matrix.0.into_iter().map(|series| {
                let of = |step: usize| series.histogram(step).map(|histogram| compute(histogram));
                let values = (0..self.times.count).map(of).collect();
                Series { drop_name: true, values, ..series.without_histograms() }
            });
            return Ok(Matrix(series.collect()).without_empty());
        }
        let Some(compute) = compute(self.function) else {
            return Err(QueryError::Bad(format!("function {:?} is not supported", self.function)));
        };
        let parameter = |at: usize, step: usize| parameters.get(at).map(|matrix| scalar_at(matrix, step));
        let series = matrix.0.into_iter().map(|series| {
            let values: Values = match parameters.is_empty() && self.function != "clamp" {
                true => series.values.mapped(|_, value| compute(value, [None, None]).unwrap_or(f64::NAN)),
                false => series
                    .values
                    .iter()
                    .enumerate()
                    .map(|(step, value)| compute(value?, [parameter(0, step), parameter(1, step)]))
                    .collect(),
            };
            Series { drop_name: true, values, ..series.without_histograms() }
        });
        Ok(Matrix(series.collect()).without_empty())
    }
}

/// `-v`, of numbers and histograms.
#[derive(Debug)]
pub(super) struct Negate;

#[async_trait::async_trait]
impl Node for Negate {
    fn name(&self) -> &'static str {
        "PromNegate"
    }

    async fn evaluate(&self, inputs: Vec<Matrix>, _: &Room) -> Result<Matrix, QueryError> {
        let series = inputs.into_iter().flat_map(|matrix| matrix.0).map(|series| {
            let negated = |histogram: Arc<Histogram>| Arc::new((*histogram).clone().scaled(-1.0));
            let histograms = series.histograms.into_iter().map(|histogram| histogram.map(negated)).collect();
            let values = series.values.mapped(|_, value| -value);
            Series { labels: series.labels, drop_name: true, values, histograms }
        });
        Ok(Matrix(series.collect()))
    }
}

type OfHistogram = fn(&Histogram) -> f64;

fn of_histogram(function: &str) -> Option<OfHistogram> {
    Some(match function {
        "histogram_count" => |h| h.count,
        "histogram_sum" => |h| h.sum,
        "histogram_avg" => |h| h.sum / h.count,
        "histogram_stdvar" => spread,
        "histogram_stddev" => |h| spread(h).sqrt(),
        _ => return None,
    })
}

/// As if all observations of a bucket lay in its middle: on the scale on which buckets are equally wide.
fn spread(h: &Histogram) -> f64 {
    let mean = h.sum / h.count;
    let mut squares = Kahan::default();
    for bucket in h.all_buckets().iter().filter(|bucket| bucket.count != 0.0) {
        let middle = if h.uses_custom_buckets() {
            (bucket.upper + bucket.lower) / 2.0
        } else if bucket.lower <= 0.0 && bucket.upper >= 0.0 {
            0.0
        } else {
            let middle = (bucket.upper * bucket.lower).sqrt();
            if bucket.upper < 0.0 { -middle } else { middle }
        };
        squares.add(bucket.count * (middle - mean) * (middle - mean));
    }
    squares.sum() / h.count
}

type Compute = fn(f64, [Option<f64>; 2]) -> Option<f64>;

fn compute(function: &str) -> Option<Compute> {
    Some(match function {
        "abs" => |v, _| Some(v.abs()),
        "ceil" => |v, _| Some(v.ceil()),
        "floor" => |v, _| Some(v.floor()),
        "exp" => |v, _| Some(v.exp()),
        "ln" => |v, _| Some(v.ln()),
        "log2" => |v, _| Some(v.log2()),
        "log10" => |v, _| Some(v.log10()),
        "sqrt" => |v, _| Some(v.sqrt()),
        "sgn" => |v, _| {
            Some(if v > 0.0 {
                1.0
            } else if v < 0.0 {
                -1.0
            } else {
                v
            })
        },
        "sin" => |v, _| Some(v.sin()),
        "cos" => |v, _| Some(v.cos()),
        "tan" => |v, _| Some(v.tan()),
        "asin" => |v, _| Some(v.asin()),
        "acos" => |v, _| Some(v.acos()),
        "atan" => |v, _| Some(v.atan()),
        "sinh" => |v, _| Some(v.sinh()),
        "cosh" => |v, _| Some(v.cosh()),
        "tanh" => |v, _| Some(v.tanh()),
        "asinh" => |v, _| Some(v.asinh()),
        "acosh" => |v, _| Some(v.acosh()),
        "atanh" => |v, _| Some(v.atanh()),
        "deg" => |v, _| Some(v.to_degrees()),
        "rad" => |v, _| Some(v.to_radians()),
        "round" => |v, [nearest, _]| {
            // As Prometheus: by the inverse, which keeps round(1.1, 0.1) at 1.1.
            let inverse = 1.0 / nearest.unwrap_or(1.0);
            Some((v * inverse + 0.5).floor() / inverse)
        },
        "clamp" => |v, [low, high]| {
            let (low, high) = (low.unwrap_or(f64::NAN), high.unwrap_or(f64::NAN));
            if low > high { None } else { Some(go_max(low, go_min(high, v))) }
        },
        "min_of" => |v, [other, _]| Some(go_min(v, other.unwrap_or(f64::NAN))),
        "max_of" => |v, [other, _]| Some(go_max(v, other.unwrap_or(f64::NAN))),
        "clamp_min" => |v, [low, _]| Some(go_max(low.unwrap_or(f64::NAN), v)),
        "clamp_max" => |v, [high, _]| Some(go_min(high.unwrap_or(f64::NAN), v)),
        "minute" => |v, _| date(v, |t| f64::from(t.minute())),
        "hour" => |v, _| date(v, |t| f64::from(t.hour())),
        "day_of_week" => |v, _| date(v, |t| f64::from(t.weekday().num_days_from_sunday())),
        "day_of_month" => |v, _| date(v, |t| f64::from(t.day())),
        "day_of_year" => |v, _| date(v, |t| f64::from(t.ordinal())),
        "days_in_month" => |v, _| date(v, |t| f64::from(t.num_days_in_month())),
        "month" => |v, _| date(v, |t| f64::from(t.month())),
        "year" => |v, _| date(v, |t| f64::from(t.year())),
        _ => return None,
    })
}

/// NaN wins, unlike in `f64::max`.
fn go_max(a: f64, b: f64) -> f64 {
    if a.is_nan() || b.is_nan() { f64::NAN } else { a.max(b) }
}

fn go_min(a: f64, b: f64) -> f64 {
    if a.is_nan() || b.is_nan() { f64::NAN } else { a.min(b) }
}

fn date(seconds: f64, part: fn(DateTime<Utc>) -> f64) -> Option<f64> {
    Some(DateTime::from_timestamp(seconds as i64, 0).map_or(f64::NAN, part))
}

/// 1 at the steps at which the input has no value.
#[derive(Debug)]
pub(super) struct Absent {
    labels: Labels,
    times: Times,
}

impl Absent {
    /// The answer's labels are those that the selector fixes: each named once, by equality.
    pub fn new(matchers: &[Matcher], times: Times) -> Absent {
        let mut labels = LabelSetBuilder::new();
        let mut seen: Vec<&str> = vec![];
        for matcher in matchers.iter().filter(|matcher| matcher.name != model::METRIC_NAME) {
            if matcher.op == Match::Equal && !seen.contains(&matcher.name.as_str()) {
                labels.set(&matcher.name, &matcher.value);
                seen.push(&matcher.name);
            } else {
                labels.remove(&matcher.name);
            }
        }
        Absent { labels: labels.build(), times }
    }
}

#[async_trait::async_trait]
impl Node for Absent {
    fn name(&self) -> &'static str {
        "PromAbsent"
    }

    async fn evaluate(&self, inputs: Vec<Matrix>, _: &Room) -> Result<Matrix, QueryError> {
        let series = inputs.first().map_or(&[][..], |matrix| &matrix.0);
        let absent = |step: usize| series.iter().all(|series| !series.is_present(step));
        let values = (0..self.times.count).map(|step| absent(step).then_some(1.0)).collect();
        Ok(Matrix(vec![Series::of_numbers(self.labels.clone(), values)]).without_empty())
    }
}

/// By value; of a range query, whose steps would each want another order, the order stays.
#[derive(Debug)]
pub(super) struct Sort {
    pub descending: bool,
    pub instant: bool,
    pub notes: Notes,
    pub at: usize,
}

#[async_trait::async_trait]
impl Node for Sort {
    fn name(&self) -> &'static str {
        "PromSort"
    }

    async fn evaluate(&self, inputs: Vec<Matrix>, _: &Room) -> Result<Matrix, QueryError> {
        let Some(mut matrix) = inputs.into_iter().next() else { return Ok(Matrix::default()) };
        let series = matrix.0.into_iter().map(Series::without_histograms);
        matrix = Matrix(series.collect()).without_empty();
        if !self.instant {
            note_sort(&self.notes, self.at);
            return Ok(matrix);
        }
        let value = |series: &Series| match series.at(0) {
            Some(Sample::Number(value)) => value,
            _ => f64::NAN,
        };
        matrix.0.sort_by(|a, b| {
            let (a, b) = (value(a), value(b));
            // NaN come last either way.
            let order = if self.descending { b.partial_cmp(&a) } else { a.partial_cmp(&b) };
            order.unwrap_or_else(|| a.is_nan().cmp(&b.is_nan()))
        });
        Ok(matrix)
    }
}

/// A range answer is in the order of labels, whatever is asked.
pub(super) fn note_sort(notes: &Notes, at: usize) {
    notes.warn(at, "sort is ineffective for range queries since results are always ordered by labels");
}
