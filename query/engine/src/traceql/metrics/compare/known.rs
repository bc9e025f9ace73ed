//! What the keys of a column are counted as, and how often each occurs in rows. Batches of one row group have the same words, of
//! which each is looked up once.

use super::rows::{One, Rows};
use super::table::Place;
use crate::traceql::spans::Keyed;
use arrow::array::StringArray;

/// Where the keys of a column are counted, by their types.
#[derive(Default)]
pub(super) struct KnownKeys {
    dictionary: Option<StringArray>,
    words: usize,
    places: Vec<(u8, Vec<Option<Place>>)>,
    /// How often each occurs in rows that are being counted, and 0 in between. The first is of none.
    tallies: Vec<u32>,
}

impl KnownKeys {
    /// Forgets what was known of other words. The dictionary is held, so that no other one lies where it does.
    pub fn keep(&mut self, keyed: &Keyed<'_>) {
        let same = match (&self.dictionary, keyed.dictionary) {
            (Some(own), Some(other)) => {
                std::ptr::eq(own.value_offsets(), other.value_offsets())
                    && std::ptr::eq(own.value_data(), other.value_data())
            }
            (None, None) => self.words == keyed.words,
            _ => false,
        };
        if !same {
            self.dictionary = keyed.dictionary.cloned();
            self.words = keyed.words;
            self.places.clear();
        }
    }

    pub fn get(&mut self, keyed: &Keyed<'_>, row: usize, make: impl FnOnce() -> Place) -> Place {
        let kind = keyed.kinds.map_or(b's', |kinds| kinds[row]);
        if kind == 0 {
            return Place::Nowhere;
        }
        let at = match self.places.iter().position(|(own, _)| *own == kind) {
            Some(at) => at,
            None => {
                // The first is of none.
                self.places.push((kind, vec![None; self.words + 1]));
                self.places.len() - 1
            }
        };
        match self.places[at].1.get_mut(keyed.keys[row].wrapping_add(1) as usize) {
            Some(place) => *place.get_or_insert_with(make),
            None => Place::Nowhere,
        }
    }

    /// The same where it is known already.
    pub fn known(&self, keyed: &Keyed<'_>, row: usize) -> Option<Place> {
        let kind = keyed.kinds.map_or(b's', |kinds| kinds[row]);
        if kind == 0 {
            return Some(Place::Nowhere);
        }
        let (_, places) = self.places.iter().find(|(own, _)| *own == kind)?;
        *places.get(keyed.keys[row].wrapping_add(1) as usize)?
    }

    /// Of each key on each side at each step the first row, and as how many it is counted there. `None` where that does not tell
    /// all: rows have weights, or values of several types.
    pub fn tally(&mut self, keyed: &Keyed<'_>, rows: &Rows) -> Option<Vec<(usize, One)>> {
        let cells = rows.by_cells().filter(|_| keyed.is_of_one_kind())?;
        self.tallies.resize(self.words + 1, 0);
        let (mut tallied, keys) = (vec![], &keyed.keys[..]);
        for (one, own) in cells {
            match keyed.kinds {
                None => tally(&mut self.tallies, (one, own), |row| keys[row].wrapping_add(1), &mut tallied),
                // The key of a row without a value may be that of one.
                Some(kinds) => {
                    let key = |row: usize| if kinds[row] == 0 { 0 } else { keys[row].wrapping_add(1) };
                    tally(&mut self.tallies, (one, own), key, &mut tallied);
                }
            }
        }
        Some(tallied)
    }
}

/// Adds how often each key occurs in these rows, beside the first row that has it.
fn tally(
    tallies: &mut [u32],
    (one, rows): (One, &[u32]),
    key: impl Fn(usize) -> u32,
    tallied: &mut Vec<(usize, One)>,
) {
    let first = tallied.len();
    for row in rows {
        let row = *row as usize;
        let Some(tally) = tallies.get_mut(key(row) as usize) else { continue };
        if *tally == 0 {
            tallied.push((row, one));
        }
        *tally += 1;
    }
    for (row, one) in &mut tallied[first..] {
        one.weight = f64::from(std::mem::take(&mut tallies[key(*row) as usize]));
    }
}
