//! Btrfs: how much is allocated and used by kind and layout, devices, commits.

use crate::host::Root;
use crate::samples::Samples;

const FOLDER: &str = "sys/fs/btrfs";

/// Sizes of devices are in the kernel's sectors.
const SECTOR: f64 = 512.0;

pub fn btrfs(root: &Root, out: &mut Samples) -> Option<()> {
    if !root.path(FOLDER).is_dir() {
        return None;
    }
    // Beside the file systems there is a folder of features.
    for uuid in root.names(FOLDER).into_iter().filter(|name| name.contains('-')) {
        let folder = format!("{FOLDER}/{uuid}");
        let label = root.word(&format!("{folder}/label")).unwrap_or_default();
        let labels = [("uuid", &*uuid)];
        out.gauge("node_btrfs_info", "Filesystem information", &[labels[0], ("label", &label)], 1.0);
        if let Some(bytes) = root.number(&format!("{folder}/allocation/global_rsv_size")) {
            out.gauge("node_btrfs_global_rsv_size_bytes", "Size of global reserve.", &labels, bytes);
        }
        tell_commits(root, &folder, &labels, out);
        let devices = root.names(&format!("{folder}/devices"));
        for kind in ["data", "metadata", "system"] {
            tell_allocation(root, &format!("{folder}/allocation/{kind}"), [&uuid, kind], devices.len(), out);
        }
        for device in devices {
            let sectors = root.number(&format!("{folder}/devices/{device}/size"));
            let help = "Size of a device that is part of the filesystem.";
            let labels = [labels[0], ("device", &device)];
            out.gauge("node_btrfs_device_size_bytes", help, &labels, sectors.unwrap_or(0.0) * SECTOR);
        }
    }
    Some(())
}

/// Kernels before 6.0 have no such file; node_exporter then says zero.
fn tell_commits(root: &Root, folder: &str, labels: &[(&str, &str)], out: &mut Samples) {
    let text = root.text(&format!("{folder}/commit_stats")).unwrap_or_default();
    let number = |name: &str| -> f64 {
        let found = text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok());
        found.unwrap_or(0.0)
    };
    let help = "The total number of commits that have occurred.";
    out.counter("node_btrfs_commits_total", help, labels, number("commits "));
    let help = "Sum of the duration of all commits, in seconds.";
    out.counter("node_btrfs_commit_seconds_total", help, labels, number("total_commit_ms ") / 1e3);
    let help = "Duration of the most recent commit, in seconds.";
    out.gauge("node_btrfs_last_commit_seconds", help, labels, number("last_commit_ms ") / 1e3);
    let help = "Duration of the slowest commit, in seconds.";
    out.gauge("node_btrfs_max_commit_seconds", help, labels, number("max_commit_ms ") / 1e3);
}

fn tell_allocation(root: &Root, folder: &str, [uuid, kind]: [&str; 2], devices: usize, out: &mut Samples) {
    let labels = [("uuid", uuid), ("block_group_type", kind)];
    if let Some(bytes) = root.number(&format!("{folder}/bytes_reserved")) {
        let help = "Amount of space reserved for a data type";
        out.gauge("node_btrfs_reserved_bytes", help, &labels, bytes);
    }
    for layout in root.names(folder) {
        let number = |file: &str| root.number(&format!("{folder}/{layout}/{file}"));
        let (Some(used), Some(size)) = (number("used_bytes"), number("total_bytes")) else { continue };
        let labels = [labels[0], labels[1], ("mode", &*layout)];
        out.gauge("node_btrfs_used_bytes", "Amount of used space by a layout/data type", &labels, used);
        let help = "Amount of space allocated for a layout/data type";
        out.gauge("node_btrfs_size_bytes", help, &labels, size);
        let help = "Data allocation ratio for a layout/data type";
        out.gauge("node_btrfs_allocation_ratio", help, &labels, copies(&layout, devices as f64));
    }
}

/// Bytes on disks for each byte that is kept. Of as many devices RAID 5 keeps one for parity, and RAID 6 two.
fn copies(layout: &str, devices: f64) -> f64 {
    match layout {
        "dup" | "raid1" | "raid10" => 2.0,
        "raid1c3" => 3.0,
        "raid1c4" => 4.0,
        "raid5" if devices > 1.0 => devices / (devices - 1.0),
        "raid6" if devices > 2.0 => devices / (devices - 2.0),
        _ => 1.0,
    }
}
