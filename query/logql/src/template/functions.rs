//! The functions a template may call. Arguments come as Go passes them: a piped value is the last one.

mod base64;
mod comparison;
mod numbers;
mod places;
mod texts;
mod times;
mod urls;

use super::print::{html, js, print};
use super::printf::printf;
use super::time::Moment;
use super::value::Item;
use crate::units::{bytes_fault, duration_fault, parse_bytes, parse_go_duration_ns};
use base64::{decode, encode};
use chrono::Utc;
use chrono_tz::Tz;
use comparison::{order, same};
use model::regexp::compile;
use numbers::{exactly, float, int};
use places::{index, slice};
use texts::{
    align, indent, lower, repeat, replace, replace_matches, strip, substr, title, trim_set, trunc, upper,
};
use times::{instant, unix_time};
use urls::{url_decode, url_encode};

/// A function by its name, with what it takes: `s` a string, `i` a whole number, `f` a float, `t` a time, `a` anything, and a
/// star behind the last where there may be none or many of it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Function {
    name: &'static str,
    takes: &'static str,
}

const MANY: usize = 64;
/// To read a regex takes as long as to handle so much.
const REGEX_BYTES: usize = 64 << 10;

const FUNCTIONS: [(&str, &str); 84] = [
    ("ToLower", "s"),
    ("ToUpper", "s"),
    ("Replace", "sssi"),
    ("Trim", "ss"),
    ("TrimLeft", "ss"),
    ("TrimRight", "ss"),
    ("TrimPrefix", "ss"),
    ("TrimSuffix", "ss"),
    ("TrimSpace", "s"),
    ("lower", "s"),
    ("upper", "s"),
    ("title", "s"),
    ("trunc", "is"),
    ("substr", "iis"),
    ("contains", "ss"),
    ("hasPrefix", "ss"),
    ("hasSuffix", "ss"),
    ("indent", "is"),
    ("nindent", "is"),
    ("replace", "sss"),
    ("repeat", "is"),
    ("trim", "s"),
    ("trimAll", "ss"),
    ("trimSuffix", "ss"),
    ("trimPrefix", "ss"),
    ("regexReplaceAll", "sss"),
    ("regexReplaceAllLiteral", "sss"),
    ("count", "ss"),
    ("alignLeft", "is"),
    ("alignRight", "is"),
    ("default", "aa*"),
    ("urldecode", "s"),
    ("urlencode", "s"),
    ("b64enc", "s"),
    ("b64dec", "s"),
    ("bytes", "s"),
    ("duration", "s"),
    ("duration_seconds", "s"),
    ("int", "a"),
    ("float64", "a"),
    ("add", "a*"),
    ("sub", "aa"),
    ("mul", "aa*"),
    ("div", "aa"),
    ("mod", "aa"),
    ("addf", "a*"),
    ("subf", "aa*"),
    ("mulf", "aa*"),
    ("divf", "aa*"),
    ("max", "aa*"),
    ("min", "aa*"),
    ("maxf", "aa*"),
    ("minf", "aa*"),
    ("ceil", "a"),
    ("floor", "a"),
    ("round", "aif*"),
    ("unixEpoch", "t"),
    ("unixEpochMillis", "t"),
    ("unixEpochNanos", "t"),
    ("eq", "aa*"),
    ("ne", "aa"),
    ("lt", "aa"),
    ("le", "aa"),
    ("gt", "aa"),
    ("ge", "aa"),
    ("and", "aa*"),
    ("or", "aa*"),
    ("not", "a"),
    ("printf", "sa*"),
    ("print", "a*"),
    ("println", "a*"),
    ("len", "a"),
    ("index", "aa*"),
    ("slice", "aa*"),
    ("call", "aa*"),
    ("html", "a*"),
    ("js", "a*"),
    ("urlquery", "a*"),
    ("fromJson", "s"),
    ("date", "sa"),
    ("toDate", "ss"),
    ("toDateInZone", "sss"),
    ("unixToTime", "s"),
    ("now", ""),
];

