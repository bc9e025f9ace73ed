//! Spans that came twice. Who got no answer sends again what was stored all the same, and two ways lead some senders here:
//! each number would count such spans twice. One that is like another in everything is left out where both are in one
//! memtable, and where parts that have them are merged. Copies that differ stay, as it is up to who asks which one is the span.

use super::groups::GROUP;
use super::order::{Row, times};
use super::shapes::{SHAPE, VALUES};
use crate::hash::NoHasher;
use crate::part::Signal;
use arrow::array::{
    Array, AsArray, BooleanArray, FixedSizeBinaryArray, ListArray, RecordBatch, StringArray, UInt32Array,
};
use arrow::datatypes::{Int64Type, UInt32Type};
use arrow::error::ArrowError;
use foldhash::{HashMap, HashMapExt};
use std::collections::HashSet;
use std::hash::BuildHasherDefault;
use xxhash_rust::xxh3::xxh3_64;

/// Spans of a memtable, by a hash of what tells two of them apart. With 100,000 of them one in 10¹⁴ is taken for another.
#[derive(Default)]
pub struct Known(HashSet<u64, BuildHasherDefault<NoHasher>>);

impl Known {
    /// Notes the spans of a batch whose groups and shapes have the memtable's numbers. Which rows are new; `None` where all are.
    pub fn note(&mut self, batch: &RecordBatch) -> Result<Option<BooleanArray>, ArrowError> {
        let columns = Told::of(batch)?;
        let mut told = vec![];
        self.0.reserve(batch.num_rows());
        let is_new = |row: usize| {
            columns.tell(row, &mut told);
            self.0.insert(xxh3_64(&told))
        };
        let new: Vec<bool> = (0..batch.num_rows()).map(is_new).collect();
        Ok(new.contains(&false).then(|| BooleanArray::from(new)))
    }

    pub fn bytes(&self) -> usize {
        // A byte beside each says whether it is there.
        self.0.capacity() * (size_of::<u64>() + 1)
    }
}

/// What is told of a span: of its events and links how many there are, as nothing else differs in them alone.
struct Told<'a> {
    numbers: [&'a UInt32Array; 2],
    ids: Ids<'a>,
    starts: &'a [i64],
    words: Vec<(&'a [u32], &'a StringArray)>,
    texts: Vec<&'a StringArray>,
    values: &'a ListArray,
    lists: Vec<&'a ListArray>,
}

