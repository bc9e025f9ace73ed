//! Listings of series and of log streams as Arrow batches: labels and two numbers a row.

use arrow::array::{ArrayRef, AsArray, BinaryBuilder, Int64Array, RecordBatch};
use arrow::datatypes::Int64Type;
use model::Labels;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use store::{Allowance, ReadError};

/// Rows of a batch: what one frame holds.
const BATCH_ROWS: usize = 16_384;

/// What lists may hold together while they are made and sent, in bytes: about a million series.
const HELD_MAX: usize = 256 << 20;

/// What the lists of a process hold.
#[derive(Default)]
pub struct Lists(Arc<AtomicUsize>);

/// One list's part of it, given back when this goes.
pub struct List {
    all: Arc<AtomicUsize>,
    own: AtomicUsize,
}

impl Lists {
    pub fn begin(&self) -> List {
        List { all: self.0.clone(), own: AtomicUsize::new(0) }
    }
}

impl Allowance for List {
    fn take(&self, bytes: usize) -> Result<(), ReadError> {
        self.own.fetch_add(bytes, Ordering::Relaxed);
        match self.all.fetch_add(bytes, Ordering::Relaxed) + bytes {
            0..=HELD_MAX => Ok(()),
            _ => Err(ReadError::TooMuch(format!(
                "lists of series that are being sent hold more than {HELD_MAX} bytes; narrow the selector or the range"
            ))),
        }
    }

    fn give_back(&self, bytes: usize) {
        self.own.fetch_sub(bytes, Ordering::Relaxed);
        self.all.fetch_sub(bytes, Ordering::Relaxed);
    }
}

impl Drop for List {
    fn drop(&mut self) {
        self.all.fetch_sub(*self.own.get_mut(), Ordering::Relaxed);
    }
}

pub type Row = (Labels, i64, i64);

pub fn batches(rows: Vec<Row>) -> impl Iterator<Item = Result<RecordBatch, ReadError>> + Send {
    let mut start = 0;
    std::iter::from_fn(move || {
        let end = (start + BATCH_ROWS).min(rows.len());
        let slice = &rows[start..end];
        start = end;
        (!slice.is_empty()).then(|| batch(slice))
    })
}

fn batch(rows: &[Row]) -> Result<RecordBatch, ReadError> {
    let mut labels = BinaryBuilder::new();
    for row in rows {
        labels.append_value(row.0.as_bytes());
    }
    let columns: [(&str, ArrayRef); 3] = [
        ("labels", Arc::new(labels.finish())),
        ("first", Arc::new(rows.iter().map(|row| row.1).collect::<Int64Array>())),
        ("second", Arc::new(rows.iter().map(|row| row.2).collect::<Int64Array>())),
    ];
    RecordBatch::try_from_iter(columns).map_err(|wrong| ReadError::Io(wrong.to_string()))
}

/// Appends a batch's rows.
pub fn append(rows: &mut Vec<Row>, batch: &RecordBatch) -> Result<(), ReadError> {
    let wrong = |what: &str| ReadError::Io(format!("a peer's listing: {what}"));
    let (Some(labels), Some(first), Some(second)) = (
        batch.column_by_name("labels").and_then(|column| column.as_binary_opt::<i32>()),
        batch.column_by_name("first").and_then(|column| column.as_primitive_opt::<Int64Type>()),
        batch.column_by_name("second").and_then(|column| column.as_primitive_opt::<Int64Type>()),
    ) else {
        return Err(wrong("columns are missing"));
    };
    rows.reserve(batch.num_rows());
    for row in 0..batch.num_rows() {
        let labels = Labels::from_bytes(labels.value(row)).map_err(|why| wrong(&why.to_string()))?;
        rows.push((labels, first.value(row), second.value(row)));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_share_what_they_may_hold_and_give_it_back() {
        let lists = Lists::default();
        let (one, two) = (lists.begin(), lists.begin());
        assert!(one.take(HELD_MAX / 2).is_ok() && two.take(HELD_MAX / 2).is_ok());
        assert!(two.take(1).unwrap_err().to_string().contains("narrow"));
        one.give_back(HELD_MAX / 4);
        assert!(two.take(1).is_ok());
        drop((one, two));
        assert!(lists.begin().take(HELD_MAX).is_ok());
    }
}
