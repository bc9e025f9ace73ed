//! What of a trace is known without reading it whole: when it begins and ends, its root, how many spans it has. Where a query
//! demands it of the whole trace, those that do not have it need not be read whole, which for a rare one would be all of them.
//!
//! The indexes of stored parts tell it, in milliseconds; where one is too old to, a scan of few columns does.

use super::{Search, range_of_traces};
use crate::QueryError;
use crate::traceql::alike::{Known, conditions};
use crate::traceql::bounds::Bound;
use crate::traceql::evaluate::SpanAt;
use crate::traceql::scan::turned;
use crate::traceql::shares::{in_shares, shares};
use crate::traceql::spans::Spans;
use crate::traceql::trace::{Trace, TraceFacts};
use arrow::array::RecordBatch;
use arrow::datatypes::Schema;
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryReservation};
use foldhash::fast::RandomState;
use futures::StreamExt;
use model::{SpanId, SpanSelect, TraceId};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use store::RootNames;
use traceql::{
    Aggregate, Answers, CompareOp, Element, Field, FieldExpr, Intrinsic, Pipeline, Scalar, SpansetExpr,
    SpansetOp, Static,
};

/// What a query demands of every trace that is an answer.
struct Demands<'a> {
    conditions: Vec<Condition<'a>>,
    /// The spans of the trace, whichever match.
    counts: Vec<(CompareOp, f64)>,
    /// Nanoseconds that some of its spans took together, at least.
    sums: Vec<f64>,
    roots: bool,
    /// Nothing else is asked of single spans: what has all this is a candidate.
    only: bool,
}

/// Of the whole trace alone.
struct Condition<'a> {
    expr: &'a FieldExpr,
    of_duration: bool,
    of_root: bool,
    /// It is one for the duration.
    bound: Option<Bound>,
}

