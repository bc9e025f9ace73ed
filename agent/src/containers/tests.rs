use super::*;
use crate::alive::Alive;
use crate::pods::{Pod, PodList};
use crate::tests::{labels_and_values, told_and_ended};
use model::{Labels, MetricKind};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

const UID: &str = "0f8fad5b-d9cb-469f-a165-70867728950e";
const APP: &str = "8bf60f676daa9b8ba8118641aa7ceb8888a2de0fc4ffecc60bf9d85b794ccb4d";
const PAUSE: &str = "ac80af1d86aed63c5bf6b60fbac6446f7560765d33faf517f10f427f671af284";

fn pods(id: &str) -> Pods {
    let text = format!(
        r#"{{"metadata":{{"name":"cart-0","namespace":"shop","uid":"{UID}",
            "ownerReferences":[{{"kind":"StatefulSet","name":"cart","controller":true}}]}},
            "status":{{"containerStatuses":[{{"name":"app","image":"shop/cart:1","containerID":"cri-o://{id}"}}]}}}}"#
    );
    let pods = Pods::default();
    pods.replace(vec![serde_json::from_str::<Pod>(&text).unwrap()]);
    pods
}

fn write(root: &Path, files: &[(&str, &str)]) {
    for (path, text) in files {
        let path = root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
}

fn collected(root: &Path, pods: &Pods) -> Vec<(Labels, f64)> {
    let mut samples = Samples::new(5_000_000_000, "node1", true);
    collect(&Root(root.to_owned()), "node1", pods, &oom::Shared::default(), &mut samples);
    labels_and_values(&samples.finish())
}

/// Values of a metric, by the labels that are given.
fn of(all: &[(Labels, f64)], name: &str, wanted: &[(&str, &str)]) -> Vec<f64> {
    let is_it = |labels: &Labels| {
        labels.metric_name() == name && wanted.iter().all(|(name, value)| labels.get(name) == Some(value))
    };
    all.iter().filter(|(labels, _)| is_it(labels)).map(|(_, value)| *value).collect()
}

#[test]
fn version_2_under_systemd_and_cri_o() {
    let dir = tempfile::tempdir().unwrap();
    let slice = format!(
        "sys/fs/cgroup/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{}.slice",
        UID.replace('-', "_")
    );
    let scope = format!("{slice}/crio-{APP}.scope");
    write(
        dir.path(),
        &[
            ("sys/fs/cgroup/cgroup.controllers", "cpu memory"),
            (
                "sys/fs/cgroup/system.slice/ssh.service/cpu.stat",
                "usage_usec 5000000\nuser_usec 1\nsystem_usec 1\n",
            ),
            (&format!("{slice}/memory.stat"), "anon 1\nfile 1\n"),
            (&format!("{slice}/crio-conmon-{APP}.scope/cpu.stat"), "usage_usec 7\n"),
            (
                &format!("{scope}/cpu.stat"),
                "usage_usec 2500000\nuser_usec 1500000\nsystem_usec 1000000\nnr_periods 9\nnr_throttled 4\nthrottled_usec 300000\n",
            ),
            (&format!("{scope}/cpu.max"), "30000 100000\n"),
            (&format!("{scope}/cpu.weight"), "2\n"),
            (&format!("{scope}/memory.current"), "8192\n"),
            (
                &format!("{scope}/memory.stat"),
                "anon 4096\nfile 2048\ninactive_file 96\npgfault 3\npgmajfault 1\n",
            ),
            (&format!("{scope}/memory.max"), "max\n"),
            (&format!("{scope}/memory.events"), "max 7\noom 1\noom_kill 1\n"),
            (
                &format!("{scope}/cpu.pressure"),
                "some avg10=0.00 avg60=0.00 avg300=0.00 total=1500000\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=500000\n",
            ),
            (&format!("{scope}/io.stat"), "254:0 rbytes=100 wbytes=200 rios=3 wios=4 dbytes=0 dios=0\n"),
            (&format!("{scope}/pids.current"), "3\n"),
            (&format!("{scope}/pids.max"), "max\n"),
            (&format!("{scope}/cgroup.procs"), "42\n43\n"),
            (
                "proc/42/net/dev",
                "Inter-| x\n face |bytes\n    lo: 1 1 1 1 0 0 0 0 1 1 1 1 0 0 0 0\n  eth0: 10 11 12 13 0 0 0 0 20 21 22 23 0 0 0 0\n",
            ),
            (
                "proc/42/limits",
                "Limit                     Soft Limit           Hard Limit           Units\nMax open files            1024                 4096                 files\n",
            ),
            ("proc/42/fd/0", ""),
            ("proc/42/fd/1", ""),
            ("proc/43/fd/0", ""),
            ("sys/dev/block/254:0/uevent", "MAJOR=254\nMINOR=0\nDEVNAME=vda\nDEVTYPE=disk\n"),
        ],
    );
    let all = collected(dir.path(), &pods(APP));
    let app = [
        ("container", "app"),
        ("namespace", "shop"),
        ("pod", "cart-0"),
        ("image", "shop/cart:1"),
        ("name", APP),
        ("k8s_pod_uid", UID),
        ("k8s_statefulset_name", "cart"),
        ("job", "cadvisor"),
        ("node", "node1"),
    ];
    for (name, value) in [
        ("container_cpu_usage_seconds_total", 2.5),
        ("container_cpu_user_seconds_total", 1.5),
        ("container_cpu_system_seconds_total", 1.0),
        ("container_cpu_cfs_periods_total", 9.0),
        ("container_cpu_cfs_throttled_periods_total", 4.0),
        ("container_cpu_cfs_throttled_seconds_total", 0.3),
        ("container_memory_usage_bytes", 8192.0),
        ("container_memory_working_set_bytes", 8096.0),
        ("container_memory_rss", 4096.0),
        ("container_memory_cache", 2048.0),
        ("container_memory_failcnt", 7.0),
        ("container_pressure_cpu_waiting_seconds_total", 1.5),
        ("container_pressure_cpu_stalled_seconds_total", 0.5),
        ("container_processes", 2.0),
        ("container_threads", 3.0),
        ("container_threads_max", 0.0),
        ("container_file_descriptors", 3.0),
        ("container_ulimits_soft", 1024.0),
        ("container_spec_cpu_quota", 30000.0),
        ("container_spec_cpu_period", 100000.0),
        ("container_spec_cpu_shares", 28.0),
        ("container_spec_memory_limit_bytes", 0.0),
        ("container_last_seen", 5.0),
    ] {
        assert_eq!(of(&all, name, &app), [value], "{name}");
    }
    assert_eq!(
        of(&all, "container_fs_writes_bytes_total", &[("container", "app"), ("device", "/dev/vda")]),
        [200.0]
    );
    let read = [("container", "app"), ("operation", "Read"), ("major", "254"), ("minor", "0")];
    assert_eq!(of(&all, "container_blkio_device_usage_total", &read), [100.0]);
    // No group tells of memory's waiting here, so nothing is told of it: it is not zero.
    assert_eq!(of(&all, "container_pressure_memory_waiting_seconds_total", &[]), [] as [f64; 0]);
    let network = [("pod", "cart-0"), ("interface", "eth0")];
    assert_eq!(of(&all, "container_network_receive_bytes_total", &network), [10.0]);
    assert_eq!(of(&all, "container_network_transmit_packets_dropped_total", &network), [23.0]);
    assert_eq!(of(&all, "container_network_receive_bytes_total", &[("interface", "lo")]), [] as [f64; 0]);
    assert_eq!(of(&all, "container_cpu_usage_seconds_total", &[("id", "/system.slice/ssh.service")]), [5.0]);
    assert!(!all.iter().any(|(labels, _)| labels.get("id").is_some_and(|id| id.contains("conmon"))));
}

/// Processes, network and kills of a container are those of the group that crun makes below its scope, where its monitor, which
/// is on the host's network, is listed first.
#[test]
fn processes_in_cruns_group_are_the_containers() {
    let dir = tempfile::tempdir().unwrap();
    let app = format!("f{}", &APP[1..]);
    let slice = format!("sys/fs/cgroup/kubepods.slice/kubepods-pod{}.slice", UID.replace('-', "_"));
    let scope = format!("{slice}/crio-{app}.scope");
    write(
        dir.path(),
        &[
            ("sys/fs/cgroup/cgroup.controllers", "cpu memory"),
            (&format!("{slice}/crio-conmon-{app}.scope/cgroup.procs"), "41\n"),
            (&format!("{scope}/cgroup.procs"), ""),
            (&format!("{scope}/container/cgroup.procs"), "42\n43\n"),
            (&format!("{scope}/cpu.stat"), "usage_usec 1\n"),
            (&format!("{scope}/memory.events.local"), "oom 2\noom_kill 0\noom_group_kill 0\n"),
            (&format!("{scope}/container/memory.events.local"), "oom 0\noom_kill 2\noom_group_kill 0\n"),
            ("proc/41/net/dev", "h\nh\n  eth0: 9 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16\n"),
            ("proc/42/net/dev", "h\nh\n  eth0: 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16\n"),
        ],
    );
    let all = collected(dir.path(), &pods(&app));
    assert_eq!(of(&all, "container_processes", &[("container", "app")]), [2.0]);
    assert_eq!(of(&all, "container_network_receive_bytes_total", &[("pod", "cart-0")]), [1.0]);
    let root = Root(dir.path().to_owned());
    let stats = Tree::of(&root).unwrap().stats(&scope["sys/fs/cgroup".len()..], true);
    assert_eq!(stats.oom_kills, Some(2));
}

/// What its processes see is the node's traffic.
#[test]
fn a_pod_on_the_hosts_network_tells_none() {
    let told = |namespace: &str| {
        let dir = tempfile::tempdir().unwrap();
        let group = format!("sys/fs/cgroup/kubepods/pod{UID}/{APP}");
        write(
            dir.path(),
            &[
                ("sys/fs/cgroup/cgroup.controllers", ""),
                (&format!("{group}/cpu.stat"), "usage_usec 1\n"),
                (&format!("{group}/cgroup.procs"), "42\n"),
                ("proc/42/net/dev", "h\nh\n  eth0: 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16\n"),
            ],
        );
        for (process, namespace) in [("1", "net:[1]"), ("42", namespace)] {
            let folder = dir.path().join(format!("proc/{process}/ns"));
            fs::create_dir_all(&folder).unwrap();
            std::os::unix::fs::symlink(namespace, folder.join("net")).unwrap();
        }
        let all = collected(dir.path(), &pods(APP));
        of(&all, "container_network_receive_bytes_total", &[("pod", "cart-0")])
    };
    assert_eq!(told("net:[1]"), [] as [f64; 0]);
    assert_eq!(told("net:[2]"), [1.0]);
}

#[test]
fn version_1_under_cgroupfs() {
    let dir = tempfile::tempdir().unwrap();
    let group = format!("kubepods/besteffort/pod{UID}/{APP}");
    let file = |controller: &str, name: &str| format!("sys/fs/cgroup/{controller}/{group}/{name}");
    write(
        dir.path(),
        &[
            (&file("cpuacct", "cpuacct.usage"), "7095027384\n"),
            (&file("cpuacct", "cpuacct.stat"), "user 170\nsystem 539\n"),
            (&file("cpu", "cpu.cfs_quota_us"), "-1\n"),
            (&file("cpu", "cpu.stat"), "nr_periods 1469\nnr_throttled 2\nthrottled_time 5\n"),
            (&file("cpu", "cpu.shares"), "51\n"),
            (&file("memory", "memory.usage_in_bytes"), "1000\n"),
            (
                &file("memory", "memory.stat"),
                "cache 1\nrss 2\npgfault 5\npgmajfault 6\ntotal_cache 10\ntotal_rss 20\ntotal_swap 30\ntotal_inactive_file 400\ntotal_pgfault 50\ntotal_pgmajfault 60\n",
            ),
            (&file("memory", "memory.limit_in_bytes"), "9223372036854771712\n"),
            (&file("memory", "memory.failcnt"), "3\n"),
            (&file("memory", "cgroup.procs"), "42\n"),
            (
                &file("blkio", "blkio.throttle.io_service_bytes_recursive"),
                "8:0 Read 4096\n8:0 Write 1\n8:0 Sync 4\n8:0 Total 5\nTotal 5\n",
            ),
            (
                &file("blkio", "blkio.throttle.io_serviced_recursive"),
                "8:0 Read 2\n8:0 Write 3\n8:0 Total 5\nTotal 5\n",
            ),
            ("proc/diskstats", "   8       0 sda 1 2 3\n"),
        ],
    );
    let all = collected(dir.path(), &pods(APP));
    let app = [("container", "app"), ("pod", "cart-0")];
    for (name, value) in [
        ("container_cpu_usage_seconds_total", 7.095027384),
        ("container_cpu_user_seconds_total", 1.7),
        ("container_cpu_system_seconds_total", 5.39),
        ("container_memory_working_set_bytes", 600.0),
        ("container_memory_rss", 20.0),
        ("container_memory_swap", 30.0),
        ("container_memory_failcnt", 3.0),
        ("container_spec_cpu_shares", 51.0),
        ("container_spec_memory_limit_bytes", 0.0),
    ] {
        assert_eq!(of(&all, name, &app), [value], "{name}");
    }
    let faults =
        |scope| of(&all, "container_memory_failures_total", &[("container", "app"), ("scope", scope)]);
    assert_eq!((faults("container"), faults("hierarchy")), (vec![5.0, 6.0], vec![50.0, 60.0]));
    assert_eq!(of(&all, "container_fs_reads_total", &[("container", "app"), ("device", "/dev/sda")]), [2.0]);
    assert_eq!(of(&all, "container_cpu_cfs_periods_total", &app), [] as [f64; 0], "no quota");
    assert_eq!(of(&all, "container_pressure_cpu_waiting_seconds_total", &[]), [] as [f64; 0]);
}

#[test]
fn series_of_a_group_end_with_it_and_with_the_labels_that_they_had() {
    let dir = tempfile::tempdir().unwrap();
    let group = format!("sys/fs/cgroup/kubepods/pod{UID}/{APP}");
    let counters = format!("{group}/cpu.stat");
    let files = [("sys/fs/cgroup/cgroup.controllers", ""), (counters.as_str(), "usage_usec 1\n")];
    write(dir.path(), &files);
    let mut alive = Alive::default();
    let mut again = |pods: &Pods| {
        let mut samples = Samples::new(5_000_000_000, "node1", false);
        let root = Root(dir.path().to_owned());
        samples.ending(&mut alive, |out| collect(&root, "node1", pods, &oom::Shared::default(), out));
        told_and_ended(&samples.finish())
    };
    let (unnamed, ended) = again(&Pods::default());
    assert_eq!(ended, [""; 0]);
    let of_pod = |series: &[String]| -> Vec<String> {
        series.iter().filter(|one| one.contains(UID)).cloned().collect()
    };
    // The kubelet says whose it is: other series from here on.
    let known = pods(APP);
    let (named, ended) = again(&known);
    assert!(named.iter().any(|one| one.contains("pod=\"cart-0\"")), "{named:?}");
    assert_eq!(ended, of_pod(&unnamed));
    assert_eq!(again(&known), (named.clone(), vec![]));
    // The container is gone, of whose kills is told for as long as its pod is there.
    fs::remove_dir_all(dir.path().join(&group)).unwrap();
    let (left, ended) = again(&known);
    let of_app = named.iter().filter(|one| one.contains(&format!("name=\"{APP}\"")));
    assert_eq!(ended, of_app.cloned().collect::<Vec<_>>());
    assert!(!ended.is_empty() && left.iter().any(|one| one.starts_with("container_oom_events_total")));
    assert_eq!(again(&known), (left.clone(), vec![]));
    // Back as it was.
    write(dir.path(), &files);
    assert_eq!(again(&known), (named.clone(), vec![]));
    // Nothing can be read any more: a target that is down.
    fs::remove_dir_all(dir.path().join("sys")).unwrap();
    assert_eq!(again(&known), (vec![], named));
}

#[test]
fn a_machine_without_pods_tells_its_services_briefly() {
    let dir = tempfile::tempdir().unwrap();
    write(
        dir.path(),
        &[
            ("sys/fs/cgroup/cgroup.controllers", ""),
            ("sys/fs/cgroup/system.slice/memory.current", "10"),
            ("sys/fs/cgroup/system.slice/memory.stat", "inactive_file 4\n"),
        ],
    );
    let all = collected(dir.path(), &Pods::default());
    assert_eq!(all.len(), 1, "{all:?}");
    assert_eq!(of(&all, "cgroup_memory_working_set_bytes", &[("id", "/system.slice")]), [6.0]);
}

#[test]
fn folders_and_links_name_pods_until_the_kubelet_does() {
    let dir = tempfile::tempdir().unwrap();
    let folder = format!("var/log/pods/shop_cart.v1-0_{UID}/app/0.log");
    write(
        dir.path(),
        &[
            (&folder, ""),
            (&format!("sys/fs/cgroup/kubepods/pod{UID}/{APP}/cpu.stat"), "usage_usec 1\n"),
            ("sys/fs/cgroup/cgroup.controllers", ""),
        ],
    );
    fs::create_dir_all(dir.path().join("var/log/containers")).unwrap();
    let link = dir.path().join(format!("var/log/containers/cart.v1-0_shop_app-{APP}.log"));
    std::os::unix::fs::symlink(format!("/{folder}"), link).unwrap();
    let known = Pods::default();
    known.look(&Root(dir.path().to_owned()));
    let all = collected(dir.path(), &known);
    let app = [("container", "app"), ("pod", "cart.v1-0"), ("namespace", "shop")];
    assert_eq!(of(&all, "container_cpu_usage_seconds_total", &app), [1e-6]);
}

/// Of what a real kubelet's cAdvisor says, by the beginning of a metric's name: what is not told here, and why not.
const ABSENT: &[&str] = &[
    // Always zero there: its load reader is off.
    "container_cpu_load_",
    "container_tasks_state",
    // Of its own build.
    "cadvisor_version_info",
    "container_health_state",
    "container_scrape_error",
    "machine_scrape_error",
    "machine_nvm_",
    "machine_cpu_books",
    "machine_cpu_drawers",
    "machine_cpu_physical_cores",
    "machine_cpu_sockets",
    // Needs a look at every link of every open file.
    "container_sockets",
    // The tree has no processes: these are tested above.
    "container_file_descriptors",
    "container_ulimits_soft",
    // By container through its restarts, not by group.
    "container_oom_events_total",
];

fn recorded() -> Option<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/kubernetes/kubelet-cgroup-v2");
    if !folder.is_dir() {
        println!("no {}: a kubelet's recorded groups were not read", folder.display());
        return None;
    }
    Some(folder)
}

