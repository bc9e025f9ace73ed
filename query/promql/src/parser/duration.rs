//! Durations in brackets and behind `offset`: written out, or computed from the query's own step and range.

use super::{Parsed, Parser};
use crate::ast::{BinaryOp, DurationOp, Span, Spelled};
use crate::duration::SECONDS_MAX;
use crate::lexer::Token;

const EXPECTED: &str = "number, duration, step(), or range()";

impl Parser<'_> {
    /// Behind `offset`: one operand with a sign; operators behind it are the query's.
    pub(super) fn offset(&mut self) -> Parsed<Span> {
        let start = self.at();
        let minus = self.take("-");
        let signed = minus || self.take("+");
        let op = self.duration_operand("offset", EXPECTED)?;
        let op = if signed { signed_op(minus, op) } else { op };
        self.span(start, op, true)
    }

    pub(super) fn positive_span(&mut self, context: &str) -> Parsed<Span> {
        let start = self.at();
        let expected = if context == "subquery selector" {
            "number, duration, step(), range(), or \"]\""
        } else {
            EXPECTED
        };
        let op = self.duration_expr(0, context, expected)?;
        self.span(start, op, false)
    }

    /// A number alone is fixed now; anything else when the query's times are known.
    fn span(&self, start: usize, op: DurationOp, negative: bool) -> Parsed<Span> {
        match op {
            DurationOp::Number(Spelled { value, .. }) => {
                if value <= 0.0 && !negative {
                    return Err((start, "duration must be greater than 0".into()));
                }
                // Nanoseconds are kept by others; a part of a millisecond is lost here.
                Ok(Span::Ms(((value * 1e9).round() / 1e6).trunc() as i64))
            }
            op => Ok(Span::Computed { start, end: self.end(), op }),
        }
    }

    fn duration_expr(&mut self, least: u8, context: &str, expected: &str) -> Parsed<DurationOp> {
        self.deeper()?;
        let mut left = match self.peek() {
            Token::Mark(sign @ ("-" | "+")) => {
                let minus = *sign == "-";
                let at = self.at();
                self.advance();
                let inner = self.duration_expr(BinaryOp::Pow.precedence(), context, expected)?;
                in_range(at, signed_op(minus, inner))?
            }
            _ => self.duration_operand(context, expected)?,
        };
        while let Some(op) = self.duration_binary().filter(|op| op.precedence() >= least) {
            let at = self.at();
            self.advance();
            let right_least = if op == BinaryOp::Pow { op.precedence() } else { op.precedence() + 1 };
            let right = self.duration_expr(right_least, context, expected)?;
            let is_zero = matches!(right, DurationOp::Number(number) if number.value == 0.0);
            match op {
                BinaryOp::Div if is_zero => return Err((at, "division by zero".into())),
                BinaryOp::Mod if is_zero => return Err((at, "modulo by zero".into())),
                _ => left = DurationOp::Binary(op, Box::new(left), Box::new(right)),
            }
        }
        self.depth -= 1;
        Ok(left)
    }

    fn duration_binary(&self) -> Option<BinaryOp> {
        use BinaryOp::*;
        let Token::Mark(mark) = self.peek() else { return None };
        [Add, Sub, Mul, Div, Mod, Pow].into_iter().find(|op| op.as_str() == *mark)
    }

    fn duration_operand(&mut self, context: &str, expected: &str) -> Parsed<DurationOp> {
        let at = self.at();
        let is_number = matches!(self.peek(), Token::Number(_) | Token::Duration(_));
        if is_number && let Some(number) = self.number()? {
            return in_range(at, DurationOp::Number(number));
        }
        if self.take("(") {
            let inner = self.duration_expr(0, context, expected)?;
            self.expect(")", context, expected)?;
            return Ok(DurationOp::Parens(Box::new(inner)));
        }
        for (word, op) in [("step", DurationOp::Step), ("range", DurationOp::Range)] {
            if self.take_word(word) {
                self.expect("(", context, expected)?;
                self.expect(")", context, expected)?;
                return Ok(op);
            }
        }
        for word in ["min_of", "max_of"] {
            if self.take_word(word) {
                self.expect("(", context, expected)?;
                let left = Box::new(self.duration_expr(0, context, expected)?);
                self.expect(",", context, expected)?;
                let right = Box::new(self.duration_expr(0, context, expected)?);
                self.expect(")", context, expected)?;
                return Ok(match word {
                    "min_of" => DurationOp::MinOf(left, right),
                    _ => DurationOp::MaxOf(left, right),
                });
            }
        }
        Err(self.unexpected(context, expected))
    }
}

fn signed_op(minus: bool, op: DurationOp) -> DurationOp {
    match op {
        DurationOp::Number(number) if minus => DurationOp::Number(Spelled { value: -number.value, ..number }),
        op if minus => DurationOp::Negate(Box::new(op)),
        op => op,
    }
}

fn in_range(at: usize, op: DurationOp) -> Parsed<DurationOp> {
    match op {
        DurationOp::Number(number) if number.value.abs() > SECONDS_MAX => {
            Err((at, "duration out of range".into()))
        }
        op => Ok(op),
    }
}
