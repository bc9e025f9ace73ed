//! What the public dashboards show of the exporter itself, and list machines by: here this process, under the names of
//! Prometheus' clients.

use super::USER_HZ;
use crate::samples::Samples;

pub fn collect(out: &mut Samples) {
    let help = "What tells the node under node_exporter's names, by its version; always 1.";
    out.gauge("node_exporter_build_info", help, &[("version", env!("CARGO_PKG_VERSION"))], 1.0);
    let text = |file: &str| std::fs::read_to_string(format!("/proc/self/{file}")).unwrap_or_default();
    let stat = text("stat");
    // After the name, which may hold anything: the 14th field is the 12th of these.
    let fields: Vec<f64> = stat
        .rsplit_once(") ")
        .map(|(_, rest)| rest.split_ascii_whitespace().map(|word| word.parse().unwrap_or(0.0)).collect())
        .unwrap_or_default();
    let field = |number: usize| fields.get(number - 3).copied();
    if let (Some(user), Some(system)) = (field(14), field(15)) {
        let help = "Total user and system CPU time spent in seconds.";
        out.counter("process_cpu_seconds_total", help, &[], (user + system) / USER_HZ);
    }
    let boot = std::fs::read_to_string("/proc/stat").unwrap_or_default();
    let boot = boot.lines().find_map(|line| line.strip_prefix("btime ")?.trim().parse::<f64>().ok());
    if let (Some(ticks), Some(boot)) = (field(22), boot) {
        let help = "Start time of the process since unix epoch in seconds.";
        out.gauge("process_start_time_seconds", help, &[], boot + ticks / USER_HZ);
    }
    if let Some(bytes) = field(23) {
        out.gauge("process_virtual_memory_bytes", "Virtual memory size in bytes.", &[], bytes);
    }
    if let Some(pages) = field(24) {
        let help = "Resident memory size in bytes.";
        out.gauge("process_resident_memory_bytes", help, &[], pages * super::page_bytes());
    }
    if let Ok(open) = std::fs::read_dir("/proc/self/fd") {
        // One of them is the directory being read.
        let count = open.count().saturating_sub(1);
        out.gauge("process_open_fds", "Number of open file descriptors.", &[], count as f64);
    }
    let limits = text("limits");
    let limit = |name: &str| {
        let rest = limits.lines().find_map(|line| line.strip_prefix(name))?;
        match rest.split_ascii_whitespace().next()? {
            "unlimited" => Some(u64::MAX as f64),
            number => number.parse().ok(),
        }
    };
    if let Some(most) = limit("Max open files") {
        out.gauge("process_max_fds", "Maximum number of open file descriptors.", &[], most);
    }
    if let Some(most) = limit("Max address space") {
        let help = "Maximum amount of virtual memory available in bytes.";
        out.gauge("process_virtual_memory_max_bytes", help, &[], most);
    }
}
