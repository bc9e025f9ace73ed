//! TraceQL over snapshots: traces by id, search, metrics, and what can be asked for.

mod alike;
mod bounds;
mod copies;
mod evaluate;
mod ids;
mod metrics;
mod part;
mod passing;
mod rooted;
mod scan;
mod scopes;
mod search;
mod shares;
mod sources;
mod spans;
mod tags;
mod trace;
mod value;

pub(crate) use scan::SpanScan;
pub(crate) use spans::Spans;
pub(crate) use value::Val;

pub use metrics::{TraceExemplar, TraceMetrics, TraceSeries, prom_labels};
pub use part::SpansWanted;
pub use search::{FoundSpan, FoundSpanset, FoundTrace, SearchProgress, ServiceStats, TraceSearch};
pub use tags::{TagValue, TraceTags};

use crate::logql::operator::Operator;
use crate::room::{Held, Room};
use crate::{Engine, QueryError};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_plan::execute_stream;
use futures::StreamExt;
use metrics::MetricsQuery;
use model::{ResourceSpans, Span, SpanBatch, SpanSelect, Tenant, TimeRange, TraceId};
use search::Search;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;
use store::SpanColumns;
use tokio::sync::mpsc;
use traceql::{
    Element, Field, Metrics, MetricsAggregate, ParseError, Pipeline, Root, SpansetExpr, SpansetOp, Static,
};

type Rows = SendableRecordBatchStream;

/// Spans that one trace may have to be answered whole.
const TRACE_SPANS_MAX: usize = 1_000_000;
/// A span as it lies in a batch, as ours, as a message and as a text, which are each larger than the one before.
const COPIES: usize = 5;

/// A trace as it was sent.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TraceById {
    /// No resource: the trace is not known.
    pub spans: SpanBatch,
    /// Not empty where parts of it could not be read, or are more than there is room for.
    pub warnings: Vec<String>,
    /// Whether it is more than there is room for.
    pub cut: bool,
    pub held: Held,
}

/// Traces, and what of them could not be read or is more than there is room for.
struct Whole {
    traces: Vec<SpanBatch>,
    warnings: Vec<String>,
    cut: bool,
    room: Room,
}

/// What a search is asked beside its query.
#[derive(Clone, Copy, Debug)]
pub struct SearchOptions {
    pub range: TimeRange,
    pub limit: usize,
    pub spans_per_spanset: usize,
}

impl Engine {
    pub(crate) fn task_context(&self) -> Arc<TaskContext> {
        Arc::new(TaskContext::default().with_runtime(self.runtime.clone()))
    }

    /// All spans of a trace, grouped by resource and instrumentation scope, in order of their start.
    pub async fn trace_by_id(
        &self,
        tenant: &Tenant,
        trace_id: TraceId,
        range: Option<TimeRange>,
    ) -> Result<TraceById, QueryError> {
        let mut found = self.assembled(tenant, &[trace_id], range).await?;
        let spans = found.traces.pop().unwrap_or_default();
        Ok(TraceById { spans, warnings: found.warnings, cut: found.cut, held: found.room.into() })
    }

    /// The traces of these ids in their order, each as [`Engine::trace_by_id`] has it, and what could not be read.
    pub async fn traces_by_id(
        &self,
        tenant: &Tenant,
        trace_ids: &[TraceId],
        range: Option<TimeRange>,
    ) -> Result<(Vec<SpanBatch>, Vec<String>), QueryError> {
        if trace_ids.is_empty() {
            return Ok((vec![], vec![]));
        }
        let found = self.assembled(tenant, trace_ids, range).await?;
        Ok((found.traces, found.warnings))
    }

    async fn assembled(
        &self,
        tenant: &Tenant,
        trace_ids: &[TraceId],
        range: Option<TimeRange>,
    ) -> Result<Whole, QueryError> {
        let began = Instant::now();
        let snapshot = self.source.snapshot(tenant).await?;
        let range = range.unwrap_or(TimeRange::ALL);
        let select = SpanSelect { trace_ids: trace_ids.to_vec(), ..SpanSelect::all(range) };
        let scan = SpanScan { snapshot: snapshot.clone(), select, columns: SpanColumns::all() };
        let context = self.task_context();
        let ids = trace_ids.to_vec();
        let traces = self
            .off_thread(async move {
                let batches = execute_stream(Operator::plan(scan, vec![]), context.clone())
                    .map_err(crate::logql::broken)?;
                let room = Room::of("whole traces", context.memory_pool());
                let (traces, cut) = assemble(batches, &ids, &room).await?;
                Ok((traces, cut, room))
            })
            .await;
        self.observe("traceql", began.elapsed());
        let (traces, cut, room) = traces?;
        let mut warnings = snapshot.warnings();
        let is_cut = cut.is_some();
        warnings.extend(cut);
        Ok(Whole { traces, warnings, cut: is_cut, room })
    }

