//! Arithmetic on histograms, as Prometheus does it: schemas come down to the coarser one, zero buckets grow to the
//! wider one, custom bounds shrink to the shared ones. Sums of many keep their low digits beside (`compensation`).

use super::{Bucket, CUSTOM_BUCKETS_SCHEMA, Histogram, ResetHint};
use std::sync::Arc;

/// What a reader should be told of a sum or difference.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Combined {
    /// One side says that a counter began anew, the other that it did not.
    pub hints_collide: bool,
    /// The custom bounds were not the same.
    pub bounds_reconciled: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("cannot apply this operation on histograms with a mix of exponential and custom bucket schemas")]
pub struct IncompatibleSchemas;

type Buckets = Vec<(i32, f64)>;

/// Adds, and keeps in `lost` what rounding took (Neumaier).
fn add(sum: &mut f64, lost: &mut f64, value: f64) {
    let total = *sum + value;
    if total.is_infinite() {
        *lost = 0.0;
    } else if sum.abs() >= value.abs() {
        *lost += (*sum - total) + value;
    } else {
        *lost += (value - total) + *sum;
    }
    *sum = total;
}

impl Histogram {
    pub fn scaled(mut self, factor: f64) -> Histogram {
        self.each(|number| *number *= factor);
        if factor < 0.0 {
            self.hint = ResetHint::Gauge;
        }
        self
    }

    /// By zero, there are no buckets left.
    pub fn divided(mut self, by: f64) -> Histogram {
        self.each(|number| *number /= by);
        if by == 0.0 {
            self.positive.clear();
            self.negative.clear();
        } else if by < 0.0 {
            self.hint = ResetHint::Gauge;
        }
        self
    }

    fn each(&mut self, change: impl Fn(&mut f64)) {
        [&mut self.zero_count, &mut self.count, &mut self.sum].into_iter().for_each(&change);
        self.positive.iter_mut().chain(&mut self.negative).for_each(|(_, count)| change(count));
    }

    /// Without empty buckets.
    pub fn compact(mut self) -> Histogram {
        self.positive.retain(|(_, count)| *count != 0.0);
        self.negative.retain(|(_, count)| *count != 0.0);
        self
    }

    pub fn has_overflow(&self) -> bool {
        let counts = self.positive.iter().chain(&self.negative).map(|(_, count)| *count);
        counts.chain([self.zero_count, self.count, self.sum]).any(f64::is_infinite)
    }

    pub fn add(&mut self, other: &Histogram) -> Result<Combined, IncompatibleSchemas> {
        self.combine(other, 1.0, None)
    }

    pub fn subtract(&mut self, other: &Histogram) -> Result<Combined, IncompatibleSchemas> {
        self.combine(other, -1.0, None)
    }

    /// As [`add`](Self::add); what rounding took is kept in `compensation`, to be added at the end of a sum.
    pub fn add_compensated(
        &mut self,
        other: &Histogram,
        compensation: &mut Option<Histogram>,
    ) -> Result<Combined, IncompatibleSchemas> {
        let empty = Histogram {
            schema: self.schema,
            hint: self.hint,
            zero_threshold: self.zero_threshold,
            custom_values: self.custom_values.clone(),
            ..Histogram::default()
        };
        let kept = compensation.get_or_insert(empty);
        self.combine(other, 1.0, Some(kept))
    }

