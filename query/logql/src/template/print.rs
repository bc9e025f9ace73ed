//! Values as `print`, `printf`, `html` and `js` write them.

use super::value::Item;

/// Everything one after the other, with a blank between two of which neither is a string.
pub(super) fn print(items: &[Item]) -> String {
    let mut out = String::new();
    for (at, item) in items.iter().enumerate() {
        let is_text = |item: &Item| matches!(item, Item::Text(_));
        if at > 0 && !is_text(item) && !is_text(&items[at - 1]) {
            out.push(' ');
        }
        out.push_str(&item.to_string());
    }
    out
}

pub(super) fn html(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '"' => out.push_str("&#34;"),
            '\'' => out.push_str("&#39;"),
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '\0' => out.push('\u{fffd}'),
            other => out.push(other),
        }
    }
    out
}

pub(super) fn js(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\\' | '\'' | '"' => {
                out.push('\\');
                out.push(c);
            }
            '<' | '>' | '&' | '=' => out.push_str(&format!("\\u{:04X}", c as u32)),
            c if c.is_control() => out.push_str(&format!("\\u{:04X}", c as u32)),
            other => out.push(other),
        }
    }
    out
}

/// `%s %v %d %f %.2f %5d %-5s %q %t %x %%`; anything else is written as Go writes a bad verb.
pub(super) fn printf(format: &str, items: &[Item]) -> String {
    let mut out = String::new();
    let mut rest = items.iter();
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
        match rest.next() {
            Some(item) => out.push_str(&verb_text(verb, &spec, item)),
            None => out.push_str(&format!("%!{verb}(MISSING)")),
        }
    }
    let extra: Vec<String> = rest.map(|item| format!("{}={item}", item.type_name())).collect();
    if !extra.is_empty() {
        out.push_str(&format!("%!(EXTRA {})", extra.join(", ")));
    }
    out
}

fn verb_text(verb: char, spec: &str, item: &Item) -> String {
    let left = spec.contains('-');
    let body = spec.trim_start_matches(['-', '+', ' ', '#']);
    let zero = body.starts_with('0') && !left;
    let (width, precision) = body.split_once('.').map_or((body, None), |(width, precision)| {
        (width, Some(precision.parse::<usize>().unwrap_or(0).min(100)))
    });
    let width = width.parse::<usize>().unwrap_or(0).min(10_000);
    let sign = |number: f64| if spec.contains('+') && number >= 0.0 { "+" } else { "" };
    let text = match (verb, item) {
        ('v', Item::Float(number)) if precision.is_some() => general(*number, precision),
        ('s' | 'v', Item::Text(text)) => match precision {
            Some(count) => text.chars().take(count).collect(),
            None => text.clone(),
        },
        ('v', item) | ('s', item @ (Item::Time(_) | Item::List(_) | Item::Map(_))) => item.to_string(),
        ('d', Item::Int(number)) => format!("{}{number}", sign(*number as f64)),
        ('f' | 'F', Item::Float(number)) => {
            format!("{}{:.*}", sign(*number), precision.unwrap_or(6), number)
        }
        ('e', Item::Float(number)) => exponential(*number, precision.unwrap_or(6)),
        ('g', Item::Float(number)) => general(*number, precision),
        ('q', Item::Text(text)) => format!("{text:?}"),
        ('t', Item::Bool(truth)) => truth.to_string(),
        ('c', Item::Int(number)) => {
            u32::try_from(*number).ok().and_then(char::from_u32).unwrap_or(char::REPLACEMENT_CHARACTER).into()
        }
        ('U', Item::Int(number)) => format!("U+{number:04X}"),
        ('q', Item::Int(number)) => {
            let c = u32::try_from(*number).ok().and_then(char::from_u32);
            format!("{:?}", c.unwrap_or(char::REPLACEMENT_CHARACTER))
        }
        ('b', Item::Int(number)) => format!("{number:b}"),
        ('o', Item::Int(number)) => format!("{number:o}"),
        ('x', Item::Int(number)) => format!("{number:x}"),
        ('X', Item::Int(number)) => format!("{number:X}"),
        ('x', Item::Text(text)) => text.bytes().map(|b| format!("{b:02x}")).collect(),
        ('X', Item::Text(text)) => text.bytes().map(|b| format!("{b:02X}")).collect(),
        ('T', item) => item.type_name().to_owned(),
        (other, Item::Nothing) => return format!("%!{other}(<nil>)"),
        (other, item) => return format!("%!{other}({}={item})", item.type_name()),
    };
    let length = text.chars().count();
    if length >= width {
        return text;
    }
    let pad = if zero && !matches!(verb, 's' | 'v') { "0" } else { " " }.repeat(width - length);
    if left { format!("{text}{pad}") } else { format!("{pad}{text}") }
}

fn exponential(number: f64, digits: usize) -> String {
    let text = format!("{number:.digits$e}");
    let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    match exponent.strip_prefix('-') {
        Some(exponent) => format!("{mantissa}e-{exponent:0>2}"),
        None => format!("{mantissa}e+{exponent:0>2}"),
    }
}

/// The shorter of both ways to write a float, in so many digits.
fn general(number: f64, precision: Option<usize>) -> String {
    let Some(precision) = precision else { return Item::Float(number).to_string() };
    let digits = precision.max(1);
    let text = exponential(number, digits - 1);
    let exponent: i32 = text.split_once('e').and_then(|(_, e)| e.parse().ok()).unwrap_or(0);
    let without_zeros = |text: &str| match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => text.to_owned(),
    };
    if exponent < -4 || exponent >= digits as i32 {
        let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "+00"));
        return format!("{}e{exponent}", without_zeros(mantissa));
    }
    without_zeros(&format!("{number:.*}", (digits as i32 - 1 - exponent).max(0) as usize))
}
