//! Numbers over time from spans: `rate()`, `count_over_time()`, quantiles and the like, by fields.
//!
//! Over one filter that a span alone decides, spans are counted as they are scanned. Whatever else stands before the
//! function is a search whose traces are read whole, some at a time.
//!
//! A span that its sender kept of several counts as often as `tracestate` says (`model::sampling_weight`): in every function
//! but the least and the largest, which it does not change.

mod compare;
mod counting;
mod exemplars;
mod groups;
mod series;
mod steps;
mod values;

use super::Rows;
use super::evaluate::SpanAt;
use super::scan::{ScanWith, SpanScan, Told, narrow};
use super::scopes::settle;
use super::search::{SHOWN, Search, TRACES_READ, fields_of, range_of_traces, value_of};
use super::shares::{in_shares, shares};
use super::sources::{columns_of, fields_or_columns_of};
use super::spans::Spans;
use super::value::Val;
use crate::QueryError;
use crate::logql::operator::Operator;
use counting::Counting;
use datafusion::execution::TaskContext;
use datafusion::physical_plan::execute_stream;
use exemplars::{Example, spread};
use futures::StreamExt;
use groups::{Bucket, Gathered, Groups, Numbers, label_name};
use model::{SpanSelect, TraceId, Value};
use parking_lot::Mutex;
use series::{Series, arithmetic, best, histogram};
use std::sync::Arc;
use store::{Snapshot, SpanColumns, TraceRoots};
use traceql::{
    Element, Field, FieldExpr, Intrinsic, Metrics, MetricsAggregate, MetricsOp, Pipeline, SpansetExpr,
};

pub use exemplars::TraceExemplar;
pub use series::prom_labels;
pub(super) use steps::Steps;

/// One series of an answer.
#[derive(Clone, Debug, PartialEq)]
pub struct TraceSeries {
    pub labels: Vec<(String, Value)>,
    /// Milliseconds and value.
    pub points: Vec<(i64, f64)>,
    pub exemplars: Vec<TraceExemplar>,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct TraceMetrics {
    pub series: Vec<TraceSeries>,
    pub inspected_spans: u64,
    pub warnings: Vec<String>,
}

#[derive(Clone)]
pub(super) struct MetricsQuery {
    pub snapshot: Arc<dyn Snapshot>,
    pub context: Arc<TaskContext>,
    pub steps: Steps,
    /// At most in the whole answer.
    pub exemplars: usize,
}

type Labels = Vec<(String, Value)>;

impl MetricsQuery {
    pub async fn run(&self, metrics: &Metrics) -> Result<TraceMetrics, QueryError> {
        let (mut inspected, mut warnings) = (0, vec![]);
        let mut series = self.evaluate(metrics, &mut inspected, &mut warnings).await?;
        series.sort_by_cached_key(|series| prom_labels(&series.labels));
        let (mut left, mut others) = (self.exemplars, series.len());
        let series: Vec<TraceSeries> = series
            .into_iter()
            .map(|series| {
                // Each series has its part of them, or the first would have all.
                let exemplars = spread(series.standing(&self.steps), left.div_ceil(others));
                (left, others) = (left - exemplars.len(), others - 1);
                let points = series.values.iter().enumerate();
                let points =
                    points.filter_map(|(step, v)| Some((self.steps.told_at_ms(step), (*v)?))).collect();
                TraceSeries { labels: series.labels, points, exemplars }
            })
            .filter(|series| !series.points.is_empty())
            .collect();
        warnings.extend(self.snapshot.warnings());
        Ok(TraceMetrics { series, inspected_spans: inspected, warnings })
    }

