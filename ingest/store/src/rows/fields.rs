//! Single attributes of spans as columns of their own: texts as words, and beside them the type of each. And what many spans share.

use super::groups::GroupColumns;
use super::part::AttributesOfFile;
use super::shapes;
use super::stored::numbers;
use super::trace_roots::TraceRoots;
use arrow::array::{
    Array, ArrayRef, AsArray, ListArray, RecordBatch, RecordBatchOptions, StringDictionaryBuilder,
    UInt8Array, UInt32Array,
};
use arrow::datatypes::{DataType, Field, Schema, UInt32Type};
use arrow::error::ArrowError;
use foldhash::{HashMap, HashMapExt};
use model::SpanField;
use std::sync::Arc;

pub const TRACE_ID: &str = "trace_id";

/// Texts and types.
pub type Typed = (ArrayRef, ArrayRef);

/// Rows with such columns behind the others. `rows` are the same as they lie: in memory, or in a part's file.
pub fn with_fields(
    published: RecordBatch,
    rows: &RecordBatch,
    (groups, roots): (&GroupColumns, Option<&TraceRoots>),
    asked: &[SpanField],
) -> Result<RecordBatch, ArrowError> {
    if asked.is_empty() {
        return Ok(published);
    }
    let mut fields: Vec<Arc<Field>> = published.schema().fields().iter().cloned().collect();
    let mut columns = published.columns().to_vec();
    let of_spans = asked.iter().any(|field| matches!(field, SpanField::Span(_)));
    let in_memory = shapes::columns(rows);
    let in_file = (of_spans && in_memory.is_none()).then(|| AttributesOfFile::of(rows)).transpose()?;
    for field in asked {
        let (texts, types) = match (field, in_memory, &in_file) {
            (SpanField::Resource(name), ..) => groups.attribute(name, numbers(rows)?)?,
            (SpanField::Span(name), _, Some(attributes)) => attributes.get(name)?,
            (SpanField::Span(name), Some(columns), _) => of_memory(columns, groups, name)?,
            (SpanField::Span(_), None, None) => return Err(wrong()),
            (SpanField::Resources | SpanField::Root, ..) => {
                let shared = match (field, roots) {
                    (SpanField::Root, Some(roots)) => roots.column(rows)?,
                    (SpanField::Root, None) => return Err(without_roots()),
                    _ => groups.resources(numbers(rows)?)?,
                };
                fields.push(Arc::new(Field::new(field.column(), shared.data_type().clone(), false)));
                columns.push(shared);
                continue;
            }
        };
        fields.push(Arc::new(Field::new(field.column(), texts.data_type().clone(), true)));
        fields.push(Arc::new(Field::new(field.types(), DataType::UInt8, false)));
        columns.extend([texts, types]);
    }
    let rows = RecordBatchOptions::new().with_row_count(Some(published.num_rows()));
    RecordBatch::try_new_with_options(Arc::new(Schema::new(fields)), columns, &rows)
}

fn without_roots() -> ArrowError {
    ArrowError::SchemaError("it was not asked what traces are rooted in".into())
}

fn wrong() -> ArrowError {
    ArrowError::SchemaError("attributes are no text".into())
}

fn of_memory(
    (numbers, values): (&UInt32Array, &ListArray),
    groups: &GroupColumns,
    name: &str,
) -> Result<Typed, ArrowError> {
    let own = values.values().as_string_opt::<i32>().ok_or_else(wrong)?;
    // Of shapes that these rows have: all batches together may have a shape a row.
    let mut of_shapes: HashMap<u32, Option<(usize, u8)>> = HashMap::new();
    let mut texts = StringDictionaryBuilder::<UInt32Type>::new();
    let mut kinds = Vec::with_capacity(numbers.len());
    for (row, number) in numbers.values().iter().enumerate() {
        let place = match of_shapes.get(number) {
            Some(place) => *place,
            None => {
                let shape = groups.shapes().get(*number as usize).ok_or_else(wrong)?;
                *of_shapes.entry(*number).or_insert(shape.find(name))
            }
        };
        match place {
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
