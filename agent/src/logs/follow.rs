//! One log file through its rotations: reads whole lines from where it stopped.
//!
//! The open file is read to its end even after it was renamed or deleted; then come rotations that are younger than it,
//! in their order, and at last the file that has the name now. A file that is shorter than what was read of it, or that
//! begins otherwise, is another one and is read from its beginning.

use super::find::rotations;
use super::line::LINE_BYTES_MAX;
use super::positions::Position;
use std::fs::{File, Metadata};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

/// Of a file's beginning so much is looked at to know it again.
const HEAD_BYTES: usize = 1_024;

pub struct Follow {
    path: PathBuf,
    pub position: Position,
    open: Option<File>,
    /// The name has gone to another file; one more look for what was still being written, then on.
    leaving: bool,
    /// A container's files: their lines have times of their own, so old ones are as good as new.
    reads_rotations: bool,
}

/// What a read came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// There is more to read now.
    More,
    /// At the end of what there is.
    Idle,
    /// No file of this name and no open one.
    Gone,
}

/// A whole line without its end, or the beginning of one that is too long.
pub struct Raw<'a> {
    pub bytes: &'a [u8],
    pub cut: bool,
}

impl Follow {
    pub fn new(path: PathBuf, position: Position, reads_rotations: bool) -> Follow {
        Follow { path, position, open: None, leaving: false, reads_rotations }
    }

