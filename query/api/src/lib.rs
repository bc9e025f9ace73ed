//! Query doors: the APIs of Prometheus, Loki, Tempo, Jaeger and Zipkin, SQL over HTTP and the PostgreSQL wire.
//!
//! Each API has a room with one `router(Arc<Engine>) -> axum::Router`, paths relative to its mount point; the binary
//! mounts them. A door translates: parameters in, one engine call, the emulated API's own shapes and errors out.
//! It plans nothing and reads no storage.

pub mod causes;
pub mod cost;
mod form;
pub mod grpc;
pub mod jaeger;
pub mod loki;
pub mod peer;
pub mod pg;
mod pieces;
pub mod prometheus;
pub mod refusal;
mod shared_ids;
pub mod sql;
pub mod tempo;
mod tenant;
mod traces;
pub mod zipkin;

pub use tenant::TenantHeader;