impl<'a> Condition<'a> {
    fn new(expr: &'a FieldExpr) -> Condition<'a> {
        let (mut of_duration, mut of_root) = (false, false);
        expr.fields(&mut |field| {
            let duration = *field == Field::Intrinsic(Intrinsic::TraceDuration);
            of_duration |= duration;
            of_root |= !duration;
        });
        let bound = Bound::on(Intrinsic::TraceDuration, expr).filter(Bound::is_one_sided);
        Condition { expr, of_duration, of_root, bound }
    }
}

impl<'a> Demands<'a> {
    /// `None` where it can be told of no trace without reading it.
    fn of(pipeline: &'a Pipeline) -> Option<Demands<'a>> {
        let mut demands =
            Demands { conditions: vec![], counts: vec![], sums: vec![], roots: false, only: true };
        demands.pipeline(pipeline);
        demands.roots = demands.conditions.iter().any(|condition| condition.of_root);
        let asks = !demands.conditions.is_empty() || !demands.counts.is_empty() || !demands.sums.is_empty();
        asks.then_some(demands)
    }

    fn pipeline(&mut self, pipeline: &'a Pipeline) {
        for element in &pipeline.elements {
            match element {
                Element::Spansets(expr) => self.spansets(expr),
                // No group has more spans than the trace.
                Element::Scalar { left: Scalar::Count, op, right: Scalar::Static(least) } => {
                    self.counts.extend(least.number().and_then(|least| at_least(*op, least)));
                }
                // Nor takes any of its spans longer than the trace.
                Element::Scalar {
                    left:
                        Scalar::Aggregate(Aggregate::Sum, FieldExpr::Field(Field::Intrinsic(Intrinsic::Duration))),
                    op,
                    right: Scalar::Static(least),
                } => {
                    let least = least.number().and_then(|least| at_least(*op, least));
                    self.sums.extend(least.map(|(_, least)| least));
                }
                _ => {}
            }
        }
    }

    fn spansets(&mut self, expr: &'a SpansetExpr) {
        match expr {
            SpansetExpr::Filter(filter) => {
                for condition in conditions(filter) {
                    let everything = matches!(condition, FieldExpr::Static(Static::Bool(true)));
                    let (of_trace, of_spans) = (of_trace(condition), spans_for(condition));
                    self.only &= of_trace || everything || of_spans.is_some();
                    self.counts.extend(of_spans);
                    self.conditions.extend(of_trace.then(|| Condition::new(condition)));
                }
            }
            SpansetExpr::Pipeline(pipeline) => self.pipeline(pipeline),
            SpansetExpr::Op { op, left, right } => match op {
                SpansetOp::Or => self.only = false,
                SpansetOp::Structural(_, Answers::Not) => self.spansets(right),
                SpansetOp::And | SpansetOp::Structural(..) => {
                    self.spansets(left);
                    self.spansets(right);
                }
            },
        }
    }
}

/// What is larger than it, or as large; `None` where it may be anything.
fn at_least(op: CompareOp, number: f64) -> Option<(CompareOp, f64)> {
    match op {
        CompareOp::Greater => Some((op, number)),
        CompareOp::GreaterEqual | CompareOp::Equal => Some((CompareOp::GreaterEqual, number)),
        _ => None,
    }
}

/// A condition that compares an intrinsic with a number, which stands on its right then.
pub(super) fn compared(condition: &FieldExpr) -> Option<(CompareOp, Intrinsic, f64)> {
    let FieldExpr::Compare(op, left, right) = condition else { return None };
    match (left.as_ref(), right.as_ref()) {
        (FieldExpr::Field(Field::Intrinsic(intrinsic)), FieldExpr::Static(number)) => {
            Some((*op, *intrinsic, number.number()?))
        }
        (FieldExpr::Static(number), FieldExpr::Field(Field::Intrinsic(intrinsic))) => {
            Some((turned(*op), *intrinsic, number.number()?))
        }
        _ => None,
    }
}

/// How many spans a trace has of which one has so many children, which are beside it, or so high a number in the walk through all,
/// in which each span takes two.
fn spans_for(condition: &FieldExpr) -> Option<(CompareOp, f64)> {
    let (op, intrinsic, number) = compared(condition).filter(|(.., number)| *number > 0.0)?;
    let spans = match intrinsic {
        Intrinsic::ChildCount => number + 1.0,
        Intrinsic::NestedSetRight => number / 2.0,
        Intrinsic::NestedSetLeft | Intrinsic::NestedSetParent => (number + 1.0) / 2.0,
        _ => return None,
    };
    // One span each trace has.
    at_least(op, spans).filter(|(_, least)| *least > 1.0)
}

/// Whether a condition is of the whole trace alone.
fn of_trace(condition: &FieldExpr) -> bool {
    let (mut some, mut only) = (false, true);
    condition.fields(&mut |field| {
        some = true;
        only &= matches!(
            field,
            Field::Intrinsic(Intrinsic::TraceDuration | Intrinsic::RootName | Intrinsic::RootService)
        );
    });
    some && only
}

const MS: i64 = 1_000_000;
/// What is summed up is rounded.
const SUMMED: f64 = 1.0 + 1e-6;

#[derive(Clone)]
struct Fact {
    start_ns: i64,
    end_ns: i64,
    spans: u32,
}

/// The first span without a parent, and the number of its service and name.
type Root = Option<(i64, SpanId, u32)>;

impl Fact {
    const NONE: Fact = Fact { start_ns: i64::MAX, end_ns: i64::MIN, spans: 0 };

