//! Conditions on `nestedSetParent`. It is -1 of a root and 0 or more of any other span, so that a span alone tells of most of
//! them, as of `nestedSetParent < 0`, which asks for roots.

use super::scan::turned;
use super::spans::Spans;
use std::cmp::Ordering;
use traceql::{CompareOp, Field, FieldExpr, Intrinsic};

/// What the number is of a span without a parent.
const OF_A_ROOT: f64 = -1.0;
/// The least that it is of a span with one, whose parent may not be there.
const LEAST_OF_OTHERS: f64 = 0.0;

pub(super) struct Rooted {
    roots: bool,
    /// Whether others may pass: which of them do, the whole trace tells.
    others: bool,
}

impl Rooted {
    /// `None` of any other condition.
    pub fn of(condition: &FieldExpr) -> Option<Rooted> {
        let FieldExpr::Compare(op, left, right) = condition else { return None };
        let (op, number) = match (left.as_ref(), right.as_ref()) {
            (FieldExpr::Field(Field::Intrinsic(Intrinsic::NestedSetParent)), FieldExpr::Static(number)) => {
                (*op, number)
            }
            (FieldExpr::Static(number), FieldExpr::Field(Field::Intrinsic(Intrinsic::NestedSetParent))) => {
                (turned(*op), number)
            }
            _ => return None,
        };
        let number = number.number()?;
        let others = match op {
            CompareOp::Less => LEAST_OF_OTHERS < number,
            CompareOp::Equal | CompareOp::LessEqual => LEAST_OF_OTHERS <= number,
            CompareOp::NotEqual | CompareOp::Greater | CompareOp::GreaterEqual => true,
        };
        let order: Ordering = OF_A_ROOT.partial_cmp(&number)?;
        Some(Rooted { roots: op.holds(order), others })
    }

    /// Those of the conditions that are of it, and the others.
    pub fn parted<'a>(conditions: &[&'a FieldExpr]) -> (Vec<Rooted>, Vec<&'a FieldExpr>) {
        let (mut rooted, mut others) = (vec![], vec![]);
        for condition in conditions {
            match Rooted::of(condition) {
                Some(of_root) => rooted.push(of_root),
                None => others.push(*condition),
            }
        }
        (rooted, others)
    }

    /// Whether it holds of a span whose trace is not known; `None` where only that tells.
    pub fn holds(&self, spans: &Spans<'_>, row: usize) -> Option<bool> {
        match spans.parent(row) {
            _ if !spans.has_parents() => None,
            None => Some(self.roots),
            Some(_) => (!self.others).then_some(false),
        }
    }

    /// Takes out the rows for which it does not hold, whatever their traces are.
    pub fn judge(&self, spans: &Spans<'_>, passing: &mut [bool]) {
        if !spans.has_parents() || self.roots && self.others {
            return;
        }
        for (row, passes) in passing.iter_mut().enumerate().filter(|(_, passes)| **passes) {
            *passes = self.holds(spans, row) != Some(false);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::traceql::evaluate::SpanAt;
    use crate::traceql::trace::Trace;
    use arrow::array::{ArrayRef, FixedSizeBinaryArray, RecordBatch};
    use std::sync::Arc;
    use traceql::{Element, Root, SpansetExpr};

    #[test]
    fn what_is_left_out_does_not_pass_in_its_trace() {
        let ids = |ids: [Option<[u8; 8]>; 5]| -> ArrayRef {
            Arc::new(FixedSizeBinaryArray::try_from_sparse_iter_with_size(ids.into_iter(), 8).unwrap())
        };
        // A root, one below it, one below that, one whose parent is not there, and another root.
        let columns = [
            ("span_id", ids([1, 2, 3, 4, 5].map(|id| Some([id; 8])))),
            ("parent_span_id", ids([None, Some([1; 8]), Some([2; 8]), Some([9; 8]), Some([0; 8])])),
        ];
        let batch = RecordBatch::try_from_iter(columns).unwrap();
        let spans = Spans::of(&batch);
        let trace = Trace::new((0..5).map(|row| (&spans, row)).collect());
        let mut left_out = 0;
        for op in ["=", "!=", "<", "<=", ">", ">="] {
            for number in [-2, -1, 0, 1, 2] {
                for query in [
                    format!("{{ nestedSetParent {op} {number} }}"),
                    format!("{{ {number} {op} nestedSetParent }}"),
                ] {
                    let Root::Spansets(pipeline) = traceql::parse(&query).unwrap().root else {
                        panic!("{query}")
                    };
                    let [Element::Spansets(SpansetExpr::Filter(condition))] = &pipeline.elements[..] else {
                        panic!("{query}")
                    };
                    let mut passing = vec![true; 5];
                    Rooted::of(condition).unwrap().judge(&spans, &mut passing);
                    for at in 0..5 {
                        let SpanAt { row, .. } = trace.at(at);
                        let holds = trace.at(at).holds(condition) == Some(true);
                        assert!(passing[row] || !holds, "{query} {row}");
                        // Of roots nothing is left open.
                        assert!(holds || !passing[row] || spans.parent(row).is_some(), "{query} {row}");
                        let alone = SpanAt { spans: &spans, row, trace: None }.holds(condition);
                        assert_eq!(alone != Some(false), passing[row], "{query} {row}");
                        assert!(alone.is_none_or(|alone| alone == holds), "{query} {row}");
                        left_out += usize::from(!passing[row]);
                    }
                }
            }
        }
        assert!(left_out > 50, "{left_out}");
    }
}
