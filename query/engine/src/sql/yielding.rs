//! Lets operators that make more rows than they read give the thread back between batches.
//!
//! DataFusion counts a task's work where rows enter a plan. A join of two long series reads a few batches and makes
//! millions of them: it would never come to a place where it yields, and with as many such joins as there are threads no
//! deadline, no cancellation and no other request would be heard until they end.

use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::coop::CooperativeExec;
use std::sync::Arc;

/// Comes after DataFusion's own rules, which look for joins by their types.
pub fn yielding(node: &Arc<dyn ExecutionPlan>) -> Option<Arc<dyn ExecutionPlan>> {
    let makes_rows = node.children().len() > 1 || node.name() == "UnnestExec";
    makes_rows.then(|| Arc::new(CooperativeExec::new(node.clone())) as Arc<dyn ExecutionPlan>)
}
