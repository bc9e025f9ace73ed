//! Syslog: how messages are told apart on a stream (RFC 6587: octet counting and line feeds), and what is in one
//! (RFC 5424, or the older habits that RFC 3164 describes, or those of network devices). A message that is neither is a
//! line like any other.

mod device;

use crate::document::Streams;
use chrono::{DateTime, Datelike, FixedOffset, NaiveDate, TimeZone};
use model::{Attributes, Labels, LogBatch, LogRecord, Value, level};
use syslog_loose::{
    Message, SyslogFacility, SyslogSeverity, Variant, decompose_pri, parse_message_with_year_exact_tz,
};

/// A longer message is cut here and marked. Senders cut at 8 KiB unless told otherwise.
pub const MESSAGE_BYTES_MAX: usize = 64 << 10;

/// Marks a message whose end is missing, as the agent does.
const CUT: &str = "log.truncated";

/// A message as it came off a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    pub bytes: Vec<u8>,
    pub cut: bool,
}

/// What of the stream is passed over, behind a message that was cut.
#[derive(Default)]
enum Skip {
    #[default]
    Nothing,
    Octets(usize),
    Line,
}

/// Tells the messages of one connection apart; each may be framed either way. It holds at most one message and what was
/// fed last.
#[derive(Default)]
pub struct Framer {
    buffer: Vec<u8>,
    skip: Skip,
}

/// How the next message is framed.
enum Framing {
    Counted {
        head: usize,
        length: usize,
    },
    Line,
    /// Digits so far.
    NotKnown,
}

impl Framer {
    pub fn feed(&mut self, bytes: &[u8]) -> Vec<Frame> {
        self.buffer.extend_from_slice(bytes);
        let (mut at, mut frames) = (0, vec![]);
        loop {
            at += self.skipped(at);
            let rest = &self.buffer[at..];
            if rest.is_empty() {
                break;
            }
            let Some((frame, used, skip)) = next(rest) else { break };
            frames.extend(frame);
            at += used;
            self.skip = skip;
        }
        self.buffer.drain(..at);
        frames
    }

    /// The connection is over: what is left is a message without its line feed.
    pub fn finish(&mut self) -> Option<Frame> {
        let rest = std::mem::take(&mut self.buffer);
        let head = match framing(&rest) {
            Framing::Counted { head, .. } => head,
            _ => 0,
        };
        let cut = head > 0;
        frame(&rest[head..]).map(|frame| Frame { cut, ..frame })
    }

    fn skipped(&mut self, at: usize) -> usize {
        let rest = &self.buffer[at..];
        let (used, skip) = match self.skip {
            Skip::Nothing => (0, Skip::Nothing),
            Skip::Octets(left) if left > rest.len() => (rest.len(), Skip::Octets(left - rest.len())),
            Skip::Octets(left) => (left, Skip::Nothing),
            Skip::Line => match memchr::memchr(b'\n', rest) {
                Some(end) => (end + 1, Skip::Nothing),
                None => (rest.len(), Skip::Line),
            },
        };
        self.skip = skip;
        used
    }
}

/// The first message of `rest`, the bytes it takes, and what to pass over behind it. `None`: it is not whole.
fn next(rest: &[u8]) -> Option<(Option<Frame>, usize, Skip)> {
    match framing(rest) {
        Framing::NotKnown => None,
        Framing::Counted { head, length } => {
            let kept = length.min(MESSAGE_BYTES_MAX);
            let bytes = rest.get(head..head + kept)?;
            let cut = kept < length;
            let skip = if cut { Skip::Octets(length - kept) } else { Skip::Nothing };
            Some((frame(bytes).map(|frame| Frame { cut, ..frame }), head + kept, skip))
        }
        Framing::Line => match memchr::memchr(b'\n', &rest[..rest.len().min(MESSAGE_BYTES_MAX + 1)]) {
            Some(end) => Some((frame(&rest[..end]), end + 1, Skip::Nothing)),
            None if rest.len() <= MESSAGE_BYTES_MAX => None,
            None => {
                let frame = frame(&rest[..MESSAGE_BYTES_MAX]).map(|frame| Frame { cut: true, ..frame });
                Some((frame, MESSAGE_BYTES_MAX, Skip::Line))
            }
        },
    }
}

/// `123 <34>1 …`: a message that is not counted begins with `<`, or at least not with a number and a space.
fn framing(rest: &[u8]) -> Framing {
    const DIGITS_MAX: usize = 9;
    let digits = rest.iter().take(DIGITS_MAX + 1).take_while(|byte| byte.is_ascii_digit()).count();
    if digits == 0 || digits > DIGITS_MAX || rest[0] == b'0' {
        return Framing::Line;
    }
    match rest.get(digits) {
        None => Framing::NotKnown,
        Some(b' ') => {
            let length = rest[..digits].iter().fold(0, |sum, digit| sum * 10 + usize::from(digit - b'0'));
            Framing::Counted { head: digits + 1, length }
        }
        Some(_) => Framing::Line,
    }
}

