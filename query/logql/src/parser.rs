//! Tokens to a tree, by recursive descent; precedence as Loki's grammar: `or` < `and unless` < comparison < `+ -` <
//! `* / %` < `^` (from the right).
//!
//! Depth and length are bounded, so no query can overflow the stack here or in whoever walks the tree.

use crate::ast::*;
use crate::check;
use crate::ip::IpMatch;
use crate::lexer::{ParseError, Spanned, Token, tokens};
use crate::pipeline::json::parse_path;
use crate::pipeline::pattern::LinePattern;
use crate::template::Template;
use model::Regexp;
use model::regexp::compile_whole;
use model::{Match, Matcher};

/// Longer queries are refused; Loki's own default is far below.
const BYTES_MAX: usize = 128 << 10;
/// Parentheses and function calls inside one another.
const DEPTH_MAX: usize = 64;
/// Operators, of numbers and of label filters, in one query: each may be one level of the tree.
const OPERATORS_MAX: usize = 256;
const STAGES_MAX: usize = 256;

/// Parses and checks a query.
pub fn parse(text: &str) -> Result<Expr, ParseError> {
    if text.len() > BYTES_MAX {
        return Err(ParseError::at_start(format!(
            "query of {} bytes is too long, the most is {BYTES_MAX}",
            text.len()
        )));
    }
    let mut parser = Parser { text, tokens: tokens(text)?, at: 0, depth: 0, operators: 0 };
    let expr = parser.expr()?;
    match parser.peek() {
        Token::End => Ok(expr),
        _ => Err(parser.unexpected("")),
    }
}

/// A backslash that ends a pattern has nothing to escape; it stands for itself, as dashboards in the wild write it.
fn closed_escape(pattern: &str) -> String {
    let open = pattern.bytes().rev().take_while(|b| *b == b'\\').count() % 2 == 1;
    format!("{pattern}{}", if open { "\\" } else { "" })
}

fn is_function(word: &str) -> bool {
    word == "ip" || RangeOp::from_word(word).is_some() || VectorOp::from_word(word).is_some()
}

/// Loki names the types of its tree.
fn not_a_number(side: &str, op: BinaryOp, log: &LogExpr) -> String {
    let kind = if log.stages.is_empty() { "*syntax.MatchersExpr" } else { "*syntax.PipelineExpr" };
    format!("unexpected type for {side} leg of binary operation ({}): {kind}", op.as_str())
}

