//! Search in two steps. First a scan of only those columns that the filters read finds the traces in which each filter
//! that must match does match; then these traces are read whole, newest first, and the pipeline is run on each, until
//! there are enough.

use super::evaluate::SpanAt;
use super::scan::{SpanScan, narrow};
use super::spans::{Spans, Val, columns_of, fields_or_columns_of};
use super::trace::{Spanset, Trace};
use crate::logql::operator::Operator;
use crate::{Limits, QueryError};
use arrow::array::RecordBatch;
use datafusion::execution::TaskContext;
use datafusion::execution::memory_pool::MemoryConsumer;
use datafusion::physical_plan::execute_stream;
use futures::StreamExt;
use model::{SpanId, SpanSelect, StatusCode, TimeRange, TraceId};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use store::{Snapshot, SpanColumns};
use tokio::sync::mpsc;
use traceql::{Answers, Element, Field, FieldExpr, Intrinsic, Pipeline, Scalar, SpansetExpr, SpansetOp};

/// Traces that are read whole at a time.
pub(super) const TRACES_READ: usize = 64;
/// Span filters in one query: each is one bit of a mask.
const FILTERS_MAX: usize = 64;
/// Filters that are read for one by one.
const SCANS_MAX: usize = 4;
/// A trace's spans may start this long before or after the asked range.
const TRACE_NS_MAX: i64 = 3_600_000_000_000;
/// Traces that the first step may remember (about 50 bytes each).
const CANDIDATES_MAX: usize = 4_000_000;
/// What a hash map takes for one: key, value and its byte of metadata.
const CANDIDATE_BYTES: usize = size_of::<TraceId>() + size_of::<Candidate>() + 1;

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

#[derive(Clone, Debug, Default, PartialEq)]
pub struct TraceSearch {
    /// Newest first.
    pub traces: Vec<FoundTrace>,
    pub inspected_spans: u64,
    pub inspected_traces: u64,
    pub warnings: Vec<String>,
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

pub(super) struct Search {
    pub snapshot: Arc<dyn Snapshot>,
    pub context: Arc<TaskContext>,
    pub pipeline: Pipeline,
    pub range: TimeRange,
    pub limit: usize,
    pub spans_per_spanset: usize,
}

/// What the first step found of a trace.
#[derive(Clone, Copy, Default)]
struct Candidate {
    newest_ns: i64,
    /// Which filters matched any of its spans.
    filters: u64,
}

pub(super) fn filters_of<'a>(pipeline: &'a Pipeline, filters: &mut Vec<&'a FieldExpr>) {
    for element in &pipeline.elements {
        if let Element::Spansets(expr) = element {
            filters_of_expr(expr, filters);
        }
    }
}

fn filters_of_expr<'a>(expr: &'a SpansetExpr, filters: &mut Vec<&'a FieldExpr>) {
    match expr {
        SpansetExpr::Filter(filter) => filters.push(filter),
        SpansetExpr::Pipeline(pipeline) => filters_of(pipeline, filters),
        SpansetExpr::Op { left, right, .. } => {
            filters_of_expr(left, filters);
            filters_of_expr(right, filters);
        }
    }
}

/// Whether a trace in which these filters matched can be an answer. `next` counts filters in the order of
/// [`filters_of`].
fn possible(pipeline: &Pipeline, matched: u64, next: &mut usize) -> bool {
    let mut all = true;
    for element in &pipeline.elements {
        if let Element::Spansets(expr) = element {
            all &= possible_expr(expr, matched, next);
        }
    }
    all
}

