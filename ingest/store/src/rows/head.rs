//! Recent rows in memory: batches as they came, tiny ones joined so that reading does not go from one to the next.

use super::copies::Known;
use super::groups::{GROUP, GroupColumns, Groups};
use super::shapes::{SHAPE, Shape, Shapes};
use super::stored::{Stored, renumbered};
use crate::part::Signal;
use arrow::array::RecordBatch;
use arrow::compute::{concat_batches, filter_record_batch};
use arrow::error::ArrowError;
use std::sync::Arc;

#[derive(Default)]
pub struct Head {
    groups: Groups,
    shapes: Shapes,
    batches: Vec<RecordBatch>,
    /// Where rows are added that may be here already.
    known: Known,
    rows: usize,
    bytes: usize,
}

/// Batches of this many rows and more stay as they are: joining copies.
const JOIN_ROWS_MAX: usize = 1_024;

impl Head {
    pub fn append(&mut self, stored: &Stored) -> Result<(), ArrowError> {
        let batch = self.numbered(stored)?;
        self.add(batch)
    }

    /// Spans, without those that are here already.
    pub fn append_new(&mut self, stored: &Stored) -> Result<(), ArrowError> {
        let batch = self.numbered(stored)?;
        match self.known.note(&batch)? {
            None => self.add(batch),
            Some(new) if new.true_count() == 0 => Ok(()),
            Some(new) => self.add(filter_record_batch(&batch, &new)?),
        }
    }

    fn numbered(&mut self, stored: &Stored) -> Result<RecordBatch, ArrowError> {
        let number_of: Vec<u32> = stored.groups.iter().map(|group| self.groups.number(group)).collect();
        let shape_of: Vec<u32> = stored.shapes.iter().map(|shape| self.shapes.number(shape)).collect();
        renumbered(&renumbered(&stored.batch, GROUP, &number_of)?, SHAPE, &shape_of)
    }

    fn add(&mut self, batch: RecordBatch) -> Result<(), ArrowError> {
        let before = self.bytes;
        self.rows += batch.num_rows();
        self.bytes += batch.get_array_memory_size();
        self.batches.push(batch);
        // As in a binary counter: two neighbours of like size become one, so each row is copied a few times at most.
        while let [.., before, last] = &self.batches[..] {
            let (a, b) = (before.num_rows(), last.num_rows());
            if a + b > JOIN_ROWS_MAX || a > 2 * b {
                break;
            }
            let sizes = before.get_array_memory_size() + last.get_array_memory_size();
            let joined = concat_batches(before.schema_ref(), [before, last])?;
            self.bytes = self.bytes.saturating_sub(sizes) + joined.get_array_memory_size();
            self.batches.truncate(self.batches.len() - 2);
            self.batches.push(joined);
        }
        // What was counted as taken comes back when this goes, no less: joining may have made others smaller.
        self.bytes = self.bytes.max(before);
        Ok(())
    }

    /// Shared with whoever reads; no row is copied.
    pub fn batches(&self) -> Vec<RecordBatch> {
        self.batches.clone()
    }

    /// By their numbers in the batches.
    pub fn groups(&self, signal: Signal) -> GroupColumns {
        GroupColumns::new(signal, self.groups.list().to_vec()).with_shapes(self.shapes())
    }

    pub fn shapes(&self) -> Vec<Arc<Shape>> {
        self.shapes.list().to_vec()
    }

    pub fn bytes(&self) -> usize {
        self.bytes + self.groups.bytes() + self.shapes.bytes() + self.known.bytes()
    }

    pub fn is_empty(&self) -> bool {
        self.rows == 0
    }
}