    fn combine(
        &mut self,
        other: &Histogram,
        sign: f64,
        lost: Option<&mut Histogram>,
    ) -> Result<Combined, IncompatibleSchemas> {
        if self.uses_custom_buckets() != other.uses_custom_buckets() {
            return Err(IncompatibleSchemas);
        }
        let mut unused = Histogram::default();
        let compensated = lost.is_some();
        let lost = lost.unwrap_or(&mut unused);
        let hints_collide = self.join_hints(other.hint);
        add(&mut self.count, &mut lost.count, sign * other.count);
        add(&mut self.sum, &mut lost.sum, sign * other.sum);
        if self.uses_custom_buckets() {
            let bounds_reconciled = self.custom_values != other.custom_values;
            if bounds_reconciled {
                self.combine_bounds(other, sign, lost);
            } else {
                merge(&mut self.positive, &mut lost.positive, &other.positive, sign);
            }
            return Ok(Combined { hints_collide, bounds_reconciled });
        }
        let mut other_zero = other.zero_count;
        let mut other_threshold = other.zero_threshold;
        while other_threshold != self.zero_threshold {
            if self.zero_threshold > other_threshold {
                (other_zero, other_threshold) = other.zero_count_up_to(self.zero_threshold);
            }
            if other_threshold > self.zero_threshold {
                self.widen_zero(other_threshold, lost);
            }
        }
        add(&mut self.zero_count, &mut lost.zero_count, sign * other_zero);
        let schema = self.schema.min(other.schema);
        if compensated {
            lost.reduce_to(self.schema, schema);
        }
        self.reduce_to(self.schema, schema);
        let mine = [(&mut self.positive, &mut lost.positive), (&mut self.negative, &mut lost.negative)];
        for ((mine, lost), theirs) in mine.into_iter().zip([&other.positive, &other.negative]) {
            let mut theirs = reduced(theirs, other.schema, schema);
            // What lies within the zero bucket was counted with it.
            let threshold = self.zero_threshold;
            let shape = Histogram { schema, ..Histogram::default() };
            theirs.retain(|(index, _)| shape.bound(*index) > threshold);
            merge(mine, lost, &theirs, sign);
        }
        self.schema = schema;
        lost.schema = schema;
        lost.zero_threshold = self.zero_threshold;
        Ok(Combined { hints_collide, bounds_reconciled: false })
    }

    fn join_hints(&mut self, other: ResetHint) -> bool {
        use ResetHint::*;
        match (self.hint, other) {
            (mine, theirs) if mine == theirs => {}
            (Gauge, _) => {}
            (_, Gauge) => self.hint = Gauge,
            (Unknown, _) => {}
            (_, Unknown) => self.hint = Unknown,
            _ => {
                self.hint = Unknown;
                return true;
            }
        }
        false
    }

    /// Both sides counted by the bounds that both have.
    fn combine_bounds(&mut self, other: &Histogram, sign: f64, lost: &mut Histogram) {
        let shared: Arc<[f64]> =
            self.custom_values.iter().copied().filter(|bound| other.custom_values.contains(bound)).collect();
        let mut sums = vec![0.0; shared.len() + 1];
        let mut lows = vec![0.0; shared.len() + 1];
        let mut put = |buckets: &Buckets, bounds: &[f64], sign: f64| {
            for (index, count) in buckets {
                let bound = usize::try_from(*index).ok().and_then(|at| bounds.get(at));
                let target =
                    bound.map_or(shared.len(), |bound| shared.partition_point(|known| known < bound));
                add(&mut sums[target], &mut lows[target], sign * count);
            }
        };
        put(&self.positive, &self.custom_values, 1.0);
        put(&lost.positive, &self.custom_values, 1.0);
        put(&other.positive, &other.custom_values, sign);
        let pairs = sums.iter().zip(&lows).enumerate().filter(|(_, (sum, low))| **sum != 0.0 || **low != 0.0);
        let kept: Vec<(i32, f64, f64)> = pairs.map(|(at, (sum, low))| (at as i32, *sum, *low)).collect();
        self.positive = kept.iter().map(|(at, sum, _)| (*at, *sum)).collect();
        lost.positive = kept.iter().map(|(at, _, low)| (*at, *low)).collect();
        self.custom_values = shared.clone();
        lost.custom_values = shared;
    }

