//! Times that many series share: all series of one target are scraped at the same instants.

use crate::hash::BytesHasher;
use crate::side_index::Cursor;
use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

/// Of a series whose times are only in the Parquet file.
pub const NO_TIMELINE: u32 = u32::MAX;

/// A timeline of fewer series would cost more in the index than it saves.
const SERIES_MIN: u32 = 3;

/// Times held while a part is written; a part of series that share nothing would hold them all twice.
const TIMES_MAX: usize = 2 << 20;

#[derive(Default)]
pub struct Timelines {
    by_hash: HashMap<u64, Vec<u32>, BuildHasherDefault<BytesHasher>>,
    known: Vec<Vec<i64>>,
    series: Vec<u32>,
    times: usize,
}

impl Timelines {
    pub fn add(&mut self, ts_ms: &[i64]) -> u32 {
        let hash = hash(ts_ms);
        let alike = self.by_hash.entry(hash).or_default();
        if let Some(same) = alike.iter().find(|timeline| self.known[**timeline as usize] == ts_ms) {
            self.series[*same as usize] += 1;
            return *same;
        }
        if self.times + ts_ms.len() > TIMES_MAX {
            return NO_TIMELINE;
        }
        self.times += ts_ms.len();
        let timeline = self.known.len() as u32;
        alike.push(timeline);
        self.known.push(ts_ms.to_vec());
        self.series.push(1);
        timeline
    }

    /// Those that enough series share, and by the number that [`add`](Self::add) gave, the number among these.
    pub fn finish(self) -> (Vec<Vec<i64>>, Vec<u32>) {
        let (mut kept, mut number_of) = (vec![], vec![]);
        for (ts_ms, series) in self.known.into_iter().zip(self.series) {
            if series < SERIES_MIN {
                number_of.push(NO_TIMELINE);
            } else {
                number_of.push(kept.len() as u32);
                kept.push(ts_ms);
            }
        }
        (kept, number_of)
    }
}

fn hash(ts_ms: &[i64]) -> u64 {
    // Regular times differ in their first, their last and their number; the others are told apart by comparing.
    let mut hasher = BytesHasher::default();
    let ends = [ts_ms.first(), ts_ms.get(ts_ms.len() / 2), ts_ms.last()];
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&(ts_ms.len() as u64).to_le_bytes());
    for (at, end) in ends.into_iter().enumerate() {
        bytes[8 + at * 8..16 + at * 8].copy_from_slice(&end.copied().unwrap_or(0).to_le_bytes());
    }
    hasher.write(&bytes);
    hasher.finish()
}

/// The number of times, the first, then the steps as zigzag varints.
pub fn encode(ts_ms: &[i64], out: &mut Vec<u8>) {
    out.extend_from_slice(&(ts_ms.len() as u32).to_le_bytes());
    let mut before = 0i64;
    for ts in ts_ms {
        let step = ts.wrapping_sub(before);
        let mut zigzag = ((step << 1) ^ (step >> 63)) as u64;
        while zigzag >= 0x80 {
            out.push(zigzag as u8 | 0x80);
            zigzag >>= 7;
        }
        out.push(zigzag as u8);
        before = *ts;
    }
}

pub fn decode(rest: &mut Cursor<'_>) -> Result<Vec<i64>, String> {
    let count = rest.u32()? as usize;
    if count > rest.0.len() {
        return Err("it is cut short".into());
    }
    let (mut ts_ms, mut before) = (Vec::with_capacity(count), 0i64);
    for _ in 0..count {
        let (mut zigzag, mut shift) = (0u64, 0u32);
        loop {
            let byte = rest.take(1)?[0];
            if shift > 63 {
                return Err("a time has no end".into());
            }
            zigzag |= u64::from(byte & 0x7f) << shift;
            shift += 7;
            if byte < 0x80 {
                break;
            }
        }
        before = before.wrapping_add((zigzag >> 1) as i64 ^ -((zigzag & 1) as i64));
        ts_ms.push(before);
    }
    if !ts_ms.is_sorted_by(|a, b| a < b) {
        return Err("its times are out of order".into());
    }
    Ok(ts_ms)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shared_times_are_kept_once_and_lone_ones_not_at_all() {
        let mut timelines = Timelines::default();
        let (shared, lone) = (vec![1i64, 16, 31], vec![1i64, 17, 31]);
        let numbers: Vec<u32> =
            [&shared, &lone, &shared, &shared].into_iter().map(|ts_ms| timelines.add(ts_ms)).collect();
        let (kept, number_of) = timelines.finish();
        assert_eq!(kept, [shared]);
        let numbers: Vec<u32> = numbers.into_iter().map(|number| number_of[number as usize]).collect();
        assert_eq!(numbers, [0, NO_TIMELINE, 0, 0]);
    }

    #[test]
    fn times_come_back_and_cut_ones_do_not() {
        let ts_ms = [i64::MIN / 4, -1, 0, 1_700_000_000_000, 1_700_000_015_000];
        let mut bytes = vec![];
        encode(&ts_ms, &mut bytes);
        assert_eq!(decode(&mut Cursor(&bytes)).unwrap(), ts_ms);
        for length in 0..bytes.len() {
            assert!(decode(&mut Cursor(&bytes[..length])).is_err(), "{length}");
        }
        let mut backward = vec![];
        encode(&[5, 4], &mut backward);
        assert!(decode(&mut Cursor(&backward)).is_err());
    }
}
