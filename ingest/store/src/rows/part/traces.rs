//! Which rows each trace of a part has. Ids stand whole and sorted in blocks of the index file, so that one of a million
//! traces costs one small read, and no row must be looked at to know that it is of the trace. What is kept in memory is
//! where each block begins.
//!
//! A block has two pieces: its traces with what is known of them as a whole, and their rows. Who asks which traces can be
//! meant reads the first one of all blocks, who asks for the rows of one both.
//!
//! Behind the blocks stands for each row group which trace each entry of its dictionary of ids is: who wants of spans only what is
//! known of their traces reads no ids.

use super::unpacker;
use crate::hash::BytesHasher;
use crate::objects::Objects;
use crate::rows::trace_facts::{Fact, Root, SpanOf};
use crate::side_index::{Cursor, each_split, put_split, take_split};
use model::TraceId;
use object_store::path::Path;
use std::collections::{BTreeMap, HashMap};
use std::hash::BuildHasherDefault;
use std::ops::Range;

/// Some ten kilobytes, which cost less to unpack than to ask the system for.
const BLOCK_TRACES: usize = 512;

/// No block says that it has more bytes.
const BLOCK_BYTES_MAX: usize = 1 << 30;

#[derive(Default)]
pub struct Traces {
    blocks: Vec<Block>,
    /// In the file, of the first one.
    offset: u64,
    /// Parts of older versions know nothing of traces, and their blocks are of one piece.
    has_facts: bool,
    /// By row group; none in parts of older versions.
    coded: Vec<CodedTraces>,
}

/// Traces of the dictionary of a row group, as the places of their ids in the order of all.
struct CodedTraces {
    /// Behind the beginning of the first block.
    offset: u64,
    count: u32,
    bytes: u32,
    checksum: u32,
}

/// What a trace is rooted in.
#[derive(Clone, Copy)]
pub struct Rooted {
    pub id: TraceId,
    pub start_ms: i64,
    pub root: Root,
}

/// What a part's index knows of traces, each with what stands before it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Knows {
    Rows,
    Facts,
    /// Also which ones the dictionaries of row groups have.
    Codes,
}

struct Block {
    first: TraceId,
    /// Behind the beginning of the first one.
    offset: u64,
    bytes: u32,
    raw_bytes: u32,
    checksum: u32,
    rows: Rows,
}

/// The second piece of a block, which lies right behind the first one.
#[derive(Clone, Copy, Default)]
struct Rows {
    bytes: u32,
    raw_bytes: u32,
    checksum: u32,
}

/// One more than the largest [`prefix`].
pub const PREFIXES: u32 = 1 << 16;

/// Where a trace's id stands in the order of all, roughly.
pub fn prefix(id: &TraceId) -> u32 {
    u32::from(u16::from_be_bytes([id[0], id[1]]))
}

impl Traces {
    /// From what [`Builder::finish`] gave; `offset` is where its blocks begin in the file.
    pub fn decode(bytes: &[u8], offset: u64, knows: Knows) -> Result<Traces, String> {
        let mut rest = Cursor(bytes);
        let has_facts = knows != Knows::Rows;
        let mut coded = vec![];
        if knows == Knows::Codes {
            for _ in 0..rest.u32()? {
                let own = CodedTraces {
                    offset: rest.u64()?,
                    count: rest.u32()?,
                    bytes: rest.u32()?,
                    checksum: rest.u32()?,
                };
                if own.bytes.max(own.count) as usize > BLOCK_BYTES_MAX {
                    return Err("its row groups have too many traces".into());
                }
                coded.push(own);
            }
        }
        let mut blocks: Vec<Block> = vec![];
        while !rest.0.is_empty() {
            let block = Block {
                first: rest.array()?,
                offset: rest.u64()?,
                bytes: rest.u32()?,
                raw_bytes: rest.u32()?,
                checksum: rest.u32()?,
                rows: match has_facts {
                    true => Rows { bytes: rest.u32()?, raw_bytes: rest.u32()?, checksum: rest.u32()? },
                    false => Rows::default(),
                },
            };
            let is_next = blocks.last().is_none_or(|last| last.first < block.first);
            let largest = block.bytes.max(block.raw_bytes).max(block.rows.bytes).max(block.rows.raw_bytes);
            if !is_next || largest as usize > BLOCK_BYTES_MAX {
                return Err("its blocks of traces are not in order".into());
            }
            blocks.push(block);
        }
        Ok(Traces { blocks, offset, has_facts, coded })
    }

