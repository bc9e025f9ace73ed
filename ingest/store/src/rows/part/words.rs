//! The words of a part's lines: an inverted index whose documents are cells (a column in a page of rows). The words stand in
//! tantivy's dictionary; where each is stands behind it.
//!
//! A cell as document costs a fraction of a byte a line where a row as document costs several; the cells that are found
//! are read and each line is looked at. A whole tantivy index would do the same; to write one took half of the time in which
//! lines with three random words each were stored (2026-11-26: 30.5 CPU s a million, of which 15).

use super::templates::take_number;
use crate::rows::tokens::Clues;
use crate::side_index::Cursor;
use memchr::memmem;
use roaring::RoaringBitmap;
use std::ops::Range;
use std::sync::OnceLock;
use tantivy::directory::FileSlice;
use tantivy::termdict::TermDictionary;

/// The cell has words that are indexed only by their beginning.
pub const CUT_WORDS: &str = "\u{1}cut";

/// The cell has more words than were indexed.
pub const ANY_WORD: &str = "\u{1}any";

/// The pieces of a part's index.
pub struct Words(Vec<Piece>);

/// The words of some cells that follow one another.
struct Piece {
    first_cell: u32,
    /// Cells that may hold any word, counted from the first.
    any: Vec<u32>,
    /// Of each word where its cells stand.
    words: TermDictionary,
    cells: Box<[u8]>,
    /// Made when a part of a word is first looked for.
    texts: OnceLock<Texts>,
}

/// The words as one text, each between line breaks, which no word has: a part of one is found as fast as memory is read.
#[derive(Default)]
struct Texts {
    text: Vec<u8>,
    /// By word: where its cells end; they begin where those of the word before end.
    ends: Vec<u32>,
    /// Where every so manyth word begins.
    steps: Vec<usize>,
}

const WORDS_OF_A_STEP: usize = 64;

impl Texts {
    fn of(words: &TermDictionary) -> Result<Texts, String> {
        let mut texts = Texts { text: vec![b'\n'], ..Texts::default() };
        let mut stream = words.stream().map_err(|e| e.to_string())?;
        while let Some((word, at)) = stream.next() {
            let end = u32::try_from(at.postings_range.end).map_err(|e| e.to_string())?;
            texts.push(word, end);
        }
        Ok(texts)
    }

    fn push(&mut self, word: &[u8], end: u32) {
        if self.ends.len().is_multiple_of(WORDS_OF_A_STEP) {
            self.steps.push(self.text.len());
        }
        self.text.extend_from_slice(word);
        self.text.push(b'\n');
        self.ends.push(end);
    }

    /// Shows where the cells stand of each word with this part. Where a word does not go on before or after it, it is its
    /// beginning or its end.
    fn each_with(&self, part: &str, open_before: bool, open_after: bool, mut show: impl FnMut(Range<usize>)) {
        let at_an_end = |open: bool| if open { "" } else { "\n" };
        let wanted = format!("{}{part}{}", at_an_end(open_before), at_an_end(open_after));
        let (finder, mut from) = (memmem::Finder::new(&wanted), 0);
        while let Some(at) = finder.find(&self.text[from..]) {
            let at = from + at + usize::from(!open_before);
            let word = self.word_at(at);
            let start = word.checked_sub(1).map_or(0, |before| self.ends[before]);
            show(start as usize..self.ends[word] as usize);
            // The line break is the next word's, too.
            from = at + memchr::memchr(b'\n', &self.text[at..]).unwrap_or(self.text.len() - at);
        }
    }

    /// The number of the word that this byte of the text belongs to.
    fn word_at(&self, at: usize) -> usize {
        let step = self.steps.partition_point(|start| *start <= at) - 1;
        step * WORDS_OF_A_STEP + memchr::memchr_iter(b'\n', &self.text[self.steps[step]..at]).count()
    }
}

impl Words {
    pub fn open(block: &[u8]) -> Result<Words, String> {
        let (mut rest, mut pieces) = (Cursor(block), vec![]);
        for _ in 0..rest.u32()? {
            pieces.push(Piece::open(rest.u32()?, rest.block()?)?);
        }
        Ok(Words(pieces))
    }

