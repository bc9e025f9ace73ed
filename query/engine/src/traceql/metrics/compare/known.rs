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
    tallies: Vec<Tally>,
    /// Of rows that were counted, to be used again.
    spent: Tallied,
}

/// Every other row is counted by itself: to add to what was just added to takes as long as to add to four others.
type Tally = [u32; 2];

/// The keys of rows: on each side at each step the first row that has each, and how many have it.
#[derive(Default)]
pub(super) struct Tallied {
    /// Each with the place where its keys end.
    cells: Vec<(One, usize)>,
    keys: Vec<(u32, u32)>,
}

impl Tallied {
    /// Of each key the first row, and as how many it is counted.
    pub fn iter(&self) -> impl Iterator<Item = (usize, One)> {
        let mut start = 0;
        self.cells.iter().flat_map(move |(one, end)| {
            let own = &self.keys[std::mem::replace(&mut start, *end)..*end];
            own.iter().map(move |(row, count)| (*row as usize, One { weight: f64::from(*count), ..*one }))
        })
    }

    /// Adds how often each key occurs in these rows; `tallies` are all 0 before and after.
    fn add(&mut self, (one, rows): (One, &[u32]), tallies: &mut [Tally], key: impl Fn(u32) -> u32) {
        let first = self.keys.len();
        let mut count = |row: u32, place: usize| {
            let Some(tally) = tallies.get_mut(key(row) as usize) else { return };
            if tally[0] == 0 && tally[1] == 0 {
                self.keys.push((row, 0));
            }
            tally[place] += 1;
        };
        let (pairs, last) = rows.as_chunks();
        for [one, next] in pairs {
            count(*one, 0);
            count(*next, 1);
        }
        last.iter().for_each(|row| count(*row, 0));
        for (row, count) in &mut self.keys[first..] {
            *count = std::mem::take(&mut tallies[key(*row) as usize]).iter().sum();
        }
        self.cells.push((one, self.keys.len()));
    }
}

impl KnownKeys {
    /// Forgets what was known of other words, which is told. The dictionary is held, so that no other one lies where it does.
    pub fn keep(&mut self, keyed: &Keyed<'_>) -> bool {
        let same = match (&self.dictionary, keyed.dictionary) {
            (Some(own), Some(other)) => {
                std::ptr::eq(own.value_offsets(), other.value_offsets())
                    && std::ptr::eq(own.value_data(), other.value_data())
            }
            (None, None) => true,
            _ => false,
        };
        let is_new = !same || self.words != keyed.words;
        if is_new {
            self.dictionary = keyed.dictionary.cloned();
            self.words = keyed.words;
            self.places.clear();
        }
        is_new
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

    /// How often each key occurs. `None` where that does not tell all: rows have weights, or values of several types.
    pub fn tally(&mut self, keyed: &Keyed<'_>, rows: &Rows) -> Option<Tallied> {
        let cells = rows.by_cells().filter(|_| keyed.is_of_one_kind())?;
        self.tallies.resize(self.words + 1, Tally::default());
        let (mut tallied, keys) = (std::mem::take(&mut self.spent), &keyed.keys[..]);
        for cell in cells {
            let key = |row: u32| keys[row as usize].wrapping_add(1);
            match keyed.kinds {
                None => tallied.add(cell, &mut self.tallies, key),
                // The key of a row without a value may be that of one.
                Some(kinds) => {
                    let key = |row: u32| if kinds[row as usize] == 0 { 0 } else { key(row) };
                    tallied.add(cell, &mut self.tallies, key);
                }
            }
        }
        Some(tallied)
    }

    pub fn give_back(&mut self, mut spent: Tallied) {
        spent.cells.clear();
        spent.keys.clear();
        self.spent = spent;
    }
}
