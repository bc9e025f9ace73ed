//! A part of rows: sorted Parquet, and a side index with its groups, its runs (streams, or service and span name), an id
//! index and for logs the words by page. Layout: FORMAT.md.

mod attributes;
mod automaton;
mod batches;
mod bodies;
mod cells;
mod coded;
mod conditions;
mod cut;
mod few;
mod forms;
mod full_text;
mod hybrid;
mod ids;
mod label_tests;
mod needles;
mod packed;
mod page_times;
mod pages;
mod paths;
mod picked;
mod ranges;
mod read;
mod row_group;
mod stamps;
mod straight;
mod templates;
mod times;
mod traces;
mod unpacker;
mod walk;
mod words;
mod words_builder;
mod writer;

use super::shapes::Shape;
use super::spilled::Spilled;
use attributes::named;
pub use attributes::{OfFile as AttributesOfFile, shapes_of};
pub use automaton::Automata;
pub use read::{PartStream, Select, nothing, read, read_all, read_shapes, sample};
pub use times::Unit;
pub use words_builder::Bounds as WordBounds;
pub use writer::Writer;
use writer::{FLUSHED_LOG_GROUP_ROWS, LOG_GROUP_ROWS, RAW_GROUP_ROWS, SPAN_GROUP_ROWS};

use super::groups::{Group, GroupColumns};
use crate::part::{Damaged, Part, Signal};
use crate::rows::tokens::Clues;
use crate::rows::trace_facts::Fact;
use crate::side_index::{Cursor, open, put_block};
use crate::snapshot::LogStreamInfo;
use arrow::array::{AsArray, RecordBatch};
use cells::{Cells, Grid};
use ids::Ids;
use model::{LogSelect, SpanSelect, TimeRange, TraceId};
use needles::Needle;
use parquet::arrow::arrow_reader::ArrowReaderMetadata;
use ranges::Ranges;
use std::ops::Range;
use std::sync::{Arc, OnceLock};
use traces::{Knows, Traces};
pub use traces::{PREFIXES, Rooted, prefix};
use words::Words;

/// Rows of a page: the unit of the word index and of what is read at least. Half as many lines cost half as much to
/// look through, and 1 % more bytes; a trace's spans lie in as many pages as it has operations.
pub const LOG_PAGE_ROWS: usize = 4_096;
pub const SPAN_PAGE_ROWS: usize = 2_048;

/// Columns of spans that are often blank, and the column of the file whose counts tell: of a list one whose items are never null.
const MAY_BE_BLANK: [(&str, &[&str]); 9] = [
    ("trace_state", &["trace_state"]),
    ("flags", &["flags"]),
    ("dropped_attributes", &["dropped_attributes"]),
    ("dropped_events", &["dropped_events"]),
    ("dropped_links", &["dropped_links"]),
    ("status_message", &["status_message"]),
    ("events", &["events", "list", "item", "ts"]),
    ("links", &["links", "list", "item", "trace_id"]),
    (attributes::REST, &[attributes::REST, "entries", "keys"]),
];

const FORMAT: &str = "BNCLROW";
const LOG_VERSION: u8 = b'9';
/// Of logs whose part is raw: rows lie as they came, but in order, and nothing of them is indexed. What comes fast is written so
/// and merged soon, with columns and indexes; a search looks at all lines until then.
const LOG_VERSION_RAW: u8 = b'R';
/// Of logs, read as well, without their indexes of words and ids: a search looks at all lines until the part is merged.
const LOG_VERSIONS_BEFORE: [u8; 2] = [b'8', b'5'];
/// Of logs, read like these: nor are its bodies packed.
const LOG_VERSION_FIRST: u8 = b'4';
const SPAN_VERSION: u8 = b'9';
/// Of spans, read as well: the first one knows nothing of the traces of row groups, the second nothing of whole traces either, and the runs
/// of the last one count too few errors.
const SPAN_VERSIONS_BEFORE: [u8; 3] = [b'8', b'7', SPAN_VERSION_FIRST];
const SPAN_VERSION_FIRST: u8 = b'6';

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
    /// Of logs; what only searches need is not there in an index that is read to merge its part.
    ids: Ids,
    ids_count: usize,
    words: Option<Words>,
    /// Of spans.
    traces: Arc<Traces>,
    /// Bytes that it takes, about.
    bytes: usize,
    is_raw: bool,
    /// Some row has attributes.
    has_attributes: bool,
    /// Of bodies that were taken apart.
    shapes: Arc<bodies::Shapes>,
    packed: Arc<packed::Unpacking>,
    pub metadata: ArrowReaderMetadata,
    /// `None` where it cannot be made.
    coded: OnceLock<Option<ArrowReaderMetadata>>,
    /// The same for who reads columns of attributes as words.
    words_metadata: OnceLock<ArrowReaderMetadata>,
    /// Of columns that are no lists.
    blocks: OnceLock<Option<Arc<row_group::Blocks>>>,
}

