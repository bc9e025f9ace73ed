//! Reads rows of a part: which rows and columns of the file, and of those the columns that were asked for.

use super::conditions::Conditions;
use super::label_tests::CodedTests;
use super::needles::Needle;
use super::paths::Paths;
use super::picked::Picked;
use super::ranges::Ranges;
use super::straight::Straight;
use super::{Automata, Index, LOG_PAGE_ROWS, MAY_BE_BLANK, SPAN_PAGE_ROWS, attributes, bodies, few, times};
use crate::metrics::part::selection;
use crate::objects::Read;
use crate::part::{Damaged, Part, Signal};
use crate::rows::fields::{TRACE_ID, with_fields};
use crate::rows::groups::{GROUP, GroupColumns, empty_maps};
use crate::rows::shapes::{self, Shapes, VALUES};
use crate::rows::stored::{self, needed, publish, time_column};
use crate::rows::trace_roots::TraceRoots;
use crate::rows::{logs, spans};
use crate::snapshot::SpanTest;
use arrow::array::{
    ArrayRef, BooleanArray, ListArray, RecordBatch, StringArray, UInt32Array, new_empty_array,
};
use arrow::buffer::{Buffer, OffsetBuffer};
use arrow::compute::{filter_record_batch, interleave_record_batch};
use arrow::datatypes::{DataType, Field, Schema};
use arrow::error::ArrowError;
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use model::{LogSelect, SpanField, SpanSelect, TimeRange, TraceId};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{
    ArrowPredicate, ArrowPredicateFn, ArrowReaderMetadata, ArrowReaderOptions, RowFilter,
};
use parquet::basic::Encoding;
use parquet::errors::ParquetError;
use parquet::file::metadata::ColumnChunkMetaData;
use parquet::file::statistics::Statistics;
use std::sync::Arc;

/// Rows of traces in one batch.
const PICKED_ROWS: usize = 8_192;

/// Rows of each part in memory while several are merged, and of long lines about so many bytes.
const MERGE_ROWS: usize = 512;
const MERGE_BYTES: usize = 1 << 20;

/// Of the rows of all raw parts so many are looked at, about, to choose how they will lie.
const SAMPLED_ROWS: usize = 16_384;

/// Of long lines it is fewer.
const SAMPLED_BYTES: usize = 16 << 20;

/// Of each part one page in so many is read for that.
const SAMPLED_PAGES: usize = 4;

/// What the dictionaries of a path take at most, compressed, whose values are few.
const FEW_VALUES_PACKED_BYTES: i64 = 4 << 10;

pub type PartStream = BoxStream<'static, Result<RecordBatch, Damaged>>;

/// What of the rows to read.
#[derive(Clone)]
pub enum Select {
    Logs(LogSelect),
    /// Where [`SpanField::Root`] is asked for, with the roots.
    Spans(SpanSelect, Option<Arc<TraceRoots>>),
}

impl Select {
    pub fn signal(&self) -> Signal {
        match self {
            Select::Logs(_) => Signal::Logs,
            Select::Spans(..) => Signal::Spans,
        }
    }

    pub fn range(&self) -> TimeRange {
        match self {
            Select::Logs(select) => select.range,
            Select::Spans(select, _) => select.range,
        }
    }

    pub fn is_first_share(&self) -> bool {
        !matches!(self, Select::Spans(SpanSelect { share: Some((1.., _)), .. }, _))
    }

    pub fn fields(&self) -> &[SpanField] {
        match self {
            Select::Logs(_) => &[],
            Select::Spans(select, _) => &select.fields,
        }
    }

    pub fn roots(&self) -> Option<&Arc<TraceRoots>> {
        match self {
            Select::Logs(_) => None,
            Select::Spans(_, roots) => roots.as_ref(),
        }
    }

    /// Whether an index was asked where the rows are, so that few pages can have them.
    fn is_narrowed(&self) -> bool {
        let Select::Logs(select) = self else { return false };
        !select.contains.is_empty() || select.trace_id.is_some() || !select.words.is_empty()
    }

    pub fn mask(&self, batch: &RecordBatch, groups: &GroupColumns) -> arrow::array::BooleanArray {
        match self {
            Select::Logs(select) => logs::mask(batch, groups, select),
            Select::Spans(select, _) => spans::mask(batch, groups, select),
        }
    }
}

