//! Judges lines by an automaton as they lie in a part: text lines as the values of their template, JSON as the values of its
//! shape. Nothing is put together; what fixed text and frequent words make of a state is kept for the next line.

use super::automaton::{Alphabet, Automaton, Reached, State, Verdict};
use super::bodies::{Kind as JsonKind, Read, Shape, Shapes, column_of, wrong};
use super::cut::{self, Kind};
use super::templates::{Part, Unpacker, take_id, take_number, write_stamp};
use arrow::array::{Array, StringArray};
use arrow::error::ArrowError;
use std::sync::Arc;

/// What pieces of text make of states, by piece and state.
struct Texts(Vec<Option<Box<[State]>>>);

/// It was not asked yet.
const UNKNOWN: State = State::MAX;

impl Texts {
    fn of(pieces: usize) -> Texts {
        Texts((0..pieces).map(|_| None).collect())
    }

    fn run(&mut self, automaton: &Automaton, at: usize, state: State, text: &[u8]) -> State {
        let next = self.0[at].get_or_insert_with(|| vec![UNKNOWN; automaton.states()].into());
        let next = &mut next[usize::from(state)];
        if *next == UNKNOWN {
            *next = automaton.run(state, text);
        }
        *next
    }
}

/// Tokens that are passed over before the first one that matters.
#[derive(Debug, PartialEq)]
enum Passed {
    /// So many that are a number each.
    Numbers(usize),
    Word,
    Rest,
}

/// How lines that begin with one number are judged.
struct Kin {
    verdict: Verdict,
    /// The last part before which all lines are in one state, and that state: what stands before it does not matter.
    start: (usize, State),
    /// The values of tokens before the start.
    passed: Vec<Passed>,
    /// Bytes of ids before it.
    id_bytes: usize,
    /// By part: whether the text of a token can matter.
    looks_at: Vec<bool>,
    texts: Texts,
    /// By part and state: what can be said of all lines that are in the state before the part.
    verdicts: Vec<Option<Box<[Option<Verdict>]>>>,
}

impl Kin {
    fn of(automaton: &Automaton, parts: &[Part]) -> Kin {
        let mut reached = Reached::from(automaton, automaton.start());
        let (mut start, mut looks_at) = ((0, automaton.start()), vec![]);
        for (at, part) in parts.iter().enumerate() {
            if let Some(state) = reached.only() {
                start = (at, state);
            }
            looks_at.push(matches!(part, Part::Token(kind) if reached.looks_at(Alphabet::of(*kind))));
            pass(&mut reached, part);
        }
        looks_at[..start.0].fill(false);
        let (passed, id_bytes) = passed(&parts[..start.0]);
        Kin {
            verdict: reached.verdict(),
            start,
            passed,
            id_bytes,
            looks_at,
            texts: Texts::of(parts.len()),
            verdicts: (0..=parts.len()).map(|_| None).collect(),
        }
    }

    /// Passes over what stands before the start. Ids may not have been read.
    fn skip(&self, values: &mut &[u8], ids: &mut &[u8]) -> Option<()> {
        for passed in &self.passed {
            match passed {
                Passed::Numbers(count) => skip_numbers(*count, values)?,
                Passed::Word => pass_over(Kind::Word, values, ids)?,
                Passed::Rest => pass_over(Kind::Rest, values, ids)?,
            }
        }
        _ = ids.split_off(..self.id_bytes);
        Some(())
    }

    fn verdict_before(&mut self, automaton: &Automaton, parts: &[Part], at: usize, state: State) -> Verdict {
        let of_state = self.verdicts[at].get_or_insert_with(|| vec![None; automaton.states()].into());
        *of_state[usize::from(state)].get_or_insert_with(|| {
            let mut reached = Reached::from(automaton, state);
            parts[at..].iter().for_each(|part| pass(&mut reached, part));
            reached.verdict()
        })
    }
}

fn pass(reached: &mut Reached<'_>, part: &Part) {
    match part {
        Part::Text(text) => reached.text(text),
        Part::Token(kind) => reached.any_text(Alphabet::of(*kind)),
    }
}

/// What lies before a part, and the bytes of the ids in it.
fn passed(parts: &[Part]) -> (Vec<Passed>, usize) {
    let (mut passed, mut id_bytes) = (vec![], 0);
    for part in parts {
        match part {
            Part::Text(_) => {}
            Part::Token(Kind::Number | Kind::Stamp(_)) => match passed.last_mut() {
                Some(Passed::Numbers(count)) => *count += 1,
                _ => passed.push(Passed::Numbers(1)),
            },
            Part::Token(Kind::Word) => passed.push(Passed::Word),
            Part::Token(Kind::Rest) => passed.push(Passed::Rest),
            Part::Token(id @ (Kind::Hex(_) | Kind::Uuid)) => id_bytes += bytes_of_id(*id),
        }
    }
    (passed, id_bytes)
}

