//! Values out of JSON text: `json_extract(body, '$.user.id')` and, by keys and places, `json_get_str(body, 'user', 'id')`
//! with its sisters for numbers and truth. Text that is not JSON, and a path that leads nowhere, give NULL.

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanBuilder, Float64Builder, Int64Builder, StringArray, StringBuilder,
};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Int64Type};
use datafusion::common::{Result, exec_err, plan_err};
use datafusion::logical_expr::{
    ColumnarValue, ExpressionPlacement, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use datafusion::physical_expr::expressions::{Column, Literal};
use datafusion::physical_expr::{PhysicalExpr, ScalarFunctionExpr};
use datafusion::prelude::SessionContext;
use serde_json::Value;
use std::sync::Arc;

/// What a function gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Gives {
    /// Strings as they are, everything else as JSON.
    Text,
    /// Everything as JSON.
    Json,
    Integer,
    Float,
    Truth,
    Length,
    Presence,
}

const BY_PATH: [(&str, Gives); 2] = [("json_extract", Gives::Text), ("json_extract_string", Gives::Text)];
const BY_KEYS: [(&str, Gives); 7] = [
    ("json_get", Gives::Json),
    ("json_get_str", Gives::Text),
    ("json_get_int", Gives::Integer),
    ("json_get_float", Gives::Float),
    ("json_get_bool", Gives::Truth),
    ("json_length", Gives::Length),
    ("json_contains", Gives::Presence),
];

pub fn register(session: &SessionContext) {
    for (name, gives) in BY_PATH {
        session.register_udf(ScalarUDF::from(Function::new(name, gives, true)));
    }
    for (name, gives) in BY_KEYS {
        session.register_udf(ScalarUDF::from(Function::new(name, gives, false)));
    }
}

/// What the operators `->` and `->>` are.
pub fn by_keys(as_text: bool) -> ScalarUDF {
    let (name, gives) = if as_text { ("json_get_str", Gives::Text) } else { ("json_get", Gives::Json) };
    ScalarUDF::from(Function::new(name, gives, false))
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Function {
    name: &'static str,
    gives: Gives,
    by_path: bool,
    signature: Signature,
}

impl Function {
    fn new(name: &'static str, gives: Gives, by_path: bool) -> Function {
        Function { name, gives, by_path, signature: Signature::user_defined(Volatility::Immutable) }
    }

    fn usage(&self) -> String {
        match self.by_path {
            true => format!("{0} takes a text and a path, as in {0}(body, '$.user.id')", self.name),
            false => {
                format!("{0} takes a text and keys or places, as in {0}(body, 'items', 0)", self.name)
            }
        }
    }
}

impl ScalarUDFImpl for Function {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(match self.gives {
            Gives::Text | Gives::Json => DataType::Utf8,
            Gives::Integer | Gives::Length => DataType::Int64,
            Gives::Float => DataType::Float64,
            Gives::Truth | Gives::Presence => DataType::Boolean,
        })
    }

    fn coerce_types(&self, arguments: &[DataType]) -> Result<Vec<DataType>> {
        let Some((text, steps)) = arguments.split_first() else { return plan_err!("{}", self.usage()) };
        let fits = if self.by_path { steps.len() == 1 && steps[0].is_string() } else { true };
        if !fits || !(text.is_string() || text.is_null()) {
            return plan_err!("{}", self.usage());
        }
        let mut kinds = vec![DataType::Utf8];
        for step in steps {
            kinds.push(match step {
                step if step.is_integer() => DataType::Int64,
                step if step.is_string() => DataType::Utf8,
                _ => return plan_err!("{}", self.usage()),
            });
        }
        Ok(kinds)
    }

    /// Towards the scan, which may know the value without the text.
    fn placement(&self, arguments: &[ExpressionPlacement]) -> ExpressionPlacement {
        match arguments {
            [ExpressionPlacement::Column, steps @ ..]
                if self.gives != Gives::Presence
                    && steps.iter().all(|step| *step == ExpressionPlacement::Literal) =>
            {
                ExpressionPlacement::MoveTowardsLeafNodes
            }
            _ => ExpressionPlacement::KeepInPlace,
        }
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let rows = arguments.number_rows;
        let Some((texts, steps)) = arguments.args.split_first() else { return exec_err!("{}", self.usage()) };
        let texts = cast(&texts.to_array(rows)?, &DataType::Utf8)?;
        let texts: &StringArray = texts.as_string();
        let steps: Vec<ArrayRef> = steps.iter().map(|step| step.to_array(rows)).collect::<Result<_>>()?;
        let mut out = Out::new(self.gives);
        let (mut path, mut known) = (vec![], None);
        for row in 0..texts.len() {
            path.clear();
            let whole = match self.by_path {
                true => {
                    let text = steps[0].as_string::<i32>();
                    let text = text.is_valid(row).then(|| text.value(row));
                    // It is the same in all rows, nearly always.
                    if known.as_ref().is_none_or(|(before, _)| *before != text) {
                        known = Some((text, text.map(parse_path)));
                    }
                    match known.as_ref().and_then(|(_, path)| path.as_ref()) {
                        Some(Ok(steps)) => path.extend(steps.iter().cloned()),
                        Some(Err(why)) => return plan_err!("{}: {why}", self.name),
                        None => {}
                    }
                    text.is_some()
                }
                false => steps.iter().all(|step| match step_of(step, row) {
                    Some(step) => {
                        path.push(step);
                        true
                    }
                    None => false,
                }),
            };
            let found = if whole && texts.is_valid(row) { at(texts.value(row), &path) } else { None };
            out.push(found);
        }
        Ok(ColumnarValue::Array(out.finish()))
    }
}

