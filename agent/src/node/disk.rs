//! /proc/diskstats, and the space of mounted file systems.

use crate::host::Root;
use crate::samples::Samples;
use std::collections::HashSet;

const SECTOR: f64 = 512.0;

pub fn collect(root: &Root, out: &mut Samples) {
    diskstats(root, out);
    filesystems(root, out);
}

/// A field's place behind the device's name, its metric, and what its unit is multiplied by.
const FIELDS: [(&str, f64, &str); 17] = [
    ("node_disk_reads_completed_total", 1.0, "The total number of reads completed successfully."),
    ("node_disk_reads_merged_total", 1.0, "The total number of reads merged."),
    ("node_disk_read_bytes_total", SECTOR, "The total number of bytes read successfully."),
    ("node_disk_read_time_seconds_total", 1e-3, "The total number of seconds spent by all reads."),
    ("node_disk_writes_completed_total", 1.0, "The total number of writes completed successfully."),
    ("node_disk_writes_merged_total", 1.0, "The number of writes merged."),
    ("node_disk_written_bytes_total", SECTOR, "The total number of bytes written successfully."),
    ("node_disk_write_time_seconds_total", 1e-3, "This is the total number of seconds spent by all writes."),
    ("node_disk_io_now", 1.0, "The number of I/Os currently in progress."),
    ("node_disk_io_time_seconds_total", 1e-3, "Total seconds spent doing I/Os."),
    ("node_disk_io_time_weighted_seconds_total", 1e-3, "The weighted # of seconds spent doing I/Os."),
    ("node_disk_discards_completed_total", 1.0, "The total number of discards completed successfully."),
    ("node_disk_discards_merged_total", 1.0, "The total number of discards merged."),
    ("node_disk_discarded_sectors_total", 1.0, "The total number of sectors discarded successfully."),
    (
        "node_disk_discard_time_seconds_total",
        1e-3,
        "This is the total number of seconds spent by all discards.",
    ),
    ("node_disk_flush_requests_total", 1.0, "The total number of flush requests completed successfully"),
    (
        "node_disk_flush_requests_time_seconds_total",
        1e-3,
        "This is the total number of seconds spent by all flush requests.",
    ),
];

fn diskstats(root: &Root, out: &mut Samples) {
    for line in root.text("proc/diskstats").unwrap_or_default().lines() {
        let mut words = line.split_ascii_whitespace();
        let (Some(major), Some(minor), Some(device)) = (words.next(), words.next(), words.next()) else {
            continue;
        };
        if is_ignored(device) {
            continue;
        }
        let numbers = words.filter_map(|word| word.parse::<f64>().ok());
        for ((name, factor, help), number) in FIELDS.iter().zip(numbers) {
            let value = if *factor == 1e-3 { number / 1e3 } else { number * factor };
            match *name {
                "node_disk_io_now" => out.gauge(name, help, &[("device", device)], value),
                _ => out.counter(name, help, &[("device", device)], value),
            }
        }
        let attribute =
            |file: &str| root.word(&format!("sys/block/{device}/device/{file}")).unwrap_or_default();
        let (model, revision) = (attribute("model"), attribute("rev"));
        let labels = [
            ("device", device),
            ("major", major),
            ("minor", minor),
            ("model", &*model),
            ("revision", &*revision),
        ];
        out.gauge("node_disk_info", "Info of /sys/block/<block_device>.", &labels, 1.0);
    }
}

/// Partitions and devices in memory: `^(z?ram|loop|fd|(h|s|v|xv)d[a-z]|nvme\d+n\d+p)\d+$`.
fn is_ignored(device: &str) -> bool {
    let base = device.trim_end_matches(|c: char| c.is_ascii_digit());
    if base.len() == device.len() {
        return false;
    }
    let is_letter_disk = ["hd", "sd", "vd", "xvd"].iter().any(|kind| {
        base.strip_prefix(kind).is_some_and(|rest| rest.len() == 1 && rest.as_bytes()[0].is_ascii_lowercase())
    });
    let is_nvme_partition = base.starts_with("nvme") && base.ends_with('p');
    matches!(base, "ram" | "loop" | "fd") || is_letter_disk || is_nvme_partition
}

/// File systems that have no space of their own.
const KINDS_WITHOUT_SPACE: [&str; 26] = [
    "autofs",
    "binfmt_misc",
    "bpf",
    "cgroup",
    "cgroup2",
    "configfs",
    "debugfs",
    "devpts",
    "devtmpfs",
    "fusectl",
    "hugetlbfs",
    "iso9660",
    "mqueue",
    "nsfs",
    "overlay",
    "proc",
    "procfs",
    "pstore",
    "rpc_pipefs",
    "securityfs",
    "selinuxfs",
    "squashfs",
    "erofs",
    "sysfs",
    "tracefs",
    "efivarfs",
];

fn filesystems(root: &Root, out: &mut Samples) {
    let mounts = root.text("proc/1/mounts").or_else(|| root.text("proc/mounts")).unwrap_or_default();
    let mut seen = HashSet::new();
    for line in mounts.lines() {
        let words: Vec<&str> = line.split(' ').collect();
        let [device, point, kind, options, ..] = words[..] else { continue };
        let point = unescaped(point);
        if KINDS_WITHOUT_SPACE.contains(&kind)
            || is_ignored_point(&point)
            || !seen.insert((device.to_owned(), point.clone()))
        {
            continue;
        }
        let labels = [("device", device), ("fstype", kind), ("mountpoint", &*point)];
        let read_only = options.split(',').any(|option| option == "ro");
        let space = rustix::fs::statvfs(root.path(&point));
        let failed = f64::from(u8::from(space.is_err()));
        out.gauge(
            "node_filesystem_device_error",
            "Whether an error occurred while getting statistics for the given device.",
            &labels,
            failed,
        );
        let Ok(space) = space else { continue };
        let bytes = |blocks: u64| (blocks as f64) * space.f_frsize as f64;
        out.gauge("node_filesystem_size_bytes", "Filesystem size in bytes.", &labels, bytes(space.f_blocks));
        out.gauge(
            "node_filesystem_free_bytes",
            "Filesystem free space in bytes.",
            &labels,
            bytes(space.f_bfree),
        );
        let help = "Filesystem space available to non-root users in bytes.";
        out.gauge("node_filesystem_avail_bytes", help, &labels, bytes(space.f_bavail));
        out.gauge("node_filesystem_files", "Filesystem total file nodes.", &labels, space.f_files as f64);
        out.gauge(
            "node_filesystem_files_free",
            "Filesystem total free file nodes.",
            &labels,
            space.f_ffree as f64,
        );
        let read_only = f64::from(u8::from(read_only));
        out.gauge("node_filesystem_readonly", "Filesystem read-only status.", &labels, read_only);
    }
}

fn is_ignored_point(point: &str) -> bool {
    let under = |folder: &str| {
        point.strip_prefix(folder).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    let below = |folder: &str| point.strip_prefix(folder).is_some_and(|rest| rest.starts_with('/'));
    under("/dev")
        || under("/proc")
        || under("/sys")
        || below("/run/credentials")
        || below("/var/lib/docker")
        || below("/var/lib/containers/storage")
        || below("/var/lib/kubelet/pods")
}

/// Spaces and the like are written in octal.
fn unescaped(point: &str) -> String {
    point.replace("\\040", " ").replace("\\011", "\t").replace("\\012", "\n").replace("\\134", "\\")
}
