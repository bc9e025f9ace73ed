//! The first step of a search: which traces may be answers.
//!
//! Spans are looked at by several threads. Where one filter decides, the newest part of the range is looked through first, as
//! enough may be found there.

use super::either::branches;
use super::{Search, tested};
use crate::QueryError;
use crate::traceql::evaluate::SpanAt;
use crate::traceql::passing::Passing;
use crate::traceql::scan::narrow;
use crate::traceql::search::TraceSearch;
use crate::traceql::shares::in_shares;
use crate::traceql::sources::fields_or_columns_of;
use crate::traceql::spans::Spans;
use crate::traceql::trace::Trace;
use arrow::array::RecordBatch;
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryReservation};
use foldhash::fast::RandomState;
use futures::StreamExt;
use model::{SpanSelect, TimeRange, TraceId};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use traceql::{Answers, Element, FieldExpr, Pipeline, SpansetExpr, SpansetOp};

/// Span filters in one query: each is one bit of a mask.
const FILTERS_MAX: usize = 64;
/// Filters that are read for one by one.
const SCANS_MAX: usize = 4;
/// Traces that may be remembered (about 50 bytes each).
const CANDIDATES_MAX: usize = 4_000_000;
/// What a hash map takes for one: key, value and its byte of metadata.
const CANDIDATE_BYTES: usize = size_of::<TraceId>() + size_of::<Candidate>() + 1;
/// Parts of the range, the newest first, that are looked through before all of it: each begins anew in the pages of every
/// operation.
const NEWEST_PARTS: [i64; 3] = [64, 16, 4];
/// A range of a few seconds is not divided.
const DIVIDED_NS_MIN: i64 = 60_000_000_000;

/// What the first step found of a trace.
#[derive(Clone, Copy)]
struct Candidate {
    newest_ns: i64,
    /// Which filters matched any of its spans.
    filters: u64,
}

impl Candidate {
    const NONE: Candidate = Candidate { newest_ns: i64::MIN, filters: 0 };
}

/// Hashed with a seed, but not as slowly as by default: every span that matches is looked up.
type ByTrace = HashMap<TraceId, Candidate, RandomState>;

/// What one scan found, with the memory that it takes.
struct Candidates {
    by_trace: ByTrace,
    inspected_spans: u64,
    reservation: MemoryReservation,
}

impl Candidates {
    fn absorb(&mut self, other: Candidates) -> Result<(), QueryError> {
        self.inspected_spans += other.inspected_spans;
        for (id, candidate) in other.by_trace {
            let own = self.by_trace.entry(id).or_insert(Candidate::NONE);
            own.newest_ns = own.newest_ns.max(candidate.newest_ns);
            own.filters |= candidate.filters;
        }
        self.account()
    }

    fn account(&mut self) -> Result<(), QueryError> {
        let bytes = self.by_trace.capacity() * CANDIDATE_BYTES;
        self.reservation.try_resize(bytes).map_err(crate::logql::broken)?;
        bounded(self.by_trace.len())
    }
}

/// Refuses more traces than may be remembered.
pub(super) fn bounded(traces: usize) -> Result<(), QueryError> {
    if traces <= CANDIDATES_MAX {
        return Ok(());
    }
    Err(QueryError::TooMuch(format!(
        "more than {CANDIDATES_MAX} traces match a filter of the query; narrow the time range"
    )))
}

impl Search {
    /// The range, from its newest part on.
    pub(super) fn slices(&self) -> Vec<TimeRange> {
        let mut filters = Vec::new();
        filters_of(&self.pipeline, &mut filters);
        let length_ns = self.range.end.saturating_sub(self.range.start);
        let all = SpanSelect::all(self.range);
        let mut select = all.clone();
        filters.iter().for_each(|filter| narrow(&mut select, filter));
        // A service, a name or a duration alone has much; what is narrowed further is rare, and found quicker at one go.
        select.service = None;
        select.name = None;
        select.duration_ns_min = None;
        // What of a trace matches one filter may lie in another part than what matches the other.
        if filters.len() > 1 || select != all || length_ns < DIVIDED_NS_MIN {
            return vec![self.range];
        }
        let mut end = self.range.end;
        let starts = NEWEST_PARTS.iter().map(|part| self.range.end - length_ns / part);
        let slices = starts.chain([self.range.start]).map(|start| {
            let slice = TimeRange { start, end };
            end = start - 1;
            slice
        });
        slices.collect()
    }

