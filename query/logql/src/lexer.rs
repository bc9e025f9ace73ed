//! Text to tokens with positions. Comments run from `#` or `//` to the end of the line, and from `/*` to `*/`.

mod number;

use crate::units::{parse_bytes, parse_duration_ns};
use number::number_ahead;

/// Why a query was refused, in Loki's words, and where, which Loki tells of what does not read and not of what reads and
/// does not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParseError {
    /// From 1; 0 where no place is told.
    pub line: usize,
    /// Counted in characters from 1; 0 where no place is told.
    pub column: usize,
    pub message: String,
    /// The query reads and is not answered: nothing is told but the message.
    pub is_unanswered: bool,
}

impl std::error::Error for ParseError {}

impl std::fmt::Display for ParseError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (self.line, self.column) {
            _ if self.is_unanswered => f.write_str(&self.message),
            (0, 0) => write!(f, "parse error : {}", self.message),
            (line, column) => write!(f, "parse error at line {line}, col {column}: {}", self.message),
        }
    }
}

impl ParseError {
    /// Of no place.
    pub(crate) fn of(message: impl Into<String>) -> ParseError {
        ParseError { line: 0, column: 0, message: message.into(), is_unanswered: false }
    }

    /// Of a query that reads.
    pub(crate) fn unanswered(message: impl Into<String>) -> ParseError {
        ParseError { is_unanswered: true, ..ParseError::of(message) }
    }

    /// Of a stage, as the printer writes it.
    pub(crate) fn of_stage(stage: impl std::fmt::Display, why: impl std::fmt::Display) -> ParseError {
        ParseError::of(format!("stage '{stage}' : {why}"))
    }

