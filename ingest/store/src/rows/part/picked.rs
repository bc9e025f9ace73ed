//! Reads rows that are known one by one, as those of a trace: a few of each page in many pages. What costs there is to open
//! columns and to unpack pages, so of each column only those pages are read in which one of the rows has something:
//! attributes as the rows' shapes say, and columns that are mostly blank as the counts of their pages say.

use super::attributes::{self, SHAPE};
use super::{Index, MAY_BE_BLANK, SPAN_PAGE_ROWS as PAGE_ROWS, unpacker};
use crate::metrics::part::selection;
use crate::objects::Read;
use crate::part::{Damaged, Part};
use crate::rows::part::read::nothing;
use arrow::array::{Array, ArrayRef, AsArray, FixedSizeBinaryArray, RecordBatch, UInt32Array};
use arrow::compute::{concat, concat_batches, take};
use arrow::datatypes::{DataType, Schema, UInt32Type};
use arrow::error::ArrowError;
use bytes::{Buf, Bytes};
use futures::TryStreamExt;
use model::TraceId;
use parquet::arrow::arrow_reader::{ParquetRecordBatchReader, RowGroups};
use parquet::arrow::{ProjectionMask, parquet_to_arrow_field_levels};
use parquet::basic::Compression;
use parquet::column::page::{Page, PageIterator, PageMetadata, PageReader};
use parquet::errors::ParquetError;
use parquet::file::metadata::{ColumnChunkMetaData, ParquetMetaData, RowGroupMetaData};
use parquet::file::page_index::column_index::ColumnIndexMetaData;
use parquet::file::page_index::offset_index::PageLocation;
use parquet::file::reader::{ChunkReader, Length};
use parquet::file::serialized_reader::SerializedPageReader;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io::Cursor;
use std::ops::Range;
use std::sync::Arc;

/// No page is let be larger.
const PAGE_BYTES_MAX: u64 = 1 << 30;

pub struct Picked<'a> {
    pub part: &'a Arc<Part>,
    pub index: &'a Index,
    /// Ascending, each with its trace.
    pub rows: &'a [(u32, TraceId)],
}

