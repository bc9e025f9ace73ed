//! OTLP metrics to samples, as Prometheus' own OTLP receiver writes them: names by the strategy chosen, `job` and `instance`
//! from the resource, the rest of it in `target_info`. Exponential histograms become native ones; delta points are summed
//! up (see [`super::delta`]). What each kind of point becomes is in `points`.

mod points;

use super::attributes::value as value_of;
use super::delta::Sums;
use super::names::{Kind, Strategy};
use super::{ExportMetricsServiceRequest, names, time_ns};
use crate::{AGENT_SCOPE, Decoded};
use model::{Metadata, MetricBatch, MetricKind, RejectReason};
use opentelemetry_proto::tonic::common::v1::{KeyValue, any_value};
use opentelemetry_proto::tonic::metrics::v1::{
    AggregationTemporality, Metric, ResourceMetrics, ScopeMetrics, metric,
};
use std::borrow::Cow;
use std::collections::HashSet;

/// What is made of names and resources; the words are those of `otlp` in Prometheus' configuration.
#[derive(Clone, Debug, Default)]
pub struct Translation {
    pub strategy: Strategy,
    pub promoted: Promoted,
    /// `service.name` and the like are in `target_info` too, beside `job` and `instance`.
    pub keep_identifying: bool,
    /// Histograms with bounds of the sender's choice become native ones with custom buckets.
    pub explicit_as_native: bool,
    /// Name, version and attributes of the instrumentation scope become labels `otel_scope_…`.
    pub scope_metadata: bool,
}

/// Resource attributes that also become labels of every series.
#[derive(Clone, Debug)]
pub enum Promoted {
    These(Vec<String>),
    AllBut(Vec<String>),
}

impl Default for Promoted {
    fn default() -> Promoted {
        Promoted::These(names::PROMOTED.map(str::to_owned).to_vec())
    }
}

impl Promoted {
    fn has(&self, name: &str) -> bool {
        match self {
            Promoted::These(names) => names.iter().any(|known| known == name),
            Promoted::AllBut(names) => !names.iter().any(|known| known == name),
        }
    }
}

/// Whether points of it have to be added to those before.
pub fn has_deltas(request: &ExportMetricsServiceRequest) -> bool {
    let scopes = request.resource_metrics.iter().flat_map(|resource| &resource.scope_metrics);
    scopes.flat_map(|scope| &scope.metrics).any(|metric| temporality(metric) == Temporality::Delta)
}

