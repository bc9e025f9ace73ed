//! `Batch` of jaeger.thrift (jaegertracing/jaeger-idl) in Thrift's binary protocol, read field by field; a field that is
//! not known is passed over. Lengths are held against what is left of the body, so no number asks for memory.

use super::{Reference, Sent, resource};
use crate::Malformed;
use model::{Attributes, SpanId, TraceId, Value};
use std::sync::Arc;

const STOP: u8 = 0;
const BOOL: u8 = 2;
const BYTE: u8 = 3;
const DOUBLE: u8 = 4;
const I16: u8 = 6;
const I32: u8 = 8;
const I64: u8 = 10;
const TEXT: u8 = 11;
const STRUCT: u8 = 12;
const MAP: u8 = 13;
const SET: u8 = 14;
const LIST: u8 = 15;

/// Structures inside one another that are passed over; Jaeger's own go to 4.
const DEPTH_MAX: u32 = 32;

struct Reader<'a> {
    rest: &'a [u8],
    length: usize,
    /// That were passed over.
    structures: usize,
}

type Read<T> = Result<T, Malformed>;

impl<'a> Reader<'a> {
    fn of(body: &'a [u8]) -> Reader<'a> {
        Reader { rest: body, length: body.len(), structures: 0 }
    }

    fn wrong(&self, what: &str) -> Malformed {
        Malformed(format!("not a Batch in Thrift's binary protocol: {what} at byte {}", self.at()))
    }

    fn at(&self) -> usize {
        self.length - self.rest.len()
    }

    fn take(&mut self, count: usize) -> Read<&'a [u8]> {
        let Some((taken, rest)) = self.rest.split_at_checked(count) else {
            return Err(self.wrong(&format!("{count} bytes announced, {} left", self.rest.len())));
        };
        self.rest = rest;
        Ok(taken)
    }

    fn number<const N: usize>(&mut self) -> Read<[u8; N]> {
        Ok(self.take(N)?.try_into().unwrap_or([0; N]))
    }

    fn byte(&mut self) -> Read<u8> {
        Ok(self.number::<1>()?[0])
    }

    fn i64(&mut self) -> Read<i64> {
        self.number().map(i64::from_be_bytes)
    }

    fn bytes(&mut self) -> Read<&'a [u8]> {
        let length = i32::from_be_bytes(self.number()?);
        match usize::try_from(length) {
            Ok(length) => self.take(length),
            Err(_) => Err(self.wrong("a negative length")),
        }
    }

    /// Bytes that are no text cost their batch nothing but themselves.
    fn text(&mut self) -> Read<String> {
        Ok(String::from_utf8_lossy(self.bytes()?).into_owned())
    }

    /// As Jaeger keeps a text that is none.
    fn text_or_bytes(&mut self) -> Read<Value> {
        let bytes = self.bytes()?;
        let text = std::str::from_utf8(bytes).map(Value::from);
        Ok(text.unwrap_or_else(|_| Value::Bytes(bytes.to_vec())))
    }

    /// Calls `field` with number and type of each field; one that it refuses is passed over.
    fn fields(&mut self, mut field: impl FnMut(&mut Self, i16, u8) -> Read<bool>) -> Read<()> {
        loop {
            let kind = self.byte()?;
            if kind == STOP {
                return Ok(());
            }
            let number = i16::from_be_bytes(self.number()?);
            if !field(self, number, kind)? {
                self.skip(kind, DEPTH_MAX)?;
            }
        }
    }

    fn list<T>(&mut self, mut item: impl FnMut(&mut Self) -> Read<T>) -> Read<Vec<T>> {
        let kind = self.byte()?;
        let count = i32::from_be_bytes(self.number()?);
        if kind != STRUCT && count > 0 {
            return Err(self.wrong("a list of something else than structures"));
        }
        let count = usize::try_from(count).map_err(|_| self.wrong("a negative length"))?;
        // A structure has a byte at least.
        if count > self.rest.len() {
            return Err(self.wrong(&format!("a list of {count} and {} bytes left", self.rest.len())));
        }
        (0..count).map(|_| item(self)).collect()
    }

    fn skip(&mut self, kind: u8, depth: u32) -> Read<()> {
        let Some(depth) = depth.checked_sub(1) else { return Err(self.wrong("too deep a structure")) };
        match kind {
            BOOL | BYTE => self.take(1).map(|_| ()),
            I16 => self.take(2).map(|_| ()),
            I32 => self.take(4).map(|_| ()),
            DOUBLE | I64 => self.take(8).map(|_| ()),
            TEXT => self.bytes().map(|_| ()),
            STRUCT => {
                self.structures += 1;
                loop {
                    let kind = self.byte()?;
                    if kind == STOP {
                        return Ok(());
                    }
                    self.take(2)?;
                    self.skip(kind, depth)?;
                }
            }
            LIST | SET => {
                let kind = self.byte()?;
                let count = i32::from_be_bytes(self.number()?);
                (0..count).try_for_each(|_| self.skip(kind, depth))
            }
            MAP => {
                let (key, value) = (self.byte()?, self.byte()?);
                let count = i32::from_be_bytes(self.number()?);
                (0..count).try_for_each(|_| {
                    self.skip(key, depth)?;
                    self.skip(value, depth)
                })
            }
            other => Err(self.wrong(&format!("field type {other}"))),
        }
    }
}

