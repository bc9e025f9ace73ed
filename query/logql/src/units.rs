//! Numbers with units: durations (`1h30m`, `5d`), byte sizes (`2.5KiB`, `10MB`), and plain floats in Go's notation.

const NS_UNITS: [(&str, f64); 11] = [
    ("ns", 1.0),
    ("us", 1e3),
    ("µs", 1e3),
    ("μs", 1e3),
    ("ms", 1e6),
    ("s", 1e9),
    ("m", 60e9),
    ("h", 3_600e9),
    ("d", 86_400e9),
    ("w", 604_800e9),
    ("y", 31_536_000e9),
];

/// Nanoseconds of a duration as a query writes it: Go's units and `d`, `w`, `y`. `0` needs no unit.
pub fn parse_duration_ns(text: &str) -> Option<i64> {
    parse_duration(text, &NS_UNITS)
}

/// Nanoseconds of a duration as a log line holds it: Go's units alone.
pub fn parse_go_duration_ns(text: &str) -> Option<i64> {
    parse_duration(text, &NS_UNITS[..8])
}

fn parse_duration(text: &str, units: &[(&str, f64)]) -> Option<i64> {
    let (negative, mut rest) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    if rest == "0" {
        return Some(0);
    }
    if rest.is_empty() {
        return None;
    }
    let mut total = 0.0f64;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let number: f64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let end = rest.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(rest.len());
        let scale = units.iter().find(|(unit, _)| *unit == &rest[..end])?.1;
        total += number * scale;
        rest = &rest[end..];
    }
    (total <= i64::MAX as f64).then_some(if negative { -(total as i64) } else { total as i64 })
}

/// Bytes of a size in decimal (`kB`, `MB`) or binary (`KiB`, `MiB`) units, in any case; no unit means bytes.
pub fn parse_bytes(text: &str) -> Option<u64> {
    let text = text.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.' && c != ',').unwrap_or(text.len());
    let number: f64 = text[..digits].replace(',', "").parse().ok()?;
    let unit = text[digits..].trim().to_ascii_lowercase();
    let (power, base): (i32, f64) = match unit.as_str() {
        "" | "b" => (0, 1.0),
        "k" | "kb" => (1, 1000.0),
        "m" | "mb" => (2, 1000.0),
        "g" | "gb" => (3, 1000.0),
        "t" | "tb" => (4, 1000.0),
        "p" | "pb" => (5, 1000.0),
        "e" | "eb" => (6, 1000.0),
        "ki" | "kib" => (1, 1024.0),
        "mi" | "mib" => (2, 1024.0),
        "gi" | "gib" => (3, 1024.0),
        "ti" | "tib" => (4, 1024.0),
        "pi" | "pib" => (5, 1024.0),
        "ei" | "eib" => (6, 1024.0),
        _ => return None,
    };
    let bytes = number * base.powi(power);
    (bytes < u64::MAX as f64).then_some(bytes as u64)
}

/// Why [`parse_go_duration_ns`] takes no such text.
pub(crate) fn duration_fault(text: &str) -> String {
    let unsigned = text.trim_start_matches(['-', '+']);
    let digits = unsigned.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(unsigned.len());
    let unit = &unsigned[digits..];
    let unit = &unit[..unit.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(unit.len())];
    if digits == 0 || unsigned[..digits].parse::<f64>().is_err() {
        format!("time: invalid duration {text:?}")
    } else if unit.is_empty() {
        format!("time: missing unit in duration {text:?}")
    } else if NS_UNITS[..8].iter().any(|(known, _)| *known == unit) {
        format!("time: invalid duration {text:?}")
    } else {
        format!("time: unknown unit {unit:?} in duration {text:?}")
    }
}

/// Why [`parse_bytes`] takes no such text.
pub(crate) fn bytes_fault(text: &str) -> String {
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.' && c != ',').unwrap_or(text.len());
    let (number, unit) = (text[..digits].replace(',', ""), text[digits..].trim().to_ascii_lowercase());
    match number.parse::<f64>() {
        Ok(_) if parse_bytes(&format!("0{unit}")).is_some() => format!("too large: {text}"),
        Ok(_) => format!("unhandled size name: {unit}"),
        Err(_) => format!("strconv.ParseFloat: parsing {number:?}: invalid syntax"),
    }
}

