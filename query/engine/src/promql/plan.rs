//! The tree of a query as a tree of nodes.

use super::aggregate::Aggregate;
use super::binary::{Join, ScalarSide};
use super::fold::{AggregateScan, Fold};
use super::histogram::{self, Histogram};
use super::info::Info;
use super::labels::{LabelJoin, LabelReplace, SortByLabel};
use super::math::{Absent, Constant, Elementwise, Negate, Sort, TimeOf, ToScalar};
use super::matrix::Matrix;
use super::node::{self, Times};
use super::notes::Notes;
use super::scan::{Asked, Mode, Reader, Scan, SubqueryWindows, Where};
use super::tally::Tally;
use super::{PromSeries, extended, windows};
use crate::room::Room;
use crate::{Engine, QueryError};
use ::promql::{
    AggregateOp, At, BinaryOp, Expr, Extension, Function, Modifiers, Node, Selector, Span, ValueType,
};
use datafusion::physical_plan::ExecutionPlan;
use model::{Match, Point, Run, SeriesSelect, TimeRange, is_stale_marker};
use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use store::{SampleBlock, Snapshot};

/// Steps of a subquery where it names none, as Prometheus' default evaluation interval.
const SUBQUERY_STEP_MS: i64 = 60_000;

/// Steps that a subquery may have.
const SUBQUERY_STEPS_MAX: i64 = 200_000;

type Plan = Arc<dyn ExecutionPlan>;

/// What is asked for, beside the expression.
#[derive(Clone, Copy, Debug)]
pub(super) struct Frame {
    pub times: Times,
    /// What `end()` is: the last step need not be there.
    pub end_ms: i64,
    pub lookback_ms: i64,
    pub instant: bool,
    /// Whether samples are counted by step.
    pub counts: bool,
}

#[derive(Clone)]
pub(super) struct Planner {
    reader: Reader,
    frame: Frame,
    /// Where selectors stand of whose histograms only counts and sums are wanted.
    sums_only: HashSet<usize>,
    pub samples: Arc<AtomicU64>,
    pub notes: Notes,
    /// What was planned reads few series at few times, as far as is known.
    small: Arc<AtomicBool>,
    /// `None` within a subquery, too, whose samples are those that it yields.
    tally: Option<Arc<Tally>>,
}

/// Series that one selector of a small query may read, each counted once a part.
const SMALL_SERIES: usize = 16;

/// Times that any part of it may be asked at.
const SMALL_STEPS: usize = 1_000;

impl Planner {
    pub fn new(snapshot: Arc<dyn Snapshot>, expr: &Expr, frame: Frame, samples_max: usize) -> Planner {
        let samples: Arc<AtomicU64> = Arc::default();
        let reader = Reader { snapshot, samples_max, samples: samples.clone() };
        let mut sums_only = HashSet::new();
        find_sums_only(expr, false, &mut sums_only);
        let (notes, small) = (Notes::default(), Arc::new(AtomicBool::new(true)));
        let tally = frame.counts.then(|| Arc::new(Tally::new(frame.times.count)));
        Planner { reader, frame, sums_only, samples, notes, small, tally }
    }

    /// Samples by step, where they are counted.
    pub fn counts(&self) -> Vec<u64> {
        self.tally.as_ref().map_or_else(Vec::new, |tally| tally.counts())
    }

