//! One line of an exposition, read from its front: names, labels in braces, numbers. What is wrong is told with the
//! column in which it stands.

use super::{Pairs, Wrong, number, unescape};
use std::borrow::Cow;

pub struct Line<'a> {
    line: &'a str,
    at: usize,
}

impl<'a> Line<'a> {
    pub fn of(line: &'a str, at: usize) -> Line<'a> {
        Line { line, at }
    }

    pub fn rest(&self) -> &'a str {
        &self.line[self.at..]
    }

    pub fn column(&self) -> usize {
        self.at
    }

    pub fn is_at_end(&self) -> bool {
        self.at == self.line.len()
    }

    pub fn begins(&self, with: &str) -> bool {
        self.rest().starts_with(with)
    }

    pub fn wrong<T>(&self, what: impl Into<String>) -> Result<T, Wrong> {
        Err((self.at, what.into()))
    }

    pub fn spaces(&mut self) {
        let blank = |byte: &u8| *byte == b' ' || *byte == b'\t' || *byte == b'\r';
        self.at += self.rest().bytes().take_while(|byte| blank(byte)).count();
    }

    /// Passes over the character where it stands next.
    pub fn take(&mut self, what: char) -> bool {
        let is_next = self.rest().starts_with(what);
        if is_next {
            self.at += what.len_utf8();
        }
        is_next
    }

    /// Up to the next blank.
    pub fn word(&mut self) -> &'a str {
        let rest = self.rest();
        let word = &rest[..rest.find([' ', '\t', '\r']).unwrap_or(rest.len())];
        self.at += word.len();
        word
    }

    pub fn number(&mut self, what: &str) -> Result<f64, Wrong> {
        if self.is_at_end() {
            return self.wrong(format!("{what} belongs here"));
        }
        let column = self.at;
        let word = self.word();
        number(word).ok_or_else(|| (column, format!("{word:?} is not a number")))
    }

    fn plain(&mut self, colon: bool) -> Option<&'a str> {
        let rest = self.rest();
        let fits = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_' || (colon && *byte == b':');
        let length = rest.bytes().take_while(|byte| fits(byte)).count();
        if length == 0 || rest.as_bytes()[0].is_ascii_digit() {
            return None;
        }
        self.at += length;
        Some(&rest[..length])
    }

    /// The cursor is at the quotes.
    fn quoted(&mut self) -> Result<Cow<'a, str>, Wrong> {
        self.at += 1;
        let bytes = self.line.as_bytes();
        let from = self.at;
        let mut end = from;
        loop {
            match memchr::memchr2(b'"', b'\\', &bytes[end.min(bytes.len())..]) {
                Some(found) if bytes[end + found] == b'\\' => end += found + 2,
                Some(found) => {
                    end += found;
                    break;
                }
                None => return self.wrong("the quoted text does not end"),
            }
        }
        self.at = end + 1;
        Ok(unescape(&self.line[from..end]))
    }

    /// As a comment names it.
    pub fn metric_name(&mut self) -> Result<Cow<'a, str>, Wrong> {
        let name = match self.begins("\"") {
            true => self.quoted()?,
            false => match self.plain(true) {
                Some(name) => name.into(),
                None => return self.wrong("a metric name belongs here"),
            },
        };
        let ends = self.is_at_end() || self.begins(" ") || self.begins("\t");
        if ends { Ok(name) } else { self.wrong("a metric name ends before this") }
    }

    /// Name and labels of a sample; the name may be in quotes inside the braces.
    pub fn series(&mut self) -> Result<Pairs<'a>, Wrong> {
        let column = self.at;
        let name = self.plain(true);
        if name.is_none() && !self.begins("{") {
            return self.wrong("a metric name belongs here");
        }
        let blank = self.at;
        self.spaces();
        let mut labels = match self.begins("{") {
            true => self.labels(name.is_none())?,
            false => {
                self.at = blank;
                vec![]
            }
        };
        if let Some(name) = name {
            labels.push(("__name__".into(), name.into()));
        }
        if !labels.iter().any(|(name, _)| name == "__name__") {
            return Err((column, "the series has no metric name".into()));
        }
        Ok(labels)
    }

    /// In braces, of which the first is next. A quoted text alone is the metric's name, where that may be among them.
    pub fn labels(&mut self, with_name: bool) -> Result<Pairs<'a>, Wrong> {
        let mut labels: Pairs<'a> = vec![];
        self.at += 1;
        loop {
            self.spaces();
            if self.take('}') {
                return Ok(labels);
            }
            let column = self.at;
            let is_quoted = self.begins("\"");
            let name: Cow<'a, str> = match is_quoted {
                true => self.quoted()?,
                false => match self.plain(false) {
                    Some(name) => name.into(),
                    None => return self.wrong("a label name belongs here"),
                },
            };
            self.spaces();
            if self.take('=') {
                self.spaces();
                if !self.begins("\"") {
                    return self.wrong("a quoted value belongs here");
                }
                labels.push((name, self.quoted()?));
            } else if with_name && is_quoted && !labels.iter().any(|(known, _)| known == "__name__") {
                labels.push(("__name__".into(), name));
            } else {
                return Err((column, "a label name and = belong here".into()));
            }
            self.spaces();
            if !self.take(',') && !self.begins("}") {
                return self.wrong("a comma or } belongs here");
            }
        }
    }
}
