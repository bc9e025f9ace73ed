//! A part of rows: sorted Parquet, and a side index with its groups, its runs (streams, or service and span name), an id
//! index and for logs the words by page. Layout: FORMAT.md.

mod attributes;
mod bodies;
mod cells;
mod full_text;
mod ids;
mod needles;
mod ranges;
mod times;
mod words;
mod writer;

use attributes::named;
pub use writer::Writer;

use super::groups::{Group, GroupColumns};
use super::stored::{self, needed, publish};
use super::{logs, spans};
use crate::objects::Read;
use crate::part::{Damaged, Part, Signal};
use crate::rows::tokens::Clues;
use crate::side_index::{Cursor, open, put_block};
use crate::snapshot::LogStreamInfo;
use arrow::array::{ArrayRef, AsArray, ListArray, RecordBatch, StringArray, new_empty_array};
use arrow::buffer::{Buffer, OffsetBuffer};
use arrow::compute::filter_record_batch;
use arrow::datatypes::DataType;
use arrow::error::ArrowError;
use cells::{Cells, Grid};
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use ids::Ids;
use model::{LogSelect, SpanSelect, TimeRange};
use needles::Needle;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ArrowPredicateFn, ArrowReaderMetadata, RowFilter};
use ranges::Ranges;
use std::sync::Arc;
use words::Words;

/// Rows of a page: the unit of the word index and of what is read at least. Half as many lines cost half as much to
/// look through, and 1 % more bytes; a trace's spans lie in as many pages as it has operations.
pub const LOG_PAGE_ROWS: usize = 4_096;
pub const SPAN_PAGE_ROWS: usize = 2_048;

/// Rows of each part in memory while several are merged.
const MERGE_ROWS: usize = 2_048;

/// Columns of spans that are often blank, and the column of the file whose counts tell: of a list one whose items are never null.
const MAY_BE_BLANK: [(&str, &[&str]); 4] = [
    ("trace_state", &["trace_state"]),
    ("status_message", &["status_message"]),
    ("events", &["events", "list", "item", "ts"]),
    ("links", &["links", "list", "item", "trace_id"]),
];

const FORMAT: &str = "BNCLROW";
const VERSION: u8 = b'4';

/// Rows that follow one another and have one key: the labels of their group, or its service and a span name.
#[derive(Default)]
pub struct Run {
    /// Of its first row; others may differ in what is not the key.
    pub group: u32,
    /// Of the spans; empty for logs.
    pub name: String,
    pub first_row: u32,
    pub rows: u32,
    pub first_ts: i64,
    pub last_ts: i64,
    /// Bytes of the bodies.
    pub bytes: u64,
    pub duration_max: i64,
    pub errors: u32,
}

pub struct Index {
    signal: Signal,
    pub runs: Vec<Run>,
    pub groups: Arc<GroupColumns>,
    ids: Ids,
    words: Option<Words>,
    /// Some row has attributes.
    has_attributes: bool,
    /// Of bodies that were taken apart.
    shapes: Arc<bodies::Shapes>,
    pub metadata: ArrowReaderMetadata,
}

/// How the rows of a part lie: which attributes and paths of JSON bodies have a column of their own, and the unit of the
/// times.
#[derive(Clone, Default)]
pub struct Layout {
    pub attributes: Vec<String>,
    pub bodies: Vec<String>,
    pub times: times::Unit,
}

impl Layout {
    /// For rows in memory: columns for what enough of them have.
    pub fn of(signal: Signal, batches: &[RecordBatch]) -> Layout {
        let column = |name: &'static str| batches.iter().filter_map(move |batch| batch.column_by_name(name));
        Layout {
            times: times::Unit::of(signal, batches),
            attributes: attributes::frequent(
                column(attributes::REST).filter_map(|column| column.as_map_opt()),
            ),
            bodies: bodies::frequent(column(bodies::BODY).filter_map(|column| column.as_string_opt())),
        }
    }

    /// For the rows of several files: the columns of any, as far as there is room.
    pub fn joined(signal: Signal, indexes: &[Arc<Index>]) -> Layout {
        let units = indexes.iter().map(|index| times::Unit::named(signal, index.metadata.schema()));
        Layout {
            times: units.min().unwrap_or_default(),
            attributes: attributes::joined(indexes.iter().map(|index| named(index.field_names()))),
            bodies: bodies::joined(indexes.iter().map(|index| bodies::named(index.field_names()))),
        }
    }
}