    /// The rows of these traces, each with its trace's id, ascending.
    pub async fn find(
        &self,
        objects: &Objects,
        path: &Path,
        ids: &[TraceId],
    ) -> Result<Vec<(u32, TraceId)>, String> {
        let mut asked: BTreeMap<usize, Vec<TraceId>> = BTreeMap::new();
        for id in ids {
            if let Some(at) = self.blocks.partition_point(|block| block.first <= *id).checked_sub(1) {
                asked.entry(at).or_default().push(*id);
            }
        }
        let blocks = || asked.keys().map(|at| &self.blocks[*at]);
        let range = |block: &Block| {
            let start = self.offset + block.offset;
            start..start + u64::from(block.bytes) + u64::from(block.rows.bytes)
        };
        let ranges = blocks().map(range).collect();
        let read = objects.ranges(path, ranges).await.map_err(|e| e.to_string())?;
        let mut rows = vec![];
        for ((block, bytes), ids) in blocks().zip(&read).zip(asked.values()) {
            block.rows(bytes, ids, self.has_facts, &mut rows)?;
        }
        rows.sort_unstable();
        rows.dedup();
        Ok(rows)
    }

    /// Whether [`facts`](Self::facts) can be asked.
    pub fn has_facts(&self) -> bool {
        self.has_facts || self.blocks.is_empty()
    }

    /// Whether [`each_place`](Self::each_place) can be asked of so many row groups.
    pub fn has_places(&self, groups: usize) -> bool {
        !self.coded.is_empty() && self.coded.len() == groups
    }

    /// Of each trace in the dictionary of a row group, in its order, what `of_place` says of where the trace stands in the order of
    /// all.
    pub async fn each_place<T>(
        &self,
        objects: &Objects,
        path: &Path,
        group: usize,
        of_place: impl Fn(u32) -> T,
    ) -> Result<Vec<T>, String> {
        let own = self.coded.get(group).ok_or("it has no such row group")?;
        let start = self.offset + own.offset;
        let range = start..start + u64::from(own.bytes);
        let read = objects.ranges(path, vec![range]).await.map_err(|e| e.to_string())?;
        let raw_bytes = own.count.checked_mul(4).ok_or("it is cut short")?;
        let raw = unpacked(read.first().ok_or("it is cut short")?, raw_bytes, own.checksum)?;
        let places = each_split::<4>(&mut Cursor(&raw), own.count as usize)?;
        Ok(places.map(|place| of_place(u32::from_le_bytes(place))).collect())
    }

    pub fn blocks(&self) -> usize {
        self.blocks.len()
    }

    /// More traces than these it has not.
    pub fn count_max(&self) -> usize {
        self.blocks.len() * BLOCK_TRACES
    }

    /// What is known of the traces of which the id has its [`prefix`] in the range, in order of their ids.
    pub async fn facts(
        &self,
        objects: &Objects,
        path: &Path,
        prefixes: Range<u32>,
    ) -> Result<Vec<(TraceId, Fact)>, String> {
        let mut facts = vec![];
        self.each_block(objects, path, &prefixes, |mut rest| {
            let (ids, ends) = take_ids(&mut rest)?;
            let own = Fact::take_all(&mut rest, &ends)?;
            facts.extend(ids.iter().copied().zip(own).filter(|(id, _)| prefixes.contains(&prefix(id))));
            Ok(())
        })
        .await?;
        Ok(facts)
    }

