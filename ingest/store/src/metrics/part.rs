//! A metrics part: samples sorted by series and time in Parquet, and a side index of series with where their rows begin.
//! Layout: FORMAT.md.

use super::Run;
use crate::labels_index::LabelsIndex;
use crate::objects::Read;
use crate::part::{Damaged, Part, PartFiles};
use crate::snapshot::SeriesInfo;
use arrow::array::{AsArray, Float64Array, Int64Array, RecordBatch, UInt32Array};
use arrow::datatypes::{DataType, Field, Float64Type, Int64Type, Schema, SchemaRef};
use bytes::Bytes;
use futures::TryStreamExt;
use model::{Labels, SeriesSelect, TimeRange};
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, RowSelection, RowSelector};
use parquet::arrow::{ArrowWriter, ProjectionMask};
use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::file::properties::{EnabledStatistics, WriterProperties, WriterVersion};
use parquet::schema::types::ColumnPath;
use roaring::RoaringBitmap;
use std::sync::{Arc, LazyLock};

static SCHEMA: LazyLock<SchemaRef> = LazyLock::new(|| {
    Arc::new(Schema::new(vec![
        Field::new("series", DataType::UInt32, false),
        Field::new("ts", DataType::Int64, false),
        Field::new("value", DataType::Float64, false),
    ]))
});

/// Rows of a page: what reading one series costs at least.
const PAGE_ROWS: usize = 16_384;
const ROW_GROUP_ROWS: usize = 1 << 20;
const MAGIC: &[u8; 8] = b"BNCLMET1";

/// Series of a part, in the order of their rows.
pub struct Index {
    pub series: Vec<SeriesRows>,
    postings: LabelsIndex,
    metadata: ArrowReaderMetadata,
}

pub struct SeriesRows {
    pub labels: Labels,
    pub first_row: u32,
    pub rows: u32,
    pub first_ms: i64,
    pub last_ms: i64,
}

/// Runs sorted by labels, none empty, as the two files of a part.
pub fn write(runs: &[Run]) -> anyhow::Result<PartFiles> {
    let rows: usize = runs.iter().map(|run| run.ts_ms.len()).sum();
    let parquet = write_parquet(runs, rows)?;
    let index = write_index(runs)?;
    let first_ts = runs.iter().filter_map(|run| run.ts_ms.first()).min().copied().unwrap_or(0);
    let last_ts = runs.iter().filter_map(|run| run.ts_ms.last()).max().copied().unwrap_or(0);
    Ok(PartFiles { parquet, index, first_ts, last_ts, rows, raw_bytes: rows * 16 })
}

fn properties() -> anyhow::Result<WriterProperties> {
    let split = |column: &str| ColumnPath::from(column);
    Ok(WriterProperties::builder()
        .set_writer_version(WriterVersion::PARQUET_2_0)
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(1)?))
        .set_dictionary_enabled(false)
        .set_statistics_enabled(EnabledStatistics::Chunk)
        .set_column_encoding(split("series"), Encoding::DELTA_BINARY_PACKED)
        .set_column_encoding(split("ts"), Encoding::BYTE_STREAM_SPLIT)
        .set_column_encoding(split("value"), Encoding::BYTE_STREAM_SPLIT)
        .set_data_page_row_count_limit(PAGE_ROWS)
        .set_write_batch_size(PAGE_ROWS)
        .set_max_row_group_row_count(Some(ROW_GROUP_ROWS))
        .build())
}

fn write_parquet(runs: &[Run], rows: usize) -> anyhow::Result<Bytes> {
    let mut writer = ArrowWriter::try_new(Vec::with_capacity(rows * 2), SCHEMA.clone(), Some(properties()?))?;
    let (mut series, mut ts, mut values) = (vec![], vec![], vec![]);
    for (id, run) in runs.iter().enumerate() {
        series.extend(std::iter::repeat_n(id as u32, run.ts_ms.len()));
        ts.extend_from_slice(&run.ts_ms);
        values.extend_from_slice(&run.values);
        if series.len() >= ROW_GROUP_ROWS / 4 {
            write_rows(&mut writer, &mut series, &mut ts, &mut values)?;
        }
    }
    write_rows(&mut writer, &mut series, &mut ts, &mut values)?;
    Ok(writer.into_inner()?.into())
}

fn write_rows(
    writer: &mut ArrowWriter<Vec<u8>>,
    series: &mut Vec<u32>,
    ts: &mut Vec<i64>,
    values: &mut Vec<f64>,
) -> anyhow::Result<()> {
    let batch = RecordBatch::try_new(
        SCHEMA.clone(),
        vec![
            Arc::new(UInt32Array::from(std::mem::take(series))),
            Arc::new(Int64Array::from(std::mem::take(ts))),
            Arc::new(Float64Array::from(std::mem::take(values))),
        ],
    )?;
    Ok(writer.write(&batch)?)
}

fn write_index(runs: &[Run]) -> anyhow::Result<Bytes> {
    let mut raw = Vec::new();
    raw.extend_from_slice(&(runs.len() as u32).to_le_bytes());
    for run in runs {
        let bytes = run.labels.as_bytes();
        raw.extend_from_slice(&(bytes.len() as u32).to_le_bytes());
        raw.extend_from_slice(bytes);
    }
    // Columns after the labels: alike values side by side compress to almost nothing.
    runs.iter().for_each(|run| raw.extend_from_slice(&(run.ts_ms.len() as u32).to_le_bytes()));
    for bound in [|run: &Run| run.ts_ms.first().copied(), |run: &Run| run.ts_ms.last().copied()] {
        runs.iter().for_each(|run| raw.extend_from_slice(&bound(run).unwrap_or(0).to_le_bytes()));
    }
    Ok(crate::side_index::seal(MAGIC, &raw)?)
}

