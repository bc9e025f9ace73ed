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
            _ => return Err(format!("illegal operation for the given type: {expr}")),
        },
        FieldExpr::Negate(inner) => match type_of(inner)? {
            Type::Any | Type::Number => Type::Number,
            _ => return Err(format!("illegal operation for the given type: {expr}")),
        },
        FieldExpr::And(left, right) | FieldExpr::Or(left, right) => {
            both(expr, left, right, |t| t == Type::Bool)?;
            Type::Bool
        }
        FieldExpr::OfOne(conditions) => {
            for condition in conditions {
                type_of(condition)?;
            }
            Type::Bool
        }
        FieldExpr::Arithmetic(_, left, right) => {
            both(expr, left, right, |t| t == Type::Number)?;
            Type::Number
        }
        FieldExpr::Regex { value, .. } => match type_of(value)? {
            Type::Any | Type::Text => Type::Bool,
            Type::Nil => return Err(format!("illegal operation for the given types: {expr}")),
            _ => return Err(format!("binary operations must operate on the same type: {expr}")),
        },
        FieldExpr::Compare(op, left, right) => {
            compare(expr, *op, left, right)?;
            Type::Bool
        }
    })
}

/// Two operands of one type, for which there is the operation. In Tempo's words, as the other refusals.
fn both(
    whole: &FieldExpr,
    left: &FieldExpr,
    right: &FieldExpr,
    is_for: impl Fn(Type) -> bool,
) -> Checked<(Type, Type)> {
    let (a, b) = (type_of(left)?, type_of(right)?);
    let any = |t| matches!(t, Type::Any | Type::Nil);
    if a != b && !any(a) && !any(b) {
        return Err(format!("binary operations must operate on the same type: {whole}"));
    }
    if [a, b].into_iter().any(|t| t != Type::Any && !is_for(t)) {
        return Err(format!("illegal operation for the given types: {whole}"));
    }
    Ok((a, b))
}

fn compare(whole: &FieldExpr, op: CompareOp, left: &FieldExpr, right: &FieldExpr) -> Checked<()> {
    let ordered = !matches!(op, CompareOp::Equal | CompareOp::NotEqual);
    let unordered = |t| matches!(t, Type::Status | Type::Kind | Type::Bool | Type::Nil);
    let (a, b) = both(whole, left, right, |t| !ordered || !unordered(t))?;
    match op {
        CompareOp::Equal if a == Type::Nil || b == Type::Nil => may_be_nil(left).and(may_be_nil(right)),
        _ => Ok(()),
    }
}

/// `= nil` asks whether something is missing, which makes no sense of what every span has; a root has no parent.
fn may_be_nil(side: &FieldExpr) -> Checked<()> {
    let FieldExpr::Field(field) = side else { return Ok(()) };
    match field {
        Field::Intrinsic(Intrinsic::Parent) => Ok(()),
        Field::Intrinsic(_) => Err(format!("{field}=nil is not valid because intrinsics cannot be nil")),
        Field::Attribute { scope: Scope::Resource, name } if name == "service.name" => {
            Err(format!("{field}=nil is not valid because {field} cannot be nil"))
        }
        Field::Attribute { .. } => Ok(()),
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

fn is_compare(metrics: &Metrics) -> bool {
    matches!(metrics, Metrics::Aggregate(aggregate) if aggregate.op == MetricsOp::Compare)
}

/// How many values are told, and of what time the selection is.
pub(crate) fn comparison(params: &[f64]) -> Checked<()> {
    const VALUES_MAX: f64 = 1000.0;
    if params.first().is_some_and(|top| !(1.0..=VALUES_MAX).contains(top)) {
        return Err(format!("compare() top number of values must be an integer between 1 and {VALUES_MAX}"));
    }
    match params.get(1..3) {
        Some([start, end]) if *start <= 0.0 || *end <= 0.0 => {
            Err("compare() timestamps must be positive integer unix nanoseconds".to_owned())
        }
        Some([start, end]) if end <= start => {
            Err("compare() end timestamp must be greater than start timestamp".to_owned())
        }
        _ => Ok(()),
    }
}

/// `compare` answers pairs of counts, which cannot be computed with.
pub(crate) fn second_stage(input: &Metrics) -> Checked<()> {
    match is_compare(input) {
        true => Err("`compare()` cannot be used with second stage functions".to_owned()),
        false => Ok(()),
    }
}