    /// What the zero bucket would hold with a wider threshold; one within a bucket that holds something grows to that
    /// bucket's end.
    fn zero_count_up_to(&self, threshold: f64) -> (f64, f64) {
        let mut threshold = threshold;
        loop {
            let (mut count, mut low) = (self.zero_count, 0.0);
            let mut grown = threshold;
            for bucket in &self.positive {
                let Bucket { lower, upper, count: held, .. } = self.positive_bucket(*bucket);
                if lower >= grown {
                    break;
                }
                add(&mut count, &mut low, held);
                if upper > grown {
                    if held != 0.0 {
                        grown = upper;
                    }
                    break;
                }
            }
            threshold = grown;
            for bucket in &self.negative {
                let Bucket { lower, upper, count: held, .. } = self.negative_bucket(*bucket);
                if upper <= -threshold {
                    break;
                }
                add(&mut count, &mut low, held);
                if lower < -threshold {
                    if held != 0.0 {
                        grown = -lower;
                    }
                    break;
                }
            }
            if grown == threshold {
                return (count + low, threshold);
            }
            // The positive side was counted with a threshold that was too small.
            threshold = grown;
        }
    }

    fn widen_zero(&mut self, threshold: f64, lost: &mut Histogram) {
        let (count, threshold) = self.zero_count_up_to(threshold);
        let (lost_count, _) = {
            let within = |bound: f64| bound <= threshold;
            let lows = lost.positive.iter().chain(&lost.negative);
            let low: f64 = lows.filter(|(index, _)| within(self.bound(*index))).map(|(_, low)| *low).sum();
            (lost.zero_count + low, ())
        };
        (self.zero_count, self.zero_threshold) = (count, threshold);
        lost.zero_count = lost_count;
        let shape = Histogram { schema: self.schema, ..Histogram::default() };
        let outside = |bucket: &(i32, f64)| shape.bound(bucket.0.saturating_sub(1)) >= threshold;
        for buckets in [&mut self.positive, &mut self.negative, &mut lost.positive, &mut lost.negative] {
            buckets.retain(outside);
        }
    }

    fn reduce_to(&mut self, from: i8, schema: i8) {
        if from != schema {
            self.positive = reduced(&self.positive, from, schema);
            self.negative = reduced(&self.negative, from, schema);
        }
    }

    /// At a coarser (or the same) exponential schema.
    pub fn at_schema(mut self, schema: i8) -> Histogram {
        if schema < self.schema && schema != CUSTOM_BUCKETS_SCHEMA && !self.uses_custom_buckets() {
            self.reduce_to(self.schema, schema);
            self.schema = schema;
            self.hint = ResetHint::Unknown;
        }
        self
    }

    /// Whether the counter behind it began anew after `previous`: said by the hint, else seen by any count that fell.
    pub fn detects_reset(&self, previous: &Histogram) -> bool {
        match self.hint {
            ResetHint::Reset => return true,
            ResetHint::NotReset => return false,
            ResetHint::Unknown | ResetHint::Gauge => {}
        }
        if self.count < previous.count {
            return true;
        }
        if self.uses_custom_buckets() {
            if !previous.uses_custom_buckets() {
                return true;
            }
            if self.custom_values != previous.custom_values {
                return self.shared_bound_fell(previous);
            }
            return fell(&self.positive, &previous.positive);
        }
        // Finer than before is only possible in a new life, and so is every exponential schema after custom bounds.
        if self.schema > previous.schema || self.zero_threshold < previous.zero_threshold {
            return true;
        }
        let (previous_zero, threshold) = if self.zero_threshold == previous.zero_threshold {
            (previous.zero_count, previous.zero_threshold)
        } else {
            previous.zero_count_up_to(self.zero_threshold)
        };
        if threshold != self.zero_threshold || self.zero_count < previous_zero {
            return true;
        }
        let shape = Histogram { schema: self.schema, ..Histogram::default() };
        let beyond = |buckets: &Buckets, schema: i8| {
            let mut buckets = reduced(buckets, schema, self.schema);
            buckets.retain(|(index, _)| shape.bound(*index) > threshold);
            buckets
        };
        [(&self.positive, &previous.positive), (&self.negative, &previous.negative)]
            .into_iter()
            .any(|(now, before)| fell(&beyond(now, self.schema), &beyond(before, previous.schema)))
    }

