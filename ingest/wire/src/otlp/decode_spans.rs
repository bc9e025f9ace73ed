//! Spans straight from the bytes of a request. A message tree in between would have three times as many owned strings and
//! vectors as the spans themselves (source of the field numbers: opentelemetry-proto's `trace.proto`, `resource.proto`,
//! `common.proto`).

use super::resources::Resources;
use super::spans::{Ids, duration_ns};
use super::{attributes, id, time_ns};
use crate::protobuf::Fields;
use crate::{Decoded, Malformed};
use model::{
    Attributes, Packer, ResourceSpans, Scope, Span, SpanBatch, SpanEvent, SpanKind, SpanLink, StatusCode,
};

/// Of an `ExportTraceServiceRequest`, which is a `TracesData` too.
pub fn decode(body: &[u8], resources: &Resources) -> Result<Decoded<SpanBatch>, Malformed> {
    let mut out = Out { decoded: Decoded::default(), packer: Packer::default() };
    let mut request = Fields::of(body);
    while let Some((field, value)) = request.next()? {
        if field == 1 {
            resource_spans(value.bytes()?, resources, &mut out)?;
        }
    }
    Ok(out.decoded)
}

/// What a request becomes.
struct Out {
    decoded: Decoded<SpanBatch>,
    packer: Packer,
}

fn resource_spans(message: &[u8], resources: &Resources, out: &mut Out) -> Result<(), Malformed> {
    let (mut resource, mut schema_url) = (&[][..], "");
    // What all have in common may come behind them.
    let mut fields = Fields::of(message);
    while let Some((field, value)) = fields.next()? {
        match field {
            1 => resource = value.bytes()?,
            3 => schema_url = value.text()?,
            _ => {}
        }
    }
    let decode = |message: &[u8]| attributes_and_dropped(message, 1, 2);
    let (resource, dropped_attributes) = resources.of(resource, decode)?;
    let mut fields = Fields::of(message);
    while let Some((field, value)) = fields.next()? {
        if field == 2 {
            let (scope, spans) = scope_spans(value.bytes()?, out)?;
            out.decoded.batch.resources.push(ResourceSpans {
                resource: resource.clone(),
                schema_url: schema_url.to_owned(),
                dropped_attributes,
                scope,
                spans,
            });
        }
    }
    Ok(())
}

/// Attributes and how many of them the sender left out, by the numbers that a message has for them.
fn attributes_and_dropped(
    message: &[u8],
    attributes_field: u32,
    dropped_field: u32,
) -> Result<(Attributes, u32), Malformed> {
    let mut attributes = Attributes::new();
    let mut dropped = 0;
    let mut fields = Fields::of(message);
    while let Some((field, value)) = fields.next()? {
        if field == attributes_field {
            attributes.push(attributes::decode(value.bytes()?)?);
        } else if field == dropped_field {
            dropped = value.integer()? as u32;
        }
    }
    Ok((attributes, dropped))
}

fn scope_spans(message: &[u8], out: &mut Out) -> Result<(Scope, Vec<Span>), Malformed> {
    let mut scope = Scope::default();
    let mut spans = Vec::with_capacity(Fields::count(message, 2)?);
    let mut fields = Fields::of(message);
    while let Some((field, value)) = fields.next()? {
        match field {
            1 => scope = Scope { schema_url: scope.schema_url, ..decode_scope(value.bytes()?)? },
            2 => spans.extend(span(value.bytes()?, out)?),
            3 => scope.schema_url = value.text()?.to_owned(),
            _ => {}
        }
    }
    Ok((scope, spans))
}

fn decode_scope(message: &[u8]) -> Result<Scope, Malformed> {
    let (attributes, dropped_attributes) = attributes_and_dropped(message, 3, 4)?;
    let mut scope = Scope { attributes, dropped_attributes, ..Scope::default() };
    let mut fields = Fields::of(message);
    while let Some((field, value)) = fields.next()? {
        match field {
            1 => scope.name = value.text()?.to_owned(),
            2 => scope.version = value.text()?.to_owned(),
            _ => {}
        }
    }
    Ok(scope)
}

/// `None` where it has no ids; that is counted.
fn span(message: &[u8], out: &mut Out) -> Result<Option<Span>, Malformed> {
    let mut span = Span::default();
    let mut ids = Ids { trace: &[], span: &[] };
    let (mut start, mut end) = (0, 0);
    let mut fields = Fields::of(message);
    while let Some((field, value)) = fields.next()? {
        match field {
            1 => ids.trace = value.bytes()?,
            2 => ids.span = value.bytes()?,
            3 => span.trace_state = value.text()?.to_owned(),
            4 => span.parent_span_id = id(value.bytes()?),
            5 => span.name = value.text()?.to_owned(),
            6 => span.kind = SpanKind::from_number(value.integer()? as i32),
            7 => start = value.fixed64()?,
            8 => end = value.fixed64()?,
            9 => attributes::pack(value.bytes()?, &mut out.packer)?,
            10 => span.dropped_attributes = value.integer()? as u32,
            11 => span.events.push(event(value.bytes()?)?),
            12 => span.dropped_events = value.integer()? as u32,
            13 => span.links.extend(link(value.bytes()?)?),
            14 => span.dropped_links = value.integer()? as u32,
            15 => (span.status, span.status_message) = status(value.bytes()?)?,
            16 => span.flags = value.fixed32()?,
            _ => {}
        }
    }
    (span.start_ns, span.duration_ns) = (time_ns(start), duration_ns(time_ns(start), time_ns(end)));
    span.attributes = out.packer.pack().map_err(|wrong| Malformed(wrong.to_string()))?;
    let Some((trace_id, span_id)) = ids.whole(&span.name, &mut out.decoded.rejected) else { return Ok(None) };
    Ok(Some(Span { trace_id, span_id, ..span }))
}

fn event(message: &[u8]) -> Result<SpanEvent, Malformed> {
    let (attributes, dropped_attributes) = attributes_and_dropped(message, 3, 4)?;
    let mut event = SpanEvent { attributes, dropped_attributes, ..SpanEvent::default() };
    let mut fields = Fields::of(message);
    while let Some((field, value)) = fields.next()? {
        match field {
            1 => event.ts_ns = time_ns(value.fixed64()?),
            2 => event.name = value.text()?.to_owned(),
            _ => {}
        }
    }
    Ok(event)
}

/// `None` where it has no ids.
fn link(message: &[u8]) -> Result<Option<SpanLink>, Malformed> {
    let (attributes, dropped_attributes) = attributes_and_dropped(message, 4, 5)?;
    let mut link = SpanLink { attributes, dropped_attributes, ..SpanLink::default() };
    let (mut trace, mut span) = (None, None);
    let mut fields = Fields::of(message);
    while let Some((field, value)) = fields.next()? {
        match field {
            1 => trace = id(value.bytes()?),
            2 => span = id(value.bytes()?),
            3 => link.trace_state = value.text()?.to_owned(),
            6 => link.flags = value.fixed32()?,
            _ => {}
        }
    }
    Ok(trace.zip(span).map(|(trace_id, span_id)| SpanLink { trace_id, span_id, ..link }))
}

fn status(message: &[u8]) -> Result<(StatusCode, String), Malformed> {
    let (mut code, mut text) = (StatusCode::Unset, "");
    let mut fields = Fields::of(message);
    while let Some((field, value)) = fields.next()? {
        match field {
            2 => text = value.text()?,
            3 => code = StatusCode::from_number(value.integer()? as i32),
            _ => {}
        }
    }
    Ok((code, text.to_owned()))
}
