//! OTLP metrics to samples, as Prometheus' own OTLP receiver writes them. Exponential histograms become classic buckets
//! at powers of two; points of delta temporality are counted as left out.

use super::attributes::value as value_of;
use super::{ExportMetricsServiceRequest, names, time_ns};
use crate::{AGENT_SCOPE, Decoded};
use model::{Exemplar, Labels, Metadata, MetricBatch, MetricKind, RejectReason, stale_marker};
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::metrics::v1::{
    AggregationTemporality, DataPointFlags, Exemplar as OtlpExemplar, ExponentialHistogramDataPoint,
    HistogramDataPoint, Metric, NumberDataPoint, ResourceMetrics, SummaryDataPoint, exemplar, metric,
    number_data_point,
};
use std::borrow::Cow;
use std::collections::HashSet;

pub fn metrics(request: ExportMetricsServiceRequest) -> Decoded<MetricBatch> {
    let mut decoded = Decoded::default();
    for resource in request.resource_metrics {
        Writer::of(&mut decoded, &resource).write(resource);
    }
    decoded
}

/// Writes the series of one resource.
struct Writer<'d> {
    decoded: &'d mut Decoded<MetricBatch>,
    /// Labels that the resource gives to each of its series.
    resource: Vec<(String, String)>,
    described: HashSet<String>,
    last_ms: i64,
    /// Metrics of our own agent: names and labels stay.
    verbatim: bool,
}

type Pairs<'a> = Vec<(Cow<'a, str>, Cow<'a, str>)>;

