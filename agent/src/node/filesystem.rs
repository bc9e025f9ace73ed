//! The space of mounted file systems.

use crate::host::Root;
use crate::samples::Samples;
use parking_lot::Mutex;
use rustix::fs::StatVfs;
use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// File systems that have no space of their own.
const KINDS_WITHOUT_SPACE: [&str; 26] = [
    "autofs",
    "binfmt_misc",
    "bpf",
    "cgroup",
    "cgroup2",
    "configfs",
    "debugfs",
    "devpts",
    "devtmpfs",
    "fusectl",
    "hugetlbfs",
    "iso9660",
    "mqueue",
    "nsfs",
    "overlay",
    "proc",
    "procfs",
    "pstore",
    "rpc_pipefs",
    "securityfs",
    "selinuxfs",
    "squashfs",
    "erofs",
    "sysfs",
    "tracefs",
    "efivarfs",
];

/// The host's mounts are those of its first process.
pub fn filesystem(root: &Root, spaces: &Mounts, out: &mut Samples) -> Option<()> {
    let mounts = root.text("proc/1/mountinfo").or_else(|| root.text("proc/self/mountinfo"))?;
    let mut seen = HashSet::new();
    for mount in mounts.lines().filter_map(Mount::parse) {
        let is_wanted = !KINDS_WITHOUT_SPACE.contains(&mount.kind) && !is_ignored_point(&mount.point);
        // Mounted twice at one place, the upper one hides the lower.
        if is_wanted && seen.insert((mount.device, mount.point.clone(), mount.kind)) {
            tell(spaces.space(mount.kind, root.path(&mount.point)), &mount, out);
        }
    }
    Some(())
}

/// A line of mountinfo: `id parent major:minor root point options [optional…] - kind device options`.
struct Mount<'a> {
    device: &'a str,
    kind: &'a str,
    point: String,
    major: &'a str,
    minor: &'a str,
    is_read_only: bool,
}

impl<'a> Mount<'a> {
    fn parse(line: &'a str) -> Option<Mount<'a>> {
        let (own, of_device) = line.split_once(" - ")?;
        let own: Vec<&str> = own.split(' ').collect();
        let of_device: Vec<&str> = of_device.split(' ').collect();
        let ([_, _, number, _, point, options, ..], [kind, device, rest @ ..]) = (&own[..], &of_device[..])
        else {
            return None;
        };
        let (major, minor) = number.split_once(':')?;
        let super_options = rest.first().copied().unwrap_or("");
        let mut options = options.split(',').chain(super_options.split(','));
        let is_read_only = options.any(|option| matches!(option, "ro" | "emergency_ro"));
        Some(Mount { device, kind, point: unescaped(point), major, minor, is_read_only })
    }
}

fn tell(space: Result<StatVfs, String>, mount: &Mount<'_>, out: &mut Samples) {
    let error = space.as_ref().err().cloned().unwrap_or_default();
    let labels = [
        ("device", mount.device),
        ("fstype", mount.kind),
        ("mountpoint", &*mount.point),
        ("device_error", &*error),
    ];
    let help = "Whether an error occurred while getting statistics for the given device.";
    out.gauge("node_filesystem_device_error", help, &labels, f64::from(u8::from(space.is_err())));
    let read_only = f64::from(u8::from(mount.is_read_only));
    out.gauge("node_filesystem_readonly", "Filesystem read-only status.", &labels, read_only);
    let Ok(space) = space else { return };
    let bytes = |blocks: u64| (blocks as f64) * space.f_frsize as f64;
    for (name, help, value) in [
        ("size_bytes", "Filesystem size in bytes.", bytes(space.f_blocks)),
        ("free_bytes", "Filesystem free space in bytes.", bytes(space.f_bfree)),
        ("avail_bytes", "Filesystem space available to non-root users in bytes.", bytes(space.f_bavail)),
        ("files", "Filesystem total file nodes.", space.f_files as f64),
        ("files_free", "Filesystem total free file nodes.", space.f_ffree as f64),
    ] {
        out.gauge(&format!("node_filesystem_{name}"), help, &labels, value);
    }
    let labels = [
        ("device", mount.device),
        ("major", mount.major),
        ("minor", mount.minor),
        ("mountpoint", &*mount.point),
    ];
    out.gauge("node_filesystem_mount_info", "Filesystem mount information.", &labels, 1.0);
}

/// File systems that answer without asking anybody: they do not hang.
const LOCAL_KINDS: [&str; 12] =
    ["ext2", "ext3", "ext4", "xfs", "btrfs", "vfat", "tmpfs", "ramfs", "f2fs", "zfs", "exfat", "ntfs3"];

/// How long a mount may take to say how full it is.
const PATIENCE: Duration = Duration::from_secs(5);

/// What node_exporter says of a mount that hangs.
const TIMEOUT: &str = "mountpoint timeout";

type Ask = dyn Fn(&Path) -> rustix::io::Result<StatVfs> + Send + Sync;

/// Asks mounts for their space. One whose server is away never answers, and who asks it cannot be woken: it is asked by
/// a thread of its own, and not again before that thread comes back.
#[derive(Clone)]
pub struct Mounts {
    stuck: Arc<Mutex<HashSet<PathBuf>>>,
    ask: Arc<Ask>,
    patience: Duration,
}

impl Default for Mounts {
    fn default() -> Mounts {
        Mounts::new(Arc::new(|path: &Path| rustix::fs::statvfs(path)), PATIENCE)
    }
}

impl Mounts {
    fn new(ask: Arc<Ask>, patience: Duration) -> Mounts {
        Mounts { stuck: Arc::default(), ask, patience }
    }

