//! The data directory: made, tried and held. One process at a time has it; what an earlier one left of its ports goes.
//!
//! A disk that is full ends no start: what is there can be sent and asked for, and by that room may come.

use super::listeners;
use anyhow::{Context, bail};
use std::fs::{File, TryLockError};
use std::io::ErrorKind;
use std::path::Path;
use tracing::warn;

/// Held as long as this lives. The kernel lets go of it when the process ends, however it ends.
pub struct DataDir(#[allow(dead_code, reason = "held, not read")] File);

impl DataDir {
    /// Made where it is missing, and written to: a directory that cannot be should end the start, not the first flush.
    pub fn prepare(dir: &Path) -> anyhow::Result<()> {
        let tried = std::fs::create_dir_all(dir).and_then(|()| match write_probe(dir) {
            Err(wrong) if is_full(&wrong) => Ok(()),
            probed => probed,
        });
        tried.with_context(|| {
            let dir = dir.display();
            format!("the data directory {dir} cannot be written to; choose another with --data-dir")
        })
    }

    /// Of a directory that is there.
    pub fn hold(dir: &Path) -> anyhow::Result<DataDir> {
        let lock = File::create(dir.join("process.lock"))
            .with_context(|| format!("opening the lock of the data directory {}", dir.display()))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => bail!(
                "the data directory {} is in use by another process; stop it, or choose another with --data-dir",
                dir.display()
            ),
            Err(TryLockError::Error(wrong)) => {
                return Err(wrong).with_context(|| format!("locking the data directory {}", dir.display()));
            }
        }
        // Whoever waits for the ports must not read those of the last start.
        match std::fs::remove_file(dir.join(listeners::FILE)) {
            Err(wrong) if wrong.kind() != ErrorKind::NotFound => {
                return Err(wrong)
                    .with_context(|| format!("removing the old {} in {}", listeners::FILE, dir.display()));
            }
            _ => {}
        }
        // Only now somebody hears of it.
        if let Err(wrong) = write_probe(dir) {
            let dir = dir.display();
            warn!(error = %wrong, "nothing can be written to the data directory {dir}; what is there is used meanwhile");
        }
        Ok(DataDir(lock))
    }
}

fn write_probe(dir: &Path) -> std::io::Result<()> {
    let probe = dir.join(".writable");
    let written = std::fs::write(&probe, b"x");
    let removed = std::fs::remove_file(&probe);
    written.and(removed)
}

/// There may be room later.
pub fn is_full(wrong: &std::io::Error) -> bool {
    matches!(wrong.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is written there finds no room, as on a disk that is full.
    fn full(file: &Path) {
        std::os::unix::fs::symlink("/dev/full", file).unwrap();
    }

    #[test]
    fn a_full_disk_ends_no_start() {
        let dir = tempfile::tempdir().unwrap();
        let probe = dir.path().join(".writable");
        full(&probe);
        assert!(is_full(&write_probe(dir.path()).unwrap_err()));
        assert!(!probe.is_symlink(), "it is not left behind");
        full(&probe);
        DataDir::prepare(dir.path()).unwrap();
        full(&probe);
        DataDir::hold(dir.path()).unwrap();
        // What will never be written to does.
        let file = dir.path().join("file");
        std::fs::write(&file, "").unwrap();
        assert!(DataDir::prepare(&file).is_err());
    }

    #[test]
    fn one_process_at_a_time() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join(listeners::FILE), "{}").unwrap();
        let held = DataDir::hold(dir.path()).unwrap();
        assert!(!dir.path().join(listeners::FILE).exists());
        std::fs::write(dir.path().join(listeners::FILE), "{}").unwrap();
        let refused = DataDir::hold(dir.path()).err().unwrap().to_string();
        assert!(refused.contains("in use") && refused.contains("--data-dir"), "{refused}");
        assert!(dir.path().join(listeners::FILE).exists(), "the other process' ports stay known");
        drop(held);
        DataDir::hold(dir.path()).unwrap();
    }
}
