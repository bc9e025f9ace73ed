//! The exposition format of protobuf messages, each after its length (source: io/prometheus/client/metrics.proto of
//! prometheus/client_model). It is the one in which native histograms come.

use crate::{Decoded, Malformed};
use model::{Exemplar, Histogram, InvalidHistogram, Labels, Metadata, MetricBatch, MetricKind, RejectReason};
use prost::Message;

#[derive(Clone, PartialEq, Message)]
struct MetricFamily {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    help: String,
    #[prost(int32, tag = "3")]
    kind: i32,
    #[prost(message, repeated, tag = "4")]
    metric: Vec<Metric>,
    #[prost(string, tag = "5")]
    unit: String,
}

#[derive(Clone, PartialEq, Message)]
struct Metric {
    #[prost(message, repeated, tag = "1")]
    label: Vec<LabelPair>,
    #[prost(message, optional, tag = "2")]
    gauge: Option<Number>,
    #[prost(message, optional, tag = "3")]
    counter: Option<Counter>,
    #[prost(message, optional, tag = "4")]
    summary: Option<Summary>,
    #[prost(message, optional, tag = "5")]
    untyped: Option<Number>,
    #[prost(int64, optional, tag = "6")]
    timestamp_ms: Option<i64>,
    #[prost(message, optional, tag = "7")]
    histogram: Option<ProtoHistogram>,
}

#[derive(Clone, PartialEq, Message)]
struct LabelPair {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    value: String,
}

#[derive(Clone, PartialEq, Message)]
struct Number {
    #[prost(double, tag = "1")]
    value: f64,
}

#[derive(Clone, PartialEq, Message)]
struct Counter {
    #[prost(double, tag = "1")]
    value: f64,
    #[prost(message, optional, tag = "2")]
    exemplar: Option<ProtoExemplar>,
    #[prost(message, optional, tag = "3")]
    created: Option<Timestamp>,
}

#[derive(Clone, PartialEq, Message)]
struct Summary {
    #[prost(uint64, tag = "1")]
    sample_count: u64,
    #[prost(double, tag = "2")]
    sample_sum: f64,
    #[prost(message, repeated, tag = "3")]
    quantile: Vec<Quantile>,
}

#[derive(Clone, PartialEq, Message)]
struct Quantile {
    #[prost(double, tag = "1")]
    quantile: f64,
    #[prost(double, tag = "2")]
    value: f64,
}

#[derive(Clone, PartialEq, Message)]
struct ProtoHistogram {
    #[prost(uint64, tag = "1")]
    sample_count: u64,
    #[prost(double, tag = "2")]
    sample_sum: f64,
    #[prost(message, repeated, tag = "3")]
    bucket: Vec<Bucket>,
    #[prost(double, tag = "4")]
    sample_count_float: f64,
    #[prost(sint32, tag = "5")]
    schema: i32,
    #[prost(double, tag = "6")]
    zero_threshold: f64,
    #[prost(uint64, tag = "7")]
    zero_count: u64,
    #[prost(double, tag = "8")]
    zero_count_float: f64,
    #[prost(message, repeated, tag = "9")]
    negative_span: Vec<Span>,
    #[prost(sint64, repeated, tag = "10")]
    negative_delta: Vec<i64>,
    #[prost(double, repeated, tag = "11")]
    negative_count: Vec<f64>,
    #[prost(message, repeated, tag = "12")]
    positive_span: Vec<Span>,
    #[prost(sint64, repeated, tag = "13")]
    positive_delta: Vec<i64>,
    #[prost(double, repeated, tag = "14")]
    positive_count: Vec<f64>,
    #[prost(message, optional, tag = "15")]
    created: Option<Timestamp>,
    #[prost(message, repeated, tag = "16")]
    exemplars: Vec<ProtoExemplar>,
}

#[derive(Clone, PartialEq, Message)]
struct Bucket {
    #[prost(uint64, tag = "1")]
    cumulative_count: u64,
    #[prost(double, tag = "2")]
    upper_bound: f64,
    #[prost(message, optional, tag = "3")]
    exemplar: Option<ProtoExemplar>,
    #[prost(double, tag = "4")]
    cumulative_count_float: f64,
}

#[derive(Clone, PartialEq, Message)]
struct Span {
    #[prost(sint32, tag = "1")]
    offset: i32,
    #[prost(uint32, tag = "2")]
    length: u32,
}

#[derive(Clone, PartialEq, Message)]
struct ProtoExemplar {
    #[prost(message, repeated, tag = "1")]
    label: Vec<LabelPair>,
    #[prost(double, tag = "2")]
    value: f64,
    #[prost(message, optional, tag = "3")]
    timestamp: Option<Timestamp>,
}