fn possible_expr(expr: &SpansetExpr, matched: u64, next: &mut usize) -> bool {
    match expr {
        SpansetExpr::Filter(_) => {
            let holds = matched >> *next & 1 == 1;
            *next += 1;
            holds
        }
        SpansetExpr::Pipeline(pipeline) => possible(pipeline, matched, next),
        SpansetExpr::Op { op, left, right } => {
            let left = possible_expr(left, matched, next);
            let right = possible_expr(right, matched, next);
            match op {
                SpansetOp::Or => left || right,
                SpansetOp::Structural(_, Answers::Not) => right,
                SpansetOp::And | SpansetOp::Structural(..) => left && right,
            }
        }
    }
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

/// What is done with a trace and the span sets that were found in it.
type Each<'a> = dyn FnMut(TraceId, &Trace<'_>, &[Spanset]) -> Result<(), QueryError> + Send + 'a;

impl Search {
    pub async fn run(self, told: Option<mpsc::Sender<SearchProgress>>) -> Result<TraceSearch, QueryError> {
        let mut found = TraceSearch::default();
        let candidates = self.candidates(&mut found).await?;
        let chunks = candidates.chunks(TRACES_READ.min(self.limit.max(1)));
        let of = chunks.len();
        for (done, chunk) in chunks.enumerate() {
            let mut traces = Vec::new();
            let mut columns = SHOWN.to_vec();
            fields_of(&self.pipeline, &mut |field| columns_of(field, &mut columns));
            let inspected = self
                .whole(chunk, &columns, &mut |id, trace, spansets| {
                    traces.push(self.answer(id, trace, spansets));
                    Ok(())
                })
                .await?;
            found.inspected_traces += inspected;
            // The last group may find more than is wanted; what is told is not taken back.
            traces.sort_by_key(|trace| std::cmp::Reverse(trace.start_ns));
            traces.truncate(self.limit - found.traces.len());
            match &told {
                Some(told) => {
                    found.traces.extend(traces.iter().cloned());
                    let progress = SearchProgress {
                        traces,
                        inspected_spans: found.inspected_spans,
                        inspected_traces: found.inspected_traces,
                        done: done + 1,
                        of,
                    };
                    told.send(progress).await.map_err(|_| QueryError::Cancelled)?;
                }
                None => found.traces.extend(traces),
            }
            if found.traces.len() >= self.limit {
                break;
            }
        }
        found.traces.sort_by_key(|trace| std::cmp::Reverse(trace.start_ns));
        found.traces.truncate(self.limit);
        found.warnings = self.snapshot.warnings();
        Ok(found)
    }

    fn scan(&self, select: SpanSelect, columns: &[&str]) -> Result<super::Rows, QueryError> {
        let scan = SpanScan { snapshot: self.snapshot.clone(), select, columns: SpanColumns::named(columns) };
        execute_stream(Operator::plan(scan, vec![]), self.context.clone()).map_err(crate::logql::broken)
    }

    /// Ids of traces that may be answers, newest first.
    pub(super) async fn candidates(&self, found: &mut TraceSearch) -> Result<Vec<TraceId>, QueryError> {
        let mut filters = Vec::new();
        filters_of(&self.pipeline, &mut filters);
        if filters.len() > FILTERS_MAX {
            return Err(QueryError::TooMuch(format!("query has more than {FILTERS_MAX} span filters")));
        }
        let mut candidates: HashMap<TraceId, Candidate> = HashMap::new();
        let reservation = MemoryConsumer::new("traceql candidates").register(self.context.memory_pool());
        for (mut select, judged) in self.scans(&filters) {
            let mut columns = vec!["trace_id", "start_ts"];
            for (_, filter) in &judged {
                filter.fields(&mut |field| fields_or_columns_of(field, &mut select.fields, &mut columns));
            }
            let mut batches = self.scan(select, &columns)?;
            while let Some(batch) = batches.next().await {
                let batch = batch.map_err(crate::logql::broken)?;
                found.inspected_spans += batch.num_rows() as u64;
                self.note(&batch, &judged, &mut candidates);
                reservation
                    .try_resize(candidates.capacity() * CANDIDATE_BYTES)
                    .map_err(crate::logql::broken)?;
                if candidates.len() > CANDIDATES_MAX {
                    return Err(QueryError::TooMuch(format!(
                        "more than {CANDIDATES_MAX} traces match a filter of the query; narrow the time range"
                    )));
                }
            }
        }
        let mut ids: Vec<(i64, TraceId)> = candidates
            .into_iter()
            .filter(|(_, candidate)| possible(&self.pipeline, candidate.filters, &mut 0))
            .map(|(id, candidate)| (candidate.newest_ns, id))
            .collect();
        ids.sort_unstable_by(|a, b| b.cmp(a));
        Ok(ids.into_iter().map(|(_, id)| id).collect())
    }

