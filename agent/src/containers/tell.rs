//! The numbers of a group as series, by cAdvisor's names.

use super::stats::{PRESSURES, Stats};
use crate::host::Root;
use crate::samples::Samples;

type Labels<'l> = [(&'l str, &'l str)];

/// CPU and memory, under `container_` or `cgroup_`.
pub fn brief(prefix: &str, stats: &Stats, labels: &Labels<'_>, out: &mut Samples) {
    if let Some(seconds) = stats.cpu_seconds.filter(|seconds| *seconds > 0.0) {
        let help = "Cumulative cpu time consumed in seconds.";
        let mut of_all = labels.to_vec();
        of_all.push(("cpu", "total"));
        out.counter(&format!("{prefix}_cpu_usage_seconds_total"), help, &of_all, seconds);
    }
    if let Some(memory) = &stats.memory {
        let help = "Current working set in bytes.";
        out.gauge(&format!("{prefix}_memory_working_set_bytes"), help, labels, memory.working_set());
    }
}

pub fn all(stats: &Stats, labels: &Labels<'_>, out: &mut Samples) {
    brief("container", stats, labels, out);
    cpu(stats, labels, out);
    memory(stats, labels, out);
    pressure(stats, labels, out);
    disks(stats, labels, out);
    processes(stats, labels, out);
    limits(stats, labels, out);
    if let Some(began) = stats.began {
        let help = "Start time of the container since unix epoch in seconds.";
        out.gauge("container_start_time_seconds", help, labels, began);
    }
    let seen = out.now_ns().div_euclid(1_000_000_000) as f64;
    out.gauge("container_last_seen", "Last time a container was seen by the exporter", labels, seen);
}

fn cpu(stats: &Stats, labels: &Labels<'_>, out: &mut Samples) {
    for (name, help, value) in [
        ("user", "Cumulative user cpu time consumed in seconds.", stats.cpu_user_seconds),
        ("system", "Cumulative system cpu time consumed in seconds.", stats.cpu_system_seconds),
    ] {
        if let Some(value) = value {
            out.counter(&format!("container_cpu_{name}_seconds_total"), help, labels, value);
        }
    }
    let Some(throttling) = &stats.throttling else { return };
    for (name, help, value) in [
        ("periods", "Number of elapsed enforcement period intervals.", throttling.periods),
        ("throttled_periods", "Number of throttled period intervals.", throttling.throttled_periods),
        (
            "throttled_seconds",
            "Total time duration the container has been throttled.",
            throttling.throttled_seconds,
        ),
        ("burst_periods", "Number of periods when burst occurs.", throttling.burst_periods),
        ("burst_seconds", "Total time duration the container has been bursted.", throttling.burst_seconds),
    ] {
        out.counter(&format!("container_cpu_cfs_{name}_total"), help, labels, value);
    }
}

fn memory(stats: &Stats, labels: &Labels<'_>, out: &mut Samples) {
    let Some(memory) = &stats.memory else { return };
    let usage = "Current memory usage in bytes, including all memory regardless of when it was accessed";
    for (name, help, value) in [
        ("usage_bytes", usage, Some(memory.usage)),
        ("max_usage_bytes", "Maximum memory usage recorded in bytes", memory.max_usage),
        ("cache", "Number of bytes of page cache memory.", Some(memory.cache)),
        ("rss", "Size of RSS in bytes.", Some(memory.rss)),
        ("swap", "Container swap usage in bytes.", memory.swap),
        ("mapped_file", "Size of memory mapped files in bytes.", Some(memory.mapped_file)),
        ("kernel_usage", "Size of kernel memory allocated in bytes.", memory.kernel),
        ("total_active_file_bytes", "Current total active file in bytes.", Some(memory.active_file)),
        ("total_inactive_file_bytes", "Current total inactive file in bytes.", Some(memory.inactive_file)),
    ] {
        if let Some(value) = value {
            out.gauge(&format!("container_memory_{name}"), help, labels, value);
        }
    }
    if let Some(failures) = memory.failures {
        let help = "Number of memory usage hits limits";
        out.counter("container_memory_failcnt", help, labels, failures);
    }
    let mut of_faults = labels.to_vec();
    let at = of_faults.len();
    of_faults.extend([("failure_type", ""), ("scope", "")]);
    for (scope, counts) in ["container", "hierarchy"].iter().zip(memory.faults) {
        for (kind, count) in ["pgfault", "pgmajfault"].iter().zip(counts) {
            (of_faults[at].1, of_faults[at + 1].1) = (kind, scope);
            let help = "Cumulative count of memory allocation failures.";
            out.counter("container_memory_failures_total", help, &of_faults, count);
        }
    }
}

/// Help by resource and kind, as in cAdvisor.
const PRESSURE_HELP: [(&str, &str, &str); 3] = [
    (
        "cpu",
        "Total time duration tasks in the container have waited due to CPU congestion.",
        "Total time duration no tasks in the container could make progress due to CPU congestion.",
    ),
    (
        "memory",
        "Total time duration tasks in the container have waited due to memory congestion.",
        "Total time duration no tasks in the container could make progress due to memory congestion.",
    ),
    (
        "io",
        "Total time duration tasks in the container have waited due to IO congestion.",
        "Total time duration no tasks in the container could make progress due to IO congestion.",
    ),
];

