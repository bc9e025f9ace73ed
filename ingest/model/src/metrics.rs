//! Samples on their way in: flat arrays, so that a remote-write body of a hundred thousand samples is three
//! allocations, and the WAL can copy them as they are.

use crate::histogram::{component_in, is_meta};
use crate::labels::{InvalidLabels, LabelSetBuilder, Labels};
use serde::{Deserialize, Serialize};

/// The NaN that Prometheus writes when a series has ended. Any other NaN is a value.
pub const STALE_NAN_BITS: u64 = 0x7ff0_0000_0000_0002;

pub fn stale_marker() -> f64 {
    f64::from_bits(STALE_NAN_BITS)
}

pub fn is_stale_marker(value: f64) -> bool {
    value.to_bits() == STALE_NAN_BITS
}

/// Samples of many series. `series[i]` names the bytes of its labels and the range of its samples.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct MetricBatch {
    /// Canonical label bytes ([`Labels::as_bytes`]) of all series, end to end.
    pub label_bytes: Vec<u8>,
    pub series: Vec<SeriesSamples>,
    /// Milliseconds since 1970, by series; any order within one.
    pub ts_ms: Vec<i64>,
    pub values: Vec<f64>,
    pub metadata: Vec<Metadata>,
    pub exemplars: Vec<Exemplar>,
}

/// One measurement of those that a series sums up, with labels that lead to where it was made (`trace_id`).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Exemplar {
    pub series: Labels,
    pub labels: Labels,
    pub ts_ms: i64,
    pub value: f64,
}

/// What a sender would call samples: a native histogram is one, whatever it is stored as.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Points {
    pub numbers: u64,
    pub histograms: u64,
}

/// Where in its batch a series' labels end and its samples end; both begin where the series before it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SeriesSamples {
    pub labels_end: u32,
    pub samples_end: u32,
}

/// What a metric is, as `/api/v1/metadata` shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Metadata {
    pub name: String,
    pub kind: MetricKind,
    pub help: String,
    pub unit: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MetricKind {
    Unknown,
    Counter,
    Gauge,
    Histogram,
    GaugeHistogram,
    Summary,
    Info,
    StateSet,
}

impl MetricKind {
    /// Prometheus' word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            MetricKind::Unknown => "unknown",
            MetricKind::Counter => "counter",
            MetricKind::Gauge => "gauge",
            MetricKind::Histogram => "histogram",
            MetricKind::GaugeHistogram => "gaugehistogram",
            MetricKind::Summary => "summary",
            MetricKind::Info => "info",
            MetricKind::StateSet => "stateset",
        }
    }
}

impl MetricBatch {
    /// Makes room for so many series of one sample, whose labels have so many bytes.
    pub fn reserve(&mut self, series: usize, label_bytes: usize) {
        self.series.reserve(series);
        self.ts_ms.reserve(series);
        self.values.reserve(series);
        self.label_bytes.reserve(label_bytes);
    }

    /// Opens a series from borrowed pairs (sorted in place). Samples pushed from here on are its own.
    pub fn begin_series<N: AsRef<str>, V: AsRef<str>>(
        &mut self,
        pairs: &mut [(N, V)],
    ) -> Result<(), InvalidLabels> {
        let before = self.label_bytes.len();
        if let Err(bad) = LabelSetBuilder::encode_into(pairs, &mut self.label_bytes) {
            self.label_bytes.truncate(before);
            return Err(bad);
        }
        self.open();
        Ok(())
    }

    /// As [`begin_series`](Self::begin_series) for labels that are already canonical.
    pub fn begin_labels(&mut self, labels: &Labels) {
        self.begin_canonical(labels.as_bytes());
    }

    /// As [`begin_series`](Self::begin_series) for bytes that came from a label set.
    pub fn begin_canonical(&mut self, label_bytes: &[u8]) {
        self.label_bytes.extend_from_slice(label_bytes);
        self.open();
    }

    /// As [`begin_series`](Self::begin_series) where `write` appends canonical bytes to those of the series before.
    /// Where it answers `None`, no series is opened and nothing of it stays.
    pub fn begin_written<T>(&mut self, write: impl FnOnce(&mut Vec<u8>) -> Option<T>) -> Option<T> {
        let before = self.label_bytes.len();
        let written = write(&mut self.label_bytes);
        match &written {
            Some(_) => self.open(),
            None => self.label_bytes.truncate(before),
        }
        written
    }

    /// Takes back the series that was opened last, with its samples.
    pub fn take_back(&mut self) {
        self.series.pop();
        let (labels, samples) = self
            .series
            .last()
            .map_or((0, 0), |series| (series.labels_end as usize, series.samples_end as usize));
        self.label_bytes.truncate(labels);
        self.ts_ms.truncate(samples);
        self.values.truncate(samples);
    }

    fn open(&mut self) {
        self.series.push(SeriesSamples {
            labels_end: self.label_bytes.len() as u32,
            samples_end: self.ts_ms.len() as u32,
        });
    }

    /// Adds a sample to the series opened last. Without one it is dropped: there is nobody it could belong to.
    pub fn push(&mut self, ts_ms: i64, value: f64) {
        let Some(series) = self.series.last_mut() else { return };
        self.ts_ms.push(ts_ms);
        self.values.push(value);
        series.samples_end = self.ts_ms.len() as u32;
    }

    /// One sample of one series.
    pub fn push_sample(&mut self, labels: &Labels, ts_ms: i64, value: f64) {
        self.begin_labels(labels);
        self.push(ts_ms, value);
    }

    /// Label bytes, times and values of each series.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &[i64], &[f64])> {
        let (mut label, mut sample) = (0usize, 0usize);
        self.series.iter().map(move |series| {
            let (labels_end, samples_end) = (series.labels_end as usize, series.samples_end as usize);
            let item = (
                &self.label_bytes[label..labels_end],
                &self.ts_ms[sample..samples_end],
                &self.values[sample..samples_end],
            );
            (label, sample) = (labels_end, samples_end);
            item
        })
    }

    /// Stored numbers: of a histogram each part is one.
    pub fn samples(&self) -> usize {
        self.ts_ms.len()
    }

    pub fn points(&self) -> Points {
        let mut points = Points::default();
        for (labels, ts_ms, _) in self.iter() {
            match component_in(labels) {
                None => points.numbers += ts_ms.len() as u64,
                Some(part) if is_meta(part) => points.histograms += ts_ms.len() as u64,
                Some(_) => {}
            }
        }
        points
    }

    pub fn is_empty(&self) -> bool {
        self.ts_ms.is_empty() && self.metadata.is_empty() && self.exemplars.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_gives_back_its_series() {
        let mut batch = MetricBatch::default();
        batch.begin_series(&mut [("job", "a"), ("__name__", "up")]).unwrap();
        batch.push(1, 1.0);
        batch.push(2, 0.0);
        assert_eq!(batch.begin_series(&mut [("", "x")]), Err(InvalidLabels::EmptyName));
        batch.push_sample(&Labels::from_pairs([("__name__", "down")]), 3, 5.0);
        let all: Vec<_> = batch
            .iter()
            .map(|(l, t, v)| (Labels::from_bytes(l).unwrap().to_string(), t.to_vec(), v.to_vec()))
            .collect();
        assert_eq!(
            all,
            [("up{job=\"a\"}".into(), vec![1, 2], vec![1.0, 0.0]), ("down".to_string(), vec![3], vec![5.0])]
        );
    }
}
