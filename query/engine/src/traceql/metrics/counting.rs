//! Counts the spans of a batch by its columns. Rows lie sorted by service, name and time, so that most are of the group and the
//! step of the row before: what such rows give is added up at once, and what is asked of the words of one holds for all.

use super::exemplars::Example;
use super::groups::{Gathered, Numbers};
use super::{MetricsQuery, in_seconds, number_of};
use crate::QueryError;
use crate::traceql::alike::{Alike, Known, leading, parted};
use crate::traceql::bounds::Bound;
use crate::traceql::evaluate::SpanAt;
use crate::traceql::spans::Spans;
use std::ops::Range;
use traceql::{Field, FieldExpr, Intrinsic, MetricsAggregate};

/// Takes batches one after the other.
pub(super) struct Counting<'q> {
    query: &'q MetricsQuery,
    aggregate: &'q MetricsAggregate,
    /// Conditions of the filter, by what decides them: words, the duration, or only the row.
    of_words: Vec<&'q FieldExpr>,
    bounds: Vec<Bound>,
    of_rows: Vec<&'q FieldExpr>,
    /// Fields whose words make rows alike.
    words: Vec<&'q Field>,
    /// By the number of rows that are alike.
    passing: Known<bool>,
}

/// Rows that follow one another, are alike and start in one step.
struct Run {
    rows: Range<usize>,
    step: usize,
    /// `None` of a row of which it is not known.
    number: Option<u32>,
}

/// What is read of each row of a batch.
struct Columns<'a> {
    spans: &'a Spans<'a>,
    values: Values<'a>,
    /// `None` where each span counts once.
    weights: Option<Vec<f64>>,
    /// Whether a row is counted.
    counted: Vec<bool>,
}

enum Values<'a> {
    /// Spans are only counted.
    None,
    Durations(&'a [i64]),
    /// As [`number_of`] has it; those of rows that are not counted say nothing.
    Numbers(Vec<(f64, f64)>),
}

impl<'a> Columns<'a> {
    fn at(&self, row: usize) -> SpanAt<'a> {
        SpanAt { spans: self.spans, row, trace: None }
    }

    fn value(&self, row: usize) -> (f64, f64) {
        match &self.values {
            Values::None => (1.0, 1.0),
            Values::Durations(durations) => in_seconds(durations[row]),
            Values::Numbers(numbers) => numbers[row],
        }
    }

    fn weight(&self, row: usize) -> f64 {
        self.weights.as_ref().map_or(1.0, |weights| weights[row])
    }

    /// Reads the values of rows that are not read as a column; those without one are not counted.
    fn read_values(&mut self, field: Option<&Field>, rows: Range<usize>) {
        let (Values::Numbers(numbers), Some(field)) = (&mut self.values, field) else { return };
        for row in rows {
            if !self.counted[row] {
                continue;
            }
            match number_of(&SpanAt { spans: self.spans, row, trace: None }, field) {
                Some(number) => numbers[row] = number,
                None => self.counted[row] = false,
            }
        }
    }
}

impl<'q> Counting<'q> {
    pub fn new(query: &'q MetricsQuery, aggregate: &'q MetricsAggregate, filter: &'q FieldExpr) -> Self {
        let (of_words, of_rows) = parted(filter);
        let (bounds, of_rows) = Bound::parted(&of_rows);
        let mut words: Vec<&Field> = aggregate.by.iter().collect();
        of_words.iter().for_each(|condition| condition.fields(&mut |field| words.push(field)));
        Counting { query, aggregate, of_words, bounds, of_rows, words, passing: Known::default() }
    }

