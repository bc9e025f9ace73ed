//! Reads rows of one row group after the other: the pages that have them are fetched, and what rows have one of each is read once.

use super::batches::{self, Batches};
use super::coded::{Coded, Dictionary, Kind};
use super::pages::{Chunks, Fetched, Located, pages_of};
use crate::metrics::part::selection;
use crate::part::Part;
use crate::rows::fields::TRACE_ID;
use crate::schema::coded_ids;
use arrow::datatypes::{DataType, Field, Schema};
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ParquetRecordBatchReader, RowGroups};
use parquet::arrow::{ProjectionMask, parquet_to_arrow_field_levels};
use parquet::column::page::PageIterator;
use parquet::errors::ParquetError;
use parquet::file::metadata::{ParquetMetaData, RowGroupMetaData};
use parquet::file::page_index::offset_index::{OffsetIndexMetaData, PageLocation};
use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

/// Rows of each row group at which all columns that are no lists begin a page. They begin one after so many rows, but a column
/// whose dictionary is full begins one in between.
#[derive(Default)]
pub struct Blocks(Vec<Vec<usize>>);

impl Blocks {
    pub fn of(metadata: &ParquetMetaData) -> Option<Blocks> {
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

    fn starts(&self, group: usize) -> &[usize] {
        self.0.get(group).map_or(&[], |starts| starts)
    }

    /// Rows of a row group in pieces that are each within so many blocks.
    pub fn cut(&self, group: usize, rows: &[Range<usize>], blocks: usize) -> Vec<Vec<Range<usize>>> {
        let mut starts: Vec<usize> = self.starts(group).iter().copied().step_by(blocks).collect();
        starts.push(usize::MAX);
        let within = |piece: &[usize]| -> Vec<Range<usize>> {
            let cut = rows.iter().map(|rows| rows.start.max(piece[0])..rows.end.min(piece[1]));
            cut.filter(|rows| !rows.is_empty()).collect()
        };
        starts.windows(2).map(within).filter(|rows| !rows.is_empty()).collect()
    }
}

/// Whose rows are read.
pub struct Reader {
    part: Arc<Part>,
    blocks: Arc<Blocks>,
    /// Trace ids come as a dictionary, where they lie as one.
    pub ids_are_coded: bool,
    /// What was read of a row group of what its rows have one of each, by leaf.
    known: (usize, HashMap<(usize, Kind), Dictionary>),
}

impl Reader {
    pub fn new(part: Arc<Part>, blocks: Arc<Blocks>) -> Reader {
        Reader { part, blocks, ids_are_coded: false, known: Default::default() }
    }

    /// Rows of these columns of the file.
    pub async fn batches(
        &mut self,
        metadata: &ArrowReaderMetadata,
        group: usize,
        rows: &[Range<usize>],
        (columns_of_file, batch_rows): (&[usize], usize),
    ) -> Result<Batches, ParquetError> {
        let blocks = self.blocks.clone();
        let mut chosen = Chosen::of(metadata.metadata(), group, blocks.starts(group));
        let places = rows.iter().map(|range| chosen.place(range)).collect::<Vec<_>>();
        let (mut columns, mut ranges) = (vec![], vec![]);
        for (column, leaf) in chosen.leaves(columns_of_file) {
            let field = self.field(metadata, group, (column, leaf));
            let coded = self.known_of(&chosen, field.data_type(), leaf);
            let is_known = coded.as_ref().is_some_and(|(_, dictionary)| dictionary.get().is_some());
            ranges.extend(chosen.dictionary(leaf)?.filter(|_| !is_known));
            ranges.extend(chosen.pages(leaf)?.iter().map(bytes_of));
            columns.push((column, leaf, field, coded));
        }
        let bytes = self.part.objects().ranges(&self.part.meta.data_path(), ranges.clone()).await?;
        chosen.fetched = Arc::new(Fetched(ranges.iter().map(|range| range.start).zip(bytes).collect()));
        let others: Vec<usize> =
            columns.iter().filter(|(.., coded)| coded.is_none()).map(|(column, ..)| *column).collect();
        let (mut fields, mut coded) = (vec![], vec![]);
        for (_, leaf, field, own) in columns {
            fields.push(field);
            coded.push(own.map(|(kind, dictionary)| chosen.coded(kind, dictionary, leaf)).transpose()?);
        }
        Ok(Batches {
            schema: Arc::new(Schema::new(fields)),
            coded,
            others: match others.is_empty() {
                true => None,
                false => Some(chosen.others(metadata, &others, &places, batch_rows)?),
            },
            rows: batches::Rows::new(places),
            batch_rows,
        })
    }

