//! Traces of which a span has as many children as a filter asks for, as `{ childCount > 8 }`, where many are large enough for it.
//! The children of each span are counted, first roughly: what may have enough is then counted exactly. Where that is much, it is
//! counted roughly once more before: parents that shared a counter hardly share another one.

use super::facts::compared;
use super::matching::Matching;
use super::{Search, range_of_traces};
use crate::QueryError;
use crate::traceql::alike::conditions;
use crate::traceql::shares::in_shares;
use crate::traceql::spans::Spans;
use arrow::array::RecordBatch;
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryReservation};
use foldhash::fast::RandomState;
use futures::StreamExt;
use model::{SpanId, SpanSelect, TraceId};
use std::collections::HashSet;
use std::hash::BuildHasher;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use store::{SpanColumns, SpanTest};
use traceql::{CompareOp, Element, FieldExpr, Intrinsic, Pipeline, SpansetExpr, Static};

/// Ten million spans with a parent of their own fill a third of them.
const COUNTERS_LOG2: u32 = 25;
/// So many spans are counted exactly at once; what more pass are counted roughly again.
const EXACTLY_MAX: usize = 200_000;
/// A counter goes no further, and ends below what it holds as several threads may pass it at once.
const COUNTED_MAX: u8 = 200;

/// How many children one span of every answer has at least; `None` where the first filter does not ask for several.
fn children_min(pipeline: &Pipeline) -> Option<u8> {
    let Some(Element::Spansets(SpansetExpr::Filter(filter))) = pipeline.elements.first() else { return None };
    let of_condition = |condition| match compared(condition)? {
        (CompareOp::Greater, Intrinsic::ChildCount, number) => Some(number.floor() + 1.0),
        (CompareOp::GreaterEqual | CompareOp::Equal, Intrinsic::ChildCount, number) => Some(number.ceil()),
        _ => None,
    };
    let least = conditions(filter).into_iter().filter_map(of_condition).fold(0.0, f64::max);
    (least >= 2.0).then_some(least.min(f64::from(COUNTED_MAX)) as u8)
}

/// How many spans have the same parent, and maybe some others with them.
struct Counted {
    counters: Vec<AtomicU8>,
    hasher: RandomState,
    least: u8,
    /// Of spans of which that had enough.
    among: Option<Arc<Counted>>,
    _taken: MemoryReservation,
}

impl Counted {
    /// `None` where there is no room.
    fn none(reservation: MemoryReservation, least: u8, among: Option<Arc<Counted>>) -> Option<Counted> {
        let counters = 1 << COUNTERS_LOG2;
        reservation.try_grow(counters).ok()?;
        let counters = std::iter::repeat_with(AtomicU8::default).take(counters).collect();
        Some(Counted { counters, hasher: RandomState::default(), least, among, _taken: reservation })
    }

    fn counter(&self, spans: &Spans<'_>, row: usize) -> Option<&AtomicU8> {
        let of_parent = (spans.trace_id(row), spans.parent(row)?);
        self.counters.get((self.hasher.hash_one(of_parent) >> (u64::BITS - COUNTERS_LOG2)) as usize)
    }

