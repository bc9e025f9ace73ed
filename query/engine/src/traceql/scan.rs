//! Reads spans of a snapshot; what of a filter the store can use is told it.

use crate::logql::operator::{Batches, Work};
use crate::logql::scan_error as read_error;
use arrow::datatypes::{Schema, SchemaRef};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use futures::{StreamExt, TryStreamExt};
use model::{SpanSelect, StatusCode};
use std::ops::RangeInclusive;
use std::sync::Arc;
use store::{Snapshot, SpanColumns, SpanTest, TraceRoots};
use traceql::{CompareOp, Field, FieldExpr, Intrinsic, Scope, Static};

pub(crate) struct SpanScan {
    pub snapshot: Arc<dyn Snapshot>,
    pub select: SpanSelect,
    pub columns: SpanColumns,
}

impl std::fmt::Debug for SpanScan {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SpanScan {:?}", self.select)
    }
}

impl Work for SpanScan {
    fn name(&self) -> &'static str {
        "SpanScan"
    }

    fn schema(&self) -> SchemaRef {
        let fields: Vec<_> =
            self.columns.0.iter().map(|at| store::schema::SPANS.fields()[*at].clone()).collect();
        Arc::new(Schema::new(fields))
    }

    fn details(&self) -> String {
        format!("{:?}", self.select)
    }

    fn run(self: Arc<Self>, _: Vec<SendableRecordBatchStream>, _: Arc<TaskContext>) -> Batches {
        futures::stream::once(async move {
            self.snapshot.spans(&self.select, &self.columns).await.map_err(read_error)
        })
        .map_ok(|batches| batches.map_err(read_error))
        .try_flatten()
        .boxed()
    }
}

/// The same, with what the store is told beside the selection.
pub(super) struct ScanWith {
    pub scan: SpanScan,
    pub told: Told,
}

pub(super) enum Told {
    /// Most of the spans that it rules out are left out.
    Test(SpanTest),
    /// Each span has its trace's.
    Roots(Arc<TraceRoots>),
}

impl std::fmt::Debug for ScanWith {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.told {
            Told::Test(test) => write!(f, "{:?} by {:?} {:?}", self.scan, test.columns, test.fields),
            Told::Roots(_) => write!(f, "{:?} with roots", self.scan),
        }
    }
}

impl Work for ScanWith {
    fn name(&self) -> &'static str {
        self.scan.name()
    }

    fn schema(&self) -> SchemaRef {
        self.scan.schema()
    }

    fn details(&self) -> String {
        format!("{self:?}")
    }

    fn run(self: Arc<Self>, _: Vec<SendableRecordBatchStream>, _: Arc<TaskContext>) -> Batches {
        futures::stream::once(async move {
            let SpanScan { snapshot, select, columns } = &self.scan;
            let batches = match &self.told {
                Told::Test(test) => snapshot.spans_passing(select, columns, test).await,
                Told::Roots(roots) => snapshot.spans_rooted(select, columns, roots).await,
            };
            batches.map_err(read_error)
        })
        .map_ok(|batches| batches.map_err(read_error))
        .try_flatten()
        .boxed()
    }
}

/// Integers that no attribute equals but with this one text: a double that is -0 equals 0, and larger ones equal their
/// neighbours.
const TEXTS_OF_ONE: RangeInclusive<u64> = 1..=1 << f64::MANTISSA_DIGITS;

/// Narrows the selection by what the filter demands of every span.
pub(crate) fn narrow(select: &mut SpanSelect, filter: &FieldExpr) {
    let (op, field, value) = match filter {
        FieldExpr::And(left, right) => {
            narrow(select, left);
            return narrow(select, right);
        }
        FieldExpr::Compare(op, left, right) => match (left.as_ref(), right.as_ref()) {
            (FieldExpr::Field(field), FieldExpr::Static(value)) => (*op, field, value),
            (FieldExpr::Static(value), FieldExpr::Field(field)) => (turned(*op), field, value),
            _ => return,
        },
        _ => return,
    };
    match (field, op, value) {
        (Field::Attribute { scope: Scope::Resource, name }, CompareOp::Equal, Static::Text(text))
            if name == "service.name" =>
        {
            select.service = Some(text.clone());
        }
        (Field::Attribute { scope: Scope::Span, name }, CompareOp::Equal, Static::Text(text)) => {
            select.attributes.push((name.clone(), text.clone()));
        }
        (Field::Attribute { scope: Scope::Span, name }, CompareOp::Equal, Static::Int(number))
            if TEXTS_OF_ONE.contains(&number.unsigned_abs()) =>
        {
            select.attributes.push((name.clone(), number.to_string()));
        }
        (Field::Attribute { scope: Scope::Span, name }, CompareOp::Equal, Static::Bool(truth)) => {
            select.attributes.push((name.clone(), truth.to_string()));
        }
        (Field::Intrinsic(Intrinsic::Name), CompareOp::Equal, Static::Text(text)) => {
            select.name = Some(text.clone());
        }
        (Field::Intrinsic(Intrinsic::TraceId), CompareOp::Equal, Static::Text(text))
            if let Some(id) = id_of(text) =>
        {
            select.trace_ids = vec![id];
        }
        (Field::Intrinsic(Intrinsic::Status), CompareOp::Equal, Static::Status(StatusCode::Error)) => {
            select.errors_only = true;
        }
        (Field::Intrinsic(Intrinsic::Duration), CompareOp::Greater | CompareOp::GreaterEqual, value) => {
            if let Some(min) = value.number() {
                let min = min.clamp(0.0, i64::MAX as f64) as i64;
                select.duration_ns_min = Some(select.duration_ns_min.map_or(min, |before| before.max(min)));
            }
        }
        _ => {}
    }
}

/// The id of which this is the text; `None` of a text that no id has.
pub(super) fn id_of<const N: usize>(text: &str) -> Option<[u8; N]> {
    let mut id = [0; N];
    hex::decode_to_slice(text, &mut id).ok()?;
    (hex::encode(id) == text).then_some(id)
}

pub(super) fn turned(op: CompareOp) -> CompareOp {
    match op {
        CompareOp::Greater => CompareOp::Less,
        CompareOp::GreaterEqual => CompareOp::LessEqual,
        CompareOp::Less => CompareOp::Greater,
        CompareOp::LessEqual => CompareOp::GreaterEqual,
        same => same,
    }
}
