//! Records and spans to rows as they are stored.

use super::groups::{AttributeBytes, Group, Groups};
use super::known_groups::KnownGroups;
use super::shapes::{self, Shape, Shapes};
use super::stored::{self, Stored, shared_words};
use crate::part::Signal;
use crate::schema;
use arrow::array::{
    ArrayBuilder, ArrayRef, BinaryBuilder, DictionaryArray, FixedSizeBinaryBuilder, Int64Array, ListBuilder,
    MapBuilder, RecordBatch, StringArray, StringBuilder, StringDictionaryBuilder, StructBuilder,
    TimestampNanosecondArray, TimestampNanosecondBuilder, UInt8Array, UInt32Array, UInt32Builder,
};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{DataType, UInt32Type};
use arrow::error::ArrowError;
use foldhash::HashMap;
use model::{Attributes, LogBatch, Packed, Span, SpanBatch, SpanKind, StatusCode, Value, attribute, level};
use std::fmt::Write;
use std::sync::{Arc, LazyLock};

/// Attributes of rows: the number of their shape and their values.
#[derive(Default)]
struct AttributeColumns {
    shapes: Shapes,
    /// Numbers of shapes that many rows share, by where they lie.
    shared: HashMap<*const Shape, u32>,
    numbers: Vec<u32>,
    ends: Vec<usize>,
    values: String,
    value_ends: Vec<usize>,
    key: Vec<u8>,
}

impl AttributeColumns {
    fn with_room(rows: usize, entries: usize, bytes: usize) -> Self {
        AttributeColumns {
            numbers: Vec::with_capacity(rows),
            ends: Vec::with_capacity(rows),
            values: String::with_capacity(bytes),
            value_ends: Vec::with_capacity(entries),
            ..AttributeColumns::default()
        }
    }

    fn of_logs(batch: &LogBatch, rows: usize) -> Self {
        let (mut entries, mut bytes) = (0, 0);
        for record in batch.streams.iter().flat_map(|stream| &stream.records) {
            entries += record.attributes.len();
            bytes +=
                record.attributes.iter().map(|(_, value)| value.as_str().map_or(8, str::len)).sum::<usize>();
        }
        AttributeColumns::with_room(rows, entries, bytes)
    }

    fn of_spans(batch: &SpanBatch, rows: usize) -> Self {
        let (mut entries, mut bytes) = (0, 0);
        for span in batch.resources.iter().flat_map(|group| &group.spans) {
            entries += span.attributes.len();
            bytes += span.attributes.text().len();
        }
        AttributeColumns::with_room(rows, entries, bytes)
    }

    fn append(&mut self, attributes: &[(String, Value)]) {
        self.key.clear();
        for (name, value) in attributes {
            Shape::push(&mut self.key, name, value.type_byte());
            match value {
                Value::String(text) | Value::Json(text) => self.values.push_str(text),
                // A String takes all that is written.
                other => _ = write!(self.values, "{other}"),
            }
            self.value_ends.push(self.values.len());
        }
        self.numbers.push(self.shapes.number_of_key(&self.key));
        self.ends.push(self.value_ends.len());
    }

    fn append_packed(&mut self, attributes: &Packed) {
        let number = match attributes.shape() {
            Some(shape) => {
                let known = self.shared.entry(Arc::as_ptr(shape));
                *known.or_insert_with(|| self.shapes.number(shape))
            }
            None => self.shapes.number_of_key(&[]),
        };
        self.numbers.push(number);
        let from = self.values.len();
        self.values.push_str(attributes.text());
        self.value_ends.extend(attributes.ends().map(|end| from + end));
        self.ends.push(self.value_ends.len());
    }

    fn finish(self) -> Result<(Vec<Arc<Shape>>, [ArrayRef; 2]), ArrowError> {
        let texts = StringArray::try_new(offsets(&self.value_ends)?, self.values.into_bytes().into(), None)?;
        let values = shapes::values_column(offsets(&self.ends)?, Arc::new(texts))?;
        Ok((self.shapes.list().to_vec(), [Arc::new(UInt32Array::from(self.numbers)), values]))
    }
}

