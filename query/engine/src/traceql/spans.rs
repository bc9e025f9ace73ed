//! One batch of spans, its columns taken apart once, and what a row says of a field.

use super::alike::leading;
use arrow::array::{
    Array, ArrayRef, AsArray, BinaryArray, FixedSizeBinaryArray, Int64Array, ListArray, MapArray,
    RecordBatch, StringArray, TimestampNanosecondArray, UInt8Array, UInt32Array,
};
use arrow::datatypes::{Int64Type, TimestampNanosecondType, UInt8Type, UInt32Type};
use model::{Attributes, Packed, SpanField, SpanId, SpanKind, StatusCode, TraceId, Value};
use std::borrow::Cow;
use std::collections::HashSet;
use std::sync::Arc;
use traceql::{Field, Intrinsic, Scope, Static};

/// The value of a field at a span.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Val<'a> {
    /// Only the whole trace would tell.
    Unknown,
    Nil,
    Int(i64),
    Float(f64),
    Duration(i64),
    Text(Cow<'a, str>),
    Bool(bool),
    Status(StatusCode),
    Kind(SpanKind),
    /// A list, as JSON. A condition on it is one on its elements.
    Array(Cow<'a, str>),
}

impl Val<'_> {
    pub fn number(&self) -> Option<f64> {
        match self {
            Val::Int(number) | Val::Duration(number) => Some(*number as f64),
            Val::Float(number) => Some(*number),
            _ => None,
        }
    }

    pub fn owned(self) -> Val<'static> {
        match self {
            Val::Text(text) => Val::Text(Cow::Owned(text.into_owned())),
            Val::Unknown => Val::Unknown,
            Val::Nil => Val::Nil,
            Val::Int(number) => Val::Int(number),
            Val::Float(number) => Val::Float(number),
            Val::Duration(ns) => Val::Duration(ns),
            Val::Bool(truth) => Val::Bool(truth),
            Val::Status(status) => Val::Status(status),
            Val::Kind(kind) => Val::Kind(kind),
            Val::Array(text) => Val::Array(Cow::Owned(text.into_owned())),
        }
    }
}

impl<'a> From<&'a Static> for Val<'a> {
    fn from(value: &'a Static) -> Self {
        match value {
            Static::Int(number) => Val::Int(*number),
            Static::Float(number) => Val::Float(*number),
            Static::Duration(ns) => Val::Duration(*ns),
            Static::Text(text) => Val::Text(Cow::Borrowed(text)),
            Static::Bool(truth) => Val::Bool(*truth),
            Static::Status(status) => Val::Status(*status),
            Static::Kind(kind) => Val::Kind(*kind),
            Static::Nil => Val::Nil,
        }
    }
}

/// A column of few words.
struct Words<'a> {
    keys: &'a [u32],
    array: &'a ArrayRef,
    values: &'a StringArray,
}

impl<'a> Words<'a> {
    fn of(array: &'a ArrayRef) -> Option<Words<'a>> {
        let dictionary = array.as_dictionary_opt::<UInt32Type>()?;
        let values = dictionary.values().as_string_opt::<i32>()?;
        Some(Words { keys: dictionary.keys().values(), array, values })
    }

    /// The largest number stands for none.
    fn keys_or_none(&self) -> Cow<'a, [u32]> {
        match self.array.null_count() {
            0 => Cow::Borrowed(self.keys),
            _ => {
                let nulls = self.array.nulls().into_iter().flat_map(|nulls| nulls.iter());
                self.keys.iter().zip(nulls).map(|(key, valid)| if valid { *key } else { u32::MAX }).collect()
            }
        }
    }

    fn get(&self, row: usize) -> Option<&'a str> {
        self.array.is_valid(row).then(|| self.values.value(self.keys[row] as usize))
    }
}

/// A column by whose keys rows are told apart: those with the same key and type have the same value.
pub(crate) struct Keyed<'a> {
    /// The largest number stands for none.
    pub keys: Cow<'a, [u32]>,
    /// Type bytes, where rows have their own; 0 of those without a value, whose keys say nothing.
    pub kinds: Option<&'a [u8]>,
    /// How many keys there are, beside none.
    pub words: usize,
    /// What they are places in, where they are words of a batch.
    pub dictionary: Option<&'a StringArray>,
}

impl<'a> Keyed<'a> {
    /// Whether all rows have the same value, or all have none.
    pub fn is_uniform(&self) -> bool {
        let kinds = self.kinds.unwrap_or_default();
        if let Some(first) = kinds.first()
            && leading(kinds, |kind| kind == *first) < kinds.len()
        {
            return false;
        }
        let same = |first: &u32| leading(&self.keys, |key| key == *first) == self.keys.len();
        kinds.first() == Some(&0) || self.keys.first().is_none_or(same)
    }

