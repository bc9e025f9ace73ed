//! Snapshot columns as SQL shows them: dictionaries as plain text, ids as hex, canonical labels as maps.

use arrow::array::{
    Array, ArrayRef, AsArray, BinaryArray, FixedSizeBinaryArray, Int64Array, MapArray, MapBuilder,
    RecordBatch, RecordBatchOptions, StringArray, StringBuilder,
};
use arrow::buffer::OffsetBuffer;
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, FieldRef, Schema, UInt32Type};
use arrow::error::ArrowError;
use model::{Labels, METRIC_NAME};
use std::sync::Arc;

/// Builds `Map<Utf8, Utf8>` columns.
pub type LabelMapBuilder = MapBuilder<StringBuilder, StringBuilder>;

pub fn label_map_builder() -> LabelMapBuilder {
    MapBuilder::new(None, StringBuilder::new(), StringBuilder::new())
}

/// One row of labels; the metric's name is a column of its own.
pub fn append_labels(builder: &mut LabelMapBuilder, labels: &Labels) -> Result<(), ArrowError> {
    for (name, value) in labels.iter().filter(|(name, _)| *name != METRIC_NAME) {
        builder.keys().append_value(name);
        builder.values().append_value(value);
    }
    builder.append(true)
}

/// How SQL types a snapshot column; `None` for columns that SQL does not show.
pub fn sql_field(field: &Field) -> Option<Field> {
    let kind = match (field.name().as_str(), field.data_type()) {
        (name, _) if name.ends_with("_types") || name == "severity_number" => return None,
        ("stream", _) => return Some(Field::new("labels", store::schema::text_map(), false)),
        (_, DataType::FixedSizeBinary(_)) => DataType::Utf8,
        (_, DataType::Dictionary(_, value)) => value.as_ref().clone(),
        ("events" | "links", _) => DataType::Utf8,
        (_, other) => other.clone(),
    };
    Some(Field::new(field.name(), kind, field.is_nullable()))
}

/// A snapshot column as the column of `field`.
pub fn column_to_sql(column: &ArrayRef, field: &FieldRef) -> Result<ArrayRef, ArrowError> {
    match column.data_type() {
        DataType::FixedSizeBinary(8) if *field.data_type() == DataType::Int64 => {
            Ok(numbers(column.as_fixed_size_binary()))
        }
        DataType::FixedSizeBinary(_) if *field.data_type() != DataType::Utf8 => Ok(column.clone()),
        DataType::FixedSizeBinary(_) => hex_text(column.as_fixed_size_binary()),
        DataType::Dictionary(_, value) if **value == DataType::Binary => label_maps(column),
        DataType::Dictionary(_, _) => cast(column, field.data_type()),
        DataType::List(_) => json_text(column),
        _ => Ok(column.clone()),
    }
}

/// Ids of spans as numbers, to be told apart.
fn numbers(ids: &FixedSizeBinaryArray) -> ArrayRef {
    let (numbers, _) = ids.value_data().as_chunks::<8>();
    let numbers: Vec<i64> = numbers.iter().take(ids.len()).map(|id| i64::from_ne_bytes(*id)).collect();
    Arc::new(Int64Array::new(numbers.into(), ids.nulls().cloned()))
}

/// The digits of all ids at once, as they lie side by side in the column and in the text.
fn hex_text(ids: &FixedSizeBinaryArray) -> Result<ArrayRef, ArrowError> {
    let size = ids.value_length() as usize;
    let mut digits = vec![0; 2 * size * ids.len()];
    hex::encode_to_slice(&ids.value_data()[..size * ids.len()], &mut digits)
        .map_err(|why| ArrowError::InvalidArgumentError(why.to_string()))?;
    let offsets = OffsetBuffer::from_repeated_length(2 * size, ids.len());
    Ok(Arc::new(StringArray::try_new(offsets, digits.into(), ids.nulls().cloned())?))
}

fn label_maps(column: &ArrayRef) -> Result<ArrayRef, ArrowError> {
    let streams = column.as_dictionary::<UInt32Type>();
    let bytes: &BinaryArray = streams.values().as_binary();
    let sets: Vec<Labels> =
        bytes.iter().map(|b| Labels::from_bytes(b.unwrap_or(&[])).unwrap_or_default()).collect();
    let mut out = label_map_builder();
    for key in streams.keys() {
        match key.and_then(|key| sets.get(key as usize)) {
            Some(labels) => append_labels(&mut out, labels)?,
            None => out.append(true)?,
        }
    }
    Ok(Arc::new(out.finish()))
}

/// Events and links as JSON text: SQL people take them apart with JSON functions or not at all.
fn json_text(column: &ArrayRef) -> Result<ArrayRef, ArrowError> {
    let field = Field::new("v", column.data_type().clone(), true);
    let mut out = StringBuilder::new();
    for row in 0..column.len() {
        let one =
            RecordBatch::try_new(Arc::new(Schema::new(vec![field.clone()])), vec![column.slice(row, 1)])?;
        let mut writer = arrow::json::LineDelimitedWriter::new(Vec::new());
        writer.write(&one)?;
        writer.finish()?;
        let line = String::from_utf8(writer.into_inner()).unwrap_or_default();
        // `{"v":[…]}` without its wrapping; an empty list is left out by the writer.
        let list =
            line.trim().strip_prefix("{\"v\":").and_then(|rest| rest.strip_suffix('}')).unwrap_or("[]");
        out.append_value(list);
    }
    Ok(Arc::new(out.finish()))
}

/// A batch whose maps are JSON text, for formats that have no maps (CSV, PostgreSQL).
pub fn maps_as_text(batch: &RecordBatch) -> Result<RecordBatch, ArrowError> {
    let (fields, columns): (Vec<Field>, Vec<ArrayRef>) = batch
        .schema()
        .fields()
        .iter()
        .zip(batch.columns())
        .map(|(field, column)| match column.as_map_opt() {
            Some(map) => (Field::new(field.name(), DataType::Utf8, field.is_nullable()), map_text(map)),
            None => (field.as_ref().clone(), column.clone()),
        })
        .unzip();
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    RecordBatch::try_new_with_options(Arc::new(Schema::new(fields)), columns, &options)
}

/// `Map<Utf8, Utf8>` as JSON objects.
pub fn map_text(map: &MapArray) -> ArrayRef {
    let keys: &StringArray = map.keys().as_string();
    let values: &StringArray = map.values().as_string();
    let mut out = StringBuilder::new();
    for row in 0..map.len() {
        if map.is_null(row) {
            out.append_null();
            continue;
        }
        let entries = map.value_offsets()[row] as usize..map.value_offsets()[row + 1] as usize;
        let object: serde_json::Map<String, serde_json::Value> = entries
            .map(|entry| {
                let value = values.is_valid(entry).then(|| values.value(entry));
                (keys.value(entry).to_owned(), value.into())
            })
            .collect();
        out.append_value(serde_json::Value::Object(object).to_string());
    }
    Arc::new(out.finish())
}
