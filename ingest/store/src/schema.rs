//! The columns in which a snapshot hands out log records and spans.
//!
//! Times are nanoseconds UTC. Ids are fixed binary here; the SQL tables show them as hex. `attributes`, `resource`
//! and `scope_attributes` are maps of text, and beside each map a binary column holds one type byte per entry (`model::Value::type_byte`), so
//! that `Value::from_typed_text` gives back what was sent.

use arrow::datatypes::{DataType, Field, Fields, Schema, SchemaRef, TimeUnit};
use std::sync::{Arc, LazyLock};

/// Nanoseconds since 1970, UTC.
pub fn timestamp() -> DataType {
    DataType::Timestamp(TimeUnit::Nanosecond, Some("UTC".into()))
}

/// `Map<Utf8, Utf8>` with Arrow's default field names (`entries`, `keys`, `values`).
pub fn text_map() -> DataType {
    DataType::Map(
        Arc::new(Field::new(
            "entries",
            DataType::Struct(Fields::from(vec![
                Field::new("keys", DataType::Utf8, false),
                Field::new("values", DataType::Utf8, true),
            ])),
            false,
        )),
        false,
    )
}

/// A stream's canonical label bytes ([`model::Labels::as_bytes`]), one dictionary entry a stream.
pub fn stream() -> DataType {
    DataType::Dictionary(Box::new(DataType::UInt32), Box::new(DataType::Binary))
}

/// Low-cardinality text.
pub fn word() -> DataType {
    DataType::Dictionary(Box::new(DataType::UInt32), Box::new(DataType::Utf8))
}

/// All log columns, in this order; [`crate::LogColumns`] picks from them.
pub static LOGS: LazyLock<SchemaRef> = LazyLock::new(|| {
    Arc::new(Schema::new(vec![
        Field::new("ts", timestamp(), false),
        Field::new("severity", word(), false),
        Field::new("severity_number", DataType::UInt8, false),
        Field::new("body", DataType::Utf8, false),
        Field::new("service", word(), true),
        Field::new("namespace", word(), true),
        Field::new("pod", word(), true),
        Field::new("container", word(), true),
        Field::new("node", word(), true),
        Field::new("trace_id", DataType::FixedSizeBinary(16), true),
        Field::new("span_id", DataType::FixedSizeBinary(8), true),
        Field::new("attributes", text_map(), false),
        Field::new("attribute_types", DataType::Binary, false),
        Field::new("resource", text_map(), false),
        Field::new("resource_types", DataType::Binary, false),
        Field::new("stream", stream(), false),
    ]))
});

fn event() -> DataType {
    DataType::Struct(Fields::from(vec![
        Field::new("ts", timestamp(), false),
        Field::new("name", DataType::Utf8, false),
        Field::new("attributes", text_map(), false),
        Field::new("attribute_types", DataType::Binary, false),
        Field::new("dropped_attributes", DataType::UInt32, false),
    ]))
}

fn link() -> DataType {
    DataType::Struct(Fields::from(vec![
        Field::new("trace_id", DataType::FixedSizeBinary(16), false),
        Field::new("span_id", DataType::FixedSizeBinary(8), false),
        Field::new("trace_state", DataType::Utf8, false),
        Field::new("attributes", text_map(), false),
        Field::new("attribute_types", DataType::Binary, false),
        Field::new("flags", DataType::UInt32, false),
        Field::new("dropped_attributes", DataType::UInt32, false),
    ]))
}

/// Beside the log columns, where [`model::LogSelect::json_labels`] asks for labels: whether a row tells its labels, and
/// its body was then left empty; and a column of each label, its name behind this: text, or a dictionary of texts without nulls
/// that a key names (Int32). The body is also empty of lines of which it is known that they are no object of JSON.
pub const JSON_KNOWN: &str = "json_known";
pub const JSON_LABEL: &str = "json:";
/// The same where [`model::LogSelect::json_values`] asks for values: JSON, and behind this the number of the path.
pub const JSON_VALUE: &str = "json_value:";

/// All span columns, in this order; [`crate::SpanColumns`] picks from them.
pub static SPANS: LazyLock<SchemaRef> = LazyLock::new(|| {
    Arc::new(Schema::new(vec![
        Field::new("trace_id", DataType::FixedSizeBinary(16), false),
        Field::new("span_id", DataType::FixedSizeBinary(8), false),
        Field::new("parent_span_id", DataType::FixedSizeBinary(8), true),
        Field::new("start_ts", timestamp(), false),
        Field::new("duration_ns", DataType::Int64, false),
        Field::new("service", word(), true),
        Field::new("name", word(), false),
        Field::new("kind", word(), false),
        Field::new("status", word(), false),
        Field::new("status_message", DataType::Utf8, false),
        Field::new("trace_state", DataType::Utf8, false),
        Field::new("flags", DataType::UInt32, false),
        Field::new("dropped_attributes", DataType::UInt32, false),
        Field::new("dropped_events", DataType::UInt32, false),
        Field::new("dropped_links", DataType::UInt32, false),
        Field::new("scope_name", word(), false),
        Field::new("scope_version", word(), false),
        Field::new("scope_schema_url", word(), false),
        Field::new("scope_dropped_attributes", DataType::UInt32, false),
        Field::new("scope_attributes", text_map(), false),
        Field::new("scope_attribute_types", DataType::Binary, false),
        Field::new("attributes", text_map(), false),
        Field::new("attribute_types", DataType::Binary, false),
        Field::new("resource", text_map(), false),
        Field::new("resource_types", DataType::Binary, false),
        Field::new("resource_schema_url", word(), false),
        Field::new("resource_dropped_attributes", DataType::UInt32, false),
        Field::new("events", DataType::List(Arc::new(Field::new("item", event(), false))), false),
        Field::new("links", DataType::List(Arc::new(Field::new("item", link(), false))), false),
    ]))
});