pub fn metrics(
    request: ExportMetricsServiceRequest,
    translation: &Translation,
    sums: &mut Sums<'_>,
) -> Decoded<MetricBatch> {
    let mut decoded = Decoded::default();
    for resource in request.resource_metrics {
        let writer = Writer {
            decoded: &mut decoded,
            translation,
            sums: &mut *sums,
            identity: vec![],
            promoted: vec![],
            described: HashSet::new(),
            first_ms: i64::MAX,
            last_ms: i64::MIN,
            verbatim: false,
            series: vec![],
        };
        writer.write(resource);
    }
    decoded
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Temporality {
    /// Points stand for themselves.
    Cumulative,
    Delta,
    Unsaid,
}

fn temporality(metric: &Metric) -> Temporality {
    let said = match &metric.data {
        Some(metric::Data::Sum(sum)) => sum.aggregation_temporality,
        Some(metric::Data::Histogram(histogram)) => histogram.aggregation_temporality,
        Some(metric::Data::ExponentialHistogram(histogram)) => histogram.aggregation_temporality,
        _ => return Temporality::Cumulative,
    };
    match AggregationTemporality::try_from(said) {
        Ok(AggregationTemporality::Cumulative) => Temporality::Cumulative,
        Ok(AggregationTemporality::Delta) => Temporality::Delta,
        _ => Temporality::Unsaid,
    }
}

/// Writes the series of one resource.
struct Writer<'d, 's> {
    decoded: &'d mut Decoded<MetricBatch>,
    translation: &'d Translation,
    sums: &'d mut Sums<'s>,
    /// `job` and `instance`.
    identity: Vec<(String, String)>,
    /// Labels that the resource and the scope also give to each series.
    promoted: Vec<(String, String)>,
    described: HashSet<String>,
    first_ms: i64,
    last_ms: i64,
    /// Metrics of our own agent: names and labels stay.
    verbatim: bool,
    /// Holds the name and labels of a series that is summed up.
    series: Vec<u8>,
}

type Pairs<'a> = Vec<(Cow<'a, str>, Cow<'a, str>)>;

/// Between two samples of `target_info`: it is found at any time within the lookback of a query (5 min) so.
const TARGET_INFO_EVERY_MS: i64 = 150_000;

/// Samples of `target_info` that one resource may give: points of a request that lie years apart are no reason for more.
const TARGET_INFOS_MAX: i64 = 1_000;

/// What `job` and `instance` are made of, and so is not said again.
const IDENTITY: [&str; 3] = ["service.name", "service.namespace", "service.instance.id"];

impl Writer<'_, '_> {
    fn write(mut self, resource: ResourceMetrics) {
        let attributes = resource.resource.map(|resource| resource.attributes).unwrap_or_default();
        self.identity = job_and_instance(&attributes);
        let promoted = attributes.iter().filter(|pair| self.translation.promoted.has(&pair.key));
        let of_resource: Vec<(String, String)> = promoted.map(|pair| self.label(pair)).collect();
        for scope in resource.scope_metrics {
            self.verbatim = scope.scope.as_ref().is_some_and(|scope| scope.name == AGENT_SCOPE);
            self.promoted = of_resource.clone();
            if self.translation.scope_metadata {
                self.promote_scope(&scope);
            }
            scope.metrics.into_iter().for_each(|metric| self.metric(metric));
        }
        if self.last_ms > i64::MIN {
            self.target_info(&attributes);
        }
    }

    fn label(&self, pair: &KeyValue) -> (String, String) {
        (self.translation.strategy.label(&pair.key).into_owned(), value_of(pair.value.clone()).to_string())
    }

    fn promote_scope(&mut self, scope: &ScopeMetrics) {
        let Some(of) = scope.scope.as_ref().filter(|scope| !scope.name.is_empty()) else { return };
        let own = [("name", &of.name), ("version", &of.version), ("schema_url", &scope.schema_url)];
        let own = own.into_iter().map(|(word, value)| (format!("otel_scope_{word}"), value.clone()));
        let attributes = of.attributes.iter().map(|pair| {
            let name = format!("otel_scope_{}", pair.key);
            (self.translation.strategy.label(&name).into_owned(), value_of(pair.value.clone()).to_string())
        });
        let all: Vec<_> = own.chain(attributes).collect();
        self.promoted.retain(|(name, _)| all.iter().all(|(other, _)| other != name));
        self.promoted.extend(all);
    }

    /// The resource's other attributes, from the first of its points to the last.
    fn target_info(&mut self, attributes: &[KeyValue]) {
        let others = |pair: &&KeyValue| !IDENTITY.contains(&pair.key.as_str());
        if self.identity.is_empty() || !attributes.iter().any(|pair| others(&pair)) {
            return;
        }
        let mut shown: Vec<&KeyValue> = match self.translation.keep_identifying {
            true => attributes.iter().collect(),
            false => attributes.iter().filter(others).collect(),
        };
        shown.sort_by(|a, b| a.key.cmp(&b.key));
        let mut pairs: Vec<(String, String)> = vec![("__name__".into(), "target_info".into())];
        pairs.append(&mut self.identity);
        let fixed = pairs.len();
        for (name, value) in shown.into_iter().map(|pair| self.label(pair)) {
            match pairs.iter_mut().position(|(known, _)| *known == name) {
                None => pairs.push((name, value)),
                Some(at) if at >= fixed => pairs[at].1 = format!("{};{value}", pairs[at].1),
                Some(_) => {}
            }
        }
        let mut borrowed: Vec<(&str, &str)> = pairs.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
        if self.decoded.batch.begin_series(&mut borrowed).is_err() {
            return;
        }
        let first_ms = self.first_ms.max(self.last_ms - TARGET_INFO_EVERY_MS * TARGET_INFOS_MAX);
        let mut at_ms = first_ms;
        while at_ms < self.last_ms {
            self.decoded.batch.push(at_ms, 1.0);
            at_ms += TARGET_INFO_EVERY_MS;
        }
        self.decoded.batch.push(self.last_ms, 1.0);
    }

    fn metric(&mut self, metric: Metric) {
        use metric::Data;
        let monotonic = matches!(&metric.data, Some(Data::Sum(sum)) if sum.is_monotonic);
        let (kind, suffix) = match &metric.data {
            Some(Data::Sum(_)) if monotonic => (MetricKind::Counter, Kind::Counter),
            Some(Data::Sum(_)) => (MetricKind::Gauge, Kind::Other),
            Some(Data::Gauge(_)) => (MetricKind::Gauge, Kind::Gauge),
            Some(Data::Histogram(_) | Data::ExponentialHistogram(_)) => (MetricKind::Histogram, Kind::Other),
            Some(Data::Summary(_)) => (MetricKind::Summary, Kind::Other),
            // In JSON also one whose data is not as it has to be: the messages' reader passes over it.
            None => {
                return self.decoded.rejected.add(RejectReason::InvalidValue, 1, || {
                    format!("metric {:?} has no data, or none that can be read", metric.name)
                });
            }
        };
        let said = said_kind(&metric).filter(|_| kind == MetricKind::Gauge);
        let kind = said.unwrap_or(kind);
        let name = match self.verbatim {
            true => Some(metric.name.clone()),
            false => self.translation.strategy.metric(&metric.name, &metric.unit, suffix),
        };
        let Some(name) = name else {
            let points = points::count(&metric);
            return self.decoded.rejected.add(RejectReason::InvalidLabels, points, || {
                format!("metric {:?} has no character that a name may have", metric.name)
            });
        };
        let temporality = temporality(&metric);
        if temporality == Temporality::Unsaid {
            let points = points::count(&metric);
            return self.decoded.rejected.add(RejectReason::InvalidValue, points, || {
                format!("invalid temporality and type combination for metric {:?}", metric.name)
            });
        }
        if !metric.description.is_empty() || said.is_some() || !self.verbatim {
            let unit = if self.verbatim { metric.unit } else { names::unit(&metric.unit) };
            self.describe(&name, kind, metric.description, unit);
        }
        let is_delta = temporality == Temporality::Delta;
        if let Some(data) = metric.data {
            self.points(&name, data, is_delta);
        }
    }

    fn describe(&mut self, name: &str, kind: MetricKind, help: String, unit: String) {
        if self.described.insert(name.to_owned()) {
            self.decoded.batch.metadata.push(Metadata { name: name.to_owned(), kind, help, unit });
        }
    }

    /// Labels of a point. Attributes that get the same name are joined, in the order of their own names; what the resource
    /// is identified by stands above them, what else it gives below.
    fn labels<'a>(&self, attributes: &'a [KeyValue]) -> Pairs<'a> {
        let more = self.identity.len() + self.promoted.len() + 2;
        let mut pairs: Pairs<'a> = Vec::with_capacity(attributes.len() + more);
        if self.verbatim {
            pairs.extend(attributes.iter().map(|pair| (Cow::from(&pair.key), text(pair))));
            return pairs;
        }
        let mut sorted: Vec<&KeyValue> = attributes.iter().collect();
        sorted.sort_by(|a, b| a.key.cmp(&b.key));
        for pair in sorted {
            let name = self.translation.strategy.label(&pair.key);
            let text = text(pair);
            match pairs.iter_mut().find(|(known, _)| *known == name) {
                Some((_, known)) => *known = format!("{known};{text}").into(),
                None => pairs.push((name, text)),
            }
        }
        for (name, value) in &self.promoted {
            if !pairs.iter().any(|(known, _)| known == name) {
                pairs.push((name.clone().into(), value.clone().into()));
            }
        }
        for (name, value) in &self.identity {
            match pairs.iter_mut().find(|(known, _)| known == name) {
                Some((_, known)) => *known = value.clone().into(),
                None => pairs.push((name.clone().into(), value.clone().into())),
            }
        }
        pairs
    }
}

