//! What a record of the queue holds, by who it is of: told when it has to be dropped, without taking it apart again.

use model::{Attributes, LogBatch, SpanBatch, Value, attribute};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Sources of one record, and of all that was dropped, that are told by name.
const SOURCES_MAX: usize = 64;
const DROPPED_SOURCES_MAX: usize = 1_000;

/// What the rest is told as.
const OTHERS: &str = "__others__";

/// Samples, lines or spans by source.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Contents(BTreeMap<String, u64>);

impl Contents {
    pub fn of_samples(samples: usize) -> Contents {
        Contents([("metrics".to_owned(), samples as u64)].into())
    }

    pub fn of_logs(batch: &LogBatch) -> Contents {
        let mut contents = Contents::default();
        for stream in &batch.streams {
            let named = || stream.labels.get("service_name").unwrap_or("logs").to_owned();
            let source = source(&stream.resource).unwrap_or_else(named);
            contents.add(source, stream.records.len() as u64, SOURCES_MAX);
        }
        contents
    }

    pub fn of_spans(batch: &SpanBatch) -> Contents {
        let mut contents = Contents::default();
        for of in &batch.resources {
            let source = source(&of.resource).unwrap_or_else(|| "traces".to_owned());
            contents.add(source, of.spans.len() as u64, SOURCES_MAX);
        }
        contents
    }

    fn add(&mut self, source: String, count: u64, sources_max: usize) {
        let is_new = !self.0.contains_key(&source);
        let source = if is_new && self.0.len() >= sources_max { OTHERS.to_owned() } else { source };
        *self.0.entry(source).or_default() += count;
    }

    /// All of another's, to those of many records.
    pub fn merge(&mut self, other: Contents) {
        other.0.into_iter().for_each(|(source, count)| self.add(source, count, DROPPED_SOURCES_MAX));
    }

    pub fn iter(&self) -> impl Iterator<Item = (&str, u64)> {
        self.0.iter().map(|(source, count)| (source.as_str(), *count))
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The largest sources, for people.
    pub fn told(&self) -> String {
        const TOLD: usize = 5;
        let mut all: Vec<(&str, u64)> = self.iter().collect();
        all.sort_by_key(|(source, count)| (std::cmp::Reverse(*count), *source));
        let mut told: Vec<String> =
            all.iter().take(TOLD).map(|(source, count)| format!("{count} of {source}")).collect();
        if all.len() > TOLD {
            told.push(format!("and of {} more", all.len() - TOLD));
        }
        told.join(", ")
    }
}

/// `namespace/pod/container`, the file, or the service.
fn source(resource: &Attributes) -> Option<String> {
    let text = |name: &str| attribute(resource, name).and_then(Value::as_str);
    if let Some(pod) = text("k8s.pod.name") {
        let parts = [text("k8s.namespace.name"), Some(pod), text("k8s.container.name")];
        return Some(parts.into_iter().flatten().collect::<Vec<_>>().join("/"));
    }
    text("log.file.path").or_else(|| text("service.name")).map(str::to_owned)
}
