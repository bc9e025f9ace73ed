//! Who used how much of which node in an hour, from the series that agents and kubelets send.

use crate::QueryError;
use model::{Labels, METRIC_NAME, Matcher, SeriesSelect, TimeRange, is_stale_marker};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use store::{SampleBlock, Snapshot};

pub const HOUR_MS: i64 = 3_600_000;
/// A counter's last sample before the hour gives the first increase of the hour, if it is not older than this.
const BEFORE_MS: i64 = 120_000;
const GIB: f64 = (1u64 << 30) as f64;
/// The namespace and workload of what was used and belongs to nobody.
const UNALLOCATED: &str = "__unallocated__";

/// A node and its size.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    pub name: String,
    pub cores: f64,
    pub memory_gib: f64,
    /// For how much of the hour it was seen.
    pub hours: f64,
    pub instance_type: Option<String>,
}

/// Whose usage it is. Empty text where there is no such thing: a cgroup has no pod.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Owner {
    pub namespace: String,
    pub workload: String,
    pub pod: String,
    pub container: String,
}

#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Used {
    pub cpu_core_hours: f64,
    pub memory_gib_hours: f64,
}

/// One node's hour.
#[derive(Clone, Debug, PartialEq)]
pub struct NodeHour {
    pub node: Node,
    pub used: BTreeMap<Owner, Used>,
}

/// A kind of series that tells usage: CPU seconds (a counter) and bytes (a gauge).
struct Kind {
    cpu: &'static str,
    memory: &'static str,
    /// Must hold of the memory series, where its name alone does not say what is meant.
    memory_matcher: Option<(&'static str, &'static str)>,
}

/// From the best to the last resort; a node is told by the first that it has.
const KINDS: [Kind; 4] = [
    Kind {
        cpu: "container_cpu_usage_seconds_total",
        memory: "container_memory_working_set_bytes",
        memory_matcher: None,
    },
    Kind {
        cpu: "cgroup_cpu_usage_seconds_total",
        memory: "cgroup_memory_working_set_bytes",
        memory_matcher: None,
    },
    Kind {
        cpu: "binnacle_process_cpu_seconds_total",
        memory: "binnacle_process_resident_memory_bytes",
        memory_matcher: None,
    },
    Kind {
        cpu: "namedprocess_namegroup_cpu_seconds_total",
        memory: "namedprocess_namegroup_memory_bytes",
        memory_matcher: Some(("memtype", "resident")),
    },
];

/// Labels that name the node of a series, the clearest first.
const NODE_LABELS: [&str; 5] = ["node", "nodename", "host_name", "k8s_node_name", "instance"];

/// The usage of the hour that begins at `start_ms`.
pub async fn of_hour(snapshot: &dyn Snapshot, start_ms: i64) -> Result<Vec<NodeHour>, QueryError> {
    let range = TimeRange { start: start_ms, end: start_ms + HOUR_MS - 1 };
    let nodes = nodes(snapshot, range).await?;
    if nodes.all.is_empty() {
        return Ok(vec![]);
    }
    let mut hours: Vec<NodeHour> =
        nodes.all.iter().map(|node| NodeHour { node: node.clone(), used: BTreeMap::new() }).collect();
    for kind in &KINDS {
        let open: Vec<bool> = hours.iter().map(|hour| !hour.tells_cpu()).collect();
        if !open.contains(&true) {
            break;
        }
        let mut told: Vec<BTreeMap<Owner, Used>> = vec![BTreeMap::new(); hours.len()];
        let early = TimeRange { start: range.start - BEFORE_MS, end: range.end };
        let cpu = snapshot.samples(&select(kind.cpu, None, early)).await?;
        let memory = snapshot.samples(&select(kind.memory, kind.memory_matcher, range)).await?;
        let mut add = |block: &SampleBlock, measure: &dyn Fn(&[i64], &[f64]) -> Used| {
            let keep = leaves(&block.labels);
            for ((labels, ts_ms, values), keep) in block.iter().zip(keep) {
                let Some(node) = nodes.of(labels).filter(|node| keep && open[*node]) else { continue };
                let used = measure(ts_ms, values);
                let sum = told[node].entry(owner(labels)).or_default();
                sum.cpu_core_hours += used.cpu_core_hours;
                sum.memory_gib_hours += used.memory_gib_hours;
            }
        };
        add(&cpu, &|ts_ms, values| Used {
            cpu_core_hours: increase(ts_ms, values, range.start) / 3600.0,
            ..Used::default()
        });
        add(&memory, &|ts_ms, values| Used {
            memory_gib_hours: mean(values) / GIB * covered_hours(ts_ms),
            ..Used::default()
        });
        for (hour, told) in hours.iter_mut().zip(told) {
            let told = NodeHour { used: told, node: hour.node.clone() };
            // A machine may tell the memory of its groups and nothing of their CPU: whoever tells both is better.
            if !hour.tells_cpu() && (hour.used.is_empty() || told.tells_cpu()) {
                *hour = told;
            }
        }
    }
    unallocated(snapshot, range, &nodes, &mut hours).await?;
    Ok(hours)
}