/// What a function asks of a column, where its path is of keys alone and the same in all rows.
#[derive(Clone)]
pub struct Asked {
    gives: Gives,
    pub keys: Vec<String>,
}

impl Asked {
    /// With the number of the column.
    pub fn of(expression: &Arc<dyn PhysicalExpr>) -> Option<(usize, Asked)> {
        let call = expression.downcast_ref::<ScalarFunctionExpr>()?;
        let function = call.fun().inner().downcast_ref::<Function>()?;
        let (text, steps) = call.args().split_first()?;
        let column = text.downcast_ref::<Column>()?;
        let literal = |step: &Arc<dyn PhysicalExpr>| {
            step.downcast_ref::<Literal>()?.value().try_as_str()?.map(str::to_owned)
        };
        let texts: Vec<String> = steps.iter().map(literal).collect::<Option<_>>()?;
        let keys = match (function.by_path, texts.as_slice()) {
            (true, [path]) => parse_path(path).ok()?.into_iter().map(Step::key).collect::<Option<_>>()?,
            (true, _) => return None,
            (false, _) => texts,
        };
        (!keys.is_empty() && function.gives != Gives::Presence)
            .then_some((column.index(), Asked { gives: function.gives, keys }))
    }

    pub fn of_bodies<'a>(&self, bodies: impl Iterator<Item = Option<&'a str>>) -> ArrayRef {
        self.of_rows(bodies.map(|body| (false, body)))
    }

    /// Of what lies at the path.
    pub fn of_values<'a>(&self, values: impl Iterator<Item = Option<&'a str>>) -> ArrayRef {
        self.of_rows(values.map(|value| (true, value)))
    }

    /// Of texts that are what lies at the path, or the whole.
    pub fn of_rows<'a>(&self, rows: impl Iterator<Item = (bool, Option<&'a str>)>) -> ArrayRef {
        let path: Vec<Step> = self.keys.iter().cloned().map(Step::Key).collect();
        let mut out = Out::new(self.gives);
        for (is_value, text) in rows {
            match (is_value, text) {
                (true, Some(text)) => out.push_json(text),
                (false, Some(text)) => out.push(at(text, &path)),
                (_, None) => out.push(None),
            }
        }
        out.finish()
    }
}

impl Step {
    fn key(self) -> Option<String> {
        match self {
            Step::Key(key) => Some(key),
            Step::Place(_) => None,
        }
    }
}

#[derive(Clone, Debug, PartialEq)]
enum Step {
    Key(String),
    Place(i64),
}

fn step_of(step: &ArrayRef, row: usize) -> Option<Step> {
    if step.is_null(row) {
        return None;
    }
    match step.data_type() {
        DataType::Int64 => Some(Step::Place(step.as_primitive::<Int64Type>().value(row))),
        _ => Some(Step::Key(step.as_string::<i32>().value(row).to_owned())),
    }
}

