//! Deleting log records: hidden at once, taken back while it may be, gone from disk when their parts are rewritten.

use crate::catalog::Commit;
use crate::log_deletions::{Hidden, LogDeletion, LogDeletions, PROCESSED_MAX};
use crate::part::{Damaged, Part, Signal};
use crate::rows::part::{Select, read};
use crate::store::{Report, Store};
use crate::tombstones::{DeleteError, TOMBSTONES_MAX};
use anyhow::Context;
use futures::TryStreamExt;
use model::{LogSelect, Tenant, TimeRange};
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tracing::{info, warn};

/// A deletion as it is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogDeletionView {
    pub request_id: String,
    pub query: String,
    /// Nanoseconds, both ends included.
    pub range: TimeRange,
    pub created_ms: i64,
    pub processed: bool,
}

/// Why a deletion is not taken back.
#[derive(Debug, thiserror::Error)]
pub enum CancelError {
    #[error("could not find delete request with given id")]
    Unknown,
    #[error("deletion of request which is in process or already processed is not allowed")]
    TooLate,
    #[error("a deletion can be taken back for {0:?}")]
    PastDeadline(Duration),
    #[error("{0:#}")]
    Broken(#[from] anyhow::Error),
}

impl Store {
    /// From the return on, no snapshot shows records that the query names, in the range (ns), as far as they were there
    /// before the call; they stay deleted after a restart. What is written later shows, whatever its time. Returns the
    /// id by which the deletion is known.
    pub async fn delete_logs(
        &self,
        tenant: &Tenant,
        query: &str,
        range: TimeRange,
    ) -> Result<String, DeleteError> {
        let wanted = (self.config.read_log_query)(query).map_err(DeleteError::Invalid)?;
        let _one = self.rewriting.lock().await;
        let known = self.state.read().log_deletions.clone();
        if known.values().flatten().filter(|deletion| !deletion.processed).count() >= TOMBSTONES_MAX {
            return Err(DeleteError::TooMany);
        }
        // What is in memory becomes parts: a deletion names what it covers by part.
        let (_, _flushed) = self.flush_and_hold().await?;
        let id = known.values().flatten().map(|deletion| deletion.id + 1).max().unwrap_or(1);
        let created_ms = self.clock.now_ms();
        let identity = format!("{tenant}\n{query}\n{range:?}\n{created_ms}\n{id}");
        let deletion = Arc::new(LogDeletion {
            id,
            request_id: format!("{:08x}", xxhash_rust::xxh3::xxh3_64(identity.as_bytes()) as u32),
            query: query.to_owned(),
            range,
            created_ms,
            parts_before: self.next_part.load(Ordering::Relaxed),
            parts_also: BTreeSet::new(),
            processed: false,
            wanted,
        });
        let log_deletions = vec![(tenant.clone(), deletion.clone())];
        let commit = Commit { log_deletions, ..Commit::default() };
        self.catalog.commit(&commit).await.context("committing a deletion")?;
        info!(%tenant, query, request = deletion.request_id, "lines are deleted");
        self.counts.log_deletions.fetch_add(1, Ordering::Relaxed);
        let request_id = deletion.request_id.clone();
        self.change_log_deletions(|of| of.entry(tenant.clone()).or_default().push(deletion));
        Ok(request_id)
    }

    /// A tenant's deletions, the oldest first.
    pub fn log_deletions(&self, tenant: &Tenant) -> Vec<LogDeletionView> {
        let known = self.state.read().log_deletions.clone();
        let view = |deletion: &Arc<LogDeletion>| LogDeletionView {
            request_id: deletion.request_id.clone(),
            query: deletion.query.clone(),
            range: deletion.range,
            created_ms: deletion.created_ms,
            processed: deletion.processed,
        };
        known.get(tenant).into_iter().flatten().map(view).collect()
    }

