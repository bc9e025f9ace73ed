//! Where an id is: a hash of each id with the cell of a log's page that holds it, sorted. A search finds a few too many at
//! worst, never too few.

use super::cells::Grid;
use crate::rows::tokens::{Kind, LONG_ID_DIGITS, kind, tokens};
use crate::side_index::{Cursor, put_split, take_split};
use arrow::array::{Array, FixedSizeBinaryArray, StringArray};

/// Lines are looked through page by page, and so many find a page too many once in ten searches.
const HASH_BITS: u32 = 24;

#[derive(Default)]
pub struct Ids {
    hash_bits: u32,
    /// Hash and cell, ascending.
    entries: Vec<(u32, u32)>,
    /// The rows hold hex tokens longer than a trace id.
    pub has_longer: bool,
}

/// Ids are looked for whatever the case of their letters.
fn hash(id: &str, bits: u32) -> u32 {
    let mut lower = [0; 64];
    let hash = match lower.get_mut(..id.len()) {
        Some(lower) => {
            lower.copy_from_slice(id.as_bytes());
            lower.make_ascii_lowercase();
            xxhash_rust::xxh3::xxh3_64(lower)
        }
        None => xxhash_rust::xxh3::xxh3_64(id.to_ascii_lowercase().as_bytes()),
    };
    hash as u32 >> (32 - bits)
}

impl Ids {
    /// There is room for so many before more memory is taken.
    pub fn with_room(room: usize) -> Ids {
        Ids { hash_bits: HASH_BITS, entries: Vec::with_capacity(room), has_longer: false }
    }

    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// The ids of a column, each with its unit.
    pub fn add_column(&mut self, ids: &FixedSizeBinaryArray, unit_of: impl Fn(usize) -> u32) {
        let mut digits = [0; 32];
        for row in (0..ids.len()).filter(|row| ids.is_valid(*row)) {
            if hex::encode_to_slice(ids.value(row), &mut digits).is_ok() {
                let id = std::str::from_utf8(&digits).unwrap_or_default();
                self.entries.push((hash(id, self.hash_bits), unit_of(row)));
            }
        }
    }

    /// The ids in texts, whose first row is this one of the part.
    pub fn add_texts(&mut self, texts: &StringArray, grid: Grid, column: usize, first_row: usize) {
        for row in (0..texts.len()).filter(|row| texts.is_valid(*row)) {
            for id in tokens(texts.value(row)).filter(|token| kind(token) == Kind::Id) {
                self.has_longer |= id.len() > LONG_ID_DIGITS;
                self.entries.push((hash(id, self.hash_bits), grid.cell(first_row + row, column)));
            }
        }
    }

    /// Ascending cells.
    pub fn units(&self, id: &str) -> Vec<u32> {
        let wanted = hash(id, self.hash_bits);
        let start = self.entries.partition_point(|(hash, _)| *hash < wanted);
        self.entries[start..].iter().take_while(|(hash, _)| *hash == wanted).map(|(_, unit)| *unit).collect()
    }

    pub fn encode(mut self) -> Vec<u8> {
        self.entries.sort_unstable();
        self.entries.dedup();
        let mut out = Vec::with_capacity(6 + 8 * self.entries.len());
        out.extend_from_slice(&[u8::from(self.has_longer), self.hash_bits as u8]);
        out.extend_from_slice(&(self.entries.len() as u32).to_le_bytes());
        // Ascending hashes as their steps, most of which are one or two bytes; the high bytes are then all zero.
        let steps = self.entries.iter().scan(0, |before, (hash, _)| {
            let step = hash - *before;
            *before = *hash;
            Some(step.to_le_bytes())
        });
        put_split(&mut out, steps);
        put_split(&mut out, self.entries.iter().map(|(_, unit)| unit.to_le_bytes()));
        out
    }

    pub fn decode(bytes: &[u8]) -> Result<Ids, String> {
        let mut rest = Cursor(bytes);
        let [has_longer, hash_bits] = rest.array()?;
        if !(1..=32).contains(&hash_bits) {
            return Err("its ids are of no known kind".into());
        }
        let count = rest.u32()? as usize;
        let steps = take_split::<4>(&mut rest, count)?;
        let units = take_split::<4>(&mut rest, count)?;
        let hashes = steps.into_iter().scan(0u32, |hash, step| {
            *hash = hash.wrapping_add(u32::from_le_bytes(step));
            Some(*hash)
        });
        let entries = hashes.zip(units.into_iter().map(u32::from_le_bytes)).collect();
        Ok(Ids { hash_bits: u32::from(hash_bits), entries, has_longer: has_longer != 0 })
    }
}
