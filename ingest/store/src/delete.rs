//! Deleting series: hidden at once by tombstones, gone from disk when the parts that have them are rewritten.

use crate::catalog::Commit;
use crate::part::{Part, Signal};
use crate::store::{Report, Store};
use crate::tombstones::{Covers, DeleteError, TOMBSTONES_MAX, Tombstone, Tombstones};
use anyhow::Context;
use model::{Matcher, SeriesSelect, Tenant, TimeRange};
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use tracing::{info, warn};

impl Store {
    /// From the return on, no snapshot has the samples and exemplars of series that pass one of the lists of matchers,
    /// in the range (ms), as far as they were there before the call; they stay deleted after a restart. What is
    /// written later shows, whatever its time.
    pub async fn delete_series(
        &self,
        tenant: &Tenant,
        selections: Vec<Vec<Matcher>>,
        range: TimeRange,
    ) -> Result<(), DeleteError> {
        let _one = self.rewriting.lock().await;
        let waiting: usize = self.state.read().tombstones.values().map(Vec::len).sum();
        if waiting + selections.len() > TOMBSTONES_MAX {
            return Err(DeleteError::TooMany);
        }
        // What is in memory becomes parts: a tombstone names what it covers by part.
        let (_, _flushed) = self.flush_and_hold().await?;
        let parts_before = self.next_part.load(Ordering::Relaxed);
        let tombstones = self.state.read().tombstones.clone();
        let next_id = tombstones.values().flatten().map(|known| known.id + 1).max().unwrap_or(0);
        let new: Vec<Arc<Tombstone>> = selections
            .into_iter()
            .zip(next_id..)
            .map(|(matchers, id)| Arc::new(Tombstone { id, matchers, range, parts_before }))
            .collect();
        let selected: Vec<SeriesSelect> = new.iter().map(|tombstone| tombstone.select()).collect();
        let exemplars_removed = {
            let mut book = self.exemplars.lock();
            selected.iter().flat_map(|select| book.remove(tenant, select)).collect()
        };
        let commit = Commit {
            tombstones: new.iter().map(|tombstone| (tenant.clone(), tombstone.clone())).collect(),
            exemplars_removed,
            ..Commit::default()
        };
        self.catalog.commit(&commit).await.context("committing a deletion")?;
        info!(%tenant, selections = new.len(), "series are deleted");
        self.counts.series_deletions.fetch_add(1, Ordering::Relaxed);
        self.change_tombstones(|of| of.entry(tenant.clone()).or_default().extend(new));
        Ok(())
    }

    fn change_tombstones(&self, change: impl FnOnce(&mut HashMap<Tenant, Vec<Arc<Tombstone>>>)) {
        let mut state = self.state.write();
        let mut changed = (*state.tombstones).clone();
        change(&mut changed);
        changed.retain(|_, of_tenant| !of_tenant.is_empty());
        state.tombstones = Arc::new(changed);
    }

    /// Rewrites the parts that have something deleted, and lets go of the tombstones that are done with then.
    pub async fn clean_tombstones(&self) -> anyhow::Result<Report> {
        let before: Tombstones = self.state.read().tombstones.clone();
        let mut report = Report::default();
        let mut unreadable: BTreeSet<i64> = BTreeSet::new();
        loop {
            let _one = self.rewriting.lock().await;
            let Some(part) = self.covered_part(&mut unreadable).await else { break };
            match self.merge_parts(std::slice::from_ref(&part), part.meta.level).await {
                Ok(new) => report.add(new.as_ref()),
                Err(wrong) => {
                    warn!(error = format!("{wrong:#}"), "a part with deleted series is left as it is");
                    unreadable.insert(part.meta.id);
                }
            }
        }
        let _one = self.rewriting.lock().await;
        let done = self.done_with(&before, &unreadable);
        if !done.is_empty() {
            let tombstones_done: Vec<i64> = done.iter().copied().collect();
            self.catalog.commit(&Commit { tombstones_done, ..Commit::default() }).await?;
            self.change_tombstones(|of| {
                of.values_mut().for_each(|of_tenant| of_tenant.retain(|known| !done.contains(&known.id)));
            });
        }
        Ok(report)
    }

    /// A part that a tombstone covers some series of.
    async fn covered_part(&self, unreadable: &mut BTreeSet<i64>) -> Option<Arc<Part>> {
        let (parts, tombstones) = {
            let state = self.state.read();
            (state.parts.clone(), state.tombstones.clone())
        };
        for (tenant, of_tenant) in tombstones.iter() {
            for part in parts.get(&(tenant.clone(), Signal::Metrics)).into_iter().flatten() {
                let covers = Covers::of(of_tenant, &part.meta);
                if covers.is_empty() || unreadable.contains(&part.meta.id) {
                    continue;
                }
                match part.metrics_index().await {
                    Ok(index) if covers.iter().any(|known| !index.select(&known.select()).is_empty()) => {
                        return Some(part.clone());
                    }
                    Ok(_) => {}
                    Err(wrong) => {
                        warn!(error = %wrong, "a part with deleted series cannot be read");
                        unreadable.insert(part.meta.id);
                    }
                }
            }
        }
        None
    }

    /// Those of `before` of which no part has anything any more.
    fn done_with(&self, before: &Tombstones, unreadable: &BTreeSet<i64>) -> BTreeSet<i64> {
        let state = self.state.read();
        let mut done = BTreeSet::new();
        for (tenant, of_tenant) in before.iter() {
            for tombstone in of_tenant {
                let parts = state.parts.get(&(tenant.clone(), Signal::Metrics)).into_iter().flatten();
                let mut held = parts.filter(|part| unreadable.contains(&part.meta.id));
                let alone = std::slice::from_ref(tombstone);
                if !held.any(|part| !Covers::of(alone, &part.meta).is_empty()) {
                    done.insert(tombstone.id);
                }
            }
        }
        done
    }
}
