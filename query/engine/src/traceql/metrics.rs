//! Numbers over time from spans: `rate()`, `count_over_time()`, quantiles and the like, by fields.
//!
//! Over one filter that a span alone decides, spans are counted as they are scanned. Whatever else stands before the
//! function is a search whose traces are read whole, some at a time.
//!
//! A span that its sender kept of several counts as often as `tracestate` says (`model::sampling_weight`): in every function
//! but the least and the largest, which it does not change.

mod compare;
mod values;

use super::alike::{Alike, Known, parted};
use super::evaluate::SpanAt;
use super::scan::{SpanScan, narrow};
use super::scopes::settle;
use super::search::{
    SHOWN, Search, TRACES_READ, TraceSearch, field_key, fields_of, range_of_traces, value_of,
};
use super::shares::in_shares;
use super::spans::{Spans, Val, columns_of, fields_or_columns_of};
use crate::QueryError;
use crate::logql::operator::Operator;
use datafusion::execution::TaskContext;
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryReservation};
use datafusion::physical_plan::execute_stream;
use futures::StreamExt;
use model::{SpanSelect, TimeRange, TraceId, Value};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use store::{Snapshot, SpanColumns};
use traceql::{
    Element, Field, FieldExpr, Intrinsic, Metrics, MetricsAggregate, MetricsOp, Pipeline, SpansetExpr,
};
use values::{Powers, Values};

/// One series of an answer.
#[derive(Clone, Debug, PartialEq)]
pub struct TraceSeries {
    pub labels: Vec<(String, Value)>,
    /// Milliseconds and value.
    pub points: Vec<(i64, f64)>,
    pub exemplars: Vec<TraceExemplar>,
}

/// A span that stands for others of its series and step.
#[derive(Clone, Debug, PartialEq)]
pub struct TraceExemplar {
    pub trace_id: TraceId,
    pub ts_ms: i64,
    pub value: f64,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct TraceMetrics {
    pub series: Vec<TraceSeries>,
    pub inspected_spans: u64,
    pub warnings: Vec<String>,
}

/// When numbers are asked for.
pub(super) struct Steps {
    pub start_ns: i64,
    pub end_ns: i64,
    pub step_ns: i64,
    pub count: usize,
}

#[derive(Clone)]
pub(super) struct MetricsQuery {
    pub snapshot: Arc<dyn Snapshot>,
    pub context: Arc<TaskContext>,
    pub start_ns: i64,
    pub end_ns: i64,
    pub step_ns: i64,
    pub steps: usize,
    /// At most in the whole answer.
    pub exemplars: usize,
}

type Labels = Vec<(String, Value)>;

/// Memory is asked for in such pieces: a value at a time, asking costs more than keeping.
const GROWN_BYTES: usize = 64 << 10;

/// Values by step; `None` where there is none.
struct Series {
    labels: Labels,
    values: Vec<Option<f64>>,
    exemplars: Vec<TraceExemplar>,
}

impl Series {
    fn new(labels: Labels, values: Vec<Option<f64>>) -> Series {
        Series { labels, values, exemplars: Vec::new() }
    }
}

/// What is gathered of one group at one step.
#[derive(Default, Clone)]
struct Bucket {
    /// Spans, each as many times as its sender's sampling says.
    count: f64,
    sum: f64,
    min: f64,
    max: f64,
    /// Kept for quantiles only.
    values: Values,
    /// Kept for histograms only.
    powers: Powers,
    /// One of its spans: trace, start and value.
    exemplar: Option<(TraceId, i64, f64)>,
}

impl Bucket {
    fn absorb(&mut self, other: Bucket) {
        if other.count == 0.0 {
            return;
        }
        self.min = if self.count == 0.0 { other.min } else { self.min.min(other.min) };
        self.max = if self.count == 0.0 { other.max } else { self.max.max(other.max) };
        self.count += other.count;
        self.sum += other.sum;
        self.values.absorb(other.values);
        self.powers.absorb(&other.powers);
        let larger = other.exemplar.filter(|(.., value)| self.exemplar.is_none_or(|(.., own)| *value > own));
        self.exemplar = larger.or(self.exemplar);
    }
}

impl MetricsQuery {
    pub async fn run(&self, metrics: &Metrics) -> Result<TraceMetrics, QueryError> {
        let mut inspected = 0;
        let series = self.evaluate(metrics, &mut inspected).await?;
        let at = |step: usize| (self.start_ns + self.step_ns * step as i64).div_euclid(1_000_000);
        let mut left = self.exemplars;
        let mut series: Vec<TraceSeries> = series
            .into_iter()
            .map(|series| TraceSeries {
                exemplars: spread(series.exemplars, &mut left),
                labels: series.labels,
                points: series
                    .values
                    .iter()
                    .enumerate()
                    .filter_map(|(step, v)| Some((at(step), (*v)?)))
                    .collect(),
            })
            .filter(|series| !series.points.is_empty())
            .collect();
        series.sort_by_key(|series| prom_labels(&series.labels));
        Ok(TraceMetrics { series, inspected_spans: inspected, warnings: self.snapshot.warnings() })
    }

