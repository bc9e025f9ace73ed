//! Which rows of a batch one filter may hold of. What compares the duration is asked of the whole column, what words of a span
//! decide once of all rows that have them, and only the rest row by row.

use crate::traceql::alike::{Alike, Known, leading, parted};
use crate::traceql::bounds::Bound;
use crate::traceql::evaluate::SpanAt;
use crate::traceql::spans::Spans;
use traceql::{Field, FieldExpr};

/// Takes batches one after the other.
pub(super) struct Passing<'q> {
    bounds: Vec<Bound>,
    of_words: Vec<&'q FieldExpr>,
    of_rows: Vec<&'q FieldExpr>,
    /// What `of_words` reads.
    words: Vec<&'q Field>,
    /// By the number of rows that are alike.
    known: Known<bool>,
}

impl<'q> Passing<'q> {
    pub fn new(filter: &'q FieldExpr) -> Passing<'q> {
        let (of_words, of_rows) = parted(filter);
        let (bounds, of_rows) = Bound::parted(&of_rows);
        let mut words: Vec<&Field> = vec![];
        of_words.iter().for_each(|condition| condition.fields(&mut |field| words.push(field)));
        Passing { bounds, of_words, of_rows, words, known: Known::default() }
    }

    /// Takes out the rows for which it does not hold; those for which only the whole trace would tell stay.
    pub fn judge(&mut self, spans: &Spans<'_>, passing: &mut [bool]) {
        for bound in &self.bounds {
            bound.judge(spans.durations().unwrap_or_default(), passing);
        }
        if !self.of_words.is_empty() {
            self.judge_words(spans, passing);
        }
        if !self.of_rows.is_empty() {
            each_passing(passing, |row| may_hold(&self.of_rows, spans, row));
        }
    }

    fn judge_words(&mut self, spans: &Spans<'_>, passing: &mut [bool]) {
        let Some(mut alike) = Alike::new(spans, &self.words) else {
            return each_passing(passing, |row| may_hold(&self.of_words, spans, row));
        };
        self.known.forget();
        let mut row = 0;
        loop {
            row += leading(&passing[row..], |passes| !passes);
            if row >= passing.len() {
                return;
            }
            let (number, ends) = alike.run(row, passing.len());
            if !self.known.get(number, || may_hold(&self.of_words, spans, row)) {
                passing[row..ends].fill(false);
            }
            row = ends;
        }
    }
}

fn each_passing(passing: &mut [bool], holds: impl Fn(usize) -> bool) {
    for (row, passes) in passing.iter_mut().enumerate().filter(|(_, passes)| **passes) {
        *passes = holds(row);
    }
}

fn may_hold(conditions: &[&FieldExpr], spans: &Spans<'_>, row: usize) -> bool {
    let at = SpanAt { spans, row, trace: None };
    conditions.iter().all(|condition| at.holds(condition) != Some(false))
}