/// How the rows of a part lie: which attributes and paths of JSON bodies have a column of their own, and the unit of the
/// times.
#[derive(Clone, Default)]
pub struct Layout {
    pub attributes: Vec<String>,
    pub bodies: paths::Paths,
    pub common: packed::Common,
    pub group_rows: usize,
    pub words: WordBounds,
    /// About as many ids, or rows with an id, as there will be.
    pub ids: usize,
    pub times: times::Unit,
    /// Rows of logs as they came, without columns of their own for anything, or indexes.
    pub is_raw: bool,
}

impl Layout {
    /// For rows in memory: columns for what enough of them have.
    pub fn of(signal: Signal, batches: &[RecordBatch], shapes: &[Arc<Shape>], words: WordBounds) -> Layout {
        let column = |name: &'static str| batches.iter().filter_map(move |batch| batch.column_by_name(name));
        let bodies: Vec<_> = column(bodies::BODY).filter_map(|column| column.as_string_opt()).collect();
        let records: Vec<_> = batches.iter().filter_map(|batch| forms::Records::of(batch).ok()).collect();
        Layout {
            times: times::Unit::of(signal, batches),
            attributes: attributes::frequent(
                column(attributes::SHAPE).filter_map(|column| column.as_primitive_opt()),
                shapes,
            ),
            common: packed::Common::of(&bodies, &records),
            group_rows: if signal == Signal::Spans { SPAN_GROUP_ROWS } else { FLUSHED_LOG_GROUP_ROWS },
            ids: 0,
            words,
            bodies: paths::Paths::frequent(&bodies),
            is_raw: false,
        }
    }

    /// For rows of logs in memory that soon are merged.
    pub fn raw(batches: &[RecordBatch]) -> Layout {
        Layout {
            times: times::Unit::of(Signal::Logs, batches),
            group_rows: RAW_GROUP_ROWS,
            is_raw: true,
            ..Layout::default()
        }
    }

    /// For the rows of several files: the columns of any, as far as there is room. What raw ones would have comes from a
    /// [`sample`] of their rows, and spilled ones know it.
    pub fn joined(
        signal: Signal,
        indexes: &[Arc<Index>],
        (of_raw, shapes): (&[RecordBatch], &[Arc<Shape>]),
        spilled: &[Arc<Spilled>],
        words: WordBounds,
    ) -> Layout {
        let units = indexes.iter().map(|index| times::Unit::named(signal, index.metadata.schema()));
        let units = units.chain(spilled.iter().map(|spilled| spilled.times));
        let sampled = (!of_raw.is_empty()).then(|| Layout::of(signal, of_raw, shapes, words));
        let cooked = || indexes.iter().filter(|index| !index.is_raw);
        let names = sampled.iter().map(|layout| layout.attributes.iter().map(String::as_str).collect());
        let of_files = cooked().map(|index| named(index.field_names()));
        let of_spilled =
            spilled.iter().map(|spilled| spilled.attributes.iter().map(String::as_str).collect());
        let attributes = attributes::joined(of_files.chain(names).chain(of_spilled));
        let mut bodies: Vec<paths::Paths> = cooked().map(|index| index.paths()).collect();
        bodies.extend(sampled.iter().map(|layout| layout.bodies.clone()));
        let bodies = paths::Paths::joined(&bodies);
        let common = cooked().map(|index| index.packed.common());
        Layout {
            times: units.min().unwrap_or_default(),
            attributes,
            group_rows: if signal == Signal::Spans { SPAN_GROUP_ROWS } else { LOG_GROUP_ROWS },
            ids: indexes
                .iter()
                .map(|index| if signal == Signal::Spans { index.total() } else { index.ids_count })
                .chain(spilled.iter().map(|spilled| spilled.rows()))
                .sum(),
            words,
            common: packed::Common::joined(common.chain(sampled.iter().map(|layout| &layout.common))),
            bodies,
            is_raw: false,
        }
    }
}

