//! The tree of a checked query.

use model::{SpanKind, StatusCode};
use regex::Regex;

#[derive(Clone, Debug)]
pub struct Query {
    pub root: Root,
    /// `with (name=value, …)`.
    pub hints: Vec<(String, Static)>,
}

#[derive(Clone, Debug)]
pub enum Root {
    /// Answers traces.
    Spansets(Pipeline),
    /// Answers numbers over time.
    Metrics(Metrics),
}

#[derive(Clone, Debug)]
pub struct Pipeline {
    /// Never empty.
    pub elements: Vec<Element>,
}

impl Pipeline {
    /// In parentheses, which only group where they are around spansets alone.
    pub fn grouped(mut self) -> SpansetExpr {
        match (self.elements.len(), self.elements.pop()) {
            (1, Some(Element::Spansets(expr))) => expr,
            (_, last) => {
                self.elements.extend(last);
                SpansetExpr::Pipeline(Box::new(self))
            }
        }
    }
}

#[derive(Clone, Debug)]
pub enum Element {
    Spansets(SpansetExpr),
    /// Keeps spansets whose numbers compare so.
    Scalar {
        left: Scalar,
        op: CompareOp,
        right: Scalar,
    },
    By(FieldExpr),
    Coalesce,
    Select(Vec<Field>),
}

