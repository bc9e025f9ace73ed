//! A value inside a template, as Go's templates have and print it.

use super::time::{Moment, Named, method};
use std::fmt;

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Item {
    Text(String),
    Int(i64),
    Float(f64),
    Bool(bool),
    Time(Moment),
    Named(Named),
    List(Vec<Item>),
    /// By name, ascending.
    Map(Vec<(String, Item)>),
    Nothing,
}

impl Item {
    pub fn is_true(&self) -> bool {
        match self {
            Item::Text(text) => !text.is_empty(),
            Item::Int(number) => *number != 0,
            Item::Float(number) => *number != 0.0,
            Item::Bool(truth) => *truth,
            Item::Time(_) => true,
            Item::Named(named) => named.number != 0,
            Item::List(items) => !items.is_empty(),
            Item::Map(entries) => !entries.is_empty(),
            Item::Nothing => false,
        }
    }

    /// What it takes, and about as much when it is printed.
    pub fn bytes(&self) -> usize {
        let inside = match self {
            Item::Text(text) => text.len(),
            Item::List(items) => items.iter().map(Item::bytes).sum(),
            Item::Map(entries) => entries.iter().map(|(name, item)| name.len() + item.bytes()).sum(),
            _ => 0,
        };
        inside + size_of::<Item>()
    }

    /// The number that it is, if it is whole and no text.
    pub fn whole(&self) -> Option<i64> {
        match self {
            Item::Int(number) => Some(*number),
            Item::Named(named) => Some(named.number),
            _ => None,
        }
    }

    /// As it is printed inside a list or a map, and by `print`.
    pub fn inside(&self) -> String {
        match self {
            Item::Nothing => "<nil>".to_owned(),
            item => item.to_string(),
        }
    }

    /// What Go calls the type.
    pub fn type_name(&self) -> &'static str {
        match self {
            Item::Text(_) => "string",
            Item::Int(_) => "int",
            Item::Float(_) => "float64",
            Item::Bool(_) => "bool",
            Item::Time(_) => "time.Time",
            Item::Named(named) => named.kind,
            Item::List(_) => "[]interface {}",
            Item::Map(_) => "map[string]interface {}",
            Item::Nothing => "<nil>",
        }
    }

    /// The value behind names that follow one another: `a.b`.
    pub fn at(&self, path: &str) -> Result<Item, String> {
        path.split('.').filter(|name| !name.is_empty()).try_fold(self.clone(), |item, name| match item {
            Item::Map(entries) => {
                let found = entries.into_iter().find(|(known, _)| known == name);
                Ok(found.map_or(Item::Nothing, |(_, item)| item))
            }
            Item::Nothing => Err(format!("nil pointer evaluating interface {{}}.{name}")),
            other => method(&other, name, &[])
                .unwrap_or_else(|| Err(format!("can't evaluate field {name} in type {}", other.type_name()))),
        })
    }

    pub fn of_json(value: serde_json::Value) -> Item {
        use serde_json::Value;
        match value {
            Value::Null => Item::Nothing,
            Value::Bool(truth) => Item::Bool(truth),
            // Go reads every number as a float.
            Value::Number(number) => Item::Float(number.as_f64().unwrap_or(f64::NAN)),
            Value::String(text) => Item::Text(text),
            Value::Array(items) => Item::List(items.into_iter().map(Item::of_json).collect()),
            Value::Object(entries) => {
                let mut entries: Vec<_> =
                    entries.into_iter().map(|(name, value)| (name, Item::of_json(value))).collect();
                entries.sort_by(|a, b| a.0.cmp(&b.0));
                Item::Map(entries)
            }
        }
    }
}

impl fmt::Display for Item {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Item::Text(text) => f.write_str(text),
            Item::Int(number) => write!(f, "{number}"),
            Item::Float(number) => f.write_str(&float_text(*number)),
            Item::Bool(truth) => write!(f, "{truth}"),
            Item::Time(time) => write!(f, "{time}"),
            Item::Named(named) => f.write_str(&named.text),
            Item::List(items) => {
                let items: Vec<String> = items.iter().map(Item::inside).collect();
                write!(f, "[{}]", items.join(" "))
            }
            Item::Map(entries) => {
                let entries: Vec<String> =
                    entries.iter().map(|(name, item)| format!("{name}:{}", item.inside())).collect();
                write!(f, "map[{}]", entries.join(" "))
            }
            Item::Nothing => f.write_str("<no value>"),
        }
    }
}

/// As Go writes the shortest text: with an exponent of two digits at least from a million on and below a ten thousandth.
pub(crate) fn float_text(number: f64) -> String {
    match number {
        _ if number.is_nan() => return "NaN".to_owned(),
        f64::INFINITY => return "+Inf".to_owned(),
        f64::NEG_INFINITY => return "-Inf".to_owned(),
        _ => {}
    }
    let scientific = format!("{number:e}");
    let (digits, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    match exponent.parse::<i32>().unwrap_or(0) {
        -4..6 => format!("{number}"),
        exponent if exponent < 0 => format!("{digits}e-{:02}", -exponent),
        exponent => format!("{digits}e+{exponent:02}"),
    }
}
