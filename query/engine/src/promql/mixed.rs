//! Functions over windows that hold native histograms, alone or beside numbers.

use super::matrix::Sample;
use super::notes::Notes;
use super::windows::{Began, Over, Window as Numbers, began, extrapolation};
use model::{Combined, Histogram, IncompatibleSchemas, ResetHint};
use std::sync::Arc;

/// The samples of `(start_ms, end_ms]`, at least one of either kind.
pub(super) struct Window<'a> {
    pub numbers: Numbers<'a>,
    pub histograms: &'a [(i64, Arc<Histogram>)],
    /// When the counter of each histogram began, as of numbers.
    pub starts: &'a [i64],
}

impl Window<'_> {
    fn began(&self, at: usize) -> bool {
        let of = |at: usize| Began {
            ts_ms: self.histograms[at].0,
            start_ms: self.starts.get(at).copied().unwrap_or(0),
        };
        began(of(at - 1), of(at))
    }
}

/// What notes are about.
pub(super) struct About<'a> {
    pub metric: &'a str,
    pub at: usize,
    pub notes: &'a Notes,
}

impl About<'_> {
    /// Leaves the notes of a sum or difference; `None` where there is none.
    pub fn combined(&self, combined: Result<Combined, IncompatibleSchemas>, operation: &str) -> Option<()> {
        match combined {
            Ok(Combined { bounds_reconciled, .. }) => {
                if bounds_reconciled {
                    self.notes.bounds_reconciled(self.at, operation);
                }
                Some(())
            }
            Err(IncompatibleSchemas) => {
                self.notes.mixed_schemas(self.at, self.metric);
                None
            }
        }
    }

    pub fn told(&self, found: Result<Histogram, IncompatibleSchemas>) -> Option<Histogram> {
        found.inspect_err(|_| self.notes.mixed_schemas(self.at, self.metric)).ok()
    }
}

pub(super) fn compute(over: Over, w: &Window<'_>, parameters: [f64; 2], about: &About<'_>) -> Option<Sample> {
    let (numbers, histograms) = (&w.numbers, w.histograms);
    let of_numbers = || (over.compute)(numbers, parameters).map(Sample::Number);
    let both = !numbers.values.is_empty() && !histograms.is_empty();
    match over.name {
        "rate" | "increase" | "delta" | "sum_over_time" | "avg_over_time" if both => {
            about.notes.mixed_samples(about.at, about.metric);
            None
        }
        _ if histograms.is_empty() => of_numbers(),
        "rate" | "increase" | "delta" => rate(over.name, w, about),
        "irate" | "idelta" => last_two(over.name == "irate", w, about),
        "sum_over_time" => summed(histograms, about),
        "avg_over_time" => averaged(histograms, about),
        "count_over_time" => Some(Sample::Number((numbers.values.len() + histograms.len()) as f64)),
        "present_over_time" => Some(Sample::Number(1.0)),
        "first_over_time" => {
            let (ts, histogram) = histograms.first()?;
            match (numbers.ts_ms.first(), numbers.values.first()) {
                (Some(earlier), Some(value)) if earlier < ts => Some(Sample::Number(*value)),
                _ => Some(Sample::Histogram(histogram.clone())),
            }
        }
        "last_over_time" => {
            let (ts, histogram) = histograms.last()?;
            match (numbers.ts_ms.last(), numbers.values.last()) {
                (Some(later), Some(value)) if later > ts => Some(Sample::Number(*value)),
                _ => Some(Sample::Histogram(histogram.clone())),
            }
        }
        "ts_of_first_over_time" => {
            let first = histograms.first()?.0.min(numbers.ts_ms.first().copied().unwrap_or(i64::MAX));
            Some(Sample::Number(first as f64 / 1e3))
        }
        "ts_of_last_over_time" => {
            let last = histograms.last()?.0.max(numbers.ts_ms.last().copied().unwrap_or(i64::MIN));
            Some(Sample::Number(last as f64 / 1e3))
        }
        "changes" | "resets" => Some(Sample::Number(counted(over.name, numbers, histograms, w.starts))),
        // All others look at numbers alone, and say so.
        _ => {
            if numbers.values.is_empty() {
                return None;
            }
            about.notes.histograms_ignored_in_range(about.at, about.metric);
            of_numbers()
        }
    }
}

