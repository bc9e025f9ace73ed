//! Processes by name: CPU and memory of those that use the most of either.

use crate::host::Root;
use crate::node::{USER_HZ, page_bytes};
use crate::samples::Samples;
use std::collections::{BTreeSet, HashMap};

/// Names told of at each collection: so many by CPU and so many by memory.
const TOP: usize = 15;

/// Names remembered; beyond it a new one is not begun.
const NAMES_MAX: usize = 2_000;

/// A thread of the kernel (`PF_KTHREAD`, include/linux/sched.h).
const KERNEL_THREAD: u64 = 0x0020_0000;

/// CPU time of processes that have ended stays in the sum of their name, so that the sum only grows.
#[derive(Default)]
pub struct Processes {
    /// CPU ticks of each process when last seen, and when it began.
    seen: HashMap<u32, (u64, u64)>,
    ticks: HashMap<String, u64>,
    /// Once told, told every time: a series does not come and go with its rank.
    told: BTreeSet<String>,
}

#[derive(Default)]
struct Group {
    count: u32,
    resident: f64,
    ticks_more: u64,
}

/// A process as one line of the kernel tells of it.
#[derive(Debug, PartialEq)]
struct Process<'t> {
    name: &'t str,
    ticks: u64,
    began: u64,
    resident_pages: u64,
}

impl Processes {
    pub fn collect(&mut self, root: &Root, out: &mut Samples) {
        let groups = self.groups(root);
        let mut by_cpu: Vec<(&String, &Group)> = groups.iter().collect();
        let mut by_memory = by_cpu.clone();
        by_cpu.sort_by(|a, b| self.ticks[b.0].cmp(&self.ticks[a.0]).then(a.0.cmp(b.0)));
        by_memory.sort_by(|a, b| b.1.resident.total_cmp(&a.1.resident).then(a.0.cmp(b.0)));
        let top = by_cpu.iter().take(TOP).chain(by_memory.iter().take(TOP));
        let told: BTreeSet<String> = top.map(|(name, _)| (*name).clone()).collect();
        if self.told.len() < 4 * TOP {
            self.told.extend(told);
        } else {
            self.told = told;
        }
        for name in &self.told {
            let Some(group) = groups.get(name) else { continue };
            let labels = [("process", name.as_str())];
            let cpu = self.ticks.get(name).copied().unwrap_or(0) as f64 / USER_HZ;
            out.counter(
                "binnacle_process_cpu_seconds_total",
                "CPU time of all processes of this name.",
                &labels,
                cpu,
            );
            let help = "Resident memory of all processes of this name.";
            out.gauge("binnacle_process_resident_memory_bytes", help, &labels, group.resident);
            out.gauge("binnacle_processes", "Processes of this name.", &labels, f64::from(group.count));
        }
    }

    fn groups(&mut self, root: &Root) -> HashMap<String, Group> {
        let mut groups: HashMap<String, Group> = HashMap::new();
        let mut seen = HashMap::new();
        let page = page_bytes();
        for pid in root.names("proc").iter().filter_map(|name| name.parse::<u32>().ok()) {
            let text = root.text(&format!("proc/{pid}/stat")).unwrap_or_default();
            let Some(process) = process(&text) else { continue };
            let before = self.seen.get(&pid).filter(|(_, began)| *began == process.began);
            let before = before.map_or(0, |(ticks, _)| *ticks);
            seen.insert(pid, (process.ticks, process.began));
            if self.ticks.len() >= NAMES_MAX && !self.ticks.contains_key(process.name) {
                continue;
            }
            let group = groups.entry(process.name.to_owned()).or_default();
            group.count += 1;
            group.resident += process.resident_pages as f64 * page;
            group.ticks_more += process.ticks.saturating_sub(before);
        }
        self.seen = seen;
        for (name, group) in &groups {
            *self.ticks.entry(name.clone()).or_default() += group.ticks_more;
        }
        groups
    }
}

/// `pid (name) state …`: a name may hold anything, brackets too. Threads of the kernel are no processes.
fn process(text: &str) -> Option<Process<'_>> {
    let (before, rest) = text.rsplit_once(") ")?;
    let name = before.split_once('(')?.1;
    let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
    // By their number in proc_pid_stat(5), where the state is the third.
    let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
    if field(9)? & KERNEL_THREAD != 0 {
        return None;
    }
    Some(Process { name, ticks: field(14)? + field(15)?, began: field(22)?, resident_pages: field(24)? })
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::Labels;

    #[test]
    fn this_test_is_a_process_with_memory() {
        let mut processes = Processes::default();
        let mut samples = Samples::new(1, "n1", true);
        processes.collect(&Root("/".into()), &mut samples);
        let batch = samples.finish();
        let resident: Vec<f64> = batch
            .iter()
            .filter(|(labels, _, _)| {
                Labels::from_bytes(labels).unwrap().metric_name() == "binnacle_process_resident_memory_bytes"
            })
            .map(|(_, _, values)| values[0])
            .collect();
        assert!(!resident.is_empty() && resident.len() <= 2 * TOP);
        assert!(resident.iter().any(|bytes| *bytes > 1e6));
    }

    #[test]
    fn a_process_is_told_from_a_thread_of_the_kernel() {
        let line =
            "7 (a) (b)) S 1 7 7 0 -1 4194560 5 0 0 0 30 12 0 0 20 0 1 0 99 1000 250 18446744073709551615";
        let found = Process { name: "a) (b)", ticks: 42, began: 99, resident_pages: 250 };
        assert_eq!(process(line), Some(found));
        assert_eq!(process(&line.replace("4194560", "2129984")), None);
        assert_eq!(process(""), None);
    }
}
