//! One line as it goes on: its time, its text, and whether it was cut.

use super::level;
use model::{LogRecord, Value};

/// A longer line is cut here, marked, and its rest passed over.
pub const LINE_BYTES_MAX: usize = 256 << 10;

/// Marks a line whose end is missing.
const CUT: &str = "log.truncated";

/// Bytes that are not UTF-8 become the replacement character; a carriage return at the end goes.
pub fn record(ts_ns: i64, mut body: Vec<u8>, cut: bool) -> LogRecord {
    if body.last() == Some(&b'\r') {
        body.pop();
    }
    let attributes = if cut { vec![(CUT.to_owned(), Value::Bool(true))] } else { vec![] };
    let body = String::from_utf8(body)
        .unwrap_or_else(|wrong| String::from_utf8_lossy(wrong.as_bytes()).into_owned());
    LogRecord { ts_ns, severity: level::of(&body), body, attributes, ..LogRecord::default() }
}

/// The time a line begins with, where it is one that names its zone (RFC 3339, as rsyslog and many programs write).
pub fn time_of(line: &[u8]) -> Option<i64> {
    // `2026-01-01T00:00:00Z` is the shortest.
    if !line.first()?.is_ascii_digit() || line.len() < 20 || line[10] != b'T' {
        return None;
    }
    let end = memchr::memchr(b' ', &line[..line.len().min(40)]).unwrap_or(line.len().min(40));
    let word = std::str::from_utf8(&line[..end]).ok()?;
    chrono::DateTime::parse_from_rfc3339(word).ok()?.timestamp_nanos_opt()
}
