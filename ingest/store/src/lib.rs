//! WAL, memtables, parts, catalog: the only home of Parquet, tantivy and object storage.
//!
//! Records come in through [`model::Sink`]; a write is in the WAL (fsynced) and in a memtable before it is
//! acknowledged. Behind that, memtables are sealed to parts (Parquet plus one side-index file), parts are committed to
//! the catalog in the transaction that moves the WAL position, and small parts are merged. Readers take a
//! [`Snapshot`] through [`Source`], which stays as it is until it is dropped. This crate knows no protocol and no
//! query language.

mod active;
mod admit;
mod catalog;
mod config;
mod decoded;
mod delete;
mod delete_logs;
mod downsample;
mod exemplars;
mod hash;
mod indexes;
mod labels_index;
mod limits;
mod log_deletions;
mod memory;
mod metrics;
mod objects;
mod part;
mod rates;
mod readings;
mod record;
mod rewrite;
mod rows;
pub mod schema;
mod senders;
mod side_index;
mod snapshot;
mod spool;
mod store;
mod tombstones;
mod view;

pub use config::{Config, LogLimits, Rate, Retention, Rewrite, StreamRetention, WordBounds};
pub use delete_logs::{CancelError, LogDeletionView};
pub use downsample::Downsampling;
pub use limits::{LimitBook, Limits};
pub use snapshot::{
    Allowance, AttributeNames, BatchStream, BlockStream, LogColumns, LogStreamInfo, ReadError, Root,
    RootNames, RootSearch, RootShare, SampleBlock, SeriesInfo, Snapshot, Source, SpanColumns, SpanNames,
    SpanTest, TraceFact, TraceFacts, TraceRoots, Unbounded,
};
pub use store::{Report, Store};
pub use tombstones::DeleteError;

#[cfg(test)]
mod tests;
