//! The modifiers `anchored` and `smoothed`: samples beside a window take part in it. `anchored` takes the last value
//! before the window for its start; `smoothed` takes values on the line between neighbours for both ends.

use super::matrix::{Row, Sample, Series};
use super::mixed::About;
use super::notes::Notes;
use super::scan::{Samples, Windows, between};
use crate::QueryError;
use ::promql::Extension;
use model::{Combined, Histogram, IncompatibleSchemas, Labels, Point, ResetHint};
use std::sync::Arc;

const ANCHORED: [&str; 5] = ["changes", "delta", "increase", "rate", "resets"];
const SMOOTHED: [&str; 3] = ["delta", "increase", "rate"];

/// Which functions can have such windows.
pub(super) fn check(extension: Extension, function: &str) -> Result<(), QueryError> {
    let (word, functions) = match extension {
        Extension::None => return Ok(()),
        Extension::Anchored => ("anchored", &ANCHORED[..]),
        Extension::Smoothed => ("smoothed", &SMOOTHED[..]),
    };
    if functions.contains(&function) {
        return Ok(());
    }
    let functions = functions.join(", ");
    Err(QueryError::Execution(format!(
        "{word} modifier can only be used with: {functions} - not with {function}"
    )))
}

pub(super) fn windows(
    windows: &Windows<'_>,
    labels: &Labels,
    samples: &Samples<'_>,
) -> Result<Row, QueryError> {
    let asked = windows.asked;
    let smoothed = asked.extension == Extension::Smoothed;
    let ahead = if smoothed { windows.lookback_ms } else { 0 };
    let about = About { metric: labels.metric_name(), at: asked.at, notes: windows.notes };
    let mut row = Row::new(windows.times.count);
    for step in 0..windows.times.count {
        let (start_ms, end_ms) = windows.bounds(step);
        let (from, to) = (start_ms.saturating_sub(windows.lookback_ms), end_ms.saturating_add(ahead));
        let numbers = between(&samples.ts_ms, |ts| *ts, from, to);
        let histograms = between(&samples.histograms, |(ts, _)| *ts, from, to);
        let window = Extended {
            ts_ms: &samples.ts_ms[numbers.clone()],
            values: &samples.values[numbers],
            histograms: &samples.histograms[histograms],
            start_ms,
            end_ms,
            smoothed,
        };
        if let Some(sample) = window.compute(asked.over.name, &about) {
            row.set(step, sample);
        }
    }
    Ok(row)
}

struct Extended<'a> {
    ts_ms: &'a [i64],
    values: &'a [f64],
    histograms: &'a [(i64, Arc<Histogram>)],
    start_ms: i64,
    end_ms: i64,
    smoothed: bool,
}

