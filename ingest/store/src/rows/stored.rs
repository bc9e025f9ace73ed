//! The columns in which rows lie in memory, in the log and, with their attributes by name, in Parquet: those of
//! [`crate::schema`] that belong to a row, and the numbers of its group and of the shape of its attributes.

use super::fields::{TRACE_ID, with_fields};
use super::groups::{GROUP, Group, GroupColumns, is_of_group};
use super::part::Select;
use super::shapes::{self, SHAPE, Shape, VALUES};
use crate::part::Signal;
use crate::schema;
use arrow::array::{ArrayRef, AsArray, BooleanArray, RecordBatch, StringArray, UInt32Array};
use arrow::compute::filter_record_batch;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, UInt32Type};
use arrow::error::ArrowError;
use model::SpanField;
use std::sync::{Arc, LazyLock};

/// Rows of one write, and the groups and shapes that their numbers mean.
#[derive(Clone, Debug)]
pub struct Stored {
    pub groups: Vec<Arc<Group>>,
    pub shapes: Vec<Arc<Shape>>,
    pub batch: RecordBatch,
}

static LOGS: LazyLock<SchemaRef> = LazyLock::new(|| stored(Signal::Logs));
static SPANS: LazyLock<SchemaRef> = LazyLock::new(|| stored(Signal::Spans));

pub fn public_schema(signal: Signal) -> &'static SchemaRef {
    if signal == Signal::Spans { &schema::SPANS } else { &schema::LOGS }
}

pub fn schema(signal: Signal) -> &'static SchemaRef {
    if signal == Signal::Spans { &SPANS } else { &LOGS }
}

fn stored(signal: Signal) -> SchemaRef {
    let own = public_schema(signal).fields().iter().filter(|field| !is_of_group(signal, field.name()));
    let group = Arc::new(Field::new(GROUP, DataType::UInt32, false));
    let own = own.map(|field| match field.name().as_str() {
        "attributes" => Arc::new(Field::new(SHAPE, DataType::UInt32, false)),
        "attribute_types" => Arc::new(Field::new(VALUES, shapes::values_type(), false)),
        _ => field.clone(),
    });
    Arc::new(Schema::new(std::iter::once(group).chain(own).collect::<Vec<_>>()))
}

pub fn time_column(signal: Signal) -> &'static str {
    if signal == Signal::Spans { "start_ts" } else { "ts" }
}

pub fn numbers(batch: &RecordBatch) -> Result<&UInt32Array, ArrowError> {
    let column = batch.column_by_name(GROUP).and_then(|column| column.as_primitive_opt::<UInt32Type>());
    column.ok_or_else(|| ArrowError::SchemaError("rows have no groups".into()))
}

/// Names of the stored columns that these public columns are made of.
pub fn needed(signal: Signal, columns: &[usize]) -> Vec<&'static str> {
    let fields = public_schema(signal).fields();
    let mut names = vec![];
    for column in columns {
        let name = fields[*column].name().as_str();
        let name = if is_of_group(signal, name) { GROUP } else { name };
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

/// Public columns of stored rows.
pub fn publish(
    signal: Signal,
    groups: &GroupColumns,
    batch: &RecordBatch,
    columns: &[usize],
) -> Result<RecordBatch, ArrowError> {
    let schema = Arc::new(public_schema(signal).project(columns)?);
    let mut published: Vec<ArrayRef> = vec![];
    for field in schema.fields() {
        published.push(if is_of_group(signal, field.name()) {
            groups.column(field.name(), numbers(batch)?)?
        } else {
            let column = batch.column_by_name(field.name());
            column.cloned().ok_or_else(|| ArrowError::SchemaError(format!("no column {}", field.name())))?
        });
    }
    let rows = arrow::array::RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    RecordBatch::try_new_with_options(schema, published, &rows)
}

/// The same rows with other numbers for their groups, or for their shapes.
pub fn renumbered(batch: &RecordBatch, column: &str, number_of: &[u32]) -> Result<RecordBatch, ArrowError> {
    let at = batch.schema_ref().index_of(column)?;
    let numbers = batch.column(at).as_primitive_opt::<UInt32Type>();
    let numbers = numbers.map(|numbers| numbers.values().iter()).into_iter().flatten();
    let renumbered: Option<Vec<u32>> =
        numbers.map(|number| number_of.get(*number as usize).copied()).collect();
    let renumbered =
        renumbered.ok_or_else(|| ArrowError::InvalidArgumentError(format!("a row has no {column}")))?;
    let mut columns = batch.columns().to_vec();
    columns[at] = Arc::new(UInt32Array::from(renumbered));
    RecordBatch::try_new(batch.schema(), columns)
}

/// Columns of rows in memory that [`project`] looks at.
pub fn read_in_memory(select: &Select, columns: &[usize]) -> Vec<&'static str> {
    let mut own = in_memory(&needed(select.signal(), columns));
    if !select.fields().is_empty() {
        own.extend([GROUP, SHAPE, VALUES]);
        own.extend(select.fields().contains(&SpanField::Root).then_some(TRACE_ID));
        own.sort_unstable();
        own.dedup();
    }
    own
}

/// Public columns of the rows in memory that the mask leaves, and the attributes that are asked for.
pub fn project(
    select: &Select,
    groups: &GroupColumns,
    batch: &RecordBatch,
    mask: &BooleanArray,
    columns: &[usize],
) -> Result<RecordBatch, ArrowError> {
    let signal = select.signal();
    let own = read_in_memory(select, columns);
    let places = own.iter().map(|name| batch.schema_ref().index_of(name)).collect::<Result<Vec<_>, _>>()?;
    let batch = batch.project(&places)?;
    let batch = if mask.false_count() == 0 { batch } else { filter_record_batch(&batch, mask)? };
    let batch = of_memory(&batch, groups, &needed(signal, columns))?;
    let published = publish(signal, groups, &batch, columns)?;
    with_fields(published, &batch, (groups, select.roots().map(AsRef::as_ref)), select.fields())
}

/// Columns of rows in memory of which these stored ones are made.
pub fn in_memory(needed: &[&'static str]) -> Vec<&'static str> {
    let mut names = vec![];
    for name in needed {
        match *name {
            "attributes" | "attribute_types" => names.extend([SHAPE, VALUES]),
            own => names.push(own),
        }
    }
    names.sort_unstable();
    names.dedup();
    names
}

/// These stored columns of rows in memory.
pub fn of_memory(
    batch: &RecordBatch,
    groups: &GroupColumns,
    needed: &[&'static str],
) -> Result<RecordBatch, ArrowError> {
    if !needed.iter().any(|name| ["attributes", "attribute_types"].contains(name)) {
        return Ok(batch.clone());
    }
    let (map, types) = shapes::maps(batch, groups.shapes())?;
    let mut fields: Vec<Arc<Field>> = batch.schema_ref().fields().iter().cloned().collect();
    let mut columns = batch.columns().to_vec();
    for (name, column) in [("attributes", map), ("attribute_types", types)] {
        fields.push(Arc::new(Field::new(name, column.data_type().clone(), false)));
        columns.push(column);
    }
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)
}

/// Words that are known beforehand, as a dictionary that all batches share.
pub fn shared_words(words: &[&str]) -> ArrayRef {
    Arc::new(StringArray::from(words.to_vec()))
}