    /// Ids of traces that may be answers, those with the newest matching spans first.
    pub(in crate::traceql) async fn candidates(
        &self,
        range: TimeRange,
        found: &mut TraceSearch,
    ) -> Result<Vec<TraceId>, QueryError> {
        let newest = self.newest_candidates(range, &mut found.inspected_spans).await?;
        Ok(newest.into_iter().map(|(_, id)| id).collect())
    }

    /// The same with when they begin.
    pub(super) async fn newest_candidates(
        &self,
        range: TimeRange,
        inspected: &mut u64,
    ) -> Result<Vec<(i64, TraceId)>, QueryError> {
        let mut filters = Vec::new();
        filters_of(&self.pipeline, &mut filters);
        let mut all = self.no_candidates();
        let names = match filters.as_slice() {
            [filter] if self.wants_names(filter, range) => self.names_like(filter, range).await?,
            _ => None,
        };
        match names {
            Some(names) => {
                for name in names {
                    let select = SpanSelect { name: Some(name), ..SpanSelect::all(range) };
                    self.add_candidates(select, &mut all).await?;
                }
            }
            None => self.add_candidates(SpanSelect::all(range), &mut all).await?,
        }
        *inspected += all.inspected_spans;
        let mut ids: Vec<(i64, TraceId)> = all
            .by_trace
            .into_iter()
            .filter(|(_, candidate)| possible(&self.pipeline, candidate.filters, &mut 0))
            .map(|(id, candidate)| (candidate.newest_ns, id))
            .collect();
        ids.sort_unstable_by(|a, b| b.cmp(a));
        Ok(ids)
    }

    /// Whether each filter that must match may do so of a span in the range, as it does in every candidate that is told by filters:
    /// of a trace spans around the range are read, too. Of pipelines joined by `||` it is asked of one that finds something, whether
    /// each was told alone or not.
    pub(super) fn is_candidate(&self, trace: &Trace<'_>) -> bool {
        if trace.rows.iter().all(|(spans, row)| self.range.contains(spans.start(*row))) {
            return true;
        }
        match branches(&self.pipeline) {
            Some(branches) => branches
                .iter()
                .any(|branch| may_match(branch, self.range, trace) && !trace.find(branch).is_empty()),
            None => may_match(&self.pipeline, self.range, trace),
        }
    }

    /// Not of what is narrowed by something else, and not in the newest part: what many have is found there as it is.
    fn wants_names(&self, filter: &FieldExpr, range: TimeRange) -> bool {
        let all = SpanSelect::all(range);
        let mut select = all.clone();
        narrow(&mut select, filter);
        select == all && (range.end != self.range.end || range == self.range)
    }

    fn no_candidates(&self) -> Candidates {
        let reservation = MemoryConsumer::new("traceql candidates").register(self.context.memory_pool());
        Candidates { by_trace: ByTrace::default(), inspected_spans: 0, reservation }
    }

