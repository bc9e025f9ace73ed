//! Native histograms: a sample that is a whole distribution.
//!
//! Buckets are kept sparse, as index and count. With an exponential schema, bucket `i` ends at `2^(i · 2^-schema)`; with
//! custom bounds, bucket `i` ends at `custom_values[i]`, the one past the last bound at infinity. A bucket with count
//! 0 that a sender named is a part of the value. Arithmetic is in `math`, walking over bounds in `buckets`; the bytes
//! that pass between operators are here; how a store keeps them, in `components`.

mod buckets;
mod components;
mod math;

pub use buckets::Bucket;
pub use components::{COMPONENT, Run, component_in, component_of, is_meta, runs, without_component};
pub use math::{Combined, IncompatibleSchemas};

use std::fmt;
use std::sync::Arc;

/// The schema number that says: bounds are named one by one.
pub const CUSTOM_BUCKETS_SCHEMA: i8 = -53;

/// Whether the counter that feeds a histogram began anew before this sample.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ResetHint {
    #[default]
    Unknown,
    Reset,
    NotReset,
    /// No counter at all.
    Gauge,
}

#[derive(Clone, Debug, Default)]
pub struct Histogram {
    /// From -4 to 8, or [`CUSTOM_BUCKETS_SCHEMA`].
    pub schema: i8,
    pub hint: ResetHint,
    pub count: f64,
    /// The stale marker here makes the whole sample one.
    pub sum: f64,
    /// Values of at most this size, of either sign, are in the zero bucket.
    pub zero_threshold: f64,
    pub zero_count: f64,
    /// By ascending index, each once.
    pub positive: Vec<(i32, f64)>,
    pub negative: Vec<(i32, f64)>,
    /// Ascending upper bounds.
    pub custom_values: Arc<[f64]>,
}

/// Buckets that one histogram may have: what is beyond is no measurement but an attack.
pub const BUCKETS_MAX: usize = 20_000;

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidHistogram {
    #[error(
        "histogram has an invalid schema, which must be between -4 and 8 for exponential buckets, or -53 for custom buckets, got schema {0}"
    )]
    Schema(i64),
    #[error("histogram spans specify different number of buckets than provided")]
    SpansMismatch,
    #[error("histogram has a span whose offset is negative")]
    NegativeOffset,
    #[error("histogram has a bucket whose observation count is negative")]
    NegativeBucket,
    #[error("histogram's observation count is negative")]
    NegativeCount,
    #[error(
        "{found} observations found in buckets, but the Count field is {count}: histogram's observation count should equal the number of observations found in the buckets (in absence of NaN)"
    )]
    CountMismatch { found: u64, count: u64 },
    #[error(
        "{found} observations found in buckets, but the Count field is {count}: histogram's observation count should be at least the number of observations found in the buckets"
    )]
    CountTooSmall { found: u64, count: u64 },
    #[error("histogram custom bounds must be finite and strictly increasing")]
    CustomBounds,
    #[error(
        "histogram with custom buckets must have neither a zero bucket nor negative buckets, and one with an exponential schema no custom bounds"
    )]
    WrongFields,
    #[error("histogram has more than {BUCKETS_MAX} buckets")]
    TooManyBuckets,
    #[error("histogram bytes are cut short or out of order")]
    Corrupt,
}

impl Histogram {
    pub fn uses_custom_buckets(&self) -> bool {
        self.schema == CUSTOM_BUCKETS_SCHEMA
    }

    pub fn is_stale_marker(&self) -> bool {
        crate::is_stale_marker(self.sum)
    }

    /// The sample that ends a series of histograms.
    pub fn stale() -> Histogram {
        Histogram { sum: crate::stale_marker(), ..Histogram::default() }
    }

