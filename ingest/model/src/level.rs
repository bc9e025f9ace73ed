//! The level of a log record: the words that senders have for it, and what a line says of itself where its sender said
//! nothing. Both are those of Loki's `detected_level`, so that what Grafana shows is the same over either.
//!
//! A level is kept as OpenTelemetry's severity number. `critical`, which OpenTelemetry has no number for, is FATAL3.

use crate::attributes::{Attributes, Value};
use crate::logs::severity_text;

/// Names of labels, of structured metadata and in lines that hold a level, in the order in which they are believed.
pub const FIELDS: [&str; 14] = [
    "level",
    "LEVEL",
    "Level",
    "log.level",
    "severity",
    "SEVERITY",
    "Severity",
    "SeverityText",
    "lvl",
    "LVL",
    "Lvl",
    "severity_text",
    "Severity_Text",
    "SEVERITY_TEXT",
];

const TRACE: u8 = 1;
const DEBUG: u8 = 5;
const INFO: u8 = 9;
const WARN: u8 = 13;
const ERROR: u8 = 17;
const FATAL: u8 = 21;
const CRITICAL: u8 = 23;

/// Words that Loki takes for a level wherever they are said.
fn plain(word: &[u8]) -> u8 {
    let is = |names: &[&str]| names.iter().any(|name| word.eq_ignore_ascii_case(name.as_bytes()));
    match word.first().map(u8::to_ascii_lowercase) {
        Some(b'i') if is(&["info", "inf", "information"]) => INFO,
        Some(b'w') if is(&["warn", "wrn", "warning"]) => WARN,
        Some(b'e') if is(&["error", "err"]) => ERROR,
        Some(b'd') if is(&["debug", "dbg"]) => DEBUG,
        Some(b't') if is(&["trace", "trc"]) => TRACE,
        Some(b'c') if is(&["critical"]) => CRITICAL,
        Some(b'f') if is(&["fatal"]) => FATAL,
        _ => 0,
    }
}

/// The number of what a sender calls the level, other common words among them; 0 where the word is none.
pub fn of_word(word: &str) -> u8 {
    let is = |names: &[&str]| names.iter().any(|name| word.eq_ignore_ascii_case(name));
    match plain(word.as_bytes()) {
        0 if is(&["informational", "notice", "i"]) => INFO,
        0 if is(&["w"]) => WARN,
        0 if is(&["eror", "e"]) => ERROR,
        0 if is(&["d"]) => DEBUG,
        0 if is(&["crit", "alert"]) => CRITICAL,
        0 if is(&["emerg", "emergency", "panic", "f"]) => FATAL,
        known => known,
    }
}

/// From syslog's severity, 0 (emergency) to 7 (debug), as OpenTelemetry's data model maps it.
pub fn of_syslog(severity: u8) -> u8 {
    match severity {
        0 => 24,
        1 => 22,
        2 => 21,
        3 => 17,
        4 => 13,
        5 => 10,
        6 => 9,
        7 => 5,
        _ => 0,
    }
}

/// What a sender calls the level, spelled as a level where it is one and as it is where not. `field` gives the values of
/// labels, or of metadata.
pub fn named<'a>(field: impl Fn(&str) -> Option<&'a str>) -> Option<&'a str> {
    FIELDS.iter().find_map(|name| field(name)).filter(|word| !word.is_empty()).map(normal)
}

/// A level as it is spelled; any other word as it is.
pub fn normal(word: &str) -> &str {
    match plain(word.as_bytes()) {
        0 => word,
        known => severity_text(known),
    }
}

/// Spells the level that metadata names outright as levels are spelled.
pub fn spell(attributes: &mut Attributes) {
    for (_, value) in attributes.iter_mut().filter(|(name, _)| name == "detected_level") {
        if let Value::String(word) = value {
            *word = normal(word).into();
        }
    }
}

/// What a line says: in a field of JSON or logfmt, else by the first word that is a level; 0 where nothing does.
pub fn of_line(line: &str) -> u8 {
    let bytes = line.as_bytes();
    let trimmed = line.trim();
    let said = if trimmed.starts_with('{') && trimmed.ends_with('}') {
        let mut said = 0;
        object(trimmed.as_bytes(), 0, 0, &mut said);
        said
    } else if memchr::memchr(b'=', bytes).is_some() {
        of_pairs(bytes)
    } else {
        0
    };
    if said > 0 { said } else { of_first_word(bytes) }
}