impl NodeHour {
    fn tells_cpu(&self) -> bool {
        self.used.values().any(|used| used.cpu_core_hours > 0.0)
    }
}

/// What the node says was used and no owner accounts for: the kernel, what lived too briefly to be seen, groups that
/// are not told. Without this row it would pass for idle.
async fn unallocated(
    snapshot: &dyn Snapshot,
    range: TimeRange,
    nodes: &Nodes,
    hours: &mut [NodeHour],
) -> Result<(), QueryError> {
    let mut busy = vec![Used::default(); hours.len()];
    let early = TimeRange { start: range.start - BEFORE_MS, end: range.end };
    let cpu = snapshot.samples(&select("node_cpu_seconds_total", None, early)).await?;
    for (labels, ts_ms, values) in cpu.iter() {
        let at_work = !matches!(labels.get("mode"), None | Some("idle" | "iowait" | "steal"));
        if let Some(node) = nodes.of(labels).filter(|_| at_work) {
            busy[node].cpu_core_hours += increase(ts_ms, values, range.start) / 3600.0;
        }
    }
    let free = snapshot.samples(&select("node_memory_MemAvailable_bytes", None, range)).await?;
    for (labels, ts_ms, values) in free.iter() {
        if let Some(node) = nodes.of(labels) {
            let used_gib = hours[node].node.memory_gib - mean(values) / GIB;
            busy[node].memory_gib_hours += used_gib.max(0.0) * covered_hours(ts_ms);
        }
    }
    for (hour, busy) in hours.iter_mut().zip(busy) {
        let sum = |of: fn(&Used) -> f64| hour.used.values().map(of).sum::<f64>();
        let left = Used {
            cpu_core_hours: (busy.cpu_core_hours - sum(|used| used.cpu_core_hours)).max(0.0),
            memory_gib_hours: (busy.memory_gib_hours - sum(|used| used.memory_gib_hours)).max(0.0),
        };
        if left != Used::default() {
            let nobody = UNALLOCATED.to_owned();
            let owner = Owner { namespace: nobody.clone(), workload: nobody, ..Owner::default() };
            hour.used.insert(owner, left);
        }
    }
    Ok(())
}

fn select(name: &str, matcher: Option<(&str, &str)>, range: TimeRange) -> SeriesSelect {
    let mut matchers = vec![Matcher::equal(METRIC_NAME, name)];
    matchers.extend(matcher.map(|(label, value)| Matcher::equal(label, value)));
    SeriesSelect { matchers, range }
}

/// The nodes of an hour, and every label value that names one of them.
struct Nodes {
    all: Vec<Node>,
    by_value: HashMap<String, usize>,
}

impl Nodes {
    /// A series that names no known node belongs to the only node there is, if there is only one.
    fn of(&self, labels: &Labels) -> Option<usize> {
        let named = NODE_LABELS.iter().filter_map(|label| labels.get(label));
        let mut known = named.filter_map(|value| self.by_value.get(value));
        known.next().copied().or((self.all.len() == 1).then_some(0))
    }
}

