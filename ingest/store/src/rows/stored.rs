//! The columns in which rows lie in memory, in the log and, with their attributes by name, in Parquet: those of
//! [`crate::schema`] that belong to a row, and the number of its group.

use super::groups::{GROUP, Group, GroupColumns, is_of_group};
use crate::part::Signal;
use crate::schema;
use arrow::array::{ArrayRef, AsArray, RecordBatch, StringArray, UInt32Array};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, UInt32Type};
use arrow::error::ArrowError;
use std::sync::{Arc, LazyLock};

/// Rows of one write, and the groups that their numbers mean.
#[derive(Clone, Debug)]
pub struct Stored {
    pub groups: Vec<Arc<Group>>,
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
    Arc::new(Schema::new(std::iter::once(group).chain(own.cloned()).collect::<Vec<_>>()))
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

/// The same rows with other numbers for their groups.
pub fn renumbered(batch: &RecordBatch, number_of: &[u32]) -> Result<RecordBatch, ArrowError> {
    let numbers = numbers(batch)?;
    let renumbered: Option<Vec<u32>> =
        numbers.values().iter().map(|number| number_of.get(*number as usize).copied()).collect();
    let renumbered =
        renumbered.ok_or_else(|| ArrowError::InvalidArgumentError("a row is of no group".into()))?;
    let at = batch.schema_ref().index_of(GROUP)?;
    let mut columns = batch.columns().to_vec();
    columns[at] = Arc::new(UInt32Array::from(renumbered));
    RecordBatch::try_new(batch.schema(), columns)
}

/// Words that are known beforehand, as a dictionary that all batches share.
pub fn shared_words(words: &[&str]) -> ArrayRef {
    Arc::new(StringArray::from(words.to_vec()))
}