    fn shared_bound_fell(&self, previous: &Histogram) -> bool {
        let rolled = |histogram: &Histogram, from: f64, to: f64| -> f64 {
            let buckets = histogram.positive.iter();
            let within = buckets.filter(|(index, _)| {
                let bound = histogram.bound(*index);
                bound > from && bound <= to
            });
            within.map(|(_, count)| *count).sum()
        };
        let shared =
            self.custom_values.iter().copied().filter(|bound| previous.custom_values.contains(bound));
        let mut from = f64::NEG_INFINITY;
        for to in shared.chain([f64::INFINITY]) {
            if rolled(self, from, to) < rolled(previous, from, to) {
                return true;
            }
            from = to;
        }
        false
    }

    /// Only the observations below (`upper`) or above a value, as far as buckets tell.
    pub fn trimmed(mut self, at: f64, upper: bool) -> Histogram {
        let custom = self.uses_custom_buckets();
        let (mut count, mut sum, mut is_trimmed) = (0.0, 0.0, false);
        let mut filled = [false, false];
        let shape = Histogram { positive: vec![], negative: vec![], ..self.clone() };
        for (side, buckets) in [&mut self.positive, &mut self.negative].into_iter().enumerate() {
            let positive = side == 0;
            for slot in buckets.iter_mut().filter(|(_, held)| *held != 0.0) {
                let bucket =
                    if positive { shape.positive_bucket(*slot) } else { shape.negative_bucket(*slot) };
                filled[side] = true;
                let (all, part) = if upper {
                    (bucket.upper <= at, bucket.lower < at)
                } else {
                    (bucket.lower >= at, bucket.upper > at)
                };
                let (kept, middle) = if all {
                    (bucket.count, midpoint(bucket.lower, bucket.upper, positive, custom))
                } else if part {
                    trimmed_bucket(&bucket, at, upper, positive, custom)
                } else {
                    (0.0, 0.0)
                };
                count += kept;
                sum += middle * kept;
                if slot.1 != kept {
                    slot.1 = kept;
                    is_trimmed = true;
                }
            }
        }
        if self.zero_count > 0.0 {
            let (kept, middle) = trimmed_zero(&self.zero_bucket(), at, upper, filled);
            is_trimmed |= kept != self.zero_count;
            self.zero_count = kept;
            sum += middle * kept;
            count += kept;
        }
        if !is_trimmed {
            return self;
        }
        (self.count, self.sum) = (count, sum);
        self.compact()
    }
}

fn trimmed_zero(zero: &Bucket, at: f64, upper: bool, [has_positive, has_negative]: [bool; 2]) -> (f64, f64) {
    let low = if has_positive && !has_negative { 0.0 } else { zero.lower };
    let high = if has_negative && !has_positive { 0.0 } else { zero.upper };
    let whole = (zero.count, (low + high) / 2.0);
    match (upper, at <= low, at >= high) {
        (true, true, _) | (false, false, true) => (0.0, 0.0),
        (true, _, true) | (false, true, _) => whole,
        (true, ..) => (zero.count * (at - low) / (high - low), (low + at) / 2.0),
        (false, ..) => (zero.count * (high - at) / (high - low), (at + high) / 2.0),
    }
}

fn trimmed_bucket(bucket: &Bucket, at: f64, upper: bool, positive: bool, custom: bool) -> (f64, f64) {
    if bucket.lower == f64::NEG_INFINITY || bucket.upper == f64::INFINITY {
        return trimmed_endless(bucket, at, upper);
    }
    let under = if at <= bucket.lower {
        0.0
    } else if at >= bucket.upper {
        bucket.count
    } else {
        bucket.count * bucket.fraction_below(at, custom)
    };
    match upper {
        true => (under, midpoint(bucket.lower, at, positive, custom)),
        false => (bucket.count - under, midpoint(at, bucket.upper, positive, custom)),
    }
}

