//! Points of OTLP to samples: numbers, histograms of both kinds, summaries, and the exemplars beside them.

use super::{Pairs, Writer, time_ns, value_of};
use crate::otlp::delta::{Explicit, LeftOut, Total};
use model::{CUSTOM_BUCKETS_SCHEMA, Exemplar, Histogram, Labels, RejectReason, stale_marker};
use opentelemetry_proto::tonic::metrics::v1::exponential_histogram_data_point::Buckets;
use opentelemetry_proto::tonic::metrics::v1::{
    DataPointFlags, Exemplar as OtlpExemplar, ExponentialHistogramDataPoint, HistogramDataPoint, Metric,
    NumberDataPoint, SummaryDataPoint, exemplar, metric, number_data_point,
};

/// The width of the zero bucket where the sender gives none, as Prometheus' receiver has it.
const ZERO_THRESHOLD: f64 = 1e-128;

/// The finest and the coarsest schema of a native histogram; an OTLP scale is the same number.
const SCHEMAS: std::ops::RangeInclusive<i32> = -4..=8;

/// When a sample is from, and when its counter began where that is kept: for sums of deltas.
#[derive(Clone, Copy)]
struct When {
    ts_ms: i64,
    start_ms: Option<i64>,
}

impl When {
    fn at(time_unix_nano: u64) -> When {
        When { ts_ms: time_ns(time_unix_nano) / 1_000_000, start_ms: None }
    }

    fn since(self, start_ns: u64) -> When {
        When { start_ms: (start_ns != 0).then(|| time_ns(start_ns) / 1_000_000), ..self }
    }
}

pub(super) fn count(metric: &Metric) -> u64 {
    use metric::Data;
    let points = match &metric.data {
        Some(Data::Gauge(gauge)) => gauge.data_points.len(),
        Some(Data::Sum(sum)) => sum.data_points.len(),
        Some(Data::Histogram(histogram)) => histogram.data_points.len(),
        Some(Data::ExponentialHistogram(histogram)) => histogram.data_points.len(),
        Some(Data::Summary(summary)) => summary.data_points.len(),
        None => 0,
    };
    points as u64
}

impl Writer<'_, '_> {
    pub(super) fn points(&mut self, name: &str, data: metric::Data, is_delta: bool) {
        use metric::Data;
        match data {
            Data::Gauge(gauge) => gauge.data_points.iter().for_each(|point| self.number(name, point, false)),
            Data::Sum(sum) => sum.data_points.iter().for_each(|point| self.number(name, point, is_delta)),
            Data::Histogram(histogram) => {
                histogram.data_points.iter().for_each(|point| self.histogram(name, point, is_delta));
            }
            Data::ExponentialHistogram(histogram) => {
                histogram.data_points.iter().for_each(|point| self.exponential(name, point, is_delta));
            }
            Data::Summary(summary) => {
                summary.data_points.iter().for_each(|point| self.summary(name, point));
            }
        }
    }

    /// The sum of a series with one more point of it, and since when it runs.
    fn summed(
        &mut self,
        name: &str,
        labels: &Pairs<'_>,
        times: (u64, u64),
        point: Total,
    ) -> Option<(Total, u64)> {
        let mut pairs = named(name, labels, None);
        self.series.clear();
        let encoded = model::LabelSetBuilder::encode_into(&mut pairs, &mut self.series);
        let added = match encoded {
            Ok(()) => self.sums.add(&self.series, times, point),
            Err(wrong) => Err(LeftOut { reason: RejectReason::InvalidLabels, why: wrong.to_string() }),
        };
        match added {
            Ok((total, start_ns)) => Some((total.clone(), start_ns)),
            Err(LeftOut { reason, why }) => {
                self.decoded.rejected.add(reason, 1, || format!("metric {name:?}: {why}"));
                None
            }
        }
    }

    /// One sample of the series of that name with those labels, and one more where `extra` says.
    fn push(&mut self, name: &str, labels: &Pairs<'_>, extra: Option<(&str, &str)>, when: When, value: f64) {
        let mut pairs = named(name, labels, extra);
        let batch = &mut self.decoded.batch;
        match batch.begin_series(&mut pairs) {
            Ok(()) => {
                batch.push(when.ts_ms, value);
                if let Some(start_ms) = when.start_ms {
                    batch.push_starts(&Labels::from_pairs(pairs), &[(when.ts_ms, start_ms)]);
                }
                self.saw(when.ts_ms);
            }
            Err(wrong) => self.wrong_labels(name, &wrong),
        }
    }

