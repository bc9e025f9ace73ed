//! Table functions that bring the other languages into SQL, so that one statement can join them with the tables:
//! `promql('rate(x[5m])', start, end, step)`, `logql('{app="a"}', start, end, limit or step)` and
//! `traceql('{ duration > 1s }', start, end, limit or step)`.
//!
//! Arguments are constants. A time is a timestamp, seconds since 1970, or text: RFC 3339, `now`, or a duration before
//! now such as `-1h`. They read the snapshot that the statement's tables read.

mod answers;

use super::table::Snapshots;
use crate::{Engine, QueryError};
use answers::Answers;
use arrow::array::{RecordBatch, RecordBatchOptions};
use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use datafusion::catalog::{Session, TableFunctionArgs, TableFunctionImpl, TableProvider};
use datafusion::common::{DataFusionError, Result, ScalarValue, plan_err};
use datafusion::execution::TaskContext;
use datafusion::execution::context::SessionContext;
use datafusion::logical_expr::{Expr, TableType};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::streaming::{PartitionStream, StreamingTableExec};
use datafusion::physical_plan::{ExecutionPlan, SendableRecordBatchStream};
use futures::stream;
use model::{Clock, SystemClock, Tenant};
use std::fmt;
use std::sync::Arc;
use store::{ReadError, Snapshot, Source};

const SECOND_NS: i64 = 1_000_000_000;
const HOUR_NS: i64 = 3_600 * SECOND_NS;
/// Points a series has where no step is given, about.
const POINTS_DEFAULT: i64 = 250;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Language {
    Promql,
    Logql,
    Traceql,
}

impl Language {
    const ALL: [Language; 3] = [Language::Promql, Language::Logql, Language::Traceql];

    fn name(self) -> &'static str {
        match self {
            Language::Promql => "promql",
            Language::Logql => "logql",
            Language::Traceql => "traceql",
        }
    }
}

pub(super) fn register(
    session: &SessionContext,
    engine: &Arc<Engine>,
    tenant: &Tenant,
    snapshots: &Snapshots,
) {
    for language in Language::ALL {
        let function = Function {
            language,
            engine: engine.clone(),
            tenant: tenant.clone(),
            snapshots: snapshots.clone(),
        };
        session.register_udtf(language.name(), Arc::new(function));
    }
}

/// Hands out one snapshot, whoever asks.
pub(super) struct Fixed(pub Arc<dyn Snapshot>);

#[async_trait]
impl Source for Fixed {
    async fn snapshot(&self, _: &Tenant) -> Result<Arc<dyn Snapshot>, ReadError> {
        Ok(self.0.clone())
    }
}

struct Function {
    language: Language,
    engine: Arc<Engine>,
    tenant: Tenant,
    snapshots: Snapshots,
}

impl fmt::Debug for Function {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}()", self.language.name())
    }
}

/// What a call asks for.
#[derive(Clone, Debug)]
pub(super) struct Call {
    pub query: String,
    pub start_ns: i64,
    pub end_ns: i64,
    pub step_ms: i64,
    /// Lines or traces at most.
    pub limit: usize,
    /// Neither start nor end was given: numbers are asked for at `end_ns` alone.
    pub instant: bool,
}

