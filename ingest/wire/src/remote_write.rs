//! Prometheus remote write, as it is after snappy: `prometheus.WriteRequest` of version 1.0 (source: prompb/remote.proto
//! and prompb/types.proto of Prometheus) here, `io.prometheus.write.v2.Request` of version 2.0 in [`v2`].

mod histograms;
mod series;
pub mod v2;

use crate::protobuf::{Fields, Writer};
use crate::{Decoded, Malformed, compression};
use model::{
    Exemplar, InvalidLabels, LabelSetBuilder, Labels, Metadata, MetricBatch, MetricKind, RejectReason,
};

/// Decompressed bytes to samples. A series with labels that cannot be kept is left out and counted.
pub fn decode(body: &[u8]) -> Result<Decoded<MetricBatch>, Malformed> {
    let mut decoded = Decoded::<MetricBatch>::default();
    // Labels are most of a body: room for all of it is made once, and what is not used costs nothing.
    decoded.batch.label_bytes.reserve(body.len());
    let mut request = Fields::of(body);
    let mut pairs = Vec::with_capacity(32);
    while let Some((field, value)) = request.next()? {
        match field {
            1 => {
                let message = value.bytes()?;
                if !series::add(message, &mut decoded.batch) {
                    thoroughly(message, &mut pairs, &mut decoded)?;
                }
            }
            3 => decoded.batch.metadata.push(metadata(value.bytes()?)?),
            _ => {}
        }
    }
    Ok(decoded)
}

/// Any `TimeSeries`.
fn thoroughly<'a>(
    message: &'a [u8],
    pairs: &mut Vec<(&'a str, &'a str)>,
    decoded: &mut Decoded<MetricBatch>,
) -> Result<(), Malformed> {
    pairs.clear();
    let (mut samples, mut histograms, mut exemplars) = (0u64, vec![], vec![]);
    let mut fields = Fields::of(message);
    while let Some((field, value)) = fields.next()? {
        match field {
            1 => pairs.push(label(value.bytes()?)?),
            2 => samples += 1,
            3 => exemplars.push(value.bytes()?),
            4 => histograms.push(histograms::decode(value.bytes()?)?),
            _ => {}
        }
    }
    if !histograms.is_empty() || !exemplars.is_empty() {
        match label_set(pairs) {
            Ok(labels) => {
                let last_ms = match histograms.last() {
                    Some(point) => point.ts_ms,
                    None => last_sample_ms(message)?,
                };
                add_histograms(&labels, histograms, decoded);
                exemplars.into_iter().try_for_each(|message| exemplar(&labels, last_ms, message, decoded))?;
            }
            Err(wrong) => {
                let left_out = histograms.len() as u64;
                decoded.rejected.add(RejectReason::InvalidLabels, left_out, || wrong.to_string());
            }
        }
        if samples == 0 {
            return Ok(());
        }
    }
    if let Err(wrong) = decoded.batch.begin_series(pairs) {
        decoded.rejected.add(RejectReason::InvalidLabels, samples, || wrong.to_string());
        return Ok(());
    }
    let mut fields = Fields::of(message);
    while let Some((field, value)) = fields.next()? {
        if field == 2 {
            let (ts_ms, value) = sample(value.bytes()?)?;
            decoded.batch.push(ts_ms, value);
        }
    }
    Ok(())
}

fn label_set(pairs: &mut [(&str, &str)]) -> Result<Labels, InvalidLabels> {
    let mut bytes = vec![];
    LabelSetBuilder::encode_into(pairs, &mut bytes)?;
    Labels::from_bytes(&bytes)
}

/// The histograms that are fine, with when they began.
fn add_histograms(labels: &Labels, histograms: Vec<histograms::Point>, decoded: &mut Decoded<MetricBatch>) {
    let (mut points, mut starts) = (Vec::with_capacity(histograms.len()), vec![]);
    for histograms::Point { ts_ms, start_ms, value } in histograms {
        match value {
            Ok(histogram) => {
                points.push((ts_ms, histogram));
                starts.extend((start_ms != 0).then_some((ts_ms, start_ms)));
            }
            Err(wrong) => {
                decoded.rejected.add(RejectReason::InvalidValue, 1, || format!("{labels}: {wrong}"));
            }
        }
    }
    decoded.batch.push_histograms(labels, &points);
    decoded.batch.push_starts(labels, &starts);
}

/// 0 where there is none.
fn last_sample_ms(series: &[u8]) -> Result<i64, Malformed> {
    let mut last_ms = 0;
    let mut fields = Fields::of(series);
    while let Some((field, value)) = fields.next()? {
        if field == 2 {
            last_ms = sample(value.bytes()?)?.0;
        }
    }
    Ok(last_ms)
}

