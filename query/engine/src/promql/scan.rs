//! Selectors: the samples of series to values by step, directly or by a function over windows.

use super::matrix::{Matrix, Row, Sample, Series, Values};
use super::node::{Node, Times, scalar_at};
use super::notes::Notes;
use super::tally::Tally;
use super::windows::{Over, Window};
use super::{extended, mixed};
use crate::QueryError;
use crate::room::Room;
use ::promql::Extension;
use futures::TryStreamExt;
use model::{
    Histogram, Labels, Matcher, ResetHint, Run, SeriesSelect, TimeRange, component_of, is_stale_marker,
    stale_marker,
};
use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use store::{BlockStream, SampleBlock, Snapshot};

/// Which time a step looks at: `@` and `offset`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Where {
    pub at_ms: Option<i64>,
    pub offset_ms: i64,
}

impl Where {
    pub fn of(self, step_ms: i64) -> i64 {
        self.at_ms.unwrap_or(step_ms).saturating_sub(self.offset_ms)
    }
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Mode {
    /// The last value of the lookback.
    Instant,
    /// The value on the line between the neighbours.
    Smoothed,
    /// The time of the last value, in seconds.
    Timestamp,
    /// When the counter of the last value began, in seconds; 0 where that is not known.
    Start,
    /// The time of the last value, in milliseconds, under the series' own labels.
    OriginalTime,
    Window(Asked),
}

/// A function over windows and how they are cut.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked {
    pub over: Over,
    pub range_ms: i64,
    pub extension: Extension,
    /// Where the range vector stands in the query, and the first argument.
    pub at: usize,
    pub first_at: usize,
}

/// Reads series; counts what the whole query reads.
#[derive(Clone)]
pub(super) struct Reader {
    pub snapshot: Arc<dyn Snapshot>,
    pub samples_max: usize,
    pub samples: Arc<AtomicU64>,
}

impl Reader {
    /// Gives whole series block by block, by ascending labels, unless it answers that they were not: that some with
    /// histograms came after others.
    pub async fn each(
        &self,
        select: &SeriesSelect,
        room: &Room,
        mut take: impl FnMut(&SampleBlock) -> Result<(), QueryError> + Send,
    ) -> Result<bool, QueryError> {
        let mut blocks = self.snapshot.sample_blocks(select).await?;
        // A histogram's parts lie apart, but before everything else of its labels.
        let mut with_parts: Option<SampleBlock> = None;
        let mut any_before = false;
        while let Some(block) = self.next(&mut blocks).await? {
            match &mut with_parts {
                Some(earlier) => {
                    room.take(bytes(&block))?;
                    earlier.append(block);
                }
                None if block.labels.iter().any(|labels| component_of(labels).is_some()) => {
                    with_parts = Some(block);
                }
                None => {
                    any_before = true;
                    take(&block)?;
                }
            }
        }
        if let Some(rest) = with_parts {
            take(&rest)?;
            return Ok(any_before);
        }
        Ok(false)
    }

    async fn next(&self, blocks: &mut BlockStream) -> Result<Option<SampleBlock>, QueryError> {
        let Some(block) = blocks.try_next().await? else { return Ok(None) };
        let read = block.values.len();
        let total = self.samples.fetch_add(read as u64, Ordering::Relaxed) as usize + read;
        if total > self.samples_max {
            return Err(QueryError::TooMuch(format!(
                "query processing would load too many samples into memory in query execution: more than {} (query.samples_max)",
                self.samples_max
            )));
        }
        Ok(Some(block))
    }
}

#[derive(Clone)]
pub(super) struct Scan {
    pub reader: Reader,
    pub matchers: Vec<Matcher>,
    pub place: Where,
    pub times: Times,
    pub lookback_ms: i64,
    pub mode: Mode,
    pub notes: Notes,
    pub tally: Option<Arc<Tally>>,
    /// Where the selector stands in the query.
    pub at: usize,
    /// Only counts and sums are wanted of histograms: resets are told by hints, as Prometheus' reader for them does.
    pub tells_resets: bool,
}

impl fmt::Debug for Scan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Scan {:?} {:?}", self.matchers, self.mode)
    }
}

#[async_trait::async_trait]
impl Node for Scan {
    fn name(&self) -> &'static str {
        "PromScan"
    }

    fn details(&self) -> String {
        format!("{self:?}")
    }

    async fn evaluate(&self, parameters: Vec<Matrix>, room: &Room) -> Result<Matrix, QueryError> {
        let mut out = vec![];
        let keep = |series: Series| {
            room.take(series.bytes())?;
            out.push(series);
            Ok(())
        };
        let was_apart = self.each(&parameters, room, keep).await?;
        if was_apart {
            out.sort_by(|a, b| a.labels.cmp(&b.labels));
        }
        Ok(Matrix(out))
    }
}

