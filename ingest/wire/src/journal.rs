//! The journal export format (source: systemd.io/JOURNAL_EXPORT_FORMATS): an entry is lines `NAME=value`, or `NAME`, a
//! length and that many bytes where the value is no single line of text; an empty line ends it.
//!
//! A whole journal comes as one body, so bytes are fed as they arrive, and what is in memory is at most one entry.

use crate::document::Streams;
use crate::{Decoded, Malformed, Rejected};
use model::{Attributes, Labels, LogBatch, LogRecord, RejectReason, Value, level};

/// A longer value is cut here; of a message it is past what a store keeps, and so refused and counted there.
const VALUE_BYTES_MAX: usize = (2 << 20) + 1;

/// Of one entry; more are dropped, and the entry says how many. A core dump is one of these.
const ENTRY_BYTES_MAX: usize = 4 << 20;
const FIELDS_MAX: usize = 1_000;

/// Names are shorter than this in every journal; a longer one is not this format.
const NAME_BYTES_MAX: usize = 256;

const DROPPED: &str = "journal.fields_dropped";

/// Where in an entry the next byte is.
#[derive(Default)]
enum Place {
    /// In a name, or at the start of a line.
    #[default]
    Name,
    /// In the value of a line.
    Line,
    /// In the eight bytes of a length.
    Length,
    Value {
        left: u64,
    },
    /// Behind a value with a length.
    ValueEnd,
}

/// Takes bytes and gives entries.
#[derive(Default)]
pub struct Decoder {
    place: Place,
    name: Vec<u8>,
    value: Vec<u8>,
    fields: Vec<(String, Vec<u8>)>,
    entry_bytes: usize,
    dropped: u64,
    /// Read in all, for errors.
    offset: u64,
    streams: Streams,
    rejected: Rejected,
    records: usize,
    bytes: usize,
}

impl Decoder {
    pub fn feed(&mut self, mut bytes: &[u8]) -> Result<(), Malformed> {
        while !bytes.is_empty() {
            let used = self.step(bytes)?;
            self.offset += used as u64;
            bytes = &bytes[used..];
        }
        Ok(())
    }

    /// Records and their bytes since the last [`take`](Decoder::take).
    pub fn held(&self) -> (usize, usize) {
        (self.records, self.bytes)
    }

    /// The entries that are whole.
    pub fn take(&mut self) -> Decoded<LogBatch> {
        (self.records, self.bytes) = (0, 0);
        let (batch, _) = std::mem::take(&mut self.streams).finish();
        Decoded { batch, rejected: std::mem::take(&mut self.rejected) }
    }

    /// The body is over: the empty line behind the last entry may be missing.
    pub fn finish(&mut self) -> Result<(), Malformed> {
        if !matches!(self.place, Place::Name) || !self.name.is_empty() {
            return Err(self.wrong("the body ends inside a field"));
        }
        self.end_entry();
        Ok(())
    }

    /// At least one byte further.
    fn step(&mut self, bytes: &[u8]) -> Result<usize, Malformed> {
        match &mut self.place {
            Place::Name => self.name(bytes),
            Place::Line => {
                let end = memchr::memchr(b'\n', bytes);
                self.keep(&bytes[..end.unwrap_or(bytes.len())]);
                if end.is_some() {
                    self.end_field();
                }
                Ok(end.map_or(bytes.len(), |end| end + 1))
            }
            Place::Length => {
                let used = bytes.len().min(8 - self.value.len());
                self.value.extend_from_slice(&bytes[..used]);
                if let Ok(length) = <[u8; 8]>::try_from(self.value.as_slice()) {
                    self.value.clear();
                    self.place = match u64::from_le_bytes(length) {
                        0 => Place::ValueEnd,
                        left => Place::Value { left },
                    };
                }
                Ok(used)
            }
            Place::Value { left } => {
                let used = usize::try_from(*left).map_or(bytes.len(), |left| bytes.len().min(left));
                *left -= used as u64;
                let ended = *left == 0;
                self.keep(&bytes[..used]);
                if ended {
                    self.place = Place::ValueEnd;
                }
                Ok(used)
            }
            Place::ValueEnd => {
                if bytes[0] != b'\n' {
                    return Err(self.wrong("no newline behind a value with a length"));
                }
                self.end_field();
                Ok(1)
            }
        }
    }

