//! Numbers of a spanset: aggregates, what is computed of them, and the comparison that they end in.

use super::{Parsed, Parser};
use crate::ast::*;
use crate::check;
use crate::lexer::Token;

impl Parser<'_> {
    pub(super) fn scalar_filter(&mut self) -> Parsed<Element> {
        let left = self.scalar(0)?;
        let op = self.compare_op().ok_or_else(|| self.unexpected("a comparison"))?;
        self.advance();
        let right = self.scalar(0)?;
        Ok(Element::Scalar { left, op, right })
    }

    /// `(count() + 1) * 2 > 3`. Parentheses may as well be those of spansets, as in `(count() > 1) && { }`: then nothing is
    /// read.
    pub(super) fn scalar_in_parentheses(&mut self) -> Option<Element> {
        let first = self.tokens[self.at..].iter().find(|one| !matches!(one.token, Token::Punct("(")))?;
        let Token::Word(word) = &first.token else { return None };
        if word != "count" && Aggregate::from_word(word).is_none() {
            return None;
        }
        let (at, depth, operators) = (self.at, self.depth, self.operators);
        let read = self.scalar_filter().ok();
        if read.is_none() {
            (self.at, self.depth, self.operators) = (at, depth, operators);
        }
        read
    }

    fn scalar(&mut self, level: u8) -> Parsed<Scalar> {
        self.enter()?;
        let mut left = self.scalar_operand()?;
        while let Some((op, binding)) = self.arithmetic_op().filter(|(_, binding)| *binding >= level.max(1)) {
            self.count_operator()?;
            self.advance();
            let right = self.scalar(if op == Arithmetic::Pow { binding } else { binding + 1 })?;
            left = Scalar::Arithmetic(op, Box::new(left), Box::new(right));
        }
        self.depth -= 1;
        Ok(left)
    }

    fn scalar_operand(&mut self) -> Parsed<Scalar> {
        let start = self.at;
        let negative = self.take("-");
        let sign = if negative { -1 } else { 1 };
        let number = match *self.peek() {
            Token::Int(number) => Some(Static::Int(sign * number)),
            Token::Float(number) => Some(Static::Float(sign as f64 * number)),
            Token::Duration(ns) => Some(Static::Duration(sign * ns)),
            _ => None,
        };
        if let Some(number) = number {
            self.advance();
            return Ok(Scalar::Static(number));
        }
        if self.take("(") {
            let scalar = self.scalar(0)?;
            self.expect(")")?;
            return match (negative, scalar) {
                (true, Scalar::Static(constant)) => Ok(Scalar::Static(super::metrics::negative(constant))),
                (true, _) => Err(self.unexpected("a number")),
                (false, scalar) => Ok(scalar),
            };
        }
        if negative {
            return Err(self.unexpected("a number"));
        }
        let word = self.word().to_owned();
        if word == "count" {
            self.advance();
            self.expect("(")?;
            self.expect(")")?;
            return Ok(Scalar::Count);
        }
        let op = Aggregate::from_word(&word).ok_or_else(|| self.unexpected("a number or an aggregate"))?;
        self.advance();
        self.expect("(")?;
        let expr = self.field_expr(0)?;
        self.expect(")")?;
        self.checked(start, check::aggregate(op, &expr))?;
        Ok(Scalar::Aggregate(op, expr))
    }
}
