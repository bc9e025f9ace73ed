//! Search in two steps. First a scan of only those columns that the filters read finds the traces in which each filter
//! that must match does match (`candidates`); then these traces are read whole, newest first, and the pipeline is run on each,
//! until there are enough. Where spans tell by columns what a query asks of several of one trace, only traces that have it are
//! candidates: by what is aggregated of them (`aggregates`), or by how they hang together (`sides`), of several pipelines joined by
//! `||` each by itself (`either`), and so of operands of other operators (`operands`). What is asked of the whole trace may leave
//! out others (`facts`), and so how many children a span has (`children`).

mod aggregates;
mod candidates;
mod children;
mod demanded;
mod either;
mod facts;
mod linked;
mod matching;
mod names;
mod operands;
mod sides;
mod tested;
mod told;
mod waiting;

use super::scan::{ScanWith, SpanScan, Told};
use super::sources::columns_of;
use super::spans::Spans;
use super::trace::{Spanset, Trace};
use crate::QueryError;
use crate::logql::operator::Operator;
use crate::room::{Held, Room};
use crate::traceql::COPIES;
use datafusion::execution::TaskContext;
use datafusion::execution::memory_pool::MemoryConsumer;
use datafusion::physical_plan::execute_stream;
use foldhash::fast::RandomState;
use futures::StreamExt;
use model::{SpanId, SpanSelect, TimeRange, TraceId};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use store::{Snapshot, SpanColumns, SpanTest};
use tokio::sync::mpsc;
use traceql::{Element, Field, Pipeline, Scalar, SpansetExpr};
use waiting::{Pace, Waiting};

pub(super) use told::{field_key, value_of};

/// Traces that are read whole at a time.
pub(super) const TRACES_READ: usize = 64;
/// Traces of one answer, as Tempo's default; what they take is bounded besides.
const TRACES_MAX: usize = 262_144;
/// A trace's spans may start this long before or after the asked range.
const TRACE_NS_MAX: i64 = 3_600_000_000_000;

/// Where the spans of traces are read from.
pub(super) fn range_of_traces(range: TimeRange) -> TimeRange {
    TimeRange { start: range.start.saturating_sub(TRACE_NS_MAX), end: range.end.saturating_add(TRACE_NS_MAX) }
}

/// What an answer shows of every trace, and what tells how its spans hang together.
pub(super) const SHOWN: [&str; 9] =
    ["trace_id", "span_id", "parent_span_id", "start_ts", "duration_ns", "service", "name", "kind", "status"];