    fn push_native(&mut self, name: &str, labels: &Pairs<'_>, when: When, histogram: Histogram) {
        let mut pairs = named(name, labels, None);
        let mut bytes = vec![];
        if let Err(wrong) = model::LabelSetBuilder::encode_into(&mut pairs, &mut bytes) {
            return self.wrong_labels(name, &wrong);
        }
        let series = Labels::from_pairs(pairs);
        self.decoded.batch.push_histograms(&series, &[(when.ts_ms, histogram)]);
        if let Some(start_ms) = when.start_ms {
            self.decoded.batch.push_starts(&series, &[(when.ts_ms, start_ms)]);
        }
        self.saw(when.ts_ms);
    }

    fn saw(&mut self, ts_ms: i64) {
        (self.first_ms, self.last_ms) = (self.first_ms.min(ts_ms), self.last_ms.max(ts_ms));
    }

    fn wrong_labels(&mut self, name: &str, wrong: &dyn std::fmt::Display) {
        self.decoded.rejected.add(RejectReason::InvalidLabels, 1, || format!("metric {name:?}: {wrong}"));
    }

    fn wrong_point(&mut self, why: impl FnOnce() -> String) {
        self.decoded.rejected.add(RejectReason::InvalidValue, 1, why);
    }

    fn number(&mut self, name: &str, point: &NumberDataPoint, is_delta: bool) {
        let total = match point.value {
            _ if is_stale(point.flags) => Total::Double(stale_marker()),
            Some(number_data_point::Value::AsDouble(value)) => Total::Double(value),
            Some(number_data_point::Value::AsInt(value)) => Total::Int(value),
            // Our agent sends exemplars so.
            None if self.verbatim && !point.exemplars.is_empty() => {
                return self.exemplars(name, &self.labels(&point.attributes), None, &point.exemplars);
            }
            None => return self.wrong_point(|| format!("a point of metric {name:?} has no value")),
        };
        let labels = self.labels(&point.attributes);
        let mut when = When::at(point.time_unix_nano);
        let total = if is_delta && !is_stale(point.flags) {
            let times = (point.start_time_unix_nano, point.time_unix_nano);
            let Some((total, start_ns)) = self.summed(name, &labels, times, total) else { return };
            when = when.since(start_ns);
            total
        } else {
            total
        };
        self.push(name, &labels, None, when, total.number());
        self.exemplars(name, &labels, None, &point.exemplars);
    }

    /// Of the series of that name with those labels, and one more where `extra` says.
    fn exemplars(
        &mut self,
        name: &str,
        labels: &Pairs<'_>,
        extra: Option<(&str, &str)>,
        exemplars: &[OtlpExemplar],
    ) {
        if exemplars.is_empty() {
            return;
        }
        let series = Labels::from_pairs(named(name, labels, extra));
        for exemplar in exemplars {
            let Some(value) = number_of(exemplar) else {
                self.decoded.rejected.add(RejectReason::InvalidExemplar, 1, || {
                    format!("an exemplar of metric {name:?} has no value")
                });
                continue;
            };
            let ids = [("trace_id", &exemplar.trace_id), ("span_id", &exemplar.span_id)];
            let ids = ids.into_iter().map(|(name, id)| (name.to_owned(), hex::encode(id)));
            let attributes = exemplar.filtered_attributes.iter();
            let attributes =
                attributes.map(|pair| (pair.key.clone(), value_of(pair.value.clone()).to_string()));
            self.decoded.batch.exemplars.push(Exemplar {
                series: series.clone(),
                // The later of one name stands: the ids, where there are some.
                labels: Labels::from_pairs(attributes.chain(ids.filter(|(_, id)| !id.is_empty()))),
                ts_ms: time_ns(exemplar.time_unix_nano) / 1_000_000,
                value,
            });
        }
    }

    /// Each at the first bucket that it was counted in, as bounds ascend.
    fn exemplars_of_buckets(
        &mut self,
        name: &str,
        labels: &Pairs<'_>,
        bounds: &[f64],
        exemplars: &[OtlpExemplar],
    ) {
        for exemplar in exemplars {
            let counted_in =
                |bound: &&f64| bound.is_finite() && number_of(exemplar).is_some_and(|n| n <= **bound);
            let bound = bounds.iter().find(counted_in);
            let le = bound.map_or_else(|| "+Inf".to_owned(), f64::to_string);
            self.exemplars(name, labels, Some(("le", &le)), std::slice::from_ref(exemplar));
        }
    }

