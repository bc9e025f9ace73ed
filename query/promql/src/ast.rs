//! The syntax tree.

use crate::functions::Function;
use model::Matcher;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ValueType {
    Scalar,
    Text,
    /// One value a series.
    Vector,
    /// Many values a series.
    Matrix,
}

impl ValueType {
    /// Prometheus' words in error texts.
    pub fn as_str(self) -> &'static str {
        match self {
            ValueType::Scalar => "scalar",
            ValueType::Text => "string",
            ValueType::Vector => "instant vector",
            ValueType::Matrix => "range vector",
        }
    }
}

/// A part of a query and where in its text it stands, in bytes.
#[derive(Clone, Debug)]
pub struct Expr {
    pub start: usize,
    pub end: usize,
    pub node: Node,
}

#[derive(Clone, Debug)]
pub enum Node {
    Number(Spelled),
    Text(String),
    Selector(Selector),
    /// `selector[5m]`
    Range {
        selector: Selector,
        range: Span,
    },
    /// `expr[1h:5m]`; no step is the default resolution.
    Subquery {
        expr: Box<Expr>,
        range: Span,
        step: Option<Span>,
        modifiers: Modifiers,
    },
    Call {
        function: &'static Function,
        arguments: Vec<Expr>,
    },
    Aggregate {
        op: AggregateOp,
        grouping: Grouping,
        parameter: Option<Box<Expr>>,
        expr: Box<Expr>,
    },
    Binary {
        op: BinaryOp,
        left: Box<Expr>,
        right: Box<Expr>,
        returns_bool: bool,
        matching: Matching,
    },
    Unary {
        minus: bool,
        expr: Box<Expr>,
    },
    Parens(Box<Expr>),
}

/// A number, and whether it was written as a duration: `5m` is 300.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spelled {
    pub value: f64,
    pub as_duration: bool,
}

