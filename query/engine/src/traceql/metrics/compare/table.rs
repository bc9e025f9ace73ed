//! What one thread counts of each field that is compared: how often each side has each of its values at each step.
//!
//! Rows are counted column by column. What the word of a row is counted as is looked up once as long as the column's dictionary is
//! the same, which it is for all batches of a row group. Where all rows of a batch have the same value, their number is added at
//! once; else it is counted how often each word occurs on a side at a step, and that is added. Only weights are added row by row, as
//! their sum depends on the order, and rows of which a field has more values than there is room for.

use super::super::{SpanAt, value_of};
use super::known::{KnownKeys, Tallied};
use super::rows::{One, Rows};
use super::{Attributes, Counts, Examples, INTRINSICS, VALUES_MAX, example, key_of};
use crate::QueryError;
use crate::logql::broken;
use crate::traceql::spans::{Keyed, Spans};
use crate::traceql::value::typed;
use arrow::array::StringArray;
use datafusion::execution::memory_pool::MemoryReservation;
use foldhash::fast::RandomState;
use model::Value;
use std::collections::{HashMap, HashSet};
use traceql::{Field, Scope};

/// The number of a value that a side does not have.
const NONE: u32 = u32::MAX;
/// What a thread may take before it asks for it: a value may have thousands of steps.
const GROWN_BYTES: usize = 1 << 20;

/// Memory that was taken.
pub(super) struct Held {
    /// Not asked for yet.
    pub grown: usize,
    reservation: MemoryReservation,
}

impl Held {
    pub fn of(reservation: MemoryReservation) -> Held {
        Held { grown: 0, reservation }
    }

    pub fn ask_if_much(&mut self) -> Result<(), QueryError> {
        if self.grown <= GROWN_BYTES { Ok(()) } else { self.ask() }
    }

    pub fn ask(&mut self) -> Result<(), QueryError> {
        self.reservation.try_grow(std::mem::take(&mut self.grown)).map_err(broken)
    }
}

/// A value of one field.
struct Slot {
    key: String,
    value: Value,
}

/// How often one side has values of a field. Rows that follow one another are of few steps, so that counts stand by step, and there
/// by the number of their value on this side.
struct Side {
    totals: Vec<f64>,
    steps: Vec<Vec<f64>>,
    distinct: usize,
    too_many: bool,
}

impl Side {
    /// Bytes of each step.
    const STEP_BYTES: usize = size_of::<f64>() + size_of::<Vec<f64>>();

    fn new(steps: usize) -> Side {
        Side { totals: vec![0.0; steps], steps: vec![vec![]; steps], distinct: 0, too_many: false }
    }

    /// The number of another value; [`NONE`] where there is no room for it.
    fn next(&mut self) -> u32 {
        if self.distinct >= VALUES_MAX {
            self.too_many = true;
            return NONE;
        }
        self.distinct += 1;
        self.distinct as u32 - 1
    }

    fn add(&mut self, number: u32, one: One, grown: &mut usize) {
        let Some(counts) = self.steps.get_mut(one.step) else { return };
        let number = number as usize;
        if counts.len() <= number {
            let before = counts.capacity();
            counts.resize(number + 1, 0.0);
            *grown += (counts.capacity() - before) * size_of::<f64>();
        }
        counts[number] += one.weight;
    }

    /// Of each value, by its number.
    fn sums(&self) -> Vec<f64> {
        let mut sums = vec![];
        self.steps.iter().for_each(|counts| add(&mut sums, counts));
        sums
    }

    /// Of a value, at each step.
    fn counts(&self, number: u32) -> impl Iterator<Item = f64> {
        self.steps.iter().map(move |counts| counts.get(number as usize).copied().unwrap_or(0.0))
    }
}

/// By text, where a value is counted; `None` for what is no value.
type Places = HashMap<String, Option<u32>, RandomState>;

/// Where a value is counted.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Place {
    Slot(u32),
    /// There are too many others.
    NoRoom,
    /// It is none.
    Nowhere,
}

/// One field.
pub(super) struct Column {
    name: String,
    sides: [Side; 2],
    slots: Vec<Slot>,
    /// By slot, its number on either side; [`NONE`] where it has none.
    numbers: Vec<[u32; 2]>,
    /// By type byte, of which there are few.
    places: Vec<(u8, Places)>,
    known: KnownKeys,
}

