//! The functions a template may call, by Prometheus' names.

use super::print;
use super::run::Value;

/// Every known name. `and`, `or` and `query` are run elsewhere: they decide what else is evaluated.
const NAMES: &[&str] = &[
    "and",
    "or",
    "not",
    "eq",
    "ne",
    "lt",
    "le",
    "gt",
    "ge",
    "len",
    "index",
    "print",
    "println",
    "printf",
    "html",
    "js",
    "urlquery",
    "query",
    "first",
    "label",
    "value",
    "strvalue",
    "sortByLabel",
    "humanize",
    "humanize1024",
    "humanizeDuration",
    "humanizePercentage",
    "humanizeTimestamp",
    "title",
    "toUpper",
    "toLower",
    "match",
    "reReplaceAll",
    "stripPort",
    "stripDomain",
    "parseDuration",
    "safeHtml",
    "externalURL",
    "pathPrefix",
    "tableLink",
    "graphLink",
    "toTime",
    "now",
    "args",
];

pub fn find(name: &str) -> Option<&'static str> {
    NAMES.iter().copied().find(|known| *known == name)
}

pub fn call(name: &str, arguments: &[Value], external_url: &str, now_ms: i64) -> Result<Value, String> {
    let one = || match arguments {
        [one] => Ok(one),
        other => Err(format!("{name} takes one argument and got {}", other.len())),
    };
    let two = || match arguments {
        [a, b] => Ok((a, b)),
        other => Err(format!("{name} takes two arguments and got {}", other.len())),
    };
    let text = |text: String| Ok(Value::Text(text));
    match name {
        "not" => Ok(Value::Truth(!one()?.is_true())),
        "eq" => match arguments {
            [first, rest @ ..] if !rest.is_empty() => {
                Ok(Value::Truth(rest.iter().any(|other| other.equals(first))))
            }
            _ => Err("eq takes at least two arguments".into()),
        },
        "ne" => two().map(|(a, b)| Value::Truth(!a.equals(b))),
        "lt" | "le" | "gt" | "ge" => {
            let (a, b) = two()?;
            let order = a.order(b)?;
            Ok(Value::Truth(match name {
                "lt" => order.is_some_and(|o| o.is_lt()),
                "le" => order.is_some_and(|o| o.is_le()),
                "gt" => order.is_some_and(|o| o.is_gt()),
                _ => order.is_some_and(|o| o.is_ge()),
            }))
        }
        "len" => one()?.length().map(Value::Integer),
        "index" => {
            let (all, which) = two()?;
            all.index(which)
        }
        "print" | "html" | "js" | "safeHtml" => {
            text(arguments.iter().map(Value::print).collect::<Vec<_>>().join(""))
        }
        "println" => text(arguments.iter().map(Value::print).collect::<Vec<_>>().join(" ") + "\n"),
        "printf" => match arguments.split_first() {
            Some((Value::Text(format), rest)) => text(printf(format, rest)?),
            _ => Err("printf takes a format first".into()),
        },
        "urlquery" => text(query_escape(&one()?.print())),
        "first" => one()?.items()?.first().cloned().ok_or_else(|| "first() of an empty list".into()),
        "label" => {
            let (name, sample) = two()?;
            sample.label(&name.print()).map(Value::Text)
        }
        "value" => one()?.number().map(Value::Number),
        "strvalue" => one()?.label("__value__").map(Value::Text),
        "sortByLabel" => {
            let (name, all) = two()?;
            let name = name.print();
            let mut items = all.items()?;
            items.sort_by_key(|item| item.label(&name).unwrap_or_default());
            Ok(Value::List(items))
        }
        "humanize" => text(print::humanize(one()?.number()?)),
        "humanize1024" => text(print::humanize1024(one()?.number()?)),
        "humanizeDuration" => text(print::humanize_duration(one()?.number()?)),
        "humanizePercentage" => text(print::humanize_percentage(one()?.number()?)),
        "humanizeTimestamp" | "toTime" => text(print::humanize_timestamp(one()?.number()?)?),
        "title" => text(title(&one()?.print())),
        "toUpper" => text(one()?.print().to_uppercase()),
        "toLower" => text(one()?.print().to_lowercase()),
        "match" => {
            let (pattern, subject) = two()?;
            Ok(Value::Truth(model::regexp::compile(&pattern.print())?.is_match(&subject.print())))
        }
        "reReplaceAll" => match arguments {
            [pattern, by, subject] => text(
                model::regexp::compile(&pattern.print())?
                    .replace_all(&subject.print(), by.print())
                    .into_owned(),
            ),
            _ => Err("reReplaceAll takes three arguments".into()),
        },
        "stripPort" => text(strip_port(&one()?.print()).to_owned()),
        "stripDomain" => {
            let whole = one()?.print();
            let (host, port) = whole.split_at(strip_port(&whole).len());
            let is_address = host.parse::<std::net::IpAddr>().is_ok();
            let short = if is_address { host } else { host.split('.').next().unwrap_or(host) };
            text(format!("{short}{port}"))
        }
        "parseDuration" => crate::duration::parse(&one()?.print()).map(|d| Value::Number(d.as_secs_f64())),
        "externalURL" => text(external_url.to_owned()),
        "pathPrefix" => text(path_of(external_url).to_owned()),
        "tableLink" | "graphLink" => text(crate::notify::explore_path(&one()?.print())),
        "now" => Ok(Value::Number(now_ms as f64 / 1e3)),
        "args" => Ok(Value::List(arguments.to_vec())),
        other => Err(format!("{other} cannot be called here")),
    }
}

