//! `key=value key="quoted value" flag`, as logfmt lines are.

use model::json_text::hex;
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
            Some((Some(value), end)) => {
                found(key, &value);
                at = end;
            }
            Some((None, end)) => {
                fault(end, "invalid quoted value")?;
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

/// The value whose text begins at `start`, if its escapes are some, and where the line goes on after its closing quote.
fn quoted(line: &str, start: usize) -> Option<(Option<Cow<'_, str>>, usize)> {
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
    let value = match escaped {
        true => unescaped(text).map(Cow::Owned),
        false => Some(Cow::Borrowed(text)),
    };
    Some((value, at + 1))
}

/// `None` where an escape is none: JSON's are, and `\'`.
fn unescaped(text: &str) -> Option<String> {
    let mut value = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        value.push_str(&rest[..at]);
        let escape = rest[at + 1..].chars().next()?;
        rest = &rest[at + 1 + escape.len_utf8()..];
        value.push(match escape {
            '"' | '\\' | '/' | '\'' => escape,
            'b' => '\u{8}',
            'f' => '\u{c}',
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            'u' => {
                let (c, used) = unicode(rest)?;
                rest = &rest[used..];
                c
            }
            _ => return None,
        });
    }
    value.push_str(rest);
    Some(value)
}

/// The character of `XXXX`, or of `XXXX\uXXXX` where it is a surrogate pair, and the bytes that it took. Half a pair is told as
/// what is no character.
fn unicode(text: &str) -> Option<(char, usize)> {
    let first = hex(text, 0)?;
    let second = text.get(4..6).filter(|next| *next == "\\u").and_then(|_| hex(text, 6));
    if let (0xd800..0xdc00, Some(second @ 0xdc00..0xe000)) = (first, second) {
        let code = 0x10000 + ((first - 0xd800) << 10) + (second - 0xdc00);
        return Some((char::from_u32(code)?, 10));
    }
    Some((char::from_u32(first).unwrap_or(char::REPLACEMENT_CHARACTER), 4))
}