/// Hints where there are none, from what is seen.
fn tell_resets(histograms: &mut [(i64, Arc<Histogram>)]) {
    let hints: Vec<ResetHint> = (1..histograms.len())
        .map(|at| match (&histograms[at - 1].1, &histograms[at].1) {
            (before, now) if now.hint != ResetHint::Unknown || before.is_stale_marker() => now.hint,
            (before, now) if now.detects_reset(before) => ResetHint::Reset,
            _ => ResetHint::NotReset,
        })
        .collect();
    for ((_, histogram), hint) in histograms.iter_mut().skip(1).zip(hints) {
        if histogram.hint != hint {
            *histogram = Arc::new(Histogram { hint, ..(**histogram).clone() });
        }
    }
}

impl Scan {
    /// Gives each series as soon as its samples are there; in which order, [`Reader::each`] tells.
    pub async fn each(
        &self,
        parameters: &[Matrix],
        room: &Room,
        mut take: impl FnMut(Series) -> Result<(), QueryError> + Send,
    ) -> Result<bool, QueryError> {
        if self.times.count == 0 {
            return Ok(false);
        }
        let select = SeriesSelect { matchers: self.matchers.clone(), range: self.range() };
        self.reader.each(&select, room, |block| self.evaluate_block(block, parameters, &mut take)).await
    }

    fn evaluate_block(
        &self,
        block: &SampleBlock,
        parameters: &[Matrix],
        take: &mut impl FnMut(Series) -> Result<(), QueryError>,
    ) -> Result<(), QueryError> {
        for mut run in model::runs(block.iter()) {
            if self.tells_resets {
                tell_resets(&mut run.histograms);
            }
            let series = match self.mode {
                Mode::Window(asked) => {
                    let windows = Windows {
                        asked,
                        place: self.place,
                        times: self.times,
                        lookback_ms: self.lookback_ms,
                        notes: &self.notes,
                    };
                    let (labels, samples) = (run.labels.clone(), Samples::of(&run));
                    if let Some(tally) = &self.tally {
                        tally.add_windows(&windows, &samples);
                    }
                    windows.series(labels, !asked.over.keeps_name, &samples, parameters)?
                }
                Mode::Smoothed => extended::smoothed(
                    &Samples::of(&run),
                    run.labels.clone(),
                    |step| self.place.of(self.times.at(step)),
                    self.times.count,
                    self.lookback_ms,
                    (&self.notes, self.at),
                ),
                Mode::Instant | Mode::Timestamp | Mode::Start | Mode::OriginalTime => self.latest(run),
            };
            if let Some(tally) = self.tally.as_ref().filter(|_| !matches!(self.mode, Mode::Window(_))) {
                tally.add_found(&series);
            }
            if !series.is_empty() {
                take(series)?;
            }
        }
        Ok(())
    }

    /// The times that it reads.
    pub fn range(&self) -> TimeRange {
        let (first, last) = (self.place.of(self.times.start_ms), self.place.of(self.times.last()));
        let (back_ms, ahead_ms) = match self.mode {
            Mode::Window(Asked { range_ms, extension, .. }) => match extension {
                Extension::None => (range_ms, 0),
                Extension::Anchored => (range_ms.saturating_add(self.lookback_ms), 0),
                Extension::Smoothed => (range_ms.saturating_add(self.lookback_ms), self.lookback_ms),
            },
            Mode::Smoothed => (self.lookback_ms, self.lookback_ms),
            _ => (self.lookback_ms, 0),
        };
        // Windows are open on the left.
        let start = first.saturating_sub(back_ms).saturating_add(1);
        TimeRange { start, end: last.saturating_add(ahead_ms) }
    }

