//! The functions a template may call. Arguments come as Go passes them: a piped value is the last one.

use super::value::Item;
use crate::units::{parse_bytes, parse_duration_ns};
use base64_lite::{decode, encode};
use chrono::{DateTime, NaiveDate, NaiveDateTime, Utc};
use model::regexp::compile;

/// A function by its name, with the arguments it takes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Function {
    name: &'static str,
    arguments_min: usize,
    arguments_max: usize,
}

const MANY: usize = 64;

/// Name, fewest and most arguments.
const FUNCTIONS: [(&str, usize, usize); 79] = [
    ("ToLower", 1, 1),
    ("ToUpper", 1, 1),
    ("Replace", 4, 4),
    ("Trim", 2, 2),
    ("TrimLeft", 2, 2),
    ("TrimRight", 2, 2),
    ("TrimPrefix", 2, 2),
    ("TrimSuffix", 2, 2),
    ("TrimSpace", 1, 1),
    ("lower", 1, 1),
    ("upper", 1, 1),
    ("title", 1, 1),
    ("trunc", 2, 2),
    ("substr", 3, 3),
    ("contains", 2, 2),
    ("hasPrefix", 2, 2),
    ("hasSuffix", 2, 2),
    ("indent", 2, 2),
    ("nindent", 2, 2),
    ("replace", 3, 3),
    ("repeat", 2, 2),
    ("trim", 1, 1),
    ("trimAll", 2, 2),
    ("trimSuffix", 2, 2),
    ("trimPrefix", 2, 2),
    ("regexReplaceAll", 3, 3),
    ("regexReplaceAllLiteral", 3, 3),
    ("count", 2, 2),
    ("alignLeft", 2, 2),
    ("alignRight", 2, 2),
    ("default", 2, 2),
    ("urldecode", 1, 1),
    ("urlencode", 1, 1),
    ("b64enc", 1, 1),
    ("b64dec", 1, 1),
    ("bytes", 1, 1),
    ("duration", 1, 1),
    ("duration_seconds", 1, 1),
    ("int", 1, 1),
    ("float64", 1, 1),
    ("add", 1, MANY),
    ("sub", 2, 2),
    ("mul", 1, MANY),
    ("div", 2, 2),
    ("mod", 2, 2),
    ("addf", 1, MANY),
    ("subf", 1, MANY),
    ("mulf", 1, MANY),
    ("divf", 1, MANY),
    ("max", 1, MANY),
    ("min", 1, MANY),
    ("maxf", 1, MANY),
    ("minf", 1, MANY),
    ("ceil", 1, 1),
    ("floor", 1, 1),
    ("round", 2, 3),
    ("unixEpoch", 1, 1),
    ("unixEpochMillis", 1, 1),
    ("unixEpochNanos", 1, 1),
    ("eq", 2, MANY),
    ("ne", 2, 2),
    ("lt", 2, 2),
    ("le", 2, 2),
    ("gt", 2, 2),
    ("ge", 2, 2),
    ("and", 1, MANY),
    ("or", 1, MANY),
    ("not", 1, 1),
    ("printf", 1, MANY),
    ("print", 0, MANY),
    ("println", 0, MANY),
    ("len", 1, 1),
    ("index", 1, MANY),
    ("fromJson", 1, 1),
    ("date", 2, 2),
    ("toDate", 2, 2),
    ("toDateInZone", 3, 3),
    ("unixToTime", 1, 1),
    ("now", 0, 0),
];

impl Function {
    pub fn named(name: &str) -> Result<Function, String> {
        let found = FUNCTIONS.iter().find(|(known, _, _)| *known == name);
        let (name, arguments_min, arguments_max) =
            *found.ok_or_else(|| format!("template: line:1: function {name:?} not defined"))?;
        Ok(Function { name, arguments_min, arguments_max })
    }