impl Column {
    fn new(name: String, steps: usize) -> Column {
        Column {
            name,
            sides: [Side::new(steps), Side::new(steps)],
            slots: vec![],
            numbers: vec![],
            places: vec![],
            known: KnownKeys::default(),
        }
    }

    /// Counts rows by their keys; `place` tells that of a row whose key is new.
    pub fn count_keyed(
        &mut self,
        keyed: &Keyed<'_>,
        rows: &Rows,
        held: &mut Held,
        place: impl Fn(&mut Column, usize, &mut usize) -> Place,
    ) -> Result<(), QueryError> {
        let mut known = std::mem::take(&mut self.known);
        known.keep(keyed);
        let counted = match rows.iter().next().filter(|_| keyed.is_uniform()) {
            Some((row, _)) => {
                let place = known.get(keyed, row, || place(self, row, &mut held.grown));
                self.count_all(place, rows, held)
            }
            None => {
                let tallied = known.tally(keyed, rows);
                let all_told = tallied.as_ref().filter(|tallied| self.has_room(&known, keyed, tallied));
                let count = |(row, one): (usize, One)| {
                    let place = known.get(keyed, row, || place(self, row, &mut held.grown));
                    self.count(place, one, &mut held.grown);
                    held.ask_if_much()
                };
                let counted = match all_told {
                    Some(tallied) => tallied.iter().try_for_each(count),
                    None => rows.iter().try_for_each(count),
                };
                known.give_back(tallied.unwrap_or_default());
                counted
            }
        };
        self.known = known;
        counted
    }

    /// Whether all values of these rows are told apart, whichever comes first.
    fn has_room(&self, known: &KnownKeys, keyed: &Keyed<'_>, tallied: &Tallied) -> bool {
        let mut new = [0; 2];
        for (row, one) in tallied.iter() {
            let is_new = match known.known(keyed, row) {
                Some(Place::Slot(slot)) => self.numbers[slot as usize][one.side] == NONE,
                known => known.is_none(),
            };
            new[one.side] += usize::from(is_new);
        }
        self.has_room_for(new)
    }

    /// Whether there is room for so many new values on either side.
    fn has_room_for(&self, new: [usize; 2]) -> bool {
        let all: usize = new.iter().sum();
        self.sides.iter().zip(new).all(|(side, new)| side.distinct + new <= VALUES_MAX)
            && self.places.iter().all(|(_, places)| places.len() + all <= 2 * VALUES_MAX)
    }

    /// Counts rows by texts of which nearly all are empty; all are where there are none.
    pub fn count_texts(
        &mut self,
        texts: Option<&StringArray>,
        rows: &Rows,
        held: &mut Held,
    ) -> Result<(), QueryError> {
        let Some(texts) = texts.filter(|texts| !texts.value_data().is_empty()) else {
            let place = self.place_of_text("", &mut held.grown);
            return self.count_all(place, rows, held);
        };
        let with_text = rows.iter().filter(|(row, _)| texts.value_length(*row) > 0).count();
        match rows.by_cells().filter(|_| self.has_room_for([with_text + 1; 2])) {
            Some(cells) => self.count_texts_of_cells(texts, cells, held),
            None => rows.iter().try_for_each(|(row, one)| self.count_text(texts.value(row), one, held)),
        }
    }

    fn count_texts_of_cells<'a>(
        &mut self,
        texts: &StringArray,
        cells: impl Iterator<Item = (One, &'a [u32])>,
        held: &mut Held,
    ) -> Result<(), QueryError> {
        for (one, rows) in cells {
            let mut empty = 0;
            for row in rows.iter().map(|row| *row as usize) {
                match texts.value_length(row) {
                    0 => empty += 1,
                    _ => self.count_text(texts.value(row), one, held)?,
                }
            }
            if empty > 0 {
                self.count_text("", One { weight: f64::from(empty), ..one }, held)?;
            }
        }
        Ok(())
    }

    fn count_text(&mut self, text: &str, one: One, held: &mut Held) -> Result<(), QueryError> {
        let place = self.place_of_text(text, &mut held.grown);
        self.count(place, one, &mut held.grown);
        held.ask_if_much()
    }