    fn latest(&self, run: Run<'_>) -> Series {
        let of_time = |ts_ms: i64| match self.mode {
            Mode::OriginalTime => Some(ts_ms as f64),
            Mode::Timestamp => Some(ts_ms as f64 / 1e3),
            Mode::Start => {
                let at = run.starts.binary_search_by_key(&ts_ms, |(ts, _)| *ts);
                Some(at.map_or(0.0, |at| run.starts[at].1 as f64 / 1e3))
            }
            _ => None,
        };
        let drop_name = matches!(self.mode, Mode::Timestamp | Mode::Start);
        if run.histograms.is_empty() {
            let (ts_ms, values) = (run.ts_ms, run.values);
            let mut next = 0;
            let values: Values = (0..self.times.count)
                .map(|step| {
                    let at = self.place.of(self.times.at(step));
                    next += ts_ms[next..].iter().take_while(|ts| **ts <= at).count();
                    let (ts, value) = (*ts_ms.get(next.checked_sub(1)?)?, values[next - 1]);
                    let fresh = ts > at.saturating_sub(self.lookback_ms) && !is_stale_marker(value);
                    fresh.then(|| of_time(ts).unwrap_or(value))
                })
                .collect();
            return Series { labels: run.labels.clone(), drop_name, values, histograms: vec![] };
        }
        let mut row = Row::new(self.times.count);
        for step in 0..self.times.count {
            let at = self.place.of(self.times.at(step));
            let number = run.ts_ms.partition_point(|ts| *ts <= at).checked_sub(1);
            let histogram = run.histograms.partition_point(|(ts, _)| *ts <= at).checked_sub(1);
            let number = number.map(|i| (run.ts_ms[i], run.values[i]));
            let histogram = histogram.map(|i| &run.histograms[i]);
            let (ts, sample) = match (number, histogram) {
                (Some((ts, value)), histogram) if histogram.is_none_or(|(later, _)| *later < ts) => {
                    (ts, (!is_stale_marker(value)).then_some(Sample::Number(value)))
                }
                (_, Some((ts, histogram))) => {
                    (*ts, (!histogram.is_stale_marker()).then(|| Sample::Histogram(histogram.clone())))
                }
                _ => continue,
            };
            if ts > at.saturating_sub(self.lookback_ms)
                && let Some(sample) = sample
            {
                // A histogram is no info metric: whoever asks for times is to see it.
                let seen = matches!((self.mode, &sample), (Mode::OriginalTime, Sample::Histogram(_)));
                row.set(step, of_time(ts).filter(|_| !seen).map_or(sample, Sample::Number));
            }
        }
        row.series(run.labels.clone(), drop_name)
    }
}

/// Samples of one series without stale markers.
pub(super) struct Samples<'a> {
    pub ts_ms: Cow<'a, [i64]>,
    pub values: Cow<'a, [f64]>,
    /// As long as `ts_ms`, or empty; 0 where it is not known when a counter began.
    pub starts: Vec<i64>,
    /// The same for histograms.
    pub histogram_starts: Vec<i64>,
    pub histograms: Vec<(i64, Arc<Histogram>)>,
}

impl<'a> Samples<'a> {
    /// Most series have no marker and are not copied.
    pub fn of(run: &Run<'a>) -> Samples<'a> {
        let histograms = run.histograms.iter().filter(|(_, histogram)| !histogram.is_stale_marker());
        let histograms: Vec<_> = histograms.cloned().collect();
        let (ts_ms, values): (Cow<'a, [i64]>, Cow<'a, [f64]>) =
            if run.values.iter().any(|value| is_stale_marker(*value)) {
                let kept = run.ts_ms.iter().zip(run.values).filter(|(_, value)| !is_stale_marker(**value));
                let (ts_ms, values): (Vec<i64>, Vec<f64>) = kept.map(|(ts, value)| (*ts, *value)).unzip();
                (ts_ms.into(), values.into())
            } else {
                (run.ts_ms.into(), run.values.into())
            };
        let starts = starts_of(run, ts_ms.iter().copied());
        let histogram_starts = starts_of(run, histograms.iter().map(|(ts, _)| *ts));
        Samples { ts_ms, values, starts, histogram_starts, histograms }
    }
}

fn starts_of(run: &Run<'_>, times: impl Iterator<Item = i64>) -> Vec<i64> {
    if run.starts.is_empty() {
        return vec![];
    }
    let start =
        |ts: i64| run.starts.binary_search_by_key(&ts, |(ts, _)| *ts).map_or(0, |at| run.starts[at].1);
    times.map(start).collect()
}

/// A part of what is as long as the samples, or nothing.
fn part(all: &[i64], range: std::ops::Range<usize>) -> &[i64] {
    all.get(range).unwrap_or(&[])
}

/// Where the windows of a function lie.
pub(super) struct Windows<'a> {
    pub asked: Asked,
    pub place: Where,
    pub times: Times,
    pub lookback_ms: i64,
    pub notes: &'a Notes,
}

