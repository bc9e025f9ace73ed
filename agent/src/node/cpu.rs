//! What CPUs did: /proc/stat, load, pressure, schedstat, frequencies, throttling.

use super::USER_HZ;
use crate::host::Root;
use crate::samples::Samples;
use std::collections::BTreeMap;

const MODES: [&str; 8] = ["user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal"];

/// Lines of /proc/stat that are about the whole machine.
pub fn stat(root: &Root, out: &mut Samples) -> Option<()> {
    for line in root.text("proc/stat")?.lines() {
        let Some((key, rest)) = line.split_once(' ') else { continue };
        let number = rest.split_ascii_whitespace().next().and_then(|word| word.parse().ok()).unwrap_or(0.0);
        match key {
            "intr" => out.counter("node_intr_total", "Total number of interrupts serviced.", &[], number),
            "ctxt" => {
                let help = "Total number of context switches.";
                out.counter("node_context_switches_total", help, &[], number);
            }
            "processes" => out.counter("node_forks_total", "Total number of forks.", &[], number),
            "procs_running" => {
                let help = "Number of processes in runnable state.";
                out.gauge("node_procs_running", help, &[], number);
            }
            "procs_blocked" => {
                let help = "Number of processes blocked waiting for I/O to complete.";
                out.gauge("node_procs_blocked", help, &[], number);
            }
            "btime" => {
                out.gauge("node_boot_time_seconds", "Node boot time, in unixtime.", &[], number);
            }
            _ => {}
        }
    }
    Some(())
}

/// Its lines about one CPU each, and what /sys says of each.
pub fn cpu(root: &Root, out: &mut Samples) -> Option<()> {
    for line in root.text("proc/stat")?.lines() {
        let mut words = line.split_ascii_whitespace();
        let cpu = words.next().and_then(|key| key.strip_prefix("cpu")).filter(|cpu| !cpu.is_empty());
        if let Some(cpu) = cpu {
            let ticks: Vec<f64> = words.filter_map(|word| word.parse().ok()).collect();
            one_cpu(cpu, &ticks, out);
        }
    }
    for cpu in isolated(&root.word(&format!("{CPUS}/isolated")).unwrap_or_default()) {
        let help = "Whether each core is isolated, information from /sys/devices/system/cpu/isolated.";
        out.gauge("node_cpu_isolated", help, &[("cpu", &cpu.to_string())], 1.0);
    }
    throttles(root, out);
    online(root, out);
    Some(())
}

const CPUS: &str = "sys/devices/system/cpu";

/// CPUs by number, as the folder of each is called.
fn numbers(root: &Root) -> Vec<String> {
    let names = root.names(CPUS).into_iter();
    let numbers = names.filter_map(|name| name.strip_prefix("cpu").map(str::to_owned));
    numbers.filter(|n| !n.is_empty() && n.bytes().all(|byte| byte.is_ascii_digit())).collect()
}

/// `1,3-5`; a range of more CPUs than Linux has is not one.
fn isolated(text: &str) -> Vec<u32> {
    const CPUS_MAX: u32 = 8_192;
    let ranges = text.split(',').filter_map(|range| {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        Some(first.trim().parse::<u32>().ok()?..=last.trim().parse::<u32>().ok()?.min(CPUS_MAX))
    });
    ranges.flatten().collect()
}

/// A core and a package have a count each, which all their threads show.
fn throttles(root: &Root, out: &mut Samples) {
    let (mut cores, mut packages) = (BTreeMap::new(), BTreeMap::new());
    for cpu in numbers(root) {
        let number = |file: &str| root.number(&format!("{CPUS}/cpu{cpu}/{file}"));
        let (Some(package), Some(core)) =
            (number("topology/physical_package_id"), number("topology/core_id"))
        else {
            continue;
        };
        let (package, core) = (package.to_string(), core.to_string());
        if let Some(count) = number("thermal_throttle/core_throttle_count") {
            cores.entry((package.clone(), core)).or_insert(count);
        }
        if let Some(count) = number("thermal_throttle/package_throttle_count") {
            packages.entry(package).or_insert(count);
        }
    }
    for ((package, core), count) in cores {
        let help = "Number of times this CPU core has been throttled.";
        let labels = [("package", &*package), ("core", &*core)];
        out.counter("node_cpu_core_throttles_total", help, &labels, count);
    }
    for (package, count) in packages {
        let help = "Number of times this CPU package has been throttled.";
        out.counter("node_cpu_package_throttles_total", help, &[("package", &package)], count);
    }
}

/// Only where CPUs can be taken offline: the first one then has the file, too.
fn online(root: &Root, out: &mut Samples) {
    if !root.path(&format!("{CPUS}/cpu0/online")).exists() {
        return;
    }
    for cpu in numbers(root) {
        let is_online = root.number(&format!("{CPUS}/cpu{cpu}/online")).unwrap_or(0.0);
        let help = "CPUs that are online and being scheduled.";
        out.gauge("node_cpu_online", help, &[("cpu", &cpu)], is_online);
    }
}

