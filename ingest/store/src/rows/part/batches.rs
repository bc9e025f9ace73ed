//! Rows of a row group, batch by batch: columns of codes as they lie, and of the others what the library's reader makes of them.

use super::coded::Coded;
use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use parquet::arrow::arrow_reader::ParquetRecordBatchReader;
use std::ops::Range;

pub struct Batches {
    pub schema: SchemaRef,
    /// By column of the schema; `None` stands for the next one of the others.
    pub coded: Vec<Option<Coded>>,
    /// Of the same rows.
    pub others: Option<ParquetRecordBatchReader>,
    pub rows: Rows,
    /// Of each batch but the last, as far as the others have so many.
    pub batch_rows: usize,
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
        let mut others = others.iter().flat_map(|others| others.columns()).cloned();
        let columns = self.coded.iter_mut().map(|coded| match coded {
            Some(coded) => coded.read(&pieces),
            None => others.next().ok_or_else(|| ArrowError::SchemaError("a column is missing".into())),
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
                None => return Some(Err(ArrowError::ParquetError("rows are missing".into()))),
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
