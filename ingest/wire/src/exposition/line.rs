//! One line of an exposition, read from its front: names, labels in braces, numbers. What is wrong is told with the
//! column in which it stands.

use super::{Pairs, Wrong, number, unescape};
use model::METRIC_NAME;
use std::borrow::Cow;

/// May stand in a metric's name, in a label's, between words.
const OF_METRIC: u8 = 1;
const OF_LABEL: u8 = 2;
const BLANK: u8 = 4;

/// Of each byte, where it may stand without quotes.
const CLASSES: [u8; 256] = {
    let mut classes = [0; 256];
    let mut byte = 0u8;
    while byte < 128 {
        if byte.is_ascii_alphanumeric() || byte == b'_' {
            classes[byte as usize] = OF_METRIC | OF_LABEL;
        }
        byte += 1;
    }
    classes[b':' as usize] = OF_METRIC;
    classes[b' ' as usize] = BLANK;
    classes[b'\t' as usize] = BLANK;
    classes[b'\r' as usize] = BLANK;
    classes
};

pub struct Line<'a> {
    line: &'a str,
    at: usize,
    has_escapes: bool,
}

impl<'a> Line<'a> {
    pub fn of(line: &'a str, at: usize) -> Line<'a> {
        Line { line, at, has_escapes: false }
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

    fn next(&self) -> Option<u8> {
        self.line.as_bytes().get(self.at).copied()
    }

    /// Passes over bytes of a class.
    fn pass(&mut self, class: u8) {
        let rest = &self.line.as_bytes()[self.at..];
        let is_of = |byte: &u8| CLASSES[*byte as usize] & class != 0;
        self.at += rest.iter().position(|byte| !is_of(byte)).unwrap_or(rest.len());
    }

    /// Whether a text in quotes had escapes, which [`unescaped`] undoes.
    pub fn has_escapes(&self) -> bool {
        self.has_escapes
    }

    pub fn spaces(&mut self) {
        self.pass(BLANK);
    }

    /// Passes over the byte of ASCII where it stands next.
    pub fn take(&mut self, what: u8) -> bool {
        let is_next = self.next() == Some(what);
        self.at += usize::from(is_next);
        is_next
    }

    /// Up to the next blank.
    pub fn word(&mut self) -> &'a str {
        let from = self.at;
        while self.next().is_some_and(|byte| CLASSES[byte as usize] & BLANK == 0) {
            self.at += 1;
        }
        &self.line[from..self.at]
    }

    /// Passes over these bytes where they stand next, up to a blank or the end.
    pub fn take_word(&mut self, word: &str) -> bool {
        let behind = self.line.as_bytes()[self.at..].strip_prefix(word.as_bytes());
        let is_next = behind.is_some_and(|rest| rest.first().is_none_or(|byte| matches!(byte, b' ' | b'\t')));
        self.at += if is_next { word.len() } else { 0 };
        is_next
    }

    pub fn number(&mut self, what: &str) -> Result<f64, Wrong> {
        if self.is_at_end() {
            return self.wrong(format!("{what} belongs here"));
        }
        let column = self.at;
        let word = self.word();
        number(word).ok_or_else(|| (column, format!("{word:?} is not a number")))
    }

    /// A name without quotes, of characters that may stand `within` one.
    fn plain(&mut self, within: u8) -> Option<&'a str> {
        let from = self.at;
        if self.next().is_none_or(|byte| byte.is_ascii_digit()) {
            return None;
        }
        self.pass(within);
        (self.at > from).then(|| &self.line[from..self.at])
    }

