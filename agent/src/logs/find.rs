//! Which files there are: the pods' and those that globs name.

use super::rotations::is_rotation_of;
use crate::host::Root;
use std::collections::BTreeSet;

/// Files followed at one time; further ones wait until some are gone.
pub const FILES_MAX: usize = 2_000;

pub const PODS: &str = "var/log/pods";

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
    let mut paths = walk(root, glob).pop().unwrap_or_default();
    paths.retain(|path| root.path(path).is_file() && !is_packed(path));
    let all: BTreeSet<&String> = paths.iter().collect();
    let is_rotation = |path: &String| all.iter().any(|other| is_rotation_of(path, other));
    let kept = paths.iter().filter(|path| !is_rotation(path)).cloned();
    kept.map(|path| Found { path, container: None }).collect()
}

/// Folders in which a file or folder that the glob names may come to be.
pub fn folders(root: &Root, glob: &str) -> Vec<String> {
    let mut steps = walk(root, glob);
    steps.pop();
    let components: Vec<&str> = glob.split('/').filter(|component| !component.is_empty()).collect();
    // Above a name that is written out nothing is chosen: it is enough to look into the folder of that name.
    let chosen = steps.into_iter().enumerate().filter(|(depth, _)| {
        components.get(*depth).is_some_and(|next| next.contains(['*', '?'])) || depth + 1 == components.len()
    });
    chosen.flat_map(|(_, folders)| folders).collect()
}

/// What the beginnings of a glob name, from the root itself to the whole of it.
fn walk(root: &Root, glob: &str) -> Vec<Vec<String>> {
    let mut steps = vec![vec![String::new()]];
    for component in glob.split('/').filter(|component| !component.is_empty()) {
        let mut next = vec![];
        for folder in steps.last().into_iter().flatten() {
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
        steps.push(next);
    }
    steps
}

fn is_packed(path: &str) -> bool {
    [".gz", ".xz", ".bz2", ".zst", ".tmp"].iter().any(|end| path.ends_with(end))
}

/// Backtracks to the last star only, which is enough and never slow.
pub fn matches(pattern: &str, name: &str) -> bool {
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