impl Picked<'_> {
    /// These columns of the file, by their numbers; columns of attributes that none of the rows has are left out.
    pub async fn read(&self, columns: &[usize]) -> Result<RecordBatch, Damaged> {
        let wrong = |why: ArrowError| self.part.damaged(&self.part.meta.data_path(), why);
        let fields = self.index.metadata.schema().fields();
        let name = |column: usize| fields[column].name().as_str();
        let all: Vec<usize> = (0..self.rows.len()).collect();
        let mut found: BTreeMap<usize, ArrayRef> = BTreeMap::new();
        // Columns that are read at the same rows, by whether they are lists and the places of the rows.
        let mut at: BTreeMap<(bool, Vec<usize>), Vec<usize>> = BTreeMap::new();
        for column in columns.iter().copied() {
            if name(column) == "trace_id" {
                let ids = FixedSizeBinaryArray::try_from_iter(self.rows.iter().map(|(_, id)| id));
                found.insert(column, Arc::new(ids.map_err(wrong)?));
            } else if MAY_BE_BLANK.iter().any(|(sparse, _)| *sparse == name(column)) {
                let places = self.not_blank(name(column));
                let is_list = matches!(fields[column].data_type(), DataType::List(_) | DataType::Map(..));
                at.entry((is_list, places)).or_default().push(column);
            } else if !attributes::has_own_column(name(column)) {
                at.entry((false, all.clone())).or_default().push(column);
            }
        }
        for ((_, places), columns) in std::mem::take(&mut at) {
            self.read_into(&places, &columns, &mut found).await?;
        }
        if let Some(shapes) = columns.iter().find(|column| name(**column) == SHAPE) {
            let places = places_by_attribute(&found[shapes]).map_err(wrong)?;
            for column in columns.iter().copied() {
                if let Some(places) = places.get(name(column)) {
                    at.entry((false, places.clone())).or_default().push(column);
                }
            }
        }
        for ((_, places), columns) in at {
            self.read_into(&places, &columns, &mut found).await?;
        }
        let fields: Vec<_> =
            found.keys().map(|column| fields[*column].as_ref().clone().with_nullable(true)).collect();
        let rows = arrow::array::RecordBatchOptions::new().with_row_count(Some(self.rows.len()));
        let columns = found.into_values().collect();
        RecordBatch::try_new_with_options(Arc::new(Schema::new(fields)), columns, &rows).map_err(wrong)
    }

    /// Places of the rows in whose pages the column has something.
    fn not_blank(&self, name: &str) -> Vec<usize> {
        let metadata = self.index.metadata.metadata();
        let (Some(leaf), Some(indexes), Some(offsets)) =
            (self.index.blank_leaf(name), metadata.column_index(), metadata.offset_index())
        else {
            return (0..self.rows.len()).collect();
        };
        let is_blank = |row: usize| {
            let (group, row) = self.index.group_of_row(row);
            let located = offsets.get(group).and_then(|of_group| of_group.get(leaf));
            // Lists have their pages at other rows.
            let page = located.and_then(|pages| {
                let pages = pages.page_locations();
                pages.partition_point(|page| page.first_row_index <= row as i64).checked_sub(1)
            });
            let Some(page) = page else { return false };
            match indexes.get(group).and_then(|of_group| of_group.get(leaf)) {
                Some(ColumnIndexMetaData::BYTE_ARRAY(index)) => {
                    index.max_value(page).is_none_or(<[u8]>::is_empty)
                }
                Some(ColumnIndexMetaData::INT32(index)) => index.max_value(page).is_none_or(|max| *max == 0),
                Some(ColumnIndexMetaData::INT64(index)) => index.is_null_page(page),
                Some(ColumnIndexMetaData::FIXED_LEN_BYTE_ARRAY(index)) => index.is_null_page(page),
                _ => false,
            }
        };
        (0..self.rows.len()).filter(|at| !is_blank(self.rows[*at].0 as usize)).collect()
    }

    /// Columns of these rows, by their places; of the others nothing.
    async fn read_into(
        &self,
        places: &[usize],
        columns: &[usize],
        found: &mut BTreeMap<usize, ArrayRef>,
    ) -> Result<(), Damaged> {
        let path = self.part.meta.data_path();
        let wrong = |why: ArrowError| self.part.damaged(&path, why);
        let damaged = |why: ParquetError| self.part.damaged(&path, why);
        let fields = self.index.metadata.schema().fields();
        if places.is_empty() {
            for column in columns {
                let blank = nothing(fields[*column].data_type(), self.rows.len()).map_err(wrong)?;
                found.insert(*column, blank);
            }
            return Ok(());
        }
        let rows: Vec<usize> = places.iter().map(|at| self.rows[*at].0 as usize).collect();
        let mut pages = Pages::of(self.index, &rows);
        let batches = match pages.ranges(columns) {
            Some(ranges) => {
                let bytes = self.part.objects().ranges(&path, ranges.clone()).await.map_err(damaged)?;
                pages.fetched =
                    Arc::new(Fetched(ranges.iter().map(|range| range.start).zip(bytes).collect()));
                pages.decode(&rows, columns).map_err(damaged)?
            }
            None => {
                let read = Read {
                    projection: ProjectionMask::roots(
                        self.index.metadata.parquet_schema(),
                        columns.iter().copied(),
                    ),
                    selection: Some(selection(rows.iter().map(|row| *row..row + 1), self.index.total())),
                    ..Read::default()
                };
                let read = self.part.objects().read(&path, &self.index.metadata, read).map_err(damaged)?;
                read.try_collect().await.map_err(damaged)?
            }
        };
        let batch = match batches.as_slice() {
            [one] => one.clone(),
            [first, ..] => concat_batches(&first.schema(), &batches).map_err(wrong)?,
            [] => return Err(self.part.damaged(&path, "rows are missing")),
        };
        for (column, values) in columns.iter().zip(batch.columns()) {
            let spread = self.spread(places, values, fields[*column].is_nullable()).map_err(wrong)?;
            found.insert(*column, spread);
        }
        Ok(())
    }

    /// Values of rows at these places among all rows.
    fn spread(&self, places: &[usize], values: &ArrayRef, nullable: bool) -> Result<ArrayRef, ArrowError> {
        if places.len() == self.rows.len() {
            return Ok(values.clone());
        }
        let mut from: Vec<Option<u32>> = vec![None; self.rows.len()];
        places.iter().enumerate().for_each(|(value, at)| from[*at] = Some(value as u32));
        if nullable {
            return take(values, &UInt32Array::from(from), None);
        }
        let last = values.len() as u32;
        let values = concat(&[values, &nothing(values.data_type(), 1)?])?;
        let from: UInt32Array = from.into_iter().map(|value| Some(value.unwrap_or(last))).collect();
        take(&values, &from, None)
    }
}

