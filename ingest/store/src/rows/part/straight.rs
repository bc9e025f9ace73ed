//! Reads rows of columns, of logs only of those that are no lists, row group by row group, without the library's reader for any
//! file: that one makes two contexts of the compressor for each column of each row group, which takes longer than a small column
//! takes to unpack. Columns that have each value once are read as they lie.
//! Rows that are judged come in several readings, of which each reads only the pages that have any left.

use super::Index;
use super::batches::Batches;
use super::coded::Kind;
use super::read::Judge;
use super::row_group::{Blocks, Reader};
use crate::objects::READ_ROWS;
use crate::part::{Part, Signal};
use crate::rows::fields::TRACE_ID;
use crate::rows::part::ranges::Ranges;
use arrow::array::{Array, BooleanArray, RecordBatch};
use arrow::compute::prep_null_mask_filter;
use arrow::error::ArrowError;
use futures::{Stream, stream};
use parquet::arrow::arrow_reader::ArrowReaderMetadata;
use std::ops::Range;
use std::sync::Arc;

/// Blocks that are fetched at a time of a file on this machine. What they take is still in the processor's cache when it is read,
/// and who needs only the first rows has not fetched all.
const BLOCKS_AT_ONCE: usize = if cfg!(test) { 2 } else { 32 };

const TRACE_ID_BYTES: i32 = 16;

/// To read so few rows more takes less than to pass over them.
const GAP_ROWS: usize = 64;

/// Rows of a row group, counted from its first.
type Rows = Vec<Range<usize>>;

pub struct Straight {
    reader: Reader,
    metadata: ArrowReaderMetadata,
    /// What is judged is read as this says.
    judged: ArrowReaderMetadata,
    /// The next one looks at what those before it let pass.
    judges: Vec<Judge>,
    /// Indices of the file's columns.
    columns: Vec<usize>,
    /// Rows that are fetched at a time, each with its row group.
    pieces: std::vec::IntoIter<(usize, Rows)>,
    read: Option<Batches>,
    batch_rows: usize,
    /// Of the rows that are handed on, and not of those that are judged.
    roots: Option<Arc<Vec<u32>>>,
}

impl Index {
    /// Whether the columns are ones that [`Straight`] can read.
    pub fn is_straight(&self, columns: &[usize]) -> bool {
        let fields = self.metadata.parquet_schema().root_schema().get_fields();
        let may_be_lists = self.signal == Signal::Spans;
        columns.iter().all(|column| may_be_lists || !fields[*column].is_group())
            && !columns.is_empty()
            && self.blocks().is_some()
    }

    /// Whether each row of the part tells which trace it is of, by the trace's place among all of the part.
    pub fn has_places(&self) -> bool {
        let groups = self.metadata.metadata().row_groups();
        self.traces.has_places(groups.len())
            && self.blocks().is_some()
            && self.every_chunk(TRACE_ID, |chunk| Kind::Ids(TRACE_ID_BYTES).can_read(chunk))
    }

    fn blocks(&self) -> Option<&Arc<Blocks>> {
        self.blocks.get_or_init(|| Blocks::of(self.metadata.metadata()).map(Arc::new)).as_ref()
    }
}

impl Straight {
    /// `columns` and those of the judges [are straight](Index::is_straight).
    pub fn of(
        part: Arc<Part>,
        index: &Arc<Index>,
        [metadata, judged]: [&ArrowReaderMetadata; 2],
        ranges: &Ranges,
        judges: Vec<Judge>,
        columns: Vec<usize>,
    ) -> Straight {
        let blocks = index.blocks().cloned().unwrap_or_default();
        let judged_columns = judges.iter().flat_map(|judge| &judge.columns).map(|column| (judged, *column));
        let read = columns.iter().map(|column| (metadata, *column)).chain(judged_columns);
        let read: Vec<(&ArrowReaderMetadata, usize)> = read.collect();
        let in_pieces = part.meta.signal == Signal::Spans && part.objects().are_local();
        let (mut pieces, mut first) = (vec![], 0);
        for (at, group) in metadata.metadata().row_groups().iter().enumerate() {
            let after = first + group.num_rows() as usize;
            let own = ranges.and(&Ranges::new(std::iter::once(first..after)));
            let own: Rows = own.0.iter().map(|rows| rows.start - first..rows.end - first).collect();
            first = after;
            let cut = match in_pieces && read.iter().all(|read| is_read_once(*read, at)) {
                true => blocks.cut(at, &own, BLOCKS_AT_ONCE),
                false => vec![own],
            };
            pieces.extend(cut.into_iter().filter(|rows| !rows.is_empty()).map(|rows| (at, rows)));
        }
        Straight {
            reader: Reader::new(part, index.clone(), blocks),
            metadata: metadata.clone(),
            judged: judged.clone(),
            judges,
            columns,
            pieces: pieces.into_iter(),
            read: None,
            batch_rows: READ_ROWS,
            roots: None,
        }
    }

