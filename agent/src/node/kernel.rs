//! Tables of the kernel: file handles, entropy, processes, hung tasks, SELinux.

use crate::host::Root;
use crate::samples::Samples;
use std::collections::BTreeMap;

pub fn filefd(root: &Root, out: &mut Samples) -> Option<()> {
    let handles = root.text("proc/sys/fs/file-nr")?;
    let numbers: Vec<f64> = handles.split_ascii_whitespace().filter_map(|word| word.parse().ok()).collect();
    let [allocated, _, maximum] = numbers[..] else { return None };
    out.gauge("node_filefd_allocated", "File descriptor statistics: allocated.", &[], allocated);
    out.gauge("node_filefd_maximum", "File descriptor statistics: maximum.", &[], maximum);
    Some(())
}

pub fn entropy(root: &Root, out: &mut Samples) -> Option<()> {
    let available = root.number("proc/sys/kernel/random/entropy_avail")?;
    out.gauge("node_entropy_available_bits", "Bits of available entropy.", &[], available);
    let size = root.number("proc/sys/kernel/random/poolsize")?;
    out.gauge("node_entropy_pool_size_bits", "Bits of entropy pool.", &[], size);
    Some(())
}

pub fn kernel_hung(root: &Root, out: &mut Samples) -> Option<()> {
    let tasks = root.number("proc/sys/kernel/hung_task_detect_count")?;
    let help = "Total number of tasks that have been detected as hung since the system boot.";
    out.counter("node_kernel_hung_tasks_total", help, &[], tasks);
    Some(())
}

/// Modes are numbers of the SELinux library: 1 enforcing, 0 permissive, -1 disabled.
pub fn selinux(root: &Root, out: &mut Samples) -> Option<()> {
    let enforced = root.number("sys/fs/selinux/enforce");
    let is_enabled = f64::from(u8::from(enforced.is_some()));
    out.gauge("node_selinux_enabled", "SELinux is enabled, 1 is true, 0 is false", &[], is_enabled);
    if let Some(mode) = enforced {
        let text = root.text("etc/selinux/config").unwrap_or_default();
        let configured = text.lines().find_map(|line| line.trim().strip_prefix("SELINUX=")).map(str::trim);
        let configured = match configured {
            Some("enforcing") => 1.0,
            Some("permissive") => 0.0,
            _ => -1.0,
        };
        out.gauge("node_selinux_config_mode", "Configured SELinux enforcement mode", &[], configured);
        out.gauge("node_selinux_current_mode", "Current SELinux enforcement mode", &[], mode);
    }
    Some(())
}

/// Processes by state. One file is read for each, so this is not for machines with very many.
pub fn processes(root: &Root, out: &mut Samples) -> Option<()> {
    let (mut pids, mut threads) = (0.0, 0.0);
    let mut states: BTreeMap<String, f64> = BTreeMap::new();
    for pid in root.names("proc").iter().filter(|name| name.bytes().all(|byte| byte.is_ascii_digit())) {
        // Gone since the folder was read.
        let Some(stat) = root.text(&format!("proc/{pid}/stat")) else { continue };
        // After the name, which is in brackets and may hold anything: state is the first, threads the eighteenth.
        let Some((_, rest)) = stat.rsplit_once(") ") else { continue };
        let words: Vec<&str> = rest.split_ascii_whitespace().collect();
        let (Some(state), Some(count)) = (words.first(), words.get(17)) else { continue };
        pids += 1.0;
        threads += count.parse().unwrap_or(0.0);
        *states.entry((*state).to_owned()).or_default() += 1.0;
    }
    if pids == 0.0 {
        return None;
    }
    out.gauge("node_processes_threads", "Allocated threads in system", &[], threads);
    if let Some(most) = root.number("proc/sys/kernel/threads-max") {
        out.gauge("node_processes_max_threads", "Limit of threads in the system", &[], most);
    }
    for (state, count) in states {
        let help = "Number of processes in each state.";
        out.gauge("node_processes_state", help, &[("state", &state)], count);
    }
    out.gauge("node_processes_pids", "Number of PIDs", &[], pids);
    if let Some(most) = root.number("proc/sys/kernel/pid_max") {
        out.gauge("node_processes_max_processes", "Number of max PIDs limit", &[], most);
    }
    Some(())
}
