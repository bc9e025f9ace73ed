//! The tree of a query as a tree of nodes.

use super::aggregate::Aggregate;
use super::binary::{Join, ScalarSide};
use super::histogram::{Histogram, Quantiles};
use super::labels::{LabelJoin, LabelReplace, SortByLabel};
use super::math::{Absent, Constant, Elementwise, Sort, TimeOf, ToScalar};
use super::node::{self, Times};
use super::scan::{Mode, Scan, SubqueryWindows, Where};
use super::windows;
use crate::logql::matrix::Matrix;
use crate::{Engine, QueryError};
use ::promql::{AggregateOp, At, Expr, Function, Modifiers, Selector, ValueType};
use datafusion::physical_plan::ExecutionPlan;
use model::{Point, SeriesPoints, SeriesSelect, TimeRange, is_stale_marker};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use store::Snapshot;

/// Steps of a subquery where it names none, as Prometheus' default evaluation interval.
const SUBQUERY_STEP_MS: i64 = 60_000;

/// Steps that a subquery may have.
const SUBQUERY_STEPS_MAX: i64 = 200_000;

type Plan = Arc<dyn ExecutionPlan>;

pub(super) struct Planner {
    snapshot: Arc<dyn Snapshot>,
    /// Of the whole query: what `start()` and `end()` are.
    query: Times,
    lookback_ms: i64,
    samples_max: usize,
    pub samples: Arc<AtomicU64>,
}

impl Planner {
    pub fn new(snapshot: Arc<dyn Snapshot>, query: Times, lookback_ms: i64, samples_max: usize) -> Planner {
        Planner { snapshot, query, lookback_ms, samples_max, samples: Arc::default() }
    }

    pub fn plan(&self, expr: &Expr, times: Times) -> Result<Plan, QueryError> {
        match expr {
            Expr::Number(value) => Ok(node::plan(Constant { value: *value, times }, vec![])),
            Expr::Parens(inner) => self.plan(inner, times),
            Expr::Negate(inner) => {
                Ok(node::plan(Elementwise { function: "negate", times }, vec![self.plan(inner, times)?]))
            }
            Expr::Selector(selector) => Ok(self.scan(selector, times, Mode::Instant)),
            Expr::Call { function, arguments } => self.call(function, arguments, times),
            Expr::Aggregate { op, grouping, parameter, expr } => {
                let mut inputs = vec![self.plan(expr, times)?];
                let mut label = String::new();
                match parameter.as_deref().map(Expr::bare) {
                    Some(Expr::Text(text)) if *op == AggregateOp::CountValues => label.clone_from(text),
                    Some(scalar) => inputs.push(self.plan(scalar, times)?),
                    None => {}
                }
                Ok(node::plan(Aggregate { op: *op, grouping: grouping.clone(), label, times }, inputs))
            }
            Expr::Binary { op, left, right, returns_bool, matching } => {
                let scalar = match (left.value_type(), right.value_type()) {
                    (ValueType::Scalar, ValueType::Scalar) => Some(ScalarSide::Both),
                    (ValueType::Scalar, _) => Some(ScalarSide::Left),
                    (_, ValueType::Scalar) => Some(ScalarSide::Right),
                    _ => None,
                };
                let inputs = vec![self.plan(left, times)?, self.plan(right, times)?];
                let join =
                    Join { op: *op, returns_bool: *returns_bool, matching: matching.clone(), scalar, times };
                Ok(node::plan(join, inputs))
            }
            Expr::Text(_) | Expr::Range { .. } | Expr::Subquery { .. } => {
                Err(QueryError::Bad(format!("{} cannot stand here", expr.value_type().as_str())))
            }
        }
    }

    fn place(&self, modifiers: &Modifiers) -> Where {
        let at_ms = modifiers.at.map(|at| match at {
            At::Time(ms) => ms,
            At::Start => self.query.start_ms,
            At::End => self.query.last(),
        });
        Where { at_ms, offset_ms: modifiers.offset_ms }
    }

    fn scan(&self, selector: &Selector, times: Times, mode: Mode) -> Plan {
        let scan = Scan {
            snapshot: self.snapshot.clone(),
            matchers: selector.matchers.clone(),
            place: self.place(&selector.modifiers),
            times,
            lookback_ms: self.lookback_ms,
            mode,
            samples_max: self.samples_max,
            samples: self.samples.clone(),
        };
        node::plan(scan, vec![])
    }