    fn absorb(&mut self, other: &Fact) {
        self.start_ns = self.start_ns.min(other.start_ns);
        self.end_ns = self.end_ns.max(other.end_ns);
        self.spans = self.spans.saturating_add(other.spans);
    }
}

fn first(own: Root, other: Root) -> Root {
    match (own, other) {
        (Some(own), Some(other)) => Some(own.min(other)),
        (own, other) => own.or(other),
    }
}

/// Of each trace by its place.
struct Facts {
    of_traces: Vec<Fact>,
    /// Empty where nobody asks for roots.
    of_roots: Vec<Root>,
    roots: RootNames,
}

impl Facts {
    fn new(traces: usize, wants_roots: bool) -> Facts {
        let of_roots = vec![None; if wants_roots { traces } else { 0 }];
        Facts { of_traces: vec![Fact::NONE; traces], of_roots, roots: RootNames::default() }
    }

    fn absorb(&mut self, other: &Facts) {
        self.of_traces.iter_mut().zip(&other.of_traces).for_each(|(own, fact)| own.absorb(fact));
        let renamed = self.roots.absorb(&other.roots);
        for (own, root) in self.of_roots.iter_mut().zip(&other.of_roots) {
            *own = first(*own, root.map(|(start, id, number)| (start, id, renamed[number as usize])));
        }
    }
}

impl Search {
    /// Whether [`Search::without_impossible`] can tell anything.
    pub(super) fn demands_of_traces(&self) -> bool {
        Demands::of(&self.pipeline).is_some()
    }

    /// Whether the traces that [`Search::told_by_indexes`] gives are all that can be answers.
    pub(super) fn demands_nothing_else(&self) -> bool {
        Demands::of(&self.pipeline).is_some_and(|demands| demands.only)
    }

    /// Traces of the range that have what the query demands of a whole trace, those that began last first; `None` where the
    /// indexes do not tell.
    pub(super) async fn told_by_indexes(&self) -> Result<Option<Vec<TraceId>>, QueryError> {
        let shares = in_shares(|share| {
            let own = self.clone();
            async move { own.share_told_by_indexes(share).await }
        })
        .await?;
        let (mut all, mut reservations) = (vec![], vec![]);
        for share in shares {
            let Some((traces, reservation)) = share else { return Ok(None) };
            all.extend(traces);
            reservations.push(reservation);
        }
        super::candidates::bounded(all.len())?;
        all.sort_unstable_by(|a, b| b.cmp(a));
        Ok(Some(all.into_iter().map(|(_, id)| id).collect()))
    }

    async fn share_told_by_indexes(
        &self,
        share: (usize, usize),
    ) -> Result<Option<(Vec<(i64, TraceId)>, MemoryReservation)>, QueryError> {
        let Some(demands) = Demands::of(&self.pipeline) else { return Ok(None) };
        let whole = range_of_traces(self.range);
        let Some(mut told) = self.snapshot.trace_facts(whole, share).await? else { return Ok(None) };
        let reservation = MemoryConsumer::new("traceql facts").register(self.context.memory_pool());
        let empty = RecordBatch::new_empty(Arc::new(Schema::empty()));
        let nothing = Spans::of(&empty);
        let mut judge = Judge::new(&demands, &nothing);
        let mut found = vec![];
        while let Some(slice) = told.slices.next().await {
            for fact in &slice {
                let (start_ns, end_ns) = (fact.start_ms.saturating_mul(MS), fact.end_ms.saturating_mul(MS));
                let longest_ns = end_ns.saturating_sub(start_ns);
                // Of a trace that goes on beyond where it is read, the index knows more than is read.
                let is_cut = start_ns < whole.start || end_ns > whole.end;
                let known = KnownOf {
                    spans: fact.spans,
                    // Either end may lie anywhere in its millisecond.
                    shortest_ns: if is_cut { 0 } else { longest_ns.saturating_sub(2 * MS).max(0) },
                    longest_ns,
                    root: match fact.root {
                        store::Root::None => RootOf::None,
                        _ if is_cut => RootOf::Uncertain,
                        store::Root::One(number) => {
                            told.roots.get(number).map_or(RootOf::Uncertain, |root| RootOf::One(number, root))
                        }
                        store::Root::Uncertain => RootOf::Uncertain,
                    },
                };
                if start_ns <= self.range.end && end_ns >= self.range.start && judge.possible(&known) {
                    found.push((fact.start_ms, fact.id));
                }
            }
            let bytes = found.capacity() * size_of::<(i64, TraceId)>();
            reservation.try_resize(bytes).map_err(crate::logql::broken)?;
        }
        Ok(Some((found, reservation)))
    }

