//! How many lines streams have over time, by their labels. `{}` is every stream here, which no query can ask for.

use super::streams::matchers_of;
use super::{Direction, LogResult, NS_PER_MS};
use crate::{Engine, QueryError};
use logql::{Expr, Grouping, LogExpr, LogRange, MetricExpr, RangeOp, VectorOp};
use model::{SeriesPoints, Tenant, TimeRange};

/// Times at which lines are counted: the first and the last, and how far they lie apart.
#[derive(Clone, Copy, Debug)]
pub struct CountTimes {
    pub range: TimeRange,
    pub step_ms: i64,
}

impl Engine {
    /// Lines in the `window_ms` before each of the times, by the values of these labels.
    pub async fn log_counts(
        &self,
        tenant: &Tenant,
        selector: &str,
        names: &[String],
        window_ms: i64,
        times: CountTimes,
    ) -> Result<Vec<SeriesPoints>, QueryError> {
        let steps = self.steps(times.range.start, times.range.end, times.step_ms)?;
        let log = LogExpr { matchers: matchers_of(selector)?, stages: vec![] };
        let range_ns = window_ms.saturating_mul(NS_PER_MS);
        let range = Box::new(LogRange { log, unwrap: None, range_ns, offset_ns: 0 });
        let count = MetricExpr::Range { op: RangeOp::Count, param: None, range, grouping: None };
        let mut labels = names.to_vec();
        labels.sort_unstable();
        labels.dedup();
        let grouping = Some(Grouping { without: false, written: labels.clone(), labels });
        let sum = MetricExpr::Vector { op: VectorOp::Sum, param: None, expr: Box::new(count), grouping };
        let (sum, direction) = (Expr::Metric(sum), Direction::Backward);
        match self.logql(tenant, sum, steps, times.range, 1, direction, false).await?.result {
            LogResult::Matrix(series) => Ok(series),
            _ => Ok(vec![]),
        }
    }
}
