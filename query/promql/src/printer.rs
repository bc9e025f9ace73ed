//! A tree as text that parses to the same tree, in Prometheus' own layout of one line.

use crate::ast::{At, Cardinality, Expr, Grouping, Matching, Modifiers, Selector};
use crate::format_duration;
use model::Match;
use std::fmt::{self, Display, Formatter, Write};

impl Display for Expr {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Expr::Number(number) => write_number(f, *number),
            Expr::Text(text) => write!(f, "{text:?}"),
            Expr::Selector(selector) => write!(f, "{}{}", Bare(selector), selector.modifiers),
            Expr::Range { selector, range_ms } => {
                write!(f, "{}[{}]{}", Bare(selector), format_duration(*range_ms), selector.modifiers)
            }
            Expr::Subquery { expr, range_ms, step_ms, modifiers } => {
                let step = step_ms.map(format_duration).unwrap_or_default();
                write!(f, "{expr}[{}:{step}]{modifiers}", format_duration(*range_ms))
            }
            Expr::Call { function, arguments } => {
                write!(f, "{}(", function.name)?;
                list(f, arguments)?;
                f.write_char(')')
            }
            Expr::Aggregate { op, grouping, parameter, expr } => {
                write!(f, "{}{grouping}(", op.as_str())?;
                if let Some(parameter) = parameter {
                    write!(f, "{parameter}, ")?;
                }
                write!(f, "{expr})")
            }
            Expr::Binary { op, left, right, returns_bool, matching } => {
                let truth = if *returns_bool { " bool" } else { "" };
                write!(f, "{left} {}{truth}{matching} {right}", op.as_str())
            }
            Expr::Negate(inner) => write!(f, "-{inner}"),
            Expr::Parens(inner) => write!(f, "({inner})"),
        }
    }
}

fn write_number(f: &mut Formatter<'_>, number: f64) -> fmt::Result {
    if number.is_nan() {
        f.write_str("NaN")
    } else if number.is_infinite() {
        f.write_str(if number > 0.0 { "+Inf" } else { "-Inf" })
    } else {
        write!(f, "{number}")
    }
}

fn list(f: &mut Formatter<'_>, items: &[impl Display]) -> fmt::Result {
    for (i, item) in items.iter().enumerate() {
        let comma = if i == 0 { "" } else { ", " };
        write!(f, "{comma}{item}")?;
    }
    Ok(())
}

/// A selector without its modifiers.
struct Bare<'a>(&'a Selector);

impl Display for Bare<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let name = self
            .0
            .matchers
            .first()
            .filter(|matcher| matcher.name == "__name__" && matcher.op == Match::Equal);
        let plain = name.filter(|matcher| is_metric_name(&matcher.value));
        let rest = &self.0.matchers[usize::from(name.is_some())..];
        if let Some(name) = plain {
            f.write_str(&name.value)?;
        }
        if plain.is_some() && rest.is_empty() {
            return Ok(());
        }
        f.write_char('{')?;
        let quoted_name = name.filter(|_| plain.is_none()).map(|matcher| format!("{:?}", matcher.value));
        let matchers = rest.iter().map(|m| format!("{}{}{:?}", Label(&m.name), m.op.as_str(), m.value));
        list(f, &quoted_name.into_iter().chain(matchers).collect::<Vec<_>>())?;
        f.write_char('}')
    }
}

/// A label name, quoted where it must be.
struct Label<'a>(&'a str);

impl Display for Label<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let plain = is_metric_name(self.0) && !self.0.contains(':');
        if plain { f.write_str(self.0) } else { write!(f, "{:?}", self.0) }
    }
}

fn is_metric_name(name: &str) -> bool {
    !name.is_empty()
        && !name.starts_with(|c: char| c.is_ascii_digit())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b':'))
}

impl Display for Modifiers {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self.at {
            Some(At::Time(ms)) => write!(f, " @ {:.3}", ms as f64 / 1e3)?,
            Some(At::Start) => f.write_str(" @ start()")?,
            Some(At::End) => f.write_str(" @ end()")?,
            None => {}
        }
        match self.offset_ms {
            0 => Ok(()),
            ms => write!(f, " offset {}", format_duration(ms)),
        }
    }
}

impl Display for Grouping {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        if !self.without && self.labels.is_empty() {
            return Ok(());
        }
        write!(f, " {} (", if self.without { "without" } else { "by" })?;
        list(f, &self.labels.iter().map(|label| Label(label)).collect::<Vec<_>>())?;
        f.write_str(") ")
    }
}

impl Display for Matching {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let grouped = matches!(self.cardinality, Cardinality::ManyToOne | Cardinality::OneToMany);
        if !self.on && self.labels.is_empty() && !grouped {
            return Ok(());
        }
        let labels = |labels: &[String]| {
            labels.iter().map(|label| Label(label).to_string()).collect::<Vec<_>>().join(", ")
        };
        write!(f, " {} ({})", if self.on { "on" } else { "ignoring" }, labels(&self.labels))?;
        match self.cardinality {
            Cardinality::ManyToOne => write!(f, " group_left ({})", labels(&self.include)),
            Cardinality::OneToMany => write!(f, " group_right ({})", labels(&self.include)),
            _ => Ok(()),
        }
    }
}
