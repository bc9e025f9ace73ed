//! Writes a part of rows: pieces go in in the order of the part, the two files come out. What it holds meanwhile is one row
//! group, compressed, and what will be the side index.

use super::attributes::{REST, SHAPE, Shredder};
use super::cells::{Grid, WHOLE};
use super::forms::Records;
use super::times::Unit;
use super::{
    FORMAT, LOG_PAGE_ROWS, LOG_VERSION, LOG_VERSION_RAW, Layout, MAY_BE_BLANK, Run, SPAN_PAGE_ROWS,
    SPAN_VERSION, bodies, ids, packed, traces, words_builder,
};
use crate::part::{PartFiles, Signal};
use crate::rows::groups::{GROUP, Group, GroupColumns, words_of};
use crate::rows::order::{Key, Row, times};
use crate::rows::shapes::{self, Shape, VALUES};
use crate::rows::stored::{self, numbers, time_column};
use crate::rows::trace_facts::spans_of;
use crate::schema;
use crate::side_index::{Sealing, put_block};
use crate::spool::Spool;
use arrow::array::{ArrayRef, AsArray, RecordBatch, StringArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef, UInt32Type};
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::file::properties::{
    EnabledStatistics, WriterProperties, WriterPropertiesBuilder, WriterVersion,
};
use parquet::schema::types::ColumnPath;
use std::io::Write;
use std::sync::Arc;

/// A row group's compressed columns are held while it is written and fetched whole when it is merged, so that groups of
/// what was just flushed, of which many are merged at a time, are smaller. Spans of one trace lie all over the part, and
/// only a dictionary of the whole part has their trace id once. All are whole pages.
pub const LOG_GROUP_ROWS: usize = 1 << 16;
pub const FLUSHED_LOG_GROUP_ROWS: usize = 1 << 14;
pub const SPAN_GROUP_ROWS: usize = if cfg!(test) { 1 << 12 } else { 1 << 20 };

/// Two dozen raw parts are merged at a time, and of each a row group as it is compressed and a page of whole lines are in memory.
pub const RAW_GROUP_ROWS: usize = 1 << 12;
const RAW_PAGE_ROWS: usize = 1 << 9;
const RAW_PAGE_BYTES: usize = 1 << 20;
/// After so many it is looked whether the page is full of bytes.
const RAW_WRITE_ROWS: usize = 128;

/// Whoever reads one page of a column reads its dictionary too. Values that are all different would fill one of a MiB
/// in each row group, and a needle in ten pages of a million lines spent most of its time on these.
const FIELD_DICTIONARY_BYTES: usize = 32 << 10;

/// Of fields that seemed to have few values and turn out to have more, which then stand as they are.
const FEW_VALUED_DICTIONARY_BYTES: usize = 128 << 10;

/// The same of spans, whose row groups are larger: names of users and the like repeat more often in them.
const ATTRIBUTE_DICTIONARY_BYTES: usize = 256 << 10;

/// Trace ids repeat some ten times in spans of a part and are found again in its dictionary: 1 M traces fit.
const TRACE_DICTIONARY_BYTES: usize = 16 << 20;

pub struct Writer {
    signal: Signal,
    groups: GroupColumns,
    /// By rank.
    keys: Vec<Key>,
    shredder: Shredder,
    /// Of logs.
    bodies: Option<bodies::Shredder>,
    packing: packed::Packing,
    schema: SchemaRef,
    parquet: ArrowWriter<Spool>,
    runs: Vec<Run>,
    last_rank: Option<u32>,
    /// Of logs.
    ids: ids::Ids,
    /// Of spans.
    traces: traces::Builder,
    words: Option<words_builder::Builder>,
    /// Of logs that are indexed.
    grid: Option<Grid>,
    is_raw: bool,
    rows: usize,
}