fn one_cpu(cpu: &str, ticks: &[f64], out: &mut Samples) {
    for (mode, ticks) in MODES.iter().zip(ticks) {
        let help = "Seconds the CPUs spent in each mode.";
        out.counter("node_cpu_seconds_total", help, &[("cpu", cpu), ("mode", mode)], ticks / USER_HZ);
    }
    for (mode, ticks) in ["user", "nice"].iter().zip(ticks.iter().skip(MODES.len())) {
        let help = "Seconds the CPUs spent in guests (VMs) for each mode.";
        out.counter("node_cpu_guest_seconds_total", help, &[("cpu", cpu), ("mode", mode)], ticks / USER_HZ);
    }
}

pub fn loadavg(root: &Root, out: &mut Samples) -> Option<()> {
    let text = root.text("proc/loadavg")?;
    let numbers = text.split_ascii_whitespace().filter_map(|word| word.parse().ok());
    let names = [
        ("node_load1", "1m load average."),
        ("node_load5", "5m load average."),
        ("node_load15", "15m load average."),
    ];
    for ((name, help), value) in names.into_iter().zip(numbers) {
        out.gauge(name, help, &[], value);
    }
    Some(())
}

/// `some` is time in which some task waited, `full` time in which all did.
pub fn pressure(root: &Root, out: &mut Samples) -> Option<()> {
    const KINDS: [(&str, &str, &str, &str); 6] = [
        ("cpu", "some", "waiting", "Total time in seconds that processes have waited for CPU time"),
        ("io", "some", "waiting", "Total time in seconds that processes have waited due to IO congestion"),
        (
            "io",
            "full",
            "stalled",
            "Total time in seconds no process could make progress due to IO congestion",
        ),
        ("memory", "some", "waiting", "Total time in seconds that processes have waited for memory"),
        (
            "memory",
            "full",
            "stalled",
            "Total time in seconds no process could make progress due to memory congestion",
        ),
        (
            "irq",
            "full",
            "stalled",
            "Total time in seconds no process could make progress due to IRQ congestion",
        ),
    ];
    let mut found = None;
    for (resource, line, kind, help) in KINDS {
        let text = root.text(&format!("proc/pressure/{resource}")).unwrap_or_default();
        let total = text.lines().find_map(|text| {
            let numbers = text.strip_prefix(line)?.split_ascii_whitespace();
            numbers.filter_map(|word| word.strip_prefix("total=")?.parse::<f64>().ok()).next()
        });
        if let Some(total_us) = total {
            found = Some(());
            out.counter(&format!("node_pressure_{resource}_{kind}_seconds_total"), help, &[], total_us / 1e6);
        }
    }
    found
}

pub fn schedstat(root: &Root, out: &mut Samples) -> Option<()> {
    for line in root.text("proc/schedstat")?.lines() {
        let mut words = line.split_ascii_whitespace();
        let Some(cpu) = words.next().and_then(|word| word.strip_prefix("cpu")) else { continue };
        let numbers: Vec<f64> = words.filter_map(|word| word.parse().ok()).collect();
        let [.., running, waiting, slices] = numbers[..] else { continue };
        let labels = [("cpu", cpu)];
        let help = "Number of seconds CPU spent running a process.";
        out.counter("node_schedstat_running_seconds_total", help, &labels, running / 1e9);
        let help = "Number of seconds spent by processing waiting for this CPU.";
        out.counter("node_schedstat_waiting_seconds_total", help, &labels, waiting / 1e9);
        let help = "Number of timeslices executed by CPU.";
        out.counter("node_schedstat_timeslices_total", help, &labels, slices);
    }
    Some(())
}

/// Absent in most virtual machines, and then still no failure of the collector.
pub fn cpufreq(root: &Root, out: &mut Samples) -> Option<()> {
    const FILES: [(&str, &str, &str); 6] = [
        ("cpuinfo_cur_freq", "node_cpu_frequency_hertz", "Current CPU thread frequency in hertz."),
        ("cpuinfo_min_freq", "node_cpu_frequency_min_hertz", "Minimum CPU thread frequency in hertz."),
        ("cpuinfo_max_freq", "node_cpu_frequency_max_hertz", "Maximum CPU thread frequency in hertz."),
        (
            "scaling_cur_freq",
            "node_cpu_scaling_frequency_hertz",
            "Current scaled CPU thread frequency in hertz.",
        ),
        (
            "scaling_min_freq",
            "node_cpu_scaling_frequency_min_hertz",
            "Minimum scaled CPU thread frequency in hertz.",
        ),
        (
            "scaling_max_freq",
            "node_cpu_scaling_frequency_max_hertz",
            "Maximum scaled CPU thread frequency in hertz.",
        ),
    ];
    for cpu in numbers(root) {
        let file = |name: &str| format!("{CPUS}/cpu{cpu}/cpufreq/{name}");
        for (name, metric, help) in FILES {
            if let Some(khz) = root.number(&file(name)) {
                out.gauge(metric, help, &[("cpu", &cpu)], khz * 1e3);
            }
        }
        let Some(governor) = root.word(&file("scaling_governor")) else { continue };
        let available = root.word(&file("scaling_available_governors")).unwrap_or_default();
        for known in available.split_ascii_whitespace() {
            let help = "Current enabled CPU frequency governor.";
            let is_it = f64::from(u8::from(known == governor));
            out.gauge("node_cpu_scaling_governor", help, &[("cpu", &cpu), ("governor", known)], is_it);
        }
    }
    Some(())
}
