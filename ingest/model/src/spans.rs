//! Spans on their way in, by resource and scope, so that what came by OTLP can be given back as it was.

use crate::attributes::Attributes;
use crate::packed::Packed;
use crate::sink::RejectReason;
use std::sync::Arc;

pub type TraceId = [u8; 16];
pub type SpanId = [u8; 8];

#[derive(Clone, Debug, Default, PartialEq)]
pub struct SpanBatch {
    pub resources: Vec<ResourceSpans>,
}

/// Spans of one resource and one instrumentation scope.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ResourceSpans {
    pub resource: Arc<Attributes>,
    /// Of the resource's conventions; empty where none was named.
    pub schema_url: String,
    pub dropped_attributes: u32,
    pub scope: Scope,
    pub spans: Vec<Span>,
}

/// The library that made spans, as it names itself.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Scope {
    pub name: String,
    pub version: String,
    pub attributes: Attributes,
    /// Of the conventions of its spans; empty where none was named.
    pub schema_url: String,
    pub dropped_attributes: u32,
}

impl Scope {
    /// Without attributes.
    pub fn named(name: impl Into<String>, version: impl Into<String>) -> Scope {
        Scope { name: name.into(), version: version.into(), ..Scope::default() }
    }
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Span {
    pub trace_id: TraceId,
    pub span_id: SpanId,
    /// `None` for a root.
    pub parent_span_id: Option<SpanId>,
    pub trace_state: String,
    /// W3C's trace flags, and OTLP's own above them; 0 where the sender's protocol has none.
    pub flags: u32,
    /// Nanoseconds since 1970.
    pub start_ns: i64,
    /// Not negative: the doors make nothing of a time that is less, and whoever does not is refused.
    pub duration_ns: i64,
    pub name: String,
    pub kind: SpanKind,
    pub status: StatusCode,
    pub status_message: String,
    pub attributes: Packed,
    pub events: Vec<SpanEvent>,
    pub links: Vec<SpanLink>,
    /// What the sender left out for its limits.
    pub dropped_attributes: u32,
    pub dropped_events: u32,
    pub dropped_links: u32,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct SpanEvent {
    pub ts_ns: i64,
    pub name: String,
    pub attributes: Attributes,
    pub dropped_attributes: u32,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct SpanLink {
    pub trace_id: TraceId,
    pub span_id: SpanId,
    pub trace_state: String,
    pub flags: u32,
    pub attributes: Attributes,
    pub dropped_attributes: u32,
}

/// OpenTelemetry's span kinds, with their protocol numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum SpanKind {
    #[default]
    Unspecified = 0,
    Internal = 1,
    Server = 2,
    Client = 3,
    Producer = 4,
    Consumer = 5,
}

impl SpanKind {
    /// Unknown numbers are `Unspecified`, as the protocol asks.
    pub fn from_number(number: i32) -> SpanKind {
        match number {
            1 => SpanKind::Internal,
            2 => SpanKind::Server,
            3 => SpanKind::Client,
            4 => SpanKind::Producer,
            5 => SpanKind::Consumer,
            _ => SpanKind::Unspecified,
        }
    }

    /// TraceQL's word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            SpanKind::Unspecified => "unspecified",
            SpanKind::Internal => "internal",
            SpanKind::Server => "server",
            SpanKind::Client => "client",
            SpanKind::Producer => "producer",
            SpanKind::Consumer => "consumer",
        }
    }

    pub fn from_word(word: &str) -> Option<SpanKind> {
        (0..=5).map(SpanKind::from_number).find(|kind| kind.as_str() == word)
    }
}

/// OpenTelemetry's status codes, with their protocol numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum StatusCode {
    #[default]
    Unset = 0,
    Ok = 1,
    Error = 2,
}

impl StatusCode {
    pub fn from_number(number: i32) -> StatusCode {
        match number {
            1 => StatusCode::Ok,
            2 => StatusCode::Error,
            _ => StatusCode::Unset,
        }
    }

    /// TraceQL's word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            StatusCode::Unset => "unset",
            StatusCode::Ok => "ok",
            StatusCode::Error => "error",
        }
    }

    pub fn from_word(word: &str) -> Option<StatusCode> {
        (0..=2).map(StatusCode::from_number).find(|code| code.as_str() == word)
    }
}

/// A clock may be so far ahead of the server's.
pub const FUTURE_MS_MAX: i64 = 24 * 3_600_000;

impl Span {
    /// Why it cannot be stored, if it cannot: whoever stores and whoever counts what is stored ask the same.
    pub fn wrong(&self, now_ms: i64) -> Option<(RejectReason, String)> {
        let ts_ms = self.start_ns.div_euclid(1_000_000);
        if !(0..=now_ms.saturating_add(FUTURE_MS_MAX)).contains(&ts_ms) {
            let why = "is before 1970 or more than a day ahead of this server's clock";
            return Some((RejectReason::TimestampOutOfRange, format!("timestamp {ts_ms} ms {why}")));
        }
        if self.trace_id == [0; 16] || self.span_id == [0; 8] {
            return Some((RejectReason::InvalidId, format!("span {:?} has an id of zeros", self.name)));
        }
        if self.duration_ns < 0 {
            return Some((RejectReason::InvalidValue, format!("span {:?} ends before it starts", self.name)));
        }
        None
    }
}

impl SpanBatch {
    pub fn spans(&self) -> usize {
        self.resources.iter().map(|r| r.spans.len()).sum()
    }
}
