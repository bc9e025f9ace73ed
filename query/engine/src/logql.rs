//! LogQL over snapshots: a query's tree becomes operators of ours, which DataFusion's runtime executes.

mod ask;
mod combine;
mod count;
mod lines;
pub(crate) mod matrix;
pub(crate) mod operator;
mod patterns;
mod plan;
mod range;
mod scan;
mod streams;

pub use ask::LogAsk;
pub use count::CountTimes;
pub(crate) use operator::{Batches, Operator, Work};
pub use patterns::LogPattern;
pub(crate) use plan::literal_of;
pub(crate) use scan::read_error as scan_error;
pub use streams::{LogStatistics, VolumeBy};

use crate::room::{Held, Room};
use crate::{Engine, QueryError};
use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::Int64Type;
use datafusion::common::DataFusionError;
use datafusion::physical_plan::{ExecutionPlan, collect};
use logql::{Expr, MetricExpr, VectorOp};
use matrix::{Matrix, Steps};
use model::{Labels, Point, SeriesPoints, Tenant, TimeRange};
use plan::Planner;
use scan::Counters;
use std::collections::HashMap;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;
use store::Snapshot;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

const NS_PER_MS: i64 = 1_000_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// Newest first.
    Backward,
    Forward,
}

/// One line of an answer.
#[derive(Clone, Debug, PartialEq)]
pub struct LogEntry {
    pub ts_ns: i64,
    pub line: String,
    pub metadata: Labels,
    pub parsed: Labels,
}

#[derive(Clone, Debug, PartialEq)]
pub struct LogLines {
    /// Of the stream alone; what was parsed or sent beside is with each entry.
    pub labels: Labels,
    pub entries: Vec<LogEntry>,
}

#[derive(Clone, Debug, PartialEq)]
pub enum LogResult {
    Streams(Vec<LogLines>),
    Matrix(Vec<SeriesPoints>),
    /// One point a series.
    Vector(Vec<SeriesPoints>),
    Scalar(Point),
}

/// What answering took.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct LogStats {
    pub lines_read: u64,
    pub bytes_read: u64,
    pub entries_returned: u64,
    pub seconds: f64,
}

#[derive(Clone, Debug, PartialEq)]
pub struct LogAnswer {
    pub result: LogResult,
    pub stats: LogStats,
    pub warnings: Vec<String>,
    /// The memory of the result.
    pub held: Held,
}

impl Engine {
    /// Lines of `[start, end)`, or numbers at `start`, `start + step`, … up to `end`.
    #[allow(clippy::too_many_arguments)]
    pub async fn logql_range(
        &self,
        tenant: &Tenant,
        query: &str,
        start_ns: i64,
        end_ns: i64,
        step_ms: i64,
        limit: usize,
        direction: Direction,
    ) -> Result<LogAnswer, QueryError> {
        let expr = parse(query)?;
        if end_ns < start_ns {
            return Err(QueryError::Bad("end timestamp must not be before start time".into()));
        }
        if expr.holds(VectorOp::ApproxTopk) {
            return Err(QueryError::Bad("approx_topk is only supported on instant queries".into()));
        }
        let steps = self.steps(start_ns, end_ns, step_ms)?;
        if let (Expr::Log(_), true) = (&expr, start_ns == end_ns) {
            let result = LogResult::Streams(vec![]);
            let (stats, held) = (LogStats::default(), Held::default());
            return Ok(LogAnswer { result, stats, warnings: vec![], held });
        }
        let lines = TimeRange { start: start_ns, end: end_ns.saturating_sub(1).max(start_ns) };
        let steps = if matches!(expr, Expr::Log(_)) { Steps { count: 1, ..steps } } else { steps };
        self.logql(tenant, expr, steps, lines, limit, direction, false).await
    }

    /// Numbers at one time. Lines are of a range.
    pub async fn logql_instant(
        &self,
        tenant: &Tenant,
        query: &str,
        at_ns: i64,
        limit: usize,
        direction: Direction,
    ) -> Result<LogAnswer, QueryError> {
        let expr = parse(query)?;
        if let Expr::Log(_) = expr {
            return Err(QueryError::Bad(
                "log queries are not supported as an instant query type, please change your query to a range query type"
                    .into(),
            ));
        }
        let steps = Steps { start_ns: at_ns, step_ns: 1, count: 1 };
        let lines = TimeRange { start: at_ns, end: at_ns };
        self.logql(tenant, expr, steps, lines, limit, direction, true).await
    }

