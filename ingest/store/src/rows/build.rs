//! Records and spans to Arrow rows of [`crate::schema`].

use crate::schema;
use arrow::array::{
    ArrayRef, BinaryBuilder, BinaryDictionaryBuilder, FixedSizeBinaryBuilder, Int64Builder, ListBuilder,
    MapBuilder, RecordBatch, StringBuilder, StringDictionaryBuilder, StructBuilder,
    TimestampNanosecondBuilder, UInt8Builder,
};
use arrow::datatypes::{DataType, UInt32Type};
use arrow::error::ArrowError;
use model::{Attributes, LogBatch, LogRecord, LogStream, SpanBatch, Value, attribute};
use std::sync::Arc;

type Words = StringDictionaryBuilder<UInt32Type>;

/// A map column and the column of its types.
struct AttributeColumns {
    map: MapBuilder<StringBuilder, StringBuilder>,
    types: BinaryBuilder,
    scratch: Vec<u8>,
}

impl AttributeColumns {
    fn new() -> Self {
        AttributeColumns {
            map: MapBuilder::new(None, StringBuilder::new(), StringBuilder::new()),
            types: BinaryBuilder::new(),
            scratch: vec![],
        }
    }

    fn append(&mut self, attributes: &[(String, Value)]) -> Result<(), ArrowError> {
        append_map(&mut self.map, &mut self.types, &mut self.scratch, attributes)
    }

    fn finish(mut self) -> (ArrayRef, ArrayRef) {
        (Arc::new(self.map.finish()), Arc::new(self.types.finish()))
    }
}

fn append_map(
    map: &mut MapBuilder<StringBuilder, StringBuilder>,
    types: &mut BinaryBuilder,
    scratch: &mut Vec<u8>,
    attributes: &[(String, Value)],
) -> Result<(), ArrowError> {
    scratch.clear();
    for (name, value) in attributes {
        map.keys().append_value(name);
        match value {
            Value::String(text) | Value::Json(text) => map.values().append_value(text),
            other => map.values().append_value(other.to_string()),
        }
        scratch.push(value.type_byte());
    }
    types.append_value(&*scratch);
    map.append(true)
}

/// Where the promoted columns come from, first that is there: stream label names, then resource attribute names.
const PROMOTED: [(&[&str], &[&str]); 5] = [
    (&["service_name", "service"], &["service.name"]),
    (&["namespace", "k8s_namespace_name"], &["k8s.namespace.name"]),
    (&["pod", "k8s_pod_name"], &["k8s.pod.name"]),
    (&["container", "k8s_container_name"], &["k8s.container.name", "container.name"]),
    (&["node", "node_name", "k8s_node_name", "host_name"], &["k8s.node.name", "host.name"]),
];

fn promoted<'a>(stream: &'a LogStream, (labels, attributes): (&[&str], &[&str])) -> Option<&'a str> {
    labels
        .iter()
        .find_map(|name| stream.labels.get(name))
        .or_else(|| attributes.iter().find_map(|name| attribute(&stream.resource, name)?.as_str()))
}

pub fn logs(batch: &LogBatch) -> Result<RecordBatch, ArrowError> {
    let mut ts = TimestampNanosecondBuilder::new().with_timezone("UTC");
    let (mut severity, mut number, mut body) = (Words::new(), UInt8Builder::new(), StringBuilder::new());
    let mut words: [Words; 5] = std::array::from_fn(|_| Words::new());
    let (mut trace_id, mut span_id) = (FixedSizeBinaryBuilder::new(16), FixedSizeBinaryBuilder::new(8));
    let (mut attributes, mut resource) = (AttributeColumns::new(), AttributeColumns::new());
    let mut stream_labels = BinaryDictionaryBuilder::<UInt32Type>::new();
    for stream in &batch.streams {
        let promoted = PROMOTED.map(|from| promoted(stream, from));
        for record in &stream.records {
            ts.append_value(record.ts_ns);
            let level = level(stream, record);
            severity.append_value(level);
            number.append_value(record.severity);
            body.append_value(&record.body);
            for (column, value) in words.iter_mut().zip(promoted) {
                column.append_option(value);
            }
            append_id(
                &mut trace_id,
                id_of(record.trace_id, &record.attributes, &["trace_id", "traceID", "traceid"]),
            )?;
            append_id(
                &mut span_id,
                id_of(record.span_id, &record.attributes, &["span_id", "spanID", "spanid"]),
            )?;
            attributes.append(&record.attributes)?;
            resource.append(&stream.resource)?;
            stream_labels.append_value(stream.labels.as_bytes());
        }
    }
    let (attributes, attribute_types) = attributes.finish();
    let (resource, resource_types) = resource.finish();
    let [service, namespace, pod, container, node] =
        words.map(|mut column| Arc::new(column.finish()) as ArrayRef);
    RecordBatch::try_new(
        schema::LOGS.clone(),
        vec![
            Arc::new(ts.finish()),
            Arc::new(severity.finish()),
            Arc::new(number.finish()),
            Arc::new(body.finish()),
            service,
            namespace,
            pod,
            container,
            node,
            Arc::new(trace_id.finish()),
            Arc::new(span_id.finish()),
            attributes,
            attribute_types,
            resource,
            resource_types,
            Arc::new(stream_labels.finish()),
        ],
    )
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

/// From the sender's number, else what the sender calls it, else what the line itself says first.
fn level(stream: &LogStream, record: &LogRecord) -> &'static str {
    if record.severity > 0 {
        return model::severity_text(record.severity);
    }
    let said = |name: &str| {
        attribute(&record.attributes, name).and_then(Value::as_str).or_else(|| stream.labels.get(name))
    };
    let named = Some(record.severity_text.as_str())
        .filter(|text| !text.is_empty())
        .or_else(|| ["level", "severity", "detected_level", "log_level", "lvl"].into_iter().find_map(said));
    match named.and_then(level_word) {
        Some(level) => level,
        None => level_of_line(&record.body),
    }
}

