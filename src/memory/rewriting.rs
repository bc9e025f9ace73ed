//! When memory that is free goes back to the system while the store rewrites.

use store::Rewrite;

/// `mi_option_purge_delay` of mimalloc 2 and 3, which the bindings leave out.
const PURGE_DELAY: libmimalloc_sys::mi_option_t = 15;

/// mimalloc's own.
const RELAXED_MS: std::ffi::c_long = 1_000;

/// Freed pages are kept for a second, as queries want them again at once: without that a needle in a million lines
/// costs twice the CPU time. Flushes and merges go through memory once; keeping what they freed made a process of 180
/// MiB one of 400.
#[allow(unsafe_code)]
pub fn on_rewrite(rewrite: Rewrite) {
    // SAFETY: the first sets a number that the allocator reads when it frees, any value of it is valid; the second may
    // be called at any time.
    unsafe {
        match rewrite {
            Rewrite::Begins => libmimalloc_sys::mi_option_set(PURGE_DELAY, 0),
            Rewrite::Ended => {
                libmimalloc_sys::mi_collect(true);
                libmimalloc_sys::mi_option_set(PURGE_DELAY, RELAXED_MS);
            }
        }
    }
}
