//! The format of container runtimes: `<time> <stream> <P or F> <text>`, where `P` is a part that goes on.
//!
//! Parts of stdout and stderr alternate, and a line begun in one file may end in the next: there is one open line a
//! stream, and it outlives its file.

use super::line::LINE_BYTES_MAX;
use super::positions::Pending;

pub const STREAMS: [&str; 2] = ["stdout", "stderr"];

/// A whole line: its time is that of its first part.
pub struct Line {
    pub stream: usize,
    pub ts_ns: i64,
    pub body: Vec<u8>,
    pub cut: bool,
}

struct Part<'a> {
    ts_ns: i64,
    stream: usize,
    partial: bool,
    text: &'a [u8],
}

/// `None` while the line goes on. What is not of the format is a line of stdout by itself: half a record of a full disk
/// is still better than none.
pub fn add(raw: &[u8], now_ns: i64, pending: &mut [Option<Pending>; 2]) -> Option<Line> {
    let Some(part) = parse(raw) else {
        return Some(Line { stream: 0, ts_ns: now_ns, body: raw.to_vec(), cut: false });
    };
    let open = pending[part.stream].take();
    if open.is_none() && !part.partial {
        return Some(Line { stream: part.stream, ts_ns: part.ts_ns, body: part.text.to_vec(), cut: false });
    }
    let mut open = open.unwrap_or_else(|| Pending { ts_ns: part.ts_ns, ..Pending::default() });
    let room = LINE_BYTES_MAX.saturating_sub(open.body.len());
    open.cut |= part.text.len() > room;
    open.body.extend_from_slice(&part.text[..part.text.len().min(room)]);
    if part.partial {
        pending[part.stream] = Some(open);
        return None;
    }
    Some(Line { stream: part.stream, ts_ns: open.ts_ns, body: open.body, cut: open.cut })
}

fn parse(raw: &[u8]) -> Option<Part<'_>> {
    let mut words = raw.splitn(4, |byte| *byte == b' ');
    let time = std::str::from_utf8(words.next()?).ok()?;
    let ts_ns = chrono::DateTime::parse_from_rfc3339(time).ok()?.timestamp_nanos_opt()?;
    let stream = words.next()?;
    let stream = STREAMS.iter().position(|name| name.as_bytes() == stream)?;
    // Tags are parted by colons; the first says whether the line ends here.
    let tags = words.next()?;
    let partial = match tags.split(|byte| *byte == b':').next()? {
        b"P" => true,
        b"F" => false,
        _ => return None,
    };
    Some(Part { ts_ns, stream, partial, text: words.next().unwrap_or(b"") })
}
