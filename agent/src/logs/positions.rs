//! How far each file and the journal have been read.

use crate::queue::Queue;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::Path;
use tracing::warn;

/// All positions in the file, those that changed in a record of the queue.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Positions {
    /// Records of the queue up to here are contained.
    #[serde(default)]
    pub seq: u64,
    /// By path below the host's root.
    #[serde(default)]
    pub files: BTreeMap<String, Position>,
    /// The journal's own cursor.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub journal: Option<String>,
}

/// A file is known by how it begins: names and inode numbers are used again after a rotation.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Position {
    pub head_bytes: u32,
    pub head_hash: u64,
    pub offset: u64,
    /// Inside a line that is longer than the limit: what follows up to its end is passed over.
    #[serde(default, skip_serializing_if = "is_false")]
    pub skipping: bool,
    /// Begun container lines, whose rest may come in the next file: one each of stdout and stderr.
    #[serde(default, skip_serializing_if = "nothing_pending")]
    pub pending: [Option<Pending>; 2],
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Pending {
    pub ts_ns: i64,
    #[serde(with = "as_hex")]
    pub body: Vec<u8>,
    #[serde(default)]
    pub cut: bool,
}

/// Bytes need not be UTF-8: a part ends wherever the runtime's buffer was full.
mod as_hex {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&hex::encode(bytes))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
        hex::decode(String::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

fn is_false(truth: &bool) -> bool {
    !truth
}

fn nothing_pending(pending: &[Option<Pending>; 2]) -> bool {
    pending.iter().all(Option::is_none)
}

impl Positions {
    /// From the file, and then from records of the queue that are younger. Without the file the queue alone tells, and
    /// what it does not tell is read from its beginning: twice rather than never.
    pub fn load(path: &Path, queue: &Queue) -> Positions {
        let mut positions = match std::fs::read(path) {
            Ok(text) => serde_json::from_slice(&text).unwrap_or_else(|wrong| {
                warn!(path = %path.display(), error = %wrong, "positions in log files are damaged; files are read from their beginning");
                Positions::default()
            }),
            Err(_) => Positions::default(),
        };
        for (seq, text) in queue.positions_in_queue() {
            if seq > positions.seq
                && let Ok(changed) = serde_json::from_slice::<Positions>(&text)
            {
                positions.apply(&changed);
                positions.seq = seq;
            }
        }
        positions
    }

    pub fn apply(&mut self, changed: &Positions) {
        for (path, position) in &changed.files {
            self.files.insert(path.clone(), position.clone());
        }
        if changed.journal.is_some() {
            self.journal.clone_from(&changed.journal);
        }
    }
}