    /// Whether it is what a sender may send.
    pub fn validate(&self) -> Result<(), InvalidHistogram> {
        if self.positive.len() + self.negative.len() + self.custom_values.len() > BUCKETS_MAX {
            return Err(InvalidHistogram::TooManyBuckets);
        }
        if self.uses_custom_buckets() {
            if self.zero_count != 0.0 || self.zero_threshold != 0.0 || !self.negative.is_empty() {
                return Err(InvalidHistogram::WrongFields);
            }
            let bounds = &self.custom_values;
            if bounds.iter().any(|bound| !bound.is_finite()) || !bounds.is_sorted_by(|a, b| a < b) {
                return Err(InvalidHistogram::CustomBounds);
            }
            let outside = |(index, _): &(i32, f64)| *index < 0 || *index as usize > bounds.len();
            if self.positive.iter().any(outside) {
                return Err(InvalidHistogram::SpansMismatch);
            }
        } else if !(-4..=8).contains(&self.schema) {
            return Err(InvalidHistogram::Schema(i64::from(self.schema)));
        } else if !self.custom_values.is_empty() {
            return Err(InvalidHistogram::WrongFields);
        }
        if self.count < 0.0 {
            return Err(InvalidHistogram::NegativeCount);
        }
        let negative = |(_, count): &(i32, f64)| *count < 0.0;
        if self.zero_count < 0.0 || self.positive.iter().chain(&self.negative).any(negative) {
            return Err(InvalidHistogram::NegativeBucket);
        }
        Ok(())
    }

    /// Buckets from runs of neighbours (gap before the run, its length) and their counts in order.
    pub fn from_spans(spans: &[(i32, u32)], counts: &[f64]) -> Result<Vec<(i32, f64)>, InvalidHistogram> {
        let named: u64 = spans.iter().map(|(_, length)| u64::from(*length)).sum();
        if named > BUCKETS_MAX as u64 {
            return Err(InvalidHistogram::TooManyBuckets);
        }
        if named != counts.len() as u64 {
            return Err(InvalidHistogram::SpansMismatch);
        }
        let mut buckets = Vec::with_capacity(counts.len());
        let mut index = 0i32;
        let mut counts = counts.iter();
        for (at, (gap, length)) in spans.iter().enumerate() {
            if at > 0 && *gap < 0 {
                return Err(InvalidHistogram::NegativeOffset);
            }
            index = index.checked_add(*gap).ok_or(InvalidHistogram::SpansMismatch)?;
            for count in counts.by_ref().take(*length as usize) {
                buckets.push((index, *count));
                index = index.checked_add(1).ok_or(InvalidHistogram::SpansMismatch)?;
            }
        }
        Ok(buckets)
    }

    /// Heap and own bytes, for whoever bounds memory.
    pub fn bytes(&self) -> usize {
        size_of::<Histogram>()
            + (self.positive.len() + self.negative.len()) * 16
            + self.custom_values.len() * 8
    }

    /// As bytes: what a plan carries. Numbers are little-endian; counts are whole.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.push(self.schema as u8);
        out.push(match self.hint {
            ResetHint::Unknown => 0,
            ResetHint::Reset => 1,
            ResetHint::NotReset => 2,
            ResetHint::Gauge => 3,
        });
        for number in [self.count, self.sum, self.zero_threshold, self.zero_count] {
            out.extend_from_slice(&number.to_bits().to_le_bytes());
        }
        for buckets in [&self.positive, &self.negative] {
            out.extend_from_slice(&(buckets.len() as u32).to_le_bytes());
            for (index, count) in buckets {
                out.extend_from_slice(&index.to_le_bytes());
                out.extend_from_slice(&count.to_bits().to_le_bytes());
            }
        }
        for bound in self.custom_values.iter() {
            out.extend_from_slice(&bound.to_bits().to_le_bytes());
        }
    }

    /// From what [`encode`](Self::encode) wrote, checked for its form.
    pub fn decode(bytes: &[u8]) -> Result<Histogram, InvalidHistogram> {
        let mut rest = bytes;
        let [schema, hint] = take::<2>(&mut rest)?;
        let hint = match hint {
            0 => ResetHint::Unknown,
            1 => ResetHint::Reset,
            2 => ResetHint::NotReset,
            3 => ResetHint::Gauge,
            _ => return Err(InvalidHistogram::Corrupt),
        };
        let [count, sum, zero_threshold, zero_count] =
            [number(&mut rest)?, number(&mut rest)?, number(&mut rest)?, number(&mut rest)?];
        let positive = sparse(&mut rest)?;
        let negative = sparse(&mut rest)?;
        let mut bounds = Vec::with_capacity(rest.len() / 8);
        while !rest.is_empty() {
            bounds.push(number(&mut rest)?);
        }
        Ok(Histogram {
            schema: schema as i8,
            hint,
            count,
            sum,
            zero_threshold,
            zero_count,
            positive,
            negative,
            custom_values: bounds.into(),
        })
    }
}