impl<'d> Writer<'d> {
    fn of(decoded: &'d mut Decoded<MetricBatch>, resource: &ResourceMetrics) -> Writer<'d> {
        let attributes = resource.resource.as_ref().map_or(&[][..], |resource| &resource.attributes);
        let resource = job_and_instance(attributes)
            .into_iter()
            .chain(attributes.iter().filter(|pair| names::PROMOTED.contains(&pair.key.as_str())).map(label))
            .collect();
        Writer { decoded, resource, described: HashSet::new(), last_ms: i64::MIN, verbatim: false }
    }

    fn write(mut self, resource: ResourceMetrics) {
        let mut all_verbatim = true;
        for scope in resource.scope_metrics {
            self.verbatim = scope.scope.is_some_and(|scope| scope.name == AGENT_SCOPE);
            all_verbatim &= self.verbatim;
            scope.metrics.into_iter().for_each(|metric| self.metric(metric));
        }
        let identified = self.resource.iter().any(|(name, _)| name == "job" || name == "instance");
        if !all_verbatim && identified && self.last_ms > i64::MIN {
            self.target_info(resource.resource.map(|resource| resource.attributes).unwrap_or_default());
        }
    }

    /// The resource's other attributes, once.
    fn target_info(&mut self, attributes: Vec<KeyValue>) {
        let others = attributes.iter().filter(|pair| !IDENTITY.contains(&pair.key.as_str())).map(label);
        let mut pairs: Vec<(String, String)> = vec![("__name__".into(), "target_info".into())];
        pairs.extend(job_and_instance(&attributes));
        for (name, value) in others {
            if !pairs.iter().any(|(known, _)| *known == name) {
                pairs.push((name, value));
            }
        }
        let mut borrowed: Vec<(&str, &str)> = pairs.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
        if self.decoded.batch.begin_series(&mut borrowed).is_ok() {
            self.decoded.batch.push(self.last_ms, 1.0);
        }
    }

    fn metric(&mut self, metric: Metric) {
        use metric::Data;
        let monotonic = matches!(&metric.data, Some(Data::Sum(sum)) if sum.is_monotonic);
        let is_gauge = matches!(&metric.data, Some(Data::Gauge(_)));
        let name = match self.verbatim {
            true => metric.name.clone(),
            false => names::metric(&metric.name, &metric.unit, monotonic, is_gauge),
        };
        let kind = match &metric.data {
            Some(Data::Sum(_)) if monotonic => MetricKind::Counter,
            Some(Data::Gauge(_) | Data::Sum(_)) => MetricKind::Gauge,
            Some(Data::Histogram(_) | Data::ExponentialHistogram(_)) => MetricKind::Histogram,
            Some(Data::Summary(_)) => MetricKind::Summary,
            None => return,
        };
        if !metric.description.is_empty() || !self.verbatim {
            self.describe(&name, kind, metric.description, metric.unit);
        }
        match metric.data {
            Some(Data::Gauge(gauge)) => gauge.data_points.iter().for_each(|point| self.number(&name, point)),
            Some(Data::Sum(sum))
                if self.cumulative(sum.aggregation_temporality, &name, sum.data_points.len()) =>
            {
                sum.data_points.iter().for_each(|point| self.number(&name, point))
            }
            Some(Data::Histogram(histogram))
                if self.cumulative(histogram.aggregation_temporality, &name, histogram.data_points.len()) =>
            {
                histogram.data_points.iter().for_each(|point| self.histogram(&name, point))
            }
            Some(Data::ExponentialHistogram(histogram))
                if self.cumulative(histogram.aggregation_temporality, &name, histogram.data_points.len()) =>
            {
                histogram.data_points.iter().for_each(|point| self.exponential(&name, point))
            }
            Some(Data::Summary(summary)) => {
                summary.data_points.iter().for_each(|point| self.summary(&name, point))
            }
            // A point that is not cumulative was counted as rejected by `cumulative`.
            _ => {}
        }
    }

    fn describe(&mut self, name: &str, kind: MetricKind, help: String, unit: String) {
        if self.described.insert(name.to_owned()) {
            self.decoded.batch.metadata.push(Metadata { name: name.to_owned(), kind, help, unit });
        }
    }

    fn cumulative(&mut self, temporality: i32, name: &str, points: usize) -> bool {
        let cumulative = temporality != AggregationTemporality::Delta as i32;
        if !cumulative {
            self.decoded.rejected.add(RejectReason::InvalidValue, points as u64, || {
                format!(
                    "metric {name:?} has delta temporality; set OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE=cumulative"
                )
            });
        }
        cumulative
    }

    /// Labels of the resource and of a point; of two that get the same name the point's stands.
    fn labels<'a>(&self, attributes: &'a [KeyValue]) -> Pairs<'a> {
        let mut pairs: Pairs<'a> = Vec::with_capacity(attributes.len() + self.resource.len() + 2);
        for pair in attributes {
            let name = if self.verbatim { Cow::from(&pair.key) } else { names::label(&pair.key) };
            let text = match &pair.value {
                Some(any) => match &any.value {
                    Some(opentelemetry_proto::tonic::common::v1::any_value::Value::StringValue(text)) => {
                        Cow::from(text)
                    }
                    _ => value_of(Some(any.clone())).to_string().into(),
                },
                None => "".into(),
            };
            match pairs.iter_mut().find(|(known, _)| *known == name) {
                Some((_, known)) => *known = format!("{known};{text}").into(),
                None => pairs.push((name, text)),
            }
        }
        if !self.verbatim {
            for (name, value) in &self.resource {
                if !pairs.iter().any(|(known, _)| known == name) {
                    pairs.push((name.clone().into(), value.clone().into()));
                }
            }
        }
        pairs
    }

    /// One sample of the series of that name with those labels, and one more where `extra` says.
    fn push(&mut self, name: &str, labels: &Pairs<'_>, extra: Option<(&str, &str)>, ts_ns: u64, value: f64) {
        let ts_ms = time_ns(ts_ns) / 1_000_000;
        let mut pairs: Vec<(&str, &str)> = Vec::with_capacity(labels.len() + 2);
        pairs.push(("__name__", name));
        pairs.extend(labels.iter().map(|(name, value)| (name.as_ref(), value.as_ref())));
        pairs.extend(extra);
        match self.decoded.batch.begin_series(&mut pairs) {
            Ok(()) => {
                self.decoded.batch.push(ts_ms, value);
                self.last_ms = self.last_ms.max(ts_ms);
            }
            Err(wrong) => {
                self.decoded
                    .rejected
                    .add(RejectReason::InvalidLabels, 1, || format!("metric {name:?}: {wrong}"));
            }
        }
    }

    fn number(&mut self, name: &str, point: &NumberDataPoint) {
        let value = match point.value {
            _ if is_stale(point.flags) => stale_marker(),
            Some(number_data_point::Value::AsDouble(value)) => value,
            Some(number_data_point::Value::AsInt(value)) => value as f64,
            // Our agent sends exemplars so.
            None if self.verbatim && !point.exemplars.is_empty() => {
                return self.exemplars(name, &self.labels(&point.attributes), None, &point.exemplars);
            }
            None => {
                self.decoded.rejected.add(RejectReason::InvalidValue, 1, || {
                    format!("a point of metric {name:?} has no value")
                });
                return;
            }
        };
        let labels = self.labels(&point.attributes);
        self.push(name, &labels, None, point.time_unix_nano, value);
        self.exemplars(name, &labels, None, &point.exemplars);
    }

    /// Of the series of that name with those labels, and one more where `extra` says.
    fn exemplars(
        &mut self,
        name: &str,
        labels: &Pairs<'_>,
        extra: Option<(&str, &str)>,
        exemplars: &[OtlpExemplar],
    ) {
        if exemplars.is_empty() {
            return;
        }
        let pairs = labels.iter().map(|(name, value)| (name.as_ref(), value.as_ref()));
        let series = Labels::from_pairs(pairs.chain(extra).chain([("__name__", name)]));
        for exemplar in exemplars {
            let Some(value) = number_of(exemplar) else {
                self.decoded.rejected.add(RejectReason::InvalidExemplar, 1, || {
                    format!("an exemplar of metric {name:?} has no value")
                });
                continue;
            };
            let ids = [("trace_id", &exemplar.trace_id), ("span_id", &exemplar.span_id)];
            let ids = ids.into_iter().map(|(name, id)| (name.to_owned(), hex::encode(id)));
            let attributes = exemplar.filtered_attributes.iter();
            let attributes =
                attributes.map(|pair| (pair.key.clone(), value_of(pair.value.clone()).to_string()));
            self.decoded.batch.exemplars.push(Exemplar {
                series: series.clone(),
                // The later of one name stands: the ids, where there are some.
                labels: Labels::from_pairs(attributes.chain(ids.filter(|(_, id)| !id.is_empty()))),
                ts_ms: time_ns(exemplar.time_unix_nano) / 1_000_000,
                value,
            });
        }
    }

    /// Each at the first bucket that it was counted in, as bounds ascend.
    fn exemplars_of_buckets(
        &mut self,
        name: &str,
        labels: &Pairs<'_>,
        bounds: &[f64],
        exemplars: &[OtlpExemplar],
    ) {
        for exemplar in exemplars {
            let counted_in =
                |bound: &&f64| bound.is_finite() && number_of(exemplar).is_some_and(|n| n <= **bound);
            let bound = bounds.iter().find(counted_in);
            let le = bound.map_or_else(|| "+Inf".to_owned(), f64::to_string);
            self.exemplars(name, labels, Some(("le", &le)), std::slice::from_ref(exemplar));
        }
    }

    fn histogram(&mut self, name: &str, point: &HistogramDataPoint) {
        if point.bucket_counts.len() != point.explicit_bounds.len() + 1 && !point.bucket_counts.is_empty() {
            self.decoded.rejected.add(RejectReason::InvalidValue, 1, || {
                format!(
                    "a point of histogram {name:?} has {} buckets and {} bounds",
                    point.bucket_counts.len(),
                    point.explicit_bounds.len()
                )
            });
            return;
        }
        let mut total = 0u64;
        let buckets = point.explicit_bounds.iter().zip(&point.bucket_counts).map(|(bound, count)| {
            total = total.saturating_add(*count);
            (*bound, total)
        });
        let buckets: Vec<(f64, u64)> = buckets.collect();
        self.classic(
            name,
            &point.attributes,
            point.time_unix_nano,
            point.flags,
            &buckets,
            point.count,
            point.sum,
            &point.exemplars,
        );
    }

    /// Buckets are merged to powers of two, which every scale from 0 up divides, so bounds stay the same from point to
    /// point whatever the sender's scale does.
    fn exponential(&mut self, name: &str, point: &ExponentialHistogramDataPoint) {
        let factor = 2f64.powi(point.scale.clamp(-11, 20));
        let below = point.negative.iter().flat_map(|buckets| &buckets.bucket_counts).sum::<u64>();
        let mut total = below.saturating_add(point.zero_count);
        let mut buckets = vec![];
        if total > 0 {
            buckets.push((point.zero_threshold.max(0.0), total));
        }
        if let Some(positive) = &point.positive {
            for (i, count) in positive.bucket_counts.iter().enumerate().filter(|(_, count)| **count > 0) {
                let upper = 2f64.powf(((f64::from(positive.offset) + i as f64 + 1.0) / factor).ceil());
                total = total.saturating_add(*count);
                match buckets.last_mut() {
                    Some((bound, known)) if *bound >= upper => *known = total,
                    _ => buckets.push((upper, total)),
                }
            }
        }
        self.classic(
            name,
            &point.attributes,
            point.time_unix_nano,
            point.flags,
            &buckets,
            point.count,
            point.sum,
            &point.exemplars,
        );
    }

    /// `_bucket`, `_sum` and `_count`; the buckets cumulative, without the last.
    #[allow(clippy::too_many_arguments)]
    fn classic(
        &mut self,
        name: &str,
        attributes: &[KeyValue],
        ts: u64,
        flags: u32,
        buckets: &[(f64, u64)],
        count: u64,
        sum: Option<f64>,
        exemplars: &[OtlpExemplar],
    ) {
        let labels = self.labels(attributes);
        let stale = is_stale(flags);
        let value = |value: f64| if stale { stale_marker() } else { value };
        let bucket_name = format!("{name}_bucket");
        for (bound, total) in buckets.iter().filter(|(bound, _)| bound.is_finite()) {
            self.push(&bucket_name, &labels, Some(("le", &bound.to_string())), ts, value(*total as f64));
        }
        let bounds: Vec<f64> = buckets.iter().map(|(bound, _)| *bound).collect();
        self.exemplars_of_buckets(&bucket_name, &labels, &bounds, exemplars);
        self.push(&bucket_name, &labels, Some(("le", "+Inf")), ts, value(count as f64));
        self.push(&format!("{name}_count"), &labels, None, ts, value(count as f64));
        if let Some(sum) = sum {
            self.push(&format!("{name}_sum"), &labels, None, ts, value(sum));
        }
    }

    fn summary(&mut self, name: &str, point: &SummaryDataPoint) {
        let labels = self.labels(&point.attributes);
        let ts = point.time_unix_nano;
        for quantile in &point.quantile_values {
            self.push(name, &labels, Some(("quantile", &quantile.quantile.to_string())), ts, quantile.value);
        }
        self.push(&format!("{name}_sum"), &labels, None, ts, point.sum);
        self.push(&format!("{name}_count"), &labels, None, ts, point.count as f64);
    }
}

