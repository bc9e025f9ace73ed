//! Range aggregations: runs the pipeline over a scan and counts, sums or measures the lines of each window.
//!
//! A window of step `t` holds the lines of `(t - range, t]`. Counts and bytes are added to a difference array when a
//! line comes, however many windows overlap; unwrapped values are kept and measured at the end.

mod columns;
mod samples;
mod values;
mod windows;

pub(crate) use samples::variance;

use super::matrix::{MATRIX, Matrix, Series, Steps};
use super::operator::{Batches, Work};
use super::scan::{Rows, Stream, Streams};
use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use columns::{Class, Columns, LABELS_MAX, Verdict};
use datafusion::common::DataFusionError;
use datafusion::common::hash_utils::RandomState;
use datafusion::execution::memory_pool::MemoryConsumer;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use futures::StreamExt;
use logql::{Fields, Grouping, Pipeline, RangeOp, Unwrap};
use model::{LabelSetBuilder, Labels, Match, Matcher};
use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;
use values::Known;
use windows::Windows;

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
    /// Of counts of lines at one step.
    pub extremes: Option<Extremes>,
}

impl std::fmt::Debug for RangeAggregate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "RangeAggregate {}", self.op.as_str())
    }
}

/// The extremes alone are wanted of an answer with one step: those that a `topk` or `bottomk` above keeps, and what is equal to
/// the last of them.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Extremes {
    Largest(usize),
    Smallest(usize),
}

/// The step of a line that came without its time.
const ONLY_STEP: (usize, usize) = (0, 0);

struct State {
    /// Series by the bytes of their labels.
    known: HashMap<Box<[u8]>, usize, RandomState>,
    windows: Windows,
    /// By series, as far as one has any: time and value of unwrapped lines.
    samples: Vec<Vec<(i64, f64)>>,
    /// Series of a stream, where its labels alone decide it.
    of_stream: Vec<Option<usize>>,
    key: Vec<u8>,
    bytes: usize,
    /// Series whose labels are not made yet.
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
            let mut state = self.state();
            let mut streams = Streams::new(self.matchers.clone());
            let mut fields = Fields::default();
            let Some(input) = inputs.first_mut() else { return Matrix::default().to_batch() };
            while let Some(batch) = input.next().await {
                self.take(&batch?, &mut streams, &mut fields, &mut state)?;
                reservation.try_resize(state.bytes)?;
            }
            self.finish(state)?.to_batch()
        })
        .boxed()
    }
}

impl RangeAggregate {
    fn state(&self) -> State {
        let steps = if self.unwrap.is_none() { self.steps.count } else { 0 };
        let has_bytes = matches!(self.op, RangeOp::Bytes | RangeOp::BytesRate);
        State {
            known: HashMap::default(),
            windows: Windows::new(steps, has_bytes),
            samples: vec![],
            of_stream: vec![],
            key: vec![],
            bytes: 0,
            by_columns: Known::default(),
            cached: None,
        }
    }

    fn take(
        &self,
        batch: &RecordBatch,
        streams: &mut Streams,
        fields: &mut Fields,
        state: &mut State,
    ) -> Result<(), DataFusionError> {
        let rows = Rows::of(batch)?;
        streams.see(&rows)?;
        state.of_stream.resize(streams.all.len(), None);
        let mut columns = Columns::of(&self.pipeline, self.grouping.as_ref(), &rows);
        // Lines of a stream mostly follow one another.
        let mut start = 0;
        for of_stream in rows.stream_keys.chunk_by(|one, next| one == next) {
            let lines = start..start + of_stream.len();
            start = lines.end;
            let stream_at = streams.of_key(of_stream[0]);
            let stream = &streams.all[stream_at];
            if !stream.selected {
                continue;
            }
            if self.by_stream_alone() && !self.pipeline.reads_line() {
                self.count(&rows, lines, stream_at, stream, fields, state)?;
            } else {
                self.judge(&rows, lines, stream_at, stream, columns.as_mut(), fields, state)?;
            }
        }
        Ok(())
    }

