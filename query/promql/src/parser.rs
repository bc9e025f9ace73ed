//! Tokens to a tree by precedence climbing. What the grammar forbids is refused here; whether types fit is looked at
//! afterwards, over the whole tree, in `check`.

mod duration;
mod selector;

use crate::ast::{
    AggregateOp, At, BinaryOp, Cardinality, Expr, Extension, Fill, Grouping, Matching, Modifiers, Node,
    Selector, Span, Spelled,
};
use crate::functions::Function;
use crate::lexer::{Spot, Token, tokens};
use crate::{ParseError, check};

/// Deeper nesting is refused: every level is a frame on the stack here and a node of the plan later.
const DEPTH_MAX: usize = 128;

/// Operators in a row, which nest to the left.
const CHAIN_MAX: usize = 256;

/// A query from its text.
pub fn parse(text: &str) -> Result<Expr, ParseError> {
    let parsed = Parser::of(text).whole().and_then(|mut expr| {
        check::tree(text, &mut expr)?;
        Ok(expr)
    });
    parsed.map_err(|(at, what)| ParseError::at(text, at, what))
}

pub(crate) type Wrong = (usize, String);
pub(crate) type Parsed<T> = Result<T, Wrong>;

struct Parser<'t> {
    text: &'t str,
    tokens: Vec<Spot>,
    next: usize,
    depth: usize,
}

/// Words that stand for something else than a metric where an operand is expected.
const NO_METRICS: [&str; 8] = ["atan2", "bool", "group_left", "group_right", "ignoring", "inf", "nan", "on"];

const AGGREGATE_HEADS: [&str; 2] = ["by", "without"];

impl<'t> Parser<'t> {
    fn of(text: &'t str) -> Parser<'t> {
        Parser { text, tokens: tokens(text), next: 0, depth: 0 }
    }

    fn whole(&mut self) -> Parsed<Expr> {
        if self.peek() == &Token::End {
            return Err((0, "no expression found in input".into()));
        }
        let expr = self.expr(0)?;
        match self.peek() {
            Token::End => Ok(expr),
            _ => Err(self.unexpected("", "")),
        }
    }

    fn peek(&self) -> &Token {
        &self.tokens[self.next].token
    }

    fn at(&self) -> usize {
        self.tokens[self.next].start
    }

    /// Where the token that was taken last ended.
    fn end(&self) -> usize {
        self.next.checked_sub(1).map_or(0, |last| self.tokens[last].end)
    }

    fn advance(&mut self) -> Token {
        let token = self.tokens[self.next].token.clone();
        // The end stays where it is.
        self.next = (self.next + 1).min(self.tokens.len() - 1);
        token
    }

    /// `unexpected X in CONTEXT, expected Y`; where the text itself stops making sense, that.
    fn unexpected(&self, context: &str, expected: &str) -> Wrong {
        let spot = &self.tokens[self.next];
        if let Token::Wrong(what) = &spot.token {
            return (spot.start, what.clone());
        }
        let mut what = format!("unexpected {}", describe(&spot.token, &self.text[spot.start..spot.end]));
        if !context.is_empty() {
            what.push_str(&format!(" in {context}"));
        }
        if !expected.is_empty() {
            what.push_str(&format!(", expected {expected}"));
        }
        (spot.start, what)
    }

    fn take(&mut self, mark: &str) -> bool {
        let found = matches!(self.peek(), Token::Mark(known) if *known == mark);
        if found {
            self.advance();
        }
        found
    }

    fn expect(&mut self, mark: &str, context: &str, expected: &str) -> Parsed<()> {
        if self.take(mark) { Ok(()) } else { Err(self.unexpected(context, expected)) }
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

    fn deeper(&mut self) -> Parsed<()> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err((self.at(), format!("expression is nested more than {DEPTH_MAX} levels deep")));
        }
        Ok(())
    }

