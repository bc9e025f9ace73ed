//! A query's tree as the JSON that Prometheus' page and editors read. Depth is bounded by the parser.

use model::Matcher;
use promql::{
    At, Cardinality, DurationOp, Expr, Extension, Matching, Modifiers, Node, Selector, Span, Spelled,
    ValueType,
};
use serde_json::{Value, json};

pub(super) fn node(expr: &Expr) -> Value {
    match &expr.node {
        Node::Number(number) => json!({ "type": "numberLiteral", "val": number_text(number.value) }),
        Node::Text(text) => json!({ "type": "stringLiteral", "val": text }),
        Node::Parens(inner) => json!({ "type": "parenExpr", "expr": node(inner) }),
        Node::Unary { minus, expr } => {
            json!({ "type": "unaryExpr", "op": if *minus { "-" } else { "+" }, "expr": node(expr) })
        }
        Node::Selector(selector) => of_selector("vectorSelector", selector),
        Node::Range { selector, range } => {
            let mut value = of_selector("matrixSelector", selector);
            (value["range"], value["rangeExpr"]) = of_span(Some(range));
            value
        }
        Node::Subquery { expr, range, step, modifiers } => {
            let mut subquery = json!({ "type": "subquery", "expr": node(expr) });
            (subquery["range"], subquery["rangeExpr"]) = of_span(Some(range));
            (subquery["step"], subquery["stepExpr"]) = of_span(step.as_ref());
            add_modifiers(&mut subquery, modifiers);
            subquery
        }
        Node::Call { function, arguments } => {
            let types: Vec<&str> = function.arguments.iter().map(|kind| kind.short()).collect();
            json!({
                "type": "call",
                "func": {
                    "name": function.name,
                    "argTypes": types,
                    "variadic": function.variadic,
                    "returnType": function.returns.short(),
                },
                "args": arguments.iter().map(node).collect::<Vec<_>>(),
            })
        }
        Node::Aggregate { op, grouping, parameter, expr } => json!({
            "type": "aggregation",
            "op": op.as_str(),
            "expr": node(expr),
            "param": parameter.as_deref().map(node),
            "grouping": grouping.labels,
            "without": grouping.without,
        }),
        Node::Binary { op, left, right, returns_bool, matching } => {
            let both_vectors = [left, right].into_iter().all(|side| side.value_type() == ValueType::Vector);
            json!({
                "type": "binaryExpr",
                "op": op.as_str(),
                "lhs": node(left),
                "rhs": node(right),
                "bool": returns_bool,
                "matching": both_vectors.then(|| of_matching(matching)),
            })
        }
    }
}

fn of_matching(matching: &Matching) -> Value {
    let card = match matching.cardinality {
        Cardinality::OneToOne => "one-to-one",
        Cardinality::ManyToOne => "many-to-one",
        Cardinality::OneToMany => "one-to-many",
        Cardinality::ManyToMany => "many-to-many",
    };
    json!({
        "card": card,
        "labels": matching.labels,
        "on": matching.on,
        "include": matching.include,
        "fillValues": { "lhs": matching.fill.left, "rhs": matching.fill.right },
    })
}

fn of_selector(kind: &str, selector: &Selector) -> Value {
    // Prometheus names the metric behind the other labels.
    let (name, others) = selector.matchers.split_at(usize::from(selector.name.is_some()));
    let one = |matcher: &Matcher| json!({ "name": matcher.name, "type": matcher.op.as_str(), "value": matcher.value });
    let mut value = json!({
        "type": kind,
        "name": selector.name.as_deref().unwrap_or(""),
        "matchers": others.iter().chain(name).map(one).collect::<Vec<_>>(),
        "anchored": selector.modifiers.extension == Extension::Anchored,
        "smoothed": selector.modifiers.extension == Extension::Smoothed,
    });
    add_modifiers(&mut value, &selector.modifiers);
    value
}

fn add_modifiers(value: &mut Value, modifiers: &Modifiers) {
    (value["offset"], value["offsetExpr"]) = of_span(modifiers.offset.as_ref());
    value["timestamp"] = match modifiers.at {
        Some(At::Time(ms)) => json!(ms),
        _ => Value::Null,
    };
    value["startOrEnd"] = match modifiers.at {
        Some(At::Start) => json!("start"),
        Some(At::End) => json!("end"),
        _ => Value::Null,
    };
}

/// Milliseconds, and the tree of what is computed.
fn of_span(span: Option<&Span>) -> (Value, Value) {
    match span {
        None => (json!(0), Value::Null),
        Some(Span::Ms(ms)) => (json!(ms), Value::Null),
        Some(Span::Computed { op, .. }) => (json!(0), of_duration(op, false)),
    }
}

fn of_duration(op: &DurationOp, wrapped: bool) -> Value {
    let of = |op: &str, left: Option<&DurationOp>, right: Option<&DurationOp>| {
        let side = |side: Option<&DurationOp>| side.map(|side| of_duration(side, false));
        json!({ "type": "durationExpr", "op": op, "lhs": side(left), "rhs": side(right), "wrapped": wrapped })
    };
    match op {
        DurationOp::Number(Spelled { value, as_duration }) if !wrapped => {
            json!({ "type": "numberLiteral", "val": number_text(*value), "duration": as_duration })
        }
        DurationOp::Number(_) => of("+", None, Some(op)),
        DurationOp::Step => of("step", None, None),
        DurationOp::Range => of("range", None, None),
        DurationOp::Negate(inner) => of("-", None, Some(inner)),
        DurationOp::Parens(inner) => of_duration(inner, true),
        DurationOp::MinOf(a, b) => of("min_of", Some(a), Some(b)),
        DurationOp::MaxOf(a, b) => of("max_of", Some(a), Some(b)),
        DurationOp::Binary(op, a, b) => of(op.as_str(), Some(a), Some(b)),
    }
}

fn number_text(number: f64) -> String {
    Spelled { value: number, as_duration: false }.to_string()
}