    fn by_stream_alone(&self) -> bool {
        self.pipeline.keeps_labels() && !self.reads_metadata && self.unwrap.is_none()
    }

    /// Lines of one stream that all count in the same series.
    fn count(
        &self,
        rows: &Rows<'_>,
        lines: Range<usize>,
        stream_at: usize,
        stream: &Stream,
        fields: &mut Fields,
        state: &mut State,
    ) -> Result<(), DataFusionError> {
        let has_bytes = matches!(self.op, RangeOp::Bytes | RangeOp::BytesRate);
        let bytes = |lines: Range<usize>| match has_bytes {
            true => lines.map(|row| rows.line(row).len()).sum(),
            false => 0,
        };
        let Some(times) = rows.times() else {
            let series = self.series_of_stream(stream_at, &stream.pairs, fields, state)?;
            state.windows.add(series, ONLY_STEP, lines.len() as i64, bytes(lines));
            return Ok(());
        };
        let mut series = None;
        let mut start = lines.start;
        while start < lines.end {
            let ts = |row: usize| times[row].saturating_add(self.offset_ns);
            let steps = self.steps_of(ts(start), &mut state.cached);
            let mut end = start + 1;
            if let (Some(_), Some((from, to, ..))) = (steps, state.cached) {
                let is_same = |row: usize| ts(row) > from && ts(row) <= to;
                if is_same(start) {
                    end += (end..lines.end).take_while(|row| is_same(*row)).count();
                }
            }
            if let Some(steps) = steps {
                let series = match series {
                    Some(series) => series,
                    None => *series.insert(self.series_of_stream(stream_at, &stream.pairs, fields, state)?),
                };
                state.windows.add(series, steps, (end - start) as i64, bytes(start..end));
            }
            start = end;
        }
        Ok(())
    }

