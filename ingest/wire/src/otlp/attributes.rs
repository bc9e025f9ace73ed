//! `AnyValue` and its containers to attributes and back.

use crate::Malformed;
use crate::protobuf::{self, Fields};
use base64::Engine;
use model::{Attributes, Packer, Value};
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value};
use prost::Message;
use serde_json::json;

/// Moves the strings; nothing is copied.
pub fn attributes(pairs: Vec<KeyValue>) -> Attributes {
    pairs.into_iter().map(|pair| (pair.key, value(pair.value))).collect()
}

/// A `KeyValue` from its bytes.
pub fn decode(message: &[u8]) -> Result<(String, Value), Malformed> {
    let (key, value) = key_and_value(message)?;
    Ok((protobuf::Value::Bytes(key).text()?.to_owned(), decode_value(value)?))
}

/// As [`decode`], among those of a span.
pub fn pack(message: &[u8], packer: &mut Packer) -> Result<(), Malformed> {
    let (key, value) = key_and_value(message)?;
    match text_alone(value)? {
        Some(text) => packer.push_text(key, b's', text),
        None => packer.push(key, &decode_value(value)?),
    }
    Ok(())
}

/// Whether the key is a text is not looked at here.
fn key_and_value(message: &[u8]) -> Result<(&[u8], &[u8]), Malformed> {
    let (mut key, mut value) = (&[][..], &[][..]);
    let mut fields = Fields::of(message);
    while let Some((number, field)) = fields.next()? {
        match number {
            1 => key = field.bytes()?,
            2 => value = field.bytes()?,
            _ => {}
        }
    }
    Ok((key, value))
}

/// Most values are a text and nothing else; whether it is one is not looked at here.
fn text_alone(message: &[u8]) -> Result<Option<&[u8]>, Malformed> {
    let mut fields = Fields::of(message);
    match fields.next()? {
        Some((1, field)) if fields.is_at_end() => field.bytes().map(Some),
        _ => Ok(None),
    }
}

fn decode_value(message: &[u8]) -> Result<Value, Malformed> {
    let mut value = Value::String(String::new());
    let mut fields = Fields::of(message);
    while let Some((number, field)) = fields.next()? {
        value = match number {
            1 => Value::String(field.text()?.to_owned()),
            2 => Value::Bool(field.integer()? != 0),
            3 => Value::Int(field.integer()?),
            4 => Value::Double(field.double()?),
            // A tree, which the message's own decoder bounds.
            5 | 6 => {
                return AnyValue::decode(message).map(|any| self::value(Some(any))).map_err(Malformed::otlp);
            }
            7 => Value::Bytes(field.bytes()?.to_owned()),
            _ => continue,
        };
    }
    Ok(value)
}

pub fn value(any: Option<AnyValue>) -> Value {
    match any.and_then(|any| any.value) {
        Some(any_value::Value::StringValue(text)) => Value::String(text),
        Some(any_value::Value::IntValue(number)) => Value::Int(number),
        Some(any_value::Value::DoubleValue(number)) => Value::Double(number),
        Some(any_value::Value::BoolValue(truth)) => Value::Bool(truth),
        Some(any_value::Value::BytesValue(bytes)) => Value::Bytes(bytes),
        Some(nested @ (any_value::Value::ArrayValue(_) | any_value::Value::KvlistValue(_))) => {
            Value::Json(json(&nested).to_string())
        }
        _ => Value::String(String::new()),
    }
}

/// prost bounds how deep a message may be, and so how deep this goes.
fn json(value: &any_value::Value) -> serde_json::Value {
    let nested = |any: &AnyValue| any.value.as_ref().map_or(serde_json::Value::Null, json);
    match value {
        any_value::Value::StringValue(text) => json!(text),
        any_value::Value::IntValue(number) => json!(number),
        any_value::Value::DoubleValue(number) => json!(number),
        any_value::Value::BoolValue(truth) => json!(truth),
        any_value::Value::BytesValue(bytes) => json!(base64::prelude::BASE64_STANDARD.encode(bytes)),
        any_value::Value::ArrayValue(array) => array.values.iter().map(nested).collect(),
        any_value::Value::KvlistValue(list) => serde_json::Value::Object(
            list.values
                .iter()
                .map(|pair| (pair.key.clone(), pair.value.as_ref().map_or(serde_json::Value::Null, nested)))
                .collect(),
        ),
        _ => serde_json::Value::Null,
    }
}

pub fn any(value: &Value) -> AnyValue {
    let value = match value {
        Value::String(text) => any_value::Value::StringValue(text.clone()),
        Value::Int(number) => any_value::Value::IntValue(*number),
        Value::Double(number) => any_value::Value::DoubleValue(*number),
        Value::Bool(truth) => any_value::Value::BoolValue(*truth),
        Value::Bytes(bytes) => any_value::Value::BytesValue(bytes.clone()),
        Value::Json(text) => match serde_json::from_str(text) {
            Ok(json) => return from_json(&json),
            Err(_) => any_value::Value::StringValue(text.clone()),
        },
    };
    AnyValue { value: Some(value) }
}

fn from_json(json: &serde_json::Value) -> AnyValue {
    use opentelemetry_proto::tonic::common::v1::{ArrayValue, KeyValueList};
    let value = match json {
        serde_json::Value::Null => None,
        serde_json::Value::Bool(truth) => Some(any_value::Value::BoolValue(*truth)),
        serde_json::Value::String(text) => Some(any_value::Value::StringValue(text.clone())),
        serde_json::Value::Number(number) => Some(match number.as_i64() {
            Some(number) => any_value::Value::IntValue(number),
            None => any_value::Value::DoubleValue(number.as_f64().unwrap_or(f64::NAN)),
        }),
        serde_json::Value::Array(values) => {
            Some(any_value::Value::ArrayValue(ArrayValue { values: values.iter().map(from_json).collect() }))
        }
        serde_json::Value::Object(pairs) => Some(any_value::Value::KvlistValue(KeyValueList {
            values: pairs.iter().map(|(name, value)| pair(name, from_json(value))).collect(),
        })),
    };
    AnyValue { value }
}

pub fn pair(name: &str, value: AnyValue) -> KeyValue {
    KeyValue { key: name.to_owned(), value: Some(value), ..KeyValue::default() }
}

pub fn pairs(attributes: &[(String, Value)]) -> Vec<KeyValue> {
    attributes.iter().map(|(name, value)| pair(name, any(value))).collect()
}
