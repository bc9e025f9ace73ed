//! Numbers over time from spans: `rate()`, `count_over_time()`, quantiles and the like, by fields.
//!
//! Over one filter that a span alone decides, spans are counted as they are scanned. Whatever else stands before the
//! function is a search whose traces are read whole, some at a time.
//!
//! A span that its sender kept of several counts as often as `tracestate` says (`model::sampling_weight`): in every function
//! but the least and the largest, which it does not change.

mod compare;
mod steps;
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
use model::{SpanSelect, TraceId, Value};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use store::{Snapshot, SpanColumns};
use traceql::{
    Arithmetic, Element, Field, FieldExpr, Intrinsic, Metrics, MetricsAggregate, MetricsOp, Pipeline,
    SpansetExpr,
};
use values::{Powers, Values};

pub(super) use steps::Steps;

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

#[derive(Clone)]
pub(super) struct MetricsQuery {
    pub snapshot: Arc<dyn Snapshot>,
    pub context: Arc<TaskContext>,
    pub steps: Steps,
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
    exemplar: Option<Example>,
}

/// A span of a step: trace, start and value.
type Example = (TraceId, i64, f64);

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
                    .filter_map(|(step, v)| Some((self.steps.told_at_ms(step), (*v)?)))
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
                vec![Series::new(Vec::new(), vec![Some(*number); self.steps.count])]
            }
            Metrics::Arithmetic(op, left, right) => {
                let left = Box::pin(self.evaluate(left, inspected)).await?;
                let right = Box::pin(self.evaluate(right, inspected)).await?;
                arithmetic(*op, &left, &right)
            }
        })
    }

    async fn aggregate(
        &self,
        query: &MetricsAggregate,
        inspected: &mut u64,
    ) -> Result<Vec<Series>, QueryError> {
        let mut query = query.clone();
        let range = range_of_traces(self.steps.range());
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
        let mut groups = gathered.groups.all;
        // Nothing was counted, which is a number: 0.
        let counts = matches!(query.op, MetricsOp::Rate | MetricsOp::CountOverTime);
        if groups.is_empty() && query.by.is_empty() && counts {
            groups.push((vec![], self.numbers(query)()));
        }
        let groups = groups.into_iter();
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
        let range = self.steps.range();
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
        // Durations are answered in seconds and sorted by powers of two of nanoseconds.
        let (value, whole) = match &query.field {
            None => (1.0, 1.0),
            Some(Field::Intrinsic(Intrinsic::Duration)) => in_seconds(at.spans.duration(at.row)),
            Some(field) => match at.value(field) {
                Val::Duration(ns) => in_seconds(ns),
                other => match other.number().filter(|number| !number.is_nan()) {
                    Some(number) => (number, number),
                    None => return 0,
                },
            },
        };
        let start = at.spans.start(at.row);
        let step = self.steps.of(start);
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
            Numbers::Counts(counts, examples) => {
                if let Some(count) = counts.get_mut(step) {
                    *count += at.spans.weight(at.row);
                }
                if let Some(example) = examples.get_mut(step).filter(|example| example.is_none()) {
                    *example = Some((at.spans.trace_id(at.row), start, value));
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
            MetricsOp::HistogramOverTime => grown += bucket.powers.add(whole, weight),
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
                labels.push(("__name__".to_owned(), Value::from(query.op.as_str())));
            }
            labels
        };
        let seconds = self.steps.seconds();
        let mut buckets = match numbers {
            Numbers::Counts(counts, examples) => {
                let seconds = if query.op == MetricsOp::Rate { seconds } else { 1.0 };
                let values: Vec<f64> = counts.into_iter().map(|count| count / seconds).collect();
                // A count has no value of one span: its exemplar stands at the height of the line.
                let exemplars = self.exemplars_of(examples.into_iter(), |step, _| values[step]);
                let values = values.into_iter().map(Some).collect();
                return vec![Series { labels: with(None), values, exemplars }];
            }
            Numbers::Buckets(buckets) => buckets,
        };
        let examples: Vec<Option<Example>> = buckets.iter().map(|bucket| bucket.exemplar).collect();
        let exemplars = self.exemplars_of(examples.into_iter(), |_, value| value);
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

    fn exemplars_of(
        &self,
        examples: impl Iterator<Item = Option<Example>>,
        value: impl Fn(usize, f64) -> f64,
    ) -> Vec<TraceExemplar> {
        let all = examples.enumerate().filter_map(|(step, example)| Some((step, example?)));
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
    /// Where nothing but the count is asked for, and a span of each step where examples are: a group that has few spans
    /// takes a fraction of the memory.
    Counts(Vec<f64>, Vec<Option<Example>>),
    Buckets(Vec<Bucket>),
}

impl Numbers {
    fn bytes(&self) -> usize {
        match self {
            Numbers::Counts(counts, examples) => {
                counts.len() * size_of::<f64>() + examples.len() * size_of::<Option<Example>>()
            }
            Numbers::Buckets(buckets) => buckets.len() * size_of::<Bucket>(),
        }
    }

    fn absorb(&mut self, other: Numbers) {
        match (self, other) {
            (Numbers::Counts(own, own_examples), Numbers::Counts(counts, examples)) => {
                own.iter_mut().zip(counts).for_each(|(own, count)| *own += count);
                own_examples.iter_mut().zip(examples).for_each(|(own, example)| *own = own.or(example));
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
        // What a span does not have is no label; without any the first says so.
        let label = |field: &Field| Some((label_name(field), value_of(at.value(field))?));
        let mut labels: Labels = by.iter().filter_map(label).collect();
        if labels.is_empty() {
            labels.extend(by.first().map(|field| (label_name(field), Value::from("nil"))));
        }
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

fn in_seconds(ns: i64) -> (f64, f64) {
    (ns as f64 / 1e9, ns as f64)
}

/// Counts by the power of two that bounds a value from above, of which `parts` are one in the answer.
fn histogram(buckets: &[Bucket], parts: f64, with: impl Fn(Option<(&str, Value)>) -> Labels) -> Vec<Series> {
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

/// By equal labels; a side without `by` goes with every series of the other. Nothing is what is divided by nothing.
fn arithmetic(op: Arithmetic, left: &[Series], right: &[Series]) -> Vec<Series> {
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
            let values = a.values.iter().zip(&b.values).map(|(a, b)| apply((*a)?, (*b)?)).collect();
            out.push(Series::new(labels, values));
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
