//! Text to tokens. What a word means (keyword, metric, function, label) is for the parser to say.

#[derive(Clone, Debug, PartialEq)]
pub enum Token {
    Word(String),
    Text(String),
    Number(f64),
    /// Milliseconds.
    Duration(i64),
    /// Operators and punctuation.
    Mark(&'static str),
    End,
}

#[derive(Clone, Debug)]
pub struct Spot {
    pub token: Token,
    /// Byte at which it begins.
    pub at: usize,
}

/// Longest first.
const MARKS: [&str; 26] = [
    "==", "=~", "!=", "!~", "<=", ">=", "(", ")", "{", "}", "[", "]", ",", "=", "<", ">", "+", "-", "*", "/",
    "%", "^", "@", ":", ".", ";",
];

/// All tokens, the last one [`Token::End`]; an error is a place and what is wrong there.
pub fn tokens(text: &str) -> Result<Vec<Spot>, (usize, String)> {
    let mut out = vec![];
    let mut at = 0;
    // Between brackets `5m` is a duration and `:` is no part of a word.
    let mut brackets = 0usize;
    while at < text.len() {
        let rest = &text[at..];
        let first = rest.chars().next().unwrap_or(' ');
        if first.is_whitespace() {
            at += first.len_utf8();
        } else if first == '#' {
            at += rest.find('\n').unwrap_or(rest.len());
        } else {
            let (token, length) = one(rest, brackets > 0).map_err(|what| (at, what))?;
            match token {
                Token::Mark("[") => brackets += 1,
                Token::Mark("]") => brackets = brackets.saturating_sub(1),
                _ => {}
            }
            out.push(Spot { token, at });
            at += length;
        }
    }
    out.push(Spot { token: Token::End, at: text.len() });
    Ok(out)
}

fn one(rest: &str, in_brackets: bool) -> Result<(Token, usize), String> {
    let first = rest.chars().next().unwrap_or(' ');
    match first {
        '"' | '\'' | '`' => text(rest, first),
        '0'..='9' => number(rest),
        '.' if rest[1..].starts_with(|c: char| c.is_ascii_digit()) => number(rest),
        'a'..='z' | 'A'..='Z' | '_' => Ok(word(rest, in_brackets)),
        ':' if !in_brackets
            && rest[1..].starts_with(|c: char| c.is_ascii_alphabetic() || c == '_' || c == ':') =>
        {
            Ok(word(rest, false))
        }
        _ => match MARKS.iter().find(|mark| rest.starts_with(**mark)) {
            Some(mark) => Ok((Token::Mark(mark), mark.len())),
            None => Err(format!("unexpected character: {first:?}")),
        },
    }
}

fn word(rest: &str, in_brackets: bool) -> (Token, usize) {
    let part = |c: char| c.is_ascii_alphanumeric() || c == '_' || (c == ':' && !in_brackets);
    let length = rest.find(|c| !part(c)).unwrap_or(rest.len());
    (Token::Word(rest[..length].to_owned()), length)
}

fn number(rest: &str) -> Result<(Token, usize), String> {
    let length =
        rest.find(|c: char| !(c.is_ascii_alphanumeric() || c == '.' || c == '_')).unwrap_or(rest.len());
    let mut length = length;
    // A sign belongs to the exponent before it.
    let is_hex = rest.len() > 1 && rest[1..].starts_with(['x', 'X']);
    if !is_hex && rest[..length].ends_with(['e', 'E']) && rest[length..].starts_with(['+', '-']) {
        let digits = rest[length + 1..].bytes().take_while(u8::is_ascii_digit).count();
        length += 1 + digits;
    }
    let text = &rest[..length];
    if let Some(ms) = crate::parse_duration(text) {
        return Ok((Token::Duration(ms), length));
    }
    let bad = || format!("bad number or duration syntax: {text:?}");
    let digits = text.replace('_', "");
    let value = match digits.strip_prefix("0x").or_else(|| digits.strip_prefix("0X")) {
        Some(hex) => u64::from_str_radix(hex, 16).map(|number| number as f64).map_err(|_| bad())?,
        None if digits.chars().any(|c| c.is_ascii_alphabetic() && !matches!(c, 'e' | 'E')) => {
            return Err(bad());
        }
        None => digits.parse().ok().filter(|number: &f64| number.is_finite()).ok_or_else(bad)?,
    };
    Ok((Token::Number(value), length))
}

/// A string in Go's notation.
fn text(rest: &str, quote: char) -> Result<(Token, usize), String> {
    let mut value = String::new();
    let mut chars = rest.char_indices().skip(1);
    while let Some((at, c)) = chars.next() {
        match c {
            c if c == quote => return Ok((Token::Text(value), at + 1)),
            '\n' if quote != '`' => break,
            '\\' if quote != '`' => {
                value.push(escaped(&mut chars).ok_or("unknown escape sequence in string")?)
            }
            other => value.push(other),
        }
    }
    Err("unterminated quoted string".into())
}

fn escaped(chars: &mut impl Iterator<Item = (usize, char)>) -> Option<char> {
    let (_, letter) = chars.next()?;
    let mut number = |digits: usize, first: u32, radix: u32| {
        (0..digits)
            .try_fold(first, |code, _| Some(code * radix + chars.next()?.1.to_digit(radix)?))
            .and_then(char::from_u32)
    };
    match letter {
        'n' => Some('\n'),
        't' => Some('\t'),
        'r' => Some('\r'),
        'a' => Some('\x07'),
        'b' => Some('\x08'),
        'f' => Some('\x0c'),
        'v' => Some('\x0b'),
        'x' => number(2, 0, 16),
        'u' => number(4, 0, 16),
        'U' => number(8, 0, 16),
        '0'..='7' => number(2, letter.to_digit(8)?, 8),
        '\\' | '"' | '\'' => Some(letter),
        _ => None,
    }
}
