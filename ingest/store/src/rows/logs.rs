//! What is particular to log records: their order in a part, and which of them a selection wants.

use arrow::array::{Array, AsArray, BinaryArray, BooleanArray, RecordBatch, StringArray};
use arrow::datatypes::{TimestampNanosecondType, UInt32Type};
use memchr::memmem::Finder;
use model::{Labels, LogSelect, Matcher};
use std::collections::HashMap;

/// Whether each stream of a batch's dictionary passes the matchers.
fn passing_streams(streams: &BinaryArray, matchers: &[Matcher]) -> Vec<bool> {
    streams
        .iter()
        .map(|bytes| {
            let labels = Labels::from_bytes(bytes.unwrap_or(&[])).unwrap_or_default();
            matchers.iter().all(|matcher| matcher.matches_labels(&labels))
        })
        .collect()
}

/// Which rows the selection wants. Looks at those of `ts`, `body`, `trace_id` and `stream` that the batch has; a column
/// that it does not have was looked at before.
pub fn mask(batch: &RecordBatch, select: &LogSelect) -> BooleanArray {
    let mut wanted = vec![true; batch.num_rows()];
    if let Some(ts) = batch.column_by_name("ts") {
        let ts = ts.as_primitive::<TimestampNanosecondType>().values();
        wanted.iter_mut().zip(ts).for_each(|(wanted, ts)| *wanted = select.range.contains(*ts));
    }
    if let Some(stream) = batch.column_by_name("stream").filter(|_| !select.matchers.is_empty()) {
        let stream = stream.as_dictionary::<UInt32Type>();
        let passing = passing_streams(stream.values().as_binary(), &select.matchers);
        for (wanted, key) in wanted.iter_mut().zip(stream.keys().values()) {
            *wanted &= passing.get(*key as usize).copied().unwrap_or(false);
        }
    }
    if let (Some(ids), Some(id)) = (batch.column_by_name("trace_id"), select.trace_id) {
        let ids = ids.as_fixed_size_binary();
        for (row, wanted) in wanted.iter_mut().enumerate() {
            *wanted &= ids.is_valid(row) && ids.value(row) == id;
        }
    }
    if let Some(body) = batch.column_by_name("body") {
        let body: &StringArray = body.as_string();
        for needle in &select.contains {
            let finder = Finder::new(needle);
            for (row, wanted) in wanted.iter_mut().enumerate().filter(|(_, wanted)| **wanted) {
                *wanted = finder.find(body.value(row).as_bytes()).is_some();
            }
        }
    }
    wanted.into()
}

/// Columns that [`mask`] must see of a part whose runs and times were already judged.
pub fn mask_columns(select: &LogSelect, times_judged: bool) -> Vec<&'static str> {
    let mut columns = vec![];
    if !times_judged {
        columns.push("ts");
    }
    if !select.contains.is_empty() {
        columns.push("body");
    }
    if select.trace_id.is_some() {
        columns.push("trace_id");
    }
    columns
}

/// Row numbers in the order of a part: by stream, then time, then arrival.
pub fn order(batch: &RecordBatch) -> Vec<u32> {
    let (Some(stream), Some(ts)) = (batch.column_by_name("stream"), batch.column_by_name("ts")) else {
        return (0..batch.num_rows() as u32).collect();
    };
    let stream = stream.as_dictionary::<UInt32Type>();
    let ranks = ranks(stream.values().as_binary());
    let ts = ts.as_primitive::<TimestampNanosecondType>().values();
    let keys = stream.keys().values();
    let mut order: Vec<u32> = (0..batch.num_rows() as u32).collect();
    order.sort_by_key(|row| (ranks[keys[*row as usize] as usize], ts[*row as usize]));
    order
}

/// The place of each dictionary entry among the distinct label sets. Joined dictionaries may hold one set twice.
fn ranks(streams: &BinaryArray) -> Vec<u32> {
    let mut distinct: Vec<(Labels, &[u8])> = streams
        .iter()
        .flatten()
        .map(|bytes| (Labels::from_bytes(bytes).unwrap_or_default(), bytes))
        .collect();
    distinct.sort_unstable();
    distinct.dedup_by(|a, b| a.1 == b.1);
    let rank: HashMap<&[u8], u32> =
        distinct.iter().enumerate().map(|(i, (_, bytes))| (*bytes, i as u32)).collect();
    streams.iter().map(|bytes| bytes.and_then(|bytes| rank.get(bytes)).copied().unwrap_or(0)).collect()
}