impl TableFunctionImpl for Function {
    fn call_with_args(&self, arguments: TableFunctionArgs) -> Result<Arc<dyn TableProvider>> {
        let name = self.language.name();
        let now_ns = SystemClock.now_ns();
        let [query, rest @ ..] = arguments.exprs() else {
            return plan_err!("{name}() takes a query, as in {name}('…', start, end, step)");
        };
        if rest.len() > 3 {
            return plan_err!("{name}() takes at most a query, start, end and step (or limit)");
        }
        let Some(query) = constant(name, "query", query)?.try_as_str().flatten().map(str::to_owned) else {
            return plan_err!("{name}(): the query is text");
        };
        let time = |at: usize, what: &str| -> Result<Option<i64>> {
            let Some(argument) = rest.get(at) else { return Ok(None) };
            let value = constant(name, what, argument)?;
            if value.is_null() {
                return Ok(None);
            }
            match time_ns(value, now_ns) {
                Some(ns) => Ok(Some(ns)),
                None => plan_err!(
                    "{name}(): {what} is {value}; write a timestamp, seconds since 1970, 'now' or '-1h'"
                ),
            }
        };
        let (start, end) = (time(0, "start")?, time(1, "end")?);
        let instant = start.is_none() && end.is_none();
        let end_ns = end.unwrap_or(now_ns);
        let start_ns = start.unwrap_or_else(|| end_ns.saturating_sub(HOUR_NS));
        if end_ns < start_ns {
            return plan_err!("{name}(): end is before start; swap them");
        }
        let mut call = Call {
            query,
            start_ns,
            end_ns,
            step_ms: ((end_ns - start_ns) / POINTS_DEFAULT / SECOND_NS).max(1) * 1_000,
            limit: self.engine.limits.log_entries_max,
            instant,
        };
        let answers = Answers::of(self.language, &call).map_err(external)?;
        if let Some(last) = rest.get(2) {
            let value = constant(name, "the last argument", last)?;
            match answers.has_step() {
                true => match step_ms(value) {
                    Some(step) => call.step_ms = step,
                    None => {
                        return plan_err!("{name}(): step is {value}; write an interval, '15s' or seconds");
                    }
                },
                false => match whole(value) {
                    Some(limit) => call.limit = limit,
                    None => return plan_err!("{name}(): limit is {value}; write a whole number above 0"),
                },
            }
        }
        Ok(Arc::new(Answer {
            schema: answers.schema(),
            answers,
            call,
            engine: self.engine.clone(),
            tenant: self.tenant.clone(),
            snapshots: self.snapshots.clone(),
        }))
    }
}

pub(super) fn external(wrong: QueryError) -> DataFusionError {
    DataFusionError::External(Box::new(wrong))
}

pub(super) fn constant<'a>(function: &str, what: &str, argument: &'a Expr) -> Result<&'a ScalarValue> {
    match argument {
        Expr::Literal(value, _) => Ok(value),
        other => plan_err!("{function}(): {what} must be a constant, not {other}"),
    }
}

pub(super) fn time_ns(value: &ScalarValue, now_ns: i64) -> Option<i64> {
    match value {
        ScalarValue::TimestampNanosecond(Some(ns), _) => Some(*ns),
        ScalarValue::TimestampMicrosecond(Some(us), _) => us.checked_mul(1_000),
        ScalarValue::TimestampMillisecond(Some(ms), _) => ms.checked_mul(1_000_000),
        ScalarValue::TimestampSecond(Some(s), _) => s.checked_mul(SECOND_NS),
        ScalarValue::Date32(Some(days)) => i64::from(*days).checked_mul(86_400 * SECOND_NS),
        ScalarValue::Int64(Some(seconds)) => seconds.checked_mul(SECOND_NS),
        ScalarValue::Float64(Some(seconds)) => {
            let ns = seconds * 1e9;
            (ns.is_finite() && ns.abs() < 9.2e18).then(|| (seconds * 1e3).round() as i64 * 1_000_000)
        }
        other => text_time_ns(other.try_as_str().flatten()?, now_ns),
    }
}

fn text_time_ns(text: &str, now_ns: i64) -> Option<i64> {
    let text = text.trim();
    if text == "now" {
        return Some(now_ns);
    }
    if let Some(before) = text.strip_prefix("now-").or_else(|| text.strip_prefix('-')) {
        return now_ns.checked_sub(logql::parse_duration_ns(before)?);
    }
    if let Ok(seconds) = text.parse::<f64>() {
        return time_ns(&ScalarValue::Float64(Some(seconds)), now_ns);
    }
    let parsed = arrow::compute::kernels::cast_utils::string_to_timestamp_nanos(text);
    parsed.ok()
}