    fn call(
        &self,
        function: &'static Function,
        arguments: &[Expr],
        times: Times,
    ) -> Result<Plan, QueryError> {
        let name = function.name;
        let text = |at: usize| match arguments.get(at).map(Expr::bare) {
            Some(Expr::Text(text)) => text.clone(),
            _ => String::new(),
        };
        let input = |at: usize| self.plan(&arguments[at], times);
        if let Some(over) = windows::named(name) {
            return self.windows(over, arguments, times);
        }
        Ok(match name {
            "time" => node::plan(TimeOf { times }, vec![]),
            "pi" => node::plan(Constant { value: std::f64::consts::PI, times }, vec![]),
            "step" => self.constant(if self.query.count == 1 { 0 } else { self.query.step_ms }, times),
            "range" => self.constant(self.query.last() - self.query.start_ms, times),
            "start" => self.constant(self.query.start_ms, times),
            "end" => self.constant(self.query.last(), times),
            "vector" => input(0)?,
            "scalar" => node::plan(ToScalar { times }, vec![input(0)?]),
            "timestamp" => match arguments[0].bare() {
                Expr::Selector(selector) => self.scan(selector, times, Mode::Timestamp),
                _ => node::plan(Elementwise { function: "timestamp", times }, vec![input(0)?]),
            },
            "absent" | "absent_over_time" => self.absent(&arguments[0], times)?,
            "sort" | "sort_desc" => node::plan(Sort { descending: name == "sort_desc" }, vec![input(0)?]),
            "sort_by_label" | "sort_by_label_desc" => {
                let labels = (1..arguments.len()).map(text).collect();
                let descending = name == "sort_by_label_desc";
                node::plan(SortByLabel { labels, descending }, vec![input(0)?])
            }
            "label_replace" => {
                let replace = LabelReplace::new(&text(1), &text(2), &text(3), &text(4))?;
                node::plan(replace, vec![input(0)?])
            }
            "label_join" => {
                let sources = (3..arguments.len()).map(text).collect();
                node::plan(LabelJoin::new(&text(1), &text(2), sources)?, vec![input(0)?])
            }
            "histogram_quantile" => {
                node::plan(Histogram { fraction: false, times }, vec![input(1)?, input(0)?])
            }
            "histogram_quantiles" => self.quantiles(arguments, &text(1), times)?,
            "histogram_fraction" => {
                node::plan(Histogram { fraction: true, times }, vec![input(2)?, input(0)?, input(1)?])
            }
            // Parts of a date are of now where nothing else is given.
            _ if arguments.is_empty() => {
                node::plan(Elementwise { function: name, times }, vec![node::plan(TimeOf { times }, vec![])])
            }
            _ => {
                let inputs = (0..arguments.len()).map(input).collect::<Result<Vec<_>, _>>()?;
                node::plan(Elementwise { function: name, times }, inputs)
            }
        })
    }

    /// A time of the query itself, in seconds.
    fn constant(&self, ms: i64, times: Times) -> Plan {
        node::plan(Constant { value: ms as f64 / 1e3, times }, vec![])
    }

    /// Each quantile's answer, told apart by a label that holds the quantile.
    fn quantiles(&self, arguments: &[Expr], label: &str, times: Times) -> Result<Plan, QueryError> {
        let buckets = self.plan(&arguments[0], times)?;
        let mut inputs = vec![];
        for quantile in &arguments[2..] {
            inputs.push(node::plan(
                Histogram { fraction: false, times },
                vec![buckets.clone(), self.plan(quantile, times)?],
            ));
            inputs.push(self.plan(quantile, times)?);
        }
        Ok(node::plan(Quantiles { label: label.to_owned(), times }, inputs))
    }

    fn absent(&self, argument: &Expr, times: Times) -> Result<Plan, QueryError> {
        let (input, matchers) = match argument.bare() {
            Expr::Range { selector, range_ms } => {
                let present = windows::named("present_over_time")
                    .map(|over| Mode::Window { over, range_ms: *range_ms });
                let plan = self.scan(selector, times, present.unwrap_or(Mode::Instant));
                (plan, selector.matchers.as_slice())
            }
            subquery @ Expr::Subquery { .. } => match windows::named("present_over_time") {
                Some(over) => (self.windows(over, std::slice::from_ref(subquery), times)?, &[][..]),
                None => return Err(QueryError::Bad("absent_over_time needs a range vector".into())),
            },
            Expr::Selector(selector) => (self.plan(argument, times)?, selector.matchers.as_slice()),
            other => (self.plan(other, times)?, &[][..]),
        };
        Ok(node::plan(Absent::new(matchers, times), vec![input]))
    }