fn take<const N: usize>(rest: &mut &[u8]) -> Result<[u8; N], InvalidHistogram> {
    let (taken, tail) = rest.split_first_chunk::<N>().ok_or(InvalidHistogram::Corrupt)?;
    *rest = tail;
    Ok(*taken)
}

fn number(rest: &mut &[u8]) -> Result<f64, InvalidHistogram> {
    Ok(f64::from_bits(u64::from_le_bytes(take(rest)?)))
}

fn sparse(rest: &mut &[u8]) -> Result<Vec<(i32, f64)>, InvalidHistogram> {
    let length = u32::from_le_bytes(take(rest)?) as usize;
    if length > rest.len() / 12 {
        return Err(InvalidHistogram::Corrupt);
    }
    let mut buckets: Vec<(i32, f64)> = Vec::with_capacity(length);
    for _ in 0..length {
        let index = i32::from_le_bytes(take(rest)?);
        if buckets.last().is_some_and(|(last, _)| *last >= index) {
            return Err(InvalidHistogram::Corrupt);
        }
        buckets.push((index, number(rest)?));
    }
    Ok(buckets)
}

/// Equal as data: the same buckets, even empty ones, and the same bits. The hint says how a sample came to be and not
/// what it is.
impl PartialEq for Histogram {
    fn eq(&self, other: &Histogram) -> bool {
        let same = |a: f64, b: f64| a.to_bits() == b.to_bits();
        let alike = |a: &[(i32, f64)], b: &[(i32, f64)]| {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.0 == b.0 && same(a.1, b.1))
        };
        self.schema == other.schema
            && same(self.count, other.count)
            && same(self.sum, other.sum)
            && (!self.uses_custom_buckets() || self.custom_values == other.custom_values)
            && self.zero_threshold == other.zero_threshold
            && same(self.zero_count, other.zero_count)
            && alike(&self.negative, &other.negative)
            && alike(&self.positive, &other.positive)
    }
}

/// `{count:4, sum:2, (0.5,1]:3, (1,2]:1}`: Prometheus' way, buckets with something in them by ascending bound.
impl fmt::Display for Histogram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{{count:{}, sum:{}", Short(self.count), Short(self.sum))?;
        for bucket in self.display_buckets() {
            write!(f, ", {bucket}")?;
        }
        f.write_str("}")
    }
}

/// A number as Go's `%g` prints it: plain between 1e-4 and 1e6, else with an exponent of two digits at least.
pub(crate) struct Short(pub f64);

impl fmt::Display for Short {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&short(self.0))
    }
}

/// As [`Short`] prints.
pub fn short(value: f64) -> String {
    if value.is_nan() {
        return "NaN".into();
    }
    if value.is_infinite() {
        return (if value > 0.0 { "+Inf" } else { "-Inf" }).into();
    }
    let size = value.abs();
    if value == 0.0 || (1e-4..1e6).contains(&size) {
        return value.to_string();
    }
    let text = format!("{value:e}");
    match text.split_once('e') {
        Some((digits, exponent)) => {
            let (sign, number) = match exponent.strip_prefix('-') {
                Some(number) => ('-', number),
                None => ('+', exponent),
            };
            format!("{digits}e{sign}{number:0>2}")
        }
        None => text,
    }
}

#[cfg(test)]
mod tests;
