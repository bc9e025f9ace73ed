//! Who used, and who asked for, how much of which node in an hour, from the series that agents, kubelets and
//! kube-state-metrics send.
//!
//! Where two of them tell the same (an agent beside a kubelet or an exporter that a Prometheus scrapes), it was used and asked for
//! once: what one source tells adds up, and of sources the one counts that tells most.

use super::nodes::{Node, Nodes, is_gpu};
use super::series::{GIB, Gauge, Hour, covered_hours, gauge_hours, mean};
use crate::QueryError;
use model::Labels;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use store::SampleBlock;

/// The namespace and workload of what was used and belongs to nobody.
const UNALLOCATED: &str = "__unallocated__";

/// Whose usage it is. Empty text where there is no such thing: a cgroup has no pod.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Owner {
    pub namespace: String,
    pub workload: String,
    pub workload_kind: String,
    pub pod: String,
    pub container: String,
}

/// Of one resource in one hour, in units times hours. `None` where nothing tells it, which is not nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Share {
    pub requested: Option<f64>,
    pub used: Option<f64>,
}

impl Share {
    /// What it pays for: what it kept from others by asking for it, or by using it.
    pub fn allocated(&self) -> f64 {
        self.requested.unwrap_or(0.0).max(self.used.unwrap_or(0.0))
    }

    fn request(&mut self, hours: f64) {
        *self.requested.get_or_insert(0.0) += hours;
    }

    fn uses(&mut self, hours: f64) {
        *self.used.get_or_insert(0.0) += hours;
    }
}

/// CPU in cores, memory in GiB, GPUs.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Shares {
    pub cpu: Share,
    pub memory: Share,
    pub gpu: Share,
}

/// One node's hour.
#[derive(Clone, Debug, PartialEq)]
pub struct NodeHour {
    pub node: Node,
    pub shares: BTreeMap<Owner, Shares>,
}

impl NodeHour {
    fn tells_cpu(&self) -> bool {
        self.shares.values().any(|shares| shares.cpu.used.is_some_and(|used| used > 0.0))
    }
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

/// What a series' times and values add to its owner.
type Measure<'m> = &'m dyn Fn(&mut Shares, &[i64], &[f64]);

/// All nodes' hours.
pub async fn of_hour(hour: &Hour<'_>, nodes: &Nodes) -> Result<Vec<NodeHour>, QueryError> {
    let whose = Whose::read(hour).await?;
    let mut hours: Vec<NodeHour> =
        nodes.all.iter().map(|node| NodeHour { node: node.clone(), shares: BTreeMap::new() }).collect();
    used(hour, nodes, &whose, &mut hours).await?;
    unallocated(hour, nodes, &mut hours).await?;
    requested(hour, nodes, &whose, &mut hours).await?;
    Ok(hours)
}

async fn used(
    hour: &Hour<'_>,
    nodes: &Nodes,
    whose: &Whose,
    hours: &mut [NodeHour],
) -> Result<(), QueryError> {
    for kind in &KINDS {
        let open: Vec<bool> = hours.iter().map(|hour| !hour.tells_cpu()).collect();
        if !open.contains(&true) {
            break;
        }
        let mut told: Vec<BTreeMap<(Owner, String), Shares>> = vec![BTreeMap::new(); hours.len()];
        let cpu = hour.counters(kind.cpu).await?;
        let memory = hour.gauges(kind.memory, kind.memory_matcher).await?;
        let mut add = |block: &SampleBlock, measure: Measure<'_>| {
            let keep = leaves(&block.labels);
            for ((labels, ts_ms, values), keep) in block.iter().zip(keep) {
                let Some(node) = nodes.of(labels).filter(|node| keep && open[*node]) else { continue };
                let of = (whose.of(owner(labels)), source(labels));
                measure(told[node].entry(of).or_default(), ts_ms, values);
            }
        };
        add(&cpu, &|shares, ts_ms, values| {
            shares.cpu.uses(hour.increase(ts_ms, values) / 3600.0);
        });
        add(&memory, &|shares, ts_ms, values| shares.memory.uses(gauge_hours(ts_ms, values) / GIB));
        for (hour, told) in hours.iter_mut().zip(told) {
            let told = NodeHour { shares: most(told), node: hour.node.clone() };
            // A machine may tell the memory of its groups and nothing of their CPU: whoever tells both is better.
            if !hour.tells_cpu() && (hour.shares.is_empty() || told.tells_cpu()) {
                *hour = told;
            }
        }
    }
    // NVIDIA's exporter names pods where it knows them.
    let busy = hour.gauges("DCGM_FI_DEV_GPU_UTIL", None).await?;
    for (labels, ts_ms, values) in busy.iter() {
        if let Some(node) = nodes.of(labels).filter(|_| labels.get("pod").is_some_and(|pod| !pod.is_empty()))
        {
            let shares = hours[node].shares.entry(whose.of(owner(labels))).or_default();
            shares.gpu.uses(gauge_hours(ts_ms, values) / 100.0);
        }
    }
    Ok(())
}

