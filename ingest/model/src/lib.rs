//! The vocabulary of the house and the contracts between its rooms.
//!
//! What is here is spoken by every other crate: tenants, labels, samples, log records, spans, the ways to ask for
//! them, and four contracts ([`Sink`], [`Ask`], [`Clock`], and the selections that a snapshot answers).
//! It knows no protocol, no file and no query language. Imports point down to here and never out.

mod ask;
mod attributes;
mod clock;
mod histogram;
pub mod json_text;
mod labels;
pub mod level;
mod log_query;
mod logs;
mod metrics;
mod packed;
mod peer;
mod reading;
pub mod regexp;
mod select;
mod sink;
mod spans;
mod tenant;
mod weight;

pub use ask::{Answer, Ask, AskError, Point, SeriesPoints};
pub use attributes::{Attributes, Value, attribute};
pub use clock::{Clock, SystemClock};
pub use histogram::{
    Bucket, COMPONENT, CUSTOM_BUCKETS_SCHEMA, Combined, Histogram, IncompatibleSchemas, InvalidHistogram,
    ResetHint, Run, component_in, component_of, is_meta, runs, short, without_component,
};
pub use labels::{InvalidLabels, LabelSetBuilder, Labels, METRIC_NAME, RawPairs};
pub use log_query::{JudgeLog, JudgedLog, LogQuery, ReadLogQuery};
pub use logs::{LogBatch, LogRecord, LogStream, severity_text};
pub use metrics::{
    Exemplar, Metadata, MetricBatch, MetricKind, Points, STALE_NAN_BITS, SeriesSamples, is_stale_marker,
    stale_marker,
};
pub use packed::{NotText, Packed, Packer, Shape};
pub use peer::Identify;
pub use reading::{Reading, ReadingKind};
pub use regexp::Regexp;
pub use select::{
    InvalidMatcher, LabelTests, LinePattern, LogSelect, Match, Matcher, SeriesSelect, SpanField, SpanSelect,
    TestLabel, TimeRange, WordQuery,
};
pub use sink::{Batch, Origin, Receipt, Refused, RejectReason, Rejection, Sink, Write};
pub use spans::{
    FUTURE_MS_MAX, ResourceSpans, Scope, Span, SpanBatch, SpanEvent, SpanId, SpanKind, SpanLink, StatusCode,
    TraceId,
};
pub use tenant::{InvalidTenant, Tenant};
pub use weight::sampling_weight;
