//! The only door to DataFusion: tables, operators, and the way from each language's syntax tree to a plan.
//!
//! An [`Engine`] answers over snapshots of one [`store::Source`]. Each language has a room: `promql`, `logql`,
//! `traceql`, `sql`. They share one memory pool, one set of limits and one small error, [`QueryError`].

mod causes;
mod cost;
mod error;
mod limits;
mod logql;
mod pool;
mod promql;
mod quantile;
mod recorded;
mod room;
pub mod session;
mod sql;
mod telemetry;
mod traceql;

pub use causes::{Bottleneck, Bottlenecks, Comparison, Difference, OnPath, TraceTree, TreeSpan, Usual};
pub use cost::{
    Allocation, Asset, Costs, IDLE, InvalidPrices, Item, Kind, Lifecycle, LoadBalancer, Node, Paid, Part,
    Price, PriceBook, Rates, Traffic, UNMOUNTED, Volume,
};
pub use error::QueryError;
pub use limits::Limits;
pub use logql::{
    CountTimes, Direction, LogAnswer, LogAsk, LogEntry, LogLines, LogPattern, LogResult, LogStatistics,
    LogStats, VolumeBy,
};
pub use promql::{
    Cardinality, Found, LOOKBACK_MS, PromAnswer, PromOptions, PromResult, PromSeries, PromTimings, RawStream,
    selector_matchers,
};
pub use room::Held;
pub use sql::{
    Cell, CellKind, RowTable, RowsFuture, SQL_CATALOG, SqlAnswer, SqlParameter, maps_as_text, read_only,
    sql_error,
};
pub use traceql::{
    FoundSpan, FoundSpanset, FoundTrace, SearchOptions, SearchProgress, ServiceStats, SpansWanted, TagValue,
    TraceById, TraceExemplar, TraceMetrics, TraceSearch, TraceSeries, TraceTags, prom_labels,
};

use datafusion::execution::SessionState;
use datafusion::execution::runtime_env::{RuntimeEnv, RuntimeEnvBuilder};
use model::Clock;
use parking_lot::RwLock;
use pool::Pool;
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use store::Source;
use telemetry::QueryTimes;
use tokio::sync::Semaphore;

/// Answers queries of all four languages. Cheap to share; make one a process.
pub struct Engine {
    pub(crate) source: Arc<dyn Source>,
    pub(crate) limits: Limits,
    /// The limit that may change while queries run.
    timeout: Arc<RwLock<Duration>>,
    pub(crate) runtime: Arc<RuntimeEnv>,
    times: Arc<QueryTimes>,
    /// A place for each query that runs. SQL has places of its own, so that a statement may ask in another language.
    turns: Arc<Semaphore>,
    sql_turns: Arc<Semaphore>,
    prices: cost::Prices,
    row_tables: Arc<RwLock<Vec<RowTable>>>,
    views: Arc<RwLock<Vec<(&'static str, &'static str)>>>,
    sql_template: Arc<OnceLock<SessionState>>,
}

impl Engine {
    /// `limits.memory_bytes_max` bounds what all queries together may hold.
    pub fn new(source: Arc<dyn Source>, clock: Arc<dyn Clock>, limits: Limits) -> anyhow::Result<Engine> {
        let runtime = RuntimeEnvBuilder::new()
            .with_memory_pool(Arc::new(Pool::new(limits.memory_bytes_max, limits.on_release)))
            .build_arc()?;
        let turns = limits.concurrency_max.clamp(1, Semaphore::MAX_PERMITS);
        let prices = cost::Prices::default();
        let allocation = cost::table(source.clone(), clock, prices.clone());
        Ok(Engine {
            source,
            timeout: Arc::new(RwLock::new(limits.timeout)),
            limits,
            runtime,
            times: Arc::default(),
            turns: Arc::new(Semaphore::new(turns)),
            sql_turns: Arc::new(Semaphore::new(turns)),
            prices,
            row_tables: Arc::new(RwLock::new(vec![allocation])),
            views: Arc::new(RwLock::new(recorded::VIEWS.to_vec())),
            sql_template: Arc::default(),
        })
    }

    /// How long a query that begins now may take.
    pub fn timeout(&self) -> Duration {
        *self.timeout.read()
    }

    /// For queries that begin from here on.
    pub fn set_timeout(&self, timeout: Duration) {
        *self.timeout.write() = timeout;
    }

    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// The same engine, its limits and places too, over another source.
    pub(crate) fn over(&self, source: Arc<dyn Source>) -> Engine {
        Engine {
            source,
            timeout: self.timeout.clone(),
            limits: self.limits.clone(),
            runtime: self.runtime.clone(),
            times: self.times.clone(),
            turns: self.turns.clone(),
            sql_turns: self.sql_turns.clone(),
            prices: self.prices.clone(),
            row_tables: self.row_tables.clone(),
            views: self.views.clone(),
            sql_template: self.sql_template.clone(),
        }
    }

    /// Adds an SQL table whose rows come from elsewhere. A table of the same name is replaced.
    pub fn add_table(&self, table: RowTable) {
        let mut tables = self.row_tables.write();
        tables.retain(|earlier| earlier.name != table.name);
        tables.push(table);
    }

    /// Adds an SQL view over the tables.
    pub fn add_view(&self, name: &'static str, query: &'static str) {
        self.views.write().push((name, query));
    }

    pub(crate) fn row_tables(&self) -> Vec<RowTable> {
        self.row_tables.read().clone()
    }

    pub(crate) fn views(&self) -> Vec<(&'static str, &'static str)> {
        self.views.read().clone()
    }
}