/// Of what ends at these places and begins at 0.
fn offsets(ends: &[usize]) -> Result<OffsetBuffer<i32>, ArrowError> {
    let too_large =
        |_| ArrowError::InvalidArgumentError("attributes of more than 2 GiB in one request".into());
    i32::try_from(ends.last().copied().unwrap_or(0)).map_err(too_large)?;
    let offsets: Vec<i32> = std::iter::once(0).chain(ends.iter().map(|end| *end as i32)).collect();
    Ok(OffsetBuffer::new(offsets.into()))
}

/// Severities in the order of their places in the dictionary.
const LEVELS: [&str; 8] = ["unknown", "trace", "debug", "info", "warn", "error", "fatal", "critical"];
static LEVEL_WORDS: LazyLock<ArrayRef> = LazyLock::new(|| shared_words(&LEVELS));
const KINDS: [SpanKind; 6] = [
    SpanKind::Unspecified,
    SpanKind::Internal,
    SpanKind::Server,
    SpanKind::Client,
    SpanKind::Producer,
    SpanKind::Consumer,
];
static KIND_WORDS: LazyLock<ArrayRef> = LazyLock::new(|| shared_words(&KINDS.map(SpanKind::as_str)));
const STATUSES: [StatusCode; 3] = [StatusCode::Unset, StatusCode::Ok, StatusCode::Error];
static STATUS_WORDS: LazyLock<ArrayRef> = LazyLock::new(|| shared_words(&STATUSES.map(StatusCode::as_str)));

fn words(keys: Vec<u32>, values: &ArrayRef) -> Result<ArrayRef, ArrowError> {
    Ok(Arc::new(DictionaryArray::<UInt32Type>::try_new(keys.into(), values.clone())?))
}

/// Builders get the room that they need: what they take too much stays taken as long as the batch is in memory.
pub fn logs(batch: &LogBatch) -> Result<Stored, ArrowError> {
    let rows = batch.records();
    let records = || batch.streams.iter().flat_map(|stream| &stream.records);
    let mut group_numbers = Vec::with_capacity(rows);
    let mut ts = Vec::with_capacity(rows);
    let (mut severity, mut number) = (Vec::with_capacity(rows), Vec::with_capacity(rows));
    let mut body = StringBuilder::with_capacity(rows, records().map(|record| record.body.len()).sum());
    let mut trace_id = FixedSizeBinaryBuilder::with_capacity(rows, 16);
    let mut span_id = FixedSizeBinaryBuilder::with_capacity(rows, 8);
    let mut attributes = AttributeColumns::of_logs(batch, rows);
    let mut groups = Groups::default();
    for stream in &batch.streams {
        let group = groups.number(&Arc::new(Group {
            labels: stream.labels.clone(),
            resource: AttributeBytes::of(&stream.resource),
            ..Group::default()
        }));
        for record in &stream.records {
            group_numbers.push(group);
            ts.push(record.ts_ns);
            let known = match record.severity {
                0 => level::of_line(&record.body),
                said => said,
            };
            let level = model::severity_text(known);
            severity.push(LEVELS.iter().position(|other| *other == level).unwrap_or(0) as u32);
            number.push(known);
            body.append_value(&record.body);
            append_id(
                &mut trace_id,
                id_of(record.trace_id, &record.attributes, &["trace_id", "traceID", "traceid"]),
            )?;
            append_id(
                &mut span_id,
                id_of(record.span_id, &record.attributes, &["span_id", "spanID", "spanid"]),
            )?;
            attributes.append(&record.attributes);
        }
    }
    let (shapes, [shape, values]) = attributes.finish()?;
    let batch = RecordBatch::try_new(
        stored::schema(Signal::Logs).clone(),
        vec![
            Arc::new(UInt32Array::from(group_numbers)),
            Arc::new(TimestampNanosecondArray::from(ts).with_timezone("UTC")),
            words(severity, &LEVEL_WORDS)?,
            Arc::new(UInt8Array::from(number)),
            Arc::new(body.finish()),
            Arc::new(trace_id.finish()),
            Arc::new(span_id.finish()),
            shape,
            values,
        ],
    )?;
    Ok(Stored { groups: groups.list().to_vec(), shapes, batch })
}