/// What a part knows of its traces.
pub struct Facts(Arc<Traces>);

impl Facts {
    /// `None` where it knows nothing.
    pub fn of_index(index: &Index) -> Option<Facts> {
        index.traces.has_facts().then(|| Facts(index.traces.clone()))
    }

    pub async fn of(&self, part: &Part, prefixes: Range<u32>) -> Result<Vec<(TraceId, Fact)>, Damaged> {
        let path = part.meta.index_path();
        self.0.facts(part.objects(), &path, prefixes).await.map_err(|why| part.damaged(&path, why))
    }

    /// Hands on the roots of the same traces.
    pub async fn each_root(
        &self,
        part: &Part,
        prefixes: Range<u32>,
        see: impl FnMut(Rooted),
    ) -> Result<(), Damaged> {
        let path = part.meta.index_path();
        let read = self.0.each_root(part.objects(), &path, prefixes, see).await;
        read.map_err(|why| part.damaged(&path, why))
    }

    pub fn count_max(&self) -> usize {
        self.0.count_max()
    }

    pub fn blocks(&self) -> usize {
        self.0.blocks()
    }
}

/// What an index is read for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Use {
    Search,
    Merge,
}

impl Index {
    pub fn decode(signal: Signal, bytes: &[u8], metadata: ArrowReaderMetadata) -> Result<Index, String> {
        Index::decode_for(Use::Search, signal, bytes, metadata)
    }

    /// Without what only searches need.
    pub fn decode_to_merge(
        signal: Signal,
        bytes: &[u8],
        metadata: ArrowReaderMetadata,
    ) -> Result<Index, String> {
        Index::decode_for(Use::Merge, signal, bytes, metadata)
    }

    fn decode_for(
        wanted: Use,
        signal: Signal,
        bytes: &[u8],
        metadata: ArrowReaderMetadata,
    ) -> Result<Index, String> {
        let version = match (signal, bytes.get(7)) {
            (Signal::Spans, Some(older)) if SPAN_VERSIONS_BEFORE.contains(older) => *older,
            (Signal::Spans, _) => SPAN_VERSION,
            (_, Some(other))
                if LOG_VERSIONS_BEFORE.contains(other)
                    || [LOG_VERSION_FIRST, LOG_VERSION_RAW].contains(other) =>
            {
                *other
            }
            _ => LOG_VERSION,
        };
        let is_indexed = signal == Signal::Logs && wanted == Use::Search && version == LOG_VERSION;
        let raw = open(FORMAT, version, bytes)?;
        let mut rest = Cursor(&raw);
        let mut groups = vec![];
        for _ in 0..rest.u32()? {
            groups.push(Arc::new(Group::decode(&mut rest)?));
        }
        let (mut runs, mut first_row) = (vec![], 0u32);
        for _ in 0..rest.u32()? {
            let mut run = Run::decode(&mut rest, first_row)?;
            if version == SPAN_VERSION_FIRST && signal == Signal::Spans {
                run.errors = run.rows;
            }
            if run.group as usize >= groups.len() {
                return Err("a run is of no group".into());
            }
            first_row = first_row.checked_add(run.rows).ok_or("it counts more rows than a part can have")?;
            runs.push(run);
        }
        if i64::from(first_row) != metadata.metadata().file_metadata().num_rows() {
            return Err("its rows are not those of the Parquet file".into());
        }
        let of_ids = rest.block()?;
        let mut ids_count = 0;
        let (ids, traces) = match signal {
            Signal::Spans => {
                let knows = match version {
                    SPAN_VERSION => Knows::Codes,
                    b'8' => Knows::Facts,
                    _ => Knows::Rows,
                };
                (Ids::default(), Arc::new(Traces::decode(of_ids, bytes.len() as u64, knows)?))
            }
            _ => {
                ids_count = Ids::count(of_ids)?;
                let ids = if is_indexed { Ids::decode(of_ids)? } else { Ids::default() };
                (ids, Arc::default())
            }
        };
        let of_words = rest.block()?;
        let words = is_indexed.then(|| Words::open(of_words)).transpose()?;
        // Words stand once more as texts when a part of one was looked for.
        let bytes = raw.len() + of_words.len();
        let [has_attributes] = rest.array()?;
        let mut shapes = vec![];
        for _ in 0..rest.u32()? {
            shapes.push(String::from_utf8(rest.block()?.to_vec()).map_err(|e| e.to_string())?);
        }
        let shapes = bodies::Shapes::parse(&shapes).ok_or("a body's shape is no list of texts")?;
        let common = match version {
            LOG_VERSION_FIRST => packed::Common::default(),
            _ => packed::Common::decode(&mut rest)?,
        };
        if !rest.0.is_empty() {
            Group::decode_more(&mut groups, &mut rest)?;
        }
        let groups = Arc::new(GroupColumns::new(signal, groups));
        Ok(Index {
            signal,
            runs,
            groups,
            ids,
            ids_count,
            words,
            traces,
            bytes,
            is_raw: signal == Signal::Logs && version == LOG_VERSION_RAW,
            has_attributes: has_attributes != 0,
            shapes: Arc::new(shapes),
            packed: Arc::new(packed::Unpacking::new(common)),
            metadata,
            coded: OnceLock::new(),
            words_metadata: OnceLock::new(),
            blocks: OnceLock::new(),
        })
    }

