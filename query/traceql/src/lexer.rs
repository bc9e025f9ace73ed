//! Text to tokens with positions. An attribute is one token from its scope to its end, as its name may hold what
//! elsewhere is an operator.

use crate::ast::Scope;

/// Where and why a query was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct ParseError {
    pub line: usize,
    /// Counted in characters from 1.
    pub column: usize,
    pub message: String,
    /// Whether it is written well and means nothing: then the message quotes what, as Tempo's do, and says no place.
    pub of_meaning: bool,
}

impl std::fmt::Display for ParseError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if !self.of_meaning {
            write!(f, "parse error at line {}, col {}: ", self.line, self.column)?;
        }
        f.write_str(&self.message)
    }
}

impl ParseError {
    pub(crate) fn at(text: &str, offset: usize, message: impl Into<String>) -> ParseError {
        let before = &text[..offset.min(text.len())];
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        ParseError {
            line: before.bytes().filter(|b| *b == b'\n').count() + 1,
            column: before[line_start..].chars().count() + 1,
            message: message.into(),
            of_meaning: false,
        }
    }
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Token {
    /// A keyword, an intrinsic or a function; may hold one `:`.
    Word(String),
    Attribute(Scope, String),
    Text(String),
    Int(i64),
    Float(f64),
    Duration(i64),
    Punct(&'static str),
    End,
}

impl Token {
    /// As Tempo's parser names it.
    pub(crate) fn describe(&self) -> String {
        match self {
            Token::Word(word) => word.clone(),
            Token::Attribute(scope, _) => format!("{}.", scope.as_str()),
            Token::Text(_) => "STRING".to_owned(),
            Token::Int(_) => "INTEGER".to_owned(),
            Token::Float(_) => "FLOAT".to_owned(),
            Token::Duration(_) => "DURATION".to_owned(),
            Token::Punct(punct) => (*punct).to_owned(),
            Token::End => "$end".to_owned(),
        }
    }
}

pub(crate) struct Spanned {
    pub token: Token,
    pub offset: usize,
}

/// Longest first.
const PUNCT: [&str; 38] = [
    "!>>", "!<<", "&>>", "&<<", "&&", "||", ">>", "<<", ">=", "<=", "!=", "=~", "!~", "!>", "!<", "&>", "&<",
    "&~", "{", "}", "(", ")", ",", "|", "=", ">", "<", "~", "!", "+", "-", "*", "/", "%", "^", ".", "&", ":",
];

const SCOPES: [(&str, Scope); 8] = [
    ("parent.span.", Scope::ParentSpan),
    ("parent.resource.", Scope::ParentResource),
    ("parent.", Scope::Parent),
    ("span.", Scope::Span),
    ("resource.", Scope::Resource),
    ("event.", Scope::Event),
    ("link.", Scope::Link),
    ("instrumentation.", Scope::Instrumentation),
];

/// All tokens, the last of them [`Token::End`].
pub(crate) fn tokens(text: &str) -> Result<Vec<Spanned>, ParseError> {
    let mut out = Vec::new();
    let mut at = 0;
    loop {
        at = after_blank(text, at)?;
        let (token, length) = next(&text[at..]).map_err(|message| ParseError::at(text, at, message))?;
        let end = token == Token::End;
        out.push(Spanned { token, offset: at });
        if end {
            return Ok(out);
        }
        at += length;
    }
}

/// Where the next token begins: behind white space and comments, which are those of Go.
fn after_blank(text: &str, mut at: usize) -> Result<usize, ParseError> {
    loop {
        at += text[at..].len() - text[at..].trim_start().len();
        let rest = &text[at..];
        if rest.starts_with("//") {
            at += rest.find('\n').unwrap_or(rest.len());
        } else if let Some(comment) = rest.strip_prefix("/*") {
            let end = comment.find("*/");
            at += end.ok_or_else(|| ParseError::at(text, at, "comment not terminated"))? + 4;
        } else {
            return Ok(at);
        }
    }
}

fn next(rest: &str) -> Result<(Token, usize), String> {
    let Some(first) = rest.chars().next() else { return Ok((Token::End, 0)) };
    let second = rest[first.len_utf8()..].chars().next();
    if first == '"' || first == '`' {
        return string(rest).map(|(text, length)| (Token::Text(text), length));
    }
    if first.is_ascii_digit() || first == '.' && second.is_some_and(|c| c.is_ascii_digit()) {
        return number(rest);
    }
    if first == '.' {
        return attribute(Scope::Any, rest, 1);
    }
    if first.is_alphabetic() || first == '_' {
        if let Some((prefix, scope)) = SCOPES.iter().find(|(prefix, _)| rest.starts_with(prefix)) {
            return attribute(*scope, rest, prefix.len());
        }
        let end = rest.find(|c: char| !(c.is_alphanumeric() || c == '_' || c == ':')).unwrap_or(rest.len());
        return Ok((Token::Word(rest[..end].to_owned()), end));
    }
    match PUNCT.iter().find(|punct| rest.starts_with(**punct)) {
        Some(punct) => Ok((Token::Punct(punct), punct.len())),
        None => Err(format!("syntax error: unexpected character {first:?}")),
    }
}

/// The name begins at `start`; quoted parts may hold anything.
fn attribute(scope: Scope, rest: &str, start: usize) -> Result<(Token, usize), String> {
    let mut name = String::new();
    let mut at = start;
    while let Some(c) = rest[at..].chars().next() {
        if c == '"' {
            let (text, length) = string(&rest[at..])?;
            name.push_str(&text);
            at += length;
        } else if c.is_whitespace() || "{}()=~!<>&|^,".contains(c) {
            break;
        } else {
            name.push(c);
            at += c.len_utf8();
        }
    }
    if name.is_empty() {
        return Err("syntax error: an attribute needs a name after the dot".to_owned());
    }
    Ok((Token::Attribute(scope, name), at))
}

fn number(rest: &str) -> Result<(Token, usize), String> {
    let mut end = rest.find(|c: char| !(c.is_ascii_digit() || c == '.')).unwrap_or(rest.len());
    let digits = &rest[..end];
    let letters = rest[end..].find(|c: char| !(c.is_alphanumeric() || c == '.')).unwrap_or(rest.len() - end);
    end += letters;
    if matches!(&rest[digits.len()..end], "e" | "E") {
        let signed = rest[end..].strip_prefix(['+', '-']).unwrap_or_default();
        let power = signed.bytes().take_while(u8::is_ascii_digit).count();
        if power == 0 {
            return Err("exponent has no digits".to_owned());
        }
        end += 1 + power;
    }
    let text = &rest[..end];
    if letters > 0 {
        let exponent = text.parse::<f64>().ok().filter(|_| text.contains(['e', 'E']));
        if exponent.is_some_and(f64::is_infinite) {
            return Err(format!("strconv.ParseFloat: parsing {text:?}: value out of range"));
        }
        return exponent
            .map(Token::Float)
            .or_else(|| duration_ns(text).map(Token::Duration))
            .map(|token| (token, end))
            .ok_or_else(|| format!("syntax error: {text:?} is neither a number nor a duration"));
    }
    let token = match digits.contains('.') {
        true => digits.parse().map(Token::Float).ok(),
        false => digits.parse().map(Token::Int).ok(),
    };
    token
        .map(|token| (token, end))
        .ok_or_else(|| format!("syntax error: {text:?} is no number that fits 64 bits"))
}

/// Go's durations, and Prometheus' days, weeks and years.
fn duration_ns(text: &str) -> Option<i64> {
    const UNITS: [(&str, f64); 11] = [
        ("ns", 1.0),
        ("us", 1e3),
        ("µs", 1e3),
        ("μs", 1e3),
        ("ms", 1e6),
        ("s", 1e9),
        ("m", 60e9),
        ("h", 3_600e9),
        ("d", 86_400e9),
        ("w", 604_800e9),
        ("y", 31_536_000e9),
    ];
    let mut rest = text;
    let mut total = 0.0f64;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !(c.is_ascii_digit() || c == '.'))?;
        let number: f64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let end = rest.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(rest.len());
        total += number * UNITS.iter().find(|(unit, _)| *unit == &rest[..end])?.1;
        rest = &rest[end..];
    }
    (total <= i64::MAX as f64).then_some(total as i64)
}