/// Objects in objects in objects are not looked into.
const DEPTH_MAX: usize = 2;

/// Reads the object that begins at `at`, to the first text in a field that holds a level. The place behind it, or `None` where
/// reading ends: at that text, or because this is no JSON.
fn object(bytes: &[u8], at: usize, depth: usize, said: &mut u8) -> Option<usize> {
    let mut at = space(bytes, at + 1);
    if bytes.get(at) == Some(&b'}') {
        return Some(at + 1);
    }
    loop {
        let (key, end) = text(bytes, at)?;
        at = space(bytes, end);
        if bytes.get(at) != Some(&b':') {
            return None;
        }
        at = space(bytes, at + 1);
        at = match bytes.get(at)? {
            b'"' => {
                let (value, end) = text(bytes, at)?;
                if FIELDS.iter().any(|name| name.as_bytes() == key) {
                    *said = plain(value);
                    return None;
                }
                end
            }
            b'{' if depth + 1 < DEPTH_MAX => object(bytes, at, depth + 1, said)?,
            b'{' | b'[' => nested(bytes, at)?,
            _ => at + bytes[at..].iter().position(|byte| matches!(byte, b',' | b'}' | b']'))?,
        };
        at = space(bytes, at);
        match bytes.get(at)? {
            b',' => at = space(bytes, at + 1),
            b'}' => return Some(at + 1),
            _ => return None,
        }
    }
}

fn space(bytes: &[u8], at: usize) -> usize {
    at + bytes[at.min(bytes.len())..].iter().take_while(|byte| byte.is_ascii_whitespace()).count()
}

/// What stands between the quotes of which the first is at `at`, and the place behind the second.
fn text(bytes: &[u8], at: usize) -> Option<(&[u8], usize)> {
    if bytes.get(at) != Some(&b'"') {
        return None;
    }
    let mut end = at + 1;
    loop {
        end += memchr::memchr2(b'"', b'\\', bytes.get(end..)?)?;
        if bytes[end] == b'"' {
            return Some((&bytes[at + 1..end], end + 1));
        }
        end += 2;
    }
}

/// The place behind the brackets that begin at `at`, whatever they hold.
fn nested(bytes: &[u8], mut at: usize) -> Option<usize> {
    let mut open = 0usize;
    loop {
        match bytes.get(at)? {
            b'"' => {
                at = text(bytes, at)?.1;
                continue;
            }
            b'{' | b'[' => open += 1,
            b'}' | b']' => open -= 1,
            _ => {}
        }
        at += 1;
        if open == 0 {
            return Some(at);
        }
    }
}

/// Of the pairs of logfmt that name a level, in whatever case, the one whose name is believed most.
fn of_pairs(bytes: &[u8]) -> u8 {
    let (mut best, mut said) = (FIELDS.len(), 0);
    let mut at = 0;
    while let Some((key, value, next)) = pair(bytes, at) {
        at = next;
        let place = FIELDS[..best].iter().position(|name| key.eq_ignore_ascii_case(name.as_bytes()));
        if let Some(place) = place {
            (best, said) = (place, plain(value));
        }
        if best == 0 {
            break;
        }
    }
    said
}

/// The first pair from `at` on and the place behind it; `None` at the end, and at what is no logfmt.
fn pair(bytes: &[u8], at: usize) -> Option<(&[u8], &[u8], usize)> {
    let rest = bytes.get(at..)?;
    let start = at + rest.iter().position(|byte| *byte > b' ')?;
    let ends_a_key = |byte: &u8| *byte <= b' ' || matches!(byte, b'=' | b'"');
    let end = bytes[start..].iter().position(ends_a_key).map_or(bytes.len(), |length| start + length);
    let key = &bytes[start..end];
    match bytes.get(end) {
        Some(b'=') if !key.is_empty() => {}
        Some(b'=' | b'"') => return None,
        _ => return Some((key, &[], end)),
    }
    let start = end + 1;
    if bytes.get(start) == Some(&b'"') {
        let (value, end) = text(bytes, start)?;
        return Some((key, value, end));
    }
    let end = bytes[start..].iter().position(ends_a_key).map_or(bytes.len(), |length| start + length);
    // A value that goes on with a quote or an equals sign is none.
    (!matches!(bytes.get(end), Some(b'=' | b'"'))).then_some((key, &bytes[start..end], end))
}

