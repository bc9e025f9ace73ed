//! SQL: DataFusion's own, over tables that read a snapshot.
//!
//! One statement reads one snapshot from start to end. Statements only read: whatever would change data, files or
//! settings is refused. Tables that are not telemetry (alerts, SLOs, cost) come from outside as [`RowTable`]s.

mod bounded;
mod causes;
mod columns;
mod full_text;
mod functions;
mod histograms;
mod join_keys;
mod json;
mod languages;
mod log_scan;
mod map_text;
mod node_rules;
mod percentiles;
pub mod place;
mod pushdown;
mod rows;
mod run_counts;
mod span_scan;
mod statement;
mod stored_forms;
mod stream_ends;
mod table;
mod template;
mod views;
mod word_groups;
mod yielding;

pub use columns::maps_as_text;
pub use functions::ConstantFunction;
pub use map_text::maps_shown_as_text;
pub use rows::{Cell, CellKind, RowTable, RowsFuture};

use crate::{Engine, QueryError};
use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use datafusion::common::ScalarValue;
use datafusion::error::DataFusionError;
use datafusion::execution::context::{SQLOptions, SessionContext};
use futures::StreamExt;
use model::Tenant;
use std::sync::Arc;
use std::time::Instant;
use table::{SnapshotTable, Snapshots, TableKind};

pub use table::StatementSnapshot;

/// The catalog that holds the tables, in the schema `public`.
pub const SQL_CATALOG: &str = "binnacle";

/// What `$1`, `$2`, … stand for.
#[derive(Clone, Debug, PartialEq)]
pub enum SqlParameter {
    Null,
    Bool(bool),
    Integer(i64),
    Number(f64),
    Text(String),
}

impl From<SqlParameter> for ScalarValue {
    fn from(parameter: SqlParameter) -> ScalarValue {
        match parameter {
            SqlParameter::Null => ScalarValue::Null,
            SqlParameter::Bool(truth) => ScalarValue::Boolean(Some(truth)),
            SqlParameter::Integer(integer) => ScalarValue::Int64(Some(integer)),
            SqlParameter::Number(number) => ScalarValue::Float64(Some(number)),
            SqlParameter::Text(text) => ScalarValue::Utf8(Some(text)),
        }
    }
}

/// The rows of an answer, bounded by `Limits::rows_max`.
#[derive(Debug)]
pub struct SqlAnswer {
    pub schema: SchemaRef,
    pub batches: Vec<RecordBatch>,
    /// Data that could not be read, whereby the answer is partial, and what functions say beside their rows.
    pub warnings: Vec<String>,
}

impl Engine {
    /// Runs one reading statement to its end. `$1`, `$2`, … stand for `parameters`.
    pub async fn sql(
        self: &Arc<Self>,
        tenant: &Tenant,
        query: &str,
        parameters: Vec<SqlParameter>,
    ) -> Result<SqlAnswer, QueryError> {
        let started = Instant::now();
        let ran = tokio::time::timeout(self.timeout(), self.sql_unbounded(tenant, query, parameters)).await;
        self.observe("sql", started.elapsed());
        let ran = ran.unwrap_or(Err(QueryError::Timeout(self.timeout().as_millis() as u64)));
        ran.map_err(|wrong| match wrong {
            QueryError::Bad(text) => QueryError::Bad(place::told(text, query)),
            other => other,
        })
    }

