//! The contract between whoever evaluates rules and whoever answers PromQL.

use crate::histogram::Histogram;
use crate::labels::Labels;
use crate::tenant::Tenant;
use std::sync::Arc;

/// One series of an answer.
#[derive(Clone, Debug, PartialEq)]
pub struct SeriesPoints {
    pub labels: Labels,
    pub points: Vec<Point>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Point {
    pub ts_ms: i64,
    pub value: f64,
}

/// An answer of the metrics language: for an instant query each series has one point. A scalar is one series without
/// labels.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Answer {
    pub series: Vec<SeriesPoints>,
    /// Of an instant query, the series whose value is a native histogram. A server that is not ours tells none: Prometheus'
    /// JSON does not have all of one.
    pub histograms: Vec<(Labels, Arc<Histogram>)>,
    /// Not empty where the answer may be incomplete or the query doubtful.
    pub warnings: Vec<String>,
}

#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum AskError {
    /// The query itself is wrong; the same query fails again. Carries line and column in its text.
    #[error("{0}")]
    BadQuery(String),
    /// Past a limit; the text names it.
    #[error("{0}")]
    TooMuch(String),
    #[error("query timed out: {0}")]
    Timeout(String),
    /// Not the query's fault; try again.
    #[error("{0}")]
    Broken(String),
}

/// Answers PromQL.
#[async_trait::async_trait]
pub trait Ask: Send + Sync + 'static {
    /// Value of each series at `at_ms`.
    async fn instant(&self, tenant: &Tenant, query: &str, at_ms: i64) -> Result<Answer, AskError>;

    /// Values at `start_ms`, `start_ms + step_ms`, … up to `end_ms`, where the series has one.
    async fn range(
        &self,
        tenant: &Tenant,
        query: &str,
        start_ms: i64,
        end_ms: i64,
        step_ms: i64,
    ) -> Result<Answer, AskError>;

    /// Parses and type-checks without reading data.
    async fn check(&self, query: &str) -> Result<(), AskError>;
}
