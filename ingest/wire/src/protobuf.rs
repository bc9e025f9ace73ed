//! Protobuf fields straight from the bytes that hold them: what remote write, Loki push and OTLP's spans need, without a
//! message tree of owned strings.

use crate::Malformed;

/// One field's value.
#[derive(Clone, Copy, Debug)]
pub enum Value<'a> {
    Varint(u64),
    Fixed64(u64),
    Bytes(&'a [u8]),
    Fixed32(u32),
}

/// Most are tags and lengths of one byte.
#[inline]
fn varint(rest: &mut &[u8]) -> Option<u64> {
    match rest.split_first() {
        Some((byte, after)) if *byte < 0x80 => {
            *rest = after;
            Some(u64::from(*byte))
        }
        _ => long_varint(rest),
    }
}

fn long_varint(rest: &mut &[u8]) -> Option<u64> {
    let mut value = 0u64;
    for (i, &byte) in rest.iter().take(10).enumerate() {
        value |= u64::from(byte & 0x7f) << (7 * i).min(63);
        if byte < 0x80 {
            *rest = &rest[i + 1..];
            return Some(value);
        }
    }
    None
}

/// The next of packed numbers.
pub fn take_varint(packed: &mut &[u8]) -> Result<u64, Malformed> {
    varint(packed).ok_or_else(|| Malformed("a packed number has no end".into()))
}

/// Whether the next field is a group, which no message that comes here has.
pub fn starts_group(mut rest: &[u8]) -> bool {
    varint(&mut rest).is_some_and(|tag| tag & 7 == 3)
}

/// Reads the fields of one message.
pub struct Fields<'a> {
    rest: &'a [u8],
    /// Of the message this one lies in, for error texts.
    length: usize,
}

impl<'a> Fields<'a> {
    pub fn of(message: &'a [u8]) -> Fields<'a> {
        Fields { rest: message, length: message.len() }
    }

    /// How often a message has a field, so that what it becomes gets the room that it needs.
    pub fn count(message: &'a [u8], number: u32) -> Result<usize, Malformed> {
        let (mut fields, mut count) = (Fields::of(message), 0);
        while let Some((field, _)) = fields.next()? {
            count += usize::from(field == number);
        }
        Ok(count)
    }

    #[cold]
    fn wrong(&self, what: &str) -> Malformed {
        Malformed(format!(
            "not a protobuf message of this kind: {what} at byte {}",
            self.length - self.rest.len()
        ))
    }

    #[inline]
    fn varint(&mut self) -> Result<u64, Malformed> {
        varint(&mut self.rest).ok_or_else(|| self.wrong("a number without end"))
    }

    #[inline]
    fn take(&mut self, count: usize) -> Result<&'a [u8], Malformed> {
        let Some((taken, rest)) = self.rest.split_at_checked(count) else { return Err(self.cut(count)) };
        self.rest = rest;
        Ok(taken)
    }

    #[cold]
    fn cut(&self, count: usize) -> Malformed {
        self.wrong(&format!("{count} bytes announced, {} left", self.rest.len()))
    }

    /// What is not read yet.
    pub fn left(&self) -> &'a [u8] {
        self.rest
    }

    pub fn is_at_end(&self) -> bool {
        self.rest.is_empty()
    }

    /// The next field's number and value; `None` at the end.
    #[inline]
    pub fn next(&mut self) -> Result<Option<(u32, Value<'a>)>, Malformed> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        let tag = self.varint()?;
        let number = (tag >> 3) as u32;
        if number == 0 {
            return Err(self.wrong("field number 0"));
        }
        let value = match tag & 7 {
            0 => Value::Varint(self.varint()?),
            1 => Value::Fixed64(u64::from_le_bytes(self.take(8)?.try_into().unwrap_or_default())),
            2 => {
                let length = self.varint()?;
                Value::Bytes(self.take(usize::try_from(length).unwrap_or(usize::MAX))?)
            }
            5 => Value::Fixed32(u32::from_le_bytes(self.take(4)?.try_into().unwrap_or_default())),
            other => return Err(self.wrong(&format!("wire type {other}"))),
        };
        Ok(Some((number, value)))
    }
}

impl<'a> Value<'a> {
    pub fn text(self) -> Result<&'a str, Malformed> {
        std::str::from_utf8(self.bytes()?)
            .map_err(|wrong| Malformed(format!("text that is not UTF-8: {wrong}")))
    }

    pub fn bytes(self) -> Result<&'a [u8], Malformed> {
        match self {
            Value::Bytes(bytes) => Ok(bytes),
            other => Err(Malformed(format!("a field is {other:?} where bytes belong"))),
        }
    }

    pub fn integer(self) -> Result<i64, Malformed> {
        match self {
            Value::Varint(number) => Ok(number as i64),
            other => Err(Malformed(format!("a field is {other:?} where an integer belongs"))),
        }
    }

    pub fn double(self) -> Result<f64, Malformed> {
        self.fixed64().map(f64::from_bits)
    }

    pub fn fixed64(self) -> Result<u64, Malformed> {
        match self {
            Value::Fixed64(bits) => Ok(bits),
            other => Err(Malformed(format!("a field is {other:?} where eight bytes belong"))),
        }
    }

    pub fn fixed32(self) -> Result<u32, Malformed> {
        match self {
            Value::Fixed32(bits) => Ok(bits),
            other => Err(Malformed(format!("a field is {other:?} where four bytes belong"))),
        }
    }
}

/// Appends fields.
#[derive(Default)]
pub struct Writer(pub Vec<u8>);

impl Writer {
    pub fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }

    pub fn bytes(&mut self, field: u32, bytes: &[u8]) {
        self.varint(u64::from(field << 3 | 2));
        self.varint(bytes.len() as u64);
        self.0.extend_from_slice(bytes);
    }

    pub fn integer(&mut self, field: u32, value: i64) {
        self.varint(u64::from(field << 3));
        self.varint(value as u64);
    }

    pub fn double(&mut self, field: u32, value: f64) {
        self.varint(u64::from(field << 3 | 1));
        self.0.extend_from_slice(&value.to_bits().to_le_bytes());
    }
}