    fn space(&self, kind: &str, path: PathBuf) -> Result<StatVfs, String> {
        if LOCAL_KINDS.contains(&kind) {
            return (self.ask)(&path).map_err(|wrong| wrong.to_string());
        }
        if !self.stuck.lock().insert(path.clone()) {
            return Err(TIMEOUT.to_owned());
        }
        let (answer, answered) = std::sync::mpsc::sync_channel(1);
        let (ask, stuck) = (self.ask.clone(), self.stuck.clone());
        let asking = std::thread::Builder::new().name("statvfs".into()).spawn(move || {
            let space = ask(&path);
            stuck.lock().remove(&path);
            // Nobody waits any more where it took too long.
            let _ = answer.send(space);
        });
        if let Err(wrong) = asking {
            return Err(wrong.to_string());
        }
        match answered.recv_timeout(self.patience) {
            Ok(space) => space.map_err(|wrong| wrong.to_string()),
            Err(_) => Err(TIMEOUT.to_owned()),
        }
    }
}

fn is_ignored_point(point: &str) -> bool {
    let under = |folder: &str| {
        point.strip_prefix(folder).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    let below = |folder: &str| point.strip_prefix(folder).is_some_and(|rest| rest.starts_with('/'));
    under("/dev")
        || under("/proc")
        || under("/sys")
        || below("/run/credentials")
        || below("/var/lib/docker")
        || below("/var/lib/containers/storage")
        || below("/var/lib/kubelet/pods")
}

/// Spaces and the like are written in octal.
fn unescaped(point: &str) -> String {
    point.replace("\\040", " ").replace("\\011", "\t").replace("\\012", "\n").replace("\\134", "\\")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mount_that_hangs_holds_nobody_up_and_is_asked_once() {
        let (let_go, held) = std::sync::mpsc::channel::<()>();
        let held = Mutex::new(held);
        let asked = Arc::new(Mutex::new(0));
        let count = asked.clone();
        let ask = move |path: &Path| {
            if path.ends_with("hung") {
                *count.lock() += 1;
                let _ = held.lock().recv();
            }
            rustix::fs::statvfs("/")
        };
        let mounts = Mounts::new(Arc::new(ask), Duration::from_millis(20));
        for _ in 0..3 {
            assert_eq!(mounts.space("nfs4", "/hung".into()).err().as_deref(), Some(TIMEOUT));
        }
        assert_eq!(*asked.lock(), 1);
        assert!(mounts.space("nfs4", "/other".into()).is_ok());
        assert!(mounts.space("ext4", "/".into()).is_ok());
        // The server is back.
        let_go.send(()).unwrap();
        while !mounts.stuck.lock().is_empty() {
            std::thread::yield_now();
        }
        drop(let_go);
        assert!(mounts.space("nfs4", "/hung".into()).is_ok());
    }
}