impl<'a> Told<'a> {
    fn of(batch: &'a RecordBatch) -> Result<Told<'a>, ArrowError> {
        let number = |name: &str| column(batch, name, |column| column.as_primitive_opt::<UInt32Type>());
        let list = |name: &str| column(batch, name, |column| column.as_list_opt::<i32>());
        let text = |name: &str| column(batch, name, |column| column.as_string_opt::<i32>());
        let word = |name: &str| {
            column(batch, name, |column| {
                let words = column.as_dictionary_opt::<UInt32Type>()?;
                Some((&words.keys().values()[..], words.values().as_string_opt::<i32>()?))
            })
        };
        Ok(Told {
            numbers: [number(GROUP)?, number(SHAPE)?],
            ids: Ids::of(batch)?,
            starts: times(Signal::Spans, batch)?,
            words: ["name", "kind", "status"].map(word).into_iter().collect::<Result<_, _>>()?,
            texts: ["status_message", "trace_state"].map(text).into_iter().collect::<Result<_, _>>()?,
            values: list(VALUES)?,
            lists: ["events", "links"].map(list).into_iter().collect::<Result<_, _>>()?,
        })
    }

    fn tell(&self, row: usize, out: &mut Vec<u8>) {
        out.clear();
        self.numbers.iter().for_each(|numbers| out.extend(numbers.value(row).to_le_bytes()));
        out.extend_from_slice(self.ids.trace.value(row));
        out.extend_from_slice(self.ids.span.value(row));
        out.extend(self.starts[row].to_le_bytes());
        out.extend(self.ids.durations[row].to_le_bytes());
        for (keys, words) in &self.words {
            put(words.value(keys[row] as usize).as_bytes(), out);
        }
        self.texts.iter().for_each(|texts| put(texts.value(row).as_bytes(), out));
        self.lists.iter().for_each(|lists| out.extend(lists.value_length(row).to_le_bytes()));
        let own = &self.values.value_offsets()[row..=row + 1];
        let values = self.values.values().as_string::<i32>();
        for at in own[0]..own[1] {
            put(values.value(at as usize).as_bytes(), out);
        }
    }
}

/// With its length, as the end of one text must not be the beginning of the next.
fn put(text: &[u8], out: &mut Vec<u8>) {
    out.extend((text.len() as u32).to_le_bytes());
    out.extend_from_slice(text);
}

fn column<'a, T>(
    batch: &'a RecordBatch,
    name: &str,
    read: impl FnOnce(&'a dyn Array) -> Option<T>,
) -> Result<T, ArrowError> {
    let column = batch.column_by_name(name).and_then(|column| read(column.as_ref()));
    column.ok_or_else(|| ArrowError::SchemaError(format!("spans have no {name}")))
}

/// Of a span its trace, its own id and its duration.
type Key<'a> = (&'a [u8], &'a [u8], i64);

struct Ids<'a> {
    trace: &'a FixedSizeBinaryArray,
    span: &'a FixedSizeBinaryArray,
    durations: &'a [i64],
}

impl<'a> Ids<'a> {
    fn of(batch: &'a RecordBatch) -> Result<Ids<'a>, ArrowError> {
        let ids = |name: &str| column(batch, name, |column| column.as_fixed_size_binary_opt());
        let durations = column(batch, "duration_ns", |column| column.as_primitive_opt::<Int64Type>())?;
        Ok(Ids { trace: ids("trace_id")?, span: ids("span_id")?, durations: &durations.values()[..] })
    }

    fn key(&self, row: usize) -> Key<'a> {
        (self.trace.value(row), self.span.value(row), self.durations[row])
    }
}

/// Whoever sends thousands of spans with one id that differ gets all of them back, and pays for no more comparisons.
const COMPARED_MAX: usize = 8;

/// Of rows in the order of a part, those without copies: these have the same place. Groups and shapes have the same numbers in
/// all batches.
pub fn leave_out(rows: &mut Vec<Row>, batches: &[RecordBatch]) -> Result<(), ArrowError> {
    let ids: Vec<Ids<'_>> = batches.iter().map(Ids::of).collect::<Result<_, _>>()?;
    let alike = |(of, other): (usize, usize), (batch, row): (usize, usize)| {
        let mut columns = batches[of].columns().iter().zip(batches[batch].columns());
        columns.all(|(a, b)| a.slice(other, 1) == b.slice(row, 1))
    };
    let (mut at, mut copies) = (0, vec![]);
    let mut of_spans: HashMap<Key<'_>, Vec<(usize, usize)>> = HashMap::new();
    for same_place in rows.chunk_by(|a, b| a.0 == b.0) {
        if same_place.len() > 1 {
            of_spans.clear();
            for (next, (_, batch, row)) in same_place.iter().enumerate() {
                let own = (*batch as usize, *row as usize);
                let others = of_spans.entry(ids[own.0].key(own.1)).or_default();
                if others.iter().any(|other| alike(*other, own)) {
                    copies.push(at + next);
                } else if others.len() < COMPARED_MAX {
                    others.push(own);
                }
            }
        }
        at += same_place.len();
    }
    if copies.is_empty() {
        return Ok(());
    }
    let (mut copies, mut at) = (copies.into_iter().peekable(), 0);
    rows.retain(|_| {
        at += 1;
        copies.next_if_eq(&(at - 1)).is_none()
    });
    Ok(())
}