/// The places of the rows that have an attribute, by the name of its column.
fn places_by_attribute(shapes: &ArrayRef) -> Result<HashMap<String, Vec<usize>>, ArrowError> {
    let wrong = || ArrowError::InvalidArgumentError("rows have no shape".into());
    let shapes = shapes.as_dictionary_opt::<UInt32Type>().ok_or_else(wrong)?;
    let texts = shapes.values().as_string_opt::<i32>().ok_or_else(wrong)?;
    let mut by_shape: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for at in 0..shapes.len() {
        by_shape.entry(shapes.key(at).ok_or_else(wrong)?).or_default().push(at);
    }
    let mut places: HashMap<String, Vec<usize>> = HashMap::new();
    for (shape, own) in by_shape {
        let names = attributes::names_of_shape(texts.value(shape)).ok_or_else(wrong)?;
        let columns: BTreeSet<String> = names.iter().map(|name| attributes::column_of(name)).collect();
        columns.into_iter().for_each(|column| places.entry(column).or_default().extend(&own));
    }
    places.values_mut().for_each(|places| places.sort_unstable());
    Ok(places)
}

impl Index {
    /// The row group of a row, and its place there.
    fn group_of_row(&self, row: usize) -> (usize, usize) {
        let mut left = row;
        for (at, group) in self.metadata.metadata().row_groups().iter().enumerate() {
            match left.checked_sub(group.num_rows() as usize) {
                Some(after) => left = after,
                None => return (at, left),
            }
        }
        (usize::MAX, 0)
    }
}

/// Pages of a file, one behind the other as if they were all. All columns but lists have theirs at the same rows, as long as
/// no page is too large.
struct Pages<'a> {
    schema: &'a Schema,
    metadata: &'a ParquetMetaData,
    /// Row groups, and the pages of each.
    groups: Vec<(usize, Vec<usize>)>,
    fetched: Arc<Fetched>,
}

