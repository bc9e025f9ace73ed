//! Parts that break or are chosen: memory errors, watchdogs, NVMe drives, bonded interfaces.

use crate::host::Root;
use crate::samples::Samples;

pub fn edac(root: &Root, out: &mut Samples) -> Option<()> {
    const FOLDER: &str = "sys/devices/system/edac/mc";
    for (controller, folder) in numbered(root, FOLDER, "mc") {
        let labels = [("controller", &*controller)];
        let rest = [("controller", &*controller), ("csrow", "unknown")];
        count(root, &folder, "ce_count", ["", "correctable"], &labels, out);
        count(root, &folder, "ce_noinfo_count", ["csrow_", "correctable"], &rest, out);
        count(root, &folder, "ue_count", ["", "uncorrectable"], &labels, out);
        count(root, &folder, "ue_noinfo_count", ["csrow_", "uncorrectable"], &rest, out);
        for (row, folder) in numbered(root, &folder, "csrow") {
            let labels = [("controller", &*controller), ("csrow", &*row)];
            count(root, &folder, "ce_count", ["csrow_", "correctable"], &labels, out);
            count(root, &folder, "ue_count", ["csrow_", "uncorrectable"], &labels, out);
            for file in root.names(&folder) {
                let channel = file.strip_prefix("ch").and_then(|rest| rest.strip_suffix("_ce_count"));
                let Some(channel) = channel else { continue };
                let dimm = dimm_label(root.word(&format!("{folder}/ch{channel}_dimm_label")));
                let labels = [
                    ("controller", &*controller),
                    ("csrow", &*row),
                    ("channel", channel),
                    ("dimm_label", &*dimm),
                ];
                let (kind, other) = (["channel_", "correctable"], ["channel_", "uncorrectable"]);
                count(root, &folder, &file, kind, &labels, out);
                count(root, &folder, &format!("ch{channel}_ue_count"), other, &labels, out);
            }
        }
    }
    Some(())
}

/// `mc#0csrow#1channel#0` is `mc0_csrow1_channel0`.
fn dimm_label(written: Option<String>) -> String {
    let Some(label) = written else { return "unknown".into() };
    label.replace('#', "").replace("csrow", "_csrow").replace("channel", "_channel")
}

fn count(
    root: &Root,
    folder: &str,
    file: &str,
    [part, kind]: [&str; 2],
    labels: &[(&str, &str)],
    out: &mut Samples,
) {
    let Some(errors) = root.number(&format!("{folder}/{file}")) else { return };
    let of = match part {
        "csrow_" => " for this csrow",
        "channel_" => " for this channel",
        _ => "",
    };
    let help = format!("Total {kind} memory errors{of}.");
    out.counter(&format!("node_edac_{part}{kind}_errors_total"), &help, labels, errors);
}

/// Folders `<prefix><number>`: the number and the folder's path.
fn numbered(root: &Root, folder: &str, prefix: &str) -> Vec<(String, String)> {
    let names = root.names(folder).into_iter();
    let numbers = names.filter_map(|name| {
        let number = name.strip_prefix(prefix)?;
        let is_number = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
        is_number.then(|| (number.to_owned(), format!("{folder}/{name}")))
    });
    numbers.collect()
}

pub fn watchdog(root: &Root, out: &mut Samples) -> Option<()> {
    const FOLDER: &str = "sys/class/watchdog";
    const NUMBERS: [(&str, &str, &str); 7] = [
        ("bootstatus", "bootstatus", "Value of /sys/class/watchdog/<watchdog>/bootstatus"),
        ("fw_version", "fw_version", "Value of /sys/class/watchdog/<watchdog>/fw_version"),
        ("nowayout", "nowayout", "Value of /sys/class/watchdog/<watchdog>/nowayout"),
        ("timeleft", "timeleft_seconds", "Value of /sys/class/watchdog/<watchdog>/timeleft"),
        ("timeout", "timeout_seconds", "Value of /sys/class/watchdog/<watchdog>/timeout"),
        ("pretimeout", "pretimeout_seconds", "Value of /sys/class/watchdog/<watchdog>/pretimeout"),
        ("access_cs0", "access_cs0", "Value of /sys/class/watchdog/<watchdog>/access_cs0"),
    ];
    if !root.path(FOLDER).is_dir() {
        return None;
    }
    for name in root.names(FOLDER) {
        let file = |file: &str| root.word(&format!("{FOLDER}/{name}/{file}")).unwrap_or_default();
        for (of, metric, help) in NUMBERS {
            if let Ok(number) = file(of).parse() {
                out.gauge(&format!("node_watchdog_{metric}"), help, &[("name", &name)], number);
            }
        }
        let (options, identity, state, status, governor) =
            (file("options"), file("identity"), file("state"), file("status"), file("pretimeout_governor"));
        let labels = [
            ("name", &*name),
            ("options", &*options),
            ("identity", &*identity),
            ("state", &*state),
            ("status", &*status),
            ("pretimeout_governor", &*governor),
        ];
        out.gauge("node_watchdog_info", "Info of /sys/class/watchdog/<watchdog>", &labels, 1.0);
    }
    Some(())
}

