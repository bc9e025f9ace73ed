//! What functions make of a text: in Go's words, with its letters, and bounded where a text grows.

use crate::template::value::Item;
use model::regexp::compile;

/// What functions that make texts longer may make of one.
const GROWN_BYTES_MAX: usize = 8 << 20;

/// Go cuts strings between bytes, whatever characters they are of.
pub(super) fn bytes_of(text: &str, from: usize, to: usize) -> String {
    String::from_utf8_lossy(&text.as_bytes()[from..to]).into_owned()
}

/// Each character becomes one, as in Go.
pub(super) fn lower(text: &str) -> String {
    text.chars().map(|c| c.to_lowercase().next().unwrap_or(c)).collect()
}

pub(super) fn upper(text: &str) -> String {
    text.chars().map(upper_of).collect()
}

/// One that would become several stays.
fn upper_of(c: char) -> char {
    let mut upper = c.to_uppercase();
    match (upper.next(), upper.next()) {
        (Some(upper), None) => upper,
        _ => c,
    }
}

/// Words begin behind blanks and what of ASCII is no letter, digit or `_`.
pub(super) fn title(text: &str) -> String {
    let mut start = true;
    let one = |c: char| {
        let out = match c {
            _ if !start => c,
            'Ǆ' | 'ǅ' | 'ǆ' => 'ǅ',
            'Ǉ' | 'ǈ' | 'ǉ' => 'ǈ',
            'Ǌ' | 'ǋ' | 'ǌ' => 'ǋ',
            'Ǳ' | 'ǲ' | 'ǳ' => 'ǲ',
            c => upper_of(c),
        };
        start = match c.is_ascii() {
            true => !c.is_ascii_alphanumeric() && c != '_',
            false => c.is_whitespace(),
        };
        out
    };
    text.chars().map(one).collect()
}

/// So many of the places from the start on, all of them where the count is negative. It may multiply a text's length; past the
/// bound it is refused.
pub(super) fn replace(text: &str, from: &str, to: &str, count: i64) -> Result<String, String> {
    let count = usize::try_from(count).unwrap_or(usize::MAX);
    let places = text.matches(from).count().min(count);
    grown(text.len().saturating_add(places.saturating_mul(to.len())))?;
    Ok(text.replacen(from, to, count))
}

/// Every match of the regex, by what `write` writes for it.
pub(super) fn replace_matches(
    regex: &str,
    text: &str,
    with: &str,
    write: impl Fn(&regex::Captures<'_>, &str, &mut String),
) -> Result<String, String> {
    let regex = compile(regex)?;
    let (mut out, mut done) = (String::new(), 0);
    for found in regex.captures_iter(text) {
        let whole = found.get_match();
        out.push_str(&text[done..whole.start()]);
        // Each dollar sign may be as much as was matched.
        let most = with.len().saturating_add(with.matches('$').count().saturating_mul(whole.len()));
        grown(out.len().saturating_add(most))?;
        write(&found, with, &mut out);
        done = whole.end();
    }
    out.push_str(&text[done..]);
    Ok(out)
}

fn grown(bytes: usize) -> Result<(), String> {
    match bytes > GROWN_BYTES_MAX {
        true => Err("it makes the line too long".to_owned()),
        false => Ok(()),
    }
}

pub(super) fn trim_set(text: &str, set: &str, left: bool, right: bool) -> String {
    let mut text = text;
    if left {
        text = text.trim_start_matches(|c| set.contains(c));
    }
    if right {
        text = text.trim_end_matches(|c| set.contains(c));
    }
    text.to_owned()
}

pub(super) fn strip(text: &str, part: &str, prefix: bool) -> String {
    let stripped = if prefix { text.strip_prefix(part) } else { text.strip_suffix(part) };
    stripped.unwrap_or(text).to_owned()
}

pub(super) fn trunc(count: i64, text: &str) -> String {
    let keep = usize::try_from(count.unsigned_abs()).unwrap_or(usize::MAX).min(text.len());
    match count {
        0.. => bytes_of(text, 0, keep),
        _ => bytes_of(text, text.len() - keep, text.len()),
    }
}

/// Where the bounds are none, Go's runtime fails and says how.
pub(super) fn substr(start: i64, end: i64, text: &str) -> Result<String, String> {
    let length = text.len() as i64;
    let fails = |bounds: String| Err(format!("runtime error: slice bounds out of range {bounds}"));
    let (from, to) = match (start, end) {
        (..0, end) if end < 0 => return fails(format!("[:{end}]")),
        (..0, end) if end > length => return fails(format!("[:{end}] with length {length}")),
        (..0, end) => (0, end),
        (start, end) if end < 0 || end > length => match start > length {
            true => return fails(format!("[{start}:{length}]")),
            false => (start, length),
        },
        (start, end) if start > end => return fails(format!("[{start}:{end}]")),
        bounds => bounds,
    };
    Ok(bytes_of(text, from as usize, to as usize))
}

pub(super) fn indent(count: i64, text: &str) -> Result<String, String> {
    if count < 0 {
        return Err("strings: negative Repeat count".to_owned());
    }
    let pad = " ".repeat(count.min(1000) as usize);
    grown(text.len().saturating_add(text.split('\n').count().saturating_mul(pad.len())))?;
    Ok(text.split('\n').map(|line| format!("{pad}{line}")).collect::<Vec<_>>().join("\n"))
}

pub(super) fn align(count: i64, text: &str, right: bool) -> String {
    if count < 0 {
        return text.to_owned();
    }
    let width = count.min(10_000) as usize;
    let length = text.chars().count();
    if length >= width {
        let skip = if right { length - width } else { 0 };
        return text.chars().skip(skip).take(width).collect();
    }
    let pad = " ".repeat(width - length);
    if right { format!("{pad}{text}") } else { format!("{text}{pad}") }
}

pub(super) fn repeat(count: i64, text: &str) -> Result<Item, String> {
    let count = usize::try_from(count).map_err(|_| "strings: negative Repeat count".to_owned())?;
    if count.saturating_mul(text.len()) > 1 << 20 {
        return Err("repeat makes the line too long".to_owned());
    }
    Ok(Item::Text(text.repeat(count)))
}