/// Series, by their name and labels. The name, where it stands before the braces, is the first matcher.
#[derive(Clone, Debug)]
pub struct Selector {
    /// What stands before the braces.
    pub name: Option<String>,
    pub matchers: Vec<Matcher>,
    pub modifiers: Modifiers,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Modifiers {
    /// How much earlier to look; may be negative.
    pub offset: Option<Span>,
    pub at: Option<At>,
    pub extension: Extension,
}

/// How samples beside the range take part.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Extension {
    #[default]
    None,
    /// The last sample before the range stands at its start.
    Anchored,
    /// Values at the ends are interpolated.
    Smoothed,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum At {
    Time(i64),
    Start,
    End,
}

/// A length of time: written out, or computed when the query's step and range are known.
#[derive(Clone, Debug, PartialEq)]
pub enum Span {
    Ms(i64),
    Computed { start: usize, end: usize, op: DurationOp },
}

#[derive(Clone, Debug, PartialEq)]
pub enum DurationOp {
    Number(Spelled),
    Step,
    Range,
    Negate(Box<DurationOp>),
    Parens(Box<DurationOp>),
    MinOf(Box<DurationOp>, Box<DurationOp>),
    MaxOf(Box<DurationOp>, Box<DurationOp>),
    Binary(BinaryOp, Box<DurationOp>, Box<DurationOp>),
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Grouping {
    pub without: bool,
    pub labels: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AggregateOp {
    Sum,
    Avg,
    Count,
    Min,
    Max,
    Group,
    Stddev,
    Stdvar,
    Topk,
    Bottomk,
    CountValues,
    Quantile,
    Limitk,
    LimitRatio,
}

impl AggregateOp {
    pub const ALL: [(AggregateOp, &'static str); 14] = [
        (AggregateOp::Sum, "sum"),
        (AggregateOp::Avg, "avg"),
        (AggregateOp::Count, "count"),
        (AggregateOp::Min, "min"),
        (AggregateOp::Max, "max"),
        (AggregateOp::Group, "group"),
        (AggregateOp::Stddev, "stddev"),
        (AggregateOp::Stdvar, "stdvar"),
        (AggregateOp::Topk, "topk"),
        (AggregateOp::Bottomk, "bottomk"),
        (AggregateOp::CountValues, "count_values"),
        (AggregateOp::Quantile, "quantile"),
        (AggregateOp::Limitk, "limitk"),
        (AggregateOp::LimitRatio, "limit_ratio"),
    ];

    pub fn as_str(self) -> &'static str {
        Self::ALL.iter().find(|(op, _)| *op == self).map_or("", |(_, name)| name)
    }

    /// What the first argument must be, where there are two.
    pub fn parameter(self) -> Option<ValueType> {
        match self {
            AggregateOp::CountValues => Some(ValueType::Text),
            AggregateOp::Topk
            | AggregateOp::Bottomk
            | AggregateOp::Quantile
            | AggregateOp::Limitk
            | AggregateOp::LimitRatio => Some(ValueType::Scalar),
            _ => None,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BinaryOp {
    Add,
    Sub,
    Mul,
    Div,
    Mod,
    Pow,
    Atan2,
    Eql,
    Neq,
    Lte,
    Lss,
    Gte,
    Gtr,
    And,
    Or,
    Unless,
    /// `</`: a histogram's observations below a value.
    TrimUpper,
    /// `>/`
    TrimLower,
}

impl BinaryOp {
    pub const ALL: [BinaryOp; 18] = {
        use BinaryOp::*;
        [
            Add, Sub, Mul, Div, Mod, Pow, Atan2, Eql, Neq, Lte, Lss, Gte, Gtr, And, Or, Unless, TrimUpper,
            TrimLower,
        ]
    };

    pub fn as_str(self) -> &'static str {
        match self {
            BinaryOp::Add => "+",
            BinaryOp::Sub => "-",
            BinaryOp::Mul => "*",
            BinaryOp::Div => "/",
            BinaryOp::Mod => "%",
            BinaryOp::Pow => "^",
            BinaryOp::Atan2 => "atan2",
            BinaryOp::Eql => "==",
            BinaryOp::Neq => "!=",
            BinaryOp::Lte => "<=",
            BinaryOp::Lss => "<",
            BinaryOp::Gte => ">=",
            BinaryOp::Gtr => ">",
            BinaryOp::And => "and",
            BinaryOp::Or => "or",
            BinaryOp::Unless => "unless",
            BinaryOp::TrimUpper => "</",
            BinaryOp::TrimLower => ">/",
        }
    }

    pub fn is_comparison(self) -> bool {
        use BinaryOp::*;
        matches!(self, Eql | Neq | Lte | Lss | Gte | Gtr)
    }

    pub fn is_set(self) -> bool {
        matches!(self, BinaryOp::And | BinaryOp::Or | BinaryOp::Unless)
    }

    /// Higher binds tighter; `^` alone binds to the right.
    pub(crate) fn precedence(self) -> u8 {
        use BinaryOp::*;
        match self {
            Or => 1,
            And | Unless => 2,
            Eql | Neq | Lte | Lss | Gte | Gtr | TrimUpper | TrimLower => 3,
            Add | Sub => 4,
            Mul | Div | Mod | Atan2 => 5,
            Pow => 6,
        }
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Cardinality {
    #[default]
    OneToOne,
    /// `group_left`
    ManyToOne,
    /// `group_right`
    OneToMany,
    /// Set operators.
    ManyToMany,
}

/// What stands for a partner that is missing.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Fill {
    pub left: Option<f64>,
    pub right: Option<f64>,
}

/// How series of two vectors find each other.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Matching {
    /// `on`: by these labels; else by all but these (`ignoring`, or nothing said).
    pub on: bool,
    pub labels: Vec<String>,
    pub cardinality: Cardinality,
    /// Labels that the many side takes from the one side.
    pub include: Vec<String>,
    pub fill: Fill,
}

impl Expr {
    pub fn value_type(&self) -> ValueType {
        match &self.node {
            Node::Number(_) => ValueType::Scalar,
            Node::Text(_) => ValueType::Text,
            Node::Selector(_) | Node::Aggregate { .. } => ValueType::Vector,
            Node::Range { .. } | Node::Subquery { .. } => ValueType::Matrix,
            Node::Call { function, .. } => function.returns,
            Node::Binary { left, right, .. } => match (left.value_type(), right.value_type()) {
                (ValueType::Scalar, ValueType::Scalar) => ValueType::Scalar,
                _ => ValueType::Vector,
            },
            Node::Unary { expr, .. } => expr.value_type(),
            Node::Parens(inner) => inner.value_type(),
        }
    }

    /// Without parentheses around it.
    pub fn bare(&self) -> &Expr {
        match &self.node {
            Node::Parens(inner) => inner.bare(),
            _ => self,
        }
    }

    /// Every part, this one first.
    pub fn walk<'e>(&'e self, visit: &mut impl FnMut(&'e Expr)) {
        visit(self);
        match &self.node {
            Node::Number(_) | Node::Text(_) | Node::Selector(_) | Node::Range { .. } => {}
            Node::Subquery { expr, .. } | Node::Unary { expr, .. } | Node::Parens(expr) => expr.walk(visit),
            Node::Call { arguments, .. } => arguments.iter().for_each(|argument| argument.walk(visit)),
            Node::Aggregate { parameter, expr, .. } => {
                if let Some(parameter) = parameter {
                    parameter.walk(visit);
                }
                expr.walk(visit);
            }
            Node::Binary { left, right, .. } => {
                left.walk(visit);
                right.walk(visit);
            }
        }
    }
}