impl Extended<'_> {
    fn compute(&self, function: &str, about: &About<'_>) -> Option<Sample> {
        if matches!(function, "changes" | "resets") {
            return self.counted(function).map(Sample::Number);
        }
        let seconds = (self.end_ms - self.start_ms) as f64 / 1e3;
        let (is_counter, is_rate) = (function != "delta", function == "rate");
        match (self.values.is_empty(), self.histograms.is_empty()) {
            (true, true) => None,
            (false, false) => {
                about.notes.mixed_samples(about.at, about.metric);
                None
            }
            (false, true) => {
                let grown = self.grown(is_counter)?;
                Some(Sample::Number(if is_rate { grown / seconds } else { grown }))
            }
            (true, false) => {
                let grown = self.grown_histogram(is_counter, about)?;
                let grown = if is_rate { grown.divided(seconds) } else { grown };
                let grown = Histogram { hint: ResetHint::Gauge, ..grown };
                Some(Sample::Histogram(Arc::new(grown.compact())))
            }
        }
    }

    /// First and last sample that take part.
    fn ends<T>(&self, all: &[T], time: impl Fn(&T) -> i64) -> Option<(usize, usize)> {
        let mut last = all.len().checked_sub(1)?;
        let first = all[..last].partition_point(|one| time(one) <= self.start_ms).saturating_sub(1);
        if self.smoothed {
            last = all[..last].partition_point(|one| time(one) < self.end_ms);
        }
        let outside = time(&all[last]) <= self.start_ms || (self.smoothed && time(&all[first]) > self.end_ms);
        (!outside).then_some((first, last))
    }

    fn grown(&self, is_counter: bool) -> Option<f64> {
        let (mut first, last) = self.ends(self.ts_ms, |ts| *ts)?;
        let point = |at: usize| Point { ts_ms: self.ts_ms[at], value: self.values[at] };
        let left = match self.smoothed && self.ts_ms[first] < self.start_ms {
            true => interpolated(point(first), point(first + 1), self.start_ms, is_counter),
            false => self.values[first],
        };
        let right = match self.smoothed && last > 0 && self.ts_ms[last] > self.end_ms {
            true => interpolated(point(last - 1), point(last), self.end_ms, is_counter),
            false => self.values[last],
        };
        let mut grown = right - left;
        if is_counter {
            // What the ends stand for is counted with them.
            if self.ts_ms[first] <= self.start_ms {
                first += 1;
            }
            let end = if self.ts_ms[last] >= self.end_ms { last } else { last + 1 };
            let mut before = left;
            for value in self.values.get(first..end.max(first)).unwrap_or(&[]).iter().chain([&right]) {
                if *value < before {
                    grown += before;
                }
                before = *value;
            }
        }
        Some(grown)
    }

    fn grown_histogram(&self, is_counter: bool, about: &About<'_>) -> Option<Histogram> {
        let all = self.histograms;
        let (first, last) = self.ends(all, |(ts, _)| *ts)?;
        let custom = all[first].1.uses_custom_buckets();
        for (_, histogram) in &all[first..=last] {
            if histogram.uses_custom_buckets() != custom {
                about.notes.mixed_schemas(about.at, about.metric);
                return None;
            }
            if is_counter && histogram.hint == ResetHint::Gauge {
                about.notes.not_a_counter(about.at, about.metric);
            }
        }
        let (start_ms, end_ms) = (self.start_ms, self.end_ms);
        let left = match self.smoothed && all[first].0 < start_ms {
            true => {
                about.told(between_histograms(&all[first], &all[first + 1], start_ms, is_counter, about))?
            }
            false => (*all[first].1).clone(),
        };
        let right = match self.smoothed && last > 0 && all[last].0 > end_ms {
            true => about.told(between_histograms(&all[last - 1], &all[last], end_ms, is_counter, about))?,
            false => (*all[last].1).clone(),
        };
        if !is_counter && (left.hint != ResetHint::Gauge || right.hint != ResetHint::Gauge) {
            about.notes.not_a_gauge(about.at, about.metric);
        }
        let mut grown = right.clone();
        about.combined(grown.subtract(&left), "subtraction")?;
        if is_counter && let Some(lost) = self.lost_in_resets(first, last, &left, &right, about)? {
            about.combined(grown.add(&lost), "addition")?;
        }
        Some(grown)
    }

    /// What counters had reached before they began anew.
    fn lost_in_resets(
        &self,
        first: usize,
        last: usize,
        left: &Histogram,
        right: &Histogram,
        about: &About<'_>,
    ) -> Option<Option<Histogram>> {
        let all = self.histograms;
        let (mut from, mut before) = (first + 1, left);
        if self.smoothed && all[first].0 < self.start_ms && all[first + 1].1.detects_reset(&all[first].1) {
            // The line at the left end went over this reset already.
            before = &all[first + 1].1;
            from += 1;
        }
        if from > last {
            return Some(None);
        }
        let mut lost: Option<Histogram> = None;
        for now in all[from..last].iter().map(|(_, histogram)| &**histogram).chain([right]) {
            if now.detects_reset(before) {
                match &mut lost {
                    None => lost = Some(before.clone()),
                    Some(lost) => about.combined(lost.add(before), "addition")?,
                }
            }
            before = now;
        }
        Some(lost)
    }

    /// `changes` and `resets` from the one sample that stands at the start.
    fn counted(&self, function: &str) -> Option<f64> {
        let number = self.ts_ms.partition_point(|ts| *ts <= self.start_ms).checked_sub(1);
        let histogram = self.histograms.partition_point(|(ts, _)| *ts <= self.start_ms).checked_sub(1);
        let after = |last: Option<usize>| last.map_or(0, |last| last + 1);
        if after(number) >= self.ts_ms.len() && after(histogram) >= self.histograms.len() {
            return None;
        }
        let (from_number, from_histogram) = match (number, histogram) {
            (None, None) => (0, 0),
            (Some(number), histogram)
                if histogram.is_none_or(|at| self.ts_ms[number] >= self.histograms[at].0) =>
            {
                (number, after(histogram))
            }
            (number, histogram) => (after(number), histogram.unwrap_or(0)),
        };
        let window = super::windows::Window {
            ts_ms: &self.ts_ms[from_number..],
            values: &self.values[from_number..],
            starts: &[],
            start_ms: self.start_ms,
            end_ms: self.end_ms,
            step_ms: self.end_ms,
            ascends: false,
        };
        Some(super::mixed::counted(function, &window, &self.histograms[from_histogram..], &[]))
    }
}

fn interpolated(a: Point, b: Point, at_ms: i64, is_counter: bool) -> f64 {
    // A counter that began anew came from zero.
    let from = if is_counter && b.value < a.value { 0.0 } else { a.value };
    from + (b.value - from) * (at_ms - a.ts_ms) as f64 / (b.ts_ms - a.ts_ms) as f64
}

