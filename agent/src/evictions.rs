//! Pods of this node that are asked to go: by the eviction API, as a drain does it, or by the collector of pods whose node
//! is gone. The API server writes no event of either, only a condition of the pod, which is seen while the pod ends: where
//! the API server may be asked as soon as it is written, else when the kubelet is asked again. Of evictions by the kubelet,
//! the scheduler and taints there are events, which the watcher of the cluster tells.

pub mod watch;

use crate::Config;
use crate::changes::{self, Change};
use crate::host::Host;
use crate::pods::{self, Pod};
use crate::queue::Queue;
use model::Tenant;
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::sync::Arc;

const CONDITION: &str = "DisruptionTarget";

/// Reasons of the condition that nobody writes an event of.
const REASONS: [&str; 2] = ["EvictionByEvictionAPI", "DeletionByPodGC"];

/// Pods that are remembered as told: more than a node has, and each is gone soon.
const TOLD_MAX: usize = 1_000;

pub struct Evictions {
    host: Arc<Host>,
    queue: Arc<Queue>,
    tenant: Tenant,
    /// When this agent began: before, another was here that told them.
    since_ns: i64,
    /// Uids, the newest last.
    told: Mutex<VecDeque<String>>,
}

impl Evictions {
    pub fn new(config: &Config, (host, queue): (Arc<Host>, Arc<Queue>), since_ns: i64) -> Evictions {
        Evictions { host, queue, tenant: config.tenant.clone(), since_ns, told: Mutex::default() }
    }

    /// Each once, whoever sees it first.
    pub async fn tell(&self, pods: &[Arc<Pod>]) {
        let batch = changes::batch(self.new_of(pods), &self.host);
        if batch.records() > 0 {
            self.queue.keep_logs(&self.tenant, &batch).await;
        }
    }

    fn new_of(&self, pods: &[Arc<Pod>]) -> Vec<Change> {
        let evicted = pods.iter().filter_map(|pod| evicted(pod)).filter(|(_, at, _)| *at >= self.since_ns);
        let mut told = self.told.lock();
        let mut found = vec![];
        for (pod, at, why) in evicted {
            if told.contains(&pod.metadata.uid) {
                continue;
            }
            if told.len() == TOLD_MAX {
                told.pop_front();
            }
            told.push_back(pod.metadata.uid.clone());
            found.push(change(pod, at, why, &self.host.name));
        }
        found
    }
}

/// When, and why.
fn evicted(pod: &Pod) -> Option<(&Pod, i64, &str)> {
    let condition = pod.status.conditions.iter().find(|one| one.kind == CONDITION && one.status == "True")?;
    let reason = REASONS.iter().find(|reason| **reason == condition.reason)?;
    Some((pod, pods::time_ns(condition.last_transition_time.as_deref())?, *reason))
}

fn change(pod: &Pod, ts_ns: i64, reason: &str, node: &str) -> Change {
    let name = &pod.metadata.name;
    Change {
        ts_ns,
        kind: "eviction".to_owned(),
        namespace: pod.metadata.namespace.clone(),
        workload: pod.workload().map_or(name.clone(), |(_, name)| name),
        what: format!("Pod {name} is evicted from node {node}"),
        before: String::new(),
        after: reason.to_owned(),
        severity: 9,
        details: pods::attributes(pod, None, node),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn pod(uid: &str, reason: &str) -> Arc<Pod> {
        let condition = json!({ "type": "DisruptionTarget", "status": "True", "reason": reason,
            "lastTransitionTime": "2026-01-01T00:00:07Z" });
        let pod = json!({ "metadata": { "name": "cart-0", "namespace": "shop", "uid": uid,
                "ownerReferences": [{ "kind": "StatefulSet", "name": "cart", "controller": true }] },
            "status": { "conditions": [condition] } });
        Arc::new(serde_json::from_value(pod).unwrap())
    }

    #[test]
    fn an_eviction_that_has_no_event_is_told_once() {
        let dir = tempfile::tempdir().unwrap();
        let queue = Arc::new(Queue::open(dir.path().join("queue"), 1 << 20).unwrap());
        let host = Arc::new(Host { name: "n1".into(), ..Host::of(dir.path()) });
        let since = |since_ns| Evictions::new(&Config::default(), (host.clone(), queue.clone()), since_ns);
        let at_ns = 1_767_225_607_000_000_000;
        let evictions = since(at_ns);
        let of_api = pod("a", "EvictionByEvictionAPI");
        let pods = [of_api.clone(), pod("b", "TerminationByKubelet")];
        let told = evictions.new_of(&pods);
        assert_eq!(told.len(), 1);
        let Change { ts_ns, workload, what, after, .. } = &told[0];
        assert_eq!((*ts_ns, workload.as_str(), after.as_str()), (at_ns, "cart", "EvictionByEvictionAPI"));
        assert_eq!(what, "Pod cart-0 is evicted from node n1");
        assert_eq!(evictions.new_of(&pods), []);
        // The next of that name is another pod.
        assert_eq!(evictions.new_of(&[pod("c", "EvictionByEvictionAPI")]).len(), 1);
        assert_eq!(since(at_ns + 1).new_of(&[of_api]), [], "told before the restart");
        for uid in 0..2 * TOLD_MAX {
            evictions.new_of(&[pod(&uid.to_string(), "EvictionByEvictionAPI")]);
        }
        assert_eq!(evictions.told.lock().len(), TOLD_MAX);
    }
}
