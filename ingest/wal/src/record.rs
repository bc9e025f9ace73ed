//! A record's bytes: `│ len u32 │ crc32c u32 │ seq u64 │ payload │`, little-endian, the checksum over seq and payload.

use crate::Seq;

pub const HEADER_BYTES: usize = 16;

/// A larger request is refused at the door; a length past this in a file is damage.
pub const PAYLOAD_BYTES_MAX: usize = 256 << 20;

pub fn encode(seq: Seq, payload: &[u8], out: &mut Vec<u8>) {
    let seq = seq.to_le_bytes();
    out.extend_from_slice(&(payload.len() as u32).to_le_bytes());
    out.extend_from_slice(&checksum(&seq, payload).to_le_bytes());
    out.extend_from_slice(&seq);
    out.extend_from_slice(payload);
}

/// The record at the start of `bytes`: its position and payload. `None` where there is no whole, sound record.
pub fn decode(bytes: &[u8]) -> Option<(Seq, &[u8])> {
    let (header, rest) = bytes.split_at_checked(HEADER_BYTES)?;
    let len = u32::from_le_bytes(header[0..4].try_into().ok()?) as usize;
    let crc = u32::from_le_bytes(header[4..8].try_into().ok()?);
    if len > PAYLOAD_BYTES_MAX {
        return None;
    }
    let payload = rest.get(..len)?;
    let seq = &header[8..16];
    (checksum(seq, payload) == crc).then(|| (u64::from_le_bytes(seq.try_into().unwrap_or_default()), payload))
}

fn checksum(seq: &[u8], payload: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(seq), payload)
}
