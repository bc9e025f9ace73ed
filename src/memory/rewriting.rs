//! When memory that is free goes back to the system while the store rewrites.

use super::set_purge_delay;
use store::Rewrite;

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
