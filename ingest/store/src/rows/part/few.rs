//! Reads rows that lie in few pages. Each page's columns are decoded whole and kept ([`crate::decoded`]): for the handful of
//! lines that a needle finds, most of the time goes to opening columns and unpacking pages.

use super::bodies::{self, SHAPE};
use super::{Index, LOG_PAGE_ROWS as PAGE_ROWS};
use crate::decoded::Key;
use crate::metrics::part::selection;
use crate::objects::Read;
use crate::part::{Damaged, Part};
use crate::rows::part::ranges::Ranges;
use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, RecordBatch, RecordBatchOptions};
use arrow::compute::{concat_batches, filter_record_batch};
use arrow::datatypes::{Schema, UInt32Type};
use arrow::error::ArrowError;
use futures::StreamExt;
use parquet::arrow::ProjectionMask;
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

/// What of some pages is wanted.
pub struct Wanted<'a> {
    pub part: &'a Arc<Part>,
    pub index: &'a Index,
    pub ranges: &'a Ranges,
}

/// With more pages than this, rows are read from the file one after the other.
const PAGES_MAX: usize = 32;

/// The pages that the ranges lie in, where they are few.
pub fn pages(ranges: &Ranges) -> Option<Vec<usize>> {
    let mut pages: Vec<usize> = vec![];
    for range in &ranges.0 {
        for page in range.start / PAGE_ROWS..=(range.end - 1) / PAGE_ROWS {
            if pages.last() != Some(&page) {
                pages.push(page);
            }
            if pages.len() > PAGES_MAX {
                return None;
            }
        }
    }
    Some(pages)
}