    async fn evaluate(
        &self,
        metrics: &Metrics,
        inspected: &mut u64,
        warnings: &mut Vec<String>,
    ) -> Result<Vec<Series>, QueryError> {
        Ok(match metrics {
            Metrics::Aggregate(aggregate) => self.aggregate(aggregate, inspected, warnings).await?,
            Metrics::Topk(input, keep) => {
                best(Box::pin(self.evaluate(input, inspected, warnings)).await?, *keep, true)
            }
            Metrics::Bottomk(input, keep) => {
                best(Box::pin(self.evaluate(input, inspected, warnings)).await?, *keep, false)
            }
            Metrics::Filter(input, op, than) => {
                let mut series = Box::pin(self.evaluate(input, inspected, warnings)).await?;
                for value in series.iter_mut().flat_map(|series| series.values.iter_mut()) {
                    *value =
                        value.filter(|number| number.partial_cmp(than).is_some_and(|order| op.holds(order)));
                }
                series
            }
            Metrics::Number(number) => {
                vec![Series::new(Vec::new(), vec![Some(*number); self.steps.count])]
            }
            Metrics::Arithmetic(op, left, right) => {
                let left = Box::pin(self.evaluate(left, inspected, warnings)).await?;
                let right = Box::pin(self.evaluate(right, inspected, warnings)).await?;
                arithmetic(*op, &left, &right, &self.steps)
            }
        })
    }

    async fn aggregate(
        &self,
        query: &MetricsAggregate,
        inspected: &mut u64,
        warnings: &mut Vec<String>,
    ) -> Result<Vec<Series>, QueryError> {
        let mut query = query.clone();
        let range = range_of_traces(self.steps.range());
        if let Some(names) = self.snapshot.span_names(range).await? {
            settle(&mut query.spansets, &names.of_resources);
        }
        let query = &query;
        if query.op == MetricsOp::Compare {
            return self.compare(query, inspected, warnings).await;
        }
        let gathered = match single_filter(&query.spansets).filter(|_| !wants_trace(query)) {
            Some(filter) => self.in_shares(query, filter, inspected).await?,
            None => {
                let mut columns = vec!["start_ts", "trace_state"];
                query.by.iter().chain(&query.field).for_each(|field| columns_of(field, &mut columns));
                if self.exemplars > 0 {
                    columns.push("trace_id");
                }
                let mut gathered = self.gathered(query);
                self.each_of_traces(&query.spansets, columns, inspected, &mut |at| {
                    self.gather(at, query, &mut gathered)
                })
                .await?;
                gathered
            }
        };
        let mut groups = gathered.groups.all;
        // Nothing was counted, which is a number: 0.
        let counts = matches!(query.op, MetricsOp::Rate | MetricsOp::CountOverTime);
        if groups.is_empty() && query.by.is_empty() && counts {
            groups.push((vec![], self.numbers(query)()));
        }
        match query.op {
            MetricsOp::QuantileOverTime => self.series_in_shares(query, groups).await,
            _ => Ok(groups.into_iter().flat_map(|(labels, of)| self.series(query, labels, of)).collect()),
        }
    }

    /// As many threads at a time as there are processors: each value that was seen is looked at once more.
    async fn series_in_shares(
        &self,
        query: &MetricsAggregate,
        groups: Vec<(Labels, Numbers)>,
    ) -> Result<Vec<Series>, QueryError> {
        let mut parts: Vec<Vec<(Labels, Numbers)>> = vec![];
        parts.resize_with(shares(), Vec::new);
        for (at, group) in groups.into_iter().enumerate() {
            let part = at % parts.len();
            parts[part].push(group);
        }
        let parts = Mutex::new(parts);
        let series = in_shares(|_| {
            let (own, query, part) = (self.clone(), query.clone(), parts.lock().pop().unwrap_or_default());
            let series = move |(labels, numbers)| own.series(&query, labels, numbers);
            async move { Ok(part.into_iter().flat_map(series).collect::<Vec<Series>>()) }
        })
        .await?;
        Ok(series.into_iter().flatten().collect())
    }

