//! Files of an agent's configuration, looked at again and again: in a pod they are of a config map, which changes them while
//! the agent runs, and nobody is there to send it a signal, as its image has no shell.
//!
//! Other roles reload at SIGHUP alone, as they always did.

use crate::config::{Config, Role};
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

/// A kubelet takes a minute to write what a config map has.
pub const LOOK_EVERY: Duration = Duration::from_secs(10);

/// Of each file when it was written and its length, if it is there.
type Stamp = Vec<Option<(SystemTime, u64)>>;

pub struct Files {
    paths: Vec<PathBuf>,
    /// As they were when they were read.
    read: Stamp,
    /// As they were at the last look.
    seen: Stamp,
}

impl Files {
    pub fn of(config: &Config) -> Files {
        Files::at(paths(config))
    }

    fn at(paths: Vec<PathBuf>) -> Files {
        let read = stamp(&paths);
        Files { paths, seen: read.clone(), read }
    }

    /// Whether they are to be read again. One that is being written is left alone until it stays as it is.
    pub fn changed(&mut self) -> bool {
        let now = stamp(&self.paths);
        let stays = now == self.seen;
        self.seen = now;
        let is_due = stays && self.seen != self.read;
        if is_due {
            self.read.clone_from(&self.seen);
        }
        is_due
    }

    /// They are about to be read.
    pub fn note(&mut self) {
        self.seen = stamp(&self.paths);
        self.read.clone_from(&self.seen);
    }

    /// A configuration may name other files than the one before.
    pub fn follow(&mut self, config: &Config) {
        let paths = paths(config);
        if paths != self.paths {
            *self = Files::at(paths);
        }
    }
}

fn paths(config: &Config) -> Vec<PathBuf> {
    if config.role != Role::Agent {
        return vec![];
    }
    let Config { config_file, token_file, log_rules, scrape_config, .. } = config;
    [config_file, token_file, log_rules, scrape_config].into_iter().flatten().cloned().collect()
}

fn stamp(paths: &[PathBuf]) -> Stamp {
    let of = |path: &PathBuf| {
        let metadata = std::fs::metadata(path).ok()?;
        Some((metadata.modified().ok()?, metadata.len()))
    };
    paths.iter().map(of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Flags;

    #[test]
    fn a_file_is_read_again_once_it_stays_as_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("rules.yaml");
        std::fs::write(&path, "rules: []").unwrap();
        let mut files = Files::at(vec![path.clone()]);
        assert!(!files.changed() && !files.changed());
        std::fs::write(&path, "rules: [{}").unwrap();
        assert!(!files.changed(), "somebody writes it");
        std::fs::write(&path, "rules: [{}, {}]").unwrap();
        assert!(!files.changed());
        assert!(files.changed() && !files.changed(), "once");
        std::fs::remove_file(&path).unwrap();
        files.note();
        assert!(!files.changed(), "it was read at a signal");
    }

    #[test]
    fn an_agents_files_are_looked_at() {
        let flags = || Flags {
            config: Some("a.toml".into()),
            log_rules: Some("rules.yaml".into()),
            ..Flags::default()
        };
        let of = |role| Files::of(&Config::build(role, flags()).unwrap()).paths;
        assert_eq!(of(Role::Agent), [PathBuf::from("a.toml"), PathBuf::from("rules.yaml")]);
        assert!(of(Role::Ingest).is_empty());
    }
}