/// Rows of the file that are judged by some of its columns.
pub struct Judge {
    /// Indices of the file's columns.
    pub columns: Vec<usize>,
    /// Fields of bodies are looked at as texts, and not coded.
    judges_texts: bool,
    /// Whether more rows may be left than pass.
    pub only_narrows: bool,
    pub judge: Box<dyn FnMut(RecordBatch) -> Result<BooleanArray, ArrowError> + Send>,
}

/// The selected rows, projected to `columns` (indices of the signal's public schema). What of spans does not pass the test may be
/// left out.
pub async fn read(
    part: Arc<Part>,
    select: Select,
    columns: Vec<usize>,
    test: Option<SpanTest>,
) -> Result<PartStream, Damaged> {
    let index = part.rows_index().await?;
    let path = part.meta.data_path();
    let index_path = part.meta.index_path();
    let (ranges, needles) = match &select {
        Select::Logs(select) => index.log_ranges(select).map_err(|why| part.damaged(&index_path, why))?,
        Select::Spans(select, _) => (index.span_ranges(select), vec![]),
    };
    let first_share = select.is_first_share();
    if let Select::Spans(select, _) = &select
        && !select.trace_ids.is_empty()
    {
        // They are few, and not divided.
        let ranges = if first_share { ranges } else { Ranges::default() };
        return read_traces(part, index, ranges, select.clone(), columns).await;
    }
    let ranges = match &select {
        Select::Spans(SpanSelect { share: Some(share), .. }, _) => ranges.share(*share, SPAN_PAGE_ROWS),
        _ => ranges,
    };
    if ranges.is_empty() || !index.may_have_attributes(&select) {
        return Ok(futures::stream::empty().boxed());
    }
    let (signal, range) = (select.signal(), select.range());
    let times_judged = range.start <= part.meta.first_ts && part.meta.last_ts <= range.end;
    let needed = needed(signal, &columns);
    let judged_by = match &select {
        Select::Logs(select) => logs::mask_columns(select, times_judged),
        Select::Spans(select, _) if spans::are_read_whole(select, &needed) => vec![],
        Select::Spans(select, _) => spans::mask_columns(select, times_judged),
    };
    let labels = index.labels(&select);
    let mut projected = match &labels {
        Some(labels) => {
            let mut of_bodies = labels.columns();
            // What is no object has no labels, whatever else it says.
            if !index.packed.has_no_object() {
                index.packed.needs_of_lines(&mut of_bodies);
            }
            index.columns_with(&needed, &of_bodies)
        }
        None => index.columns_and_fields(&needed, select.fields()),
    };
    let fields = select.fields().to_vec();
    let roots = select.roots().filter(|_| fields.contains(&SpanField::Root)).cloned();
    let of_part = roots.as_ref().and_then(|roots| roots.of_part(part.meta.id).cloned());
    if roots.is_some() {
        // Whatever tells the roots, rows of some column are read.
        let name = if of_part.is_some() { GROUP } else { TRACE_ID };
        projected.extend(index.field_names().position(|own| own == name));
        projected.sort_unstable();
        projected.dedup();
    }
    // Attributes by which rows are judged, and those of whoever does not want all, are read as words, which are compared once a word.
    let all_attributes = needed.iter().any(|name| *name == attributes::REST || *name == attributes::TYPES);
    let words = match &select {
        Select::Spans(select, _) if !all_attributes || !select.attributes.is_empty() => {
            Some(index.words_metadata().map_err(|e| part.damaged(&path, e))?.clone())
        }
        _ => None,
    };
    let mut judges = index.attribute_judges(&select);
    // Errors are few, and what is slow is as well; times rule out less than what is asked of single columns.
    let are_few =
        matches!(&select, Select::Spans(select, _) if select.errors_only || select.duration_ns_min.is_some());
    let test = test.map(|test| index.judge_by_test(test));
    let (test, test_of_few) = if are_few { (None, test) } else { (test, None) };
    judges.extend(test);
    let few = select.is_narrowed().then(|| few::pages(&ranges)).flatten();
    let tests = match &select {
        Select::Logs(select) if few.is_none() && index.is_straight(&projected) => {
            CodedTests::of(&index, &select.json_tests)
        }
        _ => CodedTests::default(),
    };
    let has_labels = labels.is_some();
    // Labels are read of all rows anyway: to judge them first would read columns twice. Lines have more columns than that.
    let (tests, tests_of_labels) =
        if has_labels { (CodedTests::default(), tests) } else { (tests, CodedTests::default()) };
    if !judged_by.is_empty() || !tests.is_empty() {
        judges.push(index.judge(select, &judged_by, (needles, tests), &part.objects().automata));
    }
    judges.extend(test_of_few);
    let published = {
        let index = index.clone();
        move |batch: RecordBatch| {
            let batch = tests_of_labels.filter(batch)?;
            let batch = index.packed.unpack(batch, &index.shapes)?;
            let whole = index.whole(batch.clone(), &needed, labels.is_some())?;
            let published = publish(signal, &index.groups, &whole, &columns)?;
            let published = with_fields(published, &batch, (&index.groups, roots.as_deref()), &fields)?;
            match &labels {
                Some(labels) => index.with_labels(published, &batch, labels),
                None => Ok(published),
            }
        }
    };
    if let Some(pages) = few {
        let wanted = few::Wanted { part: &part, index: &index, ranges: &ranges };
        let Judge { columns, judge, .. } = judges.pop().unwrap_or_else(Judge::of_nothing);
        let rows = wanted.rows(&pages, &columns, judge, &projected).await?;
        let rows = rows.into_iter().map(move |batch| published(batch).map_err(|e| part.damaged(&path, e)));
        return Ok(futures::stream::iter(rows).boxed());
    }
    let judges_texts = judges.iter().any(|judge| judge.judges_texts);
    let is_straight =
        judges.iter().all(|judge| index.is_straight(&judge.columns)) && index.is_straight(&projected);
    // Values of labels are most often few, and what is found of one is found of all lines that have it.
    let is_coded = has_labels && (is_straight || !judges_texts);
    let metadata = match &words {
        Some(words) => words,
        None if is_coded => index.coded_metadata(),
        None => &index.metadata,
    };
    let stream = if is_straight {
        let judged = match signal {
            Signal::Logs if !judges_texts => index.coded_metadata(),
            Signal::Logs => &index.metadata,
            _ => metadata,
        };
        let straight = Straight::of(part.clone(), &index, [metadata, judged], &ranges, judges, projected);
        straight.with_roots(of_part).stream().boxed()
    } else {
        let filter: Vec<_> = judges.into_iter().map(|judge| judge.predicate(&index)).collect();
        let read = Read {
            projection: index.mask(&projected),
            selection: Some(selection(ranges.0.into_iter(), index.total())),
            filter: (!filter.is_empty()).then(|| RowFilter::new(filter)),
            ..Read::default()
        };
        let stream = part.objects().read(&path, metadata, read).map_err(|e| part.damaged(&path, e))?;
        stream.map_err(ArrowError::from).boxed()
    };
    let stream = stream.and_then(move |batch| futures::future::ready(published(batch)));
    // The part is held until the stream is dropped, so that its file stays.
    Ok(stream.map_err(move |e| part.damaged(&path, e)).boxed())
}

