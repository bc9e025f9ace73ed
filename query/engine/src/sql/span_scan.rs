//! Scans of the table `spans`. Attributes that a statement names are asked of the store one by one in place of the map of all: there
//! most of them lie by themselves, and the others need not be read. By those that must be equal to a text rows are judged here, so
//! that nobody above need look at them again.

use super::columns::column_to_sql;
use super::functions::read_key;
use super::stored_forms::{Forms, schema_in};
use super::table::{SPANS, Snapshots, external};
use crate::logql::{Batches, Operator, Work};
use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions, StringArray};
use arrow::compute::filter_record_batch;
use arrow::compute::kernels::cmp::eq;
use arrow::datatypes::SchemaRef;
use datafusion::common::{DataFusionError, Result};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::projection::ProjectionExec;
use futures::{StreamExt, TryStreamExt, stream};
use model::{SpanField, SpanSelect};
use std::sync::Arc;
use store::SpanColumns;

#[derive(Clone)]
pub(super) struct SpanScan {
    pub schema: SchemaRef,
    pub outputs: Vec<Output>,
    pub select: SpanSelect,
    /// Attributes and what each must be.
    pub judged: Vec<(SpanField, String)>,
    pub snapshots: Snapshots,
}

/// A column of what the scan gives.
#[derive(Clone, Debug)]
pub(super) enum Output {
    /// One of the table's, by its number there.
    Column(usize),
    Attribute(SpanField),
}

impl std::fmt::Debug for SpanScan {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SpanScan {}", self.details())
    }
}

impl Work for SpanScan {
    fn name(&self) -> &'static str {
        "SpanScan"
    }

    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    fn details(&self) -> String {
        let attributes: Vec<String> = self.attributes().iter().map(SpanField::column).collect();
        format!("{:?} attributes=[{}]", self.select, attributes.join(", "))
    }

    fn run(self: Arc<Self>, _: Vec<SendableRecordBatchStream>, _: Arc<TaskContext>) -> Batches {
        stream::once(self.open()).try_flatten().boxed()
    }

    fn with_projection(&self, projection: &ProjectionExec) -> Option<Arc<dyn ExecutionPlan>> {
        let outputs = projection.expr().iter().map(|output| self.output(&output.expr));
        let outputs = outputs.collect::<Option<Vec<Output>>>()?;
        Some(Operator::plan(SpanScan { schema: projection.schema(), outputs, ..self.clone() }, vec![]))
    }
}

impl SpanScan {
    /// The same with some of what it gives as it lies in the store.
    pub fn in_forms(&self, forms: &Forms) -> Option<SpanScan> {
        let stored = |at: usize| match self.outputs.get(at)? {
            Output::Column(column) => Some(store::schema::SPANS.field(SPANS.1[*column]).data_type().clone()),
            Output::Attribute(_) => None,
        };
        Some(SpanScan { schema: schema_in(&self.schema, forms, stored)?, ..self.clone() })
    }

    /// What an expression over the outputs gives, where the store can give it.
    fn output(&self, expression: &Arc<dyn PhysicalExpr>) -> Option<Output> {
        if let Some(column) = expression.downcast_ref::<Column>() {
            return self.outputs.get(column.index()).cloned();
        }
        let (map, name) = read_key(expression)?;
        let Output::Column(map) = self.outputs.get(map)? else { return None };
        match SPANS.0.field(*map).name().as_str() {
            "attributes" => Some(Output::Attribute(SpanField::Span(name.to_owned()))),
            "resource" => Some(Output::Attribute(SpanField::Resource(name.to_owned()))),
            _ => None,
        }
    }

    /// All that are looked at, each once.
    fn attributes(&self) -> Vec<SpanField> {
        let given = self.outputs.iter().filter_map(|output| match output {
            Output::Attribute(field) => Some(field),
            Output::Column(_) => None,
        });
        let mut fields: Vec<SpanField> = vec![];
        for field in self.judged.iter().map(|(field, _)| field).chain(given) {
            if !fields.contains(field) {
                fields.push(field.clone());
            }
        }
        fields
    }

    async fn open(self: Arc<Self>) -> Result<Batches> {
        let mut columns: Vec<usize> = self
            .outputs
            .iter()
            .filter_map(|output| match output {
                Output::Column(column) => Some(*column),
                Output::Attribute(_) => None,
            })
            .collect();
        columns.sort_unstable();
        columns.dedup();
        let snapshot = self.snapshots.take().await.map_err(external)?;
        let of_store = SpanColumns(columns.iter().map(|column| SPANS.1[*column]).collect());
        let select = SpanSelect { fields: self.attributes(), ..self.select.clone() };
        let batches = snapshot.spans(&select, &of_store).await.map_err(external)?;
        Ok(batches.map(move |batch| self.converted(batch.map_err(external)?, &columns)).boxed())
    }

    fn converted(&self, batch: RecordBatch, columns: &[usize]) -> Result<RecordBatch> {
        let batch = self.passing(batch)?;
        let mut made = vec![];
        for (output, field) in self.outputs.iter().zip(self.schema.fields()) {
            let column = match output {
                Output::Column(number) => {
                    let at = columns.binary_search(number).map_err(|_| missing())?;
                    batch.columns().get(at).ok_or_else(missing)?
                }
                Output::Attribute(own) => attribute(&batch, own)?,
            };
            made.push(column_to_sql(column, field)?);
        }
        let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        Ok(RecordBatch::try_new_with_options(self.schema.clone(), made, &options)?)
    }

    /// The store lets some pass that are not equal.
    fn passing(&self, mut batch: RecordBatch) -> Result<RecordBatch> {
        for (field, text) in &self.judged {
            let is_equal = eq(attribute(&batch, field)?, &StringArray::new_scalar(text))?;
            batch = filter_record_batch(&batch, &is_equal)?;
        }
        Ok(batch)
    }
}

fn attribute<'a>(batch: &'a RecordBatch, field: &SpanField) -> Result<&'a ArrayRef> {
    batch.column_by_name(&field.column()).ok_or_else(missing)
}

fn missing() -> DataFusionError {
    DataFusionError::Internal("a column of spans was not read".into())
}