/// One that has no time of its own has that of the last sample it came with.
fn exemplar(
    series: &Labels,
    last_ms: i64,
    message: &[u8],
    decoded: &mut Decoded<MetricBatch>,
) -> Result<(), Malformed> {
    let (mut pairs, mut number, mut ts_ms) = (vec![], 0.0, last_ms);
    let mut fields = Fields::of(message);
    while let Some((field, value)) = fields.next()? {
        match field {
            1 => pairs.push(label(value.bytes()?)?),
            2 => number = value.double()?,
            3 => ts_ms = value.integer()?,
            _ => {}
        }
    }
    match label_set(&mut pairs) {
        Ok(labels) => {
            let exemplar = Exemplar { series: series.clone(), labels, ts_ms, value: number };
            decoded.batch.exemplars.push(exemplar);
        }
        Err(wrong) => {
            decoded
                .rejected
                .add(RejectReason::InvalidExemplar, 1, || format!("an exemplar of {series}: {wrong}"));
        }
    }
    Ok(())
}

fn label(message: &[u8]) -> Result<(&str, &str), Malformed> {
    let (mut name, mut text) = ("", "");
    let mut fields = Fields::of(message);
    while let Some((field, value)) = fields.next()? {
        match field {
            1 => name = value.text()?,
            2 => text = value.text()?,
            _ => {}
        }
    }
    Ok((name, text))
}

fn sample(message: &[u8]) -> Result<(i64, f64), Malformed> {
    let (mut number, mut ts_ms) = (0.0, 0);
    let mut fields = Fields::of(message);
    while let Some((field, value)) = fields.next()? {
        match field {
            1 => number = value.double()?,
            2 => ts_ms = value.integer()?,
            _ => {}
        }
    }
    Ok((ts_ms, number))
}

fn metadata(message: &[u8]) -> Result<Metadata, Malformed> {
    let mut metadata =
        Metadata { name: String::new(), kind: MetricKind::Unknown, help: String::new(), unit: String::new() };
    let mut fields = Fields::of(message);
    while let Some((field, value)) = fields.next()? {
        match field {
            1 => metadata.kind = KINDS.get(value.integer()? as usize).copied().unwrap_or(MetricKind::Unknown),
            2 => metadata.name = value.text()?.to_owned(),
            4 => metadata.help = value.text()?.to_owned(),
            5 => metadata.unit = value.text()?.to_owned(),
            _ => {}
        }
    }
    Ok(metadata)
}

/// By the protocol's number.
const KINDS: [MetricKind; 8] = [
    MetricKind::Unknown,
    MetricKind::Counter,
    MetricKind::Gauge,
    MetricKind::Histogram,
    MetricKind::GaugeHistogram,
    MetricKind::Summary,
    MetricKind::Info,
    MetricKind::StateSet,
];

