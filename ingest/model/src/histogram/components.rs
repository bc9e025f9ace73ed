//! Native histograms as plain series, which is how they are stored: each part of a histogram (its count, its sum, every
//! bucket) is a series of numbers beside the others, told apart by the label [`COMPONENT`].
//!
//! So every layer below sees numbers only, and a bucket's counts lie one behind the other, where they compress best.
//! A part that a histogram does not have at a time has no sample at that time. `meta` is there at every time; its
//! number holds schema and hint, and where bounds are custom, its name lists them (`meta:0.5,1`).

use super::{CUSTOM_BUCKETS_SCHEMA, Histogram, ResetHint};
use crate::labels::{LabelSetBuilder, Labels};
use crate::metrics::MetricBatch;
use std::collections::BTreeMap;
use std::sync::Arc;

/// The label that names a part. It sorts before the metric's name.
pub const COMPONENT: &str = "__histogram__";

/// The part that holds when a counter began; plain numbers have it too.
const START: &str = "start";

/// Samples of one series, numbers and histograms, each by ascending time.
#[derive(Clone, Debug, Default)]
pub struct Run<'a> {
    pub labels: Labels,
    pub ts_ms: &'a [i64],
    pub values: &'a [f64],
    pub histograms: Vec<(i64, Arc<Histogram>)>,
    /// Of samples whose counter is known to have begun at some time: the sample's time and that one.
    pub starts: Vec<(i64, i64)>,
}

impl MetricBatch {
    /// When the counters of samples of a series began, each by the sample's time: a series beside the others.
    pub fn push_starts(&mut self, labels: &Labels, starts: &[(i64, i64)]) {
        if starts.is_empty() {
            return;
        }
        let mut of_starts = LabelSetBuilder::from_labels(labels);
        of_starts.set(COMPONENT, START);
        self.begin_labels(&of_starts.build());
        for (ts_ms, start_ms) in starts {
            self.push(*ts_ms, *start_ms as f64);
        }
    }

    /// Opens the series of a histogram's parts and adds the samples. What is pushed afterwards belongs to no series of
    /// the caller: it opens one first.
    ///
    /// Where a sender leaves open whether a counter began anew, neighbours that come together tell, and the hint is
    /// kept with the sample.
    pub fn push_histograms(&mut self, labels: &Labels, points: &[(i64, Histogram)]) {
        let mut parts: BTreeMap<String, Vec<(i64, f64)>> = BTreeMap::new();
        let mut before: Option<&(i64, Histogram)> = None;
        for point @ (ts_ms, histogram) in points {
            let mut put = |part: String, value: f64| parts.entry(part).or_default().push((*ts_ms, value));
            let hint = hint(before, point);
            before = Some(point);
            put(meta_name(histogram), meta_value(histogram.schema, hint));
            put("sum".into(), histogram.sum);
            if histogram.is_stale_marker() {
                continue;
            }
            put("count".into(), histogram.count);
            for (part, value) in [("zero", histogram.zero_count), ("width", histogram.zero_threshold)] {
                if value.to_bits() != 0 {
                    put(part.into(), value);
                }
            }
            for (side, buckets) in [('p', &histogram.positive), ('n', &histogram.negative)] {
                for (index, count) in buckets {
                    put(format!("{side}{index}"), *count);
                }
            }
        }
        for (part, samples) in parts {
            let mut of_part = LabelSetBuilder::from_labels(labels);
            of_part.set(COMPONENT, &part);
            self.begin_labels(&of_part.build());
            for (ts_ms, value) in samples {
                self.push(ts_ms, value);
            }
        }
    }
}

fn meta_name(histogram: &Histogram) -> String {
    if !histogram.uses_custom_buckets() {
        return "meta".into();
    }
    let bounds: Vec<String> = histogram.custom_values.iter().map(f64::to_string).collect();
    format!("meta:{}", bounds.join(","))
}

/// As Prometheus' storage gives hints back: a counter that went on is known to have; one that began anew is left to
/// whoever compares, since what lies before may come later.
fn hint(before: Option<&(i64, Histogram)>, (ts_ms, now): &(i64, Histogram)) -> ResetHint {
    let Some((earlier_ms, before)) = before.filter(|_| now.hint == ResetHint::Unknown) else {
        return now.hint;
    };
    let comparable = earlier_ms < ts_ms
        && before.hint != ResetHint::Gauge
        && !before.is_stale_marker()
        && !now.is_stale_marker()
        && (before.schema, before.zero_threshold) == (now.schema, now.zero_threshold)
        && before.custom_values == now.custom_values;
    if comparable && !now.detects_reset(before) { ResetHint::NotReset } else { ResetHint::Unknown }
}

