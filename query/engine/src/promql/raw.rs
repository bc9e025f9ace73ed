//! Samples of series as they are stored, for whoever evaluates by itself: stale markers are among them.

use super::scan::Reader;
use super::{Found, PromSeries};
use crate::{Engine, QueryError};
use model::{Point, SeriesSelect, Tenant};
use std::sync::Arc;

impl Engine {
    /// For each selection, its series in the order of their labels. All read one picture of the data, and together no
    /// more samples than one query may.
    pub async fn prom_raw(
        &self,
        tenant: &Tenant,
        selections: Vec<SeriesSelect>,
    ) -> Result<Found<Vec<PromSeries>>, QueryError> {
        let snapshot = self.source.snapshot(tenant).await?;
        let (told, samples_max) = (snapshot.clone(), self.limits.samples_max);
        let found = self.off_thread(async move {
            let reader = Reader { snapshot, samples_max, samples: Arc::default() };
            let mut found = Vec::with_capacity(selections.len());
            for SeriesSelect { matchers, range } in selections {
                let block = reader.read(matchers, range).await?;
                let series = model::runs(block.iter()).into_iter().map(|run| PromSeries {
                    points: run
                        .ts_ms
                        .iter()
                        .zip(run.values)
                        .map(|(ts_ms, value)| Point { ts_ms: *ts_ms, value: *value })
                        .collect(),
                    labels: run.labels,
                    histograms: run.histograms,
                });
                // Of starts alone there is nothing to hand out.
                found.push(series.filter(|s| !s.points.is_empty() || !s.histograms.is_empty()).collect());
            }
            Ok(found)
        });
        Ok(Found { found: found.await?, warnings: told.warnings() })
    }
}
