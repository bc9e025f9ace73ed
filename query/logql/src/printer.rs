//! A tree back to a query, on one line and spelled as Loki spells it. Parsing what is printed gives the same tree: where Loki's
//! own spelling would read as another query (a size that it rounds), it is not followed.

mod pretty;
mod simplified;

pub use pretty::pretty;

use crate::ast::*;
use crate::template::float_text;
use crate::units::{go_duration, parse_bytes, short_duration};
use model::{Match, Matcher};
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
                '\x07' => f.write_str("\\a")?,
                '\x08' => f.write_str("\\b")?,
                '\x0b' => f.write_str("\\v")?,
                '\x0c' => f.write_str("\\f")?,
                c if c.is_ascii_control() => write!(f, "\\x{:02x}", c as u32)?,
                c if is_unseen(c) => match c as u32 {
                    code @ ..0x10000 => write!(f, "\\u{code:04x}")?,
                    code => write!(f, "\\U{code:08x}")?,
                },
                c => f.write_char(c)?,
            }
        }
        f.write_char('"')
    }
}

/// What Go writes as a number because nobody would see it: spaces but the usual one, and what formats text.
fn is_unseen(c: char) -> bool {
    c.is_control()
        || (c.is_whitespace() && c != ' ')
        || matches!(c, '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}'
            | '\u{e000}'..='\u{f8ff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..)
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

impl LineFilter {
    fn symbol(&self) -> &'static str {
        match (self.op, self.negated) {
            (LineOp::Contains, false) => "|=",
            (LineOp::Contains, true) => "!=",
            (LineOp::Regex, false) => "|~",
            (LineOp::Regex, true) => "!~",
            (LineOp::Pattern, false) => "|>",
            (LineOp::Pattern, true) => "!>",
        }
    }
}

impl Display for LineFilter {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        // None of some is not one, and not the other.
        let between = if self.negated { format!(" {} ", self.symbol()) } else { " or ".to_owned() };
        write!(f, "{} ", self.symbol())?;
        list(f, &self.any, &between, |f, one| match one {
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
            LabelFilter::Text(m) if m.op == Match::Regex && simplified::stays_a_regex(&m.value) => {
                match m.value.contains('`') {
                    true => matcher(f, m),
                    false => write!(f, "{}=~`{}`", m.name, m.value),
                }
            }
            LabelFilter::Text(m) => matcher(f, m),
            LabelFilter::Number { name, op, value, unit } => {
                write!(f, "{name}{}", op.as_str())?;
                match unit {
                    Unit::Plain => write!(f, "{value}"),
                    Unit::Duration => f.write_str(&go_duration(*value as i64)),
                    Unit::Bytes => f.write_str(&size(*value)),
                }
            }
            LabelFilter::Ip { name, negated, ip } => {
                write!(f, "{name}{}ip({})", if *negated { "!=" } else { "=" }, Quoted(&ip.to_string()))
            }
            LabelFilter::And(left, right) => write!(f, "( {left} , {right} )"),
            LabelFilter::Or(left, right) => write!(f, "( {left} or {right} )"),
        }
    }
}

/// In the largest decimal unit with one digit behind the point below ten, where that is the size; else in bytes.
fn size(bytes: f64) -> String {
    const UNITS: [&str; 6] = ["kB", "MB", "GB", "TB", "PB", "EB"];
    let power = (1..=UNITS.len()).rev().find(|power| bytes >= 1000f64.powi(*power as i32));
    let Some(power) = power else { return format!("{bytes}B") };
    let tenths = (bytes / 1000f64.powi(power as i32) * 10.0 + 0.5).floor();
    let digits = usize::from(tenths < 100.0);
    let text = format!("{:.digits$}{}", tenths / 10.0, UNITS[power - 1]);
    if parse_bytes(&text).is_some_and(|read| read as f64 == bytes) { text } else { format!("{bytes}B") }
}

impl Display for LogRange {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        self.log.fmt(f)?;
        if let Some(unwrap) = &self.unwrap {
            write!(f, " {}", unwrap.stage())?;
            for filter in &unwrap.filters {
                write!(f, " | {filter}")?;
            }
        }
        write!(f, "[{}]", short_duration(self.range_ns))?;
        if self.offset_ns != 0 {
            write!(f, " offset {}", go_duration(self.offset_ns))?;
        }
        Ok(())
    }
}

impl Unwrap {
    fn stage(&self) -> String {
        match self.conversion {
            Conversion::Number => format!("| unwrap {}", self.label),
            Conversion::Bytes => format!("| unwrap bytes({})", self.label),
            Conversion::Duration => format!("| unwrap duration({})", self.label),
            Conversion::DurationSeconds => format!("| unwrap duration_seconds({})", self.label),
        }
    }
}

impl Display for Grouping {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", if self.without { "without" } else { "by" }, self.written.join(","))
    }
}

impl Display for MetricExpr {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            MetricExpr::Range { op, param, range, grouping } => {
                write!(f, "{}(", op.as_str())?;
                if let Some(param) = param {
                    write!(f, "{param},")?;
                }
                write!(f, "{range})")?;
                match grouping {
                    Some(grouping) => write!(f, " {grouping}"),
                    None => Ok(()),
                }
            }
            MetricExpr::Vector { op, param, expr, grouping } => {
                f.write_str(op.as_str())?;
                // By no label is as without a word of it.
                if let Some(grouping) = grouping.as_ref().filter(|by| by.without || !by.labels.is_empty()) {
                    write!(f, " {grouping}")?;
                }
                match param {
                    Some(param) => write!(f, "({param},{expr})"),
                    None => write!(f, "({expr})"),
                }
            }
            MetricExpr::Binary(binary) => binary.fmt(f),
            MetricExpr::LabelReplace(replace) => write!(
                f,
                "label_replace({},{},{},{},{})",
                replace.expr,
                Quoted(&replace.to),
                Quoted(&replace.replacement),
                Quoted(&replace.from),
                Quoted(&replace.regex_text)
            ),
            MetricExpr::Constant(value) => {
                let text = format!("{value:.6}");
                match text.parse() == Ok(*value) {
                    true => write!(f, "vector({text})"),
                    false => write!(f, "vector({})", Number(*value)),
                }
            }
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
            f.write_str(&float_text(self.0))
        }
    }
}

impl Display for Binary {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "({} {} {})", self.left, self.operator(","), self.right)
    }
}

impl Binary {
    /// The operator with all that modifies it. Behind labels there is a blank, which a group follows or the next blank.
    fn operator(&self, between: &str) -> String {
        let mut text = self.op.as_str().to_owned();
        if self.returns_bool {
            text.push_str(" bool");
        }
        let Matching { on, written, cardinality, include, .. } = &self.matching;
        if *on || !written.is_empty() || *cardinality != Cardinality::OneToOne {
            text += &format!(" {} ({}) ", if *on { "on" } else { "ignoring" }, written.join(between));
        }
        text.push_str(match cardinality {
            Cardinality::OneToOne => "",
            Cardinality::ManyToOne => "group_left",
            Cardinality::OneToMany => "group_right",
        });
        if !include.is_empty() {
            text += &format!(" ({})", include.join(between));
        }
        text
    }
}
