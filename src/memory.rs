//! The allocator, and when memory that is free goes back to the system.

mod blocks;
#[cfg(feature = "server")]
mod rewriting;

#[cfg(feature = "server")]
pub use rewriting::on_rewrite;

use std::cell::Cell;
use std::sync::atomic::{AtomicU64, Ordering};

#[global_allocator]
static ALLOCATOR: blocks::Blocks = blocks::Blocks;

/// Times that all threads were asked to give back what is free.
static ROUNDS: AtomicU64 = AtomicU64::new(0);

thread_local! {
    /// Those that this thread has answered.
    static ANSWERED: Cell<u64> = const { Cell::new(0) };
}

/// The allocator asks the kernel for huge pages, which are whole in memory once a byte of them is used: an agent at rest
/// was 57 MB instead of 38 with them, a store of 100,000 series 266 MiB at its peak instead of 237. Said by the loader
/// before all other code: reading the command line alone had three of them in memory, which then stayed.
#[used]
#[unsafe(link_section = ".init_array.00100")]
#[allow(unsafe_code)]
static BEFORE_MAIN: extern "C" fn() = {
    extern "C" fn set_up() {
        // SAFETY: a flag of this process is set; no memory is passed. Where the kernel knows it not, nothing changes.
        unsafe { libc::prctl(libc::PR_SET_THP_DISABLE, 1, 0, 0, 0) };
        blocks::set_up();
    }
    set_up
};

/// Free pages that the allocator keeps go back to the system: those of this thread now, those of others when they wait next.
pub fn give_back_free() {
    ROUNDS.fetch_add(1, Ordering::Relaxed);
    tidy();
    blocks::give_back();
}

/// For a thread that is about to wait. A memtable is made by the threads that take records and freed by another; only its
/// makers can give its pages back.
pub fn tidy() {
    let rounds = ROUNDS.load(Ordering::Relaxed);
    if ANSWERED.replace(rounds) != rounds {
        collect();
    }
}

/// `mi_option_purge_delay` of mimalloc 2 and 3, which the bindings leave out.
const PURGE_DELAY: libmimalloc_sys::mi_option_t = 15;

/// How long an agent keeps what is free. At once made log lines cost a fifth more, whose buffers are wanted again in a
/// moment; after mimalloc's own second nobody is there to give back what a collection freed, as its thread rests by then.
const AGENT_KEEPS_MS: std::ffi::c_long = 50;

/// For a process that is an agent and nothing else: with 110 pods 43 to 53 MB instead of 57 to 93.
pub fn keep_little_free() {
    set_purge_delay(AGENT_KEEPS_MS);
}

#[allow(unsafe_code)]
fn set_purge_delay(ms: std::ffi::c_long) {
    // SAFETY: sets a number that the allocator reads when it frees; any value of it is valid.
    unsafe { libmimalloc_sys::mi_option_set(PURGE_DELAY, ms) }
}

/// Gives back what this thread has freed.
#[allow(unsafe_code)]
fn collect() {
    // SAFETY: it takes no memory and may be called at any time, on any thread.
    unsafe { libmimalloc_sys::mi_collect(true) }
}