    fn name(&mut self, bytes: &[u8]) -> Result<usize, Malformed> {
        let end = memchr::memchr2(b'=', b'\n', bytes);
        self.name.extend_from_slice(&bytes[..end.unwrap_or(bytes.len())]);
        if self.name.len() > NAME_BYTES_MAX {
            return Err(self.wrong("a field's name is too long"));
        }
        let Some(end) = end else { return Ok(bytes.len()) };
        match bytes[end] {
            b'\n' if self.name.is_empty() => self.end_entry(),
            b'\n' => self.place = Place::Length,
            _ if self.name.is_empty() => return Err(self.wrong("a field without a name")),
            _ => self.place = Place::Line,
        }
        Ok(end + 1)
    }

    fn keep(&mut self, bytes: &[u8]) {
        let room = VALUE_BYTES_MAX - self.value.len();
        self.value.extend_from_slice(&bytes[..bytes.len().min(room)]);
    }

    fn end_field(&mut self) {
        self.place = Place::Name;
        let (name, value) = (std::mem::take(&mut self.name), std::mem::take(&mut self.value));
        let bytes = name.len() + value.len();
        if self.fields.len() == FIELDS_MAX || self.entry_bytes + bytes > ENTRY_BYTES_MAX {
            self.dropped += 1;
            return;
        }
        self.entry_bytes += bytes;
        self.fields.push((String::from_utf8_lossy(&name).into_owned(), value));
    }

    fn end_entry(&mut self) {
        let fields = std::mem::take(&mut self.fields);
        let dropped = std::mem::take(&mut self.dropped);
        let bytes = std::mem::take(&mut self.entry_bytes);
        if fields.is_empty() {
            return;
        }
        self.records += 1;
        self.bytes += bytes;
        match entry(fields, dropped) {
            Some((labels, record)) => {
                self.streams.push(labels, record);
            }
            None => self.rejected.add(RejectReason::InvalidDocument, 1, || {
                format!("the entry before byte {} has no __REALTIME_TIMESTAMP in microseconds", self.offset)
            }),
        }
    }

    fn wrong(&self, what: &str) -> Malformed {
        Malformed(format!("not the journal export format: {what}, at byte {}", self.offset))
    }
}

/// How the journal finds its entries again; nothing that was logged.
const ADDRESSES: [&str; 5] =
    ["__CURSOR", "__REALTIME_TIMESTAMP", "__MONOTONIC_TIMESTAMP", "__SEQNUM", "__SEQNUM_ID"];

/// With the labels that the agent gives to the journal it reads itself.
fn entry(mut fields: Vec<(String, Vec<u8>)>, dropped: u64) -> Option<(Labels, LogRecord)> {
    let mut take = |name: &str| {
        let at = fields.iter().position(|(known, _)| known == name)?;
        Some(String::from_utf8_lossy(&fields.remove(at).1).into_owned())
    };
    let ts_ns = take("__REALTIME_TIMESTAMP")?.parse::<i64>().ok()?.checked_mul(1_000)?;
    let body = take("MESSAGE").unwrap_or_default();
    let severity = take("PRIORITY").and_then(|digit| digit.parse().ok()).map_or(0, level::of_syslog);
    let unit = take("_SYSTEMD_UNIT").unwrap_or_default();
    let identifier = take("SYSLOG_IDENTIFIER").unwrap_or_default();
    let node = take("_HOSTNAME").unwrap_or_default();
    let pid = take("_PID");
    let service = if unit.is_empty() { &identifier } else { &unit };
    let labels = Labels::from_pairs([
        ("job", "systemd-journal"),
        ("unit", unit.as_str()),
        ("service_name", service.strip_suffix(".service").unwrap_or(service)),
        ("node", &node),
    ]);
    let mut attributes: Attributes = vec![];
    if !identifier.is_empty() && service != &identifier {
        attributes.push(("SYSLOG_IDENTIFIER".into(), identifier.into()));
    }
    attributes.extend(pid.map(|pid| ("process.pid".to_owned(), Value::from(pid))));
    let rest = fields.into_iter().filter(|(name, _)| !ADDRESSES.contains(&name.as_str()));
    attributes.extend(rest.map(|(name, value)| {
        let value =
            String::from_utf8(value).map_or_else(|bytes| Value::Bytes(bytes.into_bytes()), Value::String);
        (name, value)
    }));
    if dropped > 0 {
        attributes.push((DROPPED.into(), Value::Int(dropped as i64)));
    }
    Some((labels, LogRecord { ts_ns, severity, body, attributes, ..LogRecord::default() }))
}

#[cfg(test)]
mod tests;