    fn add(&self, spans: &Spans<'_>) {
        let is_among = |row: &usize| self.among.as_ref().is_none_or(|among| among.has_enough(spans, *row));
        for counter in (0..spans.len()).filter(is_among).filter_map(|row| self.counter(spans, row)) {
            if counter.load(Ordering::Relaxed) < COUNTED_MAX {
                counter.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    /// Whether a span's parent may have so many children.
    fn has_enough(&self, spans: &Spans<'_>, row: usize) -> bool {
        let has_enough = |counter: &AtomicU8| counter.load(Ordering::Relaxed) >= self.least;
        self.counter(spans, row).is_some_and(has_enough)
            && self.among.as_ref().is_none_or(|among| among.has_enough(spans, row))
    }

    /// About how many spans have parents that may have enough.
    fn passing(&self) -> usize {
        let counts = self.counters.iter().map(|counter| counter.load(Ordering::Relaxed));
        counts.filter(|count| *count >= self.least).map(usize::from).sum()
    }

    /// Passed by spans whose parent may have enough children.
    fn test(self: Arc<Self>) -> SpanTest {
        let passing = move |batch: &RecordBatch| -> Vec<bool> {
            let spans = Spans::of(batch);
            (0..spans.len()).map(|row| self.has_enough(&spans, row)).collect()
        };
        let columns = SpanColumns::named(&["trace_id", "parent_span_id"]);
        SpanTest { columns, fields: vec![], passing: Arc::new(passing) }
    }
}

/// Of spans by their traces and parents the traces in which a parent has so many.
fn with_children(mut parents: Vec<(TraceId, SpanId)>, least: u8) -> HashSet<TraceId, RandomState> {
    parents.sort_unstable();
    let families = parents.chunk_by(|one, next| one == next);
    families.filter(|family| family.len() >= usize::from(least)).map(|family| family[0].0).collect()
}

impl Search {
    /// Traces that may be answers; `None` where no several children are asked for, or where it takes too much room.
    pub(super) async fn told_by_children(
        &self,
        inspected: &mut u64,
    ) -> Result<Option<HashSet<TraceId, RandomState>>, QueryError> {
        let Some(least) = children_min(&self.pipeline) else { return Ok(None) };
        let Some(mut counted) = self.counted(least, None, inspected).await? else { return Ok(None) };
        if counted.passing() > EXACTLY_MAX
            && let Some(again) = self.counted(least, Some(counted.clone()), inspected).await?
        {
            counted = again;
        }
        let wanted = Matching {
            filter: FieldExpr::Static(Static::Bool(true)),
            fields: vec![],
            columns: &["parent_span_id"],
            among: None,
            test: Some(counted.test()),
        };
        let children = self
            .matching(wanted, |at| at.spans.parent(at.row).map(|parent| (at.spans.trace_id(at.row), parent)))
            .await?;
        let parents = children.map(|children| children.rows.into_iter().flatten().collect());
        Ok(parents.map(|parents| with_children(parents, least)))
    }

    /// Children of every parent, or of those of which `among` had enough; `None` where there is no room.
    async fn counted(
        &self,
        least: u8,
        among: Option<Arc<Counted>>,
        inspected: &mut u64,
    ) -> Result<Option<Arc<Counted>>, QueryError> {
        let room = MemoryConsumer::new("traceql children").register(self.context.memory_pool());
        let Some(counted) = Counted::none(room, least, among).map(Arc::new) else { return Ok(None) };
        let shares = in_shares(|share| {
            let (own, counted) = (self.clone(), counted.clone());
            async move { own.count_share(&counted, share).await }
        })
        .await?;
        *inspected += shares.into_iter().sum::<u64>();
        Ok(Some(counted))
    }

    async fn count_share(&self, counted: &Counted, share: (usize, usize)) -> Result<u64, QueryError> {
        let select = SpanSelect { share: Some(share), ..SpanSelect::all(range_of_traces(self.range)) };
        let columns = ["trace_id", "parent_span_id"];
        let mut batches = match &counted.among {
            Some(among) => self.scan_tested(select, &columns, among.clone().test())?,
            None => self.scan(select, &columns)?,
        };
        let mut inspected = 0;
        while let Some(batch) = batches.next().await {
            let batch = batch.map_err(crate::logql::broken)?;
            counted.add(&Spans::of(&batch));
            inspected += batch.num_rows() as u64;
        }
        Ok(inspected)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{ArrayRef, FixedSizeBinaryArray};
    use datafusion::execution::memory_pool::{MemoryPool, UnboundedMemoryPool};
    use traceql::Root;

    #[test]
    fn several_children_are_asked_for_by_the_first_filter() {
        for (query, expected) in [
            ("{ childCount > 8 }", Some(9)),
            ("{ 2.5 <= childCount && name = `a` } | count() > 1", Some(3)),
            ("{ childCount = 4 && childCount > 1 }", Some(4)),
            ("{ childCount > 1000 }", Some(200)),
            ("{ childCount >= 1 }", None),
            ("{ childCount < 8 }", None),
            ("{ childCount > 8 || name = `a` }", None),
            ("{ name = `a` } | { childCount > 8 }", None),
        ] {
            let Root::Spansets(pipeline) = traceql::parse(query).unwrap().root else { panic!("{query}") };
            assert_eq!(children_min(&pipeline), expected, "{query}");
        }
    }

    /// Spans by their trace and parent.
    fn batch(of: &[(u8, Option<SpanId>)]) -> RecordBatch {
        let traces = of.iter().map(|(trace, _)| [*trace; 16]);
        let traces: ArrayRef = Arc::new(FixedSizeBinaryArray::try_from_iter(traces).unwrap());
        let parents = of.iter().map(|(_, parent)| *parent);
        let parents: ArrayRef =
            Arc::new(FixedSizeBinaryArray::try_from_sparse_iter_with_size(parents, 8).unwrap());
        RecordBatch::try_from_iter([("trace_id", traces), ("parent_span_id", parents)]).unwrap()
    }

    fn counted(least: u8, among: Option<Arc<Counted>>) -> Arc<Counted> {
        let pool: Arc<dyn MemoryPool> = Arc::new(UnboundedMemoryPool::default());
        Arc::new(Counted::none(MemoryConsumer::new("test").register(&pool), least, among).unwrap())
    }

    #[test]
    fn spans_with_enough_siblings_pass_and_roots_do_not() {
        let (one, two) = (Some([1; 8]), Some([2; 8]));
        let batch = batch(&[(1, None), (1, one), (1, one), (1, one), (1, two), (2, one), (2, None)]);
        for (least, passing, expected) in [
            (1, 5, [false, true, true, true, true, true, false]),
            (3, 3, [false, true, true, true, false, false, false]),
        ] {
            let counted = counted(least, None);
            counted.add(&Spans::of(&batch));
            assert_eq!((counted.passing(), (counted.test().passing)(&batch)), (passing, expected.to_vec()));
        }
        // A counter goes no further than it can.
        let most = counted(COUNTED_MAX, None);
        (0..300).for_each(|_| most.add(&Spans::of(&batch)));
        assert_eq!((most.test().passing)(&batch), [false, true, true, true, true, true, false]);
    }

    /// Two parents of two children each, as if they shared their counters.
    #[test]
    fn what_passed_by_chance_does_not_pass_again() {
        let parents = [Some([1; 8]), Some([2; 8])];
        let spans = batch(&[(1, parents[0]), (1, parents[0]), (1, parents[1]), (1, parents[1]), (1, None)]);
        let first = counted(3, None);
        first.add(&Spans::of(&spans));
        first.add(&Spans::of(&spans));
        assert_eq!((first.clone().test().passing)(&spans), [true, true, true, true, false]);
        let again = counted(3, Some(first.clone()));
        again.add(&Spans::of(&spans));
        assert_eq!((again.clone().test().passing)(&spans), [false; 5]);
        // What the first rules out does not count at all.
        let others = batch(&[(2, parents[0]), (2, parents[0]), (2, parents[0])]);
        again.add(&Spans::of(&others));
        assert_eq!((again.passing(), (again.test().passing)(&others)), (0, vec![false; 3]));
    }

    #[test]
    fn a_trace_has_them_where_one_parent_has() {
        let of = |trace: u8, parent: u8| ([trace; 16], [parent; 8]);
        let parents = vec![of(1, 1), of(2, 1), of(1, 2), of(2, 1), of(1, 1), of(1, 1), of(3, 1)];
        assert_eq!(with_children(parents.clone(), 3), HashSet::from_iter([[1; 16]]));
        assert_eq!(with_children(parents, 2), HashSet::from_iter([[1; 16], [2; 16]]));
    }
}
