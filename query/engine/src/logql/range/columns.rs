//! JSON lines whose labels came as columns: most are judged by comparing values, a column at a time, and the series of a line is
//! found by the values that the answer groups by, without putting its labels together. Where the values came coded, each
//! distinct one is judged once.

use super::super::scan::{Rows, Stream, Values};
use super::values::{Known, NO_VALUE};
use super::windows::Windows;
use arrow::array::Array;
use logql::{Grouping, LabelTest, Pipeline};
use std::ops::Range;

/// Codes of several columns are counted as one, as long as there are no more than this.
const SLOTS_MAX: usize = 1 << 16;

/// Series with more labels are told apart by all labels that a line has.
pub(super) const LABELS_MAX: usize = 8;

/// What its values tell of a line that came as columns.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It did not come as columns.
    Text,
    Drops,
    Passes,
    /// The pipeline must run.
    Unknown,
}

impl Verdict {
    fn of(passes: Option<bool>) -> Verdict {
        match passes {
            Some(true) => Verdict::Passes,
            Some(false) => Verdict::Drops,
            None => Verdict::Unknown,
        }
    }
}

/// What the lines of one batch are judged by.
pub(super) struct Columns<'a> {
    tests: Vec<LabelTest<'a>>,
    /// By row.
    verdicts: Vec<Verdict>,
    /// Labels of the answer.
    by: Vec<(&'a str, Option<Values<'a>>)>,
    /// By class and by the codes of the values that the answer groups by: the series, where they all came coded.
    slots: Vec<Vec<u32>>,
    /// How many codes there are; 0 where some value has none.
    codes: usize,
    /// By row, where values have codes: one for all of them.
    code_of: Vec<u32>,
    /// By code, for a while: lines, and the first of them.
    counted: Vec<(u32, u32)>,
    /// What `| json` cannot read is dropped for its error.
    drops_broken: bool,
    /// The values of the line at hand, where there are several.
    key: Vec<u8>,
}

/// No line of it was seen in this batch.
const NO_SERIES: u32 = u32::MAX;

/// What the labels of a stream mean for its lines.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Class {
    New,
    /// It has a label that a line is tested by.
    Mixed,
    /// Streams of one number give the answer the same labels.
    Plain(u32),
}

