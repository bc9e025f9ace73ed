//! The format of container runtimes: `<time> <stream> <P or F> <text>`, where `P` is a part that goes on.
//!
//! Parts of stdout and stderr alternate, and a line begun in one file may end in the next: there is one open line a
//! stream, and it outlives its file.

use super::line::LINE_BYTES_MAX;
use super::positions::Pending;
use memchr::memmem::Finder;
use std::borrow::Cow;
use std::sync::LazyLock;

pub const STREAMS: [&str; 2] = ["stdout", "stderr"];

/// A whole line: its time is that of its first part.
pub struct Line<'r> {
    pub stream: usize,
    pub ts_ns: i64,
    pub body: Cow<'r, [u8]>,
    pub cut: bool,
}

struct Part<'a> {
    ts_ns: i64,
    stream: usize,
    partial: bool,
    text: &'a [u8],
}

/// Lines that end with this record: none while a line goes on. Of which streams there are records is `said`. What is not of
/// the format is a line of stdout by itself: half a record of a full disk is still better than none.
pub fn add<'r>(
    raw: &'r [u8],
    now_ns: i64,
    pending: &mut [Option<Pending>; 2],
    said: &mut [bool; 2],
    each: &mut dyn FnMut(Line<'r>),
) {
    let Some(part) = parse(raw) else {
        return each(Line { stream: 0, ts_ns: now_ns, body: raw.into(), cut: false });
    };
    said[part.stream] = true;
    match glued(&part) {
        None => joined(part, pending, each),
        Some(at) => {
            // The disk was full, and what was written next stands behind a record without its end.
            let (half, next) = part.text.split_at(at);
            let half = Part { text: half, partial: false, ..part };
            let whole = &mut |line: Line<'r>| each(Line { cut: true, ..line });
            joined(half, pending, whole);
            add(next, now_ns, pending, said, each);
        }
    }
}

fn joined<'r>(part: Part<'r>, pending: &mut [Option<Pending>; 2], each: &mut dyn FnMut(Line<'r>)) {
    let open = pending[part.stream].take();
    if open.is_none() && !part.partial {
        return each(Line { stream: part.stream, ts_ns: part.ts_ns, body: part.text.into(), cut: false });
    }
    let mut open = open.unwrap_or_else(|| Pending { ts_ns: part.ts_ns, ..Pending::default() });
    let room = LINE_BYTES_MAX.saturating_sub(open.body.len());
    open.cut |= part.text.len() > room;
    open.body.extend_from_slice(&part.text[..part.text.len().min(room)]);
    if part.partial {
        pending[part.stream] = Some(open);
    } else {
        each(Line { stream: part.stream, ts_ns: open.ts_ns, body: open.body.into(), cut: open.cut });
    }
}

/// Where in a record's text another one begins. A line may show such a record on purpose, and then stands a space or a
/// quote before it.
fn glued(part: &Part<'_>) -> Option<usize> {
    // Asked of every line, so both streams are looked for at once.
    let named = STREAM.find_iter(part.text);
    let named = named.filter(|at| matches!(part.text.get(at + 4..at + 8), Some(b"out " | b"err ")));
    for at in named.take(8) {
        let from = at.saturating_sub(35);
        // The longest that is a time; digits of the cut text before it would make it a longer one that is none.
        let begins = (from..at.saturating_sub(19)).find(|from| time(&part.text[*from..at]).is_some());
        let Some(begins) = begins.filter(|begins| *begins > 0) else { continue };
        let is_shown = matches!(part.text[begins - 1], b' ' | b'"' | b'\'' | b'`' | b'\t');
        if !is_shown && parse(&part.text[begins..]).is_some_and(|next| next.ts_ns >= part.ts_ns) {
            return Some(begins);
        }
    }
    None
}

/// How both ` stdout ` and ` stderr ` begin.
static STREAM: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(" std"));

