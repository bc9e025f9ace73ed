//! /proc/diskstats, and what udev knows of each disk.

use crate::host::Root;
use crate::samples::Samples;
use std::collections::HashMap;

const SECTOR: f64 = 512.0;

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

pub fn diskstats(root: &Root, out: &mut Samples) -> Option<()> {
    for line in root.text("proc/diskstats")?.lines() {
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
        describe(root, device, (major, minor), out);
    }
    Some(())
}

/// What udev found out about a device when it appeared: `E:NAME=value` lines in a file of its number.
fn describe(root: &Root, device: &str, (major, minor): (&str, &str), out: &mut Samples) {
    let text = root.text(&format!("run/udev/data/b{major}:{minor}")).unwrap_or_default();
    let udev: HashMap<&str, &str> =
        text.lines().filter_map(|line| line.strip_prefix("E:")?.split_once('=')).collect();
    let property = |name: &str| udev.get(name).copied().unwrap_or("");
    let first = |names: &[&str]| {
        names.iter().map(|name| property(name)).find(|value| !value.is_empty()).unwrap_or("")
    };
    // The number printed on the disk where there is one; virtio disks have only the last.
    let serial = first(&["SCSI_IDENT_SERIAL", "ID_SERIAL_SHORT", "ID_SERIAL"]);
    let rotates = root.number(&format!("sys/block/{device}/queue/rotational")) == Some(1.0);
    let labels = [
        ("device", device),
        ("major", major),
        ("minor", minor),
        ("path", property("ID_PATH")),
        ("wwn", property("ID_WWN")),
        ("model", property("ID_MODEL")),
        ("serial", serial),
        ("revision", property("ID_REVISION")),
        ("rotational", if rotates { "1" } else { "0" }),
    ];
    out.gauge("node_disk_info", "Info of /sys/block/<block_device>.", &labels, 1.0);
    if !property("ID_FS_TYPE").is_empty() {
        let labels = [
            ("device", device),
            ("type", property("ID_FS_TYPE")),
            ("usage", property("ID_FS_USAGE")),
            ("uuid", property("ID_FS_UUID")),
            ("version", property("ID_FS_VERSION")),
        ];
        out.gauge("node_disk_filesystem_info", "Info about disk filesystem.", &labels, 1.0);
    }
    if !property("DM_NAME").is_empty() {
        let labels = [
            ("device", device),
            ("name", property("DM_NAME")),
            ("uuid", property("DM_UUID")),
            ("vg_name", property("DM_VG_NAME")),
            ("lv_name", property("DM_LV_NAME")),
            ("lv_layer", property("DM_LV_LAYER")),
        ];
        out.gauge("node_disk_device_mapper_info", "Info about disk device mapper.", &labels, 1.0);
    }
    if property("ID_ATA").is_empty() {
        return;
    }
    for (name, metric, help) in [
        ("ID_ATA_WRITE_CACHE", "node_disk_ata_write_cache", "ATA disk has a write cache."),
        (
            "ID_ATA_WRITE_CACHE_ENABLED",
            "node_disk_ata_write_cache_enabled",
            "ATA disk has its write cache enabled.",
        ),
        (
            "ID_ATA_ROTATION_RATE_RPM",
            "node_disk_ata_rotation_rate_rpm",
            "ATA disk rotation rate in RPMs (0 for SSDs).",
        ),
    ] {
        if let Ok(value) = property(name).parse() {
            out.gauge(metric, help, &[("device", device)], value);
        }
    }
}

/// Partitions and devices in memory: `^(ram|loop|fd|(h|s|v|xv)d[a-z]|nvme\d+n\d+p)\d+$`.
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