/// `$.a.b[0]['c.d']`, the same without `$.`, or a pointer `/a/b/0` (RFC 6901).
fn parse_path(text: &str) -> std::result::Result<Vec<Step>, String> {
    if let Some(pointer) = text.strip_prefix('/') {
        let step = |part: &str| Step::Key(part.replace("~1", "/").replace("~0", "~"));
        return Ok(pointer.split('/').map(step).collect());
    }
    let mut rest = text.strip_prefix('$').unwrap_or(text);
    let mut path = vec![];
    let wrong = |rest: &str| {
        let at = text.chars().count() - rest.chars().count() + 1;
        format!("path {text:?} is wrong at character {at}; write it as $.user.items[0]")
    };
    while !rest.is_empty() {
        if let Some(inside) = rest.strip_prefix('[') {
            let end = inside.find(']').ok_or_else(|| wrong(rest))?;
            let (step, after) = (inside[..end].trim(), &inside[end + 1..]);
            let quoted = |quote: char| step.strip_prefix(quote)?.strip_suffix(quote);
            path.push(match quoted('\'').or_else(|| quoted('"')) {
                Some(key) => Step::Key(key.to_owned()),
                None => Step::Place(step.parse().map_err(|_| wrong(rest))?),
            });
            rest = after;
            continue;
        }
        let key = rest.strip_prefix('.').unwrap_or(rest);
        let (key, after) = match key.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"').ok_or_else(|| wrong(rest))?,
            None => key.split_at(key.find(['.', '[']).unwrap_or(key.len())),
        };
        if key.is_empty() {
            return Err(wrong(rest));
        }
        path.push(Step::Key(key.to_owned()));
        rest = after;
    }
    Ok(path)
}

fn at(text: &str, path: &[Step]) -> Option<Value> {
    // What does not begin as JSON need not be read to its end.
    if !path.is_empty() && !text.trim_start().starts_with(['{', '[']) {
        return None;
    }
    let mut value = read(text)?;
    for step in path {
        value = match (value, step) {
            (Value::Object(mut object), Step::Key(key)) => object.remove(key)?,
            (Value::Array(mut items), step) => {
                let place = match step {
                    Step::Place(place) => *place,
                    Step::Key(key) => key.parse().ok()?,
                };
                let place = if place < 0 { place + items.len() as i64 } else { place };
                let place = usize::try_from(place).ok().filter(|place| *place < items.len())?;
                items.swap_remove(place)
            }
            _ => return None,
        };
    }
    Some(value)
}

/// A number past what 64 bits hold is JSON, too: it is read as the text that it is, and the rest of its line as ever.
fn read(text: &str) -> Option<Value> {
    match serde_json::from_str(text) {
        Ok(value) => Some(value),
        Err(why) if why.to_string().starts_with("number out of range") => {
            serde_json::from_str(&huge_numbers_as_texts(text)).ok()
        }
        Err(_) => None,
    }
}

fn huge_numbers_as_texts(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 8);
    let mut rest = text;
    while let Some(at) = rest.find(|c: char| c == '"' || c == '-' || c.is_ascii_digit()) {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        let (word, is_huge) = if rest.starts_with('"') {
            (&rest[..end_of_string(rest)], false)
        } else {
            let end = rest.find(|c: char| !matches!(c, '+' | '-' | '.' | 'e' | 'E' | '0'..='9'));
            let word = &rest[..end.unwrap_or(rest.len())];
            (word, word.parse::<f64>().is_ok_and(f64::is_infinite))
        };
        let quote = if is_huge { "\"" } else { "" };
        out.extend([quote, word, quote]);
        rest = &rest[word.len()..];
    }
    out.push_str(rest);
    out
}

/// Behind the quote that ends the string at the front, or at the end where none does.
fn end_of_string(text: &str) -> usize {
    let mut is_escaped = false;
    for (at, byte) in text.bytes().enumerate().skip(1) {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' => is_escaped = true,
            b'"' => return at + 1,
            _ => {}
        }
    }
    text.len()
}

enum Out {
    Text(StringBuilder),
    Json(StringBuilder),
    Integer(Int64Builder),
    Length(Int64Builder),
    Float(Float64Builder),
    Truth(BooleanBuilder),
    Presence(BooleanBuilder),
}