fn step_ms(value: &ScalarValue) -> Option<i64> {
    let step = match value {
        ScalarValue::IntervalMonthDayNano(Some(interval)) if interval.months == 0 => {
            i64::from(interval.days).checked_mul(86_400_000)?.checked_add(interval.nanoseconds / 1_000_000)?
        }
        ScalarValue::IntervalDayTime(Some(interval)) => {
            i64::from(interval.days).checked_mul(86_400_000)?.checked_add(i64::from(interval.milliseconds))?
        }
        ScalarValue::Int64(Some(seconds)) => seconds.checked_mul(1_000)?,
        ScalarValue::Float64(Some(seconds)) if seconds.is_finite() => (seconds * 1e3) as i64,
        other => logql::parse_duration_ns(other.try_as_str().flatten()?)? / 1_000_000,
    };
    (step > 0).then_some(step)
}

fn whole(value: &ScalarValue) -> Option<usize> {
    match value {
        ScalarValue::Int64(Some(number)) => usize::try_from(*number).ok().filter(|number| *number > 0),
        _ => None,
    }
}

/// The rows of one call.
struct Answer {
    schema: SchemaRef,
    answers: Answers,
    call: Call,
    engine: Arc<Engine>,
    tenant: Tenant,
    snapshots: Snapshots,
}

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.call)
    }
}

#[async_trait]
impl TableProvider for Answer {
    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    fn table_type(&self) -> TableType {
        TableType::Temporary
    }

    async fn scan(
        &self,
        _: &dyn Session,
        projection: Option<&Vec<usize>>,
        _: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let columns = projection.cloned().unwrap_or_else(|| (0..self.schema.fields().len()).collect());
        let schema = Arc::new(self.schema.project(&columns)?);
        let asking = Asking {
            schema: schema.clone(),
            columns,
            answers: self.answers,
            call: self.call.clone(),
            engine: self.engine.clone(),
            tenant: self.tenant.clone(),
            snapshots: self.snapshots.clone(),
        };
        Ok(Arc::new(StreamingTableExec::try_new(schema, vec![Arc::new(asking)], None, vec![], false, limit)?))
    }
}

/// The question, asked when its rows are: a plan that is only explained asks nothing.
#[derive(Clone)]
struct Asking {
    schema: SchemaRef,
    columns: Vec<usize>,
    answers: Answers,
    call: Call,
    engine: Arc<Engine>,
    tenant: Tenant,
    snapshots: Snapshots,
}

impl fmt::Debug for Asking {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.call)
    }
}

impl Asking {
    async fn ask(self) -> Result<RecordBatch> {
        let snapshot = self.snapshots.take().await.map_err(|wrong| external(QueryError::from(wrong)))?;
        let engine = self.engine.over(Arc::new(Fixed(snapshot)));
        let all = self.answers.ask(&engine, &self.tenant, &self.call).await.map_err(external)?;
        let columns = self.columns.iter().map(|&column| all.column(column).clone()).collect();
        let options = RecordBatchOptions::new().with_row_count(Some(all.num_rows()));
        Ok(RecordBatch::try_new_with_options(self.schema.clone(), columns, &options)?)
    }
}

impl PartitionStream for Asking {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, _: Arc<TaskContext>) -> SendableRecordBatchStream {
        let asked = stream::once(self.clone().ask());
        Box::pin(RecordBatchStreamAdapter::new(self.schema.clone(), asked))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_steps() {
        let text = |text: &str| time_ns(&ScalarValue::from(text), 7_200 * SECOND_NS);
        assert_eq!(text("now"), Some(7_200 * SECOND_NS));
        assert_eq!(text("-1h"), Some(3_600 * SECOND_NS));
        assert_eq!(text("now-30m"), Some(5_400 * SECOND_NS));
        assert_eq!(text("1970-01-01T00:00:05Z"), Some(5 * SECOND_NS));
        assert_eq!(text("7.5"), Some(7_500_000_000));
        assert_eq!(text("yesterday"), None);
        assert_eq!(time_ns(&ScalarValue::from(5i64), 0), Some(5 * SECOND_NS));
        assert_eq!(step_ms(&ScalarValue::from("15s")), Some(15_000));
        assert_eq!(step_ms(&ScalarValue::new_interval_mdn(0, 1, SECOND_NS)), Some(86_401_000));
        assert_eq!(step_ms(&ScalarValue::new_interval_mdn(1, 0, 0)), None);
        assert_eq!(step_ms(&ScalarValue::from(0i64)), None);
        assert_eq!(whole(&ScalarValue::from(-1i64)), None);
    }
}
