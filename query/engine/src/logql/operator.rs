//! One DataFusion node for all operators whose semantics are ours: what differs is its [`Work`].
//!
//! A work gets the streams of its inputs and gives one stream of batches. Everything else that a plan node needs
//! (properties, children, display) is the same for all of them and stands here once.

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use datafusion::common::Result;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::{EquivalenceProperties, PhysicalExpr};
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType};
use datafusion::physical_plan::projection::ProjectionExec;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    ChildrenPropertiesMode, DisplayAs, DisplayFormatType, ExecutionPlan, ExecutionPlanProperties,
    Partitioning, PlanProperties, ReplaceChildrenOptions,
};
use futures::stream::{BoxStream, StreamExt};
use std::fmt;
use std::sync::Arc;

pub(crate) type Batches = BoxStream<'static, Result<RecordBatch>>;

/// What an operator does with the batches of its inputs.
pub(crate) trait Work: fmt::Debug + Send + Sync + 'static {
    fn name(&self) -> &'static str;

    fn schema(&self) -> SchemaRef;

    /// One partition in, one out; of an input of several each has a run of its own.
    fn run(self: Arc<Self>, inputs: Vec<SendableRecordBatchStream>, context: Arc<TaskContext>) -> Batches;

    /// The same that gives what a projection above makes of it.
    fn with_projection(&self, _: &ProjectionExec) -> Option<Arc<dyn ExecutionPlan>> {
        None
    }

    /// What `EXPLAIN` shows behind the name.
    fn details(&self) -> String {
        String::new()
    }
}

#[derive(Debug)]
pub(crate) struct Operator<W: Work> {
    work: Arc<W>,
    inputs: Vec<Arc<dyn ExecutionPlan>>,
    properties: Arc<PlanProperties>,
}

impl<W: Work> Operator<W> {
    pub fn plan(work: W, inputs: Vec<Arc<dyn ExecutionPlan>>) -> Arc<dyn ExecutionPlan> {
        let partitions =
            inputs.iter().map(|input| input.output_partitioning().partition_count()).max().unwrap_or(1);
        let properties = PlanProperties::new(
            EquivalenceProperties::new(work.schema()),
            Partitioning::UnknownPartitioning(partitions),
            EmissionType::Final,
            Boundedness::Bounded,
        );
        Arc::new(Operator { work: Arc::new(work), inputs, properties: Arc::new(properties) })
    }

    pub fn work(&self) -> &W {
        &self.work
    }
}

impl<W: Work> DisplayAs for Operator<W> {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.work.name(), self.work.details())
    }
}

impl<W: Work> ExecutionPlan for Operator<W> {
    fn name(&self) -> &str {
        self.work.name()
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        self.inputs.iter().collect()
    }

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn replace_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
        _: ReplaceChildrenOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(Arc::new(Operator {
            work: self.work.clone(),
            inputs: children,
            properties: self.properties.clone(),
        }))
    }

    fn with_new_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        self.replace_children(children, ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute))
    }

    fn try_swapping_with_projection(
        &self,
        projection: &ProjectionExec,
    ) -> Result<Option<Arc<dyn ExecutionPlan>>> {
        Ok(self.work.with_projection(projection))
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let inputs = self
            .inputs
            .iter()
            .map(|input| input.execute(partition, context.clone()))
            .collect::<Result<Vec<_>>>()?;
        let schema = self.work.schema();
        let batches = self.work.clone().run(inputs, context).boxed();
        Ok(Box::pin(RecordBatchStreamAdapter::new(schema, batches)))
    }
}
