//! JSON lines whose labels came as columns: most are judged by comparing values, and the series of a line is found again
//! by its stream and the values that the answer groups by, without putting its labels together. Where the values came
//! coded, each distinct one is judged once.

use super::super::scan::{Rows, Stream, Values};
use arrow::array::Array;
use datafusion::common::hash_utils::RandomState;
use logql::{Grouping, LabelTest, Pipeline};
use std::collections::HashMap;

/// Codes of several columns are counted as one, as long as there are no more than this.
const SLOTS_MAX: usize = 1 << 16;

/// What the lines of one batch are judged by.
pub(super) struct Columns<'a> {
    tests: Vec<Tested<'a>>,
    /// Labels of the answer.
    by: Vec<(&'a str, Option<Values<'a>>)>,
    /// By class and by the codes of the values that the answer groups by: the series, where they all came coded.
    slots: Vec<Vec<Option<usize>>>,
    /// How many codes there are; 0 where some value has none.
    codes: usize,
    /// What `| json` cannot read is dropped for its error.
    drops_broken: bool,
}

struct Tested<'a> {
    test: LabelTest<'a>,
    values: Option<Values<'a>>,
    /// Of coded values, by code: whether it passes, where it was asked.
    by_code: Vec<Option<Option<bool>>>,
    /// The value before, which often comes again, and whether it passes.
    last: Option<(&'a str, Option<bool>)>,
}

impl Tested<'_> {
    fn passes(&mut self, row: usize) -> Option<bool> {
        let Some(values) = self.values else { return self.test.passes(None) };
        if let Values::Coded(keys, texts) = values {
            if keys.is_null(row) {
                return self.test.passes(None);
            }
            let code = keys.value(row) as usize;
            let (known, test) = (&mut self.by_code[code], &self.test);
            return *known.get_or_insert_with(|| test.passes(Some(texts.value(code))));
        }
        let Some(text) = values.get(row) else { return self.test.passes(None) };
        match self.last {
            Some((last, passes)) if last == text => passes,
            _ => {
                let passes = self.test.passes(Some(text));
                self.last = Some((text, passes));
                passes
            }
        }
    }
}

/// What the labels of a stream mean for its lines.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Class {
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
        let by: Vec<_> = labels.iter().map(|label| (label.as_str(), json.label(label))).collect();
        let tested = |test: LabelTest<'a>| {
            let values = json.label(test.name());
            let codes = if let Some(Values::Coded(_, texts)) = values { texts.len() } else { 0 };
            Tested { values, test, by_code: vec![None; codes], last: None }
        };
        let tests = tests.into_iter().map(tested).collect();
        let codes = by.iter().try_fold(1usize, |codes, (_, values)| match values {
            None => Some(codes),
            // One more for a line without.
            Some(Values::Coded(_, texts)) => codes.checked_mul(texts.len() + 1),
            Some(Values::Plain(_)) => None,
        });
        let codes = codes.filter(|codes| *codes <= SLOTS_MAX).unwrap_or(0);
        Some(Columns { tests, by, slots: vec![], codes, drops_broken: pipeline.drops_broken_json() })
    }

    /// Whether a line that did not come as columns is dropped for being no object.
    pub fn drops(&self, line: &str) -> bool {
        self.drops_broken && !line.trim_start().starts_with('{')
    }

    pub fn judge(&mut self, row: usize, class: Class, known: &mut Known) -> Verdict {
        let Class::Plain(class) = class else { return Verdict::Unknown { remember: false } };
        for test in &mut self.tests {
            match test.passes(row) {
                Some(true) => {}
                Some(false) => return Verdict::Drops,
                None => return Verdict::Unknown { remember: false },
            }
        }
        if let Some(series) = self.slot(row, class).and_then(|slot| *slot) {
            return Verdict::Of(series);
        }
        known.key.clear();
        known.key.extend_from_slice(&class.to_le_bytes());
        for (_, values) in &self.by {
            let value = values.and_then(|values| values.get(row)).unwrap_or("");
            known.key.extend_from_slice(&(value.len() as u32).to_le_bytes());
            known.key.extend_from_slice(value.as_bytes());
        }
        let found = known.find();
        if let (Some(series), Some(slot)) = (found, self.slot(row, class)) {
            *slot = Some(series);
        }
        found.map_or(Verdict::Unknown { remember: true }, Verdict::Of)
    }

    fn slot(&mut self, row: usize, class: u32) -> Option<&mut Option<usize>> {
        if self.codes == 0 {
            return None;
        }
        let mut at = 0;
        for (_, values) in &self.by {
            if let Some(Values::Coded(keys, texts)) = values {
                let code = if keys.is_valid(row) { keys.value(row) as usize + 1 } else { 0 };
                at = at * (texts.len() + 1) + code;
            }
        }
        let class = class as usize;
        if self.slots.len() <= class {
            self.slots.resize_with(class + 1, Vec::new);
        }
        let slots = &mut self.slots[class];
        slots.resize(self.codes, None);
        slots.get_mut(at)
    }
}

impl Known {
    pub fn class(&mut self, stream_at: usize, stream: &Stream, columns: &Columns<'_>) -> Class {
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
