//! Range aggregations: runs the pipeline over a scan and counts, sums or measures the lines of each window.
//!
//! A window of step `t` holds the lines of `(t - range, t]`. Counts and bytes are added to a difference array when a
//! line comes, however many windows overlap; unwrapped values are kept and measured at the end.

mod columns;
mod samples;

pub(crate) use samples::variance;

use super::combine::is_left_out;
use super::matrix::{MATRIX, Matrix, Series, Steps};
use super::operator::{Batches, Work};
use super::scan::{Rows, Streams};
use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use columns::{Columns, Known, Verdict};
use datafusion::common::DataFusionError;
use datafusion::execution::memory_pool::MemoryConsumer;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use futures::StreamExt;
use logql::{Fields, Grouping, Pipeline, RangeOp, Unwrap};
use model::{LabelSetBuilder, Labels, Match, Matcher};
use std::collections::HashMap;
use std::sync::Arc;

pub(crate) struct RangeAggregate {
    pub op: RangeOp,
    pub param: Option<f64>,
    pub pipeline: Pipeline,
    pub unwrap: Option<Unwrap>,
    pub matchers: Vec<Matcher>,
    /// Labels of the answer; `None` keeps all.
    pub grouping: Option<Grouping>,
    pub range_ns: i64,
    pub offset_ns: i64,
    pub steps: Steps,
    /// Whether structured metadata can matter: it is not read otherwise.
    pub reads_metadata: bool,
    pub reads_level: bool,
}

impl std::fmt::Debug for RangeAggregate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "RangeAggregate {}", self.op.as_str())
    }
}

/// What is known of one series of the answer.
#[derive(Default)]
struct Window {
    /// Lines (and bytes) by step as differences: the value at a step is the sum up to it.
    counts: Vec<i64>,
    bytes: Vec<i64>,
    /// Time and value of unwrapped lines.
    samples: Vec<(i64, f64)>,
}

#[derive(Default)]
struct State {
    known: HashMap<Box<[u8]>, usize>,
    windows: Vec<(Labels, Window)>,
    /// Series of a stream, where its labels alone decide it.
    of_stream: Vec<Option<usize>>,
    key: Vec<u8>,
    bytes: usize,
    by_columns: Known,
    /// Step range of the last line and the times for which it holds.
    cached: Option<(i64, i64, usize, usize)>,
}

impl Work for RangeAggregate {
    fn name(&self) -> &'static str {
        "LogRange"
    }

    fn schema(&self) -> SchemaRef {
        MATRIX.clone()
    }

    fn details(&self) -> String {
        let grouping = self.grouping.as_ref().map(ToString::to_string).unwrap_or_default();
        format!("{} [{}] {grouping}", self.op.as_str(), logql::format_duration(self.range_ns))
    }

    fn run(
        self: Arc<Self>,
        mut inputs: Vec<SendableRecordBatchStream>,
        context: Arc<TaskContext>,
    ) -> Batches {
        futures::stream::once(async move {
            let reservation = MemoryConsumer::new("logql range").register(context.memory_pool());
            let mut state = State::default();
            let mut streams = Streams::new(self.matchers.clone());
            let mut fields = Fields::default();
            let Some(input) = inputs.first_mut() else { return Matrix::default().to_batch() };
            while let Some(batch) = input.next().await {
                self.take(&batch?, &mut streams, &mut fields, &mut state)?;
                reservation.try_resize(state.bytes)?;
            }
            self.finish(state).to_batch()
        })
        .boxed()
    }
}

