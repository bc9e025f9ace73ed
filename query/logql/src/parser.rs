//! Tokens to a tree, by recursive descent; precedence as Loki's grammar: `or` < `and unless` < comparison < `+ -` <
//! `* / %` < `^` (from the right).
//!
//! Depth and length are bounded, so no query can overflow the stack here or in whoever walks the tree.

mod filters;
mod stages;

use crate::ast::*;
use crate::check;
use crate::ip::IpMatch;
use crate::lexer::{ParseError, Spanned, Token, is_keyword, tokens};
use crate::printer::Quoted;
use crate::units::{float_fault, parse_value};
use model::regexp::{compile, compile_whole};
use model::{Match, Matcher};

/// Longer queries are refused; Loki's own default is far below.
const BYTES_MAX: usize = 128 << 10;
/// Function calls inside one another, and parentheses that do not open at one place.
const DEPTH_MAX: usize = 64;
/// Operators, of numbers and of label filters, in one query: each may be one level of the tree.
const OPERATORS_MAX: usize = 256;
const STAGES_MAX: usize = 256;
/// Of one line filter, as of ids that somebody looks for: each may be compared with each line.
const ALTERNATIVES_MAX: usize = 2_048;
/// Of a number that is none, where no function is at fault.
const LITERAL: &str = "unable to parse literal as a float";

/// Parses and checks a query.
pub fn parse(text: &str) -> Result<Expr, ParseError> {
    let (expr, stage_faults) = read(text)?;
    stage_faults.into_iter().next().map_or(Ok(expr), Err)
}

/// A query that is to be printed and not asked: that a template, a path, an address or a regex of its stages is none does not matter, as in
/// Loki's `format_query`.
pub fn parse_to_print(text: &str) -> Result<Expr, ParseError> {
    read(text).map(|(expr, _)| expr)
}

/// The query, and what is wrong with its stages.
fn read(text: &str) -> Result<(Expr, Vec<ParseError>), ParseError> {
    // Some editors write it before everything.
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    if text.is_empty() {
        return Err(ParseError::of("syntax error: unexpected $end"));
    }
    if let Some(at) = text.find('\0') {
        return Err(before(text, at, "invalid character NUL"));
    }
    if text.len() >= BYTES_MAX {
        return Err(ParseError::of(format!("input size too long ({} > {BYTES_MAX})", text.len())));
    }
    let mut parser = Parser {
        text,
        tokens: tokens(text),
        at: 0,
        depth: 0,
        operators: 0,
        faults: vec![],
        stage_faults: vec![],
    };
    let expr = parser.expr(0)?;
    if *parser.peek() != Token::End {
        return Err(parser.unexpected(""));
    }
    let Parser { faults, stage_faults, .. } = parser;
    faults.into_iter().next().map_or(Ok((expr, stage_faults)), Err)
}

/// Told with the place before it, as Loki's reader tells a character that it does not take.
fn before(text: &str, offset: usize, message: &str) -> ParseError {
    let error = ParseError::at(text, offset, message);
    ParseError { column: error.column - 1, ..error }
}

/// A query in bytes, as it comes in a request.
///
/// # Errors
/// What Loki says of bytes that are no text.
pub fn text_of(bytes: &[u8]) -> Result<&str, ParseError> {
    std::str::from_utf8(bytes).map_err(|wrong| {
        let text = String::from_utf8_lossy(&bytes[..wrong.valid_up_to()]);
        before(&text, text.len(), "invalid UTF-8 encoding")
    })
}

/// A backslash that ends a pattern has nothing to escape; it stands for itself, as dashboards in the wild write it.
fn closed_escape(pattern: &str) -> String {
    let open = pattern.bytes().rev().take_while(|b| *b == b'\\').count() % 2 == 1;
    format!("{pattern}{}", if open { "\\" } else { "" })
}

/// What Loki's grammar calls a word before a parenthesis, where it is a function.
fn function_token(word: &str) -> Option<String> {
    let word = word.to_ascii_lowercase();
    match word.as_str() {
        "ip" | "label_replace" => Some(word),
        "vector" => Some("VECTOR".to_owned()),
        "bytes" | "duration" | "duration_seconds" => Some(format!("{}_CONV", word.to_uppercase())),
        _ if RangeOp::from_word(&word).is_some() || VectorOp::from_word(&word).is_some() => {
            Some(word.to_uppercase())
        }
        _ => None,
    }
}

