//! Single attributes of spans as columns of their own: texts as words, and beside them the type of each.

use super::groups::GroupColumns;
use super::part::attributes_of_file;
use super::shapes;
use super::stored::numbers;
use arrow::array::{
    Array, ArrayRef, AsArray, ListArray, MapArray, RecordBatch, RecordBatchOptions, StringDictionaryBuilder,
    UInt8Array, UInt32Array,
};
use arrow::datatypes::{DataType, Field, Schema, UInt32Type};
use arrow::error::ArrowError;
use model::SpanField;
use std::sync::Arc;

/// Texts and types.
pub type Typed = (ArrayRef, ArrayRef);

/// Rows with such columns behind the others. `rows` are the same as they lie: in memory, or in a part's file.
pub fn with_fields(
    published: RecordBatch,
    rows: &RecordBatch,
    groups: &GroupColumns,
    asked: &[SpanField],
) -> Result<RecordBatch, ArrowError> {
    if asked.is_empty() {
        return Ok(published);
    }
    let mut fields: Vec<Arc<Field>> = published.schema().fields().iter().cloned().collect();
    let mut columns = published.columns().to_vec();
    for field in asked {
        let (texts, types) = match field {
            SpanField::Resource(name) => groups.attribute(name, numbers(rows)?)?,
            SpanField::Span(name) => match shapes::columns(rows) {
                Some(columns) => of_memory(columns, groups, name)?,
                None => attributes_of_file(rows, name)?,
            },
        };
        fields.push(Arc::new(Field::new(field.column(), texts.data_type().clone(), true)));
        fields.push(Arc::new(Field::new(field.types(), DataType::UInt8, false)));
        columns.extend([texts, types]);
    }
    let rows = RecordBatchOptions::new().with_row_count(Some(published.num_rows()));
    RecordBatch::try_new_with_options(Arc::new(Schema::new(fields)), columns, &rows)
}

fn of_memory(
    (numbers, values): (&UInt32Array, &ListArray),
    groups: &GroupColumns,
    name: &str,
) -> Result<Typed, ArrowError> {
    let wrong = || ArrowError::SchemaError("attributes are no text".into());
    let own = values.values().as_string_opt::<i32>().ok_or_else(wrong)?;
    // Looked up where a row has it: all batches together may have a shape a row.
    let mut of_shape: Vec<Option<Option<(usize, u8)>>> = vec![None; groups.shapes().len()];
    let mut texts = StringDictionaryBuilder::<UInt32Type>::new();
    let mut kinds = Vec::with_capacity(numbers.len());
    for (row, number) in numbers.values().iter().enumerate() {
        let place = of_shape.get_mut(*number as usize).ok_or_else(wrong)?;
        match *place.get_or_insert_with(|| groups.shapes()[*number as usize].find(name)) {
            Some((at, kind)) => {
                texts.append_value(own.value(values.value_offsets()[row] as usize + at));
                kinds.push(kind);
            }
            None => {
                texts.append_null();
                kinds.push(0);
            }
        }
    }
    Ok((Arc::new(texts.finish()), Arc::new(UInt8Array::from(kinds))))
}

/// The first entry of this name in each map; its type by its row and place.
pub fn looked_up(map: &MapArray, name: &str, kind: impl Fn(usize, usize) -> u8) -> Result<Typed, ArrowError> {
    let wrong = || ArrowError::SchemaError("attributes are no text".into());
    let names = map.keys().as_string_opt::<i32>().ok_or_else(wrong)?;
    let values = map.values().as_string_opt::<i32>().ok_or_else(wrong)?;
    let mut texts = StringDictionaryBuilder::<UInt32Type>::new();
    let mut kinds = Vec::with_capacity(map.len());
    for row in 0..map.len() {
        let (start, end) = (map.value_offsets()[row] as usize, map.value_offsets()[row + 1] as usize);
        match (start..end).find(|at| names.value(*at) == name) {
            Some(at) => {
                texts.append_value(values.value(at));
                kinds.push(kind(row, at - start));
            }
            None => {
                texts.append_null();
                kinds.push(0);
            }
        }
    }
    Ok((Arc::new(texts.finish()), Arc::new(UInt8Array::from(kinds))))
}
