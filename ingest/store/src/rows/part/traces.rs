//! Which rows each trace of a part has. Ids stand whole and sorted in blocks of the index file, so that one of a million
//! traces costs one small read, and no row must be looked at to know that it is of the trace. What is kept in memory is
//! where each block begins.

use crate::hash::BytesHasher;
use crate::objects::Objects;
use crate::side_index::{Cursor, put_split, take_split};
use arrow::array::{Array, FixedSizeBinaryArray};
use model::TraceId;
use object_store::path::Path;
use std::collections::{BTreeMap, HashMap};
use std::hash::BuildHasherDefault;

/// Some ten kilobytes, which cost less to unpack than to ask the system for.
const BLOCK_TRACES: usize = 512;

/// No block says that it has more bytes.
const BLOCK_BYTES_MAX: usize = 1 << 30;

#[derive(Default)]
pub struct Traces {
    blocks: Vec<Block>,
    /// In the file, of the first one.
    offset: u64,
}

struct Block {
    first: TraceId,
    /// Behind the beginning of the first one.
    offset: u64,
    bytes: u32,
    raw_bytes: u32,
    checksum: u32,
}

impl Traces {
    /// From what [`Builder::finish`] gave; `offset` is where its blocks begin in the file.
    pub fn decode(bytes: &[u8], offset: u64) -> Result<Traces, String> {
        let mut rest = Cursor(bytes);
        let mut blocks: Vec<Block> = vec![];
        while !rest.0.is_empty() {
            let block = Block {
                first: rest.array()?,
                offset: rest.u64()?,
                bytes: rest.u32()?,
                raw_bytes: rest.u32()?,
                checksum: rest.u32()?,
            };
            let is_next = blocks.last().is_none_or(|last| last.first < block.first);
            if !is_next || block.bytes.max(block.raw_bytes) as usize > BLOCK_BYTES_MAX {
                return Err("its blocks of traces are not in order".into());
            }
            blocks.push(block);
        }
        Ok(Traces { blocks, offset })
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
            start..start + u64::from(block.bytes)
        };
        let ranges = blocks().map(range).collect();
        let read = objects.ranges(path, ranges).await.map_err(|e| e.to_string())?;
        let mut rows = vec![];
        for ((block, bytes), ids) in blocks().zip(&read).zip(asked.values()) {
            block.rows(bytes, ids, &mut rows)?;
        }
        rows.sort_unstable();
        rows.dedup();
        Ok(rows)
    }
}

impl Block {
    fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.first);
        out.extend_from_slice(&self.offset.to_le_bytes());
        for number in [self.bytes, self.raw_bytes, self.checksum] {
            out.extend_from_slice(&number.to_le_bytes());
        }
    }

    fn rows(&self, bytes: &[u8], ids: &[TraceId], rows: &mut Vec<(u32, TraceId)>) -> Result<(), String> {
        if crc32c::crc32c(bytes) != self.checksum {
            return Err("the checksum of a block of traces is wrong".into());
        }
        let raw = zstd::bulk::decompress(bytes, self.raw_bytes as usize).map_err(|e| e.to_string())?;
        let mut rest = Cursor(&raw);
        let count = rest.u32()? as usize;
        let known = rest.take(count.checked_mul(16).ok_or("it is cut short")?)?;
        let ends: Vec<u32> = take_split::<4>(&mut rest, count)?.into_iter().map(u32::from_le_bytes).collect();
        let total = ends.last().copied().unwrap_or(0) as usize;
        let all = take_split::<4>(&mut rest, total)?;
        for id in ids {
            let Ok(at) = known.as_chunks::<16>().0.binary_search(id) else { continue };
            let start = if at == 0 { 0 } else { ends[at - 1] as usize };
            let own = all
                .get(start..ends[at] as usize)
                .ok_or("the rows of a trace are not where they should be")?;
            rows.extend(own.iter().map(|row| (u32::from_le_bytes(*row), *id)));
        }
        Ok(())
    }
}

/// Gathers the rows of a part that is written.
#[derive(Default)]
pub struct Builder {
    numbers: HashMap<TraceId, u32, BuildHasherDefault<BytesHasher>>,
    /// The trace's number, and a row.
    rows: Vec<(u32, u32)>,
}

impl Builder {
    /// There is room for so many rows before more memory is taken.
    pub fn with_room(rows: usize) -> Builder {
        Builder { numbers: HashMap::default(), rows: Vec::with_capacity(rows) }
    }

    pub fn add_column(&mut self, ids: &FixedSizeBinaryArray, first_row: usize) {
        for row in 0..ids.len() {
            if let Ok(id) = TraceId::try_from(ids.value(row)) {
                let next = self.numbers.len() as u32;
                let number = *self.numbers.entry(id).or_insert(next);
                self.rows.push((number, (first_row + row) as u32));
            }
        }
    }

    /// Where the blocks are, for [`Traces::decode`], and the blocks.
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
        let (mut directory, mut blocks, mut rest) = (vec![], vec![], &rows[..]);
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
            put_split(&mut raw, own.iter().map(|(_, row)| row.to_le_bytes()));
            let packed = zstd::bulk::compress(&raw, 3)?;
            let block = Block {
                first: block[0].0,
                offset: blocks.len() as u64,
                bytes: packed.len() as u32,
                raw_bytes: raw.len() as u32,
                checksum: crc32c::crc32c(&packed),
            };
            block.encode(&mut directory);
            blocks.extend_from_slice(&packed);
        }
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
        let mut builder = Builder::default();
        for first in (0..6_000).step_by(1_000) {
            let ids: Vec<TraceId> = (first..first + 1_000).map(|row| id(row % 1_500)).collect();
            builder.add_column(&FixedSizeBinaryArray::try_from_iter(ids.iter()).unwrap(), first as usize);
        }
        let (directory, blocks) = builder.finish().unwrap();
        let path = Path::from("idx");
        objects.put(&path, Contents::Memory([b"before", &blocks[..]].concat().into())).await.unwrap();
        let traces = Traces::decode(&directory, 6).unwrap();
        assert_eq!(traces.blocks.len(), 3);
        for n in [0, 1, 511, 512, 1_499] {
            let found = traces.find(&objects, &path, &[id(n), id(7_777)]).await.unwrap();
            let rows: Vec<(u32, TraceId)> = (0..4).map(|again| (n + again * 1_500, id(n))).collect();
            assert_eq!(found, rows);
        }
        assert_eq!(traces.find(&objects, &path, &[[1; 16], [255; 16]]).await.unwrap(), vec![]);
        let all: Vec<TraceId> = (0..1_500).map(id).collect();
        assert_eq!(traces.find(&objects, &path, &all).await.unwrap().len(), 6_000);

        let mut damaged = [b"before", &blocks[..]].concat();
        damaged[50] ^= 1;
        objects.put(&path, Contents::Memory(damaged.into())).await.unwrap();
        assert!(traces.find(&objects, &path, &all).await.unwrap_err().contains("checksum"));
    }
}
