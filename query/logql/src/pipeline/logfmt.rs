//! `key=value key="quoted value" flag`, as logfmt lines are.

use std::borrow::Cow;

/// Every pair in order; a key without `=` has the value "". A mistake costs its pair, and where it is strict ends the reading.
pub(crate) fn pairs(line: &str, is_strict: bool, found: &mut dyn FnMut(&str, &str)) -> Result<(), String> {
    let fault = |at: usize, what: &str| match is_strict {
        true => Err(format!("logfmt syntax error at pos {} : {what}", at + 1)),
        false => Ok(()),
    };
    let unexpected = |at: usize, byte: u8| match is_strict {
        true => fault(at, &format!("unexpected {:?}", char::from(byte))),
        false => Ok(()),
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
        let is_blank = bytes.get(at).is_none_or(|byte| *byte <= b' ');
        if !is_blank && (bytes[at] == b'"' || key.is_empty()) {
            unexpected(at, bytes[at])?;
            at = skip_word(bytes, at);
            continue;
        }
        if key.contains(char::REPLACEMENT_CHARACTER) {
            fault(at, "invalid key")?;
            at = skip_word(bytes, at);
            continue;
        }
        if is_blank {
            found(key, "");
            continue;
        }
        at += 1;
        if bytes.get(at) != Some(&b'"') {
            let start = at;
            while at < bytes.len() && bytes[at] > b' ' && !matches!(bytes[at], b'=' | b'"') {
                at += 1;
            }
            match bytes.get(at) {
                Some(byte @ (b'=' | b'"')) => {
                    unexpected(at, *byte)?;
                    at = skip_word(bytes, at);
                }
                _ => found(key, &line[start..at]),
            }
            continue;
        }
        match quoted(line, at + 1) {
            Some((value, end)) => {
                found(key, &value);
                at = end;
            }
            None => return fault(bytes.len(), "unterminated quoted value"),
        }
    }
    Ok(())
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