/// The first word that is a level, whatever it is about. A colon before it makes it a part of something else, as in `misc:error`.
fn of_first_word(bytes: &[u8]) -> u8 {
    const WORDS: [&str; 9] =
        ["trace", "debug", "fatal", "critical", "error", "err", "warning", "warn", "info"];
    let begins =
        |byte: &u8| matches!(byte, b' ' | b'\t' | b'\n' | b'[' | b'(' | b'{' | b'"' | b'\'' | b'=' | b'|');
    let ends = |byte: &u8| begins(byte) || matches!(byte, b']' | b')' | b'}' | b':' | b',' | b'!');
    for (at, byte) in bytes.iter().enumerate() {
        if !matches!(byte | 0x20, b't' | b'd' | b'f' | b'c' | b'e' | b'w' | b'i')
            || at > 0 && !begins(&bytes[at - 1])
        {
            continue;
        }
        let is_here = |word: &&str| {
            let found = bytes.get(at..at + word.len());
            found.is_some_and(|found| found.eq_ignore_ascii_case(word.as_bytes()))
                && bytes.get(at + word.len()).is_none_or(ends)
        };
        if let Some(word) = WORDS.into_iter().find(|word| is_here(word)) {
            return plain(word.as_bytes());
        }
    }
    0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_are_read_where_they_are_named() {
        for (line, level) in [
            ("level=warn msg=x", "warn"),
            (r#"{"ts":1,"level":"ERROR","msg":"level"}"#, "error"),
            (r#"{"severity": "critical"}"#, "critical"),
            (r#" {"a":{"level":"error"},"b":[{"level":"info"}],"severity":"warn"} "#, "error"),
            (r#"{"a":{"b":{"level":"error"}},"c":[1,"]",{"lvl":"info"}],"n":-1.5e3,"Lvl":"trc"}"#, "trace"),
            (r#"{"level":30,"msg":"a warning"}"#, "warn"),
            (r#"{"level":"off","msg":"no","err":"x"}"#, "error"),
            (r#"{"levelname":"ERROR"}"#, "error"),
            (r#"{"log.level":"dbg"}"#, "debug"),
            (r#"{"k\"":"\\","level":"info"}"#, "info"),
            (r#"{"level":"info""#, "info"),
            ("err=nil lvl=dbg severity=inf", "info"),
            (r#"msg="a \"level=warn\" b" LEVEL=trc"#, "trace"),
            ("a=b=c lvl=trc level:warn", "unknown"),
            ("error=\"nil\" level=info", "info"),
            ("the level of warn", "warn"),
            ("sea level: low", "unknown"),
            ("INFO error in one", "info"),
            ("misc:error and xerror errors", "unknown"),
            ("misc [ERROR] x", "error"),
            ("Warning: low disk", "warn"),
            ("fatal", "fatal"),
            ("CRIT x, NOTICE y, WRN", "unknown"),
            ("größe: ERR!", "error"),
            ("", "unknown"),
            ("=", "unknown"),
            ("{}", "unknown"),
            ("{\"\\", "unknown"),
        ] {
            assert_eq!(severity_text(of_line(line)), level, "{line}");
        }
    }

    #[test]
    fn words_are_normal_where_they_are_levels() {
        let of = |pairs: &'static [(&'static str, &'static str)]| {
            named(move |name| pairs.iter().find(|(other, _)| *other == name).map(|(_, value)| *value))
        };
        assert_eq!(of(&[("severity", "ERR"), ("lvl", "info")]), Some("error"));
        assert_eq!(of(&[("level", "notice")]), Some("notice"));
        assert_eq!((of(&[("app", "error")]), of(&[("level", "")])), (None, None));
        for (word, level) in [("notice", "info"), ("CRIT", "critical"), ("Emerg", "fatal"), ("x", "unknown")]
        {
            assert_eq!(severity_text(of_word(word)), level, "{word}");
        }
        assert_eq!(
            (0..9).map(of_syslog).map(severity_text).collect::<Vec<_>>(),
            ["fatal", "fatal", "fatal", "error", "warn", "info", "info", "debug", "unknown"]
        );
    }
}