    fn histogram(&mut self, name: &str, point: &HistogramDataPoint, is_delta: bool) {
        if point.bucket_counts.len() != point.explicit_bounds.len() + 1 && !point.bucket_counts.is_empty() {
            return self.wrong_point(|| {
                format!(
                    "a point of histogram {name:?} has {} buckets and {} bounds",
                    point.bucket_counts.len(),
                    point.explicit_bounds.len()
                )
            });
        }
        let labels = self.labels(&point.attributes);
        let mut when = When::at(point.time_unix_nano);
        let mut explicit = Explicit {
            bounds: point.explicit_bounds.clone(),
            counts: point.bucket_counts.clone(),
            count: point.count,
            sum: point.sum,
        };
        let stale = is_stale(point.flags);
        if is_delta && !stale {
            let times = (point.start_time_unix_nano, point.time_unix_nano);
            let summed = self.summed(name, &labels, times, Total::Explicit(explicit));
            let Some((Total::Explicit(total), start_ns)) = summed else { return };
            (explicit, when) = (total, when.since(start_ns));
        }
        if self.translation.explicit_as_native {
            let native = if stale { Ok(Histogram::stale()) } else { custom_buckets(&explicit) };
            match native {
                Ok(histogram) => self.push_native(name, &labels, when, histogram),
                Err(why) => return self.wrong_point(|| format!("a point of histogram {name:?}: {why}")),
            }
            self.exemplars(name, &labels, None, &point.exemplars);
        } else {
            self.classic(name, &labels, when, &explicit, stale);
            let bucket_name = format!("{name}_bucket");
            self.exemplars_of_buckets(&bucket_name, &labels, &explicit.bounds, &point.exemplars);
        }
    }

    /// `_bucket`, `_sum` and `_count`.
    fn classic(&mut self, name: &str, labels: &Pairs<'_>, when: When, of: &Explicit, stale: bool) {
        let value = |value: f64| if stale { stale_marker() } else { value };
        let bucket_name = format!("{name}_bucket");
        let mut total = 0u64;
        for (bound, count) in of.bounds.iter().zip(&of.counts) {
            total = total.saturating_add(*count);
            if bound.is_finite() {
                self.push(&bucket_name, labels, Some(("le", &bound.to_string())), when, value(total as f64));
            }
        }
        let count = value(of.count as f64);
        self.push(&bucket_name, labels, Some(("le", "+Inf")), when, count);
        self.push(&format!("{name}_count"), labels, None, when, count);
        if let Some(sum) = of.sum {
            self.push(&format!("{name}_sum"), labels, None, when, value(sum));
        }
    }

    fn exponential(&mut self, name: &str, point: &ExponentialHistogramDataPoint, is_delta: bool) {
        let labels = self.labels(&point.attributes);
        let mut when = When::at(point.time_unix_nano);
        let native = if is_stale(point.flags) { Ok(Histogram::stale()) } else { exponential(point) };
        let mut histogram = match native {
            Ok(histogram) => histogram,
            Err(why) => return self.wrong_point(|| format!("a point of histogram {name:?}: {why}")),
        };
        if is_delta && !is_stale(point.flags) {
            let times = (point.start_time_unix_nano, point.time_unix_nano);
            let summed = self.summed(name, &labels, times, Total::Exponential(histogram));
            let Some((Total::Exponential(total), start_ns)) = summed else { return };
            (histogram, when) = (total, when.since(start_ns));
        }
        self.push_native(name, &labels, when, histogram);
        self.exemplars(name, &labels, None, &point.exemplars);
    }

    fn summary(&mut self, name: &str, point: &SummaryDataPoint) {
        let labels = self.labels(&point.attributes);
        let when = When::at(point.time_unix_nano);
        let value = |value: f64| if is_stale(point.flags) { stale_marker() } else { value };
        for of in &point.quantile_values {
            let quantile = of.quantile.to_string();
            self.push(name, &labels, Some(("quantile", &quantile)), when, value(of.value));
        }
        self.push(&format!("{name}_sum"), &labels, None, when, value(point.sum));
        self.push(&format!("{name}_count"), &labels, None, when, value(point.count as f64));
    }
}

/// All labels of a series; name and extra label stand above others of theirs.
fn named<'a>(
    name: &'a str,
    labels: &'a Pairs<'_>,
    extra: Option<(&'a str, &'a str)>,
) -> Vec<(&'a str, &'a str)> {
    let mut pairs: Vec<(&str, &str)> = Vec::with_capacity(labels.len() + 2);
    pairs.push(("__name__", name));
    pairs.extend(extra);
    let fixed = pairs.len();
    for (name, value) in labels {
        if !pairs[..fixed].iter().any(|(known, _)| known == name) {
            pairs.push((name.as_ref(), value.as_ref()));
        }
    }
    pairs
}