    /// Bytes of memory that it takes, about, beside those of the metadata.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether rows lie as they came.
    pub fn is_raw(&self) -> bool {
        self.is_raw
    }

    pub fn group_of(&self, run: &Run) -> &Group {
        &self.groups.groups()[run.group as usize]
    }

    /// Attributes that have a column.
    pub fn frequent_attributes(&self) -> impl Iterator<Item = &str> {
        named(self.field_names()).into_iter()
    }

    /// Whether some attributes of rows have no column: those that are rare, and the second of a name.
    pub fn has_other_attributes(&self) -> bool {
        self.has_attributes && !self.is_blank(attributes::REST)
    }

    pub fn total(&self) -> usize {
        self.runs.last().map_or(0, |run| (run.first_row + run.rows) as usize)
    }

    fn passing<'a>(&'a self, select: &'a LogSelect) -> impl Iterator<Item = &'a Run> {
        let places = (!select.places.is_empty()).then(|| self.groups.labels_of_places(&select.places));
        self.runs.iter().filter(move |run| {
            let labels = &self.group_of(run).labels;
            places.as_ref().is_none_or(|places| places.contains(labels))
                && select.range.overlaps(run.first_ts, run.last_ts)
                && select.matchers.iter().all(|matcher| matcher.matches_labels(labels))
        })
    }

    /// Rows that can be wanted, and the strings they are to be looked through for.
    fn log_ranges(&self, select: &LogSelect) -> Result<(Ranges, Vec<Needle>), String> {
        let judged = !select.contains.is_empty() || !select.patterns.is_empty() || select.trace_id.is_some();
        let plain = !judged && select.words.is_empty();
        let keep = select.limit.filter(|_| plain);
        // Some of a stream's rows may be of other places, so that its last ones need not be any that are wanted.
        let beside = keep.map(|_| self.groups.labels_beside_places(&select.places)).unwrap_or_default();
        let rows_of = |run: &Run| {
            let keep = keep.filter(|_| !beside.contains(&self.group_of(run).labels));
            run.rows_kept(keep, select)
        };
        let mut ranges = Ranges::new(self.passing(select).map(rows_of));
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

    /// How many rows the indexes leave to be looked at.
    #[cfg(test)]
    pub fn rows_to_look_at(&self, select: &LogSelect) -> usize {
        let ranges = self.log_ranges(select).map(|(ranges, _)| ranges).unwrap_or_default();
        (0..self.total()).filter(|row| ranges.contains(*row)).count()
    }

    /// Rows of runs that can be wanted.
    fn span_ranges(&self, select: &SpanSelect) -> Ranges {
        let of_runs = self.runs.iter().filter_map(|run| {
            let wanted = select.range.overlaps(run.first_ts, run.last_ts)
                && select.service.as_ref().is_none_or(|asked| asked == self.group_of(run).service())
                && select.name.as_ref().is_none_or(|asked| *asked == run.name)
                && select.duration_ns_min.is_none_or(|least| run.duration_max >= least)
                && (!select.errors_only || run.errors > 0);
            wanted.then(|| run.range())
        });
        let ranges = Ranges::new(of_runs);
        let is_whole = |run: &Run| select.range.start <= run.first_ts && run.last_ts <= select.range.end;
        if ranges.is_empty() || self.runs.iter().all(is_whole) {
            return ranges;
        }
        match self.rows_within(select.range) {
            Some(rows) => ranges.and(&rows),
            None => ranges,
        }
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
