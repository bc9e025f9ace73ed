//! In which unit the times of a part lie: the largest in which all are whole. Agents often know milliseconds, and the
//! digits of nanoseconds behind them would cost two bytes a row.

use crate::part::Signal;
use crate::rows::stored::{public_schema, time_column};
use arrow::array::{ArrayRef, AsArray, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Schema, TimeUnit, TimestampNanosecondType};
use arrow::error::ArrowError;
use std::sync::Arc;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Unit {
    /// What fits any time.
    #[default]
    Nanosecond,
    Microsecond,
    Millisecond,
}

impl Unit {
    /// Of rows in memory.
    pub fn of(signal: Signal, batches: &[RecordBatch]) -> Unit {
        let times = batches.iter().filter_map(|batch| {
            batch.column_by_name(time_column(signal))?.as_primitive_opt::<TimestampNanosecondType>()
        });
        let mut unit = Unit::Millisecond;
        for time in times.flat_map(|times| times.values()) {
            while time % unit.ns() != 0 {
                unit = if unit == Unit::Millisecond { Unit::Microsecond } else { Unit::Nanosecond };
            }
        }
        unit
    }

    /// Of a file.
    pub fn named(signal: Signal, schema: &Schema) -> Unit {
        match schema.field_with_name(time_column(signal)).map(Field::data_type) {
            Ok(DataType::Timestamp(TimeUnit::Millisecond, _)) => Unit::Millisecond,
            Ok(DataType::Timestamp(TimeUnit::Microsecond, _)) => Unit::Microsecond,
            _ => Unit::Nanosecond,
        }
    }

    pub fn of_ns(ns: i64) -> Option<Unit> {
        [Unit::Nanosecond, Unit::Microsecond, Unit::Millisecond].into_iter().find(|unit| unit.ns() == ns)
    }

    pub fn ns(self) -> i64 {
        match self {
            Unit::Nanosecond => 1,
            Unit::Microsecond => 1_000,
            Unit::Millisecond => 1_000_000,
        }
    }

    /// The time column's field in a file.
    pub fn field(self, field: &Field) -> Field {
        let DataType::Timestamp(_, zone) = field.data_type() else { return field.clone() };
        let unit = match self {
            Unit::Nanosecond => TimeUnit::Nanosecond,
            Unit::Microsecond => TimeUnit::Microsecond,
            Unit::Millisecond => TimeUnit::Millisecond,
        };
        field.clone().with_data_type(DataType::Timestamp(unit, zone.clone()))
    }
}

/// The time column of a file's rows as it is in memory; others as they are.
pub fn in_nanoseconds(signal: Signal, name: &str, column: &ArrayRef) -> Result<ArrayRef, ArrowError> {
    if name != time_column(signal) {
        return Ok(column.clone());
    }
    cast(column, public_schema(signal).field_with_name(name)?.data_type())
}

/// The same of a batch.
pub fn batch_in_nanoseconds(signal: Signal, batch: RecordBatch) -> Result<RecordBatch, ArrowError> {
    let name = time_column(signal);
    let Some((at, field)) = batch.schema_ref().column_with_name(name) else { return Ok(batch) };
    let column = in_nanoseconds(signal, name, batch.column(at))?;
    let mut fields = batch.schema_ref().fields().to_vec();
    fields[at] = Arc::new(field.clone().with_data_type(column.data_type().clone()));
    let mut columns = batch.columns().to_vec();
    columns[at] = column;
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::TimestampNanosecondArray;

    #[test]
    fn the_largest_unit_that_holds_all_is_taken() {
        let unit = |times: Vec<i64>| {
            let times: ArrayRef = Arc::new(TimestampNanosecondArray::from(times).with_timezone("UTC"));
            Unit::of(Signal::Logs, &[RecordBatch::try_from_iter([("ts", times)]).unwrap()])
        };
        assert_eq!(unit(vec![0, 5_000_000, -3_000_000]), Unit::Millisecond);
        assert_eq!(unit(vec![5_000_000, 7_000]), Unit::Microsecond);
        assert_eq!(unit(vec![-1_000, 1]), Unit::Nanosecond);
        assert_eq!(unit(vec![i64::MIN]), Unit::Nanosecond);
    }
}