    pub(crate) fn at(text: &str, offset: usize, message: impl Into<String>) -> ParseError {
        let before = &text[..offset.min(text.len())];
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        ParseError {
            line: before.bytes().filter(|b| *b == b'\n').count() + 1,
            column: before[line_start..].chars().count() + 1,
            ..ParseError::of(message)
        }
    }
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Token {
    Ident(String),
    Text(String),
    /// As it is written: whether it is one is asked where it is used.
    Number(String),
    /// Nanoseconds.
    Duration(i64),
    Bytes(u64),
    /// `[5m]`, in nanoseconds.
    Range(i64),
    /// `--strict`
    Flag(String),
    Punct(&'static str),
    /// What is no token, and why. It is told when the parser comes to it, which may find something wrong before it.
    Fault(ParseError),
    End,
}

impl Token {
    /// How an error names it.
    pub(crate) fn describe(&self) -> String {
        match self {
            Token::Ident(word) if is_keyword(word) || is_of_variants(word) => word.to_lowercase(),
            Token::Ident(_) => "IDENTIFIER".to_owned(),
            Token::Text(_) => "STRING".to_owned(),
            Token::Number(_) => "NUMBER".to_owned(),
            Token::Duration(_) => "DURATION".to_owned(),
            Token::Bytes(_) => "BYTES".to_owned(),
            Token::Range(_) => "RANGE".to_owned(),
            Token::Flag(_) => "FUNCTION_FLAG".to_owned(),
            Token::Punct(punct) => (*punct).to_owned(),
            Token::Fault(_) | Token::End => "$end".to_owned(),
        }
    }
}

/// Words that are no names wherever they stand, in any case of letters.
const KEYWORDS: [&str; 22] = [
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
    "without",
];

pub(crate) fn is_keyword(word: &str) -> bool {
    KEYWORDS.iter().any(|known| known.eq_ignore_ascii_case(word))
}

/// Loki 3.7 keeps these words for itself, and later ones do not. Here they may be names.
fn is_of_variants(word: &str) -> bool {
    word.eq_ignore_ascii_case("variants") || word.eq_ignore_ascii_case("of")
}

/// Longest first, so that `|=` is not read as `|` and `=`.
const PUNCT: [&str; 28] = [
    "|=", "|~", "|>", "!=", "!~", "!>", "=~", "==", ">=", "<=", "{", "}", "(", ")", ",", "|", "=", ">", "<",
    "+", "-", "*", "/", "%", "^", "[", "]", ".",
];

pub(crate) struct Spanned {
    pub token: Token,
    pub offset: usize,
}

impl Spanned {
    /// Loki's reader forgets the line of what it read in two steps, and tells 0 then.
    pub fn line_is_known(&self) -> bool {
        match &self.token {
            Token::Punct(punct) => punct.len() < 2,
            Token::Duration(_) | Token::Bytes(_) | Token::Range(_) | Token::Flag(_) => false,
            _ => true,
        }
    }
}

/// All tokens up to the first that is none: the last of them is [`Token::End`] or [`Token::Fault`].
pub(crate) fn tokens(text: &str) -> Vec<Spanned> {
    let mut lexer = Lexer { text, at: 0 };
    let mut out = Vec::new();
    loop {
        lexer.skip_space();
        let offset = lexer.at;
        let token = lexer.next().unwrap_or_else(Token::Fault);
        let is_last = matches!(token, Token::Fault(_) | Token::End);
        out.push(Spanned { token, offset });
        if is_last {
            return out;
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
            self.at += if trimmed.starts_with('#') || trimmed.starts_with("//") {
                trimmed.find('\n').unwrap_or(trimmed.len())
            } else if let Some(end) = trimmed.strip_prefix("/*").and_then(|comment| comment.find("*/")) {
                end + 4
            } else {
                return;
            };
        }
    }

    fn next(&mut self) -> Result<Token, ParseError> {
        let rest = self.rest();
        let Some(first) = rest.chars().next() else {
            return Ok(Token::End);
        };
        if rest.starts_with("/*") {
            return Err(self.error("comment not terminated"));
        }
        if first == '"' || first == '`' {
            return self.string(first);
        }
        if first == '\'' {
            return self.character();
        }
        if first.is_ascii_digit() || (first == '.' && rest[1..].starts_with(|c: char| c.is_ascii_digit())) {
            return self.number();
        }
        if first.is_alphabetic() || first == '_' {
            let end = rest.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(rest.len());
            self.at += end;
            return Ok(Token::Ident(rest[..end].to_owned()));
        }
        if let Some(flag) = rest.strip_prefix("--") {
            let end = flag.find(|c: char| !(c.is_alphabetic() || c == '-')).unwrap_or(flag.len());
            if matches!(&flag[..end], "strict" | "keep-empty") {
                self.at += 2 + end;
                return Ok(Token::Flag(flag[..end].to_owned()));
            }
        }
        if first == '-'
            && let Some((ns, end)) = duration_ahead(&rest[1..])
        {
            self.at += 1 + end;
            return Ok(Token::Duration(-ns));
        }
        if first == '[' {
            return self.range();
        }
        match PUNCT.iter().find(|punct| rest.starts_with(**punct)) {
            Some(punct) => {
                self.at += punct.len();
                Ok(Token::Punct(punct))
            }
            // Whatever else stands there is a name to Loki's reader.
            None => {
                self.at += first.len_utf8();
                Ok(Token::Ident(first.to_string()))
            }
        }
    }

    fn range(&mut self) -> Result<Token, ParseError> {
        let rest = self.rest();
        let error = |why: String| ParseError { line: 0, ..self.error(why) };
        let end = rest.find(']').ok_or_else(|| error("missing closing ']' in duration".into()))?;
        let range = range_ns(&rest[1..end]).map_err(error)?;
        self.at += end + 1;
        Ok(Token::Range(range))
    }

    /// A number, or one with its unit: a duration, or a size as it is written in print: `kB`, `MB`, `GiB`.
    fn number(&mut self) -> Result<Token, ParseError> {
        let rest = self.rest();
        let (end, fault) = number_ahead(rest);
        if let Some(why) = fault {
            return Err(self.error(why));
        }
        if let Some((ns, end)) = duration_ahead(rest) {
            self.at += end;
            return Ok(Token::Duration(ns));
        }
        let is_size = |c: char| c.is_ascii_digit() || c == '.' || "BikKMGTP".contains(c);
        let of_unit = rest[end..].find(|c: char| !is_size(c)).unwrap_or(rest.len() - end);
        if let (1.., Some(bytes)) = (of_unit, parse_bytes(&rest[..end + of_unit])) {
            self.at += end + of_unit;
            return Ok(Token::Bytes(bytes));
        }
        self.at += end;
        Ok(Token::Number(rest[..end].to_owned()))
    }

    /// A character between single quotes, as Go writes it, is a name to Loki's reader.
    fn character(&mut self) -> Result<Token, ParseError> {
        let rest = self.rest();
        let unterminated = || self.error(UNTERMINATED);
        let mut chars = rest[1..].char_indices();
        let mut count = 0;
        loop {
            match chars.next().ok_or_else(unterminated)? {
                (_, '\n') => return Err(unterminated()),
                (at, '\'') if count == 1 => {
                    self.at += at + 2;
                    return Ok(Token::Ident(rest[..at + 2].to_owned()));
                }
                (_, '\'') => return Err(self.error("invalid char literal")),
                (_, '\\') => {
                    unescape(&mut chars, '\'').map_err(|why| self.error(why.unwrap_or(UNTERMINATED)))?;
                }
                _ => {}
            }
            count += 1;
        }
    }

    fn string(&mut self, quote: char) -> Result<Token, ParseError> {
        let rest = self.rest();
        let unterminated = || self.error(UNTERMINATED);
        if quote == '`' {
            let end = rest[1..].find('`').ok_or_else(unterminated)?;
            self.at += end + 2;
            return Ok(Token::Text(rest[1..1 + end].to_owned()));
        }
        let mut value = Text::default();
        let mut chars = rest[1..].char_indices();
        while let Some((at, c)) = chars.next() {
            match c {
                '"' => {
                    self.at += at + 2;
                    return Ok(Token::Text(value.read()));
                }
                '\n' => return Err(unterminated()),
                '\\' => {
                    let escaped = unescape(&mut chars, quote);
                    value.push(escaped.map_err(|why| self.error(why.unwrap_or(UNTERMINATED)))?);
                }
                c => value.push(Escaped::Char(c)),
            }
        }
        Err(unterminated())
    }
}

/// The duration that the text begins with, and its length.
fn duration_ahead(text: &str) -> Option<(i64, usize)> {
    let is_part = |c: char| c.is_ascii_digit() || c == '.' || "nuµmshdwy".contains(c);
    let end = text.find(|c: char| !is_part(c)).unwrap_or(text.len());
    let unit = text[..end].find(|c: char| !(c.is_ascii_digit() || c == '.'))?;
    (unit > 0).then(|| Some((parse_duration_ns(&text[..end])?, end)))?
}

/// Units from the longest to the shortest, each in whole numbers and once, as Prometheus has them.
fn range_ns(text: &str) -> Result<i64, String> {
    const UNITS: [(&str, i64); 7] = [
        ("y", 31_536_000_000_000_000),
        ("w", 604_800_000_000_000),
        ("d", 86_400_000_000_000),
        ("h", 3_600_000_000_000),
        ("m", 60_000_000_000),
        ("s", 1_000_000_000),
        ("ms", 1_000_000),
    ];
    let invalid = || format!("not a valid duration string: {text:?}");
    match text {
        "" => return Err("empty duration string".to_owned()),
        "0" => return Ok(0),
        _ => {}
    }
    let (mut total, mut rest, mut longest) = (0i64, text, 0);
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        let number: i64 = rest[..digits].parse().map_err(|_| invalid())?;
        rest = &rest[digits..];
        let unit = &rest[..rest.find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len())];
        rest = &rest[unit.len()..];
        if unit.is_empty() {
            return Err(invalid());
        }
        let found = UNITS.iter().position(|(known, _)| *known == unit);
        let at = found.ok_or_else(|| format!("unknown unit {unit:?} in duration {text:?}"))?;
        if at < longest {
            return Err(invalid());
        }
        longest = at + 1;
        let more = number.checked_mul(UNITS[at].1).and_then(|ns| total.checked_add(ns));
        total = more.ok_or_else(|| "duration out of range".to_owned())?;
    }
    Ok(total)
}

