//! Numbers on their way to the store, as ordinary metrics, in batches of a bounded size.

use model::{Exemplar, Histogram, Labels, METRIC_NAME, MetricBatch, TraceId, stale_marker};

/// Series of one batch: a log record of a few MiB.
const BATCH_SERIES_MAX: usize = 10_000;
/// The label of an exemplar that leads to its trace, as OpenTelemetry's SDKs name it.
const TRACE_ID: &str = "trace_id";

pub(crate) struct Export<'a> {
    batches: &'a mut Vec<MetricBatch>,
    now_ms: i64,
    /// Where the series that is told is new: when it was still 0. Without that, its first value would be no increase.
    born_ms: Option<i64>,
}

impl<'a> Export<'a> {
    pub fn new(batches: &'a mut Vec<MetricBatch>, now_ms: i64) -> Export<'a> {
        Export { batches, now_ms, born_ms: None }
    }

    pub fn born(&mut self, at_ms: Option<i64>) {
        self.born_ms = at_ms.filter(|at_ms| *at_ms < self.now_ms);
    }

    fn batch(&mut self) -> &mut MetricBatch {
        if self.batches.last().is_none_or(|batch| batch.series.len() >= BATCH_SERIES_MAX) {
            self.batches.push(MetricBatch::default());
        }
        let last = self.batches.len() - 1;
        &mut self.batches[last]
    }

    pub fn counter(&mut self, name: &str, ending: &str, labels: &[(&str, &str)], value: f64) {
        let (now_ms, born_ms) = (self.now_ms, self.born_ms);
        let labels = named(name, ending, labels);
        let batch = self.batch();
        batch.begin_labels(&labels);
        if let Some(born_ms) = born_ms {
            batch.push(born_ms, 0.0);
        }
        batch.push(now_ms, value);
    }

    pub fn histogram(&mut self, name: &str, labels: &[(&str, &str)], histogram: Histogram) {
        let (now_ms, born_ms) = (self.now_ms, self.born_ms);
        let labels = named(name, "", labels);
        let empty = |at_ms| {
            let Histogram { schema, zero_threshold, .. } = histogram;
            (at_ms, Histogram { schema, zero_threshold, ..Histogram::default() })
        };
        let mut points: Vec<(i64, Histogram)> = born_ms.map(empty).into_iter().collect();
        points.push((now_ms, histogram));
        self.batch().push_histograms(&labels, &points);
    }

    pub fn exemplar(
        &mut self,
        name: &str,
        ending: &str,
        labels: &[(&str, &str)],
        trace: &TraceId,
        at_ms: i64,
        value: f64,
    ) {
        let exemplar = Exemplar {
            series: named(name, ending, labels),
            labels: Labels::from_pairs([(TRACE_ID, hex::encode(trace))]),
            ts_ms: at_ms,
            value,
        };
        self.batch().exemplars.push(exemplar);
    }

    pub fn end(&mut self, name: &str, ending: &str, labels: &[(&str, &str)]) {
        let now_ms = self.now_ms;
        self.batch().push_sample(&named(name, ending, labels), now_ms, stale_marker());
    }

    pub fn end_histogram(&mut self, name: &str, labels: &[(&str, &str)]) {
        let now_ms = self.now_ms;
        self.batch().push_histograms(&named(name, "", labels), &[(now_ms, Histogram::stale())]);
    }
}

/// Labels without a value are left out.
fn named(name: &str, ending: &str, labels: &[(&str, &str)]) -> Labels {
    let name = format!("{name}{ending}");
    Labels::from_pairs(labels.iter().copied().chain([(METRIC_NAME, name.as_str())]))
}
