//! What a scrape may ask of histograms beyond their format: classic ones as native ones with custom buckets
//! (`convert_classic_histograms_to_nhcb`), and native ones no finer than wanted (`native_histogram_bucket_limit`,
//! `native_histogram_min_bucket_factor`).

use model::{
    CUSTOM_BUCKETS_SCHEMA, Exemplar, Histogram, LabelSetBuilder, Labels, METRIC_NAME, MetricBatch,
    MetricKind, component_of, is_meta, runs, without_component,
};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// The series of one classic histogram at one time.
#[derive(Default)]
struct Classic {
    /// Upper bound and cumulative count.
    buckets: Vec<(f64, f64)>,
    count: Option<f64>,
    sum: Option<f64>,
}

/// Which piece of a classic histogram a series is.
enum Piece {
    Bucket(f64),
    Count,
    Sum,
}

/// Each classic histogram of the batch, by its type, as a native one with the same bounds; its own series stay where
/// `keep_classic` says so.
pub fn classic_to_native(batch: MetricBatch, keep_classic: bool) -> MetricBatch {
    let is_histogram = |metadata: &&model::Metadata| metadata.kind == MetricKind::Histogram;
    let families: BTreeSet<&str> =
        batch.metadata.iter().filter(is_histogram).map(|metadata| metadata.name.as_str()).collect();
    let mut found: BTreeMap<Labels, BTreeMap<i64, Classic>> = BTreeMap::new();
    let mut kept = MetricBatch::default();
    for (bytes, ts_ms, values) in batch.iter() {
        let labels = Labels::from_bytes(bytes).unwrap_or_default();
        let piece = piece_of(&labels, &families);
        if piece.is_none() || keep_classic {
            kept.begin_canonical(bytes);
            ts_ms.iter().zip(values).for_each(|(ts, value)| kept.push(*ts, *value));
        }
        let Some((whole, piece)) = piece else { continue };
        let of_series = found.entry(whole).or_default();
        for (ts, value) in ts_ms.iter().zip(values) {
            let classic = of_series.entry(*ts).or_default();
            match piece {
                Piece::Bucket(bound) => classic.buckets.push((bound, *value)),
                Piece::Count => classic.count = Some(*value),
                Piece::Sum => classic.sum = Some(*value),
            }
        }
    }
    let is_native = |labels: &Labels| component_of(labels).is_some_and(is_meta);
    let all = batch.iter().map(|(bytes, ..)| Labels::from_bytes(bytes).unwrap_or_default());
    let native: BTreeSet<Labels> = all.filter(is_native).map(|labels| without_component(&labels)).collect();
    // One that is exposed as a native histogram too stays that.
    found.retain(|labels, _| !native.contains(labels));
    for (labels, classics) in found {
        let native = classics.into_iter().filter_map(|(ts_ms, classic)| Some((ts_ms, classic.native()?)));
        let native: Vec<(i64, Histogram)> = native.collect();
        kept.push_histograms(&labels, &native);
    }
    for exemplar in batch.exemplars.iter() {
        let whole = piece_of(&exemplar.series, &families).map(|(whole, _)| whole);
        if whole.is_none() || keep_classic {
            kept.exemplars.push(exemplar.clone());
        }
        kept.exemplars.extend(whole.map(|series| Exemplar { series, ..exemplar.clone() }));
    }
    kept.metadata = batch.metadata;
    kept
}

/// Labels of the whole histogram, and the piece that a series is of it.
fn piece_of(labels: &Labels, families: &BTreeSet<&str>) -> Option<(Labels, Piece)> {
    if component_of(labels).is_some() {
        return None;
    }
    let name = labels.metric_name();
    let family = |suffix: &str| name.strip_suffix(suffix).filter(|name| families.contains(name));
    let (family, piece) = if let Some(family) = family("_bucket") {
        (family, Piece::Bucket(labels.get("le")?.parse().ok()?))
    } else if let Some(family) = family("_count") {
        (family, Piece::Count)
    } else {
        (family("_sum")?, Piece::Sum)
    };
    let mut whole = LabelSetBuilder::from_labels(labels);
    whole.set(METRIC_NAME, family);
    if matches!(piece, Piece::Bucket(_)) {
        whole.remove("le");
    }
    Some((whole.build(), piece))
}

impl Classic {
    /// `None` where the series are no histogram: counts that fall, or none at all.
    fn native(mut self) -> Option<Histogram> {
        if self.sum.is_some_and(model::is_stale_marker) {
            return Some(Histogram::stale());
        }
        self.buckets.sort_by(|a, b| a.0.total_cmp(&b.0));
        self.buckets.dedup_by(|later, earlier| later.0 == earlier.0);
        let all = self.buckets.last().filter(|(bound, _)| *bound == f64::INFINITY).map(|(_, count)| *count);
        let count = self.count.or(all)?;
        if all.is_none() {
            self.buckets.push((f64::INFINITY, count));
        }
        let (mut positive, mut before) = (vec![], 0.0);
        for (index, (_, total)) in self.buckets.iter().enumerate() {
            let own = total - before;
            if own != 0.0 {
                positive.push((index as i32, own));
            }
            before = *total;
        }
        self.buckets.pop();
        let histogram = Histogram {
            schema: CUSTOM_BUCKETS_SCHEMA,
            count,
            sum: self.sum.unwrap_or(0.0),
            positive,
            custom_values: self.buckets.iter().map(|(bound, _)| *bound).collect(),
            ..Histogram::default()
        };
        histogram.validate().is_ok().then_some(histogram)
    }
}

