//! What there is to ask for: series, label names and values, metadata.

use crate::{Engine, QueryError};
use ::promql::Expr;
use model::{Labels, Matcher, Metadata, SeriesSelect, Tenant, TimeRange};
use std::collections::BTreeSet;

/// Names or label sets, and why they may not be all.
pub struct Found<T> {
    pub found: Vec<T>,
    pub warnings: Vec<String>,
}

impl Engine {
    /// Label sets with samples in the range that pass one of the selectors (texts as `up{job="x"}`); all where there is
    /// none. Sorted, each once.
    pub async fn prom_series(
        &self,
        tenant: &Tenant,
        selectors: &[String],
        range: TimeRange,
    ) -> Result<Found<Labels>, QueryError> {
        let selections = selections(selectors)?;
        let snapshot = self.source.snapshot(tenant).await?;
        let mut found = BTreeSet::new();
        for matchers in selections {
            let series = snapshot.series(&SeriesSelect { matchers, range }).await?;
            found.extend(series.into_iter().map(|series| series.labels));
            if found.len() > self.limits.rows_max {
                return Err(QueryError::TooMuch(format!(
                    "more than {} series (query.rows_max); narrow the selector or the range",
                    self.limits.rows_max
                )));
            }
        }
        Ok(Found { found: found.into_iter().collect(), warnings: snapshot.warnings() })
    }

    /// Names of labels of such series, sorted.
    pub async fn prom_label_names(
        &self,
        tenant: &Tenant,
        selectors: &[String],
        range: TimeRange,
    ) -> Result<Found<String>, QueryError> {
        let snapshot = self.source.snapshot(tenant).await?;
        let mut found = BTreeSet::new();
        for matchers in selections(selectors)? {
            found.append(&mut snapshot.label_names(&SeriesSelect { matchers, range }).await?);
        }
        Ok(Found { found: found.into_iter().collect(), warnings: snapshot.warnings() })
    }

    /// Values of a label of such series, sorted.
    pub async fn prom_label_values(
        &self,
        tenant: &Tenant,
        name: &str,
        selectors: &[String],
        range: TimeRange,
    ) -> Result<Found<String>, QueryError> {
        let snapshot = self.source.snapshot(tenant).await?;
        let mut found = BTreeSet::new();
        for matchers in selections(selectors)? {
            found.append(&mut snapshot.label_values(name, &SeriesSelect { matchers, range }).await?);
        }
        Ok(Found { found: found.into_iter().collect(), warnings: snapshot.warnings() })
    }

    /// What senders said of metrics, by name.
    pub async fn prom_metadata(&self, tenant: &Tenant) -> Result<Vec<Metadata>, QueryError> {
        Ok(self.source.snapshot(tenant).await?.metadata().await?)
    }
}

/// Everything where there is no selector.
fn selections(selectors: &[String]) -> Result<Vec<Vec<Matcher>>, QueryError> {
    match selectors {
        [] => Ok(vec![vec![]]),
        texts => texts.iter().map(|text| matchers(text)).collect(),
    }
}

fn matchers(selector: &str) -> Result<Vec<Matcher>, QueryError> {
    match super::parse(selector)? {
        Expr::Selector(selector) if selector.modifiers == ::promql::Modifiers::default() => {
            Ok(selector.matchers)
        }
        _ => Err(QueryError::Bad(format!("{selector:?} is no series selector; write it as up{{job=\"x\"}}"))),
    }
}
