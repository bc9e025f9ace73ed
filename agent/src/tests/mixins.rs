//! What the public rules and dashboards select of nodes, containers and objects is told, with the labels that they compare,
//! group, join and list: `mixins.txt`, against a node and a cluster that have a cause for all of it.
//!
//! What the kubelet and the control plane say of themselves is scraped as it is, and not in the list.

use super::labels_and_values;
use crate::cluster::state;
use crate::host::{Host, Root};
use crate::objects::Metadata;
use crate::pods::{Pod, Pods};
use crate::samples::Samples;
use crate::{JobNames, containers, node, objects, oom};
use model::Labels;
use serde_json::{Value, json};
use std::path::Path;

const SELECTED: &str = include_str!("mixins.txt");

/// Off by default in node_exporter, too.
const ABSENT: &[&str] = &["node_systemd_"];

const UID: &str = "0f8fad5b-d9cb-469f-a165-70867728950e";
const ID: &str = "8bf60f676daa9b8ba8118641aa7ceb8888a2de0fc4ffecc60bf9d85b794ccb4d";

/// A label, and the value that it must have where any does not do.
type Wanted<'t> = Vec<(&'t str, Option<&'t str>)>;

fn selected() -> impl Iterator<Item = (&'static str, Wanted<'static>)> {
    let lines = SELECTED.lines().filter(|line| !line.starts_with('#'));
    lines.map(|line| {
        let (name, labels) = line.strip_suffix('}').and_then(|line| line.split_once('{')).unwrap();
        let wanted = labels.split(", ").map(|label| match label.split_once('=') {
            Some((label, value)) => (label, Some(value.trim_matches('"'))),
            None => (label, None),
        });
        let wanted: Wanted<'_> = wanted.collect();
        (name, wanted)
    })
}