/// A float as Go's `ParseFloat` reads it: decimal, or hexadecimal with a `p` exponent; `inf` and `nan` in any case.
pub fn parse_float(text: &str) -> Option<f64> {
    if text.contains('_') {
        return separates_digits(text).then(|| parse_float(&text.replace('_', "")))?;
    }
    let (sign, body) = match text.as_bytes().first()? {
        b'-' => (-1.0, &text[1..]),
        b'+' => (1.0, &text[1..]),
        _ => (1.0, text),
    };
    if let Some(hex) = body.strip_prefix("0x").or_else(|| body.strip_prefix("0X")) {
        return parse_hex_float(hex).map(|value| sign * value);
    }
    if body.starts_with(['-', '+']) {
        return None;
    }
    body.parse::<f64>().ok().map(|value| sign * value)
}

/// The number that a line holds. One that is too large for a float is none, if infinite is not what the line says.
pub(crate) fn parse_value(text: &str) -> Option<f64> {
    parse_float(text).filter(|number| !number.is_infinite() || text.contains(['i', 'I']))
}

/// Why a text is no number, in Go's words.
pub(crate) fn float_fault(text: &str) -> String {
    let why = if parse_float(text).is_some() { "value out of range" } else { "invalid syntax" };
    format!("strconv.ParseFloat: parsing {text:?}: {why}")
}

/// Whether each `_` stands between two digits.
pub(crate) fn separates_digits(text: &str) -> bool {
    let bytes = text.as_bytes();
    let unsigned = text.trim_start_matches(['-', '+']);
    let is_hex = unsigned.starts_with("0x") || unsigned.starts_with("0X");
    let is_digit = |at: usize| match bytes.get(at) {
        Some(byte) if is_hex => byte.is_ascii_hexdigit() || matches!(byte, b'x' | b'X'),
        byte => byte.is_some_and(u8::is_ascii_digit),
    };
    let mut places = (0..bytes.len()).filter(|at| bytes[*at] == b'_');
    places.all(|at| at > 0 && is_digit(at - 1) && is_digit(at + 1))
}

fn parse_hex_float(hex: &str) -> Option<f64> {
    let (mantissa, exponent) = hex.split_once(['p', 'P'])?;
    let exponent: i32 = exponent.parse().ok()?;
    let (whole, part) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    if whole.is_empty() && part.is_empty() {
        return None;
    }
    let mut value = 0.0f64;
    for c in whole.chars().chain(part.chars()) {
        value = value * 16.0 + f64::from(c.to_digit(16)?);
    }
    let shift = i32::try_from(part.len()).ok()?.checked_mul(4)?;
    Some(value * 2f64.powi(exponent.checked_sub(shift)?))
}

/// A duration as a query writes it, in the largest units that are whole: `1h30m`, `250ms`.
pub fn format_duration(ns: i64) -> String {
    if ns == 0 {
        return "0s".to_owned();
    }
    let mut text = if ns < 0 { "-".to_owned() } else { String::new() };
    let mut rest = ns.unsigned_abs();
    for (unit, size) in [
        ("h", 3_600_000_000_000),
        ("m", 60_000_000_000),
        ("s", 1_000_000_000),
        ("ms", 1_000_000),
        ("us", 1_000),
        ("ns", 1u64),
    ] {
        if rest >= size {
            text.push_str(&format!("{}{unit}", rest / size));
            rest %= size;
        }
    }
    text
}

