//! PromQL over snapshots: a query's tree becomes nodes of ours, which DataFusion's runtime executes. Every node's answer
//! is a matrix of series by step; an instant query has one step.

mod aggregate;
mod ask;
mod binary;
mod catalog;
mod exemplars;
mod extended;
mod fold;
mod histogram;
mod info;
mod labels;
mod math;
mod matrix;
mod mixed;
mod node;
mod notes;
mod plan;
mod ratio;
mod raw;
mod scan;
mod tally;
mod windows;

pub use catalog::{Cardinality, Found, selector_matchers};

use crate::logql::broken;
use crate::{Engine, QueryError};
use ::promql::{Expr, ValueType};
use datafusion::physical_plan::collect;
use matrix::Matrix;
use model::{Histogram, Labels, Point, Tenant};
use node::Times;
use plan::{Frame, Planner};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// How far back an instant selector looks, as Prometheus' `query.lookback-delta`.
pub const LOOKBACK_MS: i64 = 300_000;

#[derive(Clone, Debug, PartialEq)]
pub enum PromResult {
    Scalar(Point),
    Text {
        ts_ms: i64,
        value: String,
    },
    /// One sample a series.
    Vector(Vec<PromSeries>),
    Matrix(Vec<PromSeries>),
}

/// Samples of one series, numbers and histograms, each by ascending time.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PromSeries {
    pub labels: Labels,
    pub points: Vec<Point>,
    pub histograms: Vec<(i64, Arc<Histogram>)>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct PromAnswer {
    pub result: PromResult,
    /// What the answer must be doubted for.
    pub warnings: Vec<String>,
    /// What the query should perhaps be asked otherwise for.
    pub infos: Vec<String>,
    /// Samples that the query read.
    pub samples_read: u64,
    /// The time of each step, in milliseconds, and the samples that it looks at; empty where that was not asked.
    pub samples_by_step: Vec<(i64, u64)>,
    pub timings: PromTimings,
}

/// Where the time of a query went.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct PromTimings {
    /// Taking the snapshot, planning.
    pub preparation: Duration,
    pub evaluation: Duration,
}

/// How a query is evaluated.
#[derive(Clone, Copy, Debug)]
pub struct PromOptions {
    /// How old a sample may be to stand for a time.
    pub lookback_ms: i64,
    /// Whether samples are counted by step.
    pub counts: bool,
}

impl From<i64> for PromOptions {
    fn from(lookback_ms: i64) -> PromOptions {
        PromOptions { lookback_ms, counts: false }
    }
}

impl Engine {
    /// Values at one time.
    pub async fn promql_instant(
        &self,
        tenant: &Tenant,
        query: &str,
        at_ms: i64,
        options: impl Into<PromOptions>,
    ) -> Result<PromAnswer, QueryError> {
        let PromOptions { lookback_ms, counts } = options.into();
        let expr = self.parsed(query)?;
        let times = Times { start_ms: at_ms, step_ms: 1, count: 1 };
        if let ::promql::Node::Text(value) = &expr.bare().node {
            let result = PromResult::Text { ts_ms: at_ms, value: value.clone() };
            return Ok(PromAnswer {
                result,
                warnings: vec![],
                infos: vec![],
                samples_read: 0,
                samples_by_step: vec![],
                timings: PromTimings::default(),
            });
        }
        let frame = Frame { times, end_ms: at_ms, lookback_ms, instant: true, counts };
        self.promql(tenant, query, &expr, frame).await
    }

    /// Values at `start_ms`, `start_ms + step_ms`, … up to `end_ms`.
    pub async fn promql_range(
        &self,
        tenant: &Tenant,
        query: &str,
        start_ms: i64,
        end_ms: i64,
        step_ms: i64,
        options: impl Into<PromOptions>,
    ) -> Result<PromAnswer, QueryError> {
        let PromOptions { lookback_ms, counts } = options.into();
        let times = self.times(start_ms, end_ms, step_ms)?;
        let expr = self.parsed(query)?;
        let kind = expr.value_type();
        if !matches!(kind, ValueType::Scalar | ValueType::Vector) {
            let kind = kind.as_str();
            return Err(QueryError::Bad(format!(
                "invalid parameter \"query\": invalid expression type {kind:?} for range query, must be Scalar or instant Vector"
            )));
        }
        let frame = Frame { times, end_ms, lookback_ms, instant: false, counts };
        self.promql(tenant, query, &expr, frame).await
    }