impl RangeAggregate {
    fn take(
        &self,
        batch: &RecordBatch,
        streams: &mut Streams,
        fields: &mut Fields,
        state: &mut State,
    ) -> Result<(), DataFusionError> {
        let rows = Rows::of(batch)?;
        let of_key = streams.of_batch(&rows)?;
        state.of_stream.resize(streams.all.len(), None);
        let by_stream_alone = self.pipeline.keeps_labels() && !self.reads_metadata && self.unwrap.is_none();
        let mut name = String::new();
        let columns = Columns::of(&self.pipeline, self.grouping.as_ref(), &rows);
        for row in 0..rows.len() {
            let ts = rows.ts.value(row).saturating_add(self.offset_ns);
            let Some((first, last)) = self.steps_of(ts, &mut state.cached) else { continue };
            let stream_at = of_key[rows.stream_keys[row] as usize];
            let stream = &streams.all[stream_at];
            if !stream.selected {
                continue;
            }
            if by_stream_alone && !self.pipeline.reads_line() {
                let bytes = rows.line(row).len();
                let series = self.series_of_stream(stream_at, &stream.pairs, fields, state)?;
                self.add(state, series, first, last, bytes);
                continue;
            }
            let json = rows.json().filter(|json| json.knows(row));
            let mut remember = false;
            if let (Some(_), Some(columns)) = (json, &columns) {
                match columns.judge(row, stream_at, stream, &mut state.by_columns) {
                    Verdict::Drops => continue,
                    Verdict::Of(series) if self.unwrap.is_none() => {
                        self.add(state, series, first, last, 0);
                        continue;
                    }
                    Verdict::Of(_) => {}
                    Verdict::Unknown { remember: new } => remember = new,
                }
            }
            fields.start(&stream.pairs);
            if self.reads_metadata {
                rows.metadata_into(row, fields, &mut name);
            }
            if self.reads_level && fields.get("detected_level").is_none() {
                fields.add_metadata("detected_level", rows.level(row));
            }
            let line = match json {
                // The bytes of the line are not asked for then.
                Some(json) => {
                    let passes = self.pipeline.run_json(ts, fields, &|fields| json.extract(row, fields));
                    passes.then_some(std::borrow::Cow::Borrowed(""))
                }
                None => self.pipeline.run(ts, rows.line(row), fields),
            };
            let Some(line) = line else { continue };
            let value = match &self.unwrap {
                Some(unwrap) => match unwrap.value(fields) {
                    Some(value) if self.pipeline.keeps_value(fields) => Some(value),
                    _ => continue,
                },
                None => None,
            };
            if fields.failed() {
                return Err(pipeline_error(fields));
            }
            let series = match by_stream_alone {
                true => self.series_of_stream(stream_at, &stream.pairs, fields, state)?,
                false => self.series(fields, state)?,
            };
            if remember {
                state.bytes += state.by_columns.remember(series);
            }
            match value {
                Some(value) => {
                    state.bytes += 16;
                    state.windows[series].1.samples.push((ts, value));
                }
                None => self.add(state, series, first, last, line.len()),
            }
        }
        Ok(())
    }

    /// The steps whose windows hold a line of this time (offset added); `None` where there are none.
    fn steps_of(&self, ts: i64, cached: &mut Option<(i64, i64, usize, usize)>) -> Option<(usize, usize)> {
        if let Some((from, to, first, last)) = *cached
            && ts > from
            && ts <= to
        {
            return Some((first, last));
        }
        let steps = &self.steps;
        let until = ts.saturating_add(self.range_ns);
        if steps.count == 0 || ts > steps.last() || until <= steps.start_ns {
            return None;
        }
        if steps.count == 1 {
            *cached = Some((steps.start_ns.saturating_sub(self.range_ns), steps.start_ns, 0, 0));
            return Some((0, 0));
        }
        let behind = ts.saturating_sub(steps.start_ns);
        let first = if behind <= 0 { 0 } else { (behind - 1) / steps.step_ns + 1 };
        let last = ((until - 1 - steps.start_ns) / steps.step_ns).min(steps.count as i64 - 1);
        if first > last {
            return None;
        }
        // Between two steps both bounds stay the same when the range is a whole number of steps.
        if self.range_ns % steps.step_ns == 0 && first > 0 {
            let at = steps.at(first as usize);
            *cached = Some((at - steps.step_ns, at, first as usize, last as usize));
        }
        Some((first as usize, last as usize))
    }

    fn add(&self, state: &mut State, series: usize, first: usize, last: usize, bytes: usize) {
        let window = &mut state.windows[series].1;
        window.counts[first] += 1;
        window.counts[last + 1] -= 1;
        if let Some(sums) = window.bytes.get_mut(first) {
            *sums += bytes as i64;
            window.bytes[last + 1] -= bytes as i64;
        }
    }

    fn series_of_stream(
        &self,
        stream_at: usize,
        pairs: &Arc<[(String, String)]>,
        fields: &mut Fields,
        state: &mut State,
    ) -> Result<usize, DataFusionError> {
        if let Some(series) = state.of_stream[stream_at] {
            return Ok(series);
        }
        fields.start(pairs);
        let series = self.series(fields, state)?;
        state.of_stream[stream_at] = Some(series);
        Ok(series)
    }

