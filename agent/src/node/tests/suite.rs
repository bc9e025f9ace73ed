//! node_exporter's own fixture machine: its trees of /proc, /sys and udev, and what it says of them, where the suites lie
//! beside the checkout.
//!
//! `ABSENT` names what node_exporter has and this agent has not, by the beginning of the metric's name; all else must
//! be there with type, labels and value. A name in the list that is not needed any more fails the test.

use super::*;
use model::MetricKind;
use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::{Path, PathBuf};

pub const ABSENT: &[&str] = &[
    // Off by default there.
    "node_buddyinfo_",
    "node_cgroups_",
    "node_cpu_bug_info",
    "node_cpu_flag_info",
    "node_cpu_frequency_hertz",
    "node_cpu_info",
    "node_cpu_vulnerabilities_",
    "node_drbd_",
    "node_interrupts_",
    "node_ksmd_",
    "node_lnstat_",
    "node_memory_numa_",
    "node_mountstats_",
    "node_pcidevice_",
    "node_qdisc_",
    "node_slabinfo_",
    "node_softirqs_",
    "node_sysctl_",
    "node_wifi_",
    "node_xfrm_",
    "node_zoneinfo_",
    // The fixture tree has no /proc/net/dev: its exporter asked the kernel that the test ran on.
    "node_network_receive_",
    "node_network_transmit_",
];

/// What its test told it to leave out.
const EXCLUDED: &[&str] = &[
    "device=\"nope\"",
    "device=\"dmz\"",
    "device=\"int\"",
    "chip=\"bogus\"",
    "speed_bytes{device=\"bond0\"}",
];

/// Not the machine's: the exporter's own process, and what only its test has.
const NOT_OF_THE_MACHINE: &[&str] =
    &["go_", "process_", "promhttp_", "testmetric", "node_exporter_", "node_scrape_"];

#[derive(PartialEq, Debug)]
struct Value {
    kind: MetricKind,
    value: f64,
}

type Series = BTreeMap<String, Value>;

fn by_labels(batch: &model::MetricBatch) -> Series {
    let kinds: HashMap<&str, MetricKind> =
        batch.metadata.iter().map(|metadata| (&*metadata.name, metadata.kind)).collect();
    let mut all = Series::new();
    for (labels, _, values) in batch.iter() {
        let labels = Labels::from_bytes(labels).unwrap();
        let kind = kinds.get(labels.metric_name()).copied().unwrap_or(MetricKind::Unknown);
        let own =
            labels.iter().filter(|(name, value)| !matches!(*name, "job" | "instance") && !value.is_empty());
        let text = Labels::from_pairs(own).to_string();
        // Its fixtures lie in a folder of their own.
        let text = text.replace("collector/fixtures/", "/");
        all.insert(text, Value { kind, value: values[0] });
    }
    all
}

/// Unpacks a text archive: `Path:`, then `Lines:` and as many lines, or `SymlinkTo:`; `Directory:` stands alone.
fn unpack(archive: &Path, to: &Path) {
    let text = fs::read_to_string(archive).unwrap();
    let mut lines = text.lines();
    let mut path = PathBuf::new();
    while let Some(line) = lines.next() {
        if let Some(folder) = line.strip_prefix("Directory: ") {
            fs::create_dir_all(to.join(folder)).unwrap();
        } else if let Some(file) = line.strip_prefix("Path: ") {
            path = to.join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
        } else if let Some(target) = line.strip_prefix("SymlinkTo: ") {
            std::os::unix::fs::symlink(target, &path).unwrap();
        } else if let Some(count) = line.strip_prefix("Lines: ") {
            let mut text = String::new();
            for line in lines.by_ref().take(count.parse().unwrap()) {
                text.push_str(line);
                text.push('\n');
            }
            // A last line without its end is marked.
            let text = text.replace("NULLBYTE", "\0");
            fs::write(&path, text.strip_suffix("EOF\n").unwrap_or(&text)).unwrap();
        }
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().flatten() {
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else if let Ok(link) = fs::read_link(entry.path()) {
            std::os::unix::fs::symlink(link, target).unwrap();
        } else {
            fs::write(target, fs::read(entry.path()).unwrap()).unwrap();
        }
    }
}

fn suite() -> Option<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/suites/data/host");
    if !folder.is_dir() {
        println!("no {}: node_exporter's fixtures were not read", folder.display());
        return None;
    }
    Some(folder)
}

#[test]
fn node_exporter_s_machine_is_told_as_node_exporter_tells_it() {
    let Some(suite) = suite() else { return };
    let dir = tempfile::tempdir().unwrap();
    copy(&suite.join("node_exporter_proc"), dir.path());
    unpack(&suite.join("node_exporter_e2e/sys.ttar"), dir.path());
    unpack(&suite.join("node_exporter_e2e/udev.ttar"), &dir.path().join("run"));
    for there in ["run/udev", "textfile"] {
        fs::create_dir_all(dir.path().join(there)).unwrap();
    }
    let expected = fs::read_to_string(suite.join("node_exporter_e2e/e2e-output.txt")).unwrap();
    let expected = by_labels(&wire::exposition::parse(&expected, 0).unwrap().batch);
    let (root, mut samples) = (Root(dir.path().to_owned()), Samples::new(0, "n1", true));
    collect(&root, &Textfiles::of(Some("textfile".as_ref())), &Mounts::default(), &mut samples);
    collect_dear(&root, &mut samples);
    let ours = by_labels(&samples.finish());

    let name = |series: &str| series.trim_start_matches('{').to_owned();
    let is_of = |series: &str, list: &[&str]| list.iter().any(|prefix| name(series).starts_with(prefix));
    let of_machine = expected.iter().filter(|(series, _)| !is_of(series, NOT_OF_THE_MACHINE));
    let (mut wrong, mut needed, mut same) = (vec![], BTreeSet::new(), 0);
    for (series, theirs) in of_machine {
        let mine = ours.get(series);
        let close = mine.is_some_and(|mine| {
            mine.kind == theirs.kind && (mine.value - theirs.value).abs() <= 1e-9 * theirs.value.abs()
        });
        let absent = ABSENT.iter().find(|prefix| name(series).starts_with(**prefix));
        match absent {
            Some(prefix) if mine.is_none() => _ = needed.insert(*prefix),
            _ if close => same += 1,
            _ => wrong.push(format!("{series}: {theirs:?}, and here {mine:?}")),
        }
    }
    let families: BTreeSet<String> =
        expected.keys().map(|series| name(series).split('{').next().unwrap().to_owned()).collect();
    for series in ours.keys().filter(|series| !expected.contains_key(*series)) {
        let family = name(series).split('{').next().unwrap().to_owned();
        let is_excluded = EXCLUDED.iter().any(|part| series.contains(part));
        if families.contains(&family) && !is_excluded && !is_of(series, NOT_OF_THE_MACHINE) {
            wrong.push(format!("{series}: here only"));
        }
    }
    println!("{same} of {} series are the same", expected.len());
    assert!(wrong.is_empty(), "{} differ:\n{}", wrong.len(), wrong.join("\n"));
    let unneeded: Vec<_> = ABSENT.iter().filter(|prefix| !needed.contains(**prefix)).collect();
    assert!(unneeded.is_empty(), "not absent any more: {unneeded:?}");
}
