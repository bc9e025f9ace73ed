//! OTLP log records to streams, with the labels that Loki gives them.

use super::attributes::{attributes, value};
use super::{ExportLogsServiceRequest, id, names, time_ns};
use crate::{AGENT_SCOPE, Decoded};
use model::{Attributes, Labels, LogBatch, LogRecord, LogStream, RejectReason, Value, attribute, level};
use opentelemetry_proto::tonic::common::v1::InstrumentationScope;
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
            let (agent, scope_of_app) = match scope.scope {
                Some(scope) if scope.name == AGENT_SCOPE => (Some(scope), None),
                other => (None, other),
            };
            // What the agent sends says all in its labels.
            let of_scope = agent.is_none().then(|| scope_of_app.map(of_scope).unwrap_or_default());
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
            let records =
                scope.log_records.into_iter().map(|sent| record(sent, of_scope.as_ref(), now_ns)).collect();
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

/// What a scope says of each of its records, by the names that Loki gives it.
fn of_scope(scope: InstrumentationScope) -> Attributes {
    let mut said = attributes(scope.attributes);
    let named = [("scope_name", scope.name), ("scope_version", scope.version)];
    said.extend(
        named.into_iter().filter(|(_, text)| !text.is_empty()).map(|(name, text)| (name.into(), text.into())),
    );
    said
}

fn record(sent: Sent, of_scope: Option<&Attributes>, now_ns: i64) -> LogRecord {
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
    let text = ("severity_text".to_owned(), Value::from(sent.severity_text.clone()));
    let number = ("severity_number".to_owned(), Value::Int(sent.severity_number.into()));
    let text = Some(text).filter(|_| of_scope.is_some() && !sent.severity_text.is_empty());
    let number = Some(number).filter(|_| of_scope.is_some() && sent.severity_number != 0);
    for (name, value) in number.iter().chain(&text).chain(of_scope.into_iter().flatten()) {
        if attribute(&attributes, name).is_none() {
            attributes.push((name.clone(), value.clone()));
        }
    }
    let severity = match u8::try_from(sent.severity_number) {
        Ok(number @ 1..=24) => number,
        _ => {
            let named = level::named(|name| attribute(&attributes, name).and_then(Value::as_str));
            let mut said =
                [Some(sent.severity_text.as_str()), named].into_iter().flatten().map(level::of_word);
            said.find(|level| *level > 0).unwrap_or(0)
        }
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