/// A duration as Go prints it: `1h30m0s`, `1.5s`, `250ms`.
pub fn go_duration(ns: i64) -> String {
    let (sign, all) = (if ns < 0 { "-" } else { "" }, ns.unsigned_abs());
    let of = |unit: u64| all as f64 / unit as f64;
    let (hours, minutes) = (all / 3_600_000_000_000, all / 60_000_000_000 % 60);
    let (whole, rest) = (all / 1_000_000_000 % 60, all % 1_000_000_000);
    let seconds = match rest {
        0 => whole.to_string(),
        _ => format!("{whole}.{}", format!("{rest:09}").trim_end_matches('0')),
    };
    match all {
        0 => "0s".to_owned(),
        1..1_000 => format!("{sign}{all}ns"),
        1_000..1_000_000 => format!("{sign}{}µs", of(1_000)),
        1_000_000..1_000_000_000 => format!("{sign}{}ms", of(1_000_000)),
        1_000_000_000..60_000_000_000 => format!("{sign}{seconds}s"),
        60_000_000_000..3_600_000_000_000 => format!("{sign}{minutes}m{seconds}s"),
        _ => format!("{sign}{hours}h{minutes}m{seconds}s"),
    }
}

/// A duration as Prometheus prints it: years and weeks where nothing is left of them, no unit of which there is none. What is
/// finer than a millisecond, which it would drop, is as [`format_duration`] has it.
pub(crate) fn short_duration(ns: i64) -> String {
    const UNITS: [(&str, u64, bool); 7] = [
        ("y", 31_536_000_000, true),
        ("w", 604_800_000, true),
        ("d", 86_400_000, false),
        ("h", 3_600_000, false),
        ("m", 60_000, false),
        ("s", 1_000, false),
        ("ms", 1, false),
    ];
    if ns == 0 || ns % 1_000_000 != 0 {
        return format_duration(ns);
    }
    let mut text = if ns < 0 { "-".to_owned() } else { String::new() };
    let mut rest = ns.unsigned_abs() / 1_000_000;
    for (unit, size, is_exact) in UNITS {
        if rest >= size && (!is_exact || rest.is_multiple_of(size)) {
            text.push_str(&format!("{}{unit}", rest / size));
            rest %= size;
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        assert_eq!(parse_duration_ns("1h30m"), Some(5_400_000_000_000));
        assert_eq!(parse_duration_ns("1.5s"), Some(1_500_000_000));
        assert_eq!(parse_duration_ns("5d"), Some(432_000_000_000_000));
        assert_eq!(parse_duration_ns("-5m"), Some(-300_000_000_000));
        for bad in ["", "5", "5minutes", "m", "1h 30m", "-", "1.2.3s"] {
            assert_eq!(parse_duration_ns(bad), None, "{bad:?}");
        }
        assert_eq!(parse_go_duration_ns("1d"), None);
        assert_eq!(parse_go_duration_ns("2us"), Some(2_000));
        assert_eq!(format_duration(5_400_000_000_000), "1h30m");
        for (ns, go, short) in [
            (5_400_000_000_000, "1h30m0s", "1h30m"),
            (-300_000_000_000, "-5m0s", "-5m"),
            (1_500_000_000, "1.5s", "1s500ms"),
            (2_500_000, "2.5ms", "2ms500us"),
            (1_500, "1.5µs", "1us500ns"),
            (604_800_000_000_000, "168h0m0s", "1w"),
            (691_200_000_000_000, "192h0m0s", "8d"),
            (0, "0s", "0s"),
        ] {
            assert_eq!((go_duration(ns).as_str(), short_duration(ns).as_str()), (go, short));
        }
    }

    #[test]
    fn bytes_and_floats() {
        assert_eq!(parse_bytes("2.5KiB"), Some(2_560));
        assert_eq!(parse_bytes("10 MB"), Some(10_000_000));
        assert_eq!(parse_bytes("7"), Some(7));
        assert_eq!(parse_bytes("x"), None);
        assert_eq!(parse_float("0x1.8p3"), Some(12.0));
        assert_eq!(parse_float("0x10"), None);
        assert_eq!((parse_value("1e999"), parse_value("-inf")), (None, Some(f64::NEG_INFINITY)));
        assert_eq!(parse_float("1e3"), Some(1000.0));
        assert_eq!(parse_float("--1"), None);
        assert_eq!(parse_float("1_000.5"), Some(1000.5));
        for odd in ["_1", "1_", "1__0", "1_.5", "1_e3", "0x1_p_1"] {
            assert_eq!(parse_float(odd), None, "{odd}");
        }
    }
}
