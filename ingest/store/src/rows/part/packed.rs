//! How bodies lie in the file: whole lines as values of their template, and times in JSON that are the record's own as
//! nothing at all. Everybody else in this room knows the columns as [`super::bodies`] has them; they are packed last
//! when a part is written, and unpacked first when it is read.
//!
//! A time in a column of JSON values that has a form is null where it is the record's time in that form, though the line's
//! shape has a value there; where it differs, it is [`DIFFERS`] and by how many units. No value begins so.

use super::bodies::{self, BODY, SHAPE, Shapes, column_of, wrong};
use super::stamps::Stamp;
use super::templates::{Packer, Templates, Unpacker};
use super::times;
use crate::part::Signal;
use crate::rows::stored::time_column;
use crate::side_index::{Cursor, put_block};
use arrow::array::{
    Array, ArrayRef, AsArray, BinaryArray, BinaryBuilder, RecordBatch, StringArray, StringBuilder,
    TimestampNanosecondArray,
};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{DataType, Field, TimestampNanosecondType, UInt32Type};
use arrow::error::ArrowError;
use std::collections::HashMap;
use std::sync::Arc;

pub const VALUES: &str = "body_values";
pub const IDS: &str = "body_ids";
const DIFFERS: char = '\u{1}';

/// Lines looked at to find what they have in common.
const LINES_LOOKED_AT: usize = 8_192;
/// A path has a form when so many of its values that were looked at have it, of 100.
const PERCENT_OF_A_FORM: usize = 80;

/// A time in JSON: the stamp, and what stands behind it, as `Z`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Form {
    stamp: Stamp,
    behind: String,
}

impl Form {
    fn of(value: &str) -> Option<Form> {
        let (stamp, length) = Stamp::at_start(value.as_bytes()).filter(|_| value.is_ascii())?;
        let behind = &value[length..];
        (behind.len() <= 8).then(|| Form { stamp, behind: behind.to_owned() })
    }

    /// How far the value is from the record's time, where that gives it back.
    fn difference(&self, value: &str, ts_ns: i64, again: &mut Vec<u8>) -> Option<i64> {
        let written = value.strip_suffix(self.behind.as_str())?.as_bytes();
        let (stamp, length) = Stamp::at_start(written)?;
        if stamp != self.stamp || length != written.len() {
            return None;
        }
        let difference = stamp.difference(written, ts_ns)?;
        again.clear();
        stamp.write(ts_ns, difference, again);
        (again == written).then_some(difference)
    }

    fn write(&self, ts_ns: i64, difference: i64, out: &mut Vec<u8>) {
        self.stamp.write(ts_ns, difference, out);
        out.extend_from_slice(self.behind.as_bytes());
    }
}

/// What the bodies of a part have in common.
#[derive(Clone, Debug, Default)]
pub struct Common {
    templates: Templates,
    /// By path.
    forms: HashMap<String, Form>,
}

