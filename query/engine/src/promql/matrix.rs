//! Numbers and histograms by series and step, as they pass between the operators of a PromQL plan: one row a series.
//!
//! A row's numbers are one run of an Arrow buffer, read where it lies. A step without a number holds the stale marker,
//! which is never a value inside a query. Histograms are rare; a row without any holds none.

use crate::room::Room;
use arrow::array::{
    ArrayRef, AsArray, BinaryBuilder, BooleanArray, Float64Array, ListArray, ListBuilder, RecordBatch,
};
use arrow::buffer::{OffsetBuffer, ScalarBuffer};
use arrow::datatypes::{DataType, Field, Float64Type, Schema, SchemaRef};
use datafusion::common::DataFusionError;
use datafusion::execution::SendableRecordBatchStream;
use futures::TryStreamExt;
use model::{Histogram, Labels, STALE_NAN_BITS, is_stale_marker, stale_marker};
use std::sync::{Arc, LazyLock};

/// What one batch of series holds, about.
const BATCH_BYTES: usize = 4 << 20;

pub(super) static MATRIX: LazyLock<SchemaRef> = LazyLock::new(|| {
    let list = |kind, nullable| DataType::List(Arc::new(Field::new("item", kind, nullable)));
    Arc::new(Schema::new(vec![
        Field::new("labels", DataType::Binary, false),
        Field::new("drop_name", DataType::Boolean, false),
        Field::new("values", list(DataType::Float64, false), false),
        Field::new("histograms", list(DataType::Binary, true), false),
    ]))
});

/// One number a step, or none.
#[derive(Clone, Debug)]
pub(super) struct Values(ScalarBuffer<f64>);

impl Values {
    /// The stale marker stands where there is no number.
    pub fn of(values: Vec<f64>) -> Values {
        Values(values.into())
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn get(&self, step: usize) -> Option<f64> {
        self.0.get(step).copied().filter(|value| !is_stale_marker(*value))
    }

    pub fn iter(&self) -> impl ExactSizeIterator<Item = Option<f64>> + '_ {
        self.0.iter().map(|value| (value.to_bits() != STALE_NAN_BITS).then_some(*value))
    }

    pub fn any(&self) -> bool {
        self.0.iter().any(|value| value.to_bits() != STALE_NAN_BITS)
    }

    /// Each number by a function of it; where there is none there is none after.
    pub fn mapped(&self, mut of: impl FnMut(usize, f64) -> f64) -> Values {
        let each = |(step, value): (usize, &f64)| {
            if value.to_bits() == STALE_NAN_BITS { *value } else { of(step, *value) }
        };
        Values(self.0.iter().enumerate().map(each).collect())
    }
}

impl FromIterator<Option<f64>> for Values {
    fn from_iter<I: IntoIterator<Item = Option<f64>>>(values: I) -> Values {
        Values(values.into_iter().map(|value| value.unwrap_or_else(stale_marker)).collect())
    }
}

/// What a series has at a step.
#[derive(Clone, Debug)]
pub(super) enum Sample {
    Number(f64),
    Histogram(Arc<Histogram>),
}

pub(super) type Histograms = Vec<Option<Arc<Histogram>>>;

#[derive(Clone, Debug)]
pub(super) struct Series {
    pub labels: Labels,
    /// The metric's name goes when the query ends; until then functions and groupings see it.
    pub drop_name: bool,
    pub values: Values,
    /// Empty, or one a step.
    pub histograms: Histograms,
}

impl Series {
    pub fn of_numbers(labels: Labels, values: Values) -> Series {
        Series { labels, drop_name: false, values, histograms: vec![] }
    }

    pub fn histogram(&self, step: usize) -> Option<&Arc<Histogram>> {
        self.histograms.get(step).and_then(Option::as_ref)
    }

    pub fn at(&self, step: usize) -> Option<Sample> {
        match self.values.get(step) {
            Some(value) => Some(Sample::Number(value)),
            None => self.histogram(step).cloned().map(Sample::Histogram),
        }
    }

    pub fn is_present(&self, step: usize) -> bool {
        self.values.get(step).is_some() || self.histogram(step).is_some()
    }

    pub fn is_empty(&self) -> bool {
        !self.values.any() && self.histograms.iter().all(Option::is_none)
    }

    pub fn bytes(&self) -> usize {
        let of_histograms = self.histograms.len() * 8
            + self.histograms.iter().flatten().map(|histogram| histogram.bytes()).sum::<usize>();
        self.values.len() * 8 + of_histograms + self.labels.as_bytes().len() + 64
    }

    /// Only the numbers.
    pub fn without_histograms(mut self) -> Series {
        self.histograms = vec![];
        self
    }

    /// Only what stands at steps that pass.
    pub fn filtered(mut self, keep: impl Fn(usize) -> bool) -> Series {
        self.values =
            self.values.iter().enumerate().map(|(step, value)| value.filter(|_| keep(step))).collect();
        for (step, histogram) in self.histograms.iter_mut().enumerate() {
            if !keep(step) {
                *histogram = None;
            }
        }
        self
    }
}

/// A row in the making.
#[derive(Clone, Debug)]
pub(super) struct Row {
    values: Vec<f64>,
    histograms: Histograms,
}

impl Row {
    pub fn new(steps: usize) -> Row {
        Row { values: vec![stale_marker(); steps], histograms: vec![] }
    }