    async fn evaluate(&self, metrics: &Metrics, inspected: &mut u64) -> Result<Vec<Series>, QueryError> {
        Ok(match metrics {
            Metrics::Aggregate(aggregate) => self.aggregate(aggregate, inspected).await?,
            Metrics::Topk(input, keep) => best(Box::pin(self.evaluate(input, inspected)).await?, *keep, true),
            Metrics::Bottomk(input, keep) => {
                best(Box::pin(self.evaluate(input, inspected)).await?, *keep, false)
            }
            Metrics::Filter(input, op, than) => {
                let mut series = Box::pin(self.evaluate(input, inspected)).await?;
                for value in series.iter_mut().flat_map(|series| series.values.iter_mut()) {
                    *value =
                        value.filter(|number| number.partial_cmp(than).is_some_and(|order| op.holds(order)));
                }
                series
            }
            Metrics::Number(number) => {
                vec![Series::new(Vec::new(), vec![Some(*number); self.steps])]
            }
            Metrics::Arithmetic(op, left, right) => {
                let left = Box::pin(self.evaluate(left, inspected)).await?;
                let right = Box::pin(self.evaluate(right, inspected)).await?;
                arithmetic(&left, &right, |a, b| op.apply(a, b))
            }
        })
    }

    async fn aggregate(
        &self,
        query: &MetricsAggregate,
        inspected: &mut u64,
    ) -> Result<Vec<Series>, QueryError> {
        let mut query = query.clone();
        let range = range_of_traces(TimeRange { start: self.start_ns, end: self.end_ns });
        if let Some(names) = self.snapshot.span_names(range).await? {
            settle(&mut query.spansets, &names.of_resources);
        }
        let query = &query;
        if query.op == MetricsOp::Compare {
            return self.compare(query, inspected).await;
        }
        let gathered = match single_filter(&query.spansets).filter(|_| !wants_trace(query)) {
            Some(filter) => self.in_shares(query, filter, inspected).await?,
            None => {
                let mut columns = vec!["start_ts", "trace_state"];
                query.by.iter().chain(&query.field).for_each(|field| columns_of(field, &mut columns));
                if self.exemplars > 0 {
                    columns.push("trace_id");
                }
                let mut gathered = Gathered::new(&self.context);
                self.each_of_traces(&query.spansets, columns, inspected, &mut |at| {
                    gathered.add(self, query, at, None)
                })
                .await?;
                gathered
            }
        };
        let groups = gathered.groups.all.into_iter();
        Ok(groups.flat_map(|(labels, numbers)| self.series(query, labels, numbers)).collect())
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
        let mut all = Gathered::new(&self.context);
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
        let range = TimeRange { start: self.start_ns, end: self.end_ns - 1 };
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
        let scan =
            SpanScan { snapshot: self.snapshot.clone(), select, columns: SpanColumns::named(&columns) };
        let mut batches = execute_stream(Operator::plan(scan, vec![]), self.context.clone())
            .map_err(crate::logql::broken)?;
        let (of_words, of_rows) = parted(filter);
        let mut words: Vec<&Field> = query.by.iter().collect();
        of_words.iter().for_each(|condition| condition.fields(&mut |field| words.push(field)));
        let (mut passing, mut inspected) = (Known::default(), 0);
        let mut gathered = Gathered::new(&self.context);
        while let Some(batch) = batches.next().await {
            let batch = batch.map_err(crate::logql::broken)?;
            inspected += batch.num_rows() as u64;
            let spans = Spans::of(&batch);
            let mut alike = Alike::new(&spans, &words);
            passing.forget();
            gathered.groups.alike.forget();
            for row in (0..spans.len()).filter(|row| range.contains(spans.start(*row))) {
                let at = SpanAt { spans: &spans, row, trace: None };
                let holds = |conditions: &[&FieldExpr]| conditions.iter().all(|c| at.holds(c) == Some(true));
                let number = alike.as_mut().map(|alike| alike.of(row));
                let passes = match number {
                    Some(number) => passing.get(number, || holds(&of_words)),
                    None => holds(&of_words),
                };
                if passes && holds(&of_rows) {
                    gathered.add(self, query, &at, number)?;
                }
            }
        }
        Ok((gathered, inspected))
    }

