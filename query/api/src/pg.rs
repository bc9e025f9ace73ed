//! The PostgreSQL wire: psql, BI tools and Grafana's PostgreSQL data source over the SQL tables.
//!
//! The database name is the tenant. Statements only read. Where tokens are asked for, one of them is the password.
//! `pg_catalog` is emulated by `datafusion-postgres`, so that `\d` and the like find what they look for.

mod errors;
mod only_reads;
mod psql;
mod statement;

use async_trait::async_trait;
use datafusion_postgres::datafusion_pg_catalog::pg_catalog::context::EmptyContextProvider;
use datafusion_postgres::datafusion_pg_catalog::pg_catalog::setup_pg_catalog;
use datafusion_postgres::hooks::cursor::CursorStatementHook;
use datafusion_postgres::hooks::set_show::SetShowHook;
use datafusion_postgres::hooks::transactions::TransactionStatementHook;
use datafusion_postgres::{DfSessionService, Parser, QueryHook};
use engine::Engine;
use engine::session::StatementSnapshot;
use errors::fatal;
use futures::{Sink, SinkExt};
use model::Tenant;
use only_reads::OnlyReads;
use parking_lot::Mutex;
use pgwire::api::auth::noop::NoopStartupHandler;
use pgwire::api::auth::{StartupHandler, save_startup_parameters_to_metadata};
use pgwire::api::cancel::{CancelHandler, DefaultCancelHandler};
use pgwire::api::portal::{Format, Portal};
use pgwire::api::query::{ExtendedQueryHandler, SimpleQueryHandler};
use pgwire::api::results::{FieldInfo, Response};
use pgwire::api::stmt::QueryParser;
use pgwire::api::store::PortalStore;
use pgwire::api::{
    ClientInfo, ClientPortalStore, ConnectionManager, ErrorHandler, PgWireConnectionState,
    PgWireServerHandlers, Type,
};
use pgwire::error::{ErrorInfo, PgWireError, PgWireResult};
use pgwire::messages::response::NoticeResponse;
use pgwire::messages::startup::Authentication;
use pgwire::messages::{PgWireBackendMessage, PgWireFrontendMessage};
use pgwire::tokio::TlsAcceptor;
use statement::Statement;
use std::fmt::Debug;
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

/// Connections at one time; PostgreSQL's own default.
const CONNECTIONS_MAX: usize = 100;

/// A refused client may read why; then its socket is closed, whether it hangs up or not.
const LAST_WORDS_TIMEOUT: Duration = Duration::from_secs(1);

/// Before the next try when the system gives no socket: it has run out of something that time gives back.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Says whether a password is one of the tokens; `None` where none is asked for.
pub type Passwords = Option<Arc<dyn Fn(&str) -> bool + Send + Sync>>;

/// What greets a client that asks for TLS, for one connection; `None` where none is spoken.
pub type Tls = Option<Arc<dyn Fn() -> TlsAcceptor + Send + Sync>>;