/// How often a sample differs from the one before (`changes`) or is of a counter that began anew (`resets`).
pub(super) fn counted(
    function: &str,
    numbers: &Numbers<'_>,
    histograms: &[(i64, Arc<Histogram>)],
    histogram_starts: &[i64],
) -> f64 {
    enum Kind<'a> {
        Number(f64),
        Histogram(&'a Histogram),
    }
    let of = |starts: &[i64], at: usize, ts_ms: i64| Began {
        ts_ms,
        start_ms: starts.get(at).copied().unwrap_or(0),
    };
    let ours = numbers.ts_ms.iter().zip(numbers.values).enumerate();
    let mut all: Vec<(Began, Kind<'_>)> =
        ours.map(|(at, (ts, value))| (of(numbers.starts, at, *ts), Kind::Number(*value))).collect();
    let theirs = histograms.iter().enumerate();
    all.extend(
        theirs.map(|(at, (ts, histogram))| (of(histogram_starts, at, *ts), Kind::Histogram(histogram))),
    );
    all.sort_by_key(|(began, _)| began.ts_ms);
    let resets = function == "resets";
    let counts = |pair: &&[(Began, Kind<'_>)]| match (&pair[0].1, &pair[1].1) {
        (Kind::Number(before), Kind::Number(now)) if resets => now < before || began(pair[0].0, pair[1].0),
        (Kind::Number(before), Kind::Number(now)) => now != before && !(now.is_nan() && before.is_nan()),
        (Kind::Histogram(before), Kind::Histogram(now)) if resets => {
            began(pair[0].0, pair[1].0) || now.detects_reset(before)
        }
        (Kind::Histogram(before), Kind::Histogram(now)) => now != before,
        _ => true,
    };
    all.windows(2).filter(counts).count() as f64
}

fn rate(function: &str, w: &Window<'_>, about: &About<'_>) -> Option<Sample> {
    let histograms = w.histograms;
    let (first, last) = (histograms.first()?, histograms.last()?);
    let is_counter = function != "delta";
    let start = w.starts.first().copied().unwrap_or(0);
    let start = (is_counter && start != 0 && start > w.numbers.start_ms && start < first.0).then_some(start);
    let intervals = histograms.len() - 1;
    let mut grown = match intervals {
        0 => start.map(|_| Histogram { hint: ResetHint::Gauge, ..(*first.1).clone() })?,
        _ => grown(w, is_counter, about)?,
    };
    let mut factor = match start {
        Some(start) => {
            if intervals > 0 {
                about.combined(grown.add(&first.1), "addition")?;
            }
            w.numbers.rate_from_start(start, first.0, last.0, intervals)
        }
        None => {
            let to_zero = (is_counter && grown.count > 0.0 && first.1.count >= 0.0)
                .then(|| first.1.count / grown.count);
            extrapolation(&w.numbers, first.0, last.0, intervals, to_zero)
        }
    };
    if function == "rate" {
        factor /= w.numbers.range_ms() as f64 / 1e3;
    }
    Some(Sample::Histogram(Arc::new(grown.scaled(factor))))
}

/// From the first to the last, over resets.
fn grown(w: &Window<'_>, is_counter: bool, about: &About<'_>) -> Option<Histogram> {
    let all = w.histograms;
    let (first, second, last) = (&all[0].1, &all[1].1, &all[all.len() - 1].1);
    let mut custom = first.uses_custom_buckets();
    let gauge = |histogram: &Histogram| histogram.hint == ResetHint::Gauge;
    if is_counter && (gauge(first) || gauge(last)) {
        about.notes.not_a_counter(about.at, about.metric);
    }
    // After a reset the first one has no part in it, whatever its buckets are.
    let empty;
    let start = if is_counter && (w.began(1) || second.detects_reset(first)) {
        custom = second.uses_custom_buckets();
        empty = Histogram {
            schema: second.schema,
            custom_values: second.custom_values.clone(),
            ..Histogram::default()
        };
        &empty
    } else {
        &**first
    };
    if last.uses_custom_buckets() != custom {
        about.notes.mixed_schemas(about.at, about.metric);
        return None;
    }
    let mut schema = last.schema.min(start.schema);
    for (_, now) in &all[1..all.len() - 1] {
        if !is_counter {
            continue;
        }
        if gauge(now) {
            about.notes.not_a_counter(about.at, about.metric);
        }
        schema = schema.min(now.schema);
        if now.uses_custom_buckets() != custom {
            about.notes.mixed_schemas(about.at, about.metric);
            return None;
        }
    }
    let mut grown = (**last).clone().at_schema(schema);
    about.combined(grown.subtract(start), "subtraction")?;
    if is_counter {
        let mut before = start;
        for (at, (_, now)) in all.iter().enumerate().skip(1) {
            if w.began(at) || now.detects_reset(before) {
                about.combined(grown.add(before), "addition")?;
            }
            before = now;
        }
    } else if !gauge(first) || !gauge(last) {
        about.notes.not_a_gauge(about.at, about.metric);
    }
    Some(Histogram { hint: ResetHint::Gauge, ..grown }.compact())
}

fn last_two(is_rate: bool, w: &Window<'_>, about: &About<'_>) -> Option<Sample> {
    enum Kind {
        Number(f64),
        Histogram(Arc<Histogram>),
    }
    let of = |starts: &[i64], at: usize, ts_ms: i64| Began {
        ts_ms,
        start_ms: starts.get(at).copied().unwrap_or(0),
    };
    let numbers = w.numbers.ts_ms.iter().zip(w.numbers.values).enumerate().rev().take(2);
    let mut last: Vec<(Began, Kind)> =
        numbers.map(|(at, (ts, value))| (of(w.numbers.starts, at, *ts), Kind::Number(*value))).collect();
    let histograms = w.histograms.iter().enumerate().rev().take(2);
    last.extend(
        histograms.map(|(at, (ts, histogram))| (of(w.starts, at, *ts), Kind::Histogram(histogram.clone()))),
    );
    last.sort_by_key(|(began, _)| began.ts_ms);
    let (now_at, now) = last.pop()?;
    let (before_at, before) = last.pop()?;
    let anew = began(before_at, now_at);
    let seconds = (now_at.ts_ms - before_at.ts_ms) as f64 / 1e3;
    if seconds == 0.0 {
        return None;
    }
    match (before, now) {
        (Kind::Number(before), Kind::Number(now)) => {
            let grown = if is_rate && (now < before || anew) { now } else { now - before };
            Some(Sample::Number(if is_rate { grown / seconds } else { grown }))
        }
        (Kind::Histogram(before), Kind::Histogram(now)) => {
            let gauges = [&before, &now].map(|histogram| histogram.hint == ResetHint::Gauge);
            if is_rate && gauges.contains(&true) {
                about.notes.not_a_counter(about.at, about.metric);
            }
            if !is_rate && gauges.contains(&false) {
                about.notes.not_a_gauge(about.at, about.metric);
            }
            let mut grown = (*now).clone();
            if !is_rate || !(anew || now.detects_reset(&before)) {
                about.combined(grown.subtract(&before), "subtraction")?;
            }
            let grown = Histogram { hint: ResetHint::Gauge, ..grown }.compact();
            Some(Sample::Histogram(Arc::new(if is_rate { grown.divided(seconds) } else { grown })))
        }
        _ => {
            about.notes.mixed_samples(about.at, about.metric);
            None
        }
    }
}

/// Adds up histograms, keeping what rounding takes, and watches their hints.
#[derive(Default)]
pub(super) struct Sum {
    pub sum: Option<Histogram>,
    lost: Option<Histogram>,
    reset: bool,
    no_reset: bool,
    pub bounds_reconciled: bool,
    pub count: f64,
    /// Set once the plain sum would leave the range of numbers: `sum` is the mean from there on.
    is_mean: bool,
}

impl Sum {
    fn watch(&mut self, hint: ResetHint) {
        self.reset |= hint == ResetHint::Reset;
        self.no_reset |= hint == ResetHint::NotReset;
    }

    pub fn hints_collide(&self) -> bool {
        self.reset && self.no_reset
    }

    pub fn add(&mut self, histogram: &Histogram) -> Result<(), IncompatibleSchemas> {
        self.watch(histogram.hint);
        self.count += 1.0;
        let Some(sum) = &mut self.sum else {
            self.sum = Some(histogram.clone());
            return Ok(());
        };
        self.bounds_reconciled |= sum.add_compensated(histogram, &mut self.lost)?.bounds_reconciled;
        Ok(())
    }

    /// As [`add`](Self::add), for a mean.
    pub fn add_to_mean(&mut self, histogram: &Histogram) -> Result<(), IncompatibleSchemas> {
        if self.sum.is_none() {
            return self.add(histogram);
        }
        self.watch(histogram.hint);
        self.count += 1.0;
        if !self.is_mean {
            let (mut sum, mut lost) = (self.sum.clone().unwrap_or_default(), self.lost.clone());
            let told = sum.add_compensated(histogram, &mut lost)?;
            self.bounds_reconciled |= told.bounds_reconciled;
            if !sum.has_overflow() {
                (self.sum, self.lost) = (Some(sum), lost);
                return Ok(());
            }
            self.is_mean = true;
            let before = self.count - 1.0;
            self.sum = self.sum.take().map(|sum| sum.divided(before));
            self.lost = self.lost.take().map(|lost| lost.divided(before));
        }
        let share = (self.count - 1.0) / self.count;
        self.lost = self.lost.take().map(|lost| lost.scaled(share));
        let mut mean = self.sum.take().unwrap_or_default().scaled(share);
        let told = mean.add_compensated(&histogram.clone().divided(self.count), &mut self.lost)?;
        self.bounds_reconciled |= told.bounds_reconciled;
        self.sum = Some(mean);
        Ok(())
    }

    pub fn total(&mut self) -> Option<Histogram> {
        let mut sum = self.sum.take()?;
        if let Some(lost) = self.lost.take() {
            // Both came of the same sum, so their layouts fit.
            let _ = sum.add(&lost);
        }
        Some(sum)
    }

    pub fn mean(&mut self) -> Option<Histogram> {
        if self.is_mean {
            return self.total();
        }
        let count = self.count;
        self.sum = self.sum.take().map(|sum| sum.divided(count));
        self.lost = self.lost.take().map(|lost| lost.divided(count));
        self.total()
    }

    pub fn note(&self, notes: &Notes, at: usize) {
        if self.hints_collide() {
            notes.hints_collide(at, "aggregation");
        }
        if self.bounds_reconciled {
            notes.bounds_reconciled(at, "aggregation");
        }
    }
}

fn summed(histograms: &[(i64, Arc<Histogram>)], about: &About<'_>) -> Option<Sample> {
    let mut sum = Sum::default();
    let added = histograms.iter().try_for_each(|(_, histogram)| sum.add(histogram));
    finished(sum, added, about, Sum::total)
}

fn averaged(histograms: &[(i64, Arc<Histogram>)], about: &About<'_>) -> Option<Sample> {
    let mut sum = Sum::default();
    let added = histograms.iter().try_for_each(|(_, histogram)| sum.add_to_mean(histogram));
    finished(sum, added, about, Sum::mean)
}

fn finished(
    mut sum: Sum,
    added: Result<(), IncompatibleSchemas>,
    about: &About<'_>,
    of: impl Fn(&mut Sum) -> Option<Histogram>,
) -> Option<Sample> {
    if added.is_err() {
        about.notes.mixed_schemas(about.at, about.metric);
        return None;
    }
    sum.note(about.notes, about.at);
    of(&mut sum).map(|histogram| Sample::Histogram(Arc::new(histogram)))
}
