//! What `| json x="…"` and `| logfmt x="…"` say of where a value is, read as Loki reads it, quirks and words of refusals
//! included: a quoted key ends at a quote or a bracket, and what no path can hold ends one that is whole.

/// One step of a path: `a.b[0]["c d"]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PathStep {
    Key(String),
    Index(usize),
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Token {
    Dot,
    Open,
    Close,
    Text(String),
    Field(String),
    Index(usize),
    End,
}

impl Token {
    fn name(&self) -> &'static str {
        match self {
            Token::Dot => "DOT",
            Token::Open => "LSB",
            Token::Close => "RSB",
            Token::Text(_) => "STRING",
            Token::Field(_) => "FIELD",
            Token::Index(_) => "INDEX",
            Token::End => "$end",
        }
    }
}

struct Reader<'a> {
    rest: &'a str,
    /// Why the text ended before its end.
    fault: Option<String>,
}

fn begins_field(c: char) -> bool {
    c.is_ascii_alphabetic() || c == '_'
}

impl Reader<'_> {
    fn fail(&mut self, why: String) -> Token {
        self.fault = Some(why);
        self.rest = "";
        Token::End
    }

    fn take(&mut self, bytes: usize) -> String {
        let (taken, rest) = self.rest.split_at(bytes);
        self.rest = rest;
        taken.to_owned()
    }

    fn next(&mut self) -> Token {
        self.rest = self.rest.trim_start_matches([' ', '\t', '\n']);
        let Some(first) = self.rest.chars().next() else { return Token::End };
        match first {
            '0'..='9' => self.index(),
            '[' | ']' | '.' => {
                self.take(1);
                match first {
                    '[' => Token::Open,
                    ']' => Token::Close,
                    _ => Token::Dot,
                }
            }
            '"' => {
                self.take(1);
                let end = self.rest.find(['"', ']']).unwrap_or(self.rest.len());
                let text = self.take(end);
                self.take(self.rest.len().min(1));
                Token::Text(text)
            }
            _ if begins_field(first) => {
                let is_part = |c: char| begins_field(c) || c.is_ascii_digit();
                let end = self.rest.find(|c| !is_part(c)).unwrap_or(self.rest.len());
                Token::Field(self.take(end))
            }
            other => self.fail(format!("unexpected char {other}")),
        }
    }

    fn index(&mut self) -> Token {
        let end = self.rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(self.rest.len());
        match self.rest[end..].chars().next() {
            Some('.') => return self.fail("cannot use float as array index".to_owned()),
            Some(' ' | '\t' | '\n' | ']') => {}
            other => return self.fail(format!("non-integer value: {}", other.unwrap_or('\0'))),
        }
        let digits = self.take(end);
        match digits.parse() {
            Ok(index) => Token::Index(index),
            Err(_) => self.fail(format!("strconv.Atoi: parsing \"{digits}\": value out of range")),
        }
    }
}

fn unexpected(token: &Token, expecting: &str) -> String {
    format!("syntax error: unexpected {}, expecting {expecting}", token.name())
}

/// The steps of `a.b[0]["c d"]`.
pub(crate) fn parse_path(path: &str) -> Result<Vec<PathStep>, String> {
    let mut reader = Reader { rest: path, fault: None };
    let mut steps = Vec::new();
    loop {
        steps.push(match reader.next() {
            Token::Field(name) if steps.is_empty() => PathStep::Key(name),
            Token::Dot if !steps.is_empty() => match reader.next() {
                Token::Field(name) => PathStep::Key(name),
                other => return Err(unexpected(&other, "FIELD")),
            },
            Token::Open => {
                let step = match reader.next() {
                    Token::Text(name) => PathStep::Key(name),
                    Token::Index(index) => PathStep::Index(index),
                    other => return Err(unexpected(&other, "STRING or INDEX")),
                };
                match reader.next() {
                    Token::Close => step,
                    other => return Err(unexpected(&other, "RSB")),
                }
            }
            Token::End if !steps.is_empty() => return reader.fault.map_or(Ok(steps), Err),
            other if steps.is_empty() => return Err(unexpected(&other, "LSB or FIELD")),
            other => return Err(format!("syntax error: unexpected {}", other.name())),
        });
    }
}

/// The key that a pair of logfmt must have.
pub(crate) fn logfmt_key(text: &str) -> Result<String, String> {
    // Digits, dots and brackets are nothing to its reader.
    let odd = |c: char| c.is_ascii_digit() || matches!(c, '[' | ']' | '.');
    let mut reader = Reader { rest: text, fault: None };
    let mut next = || {
        let ahead = reader.rest.trim_start_matches([' ', '\t', '\n']);
        match ahead.chars().next().filter(|c| odd(*c)) {
            Some(c) => reader.fail(format!("unexpected char {c}")),
            None => reader.next(),
        }
    };
    let name = |token: &Token| if let Token::Field(_) = token { "KEY" } else { token.name() };
    let key = match next() {
        Token::Field(key) | Token::Text(key) => key,
        other => return Err(format!("syntax error: unexpected {}, expecting STRING or KEY", name(&other))),
    };
    loop {
        match next() {
            Token::Text(_) => {}
            Token::End => break,
            other => return Err(format!("syntax error: unexpected {}", name(&other))),
        }
    }
    reader.fault.map_or(Ok(key), Err)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_read_and_refused_in_the_words_that_are_known() {
        let key = |name: &str| PathStep::Key(name.to_owned());
        assert_eq!(
            parse_path("a.b[0][\"c d\"]"),
            Ok(vec![key("a"), key("b"), PathStep::Index(0), key("c d")])
        );
        assert_eq!(parse_path("[\"a\"].b"), Ok(vec![key("a"), key("b")]));
        for (path, told) in [
            ("", "syntax error: unexpected $end, expecting LSB or FIELD"),
            ("a-b", "unexpected char -"),
            ("a..b", "syntax error: unexpected DOT, expecting FIELD"),
            ("[a]", "syntax error: unexpected FIELD, expecting STRING or INDEX"),
            ("a[1.5]", "syntax error: unexpected $end, expecting STRING or INDEX"),
            ("a b", "syntax error: unexpected FIELD"),
        ] {
            assert_eq!(parse_path(path), Err(told.to_owned()), "{path}");
        }
    }

    #[test]
    fn keys_of_logfmt() {
        assert_eq!(logfmt_key("a_1"), Ok("a_1".to_owned()));
        assert_eq!(logfmt_key("\"a.b\""), Ok("a.b".to_owned()));
        for (text, told) in [
            ("", "syntax error: unexpected $end, expecting STRING or KEY"),
            ("a.b", "unexpected char ."),
            ("a b", "syntax error: unexpected KEY"),
        ] {
            assert_eq!(logfmt_key(text), Err(told.to_owned()), "{text}");
        }
    }
}