/// Judges packed text lines.
pub struct Lines {
    automaton: Arc<Automaton>,
    /// By the number that a line begins with.
    kin: Vec<Kin>,
    /// By state and word.
    words: Vec<Option<Box<[State]>>>,
    text: Vec<u8>,
}

impl Lines {
    pub fn new(automaton: Arc<Automaton>, lines: &Unpacker) -> Lines {
        let parts = (0..lines.numbers()).map(|number| lines.parts(number).unwrap_or_default());
        Lines {
            kin: parts.map(|parts| Kin::of(&automaton, parts)).collect(),
            words: (0..automaton.states()).map(|_| None).collect(),
            text: vec![],
            automaton,
        }
    }

    /// Whether ids are looked at, and times.
    pub fn needs(&self, lines: &Unpacker) -> (bool, bool) {
        let looked_at = self.kin.iter().enumerate().filter(|(_, kin)| kin.verdict == Verdict::Look);
        let (mut ids, mut times) = (false, false);
        for (number, kin) in looked_at {
            for (part, looks) in lines.parts(number).unwrap_or_default().iter().zip(&kin.looks_at) {
                ids |= *looks && matches!(part, Part::Token(Kind::Hex(_) | Kind::Uuid));
                times |= *looks && matches!(part, Part::Token(Kind::Stamp(_)));
            }
        }
        (ids, times)
    }

    /// Whether the line has a match; `None` where the bytes are no line.
    pub fn matches(
        &mut self,
        lines: &Unpacker,
        mut values: &[u8],
        mut ids: &[u8],
        ts_ns: i64,
    ) -> Option<bool> {
        let number = take_number(&mut values)? as usize;
        let kin = self.kin.get_mut(number)?;
        match kin.verdict {
            Verdict::Always => return Some(true),
            Verdict::Never => return Some(false),
            Verdict::Look => {}
        }
        let (automaton, parts) = (&*self.automaton, lines.parts(number)?);
        kin.skip(&mut values, &mut ids)?;
        let (start, mut state) = kin.start;
        for (at, part) in parts.iter().enumerate().skip(start) {
            let kind = match part {
                Part::Text(text) => {
                    state = kin.texts.run(automaton, at, state, text);
                    continue;
                }
                Part::Token(kind) => *kind,
            };
            if !kin.looks_at[at] {
                pass_over(kind, &mut values, &mut ids)?;
                continue;
            }
            state = match kind {
                Kind::Word => match take_number(&mut values)? as usize {
                    0 => automaton.run(state, take_bytes(&mut values)?),
                    place => {
                        let word = lines.word(place - 1)?;
                        let next = self.words[usize::from(state)]
                            .get_or_insert_with(|| vec![UNKNOWN; lines.words()].into());
                        let next = &mut next[place - 1];
                        if *next == UNKNOWN {
                            *next = automaton.run(state, word.as_bytes());
                        }
                        *next
                    }
                },
                Kind::Rest => automaton.run(state, take_bytes(&mut values)?),
                kind => {
                    self.text.clear();
                    match kind {
                        Kind::Stamp(stamp) => {
                            write_stamp(stamp, take_number(&mut values)?, ts_ns, &mut self.text);
                        }
                        Kind::Number => cut::write_number(take_number(&mut values)?, &mut self.text),
                        id => take_id(id, &mut ids, &mut self.text)?,
                    }
                    automaton.run(state, &self.text)
                }
            };
            match kin.verdict_before(automaton, parts, at + 1, state) {
                Verdict::Always => return Some(true),
                Verdict::Never => return Some(false),
                Verdict::Look => {}
            }
        }
        Some(automaton.matches_at_end(state))
    }
}

fn take_bytes<'v>(values: &mut &'v [u8]) -> Option<&'v [u8]> {
    let length = usize::try_from(take_number(values)?).ok()?;
    values.split_off(..length)
}

/// Passes over a token that nobody looks at. Its id may not have been read.
fn pass_over(kind: Kind, values: &mut &[u8], ids: &mut &[u8]) -> Option<()> {
    match kind {
        Kind::Number | Kind::Stamp(_) => _ = take_number(values)?,
        Kind::Word => {
            if take_number(values)? == 0 {
                take_bytes(values)?;
            }
        }
        Kind::Rest => _ = take_bytes(values)?,
        id @ (Kind::Hex(_) | Kind::Uuid) => _ = ids.split_off(..bytes_of_id(id)),
    }
    Some(())
}

