//! Pods of this node that are asked to go: by the eviction API, as a drain does it, or by the collector of pods whose node
//! is gone. The API server writes no event of either, only a condition of the pod, which is seen while the pod ends: where
//! the API server may be asked as soon as it is written, else when the kubelet is asked again. Of evictions by the kubelet,
//! the scheduler and taints there are events, which the watcher of the cluster tells.

pub mod watch;

use crate::Config;
use crate::changes::{self, Change};
use crate::host::Host;
use crate::once::Once;
use crate::pods::{self, Pod};
use crate::queue::Queue;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;
use std::sync::Arc;

const CONDITION: &str = "DisruptionTarget";

/// Reasons of the condition that nobody writes an event of.
const REASONS: [&str; 2] = ["EvictionByEvictionAPI", "DeletionByPodGC"];

/// Pods that are remembered as told: more than a node has, and each is gone soon.
const TOLD_MAX: usize = 1_000;

pub struct Evictions {
    host: Arc<Host>,
    told: Mutex<Told>,
    /// Where that is remembered.
    once: Once,
}

/// What survives a restart: a pod may be asked to go while no agent is here, and be there still when the next one is.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Told {
    /// When the first agent of this folder began; of evictions before, nothing is said.
    since_ns: i64,
    /// Uids, the newest last.
    uids: VecDeque<String>,
}

impl Evictions {
    pub async fn new(config: &Config, (host, queue): (Arc<Host>, Arc<Queue>), now_ns: i64) -> Evictions {
        let path = config.data_dir.join("evictions.json");
        let (once, before) = Once::open(path, queue, config.tenant.clone()).await;
        let remembered = before.and_then(|bytes| serde_json::from_slice(&bytes).ok());
        let is_first = remembered.is_none();
        // Times of objects are of whole seconds.
        let begins = Told { since_ns: now_ns - now_ns.rem_euclid(1_000_000_000), uids: VecDeque::new() };
        let told = Mutex::new(remembered.unwrap_or(begins));
        let evictions = Evictions { host, told, once };
        if is_first {
            evictions.once.write(evictions.told_bytes()).await;
        }
        evictions
    }

    /// Each once, whoever sees it first.
    pub async fn tell(&self, pods: &[Arc<Pod>]) {
        let find = || {
            let found = self.new_of(pods);
            let is_new = !found.is_empty();
            is_new.then(|| (changes::batch(found, &self.host), self.told_bytes()))
        };
        self.once.tell(find).await;
    }

    fn told_bytes(&self) -> Vec<u8> {
        serde_json::to_vec(&*self.told.lock()).unwrap_or_default()
    }

    fn new_of(&self, pods: &[Arc<Pod>]) -> Vec<Change> {
        let mut told = self.told.lock();
        let mut found = vec![];
        for (pod, at, why) in pods.iter().filter_map(|pod| evicted(pod)) {
            if at < told.since_ns || told.uids.contains(&pod.metadata.uid) {
                continue;
            }
            if told.uids.len() == TOLD_MAX {
                told.uids.pop_front();
            }
            told.uids.push_back(pod.metadata.uid.clone());
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

    #[tokio::test]
    async fn an_eviction_that_has_no_event_is_told_once() {
        let dir = tempfile::tempdir().unwrap();
        let queue = Arc::new(Queue::open(dir.path().join("queue"), 1 << 20).unwrap());
        let host = Arc::new(Host { name: "n1".into(), ..Host::of(dir.path()) });
        let config = Config { data_dir: dir.path().into(), ..Config::default() };
        let begun = |now_ns| Evictions::new(&config, (host.clone(), queue.clone()), now_ns);
        let at_ns = 1_767_225_607_000_000_000;
        let evictions = begun(at_ns + 999_999_999).await;
        let pods = [pod("a", "EvictionByEvictionAPI"), pod("b", "TerminationByKubelet")];
        let told = evictions.new_of(&pods);
        assert_eq!(told.len(), 1);
        let Change { ts_ns, workload, what, after, .. } = &told[0];
        assert_eq!((*ts_ns, workload.as_str(), after.as_str()), (at_ns, "cart", "EvictionByEvictionAPI"));
        assert_eq!(what, "Pod cart-0 is evicted from node n1");
        assert_eq!(evictions.new_of(&pods), []);
        // The next of that name is another pod.
        assert_eq!(evictions.new_of(&[pod("c", "EvictionByEvictionAPI")]).len(), 1);
        for uid in 0..2 * TOLD_MAX {
            evictions.new_of(&[pod(&uid.to_string(), "EvictionByEvictionAPI")]);
        }
        assert_eq!(evictions.told.lock().uids.len(), TOLD_MAX);
    }

    #[tokio::test]
    async fn an_eviction_while_no_agent_was_there_is_told_by_the_next() {
        let dir = tempfile::tempdir().unwrap();
        let queue = Arc::new(Queue::open(dir.path().join("queue"), 1 << 20).unwrap());
        let host = Arc::new(Host { name: "n1".into(), ..Host::of(dir.path()) });
        let config = Config { data_dir: dir.path().into(), ..Config::default() };
        let begun = |now_ns| Evictions::new(&config, (host.clone(), queue.clone()), now_ns);
        let second = 1_000_000_000;
        let at_ns = 1_767_225_607 * second;
        let [told, meanwhile] = ["a", "b"].map(|uid| pod(uid, "EvictionByEvictionAPI"));
        begun(at_ns - second).await.tell(std::slice::from_ref(&told)).await;
        let next = begun(at_ns + 60 * second).await;
        let found = next.new_of(&[told, meanwhile.clone()]);
        assert_eq!(found.iter().map(|one| one.ts_ns).collect::<Vec<_>>(), [at_ns]);
        // Before the first agent of all nobody said anything.
        std::fs::remove_file(dir.path().join("evictions.json")).unwrap();
        assert_eq!(begun(at_ns + second).await.new_of(&[meanwhile]), []);
    }
}