/// The rows of some traces. They are judged when they are there: to judge them in the file would read columns twice.
async fn read_traces(
    part: Arc<Part>,
    index: Arc<Index>,
    ranges: Ranges,
    select: SpanSelect,
    columns: Vec<usize>,
) -> Result<PartStream, Damaged> {
    let path = part.meta.index_path();
    let found = index.traces.find(part.objects(), &path, &select.trace_ids).await;
    let mut rows = found.map_err(|why| part.damaged(&path, why))?;
    rows.retain(|(row, _)| ranges.contains(*row as usize));
    let mut needed = needed(Signal::Spans, &columns);
    for column in spans::mask_columns(&select, false) {
        if !needed.contains(&column) {
            needed.push(column);
        }
    }
    let projected = index.columns_and_fields(&needed, &select.fields);
    let pieces: Vec<Vec<(u32, TraceId)>> = rows.chunks(PICKED_ROWS).map(<[_]>::to_vec).collect();
    let piece = move |rows: Vec<(u32, TraceId)>| {
        let (part, index, select) = (part.clone(), index.clone(), select.clone());
        let (projected, needed, columns) = (projected.clone(), needed.clone(), columns.clone());
        async move {
            let picked = Picked { part: &part, index: &index, rows: &rows };
            let read = picked.read(&projected).await?;
            let published = || {
                let whole = index.whole(read.clone(), &needed, false)?;
                let mask = spans::mask(&whole, &index.groups, &select);
                let published = publish(Signal::Spans, &index.groups, &whole, &columns)?;
                let published = with_fields(published, &read, (&index.groups, None), &select.fields)?;
                filter_record_batch(&published, &mask)
            };
            published().map_err(|why| part.damaged(&part.meta.data_path(), why))
        }
    };
    Ok(futures::stream::iter(pieces).then(piece).boxed())
}