    /// Operators of at least this precedence, joined.
    fn expr(&mut self, least: u8) -> Parsed<Expr> {
        self.deeper()?;
        let mut left = self.unary()?;
        let mut chain = 0;
        while let Some(op) = self.binary_op().filter(|op| op.precedence() >= least) {
            chain += 1;
            if chain > CHAIN_MAX {
                return Err((self.at(), format!("more than {CHAIN_MAX} operators in a row")));
            }
            self.advance();
            let (returns_bool, matching) = self.matching()?;
            let right_least = if op == BinaryOp::Pow { op.precedence() } else { op.precedence() + 1 };
            let right = self.expr(right_least)?;
            let (start, end) = (left.start, right.end);
            let (left_side, right_side) = (Box::new(left), Box::new(right));
            let node = Node::Binary { op, left: left_side, right: right_side, returns_bool, matching };
            left = Expr { start, end, node };
        }
        self.depth -= 1;
        Ok(left)
    }

    fn binary_op(&self) -> Option<BinaryOp> {
        use BinaryOp::*;
        match self.peek() {
            Token::Mark(mark) => {
                [Add, Sub, Mul, Div, Mod, Pow, Eql, Neq, Lte, Lss, Gte, Gtr, TrimUpper, TrimLower]
                    .into_iter()
                    .find(|op| op.as_str() == *mark)
            }
            Token::Word(word) => {
                [And, Or, Unless, Atan2].into_iter().find(|op| op.as_str().eq_ignore_ascii_case(word))
            }
            _ => None,
        }
    }

    /// `bool`, `on (…)`, `ignoring (…)`, `group_left (…)`, `group_right (…)`, `fill (…)` behind an operator.
    fn matching(&mut self) -> Parsed<(bool, Matching)> {
        let returns_bool = self.take_word("bool");
        let mut matching = Matching::default();
        if self.is_word("on") || self.is_word("ignoring") {
            matching.on = self.is_word("on");
            self.advance();
            matching.labels = self.labels()?;
            for (word, cardinality) in
                [("group_left", Cardinality::ManyToOne), ("group_right", Cardinality::OneToMany)]
            {
                if self.take_word(word) {
                    matching.cardinality = cardinality;
                    if self.peek() == &Token::Mark("(") {
                        matching.include = self.labels()?;
                    }
                    break;
                }
            }
        }
        matching.fill = self.fill()?;
        Ok((returns_bool, matching))
    }

    fn fill(&mut self) -> Parsed<Fill> {
        let mut fill = Fill::default();
        if self.take_fill("fill") {
            let value = self.fill_value()?;
            return Ok(Fill { left: Some(value), right: Some(value) });
        }
        loop {
            if fill.left.is_none() && self.take_fill("fill_left") {
                fill.left = Some(self.fill_value()?);
            } else if fill.right.is_none() && self.take_fill("fill_right") {
                fill.right = Some(self.fill_value()?);
            } else {
                return Ok(fill);
            }
        }
    }

    /// The word is a metric's name unless a value in parentheses follows.
    fn take_fill(&mut self, word: &str) -> bool {
        let found = self.is_word(word) && self.tokens[self.next + 1].token == Token::Mark("(");
        if found {
            self.advance();
        }
        found
    }

    fn fill_value(&mut self) -> Parsed<f64> {
        self.expect("(", "", "")?;
        let minus = self.take("-");
        if !minus {
            self.take("+");
        }
        let number = self.number()?.ok_or_else(|| self.unexpected("", ""))?;
        self.expect(")", "", "")?;
        Ok(if minus { -number.value } else { number.value })
    }

    /// A number or a duration in seconds, `Inf` and `NaN` among them, if one is next.
    fn number(&mut self) -> Parsed<Option<Spelled>> {
        let (value, as_duration) = match self.peek() {
            Token::Number(value) => (*value, false),
            Token::Duration(ms) => (*ms as f64 / 1e3, true),
            Token::Word(word) if word.eq_ignore_ascii_case("inf") => (f64::INFINITY, false),
            Token::Word(word) if word.eq_ignore_ascii_case("nan") => (f64::NAN, false),
            _ => return Ok(None),
        };
        self.advance();
        Ok(Some(Spelled { value, as_duration }))
    }

    /// `(a, b,)`
    fn labels(&mut self) -> Parsed<Vec<String>> {
        let context = "grouping opts";
        self.expect("(", context, "\"(\"")?;
        let mut labels = vec![];
        while !self.take(")") {
            match self.peek().clone() {
                Token::Word(word) if is_label_word(&word) => labels.push(word),
                Token::Text(text) if !text.is_empty() && crate::is_utf8(&text) => labels.push(text),
                Token::Text(text) => {
                    let what = format!("invalid label name for grouping: {}", crate::quoted(&text));
                    return Err((self.at(), what));
                }
                Token::Word(word) if word.contains(':') => {
                    return Err(self.unexpected(context, "label"));
                }
                _ => return Err(self.unexpected(context, "label")),
            }
            self.advance();
            if !self.take(",") && self.peek() != &Token::Mark(")") {
                return Err(self.unexpected(context, "\",\" or \")\""));
            }
        }
        Ok(labels)
    }

