//! `name{label="value", other=~"a|b", "utf8.name"}`.

use super::{Parsed, Parser};
use crate::ast::{Expr, Modifiers, Node, Selector};
use crate::lexer::Token;
use model::{METRIC_NAME, Match, Matcher};

impl Parser<'_> {
    /// From the name or the opening brace.
    pub(super) fn selector(&mut self, name: Option<String>) -> Parsed<Expr> {
        let start = self.at();
        let mut matchers = vec![];
        if let Some(name) = &name {
            matchers.push(Matcher::equal(METRIC_NAME, name));
            self.advance();
        }
        if self.take("{") {
            while !self.take("}") {
                matchers.push(self.matcher()?);
                if !self.take(",") && self.peek() != &Token::Mark("}") {
                    return Err(self.unexpected("label matching", "\",\" or \"}\""));
                }
            }
        }
        let node = Node::Selector(Selector { name, matchers, modifiers: Modifiers::default() });
        Ok(Expr { start, end: self.end(), node })
    }

    fn matcher(&mut self) -> Parsed<Matcher> {
        let start = self.at();
        let (label, is_quoted) = match self.peek().clone() {
            Token::Word(word) => (word, false),
            Token::Text(text) => (text, true),
            _ => return Err(self.unexpected("label matching", "identifier or \"}\"")),
        };
        self.advance();
        let op = match self.peek() {
            Token::Mark("=") => Match::Equal,
            Token::Mark("!=") => Match::NotEqual,
            Token::Mark("=~") => Match::Regex,
            Token::Mark("!~") => Match::NotRegex,
            // A quoted name alone is the metric's.
            _ if is_quoted => return Ok(Matcher::equal(METRIC_NAME, label)),
            _ => return Err(self.unexpected("label matching", "label matching operator")),
        };
        self.advance();
        let Token::Text(value) = self.peek().clone() else {
            return Err(self.unexpected("label matching", "string"));
        };
        self.advance();
        Matcher::new(label, op, value).map_err(|wrong| (start, wrong.to_string()))
    }
}