impl Index {
    pub fn decode(signal: Signal, bytes: &[u8], metadata: ArrowReaderMetadata) -> Result<Index, String> {
        let raw = open(FORMAT, VERSION, bytes)?;
        let mut rest = Cursor(&raw);
        let mut groups = vec![];
        for _ in 0..rest.u32()? {
            groups.push(Arc::new(Group::decode(&mut rest)?));
        }
        let (mut runs, mut first_row) = (vec![], 0u32);
        for _ in 0..rest.u32()? {
            let run = Run::decode(&mut rest, first_row)?;
            if run.group as usize >= groups.len() {
                return Err("a run is of no group".into());
            }
            first_row = first_row.checked_add(run.rows).ok_or("it counts more rows than a part can have")?;
            runs.push(run);
        }
        if i64::from(first_row) != metadata.metadata().file_metadata().num_rows() {
            return Err("its rows are not those of the Parquet file".into());
        }
        let ids = Ids::decode(rest.block()?)?;
        let words = match rest.block()? {
            [] => None,
            block => Some(Words::open(block)?),
        };
        let [has_attributes] = rest.array()?;
        let mut shapes = vec![];
        for _ in 0..rest.u32()? {
            shapes.push(String::from_utf8(rest.block()?.to_vec()).map_err(|e| e.to_string())?);
        }
        if !rest.0.is_empty() {
            Group::decode_scopes(&mut groups, &mut rest)?;
        }
        let shapes = bodies::Shapes::parse(&shapes).ok_or("a body's shape is no list of texts")?;
        let groups = Arc::new(GroupColumns::new(signal, groups));
        Ok(Index {
            signal,
            runs,
            groups,
            ids,
            words,
            has_attributes: has_attributes != 0,
            shapes: Arc::new(shapes),
            metadata,
        })
    }

    pub fn group_of(&self, run: &Run) -> &Group {
        &self.groups.groups()[run.group as usize]
    }

    fn total(&self) -> usize {
        self.runs.last().map_or(0, |run| (run.first_row + run.rows) as usize)
    }

    fn passing<'a>(&'a self, select: &'a LogSelect) -> impl Iterator<Item = &'a Run> {
        self.runs.iter().filter(|run| {
            let labels = &self.group_of(run).labels;
            select.range.overlaps(run.first_ts, run.last_ts)
                && select.matchers.iter().all(|matcher| matcher.matches_labels(labels))
        })
    }

    /// Rows that can be wanted, and the strings they are to be looked through for.
    fn log_ranges(&self, select: &LogSelect) -> Result<(Ranges, Vec<Needle>), String> {
        let plain = select.contains.is_empty() && select.trace_id.is_none() && select.words.is_empty();
        let keep = select.limit.filter(|_| plain);
        let mut ranges = Ranges::new(self.passing(select).map(|run| run.rows_kept(keep, select)));
        let mut needles: Vec<Needle> =
            select.contains.iter().map(|text| Needle::new(text, &self.shapes)).collect();
        let Some(words) = &self.words else { return Ok((ranges, needles)) };
        let paths = bodies::named(self.field_names());
        let grid = Grid::of_fields(paths.len());
        let mut cells = Cells::new(grid, self.total(), words, &self.ids);
        if let Some(id) = select.trace_id {
            let clues = Clues { ids: vec![hex::encode(id)], ..Clues::default() };
            let pages = cells.pages(Some(grid.trace_ids()), clues)?;
            ranges = ranges.and(&pages.ranges(self.total()));
        }
        for query in select.words.iter().filter(|_| self.total() > 0) {
            let pages = full_text::pages(query, &self.shapes, &mut cells)?;
            ranges = ranges.and(&pages.ranges(self.total()));
        }
        for needle in &mut needles {
            if !ranges.is_empty() {
                let pages = needle.narrow(&self.shapes, &paths, &mut cells)?;
                ranges = ranges.and(&pages.ranges(self.total()));
            }
        }
        Ok((ranges, needles))
    }

