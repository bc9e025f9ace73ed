//! Whether the parts of a tree fit together, and if not, why and where, in Prometheus' words and order.

use crate::ast::{BinaryOp, Cardinality, Expr, Fill, Matching, Node, Selector, ValueType};
use crate::functions::Function;
use crate::parser::Parsed;

/// Looks at every part; matching that has no meaning is taken out.
pub(crate) fn tree(text: &str, expr: &mut Expr) -> Parsed<()> {
    let start = expr.start;
    match &mut expr.node {
        Node::Number(_) | Node::Text(_) => Ok(()),
        Node::Selector(selector) | Node::Range { selector, .. } => check_selector(start, selector, false),
        Node::Parens(inner) => tree(text, inner),
        Node::Unary { expr, .. } => {
            tree(text, expr)?;
            match expr.value_type() {
                ValueType::Scalar | ValueType::Vector => Ok(()),
                kind => Err((
                    start,
                    format!(
                        "unary expression only allowed on expressions of type scalar or instant vector, got {:?}",
                        kind.as_str()
                    ),
                )),
            }
        }
        Node::Subquery { expr, .. } => {
            tree(text, expr)?;
            match expr.value_type() {
                ValueType::Vector => Ok(()),
                kind => {
                    let kind = kind.short();
                    Err((start, format!("subquery is only allowed on instant vector, got {kind} instead")))
                }
            }
        }
        Node::Aggregate { op, parameter, expr, .. } => {
            expect_type(text, expr, ValueType::Vector, "aggregation expression")?;
            match (parameter, op.parameter()) {
                (Some(parameter), Some(kind)) => expect_type(text, parameter, kind, "aggregation parameter"),
                _ => Ok(()),
            }
        }
        Node::Call { function, arguments } => call(text, start, function, arguments),
        Node::Binary { op, left, right, returns_bool, matching } => {
            binary(text, start, *op, left, right, *returns_bool, matching)
        }
    }
}

fn expect_type(text: &str, expr: &mut Expr, wanted: ValueType, context: &str) -> Parsed<()> {
    tree(text, expr)?;
    let found = expr.value_type();
    if found == wanted {
        return Ok(());
    }
    Err((expr.start, format!("expected type {} in {context}, got {}", wanted.as_str(), found.as_str())))
}

fn binary(
    text: &str,
    start: usize,
    op: BinaryOp,
    left: &mut Expr,
    right: &mut Expr,
    returns_bool: bool,
    matching: &mut Matching,
) -> Parsed<()> {
    tree(text, left)?;
    tree(text, right)?;
    let types = (left.value_type(), right.value_type());
    // Where the operator stands.
    let op_at = || {
        let between = &text[left.end.min(text.len())..];
        left.end + (between.len() - between.trim_start().len())
    };
    if returns_bool && !op.is_comparison() {
        return Err((op_at(), "bool modifier can only be used on comparison operators".into()));
    }
    let both_scalars = types == (ValueType::Scalar, ValueType::Scalar);
    if both_scalars && op.is_comparison() && !returns_bool {
        return Err((op_at(), "comparisons between scalars must use BOOL modifier".into()));
    }
    if matching.on
        && let Some(both) = matching.labels.iter().find(|label| matching.include.contains(label))
    {
        return Err((op_at(), format!("label {both:?} must not occur in ON and GROUP clause at once")));
    }
    for side in [&*left, &*right] {
        if !matches!(side.value_type(), ValueType::Scalar | ValueType::Vector) {
            let what = "binary expression must contain only scalar and instant vector types";
            return Err((side.start, what.into()));
        }
    }
    if types != (ValueType::Vector, ValueType::Vector) {
        if !matching.labels.is_empty() {
            return Err((start, "vector matching only allowed between instant vectors".into()));
        }
        if matching.fill != Fill::default() {
            return Err((start, "filling in missing series only allowed between instant vectors".into()));
        }
        *matching = Matching::default();
        if op.is_set() {
            let op = op.as_str();
            return Err((start, format!("set operator {op:?} not allowed in binary scalar expression")));
        }
    } else if op.is_set() {
        if matching.cardinality != Cardinality::OneToOne {
            return Err((start, format!("no grouping allowed for {:?} operation", op.as_str())));
        }
        if matching.fill != Fill::default() {
            return Err((start, "filling in missing series not allowed for set operators".into()));
        }
        matching.cardinality = Cardinality::ManyToMany;
    }
    Ok(())
}

fn call(text: &str, start: usize, function: &Function, arguments: &mut [Expr]) -> Parsed<()> {
    let (name, given, named) = (function.name, arguments.len(), function.arguments.len());
    if function.variadic == 0 {
        if given != named {
            return Err((start, format!("expected {named} argument(s) in call to {name:?}, got {given}")));
        }
    } else {
        let least = named - 1;
        if given < least {
            return Err((
                start,
                format!("expected at least {least} argument(s) in call to {name:?}, got {given}"),
            ));
        }
        let most = usize::try_from(function.variadic).map(|more| least + more);
        if let Ok(most) = most
            && given > most
        {
            return Err((
                start,
                format!("expected at most {most} argument(s) in call to {name:?}, got {given}"),
            ));
        }
    }
    if name == "info" && given > 1 {
        let selector = &arguments[1];
        match &selector.node {
            Node::Selector(Selector { name: Some(_), .. }) => {
                return Err((
                    selector.start,
                    "expected label selectors only, got vector selector instead".into(),
                ));
            }
            Node::Selector(_) => {}
            _ if selector.value_type() != ValueType::Vector => {
                let found = selector.value_type().as_str();
                return Err((
                    start,
                    format!("expected type instant vector in call to function \"info\", got {found}"),
                ));
            }
            _ => return Err((selector.start, "expected label selectors only".into())),
        }
    }
    for (i, argument) in arguments.iter_mut().enumerate() {
        let wanted = function.arguments[i.min(named - 1)];
        match &argument.node {
            Node::Selector(selector) if name == "info" && i == 1 => {
                check_selector(argument.start, selector, true)?;
            }
            _ => expect_type(text, argument, wanted, &format!("call to function {name:?}"))?,
        }
    }
    Ok(())
}

/// `any`: also one that selects everything.
fn check_selector(start: usize, selector: &Selector, any: bool) -> Parsed<()> {
    if let Some(name) = &selector.name {
        let twice = selector.matchers[1..].iter().find(|matcher| matcher.name == model::METRIC_NAME);
        return match twice {
            Some(again) => {
                Err((start, format!("metric name must not be set twice: {name:?} or {:?}", again.value)))
            }
            None => Ok(()),
        };
    }
    if !any && selector.matchers.iter().all(|matcher| matcher.matches("")) {
        return Err((start, "vector selector must contain at least one non-empty matcher".into()));
    }
    Ok(())
}

impl ValueType {
    /// Prometheus' own word for it, as in JSON.
    pub fn short(self) -> &'static str {
        match self {
            ValueType::Scalar => "scalar",
            ValueType::Text => "string",
            ValueType::Vector => "vector",
            ValueType::Matrix => "matrix",
        }
    }
}