#[derive(Clone, Copy, PartialEq, Message)]
struct Timestamp {
    #[prost(int64, tag = "1")]
    seconds: i64,
    #[prost(int32, tag = "2")]
    nanos: i32,
}

impl Timestamp {
    fn ms(self) -> i64 {
        self.seconds.saturating_mul(1_000).saturating_add(i64::from(self.nanos) / 1_000_000)
    }
}

/// By the format's number.
const KINDS: [MetricKind; 6] = [
    MetricKind::Counter,
    MetricKind::Gauge,
    MetricKind::Summary,
    MetricKind::Unknown,
    MetricKind::Histogram,
    MetricKind::GaugeHistogram,
];

/// Families to samples; `now_ms` is the time of those that carry none. A histogram that has native buckets comes as
/// one native sample, and where `with_classic` says so, in its classic buckets as well.
pub fn parse(mut body: &[u8], now_ms: i64, with_classic: bool) -> Result<Decoded<MetricBatch>, Malformed> {
    let mut reader = Reader { now_ms, with_classic, decoded: Decoded::default() };
    while !body.is_empty() {
        let family = MetricFamily::decode_length_delimited(&mut body)
            .map_err(|wrong| Malformed(format!("not a MetricFamily of protobuf: {wrong}")))?;
        reader.family(family)?;
    }
    Ok(reader.decoded)
}

struct Reader {
    now_ms: i64,
    with_classic: bool,
    decoded: Decoded<MetricBatch>,
}

/// A metric's labels and time.
struct Of<'m> {
    name: &'m str,
    labels: &'m [LabelPair],
    ts_ms: i64,
}

impl Reader {
    fn family(&mut self, family: MetricFamily) -> Result<(), Malformed> {
        let kind = KINDS.get(family.kind as usize).copied();
        let kind = kind.ok_or_else(|| Malformed(format!("a metric of type {} is not known", family.kind)))?;
        if family.name.is_empty() {
            return Err(Malformed("a MetricFamily has no name".into()));
        }
        for metric in &family.metric {
            let ts_ms = metric.timestamp_ms.unwrap_or(self.now_ms);
            let of = Of { name: &family.name, labels: &metric.label, ts_ms };
            if let Some(counter) = &metric.counter {
                self.number(&of, "", None, counter.value);
                self.exemplars(&of, "", None, counter.exemplar.as_ref().into_iter());
                let created = counter.created.map(Timestamp::ms);
                self.starts(&of, created);
            }
            if let Some(Number { value }) = metric.gauge.as_ref().or(metric.untyped.as_ref()) {
                self.number(&of, "", None, *value);
            }
            if let Some(summary) = &metric.summary {
                for Quantile { quantile, value } in &summary.quantile {
                    self.number(&of, "", Some(("quantile", *quantile)), *value);
                }
                self.number(&of, "_sum", None, summary.sample_sum);
                self.number(&of, "_count", None, summary.sample_count as f64);
            }
            if let Some(histogram) = &metric.histogram {
                self.histogram(&of, histogram);
            }
        }
        let MetricFamily { name, help, unit, .. } = family;
        self.decoded.batch.metadata.push(Metadata { name, kind, help, unit });
        Ok(())
    }

    fn labels(&mut self, of: &Of<'_>, suffix: &str, extra: Option<(&str, f64)>) -> Option<Labels> {
        let name = format!("{}{suffix}", of.name);
        let number = extra.map(|(name, number)| (name, bound_text(number)));
        let mut pairs: Vec<(&str, &str)> = vec![("__name__", &name)];
        pairs.extend(of.labels.iter().map(|pair| (&*pair.name, &*pair.value)));
        pairs.extend(number.as_ref().map(|(name, text)| (*name, &**text)));
        let mut bytes = vec![];
        let made = model::LabelSetBuilder::encode_into(&mut pairs, &mut bytes)
            .and_then(|()| Labels::from_bytes(&bytes));
        made.map_err(|wrong| {
            self.decoded.rejected.add(RejectReason::InvalidLabels, 1, || format!("{name}: {wrong}"));
        })
        .ok()
    }

    fn number(&mut self, of: &Of<'_>, suffix: &str, extra: Option<(&str, f64)>, value: f64) {
        if let Some(labels) = self.labels(of, suffix, extra) {
            self.decoded.batch.push_sample(&labels, of.ts_ms, value);
        }
    }

