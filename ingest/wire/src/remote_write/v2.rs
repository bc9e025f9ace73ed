//! `io.prometheus.write.v2.Request` (source: prompb/io/prometheus/write/v2/types.proto of Prometheus): every string is
//! once in a table and named by its place there; what a metric is and when its counters began come with its samples.

use super::{KINDS, add_histograms, histograms, label_set};
use crate::protobuf::{Fields, Value, take_varint};
use crate::{Decoded, Malformed};
use model::{Exemplar, Labels, METRIC_NAME, Metadata, MetricBatch, MetricKind, RejectReason};
use std::collections::HashSet;

/// Decompressed bytes to samples. A series that cannot be kept is left out and counted; the others stay.
pub fn decode(body: &[u8]) -> Result<Decoded<MetricBatch>, Malformed> {
    // The table may stand behind what names its places.
    let (mut symbols, mut all) = (vec![], vec![]);
    let mut request = Fields::of(body);
    while let Some((field, value)) = request.next()? {
        match field {
            4 => symbols.push(value.text()?),
            5 => all.push(value.bytes()?),
            _ => {}
        }
    }
    let mut reader = Reader { symbols, described: HashSet::new(), decoded: Decoded::default() };
    all.into_iter().try_for_each(|message| reader.series(message))?;
    Ok(reader.decoded)
}

struct Reader<'a> {
    symbols: Vec<&'a str>,
    /// Metrics of which the batch has metadata: each series of a metric repeats it.
    described: HashSet<String>,
    decoded: Decoded<MetricBatch>,
}

/// One `TimeSeries`, before its places are looked up.
#[derive(Default)]
struct Series<'a> {
    label_refs: Vec<u32>,
    samples: Vec<Sample>,
    histograms: Vec<histograms::Point>,
    exemplars: Vec<&'a [u8]>,
    metadata: Said,
}

/// `Metadata`, before its places are looked up.
#[derive(Default)]
struct Said {
    kind: i64,
    help_ref: u32,
    unit_ref: u32,
}

struct Sample {
    ts_ms: i64,
    /// When its counter began; 0 where that is not said.
    start_ms: i64,
    value: f64,
}

impl<'a> Reader<'a> {
    fn series(&mut self, message: &'a [u8]) -> Result<(), Malformed> {
        let series = Series::of(message)?;
        let labels = self.labels(&series.label_refs);
        let described = labels.and_then(|labels| Ok((self.metadata(&labels, &series.metadata)?, labels)));
        match described {
            Ok((metadata, labels)) => {
                self.decoded.batch.metadata.extend(metadata);
                let last_ms = series.last_ms();
                self.samples(&labels, &series.samples);
                add_histograms(&labels, series.histograms, &mut self.decoded);
                series.exemplars.into_iter().try_for_each(|message| self.exemplar(&labels, last_ms, message))
            }
            Err(wrong) => {
                // A series without a sample is one mistake all the same.
                let left_out = (series.samples.len() + series.histograms.len()).max(1) as u64;
                self.decoded.rejected.add(RejectReason::InvalidLabels, left_out, || wrong);
                Ok(())
            }
        }
    }

    fn labels(&self, refs: &[u32]) -> Result<Labels, String> {
        let labels = label_set(&mut self.pairs(refs)?).map_err(|wrong| wrong.to_string())?;
        match labels.metric_name() {
            "" => Err(format!("the series {labels} has no metric name (label {METRIC_NAME})")),
            _ => Ok(labels),
        }
    }

