//! A part of rows: sorted Parquet, and a side index with its runs (streams, or service and span name), an id index and
//! for logs the words by page. Layout: FORMAT.md.

mod ids;
mod ranges;
mod words;

use super::{logs, spans, tokens};
use crate::objects::Read;
use crate::part::{Damaged, Part, PartFiles, Signal};
use crate::side_index::{Cursor, open, put_block, seal};
use crate::snapshot::LogStreamInfo;
use arrow::array::{AsArray, RecordBatch, StringArray};
use arrow::compute::take_record_batch;
use arrow::datatypes::{Int64Type, TimestampNanosecondType, UInt32Type};
use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use ids::Ids;
use model::{Labels, LogSelect, SpanSelect, TimeRange};
use parquet::arrow::arrow_reader::{ArrowPredicateFn, ArrowReaderMetadata, RowFilter};
use parquet::arrow::{ArrowWriter, ProjectionMask};
use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::file::properties::{EnabledStatistics, WriterProperties, WriterVersion};
use parquet::schema::types::ColumnPath;
use ranges::Ranges;
use std::sync::Arc;
use words::Words;

/// Rows of a page: the unit of the word index and of what is read at least.
pub const PAGE_ROWS: usize = 8_192;
const ROW_GROUP_ROWS: usize = 1 << 20;
const MAGIC: &[u8; 8] = b"BNCLROW1";

/// Rows that follow one another and have one key.
struct Run {
    /// Logs: canonical label bytes. Spans: service, a zero byte, name.
    key: Vec<u8>,
    first_row: u32,
    rows: u32,
    first_ts: i64,
    last_ts: i64,
    /// Bytes of the bodies.
    bytes: u64,
    duration_max: i64,
    errors: u32,
}

pub struct Index {
    runs: Vec<Run>,
    /// Label sets of the runs, for logs.
    labels: Vec<Labels>,
    ids: Ids,
    words: Option<Words>,
    metadata: ArrowReaderMetadata,
}

/// Sorts the rows and writes them as the two files of a part.
pub fn write(signal: Signal, batch: &RecordBatch) -> anyhow::Result<PartFiles> {
    let order = match signal {
        Signal::Spans => spans::order(batch),
        _ => logs::order(batch),
    };
    let sorted = take_record_batch(batch, &arrow::array::UInt32Array::from(order))?;
    let ts =
        sorted.column_by_name(time_column(signal)).map(|ts| ts.as_primitive::<TimestampNanosecondType>());
    let ts = ts.map_or(&[][..], |ts| ts.values());
    Ok(PartFiles {
        parquet: write_parquet(signal, &sorted)?,
        index: write_index(signal, &sorted)?,
        first_ts: ts.iter().min().copied().unwrap_or(0),
        last_ts: ts.iter().max().copied().unwrap_or(0),
        rows: sorted.num_rows(),
        raw_bytes: sorted.get_array_memory_size(),
    })
}

pub fn time_column(signal: Signal) -> &'static str {
    if signal == Signal::Spans { "start_ts" } else { "ts" }
}

fn write_parquet(signal: Signal, batch: &RecordBatch) -> anyhow::Result<Bytes> {
    let column = |name: &str| ColumnPath::from(name);
    let time = time_column(signal);
    let mut properties = WriterProperties::builder()
        .set_writer_version(WriterVersion::PARQUET_2_0)
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(1)?))
        .set_statistics_enabled(EnabledStatistics::None)
        .set_column_statistics_enabled(column(time), EnabledStatistics::Chunk)
        .set_column_dictionary_enabled(column(time), false)
        .set_column_encoding(column(time), Encoding::DELTA_BINARY_PACKED)
        .set_data_page_row_count_limit(PAGE_ROWS)
        .set_write_batch_size(PAGE_ROWS)
        .set_data_page_size_limit(8 << 20)
        .set_max_row_group_row_count(Some(ROW_GROUP_ROWS));
    for plain in ["body", "trace_id", "span_id", "parent_span_id", "duration_ns"] {
        properties = properties.set_column_dictionary_enabled(column(plain), false);
    }
    let mut writer = ArrowWriter::try_new(Vec::new(), batch.schema(), Some(properties.build()))?;
    writer.write(batch)?;
    Ok(writer.into_inner()?.into())
}

fn write_index(signal: Signal, batch: &RecordBatch) -> anyhow::Result<Bytes> {
    let runs = runs_of(signal, batch);
    let mut raw = (runs.len() as u32).to_le_bytes().to_vec();
    for run in &runs {
        put_block(&mut raw, &run.key);
        raw.extend_from_slice(&run.rows.to_le_bytes());
        for number in [run.first_ts, run.last_ts, run.bytes as i64, run.duration_max] {
            raw.extend_from_slice(&number.to_le_bytes());
        }
        raw.extend_from_slice(&run.errors.to_le_bytes());
    }
    put_block(&mut raw, &Ids::of(batch).encode());
    let words = if signal == Signal::Logs { words::build(batch)? } else { vec![] };
    put_block(&mut raw, &words);
    Ok(seal(MAGIC, &raw)?)
}