    /// A function over windows: its range vector is a selector, read as it is, or a subquery, computed first.
    fn windows(&self, over: windows::Over, arguments: &[Expr], times: Times) -> Result<Plan, QueryError> {
        let is_range = |argument: &&Expr| argument.value_type() == ValueType::Matrix;
        let range =
            arguments.iter().find(is_range).ok_or_else(|| QueryError::Bad("no range vector".into()))?;
        let parameters = arguments.iter().filter(|argument| !is_range(argument));
        let mut inputs =
            parameters.map(|argument| self.plan(argument, times)).collect::<Result<Vec<_>, _>>()?;
        match range.bare() {
            Expr::Range { selector, range_ms } => {
                let mode = Mode::Window { over, range_ms: *range_ms };
                let scan = Scan {
                    snapshot: self.snapshot.clone(),
                    matchers: selector.matchers.clone(),
                    place: self.place(&selector.modifiers),
                    times,
                    lookback_ms: self.lookback_ms,
                    mode,
                    samples_max: self.samples_max,
                    samples: self.samples.clone(),
                };
                Ok(node::plan(scan, inputs))
            }
            Expr::Subquery { expr, range_ms, step_ms, modifiers } => {
                let place = self.place(modifiers);
                let inner = inner_times(times, place, *range_ms, step_ms.unwrap_or(SUBQUERY_STEP_MS))?;
                inputs.push(self.plan(expr, inner)?);
                Ok(node::plan(SubqueryWindows { over, range_ms: *range_ms, place, times, inner }, inputs))
            }
            _ => Err(QueryError::Bad("no range vector".into())),
        }
    }

    /// The samples of a range vector as they are: what an instant query of `x[5m]` answers.
    pub async fn raw(&self, engine: &Engine, expr: &Expr) -> Result<Vec<SeriesPoints>, QueryError> {
        match expr {
            Expr::Range { selector, range_ms } => {
                let end = self.place(&selector.modifiers).of(self.query.start_ms);
                let range = TimeRange { start: end - range_ms + 1, end };
                let block = self
                    .snapshot
                    .samples(&SeriesSelect { matchers: selector.matchers.clone(), range })
                    .await?;
                let series = block.iter().map(|(labels, ts_ms, values)| {
                    let points = ts_ms.iter().zip(values).filter(|(_, value)| !is_stale_marker(**value));
                    let points =
                        points.map(|(ts_ms, value)| Point { ts_ms: *ts_ms, value: *value }).collect();
                    SeriesPoints { labels: labels.clone(), points }
                });
                Ok(series.filter(|series| !series.points.is_empty()).collect())
            }
            Expr::Subquery { expr, range_ms, step_ms, modifiers } => {
                let place = self.place(modifiers);
                let inner = inner_times(self.query, place, *range_ms, step_ms.unwrap_or(SUBQUERY_STEP_MS))?;
                let batches = engine.execute(self.plan(expr, inner)?).await?;
                let matrix = Matrix::from_batches(&batches).map_err(crate::logql::broken)?;
                Ok(super::to_points(matrix, inner))
            }
            other => Err(QueryError::Bad(format!("{other} is no range vector"))),
        }
    }
}

/// The steps of a subquery: multiples of its resolution in the windows of all outer steps.
fn inner_times(outer: Times, place: Where, range_ms: i64, step_ms: i64) -> Result<Times, QueryError> {
    let (first, last) = (place.of(outer.start_ms), place.of(outer.last()));
    let after = first.saturating_sub(range_ms);
    let mut start_ms = after.div_euclid(step_ms) * step_ms;
    if start_ms <= after {
        start_ms += step_ms;
    }
    let count = (last - start_ms).div_euclid(step_ms) + 1;
    if count > SUBQUERY_STEPS_MAX {
        return Err(QueryError::TooMuch(format!(
            "a subquery of {count} steps; the most is {SUBQUERY_STEPS_MAX}: raise its resolution"
        )));
    }
    Ok(Times { start_ms, step_ms, count: count.max(0) as usize })
}
