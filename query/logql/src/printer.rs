//! A tree back to a query, on one line. Parsing what is printed gives the same tree.

use crate::ast::*;
use crate::units::format_duration;
use model::Matcher;
use std::fmt::{self, Display, Formatter, Write};

pub(crate) struct Quoted<'a>(pub &'a str);

impl Display for Quoted<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_char('"')?;
        for c in self.0.chars() {
            match c {
                '"' => f.write_str("\\\"")?,
                '\\' => f.write_str("\\\\")?,
                '\n' => f.write_str("\\n")?,
                '\r' => f.write_str("\\r")?,
                '\t' => f.write_str("\\t")?,
                c if c.is_control() => write!(f, "\\u{:04x}", c as u32)?,
                c => f.write_char(c)?,
            }
        }
        f.write_char('"')
    }
}

fn matcher(f: &mut Formatter<'_>, m: &Matcher) -> fmt::Result {
    write!(f, "{}{}{}", m.name, m.op.as_str(), Quoted(&m.value))
}

fn list<T>(
    f: &mut Formatter<'_>,
    items: &[T],
    separator: &str,
    mut one: impl FnMut(&mut Formatter<'_>, &T) -> fmt::Result,
) -> fmt::Result {
    for (at, item) in items.iter().enumerate() {
        if at > 0 {
            f.write_str(separator)?;
        }
        one(f, item)?;
    }
    Ok(())
}

impl Display for Expr {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Expr::Log(log) => log.fmt(f),
            Expr::Metric(metric) => metric.fmt(f),
        }
    }
}

impl Display for LogExpr {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_char('{')?;
        list(f, &self.matchers, ", ", matcher)?;
        f.write_char('}')?;
        for stage in &self.stages {
            write!(f, " {stage}")?;
        }
        Ok(())
    }
}

impl Display for Stage {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Stage::Line(filter) => filter.fmt(f),
            Stage::Json(fields) => {
                f.write_str("| json")?;
                for (at, field) in fields.iter().enumerate() {
                    let before = if at > 0 { "," } else { " " };
                    write!(f, "{before}{}={}", field.label, Quoted(&field.path))?;
                }
                Ok(())
            }
            Stage::Logfmt { strict, keep_empty, fields } => {
                f.write_str("| logfmt")?;
                f.write_str(if *strict { " --strict" } else { "" })?;
                f.write_str(if *keep_empty { " --keep-empty" } else { "" })?;
                for (at, field) in fields.iter().enumerate() {
                    let before = if at > 0 { "," } else { " " };
                    write!(f, "{before}{}={}", field.label, Quoted(&field.key))?;
                }
                Ok(())
            }
            Stage::Regexp(regex) => write!(f, "| regexp {}", Quoted(regex.text())),
            Stage::Pattern(pattern) => write!(f, "| pattern {}", Quoted(pattern.as_str())),
            Stage::Unpack => f.write_str("| unpack"),
            Stage::Decolorize => f.write_str("| decolorize"),
            Stage::LineFormat(template) => write!(f, "| line_format {}", Quoted(template.as_str())),
            Stage::LabelFormat(formats) => {
                f.write_str("| label_format ")?;
                list(f, formats, ",", |f, format| match format {
                    LabelFormat::Rename { to, from } => write!(f, "{to}={from}"),
                    LabelFormat::Template { to, template } => write!(f, "{to}={}", Quoted(template.as_str())),
                })
            }
            Stage::Label(filter) => write!(f, "| {filter}"),
            Stage::Drop(picks) | Stage::Keep(picks) => {
                f.write_str(if matches!(self, Stage::Drop(_)) { "| drop " } else { "| keep " })?;
                list(f, picks, ",", |f, pick| match pick {
                    LabelPick::Name(name) => f.write_str(name),
                    LabelPick::Matching(m) => matcher(f, m),
                })
            }
        }
    }
}

impl Display for LineFilter {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(match (self.op, self.negated) {
            (LineOp::Contains, false) => "|= ",
            (LineOp::Contains, true) => "!= ",
            (LineOp::Regex, false) => "|~ ",
            (LineOp::Regex, true) => "!~ ",
            (LineOp::Pattern, false) => "|> ",
            (LineOp::Pattern, true) => "!> ",
        })?;
        list(f, &self.any, " or ", |f, one| match one {
            LineMatch::Text(text) => Quoted(text).fmt(f),
            LineMatch::Regex(regex) => Quoted(regex.text()).fmt(f),
            LineMatch::Pattern(pattern) => Quoted(pattern.as_str()).fmt(f),
            LineMatch::Ip(ip) => write!(f, "ip({})", Quoted(&ip.to_string())),
        })
    }
}

