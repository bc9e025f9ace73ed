//! The contract between whoever receives and whoever stores.

use crate::logs::LogBatch;
use crate::metrics::MetricBatch;
use crate::spans::SpanBatch;
use crate::tenant::Tenant;
use std::time::Duration;

/// One request's worth of records, of one signal and one tenant.
#[derive(Clone, Debug)]
pub struct Write {
    pub tenant: Tenant,
    pub batch: Batch,
    /// Set by senders that may send the same batch again; the second one is acknowledged and not stored.
    pub origin: Option<Origin>,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Batch {
    Metrics(MetricBatch),
    Logs(LogBatch),
    Spans(SpanBatch),
}

/// Names a batch across retries: a sender's own id and its count, which only grows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Origin {
    pub sender: u128,
    pub sequence: u64,
}

/// What became of a write that was not refused as a whole.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Receipt {
    /// Samples, records or spans that are stored; a native histogram is one sample.
    pub accepted: u64,
    /// Native histograms among the samples.
    pub histograms: u64,
    /// Stored beside the samples.
    pub exemplars: u64,
    /// The others, by reason. The rest of the batch is stored.
    pub rejected: Vec<Rejection>,
    /// The batch was there before, by its origin: nothing was added.
    pub repeated: bool,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Rejection {
    pub reason: RejectReason,
    pub count: u64,
    /// The first one, in words a sender can act on.
    pub example: String,
    /// Which log records of the batch, counted over its streams in order, by the sink that left them out: for protocols
    /// that answer for each record. Empty where that is not known.
    pub at: Vec<u32>,
}

/// Why a record is not stored; also the `reason` label of `binnacle_ingest_rejected_total`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum RejectReason {
    InvalidLabels,
    TimestampOutOfRange,
    LineTooLong,
    InvalidId,
    InvalidUtf8,
    TooManySeries,
    TooManySeriesOfMetric,
    TooManyLabels,
    LabelNameTooLong,
    LabelValueTooLong,
    TooOld,
    StreamRateLimit,
    LabelTooLong,
    InvalidValue,
    InvalidExemplar,
    InvalidDocument,
    UnsupportedAction,
    DuplicateId,
    DeltaOutOfOrder,
    DeltaOlderStart,
    DeltaStateFull,
    TooManyClusters,
}

impl RejectReason {
    pub fn as_str(self) -> &'static str {
        match self {
            RejectReason::InvalidLabels => "invalid_labels",
            RejectReason::TimestampOutOfRange => "timestamp_out_of_range",
            RejectReason::LineTooLong => "line_too_long",
            RejectReason::InvalidId => "invalid_id",
            RejectReason::InvalidUtf8 => "invalid_utf8",
            RejectReason::TooManySeries => "too_many_series",
            RejectReason::TooManySeriesOfMetric => "too_many_series_of_metric",
            RejectReason::LabelTooLong => "label_too_long",
            RejectReason::TooManyLabels => "too_many_labels",
            // These as Loki calls them.
            RejectReason::LabelNameTooLong => "label_name_too_long",
            RejectReason::LabelValueTooLong => "label_value_too_long",
            RejectReason::TooOld => "greater_than_max_sample_age",
            RejectReason::StreamRateLimit => "per_stream_rate_limit",
            RejectReason::InvalidValue => "invalid_value",
            RejectReason::InvalidExemplar => "invalid_exemplar",
            RejectReason::InvalidDocument => "invalid_document",
            RejectReason::UnsupportedAction => "unsupported_action",
            RejectReason::DuplicateId => "duplicate_id",
            RejectReason::DeltaOutOfOrder => "delta_out_of_order",
            RejectReason::DeltaOlderStart => "delta_older_start",
            RejectReason::DeltaStateFull => "delta_state_full",
            RejectReason::TooManyClusters => "too_many_clusters",
        }
    }
}

/// Why a whole write was not taken. Nothing of it is stored.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum Refused {
    /// Try again later: 429 or 503 with `Retry-After`.
    #[error("{why}; try again in {} s", retry_after.as_secs().max(1))]
    Busy { why: String, retry_after: Duration },
    /// Never try again as it is: 400 or 413.
    #[error("{0}")]
    TooMuch(String),
    /// The disk is full or the store is broken: 503.
    #[error("{0}")]
    Broken(String),
    /// The process is stopping: 503, another one will answer.
    #[error("shutting down")]
    Stopping,
}

impl Receipt {
    /// All of a batch is stored.
    pub fn of_all(batch: &Batch) -> Receipt {
        match batch {
            Batch::Metrics(batch) => {
                let points = batch.points();
                Receipt {
                    accepted: points.numbers + points.histograms,
                    histograms: points.histograms,
                    exemplars: batch.exemplars.len() as u64,
                    ..Receipt::default()
                }
            }
            Batch::Logs(batch) => Receipt { accepted: batch.records() as u64, ..Receipt::default() },
            Batch::Spans(batch) => Receipt { accepted: batch.spans() as u64, ..Receipt::default() },
        }
    }

    /// Adds one rejected record, folding it into the row of its reason.
    pub fn reject(&mut self, reason: RejectReason, example: impl FnOnce() -> String) {
        self.reject_many(reason, 1, example);
    }

    pub fn reject_many(&mut self, reason: RejectReason, count: u64, example: impl FnOnce() -> String) {
        if count == 0 {
            return;
        }
        match self.rejected.iter_mut().find(|r| r.reason == reason) {
            Some(row) => row.count += count,
            None => self.rejected.push(Rejection { reason, count, example: example(), at: vec![] }),
        }
    }

    /// Adds log records by where they are in the batch.
    pub fn reject_at(
        &mut self,
        reason: RejectReason,
        records: std::ops::Range<u32>,
        example: impl FnOnce() -> String,
    ) {
        self.reject_many(reason, records.len() as u64, example);
        if let Some(row) = self.rejected.iter_mut().find(|row| row.reason == reason) {
            row.at.extend(records);
        }
    }

    pub fn rejected_count(&self) -> u64 {
        self.rejected.iter().map(|r| r.count).sum()
    }
}

/// Takes records in.
#[async_trait::async_trait]
pub trait Sink: Send + Sync + 'static {
    /// Returns once the accepted part of the batch is on disk (fsynced) *and* visible to every snapshot taken after.
    /// A refused write left nothing behind. Cancelling the call leaves it unknown which of the two happened.
    async fn write(&self, write: Write) -> Result<Receipt, Refused>;
}
