//! Parts of rows as one part: each is read once from its beginning, and of each only one batch is in memory.

use super::copies;
use super::groups::{GROUP, GroupColumns, Groups};
use super::order::{Key, Place, Row, in_pieces, times};
use super::part::{self, Index, PartStream, WordBounds, Writer};
use super::shapes::{SHAPE, Shape, Shapes};
use super::spilled::{self, Spilled};
use super::stored::{needed, of_memory, publish, renumbered};
use crate::log_deletions::Hidden;
use crate::part::{Damaged, Part, PartFiles, Signal};
use arrow::array::RecordBatch;
use arrow::compute::{concat_batches, interleave_record_batch};
use futures::TryStreamExt;
use std::sync::Arc;

/// What is known of a part before it is read.
enum Opened {
    Rows(Arc<Index>),
    Spilled(Arc<Spilled>),
}

impl Opened {
    async fn of(part: &Part) -> Result<Opened, Damaged> {
        Ok(match part.meta.is_spilled() {
            true => Opened::Spilled(part.spilled().await?),
            false => Opened::Rows(part.rows_index_to_merge().await?),
        })
    }

    fn groups(&self) -> &Arc<GroupColumns> {
        match self {
            Opened::Rows(index) => &index.groups,
            Opened::Spilled(spilled) => &spilled.groups,
        }
    }

    fn keys(&self, signal: Signal) -> Vec<Key> {
        match self {
            Opened::Rows(index) => {
                let key = |run: &part::Run| Key::of(signal, index.group_of(run), &run.name);
                index.runs.iter().map(key).collect()
            }
            Opened::Spilled(spilled) => spilled.runs.iter().map(|run| spilled.key_of(run)).collect(),
        }
    }

    fn rows_of_runs(&self) -> Vec<u32> {
        match self {
            Opened::Rows(index) => index.runs.iter().map(|run| run.rows).collect(),
            Opened::Spilled(spilled) => spilled.runs.iter().map(|run| run.rows).collect(),
        }
    }

    fn read(&self, part: &Arc<Part>) -> Result<PartStream, Damaged> {
        match self {
            Opened::Rows(index) => part::read_all(part, index.clone()),
            Opened::Spilled(spilled) => Ok(spilled::read_all(part.clone(), spilled)),
        }
    }
}

/// A part that is being read.
struct Source {
    signal: Signal,
    groups: Arc<GroupColumns>,
    stream: PartStream,
    /// The new part's numbers of its groups, and of its shapes where its rows have numbers of its own.
    number_of: Vec<u32>,
    shape_of: Option<Vec<u32>>,
    rows_of_runs: Vec<u32>,
    /// Ranks of its runs, and where the next batch begins: the run, and how many of its rows were read.
    ranks: Vec<u32>,
    run: usize,
    run_rows: u32,
    batch: RecordBatch,
    places: Vec<Place>,
    /// Which rows are written; none is left out where it is empty.
    kept: Vec<bool>,
    hidden: Hidden,
    at: usize,
    ended: bool,
}

