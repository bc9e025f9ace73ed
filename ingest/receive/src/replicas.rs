//! Pairs of Prometheus servers that scrape the same targets and send the same series, told apart by external labels
//! (`cluster` and `__replica__`): of each cluster one replica is elected and its samples are taken, those of the others are
//! not. When the elected one was silent for a time, the next that sends takes its place.
//!
//! As Cortex' and Mimir's HA tracker, with the same labels and times, kept in this process: after a restart the first that
//! sends is elected. A series with only one of the two labels is taken as it is.

use model::{
    Exemplar, LabelSetBuilder, Labels, MetricBatch, Reading, RejectReason, Tenant, component_in, is_meta,
};
use parking_lot::Mutex;
use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use wire::Rejected;

#[derive(Clone, Debug)]
pub struct Config {
    pub tenants: Tenants,
    pub cluster_label: String,
    pub replica_label: String,
    /// The elected replica may be silent for so long.
    pub failover: Duration,
    /// Of one tenant; samples of more are refused.
    pub clusters_max: usize,
}

/// Whose replicas are told apart.
#[derive(Clone, Debug, Default)]
pub enum Tenants {
    #[default]
    None,
    All,
    These(BTreeSet<Tenant>),
}

impl Default for Config {
    fn default() -> Config {
        Config {
            tenants: Tenants::None,
            cluster_label: "cluster".into(),
            replica_label: "__replica__".into(),
            failover: Duration::from_secs(30),
            clusters_max: 100,
        }
    }
}

pub(crate) struct Tracker {
    config: Config,
    elected: Mutex<HashMap<Tenant, HashMap<String, Elected>>>,
    deduplicated: AtomicU64,
    elections: AtomicU64,
}

struct Elected {
    replica: String,
    seen_ms: i64,
}

#[derive(Clone, Copy, PartialEq)]
enum Verdict {
    Taken,
    NotElected,
    TooManyClusters,
}

impl Tracker {
    pub fn new(config: Config) -> Tracker {
        Tracker {
            config,
            elected: Mutex::default(),
            deduplicated: AtomicU64::default(),
            elections: AtomicU64::default(),
        }
    }

    fn is_for(&self, tenant: &Tenant) -> bool {
        match &self.config.tenants {
            Tenants::None => false,
            Tenants::All => true,
            Tenants::These(tenants) => tenants.contains(tenant),
        }
    }

    /// The batch without what is not of an elected replica, and without the label that names the replica. Also how many
    /// samples another replica has sent or will send.
    pub fn pass(
        &self,
        tenant: &Tenant,
        batch: MetricBatch,
        rejected: &mut Rejected,
        now_ms: i64,
    ) -> (MetricBatch, u64) {
        if !self.is_for(tenant) {
            return (batch, 0);
        }
        let mut verdicts: HashMap<(String, String), Verdict> = HashMap::new();
        let mut verdict = |labels: &[u8]| {
            let (cluster, replica) = self.pair(labels)?;
            if let Some(known) = verdicts.get(&(cluster.to_owned(), replica.to_owned())) {
                return Some(*known);
            }
            let made = self.elect(tenant, cluster, replica, now_ms);
            verdicts.insert((cluster.to_owned(), replica.to_owned()), made);
            Some(made)
        };
        let mut kept = MetricBatch { metadata: batch.metadata.clone(), ..MetricBatch::default() };
        let mut deduplicated = 0;
        for (labels, ts_ms, values) in batch.iter() {
            let samples = if component_in(labels).is_none_or(is_meta) { ts_ms.len() as u64 } else { 0 };
            match verdict(labels) {
                None => kept.begin_canonical(labels),
                Some(Verdict::Taken) => {
                    kept.begin_labels(&self.without_replica(&Labels::from_bytes(labels).unwrap_or_default()));
                }
                Some(Verdict::NotElected) => {
                    deduplicated += samples;
                    continue;
                }
                Some(Verdict::TooManyClusters) => {
                    rejected.reject(RejectReason::TooManyClusters, samples, || self.too_many(labels));
                    continue;
                }
            }
            ts_ms.iter().zip(values).for_each(|(ts, value)| kept.push(*ts, *value));
        }
        for exemplar in batch.exemplars {
            match verdict(exemplar.series.as_bytes()) {
                None => kept.exemplars.push(exemplar),
                Some(Verdict::Taken) => {
                    let series = self.without_replica(&exemplar.series);
                    kept.exemplars.push(Exemplar { series, ..exemplar });
                }
                Some(_) => {}
            }
        }
        self.deduplicated.fetch_add(deduplicated, Ordering::Relaxed);
        (kept, deduplicated)
    }