fn strip_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((before, port)) if port.chars().all(|c| c.is_ascii_digit()) && !before.contains(':') => before,
        _ => host,
    }
}

fn path_of(url: &str) -> &str {
    url.split_once("://").and_then(|(_, rest)| rest.find('/').map(|at| &rest[at..])).unwrap_or("")
}

/// As Go's `url.QueryEscape`: a space becomes `+`.
pub fn query_escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => out.push(byte as char),
            b' ' => out.push('+'),
            other => out.push_str(&format!("%{other:02X}")),
        }
    }
    out
}

fn title(text: &str) -> String {
    let mut at_start = true;
    text.chars()
        .map(|c| {
            let shown = if at_start { c.to_uppercase().next().unwrap_or(c) } else { c };
            at_start = c.is_whitespace();
            shown
        })
        .collect()
}

/// Widths and precisions beyond these are somebody's mistake, or an attack on our memory.
const WIDTH_MAX: usize = 200;

/// The verbs `%s %v %q %d %f %g %e %t %x %%` with flags `-`, `+`, `0`, width and precision.
fn printf(format: &str, arguments: &[Value]) -> Result<String, String> {
    let (mut out, mut letters, mut arguments) = (String::new(), format.chars().peekable(), arguments.iter());
    while let Some(letter) = letters.next() {
        if letter != '%' {
            out.push(letter);
            continue;
        }
        let (mut left, mut plus, mut zeros) = (false, false, false);
        while let Some(flag) = letters.next_if(|c| matches!(c, '-' | '+' | '0' | ' ' | '#')) {
            match flag {
                '-' => left = true,
                '+' => plus = true,
                '0' => zeros = true,
                _ => {}
            }
        }
        let mut digits = || -> Option<usize> {
            let mut number = None;
            while let Some(digit) = letters.next_if(char::is_ascii_digit) {
                let digit = digit as usize - '0' as usize;
                number = Some((number.unwrap_or(0usize) * 10 + digit).min(WIDTH_MAX));
            }
            number
        };
        let width = digits().unwrap_or(0);
        let precision = if letters.next_if_eq(&'.').is_some() {
            let mut number = 0usize;
            while let Some(digit) = letters.next_if(char::is_ascii_digit) {
                number = (number * 10 + (digit as usize - '0' as usize)).min(WIDTH_MAX);
            }
            Some(number)
        } else {
            None
        };
        let Some(verb) = letters.next() else { return Err(format!("printf: {format:?} ends in %")) };
        if verb == '%' {
            out.push('%');
            continue;
        }
        let Some(argument) = arguments.next() else {
            out.push_str(&format!("%!{verb}(MISSING)"));
            continue;
        };
        let mut shown = verb_text(verb, precision, argument)?;
        if plus && matches!(argument, Value::Number(_) | Value::Integer(_)) && !shown.starts_with(['-', '+'])
        {
            shown.insert(0, '+');
        }
        let missing = width.saturating_sub(shown.chars().count());
        match (left, zeros) {
            (true, _) => out.push_str(&(shown + &" ".repeat(missing))),
            (false, true) => {
                let signs = shown.len() - shown.trim_start_matches(['-', '+']).len();
                out.push_str(&shown[..signs]);
                out.push_str(&"0".repeat(missing));
                out.push_str(&shown[signs..]);
            }
            (false, false) => out.push_str(&(" ".repeat(missing) + &shown)),
        }
    }
    Ok(out)
}

fn verb_text(verb: char, precision: Option<usize>, argument: &Value) -> Result<String, String> {
    let cut = |text: String| match precision {
        Some(letters) => text.chars().take(letters).collect(),
        None => text,
    };
    Ok(match (verb, argument) {
        ('v', Value::Number(number)) | ('g', Value::Number(number)) => match precision {
            Some(digits) => print::significant(*number, digits),
            None => print::general(*number),
        },
        ('f' | 'F', Value::Number(number)) if number.is_finite() => {
            format!("{number:.*}", precision.unwrap_or(6))
        }
        ('f' | 'F' | 'e', Value::Number(number)) if !number.is_finite() => print::general(*number),
        ('e', Value::Number(number)) => print::exponential(*number, Some(precision.unwrap_or(6))),
        ('d' | 'v', Value::Integer(integer)) => integer.to_string(),
        ('x', Value::Integer(integer)) => format!("{integer:x}"),
        ('t' | 'v', Value::Truth(truth)) => truth.to_string(),
        ('q', Value::Text(text)) => format!("{text:?}"),
        ('s', Value::Text(text)) => cut(text.clone()),
        ('v', other) => cut(other.print()),
        ('s', other) => format!("%!s({}={})", other.go_type(), other.print()),
        ('d' | 'f' | 'g' | 'e' | 'q' | 't' | 'x' | 'F', other) => {
            format!("%!{verb}({}={})", other.go_type(), other.print())
        }
        _ => return Err(format!("printf: verb %{verb} is not known")),
    })
}