impl Windows<'_> {
    pub fn series(
        &self,
        labels: Labels,
        drop_name: bool,
        samples: &Samples<'_>,
        parameters: &[Matrix],
    ) -> Result<Series, QueryError> {
        let Asked { over, extension, .. } = self.asked;
        let row = if extension != Extension::None {
            extended::windows(self, &labels, samples)?
        } else if samples.histograms.is_empty() {
            let values = self.numbers(labels.metric_name(), samples, parameters)?;
            self.note_counter(&labels, values.any());
            return Ok(Series { labels, drop_name, values, histograms: vec![] });
        } else {
            self.mixed(&labels, samples, parameters)?
        };
        let series = row.series(labels, drop_name);
        self.note_counter(&series.labels, over.is_rate() && series.values.any());
        Ok(series)
    }

    /// A rate of what is not named as a counter is doubtful.
    fn note_counter(&self, labels: &Labels, any: bool) {
        if !any || !self.asked.over.is_rate() {
            return;
        }
        let name = labels.metric_name();
        let counter = ["_total", "_sum", "_count", "_bucket"].iter().any(|end| name.ends_with(end));
        if !name.is_empty() && !counter {
            self.notes.info(
                self.asked.at,
                format_args!(
                    "metric might not be a counter, name does not end in _total/_sum/_count/_bucket: {name:?}"
                ),
            );
        }
    }

    /// Start and end of a step's window.
    pub fn bounds(&self, step: usize) -> (i64, i64) {
        let end_ms = self.place.of(self.times.at(step));
        (end_ms.saturating_sub(self.asked.range_ms), end_ms)
    }

    fn numbers(
        &self,
        metric: &str,
        samples: &Samples<'_>,
        parameters: &[Matrix],
    ) -> Result<Values, QueryError> {
        let (ts_ms, values) = (&*samples.ts_ms, &*samples.values);
        let over = self.asked.over;
        let ascends = over.is_rate() && values.is_sorted();
        let (mut low, mut high) = (0, 0);
        // With `@` every step has the same window.
        let pinned = self.place.at_ms.is_some() && parameters.is_empty();
        let mut out = vec![stale_marker(); self.times.count];
        for step in 0..self.times.count {
            let (start_ms, end_ms) = self.bounds(step);
            while high < ts_ms.len() && ts_ms[high] <= end_ms {
                high += 1;
            }
            while low < high && ts_ms[low] <= start_ms {
                low += 1;
            }
            if low == ts_ms.len() {
                break;
            }
            if low == high {
                continue;
            }
            let window = Window {
                ts_ms: &ts_ms[low..high],
                values: &values[low..high],
                starts: part(&samples.starts, low..high),
                start_ms,
                end_ms,
                step_ms: self.times.at(step),
                ascends,
            };
            if over.is_rate() && !window.starts.is_empty() {
                self.note_overlap(metric, window.ts_ms.iter().copied(), window.starts);
            }
            let given = match parameters {
                [] => [f64::NAN; 2],
                _ => self.parameters(step, parameters)?,
            };
            if let Some(value) = (over.compute)(&window, given) {
                out[step] = value;
                if pinned {
                    out.fill(value);
                }
            }
            if pinned {
                break;
            }
        }
        Ok(Values::of(out))
    }

    /// A counter cannot have begun, again, before the sample in front of it was taken.
    fn note_overlap(&self, metric: &str, ts_ms: impl Iterator<Item = i64>, starts: &[i64]) {
        let ts_ms: Vec<i64> = ts_ms.collect();
        let overlaps = |at: usize| {
            let (before, now) = (starts[at - 1], starts[at]);
            now != 0 && now < ts_ms[at - 1] && now != before
        };
        if (1..starts.len().min(ts_ms.len())).any(overlaps) {
            self.notes.start_overlap(self.asked.at, metric);
        }
    }

    fn parameters(&self, step: usize, parameters: &[Matrix]) -> Result<[f64; 2], QueryError> {
        let parameter = |at: usize| parameters.get(at).map_or(f64::NAN, |matrix| scalar_at(matrix, step));
        let both = [parameter(0), parameter(1)];
        match self.asked.over.name {
            "quantile_over_time" if !(0.0..=1.0).contains(&both[0]) => {
                self.notes.invalid_quantile(self.asked.first_at, both[0]);
            }
            "double_exponential_smoothing" => {
                for (kind, letters, value) in [("smoothing", "sf", both[0]), ("trend", "tf", both[1])] {
                    let within = value > 0.0 && value < 1.0;
                    if !within && !value.is_nan() {
                        return Err(QueryError::Execution(format!(
                            "invalid {kind} factor. Expected: 0 < {letters} < 1, got: {value:.6}"
                        )));
                    }
                }
            }
            _ => {}
        }
        Ok(both)
    }

    fn mixed(
        &self,
        labels: &Labels,
        samples: &Samples<'_>,
        parameters: &[Matrix],
    ) -> Result<Row, QueryError> {
        let mut row = Row::new(self.times.count);
        for step in 0..self.times.count {
            let (start_ms, end_ms) = self.bounds(step);
            let numbers = between(&samples.ts_ms, |ts| *ts, start_ms, end_ms);
            let histograms = between(&samples.histograms, |(ts, _)| *ts, start_ms, end_ms);
            if numbers.is_empty() && histograms.is_empty() {
                continue;
            }
            let window = mixed::Window {
                numbers: Window {
                    ts_ms: &samples.ts_ms[numbers.clone()],
                    values: &samples.values[numbers.clone()],
                    starts: part(&samples.starts, numbers),
                    start_ms,
                    end_ms,
                    step_ms: self.times.at(step),
                    ascends: false,
                },
                histograms: &samples.histograms[histograms.clone()],
                starts: part(&samples.histogram_starts, histograms),
            };
            let parameters = self.parameters(step, parameters)?;
            let about = mixed::About { metric: labels.metric_name(), at: self.asked.at, notes: self.notes };
            if self.asked.over.is_rate() && !window.starts.is_empty() {
                self.note_overlap(about.metric, window.histograms.iter().map(|(ts, _)| *ts), window.starts);
            }
            if let Some(sample) = mixed::compute(self.asked.over, &window, parameters, &about) {
                row.set(step, sample);
            }
        }
        Ok(row)
    }
}

