//! InfluxDB's line protocol (source: docs.influxdata.com, "Line protocol"), to samples: each field is the series
//! `<measurement>_<field>` with the tags as labels, as VictoriaMetrics names them.
//!
//! Truth is 1 and 0. A text is no number: such fields are passed over, as they are there.

use crate::Decoded;
use model::{MetricBatch, RejectReason};
use std::borrow::Cow;

/// What a line's time counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Precision {
    Nanoseconds,
    Microseconds,
    Milliseconds,
    Seconds,
    Minutes,
    Hours,
}

impl Precision {
    /// The words of both versions of the write call.
    pub fn from_word(word: &str) -> Option<Precision> {
        Some(match word {
            "" | "n" | "ns" => Precision::Nanoseconds,
            "u" | "us" | "µ" => Precision::Microseconds,
            "ms" => Precision::Milliseconds,
            "s" => Precision::Seconds,
            "m" => Precision::Minutes,
            "h" => Precision::Hours,
            _ => return None,
        })
    }

    fn ms(self, time: i64) -> i64 {
        match self {
            Precision::Nanoseconds => time.div_euclid(1_000_000),
            Precision::Microseconds => time.div_euclid(1_000),
            Precision::Milliseconds => time,
            Precision::Seconds => time.saturating_mul(1_000),
            Precision::Minutes => time.saturating_mul(60_000),
            Precision::Hours => time.saturating_mul(3_600_000),
        }
    }
}

/// Lines to samples; `now_ms` is the time of those that carry none. `db` becomes the label of that name. A line that
/// does not parse is counted, with its number; the others stay.
pub fn decode(text: &str, precision: Precision, db: Option<&str>, now_ms: i64) -> Decoded<MetricBatch> {
    let mut decoded = Decoded::<MetricBatch>::default();
    for (number, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        if let Err((reason, what)) = add(line, precision, db, now_ms, &mut decoded.batch) {
            decoded.rejected.add(reason, 1, || format!("line {}: {what}", number + 1));
        }
    }
    decoded
}

fn add(
    line: &str,
    precision: Precision,
    db: Option<&str>,
    now_ms: i64,
    batch: &mut MetricBatch,
) -> Result<(), (RejectReason, String)> {
    let wrong = |what: String| (RejectReason::InvalidValue, what);
    let (key, rest) = split_at(line, b' ', false)
        .ok_or_else(|| wrong("a space and fields belong after the tags".into()))?;
    let (fields, time) = match split_at(rest.trim_start(), b' ', true) {
        Some((fields, time)) => (fields, time.trim()),
        None => (rest.trim_start(), ""),
    };
    let ts_ms = match time {
        "" => now_ms,
        time => precision.ms(time.parse().map_err(|_| wrong(format!("{time:?} is not a time")))?),
    };
    let mut parts = pieces(key, false);
    let measurement = unescaped(parts.next().unwrap_or_default());
    let mut tags: Vec<(Cow<'_, str>, Cow<'_, str>)> = vec![];
    for part in parts {
        let (name, value) =
            split_at(part, b'=', false).ok_or_else(|| wrong(format!("tag {part:?} is not name=value")))?;
        tags.push((unescaped(name), unescaped(value)));
    }
    if let Some(db) = db.filter(|_| !tags.iter().any(|(name, _)| name == "db")) {
        tags.push(("db".into(), db.into()));
    }
    // The line is whole or nothing: first all its values.
    let mut values: Vec<(String, f64)> = vec![];
    for part in pieces(fields, true) {
        let (name, value) =
            split_at(part, b'=', true).ok_or_else(|| wrong(format!("field {part:?} is not name=value")))?;
        let value = number(value).map_err(wrong)?;
        let name = unescaped(name);
        let name = if measurement.is_empty() { name.into_owned() } else { format!("{measurement}_{name}") };
        values.extend(value.map(|value| (name, value)));
    }
    for (name, value) in values {
        let mut pairs: Vec<(&str, &str)> = tags.iter().map(|(n, v)| (n.as_ref(), v.as_ref())).collect();
        pairs.push(("__name__", &name));
        batch.begin_series(&mut pairs).map_err(|why| (RejectReason::InvalidLabels, why.to_string()))?;
        batch.push(ts_ms, value);
    }
    Ok(())
}

/// Before and after the first such byte that is not escaped, nor in quotes where these may be.
fn split_at(text: &str, at: u8, quotes: bool) -> Option<(&str, &str)> {
    let (mut escaped, mut quoted) = (false, false);
    for (place, byte) in text.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' if quotes => quoted = !quoted,
            byte if byte == at && !quoted => return Some((&text[..place], &text[place + 1..])),
            _ => {}
        }
    }
    None
}

/// What commas part.
fn pieces(text: &str, quotes: bool) -> impl Iterator<Item = &str> {
    let mut rest = Some(text);
    std::iter::from_fn(move || {
        let now = rest?;
        let (piece, after) =
            split_at(now, b',', quotes).map_or((now, None), |(piece, after)| (piece, Some(after)));
        rest = after;
        Some(piece)
    })
}

