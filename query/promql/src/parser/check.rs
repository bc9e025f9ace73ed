//! Nodes that fit together, or why they do not.

use super::Parsed;
use crate::ast::{AggregateOp, BinaryOp, Cardinality, Expr, Grouping, Matching, Modifiers, ValueType};
use crate::functions::Function;

pub(super) fn binary(
    at: usize,
    op: BinaryOp,
    left: Expr,
    right: Expr,
    returns_bool: bool,
    matching: Option<Matching>,
) -> Parsed<Expr> {
    let types = (left.value_type(), right.value_type());
    let fits = |kind: ValueType| matches!(kind, ValueType::Scalar | ValueType::Vector);
    if !fits(types.0) || !fits(types.1) {
        return Err((at, "binary expression must contain only scalar and instant vector types".into()));
    }
    let both_vectors = types == (ValueType::Vector, ValueType::Vector);
    let both_scalars = types == (ValueType::Scalar, ValueType::Scalar);
    if op.is_set() && !both_vectors {
        return Err((at, format!("set operator {:?} not allowed in binary scalar expression", op.as_str())));
    }
    if both_scalars && op.is_comparison() && !returns_bool {
        return Err((at, "comparisons between scalars must use BOOL modifier".into()));
    }
    if matching.is_some() && !both_vectors {
        return Err((at, "vector matching only allowed between instant vectors".into()));
    }
    let mut matching = matching.unwrap_or_default();
    if op.is_set() {
        matching.cardinality = Cardinality::ManyToMany;
    }
    Ok(Expr::Binary { op, left: Box::new(left), right: Box::new(right), returns_bool, matching })
}

pub(super) fn call(at: usize, function: &'static Function, arguments: Vec<(usize, Expr)>) -> Parsed<Expr> {
    let most = function.arguments.len();
    let (name, given) = (function.name, arguments.len());
    match function.optional {
        Some(0) if given != most => {
            return Err((at, format!("expected {most} argument(s) in call to {name:?}, got {given}")));
        }
        Some(optional) if given < most - optional => {
            let least = most - optional;
            return Err((
                at,
                format!("expected at least {least} argument(s) in call to {name:?}, got {given}"),
            ));
        }
        Some(_) if given > most => {
            return Err((
                at,
                format!("expected at most {most} argument(s) in call to {name:?}, got {given}"),
            ));
        }
        None if given < most - 1 => {
            let least = most - 1;
            return Err((
                at,
                format!("expected at least {least} argument(s) in call to {name:?}, got {given}"),
            ));
        }
        _ => {}
    }
    for (i, (place, argument)) in arguments.iter().enumerate() {
        let wanted = function.arguments[i.min(most - 1)];
        expect_type(*place, argument, wanted, &format!("call to function {name:?}"))?;
    }
    Ok(Expr::Call { function, arguments: arguments.into_iter().map(|(_, argument)| argument).collect() })
}

fn expect_type(at: usize, expr: &Expr, wanted: ValueType, context: &str) -> Parsed<()> {
    let found = expr.value_type();
    if found == wanted {
        return Ok(());
    }
    Err((at, format!("expected type {} in {context}, got {}", wanted.as_str(), found.as_str())))
}

pub(super) fn aggregate(
    at: usize,
    op: AggregateOp,
    grouping: Grouping,
    mut arguments: Vec<(usize, Expr)>,
) -> Parsed<Expr> {
    let wanted = if op.parameter().is_some() { 2 } else { 1 };
    let given = arguments.len();
    if given != wanted {
        return Err((
            at,
            format!(
                "wrong number of arguments for aggregate expression provided, expected {wanted}, got {given}"
            ),
        ));
    }
    let Some((place, expr)) = arguments.pop() else { return Err((at, "no arguments".into())) };
    expect_type(place, &expr, ValueType::Vector, "aggregation expression")?;
    let parameter = match (arguments.pop(), op.parameter()) {
        (Some((place, parameter)), Some(kind)) => {
            expect_type(place, &parameter, kind, "aggregation parameter")?;
            Some(Box::new(parameter))
        }
        _ => None,
    };
    Ok(Expr::Aggregate { op, grouping, parameter, expr: Box::new(expr) })
}

/// Where `offset` and `@` of this expression are kept.
pub(super) fn modifiers<'e>(at: usize, expr: &'e mut Expr, what: &str) -> Parsed<&'e mut Modifiers> {
    match expr {
        Expr::Selector(selector) | Expr::Range { selector, .. } => Ok(&mut selector.modifiers),
        Expr::Subquery { modifiers, .. } => Ok(modifiers),
        _ => Err((
            at,
            format!(
                "{what} modifier must be preceded by an instant vector selector or range vector selector or a subquery"
            ),
        )),
    }
}
