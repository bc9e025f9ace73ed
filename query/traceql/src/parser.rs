//! Tokens to a tree, by recursive descent.
//!
//! A query is a pipeline of spansets, or ends in metrics, or computes with metrics in parentheses. Which of them it is
//! shows only at its end, so the two readings are tried one after the other. Depth and length are bounded.

mod metrics;
mod scalars;

use crate::ast::*;
use crate::check;
use crate::lexer::{ParseError, Spanned, Token, tokens};
use crate::together;
use model::{SpanKind, StatusCode};

const BYTES_MAX: usize = 128 << 10;
const DEPTH_MAX: usize = 64;
/// Operators in one query: each may be one level of the tree.
const OPERATORS_MAX: usize = 256;

type Parsed<T> = Result<T, ParseError>;

/// Parses and checks a query.
pub fn parse(text: &str) -> Parsed<Query> {
    let mut query = read(text)?;
    together::query(&mut query);
    Ok(query)
}

fn read(text: &str) -> Parsed<Query> {
    let mut parser = Parser::new(text)?;
    match parser.query(Parser::pipeline_root) {
        Ok(query) => Ok(query),
        Err(first) => {
            // Only what begins so can compute with metrics; for the others the first reading's error is the right one.
            let mut parser = Parser::new(text)?;
            let begins = |token: &Token| match token {
                Token::Punct(punct) => matches!(*punct, "(" | "-"),
                token => matches!(token, Token::Int(_) | Token::Float(_) | Token::Duration(_)),
            };
            if !begins(parser.peek()) {
                return Err(first);
            }
            let second = parser.query(Parser::metrics_root);
            second.map_err(|second| {
                if (second.line, second.column) > (first.line, first.column) { second } else { first }
            })
        }
    }
}

/// Parses one field, as `resource.service.name`, `.http.route` or `span:name`.
pub fn parse_field(text: &str) -> Parsed<Field> {
    let mut parser = Parser::new(text)?;
    let field = parser.field()?;
    match parser.peek() {
        Token::End => Ok(field),
        _ => Err(parser.unexpected("")),
    }
}

struct Parser<'a> {
    text: &'a str,
    tokens: Vec<Spanned>,
    at: usize,
    depth: usize,
    operators: usize,
}

