//! A string that lines are asked for, told by the columns in which their bodies lie.

use super::bodies::{BODY, Kind, Read, SHAPE, Shape, Shapes, column_of, wrong};
use super::cells::{Cells, Pages, WHOLE};
use crate::rows::tokens::{Clues, clues, indexed, tokens};
use arrow::array::{Array, StringArray};
use arrow::error::ArrowError;

/// What a value must be for a line to contain a string.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Test {
    Contains,
    Equals(String),
    StartsWith(String),
    EndsWith(String),
}

impl Test {
    fn clues(&self, needle: &str) -> Clues {
        match self {
            Test::Contains => clues(needle, true, true),
            Test::Equals(text) => clues(text, false, false),
            Test::StartsWith(text) => clues(text, false, true),
            Test::EndsWith(text) => clues(text, true, false),
        }
    }
}

/// Tests of one shape: the line contains the string where all tests of one of the lists pass, by value.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Rule {
    Always,
    Any(Vec<Vec<(usize, Test)>>),
    /// Too many ways: the line is put together and looked at.
    Look,
}

const WAYS_MAX: usize = 32;

/// In how many ways a string lies across values takes the square of its length to tell. Longer ones are looked for in whole
/// lines, and by their beginning in the indexes.
const CUT_BYTES_MAX: usize = 1_024;

impl Rule {
    fn of(shape: &Shape, needle: &str) -> Rule {
        if needle.is_empty() || shape.pieces.iter().any(|piece| piece.contains(needle)) {
            return Rule::Always;
        }
        if needle.len() > CUT_BYTES_MAX {
            return Rule::Look;
        }
        let mut ways = Ways { shape, found: vec![] };
        for value in 0..shape.paths.len() {
            if shape.kind(value).can_hold(needle) {
                ways.found.push(vec![(value, Test::Contains)]);
            }
            // It begins at the end of the piece before the value …
            let piece = &shape.pieces[value];
            for (at, _) in piece.char_indices() {
                if let Some(rest) = needle.strip_prefix(&piece[at..]).filter(|rest| !rest.is_empty()) {
                    ways.value(value, rest, &mut vec![]);
                }
            }
            // … or inside the value.
            for (at, _) in needle.char_indices().skip(1) {
                let (own, rest) = needle.split_at(at);
                if may_follow(&shape.pieces[value + 1], rest) && shape.kind(value).can_hold(own) {
                    ways.piece(value + 1, rest, &mut vec![(value, Test::EndsWith(own.to_owned()))]);
                }
            }
            if ways.found.len() > WAYS_MAX {
                return Rule::Look;
            }
        }
        Rule::Any(ways.found)
    }
}

/// The ways in which a string can lie across pieces and values.
struct Ways<'a> {
    shape: &'a Shape,
    found: Vec<Vec<(usize, Test)>>,
}

impl Ways<'_> {
    /// The rest begins with a value, at the value's first byte.
    fn value(&mut self, value: usize, rest: &str, tests: &mut Vec<(usize, Test)>) {
        if self.found.len() > WAYS_MAX || value >= self.shape.paths.len() {
            return;
        }
        let kind = self.shape.kind(value);
        if kind.can_hold(rest) && !(kind == Kind::Text && rest.starts_with('"')) {
            tests.push((value, Test::StartsWith(rest.to_owned())));
            self.found.push(tests.clone());
            tests.pop();
        }
        for (at, _) in rest.char_indices() {
            let (own, rest) = rest.split_at(at);
            let fits = may_follow(&self.shape.pieces[value + 1], rest) && kind.can_hold(own);
            if fits && !(kind == Kind::Text && own.starts_with('"')) {
                tests.push((value, Test::Equals(own.to_owned())));
                self.piece(value + 1, rest, tests);
                tests.pop();
            }
        }
    }

    /// The rest begins with a piece.
    fn piece(&mut self, piece: usize, rest: &str, tests: &mut Vec<(usize, Test)>) {
        let text = &self.shape.pieces[piece];
        if text.starts_with(rest) {
            self.found.push(tests.clone());
        } else if let Some(rest) = rest.strip_prefix(text.as_str()) {
            self.value(piece, rest, tests);
        }
    }
}

/// Whether the rest can begin with the piece, which is told by the first byte as a rule.
fn may_follow(piece: &str, rest: &str) -> bool {
    piece.starts_with(rest) || rest.starts_with(piece)
}