/// Schema and hint in one small whole number.
fn meta_value(schema: i8, hint: ResetHint) -> f64 {
    let hint = match hint {
        ResetHint::Unknown => 0,
        ResetHint::Reset => 1,
        ResetHint::NotReset => 2,
        ResetHint::Gauge => 3,
    };
    f64::from((i32::from(schema) + 64) * 4 + hint)
}

fn of_meta(value: f64, bounds: &Arc<[f64]>) -> Option<Histogram> {
    let packed = (0.0..512.0).contains(&value).then_some(value as i32)?;
    let schema = i8::try_from(packed / 4 - 64).ok()?;
    let hint =
        [ResetHint::Unknown, ResetHint::Reset, ResetHint::NotReset, ResetHint::Gauge][packed as usize % 4];
    let custom_values = if schema == CUSTOM_BUCKETS_SCHEMA { bounds.clone() } else { Arc::default() };
    Some(Histogram { schema, hint, custom_values, ..Histogram::default() })
}

/// The part that a stored series is, if it is one.
pub fn component_of(labels: &Labels) -> Option<&str> {
    component_in(labels.as_bytes())
}

/// As [`component_of`], of the bytes of a label set.
pub fn component_in(label_bytes: &[u8]) -> Option<&str> {
    // Names ascend; most sets begin with one beyond, which its bytes tell.
    if let [length @ ..0x80, rest @ ..] = label_bytes
        && rest.get(..usize::from(*length)).is_some_and(|name| name > COMPONENT.as_bytes())
    {
        return None;
    }
    Labels::pairs_in(label_bytes)
        .take_while(|(name, _)| *name <= COMPONENT)
        .find(|(name, _)| *name == COMPONENT)
        .map(|(_, part)| part)
}

/// Whether it is the part that every histogram has, once.
pub fn is_meta(part: &str) -> bool {
    part == "meta" || part.starts_with("meta:")
}

/// Labels of the histogram that a part belongs to.
pub fn without_component(labels: &Labels) -> Labels {
    if component_of(labels).is_none() { labels.clone() } else { labels.without(|name| name == COMPONENT) }
}

/// What a stored part holds: its name, times and values.
type Part<'a> = (&'a str, &'a [i64], &'a [f64]);

/// Stored series, in the order of their labels, as series of numbers and histograms in the order of theirs.
pub fn runs<'a>(stored: impl Iterator<Item = (&'a Labels, &'a [i64], &'a [f64])>) -> Vec<Run<'a>> {
    let mut runs = Vec::with_capacity(stored.size_hint().0);
    let mut parts: BTreeMap<Labels, Vec<Part<'a>>> = BTreeMap::new();
    for (labels, ts_ms, values) in stored {
        match component_of(labels) {
            None => runs.push(Run { labels: labels.clone(), ts_ms, values, ..Run::default() }),
            Some(part) => parts.entry(without_component(labels)).or_default().push((part, ts_ms, values)),
        }
    }
    if parts.is_empty() {
        return runs;
    }
    for (labels, parts) in parts {
        let histograms = assembled(&parts);
        let starts = parts.iter().filter(|(part, ..)| *part == START);
        let starts: Vec<(i64, i64)> = starts
            .flat_map(|(_, ts_ms, values)| ts_ms.iter().zip(*values))
            .map(|(ts_ms, start)| (*ts_ms, *start as i64))
            .collect();
        match runs.binary_search_by(|run| run.labels.cmp(&labels)) {
            Ok(at) => (runs[at].histograms, runs[at].starts) = (histograms, starts),
            Err(at) => runs.insert(at, Run { labels, histograms, starts, ..Run::default() }),
        }
    }
    runs
}