impl<'a> Parser<'a> {
    fn new(text: &'a str) -> Parsed<Parser<'a>> {
        if text.len() > BYTES_MAX {
            let message = format!("query of {} bytes is too long, the most is {BYTES_MAX}", text.len());
            return Err(ParseError::at(text, 0, message));
        }
        Ok(Parser { text, tokens: tokens(text)?, at: 0, depth: 0, operators: 0 })
    }

    fn query(&mut self, root: fn(&mut Self) -> Parsed<Root>) -> Parsed<Query> {
        let root = root(self)?;
        let hints = self.hints()?;
        match self.peek() {
            Token::End => Ok(Query { root, hints }),
            _ if hints.is_empty() => Err(self.unexpected("with")),
            _ => Err(self.unexpected("")),
        }
    }

    // ---- tokens

    fn peek(&self) -> &Token {
        &self.tokens[self.at].token
    }

    fn peek_after(&self) -> &Token {
        &self.tokens[(self.at + 1).min(self.tokens.len() - 1)].token
    }

    fn advance(&mut self) -> Token {
        let token = self.tokens[self.at].token.clone();
        self.at = (self.at + 1).min(self.tokens.len() - 1);
        token
    }

    fn error(&self, message: impl Into<String>) -> ParseError {
        ParseError::at(self.text, self.tokens[self.at].offset, message)
    }

    fn unexpected(&self, expecting: &str) -> ParseError {
        let found = self.peek().describe();
        self.error(match expecting {
            "" => format!("syntax error: unexpected {found}"),
            _ => format!("syntax error: unexpected {found}, expecting {expecting}"),
        })
    }

    fn is(&self, punct: &str) -> bool {
        matches!(self.peek(), Token::Punct(p) if *p == punct)
    }

    fn take(&mut self, punct: &str) -> bool {
        let found = self.is(punct);
        if found {
            self.advance();
        }
        found
    }

    fn expect(&mut self, punct: &str) -> Parsed<()> {
        if self.take(punct) { Ok(()) } else { Err(self.unexpected(punct)) }
    }

    fn word(&self) -> &str {
        match self.peek() {
            Token::Word(word) => word,
            _ => "",
        }
    }

    fn enter(&mut self) -> Parsed<()> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err(self.error(format!("query is nested deeper than {DEPTH_MAX}")));
        }
        Ok(())
    }

    fn count_operator(&mut self) -> Parsed<()> {
        self.operators += 1;
        if self.operators > OPERATORS_MAX {
            return Err(self.error(format!("query has more than {OPERATORS_MAX} operators")));
        }
        Ok(())
    }

    fn checked<T>(&self, start: usize, result: Result<T, String>) -> Parsed<T> {
        result.map_err(|message| ParseError {
            of_meaning: true,
            ..ParseError::at(self.text, self.tokens[start].offset, message)
        })
    }

    fn hints(&mut self) -> Parsed<Vec<(String, Static)>> {
        if self.word() != "with" {
            return Ok(Vec::new());
        }
        self.advance();
        self.expect("(")?;
        let mut hints = Vec::new();
        loop {
            let Token::Word(name) = self.advance() else { return Err(self.unexpected("a hint's name")) };
            self.expect("=")?;
            let FieldExpr::Static(value) = self.operand()? else {
                return Err(self.unexpected("a value"));
            };
            hints.push((name, value));
            if !self.take(",") {
                break;
            }
        }
        self.expect(")")?;
        Ok(hints)
    }

    // ---- pipelines of spansets

    fn pipeline_root(&mut self) -> Parsed<Root> {
        let pipeline = self.pipeline()?;
        if !self.at_metrics() {
            return Ok(Root::Spansets(pipeline));
        }
        let metrics = self.metrics_aggregate(pipeline)?;
        self.second_stages(metrics).map(Root::Metrics)
    }

    /// `| rate(` and the like.
    fn at_metrics(&self) -> bool {
        self.is("|") && matches!(self.peek_after(), Token::Word(word) if MetricsOp::from_word(word).is_some())
    }

    /// Ends before metrics.
    fn pipeline(&mut self) -> Parsed<Pipeline> {
        self.enter()?;
        let mut elements = Vec::new();
        loop {
            let first = elements.is_empty();
            elements.push(self.element(first)?);
            if !self.is("|") || self.at_metrics() {
                break;
            }
            self.count_operator()?;
            self.advance();
        }
        self.depth -= 1;
        Ok(Pipeline { elements })
    }

    fn element(&mut self, first: bool) -> Parsed<Element> {
        let word = self.word().to_owned();
        let calls = matches!(self.peek_after(), Token::Punct("("));
        match word.as_str() {
            "" => match self.scalar_in_parentheses() {
                Some(element) => Ok(element),
                None => self.spansets(0).map(Element::Spansets),
            },
            "by" if calls => {
                let start = self.at;
                self.advance();
                self.expect("(")?;
                let expr = self.field_expr(0)?;
                self.expect(")")?;
                self.checked(start, check::by(&expr))?;
                Ok(Element::By(expr))
            }
            "coalesce" if calls && !first => {
                self.advance();
                self.expect("(")?;
                self.expect(")")?;
                Ok(Element::Coalesce)
            }
            "select" if calls => {
                self.advance();
                self.expect("(")?;
                let fields = self.fields()?;
                self.expect(")")?;
                Ok(Element::Select(fields))
            }
            word if calls && (word == "count" || Aggregate::from_word(word).is_some()) => {
                self.scalar_filter()
            }
            _ => Err(self.unexpected("{, an aggregate, by(…), select(…) or coalesce()")),
        }
    }

    fn fields(&mut self) -> Parsed<Vec<Field>> {
        let mut fields = vec![self.field()?];
        while self.take(",") {
            self.count_operator()?;
            fields.push(self.field()?);
        }
        Ok(fields)
    }

    fn field(&mut self) -> Parsed<Field> {
        let field = match self.peek() {
            Token::Attribute(scope, name) => Some(Field::Attribute { scope: *scope, name: name.clone() }),
            Token::Word(word) => Intrinsic::from_word(word).map(Field::Intrinsic),
            _ => None,
        };
        let field = field.ok_or_else(|| match self.peek() {
            Token::Word(word) if static_word(word).is_none() => {
                self.error(format!("unknown identifier: {word}"))
            }
            _ => self.unexpected("an attribute, as span.http.route, or an intrinsic, as name"),
        })?;
        self.advance();
        Ok(field)
    }

    fn compare_op(&self) -> Option<CompareOp> {
        let Token::Punct(punct) = self.peek() else { return None };
        Some(match *punct {
            "=" => CompareOp::Equal,
            "!=" => CompareOp::NotEqual,
            ">" => CompareOp::Greater,
            ">=" => CompareOp::GreaterEqual,
            "<" => CompareOp::Less,
            "<=" => CompareOp::LessEqual,
            _ => return None,
        })
    }

    fn arithmetic_op(&self) -> Option<(Arithmetic, u8)> {
        let Token::Punct(punct) = self.peek() else { return None };
        Some(match *punct {
            "+" => (Arithmetic::Add, 3),
            "-" => (Arithmetic::Sub, 3),
            "*" => (Arithmetic::Mul, 5),
            "/" => (Arithmetic::Div, 5),
            "%" => (Arithmetic::Mod, 5),
            "^" => (Arithmetic::Pow, 6),
            _ => return None,
        })
    }

    fn spansets(&mut self, level: u8) -> Parsed<SpansetExpr> {
        self.enter()?;
        let mut left = self.spanset_operand()?;
        while let Some((op, binding)) = self.spanset_op().filter(|(_, binding)| *binding >= level) {
            self.count_operator()?;
            self.advance();
            let right = self.spansets(binding + 1)?;
            left = SpansetExpr::Op { op, left: Box::new(left), right: Box::new(right) };
        }
        self.depth -= 1;
        Ok(left)
    }

    fn spanset_op(&self) -> Option<(SpansetOp, u8)> {
        let Token::Punct(punct) = self.peek() else { return None };
        match *punct {
            "&&" => return Some((SpansetOp::And, 1)),
            "||" => return Some((SpansetOp::Or, 1)),
            _ => {}
        }
        let (answers, relation) = match punct.as_bytes() {
            [b'!', ..] => (Answers::Not, &punct[1..]),
            [b'&', ..] => (Answers::Union, &punct[1..]),
            _ => (Answers::Right, *punct),
        };
        let relation = match relation {
            ">" => Relation::Child,
            "<" => Relation::Parent,
            ">>" => Relation::Descendant,
            "<<" => Relation::Ancestor,
            "~" => Relation::Sibling,
            _ => return None,
        };
        Some((SpansetOp::Structural(relation, answers), 2))
    }

    fn spanset_operand(&mut self) -> Parsed<SpansetExpr> {
        if self.take("(") {
            let pipeline = self.pipeline()?;
            self.expect(")")?;
            return Ok(pipeline.grouped());
        }
        self.filter().map(SpansetExpr::Filter)
    }

    fn filter(&mut self) -> Parsed<FieldExpr> {
        self.expect("{")?;
        if self.take("}") {
            return Ok(FieldExpr::Static(Static::Bool(true)));
        }
        let start = self.at;
        let expr = self.field_expr(0)?;
        self.expect("}")?;
        self.checked(start, check::filter(&expr))?;
        Ok(expr)
    }

    // ---- expressions over one span

    fn field_expr(&mut self, level: u8) -> Parsed<FieldExpr> {
        self.enter()?;
        let mut left = self.prefixed()?;
        loop {
            let start = self.at;
            let Token::Punct(punct) = *self.peek() else { break };
            let binding = match punct {
                "&&" | "||" => 1,
                "=" | "!=" | ">" | ">=" | "<" | "<=" | "=~" | "!~" => 2,
                _ => match self.arithmetic_op() {
                    Some((_, binding)) => binding,
                    None => break,
                },
            };
            if binding < level {
                break;
            }
            self.count_operator()?;
            let (compare, arithmetic) = (self.compare_op(), self.arithmetic_op());
            self.advance();
            let right = self.field_expr(if punct == "^" { binding } else { binding + 1 })?;
            let (a, b) = (Box::new(left), right);
            left = match (punct, compare, arithmetic) {
                ("&&", ..) => FieldExpr::And(a, Box::new(b)),
                ("||", ..) => FieldExpr::Or(a, Box::new(b)),
                (_, Some(op), _) => compared(op, *a, b),
                (_, _, Some((op, _))) => FieldExpr::Arithmetic(op, a, Box::new(b)),
                _ => self.checked(start, regex(punct == "!~", a, &b))?,
            };
        }
        self.depth -= 1;
        Ok(left)
    }

    fn prefixed(&mut self) -> Parsed<FieldExpr> {
        if self.is("!") || self.is("-") {
            let not = self.is("!");
            self.count_operator()?;
            self.advance();
            let inner = self.field_expr(5)?;
            return Ok(match (not, inner) {
                (true, inner) => FieldExpr::Not(Box::new(inner)),
                (false, FieldExpr::Static(Static::Int(number))) => FieldExpr::Static(Static::Int(-number)),
                (false, FieldExpr::Static(Static::Float(number))) => {
                    FieldExpr::Static(Static::Float(-number))
                }
                (false, FieldExpr::Static(Static::Duration(ns))) => FieldExpr::Static(Static::Duration(-ns)),
                (false, inner) => FieldExpr::Negate(Box::new(inner)),
            });
        }
        self.operand()
    }

    fn operand(&mut self) -> Parsed<FieldExpr> {
        if self.take("(") {
            let expr = self.field_expr(0)?;
            self.expect(")")?;
            return Ok(expr);
        }
        let value = match self.peek() {
            Token::Int(number) => Some(Static::Int(*number)),
            Token::Float(number) => Some(Static::Float(*number)),
            Token::Duration(ns) => Some(Static::Duration(*ns)),
            Token::Text(text) => Some(Static::Text(text.clone())),
            Token::Word(word) => static_word(word),
            _ => None,
        };
        if let Some(value) = value {
            self.advance();
            return Ok(FieldExpr::Static(value));
        }
        self.field().map(FieldExpr::Field)
    }

    // ---- metrics
}

