//! Rows that a label of their JSON body decides over, where the values of the label lie coded: each distinct one is judged once,
//! and of the rows that are left out nothing more is read.

use super::attributes::REST;
use super::bodies::{self, Kind, SHAPE, column_of};
use super::{Index, named};
use arrow::array::{Array, AsArray, RecordBatch};
use arrow::compute::filter_record_batch;
use arrow::datatypes::{Int32Type, UInt32Type};
use arrow::error::ArrowError;
use model::{LabelTests, TestLabel};
use std::sync::Arc;

struct Coded {
    column: String,
    /// How all lines write the value.
    kind: Kind,
    test: Arc<dyn TestLabel>,
}

/// Of one part.
#[derive(Default)]
pub struct CodedTests(Vec<Coded>);

impl CodedTests {
    /// Those of the tests that cost little.
    pub fn of(index: &Index, tests: &LabelTests) -> CodedTests {
        let paths = bodies::named(index.field_names());
        let coded = |test: &Arc<dyn TestLabel>| {
            let labels = bodies::Labels::new(&[test.name().to_owned()], &paths)?;
            let path = labels.paths().next()?;
            let column = column_of(path);
            let is_fit = !index.is_label_elsewhere(test.name())
                && !index.packed.has_form(path)
                && index.is_coded(&column);
            let kind = bodies::kind_of_all(&index.shapes, path)?;
            is_fit.then(|| Coded { column, kind, test: test.clone() })
        };
        CodedTests(tests.0.iter().filter_map(coded).collect())
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn columns(&self) -> Vec<String> {
        let shape = (!self.is_empty()).then(|| SHAPE.to_owned());
        self.0.iter().map(|coded| coded.column.clone()).chain(shape).collect()
    }

    /// The rows that may pass.
    pub fn filter(&self, batch: RecordBatch) -> Result<RecordBatch, ArrowError> {
        if self.is_empty() {
            return Ok(batch);
        }
        let mut wanted = vec![true; batch.num_rows()];
        self.mask(&batch, &mut wanted);
        filter_record_batch(&batch, &wanted.into())
    }

    /// Leaves of the wanted rows those that may pass. Lines that stand whole may, and all where values did not come coded.
    pub fn mask(&self, batch: &RecordBatch, wanted: &mut [bool]) {
        for Coded { column, kind, test } in &self.0 {
            let shapes = batch.column_by_name(SHAPE).and_then(|c| c.as_primitive_opt::<UInt32Type>());
            let column =
                batch.column_by_name(column).and_then(|column| column.as_dictionary_opt::<Int32Type>());
            let values = column.and_then(|column| column.values().as_string_opt::<i32>());
            let (Some(shapes), Some(column), Some(values)) = (shapes, column, values) else { continue };
            let drops = |value: Option<&str>| test.passes(value) == Some(false);
            let absent = drops(None);
            let mut by_code: Vec<Option<bool>> = vec![None; values.len()];
            let keys = column.keys();
            for (row, wanted) in wanted.iter_mut().enumerate() {
                if !*wanted || shapes.is_null(row) {
                    continue;
                }
                let drops = if keys.is_null(row) {
                    absent
                } else {
                    let code = keys.values()[row] as usize;
                    *by_code[code].get_or_insert_with(|| {
                        drops(bodies::label_value(*kind, values.value(code)).as_deref())
                    })
                };
                *wanted = !drops;
            }
        }
    }
}

impl Index {
    /// Whether lines may have a label of this name from elsewhere than their body, which then gives it another name.
    fn is_label_elsewhere(&self, name: &str) -> bool {
        let spelled = |key: &str| {
            let spelling = key.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' });
            spelling.eq(name.chars())
        };
        let of_groups = || {
            self.groups.groups().iter().any(|group| {
                group.labels.get(name).is_some() || group.resource.iter().any(|(key, ..)| spelled(key))
            })
        };
        let of_rows = || {
            self.has_attributes
                && (!self.is_blank(REST) || named(self.field_names()).iter().any(|key| spelled(key)))
        };
        matches!(name, "trace_id" | "span_id" | "detected_level")
            || name.starts_with("__")
            || name.ends_with("_extracted")
            || of_groups()
            || of_rows()
    }
}
