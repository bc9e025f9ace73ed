//! Pods of this node that are asked to go: by the eviction API, as a drain does it, or by the collector of pods whose node
//! is gone. The API server writes no event of either, only a condition of the pod, which is seen while the pod ends. Of
//! evictions by the kubelet, the scheduler and taints there are events, which the watcher of the cluster tells.

use crate::changes::Change;
use crate::pods::{self, Pod};
use std::collections::BTreeSet;
use std::sync::Arc;

const CONDITION: &str = "DisruptionTarget";

/// Reasons of the condition that nobody writes an event of.
const REASONS: [&str; 2] = ["EvictionByEvictionAPI", "DeletionByPodGC"];

/// What was told: uids of pods that are still there.
#[derive(Default)]
pub struct Evictions(BTreeSet<String>);

impl Evictions {
    /// Those that were not there at the look before. Before `since` an agent was here that told them.
    pub fn new_of(&mut self, pods: &[Arc<Pod>], since_ns: i64, node: &str) -> Vec<Change> {
        let evicted: Vec<(&Pod, i64, &str)> = pods.iter().filter_map(|pod| evicted(pod)).collect();
        let is_new =
            |(pod, at, _): &&(&Pod, i64, &str)| *at >= since_ns && !self.0.contains(&pod.metadata.uid);
        let changes =
            evicted.iter().filter(is_new).map(|(pod, at, why)| change(pod, *at, why, node)).collect();
        self.0 = evicted.iter().map(|(pod, ..)| pod.metadata.uid.clone()).collect();
        changes
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
        let mut evictions = Evictions::default();
        let at_ns = 1_767_225_607_000_000_000;
        let of_api = pod("a", "EvictionByEvictionAPI");
        let pods = [of_api.clone(), pod("b", "TerminationByKubelet")];
        let told = evictions.new_of(&pods, at_ns, "n1");
        assert_eq!(told.len(), 1);
        let Change { ts_ns, workload, what, after, .. } = &told[0];
        assert_eq!((*ts_ns, workload.as_str(), after.as_str()), (at_ns, "cart", "EvictionByEvictionAPI"));
        assert_eq!(what, "Pod cart-0 is evicted from node n1");
        assert_eq!(evictions.new_of(&pods, at_ns, "n1"), []);
        // The next of that name is another pod.
        assert_eq!(evictions.new_of(&[pod("c", "EvictionByEvictionAPI")], at_ns, "n1").len(), 1);
        assert_eq!(Evictions::default().new_of(&[of_api], at_ns + 1, "n1"), [], "told before the restart");
    }
}
