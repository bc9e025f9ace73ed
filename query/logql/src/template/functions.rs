//! The functions a template may call. Arguments come as Go passes them: a piped value is the last one.

use super::print::{html, js, print};
use super::printf::printf;
use super::time::Moment;
use super::value::Item;
use crate::units::{
    bytes_fault, duration_fault, parse_bytes, parse_float, parse_go_duration_ns, separates_digits,
};
use base64_lite::{decode, encode};
use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use model::regexp::compile;
use std::cmp::Ordering;
use std::num::{IntErrorKind, ParseIntError};

/// A function by its name, with what it takes: `s` a string, `i` a whole number, `f` a float, `t` a time, `a` anything, and a
/// star behind the last where there may be none or many of it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Function {
    name: &'static str,
    takes: &'static str,
}

const MANY: usize = 64;
/// What functions that make texts longer may make of one.
const GROWN_BYTES_MAX: usize = 8 << 20;
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

fn float(item: &Item) -> f64 {
    match item {
        Item::Text(text) => parse_float(text).unwrap_or(0.0),
        Item::Int(number) => *number as f64,
        Item::Float(number) => *number,
        Item::Bool(truth) => f64::from(u8::from(*truth)),
        Item::Time(time) => time.instant().timestamp_nanos_opt().unwrap_or_default() as f64,
        Item::Named(named) => named.number as f64,
        Item::List(_) | Item::Map(_) | Item::Nothing => 0.0,
    }
}

/// The operation in decimal digits, as the functions for floats have it: a quotient to sixteen of them.
fn exactly(operation: char, a: f64, b: f64) -> f64 {
    let digits = |number: f64| -> Option<(i128, u32)> {
        let text = format!("{number}");
        let (whole, fraction) = text.split_once('.').unwrap_or((&text, ""));
        let is_short = number.is_finite() && whole.len() + fraction.len() <= 18;
        is_short.then(|| Some((format!("{whole}{fraction}").parse().ok()?, fraction.len() as u32)))?
    };
    let of = |mantissa: i128, scale: u32| format!("{mantissa}e-{scale}").parse::<f64>().ok();
    let exact = || {
        let ((a, a_scale), (b, b_scale)) = (digits(a)?, digits(b)?);
        let scale = a_scale.max(b_scale);
        let [whole_a, whole_b] =
            [(a, a_scale), (b, b_scale)].map(|(n, of_n)| n.checked_mul(10i128.pow(scale - of_n)));
        match operation {
            '+' => of(whole_a?.checked_add(whole_b?)?, scale),
            '-' => of(whole_a?.checked_sub(whole_b?)?, scale),
            '*' => of(a.checked_mul(b)?, a_scale + b_scale),
            _ => {
                let (a, b) = (whole_a?.checked_mul(10i128.pow(16))?, whole_b?);
                let (quotient, rest) = (a.checked_div(b)?, a.checked_rem(b)?);
                let away = if (a < 0) == (b < 0) { 1 } else { -1 };
                let is_up = rest.checked_abs()?.checked_mul(2)? >= b.checked_abs()?;
                of(quotient + if is_up { away } else { 0 }, 16)
            }
        }
    };
    exact().unwrap_or(match operation {
        '+' => a + b,
        '-' => a - b,
        '*' => a * b,
        _ => a / b,
    })
}

fn instant(item: &Item) -> Result<DateTime<Utc>, String> {
    match item {
        Item::Time(time) => Ok(time.instant()),
        // Numbers are seconds.
        Item::Int(seconds) => DateTime::from_timestamp(*seconds, 0).ok_or_else(|| "no time".to_owned()),
        other => Err(format!("wrong type for value; expected time.Time; got {}", other.type_name())),
    }
}

