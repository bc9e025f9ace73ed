//! What memory this process may have: the machine's, or less where a control group says so.

use std::path::Path;

/// The least limit of the control groups that this process is in, from its own to the root; `None` where none is set. The
/// files are below `root`, which is `/` but in tests. In a container, whose groups look like the root of all, the
/// paths lead nowhere, and the root's own limit counts.
pub fn of_groups(root: &Path) -> Option<u64> {
    let groups = std::fs::read_to_string(root.join("proc/self/cgroup")).ok()?;
    groups.lines().filter_map(|line| of_line(root, line)).min()
}

/// `0::/system.slice/binnacle.service`, or in the first version `4:memory:/user.slice`.
fn of_line(root: &Path, line: &str) -> Option<u64> {
    let mut parts = line.splitn(3, ':').skip(1);
    let (controllers, path) = (parts.next()?, parts.next()?);
    let (hierarchy, file) = if controllers.is_empty() {
        ("sys/fs/cgroup", "memory.max")
    } else if controllers.split(',').any(|controller| controller == "memory") {
        ("sys/fs/cgroup/memory", "memory.limit_in_bytes")
    } else {
        return None;
    };
    let path = Path::new(path.trim_start_matches('/'));
    path.ancestors().filter_map(|group| limit(&root.join(hierarchy).join(group).join(file))).min()
}

/// `max` is none; so is, in the first version, a number that no machine has.
fn limit(file: &Path) -> Option<u64> {
    std::fs::read_to_string(file).ok()?.trim().parse().ok().filter(|bytes| *bytes < 1 << 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn root(files: &[(&str, &str)]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = root.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        root
    }

    #[test]
    fn the_least_limit_on_the_way_to_the_root_counts() {
        let unit = root(&[
            ("proc/self/cgroup", "0::/system.slice/binnacle.service\n"),
            ("sys/fs/cgroup/system.slice/binnacle.service/memory.max", "max\n"),
            ("sys/fs/cgroup/system.slice/memory.max", "1073741824\n"),
        ]);
        assert_eq!(of_groups(unit.path()), Some(1 << 30));
        let container =
            root(&[("proc/self/cgroup", "0::/../pod7\n"), ("sys/fs/cgroup/memory.max", "536870912\n")]);
        assert_eq!(of_groups(container.path()), Some(512 << 20));
        let first_version = root(&[
            ("proc/self/cgroup", "9:cpu,cpuacct:/a\n4:memory:/a/b\n1:name=systemd:/\n0::/\n"),
            ("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n"),
            ("sys/fs/cgroup/memory/a/memory.limit_in_bytes", "2147483648\n"),
            ("sys/fs/cgroup/memory/a/b/memory.limit_in_bytes", "9223372036854771712\n"),
        ]);
        assert_eq!(of_groups(first_version.path()), Some(2 << 30));
        assert_eq!(of_groups(root(&[]).path()), None);
    }
}
