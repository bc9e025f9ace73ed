//! How bodies lie in the file: whole lines as values of their template, and what JSON says of the record's own time and ids
//! as nothing at all ([`super::forms`]). Everybody else in this room knows the columns as [`super::bodies`] has them; they
//! are packed last when a part is written, and unpacked first when it is read.

use super::bodies::{BODY, SHAPE, Shapes, column_of, wrong};
use super::forms::{Form, Records};
use super::paths;
use super::templates::{Packer, Templates, Unpacker};
use crate::part::Signal;
use crate::rows::stored::time_column;
use crate::side_index::{Cursor, put_block};
use arrow::array::{
    Array, ArrayRef, AsArray, BinaryArray, BinaryBuilder, RecordBatch, StringArray, StringBuilder,
};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{DataType, Field};
use arrow::error::ArrowError;
use std::collections::HashMap;
use std::sync::Arc;

pub const VALUES: &str = "body_values";
pub const IDS: &str = "body_ids";

/// Lines looked at to find what they have in common.
const LINES_LOOKED_AT: usize = 8_192;
/// A path has a form when so many of its values that were looked at have it, of 100.
const PERCENT_OF_A_FORM: usize = 80;

/// What the bodies of a part have in common.
#[derive(Clone, Debug, Default)]
pub struct Common {
    templates: Templates,
    /// By path.
    forms: HashMap<String, Form>,
}

impl Common {
    /// Of rows in memory, the records of which are those of the bodies, batch by batch.
    pub fn of(bodies: &[&StringArray], records: &[Records]) -> Common {
        let rows: usize = bodies.iter().map(|bodies| bodies.len()).sum();
        let lines = bodies.iter().flat_map(|bodies| bodies.iter()).flatten();
        let looked_at = lines.step_by((rows / LINES_LOOKED_AT).max(1));
        let lines: Vec<&str> = looked_at.filter(|line| !line.starts_with('{')).collect();
        let mut counts: HashMap<String, (usize, HashMap<Form, usize>)> = HashMap::new();
        paths::look(bodies, |(batch, row), path, value| {
            let form = records.get(batch).and_then(|records| Form::of(value, records, row));
            if form.is_none() && !counts.contains_key(path) {
                return;
            }
            let (count, forms) = counts.entry(path.to_owned()).or_default();
            *count += 1;
            form.into_iter().for_each(|form| *forms.entry(form).or_default() += 1);
        });
        let most = |(path, (count, forms)): (String, (usize, HashMap<Form, usize>))| {
            let (form, of_it) = forms.into_iter().max_by_key(|(_, of_it)| *of_it)?;
            (of_it * 100 >= count * PERCENT_OF_A_FORM).then_some((path, form))
        };
        Common { templates: Templates::of(&lines), forms: counts.into_iter().filter_map(most).collect() }
    }

    /// For the rows of several parts.
    pub fn joined<'a>(parts: impl Iterator<Item = &'a Common> + Clone) -> Common {
        let mut forms = HashMap::new();
        for (path, form) in parts.clone().flat_map(|part| &part.forms) {
            forms.entry(path.clone()).or_insert_with(|| form.clone());
        }
        Common { templates: Templates::joined(parts.map(|part| &part.templates)), forms }
    }

    pub fn encode(&self, out: &mut Vec<u8>) {
        self.templates.encode(out);
        let mut forms: Vec<_> = self.forms.iter().collect();
        forms.sort_unstable_by_key(|(path, _)| *path);
        out.extend_from_slice(&(forms.len() as u32).to_le_bytes());
        for (path, form) in forms {
            put_block(out, path.as_bytes());
            form.encode(out);
        }
    }

    pub fn decode(rest: &mut Cursor<'_>) -> Result<Common, String> {
        let templates = Templates::decode(rest)?;
        let mut forms = HashMap::new();
        for _ in 0..rest.u32()? {
            let path = String::from_utf8(rest.block()?.to_vec()).map_err(|wrong| wrong.to_string())?;
            forms.insert(path, Form::decode(rest)?);
        }
        Ok(Common { templates, forms })
    }

    pub fn fields(&self) -> Vec<Field> {
        let names: &[&str] = if self.templates.is_empty() { &[] } else { &[VALUES, IDS] };
        names.iter().map(|name| Field::new(*name, DataType::Binary, true)).collect()
    }
}

