//! Numbers by series and step, as they pass between the operators of a metric query: one row a series.

use arrow::array::{ArrayRef, AsArray, BinaryBuilder, Float64Builder, ListBuilder, RecordBatch};
use arrow::datatypes::{DataType, Field, Float64Type, Schema, SchemaRef};
use datafusion::common::DataFusionError;
use model::Labels;
use std::sync::{Arc, LazyLock};

pub(crate) static MATRIX: LazyLock<SchemaRef> = LazyLock::new(|| {
    let values =
        Field::new("values", DataType::List(Arc::new(Field::new("item", DataType::Float64, true))), false);
    Arc::new(Schema::new(vec![Field::new("labels", DataType::Binary, false), values]))
});

/// The steps at which a query is evaluated, in nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Steps {
    pub start_ns: i64,
    pub step_ns: i64,
    pub count: usize,
}

impl Steps {
    pub fn at(&self, index: usize) -> i64 {
        self.start_ns.saturating_add(self.step_ns.saturating_mul(index as i64))
    }

    pub fn last(&self) -> i64 {
        self.at(self.count.saturating_sub(1))
    }
}

#[derive(Debug)]
pub(crate) struct Series {
    pub labels: Labels,
    /// One a step; `None` where the series has no value there.
    pub values: Vec<Option<f64>>,
}

#[derive(Debug, Default)]
pub(crate) struct Matrix(pub Vec<Series>);

impl Matrix {
    pub fn to_batch(&self) -> Result<RecordBatch, DataFusionError> {
        let mut labels = BinaryBuilder::new();
        let mut values = ListBuilder::new(Float64Builder::new());
        for series in &self.0 {
            labels.append_value(series.labels.as_bytes());
            for value in &series.values {
                values.values().append_option(*value);
            }
            values.append(true);
        }
        let columns: Vec<ArrayRef> = vec![Arc::new(labels.finish()), Arc::new(values.finish())];
        Ok(RecordBatch::try_new(MATRIX.clone(), columns)?)
    }

    pub fn from_batches(batches: &[RecordBatch]) -> Result<Matrix, DataFusionError> {
        let mut matrix = Matrix::default();
        for batch in batches {
            let labels = batch.column(0).as_binary::<i32>();
            let values = batch.column(1).as_list::<i32>();
            for row in 0..batch.num_rows() {
                let labels = Labels::from_bytes(labels.value(row))
                    .map_err(|why| DataFusionError::Internal(format!("labels of a series: {why}")))?;
                let row = values.value(row);
                let row = row.as_primitive::<Float64Type>();
                matrix.0.push(Series { labels, values: row.iter().collect() });
            }
        }
        Ok(matrix)
    }

    /// Leaves out series without any value.
    pub fn without_empty(mut self) -> Matrix {
        self.0.retain(|series| series.values.iter().any(Option::is_some));
        self
    }

    pub fn bytes(&self) -> usize {
        self.0.iter().map(|series| series.values.len() * 16 + series.labels.as_bytes().len() + 64).sum()
    }
}
