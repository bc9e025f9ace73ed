//! What the kernel counts of a group, in the units of the metrics. `None` is what this kernel or this group has not.

#[derive(Debug, Default, PartialEq)]
pub struct Stats {
    pub cpu_seconds: Option<f64>,
    pub cpu_user_seconds: Option<f64>,
    pub cpu_system_seconds: Option<f64>,
    /// Only of a group with a quota.
    pub throttling: Option<Throttling>,
    pub memory: Option<Memory>,
    pub pressure: [Option<Pressure>; 3],
    pub devices: Vec<Device>,
    pub processes: Option<f64>,
    pub threads: Option<f64>,
    pub threads_max: Option<f64>,
    pub file_descriptors: Option<f64>,
    pub open_files_max: Option<f64>,
    pub limits: Limits,
    /// Processes, or groups of them, that were killed for want of memory.
    pub oom_kills: Option<u64>,
    /// Seconds since 1970.
    pub began: Option<f64>,
}

/// The order of [`Stats::pressure`].
pub const PRESSURES: [&str; 3] = ["cpu", "memory", "io"];

#[derive(Debug, Default, PartialEq)]
pub struct Throttling {
    pub periods: f64,
    pub throttled_periods: f64,
    pub throttled_seconds: f64,
    pub burst_periods: f64,
    pub burst_seconds: f64,
}

/// Bytes, and counts of faults.
#[derive(Debug, Default, PartialEq)]
pub struct Memory {
    pub usage: f64,
    pub max_usage: Option<f64>,
    pub cache: f64,
    pub rss: f64,
    pub swap: Option<f64>,
    pub mapped_file: f64,
    pub active_file: f64,
    pub inactive_file: f64,
    pub kernel: Option<f64>,
    /// How often the limit was hit.
    pub failures: Option<f64>,
    /// Faults and major faults, of the group alone and with those below it.
    pub faults: [[f64; 2]; 2],
}

impl Memory {
    /// What cannot be given back at once, as the kubelet counts it before it evicts.
    pub fn working_set(&self) -> f64 {
        (self.usage - self.inactive_file).max(0.0)
    }
}

/// Seconds in which some, and in which all, had to wait.
#[derive(Debug, Default, PartialEq)]
pub struct Pressure {
    pub waiting_seconds: f64,
    pub stalled_seconds: f64,
}

/// Transfers of one disk.
#[derive(Debug, Default, PartialEq)]
pub struct Device {
    pub name: String,
    pub major: String,
    pub minor: String,
    pub read_bytes: f64,
    pub written_bytes: f64,
    pub reads: Option<f64>,
    pub writes: Option<f64>,
}

/// What a group may use. No limit of memory is 0, as cAdvisor says it.
#[derive(Debug, Default, PartialEq)]
pub struct Limits {
    pub cpu_period: Option<f64>,
    pub cpu_quota: Option<f64>,
    pub cpu_shares: Option<f64>,
    pub memory: Option<f64>,
    pub memory_reservation: Option<f64>,
    pub memory_swap: Option<f64>,
}
