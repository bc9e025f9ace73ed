//! The tree of a checked query. Every regex in it compiles and every template parses.

use crate::ip::IpMatch;
use crate::pipeline::paths::PathStep;
use crate::pipeline::pattern::LinePattern;
use crate::template::Template;
use model::Matcher;
use model::Regexp;
use regex::Regex;

#[derive(Clone, Debug)]
pub enum Expr {
    /// Answers lines.
    Log(LogExpr),
    /// Answers numbers.
    Metric(MetricExpr),
}

impl Expr {
    /// Whether the aggregation is anywhere in it.
    pub fn holds(&self, op: VectorOp) -> bool {
        matches!(self, Expr::Metric(expr) if expr.holds(op))
    }
}

impl MetricExpr {
    fn holds(&self, wanted: VectorOp) -> bool {
        match self {
            MetricExpr::Vector { op, expr, .. } => *op == wanted || expr.holds(wanted),
            MetricExpr::Binary(binary) => binary.left.holds(wanted) || binary.right.holds(wanted),
            MetricExpr::LabelReplace(replace) => replace.expr.holds(wanted),
            MetricExpr::Range { .. } | MetricExpr::Constant(_) | MetricExpr::Literal(_) => false,
        }
    }
}

#[derive(Clone, Debug)]
pub struct LogExpr {
    pub matchers: Vec<Matcher>,
    pub stages: Vec<Stage>,
}