/// Lines that have the string have what it begins with.
fn beginning(needle: &str) -> &str {
    &needle[..needle.floor_char_boundary(CUT_BYTES_MAX)]
}

/// A string that lines are asked for, as tests of the columns of a file.
#[derive(Debug)]
pub struct Needle {
    text: String,
    /// A body that stands whole may have it.
    whole: bool,
    /// By shape.
    rules: Vec<Rule>,
}

impl Needle {
    pub fn new(text: &str, shapes: &Shapes) -> Needle {
        let rules = shapes.0.iter().map(|shape| Rule::of(shape, text)).collect();
        Needle { text: text.to_owned(), whole: true, rules }
    }

    pub fn text(&self) -> &str {
        &self.text
    }

    /// Whether a body that was not taken apart may have it.
    pub fn may_be_whole(&self) -> bool {
        self.whole
    }

    /// Pages that can hold it. Afterwards it is looked for only in the columns where it can be.
    pub fn narrow(
        &mut self,
        shapes: &Shapes,
        paths: &[&str],
        cells: &mut Cells<'_>,
    ) -> Result<Pages, String> {
        let mut found = cells.pages(Some(WHOLE), Test::Contains.clues(beginning(&self.text)))?;
        self.whole = found.any();
        for (rule, shape) in self.rules.iter_mut().zip(&shapes.0) {
            match rule {
                Rule::Always => found = Pages::all(cells.rows),
                Rule::Look => {
                    let mut pages = Pages::all(cells.rows);
                    for clue in clues_of_values(beginning(&self.text), shape) {
                        pages.and(&cells.pages(None, clue)?);
                    }
                    found.or(&pages);
                }
                Rule::Any(ways) => {
                    let mut kept = vec![];
                    for way in std::mem::take(ways) {
                        let mut pages = Pages::all(cells.rows);
                        for (value, test) in &way {
                            let field = paths.iter().position(|path| *path == shape.paths[*value]);
                            let field = field.ok_or("a value of a shape has no column")?;
                            let column = cells.grid.field(field);
                            pages.and(&cells.pages(Some(column), test.clues(&self.text))?);
                        }
                        if pages.any() {
                            found.or(&pages);
                            kept.push(way);
                        }
                    }
                    *ways = kept;
                }
            }
        }
        Ok(found)
    }

    /// The columns that decide.
    pub fn columns(&self, shapes: &Shapes) -> Vec<String> {
        let mut columns = vec![SHAPE.to_owned()];
        if self.whole {
            columns.push(BODY.to_owned());
        }
        for (rule, shape) in self.rules.iter().zip(&shapes.0) {
            let values: Vec<usize> = match rule {
                Rule::Always => vec![],
                Rule::Any(ways) => ways.iter().flatten().map(|(value, _)| *value).collect(),
                Rule::Look => (0..shape.paths.len()).collect(),
            };
            columns.extend(values.into_iter().map(|value| column_of(&shape.paths[value])));
        }
        columns.sort_unstable();
        columns.dedup();
        columns
    }

    /// Takes away the rows whose line does not contain it.
    pub fn mask(&self, read: &Read<'_>, shapes: &Shapes, wanted: &mut [bool]) -> Result<(), ArrowError> {
        let finder = memchr::memmem::Finder::new(&self.text);
        let mut columns: Vec<Option<Vec<Option<&StringArray>>>> = vec![None; shapes.0.len()];
        for (row, wanted) in wanted.iter_mut().enumerate().filter(|(_, wanted)| **wanted) {
            if read.shapes.is_null(row) {
                let whole = read.whole.filter(|whole| self.whole && whole.is_valid(row));
                *wanted = whole.is_some_and(|whole| finder.find(whole.value(row).as_bytes()).is_some());
                continue;
            }
            let number = read.shapes.value(row) as usize;
            let (Some(shape), Some(rule)) = (shapes.0.get(number), self.rules.get(number)) else {
                return Err(wrong("a line is of no shape"));
            };
            let columns = columns[number]
                .get_or_insert_with(|| shape.paths.iter().map(|path| read.column(path)).collect());
            let value = |value: usize| columns[value].map_or("", |column| column.value(row));
            let passes = |(at, test): &(usize, Test)| match test {
                Test::Contains => finder.find(value(*at).as_bytes()).is_some(),
                Test::Equals(text) => value(*at) == text,
                Test::StartsWith(text) => value(*at).starts_with(text.as_str()),
                Test::EndsWith(text) => value(*at).ends_with(text.as_str()),
            };
            *wanted = match rule {
                Rule::Always => true,
                Rule::Any(ways) => ways.iter().any(|tests| tests.iter().all(passes)),
                Rule::Look => {
                    let mut line = String::new();
                    for (at, piece) in shape.pieces.iter().enumerate() {
                        line.push_str(piece);
                        if at < shape.paths.len() {
                            line.push_str(value(at));
                        }
                    }
                    finder.find(line.as_bytes()).is_some()
                }
            };
        }
        Ok(())
    }
}