    /// The series that the labels in `fields` belong to, made where it is new.
    fn series(&self, fields: &Fields, state: &mut State) -> Result<usize, DataFusionError> {
        let unwrapped = self.unwrap.as_ref().map_or("", |unwrap| &unwrap.label);
        let mut key = std::mem::take(&mut state.key);
        key.clear();
        let encoded = match &self.grouping {
            _ if self.op == RangeOp::Absent => Ok(()),
            Some(Grouping { without: false, labels }) if labels.len() <= 8 => {
                let mut pairs = [("", ""); 8];
                for (pair, label) in pairs.iter_mut().zip(labels) {
                    *pair = (label, fields.get(label).unwrap_or(""));
                }
                LabelSetBuilder::encode_into(&mut pairs[..labels.len()], &mut key)
            }
            grouping => {
                let kept = |name: &str| match grouping {
                    Some(Grouping { without: false, labels }) => labels.iter().any(|label| label == name),
                    Some(Grouping { without: true, labels }) => {
                        name != unwrapped && !is_left_out(name, labels, |name| fields.get(name))
                    }
                    None => name != unwrapped,
                };
                let mut pairs: Vec<(&str, &str)> = fields
                    .iter()
                    .map(|(name, value, _)| (name, value))
                    .filter(|(name, _)| kept(name))
                    .collect();
                LabelSetBuilder::encode_all_into(&mut pairs, &mut key)
            }
        };
        encoded.map_err(|why| DataFusionError::Execution(format!("labels of a line: {why}")))?;
        let series = match state.known.get(key.as_slice()) {
            Some(series) => *series,
            None => {
                let labels = Labels::from_bytes(&key)
                    .map_err(|why| DataFusionError::Execution(format!("labels of a line: {why}")))?;
                let sums = matches!(self.op, RangeOp::Bytes | RangeOp::BytesRate);
                let len = if self.unwrap.is_none() { self.steps.count + 1 } else { 0 };
                let window = Window {
                    counts: vec![0; len],
                    bytes: vec![0; if sums { len } else { 0 }],
                    samples: Vec::new(),
                };
                state.bytes +=
                    key.len() * 2 + 160 + len * 8 * (1 + usize::from(sums)) + self.steps.count * 16;
                state.windows.push((labels, window));
                state.known.insert(key.as_slice().into(), state.windows.len() - 1);
                state.windows.len() - 1
            }
        };
        state.key = key;
        Ok(series)
    }

    fn finish(&self, state: State) -> Matrix {
        if self.op == RangeOp::Absent {
            return self.absent(state);
        }
        let mut series: Vec<Series> = state
            .windows
            .into_iter()
            .map(|(labels, window)| Series { labels, values: self.values(window) })
            .collect();
        series.sort_by(|a, b| a.labels.cmp(&b.labels));
        Matrix(series).without_empty()
    }

    fn values(&self, mut window: Window) -> Vec<Option<f64>> {
        let seconds = self.range_ns as f64 / 1e9;
        if self.unwrap.is_some() {
            window.samples.sort_by_key(|sample| sample.0);
            return samples::by_step(self.op, self.param, self.range_ns, &self.steps, &window.samples);
        }
        let (mut lines, mut bytes) = (0i64, 0i64);
        (0..self.steps.count)
            .map(|step| {
                lines += window.counts[step];
                bytes += window.bytes.get(step).copied().unwrap_or(0);
                let value = match self.op {
                    RangeOp::Rate => lines as f64 / seconds,
                    RangeOp::Bytes => bytes as f64,
                    RangeOp::BytesRate => bytes as f64 / seconds,
                    _ => lines as f64,
                };
                (lines > 0).then_some(value)
            })
            .collect()
    }

    /// 1 at every step without a line, under the labels that the selector fixes.
    fn absent(&self, state: State) -> Matrix {
        let mut seen = vec![false; self.steps.count];
        for (_, window) in state.windows {
            let mut lines = 0;
            for (step, seen) in seen.iter_mut().enumerate() {
                lines += window.counts.get(step).copied().unwrap_or(0);
                let at = self.steps.at(step);
                let holds = |ts: i64| ts <= at && ts > at.saturating_sub(self.range_ns);
                *seen |= lines > 0 || window.samples.iter().any(|(ts, _)| holds(*ts));
            }
        }
        let fixed = self.matchers.iter().filter(|matcher| matcher.op == Match::Equal);
        let labels = Labels::from_pairs(fixed.map(|matcher| (&matcher.name, &matcher.value)));
        let values = seen.into_iter().map(|seen| (!seen).then_some(1.0)).collect();
        Matrix(vec![Series { labels, values }]).without_empty()
    }
}

/// Loki's refusal of a line whose error nobody asked to skip.
fn pipeline_error(fields: &Fields) -> DataFusionError {
    let labels = Labels::from_pairs(fields.iter().map(|(name, value, _)| (name, value)));
    let error = fields.error();
    DataFusionError::External(Box::new(crate::QueryError::Bad(format!(
        "pipeline error: '{error}' for series: '{labels}'.\nUse a label filter to intentionally skip this error. (e.g | \
         __error__!=\"{error}\").\nTo skip all potential errors you can match empty errors.(e.g __error__=\"\")\nThe \
         label filter can also be specified after unwrap. (e.g | unwrap latency | __error__=\"\" )\n"
    ))))
}