    /// Of spans that are selected. Where a trace must have spans of every filter, the rarest is looked for first, and what
    /// is looked for then is of those traces alone: most have spans of what is common.
    async fn add_candidates(&self, select: SpanSelect, all: &mut Candidates) -> Result<(), QueryError> {
        let mut filters = Vec::new();
        filters_of(&self.pipeline, &mut filters);
        if filters.len() > FILTERS_MAX {
            return Err(QueryError::TooMuch(format!("query has more than {FILTERS_MAX} span filters")));
        }
        let demands_all = demands_all(&self.pipeline);
        let numbered = filters.iter().copied().enumerate();
        let (mut sought, of_any): (Vec<_>, Vec<_>) =
            numbered.partition(|(_, filter)| !demands_all || tested::is_of_spans(filter));
        // What any span may match each trace has that has something else.
        let mut had = of_any.iter().fold(0u64, |bits, (filter, _)| bits | 1 << filter);
        if sought.is_empty() {
            (sought, had) = (of_any, 0);
        }
        let mut scans = scans(&select, &sought);
        let demanded = scans.len() > 1 && demands_all;
        if demanded {
            scans.sort_by_key(|scan| how_common(&scan.select));
        }
        let mut judged = 0u64;
        for (at, scan) in scans.into_iter().enumerate() {
            if demanded && at > 0 && all.by_trace.is_empty() {
                break;
            }
            let among = (demanded && at > 0).then(|| Arc::new(all.by_trace.keys().copied().collect()));
            judged |= scan.filters.iter().fold(0, |bits, filter| bits | 1 << filter);
            let shares = in_shares(|share| {
                let mut scan = scan.clone();
                scan.select.share = Some(share);
                let (own, among) = (self.clone(), among.clone());
                async move { own.share_of_candidates(scan, among).await }
            })
            .await?;
            shares.into_iter().try_for_each(|share| all.absorb(share))?;
            if demanded {
                all.by_trace.retain(|_, candidate| candidate.filters & judged == judged);
            }
        }
        all.by_trace.values_mut().for_each(|candidate| candidate.filters |= had);
        Ok(())
    }

    async fn share_of_candidates(
        &self,
        scan: Scan,
        among: Option<Arc<HashSet<TraceId, RandomState>>>,
    ) -> Result<Candidates, QueryError> {
        let mut all = Vec::new();
        filters_of(&self.pipeline, &mut all);
        let judged: Vec<(usize, &FieldExpr)> =
            scan.filters.iter().filter_map(|at| Some((*at, *all.get(*at)?))).collect();
        let (range, mut select) = (scan.select.range, scan.select);
        let mut columns = vec!["trace_id", "start_ts"];
        for (_, filter) in &judged {
            filter.fields(&mut |field| fields_or_columns_of(field, &mut select.fields, &mut columns));
        }
        let mut found = self.no_candidates();
        let filters: Vec<&FieldExpr> = judged.iter().map(|(_, filter)| *filter).collect();
        let mut batches = match tested::test_of(&filters) {
            Some(test) => self.scan_tested(select, &columns, test)?,
            None => self.scan(select, &columns)?,
        };
        while let Some(batch) = batches.next().await {
            let batch = batch.map_err(crate::logql::broken)?;
            found.inspected_spans += batch.num_rows() as u64;
            note(&batch, range, &judged, among.as_deref(), &mut found.by_trace);
            found.account()?;
        }
        Ok(found)
    }
}

/// What to read, and which filters, by their number, are judged there.
#[derive(Clone)]
struct Scan {
    select: SpanSelect,
    filters: Vec<usize>,
}

/// Roughly how many spans a selection has, the fewest first.
pub(super) fn how_common(select: &SpanSelect) -> u8 {
    match select {
        SpanSelect { attributes, trace_ids, .. } if !attributes.is_empty() || !trace_ids.is_empty() => 0,
        SpanSelect { errors_only: true, .. } => 1,
        SpanSelect { duration_ns_min: Some(_), .. } => 2,
        SpanSelect { name: Some(_), .. } => 3,
        _ => 4,
    }
}

/// Whether an answer has spans of every filter.
fn demands_all(pipeline: &Pipeline) -> bool {
    fn of_expr(expr: &SpansetExpr) -> bool {
        match expr {
            SpansetExpr::Filter(_) => true,
            SpansetExpr::Pipeline(pipeline) => demands_all(pipeline),
            SpansetExpr::Op { op: SpansetOp::Or | SpansetOp::Structural(_, Answers::Not), .. } => false,
            SpansetExpr::Op { left, right, .. } => of_expr(left) && of_expr(right),
        }
    }
    pipeline.elements.iter().all(|element| match element {
        Element::Spansets(expr) => of_expr(expr),
        _ => true,
    })
}

