//! The engine as whoever evaluates rules sees it.

use super::{LOOKBACK_MS, PromAnswer, PromResult};
use crate::{Engine, QueryError};
use model::{Answer, Ask, AskError, Labels, SeriesPoints, Tenant};

#[async_trait::async_trait]
impl Ask for Engine {
    async fn instant(&self, tenant: &Tenant, query: &str, at_ms: i64) -> Result<Answer, AskError> {
        Ok(answer(self.promql_instant(tenant, query, at_ms, LOOKBACK_MS).await?))
    }

    async fn range(
        &self,
        tenant: &Tenant,
        query: &str,
        start_ms: i64,
        end_ms: i64,
        step_ms: i64,
    ) -> Result<Answer, AskError> {
        Ok(answer(self.promql_range(tenant, query, start_ms, end_ms, step_ms, LOOKBACK_MS).await?))
    }

    async fn check(&self, query: &str) -> Result<(), AskError> {
        self.parsed(query)?;
        Ok(())
    }
}

fn answer(answered: PromAnswer) -> Answer {
    let histograms = match &answered.result {
        PromResult::Vector(series) => series
            .iter()
            .filter_map(|series| Some((series.labels.clone(), series.histograms.last()?.1.clone())))
            .collect(),
        _ => vec![],
    };
    let series = match answered.result {
        PromResult::Vector(series) | PromResult::Matrix(series) => series
            .into_iter()
            .filter(|series| !series.points.is_empty())
            .map(|series| SeriesPoints { labels: series.labels, points: series.points })
            .collect(),
        PromResult::Scalar(point) => vec![SeriesPoints { labels: Labels::empty(), points: vec![point] }],
        PromResult::Text { .. } => vec![],
    };
    let warnings = answered.warnings.into_iter().chain(answered.infos).collect();
    Answer { series, histograms, warnings }
}

impl From<QueryError> for AskError {
    fn from(wrong: QueryError) -> AskError {
        let text = wrong.to_string();
        match wrong {
            QueryError::Bad(_) | QueryError::Execution(_) => AskError::BadQuery(text),
            QueryError::TooMuch(_) => AskError::TooMuch(text),
            QueryError::Timeout(_) => AskError::Timeout(text),
            QueryError::Cancelled | QueryError::Broken(_) => AskError::Broken(text),
        }
    }
}
