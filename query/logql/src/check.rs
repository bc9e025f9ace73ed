//! What a well-formed query must hold beyond its grammar. Each refusal says what is wrong in Loki's words.

use crate::ast::*;
use model::Regexp;
use model::{Match, Matcher};

type Checked<T> = Result<T, String>;

/// A selector that only holds matchers which an absent label passes would read everything.
pub(crate) fn selector(matchers: &[Matcher]) -> Checked<()> {
    let narrows = |m: &Matcher| matches!(m.op, Match::Equal | Match::Regex) && !m.matches("");
    if matchers.iter().any(narrows) {
        return Ok(());
    }
    Err("queries require at least one regexp or equality matcher that does not have an empty-compatible value. For \
         instance, app=~\".*\" does not meet this requirement, but app=~\".+\" will"
        .to_owned())
}

/// A regex for `| regexp`, which must name what it takes, each name once.
pub(crate) fn named_regex(text: &str) -> Checked<Regexp> {
    let regex = Regexp::parse(text).map_err(|why| match why.contains("duplicate capture group name") {
        true => format!("duplicate extracted label name: {why}"),
        false => why,
    })?;
    if regex.capture_names().flatten().next().is_none() {
        return Err("at least one named capture must be supplied, as (?P<status>\\d+)".to_owned());
    }
    Ok(regex)
}

pub(crate) fn range_aggregation(
    op: RangeOp,
    param: Option<f64>,
    range: &LogRange,
    grouping: Option<&Grouping>,
) -> Checked<()> {
    use RangeOp::*;
    let name = op.as_str();
    match (op, param) {
        (Quantile, None) => return Err(format!("parameter required for operation {name}")),
        (Quantile, Some(_)) | (_, None) => {}
        (_, Some(param)) => return Err(format!("parameter {param} not supported for operation {name}")),
    }
    if grouping.is_some() && !matches!(op, Avg | Stddev | Stdvar | Quantile | Max | Min | First | Last) {
        return Err(format!("grouping not allowed for {name} aggregation"));
    }
    match (&range.unwrap, op) {
        (Some(_), Count | Bytes | BytesRate) => Err(format!("invalid aggregation {name} with unwrap")),
        (Some(_), _) | (None, Count | Bytes | BytesRate | Rate | Absent) => Ok(()),
        (None, _) => Err(format!("invalid aggregation {name} without unwrap")),
    }
}

/// The number of series to keep, where the aggregation takes one.
pub(crate) fn vector_aggregation(
    op: VectorOp,
    param: Option<f64>,
    grouping: Option<&Grouping>,
    expr: &MetricExpr,
) -> Checked<Option<usize>> {
    let name = op.as_str();
    if let MetricExpr::Literal(_) = expr {
        return Err(format!("{name} aggregates series, not a number; write vector(…)"));
    }
    if grouping.is_some() && matches!(op, VectorOp::ApproxTopk | VectorOp::Sort | VectorOp::SortDesc) {
        return Err(format!("grouping not allowed for {name} aggregation"));
    }
    match (op.has_param(), param) {
        (true, None) => Err(format!("parameter required for operation {name}")),
        (false, Some(param)) => Err(format!("unsupported parameter for operation {name}({param},")),
        (false, None) => Ok(None),
        (true, Some(k)) if k < 1.0 || k.fract() != 0.0 || k > 1e9 => {
            Err(format!("invalid parameter {name}({k}, it must be a whole number greater than 0"))
        }
        (true, Some(k)) => Ok(Some(k as usize)),
    }
}

/// The operation, computed at once where both sides are numbers.
pub(crate) fn binary(
    op: BinaryOp,
    returns_bool: bool,
    matching: Matching,
    left: MetricExpr,
    right: MetricExpr,
) -> Checked<MetricExpr> {
    for (side, expr) in [("left", &left), ("right", &right)] {
        if let (true, MetricExpr::Literal(number)) = (op.is_set(), expr) {
            return Err(format!(
                "unexpected literal for {side} leg of logical/set binary operation ({}): {number:.6}",
                op.as_str()
            ));
        }
    }
    match (&left, &right) {
        (MetricExpr::Literal(a), MetricExpr::Literal(b)) => Ok(MetricExpr::Literal(op.apply(*a, *b))),
        _ => Ok(MetricExpr::Binary(Box::new(Binary { op, returns_bool, matching, left, right }))),
    }
}
