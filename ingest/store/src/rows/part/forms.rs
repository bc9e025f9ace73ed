//! Values in JSON that the record itself has: its time in some spelling, its trace id, its span id. Of a column that most
//! often holds these, only the difference lies in the file, and it is most often nothing.
//!
//! Such a value is null, though the line's shape has a value there; a time that differs is [`DIFFERS`] and by how many units.
//! No value begins so. What is written otherwise stands as it is.

use super::bodies::wrong;
use super::stamps::Stamp;
use super::times;
use crate::part::Signal;
use crate::rows::stored::time_column;
use crate::side_index::{Cursor, put_block};
use arrow::array::{
    Array, AsArray, FixedSizeBinaryArray, PrimitiveArray, RecordBatch, StringArray, StringBuilder,
    TimestampNanosecondArray,
};
use arrow::datatypes::{TimestampNanosecondType, UInt32Type};
use arrow::error::ArrowError;

const DIFFERS: char = '\u{1}';
const TRACE_ID: &str = "trace_id";
const SPAN_ID: &str = "span_id";
/// Behind those of [`Stamp::code`].
const TRACE_ID_CODE: [u8; 3] = [6, 0, 0];
const SPAN_ID_CODE: [u8; 3] = [7, 0, 0];

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Form {
    /// A time: the stamp, and what stands behind it, as `Z`.
    Time {
        stamp: Stamp,
        behind: String,
    },
    /// Lower-case hex.
    TraceId,
    SpanId,
}

/// What records have beside their bodies, as far as it was read.
#[derive(Clone)]
pub struct Records {
    times: Option<TimestampNanosecondArray>,
    trace_ids: Option<FixedSizeBinaryArray>,
    span_ids: Option<FixedSizeBinaryArray>,
}

impl Records {
    pub fn of(batch: &RecordBatch) -> Result<Records, ArrowError> {
        let ids = |name: &str| batch.column_by_name(name)?.as_fixed_size_binary_opt().cloned();
        let name = time_column(Signal::Logs);
        let times = batch.column_by_name(name).map(|ts| times::in_nanoseconds(Signal::Logs, name, ts));
        let times = times.transpose()?;
        Ok(Records {
            times: times.and_then(|ts| ts.as_primitive_opt::<TimestampNanosecondType>().cloned()),
            trace_ids: ids(TRACE_ID),
            span_ids: ids(SPAN_ID),
        })
    }

    pub fn times(&self) -> Result<&[i64], ArrowError> {
        self.times.as_ref().map(|ts| &ts.values()[..]).ok_or_else(|| wrong("no times"))
    }

    fn id(&self, form: &Form, row: usize) -> Option<&[u8]> {
        let ids = match form {
            Form::TraceId => self.trace_ids.as_ref()?,
            _ => self.span_ids.as_ref()?,
        };
        ids.is_valid(row).then(|| ids.value(row))
    }
}

/// Whether the text is these bytes in lower-case hex.
fn spells(text: &str, id: &[u8]) -> bool {
    let digit = |half: u8| if half < 10 { b'0' + half } else { b'a' + half - 10 };
    text.len() == 2 * id.len()
        && text
            .as_bytes()
            .chunks_exact(2)
            .zip(id)
            .all(|(pair, byte)| pair[0] == digit(byte >> 4) && pair[1] == digit(byte & 15))
}

impl Form {
    /// That in which a value may be the row's own.
    pub fn of(value: &str, records: &Records, row: usize) -> Option<Form> {
        for form in [Form::TraceId, Form::SpanId] {
            if records.id(&form, row).is_some_and(|id| spells(value, id)) {
                return Some(form);
            }
        }
        let (stamp, length) = Stamp::at_start(value.as_bytes()).filter(|_| value.is_ascii())?;
        let behind = &value[length..];
        (behind.len() <= 8).then(|| Form::Time { stamp, behind: behind.to_owned() })
    }

