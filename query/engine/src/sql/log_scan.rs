//! Scans of the table `logs`. What JSON functions take out of bodies is asked of the store in place of the bodies: there the
//! fields of most lines lie by themselves, and lines need neither be put together nor read as JSON. A label is looked up once for
//! lines of a stream that follow one another, and no map of all labels is made for each.

use super::columns::column_to_sql;
use super::functions::read_key;
use super::json::Asked;
use super::pushdown;
use super::stored_forms::{Forms, schema_in};
use super::table::{LOGS, Snapshots, external};
use crate::logql::{Batches, Operator, Work};
use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, RecordBatch, RecordBatchOptions, StringArray, StringBuilder,
};
use arrow::compute::take;
use arrow::datatypes::{Int32Type, SchemaRef, UInt32Type};
use datafusion::common::{DataFusionError, Result};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::Operator as Comparison;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::{BinaryExpr, Column, Literal};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::projection::ProjectionExec;
use futures::{StreamExt, TryStreamExt, stream};
use model::{Labels, LogSelect, METRIC_NAME, Matcher};
use std::sync::Arc;
use store::LogColumns;
use store::schema::{JSON_KNOWN, JSON_VALUE};

/// The column whose maps are those of streams.
const LABELS: &str = "labels";

#[derive(Clone)]
pub(super) struct LogScan {
    pub schema: SchemaRef,
    pub outputs: Vec<Output>,
    pub select: LogSelect,
    pub snapshots: Snapshots,
}

/// A column of what the scan gives.
#[derive(Clone)]
pub(super) enum Output {
    /// One of the table's, by its number there.
    Column(usize),
    /// One of the labels.
    Label(String),
    /// What a JSON function makes of the body, and the number of the path that is asked for.
    Json(Asked, usize),
}

/// The number of the table's column.
fn number(name: &str) -> Option<usize> {
    LOGS.0.fields().iter().position(|field| field.name() == name)
}

fn body() -> Option<usize> {
    number("body")
}

impl std::fmt::Debug for LogScan {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "LogScan {:?}", self.select)
    }
}

impl Work for LogScan {
    fn name(&self) -> &'static str {
        "LogScan"
    }

    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    fn details(&self) -> String {
        format!("{:?}", self.select)
    }

    fn run(self: Arc<Self>, _: Vec<SendableRecordBatchStream>, _: Arc<TaskContext>) -> Batches {
        stream::once(self.open()).try_flatten().boxed()
    }

    fn with_projection(&self, projection: &ProjectionExec) -> Option<Arc<dyn ExecutionPlan>> {
        let mut scan = LogScan { schema: projection.schema(), outputs: vec![], ..self.clone() };
        let body = body()?;
        for output in projection.expr() {
            if let Some(known) = self.output(&output.expr) {
                scan.outputs.push(known);
                continue;
            }
            let (of, asked) = Asked::of(&output.expr)?;
            if !matches!(self.outputs.get(of)?, Output::Column(column) if *column == body) {
                return None;
            }
            let paths = &mut scan.select.json_values;
            let known = paths.iter().position(|path| *path == asked.keys);
            let number = known.unwrap_or_else(|| {
                paths.push(asked.keys.clone());
                paths.len() - 1
            });
            scan.outputs.push(Output::Json(asked, number));
        }
        let wants_body =
            scan.outputs.iter().any(|output| matches!(output, Output::Column(at) if *at == body));
        let is_fine = scan.select.json_values.is_empty() || !wants_body;
        is_fine.then(|| Operator::plan(scan, vec![]))
    }
}

impl LogScan {
    /// The same with some of what it gives as it lies in the store.
    pub fn in_forms(&self, forms: &Forms) -> Option<LogScan> {
        let stored = |at: usize| match self.outputs.get(at)? {
            Output::Column(column) => Some(store::schema::LOGS.field(LOGS.1[*column]).data_type().clone()),
            Output::Label(_) | Output::Json(..) => None,
        };
        Some(LogScan { schema: schema_in(&self.schema, forms, stored)?, ..self.clone() })
    }

    /// The same that gives at least so many lines, the newest or the oldest, where the output of this number is the time.
    pub fn of_ends(&self, time: usize, lines: usize, newest_first: bool) -> Option<LogScan> {
        let Output::Column(column) = self.outputs.get(time)? else { return None };
        let is_time = LOGS.0.field(*column).name() == "ts";
        let select = LogSelect { limit: Some(lines), newest_first, ..self.select.clone() };
        (is_time && self.select.limit.is_none()).then(|| LogScan { select, ..self.clone() })
    }

