//! OTLP log records to streams, with the labels that Loki gives them.

use super::{ExportLogsServiceRequest, attributes, id, names, time_ns};
use crate::{AGENT_SCOPE, Decoded};
use base64::Engine;
use model::{Attributes, Labels, LogBatch, LogRecord, LogStream, RejectReason, Value, attribute, level};
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue, any_value};
use opentelemetry_proto::tonic::logs::v1::LogRecord as Sent;

/// Resource attributes that Loki makes labels (source: `default_resource_attributes_as_index_labels`).
const LABELS: [&str; 18] = [
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
    "k8s.replicaset.name",
    "k8s.statefulset.name",
];

/// `now_ns` is the time of records that carry none; `service_from` names the labels that `service_name` is taken from where
/// the resource has none, and with none it is not added.
pub fn logs(request: ExportLogsServiceRequest, now_ns: i64, service_from: &[String]) -> Decoded<LogBatch> {
    let mut decoded = Decoded::<LogBatch>::default();
    for resource in request.resource_logs {
        let attributes = flat(resource.resource.map(|resource| resource.attributes).unwrap_or_default());
        for scope in resource.scope_logs {
            let (agent, scope_of_app) = match scope.scope {
                Some(scope) if scope.name == AGENT_SCOPE => (Some(scope), None),
                other => (None, other),
            };
            // What the agent sends says all in its labels.
            let of_scope = agent.is_none().then(|| scope_of_app.map(of_scope).unwrap_or_default());
            // The agent names a stream's labels in its scope, beside the resource; without them the resource is they.
            let named = agent.as_ref().map(|scope| attributes::attributes(scope.attributes.clone()));
            let named = named.map(|named| if named.is_empty() { attributes.clone() } else { named });
            let labels = match labels(named.as_ref().unwrap_or(&attributes), named.is_some(), service_from) {
                Ok(labels) => labels,
                Err(wrong) => {
                    decoded
                        .rejected
                        .add(RejectReason::InvalidLabels, scope.log_records.len() as u64, || wrong);
                    continue;
                }
            };
            let sent = scope.log_records.len();
            let records: Vec<LogRecord> = scope
                .log_records
                .into_iter()
                .map(|sent| record(sent, of_scope.as_ref(), now_ns))
                .filter(|record| record.attributes.iter().all(|(name, _)| !name.is_empty()))
                .collect();
            if records.len() < sent {
                let nameless = (sent - records.len()) as u64;
                let wrong = || "an attribute of a log record has no name".to_owned();
                decoded.rejected.add(RejectReason::InvalidLabels, nameless, wrong);
            }
            decoded.batch.streams.push(LogStream { labels, resource: attributes.clone(), records });
        }
    }
    decoded
}

fn labels(resource: &Attributes, by_agent: bool, service_from: &[String]) -> Result<Labels, String> {
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
    if attribute(resource, "service.name").is_none() && !service_from.is_empty() {
        let of = |from: &String| pairs.iter().find(|(name, _)| name == from).map(|(_, value)| value.clone());
        let found = service_from.iter().find_map(of);
        pairs.push(("service_name".into(), found.unwrap_or_else(|| "unknown_service".into())));
    }
    Ok(Labels::from_pairs(pairs))
}

/// Attributes as Loki has them: what is in a map has a name of its own, bytes are base64, what is empty is not there.
fn flat(pairs: Vec<KeyValue>) -> Attributes {
    let mut flat = Attributes::with_capacity(pairs.len());
    pairs.into_iter().for_each(|pair| flatten(pair.key, pair.value, &mut flat));
    flat
}

/// What is in a map of a longer name stays one text: each of its values would have that name again.
const MAP_NAME_BYTES_MAX: usize = 128;

/// How deep a message may be bounds how deep this goes.
fn flatten(name: String, any: Option<AnyValue>, flat: &mut Attributes) {
    match any.and_then(|any| any.value) {
        Some(any_value::Value::KvlistValue(map)) if name.len() <= MAP_NAME_BYTES_MAX => {
            for pair in map.values {
                flatten(format!("{name}.{}", pair.key), pair.value, flat);
            }
        }
        Some(any_value::Value::BytesValue(bytes)) => flat.push((name, base64(&bytes).into())),
        value => {
            let value = attributes::value(Some(AnyValue { value }));
            flat.extend(Some((name, value)).filter(|(_, value)| !value.is_empty()));
        }
    }
}

fn base64(bytes: &[u8]) -> String {
    base64::prelude::BASE64_STANDARD.encode(bytes)
}

/// What a scope says of each of its records, by the names that Loki gives it.
fn of_scope(scope: InstrumentationScope) -> Attributes {
    let mut said = flat(scope.attributes);
    said.extend(text("scope_name", scope.name));
    said.extend(text("scope_version", scope.version));
    said.extend(number("scope_dropped_attributes_count", scope.dropped_attributes_count.into()));
    said
}

fn text(name: &str, text: String) -> Option<(String, Value)> {
    (!text.is_empty()).then(|| (name.to_owned(), text.into()))
}

fn number(name: &str, number: i64) -> Option<(String, Value)> {
    (number != 0).then(|| (name.to_owned(), Value::Int(number)))
}

/// What a record says beside its attributes, by the names that Loki gives it. The time when it was seen is its own time
/// where it has no other.
fn of_record(sent: &Sent) -> impl Iterator<Item = (String, Value)> {
    let observed = if sent.time_unix_nano == 0 { 0 } else { sent.observed_time_unix_nano };
    [
        number("observed_timestamp", time_ns(observed)),
        number("severity_number", sent.severity_number.into()),
        text("severity_text", sent.severity_text.clone()),
        number("dropped_attributes_count", sent.dropped_attributes_count.into()),
        number("flags", sent.flags.into()),
    ]
    .into_iter()
    .flatten()
}

fn record(sent: Sent, of_scope: Option<&Attributes>, now_ns: i64) -> LogRecord {
    let times = [sent.time_unix_nano, sent.observed_time_unix_nano];
    let ts_ns = times.into_iter().find(|time| *time > 0).map_or(now_ns, time_ns);
    let said: Attributes = of_scope.map(|_| of_record(&sent).collect()).unwrap_or_default();
    let body = match attributes::value(sent.body) {
        Value::String(text) | Value::Json(text) => text,
        Value::Bytes(bytes) => base64(&bytes),
        other => other.to_string(),
    };
    let mut attributes = flat(sent.attributes);
    level::spell(&mut attributes);
    if !sent.event_name.is_empty() {
        // The record's own field goes before attributes that are called so.
        attributes.retain(|(name, _)| name != "event.name" && name != "event_name");
        attributes.push(("event.name".into(), sent.event_name.into()));
    }
    for (name, value) in said.iter().chain(of_scope.into_iter().flatten()) {
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