/// Of a bucket without an end nothing is known but its one bound; where zero can stand for the other, it does.
fn trimmed_endless(bucket: &Bucket, at: f64, upper: bool) -> (f64, f64) {
    let finite = |bound: f64| if bound.is_infinite() { 0.0 } else { bound };
    let Bucket { lower, upper: top, count, .. } = *bucket;
    if lower == f64::NEG_INFINITY {
        if upper {
            if at >= top {
                return (count, 0.0);
            }
            if at > 0.0 && top > 0.0 && top != f64::INFINITY {
                return (count * at / top, at / 2.0);
            }
            if top <= 0.0 {
                return (count, at);
            }
            return (0.0, finite(top));
        }
        if at <= lower {
            return (count, 0.0);
        }
        if at >= 0.0 && top > at && top != f64::INFINITY {
            return (count * (1.0 - at / top), (at + top) / 2.0);
        }
        return (0.0, finite(top));
    }
    if !upper && at >= lower { (count, at) } else { (0.0, finite(lower)) }
}

fn midpoint(lower: f64, upper: f64, positive: bool, linear: bool) -> f64 {
    match (lower.is_infinite(), upper.is_infinite()) {
        (true, true) => 0.0,
        (true, false) if upper > 0.0 => upper / 2.0,
        (true, false) => upper,
        (false, true) => lower,
        _ if linear => (lower + upper) / 2.0,
        _ => {
            let middle = (lower * upper).abs().sqrt();
            if positive { middle } else { -middle }
        }
    }
}

/// Buckets of a schema by the bounds of a coarser one.
fn reduced(buckets: &Buckets, from: i8, to: i8) -> Buckets {
    let shift = (i32::from(from) - i32::from(to)).clamp(0, 31);
    if shift == 0 {
        return buckets.clone();
    }
    let mut out: Buckets = Vec::with_capacity(buckets.len());
    for (index, count) in buckets {
        let target = ((index - 1) >> shift) + 1;
        match out.last_mut() {
            Some((last, sum)) if *last == target => *sum += count,
            _ => out.push((target, *count)),
        }
    }
    out
}

/// Adds `theirs` times `sign` to `mine`, what rounding took to `lost`, which gets the same indices as `mine`.
fn merge(mine: &mut Buckets, lost: &mut Buckets, theirs: &Buckets, sign: f64) {
    let mut sums: Buckets = Vec::with_capacity(mine.len() + theirs.len());
    let mut lows: Buckets = Vec::with_capacity(mine.len() + theirs.len());
    let low_at = |index: i32| match lost.binary_search_by_key(&index, |(known, _)| *known) {
        Ok(at) => lost[at].1,
        Err(_) => 0.0,
    };
    let (mut a, mut b) = (mine.iter().peekable(), theirs.iter().peekable());
    loop {
        let next = match (a.peek(), b.peek()) {
            (None, None) => break,
            (Some((index, _)), None) | (None, Some((index, _))) => *index,
            (Some((x, _)), Some((y, _))) => *x.min(y),
        };
        let held = a.next_if(|(index, _)| *index == next);
        let added = b.next_if(|(index, _)| *index == next);
        let (mut sum, mut low) = match held {
            Some((_, count)) => (*count, low_at(next)),
            None => (0.0, 0.0),
        };
        if let Some((_, count)) = added {
            add(&mut sum, &mut low, sign * count);
        }
        sums.push((next, sum));
        lows.push((next, low));
    }
    (*mine, *lost) = (sums, lows);
}

/// Whether a bucket that held something holds less now.
fn fell(now: &Buckets, before: &Buckets) -> bool {
    before.iter().any(|(index, count)| match now.binary_search_by_key(index, |(known, _)| *known) {
        Ok(at) => now[at].1 < *count,
        Err(_) => *count != 0.0,
    })
}
