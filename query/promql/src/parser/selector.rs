//! `name{label="value", other=~"a|b", "utf8.name"}`.

use super::{Parsed, Parser};
use crate::ast::{Expr, Modifiers, Selector};
use crate::lexer::Token;
use model::{Match, Matcher};

impl Parser {
    /// From the name or the opening brace.
    pub(super) fn selector(&mut self, name: Option<String>) -> Parsed<Expr> {
        let at = self.at();
        let mut matchers = vec![];
        let mut named = false;
        if let Some(name) = name {
            matchers.push(Matcher::equal("__name__", name));
            named = true;
            self.advance();
        }
        let outside = named;
        if self.take("{") {
            while !self.take("}") {
                self.matcher(&mut matchers, &mut named, outside)?;
                if !self.take(",") && self.peek() != &Token::Mark("}") {
                    return Err(self.unexpected(" in label matching, expected \",\" or \"}\""));
                }
            }
        }
        if matchers.iter().all(|matcher| matcher.matches("")) {
            return Err((at, "vector selector must contain at least one non-empty matcher".into()));
        }
        Ok(Expr::Selector(Selector { matchers, modifiers: Modifiers::default() }))
    }

    fn matcher(&mut self, matchers: &mut Vec<Matcher>, named: &mut bool, outside: bool) -> Parsed<()> {
        let at = self.at();
        let (label, is_quoted) = match self.peek().clone() {
            Token::Word(word) if !word.contains(':') => (word, false),
            Token::Text(text) => (text, true),
            _ => return Err(self.unexpected(" in label matching, expected identifier or \"}\"")),
        };
        self.advance();
        let op = match self.peek() {
            Token::Mark("=") => Match::Equal,
            Token::Mark("!=") => Match::NotEqual,
            Token::Mark("=~") => Match::Regex,
            Token::Mark("!~") => Match::NotRegex,
            _ if is_quoted && !*named => {
                *named = true;
                matchers.insert(0, Matcher::equal("__name__", label));
                return Ok(());
            }
            _ if is_quoted => {
                return Err((at, format!("metric name must not be set twice: {label:?}")));
            }
            _ => return Err(self.unexpected(" in label matching, expected label matching operator")),
        };
        self.advance();
        let Token::Text(value) = self.peek().clone() else {
            return Err(self.unexpected(" in label matching, expected string"));
        };
        let value_at = self.at();
        self.advance();
        let before_brace = matchers.first().is_some_and(|first| first.name == "__name__" && outside);
        if label == "__name__" && before_brace && op == Match::Equal {
            return Err((
                at,
                format!("metric name must not be set twice: {:?} or {value:?}", matchers[0].value),
            ));
        }
        matchers.push(Matcher::new(label, op, value).map_err(|wrong| (value_at, wrong.to_string()))?);
        Ok(())
    }
}
