//! Text to tokens. What a word means (keyword, metric, function, label) is for the parser to say.

use crate::text::raw_byte;

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
    /// The text stops making sense here; always the last token.
    Wrong(String),
}

#[derive(Clone, Debug)]
pub struct Spot {
    pub token: Token,
    /// Bytes of the text.
    pub start: usize,
    pub end: usize,
}

/// Longest first.
const MARKS: [&str; 21] = [
    "==", "!=", "<=", ">=", "</", ">/", "(", ")", "{", "[", "]", ",", "=", "<", ">", "+", "-", "*", "/", "%",
    "^",
];
const IN_BRACES: [&str; 6] = ["=~", "!=", "!~", "=", ",", "}"];
const IN_BRACKETS: [&str; 11] = ["]", ":", "(", ")", "+", "-", "*", "/", "%", "^", ","];

#[derive(Clone, Copy, PartialEq, Eq)]
enum Within {
    Query,
    Braces,
    Brackets,
}

/// All tokens; the last one is [`Token::End`] or [`Token::Wrong`].
pub fn tokens(text: &str) -> Vec<Spot> {
    let mut lexer = Lexer { text, at: 0, within: Within::Query, parens: 0, out: vec![] };
    let last = match lexer.run() {
        Ok(()) => Token::End,
        Err((at, what)) => {
            lexer.at = at;
            Token::Wrong(what)
        }
    };
    lexer.out.push(Spot { token: last, start: lexer.at, end: lexer.at });
    lexer.out
}

struct Lexer<'t> {
    text: &'t str,
    at: usize,
    within: Within,
    parens: usize,
    out: Vec<Spot>,
}

type Lexed<T> = Result<T, (usize, String)>;

fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\n' | '\r')
}

impl<'t> Lexer<'t> {
    fn run(&mut self) -> Lexed<()> {
        loop {
            let rest = &self.text[self.at..];
            let Some(first) = rest.chars().next() else { return self.at_end() };
            if is_space(first) {
                self.at += 1;
            } else if first == '#' && self.within != Within::Brackets {
                self.at += rest.find(['\n', '\r']).unwrap_or(rest.len());
            } else {
                let (token, length) = match self.within {
                    Within::Query => self.in_query(rest, first)?,
                    Within::Braces => self.in_braces(rest, first)?,
                    Within::Brackets => self.in_brackets(rest, first)?,
                };
                self.out.push(Spot { token, start: self.at, end: self.at + length });
                self.at += length;
            }
        }
    }

    fn at_end(&self) -> Lexed<()> {
        let what = match self.within {
            Within::Query if self.parens > 0 => "unclosed left parenthesis",
            Within::Query => return Ok(()),
            Within::Braces => "unexpected end of input inside braces",
            Within::Brackets => "unexpected end of input in duration expression",
        };
        Err((self.at, what.into()))
    }

    fn wrong<T>(&self, what: String) -> Lexed<T> {
        Err((self.at, what))
    }

    /// Keeps count of what is open.
    fn mark(&mut self, mark: &'static str) -> Lexed<(Token, usize)> {
        match mark {
            "(" => self.parens += 1,
            ")" if self.parens == 0 => return self.wrong("unexpected right parenthesis ')'".into()),
            ")" => self.parens -= 1,
            "{" => self.within = Within::Braces,
            "[" => self.within = Within::Brackets,
            "}" => self.within = Within::Query,
            "]" if self.within == Within::Brackets => self.within = Within::Query,
            "]" => return self.wrong("unexpected right bracket ']'".into()),
            _ => {}
        }
        Ok((Token::Mark(mark), mark.len()))
    }

    fn in_query(&mut self, rest: &str, first: char) -> Lexed<(Token, usize)> {
        match first {
            '"' | '\'' | '`' => self.string(rest, first),
            '0'..='9' => self.number(rest),
            '.' if rest[1..].starts_with(|c: char| c.is_ascii_digit()) => self.number(rest),
            'a'..='z' | 'A'..='Z' | '_' | ':' => Ok(word(rest, true)),
            '@' => Ok((Token::Mark("@"), 1)),
            '=' if rest[1..].starts_with('~') => self.wrong("unexpected character after '=': '~'".into()),
            '!' if !rest[1..].starts_with('=') => {
                let next = rest[1..].chars().next().map_or("'\\ufffd'".into(), |c| format!("{c:?}"));
                self.wrong(format!("unexpected character after '!': {next}"))
            }
            _ => match MARKS.iter().find(|mark| rest.starts_with(**mark)) {
                Some(mark) => self.mark(mark),
                None => self.wrong(format!("unexpected character: {first:?}")),
            },
        }
    }

    fn in_braces(&mut self, rest: &str, first: char) -> Lexed<(Token, usize)> {
        match first {
            '"' | '\'' | '`' => self.string(rest, first),
            'a'..='z' | 'A'..='Z' | '_' => Ok(word(rest, false)),
            '{' => self.wrong("unexpected left brace '{'".into()),
            '!' if !rest[1..].starts_with(['=', '~']) => {
                let next = rest[1..].chars().next().map_or("'\\ufffd'".into(), |c| format!("{c:?}"));
                self.wrong(format!("unexpected character after '!' inside braces: {next}"))
            }
            _ => match IN_BRACES.iter().find(|mark| rest.starts_with(**mark)) {
                Some(mark) => self.mark(mark),
                None => self.wrong(format!("unexpected character inside braces: {first:?}")),
            },
        }
    }