    fn symbol(&self, place: u32) -> Result<&'a str, String> {
        let table = self.symbols.len();
        let symbol = self.symbols.get(place as usize).copied();
        symbol.ok_or_else(|| format!("symbol {place} is named, and the table has {table}"))
    }

    fn pairs(&self, refs: &[u32]) -> Result<Vec<(&'a str, &'a str)>, String> {
        let (pairs, rest) = refs.as_chunks::<2>();
        if !rest.is_empty() {
            return Err(format!("{} label references, which is no whole number of pairs", refs.len()));
        }
        pairs.iter().map(|[name, value]| Ok((self.symbol(*name)?, self.symbol(*value)?))).collect()
    }

    fn samples(&mut self, labels: &Labels, samples: &[Sample]) {
        if samples.is_empty() {
            return;
        }
        self.decoded.batch.begin_labels(labels);
        samples.iter().for_each(|sample| self.decoded.batch.push(sample.ts_ms, sample.value));
        let began = samples.iter().filter(|sample| sample.start_ms != 0);
        let starts: Vec<(i64, i64)> = began.map(|sample| (sample.ts_ms, sample.start_ms)).collect();
        self.decoded.batch.push_starts(labels, &starts);
    }

    /// What is said of the metric, where that is something and was not said before.
    fn metadata(&mut self, labels: &Labels, said: &Said) -> Result<Option<Metadata>, String> {
        // A table without strings has no empty one to name.
        let text = |place| if place == 0 { Ok("") } else { self.symbol(place) };
        let (help, unit) = (text(said.help_ref)?, text(said.unit_ref)?);
        let kind = KINDS.get(said.kind as usize).copied().unwrap_or(MetricKind::Unknown);
        let name = labels.metric_name();
        if (kind, help, unit) == (MetricKind::Unknown, "", "") || !self.described.insert(name.to_owned()) {
            return Ok(None);
        }
        let (name, help, unit) = (name.to_owned(), help.to_owned(), unit.to_owned());
        Ok(Some(Metadata { name, kind, help, unit }))
    }

    /// One that has no time of its own has that of the last sample it came with.
    fn exemplar(&mut self, series: &Labels, last_ms: i64, message: &[u8]) -> Result<(), Malformed> {
        let (mut refs, mut number, mut ts_ms) = (vec![], 0.0, last_ms);
        let mut fields = Fields::of(message);
        while let Some((field, value)) = fields.next()? {
            match field {
                1 => places(value, &mut refs)?,
                2 => number = value.double()?,
                3 => ts_ms = value.integer()?,
                _ => {}
            }
        }
        let labels =
            self.pairs(&refs).and_then(|mut pairs| label_set(&mut pairs).map_err(|wrong| wrong.to_string()));
        match labels {
            Ok(labels) => {
                let exemplar = Exemplar { series: series.clone(), labels, ts_ms, value: number };
                self.decoded.batch.exemplars.push(exemplar);
            }
            Err(wrong) => {
                let example = || format!("an exemplar of {series}: {wrong}");
                self.decoded.rejected.add(RejectReason::InvalidExemplar, 1, example);
            }
        }
        Ok(())
    }
}

impl<'a> Series<'a> {
    fn of(message: &'a [u8]) -> Result<Series<'a>, Malformed> {
        let mut series = Series::default();
        // Drafts of the protocol said it once for all samples of a series.
        let mut created_ms = 0;
        let mut fields = Fields::of(message);
        while let Some((field, value)) = fields.next()? {
            match field {
                1 => places(value, &mut series.label_refs)?,
                2 => series.samples.push(Sample::of(value.bytes()?)?),
                3 => series.histograms.push(histograms::decode(value.bytes()?)?),
                4 => series.exemplars.push(value.bytes()?),
                5 => series.metadata = Said::of(value.bytes()?)?,
                6 => created_ms = value.integer()?,
                _ => {}
            }
        }
        let of_samples = series.samples.iter_mut().map(|sample| &mut sample.start_ms);
        let of_histograms = series.histograms.iter_mut().map(|point| &mut point.start_ms);
        of_samples.chain(of_histograms).filter(|start_ms| **start_ms == 0).for_each(|it| *it = created_ms);
        Ok(series)
    }
}

impl Series<'_> {
    fn last_ms(&self) -> i64 {
        let samples = self.samples.iter().map(|sample| sample.ts_ms);
        samples.chain(self.histograms.iter().map(|point| point.ts_ms)).last().unwrap_or(0)
    }
}

impl Said {
    fn of(message: &[u8]) -> Result<Said, Malformed> {
        let mut said = Said::default();
        let mut fields = Fields::of(message);
        while let Some((field, value)) = fields.next()? {
            match field {
                1 => said.kind = value.integer()?,
                3 => said.help_ref = place(value.integer()? as u64)?,
                4 => said.unit_ref = place(value.integer()? as u64)?,
                _ => {}
            }
        }
        Ok(said)
    }
}

impl Sample {
    fn of(message: &[u8]) -> Result<Sample, Malformed> {
        let mut sample = Sample { ts_ms: 0, start_ms: 0, value: 0.0 };
        let mut fields = Fields::of(message);
        while let Some((field, value)) = fields.next()? {
            match field {
                1 => sample.value = value.double()?,
                2 => sample.ts_ms = value.integer()?,
                3 => sample.start_ms = value.integer()?,
                _ => {}
            }
        }
        Ok(sample)
    }
}

fn place(number: u64) -> Result<u32, Malformed> {
    u32::try_from(number).map_err(|_| Malformed(format!("{number} is no place in the table of symbols")))
}

/// Packed, or one alone.
fn places(value: Value<'_>, out: &mut Vec<u32>) -> Result<(), Malformed> {
    match value {
        Value::Bytes(mut packed) => {
            while !packed.is_empty() {
                out.push(place(take_varint(&mut packed)?)?);
            }
        }
        other => out.push(place(other.integer()? as u64)?),
    }
    Ok(())
}

#[cfg(test)]
mod tests;
