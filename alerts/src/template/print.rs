//! Numbers and times as Go and Prometheus print them.

use chrono::{DateTime, Utc};

/// `strconv.FormatFloat(v, 'g', -1, 64)`, which is also `%v`: 42, 0.5, 1e+06.
pub fn general(value: f64) -> String {
    if let Some(special) = special(value) {
        return special.into();
    }
    let exponent = if value == 0.0 { 0 } else { exponent_of(&format!("{value:e}")) };
    // Go decides as if there were six digits, however many are printed.
    if !(-4..6).contains(&exponent) { exponential(value, None) } else { format!("{value}") }
}

fn exponent_of(scientific: &str) -> i32 {
    scientific.split('e').nth(1).and_then(|e| e.parse().ok()).unwrap_or(0)
}

fn special(value: f64) -> Option<&'static str> {
    match value {
        v if v.is_nan() => Some("NaN"),
        f64::INFINITY => Some("+Inf"),
        f64::NEG_INFINITY => Some("-Inf"),
        _ => None,
    }
}

/// `%e`, with at least two digits in the exponent: 4.2e+01. Prometheus prints the values of alerts so.
pub fn exponential(value: f64, precision: Option<usize>) -> String {
    if let Some(special) = special(value) {
        return special.into();
    }
    let text = match precision {
        Some(digits) => format!("{value:.digits$e}"),
        None => format!("{value:e}"),
    };
    let (mantissa, _) = text.split_once('e').unwrap_or((&text, "0"));
    let exponent = exponent_of(&text);
    format!("{mantissa}e{}{:02}", if exponent < 0 { '-' } else { '+' }, exponent.abs())
}

/// `%.4g`: four significant digits, no zeros at the end.
pub fn significant(value: f64, digits: usize) -> String {
    if let Some(special) = special(value) {
        return special.into();
    }
    let digits = digits.max(1);
    let rounded = format!("{value:.*e}", digits - 1);
    let exponent = exponent_of(&rounded);
    if exponent < -4 || exponent >= digits as i32 {
        let (mantissa, _) = rounded.split_once('e').unwrap_or((&rounded, ""));
        return format!(
            "{}e{}{:02}",
            trim_zeros(mantissa),
            if exponent < 0 { '-' } else { '+' },
            exponent.abs()
        );
    }
    let places = (digits as i32 - 1 - exponent).max(0) as usize;
    trim_zeros(&format!("{value:.places$}")).to_owned()
}

fn trim_zeros(text: &str) -> &str {
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { text }
}

pub fn humanize(value: f64) -> String {
    if value == 0.0 || !value.is_finite() {
        return significant(value, 4);
    }
    let (mut value, mut prefix) = (value, "");
    if value.abs() >= 1.0 {
        for next in ["k", "M", "G", "T", "P", "E", "Z", "Y"] {
            if value.abs() < 1000.0 {
                break;
            }
            (value, prefix) = (value / 1000.0, next);
        }
    } else {
        for next in ["m", "u", "n", "p", "f", "a", "z", "y"] {
            if value.abs() >= 1.0 {
                break;
            }
            (value, prefix) = (value * 1000.0, next);
        }
    }
    format!("{}{prefix}", significant(value, 4))
}

pub fn humanize1024(value: f64) -> String {
    if value.abs() <= 1.0 || !value.is_finite() {
        return significant(value, 4);
    }
    let (mut value, mut prefix) = (value, "");
    for next in ["ki", "Mi", "Gi", "Ti", "Pi", "Ei", "Zi", "Yi"] {
        if value.abs() < 1024.0 {
            break;
        }
        (value, prefix) = (value / 1024.0, next);
    }
    format!("{}{prefix}", significant(value, 4))
}

pub fn humanize_percentage(value: f64) -> String {
    format!("{}%", significant(value * 100.0, 4))
}

pub fn humanize_duration(seconds: f64) -> String {
    if !seconds.is_finite() {
        return significant(seconds, 4);
    }
    if seconds == 0.0 {
        return "0s".into();
    }
    if seconds.abs() >= 1.0 {
        let sign = if seconds < 0.0 { "-" } else { "" };
        let whole = seconds.abs() as i64;
        let (d, h, m, s) = (whole / 86_400, whole / 3600 % 24, whole / 60 % 60, whole % 60);
        return match (d, h, m) {
            (1.., ..) => format!("{sign}{d}d {h}h {m}m {s}s"),
            (_, 1.., _) => format!("{sign}{h}h {m}m {s}s"),
            (_, _, 1..) => format!("{sign}{m}m {s}s"),
            _ => format!("{sign}{}s", significant(seconds.abs(), 4)),
        };
    }
    let (mut value, mut prefix) = (seconds, "");
    for next in ["m", "u", "n", "p", "f", "a", "z", "y"] {
        if value.abs() >= 1.0 {
            break;
        }
        (value, prefix) = (value * 1000.0, next);
    }
    format!("{}{prefix}s", significant(value, 4))
}

pub fn humanize_timestamp(seconds: f64) -> Result<String, String> {
    let time = DateTime::<Utc>::from_timestamp_micros((seconds * 1e6) as i64);
    match time {
        Some(time) if seconds.is_finite() => Ok(time.format("%Y-%m-%d %H:%M:%S%.f +0000 UTC").to_string()),
        _ => Err(format!("{seconds} is not a time")),
    }
}

/// RFC 3339 with milliseconds, in UTC.
pub fn rfc3339(ms: i64) -> String {
    DateTime::<Utc>::from_timestamp_millis(ms)
        .map(|time| time.to_rfc3339_opts(chrono::SecondsFormat::Millis, true))
        // Alertmanager's and Prometheus' zero time.
        .unwrap_or_else(|| "0001-01-01T00:00:00Z".into())
}

/// As [`rfc3339`]; never is the zero time.
pub fn rfc3339_or_never(ms: Option<i64>) -> String {
    rfc3339(ms.unwrap_or(i64::MAX))
}
