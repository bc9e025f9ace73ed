//! Reads rows that are known one by one, as those of a trace: a few of each page in many pages. What costs there is to open
//! columns and to unpack pages, so of each column only those pages are read in which one of the rows has something:
//! attributes as the rows' shapes say, and columns that are mostly blank as the counts of their pages say.

use super::attributes::{self, SHAPE};
use super::pages::{Chunks, Fetched, Located, pages_of};
use super::{Index, MAY_BE_BLANK, SPAN_PAGE_ROWS as PAGE_ROWS};
use crate::metrics::part::selection;
use crate::objects::Read;
use crate::part::{Damaged, Part};
use crate::rows::part::read::nothing;
use arrow::array::{Array, ArrayRef, AsArray, FixedSizeBinaryArray, RecordBatch, UInt32Array};
use arrow::compute::{concat, concat_batches, take};
use arrow::datatypes::{DataType, Schema, UInt32Type};
use arrow::error::ArrowError;
use futures::TryStreamExt;
use model::TraceId;
use parquet::arrow::arrow_reader::{ParquetRecordBatchReader, RowGroups};
use parquet::arrow::{ProjectionMask, parquet_to_arrow_field_levels};
use parquet::column::page::PageIterator;
use parquet::errors::ParquetError;
use parquet::file::metadata::{ParquetMetaData, RowGroupMetaData};
use parquet::file::page_index::column_index::ColumnIndexMetaData;
use parquet::file::page_index::offset_index::PageLocation;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Range;
use std::sync::Arc;

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
            chunks.push(pages_of(
                chunk,
                self.fetched.clone(),
                Located { pages: located, rows, with_dictionary: true },
            ));
        }
        Ok(Box::new(Chunks::of(chunks)))
    }

    fn row_groups(&self) -> Box<dyn Iterator<Item = &RowGroupMetaData> + '_> {
        Box::new(self.groups.iter().map(|(group, _)| self.metadata.row_group(*group)))
    }

    fn metadata(&self) -> &ParquetMetaData {
        self.metadata
    }
}
