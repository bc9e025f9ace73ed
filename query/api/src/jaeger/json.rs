//! A trace as Jaeger's page and Grafana read it: JSON with times in microseconds, and with processes apart from spans.

use super::convert::Told;
use super::idl::{self, KeyValue, Log, Seconds, Span, SpanRef};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use model::TraceId;
use prost::Message as _;
use serde_json::{Map, Value, json};
use std::collections::HashMap;

/// Beyond these a reader whose numbers are all of floating point would tell another.
const EXACT_MAX: i64 = (1 << 53) - 1;

pub(super) fn trace(id: TraceId, told: &[Told]) -> Value {
    // By their bytes: of thousands each is looked up at once, and what is no number equals itself.
    let (mut processes, mut known) = (Map::new(), HashMap::<Vec<u8>, String>::new());
    let mut spans = Vec::new();
    for Told { process, spans: of_process } in told {
        let number = known.len() + 1;
        let name = known.entry(process.encode_to_vec()).or_insert_with(|| {
            let name = format!("p{number}");
            let tags = tags(&process.tags);
            processes.insert(name.clone(), json!({ "serviceName": process.service_name, "tags": tags }));
            name
        });
        spans.extend(of_process.iter().map(|one| span(one, name)));
    }
    json!({ "traceID": hex::encode(id), "spans": spans, "processes": processes, "warnings": null })
}

fn span(span: &Span, process: &str) -> Value {
    json!({
        "traceID": hex::encode(&span.trace_id),
        "spanID": hex::encode(&span.span_id),
        "operationName": span.operation_name,
        "references": span.references.iter().map(reference).collect::<Vec<_>>(),
        "startTime": us(span.start_time),
        "duration": us(span.duration),
        "tags": tags(&span.tags),
        "logs": span.logs.iter().map(log).collect::<Vec<_>>(),
        "processID": process,
        "warnings": null,
    })
}

fn us(time: Option<Seconds>) -> i64 {
    time.map_or(0, |time| time.ns().div_euclid(1_000))
}

fn reference(reference: &SpanRef) -> Value {
    let kind = if reference.ref_type == idl::CHILD_OF { "CHILD_OF" } else { "FOLLOWS_FROM" };
    let [trace, span] = [&reference.trace_id, &reference.span_id].map(hex::encode);
    json!({ "refType": kind, "traceID": trace, "spanID": span })
}

fn log(log: &Log) -> Value {
    json!({ "timestamp": us(log.timestamp), "fields": tags(&log.fields) })
}

fn tags(tags: &[KeyValue]) -> Vec<Value> {
    tags.iter().map(tag).collect()
}

fn tag(tag: &KeyValue) -> Value {
    let (kind, value) = match tag.v_type {
        idl::BOOL => ("bool", json!(tag.v_bool)),
        idl::INT64 if !(-EXACT_MAX..=EXACT_MAX).contains(&tag.v_int64) => {
            ("int64", json!(tag.v_int64.to_string()))
        }
        idl::INT64 => ("int64", json!(tag.v_int64)),
        idl::FLOAT64 if tag.v_float64.is_finite() => ("float64", json!(tag.v_float64)),
        // JSON has no number for it.
        idl::FLOAT64 => ("string", json!(tag.v_float64.to_string())),
        idl::BINARY => ("binary", json!(BASE64_STANDARD.encode(&tag.v_binary))),
        _ => ("string", json!(tag.v_str)),
    };
    json!({ "key": tag.key, "type": kind, "value": value })
}

#[cfg(test)]
mod tests {
    use super::super::idl::Process;
    use super::*;

    #[test]
    fn numbers_that_a_page_cannot_hold_are_text() {
        for (v_int64, value) in [
            (EXACT_MAX, json!(9_007_199_254_740_991_i64)),
            (EXACT_MAX + 1, json!("9007199254740992")),
            (i64::MIN, json!("-9223372036854775808")),
        ] {
            let told = tag(&KeyValue { v_int64, ..KeyValue::of_type("n", idl::INT64) });
            assert_eq!(told, json!({ "key": "n", "type": "int64", "value": value }));
        }
        let told = tag(&KeyValue { v_float64: f64::NAN, ..KeyValue::of_type("n", idl::FLOAT64) });
        assert_eq!(told, json!({ "key": "n", "type": "string", "value": "NaN" }));
    }

    #[test]
    fn alike_processes_are_one() {
        let told = |service: &str| Told {
            process: Process {
                service_name: service.to_owned(),
                tags: vec![KeyValue { v_float64: f64::NAN, ..KeyValue::of_type("n", idl::FLOAT64) }],
            },
            spans: vec![Span::default()],
        };
        let trace = trace([1; 16], &[told("a"), told("b"), told("a")]);
        let of: Vec<&Value> =
            trace["spans"].as_array().unwrap().iter().map(|span| &span["processID"]).collect();
        assert_eq!(of, ["p1", "p2", "p1"]);
        assert_eq!(trace["processes"].as_object().map(Map::len), Some(2));
    }
}
