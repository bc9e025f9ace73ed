//! A number from any value, and arithmetic in decimal digits.

use crate::template::value::Item;
use crate::units::{parse_float, separates_digits};

pub(super) fn float(item: &Item) -> f64 {
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
pub(super) fn exactly(operation: char, a: f64, b: f64) -> f64 {
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

pub(super) fn int(item: &Item) -> i64 {
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