    fn starts(&mut self, of: &Of<'_>, start_ms: Option<i64>) {
        if let Some(start_ms) = start_ms
            && let Some(labels) = self.labels(of, "", None)
        {
            self.decoded.batch.push_starts(&labels, &[(of.ts_ms, start_ms)]);
        }
    }

    fn exemplars<'e>(
        &mut self,
        of: &Of<'_>,
        suffix: &str,
        extra: Option<(&str, f64)>,
        exemplars: impl Iterator<Item = &'e ProtoExemplar>,
    ) {
        for exemplar in exemplars {
            let Some(series) = self.labels(of, suffix, extra) else { return };
            let labels = Labels::from_pairs(exemplar.label.iter().map(|pair| (&pair.name, &pair.value)));
            let ts_ms = exemplar.timestamp.map_or(of.ts_ms, Timestamp::ms);
            self.decoded.batch.exemplars.push(Exemplar { series, labels, ts_ms, value: exemplar.value });
        }
    }

    fn histogram(&mut self, of: &Of<'_>, histogram: &ProtoHistogram) {
        if histogram.is_native() {
            match (histogram.native(), self.labels(of, "", None)) {
                (Ok(native), Some(labels)) => {
                    self.decoded.batch.push_histograms(&labels, &[(of.ts_ms, native)])
                }
                (Err(wrong), _) => {
                    let example = || format!("{}: {wrong}", of.name);
                    self.decoded.rejected.add(RejectReason::InvalidValue, 1, example);
                }
                (Ok(_), None) => {}
            }
            let of_buckets = histogram.bucket.iter().filter_map(|bucket| bucket.exemplar.as_ref());
            self.exemplars(of, "", None, histogram.exemplars.iter().chain(of_buckets));
            self.starts(of, histogram.created.map(Timestamp::ms));
            if !self.with_classic {
                return;
            }
        }
        let count = histogram.count();
        let mut has_last = false;
        for bucket in &histogram.bucket {
            has_last |= bucket.upper_bound == f64::INFINITY;
            let at = Some(("le", bucket.upper_bound));
            let value = match bucket.cumulative_count_float {
                0.0 => bucket.cumulative_count as f64,
                float => float,
            };
            self.number(of, "_bucket", at, value);
            if !histogram.is_native() {
                self.exemplars(of, "_bucket", at, bucket.exemplar.as_ref().into_iter());
            }
        }
        if !has_last {
            self.number(of, "_bucket", Some(("le", f64::INFINITY)), count);
        }
        self.number(of, "_sum", None, histogram.sample_sum);
        self.number(of, "_count", None, count);
    }
}

impl ProtoHistogram {
    fn is_native(&self) -> bool {
        !self.positive_span.is_empty()
            || !self.negative_span.is_empty()
            || self.zero_threshold > 0.0
            || self.zero_count > 0
            || self.zero_count_float > 0.0
    }

    fn count(&self) -> f64 {
        if self.sample_count_float > 0.0 { self.sample_count_float } else { self.sample_count as f64 }
    }

    fn native(&self) -> Result<Histogram, InvalidHistogram> {
        let schema = i64::from(self.schema);
        let histogram = Histogram {
            schema: i8::try_from(self.schema).map_err(|_| InvalidHistogram::Schema(schema))?,
            count: self.count(),
            sum: self.sample_sum,
            zero_threshold: self.zero_threshold,
            zero_count: if self.zero_count_float > 0.0 {
                self.zero_count_float
            } else {
                self.zero_count as f64
            },
            positive: buckets(&self.positive_span, &self.positive_delta, &self.positive_count)?,
            negative: buckets(&self.negative_span, &self.negative_delta, &self.negative_count)?,
            ..Histogram::default()
        };
        histogram.validate()?;
        Ok(histogram)
    }
}

fn buckets(spans: &[Span], deltas: &[i64], counts: &[f64]) -> Result<Vec<(i32, f64)>, InvalidHistogram> {
    let spans: Vec<(i32, u32)> = spans.iter().map(|span| (span.offset, span.length)).collect();
    if deltas.is_empty() {
        return Histogram::from_spans(&spans, counts);
    }
    let mut now = 0i64;
    let whole = deltas.iter().map(|delta| {
        now = now.wrapping_add(*delta);
        now as f64
    });
    Histogram::from_spans(&spans, &whole.collect::<Vec<f64>>())
}

