//! Hashes of bytes that nobody else chooses the hash of: maps live in memory, and their keys are bounded.

use std::hash::Hasher;

/// One pass of xxh3 over long keys.
#[derive(Default)]
pub struct BytesHasher(u64);

impl Hasher for BytesHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        self.0 = xxhash_rust::xxh3::xxh3_64_with_seed(bytes, self.0);
    }

    fn write_u8(&mut self, byte: u8) {
        self.0 ^= u64::from(byte).rotate_left(17);
    }

    fn write_usize(&mut self, length: usize) {
        self.0 ^= (length as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }
}

/// Keys that are hashes themselves.
#[derive(Default)]
pub struct NoHasher(u64);

impl Hasher for NoHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, _: &[u8]) {}

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }
}
