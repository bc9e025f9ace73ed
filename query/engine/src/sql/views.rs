//! The schema of a session: its tables, and views that are planned when a statement names them. To plan all of them takes
//! longer than most statements.

use super::SQL_CATALOG;
use async_trait::async_trait;
use datafusion::catalog::{
    CatalogProvider, CatalogProviderList, MemoryCatalogProvider, MemoryCatalogProviderList,
    MemorySchemaProvider, SchemaProvider, TableProvider,
};
use datafusion::common::Result;
use datafusion::datasource::ViewTable;
use datafusion::execution::SessionState;
use datafusion::execution::context::SessionContext;
use parking_lot::RwLock;
use std::sync::{Arc, Weak};

#[derive(Debug)]
struct Tables {
    tables: MemorySchemaProvider,
    /// Names and statements.
    views: Vec<(&'static str, &'static str)>,
    session: Weak<RwLock<SessionState>>,
}

/// Gives the session a catalog and schema of its own; tables are registered after it.
pub fn register(session: &SessionContext, views: Vec<(&'static str, &'static str)>) -> Result<()> {
    let (catalog, catalogs) = (MemoryCatalogProvider::new(), MemoryCatalogProviderList::new());
    let tables = Tables { tables: MemorySchemaProvider::new(), views, session: session.state_weak_ref() };
    catalog.register_schema("public", Arc::new(tables))?;
    catalogs.register_catalog(SQL_CATALOG.to_owned(), Arc::new(catalog));
    session.state_ref().write().register_catalog_list(Arc::new(catalogs));
    Ok(())
}

impl Tables {
    fn view(&self, name: &str) -> Option<&'static str> {
        self.views.iter().find(|(own, _)| *own == name).map(|(_, query)| *query)
    }
}

#[async_trait]
impl SchemaProvider for Tables {
    fn table_names(&self) -> Vec<String> {
        let mut names = self.tables.table_names();
        names.extend(self.views.iter().map(|(name, _)| (*name).to_owned()));
        names
    }

    async fn table(&self, name: &str) -> Result<Option<Arc<dyn TableProvider>>> {
        if let Some(table) = self.tables.table(name).await? {
            return Ok(Some(table));
        }
        let state = self.session.upgrade().map(|state| state.read().clone());
        let Some((query, state)) = self.view(name).zip(state) else { return Ok(None) };
        let plan = state.create_logical_plan(query).await?;
        Ok(Some(Arc::new(ViewTable::new(plan, Some(query.to_owned())))))
    }

    fn register_table(
        &self,
        name: String,
        table: Arc<dyn TableProvider>,
    ) -> Result<Option<Arc<dyn TableProvider>>> {
        self.tables.register_table(name, table)
    }

    fn deregister_table(&self, name: &str) -> Result<Option<Arc<dyn TableProvider>>> {
        self.tables.deregister_table(name)
    }

    fn table_exist(&self, name: &str) -> bool {
        self.tables.table_exist(name) || self.view(name).is_some()
    }
}