/// A machine with bonded interfaces, a RAID and a container.
fn machine(root: &Path) {
    let group = format!("sys/fs/cgroup/kubepods/burstable/pod{UID}/{ID}");
    for (path, text) in [
        ("proc/stat", "cpu 1 1 1 1\ncpu0 100 200 300 400 500 600 700 800 900 1000\nbtime 1000\n"),
        ("proc/loadavg", "0.5 1.5 2.5 1/100 12345\n"),
        (
            "proc/meminfo",
            "MemTotal: 9 kB\nMemFree: 1 kB\nMemAvailable: 2 kB\nBuffers: 1 kB\nCached: 1 kB\nSlab: 1 kB\n",
        ),
        ("proc/vmstat", "pgmajfault 10\n"),
        ("proc/diskstats", " 254 0 vda 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17\n"),
        ("proc/mdstat", "Personalities : [raid1]\nmd0 : active raid1 b[1] a[0]\n      9 blocks [2/2] [UU]\n"),
        ("proc/1/mountinfo", "1 0 254:0 / / rw - ext4 /dev/vda rw\n"),
        ("proc/1/net/dev", "h\nh\n  eth0: 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16\n"),
        ("proc/1/net/snmp", "Tcp: OutSegs RetransSegs\nTcp: 4 2\n"),
        ("proc/1/net/netstat", "TcpExt: TCPSynRetrans\nTcpExt: 1\n"),
        ("proc/42/net/dev", "h\nh\n  eth0: 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16\n"),
        ("proc/sys/fs/file-nr", "1 0 3\n"),
        ("proc/sys/net/netfilter/nf_conntrack_count", "1\n"),
        ("proc/sys/net/netfilter/nf_conntrack_max", "9\n"),
        ("sys/class/net/bonding_masters", "bond0\n"),
        ("sys/class/net/bond0/bonding/slaves", "eth0\n"),
        ("sys/class/net/bond0/lower_eth0/bonding_slave/mii_status", "up\n"),
        ("sys/dev/block/254:0/uevent", "DEVNAME=vda\n"),
        ("sys/fs/cgroup/cgroup.controllers", "cpu memory\n"),
        (
            &format!("{group}/cpu.stat"),
            "usage_usec 9\nuser_usec 5\nsystem_usec 4\nnr_periods 9\nnr_throttled 4\n",
        ),
        (&format!("{group}/cpu.max"), "30000 100000\n"),
        (&format!("{group}/memory.current"), "8192\n"),
        (&format!("{group}/memory.swap.current"), "0\n"),
        (&format!("{group}/memory.stat"), "anon 4096\nfile 2048\ninactive_file 96\n"),
        (&format!("{group}/io.stat"), "254:0 rbytes=100 wbytes=200 rios=3 wios=4 dbytes=0 dios=0\n"),
        (&format!("{group}/cgroup.procs"), "42\n"),
    ] {
        let path = root.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
}

/// A pod of each kind of owner, of which the first runs in the machine's container and the last does not start.
fn pods() -> Vec<Pod> {
    let owners = ["ReplicaSet", "StatefulSet", "DaemonSet", "Job", "Node"];
    let pod = |(at, kind): (usize, &&str)| -> Pod {
        let uid = if at == 0 { UID.to_owned() } else { format!("uid-{at}") };
        let state = match at {
            4 => json!({ "waiting": { "reason": "CrashLoopBackOff" } }),
            _ => json!({ "running": { "startedAt": "2026-01-01T00:00:00Z" } }),
        };
        let id = if at == 0 { format!("containerd://{ID}") } else { String::new() };
        let quantities = json!({ "cpu": "1", "memory": "1Gi" });
        serde_json::from_value(json!({
            "metadata": { "name": format!("p{at}"), "namespace": "shop", "uid": uid,
                "ownerReferences": [{ "kind": kind, "name": "owner", "controller": true }] },
            "spec": { "nodeName": "n1", "containers": [{ "name": "app",
                "resources": { "requests": quantities, "limits": quantities } }] },
            "status": { "phase": "Running", "conditions": [{ "type": "Ready", "status": "True" }],
                "containerStatuses": [{ "name": "app", "image": "shop/cart:1", "containerID": id, "state": state }] },
        }))
        .unwrap()
    };
    owners.iter().enumerate().map(pod).collect()
}

/// An object of each kind that is selected, in a state that is told of.
fn objects_of_the_cluster() -> Vec<(&'static str, Value)> {
    let named = || json!({ "name": "one", "namespace": "shop", "generation": 1 });
    let owned = |kind: &str| json!({ "name": "one", "namespace": "shop", "ownerReferences": [{ "kind": kind, "name": "owner" }] });
    let capacity = json!({ "cpu": "4", "memory": "8Gi", "pods": "110" });
    let quotas =
        json!({ "limits.cpu": "1", "limits.memory": "1", "requests.cpu": "1", "requests.memory": "1" });
    vec![
        (
            "Node",
            json!({ "metadata": { "name": "n1", "labels": { "node-role.kubernetes.io/control-plane": "" } },
            "spec": { "taints": [{ "key": "node.kubernetes.io/unreachable", "effect": "NoSchedule" }] },
            "status": { "capacity": capacity, "allocatable": capacity,
                "conditions": [{ "type": "Ready", "status": "True" }] } }),
        ),
        ("Namespace", json!({ "metadata": { "name": "shop" }, "status": { "phase": "Active" } })),
        (
            "Deployment",
            json!({ "metadata": named(), "spec": { "replicas": 1 },
            "status": { "conditions": [{ "type": "Progressing", "status": "True" }] } }),
        ),
        ("ReplicaSet", json!({ "metadata": owned("Deployment") })),
        (
            "StatefulSet",
            json!({ "metadata": named(), "spec": { "replicas": 1 },
            "status": { "observedGeneration": 1, "currentRevision": "a", "updateRevision": "a" } }),
        ),
        ("DaemonSet", json!({ "metadata": named() })),
        (
            "Job",
            json!({ "metadata": owned("CronJob"), "status": { "startTime": "2026-01-01T00:00:00Z",
            "conditions": [{ "type": "Failed", "status": "True" }] } }),
        ),
        (
            "HorizontalPodAutoscaler",
            json!({ "metadata": named(), "spec": { "minReplicas": 1, "maxReplicas": 2 } }),
        ),
        ("PodDisruptionBudget", json!({ "metadata": named() })),
        ("ResourceQuota", json!({ "metadata": named(), "status": { "hard": quotas, "used": quotas } })),
        (
            "PersistentVolumeClaim",
            json!({ "metadata": { "name": "one", "namespace": "shop", "labels": { "excluded-from-alerts": "true" } },
            "spec": { "accessModes": ["ReadOnlyMany"] } }),
        ),
        ("PersistentVolume", json!({ "metadata": { "name": "one" }, "status": { "phase": "Bound" } })),
    ]
}

fn told(jobs: &JobNames) -> Vec<(Labels, f64)> {
    let dir = tempfile::tempdir().unwrap();
    machine(dir.path());
    let own = [("namespace", "binnacle"), ("pod", "binnacle-agent-1"), ("node", "n1")];
    let own = own.map(|(label, value)| (label, value.to_owned())).to_vec();
    let host = Host { name: "n1".into(), pod_labels: own, ..Host::of(dir.path()) };
    let root = Root(dir.path().to_owned());
    let known = Pods::default();
    known.replace(pods());
    let mut samples = Samples::new(5_000_000_000, &host.name, false).in_jobs(jobs);
    samples.of_pod(&host.pod_labels, None);
    let textfiles = node::Textfiles::of(Some("textfile".as_ref()));
    node::collect(&root, &textfiles, &node::Mounts::default(), &mut samples);
    node::collect_dear(&root, &mut samples);
    containers::collect(&root, &host.name, &known, &oom::Shared::default(), &mut samples);
    objects::collect(&host.name, &known, &Metadata::default(), &mut samples);
    samples.of_kube_state("");
    for (kind, object) in objects_of_the_cluster() {
        state::tell(kind, &object, &Metadata::default(), &mut samples);
    }
    labels_and_values(&samples.finish())
}

#[test]
fn what_the_mixins_select_is_told() {
    for set in ["mixins", "kube-prometheus"] {
        let jobs = JobNames::parse(set).unwrap();
        let all = told(&jobs);
        let is_it = |labels: &Labels, (label, value): &(&str, Option<&str>)| match (*label, *value) {
            ("job", Some("node")) => labels.get("job") == Some(jobs.node.as_str()),
            ("job", Some("cadvisor")) => labels.get("job") == Some(jobs.cadvisor.as_str()),
            (label, Some(value)) => labels.get(label) == Some(value),
            (label, None) => labels.get(label).is_some(),
        };
        let is_told = |name: &str, wanted: &Wanted<'_>| {
            all.iter().any(|(labels, _)| {
                labels.metric_name() == name && wanted.iter().all(|one| is_it(labels, one))
            })
        };
        let missing: Vec<_> = selected().filter(|(name, wanted)| !is_told(name, wanted)).collect();
        let is_known = |name: &str| ABSENT.iter().any(|prefix| name.starts_with(prefix));
        let unknown: Vec<_> = missing.iter().filter(|(name, _)| !is_known(name)).collect();
        assert!(unknown.is_empty(), "{set}: not told, or without a label: {unknown:#?}");
        let is_needed = |prefix: &&str| missing.iter().any(|(name, _)| name.starts_with(*prefix));
        assert!(ABSENT.iter().all(is_needed), "{set}: not absent any more: {ABSENT:?}");
    }
}
