//! Counts log lines run by run before they come to an aggregation: lines of a part lie by stream and time, so that many that
//! follow one another are of one group. A count of rows by time and what a stream's labels say then looks up a group a run, and
//! not one a line.
//!
//! What it makes is what DataFusion's own first step of an aggregation makes, with a group more than once: the last step adds them up.

use super::stored_forms::{Form, Forms, in_forms};
use crate::logql::{Batches, Operator, Work};
use arrow::array::{ArrayRef, AsArray, Int64Array, RecordBatch, UInt32Array, make_array};
use arrow::compute::{cast, partition, take};
use arrow::datatypes::{FieldRef, SchemaRef};
use arrow::error::ArrowError;
use datafusion::common::Result;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::aggregate::AggregateFunctionExpr;
use datafusion::physical_expr::expressions::{Column, Literal};
use datafusion::physical_expr::utils::collect_columns;
use datafusion::physical_plan::aggregates::{AggregateExec, AggregateMode};
use datafusion::physical_plan::{ChildrenPropertiesMode, ExecutionPlan, ReplaceChildrenOptions};
use futures::StreamExt;
use std::sync::Arc;

const TIME: &str = "ts";

/// Columns of `logs` by which lines lie, and the time within.
const IN_ORDER: [&str; 6] = [TIME, "service", "namespace", "pod", "container", "node"];

/// What stands in place of the first step of an aggregation that only counts rows of a scan of logs.
pub fn counts_of(node: &Arc<dyn ExecutionPlan>) -> Option<Arc<dyn ExecutionPlan>> {
    let step = node.downcast_ref::<AggregateExec>()?;
    let by = step.group_expr();
    let only_counts = step.aggr_expr().iter().all(|of| counts_rows(of));
    let is_filtered = step.filter_expr().iter().any(Option::is_some);
    if *step.mode() != AggregateMode::Partial || by.has_grouping_set() || !only_counts || is_filtered {
        return None;
    }
    let scan = scan_below(step.input())?;
    let groups: Vec<Arc<dyn PhysicalExpr>> = by.input_exprs();
    let in_order = |group: &Arc<dyn PhysicalExpr>| {
        collect_columns(group).iter().all(|column| IN_ORDER.contains(&column.name()))
    };
    let is_fine = !groups.is_empty() && groups.iter().all(in_order);
    let scan = of_words(&scan, &groups).unwrap_or(scan);
    is_fine.then(|| Operator::plan(Counts { groups, schema: step.schema() }, vec![scan]))
}

/// `count(*)`, which DataFusion makes a count of a constant.
fn counts_rows(of: &AggregateFunctionExpr) -> bool {
    let arguments = of.expressions();
    let is_constant = |argument: &Arc<dyn PhysicalExpr>| {
        argument.downcast_ref::<Literal>().is_some_and(|literal| !literal.value().is_null())
    };
    of.fun().name() == "count" && !of.is_distinct() && arguments.iter().all(is_constant)
}

/// A scan of logs, and conditions on it, without what spreads its rows over threads and so tears runs apart.
fn scan_below(input: &Arc<dyn ExecutionPlan>) -> Option<Arc<dyn ExecutionPlan>> {
    let below = || scan_below(input.children().first()?);
    match input.name() {
        "LogScan" => Some(input.clone()),
        "RepartitionExec" | "CooperativeExec" => below(),
        "FilterExec" => {
            let options = ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute);
            input.clone().replace_children(vec![below()?], options).ok()
        }
        _ => None,
    }
}

/// The scan with its texts as words, where nothing else is made of them: words are compared by their numbers.
fn of_words(
    scan: &Arc<dyn ExecutionPlan>,
    groups: &[Arc<dyn PhysicalExpr>],
) -> Option<Arc<dyn ExecutionPlan>> {
    let mut forms = Forms::new();
    for group in groups {
        let is_time = collect_columns(group).iter().all(|column| column.name() == TIME);
        if !is_time {
            forms.insert(group.downcast_ref::<Column>()?.index(), Form::Words);
        }
    }
    in_forms(scan, &forms)
}

#[derive(Debug)]
struct Counts {
    groups: Vec<Arc<dyn PhysicalExpr>>,
    /// The groups, then a count for each that is asked for.
    schema: SchemaRef,
}

impl Work for Counts {
    fn name(&self) -> &'static str {
        "RunCounts"
    }

    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    fn details(&self) -> String {
        self.groups.iter().map(|group| group.to_string()).collect::<Vec<_>>().join(", ")
    }

    fn run(self: Arc<Self>, mut inputs: Vec<SendableRecordBatchStream>, _: Arc<TaskContext>) -> Batches {
        match inputs.pop() {
            Some(rows) => rows.map(move |batch| self.counted(&batch?)).boxed(),
            None => futures::stream::empty().boxed(),
        }
    }
}

impl Counts {
    fn counted(&self, batch: &RecordBatch) -> Result<RecordBatch> {
        let rows = batch.num_rows();
        let value = |group: &Arc<dyn PhysicalExpr>| group.evaluate(batch)?.into_array(rows);
        let groups = self.groups.iter().map(value).collect::<Result<Vec<ArrayRef>>>()?;
        let keys: Vec<ArrayRef> = groups.iter().map(key).collect();
        let runs = partition(&keys)?.ranges();
        let firsts: UInt32Array = runs.iter().map(|run| run.start as u32).collect();
        let counts: ArrayRef = Arc::new(runs.iter().map(|run| run.len() as i64).collect::<Int64Array>());
        let first =
            |(group, field): (&ArrayRef, &FieldRef)| cast(&take(group, &firsts, None)?, field.data_type());
        let mut columns =
            groups.iter().zip(self.schema.fields()).map(first).collect::<Result<Vec<_>, ArrowError>>()?;
        columns.resize(self.schema.fields().len(), counts);
        Ok(RecordBatch::try_new(self.schema.clone(), columns)?)
    }
}

/// What tells the values of a group apart within a batch: of words their numbers.
fn key(group: &ArrayRef) -> ArrayRef {
    match group.as_any_dictionary_opt() {
        Some(words) => make_array(words.keys().to_data()),
        None => group.clone(),
    }
}
