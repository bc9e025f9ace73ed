//! What of a WHERE clause a snapshot can use: time ranges, names, labels, ids. Everything found here only narrows what
//! is read; DataFusion applies the whole clause again.

use super::full_text;
use crate::logql::literal_of;
use arrow::datatypes::{DataType, TimeUnit};
use datafusion::common::ScalarValue;
use datafusion::logical_expr::expr::{BinaryExpr, Cast, InList, Like, ScalarFunction};
use datafusion::logical_expr::{Expr, Operator};
use model::{
    LinePattern, LogSelect, METRIC_NAME, Match, Matcher, SeriesSelect, SpanField, SpanSelect, TimeRange,
    WordQuery,
};
use regex::Regex;

/// Comparisons of a column with a constant, the column on the left.
enum Condition<'a> {
    Compare(&'a str, Operator, &'a ScalarValue),
    In(&'a str, Vec<&'a ScalarValue>),
    Contains(&'a str, String),
    Label(&'a str, Operator, &'a str),
    /// Of the column `attributes` or `resource`, a name and what it must be.
    Attribute(&'a str, &'a str, &'a str),
    Words(WordQuery),
    /// Of the column `body`.
    Pattern(LinePattern),
}

/// Range in `unit_ns` of the column; `start..=end`. What is left is what passes, no more and no less.
fn narrow(range: &mut TimeRange, operator: Operator, value_ns: i64, unit_ns: i64) {
    let floor = value_ns.div_euclid(unit_ns);
    let ceil = floor + i64::from(value_ns.rem_euclid(unit_ns) != 0);
    match operator {
        Operator::Eq => {
            range.start = range.start.max(ceil);
            range.end = range.end.min(floor);
        }
        Operator::Gt => range.start = range.start.max(floor.saturating_add(1)),
        Operator::GtEq => range.start = range.start.max(ceil),
        Operator::Lt => range.end = range.end.min(ceil.saturating_sub(1)),
        Operator::LtEq => range.end = range.end.min(floor),
        _ => {}
    }
}

/// Whether all times of a range, in nanoseconds, pass a comparison.
pub fn passes(range: TimeRange, operator: Operator, value: &ScalarValue) -> bool {
    let Some(ns) = nanoseconds(value) else { return false };
    match operator {
        Operator::Eq => range.start >= ns && range.end <= ns,
        Operator::Gt => range.start > ns,
        Operator::GtEq => range.start >= ns,
        Operator::Lt => range.end < ns,
        Operator::LtEq => range.end <= ns,
        _ => false,
    }
}

const MS: i64 = 1_000_000;

pub fn series_select(filters: &[Expr]) -> SeriesSelect {
    let mut select = SeriesSelect { matchers: vec![], range: TimeRange::ALL };
    for condition in filters.iter().flat_map(conditions) {
        match condition {
            Condition::Compare("ts", operator, value) => {
                if let Some(ns) = nanoseconds(value) {
                    narrow(&mut select.range, operator, ns, MS);
                }
            }
            Condition::Compare("name", operator, value) => {
                select.matchers.extend(text(value).and_then(|name| matcher(METRIC_NAME, operator, name)));
            }
            Condition::In("name", names) => {
                let names: Option<Vec<String>> =
                    names.into_iter().map(|n| text(n).map(regex::escape)).collect();
                let pattern = names.map(|names| names.join("|"));
                select.matchers.extend(pattern.and_then(|p| Matcher::new(METRIC_NAME, Match::Regex, p).ok()));
            }
            Condition::Label(name, operator, value) => select.matchers.extend(matcher(name, operator, value)),
            _ => {}
        }
    }
    select
}

pub fn log_select(filters: &[Expr], limit: Option<usize>) -> LogSelect {
    let mut select = LogSelect::all(TimeRange::ALL);
    select.limit = limit;
    for condition in filters.iter().flat_map(conditions) {
        match condition {
            Condition::Compare("ts", operator, value) => {
                if let Some(ns) = nanoseconds(value) {
                    narrow(&mut select.range, operator, ns, 1);
                }
            }
            Condition::Compare("trace_id", Operator::Eq, value) => {
                select.trace_id = text(value).and_then(id).or(select.trace_id);
            }
            Condition::Compare("body", Operator::Eq, value) => {
                select.contains.extend(text(value).map(str::to_owned))
            }
            Condition::Contains("body", part) => select.contains.push(part),
            Condition::Words(query) => select.words.push(query),
            Condition::Pattern(pattern) => {
                if !pattern.negated {
                    select.contains.extend(literal_of(pattern.regex.as_str()));
                }
                select.patterns.push(pattern);
            }
            Condition::Compare(
                column @ ("service" | "namespace" | "pod" | "container" | "node"),
                Operator::Eq,
                value,
            ) => select.places.extend(text(value).map(|value| (column.to_owned(), value.to_owned()))),
            Condition::Label(name, operator, value) => select.matchers.extend(matcher(name, operator, value)),
            _ => {}
        }
    }
    // Conditions of the clause may drop any row, so a limit is only a hint where there are none.
    if !filters.is_empty() {
        select.limit = None;
    }
    select
}

pub fn span_select(filters: &[Expr]) -> SpanSelect {
    let mut select = SpanSelect::all(TimeRange::ALL);
    for condition in filters.iter().flat_map(conditions) {
        match condition {
            Condition::Compare("start_ts", operator, value) => {
                if let Some(ns) = nanoseconds(value) {
                    narrow(&mut select.range, operator, ns, 1);
                }
            }
            Condition::Compare("trace_id", Operator::Eq, value) => {
                select.trace_ids.extend(text(value).and_then(id))
            }
            Condition::In("trace_id", values) => {
                let ids: Option<Vec<_>> = values.into_iter().map(|value| text(value).and_then(id)).collect();
                select.trace_ids.extend(ids.unwrap_or_default());
            }
            Condition::Attribute("attributes", name, value) => {
                select.attributes.push((name.to_owned(), value.to_owned()))
            }
            Condition::Attribute("resource", "service.name", value) => {
                select.service = Some(value.to_owned())
            }
            Condition::Compare("service", Operator::Eq, value) => {
                select.service = text(value).map(str::to_owned)
            }
            Condition::Compare("name", Operator::Eq, value) => select.name = text(value).map(str::to_owned),
            Condition::Compare("status", Operator::Eq, value) if text(value) == Some("error") => {
                select.errors_only = true;
            }
            Condition::Compare("duration_ns", Operator::Gt | Operator::GtEq | Operator::Eq, value) => {
                if let ScalarValue::Int64(Some(ns)) = value {
                    select.duration_ns_min = Some(select.duration_ns_min.unwrap_or(i64::MIN).max(*ns));
                }
            }
            _ => {}
        }
    }
    select
}

fn conditions(filter: &Expr) -> Vec<Condition<'_>> {
    match filter {
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::And, right }) => {
            let mut both = conditions(left);
            both.extend(conditions(right));
            both
        }
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::RegexMatch | Operator::RegexNotMatch, right }) => {
            let Expr::BinaryExpr(BinaryExpr { op, .. }) = filter else { return vec![] };
            body_regex(left, *op, right).map(Condition::Pattern).into_iter().collect()
        }
        Expr::BinaryExpr(BinaryExpr { left, op, right }) => comparison(left, *op, right)
            .or_else(|| op.swap().and_then(|swapped| comparison(right, swapped, left)))
            .into_iter()
            .collect(),
        Expr::InList(InList { expr, list, negated: false }) => {
            let values: Option<Vec<_>> = list.iter().map(literal).collect();
            column(expr).zip(values).map(|(name, values)| Condition::In(name, values)).into_iter().collect()
        }
        Expr::Like(like) if column(&like.expr) == Some("body") => body_like(like).unwrap_or_default(),
        Expr::Like(Like { negated: false, expr, pattern, case_insensitive: false, escape_char: None }) => {
            let part = literal(pattern).and_then(text).and_then(literal_part);
            column(expr).zip(part).map(|(name, part)| Condition::Contains(name, part)).into_iter().collect()
        }
        Expr::ScalarFunction(ScalarFunction { func, args }) if func.name() == full_text::NAME => {
            let [of, query] = &args[..] else { return vec![] };
            let query = literal(query).and_then(text).and_then(|query| full_text::parse(query).ok());
            let query = query.filter(|_| column(of) == Some("body"));
            query.map(Condition::Words).into_iter().collect()
        }
        _ => vec![],
    }
}

