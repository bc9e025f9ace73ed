//! The PostgreSQL wire: psql, BI tools and Grafana's PostgreSQL data source over the SQL tables.
//!
//! The database name is the tenant. Statements only read. Where tokens are asked for, one of them is the password.
//! `pg_catalog` is emulated by `datafusion-postgres`, so that `\d` and the like find what they look for.

mod only_reads;

use anyhow::Context;
use async_trait::async_trait;
use datafusion_postgres::datafusion_pg_catalog::pg_catalog::context::EmptyContextProvider;
use datafusion_postgres::datafusion_pg_catalog::pg_catalog::setup_pg_catalog;
use datafusion_postgres::hooks::cursor::CursorStatementHook;
use datafusion_postgres::hooks::set_show::SetShowHook;
use datafusion_postgres::hooks::transactions::TransactionStatementHook;
use datafusion_postgres::{DfSessionService, Parser, QueryHook};
use engine::Engine;
use futures::{Sink, SinkExt};
use model::Tenant;
use only_reads::OnlyReads;
use parking_lot::Mutex;
use pgwire::api::auth::noop::NoopStartupHandler;
use pgwire::api::auth::{StartupHandler, save_startup_parameters_to_metadata};
use pgwire::api::cancel::{CancelHandler, DefaultCancelHandler};
use pgwire::api::portal::Portal;
use pgwire::api::query::{ExtendedQueryHandler, SimpleQueryHandler};
use pgwire::api::results::Response;
use pgwire::api::store::PortalStore;
use pgwire::api::{ClientInfo, ClientPortalStore, ConnectionManager, PgWireConnectionState, PgWireServerHandlers};
use pgwire::error::{ErrorInfo, PgWireError, PgWireResult};
use pgwire::messages::startup::Authentication;
use pgwire::messages::{PgWireBackendMessage, PgWireFrontendMessage};
use std::fmt::Debug;
use std::sync::{Arc, OnceLock};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::debug;

/// Connections at one time; PostgreSQL's own default.
const CONNECTIONS_MAX: usize = 100;

/// Says whether a password is one of the tokens; `None` where none is asked for.
pub type Passwords = Option<Arc<dyn Fn(&str) -> bool + Send + Sync>>;

/// Answers connections until `stop`.
pub async fn serve(
    listener: TcpListener,
    engine: Arc<Engine>,
    passwords: Passwords,
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
        let (socket, peer) = accepted.context("accepting a connection")?;
        let permit = room.clone().try_acquire_owned().ok();
        let connection = Connection {
            engine: engine.clone(),
            passwords: passwords.clone(),
            has_room: permit.is_some(),
            manager: manager.clone(),
            service: OnceLock::new(),
            startup: Mutex::new(None),
        };
        connections.spawn(async move {
            let _permit = permit;
            if let Err(wrong) = pgwire::tokio::process_socket(socket, None, Handlers(Arc::new(connection))).await {
                debug!(%peer, error = %wrong, "connection ended");
            }
        });
    }
}

/// One client, and the session that it gets once its tenant is known.
struct Connection {
    engine: Arc<Engine>,
    passwords: Passwords,
    has_room: bool,
    manager: Arc<ConnectionManager>,
    service: OnceLock<Arc<DfSessionService>>,
    /// Kept while the password is asked for.
    startup: Mutex<Option<PgWireFrontendMessage>>,
}

/// An error in PostgreSQL's shape.
fn fatal(code: &str, why: impl Into<String>) -> PgWireError {
    PgWireError::UserError(Box::new(ErrorInfo::new("FATAL".into(), code.into(), why.into())))
}

impl Connection {
    fn open(&self, database: Option<&str>) -> PgWireResult<()> {
        if !self.has_room {
            return Err(fatal("53300", format!("sorry, too many clients already: {CONNECTIONS_MAX}")));
        }
        let tenant = match database {
            None | Some("") => Tenant::default(),
            Some(name) => Tenant::new(name)
                .map_err(|wrong| fatal("3D000", format!("database {name:?} is no tenant name: {wrong}")))?,
        };
        let service = session(&self.engine, &tenant).map_err(|wrong| fatal("XX000", wrong.to_string()))?;
        let _ = self.service.set(service);
        Ok(())
    }

    fn service(&self) -> PgWireResult<&Arc<DfSessionService>> {
        self.service.get().ok_or_else(|| fatal("08P01", "a query before the start of the session"))
    }
}

fn session(engine: &Arc<Engine>, tenant: &Tenant) -> anyhow::Result<Arc<DfSessionService>> {
    let session = engine.sql_session(tenant);
    setup_pg_catalog(&session, engine::SQL_CATALOG, EmptyContextProvider)?;
    let hooks: Vec<Arc<dyn QueryHook>> = vec![
        Arc::new(CursorStatementHook),
        Arc::new(SetShowHook),
        Arc::new(TransactionStatementHook),
        Arc::new(OnlyReads),
    ];
    Ok(Arc::new(DfSessionService::new_with_hooks(Arc::new(session), hooks)))
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
                self.open(client.metadata().get("database").map(String::as_str))?;
                let startup = PgWireFrontendMessage::Startup(startup);
                if self.passwords.is_none() {
                    return Welcome(self.manager.clone()).on_startup(client, startup).await;
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
                        Welcome(self.manager.clone()).on_startup(client, startup).await
                    }
                    _ => Err(fatal("28P01", "password authentication failed: the password is one of the server's tokens")),
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

#[async_trait]
impl SimpleQueryHandler for Connection {
    async fn do_query<C>(&self, client: &mut C, query: &str) -> PgWireResult<Vec<Response>>
    where
        C: ClientInfo + ClientPortalStore + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::PortalStore: PortalStore,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        SimpleQueryHandler::do_query(self.service()?.as_ref(), client, query).await
    }
}

#[async_trait]
impl ExtendedQueryHandler for Connection {
    type Statement = <DfSessionService as ExtendedQueryHandler>::Statement;
    type QueryParser = Parser;

    fn query_parser(&self) -> Arc<Self::QueryParser> {
        // Messages of a query come after those of the startup, or not at all.
        match self.service.get() {
            Some(service) => service.query_parser(),
            None => unreachable!("pgwire hands on queries only after a startup that succeeded"),
        }
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
        ExtendedQueryHandler::do_query(self.service()?.as_ref(), client, portal, max_rows).await
    }
}
