//! The space of mounted file systems.

use crate::host::Root;
use crate::samples::Samples;
use std::collections::HashSet;

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
pub fn filesystem(root: &Root, out: &mut Samples) -> Option<()> {
    let mounts = root.text("proc/1/mountinfo").or_else(|| root.text("proc/self/mountinfo"))?;
    let mut seen = HashSet::new();
    for mount in mounts.lines().filter_map(Mount::parse) {
        let is_wanted = !KINDS_WITHOUT_SPACE.contains(&mount.kind) && !is_ignored_point(&mount.point);
        // Mounted twice at one place, the upper one hides the lower.
        if is_wanted && seen.insert((mount.device, mount.point.clone(), mount.kind)) {
            tell(root, &mount, out);
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

fn tell(root: &Root, mount: &Mount<'_>, out: &mut Samples) {
    let space = rustix::fs::statvfs(root.path(&mount.point));
    let error = space.as_ref().err().map(|wrong| wrong.to_string()).unwrap_or_default();
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
