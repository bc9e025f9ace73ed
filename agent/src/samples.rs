//! Samples of one collection: all of one time, all with the labels of the job that they would have been scraped by.

use model::{Metadata, MetricBatch, MetricKind};
use std::collections::HashSet;
use tokio::sync::mpsc;

/// What Prometheus' own job for node_exporter is called in the public dashboards' examples, and in node-mixin.
pub const NODE_JOB: &str = "node";

/// The job under which kubernetes-mixin looks for `container_*`, and the path that kube-prometheus asks for beside it.
pub const CADVISOR: [(&str, &str); 2] = [("job", "cadvisor"), ("metrics_path", "/metrics/cadvisor")];

/// The job under which kubernetes-mixin looks for `kube_*`.
pub const KUBE_STATE: [(&str, &str); 1] = [("job", "kube-state-metrics")];

/// Series in a batch that is handed on before all are there. A node of 110 pods has 25,000, which are 12 MB of labels here
/// and as much again when they are written for the network.
const PIECE_SERIES: usize = 4_000;

pub struct Samples {
    batch: MetricBatch,
    /// Takes batches that are full, from a thread that may wait for it.
    full: Option<mpsc::Sender<MetricBatch>>,
    now_ns: i64,
    /// Of every series: `job`, `instance` and what else that job's targets have.
    target: Vec<(&'static str, String)>,
    /// `None` once ingest has been told what the metrics are.
    described: Option<HashSet<String>>,
}

impl Samples {
    pub fn new(now_ns: i64, instance: &str, describe: bool) -> Samples {
        Samples {
            batch: MetricBatch::default(),
            full: None,
            now_ns,
            target: vec![("job", NODE_JOB.to_owned()), ("instance", instance.to_owned())],
            described: describe.then(HashSet::new),
        }
    }

    /// Metrics of the node under another job's name; those of other jobs have theirs.
    pub fn in_job(mut self, job: &str) -> Samples {
        self.target[0].1 = job.to_owned();
        self
    }

    /// Hands each batch on as it is full; what is left is given at the end.
    pub fn in_pieces(self, full: mpsc::Sender<MetricBatch>) -> Samples {
        Samples { full: Some(full), ..self }
    }

    /// From here on the series are those of another job on this node.
    pub fn of_job(&mut self, labels: &[(&'static str, &str)], node: &str) {
        self.target = labels.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
        self.target.extend([("instance", node.to_owned()), ("node", node.to_owned())]);
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
        let mut pairs = Vec::with_capacity(1 + self.target.len() + labels.len());
        pairs.push(("__name__", name));
        // What a collector says of itself stands.
        let is_said = |name: &str| labels.iter().any(|(said, _)| *said == name);
        pairs.extend(
            self.target
                .iter()
                .filter(|(name, value)| !value.is_empty() && !is_said(name))
                .map(|(name, value)| (*name, value.as_str())),
        );
        pairs.extend(labels.iter().filter(|(_, value)| !value.is_empty()));
        // Two of one name would be a mistake of a collector; the series is left out.
        if self.batch.begin_series(&mut pairs).is_ok() {
            self.batch.push(self.now_ns.div_euclid(1_000_000), value);
        }
        if self.batch.series.len() >= PIECE_SERIES
            && let Some(full) = &self.full
        {
            // Nobody takes it any more when the agent stops.
            let _ = full.blocking_send(std::mem::take(&mut self.batch));
        }
    }

    pub fn finish(self) -> MetricBatch {
        self.batch
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nodes_job_is_called_as_is_asked_for() {
        let mut samples = Samples::new(1, "n1", false).in_job("node-exporter");
        samples.gauge("node_load1", "", &[], 1.0);
        samples.of_job(&CADVISOR, "n1");
        samples.gauge("container_processes", "", &[], 1.0);
        let all = crate::tests::labels_and_values(&samples.finish());
        let jobs: Vec<_> = all.iter().map(|(labels, _)| labels.get("job")).collect();
        assert_eq!(jobs, [Some("node-exporter"), Some("cadvisor")]);
    }

    #[tokio::test]
    async fn a_batch_that_is_full_is_handed_on() {
        let (full, mut pieces) = mpsc::channel(1);
        let collecting = tokio::task::spawn_blocking(move || {
            let mut samples = Samples::new(1, "n1", true).in_pieces(full);
            for number in 0..2 * PIECE_SERIES + 1 {
                samples.gauge("g", "help", &[("number", &number.to_string())], 1.0);
            }
            samples.finish()
        });
        let mut counts = vec![];
        while let Some(piece) = pieces.recv().await {
            counts.push((piece.series.len(), piece.metadata.len()));
        }
        assert_eq!(counts, [(PIECE_SERIES, 1), (PIECE_SERIES, 0)]);
        assert_eq!(collecting.await.unwrap().series.len(), 1);
    }
}
