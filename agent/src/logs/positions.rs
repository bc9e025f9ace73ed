//! How far each file and the journal have been read.

use crate::queue::Queue;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
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
    /// Dated names under which nothing new comes: rotations that were read to their end, and those that were older than
    /// the first that was read. All others are still to be read, even where the file itself is gone.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub read: Vec<String>,
    /// As earlier versions wrote it: the newest of these names alone.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub after: String,
    /// Inside a line that is longer than the limit: what follows up to its end is passed over.
    #[serde(default, skip_serializing_if = "is_false")]
    pub skipping: bool,
    /// Begun container lines, whose rest may come in the next file: one each of stdout and stderr.
    #[serde(default, skip_serializing_if = "nothing_pending")]
    pub pending: [Option<Pending>; 2],
    /// Of which streams there were records in this file.
    #[serde(default, skip_serializing_if = "nothing_said")]
    pub said: [bool; 2],
    /// Files before this one are missing, or may be: nothing that was begun before goes on in it.
    #[serde(default, skip_serializing_if = "is_false")]
    pub after_gap: bool,
    /// What was open before this file, while late words may come to it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub left: Option<LeftFile>,
    /// Lines that may go on in the next one, as a stack trace does.
    #[serde(default, skip_serializing_if = "nothing_pending")]
    pub joined: [Option<Pending>; 2],
}

/// A container's file that was read to its end and left for the next one.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LeftFile {
    /// Its dated name, behind the base.
    pub name: String,
    pub head_bytes: u32,
    pub head_hash: u64,
    /// Late words come behind it.
    pub offset: u64,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Pending {
    pub ts_ns: i64,
    #[serde(with = "as_hex")]
    pub body: Vec<u8>,
    #[serde(default)]
    pub cut: bool,
    /// What kind of lines it is that are joined.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<super::multiline::Kind>,
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

fn previous(path: &Path) -> PathBuf {
    path.with_extension("previous")
}

fn is_false(truth: &bool) -> bool {
    !truth
}

fn nothing_said(said: &[bool; 2]) -> bool {
    *said == [false; 2]
}

fn nothing_pending(pending: &[Option<Pending>; 2]) -> bool {
    pending.iter().all(Option::is_none)
}

impl Positions {
    /// From the file, or the one before it where it is damaged, and then from records of the queue that are younger.
    /// Without either the queue alone tells, and what it does not tell is read from its beginning: twice rather than
    /// never.
    pub fn load(path: &Path, queue: &Queue) -> Positions {
        let mut positions = Positions::default();
        for path in [path.to_owned(), previous(path)] {
            let Ok(text) = std::fs::read(&path) else { continue };
            match Positions::from_bytes(&text) {
                Ok(read) => {
                    positions = read;
                    break;
                }
                Err(wrong) => warn!(path = %path.display(), wrong, "positions in log files are damaged"),
            }
        }
        // A queue that lost its files numbers its records anew. Written down at once: what is pushed now has these numbers.
        if positions.seq > queue.newest() {
            positions.seq = queue.newest();
            if let Err(wrong) = Positions::save(&positions.to_bytes(), path) {
                warn!(path = %path.display(), error = %wrong, "positions in log files cannot be written down");
            }
        }
        queue.positions_are_saved_up_to(positions.seq);
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

    /// A line with the hash of what follows it, and JSON.
    pub fn to_bytes(&self) -> Vec<u8> {
        let json = serde_json::to_vec(self).unwrap_or_default();
        let mut bytes = format!("{:016x}\n", xxhash_rust::xxh3::xxh3_64(&json)).into_bytes();
        bytes.extend_from_slice(&json);
        bytes
    }

    /// Without a hash before it, JSON is taken as it is: so it was written once.
    fn from_bytes(bytes: &[u8]) -> Result<Positions, String> {
        let json = match bytes.first() {
            Some(b'{') => bytes,
            _ => {
                let (hash, json) = bytes.split_at_checked(17).ok_or("it is too short")?;
                let hash = std::str::from_utf8(&hash[..16]).map_err(|wrong| wrong.to_string())?;
                let hash = u64::from_str_radix(hash, 16).map_err(|wrong| wrong.to_string())?;
                if hash != xxhash_rust::xxh3::xxh3_64(json) {
                    return Err("its checksum does not fit".into());
                }
                json
            }
        };
        serde_json::from_slice(json).map_err(|wrong| wrong.to_string())
    }

    /// The file as it was is kept beside the new one.
    pub fn save(bytes: &[u8], path: &Path) -> std::io::Result<()> {
        match std::fs::rename(path, previous(path)) {
            Err(wrong) if wrong.kind() != std::io::ErrorKind::NotFound => return Err(wrong),
            _ => {}
        }
        crate::queue::write_whole(path, bytes)
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