impl Common {
    /// Of rows in memory.
    pub fn of(bodies: &[&StringArray]) -> Common {
        let rows: usize = bodies.iter().map(|bodies| bodies.len()).sum();
        let lines = bodies.iter().flat_map(|bodies| bodies.iter()).flatten();
        let looked_at = lines.step_by((rows / LINES_LOOKED_AT).max(1));
        let lines: Vec<&str> = looked_at.filter(|line| !line.starts_with('{')).collect();
        let mut counts: HashMap<String, (usize, HashMap<Form, usize>)> = HashMap::new();
        bodies::look(bodies, |path, value| {
            let form = Form::of(value);
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
            out.extend_from_slice(&form.stamp.code());
            put_block(out, form.behind.as_bytes());
        }
    }

    pub fn decode(rest: &mut Cursor<'_>) -> Result<Common, String> {
        let templates = Templates::decode(rest)?;
        let mut forms = HashMap::new();
        for _ in 0..rest.u32()? {
            let path = String::from_utf8(rest.block()?.to_vec()).map_err(|wrong| wrong.to_string())?;
            let stamp = Stamp::of_code(rest.array()?).ok_or("a time has no known form")?;
            let behind = String::from_utf8(rest.block()?.to_vec()).map_err(|wrong| wrong.to_string())?;
            forms.insert(path, Form { stamp, behind });
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
    again: Vec<u8>,
}

impl Packing {
    pub fn new(common: Common) -> Packing {
        Packing { lines: Packer::new(common.templates.clone()), common, again: vec![] }
    }

    pub fn common(&self) -> &Common {
        &self.common
    }

    /// From the columns of [`bodies::Shredder::fields`] those of the file, with [`Common::fields`] behind them.
    pub fn pack(&mut self, mut columns: Vec<ArrayRef>, paths: &[String], times: &[i64]) -> Vec<ArrayRef> {
        for (path, column) in paths.iter().zip(columns.iter_mut().skip(2)) {
            if let (Some(form), Some(values)) = (self.common.forms.get(path), column.as_string_opt()) {
                *column = Arc::new(as_differences(values, form, times, &mut self.again));
            }
        }
        let Some(whole) = columns.first().and_then(|whole| whole.as_string_opt::<i32>()) else {
            return columns;
        };
        if self.common.templates.is_empty() {
            return columns;
        }
        let mut rest = StringBuilder::new();
        let (mut values, mut ids) = (BinaryBuilder::new(), BinaryBuilder::new());
        let (mut of_line, mut ids_of_line) = (vec![], vec![]);
        for (line, ts) in whole.iter().zip(times) {
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
        columns
    }
}

fn as_differences(values: &StringArray, form: &Form, times: &[i64], again: &mut Vec<u8>) -> StringArray {
    let mut out = StringBuilder::new();
    for (value, ts) in values.iter().zip(times) {
        match value.map(|value| (value, form.difference(value, *ts, again))) {
            None | Some((_, Some(0))) => out.append_null(),
            Some((_, Some(difference))) => out.append_value(format!("{DIFFERS}{difference}")),
            Some((value, None)) => out.append_value(value),
        }
    }
    out.finish()
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

    /// Whether values of the path may lie as differences from the row's time.
    pub fn is_time(&self, path: &str) -> bool {
        self.common.forms.contains_key(path)
    }

    /// Names the columns of the file that whole bodies are made of, too.
    pub fn needs_of_lines(&self, columns: &mut Vec<String>) {
        if !self.lines.is_empty() && columns.iter().any(|name| name == BODY) {
            columns.extend([VALUES, IDS, time_column(Signal::Logs)].map(str::to_owned));
        }
    }

    /// Names those that times in JSON are made of, too.
    pub fn needs_of_times(&self, columns: &mut Vec<String>) {
        if self.common.forms.keys().any(|path| columns.contains(&column_of(path))) {
            columns.extend([SHAPE, time_column(Signal::Logs)].map(str::to_owned));
        }
    }

    /// What was read of a file, its bodies in the columns of [`bodies::Shredder::fields`]. Packed lines stay as they are where
    /// their values were not read.
    pub fn unpack(&self, batch: RecordBatch, shapes: &Shapes) -> Result<RecordBatch, ArrowError> {
        let batch = self.unpack_times(batch, shapes)?;
        let Some((whole, values)) = batch.column_by_name(BODY).zip(batch.column_by_name(VALUES)) else {
            return Ok(batch);
        };
        let ids = batch.column_by_name(IDS).and_then(|ids| ids.as_binary_opt());
        let (Some(whole), Some(values), Some(ids)) = (whole.as_string_opt(), values.as_binary_opt(), ids)
        else {
            return Err(wrong("lines are not where they should be"));
        };
        let lines = self.put_together(whole, values, ids, times_of(&batch)?.values())?;
        let mut columns = batch.columns().to_vec();
        columns[batch.schema_ref().index_of(BODY)?] = Arc::new(lines);
        RecordBatch::try_new(batch.schema(), columns)
    }

    /// The same for times in JSON alone.
    pub fn unpack_times(&self, batch: RecordBatch, shapes: &Shapes) -> Result<RecordBatch, ArrowError> {
        let of_times = self.common.forms.iter().filter_map(|(path, form)| {
            Some((batch.schema_ref().index_of(&column_of(path)).ok()?, path, form))
        });
        let of_times: Vec<_> = of_times.collect();
        if of_times.is_empty() {
            return Ok(batch);
        }
        let ts = times_of(&batch)?;
        let mut columns = batch.columns().to_vec();
        for (at, path, form) in of_times {
            let shapes_of = batch.column_by_name(SHAPE).and_then(|column| column.as_primitive_opt());
            let (Some(column), Some(shapes_of)) = (columns[at].as_string_opt(), shapes_of) else {
                return Err(wrong("times are not where they should be"));
            };
            columns[at] = Arc::new(times_again(column, form, &shapes.having(path), shapes_of, ts.values())?);
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

fn times_of(batch: &RecordBatch) -> Result<TimestampNanosecondArray, ArrowError> {
    let name = time_column(Signal::Logs);
    let ts = batch.column_by_name(name).ok_or_else(|| wrong("no times"))?;
    let ts = times::in_nanoseconds(Signal::Logs, name, ts)?;
    ts.as_primitive_opt::<TimestampNanosecondType>().cloned().ok_or_else(|| wrong("no times"))
}

fn times_again(
    column: &StringArray,
    form: &Form,
    having: &[bool],
    shapes: &arrow::array::PrimitiveArray<UInt32Type>,
    times: &[i64],
) -> Result<StringArray, ArrowError> {
    let mut out = StringBuilder::with_capacity(column.len(), column.len() * 24);
    let mut text = vec![];
    for (row, time) in times.iter().enumerate().take(column.len()) {
        let has_it = shapes.is_valid(row) && having.get(shapes.value(row) as usize) == Some(&true);
        let difference = match column.is_valid(row).then(|| column.value(row)) {
            None if has_it => 0,
            None => {
                out.append_null();
                continue;
            }
            Some(value) => match value.strip_prefix(DIFFERS) {
                None => {
                    out.append_value(value);
                    continue;
                }
                Some(units) => units.parse().map_err(|_| wrong("a time differs by no number"))?,
            },
        };
        text.clear();
        form.write(*time, difference, &mut text);
        out.append_value(std::str::from_utf8(&text).map_err(|_| wrong("a time is no text"))?);
    }
    Ok(out.finish())
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::datatypes::Schema;

    const TS: i64 = 1_793_491_201_045_000_291;

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
        let bodies = StringArray::from(lines.clone());
        let common = Common::of(&[&bodies]);
        assert_eq!(common.forms.len(), 1, "{:?}", common.forms);
        let mut stored = vec![];
        common.encode(&mut stored);
        let read = Unpacking::new(Common::decode(&mut Cursor(&stored)).unwrap());
        let paths = bodies::frequent([&bodies].into_iter());
        let mut shredder = bodies::Shredder::new(paths.clone());
        let times: Vec<i64> = lines.iter().map(|_| TS).collect();
        let fields = [shredder.fields(), common.fields()].concat();
        let mut packing = Packing::new(common);
        let shredded = shredder.shred(&bodies);
        let columns = packing.pack(shredded.clone(), &paths, &times);
        let shapes = Shapes::parse(&shredder.shapes()).unwrap();
        let at = |name: &str| fields.iter().position(|field| field.name() == name).unwrap();
        assert_eq!(columns[at(BODY)].len() - columns[at(BODY)].null_count(), 2, "two lines stay whole");
        let ts: &StringArray = columns[at("json.ts")].as_string();
        assert_eq!((ts.value(0), ts.is_null(2)), ("\u{1}-1", true));
        let mut fields = fields;
        fields.push(Field::new(
            "ts",
            crate::schema::LOGS.field_with_name("ts").unwrap().data_type().clone(),
            false,
        ));
        let time: ArrayRef = Arc::new(TimestampNanosecondArray::from(times).with_timezone("UTC"));
        let columns = [columns, vec![time]].concat();
        let batch = RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).unwrap();
        let batch = read.unpack(batch, &shapes).unwrap();
        for (column, before) in batch.columns().iter().zip(&shredded) {
            assert_eq!(column, before);
        }
        let again = bodies::restore(&batch, &shapes).unwrap();
        assert_eq!(again, bodies);
    }
}