/// Answers connections until `stop`. With `tls`, one that does not ask for it is refused before it shows a password.
pub async fn serve(
    listener: TcpListener,
    engine: Arc<Engine>,
    (passwords, tls): (Passwords, Tls),
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let manager = Arc::new(ConnectionManager::new());
    let room = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = connections.join_next(), if !connections.is_empty() => continue,
            () = stop.cancelled() => return Ok(()),
        };
        let (socket, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(wrong) => {
                warn!(error = %wrong, "a connection could not be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let permit = room.clone().try_acquire_owned().ok();
        let connection = Arc::new(Connection {
            engine: engine.clone(),
            passwords: passwords.clone(),
            has_room: permit.is_some(),
            only_tls: tls.is_some(),
            manager: manager.clone(),
            session: OnceLock::new(),
            startup: Mutex::new(None),
            refused: CancellationToken::new(),
        });
        let acceptor = tls.as_ref().map(|tls| tls());
        connections.spawn(async move {
            let _permit = permit;
            let refused = connection.refused.clone();
            let ended = tokio::select! {
                ended = pgwire::tokio::process_socket(socket, acceptor, Handlers(connection)) => ended,
                () = async {
                    refused.cancelled().await;
                    tokio::time::sleep(LAST_WORDS_TIMEOUT).await;
                } => Ok(()),
            };
            if let Err(wrong) = ended {
                debug!(%peer, error = %wrong, "connection ended");
            }
        });
    }
}

/// One client, and the session that it gets once it may come in.
struct Connection {
    engine: Arc<Engine>,
    passwords: Passwords,
    has_room: bool,
    only_tls: bool,
    manager: Arc<ConnectionManager>,
    session: OnceLock<Session>,
    /// Kept while the password is asked for.
    startup: Mutex<Option<PgWireFrontendMessage>>,
    /// Set when the client was told that it may not come in.
    refused: CancellationToken,
}

struct Session {
    service: Arc<DfSessionService>,
    snapshot: Arc<StatementSnapshot>,
}

impl Session {
    fn new(engine: &Arc<Engine>, tenant: &Tenant) -> anyhow::Result<Session> {
        let (session, snapshot) = engine.sql_session(tenant);
        setup_pg_catalog(&session, engine::SQL_CATALOG, EmptyContextProvider)?;
        psql::register(&session);
        let hooks: Vec<Arc<dyn QueryHook>> = vec![
            Arc::new(TransactionStatementHook),
            Arc::new(OnlyReads),
            Arc::new(CursorStatementHook),
            Arc::new(SetShowHook),
        ];
        let service = Arc::new(DfSessionService::new_with_hooks(Arc::new(session), hooks));
        Ok(Session { service, snapshot })
    }
}

/// The database's name is the tenant. psql without `-d` names the user's name as database; that is a tenant, too.
fn tenant(client: &impl ClientInfo) -> PgWireResult<Tenant> {
    match client.metadata().get("database").map(String::as_str) {
        None | Some("") => Ok(Tenant::default()),
        Some(name) => Tenant::new(name)
            .map_err(|wrong| fatal("3D000", format!("database {name:?} is no tenant name: {wrong}"))),
    }
}

impl Connection {
    /// Only what has passed this has a session: whatever else a client sends is refused, and nothing is run for it.
    async fn welcome<C>(&self, client: &mut C, startup: PgWireFrontendMessage) -> PgWireResult<()>
    where
        C: ClientInfo + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        let session = Session::new(&self.engine, &tenant(client)?)
            .map_err(|wrong| fatal("XX000", wrong.to_string()))?;
        let _ = self.session.set(session);
        Welcome(self.manager.clone()).on_startup(client, startup).await
    }

    fn session(&self) -> PgWireResult<&Session> {
        self.session.get().ok_or_else(|| fatal("08P01", "a query before the start of the session"))
    }
}

/// The handlers of one connection, which all are the connection.
struct Handlers(Arc<Connection>);

impl PgWireServerHandlers for Handlers {
    fn simple_query_handler(&self) -> Arc<impl SimpleQueryHandler> {
        self.0.clone()
    }

    fn extended_query_handler(&self) -> Arc<impl ExtendedQueryHandler> {
        self.0.clone()
    }

    fn startup_handler(&self) -> Arc<impl StartupHandler> {
        self.0.clone()
    }

    fn cancel_handler(&self) -> Arc<impl CancelHandler> {
        Arc::new(DefaultCancelHandler::new(self.0.manager.clone()))
    }

    fn error_handler(&self) -> Arc<impl ErrorHandler> {
        self.0.clone()
    }
}

impl ErrorHandler for Connection {
    fn on_error<C: ClientInfo>(&self, _: &C, error: &mut PgWireError) {
        if self.session.get().is_none() {
            self.refused.cancel();
        }
        *error = errors::shown(std::mem::replace(error, PgWireError::QueryCanceled));
    }
}

#[async_trait]
impl StartupHandler for Connection {
    async fn on_startup<C>(&self, client: &mut C, message: PgWireFrontendMessage) -> PgWireResult<()>
    where
        C: ClientInfo + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        match message {
            PgWireFrontendMessage::Startup(startup) => {
                save_startup_parameters_to_metadata(client, &startup);
                if !self.has_room {
                    return Err(fatal(
                        "53300",
                        format!("sorry, too many clients already: {CONNECTIONS_MAX}"),
                    ));
                }
                if self.only_tls && !client.is_secure() {
                    return Err(fatal("28000", "this server speaks TLS only: connect with sslmode=require"));
                }
                tenant(client)?;
                let startup = PgWireFrontendMessage::Startup(startup);
                if self.passwords.is_none() {
                    return self.welcome(client, startup).await;
                }
                *self.startup.lock() = Some(startup);
                client.set_state(PgWireConnectionState::AuthenticationInProgress);
                client.send(PgWireBackendMessage::Authentication(Authentication::CleartextPassword)).await?;
                Ok(())
            }
            PgWireFrontendMessage::PasswordMessageFamily(password) => {
                let password = password.into_password()?;
                let startup = self.startup.lock().take();
                match (&self.passwords, startup) {
                    (Some(accepts), Some(startup)) if accepts(&password.password) => {
                        self.welcome(client, startup).await
                    }
                    _ => Err(fatal(
                        "28P01",
                        "password authentication failed: the password is one of the server's tokens",
                    )),
                }
            }
            _ => Ok(()),
        }
    }
}

