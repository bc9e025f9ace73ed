//! Values in ascending order, each of which stands for some: a request that a sampler kept stands for those that it did not.
//!
//! Where each stands for itself alone, all that is said here is what it is of the plain values.

use std::ops::Range;

/// A value, and how many it stands for.
pub(super) type Of = (f64, f64);

pub(super) struct Weighted {
    values: Vec<f64>,
    /// How many stand before each value, and behind the last of them all.
    before: Vec<f64>,
}

impl Weighted {
    /// Holds no NaN.
    pub fn of(mut each: Vec<Of>) -> Weighted {
        each.sort_by(|a, b| a.0.total_cmp(&b.0));
        let mut before = Vec::with_capacity(each.len() + 1);
        let mut sum = 0.0;
        before.push(sum);
        before.extend(each.iter().map(|(_, weight)| {
            sum += weight;
            sum
        }));
        Weighted { values: each.into_iter().map(|(value, _)| value).collect(), before }
    }

    pub fn all(&self) -> Values<'_> {
        Values { values: &self.values, before: &self.before }
    }
}

/// All, or those up to one.
#[derive(Clone, Copy)]
pub(super) struct Values<'a> {
    values: &'a [f64],
    before: &'a [f64],
}

impl<'a> Values<'a> {
    pub fn len(self) -> usize {
        self.values.len()
    }

    pub fn until(self, end: usize) -> Values<'a> {
        Values { values: &self.values[..end], before: &self.before[..=end] }
    }

    pub fn at(self, at: usize) -> f64 {
        self.values[at]
    }

    /// Each with how many it stands for.
    pub fn iter(self) -> impl Iterator<Item = Of> + 'a {
        let weights = self.before.windows(2).map(|pair| pair[1] - pair[0]);
        self.values.iter().copied().zip(weights)
    }

    /// How many all stand for.
    pub fn weight(self) -> f64 {
        self.before[self.len()]
    }

    pub fn weight_of(self, at: Range<usize>) -> f64 {
        (self.before[at.end.max(at.start)] - self.before[at.start]).max(0.0)
    }

    pub fn mean_of(self, at: Range<usize>) -> f64 {
        let weight = self.weight_of(at.clone());
        let sum: f64 = self.iter().skip(at.start).take(at.len()).map(|(value, weight)| value * weight).sum();
        sum / weight
    }

    /// The first that is more than `value`, or one that is no less.
    pub fn first_above(self, value: f64) -> usize {
        self.values.partition_point(|other| *other <= value)
    }

    pub fn first_from(self, value: f64) -> usize {
        self.values.partition_point(|other| *other < value)
    }

    /// 0 of none.
    pub fn quantile(self, share: f64) -> f64 {
        let target = ((self.weight() - 1.0).max(0.0) * share).round();
        let at = self.before.partition_point(|before| *before <= target).saturating_sub(1);
        let last = self.len().saturating_sub(1);
        self.values.get(at.min(last)).copied().unwrap_or(0.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_that_stands_for_three_is_as_three() {
        let kept = Weighted::of(vec![(5.0, 1.0), (1.0, 3.0), (9.0, 2.0)]);
        let all = Weighted::of([1.0, 1.0, 1.0, 5.0, 9.0, 9.0].map(|value| (value, 1.0)).to_vec());
        for share in [0.0, 0.2, 0.25, 0.5, 0.6, 0.75, 0.95, 1.0] {
            assert_eq!(kept.all().quantile(share), all.all().quantile(share), "{share}");
        }
        assert_eq!((kept.all().weight(), all.all().weight()), (6.0, 6.0));
        assert_eq!((kept.all().weight_of(1..3), kept.all().until(2).weight()), (3.0, 4.0));
        assert_eq!((kept.all().mean_of(0..3), all.all().mean_of(0..6)), (26.0 / 6.0, 26.0 / 6.0));
        assert_eq!((kept.all().first_above(5.0), kept.all().first_from(5.0)), (2, 1));
    }

    #[test]
    fn of_values_that_stand_for_themselves_quantiles_are_the_nearest() {
        let values = Weighted::of((0..10).map(|value| (f64::from(value), 1.0)).collect());
        for (share, expected) in [(0.0, 0.0), (0.25, 2.0), (0.5, 5.0), (0.95, 9.0), (1.0, 9.0)] {
            assert_eq!(values.all().quantile(share), expected, "{share}");
        }
        assert_eq!(Weighted::of(vec![]).all().quantile(0.5), 0.0);
    }
}
