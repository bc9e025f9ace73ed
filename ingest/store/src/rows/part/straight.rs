//! Reads rows of columns that are no lists, row group by row group, without the library's reader for any file: that one makes two
//! contexts of the compressor for each column of each row group, which takes longer than a small column takes to unpack. Columns
//! that have each value once are read as they lie.
//! Rows that are judged come in several readings, of which each reads only the pages that have any left.

use super::Index;
use super::batches::{self, Batches};
use super::coded::Coded;
use super::picked::{Chunks, Fetched, pages_of};
use super::read::Judge;
use crate::metrics::part::selection;
use crate::objects::READ_ROWS;
use crate::part::Part;
use crate::rows::part::ranges::Ranges;
use arrow::array::{Array, BooleanArray, RecordBatch};
use arrow::compute::prep_null_mask_filter;
use arrow::error::ArrowError;
use futures::{Stream, stream};
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ParquetRecordBatchReader, RowGroups};
use parquet::arrow::{ProjectionMask, parquet_to_arrow_field_levels};
use parquet::column::page::PageIterator;
use parquet::errors::ParquetError;
use parquet::file::metadata::{ParquetMetaData, RowGroupMetaData};
use parquet::file::page_index::offset_index::{OffsetIndexMetaData, PageLocation};
use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

/// To read so few rows more takes less than to pass over them.
const GAP_ROWS: usize = 64;

/// Rows of a row group, counted from its first.
type Rows = Vec<Range<usize>>;

struct File {
    part: Arc<Part>,
    metadata: ArrowReaderMetadata,
    /// What is judged is read as this says.
    judged: ArrowReaderMetadata,
    blocks: Arc<Blocks>,
}

pub struct Straight {
    file: File,
    /// The next one looks at what those before it let pass.
    judges: Vec<Judge>,
    /// Indices of the file's columns.
    columns: Vec<usize>,
    groups: std::vec::IntoIter<(usize, Rows)>,
    reader: Option<Batches>,
    batch_rows: usize,
}

/// Rows of each row group at which all columns that are no lists begin a page. They begin one after so many rows, but a column
/// whose dictionary is full begins one in between.
pub struct Blocks(Vec<Vec<usize>>);

impl Blocks {
    fn of(metadata: &ParquetMetaData) -> Option<Blocks> {
        let schema = metadata.file_metadata().schema_descr();
        let flat: Vec<usize> =
            (0..schema.num_columns()).filter(|leaf| schema.column(*leaf).max_rep_level() == 0).collect();
        let of_group = |pages: &Vec<OffsetIndexMetaData>| {
            let mut columns: HashMap<i64, usize> = HashMap::new();
            for leaf in &flat {
                let pages = pages.get(*leaf)?.page_locations();
                pages.iter().for_each(|page| *columns.entry(page.first_row_index).or_default() += 1);
            }
            columns.retain(|_, own| *own == flat.len());
            let mut starts: Vec<usize> = columns.into_keys().map(|row| row as usize).collect();
            starts.sort_unstable();
            (starts.first() == Some(&0)).then_some(starts)
        };
        metadata.offset_index()?.iter().map(of_group).collect::<Option<_>>().map(Blocks)
    }
}

impl Index {
    /// Whether the columns are ones that [`Straight`] can read.
    pub fn is_straight(&self, columns: &[usize]) -> bool {
        let fields = self.metadata.parquet_schema().root_schema().get_fields();
        columns.iter().all(|column| !fields[*column].is_group())
            && !columns.is_empty()
            && self.blocks().is_some()
    }

    fn blocks(&self) -> Option<&Arc<Blocks>> {
        self.blocks.get_or_init(|| Blocks::of(self.metadata.metadata()).map(Arc::new)).as_ref()
    }
}

