//! A tree as text that parses to the same tree: on one line, or over several where one is too long, in Prometheus' own
//! layout.

use crate::ast::{
    At, BinaryOp, Cardinality, DurationOp, Expr, Extension, Grouping, Matching, Modifiers, Node, Selector,
    Span, Spelled,
};
use crate::text::quoted;
use crate::{AggregateOp, format_duration};
use std::fmt::{self, Display, Formatter, Write};

/// Longer parts are broken into lines.
const LINE_MAX: usize = 100;

impl Expr {
    /// As [`Display`], over several lines where one would be long.
    pub fn pretty(&self) -> String {
        self.pretty_at(0)
    }

    fn pretty_at(&self, level: usize) -> String {
        let line = self.to_string();
        let indent = "  ".repeat(level);
        if let Node::Unary { minus, expr } = &self.node {
            let sign = if *minus { '-' } else { '+' };
            return format!("{indent}{sign}{}", expr.pretty_at(level).trim());
        }
        if line.len() <= LINE_MAX {
            // Prometheus forgets to indent this one.
            let indent = if matches!(self.node, Node::Subquery { .. }) { "" } else { &indent };
            return format!("{indent}{line}");
        }
        match &self.node {
            Node::Aggregate { op, grouping, parameter, expr } => {
                let parameter =
                    parameter.as_ref().map(|parameter| format!("{},\n", parameter.pretty_at(level + 1)));
                format!(
                    "{indent}{}{grouping}(\n{}{}\n{indent})",
                    op.as_str(),
                    parameter.unwrap_or_default(),
                    expr.pretty_at(level + 1)
                )
            }
            Node::Binary { op, left, right, returns_bool, matching } => {
                let truth = if *returns_bool { " bool" } else { "" };
                format!(
                    "{}\n{indent}{}{truth}{matching}\n{}",
                    left.pretty_at(level + 1),
                    op.as_str(),
                    right.pretty_at(level + 1)
                )
            }
            Node::Call { function, arguments } => {
                let arguments: Vec<String> =
                    arguments.iter().map(|argument| argument.pretty_at(level + 1)).collect();
                format!("{indent}{}(\n{}\n{indent})", function.name, arguments.join(",\n"))
            }
            Node::Parens(inner) => format!("{indent}(\n{}\n{indent})", inner.pretty_at(level + 1)),
            Node::Subquery { expr, range, step, modifiers } => {
                format!("{}{}", expr.pretty_at(level), Subquery(range, step.as_ref(), modifiers))
            }
            _ => format!("{indent}{line}"),
        }
    }
}

impl Display for Expr {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match &self.node {
            Node::Number(number) => write!(f, "{number}"),
            Node::Text(text) => f.write_str(&quoted(text)),
            Node::Selector(selector) => {
                let Modifiers { at, extension, offset } = &selector.modifiers;
                write!(f, "{}{}{extension}{}", Bare(selector), Behind(at), Offset(offset))
            }
            Node::Range { selector, range } => {
                let Modifiers { at, extension, offset } = &selector.modifiers;
                write!(f, "{}[{range}]{extension}{}{}", Bare(selector), Behind(at), Offset(offset))
            }
            Node::Subquery { expr, range, step, modifiers } => {
                write!(f, "{expr}{}", Subquery(range, step.as_ref(), modifiers))
            }
            Node::Call { function, arguments } => {
                write!(f, "{}(", function.name)?;
                list(f, arguments, ", ")?;
                f.write_char(')')
            }
            Node::Aggregate { op, grouping, parameter, expr } => {
                write!(f, "{}{grouping}(", op.as_str())?;
                if let Some(parameter) = parameter {
                    write!(f, "{parameter}, ")?;
                }
                write!(f, "{expr})")
            }
            Node::Binary { op, left, right, returns_bool, matching } => {
                let truth = if *returns_bool { " bool" } else { "" };
                write!(f, "{left} {}{truth}{matching} {right}", op.as_str())
            }
            Node::Unary { minus, expr } => write!(f, "{}{expr}", if *minus { '-' } else { '+' }),
            Node::Parens(inner) => write!(f, "({inner})"),
        }
    }
}

impl Display for Spelled {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let value = self.value;
        if self.as_duration {
            f.write_str(&format_duration((value * 1e3).round() as i64))
        } else if value.is_nan() {
            f.write_str("NaN")
        } else if value.is_infinite() {
            f.write_str(if value > 0.0 { "+Inf" } else { "-Inf" })
        } else {
            write!(f, "{value}")
        }
    }
}

