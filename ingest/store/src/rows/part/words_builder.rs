//! Makes the word index of a part: words come in page by page, and what they take is bounded however many they are.
//!
//! The words of a page are collected by column, then handed to a *piece*, an index of its own. A piece that has
//! become large is finished, which makes it small, and the next begins. What is past a bound is not indexed, and its cell says
//! that it may hold any word.

use super::LOG_PAGE_ROWS as PAGE_ROWS;
use super::cells::Grid;
use super::templates::put_number;
use super::words::{ANY_WORD, CUT_WORDS};
use crate::hash::BytesHasher;
use crate::rows::tokens::{Kind, WORD_BYTES_MAX, indexed, kind, tokens};
use crate::side_index::put_block;
use arrow::array::{Array, StringArray};
use std::collections::HashSet;
use std::hash::BuildHasherDefault;
use std::ops::Range;
use tantivy::postings::TermInfo;
use tantivy::termdict::TermDictionaryBuilder;

/// Bytes that the words of a part may take while it is made.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Of distinct words of one page.
    pub page: usize,
    /// Of a piece while it is filled: half a million words.
    pub piece: usize,
    /// Of all finished pieces. Words that are said only once take ten bytes each.
    pub part: usize,
}

impl Default for Bounds {
    fn default() -> Bounds {
        Bounds { page: 8 << 20, piece: 24 << 20, part: 48 << 20 }
    }
}

/// A word in a set, beside its letters.
const WORD_OVERHEAD_BYTES: usize = 24;

/// Distinct words of a page in one column, as they stand in the texts.
#[derive(Default)]
struct Seen {
    words: HashSet<Box<str>, BuildHasherDefault<BytesHasher>>,
    bytes: usize,
    /// It has too many.
    is_any: bool,
}

/// Each word of each cell, until they are put in order.
#[derive(Default)]
struct Piece {
    text: Vec<u8>,
    words: Vec<Word>,
    cells: u32,
}

/// A word in a cell, counted from the first cell of the piece.
struct Word {
    /// Its first eight bytes, which tell most words apart.
    start: u64,
    at: u32,
    length: u8,
    cell: u32,
}

impl Word {
    fn of<'a>(&self, text: &'a [u8]) -> &'a [u8] {
        &text[self.at as usize..][..usize::from(self.length)]
    }
}

/// Takes texts in, page by page.
pub struct Builder {
    bounds: Bounds,
    /// Of the page so far, by column.
    seen: Vec<Seen>,
    seen_bytes: usize,
    rows: usize,
    cells: u32,
    piece: Option<Piece>,
    finished: Vec<u8>,
    pieces: u32,
}

impl Builder {
    pub fn new(grid: Grid, bounds: Bounds) -> Builder {
        let seen = (0..grid.columns()).map(|_| Seen::default()).collect();
        Builder { bounds, seen, seen_bytes: 0, rows: 0, cells: 0, piece: None, finished: vec![], pieces: 0 }
    }

    /// The columns of further rows, in the order of the grid.
    pub fn add(&mut self, columns: &[&StringArray]) -> anyhow::Result<()> {
        let rows = columns.first().map_or(0, |column| column.len());
        let mut from = 0;
        while from < rows {
            let to = rows.min(from + PAGE_ROWS - self.rows);
            for (at, column) in columns.iter().enumerate() {
                self.add_words(at, column, from..to);
            }
            self.rows += to - from;
            from = to;
            if self.rows == PAGE_ROWS {
                self.end_page()?;
            }
        }
        Ok(())
    }

    fn add_words(&mut self, at: usize, column: &StringArray, rows: Range<usize>) {
        let mut before = None;
        for row in rows.filter(|row| column.is_valid(*row)) {
            let text = column.value(row);
            // Fields of neighbours often are the same.
            if self.seen[at].is_any || before.replace(text) == Some(text) {
                continue;
            }
            self.seen_bytes += self.seen[at].add(text);
            if self.seen_bytes > self.bounds.page
                && let Some(largest) = self.seen.iter_mut().max_by_key(|seen| seen.bytes)
            {
                self.seen_bytes -= largest.bytes;
                *largest = Seen { is_any: true, ..Seen::default() };
            }
        }
    }

    fn end_page(&mut self) -> anyhow::Result<()> {
        let is_full = self.finished.len() > self.bounds.part;
        let mut piece = match self.piece.take() {
            Some(piece) => piece,
            None => {
                self.finished.extend_from_slice(&self.cells.to_le_bytes());
                self.pieces += 1;
                Piece::default()
            }
        };
        for seen in &mut self.seen {
            piece.add(seen, is_full);
            self.cells += 1;
        }
        (self.rows, self.seen_bytes) = (0, 0);
        if piece.bytes() > self.bounds.piece {
            put_block(&mut self.finished, &piece.finish()?);
        } else {
            self.piece = Some(piece);
        }
        Ok(())
    }

