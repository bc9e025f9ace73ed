//! A trace in the JSON that protobuf has for it, what is nothing left out: as Tempo writes it, with names of kinds and codes, and
//! as OTLP and Jaeger do, with their numbers. Ids are in hex in both, as in OTLP's JSON.

use super::encode::not_finite;
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, TracesData};
use serde_json::{Value, json};

pub(super) fn resources(trace: &TracesData) -> Vec<Value> {
    trace.resource_spans.iter().map(resource).collect()
}

fn resource(spans: &ResourceSpans) -> Value {
    let mut told = with_numbers(spans);
    for span in each(&mut told, "scopeSpans").flat_map(|scope| each(scope, "spans")) {
        let kinds = |kind: i32| SpanKind::try_from(kind).ok().map(|kind| kind.as_str_name());
        name_of(span.get_mut("kind"), kinds);
        let codes = |code: i32| StatusCode::try_from(code).ok().map(|code| code.as_str_name());
        name_of(span.get_mut("status").and_then(|status| status.get_mut("code")), codes);
    }
    told
}

/// In OTLP's JSON.
pub(super) fn with_numbers(spans: &ResourceSpans) -> Value {
    let mut told = as_it_is(spans);
    leave_out(&mut told);
    told
}

/// Nothing left out. The messages' own writer has `null` for a number that is none or without end, of which protobuf's JSON has
/// words.
fn as_it_is(spans: &ResourceSpans) -> Value {
    let mut told = json!(spans);
    if let (Some(told), Some(sent)) = (told.get_mut("resource"), &spans.resource) {
        name_numbers(told, &sent.attributes);
    }
    for (told, sent) in each(&mut told, "scopeSpans").zip(&spans.scope_spans) {
        if let (Some(told), Some(sent)) = (told.get_mut("scope"), &sent.scope) {
            name_numbers(told, &sent.attributes);
        }
        for (told, sent) in each(told, "spans").zip(&sent.spans) {
            name_numbers(told, &sent.attributes);
            for (told, sent) in each(told, "events").zip(&sent.events) {
                name_numbers(told, &sent.attributes);
            }
            for (told, sent) in each(told, "links").zip(&sent.links) {
                name_numbers(told, &sent.attributes);
            }
        }
    }
    told
}

fn name_numbers(told: &mut Value, sent: &[KeyValue]) {
    for (told, sent) in each(told, "attributes").zip(sent) {
        let value = sent.value.as_ref().and_then(|value| value.value.as_ref());
        if let Some(Any::DoubleValue(number)) = value
            && !number.is_finite()
        {
            told["value"] = json!({ "doubleValue": not_finite(*number) });
        }
    }
}

fn each<'a>(told: &'a mut Value, list: &str) -> impl Iterator<Item = &'a mut Value> {
    told.get_mut(list).and_then(Value::as_array_mut).into_iter().flatten()
}

/// What is 0 or empty goes, but for values of attributes, which are what they are.
fn leave_out(told: &mut Value) {
    match told {
        Value::Array(items) => items.iter_mut().for_each(leave_out),
        Value::Object(fields) => {
            fields.retain(|name, field| name == "value" || !is_nothing(field));
            for (_, field) in fields.iter_mut().filter(|(name, _)| *name != "value") {
                leave_out(field);
            }
        }
        _ => {}
    }
}

fn is_nothing(field: &Value) -> bool {
    match field {
        Value::Null => true,
        Value::Number(number) => number.as_i64() == Some(0),
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        _ => false,
    }
}

fn name_of(field: Option<&mut Value>, names: impl Fn(i32) -> Option<&'static str>) {
    let Some(field) = field else { return };
    let number = field.as_i64().and_then(|number| i32::try_from(number).ok());
    if let Some(name) = number.and_then(names) {
        *field = json!(name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope};
    use opentelemetry_proto::tonic::resource::v1::Resource;
    use opentelemetry_proto::tonic::trace::v1::span::{Event, Link};
    use opentelemetry_proto::tonic::trace::v1::{ScopeSpans, Span, Status};

    #[test]
    fn names_are_told_and_nothing_is_not() {
        let zero = KeyValue {
            key: "n".to_owned(),
            value: Some(AnyValue { value: Some(Any::IntValue(0)) }),
            ..KeyValue::default()
        };
        let span = Span {
            span_id: vec![7; 8],
            name: "get".to_owned(),
            kind: SpanKind::Client as i32,
            status: Some(Status { code: StatusCode::Error as i32, message: String::new() }),
            attributes: vec![zero],
            start_time_unix_nano: 5,
            end_time_unix_nano: 6,
            ..Span::default()
        };
        let plain = Span { kind: 0, status: Some(Status::default()), attributes: vec![], ..span.clone() };
        let scope_spans = vec![ScopeSpans { spans: vec![span, plain], ..ScopeSpans::default() }];
        let told = resources(&TracesData {
            resource_spans: vec![ResourceSpans { scope_spans, ..ResourceSpans::default() }],
        });
        let same = |more: Value| {
            let mut span = json!({
                "spanId": "0707070707070707", "name": "get", "startTimeUnixNano": "5", "endTimeUnixNano": "6",
            });
            span.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            span
        };
        let first = same(json!({
            "kind": "SPAN_KIND_CLIENT",
            "status": { "code": "STATUS_CODE_ERROR" },
            "attributes": [{ "key": "n", "value": { "intValue": "0" } }],
        }));
        assert_eq!(told, [json!({ "scopeSpans": [{ "spans": [first, same(json!({ "status": {} }))] }] })]);
    }

    #[test]
    fn numbers_that_are_none_have_words_wherever_they_are() {
        let attributes = |number: f64| {
            let value = Some(AnyValue { value: Some(Any::DoubleValue(number)) });
            vec![KeyValue { key: "n".to_owned(), value, ..KeyValue::default() }]
        };
        let span = Span {
            attributes: attributes(f64::NAN),
            events: vec![Event { attributes: attributes(f64::INFINITY), ..Event::default() }],
            links: vec![Link { attributes: attributes(f64::NEG_INFINITY), ..Link::default() }],
            ..Span::default()
        };
        let scope = InstrumentationScope { attributes: attributes(0.5), ..InstrumentationScope::default() };
        let told = as_it_is(&ResourceSpans {
            resource: Some(Resource { attributes: attributes(f64::NAN), ..Resource::default() }),
            scope_spans: vec![ScopeSpans { scope: Some(scope), spans: vec![span], ..ScopeSpans::default() }],
            ..ResourceSpans::default()
        });
        let number = |of: &str| told.pointer(of).and_then(|of| of.pointer("/attributes/0/value/doubleValue"));
        assert_eq!(number("/resource"), Some(&json!("NaN")));
        assert_eq!(number("/scopeSpans/0/scope"), Some(&json!(0.5)));
        assert_eq!(number("/scopeSpans/0/spans/0"), Some(&json!("NaN")));
        assert_eq!(number("/scopeSpans/0/spans/0/events/0"), Some(&json!("Infinity")));
        assert_eq!(number("/scopeSpans/0/spans/0/links/0"), Some(&json!("-Infinity")));
    }
}
