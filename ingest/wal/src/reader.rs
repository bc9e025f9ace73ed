//! Reading records in order, while the log is written to.

use crate::open::{is_gone, next_sound, segment_path};
use crate::record::{self, HEADER_BYTES};
use crate::{Seq, Shared};
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// A place in the log. It reads on where it stopped; records that are not durable yet are not seen.
pub struct Reader {
    shared: Arc<Shared>,
    next: Seq,
    /// The open segment: its first position, the file, and the offset of the next header in it.
    open: Option<(Seq, File, u64)>,
}

impl Reader {
    pub(crate) fn new(shared: Arc<Shared>, next: Seq) -> Reader {
        Reader { shared, next, open: None }
    }

    /// The position of the next record that will be given.
    pub fn position(&self) -> Seq {
        self.next
    }

    /// The next durable record, or `None` where there is none yet.
    pub fn next_record(&mut self) -> io::Result<Option<(Seq, Vec<u8>)>> {
        loop {
            let durable = self.shared.next.load(Ordering::Acquire);
            if self.next >= durable {
                return Ok(None);
            }
            if self.open.is_none() && !self.open_segment()? {
                return Ok(None);
            }
            let Some(first) = self.open.as_ref().map(|(first, ..)| *first) else { return Ok(None) };
            let after = self.segment_after(first);
            let Some((_, file, offset)) = &mut self.open else { return Ok(None) };
            // What is there of other places is not durable yet, or was refused and could not be cut.
            match read_record(file, offset, first..after.unwrap_or(durable))? {
                Some((seq, payload)) if seq >= self.next => {
                    self.next = seq + 1;
                    return Ok(Some((seq, payload)));
                }
                Some(_) => {}
                None => {
                    // The end of this segment: on to the one after it.
                    self.open = None;
                    match after {
                        Some(after) => self.next = self.next.max(after),
                        None => return Ok(None),
                    }
                }
            }
        }
    }

    /// Records until their payloads reach `bytes_max`, at least one where there is any.
    pub fn next_batch(&mut self, bytes_max: usize) -> io::Result<Vec<(Seq, Vec<u8>)>> {
        let (mut batch, mut bytes) = (vec![], 0);
        while bytes < bytes_max {
            let Some((seq, payload)) = self.next_record()? else { break };
            bytes += payload.len();
            batch.push((seq, payload));
        }
        Ok(batch)
    }

    fn segment_after(&self, first: Seq) -> Option<Seq> {
        self.shared.segments.lock().iter().map(|segment| segment.first).find(|other| *other > first)
    }

    /// Opens the segment that holds `next`, or the oldest after it where that one was truncated.
    fn open_segment(&mut self) -> io::Result<bool> {
        let firsts: Vec<Seq> = self.shared.segments.lock().iter().map(|segment| segment.first).collect();
        let holding = firsts.iter().rev().find(|first| **first <= self.next).or(firsts.first());
        let Some(&first) = holding else { return Ok(false) };
        match File::open(segment_path(&self.shared.dir, first)) {
            Ok(file) => {
                self.open = Some((first, file, 0));
                Ok(true)
            }
            // Truncated between the look and the opening; the next call finds the segments that are left.
            Err(error) if is_gone(&error) => Ok(false),
            Err(error) => Err(error),
        }
    }
}

/// The record at `offset`, or the next sound one after damage, of those with these places; `None` at the end.
fn read_record(file: &mut File, offset: &mut u64, places: Range<Seq>) -> io::Result<Option<(Seq, Vec<u8>)>> {
    let mut header = [0; HEADER_BYTES];
    file.seek(SeekFrom::Start(*offset))?;
    if !fill(file, &mut header)? {
        return Ok(None);
    }
    let len = u32::from_le_bytes([header[0], header[1], header[2], header[3]]) as usize;
    if len <= record::PAYLOAD_BYTES_MAX {
        let mut whole = vec![0; HEADER_BYTES + len];
        whole[..HEADER_BYTES].copy_from_slice(&header);
        if fill(file, &mut whole[HEADER_BYTES..])?
            && let Some((seq, _)) = record::decode(&whole)
            && places.contains(&seq)
        {
            *offset += whole.len() as u64;
            whole.drain(..HEADER_BYTES);
            return Ok(Some((seq, whole)));
        }
    }
    skip_damage(file, offset, places)
}

/// Damage is rare: the rest of the segment is read whole and searched for the next sound record.
fn skip_damage(file: &mut File, offset: &mut u64, places: Range<Seq>) -> io::Result<Option<(Seq, Vec<u8>)>> {
    let mut rest = vec![];
    file.seek(SeekFrom::Start(*offset))?;
    file.read_to_end(&mut rest)?;
    let Some(at) = next_sound(&rest, 1, places) else { return Ok(None) };
    let found = record::decode(&rest[at..]).map(|(seq, payload)| (seq, payload.to_vec()));
    if let Some((_, payload)) = &found {
        *offset += (at + HEADER_BYTES + payload.len()) as u64;
    }
    Ok(found)
}

/// Whether the buffer could be filled to its end.
fn fill(file: &mut File, buffer: &mut [u8]) -> io::Result<bool> {
    match file.read_exact(buffer) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error),
    }
}
