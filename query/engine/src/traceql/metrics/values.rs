//! Values of one group and step: for quantiles as they came, each as often as it counts, and for histograms how many there
//! are below each power of two.

/// Weights are kept from the first on that is not 1.
#[derive(Default, Clone)]
pub(super) struct Values {
    values: Vec<f64>,
    /// Empty, or one of each value.
    weights: Vec<f64>,
}

impl Values {
    /// The bytes that it took.
    pub fn push(&mut self, value: f64, weight: f64) -> usize {
        if weight != 1.0 && self.weights.is_empty() {
            self.weights = vec![1.0; self.values.len()];
        }
        self.values.push(value);
        if weight == 1.0 && self.weights.is_empty() {
            return size_of::<f64>();
        }
        self.weights.push(weight);
        2 * size_of::<f64>()
    }

    pub fn absorb(&mut self, other: Values) {
        if !self.weights.is_empty() || !other.weights.is_empty() {
            self.weights.resize(self.values.len(), 1.0);
            self.weights.extend(other.iter().map(|(_, weight)| weight));
        }
        self.values.extend(other.values);
    }

    pub fn iter(&self) -> impl Iterator<Item = (f64, f64)> {
        let weights = self.weights.iter().copied().chain(std::iter::repeat(1.0));
        self.values.iter().copied().zip(weights)
    }

    /// As if each value were there as often as it counts; between two of them in proportion.
    pub fn quantile(&mut self, q: f64) -> Option<f64> {
        let last = self.values.len().checked_sub(1)?;
        if self.weights.is_empty() {
            let rank = q.clamp(0.0, 1.0) * last as f64;
            // Nobody asks for the order of the others.
            let (_, lower, above) = self.values.select_nth_unstable_by(rank as usize, f64::total_cmp);
            let upper = above.iter().copied().min_by(f64::total_cmp).unwrap_or(*lower);
            return Some(between(*lower, upper, rank.fract()));
        }
        self.sort();
        let total = self.weights.iter().sum::<f64>();
        let rank = q.clamp(0.0, 1.0) * (total - 1.0).max(0.0);
        let (lower, upper) = (self.at(rank.floor()), self.at(rank.floor() + 1.0));
        Some(between(lower, upper, rank.fract()))
    }

    fn sort(&mut self) {
        let mut pairs: Vec<(f64, f64)> = self.iter().collect();
        pairs.sort_unstable_by(|a, b| a.0.total_cmp(&b.0));
        (self.values, self.weights) = pairs.into_iter().unzip();
    }

    /// The value in whose share of the whole a place lies.
    fn at(&self, place: f64) -> f64 {
        let last = self.values.len() - 1;
        let mut before = 0.0;
        for (value, weight) in self.iter() {
            before += weight;
            if place < before {
                return value;
            }
        }
        self.values[last]
    }
}

/// How often values count, by the power of two that bounds them from above. Nothing is counted that is not above 0.
#[derive(Default, Clone)]
pub(super) struct Powers {
    lowest: i32,
    counts: Vec<f64>,
}

impl Powers {
    /// The bytes that it took.
    pub fn add(&mut self, value: f64, weight: f64) -> usize {
        if value.is_nan() || value <= 0.0 {
            return 0;
        }
        let before = self.counts.len();
        *self.at(power(value)) += weight;
        (self.counts.len() - before) * size_of::<f64>()
    }

    fn at(&mut self, power: i32) -> &mut f64 {
        if self.counts.is_empty() {
            self.lowest = power;
        }
        if power < self.lowest {
            let missing = (self.lowest - power) as usize;
            self.counts.splice(0..0, std::iter::repeat_n(0.0, missing));
            self.lowest = power;
        }
        let place = (power - self.lowest) as usize;
        if place >= self.counts.len() {
            self.counts.resize(place + 1, 0.0);
        }
        &mut self.counts[place]
    }

    pub fn absorb(&mut self, other: &Powers) {
        other.iter().for_each(|(power, count)| *self.at(power) += count);
    }

    pub fn iter(&self) -> impl Iterator<Item = (i32, f64)> {
        (self.lowest..).zip(self.counts.iter().copied()).filter(|(_, count)| *count > 0.0)
    }
}

/// The least power of two that is not below a value above 0: read off its exponent, as a logarithm for each span is what a
/// histogram took most of its time for.
fn power(value: f64) -> i32 {
    let bits = value.to_bits();
    let exponent = (bits >> (f64::MANTISSA_DIGITS - 1)) as i32;
    if exponent == 0 || value.is_infinite() {
        return value.log2().ceil().min(f64::from(f64::MAX_EXP)) as i32;
    }
    let exact = bits.trailing_zeros() >= f64::MANTISSA_DIGITS - 1;
    exponent - (f64::MAX_EXP - 1) + i32::from(!exact)
}

/// Also where one of them is infinite.
fn between(lower: f64, upper: f64, share: f64) -> f64 {
    if share == 0.0 { lower } else { lower * (1.0 - share) + upper * share }
}

#[cfg(test)]
mod tests {
    use super::{Powers, Values};

    fn of(pairs: &[(f64, f64)]) -> Values {
        let mut values = Values::default();
        pairs.iter().for_each(|(value, weight)| {
            values.push(*value, *weight);
        });
        values
    }

    #[test]
    fn a_value_that_counts_thrice_is_there_three_times() {
        let mut thrice = of(&[(5.0, 1.0), (1.0, 3.0), (9.0, 2.0)]);
        let mut apart = of(&[(1.0, 1.0), (9.0, 1.0), (1.0, 1.0), (5.0, 1.0), (1.0, 1.0), (9.0, 1.0)]);
        for q in [0.0, 0.1, 0.25, 0.5, 0.55, 0.7, 0.9, 0.99, 1.0] {
            let (a, b) = (thrice.quantile(q).unwrap(), apart.quantile(q).unwrap());
            assert!((a - b).abs() < 1e-12, "{q}: {a} {b}");
        }
        assert_eq!(thrice.quantile(0.5), Some(3.0));
        assert_eq!(of(&[]).quantile(0.5), None);
        assert_eq!(of(&[(2.0, 0.5)]).quantile(0.9), Some(2.0));
        assert_eq!(of(&[(2.0, 1.0), (f64::INFINITY, 1.0)]).quantile(0.0), Some(2.0));
    }

    #[test]
    fn a_power_bounds_its_values() {
        for (value, power) in [
            (1.0, 0),
            (1.000_000_1, 1),
            (0.5, -1),
            (0.3, -1),
            (0.25, -2),
            (3.0, 2),
            (4.0, 2),
            (1e-9, -29),
            (1e300, 997),
            (f64::MIN_POSITIVE, -1022),
            (5e-324, -1074),
            (f64::MAX, 1024),
            (f64::INFINITY, 1024),
        ] {
            let mut one = Powers::default();
            one.add(value, 2.0);
            assert_eq!(one.iter().collect::<Vec<_>>(), [(power, 2.0)], "{value}");
        }
        let mut many = Powers::default();
        for value in [3.0, 0.3, f64::NAN, 0.0, -1.0, 70.0, 0.3] {
            many.add(value, 1.0);
        }
        let mut other = Powers::default();
        other.add(0.01, 1.0);
        other.add(3.5, 4.0);
        many.absorb(&other);
        assert_eq!(many.iter().collect::<Vec<_>>(), [(-6, 1.0), (-1, 2.0), (2, 5.0), (7, 1.0)]);
    }
}
