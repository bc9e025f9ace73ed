//! Rules of ours for physical plans: each looks at one node, from the leaves up, and says what stands in its place.

use datafusion::common::Result;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::ExecutionPlan;
use std::sync::Arc;

type Node = Arc<dyn ExecutionPlan>;

#[derive(Debug)]
pub struct NodeRule {
    name: &'static str,
    /// `None` where the node stays.
    instead: fn(&Node) -> Option<Node>,
}

impl NodeRule {
    pub fn new(name: &'static str, instead: fn(&Node) -> Option<Node>) -> Arc<NodeRule> {
        Arc::new(NodeRule { name, instead })
    }
}

impl PhysicalOptimizerRule for NodeRule {
    fn name(&self) -> &str {
        self.name
    }

    fn optimize(&self, plan: Arc<dyn ExecutionPlan>, _: &ConfigOptions) -> Result<Arc<dyn ExecutionPlan>> {
        plan.transform_up(|node| {
            Ok(match (self.instead)(&node) {
                Some(other) => Transformed::yes(other),
                None => Transformed::no(node),
            })
        })
        .data()
    }

    fn schema_check(&self) -> bool {
        true
    }
}