/// All stored rows in the part's order, for merging; their shapes are texts.
pub fn read_all(part: &Arc<Part>, index: Arc<Index>) -> Result<PartStream, Damaged> {
    let schema = stored::schema(part.meta.signal);
    let needed = schema.fields().iter().map(|field| field.name().as_str()).collect();
    let all = std::iter::once(0..index.total());
    read_stored(part, index.clone(), Ranges::new(all), needed)
}

/// The column of the shapes of all rows alone, as words.
pub fn read_shapes(part: Arc<Part>, index: &Index) -> Result<PartStream, Damaged> {
    let path = part.meta.data_path();
    let read = Read { projection: index.mask(&index.columns(&[attributes::SHAPE])), ..Read::default() };
    let stream = part.objects().read(&path, &index.metadata, read).map_err(|e| part.damaged(&path, e))?;
    // The part is held until the stream is dropped, so that its file stays.
    Ok(stream.map_err(move |e| part.damaged(&path, e)).boxed())
}

/// What decides how lines will lie, of some lines of a raw part, which is one of so many: other pages of each, and evenly.
pub async fn sample(
    part: &Arc<Part>,
    index: &Arc<Index>,
    (number, parts): (usize, usize),
    shapes: &mut Shapes,
) -> Result<Vec<RecordBatch>, Damaged> {
    let every = parts.clamp(1, SAMPLED_PAGES);
    let (total, page) = (index.total(), LOG_PAGE_ROWS);
    let pages = (0..total.div_ceil(page)).filter(|at| at % every == number % every);
    let ranges = Ranges::new(pages.map(|at| at * page..total.min((at + 1) * page)));
    let step = (total * parts / every / SAMPLED_ROWS).max(1);
    let needed = vec![time_column(Signal::Logs), bodies::BODY, "trace_id", "span_id", attributes::SHAPE];
    let mut rows = read_stored(part, index.clone(), ranges, needed)?;
    let (mut sampled, mut next, mut left) = (vec![], 0, SAMPLED_BYTES / parts);
    while let Some(batch) = rows.try_next().await?
        && left > 0
    {
        let taken: Vec<usize> = (next..batch.num_rows()).step_by(step).collect();
        next = taken.last().map_or(next, |last| last + step) - batch.num_rows();
        if !taken.is_empty() {
            let taken: Vec<(usize, usize)> = taken.into_iter().map(|row| (0, row)).collect();
            let taken = interleave_record_batch(&[&batch], &taken).and_then(|taken| shapes.numbered(&taken));
            let taken = taken.map_err(|why| part.damaged(&part.meta.data_path(), why))?;
            left = left.saturating_sub(taken.get_array_memory_size());
            sampled.push(taken);
        }
    }
    Ok(sampled)
}

/// Stored rows in the part's order.
fn read_stored(
    part: &Arc<Part>,
    index: Arc<Index>,
    ranges: Ranges,
    needed: Vec<&'static str>,
) -> Result<PartStream, Damaged> {
    let path = part.meta.data_path();
    let columns = index.columns(&needed);
    let stream = if part.meta.signal == Signal::Logs && index.is_straight(&columns) {
        let metadata = &index.metadata;
        let straight = Straight::of(part.clone(), &index, [metadata, metadata], &ranges, vec![], columns);
        straight.in_batches_of(index.merge_rows()).stream().boxed()
    } else {
        let selection = Some(selection(ranges.0.into_iter(), index.total()));
        let read =
            Read { projection: index.mask(&columns), rows: index.merge_rows(), selection, ..Read::default() };
        let stream = part.objects().read(&path, &index.metadata, read).map_err(|e| part.damaged(&path, e))?;
        stream.map_err(ArrowError::from).boxed()
    };
    let part = part.clone();
    let stream = stream.and_then(move |batch| {
        let batch = index.packed.unpack(batch, &index.shapes);
        futures::future::ready(batch.and_then(|batch| index.whole(batch, &needed, false)))
    });
    Ok(stream.map_err(move |e| part.damaged(&path, e)).boxed())
}

