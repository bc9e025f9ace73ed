//! Query doors: the HTTP APIs of Prometheus, Loki and Tempo, SQL over HTTP and the PostgreSQL wire.
//!
//! Each API has a room with one `router(Arc<Engine>) -> axum::Router`, paths relative to its mount point; the binary
//! mounts them. A door translates: parameters in, one engine call, the emulated API's own shapes and errors out.
//! It plans nothing and reads no storage.

pub mod cost;
pub mod loki;
pub mod prometheus;
pub mod sql;
mod tenant;

pub use tenant::TenantHeader;
