//! OTLP log records to streams, with the labels that Loki gives them.

use super::attributes::{attributes, value};
use super::{ExportLogsServiceRequest, id, names, time_ns};
use crate::{AGENT_SCOPE, Decoded, level};
use model::{Attributes, Labels, LogBatch, LogRecord, LogStream, RejectReason, Value, attribute};
use opentelemetry_proto::tonic::logs::v1::LogRecord as Sent;

/// Resource attributes that Loki makes labels (source: `limits_config.otlp_config` defaults).
const LABELS: [&str; 17] = [
    "service.name",
    "service.namespace",
    "service.instance.id",
    "deployment.environment",
    "deployment.environment.name",
    "cloud.region",
    "cloud.availability_zone",
    "container.name",
    "k8s.cluster.name",
    "k8s.container.name",
    "k8s.cronjob.name",
    "k8s.daemonset.name",
    "k8s.deployment.name",
    "k8s.job.name",
    "k8s.namespace.name",
    "k8s.pod.name",
    "k8s.statefulset.name",
];

/// `now_ns` is the time of records that carry none.
pub fn logs(request: ExportLogsServiceRequest, now_ns: i64) -> Decoded<LogBatch> {
    let mut decoded = Decoded::<LogBatch>::default();
    for resource in request.resource_logs {
        let attributes =
            attributes(resource.resource.map(|resource| resource.attributes).unwrap_or_default());
        for scope in resource.scope_logs {
            let agent = scope.scope.filter(|scope| scope.name == AGENT_SCOPE);
            // The agent names a stream's labels in its scope, beside the resource; without them the resource is they.
            let named = agent.as_ref().map(|scope| super::attributes::attributes(scope.attributes.clone()));
            let named = named.map(|named| if named.is_empty() { attributes.clone() } else { named });
            let labels = match labels(named.as_ref().unwrap_or(&attributes), named.is_some()) {
                Ok(labels) => labels,
                Err(wrong) => {
                    decoded
                        .rejected
                        .add(RejectReason::InvalidLabels, scope.log_records.len() as u64, || wrong);
                    continue;
                }
            };
            let records = scope.log_records.into_iter().map(|sent| record(sent, now_ns)).collect();
            decoded.batch.streams.push(LogStream { labels, resource: attributes.clone(), records });
        }
    }
    decoded
}

fn labels(resource: &Attributes, by_agent: bool) -> Result<Labels, String> {
    if resource.iter().any(|(name, _)| name.is_empty()) {
        return Err("a resource attribute has no name".into());
    }
    if by_agent {
        return Ok(Labels::from_pairs(
            resource.iter().map(|(name, value)| (name.as_str(), value.to_string())),
        ));
    }
    let named =
        LABELS.iter().filter_map(|name| Some((names::label(name), attribute(resource, name)?.to_string())));
    let mut pairs: Vec<_> = named.collect();
    if attribute(resource, "service.name").is_none() {
        pairs.push(("service_name".into(), "unknown_service".into()));
    }
    Ok(Labels::from_pairs(pairs))
}

fn record(sent: Sent, now_ns: i64) -> LogRecord {
    let times = [sent.time_unix_nano, sent.observed_time_unix_nano];
    let ts_ns = times.into_iter().find(|time| *time > 0).map_or(now_ns, time_ns);
    let body = match value(sent.body) {
        Value::String(text) | Value::Json(text) => text,
        other => other.to_string(),
    };
    let mut attributes = attributes(sent.attributes);
    if !sent.event_name.is_empty() && attribute(&attributes, "event.name").is_none() {
        attributes.push(("event.name".into(), sent.event_name.into()));
    }
    let severity = match u8::try_from(sent.severity_number) {
        Ok(number @ 1..=24) => number,
        _ => match level::of_word(&sent.severity_text) {
            0 => level::of_line(&body),
            known => known,
        },
    };
    LogRecord {
        ts_ns,
        severity,
        severity_text: sent.severity_text,
        trace_id: id(&sent.trace_id),
        span_id: id(&sent.span_id),
        body,
        attributes,
    }
}