/// Packs the columns of bodies.
pub struct Packing {
    common: Common,
    lines: Packer,
}

impl Packing {
    pub fn new(common: Common) -> Packing {
        Packing { lines: Packer::new(common.templates.clone()), common }
    }

    pub fn common(&self) -> &Common {
        &self.common
    }

    /// From the columns of [`bodies::Shredder::fields`] those of the file, with [`Common::fields`] behind them.
    pub fn pack(
        &mut self,
        mut columns: Vec<ArrayRef>,
        paths: &[String],
        records: &Records,
    ) -> Result<Vec<ArrayRef>, ArrowError> {
        for (path, column) in paths.iter().zip(columns.iter_mut().skip(2)) {
            if let (Some(form), Some(values)) = (self.common.forms.get(path), column.as_string_opt()) {
                *column = Arc::new(form.pack(values, records)?);
            }
        }
        let Some(whole) = columns.first().and_then(|whole| whole.as_string_opt::<i32>()) else {
            return Ok(columns);
        };
        if self.common.templates.is_empty() {
            return Ok(columns);
        }
        let mut rest = StringBuilder::new();
        let (mut values, mut ids) = (BinaryBuilder::new(), BinaryBuilder::new());
        let (mut of_line, mut ids_of_line) = (vec![], vec![]);
        for (line, ts) in whole.iter().zip(records.times()?) {
            of_line.clear();
            ids_of_line.clear();
            match line {
                Some(line) if self.lines.pack(line, *ts, &mut of_line, &mut ids_of_line) => {
                    rest.append_null();
                    values.append_value(&of_line);
                    ids.append_option((!ids_of_line.is_empty()).then_some(&ids_of_line));
                }
                line => {
                    rest.append_option(line);
                    values.append_null();
                    ids.append_null();
                }
            }
        }
        columns[0] = Arc::new(rest.finish());
        columns.push(Arc::new(values.finish()));
        columns.push(Arc::new(ids.finish()));
        Ok(columns)
    }
}

/// Gives the columns of bodies back.
#[derive(Default)]
pub struct Unpacking {
    lines: Unpacker,
    has_no_object: bool,
    common: Common,
}

impl Unpacking {
    pub fn new(common: Common) -> Unpacking {
        let lines = Unpacker::new(&common.templates);
        let has_no_object = (0..lines.numbers()).all(|number| !lines.may_be_object(number));
        Unpacking { lines, has_no_object, common }
    }

    pub fn common(&self) -> &Common {
        &self.common
    }

    pub fn lines(&self) -> &Unpacker {
        &self.lines
    }

    /// Whether no packed line is an object of JSON.
    pub fn has_no_object(&self) -> bool {
        self.has_no_object
    }

    /// Whether values of the path may lie as differences from what the row has.
    pub fn has_form(&self, path: &str) -> bool {
        self.common.forms.contains_key(path)
    }

    /// Names the columns of the file that whole bodies are made of, too.
    pub fn needs_of_lines(&self, columns: &mut Vec<String>) {
        if !self.lines.is_empty() && columns.iter().any(|name| name == BODY) {
            columns.extend([VALUES, IDS, time_column(Signal::Logs)].map(str::to_owned));
        }
    }

    /// Names those that values in JSON are made of, too.
    pub fn needs_of_forms(&self, columns: &mut Vec<String>) {
        let wanted = self.common.forms.iter().filter(|(path, _)| columns.contains(&column_of(path)));
        let needed: Vec<&str> = wanted.flat_map(|(_, form)| [SHAPE, form.column()]).collect();
        columns.extend(needed.into_iter().map(str::to_owned));
    }

