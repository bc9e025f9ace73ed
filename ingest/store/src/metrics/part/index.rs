//! The side index of a metrics part: which series there are, where their rows begin, their times and scales.
//!
//! Labels are a dictionary of values and a column of codes for each label name, so that a matcher is one look at the
//! dictionary and one walk over small integers, and the values of a label are known without looking at series.

use super::codes::Codes;
use super::timelines::{NO_TIMELINE, Timelines};
use super::values::Scale;
use crate::hash::BytesHasher;
use crate::side_index::{Cursor, open, put_block, put_split, seal, take_split};
use crate::snapshot::{Allowance, ReadError, SERIES_TAKEN_AT_ONCE, SeriesInfo, bytes_of_series};
use bytes::Bytes;
use model::{LabelSetBuilder, Labels, Match, Matcher, SeriesSelect, TimeRange};
use parquet::arrow::arrow_reader::ArrowReaderMetadata;
use std::collections::{BTreeSet, HashMap};
use std::hash::BuildHasherDefault;
use std::sync::{Arc, OnceLock};

const FORMAT: &str = "BNCLMET";
const VERSION: u8 = b'2';

/// Stands for the exponent of a run whose values are `f64`.
const UNSCALED: u8 = u8::MAX;

/// Series of a part, in the order of their rows.
pub struct Index {
    /// By ascending name.
    labels: Vec<LabelColumn>,
    /// One longer than there are series.
    first_rows: Vec<u32>,
    timeline_of: Vec<u32>,
    timelines: Vec<Vec<i64>>,
    bounds: Vec<(i64, i64)>,
    scales: Vec<Option<Scale>>,
    /// Empty where the series are too many.
    made: Vec<OnceLock<Labels>>,
    pub metadata: ArrowReaderMetadata,
}

/// Series of a part whose labels are kept once they were made: 50 MB of them.
const LABELS_KEPT_MAX: usize = 200_000;

/// A label set in memory, about.
const LABELS_BYTES: usize = 250;

struct LabelColumn {
    name: String,
    /// Ascending; code 0 is a series without this label, code `n` has value `n - 1`.
    values: Vec<String>,
    codes: Codes,
    /// Whether the codes do.
    ascends: bool,
}

impl Index {
    pub fn len(&self) -> usize {
        self.bounds.len()
    }

    pub fn rows(&self, series: u32) -> std::ops::Range<usize> {
        self.first_rows[series as usize] as usize..self.first_rows[series as usize + 1] as usize
    }

    /// Times of a series' rows; `None` where only the Parquet file has them.
    pub fn timeline(&self, series: u32) -> Option<(u32, &[i64])> {
        let timeline = self.timeline_of[series as usize];
        Some((timeline, self.timelines.get(timeline as usize)?))
    }

    /// `None`: the values are in the column of floats.
    pub fn scale(&self, series: u32) -> Option<Scale> {
        self.scales[series as usize]
    }

    /// Made from the codes at the first asking, shared after.
    pub fn labels(&self, series: u32) -> Labels {
        match self.made.get(series as usize) {
            Some(made) => made.get_or_init(|| self.make_labels(series)).clone(),
            None => self.make_labels(series),
        }
    }

    /// As [`labels`](Self::labels), and not kept where nobody asked before.
    pub fn labels_once(&self, series: u32) -> Labels {
        let made = self.made.get(series as usize).and_then(OnceLock::get);
        made.cloned().unwrap_or_else(|| self.make_labels(series))
    }

    /// About what it takes in memory, with the labels that it may keep.
    pub fn bytes(&self) -> usize {
        let of_column = |column: &LabelColumn| {
            let values: usize = column.values.iter().map(|value| size_of::<String>() + value.len()).sum();
            values + column.codes.bytes()
        };
        let of_series = 2 * size_of::<u32>() + size_of::<(i64, i64)>() + size_of::<Option<Scale>>();
        self.labels.iter().map(of_column).sum::<usize>()
            + self.timelines.iter().map(|timeline| timeline.len() * size_of::<i64>()).sum::<usize>()
            + self.len() * of_series
            + self.made.len() * (size_of::<OnceLock<Labels>>() + LABELS_BYTES)
    }

    fn make_labels(&self, series: u32) -> Labels {
        let mut pairs: Vec<(&str, &str)> = self
            .labels
            .iter()
            .filter_map(|column| {
                let code = column.codes.get(series as usize).checked_sub(1)?;
                Some((column.name.as_str(), column.values[code as usize].as_str()))
            })
            .collect();
        let mut bytes = Vec::with_capacity(pairs.iter().map(|(n, v)| n.len() + v.len() + 4).sum());
        // The names ascend and none is empty, so this refuses nothing.
        let _ = LabelSetBuilder::encode_into(&mut pairs, &mut bytes);
        Labels::from_bytes(&bytes).unwrap_or_default()
    }

