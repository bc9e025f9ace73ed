//! What is particular to spans: their order in a part, and which of them a selection wants.

use arrow::array::{AsArray, BooleanArray, RecordBatch, StringArray};
use arrow::datatypes::{Int64Type, TimestampNanosecondType, UInt32Type};
use model::{SpanSelect, TraceId};
use std::collections::HashSet;

/// Which rows the selection wants, by the columns that the batch has.
pub fn mask(batch: &RecordBatch, select: &SpanSelect) -> BooleanArray {
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
    let errors = select.errors_only.then_some("error");
    for (column, asked) in
        [("service", select.service.as_deref()), ("name", select.name.as_deref()), ("status", errors)]
    {
        if let (Some(words), Some(asked)) = (batch.column_by_name(column), asked) {
            let words = words.as_dictionary::<UInt32Type>();
            let values: &StringArray = words.values().as_string();
            let same: Vec<bool> = values.iter().map(|value| value == Some(asked)).collect();
            for (row, wanted) in wanted.iter_mut().enumerate() {
                *wanted &= words.key(row).is_some_and(|key| same[key]);
            }
        }
    }
    wanted.into()
}

/// Columns that [`mask`] must see of a part whose runs and times were already judged.
pub fn mask_columns(select: &SpanSelect, times_judged: bool) -> Vec<&'static str> {
    let mut columns = vec![];
    if !select.trace_ids.is_empty() {
        columns.push("trace_id");
    }
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

/// Service and name of a row; what the runs of a part are keyed by.
pub struct Keys<'a> {
    service: &'a arrow::array::DictionaryArray<UInt32Type>,
    name: &'a arrow::array::DictionaryArray<UInt32Type>,
}

impl<'a> Keys<'a> {
    pub fn of(batch: &'a RecordBatch) -> Option<Keys<'a>> {
        Some(Keys {
            service: batch.column_by_name("service")?.as_dictionary_opt()?,
            name: batch.column_by_name("name")?.as_dictionary_opt()?,
        })
    }

    pub fn get(&self, row: usize) -> (&'a str, &'a str) {
        let word = |column: &'a arrow::array::DictionaryArray<UInt32Type>| {
            let values: &StringArray = column.values().as_string();
            column.key(row).map_or("", |key| values.value(key))
        };
        (word(self.service), word(self.name))
    }
}

/// Row numbers in the order of a part: by service and name, then start.
pub fn order(batch: &RecordBatch) -> Vec<u32> {
    let mut order: Vec<u32> = (0..batch.num_rows() as u32).collect();
    if let (Some(keys), Some(start)) = (Keys::of(batch), batch.column_by_name("start_ts")) {
        let start = start.as_primitive::<TimestampNanosecondType>().values();
        order.sort_by_cached_key(|row| (keys.get(*row as usize), start[*row as usize]));
    }
    order
}