    /// Lines of one stream, each by itself.
    #[allow(clippy::too_many_arguments)]
    fn judge(
        &self,
        rows: &Rows<'_>,
        lines: Range<usize>,
        stream_at: usize,
        stream: &Stream,
        mut columns: Option<&mut Columns<'_>>,
        fields: &mut Fields,
        state: &mut State,
    ) -> Result<(), DataFusionError> {
        let class = match &columns {
            Some(columns) => columns.class(stream_at, stream, &mut state.by_columns),
            None => Class::Mixed,
        };
        let mut left = vec![];
        let one_by_one: &mut dyn Iterator<Item = usize> = match (&mut columns, class, rows.times()) {
            (Some(columns), Class::Plain(class), None) if columns.is_coded() => {
                let State { by_columns, windows, bytes, .. } = &mut *state;
                let make = |key_bytes, windows: &mut Windows| {
                    *bytes += key_bytes + windows.bytes_of_series();
                    windows.push() as u32
                };
                columns.count(lines, class, by_columns, windows, make, &mut left);
                &mut left.into_iter()
            }
            _ => &mut { lines },
        };
        let mut name = String::new();
        for row in one_by_one {
            let verdict = match (&columns, class) {
                (Some(columns), Class::Plain(_)) => columns.verdict(row),
                _ => Verdict::Text,
            };
            let json = match verdict {
                Verdict::Text => rows.json().filter(|json| json.knows(row)),
                _ => rows.json(),
            };
            let verdict = match (&columns, json) {
                (Some(columns), None) if columns.drops(rows.line(row)) => Verdict::Drops,
                _ => verdict,
            };
            if verdict == Verdict::Drops {
                continue;
            }
            let ts = rows.times().map(|times| times[row].saturating_add(self.offset_ns));
            let steps = ts.map_or(Some(ONLY_STEP), |ts| self.steps_of(ts, &mut state.cached));
            let Some(steps) = steps else { continue };
            // Nothing asks for the time of a line that came without.
            let ts = ts.unwrap_or_default();
            if let (Verdict::Passes, Some(columns), Class::Plain(class), None) =
                (verdict, &mut columns, class, &self.unwrap)
            {
                let State { by_columns, windows, bytes, .. } = &mut *state;
                let series = columns.series(row, class, by_columns, |key_bytes| {
                    *bytes += key_bytes + windows.bytes_of_series();
                    windows.push() as u32
                });
                windows.add(series, steps, 1, 0);
                continue;
            }
            fields.start(&stream.pairs);
            if self.reads_metadata {
                rows.metadata_into(row, fields, &mut name);
            }
            if self.reads_level && fields.get("detected_level").is_none() {
                fields.add_metadata("detected_level", rows.level(row, stream));
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
            if fields.fails_the_query() {
                return Err(pipeline_error(fields));
            }
            let series = match self.by_stream_alone() {
                true => self.series_of_stream(stream_at, &stream.pairs, fields, state)?,
                false => self.series(fields, state)?,
            };
            match value {
                Some(value) => {
                    state.bytes += 16;
                    state.samples[series].push((ts, value));
                }
                None => state.windows.add(series, steps, 1, line.len()),
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
            Some(Grouping { without: false, labels, .. }) if labels.len() <= LABELS_MAX => {
                let (mut pairs, mut count) = ([("", ""); LABELS_MAX], 0);
                for label in labels {
                    // A label that a line has empty makes another series than one that it has not.
                    if let Some(value) =
                        fields.get(label).filter(|value| !value.is_empty() || !is_error(label))
                    {
                        pairs[count] = (label, value);
                        count += 1;
                    }
                }
                LabelSetBuilder::encode_all_into(&mut pairs[..count], &mut key)
            }
            grouping => {
                let kept = |name: &str| match grouping {
                    Some(Grouping { without: false, labels, .. }) => labels.iter().any(|label| label == name),
                    Some(Grouping { without: true, labels, .. }) => {
                        name != unwrapped && !labels.iter().any(|label| label == name)
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
                let series = state.windows.push();
                state.samples.resize(series + 1, vec![]);
                state.bytes += key.len() * 2 + 160 + state.windows.bytes_of_series() + self.steps.count * 16;
                state.known.insert(key.as_slice().into(), series);
                series
            }
        };
        state.key = key;
        Ok(series)
    }

    fn finish(&self, mut state: State) -> Result<Matrix, DataFusionError> {
        if self.op == RangeOp::Absent {
            return Ok(self.absent(&state));
        }
        let late = self.late(&mut state)?;
        let least = self.extremes.and_then(|extremes| self.last_extreme(extremes, &state));
        let wanted = |windows: &Windows, at: usize| {
            let Some((extremes, least)) = least else { return true };
            let count = windows.of(at).next().map_or(0, |(lines, _)| lines);
            match extremes {
                Extremes::Largest(_) => count >= least,
                Extremes::Smallest(_) => count <= least,
            }
        };
        let mut known = std::mem::take(&mut state.known);
        self.name(late, |at| wanted(&state.windows, at), |key, at| _ = known.insert(key.into(), at))?;
        let mut series = vec![];
        for (key, at) in known {
            if !wanted(&state.windows, at) {
                continue;
            }
            let labels = Labels::from_bytes(&key)
                .map_err(|why| DataFusionError::Execution(format!("labels of a line: {why}")))?;
            series.push(Series { labels, values: self.values(at, &mut state) });
        }
        series.sort_by(|a, b| a.labels.cmp(&b.labels));
        Ok(Matrix(series).without_empty())
    }

    /// Series whose labels were not made, none of which has those of another. Where some may have, all of them are made.
    fn late(&self, state: &mut State) -> Result<Known, DataFusionError> {
        let late = std::mem::take(&mut state.by_columns);
        if state.known.is_empty() && late.is_of_one_class() {
            return Ok(late);
        }
        let State { known, windows, .. } = state;
        self.name(
            late,
            |_| true,
            |key, at| match known.get(key) {
                Some(same) => windows.join(at, *same),
                None => _ = known.insert(key.into(), at),
            },
        )?;
        Ok(Known::default())
    }

    /// Makes the labels of series that are wanted.
    fn name(
        &self,
        late: Known,
        wanted: impl Fn(usize) -> bool,
        mut see: impl FnMut(&[u8], usize),
    ) -> Result<(), DataFusionError> {
        let labels = self.grouping.as_ref().map_or(&[][..], |grouping| &grouping.labels);
        let mut key = vec![];
        late.each(labels.len(), wanted, |values, at| {
            let named =
                labels.iter().zip(values).filter_map(|(label, value)| Some((label.as_str(), (*value)?)));
            let mut pairs: Vec<(&str, &str)> = named.collect();
            key.clear();
            LabelSetBuilder::encode_all_into(&mut pairs, &mut key)
                .map_err(|why| DataFusionError::Execution(format!("labels of a line: {why}")))?;
            see(&key, at);
            Ok(())
        })
    }

    /// The last number of lines that is among the extremes.
    fn last_extreme(&self, extremes: Extremes, state: &State) -> Option<(Extremes, i64)> {
        let counts = (0..state.windows.len()).filter_map(|at| state.windows.of(at).next());
        let mut counts: Vec<i64> = counts.map(|(lines, _)| lines).filter(|lines| *lines > 0).collect();
        let (keep, smallest) = match extremes {
            Extremes::Largest(keep) => (keep, false),
            Extremes::Smallest(keep) => (keep, true),
        };
        let last = keep.checked_sub(1).filter(|last| *last < counts.len())?;
        let (_, count, _) =
            counts.select_nth_unstable_by(last, |a, b| if smallest { a.cmp(b) } else { b.cmp(a) });
        Some((extremes, *count))
    }

    fn values(&self, series: usize, state: &mut State) -> Vec<Option<f64>> {
        let seconds = self.range_ns as f64 / 1e9;
        if self.unwrap.is_some() {
            let samples = &mut state.samples[series];
            samples.sort_by_key(|sample| sample.0);
            return samples::by_step(self.op, self.param, self.range_ns, &self.steps, samples);
        }
        let value = |(lines, bytes): (i64, i64)| {
            let value = match self.op {
                RangeOp::Rate => lines as f64 / seconds,
                RangeOp::Bytes => bytes as f64,
                RangeOp::BytesRate => bytes as f64 / seconds,
                _ => lines as f64,
            };
            (lines > 0).then_some(value)
        };
        state.windows.of(series).map(value).collect()
    }

    /// 1 at every step without a line, under the labels that the selector fixes.
    fn absent(&self, state: &State) -> Matrix {
        let mut seen = vec![false; self.steps.count];
        for series in 0..state.known.len() {
            if self.unwrap.is_none() {
                seen.iter_mut()
                    .zip(state.windows.of(series))
                    .for_each(|(seen, (lines, _))| *seen |= lines > 0);
            }
            for (step, seen) in seen.iter_mut().enumerate() {
                let at = self.steps.at(step);
                let holds = |ts: i64| ts <= at && ts > at.saturating_sub(self.range_ns);
                *seen |= state.samples[series].iter().any(|(ts, _)| holds(*ts));
            }
        }
        // A name that stands twice fixes nothing.
        let is_once = |name: &str| self.matchers.iter().filter(|other| other.name == name).count() == 1;
        let fixed = self.matchers.iter().filter(|m| m.op == Match::Equal && is_once(&m.name));
        let labels = Labels::from_pairs(fixed.map(|matcher| (&matcher.name, &matcher.value)));
        let values = seen.into_iter().map(|seen| (!seen).then_some(1.0)).collect();
        Matrix(vec![Series { labels, values }]).without_empty()
    }
}

/// Errors are none where they are empty.
fn is_error(label: &str) -> bool {
    matches!(label, "__error__" | "__error_details__")
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
