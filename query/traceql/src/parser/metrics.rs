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
                let value = match self.computed(0)? {
                    // Metrics of durations are in seconds.
                    Side::Constant(Static::Duration(ns)) => ns as f64 / 1e9,
                    Side::Constant(number) => number.number().unwrap_or(f64::NAN),
                    Side::Metrics(_) => return Err(self.unexpected("a number")),
                };
                metrics = Metrics::Filter(Box::new(metrics), op, value);
            } else {
                return Ok(metrics);
            }
        }
    }

    fn metrics_op(&self) -> Option<(Arithmetic, u8)> {
        let known = |op| matches!(op, Arithmetic::Add | Arithmetic::Sub | Arithmetic::Mul | Arithmetic::Div);
        self.arithmetic_op().filter(|(op, _)| known(*op))
    }

    pub(super) fn metrics_root(&mut self) -> Parsed<Root> {
        let start = self.at;
        match self.computed(0)? {
            Side::Metrics(metrics) => self.second_stages(metrics).map(Root::Metrics),
            Side::Constant(_) => {
                self.checked(start, Err("a number alone is no query; write { … } | rate()".to_owned()))
            }
        }
    }

    fn computed(&mut self, level: u8) -> Parsed<Side> {
        self.enter()?;
        let mut left = self.side()?;
        while let Some((op, binding)) = self.metrics_op().filter(|(_, binding)| *binding >= level) {
            let start = self.at;
            self.count_operator()?;
            self.advance();
            let right = self.computed(binding + 1)?;
            left = match (left, right) {
                (Side::Constant(left), Side::Constant(right)) => {
                    Side::Constant(self.checked(start, folded(op, &left, &right))?)
                }
                (left, right) => {
                    let (left, right) =
                        (self.checked(start, left.metrics())?, self.checked(start, right.metrics())?);
                    for side in [&left, &right] {
                        self.checked(start, check::second_stage(side))?;
                    }
                    Side::Metrics(Metrics::Arithmetic(op, Box::new(left), Box::new(right)))
                }
            };
        }
        self.depth -= 1;
        Ok(left)
    }

    fn side(&mut self) -> Parsed<Side> {
        let constant = match *self.peek() {
            Token::Int(number) => Some(Static::Int(number)),
            Token::Float(number) => Some(Static::Float(number)),
            Token::Duration(ns) => Some(Static::Duration(ns)),
            _ => None,
        };
        if let Some(constant) = constant {
            self.advance();
            return Ok(Side::Constant(constant));
        }
        if self.take("-") {
            self.enter()?;
            let Side::Constant(constant) = self.side()? else { return Err(self.unexpected("a number")) };
            self.depth -= 1;
            return Ok(Side::Constant(negative(constant)));
        }
        if !self.is("(") {
            return Err(self.unexpected("a number or metrics in parentheses"));
        }
        let (at, depth) = (self.at, self.depth);
        self.advance();
        let computed = self.computed(0).and_then(|side| {
            let side = match side {
                Side::Metrics(metrics) => Side::Metrics(self.second_stages(metrics)?),
                constant => constant,
            };
            self.expect(")").map(|()| side)
        });
        // What was read, and means nothing, is not read another way.
        if computed.as_ref().map_or_else(|why| why.of_meaning, |_| true) {
            return computed;
        }
        (self.at, self.depth) = (at, depth);
        self.advance();
        let pipeline = self.pipeline()?;
        let metrics = self.metrics_aggregate(pipeline)?;
        let metrics = self.second_stages(metrics)?;
        self.expect(")")?;
        Ok(Side::Metrics(metrics))
    }
}

/// One side of what is computed: constants are computed with one another while they are read.
enum Side {
    Constant(Static),
    Metrics(Metrics),
}

impl Side {
    fn metrics(self) -> Result<Metrics, String> {
        match self {
            Side::Metrics(metrics) => Ok(metrics),
            Side::Constant(Static::Duration(_)) => {
                Err("duration cannot be used as a scalar operand in metric arithmetic".to_owned())
            }
            Side::Constant(number) => Ok(Metrics::Number(number.number().unwrap_or(f64::NAN))),
        }
    }
}

/// Whole numbers stay some, as in Tempo: `1 / 2` is 0 and `1.0 / 2` is 0.5.
fn folded(op: Arithmetic, left: &Static, right: &Static) -> Result<Static, String> {
    match (left, right) {
        (Static::Int(left), Static::Int(right)) => {
            op.apply_to_integers(*left, *right).map(Static::Int).ok_or_else(|| "division by zero".to_owned())
        }
        (Static::Duration(_), _) | (_, Static::Duration(_)) => {
            Err("duration cannot be used in scalar arithmetic".to_owned())
        }
        _ => {
            let number = |side: &Static| side.number().unwrap_or(f64::NAN);
            Ok(Static::Float(op.apply(number(left), number(right))))
        }
    }
}

pub(super) fn negative(constant: Static) -> Static {
    match constant {
        Static::Int(number) => Static::Int(number.wrapping_neg()),
        Static::Duration(ns) => Static::Duration(ns.wrapping_neg()),
        Static::Float(number) => Static::Float(-number),
        other => other,
    }
}
