//! The only door to DataFusion: tables, operators, and the way from each language's syntax tree to a plan.
//!
//! An [`Engine`] answers over snapshots of one [`store::Source`]. Each language has a room: `promql`, `logql`,
//! `traceql`, `sql`. They share one memory pool, one set of limits and one small error, [`QueryError`].

mod error;
mod limits;

pub use error::QueryError;
pub use limits::Limits;

use datafusion::execution::memory_pool::FairSpillPool;
use datafusion::execution::runtime_env::{RuntimeEnv, RuntimeEnvBuilder};
use model::Clock;
use std::sync::Arc;
use store::Source;

/// Answers queries of all four languages. Cheap to share; make one a process.
pub struct Engine {
    pub(crate) source: Arc<dyn Source>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) limits: Limits,
    pub(crate) runtime: Arc<RuntimeEnv>,
}

impl Engine {
    /// `limits.memory_bytes_max` bounds what all queries together may hold.
    pub fn new(source: Arc<dyn Source>, clock: Arc<dyn Clock>, limits: Limits) -> anyhow::Result<Engine> {
        let runtime = RuntimeEnvBuilder::new()
            .with_memory_pool(Arc::new(FairSpillPool::new(limits.memory_bytes_max)))
            .build_arc()?;
        Ok(Engine { source, clock, limits, runtime })
    }
}