impl Index {
    /// Rows that are read at a time to be merged.
    fn merge_rows(&self) -> usize {
        let bytes: u64 = self.runs.iter().map(|run| run.bytes).sum();
        let of_a_row = bytes as usize / self.total().max(1);
        (MERGE_BYTES / of_a_row.max(1)).clamp(1, MERGE_ROWS)
    }

    pub fn field_names(&self) -> impl Iterator<Item = &str> {
        self.metadata.schema().fields().iter().map(|field| field.name().as_str())
    }

    /// As [`metadata`](Self::metadata) with the fields of bodies that lie coded in the whole file read coded, too: each distinct
    /// value of a row group once.
    fn coded_metadata(&self) -> &ArrowReaderMetadata {
        let coded = self.coded.get_or_init(|| {
            let schema = self.metadata.schema();
            let as_coded = |field: &Arc<Field>| match bodies::path_of(field.name()) {
                Some(path) if !self.packed.has_form(path) && self.is_coded(field.name()) => {
                    let kind = DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8));
                    Arc::new(field.as_ref().clone().with_data_type(kind))
                }
                _ => field.clone(),
            };
            let fields: Vec<Arc<Field>> = schema.fields().iter().map(as_coded).collect();
            let schema = Schema::new_with_metadata(fields, schema.metadata().clone());
            let options = ArrowReaderOptions::new().with_schema(Arc::new(schema));
            ArrowReaderMetadata::try_new(self.metadata.metadata().clone(), options).ok()
        });
        coded.as_ref().unwrap_or(&self.metadata)
    }

    /// Whether no page of the column has values by themselves.
    pub fn is_coded(&self, name: &str) -> bool {
        self.every_chunk(name, |chunk| match chunk.page_encoding_stats_mask() {
            _ if chunk.dictionary_page_offset().is_none() => false,
            Some(of_pages) => of_pages.is_only(Encoding::RLE_DICTIONARY),
            None => chunk.encodings().all(|encoding| encoding != Encoding::DELTA_LENGTH_BYTE_ARRAY),
        })
    }

    /// Paths of JSON bodies that have a column, and which of them say few values in each row group.
    pub fn paths(&self) -> Paths {
        let is_few_valued = |path: &&str| {
            let name = bodies::column_of(path);
            let is_small = |chunk: &ColumnChunkMetaData| {
                let dictionary = chunk.dictionary_page_offset();
                dictionary.is_some_and(|at| chunk.data_page_offset() - at <= FEW_VALUES_PACKED_BYTES)
            };
            self.is_coded(&name) && self.every_chunk(&name, is_small)
        };
        let all = bodies::named(self.field_names());
        let few_valued = all.iter().copied().filter(is_few_valued).map(str::to_owned).collect();
        Paths { all: all.into_iter().map(str::to_owned).collect(), few_valued }
    }

    /// Of a column, in all row groups.
    pub fn every_chunk(&self, name: &str, holds: impl Fn(&ColumnChunkMetaData) -> bool) -> bool {
        self.metadata.metadata().row_groups().iter().all(|rows| {
            let column = rows.columns().iter().find(|column| column.column_path().string() == name);
            column.is_some_and(&holds)
        })
    }

    /// Whether nothing is in a column, neither an item nor a letter, as the file's own counts say. It is not read: each
    /// column costs as much to open as if there were something in it.
    pub fn is_blank(&self, name: &str) -> bool {
        let Some((_, leaf)) = MAY_BE_BLANK.iter().find(|(column, _)| *column == name) else { return false };
        self.metadata.metadata().row_groups().iter().all(|rows| {
            let counted = rows.columns().iter().find(|column| column.column_path().parts() == *leaf);
            let counts = counted.and_then(|column| Some((column, column.statistics()?)));
            counts.is_some_and(|(column, counts)| match (leaf.len(), counts) {
                (1, Statistics::Int32(numbers)) => numbers.max_opt() == Some(&0),
                (1, texts) => texts.max_bytes_opt().is_some_and(<[u8]>::is_empty) && texts.max_is_exact(),
                _ => counts.null_count_opt().is_some_and(|nulls| nulls == column.num_values() as u64),
            })
        })
    }

    /// The leaf of the file whose counts tell where a column is blank.
    pub fn blank_leaf(&self, name: &str) -> Option<usize> {
        let (_, leaf) = MAY_BE_BLANK.iter().find(|(column, _)| *column == name)?;
        let columns = self.metadata.parquet_schema().columns();
        columns.iter().position(|column| column.path().parts() == *leaf)
    }

    fn blank(&self, name: &str, rows: usize) -> Result<ArrayRef, ArrowError> {
        if !self.is_blank(name) {
            return Err(ArrowError::SchemaError(format!("no column {name}")));
        }
        nothing(stored::schema(self.signal).field_with_name(name)?.data_type(), rows)
    }

    /// The metadata with which columns of attributes are read as words.
    fn words_metadata(&self) -> Result<&ArrowReaderMetadata, ParquetError> {
        if let Some(made) = self.words_metadata.get() {
            return Ok(made);
        }
        let word = |field: &Arc<Field>| match attributes::has_own_column(field.name()) {
            true => Arc::new(Field::new(field.name(), crate::schema::word(), true)),
            false => field.clone(),
        };
        let schema = Schema::new(self.metadata.schema().fields().iter().map(word).collect::<Vec<_>>());
        let options = ArrowReaderOptions::new().with_schema(Arc::new(schema));
        let made = ArrowReaderMetadata::try_new(self.metadata.metadata().clone(), options)?;
        Ok(self.words_metadata.get_or_init(|| made))
    }

    /// Columns of the file that the stored columns and these fields are made of.
    fn columns_and_fields(&self, stored: &[&str], fields: &[SpanField]) -> Vec<usize> {
        let mut columns = self.columns(stored);
        let names: Vec<&str> = self.field_names().collect();
        let mut add = |name: &str| columns.extend(names.iter().position(|other| *other == name));
        for field in fields {
            match field {
                SpanField::Resource(_) | SpanField::Resources => add(GROUP),
                // Who has the roots adds what tells them.
                SpanField::Root => {}
                SpanField::Span(name) => {
                    let own = attributes::column_of(name);
                    add(attributes::SHAPE);
                    if names.contains(&own.as_str()) {
                        add(&own);
                    } else if self.has_other_attributes() {
                        add(attributes::REST);
                    }
                }
            }
        }
        columns.sort_unstable();
        columns.dedup();
        columns
    }

    fn mask(&self, columns: &[usize]) -> ProjectionMask {
        ProjectionMask::roots(self.metadata.parquet_schema(), columns.iter().copied())
    }

    /// Columns of the file that the stored columns are made of.
    fn columns(&self, stored: &[&str]) -> Vec<usize> {
        let body = stored.contains(&bodies::BODY);
        let mut all: Vec<String> =
            self.field_names().filter(|name| body && bodies::is_column(name)).map(str::to_owned).collect();
        self.packed.needs_of_lines(&mut all);
        self.columns_with(stored, &all)
    }

    /// The same with only these columns of the bodies.
    fn columns_with(&self, stored: &[&str], of_bodies: &[String]) -> Vec<usize> {
        let attributes = self.has_attributes
            && stored.iter().any(|name| [attributes::REST, attributes::TYPES, VALUES].contains(name));
        let mut of_bodies = of_bodies.to_vec();
        self.packed.needs_of_forms(&mut of_bodies);
        let wanted = |name: &str| {
            (stored.contains(&name)
                && name != attributes::REST
                && name != bodies::BODY
                && !self.is_blank(name))
                || (attributes && attributes::is_column(name))
                || of_bodies.iter().any(|other| other == name)
        };
        self.field_names().enumerate().filter(|(_, name)| wanted(name)).map(|(at, _)| at).collect()
    }

    /// Labels or values of JSON bodies that the selection asks for, where this file can tell them without the bodies.
    fn labels(&self, select: &Select) -> Option<bodies::Labels> {
        let Select::Logs(select) = select else { return None };
        if self.shapes.is_empty() {
            return None;
        }
        if !select.json_values.is_empty() {
            return bodies::Labels::of_values(&select.json_values, &self.shapes);
        }
        if select.json_labels.is_empty() {
            return None;
        }
        let paths = bodies::named(self.field_names());
        bodies::Labels::new(&select.json_labels, &paths)
    }

    /// The published rows with the columns of [`LogSelect::json_labels`] or [`LogSelect::json_values`].
    fn with_labels(
        &self,
        published: RecordBatch,
        read: &RecordBatch,
        labels: &bodies::Labels,
    ) -> Result<RecordBatch, ArrowError> {
        let (_, known) = bodies::whole_or_known(read)?;
        let mut fields: Vec<Arc<Field>> = published.schema().fields().iter().cloned().collect();
        let mut columns = published.columns().to_vec();
        let field = |name: &str, kind| Arc::new(Field::new(name, kind, true));
        fields.push(field(crate::schema::JSON_KNOWN, DataType::Boolean));
        columns.push(Arc::new(known));
        for (name, values) in labels.names().zip(labels.read(read, &self.shapes)?) {
            fields.push(field(name, values.data_type().clone()));
            columns.push(values);
        }
        let rows = arrow::array::RecordBatchOptions::new().with_row_count(Some(published.num_rows()));
        RecordBatch::try_new_with_options(Arc::new(Schema::new(fields)), columns, &rows)
    }

    /// Whether rows can have the attributes by which spans are selected.
    fn may_have_attributes(&self, select: &Select) -> bool {
        let Select::Spans(select, _) = select else { return true };
        let may_have = |name: &str| {
            let column = attributes::column_of(name);
            self.has_other_attributes() || self.field_names().any(|field| field == column)
        };
        select.attributes.iter().all(|(name, _)| may_have(name))
    }

    /// What judges spans by what is asked of some of their columns.
    fn judge_by_test(self: &Arc<Self>, test: SpanTest) -> Judge {
        let needed = needed(Signal::Spans, &test.columns.0);
        let mut columns = self.columns_and_fields(&needed, &test.fields);
        if columns.is_empty() {
            // All of them are blank: how many rows there are, a column of few words tells at least cost.
            columns.extend(self.field_names().position(|name| name == GROUP));
        }
        let index = self.clone();
        let judge = move |batch: RecordBatch| {
            let whole = index.whole(batch.clone(), &needed, false)?;
            let published = publish(Signal::Spans, &index.groups, &whole, &test.columns.0)?;
            let rows = with_fields(published, &batch, (&index.groups, None), &test.fields)?;
            Ok(BooleanArray::from((test.passing)(&rows)))
        };
        Judge { columns, judges_texts: false, only_narrows: true, judge: Box::new(judge) }
    }

    /// What judges spans by attributes, each by the one column that it is in.
    fn attribute_judges(&self, select: &Select) -> Vec<Judge> {
        let Select::Spans(select, _) = select else { return vec![] };
        let judge = |(name, text): &(String, String)| {
            let column = attributes::column_of(name);
            let has_own = self.field_names().any(|field| field == column);
            let column = if has_own { column.as_str() } else { attributes::REST };
            let columns = self.field_names().enumerate().filter(|(_, field)| *field == column);
            let mut judged = attributes::Judged::new(name, text);
            Judge {
                columns: columns.map(|(at, _)| at).collect(),
                judges_texts: false,
                only_narrows: false,
                judge: Box::new(move |batch| judged.mask(&batch)),
            }
        };
        select.attributes.iter().map(judge).collect()
    }

    /// Judges rows by the columns that `judged_by` are made of.
    fn judge(
        self: &Arc<Self>,
        select: Select,
        judged_by: &[&'static str],
        (needles, tests): (Vec<Needle>, CodedTests),
        automata: &Automata,
    ) -> Judge {
        let groups = self.groups.clone();
        let Select::Logs(logs) = &select else {
            return Judge {
                columns: self.columns(judged_by),
                judges_texts: false,
                only_narrows: false,
                judge: Box::new(move |batch| {
                    Ok(select.mask(&times::batch_in_nanoseconds(Signal::Spans, batch)?, &groups))
                }),
            };
        };
        // Bodies are judged in the shape in which they lie.
        let mut conditions = Conditions::new(self, needles, &logs.patterns, automata);
        let mut of_bodies = conditions.columns();
        let judges_texts = of_bodies.iter().any(|name| bodies::path_of(name).is_some());
        let tests = if judges_texts { CodedTests::default() } else { tests };
        of_bodies.extend(tests.columns());
        let own = |name: &str| name != bodies::BODY && judged_by.contains(&name);
        let wanted = |name: &str| own(name) || of_bodies.iter().any(|other| other == name);
        let columns =
            self.field_names().enumerate().filter(|(_, name)| wanted(name)).map(|(at, _)| at).collect();
        let select = Select::Logs(LogSelect { contains: vec![], patterns: vec![], ..logs.clone() });
        let judge = move |batch: RecordBatch| {
            let batch = times::batch_in_nanoseconds(Signal::Logs, batch)?;
            let mask = select.mask(&batch, &groups);
            if conditions.is_empty() && tests.is_empty() {
                return Ok(mask);
            }
            let mut wanted: Vec<bool> = mask.values().iter().collect();
            tests.mask(&batch, &mut wanted);
            if !conditions.is_empty() {
                conditions.mask(&batch, &mut wanted)?;
            }
            Ok(wanted.into())
        };
        Judge { columns, judges_texts, only_narrows: false, judge: Box::new(judge) }
    }

    /// Stored columns out of what was read of the file. Bodies that were taken apart stay empty where `labels_only`.
    fn whole(
        &self,
        read: RecordBatch,
        needed: &[&str],
        labels_only: bool,
    ) -> Result<RecordBatch, ArrowError> {
        if let Some(numbers) = read.column_by_name(GROUP) {
            let numbers = arrow::array::AsArray::as_primitive_opt(numbers);
            self.groups
                .check(numbers.ok_or_else(|| ArrowError::SchemaError("groups are no numbers".into()))?)?;
        }
        let wants_attributes =
            needed.iter().any(|name| *name == attributes::REST || *name == attributes::TYPES);
        let restored = match wants_attributes {
            true if self.has_attributes => Some(attributes::restore(&read)?),
            true => Some(attributes::none(read.num_rows())),
            false => None,
        };
        let kept = needed.contains(&attributes::SHAPE).then_some(read.num_rows());
        let none = kept.filter(|_| !self.has_attributes).map(shapes::none).transpose()?;
        let (mut fields, mut columns): (Vec<Arc<Field>>, Vec<ArrayRef>) = (vec![], vec![]);
        for name in needed {
            let column = match (*name, &restored) {
                (attributes::SHAPE, _) if let Some([shapes, _]) = &none => shapes.clone(),
                (VALUES, _) if let Some([_, values]) = &none => values.clone(),
                (VALUES, _) => attributes::restore_values(&read)?,
                (attributes::REST, Some((map, _))) => map.clone(),
                (attributes::TYPES, Some((_, types))) => types.clone(),
                (bodies::BODY, _) if labels_only => Arc::new(bodies::whole_or_known(&read)?.0),
                (bodies::BODY, _) => Arc::new(bodies::restore(&read, &self.shapes)?),
                _ => match read.column_by_name(name) {
                    Some(column) => times::in_nanoseconds(self.signal, name, column)?,
                    None => self.blank(name, read.num_rows())?,
                },
            };
            fields.push(Arc::new(Field::new(*name, column.data_type().clone(), true)));
            columns.push(column);
        }
        let rows = arrow::array::RecordBatchOptions::new().with_row_count(Some(read.num_rows()));
        let schema = Arc::new(Schema::new(fields));
        RecordBatch::try_new_with_options(schema, columns, &rows)
    }
}

