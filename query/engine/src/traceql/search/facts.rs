//! What of a trace few columns tell: when it begins and ends, its root, how many spans it has. Where a query demands it of the
//! whole trace, those that do not have it need not be read whole, which for a rare one would be all of them.

use super::{Search, TRACE_NS_MAX};
use crate::QueryError;
use crate::traceql::alike::conditions;
use crate::traceql::evaluate::SpanAt;
use crate::traceql::shares::{in_shares, shares};
use crate::traceql::spans::Spans;
use crate::traceql::trace::{Trace, TraceFacts};
use arrow::array::RecordBatch;
use arrow::datatypes::Schema;
use datafusion::execution::memory_pool::MemoryConsumer;
use futures::StreamExt;
use model::{SpanId, SpanSelect, TimeRange, TraceId};
use std::collections::HashMap;
use std::sync::Arc;
use traceql::{
    Answers, CompareOp, Element, Field, FieldExpr, Intrinsic, Pipeline, Scalar, SpansetExpr, SpansetOp,
};

/// What a query demands of every trace that is an answer.
struct Demands<'a> {
    conditions: Vec<&'a FieldExpr>,
    /// The spans of the trace, whichever match.
    counts: Vec<(CompareOp, f64)>,
    roots: bool,
}

impl<'a> Demands<'a> {
    /// `None` where few columns cannot tell any of it.
    fn of(pipeline: &'a Pipeline) -> Option<Demands<'a>> {
        let mut demands = Demands { conditions: vec![], counts: vec![], roots: false };
        demands.pipeline(pipeline);
        for condition in &demands.conditions {
            condition.fields(&mut |field| {
                demands.roots |= *field != Field::Intrinsic(Intrinsic::TraceDuration);
            });
        }
        (!demands.conditions.is_empty() || !demands.counts.is_empty()).then_some(demands)
    }

    fn pipeline(&mut self, pipeline: &'a Pipeline) {
        for element in &pipeline.elements {
            match element {
                Element::Spansets(expr) => self.spansets(expr),
                // No group has more spans than the trace.
                Element::Scalar { left: Scalar::Count, op, right: Scalar::Static(least) } => {
                    let bounds =
                        matches!(op, CompareOp::Greater | CompareOp::GreaterEqual | CompareOp::Equal);
                    let op = if *op == CompareOp::Greater { *op } else { CompareOp::GreaterEqual };
                    self.counts.extend(least.number().filter(|_| bounds).map(|least| (op, least)));
                }
                _ => {}
            }
        }
    }

    fn spansets(&mut self, expr: &'a SpansetExpr) {
        match expr {
            SpansetExpr::Filter(filter) => {
                self.conditions.extend(conditions(filter).into_iter().filter(|one| of_trace(one)));
            }
            SpansetExpr::Pipeline(pipeline) => self.pipeline(pipeline),
            SpansetExpr::Op { op, left, right } => match op {
                SpansetOp::Or => {}
                SpansetOp::Structural(_, Answers::Not) => self.spansets(right),
                SpansetOp::And | SpansetOp::Structural(..) => {
                    self.spansets(left);
                    self.spansets(right);
                }
            },
        }
    }
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

/// Services and names of roots.
#[derive(Default)]
struct Roots {
    numbers: HashMap<(String, String), u32>,
    all: Vec<(String, String)>,
}

impl Roots {
    fn number(&mut self, service: &str, name: &str) -> u32 {
        let root = (service.to_owned(), name.to_owned());
        let next = self.all.len() as u32;
        *self.numbers.entry(root.clone()).or_insert_with(|| {
            self.all.push(root);
            next
        })
    }
}

/// Of each trace by its place.
struct Facts {
    of_traces: Vec<Fact>,
    /// Empty where nobody asks for roots.
    of_roots: Vec<Root>,
    roots: Roots,
}

impl Facts {
    fn new(traces: usize, wants_roots: bool) -> Facts {
        let of_roots = vec![None; if wants_roots { traces } else { 0 }];
        Facts { of_traces: vec![Fact::NONE; traces], of_roots, roots: Roots::default() }
    }

    fn absorb(&mut self, other: &Facts) {
        self.of_traces.iter_mut().zip(&other.of_traces).for_each(|(own, fact)| own.absorb(fact));
        let renamed: Vec<u32> =
            other.roots.all.iter().map(|(service, name)| self.roots.number(service, name)).collect();
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

    /// The traces that have what the query demands of a whole trace, in their order. Exact in what it leaves out: spans are
    /// read from where traces are read whole.
    pub(super) async fn without_impossible(&self, ids: Vec<TraceId>) -> Result<Vec<TraceId>, QueryError> {
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
        let mut judge = Judge::new(&demands, &all.roots);
        let possible = |(place, _): &(usize, TraceId)| {
            let root = all.of_roots.get(*place).copied().flatten();
            judge.possible(&all.of_traces[*place], root)
        };
        Ok(ids.into_iter().enumerate().filter(possible).map(|(_, id)| id).collect())
    }

    async fn share_of_facts(
        &self,
        places: &HashMap<TraceId, u32>,
        share: (usize, usize),
    ) -> Result<Facts, QueryError> {
        let range = TimeRange {
            start: self.range.start.saturating_sub(TRACE_NS_MAX),
            end: self.range.end.saturating_add(TRACE_NS_MAX),
        };
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

/// Judges traces one after the other.
struct Judge<'a> {
    demands: &'a Demands<'a>,
    roots: &'a Roots,
    /// Takes what is known of each.
    trace: Trace<'a>,
    /// What a trace without a root says.
    no_root: (String, String),
    empty: RecordBatch,
}

impl<'a> Judge<'a> {
    fn new(demands: &'a Demands<'a>, roots: &'a Roots) -> Judge<'a> {
        let facts = TraceFacts::unknown();
        let no_root = (facts.root_service.clone(), facts.root_name.clone());
        let empty = RecordBatch::new_empty(Arc::new(Schema::empty()));
        Judge { demands, roots, trace: Trace { rows: vec![], facts }, no_root, empty }
    }

    fn possible(&mut self, fact: &Fact, root: Root) -> bool {
        // Not there any more, or not within what is read of a trace: who reads it whole will see.
        if fact.spans == 0 {
            return true;
        }
        let spans = f64::from(fact.spans);
        if !self.demands.counts.iter().all(|(op, least)| op.holds(spans.total_cmp(least))) {
            return false;
        }
        let root = root.map_or(&self.no_root, |(.., number)| &self.roots.all[number as usize]);
        let facts = &mut self.trace.facts;
        (facts.start_ns, facts.end_ns) = (fact.start_ns, fact.end_ns);
        facts.root_service.clone_from(&root.0);
        facts.root_name.clone_from(&root.1);
        let nothing = Spans::of(&self.empty);
        let at = SpanAt { spans: &nothing, row: 0, trace: Some((&self.trace, 0)) };
        self.demands.conditions.iter().all(|condition| at.holds(condition) != Some(false))
    }
}
