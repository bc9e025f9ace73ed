//! Spans as OTLP requests, which the agent sends.

use super::attributes::pairs;
use model::{ResourceSpans as OurSpans, Scope, SpanBatch};
use opentelemetry_proto::tonic::common::v1::InstrumentationScope;
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, Status, TracesData, span};
use prost::Message;

fn scope(ours: &Scope) -> Option<InstrumentationScope> {
    Some(InstrumentationScope {
        name: ours.name.clone(),
        version: ours.version.clone(),
        attributes: pairs(&ours.attributes),
        dropped_attributes_count: ours.dropped_attributes,
    })
}

/// An `ExportTraceServiceRequest`.
pub fn encode_spans(batch: &SpanBatch) -> Vec<u8> {
    // The request and TracesData are the same message by another name.
    TracesData { resource_spans: batch.resources.iter().map(resource_spans).collect() }.encode_to_vec()
}

fn resource_spans(ours: &OurSpans) -> ResourceSpans {
    ResourceSpans {
        resource: Some(Resource {
            attributes: pairs(&ours.resource),
            dropped_attributes_count: ours.dropped_attributes,
            ..Resource::default()
        }),
        scope_spans: vec![ScopeSpans {
            scope: scope(&ours.scope),
            spans: ours.spans.iter().map(one_span).collect(),
            schema_url: ours.scope.schema_url.clone(),
        }],
        schema_url: ours.schema_url.clone(),
    }
}

fn one_span(ours: &model::Span) -> Span {
    let start = ours.start_ns.max(0) as u64;
    Span {
        trace_id: ours.trace_id.to_vec(),
        span_id: ours.span_id.to_vec(),
        trace_state: ours.trace_state.clone(),
        flags: ours.flags,
        parent_span_id: ours.parent_span_id.map(|id| id.to_vec()).unwrap_or_default(),
        name: ours.name.clone(),
        kind: ours.kind as i32,
        start_time_unix_nano: start,
        end_time_unix_nano: start + ours.duration_ns.max(0) as u64,
        attributes: pairs(&ours.attributes.unpacked()),
        events: ours
            .events
            .iter()
            .map(|event| span::Event {
                time_unix_nano: event.ts_ns.max(0) as u64,
                name: event.name.clone(),
                attributes: pairs(&event.attributes),
                dropped_attributes_count: event.dropped_attributes,
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
                dropped_attributes_count: link.dropped_attributes,
                flags: link.flags,
            })
            .collect(),
        status: Some(Status { code: ours.status as i32, message: ours.status_message.clone() }),
        dropped_attributes_count: ours.dropped_attributes,
        dropped_events_count: ours.dropped_events,
        dropped_links_count: ours.dropped_links,
    }
}
