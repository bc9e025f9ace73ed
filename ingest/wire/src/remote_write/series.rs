//! A `TimeSeries` as nearly every one arrives: labels first, in order and short, then numbers. It is copied into the
//! batch without a look at each label's text; whatever is unusual in it is left to the thorough reader.

use model::MetricBatch;

/// Adds the series to the batch, or leaves the batch as it was and answers `false`.
pub fn add(message: &[u8], batch: &mut MetricBatch) -> bool {
    let Some(samples) = batch.begin_written(|label_bytes| labels(message, label_bytes)) else { return false };
    let added = add_samples(samples, batch);
    if added.is_none() {
        batch.take_back();
    }
    added.is_some()
}

/// Field 1 of length below 128, which its first byte says alone.
const LABEL: u8 = 1 << 3 | 2;
const NAME: u8 = 1 << 3 | 2;
const VALUE: u8 = 2 << 3 | 2;
const SAMPLE: u8 = 2 << 3 | 2;
const NUMBER: u8 = 1 << 3 | 1;
const TIME: u8 = 2 << 3;

/// Appends the labels in their canonical form ([`model::Labels`]), which differs from this one by two tags a label.
/// Returns what follows them. `None` where one is long, empty or out of order; `out` is then longer by some of them.
fn labels<'a>(message: &'a [u8], out: &mut Vec<u8>) -> Option<&'a [u8]> {
    let (begin, mut rest, mut last) = (out.len(), message, [].as_slice());
    while let [LABEL, length @ ..0x80, after @ ..] = rest {
        let (label, after) = after.split_at_checked(usize::from(*length))?;
        let [NAME, length @ 1..0x80, label @ ..] = label else { return None };
        let (name, label) = label.split_at_checked(usize::from(*length))?;
        let [VALUE, length @ 1..0x80, value @ ..] = label else { return None };
        if value.len() != usize::from(*length) || name <= last {
            return None;
        }
        out.push(name.len() as u8);
        out.extend_from_slice(name);
        out.push(value.len() as u8);
        out.extend_from_slice(value);
        (rest, last) = (after, name);
    }
    // A length below 128 is a character of ASCII, so texts that are UTF-8 together are so each.
    std::str::from_utf8(&out[begin..]).ok()?;
    Some(rest)
}

fn add_samples(mut rest: &[u8], batch: &mut MetricBatch) -> Option<()> {
    while !rest.is_empty() {
        let [SAMPLE, length @ ..0x80, after @ ..] = rest else { return None };
        let (sample, after) = after.split_at_checked(usize::from(*length))?;
        let (ts_ms, value) = number_then_time(sample).or_else(|| super::sample(sample).ok())?;
        batch.push(ts_ms, value);
        rest = after;
    }
    Some(())
}

/// A sample with both fields in their order, the time in whole.
fn number_then_time(sample: &[u8]) -> Option<(i64, f64)> {
    let [NUMBER, number @ ..] = sample else { return None };
    let (number, rest) = number.split_first_chunk::<8>()?;
    let [TIME, time @ ..] = rest else { return None };
    let (last, before) = time.split_last()?;
    if *last >= 0x80 || before.len() > 8 || before.iter().any(|byte| *byte < 0x80) {
        return None;
    }
    let ts_ms = time.iter().rev().fold(0, |ts_ms: i64, byte| ts_ms << 7 | i64::from(byte & 0x7f));
    Some((ts_ms, f64::from_le_bytes(*number)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protobuf::Writer;

    fn message(labels: &[(&str, &str)], samples: &[(i64, f64)]) -> Vec<u8> {
        let mut series = Writer::default();
        for (name, value) in labels {
            let mut label = Writer::default();
            label.bytes(1, name.as_bytes());
            label.bytes(2, value.as_bytes());
            series.bytes(1, &label.0);
        }
        for (ts_ms, value) in samples {
            let mut sample = Writer::default();
            sample.double(1, *value);
            sample.integer(2, *ts_ms);
            series.bytes(2, &sample.0);
        }
        series.0
    }

    /// What the thorough reader makes of it.
    fn read(message: &[u8]) -> MetricBatch {
        let mut decoded = crate::Decoded::<MetricBatch>::default();
        super::super::thoroughly(message, &mut vec![], &mut decoded).unwrap();
        decoded.batch
    }

    #[test]
    fn both_readers_agree() {
        let long = "x".repeat(120);
        let times = [0, 1, 127, 128, 1_795_664_814_936, i64::MAX, -1, i64::MIN];
        let samples = times.map(|ts_ms| (ts_ms, ts_ms as f64 / 3.0));
        let message = message(&[("__name__", "näher"), ("job", &long)], &samples);
        let mut batch = MetricBatch::default();
        assert!(add(&message, &mut batch));
        assert_eq!(batch, read(&message));
    }

    #[test]
    fn the_unusual_is_left_to_the_other_one() {
        let mut batch = MetricBatch::default();
        batch.begin_series(&mut [("__name__", "before")]).unwrap();
        batch.push(1, 1.0);
        let before = batch.clone();
        let usual = message(&[("__name__", "up")], &[(1, 1.0)]);
        let late_label = [usual.clone(), message(&[("late", "x")], &[])].concat();
        let mut not_text = usual.clone();
        not_text[usual.windows(2).position(|two| two == b"up").unwrap()] = 0xff;
        for unusual in [
            message(&[("b", "1"), ("a", "2")], &[]),
            message(&[("a", "1"), ("a", "2")], &[]),
            message(&[("a", "")], &[]),
            message(&[("", "a")], &[]),
            message(&[("a", &"x".repeat(128))], &[]),
            late_label,
            not_text,
        ] {
            assert!(!add(&unusual, &mut batch), "{unusual:?}");
            assert_eq!(batch, before);
        }
        for cut in 1..usual.len() {
            add(&usual[..cut], &mut batch);
        }
    }

    #[test]
    fn a_cut_character_is_no_text_though_the_next_label_would_end_it() {
        let mut series = message(&[("a", "ä"), ("b", "x")], &[]);
        let at = series.iter().position(|byte| *byte == 0xc3).unwrap();
        (series[at], series[at + 1]) = (b'a', 0xc3);
        assert!(!add(&series, &mut MetricBatch::default()));
    }
}