    pub fn in_batches_of(self, batch_rows: usize) -> Straight {
        Straight { batch_rows, ..self }
    }

    /// Each row has [`ROOT`](crate::rows::trace_roots::ROOT), by the roots of the part's traces.
    pub fn with_roots(mut self, roots: Option<Arc<Vec<u32>>>) -> Straight {
        self.roots = roots;
        self
    }

    pub fn stream(self) -> impl Stream<Item = Result<RecordBatch, ArrowError>> {
        stream::try_unfold(self, |mut straight| async move {
            Ok(straight.next().await?.map(|batch| (batch, straight)))
        })
    }

    async fn next(&mut self) -> Result<Option<RecordBatch>, ArrowError> {
        loop {
            if let Some(batch) = self.read.as_mut().and_then(Iterator::next) {
                return batch.map(Some);
            }
            let Some((group, rows)) = self.pieces.next() else { return Ok(None) };
            let rows = self.left(group, rows).await?;
            self.read = match rows.is_empty() {
                true => None,
                false => {
                    let columns = (&self.columns[..], self.batch_rows);
                    self.reader.roots.clone_from(&self.roots);
                    Some(self.reader.batches(&self.metadata, group, &rows, columns).await?)
                }
            };
        }
    }

    /// Those of the rows that pass.
    async fn left(&mut self, group: usize, mut rows: Rows) -> Result<Rows, ArrowError> {
        self.reader.roots = None;
        for judge in &mut self.judges {
            if rows.is_empty() {
                break;
            }
            let mut left = Left { rows: &rows, at: 0, before: 0, judged: 0, left: vec![] };
            let columns = (&judge.columns[..], READ_ROWS);
            for batch in self.reader.batches(&self.judged, group, &rows, columns).await? {
                left.add(&(judge.judge)(batch?)?);
            }
            rows = if judge.only_narrows { joined(left.left) } else { left.left };
        }
        Ok(rows)
    }
}

/// Whether what rows of a row group have one of each is read once, in however many pieces the rows are read.
fn is_read_once((metadata, column): (&ArrowReaderMetadata, usize), group: usize) -> bool {
    let (schema, kind) = (metadata.parquet_schema(), metadata.schema().field(column).data_type());
    let leaf = (0..schema.num_columns()).find(|leaf| schema.get_column_root_idx(*leaf) == column);
    leaf.is_some_and(|leaf| {
        let chunk = metadata.metadata().row_group(group).column(leaf);
        // Those of lists are read again: they are a megabyte at most.
        let is_list = chunk.column_descr().max_rep_level() > 0;
        is_list
            || chunk.dictionary_page_offset().is_none()
            || Kind::of(kind).is_some_and(|kind| kind.can_read(chunk))
    })
}

/// Ranges between which few rows lie become one.
fn joined(rows: Rows) -> Rows {
    let mut joined: Rows = vec![];
    for range in rows {
        match joined.last_mut() {
            Some(last) if range.start - last.end <= GAP_ROWS => last.end = range.end,
            _ => joined.push(range),
        }
    }
    joined
}

/// What is left of rows, the masks of which come one after the other.
struct Left<'a> {
    rows: &'a [Range<usize>],
    /// The range that the next mask begins in, and the rows of those before it.
    at: usize,
    before: usize,
    judged: usize,
    left: Rows,
}

impl Left<'_> {
    fn add(&mut self, mask: &BooleanArray) {
        let plain = (mask.null_count() > 0).then(|| prep_null_mask_filter(mask));
        for (start, end) in plain.as_ref().unwrap_or(mask).values().set_slices() {
            let (mut from, to) = (self.judged + start, self.judged + end);
            while let Some(range) = self.rows.get(self.at).filter(|_| from < to) {
                let after = self.before + range.len();
                if from >= after {
                    self.before = after;
                    self.at += 1;
                    continue;
                }
                let until = to.min(after);
                let first = range.start + from - self.before;
                self.left.push(first..first + until - from);
                from = until;
            }
        }
        self.judged += mask.len();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_that_are_left_keep_their_places() {
        let rows = [2..5, 9..10, 20..24];
        let mut left = Left { rows: &rows, at: 0, before: 0, judged: 0, left: vec![] };
        left.add(&BooleanArray::from(vec![Some(true), Some(false), None]));
        assert_eq!((left.left.first(), left.left.len()), (Some(&(2..3)), 1));
        left.add(&BooleanArray::from(vec![true, true, true]));
        left.add(&BooleanArray::from(vec![false, true]));
        assert_eq!(left.left, [2..3, 9..10, 20..22, 23..24]);
    }

    #[test]
    fn rows_between_which_few_lie_become_one_range() {
        let far = 20 + GAP_ROWS + 1;
        assert_eq!(joined(vec![0..1, 3..5, 7..20, far..far + 1]), [0..20, far..far + 1]);
        assert_eq!(joined(vec![0..20, far - 1..far + 1]).first(), Some(&(0..far + 1)));
        assert_eq!(joined(vec![]), Rows::new());
    }
}
