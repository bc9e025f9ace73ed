//! Samples as Arrow batches: one row a series, with its labels, times and values.

use arrow::array::{
    ArrayRef, AsArray, BinaryBuilder, Float64Builder, Int64Builder, ListBuilder, RecordBatch,
};
use arrow::datatypes::{Float64Type, Int64Type};
use model::Labels;
use std::sync::Arc;
use store::{ReadError, SampleBlock};

/// Samples of a batch, about, and bytes of its labels: what one frame holds.
const BATCH_SAMPLES: usize = 1 << 20;
const BATCH_LABEL_BYTES: usize = 64 << 20;

/// Cut as they are asked for, so that a block is not in memory twice.
pub fn batches(block: SampleBlock) -> impl Iterator<Item = Result<RecordBatch, ReadError>> + Send {
    let mut series = 0;
    std::iter::from_fn(move || {
        let mut next = Builder::default();
        while series < block.labels.len()
            && next.samples < BATCH_SAMPLES
            && next.label_bytes < BATCH_LABEL_BYTES
        {
            let range = block.offsets[series]..block.offsets[series + 1];
            next.add(&block.labels[series], &block.ts_ms[range.clone()], &block.values[range]);
            series += 1;
        }
        (next.label_bytes > 0 || next.samples > 0).then(|| next.finish())
    })
}

struct Builder {
    labels: BinaryBuilder,
    ts_ms: ListBuilder<Int64Builder>,
    values: ListBuilder<Float64Builder>,
    samples: usize,
    label_bytes: usize,
}

impl Default for Builder {
    fn default() -> Self {
        Builder {
            labels: BinaryBuilder::new(),
            ts_ms: ListBuilder::new(Int64Builder::new()),
            values: ListBuilder::new(Float64Builder::new()),
            samples: 0,
            label_bytes: 0,
        }
    }
}

impl Builder {
    fn add(&mut self, labels: &Labels, ts_ms: &[i64], values: &[f64]) {
        self.labels.append_value(labels.as_bytes());
        self.ts_ms.values().append_slice(ts_ms);
        self.ts_ms.append(true);
        self.values.values().append_slice(values);
        self.values.append(true);
        self.samples += values.len();
        // One more, so that a series without labels counts.
        self.label_bytes += labels.as_bytes().len() + 1;
    }

    fn finish(mut self) -> Result<RecordBatch, ReadError> {
        let columns: [(&str, ArrayRef); 3] = [
            ("labels", Arc::new(self.labels.finish())),
            ("ts", Arc::new(self.ts_ms.finish())),
            ("values", Arc::new(self.values.finish())),
        ];
        RecordBatch::try_from_iter(columns).map_err(|wrong| ReadError::Io(wrong.to_string()))
    }
}

/// A batch's series.
pub fn block(batch: &RecordBatch) -> Result<SampleBlock, ReadError> {
    let wrong = |what: String| ReadError::Io(format!("a peer's samples: {what}"));
    let (Some(labels), Some(ts_ms), Some(values)) = (
        batch.column_by_name("labels").and_then(|column| column.as_binary_opt::<i32>()),
        batch.column_by_name("ts").and_then(|column| column.as_list_opt::<i32>()),
        batch.column_by_name("values").and_then(|column| column.as_list_opt::<i32>()),
    ) else {
        return Err(wrong("columns are missing".into()));
    };
    let mut block = SampleBlock::default();
    for row in 0..batch.num_rows() {
        let (ts_ms, values) = (ts_ms.value(row), values.value(row));
        let (Some(ts_ms), Some(values)) =
            (ts_ms.as_primitive_opt::<Int64Type>(), values.as_primitive_opt::<Float64Type>())
        else {
            return Err(wrong("columns have other types".into()));
        };
        if ts_ms.len() != values.len() {
            return Err(wrong("times and values differ in number".into()));
        }
        let labels = Labels::from_bytes(labels.value(row)).map_err(|e| wrong(e.to_string()))?;
        block.push(labels, ts_ms.values(), values.values());
    }
    Ok(block)
}
