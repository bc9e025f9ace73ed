//! Batches as OTLP requests: what the agent sends, and traces as Tempo answers them.

use super::attributes::{pair, pairs};
use crate::AGENT_SCOPE;
use model::{Labels, MetricBatch, MetricKind, ResourceSpans as OurSpans, SpanBatch, is_stale_marker};
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, any_value};
use opentelemetry_proto::tonic::metrics::v1::{
    AggregationTemporality, DataPointFlags, Exemplar, Gauge, Metric, NumberDataPoint, ResourceMetrics,
    ScopeMetrics, Sum, exemplar, metric, number_data_point,
};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, Status, TracesData, span};
use prost::Message;
use std::collections::HashMap;

fn scope(name: &str, version: &str) -> Option<InstrumentationScope> {
    Some(InstrumentationScope {
        name: name.to_owned(),
        version: version.to_owned(),
        ..InstrumentationScope::default()
    })
}

fn text(value: &str) -> AnyValue {
    AnyValue { value: Some(any_value::Value::StringValue(value.to_owned())) }
}

/// An `ExportMetricsServiceRequest` under [`AGENT_SCOPE`]: names and labels are taken over there as they are here.
pub fn encode_metrics(batch: &MetricBatch) -> Vec<u8> {
    let mut metrics: Vec<(Metric, Vec<NumberDataPoint>)> = vec![];
    let mut by_name: HashMap<String, usize> = HashMap::new();
    let mut place_of = |metrics: &mut Vec<(Metric, Vec<NumberDataPoint>)>, name: &str| {
        *by_name.entry(name.to_owned()).or_insert_with(|| {
            metrics.push((Metric { name: name.to_owned(), ..Metric::default() }, vec![]));
            metrics.len() - 1
        })
    };
    let attributes_of = |labels: &Labels| -> Vec<_> {
        let others = labels.iter().filter(|(name, _)| *name != "__name__");
        others.map(|(name, value)| pair(name, text(value))).collect()
    };
    for (labels, ts_ms, values) in batch.iter() {
        let labels = Labels::from_bytes(labels).unwrap_or_default();
        let at = place_of(&mut metrics, labels.metric_name());
        let attributes = attributes_of(&labels);
        for (ts_ms, value) in ts_ms.iter().zip(values) {
            let stale = is_stale_marker(*value);
            metrics[at].1.push(NumberDataPoint {
                attributes: attributes.clone(),
                time_unix_nano: (*ts_ms).max(0) as u64 * 1_000_000,
                flags: if stale { DataPointFlags::NoRecordedValueMask as u32 } else { 0 },
                value: Some(number_data_point::Value::AsDouble(*value)),
                ..NumberDataPoint::default()
            });
        }
    }
    // A point of its own for each, without a value: the series it belongs to may have none in this batch.
    for exemplar in &batch.exemplars {
        let at = place_of(&mut metrics, exemplar.series.metric_name());
        metrics[at].1.push(NumberDataPoint {
            attributes: attributes_of(&exemplar.series),
            exemplars: vec![Exemplar {
                filtered_attributes: attributes_of(&exemplar.labels),
                time_unix_nano: exemplar.ts_ms.max(0) as u64 * 1_000_000,
                value: Some(exemplar::Value::AsDouble(exemplar.value)),
                ..Exemplar::default()
            }],
            ..NumberDataPoint::default()
        });
    }
    let metrics = metrics.into_iter().map(|(mut metric, data_points)| {
        let known = batch.metadata.iter().find(|known| known.name == metric.name);
        metric.data = Some(match known.map(|known| known.kind) {
            Some(MetricKind::Counter) => metric::Data::Sum(Sum {
                data_points,
                aggregation_temporality: AggregationTemporality::Cumulative as i32,
                is_monotonic: true,
            }),
            _ => metric::Data::Gauge(Gauge { data_points }),
        });
        if let Some(known) = known {
            metric.description = known.help.clone();
            metric.unit = known.unit.clone();
        }
        metric
    });
    let scope_metrics =
        ScopeMetrics { scope: scope(AGENT_SCOPE, ""), metrics: metrics.collect(), ..ScopeMetrics::default() };
    let resource = ResourceMetrics { scope_metrics: vec![scope_metrics], ..ResourceMetrics::default() };
    ExportMetricsServiceRequest { resource_metrics: vec![resource] }.encode_to_vec()
}

/// An `ExportTraceServiceRequest`.
pub fn encode_spans(batch: &SpanBatch) -> Vec<u8> {
    // The request and TracesData are the same message by another name.
    spans_message(batch).encode_to_vec()
}

pub fn spans_message(batch: &SpanBatch) -> TracesData {
    TracesData { resource_spans: batch.resources.iter().map(resource_spans).collect() }
}

fn resource_spans(ours: &OurSpans) -> ResourceSpans {
    ResourceSpans {
        resource: Some(Resource { attributes: pairs(&ours.resource), ..Resource::default() }),
        scope_spans: vec![ScopeSpans {
            scope: scope(&ours.scope_name, &ours.scope_version),
            spans: ours.spans.iter().map(one_span).collect(),
            ..ScopeSpans::default()
        }],
        ..ResourceSpans::default()
    }
}

fn one_span(ours: &model::Span) -> Span {
    let start = ours.start_ns.max(0) as u64;
    Span {
        trace_id: ours.trace_id.to_vec(),
        span_id: ours.span_id.to_vec(),
        trace_state: ours.trace_state.clone(),
        parent_span_id: ours.parent_span_id.map(|id| id.to_vec()).unwrap_or_default(),
        name: ours.name.clone(),
        kind: ours.kind as i32,
        start_time_unix_nano: start,
        end_time_unix_nano: start + ours.duration_ns.max(0) as u64,
        attributes: pairs(&ours.attributes),
        events: ours
            .events
            .iter()
            .map(|event| span::Event {
                time_unix_nano: event.ts_ns.max(0) as u64,
                name: event.name.clone(),
                attributes: pairs(&event.attributes),
                ..span::Event::default()
            })
            .collect(),
        links: ours
            .links
            .iter()
            .map(|link| span::Link {
                trace_id: link.trace_id.to_vec(),
                span_id: link.span_id.to_vec(),
                trace_state: link.trace_state.clone(),
                attributes: pairs(&link.attributes),
                ..span::Link::default()
            })
            .collect(),
        status: Some(Status { code: ours.status as i32, message: ours.status_message.clone() }),
        ..Span::default()
    }
}