async fn nodes(snapshot: &dyn Snapshot, range: TimeRange) -> Result<Nodes, QueryError> {
    let mut nodes = Nodes { all: vec![], by_value: HashMap::new() };
    let memory = snapshot.samples(&select("node_memory_MemTotal_bytes", None, range)).await?;
    for (labels, ts_ms, values) in memory.iter() {
        let at = nodes.all.len();
        let Some(name) = NODE_LABELS.iter().find_map(|label| labels.get(label)) else { continue };
        if nodes.by_value.contains_key(name) {
            continue;
        }
        for value in NODE_LABELS.iter().filter_map(|label| labels.get(label)) {
            nodes.by_value.entry(value.to_owned()).or_insert(at);
        }
        nodes.all.push(Node {
            name: name.to_owned(),
            cores: 0.0,
            memory_gib: mean(values) / GIB,
            hours: covered_hours(ts_ms),
            instance_type: None,
        });
    }
    let idle = select("node_cpu_seconds_total", Some(("mode", "idle")), range);
    let mut cores: BTreeMap<usize, BTreeSet<String>> = BTreeMap::new();
    for series in snapshot.series(&idle).await? {
        if let Some(node) = nodes.of(&series.labels) {
            cores.entry(node).or_default().insert(series.labels.get("cpu").unwrap_or("").to_owned());
        }
    }
    for (node, cpus) in cores {
        nodes.all[node].cores = cpus.len() as f64;
    }
    for series in snapshot.series(&select("node_uname_info", None, range)).await? {
        if let (Some(node), Some(name)) = (nodes.of(&series.labels), series.labels.get("nodename")) {
            nodes.all[node].name = name.to_owned();
            nodes.by_value.insert(name.to_owned(), node);
        }
    }
    for series in snapshot.series(&select("kube_node_labels", None, range)).await? {
        let kind = series.labels.get("label_node_kubernetes_io_instance_type");
        if let (Some(node), Some(kind)) = (nodes.of(&series.labels), kind) {
            nodes.all[node].instance_type = Some(kind.to_owned());
        }
    }
    Ok(nodes)
}

/// Which series are no sum of others: cgroups report at every level of their tree, and adding all of them would count
/// everything several times. A pod's own row goes when its containers have rows, a folder's when something below it has.
fn leaves(all: &[Labels]) -> Vec<bool> {
    let path = |labels: &Labels| {
        labels.get("id").or(labels.get("cgroup")).map(|path| path.trim_end_matches('/').to_owned())
    };
    let pod = |labels: &Labels| {
        Some((labels.get("namespace").unwrap_or("").to_owned(), labels.get("pod")?.to_owned()))
    };
    let is_container = |labels: &Labels| labels.get("container").is_some_and(|name| name != "POD");
    let mut parents = BTreeSet::new();
    let mut pods_with_containers = BTreeSet::new();
    let mut any_pod = false;
    for labels in all {
        if let Some(path) = path(labels) {
            let cuts = path.match_indices('/').map(|(at, _)| at);
            parents.extend(cuts.filter(|at| *at < path.len()).map(|at| path[..at].to_owned()));
        }
        any_pod |= pod(labels).is_some();
        if is_container(labels) {
            pods_with_containers.extend(pod(labels));
        }
    }
    all.iter()
        .map(|labels| match pod(labels) {
            Some(pod) => {
                is_container(labels)
                    || (!pods_with_containers.contains(&pod) && labels.get("container").is_none())
            }
            None => path(labels).is_none_or(|path| {
                let is_told_by_its_pods = any_pod && path.contains("kubepods");
                !parents.contains(&path) && !is_told_by_its_pods
            }),
        })
        .collect()
}

fn owner(labels: &Labels) -> Owner {
    let first = |names: &[&str]| names.iter().find_map(|name| labels.get(name)).unwrap_or("").to_owned();
    let pod = first(&["pod", "k8s_pod_name"]);
    if !pod.is_empty() {
        let known = first(&["workload", "deployment", "statefulset", "daemonset", "k8s_deployment_name"]);
        return Owner {
            namespace: first(&["namespace", "k8s_namespace_name"]),
            workload: if known.is_empty() { workload_of(&pod).to_owned() } else { known },
            container: first(&["container", "k8s_container_name"]),
            pod,
        };
    }
    let path = first(&["id", "cgroup"]);
    if path.is_empty() {
        let name = first(&["groupname", "process", "process_name", "name", "comm", "command", "container"]);
        return Owner { namespace: "processes".into(), workload: name, ..Owner::default() };
    }
    // `/system.slice/ssh.service`: the slice is to a machine what a namespace is to a cluster.
    let trimmed = path.trim_matches('/');
    let (slice, rest) = trimmed.split_once('/').unwrap_or(("", trimmed));
    let namespace = if slice.is_empty() { "cgroups" } else { slice };
    let workload = if rest.is_empty() { "/" } else { rest };
    Owner { namespace: namespace.to_owned(), workload: workload.to_owned(), ..Owner::default() }
}