impl Straight {
    /// `columns` and those of the judges [are straight](Index::is_straight).
    pub fn of(
        part: Arc<Part>,
        index: &Index,
        [metadata, judged]: [&ArrowReaderMetadata; 2],
        ranges: &Ranges,
        judges: Vec<Judge>,
        columns: Vec<usize>,
    ) -> Straight {
        let (mut groups, mut first) = (vec![], 0);
        for (at, group) in metadata.metadata().row_groups().iter().enumerate() {
            let after = first + group.num_rows() as usize;
            let own = ranges.and(&Ranges::new(std::iter::once(first..after)));
            if !own.is_empty() {
                groups.push((at, own.0.iter().map(|rows| rows.start - first..rows.end - first).collect()));
            }
            first = after;
        }
        Straight {
            file: File {
                part,
                metadata: metadata.clone(),
                judged: judged.clone(),
                blocks: index.blocks().cloned().unwrap_or_else(|| Arc::new(Blocks(vec![]))),
            },
            judges,
            columns,
            groups: groups.into_iter(),
            reader: None,
            batch_rows: READ_ROWS,
        }
    }

    pub fn in_batches_of(self, batch_rows: usize) -> Straight {
        Straight { batch_rows, ..self }
    }

    pub fn stream(self) -> impl Stream<Item = Result<RecordBatch, ArrowError>> {
        stream::try_unfold(self, |mut straight| async move {
            Ok(straight.next().await?.map(|batch| (batch, straight)))
        })
    }

    async fn next(&mut self) -> Result<Option<RecordBatch>, ArrowError> {
        loop {
            if let Some(batch) = self.reader.as_mut().and_then(Iterator::next) {
                return batch.map(Some);
            }
            let Some((group, rows)) = self.groups.next() else { return Ok(None) };
            let rows = self.left(group, rows).await?;
            self.reader = match rows.is_empty() {
                true => None,
                false => {
                    let columns = (&self.columns[..], self.batch_rows);
                    Some(self.file.reader_of(&self.file.metadata, group, &rows, columns).await?)
                }
            };
        }
    }

    /// Those of the rows that pass.
    async fn left(&mut self, group: usize, mut rows: Rows) -> Result<Rows, ArrowError> {
        for judge in &mut self.judges {
            if rows.is_empty() {
                break;
            }
            let mut left = Left { rows: &rows, at: 0, before: 0, judged: 0, left: vec![] };
            let columns = (&judge.columns[..], READ_ROWS);
            for batch in self.file.reader_of(&self.file.judged, group, &rows, columns).await? {
                left.add(&(judge.judge)(batch?)?);
            }
            rows = if judge.only_narrows { joined(left.left) } else { left.left };
        }
        Ok(rows)
    }
}

impl File {
    async fn reader_of(
        &self,
        metadata: &ArrowReaderMetadata,
        group: usize,
        rows: &[Range<usize>],
        (columns, batch_rows): (&[usize], usize),
    ) -> Result<Batches, ParquetError> {
        let mut chosen =
            Chosen::of(metadata.metadata(), group, self.blocks.0.get(group).map_or(&[], |starts| starts));
        let places = rows.iter().map(|range| chosen.place(range)).collect::<Vec<_>>();
        let leaves = chosen.leaves(columns);
        let mut ranges = vec![];
        for (_, leaf) in &leaves {
            let pages = chosen.pages(*leaf)?;
            let (start, _) = chosen.metadata.row_group(group).column(*leaf).byte_range();
            let first = chosen.all_pages(*leaf)?.first().map_or(start, |page| page.offset as u64);
            ranges.extend((start < first).then_some(start..first));
            ranges.extend(
                pages
                    .iter()
                    .map(|page| page.offset as u64..page.offset as u64 + page.compressed_page_size as u64),
            );
        }
        let bytes = self.part.objects().ranges(&self.part.meta.data_path(), ranges.clone()).await?;
        chosen.fetched = Arc::new(Fetched(ranges.iter().map(|range| range.start).zip(bytes).collect()));
        let columns: Vec<usize> = leaves.iter().map(|(column, _)| *column).collect();
        let coded: Vec<Option<Coded>> =
            leaves.iter().map(|at| chosen.coded(metadata, *at)).collect::<Result<_, ParquetError>>()?;
        let others: Vec<usize> =
            columns.iter().zip(&coded).filter(|(_, coded)| coded.is_none()).map(|(at, _)| *at).collect();
        Ok(Batches {
            schema: Arc::new(metadata.schema().project(&columns)?),
            coded,
            others: match others.is_empty() {
                true => None,
                false => Some(chosen.others(metadata, &others, &places, batch_rows)?),
            },
            rows: batches::Rows::new(places),
            batch_rows,
        })
    }
}