fn unescaped(text: &str) -> Cow<'_, str> {
    if !text.contains('\\') {
        return text.into();
    }
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        let follows = chars.peek().is_some_and(|next| matches!(next, ',' | '=' | ' ' | '\\'));
        match c {
            '\\' if follows => out.extend(chars.next()),
            other => out.push(other),
        }
    }
    out.into()
}

/// `None` for a text.
fn number(text: &str) -> Result<Option<f64>, String> {
    let wrong = || format!("{text:?} is no value of a field");
    match text {
        "t" | "T" | "true" | "True" | "TRUE" => return Ok(Some(1.0)),
        "f" | "F" | "false" | "False" | "FALSE" => return Ok(Some(0.0)),
        quoted if quoted.len() >= 2 && quoted.starts_with('"') && quoted.ends_with('"') => return Ok(None),
        _ => {}
    }
    let number = match text.strip_suffix('i') {
        Some(whole) => whole.parse::<i64>().ok().map(|number| number as f64),
        None => match text.strip_suffix('u') {
            Some(whole) => whole.parse::<u64>().ok().map(|number| number as f64),
            None => text.parse::<f64>().ok().filter(|number| number.is_finite()),
        },
    };
    number.map(Some).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::Labels;

    fn found(text: &str) -> Vec<String> {
        let decoded = decode(text, Precision::Seconds, None, 42);
        assert!(decoded.rejected.0.is_empty(), "{:?}", decoded.rejected);
        shown(&decoded.batch)
    }

    fn shown(batch: &MetricBatch) -> Vec<String> {
        let line = |(labels, ts, values): (&[u8], &[i64], &[f64])| {
            format!("{} {} {}", Labels::from_bytes(labels).unwrap(), values[0], ts[0])
        };
        batch.iter().map(line).collect()
    }

    #[test]
    fn each_field_is_a_series() {
        for (line, wanted) in [
            (
                "cpu,host=a,zone=b idle=1.5,used=3i 7",
                vec!["cpu_idle{host=\"a\", zone=\"b\"} 1.5 7000", "cpu_used{host=\"a\", zone=\"b\"} 3 7000"],
            ),
            ("m value=-1e3", vec!["m_value -1000 42"]),
            (
                "m up=true,down=F,n=18446744073709551615u",
                vec!["m_up 1 42", "m_down 0 42", "m_n 18446744073709552000 42"],
            ),
            (r"we\ at\,her,a\=b=c\ d x\ y=1 1", vec!["we at,her_x y{a=b=\"c d\"} 1 1000"]),
            (r#"m text="a, b=c \" d",n=2 1"#, vec!["m_n 2 1000"]),
            ("# a comment\n\n  m n=1 1  \r\n", vec!["m_n 1 1000"]),
            ("m n=1 -5", vec!["m_n 1 -5000"]),
        ] {
            assert_eq!(found(line), wanted, "{line}");
        }
    }

    #[test]
    fn the_precision_says_what_a_time_counts() {
        for (word, ms) in [
            ("ns", 7),
            ("", 7),
            ("us", 7_200),
            ("ms", 7_200_000),
            ("s", 7_200_000_000),
            ("m", 432_000_000_000),
        ] {
            let precision = Precision::from_word(word).unwrap();
            assert_eq!(decode("m n=1 7200000", precision, None, 0).batch.ts_ms, [ms], "{word}");
        }
        assert_eq!(Precision::from_word("days"), None);
        assert_eq!(
            shown(&decode("m,db=own n=1", Precision::Seconds, Some("x"), 0).batch),
            ["m_n{db=\"own\"} 1 0"]
        );
        assert_eq!(shown(&decode("m n=1", Precision::Seconds, Some("x"), 0).batch), ["m_n{db=\"x\"} 1 0"]);
    }

    #[test]
    fn a_line_that_does_not_parse_is_counted_and_the_others_stay() {
        for (line, place) in [
            ("m", "line 2: a space and fields"),
            ("m n", "line 2: field \"n\" is not name=value"),
            ("m,tag n=1", "tag \"tag\""),
            ("m n=1,o=one", "\"one\" is no value"),
            ("m n=1 soon", "\"soon\" is not a time"),
            ("m n=NaN", "\"NaN\""),
            ("m n=\"open", "no value"),
            ("m,a=1,a=2 n=1", "\"a\" occurs twice"),
        ] {
            let decoded = decode(&format!("fine n=1\n{line}\nfine n=2"), Precision::Seconds, None, 0);
            assert_eq!(decoded.batch.values, [1.0, 2.0], "{line}");
            let row = &decoded.rejected.0[0];
            assert_eq!((row.count, row.example.contains(place)), (1, true), "{}", row.example);
        }
    }
}