/// A time of days, seconds, milliseconds, microseconds or nanoseconds since 1970, which its length tells.
fn unix_time(text: &str) -> Result<DateTime<Utc>, String> {
    let number: i64 = text.parse().map_err(|why: ParseIntError| {
        let is_long = matches!(why.kind(), IntErrorKind::PosOverflow | IntErrorKind::NegOverflow);
        let why = if is_long { "value out of range" } else { "invalid syntax" };
        format!("unable to parse time '{text}': strconv.ParseInt: parsing {text:?}: {why}")
    })?;
    let time = match text.len() {
        5 => DateTime::from_timestamp(number * 86_400, 0),
        10 => DateTime::from_timestamp(number, 0),
        13 => DateTime::from_timestamp_millis(number),
        16 => DateTime::from_timestamp_micros(number),
        19 => Some(DateTime::from_timestamp_nanos(number)),
        _ => None,
    };
    time.ok_or_else(|| format!("unable to parse time '{text}': %!w(<nil>)"))
}

fn int(item: &Item) -> i64 {
    match item {
        Item::Text(text) => read_whole(text).unwrap_or(0),
        other => other.whole().unwrap_or_else(|| float(other) as i64),
    }
}

/// A whole number as Go writes it, in several bases and with underscores; what stands behind its point does not count.
fn read_whole(text: &str) -> Option<i64> {
    let is_fraction = |(_, digits): &(&str, &str)| digits.bytes().all(|byte| byte.is_ascii_digit());
    let number = text.split_once('.').filter(is_fraction).map_or(text, |(number, _)| number);
    if number.contains('_') && !separates_digits(number) {
        return None;
    }
    let sign = if number.starts_with('-') { "-" } else { "" };
    let digits = number.strip_prefix(['-', '+']).unwrap_or(number).to_ascii_lowercase().replace('_', "");
    let bases = [("0x", 16), ("0b", 2), ("0o", 8), ("0", 8)];
    let found = bases.iter().find_map(|(prefix, base)| {
        Some((digits.strip_prefix(prefix).filter(|digits| !digits.is_empty())?, *base))
    });
    let (digits, base) = found.unwrap_or((digits.as_str(), 10));
    i64::from_str_radix(&format!("{sign}{digits}"), base).ok()
}

fn incompatible(left: &Item, right: &Item) -> String {
    format!("incompatible types for comparison: {} and {}", left.type_name(), right.type_name())
}

fn same(left: &Item, right: &Item) -> Result<bool, String> {
    if let (Some(a), Some(b)) = (left.whole(), right.whole()) {
        return Ok(a == b);
    }
    match (left, right) {
        (Item::Text(a), Item::Text(b)) => Ok(a == b),
        (Item::Bool(a), Item::Bool(b)) => Ok(a == b),
        (Item::Float(a), Item::Float(b)) => Ok(a == b),
        (Item::Time(a), Item::Time(b)) => Ok(a == b),
        (Item::Nothing, other) | (other, Item::Nothing) => Ok(*other == Item::Nothing),
        (Item::List(_) | Item::Map(_), Item::List(_) | Item::Map(_)) => {
            let shown = printf("%s", std::slice::from_ref(left));
            Err(format!("non-comparable type {shown}: {}", left.type_name()))
        }
        _ => Err(incompatible(left, right)),
    }
}

fn order(left: &Item, right: &Item) -> Result<Ordering, String> {
    if let (Some(a), Some(b)) = (left.whole(), right.whole()) {
        return Ok(a.cmp(&b));
    }
    match (left, right) {
        (Item::Text(a), Item::Text(b)) => Ok(a.cmp(b)),
        (Item::Float(a), Item::Float(b)) => Ok(a.total_cmp(b)),
        (Item::Text(_) | Item::Int(_) | Item::Float(_) | Item::Bool(_), Item::Text(_) | Item::Int(_))
        | (Item::Text(_) | Item::Int(_) | Item::Bool(_), Item::Float(_))
        | (Item::Text(_) | Item::Int(_) | Item::Float(_), Item::Bool(_)) => Err(incompatible(left, right)),
        _ => Err("invalid type for comparison".to_owned()),
    }
}

