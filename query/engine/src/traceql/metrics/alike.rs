//! Rows that are alike in fields of few words. Spans lie sorted by service and name, so what a condition or a grouping says
//! of one row holds for the many after it, and is asked once.

use crate::traceql::spans::Spans;
use std::collections::HashMap;
use traceql::Field;

/// A number for each combination of words; it is not used again in another batch.
pub(super) struct Alike<'a> {
    columns: Vec<&'a [u32]>,
    known: HashMap<Vec<u32>, u32>,
    last: Option<(usize, u32)>,
    next: &'a mut u32,
}

impl<'a> Alike<'a> {
    /// `None` where one of the fields is no column of few words.
    pub fn new(spans: &Spans<'a>, fields: &[&Field], next: &'a mut u32) -> Option<Alike<'a>> {
        let columns = fields.iter().map(|field| spans.keys(field)).collect::<Option<_>>()?;
        Some(Alike { columns, known: HashMap::new(), last: None, next })
    }

    pub fn of(&mut self, row: usize) -> u32 {
        if let Some((last, number)) = self.last
            && self.columns.iter().all(|keys| keys[last] == keys[row])
        {
            self.last = Some((row, number));
            return number;
        }
        let keys: Vec<u32> = self.columns.iter().map(|keys| keys[row]).collect();
        let number = *self.known.entry(keys).or_insert_with(|| {
            *self.next += 1;
            *self.next - 1
        });
        self.last = Some((row, number));
        number
    }
}

/// What is known of rows, by their number.
#[derive(Default)]
pub(super) struct Known<T>(Vec<Option<T>>);

impl<T: Copy> Known<T> {
    pub fn get(&mut self, number: u32, make: impl FnOnce() -> T) -> T {
        let at = number as usize;
        if self.0.len() <= at {
            self.0.resize(at + 1, None);
        }
        *self.0[at].get_or_insert_with(make)
    }
}
