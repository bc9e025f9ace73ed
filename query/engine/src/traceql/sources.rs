//! From which columns of spans a field is read.

use model::SpanField;
use std::collections::HashSet;
use traceql::{Field, Intrinsic, Scope};

/// As [`columns_of`], where an attribute of a span or its resource need not come with all others.
pub(super) fn fields_or_columns_of(
    field: &Field,
    fields: &mut Vec<SpanField>,
    columns: &mut Vec<&'static str>,
) {
    let Field::Attribute { scope, name } = field else { return columns_of(field, columns) };
    // The column of services says it of the resource.
    let is_service = name == "service.name" && matches!(scope, Scope::Resource | Scope::Any);
    if is_service {
        columns.push("service");
    }
    let (of_span, of_resource) = (SpanField::Span(name.clone()), SpanField::Resource(name.clone()));
    match scope {
        Scope::Resource if is_service => {}
        Scope::Span => fields.push(of_span),
        Scope::Any if is_service => fields.push(of_span),
        Scope::Resource => fields.push(of_resource),
        Scope::Any => fields.extend([of_span, of_resource]),
        _ => return columns_of(field, columns),
    }
    // A column is there once.
    let mut seen = HashSet::new();
    fields.retain(|field| seen.insert(field.clone()));
}

/// The columns that a field is read from.
pub(super) fn columns_of(field: &Field, columns: &mut Vec<&'static str>) {
    match field {
        Field::Attribute { scope, name } => match scope.at_parent().unwrap_or(*scope) {
            Scope::Span => columns.extend(["attributes", "attribute_types"]),
            Scope::Resource if name == "service.name" => columns.extend(["service"]),
            Scope::Resource => columns.extend(["resource", "resource_types"]),
            Scope::Any => {
                columns.extend(["attributes", "attribute_types", "service"]);
                if name != "service.name" {
                    columns.extend(["resource", "resource_types"]);
                }
            }
            Scope::Event => columns.push("events"),
            Scope::Link => columns.push("links"),
            Scope::Instrumentation => columns.extend(["scope_attributes", "scope_attribute_types"]),
            _ => {}
        },
        Field::Intrinsic(intrinsic) => columns.push(match intrinsic {
            Intrinsic::Duration => "duration_ns",
            Intrinsic::Name => "name",
            Intrinsic::Status => "status",
            Intrinsic::StatusMessage => "status_message",
            Intrinsic::Kind => "kind",
            Intrinsic::SpanId => "span_id",
            Intrinsic::ParentId | Intrinsic::Parent | Intrinsic::NestedSetParent => "parent_span_id",
            Intrinsic::EventName | Intrinsic::EventTimeSinceStart => "events",
            Intrinsic::LinkTraceId | Intrinsic::LinkSpanId => "links",
            Intrinsic::InstrumentationName => "scope_name",
            Intrinsic::InstrumentationVersion => "scope_version",
            _ => "trace_id",
        }),
    }
}
