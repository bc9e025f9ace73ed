//! Conditions on one span. What only the whole trace would tell is `Unknown`, and a condition that hangs on it may
//! hold.

use super::rooted::Rooted;
use super::spans::Spans;
use super::trace::Trace;
use super::value::{Val, elements};
use traceql::{Arithmetic, CompareOp, Field, FieldExpr, Intrinsic, Scope, Static};

/// A row, and where it is known what its trace says.
#[derive(Clone, Copy)]
pub(crate) struct SpanAt<'a> {
    pub spans: &'a Spans<'a>,
    pub row: usize,
    /// Its trace and its place in it.
    pub trace: Option<(&'a Trace<'a>, usize)>,
}

impl<'a> SpanAt<'a> {
    pub fn each(&self, field: &Field, see: &mut dyn FnMut(Val<'a>) -> bool) {
        match (field, self.trace) {
            (Field::Intrinsic(intrinsic), Some((trace, at))) if intrinsic.of_trace() => {
                see(trace.facts.value(*intrinsic, at));
            }
            (Field::Attribute { scope, name }, trace) if scope.at_parent().is_some() => {
                let Some((trace, at)) = trace else {
                    see(Val::Unknown);
                    return;
                };
                let Some((spans, row)) = trace.facts.parent(at).map(|parent| trace.rows[parent]) else {
                    see(Val::Nil);
                    return;
                };
                let scope = scope.at_parent().unwrap_or(Scope::Any);
                spans.values(&Field::Attribute { scope, name: name.clone() }, row, see);
            }
            _ => self.spans.values(field, self.row, see),
        }
    }

    /// The first value that there is.
    pub fn value(&self, field: &Field) -> Val<'a> {
        let mut first = Val::Nil;
        self.each(field, &mut |value| {
            first = value;
            first != Val::Nil
        });
        first
    }

