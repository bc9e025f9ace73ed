//! Durations as Prometheus writes them: `1h30m`, units from large to small, each once; and those that a query computes.

use crate::ast::{BinaryOp, DurationOp, Span};

const UNITS: [(&str, i64); 7] = [
    ("y", 365 * 86_400_000),
    ("w", 7 * 86_400_000),
    ("d", 86_400_000),
    ("h", 3_600_000),
    ("m", 60_000),
    ("s", 1000),
    ("ms", 1),
];

/// What a duration may be at most, as where it is counted in nanoseconds in 64 bits.
pub(crate) const SECONDS_MAX: f64 = 9_223_372_036.854_775;

impl Span {
    /// In milliseconds, for a query of this step and this distance between its first and last time. `negative`: what
    /// may stand behind `offset`.
    pub fn ms(&self, step_ms: i64, range_ms: i64, negative: bool) -> Result<i64, String> {
        let (start, end, op) = match self {
            Span::Ms(ms) => return Ok(*ms),
            Span::Computed { start, end, op } => (start, end, op),
        };
        let bad = |what: &str| format!("{start}:{end}: {what}");
        let seconds = op.seconds(step_ms as f64 / 1e3, range_ms as f64 / 1e3).map_err(bad)?;
        if !seconds.is_finite() {
            return Err(bad("duration is NaN or infinite"));
        }
        if seconds <= 0.0 && !negative {
            return Err(bad("duration must be greater than 0"));
        }
        if seconds.abs() > SECONDS_MAX {
            return Err(bad("duration is out of range"));
        }
        Ok((seconds * 1e3) as i64)
    }
}

impl DurationOp {
    fn seconds(&self, step: f64, range: f64) -> Result<f64, &'static str> {
        let of = |op: &DurationOp| op.seconds(step, range);
        Ok(match self {
            DurationOp::Number(number) => number.value,
            DurationOp::Step => step,
            DurationOp::Range => range,
            DurationOp::Negate(inner) => -of(inner)?,
            DurationOp::Parens(inner) => of(inner)?,
            DurationOp::MinOf(a, b) => of(a)?.min(of(b)?),
            DurationOp::MaxOf(a, b) => of(a)?.max(of(b)?),
            DurationOp::Binary(op, a, b) => {
                let (a, b) = (of(a)?, of(b)?);
                match op {
                    BinaryOp::Add => a + b,
                    BinaryOp::Sub => a - b,
                    BinaryOp::Mul => a * b,
                    BinaryOp::Div if b == 0.0 => return Err("division by zero"),
                    BinaryOp::Div => a / b,
                    BinaryOp::Mod if b == 0.0 => return Err("modulo by zero"),
                    BinaryOp::Mod => a % b,
                    _ => a.powf(b),
                }
            }
        })
    }
}

/// Milliseconds; `None` where it is no duration.
pub fn parse_duration(text: &str) -> Option<i64> {
    if text.is_empty() {
        return None;
    }
    let (mut rest, mut total, mut next_unit) = (text, 0i64, 0);
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let letters = rest[digits..].bytes().take_while(u8::is_ascii_alphabetic).count();
        let number: i64 = rest[..digits].parse().ok()?;
        let unit = &rest[digits..digits + letters];
        let at = UNITS.iter().position(|(name, _)| *name == unit).filter(|at| *at >= next_unit)?;
        total = total.checked_add(number.checked_mul(UNITS[at].1)?)?;
        next_unit = at + 1;
        rest = &rest[digits + letters..];
    }
    Some(total)
}

/// What is wrong with a text that has a duration's form: numbers, each with the letter of a unit behind it, which an `s` may follow.
pub(crate) fn mistake(text: &str) -> Option<String> {
    let (mut rest, mut unknown) = (text, None);
    while !rest.is_empty() {
        let number = rest.trim_start_matches(|c: char| c.is_ascii_digit());
        // A year comes first.
        let letters = if rest.len() == text.len() { "smhdwy" } else { "smhdw" };
        let letter = number.strip_prefix(|c: char| letters.contains(c))?;
        let next = letter.strip_prefix('s').unwrap_or(letter);
        let unit = &number[..number.len() - next.len()];
        if number.len() == rest.len() {
            return None;
        }
        if !UNITS.iter().any(|(name, _)| *name == unit) {
            unknown.get_or_insert(unit);
        }
        rest = next;
    }
    Some(match unknown {
        Some(unit) => format!("unknown unit {unit:?} in duration {text:?}"),
        None => format!("not a valid duration string: {text:?}"),
    })
}

pub fn format_duration(ms: i64) -> String {
    if ms == 0 {
        return "0s".into();
    }
    let mut rest = ms.unsigned_abs();
    let mut out = String::new();
    if ms < 0 {
        out.push('-');
    }
    for (unit, size) in UNITS {
        let size = size as u64;
        // Years and weeks only where they come out even, as Prometheus does.
        if matches!(unit, "y" | "w") && !rest.is_multiple_of(size) {
            continue;
        }
        if rest >= size {
            out.push_str(&format!("{}{unit}", rest / size));
            rest %= size;
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_and_written() {
        for (text, ms) in [
            ("5m", 300_000),
            ("1h30m", 5_400_000),
            ("1d", 86_400_000),
            ("1w", 604_800_000),
            ("15ms", 15),
            ("0s", 0),
        ] {
            assert_eq!(parse_duration(text), Some(ms), "{text}");
            assert_eq!(format_duration(ms), text);
        }
        for text in ["", "5", "m", "5x", "1m1h", "1m1m", "99999999999999y"] {
            assert_eq!(parse_duration(text), None, "{text}");
        }
    }
}
