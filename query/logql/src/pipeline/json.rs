//! JSON lines, read once from left to right without building a tree.
//!
//! Only wanted fields are copied; the rest is skipped. How far a line may be from JSON before it gets an error, and what the error
//! says, is as in the reader that Loki has (`jsonparser`): what stands behind the object does not matter, nor what is in an array.

use super::paths::PathStep;
use memchr::{memchr2, memchr3};
use model::json_text::unescaped;
use std::borrow::Cow;

/// Objects inside one another in a line.
const DEPTH_MAX: usize = 64;
const NAME_BYTES_MAX: usize = 1024;

const NO_OBJECT: &str = "Value looks like object, but can't find closing '}' symbol";
const NO_ARRAY_END: &str = "Value is array, but can't find closing ']' symbol";
const NO_STRING_END: &str = "Value is string, but can't find closing '\"' symbol";
pub(crate) const MALFORMED: &str = "Malformed JSON error";
const NO_VALUE: &str = "Unknown value type";
const NO_ESCAPE: &str = "Encountered an invalid escape sequence in a string";

type Found<'a> = &'a mut dyn FnMut(&str, &str);

pub(crate) type Read<T> = Result<T, &'static str>;

/// Every scalar of an object with its keys joined by `_`. Arrays and nulls give nothing.
pub(crate) fn flatten(line: &str, wanted: Option<&[String]>, found: Found<'_>) -> Read<()> {
    let mut scanner = Scanner { text: line, at: 0 };
    scanner.space();
    scanner.object(0, &mut String::new(), wanted, found)
}

/// The string values of an object's own keys.
pub(crate) fn strings(line: &str, found: Found<'_>) -> Read<()> {
    let mut scanner = Scanner { text: line, at: 0 };
    scanner.members(&mut |scanner, key| {
        if scanner.peek() == Some(b'"') {
            let value = scanner.string(NO_STRING_END)?.text();
            found(&key.text(), &value);
        } else {
            scanner.skip()?;
        }
        Ok(true)
    })
}

/// The text of the value at a path: strings unescaped, objects as they stand, null as nothing. `None` where there is none. What is
/// wrong before it does not matter, as in Loki.
pub(crate) fn at_path<'a>(line: &'a str, steps: &[PathStep]) -> Read<Option<Cow<'a, str>>> {
    let mut scanner = Scanner { text: line, at: 0 };
    scanner.space();
    if !scanner.seek(steps).unwrap_or(false) {
        return Ok(None);
    }
    if scanner.peek() == Some(b'"') {
        return Ok(Some(scanner.string(NO_STRING_END)?.text()));
    }
    let start = scanner.at;
    scanner.skip()?;
    let text = &line[start..scanner.at];
    Ok(Some(match text.as_bytes().first() {
        Some(b'[') => Raw { text, escaped: text.contains('\\') }.text(),
        _ => Cow::Borrowed(if text == "null" { "" } else { text }),
    }))
}

/// `"name": value` without an object around it, as the lines of one are that was written over several.
pub(crate) fn begins_with_key(line: &str) -> bool {
    let mut scanner = Scanner { text: line, at: 0 };
    if scanner.peek() != Some(b'"') || scanner.string(NO_STRING_END).is_err() {
        return false;
    }
    scanner.space();
    scanner.peek() == Some(b':')
}

/// A key as a label name: what a name cannot hold becomes `_`.
pub(crate) fn sanitize(key: &str, out: &mut String) {
    out.clear();
    append_sanitized(key, out);
}

/// Blanks around a key are no part of its name.
fn append_sanitized(key: &str, out: &mut String) {
    let key = key.trim();
    if out.is_empty() && key.starts_with(|c: char| c.is_ascii_digit()) {
        out.push('_');
    }
    for c in key.chars() {
        out.push(if c.is_ascii_alphanumeric() || c == '_' { c } else { '_' });
    }
}