fn id_of<const N: usize>(given: Option<[u8; N]>, attributes: &Attributes, names: &[&str]) -> Option<[u8; N]> {
    given.or_else(|| {
        let text = names.iter().find_map(|name| attribute(attributes, name)?.as_str())?;
        let mut id = [0; N];
        hex::decode_to_slice(text, &mut id).ok()?;
        Some(id)
    })
}

fn append_id<const N: usize>(
    builder: &mut FixedSizeBinaryBuilder,
    id: Option<[u8; N]>,
) -> Result<(), ArrowError> {
    match id.filter(|id| *id != [0; N]) {
        Some(id) => builder.append_value(id),
        None => {
            builder.append_null();
            Ok(())
        }
    }
}

pub fn spans(batch: &SpanBatch, known: &KnownGroups) -> Result<Stored, ArrowError> {
    let rows = batch.spans();
    let all = || batch.resources.iter().flat_map(|group| &group.spans);
    let mut group_numbers = Vec::with_capacity(rows);
    let mut trace_id = FixedSizeBinaryBuilder::with_capacity(rows, 16);
    let mut span_id = FixedSizeBinaryBuilder::with_capacity(rows, 8);
    let mut parent = FixedSizeBinaryBuilder::with_capacity(rows, 8);
    let (mut start, mut duration) = (Vec::with_capacity(rows), Vec::with_capacity(rows));
    let mut name = StringDictionaryBuilder::<UInt32Type>::new();
    let (mut kind, mut status) = (Vec::with_capacity(rows), Vec::with_capacity(rows));
    let mut message = StringBuilder::with_capacity(rows, all().map(|span| span.status_message.len()).sum());
    let mut state = StringBuilder::with_capacity(rows, all().map(|span| span.trace_state.len()).sum());
    let counts =
        |of: fn(&Span) -> u32| -> ArrayRef { Arc::new(UInt32Array::from_iter_values(all().map(of))) };
    let mut attributes = AttributeColumns::of_spans(batch, rows);
    let (mut events, mut links) = (list_builder("events")?, list_builder("links")?);
    let mut groups = Groups::default();
    let mut scratch = vec![];
    for of_group in &batch.resources {
        let group = groups.number(&known.of(of_group));
        for span in &of_group.spans {
            group_numbers.push(group);
            trace_id.append_value(span.trace_id)?;
            span_id.append_value(span.span_id)?;
            append_id(&mut parent, span.parent_span_id)?;
            start.push(span.start_ns);
            duration.push(span.duration_ns);
            name.append_value(&span.name);
            kind.push(KINDS.iter().position(|kind| *kind == span.kind).unwrap_or(0) as u32);
            status.push(STATUSES.iter().position(|status| *status == span.status).unwrap_or(0) as u32);
            message.append_value(&span.status_message);
            state.append_value(&span.trace_state);
            attributes.append_packed(&span.attributes);
            for event in &span.events {
                append_event(events.values(), event, &mut scratch)?;
            }
            events.append(true);
            for link in &span.links {
                append_link(links.values(), link, &mut scratch)?;
            }
            links.append(true);
        }
    }
    let (shapes, [shape, values]) = attributes.finish()?;
    let batch = RecordBatch::try_new(
        stored::schema(Signal::Spans).clone(),
        vec![
            Arc::new(UInt32Array::from(group_numbers)),
            Arc::new(trace_id.finish()),
            Arc::new(span_id.finish()),
            Arc::new(parent.finish()),
            Arc::new(TimestampNanosecondArray::from(start).with_timezone("UTC")),
            Arc::new(Int64Array::from(duration)),
            Arc::new(name.finish()),
            words(kind, &KIND_WORDS)?,
            words(status, &STATUS_WORDS)?,
            Arc::new(message.finish()),
            Arc::new(state.finish()),
            counts(|span| span.flags),
            counts(|span| span.dropped_attributes),
            counts(|span| span.dropped_events),
            counts(|span| span.dropped_links),
            shape,
            values,
            Arc::new(events.finish()),
            Arc::new(links.finish()),
        ],
    )?;
    Ok(Stored { groups: groups.list().to_vec(), shapes, batch })
}

