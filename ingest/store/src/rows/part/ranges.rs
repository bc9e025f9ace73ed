//! Ascending, disjoint ranges of rows.

use std::ops::Range;

#[derive(Debug, Default, PartialEq)]
pub struct Ranges(pub Vec<Range<usize>>);

impl Ranges {
    /// From ranges in ascending order of their starts; those that touch or overlap become one.
    pub fn new(ranges: impl IntoIterator<Item = Range<usize>>) -> Ranges {
        let mut joined: Vec<Range<usize>> = vec![];
        for range in ranges.into_iter().filter(|range| !range.is_empty()) {
            match joined.last_mut() {
                Some(last) if range.start <= last.end => last.end = last.end.max(range.end),
                _ => joined.push(range),
            }
        }
        Ranges(joined)
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Rows that are in both.
    pub fn and(&self, other: &Ranges) -> Ranges {
        let (mut a, mut b) = (self.0.iter().peekable(), other.0.iter().peekable());
        let mut both = vec![];
        while let (Some(x), Some(y)) = (a.peek(), b.peek()) {
            let common = x.start.max(y.start)..x.end.min(y.end);
            if !common.is_empty() {
                both.push(common);
            }
            if x.end <= y.end {
                a.next();
            } else {
                b.next();
            }
        }
        Ranges(both)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_is_what_is_in_each() {
        let a = Ranges::new([0..10, 10..12, 20..30]);
        assert_eq!(a.0, [0..12, 20..30]);
        assert_eq!(a.and(&Ranges::new([5..25, 29..40])).0, [5..12, 20..25, 29..30]);
        assert!(a.and(&Ranges::default()).is_empty());
    }
}
