//! The words of a part's lines: a tantivy index that is only its inverted index, one document a cell (a column in a
//! page of rows).
//!
//! A cell as document costs a fraction of a byte a line where a row as document costs several; the cells that are found
//! are read and each line is looked at.

use crate::rows::tokens::Clues;
use crate::side_index::Cursor;
use memchr::memmem;
use std::path::Path;
use std::sync::OnceLock;
use tantivy::collector::DocSetCollector;
use tantivy::directory::{Directory, RamDirectory};
use tantivy::query::{Query, RegexQuery, TermQuery};
use tantivy::schema::{Field, IndexRecordOption, Schema, TextFieldIndexing, TextOptions};
use tantivy::termdict::TermDictionary;
use tantivy::{DocSet, Index, ReloadPolicy, Searcher, TERMINATED, Term};

/// The cell has words that are indexed only by their beginning.
pub const CUT_WORDS: &str = "\u{1}cut";

/// The cell has more words than were indexed.
pub const ANY_WORD: &str = "\u{1}any";

pub fn schema() -> (Schema, Field) {
    let mut schema = Schema::builder();
    let indexing = TextFieldIndexing::default()
        .set_tokenizer("raw")
        .set_fieldnorms(false)
        .set_index_option(IndexRecordOption::Basic);
    let words = schema.add_text_field("words", TextOptions::default().set_indexing_options(indexing));
    (schema.build(), words)
}

/// The pieces of a part's index.
pub struct Words(Vec<Piece>);

/// The words of some cells that follow one another.
struct Piece {
    first_cell: u32,
    /// Cells that may hold any word, counted from the first.
    any: Vec<u32>,
    searcher: Searcher,
    field: Field,
    /// Made when a part of a word is first looked for.
    texts: OnceLock<Texts>,
}

/// The words as one text, each between line breaks, which no word has: a part of one is found as fast as memory is read.
struct Texts(Vec<u8>);

/// With more words than this that have the part, tantivy's own way through its dictionary is shorter.
const WORDS_WITH_PART_MAX: usize = 1_000;

impl Texts {
    fn of(words: &TermDictionary) -> Result<Texts, String> {
        let mut text = vec![b'\n'];
        let mut stream = words.stream().map_err(|e| e.to_string())?;
        while stream.advance() {
            text.extend_from_slice(stream.key());
            text.push(b'\n');
        }
        Ok(Texts(text))
    }

