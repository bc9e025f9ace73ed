//! Attributes as values of a script, and back.

use super::json;
use model::{Attributes, Value};
use rhai::{Dynamic, Map};

pub fn map(attributes: &Attributes) -> Map {
    attributes.iter().map(|(name, value)| (name.as_str().into(), dynamic(value))).collect()
}

fn dynamic(value: &Value) -> Dynamic {
    match value {
        Value::String(text) => text.clone().into(),
        Value::Int(whole) => (*whole).into(),
        Value::Double(float) => (*float).into(),
        Value::Bool(is) => (*is).into(),
        Value::Bytes(bytes) => hex::encode(bytes).into(),
        Value::Json(text) => json::read(text).unwrap_or_else(|_| text.clone().into()),
    }
}

/// Without those that are `()`: such a one was taken away.
pub fn attributes(map: &Map) -> Result<Attributes, String> {
    let given = map.iter().filter(|(_, value)| !value.is_unit());
    given.map(|(name, value)| Ok((name.to_string(), attribute(value)?))).collect()
}

fn attribute(value: &Dynamic) -> Result<Value, String> {
    if let Ok(text) = value.as_immutable_string_ref() {
        return Ok(Value::String(text.to_string()));
    }
    if let Ok(whole) = value.as_int() {
        return Ok(Value::Int(whole));
    }
    if let Ok(float) = value.as_float() {
        return Ok(Value::Double(float));
    }
    if let Ok(is) = value.as_bool() {
        return Ok(Value::Bool(is));
    }
    if let Ok(letter) = value.as_char() {
        return Ok(Value::String(letter.into()));
    }
    json::write(value).map(Value::Json)
}