    /// Hands on the roots of the same traces.
    pub async fn each_root(
        &self,
        objects: &Objects,
        path: &Path,
        prefixes: Range<u32>,
        mut see: impl FnMut(Rooted),
    ) -> Result<(), String> {
        self.each_block(objects, path, &prefixes, |mut rest| {
            let ids = take_whole_ids(&mut rest)?;
            rest.take(ids.len() * size_of::<u32>())?;
            let own = Fact::take_starts_and_roots(&mut rest, ids.len())?;
            for (id, (start_ms, root)) in ids.iter().zip(own) {
                if prefixes.contains(&prefix(id)) {
                    see(Rooted { id: *id, start_ms, root });
                }
            }
            Ok(())
        })
        .await
    }

    /// The first piece of each block that can have ids with these prefixes, unpacked.
    async fn each_block(
        &self,
        objects: &Objects,
        path: &Path,
        prefixes: &Range<u32>,
        mut see: impl FnMut(Cursor<'_>) -> Result<(), String>,
    ) -> Result<(), String> {
        let before = |end: u32| self.blocks.partition_point(|block| prefix(&block.first) < end);
        let blocks = &self.blocks[before(prefixes.start).saturating_sub(1)..before(prefixes.end)];
        let range = |block: &Block| {
            let start = self.offset + block.offset;
            start..start + u64::from(block.bytes)
        };
        let read =
            objects.ranges(path, blocks.iter().map(range).collect()).await.map_err(|e| e.to_string())?;
        for (block, bytes) in blocks.iter().zip(&read) {
            see(Cursor(&unpacked(bytes, block.raw_bytes, block.checksum)?))?;
        }
        Ok(())
    }
}

fn unpacked(bytes: &[u8], raw_bytes: u32, checksum: u32) -> Result<Vec<u8>, String> {
    if crc32c::crc32c(bytes) != checksum {
        return Err("the checksum of a block of traces is wrong".into());
    }
    unpacker::with(|own| own.decompress(bytes, raw_bytes as usize)).map_err(|e| e.to_string())
}

/// The ids of a block, and where the rows of each end.
fn take_ids<'a>(rest: &mut Cursor<'a>) -> Result<(&'a [TraceId], Vec<u32>), String> {
    let known = take_whole_ids(rest)?;
    let ends = take_split::<4>(rest, known.len())?.into_iter().map(u32::from_le_bytes).collect();
    Ok((known, ends))
}

fn take_whole_ids<'a>(rest: &mut Cursor<'a>) -> Result<&'a [TraceId], String> {
    let count = rest.u32()? as usize;
    let known = rest.take(count.checked_mul(16).ok_or("it is cut short")?)?;
    Ok(known.as_chunks::<16>().0)
}

impl Block {
    fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.first);
        out.extend_from_slice(&self.offset.to_le_bytes());
        let of_rows = [self.rows.bytes, self.rows.raw_bytes, self.rows.checksum];
        for number in [self.bytes, self.raw_bytes, self.checksum].into_iter().chain(of_rows) {
            out.extend_from_slice(&number.to_le_bytes());
        }
    }

    fn rows(
        &self,
        bytes: &[u8],
        ids: &[TraceId],
        has_facts: bool,
        rows: &mut Vec<(u32, TraceId)>,
    ) -> Result<(), String> {
        let (of_traces, of_rows) = bytes.split_at_checked(self.bytes as usize).ok_or("it is cut short")?;
        let raw = unpacked(of_traces, self.raw_bytes, self.checksum)?;
        let mut rest = Cursor(&raw);
        let (known, ends) = take_ids(&mut rest)?;
        let total = ends.last().copied().unwrap_or(0) as usize;
        let raw_rows = match has_facts {
            true => unpacked(of_rows, self.rows.raw_bytes, self.rows.checksum)?,
            false => rest.0.to_vec(),
        };
        // Of a block with thousands only those that are asked for are put together.
        let bytes_of_all = total.checked_mul(4).ok_or("it is cut short")?;
        let all = Cursor(&raw_rows).take(bytes_of_all)?;
        let row = |at: usize| u32::from_le_bytes(std::array::from_fn(|byte| all[byte * total + at]));
        for id in ids {
            let Ok(at) = known.binary_search(id) else { continue };
            let start = if at == 0 { 0 } else { ends[at - 1] as usize };
            let end = ends[at] as usize;
            if start > end || end > total {
                return Err("the rows of a trace are not where they should be".into());
            }
            rows.extend((start..end).map(|at| (row(at), *id)));
        }
        Ok(())
    }
}