/// Without what senders end a message with; `None` where nothing is left.
fn frame(bytes: &[u8]) -> Option<Frame> {
    let end = bytes.iter().rposition(|byte| !matches!(byte, b'\n' | b'\r' | 0))? + 1;
    Some(Frame { bytes: bytes[..end].to_vec(), cut: false })
}

/// A datagram is one message.
pub fn datagram(bytes: &[u8]) -> Option<Frame> {
    let frame = frame(&bytes[..bytes.len().min(MESSAGE_BYTES_MAX)])?;
    Some(Frame { cut: bytes.len() > MESSAGE_BYTES_MAX, ..frame })
}

/// When and whence messages came.
pub struct Arrival<'a, Z> {
    pub now_ns: i64,
    /// Names the sender where a message does not.
    pub peer: &'a str,
    /// The zone of times that name none.
    pub zone: Z,
}

pub fn batch<Z>(frames: &[Frame], arrival: &Arrival<'_, Z>) -> LogBatch
where
    Z: TimeZone + Copy,
    DateTime<FixedOffset>: From<DateTime<Z>>,
{
    let mut streams = Streams::default();
    for frame in frames {
        let (labels, mut record) = record(&String::from_utf8_lossy(&frame.bytes), arrival);
        if frame.cut {
            record.attributes.push((CUT.into(), Value::Bool(true)));
        }
        streams.push(labels, record);
    }
    streams.finish().0
}

fn record<Z>(text: &str, arrival: &Arrival<'_, Z>) -> (Labels, LogRecord)
where
    Z: TimeZone + Copy,
    DateTime<FixedOffset>: From<DateTime<Z>>,
{
    if let Some(record) = of_device(text, arrival) {
        return record;
    }
    let year = |date| year(date, arrival.now_ns);
    let apart = without_fraction(text);
    let (whole, fraction_ns) = apart.as_ref().map_or((text, 0), |(whole, ns)| (whole.as_str(), *ns));
    match parse_message_with_year_exact_tz(whole, year, Some(arrival.zone), Variant::Either) {
        Ok(message) => {
            let (labels, record) = of_message(message, whole, arrival.now_ns, arrival.peer);
            (labels, LogRecord { ts_ns: record.ts_ns.saturating_add(fraction_ns), ..record })
        }
        Err(_) => of_line(text, arrival.now_ns, arrival.peer),
    }
}

/// `Nov 28 13:00:00.123 host …`: the parser knows no fraction of a second there, so that it is taken out.
fn without_fraction(text: &str) -> Option<(String, i64)> {
    const DATE_BYTES: usize = "Nov 28 13:00:00".len();
    let line = with_priority(text).map_or(text, |(_, line)| line);
    let date =
        line.get(..DATE_BYTES).filter(|date| device::MONTHS.iter().any(|name| date.starts_with(name)))?;
    let behind = line[DATE_BYTES..].strip_prefix('.')?;
    let (digits, rest) = behind.split_once(' ')?;
    if digits.is_empty() || digits.len() > 9 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let ns = digits.parse::<i64>().ok()? * 10_i64.pow(9 - digits.len() as u32);
    let before = &text[..text.len() - line.len()];
    Some((format!("{before}{date} {rest}"), ns))
}

/// A date without a year is the one nearest to now: late on 31 December, and early on 1 January. One that would lie ahead
/// is last year's, as the sender's clock is the likelier to be behind.
fn year((month, day, hour, minute, second): syslog_loose::IncompleteDate, now_ns: i64) -> i32 {
    /// What a store takes, and what a zone may make of it.
    const AHEAD_MAX_S: i64 = 2 * 24 * 3_600;
    let now = DateTime::from_timestamp_nanos(now_ns);
    let distance = |year: i32| {
        let time = NaiveDate::from_ymd_opt(year, month, day)?.and_hms_opt(hour, minute, second)?;
        let ahead_s = time.and_utc().signed_duration_since(now).num_seconds();
        (ahead_s <= AHEAD_MAX_S).then_some(ahead_s.abs())
    };
    let years = [now.year(), now.year() - 1, now.year() + 1];
    years
        .into_iter()
        .filter_map(|year| Some((distance(year)?, year)))
        .min()
        .map_or(now.year(), |(_, year)| year)
}

fn of_message(message: Message<&str>, text: &str, now_ns: i64, peer: &str) -> (Labels, LogRecord) {
    let mut attributes: Attributes = vec![];
    let mut add = |name: &str, value: String| attributes.push((name.to_owned(), value.into()));
    if let Some(facility) = message.facility {
        add("syslog.facility", facility.as_str().to_owned());
    }
    if let Some(id) = &message.procid {
        add("process.pid", id.to_string());
    }
    if let Some(id) = message.msgid {
        add("syslog.msgid", id.to_owned());
    }
    // A device's count of its messages is no program: each would be a stream of its own.
    let is_count = |name: &str| !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_digit());
    let (count, service) = match message.appname {
        Some(name) if is_count(name) => (Some(name), None),
        name => (None, name),
    };
    if let Some(count) = count {
        add(SEQUENCE, count.to_owned());
    }
    for element in &message.structured_data {
        if element.params.is_empty() {
            add(element.id, String::new());
        }
        element.params().for_each(|(name, value)| add(&format!("{}.{name}", element.id), value));
    }
    let severity = message.severity;
    let body = with_its_blanks(text, message.msg);
    let record = LogRecord {
        ts_ns: message.timestamp.and_then(|time| time.timestamp_nanos_opt()).unwrap_or(now_ns),
        severity: severity.map_or(0, |severity| level::of_syslog(severity as u8)),
        severity_text: severity.map_or("", |severity| severity.as_str()).to_owned(),
        // RFC 5424 begins UTF-8 with a byte order mark.
        body: body.strip_prefix('\u{feff}').unwrap_or(body).to_owned(),
        attributes,
        ..LogRecord::default()
    };
    (labels(message.hostname.unwrap_or(peer), service), record)
}

const SEQUENCE: &str = "syslog.sequence";

fn of_device<Z: TimeZone + Copy>(text: &str, arrival: &Arrival<'_, Z>) -> Option<(Labels, LogRecord)> {
    let ((facility, severity), line) = with_priority(text)?;
    let said = device::read(line, |date| year(date, arrival.now_ns))?;
    let ts_ns = said.time.and_then(|time| match said.is_utc {
        true => time.and_utc().timestamp_nanos_opt(),
        false => arrival.zone.from_local_datetime(&time).earliest()?.timestamp_nanos_opt(),
    });
    let facility = facility.map(|facility| ("syslog.facility".to_owned(), facility.as_str().into()));
    let sequence = said.sequence.map(|count| (SEQUENCE.to_owned(), count.into()));
    let record = LogRecord {
        ts_ns: ts_ns.unwrap_or(arrival.now_ns),
        severity: severity.map_or(0, |severity| level::of_syslog(severity as u8)),
        severity_text: severity.map_or("", |severity| severity.as_str()).to_owned(),
        body: said.body.to_owned(),
        attributes: facility.into_iter().chain(sequence).collect(),
        ..LogRecord::default()
    };
    Some((labels(said.host.unwrap_or(arrival.peer), None), record))
}

type Priority = (Option<SyslogFacility>, Option<SyslogSeverity>);

/// A priority, and the line behind it.
fn with_priority(text: &str) -> Option<(Priority, &str)> {
    let (number, line) = text.strip_prefix('<')?.split_once('>')?;
    let number = number.parse::<u8>().ok().filter(|number| *number < 192)?;
    Some((decompose_pri(number), line))
}

/// What is said as it was sent: the parser takes blanks away on both sides of it, of which one is the header's.
fn with_its_blanks<'a>(text: &'a str, said: &'a str) -> &'a str {
    let Some(before) = text.trim_end().strip_suffix(said).filter(|_| !said.is_empty()) else { return said };
    let blanks = before.len() - before.trim_end_matches([' ', '\t']).len();
    &text[before.len() - blanks.saturating_sub(1)..]
}

/// What is neither has a priority at most.
fn of_line(text: &str, now_ns: i64, peer: &str) -> (Labels, LogRecord) {
    let mut service = None;
    let mut attributes: Attributes = vec![];
    let ((facility, severity), mut line) = with_priority(text).unwrap_or(((None, None), text));
    if let Some(facility) = facility {
        attributes.push(("syslog.facility".to_owned(), facility.as_str().into()));
        // Python's handler and others leave out time and host.
        if let Some((tag, id, rest)) = tag(line) {
            (service, line) = (Some(tag), rest);
            attributes.extend(id.map(|id| ("process.pid".to_owned(), id.into())));
        }
    }
    let record = LogRecord {
        ts_ns: now_ns,
        severity: severity.map_or(0, |severity| level::of_syslog(severity as u8)),
        severity_text: severity.map_or("", |severity| severity.as_str()).to_owned(),
        body: line.to_owned(),
        attributes,
        ..LogRecord::default()
    };
    (labels(peer, service), record)
}

/// `program: text` and `program[12]: text`: the program, its process and the text.
fn tag(line: &str) -> Option<(&str, Option<&str>, &str)> {
    /// RFC 3164 allows 32 characters, programs use more.
    const TAG_BYTES_MAX: usize = 48;
    let (head, rest) = line.split_once(": ")?;
    let (name, id) = match head.strip_suffix(']').and_then(|head| head.split_once('[')) {
        Some((name, id)) => (name, Some(id)),
        None => (head, None),
    };
    let is_part = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.' | b'/');
    let is_word = name.bytes().all(is_part) && name.bytes().any(|b| b.is_ascii_alphabetic());
    let is_name = name.len() <= TAG_BYTES_MAX && is_word;
    let is_id = id.is_none_or(|id| !id.is_empty() && id.bytes().all(|b| b.is_ascii_digit()));
    (is_name && is_id).then_some((name, id, rest))
}

fn labels(node: &str, application: Option<&str>) -> Labels {
    let service = application.filter(|name| !name.is_empty()).unwrap_or("unknown_service");
    Labels::from_pairs([("job", "syslog"), ("node", node), ("service_name", service)])
}

#[cfg(test)]
mod tests;