impl Writer {
    /// `keys` are those of all rows that will come, `layout` how they will lie.
    pub fn new(
        signal: Signal,
        groups: GroupColumns,
        keys: Vec<Key>,
        layout: Layout,
        spool: Spool,
    ) -> anyhow::Result<Writer> {
        let shredder = Shredder::new(layout.attributes);
        let bodies = (signal == Signal::Logs).then(|| bodies::Shredder::new(layout.bodies.all));
        let indexed = bodies.as_ref().filter(|_| !layout.is_raw);
        let grid = indexed.map(|bodies| Grid::of_fields(bodies.paths().len()));
        let packing = packed::Packing::new(layout.common);
        let mut of_bodies: Vec<Field> = bodies.iter().flat_map(bodies::Shredder::fields).collect();
        of_bodies.extend(packing.common().fields());
        let of_groups = if layout.is_raw { vec![] } else { fields_of_groups(signal) };
        let schema = file_schema(signal, layout.times, &shredder, of_bodies, of_groups);
        let mut properties = properties(signal, &schema, layout.group_rows, layout.is_raw)?;
        if signal == Signal::Logs && !layout.is_raw {
            properties = without_room_for_more(properties, &schema, &layout.bodies.few_valued);
        }
        let properties = properties.build();
        Ok(Writer {
            signal,
            groups,
            keys,
            shredder,
            bodies,
            packing,
            parquet: ArrowWriter::try_new(spool, schema.clone(), Some(properties))?,
            schema,
            runs: vec![],
            last_rank: None,
            ids: ids::Ids::with_room(if signal == Signal::Logs { layout.ids } else { 0 }),
            traces: traces::Builder::new(
                if signal == Signal::Spans { layout.ids } else { 0 },
                layout.group_rows,
            ),
            words: grid.map(|grid| words_builder::Builder::new(grid, layout.words)),
            grid,
            is_raw: layout.is_raw,
            rows: 0,
        })
    }

    /// Stored rows in the part's order, with their ranks and the shapes that their numbers mean.
    pub fn push(&mut self, piece: &RecordBatch, rows: &[Row], shapes: &[Arc<Shape>]) -> anyhow::Result<()> {
        self.add_to_runs(piece, rows)?;
        let columns = self.file_columns(piece, shapes)?;
        let piece = RecordBatch::try_new(self.schema.clone(), columns)?;
        if self.signal != Signal::Spans {
            self.rows += piece.num_rows();
            return Ok(self.parquet.write(&piece)?);
        }
        // A page ends where a write does, the first after it is full. Of a trace pages are read by their numbers.
        let mut written = 0;
        while written < piece.num_rows() {
            let rows = (SPAN_PAGE_ROWS - self.rows % SPAN_PAGE_ROWS).min(piece.num_rows() - written);
            self.parquet.write(&piece.slice(written, rows))?;
            (written, self.rows) = (written + rows, self.rows + rows);
        }
        Ok(())
    }

    fn file_columns(&mut self, piece: &RecordBatch, shapes: &[Arc<Shape>]) -> anyhow::Result<Vec<ArrayRef>> {
        let mut columns = vec![];
        for (field, column) in piece.schema_ref().fields().iter().zip(piece.columns()) {
            if field.name() == time_column(self.signal) {
                columns.push(cast(column, self.schema.field_with_name(field.name())?.data_type())?);
            } else if is_own(field.name()) {
                columns.push(column.clone());
            }
        }
        let attributes = shapes::columns(piece).ok_or_else(|| anyhow::anyhow!("rows have no attributes"))?;
        columns.extend(self.shredder.shred(attributes, shapes)?);
        if let (Some(shredder), Some(bodies)) = (&mut self.bodies, piece.column_by_name(bodies::BODY)) {
            let of_bodies = shredder.shred(bodies.as_string());
            let packed = self.packing.pack(of_bodies.clone(), shredder.paths(), &Records::of(piece)?)?;
            self.index_texts(&bodies::Shredder::texts(&of_bodies))?;
            columns.extend(packed);
        }
        self.index_trace_ids(piece);
        self.ids.end_page();
        if self.is_raw {
            return Ok(columns);
        }
        let numbers = numbers(piece)?;
        for word in words_of(self.signal) {
            columns.push(self.groups.column(word, numbers)?);
        }
        let [labels, resource] = self.groups.texts(numbers)?;
        if self.signal == Signal::Logs {
            columns.push(labels);
        }
        columns.push(resource);
        Ok(columns)
    }

    /// The text columns of further bodies.
    fn index_texts(&mut self, texts: &[&StringArray]) -> anyhow::Result<()> {
        let (Some(words), Some(grid)) = (&mut self.words, self.grid) else { return Ok(()) };
        words.add(texts)?;
        for (at, texts) in texts.iter().enumerate() {
            self.ids.add_texts(texts, grid, WHOLE + at, self.rows);
        }
        Ok(())
    }

