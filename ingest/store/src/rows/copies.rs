//! Spans that came twice. Who got no answer sends again what was stored all the same, and two ways lead some senders here:
//! each number would count such spans twice. One that is like another in everything is left out where both are in one
//! memtable, and where parts that have them are merged. Copies that differ stay, as it is up to who asks which one is the span.

use super::order::Row;
use crate::hash::NoHasher;
use arrow::array::{
    Array, ArrayRef, AsArray, BinaryArray, BooleanArray, FixedSizeBinaryArray, RecordBatch, StringArray,
};
use arrow::datatypes::{DataType, Int64Type, TimestampNanosecondType, UInt32Type};
use arrow::error::ArrowError;
use foldhash::{HashMap, HashMapExt};
use std::collections::HashSet;
use std::hash::BuildHasherDefault;
use xxhash_rust::xxh3::xxh3_64;

/// Spans of a memtable, by a hash of all that they say. With 100,000 of them one in 10¹⁴ is taken for another.
#[derive(Default)]
pub struct Known(HashSet<u64, BuildHasherDefault<NoHasher>>);

impl Known {
    /// Notes the spans of a batch whose groups and shapes have the memtable's numbers. Which rows are new; `None` where all are.
    pub fn note(&mut self, batch: &RecordBatch) -> Result<Option<BooleanArray>, ArrowError> {
        let mut columns = vec![];
        for (number, column) in (0..).zip(Told::all(batch.columns())?) {
            if !column.is_blank() {
                columns.push((number, column));
            }
        }
        let mut told = vec![];
        self.0.reserve(batch.num_rows());
        let is_new = |row: usize| {
            told.clear();
            for (number, column) in &columns {
                column.tell_numbered(*number, row, &mut told);
            }
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

/// What a column tells of its rows.
enum Told<'a> {
    Ids(&'a FixedSizeBinaryArray),
    Counts(&'a [u32]),
    Times(&'a [i64]),
    Words(&'a [u32], &'a StringArray),
    Texts(&'a StringArray),
    Bytes(&'a BinaryArray),
    /// Where the list of each row begins and ends, and what is in all of them.
    Lists(&'a [i32], Box<Told<'a>>),
    Parts(Vec<Told<'a>>),
}

impl<'a> Told<'a> {
    fn of(column: &'a dyn Array) -> Result<Told<'a>, ArrowError> {
        let told = match column.data_type() {
            DataType::FixedSizeBinary(_) => column.as_fixed_size_binary_opt().map(Told::Ids),
            DataType::UInt32 => {
                column.as_primitive_opt::<UInt32Type>().map(|column| Told::Counts(&column.values()[..]))
            }
            DataType::Int64 => {
                column.as_primitive_opt::<Int64Type>().map(|column| Told::Times(&column.values()[..]))
            }
            DataType::Timestamp(..) => column
                .as_primitive_opt::<TimestampNanosecondType>()
                .map(|column| Told::Times(&column.values()[..])),
            DataType::Dictionary(..) => column.as_dictionary_opt::<UInt32Type>().and_then(|words| {
                Some(Told::Words(&words.keys().values()[..], words.values().as_string_opt::<i32>()?))
            }),
            DataType::Utf8 => column.as_string_opt::<i32>().map(Told::Texts),
            DataType::Binary => column.as_binary_opt::<i32>().map(Told::Bytes),
            DataType::List(_) => column
                .as_list_opt::<i32>()
                .map(|lists| Told::lists(lists.value_offsets(), lists.values().as_ref()))
                .transpose()?,
            DataType::Map(..) => column
                .as_map_opt()
                .map(|maps| Told::lists(maps.value_offsets(), maps.entries()))
                .transpose()?,
            DataType::Struct(_) => {
                column.as_struct_opt().map(|parts| Told::all(parts.columns()).map(Told::Parts)).transpose()?
            }
            _ => None,
        };
        told.ok_or_else(|| ArrowError::SchemaError(format!("no span is told by {}", column.data_type())))
    }

    fn all(columns: &'a [ArrayRef]) -> Result<Vec<Told<'a>>, ArrowError> {
        columns.iter().map(|column| Told::of(column.as_ref())).collect()
    }

    fn lists(offsets: &'a [i32], within: &'a dyn Array) -> Result<Told<'a>, ArrowError> {
        Ok(Told::Lists(offsets, Box::new(Told::of(within)?)))
    }

    /// Whether no row of it tells anything, as of what only few senders tell.
    fn is_blank(&self) -> bool {
        match self {
            Told::Counts(counts) => counts.iter().all(|count| *count == 0),
            Told::Texts(texts) => texts.value_data().is_empty(),
            Told::Lists(offsets, _) => offsets.first() == offsets.last(),
            _ => false,
        }
    }

    /// With the column's number, and nothing of what is blank: a row is told alike beside others that are not.
    fn tell_numbered(&self, number: u8, row: usize, out: &mut Vec<u8>) {
        let blank = match self {
            Told::Counts(counts) => counts[row] == 0,
            Told::Texts(texts) => texts.value_length(row) == 0,
            Told::Lists(offsets, _) => offsets[row] == offsets[row + 1],
            _ => false,
        };
        if !blank {
            out.push(number);
            self.tell(row, out);
        }
    }

    fn tell(&self, row: usize, out: &mut Vec<u8>) {
        match self {
            // One that is not there is zeros, which no id is.
            Told::Ids(ids) => out.extend_from_slice(ids.value(row)),
            Told::Counts(counts) => out.extend(counts[row].to_le_bytes()),
            Told::Times(times) => out.extend(times[row].to_le_bytes()),
            Told::Words(keys, words) => put(words.value(keys[row] as usize).as_bytes(), out),
            Told::Texts(texts) => put(texts.value(row).as_bytes(), out),
            Told::Bytes(bytes) => put(bytes.value(row), out),
            Told::Lists(offsets, within) => {
                let own = offsets[row] as usize..offsets[row + 1] as usize;
                out.extend((own.len() as u32).to_le_bytes());
                own.for_each(|at| within.tell(at, out));
            }
            Told::Parts(parts) => parts.iter().for_each(|part| part.tell(row, out)),
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