fn assembled(parts: &[Part<'_>]) -> Vec<(i64, Arc<Histogram>)> {
    let mut whole: BTreeMap<i64, Histogram> = BTreeMap::new();
    for (part, ts_ms, values) in parts {
        let bounds: Option<Arc<[f64]>> = match *part {
            "meta" => Some(Arc::default()),
            other => {
                other.strip_prefix("meta:").map(|bounds| bounds.split(',').flat_map(str::parse).collect())
            }
        };
        let Some(bounds) = bounds else { continue };
        for (ts_ms, value) in ts_ms.iter().zip(*values) {
            if let Some(histogram) = of_meta(*value, &bounds) {
                whole.insert(*ts_ms, histogram);
            }
        }
    }
    let mut whole: Vec<(i64, Histogram)> = whole.into_iter().collect();
    for (part, ts_ms, values) in parts {
        let mut next = 0;
        let bucket = |text: &str| text.get(1..).and_then(|index| index.parse::<i32>().ok());
        for (ts_ms, value) in ts_ms.iter().zip(*values) {
            next += whole[next..].iter().take_while(|(known, _)| known < ts_ms).count();
            let Some((_, histogram)) = whole.get_mut(next).filter(|(known, _)| known == ts_ms) else {
                continue;
            };
            match (*part, part.as_bytes().first()) {
                ("count", _) => histogram.count = *value,
                ("sum", _) => histogram.sum = *value,
                ("zero", _) => histogram.zero_count = *value,
                ("width", _) => histogram.zero_threshold = *value,
                (_, Some(b'p')) => histogram.positive.extend(bucket(part).map(|index| (index, *value))),
                (_, Some(b'n')) => histogram.negative.extend(bucket(part).map(|index| (index, *value))),
                _ => {}
            }
        }
    }
    let sorted = whole.into_iter().map(|(ts_ms, mut histogram)| {
        histogram.positive.sort_unstable_by_key(|(index, _)| *index);
        histogram.negative.sort_unstable_by_key(|(index, _)| *index);
        (ts_ms, Arc::new(histogram))
    });
    sorted.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn histograms_come_back_from_their_parts() {
        let labels = Labels::from_pairs([("__name__", "h"), ("a", "b"), ("Z", "1")]);
        let exponential = Histogram {
            schema: 3,
            hint: ResetHint::NotReset,
            count: 7.0,
            sum: -2.5,
            zero_threshold: 0.001,
            zero_count: 1.0,
            positive: vec![(-3, 1.0), (0, 0.0), (10, 3.0)],
            negative: vec![(-1, 2.0)],
            ..Histogram::default()
        };
        let custom = Histogram {
            schema: CUSTOM_BUCKETS_SCHEMA,
            count: 3.0,
            sum: 2.0,
            positive: vec![(0, 1.0), (2, 2.0)],
            custom_values: vec![0.25, 1e21].into(),
            ..Histogram::default()
        };
        let grown =
            Histogram { hint: ResetHint::Unknown, count: 8.0, zero_count: 2.0, ..exponential.clone() };
        let points = [
            (-1, exponential.clone()),
            (1, grown),
            (2, custom),
            (3, Histogram { positive: vec![], hint: ResetHint::Gauge, ..exponential }),
            (4, Histogram::stale()),
        ];
        let mut batch = MetricBatch::default();
        batch.push_sample(&labels, 0, 5.0);
        batch.push_histograms(&labels, &points);
        let mut stored: Vec<(Labels, Vec<i64>, Vec<f64>)> = batch
            .iter()
            .map(|(labels, ts, values)| (Labels::from_bytes(labels).unwrap(), ts.to_vec(), values.to_vec()))
            .collect();
        stored.sort_by(|a, b| a.0.cmp(&b.0));
        let runs = runs(stored.iter().map(|(labels, ts, values)| (labels, &ts[..], &values[..])));
        assert_eq!(runs.len(), 1);
        assert_eq!((&runs[0].labels, runs[0].ts_ms, runs[0].values), (&labels, &[0][..], &[5.0][..]));
        let found: Vec<_> = runs[0].histograms.iter().map(|(ts, h)| (*ts, h.hint, (**h).clone())).collect();
        let wanted: Vec<_> = points.iter().map(|(ts, h)| (*ts, h.hint, h.clone())).collect();
        // What was left open is known from the neighbours: it grew, then came other buckets.
        assert_eq!((found[1].1, found[2].1), (ResetHint::NotReset, ResetHint::Unknown));
        for at in [0, 3] {
            assert_eq!(found[at], wanted[at]);
        }
        assert_eq!((&found[1].2, &found[2].2), (&wanted[1].2, &wanted[2].2));
        assert!(found[4].2.is_stale_marker());
    }
}