    fn index_trace_ids(&mut self, piece: &RecordBatch) {
        let first = self.rows;
        if self.signal == Signal::Spans {
            let mut run = self.runs.partition_point(|run| run.first_row as usize <= first).saturating_sub(1);
            let run_of = |row: usize| {
                let is_next = |run: &Run| run.first_row as usize <= first + row;
                while self.runs.get(run + 1).is_some_and(is_next) {
                    run += 1;
                }
                run as u32
            };
            if let Some(spans) = spans_of(piece, run_of) {
                self.traces.add(spans, first);
            }
            return;
        }
        let column = piece.column_by_name("trace_id").and_then(|ids| ids.as_fixed_size_binary_opt());
        if let (Some(grid), Some(ids)) = (self.grid, column) {
            self.ids.add_column(ids, |row| grid.cell(first + row, grid.trace_ids()));
        }
    }

    fn add_to_runs(&mut self, piece: &RecordBatch, rows: &[Row]) -> anyhow::Result<()> {
        let times = times(self.signal, piece)?;
        let numbers = numbers(piece)?.values();
        let bodies = piece.column_by_name("body").map(|body| -> &StringArray { body.as_string() });
        let durations = piece.column_by_name("duration_ns").map(|d| d.as_primitive::<Int64Type>().values());
        let statuses = piece.column_by_name("status").and_then(|s| s.as_dictionary_opt::<UInt32Type>());
        // Of words that come from several batches one may be there more than once.
        let are_errors: Vec<bool> = statuses.map_or(vec![], |status| {
            let words: &StringArray = status.values().as_string();
            words.iter().map(|word| word == Some("error")).collect()
        });
        for (row, ((rank, ts), ..)) in rows.iter().enumerate() {
            debug_assert_eq!(*ts, times[row]);
            if self.last_rank != Some(*rank) {
                let name = match &self.keys[*rank as usize] {
                    Key::Operation(_, name) => name.clone(),
                    Key::Stream(_) => String::new(),
                };
                let first_row = (self.rows + row) as u32;
                self.runs.push(Run { group: numbers[row], name, first_row, ..Run::at(*ts) });
                self.last_rank = Some(*rank);
            }
            let Some(run) = self.runs.last_mut() else { continue };
            run.rows += 1;
            run.first_ts = run.first_ts.min(*ts);
            run.last_ts = run.last_ts.max(*ts);
            run.bytes += bodies.map_or(0, |bodies| bodies.value_length(row) as u64);
            run.duration_max = run.duration_max.max(durations.map_or(0, |durations| durations[row]));
            let status = statuses.and_then(|status| status.key(row));
            run.errors += u32::from(status.is_some_and(|word| are_errors[word]));
        }
        Ok(())
    }

    /// One thing is made ready after the other and its memory given back, as each of them is large.
    pub fn finish(self) -> anyhow::Result<PartFiles> {
        let parquet = self.parquet.into_inner()?.finish()?;
        let mut head = (self.groups.groups().len() as u32).to_le_bytes().to_vec();
        self.groups.groups().iter().for_each(|group| group.encode(&mut head));
        head.extend_from_slice(&(self.runs.len() as u32).to_le_bytes());
        self.runs.iter().for_each(|run| run.encode(&mut head));
        let version = match self.signal {
            Signal::Spans => SPAN_VERSION,
            _ if self.is_raw => LOG_VERSION_RAW,
            _ => LOG_VERSION,
        };
        let mut index = Sealing::new(FORMAT, version)?;
        index.write_all(&head)?;
        let length = |bytes: usize| (bytes as u64).to_le_bytes();
        let mut blocks = vec![];
        if self.signal == Signal::Spans {
            let (directory, of_traces) = self.traces.finish()?;
            index.write_all(&length(directory.len()))?;
            index.write_all(&directory)?;
            blocks = of_traces;
        } else {
            let mut ids = self.ids;
            ids.close();
            index.write_all(&length(ids.encoded_len()))?;
            ids.write(&mut index)?;
        }
        let words = self.words.map(words_builder::Builder::finish).transpose()?.unwrap_or_default();
        index.write_all(&length(words.iter().map(Vec::len).sum()))?;
        words.iter().try_for_each(|words| index.write_all(words))?;
        drop(words);
        let mut rest = vec![u8::from(self.shredder.has_attributes())];
        let shapes = self.bodies.map(|bodies| bodies.shapes()).unwrap_or_default();
        rest.extend_from_slice(&(shapes.len() as u32).to_le_bytes());
        shapes.iter().for_each(|shape| put_block(&mut rest, shape.as_bytes()));
        self.packing.common().encode(&mut rest);
        if self.groups.groups().iter().any(|group| group.has_more()) {
            Group::encode_more(self.groups.groups(), &mut rest);
        }
        index.write_all(&rest)?;
        let mut index = index.finish()?;
        if self.signal == Signal::Spans {
            index = [&index[..], &blocks, &length(index.len())].concat().into();
        }
        Ok(PartFiles {
            is_raw: self.is_raw,
            data: parquet,
            index,
            first_ts: self.runs.iter().map(|run| run.first_ts).min().unwrap_or(0),
            last_ts: self.runs.iter().map(|run| run.last_ts).max().unwrap_or(0),
            rows: self.rows,
        })
    }
}