    /// Gathers spans that a filter alone decides on, as many threads at a time as there are processors.
    async fn in_shares(
        &self,
        query: &MetricsAggregate,
        filter: &FieldExpr,
        inspected: &mut u64,
    ) -> Result<Gathered, QueryError> {
        let shares = in_shares(|share| {
            let (own, query, filter) = (self.clone(), query.clone(), filter.clone());
            async move { own.share(&query, &filter, share).await }
        })
        .await?;
        let mut all = self.gathered(query);
        for (gathered, seen) in shares {
            *inspected += seen;
            all.absorb(gathered);
        }
        Ok(all)
    }

    /// What one share of the spans gives, and how many were looked at.
    async fn share(
        &self,
        query: &MetricsAggregate,
        filter: &FieldExpr,
        share: (usize, usize),
    ) -> Result<(Gathered, u64), QueryError> {
        let range = self.steps.range();
        let mut select = SpanSelect { share: Some(share), ..SpanSelect::all(range) };
        narrow(&mut select, filter);
        let mut columns = vec!["start_ts", "trace_state"];
        let mut read: Vec<&Field> = query.by.iter().chain(&query.field).collect();
        filter.fields(&mut |field| read.push(field));
        for field in read {
            fields_or_columns_of(field, &mut select.fields, &mut columns);
        }
        if self.exemplars > 0 {
            columns.push("trace_id");
        }
        let mut batches = self.scanned(select, &columns)?;
        let mut counting = Counting::new(self, query, filter);
        let (mut gathered, mut inspected) = (self.gathered(query), 0);
        while let Some(batch) = batches.next().await {
            let batch = batch.map_err(crate::logql::broken)?;
            inspected += batch.num_rows() as u64;
            counting.add(&Spans::of(&batch), &mut gathered)?;
        }
        Ok((gathered, inspected))
    }

    fn scanned(&self, select: SpanSelect, columns: &[&str]) -> Result<Rows, QueryError> {
        let scan = SpanScan { snapshot: self.snapshot.clone(), select, columns: SpanColumns::named(columns) };
        execute_stream(Operator::plan(scan, vec![]), self.context.clone()).map_err(crate::logql::broken)
    }

    /// The same with the roots of their traces.
    fn rooted(
        &self,
        select: SpanSelect,
        columns: &[&str],
        roots: Arc<TraceRoots>,
    ) -> Result<Rows, QueryError> {
        let scan = SpanScan { snapshot: self.snapshot.clone(), select, columns: SpanColumns::named(columns) };
        let plan = Operator::plan(ScanWith { scan, told: Told::Roots(roots) }, vec![]);
        execute_stream(plan, self.context.clone()).map_err(crate::logql::broken)
    }

    /// Calls `each` with every span that the pipeline finds in whole traces and that starts in the range.
    async fn each_of_traces(
        &self,
        pipeline: &Pipeline,
        columns: Vec<&'static str>,
        inspected: &mut u64,
        each: &mut Each<'_>,
    ) -> Result<(), QueryError> {
        let search = self.search_of(pipeline);
        let ids = search.ids(inspected).await?;
        self.each_of_these(&search, &ids, columns, each).await
    }

    fn search_of(&self, pipeline: &Pipeline) -> Search {
        Search {
            snapshot: self.snapshot.clone(),
            context: self.context.clone(),
            pipeline: pipeline.clone(),
            range: self.steps.range(),
            limit: usize::MAX,
            spans_per_spanset: 1,
        }
    }

    async fn each_of_these(
        &self,
        search: &Search,
        ids: &[TraceId],
        mut columns: Vec<&'static str>,
        each: &mut Each<'_>,
    ) -> Result<(), QueryError> {
        let range = self.steps.range();
        columns.extend(SHOWN);
        fields_of(&search.pipeline, &mut |field| columns_of(field, &mut columns));
        for chunk in ids.chunks(TRACES_READ * 16) {
            search
                .whole(chunk, &columns, &mut |_, trace, spansets| {
                    let mut spans: Vec<usize> = spansets.iter().flat_map(|set| &set.spans).copied().collect();
                    spans.sort_unstable();
                    spans.dedup();
                    for span in spans {
                        let at = trace.at(span);
                        if range.contains(at.spans.start(at.row)) {
                            each(&at)?;
                        }
                    }
                    Ok(())
                })
                .await?;
        }
        Ok(())
    }