fn bytes_of_id(kind: Kind) -> usize {
    match kind {
        Kind::Hex(digits) => usize::from(digits) / 2,
        Kind::Uuid => 16,
        _ => 0,
    }
}

/// Passes over numbers as [`take_number`] takes them.
fn skip_numbers(count: usize, bytes: &mut &[u8]) -> Option<()> {
    let mut ends = bytes.iter().enumerate().filter(|(_, byte)| **byte < 0x80);
    let (last, _) = ends.nth(count.checked_sub(1)?)?;
    *bytes = &bytes[last + 1..];
    Some(())
}

/// How bodies of one shape are judged.
struct OfShape {
    verdict: Verdict,
    /// By value: whether its text can matter.
    looks_at: Vec<bool>,
    texts: Texts,
}

impl OfShape {
    fn of(automaton: &Automaton, shape: &Shape) -> OfShape {
        let mut reached = Reached::from(automaton, automaton.start());
        let mut looks_at = vec![];
        for (at, piece) in shape.pieces.iter().enumerate() {
            reached.text(piece.as_bytes());
            if at < shape.paths.len() {
                let alphabet = match shape.kind(at) {
                    JsonKind::Text => Alphabet::Quoted,
                    JsonKind::Scalar => Alphabet::Scalar,
                    JsonKind::Array => Alphabet::Any,
                };
                looks_at.push(reached.looks_at(&[alphabet]));
                reached.any_text(&[alphabet]);
            }
        }
        OfShape { verdict: reached.verdict(), looks_at, texts: Texts::of(shape.pieces.len()) }
    }
}

/// Judges bodies that were taken apart.
pub struct Json {
    automaton: Arc<Automaton>,
    by_shape: Vec<OfShape>,
}

impl Json {
    pub fn new(automaton: Arc<Automaton>, shapes: &Shapes) -> Json {
        Json { by_shape: shapes.0.iter().map(|shape| OfShape::of(&automaton, shape)).collect(), automaton }
    }

    /// The columns whose text can matter.
    pub fn columns(&self, shapes: &Shapes) -> Vec<String> {
        let mut columns = vec![];
        let by_shape = self.by_shape.iter().zip(&shapes.0);
        for (of_shape, shape) in by_shape.filter(|(of_shape, _)| of_shape.verdict == Verdict::Look) {
            let looked_at = shape.paths.iter().zip(&of_shape.looks_at).filter(|(_, looks)| **looks);
            columns.extend(looked_at.map(|(path, _)| column_of(path)));
        }
        columns
    }

    /// Leaves of the rows that were taken apart those that have a match, or have none. Other rows stay as they are.
    pub fn mask(
        &mut self,
        read: &Read<'_>,
        shapes: &Shapes,
        negated: bool,
        wanted: &mut [bool],
    ) -> Result<(), ArrowError> {
        let mut columns: Vec<Option<Vec<Option<&StringArray>>>> = vec![None; shapes.0.len()];
        let is_mine = |row: usize, wanted: bool| wanted && read.shapes.is_valid(row);
        for (row, wanted) in wanted.iter_mut().enumerate().filter(|(row, wanted)| is_mine(*row, **wanted)) {
            let number = read.shapes.value(row) as usize;
            let (Some(shape), Some(of_shape)) = (shapes.0.get(number), self.by_shape.get_mut(number)) else {
                return Err(wrong("a line is of no shape"));
            };
            let matches = match of_shape.verdict {
                Verdict::Always => true,
                Verdict::Never => false,
                Verdict::Look => {
                    let columns = columns[number]
                        .get_or_insert_with(|| shape.paths.iter().map(|path| read.column(path)).collect());
                    let automaton = &*self.automaton;
                    let mut state = automaton.start();
                    for (at, piece) in shape.pieces.iter().enumerate() {
                        if Automaton::is_final(state) {
                            break;
                        }
                        state = of_shape.texts.run(automaton, at, state, piece.as_bytes());
                        if of_shape.looks_at.get(at) == Some(&true) {
                            let column = columns[at].ok_or_else(|| wrong("a value has no column"))?;
                            state = automaton.run(state, column.value(row).as_bytes());
                        }
                    }
                    automaton.matches_at_end(state)
                }
            };
            *wanted = matches != negated;
        }
        Ok(())
    }
}
