//! What a trace is in few words, as version 3 of Jaeger tells it in a list of what a search found.

use model::{SpanBatch, SpanId, StatusCode, TraceId, attribute};
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, HashSet};

/// `jaeger.api_v3.TraceSummary`.
#[derive(Clone, PartialEq, prost::Message)]
pub struct TraceSummary {
    #[prost(string, tag = "1")]
    pub trace_id: String,
    #[prost(string, tag = "2")]
    pub root_service_name: String,
    #[prost(string, tag = "3")]
    pub root_operation_name: String,
    #[prost(fixed64, tag = "4")]
    pub min_start_time_unix_nano: u64,
    #[prost(fixed64, tag = "5")]
    pub max_end_time_unix_nano: u64,
    #[prost(int32, tag = "6")]
    pub span_count: i32,
    #[prost(int32, tag = "7")]
    pub error_span_count: i32,
    /// Spans whose parent is not in the trace.
    #[prost(int32, tag = "8")]
    pub orphan_span_count: i32,
    #[prost(message, repeated, tag = "9")]
    pub services: Vec<ServiceSummary>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct ServiceSummary {
    #[prost(string, tag = "1")]
    pub name: String,
    #[prost(int32, tag = "2")]
    pub span_count: i32,
    #[prost(int32, tag = "3")]
    pub error_span_count: i32,
}

pub(super) fn of(id: TraceId, spans: &SpanBatch) -> TraceSummary {
    let mut told = TraceSummary { trace_id: hex::encode(id), ..TraceSummary::default() };
    let all = || spans.resources.iter().flat_map(|resource| &resource.spans);
    let known: HashSet<SpanId> = all().map(|span| span.span_id).collect();
    let time = |ns: i64| u64::try_from(ns).unwrap_or(0);
    told.min_start_time_unix_nano = time(all().map(|span| span.start_ns).min().unwrap_or(0));
    told.max_end_time_unix_nano =
        time(all().map(|span| span.start_ns.saturating_add(span.duration_ns)).max().unwrap_or(0));
    let mut services: BTreeMap<String, ServiceSummary> = BTreeMap::new();
    // Of several roots the first to start.
    let mut root_start_ns: Option<i64> = None;
    for resource in &spans.resources {
        let service = attribute(&resource.resource, "service.name").map(ToString::to_string);
        let service = service.unwrap_or_default();
        let of_service = services.entry(service.clone()).or_default();
        for span in &resource.spans {
            let error = i32::from(span.status == StatusCode::Error);
            of_service.span_count += 1;
            of_service.error_span_count += error;
            told.span_count += 1;
            told.error_span_count += error;
            match span.parent_span_id {
                Some(parent) => told.orphan_span_count += i32::from(!known.contains(&parent)),
                None if root_start_ns.is_none_or(|first| span.start_ns < first) => {
                    root_start_ns = Some(span.start_ns);
                    told.root_service_name.clone_from(&service);
                    told.root_operation_name.clone_from(&span.name);
                }
                None => {}
            }
        }
    }
    let named = |(name, service): (String, ServiceSummary)| ServiceSummary { name, ..service };
    told.services = services.into_iter().map(named).collect();
    told
}

impl TraceSummary {
    /// Protobuf's JSON: times are texts, and what is empty or 0 is left out.
    pub fn json(&self) -> Value {
        let services = self.services.iter().map(|service| {
            without_empty([
                ("name", json!(service.name)),
                ("spanCount", json!(service.span_count)),
                ("errorSpanCount", json!(service.error_span_count)),
            ])
        });
        without_empty([
            ("traceId", json!(self.trace_id)),
            ("rootServiceName", json!(self.root_service_name)),
            ("rootOperationName", json!(self.root_operation_name)),
            ("minStartTimeUnixNano", json!(self.min_start_time_unix_nano.to_string())),
            ("maxEndTimeUnixNano", json!(self.max_end_time_unix_nano.to_string())),
            ("spanCount", json!(self.span_count)),
            ("errorSpanCount", json!(self.error_span_count)),
            ("orphanSpanCount", json!(self.orphan_span_count)),
            ("services", services.collect()),
        ])
    }
}

fn without_empty<const N: usize>(fields: [(&str, Value); N]) -> Value {
    let given = fields.into_iter().filter(|(_, value)| *value != json!(0) && *value != json!(""));
    Value::Object(given.map(|(name, value)| (name.to_owned(), value)).collect::<Map<_, _>>())
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::{ResourceSpans, Span};
    use std::sync::Arc;

    #[test]
    fn a_trace_in_few_words() {
        let span = |id: u8, parent: u8, start_ns: i64, name: &str, status: StatusCode| Span {
            span_id: [id; 8],
            parent_span_id: (parent != 0).then_some([parent; 8]),
            start_ns,
            duration_ns: 1_000,
            name: name.into(),
            status,
            ..Span::default()
        };
        let of_service = |name: &str, spans: Vec<Span>| ResourceSpans {
            resource: Arc::new(vec![("service.name".to_owned(), name.into())]),
            spans,
            ..ResourceSpans::default()
        };
        let (unset, error) = (StatusCode::Unset, StatusCode::Error);
        let spans = SpanBatch {
            resources: vec![
                of_service("shop", vec![span(2, 1, 50, "ask", unset), span(5, 0, 20, "later root", unset)]),
                of_service("frontend", vec![span(1, 0, 10, "GET /", error), span(4, 9, 90, "lost", unset)]),
            ],
        };
        assert_eq!(
            of([1; 16], &spans).json(),
            json!({
                "traceId": "01".repeat(16),
                "rootServiceName": "frontend",
                "rootOperationName": "GET /",
                "minStartTimeUnixNano": "10",
                "maxEndTimeUnixNano": "1090",
                "spanCount": 4,
                "errorSpanCount": 1,
                "orphanSpanCount": 1,
                "services": [
                    { "name": "frontend", "spanCount": 2, "errorSpanCount": 1 },
                    { "name": "shop", "spanCount": 2 },
                ],
            })
        );
    }
}
