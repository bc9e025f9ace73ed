//! A histogram's buckets with their bounds, from the lowest value to the highest.

use super::{Histogram, Short};
use std::fmt;

#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bucket {
    pub lower: f64,
    pub upper: f64,
    pub lower_inclusive: bool,
    pub upper_inclusive: bool,
    pub count: f64,
}

impl Bucket {
    /// The share of the bucket's width at or below a value strictly within it: by the straight line, or on the
    /// logarithmic scale on which exponential buckets are equally wide.
    pub fn fraction_below(&self, value: f64, linear: bool) -> f64 {
        if linear {
            return (value - self.lower) / (self.upper - self.lower);
        }
        let (lower, upper, at) = (self.lower.abs().log2(), self.upper.abs().log2(), value.abs().log2());
        if value > 0.0 { (at - lower) / (upper - lower) } else { 1.0 - (at - upper) / (lower - upper) }
    }
}

impl fmt::Display for Bucket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let open = if self.lower_inclusive { '[' } else { '(' };
        let close = if self.upper_inclusive { ']' } else { ')' };
        write!(f, "{open}{},{}{close}:{}", Short(self.lower), Short(self.upper), Short(self.count))
    }
}

impl Histogram {
    /// Where bucket `index` of the positive side ends.
    pub(super) fn bound(&self, index: i32) -> f64 {
        if !self.uses_custom_buckets() {
            return exponential_bound(index, self.schema);
        }
        match usize::try_from(index) {
            Err(_) => f64::NEG_INFINITY,
            Ok(at) => self.custom_values.get(at).copied().unwrap_or(f64::INFINITY),
        }
    }

    pub(super) fn positive_bucket(&self, (index, count): (i32, f64)) -> Bucket {
        let (lower, upper) = (self.bound(index.saturating_sub(1)), self.bound(index));
        let (lower_inclusive, upper_inclusive) =
            if self.uses_custom_buckets() { (index == 0, true) } else { (lower < 0.0, upper > 0.0) };
        Bucket { lower, upper, lower_inclusive, upper_inclusive, count }
    }

    pub(super) fn negative_bucket(&self, (index, count): (i32, f64)) -> Bucket {
        let (lower, upper) = (-self.bound(index), -self.bound(index.saturating_sub(1)));
        Bucket { lower, upper, lower_inclusive: lower < 0.0, upper_inclusive: upper > 0.0, count }
    }

    pub fn zero_bucket(&self) -> Bucket {
        Bucket {
            lower: -self.zero_threshold,
            upper: self.zero_threshold,
            lower_inclusive: true,
            upper_inclusive: true,
            count: self.zero_count,
        }
    }

    /// All buckets by ascending bound, the zero bucket where it holds something. Where the zero bucket reaches into a
    /// neighbour, that one begins at the threshold.
    pub fn all_buckets(&self) -> Vec<Bucket> {
        let mut buckets = Vec::with_capacity(self.positive.len() + self.negative.len() + 1);
        buckets.extend(self.negative.iter().rev().map(|bucket| self.negative_bucket(*bucket)));
        if self.zero_count > 0.0 {
            buckets.push(self.zero_bucket());
        }
        buckets.extend(self.positive.iter().map(|bucket| self.positive_bucket(*bucket)));
        let threshold = self.zero_threshold;
        for bucket in &mut buckets {
            if bucket.upper < 0.0 && bucket.upper > -threshold {
                bucket.upper = -threshold;
            } else if bucket.lower > 0.0 && bucket.lower < threshold {
                bucket.lower = threshold;
            }
        }
        buckets
    }

    /// As the text form and the JSON form show them: none that is empty, bounds as the schema has them.
    pub fn display_buckets(&self) -> Vec<Bucket> {
        let negative = self.negative.iter().rev().map(|bucket| self.negative_bucket(*bucket));
        let zero = (self.zero_count != 0.0).then(|| self.zero_bucket());
        let positive = self.positive.iter().map(|bucket| self.positive_bucket(*bucket));
        negative.filter(filled).chain(zero).chain(positive.filter(filled)).collect()
    }
}

fn filled(bucket: &Bucket) -> bool {
    bucket.count != 0.0
}

/// `2^(index · 2^-schema)`. Whole powers are exact; the highest bucket of finite values ends at the highest float.
fn exponential_bound(index: i32, schema: i8) -> f64 {
    if schema <= 0 {
        let shift = (-i32::from(schema)).min(31) as u32;
        let exponent = i64::from(index) << shift;
        return match exponent {
            // What 2^1024 would be: the bucket below infinity.
            1024 => f64::MAX,
            1025.. => f64::INFINITY,
            exponent => (exponent as f64).exp2(),
        };
    }
    let per_octave = 1i64 << schema.min(30);
    let (whole, part) = (i64::from(index).div_euclid(per_octave), i64::from(index).rem_euclid(per_octave));
    if whole == 1024 && part == 0 {
        return f64::MAX;
    }
    (part as f64 / per_octave as f64).exp2() * (whole as f64).exp2()
}