    /// Series that pass the matchers and overlap the range, ascending.
    pub fn select(&self, select: &SeriesSelect) -> Vec<u32> {
        // Series lie by their metric's name: it leaves one stretch, and no more of the others' codes is looked at.
        let mut within = 0..self.len() as u32;
        let mut conditions = vec![];
        for matcher in &select.matchers {
            let column = self.labels.iter().find(|column| column.name == matcher.name);
            let Some(column) = column else {
                if matcher.matches("") {
                    continue;
                }
                return vec![];
            };
            match column.passing(matcher) {
                Passing::None => return vec![],
                Passing::All => {}
                Passing::Code(code) if column.ascends => {
                    let stretch = column.codes.stretch_of(code);
                    within = within.start.max(stretch.start)..within.end.min(stretch.end);
                }
                some => conditions.push((&column.codes, some)),
            }
        }
        if within.is_empty() {
            return vec![];
        }
        let mut conditions = conditions.into_iter();
        let mut ids = match conditions.next() {
            None => within.collect(),
            Some((column, passing)) => column.ids_where(within, |code| passing.has(code)),
        };
        for (column, passing) in conditions {
            ids.retain(|id| passing.has(column.get(*id as usize)));
        }
        if select.range != TimeRange::ALL {
            ids.retain(|id| {
                let (first, last) = self.bounds[*id as usize];
                select.range.overlaps(first, last)
            });
        }
        ids
    }

    pub fn series(
        &self,
        select: &SeriesSelect,
        allowance: &dyn Allowance,
    ) -> Result<Vec<SeriesInfo>, ReadError> {
        let mut found = vec![];
        for ids in self.select(select).chunks(SERIES_TAKEN_AT_ONCE) {
            let before = found.len();
            found.extend(ids.iter().map(|id| {
                let (first_ms, last_ms) = self.bounds[*id as usize];
                SeriesInfo { labels: self.labels(*id), first_ms, last_ms }
            }));
            allowance.take(bytes_of_series(&found[before..]))?;
        }
        Ok(found)
    }

    /// Whether every series passes, so that dictionaries alone answer.
    fn takes_all(&self, select: &SeriesSelect) -> bool {
        let inside = |bounds: &(i64, i64)| select.range.overlaps(bounds.0, bounds.1);
        select.matchers.is_empty() && (select.range == TimeRange::ALL || self.bounds.iter().all(inside))
    }

    pub fn label_names(&self, select: &SeriesSelect, into: &mut BTreeSet<String>) {
        let ids = (!self.takes_all(select)).then(|| self.select(select));
        for column in &self.labels {
            let occurs = |ids: &Vec<u32>| ids.iter().any(|id| column.codes.get(*id as usize) > 0);
            if ids.as_ref().is_none_or(occurs) {
                into.insert(column.name.clone());
            }
        }
    }

    pub fn label_values(&self, name: &str, select: &SeriesSelect, into: &mut BTreeSet<String>) {
        let Some(column) = self.labels.iter().find(|column| column.name == name) else { return };
        if self.takes_all(select) {
            return into.extend(column.values.iter().cloned());
        }
        let mut seen = vec![false; column.values.len() + 1];
        self.select(select).into_iter().for_each(|id| seen[column.codes.get(id as usize) as usize] = true);
        into.extend(column.values.iter().zip(&seen[1..]).filter(|(_, seen)| **seen).map(|(v, _)| v.clone()));
    }
}

enum Passing {
    None,
    All,
    Code(u32),
    /// By code.
    Codes(Vec<bool>),
}

impl Passing {
    fn has(&self, code: u32) -> bool {
        match self {
            Passing::None => false,
            Passing::All => true,
            Passing::Code(passes) => code == *passes,
            Passing::Codes(passes) => passes[code as usize],
        }
    }
}

impl LabelColumn {
    fn passing(&self, matcher: &Matcher) -> Passing {
        if matcher.op == Match::Equal && !matcher.value.is_empty() {
            return match self.values.binary_search(&matcher.value) {
                Ok(at) => Passing::Code(at as u32 + 1),
                Err(_) => Passing::None,
            };
        }
        let mut codes = Vec::with_capacity(self.values.len() + 1);
        codes.push(matcher.matches(""));
        codes.extend(self.values.iter().map(|value| matcher.matches(value)));
        match codes.iter().filter(|passes| **passes).count() {
            0 => Passing::None,
            all if all == codes.len() => Passing::All,
            _ => Passing::Codes(codes),
        }
    }
}