    /// What a deletion hid shows again.
    pub async fn cancel_log_deletion(&self, tenant: &Tenant, request_id: &str) -> Result<(), CancelError> {
        let _one = self.rewriting.lock().await;
        let deletion = self.log_deletion(tenant, request_id)?;
        if self.is_due(&deletion) {
            return Err(CancelError::PastDeadline(self.config.delete_cancel_period));
        }
        self.take_back(tenant, &deletion).await
    }

    /// The same past the time in which it may be: what is off the disk by then does not come back.
    pub async fn cancel_what_is_left(&self, tenant: &Tenant, request_id: &str) -> Result<(), CancelError> {
        let _one = self.rewriting.lock().await;
        let deletion = self.log_deletion(tenant, request_id)?;
        self.take_back(tenant, &deletion).await
    }

    /// One that is not done with.
    fn log_deletion(&self, tenant: &Tenant, request_id: &str) -> Result<Arc<LogDeletion>, CancelError> {
        let known = self.state.read().log_deletions.clone();
        let of_tenant = known.get(tenant).map(Vec::as_slice).unwrap_or_default();
        let found = of_tenant.iter().find(|deletion| deletion.request_id == request_id);
        let deletion = found.ok_or(CancelError::Unknown)?;
        if deletion.processed { Err(CancelError::TooLate) } else { Ok(deletion.clone()) }
    }

    async fn take_back(&self, tenant: &Tenant, deletion: &LogDeletion) -> Result<(), CancelError> {
        self.forget_log_deletions(BTreeSet::from([deletion.id])).await?;
        info!(%tenant, request = deletion.request_id, "a deletion is taken back");
        Ok(())
    }

    /// It may not be taken back any more.
    pub(crate) fn is_due(&self, deletion: &LogDeletion) -> bool {
        let period_ms = i64::try_from(self.config.delete_cancel_period.as_millis()).unwrap_or(i64::MAX);
        deletion.created_ms.saturating_add(period_ms) <= self.clock.now_ms()
    }

    fn change_log_deletions(&self, change: impl FnOnce(&mut HashMap<Tenant, Vec<Arc<LogDeletion>>>)) {
        let mut state = self.state.write();
        let mut changed = (*state.log_deletions).clone();
        change(&mut changed);
        changed.retain(|_, of_tenant| !of_tenant.is_empty());
        state.log_deletions = Arc::new(changed);
    }

    async fn forget_log_deletions(&self, gone: BTreeSet<i64>) -> anyhow::Result<()> {
        let log_deletions_gone = gone.iter().copied().collect();
        self.catalog.commit(&Commit { log_deletions_gone, ..Commit::default() }).await?;
        self.change_log_deletions(|of| {
            of.values_mut().for_each(|of_tenant| of_tenant.retain(|known| !gone.contains(&known.id)));
        });
        Ok(())
    }

    /// Rewrites the parts that have lines of deletions that stand, and says which deletions are done with then.
    pub async fn carry_out_log_deletions(&self) -> anyhow::Result<Report> {
        let mut report = Report::default();
        let mut looked_at = LookedAt::default();
        loop {
            let _one = self.rewriting.lock().await;
            let Some(part) = self.part_with_deleted_lines(&mut looked_at).await else { break };
            match self.merge_parts(std::slice::from_ref(&part), part.meta.level).await {
                Ok(new) => report.add(new.as_ref()),
                Err(wrong) => {
                    warn!(error = format!("{wrong:#}"), "a part with deleted lines is left as it is");
                    looked_at.unreadable.insert(part.meta.id);
                }
            }
        }
        let _one = self.rewriting.lock().await;
        self.settle_log_deletions(&looked_at).await?;
        Ok(report)
    }