fn index(item: &Item, at: &Item) -> Result<Item, String> {
    let place = |length: usize| match at {
        Item::Int(at) => {
            let found = usize::try_from(*at).ok().filter(|at| *at < length);
            found.ok_or_else(|| format!("index out of range: {at}"))
        }
        other => Err(format!("cannot index slice/array with type {}", other.type_name())),
    };
    match item {
        Item::List(items) => Ok(items[place(items.len())?].clone()),
        Item::Text(text) => Ok(Item::Int(i64::from(text.as_bytes()[place(text.len())?]))),
        Item::Map(entries) => match at {
            // What is not there is empty in a map of strings.
            Item::Text(name) => match entries.iter().find(|(known, _)| known == name) {
                Some((_, item)) => Ok(item.clone()),
                None if entries.iter().all(|(_, item)| matches!(item, Item::Text(_))) => {
                    Ok(Item::Text(String::new()))
                }
                None => Ok(Item::Nothing),
            },
            other => Err(format!("value has type {}; should be string", other.type_name())),
        },
        Item::Nothing => Err("index of untyped nil".to_owned()),
        other => Err(format!("can't index item of type {}", other.type_name())),
    }
}

fn slice(item: &Item, bounds: &[Item]) -> Result<Item, String> {
    let length = match item {
        Item::Text(text) => text.len(),
        Item::List(items) => items.len(),
        Item::Nothing => return Err("slice of untyped nil".to_owned()),
        other => return Err(format!("can't slice item of type {}", other.type_name())),
    };
    if bounds.len() > 3 {
        return Err(format!("too many slice indexes: {}", bounds.len()));
    }
    if bounds.len() == 3 && matches!(item, Item::Text(_)) {
        return Err("cannot 3-index slice a string".to_owned());
    }
    let mut places = vec![];
    for bound in bounds {
        let Item::Int(at) = bound else {
            return Err(format!("cannot index slice/array with type {}", bound.type_name()));
        };
        let place = usize::try_from(*at).ok().filter(|at| *at <= length);
        places.push(place.ok_or_else(|| format!("index out of range: {at}"))?);
    }
    let (from, to) = (places.first().copied().unwrap_or(0), places.get(1).copied().unwrap_or(length));
    if from > to {
        return Err(format!("invalid slice index: {from} > {to}"));
    }
    Ok(match item {
        Item::List(items) => Item::List(items[from..to].to_vec()),
        other => Item::Text(bytes_of(&other.to_string(), from, to)),
    })
}

/// Go cuts strings between bytes, whatever characters they are of.
fn bytes_of(text: &str, from: usize, to: usize) -> String {
    String::from_utf8_lossy(&text.as_bytes()[from..to]).into_owned()
}

/// Each character becomes one, as in Go.
fn lower(text: &str) -> String {
    text.chars().map(|c| c.to_lowercase().next().unwrap_or(c)).collect()
}

fn upper(text: &str) -> String {
    text.chars().map(upper_of).collect()
}

/// One that would become several stays.
fn upper_of(c: char) -> char {
    let mut upper = c.to_uppercase();
    match (upper.next(), upper.next()) {
        (Some(upper), None) => upper,
        _ => c,
    }
}

/// Words begin behind blanks and what of ASCII is no letter, digit or `_`.
fn title(text: &str) -> String {
    let mut start = true;
    let one = |c: char| {
        let out = match c {
            _ if !start => c,
            'Ǆ' | 'ǅ' | 'ǆ' => 'ǅ',
            'Ǉ' | 'ǈ' | 'ǉ' => 'ǈ',
            'Ǌ' | 'ǋ' | 'ǌ' => 'ǋ',
            'Ǳ' | 'ǲ' | 'ǳ' => 'ǲ',
            c => upper_of(c),
        };
        start = match c.is_ascii() {
            true => !c.is_ascii_alphanumeric() && c != '_',
            false => c.is_whitespace(),
        };
        out
    };
    text.chars().map(one).collect()
}

