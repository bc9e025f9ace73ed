//! The words of a part's lines: a tantivy index that is only its inverted index, one document a cell (a column in a
//! page of rows).
//!
//! A cell as document costs a fraction of a byte a line where a row as document costs several; the cells that are found
//! are read and each line is looked at.

use super::LOG_PAGE_ROWS as PAGE_ROWS;
use super::cells::Grid;
use crate::hash::BytesHasher;
use crate::rows::tokens::{Clues, Kind, WORD_BYTES_MAX, indexed, kind, tokens};
use crate::side_index::{Cursor, put_block};
use arrow::array::{Array, StringArray};
use memchr::memmem;
use std::collections::HashSet;
use std::hash::BuildHasherDefault;
use std::ops::Range;
use std::path::Path;
use std::sync::OnceLock;
use tantivy::collector::DocSetCollector;
use tantivy::directory::{Directory, RamDirectory};
use tantivy::query::{Query, RegexQuery, TermQuery};
use tantivy::schema::{Field, IndexRecordOption, Schema, TextFieldIndexing, TextOptions};
use tantivy::termdict::TermDictionary;
use tantivy::tokenizer::{PreTokenizedString, Token};
use tantivy::{
    DocSet, Index, IndexBuilder, IndexSettings, ReloadPolicy, Searcher, SingleSegmentIndexWriter, TERMINATED,
    TantivyDocument, Term,
};

/// The cell has words that are indexed only by their beginning.
const CUT_WORDS: &str = "\u{1}cut";

/// What the writer may hold before it would write a second segment; a part's words are far below.
const WRITER_BYTES: usize = 512 << 20;

fn schema() -> (Schema, Field) {
    let mut schema = Schema::builder();
    let indexing = TextFieldIndexing::default()
        .set_tokenizer("raw")
        .set_fieldnorms(false)
        .set_index_option(IndexRecordOption::Basic);
    let words = schema.add_text_field("words", TextOptions::default().set_indexing_options(indexing));
    (schema.build(), words)
}

/// Takes texts in, page by page.
pub struct Builder {
    writer: SingleSegmentIndexWriter,
    directory: RamDirectory,
    field: Field,
    /// Distinct words of the page so far by column, as they stand in the texts.
    seen: Vec<HashSet<Box<str>, BuildHasherDefault<BytesHasher>>>,
    rows: usize,
}

impl Builder {
    pub fn new(grid: Grid) -> anyhow::Result<Builder> {
        let (schema, field) = schema();
        let directory = RamDirectory::create();
        let settings = IndexSettings {
            docstore_compression: tantivy::store::Compressor::None,
            ..IndexSettings::default()
        };
        let writer = IndexBuilder::new()
            .schema(schema)
            .settings(settings)
            .single_segment_index_writer(directory.clone(), WRITER_BYTES)?;
        let seen = (0..grid.columns()).map(|_| HashSet::default()).collect();
        Ok(Builder { writer, directory, field, seen, rows: 0 })
    }

    /// The columns of further rows, in the order of the grid.
    pub fn add(&mut self, columns: &[&StringArray]) -> anyhow::Result<()> {
        let rows = columns.first().map_or(0, |column| column.len());
        let mut from = 0;
        while from < rows {
            let to = rows.min(from + PAGE_ROWS - self.rows);
            for (column, seen) in columns.iter().zip(&mut self.seen) {
                add_words(column, from..to, seen);
            }
            self.rows += to - from;
            from = to;
            if self.rows == PAGE_ROWS {
                self.end_page()?;
            }
        }
        Ok(())
    }

    fn end_page(&mut self) -> anyhow::Result<()> {
        for seen in &mut self.seen {
            let mut words: HashSet<String> = HashSet::new();
            for token in seen.drain() {
                if token.len() > WORD_BYTES_MAX {
                    words.insert(CUT_WORDS.to_owned());
                }
                words.insert(indexed(&token).into_owned());
            }
            let tokens = words.into_iter().map(|text| Token { text, ..Token::default() }).collect();
            let mut document = TantivyDocument::new();
            document.add_pre_tokenized_text(self.field, PreTokenizedString { text: String::new(), tokens });
            self.writer.add_document(document)?;
        }
        self.rows = 0;
        Ok(())
    }

    /// The index's files end to end: each its name and its bytes.
    pub fn finish(mut self) -> anyhow::Result<Vec<u8>> {
        if self.rows > 0 {
            self.end_page()?;
        }
        let index = self.writer.finalize()?;
        pack(&index, &self.directory)
    }
}

fn add_words(
    column: &StringArray,
    rows: Range<usize>,
    seen: &mut HashSet<Box<str>, BuildHasherDefault<BytesHasher>>,
) {
    let mut before = None;
    for row in rows.filter(|row| column.is_valid(*row)) {
        let text = column.value(row);
        // Fields of neighbours often are the same.
        if before.replace(text) == Some(text) {
            continue;
        }
        for token in tokens(text).filter(|token| kind(token) == Kind::Word) {
            if !seen.contains(token) {
                seen.insert(token.into());
            }
        }
    }
}

fn pack(index: &Index, directory: &RamDirectory) -> anyhow::Result<Vec<u8>> {
    let mut out = vec![];
    let mut names: Vec<_> = index.load_metas()?.list_segment_files().into_iter().collect();
    names.sort();
    names.push("meta.json".into());
    for name in names {
        // A segment lists every kind of file that it may have.
        if directory.exists(&name)? {
            put_block(&mut out, name.to_string_lossy().as_bytes());
            put_block(&mut out, &directory.open_read(&name)?.read_bytes()?);
        }
    }
    Ok(out)
}

pub struct Words {
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
        Ok(Words { searcher: reader.searcher(), field, texts: OnceLock::new() })
    }

    /// For each clue that is a word or a part of one, the cells that can hold it, ascending.
    pub fn cells(&self, clues: &Clues) -> Result<Vec<Vec<u32>>, String> {
        let mut found = vec![];
        for word in &clues.words {
            found.push(self.search(&self.term(word))?);
        }
        for (part, open_before, open_after) in &clues.parts {
            let mut cells = self.with_part(part, *open_before, *open_after)?;
            cells.extend(self.search(&self.term(CUT_WORDS))?);
            cells.sort_unstable();
            cells.dedup();
            found.push(cells);
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

    fn search(&self, query: &dyn Query) -> Result<Vec<u32>, String> {
        let found = self.searcher.search(query, &DocSetCollector).map_err(|e| e.to_string())?;
        let mut cells: Vec<u32> = found.into_iter().map(|address| address.doc_id).collect();
        cells.sort_unstable();
        Ok(cells)
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
