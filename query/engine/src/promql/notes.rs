//! What an answer should be read with: warnings and hints that operators leave while they compute, in Prometheus'
//! words, each with the place in the query that it is about.

use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Shared by all operators of a query. The same words are kept once, with the place that was said last.
#[derive(Clone, Debug, Default)]
pub(super) struct Notes(Arc<Mutex<BTreeMap<String, Note>>>);

#[derive(Clone, Debug)]
struct Note {
    at: usize,
    fixed: Option<Fixed>,
    times: u64,
}

/// Buckets of a classic histogram that held less than the ones below them, over the steps of a query.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fixed {
    pub first_ms: i64,
    pub last_ms: i64,
    pub lowest: f64,
    pub highest: f64,
    pub most: f64,
    pub more: u64,
}

const WARNING: &str = "PromQL warning: ";
const INFO: &str = "PromQL info: ";

impl Notes {
    pub fn warn(&self, at: usize, what: impl std::fmt::Display) {
        self.0.lock().insert(format!("{WARNING}{what}"), Note { at, fixed: None, times: 1 });
    }

    pub fn info(&self, at: usize, what: impl std::fmt::Display) {
        self.0.lock().insert(format!("{INFO}{what}"), Note { at, fixed: None, times: 1 });
    }

    pub fn forced_monotonicity(&self, at: usize, metric: &str, fixed: Fixed) {
        const TEXT: &str = "input to histogram_quantile needed to be fixed for monotonicity (see https://prometheus.io/docs/prometheus/latest/querying/functions/#histogram_quantile)";
        let key = format!("{INFO}{}", about(TEXT, metric));
        let mut notes = self.0.lock();
        let note = notes.entry(key).or_insert(Note { at, fixed: None, times: 1 });
        note.fixed = Some(match note.fixed {
            None => fixed,
            Some(known) => Fixed {
                first_ms: known.first_ms.min(fixed.first_ms),
                last_ms: known.last_ms.max(fixed.last_ms),
                lowest: known.lowest.min(fixed.lowest),
                highest: known.highest.max(fixed.highest),
                most: known.most.max(fixed.most),
                more: known.more + 1,
            },
        });
    }

    /// Counted: how often is told behind it.
    pub fn start_overlap(&self, at: usize, metric: &str) {
        let key = format!(
            "{WARNING}sample has start time that overlaps with previous sample timestamp for metric {metric:?}"
        );
        let mut notes = self.0.lock();
        notes.entry(key).and_modify(|note| note.times += 1).or_insert(Note { at, fixed: None, times: 1 });
    }

    // The notes that more than one operator leaves.

    pub fn mixed_samples(&self, at: usize, metric: &str) {
        self.warn(at, format_args!("encountered a mix of histograms and floats for metric name {metric:?}"));
    }

    pub fn mixed_schemas(&self, at: usize, metric: &str) {
        self.warn(
            at,
            format_args!(
                "vector contains a mix of histograms with exponential and custom buckets schemas for metric name {metric:?}"
            ),
        );
    }

    pub fn not_a_counter(&self, at: usize, metric: &str) {
        self.warn(at, format_args!("this native histogram metric is not a counter: {metric:?}"));
    }

    pub fn not_a_gauge(&self, at: usize, metric: &str) {
        self.warn(at, format_args!("this native histogram metric is not a gauge: {metric:?}"));
    }

    pub fn bounds_reconciled(&self, at: usize, operation: &str) {
        self.info(at, format_args!("mismatched custom buckets were reconciled during {operation}"));
    }

    pub fn hints_collide(&self, at: usize, operation: &str) {
        self.warn(at, format_args!("conflicting counter resets during histogram {operation}"));
    }

    pub fn histogram_ignored(&self, at: usize, aggregation: &str) {
        self.info(at, format_args!("ignored histogram in {aggregation} aggregation"));
    }

    pub fn histograms_ignored_in_range(&self, at: usize, metric: &str) {
        self.info(
            at,
            format_args!(
                "ignored histograms in a range containing both floats and histograms for metric name {metric:?}"
            ),
        );
    }

    pub fn invalid_quantile(&self, at: usize, quantile: f64) {
        let quantile = model::short(quantile);
        self.warn(at, format_args!("quantile value should be between 0 and 1, got {quantile}"));
    }

    /// Warnings, then infos, with `line:column` of the query behind each.
    pub fn told(&self, query: &str) -> (Vec<String>, Vec<String>) {
        let (mut warnings, mut infos) = (vec![], vec![]);
        for (text, note) in self.0.lock().iter() {
            let (line, column) = ::promql::line_and_column(query, note.at);
            let fixed = note.fixed.map(|fixed| fixed.text()).unwrap_or_default();
            let times = if note.times > 1 { format!(" ({} occurrences)", note.times) } else { String::new() };
            let list = if text.starts_with(WARNING) { &mut warnings } else { &mut infos };
            list.push(format!("{text}{fixed}{times} ({line}:{column})"));
        }
        (warnings, infos)
    }
}

impl Fixed {
    fn text(&self) -> String {
        let time = |ms: i64| {
            let time = chrono::DateTime::from_timestamp(ms.div_euclid(1000), 0).unwrap_or_default();
            time.format("%Y-%m-%dT%H:%M:%SZ").to_string()
        };
        let (lowest, highest) = (model::short(self.lowest), model::short(self.highest));
        format!(
            ", from buckets {lowest} to {highest}, with a max diff of {}, over {} samples from {} to {}",
            two_digits(self.most),
            self.more + 1,
            time(self.first_ms),
            time(self.last_ms)
        )
    }
}

/// As Go's `%.2g`.
fn two_digits(value: f64) -> String {
    if value == 0.0 || !value.is_finite() {
        return model::short(value);
    }
    let rounded: f64 = format!("{value:.1e}").parse().unwrap_or(value);
    let exponent = rounded.abs().log10().floor();
    if (-4.0..2.0).contains(&exponent) {
        return rounded.to_string();
    }
    let (digits, exponent) = (rounded / 10f64.powf(exponent), exponent as i32);
    let digits = format!("{digits:.1}");
    let digits = digits.strip_suffix(".0").unwrap_or(&digits);
    format!("{digits}e{}{:02}", if exponent < 0 { '-' } else { '+' }, exponent.abs())
}

/// Words about a metric, where it has a name.
pub(super) fn about(what: &str, metric: &str) -> String {
    if metric.is_empty() { what.to_owned() } else { format!("{what} for metric name {metric:?}") }
}