    /// How many pieces, and of each the number of its first cell and its files.
    pub fn finish(mut self) -> anyhow::Result<[Vec<u8>; 2]> {
        if self.rows > 0 {
            self.end_page()?;
        }
        drop(self.seen);
        if let Some(piece) = self.piece {
            put_block(&mut self.finished, &piece.finish()?);
        }
        Ok([self.pieces.to_le_bytes().to_vec(), self.finished])
    }
}

impl Seen {
    /// Returns the bytes that it takes.
    fn add(&mut self, text: &str) -> usize {
        let before = self.bytes;
        for token in tokens(text).filter(|token| kind(token) == Kind::Word) {
            if !self.words.contains(token) {
                self.bytes += token.len() + WORD_OVERHEAD_BYTES;
                self.words.insert(token.into());
            }
        }
        self.bytes - before
    }
}

impl Piece {
    /// The next cell; what was seen is forgotten.
    fn add(&mut self, seen: &mut Seen, is_full: bool) {
        if seen.is_any || (is_full && !seen.words.is_empty()) {
            self.push(ANY_WORD);
            *seen = Seen::default();
        }
        let mut has_cut = false;
        for word in seen.words.drain() {
            has_cut |= word.len() > WORD_BYTES_MAX;
            self.push(&indexed(&word));
        }
        if has_cut {
            self.push(CUT_WORDS);
        }
        seen.bytes = 0;
        self.cells += 1;
    }

    /// Of at most [`WORD_BYTES_MAX`] bytes.
    fn push(&mut self, word: &str) {
        let mut start = [0; 8];
        start.iter_mut().zip(word.as_bytes()).for_each(|(byte, of_word)| *byte = *of_word);
        let (at, length) = (self.text.len() as u32, word.len() as u8);
        self.words.push(Word { start: u64::from_be_bytes(start), at, length, cell: self.cells });
        self.text.extend_from_slice(word.as_bytes());
    }

    fn bytes(&self) -> usize {
        self.text.len() + self.words.len() * size_of::<Word>()
    }

    /// The dictionary, a block, and the cells of its words, each list as steps.
    fn finish(mut self) -> anyhow::Result<Vec<u8>> {
        let text = &self.text;
        self.words.sort_unstable_by(|a, b| {
            let by_word = || a.of(text).cmp(b.of(text));
            a.start.cmp(&b.start).then_with(by_word).then(a.cell.cmp(&b.cell))
        });
        let mut dictionary = TermDictionaryBuilder::create(vec![])?;
        let mut cells = vec![];
        for of_word in self.words.chunk_by(|a, b| a.start == b.start && a.of(text) == b.of(text)) {
            let from = cells.len();
            let mut before = None;
            for cell in of_word.iter().map(|word| word.cell) {
                // Words that differ in case alone are one, and may be in one cell.
                if before != Some(cell) {
                    put_number(&mut cells, u64::from(cell - before.unwrap_or(0)));
                    before = Some(cell);
                }
            }
            let at = TermInfo { doc_freq: 0, postings_range: from..cells.len(), positions_range: 0..0 };
            dictionary.insert(of_word[0].of(text), &at)?;
        }
        let mut out = vec![];
        put_block(&mut out, &dictionary.finish()?);
        out.append(&mut cells);
        Ok(out)
    }
}

#[cfg(test)]
mod tests {
    use super::super::words::Words;
    use super::*;
    use crate::rows::tokens::Clues;
    use std::collections::BTreeSet;

    const PAGES: usize = 6;

    /// Of two columns; each row of the first has a word of its own and one that all have, some of the second a long one.
    fn texts() -> [StringArray; 2] {
        let rows = 0..PAGES * PAGE_ROWS - 5;
        let own = |row: usize| -> String {
            let letter = |at: u32| char::from(b'g' + (row / 16usize.pow(at) % 16) as u8);
            (0..5).map(letter).collect()
        };
        let first = rows.clone().map(|row| Some(format!("all {}", own(row))));
        let second = rows.map(|row| (row % PAGE_ROWS < 9).then(|| format!("{}z", own(row).repeat(14))));
        [first.collect(), second.collect()]
    }