/// A kubelet tells the same on two of its pages, two jobs may read one page, and of a pair of Prometheus each sends all
/// (prometheus-operator tells them apart by the last of these).
const SOURCE_LABELS: [&str; 4] = ["instance", "job", "metrics_path", "prometheus_replica"];

/// Who tells it.
pub fn source(labels: &Labels) -> String {
    SOURCE_LABELS.map(|label| labels.get(label).unwrap_or("")).join("\n")
}

/// Of each owner what the source tells that tells most.
fn most(told: BTreeMap<(Owner, String), Shares>) -> BTreeMap<Owner, Shares> {
    let larger = |most: &mut Share, one: Share| {
        if let Some(used) = one.used {
            most.used = Some(most.used.unwrap_or(0.0).max(used));
        }
    };
    let mut all: BTreeMap<Owner, Shares> = BTreeMap::new();
    for ((owner, _), shares) in told {
        let most = all.entry(owner).or_default();
        larger(&mut most.cpu, shares.cpu);
        larger(&mut most.memory, shares.memory);
    }
    all
}

/// What the node says was used and no owner accounts for: the kernel, what lived too briefly to be seen, groups that
/// are not told. Without this row it would pass for idle.
async fn unallocated(hour: &Hour<'_>, nodes: &Nodes, hours: &mut [NodeHour]) -> Result<(), QueryError> {
    let mut told: BTreeMap<(usize, String), (f64, f64)> = BTreeMap::new();
    let cpu = hour.counters("node_cpu_seconds_total").await?;
    for (labels, ts_ms, values) in cpu.iter() {
        let at_work = !matches!(labels.get("mode"), None | Some("idle" | "iowait" | "steal"));
        if let Some(node) = nodes.of(labels).filter(|_| at_work) {
            told.entry((node, source(labels))).or_default().0 += hour.increase(ts_ms, values) / 3600.0;
        }
    }
    let free = hour.gauges("node_memory_MemAvailable_bytes", None).await?;
    for (labels, ts_ms, values) in free.iter() {
        if let Some(node) = nodes.of(labels) {
            let used_gib = hours[node].node.memory_gib - mean(values) / GIB;
            told.entry((node, source(labels))).or_default().1 += used_gib.max(0.0) * covered_hours(ts_ms);
        }
    }
    let mut busy = vec![(0.0_f64, 0.0_f64); hours.len()];
    for ((node, _), (cpu, memory)) in told {
        busy[node] = (busy[node].0.max(cpu), busy[node].1.max(memory));
    }
    for (hour, (cpu, memory)) in hours.iter_mut().zip(busy) {
        let sum = |of: fn(&Shares) -> Share| {
            hour.shares.values().map(|shares| of(shares).used.unwrap_or(0.0)).sum::<f64>()
        };
        let left_cpu = (cpu - sum(|shares| shares.cpu)).max(0.0);
        let left_memory = (memory - sum(|shares| shares.memory)).max(0.0);
        if left_cpu > 0.0 || left_memory > 0.0 {
            let nobody = UNALLOCATED.to_owned();
            let owner = Owner { namespace: nobody.clone(), workload: nobody, ..Owner::default() };
            let shares = hour.shares.entry(owner).or_default();
            shares.cpu.uses(left_cpu);
            shares.memory.uses(left_memory);
        }
    }
    Ok(())
}