    pub(crate) fn parsed(&self, query: &str) -> Result<Expr, QueryError> {
        let expr = parse(query)?;
        if !self.limits.experimental_functions {
            ::promql::refuse_experiments(query, &expr)
                .map_err(|wrong| QueryError::Bad(format!("invalid parameter \"query\": {wrong}")))?;
        }
        Ok(expr)
    }

    fn times(&self, start_ms: i64, end_ms: i64, step_ms: i64) -> Result<Times, QueryError> {
        if step_ms <= 0 {
            return Err(QueryError::Bad(
                "invalid parameter \"step\": zero or negative query resolution step widths are not accepted. Try a positive integer"
                    .into(),
            ));
        }
        if end_ms < start_ms {
            return Err(QueryError::Bad(
                "invalid parameter \"end\": end timestamp must not be before start time".into(),
            ));
        }
        let count = end_ms.saturating_sub(start_ms) / step_ms + 1;
        if count as usize > self.limits.points_max + 1 {
            return Err(QueryError::Bad(format!(
                "exceeded maximum resolution of {} points per timeseries. Try decreasing the query resolution (?step=XX)",
                thousands(self.limits.points_max)
            )));
        }
        Ok(Times { start_ms, step_ms, count: count as usize })
    }

    async fn promql(
        &self,
        tenant: &Tenant,
        query: &str,
        expr: &Expr,
        frame: Frame,
    ) -> Result<PromAnswer, QueryError> {
        let began = Instant::now();
        let snapshot = self.source.snapshot(tenant).await?;
        let planner = Planner::new(snapshot.clone(), expr, frame, self.limits.samples_max);
        let preparation = began.elapsed();
        let answered = self.promql_result(&planner, expr, frame.times, frame.instant).await;
        self.observe("promql", began.elapsed());
        let samples_read = planner.samples.load(Ordering::Relaxed);
        let steps = planner.counts().into_iter().enumerate();
        let samples_by_step = steps.map(|(step, count)| (frame.times.at(step), count)).collect();
        let (told, infos) = planner.notes.told(query);
        let warnings = snapshot.warnings().into_iter().chain(told).collect();
        let timings = PromTimings { preparation, evaluation: began.elapsed().saturating_sub(preparation) };
        Ok(PromAnswer { result: answered?, warnings, infos, samples_read, samples_by_step, timings })
    }

    async fn promql_result(
        &self,
        planner: &Planner,
        expr: &Expr,
        times: Times,
        instant: bool,
    ) -> Result<PromResult, QueryError> {
        if expr.value_type() == ValueType::Matrix {
            return Ok(PromResult::Matrix(planner.raw(self, expr.bare()).await?));
        }
        let plan = planner.plan(expr, times)?;
        let context = self.task_context();
        let work = async move {
            let batches = collect(plan, context).await.map_err(broken)?;
            Matrix::from_batches(&batches).map_err(broken)
        };
        let matrix = match planner.is_small() {
            true => self.on_thread(work).await?,
            false => self.off_thread(work).await?,
        };
        if expr.value_type() == ValueType::Scalar && instant {
            let value = matrix.0.first().and_then(|series| series.values.get(0)).unwrap_or(f64::NAN);
            return Ok(PromResult::Scalar(Point { ts_ms: times.start_ms, value }));
        }
        let mut series = to_series(node::names_dropped(matrix)?, times);
        if instant {
            return Ok(PromResult::Vector(series));
        }
        series.sort_by(|a, b| a.labels.cmp(&b.labels));
        Ok(PromResult::Matrix(series))
    }
}

/// `11,000`
fn thousands(number: usize) -> String {
    let digits = number.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

fn parse(query: &str) -> Result<Expr, QueryError> {
    ::promql::parse(query).map_err(|wrong| QueryError::Bad(wrong.to_string()))
}

fn to_series(matrix: Matrix, times: Times) -> Vec<PromSeries> {
    let series = matrix.without_empty().0.into_iter();
    series
        .map(|series| {
            let present = series.values.iter().enumerate();
            let points =
                present.filter_map(|(step, value)| Some(Point { ts_ms: times.at(step), value: value? }));
            let points = points.collect();
            let histograms = series.histograms.into_iter().enumerate();
            let histograms = histograms.filter_map(|(step, histogram)| Some((times.at(step), histogram?)));
            PromSeries { points, histograms: histograms.collect(), labels: series.labels }
        })
        .collect()
}

#[cfg(test)]
mod tests;
