//! Selectors: the samples of series to values by step, directly or by a function over windows.

use super::node::{Node, Times, join_same, scalar_at, without_name};
use super::windows::{Over, Window};
use crate::QueryError;
use crate::logql::matrix::{Matrix, Series};
use model::{Matcher, SeriesSelect, TimeRange, is_stale_marker};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use store::Snapshot;

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
    /// The time of the last value, in seconds.
    Timestamp,
    Window {
        over: Over,
        range_ms: i64,
    },
}

pub(super) struct Scan {
    pub snapshot: Arc<dyn Snapshot>,
    pub matchers: Vec<Matcher>,
    pub place: Where,
    pub times: Times,
    pub lookback_ms: i64,
    pub mode: Mode,
    pub samples_max: usize,
    /// Counts what the whole query reads.
    pub samples: Arc<AtomicU64>,
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

    async fn evaluate(&self, parameters: Vec<Matrix>) -> Result<Matrix, QueryError> {
        let (first, last) = (self.place.of(self.times.start_ms), self.place.of(self.times.last()));
        let back_ms = match self.mode {
            Mode::Window { range_ms, .. } => range_ms,
            _ => self.lookback_ms,
        };
        // Windows are open on the left.
        let range = TimeRange { start: first.saturating_sub(back_ms).saturating_add(1), end: last };
        let block = self.snapshot.samples(&SeriesSelect { matchers: self.matchers.clone(), range }).await?;
        let read = block.values.len();
        let total = self.samples.fetch_add(read as u64, Ordering::Relaxed) as usize + read;
        if total > self.samples_max {
            return Err(QueryError::TooMuch(format!(
                "query processing would load too many samples into memory in query execution: more than {} (query.samples_max)",
                self.samples_max
            )));
        }
        let mut out = Vec::with_capacity(block.labels.len());
        for (labels, ts_ms, values) in block.iter() {
            let (labels, values) = match self.mode {
                Mode::Instant => (labels.clone(), self.latest(ts_ms, values, |_, value| value)),
                Mode::Timestamp => {
                    (without_name(labels), self.latest(ts_ms, values, |ts, _| ts as f64 / 1e3))
                }
                Mode::Window { over, range_ms } => {
                    let labels = if over.keeps_name { labels.clone() } else { without_name(labels) };
                    let windows = Windows { place: self.place, times: self.times, range_ms };
                    (labels, windows.values(over, ts_ms, values, &parameters))
                }
            };
            if values.iter().any(Option::is_some) {
                out.push(Series { labels, values });
            }
        }
        match self.mode {
            Mode::Instant => Ok(Matrix(out)),
            _ => join_same(Matrix(out)),
        }
    }
}

impl Scan {
    fn latest(&self, ts_ms: &[i64], values: &[f64], of: impl Fn(i64, f64) -> f64) -> Vec<Option<f64>> {
        let mut next = 0;
        (0..self.times.count)
            .map(|step| {
                let at = self.place.of(self.times.at(step));
                next += ts_ms[next..].iter().take_while(|ts| **ts <= at).count();
                let (ts, value) = (*ts_ms.get(next.checked_sub(1)?)?, values[next - 1]);
                (ts > at.saturating_sub(self.lookback_ms) && !is_stale_marker(value)).then(|| of(ts, value))
            })
            .collect()
    }
}

/// Where the windows of a function lie.
struct Windows {
    place: Where,
    times: Times,
    range_ms: i64,
}

impl Windows {
    fn values(&self, over: Over, ts_ms: &[i64], values: &[f64], parameters: &[Matrix]) -> Vec<Option<f64>> {
        let cleaned = without_stale(ts_ms, values);
        let (ts_ms, values) = cleaned.as_ref().map_or((ts_ms, values), |(ts, values)| (ts, values));
        let ascends = values.is_sorted();
        let (mut low, mut high) = (0, 0);
        (0..self.times.count)
            .map(|step| {
                let step_ms = self.times.at(step);
                let end_ms = self.place.of(step_ms);
                let start_ms = end_ms.saturating_sub(self.range_ms);
                high += ts_ms[high..].iter().take_while(|ts| **ts <= end_ms).count();
                low += ts_ms[low..high].iter().take_while(|ts| **ts <= start_ms).count();
                if low == high {
                    return None;
                }
                let window = Window {
                    ts_ms: &ts_ms[low..high],
                    values: &values[low..high],
                    start_ms,
                    end_ms,
                    step_ms,
                    ascends,
                };
                let parameter =
                    |at: usize| parameters.get(at).map_or(f64::NAN, |matrix| scalar_at(matrix, step));
                (over.compute)(&window, [parameter(0), parameter(1)])
            })
            .collect()
    }
}

/// Stale markers are no values of a range; most series have none and are not copied.
fn without_stale(ts_ms: &[i64], values: &[f64]) -> Option<(Vec<i64>, Vec<f64>)> {
    values.iter().any(|value| is_stale_marker(*value)).then(|| {
        let kept = ts_ms.iter().zip(values).filter(|(_, value)| !is_stale_marker(**value));
        kept.map(|(ts, value)| (*ts, *value)).unzip()
    })
}

/// A function over the windows of a subquery. The last input is the subquery's matrix, the others are parameters.
#[derive(Debug)]
pub(super) struct SubqueryWindows {
    pub over: Over,
    pub range_ms: i64,
    pub place: Where,
    pub times: Times,
    pub inner: Times,
}

#[async_trait::async_trait]
impl Node for SubqueryWindows {
    fn name(&self) -> &'static str {
        "PromSubquery"
    }

    fn details(&self) -> String {
        format!("{} [{}]", self.over.name, ::promql::format_duration(self.range_ms))
    }

    async fn evaluate(&self, mut inputs: Vec<Matrix>) -> Result<Matrix, QueryError> {
        let Some(inner) = inputs.pop() else { return Ok(Matrix::default()) };
        let windows = Windows { place: self.place, times: self.times, range_ms: self.range_ms };
        let series = inner.0.into_iter().map(|series| {
            let present = series
                .values
                .iter()
                .enumerate()
                .filter_map(|(step, value)| Some((self.inner.at(step), (*value)?)));
            let (ts_ms, values): (Vec<i64>, Vec<f64>) = present.unzip();
            let labels = if self.over.keeps_name { series.labels } else { without_name(&series.labels) };
            Series { labels, values: windows.values(self.over, &ts_ms, &values, &inputs) }
        });
        join_same(Matrix(series.collect()).without_empty())
    }
}