    /// Counts one span.
    fn gather(
        &self,
        at: &SpanAt<'_>,
        query: &MetricsAggregate,
        gathered: &mut Gathered,
    ) -> Result<(), QueryError> {
        let number = match &query.field {
            None => (1.0, 1.0),
            Some(field) => match number_of(at, field) {
                Some(number) => number,
                None => return Ok(()),
            },
        };
        let (step, weight) = (self.steps.of(at.spans.start(at.row)), at.spans.weight(at.row));
        let (value, groups, mut grown) = (number.0, &mut gathered.groups, 0);
        let group = self.group(at, None, query, groups, &mut grown);
        match &mut groups.all[group].1 {
            Numbers::Counts(counts, examples) => {
                if let Some(count) = counts.get_mut(step) {
                    *count += weight;
                }
                if let Some(place) = examples.get_mut(step).filter(|example| example.is_none()) {
                    let example = Example::new(at, value, &groups.read);
                    grown += example.bytes();
                    *place = Some(example);
                }
            }
            Numbers::Buckets(buckets) => {
                if let Some(bucket) = buckets.get_mut(step) {
                    grown += bucket.add(query.op, number, weight);
                    if self.exemplars > 0 {
                        grown += bucket.show(value, || Example::new(at, value, &groups.read));
                    }
                }
            }
        }
        gathered.account(grown)
    }

    /// The group of a span, known already where a row that is like it was seen; `grown` by the bytes that it took to make it.
    fn group(
        &self,
        at: &SpanAt<'_>,
        alike: Option<u32>,
        query: &MetricsAggregate,
        groups: &mut Groups,
        grown: &mut usize,
    ) -> usize {
        let Some(number) = alike else { return groups.of(&query.by, at, self.numbers(query), grown) };
        let mut known = std::mem::take(&mut groups.alike);
        let group = known.get(number, || groups.of(&query.by, at, self.numbers(query), grown));
        groups.alike = known;
        group
    }

    fn gathered(&self, query: &MetricsAggregate) -> Gathered {
        Gathered::new(&self.context, if self.exemplars > 0 { exemplars::read_by(query) } else { vec![] })
    }

    /// What a group has of each step, by what is asked of it.
    fn numbers(&self, query: &MetricsAggregate) -> impl FnOnce() -> Numbers {
        let counts = matches!(query.op, MetricsOp::Rate | MetricsOp::CountOverTime);
        let steps = self.steps.count;
        let examples = if self.exemplars > 0 { steps } else { 0 };
        move || match counts {
            true => Numbers::Counts(vec![0.0; steps], vec![None; examples]),
            false => Numbers::Buckets(vec![Bucket::default(); steps]),
        }
    }

