//! Samples of one collection: all of one time, all with the labels of the job that they would have been scraped by, and with
//! markers for what the collection before told and this one does not.

use crate::JobNames;
use crate::alive::{Alive, Telling};
use model::{Metadata, MetricBatch, MetricKind, stale_marker};
use std::collections::HashSet;
use tokio::sync::mpsc;

/// The path that kube-prometheus asks for beside the job of `container_*`.
const CADVISOR_PATH: &str = "/metrics/cadvisor";

/// The job under which all rules look for `kube_*`.
const KUBE_STATE_JOB: &str = "kube-state-metrics";

/// Series in a batch that is handed on before all are there. A node of 110 pods has 25,000, which are 12 MB of labels here
/// and as much again when they are written for the network.
const PIECE_SERIES: usize = 4_000;

pub struct Samples {
    batch: MetricBatch,
    /// Takes batches that are full, from a thread that may wait for it.
    full: Option<mpsc::Sender<MetricBatch>>,
    now_ns: i64,
    jobs: JobNames,
    /// Of every series: `job`, `instance` and what else that job's targets have.
    target: Vec<(&'static str, String)>,
    /// The pod that told these series before this one: they end under its name.
    before: Option<String>,
    /// What is told of the part that is being measured, to know what has ended.
    telling: Option<Telling>,
    /// `None` once ingest has been told what the metrics are.
    described: Option<HashSet<String>>,
}

impl Samples {
    pub fn new(now_ns: i64, instance: &str, describe: bool) -> Samples {
        Samples {
            batch: MetricBatch::default(),
            full: None,
            now_ns,
            jobs: JobNames::default(),
            target: vec![("job", JobNames::default().node), ("instance", instance.to_owned())],
            before: None,
            telling: None,
            described: describe.then(HashSet::new),
        }
    }

    /// Jobs are called so, and this far it is the node's.
    pub fn in_jobs(mut self, jobs: &JobNames) -> Samples {
        self.target[0].1.clone_from(&jobs.node);
        Samples { jobs: jobs.clone(), ..self }
    }

    /// Hands each batch on as it is full; what is left is given at the end.
    pub fn in_pieces(self, full: mpsc::Sender<MetricBatch>) -> Samples {
        Samples { full: Some(full), ..self }
    }