    fn span_ranges(&self, select: &SpanSelect) -> Ranges {
        let of_runs = self.runs.iter().filter_map(|run| {
            let wanted = select.range.overlaps(run.first_ts, run.last_ts)
                && select.service.as_ref().is_none_or(|asked| asked == self.group_of(run).service())
                && select.name.as_ref().is_none_or(|asked| *asked == run.name)
                && select.duration_ns_min.is_none_or(|least| run.duration_max >= least)
                && (!select.errors_only || run.errors > 0);
            wanted.then(|| run.range())
        });
        let mut ranges = Ranges::new(of_runs);
        if !select.trace_ids.is_empty() {
            let rows_of = |id: &model::TraceId| self.ids.rows(&hex::encode(id)).0;
            let mut of_traces: Vec<_> = select.trace_ids.iter().flat_map(rows_of).collect();
            of_traces.sort_unstable_by_key(|range| range.start);
            ranges = ranges.and(&Ranges::new(of_traces));
        }
        ranges
    }

    /// Streams with records in the range; at its edges the share of a run that lies in it is estimated.
    pub fn streams(&self, select: &LogSelect) -> Vec<LogStreamInfo> {
        self.passing(select)
            .map(|run| {
                let share = run.share(select.range);
                LogStreamInfo {
                    labels: self.group_of(run).labels.clone(),
                    records: (f64::from(run.rows) * share).ceil() as u64,
                    bytes: (run.bytes as f64 * share).ceil() as u64,
                }
            })
            .collect()
    }
}

impl Run {
    pub fn at(ts: i64) -> Run {
        Run { first_ts: ts, last_ts: ts, ..Run::default() }
    }

    pub fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.group.to_le_bytes());
        put_block(out, self.name.as_bytes());
        out.extend_from_slice(&self.rows.to_le_bytes());
        for number in [self.first_ts, self.last_ts, self.bytes as i64, self.duration_max] {
            out.extend_from_slice(&number.to_le_bytes());
        }
        out.extend_from_slice(&self.errors.to_le_bytes());
    }

    fn decode(rest: &mut Cursor<'_>, first_row: u32) -> Result<Run, String> {
        Ok(Run {
            group: rest.u32()?,
            name: String::from_utf8(rest.block()?.to_vec()).map_err(|e| e.to_string())?,
            first_row,
            rows: rest.u32()?,
            first_ts: rest.i64()?,
            last_ts: rest.i64()?,
            bytes: rest.u64()?,
            duration_max: rest.i64()?,
            errors: rest.u32()?,
        })
    }

    fn range(&self) -> std::ops::Range<usize> {
        let first = self.first_row as usize;
        first..first + self.rows as usize
    }

    /// With a limit and nothing else to judge, only the rows at the wanted end of the stream can be among the first.
    fn rows_kept(&self, keep: Option<usize>, select: &LogSelect) -> std::ops::Range<usize> {
        let whole = self.range();
        match keep {
            Some(keep) if select.newest_first && self.last_ts <= select.range.end => {
                whole.end.saturating_sub(keep).max(whole.start)..whole.end
            }
            Some(keep) if !select.newest_first && self.first_ts >= select.range.start => {
                whole.start..whole.end.min(whole.start + keep)
            }
            _ => whole,
        }
    }

    fn share(&self, range: TimeRange) -> f64 {
        let (first, last) = (self.first_ts.max(range.start), self.last_ts.min(range.end));
        let (inside, whole) =
            (last.saturating_sub(first) as f64, self.last_ts.saturating_sub(self.first_ts) as f64);
        if whole <= 0.0 { 1.0 } else { (inside / whole).clamp(0.0, 1.0) }
    }
}

pub type PartStream = BoxStream<'static, Result<RecordBatch, Damaged>>;

/// What of the rows to read.
#[derive(Clone)]
pub enum Select {
    Logs(LogSelect),
    Spans(SpanSelect),
}

impl Select {
    pub fn signal(&self) -> Signal {
        match self {
            Select::Logs(_) => Signal::Logs,
            Select::Spans(_) => Signal::Spans,
        }
    }

    pub fn range(&self) -> TimeRange {
        match self {
            Select::Logs(select) => select.range,
            Select::Spans(select) => select.range,
        }
    }

