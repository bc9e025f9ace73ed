//! What the lines of a selection must hold and must not, judged on the columns in which their bodies lie.

use super::Index;
use super::automaton::{Automata, Automaton};
use super::bodies::{self, BODY, Read, SHAPE, wrong};
use super::needles::Needle;
use super::packed::{IDS, VALUES};
use super::times;
use super::walk;
use crate::part::Signal;
use crate::rows::stored::time_column;
use arrow::array::{Array, AsArray, BinaryArray, RecordBatch, StringArray};
use arrow::datatypes::TimestampNanosecondType;
use arrow::error::ArrowError;
use model::LinePattern;
use std::sync::Arc;

enum Condition {
    /// Packed lines are judged where they may have it.
    Text {
        needle: Needle,
        lines: Option<walk::Lines>,
    },
    Pattern {
        pattern: LinePattern,
        lines: walk::Lines,
        json: walk::Json,
    },
    /// Whole lines are looked at.
    Whole(Box<dyn Fn(&str) -> bool + Send>),
}

/// Of one part.
pub struct Conditions {
    index: Arc<Index>,
    all: Vec<Condition>,
}

impl Conditions {
    pub fn new(
        index: &Arc<Index>,
        needles: Vec<Needle>,
        patterns: &[LinePattern],
        automata: &Automata,
    ) -> Conditions {
        let lines = |automaton| walk::Lines::new(automaton, index.packed.lines());
        let of_text = |needle: Needle| {
            if !needle.may_be_whole() {
                return Condition::Text { needle, lines: None };
            }
            match Automaton::of_text(needle.text()) {
                Some(automaton) => Condition::Text { needle, lines: Some(lines(Arc::new(automaton))) },
                None => Condition::Whole(Box::new(move |line| line.contains(needle.text()))),
            }
        };
        let of_pattern = |pattern: &LinePattern| {
            let pattern = pattern.clone();
            match automata.of_regex(pattern.regex.as_str()) {
                Some(automaton) => {
                    let json = walk::Json::new(automaton.clone(), &index.shapes);
                    Condition::Pattern { pattern, lines: lines(automaton), json }
                }
                None => Condition::Whole(Box::new(move |line| pattern.passes(line))),
            }
        };
        let all = needles.into_iter().map(of_text).chain(patterns.iter().map(of_pattern)).collect();
        Conditions { index: index.clone(), all }
    }

    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// Names of the columns of the file that decide.
    pub fn columns(&self) -> Vec<String> {
        let mut columns: Vec<String> = vec![];
        let (index, packed) = (&self.index, &self.index.packed);
        for condition in &self.all {
            let lines = match condition {
                Condition::Text { needle, lines } => {
                    columns.extend(needle.columns(&index.shapes));
                    lines.as_ref()
                }
                Condition::Pattern { lines, json, .. } => {
                    columns.extend([BODY, SHAPE].map(str::to_owned));
                    columns.extend(json.columns(&index.shapes));
                    Some(lines)
                }
                Condition::Whole(_) => {
                    columns.extend(
                        index.field_names().filter(|name| bodies::is_column(name)).map(str::to_owned),
                    );
                    packed.needs_of_lines(&mut columns);
                    None
                }
            };
            if let Some(lines) = lines.filter(|_| !packed.lines().is_empty()) {
                let (ids, times) = lines.needs(packed.lines());
                columns.push(VALUES.to_owned());
                columns.extend(ids.then(|| IDS.to_owned()));
                columns.extend(times.then(|| time_column(Signal::Logs).to_owned()));
            }
        }
        packed.needs_of_forms(&mut columns);
        columns.sort_unstable();
        columns.dedup();
        columns
    }