#[derive(Clone, Debug)]
pub enum Stage {
    Line(LineFilter),
    /// Empty: every field.
    Json(Vec<JsonField>),
    Logfmt {
        strict: bool,
        keep_empty: bool,
        fields: Vec<LogfmtField>,
    },
    Regexp(Regexp),
    Pattern(LinePattern),
    Unpack,
    LineFormat(Template),
    LabelFormat(Vec<LabelFormat>),
    Label(LabelFilter),
    Drop(Vec<LabelPick>),
    Keep(Vec<LabelPick>),
    Decolorize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LineOp {
    Contains,
    Regex,
    Pattern,
}

/// Passes where any of the alternatives does, or with `negated` where none does.
#[derive(Clone, Debug)]
pub struct LineFilter {
    pub op: LineOp,
    pub negated: bool,
    pub any: Vec<LineMatch>,
}

#[derive(Clone, Debug)]
pub enum LineMatch {
    Text(String),
    Regex(Regexp),
    Pattern(LinePattern),
    Ip(IpMatch),
}

/// `label="path"`; `path` is the text for the printer.
#[derive(Clone, Debug)]
pub struct JsonField {
    pub label: String,
    pub path: String,
    pub steps: Vec<PathStep>,
}

#[derive(Clone, Debug)]
pub struct LogfmtField {
    pub label: String,
    pub key: String,
}

#[derive(Clone, Debug)]
pub enum LabelFormat {
    Rename { to: String, from: String },
    Template { to: String, template: Template },
}

impl LabelFormat {
    /// The label that is made.
    pub fn to(&self) -> &str {
        match self {
            LabelFormat::Rename { to, .. } | LabelFormat::Template { to, .. } => to,
        }
    }
}

#[derive(Clone, Debug)]
pub enum LabelPick {
    Name(String),
    Matching(Matcher),
}

impl LabelPick {
    pub fn name(&self) -> &str {
        match self {
            LabelPick::Name(name) => name,
            LabelPick::Matching(matcher) => &matcher.name,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compare {
    Equal,
    NotEqual,
    Greater,
    GreaterEqual,
    Less,
    LessEqual,
}

impl Compare {
    pub fn as_str(self) -> &'static str {
        match self {
            Compare::Equal => "==",
            Compare::NotEqual => "!=",
            Compare::Greater => ">",
            Compare::GreaterEqual => ">=",
            Compare::Less => "<",
            Compare::LessEqual => "<=",
        }
    }

    pub fn holds(self, left: f64, right: f64) -> bool {
        match self {
            Compare::Equal => left == right,
            Compare::NotEqual => left != right,
            Compare::Greater => left > right,
            Compare::GreaterEqual => left >= right,
            Compare::Less => left < right,
            Compare::LessEqual => left <= right,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    Plain,
    /// The value is in nanoseconds.
    Duration,
    Bytes,
}

#[derive(Clone, Debug)]
pub enum LabelFilter {
    Text(Matcher),
    Number { name: String, op: Compare, value: f64, unit: Unit },
    Ip { name: String, negated: bool, ip: IpMatch },
    And(Box<LabelFilter>, Box<LabelFilter>),
    Or(Box<LabelFilter>, Box<LabelFilter>),
}

impl LabelFilter {
    /// Calls `see` with each label that the filter reads.
    pub fn names(&self, see: &mut impl FnMut(&str)) {
        match self {
            LabelFilter::Text(matcher) => see(&matcher.name),
            LabelFilter::Number { name, .. } | LabelFilter::Ip { name, .. } => see(name),
            LabelFilter::And(left, right) | LabelFilter::Or(left, right) => {
                left.names(see);
                right.names(see);
            }
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Conversion {
    Number,
    Bytes,
    Duration,
    DurationSeconds,
}

/// `| unwrap label`, and the label filters that may follow it.
#[derive(Clone, Debug)]
pub struct Unwrap {
    pub label: String,
    pub conversion: Conversion,
    pub filters: Vec<LabelFilter>,
}

#[derive(Clone, Debug)]
pub struct LogRange {
    pub log: LogExpr,
    pub unwrap: Option<Unwrap>,
    pub range_ns: i64,
    pub offset_ns: i64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RangeOp {
    Count,
    Rate,
    RateCounter,
    Bytes,
    BytesRate,
    Avg,
    Sum,
    Min,
    Max,
    Stdvar,
    Stddev,
    Quantile,
    First,
    Last,
    Absent,
}

impl RangeOp {
    pub const ALL: [(RangeOp, &'static str); 15] = [
        (RangeOp::Count, "count_over_time"),
        (RangeOp::Rate, "rate"),
        (RangeOp::RateCounter, "rate_counter"),
        (RangeOp::Bytes, "bytes_over_time"),
        (RangeOp::BytesRate, "bytes_rate"),
        (RangeOp::Avg, "avg_over_time"),
        (RangeOp::Sum, "sum_over_time"),
        (RangeOp::Min, "min_over_time"),
        (RangeOp::Max, "max_over_time"),
        (RangeOp::Stdvar, "stdvar_over_time"),
        (RangeOp::Stddev, "stddev_over_time"),
        (RangeOp::Quantile, "quantile_over_time"),
        (RangeOp::First, "first_over_time"),
        (RangeOp::Last, "last_over_time"),
        (RangeOp::Absent, "absent_over_time"),
    ];

    pub fn as_str(self) -> &'static str {
        Self::ALL.iter().find(|(op, _)| *op == self).map_or("", |(_, name)| name)
    }

    pub fn from_word(word: &str) -> Option<RangeOp> {
        Self::ALL.iter().find(|(_, name)| *name == word).map(|(op, _)| *op)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VectorOp {
    Sum,
    Avg,
    Min,
    Max,
    Count,
    Stddev,
    Stdvar,
    Topk,
    Bottomk,
    ApproxTopk,
    Sort,
    SortDesc,
}

impl VectorOp {
    pub const ALL: [(VectorOp, &'static str); 12] = [
        (VectorOp::Sum, "sum"),
        (VectorOp::Avg, "avg"),
        (VectorOp::Min, "min"),
        (VectorOp::Max, "max"),
        (VectorOp::Count, "count"),
        (VectorOp::Stddev, "stddev"),
        (VectorOp::Stdvar, "stdvar"),
        (VectorOp::Topk, "topk"),
        (VectorOp::Bottomk, "bottomk"),
        (VectorOp::ApproxTopk, "approx_topk"),
        (VectorOp::Sort, "sort"),
        (VectorOp::SortDesc, "sort_desc"),
    ];

    pub fn as_str(self) -> &'static str {
        Self::ALL.iter().find(|(op, _)| *op == self).map_or("", |(_, name)| name)
    }

    pub fn from_word(word: &str) -> Option<VectorOp> {
        Self::ALL.iter().find(|(_, name)| *name == word).map(|(op, _)| *op)
    }

    /// Takes a number of series to keep.
    pub fn has_param(self) -> bool {
        matches!(self, VectorOp::Topk | VectorOp::Bottomk | VectorOp::ApproxTopk)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BinaryOp {
    Or,
    And,
    Unless,
    Compare(Compare),
    Add,
    Sub,
    Mul,
    Div,
    Mod,
    Pow,
}

impl BinaryOp {
    pub fn as_str(self) -> &'static str {
        match self {
            BinaryOp::Or => "or",
            BinaryOp::And => "and",
            BinaryOp::Unless => "unless",
            BinaryOp::Compare(compare) => compare.as_str(),
            BinaryOp::Add => "+",
            BinaryOp::Sub => "-",
            BinaryOp::Mul => "*",
            BinaryOp::Div => "/",
            BinaryOp::Mod => "%",
            BinaryOp::Pow => "^",
        }
    }

    /// How tightly: the greater, the nearer.
    pub(crate) fn binding(self) -> u8 {
        match self {
            BinaryOp::Or => 1,
            BinaryOp::And | BinaryOp::Unless => 2,
            BinaryOp::Compare(_) => 3,
            BinaryOp::Add | BinaryOp::Sub => 4,
            BinaryOp::Mul | BinaryOp::Div | BinaryOp::Mod => 5,
            BinaryOp::Pow => 6,
        }
    }

    pub fn is_set(self) -> bool {
        matches!(self, BinaryOp::Or | BinaryOp::And | BinaryOp::Unless)
    }

    /// The number of an arithmetic operation; a comparison gives 1 or 0.
    pub fn apply(self, left: f64, right: f64) -> f64 {
        match self {
            BinaryOp::Add => left + right,
            BinaryOp::Sub => left - right,
            BinaryOp::Mul => left * right,
            // Loki, unlike Prometheus, has no infinity here.
            BinaryOp::Div if right == 0.0 => f64::NAN,
            BinaryOp::Div => left / right,
            BinaryOp::Mod if right == 0.0 => f64::NAN,
            BinaryOp::Mod => left % right,
            BinaryOp::Pow => left.powf(right),
            BinaryOp::Compare(compare) => f64::from(u8::from(compare.holds(left, right))),
            BinaryOp::Or | BinaryOp::And | BinaryOp::Unless => f64::NAN,
        }
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Grouping {
    pub without: bool,
    /// Sorted, each once.
    pub labels: Vec<String>,
    /// As the query has them, for the printer.
    pub written: Vec<String>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Cardinality {
    #[default]
    OneToOne,
    /// `group_left`: many on the left.
    ManyToOne,
    /// `group_right`.
    OneToMany,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Matching {
    /// `on` where true, else `ignoring`.
    pub on: bool,
    /// Sorted, each once.
    pub labels: Vec<String>,
    /// As the query has them, for the printer.
    pub written: Vec<String>,
    pub cardinality: Cardinality,
    /// Labels taken from the "one" side.
    pub include: Vec<String>,
}

#[derive(Clone, Debug)]
pub enum MetricExpr {
    Range {
        op: RangeOp,
        param: Option<f64>,
        range: Box<LogRange>,
        grouping: Option<Grouping>,
    },
    Vector {
        op: VectorOp,
        param: Option<usize>,
        expr: Box<MetricExpr>,
        grouping: Option<Grouping>,
    },
    Binary(Box<Binary>),
    LabelReplace(Box<LabelReplace>),
    /// `vector(n)`: one series without labels.
    Constant(f64),
    Literal(f64),
}

#[derive(Clone, Debug)]
pub struct Binary {
    pub op: BinaryOp,
    /// Comparison answers 0 or 1 and keeps every series.
    pub returns_bool: bool,
    pub matching: Matching,
    pub left: MetricExpr,
    pub right: MetricExpr,
}

#[derive(Clone, Debug)]
pub struct LabelReplace {
    pub expr: MetricExpr,
    pub to: String,
    pub replacement: String,
    pub from: String,
    /// Anchored at both ends.
    pub regex: Regex,
    pub regex_text: String,
}
