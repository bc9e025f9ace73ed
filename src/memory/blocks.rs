//! Who gives which block of memory: mimalloc the small ones, the C library the large ones.
//!
//! mimalloc has pages of up to four MiB for blocks of like size of one thread, and a page goes back to the system when all of
//! them are free. Flushes and merges take buffers of 64 KiB to a MiB, of many sizes and for a short time, and of these pages a
//! fifth of the process's memory stayed that nobody used. The C library gives blocks of [`MAPPED_BYTES`] and more pages of
//! their own, of which those that are touched are in memory until the block is freed, and makes them longer without a copy.

use mimalloc::MiMalloc;
use std::alloc::{GlobalAlloc, Layout, System};

/// The smallest block that mimalloc does not give.
const LARGE_BYTES: usize = if cfg!(target_env = "gnu") { 64 << 10 } else { usize::MAX };

/// The smallest that has pages of its own.
#[cfg(target_env = "gnu")]
const MAPPED_BYTES: std::ffi::c_int = 128 << 10;

/// So much of the C library's heap may be free at its end.
#[cfg(target_env = "gnu")]
const HEAP_FREE_BYTES: std::ffi::c_int = 4 << 20;

/// Of the 65,530 mappings that Linux gives a process, the rest are for files and stacks; past it large blocks are of the heap.
#[cfg(target_env = "gnu")]
const MAPPED_BLOCKS: std::ffi::c_int = 32 << 10;

pub struct Blocks;

fn is_large(bytes: usize) -> bool {
    bytes >= LARGE_BYTES
}

// SAFETY: each block is asked of one of two allocators by its size alone, and the size that a block is given back or made
// longer with is the one that it was asked with, so that it comes back to whom it is from.
#[allow(unsafe_code)]
unsafe impl GlobalAlloc for Blocks {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promises are handed on.
        unsafe {
            match is_large(layout.size()) {
                true => System.alloc(layout),
                false => MiMalloc.alloc(layout),
            }
        }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promises are handed on.
        unsafe {
            match is_large(layout.size()) {
                true => System.alloc_zeroed(layout),
                false => MiMalloc.alloc_zeroed(layout),
            }
        }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: the caller's promises are handed on, to whom the block is from.
        unsafe {
            match is_large(layout.size()) {
                true => System.dealloc(block, layout),
                false => MiMalloc.dealloc(block, layout),
            }
        }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, bytes: usize) -> *mut u8 {
        // SAFETY: the caller's promises are handed on, to whom the block is from; where the new one is another's, as many bytes
        // as both have are copied, and the old one is given back once the new one is there.
        unsafe {
            match (is_large(layout.size()), is_large(bytes)) {
                (true, true) => System.realloc(block, layout, bytes),
                (false, false) => MiMalloc.realloc(block, layout, bytes),
                _ => {
                    let new = self.alloc(Layout::from_size_align_unchecked(bytes, layout.align()));
                    if !new.is_null() {
                        std::ptr::copy_nonoverlapping(block, new, layout.size().min(bytes));
                        self.dealloc(block, layout);
                    }
                    new
                }
            }
        }
    }
}

/// Before there is any thread.
///
/// What is written in C (the compressor, SQLite) takes its memory here too. The library has an arena for each thread and keeps in
/// it what that thread frees: contexts of the compressor, 600 kB each and forty for a file, were made by a few threads in turn and
/// stood in memory once for each, 18 MiB at a merge. So there is one arena.
#[cfg(target_env = "gnu")]
#[allow(unsafe_code)]
pub fn set_up() {
    // SAFETY: numbers of the allocator are set before any thread is there.
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, 1);
        libc::mallopt(libc::M_MMAP_THRESHOLD, MAPPED_BYTES);
        libc::mallopt(libc::M_MMAP_MAX, MAPPED_BLOCKS);
        libc::mallopt(libc::M_TRIM_THRESHOLD, HEAP_FREE_BYTES);
    }
}

/// Free pages of the C library's heap, also those in its midst.
#[cfg(target_env = "gnu")]
#[allow(unsafe_code)]
pub fn give_back() {
    // SAFETY: it takes no memory of ours and may be called at any time, on any thread.
    unsafe { libc::malloc_trim(0) };
}

#[cfg(not(target_env = "gnu"))]
pub fn set_up() {}

#[cfg(not(target_env = "gnu"))]
pub fn give_back() {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[allow(unsafe_code)]
    fn a_block_keeps_its_bytes_whoever_it_goes_to() {
        let sizes = [1, LARGE_BYTES - 1, LARGE_BYTES, 3 << 20, LARGE_BYTES - 1, 1 << 20, 16];
        for align in [1, 8, 4096] {
            let mut layout = Layout::from_size_align(7, align).expect("a layout");
            // SAFETY: each block is written and read within the size that it was last asked with.
            unsafe {
                let mut block = Blocks.alloc_zeroed(layout);
                assert_eq!(std::slice::from_raw_parts(block, 7), [0; 7]);
                for bytes in sizes {
                    block.write(bytes as u8);
                    block = Blocks.realloc(block, layout, bytes);
                    layout = Layout::from_size_align(bytes, align).expect("a layout");
                    assert_eq!((block.read(), block as usize % align), (bytes as u8, 0), "{bytes}");
                    block.add(bytes - 1).write(1);
                }
                Blocks.dealloc(block, layout);
            }
        }
    }
}
