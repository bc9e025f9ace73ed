//! The value of a field at a span, and how it is read from a text with its type.

use model::{SpanKind, StatusCode};
use std::borrow::Cow;
use traceql::Static;

/// The value of a field at a span.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Val<'a> {
    /// Only the whole trace would tell.
    Unknown,
    Nil,
    Int(i64),
    Float(f64),
    Duration(i64),
    Text(Cow<'a, str>),
    Bool(bool),
    Status(StatusCode),
    Kind(SpanKind),
    /// A list, as JSON. A condition on it is one on its elements.
    Array(Cow<'a, str>),
}

impl Val<'_> {
    pub fn number(&self) -> Option<f64> {
        match self {
            Val::Int(number) | Val::Duration(number) => Some(*number as f64),
            Val::Float(number) => Some(*number),
            _ => None,
        }
    }

    pub fn owned(self) -> Val<'static> {
        match self {
            Val::Text(text) => Val::Text(Cow::Owned(text.into_owned())),
            Val::Unknown => Val::Unknown,
            Val::Nil => Val::Nil,
            Val::Int(number) => Val::Int(number),
            Val::Float(number) => Val::Float(number),
            Val::Duration(ns) => Val::Duration(ns),
            Val::Bool(truth) => Val::Bool(truth),
            Val::Status(status) => Val::Status(status),
            Val::Kind(kind) => Val::Kind(kind),
            Val::Array(text) => Val::Array(Cow::Owned(text.into_owned())),
        }
    }
}

impl<'a> From<&'a Static> for Val<'a> {
    fn from(value: &'a Static) -> Self {
        match value {
            Static::Int(number) => Val::Int(*number),
            Static::Float(number) => Val::Float(*number),
            Static::Duration(ns) => Val::Duration(*ns),
            Static::Text(text) => Val::Text(Cow::Borrowed(text)),
            Static::Bool(truth) => Val::Bool(*truth),
            Static::Status(status) => Val::Status(*status),
            Static::Kind(kind) => Val::Kind(*kind),
            Static::Nil => Val::Nil,
        }
    }
}

pub(super) fn typed(kind: u8, text: &str) -> Val<'_> {
    let string = || Val::Text(Cow::Borrowed(text));
    match kind {
        b'i' => text.parse().map(Val::Int).unwrap_or_else(|_| string()),
        b'd' => text.parse().map(Val::Float).unwrap_or_else(|_| string()),
        b'b' => text.parse().map(Val::Bool).unwrap_or_else(|_| string()),
        b'j' if text == "[]" => Val::Nil,
        b'j' if text.starts_with('[') => Val::Array(Cow::Borrowed(text)),
        _ => string(),
    }
}

/// The elements of a list; a condition on the field holds where it holds for one of them.
pub(super) fn elements<'a>(text: &str, see: &mut dyn FnMut(Val<'a>) -> bool) {
    let Ok(serde_json::Value::Array(items)) = serde_json::from_str(text) else {
        see(Val::Text(Cow::Owned(text.to_owned())));
        return;
    };
    for item in items {
        let value = match item {
            serde_json::Value::String(text) => Val::Text(Cow::Owned(text)),
            serde_json::Value::Bool(truth) => Val::Bool(truth),
            serde_json::Value::Number(number) => match (number.as_i64(), number.as_f64()) {
                (Some(number), _) => Val::Int(number),
                (None, number) => number.map_or(Val::Nil, Val::Float),
            },
            serde_json::Value::Null => Val::Nil,
            other => Val::Text(Cow::Owned(other.to_string())),
        };
        if see(value) {
            return;
        }
    }
}