    pub fn mask(&self, batch: &RecordBatch, groups: &GroupColumns) -> arrow::array::BooleanArray {
        match self {
            Select::Logs(select) => logs::mask(batch, groups, select),
            Select::Spans(select) => spans::mask(batch, groups, select),
        }
    }
}

/// The selected rows, projected to `columns` (indices of the signal's public schema).
pub async fn read(part: Arc<Part>, select: Select, columns: Vec<usize>) -> Result<PartStream, Damaged> {
    let index = part.rows_index().await?;
    let path = part.meta.parquet_path();
    let index_path = part.meta.index_path();
    let (ranges, needles) = match &select {
        Select::Logs(select) => index.log_ranges(select).map_err(|why| part.damaged(&index_path, why))?,
        Select::Spans(select) => (index.span_ranges(select), vec![]),
    };
    if ranges.is_empty() {
        return Ok(futures::stream::empty().boxed());
    }
    let (signal, range) = (select.signal(), select.range());
    let times_judged = range.start <= part.meta.first_ts && part.meta.last_ts <= range.end;
    let judged_by = match &select {
        Select::Logs(select) => logs::mask_columns(select, times_judged),
        Select::Spans(select) => spans::mask_columns(select, times_judged),
    };
    let labels = index.labels(&select);
    let needed = needed(signal, &columns);
    // Rows that a trace id names one by one are judged when they are there: to judge them in the file would read its columns
    // twice.
    let named = matches!(&select, Select::Spans(select) if !select.trace_ids.is_empty());
    let judged_after =
        (named && judged_by.iter().all(|column| needed.contains(column))).then(|| select.clone());
    let mut filter = index.attribute_predicates(&select);
    if !judged_by.is_empty() && judged_after.is_none() {
        filter.push(index.predicate(select, &judged_by, needles));
    }
    let filter = (!filter.is_empty()).then(|| RowFilter::new(filter));
    let read = Read {
        projection: match &labels {
            Some(labels) => index.projection_with(&needed, &labels.columns()),
            None => index.projection(&needed),
        },
        selection: Some(crate::metrics::part::selection(ranges.0.into_iter(), index.total())),
        filter,
        ..Read::default()
    };
    let stream = part.objects().read(&path, &index.metadata, read).map_err(|e| part.damaged(&path, e))?;
    let stream = stream.map_err(ArrowError::from).and_then(move |batch| {
        let published = index
            .whole(batch.clone(), &needed, labels.is_some())
            .and_then(|batch| match &judged_after {
                Some(select) => filter_record_batch(&batch, &select.mask(&batch, &index.groups)),
                None => Ok(batch),
            })
            .and_then(|batch| publish(signal, &index.groups, &batch, &columns));
        futures::future::ready(match &labels {
            Some(labels) => published.and_then(|published| index.with_labels(published, &batch, labels)),
            None => published,
        })
    });
    // The part is held until the stream is dropped, so that its file stays.
    Ok(stream.map_err(move |e| part.damaged(&path, e)).boxed())
}

/// All stored rows in the part's order, for merging.
pub async fn read_all(part: &Arc<Part>) -> Result<PartStream, Damaged> {
    let index = part.rows_index().await?;
    let path = part.meta.parquet_path();
    let schema = stored::schema(part.meta.signal);
    let needed: Vec<&'static str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
    let read = Read { projection: index.projection(&needed), rows: MERGE_ROWS, ..Read::default() };
    let stream = part.objects().read(&path, &index.metadata, read).map_err(|e| part.damaged(&path, e))?;
    let part = part.clone();
    let stream = stream
        .map_err(ArrowError::from)
        .and_then(move |batch| futures::future::ready(index.whole(batch, &needed, false)));
    Ok(stream.map_err(move |e| part.damaged(&path, e)).boxed())
}

impl Index {
    fn field_names(&self) -> impl Iterator<Item = &str> {
        self.metadata.schema().fields().iter().map(|field| field.name().as_str())
    }