    /// For each clue that is a word or a part of one, the cells that can hold it, ascending.
    pub fn cells(&self, clues: &Clues) -> Result<Vec<Vec<u32>>, String> {
        let mut found = vec![vec![]; clues.words.len() + clues.parts.len()];
        for piece in &self.0 {
            for (cells, of_piece) in found.iter_mut().zip(piece.cells(clues)?) {
                cells.extend(of_piece.into_iter().map(|cell| piece.first_cell + cell));
            }
        }
        Ok(found)
    }
}

impl Piece {
    fn open(first_cell: u32, block: &[u8]) -> Result<Piece, String> {
        let mut rest = Cursor(block);
        let words = FileSlice::from(rest.block()?.to_vec());
        let words = TermDictionary::open(words).map_err(|e| e.to_string())?;
        let (cells, texts) = (rest.0.into(), OnceLock::new());
        let mut piece = Piece { first_cell, any: vec![], words, cells, texts };
        piece.any = piece.with_word(ANY_WORD)?.iter().collect();
        Ok(piece)
    }

    /// As [`Words::cells`], counted from the first cell of the piece.
    fn cells(&self, clues: &Clues) -> Result<Vec<Vec<u32>>, String> {
        let mut found = vec![];
        for word in &clues.words {
            found.push(self.with_word(word)?);
        }
        for (part, open_before, open_after) in &clues.parts {
            let mut cells = self.with_part(part, *open_before, *open_after)?;
            cells |= self.with_word(CUT_WORDS)?;
            found.push(cells);
        }
        let and_any = |mut cells: RoaringBitmap| {
            cells.extend(&self.any);
            cells.into_iter().collect()
        };
        Ok(found.into_iter().map(and_any).collect())
    }

    fn with_word(&self, word: &str) -> Result<RoaringBitmap, String> {
        let mut cells = RoaringBitmap::new();
        if let Some(at) = self.words.get(word).map_err(|e| e.to_string())? {
            self.add(at.postings_range, &mut cells);
        }
        Ok(cells)
    }

    fn with_part(&self, part: &str, open_before: bool, open_after: bool) -> Result<RoaringBitmap, String> {
        let texts = match self.texts.get() {
            Some(texts) => texts,
            None => {
                let made = Texts::of(&self.words)?;
                self.texts.get_or_init(|| made)
            }
        };
        let mut cells = RoaringBitmap::new();
        texts.each_with(part, open_before, open_after, |at| self.add(at, &mut cells));
        Ok(cells)
    }

    fn add(&self, at: Range<usize>, cells: &mut RoaringBitmap) {
        let (mut rest, mut cell) = (self.cells.get(at).unwrap_or_default(), 0u32);
        while let Some(step) = take_number(&mut rest) {
            cell = cell.wrapping_add(step as u32);
            cells.insert(cell);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_of_words_are_found_where_words_may_go_on() {
        let mut texts = Texts { text: vec![b'\n'], ..Texts::default() };
        let mut words = vec!["foot", "football", "ten", "new", "tenfoot"]
            .into_iter()
            .map(str::to_owned)
            .collect::<Vec<_>>();
        words.extend((0..3 * WORDS_OF_A_STEP).map(|n| format!("z{n}")));
        words.iter().zip(1..).for_each(|(word, end)| texts.push(word.as_bytes(), end));
        let with = |part: &str, before, after| {
            let mut found: Vec<&str> = vec![];
            texts.each_with(part, before, after, |at| {
                assert_eq!(at.len(), 1);
                found.push(&words[at.start]);
            });
            found
        };
        assert_eq!(with("foot", true, true), ["foot", "football", "tenfoot"]);
        assert_eq!(with("foot", true, false), ["foot", "tenfoot"]);
        assert_eq!(with("foot", false, true), ["foot", "football"]);
        assert_eq!(with("ten", false, true), ["ten", "tenfoot"]);
        assert_eq!(with("o", true, true), ["foot", "football", "tenfoot"], "each once");
        assert_eq!(with("z191", false, false), ["z191"]);
        assert_eq!(with("128", true, true), ["z128"]);
        assert!(with("x", true, true).is_empty());
    }
}
