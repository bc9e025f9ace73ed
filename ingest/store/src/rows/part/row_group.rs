//! Reads rows of one row group after the other: the pages that have them are fetched, and what rows have one of each is read once.

use super::Index;
use super::batches::{self, Ahead, Batches, Column};
use super::coded::{Coded, Dictionary, Kind, Values};
use super::pages::{Chunks, Fetched, Located, pages_of};
use crate::metrics::part::selection;
use crate::part::Part;
use crate::rows::fields::TRACE_ID;
use crate::rows::trace_roots::{ROOT, TraceRoots};
use arrow::datatypes::{DataType, Field, Schema};
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ParquetRecordBatchReader, RowGroups};
use parquet::arrow::{ProjectionMask, parquet_to_arrow_field_levels};
use parquet::column::page::PageIterator;
use parquet::errors::ParquetError;
use parquet::file::metadata::{ParquetMetaData, RowGroupMetaData};
use parquet::file::page_index::offset_index::{OffsetIndexMetaData, PageLocation};
use std::collections::HashMap;
use std::ops::Range;
use std::sync::{Arc, OnceLock};

/// Rows of each row group at which all columns begin a page: those that are no lists, and those that are. They begin one after so
/// many rows, but a column whose dictionary is full, or whose lists are long, begins one in between.
#[derive(Default)]
pub struct Blocks {
    flat: Vec<Vec<usize>>,
    lists: Vec<Vec<usize>>,
}

impl Blocks {
    pub fn of(metadata: &ParquetMetaData) -> Option<Blocks> {
        let groups = metadata.offset_index()?;
        let schema = metadata.file_metadata().schema_descr();
        let (lists, flat): (Vec<usize>, Vec<usize>) =
            (0..schema.num_columns()).partition(|leaf| schema.column(*leaf).max_rep_level() > 0);
        let of_groups = |leaves: &[usize]| -> Option<Vec<Vec<usize>>> {
            groups.iter().map(|pages| starts_of_all(pages, leaves)).collect()
        };
        let lists = if lists.is_empty() { vec![] } else { of_groups(&lists)? };
        Some(Blocks { flat: of_groups(&flat)?, lists })
    }

    /// Rows of a row group in pieces that are each within so many blocks of columns that are no lists.
    pub fn cut(&self, group: usize, rows: &[Range<usize>], blocks: usize) -> Vec<Vec<Range<usize>>> {
        let mut starts: Vec<usize> = starts_in(&self.flat, group).iter().copied().step_by(blocks).collect();
        starts.push(usize::MAX);
        let within = |piece: &[usize]| -> Vec<Range<usize>> {
            let cut = rows.iter().map(|rows| rows.start.max(piece[0])..rows.end.min(piece[1]));
            cut.filter(|rows| !rows.is_empty()).collect()
        };
        starts.windows(2).map(within).filter(|rows| !rows.is_empty()).collect()
    }
}

/// The rows at which all of these leaves begin a page.
fn starts_of_all(pages: &[OffsetIndexMetaData], leaves: &[usize]) -> Option<Vec<usize>> {
    let mut columns: HashMap<i64, usize> = HashMap::new();
    for leaf in leaves {
        let pages = pages.get(*leaf)?.page_locations();
        pages.iter().for_each(|page| *columns.entry(page.first_row_index).or_default() += 1);
    }
    columns.retain(|_, own| *own == leaves.len());
    let mut starts: Vec<usize> = columns.into_keys().map(|row| row as usize).collect();
    starts.sort_unstable();
    (starts.first() == Some(&0)).then_some(starts)
}

fn starts_in(groups: &[Vec<usize>], group: usize) -> &[usize] {
    groups.get(group).map_or(&[], |starts| starts)
}

/// Whose rows are read.
pub struct Reader {
    part: Arc<Part>,
    index: Arc<Index>,
    blocks: Arc<Blocks>,
    /// By the places of traces. With these each row has [`ROOT`].
    pub roots: Option<Arc<Vec<u32>>>,
    /// What was read of a row group of what its rows have one of each, by leaf.
    known: (usize, HashMap<(usize, Kind), Dictionary>),
    /// What the codes of a row group's traces are rooted in.
    known_roots: (usize, Dictionary),
}

