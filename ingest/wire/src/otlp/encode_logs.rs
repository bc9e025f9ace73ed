//! Log records as an `ExportLogsServiceRequest`, written straight to its bytes: an agent encodes every line of its node,
//! and a tree of owned messages for them costs more than the rest of their way (field numbers:
//! opentelemetry-proto, logs/v1/logs.proto).

use super::attributes::pairs;
use super::bytes::{field, fixed64, varint, varint_length};
use crate::AGENT_SCOPE;
use model::{Attributes, LogBatch, LogRecord, LogStream};
use opentelemetry_proto::tonic::common::v1::{InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::resource::v1::Resource;
use prost::Message;

/// Under [`AGENT_SCOPE`]: a stream's labels are the scope's attributes and so stay what they are, whatever its resource is.
pub fn encode_logs(batch: &LogBatch) -> Vec<u8> {
    let mut out = vec![];
    for stream in &batch.streams {
        resource_logs(stream, &mut out);
    }
    out
}

/// A record without its body is hardly ever longer.
const RECORD_BYTES: usize = 48;

/// Bodies are most of it, and each is written twice: grown and put together in pieces they were copied five times.
fn resource_logs(stream: &LogStream, out: &mut Vec<u8>) {
    let labels: Attributes =
        stream.labels.iter().map(|(name, value)| (name.to_owned(), value.into())).collect();
    let resource = Resource { attributes: pairs(&stream.resource), ..Resource::default() };
    let scope = InstrumentationScope {
        name: AGENT_SCOPE.to_owned(),
        attributes: pairs(&labels),
        ..InstrumentationScope::default()
    };
    let bodies: usize = stream.records.iter().map(|record| record.body.len() + RECORD_BYTES).sum();
    let mut scope_logs = Vec::with_capacity(bodies + 256);
    field(&mut scope_logs, 1, &scope.encode_to_vec());
    let mut record_bytes = vec![];
    for record in &stream.records {
        record_bytes.clear();
        log_record(record, &mut record_bytes);
        field(&mut scope_logs, 2, &record_bytes);
    }
    let resource = resource.encode_to_vec();
    let length: usize =
        [&resource, &scope_logs].map(|part| 1 + varint_length(part.len()) + part.len()).iter().sum();
    out.reserve(length + 16);
    out.push(1 << 3 | 2);
    varint(out, length as u64);
    field(out, 1, &resource);
    field(out, 2, &scope_logs);
}

fn log_record(record: &LogRecord, out: &mut Vec<u8>) {
    if record.ts_ns > 0 {
        fixed64(out, 1, record.ts_ns as u64);
    }
    if record.severity > 0 {
        out.extend_from_slice(&[2 << 3, record.severity]);
    }
    if !record.severity_text.is_empty() {
        field(out, 3, record.severity_text.as_bytes());
    }
    // An `AnyValue` with its first field, a string.
    let body = record.body.as_bytes();
    out.push(5 << 3 | 2);
    varint(out, (1 + varint_length(body.len()) + body.len()) as u64);
    field(out, 1, body);
    attributes(&record.attributes, out);
    for (number, id) in
        [(9, record.trace_id.as_ref().map(|id| &id[..])), (10, record.span_id.as_ref().map(|id| &id[..]))]
    {
        if let Some(id) = id {
            field(out, number, id);
        }
    }
}

fn attributes(attributes: &Attributes, out: &mut Vec<u8>) {
    if attributes.is_empty() {
        return;
    }
    for pair in pairs(attributes) {
        let pair: KeyValue = pair;
        field(out, 6, &pair.encode_to_vec());
    }
}
