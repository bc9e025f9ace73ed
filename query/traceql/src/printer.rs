//! A tree back to a query.

use crate::ast::*;
use crate::durations::go_duration;
use std::fmt::{self, Display, Formatter};

struct Quoted<'a>(&'a str);

impl Display for Quoted<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let text = self.0.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
        write!(f, "\"{}\"", text.replace('\t', "\\t").replace('\r', "\\r"))
    }
}

/// A text in backquotes, as Tempo writes it, where it can be.
struct Literal<'a>(&'a str);

impl Display for Literal<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self.0.contains('`') {
            true => Quoted(self.0).fmt(f),
            false => write!(f, "`{}`", self.0),
        }
    }
}

/// An operand: in parentheses where it is computed.
struct Operand<'a>(&'a FieldExpr);

impl Display for Operand<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self.0 {
            FieldExpr::Static(_) | FieldExpr::Field(_) => self.0.fmt(f),
            computed => write!(f, "({computed})"),
        }
    }
}

impl Display for Static {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Static::Int(number) => write!(f, "{number}"),
            // `{:?}` keeps the `.0` that makes it a float again.
            Static::Float(number) => write!(f, "{number:?}"),
            Static::Duration(ns) => f.write_str(&go_duration(*ns)),
            Static::Text(text) => Literal(text).fmt(f),
            Static::Bool(truth) => write!(f, "{truth}"),
            Static::Status(status) => f.write_str(status.as_str()),
            Static::Kind(kind) => f.write_str(kind.as_str()),
            Static::Nil => f.write_str("nil"),
        }
    }
}

impl Display for Field {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Field::Intrinsic(intrinsic) => f.write_str(intrinsic.as_str()),
            Field::Attribute { scope, name } => {
                write!(f, "{}.", scope.as_str())?;
                let plain = !name.chars().any(|c| c.is_whitespace() || "\"\\{}()=~!<>&|^,".contains(c))
                    && !name.starts_with(|c: char| c.is_ascii_digit());
                if plain { f.write_str(name) } else { Quoted(name).fmt(f) }
            }
        }
    }
}

/// As Tempo writes it: answers name what they computed so.
impl Display for FieldExpr {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            FieldExpr::Static(value) => value.fmt(f),
            FieldExpr::Field(field) => field.fmt(f),
            FieldExpr::Not(inner) => write!(f, "!{}", Operand(inner)),
            FieldExpr::Negate(inner) => write!(f, "-{}", Operand(inner)),
            FieldExpr::And(left, right) => write!(f, "{} && {}", Operand(left), Operand(right)),
            FieldExpr::OfOne(conditions) => {
                for (at, condition) in conditions.iter().enumerate() {
                    let and = if at == 0 { "" } else { " && " };
                    write!(f, "{and}{}", Operand(condition))?;
                }
                Ok(())
            }
            FieldExpr::Or(left, right) => write!(f, "{} || {}", Operand(left), Operand(right)),
            FieldExpr::Compare(op, left, right) => {
                write!(f, "{} {} {}", Operand(left), op.as_str(), Operand(right))
            }
            FieldExpr::Regex { negated, value, regex } => {
                let op = if *negated { "!~" } else { "=~" };
                // What anchors it was added when it was compiled.
                let text = regex.as_str().strip_prefix("^(?s:").and_then(|t| t.strip_suffix(")$"));
                write!(f, "{} {op} {}", Operand(value), Literal(text.unwrap_or(regex.as_str())))
            }
            FieldExpr::Arithmetic(op, left, right) => {
                write!(f, "{} {} {}", Operand(left), op.as_str(), Operand(right))
            }
        }
    }
}

impl Display for Scalar {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Scalar::Count => f.write_str("count()"),
            Scalar::Aggregate(op, expr) => write!(f, "{}({expr})", op.as_str()),
            Scalar::Static(value) => value.fmt(f),
            Scalar::Arithmetic(op, left, right) => write!(f, "({left} {} {right})", op.as_str()),
        }
    }
}

impl Display for SpansetExpr {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            SpansetExpr::Filter(FieldExpr::Static(Static::Bool(true))) => f.write_str("{ }"),
            SpansetExpr::Filter(expr) => write!(f, "{{ {expr} }}"),
            SpansetExpr::Pipeline(pipeline) => write!(f, "({pipeline})"),
            SpansetExpr::Op { op, left, right } => write!(f, "({left} {} {right})", op.as_str()),
        }
    }
}

impl Display for Element {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Element::Spansets(expr) => expr.fmt(f),
            Element::Scalar { left, op, right } => write!(f, "{left} {} {right}", op.as_str()),
            Element::By(expr) => write!(f, "by({expr})"),
            Element::Coalesce => f.write_str("coalesce()"),
            Element::Select(fields) => write!(f, "select({})", join(fields)),
        }
    }
}

fn join<T: Display>(items: &[T]) -> String {
    items.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

impl Display for Pipeline {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        for (at, element) in self.elements.iter().enumerate() {
            write!(f, "{}{element}", if at > 0 { " | " } else { "" })?;
        }
        Ok(())
    }
}

impl Display for MetricsAggregate {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let mut arguments: Vec<String> = self.selection.iter().map(|expr| format!("{{ {expr} }}")).collect();
        arguments.extend(self.field.iter().map(ToString::to_string));
        // The numbers of `compare` are whole.
        let whole = self.op == MetricsOp::Compare;
        arguments.extend(self.params.iter().map(|p| if whole { format!("{p}") } else { format!("{p:?}") }));
        write!(f, "{} | {}({})", self.spansets, self.op.as_str(), arguments.join(", "))?;
        if !self.by.is_empty() {
            write!(f, " by ({})", join(&self.by))?;
        }
        Ok(())
    }
}

impl Display for Metrics {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Metrics::Aggregate(aggregate) => write!(f, "({aggregate})"),
            Metrics::Topk(input, count) => write!(f, "({input} | topk({count}))"),
            Metrics::Bottomk(input, count) => write!(f, "({input} | bottomk({count}))"),
            Metrics::Filter(input, op, value) => write!(f, "({input} {} {value:?})", op.as_str()),
            Metrics::Arithmetic(op, left, right) => write!(f, "({left} {} {right})", op.as_str()),
            Metrics::Number(value) => write!(f, "{value:?}"),
        }
    }
}

impl Display for Query {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match &self.root {
            Root::Spansets(pipeline) => pipeline.fmt(f)?,
            Root::Metrics(metrics) => metrics.fmt(f)?,
        }
        if !self.hints.is_empty() {
            let hints: Vec<String> =
                self.hints.iter().map(|(name, value)| format!("{name}={value}")).collect();
            write!(f, " with ({})", hints.join(", "))?;
        }
        Ok(())
    }
}