    fn unary(&mut self) -> Parsed<Expr> {
        let start = self.at();
        let minus = match self.peek() {
            Token::Mark("-") => true,
            Token::Mark("+") => false,
            _ => {
                let primary = self.primary()?;
                return self.postfix(primary);
            }
        };
        self.advance();
        let inner = self.expr(BinaryOp::Pow.precedence())?;
        let end = inner.end;
        let node = match (minus, inner.node) {
            (true, Node::Number(number)) => Node::Number(Spelled { value: -number.value, ..number }),
            (false, Node::Number(number)) => Node::Number(number),
            (minus, node) => Node::Unary { minus, expr: Box::new(Expr { start: inner.start, end, node }) },
        };
        Ok(Expr { start, end, node })
    }

    fn primary(&mut self) -> Parsed<Expr> {
        let start = self.at();
        let followed_by_paren =
            self.tokens.get(self.next + 1).is_some_and(|spot| spot.token == Token::Mark("("));
        if let Token::Word(word) = self.peek().clone() {
            let is_number = ["inf", "nan"].iter().any(|number| word.eq_ignore_ascii_case(number));
            if !is_number {
                return self.word(&word, followed_by_paren);
            }
        }
        if let Some(number) = self.number()? {
            return Ok(Expr { start, end: self.end(), node: Node::Number(number) });
        }
        match self.peek().clone() {
            Token::Text(text) => {
                self.advance();
                Ok(Expr { start, end: self.end(), node: Node::Text(text) })
            }
            Token::Mark("(") => {
                self.advance();
                let inner = self.expr(0)?;
                self.expect(")", "", "")?;
                Ok(Expr { start, end: self.end(), node: Node::Parens(Box::new(inner)) })
            }
            Token::Mark("{") => self.selector(None),
            _ => Err(self.unexpected("", "")),
        }
    }

    fn word(&mut self, word: &str, followed_by_paren: bool) -> Parsed<Expr> {
        let next = &self.tokens[self.next + 1].token;
        let grouped = matches!(next, Token::Word(next) if AGGREGATE_HEADS.iter().any(|head| head.eq_ignore_ascii_case(next)));
        let lower = word.to_ascii_lowercase();
        if let Some((op, _)) = AggregateOp::ALL.into_iter().find(|(_, name)| *name == lower)
            && (followed_by_paren || grouped)
        {
            return self.aggregate(op);
        }
        if NO_METRICS.contains(&lower.as_str()) {
            return Err(self.unexpected("", ""));
        }
        if followed_by_paren && !is_keyword(&lower) {
            return self.call(word);
        }
        self.selector(Some(word.to_owned()))
    }

    fn call(&mut self, name: &str) -> Parsed<Expr> {
        let start = self.at();
        let function = Function::named(name);
        self.advance();
        let arguments = self.arguments()?;
        let function = function.ok_or_else(|| (start, format!("unknown function with name {name:?}")))?;
        Ok(Expr { start, end: self.end(), node: Node::Call { function, arguments } })
    }

    /// `(a, b)`
    fn arguments(&mut self) -> Parsed<Vec<Expr>> {
        self.expect("(", "", "")?;
        let mut arguments = vec![];
        if self.take(")") {
            return Ok(arguments);
        }
        loop {
            arguments.push(self.expr(0)?);
            if self.take(")") {
                return Ok(arguments);
            }
            let comma = self.at();
            self.expect(",", "", "")?;
            if self.peek() == &Token::Mark(")") {
                return Err((comma, "trailing commas not allowed in function call args".into()));
            }
        }
    }