    pub fn plan(&self, expr: &Expr, times: Times) -> Result<Plan, QueryError> {
        if times.count > SMALL_STEPS {
            self.small.store(false, Ordering::Relaxed);
        }
        match &expr.node {
            Node::Number(number) => Ok(node::plan(Constant { value: number.value, times }, vec![])),
            Node::Parens(inner) | Node::Unary { minus: false, expr: inner } => self.plan(inner, times),
            Node::Unary { expr: inner, .. } => Ok(node::plan(Negate, vec![self.plan(inner, times)?])),
            Node::Selector(_) => {
                let (scan, inputs) = self.leaf(expr, times)?.ok_or_else(|| no_vector(expr))?;
                Ok(node::plan(scan, inputs))
            }
            Node::Call { function, arguments } => self.call(expr.start, function, arguments, times),
            Node::Aggregate { op, grouping, parameter, expr: vector } => {
                let mut inputs = vec![];
                let mut label = String::new();
                match parameter.as_deref().map(Expr::bare) {
                    Some(Expr { node: Node::Text(text), .. }) if *op == AggregateOp::CountValues => {
                        if text.is_empty() || !::promql::is_utf8(text) {
                            let text = ::promql::quoted(text);
                            return Err(QueryError::Execution(format!("invalid label name {text}")));
                        }
                        label.clone_from(text);
                    }
                    Some(scalar) => inputs.push(self.plan(scalar, times)?),
                    None => {}
                }
                let aggregate = Aggregate {
                    op: *op,
                    grouping: grouping.clone(),
                    label,
                    times,
                    notes: self.notes.clone(),
                    at: expr.start,
                    vector_at: vector.bare().start,
                    parameter_at: parameter.as_ref().map_or(expr.start, |parameter| parameter.bare().start),
                };
                if Fold::of(*op, 0).is_some()
                    && let Some((scan, inputs)) = self.leaf(vector, times)?
                {
                    return Ok(node::plan(AggregateScan { aggregate, scan }, inputs));
                }
                inputs.insert(0, self.plan(vector, times)?);
                Ok(node::plan(aggregate, inputs))
            }
            Node::Binary { op, left, right, returns_bool, matching } => {
                let scalar = match (left.value_type(), right.value_type()) {
                    (ValueType::Scalar, ValueType::Scalar) => Some(ScalarSide::Both),
                    (ValueType::Scalar, _) => Some(ScalarSide::Left),
                    (_, ValueType::Scalar) => Some(ScalarSide::Right),
                    _ => None,
                };
                let inputs = vec![self.plan(left, times)?, self.plan(right, times)?];
                let join = Join {
                    op: *op,
                    returns_bool: *returns_bool,
                    matching: matching.clone(),
                    scalar,
                    times,
                    notes: self.notes.clone(),
                    at: expr.start,
                };
                Ok(node::plan(join, inputs))
            }
            Node::Text(_) | Node::Range { .. } | Node::Subquery { .. } => Err(no_vector(expr)),
        }
    }

    /// What is read of the store as it stands in the query: a selector, or a function over its windows, with the
    /// function's parameters. `None` of everything else.
    fn leaf(&self, expr: &Expr, times: Times) -> Result<Option<(Scan, Vec<Plan>)>, QueryError> {
        match &expr.bare().node {
            Node::Selector(selector) => {
                let mode = match selector.modifiers.extension {
                    Extension::Smoothed => Mode::Smoothed,
                    _ => Mode::Instant,
                };
                Ok(Some((self.scan(selector, expr.bare().start, times, mode)?, vec![])))
            }
            Node::Call { function, arguments } => match windows::named(function.name) {
                Some(over) => self.window_scan(over, arguments, times),
                None => Ok(None),
            },
            _ => Ok(None),
        }
    }

    /// A duration of the query, in milliseconds.
    fn span(&self, span: &Span, negative: bool) -> Result<i64, QueryError> {
        let step = if self.frame.instant { 0 } else { self.frame.times.step_ms };
        let ms = span.ms(step, self.frame.end_ms - self.frame.times.start_ms, negative);
        ms.map_err(|wrong| QueryError::Bad(format!("invalid parameter \"query\": {wrong}")))
    }

    fn place(&self, modifiers: &Modifiers) -> Result<Where, QueryError> {
        let at_ms = modifiers.at.map(|at| match at {
            At::Time(ms) => ms,
            At::Start => self.frame.times.start_ms,
            At::End => self.frame.end_ms,
        });
        let offset_ms = modifiers.offset.as_ref().map_or(Ok(0), |offset| self.span(offset, true))?;
        Ok(Where { at_ms, offset_ms })
    }

    /// Whether the query is done sooner than a thread for it is woken.
    pub fn is_small(&self) -> bool {
        self.small.load(Ordering::Relaxed)
    }

