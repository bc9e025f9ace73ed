//! What Jaeger's clients send, by gRPC as protobuf and by HTTP as Thrift: one kind of span in two notations.
//!
//! A tag that is a field of OpenTelemetry's span becomes that field, as its collector has it: `span.kind`, `error`,
//! `otel.status_code`, `otel.status_description`, `w3c.tracestate`, and the names of the instrumentation scope. All else
//! stays as it was sent. A log's `event` is the name of an event; a reference beyond the parent is a link.

mod protobuf;
pub(crate) mod thrift;

pub use protobuf::{PostSpansRequest, PostSpansResponse};

use crate::{Decoded, Malformed, Rejected};
use model::{
    Attributes, RejectReason, ResourceSpans, Scope, Span, SpanBatch, SpanEvent, SpanId, SpanKind, SpanLink,
    StatusCode, TraceId, Value,
};
use std::sync::Arc;

/// The body of a POST to `/api/traces`: a `Batch` in Thrift's binary protocol.
pub fn decode_thrift(body: &[u8]) -> Result<Decoded<SpanBatch>, Malformed> {
    let (process, spans) = thrift::batch(body)?;
    Ok(batch(spans.into_iter().map(|span| (span, process.clone())).collect()))
}

/// A call of `jaeger.api_v2.CollectorService/PostSpans`.
pub fn decode_protobuf(request: PostSpansRequest) -> Decoded<SpanBatch> {
    batch(protobuf::spans(request))
}

/// In either notation.
struct Sent {
    trace_id: Option<TraceId>,
    span_id: Option<SpanId>,
    /// Where it is told beside the references.
    parent: Option<SpanId>,
    name: String,
    references: Vec<Reference>,
    start_ns: i64,
    duration_ns: i64,
    tags: Attributes,
    /// Time and fields.
    logs: Vec<(i64, Attributes)>,
}

struct Reference {
    child_of: bool,
    trace_id: Option<TraceId>,
    span_id: Option<SpanId>,
}

/// Service and tags of who sends.
fn resource(service: String, tags: Attributes) -> Arc<Attributes> {
    let name = (!service.is_empty()).then(|| ("service.name".to_owned(), Value::String(service)));
    Arc::new(name.into_iter().chain(tags).collect())
}

/// Neighbours of one process and scope stay together.
fn batch(spans: Vec<(Sent, Arc<Attributes>)>) -> Decoded<SpanBatch> {
    let mut decoded = Decoded::<SpanBatch>::default();
    for (sent, process) in spans {
        let Some((span, scope)) = span(sent, &mut decoded.rejected) else { continue };
        let same = |last: &&mut ResourceSpans| Arc::ptr_eq(&last.resource, &process) && last.scope == scope;
        match decoded.batch.resources.last_mut().filter(same) {
            Some(last) => last.spans.push(span),
            None => decoded.batch.resources.push(ResourceSpans {
                resource: process,
                scope,
                spans: vec![span],
                ..ResourceSpans::default()
            }),
        }
    }
    decoded
}

fn span(sent: Sent, rejected: &mut Rejected) -> Option<(Span, Scope)> {
    let (Some(trace_id), Some(span_id)) = (sent.trace_id, sent.span_id) else {
        rejected.add(RejectReason::InvalidId, 1, || {
            format!("span {:?}: trace and span id must have 16 and 8 bytes and not be zero", sent.name)
        });
        return None;
    };
    let mut span = Span {
        trace_id,
        span_id,
        parent_span_id: sent.parent,
        start_ns: sent.start_ns,
        duration_ns: sent.duration_ns.max(0),
        name: sent.name,
        ..Span::default()
    };
    for reference in sent.references {
        let (Some(to_trace), Some(to_span)) = (reference.trace_id, reference.span_id) else { continue };
        let parent = reference.child_of && to_trace == trace_id;
        if parent && span.parent_span_id.is_none_or(|parent| parent == to_span) {
            span.parent_span_id = Some(to_span);
            continue;
        }
        let kind = if reference.child_of { "child_of" } else { "follows_from" };
        span.links.push(SpanLink {
            trace_id: to_trace,
            span_id: to_span,
            attributes: vec![("opentracing.ref_type".into(), Value::from(kind))],
            ..SpanLink::default()
        });
    }
    let (scope, attributes) = take_fields(sent.tags, &mut span);
    span.attributes = attributes.into();
    span.events = sent.logs.into_iter().map(event).collect();
    Some((span, scope))
}

/// Sorts tags into fields of the span, its scope, and what is left over.
pub(crate) fn take_fields(tags: Attributes, span: &mut Span) -> (Scope, Attributes) {
    let (mut scope, mut rest) = (Scope::default(), Attributes::new());
    let mut failed = false;
    for (name, value) in tags {
        let text = value.as_str().unwrap_or_default();
        match name.as_str() {
            "span.kind" if SpanKind::from_word(text).is_some() => {
                span.kind = SpanKind::from_word(text).unwrap_or_default();
            }
            "otel.status_code" if matches!(text, "OK" | "ERROR" | "UNSET") => {
                span.status = StatusCode::from_word(&text.to_ascii_lowercase()).unwrap_or_default();
            }
            "otel.status_description" => span.status_message = value.to_string(),
            "error" if value == Value::Bool(true) || text == "true" => failed = true,
            "w3c.tracestate" => span.trace_state = value.to_string(),
            "otel.scope.name" | "otel.library.name" => scope.name = value.to_string(),
            "otel.scope.version" | "otel.library.version" => scope.version = value.to_string(),
            _ => rest.push((name, value)),
        }
    }
    if failed && span.status == StatusCode::Unset {
        span.status = StatusCode::Error;
    }
    (scope, rest)
}

fn event((ts_ns, mut fields): (i64, Attributes)) -> SpanEvent {
    let at = fields.iter().position(|(name, value)| name == "event" && value.as_str().is_some());
    let name = at.map(|at| fields.remove(at).1.to_string()).unwrap_or_default();
    SpanEvent { ts_ns, name, attributes: fields, ..SpanEvent::default() }
}

#[cfg(test)]
mod tests;
