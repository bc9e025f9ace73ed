//! Lets operators that make more rows than they read give the thread back between batches.
//!
//! DataFusion counts a task's work where rows enter a plan. A join of two long series reads a few batches and makes
//! millions of them: it would never come to a place where it yields, and with as many such joins as there are threads no
//! deadline, no cancellation and no other request would be heard until they end.

use datafusion::common::Result;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::coop::CooperativeExec;
use std::sync::Arc;

/// Comes after DataFusion's own rules, which look for joins by their types.
#[derive(Debug)]
pub struct Yielding;

impl PhysicalOptimizerRule for Yielding {
    fn name(&self) -> &str {
        "Yielding"
    }

    fn optimize(&self, plan: Arc<dyn ExecutionPlan>, _: &ConfigOptions) -> Result<Arc<dyn ExecutionPlan>> {
        plan.transform_up(|node| {
            let makes_rows = node.children().len() > 1 || node.name() == "UnnestExec";
            Ok(match makes_rows {
                true => Transformed::yes(Arc::new(CooperativeExec::new(node)) as Arc<dyn ExecutionPlan>),
                false => Transformed::no(node),
            })
        })
        .data()
    }

    fn schema_check(&self) -> bool {
        true
    }
}