/// Under which key of a metric's metadata OpenTelemetry keeps what Prometheus called it, where its own types have no word for
/// it (source: its page on compatibility with Prometheus).
pub(super) const PROMETHEUS_TYPE: &str = "prometheus.type";

fn said_kind(metric: &Metric) -> Option<MetricKind> {
    let said = metric.metadata.iter().find(|pair| pair.key == PROMETHEUS_TYPE)?;
    crate::exposition::kind_of(&text(said))
}

fn text(pair: &KeyValue) -> Cow<'_, str> {
    match pair.value.as_ref().map(|any| &any.value) {
        Some(Some(any_value::Value::StringValue(text))) => Cow::from(text),
        Some(_) => value_of(pair.value.clone()).to_string().into(),
        None => "".into(),
    }
}

fn job_and_instance(attributes: &[KeyValue]) -> Vec<(String, String)> {
    let found = |name: &str| {
        let pair = attributes.iter().find(|pair| pair.key == name)?;
        Some(text(pair).into_owned()).filter(|text| !text.is_empty())
    };
    let mut pairs = vec![];
    match (found("service.namespace"), found("service.name")) {
        (Some(namespace), Some(name)) => pairs.push(("job".to_owned(), format!("{namespace}/{name}"))),
        (None, Some(name)) => pairs.push(("job".to_owned(), name)),
        _ => {}
    }
    pairs.extend(found("service.instance.id").map(|instance| ("instance".to_owned(), instance)));
    pairs
}
