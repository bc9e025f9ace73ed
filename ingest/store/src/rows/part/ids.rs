//! Which rows hold an id: 32 bits of each id's hash with its row, sorted. A search finds a few rows too many at worst,
//! never too few.

use super::ranges::Ranges;
use crate::rows::tokens::{Kind, LONG_ID_DIGITS, kind, tokens};
use crate::side_index::Cursor;
use arrow::array::{Array, AsArray, RecordBatch, StringArray};

#[derive(Default)]
pub struct Ids {
    /// Hash and row, ascending.
    entries: Vec<(u32, u32)>,
    /// The rows hold hex tokens longer than a trace id.
    pub has_longer: bool,
}

/// Ids are looked for whatever the case of their letters.
fn hash(id: &str) -> u32 {
    let id = id.to_ascii_lowercase();
    xxhash_rust::xxh3::xxh3_64(id.as_bytes()) as u32
}

impl Ids {
    /// Trace ids of the column of that name, and ids in the bodies where there are bodies.
    pub fn of(batch: &RecordBatch) -> Ids {
        let mut ids = Ids::default();
        if let Some(column) = batch.column_by_name("trace_id") {
            let column = column.as_fixed_size_binary();
            for row in (0..column.len()).filter(|row| column.is_valid(*row)) {
                ids.entries.push((hash(&hex::encode(column.value(row))), row as u32));
            }
        }
        if let Some(bodies) = batch.column_by_name("body") {
            let bodies: &StringArray = bodies.as_string();
            for row in 0..bodies.len() {
                for id in tokens(bodies.value(row)).filter(|token| kind(token) == Kind::Id) {
                    ids.has_longer |= id.len() > LONG_ID_DIGITS;
                    ids.entries.push((hash(id), row as u32));
                }
            }
        }
        ids.entries.sort_unstable();
        ids.entries.dedup();
        ids
    }

    pub fn rows(&self, id: &str) -> Ranges {
        let wanted = hash(id);
        let start = self.entries.partition_point(|(hash, _)| *hash < wanted);
        let found = self.entries[start..].iter().take_while(|(hash, _)| *hash == wanted);
        Ranges::new(found.map(|(_, row)| *row as usize..*row as usize + 1))
    }

    pub fn encode(&self) -> Vec<u8> {
        let mut out = vec![u8::from(self.has_longer)];
        out.extend_from_slice(&(self.entries.len() as u32).to_le_bytes());
        self.entries.iter().for_each(|(hash, _)| out.extend_from_slice(&hash.to_le_bytes()));
        self.entries.iter().for_each(|(_, row)| out.extend_from_slice(&row.to_le_bytes()));
        out
    }

    pub fn decode(bytes: &[u8]) -> Result<Ids, String> {
        let mut rest = Cursor(bytes);
        let has_longer = rest.take(1)? != [0];
        let count = rest.u32()? as usize;
        let words = |bytes: &[u8]| -> Vec<u32> {
            bytes
                .chunks_exact(4)
                .map(|word| u32::from_le_bytes(word.try_into().unwrap_or_default()))
                .collect()
        };
        let hashes = words(rest.take(count * 4)?);
        let rows = words(rest.take(count * 4)?);
        Ok(Ids { entries: hashes.into_iter().zip(rows).collect(), has_longer })
    }
}
