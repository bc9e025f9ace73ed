//! Disks that are reached by several ways (device mapper's multipath): how many of the ways work.

use crate::host::Root;
use crate::samples::Samples;

const FOLDER: &str = "sys/block";

/// The kernel's sectors.
const SECTOR: f64 = 512.0;

pub fn dmmultipath(root: &Root, out: &mut Samples) -> Option<()> {
    let mut found = None;
    for name in root.names(FOLDER).into_iter().filter(|name| name.starts_with("dm-")) {
        let word = |file: &str| root.word(&format!("{FOLDER}/{name}/{file}"));
        // Volumes and encrypted disks are of the same mapper, under other uuids.
        let Some(uuid) = word("dm/uuid").filter(|uuid| uuid.starts_with("mpath-")) else { continue };
        found = Some(());
        let device = word("dm/name").unwrap_or_default();
        let labels = [("device", &*device), ("sysfs_name", &*name)];
        let help = "Non-numeric information about a DM-multipath device.";
        out.gauge("node_dmmultipath_device_info", help, &[labels[0], labels[1], ("uuid", &uuid)], 1.0);
        let is_active = word("dm/suspended").is_some_and(|suspended| suspended == "0");
        let help = "Whether the multipath device-mapper device is active (1) or suspended (0).";
        out.gauge("node_dmmultipath_device_active", help, &labels, f64::from(u8::from(is_active)));
        if let Some(sectors) = root.number(&format!("{FOLDER}/{name}/size")) {
            let help = "Size of the multipath device in bytes, read from /sys/block/<dm>/size.";
            out.gauge("node_dmmultipath_device_size_bytes", help, &labels, sectors * SECTOR);
        }
        let paths = root.names(&format!("{FOLDER}/{name}/slaves"));
        let mut working = 0;
        for path in &paths {
            let state =
                root.word(&format!("{FOLDER}/{path}/device/state")).unwrap_or_else(|| "unknown".into());
            working += usize::from(matches!(&*state, "running" | "live"));
            let labels = [labels[0], ("path", &**path), ("state", &*state)];
            let help = "Reports the underlying device state for a multipath path, as read from /sys/block/<dev>/device/state.";
            out.gauge("node_dmmultipath_path_state", help, &labels, 1.0);
        }
        for (metric, help, count) in [
            ("paths", "Number of paths for a multipath device.", paths.len()),
            (
                "paths_active",
                "Number of paths in active state (SCSI running or NVMe live) for a multipath device.",
                working,
            ),
            (
                "paths_failed",
                "Number of paths not in active state for a multipath device.",
                paths.len() - working,
            ),
        ] {
            out.gauge(&format!("node_dmmultipath_device_{metric}"), help, &labels, count as f64);
        }
    }
    found
}