/// Whether the scan gives only what passes, so that nobody need look at the bodies again.
pub fn is_judged_by_scan(filter: &Expr) -> bool {
    match filter {
        Expr::Like(like) => column(&like.expr) == Some("body") && body_like(like).is_some(),
        Expr::BinaryExpr(BinaryExpr { left, op, right }) => body_regex(left, *op, right).is_some(),
        _ => false,
    }
}

/// An attribute of spans or of their resource, and the text that it must be.
pub fn attribute(filter: &Expr) -> Option<(SpanField, String)> {
    let Expr::BinaryExpr(BinaryExpr { left, op: Operator::Eq, right }) = filter else { return None };
    let found = comparison(left, Operator::Eq, right).or_else(|| comparison(right, Operator::Eq, left))?;
    match found {
        Condition::Attribute("attributes", name, text) => Some((SpanField::Span(name.into()), text.into())),
        Condition::Attribute("resource", name, text) => Some((SpanField::Resource(name.into()), text.into())),
        _ => None,
    }
}

/// What LIKE asks of the body; `None` where it is not known for sure.
fn body_like(like: &Like) -> Option<Vec<Condition<'static>>> {
    let Like { negated, pattern, case_insensitive: false, escape_char: None, .. } = like else { return None };
    // A backslash makes the next character one that stands for itself.
    let pattern = literal(pattern).and_then(text).filter(|pattern| !pattern.contains('\\'))?;
    let inner = pattern.strip_prefix('%').and_then(|rest| rest.strip_suffix('%'));
    if let (false, Some(inner)) = (negated, inner.filter(|inner| !inner.contains(['%', '_'])))
        && !inner.is_empty()
    {
        return Some(vec![Condition::Contains("body", inner.to_owned())]);
    }
    let mut regex = "(?s)".to_owned();
    let (start, rest) = pattern.strip_prefix('%').map_or(("^", pattern), |rest| ("", rest));
    let (rest, end) = rest.strip_suffix('%').map_or((rest, "$"), |rest| (rest, ""));
    regex.push_str(start);
    for c in rest.chars() {
        match c {
            '%' => regex.push_str(".*"),
            '_' => regex.push('.'),
            c => regex.push_str(&regex::escape(c.encode_utf8(&mut [0; 4]))),
        }
    }
    regex.push_str(end);
    let pattern_of = LinePattern { regex: Regex::new(&regex).ok()?, negated: *negated };
    let part = literal_part(pattern).filter(|_| !negated).map(|part| Condition::Contains("body", part));
    Some(std::iter::once(Condition::Pattern(pattern_of)).chain(part).collect())
}