    pub fn add(&mut self, spans: &Spans<'_>, gathered: &mut Gathered) -> Result<(), QueryError> {
        let Some(starts) = spans.starts() else { return Ok(()) };
        let mut columns = self.columns(spans, starts);
        let mut alike = Alike::new(spans, &self.words);
        self.passing.forget();
        gathered.groups.alike.forget();
        let (mut row, mut step, mut step_ends) = (0, 0, 0);
        let (mut number, mut passes, mut alike_ends) = (None, false, 0);
        while row < starts.len() {
            if row >= alike_ends {
                (number, alike_ends) = match &mut alike {
                    Some(alike) => {
                        let (number, ends) = alike.run(row, starts.len());
                        (Some(number), ends)
                    }
                    None => (None, row + 1),
                };
                let at = columns.at(row);
                let holds = || self.of_words.iter().all(|condition| at.holds(condition) == Some(true));
                passes = match number {
                    Some(number) => self.passing.get(number, holds),
                    None => holds(),
                };
            }
            if !passes {
                row = alike_ends;
                continue;
            }
            row += leading(&columns.counted[row..alike_ends], |counted| !counted);
            if row >= alike_ends {
                continue;
            }
            if row >= step_ends {
                step = self.query.steps.of(starts[row]);
                let (after, until) = self.query.steps.times(step);
                let same = leading(&starts[row..], |start| after < start && start <= until);
                step_ends = row + same.max(1);
            }
            let rows = row..alike_ends.min(step_ends);
            row = rows.end;
            self.count(Run { rows, step, number }, &mut columns, gathered)?;
        }
        Ok(())
    }

    /// Of the rows in the range of the query that the duration does not rule out.
    fn columns<'a>(&self, spans: &'a Spans<'a>, starts: &[i64]) -> Columns<'a> {
        let range = self.query.steps.range();
        let mut counted: Vec<bool> = starts.iter().map(|start| range.contains(*start)).collect();
        let durations = spans.durations();
        for bound in &self.bounds {
            bound.judge(durations.unwrap_or_default(), &mut counted);
        }
        let values = match (&self.aggregate.field, durations) {
            (None, _) => Values::None,
            (Some(Field::Intrinsic(Intrinsic::Duration)), Some(durations)) => Values::Durations(durations),
            (Some(_), _) => Values::Numbers(vec![(0.0, 0.0); starts.len()]),
        };
        Columns { spans, values, weights: spans.weights(), counted }
    }

    fn count(
        &self,
        Run { rows, step, number }: Run,
        columns: &mut Columns<'_>,
        gathered: &mut Gathered,
    ) -> Result<(), QueryError> {
        if !self.of_rows.is_empty() {
            for row in rows.clone() {
                let at = columns.at(row);
                let holds = || self.of_rows.iter().all(|condition| at.holds(condition) == Some(true));
                columns.counted[row] = columns.counted[row] && holds();
            }
        }
        columns.read_values(self.aggregate.field.as_ref(), rows.clone());
        let columns = &*columns;
        let counted = &columns.counted[rows.clone()];
        let Some(first) = counted.iter().position(|counted| *counted).map(|at| rows.start + at) else {
            return Ok(());
        };
        let mut grown = 0;
        let group =
            self.query.group(&columns.at(first), number, self.aggregate, &mut gathered.groups, &mut grown);
        let groups = &mut gathered.groups;
        match &mut groups.all[group].1 {
            Numbers::Counts(counts, examples) => {
                if let Some(count) = counts.get_mut(step) {
                    match &columns.weights {
                        None => *count += counted.iter().filter(|counted| **counted).count() as f64,
                        Some(weights) => {
                            rows.filter(|row| columns.counted[*row]).for_each(|row| *count += weights[row])
                        }
                    }
                }
                if let Some(place) = examples.get_mut(step).filter(|example| example.is_none()) {
                    let example = Example::new(&columns.at(first), 1.0, &groups.read);
                    grown += example.bytes();
                    *place = Some(example);
                }
            }
            Numbers::Buckets(buckets) => {
                let Some(bucket) = buckets.get_mut(step) else { return Ok(()) };
                let mut largest = (f64::NEG_INFINITY, first);
                for row in rows.filter(|row| columns.counted[*row]) {
                    let (value, whole) = columns.value(row);
                    grown += bucket.add(self.aggregate.op, (value, whole), columns.weight(row));
                    if value > largest.0 {
                        largest = (value, row);
                    }
                }
                if self.query.exemplars > 0 {
                    let (value, row) = largest;
                    grown += bucket.show(value, || Example::new(&columns.at(row), value, &groups.read));
                }
            }
        }
        gathered.account(grown)
    }
}