/// What containers asked for while their pods ran. A container of a pod that is told and that asks for nothing has asked for
/// 0.
async fn requested(
    hour: &Hour<'_>,
    nodes: &Nodes,
    whose: &Whose,
    hours: &mut [NodeHour],
) -> Result<(), QueryError> {
    let mut told: HashMap<(String, String), Gauge> = HashMap::new();
    let phases = hour.gauges("kube_pod_status_phase", Some(("phase", "Running"))).await?;
    for (labels, ts_ms, values) in phases.iter() {
        told.entry(pod_of(labels)).or_default().add(ts_ms, values);
    }
    let running: HashMap<(String, String), f64> =
        told.into_iter().map(|(pod, mut phase)| (pod, phase.mean() * phase.covered_hours())).collect();
    for hour in hours.iter_mut() {
        for (owner, shares) in &mut hour.shares {
            if running.contains_key(&(owner.namespace.clone(), owner.pod.clone())) {
                shares.cpu.request(0.0);
                shares.memory.request(0.0);
            }
        }
    }
    let mut asked: BTreeMap<(usize, Owner, String), Gauge> = BTreeMap::new();
    let requests = hour.gauges("kube_pod_container_resource_requests", None).await?;
    for (labels, ts_ms, values) in requests.iter() {
        if let (Some(node), Some(resource)) = (nodes.of(labels), labels.get("resource")) {
            let of = (node, whose.of(owner(labels)), resource.to_owned());
            asked.entry(of).or_default().add(ts_ms, values);
        }
    }
    for ((node, owner, resource), mut request) in asked {
        let covered = request.covered_hours();
        let pod = (owner.namespace.clone(), owner.pod.clone());
        // A pod that has ended keeps its requests and asks for nothing.
        let asked_hours = running.get(&pod).map_or(covered, |running| running.min(covered));
        if asked_hours <= 0.0 {
            continue;
        }
        let hours_asked = request.mean() * asked_hours;
        match resource.as_str() {
            "cpu" => hours[node].shares.entry(owner).or_default().cpu.request(hours_asked),
            "memory" => hours[node].shares.entry(owner).or_default().memory.request(hours_asked / GIB),
            resource if is_gpu(resource) => {
                hours[node].shares.entry(owner).or_default().gpu.request(hours_asked);
            }
            _ => {}
        }
    }
    Ok(())
}

fn pod_of(labels: &Labels) -> (String, String) {
    let text = |name: &str| labels.get(name).unwrap_or("").to_owned();
    (text("namespace"), text("pod"))
}

/// Which workload a pod belongs to, where its owner is told.
#[derive(Default)]
pub struct Whose(HashMap<(String, String), (String, String)>);

impl Whose {
    pub async fn read(hour: &Hour<'_>) -> Result<Whose, QueryError> {
        let mut whose = Whose::default();
        for labels in hour.labels("kube_pod_owner", None).await? {
            let (Some(kind), Some(name)) = (labels.get("owner_kind"), labels.get("owner_name")) else {
                continue;
            };
            let owner = match kind {
                // A replica set is named after its deployment and a hash of the pod's template.
                "ReplicaSet" => match name.rsplit_once('-') {
                    Some((deployment, _)) => ("deployment", deployment),
                    None => ("replicaset", name),
                },
                "Deployment" => ("deployment", name),
                "StatefulSet" => ("statefulset", name),
                "DaemonSet" => ("daemonset", name),
                "Job" => ("job", without_minute(name)),
                _ => continue,
            };
            whose.0.insert(pod_of(&labels), (owner.0.to_owned(), owner.1.to_owned()));
        }
        Ok(whose)
    }

    pub fn of(&self, mut owner: Owner) -> Owner {
        if let Some((kind, name)) = self.0.get(&(owner.namespace.clone(), owner.pod.clone())) {
            owner.workload_kind.clone_from(kind);
            owner.workload.clone_from(name);
        }
        owner
    }
}

/// A job that a cron job makes is called after it and the minute it was made for: all of them are one workload (source: `isCron`
/// of opencost/opencost, pkg/costmodel/allocation_helpers.go).
fn without_minute(job: &str) -> &str {
    let is_minute = |text: &str| matches!(text.len(), 8 | 10) && text.bytes().all(|b| b.is_ascii_digit());
    match job.rsplit_once('-') {
        Some((cron_job, minute)) if is_minute(minute) => cron_job,
        _ => job,
    }
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

pub fn owner(labels: &Labels) -> Owner {
    let first = |names: &[&str]| names.iter().find_map(|name| labels.get(name)).unwrap_or("").to_owned();
    let pod = first(&["pod", "k8s_pod_name"]);
    if !pod.is_empty() {
        let known = first(&["workload", "deployment", "statefulset", "daemonset", "k8s_deployment_name"]);
        return Owner {
            namespace: first(&["namespace", "k8s_namespace_name"]),
            workload: if known.is_empty() { workload_of(&pod).to_owned() } else { known },
            container: first(&["container", "k8s_container_name"]),
            pod,
            ..Owner::default()
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
pub fn workload_of(pod: &str) -> &str {
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
        for (job, workload) in
            [("backup-29012345", "backup"), ("backup-1700000000", "backup"), ("once-1", "once-1")]
        {
            assert_eq!(without_minute(job), workload);
        }
        let unit = owner(&labels(&[("id", "/system.slice/ssh.service")]));
        assert_eq!((unit.namespace.as_str(), unit.workload.as_str()), ("system.slice", "ssh.service"));
        assert_eq!(owner(&labels(&[("groupname", "bash")])).workload, "bash");
    }
}