    /// The traces that have what the query demands of a whole trace, in their order.
    pub(super) async fn without_impossible(&self, ids: Vec<TraceId>) -> Result<Vec<TraceId>, QueryError> {
        match self.told_by_indexes().await? {
            Some(told) => {
                let told: HashSet<TraceId, RandomState> = told.into_iter().collect();
                Ok(ids.into_iter().filter(|id| told.contains(id)).collect())
            }
            None => self.without_impossible_by_spans(ids).await,
        }
    }

    /// The same by a scan of few columns. Exact in what it leaves out: spans are read from where traces are read whole.
    async fn without_impossible_by_spans(&self, ids: Vec<TraceId>) -> Result<Vec<TraceId>, QueryError> {
        let Some(demands) = Demands::of(&self.pipeline) else { return Ok(ids) };
        let places: HashMap<TraceId, u32> = ids.iter().copied().zip(0..).collect();
        let reservation = MemoryConsumer::new("traceql facts").register(self.context.memory_pool());
        let of_one = size_of::<Fact>() + if demands.roots { size_of::<Root>() } else { 0 };
        let bytes = places.capacity() * size_of::<(TraceId, u32)>() + ids.len() * shares() * of_one;
        reservation.try_grow(bytes).map_err(crate::logql::broken)?;
        let places = Arc::new(places);
        let mut told = in_shares(|share| {
            let (own, places) = (self.clone(), places.clone());
            async move { own.share_of_facts(&places, share).await }
        })
        .await?
        .into_iter();
        let Some(mut all) = told.next() else { return Ok(ids) };
        told.for_each(|share| all.absorb(&share));
        let empty = RecordBatch::new_empty(Arc::new(Schema::empty()));
        let nothing = Spans::of(&empty);
        let mut judge = Judge::new(&demands, &nothing);
        let possible = |(place, _): &(usize, TraceId)| {
            let fact = &all.of_traces[*place];
            let root = all.of_roots.get(*place).copied().flatten();
            let duration_ns = fact.end_ns.saturating_sub(fact.start_ns);
            let known = KnownOf {
                spans: fact.spans,
                shortest_ns: duration_ns,
                longest_ns: duration_ns,
                root: root.map_or(RootOf::None, |(.., number)| {
                    all.roots.get(number).map_or(RootOf::Uncertain, |root| RootOf::One(number, root))
                }),
            };
            // Not there any more, or not within what is read of a trace: who reads it whole will see.
            fact.spans == 0 || judge.possible(&known)
        };
        Ok(ids.into_iter().enumerate().filter(possible).map(|(_, id)| id).collect())
    }