    /// Calls `each` with every span that the pipeline finds in whole traces and that starts in the range.
    async fn each_of_traces(
        &self,
        pipeline: &Pipeline,
        mut columns: Vec<&'static str>,
        inspected: &mut u64,
        each: &mut Each<'_>,
    ) -> Result<(), QueryError> {
        let range = TimeRange { start: self.start_ns, end: self.end_ns - 1 };
        let search = Search {
            snapshot: self.snapshot.clone(),
            context: self.context.clone(),
            pipeline: pipeline.clone(),
            range,
            limit: usize::MAX,
            spans_per_spanset: 1,
        };
        columns.extend(SHOWN);
        fields_of(pipeline, &mut |field| columns_of(field, &mut columns));
        let mut found = TraceSearch::default();
        let ids = search.candidates(range, &mut found).await?;
        *inspected += found.inspected_spans;
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

    /// Counts one span; the bytes that it took.
    fn gather(
        &self,
        at: &SpanAt<'_>,
        alike: Option<u32>,
        query: &MetricsAggregate,
        groups: &mut Groups,
    ) -> usize {
        let value = match &query.field {
            None => 1.0,
            Some(Field::Intrinsic(Intrinsic::Duration)) => at.spans.duration(at.row) as f64 / 1e9,
            Some(field) => match at.value(field) {
                // Durations are answered in seconds.
                Val::Duration(ns) => ns as f64 / 1e9,
                other => match other.number() {
                    Some(number) => number,
                    None => return 0,
                },
            },
        };
        let start = at.spans.start(at.row);
        let step = ((start - self.start_ns) / self.step_ns) as usize;
        let mut grown = 0;
        let group = match alike {
            Some(number) => {
                let mut known = std::mem::take(&mut groups.alike);
                let group = known.get(number, || groups.of(&query.by, at, self.numbers(query), &mut grown));
                groups.alike = known;
                group
            }
            None => groups.of(&query.by, at, self.numbers(query), &mut grown),
        };
        let bucket = match &mut groups.all[group].1 {
            Numbers::Counts(counts) => {
                if let Some(count) = counts.get_mut(step) {
                    *count += at.spans.weight(at.row);
                }
                return grown;
            }
            Numbers::Buckets(buckets) => buckets.get_mut(step),
        };
        let Some(bucket) = bucket else { return grown };
        bucket.min = if bucket.count == 0.0 { value } else { bucket.min.min(value) };
        bucket.max = if bucket.count == 0.0 { value } else { bucket.max.max(value) };
        let weight = at.spans.weight(at.row);
        bucket.count += weight;
        bucket.sum += value * weight;
        match query.op {
            MetricsOp::QuantileOverTime => grown += bucket.values.push(value, weight),
            MetricsOp::HistogramOverTime => grown += bucket.powers.add(value, weight),
            _ => {}
        }
        // The largest value of a step is what a reader of a chart wants to open.
        if self.exemplars > 0 && bucket.exemplar.is_none_or(|(_, _, before)| value > before) {
            bucket.exemplar = Some((at.spans.trace_id(at.row), start, value));
        }
        grown
    }

    /// What a group has of each step, by what is asked of it.
    fn numbers(&self, query: &MetricsAggregate) -> impl FnOnce() -> Numbers {
        let counts = matches!(query.op, MetricsOp::Rate | MetricsOp::CountOverTime) && self.exemplars == 0;
        let steps = self.steps;
        move || match counts {
            true => Numbers::Counts(vec![0.0; steps]),
            false => Numbers::Buckets(vec![Bucket::default(); steps]),
        }
    }

    fn series(&self, query: &MetricsAggregate, labels: Labels, numbers: Numbers) -> Vec<Series> {
        let with = |extra: Option<(&str, Value)>| {
            let mut labels = labels.clone();
            labels.extend(extra.map(|(name, value)| (name.to_owned(), value)));
            if labels.is_empty() {
                labels.push(("__name__".to_owned(), Value::from(query.op.as_str())));
            }
            labels
        };
        let seconds = self.step_ns as f64 / 1e9;
        let mut buckets = match numbers {
            Numbers::Counts(counts) => {
                let seconds = if query.op == MetricsOp::Rate { seconds } else { 1.0 };
                let values = counts.into_iter().map(|count| Some(count / seconds)).collect();
                return vec![Series::new(with(None), values)];
            }
            Numbers::Buckets(buckets) => buckets,
        };
        let plain = |value: fn(&Bucket, f64) -> f64, zero: bool| {
            let values: Vec<Option<f64>> =
                buckets.iter().map(|b| (zero || b.count > 0.0).then(|| value(b, seconds))).collect();
            // A count has no value of one span: its exemplar stands at the height of the line.
            let exemplars = self.exemplars_of(&buckets, |step, value| match query.field {
                Some(_) => value,
                None => values[step].unwrap_or(value),
            });
            Series { labels: with(None), values, exemplars }
        };
        match query.op {
            MetricsOp::Rate => vec![plain(|b, seconds| b.count / seconds, true)],
            MetricsOp::CountOverTime => vec![plain(|b, _| b.count, true)],
            MetricsOp::MinOverTime => vec![plain(|b, _| b.min, false)],
            MetricsOp::MaxOverTime => vec![plain(|b, _| b.max, false)],
            MetricsOp::SumOverTime => vec![plain(|b, _| b.sum, false)],
            MetricsOp::AvgOverTime => vec![plain(|b, _| b.sum / b.count, false)],
            MetricsOp::QuantileOverTime => {
                let mut of = |q: f64| {
                    let values = buckets.iter_mut().map(|bucket| bucket.values.quantile(q)).collect();
                    Series::new(with(Some(("p", Value::Double(q)))), values)
                };
                let mut series: Vec<Series> = query.params.iter().map(|q| of(*q)).collect();
                if let Some(last) = series.last_mut() {
                    last.exemplars = self.exemplars_of(&buckets, |_, value| value);
                }
                series
            }
            MetricsOp::HistogramOverTime | MetricsOp::Compare => {
                let mut series = histogram(&buckets, with);
                if let Some(last) = series.last_mut() {
                    last.exemplars = self.exemplars_of(&buckets, |_, value| value);
                }
                series
            }
        }
    }

    fn exemplars_of(&self, buckets: &[Bucket], value: impl Fn(usize, f64) -> f64) -> Vec<TraceExemplar> {
        let all = buckets.iter().enumerate().filter_map(|(step, bucket)| Some((step, bucket.exemplar?)));
        all.map(|(step, (trace_id, start, of_span))| TraceExemplar {
            trace_id,
            ts_ms: start.div_euclid(1_000_000),
            value: value(step, of_span),
        })
        .collect()
    }
}

/// Groups, and the memory that they are accounted for.
struct Gathered {
    groups: Groups,
    /// Not asked for yet.
    grown: usize,
    reservations: Vec<MemoryReservation>,
}

impl Gathered {
    fn new(context: &TaskContext) -> Gathered {
        let reservation = MemoryConsumer::new("traceql metrics").register(context.memory_pool());
        Gathered { groups: Groups::default(), grown: 0, reservations: vec![reservation] }
    }

