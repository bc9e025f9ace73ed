//! What a door that holds an SQL session of its own must name: DataFusion's types, from the one door to DataFusion.

pub use datafusion::common::ParamValues;
pub use datafusion::execution::context::SessionContext;
pub use datafusion::logical_expr::LogicalPlan;
pub use datafusion::sql::sqlparser::ast::Statement;
