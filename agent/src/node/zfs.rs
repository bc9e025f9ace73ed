//! ZFS: counters that the module keeps below /proc/spl/kstat, of all pools and of each.
//!
//! A file has lines `name type data` under a line of these words; types 3 and 4 are whole numbers.

use crate::host::Root;
use crate::samples::Samples;

const FOLDER: &str = "proc/spl/kstat/zfs";

/// Files and what their metrics begin with.
const FILES: [(&str, &str); 11] = [
    ("abdstats", "abd"),
    ("arcstats", "arc"),
    ("dbufstats", "dbuf"),
    ("dmu_tx", "dmu_tx"),
    ("dnodestats", "dnode"),
    ("fm", "fm"),
    ("vdev_cache_stats", "vdev_cache"),
    ("vdev_mirror_stats", "vdev_mirror"),
    ("xuio_stats", "xuio"),
    ("zfetchstats", "zfetch"),
    ("zil", "zil"),
];

const STATES: [&str; 7] = ["online", "degraded", "faulted", "offline", "removed", "unavail", "suspended"];

pub fn zfs(root: &Root, out: &mut Samples) -> Option<()> {
    if !root.path(FOLDER).is_dir() {
        return None;
    }
    for (file, prefix) in FILES {
        let text = root.text(&format!("{FOLDER}/{file}")).unwrap_or_default();
        for (name, value) in numbers(&text) {
            let help = format!("kstat.zfs.misc.{file}.{name}");
            out.untyped(&format!("node_zfs_{prefix}_{}", name.replace('-', "_")), &help, &[], value);
        }
    }
    for pool in root.names(FOLDER) {
        if root.path(&format!("{FOLDER}/{pool}")).is_dir() {
            tell_pool(root, &pool, out);
        }
    }
    Some(())
}

fn numbers(text: &str) -> impl Iterator<Item = (&str, f64)> {
    let lines = text.lines().skip_while(|line| line.split_whitespace().ne(["name", "type", "data"]));
    lines.skip(1).filter_map(|line| {
        let mut words = line.split_whitespace();
        let (name, kind, data) = (words.next()?, words.next()?, words.next()?);
        // Signed or not, both are read as they are written.
        matches!(kind, "3" | "4").then_some((name, data.parse().ok()?))
    })
}

fn tell_pool(root: &Root, pool: &str, out: &mut Samples) {
    let file = |name: &str| root.text(&format!("{FOLDER}/{pool}/{name}"));
    // A line of names and below it a line of numbers.
    let text = file("io").unwrap_or_default();
    let mut lines = text.lines().skip_while(|line| !line.trim_start().starts_with("nread"));
    if let (Some(names), Some(values)) = (lines.next(), lines.next()) {
        for (name, value) in names.split_whitespace().zip(values.split_whitespace()) {
            let Ok(value) = value.parse() else { continue };
            let help = format!("kstat.zfs.misc.io.{name}");
            out.untyped(&format!("node_zfs_zpool_{name}"), &help, &[("zpool", pool)], value);
        }
    }
    for name in root.names(&format!("{FOLDER}/{pool}")).iter().filter(|name| name.starts_with("objset-")) {
        let text = file(name).unwrap_or_default();
        // The name of a data set may hold spaces: all behind name and type.
        let data_set = text.lines().find_map(|line| {
            let rest = line.strip_prefix("dataset_name")?.trim_start();
            Some(rest.split_once(char::is_whitespace)?.1.trim_start())
        });
        let Some(data_set) = data_set else { continue };
        for (name, value) in numbers(&text) {
            let help = format!("kstat.zfs.misc.objset.{name}");
            let labels = [("zpool", pool), ("dataset", data_set)];
            out.untyped(&format!("node_zfs_zpool_dataset_{}", name.replace('-', "_")), &help, &labels, value);
        }
    }
    if let Some(state) = file("state") {
        let state = state.trim().to_lowercase();
        for known in STATES {
            let is_it = f64::from(u8::from(state == known));
            let labels = [("zpool", pool), ("state", known)];
            out.gauge("node_zfs_zpool_state", "kstat.zfs.misc.state", &labels, is_it);
        }
    }
}