fn list_builder(column: &str) -> Result<ListBuilder<StructBuilder>, ArrowError> {
    let field = schema::SPANS.field_with_name(column)?;
    let DataType::List(item) = field.data_type() else {
        return Err(ArrowError::SchemaError(format!("{column} is no list")));
    };
    let DataType::Struct(fields) = item.data_type() else {
        return Err(ArrowError::SchemaError(format!("{column} is no list of structs")));
    };
    Ok(ListBuilder::new(StructBuilder::from_fields(fields.clone(), 0)).with_field(item.clone()))
}

fn mismatch() -> ArrowError {
    ArrowError::SchemaError("a builder is not of its column's type".into())
}

type BoxedMap = MapBuilder<Box<dyn arrow::array::ArrayBuilder>, Box<dyn arrow::array::ArrayBuilder>>;

/// The map and its types at `column` and the one after it.
fn append_nested(
    row: &mut StructBuilder,
    column: usize,
    attributes: &Attributes,
    scratch: &mut Vec<u8>,
) -> Result<(), ArrowError> {
    scratch.clear();
    let map = row.field_builder::<BoxedMap>(column).ok_or_else(mismatch)?;
    for (name, value) in attributes {
        let keys = map.keys().as_any_mut().downcast_mut::<StringBuilder>().ok_or_else(mismatch)?;
        keys.append_value(name);
        let values = map.values().as_any_mut().downcast_mut::<StringBuilder>().ok_or_else(mismatch)?;
        values.append_value(value.to_string());
        scratch.push(value.type_byte());
    }
    map.append(true)?;
    row.field_builder::<BinaryBuilder>(column + 1).ok_or_else(mismatch)?.append_value(&*scratch);
    Ok(())
}

fn append_event(
    row: &mut StructBuilder,
    event: &model::SpanEvent,
    scratch: &mut Vec<u8>,
) -> Result<(), ArrowError> {
    row.field_builder::<TimestampNanosecondBuilder>(0).ok_or_else(mismatch)?.append_value(event.ts_ns);
    row.field_builder::<StringBuilder>(1).ok_or_else(mismatch)?.append_value(&event.name);
    append_nested(row, 2, &event.attributes, scratch)?;
    row.field_builder::<UInt32Builder>(4).ok_or_else(mismatch)?.append_value(event.dropped_attributes);
    row.append(true);
    Ok(())
}

fn append_link(
    row: &mut StructBuilder,
    link: &model::SpanLink,
    scratch: &mut Vec<u8>,
) -> Result<(), ArrowError> {
    row.field_builder::<FixedSizeBinaryBuilder>(0).ok_or_else(mismatch)?.append_value(link.trace_id)?;
    row.field_builder::<FixedSizeBinaryBuilder>(1).ok_or_else(mismatch)?.append_value(link.span_id)?;
    row.field_builder::<StringBuilder>(2).ok_or_else(mismatch)?.append_value(&link.trace_state);
    append_nested(row, 3, &link.attributes, scratch)?;
    row.field_builder::<UInt32Builder>(5).ok_or_else(mismatch)?.append_value(link.flags);
    row.field_builder::<UInt32Builder>(6).ok_or_else(mismatch)?.append_value(link.dropped_attributes);
    row.append(true);
    Ok(())
}