pub(super) fn bytes(block: &SampleBlock) -> usize {
    let of_labels = |labels: &Labels| labels.as_bytes().len() + size_of::<Labels>() + size_of::<usize>();
    block.labels.iter().map(of_labels).sum::<usize>() + block.values.len() * 16
}

/// The part of what is sorted by time that lies in `(start, end]`.
pub(super) fn between<T>(
    all: &[T],
    time: impl Fn(&T) -> i64,
    start_ms: i64,
    end_ms: i64,
) -> std::ops::Range<usize> {
    let low = all.partition_point(|one| time(one) <= start_ms);
    low..all.partition_point(|one| time(one) <= end_ms).max(low)
}

/// A function over the windows of a subquery. The last input is the subquery's matrix, the others are parameters.
#[derive(Debug)]
pub(super) struct SubqueryWindows {
    pub asked: Asked,
    pub place: Where,
    pub times: Times,
    pub inner: Times,
    pub notes: Notes,
    pub tally: Option<Arc<Tally>>,
}

#[async_trait::async_trait]
impl Node for SubqueryWindows {
    fn name(&self) -> &'static str {
        "PromSubquery"
    }

    fn details(&self) -> String {
        format!("{} [{}]", self.asked.over.name, ::promql::format_duration(self.asked.range_ms))
    }

    async fn evaluate(&self, mut inputs: Vec<Matrix>, room: &Room) -> Result<Matrix, QueryError> {
        let Some(inner) = inputs.pop() else { return Ok(Matrix::default()) };
        let windows = Windows {
            asked: self.asked,
            place: self.place,
            times: self.times,
            lookback_ms: 0,
            notes: &self.notes,
        };
        let mut out = Vec::with_capacity(inner.0.len());
        for series in inner.0 {
            let samples = self.samples(&series);
            if let Some(tally) = &self.tally {
                tally.add_windows(&windows, &samples);
            }
            let drop_name = series.drop_name || !self.asked.over.keeps_name;
            let series = windows.series(series.labels, drop_name, &samples, &inputs)?;
            if !series.is_empty() {
                room.take(series.bytes())?;
                out.push(series);
            }
        }
        Ok(Matrix(out))
    }
}

impl SubqueryWindows {
    fn samples(&self, series: &Series) -> Samples<'static> {
        let present =
            series.values.iter().enumerate().filter_map(|(step, value)| Some((self.inner.at(step), value?)));
        let (ts_ms, values): (Vec<i64>, Vec<f64>) = present.unzip();
        let histograms = series.histograms.iter().enumerate().filter_map(|(step, histogram)| {
            let histogram = histogram.as_ref()?;
            // A subquery may skip samples or give one twice: what a hint says of neighbours holds no more.
            let known = matches!(histogram.hint, ResetHint::Reset | ResetHint::NotReset);
            let histogram = match known {
                true => Arc::new(Histogram { hint: ResetHint::Unknown, ..(**histogram).clone() }),
                false => histogram.clone(),
            };
            Some((self.inner.at(step), histogram))
        });
        Samples {
            ts_ms: ts_ms.into(),
            values: values.into(),
            histograms: histograms.collect(),
            starts: vec![],
            histogram_starts: vec![],
        }
    }
}