impl Display for LabelFilter {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            LabelFilter::Text(m) => matcher(f, m),
            LabelFilter::Number { name, op, value, unit } => {
                write!(f, "{name}{}", op.as_str())?;
                match unit {
                    Unit::Plain => write!(f, "{value}"),
                    Unit::Duration => f.write_str(&format_duration(*value as i64)),
                    Unit::Bytes => write!(f, "{value}B"),
                }
            }
            LabelFilter::Ip { name, negated, ip } => {
                write!(f, "{name}{}ip({})", if *negated { "!=" } else { "=" }, Quoted(&ip.to_string()))
            }
            LabelFilter::And(left, right) => write!(f, "({left} and {right})"),
            LabelFilter::Or(left, right) => write!(f, "({left} or {right})"),
        }
    }
}

impl Display for LogRange {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        self.log.fmt(f)?;
        if let Some(unwrap) = &self.unwrap {
            match unwrap.conversion {
                Conversion::Number => write!(f, " | unwrap {}", unwrap.label)?,
                Conversion::Bytes => write!(f, " | unwrap bytes({})", unwrap.label)?,
                Conversion::Duration => write!(f, " | unwrap duration({})", unwrap.label)?,
                Conversion::DurationSeconds => write!(f, " | unwrap duration_seconds({})", unwrap.label)?,
            }
            for filter in &unwrap.filters {
                write!(f, " | {filter}")?;
            }
        }
        write!(f, "[{}]", format_duration(self.range_ns))?;
        if self.offset_ns != 0 {
            write!(f, " offset {}", format_duration(self.offset_ns))?;
        }
        Ok(())
    }
}

impl Display for Grouping {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", if self.without { "without" } else { "by" }, self.labels.join(", "))
    }
}

impl Display for MetricExpr {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            MetricExpr::Range { op, param, range, grouping } => {
                write!(f, "{}(", op.as_str())?;
                if let Some(param) = param {
                    write!(f, "{param}, ")?;
                }
                write!(f, "{range})")?;
                match grouping {
                    Some(grouping) => write!(f, " {grouping}"),
                    None => Ok(()),
                }
            }
            MetricExpr::Vector { op, param, expr, grouping } => {
                f.write_str(op.as_str())?;
                if let Some(grouping) = grouping {
                    write!(f, " {grouping} ")?;
                }
                match param {
                    Some(param) => write!(f, "({param}, {expr})"),
                    None => write!(f, "({expr})"),
                }
            }
            MetricExpr::Binary(binary) => binary.fmt(f),
            MetricExpr::LabelReplace(replace) => write!(
                f,
                "label_replace({}, {}, {}, {}, {})",
                replace.expr,
                Quoted(&replace.to),
                Quoted(&replace.replacement),
                Quoted(&replace.from),
                Quoted(&replace.regex_text)
            ),
            MetricExpr::Constant(value) => write!(f, "vector({})", Number(*value)),
            MetricExpr::Literal(value) => Number(*value).fmt(f),
        }
    }
}

/// A number that the grammar can read again: infinities and NaN have no literal and become a fraction of zero.
struct Number(f64);

impl Display for Number {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        if self.0.is_nan() {
            f.write_str("0 / 0")
        } else if self.0.is_infinite() {
            f.write_str(if self.0 > 0.0 { "1e999" } else { "-1e999" })
        } else {
            write!(f, "{}", self.0)
        }
    }
}

impl Display for Binary {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "({} {}", self.left, self.op.as_str())?;
        if self.returns_bool {
            f.write_str(" bool")?;
        }
        let matching = &self.matching;
        if matching.on || !matching.labels.is_empty() || matching.cardinality != Cardinality::OneToOne {
            write!(f, " {} ({})", if matching.on { "on" } else { "ignoring" }, matching.labels.join(", "))?;
        }
        match matching.cardinality {
            Cardinality::OneToOne => {}
            Cardinality::ManyToOne => write!(f, " group_left ({})", matching.include.join(", "))?,
            Cardinality::OneToMany => write!(f, " group_right ({})", matching.include.join(", "))?,
        }
        write!(f, " {})", self.right)
    }
}