    /// All rows have one value.
    fn count_all(&mut self, place: Place, rows: &Rows, held: &mut Held) -> Result<(), QueryError> {
        if place == Place::Nowhere {
            return Ok(());
        }
        rows.sums().try_for_each(|one| {
            self.count(place, one, &mut held.grown);
            held.ask_if_much()
        })
    }

    pub fn place_of_text(&mut self, text: &str, grown: &mut usize) -> Place {
        self.place(b's', text, || Some(Value::String(text.to_owned())), grown)
    }

    /// The place of a value by its text, made where it is new; the bytes that it took are added.
    pub fn place(
        &mut self,
        kind: u8,
        text: &str,
        value: impl FnOnce() -> Option<Value>,
        grown: &mut usize,
    ) -> Place {
        let of_kind = self.places.iter().position(|(own, _)| *own == kind).unwrap_or_else(|| {
            self.places.push((kind, HashMap::default()));
            self.places.len() - 1
        });
        let places = &mut self.places[of_kind].1;
        if let Some(known) = places.get(text) {
            return known.map_or(Place::Nowhere, Place::Slot);
        }
        // Each side has so many; what neither has room for is not remembered.
        if places.len() >= 2 * VALUES_MAX {
            return Place::NoRoom;
        }
        let slot = value().map(|value| {
            self.slots.push(Slot { key: key_of(&value), value });
            self.numbers.push([NONE; 2]);
            self.slots.len() as u32 - 1
        });
        places.insert(text.to_owned(), slot);
        *grown += 3 * text.len() + 250;
        slot.map_or(Place::Nowhere, Place::Slot)
    }

    fn count(&mut self, place: Place, one: One, grown: &mut usize) {
        if place == Place::Nowhere {
            return;
        }
        let side = &mut self.sides[one.side];
        if let Some(total) = side.totals.get_mut(one.step) {
            *total += one.weight;
        }
        let Place::Slot(slot) = place else {
            side.too_many = true;
            return;
        };
        let number = &mut self.numbers[slot as usize][one.side];
        if *number == NONE {
            *number = side.next();
        }
        if *number != NONE {
            side.add(*number, one, grown);
        }
    }
}

/// What one thread has counted.
pub(super) struct Table {
    steps: usize,
    /// Those of [`INTRINSICS`] first.
    pub columns: Vec<Column>,
    of_attributes: [HashMap<String, usize, RandomState>; 3],
    pub examples: Examples,
    /// By side and step, whether there is an example.
    shown: [Vec<bool>; 2],
    pub inspected: u64,
    pub held: Held,
}

impl Table {
    pub fn new(steps: usize, held: Held) -> Table {
        let columns = INTRINSICS.map(|intrinsic| Column::new(intrinsic.as_str().to_owned(), steps));
        Table {
            steps,
            columns: columns.into(),
            of_attributes: Default::default(),
            examples: Examples::default(),
            shown: [vec![false; steps], vec![false; steps]],
            inspected: 0,
            held,
        }
    }

    /// Keeps the first span of each side and step.
    pub fn show(&mut self, spans: &Spans<'_>, rows: &Rows) {
        for (row, one) in rows.iter() {
            if let Some(shown) = self.shown[one.side].get_mut(one.step)
                && !*shown
            {
                *shown = true;
                self.examples[one.side].insert(one.step, example(&SpanAt { spans, row, trace: None }));
            }
        }
    }

    /// The column of an attribute, and the place of a value there.
    pub fn place(&mut self, scope: Scope, name: &str, (text, kind): (&str, u8)) -> (usize, Place) {
        let at = self.attribute(scope, name);
        let (column, grown) = (&mut self.columns[at], &mut self.held.grown);
        (at, column.place(kind, text, || value_of(typed(kind, text)), grown))
    }

    pub fn count_at(&mut self, column: usize, place: Place, one: One) {
        self.columns[column].count(place, one, &mut self.held.grown);
    }

    pub fn count_entry(&mut self, scope: Scope, name: &str, value: (&str, u8), one: One) {
        let (at, place) = self.place(scope, name, value);
        self.count_at(at, place, one);
    }

