//! Runs of several places as one: by labels, then by time, the sample written last standing where two have one time.

use super::Run;
use super::part::{Runs, Writer};
use crate::part::{Damaged, Part, PartFiles};
use crate::snapshot::SampleBlock;
use crate::tombstones::Covers;
use model::{Labels, SeriesSelect, TimeRange};
use std::cmp::Ordering;
use std::sync::Arc;

/// Sorts by time and keeps the last written of each.
pub fn put_in_order(run: &mut Run) {
    if run.ts_ms.is_sorted_by(|a, b| a < b) {
        return;
    }
    let mut order: Vec<u32> = (0..run.ts_ms.len() as u32).collect();
    order.sort_by_key(|i| run.ts_ms[*i as usize]);
    let (mut ts_ms, mut values) = (Vec::with_capacity(order.len()), Vec::with_capacity(order.len()));
    for i in order {
        let (ts, value) = (run.ts_ms[i as usize], run.values[i as usize]);
        if ts_ms.last() == Some(&ts) {
            // The sort is stable, so this one was written after the one that is there.
            if let Some(last) = values.last_mut() {
                *last = value;
            }
            continue;
        }
        ts_ms.push(ts);
        values.push(value);
    }
    run.ts_ms = ts_ms;
    run.values = values;
}

/// Keeps what is in the range; the run is in order.
pub fn cut(run: &mut Run, range: TimeRange) {
    let end = run.ts_ms.partition_point(|ts| *ts <= range.end);
    let start = run.ts_ms.partition_point(|ts| *ts < range.start).min(end);
    run.ts_ms.truncate(end);
    run.values.truncate(end);
    run.ts_ms.drain(..start);
    run.values.drain(..start);
}

/// One list of runs out of several, each sorted by labels; the sources oldest first.
pub fn runs(sources: Vec<Vec<Run>>) -> Vec<Run> {
    let mut merged: Vec<Run> = vec![];
    for source in sources {
        merged = if merged.is_empty() { source } else { pair(merged, source) };
    }
    merged
}

fn pair(older: Vec<Run>, newer: Vec<Run>) -> Vec<Run> {
    let mut out = Vec::with_capacity(older.len().max(newer.len()));
    let (mut older, mut newer) = (older.into_iter().peekable(), newer.into_iter().peekable());
    loop {
        let order = match (older.peek(), newer.peek()) {
            (Some(a), Some(b)) => compare(&a.labels, &b.labels),
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (None, None) => return out,
        };
        match order {
            Ordering::Less => out.extend(older.next()),
            Ordering::Greater => out.extend(newer.next()),
            Ordering::Equal => {
                if let (Some(mut run), Some(later)) = (older.next(), newer.next()) {
                    run.ts_ms.extend(later.ts_ms);
                    run.values.extend(later.values);
                    put_in_order(&mut run);
                    out.push(run);
                }
            }
        }
    }
}

/// A part's runs without what is deleted of them.
pub struct Left {
    runs: Runs,
    covers: Covers,
}

impl Left {
    pub async fn of(part: &Arc<Part>, covers: Covers, select: &SeriesSelect) -> Result<Left, Damaged> {
        Ok(Left { runs: Runs::of(part, select).await?, covers })
    }

    /// See [`Runs::once`].
    fn once(self) -> Left {
        Left { runs: self.runs.once(), ..self }
    }

    pub async fn next(&mut self) -> Result<Option<Run>, Damaged> {
        while let Some(mut run) = self.runs.next().await? {
            self.covers.cut(&mut run);
            if !run.ts_ms.is_empty() {
                return Ok(Some(run));
            }
        }
        Ok(None)
    }
}

/// Several sources, each in the order of labels, as one; the sources oldest first.
struct Joined {
    sources: Vec<(Option<Run>, Left)>,
}

impl Joined {
    async fn of(sources: Vec<Left>) -> Result<Joined, Damaged> {
        let mut joined = Joined { sources: vec![] };
        for mut runs in sources {
            joined.sources.push((runs.next().await?, runs));
        }
        Ok(joined)
    }