fn level_word(word: &str) -> Option<&'static str> {
    let is = |names: &[&str]| names.iter().any(|name| word.eq_ignore_ascii_case(name));
    Some(match () {
        () if is(&["error", "err", "e"]) => "error",
        () if is(&["info", "information", "informational", "i", "notice"]) => "info",
        () if is(&["warn", "warning", "w"]) => "warn",
        () if is(&["debug", "dbg", "d"]) => "debug",
        () if is(&["trace", "trc"]) => "trace",
        () if is(&["fatal", "critical", "crit", "alert", "emergency", "emerg", "panic", "f"]) => "fatal",
        () => return None,
    })
}

/// A level later in the line is more likely a word of the message.
const LEVEL_WITHIN_BYTES: usize = 256;

fn level_of_line(line: &str) -> &'static str {
    let mut end = line.len().min(LEVEL_WITHIN_BYTES);
    while !line.is_char_boundary(end) {
        end -= 1;
    }
    let mut after_key = false;
    for token in super::tokens::tokens(&line[..end]) {
        if after_key && let Some(level) = level_word(token) {
            return level;
        }
        after_key =
            ["level", "lvl", "severity", "loglevel"].iter().any(|key| token.eq_ignore_ascii_case(key));
        // Without a key only words of three letters and more are a level.
        if token.len() >= 3
            && token.bytes().all(|b| b.is_ascii_uppercase())
            && let Some(level) = level_word(token)
        {
            return level;
        }
    }
    "unknown"
}

pub fn spans(batch: &SpanBatch) -> Result<RecordBatch, ArrowError> {
    let mut trace_id = FixedSizeBinaryBuilder::new(16);
    let (mut span_id, mut parent) = (FixedSizeBinaryBuilder::new(8), FixedSizeBinaryBuilder::new(8));
    let mut start = TimestampNanosecondBuilder::new().with_timezone("UTC");
    let mut duration = Int64Builder::new();
    let (mut service, mut name, mut kind, mut status) =
        (Words::new(), Words::new(), Words::new(), Words::new());
    let (mut message, mut state) = (StringBuilder::new(), StringBuilder::new());
    let (mut scope_name, mut scope_version) = (Words::new(), Words::new());
    let (mut attributes, mut resource) = (AttributeColumns::new(), AttributeColumns::new());
    let (mut events, mut links) = (list_builder("events")?, list_builder("links")?);
    let mut scratch = vec![];
    for group in &batch.resources {
        let of_service = attribute(&group.resource, "service.name").and_then(Value::as_str);
        for span in &group.spans {
            trace_id.append_value(span.trace_id)?;
            span_id.append_value(span.span_id)?;
            append_id(&mut parent, span.parent_span_id)?;
            start.append_value(span.start_ns);
            duration.append_value(span.duration_ns);
            service.append_option(of_service);
            name.append_value(&span.name);
            kind.append_value(span.kind.as_str());
            status.append_value(span.status.as_str());
            message.append_value(&span.status_message);
            state.append_value(&span.trace_state);
            scope_name.append_value(&group.scope_name);
            scope_version.append_value(&group.scope_version);
            attributes.append(&span.attributes)?;
            resource.append(&group.resource)?;
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
    let (attributes, attribute_types) = attributes.finish();
    let (resource, resource_types) = resource.finish();
    RecordBatch::try_new(
        schema::SPANS.clone(),
        vec![
            Arc::new(trace_id.finish()),
            Arc::new(span_id.finish()),
            Arc::new(parent.finish()),
            Arc::new(start.finish()),
            Arc::new(duration.finish()),
            Arc::new(service.finish()),
            Arc::new(name.finish()),
            Arc::new(kind.finish()),
            Arc::new(status.finish()),
            Arc::new(message.finish()),
            Arc::new(state.finish()),
            Arc::new(scope_name.finish()),
            Arc::new(scope_version.finish()),
            attributes,
            attribute_types,
            resource,
            resource_types,
            Arc::new(events.finish()),
            Arc::new(links.finish()),
        ],
    )
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
    row.append(true);
    Ok(())
}
