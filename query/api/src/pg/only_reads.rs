//! Refuses statements that would change something: telemetry is written by its own doors, and nobody reads or writes
//! this machine's files by SQL.

use async_trait::async_trait;
use datafusion_postgres::QueryHook;
use datafusion_postgres::hooks::HookClient;
use engine::session::{LogicalPlan, ParamValues, SessionContext, Statement};
use pgwire::api::ClientInfo;
use pgwire::api::results::Response;
use pgwire::error::{ErrorInfo, PgWireError, PgWireResult};

/// Comes after the hooks that answer transactions, settings and cursors.
pub struct OnlyReads;

fn refusal(statement: &Statement) -> Option<PgWireError> {
    let reads = matches!(
        statement,
        Statement::Query(_)
            | Statement::Explain { .. }
            | Statement::ExplainTable { .. }
            | Statement::ShowTables { .. }
            | Statement::ShowColumns { .. }
            | Statement::ShowVariable { .. }
    );
    (!reads).then(|| {
        let text = statement.to_string();
        let verb = text.split_whitespace().next().unwrap_or("").to_uppercase();
        let why = format!("cannot execute {verb} in a read-only session: tables are written by the ingest doors alone");
        PgWireError::UserError(Box::new(ErrorInfo::new("ERROR".into(), "25006".into(), why)))
    })
}

#[async_trait]
impl QueryHook for OnlyReads {
    async fn handle_simple_query(
        &self,
        statement: &Statement,
        _: &SessionContext,
        _: &mut dyn HookClient,
    ) -> Option<PgWireResult<Response>> {
        refusal(statement).map(Err)
    }

    async fn handle_extended_parse_query(
        &self,
        statement: &Statement,
        _: &SessionContext,
        _: &(dyn ClientInfo + Send + Sync),
    ) -> Option<PgWireResult<LogicalPlan>> {
        refusal(statement).map(Err)
    }

    async fn handle_extended_query(
        &self,
        statement: &Statement,
        _: &LogicalPlan,
        _: &ParamValues,
        _: &SessionContext,
        _: &mut dyn HookClient,
    ) -> Option<PgWireResult<Response>> {
        refusal(statement).map(Err)
    }
}