    /// The words with this part, ascending; `None` for too many. Where a word does not go on before or after it, it is its
    /// beginning or its end.
    fn with(&self, part: &str, open_before: bool, open_after: bool) -> Option<Vec<&[u8]>> {
        let at_an_end = |open: bool| if open { "" } else { "\n" };
        let wanted = format!("{}{part}{}", at_an_end(open_before), at_an_end(open_after));
        let (mut found, mut from): (Vec<&[u8]>, usize) = (vec![], 0);
        let finder = memmem::Finder::new(&wanted);
        while let Some(at) = finder.find(&self.0[from..]) {
            let at = from + at + usize::from(!open_before);
            let start = memchr::memrchr(b'\n', &self.0[..at]).map_or(0, |at| at + 1);
            let end = at + memchr::memchr(b'\n', &self.0[at..])?;
            found.push(&self.0[start..end]);
            if found.len() > WORDS_WITH_PART_MAX {
                return None;
            }
            // The line break is the next word's, too.
            from = end;
        }
        Some(found)
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

    /// Of the versions that have one piece.
    pub fn open_one(block: &[u8]) -> Result<Words, String> {
        Ok(Words(vec![Piece::open(0, block)?]))
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
        let directory = RamDirectory::create();
        let mut rest = Cursor(block);
        while !rest.0.is_empty() {
            let name = std::str::from_utf8(rest.block()?).map_err(|e| e.to_string())?;
            directory.atomic_write(Path::new(name), rest.block()?).map_err(|e| e.to_string())?;
        }
        let index = Index::open(directory).map_err(|e| e.to_string())?;
        let field = index.schema().get_field("words").map_err(|e| e.to_string())?;
        let reader = index.reader_builder().reload_policy(ReloadPolicy::Manual).try_into();
        let reader: tantivy::IndexReader = reader.map_err(|e: tantivy::TantivyError| e.to_string())?;
        let (searcher, texts) = (reader.searcher(), OnceLock::new());
        let mut piece = Piece { first_cell, any: vec![], searcher, field, texts };
        piece.any = piece.search(&piece.term(ANY_WORD))?;
        Ok(piece)
    }

    /// As [`Words::cells`], counted from the first cell of the piece.
    fn cells(&self, clues: &Clues) -> Result<Vec<Vec<u32>>, String> {
        let mut found = vec![];
        for word in &clues.words {
            found.push(self.search(&self.term(word))?);
        }
        for (part, open_before, open_after) in &clues.parts {
            let mut cells = self.with_part(part, *open_before, *open_after)?;
            cells.extend(self.search(&self.term(CUT_WORDS))?);
            found.push(cells);
        }
        for cells in &mut found {
            cells.extend_from_slice(&self.any);
            cells.sort_unstable();
            cells.dedup();
        }
        Ok(found)
    }

    /// Cells with a word that has this part; not in order.
    fn with_part(&self, part: &str, open_before: bool, open_after: bool) -> Result<Vec<u32>, String> {
        let mut cells = vec![];
        // It is written with one segment, or with none where there is no word.
        for segment in self.searcher.segment_readers() {
            let words = segment.inverted_index(self.field).map_err(|e| e.to_string())?;
            let texts = match self.texts.get() {
                Some(texts) => texts,
                None => {
                    let made = Texts::of(words.terms())?;
                    self.texts.get_or_init(|| made)
                }
            };
            let Some(with) = texts.with(part, open_before, open_after) else {
                let any = |open: bool| if open { ".*" } else { "" };
                let pattern = format!("{}{part}{}", any(open_before), any(open_after));
                let query = RegexQuery::from_pattern(&pattern, self.field).map_err(|e| e.to_string())?;
                return self.search(&query);
            };
            for word in with {
                let word = std::str::from_utf8(word).map_err(|e| e.to_string())?;
                let postings = words.read_postings(&self.word(word), IndexRecordOption::Basic);
                let Some(mut postings) = postings.map_err(|e| e.to_string())? else { continue };
                while postings.doc() != TERMINATED {
                    cells.push(postings.doc());
                    postings.advance();
                }
            }
        }
        Ok(cells)
    }

    fn word(&self, word: &str) -> Term {
        Term::from_field_text(self.field, word)
    }

    fn term(&self, word: &str) -> TermQuery {
        TermQuery::new(self.word(word), IndexRecordOption::Basic)
    }

    /// Not in order.
    fn search(&self, query: &dyn Query) -> Result<Vec<u32>, String> {
        let found = self.searcher.search(query, &DocSetCollector).map_err(|e| e.to_string())?;
        Ok(found.into_iter().map(|address| address.doc_id).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_of_words_are_found_where_words_may_go_on() {
        let texts = Texts(b"\nfoot\nfootball\nten\nnew\ntenfoot\n".to_vec());
        let with = |part, before, after| -> Vec<&str> {
            let found = texts.with(part, before, after).unwrap();
            found.into_iter().map(|word| std::str::from_utf8(word).unwrap()).collect()
        };
        assert_eq!(with("foot", true, true), ["foot", "football", "tenfoot"]);
        assert_eq!(with("foot", true, false), ["foot", "tenfoot"]);
        assert_eq!(with("foot", false, true), ["foot", "football"]);
        assert_eq!(with("ten", false, true), ["ten", "tenfoot"]);
        assert_eq!(with("o", true, true), ["foot", "football", "tenfoot"], "each once");
        assert!(with("x", true, true).is_empty());
        let many = Texts("\nab".repeat(WORDS_WITH_PART_MAX + 2).into_bytes());
        assert_eq!(many.with("b", true, true), None);
    }
}
