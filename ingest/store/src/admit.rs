//! What may be stored: each record is looked at once, here, and what is left out is counted by reason.

use crate::config::Limits;
use model::{
    Batch, Exemplar, LogBatch, MetricBatch, Receipt, RejectReason, SpanBatch, component_in, is_meta,
};

/// The batch without what may not be stored, and the receipt that says so.
pub fn admit(batch: Batch, limits: &Limits, now_ms: i64) -> (Batch, Receipt) {
    let latest_ms = now_ms.saturating_add(limits.future_max.as_millis() as i64);
    let mut receipt = Receipt::default();
    let batch = match batch {
        Batch::Metrics(batch) => Batch::Metrics(metrics(batch, limits, latest_ms, &mut receipt)),
        Batch::Logs(batch) => Batch::Logs(logs(batch, limits, latest_ms, &mut receipt)),
        Batch::Spans(batch) => Batch::Spans(spans(batch, latest_ms, &mut receipt)),
    };
    let Receipt { accepted, histograms, exemplars, .. } = Receipt::of_all(&batch);
    (batch, Receipt { accepted, histograms, exemplars, ..receipt })
}

/// Rows that a batch becomes.
pub fn records(batch: &Batch) -> u64 {
    match batch {
        Batch::Metrics(batch) => batch.samples() as u64,
        Batch::Logs(batch) => batch.records() as u64,
        Batch::Spans(batch) => batch.spans() as u64,
    }
}

fn out_of_range(ts_ms: i64) -> String {
    format!("timestamp {ts_ms} ms is before 1970 or more than a day ahead of this server's clock")
}

fn metrics(mut batch: MetricBatch, limits: &Limits, latest_ms: i64, receipt: &mut Receipt) -> MetricBatch {
    batch.exemplars.retain(|exemplar| match exemplar_is_fine(exemplar, limits, latest_ms) {
        Ok(()) => true,
        Err(wrong) => {
            receipt.reject(RejectReason::InvalidExemplar, || wrong);
            false
        }
    });
    samples(batch, limits, latest_ms, receipt)
}

fn exemplar_is_fine(exemplar: &Exemplar, limits: &Limits, latest_ms: i64) -> Result<(), String> {
    let Exemplar { series, labels, ts_ms, .. } = exemplar;
    if !(0..=latest_ms).contains(ts_ms) {
        return Err(format!("an exemplar of {series}: {}", out_of_range(*ts_ms)));
    }
    let (bytes, of_series) = (labels.as_bytes().len(), series.as_bytes().len());
    if bytes > limits.exemplar_bytes_max {
        return Err(format!(
            "an exemplar of {series} has labels of {bytes} bytes; the most is {} (limits.exemplar_bytes_max)",
            limits.exemplar_bytes_max
        ));
    }
    match of_series > limits.label_bytes_max {
        true => Err(format!("an exemplar of a series with labels of {of_series} bytes")),
        false => Ok(()),
    }
}

/// Almost every batch passes as it came; only one with something wrong in it is copied.
fn samples(mut batch: MetricBatch, limits: &Limits, latest_ms: i64, receipt: &mut Receipt) -> MetricBatch {
    let fine_time = |ts: i64| (0..=latest_ms).contains(&ts);
    let fine_labels = |labels: &[u8]| labels.len() <= limits.label_bytes_max && !labels.is_empty();
    if batch.ts_ms.iter().all(|ts| fine_time(*ts)) && batch.iter().all(|(labels, _, _)| fine_labels(labels)) {
        return batch;
    }
    let (metadata, exemplars) = (std::mem::take(&mut batch.metadata), std::mem::take(&mut batch.exemplars));
    let mut kept = MetricBatch { metadata, exemplars, ..MetricBatch::default() };
    for (labels, ts_ms, values) in batch.iter() {
        // A histogram is left out with all its parts and counted with one.
        let counts = component_in(labels).is_none_or(is_meta);
        if !fine_labels(labels) {
            let left_out = if counts { ts_ms.len() as u64 } else { 0 };
            receipt.reject_many(RejectReason::InvalidLabels, left_out, || {
                if labels.is_empty() {
                    "a series has no labels at all, not even a name".into()
                } else {
                    format!(
                        "labels of {} bytes; the most is {} (limits.label_bytes_max)",
                        labels.len(),
                        limits.label_bytes_max
                    )
                }
            });
            continue;
        }
        kept.begin_canonical(labels);
        for (ts, value) in ts_ms.iter().zip(values) {
            if fine_time(*ts) {
                kept.push(*ts, *value);
            } else if counts {
                receipt.reject(RejectReason::TimestampOutOfRange, || out_of_range(*ts));
            }
        }
    }
    kept
}

fn logs(mut batch: LogBatch, limits: &Limits, latest_ms: i64, receipt: &mut Receipt) -> LogBatch {
    let mut next = 0u32;
    batch.streams.retain_mut(|stream| {
        let of_stream = next..next + stream.records.len() as u32;
        if stream.labels.len() > limits.labels_max || stream.labels.as_bytes().len() > limits.label_bytes_max
        {
            next = of_stream.end;
            receipt.reject_at(RejectReason::TooManyLabels, of_stream, || {
                format!(
                    "a stream of {} labels; the most is {} (limits.labels_max)",
                    stream.labels.len(),
                    limits.labels_max
                )
            });
            return false;
        }
        stream.records.retain(|record| {
            let at = next..next + 1;
            next += 1;
            let ts_ms = record.ts_ns.div_euclid(1_000_000);
            if !(0..=latest_ms).contains(&ts_ms) {
                receipt.reject_at(RejectReason::TimestampOutOfRange, at, || out_of_range(ts_ms));
                return false;
            }
            if record.body.len() > limits.line_bytes_max {
                receipt.reject_at(RejectReason::LineTooLong, at, || {
                    format!(
                        "a line of {} bytes; the longest is {} (limits.line_bytes_max)",
                        record.body.len(),
                        limits.line_bytes_max
                    )
                });
                return false;
            }
            true
        });
        !stream.records.is_empty()
    });
    batch
}

fn spans(mut batch: SpanBatch, latest_ms: i64, receipt: &mut Receipt) -> SpanBatch {
    for resource in &mut batch.resources {
        resource.spans.retain(|span| {
            let ts_ms = span.start_ns.div_euclid(1_000_000);
            if !(0..=latest_ms).contains(&ts_ms) {
                receipt.reject(RejectReason::TimestampOutOfRange, || out_of_range(ts_ms));
                return false;
            }
            if span.trace_id == [0; 16] || span.span_id == [0; 8] {
                receipt
                    .reject(RejectReason::InvalidId, || format!("span {:?} has an id of zeros", span.name));
                return false;
            }
            if span.duration_ns < 0 {
                receipt.reject(RejectReason::InvalidValue, || {
                    format!("span {:?} ends before it starts", span.name)
                });
                return false;
            }
            true
        });
    }
    batch.resources.retain(|resource| !resource.spans.is_empty());
    batch
}
