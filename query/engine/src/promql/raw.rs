//! Samples of series as they are stored, for whoever evaluates by itself: stale markers are among them.

use super::scan::Reader;
use super::{Found, PromSeries};
use crate::room::Room;
use crate::{Engine, QueryError};
use model::{Point, SeriesSelect, Tenant};
use std::sync::Arc;
use store::SampleBlock;

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
        let room = self.room();
        let found = self.off_thread(async move {
            let reader = Reader { snapshot, samples_max, samples: Arc::default() };
            let mut found = Vec::with_capacity(selections.len());
            for select in selections {
                let mut all = vec![];
                let was_apart =
                    reader.each(&select, &room, |block| add_series(block, &mut all, &room)).await?;
                if was_apart {
                    all.sort_by(|a, b| a.labels.cmp(&b.labels));
                }
                found.push(all);
            }
            Ok((found, room))
        });
        let (found, room) = found.await?;
        Ok(Found { found, warnings: told.warnings(), held: room.into() })
    }
}

fn add_series(block: &SampleBlock, to: &mut Vec<PromSeries>, room: &Room) -> Result<(), QueryError> {
    for run in model::runs(block.iter()) {
        let both = run.ts_ms.iter().zip(run.values);
        let points = both.map(|(ts_ms, value)| Point { ts_ms: *ts_ms, value: *value }).collect();
        let series = PromSeries { labels: run.labels, points, histograms: run.histograms };
        // Of starts alone there is nothing to hand out.
        if !series.points.is_empty() || !series.histograms.is_empty() {
            room.take(series.bytes())?;
            to.push(series);
        }
    }
    Ok(())
}