    fn built(bounds: Bounds) -> (Words, u32) {
        let grid = Grid::of_fields(0);
        let mut builder = Builder::new(grid, bounds);
        let [first, second] = texts();
        // In pieces that are no pages.
        for from in (0..first.len()).step_by(3_000) {
            let count = 3_000.min(first.len() - from);
            builder.add(&[&first.slice(from, count), &second.slice(from, count)]).unwrap();
        }
        let block = builder.finish().unwrap();
        let pieces = u32::from_le_bytes(block[0][..].try_into().unwrap());
        (Words::open(&block.concat()).unwrap(), pieces)
    }

    /// Cells of the rows whose text has it, and those that are found.
    fn cells(words: &Words, text: &str, is_whole: bool) -> [BTreeSet<u32>; 2] {
        let clues = match is_whole {
            true => Clues { words: vec![indexed(text).into_owned()], ..Clues::default() },
            false => Clues { parts: vec![(text.to_owned(), true, true)], ..Clues::default() },
        };
        let grid = Grid::of_fields(0);
        let mut real = BTreeSet::new();
        for (at, column) in texts().iter().enumerate() {
            let has = |row: &usize| {
                column.is_valid(*row)
                    && tokens(column.value(*row))
                        .any(|token| if is_whole { token == text } else { token.contains(text) })
            };
            real.extend((0..column.len()).filter(has).map(|row| grid.cell(row, at)));
        }
        [real, words.cells(&clues).unwrap().remove(0).into_iter().collect()]
    }

    fn asked() -> Vec<(String, bool)> {
        let [first, second] = texts();
        let row = |row: usize| first.value(row)[4..].to_owned();
        let whole = [0, 1, PAGE_ROWS, 4 * PAGE_ROWS + 7].map(|at| (row(at), true));
        let parts = [3, PAGE_ROWS - 1, 5 * PAGE_ROWS].map(|at| (row(at)[..4].to_owned(), false));
        let long = [0, 2 * PAGE_ROWS].map(|at| (second.value(at).to_owned(), true));
        let end = (second.value(0)[60..].to_owned(), false);
        [("all".to_owned(), true), ("nowhere".to_owned(), true), end]
            .into_iter()
            .chain(whole)
            .chain(parts)
            .chain(long)
            .collect()
    }

    #[test]
    fn words_are_found_in_their_cells_and_no_others_however_many_pieces_there_are() {
        for (piece, pieces) in [(usize::MAX, 1), (0, PAGES as u32)] {
            let (words, made) = built(Bounds { page: usize::MAX, piece, part: usize::MAX });
            assert_eq!(made, pieces);
            for (text, is_whole) in asked().into_iter().filter(|(text, _)| text.len() <= WORD_BYTES_MAX / 2) {
                let [real, found] = cells(&words, &text, is_whole);
                // What was cut may hold any part.
                let is_fine = if is_whole { real == found } else { real.is_subset(&found) };
                assert!(is_fine, "{text}: {real:?} {found:?}");
            }
        }
    }

    #[test]
    fn a_part_without_words_has_none() {
        let mut builder = Builder::new(Grid::of_fields(0), Bounds::default());
        builder
            .add(&[&StringArray::from(vec!["1 2", "", "0a1b"]), &StringArray::from(vec![None::<&str>; 3])])
            .unwrap();
        let words = Words::open(&builder.finish().unwrap().concat()).unwrap();
        let clues = Clues {
            words: vec!["a".to_owned()],
            parts: vec![("b".to_owned(), true, true)],
            ..Clues::default()
        };
        assert_eq!(words.cells(&clues).unwrap(), [vec![], vec![]] as [Vec<u32>; 2]);
    }

    #[test]
    fn cells_past_a_bound_may_hold_any_word() {
        let all = Bounds { page: usize::MAX, piece: usize::MAX, part: usize::MAX };
        let [of_a_page, of_a_part] =
            [Bounds { page: 50_000, ..all }, Bounds { piece: 0, part: 0, ..all }].map(built);
        for words in [&of_a_page.0, &of_a_part.0] {
            for (text, is_whole) in asked() {
                let [real, found] = cells(words, &text, is_whole);
                assert!(real.is_subset(&found), "{text}: {real:?} {found:?}");
            }
        }
        let [_, found] = cells(&of_a_page.0, "nowhere", true);
        let grid = Grid::of_fields(0);
        let first_column = (0..PAGES).map(|page| grid.cell(page * PAGE_ROWS, 0));
        assert_eq!(found, first_column.collect(), "the other column is small");
        let [_, found] = cells(&of_a_part.0, "nowhere", true);
        let behind_the_first = (1..PAGES).flat_map(|page| [0, 1].map(|at| grid.cell(page * PAGE_ROWS, at)));
        assert_eq!(found, behind_the_first.collect(), "the first page was indexed");
    }
}
