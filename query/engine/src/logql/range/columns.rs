//! JSON lines whose labels came as columns: most are judged by comparing values, and the series of a line is found again
//! by its stream and the values that the answer groups by, without putting its labels together.

use super::super::scan::{Rows, Stream};
use arrow::array::{Array, StringArray};
use datafusion::common::hash_utils::RandomState;
use logql::{Grouping, LabelTest, Pipeline};
use std::cell::Cell;
use std::collections::HashMap;

/// What the lines of one batch are judged by.
pub(super) struct Columns<'a> {
    tests: Vec<Tested<'a>>,
    /// Labels of the answer.
    by: Vec<(&'a str, Option<&'a StringArray>)>,
}

struct Tested<'a> {
    test: LabelTest<'a>,
    column: Option<&'a StringArray>,
    /// The value before, which often comes again, and whether it passes.
    last: Cell<Option<(&'a str, Option<bool>)>>,
}

impl Tested<'_> {
    fn passes(&self, row: usize) -> Option<bool> {
        let Some(text) = value(self.column, row) else { return self.test.passes(None) };
        match self.last.get() {
            Some((last, passes)) if last == text => passes,
            _ => {
                let passes = self.test.passes(Some(text));
                self.last.set(Some((text, passes)));
                passes
            }
        }
    }
}

/// What the labels of a stream mean for its lines.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Class {
    New,
    /// It has a label that a line is tested by.
    Mixed,
    /// Streams of one number give the answer the same labels.
    Plain(u32),
}

/// Series that lines were counted in before.
#[derive(Default)]
pub(super) struct Known {
    /// By stream.
    classes: Vec<Class>,
    numbers: HashMap<Vec<Option<String>>, u32>,
    series: HashMap<Box<[u8]>, usize, RandomState>,
    /// Of the line at hand: its class, and the values that it groups by.
    key: Vec<u8>,
    /// The line before often is of the same series.
    last_key: Vec<u8>,
    last: Option<usize>,
}

pub(super) enum Verdict {
    Drops,
    /// It is one of this series.
    Of(usize),
    /// The pipeline must run. Whether the series that it finds is to be [remembered](Known::remember).
    Unknown {
        remember: bool,
    },
}

impl<'a> Columns<'a> {
    /// `None` where labels may come from elsewhere than the streams and `| json`.
    pub fn of(
        pipeline: &'a Pipeline,
        grouping: Option<&'a Grouping>,
        rows: &Rows<'a>,
    ) -> Option<Columns<'a>> {
        let json = rows.json()?;
        let Some(Grouping { without: false, labels }) = grouping else { return None };
        let tests = pipeline.label_tests()?;
        let mut names = tests.iter().map(LabelTest::name).chain(labels.iter().map(String::as_str));
        let made_elsewhere =
            |name: &str| rows.has_metadata(name) || name.ends_with("_extracted") || name.starts_with("__");
        if names.any(made_elsewhere) {
            return None;
        }
        let by = labels.iter().map(|label| (label.as_str(), json.label(label))).collect();
        let tested =
            |test: LabelTest<'a>| Tested { column: json.label(test.name()), test, last: Cell::new(None) };
        let tests = tests.into_iter().map(tested).collect();
        Some(Columns { tests, by })
    }

    pub fn judge(&self, row: usize, stream_at: usize, stream: &Stream, known: &mut Known) -> Verdict {
        let Class::Plain(class) = known.class(stream_at, stream, self) else {
            return Verdict::Unknown { remember: false };
        };
        for test in &self.tests {
            match test.passes(row) {
                Some(true) => {}
                Some(false) => return Verdict::Drops,
                None => return Verdict::Unknown { remember: false },
            }
        }
        known.key.clear();
        known.key.extend_from_slice(&class.to_le_bytes());
        for (_, column) in &self.by {
            let value = value(*column, row).unwrap_or("");
            known.key.extend_from_slice(&(value.len() as u32).to_le_bytes());
            known.key.extend_from_slice(value.as_bytes());
        }
        match known.find() {
            Some(series) => Verdict::Of(series),
            None => Verdict::Unknown { remember: true },
        }
    }
}

fn value(column: Option<&StringArray>, row: usize) -> Option<&str> {
    column.filter(|column| column.is_valid(row)).map(|column| column.value(row))
}

impl Known {
    fn class(&mut self, stream_at: usize, stream: &Stream, columns: &Columns<'_>) -> Class {
        if self.classes.len() <= stream_at {
            self.classes.resize(stream_at + 1, Class::New);
        }
        if self.classes[stream_at] == Class::New {
            let mixed = columns.tests.iter().any(|test| stream.labels.get(test.test.name()).is_some());
            self.classes[stream_at] = if mixed {
                Class::Mixed
            } else {
                let values =
                    columns.by.iter().map(|(label, _)| stream.labels.get(label).map(str::to_owned)).collect();
                let next = self.numbers.len() as u32;
                Class::Plain(*self.numbers.entry(values).or_insert(next))
            };
        }
        self.classes[stream_at]
    }

    fn find(&mut self) -> Option<usize> {
        if self.last.is_none() || self.key != self.last_key {
            self.last = self.series.get(self.key.as_slice()).copied();
            std::mem::swap(&mut self.key, &mut self.last_key);
        }
        self.last
    }

    /// The series of the line that was judged last. Bytes that this takes.
    pub fn remember(&mut self, series: usize) -> usize {
        self.last = Some(series);
        self.series.insert(self.last_key.as_slice().into(), series);
        self.last_key.len() + 64
    }
}