fn number_of(exemplar: &OtlpExemplar) -> Option<f64> {
    exemplar.value.map(|value| match value {
        exemplar::Value::AsDouble(value) => value,
        exemplar::Value::AsInt(value) => value as f64,
    })
}

fn is_stale(flags: u32) -> bool {
    flags & DataPointFlags::NoRecordedValueMask as u32 != 0
}

/// What `job` and `instance` are made of, and so is not said again.
const IDENTITY: [&str; 3] = ["service.name", "service.namespace", "service.instance.id"];

fn job_and_instance(attributes: &[KeyValue]) -> Vec<(String, String)> {
    let text = |name: &str| {
        attributes
            .iter()
            .find(|pair| pair.key == name)
            .map(|pair| label(pair).1)
            .filter(|text| !text.is_empty())
    };
    let mut pairs = vec![];
    match (text("service.namespace"), text("service.name")) {
        (Some(namespace), Some(name)) => pairs.push(("job".to_owned(), format!("{namespace}/{name}"))),
        (None, Some(name)) => pairs.push(("job".to_owned(), name)),
        _ => {}
    }
    pairs.extend(text("service.instance.id").map(|instance| ("instance".to_owned(), instance)));
    pairs
}

fn label(pair: &KeyValue) -> (String, String) {
    (names::label(&pair.key).into_owned(), value_of(pair.value.clone()).to_string())
}