    pub fn check_count(self, count: usize) -> Result<(), String> {
        if (self.arguments_min..=self.arguments_max).contains(&count) {
            return Ok(());
        }
        let at_least = if self.arguments_max > self.arguments_min { "at least " } else { "" };
        Err(format!(
            "template: line:1: executing \"line\" at <{0}>: wrong number of args for {0}: want {at_least}{1} got {count}",
            self.name, self.arguments_min
        ))
    }

    /// There are as many arguments as [`check_count`](Self::check_count) wants.
    pub fn call(self, items: &[Item]) -> Result<Item, String> {
        let text = |at: usize| items.get(at).map(Item::to_string).unwrap_or_default();
        let last = || text(items.len().saturating_sub(1));
        let number = |at: usize| items.get(at).map_or(0.0, float);
        let whole = |at: usize| items.get(at).map_or(0, int);
        let string = |value: String| Ok(Item::Text(value));
        match self.name {
            "ToLower" | "lower" => string(text(0).to_lowercase()),
            "ToUpper" | "upper" => string(text(0).to_uppercase()),
            "title" => string(title(&text(0))),
            "TrimSpace" | "trim" => string(text(0).trim().to_owned()),
            // The capitalised ones are Go's own, the subject first; the others take it last.
            "Replace" => string(replace_some(&text(0), &text(1), &text(2), whole(3))),
            "replace" => string(bounded_replace(&text(2), &text(0), &text(1))?),
            "Trim" => string(trim_set(&text(0), &text(1), true, true)),
            "TrimLeft" => string(trim_set(&text(0), &text(1), true, false)),
            "TrimRight" => string(trim_set(&text(0), &text(1), false, true)),
            "trimAll" => string(trim_set(&text(1), &text(0), true, true)),
            "TrimPrefix" => string(strip(&text(0), &text(1), true)),
            "TrimSuffix" => string(strip(&text(0), &text(1), false)),
            "trimPrefix" => string(strip(&text(1), &text(0), true)),
            "trimSuffix" => string(strip(&text(1), &text(0), false)),
            "trunc" => string(trunc(whole(0), &text(1))),
            "substr" => string(substr(whole(0), whole(1), &text(2))),
            "contains" => Ok(Item::Bool(text(1).contains(&text(0)))),
            "hasPrefix" => Ok(Item::Bool(text(1).starts_with(&text(0)))),
            "hasSuffix" => Ok(Item::Bool(text(1).ends_with(&text(0)))),
            "indent" => string(indent(whole(0), &text(1))),
            "nindent" => string(format!("\n{}", indent(whole(0), &text(1)))),
            "repeat" => repeat(whole(0), &text(1)),
            "regexReplaceAll" => {
                let regex = compile(&text(0))?;
                string(regex.replace_all(&text(1), text(2).as_str()).into_owned())
            }
            "regexReplaceAllLiteral" => {
                let regex = compile(&text(0))?;
                string(regex.replace_all(&text(1), regex::NoExpand(&text(2))).into_owned())
            }
            "count" => {
                let regex = compile(&text(0))?;
                Ok(Item::Int(regex.find_iter(&text(1)).count() as i64))
            }
            "alignLeft" => string(align(whole(0), &text(1), false)),
            "alignRight" => string(align(whole(0), &text(1), true)),
            "default" => Ok(if items[1].is_true() { items[1].clone() } else { items[0].clone() }),
            "urldecode" => string(url_decode(&text(0))?),
            "urlencode" => string(url_encode(&text(0))),
            "b64enc" => string(encode(text(0).as_bytes())),
            "b64dec" => string(decode(&text(0)).ok_or("template: illegal base64 data")?),
            "bytes" => parse_bytes(&text(0))
                .map(|bytes| Item::Float(bytes as f64))
                .ok_or_else(|| format!("template: invalid size {:?}", text(0))),
            "duration" | "duration_seconds" => parse_duration_ns(&text(0))
                .map(|ns| Item::Float(ns as f64 / 1e9))
                .ok_or_else(|| format!("template: invalid duration {:?}", text(0))),
            "int" => Ok(Item::Int(whole(0))),
            "float64" => Ok(Item::Float(number(0))),
            "add" => Ok(Item::Int(items.iter().map(int).fold(0, i64::wrapping_add))),
            "mul" => Ok(Item::Int(items.iter().map(int).fold(1, i64::wrapping_mul))),
            "sub" => Ok(Item::Int(whole(0).wrapping_sub(whole(1)))),
            "div" => {
                whole(0).checked_div(whole(1)).map(Item::Int).ok_or_else(|| "template: divide by zero".into())
            }
            "mod" => {
                whole(0).checked_rem(whole(1)).map(Item::Int).ok_or_else(|| "template: divide by zero".into())
            }
            "addf" => Ok(Item::Float(items.iter().map(float).fold(0.0, |a, b| exactly('+', a, b)))),
            "mulf" => {
                Ok(Item::Float(items.iter().skip(1).map(float).fold(number(0), |a, b| exactly('*', a, b))))
            }
            "subf" => {
                Ok(Item::Float(items.iter().skip(1).map(float).fold(number(0), |a, b| exactly('-', a, b))))
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
            "unixEpoch" => string(time(&items[0])?.timestamp().to_string()),
            "unixEpochMillis" => string(time(&items[0])?.timestamp_millis().to_string()),
            "unixEpochNanos" => {
                string(time(&items[0])?.timestamp_nanos_opt().unwrap_or_default().to_string())
            }
            "eq" => Ok(Item::Bool(items[1..].iter().any(|other| same(&items[0], other)))),
            "ne" => Ok(Item::Bool(!same(&items[0], &items[1]))),
            "lt" => Ok(Item::Bool(less(&items[0], &items[1]))),
            "gt" => Ok(Item::Bool(less(&items[1], &items[0]))),
            "le" => Ok(Item::Bool(!less(&items[1], &items[0]))),
            "ge" => Ok(Item::Bool(!less(&items[0], &items[1]))),
            "and" => Ok(items.iter().find(|item| !item.is_true()).unwrap_or(&items[items.len() - 1]).clone()),
            "or" => Ok(items.iter().find(|item| item.is_true()).unwrap_or(&items[items.len() - 1]).clone()),
            "not" => Ok(Item::Bool(!items[0].is_true())),
            "date" => string(go_date(&text(0), time(&items[1])?)),
            "toDate" => Ok(Item::Time(read_date(&text(0), &text(1)))),
            // Zones other than UTC are not known here.
            "toDateInZone" => Ok(Item::Time(read_date(&text(0), &text(2)))),
            "unixToTime" => unix_time(&text(0)).map(Item::Time),
            "now" => Ok(Item::Time(Utc::now())),
            "fromJson" => Ok(serde_json::from_str(&text(0)).map_or(Item::Nothing, Item::of_json)),
            "len" => match &items[0] {
                Item::List(items) => Ok(Item::Int(items.len() as i64)),
                Item::Map(entries) => Ok(Item::Int(entries.len() as i64)),
                other => Ok(Item::Int(other.to_string().len() as i64)),
            },
            "index" => items[1..].iter().try_fold(items[0].clone(), |item, at| match &item {
                Item::List(items) => usize::try_from(int(at))
                    .ok()
                    .and_then(|at| items.get(at).cloned())
                    .ok_or_else(|| format!("template: index out of range: {at}")),
                Item::Map(_) => Ok(item.at(&at.to_string())),
                other => Err(format!("template: can't index {other}")),
            }),
            "print" => string(items.iter().map(Item::to_string).collect()),
            "println" => {
                let words: Vec<String> = items.iter().map(Item::to_string).collect();
                string(format!("{}\n", words.join(" ")))
            }
            "printf" => string(printf(&text(0), &items[1..])),
            _ => string(last()),
        }
    }
}

fn float(item: &Item) -> f64 {
    match item {
        Item::Text(text) => text.trim().parse().unwrap_or(0.0),
        Item::Int(number) => *number as f64,
        Item::Float(number) => *number,
        Item::Bool(truth) => f64::from(u8::from(*truth)),
        Item::Time(time) => time.timestamp_nanos_opt().unwrap_or_default() as f64,
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

fn time(item: &Item) -> Result<DateTime<Utc>, String> {
    match item {
        Item::Time(time) => Ok(*time),
        // Numbers are seconds.
        Item::Int(seconds) => {
            DateTime::from_timestamp(*seconds, 0).ok_or_else(|| "template: no time".to_owned())
        }
        other => Err(format!("template: wrong type for value; expected time.Time; got {other}")),
    }
}

/// A time of days, seconds, milliseconds, microseconds or nanoseconds since 1970, which its length tells.
fn unix_time(text: &str) -> Result<DateTime<Utc>, String> {
    let number: i64 = text.parse().map_err(|_| format!("unable to parse time '{text}': it is no number"))?;
    let time = match text.len() {
        5 => DateTime::from_timestamp(number * 86_400, 0),
        10 => DateTime::from_timestamp(number, 0),
        13 => DateTime::from_timestamp_millis(number),
        16 => DateTime::from_timestamp_micros(number),
        19 => Some(DateTime::from_timestamp_nanos(number)),
        _ => None,
    };
    time.ok_or_else(|| format!("unable to parse time '{text}': it has {} digits", text.len()))
}

/// A text in Go's reference layout; what is none is the first day of the year 1, as in Go.
fn read_date(layout: &str, text: &str) -> DateTime<Utc> {
    let format: String = pieces(layout)
        .map(|piece| match piece {
            Piece::Part("Z07:00" | "-07:00") => "%#z".to_owned(),
            Piece::Part("MST") => "%Z".to_owned(),
            // A fraction may stand in the text and not in the layout.
            Piece::Part("05") => "%S%.f".to_owned(),
            Piece::Part(part) => strftime(part).to_owned(),
            Piece::Fraction(_) => String::new(),
            Piece::Other('%') => "%%".to_owned(),
            Piece::Other(other) => other.to_string(),
        })
        .collect();
    let zoned = || DateTime::parse_from_str(text, &format).map(|time| time.to_utc());
    let time = || NaiveDateTime::parse_from_str(text, &format).map(|time| time.and_utc());
    let date =
        || NaiveDate::parse_from_str(text, &format).map(|date| date.and_time(Default::default()).and_utc());
    let first = NaiveDate::from_ymd_opt(1, 1, 1).unwrap_or_default().and_time(Default::default()).and_utc();
    zoned().or_else(|_| time()).or_else(|_| date()).unwrap_or(first)
}

fn int(item: &Item) -> i64 {
    match item {
        Item::Int(number) => *number,
        Item::Text(text) => text.trim().parse().unwrap_or_else(|_| float(item) as i64),
        other => float(other) as i64,
    }
}

fn same(left: &Item, right: &Item) -> bool {
    match (left, right) {
        (Item::Text(a), Item::Text(b)) => a == b,
        (Item::Bool(a), Item::Bool(b)) => a == b,
        (Item::Text(_), _) | (_, Item::Text(_)) => left.to_string() == right.to_string(),
        _ => float(left) == float(right),
    }
}

fn less(left: &Item, right: &Item) -> bool {
    match (left, right) {
        (Item::Text(a), Item::Text(b)) => a < b,
        _ => float(left) < float(right),
    }
}

fn title(text: &str) -> String {
    let mut start = true;
    text.chars()
        .map(|c| {
            let out = if start { c.to_ascii_uppercase() } else { c };
            start = !c.is_alphanumeric();
            out
        })
        .collect()
}

fn replace_some(text: &str, from: &str, to: &str, count: i64) -> String {
    match usize::try_from(count) {
        Ok(count) => text.replacen(from, to, count),
        Err(_) => text.replace(from, to),
    }
}

/// A replacement may multiply a line's length; past the bound it is refused.
fn bounded_replace(text: &str, from: &str, to: &str) -> Result<String, String> {
    if text.len().saturating_mul(to.len().max(1)) > 64 << 20 {
        return Err("template: replace makes the line too long".to_owned());
    }
    Ok(text.replace(from, to))
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
    let length = text.chars().count();
    let keep = usize::try_from(count.unsigned_abs()).unwrap_or(usize::MAX);
    if count >= 0 {
        text.chars().take(keep).collect()
    } else {
        text.chars().skip(length.saturating_sub(keep)).collect()
    }
}

fn substr(start: i64, end: i64, text: &str) -> String {
    let start = usize::try_from(start).unwrap_or(0);
    let end = usize::try_from(end).unwrap_or(usize::MAX);
    text.chars().skip(start).take(end.saturating_sub(start)).collect()
}

fn indent(count: i64, text: &str) -> String {
    let pad = " ".repeat(count.clamp(0, 1000) as usize);
    text.split('\n').map(|line| format!("{pad}{line}")).collect::<Vec<_>>().join("\n")
}

fn align(count: i64, text: &str, right: bool) -> String {
    let width = count.clamp(0, 10_000) as usize;
    let length = text.chars().count();
    if length >= width {
        let skip = if right { length - width } else { 0 };
        return text.chars().skip(skip).take(width).collect();
    }
    let pad = " ".repeat(width - length);
    if right { format!("{pad}{text}") } else { format!("{text}{pad}") }
}

fn repeat(count: i64, text: &str) -> Result<Item, String> {
    let count = usize::try_from(count).unwrap_or(0);
    if count.saturating_mul(text.len()) > 1 << 20 {
        return Err("template: repeat makes the line too long".to_owned());
    }
    Ok(Item::Text(text.repeat(count)))
}

/// Words of Go's reference time, the longer ones first, and what they are called elsewhere.
const PARTS: [(&str, &str); 18] = [
    ("2006", "%Y"),
    ("January", "%B"),
    ("Jan", "%b"),
    ("Monday", "%A"),
    ("Mon", "%a"),
    ("Z07:00", "Z"),
    ("-07:00", "%:z"),
    ("-0700", "%z"),
    ("MST", "UTC"),
    ("01", "%m"),
    ("02", "%d"),
    ("_2", "%e"),
    ("15", "%H"),
    ("03", "%I"),
    ("04", "%M"),
    ("05", "%S"),
    ("06", "%y"),
    ("PM", "%p"),
];

fn strftime(part: &str) -> &'static str {
    PARTS.iter().find(|(known, _)| *known == part).map_or("", |(_, format)| format)
}

/// A piece of a layout.
enum Piece<'a> {
    Part(&'static str),
    /// `.000` or `.999`: so many digits, with the zeros at its end or without.
    Fraction(&'a str),
    Other(char),
}

fn pieces(layout: &str) -> impl Iterator<Item = Piece<'_>> {
    let mut rest = layout;
    std::iter::from_fn(move || {
        if let Some((part, _)) = PARTS.iter().find(|(part, _)| rest.starts_with(part)) {
            rest = &rest[part.len()..];
            return Some(Piece::Part(part));
        }
        let digit = rest.strip_prefix(['.', ',']).and_then(|rest| rest.chars().next());
        if let Some(digit @ ('0' | '9')) = digit {
            let length = 1 + rest[1..].chars().take_while(|c| *c == digit).count();
            let (fraction, behind) = rest.split_at(length);
            rest = behind;
            return Some(Piece::Fraction(fraction));
        }
        let other = rest.chars().next()?;
        rest = &rest[other.len_utf8()..];
        Some(Piece::Other(other))
    })
}

/// A time by Go's reference layout (`2006-01-02T15:04:05.000`), in UTC.
fn go_date(layout: &str, time: DateTime<Utc>) -> String {
    let mut out = String::new();
    for piece in pieces(layout) {
        match piece {
            Piece::Part(part) => out.push_str(&time.format(strftime(part)).to_string()),
            Piece::Fraction(fraction) => {
                let digits = format!("{:09}", time.timestamp_subsec_nanos());
                let digits = &digits[..(fraction.len() - 1).min(digits.len())];
                let is_trimmed = fraction.ends_with('9');
                let digits = if is_trimmed { digits.trim_end_matches('0') } else { digits };
                if !digits.is_empty() {
                    out.push_str(&fraction[..1]);
                    out.push_str(digits);
                }
            }
            Piece::Other(other) => out.push(other),
        }
    }
    out
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
                out.push(hex.ok_or("template: invalid URL escape")?);
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

/// `%s %v %d %f %.2f %5d %-5s %q %t %x %%`; anything else is written as Go writes a bad verb.
fn printf(format: &str, items: &[Item]) -> String {
    let mut out = String::new();
    let mut items = items.iter();
    let mut chars = format.chars().peekable();
    while let Some(c) = chars.next() {
        if c != '%' {
            out.push(c);
            continue;
        }
        let mut spec = String::new();
        while let Some(c) = chars.next_if(|c| c.is_ascii_digit() || matches!(c, '-' | '+' | '.' | ' ' | '#'))
        {
            spec.push(c);
        }
        let Some(verb) = chars.next() else {
            out.push_str("%!(NOVERB)");
            break;
        };
        if verb == '%' {
            out.push('%');
            continue;
        }
        let Some(item) = items.next() else {
            out.push_str(&format!("%!{verb}(MISSING)"));
            continue;
        };
        out.push_str(&verb_text(verb, &spec, item));
    }
    out
}

fn verb_text(verb: char, spec: &str, item: &Item) -> String {
    let left = spec.starts_with('-');
    let body = spec.trim_start_matches(['-', '+', ' ', '#']);
    let zero = body.starts_with('0') && !left;
    let (width, precision) = body.split_once('.').unwrap_or((body, ""));
    let width = width.parse::<usize>().unwrap_or(0).min(10_000);
    let precision = precision.parse::<usize>().ok().map(|p| p.min(100));
    let text = match verb {
        's' | 'v' => match precision {
            Some(count) if verb == 's' => item.to_string().chars().take(count).collect(),
            _ => item.to_string(),
        },
        'd' => int(item).to_string(),
        'f' | 'g' | 'e' => format!("{:.*}", precision.unwrap_or(6), float(item)),
        'q' => format!("{:?}", item.to_string()),
        't' => item.is_true().to_string(),
        'x' => match item {
            Item::Int(number) => format!("{number:x}"),
            other => other.to_string().bytes().map(|b| format!("{b:02x}")).collect(),
        },
        other => return format!("%!{other}({item})"),
    };
    let length = text.chars().count();
    if length >= width {
        return text;
    }
    let pad = if zero && verb != 's' { "0" } else { " " }.repeat(width - length);
    if left { format!("{text}{pad}") } else { format!("{pad}{text}") }
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

    pub fn decode(text: &str) -> Option<String> {
        let mut bytes = Vec::new();
        let (mut group, mut bits) = (0u32, 0u32);
        for b in text.trim_end_matches('=').bytes() {
            let code = ALPHABET.iter().position(|a| *a == b)? as u32;
            group = (group << 6 | code) & 0xff_ffff;
            bits += 6;
            if bits >= 8 {
                bits -= 8;
                bytes.push((group >> bits) as u8);
            }
        }
        Some(String::from_utf8_lossy(&bytes).into_owned())
    }
}
