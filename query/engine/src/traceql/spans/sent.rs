//! A row as it was sent: the span whole, and the resource and scope it came with.

use super::columns::Words;
use super::{Spans, id};
use arrow::array::AsArray;
use arrow::datatypes::TimestampNanosecondType;
use model::Attributes;
use std::sync::Arc;

impl<'a> Spans<'a> {
    /// The row as it was sent, without its resource.
    pub fn to_span(&self, row: usize) -> model::Span {
        model::Span {
            trace_id: self.trace_id(row),
            span_id: self.span_id(row),
            parent_span_id: self.parent(row),
            trace_state: self.trace_state.map_or("", |state| state.value(row)).to_owned(),
            flags: self.flags.map_or(0, |flags| flags.value(row)),
            start_ns: self.start(row),
            duration_ns: self.duration(row),
            name: self.name(row).to_owned(),
            kind: self.kind(row),
            status: self.status(row),
            status_message: self.status_message.map_or("", |message| message.value(row)).to_owned(),
            attributes: self.attributes.as_ref().map(|a| a.packed(row)).unwrap_or_default(),
            events: self.to_events(row),
            links: self.to_links(row),
            dropped_attributes: self.dropped(0, row),
            dropped_events: self.dropped(1, row),
            dropped_links: self.dropped(2, row),
        }
    }

    /// By the place in [`DROPPED`](super::DROPPED).
    fn dropped(&self, of: usize, row: usize) -> u32 {
        self.dropped[of].map_or(0, |counts| counts.value(row))
    }

    fn to_events(&self, row: usize) -> Vec<model::SpanEvent> {
        let Some(events) = &self.events else { return Vec::new() };
        let names = events.column("name").and_then(|c| c.as_string_opt::<i32>());
        let times = events.column("ts").and_then(|c| c.as_primitive_opt::<TimestampNanosecondType>());
        let one = |at: usize| model::SpanEvent {
            ts_ns: times.map_or(0, |times| times.value(at)),
            name: names.map_or("", |names| names.value(at)).to_owned(),
            attributes: events.attributes.as_ref().map(|a| a.owned(at)).unwrap_or_default(),
            dropped_attributes: events.count("dropped_attributes", at),
        };
        events.rows(row).map(one).collect()
    }

    fn to_links(&self, row: usize) -> Vec<model::SpanLink> {
        let Some(links) = &self.links else { return Vec::new() };
        let ids = |name: &str| links.column(name).and_then(|c| c.as_fixed_size_binary_opt());
        let (traces, spans) = (ids("trace_id"), ids("span_id"));
        let states = links.column("trace_state").and_then(|c| c.as_string_opt::<i32>());
        let one = |at: usize| model::SpanLink {
            trace_id: id(traces, at).unwrap_or_default(),
            span_id: id(spans, at).unwrap_or_default(),
            trace_state: states.map_or("", |states| states.value(at)).to_owned(),
            flags: links.count("flags", at),
            attributes: links.attributes.as_ref().map(|a| a.owned(at)).unwrap_or_default(),
            dropped_attributes: links.count("dropped_attributes", at),
        };
        links.rows(row).map(one).collect()
    }

    /// The resource and scope of the row, without spans.
    pub fn to_group(&self, row: usize) -> model::ResourceSpans {
        let url = |at: usize| self.urls[at].as_ref().and_then(|urls| urls.get(row)).unwrap_or("").to_owned();
        model::ResourceSpans {
            resource: Arc::new(self.to_resource(row)),
            schema_url: url(0),
            dropped_attributes: self.dropped(3, row),
            scope: model::Scope {
                schema_url: url(1),
                dropped_attributes: self.dropped(4, row),
                ..self.to_scope(row)
            },
            spans: vec![],
        }
    }

    fn to_resource(&self, row: usize) -> Attributes {
        self.resource.as_ref().map(|resource| resource.owned(row)).unwrap_or_default()
    }

    fn to_scope(&self, row: usize) -> model::Scope {
        let word = |words: &Option<Words<'a>>| words.as_ref().and_then(|words| words.get(row)).unwrap_or("");
        model::Scope {
            attributes: self.scope_attributes.as_ref().map(|scope| scope.owned(row)).unwrap_or_default(),
            ..model::Scope::named(word(&self.scope_name), word(&self.scope_version))
        }
    }
}