/// So many empty texts, lists or maps, or zeros.
pub fn nothing(kind: &DataType, rows: usize) -> Result<ArrayRef, ArrowError> {
    Ok(match kind {
        DataType::List(item) => {
            let (none, items) = (OffsetBuffer::new_zeroed(rows), new_empty_array(item.data_type()));
            Arc::new(ListArray::try_new(item.clone(), none, items, None)?)
        }
        DataType::Map(..) => empty_maps(&new_empty_array(kind), rows)
            .ok_or_else(|| ArrowError::SchemaError("a map that is none".into()))?,
        DataType::Utf8 => {
            Arc::new(StringArray::try_new(OffsetBuffer::new_zeroed(rows), Buffer::from(&[]), None)?)
        }
        DataType::UInt32 => Arc::new(UInt32Array::from(vec![0; rows])),
        other => return Err(ArrowError::SchemaError(format!("{other} is never blank"))),
    })
}

impl Judge {
    /// Lets every row pass.
    fn of_nothing() -> Judge {
        let judge = |batch: RecordBatch| Ok(BooleanArray::from(vec![true; batch.num_rows()]));
        Judge { columns: vec![], judges_texts: false, only_narrows: false, judge: Box::new(judge) }
    }

    fn predicate(self, index: &Index) -> Box<dyn ArrowPredicate> {
        Box::new(ArrowPredicateFn::new(index.mask(&self.columns), self.judge))
    }
}
