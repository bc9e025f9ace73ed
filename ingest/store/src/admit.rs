//! What may be stored: each record is looked at once, here, and what is left out is counted by reason.

use crate::active::{self, Active};
use crate::limits::Limits;
use model::{
    Batch, Exemplar, Labels, LogBatch, MetricBatch, Receipt, RejectReason, SpanBatch, component_in, is_meta,
};
use std::collections::{HashMap, HashSet};
use std::ops::RangeInclusive;
use std::time::Duration;

/// What a tenant has already.
pub struct Known<'a> {
    pub active: &'a Active,
    /// What makes its series many, in words for whoever sent one too many.
    pub offenders: &'a dyn Fn() -> String,
}

/// The batch without what may not be stored, and the receipt that says so.
/// `fast` says whether a log stream may write so many bytes now.
pub fn admit(
    batch: Batch,
    limits: &Limits,
    now_ms: i64,
    known: &Known<'_>,
    fast: &dyn Fn(&Labels, usize) -> bool,
) -> (Batch, Receipt) {
    let latest_ms = now_ms.saturating_add(limits.future_max.as_millis() as i64);
    let mut receipt = Receipt::default();
    let batch = match batch {
        Batch::Metrics(batch) => {
            let fine_times = earliest(limits, now_ms)..=latest_ms;
            let batch = metrics(batch, limits, &fine_times, &mut receipt);
            Batch::Metrics(new_series(batch, limits, known, &mut receipt))
        }
        Batch::Logs(batch) => Batch::Logs(logs(batch, limits, now_ms, fast, &mut receipt)),
        Batch::Spans(batch) => Batch::Spans(spans(batch, now_ms, &mut receipt)),
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

fn earliest(limits: &Limits, now_ms: i64) -> i64 {
    match limits.past_max.is_zero() {
        true => 0,
        false => now_ms.saturating_sub(limits.past_max.as_millis() as i64).max(0),
    }
}

fn not_within(fine: &RangeInclusive<i64>, ts_ms: i64) -> String {
    match ts_ms {
        ..0 => format!("timestamp {ts_ms} ms is before 1970"),
        _ if ts_ms < *fine.start() => {
            format!("timestamp {ts_ms} ms is too old: the oldest is {} (limits.past_max)", fine.start())
        }
        _ => format!(
            "timestamp {ts_ms} ms is too far ahead of this server's clock: the latest is {} (limits.future_max)",
            fine.end()
        ),
    }
}

fn metrics(
    mut batch: MetricBatch,
    limits: &Limits,
    fine: &RangeInclusive<i64>,
    receipt: &mut Receipt,
) -> MetricBatch {
    batch.exemplars.retain(|exemplar| match exemplar_is_fine(exemplar, limits, fine) {
        Ok(()) => true,
        Err(wrong) => {
            receipt.reject(RejectReason::InvalidExemplar, || wrong);
            false
        }
    });
    samples(batch, limits, fine, receipt)
}

fn exemplar_is_fine(exemplar: &Exemplar, limits: &Limits, fine: &RangeInclusive<i64>) -> Result<(), String> {
    let Exemplar { series, labels, ts_ms, .. } = exemplar;
    if !fine.contains(ts_ms) {
        return Err(format!("an exemplar of {series}: {}", not_within(fine, *ts_ms)));
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
fn samples(
    mut batch: MetricBatch,
    limits: &Limits,
    fine: &RangeInclusive<i64>,
    receipt: &mut Receipt,
) -> MetricBatch {
    let fine_labels = FineLabels::of(limits);
    if batch.ts_ms.iter().all(|ts| fine.contains(ts))
        && batch
            .iter()
            .all(|(labels, _, _)| fine_labels.are_surely(labels) || fine_labels.check(labels).is_ok())
    {
        return batch;
    }
    let (metadata, exemplars) = (std::mem::take(&mut batch.metadata), std::mem::take(&mut batch.exemplars));
    let mut kept = MetricBatch { metadata, exemplars, ..MetricBatch::default() };
    for (labels, ts_ms, values) in batch.iter() {
        // A histogram is left out with all its parts and counted with one.
        let counts = component_in(labels).is_none_or(is_meta);
        if let Err((reason, why)) = fine_labels.check(labels) {
            receipt.reject_many(reason, if counts { ts_ms.len() as u64 } else { 0 }, || why);
            continue;
        }
        kept.begin_canonical(labels);
        for (ts, value) in ts_ms.iter().zip(values) {
            if fine.contains(ts) {
                kept.push(*ts, *value);
            } else if counts {
                receipt.reject(RejectReason::TimestampOutOfRange, || not_within(fine, *ts));
            }
        }
    }
    kept
}

/// Bounds of the labels of a series.
struct FineLabels<'l> {
    limits: &'l Limits,
    /// A set of so few bytes breaks none of them.
    surely: usize,
}

impl FineLabels<'_> {
    fn of(limits: &Limits) -> FineLabels<'_> {
        // A label takes four bytes at least: a name, a value, and the length of each.
        let bounds = [
            limits.labels_max * 4,
            limits.label_bytes_max,
            limits.label_name_bytes_max,
            limits.label_value_bytes_max,
        ];
        FineLabels { limits, surely: bounds.into_iter().min().unwrap_or(0) }
    }

    fn are_surely(&self, labels: &[u8]) -> bool {
        !labels.is_empty() && labels.len() <= self.surely
    }

    fn check(&self, labels: &[u8]) -> Result<(), (RejectReason, String)> {
        if self.are_surely(labels) {
            return Ok(());
        }
        let limits = self.limits;
        if labels.is_empty() {
            let why = "a series has no labels at all, not even a name";
            return Err((RejectReason::InvalidLabels, why.into()));
        }
        if labels.len() > limits.label_bytes_max {
            let (bytes, max) = (labels.len(), limits.label_bytes_max);
            let why = format!("labels of {bytes} bytes; the most is {max} (limits.label_bytes_max)");
            return Err((RejectReason::InvalidLabels, why));
        }
        let metric = active::metric_of(labels);
        let mut count = 0;
        for (name, value) in Labels::pairs_in(labels) {
            count += usize::from(name != model::COMPONENT);
            let what = [
                ("name", name.len(), limits.label_name_bytes_max, "label_name_bytes_max"),
                ("value", value.len(), limits.label_value_bytes_max, "label_value_bytes_max"),
            ];
            if let Some((what, bytes, max, key)) = what.into_iter().find(|(_, bytes, max, _)| bytes > max) {
                let start: String = name.chars().take(80).collect();
                let why = format!(
                    "metric {metric:?} has a label {start:?} whose {what} is {bytes} bytes long; the most is {max} (limits.{key})"
                );
                return Err((RejectReason::LabelTooLong, why));
            }
        }
        if count > limits.labels_max {
            let max = limits.labels_max;
            let why =
                format!("a series of {metric:?} has {count} labels; the most is {max} (limits.labels_max)");
            return Err((RejectReason::TooManyLabels, why));
        }
        Ok(())
    }
}

/// Without series that would be one too many; those that the tenant has go on. Nothing is looked up while there is
/// room for all.
fn new_series(
    mut batch: MetricBatch,
    limits: &Limits,
    known: &Known<'_>,
    receipt: &mut Receipt,
) -> MetricBatch {
    let may = |max: usize| if max == 0 { usize::MAX } else { max };
    let (all_max, metric_max) = (may(limits.series_max), may(limits.series_of_metric_max));
    let has_room = known.active.len() + batch.series.len() <= all_max;
    if has_room && metric_max == usize::MAX {
        return batch;
    }
    let mut fresh: HashSet<u64> = HashSet::new();
    let mut fresh_of: HashMap<String, usize> = HashMap::new();
    let mut refused: HashMap<u64, RejectReason> = HashMap::new();
    for (labels, ts_ms, _) in batch.iter() {
        let key = active::key(labels);
        if ts_ms.is_empty() || known.active.has(key) || fresh.contains(&key) || refused.contains_key(&key) {
            continue;
        }
        let metric = active::metric_of(labels);
        let more = fresh_of.get(metric).copied().unwrap_or(0);
        if known.active.len() + fresh.len() >= all_max {
            refused.insert(key, RejectReason::TooManySeries);
        } else if known.active.of_metric(metric) + more >= metric_max {
            refused.insert(key, RejectReason::TooManySeriesOfMetric);
        } else {
            fresh.insert(key);
            *fresh_of.entry(metric.to_owned()).or_default() += 1;
        }
    }
    if refused.is_empty() {
        return batch;
    }
    let (metadata, exemplars) = (std::mem::take(&mut batch.metadata), std::mem::take(&mut batch.exemplars));
    let mut kept = MetricBatch { metadata, exemplars, ..MetricBatch::default() };
    for (labels, ts_ms, values) in batch.iter() {
        let Some(reason) = refused.get(&active::key(labels)) else {
            kept.begin_canonical(labels);
            ts_ms.iter().zip(values).for_each(|(ts, value)| kept.push(*ts, *value));
            continue;
        };
        let count = if component_in(labels).is_none_or(is_meta) { ts_ms.len() as u64 } else { 0 };
        receipt.reject_many(*reason, count, || {
            let series = Labels::from_bytes(&active::identity(labels)).unwrap_or_default();
            let told = match reason {
                RejectReason::TooManySeries => {
                    format!("this tenant has {all_max} active series, the most it may (limits.series_max)")
                }
                _ => format!(
                    "metric {:?} has {metric_max} active series, the most one may (limits.series_of_metric_max)",
                    series.metric_name()
                ),
            };
            format!("{told}, and the series {series} is new; {}", (known.offenders)())
        });
    }
    kept.exemplars.retain(|exemplar| !refused.contains_key(&active::key(exemplar.series.as_bytes())));
    kept
}

/// The words of refusals are Loki's, whose clients show them.
fn logs(
    mut batch: LogBatch,
    limits: &Limits,
    now_ms: i64,
    fast: &dyn Fn(&Labels, usize) -> bool,
    receipt: &mut Receipt,
) -> LogBatch {
    let ms = |duration: Duration| i64::try_from(duration.as_millis()).unwrap_or(i64::MAX);
    let future_max = limits.logs.future_max.unwrap_or(limits.future_max);
    let latest_ms = now_ms.saturating_add(ms(future_max));
    let oldest_ms = limits.logs.age_max.map_or(0, |age| now_ms.saturating_sub(ms(age)));
    let (mut next, mut kept) = (0u32, vec![]);
    batch.streams.retain_mut(|stream| {
        let of_stream = next..next + stream.records.len() as u32;
        let labels = &stream.labels;
        kept.clear();
        if let Err((reason, why)) = labels_are_fine(labels, limits) {
            next = of_stream.end;
            receipt.reject_at(reason, of_stream, || why);
            return false;
        }
        stream.records.retain(|record| {
            let at = next..next + 1;
            next += 1;
            let ts_ms = record.ts_ns.div_euclid(1_000_000);
            if ts_ms < oldest_ms {
                receipt.reject_at(RejectReason::TooOld, at, || {
                    format!(
                        "entry for stream '{labels}' has timestamp too old: {}, oldest acceptable timestamp is: {}",
                        rfc3339(ts_ms),
                        rfc3339(oldest_ms)
                    )
                });
                return false;
            }
            if ts_ms > latest_ms {
                receipt.reject_at(RejectReason::TimestampOutOfRange, at, || {
                    format!("entry for stream '{labels}' has timestamp too new: {}", rfc3339(ts_ms))
                });
                return false;
            }
            if record.body.len() > limits.line_bytes_max {
                receipt.reject_at(RejectReason::LineTooLong, at, || {
                    format!(
                        "max entry size '{}' bytes exceeded for stream '{labels}' while adding an entry with length \
                         '{}' bytes",
                        limits.line_bytes_max,
                        record.body.len()
                    )
                });
                return false;
            }
            if limits.logs.stream_rate.is_some() {
                kept.push(at);
            }
            true
        });
        let bytes: usize = stream.records.iter().map(|record| record.body.len()).sum();
        if !stream.records.is_empty() && !fast(labels, bytes) {
            let rate = limits.logs.stream_rate.map_or(0.0, |rate| rate.bytes_per_s);
            let why = || {
                format!(
                    "Per stream rate limit exceeded (limit: {}/sec) while attempting to ingest for stream '{labels}' \
                     totaling {}, consider splitting a stream via additional labels or contact your Loki administrator \
                     to see if the limit can be increased",
                    size(rate),
                    size(bytes as f64)
                )
            };
            // Those that were left out before are counted already.
            kept.drain(..).for_each(|at| receipt.reject_at(RejectReason::StreamRateLimit, at, why));
            return false;
        }
        !stream.records.is_empty()
    });
    batch
}

fn labels_are_fine(labels: &Labels, limits: &Limits) -> Result<(), (RejectReason, String)> {
    let of_logs = &limits.logs;
    let names_max = if of_logs.label_names_max == 0 { limits.labels_max } else { of_logs.label_names_max };
    // As in Loki: `service_name` is often ours.
    let names = labels.len() - usize::from(labels.get("service_name").is_some());
    if names > names_max {
        let why = format!("entry for stream '{labels}' has {names} label names; limit {names_max}");
        return Err((RejectReason::TooManyLabels, why));
    }
    let bytes = labels.as_bytes().len();
    if bytes > limits.label_bytes_max {
        let limit = limits.label_bytes_max;
        let why =
            format!("a stream with labels of {bytes} bytes; the most is {limit} (limits.label_bytes_max)");
        return Err((RejectReason::TooManyLabels, why));
    }
    let too_long = |text: &str, max: usize| max > 0 && text.len() > max;
    for (name, value) in labels.iter() {
        if too_long(name, of_logs.label_name_bytes_max) {
            let why = format!("stream '{labels}' has label name too long: '{name}'");
            return Err((RejectReason::LabelNameTooLong, why));
        }
        if too_long(value, of_logs.label_value_bytes_max) {
            let why = format!("stream '{labels}' has label value too long: '{value}'");
            return Err((RejectReason::LabelValueTooLong, why));
        }
    }
    Ok(())
}

fn rfc3339(ms: i64) -> String {
    let time = chrono::DateTime::from_timestamp_millis(ms).unwrap_or_default();
    time.to_rfc3339_opts(chrono::SecondsFormat::Secs, true)
}

/// As Loki writes sizes.
fn size(bytes: f64) -> String {
    match bytes {
        bytes if bytes >= 1048576.0 => format!("{:.0}MB", bytes / 1048576.0),
        bytes if bytes >= 1024.0 => format!("{:.0}KB", bytes / 1024.0),
        bytes => format!("{bytes:.0}B"),
    }
}

fn spans(mut batch: SpanBatch, now_ms: i64, receipt: &mut Receipt) -> SpanBatch {
    for resource in &mut batch.resources {
        resource.spans.retain(|span| {
            let Some((reason, why)) = span.wrong(now_ms) else { return true };
            receipt.reject(reason, || why);
            false
        });
    }
    batch.resources.retain(|resource| !resource.spans.is_empty());
    batch
}