/// As the text formats write a bound, with a point where it is whole: `1.0`, `+Inf`.
fn bound_text(number: f64) -> String {
    match number {
        f64::INFINITY => "+Inf".into(),
        f64::NEG_INFINITY => "-Inf".into(),
        number if number.is_finite() && number == number.trunc() && number.abs() < 1e15 => {
            format!("{number:.1}")
        }
        number => model::short(number),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn family(kind: i32, metric: Metric) -> Vec<u8> {
        let help = "What it is".to_owned();
        MetricFamily { name: "m".into(), help, kind, metric: vec![metric], unit: String::new() }
            .encode_length_delimited_to_vec()
    }

    fn found(body: &[u8], with_classic: bool) -> (Vec<String>, Decoded<MetricBatch>) {
        let decoded = parse(body, 42, with_classic).unwrap();
        let line = |(labels, ts, values): (&[u8], &[i64], &[f64])| {
            format!("{} {} {}", Labels::from_bytes(labels).unwrap(), values[0], ts[0])
        };
        (decoded.batch.iter().map(line).collect(), decoded)
    }

    fn label(name: &str, value: &str) -> LabelPair {
        LabelPair { name: name.into(), value: value.into() }
    }

    #[test]
    fn each_type_becomes_its_series() {
        let exemplar = ProtoExemplar {
            label: vec![label("trace_id", "x")],
            value: 0.5,
            timestamp: Some(Timestamp { seconds: 1, nanos: 500_000_000 }),
        };
        let created = Some(Timestamp { seconds: 7, nanos: 0 });
        let counter = Counter { value: 3.0, exemplar: Some(exemplar.clone()), created };
        let label = vec![label("a", "b")];
        let of = Metric { label: label.clone(), counter: Some(counter), ..Metric::default() };
        let (lines, decoded) = found(&family(0, of), false);
        assert_eq!(lines, ["m{a=\"b\"} 3 42", "m{__histogram__=\"start\", a=\"b\"} 7000 42"]);
        let at = (decoded.batch.exemplars[0].ts_ms, decoded.batch.exemplars[0].series.to_string());
        assert_eq!(at, (1500, "m{a=\"b\"}".to_owned()));
        assert_eq!(decoded.batch.metadata[0].kind, MetricKind::Counter);
        let quantile = vec![Quantile { quantile: 0.5, value: 9.0 }];
        let summary = Summary { sample_count: 2, sample_sum: 4.5, quantile };
        let of = Metric { summary: Some(summary), timestamp_ms: Some(5), ..Metric::default() };
        assert_eq!(found(&family(2, of), false).0, ["m{quantile=\"0.5\"} 9 5", "m_sum 4.5 5", "m_count 2 5"]);
        let bucket = vec![Bucket {
            cumulative_count: 1,
            upper_bound: 2.0,
            exemplar: Some(exemplar),
            ..Bucket::default()
        }];
        let histogram =
            ProtoHistogram { sample_count: 3, sample_sum: 1.0, bucket, ..ProtoHistogram::default() };
        let of = Metric { histogram: Some(histogram.clone()), ..Metric::default() };
        let (lines, decoded) = found(&family(4, of), false);
        assert_eq!(
            lines,
            ["m_bucket{le=\"2.0\"} 1 42", "m_bucket{le=\"+Inf\"} 3 42", "m_sum 1 42", "m_count 3 42"]
        );
        assert_eq!(decoded.batch.exemplars[0].series.get("le"), Some("2.0"));
        let native = ProtoHistogram {
            schema: 3,
            positive_span: vec![Span { offset: 1, length: 2 }],
            positive_delta: vec![1, 1],
            ..histogram
        };
        let of = || Metric { histogram: Some(native.clone()), ..Metric::default() };
        let (lines, decoded) = found(&family(4, of()), false);
        assert_eq!((decoded.batch.points().histograms, decoded.batch.points().numbers), (1, 0), "{lines:?}");
        assert!(lines.contains(&"m{__histogram__=\"p2\"} 2 42".to_owned()), "{lines:?}");
        assert_eq!(found(&family(4, of()), true).1.batch.points().numbers, 4);
        let of = Metric {
            gauge: Some(Number { value: 1.0 }),
            label: [label.clone(), label].concat(),
            ..Metric::default()
        };
        assert_eq!(found(&family(1, of), false).1.rejected.0[0].reason, RejectReason::InvalidLabels);
    }

    #[test]
    fn a_body_that_is_none_is_an_error() {
        let whole = family(1, Metric { gauge: Some(Number { value: 1.0 }), ..Metric::default() });
        for length in 1..whole.len() {
            assert!(parse(&whole[..length], 0, false).is_err(), "{length}");
        }
        assert!(parse(b"# TYPE up gauge\nup 1\n", 0, false).is_err());
        assert!(parse(&family(77, Metric::default()), 0, false).is_err());
    }
}
