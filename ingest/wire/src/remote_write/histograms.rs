//! `Histogram` of remote write, the same message in both versions: native histograms with counts that are whole (as
//! differences from bucket to bucket) or not. Only version 2.0 says when a histogram began.

use crate::Malformed;
use crate::protobuf::{Fields, Value, take_varint};
use model::{Histogram, InvalidHistogram, ResetHint};

pub(super) struct Point {
    pub ts_ms: i64,
    /// When its counter began; 0 where that is not said.
    pub start_ms: i64,
    /// The error is one of this histogram alone.
    pub value: Result<Histogram, InvalidHistogram>,
}

#[derive(Default)]
struct Side {
    spans: Vec<(i32, u32)>,
    deltas: Vec<i64>,
    counts: Vec<f64>,
}

impl Side {
    fn is_whole(&self) -> bool {
        self.counts.is_empty()
    }

    fn buckets(&self) -> Result<Vec<(i32, f64)>, InvalidHistogram> {
        if self.deltas.is_empty() {
            return Histogram::from_spans(&self.spans, &self.counts);
        }
        let mut now = 0i64;
        let counts: Vec<f64> = self
            .deltas
            .iter()
            .map(|delta| {
                now = now.wrapping_add(*delta);
                now as f64
            })
            .collect();
        Histogram::from_spans(&self.spans, &counts)
    }
}

pub(super) fn decode(message: &[u8]) -> Result<Point, Malformed> {
    let mut histogram = Histogram::default();
    let (mut positive, mut negative) = (Side::default(), Side::default());
    let (mut schema, mut ts_ms, mut start_ms, mut bounds) = (0i64, 0i64, 0i64, vec![]);
    let mut is_whole = true;
    let mut fields = Fields::of(message);
    while let Some((field, value)) = fields.next()? {
        match field {
            1 => histogram.count = value.integer()? as u64 as f64,
            2 => (histogram.count, is_whole) = (value.double()?, false),
            3 => histogram.sum = value.double()?,
            4 => schema = zigzag(value.integer()? as u64),
            5 => histogram.zero_threshold = value.double()?,
            6 => histogram.zero_count = value.integer()? as u64 as f64,
            7 => histogram.zero_count = value.double()?,
            8 => negative.spans.push(span(value.bytes()?)?),
            9 => integers(value, &mut negative.deltas)?,
            10 => doubles(value, &mut negative.counts)?,
            11 => positive.spans.push(span(value.bytes()?)?),
            12 => integers(value, &mut positive.deltas)?,
            13 => doubles(value, &mut positive.counts)?,
            14 => {
                histogram.hint = match value.integer()? {
                    1 => ResetHint::Reset,
                    2 => ResetHint::NotReset,
                    3 => ResetHint::Gauge,
                    _ => ResetHint::Unknown,
                }
            }
            15 => ts_ms = value.integer()?,
            16 => doubles(value, &mut bounds)?,
            17 => start_ms = value.integer()?,
            _ => {}
        }
    }
    let value = finished(histogram, schema, &positive, &negative, bounds).and_then(|histogram| {
        if is_whole && positive.is_whole() && negative.is_whole() {
            counted(&histogram)?;
        }
        Ok(histogram)
    });
    Ok(Point { ts_ms, start_ms, value })
}

/// Whole counts can be added up without error, so they must come to the whole. NaN is observed and in no bucket.
fn counted(histogram: &Histogram) -> Result<(), InvalidHistogram> {
    if histogram.is_stale_marker() {
        return Ok(());
    }
    let buckets = histogram.positive.iter().chain(&histogram.negative);
    let found: f64 = histogram.zero_count + buckets.map(|(_, count)| count).sum::<f64>();
    let (found_whole, count) = (found as u64, histogram.count as u64);
    if histogram.sum.is_nan() {
        return match found > histogram.count {
            true => Err(InvalidHistogram::CountTooSmall { found: found_whole, count }),
            false => Ok(()),
        };
    }
    match found == histogram.count {
        true => Ok(()),
        false => Err(InvalidHistogram::CountMismatch { found: found_whole, count }),
    }
}

fn finished(
    mut histogram: Histogram,
    schema: i64,
    positive: &Side,
    negative: &Side,
    bounds: Vec<f64>,
) -> Result<Histogram, InvalidHistogram> {
    // What ends a series has no buckets to look at.
    if histogram.is_stale_marker() {
        return Ok(Histogram::stale());
    }
    histogram.schema = i8::try_from(schema).map_err(|_| InvalidHistogram::Schema(schema))?;
    histogram.custom_values = bounds.into();
    (histogram.positive, histogram.negative) = (positive.buckets()?, negative.buckets()?);
    // Finer schemas may come and are brought down to the finest that is kept.
    if (9..=52).contains(&histogram.schema) {
        histogram = histogram.at_schema(8);
    }
    histogram.validate()?;
    Ok(histogram)
}

fn zigzag(number: u64) -> i64 {
    (number >> 1) as i64 ^ -((number & 1) as i64)
}

fn span(message: &[u8]) -> Result<(i32, u32), Malformed> {
    let (mut gap, mut length) = (0i64, 0i64);
    let mut fields = Fields::of(message);
    while let Some((field, value)) = fields.next()? {
        match field {
            1 => gap = zigzag(value.integer()? as u64),
            2 => length = value.integer()?,
            _ => {}
        }
    }
    let wrong = || Malformed("a span of buckets is out of range".into());
    Ok((i32::try_from(gap).map_err(|_| wrong())?, u32::try_from(length).map_err(|_| wrong())?))
}

/// Packed, or one alone.
fn integers(value: Value<'_>, out: &mut Vec<i64>) -> Result<(), Malformed> {
    match value {
        Value::Bytes(bytes) => {
            let mut rest = bytes;
            while !rest.is_empty() {
                out.push(zigzag(take_varint(&mut rest)?));
            }
            Ok(())
        }
        other => {
            out.push(zigzag(other.integer()? as u64));
            Ok(())
        }
    }
}

fn doubles(value: Value<'_>, out: &mut Vec<f64>) -> Result<(), Malformed> {
    match value {
        Value::Bytes(bytes) => {
            let (numbers, rest) = bytes.as_chunks::<8>();
            if !rest.is_empty() {
                return Err(Malformed("packed doubles are cut short".into()));
            }
            out.extend(numbers.iter().map(|number| f64::from_bits(u64::from_le_bytes(*number))));
            Ok(())
        }
        other => {
            out.push(other.double()?);
            Ok(())
        }
    }
}
