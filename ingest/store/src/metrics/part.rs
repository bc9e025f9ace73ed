//! A metrics part: samples sorted by series and time in Parquet, and a side index of series with where their rows begin.
//! Layout: FORMAT.md.

mod codes;
mod index;
mod timelines;
mod values;
mod writer;

pub use index::Index;
pub use writer::Writer;

use super::Run;
use crate::objects::{ObjectFile, Read};
use crate::part::{Damaged, Part};
use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::{DataType, Field, Float64Type, Int64Type, Schema, SchemaRef};
use futures::TryStreamExt;
use model::{SeriesSelect, TimeRange};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{RowSelection, RowSelector};
use parquet::arrow::async_reader::ParquetRecordBatchStream;
use std::ops::Range;
use std::sync::{Arc, LazyLock};

static SCHEMA: LazyLock<SchemaRef> = LazyLock::new(|| {
    Arc::new(Schema::new(vec![
        Field::new("series", DataType::UInt32, false),
        Field::new("ts", DataType::Int64, false),
        Field::new("mantissa", DataType::Int64, false),
        Field::new("base", DataType::Int64, false),
        Field::new("exp", DataType::Int8, false),
        Field::new("value_f64", DataType::Float64, true),
    ]))
});

const TS: usize = 1;
const MANTISSA: usize = 2;
const VALUE: usize = 5;

/// Rows of one series that are read, in the order of the file.
struct Wanted {
    series: u32,
    rows: Range<usize>,
    /// Where the rows' times begin in the series' timeline.
    timeline_at: usize,
}

/// Runs of selected series, one after another, in the order of their labels.
pub struct Runs {
    part: Arc<Part>,
    index: Arc<Index>,
    range: TimeRange,
    wanted: std::vec::IntoIter<Wanted>,
    /// Whether the index keeps the labels that are made, for who asks next.
    keeps_labels: bool,
    /// `None` where nothing is read.
    stream: Option<ParquetRecordBatchStream<ObjectFile>>,
    columns: Vec<usize>,
    batch: RecordBatch,
    /// Rows of the batch that are used up.
    at: usize,
}

impl Runs {
    pub async fn of(part: &Arc<Part>, select: &SeriesSelect) -> Result<Runs, Damaged> {
        let index = part.metrics_index().await?;
        let wanted = wanted(&index, select);
        let path = part.meta.data_path();
        let mut columns = vec![];
        let untimed = wanted.iter().any(|one| index.timeline(one.series).is_none());
        let scaled = wanted.iter().any(|one| index.scale(one.series).is_some());
        let unscaled = wanted.iter().any(|one| index.scale(one.series).is_none());
        columns.extend(
            [(TS, untimed), (MANTISSA, scaled), (VALUE, unscaled)].iter().filter(|c| c.1).map(|c| c.0),
        );
        let total = part.meta.rows as usize;
        let rows: usize = wanted.iter().map(|one| one.rows.len()).sum();
        let stream = if wanted.is_empty() {
            None
        } else {
            let projection = ProjectionMask::leaves(index.metadata.parquet_schema(), columns.iter().copied());
            let ranges = wanted.iter().map(|one| one.rows.clone());
            let selection = (rows < total).then(|| selection(ranges, total));
            let read = Read { projection, selection, ..Read::default() };
            Some(part.objects().read(&path, &index.metadata, read).map_err(|e| part.damaged(&path, e))?)
        };
        Ok(Runs {
            part: part.clone(),
            index,
            range: select.range,
            wanted: wanted.into_iter(),
            keeps_labels: true,
            stream,
            columns,
            batch: RecordBatch::new_empty(Arc::new(Schema::empty())),
            at: 0,
        })
    }

    /// To be read once, all of it: the labels are not kept.
    pub fn once(self) -> Runs {
        Runs { keeps_labels: false, ..self }
    }