/// As a native histogram; buckets that its schemas cannot tell apart are one.
fn exponential(point: &ExponentialHistogramDataPoint) -> Result<Histogram, String> {
    if point.scale < *SCHEMAS.start() {
        return Err(format!(
            "cannot convert exponential to native histogram. Scale must be >= {}, was {}",
            SCHEMAS.start(),
            point.scale
        ));
    }
    let schema = point.scale.min(*SCHEMAS.end());
    // A scale that is finer by n halves its buckets n times; 31 halvings leave two of 2^31 indices.
    let coarser = (point.scale - schema).min(31) as u32;
    let zero_threshold = if point.zero_threshold > 0.0 { point.zero_threshold } else { ZERO_THRESHOLD };
    let histogram = Histogram {
        schema: schema as i8,
        count: point.count as f64,
        sum: point.sum.unwrap_or(0.0),
        zero_threshold,
        zero_count: point.zero_count as f64,
        positive: buckets(point.positive.as_ref(), coarser)?,
        negative: buckets(point.negative.as_ref(), coarser)?,
        ..Histogram::default()
    };
    histogram.validate().map_err(|wrong| wrong.to_string())?;
    counted(histogram)
}

fn custom_buckets(explicit: &Explicit) -> Result<Histogram, String> {
    let filled = explicit.counts.iter().enumerate().filter(|(_, count)| **count > 0);
    let mut bounds = explicit.bounds.clone();
    // A last bound of infinity says nothing: the bucket after the last bound ends there.
    let infinite = bounds.last() == Some(&f64::INFINITY);
    if infinite {
        bounds.pop();
    }
    let last = bounds.len();
    let mut positive: Vec<(i32, f64)> = vec![];
    for (index, count) in filled.map(|(index, count)| (index.min(last) as i32, *count as f64)) {
        match positive.last_mut() {
            Some((known, total)) if *known == index => *total += count,
            _ => positive.push((index, count)),
        }
    }
    let histogram = Histogram {
        schema: CUSTOM_BUCKETS_SCHEMA,
        count: explicit.count as f64,
        sum: explicit.sum.unwrap_or(0.0),
        positive,
        custom_values: bounds.into(),
        ..Histogram::default()
    };
    histogram.validate().map_err(|wrong| wrong.to_string())?;
    match explicit.counts.is_empty() {
        true => Ok(Histogram { positive: vec![(last as i32, histogram.count)], ..histogram }),
        false => counted(histogram),
    }
}

/// Buckets must come to the whole; NaN is observed and in none of them.
fn counted(histogram: Histogram) -> Result<Histogram, String> {
    let buckets = histogram.positive.iter().chain(&histogram.negative);
    let found = histogram.zero_count + buckets.map(|(_, count)| count).sum::<f64>();
    let fits = if histogram.sum.is_nan() { found <= histogram.count } else { found == histogram.count };
    fits.then_some(()).ok_or_else(|| {
        format!("{found} observations found in buckets, but the Count field is {}", histogram.count)
    })?;
    Ok(histogram)
}

/// By ascending index. OTLP's index 0 begins at 1, a native histogram's ends there.
fn buckets(of: Option<&Buckets>, coarser: u32) -> Result<Vec<(i32, f64)>, String> {
    let Some(of) = of else { return Ok(vec![]) };
    let mut found: Vec<(i32, f64)> = vec![];
    for (at, count) in of.bucket_counts.iter().enumerate().filter(|(_, count)| **count > 0) {
        let index = i64::from(of.offset) + at as i64;
        let index = i32::try_from((index >> coarser) + 1)
            .map_err(|_| format!("bucket index {index} is out of range"))?;
        match found.last_mut() {
            Some((known, total)) if *known == index => *total += *count as f64,
            _ => found.push((index, *count as f64)),
        }
    }
    Ok(found)
}

fn number_of(exemplar: &OtlpExemplar) -> Option<f64> {
    exemplar.value.map(|value| match value {
        exemplar::Value::AsDouble(value) => value,
        exemplar::Value::AsInt(value) => value as f64,
    })
}

fn is_stale(flags: u32) -> bool {
    flags & DataPointFlags::NoRecordedValueMask as u32 != 0
}
