//! Rows of a batch that are counted, and as what: on which side, at which step, and as how many.

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
    at: Vec<u32>,
    /// Of each twice its step, and one more where it is selected.
    cells: Vec<u32>,
    /// `None` where each counts once.
    weights: Option<Vec<f64>>,
    /// How many are of each cell; empty where they have weights, whose sums depend on their order.
    sums: Vec<(u32, u32)>,
    /// Where each counts once, cell by cell, in their order.
    by_cell: Vec<u32>,
}

impl Rows {
    /// Each with its step and side; the weights are of all rows of the batch.
    pub fn new(
        rows: impl Iterator<Item = (usize, usize, usize)>,
        weights: Option<&[f64]>,
        steps: usize,
    ) -> Rows {
        let most = rows.size_hint().1.unwrap_or(0);
        let (mut at, mut cells) = (Vec::with_capacity(most), Vec::with_capacity(most));
        let mut counts = vec![0u32; 2 * steps];
        for (row, step, side) in rows {
            let cell = 2 * step + side;
            at.push(row as u32);
            cells.push(cell as u32);
            if let Some(count) = counts.get_mut(cell) {
                *count += 1;
            }
        }
        let weights: Option<Vec<f64>> = weights.map(|all| at.iter().map(|row| all[*row as usize]).collect());
        if weights.is_some() {
            return Rows { at, cells, weights, sums: vec![], by_cell: vec![] };
        }
        let sums: Vec<(u32, u32)> = (0..).zip(counts).filter(|(_, count)| *count > 0).collect();
        let by_cell = by_cell(&at, &cells, &sums);
        Rows { at, cells, weights, sums, by_cell }
    }

    pub fn is_empty(&self) -> bool {
        self.at.is_empty()
    }

    /// In their order.
    pub fn iter(&self) -> impl Iterator<Item = (usize, One)> {
        let weight = |number: usize| self.weights.as_ref().map_or(1.0, |weights| weights[number]);
        let cells = self.at.iter().zip(&self.cells).enumerate();
        cells.map(move |(number, (row, cell))| (*row as usize, One::of(*cell, weight(number))))
    }

    /// All of them, as few as they can be added as.
    pub fn sums(&self) -> impl Iterator<Item = One> {
        let sums = self.sums.iter().map(|(cell, count)| One::of(*cell, f64::from(*count)));
        let each = self.weights.is_some().then(|| self.iter().map(|(_, one)| one));
        sums.chain(each.into_iter().flatten())
    }

    /// Those of each cell, where each row counts once.
    pub fn by_cells(&self) -> Option<impl Iterator<Item = (One, &[u32])>> {
        let mut rest = &self.by_cell[..];
        let cells = self.sums.iter().map(move |(cell, count)| {
            let (own, others) = rest.split_at(*count as usize);
            rest = others;
            (One::of(*cell, 1.0), own)
        });
        self.weights.is_none().then_some(cells)
    }
}

/// Rows of cells, so many of each, cell by cell.
fn by_cell(at: &[u32], cells: &[u32], sums: &[(u32, u32)]) -> Vec<u32> {
    if sums.len() < 2 {
        return at.to_vec();
    }
    let last = sums.last().map_or(0, |(cell, _)| *cell as usize);
    let (mut ends, mut end) = (vec![0; last + 1], 0);
    for (cell, count) in sums {
        ends[*cell as usize] = end;
        end += *count as usize;
    }
    let mut sorted = vec![0; end];
    for (row, cell) in at.iter().zip(cells) {
        if let Some(end) = ends.get_mut(*cell as usize) {
            sorted[*end] = *row;
            *end += 1;
        }
    }
    sorted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_added_up_where_each_counts_once() {
        let rows = [(0, 2, 1), (3, 0, 0), (4, 2, 1)];
        let told = |ones: &mut dyn Iterator<Item = One>| -> Vec<(usize, usize, f64)> {
            ones.map(|one| (one.side, one.step, one.weight)).collect()
        };
        let once = Rows::new(rows.into_iter(), None, 3);
        assert_eq!(once.iter().map(|(row, _)| row).collect::<Vec<_>>(), [0, 3, 4]);
        assert_eq!(told(&mut once.sums()), [(0, 0, 1.0), (1, 2, 2.0)]);
        let by_cells = |rows: &Rows| -> Option<Vec<(usize, usize, Vec<u32>)>> {
            Some(rows.by_cells()?.map(|(one, rows)| (one.side, one.step, rows.to_vec())).collect())
        };
        assert_eq!(by_cells(&once), Some(vec![(0, 0, vec![3]), (1, 2, vec![0, 4])]));
        let weighed = Rows::new(rows.into_iter(), Some(&[2.0, 9.0, 9.0, 4.0, 1.5]), 3);
        assert_eq!(told(&mut weighed.sums()), [(1, 2, 2.0), (0, 0, 4.0), (1, 2, 1.5)]);
        assert_eq!(by_cells(&weighed), None);
        assert!(Rows::new([].into_iter(), None, 3).is_empty());
    }
}
