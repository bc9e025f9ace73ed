//! Ascending, disjoint ranges of rows.

use std::ops::Range;

/// To share less costs more than it saves.
const PAGES_OF_A_SHARE: usize = 16;

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

    /// The rows of one, counted from 0, of so many shares; all is the first one's where there are few. No share begins within
    /// a page, which two would read.
    pub fn share(&self, (at, of): (usize, usize), page_rows: usize) -> Ranges {
        let rows: usize = self.0.iter().map(Range::len).sum();
        let cut = |share: usize| {
            if share == 0 || share >= of || rows < of * PAGES_OF_A_SHARE * page_rows {
                return if share == 0 { 0 } else { usize::MAX };
            }
            let mut before = rows * share / of;
            for range in &self.0 {
                match before.checked_sub(range.len()) {
                    Some(left) => before = left,
                    None => return (range.start + before) / page_rows * page_rows,
                }
            }
            usize::MAX
        };
        self.and(&Ranges::new(std::iter::once(cut(at)..cut(at + 1))))
    }

    pub fn contains(&self, row: usize) -> bool {
        let after = self.0.partition_point(|range| range.start <= row);
        after > 0 && row < self.0[after - 1].end
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
    fn shares_are_all_rows_once_and_whole_pages() {
        let all = Ranges::new([3..1_000, 2_000..9_000, 20_000..20_001]);
        for of in 1..6 {
            let shares: Vec<Ranges> = (0..of).map(|at| all.share((at, of), 10)).collect();
            let rows = |ranges: &Ranges| ranges.0.iter().flat_map(Clone::clone).collect::<Vec<usize>>();
            assert_eq!(shares.iter().flat_map(rows).collect::<Vec<_>>(), rows(&all), "{of}");
            assert!(shares.iter().skip(1).all(|share| share.0[0].start % 10 == 0), "{shares:?}");
            let largest = shares.iter().map(|share| rows(share).len()).max().unwrap();
            assert!(largest <= rows(&all).len() / of + 20, "{largest}");
        }
        let few = Ranges::new(std::iter::once(5..100));
        assert_eq!(few.share((0, 2), 10), few);
        assert!(few.share((1, 2), 10).is_empty());
    }

    #[test]
    fn both_is_what_is_in_each() {
        let a = Ranges::new([0..10, 10..12, 20..30]);
        assert_eq!(a.0, [0..12, 20..30]);
        assert_eq!(a.and(&Ranges::new([5..25, 29..40])).0, [5..12, 20..25, 29..30]);
        assert!(a.and(&Ranges::default()).is_empty());
        let inside: Vec<usize> = (0..40).filter(|row| a.contains(*row)).collect();
        assert_eq!(inside, (0..12).chain(20..30).collect::<Vec<_>>());
    }
}