/// What follows once a client may come in.
struct Welcome(Arc<ConnectionManager>);

impl NoopStartupHandler for Welcome {
    fn connection_manager(&self) -> Option<Arc<ConnectionManager>> {
        Some(self.0.clone())
    }
}

/// Tells a client what an answer that follows lacks, and what else is to be said beside it.
async fn notice<C>(client: &mut C, warnings: Vec<String>) -> PgWireResult<()>
where
    C: Sink<PgWireBackendMessage> + Unpin + Send,
    PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
{
    for warning in warnings {
        let told = ErrorInfo::new("WARNING".into(), "01000".into(), warning);
        client.send(PgWireBackendMessage::NoticeResponse(NoticeResponse::from(told))).await?;
    }
    Ok(())
}

#[async_trait]
impl SimpleQueryHandler for Connection {
    async fn do_query<C>(&self, client: &mut C, query: &str) -> PgWireResult<Vec<Response>>
    where
        C: ClientInfo + ClientPortalStore + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::PortalStore: PortalStore,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        let session = self.session()?;
        let statement = Statement::begin(&self.engine, &session.snapshot).await?;
        let answers = statement
            .within(SimpleQueryHandler::do_query(session.service.as_ref(), client, query))
            .await
            .map_err(|wrong| errors::placed(wrong, query))?;
        let mut bounded = Vec::with_capacity(answers.len());
        for answer in answers {
            bounded.push(statement.bounded(answer).await?);
        }
        notice(client, statement.warnings()).await?;
        Ok(bounded)
    }
}

/// A session's parser, if there is a session.
pub struct SessionParser(Option<Arc<Parser>>);

impl SessionParser {
    fn parser(&self) -> PgWireResult<&Parser> {
        self.0.as_deref().ok_or_else(|| fatal("08P01", "a query before the start of the session"))
    }
}

#[async_trait]
impl QueryParser for SessionParser {
    type Statement = <Parser as QueryParser>::Statement;

    async fn parse_sql<C>(
        &self,
        client: &C,
        sql: &str,
        types: &[Option<Type>],
    ) -> PgWireResult<Option<Self::Statement>>
    where
        C: ClientInfo + Unpin + Send + Sync,
    {
        self.parser()?.parse_sql(client, sql, types).await.map_err(|wrong| errors::placed(wrong, sql))
    }

    fn get_parameter_types(&self, statement: &Self::Statement) -> PgWireResult<Vec<Type>> {
        self.parser()?.get_parameter_types(statement)
    }

    fn get_result_schema(
        &self,
        statement: &Self::Statement,
        format: Option<&Format>,
    ) -> PgWireResult<Vec<FieldInfo>> {
        self.parser()?.get_result_schema(statement, format)
    }
}

#[async_trait]
impl ExtendedQueryHandler for Connection {
    type Statement = <Parser as QueryParser>::Statement;
    type QueryParser = SessionParser;

    fn query_parser(&self) -> Arc<Self::QueryParser> {
        Arc::new(SessionParser(self.session.get().map(|session| session.service.query_parser())))
    }

    async fn do_query<C>(
        &self,
        client: &mut C,
        portal: &Portal<Self::Statement>,
        max_rows: usize,
    ) -> PgWireResult<Response>
    where
        C: ClientInfo + ClientPortalStore + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::PortalStore: PortalStore<Statement = Self::Statement>,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        let session = self.session()?;
        let statement = Statement::begin(&self.engine, &session.snapshot).await?;
        let answer = statement
            .within(ExtendedQueryHandler::do_query(session.service.as_ref(), client, portal, max_rows))
            .await?;
        let bounded = statement.bounded(answer).await?;
        notice(client, statement.warnings()).await?;
        Ok(bounded)
    }
}

#[cfg(test)]
mod tests;