    /// As what the column of a leaf is read, where it is one of codes, and its values, which are known once they were read.
    fn known_of(
        &mut self,
        chosen: &Chosen<'_>,
        read_as: &DataType,
        leaf: usize,
    ) -> Option<(Kind, Dictionary)> {
        let chunk = chosen.metadata.row_group(chosen.group).column(leaf);
        let kind = Kind::of(read_as).filter(|kind| kind.can_read(chunk))?;
        if self.known.0 != chosen.group {
            self.known = (chosen.group, HashMap::new());
        }
        Some((kind, self.known.1.entry((leaf, kind)).or_default().clone()))
    }

    /// As what a column of a row group is read.
    fn field(
        &self,
        metadata: &ArrowReaderMetadata,
        group: usize,
        (column, leaf): (usize, usize),
    ) -> Arc<Field> {
        let field = &metadata.schema().fields()[column];
        let chunk = metadata.metadata().row_group(group).column(leaf);
        let coded = coded_ids();
        match self.ids_are_coded
            && field.name() == TRACE_ID
            && Kind::of(&coded).is_some_and(|kind| kind.can_read(chunk))
        {
            true => Arc::new(Field::new(TRACE_ID, coded, field.is_nullable())),
            false => field.clone(),
        }
    }
}

fn bytes_of(page: &PageLocation) -> Range<u64> {
    let start = page.offset as u64;
    start..start + page.compressed_page_size as u64
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

    fn coded(&self, kind: Kind, dictionary: Dictionary, leaf: usize) -> Result<Coded, ParquetError> {
        let chunk = self.metadata.row_group(self.group).column(leaf);
        let with_dictionary = dictionary.get().is_none();
        let pages = Located { pages: self.pages(leaf)?, rows: self.num_rows(), with_dictionary };
        Ok(Coded::new(pages_of(chunk, self.fetched.clone(), pages)?, chunk, kind, dictionary))
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

    /// Where it lies.
    fn dictionary(&self, leaf: usize) -> Result<Option<Range<u64>>, ParquetError> {
        let (start, _) = self.metadata.row_group(self.group).column(leaf).byte_range();
        let first = self.all_pages(leaf)?.first().map_or(start, |page| page.offset as u64);
        Ok((start < first).then_some(start..first))
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
        let pages = Located { pages: self.pages(leaf)?, rows: self.num_rows(), with_dictionary: true };
        let pages = pages_of(chunk, self.fetched.clone(), pages);
        Ok(Box::new(Chunks::of(vec![pages])))
    }

    fn row_groups(&self) -> Box<dyn Iterator<Item = &RowGroupMetaData> + '_> {
        Box::new(std::iter::once(self.metadata.row_group(self.group)))
    }

    fn metadata(&self) -> &ParquetMetaData {
        self.metadata
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_cut_where_blocks_begin() {
        let blocks = Blocks(vec![vec![], vec![0, 10, 25, 30, 40]]);
        let cut = |rows: &[Range<usize>], at_once: usize| -> Vec<String> {
            blocks.cut(1, rows, at_once).iter().map(|rows| format!("{rows:?}")).collect()
        };
        assert_eq!(cut(&[3..7, 8..41], 2), ["[3..7, 8..25]", "[25..40]", "[40..41]"]);
        assert_eq!(cut(&[0..1, 30..31], 4), ["[0..1, 30..31]"]);
        assert!(blocks.cut(1, &[], 2).is_empty());
    }
}
