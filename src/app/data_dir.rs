//! The data directory: made, tried and held. One process at a time has it; what an earlier one left of its ports goes.

use super::listeners;
use anyhow::{Context, bail};
use std::fs::{File, TryLockError};
use std::path::Path;

/// Held as long as this lives. The kernel lets go of it when the process ends, however it ends.
pub struct DataDir(#[allow(dead_code, reason = "held, not read")] File);

impl DataDir {
    /// Made where it is missing, and written to: a directory that cannot be should end the start, not the first flush.
    pub fn prepare(dir: &Path) -> anyhow::Result<()> {
        std::fs::create_dir_all(dir).and_then(|()| write_probe(dir)).with_context(|| {
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
            Err(wrong) if wrong.kind() != std::io::ErrorKind::NotFound => Err(wrong)
                .with_context(|| format!("removing the old {} in {}", listeners::FILE, dir.display())),
            _ => Ok(DataDir(lock)),
        }
    }
}

fn write_probe(dir: &Path) -> std::io::Result<()> {
    let probe = dir.join(".writable");
    std::fs::write(&probe, b"x")?;
    std::fs::remove_file(&probe)
}

#[cfg(test)]
mod tests {
    use super::*;

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