    fn steps(&self, start_ns: i64, end_ns: i64, step_ms: i64) -> Result<Steps, QueryError> {
        let step_ns = step_ms.saturating_mul(NS_PER_MS);
        if step_ns <= 0 {
            return Err(QueryError::Bad(
                "zero or negative query resolution step widths are not accepted. Try a positive integer"
                    .into(),
            ));
        }
        let count = (end_ns.saturating_sub(start_ns) / step_ns) as usize + 1;
        if count > self.limits.points_max {
            return Err(QueryError::Bad(format!(
                "exceeded maximum resolution of {} points per time series. Try increasing the value of the step \
                 parameter",
                with_commas(self.limits.points_max)
            )));
        }
        Ok(Steps { start_ns, step_ns, count })
    }

    #[allow(clippy::too_many_arguments)]
    async fn logql(
        &self,
        tenant: &Tenant,
        expr: Expr,
        steps: Steps,
        lines: TimeRange,
        limit: usize,
        direction: Direction,
        instant: bool,
    ) -> Result<LogAnswer, QueryError> {
        let began = Instant::now();
        if matches!(expr, Expr::Log(_)) && limit > self.limits.log_entries_max {
            return Err(QueryError::Bad(format!(
                "max entries limit per query exceeded, limit > max_entries_limit_per_query ({limit} > {})",
                self.limits.log_entries_max
            )));
        }
        let counters = Arc::new(Counters::default());
        let snapshot = self.source.snapshot(tenant).await?;
        let levels = self.limits.discover_log_levels;
        let planner = Planner { snapshot: snapshot.clone(), counters: counters.clone(), steps, levels };
        let newest_first = direction == Direction::Backward;
        let room = Room::of("logql answer", &self.runtime.memory_pool);
        let answered: Result<LogResult, QueryError> = async {
            Ok(match expr {
                Expr::Log(log) => {
                    let plan = planner.lines(&log, lines, limit.max(1), newest_first);
                    let batches = self.execute(plan).await?;
                    let bytes: usize = batches.iter().map(RecordBatch::get_array_memory_size).sum();
                    // Twice while it is copied out of what was computed.
                    room.take(bytes)?;
                    room.take(bytes)?;
                    let streams = to_streams(&batches)?;
                    room.give_back(bytes);
                    LogResult::Streams(streams)
                }
                Expr::Metric(MetricExpr::Literal(value)) if instant => {
                    LogResult::Scalar(Point { ts_ms: steps.start_ns.div_euclid(NS_PER_MS), value })
                }
                Expr::Metric(metric) => {
                    let plan = planner.metric(&metric).await?;
                    let matrix = Matrix::from_batches(&self.execute(plan).await?).map_err(broken)?;
                    let points: usize = matrix.0.iter().map(|series| series.values.len()).sum();
                    room.take(points * size_of::<Point>())?;
                    let series = to_series(matrix, &steps);
                    if instant { LogResult::Vector(series) } else { LogResult::Matrix(series) }
                }
            })
        }
        .await;
        self.observe("logql", began.elapsed());
        let result = answered?;
        let entries_returned = match &result {
            LogResult::Streams(streams) => streams.iter().map(|s| s.entries.len() as u64).sum(),
            LogResult::Matrix(series) | LogResult::Vector(series) => series.len() as u64,
            LogResult::Scalar(_) => 1,
        };
        let stats = LogStats {
            lines_read: counters.lines.load(Ordering::Relaxed),
            bytes_read: counters.bytes.load(Ordering::Relaxed),
            entries_returned,
            seconds: began.elapsed().as_secs_f64(),
        };
        Ok(LogAnswer { result, stats, warnings: snapshot.warnings(), held: room.into() })
    }

    /// Runs a plan of one partition off the async threads, as its operators compute for long; ends it when the asker
    /// is gone or the time is up.
    pub(crate) async fn execute(&self, plan: Arc<dyn ExecutionPlan>) -> Result<Vec<RecordBatch>, QueryError> {
        let context = self.task_context();
        self.off_thread(async move { collect(plan, context).await.map_err(broken) }).await
    }

