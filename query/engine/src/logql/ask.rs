//! The engine as whoever evaluates rules over logs sees it.

use super::{Direction, LogAnswer, LogResult};
use crate::Engine;
use logql::Expr;
use model::{Answer, Ask, AskError, Labels, SeriesPoints, Tenant};
use std::sync::Arc;

const NS_PER_MS: i64 = 1_000_000;

/// Answers LogQL that gives numbers.
pub struct LogAsk(Arc<Engine>);

impl LogAsk {
    pub fn new(engine: Arc<Engine>) -> LogAsk {
        LogAsk(engine)
    }

    /// Whether a query can be a rule.
    pub fn checked(query: &str) -> Result<(), AskError> {
        match logql::parse(query) {
            Ok(Expr::Metric(_)) => Ok(()),
            Ok(Expr::Log(_)) => Err(AskError::BadQuery(
                "parse error at line 1, col 1: a rule needs a query that gives numbers, as \
                 sum(rate({app=\"web\"} |= \"error\" [5m])) > 1"
                    .into(),
            )),
            Err(wrong) => Err(AskError::BadQuery(wrong.to_string())),
        }
    }
}

#[async_trait::async_trait]
impl Ask for LogAsk {
    async fn instant(&self, tenant: &Tenant, query: &str, at_ms: i64) -> Result<Answer, AskError> {
        LogAsk::checked(query)?;
        let at_ns = at_ms.saturating_mul(NS_PER_MS);
        Ok(answer(self.0.logql_instant(tenant, query, at_ns, 1, Direction::Backward).await?))
    }

    async fn range(
        &self,
        tenant: &Tenant,
        query: &str,
        start_ms: i64,
        end_ms: i64,
        step_ms: i64,
    ) -> Result<Answer, AskError> {
        LogAsk::checked(query)?;
        let (start, end) = (start_ms.saturating_mul(NS_PER_MS), end_ms.saturating_mul(NS_PER_MS));
        Ok(answer(self.0.logql_range(tenant, query, start, end, step_ms, 1, Direction::Backward).await?))
    }

    async fn check(&self, query: &str) -> Result<(), AskError> {
        LogAsk::checked(query)
    }
}

fn answer(answered: LogAnswer) -> Answer {
    let series = match answered.result {
        LogResult::Vector(series) | LogResult::Matrix(series) => series,
        LogResult::Scalar(point) => vec![SeriesPoints { labels: Labels::empty(), points: vec![point] }],
        LogResult::Streams(_) => vec![],
    };
    Answer { series, warnings: answered.warnings, ..Answer::default() }
}