    /// Whether a condition on the outputs is one that the selection has, so that lines that are counted for a limit pass it.
    pub fn keeps(&self, condition: &Arc<dyn PhysicalExpr>) -> bool {
        let Some(condition) = condition.downcast_ref::<BinaryExpr>() else { return false };
        let Some(value) = condition.right().downcast_ref::<Literal>().map(Literal::value) else {
            return false;
        };
        let text = value.try_as_str().flatten().filter(|_| *condition.op() == Comparison::Eq);
        match (self.output(condition.left()), text) {
            (Some(Output::Label(name)), Some(text)) => {
                self.select.matchers.contains(&Matcher::equal(name, text))
            }
            (Some(Output::Column(column)), Some(text)) => {
                let place = LOGS.0.field(column).name();
                self.select.places.iter().any(|(own, asked)| own == place && asked == text)
            }
            (Some(Output::Column(column)), None) if LOGS.0.field(column).name() == "ts" => {
                pushdown::passes(self.select.range, *condition.op(), value)
            }
            _ => false,
        }
    }

    /// What an expression over the outputs gives, where it is a column or a label.
    fn output(&self, expression: &Arc<dyn PhysicalExpr>) -> Option<Output> {
        if let Some(column) = expression.downcast_ref::<Column>() {
            return self.outputs.get(column.index()).cloned();
        }
        let (map, name) = read_key(expression)?;
        let is_labels = matches!(self.outputs.get(map)?, Output::Column(at) if Some(*at) == number(LABELS));
        // The map does not have that one.
        (is_labels && name != METRIC_NAME).then(|| Output::Label(name.to_owned()))
    }

    async fn open(self: Arc<Self>) -> Result<Batches> {
        let mut columns: Vec<usize> = self
            .outputs
            .iter()
            .filter_map(|output| match output {
                Output::Column(column) => Some(*column),
                Output::Label(_) => number(LABELS),
                Output::Json(..) => body(),
            })
            .collect();
        columns.sort_unstable();
        columns.dedup();
        let snapshot = self.snapshots.take().await.map_err(external)?;
        let of_store = LogColumns(columns.iter().map(|column| LOGS.1[*column]).collect());
        let batches = snapshot.logs(&self.select, &of_store).await.map_err(external)?;
        Ok(batches.map(move |batch| self.converted(&batch.map_err(external)?, &columns)).boxed())
    }

    fn converted(&self, batch: &RecordBatch, columns: &[usize]) -> Result<RecordBatch> {
        let column = |number: &usize| columns.binary_search(number).ok().map(|at| batch.column(at));
        let missing = || DataFusionError::Internal("a column of logs was not read".into());
        let mut made = vec![];
        for (output, field) in self.outputs.iter().zip(self.schema.fields()) {
            made.push(match output {
                Output::Column(number) => column_to_sql(column(number).ok_or_else(missing)?, field)?,
                Output::Label(name) => {
                    let streams = number(LABELS).and_then(|labels| column(&labels));
                    label(streams.ok_or_else(missing)?, name).ok_or_else(missing)?
                }
                Output::Json(asked, number) => {
                    let bodies = body().and_then(|body| column(&body)?.as_string_opt::<i32>());
                    values(batch, bodies.ok_or_else(missing)?, asked, *number)?
                }
            });
        }
        let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        Ok(RecordBatch::try_new_with_options(self.schema.clone(), made, &options)?)
    }
}

/// A label of each line, looked up once for lines of one stream that follow one another.
fn label(streams: &ArrayRef, name: &str) -> Option<ArrayRef> {
    let streams = streams.as_dictionary_opt::<UInt32Type>()?;
    let labels = streams.values().as_binary_opt::<i32>()?;
    let mut texts = StringBuilder::new();
    for lines in streams.keys().values().chunk_by(|one, next| one == next) {
        let of_stream = Labels::from_bytes(labels.value(lines[0] as usize)).unwrap_or_default();
        let text = of_stream.get(name);
        lines.iter().for_each(|_| texts.append_option(text));
    }
    Some(Arc::new(texts.finish()))
}

fn values(batch: &RecordBatch, bodies: &StringArray, asked: &Asked, number: usize) -> Result<ArrayRef> {
    let known = batch.column_by_name(JSON_KNOWN).and_then(|known| known.as_boolean_opt());
    let told = known.zip(batch.column_by_name(&format!("{JSON_VALUE}{number}")));
    let Some((known, told)) = told else {
        return Ok(asked.of_bodies(bodies.iter()));
    };
    let coded = told.as_dictionary_opt::<Int32Type>();
    if let (true, Some(coded)) = (are_told(known, bodies), coded) {
        let distinct = asked.of_values(coded.values().as_string::<i32>().iter());
        return Ok(take(&distinct, coded.keys(), None)?);
    }
    let plain = arrow::compute::cast(told, &arrow::datatypes::DataType::Utf8)?;
    let texts: &StringArray = plain.as_string();
    if are_told(known, bodies) {
        return Ok(asked.of_values(texts.iter()));
    }
    let rows = (0..batch.num_rows()).map(|row| match known.value(row) {
        true => (true, texts.is_valid(row).then(|| texts.value(row))),
        false => (false, Some(bodies.value(row))),
    });
    Ok(asked.of_rows(rows))
}

/// Whether no line that stands whole can have a value.
fn are_told(known: &BooleanArray, bodies: &StringArray) -> bool {
    let may_have = |row: usize| bodies.value(row).trim_start().starts_with(['{', '[']);
    known.true_count() == known.len() || (0..known.len()).all(|row| known.value(row) || !may_have(row))
}
