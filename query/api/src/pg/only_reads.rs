//! Refuses statements that would change something: telemetry is written by its own doors, nobody reads or writes this
//! machine's files by SQL, and no session lifts the limits of all.
//!
//! The kind of a statement is not enough (`EXPLAIN ANALYZE COPY`, `SELECT INTO`), so plans are looked at, too.

use super::errors::{refused, wrong};
use super::psql;
use async_trait::async_trait;
use datafusion_postgres::QueryHook;
use datafusion_postgres::arrow_pg::datatypes::df::encode_dataframe;
use datafusion_postgres::hooks::HookClient;
use engine::session::{
    AnyStatement, LogicalPlan, ParamValues, SessionContext, Set, Statement, maps_shown_as_text,
};
use pgwire::api::ClientInfo;
use pgwire::api::portal::Format;
use pgwire::api::results::Response;
use pgwire::error::PgWireResult;
use pgwire::types::format::FormatOptions;
use std::sync::Arc;

/// Comes after the hook that answers transactions and before those for settings and cursors.
pub struct OnlyReads;

/// What a statement is to this hook.
enum Kind {
    Read,
    /// Another hook's: settings, cursors.
    Session,
}

fn kind(statement: &Statement) -> PgWireResult<Kind> {
    match statement {
        Statement::Query(_)
        | Statement::Explain { .. }
        | Statement::ExplainTable { .. }
        | Statement::ShowTables { .. }
        | Statement::ShowColumns { .. } => Ok(Kind::Read),
        Statement::Set(set) if sets_engine(set) => Err(refused(
            "the engine's own settings (datafusion.…) are the same for all sessions and cannot be set",
        )),
        Statement::Set(_)
        | Statement::ShowVariable { .. }
        | Statement::ShowStatus { .. }
        | Statement::ShowCatalogs { .. }
        | Statement::Declare { .. }
        | Statement::Fetch { .. }
        | Statement::Close { .. }
        | Statement::StartTransaction { .. }
        | Statement::Commit { .. }
        | Statement::Rollback { .. } => Ok(Kind::Session),
        other => {
            let text = other.to_string();
            let verb = text.split_whitespace().next().unwrap_or("").to_uppercase();
            Err(refused(&format!(
                "cannot execute {verb} in a read-only session: tables are written by the ingest doors alone"
            )))
        }
    }
}

/// DataFusion's own settings hold the memory pool and the paths of files. Every form of SET but the plain ones that
/// PostgreSQL's clients send counts as an attempt.
fn sets_engine(set: &Set) -> bool {
    set.to_string().to_ascii_lowercase().contains("datafusion")
}

fn checked(plan: LogicalPlan) -> PgWireResult<LogicalPlan> {
    match engine::read_only().verify_plan(&plan) {
        Ok(()) => Ok(plan),
        Err(why) => Err(refused(&format!("cannot execute this in a read-only session: {why}"))),
    }
}

async fn planned(statement: &Statement, session: &SessionContext) -> PgWireResult<LogicalPlan> {
    let state = session.state();
    let plan = match statement {
        // As it was sent, so that errors tell places in it.
        Statement::Query(_) => {
            let query = psql::without_lists(statement.clone());
            state.statement_to_plan(AnyStatement::Statement(Box::new(query))).await
        }
        // By its text, as DataFusion's own parser knows kinds that PostgreSQL's does not.
        other => state.create_logical_plan(&other.to_string()).await,
    };
    let plan = checked(plan.map_err(wrong)?)?;
    maps_shown_as_text(plan).map_err(wrong)
}

async fn run(
    statement: &Statement,
    session: &SessionContext,
    client: &dyn HookClient,
) -> PgWireResult<Response> {
    let plan = planned(statement, session).await?;
    let frame = session.execute_logical_plan(plan).await.map_err(wrong)?;
    let format = Arc::new(FormatOptions::from_client_metadata(client.metadata()));
    Ok(Response::Query(encode_dataframe(frame, &Format::UnifiedText, Some(format)).await?))
}

/// The queries of cursors are planned to be looked at; the hook for cursors plans them again.
async fn cursors(statement: &Statement, session: &SessionContext) -> PgWireResult<()> {
    if let Statement::Declare { stmts } = statement {
        for query in stmts.iter().filter_map(|declared| declared.for_query.as_ref()) {
            planned(&Statement::Query(query.clone()), session).await?;
        }
    }
    Ok(())
}

#[async_trait]
impl QueryHook for OnlyReads {
    async fn handle_simple_query(
        &self,
        statement: &Statement,
        session: &SessionContext,
        client: &mut dyn HookClient,
    ) -> Option<PgWireResult<Response>> {
        match kind(statement) {
            Ok(Kind::Read) => Some(run(statement, session, client).await),
            Ok(Kind::Session) => cursors(statement, session).await.err().map(Err),
            Err(refused) => Some(Err(refused)),
        }
    }

    async fn handle_extended_parse_query(
        &self,
        statement: &Statement,
        session: &SessionContext,
        _: &(dyn ClientInfo + Send + Sync),
    ) -> Option<PgWireResult<LogicalPlan>> {
        match kind(statement) {
            Ok(Kind::Read) => Some(planned(statement, session).await),
            Ok(Kind::Session) => cursors(statement, session).await.err().map(Err),
            Err(refused) => Some(Err(refused)),
        }
    }

    async fn handle_extended_query(
        &self,
        statement: &Statement,
        plan: &LogicalPlan,
        _: &ParamValues,
        session: &SessionContext,
        _: &mut dyn HookClient,
    ) -> Option<PgWireResult<Response>> {
        match kind(statement) {
            Ok(Kind::Read) => checked(plan.clone()).err().map(Err),
            Ok(Kind::Session) => cursors(statement, session).await.err().map(Err),
            Err(refused) => Some(Err(refused)),
        }
    }
}