/// Where the key changes from one row to the next.
fn runs_of(signal: Signal, batch: &RecordBatch) -> Vec<Run> {
    let times =
        batch.column_by_name(time_column(signal)).map(|ts| ts.as_primitive::<TimestampNanosecondType>());
    let Some(times) = times.map(|ts| ts.values()) else { return vec![] };
    let key_of: Box<dyn Fn(usize) -> Vec<u8>> = match signal {
        Signal::Spans => match spans::Keys::of(batch) {
            Some(keys) => Box::new(move |row| {
                let (service, name) = keys.get(row);
                [service.as_bytes(), &[0], name.as_bytes()].concat()
            }),
            None => return vec![],
        },
        _ => match batch.column_by_name("stream").and_then(|stream| stream.as_dictionary_opt::<UInt32Type>())
        {
            Some(stream) => {
                let values = stream.values().as_binary::<i32>();
                Box::new(move |row| stream.key(row).map_or(vec![], |key| values.value(key).to_vec()))
            }
            None => return vec![],
        },
    };
    let bodies = batch.column_by_name("body").map(|body| -> &StringArray { body.as_string() });
    let durations = batch.column_by_name("duration_ns").map(|d| d.as_primitive::<Int64Type>().values());
    let statuses = batch.column_by_name("status").and_then(|s| s.as_dictionary_opt::<UInt32Type>());
    let mut runs: Vec<Run> = vec![];
    for (row, &ts) in times.iter().enumerate() {
        let key = key_of(row);
        if runs.last().is_none_or(|run| run.key != key) {
            runs.push(Run {
                key,
                first_row: row as u32,
                rows: 0,
                first_ts: ts,
                last_ts: ts,
                bytes: 0,
                duration_max: 0,
                errors: 0,
            });
        }
        let Some(run) = runs.last_mut() else { continue };
        run.rows += 1;
        run.first_ts = run.first_ts.min(ts);
        run.last_ts = run.last_ts.max(ts);
        run.bytes += bodies.map_or(0, |bodies| bodies.value_length(row) as u64);
        run.duration_max = run.duration_max.max(durations.map_or(0, |durations| durations[row]));
        let is_error = statuses.is_some_and(|status| {
            let values: &StringArray = status.values().as_string();
            status.key(row).is_some_and(|key| values.value(key) == "error")
        });
        run.errors += u32::from(is_error);
    }
    runs
}

