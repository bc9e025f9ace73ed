//! Where targets are: in the configuration itself, in files that others write (`file_sd_configs`), and where a server or
//! the DNS say (see `remote`).

pub mod remote;

use super::config::{Group, Job};
use std::collections::HashMap;
use std::fs::Metadata;
use std::path::{Path, PathBuf};
use std::time::SystemTime;
use tracing::warn;

/// Groups of targets, each with the labels that tell of where it was found.
pub type Groups = Vec<(Group, Option<(&'static str, String)>)>;

/// What the files had when they were last read.
#[derive(Default)]
pub struct Discovery {
    files: HashMap<PathBuf, Read>,
}

struct Read {
    changed: Option<SystemTime>,
    bytes: u64,
    groups: Vec<Group>,
}

/// A file of targets larger than this is none.
const FILE_BYTES_MAX: u64 = 32 << 20;

impl Discovery {
    /// The groups of a job, each with the file that names it. A file that cannot be read keeps what it had.
    pub fn groups(&mut self, job: &Job) -> Groups {
        let of_files = job.files.iter().flat_map(|pattern| matching(pattern)).collect::<Vec<_>>();
        let mut groups: Vec<_> = job.groups.iter().map(|group| (group.clone(), None)).collect();
        for path in of_files {
            let name = path.display().to_string();
            let place = || Some(("__meta_filepath", name.clone()));
            groups.extend(self.file(&path).iter().map(|group| (group.clone(), place())));
        }
        groups
    }

    fn file(&mut self, path: &Path) -> &[Group] {
        let read = self.files.entry(path.to_owned()).or_insert(Read {
            changed: None,
            bytes: u64::MAX,
            groups: vec![],
        });
        let Ok(metadata) = std::fs::metadata(path) else { return &read.groups };
        let changed = metadata.modified().ok();
        if read.changed == changed && read.bytes == metadata.len() {
            return &read.groups;
        }
        (read.changed, read.bytes) = (changed, metadata.len());
        match parsed(path, &metadata) {
            Ok(groups) => read.groups = groups,
            Err(why) => {
                warn!(file = %path.display(), why, "a file of targets is passed over; what it had stays")
            }
        }
        &read.groups
    }
}

fn parsed(path: &Path, metadata: &Metadata) -> Result<Vec<Group>, String> {
    // A pipe would be waited for until somebody writes to it.
    if !metadata.is_file() {
        return Err("it is no regular file".into());
    }
    let bytes = metadata.len();
    if bytes > FILE_BYTES_MAX {
        return Err(format!("{bytes} bytes; the most is {FILE_BYTES_MAX}"));
    }
    let text = std::fs::read_to_string(path).map_err(|wrong| wrong.to_string())?;
    // JSON is YAML too; an empty file has no target.
    let groups: Option<Vec<Group>> = serde_yaml_ng::from_str(&text).map_err(|wrong| wrong.to_string())?;
    Ok(groups.unwrap_or_default())
}

/// Files of a pattern: a `*` may stand in the last part.
pub(super) fn matching(pattern: &Path) -> Vec<PathBuf> {
    let name = pattern.file_name().and_then(|name| name.to_str()).unwrap_or("");
    if !name.contains('*') {
        return vec![pattern.to_owned()];
    }
    let Some(entries) = pattern.parent().and_then(|folder| std::fs::read_dir(folder).ok()) else {
        return vec![];
    };
    let fits = |found: &str| {
        let mut rest = found;
        let mut parts = name.split('*');
        let first = parts.next().unwrap_or("");
        let Some(after) = rest.strip_prefix(first) else { return false };
        rest = after;
        let parts: Vec<&str> = parts.collect();
        let (last, middle) = parts.split_last().map_or(("", &[][..]), |(last, middle)| (*last, middle));
        for part in middle {
            let Some(at) = rest.find(part) else { return false };
            rest = &rest[at + part.len()..];
        }
        rest.ends_with(last)
    };
    let mut paths: Vec<PathBuf> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.file_name().and_then(|name| name.to_str()).is_some_and(fits))
        .collect();
    paths.sort();
    paths
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn files_are_read_when_they_change_and_bad_ones_keep_what_they_had() {
        use rustix::fs::{CWD, FileType, Mode, mknodat};
        let dir = tempfile::tempdir().unwrap();
        let text = "scrape_configs: [{job_name: j, static_configs: [{targets: ['s:1']}], file_sd_configs: [{files: ['t*.json', 'one.yml', 'absent.yml']}]}]";
        let job = super::super::config::parse(text, dir.path()).unwrap().jobs.remove(0);
        let mut discovery = Discovery::default();
        let write = |name: &str, text: &str, age_s: u64| {
            let path = dir.path().join(name);
            std::fs::write(&path, text).unwrap();
            let changed = SystemTime::UNIX_EPOCH + Duration::from_secs(age_s);
            std::fs::File::options().write(true).open(path).unwrap().set_modified(changed).unwrap();
        };
        let mut found = || -> Vec<String> {
            let groups = discovery.groups(&job);
            groups.iter().flat_map(|(group, _)| group.targets.clone()).collect()
        };
        write("t1.json", r#"[{"targets": ["a:1", "b:1"], "labels": {"x": "y"}}]"#, 1);
        write("t2.json", "", 1);
        write("u.json", r#"[{"targets": ["other:1"]}]"#, 1);
        write("one.yml", "- targets: [c:1]\n", 1);
        assert_eq!(found(), ["s:1", "a:1", "b:1", "c:1"]);
        let pipe = dir.path().join("t3.json");
        mknodat(CWD, &pipe, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
        assert_eq!(found(), ["s:1", "a:1", "b:1", "c:1"], "nobody writes to it");
        std::fs::remove_file(pipe).unwrap();
        write("t1.json", "[{\"targets\": [", 2);
        write("one.yml", "- targets: [d:1]\n", 2);
        assert_eq!(found(), ["s:1", "a:1", "b:1", "d:1"]);
        std::fs::remove_file(dir.path().join("t1.json")).unwrap();
        assert_eq!(found(), ["s:1", "d:1"]);
    }
}