fn parse(raw: &[u8]) -> Option<Part<'_>> {
    // The shortest time has 20 bytes, the longest 35.
    let end = memchr::memchr(b' ', &raw[..raw.len().min(36)])?;
    let ts_ns = time(&raw[..end])?;
    let rest = &raw[end + 1..];
    let stream = match rest.get(..7)? {
        b"stdout " => 0,
        b"stderr " => 1,
        _ => return None,
    };
    // Tags are parted by colons; the first says whether the line ends here.
    let partial = match rest.get(7)? {
        b'P' => true,
        b'F' => false,
        _ => return None,
    };
    let text = match rest.get(8) {
        None => &[][..],
        Some(b' ') => &rest[9..],
        Some(b':') => memchr::memchr(b' ', rest.get(9..)?).map_or(&[][..], |at| &rest[9 + at + 1..]),
        Some(_) => return None,
    };
    Some(Part { ts_ns, stream, partial, text })
}

/// `2026-11-23T21:42:29.226427705Z`, or with an offset as CRI-O writes it; nanoseconds since 1970. Every line of the node
/// has one, so it is read byte by byte.
fn time(word: &[u8]) -> Option<i64> {
    let number = |range: std::ops::Range<usize>| {
        let digits = word.get(range)?;
        digits
            .iter()
            .try_fold(0i64, |sum, byte| byte.is_ascii_digit().then(|| sum * 10 + i64::from(byte - b'0')))
    };
    let is = |at: usize, byte: u8| word.get(at) == Some(&byte);
    if !(is(4, b'-') && is(7, b'-') && is(10, b'T') && is(13, b':') && is(16, b':')) {
        return None;
    }
    let (year, month, day) = (number(0..4)?, number(5..7)?, number(8..10)?);
    let (hour, minute, second) = (number(11..13)?, number(14..16)?, number(17..19)?);
    if !(1..=12).contains(&month) || !(1..=31).contains(&day) || hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let mut at = 19;
    let mut ns = 0;
    if is(19, b'.') {
        let digits = word[20..].iter().take_while(|byte| byte.is_ascii_digit()).count();
        if digits == 0 || digits > 9 {
            return None;
        }
        ns = number(20..20 + digits)? * 10i64.pow(9 - digits as u32);
        at = 20 + digits;
    }
    let offset_s = match word.get(at)? {
        b'Z' if word.len() == at + 1 => 0,
        sign @ (b'+' | b'-') if word.len() == at + 6 && is(at + 3, b':') => {
            let seconds = number(at + 1..at + 3)? * 3_600 + number(at + 4..at + 6)? * 60;
            if *sign == b'+' { seconds } else { -seconds }
        }
        _ => return None,
    };
    let seconds = days(year, month, day) * 86_400 + hour * 3_600 + minute * 60 + second - offset_s;
    seconds.checked_mul(1_000_000_000)?.checked_add(ns)
}

/// Days since 1970 of the Gregorian calendar, counted in years that begin in March, so that a leap day is a year's last.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let (era, year_of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_those_of_a_library() {
        for text in [
            "2026-11-23T21:42:29.226427705Z",
            "2026-11-23T21:42:29Z",
            "2024-02-29T23:59:59.5+02:00",
            "1999-12-31T00:00:00.000000001-11:30",
            "2100-03-01T00:00:00.1Z",
            "1970-01-01T00:00:00Z",
        ] {
            let theirs = chrono::DateTime::parse_from_rfc3339(text).unwrap().timestamp_nanos_opt();
            assert_eq!(time(text.as_bytes()), theirs, "{text}");
        }
        for text in [
            "",
            "2026-13-01T00:00:00Z",
            "2026-01-01 00:00:00Z",
            "2026-01-01T00:00:00",
            "2026-01-01T00:00:00.Z",
            "2026-01-01T00:00:00.0000000001Z",
            "2026-01-01T00:00:00+0200",
            "x026-01-01T00:00:00Z",
        ] {
            assert_eq!(time(text.as_bytes()), None, "{text}");
        }
    }
}