    /// Where the column of an attribute is.
    pub fn attribute(&mut self, scope: Scope, name: &str) -> usize {
        let of_scope = match scope {
            Scope::Span => 0,
            Scope::Resource => 1,
            _ => 2,
        };
        if let Some(at) = self.of_attributes[of_scope].get(name) {
            return *at;
        }
        let named = Field::Attribute { scope, name: name.to_owned() }.to_string();
        self.held.grown += 3 * named.len() + 2 * Side::STEP_BYTES * self.steps + 300;
        self.columns.push(Column::new(named, self.steps));
        self.of_attributes[of_scope].insert(name.to_owned(), self.columns.len() - 1);
        self.columns.len() - 1
    }
}

/// What all threads have counted, of each attribute the commonest values, and the memory that it takes.
pub(super) fn told(mut tables: Vec<Table>, top: usize) -> Result<(Attributes, Vec<Held>), QueryError> {
    let mut columns: HashMap<String, Vec<Column>, RandomState> = HashMap::default();
    for column in tables.iter_mut().flat_map(|table| std::mem::take(&mut table.columns)) {
        columns.entry(column.name.clone()).or_default().push(column);
    }
    let mut held: Vec<Held> = tables.into_iter().map(|table| table.held).collect();
    let mut attributes = Attributes::default();
    for (name, columns) in columns {
        for (at, attributes) in attributes.iter_mut().enumerate() {
            let own = OfSide { columns: &columns, at };
            if let Some(counts) = own.counts(top) {
                let grown: usize = counts.values.values().map(|(_, counts)| 8 * counts.len()).sum();
                held.iter_mut().take(1).try_for_each(|held| {
                    held.grown += grown;
                    held.ask_if_much()
                })?;
                attributes.insert(name.clone(), counts);
            }
        }
    }
    held.iter_mut().try_for_each(Held::ask)?;
    Ok((attributes, held))
}

/// One side of one field, as each thread counted it.
struct OfSide<'a> {
    columns: &'a [Column],
    at: usize,
}

impl<'a> OfSide<'a> {
    fn sides(&self) -> impl Iterator<Item = (&'a Column, &'a Side)> {
        let at = self.at;
        self.columns.iter().map(move |column| (column, &column.sides[at]))
    }

    /// Each value with the number that it has in a column.
    fn values(&self, column: &'a Column) -> impl Iterator<Item = (&'a Slot, u32)> {
        let at = self.at;
        let numbered =
            column.slots.iter().zip(&column.numbers).map(move |(slot, numbers)| (slot, numbers[at]));
        numbered.filter(|(_, number)| *number != NONE)
    }

    /// `None` where the side has no value.
    fn counts(&self, top: usize) -> Option<Counts> {
        let mut counts = Counts::default();
        let mut sums: HashMap<&str, f64, RandomState> = HashMap::default();
        for (column, side) in self.sides() {
            add(&mut counts.total, &side.totals);
            let own = side.sums();
            for (slot, number) in self.values(column) {
                *sums.entry(&slot.key).or_default() += own.get(number as usize).copied().unwrap_or(0.0);
            }
            counts.too_many |= side.too_many;
        }
        if counts.total.iter().all(|total| *total == 0.0) {
            return None;
        }
        counts.too_many |= sums.len() > VALUES_MAX;
        let mut commonest: Vec<(&str, f64)> = sums.into_iter().collect();
        commonest.sort_unstable_by(|a, b| b.1.total_cmp(&a.1).then_with(|| a.0.cmp(b.0)));
        commonest.truncate(top);
        let wanted: HashSet<&str> = commonest.into_iter().map(|(key, _)| key).collect();
        for (column, side) in self.sides() {
            for (slot, number) in self.values(column).filter(|(slot, _)| wanted.contains(slot.key.as_str())) {
                let (_, sum) =
                    counts.values.entry(slot.key.clone()).or_insert_with(|| (slot.value.clone(), vec![]));
                add(sum, &side.counts(number).collect::<Vec<f64>>());
            }
        }
        Some(counts)
    }
}

fn add(sums: &mut Vec<f64>, others: &[f64]) {
    sums.resize(sums.len().max(others.len()), 0.0);
    sums.iter_mut().zip(others).for_each(|(sum, other)| *sum += other);
}

#[cfg(test)]
mod tests;