fn list(f: &mut Formatter<'_>, items: &[impl Display], comma: &str) -> fmt::Result {
    for (i, item) in items.iter().enumerate() {
        write!(f, "{}{item}", if i == 0 { "" } else { comma })?;
    }
    Ok(())
}

/// A selector without its modifiers.
struct Bare<'a>(&'a Selector);

impl Display for Bare<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Selector { name, matchers, .. } = self.0;
        f.write_str(name.as_deref().unwrap_or(""))?;
        let is_name = |at: usize| name.is_some() && at == 0;
        let others = matchers.iter().enumerate().filter(|(at, _)| !is_name(*at));
        let mut texts: Vec<String> =
            others.map(|(_, m)| format!("{}{}{}", Label(&m.name), m.op.as_str(), quoted(&m.value))).collect();
        if texts.is_empty() {
            return if name.is_none() { f.write_str("{}") } else { Ok(()) };
        }
        texts.sort();
        f.write_char('{')?;
        list(f, &texts, ",")?;
        f.write_char('}')
    }
}

/// A label name, quoted where it must be.
struct Label<'a>(&'a str);

impl Display for Label<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let plain = !self.0.is_empty()
            && !self.0.starts_with(|c: char| c.is_ascii_digit())
            && self.0.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        f.write_str(&if plain { self.0.to_owned() } else { quoted(self.0) })
    }
}

struct Behind<'a>(&'a Option<At>);

impl Display for Behind<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(At::Time(ms)) => write!(f, " @ {:.3}", *ms as f64 / 1e3),
            Some(At::Start) => f.write_str(" @ start()"),
            Some(At::End) => f.write_str(" @ end()"),
            None => Ok(()),
        }
    }
}

struct Offset<'a>(&'a Option<Span>);

impl Display for Offset<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self.0 {
            None | Some(Span::Ms(0)) => Ok(()),
            Some(span) => write!(f, " offset {span}"),
        }
    }
}

impl Display for Extension {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Extension::None => "",
            Extension::Anchored => " anchored",
            Extension::Smoothed => " smoothed",
        })
    }
}

struct Subquery<'a>(&'a Span, Option<&'a Span>, &'a Modifiers);

impl Display for Subquery<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "[{}:", self.0)?;
        if let Some(step) = self.1 {
            write!(f, "{step}")?;
        }
        write!(f, "]{}{}", Behind(&self.2.at), Offset(&self.2.offset))
    }
}

impl Display for Span {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Span::Ms(ms) => f.write_str(&format_duration(*ms)),
            Span::Computed { op, .. } => write!(f, "{op}"),
        }
    }
}

impl Display for DurationOp {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            DurationOp::Number(number) => write!(f, "{number}"),
            DurationOp::Step => f.write_str("step()"),
            DurationOp::Range => f.write_str("range()"),
            DurationOp::Negate(inner) => write!(f, "-{inner}"),
            DurationOp::Parens(inner) => write!(f, "({inner})"),
            DurationOp::MinOf(a, b) => write!(f, "min_of({a}, {b})"),
            DurationOp::MaxOf(a, b) => write!(f, "max_of({a}, {b})"),
            DurationOp::Binary(op, a, b) => write!(f, "{a} {} {b}", BinaryOp::as_str(*op)),
        }
    }
}

impl Display for Grouping {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        if !self.without && self.labels.is_empty() {
            return Ok(());
        }
        write!(f, " {} (", if self.without { "without" } else { "by" })?;
        list(f, &self.labels.iter().map(|label| Label(label)).collect::<Vec<_>>(), ", ")?;
        f.write_str(") ")
    }
}

impl Display for Matching {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let labels = |labels: &[String]| {
            labels.iter().map(|label| Label(label).to_string()).collect::<Vec<_>>().join(", ")
        };
        let grouped = matches!(self.cardinality, Cardinality::ManyToOne | Cardinality::OneToMany);
        if self.on || !self.labels.is_empty() || grouped {
            write!(f, " {} ({})", if self.on { "on" } else { "ignoring" }, labels(&self.labels))?;
        }
        match self.cardinality {
            Cardinality::ManyToOne => write!(f, " group_left ({})", labels(&self.include))?,
            Cardinality::OneToMany => write!(f, " group_right ({})", labels(&self.include))?,
            _ => {}
        }
        match (self.fill.left, self.fill.right) {
            (Some(left), Some(right)) if left == right => write!(f, " fill ({})", model::short(left)),
            (left, right) => {
                if let Some(left) = left {
                    write!(f, " fill_left ({})", model::short(left))?;
                }
                if let Some(right) = right {
                    write!(f, " fill_right ({})", model::short(right))?;
                }
                Ok(())
            }
        }
    }
}

impl Display for AggregateOp {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