    /// The text of a row that has one.
    pub fn text(&self, row: usize) -> &'a str {
        self.dictionary.map_or("", |words| words.value(self.keys[row] as usize))
    }
}

/// One attribute as a column.
struct Own<'a> {
    of_resource: bool,
    name: &'a str,
    words: Words<'a>,
    types: &'a UInt8Array,
}

impl<'a> Own<'a> {
    /// The columns that [`SpanSelect::fields`](model::SpanSelect) brought.
    fn of(batch: &'a RecordBatch) -> Vec<Own<'a>> {
        let fields = batch.schema_ref().fields();
        let own = fields.iter().zip(batch.columns()).enumerate().filter_map(|(at, (field, column))| {
            let (of_resource, name) = match (field.name().strip_prefix("span:"), field.name()) {
                (Some(name), _) => (false, name),
                (None, name) => (true, name.strip_prefix("resource:")?),
            };
            let types = batch.columns().get(at + 1)?.as_primitive_opt::<UInt8Type>()?;
            Some(Own { of_resource, name, words: Words::of(column)?, types })
        });
        own.collect()
    }

    fn scope(&self) -> Scope {
        if self.of_resource { Scope::Resource } else { Scope::Span }
    }

    fn keys(&self) -> Vec<Cow<'a, [u32]>> {
        let mut keys = vec![self.words.keys_or_none()];
        let mut types = self.types.values().iter().filter(|kind| **kind != 0);
        // The same text may be a number here and a string there.
        if let Some(first) = types.next()
            && types.any(|kind| kind != first)
        {
            keys.push(self.types.values().iter().map(|kind| u32::from(*kind)).collect());
        }
        keys
    }

    fn get(&self, row: usize) -> Option<Val<'a>> {
        self.words.get(row).map(|text| typed(self.types.value(row), text))
    }
}

/// Attributes with the types they were sent with.
struct Typed<'a> {
    map: &'a MapArray,
    keys: &'a StringArray,
    values: &'a StringArray,
    types: Option<&'a BinaryArray>,
}

impl<'a> Typed<'a> {
    fn of(map: &'a ArrayRef, types: Option<&'a ArrayRef>) -> Option<Typed<'a>> {
        let map = map.as_map_opt()?;
        Some(Typed {
            map,
            keys: map.keys().as_string_opt::<i32>()?,
            values: map.values().as_string_opt::<i32>()?,
            types: types.and_then(|types| types.as_binary_opt::<i32>()),
        })
    }

    fn is_empty(&self, row: usize) -> bool {
        self.map.value_offsets()[row] == self.map.value_offsets()[row + 1]
    }

    fn entries(&self, row: usize) -> impl Iterator<Item = (&'a str, &'a str, u8)> {
        let (keys, values) = (self.keys, self.values);
        let from = self.map.value_offsets()[row] as usize;
        let to = self.map.value_offsets()[row + 1] as usize;
        let types = self.types.map_or(&[][..], |types| types.value(row));
        (from..to).map(move |at| {
            let value = if values.is_null(at) { "" } else { values.value(at) };
            (keys.value(at), value, types.get(at - from).copied().unwrap_or(b's'))
        })
    }

    fn get(&self, row: usize, name: &str) -> Option<Val<'a>> {
        self.entries(row).find(|(key, _, _)| *key == name).map(|(_, value, kind)| typed(kind, value))
    }

    fn packed(&self, row: usize) -> Packed {
        self.entries(row).map(|(key, text, kind)| (key, kind, text)).collect()
    }

    fn owned(&self, row: usize) -> Attributes {
        self.entries(row)
            .map(|(key, text, kind)| (key.to_owned(), Value::from_typed_text(kind, text)))
            .collect()
    }
}

pub(super) fn typed(kind: u8, text: &str) -> Val<'_> {
    let string = || Val::Text(Cow::Borrowed(text));
    match kind {
        b'i' => text.parse().map(Val::Int).unwrap_or_else(|_| string()),
        b'd' => text.parse().map(Val::Float).unwrap_or_else(|_| string()),
        b'b' => text.parse().map(Val::Bool).unwrap_or_else(|_| string()),
        b'j' if text == "[]" => Val::Nil,
        b'j' if text.starts_with('[') => Val::Array(Cow::Borrowed(text)),
        _ => string(),
    }
}

/// The elements of a list; a condition on the field holds where it holds for one of them.
pub(super) fn elements<'a>(text: &str, see: &mut dyn FnMut(Val<'a>) -> bool) {
    let Ok(serde_json::Value::Array(items)) = serde_json::from_str(text) else {
        see(Val::Text(Cow::Owned(text.to_owned())));
        return;
    };
    for item in items {
        let value = match item {
            serde_json::Value::String(text) => Val::Text(Cow::Owned(text)),
            serde_json::Value::Bool(truth) => Val::Bool(truth),
            serde_json::Value::Number(number) => match (number.as_i64(), number.as_f64()) {
                (Some(number), _) => Val::Int(number),
                (None, number) => number.map_or(Val::Nil, Val::Float),
            },
            serde_json::Value::Null => Val::Nil,
            other => Val::Text(Cow::Owned(other.to_string())),
        };
        if see(value) {
            return;
        }
    }
}