/// So many of the places from the start on, all of them where the count is negative. It may multiply a text's length; past the
/// bound it is refused.
fn replace(text: &str, from: &str, to: &str, count: i64) -> Result<String, String> {
    let count = usize::try_from(count).unwrap_or(usize::MAX);
    let places = text.matches(from).count().min(count);
    grown(text.len().saturating_add(places.saturating_mul(to.len())))?;
    Ok(text.replacen(from, to, count))
}

/// Every match of the regex, by what `write` writes for it.
fn replace_matches(
    regex: &str,
    text: &str,
    with: &str,
    write: impl Fn(&regex::Captures<'_>, &str, &mut String),
) -> Result<String, String> {
    let regex = compile(regex)?;
    let (mut out, mut done) = (String::new(), 0);
    for found in regex.captures_iter(text) {
        let whole = found.get_match();
        out.push_str(&text[done..whole.start()]);
        // Each dollar sign may be as much as was matched.
        let most = with.len().saturating_add(with.matches('$').count().saturating_mul(whole.len()));
        grown(out.len().saturating_add(most))?;
        write(&found, with, &mut out);
        done = whole.end();
    }
    out.push_str(&text[done..]);
    Ok(out)
}

fn grown(bytes: usize) -> Result<(), String> {
    match bytes > GROWN_BYTES_MAX {
        true => Err("it makes the line too long".to_owned()),
        false => Ok(()),
    }
}

fn trim_set(text: &str, set: &str, left: bool, right: bool) -> String {
    let mut text = text;
    if left {
        text = text.trim_start_matches(|c| set.contains(c));
    }
    if right {
        text = text.trim_end_matches(|c| set.contains(c));
    }
    text.to_owned()
}

fn strip(text: &str, part: &str, prefix: bool) -> String {
    let stripped = if prefix { text.strip_prefix(part) } else { text.strip_suffix(part) };
    stripped.unwrap_or(text).to_owned()
}

fn trunc(count: i64, text: &str) -> String {
    let keep = usize::try_from(count.unsigned_abs()).unwrap_or(usize::MAX).min(text.len());
    match count {
        0.. => bytes_of(text, 0, keep),
        _ => bytes_of(text, text.len() - keep, text.len()),
    }
}

/// Where the bounds are none, Go's runtime fails and says how.
fn substr(start: i64, end: i64, text: &str) -> Result<String, String> {
    let length = text.len() as i64;
    let fails = |bounds: String| Err(format!("runtime error: slice bounds out of range {bounds}"));
    let (from, to) = match (start, end) {
        (..0, end) if end < 0 => return fails(format!("[:{end}]")),
        (..0, end) if end > length => return fails(format!("[:{end}] with length {length}")),
        (..0, end) => (0, end),
        (start, end) if end < 0 || end > length => match start > length {
            true => return fails(format!("[{start}:{length}]")),
            false => (start, length),
        },
        (start, end) if start > end => return fails(format!("[{start}:{end}]")),
        bounds => bounds,
    };
    Ok(bytes_of(text, from as usize, to as usize))
}

fn indent(count: i64, text: &str) -> Result<String, String> {
    if count < 0 {
        return Err("strings: negative Repeat count".to_owned());
    }
    let pad = " ".repeat(count.min(1000) as usize);
    grown(text.len().saturating_add(text.split('\n').count().saturating_mul(pad.len())))?;
    Ok(text.split('\n').map(|line| format!("{pad}{line}")).collect::<Vec<_>>().join("\n"))
}

fn align(count: i64, text: &str, right: bool) -> String {
    if count < 0 {
        return text.to_owned();
    }
    let width = count.min(10_000) as usize;
    let length = text.chars().count();
    if length >= width {
        let skip = if right { length - width } else { 0 };
        return text.chars().skip(skip).take(width).collect();
    }
    let pad = " ".repeat(width - length);
    if right { format!("{pad}{text}") } else { format!("{text}{pad}") }
}

fn repeat(count: i64, text: &str) -> Result<Item, String> {
    let count = usize::try_from(count).map_err(|_| "strings: negative Repeat count".to_owned())?;
    if count.saturating_mul(text.len()) > 1 << 20 {
        return Err("repeat makes the line too long".to_owned());
    }
    Ok(Item::Text(text.repeat(count)))
}

fn url_decode(text: &str) -> Result<String, String> {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        match bytes[at] {
            b'+' => out.push(b' '),
            b'%' => {
                let hex = text.get(at + 1..at + 3).and_then(|hex| u8::from_str_radix(hex, 16).ok());
                let shown = &bytes[at..bytes.len().min(at + 3)];
                let fault = || format!("invalid URL escape {:?}", String::from_utf8_lossy(shown));
                out.push(hex.ok_or_else(fault)?);
                at += 2;
            }
            b => out.push(b),
        }
        at += 1;
    }
    Ok(String::from_utf8_lossy(&out).into_owned())
}

