//! Standard output, as commands and servers write to it.
//!
//! `println!` panics where nobody reads any more (`| head`) or the disk behind it is full: a command would end with a
//! stack, and a server not start. So this is the one way out.

use std::io::{ErrorKind, Write};
use std::process::ExitCode;

/// Who reads what is written.
#[derive(Debug, PartialEq, Eq)]
pub enum Reader {
    Listens,
    /// It has seen enough, as `head` has: a normal end, not an error.
    Gone,
}

/// Writes to standard output.
pub fn print(bytes: &[u8]) -> std::io::Result<Reader> {
    write(&mut std::io::stdout().lock(), bytes)
}

/// The last words of a command, and the code that it ends with.
pub fn end(text: &str, code: ExitCode) -> ExitCode {
    match print(text.as_bytes()) {
        Ok(_) => code,
        Err(wrong) => {
            eprintln!("binnacle: standard output: {wrong}");
            ExitCode::FAILURE
        }
    }
}

fn write(out: &mut impl Write, bytes: &[u8]) -> std::io::Result<Reader> {
    match out.write_all(bytes).and_then(|()| out.flush()) {
        Ok(()) => Ok(Reader::Listens),
        Err(gone) if gone.kind() == ErrorKind::BrokenPipe => Ok(Reader::Gone),
        Err(wrong) => Err(wrong),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reader_that_went_away_is_no_error_and_a_full_disk_is_one() {
        let (reader, mut writer) = std::io::pipe().unwrap();
        assert_eq!(write(&mut writer, b"heard\n").unwrap(), Reader::Listens);
        drop(reader);
        assert_eq!(write(&mut writer, b"not heard\n").unwrap(), Reader::Gone);
        let mut full = std::fs::File::options().write(true).open("/dev/full").unwrap();
        assert_eq!(write(&mut full, b"lost\n").unwrap_err().kind(), ErrorKind::StorageFull);
    }
}