impl Out {
    fn new(gives: Gives) -> Out {
        match gives {
            Gives::Text => Out::Text(StringBuilder::new()),
            Gives::Json => Out::Json(StringBuilder::new()),
            Gives::Integer => Out::Integer(Int64Builder::new()),
            Gives::Length => Out::Length(Int64Builder::new()),
            Gives::Float => Out::Float(Float64Builder::new()),
            Gives::Truth => Out::Truth(BooleanBuilder::new()),
            Gives::Presence => Out::Presence(BooleanBuilder::new()),
        }
    }

    fn push_json(&mut self, text: &str) {
        let plain = text.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
        match (&mut *self, plain.filter(|text| !text.contains('\\'))) {
            (Out::Text(out), Some(text)) => out.append_value(text),
            _ => self.push(read(text)),
        }
    }

    fn push(&mut self, found: Option<Value>) {
        match self {
            Out::Text(out) => match found {
                None | Some(Value::Null) => out.append_null(),
                Some(Value::String(text)) => out.append_value(text),
                Some(other) => out.append_value(other.to_string()),
            },
            Out::Json(out) => out.append_option(found.map(|value| value.to_string())),
            Out::Integer(out) => out.append_option(found.and_then(|value| match &value {
                Value::String(text) => text.trim().parse().ok(),
                value => value.as_i64(),
            })),
            Out::Length(out) => out.append_option(found.and_then(|value| match value {
                Value::Array(items) => Some(items.len() as i64),
                Value::Object(object) => Some(object.len() as i64),
                _ => None,
            })),
            Out::Float(out) => out.append_option(found.and_then(|value| match &value {
                Value::String(text) => text.trim().parse().ok(),
                value => value.as_f64(),
            })),
            Out::Truth(out) => out.append_option(found.and_then(|value| value.as_bool())),
            Out::Presence(out) => out.append_value(found.is_some()),
        }
    }

    fn finish(self) -> ArrayRef {
        match self {
            Out::Text(mut out) | Out::Json(mut out) => Arc::new(out.finish()),
            Out::Integer(mut out) | Out::Length(mut out) => Arc::new(out.finish()),
            Out::Float(mut out) => Arc::new(out.finish()),
            Out::Truth(mut out) | Out::Presence(mut out) => Arc::new(out.finish()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_of_all_kinds_lead_to_the_same_value() {
        let text = r#"{"user":{"id":7,"tags":["a","b"],"a.b":null},"ok":true}"#;
        let get = |path: &str| at(text, &parse_path(path).unwrap()).map(|value| value.to_string());
        for path in ["$.user.id", "user.id", "/user/id", "$['user'].id", "$.\"user\".id"] {
            assert_eq!(get(path).as_deref(), Some("7"), "{path}");
        }
        for (path, expected) in [
            ("$.user.tags[1]", Some("\"b\"")),
            ("$.user.tags[-1]", Some("\"b\"")),
            ("/user/tags/0", Some("\"a\"")),
            ("$.user['a.b']", Some("null")),
            ("$.user.tags[2]", None),
            ("$.nope.id", None),
            ("$.ok.id", None),
        ] {
            assert_eq!(get(path).as_deref(), expected, "{path}");
        }
        for wrong in ["$..a", "$.a[", "$.a[x]", "$.\"a"] {
            assert!(parse_path(wrong).unwrap_err().contains("character"), "{wrong}");
        }
        let huge = r#"{"a":[-1e999,1.5],"b\"1e400":{"1e400":"1e400"},"c":1e400}"#;
        let get = |path: &str| at(huge, &parse_path(path).unwrap()).map(|value| value.to_string());
        assert_eq!(get("$.a").as_deref(), Some("[\"-1e999\",1.5]"));
        assert_eq!(get("$.c").as_deref(), Some("\"1e400\""));
        assert_eq!(get("/b\"1e400/1e400").as_deref(), Some("\"1e400\""));
        assert_eq!(at("{\"a\":1,\"c\":1e400", &parse_path("a").unwrap()), None);
        assert_eq!(at("not json", &parse_path("a").unwrap()), None);
        assert_eq!(at("{\"a\":", &parse_path("a").unwrap()), None);
    }
}
