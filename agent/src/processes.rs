//! Processes by name: CPU and memory of those that use the most of either.

use crate::host::Root;
use crate::samples::Samples;
use std::collections::{BTreeSet, HashMap};
use sysinfo::{ProcessRefreshKind, ProcessesToUpdate, System, UpdateKind};

/// Names told of at each collection: so many by CPU and so many by memory.
const TOP: usize = 15;

/// Names remembered; beyond it a new one is not begun.
const NAMES_MAX: usize = 2_000;

/// CPU time of processes that have ended stays in the sum of their name, so that the sum only grows.
#[derive(Default)]
pub struct Processes {
    system: Option<System>,
    /// CPU milliseconds of each process when last seen, and when it began.
    seen: HashMap<u32, (u64, u64)>,
    cpu_ms: HashMap<String, u64>,
    /// Once told, told every time: a series does not come and go with its rank.
    told: BTreeSet<String>,
}

#[derive(Default)]
struct Group {
    count: u32,
    resident: u64,
    cpu_delta_ms: u64,
}

impl Processes {
    pub fn collect(&mut self, root: &Root, out: &mut Samples) {
        // The library reads /proc of its own mount namespace.
        if root.0 != std::path::Path::new("/") {
            return;
        }
        let groups = self.groups();
        let mut by_cpu: Vec<(&String, &Group)> = groups.iter().collect();
        let mut by_memory = by_cpu.clone();
        by_cpu.sort_by(|a, b| self.cpu_ms[b.0].cmp(&self.cpu_ms[a.0]).then(a.0.cmp(b.0)));
        by_memory.sort_by(|a, b| b.1.resident.cmp(&a.1.resident).then(a.0.cmp(b.0)));
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
            let cpu = self.cpu_ms.get(name).copied().unwrap_or(0) as f64 / 1e3;
            out.counter(
                "binnacle_process_cpu_seconds_total",
                "CPU time of all processes of this name.",
                &labels,
                cpu,
            );
            let help = "Resident memory of all processes of this name.";
            out.gauge("binnacle_process_resident_memory_bytes", help, &labels, group.resident as f64);
            out.gauge("binnacle_processes", "Processes of this name.", &labels, f64::from(group.count));
        }
    }

    fn groups(&mut self) -> HashMap<String, Group> {
        let mut groups: HashMap<String, Group> = HashMap::new();
        let Some(system) = self.refreshed() else { return groups };
        let mut seen = HashMap::new();
        let mut rows = vec![];
        for (pid, process) in system.processes() {
            // Threads come as processes of their own.
            if process.thread_kind().is_none() {
                let name = process.name().to_string_lossy().into_owned();
                rows.push((
                    pid.as_u32(),
                    name,
                    process.memory(),
                    process.accumulated_cpu_time(),
                    process.start_time(),
                ));
            }
        }
        for (pid, name, resident, cpu_ms, start) in rows {
            let before = self.seen.get(&pid).filter(|(_, began)| *began == start).map_or(0, |(cpu, _)| *cpu);
            seen.insert(pid, (cpu_ms, start));
            if self.cpu_ms.len() >= NAMES_MAX && !self.cpu_ms.contains_key(&name) {
                continue;
            }
            let group = groups.entry(name).or_default();
            group.count += 1;
            group.resident += resident;
            group.cpu_delta_ms += cpu_ms.saturating_sub(before);
        }
        self.seen = seen;
        for (name, group) in &groups {
            *self.cpu_ms.entry(name.clone()).or_default() += group.cpu_delta_ms;
        }
        groups
    }

    fn refreshed(&mut self) -> Option<&System> {
        if self.system.is_none() {
            self.system = System::new().ok();
        }
        let system = self.system.as_mut()?;
        let what = ProcessRefreshKind::nothing().with_cpu().with_memory().with_exe(UpdateKind::Never);
        system.refresh_processes_specifics(ProcessesToUpdate::All, true, what);
        Some(system)
    }
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
}
