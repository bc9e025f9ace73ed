//! The level of a line that came without a severity, as Loki's `detected_level` guesses it.

/// Keys that hold a level, in the order in which they are believed.
const KEYS: [&str; 5] = ["level", "severity", "lvl", "loglevel", "severity_text"];

/// One of trace, debug, info, warn, error, critical, fatal or unknown.
pub fn detect_level(line: &str) -> &'static str {
    let mut found = None;
    let mut see = |key: &str, value: &str| {
        if found.is_none() && KEYS.iter().any(|known| known.eq_ignore_ascii_case(key)) {
            found = level_of(value);
        }
    };
    let trimmed = line.trim_start();
    if trimmed.starts_with('{') {
        // A line that is not whole may still have told its level.
        let _ = super::json::strings(trimmed, &mut see);
    } else if line.contains('=') {
        let _ = super::logfmt::pairs(line, false, &mut see);
    }
    found.unwrap_or_else(|| from_words(line))
}

fn level_of(word: &str) -> Option<&'static str> {
    Some(match word.to_ascii_lowercase().as_str() {
        "trace" | "trc" => "trace",
        "debug" | "dbg" => "debug",
        "info" | "inf" | "information" | "notice" => "info",
        "warn" | "wrn" | "warning" => "warn",
        "error" | "err" => "error",
        "critical" | "crit" | "alert" => "critical",
        "fatal" | "emerg" | "panic" => "fatal",
        _ => return None,
    })
}

/// The first word that is a level, within the part of a line where loggers put it.
fn from_words(line: &str) -> &'static str {
    let mut words = line.split(|c: char| !c.is_ascii_alphabetic()).filter(|word| word.len() >= 3).take(64);
    words.find_map(level_of).unwrap_or("unknown")
}