struct Scanner<'a> {
    text: &'a str,
    at: usize,
}

/// A string between its quotes, as it stands.
#[derive(Clone, Copy)]
struct Raw<'a> {
    text: &'a str,
    escaped: bool,
}

impl<'a> Raw<'a> {
    /// An escape that is none leaves nothing of the text, and what no character stands for becomes a blank.
    fn text(self) -> Cow<'a, str> {
        let text = match self.escaped {
            true => Cow::Owned(unescaped(self.text).unwrap_or_default()),
            false => Cow::Borrowed(self.text),
        };
        match text.contains(char::REPLACEMENT_CHARACTER) {
            true => Cow::Owned(text.replace(char::REPLACEMENT_CHARACTER, " ")),
            false => text,
        }
    }
}

impl<'a> Scanner<'a> {
    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    /// From its opening quote on.
    fn string(&mut self, without_end: &'static str) -> Read<Raw<'a>> {
        self.at += 1;
        let start = self.at;
        let mut escaped = false;
        loop {
            let rest = self.text.as_bytes().get(self.at..).unwrap_or_default();
            let Some(ahead) = memchr2(b'"', b'\\', rest) else {
                self.at = self.text.len();
                return Err(without_end);
            };
            self.at += ahead;
            if self.peek() == Some(b'"') {
                self.at += 1;
                return Ok(Raw { text: &self.text[start..self.at - 1], escaped });
            }
            escaped = true;
            // The escaped character may be of several bytes; the search above goes on inside it without harm.
            self.at += 2;
        }
    }

    /// Calls `member` at the value of each key of the object that begins here until it says no; then the scanner stays there.
    fn members(&mut self, member: &mut dyn FnMut(&mut Self, Raw<'a>) -> Read<bool>) -> Read<()> {
        if self.peek() != Some(b'{') {
            return Err(NO_OBJECT);
        }
        self.at += 1;
        self.space();
        if self.peek().is_none() {
            return Err(MALFORMED);
        }
        loop {
            match self.peek() {
                Some(b'"') => {}
                Some(b'}') => break,
                _ => return Err(NO_OBJECT),
            }
            let key = self.string(MALFORMED)?;
            if key.escaped && unescaped(key.text).is_none() {
                return Err(NO_ESCAPE);
            }
            self.space();
            if self.peek() != Some(b':') {
                return Err(MALFORMED);
            }
            self.at += 1;
            self.space();
            if self.peek().is_none() {
                return Err(MALFORMED);
            }
            if !member(self, key)? {
                return Ok(());
            }
            self.space();
            match self.peek() {
                Some(b',') => self.at += 1,
                Some(b'}') => break,
                Some(_) => return Err(NO_OBJECT),
                None => return Err(NO_ARRAY_END),
            }
            self.space();
            if self.peek().is_none() {
                return Err(NO_ARRAY_END);
            }
        }
        self.at += 1;
        Ok(())
    }

    fn object(
        &mut self,
        depth: usize,
        name: &mut String,
        wanted: Option<&[String]>,
        found: Found<'_>,
    ) -> Read<()> {
        if depth >= DEPTH_MAX {
            return Err("nested too deep");
        }
        let prefix = name.len();
        self.members(&mut |scanner, key| {
            name.truncate(prefix);
            let key = if key.escaped { key.text() } else { Cow::Borrowed(key.text) };
            if prefix > 0 && !key.trim().is_empty() {
                name.push('_');
            }
            append_sanitized(&key, name);
            if name.len() > NAME_BYTES_MAX {
                return Err("key is too long");
            }
            let is_wanted =
                || !name.is_empty() && wanted.is_none_or(|wanted| wanted.iter().any(|w| w == name));
            match scanner.peek() {
                Some(b'{') => {
                    let inside = |w: &String| w.len() > name.len() && w.starts_with(name.as_str());
                    match wanted.is_some_and(|wanted| !wanted.iter().any(inside)) {
                        true => scanner.skip()?,
                        false => {
                            // One that has no end has no fields, as in Loki; with it all that are in it have theirs.
                            if depth == 0 {
                                Scanner { text: scanner.text, at: scanner.at }.skip()?;
                            }
                            scanner.object(depth + 1, name, wanted, &mut *found)?;
                        }
                    }
                }
                Some(b'"') if is_wanted() => {
                    let value = scanner.string(NO_STRING_END)?;
                    found(name, &value.text());
                }
                Some(b'[' | b'"') => scanner.skip()?,
                _ => {
                    let value = scanner.scalar()?;
                    if value != "null" && is_wanted() {
                        found(name, value);
                    }
                }
            }
            Ok(true)
        })?;
        name.truncate(prefix);
        Ok(())
    }

    fn skip(&mut self) -> Read<()> {
        match self.peek() {
            Some(b'"') => self.string(NO_STRING_END).map(drop),
            Some(b'{') => self.block(b'{', b'}', NO_OBJECT),
            Some(b'[') => self.block(b'[', b']', NO_ARRAY_END),
            _ => self.scalar().map(drop),
        }
    }

    /// To the bracket that closes the one here, whatever is between them.
    fn block(&mut self, opens: u8, closes: u8, without_end: &'static str) -> Read<()> {
        let mut depth = 0usize;
        while let Some(ahead) = memchr3(b'"', opens, closes, &self.text.as_bytes()[self.at..]) {
            self.at += ahead;
            let byte = self.text.as_bytes()[self.at];
            if byte == b'"' {
                self.string(without_end)?;
                continue;
            }
            self.at += 1;
            if byte == opens {
                depth += 1;
            } else {
                depth -= 1;
                if depth == 0 {
                    return Ok(());
                }
            }
        }
        Err(without_end)
    }

    /// A number, a truth or null: what it begins with decides, and no more is looked at.
    fn scalar(&mut self) -> Read<&'a str> {
        let start = self.at;
        while self
            .peek()
            .is_some_and(|byte| !matches!(byte, b' ' | b'\n' | b'\r' | b'\t' | b',' | b'}' | b']'))
        {
            self.at += 1;
        }
        let text = &self.text[start..self.at];
        match text.as_bytes().first() {
            Some(b'-' | b'0'..=b'9') => Ok(text),
            _ if matches!(text, "true" | "false" | "null") => Ok(text),
            _ => Err(NO_VALUE),
        }
    }

    /// Calls `item` at each item until it says no; then the scanner stays there.
    fn array(&mut self, item: &mut dyn FnMut(&mut Self, usize) -> Read<bool>) -> Read<()> {
        self.at += 1;
        for index in 0.. {
            self.space();
            if self.peek() == Some(b']') {
                self.at += 1;
                break;
            }
            if !item(self, index)? {
                break;
            }
            self.space();
            match self.peek() {
                Some(b',') => self.at += 1,
                Some(b']') => {}
                _ => return Err(NO_ARRAY_END),
            }
        }
        Ok(())
    }

    /// Goes to the value at a path; false where there is none.
    fn seek(&mut self, steps: &[PathStep]) -> Read<bool> {
        let Some((step, rest)) = steps.split_first() else {
            return Ok(true);
        };
        let mut is_there = false;
        match (step, self.peek()) {
            (PathStep::Key(wanted), Some(b'{')) => self.members(&mut |scanner, key| {
                is_there = key.text() == wanted.as_str();
                if !is_there {
                    scanner.skip()?;
                }
                Ok(!is_there)
            })?,
            (PathStep::Index(wanted), Some(b'[')) => self.array(&mut |scanner, index| {
                is_there = index == *wanted;
                if !is_there {
                    scanner.skip()?;
                }
                Ok(!is_there)
            })?,
            _ => return Ok(false),
        }
        if is_there { self.seek(rest) } else { Ok(false) }
    }
}
