//! Tokens to a tree by precedence climbing. Types are checked as nodes are made, where their place is known.

mod check;
mod selector;

use crate::ast::{AggregateOp, At, BinaryOp, Cardinality, Expr, Grouping, Matching, Modifiers, ValueType};
use crate::functions::Function;
use crate::lexer::{Spot, Token, tokens};
use crate::{ParseError, parse_duration};

/// Deeper nesting is refused: every level is a frame on the stack here and a node of the plan later.
const DEPTH_MAX: usize = 128;

/// What a duration may be at most, as where it is counted in nanoseconds in 64 bits.
const DURATION_SECONDS_MAX: f64 = 9_223_372_036.0;

/// Operators in a row, which nest to the left.
const CHAIN_MAX: usize = 256;

/// A query from its text.
pub fn parse(text: &str) -> Result<Expr, ParseError> {
    let parsed = tokens(text).and_then(|tokens| {
        let mut parser = Parser { tokens, next: 0, depth: 0 };
        if parser.peek() == &Token::End {
            return Err((0, "no expression found in input".into()));
        }
        let expr = parser.expr(0)?;
        match parser.peek() {
            Token::End => Ok(expr),
            _ => Err(parser.unexpected("")),
        }
    });
    parsed.map_err(|(at, what)| {
        let before = &text[..at.min(text.len())];
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        ParseError {
            line: before.matches('\n').count() + 1,
            column: before[line_start..].chars().count() + 1,
            what,
        }
    })
}

type Wrong = (usize, String);
type Parsed<T> = Result<T, Wrong>;

struct Parser {
    tokens: Vec<Spot>,
    next: usize,
    depth: usize,
}

impl Parser {
    fn peek(&self) -> &Token {
        &self.tokens[self.next].token
    }

    fn at(&self) -> usize {
        self.tokens[self.next].at
    }

    fn advance(&mut self) -> Token {
        let token = self.tokens[self.next].token.clone();
        // The end stays where it is.
        self.next = (self.next + 1).min(self.tokens.len() - 1);
        token
    }

    fn unexpected(&self, context: &str) -> Wrong {
        let found = match self.peek() {
            Token::Word(word) => format!("identifier {word:?}"),
            Token::Text(text) => format!("string {text:?}"),
            Token::Number(number) => format!("number \"{number}\""),
            Token::Duration(ms) => format!("duration {:?}", crate::format_duration(*ms)),
            Token::Mark(mark) => format!("{mark:?}"),
            Token::End => "end of input".into(),
        };
        (self.at(), format!("unexpected {found}{context}"))
    }

    fn take(&mut self, mark: &str) -> bool {
        let found = matches!(self.peek(), Token::Mark(known) if *known == mark);
        if found {
            self.advance();
        }
        found
    }

    fn expect(&mut self, mark: &str, context: &str) -> Parsed<()> {
        if self.take(mark) { Ok(()) } else { Err(self.unexpected(&format!("{context}, expected {mark:?}"))) }
    }

    fn is_word(&self, word: &str) -> bool {
        matches!(self.peek(), Token::Word(known) if known.eq_ignore_ascii_case(word))
    }

    fn take_word(&mut self, word: &str) -> bool {
        let found = self.is_word(word);
        if found {
            self.advance();
        }
        found
    }

