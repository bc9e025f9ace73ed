//! Rows that are alike in fields that are words. Spans lie sorted by service and name, so what a condition or a grouping says
//! of one row holds for the many after it, and is asked once.

use crate::traceql::spans::Spans;
use foldhash::fast::RandomState;
use std::borrow::Cow;
use std::collections::HashMap;
use traceql::{Field, FieldExpr, Intrinsic, Scope};

/// A number for each combination of words in a batch, from 0 on.
pub(in crate::traceql) struct Alike<'a> {
    columns: Vec<Cow<'a, [u32]>>,
    /// Numbers of the words of the first column; none is 0.
    first: Vec<Option<u32>>,
    /// For each further column the number that a number and a word become.
    further: Vec<HashMap<(u32, u32), u32, RandomState>>,
    last: Option<(usize, u32)>,
    count: u32,
}

impl<'a> Alike<'a> {
    /// `None` where one of the fields is not of words.
    pub fn new(spans: &Spans<'a>, fields: &[&Field]) -> Option<Alike<'a>> {
        let columns: Vec<Vec<Cow<'a, [u32]>>> =
            fields.iter().map(|field| spans.keys(field)).collect::<Option<_>>()?;
        let columns: Vec<Cow<'a, [u32]>> = columns.into_iter().flatten().collect();
        let further = vec![HashMap::default(); columns.len().saturating_sub(1)];
        Some(Alike { columns, first: vec![], further, last: None, count: 0 })
    }

    pub fn of(&mut self, row: usize) -> u32 {
        if let Some((last, number)) = self.last
            && self.columns.iter().all(|keys| keys[last] == keys[row])
        {
            self.last = Some((row, number));
            return number;
        }
        let mut number = 0;
        if let Some(keys) = self.columns.first() {
            let word = keys[row].wrapping_add(1) as usize;
            if self.first.len() <= word {
                self.first.resize(word + 1, None);
            }
            number = *self.first[word].get_or_insert_with(|| next(&mut self.count));
        }
        for (keys, known) in self.columns.iter().skip(1).zip(&mut self.further) {
            number = *known.entry((number, keys[row])).or_insert_with(|| next(&mut self.count));
        }
        self.last = Some((row, number));
        number
    }

    /// As [`Alike::of`], and where the rows end that follow this one, of so many in all, and have its words.
    pub fn run(&mut self, row: usize, rows: usize) -> (u32, usize) {
        let number = self.of(row);
        // Of names of users and the like each row has another.
        if row + 1 < rows && self.columns.iter().any(|keys| keys[row] != keys[row + 1]) {
            return (number, row + 1);
        }
        // In ever longer steps: one column may stay as it is up to the end where another soon changes.
        let (mut ends, mut step) = (row + 1, AT_ONCE);
        loop {
            let most = rows.min(ends + step);
            let alike = self.columns.iter().fold(most, |most, keys| {
                let first = keys[row];
                ends + leading(&keys[ends..most], |key| key == first)
            });
            if alike < most || most == rows {
                return (number, alike);
            }
            (ends, step) = (most, 2 * step);
        }
    }
}

/// Values that are looked at together.
const AT_ONCE: usize = 32;

/// How many of the first values something holds of. Where it is many, most are looked at without asking after each.
pub(in crate::traceql) fn leading<T: Copy>(values: &[T], holds: impl Fn(T) -> bool) -> usize {
    let all = |some: &&[T]| some.iter().fold(true, |all, value| all & holds(*value));
    let whole = AT_ONCE * values.chunks_exact(AT_ONCE).take_while(all).count();
    whole + values[whole..].iter().take_while(|value| holds(**value)).count()
}

fn next(count: &mut u32) -> u32 {
    *count += 1;
    *count - 1
}

/// What is known of the rows of a batch, by their number.
#[derive(Default)]
pub(in crate::traceql) struct Known<T>(Vec<Option<T>>);

impl<T: Copy> Known<T> {
    pub fn get(&mut self, number: u32, make: impl FnOnce() -> T) -> T {
        let at = number as usize;
        if self.0.len() <= at {
            self.0.resize(at + 1, None);
        }
        *self.0[at].get_or_insert_with(make)
    }

    /// Another batch begins.
    pub fn forget(&mut self) {
        self.0.clear();
    }
}

/// The conditions that must all hold: those that words of the span decide, and the others.
pub(in crate::traceql) fn parted(filter: &FieldExpr) -> (Vec<&FieldExpr>, Vec<&FieldExpr>) {
    conditions(filter).into_iter().partition(|condition| {
        let mut words = true;
        condition.fields(&mut |field| words &= may_be_words(field));
        words
    })
}

/// What must all hold for the filter to hold.
pub(in crate::traceql) fn conditions(filter: &FieldExpr) -> Vec<&FieldExpr> {
    fn all<'a>(filter: &'a FieldExpr, conditions: &mut Vec<&'a FieldExpr>) {
        match filter {
            FieldExpr::And(left, right) => {
                all(left, conditions);
                all(right, conditions);
            }
            one => conditions.push(one),
        }
    }
    let mut conditions = Vec::new();
    all(filter, &mut conditions);
    conditions
}

/// As [`Spans::keys`], whatever the batch.
fn may_be_words(field: &Field) -> bool {
    match field {
        Field::Attribute { scope, .. } => matches!(scope, Scope::Span | Scope::Resource | Scope::Any),
        Field::Intrinsic(intrinsic) => matches!(
            intrinsic,
            Intrinsic::Name
                | Intrinsic::Status
                | Intrinsic::Kind
                | Intrinsic::InstrumentationName
                | Intrinsic::InstrumentationVersion
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_with_the_same_words_end_where_any_column_has_another() {
        let rows = 1_000;
        let columns: [Vec<u32>; 3] = [
            vec![u32::MAX; rows],
            (0..rows as u32).map(|row| row / 7).collect(),
            (0..rows as u32).map(|row| row / 300).collect(),
        ];
        for chosen in [vec![0], vec![0, 1], vec![1, 2], vec![2, 0], vec![0, 1, 2], vec![]] {
            let own: Vec<&Vec<u32>> = chosen.iter().map(|at: &usize| &columns[*at]).collect();
            let further = vec![HashMap::default(); own.len().saturating_sub(1)];
            let columns = own.iter().map(|keys| Cow::Borrowed(keys.as_slice())).collect();
            let mut alike = Alike { columns, first: vec![], further, last: None, count: 0 };
            let mut row = 0;
            while row < rows {
                let differs = |other: &usize| own.iter().any(|keys| keys[*other] != keys[row]);
                let expected = (row..rows).find(differs).unwrap_or(rows);
                let (_, ends) = alike.run(row, rows);
                assert_eq!(ends, expected, "{chosen:?} from {row}");
                row = ends;
            }
        }
    }

    #[test]
    fn the_first_values_are_counted_up_to_one_that_is_other() {
        for length in 0..100 {
            let values: Vec<usize> = (0..length).collect();
            for other in 0..=length {
                assert_eq!(leading(&values, |value| value != other), other.min(length));
            }
        }
    }
}
