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
    sums: Vec<(u32, f64)>,
}

impl Rows {
    /// Each with its step and side; the weights are of all rows of the batch.
    pub fn new(
        rows: impl Iterator<Item = (usize, usize, usize)>,
        weights: Option<&[f64]>,
        steps: usize,
    ) -> Rows {
        let (at, cells): (Vec<u32>, Vec<u32>) =
            rows.map(|(row, step, side)| (row as u32, (2 * step + side) as u32)).unzip();
        let weights: Option<Vec<f64>> = weights.map(|all| at.iter().map(|row| all[*row as usize]).collect());
        let mut counts = vec![0u32; 2 * steps];
        if weights.is_none() {
            for cell in &cells {
                if let Some(count) = counts.get_mut(*cell as usize) {
                    *count += 1;
                }
            }
        }
        let counted = (0..).zip(counts).filter(|(_, count)| *count > 0);
        let sums = counted.map(|(cell, count)| (cell, f64::from(count))).collect();
        Rows { at, cells, weights, sums }
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
        let sums = self.sums.iter().map(|(cell, sum)| One::of(*cell, *sum));
        let each = self.weights.is_some().then(|| self.iter().map(|(_, one)| one));
        sums.chain(each.into_iter().flatten())
    }
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
        let weighed = Rows::new(rows.into_iter(), Some(&[2.0, 9.0, 9.0, 4.0, 1.5]), 3);
        assert_eq!(told(&mut weighed.sums()), [(1, 2, 2.0), (0, 0, 4.0), (1, 2, 1.5)]);
        assert!(Rows::new([].into_iter(), None, 3).is_empty());
    }
}
