//! Where an id is: a hash of each id with the cell of a log's page that holds it, sorted. A search finds a few too many at
//! worst, never too few.

use super::cells::Grid;
use crate::rows::tokens::{Kind, LONG_ID_DIGITS, kind, tokens, uuids};
use crate::side_index::Cursor;
use arrow::array::{Array, FixedSizeBinaryArray, StringArray};
use std::io::Write;

/// Lines are looked through page by page, and so many find a page too many once in ten searches.
const HASH_BITS: u32 = 24;

const ENCODED_HEAD: usize = 6;
const ENCODED_ENTRY: usize = 8;

/// Bytes that are handed on at once.
const PIECE_BYTES: usize = 16 << 10;

#[derive(Default)]
pub struct Ids {
    hash_bits: u32,
    /// Hash and cell; ascending when all are there.
    entries: Vec<(u32, u32)>,
    /// Entries of the pages that are done.
    done: usize,
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
        Ids { hash_bits: HASH_BITS, entries: Vec::with_capacity(room), ..Ids::default() }
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
        let mut before = None;
        for row in (0..texts.len()).filter(|row| texts.is_valid(*row)) {
            let (text, cell) = (texts.value(row), grid.cell(first_row + row, column));
            // Fields of neighbours often are the same.
            if before.replace((text, cell)) == Some((text, cell)) {
                continue;
            }
            for id in tokens(text).filter(|token| kind(token) == Kind::Id) {
                self.has_longer |= id.len() > LONG_ID_DIGITS;
                self.entries.push((hash(id, self.hash_bits), cell));
            }
            self.entries.extend(uuids(text).map(|id| (hash(id, self.hash_bits), cell)));
        }
    }

    /// Ascending cells.
    pub fn units(&self, id: &str) -> Vec<u32> {
        let wanted = hash(id, self.hash_bits);
        let start = self.entries.partition_point(|(hash, _)| *hash < wanted);
        self.entries[start..].iter().take_while(|(hash, _)| *hash == wanted).map(|(_, unit)| *unit).collect()
    }

    /// What came since the last time is most often the lines of a page, which name some ids again and again: each is kept once.
    pub fn end_page(&mut self) {
        self.entries[self.done..].sort_unstable();
        let (mut kept, mut last) = (self.done, None);
        for at in self.done..self.entries.len() {
            let entry = self.entries[at];
            if last.replace(entry) != Some(entry) {
                self.entries[kept] = entry;
                kept += 1;
            }
        }
        self.entries.truncate(kept);
        self.done = kept;
    }

    /// Bytes of what is written of them.
    pub fn encoded_len(&self) -> usize {
        ENCODED_HEAD + ENCODED_ENTRY * self.entries.len()
    }

    /// Before they are written; none comes after.
    pub fn close(&mut self) {
        self.entries.sort_unstable();
        self.entries.dedup();
    }

    pub fn write(&self, out: &mut impl Write) -> std::io::Result<()> {
        out.write_all(&[u8::from(self.has_longer), self.hash_bits as u8])?;
        out.write_all(&(self.entries.len() as u32).to_le_bytes())?;
        // Ascending hashes as their steps, most of which are one or two bytes; the high bytes are then all zero.
        let steps = || {
            self.entries.iter().scan(0, |before, (hash, _)| {
                let step = hash - *before;
                *before = *hash;
                Some(step)
            })
        };
        write_split(out, steps)?;
        write_split(out, || self.entries.iter().map(|(_, unit)| *unit))
    }

    pub fn decode(bytes: &[u8]) -> Result<Ids, String> {
        let mut rest = Cursor(bytes);
        let [has_longer, hash_bits] = rest.array()?;
        if !(1..=32).contains(&hash_bits) {
            return Err("its ids are of no known kind".into());
        }
        let count = rest.u32()? as usize;
        let (steps, units) = (Split::take(&mut rest, count)?, Split::take(&mut rest, count)?);
        let mut hash = 0u32;
        let entry = |at| {
            hash = hash.wrapping_add(steps.number(at));
            (hash, units.number(at))
        };
        let entries = (0..count).map(entry).collect();
        Ok(Ids { hash_bits: u32::from(hash_bits), entries, done: 0, has_longer: has_longer != 0 })
    }

    /// How many there are in what was written.
    pub fn count(bytes: &[u8]) -> Result<usize, String> {
        let mut rest = Cursor(bytes);
        let [_, _] = rest.array()?;
        Ok(rest.u32()? as usize)
    }
}

/// Numbers as [`write_split`] wrote them.
struct Split<'a> {
    bytes: &'a [u8],
    count: usize,
}

impl<'a> Split<'a> {
    fn take(rest: &mut Cursor<'a>, count: usize) -> Result<Split<'a>, String> {
        let bytes = rest.take(count.checked_mul(size_of::<u32>()).ok_or("it is cut short")?)?;
        Ok(Split { bytes, count })
    }

    fn number(&self, at: usize) -> u32 {
        u32::from_le_bytes(std::array::from_fn(|byte| self.bytes[byte * self.count + at]))
    }
}

/// All first bytes of the numbers, then all second ones, …
fn write_split<I: Iterator<Item = u32>>(
    out: &mut impl Write,
    numbers: impl Fn() -> I,
) -> std::io::Result<()> {
    let mut bytes = Vec::with_capacity(PIECE_BYTES);
    for at in 0..size_of::<u32>() {
        for number in numbers() {
            bytes.push(number.to_le_bytes()[at]);
            if bytes.len() == PIECE_BYTES {
                out.write_all(&bytes)?;
                bytes.clear();
            }
        }
        out.write_all(&bytes)?;
        bytes.clear();
    }
    Ok(())
}
