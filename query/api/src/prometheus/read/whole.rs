//! A `ReadResponse` under snappy, written piece by piece while it is sent: neither its bytes nor a copy of them is ever
//! whole in memory, and a series goes as soon as it is written.
//!
//! A block of snappy begins with the length of all that it holds; so that is counted first. What follows are elements
//! that refer to nothing before their piece (source: format_description.txt of snappy).

use super::messages::{Histogram, Label, Sample, labels};
use engine::PromSeries;
use model::Point;
use prost::encoding::{
    WireType, encode_key, encode_varint, encoded_len_varint, key_len, message::encode, message::encoded_len,
};
use std::sync::Arc;

/// Fields of `ReadResponse` and `QueryResult`.
const RESULTS: u32 = 1;
const TIMESERIES: u32 = 1;

/// Fields of `TimeSeries`.
const LABELS: u32 = 1;
const SAMPLES: u32 = 2;
const HISTOGRAMS: u32 = 4;

/// What snappy's format looks back over at most, in bytes.
const PIECE_BYTES: usize = 64 << 10;

/// The most that the length before a block can say, in bytes.
const BLOCK_BYTES_MAX: u64 = u32::MAX as u64;

/// # Errors
/// Where the answer is longer than a block of snappy can be; says what to ask instead.
pub fn pieces(found: Vec<Vec<PromSeries>>) -> Result<impl Iterator<Item = Vec<u8>>, String> {
    let length: u64 = found.iter().map(|all| of_field(RESULTS, result_bytes(all))).sum();
    if length > BLOCK_BYTES_MAX {
        return Err(format!(
            "the answer has {length} bytes, and snappy's block holds {BLOCK_BYTES_MAX}; ask for less, or for a stream \
             (accepted_response_types 1)"
        ));
    }
    let mut piece = vec![];
    encode_varint(length, &mut piece);
    Ok(Pieces {
        parts: found.into_iter().flat_map(result),
        raw: vec![],
        piece,
        encoder: snap::raw::Encoder::new(),
    })
}

/// What is encoded in one step.
enum Part {
    Result { bytes: u64 },
    Series { bytes: u64, labels: Vec<Label> },
    Sample(Sample),
    Histogram(Histogram),
}

fn result(all: Vec<PromSeries>) -> impl Iterator<Item = Part> {
    let head = Part::Result { bytes: result_bytes(&all) };
    std::iter::once(head).chain(all.into_iter().flat_map(series))
}

fn series(series: PromSeries) -> impl Iterator<Item = Part> {
    let head = Part::Series { bytes: series_bytes(&series), labels: labels(&series.labels) };
    let PromSeries { points, histograms, .. } = series;
    let samples = points.into_iter().map(|point| Part::Sample(sample(&point)));
    let histograms = histograms.into_iter().map(|one| Part::Histogram(histogram(&one)));
    std::iter::once(head).chain(samples).chain(histograms)
}

fn sample(point: &Point) -> Sample {
    Sample { value: point.value, timestamp: point.ts_ms }
}

fn histogram((ts_ms, histogram): &(i64, Arc<model::Histogram>)) -> Histogram {
    Histogram::of(*ts_ms, histogram)
}

/// A message in a field, with its key and its length.
fn of_field(tag: u32, bytes: u64) -> u64 {
    (key_len(tag) + encoded_len_varint(bytes)) as u64 + bytes
}

fn result_bytes(all: &[PromSeries]) -> u64 {
    all.iter().map(|series| of_field(TIMESERIES, series_bytes(series))).sum()
}

fn series_bytes(series: &PromSeries) -> u64 {
    let labels: usize = labels(&series.labels).iter().map(|label| encoded_len(LABELS, label)).sum();
    let samples: usize = series.points.iter().map(|point| encoded_len(SAMPLES, &sample(point))).sum();
    let histograms: usize =
        series.histograms.iter().map(|one| encoded_len(HISTOGRAMS, &histogram(one))).sum();
    (labels + samples + histograms) as u64
}

impl Part {
    fn write(self, out: &mut Vec<u8>) {
        let begin = |tag: u32, bytes: u64, out: &mut Vec<u8>| {
            encode_key(tag, WireType::LengthDelimited, out);
            encode_varint(bytes, out);
        };
        match self {
            Part::Result { bytes } => begin(RESULTS, bytes, out),
            Part::Series { bytes, labels } => {
                begin(TIMESERIES, bytes, out);
                labels.iter().for_each(|label| encode(LABELS, label, out));
            }
            Part::Sample(sample) => encode(SAMPLES, &sample, out),
            Part::Histogram(histogram) => encode(HISTOGRAMS, &histogram, out),
        }
    }
}

struct Pieces<I> {
    parts: I,
    /// Encoded and not yet compressed.
    raw: Vec<u8>,
    /// What stands before the next piece: at first the length of all.
    piece: Vec<u8>,
    encoder: snap::raw::Encoder,
}

impl<I: Iterator<Item = Part>> Iterator for Pieces<I> {
    type Item = Vec<u8>;

    fn next(&mut self) -> Option<Vec<u8>> {
        while self.raw.len() < PIECE_BYTES
            && let Some(part) = self.parts.next()
        {
            part.write(&mut self.raw);
        }
        let mut piece = std::mem::take(&mut self.piece);
        let rest = self.raw.split_off(self.raw.len().min(PIECE_BYTES));
        if !self.raw.is_empty() {
            // Of so few bytes the encoder refuses none.
            let block = self.encoder.compress_vec(&self.raw).unwrap_or_default();
            let own_length = encoded_len_varint(self.raw.len() as u64);
            piece.extend_from_slice(&block[own_length..]);
        }
        self.raw = rest;
        (!piece.is_empty()).then_some(piece)
    }
}
