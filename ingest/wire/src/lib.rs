//! Protocol bytes to model and back: OTLP, Prometheus remote write and expositions, InfluxDB lines, Loki push,
//! Elasticsearch bulk, newline-delimited JSON, syslog, the journal's export format, Jaeger's and Zipkin's spans. No socket, no clock.
//!
//! A decoder takes a body that is already whole and decompressed (see [`compression`]). What is wrong with the body as
//! a whole is [`Malformed`]; records that are wrong by themselves are left out and counted in [`Decoded::rejected`].

pub mod compression;
mod document;
pub mod elastic;
pub mod exposition;
pub mod influx;
pub mod jaeger;
pub mod journal;
pub mod jsonline;
pub mod loki;
pub mod otlp;
mod pairs;
pub mod parts;
mod protobuf;
pub mod remote_write;
pub mod syslog;
pub mod zipkin;

use model::{RejectReason, Rejection};

/// The instrumentation scope of our own agent. Its metrics carry their Prometheus names and labels as they are, and
/// the resource of its logs is their label set.
pub const AGENT_SCOPE: &str = "binnacle.agent";

/// Names a batch across retries: `<sender, hex>-<sequence>`.
pub const ORIGIN_HEADER: &str = "x-binnacle-origin";

/// Why a body is not what it claims to be: what, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Malformed(pub String);

/// A batch, and what was left out of it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Decoded<T> {
    pub batch: T,
    pub rejected: Rejected,
}

/// Records left out while decoding, one row a reason.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Rejected(pub Vec<Rejection>);

impl Rejected {
    /// Adds records that are left out after decoding.
    pub fn reject(&mut self, reason: RejectReason, count: u64, example: impl FnOnce() -> String) {
        self.add(reason, count, example);
    }

    fn add(&mut self, reason: RejectReason, count: u64, example: impl FnOnce() -> String) {
        if count == 0 {
            return;
        }
        match self.0.iter_mut().find(|row| row.reason == reason) {
            Some(row) => row.count += count,
            None => self.0.push(Rejection { reason, count, example: example(), at: vec![] }),
        }
    }
}