/// Nothing where all rows are hidden.
pub async fn merge(
    signal: Signal,
    parts: Vec<(Arc<Part>, Hidden)>,
    words: WordBounds,
) -> anyhow::Result<Option<PartFiles>> {
    let mut opened = vec![];
    for (part, _) in &parts {
        opened.push(Opened::of(part).await?);
    }
    let mut groups = Groups::default();
    let numbers: Vec<Vec<u32>> = opened
        .iter()
        .map(|part| part.groups().groups().iter().map(|group| groups.number(group)).collect())
        .collect();
    let of_parts: Vec<Vec<Key>> = opened.iter().map(|part| part.keys(signal)).collect();
    let mut keys: Vec<Key> = of_parts.iter().flatten().cloned().collect();
    keys.sort_unstable();
    keys.dedup();
    let (mut sampled, mut shapes) = (vec![], Shapes::default());
    let (mut indexes, mut spilled) = (vec![], vec![]);
    for part in &opened {
        match part {
            Opened::Rows(index) => indexes.push(index.clone()),
            Opened::Spilled(own) => spilled.push(own.clone()),
        }
    }
    let is_raw = |opened: &Opened| matches!(opened, Opened::Rows(index) if index.is_raw());
    let raw_parts = opened.iter().filter(|opened| is_raw(opened)).count();
    let raw = parts.iter().zip(&opened).filter(|(_, opened)| is_raw(opened));
    for (number, ((part, _), opened)) in raw.enumerate() {
        if let Opened::Rows(index) = opened {
            sampled.extend(part::sample(part, index, (number, raw_parts), &mut shapes).await?);
        }
    }
    let layout = part::Layout::joined(signal, &indexes, (&sampled, shapes.list()), &spilled, words);
    drop((indexes, spilled, sampled));
    let spool = match parts.first() {
        Some((part, _)) => part.objects().spool()?,
        None => return Ok(None),
    };
    let mut sources = vec![];
    for ((((part, hidden), opened), number_of), of_part) in
        parts.into_iter().zip(opened).zip(numbers).zip(of_parts)
    {
        let ranks = of_part.iter().map(|key| keys.partition_point(|other| other < key) as u32).collect();
        let stream = opened.read(&part)?;
        let shape_of = match &opened {
            Opened::Rows(_) => None,
            Opened::Spilled(own) => {
                Some(own.groups.shapes().iter().map(|shape| shapes.number(shape)).collect())
            }
        };
        sources.push(Source::new(signal, &opened, stream, (number_of, shape_of), ranks, hidden));
    }
    let groups = GroupColumns::new(signal, groups.list().to_vec());
    let mut written = 0;
    let mut writer = Writer::new(signal, groups, keys, layout, spool)?;
    let mut waiting = Waiting { pieces: vec![], rows: vec![], bytes: 0 };
    loop {
        for source in &mut sources {
            source.fill(&mut shapes).await?;
        }
        // Up to the first end of what is in memory, every row that is to come is known.
        let ends = sources.iter().filter(|source| !source.ended).filter_map(|source| source.places.last());
        let bound = ends.min().copied().unwrap_or((u32::MAX, i64::MAX));
        let (mut rows, mut taken): (Vec<Row>, usize) = (vec![], 0);
        for (number, source) in sources.iter_mut().enumerate() {
            let end = source.at + source.places[source.at..].partition_point(|place| *place <= bound);
            let kept = (source.at..end).filter(|row| source.kept.get(*row).copied().unwrap_or(true));
            rows.extend(kept.map(|row| (source.places[row], number as u32, row as u32)));
            taken += end - source.at;
            source.at = end;
        }
        if taken == 0 {
            waiting.hand_on(&mut writer, shapes.list())?;
            return if written == 0 { Ok(None) } else { writer.finish().map(Some) };
        }
        rows.sort();
        let batches: Vec<RecordBatch> = sources.iter().map(|source| source.batch.clone()).collect();
        if signal == Signal::Spans {
            copies::leave_out(&mut rows, &batches)?;
        }
        written += rows.len();
        in_pieces(&batches, &rows, |piece, rows| match signal {
            // Their writer ends pages itself.
            Signal::Spans => writer.push(&piece, rows, shapes.list()),
            _ => waiting.add(piece, rows, &mut writer, shapes.list()),
        })?;
    }
}

/// Rows of logs that wait until a page is full of them: a column begins a new page after so many rows or a bit more, and all are to
/// begin theirs at the same ones.
struct Waiting {
    pieces: Vec<RecordBatch>,
    rows: Vec<Row>,
    bytes: usize,
}

/// Long lines are not many in a page.
const WAITING_BYTES_MAX: usize = 8 << 20;

