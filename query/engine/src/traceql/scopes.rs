//! `.name` is asked of the span and then of its resource, and so is `parent.name` of the parent. Where no resource has the
//! attribute, as mostly, it is the span's, and what is known of where spans with it lie can be used.

use std::collections::BTreeSet;
use traceql::{Element, Field, FieldExpr, Pipeline, Scope, SpansetExpr};

/// Writes it in the filters, of which no answer shows how they were written.
pub(super) fn settle(pipeline: &mut Pipeline, of_resources: &BTreeSet<String>) {
    for element in &mut pipeline.elements {
        if let Element::Spansets(expr) = element {
            settle_spansets(expr, of_resources);
        }
    }
}

fn settle_spansets(expr: &mut SpansetExpr, of_resources: &BTreeSet<String>) {
    match expr {
        SpansetExpr::Filter(filter) => settle_filter(filter, of_resources),
        SpansetExpr::Pipeline(pipeline) => settle(pipeline, of_resources),
        SpansetExpr::Op { left, right, .. } => {
            settle_spansets(left, of_resources);
            settle_spansets(right, of_resources);
        }
    }
}

fn settle_filter(filter: &mut FieldExpr, of_resources: &BTreeSet<String>) {
    match filter {
        FieldExpr::Static(_) => {}
        FieldExpr::Field(Field::Attribute { scope, name }) => {
            // Every resource has a service, if an empty one.
            if name != "service.name" && !of_resources.contains(name) {
                *scope = match *scope {
                    Scope::Any => Scope::Span,
                    Scope::Parent => Scope::ParentSpan,
                    other => other,
                };
            }
        }
        FieldExpr::Field(Field::Intrinsic(_)) => {}
        FieldExpr::Negate(inner) | FieldExpr::Not(inner) => settle_filter(inner, of_resources),
        FieldExpr::Regex { value, .. } => settle_filter(value, of_resources),
        FieldExpr::OfOne(conditions) => {
            conditions.iter_mut().for_each(|condition| settle_filter(condition, of_resources));
        }
        FieldExpr::And(left, right)
        | FieldExpr::Or(left, right)
        | FieldExpr::Compare(_, left, right)
        | FieldExpr::Arithmetic(_, left, right) => {
            settle_filter(left, of_resources);
            settle_filter(right, of_resources);
        }
    }
}