    /// Operators of at least this precedence, joined.
    fn expr(&mut self, least: u8) -> Parsed<Expr> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err((self.at(), format!("expression is nested more than {DEPTH_MAX} levels deep")));
        }
        let mut left = self.unary()?;
        let mut chain = 0;
        while let Some(op) = self.binary_op().filter(|op| op.precedence() >= least) {
            let at = self.at();
            chain += 1;
            if chain > CHAIN_MAX {
                return Err((at, format!("more than {CHAIN_MAX} operators in a row")));
            }
            self.advance();
            let (returns_bool, matching) = self.matching(op)?;
            let right_least = if op == BinaryOp::Pow { op.precedence() } else { op.precedence() + 1 };
            let right = self.expr(right_least)?;
            left = check::binary(at, op, left, right, returns_bool, matching)?;
        }
        self.depth -= 1;
        Ok(left)
    }

    fn binary_op(&self) -> Option<BinaryOp> {
        use BinaryOp::*;
        match self.peek() {
            Token::Mark(mark) => [Add, Sub, Mul, Div, Mod, Pow, Eql, Neq, Lte, Lss, Gte, Gtr]
                .into_iter()
                .find(|op| op.as_str() == *mark),
            Token::Word(word) => {
                [And, Or, Unless, Atan2].into_iter().find(|op| op.as_str().eq_ignore_ascii_case(word))
            }
            _ => None,
        }
    }

    /// `bool`, `on (…)`, `ignoring (…)`, `group_left (…)`, `group_right (…)` behind an operator.
    fn matching(&mut self, op: BinaryOp) -> Parsed<(bool, Option<Matching>)> {
        let at = self.at();
        let returns_bool = self.take_word("bool");
        if returns_bool && !op.is_comparison() {
            return Err((at, "bool modifier can only be used on comparison operators".into()));
        }
        let on = self.is_word("on");
        if !on && !self.is_word("ignoring") {
            return Ok((returns_bool, None));
        }
        self.advance();
        let mut matching = Matching { on, labels: self.labels("grouping opts")?, ..Matching::default() };
        let group_at = self.at();
        let group = ["group_left", "group_right"].into_iter().find(|word| self.is_word(word));
        if let Some(group) = group {
            self.advance();
            if op.is_set() {
                return Err((group_at, format!("no grouping allowed for {:?} operation", op.as_str())));
            }
            matching.cardinality =
                if group == "group_left" { Cardinality::ManyToOne } else { Cardinality::OneToMany };
            if self.peek() == &Token::Mark("(") {
                matching.include = self.labels("grouping opts")?;
            }
            if let Some(both) = matching.include.iter().find(|label| on && matching.labels.contains(label)) {
                return Err((
                    group_at,
                    format!("label {both:?} must not occur in ON and GROUP clause at once"),
                ));
            }
        }
        Ok((returns_bool, Some(matching)))
    }

    /// `(a, b,)`
    fn labels(&mut self, context: &str) -> Parsed<Vec<String>> {
        let context = format!(" in {context}");
        self.expect("(", &context)?;
        let mut labels = vec![];
        while !self.take(")") {
            match self.peek().clone() {
                Token::Word(word) if !word.contains(':') => labels.push(word),
                Token::Text(text) if !text.is_empty() => labels.push(text),
                _ => return Err(self.unexpected(&format!("{context}, expected label"))),
            }
            self.advance();
            if !self.take(",") && self.peek() != &Token::Mark(")") {
                return Err(self.unexpected(&format!("{context}, expected \",\" or \")\"")));
            }
        }
        Ok(labels)
    }

    fn unary(&mut self) -> Parsed<Expr> {
        let at = self.at();
        let negative = match self.peek() {
            Token::Mark("-") => true,
            Token::Mark("+") => false,
            _ => {
                let primary = self.primary()?;
                return self.postfix(primary);
            }
        };
        self.advance();
        let inner = self.expr(BinaryOp::Pow.precedence())?;
        if !matches!(inner.value_type(), ValueType::Scalar | ValueType::Vector) {
            let kind = inner.value_type().as_str();
            return Err((
                at,
                format!(
                    "unary expression only allowed on expressions of type scalar or instant vector, got {kind:?}"
                ),
            ));
        }
        Ok(match (negative, inner) {
            (true, Expr::Number(number)) => Expr::Number(-number),
            (true, inner) => Expr::Negate(Box::new(inner)),
            (false, inner) => inner,
        })
    }

    fn primary(&mut self) -> Parsed<Expr> {
        match self.peek().clone() {
            Token::Number(number) => {
                self.advance();
                Ok(Expr::Number(number))
            }
            // A duration alone is its seconds.
            Token::Duration(ms) => {
                self.advance();
                Ok(Expr::Number(ms as f64 / 1e3))
            }
            Token::Text(text) => {
                self.advance();
                Ok(Expr::Text(text))
            }
            Token::Mark("(") => {
                self.advance();
                let inner = self.expr(0)?;
                self.expect(")", " in paren expression")?;
                Ok(Expr::Parens(Box::new(inner)))
            }
            Token::Mark("{") => self.selector(None),
            Token::Word(word) => self.word(&word),
            _ => Err(self.unexpected("")),
        }
    }

    fn word(&mut self, word: &str) -> Parsed<Expr> {
        let followed_by = |parser: &Parser, words: &[&str]| match &parser.tokens[parser.next + 1].token {
            Token::Mark("(") => true,
            Token::Word(next) => words.iter().any(|word| next.eq_ignore_ascii_case(word)),
            _ => false,
        };
        let lower = word.to_ascii_lowercase();
        if let Some((op, _)) = AggregateOp::ALL.into_iter().find(|(_, name)| *name == lower)
            && followed_by(self, &["by", "without"])
        {
            return self.aggregate(op);
        }
        if followed_by(self, &[]) {
            return self.call(word);
        }
        match lower.as_str() {
            "inf" | "nan" => {
                self.advance();
                Ok(Expr::Number(if lower == "inf" { f64::INFINITY } else { f64::NAN }))
            }
            _ => self.selector(Some(word.to_owned())),
        }
    }

    fn call(&mut self, name: &str) -> Parsed<Expr> {
        let at = self.at();
        let Some(function) = Function::named(name) else {
            return Err((at, format!("unknown function with name {name:?}")));
        };
        self.advance();
        let arguments = self.arguments()?;
        check::call(at, function, arguments)
    }

    /// `(a, b)`, each with its place.
    fn arguments(&mut self) -> Parsed<Vec<(usize, Expr)>> {
        self.expect("(", " in function call")?;
        let mut arguments = vec![];
        if self.take(")") {
            return Ok(arguments);
        }
        loop {
            let at = self.at();
            arguments.push((at, self.expr(0)?));
            if self.take(")") {
                return Ok(arguments);
            }
            self.expect(",", " in function call")?;
            if self.peek() == &Token::Mark(")") {
                return Err((self.at(), "trailing commas not allowed in function call args".into()));
            }
        }
    }

    /// The grouping stands before or behind the arguments.
    fn aggregate(&mut self, op: AggregateOp) -> Parsed<Expr> {
        let at = self.at();
        self.advance();
        let before = self.grouping()?;
        let arguments = self.arguments()?;
        let grouping = match before {
            Some(grouping) => grouping,
            None => self.grouping()?.unwrap_or_default(),
        };
        check::aggregate(at, op, grouping, arguments)
    }

    fn grouping(&mut self) -> Parsed<Option<Grouping>> {
        let without = self.is_word("without");
        if !without && !self.is_word("by") {
            return Ok(None);
        }
        self.advance();
        Ok(Some(Grouping { without, labels: self.labels("grouping opts")? }))
    }

    /// `[5m]`, `[1h:5m]`, `offset`, `@` behind an expression, in any order that makes sense.
    fn postfix(&mut self, mut expr: Expr) -> Parsed<Expr> {
        loop {
            if self.peek() == &Token::Mark("[") {
                expr = self.brackets(expr)?;
            } else if self.is_word("offset") {
                let offset_at = self.at();
                self.advance();
                let offset_ms = self.signed_duration("offset")?;
                let modifiers = check::modifiers(offset_at, &mut expr, "offset")?;
                if modifiers.offset_ms != 0 {
                    return Err((offset_at, "offset may not be set multiple times".into()));
                }
                modifiers.offset_ms = offset_ms;
            } else if self.peek() == &Token::Mark("@") {
                let at_at = self.at();
                self.advance();
                let time = self.at_time()?;
                let modifiers = check::modifiers(at_at, &mut expr, "@")?;
                if modifiers.at.is_some() {
                    return Err((at_at, "@ <timestamp> may not be set multiple times".into()));
                }
                modifiers.at = Some(time);
            } else {
                return Ok(expr);
            }
        }
    }

    fn brackets(&mut self, expr: Expr) -> Parsed<Expr> {
        let at = self.at();
        self.advance();
        let range_ms = self.positive_duration("range")?;
        if self.take(":") {
            let step_ms = match self.peek() {
                Token::Mark("]") => None,
                _ => Some(self.positive_duration("subquery resolution")?),
            };
            self.expect("]", " in subquery selector")?;
            if expr.value_type() != ValueType::Vector && expr.value_type() != ValueType::Scalar {
                let kind = expr.value_type().as_str();
                return Err((at, format!("subquery is only allowed on instant vector, got {kind} instead")));
            }
            return Ok(Expr::Subquery {
                expr: Box::new(expr),
                range_ms,
                step_ms,
                modifiers: Modifiers::default(),
            });
        }
        self.expect("]", " in range selector")?;
        match expr {
            Expr::Selector(selector) if selector.modifiers == Modifiers::default() => {
                Ok(Expr::Range { selector, range_ms })
            }
            Expr::Selector(selector) if selector.modifiers.at.is_some() => {
                Err((at, "no @ modifiers allowed before range".into()))
            }
            Expr::Selector(_) => Err((at, "no offset modifiers allowed before range".into())),
            _ => Err((at, "ranges only allowed for vector selectors".into())),
        }
    }

    /// A duration, or a number of seconds.
    fn signed_duration(&mut self, what: &str) -> Parsed<i64> {
        let negative = self.take("-");
        if !negative {
            self.take("+");
        }
        let ms = match self.peek() {
            Token::Duration(ms) => *ms,
            Token::Number(seconds) if seconds.abs() <= DURATION_SECONDS_MAX => (seconds * 1e3) as i64,
            Token::Number(_) => return Err((self.at(), "duration out of range".into())),
            // Between brackets the lexer takes no colon into a word, so `1h` may still come as one.
            Token::Word(word) if parse_duration(word).is_some() => parse_duration(word).unwrap_or(0),
            _ => return Err(self.unexpected(&format!(" in {what}, expected number or duration"))),
        };
        self.advance();
        Ok(if negative { -ms } else { ms })
    }

    fn positive_duration(&mut self, what: &str) -> Parsed<i64> {
        let at = self.at();
        match self.signed_duration(what)? {
            ms if ms > 0 => Ok(ms),
            _ => Err((at, "duration must be greater than 0".into())),
        }
    }

    fn at_time(&mut self) -> Parsed<At> {
        for (word, at) in [("start", At::Start), ("end", At::End)] {
            if self.is_word(word) {
                self.advance();
                self.expect("(", " in @")?;
                self.expect(")", " in @")?;
                return Ok(at);
            }
        }
        let place = self.at();
        let negative = self.take("-");
        if !negative {
            self.take("+");
        }
        let seconds = match self.peek() {
            Token::Number(number) => *number,
            Token::Duration(ms) => *ms as f64 / 1e3,
            _ => return Err(self.unexpected(" in @, expected timestamp")),
        };
        self.advance();
        let ms = (if negative { -seconds } else { seconds } * 1e3).round();
        if !ms.is_finite() || ms.abs() >= i64::MAX as f64 {
            return Err((place, format!("timestamp out of bounds for @ modifier: {seconds}")));
        }
        Ok(At::Time(ms as i64))
    }
}

#[cfg(test)]
mod tests;