/// Native histograms of at most so many buckets (0 is no limit), no finer than the factor from one bucket to the next allows.
pub fn coarser(batch: MetricBatch, buckets_max: usize, factor_min: f64) -> Result<MetricBatch, String> {
    let mut stored: Vec<(Labels, Vec<i64>, Vec<f64>)> = batch
        .iter()
        .map(|(bytes, ts_ms, values)| {
            (Labels::from_bytes(bytes).unwrap_or_default(), ts_ms.to_vec(), values.to_vec())
        })
        .collect();
    if stored.iter().all(|(labels, ..)| component_of(labels).is_none()) {
        return Ok(batch);
    }
    stored.sort_by(|a, b| a.0.cmp(&b.0));
    let finest = finest_schema(factor_min);
    let mut made = MetricBatch::default();
    for run in runs(stored.iter().map(|(labels, ts_ms, values)| (labels, &ts_ms[..], &values[..]))) {
        if !run.ts_ms.is_empty() {
            made.begin_labels(&run.labels);
            run.ts_ms.iter().zip(run.values).for_each(|(ts, value)| made.push(*ts, *value));
        }
        let mut points = vec![];
        for (ts_ms, histogram) in run.histograms {
            points.push((ts_ms, within(Arc::unwrap_or_clone(histogram), buckets_max, finest)?));
        }
        if !points.is_empty() {
            made.push_histograms(&run.labels, &points);
        }
        made.push_starts(&run.labels, &run.starts);
    }
    (made.metadata, made.exemplars) = (batch.metadata, batch.exemplars);
    Ok(made)
}

fn within(mut histogram: Histogram, buckets_max: usize, finest: i8) -> Result<Histogram, String> {
    if !histogram.uses_custom_buckets() && histogram.schema > finest {
        histogram = histogram.at_schema(finest);
    }
    while buckets_max > 0 && histogram.positive.len() + histogram.negative.len() > buckets_max {
        if histogram.uses_custom_buckets() || histogram.schema <= -4 {
            return Err("histogram bucket limit exceeded".into());
        }
        let coarser = histogram.schema - 1;
        histogram = histogram.at_schema(coarser);
    }
    Ok(histogram)
}

/// The schema that Prometheus picks for a factor: of those whose buckets grow by less or as much, the coarsest.
fn finest_schema(factor_min: f64) -> i8 {
    if factor_min <= 1.0 {
        return 8;
    }
    (-factor_min.log2().log2().floor()).clamp(-4.0, 8.0) as i8
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exposition::parse;

    fn natives(batch: &MetricBatch) -> (Vec<String>, Vec<String>) {
        let mut stored: Vec<(Labels, &[i64], &[f64])> =
            batch.iter().map(|(bytes, t, v)| (Labels::from_bytes(bytes).unwrap(), t, v)).collect();
        stored.sort_by(|a, b| a.0.cmp(&b.0));
        let (mut numbers, mut histograms) = (vec![], vec![]);
        for run in runs(stored.iter().map(|(labels, t, v)| (labels, *t, *v))) {
            numbers.extend(run.values.iter().map(|value| format!("{} {value}", run.labels)));
            histograms.extend(run.histograms.iter().map(|(_, h)| format!("{} {h}", run.labels)));
        }
        (numbers, histograms)
    }

    const TEXT: &str = "# TYPE h histogram\nh_bucket{a=\"b\",le=\"0.1\"} 1\nh_bucket{a=\"b\",le=\"1\"} 3\n\
        h_bucket{a=\"b\",le=\"+Inf\"} 6\nh_count{a=\"b\"} 6\nh_sum{a=\"b\"} 7.5\n\
        # TYPE other_count counter\nother_count 5\nno_type_bucket{le=\"1\"} 4\n";

    #[test]
    fn classic_histograms_become_native_ones_by_their_type() {
        let batch = parse(TEXT, 1).unwrap().batch;
        let (numbers, histograms) = natives(&classic_to_native(batch.clone(), false));
        assert_eq!(numbers, ["no_type_bucket{le=\"1\"} 4", "other_count 5"]);
        assert_eq!(histograms, ["h{a=\"b\"} {count:6, sum:7.5, [-Inf,0.1]:1, (0.1,1]:2, (1,+Inf]:3}"]);
        let (numbers, histograms) = natives(&classic_to_native(batch, true));
        assert_eq!((numbers.len(), histograms.len()), (7, 1));
    }

    #[test]
    fn fine_histograms_come_down_to_what_is_wanted() {
        let labels = Labels::from_pairs([("__name__", "h")]);
        let histogram = Histogram {
            schema: 3,
            count: 8.0,
            positive: (1..=8).map(|index| (index, 1.0)).collect(),
            ..Histogram::default()
        };
        let mut batch = MetricBatch::default();
        batch.push_histograms(&labels, &[(1, histogram)]);
        let buckets = |max: usize, factor: f64| {
            let (_, found) = natives(&coarser(batch.clone(), max, factor).unwrap());
            found[0].matches(':').count() - 2
        };
        // Eight buckets from 1 to 2 at schema 3.
        assert_eq!((buckets(0, 0.0), buckets(8, 1.05), buckets(4, 0.0), buckets(1, 0.0)), (8, 8, 4, 1));
        assert_eq!((buckets(0, 1.2), buckets(0, 2.0), buckets(0, 1.1)), (4, 1, 8));
        let mut wide = MetricBatch::default();
        let positive = vec![(-50, 1.0), (50, 1.0)];
        let histogram = Histogram { schema: -4, count: 2.0, positive, ..Histogram::default() };
        wide.push_histograms(&labels, &[(1, histogram)]);
        assert!(coarser(wide, 1, 0.0).unwrap_err().contains("bucket limit exceeded"));
    }
}
