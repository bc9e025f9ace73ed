//! Rows of a row group, batch by batch: columns of codes as they lie, and of the others what the library's reader makes of them.

use super::coded::Coded;
use arrow::array::{ArrayRef, RecordBatch, RecordBatchReader};
use arrow::compute::concat_batches;
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use parquet::arrow::arrow_reader::ParquetRecordBatchReader;
use std::ops::Range;

pub struct Batches {
    pub schema: SchemaRef,
    /// Of the schema.
    pub columns: Vec<Column>,
    /// Of the same rows.
    pub others: Option<ParquetRecordBatchReader>,
    /// Of the same rows, whose pages are others.
    pub lists: Option<Ahead>,
    pub rows: Rows,
    /// Of each batch but the last, as far as the others have so many.
    pub batch_rows: usize,
}

/// How a column is read.
pub enum Column {
    Coded(Box<Coded>),
    /// The next one of the others.
    Other,
    /// The next one of the lists.
    List,
}

/// What the library reads, with rows that came before they were wanted.
pub struct Ahead {
    reader: ParquetRecordBatchReader,
    read: Option<RecordBatch>,
}

impl Ahead {
    pub fn of(reader: ParquetRecordBatchReader) -> Ahead {
        Ahead { reader, read: None }
    }

    /// So many rows.
    fn take(&mut self, rows: usize) -> Result<RecordBatch, ArrowError> {
        let mut read: Vec<RecordBatch> = self.read.take().into_iter().collect();
        let mut left = rows.saturating_sub(read.iter().map(RecordBatch::num_rows).sum());
        while left > 0 {
            let next = self.reader.next().ok_or_else(missing)??;
            left = left.saturating_sub(next.num_rows());
            read.push(next);
        }
        let all = match read.as_slice() {
            [one] => one.clone(),
            _ => concat_batches(&self.reader.schema(), &read)?,
        };
        self.read = (all.num_rows() > rows).then(|| all.slice(rows, all.num_rows() - rows));
        Ok(all.slice(0, rows))
    }
}

fn missing() -> ArrowError {
    ArrowError::ParquetError("rows are missing".into())
}

/// Rows that are still to come.
pub struct Rows {
    ranges: std::vec::IntoIter<Range<usize>>,
    /// What is left of the range that was begun.
    begun: Range<usize>,
    /// Rows before are read, or left out.
    at: usize,
}

impl Rows {
    /// Ascending.
    pub fn new(ranges: Vec<Range<usize>>) -> Rows {
        let some: Vec<Range<usize>> = ranges.into_iter().filter(|range| !range.is_empty()).collect();
        Rows { ranges: some.into_iter(), begun: 0..0, at: 0 }
    }

    fn are_done(&self) -> bool {
        self.begun.is_empty() && self.ranges.as_slice().is_empty()
    }

    /// The next ones, at most so many: how many are left out, and how many follow these.
    fn pieces(&mut self, mut most: usize) -> Vec<(usize, usize)> {
        let mut pieces = vec![];
        while most > 0 {
            if self.begun.is_empty() {
                match self.ranges.next() {
                    Some(next) => self.begun = next,
                    None => break,
                }
            }
            let taken = self.begun.len().min(most);
            pieces.push((self.begun.start - self.at, taken));
            self.begun.start += taken;
            self.at = self.begun.start;
            most -= taken;
        }
        pieces
    }
}

impl Batches {
    fn read(&mut self, others: Option<RecordBatch>) -> Result<Option<RecordBatch>, ArrowError> {
        let most = others.as_ref().map_or(self.batch_rows, RecordBatch::num_rows);
        let pieces = self.rows.pieces(most);
        if pieces.is_empty() {
            return Ok(None);
        }
        let rows = pieces.iter().map(|(_, taken)| taken).sum();
        let lists = self.lists.as_mut().map(|lists| lists.take(rows)).transpose()?;
        let mut others = others.iter().flat_map(|others| others.columns()).cloned();
        let mut lists = lists.iter().flat_map(|lists| lists.columns()).cloned();
        let next = |column: Option<ArrayRef>| {
            column.ok_or_else(|| ArrowError::SchemaError("a column is missing".into()))
        };
        let columns = self.columns.iter_mut().map(|column| match column {
            Column::Coded(coded) => coded.read(&pieces),
            Column::Other => next(others.next()),
            Column::List => next(lists.next()),
        });
        let columns = columns.collect::<Result<Vec<_>, ArrowError>>()?;
        RecordBatch::try_new(self.schema.clone(), columns).map(Some)
    }
}

impl Iterator for Batches {
    type Item = Result<RecordBatch, ArrowError>;

    fn next(&mut self) -> Option<Self::Item> {
        let others = match &mut self.others {
            Some(others) => match others.next() {
                None if self.rows.are_done() => return None,
                None => return Some(Err(missing())),
                batch => batch,
            },
            None => None,
        };
        others.transpose().and_then(|others| self.read(others)).transpose()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{AsArray, UInt32Array};
    use arrow::datatypes::UInt32Type;
    use parquet::arrow::ArrowWriter;
    use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
    use std::sync::Arc;

    #[test]
    fn rows_that_came_too_early_are_kept() {
        let numbers: ArrayRef = Arc::new(UInt32Array::from_iter_values(0..100));
        let batch = RecordBatch::try_from_iter([("n", numbers)]).unwrap();
        let mut writer = ArrowWriter::try_new(vec![], batch.schema(), None).unwrap();
        writer.write(&batch).unwrap();
        let file = bytes::Bytes::from(writer.into_inner().unwrap());
        let reader = ParquetRecordBatchReaderBuilder::try_new(file).unwrap().with_batch_size(7);
        let mut ahead = Ahead::of(reader.build().unwrap());
        let mut next = 0;
        for rows in [3, 4, 1, 30, 0, 62] {
            let taken = ahead.take(rows).unwrap();
            let taken: &UInt32Array = taken.column(0).as_primitive::<UInt32Type>();
            assert!(taken.values().iter().copied().eq(next..next + rows as u32), "{rows}");
            next += rows as u32;
        }
        assert!(ahead.take(1).is_err(), "there is no row left");
    }

    #[test]
    fn rows_come_in_pieces_of_their_ranges() {
        let mut rows = Rows::new(vec![2..5, 5..5, 9..20]);
        assert_eq!(rows.pieces(4), [(2, 3), (4, 1)]);
        assert!(!rows.are_done());
        assert_eq!(rows.pieces(8), [(0, 8)]);
        assert_eq!(rows.pieces(8), [(0, 2)]);
        assert!(rows.are_done() && rows.pieces(8).is_empty());
    }
}