/// Words and ids of the string that are in no piece of the shape, so that some value must have them; each by itself.
fn clues_of_values(needle: &str, shape: &Shape) -> Vec<Clues> {
    let all = clues(needle, true, true);
    let in_a_piece = |word: &String| {
        shape.pieces.iter().flat_map(|piece| tokens(piece)).any(|token| indexed(token) == *word)
    };
    let words = all.words.into_iter().filter(|word| !in_a_piece(word));
    let words = words.map(|word| Clues { words: vec![word], ..Clues::default() });
    let ids = all.ids.into_iter().filter(|id| !shape.pieces.iter().any(|piece| piece.contains(id.as_str())));
    words.chain(ids.map(|id| Clues { ids: vec![id], ..Clues::default() })).collect()
}

#[cfg(test)]
mod tests {
    use super::super::bodies::Shredder;
    use super::super::bodies::tests::{LINES, all_paths, shredded};
    use super::*;
    use arrow::array::RecordBatch;
    use arrow::datatypes::Schema;
    use std::sync::Arc;

    #[test]
    fn strings_are_found_across_values_and_what_is_between() {
        let (batch, shapes) = shredded(all_paths());
        let mut needles: Vec<String> = [
            r#""msg":"order 17"#,
            "Timeout",
            r#"","msg":""#,
            "17 placed\",\"ms\":12.5,\"err",
            "\\\"quoted",
            "nowhere",
        ]
        .map(str::to_owned)
        .to_vec();
        // Every part of every line, and one byte more or less of it.
        for line in LINES {
            for (from, _) in line.char_indices().step_by(3) {
                for (to, _) in line.char_indices().filter(|(to, _)| *to > from).step_by(5) {
                    needles.push(line[from..to].to_owned());
                    needles.push(format!("{}!", &line[from..to]));
                }
            }
        }
        for needle in needles {
            let found = Needle::new(&needle, &shapes);
            let mut wanted = vec![true; batch.num_rows()];
            found.mask(&Read::of(&batch).unwrap(), &shapes, &mut wanted).unwrap();
            let expected: Vec<bool> = LINES.iter().map(|line| line.contains(&needle)).collect();
            assert_eq!(wanted, expected, "{needle:?}");
        }
    }

    #[test]
    fn a_long_needle_is_looked_for_in_whole_lines() {
        let long = format!(r#"{{"level":"info","msg":"{}","ms":7}}"#, "a b ".repeat(CUT_BYTES_MAX));
        let mut shredder = Shredder::new(all_paths());
        let columns = shredder.shred(&StringArray::from(vec![long.as_str(), LINES[0]]));
        let batch = RecordBatch::try_new(Arc::new(Schema::new(shredder.fields())), columns).unwrap();
        let shapes = Shapes::parse(&shredder.shapes()).unwrap();
        for (needle, expected) in
            [(long[10..].to_owned(), [true, false]), (format!("{}!", &long[10..]), [false; 2])]
        {
            let found = Needle::new(&needle, &shapes);
            assert!(found.rules.iter().all(|rule| *rule == Rule::Look), "its ways are not told");
            let mut wanted = [true; 2];
            found.mask(&Read::of(&batch).unwrap(), &shapes, &mut wanted).unwrap();
            assert_eq!(wanted, expected);
        }
        assert_eq!(beginning(&"ä".repeat(CUT_BYTES_MAX)).len(), CUT_BYTES_MAX);
    }

    #[test]
    fn a_needle_with_a_key_reads_one_column() {
        let (_, shapes) = shredded(all_paths());
        let columns = Needle::new(r#""kind":"Timeout""#, &shapes).columns(&shapes);
        // Arrays may hold anything.
        assert_eq!(columns, ["body", "body_shape", "json.error/kind", "json.ms", "json.tags"]);
    }
}