/// Blocks of a row group, one behind the other as if they were all.
struct Chosen<'a> {
    metadata: &'a ParquetMetaData,
    group: usize,
    starts: &'a [usize],
    /// Numbers of blocks, and the place of the first row of each.
    blocks: Vec<(usize, usize)>,
    fetched: Arc<Fetched>,
}

impl<'a> Chosen<'a> {
    fn of(metadata: &'a ParquetMetaData, group: usize, starts: &'a [usize]) -> Chosen<'a> {
        Chosen { metadata, group, starts, blocks: vec![], fetched: Arc::default() }
    }

    fn rows_of(&self, block: usize) -> Range<usize> {
        let all = self.metadata.row_group(self.group).num_rows() as usize;
        self.starts[block]..self.starts.get(block + 1).copied().unwrap_or(all)
    }

    /// The place of rows that follow one another, the blocks of which are chosen with it. Each lies behind the one before.
    fn place(&mut self, rows: &Range<usize>) -> Range<usize> {
        let mut place = 0;
        let first = self.starts.partition_point(|start| *start <= rows.start).saturating_sub(1);
        for block in first.. {
            if block >= self.starts.len() || self.starts[block] >= rows.end {
                break;
            }
            let known = self.blocks.last().filter(|(last, _)| *last == block).map(|(_, place)| *place);
            let start = known.unwrap_or_else(|| {
                let start = self.num_rows();
                self.blocks.push((block, start));
                start
            });
            if block == first {
                place = start + rows.start - self.starts[block];
            }
        }
        place..place + rows.len()
    }

    /// Each of these columns of the file with its leaf, in the order of the file.
    fn leaves(&self, columns: &[usize]) -> Vec<(usize, usize)> {
        let schema = self.metadata.file_metadata().schema_descr();
        let roots = (0..schema.num_columns()).map(|leaf| (schema.get_column_root_idx(leaf), leaf));
        roots.filter(|(root, _)| columns.contains(root)).collect()
    }

    /// `None` where the library reads it.
    fn coded(
        &self,
        metadata: &ArrowReaderMetadata,
        (column, leaf): (usize, usize),
    ) -> Result<Option<Coded>, ParquetError> {
        let (kind, chunk) =
            (metadata.schema().field(column).data_type(), self.metadata.row_group(self.group).column(leaf));
        if !Coded::can_read(chunk, kind) {
            return Ok(None);
        }
        let pages = pages_of(chunk, self.fetched.clone(), self.pages(leaf)?, self.num_rows())?;
        Coded::new(pages, chunk, kind).map(Some)
    }

    /// What the library reads of these columns, at these places.
    fn others(
        &self,
        metadata: &ArrowReaderMetadata,
        columns: &[usize],
        places: &[Range<usize>],
        batch_rows: usize,
    ) -> Result<ParquetRecordBatchReader, ParquetError> {
        let schema = metadata.parquet_schema();
        let mask = ProjectionMask::roots(schema, columns.iter().copied());
        let levels = parquet_to_arrow_field_levels(schema, mask, Some(metadata.schema().fields()))?;
        let selection = selection(places.iter().cloned(), self.num_rows());
        ParquetRecordBatchReader::try_new_with_row_groups(&levels, self, batch_rows, Some(selection))
    }

    fn all_pages(&self, leaf: usize) -> Result<&'a [PageLocation], ParquetError> {
        let index = self.metadata.offset_index().and_then(|index| index.get(self.group)?.get(leaf));
        let pages =
            index.ok_or_else(|| ParquetError::General("it is not known where its pages are".into()))?;
        Ok(pages.page_locations())
    }

    fn pages(&self, leaf: usize) -> Result<Vec<PageLocation>, ParquetError> {
        let (all, mut pages) = (self.all_pages(leaf)?, vec![]);
        for (block, place) in &self.blocks {
            let rows = self.rows_of(*block);
            let from = all.partition_point(|page| (page.first_row_index as usize) < rows.start);
            let own = all[from..].iter().take_while(|page| (page.first_row_index as usize) < rows.end);
            pages.extend(own.map(|page| {
                let mut page = page.clone();
                page.first_row_index += *place as i64 - rows.start as i64;
                page
            }));
        }
        Ok(pages)
    }
}

