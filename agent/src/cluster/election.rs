//! Standing for election, and watching while elected.

use super::known;
use super::{Cluster, LEASE, lease, micro_time};
use crate::queue::{self, Queue, Record};
use lease::{Candidate, Note, Step};
use reqwest::{Method, StatusCode};
use serde_json::Value;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use tokio_util::sync::{CancellationToken, DropGuard};
use tracing::{debug, info, warn};

impl Cluster {
    /// Stands for election, and watches while elected.
    pub async fn run(self: Arc<Self>, stop: CancellationToken) {
        let mut candidate = Candidate::new(self.settings.identity.clone());
        // It ends with its guard, so with a panic here too: who is begun anew begins another.
        let mut term: Option<(DropGuard, Vec<tokio::task::JoinHandle<()>>)> = None;
        self.counts.leads.store(0, Ordering::Relaxed);
        *self.renewed.lock() = None;
        let mut said = String::new();
        loop {
            let asked = Instant::now();
            let renewed = *self.renewed.lock();
            let patience = renewed.map_or(Duration::MAX, |renewed| lease::left(renewed, asked));
            let answer = tokio::time::timeout(patience, self.campaign(&mut candidate)).await;
            let leads = match answer.unwrap_or_else(|_| Err("no answer within the lease's time".to_owned())) {
                Ok(leads) => {
                    said.clear();
                    if leads {
                        *self.renewed.lock() = Some(asked);
                    }
                    leads
                }
                Err(why) => {
                    if why != said {
                        warn!(why, "the lease for watching the cluster cannot be had");
                        said = why;
                    }
                    // Held until it would have run out for the others too.
                    term.is_some() && self.holds()
                }
            };
            if leads && term.is_none() {
                info!(identity = self.settings.identity, "this agent watches the cluster");
                let ending = stop.child_token();
                let tasks = self.clone().begin(&ending);
                term = Some((ending.drop_guard(), tasks));
            } else if !leads && let Some((ending, tasks)) = term.take() {
                info!("this agent watches the cluster no more");
                drop(ending);
                for task in tasks {
                    let _ = task.await;
                }
            }
            if term.is_none() {
                *self.renewed.lock() = None;
            }
            self.counts.leads.store(u64::from(term.is_some()), Ordering::Relaxed);
            tokio::select! {
                () = tokio::time::sleep(lease::RENEW_EVERY.saturating_sub(asked.elapsed())) => {}
                () = self.noteworthy() => {}
                () = stop.cancelled() => break,
            }
        }
        if let Some((_, tasks)) = term {
            for task in tasks {
                let _ = task.await;
            }
            if let Err(why) = self.give_back(&candidate).await {
                debug!(why, "the lease runs out by itself");
            }
        }
    }

    /// A moment after something was held: it is told when the lease says so.
    async fn noteworthy(&self) {
        self.news.notified().await;
        tokio::time::sleep(lease::NOTED_AFTER).await;
    }

    async fn give_back(&self, candidate: &Candidate) -> Result<(), String> {
        let namespace = &self.settings.namespace;
        let path = format!("/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases/{LEASE}");
        let (_, lease) = self.json(Method::GET, &path, None).await?;
        self.settle(&lease).await;
        let note = self.note();
        if let Some(next) = candidate.give_back(&lease, &micro_time(self.clock.now_ns()), &note) {
            self.will_replace(&lease).await;
            let (status, written) = self.json(Method::PUT, &path, Some(&next)).await?;
            if status == StatusCode::OK {
                self.settle(&written).await;
            }
        }
        Ok(())
    }