    /// Patterns are not asked what they select: that may be the query's most work.
    fn weigh(&self, scan: &Scan) {
        let select = SeriesSelect { matchers: scan.matchers.clone(), range: scan.range() };
        let is_small = self.is_small()
            && select.matchers.iter().all(|matcher| matcher.op == Match::Equal)
            && self.reader.snapshot.selects_at_most(&select, SMALL_SERIES);
        if !is_small {
            self.small.store(false, Ordering::Relaxed);
        }
    }

    fn scan(&self, selector: &Selector, at: usize, times: Times, mode: Mode) -> Result<Scan, QueryError> {
        let scan = Scan {
            reader: self.reader.clone(),
            matchers: selector.matchers.clone(),
            place: self.place(&selector.modifiers)?,
            times,
            lookback_ms: self.frame.lookback_ms,
            mode,
            notes: self.notes.clone(),
            tally: self.tally.clone(),
            at,
            tells_resets: self.sums_only.contains(&at),
        };
        self.weigh(&scan);
        Ok(scan)
    }

    fn call(
        &self,
        at: usize,
        function: &'static Function,
        arguments: &[Expr],
        times: Times,
    ) -> Result<Plan, QueryError> {
        let name = function.name;
        let text = |at: usize| match arguments.get(at).map(|argument| &argument.bare().node) {
            Some(Node::Text(text)) => text.clone(),
            _ => String::new(),
        };
        let input = |at: usize| self.plan(&arguments[at], times);
        let place = |at: usize| arguments.get(at).map_or(0, |argument| argument.bare().start);
        let histogram = |asked: histogram::Asked, vector: usize, quantiles: std::ops::Range<usize>| {
            let mut inputs = vec![input(vector)?];
            for quantile in quantiles.clone() {
                inputs.push(input(quantile)?);
            }
            let quantiles_at = quantiles.map(place).collect();
            let notes = self.notes.clone();
            let histogram = Histogram { asked, times, notes, at: place(vector), quantiles_at };
            Ok::<Plan, QueryError>(node::plan(histogram, inputs))
        };
        if let Some(over) = windows::named(name) {
            return self.windows(over, arguments, times);
        }
        Ok(match name {
            "time" => node::plan(TimeOf { times }, vec![]),
            "pi" => node::plan(Constant { value: std::f64::consts::PI, times }, vec![]),
            "step" => {
                self.constant(if self.frame.times.count == 1 { 0 } else { self.frame.times.step_ms }, times)
            }
            "range" => self.constant(self.frame.end_ms - self.frame.times.start_ms, times),
            "start" => self.constant(self.frame.times.start_ms, times),
            "end" => self.constant(self.frame.end_ms, times),
            "vector" => input(0)?,
            "scalar" => node::plan(ToScalar { times }, vec![input(0)?]),
            // Of what is computed, nobody knows when it began.
            "start_timestamp" => match &arguments[0].bare().node {
                Node::Selector(selector) => {
                    node::plan(self.scan(selector, place(0), times, Mode::Start)?, vec![])
                }
                _ => {
                    input(0)?;
                    node::plan(Nothing, vec![])
                }
            },
            "timestamp" => match &arguments[0].bare().node {
                Node::Selector(selector) => {
                    node::plan(self.scan(selector, place(0), times, Mode::Timestamp)?, vec![])
                }
                _ => node::plan(Elementwise { function: "timestamp", times }, vec![input(0)?]),
            },
            "absent" | "absent_over_time" => self.absent(&arguments[0], times)?,
            "sort" | "sort_desc" => {
                let descending = name == "sort_desc";
                let sort = Sort { descending, instant: self.frame.instant, notes: self.notes.clone(), at };
                node::plan(sort, vec![input(0)?])
            }
            "sort_by_label" | "sort_by_label_desc" => {
                let labels = (1..arguments.len()).map(text).collect();
                let descending = name == "sort_by_label_desc";
                let (instant, notes) = (self.frame.instant, self.notes.clone());
                node::plan(SortByLabel { labels, descending, instant, notes, at }, vec![input(0)?])
            }
            "label_replace" => {
                let replace = LabelReplace::new(&text(1), &text(2), &text(3), &text(4))?;
                node::plan(replace, vec![input(0)?])
            }
            "label_join" => {
                let sources = (3..arguments.len()).map(text).collect();
                node::plan(LabelJoin::new(&text(1), &text(2), sources)?, vec![input(0)?])
            }
            "info" => self.info(arguments, times)?,
            "histogram_quantile" => histogram(histogram::Asked::Quantile, 1, 0..1)?,
            "histogram_quantiles" => {
                histogram(histogram::Asked::Quantiles { label: text(1) }, 0, 2..arguments.len())?
            }
            "histogram_fraction" => histogram(histogram::Asked::Fraction, 2, 0..2)?,
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

    /// Info series are looked at when the vector's own first selector looks: its `@` and offsets are theirs.
    fn info(&self, arguments: &[Expr], times: Times) -> Result<Plan, QueryError> {
        let place = self.first_place(&arguments[0])?.unwrap_or(Where { at_ms: None, offset_ms: 0 });
        let matchers = arguments.get(1).and_then(|argument| match &argument.bare().node {
            Node::Selector(selector) => Some(selector.matchers.clone()),
            _ => None,
        });
        let scan = Scan {
            reader: self.reader.clone(),
            matchers: vec![],
            place,
            times,
            lookback_ms: self.frame.lookback_ms,
            mode: Mode::OriginalTime,
            notes: self.notes.clone(),
            tally: self.tally.clone(),
            at: arguments[0].start,
            tells_resets: false,
        };
        self.weigh(&scan);
        Ok(node::plan(Info { matchers, scan }, vec![self.plan(&arguments[0], times)?]))
    }

    /// Where the first selector of an expression looks, with the subqueries around it.
    fn first_place(&self, expr: &Expr) -> Result<Option<Where>, QueryError> {
        let of = |part: &Expr| self.first_place(part);
        match &expr.node {
            Node::Number(_) | Node::Text(_) => Ok(None),
            Node::Selector(selector) | Node::Range { selector, .. } => {
                Ok(Some(self.place(&selector.modifiers)?))
            }
            Node::Unary { expr, .. } | Node::Parens(expr) => of(expr),
            Node::Subquery { expr, modifiers, .. } => {
                let Some(inner) = of(expr)? else { return Ok(None) };
                if inner.at_ms.is_some() {
                    return Ok(Some(inner));
                }
                let outer = self.place(modifiers)?;
                let offset_ms = inner.offset_ms.saturating_add(outer.offset_ms);
                Ok(Some(Where { at_ms: outer.at_ms, offset_ms }))
            }
            Node::Call { arguments, .. } => {
                arguments.iter().find_map(|argument| of(argument).transpose()).transpose()
            }
            Node::Aggregate { parameter, expr, .. } => {
                let parts = [Some(expr.as_ref()), parameter.as_deref()];
                parts.into_iter().flatten().find_map(|part| of(part).transpose()).transpose()
            }
            Node::Binary { left, right, .. } => {
                [left, right].into_iter().find_map(|part| of(part).transpose()).transpose()
            }
        }
    }

    /// A time of the query itself, in seconds.
    fn constant(&self, ms: i64, times: Times) -> Plan {
        node::plan(Constant { value: ms as f64 / 1e3, times }, vec![])
    }

    fn absent(&self, argument: &Expr, times: Times) -> Result<Plan, QueryError> {
        let present = || {
            windows::named("present_over_time")
                .ok_or_else(|| QueryError::Bad("absent_over_time needs a range vector".into()))
        };
        let bare = argument.bare();
        let (input, matchers) = match &bare.node {
            Node::Range { selector, .. } => {
                (self.windows(present()?, std::slice::from_ref(bare), times)?, &selector.matchers[..])
            }
            Node::Subquery { .. } => (self.windows(present()?, std::slice::from_ref(bare), times)?, &[][..]),
            // In parentheses it is no selector any more, as others see it.
            Node::Selector(selector) => (self.plan(bare, times)?, &selector.matchers[..]),
            _ => (self.plan(bare, times)?, &[][..]),
        };
        Ok(node::plan(Absent::new(matchers, times), vec![input]))
    }

    /// A function over windows: its range vector is a selector, read as it is, or a subquery, computed first.
    fn windows(&self, over: windows::Over, arguments: &[Expr], times: Times) -> Result<Plan, QueryError> {
        if let Some((scan, inputs)) = self.window_scan(over, arguments, times)? {
            return Ok(node::plan(scan, inputs));
        }
        let range = range_of(arguments)?;
        let Node::Subquery { expr, range: span, step, modifiers } = &range.node else {
            return Err(no_range());
        };
        let mut inputs = self.parameters(arguments, times)?;
        let place = self.place(modifiers)?;
        let range_ms = self.span(span, false)?;
        let inner = inner_times(times, place, range_ms, self.step(step.as_ref())?)?;
        inputs.push(Planner { tally: None, ..self.clone() }.plan(expr, inner)?);
        let (at, first_at) = (range.start, arguments[0].bare().start);
        let asked = Asked { over, range_ms, extension: Extension::None, at, first_at };
        let (notes, tally) = (self.notes.clone(), self.tally.clone());
        Ok(node::plan(SubqueryWindows { asked, place, times, inner, notes, tally }, inputs))
    }

    /// `None` where the windows are of a subquery.
    fn window_scan(
        &self,
        over: windows::Over,
        arguments: &[Expr],
        times: Times,
    ) -> Result<Option<(Scan, Vec<Plan>)>, QueryError> {
        let range = range_of(arguments)?;
        let Node::Range { selector, range: span } = &range.node else { return Ok(None) };
        let inputs = self.parameters(arguments, times)?;
        let extension = selector.modifiers.extension;
        extended::check(extension, over.name)?;
        let (at, first_at) = (range.start, arguments[0].bare().start);
        let asked = Asked { over, range_ms: self.span(span, false)?, extension, at, first_at };
        Ok(Some((self.scan(selector, at, times, Mode::Window(asked))?, inputs)))
    }

    /// What a function over windows is given beside them.
    fn parameters(&self, arguments: &[Expr], times: Times) -> Result<Vec<Plan>, QueryError> {
        let parameters = arguments.iter().filter(|argument| !is_range(argument));
        parameters.map(|argument| self.plan(argument, times)).collect()
    }

    fn step(&self, step: Option<&Span>) -> Result<i64, QueryError> {
        step.map_or(Ok(SUBQUERY_STEP_MS), |step| self.span(step, false)).map(|ms| ms.max(1))
    }

    /// The samples of a range vector as they are: what an instant query of `x[5m]` answers.
    pub async fn raw(&self, engine: &Engine, expr: &Expr) -> Result<(Vec<PromSeries>, Room), QueryError> {
        match &expr.node {
            Node::Range { selector, range } => {
                let room = engine.room();
                let read = self.raw_range(selector, self.span(range, false)?, &room);
                let series = engine.on_thread(read).await?;
                Ok((series, room))
            }
            Node::Subquery { expr, range, step, modifiers } => {
                let place = self.place(modifiers)?;
                let step_ms = self.step(step.as_ref())?;
                let inner = inner_times(self.frame.times, place, self.span(range, false)?, step_ms)?;
                let (matrix, room) = engine.promql_matrix(self, expr, inner).await?;
                Ok((super::to_series(matrix, inner, &room)?, room))
            }
            _ => Err(QueryError::Bad(format!("{expr} is no range vector"))),
        }
    }

    async fn raw_range(
        &self,
        selector: &Selector,
        range_ms: i64,
        room: &Room,
    ) -> Result<Vec<PromSeries>, QueryError> {
        let end = self.place(&selector.modifiers)?.of(self.frame.times.start_ms);
        let start = end.saturating_sub(range_ms);
        let (before, after) = match selector.modifiers.extension {
            Extension::None => (0, 0),
            Extension::Anchored => (self.frame.lookback_ms, 0),
            Extension::Smoothed => (self.frame.lookback_ms, self.frame.lookback_ms),
        };
        let range = TimeRange {
            start: start.saturating_sub(before).saturating_add(1),
            end: end.saturating_add(after),
        };
        let select = SeriesSelect { matchers: selector.matchers.clone(), range };
        let mut out: Vec<PromSeries> = vec![];
        let add = |block: &SampleBlock| {
            for run in model::runs(block.iter()) {
                let series = self.raw_series(run, selector.modifiers.extension, (start, end))?;
                if !series.points.is_empty() || !series.histograms.is_empty() {
                    room.take(series.bytes())?;
                    out.push(series);
                }
            }
            Ok(())
        };
        if self.reader.each(&select, room, add).await? {
            out.sort_by(|a, b| a.labels.cmp(&b.labels));
        }
        Ok(out)
    }

    fn raw_series(
        &self,
        run: Run<'_>,
        extension: Extension,
        ends: (i64, i64),
    ) -> Result<PromSeries, QueryError> {
        let present = run.ts_ms.iter().zip(run.values).filter(|(_, value)| !is_stale_marker(**value));
        let mut points = Vec::with_capacity(run.ts_ms.len());
        points.extend(present.map(|(ts_ms, value)| Point { ts_ms: *ts_ms, value: *value }));
        let histograms: Vec<_> =
            run.histograms.into_iter().filter(|(_, histogram)| !histogram.is_stale_marker()).collect();
        if extension != Extension::None {
            let smoothed = extension == Extension::Smoothed;
            if !histograms.is_empty() {
                let word = if smoothed { "smoothed" } else { "anchored" };
                let what = format!("{word} modifier is not supported with histograms");
                return Err(QueryError::Execution(what));
            }
            let (ts_ms, values): (Vec<i64>, Vec<f64>) =
                points.iter().map(|point| (point.ts_ms, point.value)).unzip();
            points = extended::raw(&ts_ms, &values, ends, smoothed);
        }
        if let Some(tally) = &self.tally {
            tally.add_raw(points.len(), &histograms);
        }
        Ok(PromSeries { labels: run.labels, points, histograms })
    }
}

fn is_range(argument: &Expr) -> bool {
    argument.value_type() == ValueType::Matrix
}

fn range_of(arguments: &[Expr]) -> Result<&Expr, QueryError> {
    Ok(arguments.iter().find(|argument| is_range(argument)).ok_or_else(no_range)?.bare())
}

fn no_range() -> QueryError {
    QueryError::Bad("no range vector".into())
}

fn no_vector(expr: &Expr) -> QueryError {
    QueryError::Bad(format!("{} cannot stand here", expr.value_type().as_str()))
}

/// No series at all.
#[derive(Debug)]
struct Nothing;

#[async_trait::async_trait]
impl node::Node for Nothing {
    fn name(&self) -> &'static str {
        "PromNothing"
    }

    async fn evaluate(&self, _: Vec<Matrix>, _: &Room) -> Result<Matrix, QueryError> {
        Ok(Matrix::default())
    }
}

/// Selectors below a function that looks at counts or sums, with nothing around them that needs buckets.
fn find_sums_only(expr: &Expr, within: bool, found: &mut HashSet<usize>) {
    match &expr.node {
        Node::Number(_) | Node::Text(_) | Node::Subquery { .. } => {}
        Node::Selector(_) | Node::Range { .. } => {
            if within {
                found.insert(expr.start);
            }
        }
        Node::Unary { expr, .. } | Node::Parens(expr) => find_sums_only(expr, within, found),
        Node::Call { function, arguments } => {
            let within = match function.name {
                "histogram_quantile" | "histogram_quantiles" | "histogram_fraction" => return,
                "histogram_count" | "histogram_sum" | "histogram_avg" => true,
                _ => within,
            };
            arguments.iter().for_each(|argument| find_sums_only(argument, within, found));
        }
        Node::Aggregate { parameter, expr, .. } => {
            let parts = [Some(expr.as_ref()), parameter.as_deref()];
            parts.into_iter().flatten().for_each(|part| find_sums_only(part, within, found));
        }
        Node::Binary { op: BinaryOp::TrimUpper | BinaryOp::TrimLower, .. } => {}
        Node::Binary { left, right, .. } => {
            find_sums_only(left, within, found);
            find_sums_only(right, within, found);
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
