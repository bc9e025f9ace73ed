//! JSON as values of a script, and back. Whole numbers past an `i64` stay what they are as long as nobody counts with them.

use rhai::{Array, Dynamic, Map};
use serde::ser::{Error, Serialize, SerializeMap, SerializeSeq, Serializer};
use serde_json::{Number, Value};

/// As deep as what is read may be.
const DEPTH_MAX: usize = 128;

/// `()` where the text is no JSON; an error where it begins as an object and is none, as a line does that was cut.
pub fn read(text: &str) -> Result<Dynamic, String> {
    match serde_json::from_str(text) {
        Ok(value) => Ok(dynamic(value)),
        Err(wrong) if text.trim_start().starts_with('{') => Err(format!("json: {wrong}")),
        Err(_) => Ok(Dynamic::UNIT),
    }
}

fn dynamic(value: Value) -> Dynamic {
    match value {
        Value::Null => Dynamic::UNIT,
        Value::Bool(is) => is.into(),
        Value::Number(number) => match (number.as_i64(), number.as_f64()) {
            (Some(whole), _) => whole.into(),
            (None, Some(float)) if number.is_f64() => float.into(),
            _ => Dynamic::from(number),
        },
        Value::String(text) => text.into(),
        Value::Array(values) => values.into_iter().map(dynamic).collect::<Array>().into(),
        Value::Object(fields) => {
            let fields = fields.into_iter().map(|(name, value)| (name.into(), dynamic(value)));
            fields.collect::<Map>().into()
        }
    }
}

pub fn write(value: &Dynamic) -> Result<String, String> {
    serde_json::to_string(&Within { value, depth: 0 }).map_err(|wrong| format!("to_json: {wrong}"))
}

struct Within<'v> {
    value: &'v Dynamic,
    depth: usize,
}

impl Serialize for Within<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let Within { value, depth } = self;
        let within = |value| Within { value, depth: depth + 1 };
        if *depth > DEPTH_MAX {
            return Err(S::Error::custom("recursion limit exceeded"));
        }
        if let Ok(text) = value.as_immutable_string_ref() {
            return to.serialize_str(&text);
        }
        if let Ok(fields) = value.as_map_ref() {
            let mut map = to.serialize_map(Some(fields.len()))?;
            for (name, value) in fields.iter() {
                map.serialize_entry(name.as_str(), &within(value))?;
            }
            return map.end();
        }
        if let Ok(values) = value.as_array_ref() {
            let mut array = to.serialize_seq(Some(values.len()))?;
            for value in values.iter() {
                array.serialize_element(&within(value))?;
            }
            return array.end();
        }
        if let Ok(whole) = value.as_int() {
            return to.serialize_i64(whole);
        }
        if let Ok(float) = value.as_float() {
            return to.serialize_f64(float);
        }
        if let Ok(is) = value.as_bool() {
            return to.serialize_bool(is);
        }
        if let Ok(letter) = value.as_char() {
            return to.serialize_char(letter);
        }
        if value.is_unit() {
            return to.serialize_unit();
        }
        match value.read_lock::<Number>() {
            Some(number) => number.serialize(to),
            None => Err(S::Error::custom(format!("{} is nothing that JSON has", value.type_name()))),
        }
    }
}
