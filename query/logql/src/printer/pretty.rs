//! A tree as a query in as many lines as it takes, as Loki's `format_query` lays it out: what is longer than a line's worth is
//! broken at its stages, its arguments or its operator, and each part stands one step further in than the whole.
//!
//! Parsing what is printed gives the same tree. Loki drops parentheses and alternatives of filters where it breaks; here they
//! stay.

use super::{LogExpr, Number};
use crate::ast::*;
use std::fmt::Display;

/// Bytes of a part that stays on one line.
const LINE_MAX: usize = 100;

/// A query for people.
pub fn pretty(expr: &Expr) -> String {
    match expr {
        Expr::Log(log) => lines(log, 0),
        Expr::Metric(metric) => numbers(metric, 0),
    }
}

fn margin(level: usize) -> String {
    "  ".repeat(level)
}

/// On one line, where it fits.
fn short(part: &impl Display, level: usize) -> Option<String> {
    let text = part.to_string();
    (text.len() <= LINE_MAX).then(|| margin(level) + &text)
}

fn lines(log: &LogExpr, level: usize) -> String {
    if let Some(text) = short(log, level) {
        return text;
    }
    let selector = LogExpr { matchers: log.matchers.clone(), stages: vec![] };
    let mut out = margin(level) + &selector.to_string();
    // Line filters in a row are one stage.
    let both_filter = |a: &Stage, b: &Stage| matches!((a, b), (Stage::Line(_), Stage::Line(_)));
    for stages in log.stages.chunk_by(both_filter) {
        out.push('\n');
        out += &match stages {
            [Stage::Line(_), ..] => filters(stages, level + 1),
            [Stage::Decolorize, ..] => Stage::Decolorize.to_string(),
            _ => stages.iter().map(|stage| format!("{}{stage}", margin(level + 1))).collect(),
        };
    }
    out
}

/// As many from the first on as fit on one line, then one a line.
fn filters(filters: &[Stage], level: usize) -> String {
    let mut parts: Vec<String> = vec![];
    for filter in filters {
        match filter {
            Stage::Line(LineFilter { op, negated: true, any }) => {
                let alone = |one: &LineMatch| LineFilter { op: *op, negated: true, any: vec![one.clone()] };
                parts.extend(any.iter().map(|one| alone(one).to_string()));
            }
            other => parts.push(other.to_string()),
        }
    }
    let joined = |parts: &[String]| parts.join(" ");
    let fit = (1..=parts.len()).rev().find(|count| joined(&parts[..*count]).len() <= LINE_MAX).unwrap_or(1);
    let (first, rest) = parts.split_at(fit);
    let mut out = margin(level) + &joined(first);
    for part in rest {
        out += &format!("\n{}{part}", margin(level));
    }
    out
}

fn range(range: &LogRange, level: usize) -> String {
    let mut out = lines(&range.log, level);
    if let Some(unwrap) = &range.unwrap {
        out += &format!("\n{}{}", margin(level + 1), unwrap.stage());
        for filter in &unwrap.filters {
            out += &format!("\n{}| {filter}", margin(level + 1));
        }
    }
    out += &format!(" [{}]", super::short_duration(range.range_ns));
    if range.offset_ns != 0 {
        out += &format!(" offset {}", super::short_duration(range.offset_ns));
    }
    out
}

fn grouping(grouping: Option<&Grouping>) -> String {
    match grouping {
        Some(Grouping { without, labels, written }) if *without || !labels.is_empty() => {
            format!(" {} ({})", if *without { "without" } else { "by" }, written.join(", "))
        }
        _ => String::new(),
    }
}

fn numbers(expr: &MetricExpr, level: usize) -> String {
    if let Some(text) = short(expr, level) {
        return text;
    }
    match expr {
        MetricExpr::Range { op, param, range: of, grouping: by } => {
            let param = param.map(|param| margin(level + 1) + &Number(param).to_string());
            let arguments: Vec<String> = param.into_iter().chain([range(of, level + 1)]).collect();
            format!("{}{}{}", margin(level), call(op.as_str(), &arguments, level), grouping(by.as_ref()))
        }
        MetricExpr::Vector { op, param, expr, grouping: by } => {
            let param = param.map(|param| format!("{}{param}", margin(level + 1)));
            let arguments: Vec<String> = param.into_iter().chain([numbers(expr, level + 1)]).collect();
            let name = op.as_str().to_owned() + &grouping(by.as_ref());
            margin(level) + &call(&name, &arguments, level)
        }
        MetricExpr::Binary(binary) => operation(binary, level),
        MetricExpr::LabelReplace(replace) => {
            let texts = [&replace.to, &replace.replacement, &replace.from, &replace.regex_text];
            let texts = texts.map(|text| format!("{}{}", margin(level + 1), super::Quoted(text)));
            let arguments: Vec<String> =
                [numbers(&replace.expr, level + 1)].into_iter().chain(texts).collect();
            margin(level) + &call("label_replace", &arguments, level)
        }
        MetricExpr::Constant(_) | MetricExpr::Literal(_) => format!("{}{expr}", margin(level)),
    }
}

