//! The envelope of every side index: a name of its format, a checksum, and compressed bytes.
//! `│ magic 8 │ crc32c u32 │ length u64 │ zstd │`, the checksum over what follows it.

use std::io::Write;

const HEADER: usize = 8 + 4 + 8;

/// A side index is refused past this; a part's is some megabytes.
const RAW_BYTES_MAX: u64 = 4 << 30;

/// A side index while it is written: what comes in is compressed at once, so that it need not lie in memory whole.
pub struct Sealing {
    encoder: zstd::stream::write::Encoder<'static, Vec<u8>>,
    length: u64,
}

impl Sealing {
    /// `format` is seven letters; the eighth byte of the name is the version.
    pub fn new(format: &str, version: u8) -> std::io::Result<Sealing> {
        let mut out = format.as_bytes().to_vec();
        out.push(version);
        out.extend_from_slice(&[0; HEADER - 8]);
        Ok(Sealing { encoder: zstd::stream::write::Encoder::new(out, 3)?, length: 0 })
    }

    pub fn finish(self) -> std::io::Result<bytes::Bytes> {
        let mut out = self.encoder.finish()?;
        out[12..HEADER].copy_from_slice(&self.length.to_le_bytes());
        let checksum = crc32c::crc32c(&out[12..]);
        out[8..12].copy_from_slice(&checksum.to_le_bytes());
        Ok(out.into())
    }
}

impl Write for Sealing {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let written = self.encoder.write(bytes)?;
        self.length += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.encoder.flush()
    }
}

/// The raw bytes come in pieces, as some are large and need not lie side by side once more.
pub fn seal(format: &str, version: u8, raw: &[&[u8]]) -> std::io::Result<bytes::Bytes> {
    let mut out = Sealing::new(format, version)?;
    raw.iter().try_for_each(|piece| out.write_all(piece))?;
    out.finish()
}

pub fn open(format: &str, version: u8, bytes: &[u8]) -> Result<Vec<u8>, String> {
    if bytes.len() < HEADER || &bytes[..7] != format.as_bytes() {
        return Err("it is not a side index of this kind".into());
    }
    if bytes[7] != version {
        let (found, known) = (char::from(bytes[7]), char::from(version));
        return Err(format!("it is of format version {found:?}; this program reads version {known:?}"));
    }
    let body = &bytes[12..];
    if crc32c::crc32c(body).to_le_bytes() != bytes[8..12] {
        return Err("its checksum is wrong".into());
    }
    let length = Cursor(body).u64()?;
    if length > RAW_BYTES_MAX {
        return Err(format!("it says that it holds {length} bytes"));
    }
    zstd::bulk::decompress(&body[8..], length as usize).map_err(|e| e.to_string())
}

/// Takes numbers and slices from the front of bytes, never past their end.
pub struct Cursor<'a>(pub &'a [u8]);

impl<'a> Cursor<'a> {
    pub fn take(&mut self, count: usize) -> Result<&'a [u8], String> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or("it is cut short")?;
        self.0 = rest;
        Ok(taken)
    }

    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], String> {
        self.take(N)?.try_into().map_err(|_| "it is cut short".to_owned())
    }

    pub fn u32(&mut self) -> Result<u32, String> {
        self.array().map(u32::from_le_bytes)
    }

    pub fn u64(&mut self) -> Result<u64, String> {
        self.array().map(u64::from_le_bytes)
    }

    pub fn i64(&mut self) -> Result<i64, String> {
        self.array().map(i64::from_le_bytes)
    }

    /// A slice with its length before it.
    pub fn block(&mut self) -> Result<&'a [u8], String> {
        let length = self.u64()? as usize;
        self.take(length)
    }
}

/// Appends a slice with its length before it.
pub fn put_block(out: &mut Vec<u8>, block: &[u8]) {
    out.extend_from_slice(&(block.len() as u64).to_le_bytes());
    out.extend_from_slice(block);
}

/// All first bytes of numbers, then all second ones, …: like bytes side by side compress better.
pub fn put_split<const N: usize>(out: &mut Vec<u8>, numbers: impl Iterator<Item = [u8; N]>) {
    let numbers: Vec<[u8; N]> = numbers.collect();
    for byte in 0..N {
        out.extend(numbers.iter().map(|number| number[byte]));
    }
}

pub fn take_split<const N: usize>(rest: &mut Cursor<'_>, count: usize) -> Result<Vec<[u8; N]>, String> {
    Ok(each_split(rest, count)?.collect())
}

/// The same one after the other.
pub fn each_split<'a, const N: usize>(
    rest: &mut Cursor<'a>,
    count: usize,
) -> Result<impl ExactSizeIterator<Item = [u8; N]> + 'a, String> {
    let bytes = rest.take(count.checked_mul(N).ok_or("it is cut short")?)?;
    let split: [&[u8]; N] = std::array::from_fn(|byte| &bytes[byte * count..][..count]);
    Ok((0..count).map(move |at| std::array::from_fn(|byte| split[byte][at])))
}
