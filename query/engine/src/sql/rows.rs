//! Tables of a few rows that are not telemetry: alerts, SLOs, cost. Whoever has the rows hands in a function; this room
//! makes them a DataFusion table, so that nobody else needs to know Arrow.

use arrow::array::{
    ArrayRef, Float64Builder, Int64Builder, RecordBatch, StringBuilder, TimestampNanosecondBuilder,
};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::error::ArrowError;
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::{DataFusionError, Result};
use datafusion::datasource::MemTable;
use datafusion::logical_expr::{Expr, TableType};
use datafusion::physical_plan::ExecutionPlan;
use futures::future::BoxFuture;
use model::{Labels, Tenant};
use std::fmt;
use std::sync::Arc;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CellKind {
    Text,
    Number,
    Integer,
    /// Nanoseconds since 1970.
    Time,
    Labels,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Cell {
    Null,
    Text(String),
    Number(f64),
    Integer(i64),
    Time(i64),
    Labels(Labels),
}

pub type RowsFuture = BoxFuture<'static, Result<Vec<Vec<Cell>>, crate::QueryError>>;

/// A table by name, its columns, and where its rows come from at each scan.
#[derive(Clone)]
pub struct RowTable {
    pub name: &'static str,
    pub columns: &'static [(&'static str, CellKind)],
    pub rows: Arc<dyn Fn(Tenant) -> RowsFuture + Send + Sync>,
}

pub struct RowTableProvider {
    table: RowTable,
    tenant: Tenant,
    schema: SchemaRef,
}

impl RowTableProvider {
    pub fn new(table: RowTable, tenant: Tenant) -> RowTableProvider {
        let fields: Vec<Field> =
            table.columns.iter().map(|(name, kind)| Field::new(*name, kind.data_type(), true)).collect();
        RowTableProvider { table, tenant, schema: Arc::new(Schema::new(fields)) }
    }
}

impl fmt::Debug for RowTableProvider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RowTable({})", self.table.name)
    }
}

#[async_trait]
impl TableProvider for RowTableProvider {
    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    async fn scan(
        &self,
        session: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let rows = (self.table.rows)(self.tenant.clone())
            .await
            .map_err(|wrong| DataFusionError::External(Box::new(wrong)))?;
        let batch = to_batch(&self.schema, self.table.columns, &rows)?;
        MemTable::try_new(self.schema.clone(), vec![vec![batch]])?
            .scan(session, projection, filters, limit)
            .await
    }
}

impl CellKind {
    fn data_type(self) -> DataType {
        match self {
            CellKind::Text => DataType::Utf8,
            CellKind::Number => DataType::Float64,
            CellKind::Integer => DataType::Int64,
            CellKind::Time => store::schema::timestamp(),
            CellKind::Labels => store::schema::text_map(),
        }
    }
}

/// A cell that is not of its column's kind is NULL.
fn to_batch(
    schema: &SchemaRef,
    columns: &[(&str, CellKind)],
    rows: &[Vec<Cell>],
) -> Result<RecordBatch, ArrowError> {
    let arrays = columns
        .iter()
        .enumerate()
        .map(|(i, (_, kind))| column(*kind, rows.iter().map(|row| row.get(i).unwrap_or(&Cell::Null))))
        .collect::<Result<Vec<_>, _>>()?;
    RecordBatch::try_new(schema.clone(), arrays)
}

fn column<'a>(kind: CellKind, cells: impl Iterator<Item = &'a Cell>) -> Result<ArrayRef, ArrowError> {
    Ok(match kind {
        CellKind::Text => {
            let mut out = StringBuilder::new();
            cells.for_each(|cell| {
                out.append_option(if let Cell::Text(text) = cell { Some(text) } else { None })
            });
            Arc::new(out.finish())
        }
        CellKind::Number => {
            let mut out = Float64Builder::new();
            cells.for_each(|cell| {
                out.append_option(if let Cell::Number(number) = cell { Some(*number) } else { None })
            });
            Arc::new(out.finish())
        }
        CellKind::Integer => {
            let mut out = Int64Builder::new();
            cells.for_each(|cell| {
                out.append_option(if let Cell::Integer(n) = cell { Some(*n) } else { None })
            });
            Arc::new(out.finish())
        }
        CellKind::Time => {
            let mut out = TimestampNanosecondBuilder::new().with_timezone("UTC");
            cells
                .for_each(|cell| out.append_option(if let Cell::Time(ns) = cell { Some(*ns) } else { None }));
            Arc::new(out.finish())
        }
        CellKind::Labels => {
            let mut out = super::columns::label_map_builder();
            for cell in cells {
                match cell {
                    Cell::Labels(labels) => super::columns::append_labels(&mut out, labels)?,
                    _ => out.append(false)?,
                }
            }
            Arc::new(out.finish())
        }
    })
}
