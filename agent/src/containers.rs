//! Control groups under cAdvisor's names: pods and containers with all that the kernel counts of them, the other groups
//! of a machine with what tells who uses it (names, labels and units: google/cadvisor, metrics/prometheus.go).
//!
//! Groups are read directly, in version 1 and 2 of the hierarchy and under both drivers of the kubelet. Who a pod is
//! comes from the kubelet where it answers, and else from the names of log folders; a group that nobody names still has
//! its path. A number that the kernel does not have is left out: it is not zero.

mod group;
mod network;
mod path;
mod stats;
mod tell;

use crate::host::Root;
use crate::oom::{self, Group};
use crate::pods::Pods;
use crate::samples::Samples;
use group::Tree;
pub use path::{Place, place};

/// Groups told of; more are a sign of something else than services and pods.
const GROUPS_MAX: usize = 2_000;
const DEPTH_MAX: usize = 6;

/// `kills` is told of each container's memory, and tells how often it was killed for want of it.
pub fn collect(root: &Root, node: &str, pods: &Pods, kills: &oom::Shared, out: &mut Samples) {
    let Some(tree) = Tree::of(root) else { return };
    out.of_cadvisor(node);
    let is_kubernetes = tree.children("").iter().any(|name| path::is_kubepods(name));
    if is_kubernetes {
        out.up();
        oom::collect(kills, pods, out);
    }
    let mut walk = Walk { tree: &tree, pods, kills, is_kubernetes, left: GROUPS_MAX, out };
    if is_kubernetes {
        walk.root();
    }
    walk.below("", 0, None);
}

/// Whether this machine's groups are there to be read.
pub fn can_read(root: &Root) -> bool {
    Tree::of(root).is_some()
}

struct Walk<'w> {
    tree: &'w Tree<'w>,
    pods: &'w Pods,
    kills: &'w oom::Shared,
    /// Without Kubernetes the groups are services, told under names of their own and in few words.
    is_kubernetes: bool,
    left: usize,
    out: &'w mut Samples,
}

impl Walk<'_> {
    fn root(&mut self) {
        let stats = self.tree.stats("", true);
        tell::all(&stats, &[("id", "/")], self.out);
        tell::machine(self.tree.root, self.out);
        network::of_node(self.tree.root, self.out);
    }

    /// `pod`: the uid of the pod that `group` is.
    fn below(&mut self, group: &str, depth: usize, pod: Option<&str>) {
        for name in self.tree.children(group) {
            if self.left == 0 {
                return;
            }
            self.left -= 1;
            let id = format!("{group}/{name}");
            match (path::place(&name, pod.is_some()), pod) {
                (Place::Pod(uid), None) => {
                    self.pod(&id, &uid);
                    self.below(&id, depth + 1, Some(&uid));
                }
                (Place::Container(container), Some(uid)) => self.container(&id, uid, &container),
                // What a container makes inside of itself is its own affair.
                (_, Some(_)) => self.left += 1,
                (_, None) => {
                    self.other(&id);
                    if depth + 1 < DEPTH_MAX {
                        self.below(&id, depth + 1, None);
                    }
                }
            }
        }
    }

    fn pod(&mut self, id: &str, uid: &str) {
        let stats = self.tree.stats(id, true);
        let pod = self.pods.by_uid(uid);
        let who = pod.as_ref().map(|pod| pod.metric_labels()).unwrap_or_default();
        let mut labels = vec![("id", id)];
        labels.extend(who.iter().map(|(name, value)| (*name, value.as_str())));
        tell::all(&stats, &labels, self.out);
        // Containers of a pod share one network; a pod on the host's has none of its own.
        let inside = self.tree.children(id);
        let sandbox = inside.iter().find_map(|name| match path::place(name, true) {
            Place::Container(container) if self.pods.container(&container).is_none() => {
                Some((format!("{id}/{name}"), container))
            }
            _ => None,
        });
        // CRI-O's monitor of a container is on the host's network.
        let mut containers =
            inside.iter().filter(|name| matches!(path::place(name, true), Place::Container(_)));
        let pid = containers.find_map(|name| self.tree.pids(&format!("{id}/{name}")).first().copied());
        let is_on_host = pod.as_ref().is_some_and(|pod| pod.spec.host_network);
        if let Some(pid) = pid.filter(|_| !is_on_host) {
            if let Some((path, container)) = &sandbox {
                labels[0].1 = path;
                labels.push(("name", container));
            }
            network::of_pod(self.tree.root, pid, &labels, self.out);
        }
    }

    fn container(&mut self, id: &str, uid: &str, container: &str) {
        let stats = self.tree.stats(id, true);
        let known = self.pods.container(container);
        let pod = known.as_ref().map(|known| known.pod.clone()).or_else(|| self.pods.by_uid(uid));
        let who = pod.as_ref().map(|pod| pod.metric_labels()).unwrap_or_default();
        let mut labels = vec![("id", id), ("name", container)];
        labels.extend(who.iter().map(|(name, value)| (*name, value.as_str())));
        if let Some(known) = &known {
            labels.extend([("container", known.name.as_str()), ("image", &known.image)]);
        }
        let group = Group {
            uid,
            working_set_bytes: stats.memory.as_ref().map(|memory| memory.working_set()),
            limit_bytes: stats.limits.memory,
            kills: stats.oom_kills.unwrap_or(0),
        };
        self.kills.lock().group(container, group, self.out.now_ns());
        tell::all(&stats, &labels, self.out);
    }

    fn other(&mut self, id: &str) {
        let is_of_pods = id.split('/').nth(1).is_some_and(path::is_kubepods);
        let stats = self.tree.stats(id, is_of_pods);
        match (is_of_pods, self.is_kubernetes) {
            (true, _) => tell::all(&stats, &[("id", id)], self.out),
            (false, true) => tell::brief("container", &stats, &[("id", id)], self.out),
            (false, false) => tell::brief("cgroup", &stats, &[("id", id)], self.out),
        }
    }
}

#[cfg(test)]
mod tests;
