//! The allocator.

#[cfg(feature = "server")]
mod rewriting;

#[cfg(feature = "server")]
pub use rewriting::on_rewrite;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Free pages that the allocator keeps go back to the system.
#[allow(unsafe_code)]
pub fn give_back_free() {
    // SAFETY: it takes no memory and may be called at any time, on any thread.
    unsafe { libmimalloc_sys::mi_collect(true) };
}
