//! The allocator.

#[cfg(feature = "server")]
mod rewriting;

#[cfg(feature = "server")]
pub use rewriting::on_rewrite;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;