impl RowGroups for Chosen<'_> {
    fn num_rows(&self) -> usize {
        self.blocks.last().map_or(0, |(block, place)| place + self.rows_of(*block).len())
    }

    fn column_chunks(&self, leaf: usize) -> Result<Box<dyn PageIterator>, ParquetError> {
        let chunk = self.metadata.row_group(self.group).column(leaf);
        let pages = pages_of(chunk, self.fetched.clone(), self.pages(leaf)?, self.num_rows());
        Ok(Box::new(Chunks::one(pages)))
    }

    fn row_groups(&self) -> Box<dyn Iterator<Item = &RowGroupMetaData> + '_> {
        Box::new(std::iter::once(self.metadata.row_group(self.group)))
    }

    fn metadata(&self) -> &ParquetMetaData {
        self.metadata
    }
}

/// Ranges between which few rows lie become one.
fn joined(rows: Rows) -> Rows {
    let mut joined: Rows = vec![];
    for range in rows {
        match joined.last_mut() {
            Some(last) if range.start - last.end <= GAP_ROWS => last.end = range.end,
            _ => joined.push(range),
        }
    }
    joined
}

/// What is left of rows, the masks of which come one after the other.
struct Left<'a> {
    rows: &'a [Range<usize>],
    /// The range that the next mask begins in, and the rows of those before it.
    at: usize,
    before: usize,
    judged: usize,
    left: Rows,
}

impl Left<'_> {
    fn add(&mut self, mask: &BooleanArray) {
        let plain = (mask.null_count() > 0).then(|| prep_null_mask_filter(mask));
        for (start, end) in plain.as_ref().unwrap_or(mask).values().set_slices() {
            let (mut from, to) = (self.judged + start, self.judged + end);
            while let Some(range) = self.rows.get(self.at).filter(|_| from < to) {
                let after = self.before + range.len();
                if from >= after {
                    self.before = after;
                    self.at += 1;
                    continue;
                }
                let until = to.min(after);
                let first = range.start + from - self.before;
                self.left.push(first..first + until - from);
                from = until;
            }
        }
        self.judged += mask.len();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_that_are_left_keep_their_places() {
        let rows = [2..5, 9..10, 20..24];
        let mut left = Left { rows: &rows, at: 0, before: 0, judged: 0, left: vec![] };
        left.add(&BooleanArray::from(vec![Some(true), Some(false), None]));
        assert_eq!((left.left.first(), left.left.len()), (Some(&(2..3)), 1));
        left.add(&BooleanArray::from(vec![true, true, true]));
        left.add(&BooleanArray::from(vec![false, true]));
        assert_eq!(left.left, [2..3, 9..10, 20..22, 23..24]);
    }

    #[test]
    fn rows_between_which_few_lie_become_one_range() {
        let far = 20 + GAP_ROWS + 1;
        assert_eq!(joined(vec![0..1, 3..5, 7..20, far..far + 1]), [0..20, far..far + 1]);
        assert_eq!(joined(vec![0..20, far - 1..far + 1]).first(), Some(&(0..far + 1)));
        assert_eq!(joined(vec![]), Rows::new());
    }
}