impl<'a> Pages<'a> {
    fn of(index: &'a Index, rows: &[usize]) -> Pages<'a> {
        let mut groups: Vec<(usize, Vec<usize>)> = vec![];
        for (group, row) in rows.iter().map(|row| index.group_of_row(*row)) {
            let page = row / PAGE_ROWS;
            match groups.last_mut() {
                Some((last, pages)) if *last == group => {
                    if pages.last() != Some(&page) {
                        pages.push(page);
                    }
                }
                _ => groups.push((group, vec![page])),
            }
        }
        Pages {
            schema: index.metadata.schema(),
            metadata: index.metadata.metadata(),
            groups,
            fetched: Arc::default(),
        }
    }

    fn rows_of(&self, group: usize, page: usize) -> usize {
        (self.metadata.row_group(group).num_rows() as usize - page * PAGE_ROWS).min(PAGE_ROWS)
    }

    fn leaves(&self, columns: &[usize]) -> Vec<usize> {
        let schema = self.metadata.file_metadata().schema_descr();
        (0..schema.num_columns())
            .filter(|leaf| columns.contains(&schema.get_column_root_idx(*leaf)))
            .collect()
    }

    /// Where a leaf has them, numbered as if there were no others.
    fn locations(&self, group: usize, pages: &[usize], leaf: usize) -> Option<Vec<PageLocation>> {
        let all = self.metadata.offset_index()?.get(group)?.get(leaf)?.page_locations();
        let rows = self.metadata.row_group(group).num_rows();
        let located = pages.iter().enumerate().map(|(at, page)| {
            let (first, after) = ((page * PAGE_ROWS) as i64, ((page + 1) * PAGE_ROWS) as i64);
            let ends = all.get(page + 1).map_or(rows, |next| next.first_row_index);
            let mut location = all.get(*page).filter(|found| found.first_row_index == first)?.clone();
            location.first_row_index = (at * PAGE_ROWS) as i64;
            (ends == after.min(rows)).then_some(location)
        });
        located.collect()
    }

    /// What to fetch: dictionaries and pages of these columns.
    fn ranges(&self, columns: &[usize]) -> Option<Vec<Range<u64>>> {
        let mut ranges = vec![];
        let schema = self.metadata.file_metadata().schema_descr();
        for leaf in self.leaves(columns) {
            if schema.column(leaf).max_rep_level() > 0 {
                return None;
            }
            for (group, pages) in &self.groups {
                let (start, _) = self.metadata.row_group(*group).column(leaf).byte_range();
                let first = self.locations(*group, &[0], leaf)?[0].offset as u64;
                if start < first {
                    ranges.push(start..first);
                }
                let located = self.locations(*group, pages, leaf)?;
                ranges.extend(located.iter().map(|page| {
                    let start = page.offset as u64;
                    start..start + page.compressed_page_size as u64
                }));
            }
        }
        Some(ranges)
    }

    /// These rows of the columns.
    fn decode(&self, rows: &[usize], columns: &[usize]) -> Result<Vec<RecordBatch>, ParquetError> {
        let schema = self.metadata.file_metadata().schema_descr();
        let mask = ProjectionMask::roots(schema, columns.iter().copied());
        let levels = parquet_to_arrow_field_levels(schema, mask, Some(self.schema.fields()))?;
        // A page of each row group but its last has all its rows, so a row keeps its place in its page.
        let mut first_rows = HashMap::new();
        let (mut next, mut before) = (0, 0);
        let mut groups = self.groups.iter().peekable();
        for group in 0..self.metadata.num_row_groups() {
            if let Some((_, pages)) = groups.next_if(|(own, _)| *own == group) {
                for page in pages {
                    first_rows.insert((before + page * PAGE_ROWS) / PAGE_ROWS, next);
                    next += self.rows_of(group, *page);
                }
            }
            before += self.metadata.row_group(group).num_rows() as usize;
        }
        let place = |row: &usize| first_rows.get(&(row / PAGE_ROWS)).copied().unwrap_or(0) + row % PAGE_ROWS;
        let chosen = selection(rows.iter().map(place).map(|at| at..at + 1), self.num_rows());
        let reader =
            ParquetRecordBatchReader::try_new_with_row_groups(&levels, self, rows.len(), Some(chosen))?;
        Ok(reader.collect::<Result<_, ArrowError>>()?)
    }
}

impl RowGroups for Pages<'_> {
    fn num_rows(&self) -> usize {
        let rows = |(group, pages): &(usize, Vec<usize>)| -> usize {
            pages.iter().map(|page| self.rows_of(*group, *page)).sum()
        };
        self.groups.iter().map(rows).sum()
    }

    fn column_chunks(&self, leaf: usize) -> Result<Box<dyn PageIterator>, ParquetError> {
        let mut chunks = vec![];
        for (group, pages) in &self.groups {
            let rows = pages.iter().map(|page| self.rows_of(*group, *page)).sum();
            let located = self.locations(*group, pages, leaf);
            let located = located.ok_or_else(|| ParquetError::General("its pages were not chosen".into()))?;
            let chunk = self.metadata.row_group(*group).column(leaf);
            chunks.push(pages_of(chunk, self.fetched.clone(), located, rows));
        }
        Ok(Box::new(Chunks(chunks.into_iter())))
    }

    fn row_groups(&self) -> Box<dyn Iterator<Item = &RowGroupMetaData> + '_> {
        Box::new(self.groups.iter().map(|(group, _)| self.metadata.row_group(*group)))
    }

    fn metadata(&self) -> &ParquetMetaData {
        self.metadata
    }
}