    fn series(&self, query: &MetricsAggregate, labels: Labels, numbers: Numbers) -> Vec<Series> {
        let with = |extra: Option<(&str, Value)>| {
            let mut labels = labels.clone();
            labels.extend(extra.map(|(name, value)| (name.to_owned(), value)));
            if labels.is_empty() {
                // A series has a label: what its spans do not have, or what it is.
                labels.push(match query.by.first() {
                    Some(field) => (label_name(field), Value::from("nil")),
                    None => ("__name__".to_owned(), Value::from(query.op.as_str())),
                });
            }
            labels
        };
        let seconds = self.steps.seconds();
        let mut buckets = match numbers {
            Numbers::Counts(counts, examples) => {
                let seconds = if query.op == MetricsOp::Rate { seconds } else { 1.0 };
                let values: Vec<f64> = counts.into_iter().map(|count| count / seconds).collect();
                // A count has no value of one span: its exemplar stands at the height of the line.
                let exemplars = told(examples, |step, _| values[step]);
                let values = values.into_iter().map(Some).collect();
                return vec![Series { labels: with(None), values, exemplars }];
            }
            Numbers::Buckets(buckets) => buckets,
        };
        let examples = buckets.iter_mut().map(|bucket| bucket.exemplar.take()).collect();
        let exemplars = told(examples, |_, value| value);
        let plain = |value: fn(&Bucket) -> f64, exemplars: Vec<TraceExemplar>| {
            let values = buckets.iter().map(|b| (b.count > 0.0).then(|| value(b))).collect();
            vec![Series { labels: with(None), values, exemplars }]
        };
        match query.op {
            MetricsOp::MinOverTime => plain(|b| b.min, exemplars),
            MetricsOp::MaxOverTime => plain(|b| b.max, exemplars),
            MetricsOp::SumOverTime => plain(|b| b.sum, exemplars),
            MetricsOp::AvgOverTime => plain(|b| b.sum / b.count, exemplars),
            MetricsOp::QuantileOverTime => {
                let mut of = |q: f64| {
                    let values = buckets.iter_mut().map(|bucket| bucket.values.quantile(q)).collect();
                    Series::new(with(Some(("p", Value::Double(q)))), values)
                };
                let mut series: Vec<Series> = query.params.iter().map(|q| of(*q)).collect();
                if let Some(last) = series.last_mut() {
                    last.exemplars = exemplars;
                }
                series
            }
            // What is counted alone has no buckets, and who compares no series of this kind.
            MetricsOp::Rate | MetricsOp::CountOverTime | MetricsOp::Compare => vec![],
            MetricsOp::HistogramOverTime => {
                let of_durations = matches!(
                    query.field,
                    Some(Field::Intrinsic(
                        Intrinsic::Duration | Intrinsic::TraceDuration | Intrinsic::EventTimeSinceStart
                    ))
                );
                let mut series = histogram(&buckets, if of_durations { 1e9 } else { 1.0 }, with);
                if let Some(last) = series.last_mut() {
                    last.exemplars = exemplars;
                }
                series
            }
        }
    }
}

/// At the step of each.
fn told(examples: Vec<Option<Example>>, value: impl Fn(usize, f64) -> f64) -> Vec<TraceExemplar> {
    let all = examples.into_iter().enumerate().filter_map(|(step, example)| Some((step, example?)));
    all.map(|(step, example)| {
        let value = value(step, example.value);
        example.told(value)
    })
    .collect()
}

/// Takes a span.
type Each<'a> = dyn FnMut(&SpanAt<'_>) -> Result<(), QueryError> + Send + 'a;

/// The filter, where the pipeline is one.
fn single_filter(pipeline: &Pipeline) -> Option<&FieldExpr> {
    match pipeline.elements.as_slice() {
        [Element::Spansets(SpansetExpr::Filter(filter))] => Some(filter),
        _ => None,
    }
}

/// Whether the filter, the groups or the value need the whole trace.
fn wants_trace(query: &MetricsAggregate) -> bool {
    let mut wants = query.by.iter().chain(&query.field).any(Field::of_trace);
    fields_of(&query.spansets, &mut |field| wants |= field.of_trace());
    wants
}

/// The number that is asked for, and the one that histograms sort it by: durations are answered in seconds and sorted by powers of
/// two of nanoseconds. `None` where a span has none.
fn number_of(at: &SpanAt<'_>, field: &Field) -> Option<(f64, f64)> {
    match at.value(field) {
        Val::Duration(ns) => Some(in_seconds(ns)),
        other => other.number().filter(|number| !number.is_nan()).map(|number| (number, number)),
    }
}

fn in_seconds(ns: i64) -> (f64, f64) {
    (ns as f64 / 1e9, ns as f64)
}
