//! Bodies out of their compression, never past a bound: a small body may claim to be a huge one.

use std::io::Read;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    Identity,
    Gzip,
    Deflate,
    Zstd,
    /// Snappy's block format, as remote write and Loki push use it.
    Snappy,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecompressError {
    #[error("the body is larger than {max} bytes when decompressed; send smaller batches")]
    TooLarge { max: usize },
    #[error("the body is not valid {encoding}: {why}")]
    Malformed { encoding: &'static str, why: String },
}

impl Encoding {
    /// From the value of `Content-Encoding`; `None` is one that is not known here.
    pub fn from_header(value: &str) -> Option<Encoding> {
        match value.trim().to_ascii_lowercase().as_str() {
            "" | "identity" => Some(Encoding::Identity),
            "gzip" | "x-gzip" => Some(Encoding::Gzip),
            "deflate" => Some(Encoding::Deflate),
            "zstd" => Some(Encoding::Zstd),
            "snappy" => Some(Encoding::Snappy),
            _ => None,
        }
    }

    /// The whole body, at most `max` bytes of it.
    pub fn decompress(self, body: bytes::Bytes, max: usize) -> Result<bytes::Bytes, DecompressError> {
        match self {
            Encoding::Identity if body.len() > max => Err(DecompressError::TooLarge { max }),
            Encoding::Identity => Ok(body),
            Encoding::Gzip => {
                let decoder = flate2::read::MultiGzDecoder::new(&body[..]);
                bounded("gzip", decoder, claimed(&body), max)
            }
            Encoding::Deflate => undeflate(&body, max),
            Encoding::Zstd => {
                let decoder = zstd::stream::read::Decoder::new(&body[..]);
                let decoder = decoder.map_err(|wrong| malformed("zstd", wrong))?;
                bounded("zstd", decoder, likely(&body), max)
            }
            Encoding::Snappy => unsnap(&body, max),
        }
    }
}

fn malformed(encoding: &'static str, why: impl std::fmt::Display) -> DecompressError {
    DecompressError::Malformed { encoding, why: why.to_string() }
}

/// How long a body will be, where nothing says it.
fn likely(body: &[u8]) -> usize {
    body.len() * 4
}

/// How long a body of gzip will be by what its end says, which holds of the last member and up to 4 GiB; no more is believed
/// than what nearly all bodies are packed to. With a byte more it is seen to be at its end without being made longer.
fn claimed(body: &[u8]) -> usize {
    let length = body.last_chunk().map_or(0, |length| u32::from_le_bytes(*length) as usize);
    length.clamp(likely(body), body.len() * 32) + 1
}

/// With room for `length` bytes at first.
fn bounded(
    encoding: &'static str,
    decoder: impl Read,
    length: usize,
    max: usize,
) -> Result<bytes::Bytes, DecompressError> {
    let mut out = Vec::with_capacity(length.min(max));
    decoder.take(max as u64 + 1).read_to_end(&mut out).map_err(|wrong| malformed(encoding, wrong))?;
    if out.len() > max {
        return Err(DecompressError::TooLarge { max });
    }
    Ok(out.into())
}

/// By the word of HTTP it comes in zlib's frame; what Go's writer of this name makes has none.
fn undeflate(body: &[u8], max: usize) -> Result<bytes::Bytes, DecompressError> {
    let framed = bounded("deflate", flate2::read::ZlibDecoder::new(body), likely(body), max);
    let Err(wrong @ DecompressError::Malformed { .. }) = framed else { return framed };
    let bare = bounded("deflate", flate2::read::DeflateDecoder::new(body), likely(body), max);
    match bare {
        Err(DecompressError::Malformed { .. }) => Err(wrong),
        read => read,
    }
}

/// The block format says its length first, so nothing is allocated for a body that claims too much.
fn unsnap(body: &[u8], max: usize) -> Result<bytes::Bytes, DecompressError> {
    let length = snap::raw::decompress_len(body).map_err(|wrong| malformed("snappy", wrong))?;
    if length > max {
        return Err(DecompressError::TooLarge { max });
    }
    let out = snap::raw::Decoder::new().decompress_vec(body).map_err(|wrong| malformed("snappy", wrong))?;
    Ok(out.into())
}

pub fn snappy(raw: &[u8]) -> Vec<u8> {
    // The encoder refuses only what is past 4 GiB.
    snap::raw::Encoder::new().compress_vec(raw).unwrap_or_default()
}

pub fn zstd(raw: &[u8]) -> std::io::Result<Vec<u8>> {
    zstd::bulk::compress(raw, 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn gzip(raw: &[u8]) -> Vec<u8> {
        let mut out = flate2::write::GzEncoder::new(vec![], flate2::Compression::fast());
        out.write_all(raw).unwrap();
        out.finish().unwrap()
    }

    fn zlib(raw: &[u8]) -> Vec<u8> {
        let mut out = flate2::write::ZlibEncoder::new(vec![], flate2::Compression::fast());
        out.write_all(raw).unwrap();
        out.finish().unwrap()
    }

    fn bare(raw: &[u8]) -> Vec<u8> {
        let mut out = flate2::write::DeflateEncoder::new(vec![], flate2::Compression::fast());
        out.write_all(raw).unwrap();
        out.finish().unwrap()
    }

    #[test]
    fn bodies_come_back_and_bombs_do_not() {
        let raw = vec![7u8; 100_000];
        for (encoding, body) in [
            (Encoding::Identity, raw.clone()),
            (Encoding::Gzip, gzip(&raw)),
            (Encoding::Deflate, zlib(&raw)),
            (Encoding::Deflate, bare(&raw)),
            (Encoding::Zstd, super::zstd(&raw).unwrap()),
            (Encoding::Snappy, snappy(&raw)),
        ] {
            let body = bytes::Bytes::from(body);
            assert_eq!(encoding.decompress(body.clone(), raw.len()).unwrap(), raw, "{encoding:?}");
            let refused = encoding.decompress(body.clone(), raw.len() - 1);
            assert_eq!(refused, Err(DecompressError::TooLarge { max: raw.len() - 1 }), "{encoding:?}");
            if encoding != Encoding::Identity {
                let cut = encoding.decompress(body.slice(..body.len() / 2), raw.len());
                assert!(matches!(cut, Err(DecompressError::Malformed { .. })), "{encoding:?} {cut:?}");
            }
        }
    }
}
