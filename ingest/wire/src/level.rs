//! The severity of a line whose sender did not give one.

use memchr::memmem::Finder;
use std::sync::LazyLock;

/// OpenTelemetry's severity number for a level's common names; 0 where the word is none.
pub fn of_word(word: &str) -> u8 {
    let is = |names: &[&str]| names.iter().any(|name| word.eq_ignore_ascii_case(name));
    if is(&["info", "information", "informational", "notice", "i"]) {
        9
    } else if is(&["warn", "warning", "wrn", "w"]) {
        13
    } else if is(&["error", "err", "eror", "e"]) {
        17
    } else if is(&["debug", "dbg", "d"]) {
        5
    } else if is(&["fatal", "critical", "crit", "alert", "emerg", "emergency", "panic", "f"]) {
        21
    } else if is(&["trace", "trc"]) {
        1
    } else {
        0
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

/// Names under which structured lines and metadata carry a level.
pub const NAMES: [&str; 5] = ["level", "lvl", "severity", "detected_level", "loglevel"];

/// The first three, sought in every line whose sender gave no level.
static FINDERS: LazyLock<[Finder<'static>; 3]> =
    LazyLock::new(|| ["level", "lvl", "severity"].map(Finder::new));

/// How much of a line is looked at.
const HEAD_BYTES: usize = 512;

/// From `level=warn` or `"level":"warn"` near the start of a line; 0 where there is none.
pub fn of_line(line: &str) -> u8 {
    let head = &line.as_bytes()[..line.len().min(HEAD_BYTES)];
    for finder in FINDERS.iter() {
        for at in finder.find_iter(head).take(4) {
            let word = word_after(&head[at + finder.needle().len()..]);
            let level = std::str::from_utf8(word).map_or(0, of_word);
            if level > 0 && word.len() > 1 {
                return level;
            }
        }
    }
    0
}

/// The letters after `=`, `":"` and the like.
fn word_after(rest: &[u8]) -> &[u8] {
    let punctuation =
        rest.iter().take_while(|byte| matches!(byte, b'"' | b'=' | b':' | b' ' | b'\'')).count();
    if !rest[..punctuation].iter().any(|byte| matches!(byte, b'=' | b':')) {
        return &[];
    }
    let rest = &rest[punctuation..];
    &rest[..rest.iter().take_while(|byte| byte.is_ascii_alphabetic()).count()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_are_read_where_they_are_named() {
        for (line, level) in [
            ("level=warn msg=x", 13),
            (r#"{"ts":1,"level":"ERROR","msg":"level"}"#, 17),
            (r#"{"severity": "critical"}"#, 21),
            ("the level of warn", 0),
            ("sea level: low", 0),
            ("no word", 0),
        ] {
            assert_eq!(of_line(line), level, "{line}");
        }
    }
}