/// Filters that each narrow what is read are read for one by one, as together they would read everything.
fn scans(all: &SpanSelect, filters: &[(usize, &FieldExpr)]) -> Vec<Scan> {
    let narrowed: Vec<SpanSelect> = filters
        .iter()
        .map(|(_, filter)| {
            let mut select = all.clone();
            narrow(&mut select, filter);
            select
        })
        .collect();
    if filters.len() > SCANS_MAX || narrowed.contains(all) || filters.is_empty() {
        return vec![Scan { select: all.clone(), filters: filters.iter().map(|(at, _)| *at).collect() }];
    }
    let numbers = filters.iter().map(|(at, _)| *at);
    numbers.zip(narrowed).map(|(at, select)| Scan { select, filters: vec![at] }).collect()
}

fn note(
    batch: &RecordBatch,
    range: TimeRange,
    filters: &[(usize, &FieldExpr)],
    among: Option<&HashSet<TraceId, RandomState>>,
    candidates: &mut ByTrace,
) {
    let spans = Spans::of(batch);
    let mut matched = vec![0u64; spans.len()];
    for (bit, filter) in filters {
        let mut passing = vec![true; spans.len()];
        Passing::new(filter).judge(&spans, &mut passing);
        matched.iter_mut().zip(passing).for_each(|(bits, passes)| *bits |= u64::from(passes) << *bit);
    }
    for (row, matched) in matched.into_iter().enumerate() {
        let start = spans.start(row);
        // Without any filter, as in `count() > 2`, every trace is one.
        if !range.contains(start) || matched == 0 && !filters.is_empty() {
            continue;
        }
        let id = spans.trace_id(row);
        if among.is_some_and(|among| !among.contains(&id)) {
            continue;
        }
        let candidate = candidates.entry(id).or_insert(Candidate::NONE);
        candidate.newest_ns = candidate.newest_ns.max(start);
        candidate.filters |= matched;
    }
}

/// Whether each filter that must match may do so of a span of the trace in the range.
fn may_match(pipeline: &Pipeline, range: TimeRange, trace: &Trace<'_>) -> bool {
    let mut filters = Vec::new();
    filters_of(pipeline, &mut filters);
    if filters.len() > FILTERS_MAX {
        return true;
    }
    let within = |row: &&(&Spans<'_>, usize)| range.contains(row.0.start(row.1));
    let (mut matched, mut any) = (0u64, false);
    for &(spans, row) in trace.rows.iter().filter(within) {
        let at = SpanAt { spans, row, trace: None };
        let holds = filters.iter().map(|filter| at.holds(filter) != Some(false));
        matched |= holds.zip(0..FILTERS_MAX).fold(0u64, |bits, (holds, at)| bits | u64::from(holds) << at);
        any = true;
    }
    any && possible(pipeline, matched, &mut 0)
}

fn filters_of<'a>(pipeline: &'a Pipeline, filters: &mut Vec<&'a FieldExpr>) {
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

#[cfg(test)]
mod tests {
    use super::*;
    use traceql::Root;

    fn pipeline(query: &str) -> Pipeline {
        match traceql::parse(query).unwrap().root {
            Root::Spansets(pipeline) => pipeline,
            Root::Metrics(_) => panic!("{query} is of metrics"),
        }
    }

    #[test]
    fn what_is_rare_is_looked_for_first_where_all_is_demanded() {
        for (query, demanded) in [
            ("{ status = error } >> { name = `a` }", true),
            ("{ status = error } && ({ name = `a` } | count() > 1)", true),
            ("{ status = error } || { name = `a` }", false),
            ("{ status = error } !> { name = `a` }", false),
            ("{ name = `a` } | { status = error } | by(name)", true),
        ] {
            assert_eq!(demands_all(&pipeline(query)), demanded, "{query}");
        }
        let of = pipeline("{ resource.service.name = `s` } >> { name = `a` } >> { status = error }");
        let mut filters = vec![];
        filters_of(&of, &mut filters);
        let numbered: Vec<(usize, &FieldExpr)> = filters.into_iter().enumerate().collect();
        let mut all = scans(&SpanSelect::all(TimeRange::ALL), &numbered);
        all.sort_by_key(|scan| how_common(&scan.select));
        let order: Vec<usize> = all.iter().flat_map(|scan| scan.filters.clone()).collect();
        assert_eq!(order, [2, 1, 0]);
    }
}