/// Collects series in the order of their rows.
#[derive(Default)]
pub struct Builder {
    /// In the order of first sight.
    columns: Vec<ColumnBuilder>,
    by_name: HashMap<Box<[u8]>, u32, BuildHasherDefault<BytesHasher>>,
    /// Columns of the series before, in the order of its labels: the next one has the same nearly always.
    before: Vec<u32>,
    rows: Vec<u32>,
    timelines: Timelines,
    timeline_of: Vec<u32>,
    bounds: Vec<(i64, i64)>,
    scales: Vec<Option<Scale>>,
}

#[derive(Default)]
struct ColumnBuilder {
    name: Box<[u8]>,
    /// In the order of first sight, from 1.
    seen: HashMap<Arc<[u8]>, u32, BuildHasherDefault<BytesHasher>>,
    /// Of the series before: series in order have most labels in common with their neighbours.
    last: (Arc<[u8]>, u32),
    /// Shorter than the series where later ones do not have the label.
    codes: Vec<u32>,
}

impl ColumnBuilder {
    /// The value's code.
    fn see(&mut self, value: &[u8]) -> u32 {
        if self.last.1 > 0 && *self.last.0 == *value {
            return self.last.1;
        }
        self.last = match self.seen.get_key_value(value) {
            Some((value, code)) => (value.clone(), *code),
            None => {
                let (value, code) = (Arc::<[u8]>::from(value), self.seen.len() as u32 + 1);
                self.seen.insert(value.clone(), code);
                (value, code)
            }
        };
        self.last.1
    }
}

impl Builder {
    pub fn push(&mut self, labels: &Labels, ts_ms: &[i64], scale: Option<Scale>) {
        let series = self.rows.len();
        for (at, (name, value)) in Labels::raw_pairs_in(labels.as_bytes()).enumerate() {
            let number = self.column(at, name);
            let column = &mut self.columns[number as usize];
            let code = column.see(value);
            column.codes.resize(series, 0);
            column.codes.push(code);
            match self.before.get_mut(at) {
                Some(before) => *before = number,
                None => self.before.push(number),
            }
        }
        self.rows.push(ts_ms.len() as u32);
        self.timeline_of.push(self.timelines.add(ts_ms));
        self.bounds.push((ts_ms.first().copied().unwrap_or(0), ts_ms.last().copied().unwrap_or(0)));
        self.scales.push(scale);
    }

    /// The column of a name, which is the `at`th of its set.
    fn column(&mut self, at: usize, name: &[u8]) -> u32 {
        let before = self.before.get(at).filter(|number| *self.columns[**number as usize].name == *name);
        if let Some(number) = before.or_else(|| self.by_name.get(name)) {
            return *number;
        }
        let number = self.columns.len() as u32;
        self.columns.push(ColumnBuilder { name: name.into(), ..ColumnBuilder::default() });
        self.by_name.insert(name.into(), number);
        number
    }

    pub fn count(&self) -> u32 {
        self.rows.len() as u32
    }

    /// Rows that the series have, and the first and last time of all.
    pub fn extent(&self) -> (usize, i64, i64) {
        let rows = self.rows.iter().map(|rows| *rows as usize).sum();
        let first = self.bounds.iter().map(|bounds| bounds.0).min().unwrap_or(0);
        let last = self.bounds.iter().map(|bounds| bounds.1).max().unwrap_or(0);
        (rows, first, last)
    }

    pub fn finish(mut self) -> std::io::Result<Bytes> {
        let count = self.rows.len();
        let mut raw = (count as u32).to_le_bytes().to_vec();
        raw.extend_from_slice(&(self.columns.len() as u32).to_le_bytes());
        self.columns.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        for mut column in self.columns {
            column.codes.resize(count, 0);
            let mut values: Vec<(Arc<[u8]>, u32)> = column.seen.into_iter().collect();
            values.sort_unstable();
            let mut code_of = vec![0; values.len() + 1];
            put_block(&mut raw, &column.name);
            raw.extend_from_slice(&(values.len() as u32).to_le_bytes());
            for (at, (value, seen)) in values.iter().enumerate() {
                code_of[*seen as usize] = at as u32 + 1;
                raw.extend_from_slice(&(value.len() as u32).to_le_bytes());
                raw.extend_from_slice(value);
            }
            let codes = column.codes.into_iter().map(|seen| code_of[seen as usize]);
            Codes::new(codes, values.len() as u32).encode(&mut raw);
        }
        let (timelines, number_of) = self.timelines.finish();
        raw.extend_from_slice(&(timelines.len() as u32).to_le_bytes());
        timelines.iter().for_each(|ts_ms| super::timelines::encode(ts_ms, &mut raw));
        let numbers = self.timeline_of.iter().map(|timeline| match timeline {
            &NO_TIMELINE => NO_TIMELINE,
            timeline => number_of[*timeline as usize],
        });
        let numbers: Vec<u32> = numbers.collect();
        put_split(&mut raw, numbers.iter().map(|number| number.to_le_bytes()));
        put_split(&mut raw, self.rows.iter().map(|rows| rows.to_le_bytes()));
        // A timeline says its series' bounds already.
        let untimed = || numbers.iter().zip(&self.bounds).filter(|(number, _)| **number == NO_TIMELINE);
        put_split(&mut raw, untimed().map(|(_, bounds)| bounds.0.to_le_bytes()));
        put_split(&mut raw, untimed().map(|(_, bounds)| bounds.1.to_le_bytes()));
        raw.extend(self.scales.iter().map(|scale| scale.map_or(UNSCALED, |scale| scale.exponent)));
        put_split(&mut raw, self.scales.iter().map(|scale| scale.map_or(0, |s| s.base).to_le_bytes()));
        seal(FORMAT, VERSION, &[&raw])
    }
}

