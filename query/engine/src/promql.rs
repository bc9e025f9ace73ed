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
pub use raw::RawStream;

use crate::logql::broken;
use crate::room::{Held, Room};
use crate::{Engine, QueryError};
use ::promql::{Expr, ValueType};
use datafusion::physical_plan::execute_stream;
use matrix::{Matrix, Series};
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

impl PromSeries {
    fn bytes(&self) -> usize {
        let of_histogram = |(_, histogram): &(i64, Arc<Histogram>)| size_of::<i64>() + 8 + histogram.bytes();
        size_of::<PromSeries>()
            + self.labels.as_bytes().len()
            + size_of_val(&self.points[..])
            + self.histograms.iter().map(of_histogram).sum::<usize>()
    }
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
    /// The memory of the result.
    pub held: Held,
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
                held: Held::default(),
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
        let (result, room) = answered?;
        let held = room.into();
        Ok(PromAnswer { result, warnings, infos, samples_read, samples_by_step, timings, held })
    }

    async fn promql_result(
        &self,
        planner: &Planner,
        expr: &Expr,
        times: Times,
        instant: bool,
    ) -> Result<(PromResult, Room), QueryError> {
        if expr.value_type() == ValueType::Matrix {
            let (series, room) = planner.raw(self, expr.bare()).await?;
            return Ok((PromResult::Matrix(series), room));
        }
        let (matrix, room) = self.promql_matrix(planner, expr, times).await?;
        if expr.value_type() == ValueType::Scalar && instant {
            let value = matrix.0.first().and_then(|series| series.values.get(0)).unwrap_or(f64::NAN);
            return Ok((PromResult::Scalar(Point { ts_ms: times.start_ms, value }), room));
        }
        let mut series = to_series(matrix, times, &room)?;
        if instant {
            return Ok((PromResult::Vector(series), room));
        }
        series.sort_by(|a, b| a.labels.cmp(&b.labels));
        Ok((PromResult::Matrix(series), room))
    }

    async fn promql_matrix(
        &self,
        planner: &Planner,
        expr: &Expr,
        times: Times,
    ) -> Result<(Matrix, Room), QueryError> {
        let plan = planner.plan(expr, times)?;
        let context = self.task_context();
        let room = self.room();
        let work = async move {
            let batches = execute_stream(plan, context).map_err(broken)?;
            let matrix = Matrix::gather(batches, &room).await.map_err(broken)?;
            Ok((node::names_dropped(matrix)?, room))
        };
        match planner.is_small() {
            true => self.on_thread(work).await,
            false => self.off_thread(work).await,
        }
    }

    /// For what a query answers.
    fn room(&self) -> Room {
        Room::of("the answer of a PromQL query", &self.runtime.memory_pool)
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

fn to_series(matrix: Matrix, times: Times, room: &Room) -> Result<Vec<PromSeries>, QueryError> {
    let mut out = Vec::with_capacity(matrix.0.len());
    for series in matrix.0 {
        let bytes = series.bytes();
        if !series.is_empty() {
            let series = to_points(series, times);
            room.take(series.bytes())?;
            out.push(series);
        }
        room.give_back(bytes);
    }
    Ok(out)
}

fn to_points(series: Series, times: Times) -> PromSeries {
    let mut points = Vec::with_capacity(series.values.iter().flatten().count());
    let present = series.values.iter().enumerate();
    points.extend(present.filter_map(|(step, value)| Some(Point { ts_ms: times.at(step), value: value? })));
    let histograms = series.histograms.into_iter().enumerate();
    let histograms = histograms.filter_map(|(step, histogram)| Some((times.at(step), histogram?)));
    PromSeries { points, histograms: histograms.collect(), labels: series.labels }
}

#[cfg(test)]
mod tests;