impl Wanted<'_> {
    /// Of each page the rows that are in the ranges and that `judge` lets pass, with the file's columns of these numbers.
    /// Columns of bodies are left out where none of the rows has them.
    pub async fn rows(
        &self,
        pages: &[usize],
        judged_by: &[usize],
        mut judge: impl FnMut(RecordBatch) -> Result<BooleanArray, ArrowError>,
        columns: &[usize],
    ) -> Result<Vec<RecordBatch>, Damaged> {
        let path = self.part.meta.data_path();
        let wrong = |why: ArrowError| self.part.damaged(&path, why);
        let (mut hits, mut masks) = (vec![], vec![]);
        let judged = match judged_by {
            [] => None,
            columns => Some(self.read(pages, columns).await?),
        };
        for (at, page) in pages.iter().enumerate() {
            let mut mask = self.in_ranges(*page);
            if let Some(batches) = &judged {
                mask =
                    arrow::compute::and(&mask, &judge(batches[at].clone()).map_err(wrong)?).map_err(wrong)?;
            }
            if mask.true_count() > 0 {
                hits.push(*page);
                masks.push(mask);
            }
        }
        let columns = self.of_shapes(&hits, &masks, columns).await?;
        let read = self.read(&hits, &columns).await?;
        read.iter().zip(&masks).map(|(batch, mask)| filter_record_batch(batch, mask).map_err(wrong)).collect()
    }

    fn page_rows(&self, page: usize) -> usize {
        (self.index.total() - page * PAGE_ROWS).min(PAGE_ROWS)
    }

    fn in_ranges(&self, page: usize) -> BooleanArray {
        let (first, rows) = (page * PAGE_ROWS, self.page_rows(page));
        let mut mask = vec![false; rows];
        for range in &self.ranges.0 {
            let (start, end) = (range.start.max(first), range.end.min(first + rows));
            if start < end {
                mask[start - first..end - first].fill(true);
            }
        }
        mask.into()
    }

    /// The same without the columns of paths that no line among the rows has.
    async fn of_shapes(
        &self,
        pages: &[usize],
        masks: &[BooleanArray],
        columns: &[usize],
    ) -> Result<Vec<usize>, Damaged> {
        let names: Vec<&str> = self.index.field_names().collect();
        let Some(shape) = columns.iter().copied().find(|column| names[*column] == SHAPE) else {
            return Ok(columns.to_vec());
        };
        let mut shapes = BTreeSet::new();
        for (batch, mask) in self.read(pages, &[shape]).await?.iter().zip(masks) {
            let Some(numbers) = batch.column(0).as_primitive_opt::<UInt32Type>() else {
                return Ok(columns.to_vec());
            };
            let wanted = (0..numbers.len()).filter(|row| mask.value(*row) && numbers.is_valid(*row));
            shapes.extend(wanted.map(|row| numbers.value(row)));
        }
        let known = shapes.iter().filter_map(|shape| self.index.shapes.0.get(*shape as usize));
        let paths: BTreeSet<&str> = known.flat_map(|shape| shape.paths.iter().map(String::as_str)).collect();
        let is_needed =
            |column: &&usize| bodies::path_of(names[**column]).is_none_or(|path| paths.contains(path));
        Ok(columns.iter().filter(is_needed).copied().collect())
    }

    /// These columns, page by page.
    async fn read(&self, pages: &[usize], columns: &[usize]) -> Result<Vec<RecordBatch>, Damaged> {
        let key = |page: usize, column: usize| Key {
            part: self.part.meta.id,
            page: page as u32,
            column: column as u32,
        };
        let cache = &self.part.objects().decoded;
        let mut found: HashMap<Key, ArrayRef> = HashMap::new();
        let (mut pages_to_read, mut to_read) = (vec![], BTreeSet::new());
        for page in pages {
            let mut is_whole = true;
            for key in columns.iter().map(|column| key(*page, *column)) {
                match cache.get(key) {
                    Some(column) => _ = found.insert(key, column),
                    None => {
                        is_whole = false;
                        to_read.insert(key.column as usize);
                    }
                }
            }
            if !is_whole {
                pages_to_read.push(*page);
            }
        }
        if !pages_to_read.is_empty() {
            let to_read: Vec<usize> = to_read.into_iter().collect();
            for (page, batch) in pages_to_read.iter().zip(self.decode(&pages_to_read, &to_read).await?) {
                for (column, array) in to_read.iter().zip(batch.columns()) {
                    cache.put(key(*page, *column), array.clone());
                    found.insert(key(*page, *column), array.clone());
                }
            }
        }
        let schema = self.index.metadata.schema();
        let fields: Vec<_> = columns.iter().map(|column| schema.fields()[*column].clone()).collect();
        let schema = Arc::new(Schema::new(fields));
        let of_page = |page: &usize| {
            let arrays = columns.iter().map(|column| found.get(&key(*page, *column)).cloned());
            let arrays: Option<Vec<ArrayRef>> = arrays.collect();
            let rows = RecordBatchOptions::new().with_row_count(Some(self.page_rows(*page)));
            let batch = RecordBatch::try_new_with_options(schema.clone(), arrays.unwrap_or_default(), &rows);
            batch.map_err(|why| self.part.damaged(&self.part.meta.data_path(), why))
        };
        pages.iter().map(of_page).collect()
    }

    /// The same, out of the file: a batch of the reader ends where a page or a row group does, and row groups of raw parts are
    /// shorter than a page.
    async fn decode(&self, pages: &[usize], columns: &[usize]) -> Result<Vec<RecordBatch>, Damaged> {
        let path = self.part.meta.data_path();
        let rows = pages.iter().map(|page| page * PAGE_ROWS..page * PAGE_ROWS + self.page_rows(*page));
        let roots = columns.iter().copied();
        let read = Read {
            projection: ProjectionMask::roots(self.index.metadata.parquet_schema(), roots),
            selection: Some(selection(rows, self.index.total())),
            rows: PAGE_ROWS,
            ..Read::default()
        };
        let stream = self.part.objects().read(&path, &self.index.metadata, read);
        let mut stream = stream.map_err(|why| self.part.damaged(&path, why))?;
        let misplaced = || self.part.damaged(&path, "its pages are not where they should be");
        let mut batches = vec![];
        for page in pages {
            let (mut pieces, mut left) = (vec![], self.page_rows(*page));
            while left > 0 {
                let piece = stream.next().await.ok_or_else(misplaced)?;
                let piece = piece.map_err(|why| self.part.damaged(&path, why))?;
                left = left.checked_sub(piece.num_rows()).ok_or_else(misplaced)?;
                pieces.push(piece);
            }
            batches.push(match pieces.as_slice() {
                [one] => one.clone(),
                [first, ..] => {
                    concat_batches(&first.schema(), &pieces).map_err(|why| self.part.damaged(&path, why))?
                }
                [] => return Err(misplaced()),
            });
        }
        Ok(batches)
    }
}
