//! Samples of one collection: all of one time, all with this machine's `job` and `instance`.

use model::{Metadata, MetricBatch, MetricKind};
use std::collections::HashSet;

/// What Prometheus' own job for node_exporter is called in the public dashboards' examples.
const JOB: &str = "node";

pub struct Samples {
    batch: MetricBatch,
    now_ns: i64,
    instance: String,
    /// `None` once ingest has been told what the metrics are.
    described: Option<HashSet<String>>,
}

impl Samples {
    pub fn new(now_ns: i64, instance: &str, describe: bool) -> Samples {
        Samples {
            batch: MetricBatch::default(),
            now_ns,
            instance: instance.to_owned(),
            described: describe.then(HashSet::new),
        }
    }

    pub fn now_ns(&self) -> i64 {
        self.now_ns
    }

    pub fn gauge(&mut self, name: &str, help: &str, labels: &[(&str, &str)], value: f64) {
        self.add(name, MetricKind::Gauge, help, labels, value);
    }

    pub fn counter(&mut self, name: &str, help: &str, labels: &[(&str, &str)], value: f64) {
        self.add(name, MetricKind::Counter, help, labels, value);
    }

    pub fn untyped(&mut self, name: &str, help: &str, labels: &[(&str, &str)], value: f64) {
        self.add(name, MetricKind::Unknown, help, labels, value);
    }

    pub fn add(&mut self, name: &str, kind: MetricKind, help: &str, labels: &[(&str, &str)], value: f64) {
        if let Some(described) = &mut self.described
            && described.insert(name.to_owned())
        {
            let (name, help) = (name.to_owned(), help.to_owned());
            self.batch.metadata.push(Metadata { name, kind, help, unit: String::new() });
        }
        let mut pairs = vec![("__name__", name), ("job", JOB), ("instance", &self.instance)];
        pairs.extend(labels.iter().filter(|(_, value)| !value.is_empty()));
        // Two of one name would be a mistake of a collector; the series is left out.
        if self.batch.begin_series(&mut pairs).is_ok() {
            self.batch.push(self.now_ns.div_euclid(1_000_000), value);
        }
    }

    pub fn finish(self) -> MetricBatch {
        self.batch
    }
}
