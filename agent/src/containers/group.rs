//! Reading a group's files: one tree of all controllers in version 2, a tree for each in version 1. A machine of both
//! (systemd's hybrid) has its controllers in version 1.

use super::stats::{Device, Limits, Memory, PRESSURES, Pressure, Stats, Throttling};
use crate::host::Root;
use std::os::unix::fs::MetadataExt;

const CGROUP: &str = "sys/fs/cgroup";

/// In version 2 crun (CRI-O's runtime) keeps a container's processes in a group below the container's scope, so that these are
/// told of there; source: `run.oci.systemd.subgroup` in crun's manual.
const BELOW_OF_CRUN: &str = "/container";

/// Processes of a group whose open files are counted.
const COUNTED_PIDS_MAX: usize = 64;

/// The kernel writes a limit that is none as a number near this one.
const UNLIMITED: f64 = (1u64 << 62) as f64;

/// The kernel's clock ticks a second in `cpuacct.stat`: 100 on all machines, whatever the timer's frequency.
const TICKS: f64 = 100.0;

/// Where groups and their numbers are.
pub struct Tree<'r> {
    pub root: &'r Root,
    is_v2: bool,
}

impl<'r> Tree<'r> {
    pub fn of(root: &'r Root) -> Option<Tree<'r>> {
        let is_v2 = root.path(&format!("{CGROUP}/cgroup.controllers")).exists();
        let is_v1 = root.path(&format!("{CGROUP}/memory")).exists();
        (is_v2 || is_v1).then_some(Tree { root, is_v2 })
    }

    fn file(&self, controller: &str, group: &str, name: &str) -> String {
        match self.is_v2 {
            true => format!("{CGROUP}{group}/{name}"),
            false => format!("{CGROUP}/{controller}{group}/{name}"),
        }
    }

    fn text(&self, controller: &str, group: &str, name: &str) -> Option<String> {
        self.root.text(&self.file(controller, group, name))
    }

    fn number(&self, controller: &str, group: &str, name: &str) -> Option<f64> {
        self.text(controller, group, name)?.trim().parse().ok()
    }

    pub fn children(&self, group: &str) -> Vec<String> {
        let folder = self.root.path(self.file("memory", group, "").trim_end_matches('/'));
        let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
        let folders = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
        let mut names: Vec<String> =
            folders.filter_map(|entry| entry.file_name().into_string().ok()).collect();
        names.sort();
        names
    }

    /// Its own, or where it has none those of crun's group below it.
    pub fn pids(&self, group: &str) -> Vec<u32> {
        let of = |group: &str| -> Vec<u32> {
            let text = self.text("memory", group, "cgroup.procs").unwrap_or_default();
            text.lines().filter_map(|line| line.trim().parse().ok()).collect()
        };
        let own = of(group);
        if own.is_empty() { of(&format!("{group}{BELOW_OF_CRUN}")) } else { own }
    }

    /// `whole` is all of it; else CPU and memory only.
    pub fn stats(&self, group: &str, whole: bool) -> Stats {
        let mut stats = Stats::default();
        match self.is_v2 {
            true => self.cpu_v2(group, &mut stats),
            false => self.cpu_v1(group, &mut stats),
        }
        stats.memory = if self.is_v2 { self.memory_v2(group) } else { self.memory_v1(group) };
        if whole {
            for (pressure, name) in stats.pressure.iter_mut().zip(PRESSURES) {
                *pressure =
                    self.text(name, group, &format!("{name}.pressure")).map(|text| pressure_of(&text));
            }
            stats.devices = if self.is_v2 { self.devices_v2(group) } else { self.devices_v1(group) };
            self.processes(group, &mut stats);
            self.limits(group, &mut stats.limits);
            stats.oom_kills = self.oom_kills(group);
            let meta = std::fs::metadata(self.root.path(&self.file("memory", group, "")));
            stats.began = meta.ok().map(|meta| meta.mtime().min(meta.ctime()) as f64);
        }
        stats
    }

    fn cpu_v2(&self, group: &str, stats: &mut Stats) {
        let Some(text) = self.text("cpu", group, "cpu.stat") else { return };
        let seconds = |name: &str| field(&text, name).map(|us| us / 1e6);
        stats.cpu_seconds = seconds("usage_usec");
        stats.cpu_user_seconds = seconds("user_usec");
        stats.cpu_system_seconds = seconds("system_usec");
        let has_quota = self.text("cpu", group, "cpu.max").is_some_and(|max| !max.starts_with("max"));
        if has_quota {
            stats.throttling = Some(Throttling {
                periods: field(&text, "nr_periods").unwrap_or(0.0),
                throttled_periods: field(&text, "nr_throttled").unwrap_or(0.0),
                throttled_seconds: seconds("throttled_usec").unwrap_or(0.0),
                burst_periods: field(&text, "nr_bursts").unwrap_or(0.0),
                burst_seconds: seconds("burst_usec").unwrap_or(0.0),
            });
        }
    }

    fn cpu_v1(&self, group: &str, stats: &mut Stats) {
        stats.cpu_seconds = self.number("cpuacct", group, "cpuacct.usage").map(|ns| ns / 1e9);
        let text = self.text("cpuacct", group, "cpuacct.stat").unwrap_or_default();
        stats.cpu_user_seconds = field(&text, "user").map(|ticks| ticks / TICKS);
        stats.cpu_system_seconds = field(&text, "system").map(|ticks| ticks / TICKS);
        let has_quota = self.number("cpu", group, "cpu.cfs_quota_us").is_some_and(|quota| quota > 0.0);
        if let Some(text) = self.text("cpu", group, "cpu.stat").filter(|_| has_quota) {
            let number = |name: &str| field(&text, name).unwrap_or(0.0);
            stats.throttling = Some(Throttling {
                periods: number("nr_periods"),
                throttled_periods: number("nr_throttled"),
                throttled_seconds: number("throttled_time") / 1e9,
                burst_periods: number("nr_bursts"),
                burst_seconds: number("burst_time") / 1e9,
            });
        }
    }

    fn memory_v2(&self, group: &str) -> Option<Memory> {
        let text = self.text("memory", group, "memory.stat")?;
        let number = |name: &str| field(&text, name).unwrap_or(0.0);
        // The root has no `memory.current`: what its processes and caches hold is the sum.
        let usage = self.number("memory", group, "memory.current").unwrap_or(number("anon") + number("file"));
        let own = [number("pgfault"), number("pgmajfault")];
        let events = self.text("memory", group, "memory.events.local");
        let events = events.or_else(|| self.text("memory", group, "memory.events"));
        Some(Memory {
            usage,
            max_usage: self.number("memory", group, "memory.peak"),
            cache: number("file"),
            rss: number("anon"),
            swap: self.number("memory", group, "memory.swap.current"),
            mapped_file: number("file_mapped"),
            active_file: number("active_file"),
            inactive_file: number("inactive_file"),
            kernel: field(&text, "kernel"),
            failures: events.and_then(|events| field(&events, "max")),
            // Version 2 counts with what is below; there is no number of the group alone.
            faults: [own, own],
        })
    }

    fn memory_v1(&self, group: &str) -> Option<Memory> {
        let text = self.text("memory", group, "memory.stat")?;
        let number = |name: &str| field(&text, name).unwrap_or(0.0);
        Some(Memory {
            usage: self.number("memory", group, "memory.usage_in_bytes")?,
            max_usage: self.number("memory", group, "memory.max_usage_in_bytes"),
            cache: number("total_cache"),
            rss: number("total_rss"),
            swap: field(&text, "total_swap"),
            mapped_file: number("total_mapped_file"),
            active_file: number("total_active_file"),
            inactive_file: number("total_inactive_file"),
            kernel: self.number("memory", group, "memory.kmem.usage_in_bytes"),
            failures: self.number("memory", group, "memory.failcnt"),
            faults: [
                [number("pgfault"), number("pgmajfault")],
                [number("total_pgfault"), number("total_pgmajfault")],
            ],
        })
    }

    /// `254:0 rbytes=98304 wbytes=0 rios=3 wios=0 dbytes=0 dios=0`.
    fn devices_v2(&self, group: &str) -> Vec<Device> {
        let text = self.text("io", group, "io.stat").unwrap_or_default();
        let device = |line: &str| {
            let (number, fields) = line.split_once(' ')?;
            let (major, minor) = number.split_once(':')?;
            let field = |name: &str| {
                let mut words = fields.split_ascii_whitespace();
                words.find_map(|word| word.strip_prefix(name)?.strip_prefix('=')?.parse::<f64>().ok())
            };
            Some(Device {
                name: self.device_name(major, minor),
                major: major.to_owned(),
                minor: minor.to_owned(),
                read_bytes: field("rbytes")?,
                written_bytes: field("wbytes")?,
                reads: field("rios"),
                writes: field("wios"),
            })
        };
        text.lines().filter_map(device).collect()
    }

    /// `8:0 Read 4096` in each of two files, and a `Total` at the end.
    fn devices_v1(&self, group: &str) -> Vec<Device> {
        let read = |name: &str| {
            let recursive = self.text("blkio", group, &format!("blkio.throttle.{name}_recursive"));
            recursive.or_else(|| self.text("blkio", group, &format!("blkio.throttle.{name}")))
        };
        let bytes = read("io_service_bytes").unwrap_or_default();
        let counts = read("io_serviced").unwrap_or_default();
        let value = |text: &str, number: &str, operation: &str| {
            text.lines().find_map(|line| {
                let rest = line.strip_prefix(number)?.strip_prefix(' ')?.strip_prefix(operation)?;
                rest.trim().parse::<f64>().ok()
            })
        };
        let numbers =
            bytes.lines().filter(|line| line.contains(" Read ")).filter_map(|line| line.split(' ').next());
        let device = |number: &str| {
            let (major, minor) = number.split_once(':')?;
            Some(Device {
                name: self.device_name(major, minor),
                major: major.to_owned(),
                minor: minor.to_owned(),
                read_bytes: value(&bytes, number, "Read")?,
                written_bytes: value(&bytes, number, "Write")?,
                reads: value(&counts, number, "Read"),
                writes: value(&counts, number, "Write"),
            })
        };
        numbers.filter_map(device).collect()
    }

    /// `/dev/vda`; empty where the kernel no longer knows the device.
    fn device_name(&self, major: &str, minor: &str) -> String {
        let text = self.root.text(&format!("sys/dev/block/{major}:{minor}/uevent")).unwrap_or_default();
        let named = text.lines().find_map(|line| line.strip_prefix("DEVNAME="));
        if let Some(name) = named {
            return format!("/dev/{name}");
        }
        let partitions = self.root.text("proc/partitions").or_else(|| self.root.text("proc/diskstats"));
        let of_number = |line: &str| {
            let mut words = line.split_ascii_whitespace();
            let is_it = words.next() == Some(major) && words.next() == Some(minor);
            // In /proc/partitions the size stands before the name.
            is_it.then(|| {
                words.find(|word| !word.bytes().all(|byte| byte.is_ascii_digit())).map(str::to_owned)
            })?
        };
        let name = partitions.and_then(|text| text.lines().find_map(of_number));
        name.map(|name| format!("/dev/{name}")).unwrap_or_default()
    }

    fn processes(&self, group: &str, stats: &mut Stats) {
        let pids = self.pids(group);
        stats.processes = Some(pids.len() as f64);
        stats.threads = self.number("pids", group, "pids.current");
        let max = self.text("pids", group, "pids.max");
        stats.threads_max = max.map(|max| max.trim().parse().unwrap_or(0.0));
        if pids.is_empty() || pids.len() > COUNTED_PIDS_MAX {
            return;
        }
        let counts: Vec<f64> = pids.iter().filter_map(|pid| self.open_files(*pid)).collect();
        // Without the right to look into one of them the sum would be too low.
        if counts.len() == pids.len() {
            stats.file_descriptors = Some(counts.iter().sum());
        }
        let limits = self.root.text(&format!("proc/{}/limits", pids[0])).unwrap_or_default();
        let soft =
            limits.lines().find_map(|line| line.strip_prefix("Max open files")?.split_whitespace().next());
        stats.open_files_max = soft.and_then(|soft| soft.parse().ok());
    }

    /// Of the group alone, and crun's. Where it goes as a whole (`memory.oom.group`) the kernel counts its victims twice, and
    /// the group once.
    fn oom_kills(&self, group: &str) -> Option<u64> {
        let name = if self.is_v2 { "memory.events.local" } else { "memory.oom_control" };
        let text = self.text("memory", group, name);
        let text = text.or_else(|| self.text("memory", group, "memory.events"))?;
        let below = self.text("memory", &format!("{group}{BELOW_OF_CRUN}"), name).unwrap_or_default();
        let number = |name: &str| {
            let kills = field(&text, name)? + field(&below, name).unwrap_or(0.0);
            Some(kills as u64)
        };
        number("oom_group_kill").filter(|kills| *kills > 0).or_else(|| number("oom_kill"))
    }

    fn open_files(&self, pid: u32) -> Option<f64> {
        let entries = std::fs::read_dir(self.root.path(&format!("proc/{pid}/fd"))).ok()?;
        Some(entries.count() as f64)
    }

    fn limits(&self, group: &str, limits: &mut Limits) {
        let bytes = |name: &str| {
            let text = self.text("memory", group, name)?;
            let bytes = text.trim().parse().unwrap_or(0.0);
            Some(if bytes >= UNLIMITED { 0.0 } else { bytes })
        };
        if self.is_v2 {
            let max = self.text("cpu", group, "cpu.max").unwrap_or_default();
            let mut words = max.split_ascii_whitespace();
            limits.cpu_quota = words.next().and_then(|quota| quota.parse().ok());
            limits.cpu_period = words.next().and_then(|period| period.parse().ok());
            // The inverse of how runtimes make a weight of 1..10000 of shares of 2..262144.
            let weight = self.number("cpu", group, "cpu.weight");
            limits.cpu_shares = weight.map(|weight| (2.0 + (weight - 1.0) * 262_142.0 / 9_999.0).floor());
            limits.memory = bytes("memory.max");
            limits.memory_reservation = bytes("memory.high");
            limits.memory_swap = bytes("memory.swap.max");
        } else {
            limits.cpu_quota = self.number("cpu", group, "cpu.cfs_quota_us").filter(|quota| *quota > 0.0);
            limits.cpu_period = self.number("cpu", group, "cpu.cfs_period_us");
            limits.cpu_shares = self.number("cpu", group, "cpu.shares");
            limits.memory = bytes("memory.limit_in_bytes");
            limits.memory_reservation = bytes("memory.soft_limit_in_bytes");
            limits.memory_swap = bytes("memory.memsw.limit_in_bytes");
        }
        if group.is_empty() {
            let memory = self.root.text("proc/meminfo").unwrap_or_default();
            let total =
                memory.lines().find_map(|line| line.strip_prefix("MemTotal:")?.split_whitespace().next());
            limits.memory = total.and_then(|kib| kib.parse::<f64>().ok()).map(|kib| kib * 1024.0);
        }
    }
}

fn field(text: &str, name: &str) -> Option<f64> {
    text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.trim().parse().ok())
}

/// Lines `some … total=<µs>` and `full … total=<µs>`.
fn pressure_of(text: &str) -> Pressure {
    let total = |kind: &str| {
        let line = text.lines().find(|line| line.starts_with(kind))?;
        line.rsplit_once("total=")?.1.trim().parse::<f64>().ok()
    };
    Pressure {
        waiting_seconds: total("some").unwrap_or(0.0) / 1e6,
        stalled_seconds: total("full").unwrap_or(0.0) / 1e6,
    }
}