    async fn next(&mut self) -> Result<Option<Run>, Damaged> {
        let heads = self.sources.iter().filter_map(|(head, _)| Some(&head.as_ref()?.labels));
        let Some(least) = heads.min_by(|a, b| compare(a, b)).cloned() else { return Ok(None) };
        let mut joined: Option<Run> = None;
        for (head, runs) in &mut self.sources {
            if head.as_ref().is_none_or(|run| run.labels != least) {
                continue;
            }
            let run = std::mem::replace(head, runs.next().await?);
            joined = match (joined, run) {
                (None, run) => run,
                (Some(mut earlier), Some(run)) => {
                    earlier.ts_ms.extend(run.ts_ms);
                    earlier.values.extend(run.values);
                    Some(earlier)
                }
                (joined, None) => joined,
            };
        }
        if let Some(run) = &mut joined {
            put_in_order(run);
        }
        Ok(joined)
    }
}

/// Parts, oldest first, as one; nothing where all of them is deleted. With `thinned_to`, one sample of each such interval
/// (milliseconds) is kept.
pub async fn merge(
    parts: &[(Arc<Part>, Covers)],
    thinned_to: Option<i64>,
) -> anyhow::Result<Option<PartFiles>> {
    let everything = SeriesSelect { matchers: vec![], range: TimeRange::ALL };
    let (mut sources, mut rows, mut series) = (vec![], 0, 1);
    for (part, covers) in parts {
        series = series.max(part.metrics_index().await?.len());
        rows += part.meta.rows as usize;
        sources.push(Left::of(part, covers.clone(), &everything).await?.once());
    }
    let mut joined = Joined::of(sources).await?;
    let mut writer = Writer::new(rows / series)?;
    let mut is_empty = true;
    while let Some(mut run) = joined.next().await? {
        is_empty = false;
        if let Some(interval_ms) = thinned_to {
            crate::downsample::thin(&mut run, interval_ms);
        }
        writer.push(&run.labels, &run.ts_ms, &run.values)?;
    }
    if is_empty { Ok(None) } else { writer.finish().map(Some) }
}

/// What is left of a part's selected series, in the order of their labels.
pub async fn read(part: &Arc<Part>, covers: Covers, select: &SeriesSelect) -> Result<Vec<Run>, Damaged> {
    let mut left = Left::of(part, covers, select).await?;
    let mut read = vec![];
    while let Some(run) = left.next().await? {
        read.push(run);
    }
    Ok(read)
}

/// Equal bytes are the common case of a merge and need no walk through the labels.
pub fn compare(a: &Labels, b: &Labels) -> Ordering {
    if a.as_bytes() == b.as_bytes() { Ordering::Equal } else { a.cmp(b) }
}

pub fn block(runs: Vec<Run>) -> SampleBlock {
    let samples = runs.iter().map(|run| run.ts_ms.len()).sum();
    let mut block = SampleBlock {
        labels: Vec::with_capacity(runs.len()),
        offsets: Vec::with_capacity(runs.len() + 1),
        ts_ms: Vec::with_capacity(samples),
        values: Vec::with_capacity(samples),
    };
    block.offsets.push(0);
    for run in runs {
        block.labels.push(run.labels);
        block.ts_ms.extend_from_slice(&run.ts_ms);
        block.values.extend_from_slice(&run.values);
        block.offsets.push(block.ts_ms.len());
    }
    block
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(name: &str, samples: &[(i64, f64)]) -> Run {
        Run {
            labels: Labels::from_pairs([("__name__", name)]),
            ts_ms: samples.iter().map(|s| s.0).collect(),
            values: samples.iter().map(|s| s.1).collect(),
        }
    }

    #[test]
    fn the_sample_written_last_stands() {
        let older = vec![run("a", &[(1, 1.0), (3, 3.0)]), run("c", &[(1, 1.0)])];
        let newer = vec![run("a", &[(2, 2.0), (3, 33.0)]), run("b", &[(9, 9.0)])];
        let merged = runs(vec![older, newer]);
        assert_eq!(
            merged,
            [run("a", &[(1, 1.0), (2, 2.0), (3, 33.0)]), run("b", &[(9, 9.0)]), run("c", &[(1, 1.0)])]
        );
        let mut shuffled = run("x", &[(5, 1.0), (1, 2.0), (5, 3.0)]);
        put_in_order(&mut shuffled);
        assert_eq!(shuffled, run("x", &[(1, 2.0), (5, 3.0)]));
        cut(&mut shuffled, TimeRange { start: 2, end: 4 });
        assert!(shuffled.ts_ms.is_empty());
    }
}