/// Stored columns that lie in the file as they are.
fn is_own(name: &str) -> bool {
    name != SHAPE && name != VALUES && name != bodies::BODY
}

/// What the groups decide, for other readers.
fn fields_of_groups(signal: Signal) -> Vec<Field> {
    let texts: &[&str] = if signal == Signal::Logs { &["stream", "resource"] } else { &["resource"] };
    let words = words_of(signal).iter().map(|word| Field::new(*word, schema::word(), true));
    words.chain(texts.iter().map(|text| Field::new(*text, schema::word(), false))).collect()
}

/// The columns that we read, then those of the groups.
fn file_schema(
    signal: Signal,
    times: Unit,
    shredder: &Shredder,
    of_bodies: Vec<Field>,
    of_groups: Vec<Field>,
) -> SchemaRef {
    let own = stored::schema(signal).fields().iter().filter(|field| is_own(field.name()));
    let mut fields: Vec<Arc<Field>> = own.cloned().collect();
    for field in fields.iter_mut().filter(|field| field.name() == time_column(signal)) {
        *field = Arc::new(times.field(field));
    }
    fields.extend(shredder.fields().into_iter().map(Arc::new));
    fields.extend(of_bodies.into_iter().map(Arc::new));
    fields.extend(of_groups.into_iter().map(Arc::new));
    Arc::new(Schema::new(fields))
}

