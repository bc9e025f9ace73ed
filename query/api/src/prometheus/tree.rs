//! A query's tree as the JSON that Prometheus' page and editors read. Depth is bounded by the parser.

use promql::{At, Cardinality, Expr, Grouping, Matching, Modifiers, Selector, ValueType};
use serde_json::{Value, json};

pub(super) fn node(expr: &Expr) -> Value {
    match expr {
        Expr::Number(number) => json!({ "type": "numberLiteral", "val": number_text(*number) }),
        Expr::Text(text) => json!({ "type": "stringLiteral", "val": text }),
        Expr::Parens(inner) => json!({ "type": "parenExpr", "expr": node(inner) }),
        Expr::Negate(inner) => json!({ "type": "unaryExpr", "op": "-", "expr": node(inner) }),
        Expr::Selector(selector) => of_selector("vectorSelector", selector),
        Expr::Range { selector, range_ms } => {
            let mut range = of_selector("matrixSelector", selector);
            range["range"] = json!(range_ms);
            range
        }
        Expr::Subquery { expr, range_ms, step_ms, modifiers } => {
            let mut subquery = json!({
                "type": "subquery",
                "expr": node(expr),
                "range": range_ms,
                "step": step_ms.unwrap_or(0),
            });
            add_modifiers(&mut subquery, modifiers);
            subquery
        }
        Expr::Call { function, arguments } => {
            let types: Vec<&str> = function.arguments.iter().map(|kind| type_name(*kind)).collect();
            // As Prometheus counts: -1 is any number, else how many may be left out.
            let variadic = function.optional.map_or(-1, |optional| optional as i64);
            json!({
                "type": "call",
                "func": {
                    "name": function.name,
                    "argTypes": types,
                    "variadic": variadic,
                    "returnType": type_name(function.returns),
                },
                "args": arguments.iter().map(node).collect::<Vec<_>>(),
            })
        }
        Expr::Aggregate { op, grouping, parameter, expr } => {
            let Grouping { without, labels } = grouping;
            json!({
                "type": "aggregation",
                "op": op.as_str(),
                "expr": node(expr),
                "param": parameter.as_deref().map(node),
                "grouping": labels,
                "without": without,
            })
        }
        Expr::Binary { op, left, right, returns_bool, matching } => {
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
    json!({ "card": card, "labels": matching.labels, "on": matching.on, "include": matching.include })
}

fn of_selector(kind: &str, selector: &Selector) -> Value {
    let name = selector
        .matchers
        .iter()
        .find(|matcher| matcher.name == model::METRIC_NAME && matcher.op.as_str() == "=");
    let matchers = selector
        .matchers
        .iter()
        .map(|matcher| json!({ "name": matcher.name, "type": matcher.op.as_str(), "value": matcher.value }));
    let mut value = json!({
        "type": kind,
        "name": name.map_or("", |matcher| matcher.value.as_str()),
        "matchers": matchers.collect::<Vec<_>>(),
    });
    add_modifiers(&mut value, &selector.modifiers);
    value
}

fn add_modifiers(value: &mut Value, modifiers: &Modifiers) {
    value["offset"] = json!(modifiers.offset_ms);
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

fn number_text(number: f64) -> String {
    Expr::Number(number).to_string()
}

fn type_name(kind: ValueType) -> &'static str {
    match kind {
        ValueType::Scalar => "scalar",
        ValueType::Text => "string",
        ValueType::Vector => "vector",
        ValueType::Matrix => "matrix",
    }
}
