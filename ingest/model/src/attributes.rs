//! OpenTelemetry attributes: named values that keep their type.

use serde::{Deserialize, Serialize};
use std::fmt;

/// Names and values in the order they came. A later duplicate of a name is the sender's mistake and is kept.
pub type Attributes = Vec<(String, Value)>;

/// One attribute value. Arrays and maps are kept as their JSON text: nothing of ours computes on their inside.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Value {
    String(String),
    Int(i64),
    Double(f64),
    Bool(bool),
    Bytes(Vec<u8>),
    /// The JSON text of an array or a map.
    Json(String),
}

impl Value {
    /// The text if this is a string.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Value::String(text) => Some(text),
            _ => None,
        }
    }

    /// A text without a character.
    pub fn is_empty(&self) -> bool {
        self.as_str() == Some("")
    }

    /// One byte that names the type on disk: `s i d b x j`.
    pub fn type_byte(&self) -> u8 {
        match self {
            Value::String(_) => b's',
            Value::Int(_) => b'i',
            Value::Double(_) => b'd',
            Value::Bool(_) => b'b',
            Value::Bytes(_) => b'x',
            Value::Json(_) => b'j',
        }
    }

    /// The value again from its type byte and its text (as [`Display`](fmt::Display) wrote it). Text that is not of
    /// the type comes back as a string, so nothing is lost.
    pub fn from_typed_text(type_byte: u8, text: &str) -> Value {
        let string = || Value::String(text.to_owned());
        match type_byte {
            b'i' => text.parse().map(Value::Int).unwrap_or_else(|_| string()),
            b'd' => text.parse().map(Value::Double).unwrap_or_else(|_| string()),
            b'b' => text.parse().map(Value::Bool).unwrap_or_else(|_| string()),
            b'x' => hex::decode(text).map(Value::Bytes).unwrap_or_else(|_| string()),
            b'j' => Value::Json(text.to_owned()),
            _ => string(),
        }
    }
}

/// From here on, and below a millionth, numbers are written with an exponent, as JSON's are.
const LONG: f64 = 1e21;

/// The text of a value: strings as they are, numbers in decimal, bytes in lower-case hex, arrays and maps as JSON.
impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::String(text) | Value::Json(text) => f.write_str(text),
            Value::Int(number) => write!(f, "{number}"),
            Value::Double(number) if number.is_finite() && number.abs() >= LONG => {
                f.write_str(&format!("{number:e}").replace('e', "e+"))
            }
            Value::Double(number) if *number != 0.0 && number.abs() < 1e-6 => write!(f, "{number:e}"),
            Value::Double(number) => write!(f, "{number}"),
            Value::Bool(truth) => write!(f, "{truth}"),
            Value::Bytes(bytes) => f.write_str(&hex::encode(bytes)),
        }
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Value::String(text.to_owned())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Value::String(text)
    }
}

impl From<i64> for Value {
    fn from(number: i64) -> Self {
        Value::Int(number)
    }
}

impl From<f64> for Value {
    fn from(number: f64) -> Self {
        Value::Double(number)
    }
}

impl From<bool> for Value {
    fn from(truth: bool) -> Self {
        Value::Bool(truth)
    }
}

/// The first value of `name`.
pub fn attribute<'a>(attributes: &'a [(String, Value)], name: &str) -> Option<&'a Value> {
    attributes.iter().find(|(n, _)| n == name).map(|(_, v)| v)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_type_comes_back_from_its_text() {
        for value in [
            Value::from("500"),
            Value::Int(-5),
            Value::Double(0.1),
            Value::Double(f64::INFINITY),
            Value::Double(-1.5e21),
            Value::Double(1e-7),
            Value::Double(-0.0),
            Value::Bool(true),
            Value::Bytes(vec![0, 255]),
            Value::Json("[1,2]".into()),
        ] {
            assert_eq!(Value::from_typed_text(value.type_byte(), &value.to_string()), value);
        }
        let texts = [1e20, -1.5e21, 0.000_001, 1e-7].map(|number| Value::Double(number).to_string());
        assert_eq!(texts, ["100000000000000000000", "-1.5e+21", "0.000001", "1e-7"]);
    }
}