/// Gathers the rows of a part that is written.
#[derive(Default)]
pub struct Builder {
    numbers: HashMap<TraceId, u32, BuildHasherDefault<BytesHasher>>,
    /// By number.
    facts: Vec<Fact>,
    /// The trace's number, and a row.
    rows: Vec<(u32, u32)>,
    /// Of each row group, whose dictionary has ids in the order in which they come first, their numbers.
    coded: Vec<Vec<u32>>,
    /// By number, how many row groups had begun when the trace was last seen.
    seen: Vec<u32>,
    group_rows: usize,
}

impl Builder {
    /// There is room for so many rows before more memory is taken; a row group has so many.
    pub fn new(room: usize, group_rows: usize) -> Builder {
        Builder { rows: Vec::with_capacity(room), group_rows, ..Builder::default() }
    }

    /// Spans of rows that follow one another; the root of a span is the number of its run.
    pub fn add(&mut self, spans: impl Iterator<Item = SpanOf>, first_row: usize) {
        for (row, span) in spans.enumerate() {
            let next = self.numbers.len() as u32;
            let number = *self.numbers.entry(span.trace).or_insert(next);
            if number == next {
                self.facts.push(Fact::default());
                self.seen.push(0);
            }
            self.facts[number as usize].add(&span);
            let row = first_row + row;
            self.rows.push((number, row as u32));
            if row.is_multiple_of(self.group_rows) {
                self.coded.push(vec![]);
            }
            let begun = self.coded.len() as u32;
            if std::mem::replace(&mut self.seen[number as usize], begun) != begun
                && let Some(own) = self.coded.last_mut()
            {
                own.push(number);
            }
        }
    }