/// Loki names the types of its tree.
fn not_a_number(side: &str, op: BinaryOp, log: &LogExpr) -> String {
    let kind = if log.stages.is_empty() { "*syntax.MatchersExpr" } else { "*syntax.PipelineExpr" };
    format!("unexpected type for {side} leg of binary operation ({}): {kind}", op.as_str())
}

fn each_once(written: &[String]) -> Vec<String> {
    let mut labels = written.to_vec();
    labels.sort_unstable();
    labels.dedup();
    labels
}

fn checked_matcher(name: String, op: Match, value: String) -> Parsed<Matcher> {
    Matcher::new(name, op, value).map_err(|why| ParseError::of(why.to_string()))
}

fn no_address(text: &str) -> String {
    format!("ip: invalid pattern: {}", Quoted(text))
}

struct Parser<'a> {
    text: &'a str,
    tokens: Vec<Spanned>,
    at: usize,
    depth: usize,
    operators: usize,
    /// What reads and does not hold, in the order in which it is told. It is told where all of the query reads.
    faults: Vec<ParseError>,
    /// What is told after those. Of a line filter that was read just now it is only why.
    stage_faults: Vec<ParseError>,
}

type Parsed<T> = Result<T, ParseError>;

impl Parser<'_> {
    fn peek(&self) -> &Token {
        &self.tokens[self.at].token
    }

    fn peek_after(&self) -> &Token {
        &self.tokens[(self.at + 1).min(self.tokens.len() - 1)].token
    }

    fn advance(&mut self) -> Token {
        let token = self.tokens[self.at].token.clone();
        if self.at + 1 < self.tokens.len() {
            self.at += 1;
        }
        token
    }

    fn error(&self, message: impl Into<String>) -> ParseError {
        let token = &self.tokens[self.at];
        if let Token::Fault(why) = &token.token {
            return why.clone();
        }
        let error = ParseError::at(self.text, token.offset, message);
        if token.line_is_known() { error } else { ParseError { line: 0, ..error } }
    }

    /// A fault of an expression that began when there were so many faults: it stands for all that are within.
    fn fault(&mut self, before: usize, message: String) {
        self.faults.truncate(before);
        self.faults.push(ParseError::of(message));
    }

    /// Whether a name is one of a function, as it stands before a parenthesis or a grouping.
    fn function_ahead(&self) -> Option<String> {
        self.function_at(self.at)
    }

    fn function_at(&self, at: usize) -> Option<String> {
        let token = |at: usize| self.tokens.get(at).map(|spanned| &spanned.token);
        let Some(Token::Ident(word)) = token(at) else { return None };
        let is_called = match token(at + 1) {
            Some(Token::Punct("(")) => true,
            Some(Token::Ident(next)) => {
                let after = token(at + 2);
                (next.eq_ignore_ascii_case("by") || next.eq_ignore_ascii_case("without"))
                    && after == Some(&Token::Punct("("))
            }
            _ => false,
        };
        function_token(word).filter(|_| is_called)
    }

    fn unexpected(&self, expecting: &str) -> ParseError {
        let found = self.function_ahead().unwrap_or_else(|| self.peek().describe());
        self.error(if expecting.is_empty() {
            format!("syntax error: unexpected {found}")
        } else {
            format!("syntax error: unexpected {found}, expecting {expecting}")
        })
    }

    fn is(&self, punct: &str) -> bool {
        matches!(self.peek(), Token::Punct(p) if *p == punct)
    }

    fn is_word(&self, word: &str) -> bool {
        matches!(self.peek(), Token::Ident(w) if w.eq_ignore_ascii_case(word))
    }

    fn take(&mut self, punct: &str) -> bool {
        let found = self.is(punct);
        if found {
            self.advance();
        }
        found
    }

    fn take_word(&mut self, word: &str) -> bool {
        let found = self.is_word(word);
        if found {
            self.advance();
        }
        found
    }

    fn expect(&mut self, punct: &str) -> Parsed<()> {
        if self.take(punct) { Ok(()) } else { Err(self.unexpected(punct)) }
    }

    fn at_name(&self) -> bool {
        matches!(self.peek(), Token::Ident(word) if !is_keyword(word)) && self.function_ahead().is_none()
    }

    fn ident(&mut self) -> Parsed<String> {
        self.ident_or("IDENTIFIER")
    }

    fn ident_or(&mut self, expecting: &str) -> Parsed<String> {
        match self.peek().clone() {
            Token::Ident(word) if self.at_name() => {
                self.advance();
                Ok(word)
            }
            _ => Err(self.unexpected(expecting)),
        }
    }

    fn string(&mut self) -> Parsed<String> {
        match self.peek().clone() {
            Token::Text(text) => {
                self.advance();
                Ok(text)
            }
            _ => Err(self.unexpected("STRING")),
        }
    }

    /// The number here. One that is none to Go's `ParseFloat` reads and does not hold, which is told behind `why`.
    fn number(&mut self, why: &str) -> Parsed<f64> {
        let Token::Number(text) = self.peek().clone() else { return Err(self.unexpected("NUMBER")) };
        self.advance();
        let number = parse_value(&text);
        if number.is_none() {
            self.faults.push(ParseError::of(format!("{why}: {}", float_fault(&text))));
        }
        Ok(number.unwrap_or_default())
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

    // ---- expressions

    fn expr(&mut self, level: u8) -> Parsed<Expr> {
        self.enter()?;
        let expr = self.operations(level)?;
        self.depth -= 1;
        Ok(expr)
    }

    /// What gives numbers. Lines read here as well, up to what follows them.
    fn metric(&mut self) -> Parsed<MetricExpr> {
        match self.expr(0)? {
            Expr::Metric(metric) => Ok(metric),
            Expr::Log(_) => Err(self.unexpected("")),
        }
    }

    fn operations(&mut self, level: u8) -> Parsed<Expr> {
        let before = self.faults.len();
        let left = self.operand()?;
        self.operations_after(left, before, level)
    }

    /// What follows an operand; `before` is how many faults there were when it began.
    fn operations_after(&mut self, mut left: Expr, before: usize, level: u8) -> Parsed<Expr> {
        while let Some(op) = self.binary_op() {
            let binding = op.binding();
            if binding < level {
                break;
            }
            self.count_operator()?;
            self.advance();
            let (returns_bool, matching) = self.modifiers()?;
            // `^` binds to the right; the others to the left.
            let right = self.expr(if op == BinaryOp::Pow { binding } else { binding + 1 })?;
            let both = match (left, right) {
                (Expr::Log(log), _) => Err(not_a_number("left", op, &log)),
                (_, Expr::Log(log)) => Err(not_a_number("right", op, &log)),
                (Expr::Metric(left), Expr::Metric(right)) => {
                    check::binary(op, returns_bool, matching, left, right)
                }
            };
            left = Expr::Metric(both.unwrap_or_else(|why| {
                self.fault(before, why);
                MetricExpr::Constant(0.0)
            }));
        }
        Ok(left)
    }

    fn binary_op(&self) -> Option<BinaryOp> {
        Some(match self.peek() {
            Token::Ident(word) => match word.to_ascii_lowercase().as_str() {
                "or" => BinaryOp::Or,
                "and" => BinaryOp::And,
                "unless" => BinaryOp::Unless,
                _ => return None,
            },
            Token::Punct(punct) => match *punct {
                "==" => BinaryOp::Compare(Compare::Equal),
                "!=" => BinaryOp::Compare(Compare::NotEqual),
                ">" => BinaryOp::Compare(Compare::Greater),
                ">=" => BinaryOp::Compare(Compare::GreaterEqual),
                "<" => BinaryOp::Compare(Compare::Less),
                "<=" => BinaryOp::Compare(Compare::LessEqual),
                "+" => BinaryOp::Add,
                "-" => BinaryOp::Sub,
                "*" => BinaryOp::Mul,
                "/" => BinaryOp::Div,
                "%" => BinaryOp::Mod,
                "^" => BinaryOp::Pow,
                _ => return None,
            },
            _ => return None,
        })
    }

    fn modifiers(&mut self) -> Parsed<(bool, Matching)> {
        let returns_bool = self.take_word("bool");
        let mut matching = Matching::default();
        if self.is_word("on") || self.is_word("ignoring") {
            matching.on = self.is_word("on");
            self.advance();
            matching.written = self.label_list()?;
            matching.labels = each_once(&matching.written);
            if self.is_word("group_left") || self.is_word("group_right") {
                matching.cardinality = match self.is_word("group_left") {
                    true => Cardinality::ManyToOne,
                    false => Cardinality::OneToMany,
                };
                self.advance();
                // `group_left (rate(…) + 1)` has an operand, not a list, as it is printed here and by Loki, which does not read it.
                if self.is("(") && self.list_follows() {
                    matching.include = self.label_list()?;
                }
            }
        }
        Ok((returns_bool, matching))
    }

    fn list_follows(&self) -> bool {
        let begins_operand =
            matches!(self.peek_after(), Token::Number(_) | Token::Punct("(" | "{" | "+" | "-"));
        !begins_operand && self.function_at(self.at + 1).is_none()
    }

    fn label_list(&mut self) -> Parsed<Vec<String>> {
        self.expect("(")?;
        let mut labels = Vec::new();
        if !self.is(")") {
            labels.push(self.ident_or("IDENTIFIER or )")?);
            while self.take(",") {
                labels.push(self.ident()?);
            }
        }
        if !self.take(")") {
            return Err(self.unexpected(", or )"));
        }
        Ok(labels)
    }

    fn operand(&mut self) -> Parsed<Expr> {
        let number = match self.peek().clone() {
            Token::Number(_) => self.number(LITERAL).map(MetricExpr::Literal),
            Token::Punct(sign @ ("-" | "+")) => {
                self.advance();
                let number = self.number(LITERAL)?;
                Ok(MetricExpr::Literal(if sign == "-" { -number } else { number }))
            }
            Token::Punct("(") => return self.enclosed(),
            Token::Punct("{") => return self.log_expr().map(Expr::Log),
            Token::Ident(word) if word.eq_ignore_ascii_case("variants") => self.variants(),
            Token::Ident(word) => self.function(&word),
            _ => Err(self.unexpected("")),
        };
        number.map(Expr::Metric)
    }

    /// Parentheses that open at one place are counted, not entered one by one: programs write any number of them.
    fn enclosed(&mut self) -> Parsed<Expr> {
        let (before, mut open) = (self.faults.len(), 0usize);
        while self.take("(") {
            open += 1;
        }
        let mut expr = self.expr(0)?;
        loop {
            if !self.take(")") {
                return Err(self.unexpected(""));
            }
            open -= 1;
            if open == 0 {
                return Ok(expr);
            }
            expr = self.operations_after(expr, before, 0)?;
        }
    }

    /// `variants(…, …) of ({…}[5m])` reads, and is not answered, as in a Loki whose limits nobody changed.
    fn variants(&mut self) -> Parsed<MetricExpr> {
        self.advance();
        self.expect("(")?;
        self.metric()?;
        while self.take(",") {
            self.metric()?;
        }
        if !self.take(")") {
            return Err(self.unexpected(""));
        }
        if !self.take_word("of") {
            return Err(self.unexpected("of"));
        }
        self.expect("(")?;
        self.log_range()?;
        self.expect(")")?;
        self.faults.push(ParseError::unanswered("multi variant queries are disabled for this instance"));
        Ok(MetricExpr::Constant(0.0))
    }

    fn function(&mut self, word: &str) -> Parsed<MetricExpr> {
        if self.function_ahead().is_none() {
            return Err(self.unexpected(""));
        }
        let word = word.to_ascii_lowercase();
        if word == "vector" {
            self.advance();
            self.expect("(")?;
            let value = self.number("unable to parse vectorExpr as a float")?;
            self.expect(")")?;
            return Ok(MetricExpr::Constant(value));
        }
        if word == "label_replace" {
            self.advance();
            return self.label_replace();
        }
        if let Some(op) = RangeOp::from_word(&word) {
            self.advance();
            return self.range_aggregation(op);
        }
        if let Some(op) = VectorOp::from_word(&word) {
            self.advance();
            return self.vector_aggregation(op);
        }
        Err(self.unexpected(""))
    }

    fn label_replace(&mut self) -> Parsed<MetricExpr> {
        let before = self.faults.len();
        self.expect("(")?;
        let expr = self.metric()?;
        if !self.take(",") {
            return Err(self.unexpected(""));
        }
        let to = self.string()?;
        self.expect(",")?;
        let replacement = self.string()?;
        self.expect(",")?;
        let from = self.string()?;
        self.expect(",")?;
        let regex_text = self.string()?;
        self.expect(")")?;
        let regex = match compile_whole(&regex_text) {
            Ok(regex) => regex,
            Err(why) => {
                // Loki's words are of what it makes of it.
                let why = compile(&format!("^(?:{regex_text})$")).err().unwrap_or(why);
                self.fault(before, format!("invalid regex in label_replace: {why}"));
                return Ok(MetricExpr::Constant(0.0));
            }
        };
        Ok(MetricExpr::LabelReplace(Box::new(LabelReplace {
            expr,
            to,
            replacement,
            from,
            regex,
            regex_text,
        })))
    }

    fn range_aggregation(&mut self, op: RangeOp) -> Parsed<MetricExpr> {
        let before = self.faults.len();
        self.expect("(")?;
        let (mut param, mut written) = (None, None);
        if let Token::Number(text) = self.peek().clone() {
            param = Some(self.number(&format!("invalid parameter for operation {}", op.as_str()))?);
            written = Some(text);
            self.expect(",")?;
        } else if !matches!(self.peek(), Token::Punct("{" | "(")) {
            return Err(self.unexpected("NUMBER or { or ("));
        }
        let range = self.log_range()?;
        self.expect(")")?;
        let grouping = self.grouping()?;
        if let Err(why) = check::range_aggregation(op, written.as_deref(), &range, grouping.as_ref()) {
            self.fault(before, why);
        }
        Ok(MetricExpr::Range { op, param, range: Box::new(range), grouping })
    }

    fn grouping(&mut self) -> Parsed<Option<Grouping>> {
        let without = self.is_word("without");
        if !without && !self.is_word("by") {
            return Ok(None);
        }
        self.advance();
        let written = self.label_list()?;
        Ok(Some(Grouping { without, labels: each_once(&written), written }))
    }

    fn vector_aggregation(&mut self, op: VectorOp) -> Parsed<MetricExpr> {
        let before = self.faults.len();
        let mut grouping = self.grouping()?;
        self.expect("(")?;
        let mut param = None;
        if let (Token::Number(text), Token::Punct(",")) = (self.peek(), self.peek_after()) {
            param = Some(text.clone());
            self.advance();
            self.advance();
        }
        let expr = self.metric()?;
        if !self.take(")") {
            return Err(self.unexpected(""));
        }
        if grouping.is_none() {
            grouping = self.grouping()?;
        }
        let param = match check::vector_aggregation(op, param.as_deref(), grouping.as_ref(), &expr) {
            Ok(param) => param,
            Err(why) => {
                self.fault(before, why);
                None
            }
        };
        Ok(MetricExpr::Vector { op, param, expr: Box::new(expr), grouping })
    }

    // ---- logs

    fn log_expr(&mut self) -> Parsed<LogExpr> {
        let matchers = self.selector()?;
        let stages = self.stages()?;
        if self.at_unwrap() {
            self.advance();
            return Err(self.unexpected(""));
        }
        Ok(LogExpr { matchers, stages })
    }

    fn at_stage(&self) -> bool {
        matches!(self.peek(), Token::Punct("|" | "|=" | "|~" | "|>" | "!=" | "!~" | "!>"))
    }

    fn at_unwrap(&self) -> bool {
        self.is("|") && matches!(self.peek_after(), Token::Ident(word) if word.eq_ignore_ascii_case("unwrap"))
    }

    /// The range stands behind the selector, the stages or `unwrap`, and parentheses around what stands before it or around all
    /// of it.
    fn log_range(&mut self) -> Parsed<LogRange> {
        self.enter()?;
        let range = if self.take("(") { self.enclosed_range() } else { self.bare_range() }?;
        self.depth -= 1;
        Ok(range)
    }

    /// Stages and `unwrap` may stand behind the range, where none stand before it.
    fn bare_range(&mut self) -> Parsed<LogRange> {
        let (log, unwrap) = self.lines_to_count()?;
        let Some((range_ns, offset_ns)) = self.window()? else {
            return Err(self.unexpected(if unwrap.is_some() { "RANGE or |" } else { "" }));
        };
        let mut range = LogRange { log, unwrap, range_ns, offset_ns };
        if range.log.stages.is_empty() && range.unwrap.is_none() {
            range.log.stages = self.stages()?;
            range.unwrap = self.unwrap()?;
        }
        Ok(range)
    }

    /// Behind an opening parenthesis. Where that closes before the range, none but `unwrap` may stand behind the range.
    fn enclosed_range(&mut self) -> Parsed<LogRange> {
        if self.is("(") {
            let range = self.log_range()?;
            self.expect(")")?;
            return Ok(range);
        }
        let (log, unwrap) = self.lines_to_count()?;
        let is_bare = log.stages.is_empty() && unwrap.is_none();
        let expecting = if unwrap.is_some() { "RANGE or ) or |" } else { "" };
        let mut range = LogRange { log, unwrap, range_ns: 0, offset_ns: 0 };
        if let Some((range_ns, offset_ns)) = self.window()? {
            (range.range_ns, range.offset_ns) = (range_ns, offset_ns);
            if is_bare {
                range.log.stages = self.stages()?;
                range.unwrap = self.unwrap()?;
            }
            self.expect(")")?;
            return Ok(range);
        }
        if !self.take(")") {
            return Err(self.unexpected(expecting));
        }
        let window = self.window()?;
        (range.range_ns, range.offset_ns) = window.ok_or_else(|| self.unexpected("RANGE"))?;
        if is_bare && self.is("|") {
            if !self.at_unwrap() {
                self.advance();
                return Err(self.unexpected("unwrap"));
            }
            range.unwrap = self.unwrap()?;
        }
        Ok(range)
    }

    fn lines_to_count(&mut self) -> Parsed<(LogExpr, Option<Unwrap>)> {
        if !self.is("{") {
            return Err(self.unexpected("{ or ("));
        }
        let log = LogExpr { matchers: self.selector()?, stages: self.stages()? };
        Ok((log, self.unwrap()?))
    }

    /// The range that is here, and its offset.
    fn window(&mut self) -> Parsed<Option<(i64, i64)>> {
        let Token::Range(range_ns) = *self.peek() else { return Ok(None) };
        self.advance();
        Ok(Some((range_ns, self.offset()?)))
    }

    fn offset(&mut self) -> Parsed<i64> {
        if !self.take_word("offset") {
            return Ok(0);
        }
        match *self.peek() {
            Token::Duration(ns) => {
                self.advance();
                Ok(ns)
            }
            _ => Err(self.unexpected("DURATION")),
        }
    }

    /// What is unwrapped here, if it is.
    fn unwrap(&mut self) -> Parsed<Option<Unwrap>> {
        if !self.at_unwrap() {
            return Ok(None);
        }
        self.advance();
        self.advance();
        let conversion = match self.function_ahead().as_deref() {
            Some("BYTES_CONV") => Conversion::Bytes,
            Some("DURATION_CONV") => Conversion::Duration,
            Some("DURATION_SECONDS_CONV") => Conversion::DurationSeconds,
            _ => Conversion::Number,
        };
        let label = match conversion {
            Conversion::Number => {
                self.ident_or("IDENTIFIER or BYTES_CONV or DURATION_CONV or DURATION_SECONDS_CONV")?
            }
            _ => {
                self.advance();
                self.expect("(")?;
                let label = self.ident()?;
                self.expect(")")?;
                label
            }
        };
        let mut filters = Vec::new();
        while self.take("|") {
            filters.push(self.label_filter("IDENTIFIER or (")?);
        }
        Ok(Some(Unwrap { label, conversion, filters }))
    }

    fn selector(&mut self) -> Parsed<Vec<Matcher>> {
        self.expect("{")?;
        let mut matchers = Vec::new();
        if !self.is("}") {
            if !self.at_name() {
                return Err(self.unexpected("IDENTIFIER or }"));
            }
            matchers.push(self.matcher()?);
            while self.take(",") {
                matchers.push(self.matcher()?);
            }
        }
        if !self.take("}") {
            return Err(self.unexpected("} or ,"));
        }
        if let Err(why) = check::selector(&matchers) {
            self.faults.push(ParseError::of(why));
        }
        Ok(matchers)
    }

    fn matcher(&mut self) -> Parsed<Matcher> {
        let name = self.ident()?;
        let op = match self.peek() {
            Token::Punct("=") => Match::Equal,
            Token::Punct("!=") => Match::NotEqual,
            Token::Punct("=~") => Match::Regex,
            Token::Punct("!~") => Match::NotRegex,
            _ => return Err(self.unexpected("= or =~ or !~ or !=")),
        };
        self.advance();
        let value = self.string()?;
        checked_matcher(name, op, value)
    }
}

#[cfg(test)]
mod tests;
