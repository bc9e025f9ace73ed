//! What Prometheus calls experimental, for those who want its defaults: functions and aggregations that it knows only
//! with `--enable-feature=promql-experimental-functions`.

use crate::ParseError;
use crate::ast::{AggregateOp, Expr, Node};
use crate::text::quoted;

const FUNCTIONS: [&str; 18] = [
    "double_exponential_smoothing",
    "end",
    "histogram_quantiles",
    "holt_winters",
    "info",
    "mad_over_time",
    "max_of",
    "min_of",
    "range",
    "sort_by_label",
    "sort_by_label_desc",
    "start",
    "start_timestamp",
    "step",
    "ts_of_first_over_time",
    "ts_of_last_over_time",
    "ts_of_max_over_time",
    "ts_of_min_over_time",
];

/// The first one of a query, as Prometheus refuses it.
pub fn refuse_experiments(text: &str, expr: &Expr) -> Result<(), ParseError> {
    let mut found: Option<(usize, String)> = None;
    expr.walk(&mut |part| {
        let what = match &part.node {
            Node::Call { function, .. } if FUNCTIONS.contains(&function.name) => {
                format!("function {} is not enabled", quoted(function.name))
            }
            Node::Aggregate { op: op @ (AggregateOp::Limitk | AggregateOp::LimitRatio), .. } => format!(
                "{}() is experimental and must be enabled with --enable-feature=promql-experimental-functions",
                op.as_str()
            ),
            _ => return,
        };
        if found.is_none() {
            found = Some((part.start, what));
        }
    });
    match found {
        None => Ok(()),
        Some((at, what)) => Err(ParseError::at(text, at, what)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn experiments_are_refused_where_they_stand() {
        for (query, wanted) in [
            ("rate(x[5m]) + sum(x)", None),
            ("topk(1, x)", None),
            (
                "1 +\nmad_over_time(x[5m])",
                Some("2:1: parse error: function \"mad_over_time\" is not enabled"),
            ),
            (
                "sum(limitk(2, x))",
                Some(
                    "1:5: parse error: limitk() is experimental and must be enabled with --enable-feature=promql-experimental-functions",
                ),
            ),
            ("max_over_time(info(x)[5m:])", Some("1:15: parse error: function \"info\" is not enabled")),
        ] {
            let refused = refuse_experiments(query, &crate::parse(query).unwrap());
            assert_eq!(refused.err().map(|wrong| wrong.to_string()).as_deref(), wanted, "{query}");
        }
    }

    #[test]
    fn every_name_is_a_function() {
        assert!(FUNCTIONS.iter().all(|name| crate::Function::named(name).is_some()));
    }
}
