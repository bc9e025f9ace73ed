//! `match(body, 'timeout AND payment')`: whether a text has words.
//!
//! Words stand by themselves or joined by AND (which may be left out), OR and NOT, in brackets; `"in this order"` is a
//! phrase, `pay*` any word that begins so. A word is a run of letters, digits and `_`; case does not count in ASCII. What
//! is written as one but is several words (`10.0.0.7`, `user-service`) is a phrase.

use arrow::array::{Array, AsArray, BooleanArray, StringArray};
use arrow::datatypes::DataType;
use datafusion::common::{Result, ScalarValue, exec_err, plan_err};
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility};
use model::WordQuery;
use std::sync::Arc;

/// Brackets inside brackets, and words, of one query.
const DEPTH_MAX: usize = 50;
const WORDS_MAX: usize = 1_000;

pub const NAME: &str = "match";

fn words(text: &str) -> impl Iterator<Item = &str> {
    let is_part = |c: char| !c.is_ascii() || c.is_ascii_alphanumeric() || c == '_';
    text.split(move |c: char| !is_part(c)).filter(|word| !word.is_empty())
}

/// Reads a query; the error says where in it the mistake is.
pub fn parse(text: &str) -> std::result::Result<WordQuery, String> {
    let mut parser = Parser { text, at: 0, depth: 0, words: 0 };
    let query = parser.any()?;
    match parser.peek() {
        None => Ok(query),
        Some(_) => Err(parser.wrong("an opening bracket is missing before this one")),
    }
}

struct Parser<'t> {
    text: &'t str,
    at: usize,
    depth: usize,
    words: usize,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Token<'t> {
    Open,
    Close,
    And,
    Or,
    Not,
    Phrase(&'t str),
    Term(&'t str),
}

impl<'t> Parser<'t> {
    fn wrong(&self, why: &str) -> String {
        let before = self.text[..self.at].chars().count();
        format!("match: {why} (at character {} of {:?})", before + 1, self.text)
    }

    /// The next token and where it ends.
    fn token(&self) -> Option<(Token<'t>, usize)> {
        let rest = &self.text[self.at..];
        let begin = self.at + (rest.len() - rest.trim_start().len());
        let rest = &self.text[begin..];
        let first = rest.chars().next()?;
        let one = |token| Some((token, begin + 1));
        match first {
            '(' => one(Token::Open),
            ')' => one(Token::Close),
            '"' => {
                let length = rest[1..].find('"').unwrap_or(rest.len() - 1);
                Some((Token::Phrase(&rest[1..1 + length]), (begin + 2 + length).min(self.text.len())))
            }
            _ => {
                let ends = |c: char| c.is_whitespace() || matches!(c, '(' | ')' | '"');
                let term = &rest[..rest.find(ends).unwrap_or(rest.len())];
                let token = match term {
                    "AND" | "&&" => Token::And,
                    "OR" | "||" => Token::Or,
                    "NOT" | "!" => Token::Not,
                    term => Token::Term(term),
                };
                Some((token, begin + term.len()))
            }
        }
    }

    fn peek(&self) -> Option<Token<'t>> {
        self.token().map(|(token, _)| token)
    }

    fn take(&mut self) -> Option<Token<'t>> {
        let (token, end) = self.token()?;
        self.at = end;
        Some(token)
    }

    fn any(&mut self) -> std::result::Result<WordQuery, String> {
        let mut found = vec![self.all()?];
        while self.peek() == Some(Token::Or) {
            self.take();
            found.push(self.all()?);
        }
        Ok(one_of(found, WordQuery::Any))
    }

    fn all(&mut self) -> std::result::Result<WordQuery, String> {
        let mut found = vec![self.one()?];
        loop {
            match self.peek() {
                Some(Token::And) => {
                    self.take();
                }
                None | Some(Token::Or | Token::Close) => return Ok(one_of(found, WordQuery::All)),
                Some(_) => {}
            }
            found.push(self.one()?);
        }
    }

    fn one(&mut self) -> std::result::Result<WordQuery, String> {
        let before = self.at;
        match self.take() {
            Some(Token::Not) => Ok(WordQuery::Not(Box::new(self.nested(Parser::one)?))),
            Some(Token::Open) => {
                let inner = self.nested(Parser::any)?;
                match self.take() {
                    Some(Token::Close) => Ok(inner),
                    _ => Err(self.wrong("a closing bracket is missing")),
                }
            }
            Some(Token::Phrase(text)) => self.phrase(text, before),
            Some(Token::Term(text)) => match text.strip_suffix('*') {
                Some(start) if words(start).eq([start]) => Ok(WordQuery::Prefix(start.to_ascii_lowercase())),
                // `*card` would be `card`, and `w*d` a phrase: an answer to another question.
                None if !text.contains('*') => self.phrase(text, before),
                _ => {
                    self.at = before;
                    Err(self.wrong(
                        "before * stands the beginning of one word and behind it nothing; in quotes it is no sign",
                    ))
                }
            },
            Some(Token::And | Token::Or | Token::Close) => {
                self.at = before;
                Err(self.wrong("a word is missing here"))
            }
            None => Err(self.wrong("a word is missing here")),
        }
    }

    fn nested(
        &mut self,
        inner: fn(&mut Self) -> std::result::Result<WordQuery, String>,
    ) -> std::result::Result<WordQuery, String> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err(self.wrong("brackets are nested too deep"));
        }
        let found = inner(self);
        self.depth -= 1;
        found
    }

    fn phrase(&mut self, text: &str, before: usize) -> std::result::Result<WordQuery, String> {
        let mut found: Vec<String> = words(text).map(str::to_ascii_lowercase).collect();
        self.words += found.len();
        if self.words > WORDS_MAX {
            return Err(self.wrong("more words than a query may have"));
        }
        match found.len() {
            0 => {
                self.at = before;
                Err(self.wrong("there is no word in this"))
            }
            1 => Ok(WordQuery::Word(found.remove(0))),
            _ => Ok(WordQuery::Phrase(found)),
        }
    }
}

