//! CPU and memory by control group: pods under the kubelet's names (cAdvisor's metrics), other groups by their path.

use crate::host::Root;
use crate::samples::Samples;
use std::collections::HashMap;

/// Groups told of; more are a sign of something else than services and pods.
const GROUPS_MAX: usize = 500;
const DEPTH_MAX: usize = 4;

/// A pod by its uid, from the names of its log folders: `<namespace>_<pod>_<uid>`.
type Pods = HashMap<String, (String, String)>;

pub fn collect(root: &Root, out: &mut Samples) {
    let Some(tree) = Tree::of(root) else { return };
    let pods = pods(root);
    let mut left = GROUPS_MAX;
    walk(&tree, "", 0, &mut left, &pods, out);
}

fn pods(root: &Root) -> Pods {
    let names = root.names("var/log/pods").into_iter();
    let parts = names.filter_map(|name| {
        let (rest, uid) = name.rsplit_once('_')?;
        let (namespace, pod) = rest.split_once('_')?;
        Some((uid.to_owned(), (namespace.to_owned(), pod.to_owned())))
    });
    parts.collect()
}

/// Where groups and their numbers are: one tree in version 2, one a controller in version 1.
struct Tree<'r> {
    root: &'r Root,
    is_v2: bool,
}

impl<'r> Tree<'r> {
    fn of(root: &'r Root) -> Option<Tree<'r>> {
        let is_v2 = root.path("sys/fs/cgroup/cgroup.controllers").exists();
        let is_v1 = root.path("sys/fs/cgroup/memory").exists();
        (is_v2 || is_v1).then_some(Tree { root, is_v2 })
    }

    fn children(&self, group: &str) -> Vec<String> {
        let folder =
            if self.is_v2 { format!("sys/fs/cgroup{group}") } else { format!("sys/fs/cgroup/memory{group}") };
        let names = self.root.names(&folder).into_iter();
        names.filter(|name| self.root.path(&format!("{folder}/{name}")).is_dir()).collect()
    }

    fn cpu_seconds(&self, group: &str) -> Option<f64> {
        if self.is_v2 {
            let text = self.root.text(&format!("sys/fs/cgroup{group}/cpu.stat"))?;
            return field(&text, "usage_usec").map(|us| us / 1e6);
        }
        self.root.number(&format!("sys/fs/cgroup/cpuacct{group}/cpuacct.usage")).map(|ns| ns / 1e9)
    }

    /// What cannot be given back at once: usage without inactive file pages, as the kubelet counts.
    fn working_set(&self, group: &str) -> Option<f64> {
        let (folder, usage, inactive) = match self.is_v2 {
            true => (format!("sys/fs/cgroup{group}"), "memory.current", "inactive_file"),
            false => (format!("sys/fs/cgroup/memory{group}"), "memory.usage_in_bytes", "total_inactive_file"),
        };
        let usage = self.root.number(&format!("{folder}/{usage}"))?;
        let text = self.root.text(&format!("{folder}/memory.stat")).unwrap_or_default();
        Some((usage - field(&text, inactive).unwrap_or(0.0)).max(0.0))
    }
}

fn field(text: &str, name: &str) -> Option<f64> {
    text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.trim().parse().ok())
}

fn walk(tree: &Tree<'_>, group: &str, depth: usize, left: &mut usize, pods: &Pods, out: &mut Samples) {
    for name in tree.children(group) {
        if *left == 0 {
            return;
        }
        let path = format!("{group}/{name}");
        let pod = uid(&name).and_then(|uid| pods.get(&uid));
        let is_kubernetes = path.contains("kubepods");
        if pod.is_some() || !is_kubernetes {
            *left -= 1;
            tell(tree, &path, pod, out);
        }
        // What is inside a pod is the pod's.
        if pod.is_none() && depth + 1 < DEPTH_MAX {
            walk(tree, &path, depth + 1, left, pods, out);
        }
    }
}

fn tell(tree: &Tree<'_>, path: &str, pod: Option<&(String, String)>, out: &mut Samples) {
    let (prefix, labels) = match pod {
        Some((namespace, pod)) => ("container", vec![("id", path), ("namespace", namespace), ("pod", pod)]),
        None => ("cgroup", vec![("id", path)]),
    };
    if let Some(seconds) = tree.cpu_seconds(path) {
        let help = "Cumulative cpu time consumed in seconds.";
        out.counter(&format!("{prefix}_cpu_usage_seconds_total"), help, &labels, seconds);
    }
    if let Some(bytes) = tree.working_set(path) {
        let help = "Current working set in bytes.";
        out.gauge(&format!("{prefix}_memory_working_set_bytes"), help, &labels, bytes);
    }
}

/// `pod<uid>`, or systemd's `kubepods-burstable-pod<uid with underscores>.slice`.
fn uid(name: &str) -> Option<String> {
    let name = name.strip_suffix(".slice").unwrap_or(name);
    let uid = name.rsplit_once("pod").map(|(_, uid)| uid.replace('_', "-"))?;
    (uid.len() >= 32 && uid.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-')).then_some(uid)
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::Labels;

    #[test]
    fn pods_have_names_and_services_have_paths() {
        let dir = tempfile::tempdir().unwrap();
        let uid = "0f8fad5b-d9cb-469f-a165-70867728950e";
        let pod = format!(
            "kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{}.slice",
            uid.replace('-', "_")
        );
        for (group, usec, bytes) in
            [("", 0, 0), ("system.slice", 1, 1), (&pod, 2_000_000, 4096), (&format!("{pod}/cri-x"), 1, 1)]
        {
            let folder = dir.path().join("sys/fs/cgroup").join(group);
            std::fs::create_dir_all(&folder).unwrap();
            std::fs::write(folder.join("cgroup.controllers"), "").unwrap();
            std::fs::write(folder.join("cpu.stat"), format!("usage_usec {usec}\n")).unwrap();
            std::fs::write(folder.join("memory.current"), bytes.to_string()).unwrap();
            std::fs::write(folder.join("memory.stat"), "anon 1\ninactive_file 96\n").unwrap();
        }
        std::fs::create_dir_all(dir.path().join("var/log/pods").join(format!("shop_cart-0_{uid}"))).unwrap();
        let mut samples = Samples::new(1, "n1", false);
        collect(&Root(dir.path().to_owned()), &mut samples);
        let batch = samples.finish();
        let found: Vec<(String, f64)> = batch
            .iter()
            .map(|(labels, _, v)| (Labels::from_bytes(labels).unwrap().to_string(), v[0]))
            .collect();
        let of = |part: &str| {
            found.iter().filter(|(labels, _)| labels.contains(part)).map(|(_, v)| *v).collect::<Vec<_>>()
        };
        assert_eq!(of("pod=\"cart-0\""), [2.0, 4000.0], "{found:?}");
        assert_eq!(of("id=\"/system.slice\"").len(), 2);
        assert_eq!(of("cri-x"), [] as [f64; 0]);
    }
}
