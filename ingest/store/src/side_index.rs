//! The envelope of every side index: a name of its format, a checksum, and compressed bytes.
//! `│ magic 8 │ crc32c u32 │ length u64 │ zstd │`, the checksum over what follows it.

const HEADER: usize = 8 + 4 + 8;

/// A side index is refused past this; a part's is some megabytes.
const RAW_BYTES_MAX: u64 = 4 << 30;

pub fn seal(magic: &[u8; 8], raw: &[u8]) -> std::io::Result<bytes::Bytes> {
    let mut body = (raw.len() as u64).to_le_bytes().to_vec();
    body.append(&mut zstd::bulk::compress(raw, 3)?);
    let mut out = magic.to_vec();
    out.extend_from_slice(&crc32c::crc32c(&body).to_le_bytes());
    out.append(&mut body);
    Ok(out.into())
}

pub fn open(magic: &[u8; 8], bytes: &[u8]) -> Result<Vec<u8>, String> {
    if bytes.len() < HEADER || &bytes[..8] != magic {
        return Err("it is not a side index of this kind".into());
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

    fn array<const N: usize>(&mut self) -> Result<[u8; N], String> {
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