fn pressure(stats: &Stats, labels: &Labels<'_>, out: &mut Samples) {
    debug_assert!(PRESSURES.iter().zip(&PRESSURE_HELP).all(|(name, help)| *name == help.0));
    for (pressure, (name, waiting, stalled)) in stats.pressure.iter().zip(PRESSURE_HELP) {
        let Some(pressure) = pressure else { continue };
        for (kind, help, value) in
            [("waiting", waiting, pressure.waiting_seconds), ("stalled", stalled, pressure.stalled_seconds)]
        {
            out.counter(&format!("container_pressure_{name}_{kind}_seconds_total"), help, labels, value);
        }
    }
}

fn disks(stats: &Stats, labels: &Labels<'_>, out: &mut Samples) {
    for device in &stats.devices {
        let mut of_device = labels.to_vec();
        of_device.push(("device", &device.name));
        for (name, help, value) in [
            ("reads_bytes", "Cumulative count of bytes read", Some(device.read_bytes)),
            ("writes_bytes", "Cumulative count of bytes written", Some(device.written_bytes)),
            ("reads", "Cumulative count of reads completed", device.reads),
            ("writes", "Cumulative count of writes completed", device.writes),
        ] {
            if let Some(value) = value {
                out.counter(&format!("container_fs_{name}_total"), help, &of_device, value);
            }
        }
        of_device.extend([("major", device.major.as_str()), ("minor", &device.minor), ("operation", "")]);
        let at = of_device.len() - 1;
        for (operation, value) in [("Read", device.read_bytes), ("Write", device.written_bytes)] {
            of_device[at].1 = operation;
            let help = "Blkio Device bytes usage";
            out.counter("container_blkio_device_usage_total", help, &of_device, value);
        }
    }
}

fn processes(stats: &Stats, labels: &Labels<'_>, out: &mut Samples) {
    for (name, help, value) in [
        ("processes", "Number of processes running inside the container.", stats.processes),
        ("threads", "Number of threads running inside the container", stats.threads),
        (
            "threads_max",
            "Maximum number of threads allowed inside the container, infinity if value is zero",
            stats.threads_max,
        ),
        ("file_descriptors", "Number of open file descriptors for the container.", stats.file_descriptors),
    ] {
        if let Some(value) = value {
            out.gauge(&format!("container_{name}"), help, labels, value);
        }
    }
    if let Some(max) = stats.open_files_max {
        let help =
            "Soft ulimit values for the container root process. Unlimited if -1, except priority and nice";
        let mut of_limit = labels.to_vec();
        of_limit.push(("ulimit", "max_open_files"));
        out.gauge("container_ulimits_soft", help, &of_limit, max);
    }
}

fn limits(stats: &Stats, labels: &Labels<'_>, out: &mut Samples) {
    let limits = &stats.limits;
    for (name, help, value) in [
        ("cpu_period", "CPU period of the container.", limits.cpu_period),
        ("cpu_quota", "CPU quota of the container.", limits.cpu_quota),
        ("cpu_shares", "CPU share of the container.", limits.cpu_shares),
        ("memory_limit_bytes", "Memory limit for the container.", limits.memory),
        (
            "memory_reservation_limit_bytes",
            "Memory reservation limit for the container.",
            limits.memory_reservation,
        ),
        ("memory_swap_limit_bytes", "Memory swap limit for the container.", limits.memory_swap),
    ] {
        if let Some(value) = value {
            out.gauge(&format!("container_spec_{name}"), help, labels, value);
        }
    }
}

/// The machine as the kubelet tells of it beside its containers.
pub fn machine(root: &Root, out: &mut Samples) {
    let word = |path: &str| root.word(path).unwrap_or_default();
    let labels = [
        ("boot_id", word("proc/sys/kernel/random/boot_id")),
        ("machine_id", word("etc/machine-id")),
        ("system_uuid", word("sys/class/dmi/id/product_uuid").to_lowercase()),
    ];
    let labels: Vec<(&str, &str)> = labels.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let cpus = root.text("proc/stat").unwrap_or_default();
    let is_cpu = |line: &&str| {
        line.strip_prefix("cpu").is_some_and(|rest| rest.starts_with(|first: char| first.is_ascii_digit()))
    };
    let cores = cpus.lines().filter(is_cpu).count();
    if cores > 0 {
        out.gauge("machine_cpu_cores", "Number of logical CPU cores.", &labels, cores as f64);
    }
    let memory = root.text("proc/meminfo").unwrap_or_default();
    for (line, name, help) in [
        ("MemTotal:", "machine_memory_bytes", "Amount of memory installed on the machine."),
        ("SwapTotal:", "machine_swap_bytes", "Amount of swap memory available on the machine."),
    ] {
        let kib = memory.lines().find_map(|text| text.strip_prefix(line)?.split_whitespace().next());
        if let Some(kib) = kib.and_then(|kib| kib.parse::<f64>().ok()) {
            out.gauge(name, help, &labels, kib * 1024.0);
        }
    }
}