    /// What was read of a file, its bodies in the columns of [`bodies::Shredder::fields`]. Packed lines stay as they are where
    /// their values were not read.
    pub fn unpack(&self, batch: RecordBatch, shapes: &Shapes) -> Result<RecordBatch, ArrowError> {
        let batch = self.unpack_forms(batch, shapes)?;
        let Some((whole, values)) = batch.column_by_name(BODY).zip(batch.column_by_name(VALUES)) else {
            return Ok(batch);
        };
        let ids = batch.column_by_name(IDS).and_then(|ids| ids.as_binary_opt());
        let (Some(whole), Some(values), Some(ids)) = (whole.as_string_opt(), values.as_binary_opt(), ids)
        else {
            return Err(wrong("lines are not where they should be"));
        };
        let lines = self.put_together(whole, values, ids, Records::of(&batch)?.times()?)?;
        let mut columns = batch.columns().to_vec();
        columns[batch.schema_ref().index_of(BODY)?] = Arc::new(lines);
        RecordBatch::try_new(batch.schema(), columns)
    }

    /// The same for values in JSON alone.
    pub fn unpack_forms(&self, batch: RecordBatch, shapes: &Shapes) -> Result<RecordBatch, ArrowError> {
        let of_forms = self.common.forms.iter().filter_map(|(path, form)| {
            Some((batch.schema_ref().index_of(&column_of(path)).ok()?, path, form))
        });
        let of_forms: Vec<_> = of_forms.collect();
        if of_forms.is_empty() {
            return Ok(batch);
        }
        let records = Records::of(&batch)?;
        let mut columns = batch.columns().to_vec();
        for (at, path, form) in of_forms {
            let shapes_of = batch.column_by_name(SHAPE).and_then(|column| column.as_primitive_opt());
            let (Some(column), Some(shapes_of)) = (columns[at].as_string_opt(), shapes_of) else {
                return Err(wrong("values are not where they should be"));
            };
            columns[at] = Arc::new(form.unpack(column, &shapes.having(path), shapes_of, &records)?);
        }
        RecordBatch::try_new(batch.schema(), columns)
    }

    fn put_together(
        &self,
        whole: &StringArray,
        values: &BinaryArray,
        ids: &BinaryArray,
        times: &[i64],
    ) -> Result<StringArray, ArrowError> {
        if values.null_count() == values.len() {
            return Ok(whole.clone());
        }
        let mut text =
            Vec::with_capacity(whole.value_data().len() + (values.len() - values.null_count()) * 160);
        let mut ends = Vec::with_capacity(whole.len() + 1);
        ends.push(0);
        for (row, time) in times.iter().enumerate().take(whole.len()) {
            if values.is_valid(row) {
                let ids = if ids.is_valid(row) { ids.value(row) } else { &[] };
                let read = self.lines.unpack(values.value(row), ids, *time, &mut text);
                read.ok_or_else(|| wrong("a line is not of its template"))?;
            } else if whole.is_valid(row) {
                text.extend_from_slice(whole.value(row).as_bytes());
            }
            ends.push(i32::try_from(text.len()).map_err(|_| wrong("too many bytes at one time"))?);
        }
        let nulls = (0..whole.len()).map(|row| values.is_valid(row) || whole.is_valid(row)).collect();
        StringArray::try_new(OffsetBuffer::new(ends.into()), text.into(), Some(nulls))
    }
}

#[cfg(test)]
mod tests {
    use super::super::bodies;
    use super::*;
    use arrow::array::{FixedSizeBinaryBuilder, TimestampNanosecondArray};
    use arrow::datatypes::Schema;

    const TS: i64 = 1_793_491_201_045_000_291;

    /// Records of these lines, all of one time; each has ids by its number, but every tenth has no span id.
    fn records(lines: usize) -> RecordBatch {
        let ts = TimestampNanosecondArray::from(vec![TS; lines]).with_timezone("UTC");
        let mut trace_ids = FixedSizeBinaryBuilder::new(16);
        let mut span_ids = FixedSizeBinaryBuilder::new(8);
        for n in 0..lines {
            trace_ids.append_value([(n as u8).wrapping_add(16); 16]).unwrap();
            match n % 10 {
                0 => span_ids.append_null(),
                _ => span_ids.append_value([(n as u8).wrapping_add(160); 8]).unwrap(),
            }
        }
        let columns: [(&str, ArrayRef); 3] = [
            ("ts", Arc::new(ts)),
            ("trace_id", Arc::new(trace_ids.finish())),
            ("span_id", Arc::new(span_ids.finish())),
        ];
        RecordBatch::try_from_iter_with_nullable(columns.map(|(name, column)| (name, column, true))).unwrap()
    }

