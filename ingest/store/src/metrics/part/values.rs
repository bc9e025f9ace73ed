//! A run's values as integers of one decimal exponent, where that gives back every bit of them.

/// Powers of ten up to this are exact as `f64`, and more digits than these no decimal reading has.
const EXPONENT_MAX: usize = 18;

const POWERS: [f64; EXPONENT_MAX + 1] =
    [1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18];

/// Integers below this are exact as `f64`.
const MANTISSA_END: f64 = 9_007_199_254_740_992.0;

/// Value `i` of a run is `(base - mantissa[i]) / 10^exponent`; `base` is the run's largest integer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scale {
    pub base: i64,
    pub exponent: u8,
}

/// Appends a run's mantissas, or nothing where no exponent gives back every value bit for bit: -0.0, NaN, infinity,
/// stale markers, and values with more digits than 2^53 holds.
pub fn split(values: &[f64], mantissas: &mut Vec<i64>) -> Option<Scale> {
    let mut exponent = 0;
    for value in values {
        while integer(*value, exponent).is_none() {
            exponent += 1;
            if exponent > EXPONENT_MAX {
                return None;
            }
        }
    }
    let start = mantissas.len();
    let mut base = i64::MIN;
    for value in values {
        // An exponent found for a later value may be too much for an earlier one.
        let Some(integer) = integer(*value, exponent) else {
            mantissas.truncate(start);
            return None;
        };
        base = base.max(integer);
        mantissas.push(integer);
    }
    mantissas[start..].iter_mut().for_each(|mantissa| *mantissa = base - *mantissa);
    Some(Scale { base, exponent: exponent as u8 })
}

fn integer(value: f64, exponent: usize) -> Option<i64> {
    let scaled = value * POWERS[exponent];
    if scaled.is_nan() || scaled.abs() >= MANTISSA_END {
        return None;
    }
    let integer = (scaled + 0.5f64.copysign(scaled)) as i64;
    (joined(integer, exponent).to_bits() == value.to_bits()).then_some(integer)
}

fn joined(integer: i64, exponent: usize) -> f64 {
    integer as f64 / POWERS[exponent]
}

impl Scale {
    /// From a file: an exponent past the table is damage.
    pub fn checked(base: i64, exponent: u8) -> Option<Scale> {
        (usize::from(exponent) <= EXPONENT_MAX).then_some(Scale { base, exponent })
    }

    pub fn join(self, mantissas: &[i64], values: &mut Vec<f64>) {
        let power = POWERS[usize::from(self.exponent)];
        if self.exponent == 0 {
            values.extend(mantissas.iter().map(|mantissa| self.base.wrapping_sub(*mantissa) as f64));
        } else {
            values.extend(mantissas.iter().map(|mantissa| self.base.wrapping_sub(*mantissa) as f64 / power));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(values: &[f64], exponent: Option<u8>) {
        let mut mantissas = vec![77];
        let scale = split(values, &mut mantissas);
        assert_eq!(scale.map(|scale| scale.exponent), exponent, "{values:?}");
        let Some(scale) = scale else { return assert_eq!(mantissas, [77]) };
        assert!(mantissas[1..].iter().all(|mantissa| *mantissa >= 0), "{mantissas:?}");
        let mut again = vec![];
        scale.join(&mantissas[1..], &mut again);
        let bits = |values: &[f64]| values.iter().map(|value| value.to_bits()).collect::<Vec<_>>();
        assert_eq!(bits(&again), bits(values), "{values:?}");
    }

    #[test]
    fn values_come_back_bit_for_bit_or_are_left_alone() {
        check(&[], Some(0));
        check(&[0.0, 1.0, 5e15, -3.0], Some(0));
        check(&[0.1, 0.25, 100.0], Some(2));
        check(&[1e-18], Some(18));
        check(&[123_456_789.123_456], Some(6));
        check(&[-0.0], None);
        check(&[1.0, f64::NAN], None);
        check(&[model::stale_marker()], None);
        check(&[f64::INFINITY], None);
        check(&[1.0 / 3.0, 2.0], None);
        check(&[1e300], None);
        // Each fits an exponent, both together none.
        check(&[9_007_199_254_740_991.0, 0.001], None);
    }

    #[test]
    fn many_decimals_of_many_sizes() {
        let mut seed = 0x9e37_79b9_7f4a_7c15u64;
        for digits in 0..8i32 {
            let values: Vec<f64> = (0..500)
                .map(|_| {
                    seed =
                        seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                    let integer = ((seed >> 30) as i64) - (1 << 33);
                    integer as f64 / 10f64.powi(digits)
                })
                .collect();
            check(&values, Some(digits as u8));
        }
    }
}
