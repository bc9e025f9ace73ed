//! Alert states and what receivers were told, in one file that is replaced as a whole: written beside, synced, renamed.

use crate::notify::ToldBy;
use crate::state;
use anyhow::Context;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;
use std::path::Path;
use tracing::error;

const VERSION: u32 = 1;
const NAME: &str = "states.json";

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Saved {
    version: u32,
    pub saved_ms: i64,
    /// By rule key.
    pub rules: BTreeMap<String, state::Alerts>,
    pub told: ToldBy,
}

impl Saved {
    pub fn new(saved_ms: i64, rules: BTreeMap<String, state::Alerts>, told: ToldBy) -> Saved {
        Saved { version: VERSION, saved_ms, rules, told }
    }

    pub fn write(&self, dir: &Path) -> anyhow::Result<()> {
        let beside = dir.join("states.json.new");
        let write = || -> std::io::Result<()> {
            let mut file = File::create(&beside)?;
            file.write_all(&serde_json::to_vec(self).map_err(std::io::Error::other)?)?;
            file.sync_all()?;
            std::fs::rename(&beside, dir.join(NAME))?;
            File::open(dir)?.sync_all()
        };
        write().with_context(|| format!("writing alert states to {}", dir.display()))
    }

    /// What was written last. A file that cannot be understood is set aside, named in the log, and alerts begin anew.
    pub fn read(dir: &Path) -> anyhow::Result<Saved> {
        let path = dir.join(NAME);
        let bytes = match std::fs::read(&path) {
            Ok(bytes) => bytes,
            Err(wrong) if wrong.kind() == std::io::ErrorKind::NotFound => return Ok(Saved::default()),
            Err(wrong) => {
                return Err(wrong).with_context(|| format!("reading alert states of {}", path.display()));
            }
        };
        let parsed = serde_json::from_slice::<Saved>(&bytes);
        let why = match parsed {
            Ok(saved) if saved.version == VERSION => return Ok(saved),
            Ok(saved) => format!("version {} is not known", saved.version),
            Err(wrong) => wrong.to_string(),
        };
        let aside = dir.join("states.json.broken");
        error!(file = %path.display(), kept_as = %aside.display(), error = why, "alert states are lost; alerts begin anew");
        std::fs::rename(&path, &aside).with_context(|| format!("setting {} aside", path.display()))?;
        Ok(Saved::default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_read_and_what_is_damaged_is_set_aside() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(Saved::read(dir.path()).unwrap(), Saved::default());
        let saved = Saved::new(
            5,
            BTreeMap::from([("a".into(), state::Alerts::default())]),
            vec![("r".into(), vec![])],
        );
        saved.write(dir.path()).unwrap();
        assert_eq!(Saved::read(dir.path()).unwrap(), saved);
        std::fs::write(dir.path().join(NAME), b"{\"version\":1,").unwrap();
        assert_eq!(Saved::read(dir.path()).unwrap(), Saved::default());
        assert!(dir.path().join("states.json.broken").exists());
        assert!(Saved::default().write(Path::new("/nonexistent")).is_err());
    }
}