/// A body as it goes over the wire, compressed.
pub fn encode(batch: &MetricBatch) -> Vec<u8> {
    let mut request = Writer::default();
    let (mut series, mut inner) = (Writer::default(), Writer::default());
    for (labels, ts_ms, values) in batch.iter() {
        series.0.clear();
        for (name, value) in Labels::from_bytes(labels).unwrap_or_default().iter() {
            inner.0.clear();
            inner.bytes(1, name.as_bytes());
            inner.bytes(2, value.as_bytes());
            series.bytes(1, &inner.0);
        }
        for (ts_ms, value) in ts_ms.iter().zip(values) {
            inner.0.clear();
            inner.double(1, *value);
            inner.integer(2, *ts_ms);
            series.bytes(2, &inner.0);
        }
        request.bytes(1, &series.0);
    }
    for metadata in &batch.metadata {
        inner.0.clear();
        inner.integer(1, KINDS.iter().position(|kind| *kind == metadata.kind).unwrap_or(0) as i64);
        inner.bytes(2, metadata.name.as_bytes());
        inner.bytes(4, metadata.help.as_bytes());
        inner.bytes(5, metadata.unit.as_bytes());
        request.bytes(3, &inner.0);
    }
    compression::snappy(&request.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compression::Encoding;

    fn batch() -> MetricBatch {
        let mut batch = MetricBatch::default();
        batch.begin_series(&mut [("__name__", "up"), ("job", "näher")]).unwrap();
        batch.push(1_700_000_000_000, 1.5);
        batch.push(-5, f64::NEG_INFINITY);
        batch.begin_series(&mut [("__name__", "down")]).unwrap();
        batch.push(0, 0.0);
        batch.metadata.push(Metadata {
            name: "up".into(),
            kind: MetricKind::Gauge,
            help: "Whether it is up".into(),
            unit: String::new(),
        });
        batch
    }

    fn raw(batch: &MetricBatch) -> bytes::Bytes {
        Encoding::Snappy.decompress(encode(batch).into(), 1 << 20).unwrap()
    }

    #[test]
    fn what_is_encoded_is_decoded() {
        assert_eq!(decode(&raw(&batch())).unwrap(), Decoded { batch: batch(), ..Decoded::default() });
    }

    #[test]
    fn exemplars_come_with_their_series() {
        let (mut name, mut sample, mut trace, mut series) =
            (Writer::default(), Writer::default(), Writer::default(), Writer::default());
        name.bytes(1, b"__name__");
        name.bytes(2, b"up");
        sample.double(1, 1.0);
        sample.integer(2, 7);
        trace.bytes(1, b"trace_id");
        trace.bytes(2, b"abc");
        series.bytes(1, &name.0);
        series.bytes(2, &sample.0);
        for ts_ms in [5, 0] {
            let mut exemplar = Writer::default();
            exemplar.bytes(1, &trace.0);
            exemplar.double(2, 0.25);
            if ts_ms > 0 {
                exemplar.integer(3, ts_ms);
            }
            series.bytes(3, &exemplar.0);
        }
        let mut request = Writer::default();
        request.bytes(1, &series.0);
        let decoded = decode(&request.0).unwrap();
        let exemplar = |ts_ms| Exemplar {
            series: Labels::from_pairs([("__name__", "up")]),
            labels: Labels::from_pairs([("trace_id", "abc")]),
            ts_ms,
            value: 0.25,
        };
        // The last sample's time where it has none of its own.
        assert_eq!((decoded.batch.samples(), decoded.batch.exemplars), (1, vec![exemplar(5), exemplar(7)]));
    }

    #[test]
    fn a_body_cut_anywhere_is_an_error_or_fewer_samples() {
        let whole = raw(&batch());
        for length in 0..whole.len() {
            if let Ok(decoded) = decode(&whole[..length]) {
                assert!(decoded.batch.samples() <= 3, "{length}");
            }
        }
        assert!(decode(&whole[..whole.len() - 1]).is_err());
    }

    /// As a client library writes it: a whole-number histogram with packed deltas.
    #[test]
    fn native_histograms_are_read_and_wrong_ones_counted() {
        let series = |schema: u64| {
            let (mut label, mut span, mut histogram, mut series) =
                (Writer::default(), Writer::default(), Writer::default(), Writer::default());
            label.bytes(1, b"__name__");
            label.bytes(2, b"h");
            span.integer(1, 2);
            span.integer(2, 3);
            histogram.integer(1, 6);
            histogram.double(3, 7.5);
            histogram.integer(4, schema as i64);
            histogram.double(5, 0.001);
            histogram.integer(6, 1);
            histogram.bytes(11, &span.0);
            // Deltas 2, -1, 1 in zigzag: counts 2, 1, 2.
            histogram.bytes(12, &[4, 1, 2]);
            histogram.integer(14, 2);
            histogram.integer(15, 1000);
            series.bytes(1, &label.0);
            series.bytes(4, &histogram.0);
            let mut request = Writer::default();
            request.bytes(1, &series.0);
            request.0
        };
        let decoded = decode(&series(6)).unwrap();
        assert!(decoded.rejected.0.is_empty());
        let mut stored: Vec<(Labels, Vec<i64>, Vec<f64>)> = decoded
            .batch
            .iter()
            .map(|(labels, ts, values)| (Labels::from_bytes(labels).unwrap(), ts.to_vec(), values.to_vec()))
            .collect();
        stored.sort_by(|a, b| a.0.cmp(&b.0));
        let runs = model::runs(stored.iter().map(|(labels, ts, values)| (labels, &ts[..], &values[..])));
        let (ts_ms, histogram) = &runs[0].histograms[0];
        assert_eq!((*ts_ms, histogram.schema, histogram.count, histogram.sum), (1000, 3, 6.0, 7.5));
        assert_eq!(histogram.positive, [(1, 2.0), (2, 1.0), (3, 2.0)]);
        assert_eq!(histogram.hint, model::ResetHint::NotReset);
        let wrong = decode(&series(400)).unwrap();
        assert_eq!(wrong.batch.samples(), 0);
        assert_eq!(wrong.rejected.0[0].reason, RejectReason::InvalidValue);
    }

    #[test]
    fn a_series_with_a_nameless_label_is_counted_and_the_others_stay() {
        let mut writer = Writer::default();
        for name in ["", "__name__"] {
            let (mut label, mut sample, mut series) =
                (Writer::default(), Writer::default(), Writer::default());
            label.bytes(1, name.as_bytes());
            label.bytes(2, b"x");
            sample.double(1, 1.0);
            series.bytes(1, &label.0);
            series.bytes(2, &sample.0);
            writer.bytes(1, &series.0);
        }
        let decoded = decode(&writer.0).unwrap();
        assert_eq!(decoded.batch.samples(), 1);
        assert_eq!(decoded.rejected.0[0].reason, RejectReason::InvalidLabels);
    }
}
