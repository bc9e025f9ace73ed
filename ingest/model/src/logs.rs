//! Log records on their way in, by stream.

use crate::attributes::Attributes;
use crate::labels::Labels;
use crate::spans::{SpanId, TraceId};

/// Records of many streams.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LogBatch {
    pub streams: Vec<LogStream>,
}

/// A stream is identified by its labels, as Loki does. From OTLP the labels are the resource attributes that Loki
/// makes labels (`service_name`, `k8s_namespace_name`, …); the whole resource is kept beside them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LogStream {
    pub labels: Labels,
    /// The full resource, names as they were sent. Empty for Loki push.
    pub resource: Attributes,
    pub records: Vec<LogRecord>,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct LogRecord {
    /// Nanoseconds since 1970.
    pub ts_ns: i64,
    /// OpenTelemetry severity number 1..=24; 0 where its sender said none: the store then takes what the line says.
    pub severity: u8,
    /// As sent; may be empty.
    pub severity_text: String,
    pub body: String,
    pub trace_id: Option<TraceId>,
    pub span_id: Option<SpanId>,
    /// OTLP log attributes, or Loki's structured metadata.
    pub attributes: Attributes,
}

impl LogBatch {
    pub fn records(&self) -> usize {
        self.streams.iter().map(|s| s.records.len()).sum()
    }
}

/// The level a severity number stands for, in Loki's words: trace debug info warn error critical fatal, or "unknown".
pub fn severity_text(severity: u8) -> &'static str {
    match severity {
        1..=4 => "trace",
        5..=8 => "debug",
        9..=12 => "info",
        13..=16 => "warn",
        17..=20 => "error",
        23 => "critical",
        21..=24 => "fatal",
        _ => "unknown",
    }
}