impl<'a> Columns<'a> {
    /// `None` where labels may come from elsewhere than the streams and `| json`.
    pub fn of(
        pipeline: &'a Pipeline,
        grouping: Option<&'a Grouping>,
        rows: &Rows<'a>,
    ) -> Option<Columns<'a>> {
        let json = rows.json()?;
        let Some(Grouping { without: false, labels, .. }) = grouping else { return None };
        if labels.len() > LABELS_MAX {
            return None;
        }
        let tests = pipeline.label_tests()?;
        let mut names = tests.iter().map(LabelTest::name).chain(labels.iter().map(String::as_str));
        let made_elsewhere =
            |name: &str| rows.has_metadata(name) || name.ends_with("_extracted") || name.starts_with("__");
        if names.any(made_elsewhere) {
            return None;
        }
        let by: Vec<_> = labels.iter().map(|label| (label.as_str(), json.label(label))).collect();
        let known = json.known().iter();
        let mut verdicts: Vec<Verdict> =
            known.map(|known| if known { Verdict::Passes } else { Verdict::Text }).collect();
        tests.iter().for_each(|test| judge(test, json.label(test.name()), &mut verdicts));
        let codes = by.iter().try_fold(1usize, |codes, (_, values)| match values {
            None => Some(codes),
            // One more for a line without.
            Some(Values::Coded(_, texts)) => codes.checked_mul(texts.len() + 1),
            Some(Values::Plain(_)) => None,
        });
        let codes = codes.filter(|codes| *codes <= SLOTS_MAX).unwrap_or(0);
        let drops_broken = pipeline.drops_broken_json();
        let code_of = if codes > 0 { codes_by_row(&by, verdicts.len()) } else { vec![] };
        let (slots, counted) = (vec![], vec![]);
        Some(Columns { tests, verdicts, by, slots, codes, code_of, counted, drops_broken, key: vec![] })
    }

    /// Whether a line that did not come as columns is dropped for being no object.
    pub fn drops(&self, line: &str) -> bool {
        self.drops_broken && !line.trim_start().starts_with('{')
    }

    /// Of a line of a plain class.
    pub fn verdict(&self, row: usize) -> Verdict {
        self.verdicts[row]
    }

    /// The series of a line that passes; `make` makes one that was not seen before.
    pub fn series(
        &mut self,
        row: usize,
        class: u32,
        known: &mut Known,
        make: impl FnOnce(usize) -> u32,
    ) -> usize {
        if self.codes == 0 {
            return self.series_by_values(row, class, known, make) as usize;
        }
        let at = self.code_of[row] as usize;
        let of_class = class as usize;
        if self.slots.len() <= of_class {
            self.slots.resize_with(of_class + 1, Vec::new);
        }
        if self.slots[of_class].is_empty() {
            self.slots[of_class] = vec![NO_SERIES; self.codes];
        }
        let series = match self.slots[of_class][at] {
            NO_SERIES => self.series_by_values(row, class, known, make),
            series => series,
        };
        self.slots[of_class][at] = series;
        series as usize
    }

    /// Whether lines can be [counted](Self::count) by their codes.
    pub fn is_coded(&self) -> bool {
        self.codes > 0
    }

    /// Counts lines of a plain class at the one step there is; `left` gets those that must be looked at one by one.
    pub fn count(
        &mut self,
        lines: Range<usize>,
        class: u32,
        known: &mut Known,
        windows: &mut Windows,
        mut make: impl FnMut(usize, &mut Windows) -> u32,
        left: &mut Vec<usize>,
    ) {
        let mut counted = std::mem::take(&mut self.counted);
        counted.resize(self.codes, (0, 0));
        let mut seen = vec![];
        for row in lines {
            match self.verdicts[row] {
                Verdict::Drops => {}
                Verdict::Passes => {
                    let (count, first) = &mut counted[self.code_of[row] as usize];
                    if *count == 0 {
                        *first = row as u32;
                        seen.push(self.code_of[row]);
                    }
                    *count += 1;
                }
                Verdict::Text | Verdict::Unknown => left.push(row),
            }
        }
        for code in seen {
            let (count, first) = std::mem::take(&mut counted[code as usize]);
            let series = self.series(first as usize, class, known, |bytes| make(bytes, windows));
            windows.add(series, (0, 0), i64::from(count), 0);
        }
        self.counted = counted;
    }

    fn series_by_values(
        &mut self,
        row: usize,
        class: u32,
        known: &mut Known,
        make: impl FnOnce(usize) -> u32,
    ) -> u32 {
        let value = |values: &Option<Values<'a>>| {
            values.and_then(|values| values.get(row)).map_or(NO_VALUE, str::as_bytes)
        };
        if let [(_, values)] = self.by.as_slice() {
            return known.series(class, value(values), make);
        }
        self.key.clear();
        for (_, values) in &self.by {
            let value = value(values);
            self.key.extend_from_slice(&(value.len() as u32).to_le_bytes());
            self.key.extend_from_slice(value);
        }
        known.series(class, &self.key, make)
    }

    pub fn class(&self, stream_at: usize, stream: &Stream, known: &mut Known) -> Class {
        let mixed = || self.tests.iter().any(|test| stream.labels.get(test.name()).is_some());
        let of_answer =
            || self.by.iter().map(|(label, _)| stream.labels.get(label).map(str::to_owned)).collect();
        known.class(stream_at, mixed, of_answer)
    }
}

fn codes_by_row(by: &[(&str, Option<Values<'_>>)], rows: usize) -> Vec<u32> {
    let mut codes = vec![0; rows];
    for (_, values) in by {
        let Some(Values::Coded(keys, texts)) = values else { continue };
        let range = texts.len() as u32 + 1;
        let add = |code: &mut u32, own: u32| *code = *code * range + own;
        match keys.nulls() {
            Some(valid) => {
                let own = keys.values().iter().zip(valid);
                let own = own.map(|(key, valid)| if valid { *key as u32 + 1 } else { 0 });
                codes.iter_mut().zip(own).for_each(|(code, own)| add(code, own));
            }
            None => {
                codes.iter_mut().zip(keys.values()).for_each(|(code, key)| add(code, *key as u32 + 1));
            }
        }
    }
    codes
}

/// A line that an earlier test has decided over is not looked at: what follows an error does not count.
fn judge(test: &LabelTest<'_>, values: Option<Values<'_>>, verdicts: &mut [Verdict]) {
    let absent = Verdict::of(test.passes(None));
    let open = verdicts.iter_mut().enumerate().filter(|(_, verdict)| **verdict == Verdict::Passes);
    match values {
        None => open.for_each(|(_, verdict)| *verdict = absent),
        Some(Values::Coded(keys, texts)) => {
            let mut by_code: Vec<Option<Verdict>> = vec![None; texts.len()];
            for (row, verdict) in open {
                if keys.is_null(row) {
                    *verdict = absent;
                    continue;
                }
                let code = keys.values()[row] as usize;
                *verdict =
                    *by_code[code].get_or_insert_with(|| Verdict::of(test.passes(Some(texts.value(code)))));
            }
        }
        Some(Values::Plain(texts)) => {
            // The value before often comes again.
            let mut last: Option<(&str, Verdict)> = None;
            for (row, verdict) in open {
                if texts.is_null(row) {
                    *verdict = absent;
                    continue;
                }
                let text = texts.value(row);
                *verdict = match last {
                    Some((before, verdict)) if before == text => verdict,
                    _ => Verdict::of(test.passes(Some(text))),
                };
                last = Some((text, *verdict));
            }
        }
    }
}