    /// Runs a future on a thread that may compute, up to the time limit and no longer than it is waited for.
    pub(crate) async fn off_thread<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T, QueryError>> + Send + 'static,
    ) -> Result<T, QueryError> {
        let timeout = self.timeout();
        let turn = self.turn(&self.turns).await?;
        let token = CancellationToken::new();
        let _ended_with_the_asker = token.clone().drop_guard();
        let handle = tokio::runtime::Handle::current();
        let running = tokio::task::spawn_blocking(move || {
            // Given back when the work has ended, not when the asker has gone.
            let _turn = turn;
            handle.block_on(async move {
                tokio::select! {
                    done = tokio::time::timeout(timeout, work) => {
                        done.unwrap_or(Err(QueryError::Timeout(timeout.as_millis() as u64)))
                    }
                    () = token.cancelled() => Err(QueryError::Cancelled),
                }
            })
        });
        running.await.unwrap_or_else(|why| Err(QueryError::Broken(format!("query thread ended: {why}"))))
    }

    /// As [`off_thread`](Self::off_thread), on the thread that asks: for work that takes no longer than waking another.
    pub(crate) async fn on_thread<T>(
        &self,
        work: impl Future<Output = Result<T, QueryError>>,
    ) -> Result<T, QueryError> {
        let timeout = self.timeout();
        let _turn = self.turn(&self.turns).await?;
        let done = tokio::time::timeout(timeout, work).await;
        done.unwrap_or(Err(QueryError::Timeout(timeout.as_millis() as u64)))
    }

    /// Waits for a place among the running queries.
    pub(crate) async fn turn(&self, turns: &Arc<Semaphore>) -> Result<OwnedSemaphorePermit, QueryError> {
        match tokio::time::timeout(self.timeout(), turns.clone().acquire_owned()).await {
            Ok(Ok(turn)) => Ok(turn),
            Ok(Err(_)) => Err(QueryError::Cancelled),
            Err(_) => Err(QueryError::TooMuch(format!(
                "{} queries (query.concurrency_max) ran all the time; try again later",
                self.limits.concurrency_max
            ))),
        }
    }

    async fn log_snapshot(&self, tenant: &Tenant) -> Result<Arc<dyn Snapshot>, QueryError> {
        Ok(self.source.snapshot(tenant).await?)
    }
}

fn with_commas(number: usize) -> String {
    let digits = number.to_string();
    let groups: Vec<&str> =
        digits.as_bytes().rchunks(3).rev().filter_map(|group| std::str::from_utf8(group).ok()).collect();
    groups.join(",")
}

fn parse(query: &str) -> Result<Expr, QueryError> {
    logql::parse(query).map_err(|why| QueryError::Bad(why.to_string()))
}

/// Our own error back out of DataFusion's, however often it was wrapped.
pub(crate) fn broken(error: DataFusionError) -> QueryError {
    match error {
        DataFusionError::External(inner) => match inner.downcast::<QueryError>() {
            Ok(ours) => *ours,
            Err(other) => QueryError::Broken(other.to_string()),
        },
        DataFusionError::ResourcesExhausted(text) => QueryError::TooMuch(format!(
            "the query needs more memory than is left for queries, which have three eighths of --memory; narrow its range, its selector or its grouping: {text}"
        )),
        DataFusionError::Context(_, inner) => broken(*inner),
        DataFusionError::Shared(inner) => match inner.as_ref() {
            DataFusionError::External(inner) if inner.is::<QueryError>() => {
                inner.downcast_ref::<QueryError>().cloned().unwrap_or(QueryError::Cancelled)
            }
            other => QueryError::Broken(other.to_string()),
        },
        other => QueryError::Broken(other.to_string()),
    }
}

fn to_streams(batches: &[RecordBatch]) -> Result<Vec<LogLines>, QueryError> {
    let mut streams: Vec<LogLines> = Vec::new();
    let mut known: HashMap<Labels, usize> = HashMap::new();
    for batch in batches {
        let ts = batch.column(0).as_primitive::<Int64Type>();
        let text = batch.column(1).as_string::<i32>();
        let labels = |column: usize, row: usize| {
            Labels::from_bytes(batch.column(column).as_binary::<i32>().value(row))
                .map_err(|why| QueryError::Broken(format!("labels of a line: {why}")))
        };
        for row in 0..batch.num_rows() {
            let of_stream = labels(2, row)?;
            let at = *known.entry(of_stream.clone()).or_insert_with(|| {
                streams.push(LogLines { labels: of_stream, entries: Vec::new() });
                streams.len() - 1
            });
            streams[at].entries.push(LogEntry {
                ts_ns: ts.value(row),
                line: text.value(row).to_owned(),
                metadata: labels(3, row)?,
                parsed: labels(4, row)?,
            });
        }
    }
    Ok(streams)
}

fn to_series(matrix: Matrix, steps: &Steps) -> Vec<SeriesPoints> {
    let points = |values: Vec<Option<f64>>| {
        let at = |step: usize| steps.at(step).div_euclid(NS_PER_MS);
        let present = values.into_iter().enumerate();
        present.filter_map(|(step, value)| Some(Point { ts_ms: at(step), value: value? })).collect()
    };
    let series = matrix.without_empty().0.into_iter();
    series.map(|series| SeriesPoints { labels: series.labels, points: points(series.values) }).collect()
}

#[cfg(test)]
mod tests;