/// Zeros at the front of a trace's id may be left out; `nil` may stand on either side.
fn compared(op: CompareOp, left: FieldExpr, right: FieldExpr) -> FieldExpr {
    let is_id = |expr: &FieldExpr| {
        matches!(expr, FieldExpr::Field(Field::Intrinsic(Intrinsic::TraceId | Intrinsic::LinkTraceId)))
    };
    let whole = |expr: FieldExpr| match expr {
        FieldExpr::Static(Static::Text(text)) if !text.is_empty() => {
            FieldExpr::Static(Static::Text(format!("{:0>32}", text.to_ascii_lowercase())))
        }
        other => other,
    };
    let (left, right) = match (is_id(&left), is_id(&right)) {
        (true, _) => (left, whole(right)),
        (_, true) => (whole(left), right),
        _ => (left, right),
    };
    let is_nil = |expr: &FieldExpr| matches!(expr, FieldExpr::Static(Static::Nil));
    let is_turned = matches!(op, CompareOp::Equal | CompareOp::NotEqual) && is_nil(&left) && !is_nil(&right);
    let (left, right) = if is_turned { (right, left) } else { (left, right) };
    FieldExpr::Compare(op, Box::new(left), Box::new(right))
}

fn static_word(word: &str) -> Option<Static> {
    Some(match word {
        "true" => Static::Bool(true),
        "false" => Static::Bool(false),
        "nil" => Static::Nil,
        "minInt" => Static::Int(i64::MIN),
        "maxInt" => Static::Int(i64::MAX),
        _ => match (StatusCode::from_word(word), SpanKind::from_word(word)) {
            (Some(status), _) => Static::Status(status),
            (_, Some(kind)) => Static::Kind(kind),
            _ => return None,
        },
    })
}

fn regex(negated: bool, value: Box<FieldExpr>, pattern: &FieldExpr) -> Result<FieldExpr, String> {
    let op = if negated { "!~" } else { "=~" };
    let FieldExpr::Static(Static::Text(text)) = pattern else {
        return Err(match pattern {
            FieldExpr::Field(_) => format!("invalid type for =~ or !~: {pattern}"),
            _ => format!("illegal operation for the given types: {value} {op} {pattern}"),
        });
    };
    let regex =
        model::regexp::compile_whole(text).map_err(|why| format!("invalid regex: {pattern}: {why}"))?;
    Ok(FieldExpr::Regex { negated, value, regex })
}

#[cfg(test)]
mod tests;
