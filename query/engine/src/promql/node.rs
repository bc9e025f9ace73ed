//! A node of a PromQL plan: matrices of its inputs to one matrix. Everything that DataFusion wants of an operator is in
//! [`Operator`]; a node only says what it computes.

use crate::QueryError;
use crate::logql::matrix::{MATRIX, Matrix, Series};
use crate::logql::operator::{Batches, Operator, Work};
use arrow::datatypes::SchemaRef;
use datafusion::common::DataFusionError;
use datafusion::execution::memory_pool::MemoryConsumer;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_plan::ExecutionPlan;
use futures::{StreamExt, TryStreamExt};
use model::Labels;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fmt::Debug;
use std::sync::Arc;

/// The steps of a query, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Times {
    pub start_ms: i64,
    pub step_ms: i64,
    pub count: usize,
}

impl Times {
    pub fn at(&self, step: usize) -> i64 {
        self.start_ms.saturating_add(self.step_ms.saturating_mul(step as i64))
    }

    pub fn last(&self) -> i64 {
        self.at(self.count.saturating_sub(1))
    }
}

#[async_trait::async_trait]
pub(super) trait Node: Debug + Send + Sync + 'static {
    /// What `EXPLAIN` shows.
    fn name(&self) -> &'static str;

    fn details(&self) -> String {
        String::new()
    }

    async fn evaluate(&self, inputs: Vec<Matrix>) -> Result<Matrix, QueryError>;
}

#[derive(Debug)]
struct NodeWork<N: Node>(N);

pub(super) fn plan<N: Node>(node: N, inputs: Vec<Arc<dyn ExecutionPlan>>) -> Arc<dyn ExecutionPlan> {
    Operator::plan(NodeWork(node), inputs)
}

impl<N: Node> Work for NodeWork<N> {
    fn name(&self) -> &'static str {
        self.0.name()
    }

    fn details(&self) -> String {
        self.0.details()
    }

    fn schema(&self) -> SchemaRef {
        MATRIX.clone()
    }

    fn run(self: Arc<Self>, inputs: Vec<SendableRecordBatchStream>, context: Arc<TaskContext>) -> Batches {
        futures::stream::once(async move {
            let reservation = MemoryConsumer::new(self.0.name()).register(context.memory_pool());
            let mut matrices = Vec::with_capacity(inputs.len());
            for input in inputs {
                let batches: Vec<_> = input.try_collect().await?;
                let matrix = Matrix::from_batches(&batches)?;
                reservation.try_grow(matrix.bytes())?;
                matrices.push(matrix);
            }
            let evaluated = self.0.evaluate(matrices).await;
            let matrix = evaluated.map_err(|wrong| DataFusionError::External(Box::new(wrong)))?;
            reservation.try_grow(matrix.bytes())?;
            matrix.to_batch()
        })
        .boxed()
    }
}

/// One series without labels.
pub(super) fn scalar(values: impl Iterator<Item = f64>) -> Matrix {
    Matrix(vec![Series { labels: Labels::empty(), values: values.map(Some).collect() }])
}

/// The value of a scalar at a step.
pub(super) fn scalar_at(matrix: &Matrix, step: usize) -> f64 {
    matrix.0.first().and_then(|series| series.values.get(step).copied().flatten()).unwrap_or(f64::NAN)
}

/// Series that lost what told them apart become one, unless both have a value at the same step.
pub(super) fn join_same(matrix: Matrix) -> Result<Matrix, QueryError> {
    let mut out: Vec<Series> = Vec::with_capacity(matrix.0.len());
    let mut known: HashMap<Labels, usize> = HashMap::with_capacity(matrix.0.len());
    for series in matrix.0 {
        match known.entry(series.labels.clone()) {
            Entry::Vacant(new) => {
                new.insert(out.len());
                out.push(series);
            }
            Entry::Occupied(at) => {
                let target = &mut out[*at.get()];
                for (mine, theirs) in target.values.iter_mut().zip(series.values) {
                    if mine.is_some() && theirs.is_some() {
                        return Err(QueryError::Execution(
                            "vector cannot contain metrics with the same labelset".into(),
                        ));
                    }
                    *mine = mine.or(theirs);
                }
            }
        }
    }
    Ok(Matrix(out))
}

pub(super) fn without_name(labels: &Labels) -> Labels {
    if labels.get(model::METRIC_NAME).is_none() {
        return labels.clone();
    }
    labels.without(|name| name == model::METRIC_NAME)
}
