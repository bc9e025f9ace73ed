//! The machine under node_exporter's metric names and label sets (names: prometheus/node_exporter, its collectors).
//!
//! A collector reads files below the host's root and adds what it finds; where the machine has not what it is about it
//! says so, and the next one goes on. Nothing here keeps a state or waits, but for mounts that do not answer and what was said
//! of text files.

mod bcache;
mod btrfs;
mod clock;
mod cpu;
mod disk;
mod exporter;
mod fabric;
mod filesystem;
mod hardware;
mod hwmon;
mod ipvs;
mod kernel;
mod memory;
mod multipath;
mod network;
mod nfs;
mod power;
mod raid;
mod system;
mod tape;
mod textfile;
mod xfs;
mod zfs;

pub use filesystem::Mounts;
pub use textfile::Textfiles;

use crate::host::Root;
use crate::samples::Samples;
use std::sync::LazyLock;
use std::time::Instant;

/// `None` where the machine has nothing of the kind.
type Collector = fn(&Root, &mut Samples) -> Option<()>;

/// By node_exporter's names: its default ones, and those few of the others that its dashboards draw.
const COLLECTORS: &[(&str, Collector)] = &[
    ("arp", network::arp),
    ("bcache", bcache::bcache),
    ("bcachefs", bcache::bcachefs),
    ("bonding", hardware::bonding),
    ("btrfs", btrfs::btrfs),
    ("conntrack", network::conntrack),
    ("cpu", cpu::cpu),
    ("cpufreq", cpu::cpufreq),
    ("diskstats", disk::diskstats),
    ("dmmultipath", multipath::dmmultipath),
    ("dmi", system::dmi),
    ("edac", hardware::edac),
    ("entropy", kernel::entropy),
    ("fibrechannel", fabric::fibrechannel),
    ("filefd", kernel::filefd),
    ("hwmon", hwmon::hwmon),
    ("infiniband", fabric::infiniband),
    ("ipvs", ipvs::ipvs),
    ("kernel_hung", kernel::kernel_hung),
    ("loadavg", cpu::loadavg),
    ("mdadm", raid::mdadm),
    ("meminfo", memory::meminfo),
    ("netclass", network::netclass),
    ("netdev", network::netdev),
    ("netstat", network::netstat),
    ("nfs", nfs::nfs),
    ("nfsd", nfs::nfsd),
    ("nvme", hardware::nvme),
    ("os", system::os),
    ("powersupplyclass", power::powersupplyclass),
    ("pressure", cpu::pressure),
    ("rapl", power::rapl),
    ("schedstat", cpu::schedstat),
    ("selinux", kernel::selinux),
    ("sockstat", network::sockstat),
    ("softnet", network::softnet),
    ("stat", cpu::stat),
    ("tapestats", tape::tapestats),
    ("thermal_zone", power::thermal_zone),
    ("time", clock::time),
    ("timex", clock::timex),
    ("udp_queues", network::udp_queues),
    ("uname", system::uname),
    ("vmstat", memory::vmstat),
    ("watchdog", hardware::watchdog),
    ("xfs", xfs::xfs),
    ("zfs", zfs::zfs),
];

/// These walk all processes and all sockets of the machine, and node_exporter leaves them out unless it is asked.
const DEAR: &[(&str, Collector)] = &[("processes", kernel::processes), ("tcpstat", network::tcpstat)];

/// All collectors but those that cost the most, what each cost, and what this process itself uses.
pub fn collect(root: &Root, textfiles: &Textfiles, mounts: &Mounts, out: &mut Samples) {
    for (name, collector) in COLLECTORS {
        timed(name, out, |out| collector(root, out));
    }
    timed("filesystem", out, |out| filesystem::filesystem(root, mounts, out));
    timed("textfile", out, |out| textfiles.collect(root, out));
    exporter::collect(out);
}

pub fn collect_dear(root: &Root, out: &mut Samples) {
    for (name, collector) in DEAR {
        timed(name, out, |out| collector(root, out));
    }
}

fn timed(name: &str, out: &mut Samples, collector: impl FnOnce(&mut Samples) -> Option<()>) {
    let begun = Instant::now();
    let found = collector(out).is_some();
    let labels = [("collector", name)];
    let help = "node_exporter: Duration of a collector scrape.";
    out.gauge("node_scrape_collector_duration_seconds", help, &labels, begun.elapsed().as_secs_f64());
    let help = "node_exporter: Whether a collector succeeded.";
    out.gauge("node_scrape_collector_success", help, &labels, f64::from(u8::from(found)));
}

/// Ticks a second in files of /proc: 100 on every Linux that distributions build.
pub const USER_HZ: f64 = 100.0;

/// A page of this machine, as the kernel handed it to this process in its auxiliary vector: pairs of machine words, 6 is
/// the page's size.
pub fn page_bytes() -> f64 {
    static BYTES: LazyLock<f64> = LazyLock::new(|| {
        const WORD: usize = size_of::<usize>();
        const AT_PAGESZ: usize = 6;
        let vector = std::fs::read("/proc/self/auxv").unwrap_or_default();
        let mut words = vector.chunks_exact(WORD).map(|word| word.try_into().map_or(0, usize::from_ne_bytes));
        while let (Some(kind), Some(value)) = (words.next(), words.next()) {
            if kind == AT_PAGESZ {
                return value as f64;
            }
        }
        4096.0
    });
    *BYTES
}

#[cfg(test)]
mod tests;