    pub(super) async fn campaign(&self, candidate: &mut Candidate) -> Result<bool, String> {
        let namespace = &self.settings.namespace;
        let all = format!("/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases");
        let one = format!("{all}/{LEASE}");
        let time = micro_time(self.clock.now_ns());
        let (status, found) = self.json(Method::GET, &one, None).await?;
        let begins = self.begins(&found, &candidate.identity);
        let (status, answer) = match status {
            StatusCode::NOT_FOUND => {
                let first = candidate.first(namespace, LEASE, &time);
                self.json(Method::POST, &all, Some(&first)).await?
            }
            StatusCode::OK => {
                self.settle(&found).await;
                let note = if begins { Note::default() } else { self.note() };
                match candidate.decide(&found, Instant::now(), &time, &note) {
                    Step::Wait => return Ok(false),
                    Step::Write(lease) => {
                        if !begins {
                            self.will_replace(&found).await;
                        }
                        self.json(Method::PUT, &one, Some(&lease)).await?
                    }
                }
            }
            _ => (status, found),
        };
        if matches!(status, StatusCode::OK | StatusCode::CREATED) {
            self.settle(&answer).await;
            if begins {
                self.begin_holding(&answer, &candidate.identity).await;
            }
        }
        match status {
            StatusCode::OK | StatusCode::CREATED => Ok(true),
            // Another was quicker.
            StatusCode::CONFLICT => Ok(false),
            StatusCode::FORBIDDEN => Err(format!(
                "403: the agent's Role in namespace {namespace} must allow get, create and update on `leases` \
                 (apiGroup coordination.k8s.io); it says: {}",
                answer["message"].as_str().unwrap_or("")
            )),
            other => Err(format!("{other}: {}", answer["message"].as_str().unwrap_or(""))),
        }
    }

    /// Whether a term begins where we take this lease. One that nobody else held meanwhile goes on with what is known and
    /// held, whatever became of asking for it. The name alone does not say so: it may be that of an agent before us.
    fn begins(&self, lease: &Value, identity: &str) -> bool {
        let held = &self.told.lock().held;
        let was_ours = held.holder() == identity && !held.is_of_before;
        !(self.counts.leads() || (was_ours && lease["spec"]["holderIdentity"] == identity))
    }

    /// What the next lease says.
    pub(super) fn note(&self) -> Note {
        let told = self.told.lock();
        let lately = told.lately.note(self.clock.now_ns());
        Note { number: Some(told.held.number()), lately: Some(lately), ..told.note.clone() }
    }

    /// A term: what was known in an earlier one is old, and nothing of it may be told in this one. What was held and no lease
    /// says is found again by the first lists.
    pub(super) async fn begin_holding(&self, lease: &Value, identity: &str) {
        self.known.iter().for_each(|known| known.lock().forget());
        {
            let told = &mut *self.told.lock();
            (told.before, told.sizes) = (lease::told(lease), lease::sizes(lease));
            told.lately = lease::lately(lease, self.clock.now_ns());
            told.note = Note::default();
            told.held.begin(identity, lease::told_by(lease, identity));
        }
        self.write_down().await;
    }

    /// Before a lease is replaced by one that says that what is held is told: a kill in between must neither lose it nor
    /// tell it twice.
    pub(super) async fn will_replace(&self, lease: &Value) {
        self.told.lock().held.replaces(known::version_of(lease));
        self.write_down().await;
    }

    async fn write_down(&self) {
        let (path, bytes) = (self.path.clone(), self.told.lock().held.to_bytes());
        let written = tokio::task::spawn_blocking(move || match bytes {
            Some(bytes) => queue::write_whole(&path, &bytes),
            None if path.exists() => std::fs::remove_file(&path),
            None => Ok(()),
        });
        if let Ok(Err(wrong)) = written.await {
            warn!(error = %wrong, "changes of the cluster cannot be written down; a kill in this moment may lose some");
        }
    }

    /// What the lease says is told goes on its way. What it does not say while another holds it, that one tells.
    pub(super) async fn settle(&self, lease: &Value) {
        let (told, is_of_before) = {
            let held = &mut self.told.lock().held;
            let number = lease::told_by(lease, held.holder());
            let told = held.take(number);
            if lease["spec"]["holderIdentity"] != held.holder() {
                held.fell_to_another(&known::version_of(lease));
            }
            (told, held.is_of_before)
        };
        if told.is_empty() {
            return;
        }
        // A task of its own: whoever is tired of waiting for the lease must not leave it half done.
        let queued = tokio::spawn(queue_all(self.queue.clone(), told, is_of_before));
        let _ = queued.await;
        self.write_down().await;
        self.settled.notify_waiters();
    }
}

/// Who was killed while it queued what it had told does not queue it again.
async fn queue_all(queue: Arc<Queue>, told: Vec<Record>, is_of_before: bool) {
    let new = if is_of_before { queue.clone().new_of(told).await } else { told };
    for batch in new {
        queue.keep_packed(batch).await;
    }
}