const UNTERMINATED: &str = "literal not terminated";

/// What an escape of Go's stands for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Escaped {
    Char(char),
    /// `\xff` and `\377` name a byte. Several may be a character.
    Byte(u8),
}

/// A text that is being read.
#[derive(Default)]
pub(crate) struct Text(Vec<u8>);

impl Text {
    pub fn push(&mut self, escaped: Escaped) {
        match escaped {
            Escaped::Char(c) => self.0.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
            Escaped::Byte(byte) => self.0.push(byte),
        }
    }

    /// Bytes that are no text stand for what they are in lines, too, which are kept as text.
    pub fn read(self) -> String {
        String::from_utf8(self.0)
            .unwrap_or_else(|bytes| String::from_utf8_lossy(bytes.as_bytes()).into_owned())
    }
}

/// What stands behind a backslash between `quote`s. Half of a pair is no character, and stands for one that is not known.
///
/// # Errors
/// Nothing where the text ends, what Go's scanner says of an escape that is none, and what its reader of strings says of one that is
/// too large.
pub(crate) fn unescape(
    chars: &mut std::str::CharIndices<'_>,
    quote: char,
) -> Result<Escaped, Option<&'static str>> {
    let (_, escape) = chars.next().ok_or(None)?;
    let mut digits = |count: usize, radix: u32, start: u32| -> Result<u32, &'static str> {
        let mut code = start;
        for _ in 0..count {
            let digit = chars.next().and_then(|(_, c)| c.to_digit(radix)).ok_or("invalid char escape")?;
            code = code.saturating_mul(radix).saturating_add(digit);
        }
        Ok(code)
    };
    let byte = |code: u32| u8::try_from(code).map(Escaped::Byte).map_err(|_| "invalid syntax");
    let character = |code: u32| match code {
        0xd800..0xe000 => Ok(Escaped::Char(char::REPLACEMENT_CHARACTER)),
        code => char::from_u32(code).map(Escaped::Char).ok_or("invalid syntax"),
    };
    Ok(match escape {
        'a' => Escaped::Char('\u{7}'),
        'b' => Escaped::Char('\u{8}'),
        'f' => Escaped::Char('\u{c}'),
        'n' => Escaped::Char('\n'),
        'r' => Escaped::Char('\r'),
        't' => Escaped::Char('\t'),
        'v' => Escaped::Char('\u{b}'),
        '\\' => Escaped::Char('\\'),
        c if c == quote => Escaped::Char(c),
        'x' => byte(digits(2, 16, 0)?)?,
        'u' => character(digits(4, 16, 0)?)?,
        'U' => character(digits(8, 16, 0)?)?,
        '0'..='7' => byte(digits(2, 8, escape.to_digit(8).unwrap_or_default())?)?,
        _ => return Err(Some("invalid char escape")),
    })
}