    /// As it stands there, with its escapes. The cursor is at the quotes.
    fn quoted(&mut self) -> Result<&'a str, Wrong> {
        self.at += 1;
        let from = self.at;
        let bytes = self.line.as_bytes();
        let mut end = from;
        // Values are short: a search that is made ready for long ones would take longer.
        loop {
            match bytes.get(end) {
                Some(b'"') => break,
                Some(b'\\') => {
                    self.has_escapes = true;
                    end += 2;
                }
                Some(_) => end += 1,
                None => return self.wrong("the quoted text does not end"),
            }
        }
        self.at = end + 1;
        Ok(&self.line[from..end])
    }

    /// As a comment names it.
    pub fn metric_name(&mut self) -> Result<Cow<'a, str>, Wrong> {
        let name = match self.begins("\"") {
            true => unescape(self.quoted()?),
            false => match self.plain(OF_METRIC) {
                Some(name) => name.into(),
                None => return self.wrong("a metric name belongs here"),
            },
        };
        let ends = self.is_at_end() || self.begins(" ") || self.begins("\t");
        if ends { Ok(name) } else { self.wrong("a metric name ends before this") }
    }

    /// Name and labels of a sample, as they stand there, put behind what `into` holds; the name may be in quotes inside
    /// the braces.
    pub fn series(&mut self, into: &mut Pairs<'a>) -> Result<(), Wrong> {
        let column = self.at;
        let name = self.plain(OF_METRIC);
        match name {
            // First, as most label names sort behind it.
            Some(name) => into.push((METRIC_NAME, name)),
            None if self.next() != Some(b'{') => return self.wrong("a metric name belongs here"),
            None => {}
        }
        let blank = self.at;
        self.spaces();
        match self.next() {
            Some(b'{') => self.labels(name.is_none(), into)?,
            _ => self.at = blank,
        }
        if name.is_none() && !has_name(into) {
            return Err((column, "the series has no metric name".into()));
        }
        Ok(())
    }

    /// A label as nearly all are written, `name="value"` without blanks and escapes; `None` leaves the cursor where it
    /// is.
    fn usual_label(&mut self) -> Option<(&'a str, &'a str)> {
        let bytes = &self.line.as_bytes()[self.at..];
        let name = bytes.iter().position(|byte| CLASSES[*byte as usize] & OF_LABEL == 0)?;
        let value = bytes[name..].strip_prefix(b"=\"")?;
        let length = value.iter().position(|byte| matches!(byte, b'"' | b'\\'))?;
        if name == 0 || bytes[0].is_ascii_digit() || value[length] == b'\\' {
            return None;
        }
        let from = self.at;
        let quotes = from + name + 1;
        self.at = quotes + length + 2;
        Some((&self.line[from..from + name], &self.line[quotes + 1..quotes + 1 + length]))
    }

    /// In braces, of which the first is next. A quoted text alone is the metric's name, where that may be among them.
    pub fn labels(&mut self, with_name: bool, into: &mut Pairs<'a>) -> Result<(), Wrong> {
        self.at += 1;
        loop {
            match self.usual_label() {
                Some(label) => into.push(label),
                None => {
                    self.spaces();
                    if self.take(b'}') {
                        return Ok(());
                    }
                    self.label(with_name, into)?;
                }
            }
            self.spaces();
            if !self.take(b',') && self.next() != Some(b'}') {
                return self.wrong("a comma or } belongs here");
            }
        }
    }

    fn label(&mut self, with_name: bool, into: &mut Pairs<'a>) -> Result<(), Wrong> {
        let column = self.at;
        let is_quoted = self.next() == Some(b'"');
        let name = match is_quoted {
            true => self.quoted()?,
            false => match self.plain(OF_LABEL) {
                Some(name) => name,
                None => return self.wrong("a label name belongs here"),
            },
        };
        self.spaces();
        if self.take(b'=') {
            self.spaces();
            if self.next() != Some(b'"') {
                return self.wrong("a quoted value belongs here");
            }
            into.push((name, self.quoted()?));
        } else if with_name && is_quoted && !has_name(into) {
            into.push((METRIC_NAME, name));
        } else {
            return Err((column, "a label name and = belong here".into()));
        }
        Ok(())
    }
}

fn has_name(labels: &Pairs<'_>) -> bool {
    labels.iter().any(|(name, _)| *name == METRIC_NAME)
}