/// How many structures a body has, one of which may be a single byte; of one that does not read, those before what is wrong.
pub(crate) fn structures(body: &[u8]) -> usize {
    let mut reader = Reader::of(body);
    // What is wrong is told by who reads it, who goes no deeper below Jaeger's own.
    let _ = reader.skip(STRUCT, 2 * DEPTH_MAX);
    reader.structures
}

pub(super) fn batch(body: &[u8]) -> Read<(Arc<Attributes>, Vec<Sent>)> {
    let mut reader = Reader::of(body);
    let (mut process, mut spans) = (None, vec![]);
    reader.fields(|reader, number, kind| {
        match (number, kind) {
            (1, STRUCT) => process = Some(read_process(reader)?),
            (2, LIST) => spans = reader.list(read_span)?,
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    let process = process.ok_or_else(|| reader.wrong("a Batch without its process"))?;
    Ok((process, spans))
}

fn read_process(reader: &mut Reader<'_>) -> Read<Arc<Attributes>> {
    let (mut service, mut tags) = (String::new(), vec![]);
    reader.fields(|reader, number, kind| {
        match (number, kind) {
            (1, TEXT) => service = reader.text()?,
            (2, LIST) => tags = reader.list(read_tag)?,
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    Ok(resource(service, tags))
}

/// The value is that of the tag's own type: some clients, as Node's, write the fields of all others beside it.
fn read_tag(reader: &mut Reader<'_>) -> Read<(String, Value)> {
    let (mut name, mut kind_of) = (String::new(), None);
    // By the number of their type: text, double, bool, long, binary.
    let mut values: [Option<Value>; 5] = Default::default();
    reader.fields(|reader, number, kind| {
        match (number, kind) {
            (1, TEXT) => name = reader.text()?,
            (2, I32) => kind_of = usize::try_from(i32::from_be_bytes(reader.number()?)).ok(),
            (3, TEXT) => values[0] = Some(reader.text_or_bytes()?),
            (4, DOUBLE) => values[1] = Some(Value::Double(f64::from_bits(reader.i64()? as u64))),
            (5, BOOL) => values[2] = Some(Value::Bool(reader.byte()? != 0)),
            (6, I64) => values[3] = Some(Value::Int(reader.i64()?)),
            (7, TEXT) => values[4] = Some(Value::Bytes(reader.bytes()?.to_vec())),
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    let own = match kind_of {
        Some(kind @ 0..5) => values[kind].take(),
        _ => None,
    };
    // One whose own is not there is what is.
    let value = own.or_else(|| values.into_iter().flatten().next());
    Ok((name, value.unwrap_or_else(|| Value::String(String::new()))))
}

fn trace_id(high: i64, low: i64) -> Option<TraceId> {
    let id = (u128::from(high as u64) << 64 | u128::from(low as u64)).to_be_bytes();
    (id != [0; 16]).then_some(id)
}

fn span_id(id: i64) -> Option<SpanId> {
    (id != 0).then(|| id.to_be_bytes())
}

fn read_reference(reader: &mut Reader<'_>) -> Read<Reference> {
    let (mut kind_of, mut low, mut high, mut span) = (0, 0, 0, 0);
    reader.fields(|reader, number, kind| {
        match (number, kind) {
            (1, I32) => kind_of = i32::from_be_bytes(reader.number()?),
            (2, I64) => low = reader.i64()?,
            (3, I64) => high = reader.i64()?,
            (4, I64) => span = reader.i64()?,
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    Ok(Reference { child_of: kind_of == 0, trace_id: trace_id(high, low), span_id: span_id(span) })
}

fn read_log(reader: &mut Reader<'_>) -> Read<(i64, Attributes)> {
    let (mut ts_us, mut fields) = (0i64, vec![]);
    reader.fields(|reader, number, kind| {
        match (number, kind) {
            (1, I64) => ts_us = reader.i64()?,
            (2, LIST) => fields = reader.list(read_tag)?,
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    Ok((ts_us.saturating_mul(1_000), fields))
}

fn read_span(reader: &mut Reader<'_>) -> Read<Sent> {
    let (mut low, mut high, mut id, mut parent, mut start_us, mut duration_us) = (0, 0, 0, 0, 0i64, 0i64);
    let (mut name, mut references, mut tags, mut logs) = (String::new(), vec![], vec![], vec![]);
    reader.fields(|reader, number, kind| {
        match (number, kind) {
            (1, I64) => low = reader.i64()?,
            (2, I64) => high = reader.i64()?,
            (3, I64) => id = reader.i64()?,
            (4, I64) => parent = reader.i64()?,
            (5, TEXT) => name = reader.text()?,
            (6, LIST) => references = reader.list(read_reference)?,
            (8, I64) => start_us = reader.i64()?,
            (9, I64) => duration_us = reader.i64()?,
            (10, LIST) => tags = reader.list(read_tag)?,
            (11, LIST) => logs = reader.list(read_log)?,
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    Ok(Sent {
        trace_id: trace_id(high, low),
        span_id: span_id(id),
        parent: span_id(parent),
        name,
        references,
        start_ns: start_us.saturating_mul(1_000),
        duration_ns: duration_us.saturating_mul(1_000),
        tags,
        logs,
    })
}