#[derive(Clone, Debug)]
pub enum SpansetExpr {
    Filter(FieldExpr),
    /// `(… | …)` as an operand.
    Pipeline(Box<Pipeline>),
    Op {
        op: SpansetOp,
        left: Box<SpansetExpr>,
        right: Box<SpansetExpr>,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Relation {
    /// `>`: the right is a child of the left.
    Child,
    /// `<`
    Parent,
    /// `>>`
    Descendant,
    /// `<<`
    Ancestor,
    /// `~`
    Sibling,
}

/// How a structural operator answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answers {
    /// Spans of the right that stand so to a span of the left.
    Right,
    /// `!`: spans of the right that do not.
    Not,
    /// `&`: both sides.
    Union,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SpansetOp {
    And,
    Or,
    Structural(Relation, Answers),
}

impl SpansetOp {
    pub fn as_str(self) -> &'static str {
        use Answers::*;
        use Relation::*;
        match self {
            SpansetOp::And => "&&",
            SpansetOp::Or => "||",
            SpansetOp::Structural(Child, Right) => ">",
            SpansetOp::Structural(Parent, Right) => "<",
            SpansetOp::Structural(Descendant, Right) => ">>",
            SpansetOp::Structural(Ancestor, Right) => "<<",
            SpansetOp::Structural(Sibling, Right) => "~",
            SpansetOp::Structural(Child, Not) => "!>",
            SpansetOp::Structural(Parent, Not) => "!<",
            SpansetOp::Structural(Descendant, Not) => "!>>",
            SpansetOp::Structural(Ancestor, Not) => "!<<",
            SpansetOp::Structural(Sibling, Not) => "!~",
            SpansetOp::Structural(Child, Union) => "&>",
            SpansetOp::Structural(Parent, Union) => "&<",
            SpansetOp::Structural(Descendant, Union) => "&>>",
            SpansetOp::Structural(Ancestor, Union) => "&<<",
            SpansetOp::Structural(Sibling, Union) => "&~",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CompareOp {
    Equal,
    NotEqual,
    Greater,
    GreaterEqual,
    Less,
    LessEqual,
}

impl CompareOp {
    pub fn as_str(self) -> &'static str {
        match self {
            CompareOp::Equal => "=",
            CompareOp::NotEqual => "!=",
            CompareOp::Greater => ">",
            CompareOp::GreaterEqual => ">=",
            CompareOp::Less => "<",
            CompareOp::LessEqual => "<=",
        }
    }

    pub fn holds(self, order: std::cmp::Ordering) -> bool {
        match self {
            CompareOp::Equal => order.is_eq(),
            CompareOp::NotEqual => order.is_ne(),
            CompareOp::Greater => order.is_gt(),
            CompareOp::GreaterEqual => order.is_ge(),
            CompareOp::Less => order.is_lt(),
            CompareOp::LessEqual => order.is_le(),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arithmetic {
    Add,
    Sub,
    Mul,
    Div,
    Mod,
    Pow,
}

impl Arithmetic {
    pub fn as_str(self) -> &'static str {
        match self {
            Arithmetic::Add => "+",
            Arithmetic::Sub => "-",
            Arithmetic::Mul => "*",
            Arithmetic::Div => "/",
            Arithmetic::Mod => "%",
            Arithmetic::Pow => "^",
        }
    }

    pub fn apply(self, left: f64, right: f64) -> f64 {
        match self {
            Arithmetic::Add => left + right,
            Arithmetic::Sub => left - right,
            Arithmetic::Mul => left * right,
            Arithmetic::Div => left / right,
            Arithmetic::Mod => left % right,
            Arithmetic::Pow => left.powf(right),
        }
    }

    /// Of two integers, which stay some: a quotient has no fraction. `None` where it would be divided by zero.
    pub fn apply_to_integers(self, left: i64, right: i64) -> Option<i64> {
        Some(match self {
            Arithmetic::Add => left.wrapping_add(right),
            Arithmetic::Sub => left.wrapping_sub(right),
            Arithmetic::Mul => left.wrapping_mul(right),
            Arithmetic::Div if right == 0 => return None,
            Arithmetic::Div => left.wrapping_div(right),
            Arithmetic::Mod if right == 0 => return None,
            Arithmetic::Mod => left.wrapping_rem(right),
            Arithmetic::Pow => (left as f64).powf(right as f64) as i64,
        })
    }
}

/// A number of a spanset.
#[derive(Clone, Debug)]
pub enum Scalar {
    Count,
    Aggregate(Aggregate, FieldExpr),
    Static(Static),
    Arithmetic(Arithmetic, Box<Scalar>, Box<Scalar>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Aggregate {
    Avg,
    Min,
    Max,
    Sum,
}

impl Aggregate {
    pub fn as_str(self) -> &'static str {
        match self {
            Aggregate::Avg => "avg",
            Aggregate::Min => "min",
            Aggregate::Max => "max",
            Aggregate::Sum => "sum",
        }
    }

    pub fn from_word(word: &str) -> Option<Aggregate> {
        [Aggregate::Avg, Aggregate::Min, Aggregate::Max, Aggregate::Sum]
            .into_iter()
            .find(|a| a.as_str() == word)
    }
}

#[derive(Clone, Debug, PartialEq)]
pub enum Static {
    Int(i64),
    Float(f64),
    /// Nanoseconds.
    Duration(i64),
    Text(String),
    Bool(bool),
    Status(StatusCode),
    Kind(SpanKind),
    Nil,
}

impl Static {
    /// The number, durations in nanoseconds.
    pub fn number(&self) -> Option<f64> {
        match self {
            Static::Int(number) | Static::Duration(number) => Some(*number as f64),
            Static::Float(number) => Some(*number),
            _ => None,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scope {
    /// `.name`: of the span, else of its resource.
    Any,
    Span,
    Resource,
    Event,
    Link,
    Instrumentation,
    /// `parent.`: of the parent span, else of its resource.
    Parent,
    ParentSpan,
    ParentResource,
}

impl Scope {
    /// Where a field of the parent is looked for at the parent.
    pub fn at_parent(self) -> Option<Scope> {
        match self {
            Scope::Parent => Some(Scope::Any),
            Scope::ParentSpan => Some(Scope::Span),
            Scope::ParentResource => Some(Scope::Resource),
            _ => None,
        }
    }

    pub fn as_str(self) -> &'static str {
        match self {
            Scope::Any => "",
            Scope::Span => "span",
            Scope::Resource => "resource",
            Scope::Event => "event",
            Scope::Link => "link",
            Scope::Instrumentation => "instrumentation",
            Scope::Parent => "parent",
            Scope::ParentSpan => "parent.span",
            Scope::ParentResource => "parent.resource",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Intrinsic {
    Duration,
    Name,
    Status,
    StatusMessage,
    Kind,
    ChildCount,
    SpanId,
    ParentId,
    NestedSetLeft,
    NestedSetRight,
    NestedSetParent,
    TraceDuration,
    RootName,
    RootService,
    TraceId,
    EventName,
    EventTimeSinceStart,
    LinkTraceId,
    LinkSpanId,
    InstrumentationName,
    InstrumentationVersion,
    Parent,
}

impl Intrinsic {
    /// Word without a scope, if it has one, and word with its scope.
    pub const ALL: [(Intrinsic, &'static str, &'static str); 22] = [
        (Intrinsic::Duration, "duration", "span:duration"),
        (Intrinsic::Name, "name", "span:name"),
        (Intrinsic::Status, "status", "span:status"),
        (Intrinsic::StatusMessage, "statusMessage", "span:statusMessage"),
        (Intrinsic::Kind, "kind", "span:kind"),
        (Intrinsic::ChildCount, "childCount", "span:childCount"),
        (Intrinsic::SpanId, "", "span:id"),
        (Intrinsic::ParentId, "", "span:parentID"),
        (Intrinsic::NestedSetLeft, "nestedSetLeft", ""),
        (Intrinsic::NestedSetRight, "nestedSetRight", ""),
        (Intrinsic::NestedSetParent, "nestedSetParent", ""),
        (Intrinsic::TraceDuration, "traceDuration", "trace:duration"),
        (Intrinsic::RootName, "rootName", "trace:rootName"),
        (Intrinsic::RootService, "rootServiceName", "trace:rootService"),
        (Intrinsic::TraceId, "", "trace:id"),
        (Intrinsic::EventName, "", "event:name"),
        (Intrinsic::EventTimeSinceStart, "", "event:timeSinceStart"),
        (Intrinsic::LinkTraceId, "", "link:traceID"),
        (Intrinsic::LinkSpanId, "", "link:spanID"),
        (Intrinsic::InstrumentationName, "", "instrumentation:name"),
        (Intrinsic::InstrumentationVersion, "", "instrumentation:version"),
        (Intrinsic::Parent, "parent", ""),
    ];

    pub fn from_word(word: &str) -> Option<Intrinsic> {
        let found = Self::ALL
            .iter()
            .find(|(_, plain, scoped)| !word.is_empty() && (*plain == word || *scoped == word));
        found.map(|(intrinsic, _, _)| *intrinsic)
    }

    pub fn as_str(self) -> &'static str {
        let found = Self::ALL.iter().find(|(intrinsic, _, _)| *intrinsic == self);
        // Tempo has a word for it with its scope alone.
        let scoped_alone = self == Intrinsic::ChildCount;
        found.map_or("", |(_, plain, scoped)| if plain.is_empty() || scoped_alone { scoped } else { plain })
    }

    /// Only known when the whole trace is.
    pub fn of_trace(self) -> bool {
        matches!(
            self,
            Intrinsic::TraceDuration
                | Intrinsic::RootName
                | Intrinsic::RootService
                | Intrinsic::ChildCount
                | Intrinsic::NestedSetLeft
                | Intrinsic::NestedSetRight
                | Intrinsic::NestedSetParent
        )
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Field {
    Intrinsic(Intrinsic),
    Attribute { scope: Scope, name: String },
}

impl Field {
    /// Only known when the whole trace is.
    pub fn of_trace(&self) -> bool {
        match self {
            Field::Intrinsic(intrinsic) => intrinsic.of_trace(),
            Field::Attribute { scope, .. } => scope.at_parent().is_some(),
        }
    }
}

#[derive(Clone, Debug)]
pub enum FieldExpr {
    Static(Static),
    Field(Field),
    Not(Box<FieldExpr>),
    Negate(Box<FieldExpr>),
    And(Box<FieldExpr>, Box<FieldExpr>),
    /// Conditions that hold of one event, or of one link: each compares one of its fields with a value.
    OfOne(Vec<FieldExpr>),
    Or(Box<FieldExpr>, Box<FieldExpr>),
    Compare(CompareOp, Box<FieldExpr>, Box<FieldExpr>),
    Regex {
        negated: bool,
        value: Box<FieldExpr>,
        regex: Regex,
    },
    Arithmetic(Arithmetic, Box<FieldExpr>, Box<FieldExpr>),
}

impl FieldExpr {
    /// Calls `see` with each field that the expression reads.
    pub fn fields<'a>(&'a self, see: &mut impl FnMut(&'a Field)) {
        match self {
            FieldExpr::Static(_) => {}
            FieldExpr::Field(field) => see(field),
            FieldExpr::Not(inner) | FieldExpr::Negate(inner) | FieldExpr::Regex { value: inner, .. } => {
                inner.fields(see);
            }
            FieldExpr::OfOne(conditions) => conditions.iter().for_each(|condition| condition.fields(see)),
            FieldExpr::And(left, right)
            | FieldExpr::Or(left, right)
            | FieldExpr::Compare(_, left, right)
            | FieldExpr::Arithmetic(_, left, right) => {
                left.fields(see);
                right.fields(see);
            }
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetricsOp {
    Rate,
    CountOverTime,
    MinOverTime,
    MaxOverTime,
    AvgOverTime,
    SumOverTime,
    QuantileOverTime,
    HistogramOverTime,
    Compare,
}

impl MetricsOp {
    pub const ALL: [(MetricsOp, &'static str); 9] = [
        (MetricsOp::Rate, "rate"),
        (MetricsOp::CountOverTime, "count_over_time"),
        (MetricsOp::MinOverTime, "min_over_time"),
        (MetricsOp::MaxOverTime, "max_over_time"),
        (MetricsOp::AvgOverTime, "avg_over_time"),
        (MetricsOp::SumOverTime, "sum_over_time"),
        (MetricsOp::QuantileOverTime, "quantile_over_time"),
        (MetricsOp::HistogramOverTime, "histogram_over_time"),
        (MetricsOp::Compare, "compare"),
    ];

    pub fn from_word(word: &str) -> Option<MetricsOp> {
        Self::ALL.iter().find(|(_, name)| *name == word).map(|(op, _)| *op)
    }

    pub fn as_str(self) -> &'static str {
        Self::ALL.iter().find(|(op, _)| *op == self).map_or("", |(_, name)| name)
    }
}

#[derive(Clone, Debug)]
pub enum Metrics {
    Aggregate(Box<MetricsAggregate>),
    Topk(Box<Metrics>, usize),
    Bottomk(Box<Metrics>, usize),
    Filter(Box<Metrics>, CompareOp, f64),
    Arithmetic(Arithmetic, Box<Metrics>, Box<Metrics>),
    Number(f64),
}

#[derive(Clone, Debug)]
pub struct MetricsAggregate {
    pub spansets: Pipeline,
    pub op: MetricsOp,
    pub field: Option<Field>,
    /// Quantiles.
    pub params: Vec<f64>,
    pub by: Vec<Field>,
    /// The selection of `compare`, and its numbers.
    pub selection: Option<FieldExpr>,
}
