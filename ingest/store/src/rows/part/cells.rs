//! Where in a part of logs a text can be: a cell is one column in one page of rows. The indexes of words and of ids
//! both answer in cells, so that only the columns are read that can hold what is looked for.

use super::LOG_PAGE_ROWS as PAGE_ROWS;
use super::ids::Ids;
use super::ranges::Ranges;
use super::words::Words;
use crate::rows::tokens::Clues;
use std::collections::HashMap;
use std::rc::Rc;

/// Bodies that stand whole. Behind it come the fields that bodies were taken apart to, then the trace ids.
pub const WHOLE: usize = 0;

/// Numbers the cells, page by page.
#[derive(Clone, Copy, Debug)]
pub struct Grid {
    columns: usize,
}

impl Grid {
    pub fn of_fields(fields: usize) -> Grid {
        Grid { columns: fields + 2 }
    }

    pub fn field(self, number: usize) -> usize {
        1 + number
    }

    pub fn trace_ids(self) -> usize {
        self.columns - 1
    }

    pub fn columns(self) -> usize {
        self.columns
    }

    pub fn cell(self, row: usize, column: usize) -> u32 {
        (row / PAGE_ROWS * self.columns + column) as u32
    }

    fn place(self, cell: u32) -> (usize, usize) {
        (cell as usize / self.columns, cell as usize % self.columns)
    }
}

/// For each page, whether it is meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pages(Vec<bool>);

impl Pages {
    pub fn all(rows: usize) -> Pages {
        Pages(vec![true; rows.div_ceil(PAGE_ROWS)])
    }

    pub fn none(rows: usize) -> Pages {
        Pages(vec![false; rows.div_ceil(PAGE_ROWS)])
    }

    pub fn any(&self) -> bool {
        self.0.contains(&true)
    }

    pub fn and(&mut self, other: &Pages) {
        self.0.iter_mut().zip(&other.0).for_each(|(page, other)| *page &= other);
    }

    pub fn or(&mut self, other: &Pages) {
        self.0.iter_mut().zip(&other.0).for_each(|(page, other)| *page |= other);
    }

    pub fn ranges(&self, rows: usize) -> Ranges {
        let meant = self.0.iter().enumerate().filter(|(_, meant)| **meant);
        Ranges::new(meant.map(|(page, _)| page * PAGE_ROWS..((page + 1) * PAGE_ROWS).min(rows)))
    }
}

/// The indexes of one part; what was found is kept, as the same is asked for many shapes of lines.
pub struct Cells<'a> {
    pub grid: Grid,
    pub rows: usize,
    words: &'a Words,
    ids: &'a Ids,
    found: HashMap<Clues, Rc<Option<Vec<u32>>>>,
}

impl<'a> Cells<'a> {
    pub fn new(grid: Grid, rows: usize, words: &'a Words, ids: &'a Ids) -> Cells<'a> {
        Cells { grid, rows, words, ids, found: HashMap::new() }
    }

    /// Pages in whose column all clues are; `None` is any column.
    pub fn pages(&mut self, column: Option<usize>, clues: Clues) -> Result<Pages, String> {
        let Some(cells) = &*self.of(clues)? else { return Ok(Pages::all(self.rows)) };
        let mut pages = Pages::none(self.rows);
        for (page, of) in cells.iter().map(|cell| self.grid.place(*cell)) {
            if let Some(meant) = pages.0.get_mut(page).filter(|_| column.is_none_or(|column| column == of)) {
                *meant = true;
            }
        }
        Ok(pages)
    }

    /// Ascending. `None` where the indexes know nothing.
    fn of(&mut self, mut clues: Clues) -> Result<Rc<Option<Vec<u32>>>, String> {
        if let Some(found) = self.found.get(&clues) {
            return Ok(found.clone());
        }
        let asked = clues.clone();
        if !self.ids.has_longer {
            clues.ids.append(&mut clues.edge_ids);
        }
        let mut all: Option<Vec<u32>> = None;
        for id in &clues.ids {
            all = Some(common(all, self.ids.units(id)));
        }
        if all.as_ref().is_none_or(|cells| !cells.is_empty()) {
            for cells in self.words.cells(&clues)? {
                all = Some(common(all, cells));
            }
        }
        let found = Rc::new(all);
        self.found.insert(asked, found.clone());
        Ok(found)
    }
}

/// What is in both; both ascend.
fn common(a: Option<Vec<u32>>, mut b: Vec<u32>) -> Vec<u32> {
    if let Some(a) = a {
        b.retain(|cell| a.binary_search(cell).is_ok());
    }
    b
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_numbered_page_by_page() {
        let grid = Grid::of_fields(2);
        assert_eq!((grid.columns(), grid.field(1), grid.trace_ids()), (4, 2, 3));
        assert_eq!(grid.cell(PAGE_ROWS - 1, WHOLE), 0);
        assert_eq!(grid.place(grid.cell(PAGE_ROWS, grid.field(1))), (1, 2));
        let mut pages = Pages::none(2 * PAGE_ROWS + 1);
        assert!(!pages.any());
        pages.0[2] = true;
        let last = Ranges::new(std::iter::once(2 * PAGE_ROWS..2 * PAGE_ROWS + 1));
        assert_eq!(pages.ranges(2 * PAGE_ROWS + 1), last);
    }
}