    /// Whether nothing is in a column, neither an item nor a letter, as the file's own counts say. It is not read: each
    /// column costs as much to open as if there were something in it.
    pub fn is_blank(&self, name: &str) -> bool {
        let Some((_, leaf)) = MAY_BE_BLANK.iter().find(|(column, _)| *column == name) else { return false };
        self.metadata.metadata().row_groups().iter().all(|rows| {
            let counted = rows.columns().iter().find(|column| column.column_path().parts() == *leaf);
            let counts = counted.and_then(|column| Some((column, column.statistics()?)));
            counts.is_some_and(|(column, counts)| match leaf.len() {
                1 => counts.max_bytes_opt().is_some_and(<[u8]>::is_empty) && counts.max_is_exact(),
                _ => counts.null_count_opt().is_some_and(|nulls| nulls == column.num_values() as u64),
            })
        })
    }

    fn blank(&self, name: &str, rows: usize) -> Result<ArrayRef, ArrowError> {
        let missing = || ArrowError::SchemaError(format!("no column {name}"));
        if !self.is_blank(name) {
            return Err(missing());
        }
        match stored::schema(self.signal).field_with_name(name)?.data_type() {
            DataType::List(item) => {
                let (none, items) = (OffsetBuffer::new_zeroed(rows), new_empty_array(item.data_type()));
                Ok(Arc::new(ListArray::try_new(item.clone(), none, items, None)?))
            }
            DataType::Utf8 => {
                Ok(Arc::new(StringArray::try_new(OffsetBuffer::new_zeroed(rows), Buffer::from(&[]), None)?))
            }
            _ => Err(missing()),
        }
    }

    /// Columns of the file that the stored columns are made of.
    fn projection(&self, stored: &[&str]) -> ProjectionMask {
        let body = stored.contains(&bodies::BODY);
        let all: Vec<String> =
            self.field_names().filter(|name| body && bodies::is_column(name)).map(str::to_owned).collect();
        self.projection_with(stored, &all)
    }

    /// The same with only these columns of the bodies.
    fn projection_with(&self, stored: &[&str], of_bodies: &[String]) -> ProjectionMask {
        let attributes = self.has_attributes
            && stored.iter().any(|name| *name == attributes::REST || *name == attributes::TYPES);
        let wanted = |name: &str| {
            (stored.contains(&name)
                && name != attributes::REST
                && name != bodies::BODY
                && !self.is_blank(name))
                || (attributes && attributes::is_column(name))
                || of_bodies.iter().any(|other| other == name)
        };
        let roots = self.field_names().enumerate().filter(|(_, name)| wanted(name)).map(|(at, _)| at);
        ProjectionMask::roots(self.metadata.parquet_schema(), roots.collect::<Vec<_>>())
    }

    /// Labels of JSON bodies that the selection asks for, where this file can tell them without the bodies.
    fn labels(&self, select: &Select) -> Option<bodies::Labels> {
        let Select::Logs(select) = select else { return None };
        if select.json_labels.is_empty() || self.shapes.is_empty() {
            return None;
        }
        let paths = bodies::named(self.field_names());
        bodies::Labels::new(&select.json_labels, &paths)
    }

    /// The published rows with the columns of [`LogSelect::json_labels`].
    fn with_labels(
        &self,
        published: RecordBatch,
        read: &RecordBatch,
        labels: &bodies::Labels,
    ) -> Result<RecordBatch, ArrowError> {
        let (_, known) = bodies::whole_or_known(read)?;
        let mut fields: Vec<Arc<arrow::datatypes::Field>> =
            published.schema().fields().iter().cloned().collect();
        let mut columns = published.columns().to_vec();
        let field = |name: &str, kind| Arc::new(arrow::datatypes::Field::new(name, kind, true));
        fields.push(field(crate::schema::JSON_KNOWN, arrow::datatypes::DataType::Boolean));
        columns.push(Arc::new(known));
        for (name, values) in labels.names().zip(labels.read(read, &self.shapes)?) {
            let name = format!("{}{name}", crate::schema::JSON_LABEL);
            fields.push(field(&name, arrow::datatypes::DataType::Utf8));
            columns.push(Arc::new(values));
        }
        let rows = arrow::array::RecordBatchOptions::new().with_row_count(Some(published.num_rows()));
        RecordBatch::try_new_with_options(Arc::new(arrow::datatypes::Schema::new(fields)), columns, &rows)
    }

