//! Runs of several places as one: by labels, then by time, the sample written last standing where two have one time.

use super::Run;
use super::part::{Runs, Writer};
use crate::part::{Damaged, Part, PartFiles};
use crate::snapshot::{BlockStream, ReadError, SampleBlock};
use crate::tombstones::Covers;
use futures::stream::{self, StreamExt};
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

/// Runs of one place, in the order of their labels.
pub enum Source {
    Part(Left),
    /// Ends where the part turns out to be damaged, and tells.
    Shown(Left, Tell),
    /// Those of a memtable, each made when it is asked for.
    Memory(Box<dyn Iterator<Item = Run> + Send>),
}

pub type Tell = Arc<dyn Fn(&Damaged) + Send + Sync>;

impl Source {
    async fn next(&mut self) -> Result<Option<Run>, Damaged> {
        match self {
            Source::Part(left) => left.next().await,
            Source::Shown(left, tell) => Ok(left.next().await.unwrap_or_else(|wrong| {
                tell(&wrong);
                None
            })),
            Source::Memory(runs) => Ok(runs.next()),
        }
    }
}

/// Several sources as one; the sources oldest first.
struct Joined {
    sources: Vec<(Option<Run>, Source)>,
}

impl Joined {
    async fn of(sources: Vec<Source>) -> Result<Joined, Damaged> {
        let mut joined = Joined { sources: vec![] };
        for mut runs in sources {
            joined.sources.push((runs.next().await?, runs));
        }
        Ok(joined)
    }

    async fn next(&mut self) -> Result<Option<Run>, Damaged> {
        if let [(head, runs)] = &mut self.sources[..] {
            return Ok(std::mem::replace(head, runs.next().await?));
        }
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

/// Samples after which a block of an answer ends with its series: 1 MiB.
const BLOCK_SAMPLES: usize = 1 << 16;

/// The sources' runs as blocks; the sources oldest first, and none of them [`Source::Part`].
pub async fn blocks(sources: Vec<Source>) -> Result<BlockStream, Damaged> {
    let joined = Joined::of(sources).await?;
    let blocks = stream::try_unfold(joined, |mut joined| async {
        let io = |wrong: Damaged| ReadError::Io(wrong.to_string());
        let mut block = SampleBlock::default();
        while block.ts_ms.len() < BLOCK_SAMPLES
            && let Some(run) = joined.next().await.map_err(io)?
        {
            block.push(run.labels, &run.ts_ms, &run.values);
        }
        Ok((!block.labels.is_empty()).then_some((block, joined)))
    });
    Ok(blocks.boxed())
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
        sources.push(Source::Part(Left::of(part, covers.clone(), &everything).await?.once()));
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

/// Equal bytes are the common case of a merge and need no walk through the labels.
pub fn compare(a: &Labels, b: &Labels) -> Ordering {
    if a.as_bytes() == b.as_bytes() { Ordering::Equal } else { a.cmp(b) }
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

    #[tokio::test]
    async fn the_sample_written_last_stands() {
        let older = vec![run("a", &[(1, 1.0), (3, 3.0)]), run("c", &[(1, 1.0)])];
        let newer = vec![run("a", &[(2, 2.0), (3, 33.0)]), run("b", &[(9, 9.0)])];
        let sources = [older, newer].map(|runs| Source::Memory(Box::new(runs.into_iter())));
        let mut joined = Joined::of(sources.into()).await.unwrap();
        let mut merged = vec![];
        while let Some(run) = joined.next().await.unwrap() {
            merged.push(run);
        }
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
