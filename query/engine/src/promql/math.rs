//! Functions of one value, of the step's time, and of whether there are values at all.

use super::node::{Node, Times, join_same, scalar, scalar_at, without_name};
use crate::QueryError;
use crate::logql::matrix::{Matrix, Series};
use chrono::{DateTime, Datelike, Timelike, Utc};
use model::{LabelSetBuilder, Labels, Match, Matcher};

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

    async fn evaluate(&self, _: Vec<Matrix>) -> Result<Matrix, QueryError> {
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

    async fn evaluate(&self, _: Vec<Matrix>) -> Result<Matrix, QueryError> {
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

    async fn evaluate(&self, inputs: Vec<Matrix>) -> Result<Matrix, QueryError> {
        let series = inputs.first().map_or(&[][..], |matrix| &matrix.0);
        Ok(scalar((0..self.times.count).map(|step| {
            let mut present = series.iter().filter_map(|series| series.values[step]);
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

    async fn evaluate(&self, inputs: Vec<Matrix>) -> Result<Matrix, QueryError> {
        let mut inputs = inputs.into_iter();
        let Some(matrix) = inputs.next() else { return Ok(Matrix::default()) };
        let parameters: Vec<Matrix> = inputs.collect();
        if self.function == "timestamp" {
            let of_step = |step: usize, value: Option<f64>| value.map(|_| self.times.at(step) as f64 / 1e3);
            return mapped(matrix, of_step);
        }
        let Some(compute) = compute(self.function) else {
            return Err(QueryError::Bad(format!("function {:?} is not supported", self.function)));
        };
        let parameter = |at: usize, step: usize| parameters.get(at).map(|matrix| scalar_at(matrix, step));
        mapped(matrix, |step, value| compute(value?, [parameter(0, step), parameter(1, step)]))
    }
}

fn mapped(matrix: Matrix, of: impl Fn(usize, Option<f64>) -> Option<f64>) -> Result<Matrix, QueryError> {
    let series = matrix.0.into_iter().map(|series| Series {
        labels: without_name(&series.labels),
        values: series.values.into_iter().enumerate().map(|(step, value)| of(step, value)).collect(),
    });
    join_same(Matrix(series.collect()))
}

type Compute = fn(f64, [Option<f64>; 2]) -> Option<f64>;

fn compute(function: &str) -> Option<Compute> {
    Some(match function {
        "negate" => |v, _| Some(-v),
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
        for matcher in matchers.iter().filter(|matcher| matcher.name != model::METRIC_NAME) {
            let once = matchers.iter().filter(|other| other.name == matcher.name).count() == 1;
            if matcher.op == Match::Equal && once {
                labels.set(&matcher.name, &matcher.value);
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

    async fn evaluate(&self, inputs: Vec<Matrix>) -> Result<Matrix, QueryError> {
        let series = inputs.first().map_or(&[][..], |matrix| &matrix.0);
        let absent = |step: usize| series.iter().all(|series| series.values[step].is_none());
        let values = (0..self.times.count).map(|step| absent(step).then_some(1.0)).collect();
        Ok(Matrix(vec![Series { labels: self.labels.clone(), values }]).without_empty())
    }
}

/// By value; of a range query, whose steps would each want another order, the order stays.
#[derive(Debug)]
pub(super) struct Sort {
    pub descending: bool,
}

#[async_trait::async_trait]
impl Node for Sort {
    fn name(&self) -> &'static str {
        "PromSort"
    }

    async fn evaluate(&self, inputs: Vec<Matrix>) -> Result<Matrix, QueryError> {
        let Some(mut matrix) = inputs.into_iter().next() else { return Ok(Matrix::default()) };
        if matrix.0.iter().all(|series| series.values.len() == 1) {
            let value = |series: &Series| series.values[0].unwrap_or(f64::NAN);
            matrix.0.sort_by(|a, b| {
                let (a, b) = (value(a), value(b));
                // NaN come last either way.
                let order = if self.descending { b.partial_cmp(&a) } else { a.partial_cmp(&b) };
                order.unwrap_or_else(|| a.is_nan().cmp(&b.is_nan()))
            });
        }
        Ok(matrix)
    }
}
