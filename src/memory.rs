//! The allocator.

#[cfg(feature = "server")]
mod rewriting;

#[cfg(feature = "server")]
pub use rewriting::on_rewrite;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// `mi_option_arena_eager_commit`.
#[cfg(target_os = "linux")]
const EAGER_COMMIT: libmimalloc_sys::mi_option_t = 4;

/// Memory is taken from the system as it is needed, and not an arena of a GiB at a time: what is freed then goes back in
/// smaller pieces, which is a fifth of the memory while logs come in. It must be said before the first allocation, that
/// is before `main`.
#[cfg(target_os = "linux")]
#[allow(unsafe_code)]
#[used]
#[unsafe(link_section = ".init_array")]
static BEFORE_MAIN: extern "C" fn() = {
    extern "C" fn commit_as_needed() {
        // SAFETY: it sets a number, which any thread may at any time; nothing of Rust's runtime is used.
        unsafe { libmimalloc_sys::mi_option_set(EAGER_COMMIT, 0) }
    }
    commit_as_needed
};

/// Free pages that the allocator keeps go back to the system.
#[allow(unsafe_code)]
pub fn give_back_free() {
    // SAFETY: it takes no memory and may be called at any time, on any thread.
    unsafe { libmimalloc_sys::mi_collect(true) };
}
