//! WAL, memtables, parts, catalog: the only home of Parquet, tantivy and object storage.
//!
//! Records come in through [`model::Sink`]; a write is in the WAL (fsynced) and in a memtable before it is
//! acknowledged. Behind that, memtables are sealed to parts (Parquet plus one side-index file), parts are committed to
//! the catalog in the transaction that moves the WAL position, and small parts are merged. Readers take a
//! [`Snapshot`] through [`Source`], which stays as it is until it is dropped. This crate knows no protocol and no
//! query language.

pub mod schema;
mod snapshot;

pub use snapshot::{
    BatchStream, LogColumns, LogStreamInfo, ReadError, SampleBlock, SeriesInfo, Snapshot, Source, SpanColumns,
};