#[test]
fn a_recorded_node_is_told_as_its_cadvisor_tells_it() {
    let Some(folder) = recorded() else { return };
    let dir = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink(folder.join("cg/sys"), dir.path().join("sys")).unwrap();
    std::os::unix::fs::symlink(folder.join("proc"), dir.path().join("proc")).unwrap();
    let pods = Pods::default();
    let list: PodList = serde_json::from_slice(&fs::read(folder.join("pods")).unwrap()).unwrap();
    pods.replace(list.items);
    let mut samples = Samples::new(1, "node1", true);
    collect(&Root(dir.path().to_owned()), "node1", &pods, &oom::Shared::default(), &mut samples);
    let batch = samples.finish();
    let kinds: BTreeMap<&str, MetricKind> = batch.metadata.iter().map(|m| (&*m.name, m.kind)).collect();
    // Of the pause container the kubelet's list of pods says nothing: its image is not known here.
    let key = |labels: &Labels| {
        let ours = ["job", "instance", "node", "metrics_path", "k8s_pod_uid"];
        let is_pause = labels.get("name") == Some(PAUSE);
        Labels::from_pairs(labels.iter().filter(|(name, value)| {
            let is_left_out = value.is_empty()
                || ours.contains(name)
                || (is_pause && *name == "image")
                || matches!(*name, "boot_id" | "machine_id" | "system_uuid");
            !is_left_out
        }))
        .to_string()
    };
    let ours: BTreeMap<String, f64> =
        labels_and_values(&batch).iter().map(|(labels, value)| (key(labels), *value)).collect();
    let text = fs::read_to_string(folder.join("metrics_cadvisor")).unwrap();
    let theirs = wire::exposition::parse(&text, 0).unwrap().batch;
    let their_kinds: BTreeMap<&str, MetricKind> =
        theirs.metadata.iter().map(|m| (&*m.name, m.kind)).collect();
    let (mut missing, mut same, mut absent) = (vec![], 0, BTreeSet::new());
    for (labels, value) in labels_and_values(&theirs) {
        let name = labels.metric_name();
        if let Some(prefix) = ABSENT.iter().find(|prefix| name.starts_with(**prefix)) {
            absent.insert(*prefix);
            continue;
        }
        // Of the root the tree has no memory and network of that time, and its space is `node_filesystem_*`.
        let is_of_root = labels.get("id") == Some("/");
        if is_of_root
            && ["container_fs_", "container_network", "container_threads"].iter().any(|p| name.starts_with(p))
            || labels.get("interface").is_some()
            || is_of_root
                && [
                    "container_memory_max",
                    "container_memory_failcnt",
                    "container_memory_swap",
                    "container_spec",
                ]
                .iter()
                .any(|p| name.starts_with(p))
        {
            continue;
        }
        assert_eq!(kinds.get(name), their_kinds.get(name), "the type of {name}");
        match ours.get(&key(&labels)) {
            None => missing.push(format!("{} {value}", key(&labels))),
            // The tree was copied after the answer: what is configured and the highest marks are as they were.
            Some(mine)
                if name.starts_with("container_spec_") || name == "container_memory_max_usage_bytes" =>
            {
                let is_grown = name.ends_with("max_usage_bytes") && *mine >= value;
                assert!(*mine == value || is_grown, "{name}: {mine}, and there {value}");
                same += 1;
            }
            Some(mine) if their_kinds.get(name) == Some(&MetricKind::Counter) => {
                assert!(*mine >= value, "{}: {mine} is less than {value} before", key(&labels));
                same += 1;
            }
            Some(_) => same += 1,
        }
    }
    println!("{same} series are there");
    assert!(missing.is_empty(), "{} are missing:\n{}", missing.len(), missing.join("\n"));
    assert_eq!(absent.len(), ABSENT.len(), "not needed any more: {absent:?}");
}
