//! `{app="web", pod="a\"b"}`: how Loki's protobuf carries the labels of a stream. What does not read is told in the words of
//! Prometheus' parser, which Loki reads it with.

/// Names and values as written; of an empty text none. Names may have dots and colons, and may stand in quotes.
pub fn parse(text: &str) -> Result<Vec<(String, String)>, String> {
    if text.is_empty() {
        return Ok(vec![]);
    }
    let mut reader = Reader { text, rest: text.trim_start() };
    let Some(rest) = reader.rest.strip_prefix('{') else {
        return Err(reader.wrong(reader.rest, "labels stand in braces"));
    };
    reader.rest = rest;
    let mut pairs = vec![];
    loop {
        let start = reader.skip_blanks();
        let name = match reader.token()? {
            Token::Close => break,
            Token::Name(name) => name.to_owned(),
            Token::Text(name) if super::is_label_name(&name) => name,
            token => return Err(reader.unexpected(start, &token, "identifier or \"}\"")),
        };
        reader.expect("\"=\"", |token| matches!(token, Token::Equals))?;
        let start = reader.skip_blanks();
        match reader.token()? {
            Token::Text(value) => pairs.push((name, value)),
            token => return Err(reader.unexpected(start, &token, "string")),
        }
        if let Token::Close =
            reader.expect("\",\" or \"}\"", |token| matches!(token, Token::Close | Token::Comma))?
        {
            break;
        }
    }
    let rest = reader.rest.trim();
    if rest.is_empty() { Ok(pairs) } else { Err(reader.wrong(rest, "more stands after the closing brace")) }
}

enum Token<'a> {
    Close,
    Comma,
    Equals,
    /// `!=`, `=~`, `!~`
    Matches(&'a str),
    Name(&'a str),
    Text(String),
}

struct Reader<'a> {
    text: &'a str,
    rest: &'a str,
}

impl<'a> Reader<'a> {
    /// What is left then.
    fn skip_blanks(&mut self) -> &'a str {
        self.rest = self.rest.trim_start_matches([' ', '\t', '\n', '\r']);
        self.rest
    }

    /// The next one, where no blanks are.
    fn token(&mut self) -> Result<Token<'a>, String> {
        let rest = self.rest;
        let (token, length) = match rest.chars().next() {
            None => return Err(self.wrong(rest, "unexpected end of input inside braces")),
            Some('}') => (Token::Close, 1),
            Some(',') => (Token::Comma, 1),
            Some('=') if rest.starts_with("=~") => (Token::Matches("=~"), 2),
            Some('=') => (Token::Equals, 1),
            Some('!') if rest.starts_with("!=") || rest.starts_with("!~") => (Token::Matches(&rest[..2]), 2),
            Some('"' | '\'' | '`') => match quoted(rest) {
                Some((text, after)) => (Token::Text(text), rest.len() - after.len()),
                None => return Err(self.wrong(rest, "unterminated quoted string")),
            },
            Some(c) if c.is_ascii_alphabetic() || c == '_' => {
                let in_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | ':');
                let end = rest.find(|c| !in_name(c)).unwrap_or(rest.len());
                (Token::Name(&rest[..end]), end)
            }
            Some(c) => return Err(self.wrong(rest, &format!("unexpected character inside braces: {c:?}"))),
        };
        self.rest = &rest[length..];
        Ok(token)
    }

    fn expect(&mut self, what: &str, fits: impl Fn(&Token<'_>) -> bool) -> Result<Token<'a>, String> {
        let start = self.skip_blanks();
        let token = self.token()?;
        if fits(&token) { Ok(token) } else { Err(self.unexpected(start, &token, what)) }
    }

    fn unexpected(&self, at: &str, token: &Token<'_>, expected: &str) -> String {
        let said = match token {
            Token::Close => "\"}\"".to_owned(),
            Token::Comma => "\",\"".to_owned(),
            Token::Equals => "\"=\"".to_owned(),
            Token::Matches(op) => format!("<op:{op}>"),
            Token::Name(name) => format!("identifier {name:?}"),
            Token::Text(text) => format!("string {text:?}"),
        };
        self.wrong(at, &format!("unexpected {said} in label set, expected {expected}"))
    }

    /// `at` is what is left from the place on.
    fn wrong(&self, at: &str, what: &str) -> String {
        let column = self.text.len() - at.len() + 1;
        format!("couldn't parse labels: 1:{column}: parse error: {what}")
    }
}

/// A string in Go's notation, or the like in single quotes, and what follows it.
fn quoted(text: &str) -> Option<(String, &str)> {
    if let Some(raw) = text.strip_prefix('`') {
        return raw.split_once('`').map(|(value, rest)| (value.to_owned(), rest));
    }
    let quote = text.chars().next()?;
    let mut value = String::new();
    let body = &text[1..];
    let mut chars = body.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            c if c == quote => return Some((value, &body[at + 1..])),
            '\\' => value.push(escaped(&mut chars)?),
            other => value.push(other),
        }
    }
    None
}

/// What follows a backslash.
fn escaped(chars: &mut std::str::CharIndices<'_>) -> Option<char> {
    let (_, letter) = chars.next()?;
    let mut number = |digits: usize, first: u32, radix: u32| {
        let rest =
            (0..digits).try_fold(first, |code, _| Some(code * radix + chars.next()?.1.to_digit(radix)?));
        rest.and_then(char::from_u32)
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
        '"' | '\\' | '\'' => Some(letter),
        _ => None,
    }
}