fn url_encode(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for b in text.bytes() {
        match b {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => out.push(b as char),
            b' ' => out.push('+'),
            b => out.push_str(&format!("%{b:02X}")),
        }
    }
    out
}

/// Standard base64 with padding, as templates use it.
mod base64_lite {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

    pub fn encode(bytes: &[u8]) -> String {
        let mut out = String::with_capacity(bytes.len().div_ceil(3) * 4);
        for chunk in bytes.chunks(3) {
            let group =
                chunk.iter().fold(0u32, |group, b| group << 8 | u32::from(*b)) << (8 * (3 - chunk.len()));
            for at in 0..4 {
                let code = (group >> (18 - 6 * at)) & 63;
                out.push(if at <= chunk.len() { ALPHABET[code as usize] as char } else { '=' });
            }
        }
        out
    }

    /// The text, or what Go says of one that is none. Ends of lines may stand between its characters.
    pub fn decode(text: &str) -> Result<String, String> {
        let illegal = |at: usize| format!("illegal base64 data at input byte {at}");
        let text = text.as_bytes();
        let behind_lines = |mut at: usize| {
            while matches!(text.get(at), Some(b'\n' | b'\r')) {
                at += 1;
            }
            at
        };
        let mut bytes = Vec::with_capacity(text.len() / 4 * 3);
        let (mut at, mut group, mut count) = (behind_lines(0), 0u32, 0);
        while let Some(byte) = text.get(at) {
            let Some(code) = ALPHABET.iter().position(|known| known == byte) else { break };
            group = group << 6 | code as u32;
            count += 1;
            if count == 4 {
                bytes.extend_from_slice(&group.to_be_bytes()[1..]);
                (group, count) = (0, 0);
            }
            at = behind_lines(at + 1);
        }
        match text.get(at) {
            None if count == 0 => {}
            None => return Err(illegal(text.len() - count)),
            Some(b'=') if count >= 2 => {
                let end = padding_end(text, behind_lines(at + 1), count).map_err(illegal)?;
                let end = behind_lines(end);
                if end < text.len() {
                    return Err(illegal(end));
                }
                group <<= 6 * (4 - count);
                bytes.extend_from_slice(&group.to_be_bytes()[1..count]);
            }
            Some(_) => return Err(illegal(at)),
        }
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// Where the padding ends whose second character would stand at `at`; else where it is wrong.
    fn padding_end(text: &[u8], at: usize, count: usize) -> Result<usize, usize> {
        match text.get(at) {
            _ if count == 3 => Ok(at),
            Some(b'=') => Ok(at + 1),
            Some(_) => Err(at - 1),
            None => Err(text.len()),
        }
    }
}
