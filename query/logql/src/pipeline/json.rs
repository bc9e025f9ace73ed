//! JSON lines, read once from left to right without building a tree.
//!
//! Only wanted fields are copied; the rest is skipped but must be well formed, as a line that is not gets an error
//! whatever was asked of it.

use memchr::memchr2;
use std::borrow::Cow;

/// Objects and arrays inside one another in a line.
const DEPTH_MAX: usize = 64;
const NAME_BYTES_MAX: usize = 1024;

/// One step of a path: `a.b[0]["c d"]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PathStep {
    Key(String),
    Index(usize),
}

type Found<'a> = &'a mut dyn FnMut(&str, &str);

pub(crate) const NO_OBJECT: &str = "line is not a JSON object";

/// Every scalar of an object with its keys joined by `_`. Arrays and nulls give nothing.
pub(crate) fn flatten(line: &str, wanted: Option<&[String]>, found: Found<'_>) -> Result<(), String> {
    let mut scanner = Scanner { text: line, at: 0 };
    scanner.space();
    // What most lines that are no JSON fail by: it costs no formatting.
    if scanner.peek() != Some(b'{') {
        return Err(NO_OBJECT.to_owned());
    }
    let mut name = String::new();
    scanner.object(0, &mut name, wanted, found)?;
    scanner.end()
}

/// The string values of an object's own keys.
pub(crate) fn strings(line: &str, found: Found<'_>) -> Result<(), String> {
    let mut scanner = Scanner { text: line, at: 0 };
    scanner.space();
    scanner.members(0, &mut |scanner, key| {
        if scanner.peek() == Some(b'"') {
            let value = scanner.string()?.text();
            found(&key.text(), &value);
            return Ok(());
        }
        scanner.skip(1)
    })?;
    scanner.end()
}

/// The text of the value at a path: strings unescaped, objects and arrays as they stand. `None` where there is none.
pub(crate) fn at_path<'a>(line: &'a str, steps: &[PathStep]) -> Result<Option<Cow<'a, str>>, String> {
    let mut scanner = Scanner { text: line, at: 0 };
    scanner.space();
    if !scanner.seek(steps, 0)? {
        return Ok(None);
    }
    if scanner.peek() == Some(b'"') {
        return scanner.string().map(|value| Some(value.text()));
    }
    let start = scanner.at;
    scanner.skip(0)?;
    let text = &line[start..scanner.at];
    Ok((text != "null").then_some(Cow::Borrowed(text)))
}

pub(crate) fn parse_path(path: &str) -> Result<Vec<PathStep>, String> {
    let mut steps = Vec::new();
    let mut rest = path;
    while !rest.is_empty() {
        if let Some(inner) = rest.strip_prefix('[') {
            if let Some(quoted) = inner.strip_prefix('"') {
                let end = quoted.find("\"]").ok_or("missing \"]")?;
                steps.push(PathStep::Key(quoted[..end].replace("\\\"", "\"")));
                rest = &quoted[end + 2..];
            } else {
                let end = inner.find(']').ok_or("missing ]")?;
                let index = inner[..end].parse().map_err(|_| format!("{:?} is no index", &inner[..end]))?;
                steps.push(PathStep::Index(index));
                rest = &inner[end + 1..];
            }
            continue;
        }
        if !steps.is_empty() {
            rest = rest.strip_prefix('.').ok_or_else(|| format!("unexpected {rest:?}"))?;
        }
        let end = rest.find(['.', '[']).unwrap_or(rest.len());
        let key = &rest[..end];
        let valid =
            !key.is_empty() && key.chars().all(|c| c.is_alphanumeric() || matches!(c, '_' | '-' | '@' | '$'));
        if !valid || key.starts_with(|c: char| c.is_ascii_digit()) {
            return Err(format!("{key:?} is no key; write [\"{key}\"]"));
        }
        steps.push(PathStep::Key(key.to_owned()));
        rest = &rest[end..];
    }
    if steps.is_empty() { Err("empty path".to_owned()) } else { Ok(steps) }
}

/// A key as a label name: what a name cannot hold becomes `_`.
pub(crate) fn sanitize(key: &str, out: &mut String) {
    out.clear();
    append_sanitized(key.trim(), out);
}