    async fn sql_unbounded(
        self: &Arc<Self>,
        tenant: &Tenant,
        query: &str,
        parameters: Vec<SqlParameter>,
    ) -> Result<SqlAnswer, QueryError> {
        let _turn = self.turn(&self.sql_turns).await?;
        let (session, snapshot) = self.sql_session(tenant);
        // What cannot be read is told, whether or not it is asked for.
        snapshot.take().await?;
        let plan = statement::plan(&session.state(), query).await.map_err(sql_error)?;
        read_only().verify_plan(&plan).map_err(sql_error)?;
        let mut frame = session.execute_logical_plan(plan).await.map_err(sql_error)?;
        if !parameters.is_empty() {
            frame = frame
                .with_param_values(parameters.into_iter().map(ScalarValue::from).collect::<Vec<_>>())
                .map_err(sql_error)?;
        }
        let mut stream = frame.execute_stream().await.map_err(sql_error)?;
        let schema = stream.schema();
        let (mut batches, mut rows) = (vec![], 0);
        while let Some(batch) = stream.next().await {
            let batch = batch.map_err(sql_error)?;
            rows += batch.num_rows();
            if rows > self.limits.rows_max {
                return Err(QueryError::TooMuch(format!(
                    "the answer has more than {} rows (query.rows_max); add a LIMIT or aggregate",
                    self.limits.rows_max
                )));
            }
            batches.push(batch);
        }
        Ok(SqlAnswer { schema, batches, warnings: snapshot.warnings() })
    }

    /// A session for a connection that outlives a statement, and the snapshot that all scans of a statement read.
    pub fn sql_session(self: &Arc<Self>, tenant: &Tenant) -> (SessionContext, Arc<StatementSnapshot>) {
        let snapshot = StatementSnapshot::new(self.source.clone(), tenant.clone());
        (self.session(tenant, snapshot.clone()), snapshot)
    }

    fn session(self: &Arc<Self>, tenant: &Tenant, snapshots: Snapshots) -> SessionContext {
        let state = self.sql_template.get_or_init(|| template::state(self.runtime.clone())).clone();
        let session = SessionContext::new_with_state(state);
        if let Err(wrong) = views::register(&session, self.views()) {
            tracing::error!(error = %wrong, "tables are left out");
        }
        for kind in TableKind::ALL {
            let table = SnapshotTable::new(kind, snapshots.clone(), self.limits.clone());
            register(&session, kind.name(), Arc::new(table));
        }
        for table in self.row_tables() {
            let provider = rows::RowTableProvider::new(table.clone(), tenant.clone());
            register(&session, table.name, Arc::new(provider));
        }
        languages::register(&session, self, tenant, &snapshots);
        causes::register(&session, self, tenant, &snapshots);
        session
    }
}

fn register(session: &SessionContext, name: &str, table: Arc<dyn datafusion::catalog::TableProvider>) {
    if let Err(wrong) = session.register_table(name, table) {
        tracing::error!(table = name, error = %wrong, "table is left out");
    }
}

/// Only what reads: no CREATE, DROP, INSERT, COPY, SET.
pub fn read_only() -> SQLOptions {
    SQLOptions::new().with_allow_ddl(false).with_allow_dml(false).with_allow_statements(false)
}

/// DataFusion's error as one of ours. What a person can mend in the query is `Bad`.
pub fn sql_error(error: DataFusionError) -> QueryError {
    let at = error.diagnostic().and_then(|told| told.span).map(|span| span.start);
    let at = at.map(|start| (start.line as usize, start.column as usize));
    match error.find_root() {
        DataFusionError::ResourcesExhausted(text) => {
            QueryError::TooMuch(format!("{text}; the limit is --memory, narrow the query or raise it"))
        }
        DataFusionError::External(inner) => match inner.downcast_ref::<QueryError>() {
            Some(ours) => ours.clone(),
            None => match inner.downcast_ref::<store::ReadError>() {
                Some(store::ReadError::TooMuch(text)) => QueryError::TooMuch(text.clone()),
                _ => QueryError::Broken(inner.to_string()),
            },
        },
        DataFusionError::SQL(parser, _) => QueryError::Bad(parser.to_string()),
        DataFusionError::Plan(text) => QueryError::Bad(place::put(text, at)),
        DataFusionError::NotImplemented(text) => QueryError::Bad(format!("not supported: {text}")),
        DataFusionError::SchemaError(schema, _) => QueryError::Bad(place::put(&schema.to_string(), at)),
        DataFusionError::Execution(text) => QueryError::Execution(text.clone()),
        DataFusionError::ArrowError(arrow, _) => QueryError::Execution(arrow.to_string()),
        other => QueryError::Broken(other.to_string()),
    }
}

#[cfg(test)]
mod tests;
