//! Which files there are: the pods' and those that globs name.

use crate::host::Root;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Files followed at one time; further ones wait until some are gone.
pub const FILES_MAX: usize = 2_000;

const PODS: &str = "var/log/pods";

/// A file to follow: its path below the host's root, and for a container's file whose it is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Found {
    pub path: String,
    pub container: Option<Container>,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Container {
    pub namespace: String,
    pub pod: String,
    pub uid: String,
    pub name: String,
}

/// Files of all containers, `<namespace>_<pod>_<uid>/<container>/<attempt>.log`. Names may hold dots, never `_`.
pub fn containers(root: &Root) -> Vec<Found> {
    let mut found = vec![];
    for folder in root.names(PODS) {
        let mut parts = folder.splitn(3, '_');
        let (Some(namespace), Some(pod), Some(uid)) = (parts.next(), parts.next(), parts.next()) else {
            continue;
        };
        for name in root.names(&format!("{PODS}/{folder}")) {
            let container = Container {
                namespace: namespace.into(),
                pod: pod.into(),
                uid: uid.into(),
                name: name.clone(),
            };
            for file in root.names(&format!("{PODS}/{folder}/{name}")) {
                let attempt = file.strip_suffix(".log");
                if attempt
                    .is_some_and(|number| !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit()))
                {
                    let path = format!("{PODS}/{folder}/{name}/{file}");
                    found.push(Found { path, container: Some(container.clone()) });
                }
            }
        }
    }
    found
}

/// Files that a glob names (`*` and `?` within one folder's names). Compressed ones and rotations of another that is
/// named too are left out.
pub fn by_glob(root: &Root, glob: &str) -> Vec<Found> {
    let mut paths = vec![String::new()];
    for component in glob.split('/').filter(|component| !component.is_empty()) {
        let mut next = vec![];
        for folder in &paths {
            let below =
                |name: &str| if folder.is_empty() { name.to_owned() } else { format!("{folder}/{name}") };
            if component.contains(['*', '?']) {
                next.extend(
                    root.names(folder).iter().filter(|name| matches(component, name)).map(|name| below(name)),
                );
            } else {
                next.push(below(component));
            }
        }
        next.truncate(FILES_MAX);
        paths = next;
    }
    paths.retain(|path| root.path(path).is_file() && !is_packed(path));
    let all: BTreeSet<&String> = paths.iter().collect();
    let is_rotation = |path: &String| all.iter().any(|other| is_rotation_of(path, other));
    let kept = paths.iter().filter(|path| !is_rotation(path)).cloned();
    kept.map(|path| Found { path, container: None }).collect()
}

fn is_packed(path: &str) -> bool {
    [".gz", ".xz", ".bz2", ".zst", ".tmp"].iter().any(|end| path.ends_with(end))
}

/// `app.log.1`, `app.log-20260101`, `0.log.20260101-101500`.
fn is_rotation_of(name: &str, base: &str) -> bool {
    let rest = name.strip_prefix(base).and_then(|rest| rest.strip_prefix(['.', '-']));
    rest.is_some_and(|rest| {
        !rest.is_empty() && rest.bytes().all(|b| b.is_ascii_digit() || b"-_.T".contains(&b))
    })
}

/// Rotations of a file, the oldest first. Their names tell the order, not their times: a file may still be written to
/// after it was renamed.
pub fn rotations(path: &Path) -> Vec<PathBuf> {
    let (Some(folder), Some(base)) = (path.parent(), path.file_name().and_then(|name| name.to_str())) else {
        return vec![];
    };
    let mut found = vec![];
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let name = entry.file_name();
        if name.to_str().is_some_and(|name| is_rotation_of(name, base)) {
            found.push((age(name.to_str().unwrap_or(""), base), entry.path()));
        }
    }
    found.sort();
    found.into_iter().map(|(_, path)| path).collect()
}

/// Longer ones are dates.
const NUMBER_DIGITS_MAX: usize = 4;

/// Smaller is older: `app.log.2` is older than `app.log.1`, and numbers are not mixed with dates, whose order is theirs.
fn age(name: &str, base: &str) -> (i64, String) {
    let rest = &name[base.len().min(name.len())..];
    let digits = &rest[rest.len().min(1)..];
    let is_number = digits.len() <= NUMBER_DIGITS_MAX && digits.bytes().all(|byte| byte.is_ascii_digit());
    let number = if is_number { digits.parse::<i64>().unwrap_or(0) } else { 0 };
    (-number, rest.to_owned())
}

/// Backtracks to the last star only, which is enough and never slow.
fn matches(pattern: &str, name: &str) -> bool {
    // As a shell: hidden files are asked for by their dot.
    if name.starts_with('.') && !pattern.starts_with('.') {
        return false;
    }
    let (pattern, name): (Vec<char>, Vec<char>) = (pattern.chars().collect(), name.chars().collect());
    let (mut p, mut n, mut star) = (0, 0, None);
    while n < name.len() {
        if p < pattern.len() && pattern[p] == '*' {
            star = Some((p, n));
            p += 1;
        } else if p < pattern.len() && (pattern[p] == '?' || pattern[p] == name[n]) {
            (p, n) = (p + 1, n + 1);
        } else if let Some((at, from)) = star {
            star = Some((at, from + 1));
            (p, n) = (at + 1, from + 1);
        } else {
            return false;
        }
    }
    pattern[p..].iter().all(|rest| *rest == '*')
}