fn append_sanitized(key: &str, out: &mut String) {
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
    fn text(self) -> Cow<'a, str> {
        if self.escaped { Cow::Owned(unescape(self.text)) } else { Cow::Borrowed(self.text) }
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

    fn error<T>(&self, what: &str) -> Result<T, String> {
        Err(format!("{what} at byte {}", self.at))
    }

    fn expect(&mut self, byte: u8) -> Result<(), String> {
        if self.peek() != Some(byte) {
            return self.error(&format!("expecting {:?}", byte as char));
        }
        self.at += 1;
        Ok(())
    }

    fn end(&mut self) -> Result<(), String> {
        self.space();
        if self.at == self.text.len() { Ok(()) } else { self.error("unexpected text after the object") }
    }

    fn string(&mut self) -> Result<Raw<'a>, String> {
        self.expect(b'"')?;
        let start = self.at;
        let mut escaped = false;
        loop {
            let Some(ahead) = memchr2(b'"', b'\\', &self.text.as_bytes()[self.at..]) else {
                return self.error("unterminated string");
            };
            self.at += ahead;
            if self.peek() == Some(b'"') {
                self.at += 1;
                return Ok(Raw { text: &self.text[start..self.at - 1], escaped });
            }
            escaped = true;
            // The escaped character may be of several bytes; `find` above goes on inside it without harm.
            self.at += 2;
            if self.at > self.text.len() {
                self.at = self.text.len();
                return self.error("unterminated string");
            }
        }
    }

    /// Calls `member` at the value of each key of the object that begins here.
    fn members(
        &mut self,
        depth: usize,
        member: &mut dyn FnMut(&mut Self, Raw<'a>) -> Result<(), String>,
    ) -> Result<(), String> {
        if depth >= DEPTH_MAX {
            return self.error("nested too deep");
        }
        self.expect(b'{')?;
        self.space();
        if self.peek() == Some(b'}') {
            self.at += 1;
            return Ok(());
        }
        loop {
            self.space();
            let key = self.string()?;
            self.space();
            self.expect(b':')?;
            self.space();
            member(self, key)?;
            self.space();
            match self.peek() {
                Some(b',') => self.at += 1,
                Some(b'}') => {
                    self.at += 1;
                    return Ok(());
                }
                _ => return self.error("expecting ',' or '}'"),
            }
        }
    }

    fn object(
        &mut self,
        depth: usize,
        name: &mut String,
        wanted: Option<&[String]>,
        found: Found<'_>,
    ) -> Result<(), String> {
        let prefix = name.len();
        self.members(depth, &mut |scanner, key| {
            name.truncate(prefix);
            if prefix > 0 {
                name.push('_');
            }
            match key.escaped {
                true => append_sanitized(&key.text(), name),
                false => append_sanitized(key.text, name),
            }
            if name.len() > NAME_BYTES_MAX {
                return scanner.error("key is too long");
            }
            match scanner.peek() {
                Some(b'{') => {
                    let inside = |w: &String| w.len() > name.len() && w.starts_with(name.as_str());
                    if wanted.is_some_and(|wanted| !wanted.iter().any(inside)) {
                        return scanner.skip(depth + 1);
                    }
                    scanner.object(depth + 1, name, wanted, &mut *found)
                }
                Some(b'[') => scanner.skip(depth + 1),
                _ => {
                    let wants = wanted.is_none_or(|wanted| wanted.iter().any(|w| w == name));
                    if !wants {
                        return scanner.skip(depth + 1);
                    }
                    if scanner.peek() == Some(b'"') {
                        let value = scanner.string()?;
                        found(name, &value.text());
                        return Ok(());
                    }
                    let start = scanner.at;
                    scanner.skip(depth + 1)?;
                    let value = &scanner.text[start..scanner.at];
                    if value != "null" {
                        found(name, value);
                    }
                    Ok(())
                }
            }
        })?;
        name.truncate(prefix);
        Ok(())
    }

    fn skip(&mut self, depth: usize) -> Result<(), String> {
        match self.peek() {
            Some(b'"') => self.string().map(drop),
            Some(b'{') => self.members(depth, &mut |scanner, _| scanner.skip(depth + 1)),
            Some(b'[') => self.array(depth, &mut |scanner, _| scanner.skip(depth + 1).map(|()| true)),
            Some(b't') => self.word("true"),
            Some(b'f') => self.word("false"),
            Some(b'n') => self.word("null"),
            Some(b'-' | b'0'..=b'9') => {
                self.at += 1;
                while matches!(self.peek(), Some(b'0'..=b'9' | b'.' | b'e' | b'E' | b'+' | b'-')) {
                    self.at += 1;
                }
                Ok(())
            }
            _ => self.error("expecting a value"),
        }
    }

    fn word(&mut self, word: &str) -> Result<(), String> {
        if !self.text[self.at..].starts_with(word) {
            return self.error("expecting a value");
        }
        self.at += word.len();
        Ok(())
    }

    /// Calls `item` at each item until it says no; then the scanner stays there.
    fn array(
        &mut self,
        depth: usize,
        item: &mut dyn FnMut(&mut Self, usize) -> Result<bool, String>,
    ) -> Result<(), String> {
        if depth >= DEPTH_MAX {
            return self.error("nested too deep");
        }
        self.expect(b'[')?;
        self.space();
        if self.peek() == Some(b']') {
            self.at += 1;
            return Ok(());
        }
        for index in 0.. {
            self.space();
            if !item(self, index)? {
                return Ok(());
            }
            self.space();
            match self.peek() {
                Some(b',') => self.at += 1,
                Some(b']') => {
                    self.at += 1;
                    return Ok(());
                }
                _ => return self.error("expecting ',' or ']'"),
            }
        }
        Ok(())
    }

    /// Goes to the value at a path; false where there is none.
    fn seek(&mut self, steps: &[PathStep], depth: usize) -> Result<bool, String> {
        let Some((step, rest)) = steps.split_first() else {
            return Ok(true);
        };
        let mut target = None;
        match (step, self.peek()) {
            (PathStep::Key(wanted), Some(b'{')) => self.members(depth, &mut |scanner, key| {
                if target.is_none() && key.text() == wanted.as_str() {
                    target = Some(scanner.at);
                }
                scanner.skip(depth + 1)
            })?,
            (PathStep::Index(wanted), Some(b'[')) => self.array(depth, &mut |scanner, index| {
                if index == *wanted {
                    target = Some(scanner.at);
                    return Ok(false);
                }
                scanner.skip(depth + 1).map(|()| true)
            })?,
            _ => return Ok(false),
        }
        match target {
            Some(at) => {
                self.at = at;
                self.seek(rest, depth + 1)
            }
            None => Ok(false),
        }
    }
}

