//! Conditions as OpenTelemetry's transformation language (OTTL) writes them, asked of a span or of one of its events.
//!
//! Of the language there are comparisons, `and`, `or`, `not`, `IsMatch` and `IsRootSpan`, over what [`Path`] names; all else is
//! refused when the file is read, so that no condition can fail later. Values compare as there (opentelemetry-collector-contrib,
//! `pkg/ottl`): numbers by what they are worth, others with their own type alone, and what is not there is `nil`.

mod parse;

use super::Part;
use model::{Span, SpanEvent, Value, attribute};
use regex::Regex;
use std::cmp::Ordering;

/// What a condition is written for: a name without `span.` or `spanevent.` before it is one of its own.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum About {
    Span,
    Event,
}

pub(super) enum Condition {
    Any(Vec<Condition>),
    All(Vec<Condition>),
    Not(Box<Condition>),
    Compares(Operand, Comparison, Operand),
    Matches(Operand, Regex),
    IsRoot,
    Always(bool),
}

pub(super) enum Operand {
    Nil,
    Literal(Value),
    Path(Path),
}

pub(super) enum Path {
    SpanAttribute(String),
    EventAttribute(String),
    ResourceAttribute(String),
    ScopeAttribute(String),
    ScopeName,
    ScopeVersion,
    SpanName,
    EventName,
    /// By its protocol's number, as the status is.
    Kind,
    Status,
    StatusMessage,
    TraceState,
}

#[derive(Clone, Copy)]
pub(super) enum Comparison {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

/// What is asked: a span, or an event of it.
#[derive(Clone, Copy)]
pub(super) struct Place<'a> {
    pub part: &'a Part,
    pub span: &'a Span,
    pub event: Option<&'a SpanEvent>,
}

impl Condition {
    pub fn read(text: &str, about: About) -> Result<Condition, String> {
        parse::condition(text, about)
    }

    pub fn holds(&self, place: Place<'_>) -> bool {
        match self {
            Condition::Any(of) => of.iter().any(|condition| condition.holds(place)),
            Condition::All(of) => of.iter().all(|condition| condition.holds(place)),
            Condition::Not(condition) => !condition.holds(place),
            Condition::Compares(left, op, right) => op.holds(compared(&left.at(place), &right.at(place))),
            Condition::Matches(operand, regex) => {
                operand.at(place).is_some_and(|value| regex.is_match(&value.to_string()))
            }
            Condition::IsRoot => place.span.parent_span_id.is_none(),
            Condition::Always(truth) => *truth,
        }
    }
}

impl Operand {
    fn at(&self, place: Place<'_>) -> Option<Value> {
        match self {
            Operand::Nil => None,
            Operand::Literal(value) => Some(value.clone()),
            Operand::Path(path) => path.at(place),
        }
    }
}

impl Path {
    fn at(&self, Place { part, span, event }: Place<'_>) -> Option<Value> {
        match self {
            Path::SpanAttribute(key) => span.attributes.get(key),
            Path::EventAttribute(key) => attribute(&event?.attributes, key).cloned(),
            Path::ResourceAttribute(key) => attribute(&part.resource, key).cloned(),
            Path::ScopeAttribute(key) => attribute(&part.scope.attributes, key).cloned(),
            Path::ScopeName => Some(Value::from(part.scope.name.as_str())),
            Path::ScopeVersion => Some(Value::from(part.scope.version.as_str())),
            Path::SpanName => Some(Value::from(span.name.as_str())),
            Path::EventName => Some(Value::from(event?.name.as_str())),
            Path::Kind => Some(Value::Int(span.kind as i64)),
            Path::Status => Some(Value::Int(span.status as i64)),
            Path::StatusMessage => Some(Value::from(span.status_message.as_str())),
            Path::TraceState => Some(Value::from(span.trace_state.as_str())),
        }
    }
}

impl Comparison {
    /// What cannot be compared is not equal, and nothing else is said of it.
    fn holds(self, order: Option<Ordering>) -> bool {
        let Some(order) = order else { return matches!(self, Comparison::NotEqual) };
        match self {
            Comparison::Equal => order.is_eq(),
            Comparison::NotEqual => order.is_ne(),
            Comparison::Less => order.is_lt(),
            Comparison::LessOrEqual => order.is_le(),
            Comparison::Greater => order.is_gt(),
            Comparison::GreaterOrEqual => order.is_ge(),
        }
    }
}

fn compared(left: &Option<Value>, right: &Option<Value>) -> Option<Ordering> {
    let (left, right) = match (left, right) {
        (None, None) => return Some(Ordering::Equal),
        (Some(left), Some(right)) => (left, right),
        _ => return None,
    };
    match (left, right) {
        (Value::Int(left), Value::Int(right)) => Some(left.cmp(right)),
        (Value::Int(left), Value::Double(right)) => (*left as f64).partial_cmp(right),
        (Value::Double(left), Value::Int(right)) => left.partial_cmp(&(*right as f64)),
        (Value::Double(left), Value::Double(right)) => left.partial_cmp(right),
        (Value::String(left), Value::String(right)) => Some(left.cmp(right)),
        (Value::Bool(left), Value::Bool(right)) => Some(left.cmp(right)),
        (Value::Bytes(left), Value::Bytes(right)) => Some(left.cmp(right)),
        // Lists and maps are alike or not.
        (Value::Json(left), Value::Json(right)) => (left == right).then_some(Ordering::Equal),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