    /// Traces of which spans that start in the range match, newest first.
    pub async fn traceql_search(
        &self,
        tenant: &Tenant,
        query: &str,
        options: SearchOptions,
    ) -> Result<TraceSearch, QueryError> {
        self.search(tenant, query, options, None).await
    }

    /// As [`Engine::traceql_search`], with what is found told while it goes on: each trace once, in no more than the
    /// answer has. A listener that is gone ends the search.
    pub async fn traceql_search_told(
        &self,
        tenant: &Tenant,
        query: &str,
        options: SearchOptions,
        told: mpsc::Sender<SearchProgress>,
    ) -> Result<TraceSearch, QueryError> {
        self.search(tenant, query, options, Some(told)).await
    }

    async fn search(
        &self,
        tenant: &Tenant,
        query: &str,
        options: SearchOptions,
        told: Option<mpsc::Sender<SearchProgress>>,
    ) -> Result<TraceSearch, QueryError> {
        let mut pipeline = match parse(query)? {
            Root::Spansets(pipeline) => pipeline,
            Root::Metrics(metrics) => counted(metrics)
                .ok_or_else(|| QueryError::Bad("a number alone is no query; write { … }".to_owned()))?,
        };
        let limit = search::limit(options.limit)?;
        let began = Instant::now();
        let snapshot = self.source.snapshot(tenant).await?;
        if let Some(names) = snapshot.span_names(search::range_of_traces(options.range)).await? {
            scopes::settle(&mut pipeline, &names.of_resources);
        }
        let search = Search {
            snapshot,
            context: self.task_context(),
            pipeline,
            range: options.range,
            limit,
            spans_per_spanset: options.spans_per_spanset.max(1),
        };
        let found = self.off_thread(search.run(told)).await;
        self.observe("traceql", began.elapsed());
        found
    }

    /// Numbers of spans by step, from the start to the end, with so many exemplars at most.
    pub async fn traceql_metrics(
        &self,
        tenant: &Tenant,
        query: &str,
        range: TimeRange,
        step_ms: i64,
        exemplars: usize,
    ) -> Result<TraceMetrics, QueryError> {
        let step_ns = step_ms.saturating_mul(1_000_000);
        if step_ns <= 0 || range.end <= range.start {
            return Err(QueryError::Bad("step must be positive and end after start".to_owned()));
        }
        let steps = metrics::Steps::over(range, step_ns);
        if steps.count > self.limits.points_max {
            return Err(QueryError::Bad(format!(
                "more than {} points a series; raise step",
                self.limits.points_max
            )));
        }
        self.traceql_metrics_at(tenant, query, steps, Some(exemplars)).await
    }

    /// One number a series, over the whole range.
    pub async fn traceql_metrics_instant(
        &self,
        tenant: &Tenant,
        query: &str,
        range: TimeRange,
    ) -> Result<TraceMetrics, QueryError> {
        if range.end <= range.start {
            return Err(QueryError::Bad("end must be after start".to_owned()));
        }
        self.traceql_metrics_at(tenant, query, metrics::Steps::one(range), None).await
    }

    async fn traceql_metrics_at(
        &self,
        tenant: &Tenant,
        query: &str,
        steps: metrics::Steps,
        exemplars: Option<usize>,
    ) -> Result<TraceMetrics, QueryError> {
        let parsed = traceql::parse(query).map_err(|why| {
            QueryError::Bad(if why.of_meaning { format!("compiling query: {why}") } else { why.to_string() })
        })?;
        let exemplars = exemplars.map_or(0, |asked| hinted_exemplars(&parsed.hints, asked));
        let Root::Metrics(metrics) = parsed.root else {
            return Err(QueryError::Bad(
                "not a metrics query: it answers traces; one ends in a function, as { } | rate()".to_owned(),
            ));
        };
        let began = Instant::now();
        let query = MetricsQuery {
            snapshot: self.source.snapshot(tenant).await?,
            context: self.task_context(),
            steps,
            exemplars,
        };
        let answer = self.off_thread(async move { query.run(&metrics).await }).await;
        self.observe("traceql", began.elapsed());
        answer
    }
}

/// The spans of which numbers are asked for, with what is read of them: a search for those answers them. Where one number is
/// computed of several, the spans that any of them is of. A constant is of none.
fn counted(metrics: Metrics) -> Option<Pipeline> {
    match metrics {
        Metrics::Aggregate(aggregate) => {
            let MetricsAggregate { mut spansets, by, field, .. } = *aggregate;
            let read: Vec<Field> = by.into_iter().chain(field).collect();
            spansets.elements.extend((!read.is_empty()).then_some(Element::Select(read)));
            Some(spansets)
        }
        Metrics::Topk(inner, _) | Metrics::Bottomk(inner, _) | Metrics::Filter(inner, _, _) => {
            counted(*inner)
        }
        Metrics::Arithmetic(_, left, right) => match (counted(*left), counted(*right)) {
            (Some(left), Some(right)) => {
                let (left, right) = (Box::new(left.grouped()), Box::new(right.grouped()));
                let either = SpansetExpr::Op { op: SpansetOp::Or, left, right };
                Some(Pipeline { elements: vec![Element::Spansets(either)] })
            }
            (left, right) => left.or(right),
        },
        Metrics::Number(_) => None,
    }
}