impl Index {
    pub fn decode(bytes: &[u8], metadata: ArrowReaderMetadata) -> Result<Index, String> {
        let raw = open(FORMAT, VERSION, bytes)?;
        let mut rest = Cursor(&raw);
        let count = rest.u32()? as usize;
        let mut labels: Vec<LabelColumn> = vec![];
        for _ in 0..rest.u32()? {
            let column = LabelColumn::decode(&mut rest, count)?;
            if labels.last().is_some_and(|before| before.name >= column.name) {
                return Err("its label names are out of order".into());
            }
            labels.push(column);
        }
        let timelines = (0..rest.u32()?)
            .map(|_| super::timelines::decode(&mut rest))
            .collect::<Result<Vec<Vec<i64>>, String>>()?;
        let timeline_of: Vec<u32> =
            take_split::<4>(&mut rest, count)?.into_iter().map(u32::from_le_bytes).collect();
        let rows: Vec<u32> = take_split::<4>(&mut rest, count)?.into_iter().map(u32::from_le_bytes).collect();
        let untimed = timeline_of.iter().filter(|number| **number == NO_TIMELINE).count();
        let mut firsts = take_split::<8>(&mut rest, untimed)?.into_iter().map(i64::from_le_bytes);
        let mut lasts = take_split::<8>(&mut rest, untimed)?.into_iter().map(i64::from_le_bytes);
        let exponents = rest.take(count)?.to_vec();
        let bases = take_split::<8>(&mut rest, count)?.into_iter().map(i64::from_le_bytes);
        let mut scales = Vec::with_capacity(count);
        for (exponent, base) in exponents.into_iter().zip(bases) {
            scales.push(match exponent {
                UNSCALED => None,
                exponent => Some(Scale::checked(base, exponent).ok_or("an exponent is too large")?),
            });
        }
        let (mut first_rows, mut bounds) = (vec![0u32], Vec::with_capacity(count));
        for (series, rows) in rows.into_iter().enumerate() {
            bounds.push(match (timeline_of[series], timelines.get(timeline_of[series] as usize)) {
                (_, Some(ts_ms)) if ts_ms.len() == rows as usize && rows > 0 => {
                    (ts_ms[0], ts_ms[rows as usize - 1])
                }
                (NO_TIMELINE, _) => (firsts.next().unwrap_or(0), lasts.next().unwrap_or(0)),
                _ => return Err("a series has other times than its rows".into()),
            });
            let first = first_rows[series];
            first_rows.push(first.checked_add(rows).ok_or("it counts more rows than a part can have")?);
        }
        if first_rows.last().map(|rows| i64::from(*rows))
            != Some(metadata.metadata().file_metadata().num_rows())
        {
            return Err("its rows are not those of the Parquet file".into());
        }
        let kept = if count <= LABELS_KEPT_MAX { count } else { 0 };
        let made = (0..kept).map(|_| OnceLock::new()).collect();
        Ok(Index { labels, first_rows, timeline_of, timelines, bounds, scales, made, metadata })
    }
}

impl LabelColumn {
    fn decode(rest: &mut Cursor<'_>, count: usize) -> Result<LabelColumn, String> {
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).map_err(|e| e.to_string());
        let name = text(rest.block()?)?;
        let length = rest.u32()?;
        let mut values: Vec<String> = vec![];
        for _ in 0..length {
            let bytes = rest.u32()? as usize;
            values.push(text(rest.take(bytes)?)?);
        }
        if name.is_empty()
            || !values.is_sorted_by(|a, b| a < b)
            || values.first().is_some_and(String::is_empty)
        {
            return Err(format!("its values of label {name:?} are out of order"));
        }
        let codes = Codes::decode(rest, count, length)?;
        Ok(LabelColumn { ascends: codes.ascend(), codes, name, values })
    }
}
