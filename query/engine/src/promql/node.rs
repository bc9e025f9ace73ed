//! A node of a PromQL plan: matrices of its inputs to one matrix. Everything that DataFusion wants of an operator is in
//! [`Operator`]; a node only says what it computes.

use super::matrix::{MATRIX, Matrix, Series, Values};
use crate::QueryError;
use crate::logql::operator::{Batches, Operator, Work};
use crate::room::Room;
use arrow::datatypes::SchemaRef;
use datafusion::common::DataFusionError;
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

    /// `room` holds the inputs and as much again.
    async fn evaluate(&self, inputs: Vec<Matrix>, room: &Room) -> Result<Matrix, QueryError>;
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
            let room = Room::of(self.0.name(), context.memory_pool());
            let mut matrices = Vec::with_capacity(inputs.len());
            for input in inputs {
                matrices.push(Matrix::gather(input, &room).await?);
            }
            let matrix = self.within(matrices, &room).await.map_err(external)?;
            let batches = matrix.into_batches().map(move |made| {
                let (batch, bytes) = made?;
                room.give_back(bytes);
                Ok(batch)
            });
            Ok::<_, DataFusionError>(futures::stream::iter(batches))
        })
        .try_flatten()
        .boxed()
    }
}

impl<N: Node> NodeWork<N> {
    async fn within(&self, inputs: Vec<Matrix>, room: &Room) -> Result<Matrix, QueryError> {
        // What a node makes is mostly no larger than what it is made of; where it may be, the node says so itself.
        room.take(room.bytes())?;
        let matrix = self.0.evaluate(inputs, room).await?;
        room.settle(matrix.bytes())?;
        Ok(matrix)
    }
}

fn external(wrong: QueryError) -> DataFusionError {
    DataFusionError::External(Box::new(wrong))
}

/// One series without labels.
pub(super) fn scalar(values: impl Iterator<Item = f64>) -> Matrix {
    Matrix(vec![Series::of_numbers(Labels::empty(), values.map(Some).collect())])
}

/// The value of a scalar at a step.
pub(super) fn scalar_at(matrix: &Matrix, step: usize) -> f64 {
    matrix.0.first().and_then(|series| series.values.get(step)).unwrap_or(f64::NAN)
}

pub(super) fn same_labels() -> QueryError {
    QueryError::Execution("vector cannot contain metrics with the same labelset".into())
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
            Entry::Occupied(at) => join(&mut out[*at.get()], series)?,
        }
    }
    Ok(Matrix(out))
}

fn join(target: &mut Series, other: Series) -> Result<(), QueryError> {
    let steps = target.values.len();
    if (0..steps).any(|step| target.is_present(step) && other.is_present(step)) {
        return Err(same_labels());
    }
    let both = target.values.iter().zip(other.values.iter());
    target.values = both.map(|(mine, theirs)| mine.or(theirs)).collect::<Values>();
    if !other.histograms.is_empty() {
        target.histograms.resize(steps, None);
        for (mine, theirs) in target.histograms.iter_mut().zip(other.histograms) {
            *mine = mine.take().or(theirs);
        }
    }
    Ok(())
}

/// Labels that say what a metric is and not which: its name, type and unit.
pub(super) fn is_of_metric(name: &str) -> bool {
    matches!(name, model::METRIC_NAME | "__type__" | "__unit__")
}

pub(super) fn without_name(labels: &Labels) -> Labels {
    // Names ascend, and these three begin with underscores.
    if labels.iter().take_while(|(name, _)| *name < "a").any(|(name, _)| is_of_metric(name)) {
        return labels.without(is_of_metric);
    }
    labels.clone()
}

/// The end of a query: names go where something was computed from the metric.
pub(super) fn names_dropped(mut matrix: Matrix) -> Result<Matrix, QueryError> {
    if matrix.0.iter().all(|series| !series.drop_name) {
        return join_if_same(matrix);
    }
    for series in matrix.0.iter_mut().filter(|series| series.drop_name) {
        series.labels = without_name(&series.labels);
    }
    join_same(matrix)
}

/// As [`join_same`], for what is mostly unique already.
fn join_if_same(matrix: Matrix) -> Result<Matrix, QueryError> {
    let mut seen = std::collections::HashSet::with_capacity(matrix.0.len());
    if matrix.0.iter().all(|series| seen.insert(series.labels.as_bytes())) {
        return Ok(matrix);
    }
    drop(seen);
    join_same(matrix)
}