    /// A span, and the number of the rows that are like it.
    fn add(
        &mut self,
        query: &MetricsQuery,
        aggregate: &MetricsAggregate,
        at: &SpanAt<'_>,
        alike: Option<u32>,
    ) -> Result<(), QueryError> {
        self.grown += query.gather(at, alike, aggregate, &mut self.groups);
        if self.grown < GROWN_BYTES {
            return Ok(());
        }
        let grown = std::mem::take(&mut self.grown);
        self.reservations[0].try_grow(grown).map_err(crate::logql::broken)
    }

    fn absorb(&mut self, other: Gathered) {
        self.reservations.extend(other.reservations);
        self.groups.absorb(other.groups);
    }
}

/// What is gathered of a group, by step.
enum Numbers {
    /// Where nothing but the count is asked for: a group that has few spans takes a twentieth of the memory.
    Counts(Vec<f64>),
    Buckets(Vec<Bucket>),
}

impl Numbers {
    fn bytes(&self) -> usize {
        match self {
            Numbers::Counts(counts) => counts.len() * size_of::<f64>(),
            Numbers::Buckets(buckets) => buckets.len() * size_of::<Bucket>(),
        }
    }

    fn absorb(&mut self, other: Numbers) {
        match (self, other) {
            (Numbers::Counts(own), Numbers::Counts(counts)) => {
                own.iter_mut().zip(counts).for_each(|(own, count)| *own += count);
            }
            (Numbers::Buckets(own), Numbers::Buckets(buckets)) => {
                own.iter_mut().zip(buckets).for_each(|(own, bucket)| own.absorb(bucket));
            }
            // Both are of one query.
            _ => {}
        }
    }
}

/// Groups by the text of their labels.
#[derive(Default)]
struct Groups {
    known: HashMap<String, usize>,
    /// By rows that are alike in what is grouped by.
    alike: Known<usize>,
    all: Vec<(Labels, Numbers)>,
    key: String,
}

impl Groups {
    fn absorb(&mut self, other: Groups) {
        let mut theirs: Vec<Option<(Labels, Numbers)>> = other.all.into_iter().map(Some).collect();
        for (key, at) in other.known {
            let Some((labels, numbers)) = theirs[at].take() else { continue };
            match self.known.get(&key) {
                Some(own) => self.all[*own].1.absorb(numbers),
                None => {
                    self.known.insert(key, self.all.len());
                    self.all.push((labels, numbers));
                }
            }
        }
    }