/// A namespace's folder is `<device>n<number>`, or with several paths `<device>c<path>n<number>`.
pub fn nvme(root: &Root, out: &mut Samples) -> Option<()> {
    const FOLDER: &str = "sys/class/nvme";
    if !root.path(FOLDER).is_dir() {
        return None;
    }
    for (_, folder) in numbered(root, FOLDER, "nvme") {
        let device = folder.rsplit('/').next().unwrap_or_default().to_owned();
        let file = |file: &str| root.word(&format!("{folder}/{file}")).unwrap_or_default();
        let (firmware, model, serial, state, controller) =
            (file("firmware_rev"), file("model"), file("serial"), file("state"), file("cntlid"));
        let labels = [
            ("device", &*device),
            ("firmware_revision", &*firmware),
            ("model", &*model),
            ("serial", &*serial),
            ("state", &*state),
            ("cntlid", &*controller),
        ];
        let help = "Non-numeric data from /sys/class/nvme/<device>, value is always 1.";
        out.gauge("node_nvme_info", help, &labels, 1.0);
        for name in root.names(&folder) {
            let Some((_, number)) = name.strip_prefix(&*device).and_then(|rest| rest.rsplit_once('n')) else {
                continue;
            };
            if !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()) {
                nvme_namespace(root, &format!("{folder}/{name}"), &device, number, out);
            }
        }
    }
    Some(())
}

/// Sizes are in blocks of the kernel's 512 bytes, use in blocks of the drive's own size.
fn nvme_namespace(root: &Root, folder: &str, device: &str, number: &str, out: &mut Samples) {
    let labels = [("device", device), ("nsid", number)];
    let state = root.word(&format!("{folder}/ana_state")).unwrap_or_else(|| "unknown".into());
    let info = [("device", device), ("nsid", number), ("ana_state", &*state)];
    let help = "Information about NVMe namespaces. Value is always 1";
    out.gauge("node_nvme_namespace_info", help, &info, 1.0);
    let block = root.number(&format!("{folder}/queue/logical_block_size"));
    let blocks = root.number(&format!("{folder}/size"));
    let used = root.number(&format!("{folder}/nuse"));
    let size = blocks.zip(block).map(|(blocks, block)| blocks * block);
    for (name, help, value) in [
        (
            "capacity_bytes",
            "Capacity of the NVMe namespace in bytes. Computed as namespace_size * namespace_logical_block_size",
            size,
        ),
        (
            "size_bytes",
            "Size of the NVMe namespace in bytes. Available in /sys/class/nvme/<device>/<namespace>/size",
            size,
        ),
        (
            "used_bytes",
            "Used space of the NVMe namespace in bytes. Available in /sys/class/nvme/<device>/<namespace>/nuse",
            used.zip(block).map(|(used, block)| used * block),
        ),
        (
            "logical_block_size_bytes",
            "Logical block size of the NVMe namespace in bytes. Usually 4Kb. Available in /sys/class/nvme/<device>/<namespace>/queue/logical_block_size",
            block,
        ),
    ] {
        if let Some(value) = value {
            out.gauge(&format!("node_nvme_namespace_{name}"), help, &labels, value);
        }
    }
}

pub fn bonding(root: &Root, out: &mut Samples) -> Option<()> {
    const FOLDER: &str = "sys/class/net";
    for master in root.text(&format!("{FOLDER}/bonding_masters"))?.split_ascii_whitespace() {
        let slaves = root.text(&format!("{FOLDER}/{master}/bonding/slaves"))?;
        let slaves: Vec<&str> = slaves.split_ascii_whitespace().collect();
        let is_up = |slave: &&&str| {
            let state = |prefix: &str| {
                root.word(&format!("{FOLDER}/{master}/{prefix}_{slave}/bonding_slave/mii_status"))
            };
            // Older kernels call it `slave_`.
            state("lower").or_else(|| state("slave")).as_deref() == Some("up")
        };
        let active = slaves.iter().filter(is_up).count();
        let labels = [("master", master)];
        let help = "Number of configured slaves per bonding interface.";
        out.gauge("node_bonding_slaves", help, &labels, slaves.len() as f64);
        let help = "Number of active slaves per bonding interface.";
        out.gauge("node_bonding_active", help, &labels, active as f64);
    }
    Some(())
}
