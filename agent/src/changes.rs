//! Changes in the world, as log records of a stream of their own: what happened, to whom, what was before and after. The
//! SQL table `changes` is a view of them.

use crate::host::Host;
use model::{Labels, LogBatch, LogRecord, LogStream};
use std::collections::BTreeMap;

/// The service under which changes are stored; the view looks for it.
pub const SERVICE: &str = "binnacle.changes";

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Change {
    pub ts_ns: i64,
    /// `oom_kill`, `rollout`, `scale`, `config`, `node`, `eviction`, `probe` and the like.
    pub kind: String,
    pub namespace: String,
    /// The workload, the node or whatever else it happened to.
    pub workload: String,
    pub what: String,
    pub before: String,
    pub after: String,
    /// OpenTelemetry severity number.
    pub severity: u8,
    /// More of it, by name.
    pub details: Vec<(String, model::Value)>,
}

/// Of this node, by namespace one stream.
pub fn batch(changes: Vec<Change>, host: &Host) -> LogBatch {
    streams(changes, host, Some(&host.name))
}

/// Of the cluster, which this node only watches: each says itself what it knows of a node, and whoever watches tells the same.
pub fn of_cluster(changes: Vec<Change>, host: &Host) -> LogBatch {
    streams(changes, host, None)
}

fn streams(changes: Vec<Change>, host: &Host, node: Option<&str>) -> LogBatch {
    let mut streams: BTreeMap<String, Vec<LogRecord>> = BTreeMap::new();
    for change in changes {
        let mut attributes = change.details;
        for (name, value) in [
            ("change.kind", change.kind),
            ("change.workload", change.workload),
            ("change.before", change.before),
            ("change.after", change.after),
        ] {
            if !value.is_empty() {
                attributes.push((name.to_owned(), value.into()));
            }
        }
        streams.entry(change.namespace).or_default().push(LogRecord {
            ts_ns: change.ts_ns,
            severity: change.severity,
            body: change.what,
            attributes,
            ..LogRecord::default()
        });
    }
    let stream = |(namespace, records): (String, Vec<LogRecord>)| {
        let mut labels = vec![("service_name", SERVICE), ("job", "changes")];
        let mut resource = vec![("service.name".to_owned(), SERVICE.into())];
        if let Some(node) = node {
            labels.push(("node", node));
            resource.push(("k8s.node.name".to_owned(), node.into()));
        }
        if !namespace.is_empty() {
            labels.push(("namespace", &namespace));
        }
        if !namespace.is_empty() {
            resource.push(("k8s.namespace.name".to_owned(), namespace.as_str().into()));
        }
        let (labels, resource) = host.named((Labels::from_pairs(labels), resource));
        LogStream { labels, resource, records }
    };
    LogBatch { streams: streams.into_iter().map(stream).collect() }
}
