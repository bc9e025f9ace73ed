//! One decompressor of each thread, for pages of columns and blocks of the index of traces. To make one takes longer than to
//! unpack what one trace has in one of them, and who reads many traces unpacks thousands.

use std::cell::RefCell;
use std::io;
use zstd::bulk::Decompressor;

thread_local! {
    static KEPT: RefCell<Option<Decompressor<'static>>> = const { RefCell::new(None) };
}

/// Does with the thread's own what is to be done; it begins each piece anew.
pub fn with<T>(unpack: impl FnOnce(&mut Decompressor<'static>) -> io::Result<T>) -> io::Result<T> {
    KEPT.with_borrow_mut(|kept| {
        let own = match kept {
            Some(own) => own,
            None => kept.insert(Decompressor::new()?),
        };
        unpack(own)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_piece_that_is_damaged_spoils_none_after_it() {
        let packed = zstd::bulk::compress(&[7u8; 10_000], 3).unwrap();
        for _ in 0..3 {
            assert!(with(|own| own.decompress(&packed[..packed.len() / 2], 10_000)).is_err());
            assert!(with(|own| own.decompress(&packed, 9_999)).is_err(), "it has more");
            assert_eq!(with(|own| own.decompress(&packed, 10_000)).unwrap(), [7u8; 10_000]);
        }
    }
}