    /// The columns of the file, and the bodies read from these again.
    fn packed(lines: &[String]) -> (RecordBatch, StringArray, usize) {
        let bodies = StringArray::from(lines.to_vec());
        let own = records(lines.len());
        let of_rows = Records::of(&own).unwrap();
        let common = Common::of(&[&bodies], std::slice::from_ref(&of_rows));
        let forms = common.forms.len();
        let mut stored = vec![];
        common.encode(&mut stored);
        let read = Unpacking::new(Common::decode(&mut Cursor(&stored)).unwrap());
        let paths = paths::Paths::frequent(&[&bodies]).all;
        let mut shredder = bodies::Shredder::new(paths.clone());
        let mut fields = [shredder.fields(), common.fields()].concat();
        let mut packing = Packing::new(common);
        let shredded = shredder.shred(&bodies);
        let columns = packing.pack(shredded.clone(), &paths, &of_rows).unwrap();
        let shapes = Shapes::parse(&shredder.shapes()).unwrap();
        fields.extend(own.schema_ref().fields().iter().map(|field| (**field).clone()));
        let columns = [columns, own.columns().to_vec()].concat();
        let file = RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).unwrap();
        let batch = read.unpack(file.clone(), &shapes).unwrap();
        for (column, before) in batch.columns().iter().zip(&shredded) {
            assert_eq!(column, before);
        }
        (file, bodies::restore(&batch, &shapes).unwrap(), forms)
    }

    #[test]
    fn bodies_come_back_from_the_columns_of_the_file() {
        let mut lines = vec![];
        for n in 0..60 {
            let late = if n % 7 == 0 { 44 } else { 45 };
            lines.push(format!(r#"{{"ts":"2026-11-01T00:00:01.0{late}Z","at":{{"z":"x"}},"n":{n}}}"#));
            lines.push(format!("2026-11-01 00:00:01.045 INFO request {n} of {:016x}", u64::MAX / (n + 1)));
        }
        lines.extend(
            [
                r#"{"ts":"never","n":1}"#,
                r#"{"n":2}"#,
                r#"{"ts":null}"#,
                "",
                "words alone",
                r#"{"ts":"2026-02-31T00:00:00.000Z"}"#,
            ]
            .map(str::to_owned),
        );
        let (file, again, forms) = packed(&lines);
        let column = |name: &str| -> &StringArray { file.column_by_name(name).unwrap().as_string() };
        assert_eq!(column(BODY).len() - column(BODY).null_count(), 2, "two lines stay whole");
        assert_eq!((column("json.ts").value(0), column("json.ts").is_null(2)), ("\u{1}-1", true));
        assert_eq!(forms, 1);
        assert_eq!(again, StringArray::from(lines));
    }

    #[test]
    fn ids_that_the_record_has_do_not_lie_in_the_file_again() {
        let line = |n: usize| {
            let trace = hex::encode([n as u8 + 16; 16]);
            // The first is another's, the last but one is written in capitals.
            let span = hex::encode([n as u8 + if n == 0 { 1 } else { 160 }; 8]);
            let span = if n == 58 { span.to_uppercase() } else { span };
            format!(r#"{{"trace_id":"{trace}","span":{{"id":"{span}"}},"n":{n}}}"#)
        };
        let mut lines: Vec<String> = (0..60).map(line).collect();
        lines.push(r#"{"trace_id":"","n":1}"#.into());
        lines.push(r#"{"trace_id":null,"n":1}"#.into());
        let (file, again, forms) = packed(&lines);
        let column = |name: &str| -> &StringArray { file.column_by_name(name).unwrap().as_string() };
        assert_eq!(forms, 2);
        assert_eq!(column("json.trace_id").null_count(), 60);
        // Those without a span id of their own, every tenth, and the one in capitals.
        assert_eq!(column("json.span/id").len() - column("json.span/id").null_count(), 7);
        assert_eq!(again, StringArray::from(lines));
    }
}
