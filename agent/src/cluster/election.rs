//! Standing for election, and watching while elected.

use super::{Cluster, LEASE, Told, lease, micro_time};
use lease::{Candidate, Note, Step};
use reqwest::{Method, StatusCode};
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
                info!("another agent watches the cluster");
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

    /// A moment after a change was told: were it noted with the next renewal only, who comes after a crash would tell it again.
    async fn noteworthy(&self) {
        self.news.notified().await;
        tokio::time::sleep(lease::NOTED_AFTER).await;
    }

    async fn give_back(&self, candidate: &Candidate) -> Result<(), String> {
        let namespace = &self.settings.namespace;
        let path = format!("/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases/{LEASE}");
        let (_, lease) = self.json(Method::GET, &path, None).await?;
        let note = self.told.lock().note.clone();
        if let Some(lease) = candidate.give_back(&lease, &micro_time(self.clock.now_ns()), &note) {
            self.json(Method::PUT, &path, Some(&lease)).await?;
        }
        Ok(())
    }

    pub(super) async fn campaign(&self, candidate: &mut Candidate) -> Result<bool, String> {
        let namespace = &self.settings.namespace;
        let all = format!("/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases");
        let one = format!("{all}/{LEASE}");
        let time = micro_time(self.clock.now_ns());
        let (status, found) = self.json(Method::GET, &one, None).await?;
        let (status, answer) = match status {
            StatusCode::NOT_FOUND => {
                let first = candidate.first(namespace, LEASE, &time);
                self.json(Method::POST, &all, Some(&first)).await?
            }
            StatusCode::OK => {
                // Not by the holder's name: it may be that of an agent that was here before us.
                if !self.counts.leads() {
                    let (before, sizes) = (lease::told(&found), lease::sizes(&found));
                    *self.told.lock() = Told { before, sizes, note: Note::default() };
                }
                let note = self.told.lock().note.clone();
                match candidate.decide(&found, Instant::now(), &time, &note) {
                    Step::Wait => return Ok(false),
                    Step::Write(lease) => self.json(Method::PUT, &one, Some(&lease)).await?,
                }
            }
            _ => (status, found),
        };
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
}
