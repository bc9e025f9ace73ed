//! Writes a metrics part: runs go in by ascending labels, the two files come out.

use super::values::{self, Scale};
use super::{SCHEMA, index};
use crate::part::PartFiles;
use crate::spool::Contents;
use arrow::array::{Float64Builder, Int8Array, Int64Array, RecordBatch, UInt32Array};
use model::Labels;
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::file::properties::{EnabledStatistics, WriterProperties, WriterVersion};
use parquet::schema::types::ColumnPath;
use std::sync::Arc;

const ROW_GROUP_ROWS: usize = 1 << 18;

/// Rows that are encoded at one time.
const BATCH_ROWS: usize = 1 << 15;

/// Samples a series from which deltas win: a jump from one run to the next widens a whole block of them.
const DELTA_ROWS: usize = 100;

/// Bytes of a page of mantissas before compression, about 16,384 rows in either encoding: what reading one series
/// costs at least.
const SPLIT_PAGE_BYTES: usize = 128 << 10;
const DELTA_PAGE_BYTES: usize = 24 << 10;

/// Times repeat from series to series; in a large page they compress to almost nothing, and they are seldom read.
const TIMES_PAGE_BYTES: usize = 2 << 20;

pub struct Writer {
    parquet: ArrowWriter<Vec<u8>>,
    index: index::Builder,
    series: Vec<u32>,
    ts_ms: Vec<i64>,
    mantissas: Vec<i64>,
    bases: Vec<i64>,
    exponents: Vec<i8>,
    values: Float64Builder,
}

impl Writer {
    /// About how many rows a series will have decides the encoding.
    pub fn new(rows_of_a_series: usize) -> anyhow::Result<Writer> {
        let properties = properties(rows_of_a_series >= DELTA_ROWS)?;
        Ok(Writer {
            parquet: ArrowWriter::try_new(Vec::new(), SCHEMA.clone(), Some(properties))?,
            index: index::Builder::default(),
            series: vec![],
            ts_ms: vec![],
            mantissas: vec![],
            bases: vec![],
            exponents: vec![],
            values: Float64Builder::new(),
        })
    }

    /// A run that is not empty, its times strictly ascending, its labels after those of the run before it.
    pub fn push(&mut self, labels: &Labels, ts_ms: &[i64], values: &[f64]) -> anyhow::Result<()> {
        let (rows, series) = (ts_ms.len(), self.index.count());
        let scale = values::split(values, &mut self.mantissas);
        self.index.push(labels, ts_ms, scale);
        self.series.extend(std::iter::repeat_n(series, rows));
        self.ts_ms.extend_from_slice(ts_ms);
        let Scale { base, exponent } = scale.unwrap_or(Scale { base: 0, exponent: 0 });
        self.bases.extend(std::iter::repeat_n(base, rows));
        self.exponents.extend(std::iter::repeat_n(exponent as i8, rows));
        match scale {
            Some(_) => self.values.append_nulls(rows),
            None => {
                self.mantissas.extend(std::iter::repeat_n(0, rows));
                self.values.append_slice(values);
            }
        }
        if self.series.len() >= BATCH_ROWS { self.write() } else { Ok(()) }
    }

    fn write(&mut self) -> anyhow::Result<()> {
        let batch = RecordBatch::try_new(
            SCHEMA.clone(),
            vec![
                Arc::new(UInt32Array::from(std::mem::take(&mut self.series))),
                Arc::new(Int64Array::from(std::mem::take(&mut self.ts_ms))),
                Arc::new(Int64Array::from(std::mem::take(&mut self.mantissas))),
                Arc::new(Int64Array::from(std::mem::take(&mut self.bases))),
                Arc::new(Int8Array::from(std::mem::take(&mut self.exponents))),
                Arc::new(self.values.finish()),
            ],
        )?;
        Ok(self.parquet.write(&batch)?)
    }

    pub fn finish(mut self) -> anyhow::Result<PartFiles> {
        self.write()?;
        let (rows, first_ts, last_ts) = self.index.extent();
        Ok(PartFiles {
            is_raw: false,
            data: Contents::Memory(self.parquet.into_inner()?.into()),
            index: self.index.finish()?,
            first_ts,
            last_ts,
            rows,
        })
    }
}

fn properties(deltas: bool) -> anyhow::Result<WriterProperties> {
    let column = |name: &str| ColumnPath::from(name);
    let (encoding, page_bytes) = match deltas {
        true => (Encoding::DELTA_BINARY_PACKED, DELTA_PAGE_BYTES),
        false => (Encoding::BYTE_STREAM_SPLIT, SPLIT_PAGE_BYTES),
    };
    Ok(WriterProperties::builder()
        .set_writer_version(WriterVersion::PARQUET_2_0)
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(1)?))
        .set_statistics_enabled(EnabledStatistics::Chunk)
        .set_dictionary_enabled(false)
        .set_column_encoding(column("series"), Encoding::DELTA_BINARY_PACKED)
        .set_column_encoding(column("ts"), Encoding::BYTE_STREAM_SPLIT)
        .set_column_data_page_size_limit(column("ts"), TIMES_PAGE_BYTES)
        .set_column_encoding(column("mantissa"), encoding)
        .set_column_data_page_size_limit(column("mantissa"), page_bytes)
        .set_column_dictionary_enabled(column("base"), true)
        .set_column_dictionary_enabled(column("exp"), true)
        .set_column_encoding(column("value_f64"), Encoding::BYTE_STREAM_SPLIT)
        .set_column_data_page_size_limit(column("value_f64"), SPLIT_PAGE_BYTES)
        // Pages end by their bytes, which each column has its own bound of.
        .set_data_page_row_count_limit(ROW_GROUP_ROWS)
        .set_max_row_group_row_count(Some(ROW_GROUP_ROWS))
        .build())
}
