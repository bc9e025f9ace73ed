//! When memory that is free goes back to the system while the store rewrites.

use store::Rewrite;

/// `mi_option_purge_delay` of mimalloc 2 and 3, which the bindings leave out.
const PURGE_DELAY: libmimalloc_sys::mi_option_t = 15;

/// mimalloc's own.
const RELAXED_MS: std::ffi::c_long = 1_000;

/// Freed pages are kept for a second, as queries want them again at once: without that a needle in a million lines
/// costs twice the CPU time. Flushes and merges go through memory once; keeping what they freed made a process of 180
/// MiB one of 400.
pub fn on_rewrite(rewrite: Rewrite) {
    match rewrite {
        Rewrite::Begins => set_purge_delay(0),
        Rewrite::Computed => super::collect(),
        Rewrite::Ended => {
            super::give_back_free();
            set_purge_delay(RELAXED_MS);
        }
    }
}

#[allow(unsafe_code)]
fn set_purge_delay(ms: std::ffi::c_long) {
    // SAFETY: sets a number that the allocator reads when it frees; any value of it is valid.
    unsafe { libmimalloc_sys::mi_option_set(PURGE_DELAY, ms) }
}