struct Parser<'a> {
    text: &'a str,
    tokens: Vec<Spanned>,
    at: usize,
    depth: usize,
    operators: usize,
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
        ParseError::at(self.text, self.tokens[self.at].offset, message)
    }

    fn unexpected(&self, expecting: &str) -> ParseError {
        let found = match (self.peek(), self.peek_after()) {
            (Token::Ident(word), Token::Punct("(")) if is_function(word) => word.clone(),
            (found, _) => found.describe(),
        };
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

    fn ident(&mut self) -> Parsed<String> {
        match self.peek() {
            Token::Ident(_) => match self.advance() {
                Token::Ident(word) => Ok(word),
                _ => Err(self.unexpected("IDENTIFIER")),
            },
            _ => Err(self.unexpected("IDENTIFIER")),
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

    fn expr(&mut self) -> Parsed<Expr> {
        if self.starts_log() {
            let log = self.log_expr()?;
            return match self.binary_op() {
                Some((op, _)) => Err(self.error(not_a_number("left", op, &log))),
                None if *self.peek() == Token::End => Ok(Expr::Log(log)),
                None => Err(self.unexpected("")),
            };
        }
        self.metric(0).map(Expr::Metric)
    }

    /// A stream selector after any number of opening parentheses.
    fn starts_log(&self) -> bool {
        let first = self.tokens[self.at..].iter().find(|t| t.token != Token::Punct("("));
        first.is_some_and(|t| t.token == Token::Punct("{"))
    }

    fn metric(&mut self, level: u8) -> Parsed<MetricExpr> {
        self.enter()?;
        let expr = self.metric_inner(level);
        self.depth -= 1;
        expr
    }

    fn metric_inner(&mut self, level: u8) -> Parsed<MetricExpr> {
        let mut left = self.operand()?;
        while let Some((op, binding)) = self.binary_op() {
            if binding < level {
                break;
            }
            self.count_operator()?;
            let at = self.at;
            self.advance();
            let (returns_bool, matching) = self.modifiers(op)?;
            if self.is("{") {
                let start = self.tokens[self.at].offset;
                let why = not_a_number("right", op, &self.log_expr()?);
                return Err(ParseError::at(self.text, start, why));
            }
            // `^` binds to the right; the others to the left.
            let right = self.metric(if op == BinaryOp::Pow { binding } else { binding + 1 })?;
            left = check::binary(op, returns_bool, matching, left, right)
                .map_err(|message| ParseError::at(self.text, self.tokens[at].offset, message))?;
        }
        Ok(left)
    }

    fn binary_op(&self) -> Option<(BinaryOp, u8)> {
        Some(match self.peek() {
            Token::Ident(word) => match word.to_ascii_lowercase().as_str() {
                "or" => (BinaryOp::Or, 1),
                "and" => (BinaryOp::And, 2),
                "unless" => (BinaryOp::Unless, 2),
                _ => return None,
            },
            Token::Punct(punct) => match *punct {
                "==" => (BinaryOp::Compare(Compare::Equal), 3),
                "!=" => (BinaryOp::Compare(Compare::NotEqual), 3),
                ">" => (BinaryOp::Compare(Compare::Greater), 3),
                ">=" => (BinaryOp::Compare(Compare::GreaterEqual), 3),
                "<" => (BinaryOp::Compare(Compare::Less), 3),
                "<=" => (BinaryOp::Compare(Compare::LessEqual), 3),
                "+" => (BinaryOp::Add, 4),
                "-" => (BinaryOp::Sub, 4),
                "*" => (BinaryOp::Mul, 5),
                "/" => (BinaryOp::Div, 5),
                "%" => (BinaryOp::Mod, 5),
                "^" => (BinaryOp::Pow, 6),
                _ => return None,
            },
            _ => return None,
        })
    }

    fn modifiers(&mut self, op: BinaryOp) -> Parsed<(bool, Matching)> {
        let returns_bool = self.take_word("bool");
        if returns_bool && !matches!(op, BinaryOp::Compare(_)) {
            return Err(
                self.error(format!("unexpected bool modifier on {}: only comparisons take it", op.as_str()))
            );
        }
        let mut matching = Matching::default();
        if self.is_word("on") || self.is_word("ignoring") {
            matching.on = self.is_word("on");
            self.advance();
            matching.labels = self.label_list()?;
            if self.is_word("group_left") || self.is_word("group_right") {
                if op.is_set() {
                    return Err(self.error(format!("no grouping allowed for {:?} operation", op.as_str())));
                }
                matching.cardinality = match self.is_word("group_left") {
                    true => Cardinality::ManyToOne,
                    false => Cardinality::OneToMany,
                };
                self.advance();
                // `group_left (a + b)` is an operand, not a list; a list holds names and commas alone.
                if self.is("(") && self.list_follows() {
                    matching.include = self.label_list()?;
                }
            }
        }
        Ok((returns_bool, matching))
    }

    fn list_follows(&self) -> bool {
        let mut rest = self.tokens[self.at + 1..].iter().map(|t| &t.token);
        rest.find(|t| !matches!(t, Token::Ident(_) | Token::Punct(","))) == Some(&Token::Punct(")"))
    }

    fn label_list(&mut self) -> Parsed<Vec<String>> {
        self.expect("(")?;
        let mut labels = Vec::new();
        if !self.is(")") {
            loop {
                labels.push(self.ident()?);
                if !self.take(",") {
                    break;
                }
            }
        }
        self.expect(")")?;
        labels.sort_unstable();
        labels.dedup();
        Ok(labels)
    }

    fn operand(&mut self) -> Parsed<MetricExpr> {
        match self.peek().clone() {
            Token::Number(number) => {
                self.advance();
                Ok(MetricExpr::Literal(number))
            }
            Token::Punct(sign @ ("-" | "+")) => {
                self.advance();
                match *self.peek() {
                    Token::Number(number) => {
                        self.advance();
                        Ok(MetricExpr::Literal(if sign == "-" { -number } else { number }))
                    }
                    _ => Err(self.unexpected("NUMBER")),
                }
            }
            Token::Punct("(") => {
                self.advance();
                let expr = self.metric(0)?;
                self.expect(")")?;
                Ok(expr)
            }
            Token::Ident(word) => self.function(&word),
            Token::Punct("{") => Err(self.lines_for_a_number()?),
            _ => Err(self.unexpected("")),
        }
    }

    /// A stream selector stands where a number is wanted: as Loki's grammar has it, what follows is too much.
    fn lines_for_a_number(&mut self) -> Parsed<ParseError> {
        self.log_expr()?;
        Ok(self.unexpected(""))
    }

    fn function(&mut self, word: &str) -> Parsed<MetricExpr> {
        let start = self.tokens[self.at].offset;
        let refuse = |text: &str, message: String| ParseError::at(text, start, message);
        if word == "vector" {
            self.advance();
            self.expect("(")?;
            if !matches!(self.peek(), Token::Number(_) | Token::Punct("-" | "+")) {
                return Err(self.unexpected("NUMBER"));
            }
            let MetricExpr::Literal(value) = self.operand()? else {
                return Err(refuse(self.text, "vector takes a number".into()));
            };
            self.expect(")")?;
            return Ok(MetricExpr::Constant(value));
        }
        if word == "label_replace" {
            self.advance();
            return self.label_replace();
        }
        if let Some(op) = RangeOp::from_word(word) {
            self.advance();
            return self.range_aggregation(op, start);
        }
        if let Some(op) = VectorOp::from_word(word) {
            self.advance();
            return self.vector_aggregation(op, start);
        }
        Err(self.unexpected(""))
    }

    fn label_replace(&mut self) -> Parsed<MetricExpr> {
        self.expect("(")?;
        let expr = self.metric(0)?;
        self.expect(",")?;
        let to = self.string()?;
        self.expect(",")?;
        let replacement = self.string()?;
        self.expect(",")?;
        let from = self.string()?;
        self.expect(",")?;
        let at = self.tokens[self.at].offset;
        let regex_text = self.string()?;
        let regex = compile_whole(&regex_text)
            .map_err(|why| ParseError::at(self.text, at, format!("invalid regex in label_replace: {why}")))?;
        self.expect(")")?;
        Ok(MetricExpr::LabelReplace(Box::new(LabelReplace {
            expr,
            to,
            replacement,
            from,
            regex,
            regex_text,
        })))
    }

    fn range_aggregation(&mut self, op: RangeOp, start: usize) -> Parsed<MetricExpr> {
        self.expect("(")?;
        let param = match *self.peek() {
            Token::Number(number) => {
                self.advance();
                self.expect(",")?;
                Some(number)
            }
            _ => None,
        };
        let range = self.log_range()?;
        self.expect(")")?;
        let grouping = self.grouping()?;
        check::range_aggregation(op, param, &range, grouping.as_ref())
            .map_err(|message| ParseError::at(self.text, start, message))?;
        Ok(MetricExpr::Range { op, param, range: Box::new(range), grouping })
    }

    fn grouping(&mut self) -> Parsed<Option<Grouping>> {
        let without = self.is_word("without");
        if !without && !self.is_word("by") {
            return Ok(None);
        }
        self.advance();
        Ok(Some(Grouping { without, labels: self.label_list()? }))
    }

    fn vector_aggregation(&mut self, op: VectorOp, start: usize) -> Parsed<MetricExpr> {
        let mut grouping = self.grouping()?;
        self.expect("(")?;
        let mut param = None;
        if let (Token::Number(number), Token::Punct(",")) = (self.peek().clone(), self.peek_after()) {
            self.advance();
            self.advance();
            param = Some(number);
        }
        let expr = self.metric(0)?;
        self.expect(")")?;
        if grouping.is_none() {
            grouping = self.grouping()?;
        }
        let param = check::vector_aggregation(op, param, grouping.as_ref(), &expr)
            .map_err(|message| ParseError::at(self.text, start, message))?;
        Ok(MetricExpr::Vector { op, param, expr: Box::new(expr), grouping })
    }

    // ---- logs

    fn log_expr(&mut self) -> Parsed<LogExpr> {
        self.enter()?;
        let mut log = if self.take("(") {
            let log = self.log_expr()?;
            self.expect(")")?;
            log
        } else {
            LogExpr { matchers: self.selector()?, stages: Vec::new() }
        };
        while self.at_stage() && !self.at_unwrap() {
            self.stage(&mut log.stages)?;
        }
        self.depth -= 1;
        Ok(log)
    }

    fn at_stage(&self) -> bool {
        matches!(self.peek(), Token::Punct("|" | "|=" | "|~" | "|>" | "!=" | "!~" | "!>"))
    }

    fn at_unwrap(&self) -> bool {
        self.is("|") && matches!(self.peek_after(), Token::Ident(word) if word == "unwrap")
    }

    /// The range may stand after the selector, after the stages or after `unwrap`, and parentheses around any of it.
    fn log_range(&mut self) -> Parsed<LogRange> {
        let (log, unwrap, window) = self.log_range_parts()?;
        let Some((range_ns, offset_ns)) = window else {
            return Err(self.unexpected("RANGE, as [5m]"));
        };
        Ok(LogRange { log, unwrap, range_ns, offset_ns })
    }

    #[allow(clippy::type_complexity)]
    fn log_range_parts(&mut self) -> Parsed<(LogExpr, Option<Unwrap>, Option<(i64, i64)>)> {
        self.enter()?;
        let (mut log, mut unwrap, mut window) = if self.take("(") {
            let parts = self.log_range_parts()?;
            self.expect(")")?;
            parts
        } else {
            (LogExpr { matchers: self.selector()?, stages: Vec::new() }, None, None)
        };
        loop {
            if let Token::Range(range_ns) = *self.peek() {
                if window.is_some() {
                    return Err(self.unexpected(""));
                }
                self.advance();
                window = Some((range_ns, self.offset()?));
            } else if self.at_unwrap() {
                if unwrap.is_some() {
                    return Err(self.unexpected("one unwrap"));
                }
                unwrap = Some(self.unwrap()?);
            } else if self.at_stage() {
                if unwrap.is_some() {
                    return Err(self.error("only label filters may follow unwrap"));
                }
                self.stage(&mut log.stages)?;
            } else {
                break;
            }
        }
        self.depth -= 1;
        Ok((log, unwrap, window))
    }

    fn offset(&mut self) -> Parsed<i64> {
        if !self.take_word("offset") {
            return Ok(0);
        }
        let negative = self.take("-");
        match *self.peek() {
            Token::Duration(ns) => {
                self.advance();
                Ok(if negative { -ns } else { ns })
            }
            _ => Err(self.unexpected("DURATION")),
        }
    }

    fn unwrap(&mut self) -> Parsed<Unwrap> {
        self.advance();
        self.advance();
        let word = self.ident()?;
        let conversion = match (word.as_str(), self.is("(")) {
            ("bytes", true) => Conversion::Bytes,
            ("duration", true) => Conversion::Duration,
            ("duration_seconds", true) => Conversion::DurationSeconds,
            (_, true) => return Err(self.unexpected("bytes(…), duration(…) or duration_seconds(…)")),
            _ => Conversion::Number,
        };
        let label = if self.take("(") {
            let label = self.ident()?;
            self.expect(")")?;
            label
        } else {
            word
        };
        let mut filters = Vec::new();
        while self.is("|") && !self.at_unwrap() {
            self.advance();
            filters.push(self.label_filter()?);
        }
        Ok(Unwrap { label, conversion, filters })
    }

    fn selector(&mut self) -> Parsed<Vec<Matcher>> {
        let start = self.tokens[self.at].offset;
        self.expect("{")?;
        let mut matchers = Vec::new();
        while !self.is("}") {
            matchers.push(self.matcher()?);
            if !self.take(",") {
                break;
            }
        }
        if !self.take("}") {
            return Err(self.unexpected("} or ,"));
        }
        check::selector(&matchers).map_err(|message| ParseError::at(self.text, start, message))?;
        Ok(matchers)
    }

    fn matcher(&mut self) -> Parsed<Matcher> {
        let name = self.ident()?;
        let op = match self.peek() {
            Token::Punct("=") => Match::Equal,
            Token::Punct("!=") => Match::NotEqual,
            Token::Punct("=~") => Match::Regex,
            Token::Punct("!~") => Match::NotRegex,
            _ => return Err(self.unexpected("= or != or =~ or !~")),
        };
        self.advance();
        let at = self.tokens[self.at].offset;
        let value = self.string()?;
        self.checked_matcher(name, op, value, at)
    }

    fn checked_matcher(&self, name: String, op: Match, value: String, at: usize) -> Parsed<Matcher> {
        Matcher::new(name, op, value).map_err(|why| ParseError::at(self.text, at, why.to_string()))
    }

    fn stage(&mut self, stages: &mut Vec<Stage>) -> Parsed<()> {
        if stages.len() >= STAGES_MAX {
            return Err(self.error(format!("pipeline has more than {STAGES_MAX} stages")));
        }
        let stage = if self.is("|") { self.piped_stage()? } else { Stage::Line(self.line_filter()?) };
        stages.push(stage);
        Ok(())
    }

    fn line_filter(&mut self) -> Parsed<LineFilter> {
        let (op, negated) = match self.advance() {
            Token::Punct("|=") => (LineOp::Contains, false),
            Token::Punct("!=") => (LineOp::Contains, true),
            Token::Punct("|~") => (LineOp::Regex, false),
            Token::Punct("!~") => (LineOp::Regex, true),
            Token::Punct("|>") => (LineOp::Pattern, false),
            _ => (LineOp::Pattern, true),
        };
        let mut any = vec![self.line_match(op)?];
        while self.is_word("or") {
            self.advance();
            self.count_operator()?;
            any.push(self.line_match(op)?);
        }
        Ok(LineFilter { op, negated, any })
    }

    fn line_match(&mut self, op: LineOp) -> Parsed<LineMatch> {
        let at = self.tokens[self.at].offset;
        let refuse = |message: String| ParseError::at(self.text, at, message);
        if self.is_word("ip") {
            if op != LineOp::Contains {
                return Err(refuse("ip: invalid operation: ip(…) works with |= and != only".into()));
            }
            return self.ip().map(LineMatch::Ip);
        }
        let text = match self.peek() {
            Token::Text(text) => text.clone(),
            _ => return Err(self.unexpected("STRING or ip")),
        };
        let found = match op {
            LineOp::Contains => LineMatch::Text(text),
            LineOp::Regex => Regexp::parse(&closed_escape(&text)).map(LineMatch::Regex).map_err(refuse)?,
            LineOp::Pattern => LineMatch::Pattern(LinePattern::for_filter(&text).map_err(refuse)?),
        };
        self.advance();
        Ok(found)
    }

    fn ip(&mut self) -> Parsed<IpMatch> {
        self.advance();
        self.expect("(")?;
        let at = self.tokens[self.at].offset;
        let text = self.string()?;
        self.expect(")")?;
        IpMatch::parse(&text).ok_or_else(|| {
            ParseError::at(
                self.text,
                at,
                format!("ip: invalid pattern: {text:?} is no address, block (a/24) or range (a-b)"),
            )
        })
    }

    fn piped_stage(&mut self) -> Parsed<Stage> {
        self.expect("|")?;
        let word = match self.peek() {
            Token::Ident(word) => word.clone(),
            Token::Punct("(") => return self.label_filter().map(Stage::Label),
            _ => return Err(self.unexpected("a pipeline stage or a label filter")),
        };
        let at = self.tokens[(self.at + 1).min(self.tokens.len() - 1)].offset;
        let refuse = |message: String| ParseError::at(self.text, at, message);
        Ok(match word.as_str() {
            "json" => {
                self.advance();
                Stage::Json(self.json_fields()?)
            }
            "logfmt" => {
                self.advance();
                self.logfmt()?
            }
            "regexp" => {
                self.advance();
                let text = self.string()?;
                Stage::Regexp(check::named_regex(&text).map_err(refuse)?)
            }
            "pattern" => {
                self.advance();
                let text = self.string()?;
                Stage::Pattern(LinePattern::for_parser(&text).map_err(refuse)?)
            }
            "unpack" => {
                self.advance();
                Stage::Unpack
            }
            "decolorize" => {
                self.advance();
                Stage::Decolorize
            }
            "line_format" => {
                self.advance();
                let text = self.string()?;
                Stage::LineFormat(Template::parse(&text).map_err(refuse)?)
            }
            "label_format" => {
                self.advance();
                self.label_format()?
            }
            "drop" | "keep" => {
                self.advance();
                let picks = self.label_picks()?;
                if word == "drop" { Stage::Drop(picks) } else { Stage::Keep(picks) }
            }
            _ => Stage::Label(self.label_filter()?),
        })
    }

    fn json_fields(&mut self) -> Parsed<Vec<JsonField>> {
        let mut fields = Vec::new();
        while matches!(self.peek(), Token::Ident(_)) {
            let at = self.tokens[self.at].offset;
            let (label, path) = self.extraction()?;
            let steps = parse_path(&path).map_err(|why| {
                ParseError::at(self.text, at, format!("cannot parse expression [{path}]: {why}"))
            })?;
            fields.push(JsonField { label, path, steps });
            if !self.take(",") {
                return Ok(fields);
            }
        }
        if fields.is_empty() { Ok(fields) } else { Err(self.unexpected("IDENTIFIER")) }
    }

    /// `label="source"`, or `label` for both.
    fn extraction(&mut self) -> Parsed<(String, String)> {
        let label = self.ident()?;
        let source = if self.take("=") { self.string()? } else { label.clone() };
        Ok((label, source))
    }

    fn logfmt(&mut self) -> Parsed<Stage> {
        let (mut strict, mut keep_empty) = (false, false);
        while let Token::Flag(flag) = self.peek() {
            match flag.as_str() {
                "strict" => strict = true,
                "keep-empty" => keep_empty = true,
                _ => return Err(self.unexpected("--strict or --keep-empty")),
            }
            self.advance();
        }
        let mut fields = Vec::new();
        while matches!(self.peek(), Token::Ident(_)) {
            let (label, key) = self.extraction()?;
            fields.push(LogfmtField { label, key });
            if !self.take(",") {
                return Ok(Stage::Logfmt { strict, keep_empty, fields });
            }
        }
        if !fields.is_empty() {
            return Err(self.unexpected("IDENTIFIER"));
        }
        Ok(Stage::Logfmt { strict, keep_empty, fields })
    }

    fn label_format(&mut self) -> Parsed<Stage> {
        let mut formats: Vec<LabelFormat> = Vec::new();
        loop {
            let to = self.ident()?;
            let used = formats.iter().any(|format| match format {
                LabelFormat::Rename { to: name, .. } | LabelFormat::Template { to: name, .. } => *name == to,
            });
            if used {
                return Err(self
                    .error(format!("multiple label name {to:?} not allowed in a single format operation")));
            }
            self.expect("=")?;
            let at = self.tokens[self.at].offset;
            formats.push(match self.advance() {
                Token::Ident(from) => LabelFormat::Rename { to, from },
                Token::Text(text) => {
                    let template =
                        Template::parse(&text).map_err(|message| ParseError::at(self.text, at, message))?;
                    LabelFormat::Template { to, template }
                }
                _ => {
                    return Err(ParseError::at(
                        self.text,
                        at,
                        "syntax error: label_format wants a label or a STRING",
                    ));
                }
            });
            if !self.take(",") {
                return Ok(Stage::LabelFormat(formats));
            }
        }
    }

    fn label_picks(&mut self) -> Parsed<Vec<LabelPick>> {
        let mut picks = Vec::new();
        loop {
            let matcher = matches!(self.peek_after(), Token::Punct("=" | "!=" | "=~" | "!~"));
            picks.push(match matcher {
                true => LabelPick::Matching(self.matcher()?),
                false => LabelPick::Name(self.ident()?),
            });
            if !self.take(",") {
                return Ok(picks);
            }
        }
    }

    // ---- label filters: `or` binds loosest; `and`, a comma and juxtaposition are one

    fn label_filter(&mut self) -> Parsed<LabelFilter> {
        self.enter()?;
        let mut left = self.label_filter_and()?;
        while self.take_word("or") {
            self.count_operator()?;
            let right = self.label_filter_and()?;
            left = LabelFilter::Or(Box::new(left), Box::new(right));
        }
        self.depth -= 1;
        Ok(left)
    }

    fn label_filter_and(&mut self) -> Parsed<LabelFilter> {
        let mut left = self.label_filter_one()?;
        loop {
            let joined = self.take_word("and") || self.take(",");
            let adjacent = matches!(self.peek(), Token::Ident(word) if !word.eq_ignore_ascii_case("or"))
                && matches!(
                    self.peek_after(),
                    Token::Punct("=" | "==" | "!=" | "=~" | "!~" | ">" | ">=" | "<" | "<=")
                );
            if !joined && !adjacent {
                return Ok(left);
            }
            self.count_operator()?;
            let right = self.label_filter_one()?;
            left = LabelFilter::And(Box::new(left), Box::new(right));
        }
    }

    fn label_filter_one(&mut self) -> Parsed<LabelFilter> {
        if self.take("(") {
            let filter = self.label_filter()?;
            self.expect(")")?;
            return Ok(filter);
        }
        let name = self.ident()?;
        let Token::Punct(op) = *self.peek() else {
            return Err(self.unexpected("a comparison"));
        };
        let compare = match op {
            "=" | "==" => Some(Compare::Equal),
            "!=" => Some(Compare::NotEqual),
            ">" => Some(Compare::Greater),
            ">=" => Some(Compare::GreaterEqual),
            "<" => Some(Compare::Less),
            "<=" => Some(Compare::LessEqual),
            "=~" | "!~" => None,
            _ => return Err(self.unexpected("a comparison")),
        };
        self.advance();
        let at = self.tokens[self.at].offset;
        let text_op = match op {
            "=" => Some(Match::Equal),
            "!=" => Some(Match::NotEqual),
            "=~" => Some(Match::Regex),
            "!~" => Some(Match::NotRegex),
            _ => None,
        };
        if let (Token::Text(value), Some(text_op)) = (self.peek().clone(), text_op) {
            self.advance();
            return self.checked_matcher(name, text_op, value, at).map(LabelFilter::Text);
        }
        let Some(op_number) = compare else {
            return Err(self.unexpected("STRING"));
        };
        if self.is_word("ip") {
            if !matches!(op, "=" | "!=") {
                return Err(self.unexpected(""));
            }
            return Ok(LabelFilter::Ip { name, negated: op == "!=", ip: self.ip()? });
        }
        let sign = if self.take("-") {
            -1.0
        } else {
            self.take("+");
            1.0
        };
        let (value, unit) = match *self.peek() {
            Token::Number(number) => (number, Unit::Plain),
            Token::Duration(ns) => (ns as f64, Unit::Duration),
            Token::Bytes(bytes) => (bytes as f64, Unit::Bytes),
            _ => return Err(self.unexpected("STRING, NUMBER, DURATION or BYTES")),
        };
        self.advance();
        Ok(LabelFilter::Number { name, op: op_number, value: sign * value, unit })
    }
}

#[cfg(test)]
mod tests;
