//! What is particular to spans: which of them a selection wants.

use super::groups::GroupColumns;
use super::shapes;
use super::stored::numbers;
use arrow::array::{AsArray, BooleanArray, RecordBatch, StringArray};
use arrow::datatypes::{Int64Type, TimestampNanosecondType, UInt32Type};
use model::{SpanSelect, TraceId};
use std::collections::HashSet;

/// Which rows the selection wants, by the columns that the batch has.
pub fn mask(batch: &RecordBatch, groups: &GroupColumns, select: &SpanSelect) -> BooleanArray {
    let mut wanted = vec![true; batch.num_rows()];
    if let Some(start) = batch.column_by_name("start_ts") {
        let start = start.as_primitive::<TimestampNanosecondType>().values();
        wanted.iter_mut().zip(start).for_each(|(wanted, ts)| *wanted = select.range.contains(*ts));
    }
    if let Some(ids) = batch.column_by_name("trace_id").filter(|_| !select.trace_ids.is_empty()) {
        let asked: HashSet<&TraceId> = select.trace_ids.iter().collect();
        let ids = ids.as_fixed_size_binary();
        for (row, wanted) in wanted.iter_mut().enumerate() {
            *wanted &= <&TraceId>::try_from(ids.value(row)).is_ok_and(|id| asked.contains(id));
        }
    }
    if let (Some(duration), Some(least)) = (batch.column_by_name("duration_ns"), select.duration_ns_min) {
        let duration = duration.as_primitive::<Int64Type>().values();
        wanted.iter_mut().zip(duration).for_each(|(wanted, ns)| *wanted &= *ns >= least);
    }
    if let (Ok(numbers), Some(asked)) = (numbers(batch), &select.service) {
        let same: Vec<bool> = groups.groups().iter().map(|group| group.service() == asked).collect();
        for (wanted, number) in wanted.iter_mut().zip(numbers.values()) {
            *wanted &= same.get(*number as usize).copied().unwrap_or(false);
        }
    }
    let errors = select.errors_only.then_some("error");
    for (column, asked) in [("name", select.name.as_deref()), ("status", errors)] {
        if let (Some(words), Some(asked)) = (batch.column_by_name(column), asked) {
            let words = words.as_dictionary::<UInt32Type>();
            let values: &StringArray = words.values().as_string();
            let same: Vec<bool> = values.iter().map(|value| value == Some(asked)).collect();
            for (row, wanted) in wanted.iter_mut().enumerate() {
                *wanted &= words.key(row).is_some_and(|key| same[key]);
            }
        }
    }
    let attributes = batch.column_by_name("attributes").and_then(|column| column.as_map_opt());
    if let Some(map) = attributes.filter(|_| !select.attributes.is_empty()) {
        let (names, values): (&StringArray, &StringArray) =
            (map.keys().as_string(), map.values().as_string());
        for (row, wanted) in wanted.iter_mut().enumerate().filter(|(_, wanted)| **wanted) {
            let entries = map.value_offsets()[row] as usize..map.value_offsets()[row + 1] as usize;
            *wanted = select.attributes.iter().all(|(name, text)| {
                entries.clone().any(|at| names.value(at) == name && SpanSelect::fits(text, values.value(at)))
            });
        }
    }
    if let Some((numbers, values)) = shapes::columns(batch).filter(|_| !select.attributes.is_empty()) {
        let own: &StringArray = values.values().as_string();
        for (row, wanted) in wanted.iter_mut().enumerate().filter(|(_, wanted)| **wanted) {
            let shape = groups.shapes().get(numbers.value(row) as usize);
            let first = values.value_offsets()[row] as usize;
            *wanted = shape.is_some_and(|shape| {
                select.attributes.iter().all(|(name, text)| {
                    let mut entries = shape.entries().enumerate();
                    entries.any(|(at, (own_name, _))| {
                        own_name == name && SpanSelect::fits(text, own.value(first + at))
                    })
                })
            });
        }
    }
    wanted.into()
}

/// Columns of numbers and words that take a few bytes of a row.
const LIGHT: [&str; 8] =
    ["start_ts", "duration_ns", "name", "kind", "status", "flags", "trace_state", super::groups::GROUP];

/// Whether all rows of these columns are handed out with those that are wanted. Times and durations rule out some rows here and
/// some there: to read them first, and then light columns between the gaps, takes longer than to read all at once.
pub fn are_read_whole(select: &SpanSelect, needed: &[&str]) -> bool {
    !select.errors_only && select.attributes.is_empty() && needed.iter().all(|name| LIGHT.contains(name))
}

/// Columns that [`mask`] must see of a part whose runs, times and traces were already judged.
pub fn mask_columns(select: &SpanSelect, times_judged: bool) -> Vec<&'static str> {
    let mut columns = vec![];
    if !times_judged {
        columns.push("start_ts");
    }
    if select.duration_ns_min.is_some() {
        columns.push("duration_ns");
    }
    if select.errors_only {
        columns.push("status");
    }
    columns
}