    fn in_brackets(&mut self, rest: &str, first: char) -> Lexed<(Token, usize)> {
        match first {
            '0'..='9' => self.number(rest),
            '.' if rest[1..].starts_with(|c: char| c.is_ascii_digit()) => self.number(rest),
            'a'..='z' | 'A'..='Z' => {
                let (token, length) = word(rest, false);
                let known = ["step", "range", "min_of", "max_of"];
                match &token {
                    Token::Word(word) if known.iter().any(|known| known.eq_ignore_ascii_case(word)) => {
                        Ok((token, length))
                    }
                    // Behind a whole duration only the step of a subquery can follow.
                    _ if matches!(
                        self.out.last(),
                        Some(Spot { token: Token::Duration(_) | Token::Number(_), .. })
                    ) =>
                    {
                        self.wrong(format!("unexpected character: {first:?}, expected ':'"))
                    }
                    _ => self.wrong(format!("unexpected character in duration expression: {first:?}")),
                }
            }
            _ => match IN_BRACKETS.iter().find(|mark| rest.starts_with(**mark)) {
                Some(mark) => self.mark(mark),
                None => self.wrong(format!("unexpected character in duration expression: {first:?}")),
            },
        }
    }

    fn number(&self, rest: &str) -> Lexed<(Token, usize)> {
        let mut length =
            rest.find(|c: char| !(c.is_ascii_alphanumeric() || c == '.' || c == '_')).unwrap_or(rest.len());
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
        match plain_number(text) {
            Some(value) if value.is_finite() => Ok((Token::Number(value), length)),
            Some(_) => self.wrong(format!(
                "error parsing number: strconv.ParseFloat: parsing {text:?}: value out of range"
            )),
            None => self.wrong(
                crate::duration::mistake(text)
                    .unwrap_or_else(|| format!("bad number or duration syntax: {text:?}")),
            ),
        }
    }

    /// A string in Go's notation.
    fn string(&self, rest: &str, quote: char) -> Lexed<(Token, usize)> {
        let mut value = Value::default();
        let mut chars = rest.char_indices().skip(1);
        while let Some((at, c)) = chars.next() {
            match c {
                c if c == quote => return Ok((Token::Text(value.text()), at + 1)),
                '\n' if quote != '`' => break,
                '\\' if quote != '`' => {
                    escaped(&mut chars, quote, &mut value).or_else(|what| self.wrong(what))?
                }
                other => value.push(other),
            }
        }
        let what = if quote == '`' { "unterminated raw string" } else { "unterminated quoted string" };
        self.wrong(what.into())
    }
}

fn word(rest: &str, colons: bool) -> (Token, usize) {
    let part = |c: char| c.is_ascii_alphanumeric() || c == '_' || (c == ':' && colons);
    let length = rest.find(|c| !part(c)).unwrap_or(rest.len());
    (Token::Word(rest[..length].to_owned()), length)
}

/// `12`, `0x1f`, `0755` (octal), `1_000`, `1e3`.
fn plain_number(text: &str) -> Option<f64> {
    let bad_underscore = text.ends_with('_') || text.contains("__") || text.starts_with('_');
    if bad_underscore {
        return None;
    }
    let digits = text.replace('_', "");
    if let Some(hex) = digits.strip_prefix("0x").or_else(|| digits.strip_prefix("0X")) {
        return u64::from_str_radix(hex, 16).ok().map(|number| number as f64);
    }
    if digits.len() > 1
        && digits.starts_with('0')
        && digits.bytes().all(|digit| (b'0'..=b'7').contains(&digit))
    {
        return i64::from_str_radix(&digits, 8).ok().map(|number| number as f64);
    }
    if digits.chars().any(|c| c.is_ascii_alphabetic() && !matches!(c, 'e' | 'E')) {
        return None;
    }
    digits.parse().ok()
}

/// A string that is being read: escapes may name single bytes, which together may be characters.
#[derive(Default)]
struct Value(Vec<u8>);

impl Value {
    fn push(&mut self, c: char) {
        self.0.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
    }

    fn text(self) -> String {
        let mut out = String::with_capacity(self.0.len());
        for chunk in self.0.utf8_chunks() {
            out.push_str(chunk.valid());
            out.extend(chunk.invalid().iter().map(|byte| raw_byte(*byte)));
        }
        out
    }
}

fn escaped(
    chars: &mut impl Iterator<Item = (usize, char)>,
    quote: char,
    value: &mut Value,
) -> Result<(), String> {
    let unterminated = || "escape sequence not terminated".to_owned();
    let (_, letter) = chars.next().ok_or_else(unterminated)?;
    let mut number = |digits: usize, first: u32, radix: u32| -> Result<u32, String> {
        let mut code = first;
        for _ in 0..digits {
            let (_, digit) = chars.next().ok_or_else(unterminated)?;
            let worth = digit.to_digit(radix).ok_or_else(|| {
                format!("illegal character U+{:04X} '{digit}' in escape sequence", digit as u32)
            })?;
            code = code * radix + worth;
        }
        Ok(code)
    };
    let simple = match letter {
        'n' => '\n',
        't' => '\t',
        'r' => '\r',
        'a' => '\x07',
        'b' => '\x08',
        'f' => '\x0c',
        'v' => '\x0b',
        'x' => {
            value.0.push(number(2, 0, 16)? as u8);
            return Ok(());
        }
        '0'..='7' => {
            let code = number(2, letter.to_digit(8).unwrap_or(0), 8)?;
            let byte = u8::try_from(code).map_err(|_| "escape sequence is an invalid Unicode code point")?;
            value.0.push(byte);
            return Ok(());
        }
        'u' | 'U' => {
            let code = number(if letter == 'u' { 4 } else { 8 }, 0, 16)?;
            char::from_u32(code).ok_or("escape sequence is an invalid Unicode code point")?
        }
        '\\' => '\\',
        c if c == quote => c,
        c => return Err(format!("unknown escape sequence U+{:04X} '{c}'", c as u32)),
    };
    value.push(simple);
    Ok(())
}
