//! Events of the cluster as log records.

use super::difference::event_time;
use crate::host::Host;
use model::{Labels, LogBatch, LogRecord, LogStream};
use serde_json::Value;

/// By OpenTelemetry's names for them (k8s events receiver).
pub fn logged(events: &[Value], now_ns: i64, host: &Host) -> LogBatch {
    let mut batch = LogBatch::default();
    for event in events {
        let text = |path: &str| event.pointer(path).and_then(Value::as_str).unwrap_or("");
        let namespace = text("/involvedObject/namespace");
        let mut attributes: model::Attributes = vec![];
        for (name, path) in [
            ("k8s.event.reason", "/reason"),
            ("k8s.event.name", "/metadata/name"),
            ("k8s.event.uid", "/metadata/uid"),
            ("k8s.object.kind", "/involvedObject/kind"),
            ("k8s.object.name", "/involvedObject/name"),
            ("k8s.object.uid", "/involvedObject/uid"),
            ("k8s.event.reporter", "/source/component"),
        ] {
            if !text(path).is_empty() {
                attributes.push((name.to_owned(), text(path).into()));
            }
        }
        if let Some(count) = event["count"].as_i64() {
            attributes.push(("k8s.event.count".to_owned(), model::Value::Int(count)));
        }
        let record = LogRecord {
            ts_ns: event_time(event).unwrap_or(now_ns),
            severity: if text("/type") == "Warning" { 13 } else { 9 },
            severity_text: text("/type").to_owned(),
            body: text("/message").to_owned(),
            attributes,
            ..LogRecord::default()
        };
        let mut labels = vec![("service_name", "kubernetes-events"), ("job", "kubernetes-events")];
        let mut resource = vec![("service.name".to_owned(), "kubernetes-events".into())];
        if !namespace.is_empty() {
            labels.push(("namespace", namespace));
            resource.push(("k8s.namespace.name".to_owned(), namespace.into()));
        }
        let (labels, resource) = host.named((Labels::from_pairs(labels), resource));
        match batch.streams.iter_mut().find(|stream| stream.labels == labels) {
            Some(stream) => stream.records.push(record),
            None => batch.streams.push(LogStream { labels, resource, records: vec![record] }),
        }
    }
    batch
}