    async fn share_of_facts(
        &self,
        places: &HashMap<TraceId, u32>,
        share: (usize, usize),
    ) -> Result<Facts, QueryError> {
        let range = range_of_traces(self.range);
        let wants_roots = Demands::of(&self.pipeline).is_some_and(|demands| demands.roots);
        let mut columns = vec!["trace_id", "start_ts", "duration_ns"];
        if wants_roots {
            columns.extend(["span_id", "parent_span_id", "service", "name"]);
        }
        let mut batches = self.scan(SpanSelect { share: Some(share), ..SpanSelect::all(range) }, &columns)?;
        let mut facts = Facts::new(places.len(), wants_roots);
        while let Some(batch) = batches.next().await {
            let batch = batch.map_err(crate::logql::broken)?;
            let spans = Spans::of(&batch);
            for row in 0..spans.len() {
                let Some(place) = places.get(&spans.trace_id(row)) else { continue };
                let place = *place as usize;
                let start_ns = spans.start(row);
                let end_ns = start_ns.saturating_add(spans.duration(row));
                facts.of_traces[place].absorb(&Fact { start_ns, end_ns, spans: 1 });
                if wants_roots && spans.parent(row).is_none() {
                    let number = facts.roots.number(spans.service(row), spans.name(row));
                    let root = Some((start_ns, spans.span_id(row), number));
                    facts.of_roots[place] = first(facts.of_roots[place], root);
                }
            }
        }
        Ok(facts)
    }
}

/// What is known of one trace.
struct KnownOf<'k> {
    spans: u32,
    /// It takes something in between.
    shortest_ns: i64,
    longest_ns: i64,
    root: RootOf<'k>,
}

enum RootOf<'k> {
    None,
    /// Its number, service and name.
    One(u32, &'k (String, String)),
    Uncertain,
}

/// Judges traces one after the other.
struct Judge<'a> {
    demands: &'a Demands<'a>,
    /// Takes what is known of each.
    trace: Trace<'a>,
    /// What a trace without a root says.
    no_root: (String, String),
    /// Whether what is asked of the root alone may hold, by one more than the root's number: many traces have the same.
    of_roots: Known<bool>,
    /// No span.
    nothing: &'a Spans<'a>,
}

impl<'a> Judge<'a> {
    fn new(demands: &'a Demands<'a>, nothing: &'a Spans<'a>) -> Judge<'a> {
        let facts = TraceFacts::unknown();
        let no_root = (facts.root_service.clone(), facts.root_name.clone());
        let (trace, of_roots) = (Trace { rows: vec![], facts }, Known::default());
        Judge { demands, trace, no_root, of_roots, nothing }
    }

    fn possible(&mut self, known: &KnownOf<'_>) -> bool {
        let (demands, nothing) = (self.demands, self.nothing);
        let Judge { trace, no_root, of_roots, .. } = self;
        let spans = f64::from(known.spans);
        if !demands.counts.iter().all(|(op, least)| op.holds(spans.total_cmp(least))) {
            return false;
        }
        let most = spans * known.longest_ns as f64 * SUMMED;
        if !demands.sums.iter().all(|least| most >= *least) {
            return false;
        }
        let within = |bound: &Bound| bound.holds(known.longest_ns) || bound.holds(known.shortest_ns);
        if !demands.conditions.iter().filter_map(|condition| condition.bound.as_ref()).all(within) {
            return false;
        }
        let others = || demands.conditions.iter().filter(|condition| condition.bound.is_none());
        let root = match known.root {
            RootOf::None => Some((0, &*no_root)),
            RootOf::One(number, root) => Some((number.saturating_add(1), root)),
            RootOf::Uncertain => None,
        };
        if let Some((number, root)) = root.filter(|_| demands.roots) {
            let may_be = of_roots.get(number, || {
                trace.facts.take_root(root);
                others()
                    .filter(|condition| !condition.of_duration)
                    .all(|one| may_hold(one.expr, trace, nothing))
            });
            if !may_be {
                return false;
            }
        }
        // What else is asked of the duration, it takes the very one.
        let is_exact = known.shortest_ns == known.longest_ns;
        let mut of_both = others().filter(|condition| condition.of_duration && is_exact);
        of_both.all(|condition| {
            if condition.of_root {
                let Some((_, root)) = root else { return true };
                trace.facts.take_root(root);
            }
            (trace.facts.start_ns, trace.facts.end_ns) = (0, known.longest_ns);
            may_hold(condition.expr, trace, nothing)
        })
    }
}

fn may_hold(condition: &FieldExpr, trace: &Trace<'_>, nothing: &Spans<'_>) -> bool {
    let at = SpanAt { spans: nothing, row: 0, trace: Some((trace, 0)) };
    at.holds(condition) != Some(false)
}