    /// The group of a span; `grown` by the bytes that it took to make it.
    fn of(
        &mut self,
        by: &[Field],
        at: &SpanAt<'_>,
        numbers: impl FnOnce() -> Numbers,
        grown: &mut usize,
    ) -> usize {
        use std::fmt::Write;
        self.key.clear();
        for field in by {
            // Formatting a value into a string cannot fail.
            let _ = match at.value(field) {
                Val::Text(text) => write!(self.key, "s{text}\u{0}"),
                other => write!(self.key, "{other:?}\u{0}"),
            };
        }
        if let Some(group) = self.known.get(&self.key) {
            return *group;
        }
        let value = |field: &Field| value_of(at.value(field)).unwrap_or_else(|| Value::from("nil"));
        let labels = by.iter().map(|field| (label_name(field), value(field))).collect();
        let numbers = numbers();
        *grown += self.key.len() * 2 + numbers.bytes() + 200;
        self.all.push((labels, numbers));
        self.known.insert(self.key.clone(), self.all.len() - 1);
        self.all.len() - 1
    }
}

/// A series' label keeps its scope, as in `resource.service.name`.
fn label_name(field: &Field) -> String {
    match field {
        Field::Attribute { .. } => field.to_string(),
        Field::Intrinsic(_) => field_key(field),
    }
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

/// Not more than are left, evenly taken.
fn spread(all: Vec<TraceExemplar>, left: &mut usize) -> Vec<TraceExemplar> {
    let keep = all.len().min(*left);
    if keep == 0 {
        return vec![];
    }
    *left -= keep;
    let every = all.len().div_ceil(keep);
    all.into_iter().step_by(every).collect()
}

/// Counts by the power of two that bounds a value from above.
fn histogram(buckets: &[Bucket], with: impl Fn(Option<(&str, Value)>) -> Labels) -> Vec<Series> {
    let mut counts: BTreeMap<i32, Vec<Option<f64>>> = BTreeMap::new();
    for (step, bucket) in buckets.iter().enumerate() {
        for (power, weight) in bucket.powers.iter() {
            let count = &mut counts.entry(power).or_insert_with(|| vec![None; buckets.len()])[step];
            *count = Some(count.unwrap_or(0.0) + weight);
        }
    }
    let bound = |power: i32| Some(("__bucket", Value::Double(2f64.powi(power))));
    counts.into_iter().map(|(power, values)| Series::new(with(bound(power)), values)).collect()
}

/// At each step the values of so many series; of equal ones those of the first.
fn best(mut series: Vec<Series>, keep: usize, largest: bool) -> Vec<Series> {
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

/// By equal labels; a side without `by` goes with every series of the other.
fn arithmetic(left: &[Series], right: &[Series], apply: impl Fn(f64, f64) -> f64) -> Vec<Series> {
    let plain = |series: &Series| !series.labels.iter().any(|(name, _)| name != "__name__");
    let mut out = Vec::new();
    for a in left {
        for b in right {
            let pairs = a.labels == b.labels || plain(a) || plain(b);
            if pairs {
                let labels = if plain(a) { b.labels.clone() } else { a.labels.clone() };
                let values = a.values.iter().zip(&b.values).map(|(a, b)| Some(apply((*a)?, (*b)?))).collect();
                out.push(Series::new(labels, values));
            }
        }
    }
    out
}

/// `{a="b", c="1"}`, as Prometheus writes labels.
pub fn prom_labels(labels: &[(String, Value)]) -> String {
    let pairs: Vec<String> =
        labels.iter().map(|(name, value)| format!("{name}={:?}", value.to_string())).collect();
    format!("{{{}}}", pairs.join(", "))
}