impl Reader {
    pub fn new(part: Arc<Part>, index: Arc<Index>, blocks: Arc<Blocks>) -> Reader {
        let (known, known_roots) = Default::default();
        Reader { part, index, blocks, roots: None, known, known_roots }
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
        let mut flat = Chosen::of(metadata.metadata(), group, starts_in(&blocks.flat, group));
        let mut lists = Chosen::of(metadata.metadata(), group, starts_in(&blocks.lists, group));
        let of_file = flat.columns(columns_of_file);
        let places: Vec<Range<usize>> = rows.iter().map(|range| flat.place(range)).collect();
        let mut places_of_lists = vec![];
        if of_file.iter().any(|column| column.is_list) {
            places_of_lists.extend(rows.iter().map(|range| lists.place(range)));
        }
        let (mut ranges, mut known) = (vec![], vec![]);
        for column in &of_file {
            let chosen = if column.is_list { &lists } else { &flat };
            let read_as = metadata.schema().field(column.number).data_type();
            let coded = self.known_of(chosen, read_as, column);
            let is_known = coded.as_ref().is_some_and(|(.., dictionary)| dictionary.get().is_some());
            for leaf in &column.leaves {
                ranges.extend(chosen.dictionary(*leaf)?.filter(|_| !is_known));
                ranges.extend(chosen.pages(*leaf)?.iter().map(bytes_of));
            }
            known.push(coded);
        }
        let roots = self.roots_of(group).await?.zip(flat.leaf_of(TRACE_ID));
        if let Some((_, leaf)) = &roots {
            ranges.extend(flat.pages(*leaf)?.iter().map(bytes_of));
        }
        let bytes = self.part.objects().ranges(&self.part.meta.data_path(), ranges.clone()).await?;
        let fetched = Arc::new(Fetched(ranges.iter().map(|range| range.start).zip(bytes).collect()));
        (flat.fetched, lists.fetched) = (fetched.clone(), fetched);
        let (mut fields, mut columns, mut by_library) = (vec![], vec![], [vec![], vec![]]);
        for (column, known) in of_file.iter().zip(known) {
            fields.push(metadata.schema().fields()[column.number].clone());
            columns.push(match known {
                Some((leaf, kind, dictionary)) => Column::Coded(flat.coded(kind, dictionary, leaf)?.into()),
                None => {
                    by_library[usize::from(column.is_list)].push(column.number);
                    if column.is_list { Column::List } else { Column::Other }
                }
            });
        }
        if let Some((dictionary, leaf)) = roots {
            fields.push(Arc::new(Field::new(ROOT, DataType::UInt32, false)));
            columns.push(Column::Coded(flat.coded(Kind::Numbers, dictionary, leaf)?.into()));
        }
        let [others, of_lists] = by_library;
        Ok(Batches {
            schema: Arc::new(Schema::new(fields)),
            columns,
            others: flat.others(metadata, &others, &places, batch_rows)?,
            lists: lists.others(metadata, &of_lists, &places_of_lists, batch_rows)?.map(Ahead::of),
            rows: batches::Rows::new(places),
            batch_rows,
        })
    }

    /// What each code of a row group's trace ids is rooted in, where roots are wanted.
    async fn roots_of(&mut self, group: usize) -> Result<Option<Dictionary>, ParquetError> {
        let Some(of_part) = &self.roots else { return Ok(None) };
        if self.known_roots.0 != group || self.known_roots.1.get().is_none() {
            let path = self.part.meta.index_path();
            let root = |place: u32| of_part.get(place as usize).copied().unwrap_or(TraceRoots::UNKNOWN);
            let roots = self.index.traces.each_place(self.part.objects(), &path, group, root).await;
            let roots = Values::Numbers(roots.map_err(ParquetError::General)?);
            self.known_roots = (group, Arc::new(OnceLock::from(roots)));
        }
        Ok(Some(self.known_roots.1.clone()))
    }

    /// As what the column of a leaf is read, where it is one of codes, and its values, which are known once they were read.
    fn known_of(
        &mut self,
        chosen: &Chosen<'_>,
        read_as: &DataType,
        column: &ColumnOfFile,
    ) -> Option<(usize, Kind, Dictionary)> {
        let leaf = *column.leaves.first().filter(|_| !column.is_list)?;
        let chunk = chosen.metadata.row_group(chosen.group).column(leaf);
        let kind = Kind::of(read_as).filter(|kind| kind.can_read(chunk))?;
        if self.known.0 != chosen.group {
            self.known = (chosen.group, HashMap::new());
        }
        Some((leaf, kind, self.known.1.entry((leaf, kind)).or_default().clone()))
    }
}

/// A column with its leaves.
struct ColumnOfFile {
    number: usize,
    leaves: Vec<usize>,
    is_list: bool,
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

    /// These columns of the file, in its order.
    fn columns(&self, wanted: &[usize]) -> Vec<ColumnOfFile> {
        let schema = self.metadata.file_metadata().schema_descr();
        let mut columns: Vec<ColumnOfFile> = vec![];
        for leaf in 0..schema.num_columns() {
            let number = schema.get_column_root_idx(leaf);
            match columns.last_mut().filter(|last| last.number == number) {
                Some(last) => last.leaves.push(leaf),
                None if wanted.contains(&number) => {
                    let is_list = schema.column(leaf).max_rep_level() > 0;
                    columns.push(ColumnOfFile { number, leaves: vec![leaf], is_list });
                }
                None => {}
            }
        }
        columns
    }

    fn leaf_of(&self, name: &str) -> Option<usize> {
        let columns = self.metadata.file_metadata().schema_descr().columns();
        columns.iter().position(|column| column.path().parts() == [name])
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
    ) -> Result<Option<ParquetRecordBatchReader>, ParquetError> {
        if columns.is_empty() {
            return Ok(None);
        }
        let schema = metadata.parquet_schema();
        let mask = ProjectionMask::roots(schema, columns.iter().copied());
        let levels = parquet_to_arrow_field_levels(schema, mask, Some(metadata.schema().fields()))?;
        let selection = selection(places.iter().cloned(), self.num_rows());
        ParquetRecordBatchReader::try_new_with_row_groups(&levels, self, batch_rows, Some(selection))
            .map(Some)
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
        let blocks = Blocks { flat: vec![vec![], vec![0, 10, 25, 30, 40]], lists: vec![] };
        let cut = |rows: &[Range<usize>], at_once: usize| -> Vec<String> {
            blocks.cut(1, rows, at_once).iter().map(|rows| format!("{rows:?}")).collect()
        };
        assert_eq!(cut(&[3..7, 8..41], 2), ["[3..7, 8..25]", "[25..40]", "[40..41]"]);
        assert_eq!(cut(&[0..1, 30..31], 4), ["[0..1, 30..31]"]);
        assert!(blocks.cut(1, &[], 2).is_empty());
    }
}
