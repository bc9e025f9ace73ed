//! Text to tokens with positions. Comments run from `#` to the end of the line.

use crate::units::{parse_bytes, parse_duration_ns, parse_float};

/// Where and why a query was refused, in Loki's wording.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("parse error at line {line}, col {column}: {message}")]
pub struct ParseError {
    pub line: usize,
    /// Counted in characters from 1.
    pub column: usize,
    pub message: String,
}

impl ParseError {
    pub(crate) fn at_start(message: impl Into<String>) -> ParseError {
        ParseError { line: 1, column: 1, message: message.into() }
    }

    pub(crate) fn at(text: &str, offset: usize, message: impl Into<String>) -> ParseError {
        let before = &text[..offset.min(text.len())];
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        ParseError {
            line: before.bytes().filter(|b| *b == b'\n').count() + 1,
            column: before[line_start..].chars().count() + 1,
            message: message.into(),
        }
    }
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Token {
    Ident(String),
    Text(String),
    Number(f64),
    /// Nanoseconds.
    Duration(i64),
    Bytes(u64),
    /// `[5m]`, in nanoseconds.
    Range(i64),
    /// `--strict`
    Flag(String),
    Punct(&'static str),
    End,
}

impl Token {
    /// How an error names it.
    pub(crate) fn describe(&self) -> String {
        match self {
            Token::Ident(word) if KEYWORDS.contains(&word.as_str()) => word.clone(),
            Token::Ident(_) => "IDENTIFIER".to_owned(),
            Token::Text(_) => "STRING".to_owned(),
            Token::Number(_) => "NUMBER".to_owned(),
            Token::Duration(_) => "DURATION".to_owned(),
            Token::Bytes(_) => "BYTES".to_owned(),
            Token::Range(_) => "RANGE".to_owned(),
            Token::Flag(flag) => format!("--{flag}"),
            Token::Punct(punct) => (*punct).to_owned(),
            Token::End => "$end".to_owned(),
        }
    }
}

/// Words that are no names wherever they stand.
const KEYWORDS: [&str; 24] = [
    "and",
    "bool",
    "by",
    "decolorize",
    "drop",
    "group_left",
    "group_right",
    "ignoring",
    "json",
    "keep",
    "label_format",
    "label_replace",
    "line_format",
    "logfmt",
    "offset",
    "on",
    "or",
    "pattern",
    "regexp",
    "unless",
    "unpack",
    "unwrap",
    "vector",
    "without",
];

/// Longest first, so that `|=` is not read as `|` and `=`.
const PUNCT: [&str; 27] = [
    "|=", "|~", "|>", "!=", "!~", "!>", "=~", "==", ">=", "<=", "{", "}", "(", ")", ",", "|", "=", ">", "<",
    "+", "-", "*", "/", "%", "^", "[", "]",
];

pub(crate) struct Spanned {
    pub token: Token,
    pub offset: usize,
}

/// All tokens, the last of them [`Token::End`].
pub(crate) fn tokens(text: &str) -> Result<Vec<Spanned>, ParseError> {
    let mut lexer = Lexer { text, at: 0 };
    let mut out = Vec::new();
    loop {
        lexer.skip_space();
        let offset = lexer.at;
        let token = lexer.next()?;
        let end = token == Token::End;
        out.push(Spanned { token, offset });
        if end {
            return Ok(out);
        }
    }
}

struct Lexer<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Lexer<'a> {
    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    fn error(&self, message: impl Into<String>) -> ParseError {
        ParseError::at(self.text, self.at, message)
    }

    fn skip_space(&mut self) {
        loop {
            let rest = self.rest();
            let trimmed = rest.trim_start();
            self.at += rest.len() - trimmed.len();
            if !trimmed.starts_with('#') {
                return;
            }
            self.at += trimmed.find('\n').unwrap_or(trimmed.len());
        }
    }

    fn next(&mut self) -> Result<Token, ParseError> {
        let rest = self.rest();
        let Some(first) = rest.chars().next() else {
            return Ok(Token::End);
        };
        if first == '"' || first == '`' {
            return self.string(first);
        }
        if first.is_ascii_digit() || (first == '.' && rest[1..].starts_with(|c: char| c.is_ascii_digit())) {
            return self.number();
        }
        if first.is_ascii_alphabetic() || first == '_' {
            let end = rest
                .find(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == ':'))
                .unwrap_or(rest.len());
            self.at += end;
            return Ok(Token::Ident(rest[..end].to_owned()));
        }
        if let Some(flag) =
            rest.strip_prefix("--").filter(|f| f.starts_with(|c: char| c.is_ascii_alphabetic()))
        {
            let end = flag.find(|c: char| !(c.is_ascii_alphabetic() || c == '-')).unwrap_or(flag.len());
            self.at += 2 + end;
            return Ok(Token::Flag(flag[..end].to_owned()));
        }
        if first == '[' {
            return self.range();
        }
        match PUNCT.iter().find(|punct| rest.starts_with(**punct)) {
            Some(punct) => {
                self.at += punct.len();
                Ok(Token::Punct(punct))
            }
            None => Err(self.error(format!("syntax error: unexpected character {first:?}"))),
        }
    }

