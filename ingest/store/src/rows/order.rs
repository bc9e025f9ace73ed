//! The order of rows in a part, and rows of several places put in it piece by piece, so that neither a flush nor a merge
//! holds them all a second time.

use super::gather::gather;
use super::groups::Group;
use super::stored::{numbers, time_column};
use crate::part::Signal;
use arrow::array::{AsArray, RecordBatch, StringArray};
use arrow::datatypes::{TimestampNanosecondType, UInt32Type};
use arrow::error::ArrowError;
use foldhash::{HashMap, HashMapExt};
use model::Labels;
use std::sync::Arc;

/// What the rows of one run have in common; runs follow one another in this order.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Key {
    Stream(Labels),
    /// Service and span name.
    Operation(String, String),
}

impl Key {
    pub fn of(signal: Signal, group: &Group, name: &str) -> Key {
        match signal {
            Signal::Spans => Key::Operation(group.service().to_owned(), name.to_owned()),
            _ => Key::Stream(group.labels.clone()),
        }
    }
}

/// Where a row stands: its key's rank among all keys, then its time.
pub type Place = (u32, i64);

/// Rows that are copied at one time.
pub const PIECE_ROWS: usize = 4_096;

/// Keys of batches that lie in memory, and each row's rank.
pub struct Ranked {
    /// Ascending.
    pub keys: Vec<Key>,
    /// By batch, then row.
    pub places: Vec<Vec<Place>>,
}

/// Ranks the rows of batches whose groups are `groups`.
pub fn rank(signal: Signal, groups: &[Arc<Group>], batches: &[RecordBatch]) -> Result<Ranked, ArrowError> {
    let mut found: HashMap<Key, u32> = HashMap::new();
    // Numbers of keys in the order of first sight, by group and name; the names of logs are all the same.
    let mut key_of: HashMap<(u32, &str), u32> = HashMap::new();
    let mut places: Vec<Vec<Place>> = Vec::with_capacity(batches.len());
    for batch in batches {
        let numbers = numbers(batch)?.values();
        let times = times(signal, batch)?;
        let names = names(batch);
        let mut last: Option<(u32, u32, u32)> = None;
        let mut of_batch = Vec::with_capacity(batch.num_rows());
        for (row, (&number, &ts)) in numbers.iter().zip(times).enumerate() {
            let name_key = names.as_ref().map_or(0, |(keys, _)| keys[row]);
            let key = match last {
                Some((group, name, key)) if group == number && name == name_key => key,
                _ => {
                    let name = names.as_ref().map_or("", |(_, values)| values.value(name_key as usize));
                    *key_of.entry((number, name)).or_insert_with(|| {
                        let key = Key::of(signal, &groups[number as usize], name);
                        let next = found.len() as u32;
                        *found.entry(key).or_insert(next)
                    })
                }
            };
            last = Some((number, name_key, key));
            of_batch.push((key, ts));
        }
        places.push(of_batch);
    }
    let mut keys: Vec<(Key, u32)> = found.into_iter().collect();
    keys.sort_unstable();
    let mut rank_of = vec![0; keys.len()];
    keys.iter().enumerate().for_each(|(rank, (_, seen))| rank_of[*seen as usize] = rank as u32);
    places.iter_mut().flatten().for_each(|place| place.0 = rank_of[place.0 as usize]);
    Ok(Ranked { keys: keys.into_iter().map(|(key, _)| key).collect(), places })
}

pub fn times(signal: Signal, batch: &RecordBatch) -> Result<&[i64], ArrowError> {
    let column = batch.column_by_name(time_column(signal));
    let column = column.and_then(|column| column.as_primitive_opt::<TimestampNanosecondType>());
    column
        .map(|times| &times.values()[..])
        .ok_or_else(|| ArrowError::SchemaError("rows have no times".into()))
}

/// Span names: their places and the dictionary.
fn names(batch: &RecordBatch) -> Option<(&[u32], &StringArray)> {
    let names = batch.column_by_name("name")?.as_dictionary_opt::<UInt32Type>()?;
    Some((names.keys().values(), names.values().as_string_opt()?))
}

/// A row that is to be written: its place, the batch and the row in it.
pub type Row = (Place, u32, u32);

/// Hands the rows on in the order in which they are given, in pieces, with each row's rank.
pub fn in_pieces(
    batches: &[RecordBatch],
    rows: &[Row],
    mut each: impl FnMut(RecordBatch, &[Row]) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    for piece in rows.chunks(PIECE_ROWS) {
        // Only the batches of this piece: dictionaries of the others need not be looked at.
        let mut used: Vec<u32> = piece.iter().map(|(_, batch, _)| *batch).collect();
        used.sort_unstable();
        used.dedup();
        let mut place_of = vec![0; batches.len()];
        used.iter().enumerate().for_each(|(place, batch)| place_of[*batch as usize] = place);
        let sources: Vec<&RecordBatch> = used.iter().map(|batch| &batches[*batch as usize]).collect();
        let indices: Vec<(usize, usize)> =
            piece.iter().map(|(_, batch, row)| (place_of[*batch as usize], *row as usize)).collect();
        each(gather(&sources, &indices)?, piece)?;
    }
    Ok(())
}
