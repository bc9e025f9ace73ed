//! Samples as `ExportMetricsServiceRequest`s, written straight to their bytes and in pieces: a node with a hundred pods
//! tells of twenty thousand series at once, and a tree of owned messages for them was most of the agent's memory (field
//! numbers: opentelemetry-proto, metrics/v1/metrics.proto).

use super::bytes::{field, fixed64, varint_field};
use super::metrics::PROMETHEUS_TYPE;
use crate::AGENT_SCOPE;
use model::{Exemplar, Labels, Metadata, MetricBatch, MetricKind, is_stale_marker};
use std::collections::HashMap;

/// Points of one request, about: so many that names are told seldom, and so few that a piece is small.
const POINTS_MAX: usize = 4_000;

/// `DataPointFlags.NO_RECORDED_VALUE_MASK`.
const NO_RECORDED_VALUE: u64 = 1;

/// One request of a batch.
pub struct Encoded {
    pub bytes: Vec<u8>,
    /// Of the batch's samples; exemplars come beside them.
    pub samples: usize,
}

/// Under [`AGENT_SCOPE`]: names and labels are taken over there as they are here. None for an empty batch. Each request is
/// made as it is asked for. Every series also has the labels `also`, but for those that it has itself.
pub fn encode_metrics<'b>(
    batch: &'b MetricBatch,
    also: &'b [(&'b str, &'b str)],
) -> impl Iterator<Item = Encoded> + 'b {
    let (mut series, mut exemplars) = (batch.iter(), batch.exemplars.iter());
    std::iter::from_fn(move || {
        let (mut piece, mut samples) = (Piece::default(), 0);
        for (bytes, ts_ms, values) in series.by_ref() {
            let labels = Labels::from_bytes(bytes).unwrap_or_default();
            let attributes = attributes(&labels, also);
            for (at_ms, value) in ts_ms.iter().zip(values) {
                let mut point = Vec::with_capacity(attributes.len() + 20);
                fixed64(&mut point, 3, (*at_ms).max(0) as u64 * 1_000_000);
                fixed64(&mut point, 4, value.to_bits());
                point.extend_from_slice(&attributes);
                if is_stale_marker(*value) {
                    varint_field(&mut point, 8, NO_RECORDED_VALUE);
                }
                piece.add(labels.metric_name(), &point);
            }
            samples += ts_ms.len();
            if piece.points >= POINTS_MAX {
                return Some(Encoded { bytes: piece.request(batch), samples });
            }
        }
        // A point of its own for each, without a value: the series it belongs to may have none in this batch.
        for exemplar in exemplars.by_ref() {
            piece.add(exemplar.series.metric_name(), &exemplar_point(exemplar, also));
        }
        (piece.points > 0).then(|| Encoded { bytes: piece.request(batch), samples })
    })
}

/// Points by metric, encoded, in the order in which the metrics came.
#[derive(Default)]
struct Piece {
    metrics: Vec<(String, Vec<u8>)>,
    places: HashMap<String, usize>,
    points: usize,
}

impl Piece {
    fn add(&mut self, name: &str, point: &[u8]) {
        let at = match self.places.get(name) {
            Some(at) => *at,
            None => {
                self.places.insert(name.to_owned(), self.metrics.len());
                self.metrics.push((name.to_owned(), vec![]));
                self.metrics.len() - 1
            }
        };
        field(&mut self.metrics[at].1, 1, point);
        self.points += 1;
    }

    /// What is told of by series of other names alone: histograms and summaries.
    fn families<'b>(&self, batch: &'b MetricBatch) -> Vec<&'b Metadata> {
        let has_series = |known: &&Metadata| {
            let suffixes = match known.kind {
                MetricKind::Histogram | MetricKind::Summary => ["_count", "_sum"],
                MetricKind::GaugeHistogram => ["_gcount", "_gsum"],
                _ => return false,
            };
            !self.places.contains_key(&known.name)
                && suffixes.iter().any(|suffix| self.places.contains_key(&format!("{}{suffix}", known.name)))
        };
        batch.metadata.iter().filter(has_series).collect()
    }

    fn request(self, batch: &MetricBatch) -> Vec<u8> {
        let mut scope = vec![];
        field(&mut scope, 1, AGENT_SCOPE.as_bytes());
        let mut scope_metrics = vec![];
        field(&mut scope_metrics, 1, &scope);
        for family in self.families(batch) {
            let mut metric = described(&family.name, Some(family), 0);
            field(&mut metric, 5, &[]);
            field(&mut scope_metrics, 2, &metric);
        }
        for (name, mut points) in self.metrics {
            let known = batch.metadata.iter().find(|known| known.name == name);
            let mut metric = described(&name, known, points.len());
            // A gauge is field 5, a sum field 7 with two numbers more: cumulative, monotonic.
            let is_counter = known.is_some_and(|known| known.kind == MetricKind::Counter);
            if is_counter {
                varint_field(&mut points, 2, 2);
                varint_field(&mut points, 3, 1);
            }
            field(&mut metric, if is_counter { 7 } else { 5 }, &points);
            field(&mut scope_metrics, 2, &metric);
        }
        let (mut resource_metrics, mut request) = (vec![], vec![]);
        field(&mut resource_metrics, 2, &scope_metrics);
        drop(scope_metrics);
        field(&mut request, 1, &resource_metrics);
        request
    }
}

/// A metric before its points, and what it is: a sum is a counter, and for whatever else is no gauge OpenTelemetry has a word
/// of Prometheus in the metric's metadata, field 12.
fn described(name: &str, known: Option<&Metadata>, bytes: usize) -> Vec<u8> {
    let mut metric = Vec::with_capacity(bytes + 128);
    field(&mut metric, 1, name.as_bytes());
    if let Some(known) = known {
        field(&mut metric, 2, known.help.as_bytes());
        field(&mut metric, 3, known.unit.as_bytes());
        if !matches!(known.kind, MetricKind::Counter | MetricKind::Gauge) {
            pair(&mut metric, 12, PROMETHEUS_TYPE, known.kind.as_str());
        }
    }
    metric
}

/// Field 7 of a point for each label but the name: a key, and a string in an `AnyValue`.
fn attributes(labels: &Labels, also: &[(&str, &str)]) -> Vec<u8> {
    let mut out = vec![];
    for (name, value) in labels.iter().filter(|(name, _)| *name != "__name__") {
        pair(&mut out, 7, name, value);
    }
    for (name, value) in also.iter().filter(|(name, _)| labels.get(name).is_none()) {
        pair(&mut out, 7, name, value);
    }
    out
}

fn pair(out: &mut Vec<u8>, number: u8, name: &str, value: &str) {
    let (mut any, mut pair) = (vec![], vec![]);
    field(&mut any, 1, value.as_bytes());
    field(&mut pair, 1, name.as_bytes());
    field(&mut pair, 2, &any);
    field(out, number, &pair);
}

/// An exemplar's filtered attributes are field 7, its time 2, its value as a double 3.
fn exemplar_point(exemplar: &Exemplar, also: &[(&str, &str)]) -> Vec<u8> {
    let mut encoded = vec![];
    fixed64(&mut encoded, 2, exemplar.ts_ms.max(0) as u64 * 1_000_000);
    fixed64(&mut encoded, 3, exemplar.value.to_bits());
    encoded.extend(attributes(&exemplar.labels, &[]));
    let mut point = attributes(&exemplar.series, also);
    field(&mut point, 5, &encoded);
    point
}
