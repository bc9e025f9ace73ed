//! The bytes of one log file, as it is or packed by the kubelet; of both the offset counts unpacked bytes.

use flate2::bufread::GzDecoder;
use std::fs::{File, Metadata};
use std::io::{self, BufReader, Read};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::Path;

/// Of a file's beginning so much is looked at to know it again.
pub const HEAD_BYTES: usize = 1_024;

pub enum Source {
    Plain(File),
    Packed(Box<Packed>),
}

/// A packed file can only be read onwards: what is behind the offset and was not taken yet is kept.
pub struct Packed {
    decoder: GzDecoder<BufReader<File>>,
    held: Vec<u8>,
    /// Where `held` begins.
    at: u64,
    ended: bool,
    /// It ends in the middle: a disk was full when it was packed.
    pub cut: bool,
}

impl Source {
    /// Packed where the name says so. Folders of logs are written to by those who log: a pipe there would hold up whoever
    /// opens it as a file, and all files with it.
    pub fn open(path: &Path) -> io::Result<Source> {
        let file = File::options().read(true).custom_flags(libc::O_NONBLOCK).open(path)?;
        if !file.metadata()?.is_file() {
            return Err(io::Error::other(format!("{} is no regular file", path.display())));
        }
        if path.extension().is_none_or(|extension| extension != "gz") {
            return Ok(Source::Plain(file));
        }
        let decoder = GzDecoder::new(BufReader::new(file));
        let packed = Packed { decoder, held: vec![], at: 0, ended: false, cut: false };
        Ok(Source::Packed(Box::new(packed)))
    }

    /// Bytes from `offset` on, fewer than the buffer only at the end of what there is.
    pub fn fill_at(&mut self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        match self {
            Source::Plain(file) => fill_at(file, buffer, offset),
            Source::Packed(packed) => Ok(packed.fill_at(buffer, offset)),
        }
    }

    /// The length, where it is known without reading.
    pub fn length(&self) -> io::Result<Option<u64>> {
        match self {
            Source::Plain(file) => Ok(Some(file.metadata()?.len())),
            Source::Packed(_) => Ok(None),
        }
    }

    /// Which file of the disk it is; a packed one is a copy.
    pub fn metadata(&self) -> io::Result<Option<Metadata>> {
        match self {
            Source::Plain(file) => file.metadata().map(Some),
            Source::Packed(_) => Ok(None),
        }
    }

    pub fn is_packed(&self) -> bool {
        matches!(self, Source::Packed(_))
    }

    /// Whether it was found to end in the middle; told once.
    pub fn take_cut(&mut self) -> bool {
        match self {
            Source::Plain(_) => false,
            Source::Packed(packed) => std::mem::take(&mut packed.cut),
        }
    }

    /// Whether it begins with the bytes that have this hash.
    pub fn begins_as(&mut self, head_bytes: u32, head_hash: u64) -> bool {
        let mut head = [0; HEAD_BYTES];
        let wanted = (head_bytes as usize).min(HEAD_BYTES);
        let filled = self.fill_at(&mut head[..wanted], 0).unwrap_or(0);
        filled == wanted && (wanted == 0 || xxhash_rust::xxh3::xxh3_64(&head[..wanted]) == head_hash)
    }
}

impl Packed {
    fn fill_at(&mut self, buffer: &mut [u8], offset: u64) -> usize {
        self.pass(offset);
        // Asked for again, it is still there: the offset moves only by what was taken.
        while self.held.len() < buffer.len() && !self.ended {
            let before = self.held.len();
            self.held.resize(buffer.len(), 0);
            let read = self.read(before);
            self.held.truncate(before + read);
        }
        let filled = self.held.len().min(buffer.len());
        buffer[..filled].copy_from_slice(&self.held[..filled]);
        filled
    }

    /// Skips to the offset.
    fn pass(&mut self, offset: u64) {
        let behind = offset.saturating_sub(self.at);
        let here = (behind as usize).min(self.held.len());
        self.held.drain(..here);
        self.at += here as u64;
        while self.at < offset && !self.ended {
            let wanted = ((offset - self.at) as usize).min(64 << 10);
            self.held.resize(wanted, 0);
            let read = self.read(0);
            self.held.clear();
            self.at += read as u64;
        }
    }

    /// Into `held` from `from` on. What is damaged ends the file: the part before it is as good as ever.
    fn read(&mut self, from: usize) -> usize {
        match self.decoder.read(&mut self.held[from..]) {
            Ok(0) => self.ended = true,
            Ok(read) => return read,
            Err(wrong) if wrong.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => (self.ended, self.cut) = (true, true),
        }
        0
    }
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

pub fn same_file(a: &Metadata, b: &Metadata) -> bool {
    (a.dev(), a.ino()) == (b.dev(), b.ino())
}