    /// The column that gives the value back.
    pub fn column(&self) -> &'static str {
        match self {
            Form::Time { .. } => time_column(Signal::Logs),
            Form::TraceId => TRACE_ID,
            Form::SpanId => SPAN_ID,
        }
    }

    pub fn encode(&self, out: &mut Vec<u8>) {
        let (code, behind) = match self {
            Form::Time { stamp, behind } => (stamp.code(), behind.as_str()),
            Form::TraceId => (TRACE_ID_CODE, ""),
            Form::SpanId => (SPAN_ID_CODE, ""),
        };
        out.extend_from_slice(&code);
        put_block(out, behind.as_bytes());
    }

    pub fn decode(rest: &mut Cursor<'_>) -> Result<Form, String> {
        let code = rest.array()?;
        let behind = String::from_utf8(rest.block()?.to_vec()).map_err(|wrong| wrong.to_string())?;
        Ok(match code {
            TRACE_ID_CODE => Form::TraceId,
            SPAN_ID_CODE => Form::SpanId,
            code => {
                let stamp = Stamp::of_code(code).ok_or("a value has no known form")?;
                Form::Time { stamp, behind }
            }
        })
    }

    /// The column as it lies in the file.
    pub fn pack(&self, values: &StringArray, records: &Records) -> Result<StringArray, ArrowError> {
        let (mut out, mut again) = (StringBuilder::new(), vec![]);
        let times = match self {
            Form::Time { .. } => records.times()?,
            _ => &[],
        };
        for (row, value) in values.iter().enumerate() {
            let Some(value) = value else {
                out.append_null();
                continue;
            };
            match self {
                Form::Time { stamp, behind } => {
                    match difference(stamp, behind, value, times[row], &mut again) {
                        Some(0) => out.append_null(),
                        Some(units) => out.append_value(format!("{DIFFERS}{units}")),
                        None => out.append_value(value),
                    }
                }
                _ if records.id(self, row).is_some_and(|id| spells(value, id)) => out.append_null(),
                _ => out.append_value(value),
            }
        }
        Ok(out.finish())
    }

    /// The values again. `having` tells by shape whether lines have one.
    pub fn unpack(
        &self,
        column: &StringArray,
        having: &[bool],
        shapes: &PrimitiveArray<UInt32Type>,
        records: &Records,
    ) -> Result<StringArray, ArrowError> {
        let mut out = StringBuilder::with_capacity(column.len(), column.len() * 24);
        let mut text = vec![];
        for row in 0..column.len() {
            text.clear();
            let has_it = shapes.is_valid(row) && having.get(shapes.value(row) as usize) == Some(&true);
            match column.is_valid(row).then(|| column.value(row)) {
                None if has_it => self.write(records, row, 0, &mut text)?,
                None => {
                    out.append_null();
                    continue;
                }
                Some(value) => match value.strip_prefix(DIFFERS) {
                    None => {
                        out.append_value(value);
                        continue;
                    }
                    Some(units) => {
                        let units = units.parse().map_err(|_| wrong("a time differs by no number"))?;
                        self.write(records, row, units, &mut text)?;
                    }
                },
            }
            out.append_value(std::str::from_utf8(&text).map_err(|_| wrong("a value is no text"))?);
        }
        Ok(out.finish())
    }

    fn write(
        &self,
        records: &Records,
        row: usize,
        difference: i64,
        out: &mut Vec<u8>,
    ) -> Result<(), ArrowError> {
        match self {
            Form::Time { stamp, behind } => {
                stamp.write(records.times()?[row], difference, out);
                out.extend_from_slice(behind.as_bytes());
            }
            _ => {
                let id = records.id(self, row).ok_or_else(|| wrong("a row has not the id of its line"))?;
                out.extend_from_slice(hex::encode(id).as_bytes());
            }
        }
        Ok(())
    }
}

/// How far a time is from the record's, where that gives it back.
fn difference(stamp: &Stamp, behind: &str, value: &str, ts_ns: i64, again: &mut Vec<u8>) -> Option<i64> {
    let written = value.strip_suffix(behind)?.as_bytes();
    let (found, length) = Stamp::at_start(written)?;
    if found != *stamp || length != written.len() {
        return None;
    }
    let difference = stamp.difference(written, ts_ns)?;
    again.clear();
    stamp.write(ts_ns, difference, again);
    (again == written).then_some(difference)
}
