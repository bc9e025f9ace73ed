//! Types: what may be compared, added and aggregated.

use crate::ast::*;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Type {
    /// An attribute: known only when a span is looked at.
    Any,
    Number,
    Text,
    Bool,
    Status,
    Kind,
    Nil,
}

type Checked<T> = Result<T, String>;

fn static_type(value: &Static) -> Type {
    match value {
        Static::Int(_) | Static::Float(_) | Static::Duration(_) => Type::Number,
        Static::Text(_) => Type::Text,
        Static::Bool(_) => Type::Bool,
        Static::Status(_) => Type::Status,
        Static::Kind(_) => Type::Kind,
        Static::Nil => Type::Nil,
    }
}

fn field_type(field: &Field) -> Type {
    use Intrinsic::*;
    match field {
        Field::Attribute { .. } => Type::Any,
        Field::Intrinsic(intrinsic) => match intrinsic {
            Duration | ChildCount | NestedSetLeft | NestedSetRight | NestedSetParent | TraceDuration
            | EventTimeSinceStart => Type::Number,
            Intrinsic::Status => Type::Status,
            Intrinsic::Kind => Type::Kind,
            Parent => Type::Nil,
            _ => Type::Text,
        },
    }
}

fn type_of(expr: &FieldExpr) -> Checked<Type> {
    Ok(match expr {
        FieldExpr::Static(value) => static_type(value),
        FieldExpr::Field(field) => field_type(field),
        FieldExpr::Not(inner) => match type_of(inner)? {
            Type::Any | Type::Bool => Type::Bool,
            _ => return Err(format!("illegal operation for the given type: !{inner}")),
        },
        FieldExpr::Negate(inner) => match type_of(inner)? {
            Type::Any | Type::Number => Type::Number,
            _ => return Err(format!("illegal operation for the given type: -{inner}")),
        },
        FieldExpr::And(left, right) | FieldExpr::Or(left, right) => {
            for side in [left, right] {
                if !matches!(type_of(side)?, Type::Any | Type::Bool) {
                    return Err(format!(
                        "binary operations must operate on the same type: {side} is no condition"
                    ));
                }
            }
            Type::Bool
        }
        FieldExpr::Arithmetic(_, left, right) => {
            for side in [left, right] {
                if !matches!(type_of(side)?, Type::Any | Type::Number) {
                    return Err(format!(
                        "illegal operation for the given types: {side} is no number in {expr}"
                    ));
                }
            }
            Type::Number
        }
        FieldExpr::Regex { value, .. } => match type_of(value)? {
            Type::Any | Type::Text => Type::Bool,
            _ => return Err(format!("illegal operation for the given types: {expr} matches text only")),
        },
        FieldExpr::Compare(op, left, right) => {
            compare(expr, *op, left, right)?;
            Type::Bool
        }
    })
}

fn compare(whole: &FieldExpr, op: CompareOp, left: &FieldExpr, right: &FieldExpr) -> Checked<()> {
    let (a, b) = (type_of(left)?, type_of(right)?);
    if a == Type::Nil || b == Type::Nil {
        return compare_nil(whole, op, left, right);
    }
    if a != Type::Any && b != Type::Any && a != b {
        return Err(format!("binary operations must operate on the same type: {whole}"));
    }
    let ordered = !matches!(op, CompareOp::Equal | CompareOp::NotEqual);
    let unordered = |t| matches!(t, Type::Status | Type::Kind | Type::Bool);
    if ordered && (unordered(a) || unordered(b)) {
        return Err(format!("illegal operation for the given types: {whole}"));
    }
    Ok(())
}

/// `= nil` asks whether something is missing, which makes no sense of what every span has; a root has no parent.
fn compare_nil(whole: &FieldExpr, op: CompareOp, left: &FieldExpr, right: &FieldExpr) -> Checked<()> {
    let always = |side: &FieldExpr| match side {
        FieldExpr::Field(Field::Intrinsic(intrinsic)) => *intrinsic != Intrinsic::Parent,
        FieldExpr::Field(Field::Attribute { scope: Scope::Resource, name }) => name == "service.name",
        _ => false,
    };
    match op {
        CompareOp::NotEqual => Ok(()),
        CompareOp::Equal if !always(left) && !always(right) => Ok(()),
        _ => Err(format!("illegal operation with nil: {whole}")),
    }
}

fn reads_span(expr: &FieldExpr) -> bool {
    let mut reads = false;
    expr.fields(&mut |_| reads = true);
    reads
}

/// A filter must be a condition.
pub(crate) fn filter(expr: &FieldExpr) -> Checked<()> {
    match type_of(expr)? {
        Type::Any | Type::Bool => Ok(()),
        _ => Err(format!("span filter field expressions must resolve to a boolean: {{ {expr} }}")),
    }
}

pub(crate) fn aggregate(op: Aggregate, expr: &FieldExpr) -> Checked<()> {
    let name = op.as_str();
    if !matches!(type_of(expr)?, Type::Any | Type::Number) {
        return Err(format!("aggregate field expressions must resolve to a number type: {name}({expr})"));
    }
    if !reads_span(expr) {
        return Err(format!("aggregate field expressions must reference the span: {name}({expr})"));
    }
    Ok(())
}

pub(crate) fn by(expr: &FieldExpr) -> Checked<()> {
    type_of(expr)?;
    if reads_span(expr) {
        return Ok(());
    }
    Err(format!("grouping field expressions must reference the span: by({expr})"))
}

pub(crate) fn metrics_field(op: MetricsOp, field: &Field) -> Checked<()> {
    match field_type(field) {
        Type::Any | Type::Number => Ok(()),
        _ => Err(format!("{}({field}) needs a number", op.as_str())),
    }
}

fn is_compare(metrics: &Metrics) -> bool {
    matches!(metrics, Metrics::Aggregate(aggregate) if aggregate.op == MetricsOp::Compare)
}

/// `compare` answers pairs of counts, which cannot be computed with.
pub(crate) fn second_stage(input: &Metrics) -> Checked<()> {
    if is_compare(input) { Err("compare() cannot be filtered or computed with".to_owned()) } else { Ok(()) }
}