/// Exemplars one answer may have, whatever is asked.
const EXEMPLARS_MAX: usize = 1_000;

/// `with (exemplars=false)` and `with (exemplars=20)`: what a query says of itself stands above what its caller asks.
fn hinted_exemplars(hints: &[(String, Static)], asked: usize) -> usize {
    let hinted = match hints.iter().find(|(name, _)| name == "exemplars") {
        Some((_, Static::Bool(false))) => 0,
        Some((_, Static::Int(number))) => usize::try_from(*number).unwrap_or(0),
        _ => asked,
    };
    hinted.min(EXEMPLARS_MAX)
}

fn parse(query: &str) -> Result<Root, QueryError> {
    parse_words(query, "invalid TraceQL query: ")
}

/// With Tempo's words before what is wrong: for each thing that is asked they are others.
fn parse_words(query: &str, words: &str) -> Result<Root, QueryError> {
    let refused = |why: ParseError| QueryError::Bad(format!("{words}{why}"));
    traceql::parse(query).map(|query| query.root).map_err(refused)
}

/// The spans of each trace. A span that was sent twice is answered once. Where they are more than there is room for, those that
/// were read until then, and a sentence that says so.
async fn assemble(
    mut batches: Rows,
    trace_ids: &[TraceId],
    room: &Room,
) -> Result<(Vec<SpanBatch>, Option<String>), QueryError> {
    let mut traces: Vec<Assembled> = trace_ids.iter().map(|_| Assembled::default()).collect();
    let places: HashMap<TraceId, usize> = trace_ids.iter().enumerate().map(|(at, id)| (*id, at)).collect();
    let (mut count, mut cut) = (0, None);
    while let Some(batch) = batches.next().await {
        let batch = batch.map_err(crate::logql::broken)?;
        let of_one = batch.get_array_memory_size() / batch.num_rows().max(1) + size_of::<model::Span>();
        if let Err(no_room) = room.take(COPIES * of_one * batch.num_rows()) {
            if count == 0 {
                return Err(no_room);
            }
            cut = Some(format!("the first {count} spans that were found are answered: {no_room}"));
            break;
        }
        let spans = Spans::of(&batch);
        for row in 0..spans.len() {
            let Some(at) = places.get(&spans.trace_id(row)) else { continue };
            count += usize::from(traces[*at].add(&spans, row));
            if count > TRACE_SPANS_MAX {
                return Err(QueryError::TooMuch(format!("the trace has more than {TRACE_SPANS_MAX} spans")));
            }
        }
    }
    // An id that was asked twice is answered at its last place; copy it to the others.
    let mut done: Vec<SpanBatch> = traces.into_iter().map(Assembled::finish).collect();
    for (at, id) in trace_ids.iter().enumerate() {
        if let Some(last) = places.get(id).filter(|last| **last != at) {
            done[at] = done[*last].clone();
        }
    }
    Ok((done, cut))
}

/// The spans of one trace while they are read.
#[derive(Default)]
struct Assembled {
    resources: Vec<ResourceSpans>,
    known: HashMap<String, usize>,
    /// Each span, and which resource it is of.
    spans: HashMap<copies::Key, (usize, Span)>,
}

impl Assembled {
    /// Whether the span was not there yet.
    fn add(&mut self, spans: &Spans<'_>, row: usize) -> bool {
        let key = copies::key(spans, row);
        let end = copies::end(spans.duration(row), spans.status(row));
        if self.spans.get(&key).is_some_and(|(_, span)| copies::end(span.duration_ns, span.status) >= end) {
            return false;
        }
        let group = spans.to_group(row);
        let at = *self.known.entry(format!("{group:?}")).or_insert_with(|| {
            self.resources.push(group);
            self.resources.len() - 1
        });
        self.spans.insert(key, (at, spans.to_span(row))).is_none()
    }

    fn finish(mut self) -> SpanBatch {
        for (at, span) in self.spans.into_values() {
            self.resources[at].spans.push(span);
        }
        self.resources.retain(|resource| !resource.spans.is_empty());
        for resource in &mut self.resources {
            resource.spans.sort_by_key(|span| (span.start_ns, span.span_id, span.kind as u8));
        }
        self.resources.sort_by_key(|resource| resource.spans.first().map(|span| span.start_ns));
        SpanBatch { resources: self.resources }
    }
}

#[cfg(test)]
mod tests;