fn unescape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        out.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        let Some(c) = rest.chars().next() else { break };
        rest = &rest[c.len_utf8()..];
        match c {
            'n' => out.push('\n'),
            't' => out.push('\t'),
            'r' => out.push('\r'),
            'b' => out.push('\u{8}'),
            'f' => out.push('\u{c}'),
            'u' => {
                let (c, used) = unicode(rest);
                out.push(c);
                rest = &rest[used..];
            }
            other => out.push(other),
        }
    }
    out.push_str(rest);
    out
}

/// The character of `XXXX`, or of `XXXX\uXXXX` where it is a surrogate pair, and the bytes that it took.
fn unicode(text: &str) -> (char, usize) {
    let hex = |from: usize| text.get(from..from + 4).and_then(|hex| u32::from_str_radix(hex, 16).ok());
    let Some(first) = hex(0) else {
        return (char::REPLACEMENT_CHARACTER, 0);
    };
    if (0xd800..0xdc00).contains(&first)
        && text.get(4..6) == Some("\\u")
        && let Some(second) = hex(6).filter(|second| (0xdc00..0xe000).contains(second))
    {
        let code = 0x10000 + ((first - 0xd800) << 10) + (second - 0xdc00);
        return (char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER), 10);
    }
    (char::from_u32(first).unwrap_or(char::REPLACEMENT_CHARACTER), 4)
}