    async fn part_with_deleted_lines(&self, looked_at: &mut LookedAt) -> Option<Arc<Part>> {
        let (parts, deletions) = {
            let state = self.state.read();
            (state.parts.clone(), state.log_deletions.clone())
        };
        for (tenant, of_tenant) in deletions.iter() {
            for part in parts.get(&(tenant.clone(), Signal::Logs)).into_iter().flatten() {
                for deletion in
                    of_tenant.iter().filter(|known| known.concerns(&part.meta) && self.is_due(known))
                {
                    if looked_at.unreadable.contains(&part.meta.id)
                        || looked_at.has_none.contains(&(deletion.id, part.meta.id))
                    {
                        continue;
                    }
                    match has_any(part, deletion).await {
                        Ok(true) => return Some(part.clone()),
                        Ok(false) => {
                            looked_at.has_none.insert((deletion.id, part.meta.id));
                        }
                        Err(wrong) => {
                            warn!(error = %wrong, "a part with deleted lines cannot be read");
                            looked_at.unreadable.insert(part.meta.id);
                        }
                    }
                }
            }
        }
        None
    }

    /// Deletions of which no part has anything are processed; of those only the newest are kept.
    async fn settle_log_deletions(&self, looked_at: &LookedAt) -> anyhow::Result<()> {
        let (parts, deletions) = {
            let state = self.state.read();
            (state.parts.clone(), state.log_deletions.clone())
        };
        let mut done: Vec<(Tenant, Arc<LogDeletion>)> = vec![];
        for (tenant, of_tenant) in deletions.iter() {
            let of_logs = parts.get(&(tenant.clone(), Signal::Logs)).map(Vec::as_slice).unwrap_or_default();
            for deletion in of_tenant.iter().filter(|known| !known.processed && self.is_due(known)) {
                let mut concerned = of_logs.iter().filter(|part| deletion.concerns(&part.meta));
                if concerned.all(|part| looked_at.has_none.contains(&(deletion.id, part.meta.id))) {
                    let processed = LogDeletion {
                        processed: true,
                        parts_also: BTreeSet::new(),
                        ..deletion.as_ref().clone()
                    };
                    done.push((tenant.clone(), Arc::new(processed)));
                }
            }
        }
        if !done.is_empty() {
            self.catalog.commit(&Commit { log_deletions: done.clone(), ..Commit::default() }).await?;
            self.change_log_deletions(|of| replace(of, done));
        }
        let known = self.state.read().log_deletions.clone();
        let gone = too_many(&known);
        if gone.is_empty() { Ok(()) } else { self.forget_log_deletions(gone).await }
    }
}

/// What was found out of parts while deletions are carried out.
#[derive(Default)]
struct LookedAt {
    unreadable: BTreeSet<i64>,
    /// Deletion and part.
    has_none: BTreeSet<(i64, i64)>,
}

/// Puts deletions in the place of what they were before.
pub(crate) fn replace(
    of: &mut HashMap<Tenant, Vec<Arc<LogDeletion>>>,
    changed: Vec<(Tenant, Arc<LogDeletion>)>,
) {
    for (tenant, deletion) in changed {
        let of_tenant = of.entry(tenant).or_default();
        if let Some(place) = of_tenant.iter_mut().find(|known| known.id == deletion.id) {
            *place = deletion;
        }
    }
}

fn too_many(deletions: &LogDeletions) -> BTreeSet<i64> {
    let mut processed: Vec<i64> =
        deletions.values().flatten().filter(|known| known.processed).map(|known| known.id).collect();
    processed.sort_unstable();
    processed.truncate(processed.len().saturating_sub(PROCESSED_MAX));
    processed.into_iter().collect()
}

/// Whether a part has a line that the deletion names.
async fn has_any(part: &Arc<Part>, deletion: &Arc<LogDeletion>) -> Result<bool, Damaged> {
    let select = LogSelect { matchers: deletion.wanted.matchers.clone(), ..LogSelect::all(deletion.range) };
    let index = part.rows_index().await?;
    if index.streams(&select).is_empty() {
        return Ok(false);
    }
    let hidden = Hidden { deletions: vec![deletion.clone()], periods: None };
    let mut rows = read(part.clone(), Select::Logs(select), hidden.columns().0, None).await?;
    while let Some(batch) = rows.try_next().await? {
        let kept = hidden.kept(&batch).map_err(|wrong| part.damaged(&part.meta.data_path(), wrong))?;
        if kept.true_count() < kept.len() {
            return Ok(true);
        }
    }
    Ok(false)
}