    fn range(&mut self) -> Result<Token, ParseError> {
        let rest = self.rest();
        let end = rest.find(']').ok_or_else(|| self.error("missing closing ']' in duration"))?;
        let text = rest[1..end].trim();
        let range = parse_duration_ns(text).filter(|ns| *ns > 0);
        let range = range.ok_or_else(|| self.error(duration_fault(text)))?;
        self.at += end + 1;
        Ok(Token::Range(range))
    }

    fn number(&mut self) -> Result<Token, ParseError> {
        let rest = self.rest();
        let bytes = rest.as_bytes();
        let mut end = 0;
        while let Some(c) = rest[end..].chars().next() {
            let exponent_sign = (c == '-' || c == '+')
                && end > 0
                && match bytes[end - 1] {
                    b'e' | b'E' => rest[..end - 1].bytes().all(|b| b.is_ascii_digit() || b == b'.'),
                    b'p' | b'P' => rest.starts_with("0x") || rest.starts_with("0X"),
                    _ => false,
                }
                && rest[end + 1..].starts_with(|c: char| c.is_ascii_digit());
            if !(c.is_ascii_alphanumeric() || matches!(c, '.' | 'µ' | 'μ') || exponent_sign) {
                break;
            }
            end += c.len_utf8();
        }
        let text = &rest[..end];
        let token = parse_float(text)
            .map(Token::Number)
            .or_else(|| parse_duration_ns(text).map(Token::Duration))
            .or_else(|| parse_bytes(text).filter(|_| is_size(text)).map(Token::Bytes))
            .ok_or_else(|| self.error(number_fault(text)))?;
        self.at += end;
        Ok(token)
    }

    fn string(&mut self, quote: char) -> Result<Token, ParseError> {
        let rest = self.rest();
        let unterminated = || self.error("literal not terminated");
        if quote == '`' {
            let end = rest[1..].find('`').ok_or_else(unterminated)?;
            self.at += end + 2;
            return Ok(Token::Text(rest[1..1 + end].to_owned()));
        }
        let mut value = String::new();
        let mut chars = rest[1..].char_indices();
        while let Some((at, c)) = chars.next() {
            match c {
                '"' => {
                    self.at += at + 2;
                    return Ok(Token::Text(value));
                }
                '\n' => return Err(unterminated()),
                '\\' => {
                    let bad = || self.error("invalid char escape in a string; use \\\\ or a `raw string`");
                    let (_, escape) = chars.next().ok_or_else(unterminated)?;
                    value.push(unescape(escape, &mut chars).ok_or_else(bad)?);
                }
                c => value.push(c),
            }
        }
        Err(unterminated())
    }
}

/// Sizes in queries have their units as they are written in print: `kB`, `MB`, `GiB`.
fn is_size(text: &str) -> bool {
    let unit = text.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.');
    unit.chars().all(|c| "BikKMGTPE".contains(c))
}

/// In the words of Go.
fn duration_fault(text: &str) -> String {
    let number = text.find(|c: char| !(c.is_ascii_digit() || c == '.')).unwrap_or(text.len());
    let unit = &text[number..];
    let unit = &unit[..unit.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(unit.len())];
    match (number, unit) {
        _ if parse_duration_ns(text).is_some() => {
            format!("invalid duration {text:?}: it must be longer than 0")
        }
        (0, _) => format!("invalid duration {text:?}"),
        (_, "") => format!("missing unit in duration {text:?}"),
        (_, unit) if parse_duration_ns(&format!("1{unit}")).is_none() => {
            format!("unknown unit {unit:?} in duration {text:?}")
        }
        _ => format!("invalid duration {text:?}"),
    }
}

fn number_fault(text: &str) -> String {
    let other_base = text.starts_with('0') && text[1..].starts_with(['x', 'X', 'o', 'O', 'b', 'B']);
    match other_base {
        true => {
            format!(
                "unable to parse literal as a float: strconv.ParseFloat: parsing {text:?}: invalid syntax"
            )
        }
        false => {
            format!("syntax error: {text:?} is neither a number nor a duration nor a size (as 10MB, 4KiB)")
        }
    }
}

/// The character of a Go escape whose first character after the backslash is `escape`.
pub(crate) fn unescape(escape: char, chars: &mut std::str::CharIndices<'_>) -> Option<char> {
    let mut digits = |count: usize, radix: u32, start: u32| {
        let mut code = start;
        for _ in 0..count {
            code = code.checked_mul(radix)? + chars.next()?.1.to_digit(radix)?;
        }
        char::from_u32(code)
    };
    match escape {
        'a' => Some('\u{7}'),
        'b' => Some('\u{8}'),
        'f' => Some('\u{c}'),
        'n' => Some('\n'),
        'r' => Some('\r'),
        't' => Some('\t'),
        'v' => Some('\u{b}'),
        '\\' | '"' | '\'' | '`' => Some(escape),
        'x' => digits(2, 16, 0),
        'u' => digits(4, 16, 0),
        'U' => digits(8, 16, 0),
        '0'..='7' => digits(2, 8, escape.to_digit(8)?),
        _ => None,
    }
}
