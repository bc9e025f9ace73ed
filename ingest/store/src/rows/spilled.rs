//! Spans that come fast are put into a file as they lie in memory, but in the order of a part, and get their columns, pages
//! and indexes once, when several such parts are merged. A search looks at all of their spans until then. They are not
//! compressed: to pack what is unpacked once, a minute later, took a twelfth of the time in which spans are taken in.
//! Format: FORMAT.md.

use super::groups::{Group, GroupColumns};
use super::order::{Key, Row, in_pieces};
use super::part::{Layout, PartStream, Select, Unit};
use super::shapes;
use super::stored;
use crate::part::{Damaged, Part, PartFiles, Signal};
use crate::side_index::{Cursor, open, put_block, seal};
use crate::spool::Contents;
use arrow::array::RecordBatch;
use arrow::buffer::Buffer;
use arrow::error::ArrowError;
use arrow::ipc::reader::StreamDecoder;
use arrow::ipc::writer::StreamWriter;
use bytes::Bytes;
use futures::StreamExt;
use std::ops::Range;
use std::sync::Arc;

const FORMAT: &str = "BNCLSPL";
const VERSION: u8 = b'1';

/// As many as are gathered at a time; a dozen of them are in memory while as many parts are merged.
const PIECE_ROWS: usize = super::order::PIECE_ROWS;

/// What is known of the file without reading it.
pub struct Spilled {
    pub groups: Arc<GroupColumns>,
    pub runs: Vec<Run>,
    /// How its rows would lie if they lay in columns.
    pub times: Unit,
    pub attributes: Vec<String>,
    pieces: Vec<Piece>,
    bytes: usize,
}

/// Rows of one service and name, in the order of their times.
pub struct Run {
    pub group: u32,
    pub name: String,
    pub rows: u32,
}

/// An Arrow stream of one batch.
struct Piece {
    end: u64,
    crc: u32,
}

/// Rows of one day as they will be read again: `rows` are in the order of a part, `keys` by their ranks.
pub fn write(
    groups: &GroupColumns,
    keys: &[Key],
    layout: &Layout,
    batches: &[RecordBatch],
    rows: &[Row],
) -> anyhow::Result<PartFiles> {
    let (mut file, mut pieces): (Vec<u8>, Vec<Piece>) = (vec![], vec![]);
    let (mut runs, mut last_rank): (Vec<Run>, Option<u32>) = (vec![], None);
    in_pieces(batches, rows, |gathered, rows| {
        let numbers = stored::numbers(&gathered)?.values();
        for (row, ((rank, _), ..)) in rows.iter().enumerate() {
            if last_rank.replace(*rank) != Some(*rank) {
                let Key::Operation(_, name) = &keys[*rank as usize] else { continue };
                runs.push(Run { group: numbers[row], name: name.clone(), rows: 0 });
            }
            runs.last_mut().into_iter().for_each(|run| run.rows += 1);
        }
        for first in (0..gathered.num_rows()).step_by(PIECE_ROWS) {
            let piece = gathered.slice(first, PIECE_ROWS.min(gathered.num_rows() - first));
            let start = file.len();
            let mut stream = StreamWriter::try_new(&mut file, &piece.schema())?;
            stream.write(&piece)?;
            stream.finish()?;
            pieces.push(Piece { end: file.len() as u64, crc: crc32c::crc32c(&file[start..]) });
        }
        Ok(())
    })?;
    let known = Spilled {
        groups: Arc::new(
            GroupColumns::new(Signal::Spans, groups.groups().to_vec()).with_shapes(groups.shapes().to_vec()),
        ),
        runs,
        times: layout.times,
        attributes: layout.attributes.clone(),
        pieces,
        bytes: 0,
    };
    let times = || rows.iter().map(|((_, ts), ..)| *ts);
    Ok(PartFiles {
        is_raw: true,
        data: Contents::Memory(file.into()),
        index: seal(FORMAT, VERSION, &[&known.encode()])?,
        first_ts: times().min().unwrap_or(0),
        last_ts: times().max().unwrap_or(0),
        rows: rows.len(),
    })
}

impl Spilled {
    fn encode(&self) -> Vec<u8> {
        let mut out = vec![];
        let count = |out: &mut Vec<u8>, count: usize| out.extend_from_slice(&(count as u32).to_le_bytes());
        let groups = self.groups.groups();
        count(&mut out, groups.len());
        groups.iter().for_each(|group| group.encode(&mut out));
        count(&mut out, self.groups.shapes().len());
        self.groups.shapes().iter().for_each(|shape| shapes::encode(shape, &mut out));
        count(&mut out, self.runs.len());
        for run in &self.runs {
            out.extend_from_slice(&run.group.to_le_bytes());
            put_block(&mut out, run.name.as_bytes());
            out.extend_from_slice(&run.rows.to_le_bytes());
        }
        count(&mut out, self.pieces.len());
        for piece in &self.pieces {
            out.extend_from_slice(&piece.end.to_le_bytes());
            out.extend_from_slice(&piece.crc.to_le_bytes());
        }
        out.extend_from_slice(&self.times.ns().to_le_bytes());
        count(&mut out, self.attributes.len());
        self.attributes.iter().for_each(|name| put_block(&mut out, name.as_bytes()));
        Group::encode_more(groups, &mut out);
        out
    }