/// The workload of a pod by the way its controllers name pods: `shop-7d9f8b6c5d-x2x9z`, `db-0`, `agent-x2x9z`.
fn workload_of(pod: &str) -> &str {
    let is_random =
        |part: &str| part.len() == 5 && part.bytes().all(|b| b"bcdfghjklmnpqrstvwxz2456789".contains(&b));
    let is_hash = |part: &str| {
        (6..=10).contains(&part.len()) && part.bytes().all(|b| b"bcdfghjklmnpqrstvwxz2456789".contains(&b))
    };
    let Some((rest, last)) = pod.rsplit_once('-') else { return pod };
    if !last.is_empty() && last.bytes().all(|b| b.is_ascii_digit()) && last.len() <= 4 {
        return rest;
    }
    if !is_random(last) {
        return pod;
    }
    match rest.rsplit_once('-') {
        Some((workload, hash)) if is_hash(hash) => workload,
        _ => rest,
    }
}

/// How much a counter grew within the hour; a fall is a restart from zero.
fn increase(ts_ms: &[i64], values: &[f64], start_ms: i64) -> f64 {
    let (mut sum, mut before) = (0.0, None);
    for (ts_ms, value) in ts_ms.iter().zip(values) {
        if is_stale_marker(*value) || !value.is_finite() {
            continue;
        }
        if let Some(before) = before
            && *ts_ms >= start_ms
        {
            sum += if *value >= before { value - before } else { *value };
        }
        before = Some(*value);
    }
    sum
}

fn mean(values: &[f64]) -> f64 {
    let (sum, count) = values.iter().filter(|v| v.is_finite()).fold((0.0, 0u32), |(s, n), v| (s + v, n + 1));
    if count == 0 { 0.0 } else { sum / f64::from(count) }
}

/// From the first to the last sample, and one interval on: a sample stands for the time since the one before it.
fn covered_hours(ts_ms: &[i64]) -> f64 {
    let (Some(first), Some(last)) = (ts_ms.first(), ts_ms.last()) else { return 0.0 };
    let interval = (last - first) / (ts_ms.len() as i64 - 1).max(1);
    ((last - first + interval) as f64 / HOUR_MS as f64).min(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(pairs: &[(&str, &str)]) -> Labels {
        Labels::from_pairs(pairs.iter().copied())
    }

    #[test]
    fn sums_are_not_counted_beside_their_parts() {
        let all = [
            labels(&[("id", "/")]),
            labels(&[("id", "/system.slice")]),
            labels(&[("id", "/system.slice/ssh.service")]),
            labels(&[("id", "/kubepods/burstable")]),
            labels(&[("namespace", "a"), ("pod", "p")]),
            labels(&[("namespace", "a"), ("pod", "p"), ("container", "c")]),
            labels(&[("namespace", "a"), ("pod", "p"), ("container", "POD")]),
            labels(&[("namespace", "a"), ("pod", "q")]),
            labels(&[("groupname", "bash")]),
        ];
        assert_eq!(leaves(&all), [false, false, true, false, false, true, false, true, true]);
    }

    #[test]
    fn a_workload_is_found_in_its_pods_name() {
        for (pod, workload) in [
            ("shop-7d9f8b6c5d-x2x9z", "shop"),
            ("cart-db-0", "cart-db"),
            ("agent-x2x9z", "agent"),
            ("job-once", "job-once"),
            ("plain", "plain"),
        ] {
            assert_eq!(workload_of(pod), workload);
        }
        let unit = owner(&labels(&[("id", "/system.slice/ssh.service")]));
        assert_eq!((unit.namespace.as_str(), unit.workload.as_str()), ("system.slice", "ssh.service"));
        assert_eq!(owner(&labels(&[("groupname", "bash")])).workload, "bash");
    }

    #[test]
    fn counters_grow_through_restarts() {
        assert_eq!(increase(&[0, 10, 20, 30], &[5.0, 7.0, 1.0, 2.0], 0), 4.0);
        assert_eq!(increase(&[0, 10, 20], &[5.0, 7.0, 9.0], 10), 4.0, "the sample before the hour counts");
        assert_eq!(increase(&[], &[], 0), 0.0);
        assert_eq!(covered_hours(&[0, HOUR_MS / 2]), 1.0);
        assert_eq!(covered_hours(&[5]), 0.0);
    }
}