    fn pair<'l>(&self, labels: &'l [u8]) -> Option<(&'l str, &'l str)> {
        let (mut cluster, mut replica) = (None, None);
        for (name, value) in Labels::pairs_in(labels) {
            if name == self.config.cluster_label {
                cluster = Some(value);
            } else if name == self.config.replica_label {
                replica = Some(value);
            }
        }
        cluster.zip(replica)
    }

    fn without_replica(&self, labels: &Labels) -> Labels {
        let mut builder = LabelSetBuilder::from_labels(labels);
        builder.remove(&self.config.replica_label);
        builder.build()
    }

    fn elect(&self, tenant: &Tenant, cluster: &str, replica: &str, now_ms: i64) -> Verdict {
        let mut elected = self.elected.lock();
        let clusters = elected.entry(tenant.clone()).or_default();
        let failover_ms = self.config.failover.as_millis() as i64;
        let recent = |known: &Elected| now_ms.saturating_sub(known.seen_ms) < failover_ms;
        if let Some(known) = clusters.get_mut(cluster) {
            if known.replica == replica {
                known.seen_ms = now_ms;
                return Verdict::Taken;
            }
            if recent(known) {
                return Verdict::NotElected;
            }
        } else if clusters.len() >= self.config.clusters_max {
            // One of which nothing comes any more makes room.
            clusters.retain(|_, known| recent(known));
            if clusters.len() >= self.config.clusters_max {
                return Verdict::TooManyClusters;
            }
        }
        clusters.insert(cluster.to_owned(), Elected { replica: replica.to_owned(), seen_ms: now_ms });
        self.elections.fetch_add(1, Ordering::Relaxed);
        Verdict::Taken
    }

    fn too_many(&self, labels: &[u8]) -> String {
        let (cluster, _) = self.pair(labels).unwrap_or_default();
        format!(
            "the cluster {cluster:?} is one more than the {} that a tenant's replicas may be of (ha_max_clusters)",
            self.config.clusters_max
        )
    }

    pub fn readings(&self) -> Vec<Reading> {
        let count = |count: &AtomicU64| count.load(Ordering::Relaxed) as f64;
        let clusters: usize = self.elected.lock().values().map(HashMap::len).sum();
        vec![
            Reading::gauge(
                "binnacle_ingest_ha_clusters",
                "Clusters of which one replica is elected",
                clusters as f64,
            ),
            Reading::counter(
                "binnacle_ingest_ha_deduplicated_samples_total",
                "Samples that were not taken as another replica sends them",
                count(&self.deduplicated),
            ),
            Reading::counter(
                "binnacle_ingest_ha_elections_total",
                "Replicas that were elected, the first of a cluster and those that took over",
                count(&self.elections),
            ),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(replica: &str) -> MetricBatch {
        let mut batch = MetricBatch::default();
        for (cluster, value) in [("a", 1.0), ("", 2.0)] {
            let mut pairs = [("__name__", "up"), ("cluster", cluster), ("__replica__", replica)];
            batch.begin_series(&mut pairs).unwrap();
            batch.push(1, value);
        }
        batch
    }

    fn tracker(clusters_max: usize) -> Tracker {
        Tracker::new(Config { tenants: Tenants::All, clusters_max, ..Config::default() })
    }

    #[test]
    fn one_replica_of_a_cluster_is_taken_until_it_is_silent() {
        let tracker = tracker(5);
        let pass = |replica: &str, now_ms: i64| {
            let passed = tracker.pass(&Tenant::default(), batch(replica), &mut Rejected::default(), now_ms);
            let names = passed.0.iter().map(|(l, ..)| Labels::from_bytes(l).unwrap().to_string());
            (names.collect::<Vec<_>>(), passed.1)
        };
        // Without a cluster a series is taken as it is.
        let own = |replica: &str| format!("up{{__replica__=\"{replica}\"}}");
        let shared = "up{cluster=\"a\"}".to_owned();
        assert_eq!(pass("r1", 0), (vec![shared.clone(), own("r1")], 0));
        assert_eq!(pass("r2", 29_999), (vec![own("r2")], 1));
        assert_eq!(pass("r1", 29_999).1, 0);
        assert_eq!(pass("r2", 59_998).1, 1);
        assert_eq!(pass("r2", 59_999), (vec![shared, own("r2")], 0), "the elected one was silent for 30 s");
        assert_eq!(pass("r1", 60_000).1, 1);
        assert_eq!(tracker.elections.load(Ordering::Relaxed), 2);
    }

    #[test]
    fn tenants_are_apart_and_clusters_bounded() {
        let tracker = tracker(0);
        let mut rejected = Rejected::default();
        tracker.pass(&Tenant::default(), batch("r1"), &mut rejected, 0);
        assert_eq!((rejected.0[0].reason, rejected.0[0].count), (RejectReason::TooManyClusters, 1));
        let off = Tracker::new(Config::default());
        let (passed, _) = off.pass(&Tenant::default(), batch("r1"), &mut rejected, 0);
        assert_eq!(passed, batch("r1"));
    }
}