    pub fn decode(bytes: &[u8]) -> Result<Spilled, String> {
        let raw = open(FORMAT, VERSION, bytes)?;
        let mut rest = Cursor(&raw);
        let text =
            |rest: &mut Cursor<'_>| String::from_utf8(rest.block()?.to_vec()).map_err(|e| e.to_string());
        let (mut groups, mut shapes, mut runs, mut pieces) = (vec![], vec![], vec![], Vec::<Piece>::new());
        for _ in 0..rest.u32()? {
            groups.push(Arc::new(Group::decode(&mut rest)?));
        }
        for _ in 0..rest.u32()? {
            shapes.push(Arc::new(shapes::decode(&mut rest)?));
        }
        for _ in 0..rest.u32()? {
            let run = Run { group: rest.u32()?, name: text(&mut rest)?, rows: rest.u32()? };
            if run.group as usize >= groups.len() {
                return Err("a run is of no group".into());
            }
            runs.push(run);
        }
        for _ in 0..rest.u32()? {
            let piece = Piece { end: rest.u64()?, crc: rest.u32()? };
            if pieces.last().is_some_and(|before| before.end >= piece.end) {
                return Err("its pieces are out of order".into());
            }
            pieces.push(piece);
        }
        let times = Unit::of_ns(rest.i64()?).ok_or("its times have no known unit")?;
        let mut attributes = vec![];
        for _ in 0..rest.u32()? {
            attributes.push(text(&mut rest)?);
        }
        Group::decode_more(&mut groups, &mut rest)?;
        let groups = Arc::new(GroupColumns::new(Signal::Spans, groups).with_shapes(shapes));
        Ok(Spilled { groups, runs, times, attributes, pieces, bytes: raw.len() })
    }

    /// Of memory that this takes, about.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    pub fn key_of(&self, run: &Run) -> Key {
        Key::of(Signal::Spans, &self.groups.groups()[run.group as usize], &run.name)
    }

    pub fn rows(&self) -> usize {
        self.runs.iter().map(|run| run.rows as usize).sum()
    }

    fn ranges(&self) -> Vec<(Range<u64>, u32)> {
        let starts = std::iter::once(0).chain(self.pieces.iter().map(|piece| piece.end));
        starts.zip(&self.pieces).map(|(start, piece)| (start..piece.end, piece.crc)).collect()
    }
}

/// All rows, with the columns that they have in memory.
pub fn read_all(part: Arc<Part>, spilled: &Spilled) -> PartStream {
    read_pieces(part, spilled, |bytes| decoded(bytes).map(Some))
}

/// The rows that the selection wants with the public `columns`, and what it asks of attributes.
pub fn read(part: Arc<Part>, spilled: Arc<Spilled>, select: Select, columns: Vec<usize>) -> PartStream {
    let groups = spilled.groups.clone();
    read_pieces(part, &spilled, move |bytes| {
        let rows = decoded(bytes)?;
        // Most pieces have nothing that is wanted.
        let mask = select.mask(&rows, &groups);
        if mask.true_count() == 0 {
            return Ok(None);
        }
        stored::project(&select, &groups, &rows, &mask, &columns).map(Some)
    })
}

/// Rows with these columns.
pub fn read_columns(part: Arc<Part>, spilled: &Spilled, columns: &'static [&'static str]) -> PartStream {
    read_pieces(part, spilled, |bytes| {
        let rows = decoded(bytes)?;
        let places = columns.iter().map(|name| rows.schema_ref().index_of(name));
        rows.project(&places.collect::<Result<Vec<_>, _>>()?).map(Some)
    })
}

fn read_pieces(
    part: Arc<Part>,
    spilled: &Spilled,
    each: impl Fn(Bytes) -> Result<Option<RecordBatch>, ArrowError> + Send + Sync + 'static,
) -> PartStream {
    let each = Arc::new(each);
    let pieces = futures::stream::iter(spilled.ranges()).then(move |(range, crc)| {
        let (part, each) = (part.clone(), each.clone());
        async move {
            let bytes = fetched(&part, range, crc).await?;
            each(bytes).map_err(|wrong| part.damaged(&part.meta.data_path(), wrong))
        }
    });
    pieces.filter_map(|batch| futures::future::ready(batch.transpose())).boxed()
}

async fn fetched(part: &Part, range: Range<u64>, crc: u32) -> Result<Bytes, Damaged> {
    let path = part.meta.data_path();
    let mut read = part.objects().ranges(&path, vec![range]).await.map_err(|e| part.damaged(&path, e))?;
    let bytes = read.pop().unwrap_or_default();
    if crc32c::crc32c(&bytes) != crc {
        return Err(part.damaged(&path, "a piece is not what was written"));
    }
    Ok(bytes)
}

/// The columns lie in the bytes as they came.
fn decoded(bytes: Bytes) -> Result<RecordBatch, ArrowError> {
    let (mut rest, mut stream) = (Buffer::from(bytes), StreamDecoder::new());
    stream.decode(&mut rest)?.ok_or_else(|| ArrowError::IpcError("a piece has no rows".into()))
}