impl Index {
    pub fn decode(bytes: &[u8], metadata: ArrowReaderMetadata) -> Result<Index, String> {
        let raw = open(MAGIC, bytes)?;
        let mut rest = Cursor(&raw);
        let (mut runs, mut labels, mut first_row) = (vec![], vec![], 0u32);
        for _ in 0..rest.u32()? {
            let key = rest.block()?.to_vec();
            let rows = rest.u32()?;
            let run = Run {
                first_row,
                rows,
                first_ts: rest.i64()?,
                last_ts: rest.i64()?,
                bytes: rest.u64()?,
                duration_max: rest.i64()?,
                errors: rest.u32()?,
                key,
            };
            first_row = first_row.checked_add(rows).ok_or("it counts more rows than a part can have")?;
            labels.push(Labels::from_bytes(&run.key).unwrap_or_default());
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
        Ok(Index { runs, labels, ids, words, metadata })
    }

    fn total(&self) -> usize {
        self.runs.last().map_or(0, |run| (run.first_row + run.rows) as usize)
    }

    fn log_ranges(&self, select: &LogSelect) -> Result<Ranges, String> {
        let plain = select.contains.is_empty() && select.trace_id.is_none();
        let keep = select.limit.filter(|_| plain);
        let of_runs = self.runs.iter().zip(&self.labels).filter_map(|(run, labels)| {
            let wanted = select.range.overlaps(run.first_ts, run.last_ts)
                && select.matchers.iter().all(|matcher| matcher.matches_labels(labels));
            wanted.then(|| run.rows_kept(keep, select))
        });
        let mut ranges = Ranges::new(of_runs);
        if let Some(id) = select.trace_id {
            ranges = ranges.and(&self.ids.rows(&hex::encode(id)));
        }
        for needle in &select.contains {
            let mut clues = tokens::clues(needle);
            if !self.ids.has_longer {
                clues.ids.append(&mut clues.edge_ids);
            }
            for id in &clues.ids {
                ranges = ranges.and(&self.ids.rows(id));
            }
            if let Some(words) = self.words.as_ref().filter(|_| !ranges.is_empty()) {
                ranges = ranges.and(&words.pages(&clues, self.total())?);
            }
        }
        Ok(ranges)
    }

    fn span_ranges(&self, select: &SpanSelect) -> Ranges {
        let of_runs = self.runs.iter().filter_map(|run| {
            let mut key = run.key.splitn(2, |byte| *byte == 0);
            let (service, name) = (key.next().unwrap_or(&[]), key.next().unwrap_or(&[]));
            let wanted = select.range.overlaps(run.first_ts, run.last_ts)
                && select.service.as_ref().is_none_or(|asked| asked.as_bytes() == service)
                && select.name.as_ref().is_none_or(|asked| asked.as_bytes() == name)
                && select.duration_ns_min.is_none_or(|least| run.duration_max >= least)
                && (!select.errors_only || run.errors > 0);
            wanted.then(|| run.range())
        });
        let mut ranges = Ranges::new(of_runs);
        if !select.trace_ids.is_empty() {
            let mut of_traces: Vec<_> =
                select.trace_ids.iter().flat_map(|id| self.ids.rows(&hex::encode(id)).0).collect();
            of_traces.sort_unstable_by_key(|range| range.start);
            ranges = ranges.and(&Ranges::new(of_traces));
        }
        ranges
    }

    /// Streams with records in the range; at its edges the share of a run that lies in it is estimated.
    pub fn streams(&self, select: &LogSelect) -> Vec<LogStreamInfo> {
        self.runs
            .iter()
            .zip(&self.labels)
            .filter(|(run, labels)| {
                select.range.overlaps(run.first_ts, run.last_ts)
                    && select.matchers.iter().all(|matcher| matcher.matches_labels(labels))
            })
            .map(|(run, labels)| {
                let share = run.share(select.range);
                LogStreamInfo {
                    labels: labels.clone(),
                    records: (f64::from(run.rows) * share).ceil() as u64,
                    bytes: (run.bytes as f64 * share).ceil() as u64,
                }
            })
            .collect()
    }
}

impl Run {
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
    fn range(&self) -> TimeRange {
        match self {
            Select::Logs(select) => select.range,
            Select::Spans(select) => select.range,
        }
    }

    pub fn mask(&self, batch: &RecordBatch) -> arrow::array::BooleanArray {
        match self {
            Select::Logs(select) => logs::mask(batch, select),
            Select::Spans(select) => spans::mask(batch, select),
        }
    }
}

/// The selected rows, projected to `columns` (indices of the signal's schema).
pub async fn read(part: Arc<Part>, select: Select, columns: Vec<usize>) -> Result<PartStream, Damaged> {
    let index = part.rows_index().await?;
    let path = part.meta.parquet_path();
    let index_path = part.meta.index_path();
    let ranges = match &select {
        Select::Logs(select) => index.log_ranges(select).map_err(|why| part.damaged(&index_path, why))?,
        Select::Spans(select) => index.span_ranges(select),
    };
    if ranges.is_empty() {
        return Ok(futures::stream::empty().boxed());
    }
    let schema = index.metadata.parquet_schema();
    let range = select.range();
    let times_judged = range.start <= part.meta.first_ts && part.meta.last_ts <= range.end;
    let judged_by = match &select {
        Select::Logs(select) => logs::mask_columns(select, times_judged),
        Select::Spans(select) => spans::mask_columns(select, times_judged),
    };
    let filter = (!judged_by.is_empty()).then(|| {
        let fields = index.metadata.schema().fields();
        let roots: Vec<usize> = judged_by
            .iter()
            .filter_map(|name| fields.iter().position(|field| field.name() == name))
            .collect();
        let predicate =
            ArrowPredicateFn::new(ProjectionMask::roots(schema, roots), move |batch| Ok(select.mask(&batch)));
        RowFilter::new(vec![Box::new(predicate)])
    });
    let read = Read {
        projection: ProjectionMask::roots(schema, columns),
        selection: Some(crate::metrics::part::selection(ranges.0.into_iter(), index.total())),
        filter,
    };
    let stream = part.objects().read(&path, &index.metadata, read).map_err(|e| part.damaged(&path, e))?;
    // The part is held until the stream is dropped, so that its file stays.
    Ok(stream.map_err(move |e| part.damaged(&path, e)).boxed())
}

/// All rows, for merging.
pub async fn read_all(part: &Arc<Part>) -> Result<Vec<RecordBatch>, Damaged> {
    let index = part.rows_index().await?;
    let path = part.meta.parquet_path();
    let read = Read { projection: ProjectionMask::all(), selection: None, filter: None };
    let stream = part.objects().read(&path, &index.metadata, read).map_err(|e| part.damaged(&path, e))?;
    stream.try_collect().await.map_err(|e| part.damaged(&path, e))
}
