//! One batch of spans, its columns taken apart once, and what a row says of a field.

mod columns;
mod sent;

pub(crate) use columns::{Keyed, Resources};

use super::value::{Val, typed};
use arrow::array::{
    Array, AsArray, FixedSizeBinaryArray, Int64Array, RecordBatch, StringArray, TimestampNanosecondArray,
    UInt32Array,
};
use arrow::datatypes::{Int64Type, TimestampNanosecondType, UInt32Type};
use columns::{Own, Parts, Typed, Words};
use model::{SpanField, SpanId, SpanKind, StatusCode, TraceId};
use std::borrow::Cow;
use traceql::{Field, Intrinsic, Scope};

/// The columns of a batch; those that were not read are `None`.
pub(crate) struct Spans<'a> {
    rows: usize,
    trace_id: Option<&'a FixedSizeBinaryArray>,
    span_id: Option<&'a FixedSizeBinaryArray>,
    parent: Option<&'a FixedSizeBinaryArray>,
    start: Option<&'a TimestampNanosecondArray>,
    duration: Option<&'a Int64Array>,
    service: Option<Words<'a>>,
    name: Option<Words<'a>>,
    kind: Option<Words<'a>>,
    status: Option<Words<'a>>,
    status_message: Option<&'a StringArray>,
    trace_state: Option<&'a StringArray>,
    flags: Option<&'a UInt32Array>,
    /// What the sender left out: attributes, events and links of the span, attributes of its resource and scope.
    dropped: [Option<&'a UInt32Array>; 5],
    urls: [Option<Words<'a>>; 2],
    scope_name: Option<Words<'a>>,
    scope_version: Option<Words<'a>>,
    scope_attributes: Option<Typed<'a>>,
    attributes: Option<Typed<'a>>,
    resource: Option<Typed<'a>>,
    events: Option<Parts<'a>>,
    links: Option<Parts<'a>>,
    own: Vec<Own<'a>>,
    resources: Option<Resources<'a>>,
    roots: Option<&'a [u32]>,
}

const DROPPED: [&str; 5] = [
    "dropped_attributes",
    "dropped_events",
    "dropped_links",
    "resource_dropped_attributes",
    "scope_dropped_attributes",
];

fn id<const N: usize>(ids: Option<&FixedSizeBinaryArray>, row: usize) -> Option<[u8; N]> {
    let ids = ids.filter(|ids| ids.is_valid(row))?;
    ids.value(row).try_into().ok()
}

impl<'a> Spans<'a> {
    pub fn of(batch: &'a RecordBatch) -> Spans<'a> {
        let column = |name: &str| batch.column_by_name(name);
        let ids = |name: &str| column(name).and_then(|c| c.as_fixed_size_binary_opt());
        let words = |name: &str| column(name).and_then(Words::of);
        let text = |name: &str| column(name).and_then(|c| c.as_string_opt::<i32>());
        let count = |name: &str| column(name).and_then(|c| c.as_primitive_opt::<UInt32Type>());
        let map = |name: &str, types: &str| column(name).and_then(|map| Typed::of(map, column(types)));
        Spans {
            rows: batch.num_rows(),
            trace_id: ids("trace_id"),
            span_id: ids("span_id"),
            parent: ids("parent_span_id"),
            start: column("start_ts").and_then(|c| c.as_primitive_opt::<TimestampNanosecondType>()),
            duration: column("duration_ns").and_then(|c| c.as_primitive_opt::<Int64Type>()),
            service: words("service"),
            name: words("name"),
            kind: words("kind"),
            status: words("status"),
            status_message: text("status_message"),
            trace_state: text("trace_state"),
            flags: count("flags"),
            dropped: DROPPED.map(count),
            urls: ["resource_schema_url", "scope_schema_url"].map(words),
            scope_name: words("scope_name"),
            scope_version: words("scope_version"),
            scope_attributes: map("scope_attributes", "scope_attribute_types"),
            attributes: map("attributes", "attribute_types"),
            resource: map("resource", "resource_types"),
            events: column("events").and_then(Parts::of),
            links: column("links").and_then(Parts::of),
            own: Own::of(batch),
            resources: Resources::of(batch),
            roots: count(&SpanField::Root.column()).map(|roots| &roots.values()[..]),
        }
    }

    pub fn len(&self) -> usize {
        self.rows
    }

    pub fn trace_id(&self, row: usize) -> TraceId {
        id(self.trace_id, row).unwrap_or_default()
    }

    pub fn span_id(&self, row: usize) -> SpanId {
        id(self.span_id, row).unwrap_or_default()
    }

    /// `None` for a root; all zeros means none as well.
    pub fn parent(&self, row: usize) -> Option<SpanId> {
        id(self.parent, row).filter(|parent| *parent != [0; 8])
    }

    /// As TraceQL tells it: zeros of a span that has no parent.
    pub fn parent_id(&self, row: usize) -> SpanId {
        self.parent(row).unwrap_or_default()
    }

    /// Whether it was read which spans have a parent.
    pub fn has_parents(&self) -> bool {
        self.parent.is_some()
    }

    pub fn start(&self, row: usize) -> i64 {
        self.start.map_or(0, |start| start.value(row))
    }

    /// Of all rows, where they were read.
    pub fn starts(&self) -> Option<&'a [i64]> {
        self.start.map(|start| &start.values()[..])
    }

    /// Of all rows, where they were read.
    pub fn durations(&self) -> Option<&'a [i64]> {
        self.duration.map(|duration| &duration.values()[..])
    }

    pub fn duration(&self, row: usize) -> i64 {
        self.duration.map_or(0, |duration| duration.value(row))
    }

    pub fn service(&self, row: usize) -> &'a str {
        self.service.as_ref().and_then(|service| service.get(row)).unwrap_or("")
    }

    pub fn name(&self, row: usize) -> &'a str {
        self.name.as_ref().and_then(|name| name.get(row)).unwrap_or("")
    }

    pub fn status(&self, row: usize) -> StatusCode {
        let word = self.status.as_ref().and_then(|status| status.get(row)).unwrap_or("");
        StatusCode::from_word(word).unwrap_or_default()
    }

    pub fn kind(&self, row: usize) -> SpanKind {
        let word = self.kind.as_ref().and_then(|kind| kind.get(row)).unwrap_or("");
        SpanKind::from_word(word).unwrap_or_default()
    }

    /// Calls `see` with each value that the field has at the row, until it says stop (true). Events and links may have
    /// several or none; other fields have one, `Nil` where it is missing. A list is one value.
    pub fn values(&self, field: &Field, row: usize, see: &mut dyn FnMut(Val<'a>) -> bool) {
        let one = match field {
            Field::Attribute { scope, name } => match scope {
                Scope::Span => self.attribute(row, name),
                Scope::Resource => self.resource(row, name),
                Scope::Any => self.attribute(row, name).or_else(|| self.resource(row, name)),
                Scope::Instrumentation => self.scope_attributes.as_ref().and_then(|of| of.get(row, name)),
                Scope::Event => return part_attribute(self.events.as_ref(), row, name, see),
                Scope::Link => return part_attribute(self.links.as_ref(), row, name, see),
                // Whoever knows the parent asks there.
                Scope::Parent | Scope::ParentSpan | Scope::ParentResource => Some(Val::Unknown),
            },
            Field::Intrinsic(intrinsic) => match intrinsic {
                Intrinsic::EventName => return self.event_names(row, see),
                Intrinsic::EventTimeSinceStart => return self.event_times(row, see),
                Intrinsic::LinkTraceId => return self.link_ids("trace_id", row, see),
                Intrinsic::LinkSpanId => return self.link_ids("span_id", row, see),
                other => Some(self.intrinsic(*other, row)),
            },
        };
        see(one.unwrap_or(Val::Nil));
    }

    /// Whether the row has none of the events or links that the field is of, or no message: of all such rows the field is the
    /// same. Of other fields nothing is said.
    pub fn is_blank(&self, field: &Field, row: usize) -> bool {
        let none = |parts: &Option<Parts<'a>>| parts.as_ref().is_none_or(|parts| parts.rows(row).is_empty());
        match field {
            Field::Attribute { scope: Scope::Event, .. }
            | Field::Intrinsic(Intrinsic::EventName | Intrinsic::EventTimeSinceStart) => none(&self.events),
            Field::Attribute { scope: Scope::Link, .. }
            | Field::Intrinsic(Intrinsic::LinkTraceId | Intrinsic::LinkSpanId) => none(&self.links),
            Field::Attribute { scope: Scope::Instrumentation, .. } => {
                self.scope_attributes.as_ref().is_none_or(|attributes| attributes.is_empty(row))
            }
            Field::Intrinsic(Intrinsic::StatusMessage) => {
                self.status_message.is_none_or(|messages| messages.value(row).is_empty())
            }
            _ => false,
        }
    }

    fn own(&self, of_resource: bool, name: &str) -> Option<&Own<'a>> {
        self.own.iter().find(|own| own.of_resource == of_resource && own.name == name)
    }

    fn attribute(&self, row: usize, name: &str) -> Option<Val<'a>> {
        if let Some(own) = self.own(false, name) {
            return own.get(row);
        }
        self.attributes.as_ref()?.get(row, name)
    }

    fn resource(&self, row: usize, name: &str) -> Option<Val<'a>> {
        // Every resource has a service, if one without a name.
        if name == "service.name"
            && let Some(services) = &self.service
        {
            return Some(Val::Text(Cow::Borrowed(services.get(row).unwrap_or(""))));
        }
        if let Some(own) = self.own(true, name) {
            return own.get(row);
        }
        self.resource.as_ref()?.get(row, name)
    }

    fn intrinsic(&self, intrinsic: Intrinsic, row: usize) -> Val<'a> {
        let word = |words: &Option<Words<'a>>| {
            Val::Text(Cow::Borrowed(words.as_ref().and_then(|words| words.get(row)).unwrap_or("")))
        };
        let hex = |bytes: &[u8]| Val::Text(Cow::Owned(hex::encode(bytes)));
        match intrinsic {
            Intrinsic::Duration => Val::Duration(self.duration(row)),
            Intrinsic::Name => word(&self.name),
            Intrinsic::Status => Val::Status(self.status(row)),
            Intrinsic::Kind => Val::Kind(self.kind(row)),
            Intrinsic::StatusMessage => {
                Val::Text(Cow::Borrowed(self.status_message.map_or("", |message| message.value(row))))
            }
            Intrinsic::SpanId => hex(&self.span_id(row)),
            Intrinsic::ParentId => hex(&self.parent_id(row)),
            Intrinsic::Parent => self.parent(row).map_or(Val::Nil, |parent| hex(&parent)),
            Intrinsic::TraceId => hex(&self.trace_id(row)),
            Intrinsic::InstrumentationName => word(&self.scope_name),
            Intrinsic::InstrumentationVersion => word(&self.scope_version),
            _ => Val::Unknown,
        }
    }

    fn event_names(&self, row: usize, see: &mut dyn FnMut(Val<'a>) -> bool) {
        let Some(events) = &self.events else { return };
        let Some(names) = events.column("name").and_then(|c| c.as_string_opt::<i32>()) else { return };
        for at in events.rows(row) {
            if see(Val::Text(Cow::Borrowed(names.value(at)))) {
                return;
            }
        }
    }

    fn event_times(&self, row: usize, see: &mut dyn FnMut(Val<'a>) -> bool) {
        let Some(events) = &self.events else { return };
        let times = events.column("ts").and_then(|c| c.as_primitive_opt::<TimestampNanosecondType>());
        let Some(times) = times else { return };
        for at in events.rows(row) {
            if see(Val::Duration(times.value(at).saturating_sub(self.start(row)))) {
                return;
            }
        }
    }

    fn link_ids(&self, column: &str, row: usize, see: &mut dyn FnMut(Val<'a>) -> bool) {
        let Some(links) = &self.links else { return };
        let Some(ids) = links.column(column).and_then(|c| c.as_fixed_size_binary_opt()) else { return };
        for at in links.rows(row) {
            if see(Val::Text(Cow::Owned(hex::encode(ids.value(at))))) {
                return;
            }
        }
    }

    /// Calls `see` with the scope, name and value of each attribute of the span, its resource and what made it.
    pub fn each_attribute(&self, row: usize, see: &mut dyn FnMut(Scope, &str, Val<'a>)) {
        for own in &self.own {
            // What comes put together with all others is seen there.
            let is_seen = match own.of_resource {
                true => self.resource.is_some() || self.resources.is_some(),
                false => self.attributes.is_some(),
            };
            if let Some(value) = own.get(row).filter(|_| !is_seen) {
                see(own.scope(), own.name, value);
            }
        }
        for (name, text, kind) in self.resources.iter().flat_map(|resources| resources.of_row(row)) {
            see(Scope::Resource, name, typed(kind, text));
        }
        self.each_entry(row, &mut |scope, name, text, kind| see(scope, name, typed(kind, text)));
    }

    /// The same with the value's text and type byte, of those that came put together.
    pub fn each_entry(&self, row: usize, see: &mut dyn FnMut(Scope, &str, &'a str, u8)) {
        for (scope, attributes) in self.maps() {
            let Some(attributes) = attributes else { continue };
            for (name, text, kind) in attributes.entries(row) {
                see(scope, name, text, kind);
            }
        }
    }

    /// Whether any came put together.
    pub fn has_entries(&self) -> bool {
        self.maps().iter().any(|(_, attributes)| attributes.is_some())
    }

    fn maps(&self) -> [(Scope, Option<&Typed<'a>>); 3] {
        [
            (Scope::Span, self.attributes.as_ref()),
            (Scope::Resource, self.resource.as_ref()),
            (Scope::Instrumentation, self.scope_attributes.as_ref()),
        ]
    }

    /// Those that came as columns, with their scopes and names.
    pub fn own_columns(&self) -> impl Iterator<Item = (Scope, &'a str, Keyed<'a>)> {
        self.own.iter().map(|own| {
            let keys = Cow::Borrowed(own.words.keys);
            let (kinds, words) = (Some(&own.types.values()[..]), own.words.values.len());
            (own.scope(), own.name, Keyed { keys, kinds, words, dictionary: Some(own.words.values) })
        })
    }

    /// All resources, where they came as a dictionary.
    pub fn resources(&self) -> Option<&Resources<'a>> {
        self.resources.as_ref()
    }

    /// The number of what the trace of each row is rooted in, where it was asked for.
    pub fn roots(&self) -> Option<&'a [u32]> {
        self.roots
    }

    /// An intrinsic whose column is of words.
    pub fn keyed(&self, intrinsic: Intrinsic) -> Option<Keyed<'a>> {
        let words = self.words_of(intrinsic)?;
        let (keys, dictionary) = (words.keys_or_none(), words.values);
        Some(Keyed { keys, kinds: None, words: dictionary.len(), dictionary: Some(dictionary) })
    }

    fn words_of(&self, intrinsic: Intrinsic) -> Option<&Words<'a>> {
        let words = match intrinsic {
            Intrinsic::Name => &self.name,
            Intrinsic::Status => &self.status,
            Intrinsic::Kind => &self.kind,
            Intrinsic::InstrumentationName => &self.scope_name,
            Intrinsic::InstrumentationVersion => &self.scope_version,
            _ => return None,
        };
        words.as_ref()
    }

    pub fn status_messages(&self) -> Option<&'a StringArray> {
        self.status_message
    }

    /// Names of attributes of one scope that occur in these rows of the batch, or in any.
    pub fn attribute_names(&self, scope: Scope, rows: Option<&[usize]>, see: &mut dyn FnMut(&str)) {
        let parts = match scope {
            Scope::Event => self.events.as_ref(),
            Scope::Link => self.links.as_ref(),
            _ => None,
        };
        let attributes = match scope {
            Scope::Span => self.attributes.as_ref(),
            Scope::Resource => self.resource.as_ref(),
            Scope::Instrumentation => self.scope_attributes.as_ref(),
            _ => parts.and_then(|parts| parts.attributes.as_ref()),
        };
        let Some(attributes) = attributes else { return };
        let Some(rows) = rows else { return attributes.keys.iter().flatten().for_each(see) };
        for row in rows {
            // Attributes of a part lie at the part's own row.
            let own = parts.map_or(*row..*row + 1, |parts| parts.rows(*row));
            own.flat_map(|at| attributes.entries(at)).for_each(|(name, _, _)| see(name));
        }
    }

    /// Keys of a field whose columns in this batch are words: rows with the same keys have the same value.
    pub fn keys(&self, field: &Field) -> Option<Vec<Cow<'a, [u32]>>> {
        let of_attribute = |of_resource: bool, name: &str| self.own(of_resource, name).map(Own::keys);
        let words = match field {
            Field::Intrinsic(intrinsic) => self.words_of(*intrinsic),
            Field::Attribute { scope: Scope::Resource, name } if name == "service.name" => {
                self.service.as_ref()
            }
            Field::Attribute { scope: Scope::Resource, name } => return of_attribute(true, name),
            Field::Attribute { scope: Scope::Span, name } => return of_attribute(false, name),
            Field::Attribute { scope: Scope::Any, name } => {
                let mut keys = of_attribute(false, name)?;
                match name.as_str() {
                    "service.name" => keys.push(self.service.as_ref()?.keys_or_none()),
                    _ => keys.extend(of_attribute(true, name)?),
                }
                return Some(keys);
            }
            _ => return None,
        };
        Some(vec![words?.keys_or_none()])
    }

    /// How many spans it stands for, where its sender kept some of many.
    pub fn weight(&self, row: usize) -> f64 {
        let state = self.trace_state.filter(|state| !state.value_data().is_empty());
        state.map_or(1.0, |state| model::sampling_weight(state.value(row)))
    }

    /// The same of all rows; `None` where each stands for itself.
    pub fn weights(&self) -> Option<Vec<f64>> {
        self.trace_state.filter(|state| !state.value_data().is_empty())?;
        Some((0..self.rows).map(|row| self.weight(row)).collect())
    }
}

fn part_attribute<'a>(
    parts: Option<&Parts<'a>>,
    row: usize,
    name: &str,
    see: &mut dyn FnMut(Val<'a>) -> bool,
) {
    let Some(parts) = parts else { return };
    for at in parts.rows(row) {
        let value = parts.attributes.as_ref().and_then(|attributes| attributes.get(at, name));
        if see(value.unwrap_or(Val::Nil)) {
            return;
        }
    }
}