    /// The grouping stands before or behind the arguments.
    fn aggregate(&mut self, op: AggregateOp) -> Parsed<Expr> {
        let start = self.at();
        self.advance();
        let before = self.grouping()?;
        if self.peek() != &Token::Mark("(") {
            return Err(self.unexpected("aggregation", ""));
        }
        let mut arguments = self.arguments()?;
        let grouping = match before {
            Some(grouping) => grouping,
            None => self.grouping()?.unwrap_or_default(),
        };
        let wanted = if op.parameter().is_some() { 2 } else { 1 };
        let given = arguments.len();
        if given == 0 {
            return Err((start, "no arguments for aggregate expression provided".into()));
        }
        if given != wanted {
            return Err((
                start,
                format!(
                    "wrong number of arguments for aggregate expression provided, expected {wanted}, got {given}"
                ),
            ));
        }
        let expr = arguments.pop().map(Box::new).ok_or_else(|| (start, "no arguments".to_owned()))?;
        let parameter = arguments.pop().map(Box::new);
        Ok(Expr { start, end: self.end(), node: Node::Aggregate { op, grouping, parameter, expr } })
    }

    fn grouping(&mut self) -> Parsed<Option<Grouping>> {
        let without = self.is_word("without");
        if !without && !self.is_word("by") {
            return Ok(None);
        }
        self.advance();
        Ok(Some(Grouping { without, labels: self.labels()? }))
    }

    /// `[5m]`, `[1h:5m]`, `offset`, `@`, `anchored`, `smoothed` behind an expression, in any order that makes sense.
    fn postfix(&mut self, mut expr: Expr) -> Parsed<Expr> {
        loop {
            if self.peek() == &Token::Mark("[") {
                expr = self.brackets(expr)?;
            } else if self.take_word("offset") {
                let offset = self.offset()?;
                let start = expr.start;
                let modifiers = modifiers(&mut expr, "offset")?;
                if modifiers.offset.as_ref().is_some_and(|offset| *offset != Span::Ms(0)) {
                    return Err((start, "offset may not be set multiple times".into()));
                }
                modifiers.offset = Some(offset);
            } else if self.take("@") {
                let time = self.at_time(expr.start)?;
                let start = expr.start;
                let modifiers = modifiers(&mut expr, "@")?;
                if modifiers.at.is_some() {
                    return Err((start, "@ <timestamp> may not be set multiple times".into()));
                }
                modifiers.at = Some(time);
            } else if self.take_word("anchored") {
                extend(&mut expr, Extension::Anchored, "anchored")?;
            } else if self.take_word("smoothed") {
                extend(&mut expr, Extension::Smoothed, "smoothed")?;
            } else {
                return Ok(expr);
            }
            expr.end = self.end();
        }
    }

    fn brackets(&mut self, expr: Expr) -> Parsed<Expr> {
        let open = self.at();
        let start = expr.start;
        self.advance();
        let range = self.positive_span("subquery or range selector")?;
        if self.take(":") {
            let step = match self.peek() {
                Token::Mark("]") => None,
                _ => Some(self.positive_span("subquery selector")?),
            };
            self.expect("]", "subquery selector", "\"]\"")?;
            let modifiers = Modifiers::default();
            let node = Node::Subquery { expr: Box::new(expr), range, step, modifiers };
            return Ok(Expr { start, end: self.end(), node });
        }
        self.expect("]", "subquery or range", "\":\" or \"]\"")?;
        let Node::Selector(selector) = expr.node else {
            return Err((open, "ranges only allowed for vector selectors".into()));
        };
        if selector.modifiers.offset.as_ref().is_some_and(|offset| *offset != Span::Ms(0)) {
            return Err((open, "no offset modifiers allowed before range".into()));
        }
        if selector.modifiers.at.is_some() {
            return Err((open, "no @ modifiers allowed before range".into()));
        }
        Ok(Expr { start, end: self.end(), node: Node::Range { selector, range } })
    }

    /// `start` is that of the expression.
    fn at_time(&mut self, start: usize) -> Parsed<At> {
        for (word, at) in [("start", At::Start), ("end", At::End)] {
            if self.is_word(word) {
                self.advance();
                self.expect("(", "@", "timestamp")?;
                self.expect(")", "@", "timestamp")?;
                return Ok(at);
            }
        }
        let minus = self.take("-");
        if !minus {
            self.take("+");
        }
        let number = self.number()?.ok_or_else(|| self.unexpected("@", "timestamp"))?.value;
        let seconds = if minus { -number } else { number };
        if !seconds.is_finite() || seconds.abs() >= i64::MAX as f64 {
            let shown = match seconds {
                f64::INFINITY => "+Inf".to_owned(),
                f64::NEG_INFINITY => "-Inf".to_owned(),
                other => format!("{other:.6}"),
            };
            return Err((start, format!("timestamp out of bounds for @ modifier: {shown}")));
        }
        Ok(At::Time((seconds * 1e3).round() as i64))
    }
}

