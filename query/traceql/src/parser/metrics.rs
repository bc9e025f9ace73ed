//! Metrics: what is counted of a pipeline, the stages after it, and what is computed of several.

use super::{Parsed, Parser};
use crate::ast::*;
use crate::check;
use crate::lexer::Token;

impl Parser<'_> {
    pub(super) fn metrics_aggregate(&mut self, spansets: Pipeline) -> Parsed<Metrics> {
        self.expect("|")?;
        let start = self.at;
        let op = MetricsOp::from_word(self.word()).ok_or_else(|| self.unexpected("a metrics function"))?;
        self.advance();
        self.expect("(")?;
        let mut aggregate = MetricsAggregate {
            spansets,
            op,
            field: None,
            params: Vec::new(),
            by: Vec::new(),
            selection: None,
        };
        match op {
            MetricsOp::Rate | MetricsOp::CountOverTime => {}
            MetricsOp::Compare => aggregate.selection = Some(self.filter()?),
            _ => {
                aggregate.field = Some(self.field()?);
            }
        }
        while matches!(op, MetricsOp::QuantileOverTime | MetricsOp::Compare) && self.take(",") {
            self.count_operator()?;
            aggregate.params.push(match *self.peek() {
                Token::Int(number) => number as f64,
                Token::Float(number) => number,
                _ => return Err(self.unexpected("a number")),
            });
            self.advance();
        }
        let in_bounds = |q: &f64| (0.0..=1.0).contains(q);
        if op == MetricsOp::QuantileOverTime
            && let Some(wrong) = aggregate.params.iter().find(|q| !in_bounds(q))
        {
            return self.checked(start, Err(format!("quantile must be between 0 and 1: {wrong}")));
        }
        if op == MetricsOp::QuantileOverTime && aggregate.params.is_empty() {
            return Err(self.unexpected("a quantile, as quantile_over_time(duration, .99)"));
        }
        if op == MetricsOp::Compare {
            self.checked(start, check::comparison(&aggregate.params))?;
        }
        self.expect(")")?;
        if self.word() == "by" {
            self.advance();
            self.expect("(")?;
            aggregate.by = self.fields()?;
            self.expect(")")?;
        }
        Ok(Metrics::Aggregate(Box::new(aggregate)))
    }

    pub(super) fn second_stages(&mut self, mut metrics: Metrics) -> Parsed<Metrics> {
        loop {
            let start = self.at;
            if self.is("|") && matches!(self.peek_after(), Token::Word(w) if w == "topk" || w == "bottomk") {
                self.count_operator()?;
                self.advance();
                self.checked(self.at, check::second_stage(&metrics))?;
                let top = self.word() == "topk";
                self.advance();
                self.expect("(")?;
                let Token::Int(count) = *self.peek() else { return Err(self.unexpected("INTEGER")) };
                if count < 1 {
                    return self.checked(start, Err("limit must be greater than 0".to_owned()));
                }
                self.advance();
                self.expect(")")?;
                let count = usize::try_from(count).unwrap_or(usize::MAX);
                let input = Box::new(metrics);
                metrics = if top { Metrics::Topk(input, count) } else { Metrics::Bottomk(input, count) };
            } else if let Some(op) = self.compare_op() {
                self.count_operator()?;
                self.advance();
                self.checked(start, check::second_stage(&metrics))?;
                let value = match *self.peek() {
                    // Metrics of durations are in seconds.
                    Token::Duration(ns) => {
                        self.advance();
                        ns as f64 / 1e9
                    }
                    _ => self.number(0)?,
                };
                metrics = Metrics::Filter(Box::new(metrics), op, value);
            } else {
                return Ok(metrics);
            }
        }
    }

    /// Numbers computed with one another, as `1024 * 1024`.
    fn number(&mut self, level: u8) -> Parsed<f64> {
        self.enter()?;
        let sign = if self.take("-") { -1.0 } else { 1.0 };
        let mut left = match *self.peek() {
            Token::Int(number) => {
                self.advance();
                number as f64
            }
            Token::Float(number) => {
                self.advance();
                number
            }
            Token::Punct("(") => {
                self.advance();
                let number = self.number(0)?;
                self.expect(")")?;
                number
            }
            _ => return Err(self.unexpected("a number")),
        } * sign;
        while let Some((op, binding)) = self.metrics_op().filter(|(_, binding)| *binding >= level) {
            self.count_operator()?;
            self.advance();
            left = op.apply(left, self.number(binding + 1)?);
        }
        self.depth -= 1;
        Ok(left)
    }

    fn metrics_op(&self) -> Option<(Arithmetic, u8)> {
        let known = |op| matches!(op, Arithmetic::Add | Arithmetic::Sub | Arithmetic::Mul | Arithmetic::Div);
        self.arithmetic_op().filter(|(op, _)| known(*op))
    }

    pub(super) fn metrics_root(&mut self) -> Parsed<Root> {
        let start = self.at;
        let metrics = self.metrics_expr(0)?;
        if matches!(metrics, Metrics::Number(_)) {
            return self.checked(start, Err("a number alone is no query; write { … } | rate()".to_owned()));
        }
        self.second_stages(metrics).map(Root::Metrics)
    }

    fn metrics_expr(&mut self, level: u8) -> Parsed<Metrics> {
        self.enter()?;
        let mut left = self.metrics_operand()?;
        while let Some((op, binding)) = self.metrics_op().filter(|(_, binding)| *binding >= level) {
            let start = self.at;
            self.count_operator()?;
            self.advance();
            let right = self.metrics_expr(binding + 1)?;
            for side in [&left, &right] {
                self.checked(start, check::second_stage(side))?;
            }
            left = match (&left, &right) {
                (Metrics::Number(a), Metrics::Number(b)) => Metrics::Number(op.apply(*a, *b)),
                _ => Metrics::Arithmetic(op, Box::new(left), Box::new(right)),
            };
        }
        self.depth -= 1;
        Ok(left)
    }

    fn metrics_operand(&mut self) -> Parsed<Metrics> {
        if !self.is("(") {
            let sign = if self.take("-") { -1.0 } else { 1.0 };
            let number = match *self.peek() {
                Token::Int(number) => number as f64,
                Token::Float(number) => number,
                _ => return Err(self.unexpected("a number or metrics in parentheses")),
            };
            self.advance();
            return Ok(Metrics::Number(sign * number));
        }
        let (at, depth) = (self.at, self.depth);
        self.advance();
        let computed =
            self.metrics_expr(0).and_then(|metrics| self.second_stages(metrics)).and_then(|metrics| {
                self.expect(")")?;
                Ok(metrics)
            });
        if computed.is_ok() {
            return computed;
        }
        (self.at, self.depth) = (at, depth);
        self.advance();
        let pipeline = self.pipeline()?;
        let metrics = self.metrics_aggregate(pipeline)?;
        let metrics = self.second_stages(metrics)?;
        self.expect(")")?;
        Ok(metrics)
    }
}
