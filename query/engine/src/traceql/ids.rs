//! Conditions that the id of a span, or its parent's, is a certain one: they are compared as they lie, as each would take a text of
//! its own.

use super::scan::id_of;
use super::spans::Spans;
use model::SpanId;
use traceql::{CompareOp, Field, FieldExpr, Intrinsic, Static};

pub(super) struct OneId {
    of: Intrinsic,
    /// `None` where what is asked for is no id, so that no span has it.
    id: Option<SpanId>,
}

impl OneId {
    /// `None` of any other condition.
    pub fn of(condition: &FieldExpr) -> Option<OneId> {
        let FieldExpr::Compare(CompareOp::Equal, left, right) = condition else { return None };
        let (intrinsic, text) = match (left.as_ref(), right.as_ref()) {
            (FieldExpr::Field(Field::Intrinsic(intrinsic)), FieldExpr::Static(Static::Text(text)))
            | (FieldExpr::Static(Static::Text(text)), FieldExpr::Field(Field::Intrinsic(intrinsic))) => {
                (intrinsic, text)
            }
            _ => return None,
        };
        let is_id = matches!(intrinsic, Intrinsic::SpanId | Intrinsic::Parent | Intrinsic::ParentId);
        is_id.then(|| OneId { of: *intrinsic, id: id_of(text) })
    }

    /// Those of the conditions that are of ids, and the others.
    pub fn parted<'a>(conditions: &[&'a FieldExpr]) -> (Vec<OneId>, Vec<&'a FieldExpr>) {
        let (mut ids, mut others) = (vec![], vec![]);
        for condition in conditions {
            match OneId::of(condition) {
                Some(id) => ids.push(id),
                None => others.push(*condition),
            }
        }
        (ids, others)
    }

    /// Takes out the rows for which it does not hold.
    pub fn judge(&self, spans: &Spans<'_>, passing: &mut [bool]) {
        let Some(id) = self.id else { return passing.fill(false) };
        for (row, passes) in passing.iter_mut().enumerate().filter(|(_, passes)| **passes) {
            *passes = match self.of {
                Intrinsic::SpanId => spans.span_id(row) == id,
                Intrinsic::ParentId => spans.parent_id(row) == id,
                _ => spans.parent(row) == Some(id),
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::traceql::evaluate::SpanAt;
    use arrow::array::{ArrayRef, FixedSizeBinaryArray, RecordBatch};
    use std::sync::Arc;
    use traceql::{Element, Root, SpansetExpr};

    #[test]
    fn an_id_is_one_where_its_text_is() {
        let ids = |ids: [Option<[u8; 8]>; 3]| -> ArrayRef {
            Arc::new(FixedSizeBinaryArray::try_from_sparse_iter_with_size(ids.into_iter(), 8).unwrap())
        };
        let columns = [
            ("span_id", ids([Some([1; 8]), Some([0xab; 8]), Some([0; 8])])),
            ("parent_span_id", ids([None, Some([1; 8]), Some([0; 8])])),
        ];
        let batch = RecordBatch::try_from_iter(columns).unwrap();
        let spans = Spans::of(&batch);
        for field in ["span:id", "span:parentID", "parent"] {
            for text in
                ["0101010101010101", "abababababababab", "ABABABABABABABAB", "0000000000000000", "01", ""]
            {
                for query in [format!("{{ {field} = `{text}` }}"), format!("{{ `{text}` = {field} }}")] {
                    let Root::Spansets(pipeline) = traceql::parse(&query).unwrap().root else {
                        unreachable!()
                    };
                    let [Element::Spansets(SpansetExpr::Filter(condition))] = &pipeline.elements[..] else {
                        panic!("{query}")
                    };
                    let mut passing = vec![true; 3];
                    OneId::of(condition).unwrap().judge(&spans, &mut passing);
                    for (row, passes) in passing.into_iter().enumerate() {
                        let at = SpanAt { spans: &spans, row, trace: None };
                        assert_eq!(Some(passes), at.holds(condition), "{query} {row}");
                    }
                }
            }
        }
    }
}
