//! Where a part's file is written before it is stored: a small one in memory, a merged one in a file of its own that has no name
//! any more, so that its bytes are the system's to keep and nobody has to clear it away.

use bytes::Bytes;
use std::fs::{File, OpenOptions};
use std::io::{BufWriter, Result, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;

/// Bytes of one piece that is read again.
const PIECE_BYTES: usize = 1 << 20;

pub enum Spool {
    Memory(Vec<u8>),
    File(BufWriter<File>),
}

/// What was written.
pub enum Contents {
    Memory(Bytes),
    File { file: File, length: u64 },
}

impl Spool {
    /// In this folder, where nothing of it is seen.
    pub fn in_file(folder: &Path) -> Result<Spool> {
        let path = folder.join("spool");
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(true).open(&path)?;
        // Who wrote before still has its own.
        std::fs::remove_file(&path)?;
        Ok(Spool::File(BufWriter::new(file)))
    }

    pub fn finish(self) -> Result<Contents> {
        match self {
            Spool::Memory(bytes) => Ok(Contents::Memory(bytes.into())),
            Spool::File(file) => {
                let file = file.into_inner().map_err(std::io::IntoInnerError::into_error)?;
                Ok(Contents::File { length: file.metadata()?.len(), file })
            }
        }
    }
}

impl Write for Spool {
    fn write(&mut self, bytes: &[u8]) -> Result<usize> {
        match self {
            Spool::Memory(memory) => memory.write(bytes),
            Spool::File(file) => file.write(bytes),
        }
    }

    fn flush(&mut self) -> Result<()> {
        match self {
            Spool::Memory(_) => Ok(()),
            Spool::File(file) => file.flush(),
        }
    }
}

impl Contents {
    pub fn len(&self) -> u64 {
        match self {
            Contents::Memory(bytes) => bytes.len() as u64,
            Contents::File { length, .. } => *length,
        }
    }

    /// The piece that begins at `at`; none behind the end.
    pub fn piece(&self, at: u64) -> Result<Bytes> {
        match self {
            Contents::Memory(bytes) => Ok(bytes.slice((at as usize).min(bytes.len())..)),
            Contents::File { file, length } => {
                let mut piece = vec![0; length.saturating_sub(at).min(PIECE_BYTES as u64) as usize];
                file.read_exact_at(&mut piece, at)?;
                Ok(piece.into())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_read_again_and_no_file_is_left() {
        let dir = tempfile::tempdir().unwrap();
        let spools =
            [Spool::Memory(vec![]), Spool::in_file(dir.path()).unwrap(), Spool::in_file(dir.path()).unwrap()];
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
        for (number, mut spool) in spools.into_iter().enumerate() {
            let written: Vec<u8> = (0..PIECE_BYTES + 7).map(|at| (at * 31 + number) as u8).collect();
            spool.write_all(&written).unwrap();
            let contents = spool.finish().unwrap();
            assert_eq!(contents.len(), written.len() as u64);
            let (mut read, mut at) = (vec![], 0);
            loop {
                let piece = contents.piece(at).unwrap();
                if piece.is_empty() {
                    break;
                }
                at += piece.len() as u64;
                read.extend_from_slice(&piece);
            }
            assert!(read == written);
        }
    }
}
