//! Which pages can have lines with given words: what the word index and the id index know of each, put together as the
//! query says. It only narrows; whoever asks looks at the lines.

use super::bodies::Shapes;
use super::cells::{Cells, Pages};
use crate::rows::tokens::{Clues, Kind, WORD_BYTES_MAX, indexed, kind, tokens};
use model::WordQuery;

pub fn pages(query: &WordQuery, shapes: &Shapes, cells: &mut Cells<'_>) -> Result<Pages, String> {
    match query {
        WordQuery::Word(word) => of_word(word, shapes, cells),
        WordQuery::Prefix(start) => of_prefix(start, shapes, cells),
        WordQuery::Phrase(words) => {
            let mut all = Pages::all(cells.rows);
            for word in words {
                all.and(&of_word(word, shapes, cells)?);
            }
            Ok(all)
        }
        WordQuery::All(queries) => {
            let mut all = Pages::all(cells.rows);
            for query in queries {
                all.and(&pages(query, shapes, cells)?);
            }
            Ok(all)
        }
        WordQuery::Any(queries) => {
            let mut any = Pages::none(cells.rows);
            for query in queries {
                any.or(&pages(query, shapes, cells)?);
            }
            Ok(any)
        }
        // A page that has the word may have lines without it.
        WordQuery::Not(_) => Ok(Pages::all(cells.rows)),
    }
}

fn of_word(word: &str, shapes: &Shapes, cells: &mut Cells<'_>) -> Result<Pages, String> {
    let word = indexed(word).into_owned();
    let clues = match kind(&word) {
        _ if in_a_shape(shapes, |token| token == word) => return Ok(Pages::all(cells.rows)),
        Kind::Word => Clues { words: vec![word], ..Clues::default() },
        // Ids stand in their index in the case of the line.
        Kind::Id | Kind::Neither => return Ok(Pages::all(cells.rows)),
    };
    cells.pages(None, clues)
}

fn of_prefix(start: &str, shapes: &Shapes, cells: &mut Cells<'_>) -> Result<Pages, String> {
    let start = indexed(start).into_owned();
    // What is hex so far may go on to be an id or a number, which are not among the words.
    let may_be_id = start.bytes().all(|byte| byte.is_ascii_hexdigit());
    if may_be_id || start.len() > WORD_BYTES_MAX / 2 || in_a_shape(shapes, |token| token.starts_with(&start))
    {
        return Ok(Pages::all(cells.rows));
    }
    cells.pages(None, Clues { parts: vec![(start, false, true)], ..Clues::default() })
}

/// What all lines of a shape have in common is in no index.
fn in_a_shape(shapes: &Shapes, is_it: impl Fn(&str) -> bool) -> bool {
    let pieces = shapes.0.iter().flat_map(|shape| &shape.pieces);
    pieces.flat_map(|piece| tokens(piece)).any(|token| is_it(&indexed(token)))
}
