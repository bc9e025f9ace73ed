//! OTLP: the collector's requests, as protobuf or JSON, to batches and back (source: opentelemetry-proto 1.x).

pub mod attributes;
mod bytes;
mod decode_spans;
mod delta;
mod encode;
mod encode_logs;
mod encode_metrics;
mod filled_in;
mod logs;
mod metrics;
pub(crate) mod names;
mod numbers;
mod resources;
mod spans;

pub use delta::{Changes, Deltas, Sums};
pub use encode::encode_spans;
pub use encode_logs::encode_logs;
pub use encode_metrics::{Encoded, encode_metrics};
pub use logs::logs;
pub use metrics::{Promoted, Translation, has_deltas, metrics};
pub use names::Strategy;
pub use resources::Resources;
pub use spans::spans;

use crate::parts::messages;
use crate::{Decoded, Malformed, pairs};
use model::SpanBatch;
pub use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
pub use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
pub use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceResponse;
pub use opentelemetry_proto::tonic::resource::v1::Resource;
pub use opentelemetry_proto::tonic::trace::v1::TracesData;

/// The two notations of OTLP over HTTP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Notation {
    Protobuf,
    Json,
}

impl Notation {
    /// From a `Content-Type`; `None` is one that OTLP does not have.
    pub fn from_content_type(value: &str) -> Option<Notation> {
        match value.split(';').next().unwrap_or("").trim().to_ascii_lowercase().as_str() {
            "application/x-protobuf" | "application/protobuf" => Some(Notation::Protobuf),
            "application/json" => Some(Notation::Json),
            _ => None,
        }
    }

    /// A request message from a body. Bytes that are no text are no reason to refuse all of it.
    pub fn read<M: Request>(self, body: &[u8]) -> Result<M, Malformed> {
        match self {
            Notation::Protobuf => M::decode(body)
                .or_else(|wrong| match M::fields().mended(body) {
                    Some(mended) => M::decode(mended.as_slice()),
                    None => Err(wrong),
                })
                .map_err(Malformed::otlp),
            // An array would pass as the fields of a message in their order.
            Notation::Json if body.trim_ascii_start().first() != Some(&b'{') => {
                Err(Malformed("not a JSON request of OTLP: an object belongs at line 1 column 1".into()))
            }
            Notation::Json => {
                let text = String::from_utf8_lossy(body);
                let whole = pairs::whole(text.as_bytes());
                let body = numbers::as_numbers(&whole);
                serde_json::from_slice(&body)
                    .or_else(|wrong| match filled_in::with_keys(&body) {
                        Some(filled) => serde_json::from_slice(&filled).map_err(|_| wrong),
                        None => Err(wrong),
                    })
                    .map_err(|wrong| Malformed(format!("not a JSON request of OTLP: {wrong}")))
            }
        }
    }
}

/// A request of one of the three signals.
pub trait Request: prost::Message + Default + serde::de::DeserializeOwned {
    /// What lies in its fields.
    fn fields() -> &'static messages::Message;
}

impl Request for ExportLogsServiceRequest {
    fn fields() -> &'static messages::Message {
        &messages::LOGS
    }
}

impl Request for ExportMetricsServiceRequest {
    fn fields() -> &'static messages::Message {
        &messages::METRICS
    }
}

impl Request for ExportTraceServiceRequest {
    fn fields() -> &'static messages::Message {
        &messages::TRACES
    }
}

impl Malformed {
    fn otlp(wrong: prost::DecodeError) -> Malformed {
        Malformed(format!("not a protobuf request of OTLP: {wrong}"))
    }
}

/// Spans of a body. `resources` remembers those of all bodies.
pub fn decode_spans(
    notation: Notation,
    body: &[u8],
    resources: &Resources,
) -> Result<Decoded<SpanBatch>, Malformed> {
    match notation {
        Notation::Protobuf => decode_spans::decode(body, resources).or_else(|wrong| {
            let mended = messages::TRACES.mended(body).ok_or(wrong)?;
            decode_spans::decode(&mended, resources)
        }),
        Notation::Json => Ok(spans(notation.read(body)?)),
    }
}

/// How many samples, lines or spans an answer in protobuf says were left out, and why; `None` where all were taken. The
/// answers of the three signals differ in names alone.
pub fn rejected(answer: &[u8]) -> Option<(u64, String)> {
    let answer: ExportTraceServiceResponse = prost::Message::decode(answer).ok()?;
    let partial = answer.partial_success?;
    let count = u64::try_from(partial.rejected_spans).ok().filter(|count| *count > 0)?;
    Some((count, partial.error_message))
}

/// OTLP's unsigned nanoseconds; what does not fit is far out of any range that is stored.
fn time_ns(unsigned: u64) -> i64 {
    i64::try_from(unsigned).unwrap_or(i64::MAX)
}

/// An id of the right length that is not all zeros.
pub(crate) fn id<const N: usize>(bytes: &[u8]) -> Option<[u8; N]> {
    let id: [u8; N] = bytes.try_into().ok()?;
    (id != [0; N]).then_some(id)
}

#[cfg(test)]
mod tests;
