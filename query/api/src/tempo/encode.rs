//! Answers in Tempo's JSON: protobuf's, with 64-bit numbers as text. Grafana refuses a search answer with a field that
//! it does not know, so there is none beside Tempo's own.

use engine::{
    FoundSpan, FoundSpanset, FoundTrace, TraceExemplar, TraceMetrics, TraceSearch, TraceSeries, prom_labels,
};
use model::Value as Attribute;
use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};
use serde_json::{Map, Value, json};

const SERIES: &str = "series";

pub(super) fn search(found: &TraceSearch) -> Value {
    let mut metrics = inspected(found.inspected_spans);
    metrics["inspectedTraces"] = json!(found.inspected_traces);
    // Each warning stands for a read that did not come to its end.
    metrics["completedJobs"] = json!(1);
    metrics["totalJobs"] = json!(1 + found.warnings.len());
    json!({ "traces": found.traces.iter().map(trace).collect::<Vec<_>>(), "metrics": metrics })
}

fn inspected(spans: u64) -> Value {
    json!({ "inspectedSpans": spans.to_string() })
}

fn trace(found: &FoundTrace) -> Value {
    let stats: Map<String, Value> = found
        .services
        .iter()
        .map(|(service, stats)| {
            let mut counts = json!({ "spanCount": stats.spans });
            // As protobuf's JSON has it: what is 0 is left out.
            if stats.errors > 0 {
                counts["errorCount"] = json!(stats.errors);
            }
            (service.clone(), counts)
        })
        .collect();
    // What readers older than `spanSets` look for.
    let first = found.spansets.first().map(spanset);
    json!({
        "traceID": hex::encode(found.trace_id),
        "rootServiceName": found.root_service,
        "rootTraceName": found.root_name,
        "startTimeUnixNano": found.start_ns.to_string(),
        "durationMs": (found.duration_ns / 1_000_000).clamp(0, i64::from(u32::MAX)),
        "spanSet": first,
        "spanSets": found.spansets.iter().map(spanset).collect::<Vec<_>>(),
        "serviceStats": stats,
    })
}

fn spanset(found: &FoundSpanset) -> Value {
    json!({
        "spans": found.spans.iter().map(span).collect::<Vec<_>>(),
        "matched": found.matched,
        "attributes": pairs(&found.attributes),
    })
}

fn span(found: &FoundSpan) -> Value {
    json!({
        "spanID": hex::encode(found.span_id),
        "name": found.name,
        "startTimeUnixNano": found.start_ns.to_string(),
        "durationNanos": found.duration_ns.to_string(),
        "attributes": pairs(&found.attributes),
    })
}

fn pairs(attributes: &[(String, Attribute)]) -> Vec<Value> {
    attributes.iter().map(|(key, value)| json!({ "key": key, "value": any_value(value) })).collect()
}

fn any_value(value: &Attribute) -> Value {
    match value {
        Attribute::Int(number) => json!({ "intValue": number.to_string() }),
        // JSON has no number for these; protobuf writes them as words.
        Attribute::Double(number) if !number.is_finite() => json!({ "doubleValue": not_finite(*number) }),
        Attribute::Double(number) => json!({ "doubleValue": number }),
        Attribute::Bool(truth) => json!({ "boolValue": truth }),
        Attribute::Json(text) => match serde_json::from_str(text) {
            Ok(list) => nested(&list),
            Err(_) => json!({ "stringValue": text }),
        },
        other => json!({ "stringValue": other.to_string() }),
    }
}

/// Lists keep the types of their elements. serde_json bounds how deep they lie in one another.
fn nested(json: &Value) -> Value {
    match json {
        Value::Null => json!({}),
        Value::Bool(truth) => any_value(&Attribute::Bool(*truth)),
        Value::String(text) => json!({ "stringValue": text }),
        Value::Number(number) => match (number.as_i64(), number.as_f64()) {
            (Some(number), _) => any_value(&Attribute::Int(number)),
            (None, number) => any_value(&Attribute::Double(number.unwrap_or(f64::NAN))),
        },
        Value::Array(items) => {
            json!({ "arrayValue": { "values": items.iter().map(nested).collect::<Vec<_>>() } })
        }
        Value::Object(items) => {
            let pairs: Vec<Value> =
                items.iter().map(|(key, item)| json!({ "key": key, "value": nested(item) })).collect();
            json!({ "kvlistValue": { "values": pairs } })
        }
    }
}

pub(super) fn not_finite(number: f64) -> &'static str {
    if number.is_nan() {
        "NaN"
    } else if number > 0.0 {
        "Infinity"
    } else {
        "-Infinity"
    }
}

/// Grafana's decoder is strict here: a series has these fields and no other.
pub(super) fn metrics_instant(found: &TraceMetrics) -> Value {
    let one = |series: &TraceSeries| {
        let value = series.points.first().map_or(0.0, |(_, value)| *value);
        json!({
            "labels": pairs(&series.labels),
            "value": number(value),
        })
    };
    told(found, found.series.iter().map(one).collect())
}

fn told(found: &TraceMetrics, series: Vec<Value>) -> Value {
    let mut body = json!({ SERIES: series, "metrics": inspected(found.inspected_spans) });
    if !found.warnings.is_empty() {
        body["status"] = json!("PARTIAL");
        body["message"] = json!(found.warnings.join("; "));
    }
    body
}

fn number(value: f64) -> Value {
    if value.is_finite() { json!(value) } else { json!(not_finite(value)) }
}

/// Numbers over time. A series may have thousands, which are written as they are and not made values of JSON before.
pub(super) struct RangeMetrics(pub TraceMetrics);

impl Serialize for RangeMetrics {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let mut body = to.serialize_map(None)?;
        let Value::Object(beside) = told(&self.0, vec![]) else { return body.end() };
        for (name, value) in &beside {
            match name.as_str() {
                SERIES => {
                    body.serialize_entry(SERIES, &self.0.series.iter().map(OverTime).collect::<Vec<_>>())?
                }
                _ => body.serialize_entry(name, value)?,
            }
        }
        body.end()
    }
}

struct OverTime<'a>(&'a TraceSeries);

impl Serialize for OverTime<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let exemplar = |exemplar: &TraceExemplar| {
            json!({
                "labels": pairs(&exemplar.labels()),
                "value": number(exemplar.value),
                "timestampMs": exemplar.ts_ms.to_string(),
            })
        };
        let mut body = to.serialize_map(Some(4))?;
        body.serialize_entry("labels", &pairs(&self.0.labels))?;
        body.serialize_entry("promLabels", &prom_labels(&self.0.labels))?;
        body.serialize_entry("samples", &Samples(&self.0.points))?;
        body.serialize_entry("exemplars", &self.0.exemplars.iter().map(exemplar).collect::<Vec<_>>())?;
        body.end()
    }
}

struct Samples<'a>(&'a [(i64, f64)]);

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Sample {
    timestamp_ms: String,
    value: Number,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Number {
    Finite(f64),
    Word(&'static str),
}

impl Serialize for Samples<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_seq(self.0.iter().map(|(ts_ms, value)| Sample {
            timestamp_ms: ts_ms.to_string(),
            value: if value.is_finite() { Number::Finite(*value) } else { Number::Word(not_finite(*value)) },
        }))
    }
}
