//! /proc/stat, load, pressure, schedstat, frequencies.

use crate::host::Root;
use crate::samples::Samples;

/// Ticks of /proc/stat; 100 on every Linux that distributions build.
const USER_HZ: f64 = 100.0;

const MODES: [&str; 8] = ["user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal"];

pub fn collect(root: &Root, out: &mut Samples) {
    stat(root, out);
    load(root, out);
    pressure(root, out);
    schedstat(root, out);
    frequencies(root, out);
}

fn stat(root: &Root, out: &mut Samples) {
    for line in root.text("proc/stat").unwrap_or_default().lines() {
        let mut words = line.split_ascii_whitespace();
        let Some(key) = words.next() else { continue };
        let mut number = || words.next().and_then(|word| word.parse::<f64>().ok());
        match key {
            "intr" => out.counter(
                "node_intr_total",
                "Total number of interrupts serviced.",
                &[],
                number().unwrap_or(0.0),
            ),
            "ctxt" => {
                out.counter(
                    "node_context_switches_total",
                    "Total number of context switches.",
                    &[],
                    number().unwrap_or(0.0),
                );
            }
            "processes" => {
                out.counter("node_forks_total", "Total number of forks.", &[], number().unwrap_or(0.0))
            }
            "procs_running" => {
                out.gauge(
                    "node_procs_running",
                    "Number of processes in runnable state.",
                    &[],
                    number().unwrap_or(0.0),
                );
            }
            "procs_blocked" => {
                let help = "Number of processes blocked waiting for I/O to complete.";
                out.gauge("node_procs_blocked", help, &[], number().unwrap_or(0.0));
            }
            "btime" => {
                let help = "Node boot time, in unixtime.";
                out.gauge("node_boot_time_seconds", help, &[], number().unwrap_or(0.0));
            }
            _ => {
                if let Some(cpu) = key.strip_prefix("cpu").filter(|cpu| !cpu.is_empty()) {
                    let ticks: Vec<f64> = std::iter::from_fn(number).collect();
                    one_cpu(cpu, &ticks, out);
                }
            }
        }
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

fn load(root: &Root, out: &mut Samples) {
    let text = root.text("proc/loadavg").unwrap_or_default();
    let numbers = text.split_ascii_whitespace().filter_map(|word| word.parse().ok());
    let names = [
        ("node_load1", "1m load average."),
        ("node_load5", "5m load average."),
        ("node_load15", "15m load average."),
    ];
    for ((name, help), value) in names.into_iter().zip(numbers) {
        out.gauge(name, help, &[], value);
    }
}

/// `some` is time in which some task waited, `full` time in which all did.
fn pressure(root: &Root, out: &mut Samples) {
    for resource in ["cpu", "io", "memory"] {
        for line in root.text(&format!("proc/pressure/{resource}")).unwrap_or_default().lines() {
            let total = line
                .split_ascii_whitespace()
                .find_map(|word| word.strip_prefix("total=")?.parse::<f64>().ok());
            let kind = match line.split_ascii_whitespace().next() {
                Some("some") => "waiting",
                Some("full") if resource != "cpu" => "stalled",
                _ => continue,
            };
            let name = format!("node_pressure_{resource}_{kind}_seconds_total");
            let help = format!("Total time in seconds that processes have been {kind} for {resource}.");
            out.counter(&name, &help, &[], total.unwrap_or(0.0) / 1e6);
        }
    }
}

fn schedstat(root: &Root, out: &mut Samples) {
    for line in root.text("proc/schedstat").unwrap_or_default().lines() {
        let mut words = line.split_ascii_whitespace();
        let Some(cpu) = words.next().and_then(|word| word.strip_prefix("cpu")) else { continue };
        let numbers: Vec<f64> = words.filter_map(|word| word.parse().ok()).collect();
        let [.., running, waiting, slices] = numbers[..] else { continue };
        let labels = [("cpu", cpu)];
        out.counter(
            "node_schedstat_running_seconds_total",
            "Number of seconds CPU spent running a process.",
            &labels,
            running / 1e9,
        );
        let help = "Number of seconds spent by processing waiting for this CPU.";
        out.counter("node_schedstat_waiting_seconds_total", help, &labels, waiting / 1e9);
        out.counter(
            "node_schedstat_timeslices_total",
            "Number of timeslices executed by CPU.",
            &labels,
            slices,
        );
    }
}

fn frequencies(root: &Root, out: &mut Samples) {
    for name in root.names("sys/devices/system/cpu") {
        let Some(cpu) = name.strip_prefix("cpu").filter(|cpu| cpu.bytes().all(|byte| byte.is_ascii_digit()))
        else {
            continue;
        };
        for (file, metric) in [
            ("scaling_cur_freq", "node_cpu_scaling_frequency_hertz"),
            ("scaling_min_freq", "node_cpu_scaling_frequency_min_hertz"),
            ("scaling_max_freq", "node_cpu_scaling_frequency_max_hertz"),
        ] {
            if let Some(khz) = root.number(&format!("sys/devices/system/cpu/{name}/cpufreq/{file}")) {
                out.gauge(metric, "Scaled CPU thread frequency in hertz.", &[("cpu", cpu)], khz * 1e3);
            }
        }
    }
}
