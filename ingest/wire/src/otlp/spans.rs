//! OTLP spans to ours: the same thing, with ids and times of fixed size.

use super::attributes::{attributes, value};
use super::{ExportTraceServiceRequest, id, time_ns};
use crate::{Decoded, Rejected};
use model::{
    Packer, RejectReason, ResourceSpans, Scope, Span, SpanBatch, SpanEvent, SpanId, SpanKind, SpanLink,
    StatusCode, TraceId,
};
use opentelemetry_proto::tonic::trace::v1::Span as Sent;
use std::sync::Arc;

pub fn spans(request: ExportTraceServiceRequest) -> Decoded<SpanBatch> {
    let mut decoded = Decoded::<SpanBatch>::default();
    let mut packer = Packer::default();
    for sent in request.resource_spans {
        let resource = sent.resource.unwrap_or_default();
        let dropped_attributes = resource.dropped_attributes_count;
        let resource = Arc::new(attributes(resource.attributes));
        for scope in sent.scope_spans {
            let rejected = &mut decoded.rejected;
            let spans =
                scope.spans.into_iter().filter_map(|sent| span(sent, &mut packer, rejected)).collect();
            let of_scope = scope.scope.unwrap_or_default();
            decoded.batch.resources.push(ResourceSpans {
                resource: resource.clone(),
                schema_url: sent.schema_url.clone(),
                dropped_attributes,
                scope: Scope {
                    name: of_scope.name,
                    version: of_scope.version,
                    attributes: attributes(of_scope.attributes),
                    schema_url: scope.schema_url,
                    dropped_attributes: of_scope.dropped_attributes_count,
                },
                spans,
            });
        }
    }
    decoded
}

/// A span's own ids as they came.
pub(super) struct Ids<'a> {
    pub trace: &'a [u8],
    pub span: &'a [u8],
}

impl Ids<'_> {
    /// `None`, and the span is counted as rejected, where one of them is none.
    pub fn whole(&self, name: &str, rejected: &mut Rejected) -> Option<(TraceId, SpanId)> {
        let whole = id(self.trace).zip(id(self.span));
        if whole.is_none() {
            rejected.add(RejectReason::InvalidId, 1, || {
                format!(
                    "span {name:?}: trace and span id have {} and {} bytes; they must have 16 and 8 and not be zero",
                    self.trace.len(),
                    self.span.len()
                )
            });
        }
        whole
    }
}

/// No time for a span that has no end yet or an earlier one, as where a clock was set back in between: it is worth more than
/// a hole in its trace.
pub(super) fn duration_ns(start_ns: i64, end_ns: i64) -> i64 {
    end_ns.saturating_sub(start_ns).max(0)
}

fn span(sent: Sent, packer: &mut Packer, rejected: &mut Rejected) -> Option<Span> {
    let (trace_id, span_id) =
        Ids { trace: &sent.trace_id, span: &sent.span_id }.whole(&sent.name, rejected)?;
    let (start_ns, end_ns) = (time_ns(sent.start_time_unix_nano), time_ns(sent.end_time_unix_nano));
    let (status, status_message) =
        sent.status.map(|status| (StatusCode::from_number(status.code), status.message)).unwrap_or_default();
    sent.attributes.into_iter().for_each(|pair| packer.push(pair.key.as_bytes(), &value(pair.value)));
    Some(Span {
        trace_id,
        span_id,
        parent_span_id: id(&sent.parent_span_id),
        trace_state: sent.trace_state,
        flags: sent.flags,
        start_ns,
        duration_ns: duration_ns(start_ns, end_ns),
        name: sent.name,
        kind: SpanKind::from_number(sent.kind),
        status,
        status_message,
        // All of it is text already.
        attributes: packer.pack().unwrap_or_default(),
        events: sent
            .events
            .into_iter()
            .map(|event| SpanEvent {
                ts_ns: time_ns(event.time_unix_nano),
                name: event.name,
                attributes: attributes(event.attributes),
                dropped_attributes: event.dropped_attributes_count,
            })
            .collect(),
        links: sent
            .links
            .into_iter()
            .filter_map(|link| {
                Some(SpanLink {
                    trace_id: id(&link.trace_id)?,
                    span_id: id(&link.span_id)?,
                    trace_state: link.trace_state,
                    flags: link.flags,
                    attributes: attributes(link.attributes),
                    dropped_attributes: link.dropped_attributes_count,
                })
            })
            .collect(),
        dropped_attributes: sent.dropped_attributes_count,
        dropped_events: sent.dropped_events_count,
        dropped_links: sent.dropped_links_count,
    })
}