    /// From here on the series have the labels of the pod that they are measured in, too; those of the pod before it end,
    /// as they do for whoever scrapes pods. Without it a sum would count the node twice for as long as a query looks back.
    pub fn of_pod(&mut self, place: &[(&'static str, String)], before: Option<String>) {
        self.target.extend_from_slice(place);
        self.before = before;
    }

    /// From here on the series are `container_*`.
    pub fn of_cadvisor(&mut self, node: &str) {
        let job = self.jobs.cadvisor.clone();
        self.of_job(job, node);
        self.target.push(("metrics_path", CADVISOR_PATH.to_owned()));
    }

    /// From here on the series are `kube_*`; what is of the whole cluster is told by no node.
    pub fn of_kube_state(&mut self, node: &str) {
        self.of_job(KUBE_STATE_JOB.to_owned(), node);
    }

    /// What `collect` tells is a part of its own, whole each time that it is told: series that were alive and are not told
    /// now end at this collection's time, as at the first scrape that they are missing from. A part that comes to a panic was
    /// not whole: nothing ends, and `alive` has forgotten all.
    pub fn ending<T>(&mut self, alive: &mut Alive, collect: impl FnOnce(&mut Samples) -> T) -> T {
        // Nothing is in the way but what a part left that came to a panic.
        self.telling = Some(std::mem::take(alive).tell());
        let collected = collect(self);
        if let Some(telling) = self.telling.take() {
            *alive = telling.finish(|labels| self.end(labels));
        }
        collected
    }

    fn of_job(&mut self, job: String, node: &str) {
        self.target = vec![("job", job), ("instance", node.to_owned()), ("node", node.to_owned())];
        self.before = None;
    }

    /// What a scrape says of its target: by it dashboards list clusters and nodes, and rules see what is missing.
    pub fn up(&mut self) {
        self.gauge("up", "1 if the target answered, 0 otherwise.", &[], 1.0);
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

    /// What a metric is, or a family of metrics of other names. The first word holds.
    pub fn describe(&mut self, name: &str, kind: MetricKind, help: &str) {
        if let Some(described) = &mut self.described
            && described.insert(name.to_owned())
        {
            let (name, help) = (name.to_owned(), help.to_owned());
            self.batch.metadata.push(Metadata { name, kind, help, unit: String::new() });
        }
    }

    pub fn add(&mut self, name: &str, kind: MetricKind, help: &str, labels: &[(&str, &str)], value: f64) {
        self.describe(name, kind, help);
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
        let (now_ms, begin) = (self.now_ms(), self.batch.label_bytes.len());
        if self.batch.begin_series(&mut pairs).is_ok() {
            self.batch.push(now_ms, value);
            if let Some(telling) = &mut self.telling {
                telling.add(&self.batch.label_bytes[begin..]);
            }
            if let Some(before) = self.before.as_deref().filter(|_| !is_said("pod")) {
                pairs.iter_mut().filter(|(name, _)| *name == "pod").for_each(|pod| pod.1 = before);
                if self.batch.begin_series(&mut pairs).is_ok() {
                    self.batch.push(now_ms, stale_marker());
                }
            }
        }
        self.hand_on();
    }

    fn end(&mut self, labels: &[u8]) {
        self.batch.begin_canonical(labels);
        self.batch.push(self.now_ms(), stale_marker());
        self.hand_on();
    }

    fn hand_on(&mut self) {
        if self.batch.series.len() >= PIECE_SERIES
            && let Some(full) = &self.full
        {
            // Nobody takes it any more when the agent stops.
            let _ = full.blocking_send(std::mem::take(&mut self.batch));
        }
    }

    fn now_ms(&self) -> i64 {
        self.now_ns.div_euclid(1_000_000)
    }

    pub fn finish(self) -> MetricBatch {
        self.batch
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jobs_are_called_as_is_asked_for() {
        let told = |names: &str| {
            let mut samples = Samples::new(1, "n1", false).in_jobs(&JobNames::parse(names).unwrap());
            samples.of_pod(&[("pod", "agent-x".into())], None);
            samples.gauge("node_load1", "", &[], 1.0);
            samples.of_cadvisor("n1");
            samples.up();
            samples.of_kube_state("");
            samples.up();
            let all = crate::tests::labels_and_values(&samples.finish());
            all.into_iter().map(|(labels, _)| labels.to_string()).collect::<Vec<_>>()
        };
        let kubelet = "up{instance=\"n1\", job=\"kubelet\", metrics_path=\"/metrics/cadvisor\", node=\"n1\"}";
        assert_eq!(
            told("kube-prometheus"),
            [
                "node_load1{instance=\"n1\", job=\"node-exporter\", pod=\"agent-x\"}",
                kubelet,
                "up{job=\"kube-state-metrics\"}"
            ]
        );
        assert_eq!(told("mixins")[0], "node_load1{instance=\"n1\", job=\"node\", pod=\"agent-x\"}");
        assert_eq!(told("mixins")[1], kubelet.replace("kubelet", "cadvisor"));
    }

    #[test]
    fn parts_end_by_themselves() {
        let (mut one, mut other) = (Alive::default(), Alive::default());
        let mut collected = |ones: &[&str], others: Option<&[&str]>| {
            let mut samples = Samples::new(1, "n1", false);
            let tell = |names: &[&str], out: &mut Samples| {
                names.iter().for_each(|name| out.gauge(name, "", &[], 1.0));
            };
            samples.ending(&mut one, |out| tell(ones, out));
            samples.of_cadvisor("n1");
            if let Some(others) = others {
                samples.ending(&mut other, |out| tell(others, out));
            }
            let (_, ended) = crate::tests::told_and_ended(&samples.finish());
            ended
        };
        let of_cadvisor =
            "{instance=\"n1\", job=\"cadvisor\", metrics_path=\"/metrics/cadvisor\", node=\"n1\"}";
        assert_eq!(collected(&["a", "b"], Some(&["a"])), [""; 0]);
        assert_eq!(collected(&["b"], None), ["a{instance=\"n1\", job=\"node\"}"]);
        assert_eq!(collected(&["b"], Some(&["a"])), [""; 0]);
        assert_eq!(collected(&["a", "b"], Some(&[])), [format!("a{of_cadvisor}")]);
        assert_eq!(collected(&["a", "b"], Some(&[])), [""; 0]);
    }

    #[test]
    fn series_of_the_pod_before_end() {
        let mut samples = Samples::new(1, "n1", false);
        samples.of_pod(&[("pod", "agent-b".into())], Some("agent-a".into()));
        samples.gauge("node_load1", "", &[], 1.0);
        samples.gauge("of_a_file", "", &[("pod", "web")], 2.0);
        samples.of_cadvisor("n1");
        samples.up();
        let all = crate::tests::labels_and_values(&samples.finish());
        let told: Vec<_> = all
            .iter()
            .map(|(labels, value)| (labels.metric_name(), labels.get("pod"), model::is_stale_marker(*value)))
            .collect();
        let expected = [
            ("node_load1", Some("agent-b"), false),
            ("node_load1", Some("agent-a"), true),
            ("of_a_file", Some("web"), false),
            ("up", None, false),
        ];
        assert_eq!(told, expected);
    }

    /// What ends fills batches as what is told does.
    #[tokio::test]
    async fn what_ends_is_handed_on_in_pieces_too() {
        let mut alive = Alive::default();
        for (told, ended) in [(2 * PIECE_SERIES + 1, 0), (10, 2 * PIECE_SERIES - 9), (10, 0)] {
            let (full, mut pieces) = mpsc::channel(1);
            let mut before = std::mem::take(&mut alive);
            let collecting = tokio::task::spawn_blocking(move || {
                let mut samples = Samples::new(1, "n1", false).in_pieces(full);
                samples.ending(&mut before, |out| {
                    (0..told).for_each(|number| out.gauge("g", "", &[("number", &number.to_string())], 1.0));
                });
                (samples.finish(), before)
            });
            let mut batches = vec![];
            while let Some(piece) = pieces.recv().await {
                batches.push(piece);
            }
            let (rest, after) = collecting.await.unwrap();
            assert!(batches.iter().all(|piece| piece.series.len() == PIECE_SERIES));
            batches.push(rest);
            let count = |is_end: bool| {
                let values = batches.iter().flat_map(|batch| &batch.values);
                values.filter(|value| model::is_stale_marker(**value) == is_end).count()
            };
            assert_eq!((count(false), count(true)), (told, ended));
            alive = after;
        }
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