    /// Reads up to a buffer's size and gives each line.
    pub fn read(
        &mut self,
        buffer: &mut [u8],
        each: &mut dyn FnMut(Raw<'_>, &mut Position),
    ) -> io::Result<Step> {
        if self.open.is_none() && !self.open_where_it_stopped()? {
            return Ok(Step::Gone);
        }
        let Some(file) = &self.open else { return Ok(Step::Gone) };
        let length = file.metadata()?.len();
        if length < self.position.offset || (length > self.position.offset && !is_same(file, &self.position))
        {
            self.begin();
        }
        let before = self.position.offset;
        if length > before {
            self.read_lines(buffer, each)?;
            if self.position.offset > before {
                self.leaving = false;
                return Ok(Step::More);
            }
        }
        self.at_the_end(buffer, each)
    }

    /// Another file: nothing of it has been read. A begun container line may go on in it.
    fn begin(&mut self) {
        let pending = std::mem::take(&mut self.position.pending);
        self.position = Position { pending, ..Position::default() };
        self.leaving = false;
    }

    fn read_lines(
        &mut self,
        buffer: &mut [u8],
        each: &mut dyn FnMut(Raw<'_>, &mut Position),
    ) -> io::Result<()> {
        let Some(file) = &self.open else { return Ok(()) };
        let filled = fill_at(file, buffer, self.position.offset)?;
        let length = self.position.offset + filled as u64;
        remember_head(file, &mut self.position, length)?;
        let mut rest = &buffer[..filled];
        while let Some(end) = memchr::memchr(b'\n', rest) {
            let line = &rest[..end];
            rest = &rest[end + 1..];
            self.position.offset += end as u64 + 1;
            if std::mem::take(&mut self.position.skipping) {
                continue;
            }
            let cut = line.len() > LINE_BYTES_MAX;
            each(Raw { bytes: &line[..line.len().min(LINE_BYTES_MAX)], cut }, &mut self.position);
        }
        if self.position.skipping {
            self.position.offset += rest.len() as u64;
        } else if rest.len() >= LINE_BYTES_MAX {
            self.position.skipping = true;
            self.position.offset += rest.len() as u64;
            each(Raw { bytes: &rest[..LINE_BYTES_MAX], cut: true }, &mut self.position);
        }
        Ok(())
    }

    /// Stays with the file until its name belongs to another, and then goes on to the next one.
    fn at_the_end(
        &mut self,
        buffer: &mut [u8],
        each: &mut dyn FnMut(Raw<'_>, &mut Position),
    ) -> io::Result<Step> {
        let Some(file) = &self.open else { return Ok(Step::Gone) };
        let mine = file.metadata()?;
        let Ok(named) = std::fs::metadata(&self.path) else {
            // Between a rename and the new file there is none for a moment; a deleted file has no name any more.
            return Ok(if mine.nlink() == 0 { Step::Gone } else { Step::Idle });
        };
        if same_file(&mine, &named) {
            self.leaving = false;
            return Ok(Step::Idle);
        }
        if !std::mem::replace(&mut self.leaving, true) {
            return Ok(Step::Idle);
        }
        // The last line of a file that nobody writes to any more, even without its end.
        let filled = fill_at(file, buffer, self.position.offset)?;
        if filled > 0 && !self.position.skipping {
            self.position.offset += filled as u64;
            each(
                Raw { bytes: &buffer[..filled.min(LINE_BYTES_MAX)], cut: filled > LINE_BYTES_MAX },
                &mut self.position,
            );
        }
        let next = younger(&self.path, &mine);
        self.open = Some(File::open(next)?);
        self.begin();
        Ok(Step::More)
    }

    /// After a start: the file that begins as the remembered one, or the one that has the name.
    fn open_where_it_stopped(&mut self) -> io::Result<bool> {
        let named = match File::open(&self.path) {
            Ok(file) => Some(file),
            Err(wrong) if wrong.kind() == io::ErrorKind::NotFound => None,
            Err(wrong) => return Err(wrong),
        };
        if self.position.head_bytes > 0 {
            let is_mine = |file: &File| {
                is_same(file, &self.position)
                    && file.metadata().is_ok_and(|meta| meta.len() >= self.position.offset)
            };
            if named.as_ref().is_none_or(|file| !is_mine(file)) {
                let rotated = rotations(&self.path).into_iter().filter_map(|path| File::open(path).ok());
                if let Some(file) = rotated.into_iter().find(is_mine) {
                    self.open = Some(file);
                    return Ok(true);
                }
                if named.is_some() {
                    self.begin();
                }
            }
        }
        self.open = named;
        if self.position == Position::default() && self.reads_rotations {
            // Never seen: what was rotated before it was found is as new.
            let oldest = rotations(&self.path).into_iter().find_map(|path| File::open(path).ok());
            self.open = oldest.or(self.open.take());
        }
        Ok(self.open.is_some())
    }
}

fn same_file(a: &Metadata, b: &Metadata) -> bool {
    (a.dev(), a.ino()) == (b.dev(), b.ino())
}

/// The rotation that came after this one, or the file that has the name.
fn younger(path: &Path, mine: &Metadata) -> PathBuf {
    let rotated = rotations(path);
    let at = rotated.iter().position(|path| std::fs::metadata(path).is_ok_and(|meta| same_file(&meta, mine)));
    // A file that was deleted or packed has no place in the order; nothing between it and the name is known.
    at.and_then(|at| rotated.get(at + 1)).map_or_else(|| path.to_owned(), Clone::clone)
}

fn fill_at(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match file.read_at(&mut buffer[filled..], offset + filled as u64) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(wrong) if wrong.kind() == io::ErrorKind::Interrupted => {}
            Err(wrong) => return Err(wrong),
        }
    }
    Ok(filled)
}

fn is_same(file: &File, position: &Position) -> bool {
    let mut head = [0; HEAD_BYTES];
    let wanted = (position.head_bytes as usize).min(HEAD_BYTES);
    let filled = fill_at(file, &mut head[..wanted], 0).unwrap_or(0);
    filled == wanted && (wanted == 0 || xxhash_rust::xxh3::xxh3_64(&head[..wanted]) == position.head_hash)
}

/// The head grows with the file until it is whole.
fn remember_head(file: &File, position: &mut Position, length: u64) -> io::Result<()> {
    let wanted = length.min(HEAD_BYTES as u64) as usize;
    if position.head_bytes as usize >= wanted {
        return Ok(());
    }
    let mut head = [0; HEAD_BYTES];
    let filled = fill_at(file, &mut head[..wanted], 0)?;
    position.head_bytes = filled as u32;
    position.head_hash = xxhash_rust::xxh3::xxh3_64(&head[..filled]);
    Ok(())
}