    /// What to read, and which filters, by their number, are judged there. Filters that each narrow what is read are
    /// read for one by one, as together they would read everything.
    fn scans<'a>(&self, filters: &[&'a FieldExpr]) -> Vec<(SpanSelect, Vec<(usize, &'a FieldExpr)>)> {
        let all = SpanSelect::all(self.range);
        let narrowed: Vec<SpanSelect> = filters
            .iter()
            .map(|filter| {
                let mut select = all.clone();
                narrow(&mut select, filter);
                select
            })
            .collect();
        let numbered = filters.iter().copied().enumerate();
        if filters.len() > SCANS_MAX || narrowed.contains(&all) || filters.is_empty() {
            return vec![(all, numbered.collect())];
        }
        narrowed.into_iter().zip(numbered.map(|judged| vec![judged])).collect()
    }

    fn note(
        &self,
        batch: &RecordBatch,
        filters: &[(usize, &FieldExpr)],
        candidates: &mut HashMap<TraceId, Candidate>,
    ) {
        let spans = Spans::of(batch);
        for row in 0..spans.len() {
            let start = spans.start(row);
            if !self.range.contains(start) {
                continue;
            }
            let at = SpanAt { spans: &spans, row, trace: None };
            let mut matched = 0u64;
            for (bit, filter) in filters {
                if at.holds(filter) != Some(false) {
                    matched |= 1 << bit;
                }
            }
            // Without any filter, as in `count() > 2`, every trace is one.
            if matched != 0 || filters.is_empty() {
                let candidate = candidates
                    .entry(spans.trace_id(row))
                    .or_insert(Candidate { newest_ns: i64::MIN, filters: 0 });
                candidate.newest_ns = candidate.newest_ns.max(start);
                candidate.filters |= matched;
            }
        }
    }

    /// Reads traces whole, runs the pipeline on each and hands on those in which it finds spans, in the order of `ids`.
    /// How many traces there were.
    pub(super) async fn whole(
        &self,
        ids: &[TraceId],
        columns: &[&str],
        each: &mut Each<'_>,
    ) -> Result<u64, QueryError> {
        let range = TimeRange {
            start: self.range.start.saturating_sub(TRACE_NS_MAX),
            end: self.range.end.saturating_add(TRACE_NS_MAX),
        };
        let select = SpanSelect { trace_ids: ids.to_vec(), ..SpanSelect::all(range) };
        let mut stream = self.scan(select, columns)?;
        let mut batches = Vec::new();
        let reservation = MemoryConsumer::new("traceql traces").register(self.context.memory_pool());
        while let Some(batch) = stream.next().await {
            let batch = batch.map_err(crate::logql::broken)?;
            reservation.try_grow(batch.get_array_memory_size()).map_err(crate::logql::broken)?;
            batches.push(batch);
        }
        let views: Vec<Spans<'_>> = batches.iter().map(Spans::of).collect();
        let wanted: HashSet<&TraceId> = ids.iter().collect();
        let mut rows: HashMap<TraceId, Vec<(&Spans<'_>, usize)>> = HashMap::new();
        // A span that was sent twice is counted once.
        let mut seen = HashSet::new();
        for spans in &views {
            for row in 0..spans.len() {
                let id = spans.trace_id(row);
                if wanted.contains(&id)
                    && seen.insert((id, spans.span_id(row), spans.kind(row), spans.start(row)))
                {
                    rows.entry(id).or_default().push((spans, row));
                }
            }
        }
        let mut inspected = 0;
        for id in ids {
            let Some(rows) = rows.remove(id) else { continue };
            inspected += 1;
            let trace = Trace::new(rows);
            let spansets = trace.find(&self.pipeline);
            if !spansets.is_empty() {
                each(*id, &trace, &spansets)?;
            }
        }
        Ok(inspected)
    }

    fn answer(&self, trace_id: TraceId, trace: &Trace<'_>, spansets: &[Spanset]) -> FoundTrace {
        let mut services: BTreeMap<String, ServiceStats> = BTreeMap::new();
        for (spans, row) in &trace.rows {
            let service = services.entry(spans.service(*row).to_owned()).or_default();
            service.spans += 1;
            service.errors += u32::from(spans.status(*row) == StatusCode::Error);
        }
        let mut shown: Vec<Field> = Vec::new();
        fields_of(&self.pipeline, &mut |field| {
            // Name and duration stand in every answer as they are.
            let told = matches!(field, Field::Intrinsic(Intrinsic::Name | Intrinsic::Duration));
            if !told && !shown.contains(field) {
                shown.push(field.clone());
            }
        });
        let span = |at: &usize| {
            let (spans, row) = trace.rows[*at];
            let here = trace.at(*at);
            let attributes = shown
                .iter()
                .filter_map(|field| Some((field_key(field), value_of(here.value(field))?)))
                .collect();
            FoundSpan {
                span_id: spans.span_id(row),
                name: spans.name(row).to_owned(),
                start_ns: spans.start(row),
                duration_ns: spans.duration(row),
                attributes,
            }
        };
        let spanset = |set: &Spanset| FoundSpanset {
            spans: set.spans.iter().take(self.spans_per_spanset).map(span).collect(),
            matched: set.spans.len(),
            attributes: set
                .attributes
                .iter()
                // Spans without what they are grouped by are a group as well.
                .map(|(name, value)| {
                    (name.clone(), value_of(value.clone()).unwrap_or_else(|| model::Value::from("nil")))
                })
                .collect(),
        };
        FoundTrace {
            trace_id,
            root_service: trace.facts.root_service.clone(),
            root_name: trace.facts.root_name.clone(),
            start_ns: trace.facts.start_ns,
            duration_ns: trace.facts.end_ns.saturating_sub(trace.facts.start_ns),
            spansets: spansets.iter().map(spanset).collect(),
            services,
        }
    }
}

/// An attribute's name without its scope, as Tempo answers it.
pub(super) fn field_key(field: &Field) -> String {
    match field {
        Field::Attribute { name, .. } => name.clone(),
        Field::Intrinsic(intrinsic) => intrinsic.as_str().to_owned(),
    }
}

pub(super) fn value_of(value: Val<'_>) -> Option<model::Value> {
    Some(match value {
        Val::Unknown | Val::Nil => return None,
        Val::Int(number) | Val::Duration(number) => model::Value::Int(number),
        Val::Float(number) => model::Value::Double(number),
        Val::Text(text) => model::Value::String(text.into_owned()),
        Val::Bool(truth) => model::Value::Bool(truth),
        Val::Status(status) => model::Value::String(status.as_str().to_owned()),
        Val::Kind(kind) => model::Value::String(kind.as_str().to_owned()),
        Val::Array(text) => model::Value::Json(text.to_owned()),
    })
}

/// The bound on how many traces a search may answer.
pub(super) fn limit(asked: usize, limits: &Limits) -> Result<usize, QueryError> {
    if asked > limits.log_entries_max {
        return Err(QueryError::Bad(format!("limit {asked} exceeds max limit {}", limits.log_entries_max)));
    }
    Ok(asked.max(1))
}