fn properties(
    signal: Signal,
    schema: &Schema,
    group_rows: usize,
    is_raw: bool,
) -> anyhow::Result<WriterPropertiesBuilder> {
    let column = |name: &str| ColumnPath::new(vec![name.to_owned()]);
    let time = time_column(signal);
    let page_rows = match signal {
        Signal::Spans => SPAN_PAGE_ROWS,
        _ if is_raw => RAW_PAGE_ROWS,
        _ => LOG_PAGE_ROWS,
    };
    let mut properties = WriterProperties::builder()
        .set_writer_version(WriterVersion::PARQUET_2_0)
        .set_compression(match is_raw {
            true => Compression::LZ4_RAW,
            false => Compression::ZSTD(ZstdLevel::try_new(1)?),
        })
        .set_statistics_enabled(EnabledStatistics::None)
        .set_column_statistics_enabled(column(time), EnabledStatistics::Chunk)
        .set_column_dictionary_enabled(column(time), false)
        .set_column_encoding(column(time), Encoding::DELTA_BINARY_PACKED)
        .set_data_page_row_count_limit(page_rows)
        .set_write_batch_size(page_rows)
        .set_data_page_size_limit(8 << 20)
        .set_max_row_group_row_count(Some(group_rows))
        .set_column_dictionary_page_size_limit(column("trace_id"), TRACE_DICTIONARY_BYTES);
    if is_raw {
        // To look each value up costs more than to write it again, and is done at the merge.
        properties = properties.set_dictionary_enabled(false).set_encoding(Encoding::PLAIN);
        properties = properties.set_column_dictionary_enabled(column(SHAPE), true);
        properties = properties.set_write_batch_size(RAW_WRITE_ROWS).set_data_page_size_limit(RAW_PAGE_BYTES);
    }
    for plain in ["body", packed::VALUES, packed::IDS, "span_id", "parent_span_id", "duration_ns"] {
        properties = properties.set_column_dictionary_enabled(column(plain), false);
    }
    if signal == Signal::Logs {
        properties = properties.set_column_dictionary_enabled(column("trace_id"), false);
        for (_, leaf) in MAY_BE_BLANK.iter().filter(|(column, _)| *column == REST) {
            let leaf = ColumnPath::new(leaf.iter().map(|name| (*name).to_owned()).collect());
            properties = properties.set_column_statistics_enabled(leaf, EnabledStatistics::Chunk);
        }
    }
    if signal == Signal::Spans {
        // Mostly nothing, which is found without looking each up.
        for count in ["flags", "dropped_attributes", "dropped_events", "dropped_links"] {
            properties = properties.set_column_dictionary_enabled(column(count), false);
            properties = properties.set_column_encoding(column(count), Encoding::DELTA_BINARY_PACKED);
        }
        for text in ["status_message", "trace_state"] {
            properties = properties.set_column_dictionary_enabled(column(text), false);
        }
        // Random bytes, in which there is nothing to find.
        for id in ["span_id", "parent_span_id"] {
            properties = properties.set_column_encoding(column(id), Encoding::PLAIN);
            properties = properties.set_column_compression(column(id), Compression::UNCOMPRESSED);
        }
        properties = properties.set_column_statistics_enabled(column(time), EnabledStatistics::Page);
        for (_, leaf) in MAY_BE_BLANK {
            let leaf = ColumnPath::new(leaf.iter().map(|name| (*name).to_owned()).collect());
            properties = properties.set_column_statistics_enabled(leaf, EnabledStatistics::Page);
        }
    }
    for text in ["body", packed::VALUES, packed::IDS, "status_message", "trace_state"] {
        properties = properties.set_column_encoding(column(text), Encoding::DELTA_LENGTH_BYTE_ARRAY);
    }
    // Never more words than a dictionary takes; what else would be there for more of them has megabytes for each column.
    let is_words = |field: &&Arc<Field>| matches!(field.data_type(), DataType::Dictionary(..));
    for words in schema.fields().iter().filter(is_words) {
        properties = properties.set_column_encoding(column(words.name()), Encoding::PLAIN);
    }
    for field in schema.fields().iter().filter(|field| field.data_type() == &DataType::Utf8) {
        let name = field.name();
        if name != SHAPE && name != GROUP && !is_raw {
            properties = properties.set_column_encoding(column(name), Encoding::DELTA_LENGTH_BYTE_ARRAY);
            let bytes =
                if signal == Signal::Logs { FIELD_DICTIONARY_BYTES } else { ATTRIBUTE_DICTIONARY_BYTES };
            properties = properties.set_column_dictionary_page_size_limit(column(name), bytes);
        }
    }
    Ok(properties)
}

/// The Parquet writer has a megabyte or two ready for each column, for lengths and numbers by their differences, should a dictionary
/// not do: thirty of a row group's columns never came to that. Where it will do for all that can be told, nothing is ready;
/// should it not, values stand as they are. Ids have nothing that differences could tell.
fn without_room_for_more(
    mut properties: WriterPropertiesBuilder,
    schema: &Schema,
    few_valued: &[String],
) -> WriterPropertiesBuilder {
    let column = |name: &str| ColumnPath::new(vec![name.to_owned()]);
    let leaf_of_attributes =
        |leaf: &str| ColumnPath::new([REST, "entries", leaf].map(str::to_owned).to_vec());
    let is_number = |field: &&Arc<Field>| matches!(field.data_type(), DataType::UInt32 | DataType::Int32);
    for number in schema.fields().iter().filter(is_number) {
        properties = properties.set_column_encoding(column(number.name()), Encoding::PLAIN);
    }
    for id in ["trace_id", "span_id"] {
        properties = properties.set_column_encoding(column(id), Encoding::PLAIN);
    }
    for path in few_valued {
        let name = column(&bodies::column_of(path));
        properties = properties
            .set_column_encoding(name.clone(), Encoding::PLAIN)
            .set_column_dictionary_page_size_limit(name, FEW_VALUED_DICTIONARY_BYTES);
    }
    properties
        .set_column_encoding(leaf_of_attributes("keys"), Encoding::PLAIN)
        .set_column_encoding(leaf_of_attributes("values"), Encoding::DELTA_LENGTH_BYTE_ARRAY)
}
