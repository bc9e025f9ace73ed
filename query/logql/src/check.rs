//! What a well-formed query must hold beyond its grammar. Each refusal says what is wrong in Loki's words.

use crate::ast::*;
use model::Matcher;
use model::Regexp;

type Checked<T> = Result<T, String>;

/// A selector that only holds matchers which an absent label passes would read everything.
pub(crate) fn selector(matchers: &[Matcher]) -> Checked<()> {
    let narrows = |m: &Matcher| !m.matches("");
    if matchers.iter().any(narrows) {
        return Ok(());
    }
    Err("queries require at least one regexp or equality matcher that does not have an empty-compatible value. For \
         instance, app=~\".*\" does not meet this requirement, but app=~\".+\" will"
        .to_owned())
}

/// A regex for `| regexp`, which must name what it takes.
pub(crate) fn named_regex(text: &str) -> Checked<Regexp> {
    let regex = Regexp::parse(text)?;
    if let Some(name) = doubled_name(text) {
        return Err(format!("duplicate extracted label name '{name}'"));
    }
    if regex.capture_names().flatten().next().is_none() {
        return Err("at least one named capture must be supplied".to_owned());
    }
    Ok(regex)
}

/// The name that stands a second time.
fn doubled_name(text: &str) -> Option<&str> {
    let names: Vec<&str> = text.split("(?").skip(1).filter_map(name_of_group).collect();
    names.iter().enumerate().find(|(at, name)| names[..*at].contains(name)).map(|(_, name)| *name)
}

/// Behind `(?`.
fn name_of_group(rest: &str) -> Option<&str> {
    let named = rest.strip_prefix("P<").or_else(|| rest.strip_prefix('<'))?;
    named.split_once('>').map(|(name, _)| name)
}

pub(crate) fn range_aggregation(
    op: RangeOp,
    param: Option<&str>,
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

/// The number of series to keep, where the aggregation takes one, from how it is written.
pub(crate) fn vector_aggregation(
    op: VectorOp,
    param: Option<&str>,
    grouping: Option<&Grouping>,
    expr: &MetricExpr,
) -> Checked<Option<usize>> {
    let name = op.as_str();
    let kept = match (op.has_param(), param) {
        (true, None) => return Err(format!("parameter required for operation {name}")),
        (false, Some(param)) => return Err(format!("unsupported parameter for operation {name}({param},")),
        (false, None) => None,
        (true, Some(written)) => {
            let wrong = || format!("invalid parameter {name}({written},");
            let number: i64 = written.parse().map_err(|_| wrong())?;
            if number <= 0 {
                return Err(format!("invalid parameter (must be greater than 0) {name}({written}"));
            }
            Some(usize::try_from(number).map_err(|_| wrong())?)
        }
    };
    if grouping.is_some() && op == VectorOp::ApproxTopk {
        return Err(format!("grouping not allowed for {name} aggregation"));
    }
    let is_grouped = grouping.is_some_and(|grouping| !grouping.labels.is_empty());
    if is_grouped && matches!(op, VectorOp::Sort | VectorOp::SortDesc) {
        return Err("sort and sort_desc doesn't allow grouping by ".to_owned());
    }
    if let MetricExpr::Literal(_) = expr {
        return Err(format!("{name} aggregates series, not a number; write vector(…)"));
    }
    Ok(kept)
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