/// A quoted text and the bytes that it took.
fn string(rest: &str) -> Result<(String, usize), String> {
    let unterminated = || "literal not terminated".to_owned();
    if let Some(inner) = rest.strip_prefix('`') {
        let end = inner.find('`').ok_or_else(unterminated)?;
        return Ok((inner[..end].to_owned(), end + 2));
    }
    let mut value = Vec::new();
    let mut at = 1;
    while let Some(c) = rest[at..].chars().next() {
        at += c.len_utf8();
        match c {
            '"' => return Ok((text(value), at)),
            '\\' => at += escaped(&rest[at..], &mut value).ok_or_else(unterminated)?,
            c => push(&mut value, c),
        }
    }
    Err(unterminated())
}

/// Escapes may name bytes, of which several are a character. Those that are no text stand for what they are in spans.
fn text(value: Vec<u8>) -> String {
    String::from_utf8(value).unwrap_or_else(|bytes| String::from_utf8_lossy(bytes.as_bytes()).into_owned())
}

fn push(value: &mut Vec<u8>, c: char) {
    value.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
}

/// What stands behind a backslash, as Go reads it, and the bytes that it took.
fn escaped(rest: &str, value: &mut Vec<u8>) -> Option<usize> {
    let kind = rest.chars().next()?;
    let plain = match kind {
        'a' => Some('\u{7}'),
        'f' => Some('\u{c}'),
        'n' => Some('\n'),
        'r' => Some('\r'),
        't' => Some('\t'),
        'v' => Some('\u{b}'),
        '\\' | '"' | '\'' | '`' => Some(kind),
        _ => None,
    };
    if let Some(plain) = plain {
        push(value, plain);
        return Some(kind.len_utf8());
    }
    let (from, count, radix) = match kind {
        'u' => (1, 4, 16),
        'U' => (1, 8, 16),
        'x' => (1, 2, 16),
        '0'..='7' => (0, 3, 8),
        _ => (0, 0, 16),
    };
    let digits = rest.get(from..from + count);
    let digits = digits.filter(|digits| digits.chars().all(|digit| digit.is_digit(radix)));
    let code = digits.and_then(|digits| u32::from_str_radix(digits, radix).ok());
    let is_byte = matches!(kind, 'x' | '0'..='7');
    match (code.and_then(char::from_u32), code.and_then(|code| u8::try_from(code).ok())) {
        (_, Some(byte)) if is_byte => value.push(byte),
        (Some(c), _) if !is_byte => push(value, c),
        // Regexes are written with single backslashes as often as with two.
        _ => {
            push(value, '\\');
            push(value, kind);
            return Some(kind.len_utf8());
        }
    }
    Some(from + count)
}
