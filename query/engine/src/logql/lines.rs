//! Log queries: runs the pipeline over a scan and keeps the best `limit` lines, newest or oldest.
//!
//! Memory is bounded by the limit: a row that cannot be among the best is not even parsed.

use super::operator::{Batches, Work};
use super::scan::{Rows, Streams};
use arrow::array::{ArrayRef, BinaryBuilder, Int64Builder, RecordBatch, StringBuilder};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::common::DataFusionError;
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryReservation};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use futures::StreamExt;
use logql::{Category, Fields, Pipeline};
use model::{LabelSetBuilder, Labels, Matcher, TimeRange};
use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

pub(crate) static LINES: LazyLock<SchemaRef> = LazyLock::new(|| {
    Arc::new(Schema::new(vec![
        Field::new("ts", DataType::Int64, false),
        Field::new("line", DataType::Utf8, false),
        Field::new("stream", DataType::Binary, false),
        Field::new("metadata", DataType::Binary, false),
        Field::new("parsed", DataType::Binary, false),
    ]))
});

pub(crate) struct Lines {
    pub pipeline: Pipeline,
    pub matchers: Vec<Matcher>,
    pub range: TimeRange,
    pub limit: usize,
    pub newest_first: bool,
    pub levels: bool,
}

impl std::fmt::Debug for Lines {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Lines limit={} newest_first={}", self.limit, self.newest_first)
    }
}

/// What is asked for at a time while lines are gathered.
const BYTES_AHEAD: usize = 1 << 20;

/// One line that is among the best so far; labels as canonical bytes.
pub(crate) struct Line {
    pub text: String,
    pub stream: Labels,
    pub metadata: Labels,
    pub parsed: Labels,
}

impl Line {
    fn bytes(&self) -> usize {
        self.text.len() + self.metadata.as_bytes().len() + self.parsed.as_bytes().len() + 160
    }
}

/// The best lines by rank: the time, turned so that the smallest is the best, then the order of arrival.
#[derive(Default)]
struct Best {
    lines: BTreeMap<(i64, u64), Line>,
    bytes: usize,
    arrivals: u64,
}

impl Work for Lines {
    fn name(&self) -> &'static str {
        "LogLines"
    }

    fn schema(&self) -> SchemaRef {
        LINES.clone()
    }

    fn details(&self) -> String {
        format!("limit={} newest_first={}", self.limit, self.newest_first)
    }

    fn run(
        self: Arc<Self>,
        mut inputs: Vec<SendableRecordBatchStream>,
        context: Arc<TaskContext>,
    ) -> Batches {
        futures::stream::once(async move {
            let reservation = MemoryConsumer::new("logql lines").register(context.memory_pool());
            let mut best = Best::default();
            let mut streams = Streams::new(self.matchers.clone());
            let mut fields = Fields::default();
            let Some(input) = inputs.first_mut() else { return best.batch(self.newest_first) };
            while let Some(batch) = input.next().await {
                self.take(&batch?, &mut streams, &mut fields, &mut best, &reservation)?;
                reservation.try_resize(best.bytes)?;
            }
            // What is answered is a copy.
            reservation.try_grow(best.bytes)?;
            best.batch(self.newest_first)
        })
        .boxed()
    }
}

impl Lines {
    fn rank(&self, ts: i64) -> i64 {
        // `!ts` turns the order around without overflow.
        if self.newest_first { !ts } else { ts }
    }

    fn take(
        &self,
        batch: &RecordBatch,
        streams: &mut Streams,
        fields: &mut Fields,
        best: &mut Best,
        reservation: &MemoryReservation,
    ) -> Result<(), DataFusionError> {
        let rows = Rows::of(batch)?;
        streams.see(&rows)?;
        let times = rows.needs_times()?;
        let mut name = String::new();
        let count = rows.len();
        for at in 0..count {
            // Batches mostly ascend in time: from the back the first rows are the best and displace nothing later.
            let row = if self.newest_first { count - 1 - at } else { at };
            let ts = times[row];
            let rank = self.rank(ts);
            let full = best.lines.len() >= self.limit;
            if !self.range.contains(ts)
                || full && best.lines.last_key_value().is_none_or(|(key, _)| key.0 <= rank)
            {
                continue;
            }
            let stream = &streams.all[streams.of_key(rows.stream_keys[row])];
            if !stream.selected {
                continue;
            }
            fields.start(&stream.pairs);
            rows.metadata_into(row, fields, &mut name);
            if self.levels && fields.get("detected_level").is_none() {
                fields.add_metadata("detected_level", rows.level(row, stream));
            }
            let Some(text) = self.pipeline.run(ts, rows.line(row), fields) else { continue };
            // What a line has empty is not what it has not.
            let of = |category| labels_of(fields.iter().filter(|(_, _, of)| *of == category));
            let untouched = self.pipeline.keeps_labels();
            let line = Line {
                text: text.into_owned(),
                stream: if untouched { stream.labels.clone() } else { of(Category::Stream)? },
                metadata: of(Category::Metadata)?,
                parsed: if untouched { Labels::empty() } else { of(Category::Parsed)? },
            };
            best.arrivals += 1;
            best.bytes += line.bytes();
            best.lines.insert((rank, best.arrivals), line);
            if best.lines.len() > self.limit
                && let Some((_, worst)) = best.lines.pop_last()
            {
                best.bytes -= worst.bytes();
            }
            // A batch may hold lines of a megabyte with as much of labels.
            if best.bytes > reservation.size() {
                reservation.try_resize(best.bytes + BYTES_AHEAD)?;
            }
        }
        Ok(())
    }
}

/// With those that are empty.
fn labels_of<'a>(
    fields: impl Iterator<Item = (&'a str, &'a str, Category)>,
) -> Result<Labels, DataFusionError> {
    let mut pairs: Vec<(&str, &str)> = fields.map(|(name, value, _)| (name, value)).collect();
    let mut bytes = vec![];
    let labels =
        LabelSetBuilder::encode_all_into(&mut pairs, &mut bytes).and_then(|()| Labels::from_bytes(&bytes));
    labels.map_err(|why| DataFusionError::Execution(format!("labels of a line: {why}")))
}

impl Best {
    fn batch(self, newest_first: bool) -> Result<RecordBatch, DataFusionError> {
        let sum = |of: fn(&Line) -> usize| -> usize { self.lines.values().map(of).sum() };
        let text = StringBuilder::with_capacity(self.lines.len(), sum(|line| line.text.len()));
        let (mut ts, mut text) = (Int64Builder::new(), text);
        let parsed = sum(|line| line.parsed.as_bytes().len());
        let (mut stream, mut metadata) = (BinaryBuilder::new(), BinaryBuilder::new());
        let mut parsed = BinaryBuilder::with_capacity(self.lines.len(), parsed);
        for ((rank, _), line) in self.lines {
            ts.append_value(if newest_first { !rank } else { rank });
            text.append_value(line.text);
            stream.append_value(line.stream.as_bytes());
            metadata.append_value(line.metadata.as_bytes());
            parsed.append_value(line.parsed.as_bytes());
        }
        let columns: Vec<ArrayRef> = vec![
            Arc::new(ts.finish()),
            Arc::new(text.finish()),
            Arc::new(stream.finish()),
            Arc::new(metadata.finish()),
            Arc::new(parsed.finish()),
        ];
        Ok(RecordBatch::try_new(LINES.clone(), columns)?)
    }
}
