//! Spans that may be linked to some others: those whose own id, or whose parent's, is one of many ids. A few bits of each id are
//! remembered, so that all spans of the range can be asked by one column; some pass that have none of the ids.

use crate::traceql::spans::Spans;
use arrow::array::RecordBatch;
use datafusion::execution::memory_pool::MemoryReservation;
use model::SpanId;
use std::sync::Arc;
use store::{SpanColumns, SpanTest};

/// No parent.
pub(super) const NONE: SpanId = [0; 8];
/// Of each id: one in some hundred others passes.
const BITS: usize = 32;
const FIRST: u64 = 0x9e37_79b9_7f4a_7c15;
const SECOND: u64 = 0xc2b2_ae3d_27d4_eb4f;

/// By which of its ids a span is linked.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum By {
    Own,
    Parent,
}

impl By {
    pub fn column(self) -> &'static str {
        match self {
            By::Own => "span_id",
            By::Parent => "parent_span_id",
        }
    }

    pub fn link(self, spans: &Spans<'_>, row: usize) -> SpanId {
        match self {
            By::Own => spans.span_id(row),
            By::Parent => spans.parent(row).unwrap_or(NONE),
        }
    }
}

pub(super) struct Linked {
    bits: Vec<u64>,
    /// Of a hash, all but as many bits as number the bits.
    shift: u32,
    _taken: MemoryReservation,
}

impl Linked {
    /// Of at most so many ids; `None` where there is no room for them.
    pub fn of(
        ids: impl Iterator<Item = SpanId>,
        ids_max: usize,
        reservation: MemoryReservation,
    ) -> Option<Linked> {
        let bits = (ids_max.max(2) * BITS).next_power_of_two();
        reservation.try_grow(bits / 8).ok()?;
        let shift = u64::BITS - bits.trailing_zeros();
        let mut linked = Linked { bits: vec![0; bits / 64], shift, _taken: reservation };
        for id in ids {
            for place in linked.places(id) {
                linked.bits[place / 64] |= 1 << (place % 64);
            }
        }
        Some(linked)
    }

    fn places(&self, id: SpanId) -> [usize; 2] {
        let id = u64::from_le_bytes(id);
        let hash = (id ^ (id >> 32)).wrapping_mul(FIRST);
        let again = (hash ^ (hash >> 29)).wrapping_mul(SECOND);
        [hash, again].map(|hash| (hash >> self.shift) as usize)
    }

    fn may_have(&self, id: SpanId) -> bool {
        self.places(id).iter().all(|place| self.bits[place / 64] >> (place % 64) & 1 == 1)
    }

    /// Passed by spans that have one of the ids.
    pub fn test(self, by: By) -> SpanTest {
        let passing = move |batch: &RecordBatch| -> Vec<bool> {
            let spans = Spans::of(batch);
            (0..spans.len()).map(|row| self.may_have(by.link(&spans, row))).collect()
        };
        SpanTest { columns: SpanColumns::named(&[by.column()]), fields: vec![], passing: Arc::new(passing) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{ArrayRef, FixedSizeBinaryArray};
    use datafusion::execution::memory_pool::{GreedyMemoryPool, MemoryConsumer, MemoryPool};

    fn reservation(bytes: usize) -> MemoryReservation {
        let pool: Arc<dyn MemoryPool> = Arc::new(GreedyMemoryPool::new(bytes));
        MemoryConsumer::new("test").register(&pool)
    }

    fn column(ids: impl Iterator<Item = Option<SpanId>>) -> ArrayRef {
        Arc::new(FixedSizeBinaryArray::try_from_sparse_iter_with_size(ids, 8).unwrap())
    }

    #[test]
    fn all_that_have_one_of_the_ids_pass_and_few_others() {
        let ids = |from: u64, to: u64| (from..to).map(u64::to_le_bytes);
        for own in [0, 1, 1_000] {
            for by in [By::Own, By::Parent] {
                let linked = Linked::of(ids(1, own + 1), own as usize, reservation(1 << 20)).unwrap();
                let spans = [(by.column(), column(ids(1, 10_001).map(Some)))];
                let batch = RecordBatch::try_from_iter(spans).unwrap();
                let passing = (linked.test(by).passing)(&batch);
                assert!(passing[..own as usize].iter().all(|passes| *passes), "{own} {by:?}");
                let others = passing[own as usize..].iter().filter(|passes| **passes).count();
                assert!(others < 500, "{others} beside {own} {by:?}");
            }
        }
    }

    #[test]
    fn a_span_without_a_parent_is_linked_to_others_without_one() {
        for roots in [false, true] {
            let ids = roots.then_some(NONE).into_iter().chain([[7; 8]]);
            let linked = Linked::of(ids, 2, reservation(1 << 20)).unwrap();
            let parents = column([None, Some([7; 8]), Some(NONE)].into_iter());
            let batch = RecordBatch::try_from_iter([("parent_span_id", parents)]).unwrap();
            assert_eq!((linked.test(By::Parent).passing)(&batch), [roots, true, roots]);
        }
    }

    #[test]
    fn where_there_is_no_room_nothing_is_linked() {
        assert!(Linked::of([[1; 8]].into_iter(), 1_000_000, reservation(1_000)).is_none());
    }
}