/// Reads these pages of a chunk, which are numbered as if there were no others, with so many rows.
pub fn pages_of(
    chunk: &ColumnChunkMetaData,
    fetched: Arc<Fetched>,
    located: Vec<PageLocation>,
    rows: usize,
) -> Chunk {
    let compression = chunk.compression();
    let mut chosen = chunk.clone().into_builder();
    // What lies before the first page would be taken for a dictionary.
    if let (None, Some(first)) = (chunk.dictionary_page_offset(), located.first()) {
        chosen = chosen.set_data_page_offset(first.offset);
    }
    if matches!(compression, Compression::ZSTD(_)) {
        chosen = chosen.set_compression(Compression::UNCOMPRESSED);
    }
    let pages = SerializedPageReader::new(fetched, &chosen.build()?, rows, Some(located))?;
    Ok(match compression {
        Compression::ZSTD(_) => Box::new(Unpacked(pages)) as Box<dyn PageReader>,
        _ => Box::new(pages),
    })
}

/// Pages that come packed, as if they were not: the library makes two contexts for each column to unpack its pages with, which
/// takes longer than to unpack the one page that is read of it.
struct Unpacked(SerializedPageReader<Fetched>);

/// What lies behind the first bytes, unpacked; these are as they were.
fn unpacked(bytes: &Bytes, first: usize) -> Result<Bytes, ParquetError> {
    let wrong = || ParquetError::General("a page is not packed as it should be".into());
    let (plain, packed) = bytes.split_at_checked(first).ok_or_else(wrong)?;
    if packed.is_empty() {
        return Ok(bytes.clone());
    }
    let size = zstd::zstd_safe::get_frame_content_size(packed).ok().flatten().ok_or_else(wrong)?;
    if size > PAGE_BYTES_MAX {
        return Err(ParquetError::General(format!("a page says that it holds {size} bytes")));
    }
    let mut out = Vec::with_capacity(first + size as usize);
    out.extend_from_slice(plain);
    let mut out = Cursor::new(out);
    out.set_position(first as u64);
    unpacker::with(|own| own.decompress_to_buffer(packed, &mut out))?;
    Ok(out.into_inner().into())
}

impl Iterator for Unpacked {
    type Item = Result<Page, ParquetError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.get_next_page().transpose()
    }
}

impl PageReader for Unpacked {
    fn get_next_page(&mut self) -> Result<Option<Page>, ParquetError> {
        let Some(mut page) = self.0.get_next_page()? else { return Ok(None) };
        match &mut page {
            Page::DictionaryPage { buf, .. } | Page::DataPage { buf, .. } => *buf = unpacked(buf, 0)?,
            Page::DataPageV2 { buf, def_levels_byte_len, rep_levels_byte_len, is_compressed, .. } => {
                if std::mem::take(is_compressed) {
                    *buf = unpacked(buf, (*def_levels_byte_len + *rep_levels_byte_len) as usize)?;
                }
            }
        }
        Ok(Some(page))
    }

    fn peek_next_page(&mut self) -> Result<Option<PageMetadata>, ParquetError> {
        self.0.peek_next_page()
    }

    fn skip_next_page(&mut self) -> Result<(), ParquetError> {
        self.0.skip_next_page()
    }
}

pub type Chunk = Result<Box<dyn PageReader>, ParquetError>;

impl Chunks {
    pub fn one(chunk: Chunk) -> Chunks {
        Chunks(vec![chunk].into_iter())
    }
}

/// The row groups' pages of one leaf.
pub struct Chunks(std::vec::IntoIter<Chunk>);

impl Iterator for Chunks {
    type Item = Chunk;

    fn next(&mut self) -> Option<Chunk> {
        self.0.next()
    }
}

impl PageIterator for Chunks {}

/// Pieces of a file, by where they begin.
#[derive(Default)]
pub struct Fetched(pub foldhash::HashMap<u64, Bytes>);

impl Length for Fetched {
    fn len(&self) -> u64 {
        self.0.iter().map(|(start, bytes)| start + bytes.len() as u64).max().unwrap_or(0)
    }
}

impl ChunkReader for Fetched {
    type T = bytes::buf::Reader<Bytes>;

    fn get_read(&self, start: u64) -> Result<Self::T, ParquetError> {
        Ok(self.get_bytes(start, 0)?.reader())
    }

    /// As much as was fetched there: a reader that sees the first of the chosen pages takes all before it for the dictionary.
    fn get_bytes(&self, start: u64, _: usize) -> Result<Bytes, ParquetError> {
        let missing = || ParquetError::EOF(format!("byte {start} was not fetched"));
        self.0.get(&start).cloned().ok_or_else(missing)
    }
}