impl Waiting {
    fn add(
        &mut self,
        piece: RecordBatch,
        rows: &[Row],
        writer: &mut Writer,
        shapes: &[Arc<Shape>],
    ) -> anyhow::Result<()> {
        self.bytes += piece.get_array_memory_size();
        self.pieces.push(piece);
        self.rows.extend_from_slice(rows);
        while self.rows.len() >= part::LOG_PAGE_ROWS || self.bytes > WAITING_BYTES_MAX {
            self.hand_on(writer, shapes)?;
        }
        Ok(())
    }

    /// The first page, or what there is of it.
    fn hand_on(&mut self, writer: &mut Writer, shapes: &[Arc<Shape>]) -> anyhow::Result<()> {
        let Some(schema) = self.pieces.first().map(RecordBatch::schema) else { return Ok(()) };
        let rest = self.rows.split_off(self.rows.len().min(part::LOG_PAGE_ROWS));
        let page = std::mem::replace(&mut self.rows, rest);
        let mut pieces = std::mem::take(&mut self.pieces);
        if let Some(last) = pieces.pop() {
            let own = last.num_rows() - self.rows.len();
            pieces.push(last.slice(0, own));
            // Copied, so that it does not keep the whole.
            let behind: Vec<(usize, usize)> = (own..last.num_rows()).map(|row| (0, row)).collect();
            if !behind.is_empty() {
                self.pieces.push(interleave_record_batch(&[&last], &behind)?);
            }
        }
        self.bytes = self.pieces.iter().map(RecordBatch::get_array_memory_size).sum();
        let whole = concat_batches(&schema, &pieces)?;
        drop(pieces);
        writer.push(&whole, &page, shapes)
    }
}

impl Source {
    fn new(
        signal: Signal,
        opened: &Opened,
        stream: PartStream,
        (number_of, shape_of): (Vec<u32>, Option<Vec<u32>>),
        ranks: Vec<u32>,
        hidden: Hidden,
    ) -> Source {
        Source {
            signal,
            groups: opened.groups().clone(),
            stream,
            number_of,
            shape_of,
            rows_of_runs: opened.rows_of_runs(),
            ranks,
            run: 0,
            run_rows: 0,
            batch: RecordBatch::new_empty(super::stored::schema(signal).clone()),
            places: vec![],
            kept: vec![],
            hidden,
            at: 0,
            ended: false,
        }
    }

    /// The next batch, where the last one is used up.
    async fn fill(&mut self, shapes: &mut Shapes) -> Result<(), anyhow::Error> {
        while !self.ended && self.at == self.places.len() {
            let Some(batch) = self.stream.try_next().await? else {
                self.ended = true;
                anyhow::ensure!(self.run == self.ranks.len(), "a part has fewer rows than its index says");
                return Ok(());
            };
            self.kept.clear();
            let batch = match &self.shape_of {
                Some(shape_of) => renumbered(&batch, SHAPE, shape_of)?,
                None => shapes.numbered(&batch)?,
            };
            if !self.hidden.is_nothing() {
                let columns = self.hidden.columns().0;
                let groups = GroupColumns::new(self.signal, self.groups.groups().to_vec());
                let groups = groups.with_shapes(shapes.list().to_vec());
                let whole = of_memory(&batch, &groups, &needed(self.signal, &columns))?;
                let shown = publish(self.signal, &groups, &whole, &columns)?;
                self.kept.extend(self.hidden.kept(&shown)?.iter().map(|kept| kept == Some(true)));
            }
            let batch = renumbered(&batch, GROUP, &self.number_of)?;
            let schema = super::stored::schema(self.signal).clone();
            self.batch = RecordBatch::try_new(schema, batch.columns().to_vec())?;
            self.places.clear();
            self.at = 0;
            for ts in times(self.signal, &self.batch)? {
                anyhow::ensure!(self.run < self.ranks.len(), "a part has more rows than its index says");
                self.places.push((self.ranks[self.run], *ts));
                self.run_rows += 1;
                if self.run_rows == self.rows_of_runs[self.run] {
                    (self.run, self.run_rows) = (self.run + 1, 0);
                }
            }
            anyhow::ensure!(self.places.is_sorted(), "a part's rows are out of order");
        }
        Ok(())
    }
}
