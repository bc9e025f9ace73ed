//! A series as Prometheus' chunks (format: tsdb/docs/format/chunks.md of Prometheus), in frames of a stream.
//!
//! Numbers are XOR chunks. A native histogram is a chunk of its own: such chunks are larger than joined ones and need
//! no common layout of buckets.

use super::bits::{Bits, fits};
use super::messages::{Chunk, ChunkedReadResponse, ChunkedSeries, Message, labels, spans};
use bytes::Bytes;
use engine::PromSeries;
use model::{Histogram, Point, ResetHint};

/// As many as Prometheus' own chunks have.
const SAMPLES_OF_A_CHUNK: usize = 120;

/// Bytes of the chunks of a frame, about: encoding one must not keep a thread for long.
const FRAME_BYTES: usize = 64 << 10;

const XOR: i32 = 1;
const FLOAT_HISTOGRAM: i32 = 3;

/// Each a part of the series, in the order of time.
pub fn frames(query_index: i64, series: PromSeries) -> impl Iterator<Item = Bytes> {
    let labels = labels(&series.labels);
    let mut chunks = chunks(series).peekable();
    std::iter::from_fn(move || {
        chunks.peek()?;
        let (mut of_frame, mut bytes) = (vec![], 0);
        while bytes < FRAME_BYTES {
            let Some(chunk) = chunks.next() else { break };
            bytes += chunk.data.len();
            of_frame.push(chunk);
        }
        let chunked_series = vec![ChunkedSeries { labels: labels.clone(), chunks: of_frame }];
        Some(frame(&ChunkedReadResponse { chunked_series, query_index }))
    })
}

/// `│ length uvarint │ crc32c u32, big-endian │ message │`
fn frame(message: &ChunkedReadResponse) -> Bytes {
    let message = message.encode_to_vec();
    let mut out = Bits::default();
    out.uvarint(message.len() as u64);
    let mut out = out.bytes;
    out.extend_from_slice(&crc32c::crc32c(&message).to_be_bytes());
    out.extend_from_slice(&message);
    out.into()
}

fn chunks(series: PromSeries) -> impl Iterator<Item = Chunk> {
    let PromSeries { points, histograms, .. } = series;
    let (mut point, mut histogram) = (0, 0);
    std::iter::from_fn(move || {
        // A chunk of numbers ends before the next histogram: chunks do not overlap.
        let next_ms = histograms.get(histogram).map_or(i64::MAX, |(ts_ms, _)| *ts_ms);
        let rest = points.get(point..)?;
        let count = rest.iter().take(SAMPLES_OF_A_CHUNK).take_while(|point| point.ts_ms < next_ms).count();
        if count > 0 {
            point += count;
            return Some(numbers(&rest[..count]));
        }
        let (ts_ms, of) = histograms.get(histogram)?;
        histogram += 1;
        // Of two samples of one time a series has the histogram.
        point += usize::from(rest.first().is_some_and(|point| point.ts_ms == *ts_ms));
        Some(one_histogram(*ts_ms, of))
    })
}

fn numbers(points: &[Point]) -> Chunk {
    let mut bits = Bits::after((points.len() as u16).to_be_bytes().to_vec());
    let (mut before, mut step_before) = (Point { ts_ms: 0, value: 0.0 }, 0i64);
    let mut window = None;
    for (at, point) in points.iter().enumerate() {
        let step = point.ts_ms.wrapping_sub(before.ts_ms);
        match at {
            0 => {
                bits.varint(point.ts_ms);
                bits.push(point.value.to_bits(), 64);
            }
            1 => {
                bits.uvarint(step as u64);
                changed(&mut bits, before.value, point.value, &mut window);
            }
            _ => {
                step_changed(&mut bits, step.wrapping_sub(step_before));
                changed(&mut bits, before.value, point.value, &mut window);
            }
        }
        (before, step_before) = (*point, step);
    }
    let (min_time_ms, max_time_ms) = (points[0].ts_ms, before.ts_ms);
    Chunk { min_time_ms, max_time_ms, kind: XOR, data: bits.bytes }
}

/// How a step differs from the one before.
fn step_changed(bits: &mut Bits, by: i64) {
    match by {
        0 => bits.bit(false),
        by if fits(by, 14) => {
            bits.push(0b10, 2);
            bits.push(by as u64, 14);
        }
        by if fits(by, 17) => {
            bits.push(0b110, 3);
            bits.push(by as u64, 17);
        }
        by if fits(by, 20) => {
            bits.push(0b1110, 4);
            bits.push(by as u64, 20);
        }
        by => {
            bits.push(0b1111, 4);
            bits.push(by as u64, 64);
        }
    }
}

/// The bits in which a value differs from the one before. `window` is where the bits written last lay: how many stood
/// before and behind them.
fn changed(bits: &mut Bits, before: f64, now: f64, window: &mut Option<(u32, u32)>) {
    let differ = before.to_bits() ^ now.to_bits();
    if differ == 0 {
        return bits.bit(false);
    }
    bits.bit(true);
    // Five bits say how many stand before.
    let (leading, trailing) = (differ.leading_zeros().min(31), differ.trailing_zeros());
    if let Some((before, behind)) = *window
        && leading >= before
        && trailing >= behind
    {
        bits.bit(false);
        return bits.push(differ >> behind, 64 - before - behind);
    }
    *window = Some((leading, trailing));
    let width = 64 - leading - trailing;
    bits.bit(true);
    bits.push(u64::from(leading), 5);
    // 64 does not fit six bits; 0 stands for it.
    bits.push(u64::from(width & 63), 6);
    bits.push(differ >> trailing, width);
}

fn one_histogram(ts_ms: i64, histogram: &Histogram) -> Chunk {
    let stale = Histogram::stale();
    let histogram = if histogram.is_stale_marker() { &stale } else { histogram };
    let hint = match histogram.hint {
        ResetHint::Unknown => 0,
        ResetHint::NotReset => 0x40,
        ResetHint::Reset => 0x80,
        ResetHint::Gauge => 0xc0,
    };
    let mut bits = Bits::after(vec![0, 1, hint]);
    match histogram.zero_threshold {
        0.0 => bits.push(0, 8),
        threshold => {
            bits.push(255, 8);
            bits.push(threshold.to_bits(), 64);
        }
    }
    bits.varbit_int(i64::from(histogram.schema));
    for buckets in [&histogram.positive, &histogram.negative] {
        let spans = spans(buckets);
        bits.varbit_uint(spans.len() as u64);
        for span in spans {
            bits.varbit_uint(u64::from(span.length));
            bits.varbit_int(i64::from(span.offset));
        }
    }
    if histogram.uses_custom_buckets() {
        bits.varbit_uint(histogram.custom_values.len() as u64);
        for bound in histogram.custom_values.iter() {
            bits.bit(false);
            bits.push(bound.to_bits(), 64);
        }
    }
    bits.varbit_int(ts_ms);
    for number in [histogram.count, histogram.zero_count, histogram.sum] {
        bits.push(number.to_bits(), 64);
    }
    for (_, count) in histogram.positive.iter().chain(&histogram.negative) {
        bits.push(count.to_bits(), 64);
    }
    Chunk { min_time_ms: ts_ms, max_time_ms: ts_ms, kind: FLOAT_HISTOGRAM, data: bits.bytes }
}