    /// Judges spans by attributes, each by the one column that it is in.
    fn attribute_predicates(
        &self,
        select: &Select,
    ) -> Vec<Box<dyn parquet::arrow::arrow_reader::ArrowPredicate>> {
        let Select::Spans(select) = select else { return vec![] };
        let predicate = |(name, text): &(String, String)| {
            let column = attributes::column_of(name);
            let column = if self.field_names().any(|field| field == column) {
                column
            } else {
                attributes::REST.into()
            };
            let projection = ProjectionMask::roots(
                self.metadata.parquet_schema(),
                self.field_names().enumerate().filter(|(_, field)| *field == column).map(|(at, _)| at),
            );
            let (name, text) = (name.clone(), text.clone());
            let judged = move |batch: RecordBatch| {
                attributes::judge(&batch, &name, |own| SpanSelect::fits(&text, own))
            };
            Box::new(ArrowPredicateFn::new(projection, judged))
                as Box<dyn parquet::arrow::arrow_reader::ArrowPredicate>
        };
        select.attributes.iter().map(predicate).collect()
    }

    /// Judges rows by the columns that `judged_by` are made of.
    fn predicate(
        &self,
        select: Select,
        judged_by: &[&'static str],
        needles: Vec<Needle>,
    ) -> Box<dyn parquet::arrow::arrow_reader::ArrowPredicate> {
        let (groups, shapes) = (self.groups.clone(), self.shapes.clone());
        let Select::Logs(logs) = &select else {
            let projection = self.projection(judged_by);
            return Box::new(ArrowPredicateFn::new(projection, move |batch| {
                Ok(select.mask(&times::batch_in_nanoseconds(Signal::Spans, batch)?, &groups))
            }));
        };
        // Bodies are asked for strings in the shape in which they lie.
        let mut of_bodies: Vec<String> = needles.iter().flat_map(|needle| needle.columns(&shapes)).collect();
        of_bodies.sort_unstable();
        of_bodies.dedup();
        let projection = self.projection_with(judged_by, &of_bodies);
        let select = Select::Logs(LogSelect { contains: vec![], ..logs.clone() });
        Box::new(ArrowPredicateFn::new(projection, move |batch: RecordBatch| {
            let batch = times::batch_in_nanoseconds(Signal::Logs, batch)?;
            let mask = select.mask(&batch, &groups);
            if needles.is_empty() {
                return Ok(mask);
            }
            let mut wanted: Vec<bool> = mask.iter().map(|wanted| wanted == Some(true)).collect();
            for needle in &needles {
                needle.mask(&batch, &shapes, &mut wanted)?;
            }
            Ok(wanted.into())
        }))
    }

    /// Stored columns out of what was read of the file. Bodies that were taken apart stay empty where `labels_only`.
    fn whole(
        &self,
        read: RecordBatch,
        needed: &[&str],
        labels_only: bool,
    ) -> Result<RecordBatch, ArrowError> {
        if let Some(numbers) = read.column_by_name(super::groups::GROUP) {
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
        let (mut fields, mut columns): (Vec<Arc<arrow::datatypes::Field>>, Vec<ArrayRef>) = (vec![], vec![]);
        for name in needed {
            let column = match (*name, &restored) {
                (attributes::REST, Some((map, _))) => map.clone(),
                (attributes::TYPES, Some((_, types))) => types.clone(),
                (bodies::BODY, _) if labels_only => Arc::new(bodies::whole_or_known(&read)?.0),
                (bodies::BODY, _) => Arc::new(bodies::restore(&read, &self.shapes)?),
                _ => match read.column_by_name(name) {
                    Some(column) => times::in_nanoseconds(self.signal, name, column)?,
                    None => self.blank(name, read.num_rows())?,
                },
            };
            fields.push(Arc::new(arrow::datatypes::Field::new(*name, column.data_type().clone(), true)));
            columns.push(column);
        }
        let rows = arrow::array::RecordBatchOptions::new().with_row_count(Some(read.num_rows()));
        let schema = Arc::new(arrow::datatypes::Schema::new(fields));
        RecordBatch::try_new_with_options(schema, columns, &rows)
    }
}