impl Function {
    pub fn named(name: &str) -> Result<Function, String> {
        let found = FUNCTIONS.iter().find(|(known, _)| *known == name);
        let (name, takes) = *found.ok_or_else(|| format!("function {name:?} not defined"))?;
        Ok(Function { name, takes })
    }

    pub fn name(self) -> &'static str {
        self.name
    }

    /// What a call costs besides what it makes, in bytes that are handled.
    pub fn bytes(self) -> usize {
        match self.name {
            "regexReplaceAll" | "regexReplaceAllLiteral" | "count" => REGEX_BYTES,
            _ => 0,
        }
    }

    pub fn check_count(self, count: usize) -> Result<(), String> {
        let (least, most) = match self.takes.strip_suffix('*') {
            Some(takes) => (takes.len() - 1, MANY),
            None => (self.takes.len(), self.takes.len()),
        };
        if (least..=most).contains(&count) {
            return Ok(());
        }
        let at_least = if most > least { "at least " } else { "" };
        let name = self.name;
        Err(format!("wrong number of args for {name}: want {at_least}{least} got {count}"))
    }

    /// Whether the argument at a place may be what it is; `written` is how a literal stands in the template.
    pub fn check(self, at: usize, item: &Item, written: Option<&str>) -> Result<(), String> {
        let takes = self.takes.trim_end_matches('*').as_bytes();
        let Some(wanted) = takes.get(at).or(takes.last()) else { return Ok(()) };
        let (fits, name, literal) = match wanted {
            b's' => (matches!(item, Item::Text(_)), "string", "string"),
            b'i' => (matches!(item, Item::Int(_)), "int", "integer"),
            b'f' => (matches!(item, Item::Float(_) | Item::Int(_)), "float64", "float"),
            b't' => (matches!(item, Item::Time(_)), "time.Time", "time.Time"),
            _ => return Ok(()),
        };
        match (fits, item, written) {
            (true, ..) => Ok(()),
            (false, Item::Nothing, Some(_)) => Err(format!("cannot assign nil to {name}")),
            (false, Item::Nothing, None) => Err(format!("invalid value; expected {name}")),
            (false, _, Some(written)) => Err(format!("expected {literal}; found {written}")),
            (false, item, None) => {
                Err(format!("wrong type for value; expected {name}; got {}", item.type_name()))
            }
        }
    }

    /// There are as many arguments as [`check_count`](Self::check_count) wants, of the types that [`check`](Self::check) wants.
    pub fn call(self, items: &[Item]) -> Result<Item, String> {
        let text = |at: usize| items.get(at).map(Item::to_string).unwrap_or_default();
        let last = || text(items.len().saturating_sub(1));
        let number = |at: usize| items.get(at).map_or(0.0, float);
        let whole = |at: usize| items.get(at).map_or(0, int);
        let string = |value: String| Ok(Item::Text(value));
        match self.name {
            "ToLower" | "lower" => string(lower(&text(0))),
            "ToUpper" | "upper" => string(upper(&text(0))),
            "title" => string(title(&text(0))),
            "TrimSpace" | "trim" => string(text(0).trim().to_owned()),
            // The capitalised ones are Go's own, the subject first; the others take it last.
            "Replace" => string(replace(&text(0), &text(1), &text(2), whole(3))?),
            "replace" => string(replace(&text(2), &text(0), &text(1), -1)?),
            "Trim" => string(trim_set(&text(0), &text(1), true, true)),
            "TrimLeft" => string(trim_set(&text(0), &text(1), true, false)),
            "TrimRight" => string(trim_set(&text(0), &text(1), false, true)),
            "trimAll" => string(trim_set(&text(1), &text(0), true, true)),
            "TrimPrefix" => string(strip(&text(0), &text(1), true)),
            "TrimSuffix" => string(strip(&text(0), &text(1), false)),
            "trimPrefix" => string(strip(&text(1), &text(0), true)),
            "trimSuffix" => string(strip(&text(1), &text(0), false)),
            "trunc" => string(trunc(whole(0), &text(1))),
            "substr" => string(substr(whole(0), whole(1), &text(2))?),
            "contains" => Ok(Item::Bool(text(1).contains(&text(0)))),
            "hasPrefix" => Ok(Item::Bool(text(1).starts_with(&text(0)))),
            "hasSuffix" => Ok(Item::Bool(text(1).ends_with(&text(0)))),
            "indent" => string(indent(whole(0), &text(1))?),
            "nindent" => string(format!("\n{}", indent(whole(0), &text(1))?)),
            "repeat" => repeat(whole(0), &text(1)),
            "regexReplaceAll" => {
                string(replace_matches(&text(0), &text(1), &text(2), |found, with, out| {
                    found.expand(with, out)
                })?)
            }
            "regexReplaceAllLiteral" => {
                string(replace_matches(&text(0), &text(1), &text(2), |_, with, out| out.push_str(with))?)
            }
            "count" => {
                let regex = compile(&text(0))?;
                Ok(Item::Int(regex.find_iter(&text(1)).count() as i64))
            }
            "alignLeft" => string(align(whole(0), &text(1), false)),
            "alignRight" => string(align(whole(0), &text(1), true)),
            "default" => Ok(items.get(1).filter(|given| given.is_true()).unwrap_or(&items[0]).clone()),
            "urldecode" => string(url_decode(&text(0))?),
            "urlencode" => string(url_encode(&text(0))),
            "b64enc" => string(encode(text(0).as_bytes())),
            "b64dec" => string(decode(&text(0)).unwrap_or_else(|why| why)),
            "bytes" => parse_bytes(&text(0))
                .map(|bytes| Item::Float(bytes as f64))
                .ok_or_else(|| bytes_fault(&text(0))),
            "duration" | "duration_seconds" => parse_go_duration_ns(&text(0))
                .map(|ns| Item::Float(ns as f64 / 1e9))
                .ok_or_else(|| duration_fault(&text(0))),
            "int" => Ok(Item::Int(whole(0))),
            "float64" => Ok(Item::Float(number(0))),
            "add" => Ok(Item::Int(items.iter().map(int).fold(0, i64::wrapping_add))),
            "mul" => Ok(Item::Int(items.iter().map(int).fold(1, i64::wrapping_mul))),
            "sub" => Ok(Item::Int(whole(0).wrapping_sub(whole(1)))),
            "div" | "mod" if whole(1) == 0 => Err("runtime error: integer divide by zero".into()),
            "div" => Ok(Item::Int(whole(0).wrapping_div(whole(1)))),
            "mod" => Ok(Item::Int(whole(0).wrapping_rem(whole(1)))),
            "addf" => Ok(Item::Float(items.iter().map(float).fold(0.0, |a, b| exactly('+', a, b)))),
            "mulf" => {
                Ok(Item::Float(items.iter().skip(1).map(float).fold(number(0), |a, b| exactly('*', a, b))))
            }
            "subf" => {
                Ok(Item::Float(items.iter().skip(1).map(float).fold(number(0), |a, b| exactly('-', a, b))))
            }
            "divf" if items[1..].iter().any(|item| float(item) == 0.0) => {
                Err("decimal division by 0".to_owned())
            }
            "divf" => {
                Ok(Item::Float(items.iter().skip(1).map(float).fold(number(0), |a, b| exactly('/', a, b))))
            }
            "max" => Ok(Item::Int(items.iter().map(int).max().unwrap_or(0))),
            "min" => Ok(Item::Int(items.iter().map(int).min().unwrap_or(0))),
            "maxf" => Ok(Item::Float(items.iter().map(float).fold(f64::NEG_INFINITY, f64::max))),
            "minf" => Ok(Item::Float(items.iter().map(float).fold(f64::INFINITY, f64::min))),
            "ceil" => Ok(Item::Float(number(0).ceil())),
            "floor" => Ok(Item::Float(number(0).floor())),
            "round" => {
                let scale = 10f64.powi(whole(1).clamp(-300, 300) as i32);
                let scaled = number(0) * scale;
                // From what fraction on it is rounded up.
                let up_from = items.get(2).map_or(0.5, float);
                let rounded = if scaled.fract() >= up_from { scaled.ceil() } else { scaled.floor() };
                Ok(Item::Float(rounded / scale))
            }
            "unixEpoch" => string(instant(&items[0])?.timestamp().to_string()),
            "unixEpochMillis" => string(instant(&items[0])?.timestamp_millis().to_string()),
            "unixEpochNanos" => {
                let at = instant(&items[0])?;
                // Outside of 64 bits it goes on at the other end, as in Go.
                let seconds = at.timestamp().wrapping_mul(1_000_000_000);
                string(seconds.wrapping_add(i64::from(at.timestamp_subsec_nanos())).to_string())
            }
            "eq" if items.len() < 2 => Err("missing argument for comparison".into()),
            "eq" => {
                for other in &items[1..] {
                    if same(&items[0], other)? {
                        return Ok(Item::Bool(true));
                    }
                }
                Ok(Item::Bool(false))
            }
            "ne" => Ok(Item::Bool(!same(&items[0], &items[1])?)),
            "lt" => Ok(Item::Bool(order(&items[0], &items[1])?.is_lt())),
            "gt" => Ok(Item::Bool(order(&items[0], &items[1])?.is_gt())),
            "le" => Ok(Item::Bool(order(&items[0], &items[1])?.is_le())),
            "ge" => Ok(Item::Bool(order(&items[0], &items[1])?.is_ge())),
            "and" => Ok(items.iter().find(|item| !item.is_true()).unwrap_or(&items[items.len() - 1]).clone()),
            "or" => Ok(items.iter().find(|item| item.is_true()).unwrap_or(&items[items.len() - 1]).clone()),
            "not" => Ok(Item::Bool(!items[0].is_true())),
            // What is no time is the time it is. Whatever its zone, it is written in this server's, which is UTC.
            "date" => {
                let time = instant(&items[1]).unwrap_or_else(|_| Utc::now());
                string(Moment::utc(time).written(&text(0)))
            }
            "toDate" => Ok(Item::Time(Moment::read(&text(0), &text(1), Tz::UTC))),
            "toDateInZone" => {
                let zone = text(1).parse().unwrap_or(Tz::UTC);
                Ok(Item::Time(Moment::read(&text(0), &text(2), zone)))
            }
            "unixToTime" => unix_time(&text(0)).map(|time| Item::Time(Moment::utc(time))),
            "now" => Ok(Item::Time(Moment::utc(Utc::now()))),
            "fromJson" => Ok(serde_json::from_str(&text(0)).map_or(Item::Nothing, Item::of_json)),
            "len" => match &items[0] {
                Item::List(items) => Ok(Item::Int(items.len() as i64)),
                Item::Map(entries) => Ok(Item::Int(entries.len() as i64)),
                Item::Text(text) => Ok(Item::Int(text.len() as i64)),
                Item::Nothing => Err("reflect: call of reflect.Value.Type on zero Value".into()),
                other => Err(format!("len of type {}", other.type_name())),
            },
            "index" => items[1..].iter().try_fold(items[0].clone(), |item, at| index(&item, at)),
            "slice" => slice(&items[0], &items[1..]),
            "call" => Err(format!("non-function {} of type {}", text(0), items[0].type_name())),
            "print" => string(print(items)),
            "html" => string(html(&print(items))),
            "js" => string(js(&print(items))),
            "urlquery" => string(url_encode(&print(items))),
            "println" => {
                let words: Vec<String> = items.iter().map(Item::inside).collect();
                string(format!("{}\n", words.join(" ")))
            }
            "printf" => string(printf(&text(0), &items[1..])),
            _ => string(last()),
        }
    }
}