type Timed = (i64, Arc<Histogram>);

fn between_histograms(
    (a_ms, a): &Timed,
    (b_ms, b): &Timed,
    at_ms: i64,
    is_counter: bool,
    about: &About<'_>,
) -> Result<Histogram, IncompatibleSchemas> {
    if at_ms == *a_ms {
        return Ok((**a).clone());
    }
    if at_ms == *b_ms {
        return Ok((**b).clone());
    }
    let share = (at_ms - a_ms) as f64 / (b_ms - a_ms) as f64;
    if is_counter && b.detects_reset(a) {
        return Ok((**b).clone().scaled(share));
    }
    let mut between = (**b).clone();
    let told = |combined: Combined, operation: &str| {
        if combined.bounds_reconciled {
            about.notes.bounds_reconciled(about.at, operation);
        }
    };
    told(between.subtract(a)?, "subtraction");
    between = between.scaled(share);
    told(between.add(a)?, "addition");
    Ok(between)
}

/// An instant selector with `smoothed`.
pub(super) fn smoothed(
    samples: &Samples<'_>,
    labels: Labels,
    time: impl Fn(usize) -> i64,
    steps: usize,
    lookback_ms: i64,
    (notes, at): (&Notes, usize),
) -> Series {
    let mut row = Row::new(steps);
    let about = About { metric: labels.metric_name(), at, notes };
    for step in 0..steps {
        let now = time(step);
        let (from, to) = (now.saturating_sub(lookback_ms), now.saturating_add(lookback_ms));
        let numbers = between(&samples.ts_ms, |ts| *ts, from, to);
        let histograms = between(&samples.histograms, |(ts, _)| *ts, from, to);
        match (numbers.is_empty(), histograms.is_empty()) {
            (true, true) => {}
            (false, false) => notes.mixed_samples(at, about.metric),
            (false, true) => {
                let (ts_ms, values) = (&samples.ts_ms[numbers.clone()], &samples.values[numbers]);
                let next = ts_ms.partition_point(|ts| *ts < now);
                let point = |at: usize| Point { ts_ms: ts_ms[at], value: values[at] };
                if ts_ms.get(next) == Some(&now) {
                    row.set(step, Sample::Number(values[next]));
                } else if next > 0 && next < ts_ms.len() {
                    let value = interpolated(point(next - 1), point(next), now, false);
                    row.set(step, Sample::Number(value));
                } else if next > 0 {
                    row.set(step, Sample::Number(values[next - 1]));
                }
            }
            (true, false) => {
                let all = &samples.histograms[histograms];
                let next = all.partition_point(|(ts, _)| *ts < now);
                let found = if all.get(next).is_some_and(|(ts, _)| *ts == now) {
                    Some((*all[next].1).clone())
                } else if next > 0 && next < all.len() {
                    let (a, b) = (&all[next - 1], &all[next]);
                    if a.1.uses_custom_buckets() != b.1.uses_custom_buckets() {
                        // There is no line between them, not even one that begins at a reset.
                        notes.mixed_schemas(at, about.metric);
                        continue;
                    }
                    let is_counter = a.1.hint != ResetHint::Gauge || b.1.hint != ResetHint::Gauge;
                    about.told(between_histograms(a, b, now, is_counter, &about))
                } else if next > 0 {
                    Some(Histogram { hint: ResetHint::Unknown, ..(*all[next - 1].1).clone() })
                } else {
                    None
                };
                if let Some(histogram) = found {
                    row.set(step, Sample::Histogram(Arc::new(histogram)));
                }
            }
        }
    }
    row.series(labels, false)
}

/// The samples of a range vector that is the query itself: with values made for both ends.
pub(super) fn raw(
    ts_ms: &[i64],
    values: &[f64],
    (start_ms, end_ms): (i64, i64),
    smoothed: bool,
) -> Vec<Point> {
    let window = Extended { ts_ms, values, histograms: &[], start_ms, end_ms, smoothed };
    let Some((first, last)) = window.ends(ts_ms, |ts| *ts) else { return vec![] };
    let point = |at: usize| Point { ts_ms: ts_ms[at], value: values[at] };
    let left = match smoothed && ts_ms[first] < start_ms {
        true => interpolated(point(first), point(first + 1), start_ms, false),
        false => values[first],
    };
    let right = match smoothed && last > 0 && ts_ms[last] > end_ms {
        true => interpolated(point(last - 1), point(last), end_ms, false),
        false => values[last],
    };
    let from = if ts_ms[first] <= start_ms { first + 1 } else { first };
    let to = if ts_ms[last] >= end_ms { last } else { last + 1 };
    let mut points = vec![Point { ts_ms: start_ms, value: left }];
    points.extend((from..to).map(point));
    points.push(Point { ts_ms: end_ms, value: right });
    points
}