    pub fn set(&mut self, step: usize, sample: Sample) {
        match sample {
            Sample::Number(value) => self.values[step] = value,
            Sample::Histogram(histogram) => {
                if self.histograms.is_empty() {
                    self.histograms = vec![None; self.values.len()];
                }
                self.histograms[step] = Some(histogram);
            }
        }
    }

    pub fn is_set(&self, step: usize) -> bool {
        !is_stale_marker(self.values[step]) || self.histograms.get(step).is_some_and(Option::is_some)
    }

    pub fn series(self, labels: Labels, drop_name: bool) -> Series {
        Series { labels, drop_name, values: Values(self.values.into()), histograms: self.histograms }
    }
}

#[derive(Clone, Debug, Default)]
pub(super) struct Matrix(pub Vec<Series>);

impl Matrix {
    fn to_batch(&self) -> Result<RecordBatch, DataFusionError> {
        let mut labels = BinaryBuilder::with_capacity(
            self.0.len(),
            self.0.iter().map(|series| series.labels.as_bytes().len()).sum(),
        );
        let mut histograms = ListBuilder::new(BinaryBuilder::new());
        let mut bytes = vec![];
        let lengths = self.0.iter().map(|series| series.values.len());
        let mut values: Vec<f64> = Vec::with_capacity(lengths.clone().sum());
        for series in &self.0 {
            labels.append_value(series.labels.as_bytes());
            values.extend_from_slice(&series.values.0);
            for histogram in &series.histograms {
                match histogram {
                    Some(histogram) => {
                        bytes.clear();
                        histogram.encode(&mut bytes);
                        histograms.values().append_value(&bytes);
                    }
                    None => histograms.values().append_null(),
                }
            }
            histograms.append(true);
        }
        let item = Arc::new(Field::new("item", DataType::Float64, false));
        let values = ListArray::try_new(
            item,
            OffsetBuffer::from_lengths(lengths),
            Arc::new(Float64Array::new(values.into(), None)),
            None,
        )?;
        let drop_name: BooleanArray = self.0.iter().map(|series| Some(series.drop_name)).collect();
        let columns: Vec<ArrayRef> = vec![
            Arc::new(labels.finish()),
            Arc::new(drop_name),
            Arc::new(values),
            Arc::new(histograms.finish()),
        ];
        Ok(RecordBatch::try_new(MATRIX.clone(), columns)?)
    }

    /// Batches of some mebibytes, each made when it is asked for, with the bytes of the series that are dropped for it.
    pub fn into_batches(self) -> impl Iterator<Item = Result<(RecordBatch, usize), DataFusionError>> {
        let mut rest = self.0.into_iter();
        std::iter::from_fn(move || {
            let (mut piece, mut bytes) = (Matrix::default(), 0);
            while bytes < BATCH_BYTES
                && let Some(series) = rest.next()
            {
                bytes += series.bytes();
                piece.0.push(series);
            }
            (!piece.0.is_empty()).then(|| Ok((piece.to_batch()?, bytes)))
        })
    }

    /// All series of a stream of batches.
    pub async fn gather(
        mut batches: SendableRecordBatchStream,
        room: &Room,
    ) -> Result<Matrix, DataFusionError> {
        let mut matrix = Matrix::default();
        while let Some(batch) = batches.try_next().await? {
            let piece = Matrix::from_batch(&batch)?;
            room.take(piece.bytes()).map_err(|wrong| DataFusionError::External(Box::new(wrong)))?;
            matrix.0.extend(piece.0);
        }
        Ok(matrix)
    }

    fn from_batch(batch: &RecordBatch) -> Result<Matrix, DataFusionError> {
        let bad = |what: String| DataFusionError::Internal(what);
        let mut matrix = Matrix(Vec::with_capacity(batch.num_rows()));
        let labels = batch.column(0).as_binary::<i32>();
        let drop_name = batch.column(1).as_boolean();
        let values = batch.column(2).as_list::<i32>();
        let numbers = values.values().as_primitive::<Float64Type>().values();
        let histograms = batch.column(3).as_list::<i32>();
        for row in 0..batch.num_rows() {
            let labels = Labels::from_bytes(labels.value(row))
                .map_err(|why| bad(format!("labels of a series: {why}")))?;
            let offsets = values.value_offsets();
            let (start, end) = (offsets[row] as usize, offsets[row + 1] as usize);
            let values = Values(numbers.slice(start, end - start));
            let mut of_row = vec![];
            if histograms.value_length(row) > 0 {
                let encoded = histograms.value(row);
                for bytes in encoded.as_binary::<i32>() {
                    let decoded = bytes.map(Histogram::decode).transpose();
                    of_row.push(decoded.map_err(|why| bad(why.to_string()))?.map(Arc::new));
                }
            }
            matrix.0.push(Series { labels, drop_name: drop_name.value(row), values, histograms: of_row });
        }
        Ok(matrix)
    }

    /// Leaves out series without any sample.
    pub fn without_empty(mut self) -> Matrix {
        self.0.retain(|series| !series.is_empty());
        self
    }

    pub fn has_histograms(&self) -> bool {
        self.0.iter().any(|series| !series.histograms.is_empty())
    }

    pub fn bytes(&self) -> usize {
        self.0.iter().map(Series::bytes).sum()
    }
}
