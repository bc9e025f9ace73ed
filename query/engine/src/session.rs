//! What a door that holds an SQL session of its own must name and ask: DataFusion's types, from the one door to
//! DataFusion, and the bounds that such a door keeps for each statement.

pub use crate::sql::{ConstantFunction, StatementSnapshot, maps_shown_as_text, place};
pub use datafusion::common::{ParamValues, ScalarValue};
pub use datafusion::error::DataFusionError;
pub use datafusion::execution::context::SessionContext;
pub use datafusion::logical_expr::LogicalPlan;
pub use datafusion::sql::parser::Statement as AnyStatement;
pub use datafusion::sql::sqlparser::ast::{self, Set, Statement};
pub use datafusion::sql::sqlparser::parser::ParserError;

use crate::{Engine, QueryError};
use std::time::Duration;
use tokio::sync::OwnedSemaphorePermit;

impl Engine {
    /// A place among the running SQL statements, until what is returned is dropped.
    pub async fn sql_turn(&self) -> Result<OwnedSemaphorePermit, QueryError> {
        self.turn(&self.sql_turns).await
    }

    /// How long a statement may take.
    pub fn sql_timeout(&self) -> Duration {
        self.timeout()
    }

    /// Counts a statement that ran in a session.
    pub fn sql_took(&self, took: Duration) {
        self.observe("sql", took);
    }
}