fn call(name: &str, arguments: &[String], level: usize) -> String {
    format!("{name}(\n{}\n{})", arguments.join(",\n"), margin(level))
}

fn operation(binary: &Binary, level: usize) -> String {
    let part = |side: &MetricExpr, is_left: bool| match side {
        MetricExpr::Binary(inner)
            if short(side, 0).is_none() && !reads_back(inner.op, binary.op, is_left) =>
        {
            let margin = margin(level + 1);
            format!("{margin}(\n{}\n{margin})", operation(inner, level + 2))
        }
        side => numbers(side, level + 1),
    };
    let (left, right) = (part(&binary.left, true), part(&binary.right, false));
    format!("{left}\n{}{}\n{right}", margin(level), binary.operator(", "))
}

/// Whether an operation inside another is read as that without parentheses around it.
fn reads_back(inner: BinaryOp, outer: BinaryOp, is_left: bool) -> bool {
    let (of_inner, of_outer) = (inner.binding(), outer.binding());
    // `^` binds to the right; the others to the left.
    of_inner > of_outer || (of_inner == of_outer && is_left != (outer == BinaryOp::Pow))
}

#[cfg(test)]
mod tests {
    use super::pretty;
    use crate::parse;

    #[track_caller]
    fn laid_out(query: &str, want: &str) {
        let once = pretty(&parse(query).unwrap());
        assert_eq!(once, want);
        assert_eq!(pretty(&parse(&once).unwrap()), once);
    }

    #[test]
    fn what_fits_stays_on_a_line() {
        laid_out("{a=\"b\"}|json|=`x`", "{a=\"b\"} | json |= \"x\"");
        laid_out("sum(rate({a=\"b\"}[90m]))by(d,c)", "sum by (d,c)(rate({a=\"b\"}[1h30m]))");
        laid_out("(vector(1)+2)*3", "((vector(1.000000) + 2) * 3)");
    }

    #[test]
    fn what_is_long_is_broken_at_its_parts() {
        let long = "x".repeat(80);
        laid_out(
            &format!("{{a=\"b\"}} |= `{long}` != `y` or `z` | json | decolorize | x > 5m and y = `q`"),
            &format!(
                "{{a=\"b\"}}\n  |= \"{long}\" != \"y\" != \"z\"\n  | json\n| decolorize\n  | ( x>5m0s , y=\"q\" )"
            ),
        );
        laid_out(
            &format!(
                "sum by (a, b) (quantile_over_time(0.5, {{a=`{long}`}} | unwrap x | y > 1 [5m] offset 1h) by (c))"
            ),
            &format!(
                "sum by (a, b)(\n  quantile_over_time(\n    0.5,\n    {{a=\"{long}\"}}\n      | unwrap x\n      | y>1 [5m] offset 1h\n  ) by (c)\n)"
            ),
        );
        laid_out(
            &format!("label_replace(rate({{a=`{long}`}}[5m]), `a`, `$1`, `b`, `(.*)`)"),
            &format!(
                "label_replace(\n  rate({{a=\"{long}\"}}[5m]),\n  \"a\",\n  \"$1\",\n  \"b\",\n  \"(.*)\"\n)"
            ),
        );
    }

    #[test]
    fn an_operation_keeps_what_it_is_of() {
        let long = format!("rate({{a=\"{}\"}}[5m])", "x".repeat(60));
        laid_out(&format!("{long} * {long} / 2"), &format!("    {long}\n  *\n    {long}\n/\n  2"));
        laid_out(
            &format!("2 / ({long} + {long})"),
            &format!("  2\n/\n  (\n      {long}\n    +\n      {long}\n  )"),
        );
    }
}
