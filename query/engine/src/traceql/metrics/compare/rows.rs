//! Rows of a batch that are counted, and as what: on which side, at which step, and as how many.

use std::ops::Range;

/// What is added of one span, or of several that are counted as the same.
#[derive(Clone, Copy)]
pub(super) struct One {
    pub side: usize,
    pub step: usize,
    pub weight: f64,
}

impl One {
    fn of(cell: u32, weight: f64) -> One {
        One { side: (cell & 1) as usize, step: (cell >> 1) as usize, weight }
    }
}

pub(super) struct Rows {
    /// Where each counts once, cell by cell; otherwise as they lie.
    at: Vec<u32>,
    /// Cells, which are twice the step and one more where rows are selected, each with how many rows follow one another that are of it.
    cells: Vec<(u32, u32)>,
    /// `None` where each counts once.
    weights: Option<Vec<f64>>,
}

/// Which rows of a batch are counted, and which of these are selected.
pub(super) struct Judged {
    pub counted: Vec<bool>,
    pub selected: Vec<bool>,
}

impl Rows {
    /// `runs` are all rows of the batch, each with their step, which is one of so many. The weights are of all rows, too.
    pub fn new(
        runs: impl Iterator<Item = (usize, Range<usize>)>,
        judged: &Judged,
        weights: Option<&[f64]>,
        steps: usize,
    ) -> Rows {
        match weights {
            Some(weights) => Rows::weighed(runs, judged, weights),
            None => Rows::once(runs.collect(), judged, steps),
        }
    }

    fn once(runs: Vec<(usize, Range<usize>)>, judged: &Judged, steps: usize) -> Rows {
        let count = |of: &[bool]| of.iter().map(|one| u32::from(*one)).sum::<u32>();
        let mut counts = vec![0; 2 * steps.max(1)];
        for (step, rows) in &runs {
            let (all, selected) =
                (count(&judged.counted[rows.clone()]), count(&judged.selected[rows.clone()]));
            counts[2 * step] += all - selected;
            counts[2 * step + 1] += selected;
        }
        let cells: Vec<(u32, u32)> = (0..).zip(&counts).map(|(cell, count)| (cell, *count)).collect();
        let mut end = 0;
        for count in &mut counts {
            end += std::mem::replace(count, end);
        }
        let (mut starts, mut at) = (counts, vec![0; end as usize]);
        for (step, rows) in runs {
            let [mut next, mut next_selected] = [starts[2 * step], starts[2 * step + 1]];
            for row in rows.filter(|row| judged.counted[*row]) {
                let place = if judged.selected[row] { &mut next_selected } else { &mut next };
                at[*place as usize] = row as u32;
                *place += 1;
            }
            [starts[2 * step], starts[2 * step + 1]] = [next, next_selected];
        }
        Rows { at, cells: cells.into_iter().filter(|(_, count)| *count > 0).collect(), weights: None }
    }

    fn weighed(runs: impl Iterator<Item = (usize, Range<usize>)>, judged: &Judged, weights: &[f64]) -> Rows {
        let (mut at, mut cells): (Vec<u32>, Vec<(u32, u32)>) = (vec![], vec![]);
        for (step, rows) in runs {
            for row in rows.filter(|row| judged.counted[*row]) {
                let cell = 2 * step as u32 + u32::from(judged.selected[row]);
                at.push(row as u32);
                match cells.last_mut().filter(|(last, _)| *last == cell) {
                    Some((_, count)) => *count += 1,
                    None => cells.push((cell, 1)),
                }
            }
        }
        let weights = at.iter().map(|row| weights[*row as usize]).collect();
        Rows { at, cells, weights: Some(weights) }
    }

    pub fn is_empty(&self) -> bool {
        self.at.is_empty()
    }

    /// One by one, of each cell in their order.
    pub fn iter(&self) -> impl Iterator<Item = (usize, One)> {
        let weight = |number: usize| self.weights.as_ref().map_or(1.0, |weights| weights[number]);
        let mut end = 0;
        self.cells.iter().flat_map(move |(cell, count)| {
            let own = end..end + *count as usize;
            end = own.end;
            own.map(move |number| (self.at[number] as usize, One::of(*cell, weight(number))))
        })
    }

    /// All of them, as few as they can be added as.
    pub fn sums(&self) -> impl Iterator<Item = One> {
        let cells = if self.weights.is_some() { &[][..] } else { &self.cells };
        let sums = cells.iter().map(|(cell, count)| One::of(*cell, f64::from(*count)));
        let each = self.weights.is_some().then(|| self.iter().map(|(_, one)| one));
        sums.chain(each.into_iter().flatten())
    }

    /// Those of each cell, where each row counts once.
    pub fn by_cells(&self) -> Option<impl Iterator<Item = (One, &[u32])>> {
        let mut rest = &self.at[..];
        let cells = self.cells.iter().map(move |(cell, count)| {
            let (own, others) = rest.split_at(*count as usize);
            rest = others;
            (One::of(*cell, 1.0), own)
        });
        self.weights.is_none().then_some(cells)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_added_up_where_each_counts_once() {
        let judged = Judged {
            counted: vec![true, false, false, true, true, true],
            selected: vec![true, false, false, false, true, false],
        };
        let runs = || [(2, 0..2), (0, 2..4), (2, 4..6)].into_iter();
        let told = |ones: &mut dyn Iterator<Item = One>| -> Vec<(usize, usize, f64)> {
            ones.map(|one| (one.side, one.step, one.weight)).collect()
        };
        let each = |rows: &Rows| rows.iter().map(|(row, one)| (row, one.step, one.side)).collect::<Vec<_>>();
        let once = Rows::new(runs(), &judged, None, 3);
        assert_eq!(each(&once), [(3, 0, 0), (5, 2, 0), (0, 2, 1), (4, 2, 1)]);
        assert_eq!(told(&mut once.sums()), [(0, 0, 1.0), (0, 2, 1.0), (1, 2, 2.0)]);
        let by_cells = |rows: &Rows| -> Option<Vec<(usize, usize, Vec<u32>)>> {
            Some(rows.by_cells()?.map(|(one, rows)| (one.side, one.step, rows.to_vec())).collect())
        };
        assert_eq!(by_cells(&once), Some(vec![(0, 0, vec![3]), (0, 2, vec![5]), (1, 2, vec![0, 4])]));
        let weighed = Rows::new(runs(), &judged, Some(&[2.0, 9.0, 9.0, 4.0, 1.5, 0.5]), 3);
        assert_eq!(each(&weighed), [(0, 2, 1), (3, 0, 0), (4, 2, 1), (5, 2, 0)]);
        assert_eq!(told(&mut weighed.sums()), [(1, 2, 2.0), (0, 0, 4.0), (1, 2, 1.5), (0, 2, 0.5)]);
        assert_eq!(by_cells(&weighed), None);
        let none = Judged { counted: vec![], selected: vec![] };
        assert!(Rows::new([].into_iter(), &none, None, 3).is_empty());
    }
}