/// A regex that the body must match, or must not.
fn body_regex(left: &Expr, operator: Operator, right: &Expr) -> Option<LinePattern> {
    let negated = match operator {
        Operator::RegexMatch => false,
        Operator::RegexNotMatch => true,
        _ => return None,
    };
    let regex = literal(right).and_then(text).filter(|_| column(left) == Some("body"))?;
    Some(LinePattern { regex: Regex::new(regex).ok()?, negated })
}

/// The longest run of a LIKE pattern that stands for itself.
fn literal_part(pattern: &str) -> Option<String> {
    // A backslash makes the next character one that stands for itself.
    let pattern = Some(pattern).filter(|pattern| !pattern.contains('\\'))?;
    pattern.split(['%', '_']).max_by_key(|part| part.len()).filter(|part| part.len() > 1).map(str::to_owned)
}

fn comparison<'a>(left: &'a Expr, operator: Operator, right: &'a Expr) -> Option<Condition<'a>> {
    let value = literal(right)?;
    if let Some(name) = column(left) {
        return Some(Condition::Compare(name, operator, value));
    }
    let Expr::ScalarFunction(ScalarFunction { func, args }) = left else { return None };
    match (func.name(), &args[..]) {
        // `labels['app']` is the latter.
        ("label" | "attr" | "get_field", [map, key]) if column(map) == Some("labels") => {
            Some(Condition::Label(text(literal(key)?)?, operator, text(value)?))
        }
        ("attr" | "get_field", [map, key]) if operator == Operator::Eq => {
            Some(Condition::Attribute(column(map)?, text(literal(key)?)?, text(value)?))
        }
        _ => None,
    }
}

/// `=` on a label. NULL (absent) never equals, as SQL has it; `!=` and regexes are left to DataFusion, whose NULL
/// differs from Prometheus' empty string.
fn matcher(name: &str, operator: Operator, value: &str) -> Option<Matcher> {
    (operator == Operator::Eq && !value.is_empty()).then(|| Matcher::equal(name, value))
}

/// The column, through a cast that changes no more than a time's zone. One to a larger unit makes other times equal, and two
/// may lead through a time without a zone into another zone, which is another time.
fn column(expr: &Expr) -> Option<&str> {
    match expr {
        Expr::Column(column) => Some(&column.name),
        Expr::Cast(Cast { expr, field })
            if matches!(field.data_type(), DataType::Timestamp(TimeUnit::Nanosecond, _)) =>
        {
            match expr.as_ref() {
                Expr::Column(column) => Some(&column.name),
                _ => None,
            }
        }
        _ => None,
    }
}

fn literal(expr: &Expr) -> Option<&ScalarValue> {
    match expr {
        Expr::Literal(value, _) => Some(value),
        _ => None,
    }
}

fn text(value: &ScalarValue) -> Option<&str> {
    match value {
        ScalarValue::Utf8(Some(text))
        | ScalarValue::LargeUtf8(Some(text))
        | ScalarValue::Utf8View(Some(text)) => Some(text),
        _ => None,
    }
}

fn nanoseconds(value: &ScalarValue) -> Option<i64> {
    match value {
        ScalarValue::TimestampNanosecond(Some(ns), _) => Some(*ns),
        ScalarValue::TimestampMicrosecond(Some(us), _) => us.checked_mul(1_000),
        ScalarValue::TimestampMillisecond(Some(ms), _) => ms.checked_mul(MS),
        ScalarValue::TimestampSecond(Some(s), _) => s.checked_mul(1_000_000_000),
        _ => None,
    }
}

fn id<const N: usize>(text: &str) -> Option<[u8; N]> {
    hex::decode(text).ok()?.try_into().ok()
}
