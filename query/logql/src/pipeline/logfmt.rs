//! `key=value key="quoted value" flag`, as logfmt lines are.

use std::borrow::Cow;

/// Every pair in order; a key without `=` has the value "". Goes on after a mistake and tells the first one.
pub(crate) fn pairs(line: &str, found: &mut dyn FnMut(&str, &str)) -> Result<(), String> {
    let mut mistake = Ok(());
    let mut note = |at: usize, what: &str| {
        if mistake.is_ok() {
            mistake = Err(format!("logfmt syntax error at pos {} : {what}", at + 1));
        }
    };
    let bytes = line.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        if bytes[at] <= b' ' {
            at += 1;
            continue;
        }
        let start = at;
        while at < bytes.len() && bytes[at] > b' ' && !matches!(bytes[at], b'=' | b'"') {
            at += 1;
        }
        let key = &line[start..at];
        if at >= bytes.len() || bytes[at] <= b' ' {
            found(key, "");
            continue;
        }
        if bytes[at] == b'"' || key.is_empty() {
            note(at, "unexpected character");
            at = skip_word(bytes, at);
            continue;
        }
        at += 1;
        if bytes.get(at) != Some(&b'"') {
            let start = at;
            while at < bytes.len() && bytes[at] > b' ' {
                if matches!(bytes[at], b'=' | b'"') {
                    note(at, "unexpected character");
                }
                at += 1;
            }
            found(key, &line[start..at]);
            continue;
        }
        match quoted(line, at + 1) {
            Some((value, end)) => {
                found(key, &value);
                at = end;
            }
            None => {
                note(at, "unterminated quoted value");
                return mistake;
            }
        }
    }
    mistake
}

fn skip_word(bytes: &[u8], from: usize) -> usize {
    bytes[from..].iter().position(|b| *b <= b' ').map_or(bytes.len(), |ahead| from + ahead)
}

/// The value whose text begins at `start`, and where the line goes on after its closing quote.
fn quoted(line: &str, start: usize) -> Option<(Cow<'_, str>, usize)> {
    let bytes = line.as_bytes();
    let mut at = start;
    let mut escaped = false;
    loop {
        match bytes.get(at)? {
            b'"' => break,
            b'\\' => {
                escaped = true;
                at += 2;
            }
            _ => at += 1,
        }
    }
    let text = &line[start..at];
    if !escaped {
        return Some((Cow::Borrowed(text), at + 1));
    }
    let mut value = String::with_capacity(text.len());
    let mut chars = text.char_indices();
    while let Some((_, c)) = chars.next() {
        match c {
            '\\' => {
                let (_, escape) = chars.next()?;
                value.push(crate::lexer::unescape(escape, &mut chars).unwrap_or(escape));
            }
            c => value.push(c),
        }
    }
    Some((Cow::Owned(value), at + 1))
}
