//! What is particular to log records: which of them a selection wants.

use super::groups::{Group, GroupColumns};
use super::stored::numbers;
use arrow::array::{Array, AsArray, BooleanArray, RecordBatch, StringArray};
use arrow::datatypes::TimestampNanosecondType;
use memchr::memmem::Finder;
use model::{LogSelect, Matcher};
use std::sync::Arc;

/// Whether each group passes the matchers.
fn passing(groups: &GroupColumns, matchers: &[Matcher]) -> Vec<bool> {
    let of_group = |group: &Arc<Group>| matchers.iter().all(|matcher| matcher.matches_labels(&group.labels));
    groups.groups().iter().map(of_group).collect()
}

/// Which rows the selection wants. Looks at those of `ts`, `body`, `trace_id` and `group` that the batch has; a column
/// that it does not have was looked at before.
pub fn mask(batch: &RecordBatch, groups: &GroupColumns, select: &LogSelect) -> BooleanArray {
    let mut wanted = vec![true; batch.num_rows()];
    if let Some(ts) = batch.column_by_name("ts") {
        let ts = ts.as_primitive::<TimestampNanosecondType>().values();
        wanted.iter_mut().zip(ts).for_each(|(wanted, ts)| *wanted = select.range.contains(*ts));
    }
    if let Some(numbers) = numbers(batch).ok().filter(|_| !select.matchers.is_empty()) {
        let passing = passing(groups, &select.matchers);
        for (wanted, number) in wanted.iter_mut().zip(numbers.values()) {
            *wanted &= passing.get(*number as usize).copied().unwrap_or(false);
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
        for pattern in &select.patterns {
            for (row, wanted) in wanted.iter_mut().enumerate().filter(|(_, wanted)| **wanted) {
                *wanted = pattern.passes(body.value(row));
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
    if !select.contains.is_empty() || !select.patterns.is_empty() {
        columns.push("body");
    }
    if select.trace_id.is_some() {
        columns.push("trace_id");
    }
    columns
}