/// One span of a found trace.
#[derive(Clone, Debug, PartialEq)]
pub struct FoundSpan {
    pub span_id: SpanId,
    pub name: String,
    pub start_ns: i64,
    pub duration_ns: i64,
    /// What the query asked of it: fields of its filters and of `select`.
    pub attributes: Vec<(String, model::Value)>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct FoundSpanset {
    /// The first `spans_per_spanset` of those that match.
    pub spans: Vec<FoundSpan>,
    pub matched: usize,
    pub attributes: Vec<(String, model::Value)>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ServiceStats {
    pub spans: u32,
    pub errors: u32,
}

#[derive(Clone, Debug, PartialEq)]
pub struct FoundTrace {
    pub trace_id: TraceId,
    pub root_service: String,
    pub root_name: String,
    pub start_ns: i64,
    pub duration_ns: i64,
    pub spansets: Vec<FoundSpanset>,
    pub services: BTreeMap<String, ServiceStats>,
}

impl FoundTrace {
    /// About what it takes with what is made of it for an answer.
    fn bytes(&self) -> usize {
        let of_attribute = |(name, value): &(String, model::Value)| {
            let text = match value {
                model::Value::String(text) | model::Value::Json(text) => text.len(),
                _ => 0,
            };
            name.len() + text + size_of::<(String, model::Value)>()
        };
        let of_span = |span: &FoundSpan| {
            let attributes: usize = span.attributes.iter().map(of_attribute).sum();
            size_of::<FoundSpan>() + span.name.len() + attributes
        };
        let spans: usize = self.spansets.iter().flat_map(|set| &set.spans).map(of_span).sum();
        COPIES * (size_of::<FoundTrace>() + 100 * self.services.len() + spans)
    }
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct TraceSearch {
    /// Newest first.
    pub traces: Vec<FoundTrace>,
    pub inspected_spans: u64,
    pub inspected_traces: u64,
    pub warnings: Vec<String>,
    pub held: Held,
}

/// How far a search is.
#[derive(Clone, Debug, PartialEq)]
pub struct SearchProgress {
    /// Found since the last time.
    pub traces: Vec<FoundTrace>,
    pub inspected_spans: u64,
    pub inspected_traces: u64,
    /// Groups of traces that were looked into, and how many there are.
    pub done: usize,
    pub of: usize,
}

#[derive(Clone)]
pub(super) struct Search {
    pub snapshot: Arc<dyn Snapshot>,
    pub context: Arc<TaskContext>,
    pub pipeline: Pipeline,
    pub range: TimeRange,
    pub limit: usize,
    pub spans_per_spanset: usize,
}

/// Every field that the pipeline reads of a span.
pub(super) fn fields_of(pipeline: &Pipeline, see: &mut dyn FnMut(&Field)) {
    for element in &pipeline.elements {
        match element {
            Element::Spansets(expr) => fields_of_expr(expr, see),
            Element::By(expr) => expr.fields(&mut |field| see(field)),
            Element::Select(fields) => fields.iter().for_each(&mut *see),
            Element::Scalar { left, right, .. } => {
                fields_of_scalar(left, see);
                fields_of_scalar(right, see);
            }
            Element::Coalesce => {}
        }
    }
}

fn fields_of_expr(expr: &SpansetExpr, see: &mut dyn FnMut(&Field)) {
    match expr {
        SpansetExpr::Filter(filter) => filter.fields(&mut |field| see(field)),
        SpansetExpr::Pipeline(pipeline) => fields_of(pipeline, see),
        SpansetExpr::Op { left, right, .. } => {
            fields_of_expr(left, see);
            fields_of_expr(right, see);
        }
    }
}

fn fields_of_scalar(scalar: &Scalar, see: &mut dyn FnMut(&Field)) {
    match scalar {
        Scalar::Aggregate(_, expr) => expr.fields(&mut |field| see(field)),
        Scalar::Arithmetic(_, left, right) => {
            fields_of_scalar(left, see);
            fields_of_scalar(right, see);
        }
        Scalar::Count | Scalar::Static(_) => {}
    }
}

/// What a row of a trace that is read whole takes beside its columns.
const ROW_BYTES: usize = 150;

/// What was read whole.
pub(super) struct Whole {
    pub traces: u64,
    pub spans: usize,
}

/// What is done with a trace and the span sets that were found in it.
type Each<'a> = dyn FnMut(TraceId, &Trace<'_>, &[Spanset]) -> Result<(), QueryError> + Send + 'a;

impl Search {
    pub async fn run(self, told: Option<mpsc::Sender<SearchProgress>>) -> Result<TraceSearch, QueryError> {
        let mut found = TraceSearch::default();
        let room = Room::of("found traces", self.context.memory_pool());
        let mut columns = SHOWN.to_vec();
        fields_of(&self.pipeline, &mut |field| columns_of(field, &mut columns));
        let mut slices = self.slices();
        // Traces of which a later slice told, and groups of them that were looked into.
        let (mut known, mut before) = (HashSet::new(), 0);
        let mut pace = Pace::of(&self);
        // Of the newest not all are looked into then.
        if pace.leaves_some
            && let Some(last) = slices.last_mut()
        {
            *last = self.range;
        }
        for (at, slice) in slices.iter().enumerate() {
            let last = at + 1 == slices.len();
            if !last && pace.has_tried() {
                continue;
            }
            let mut waiting = match last {
                true => self.last_waiting(*slice, &mut found).await?,
                false => Waiting::new(self.candidates(*slice, &mut found).await?),
            };
            waiting.ids.retain(|id| !known.contains(id));
            while !waiting.ids.is_empty() && (last || !pace.has_tried()) {
                let chunk = waiting.next(&self, &mut pace, &mut found).await?;
                if chunk.is_empty() {
                    break;
                }
                if !last {
                    known.extend(chunk.iter().copied());
                    candidates::bounded(known.len())?;
                }
                let traces = self.look_into(&chunk, &columns, &mut pace, &mut found).await?;
                room.take(traces.iter().map(FoundTrace::bytes).sum())?;
                before += 1;
                let of = before + waiting.ids.len().div_ceil(pace.traces) + slices.len() - at - 1;
                found.traces.extend(traces.iter().cloned());
                if let Some(told) = &told {
                    let progress = SearchProgress {
                        traces,
                        inspected_spans: found.inspected_spans,
                        inspected_traces: found.inspected_traces,
                        done: before,
                        of,
                    };
                    told.send(progress).await.map_err(|_| QueryError::Cancelled)?;
                }
                if found.traces.len() >= self.limit {
                    break;
                }
            }
            if found.traces.len() >= self.limit {
                break;
            }
        }
        found.traces.sort_by_key(|trace| std::cmp::Reverse(trace.start_ns));
        found.warnings = self.snapshot.warnings();
        found.held = room.into();
        Ok(found)
    }

    /// Traces that may be answers, those with the newest matching spans first; `inspected` grows by the spans looked at.
    pub(super) async fn ids(&self, inspected: &mut u64) -> Result<Vec<TraceId>, QueryError> {
        if let Some(told) = self.told_by_aggregates(inspected).await? {
            return Ok(told.into_iter().map(|(_, id)| id).collect());
        }
        let mut found = TraceSearch::default();
        let ids = self.candidates(self.range, &mut found).await?;
        *inspected += found.inspected_spans;
        Ok(ids)
    }

    /// Answers among these traces, no more than are wanted still: what is told is not taken back.
    async fn look_into(
        &self,
        ids: &[TraceId],
        columns: &[&str],
        pace: &mut Pace,
        found: &mut TraceSearch,
    ) -> Result<Vec<FoundTrace>, QueryError> {
        let mut traces = Vec::new();
        let Whole { traces: inspected, spans } = self
            .whole(ids, columns, &mut |id, trace, spansets| {
                if self.is_candidate(trace) {
                    traces.push(self.answer(id, trace, spansets));
                }
                Ok(())
            })
            .await?;
        found.inspected_traces += inspected;
        pace.went(spans);
        traces.sort_by_key(|trace| std::cmp::Reverse(trace.start_ns));
        traces.truncate(self.limit - found.traces.len());
        Ok(traces)
    }

    fn scan(&self, select: SpanSelect, columns: &[&str]) -> Result<super::Rows, QueryError> {
        let scan = SpanScan { snapshot: self.snapshot.clone(), select, columns: SpanColumns::named(columns) };
        execute_stream(Operator::plan(scan, vec![]), self.context.clone()).map_err(crate::logql::broken)
    }

    /// The same without most of the spans that the test rules out.
    fn scan_tested(
        &self,
        select: SpanSelect,
        columns: &[&str],
        test: SpanTest,
    ) -> Result<super::Rows, QueryError> {
        let scan = SpanScan { snapshot: self.snapshot.clone(), select, columns: SpanColumns::named(columns) };
        let plan = Operator::plan(ScanWith { scan, told: Told::Test(test) }, vec![]);
        execute_stream(plan, self.context.clone()).map_err(crate::logql::broken)
    }

    /// Reads traces whole, runs the pipeline on each and hands on those in which it finds spans, in the order of `ids`.
    pub(super) async fn whole(
        &self,
        ids: &[TraceId],
        columns: &[&str],
        each: &mut Each<'_>,
    ) -> Result<Whole, QueryError> {
        let select = SpanSelect { trace_ids: ids.to_vec(), ..SpanSelect::all(range_of_traces(self.range)) };
        let mut stream = self.scan(select, columns)?;
        let mut batches = Vec::new();
        let reservation = MemoryConsumer::new("traceql traces").register(self.context.memory_pool());
        while let Some(batch) = stream.next().await {
            let batch = batch.map_err(crate::logql::broken)?;
            let bytes = batch.get_array_memory_size() + ROW_BYTES * batch.num_rows();
            reservation.try_grow(bytes).map_err(crate::logql::broken)?;
            batches.push(batch);
        }
        let views: Vec<Spans<'_>> = batches.iter().map(Spans::of).collect();
        let wanted: HashSet<&TraceId, RandomState> = ids.iter().collect();
        let mut rows: HashMap<TraceId, Vec<(&Spans<'_>, usize)>, RandomState> = HashMap::default();
        for spans in &views {
            for row in 0..spans.len() {
                let id = spans.trace_id(row);
                if wanted.contains(&id) {
                    rows.entry(id).or_default().push((spans, row));
                }
            }
        }
        let mut read = Whole { traces: 0, spans: 0 };
        for id in ids {
            let Some(rows) = rows.remove(id) else { continue };
            let trace = Trace::new(rows);
            read.traces += 1;
            read.spans += trace.rows.len();
            let spansets = trace.find(&self.pipeline);
            if !spansets.is_empty() {
                each(*id, &trace, &spansets)?;
            }
        }
        Ok(read)
    }
}

/// The bound on how many traces a search may answer.
pub(super) fn limit(asked: usize) -> Result<usize, QueryError> {
    if asked > TRACES_MAX {
        return Err(QueryError::Bad(format!("limit {asked} exceeds max limit {TRACES_MAX}")));
    }
    Ok(asked.max(1))
}