fn one_of(mut found: Vec<WordQuery>, many: fn(Vec<WordQuery>) -> WordQuery) -> WordQuery {
    if found.len() == 1 { found.remove(0) } else { many(found) }
}

/// Whether a text has what the query asks.
pub fn has(query: &WordQuery, text: &str) -> bool {
    match query {
        WordQuery::Word(wanted) => words(text).any(|word| word.eq_ignore_ascii_case(wanted)),
        WordQuery::Prefix(start) => words(text).any(|word| {
            word.get(..start.len()).is_some_and(|beginning| beginning.eq_ignore_ascii_case(start))
        }),
        WordQuery::Phrase(wanted) => {
            let all: Vec<&str> = words(text).collect();
            all.windows(wanted.len()).any(|window| {
                window.iter().zip(wanted).all(|(word, wanted)| word.eq_ignore_ascii_case(wanted))
            })
        }
        WordQuery::All(queries) => queries.iter().all(|query| has(query, text)),
        WordQuery::Any(queries) => queries.iter().any(|query| has(query, text)),
        WordQuery::Not(query) => !has(query, text),
    }
}

/// `match(text, query)`.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct Match {
    signature: Signature,
}

impl Default for Match {
    fn default() -> Self {
        Match { signature: Signature::user_defined(Volatility::Immutable) }
    }
}

impl ScalarUDFImpl for Match {
    fn name(&self) -> &str {
        NAME
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Boolean)
    }

    fn coerce_types(&self, arguments: &[DataType]) -> Result<Vec<DataType>> {
        match arguments {
            [text, query] if text.is_string() && query.is_string() => {
                Ok(vec![DataType::Utf8, DataType::Utf8])
            }
            _ => {
                plan_err!("match takes a text and what to look for, as in match(body, 'timeout AND payment')")
            }
        }
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [texts, query] = &arguments.args[..] else {
            return exec_err!("match takes two arguments");
        };
        let texts = texts.to_array(arguments.number_rows)?;
        let texts: &StringArray = texts.as_string();
        let found: BooleanArray = match query {
            ColumnarValue::Scalar(ScalarValue::Utf8(Some(query))) => {
                let query = match parse(query) {
                    Ok(query) => query,
                    Err(why) => return plan_err!("{why}"),
                };
                texts.iter().map(|text| Some(has(&query, text?))).collect()
            }
            ColumnarValue::Scalar(_) => texts.iter().map(|_| None).collect(),
            ColumnarValue::Array(queries) => {
                let queries: &StringArray = queries.as_string();
                let mut found = Vec::with_capacity(texts.len());
                for (text, query) in texts.iter().zip(queries) {
                    found.push(match (text, query.map(parse)) {
                        (_, Some(Err(why))) => return plan_err!("{why}"),
                        (Some(text), Some(Ok(query))) => Some(has(&query, text)),
                        _ => None,
                    });
                }
                found.into()
            }
        };
        Ok(ColumnarValue::Array(Arc::new(found)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_found_as_the_query_says() {
        let text = r#"{"level":"ERROR","msg":"Payment timeout for user-service at 10.0.0.7: größe 5"}"#;
        for (query, expected) in [
            ("timeout AND payment", true),
            ("timeout payment", true),
            ("time", false),
            ("time*", true),
            (r#""time*out""#, false),
            (r#""*timeout""#, true),
            ("refused OR timeout", true),
            ("NOT refused", true),
            ("payment AND NOT timeout", false),
            (r#""payment timeout""#, true),
            (r#""timeout payment""#, false),
            ("(refused OR error) AND pay*", true),
            ("refused OR error AND nothing", false),
            ("user-service", true),
            ("service-user", false),
            ("10.0.0.7", true),
            ("10.0.0", true),
            ("größe", true),
            ("grö*", true),
            ("and", false),
            ("error", true),
        ] {
            assert_eq!(has(&parse(query).unwrap(), text), expected, "{query}");
        }
    }

    #[test]
    fn mistakes_are_told_with_their_place() {
        for (query, part) in [
            ("", "a word is missing here (at character 1"),
            ("a AND", "a word is missing here (at character 6"),
            ("a OR OR b", "at character 5"),
            ("(a", "closing bracket"),
            ("a)", "opening bracket"),
            ("a-b*", "beginning of one word"),
            ("b *card", "in quotes it is no sign (at character 2"),
            ("w*d", "beginning of one word"),
            ("-", "no word in this"),
            (&"(".repeat(1_000), "too deep"),
            (&"NOT ".repeat(100_000), "too deep"),
        ] {
            let told = parse(query).unwrap_err();
            assert!(told.contains(part), "{query:.20}: {told:.200}");
        }
        assert!(parse(r#""open"#).is_ok());
    }
}
