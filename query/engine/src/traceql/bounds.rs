//! Conditions that compare the duration of a span, or of a trace, with a number. They hold for one row and not for the next, and
//! are asked of many spans: a whole column is judged at once.

use super::scan::turned;
use traceql::{CompareOp, Field, FieldExpr, Intrinsic};

pub(super) struct Bound {
    op: CompareOp,
    /// Nanoseconds, where it is a duration.
    number: f64,
}

impl Bound {
    /// Of a span; `None` of any other condition.
    pub fn of(condition: &FieldExpr) -> Option<Bound> {
        Bound::on(Intrinsic::Duration, condition)
    }

    /// The same of another duration.
    pub fn on(duration: Intrinsic, condition: &FieldExpr) -> Option<Bound> {
        let is_own = |intrinsic: &Intrinsic| *intrinsic == duration;
        let FieldExpr::Compare(op, left, right) = condition else { return None };
        let (op, number) = match (left.as_ref(), right.as_ref()) {
            (FieldExpr::Field(Field::Intrinsic(own)), FieldExpr::Static(number)) if is_own(own) => {
                (*op, number)
            }
            (FieldExpr::Static(number), FieldExpr::Field(Field::Intrinsic(own))) if is_own(own) => {
                (turned(*op), number)
            }
            _ => return None,
        };
        Some(Bound { op, number: number.number()? })
    }

    /// Those of the conditions that are bounds, and the others.
    pub fn parted<'a>(conditions: &[&'a FieldExpr]) -> (Vec<Bound>, Vec<&'a FieldExpr>) {
        let (mut bounds, mut others) = (vec![], vec![]);
        for condition in conditions {
            match Bound::of(condition) {
                Some(bound) => bounds.push(bound),
                None => others.push(*condition),
            }
        }
        (bounds, others)
    }

    /// Whether what it holds neither for the shortest nor for the longest of, it holds for none in between.
    pub fn is_one_sided(&self) -> bool {
        !matches!(self.op, CompareOp::Equal | CompareOp::NotEqual)
    }

    pub fn holds(&self, ns: i64) -> bool {
        let mut passing = [true];
        self.judge(&[ns], &mut passing);
        passing[0]
    }

    /// Takes out the rows for which it does not hold.
    pub fn judge(&self, durations: &[i64], passing: &mut [bool]) {
        let number = self.number;
        match self.op {
            CompareOp::Equal => keep(durations, passing, |ns| ns == number),
            CompareOp::NotEqual => keep(durations, passing, |ns| ns != number),
            CompareOp::Greater => keep(durations, passing, |ns| ns > number),
            CompareOp::GreaterEqual => keep(durations, passing, |ns| ns >= number),
            CompareOp::Less => keep(durations, passing, |ns| ns < number),
            CompareOp::LessEqual => keep(durations, passing, |ns| ns <= number),
        }
    }
}

fn keep(durations: &[i64], passing: &mut [bool], holds: impl Fn(f64) -> bool) {
    passing.iter_mut().zip(durations).for_each(|(passes, ns)| *passes &= holds(*ns as f64));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::traceql::evaluate::compare;
    use crate::traceql::value::Val;
    use traceql::{Element, Root, SpansetExpr};

    fn condition(query: &str) -> FieldExpr {
        let Root::Spansets(pipeline) = traceql::parse(query).unwrap().root else { panic!("{query}") };
        match &pipeline.elements[..] {
            [Element::Spansets(SpansetExpr::Filter(filter))] => filter.clone(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_bound_holds_where_its_condition_does() {
        let durations = [0, 1, 9_999_999, 10_000_000, 10_000_001, -5, i64::MAX];
        for op_text in ["=", "!=", ">", ">=", "<", "<="] {
            for (query, turns) in [
                (format!("{{ duration {op_text} 10ms }}"), false),
                (format!("{{ duration {op_text} 1 }}"), false),
                (format!("{{ 10ms {op_text} duration }}"), true),
            ] {
                let condition = condition(&query);
                let FieldExpr::Compare(op, left, right) = &condition else { panic!("{query}") };
                let mut passing = [true; 7];
                passing[3] = false;
                Bound::of(&condition).unwrap().judge(&durations, &mut passing);
                let of_trace = self::condition(&query.replace("duration", "traceDuration"));
                assert!(Bound::of(&of_trace).is_none(), "{query}");
                let of_trace = Bound::on(Intrinsic::TraceDuration, &of_trace).unwrap();
                assert_eq!(of_trace.is_one_sided(), !["=", "!="].contains(&op_text), "{query}");
                for (at, ns) in durations.iter().enumerate() {
                    assert_eq!(passing[at], at != 3 && of_trace.holds(*ns), "{query} {ns}");
                    let holds = match (left.as_ref(), right.as_ref()) {
                        (FieldExpr::Static(number), _) if turns => {
                            compare(*op, &number.into(), &Val::Duration(*ns))
                        }
                        (_, FieldExpr::Static(number)) => compare(*op, &Val::Duration(*ns), &number.into()),
                        other => panic!("{other:?}"),
                    };
                    assert_eq!(passing[at], at != 3 && holds == Some(true), "{query} {ns}");
                }
            }
        }
    }

    #[test]
    fn what_is_no_bound_is_left() {
        for query in ["{ duration > span.least }", "{ span.x > 1 }", "{ duration + 1ms > 5ms }"] {
            let condition = condition(query);
            let (bounds, others) = Bound::parted(&[&condition]);
            assert_eq!((bounds.len(), others.len()), (0, 1), "{query}");
        }
    }
}