impl Index {
    pub fn decode(bytes: &[u8], metadata: ArrowReaderMetadata) -> Result<Index, String> {
        let raw = crate::side_index::open(MAGIC, bytes)?;
        let mut rest = crate::side_index::Cursor(&raw);
        let count = rest.u32()? as usize;
        let mut all_labels = vec![];
        for _ in 0..count {
            let length = rest.u32()? as usize;
            all_labels.push(Labels::from_bytes(rest.take(length)?).map_err(|e| e.to_string())?);
        }
        let lengths = (0..count).map(|_| rest.u32()).collect::<Result<Vec<_>, _>>()?;
        let firsts = (0..count).map(|_| rest.i64()).collect::<Result<Vec<_>, _>>()?;
        let lasts = (0..count).map(|_| rest.i64()).collect::<Result<Vec<_>, _>>()?;
        let mut postings = LabelsIndex::default();
        let mut first_row = 0u32;
        let mut series = vec![];
        for (i, labels) in all_labels.into_iter().enumerate() {
            postings.add(&labels);
            let rows = lengths[i];
            series.push(SeriesRows { labels, first_row, rows, first_ms: firsts[i], last_ms: lasts[i] });
            first_row = first_row.checked_add(rows).ok_or("it counts more rows than a part can have")?;
        }
        if i64::from(first_row) != metadata.metadata().file_metadata().num_rows() {
            return Err("its rows are not those of the Parquet file".into());
        }
        Ok(Index { series, postings, metadata })
    }

    fn select(&self, select: &SeriesSelect) -> Vec<&SeriesRows> {
        let ids: RoaringBitmap = self.postings.select(&select.matchers);
        ids.iter()
            .map(|id| &self.series[id as usize])
            .filter(|series| select.range.overlaps(series.first_ms, series.last_ms))
            .collect()
    }

    pub fn series(&self, select: &SeriesSelect) -> Vec<SeriesInfo> {
        self.select(select)
            .into_iter()
            .map(|series| SeriesInfo {
                labels: series.labels.clone(),
                first_ms: series.first_ms,
                last_ms: series.last_ms,
            })
            .collect()
    }
}

/// Runs of the selected series, in the order of their labels.
pub async fn read(part: &Part, select: &SeriesSelect) -> Result<Vec<Run>, Damaged> {
    let index = part.metrics_index().await?;
    let wanted = index.select(select);
    if wanted.is_empty() {
        return Ok(vec![]);
    }
    let path = part.meta.parquet_path();
    let failed = |e: parquet::errors::ParquetError| part.damaged(&path, e);
    let projection = ProjectionMask::leaves(index.metadata.parquet_schema(), [1, 2]);
    let selection = (wanted.len() < index.series.len()).then(|| rows_of(&wanted, part.meta.rows as usize));
    let mut stream = part
        .objects()
        .read(&path, &index.metadata, Read { projection, selection, filter: None })
        .map_err(failed)?;
    let mut runs: Vec<Run> = wanted
        .iter()
        .map(|series| Run {
            labels: series.labels.clone(),
            ts_ms: Vec::with_capacity(series.rows as usize),
            values: Vec::with_capacity(series.rows as usize),
        })
        .collect();
    let mut at = 0;
    while let Some(batch) = stream.try_next().await.map_err(failed)? {
        let ts = batch.column(0).as_primitive::<Int64Type>().values();
        let values = batch.column(1).as_primitive::<Float64Type>().values();
        let mut from = 0;
        while from < ts.len() && at < runs.len() {
            let run = &mut runs[at];
            let take = (wanted[at].rows as usize - run.ts_ms.len()).min(ts.len() - from);
            run.ts_ms.extend_from_slice(&ts[from..from + take]);
            run.values.extend_from_slice(&values[from..from + take]);
            from += take;
            if run.ts_ms.len() == wanted[at].rows as usize {
                at += 1;
            }
        }
    }
    if at < runs.len() {
        return Err(part.damaged(&path, "it has fewer rows than its index says"));
    }
    if select.range != TimeRange::ALL {
        runs.iter_mut().for_each(|run| super::merge::cut(run, select.range));
        runs.retain(|run| !run.ts_ms.is_empty());
    }
    Ok(runs)
}

fn rows_of(wanted: &[&SeriesRows], total: usize) -> RowSelection {
    let ranges = wanted.iter().map(|series| {
        let first = series.first_row as usize;
        first..first + series.rows as usize
    });
    selection(ranges, total)
}

/// Ascending ranges of rows as a selection over `total` rows.
pub fn selection(ranges: impl Iterator<Item = std::ops::Range<usize>>, total: usize) -> RowSelection {
    let mut selectors: Vec<RowSelector> = vec![];
    let mut at = 0;
    for range in ranges.filter(|range| !range.is_empty()) {
        if range.start > at {
            selectors.push(RowSelector::skip(range.start - at));
        }
        match selectors.last_mut() {
            Some(last) if !last.skip => last.row_count += range.len(),
            _ => selectors.push(RowSelector::select(range.len())),
        }
        at = range.end;
    }
    if at < total {
        selectors.push(RowSelector::skip(total - at));
    }
    RowSelection::from(selectors)
}
