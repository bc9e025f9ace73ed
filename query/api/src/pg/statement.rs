//! What bounds a statement while its rows go out: a place among the running ones, a deadline, one snapshot.

use super::errors::of_query;
use engine::session::StatementSnapshot;
use engine::{Engine, QueryError};
use futures::{StreamExt, stream};
use pgwire::api::results::{QueryResponse, Response};
use pgwire::error::PgWireResult;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;
use tokio_util::sync::{CancellationToken, DropGuard};

/// One statement, or several of one message. Over when the last stream of its rows is.
pub struct Statement {
    deadline: Instant,
    timeout: Duration,
    started: Instant,
    engine: Arc<Engine>,
    snapshot: Arc<StatementSnapshot>,
    /// Gives the place back. A client that does not fetch its rows keeps it until the deadline at most.
    _turn: DropGuard,
}

impl Drop for Statement {
    fn drop(&mut self) {
        self.snapshot.release();
        self.engine.sql_took(self.started.elapsed());
    }
}

impl Statement {
    /// Waits for a place.
    pub async fn begin(
        engine: &Arc<Engine>,
        snapshot: &Arc<StatementSnapshot>,
    ) -> PgWireResult<Arc<Statement>> {
        let turn = engine.sql_turn().await.map_err(|wrong| of_query(&wrong))?;
        let (timeout, started, over) = (engine.sql_timeout(), Instant::now(), CancellationToken::new());
        let deadline = started + timeout;
        let waits = over.clone();
        tokio::spawn(async move {
            let _turn = turn;
            tokio::select! {
                () = waits.cancelled() => {}
                () = tokio::time::sleep_until(deadline) => {}
            }
        });
        snapshot.release();
        Ok(Arc::new(Statement {
            deadline,
            timeout,
            started,
            engine: engine.clone(),
            snapshot: snapshot.clone(),
            _turn: over.drop_guard(),
        }))
    }

    /// Runs up to the first answer, within the deadline.
    pub async fn within<T>(&self, work: impl Future<Output = PgWireResult<T>>) -> PgWireResult<T> {
        match tokio::time::timeout_at(self.deadline, work).await {
            Ok(done) => done,
            Err(_) => Err(self.too_late()),
        }
    }

    fn too_late(&self) -> pgwire::error::PgWireError {
        of_query(&QueryError::Timeout(self.timeout.as_millis() as u64))
    }

    /// What could not be read so far, and what functions said beside their rows.
    pub fn warnings(&self) -> Vec<String> {
        self.snapshot.warnings()
    }

    /// An answer whose rows end at the deadline. The first row is awaited here, where a cancel request is still heard:
    /// whatever sorts or aggregates does its work before it.
    pub async fn bounded(self: &Arc<Self>, answer: Response) -> PgWireResult<Response> {
        let Response::Query(QueryResponse { command_tag, row_schema, mut data_rows, .. }) = answer else {
            return Ok(answer);
        };
        let first = self.within(async { data_rows.next().await.transpose() }).await?;
        let statement = self.clone();
        let rest = stream::unfold(Some((data_rows, statement)), |state| async move {
            let (mut rows, statement) = state?;
            match tokio::time::timeout_at(statement.deadline, rows.next()).await {
                Ok(row) => row.map(|row| (row, Some((rows, statement)))),
                Err(_) => Some((Err(statement.too_late()), None)),
            }
        });
        let rows = match first {
            Some(row) => stream::iter([Ok(row)]).chain(rest).boxed(),
            None => stream::empty().boxed(),
        };
        let mut bounded = QueryResponse::new(row_schema, rows);
        bounded.set_command_tag(&command_tag);
        Ok(Response::Query(bounded))
    }
}