    /// The next run that has a sample in the range.
    pub async fn next(&mut self) -> Result<Option<Run>, Damaged> {
        while let Some(one) = self.wanted.next() {
            let rows = one.rows.len();
            let index = self.index.clone();
            let mut run = Run {
                labels: match self.keeps_labels {
                    true => index.labels(one.series),
                    false => index.labels_once(one.series),
                },
                ts_ms: Vec::with_capacity(rows),
                values: Vec::with_capacity(rows),
            };
            let timeline = index.timeline(one.series);
            if let Some((_, ts_ms)) = timeline {
                run.ts_ms.extend_from_slice(&ts_ms[one.timeline_at..one.timeline_at + rows]);
            }
            let scale = index.scale(one.series);
            while run.values.len() < rows {
                if self.at == self.batch.num_rows() {
                    self.read_on().await?;
                }
                let take = (rows - run.values.len()).min(self.batch.num_rows() - self.at);
                let taken = self.at..self.at + take;
                match scale {
                    Some(scale) => {
                        let mantissas = self.column(MANTISSA)?.as_primitive::<Int64Type>().values();
                        scale.join(&mantissas[taken.clone()], &mut run.values);
                    }
                    None => {
                        let values = self.column(VALUE)?.as_primitive::<Float64Type>().values();
                        run.values.extend_from_slice(&values[taken.clone()]);
                    }
                }
                if timeline.is_none() {
                    let ts = self.column(TS)?.as_primitive::<Int64Type>().values();
                    run.ts_ms.extend_from_slice(&ts[taken]);
                }
                self.at += take;
            }
            if timeline.is_none() && self.range != TimeRange::ALL {
                super::merge::cut(&mut run, self.range);
            }
            if !run.ts_ms.is_empty() {
                return Ok(Some(run));
            }
        }
        Ok(None)
    }

    fn column(&self, column: usize) -> Result<&arrow::array::ArrayRef, Damaged> {
        let at = self.columns.iter().position(|read| *read == column);
        at.and_then(|at| self.batch.columns().get(at))
            .ok_or_else(|| self.part.damaged(&self.part.meta.data_path(), "it lacks a column"))
    }

    async fn read_on(&mut self) -> Result<(), Damaged> {
        let path = self.part.meta.data_path();
        let damaged = |why: String| self.part.damaged(&path, why);
        let Some(stream) = &mut self.stream else { return Err(damaged("it was not opened".into())) };
        match stream.try_next().await {
            Ok(Some(batch)) if batch.num_columns() == self.columns.len() => {
                self.batch = batch;
                self.at = 0;
                Ok(())
            }
            Ok(Some(_)) => Err(damaged("it lacks a column".into())),
            Ok(None) => Err(damaged("it has fewer rows than its index says".into())),
            Err(wrong) => Err(damaged(wrong.to_string())),
        }
    }
}

fn wanted(index: &Index, select: &SeriesSelect) -> Vec<Wanted> {
    // Series of one target follow one another with one timeline: its places in the range are looked for once.
    let mut places: Option<(u32, Range<usize>)> = None;
    let mut wanted = vec![];
    for series in index.select(select) {
        let rows = index.rows(series);
        let Some((number, ts_ms)) = index.timeline(series).filter(|_| select.range != TimeRange::ALL) else {
            wanted.push(Wanted { series, rows, timeline_at: 0 });
            continue;
        };
        let inside = match &places {
            Some((known, inside)) if *known == number => inside.clone(),
            _ => {
                let start = ts_ms.partition_point(|ts| *ts < select.range.start);
                start..ts_ms.partition_point(|ts| *ts <= select.range.end).max(start)
            }
        };
        places = Some((number, inside.clone()));
        if !inside.is_empty() {
            let rows = rows.start + inside.start..rows.start + inside.end;
            wanted.push(Wanted { series, rows, timeline_at: inside.start });
        }
    }
    wanted
}

/// Ascending ranges of rows as a selection over `total` rows.
pub fn selection(ranges: impl Iterator<Item = Range<usize>>, total: usize) -> RowSelection {
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