/// Where `offset` and `@` of this expression are kept.
fn modifiers<'e>(expr: &'e mut Expr, what: &str) -> Parsed<&'e mut Modifiers> {
    match &mut expr.node {
        Node::Selector(Selector { modifiers, .. })
        | Node::Range { selector: Selector { modifiers, .. }, .. }
        | Node::Subquery { modifiers, .. } => Ok(modifiers),
        _ => Err((
            expr.start,
            format!(
                "{what} modifier must be preceded by an instant vector selector or range vector selector or a subquery"
            ),
        )),
    }
}

fn extend(expr: &mut Expr, extension: Extension, word: &str) -> Parsed<()> {
    let selector = match &mut expr.node {
        Node::Selector(selector) | Node::Range { selector, .. } => selector,
        Node::Subquery { .. } => {
            return Err((expr.start, format!("{word} modifier is not supported for subqueries")));
        }
        // Prometheus' words for what takes no such modifier.
        _ => return Err((expr.start, format!("{word} modifier not implemented"))),
    };
    let known = &mut selector.modifiers.extension;
    if *known != Extension::None && *known != extension {
        return Err((expr.start, "anchored and smoothed modifiers cannot be used together".into()));
    }
    *known = extension;
    Ok(())
}

/// A token as an error names it.
fn describe(token: &Token, raw: &str) -> String {
    let short = |text: &str| match text.chars().count() > 10 {
        true => format!("{}...", crate::quoted(&text.chars().take(10).collect::<String>())),
        false => crate::quoted(text),
    };
    match token {
        Token::End | Token::Wrong(_) => "end of input".into(),
        Token::Text(_) => format!("string {}", short(raw)),
        Token::Number(_) => format!("number {}", short(raw)),
        Token::Duration(_) => format!("duration {}", short(raw)),
        Token::Mark(
            mark @ ("@" | "+" | "-" | "*" | "/" | "%" | "^" | "==" | "!=" | "<=" | "<" | ">=" | ">" | "</"
            | ">/"),
        ) => {
            format!("<op:{mark}>")
        }
        Token::Mark(mark) => format!("{mark:?}"),
        Token::Word(word) => {
            let lower = word.to_ascii_lowercase();
            let is_operator = ["and", "or", "unless", "atan2"].contains(&lower.as_str());
            let is_aggregate = AggregateOp::ALL.iter().any(|(_, name)| *name == lower);
            if is_operator {
                format!("<op:{lower}>")
            } else if is_aggregate {
                format!("<aggr:{lower}>")
            } else if ["inf", "nan"].contains(&lower.as_str()) {
                format!("number {}", short(raw))
            } else if is_keyword(&lower) || MODIFIER_WORDS.contains(&lower.as_str()) {
                format!("<{lower}>")
            } else if word.contains(':') {
                format!("metric identifier {word:?}")
            } else {
                format!("identifier {word:?}")
            }
        }
    }
}

/// Keywords that are no functions.
fn is_keyword(lower: &str) -> bool {
    const WORDS: [&str; 19] = [
        "anchored",
        "and",
        "atan2",
        "bool",
        "by",
        "fill",
        "fill_left",
        "fill_right",
        "group_left",
        "group_right",
        "ignoring",
        "inf",
        "nan",
        "offset",
        "on",
        "or",
        "smoothed",
        "unless",
        "without",
    ];
    WORDS.contains(&lower)
}

/// Keywords that are functions too.
const MODIFIER_WORDS: [&str; 6] = ["end", "max_of", "min_of", "range", "start", "step"];

/// Words that may name a label in a grouping: any but the two that are numbers and `without`.
fn is_label_word(word: &str) -> bool {
    let lower = word.to_ascii_lowercase();
    !word.contains(':') && !["inf", "nan", "without"].contains(&lower.as_str())
}

#[cfg(test)]
mod tests;
