//! The level that a line of text names: klog's first letter, a word in brackets or in capitals near its beginning. What
//! structured lines say (`level=warn`, `"level":"warn"`) ingest reads itself.

/// Words looked at: time, process and the like stand before the level.
const WORDS_MAX: usize = 6;

/// OpenTelemetry's severity number; 0 where the line names none.
pub fn of(line: &str) -> u8 {
    let bytes = line.as_bytes();
    if bytes.first().is_none_or(|first| *first == b'{') {
        return 0;
    }
    if let Some(level) = klog(bytes) {
        return level;
    }
    let head = &bytes[..bytes.len().min(96)];
    let words = head.split(|byte| matches!(byte, b' ' | b'\t' | b'|' | b',')).filter(|word| !word.is_empty());
    words.take(WORDS_MAX).map(of_word).find(|level| *level > 0).unwrap_or(0)
}

/// Of a severity number.
pub fn name(severity: u8) -> &'static str {
    ["", "trace", "debug", "info", "warn", "error", "fatal"][usize::from(severity.min(24)).div_ceil(4)]
}

/// `E0102 15:04:05.000000       1 file.go:1] …`.
fn klog(line: &[u8]) -> Option<u8> {
    let (first, rest) = line.split_first()?;
    let is_date =
        rest.get(..5).is_some_and(|date| date[..4].iter().all(u8::is_ascii_digit) && date[4] == b' ');
    match (first, is_date) {
        (b'I', true) => Some(9),
        (b'W', true) => Some(13),
        (b'E', true) => Some(17),
        (b'F', true) => Some(21),
        _ => None,
    }
}

/// In brackets or a colour any case counts, alone only capitals: `error` may be a word like others.
fn of_word(word: &[u8]) -> u8 {
    let word = word.strip_suffix(b":").unwrap_or(word);
    let within = in_brackets(word);
    let plain = without_colour(within.unwrap_or(word));
    let plain = plain.strip_suffix(b":").unwrap_or(plain);
    let inside = in_brackets(plain);
    let bare = inside.unwrap_or(plain);
    let is_capital = bare.iter().all(u8::is_ascii_uppercase);
    let stands_out = within.or(inside).is_some() || word.contains(&ESCAPE);
    if bare.len() < 3 || bare.len() > 9 || !(is_capital || stands_out) {
        return 0;
    }
    match bare.to_ascii_uppercase().as_slice() {
        b"TRACE" => 1,
        b"DEBUG" | b"DBG" => 5,
        b"INFO" | b"INF" | b"NOTICE" => 9,
        b"WARN" | b"WARNING" | b"WRN" => 13,
        b"ERROR" | b"ERR" | b"SEVERE" => 17,
        b"FATAL" | b"CRITICAL" | b"CRIT" | b"PANIC" | b"EMERG" | b"ALERT" => 21,
        _ => 0,
    }
}

fn in_brackets(word: &[u8]) -> Option<&[u8]> {
    word.strip_prefix(b"[")?.strip_suffix(b"]")
}

/// Terminals' colours around a word: `\x1b[31m` before it, and `\x1b[0m` behind it.
fn without_colour(word: &[u8]) -> &[u8] {
    if !word.contains(&ESCAPE) {
        return word;
    }
    let mut word = word;
    while word.starts_with(&[ESCAPE, b'[']) {
        let Some(end) = word.iter().position(|byte| *byte == b'm') else { return word };
        word = &word[end + 1..];
    }
    let end = word.iter().position(|byte| *byte == ESCAPE);
    &word[..end.unwrap_or(word.len())]
}

const ESCAPE: u8 = 0x1b;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_stand_near_the_beginning() {
        for (line, level) in [
            ("E0102 15:04:05.000000       1 a.go:1] no", 17),
            ("2026-01-01 00:00:00,000 WARN  [main] x", 13),
            ("2026/01/01 00:00:00 [error] 7#7: *1 open() failed", 17),
            ("INFO:root:hello", 0),
            ("ERROR: no", 17),
            ("2026-01-01T00:00:00Z\tDEBUG\tx", 5),
            ("an error came", 0),
            ("{\"m\":\"ERROR\"}", 0),
            ("Every word", 0),
            ("\x1b[31merror\x1b[39m: no", 17),
            ("\x1b[2m2026-01-01T00:00:00Z\x1b[0m \x1b[32m INFO\x1b[0m app: x", 9),
            ("2026-01-01T00:00:00Z \x1b[1;33mWARN:\x1b[0m x", 13),
            ("[\x1b[36mdebug\x1b[0m] x", 5),
            ("\x1b[36m[debug]\x1b[0m x", 5),
            ("an \x1b[31merroneous\x1b[0m word", 0),
            ("\x1b[", 0),
            ("", 0),
        ] {
            assert_eq!(of(line), level, "{line}");
        }
        let named = [0, 1, 4, 5, 9, 13, 17, 21, 24, 255].map(name);
        assert_eq!(
            named,
            ["", "trace", "trace", "debug", "info", "warn", "error", "fatal", "fatal", "fatal"]
        );
    }
}