    /// Where the blocks and the traces of row groups are, for [`Traces::decode`], and these.
    pub fn finish(self) -> std::io::Result<(Vec<u8>, Vec<u8>)> {
        let mut ids: Vec<(TraceId, u32)> = self.numbers.into_iter().collect();
        ids.sort_unstable();
        let mut place = vec![0u32; ids.len()];
        for (at, (_, number)) in ids.iter().enumerate() {
            place[*number as usize] = at as u32;
        }
        let mut rows = self.rows;
        rows.iter_mut().for_each(|(number, _)| *number = place[*number as usize]);
        rows.sort_unstable();
        let (mut of_blocks, mut blocks, mut rest) = (vec![], vec![], &rows[..]);
        for (at, block) in ids.chunks(BLOCK_TRACES).enumerate() {
            let after = ((at + 1) * BLOCK_TRACES) as u32;
            let (own, others) = rest.split_at(rest.partition_point(|(place, _)| *place < after));
            rest = others;
            let mut raw = (block.len() as u32).to_le_bytes().to_vec();
            block.iter().for_each(|(id, _)| raw.extend_from_slice(id));
            let ends = (0..block.len()).map(|trace| {
                let place = (at * BLOCK_TRACES + trace) as u32;
                (own.partition_point(|(other, _)| *other <= place) as u32).to_le_bytes()
            });
            put_split(&mut raw, ends);
            Fact::put_all(&mut raw, block.iter().map(|(_, number)| &self.facts[*number as usize]));
            let packed = zstd::bulk::compress(&raw, 3)?;
            let mut raw_rows = vec![];
            put_split(&mut raw_rows, own.iter().map(|(_, row)| row.to_le_bytes()));
            let packed_rows = zstd::bulk::compress(&raw_rows, 3)?;
            let block = Block {
                first: block[0].0,
                offset: blocks.len() as u64,
                bytes: packed.len() as u32,
                raw_bytes: raw.len() as u32,
                checksum: crc32c::crc32c(&packed),
                rows: Rows {
                    bytes: packed_rows.len() as u32,
                    raw_bytes: raw_rows.len() as u32,
                    checksum: crc32c::crc32c(&packed_rows),
                },
            };
            block.encode(&mut of_blocks);
            blocks.extend_from_slice(&packed);
            blocks.extend_from_slice(&packed_rows);
        }
        let mut directory = (self.coded.len() as u32).to_le_bytes().to_vec();
        for numbers in self.coded {
            let mut raw = vec![];
            put_split(&mut raw, numbers.iter().map(|number| place[*number as usize].to_le_bytes()));
            let packed = zstd::bulk::compress(&raw, 3)?;
            directory.extend_from_slice(&(blocks.len() as u64).to_le_bytes());
            for number in [numbers.len() as u32, packed.len() as u32, crc32c::crc32c(&packed)] {
                directory.extend_from_slice(&number.to_le_bytes());
            }
            blocks.extend_from_slice(&packed);
        }
        directory.extend_from_slice(&of_blocks);
        Ok((directory, blocks))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spool::Contents;

    #[tokio::test]
    async fn each_trace_has_its_rows_and_no_other() {
        let dir = tempfile::tempdir().unwrap();
        let objects = Objects::local(dir.path().to_owned(), 0).unwrap();
        let id = |n: u32| {
            std::array::from_fn::<u8, 16, _>(|at| (n.wrapping_mul(2_654_435_761) >> (at % 4 * 8)) as u8)
        };
        let mut builder = Builder::new(0, 1_024);
        for first in (0..6_000).step_by(1_000) {
            let spans = (first..first + 1_000).map(|row| SpanOf {
                trace: id(row % 1_500),
                start_ns: i64::from(row) * 1_000_000,
                end_ns: i64::from(row) * 1_000_000 + 1,
                root: (row < 1_500).then_some(row % 7),
            });
            builder.add(spans, first as usize);
        }
        let (directory, blocks) = builder.finish().unwrap();
        let path = Path::from("idx");
        objects.put(&path, Contents::Memory([b"before", &blocks[..]].concat().into())).await.unwrap();
        let traces = Traces::decode(&directory, 6, Knows::Codes).unwrap();
        assert_eq!(traces.blocks.len(), 3);
        for n in [0, 1, 511, 512, 1_499] {
            let found = traces.find(&objects, &path, &[id(n), id(7_777)]).await.unwrap();
            let rows: Vec<(u32, TraceId)> = (0..4).map(|again| (n + again * 1_500, id(n))).collect();
            assert_eq!(found, rows);
        }
        assert_eq!(traces.find(&objects, &path, &[[1; 16], [255; 16]]).await.unwrap(), vec![]);
        let all: Vec<TraceId> = (0..1_500).map(id).collect();
        assert_eq!(traces.find(&objects, &path, &all).await.unwrap().len(), 6_000);
        let mut facts = vec![];
        for prefixes in [0..1, 1..20_000, 20_000..20_001, 20_001..65_536] {
            facts.extend(traces.facts(&objects, &path, prefixes).await.unwrap());
        }
        assert_eq!(facts.len(), 1_500);
        assert!(facts.is_sorted_by_key(|(id, _)| *id));
        for n in [0, 1, 511, 512, 1_499] {
            let at = facts.binary_search_by_key(&id(n), |(id, _)| *id).unwrap();
            let fact = facts[at].1;
            let first = i64::from(n);
            assert_eq!((fact.start_ms, fact.end_ms, fact.spans), (first, first + 4_501, 4), "{n}");
            assert_eq!(fact.root, crate::rows::trace_facts::Root::One(n % 7));
        }
        let mut rooted = vec![];
        for prefixes in [0..20_000, 20_000..65_536] {
            traces.each_root(&objects, &path, prefixes, |one| rooted.push(one)).await.unwrap();
        }
        let told = rooted.iter().map(|one| (one.id, one.start_ms, one.root));
        assert!(told.eq(facts.iter().map(|(id, fact)| (*id, fact.start_ms, fact.root))));
        assert!(traces.has_places(6) && !traces.has_places(5));
        for group in 0..6 {
            let ids =
                traces.each_place(&objects, &path, group, |place| facts[place as usize].0).await.unwrap();
            let rows = group as u32 * 1_024..(group as u32 * 1_024 + 1_024).min(6_000);
            assert_eq!(ids, rows.map(|row| id(row % 1_500)).collect::<Vec<_>>(), "{group}");
        }
        assert!(traces.each_place(&objects, &path, 6, |place| place).await.is_err());
        let before = Traces::decode(&directory[4 + 6 * 20..], 6, Knows::Facts).unwrap();
        assert!(!before.has_places(6) && before.has_facts());
        assert_eq!(before.find(&objects, &path, &all).await.unwrap().len(), 6_000);
        assert_eq!(before.facts(&objects, &path, 0..65_536).await.unwrap(), facts);

        let mut damaged = [b"before", &blocks[..]].concat();
        damaged[50] ^= 1;
        objects.put(&path, Contents::Memory(damaged.into())).await.unwrap();
        assert!(traces.find(&objects, &path, &all).await.unwrap_err().contains("checksum"));
    }

    /// Each trace of a row group once, however often it is there.
    #[test]
    fn a_row_group_has_each_trace_once() {
        let mut builder = Builder::new(0, 4);
        let span = |trace: u8| SpanOf { trace: [trace; 16], start_ns: 0, end_ns: 0, root: None };
        builder.add([3, 1, 3, 2, 2, 2, 9].map(span).into_iter(), 0);
        builder.add([2, 1, 1].map(span).into_iter(), 7);
        assert_eq!(builder.coded, [vec![0, 1, 2], vec![2, 3], vec![1]]);
    }

    /// As versions before facts wrote it: one piece, and no more in the directory.
    #[tokio::test]
    async fn a_block_of_one_piece_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let objects = Objects::local(dir.path().to_owned(), 0).unwrap();
        let ids: [TraceId; 2] = [[1; 16], [2; 16]];
        let mut raw = 2u32.to_le_bytes().to_vec();
        ids.iter().for_each(|id| raw.extend_from_slice(id));
        put_split(&mut raw, [2u32, 3].iter().map(|end| end.to_le_bytes()));
        put_split(&mut raw, [4u32, 9, 7].iter().map(|row| row.to_le_bytes()));
        let packed = zstd::bulk::compress(&raw, 3).unwrap();
        let mut directory = ids[0].to_vec();
        directory.extend_from_slice(&0u64.to_le_bytes());
        for number in [packed.len() as u32, raw.len() as u32, crc32c::crc32c(&packed)] {
            directory.extend_from_slice(&number.to_le_bytes());
        }
        let path = Path::from("idx");
        objects.put(&path, Contents::Memory(packed.into())).await.unwrap();
        let traces = Traces::decode(&directory, 0, Knows::Rows).unwrap();
        assert!(!traces.has_facts());
        let found = traces.find(&objects, &path, &ids).await.unwrap();
        assert_eq!(found, [(4, ids[0]), (7, ids[1]), (9, ids[0])]);
    }
}