    /// Leaves of the wanted rows those that pass. The batch has [`columns`](Self::columns) as they lie in the file.
    pub fn mask(&mut self, batch: &RecordBatch, wanted: &mut [bool]) -> Result<(), ArrowError> {
        let Conditions { index, all } = self;
        let packed = Packed::of(batch)?;
        let mut is_packed = vec![false; wanted.len()];
        if let Some(packed) = &packed {
            for (row, wanted) in wanted.iter_mut().enumerate() {
                is_packed[row] = *wanted && packed.values.is_valid(row);
                *wanted &= !is_packed[row];
            }
        }
        let shredded = index.packed.unpack_forms(batch.clone(), &index.shapes)?;
        let read = Read::of(&shredded)?;
        let mut whole_lines: Option<StringArray> = None;
        for condition in all {
            match condition {
                Condition::Text { needle, lines } => {
                    needle.mask(&read, &index.shapes, wanted)?;
                    match (&packed, lines) {
                        (Some(packed), Some(lines)) => packed.mask(index, lines, false, &mut is_packed)?,
                        _ => is_packed.fill(false),
                    }
                }
                Condition::Pattern { pattern, lines, json } => {
                    let whole = read.whole.ok_or_else(|| wrong("no whole bodies"))?;
                    let stands = |row: usize, wanted: bool| wanted && read.shapes.is_null(row);
                    let standing =
                        wanted.iter_mut().enumerate().filter(|(row, wanted)| stands(*row, **wanted));
                    for (row, wanted) in standing {
                        *wanted = pattern.passes(if whole.is_valid(row) { whole.value(row) } else { "" });
                    }
                    json.mask(&read, &index.shapes, pattern.negated, wanted)?;
                    let negated = pattern.negated;
                    packed
                        .iter()
                        .try_for_each(|packed| packed.mask(index, lines, negated, &mut is_packed))?;
                }
                Condition::Whole(passes) => {
                    let lines = match &mut whole_lines {
                        Some(lines) => lines,
                        none => none.insert(bodies::restore(
                            &index.packed.unpack(batch.clone(), &index.shapes)?,
                            &index.shapes,
                        )?),
                    };
                    for of_kind in [&mut *wanted, &mut is_packed] {
                        for (row, wanted) in of_kind.iter_mut().enumerate().filter(|(_, wanted)| **wanted) {
                            *wanted = passes(lines.value(row));
                        }
                    }
                }
            }
        }
        wanted.iter_mut().zip(is_packed).for_each(|(wanted, is_packed)| *wanted |= is_packed);
        Ok(())
    }
}

/// Packed lines of a batch. Ids and times may be missing where nobody looks at them.
struct Packed<'a> {
    values: &'a BinaryArray,
    ids: Option<&'a BinaryArray>,
    times: Option<arrow::array::TimestampNanosecondArray>,
}

impl<'a> Packed<'a> {
    fn of(batch: &'a RecordBatch) -> Result<Option<Packed<'a>>, ArrowError> {
        let column = |name: &str| batch.column_by_name(name).and_then(|column| column.as_binary_opt::<i32>());
        let Some(values) = column(VALUES) else { return Ok(None) };
        let name = time_column(Signal::Logs);
        let times = match batch.column_by_name(name) {
            Some(times) => {
                let times = times::in_nanoseconds(Signal::Logs, name, times)?;
                times.as_primitive_opt::<TimestampNanosecondType>().cloned()
            }
            None => None,
        };
        Ok(Some(Packed { values, ids: column(IDS), times }))
    }

    fn mask(
        &self,
        index: &Index,
        lines: &mut walk::Lines,
        negated: bool,
        wanted: &mut [bool],
    ) -> Result<(), ArrowError> {
        let times = self.times.as_ref().map(|times| times.values());
        for (row, wanted) in wanted.iter_mut().enumerate().filter(|(_, wanted)| **wanted) {
            let ids = self.ids.filter(|ids| ids.is_valid(row)).map_or(&[][..], |ids| ids.value(row));
            let ts = times.map_or(0, |times| times[row]);
            let matches = lines.matches(index.packed.lines(), self.values.value(row), ids, ts);
            *wanted = matches.ok_or_else(|| wrong("a line is not of its template"))? != negated;
        }
        Ok(())
    }
}
