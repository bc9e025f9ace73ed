//! Series end with what they are of: at the first collection that does not tell them, and once.

use super::*;
use crate::tests::told_and_ended;
use std::collections::BTreeSet;

/// A node whose files the test writes, and what its collections told.
struct Node {
    dir: tempfile::TempDir,
    machine: Machine,
    left: Left,
}

const ALL: Due = Due { dear: true, each_process: true };
const LITTLE: Due = Due { dear: false, each_process: false };

const TEXTFILE: &str = "var/lib/prometheus/node-exporter/backup.prom";
const SOCKETS: &str = "proc/net/tcp";
const PROCESS: &str = "proc/7/stat";

impl Node {
    fn new() -> Node {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("root");
        let machine = Machine {
            cloud: cloud::Known::default(),
            config: Config { host_root: root.clone(), ..Config::default() },
            host: Arc::new(Host::of(&root)),
            pods: pods::Pods::default(),
            kills: oom::Shared::default(),
            mounts: node::Mounts::default(),
            textfiles: node::Textfiles::of(None),
            costs: Costs::default(),
            panics: Panics::default(),
        };
        let node = Node { dir, machine, left: Left::default() };
        node.write("proc/loadavg", "0.5 0.5 0.5 1/1 1\n");
        node.write(TEXTFILE, "backup_done 1\n");
        node.write(SOCKETS, "head\n 0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:0 0\n");
        let line = "7 (sh) S 1 7 7 0 -1 4194560 5 0 0 0 30 12 0 0 20 0 1 0 99 1000 250 1";
        node.write(PROCESS, line);
        node
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.dir.path().join("root").join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    fn remove(&self, path: &str) {
        std::fs::remove_file(self.dir.path().join("root").join(path)).unwrap();
    }

    /// Names of metrics that are told, and of those that end.
    fn collect(&mut self, due: Due) -> (BTreeSet<String>, BTreeSet<String>) {
        let mut samples = Samples::new(1_000_000_000, "n1", false);
        self.machine.measure(due, None, &mut self.left, &mut samples);
        let (told, ended) = told_and_ended(&samples.finish());
        let names = |series: Vec<String>| {
            series.iter().filter_map(|one| Some(one.split('{').next()?.to_owned())).collect()
        };
        (names(told), names(ended))
    }
}

fn names<const N: usize>(names: [&str; N]) -> BTreeSet<String> {
    names.into_iter().map(str::to_owned).collect()
}

const OF_PROCESSES: [&str; 3] =
    ["binnacle_process_cpu_seconds_total", "binnacle_process_resident_memory_bytes", "binnacle_processes"];
const DEAR_ONES: [&str; 4] =
    ["node_processes_pids", "node_processes_state", "node_processes_threads", "node_tcp_connection_states"];

#[test]
fn what_some_collections_leave_out_has_not_ended() {
    let mut node = Node::new();
    let seldom: BTreeSet<String> = names(OF_PROCESSES).union(&names(DEAR_ONES)).cloned().collect();
    let (told, ended) = node.collect(ALL);
    assert!(seldom.is_subset(&told), "{told:?}");
    assert_eq!(ended, names([]));
    for _ in 0..2 {
        let (told, ended) = node.collect(LITTLE);
        assert!(seldom.is_disjoint(&told), "{told:?}");
        assert_eq!(ended, names([]));
    }
    assert_eq!(node.collect(ALL).1, names([]));
    node.remove(SOCKETS);
    node.remove(PROCESS);
    assert_eq!(node.collect(LITTLE).1, names([]), "nobody looked");
    assert_eq!(node.collect(Due { each_process: true, ..LITTLE }).1, names(OF_PROCESSES));
    assert_eq!(node.collect(ALL).1, names(DEAR_ONES));
    assert_eq!(node.collect(ALL).1, names([]));
}

#[test]
fn series_of_the_node_end_with_their_file_and_come_back() {
    let mut node = Node::new();
    node.collect(ALL);
    node.remove("proc/loadavg");
    node.remove(TEXTFILE);
    let gone =
        names(["backup_done", "node_load1", "node_load15", "node_load5", "node_textfile_mtime_seconds"]);
    let (told, ended) = node.collect(ALL);
    assert_eq!(ended, gone);
    assert!(gone.is_disjoint(&told), "{told:?}");
    assert_eq!(node.collect(LITTLE).1, names([]), "each once");
    node.write(TEXTFILE, "backup_done{of=\"db\"} 1\n");
    let (told, ended) = node.collect(LITTLE);
    assert!(told.contains("backup_done"), "{told:?}");
    assert_eq!(ended, names([]));
    node.write(TEXTFILE, "backup_done{of=\"disk\"} 1\n");
    let (told, ended) = node.collect(LITTLE);
    assert!(told.contains("backup_done"), "{told:?}");
    assert_eq!(ended, names(["backup_done"]), "with the label that it had");
}

#[test]
fn labels_of_a_text_file_beside_the_target_s() {
    let mut node = Node::new();
    node.write(
        TEXTFILE,
        "backup_done{job=\"db\",instance=\"a\"} 1\nbackup_done{job=\"disk\",instance=\"a\"} 2\n",
    );
    let mut samples = Samples::new(1_000_000_000, "n1", false);
    node.machine.measure(LITTLE, None, &mut node.left, &mut samples);
    let all = crate::tests::labels_and_values(&samples.finish());
    let of = all.iter().filter(|(labels, _)| labels.metric_name() == "backup_done");
    let told: Vec<(String, f64)> = of.map(|(labels, value)| (labels.to_string(), *value)).collect();
    let named = |job: &str| {
        format!(
            "backup_done{{exported_instance=\"a\", exported_job=\"{job}\", instance=\"n1\", job=\"node\"}}"
        )
    };
    assert_eq!(told, [(named("db"), 1.0), (named("disk"), 2.0)]);
}

/// As somebody's tool left a pipe there: whoever opens it waits for a writer.
#[test]
fn a_pipe_among_text_files_holds_nothing_up_and_is_told() {
    use rustix::fs::{CWD, FileType, Mode, mknodat};
    let mut node = Node::new();
    let folder = node.dir.path().join("root").join(TEXTFILE);
    let pipe = folder.parent().unwrap().join("pipe.prom");
    mknodat(CWD, &pipe, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
    let (told, _) = node.collect(ALL);
    assert!(told.contains("backup_done") && told.contains("node_load1"), "{told:?}");
    let errors = node.machine.textfiles.wrong();
    assert_eq!(errors.len(), 1);
    assert!(errors[0].contains("pipe.prom") && errors[0].contains("no regular file"), "{errors:?}");
    std::fs::remove_file(pipe).unwrap();
    node.collect(LITTLE);
    assert!(node.machine.textfiles.wrong().is_empty());
}

/// Whoever names a folder wants to hear that it is not there; the usual one is there on few machines.
#[test]
fn a_folder_of_text_files_that_was_named_and_is_missing_is_told() {
    let mut node = Node::new();
    node.machine.textfiles = node::Textfiles::of(Some("srv/metrics".as_ref()));
    node.collect(LITTLE);
    let errors = node.machine.textfiles.wrong();
    assert!(errors.len() == 1 && errors[0].starts_with("/srv/metrics: No such file"), "{errors:?}");
    node.write("srv/metrics/a.prom", "a 1\n");
    assert!(node.collect(LITTLE).0.contains("a"));
    assert!(node.machine.textfiles.wrong().is_empty());
    node.machine.textfiles = node::Textfiles::of(None);
    std::fs::remove_dir_all(node.dir.path().join("root/var/lib/prometheus")).unwrap();
    node.collect(LITTLE);
    assert!(node.machine.textfiles.wrong().is_empty());
}

/// The next agent of this node tells the same series, and does not know what this one told.
#[test]
fn an_agent_that_starts_ends_nothing() {
    let mut node = Node::new();
    node.collect(ALL);
    node.remove(TEXTFILE);
    node.left = Left::default();
    assert_eq!(node.collect(ALL).1, names([]));
}

/// Markers are of the collection's time, as its samples are.
#[test]
fn a_series_ends_at_the_time_of_the_collection() {
    let mut node = Node::new();
    node.collect(LITTLE);
    node.remove(TEXTFILE);
    let mut samples = Samples::new(7_000_000_000, "n1", false);
    node.machine.measure(LITTLE, None, &mut node.left, &mut samples);
    let batch = samples.finish();
    assert!(batch.values.iter().any(|value| model::is_stale_marker(*value)));
    assert!(batch.ts_ms.iter().all(|ts_ms| *ts_ms == 7_000));
}

/// By what a part had told before it came to a panic nobody knows what has ended.
#[test]
fn a_part_that_comes_to_a_panic_ends_nothing_and_the_others_end_theirs() {
    let machine = Node::new().machine;
    let (mut one, mut other) = (Alive::default(), Alive::default());
    let mut collected = |ones: &[&str], others: &[&str]| {
        let mut samples = Samples::new(1_000_000_000, "n1", false);
        let tell = |names: &[&str], out: &mut Samples| {
            for name in names {
                assert_ne!(*name, "wrong");
                out.gauge(name, "", &[], 1.0);
            }
        };
        machine.part("node", &mut one, &mut samples, |out| tell(ones, out));
        machine.part("objects", &mut other, &mut samples, |out| tell(others, out));
        let (told, ended) = told_and_ended(&samples.finish());
        [told, ended].map(|all| all.iter().map(|series| series[..1].to_owned()).collect::<Vec<_>>())
    };
    assert_eq!(collected(&["a", "b"], &["c", "d"]), [vec!["a", "b", "c", "d"], vec![]]);
    assert_eq!(collected(&["a", "wrong"], &["c"]), [vec!["a", "c"], vec!["d"]]);
    assert_eq!(collected(&["e"], &["c"]), [vec!["c", "e"], vec![]], "it knows nothing of before");
    assert_eq!(collected(&[], &["c"]), [vec!["c"], vec!["e"]]);
    let came_to = |part: &str| {
        let all = machine.panics.readings().into_iter();
        all.filter(|reading| reading.labels.contains(&("part", part.to_owned())))
            .map(|one| one.value)
            .sum::<f64>()
    };
    assert_eq!((came_to("node"), came_to("objects")), (1.0, 0.0));
}

#[test]
fn a_pod_that_takes_the_place_of_another_knows_it() {
    let dir = tempfile::tempdir().unwrap();
    let remembered = dir.path().join("pod");
    let host = |labels| Host { pod_labels: labels, ..Host::of(dir.path()) };
    let own = host(vec![("pod", "agent-b".to_owned())]);
    assert_eq!(pod_before(&remembered, &own), None, "the first on this node");
    std::fs::write(&remembered, "agent-a").unwrap();
    assert_eq!(pod_before(&remembered, &own).as_deref(), Some("agent-a"));
    assert_eq!(pod_before(&remembered, &host(vec![])), None, "no pod at all");
    std::fs::write(&remembered, "agent-b").unwrap();
    assert_eq!(pod_before(&remembered, &own), None, "restarted");
}