    pub fn evaluate(&self, expr: &'a FieldExpr) -> Val<'a> {
        match expr {
            FieldExpr::Static(value) => value.into(),
            FieldExpr::Field(field) => self.value(field),
            FieldExpr::Negate(inner) => match self.evaluate(inner) {
                Val::Int(number) => Val::Int(number.wrapping_neg()),
                Val::Duration(number) => Val::Duration(number.wrapping_neg()),
                Val::Float(number) => Val::Float(-number),
                Val::Unknown => Val::Unknown,
                _ => Val::Nil,
            },
            FieldExpr::Arithmetic(op, left, right) => {
                let (left, right) = (self.evaluate(left), self.evaluate(right));
                if left == Val::Unknown || right == Val::Unknown {
                    return Val::Unknown;
                }
                arithmetic(*op, &left, &right)
            }
            condition => self.holds(condition).map_or(Val::Unknown, Val::Bool),
        }
    }

    /// Whether the condition holds; `None` where the whole trace decides.
    pub fn holds(&self, expr: &'a FieldExpr) -> Option<bool> {
        match expr {
            FieldExpr::And(left, right) => match (self.holds(left), self.holds(right)) {
                (Some(false), _) | (_, Some(false)) => Some(false),
                (Some(true), Some(true)) => Some(true),
                _ => None,
            },
            FieldExpr::OfOne(conditions) => Some(self.passing(conditions).contains(&true)),
            FieldExpr::Or(left, right) => match (self.holds(left), self.holds(right)) {
                (Some(true), _) | (_, Some(true)) => Some(true),
                (Some(false), Some(false)) => Some(false),
                _ => None,
            },
            FieldExpr::Not(inner) => self.holds(inner).map(|holds| !holds),
            FieldExpr::Compare(op, left, right) => {
                self.compare(*op, left, right).or_else(|| Rooted::of(expr)?.holds(self.spans, self.row))
            }
            FieldExpr::Regex { negated, value, regex } => {
                self.judged(value, *negated, &mut |value| match value {
                    Val::Text(text) => Some(regex.is_match(text) != *negated),
                    Val::Unknown => None,
                    _ => Some(false),
                })
            }
            value => match self.evaluate(value) {
                Val::Bool(truth) => Some(truth),
                Val::Unknown => None,
                _ => Some(false),
            },
        }
    }

    /// By event, or by link, whether it passes all conditions: each field of it is seen once for every one of them.
    pub fn passing(&self, conditions: &[FieldExpr]) -> Vec<bool> {
        let mut passing: Option<Vec<bool>> = None;
        for condition in conditions {
            let mut of_condition = Vec::new();
            condition.fields(&mut |field| {
                self.each(field, &mut |value| {
                    of_condition.push(passes(condition, &value));
                    false
                });
            });
            passing = Some(match passing {
                None => of_condition,
                Some(before) => before.iter().zip(of_condition).map(|(a, b)| *a && b).collect(),
            });
        }
        passing.unwrap_or_default()
    }

    /// Whether one value of the operand passes, as events and links have several; of a list in an attribute, where it is
    /// asked that something is not so, whether each element does.
    fn judged(
        &self,
        operand: &'a FieldExpr,
        negated: bool,
        test: &mut dyn FnMut(&Val<'a>) -> Option<bool>,
    ) -> Option<bool> {
        let FieldExpr::Field(field) = operand else { return test(&self.evaluate(operand)) };
        let decides = !negated || of_several(operand);
        let mut answer = Some(!decides);
        self.each(field, &mut |value| {
            match each_element(&value, negated, test) {
                Some(passes) if passes == decides => answer = Some(decides),
                Some(_) => {}
                None => answer = None,
            }
            answer == Some(decides)
        });
        answer
    }

    fn compare(&self, op: CompareOp, left: &'a FieldExpr, right: &'a FieldExpr) -> Option<bool> {
        let (of_left, of_right) = (of_several(left), of_several(right));
        let is_field = |expr: &FieldExpr| matches!(expr, FieldExpr::Field(_));
        let is_nil = |expr: &FieldExpr| matches!(expr, FieldExpr::Static(Static::Nil));
        let negated = op == CompareOp::NotEqual;
        // What is missing is neither like nor unlike something else that is; and that nothing is nothing says nothing of a span.
        let asks_for_nil = is_nil(left) != is_nil(right);
        let compared = |left: &Val<'a>, right: &Val<'a>| match (left, right) {
            (Val::Nil, _) | (_, Val::Nil) if !asks_for_nil => Some(false),
            _ => compare(op, left, right),
        };
        if of_right && !of_left || is_field(right) && !is_field(left) {
            let left = self.evaluate(left);
            return self.judged(right, negated, &mut |right| {
                each_element(&left, negated, &mut |left| compared(left, right))
            });
        }
        let right = self.evaluate(right);
        self.judged(left, negated, &mut |left| {
            each_element(&right, negated, &mut |right| compared(left, right))
        })
    }
}

/// Whether a value passes a condition that compares one field with a value; `false` of other conditions.
pub(crate) fn passes<'a>(condition: &'a FieldExpr, value: &Val<'a>) -> bool {
    if matches!(value, Val::Nil) {
        return false;
    }
    let passes = match condition {
        FieldExpr::Compare(op, left, right) => {
            let negated = *op == CompareOp::NotEqual;
            match (left.as_ref(), right.as_ref()) {
                (FieldExpr::Field(_), FieldExpr::Static(right)) => {
                    each_element(value, negated, &mut |value| compare(*op, value, &right.into()))
                }
                (FieldExpr::Static(left), FieldExpr::Field(_)) => {
                    each_element(value, negated, &mut |value| compare(*op, &left.into(), value))
                }
                _ => None,
            }
        }
        FieldExpr::Regex { negated, regex, .. } => each_element(value, *negated, &mut |value| match value {
            Val::Text(text) => Some(regex.is_match(text) != *negated),
            _ => Some(false),
        }),
        _ => None,
    };
    passes == Some(true)
}

/// Of a list, whether one element passes; where it is asked that something is not so, whether all do.
fn each_element<'a>(
    value: &Val<'a>,
    negated: bool,
    test: &mut dyn FnMut(&Val<'a>) -> Option<bool>,
) -> Option<bool> {
    let Val::Array(text) = value else { return test(value) };
    let mut answer = Some(negated);
    elements(text, &mut |element| {
        match test(&element) {
            Some(passes) if passes != negated => answer = Some(!negated),
            Some(_) => {}
            None => answer = None,
        }
        answer == Some(!negated)
    });
    answer
}

/// Whether a field is of events or links, of which a span has any number.
fn of_several(expr: &FieldExpr) -> bool {
    match expr {
        FieldExpr::Field(Field::Attribute { scope, .. }) => matches!(scope, Scope::Event | Scope::Link),
        FieldExpr::Field(Field::Intrinsic(intrinsic)) => matches!(
            intrinsic,
            Intrinsic::EventName
                | Intrinsic::EventTimeSinceStart
                | Intrinsic::LinkTraceId
                | Intrinsic::LinkSpanId
        ),
        _ => false,
    }
}

/// Two integers give one, anything else with numbers a fraction.
pub(crate) fn arithmetic(op: Arithmetic, left: &Val<'_>, right: &Val<'_>) -> Val<'static> {
    if let (Val::Int(left), Val::Int(right)) = (left, right) {
        return op.apply_to_integers(*left, *right).map_or(Val::Nil, Val::Int);
    }
    match (left.number(), right.number()) {
        (Some(left), Some(right)) => Val::Float(op.apply(left, right)),
        _ => Val::Nil,
    }
}

/// A missing value equals nil only, and every comparison with it fails otherwise.
pub(crate) fn compare(op: CompareOp, left: &Val<'_>, right: &Val<'_>) -> Option<bool> {
    let order = match (left, right) {
        (Val::Unknown, _) | (_, Val::Unknown) => return None,
        (Val::Nil, Val::Nil) => return Some(op == CompareOp::Equal),
        (Val::Nil, _) | (_, Val::Nil) => {
            // `!= nil` asks for presence; a missing value is not different from a number, it is missing.
            let wants_presence = op == CompareOp::NotEqual && matches!(right, Val::Nil);
            return Some(wants_presence && !matches!(left, Val::Nil));
        }
        (Val::Text(left), Val::Text(right)) => left.cmp(right),
        (Val::Bool(left), Val::Bool(right)) => left.cmp(right),
        (Val::Status(left), Val::Status(right)) => (*left as u8).cmp(&(*right as u8)),
        (Val::Kind(left), Val::Kind(right)) => (*left as u8).cmp(&(*right as u8)),
        (Val::Int(left), Val::Int(right)) => left.cmp(right),
        _ => match (left.number(), right.number()) {
            (Some(left), Some(right)) => match left.partial_cmp(&right) {
                Some(order) => order,
                None => return Some(op == CompareOp::NotEqual),
            },
            // Of different types: an attribute that is text here and a number there.
            _ => return Some(false),
        },
    };
    Some(op.holds(order))
}