/// Lists of events or links of a batch.
struct Parts<'a> {
    list: &'a ListArray,
    attributes: Option<Typed<'a>>,
}

impl<'a> Parts<'a> {
    fn of(array: &'a ArrayRef) -> Option<Parts<'a>> {
        let list = array.as_list_opt::<i32>()?;
        let items = list.values().as_struct_opt()?;
        let attributes =
            Typed::of(items.column_by_name("attributes")?, items.column_by_name("attribute_types"));
        Some(Parts { list, attributes })
    }

    fn rows(&self, row: usize) -> std::ops::Range<usize> {
        self.list.value_offsets()[row] as usize..self.list.value_offsets()[row + 1] as usize
    }

    fn column(&self, name: &str) -> Option<&'a ArrayRef> {
        self.list.values().as_struct_opt()?.column_by_name(name)
    }

    fn count(&self, name: &str, at: usize) -> u32 {
        let counts = self.column(name).and_then(|column| column.as_primitive_opt::<UInt32Type>());
        counts.map_or(0, |counts| counts.value(at))
    }
}

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
            Intrinsic::ParentId | Intrinsic::Parent => {
                self.parent(row).map_or(Val::Nil, |parent| hex(&parent))
            }
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
            let maps = if own.of_resource { &self.resource } else { &self.attributes };
            if let (None, Some(value)) = (maps, own.get(row)) {
                see(own.scope(), own.name, value);
            }
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

    /// By the place in [`DROPPED`].
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

    fn to_scope(&self, row: usize) -> model::Scope {
        let word = |words: &Option<Words<'a>>| words.as_ref().and_then(|words| words.get(row)).unwrap_or("");
        model::Scope {
            attributes: self.scope_attributes.as_ref().map(|scope| scope.owned(row)).unwrap_or_default(),
            ..model::Scope::named(word(&self.scope_name), word(&self.scope_version))
        }
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

/// As [`columns_of`], where an attribute of a span or its resource need not come with all others.
pub(crate) fn fields_or_columns_of(
    field: &Field,
    fields: &mut Vec<SpanField>,
    columns: &mut Vec<&'static str>,
) {
    let Field::Attribute { scope, name } = field else { return columns_of(field, columns) };
    // The column of services says it of the resource.
    let is_service = name == "service.name" && matches!(scope, Scope::Resource | Scope::Any);
    if is_service {
        columns.push("service");
    }
    let (of_span, of_resource) = (SpanField::Span(name.clone()), SpanField::Resource(name.clone()));
    match scope {
        Scope::Resource if is_service => {}
        Scope::Span => fields.push(of_span),
        Scope::Any if is_service => fields.push(of_span),
        Scope::Resource => fields.push(of_resource),
        Scope::Any => fields.extend([of_span, of_resource]),
        _ => return columns_of(field, columns),
    }
    // A column is there once.
    let mut seen = HashSet::new();
    fields.retain(|field| seen.insert(field.clone()));
}

/// The columns that a field is read from.
pub(crate) fn columns_of(field: &Field, columns: &mut Vec<&'static str>) {
    match field {
        Field::Attribute { scope, name } => match scope.at_parent().unwrap_or(*scope) {
            Scope::Span => columns.extend(["attributes", "attribute_types"]),
            Scope::Resource if name == "service.name" => columns.extend(["service"]),
            Scope::Resource => columns.extend(["resource", "resource_types"]),
            Scope::Any => {
                columns.extend(["attributes", "attribute_types", "service"]);
                if name != "service.name" {
                    columns.extend(["resource", "resource_types"]);
                }
            }
            Scope::Event => columns.push("events"),
            Scope::Link => columns.push("links"),
            Scope::Instrumentation => columns.extend(["scope_attributes", "scope_attribute_types"]),
            _ => {}
        },
        Field::Intrinsic(intrinsic) => columns.push(match intrinsic {
            Intrinsic::Duration => "duration_ns",
            Intrinsic::Name => "name",
            Intrinsic::Status => "status",
            Intrinsic::StatusMessage => "status_message",
            Intrinsic::Kind => "kind",
            Intrinsic::SpanId => "span_id",
            Intrinsic::ParentId | Intrinsic::Parent | Intrinsic::NestedSetParent => "parent_span_id",
            Intrinsic::EventName | Intrinsic::EventTimeSinceStart => "events",
            Intrinsic::LinkTraceId | Intrinsic::LinkSpanId => "links",
            Intrinsic::InstrumentationName => "scope_name",
            Intrinsic::InstrumentationVersion => "scope_version",
            _ => "trace_id",
        }),
    }
}
