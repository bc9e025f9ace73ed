//! Scraping, as Prometheus does it from its own `scrape_configs`: targets are found and relabelled, each is asked at its
//! interval, and what it exposes goes through the agent's queue.
//!
//! Targets are looked for again and again: one that is still there goes on undisturbed, one that is gone has its series
//! ended. `/api/v1/targets` shows them all.

pub(crate) mod client;
mod config;
mod discover;
mod relabel;
mod scraper;
mod target;

pub use config::{Job, Mistake, Parsed, parse as parse_jobs};

use crate::panics::{Panics, joined};
use crate::queue::Queue;
use client::Speaking;
pub(crate) use client::cause;
use discover::remote::Remote;
use discover::{Discovery, Groups};
use model::{Clock, Labels, Reading, Tenant};
use parking_lot::Mutex;
use scraper::Scraper;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use target::{Found, Target};
use tokio::sync::{Notify, Semaphore};
use tokio::task::JoinHandle;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

/// Between two looks for targets: files of `file_sd_configs` change by themselves.
const DISCOVER_EVERY: Duration = Duration::from_secs(5);

/// Targets of all jobs; the others are told and left out.
const TARGETS_MAX: usize = 10_000;

/// Scrapes at one time: each holds its body.
const SCRAPES_MAX: usize = 32;

/// Dropped targets that are shown.
const DROPPED_MAX: usize = 1_000;

/// A scrape that begins this little late is said to have begun on time: series of one target then share their times,
/// which is how they are stored best.
const ON_TIME: i64 = 2;

/// A target as the page shows it.
#[derive(Clone, Debug, Default)]
pub struct TargetStatus {
    pub job: String,
    pub url: String,
    pub discovered: Labels,
    pub labels: Labels,
    pub interval: Duration,
    pub timeout: Duration,
    /// Nothing before the first scrape.
    pub last: Option<LastScrape>,
}

#[derive(Clone, Debug)]
pub struct LastScrape {
    pub at_ms: i64,
    pub took: Duration,
    pub error: Option<String>,
}

/// All targets.
#[derive(Clone, Debug, Default)]
pub struct Targets {
    pub active: Vec<TargetStatus>,
    /// Job, and labels before relabelling.
    pub dropped: Vec<(String, Labels)>,
    pub dropped_counts: BTreeMap<String, usize>,
    pub jobs: Vec<String>,
}

/// URL and labels of each target that a job names itself.
/// What a job would scrape, as far as that is told without asking others.
pub fn urls(job: &Job) -> Vec<String> {
    let groups = Discovery::default().groups(job);
    let found = groups.iter().flat_map(|(group, place)| target::targets(job, group, place.as_ref()));
    let urls = found.filter_map(|found| match found {
        Found::Target(target) => Some(target.url),
        Found::Dropped(_) | Found::Wrong(_) => None,
    });
    urls.collect()
}

#[cfg(test)]
pub fn targets_of(job: &Job) -> Vec<(String, String)> {
    let found = job.groups.iter().flat_map(|group| target::targets(job, group, None));
    found
        .map(|found| match found {
            Found::Target(target) => (target.url, target.labels.to_string()),
            other => (format!("{other:?}"), String::new()),
        })
        .collect()
}

pub struct Scraping {
    queue: Arc<Queue>,
    tenant: Tenant,
    clock: Arc<dyn Clock>,
    panics: Panics,
    jobs: Mutex<Vec<Arc<Job>>>,
    changed: Notify,
    running: Mutex<BTreeMap<Key, Running>>,
    dropped: Mutex<Dropped>,
    /// Jobs with more targets than they may have, none of which is asked: each scrape fails with this.
    refused: Mutex<BTreeMap<String, String>>,
    turns: Semaphore,
    scrapes: AtomicU64,
    failures: AtomicU64,
}

/// Targets that rules drop: some of them, and how many there are by job.
#[derive(Clone, Default)]
struct Dropped {
    shown: Vec<(String, Labels)>,
    counts: BTreeMap<String, usize>,
}

/// A target is the same as long as all of it and of its job is.
type Key = (String, String, u64);

struct Running {
    status: Arc<Mutex<TargetStatus>>,
    gone: CancellationToken,
    task: JoinHandle<()>,
}

impl Scraping {
    pub fn new(
        queue: Arc<Queue>,
        tenant: Tenant,
        clock: Arc<dyn Clock>,
        jobs: Vec<Job>,
        panics: Panics,
    ) -> Arc<Scraping> {
        Arc::new(Scraping {
            queue,
            tenant,
            clock,
            panics,
            jobs: Mutex::new(jobs.into_iter().map(Arc::new).collect()),
            changed: Notify::new(),
            running: Mutex::default(),
            dropped: Mutex::default(),
            refused: Mutex::default(),
            turns: Semaphore::new(SCRAPES_MAX),
            scrapes: AtomicU64::new(0),
            failures: AtomicU64::new(0),
        })
    }

    /// Other jobs from here on; targets that stay as they were go on.
    pub fn set_jobs(&self, jobs: Vec<Job>) {
        *self.jobs.lock() = jobs.into_iter().map(Arc::new).collect();
        self.changed.notify_one();
    }

    pub async fn run(self: Arc<Self>, stop: CancellationToken) {
        let (mut discovery, mut remote) = (Discovery::default(), Remote::default());
        loop {
            let jobs = self.jobs.lock().clone();
            tokio::select! {
                () = remote.refresh(&jobs, &*self.clock) => {}
                () = stop.cancelled() => break,
            }
            // Globs and files may be on a slow disk.
            let looked = tokio::task::spawn_blocking(move || {
                let found = jobs.iter().map(|job| (job.clone(), discovery.groups(job))).collect::<Vec<_>>();
                (found, discovery)
            });
            match looked.await {
                Ok((mut found, kept)) => {
                    discovery = kept;
                    found.iter_mut().for_each(|(job, groups)| groups.extend(remote.groups(job)));
                    self.reconcile(found, &stop).await;
                }
                Err(wrong) => {
                    if let Ok(panic) = wrong.try_into_panic() {
                        self.panics.happened("scrape", &*panic);
                    }
                    discovery = Discovery::default();
                }
            }
            tokio::select! {
                () = tokio::time::sleep(DISCOVER_EVERY) => {}
                () = self.changed.notified() => {}
                () = stop.cancelled() => break,
            }
        }
        let running = std::mem::take(&mut *self.running.lock());
        for one in running.into_values() {
            let _ = one.task.await;
        }
    }

    /// Starts what is new, and ends what is no longer found.
    async fn reconcile(self: &Arc<Self>, found: Vec<(Arc<Job>, Groups)>, stop: &CancellationToken) {
        let mut wanted: BTreeMap<Key, (Arc<Job>, Target)> = BTreeMap::new();
        let mut dropped = Dropped::default();
        let mut refused: BTreeMap<String, String> = BTreeMap::new();
        for (job, groups) in found {
            let of_job = xxhash_rust::xxh3::xxh3_64(format!("{job:?}").as_bytes());
            let before = wanted.len();
            for (group, place) in &groups {
                for found in target::targets(&job, group, place.as_ref()) {
                    match found {
                        Found::Target(target) => {
                            let key = (job.name.clone(), format!("{} {}", target.labels, target.url), of_job);
                            wanted.insert(key, (job.clone(), *target));
                        }
                        Found::Dropped(labels) => {
                            let of_job = dropped.counts.entry(job.name.clone()).or_default();
                            *of_job += 1;
                            let kept = job.dropped_max == 0 || *of_job <= job.dropped_max;
                            if kept && dropped.shown.len() < DROPPED_MAX {
                                dropped.shown.push((job.name.clone(), labels));
                            }
                        }
                        Found::Wrong(why) => warn!(job = job.name, why, "a target is left out"),
                    }
                }
            }
            let of_this = wanted.len() - before;
            if wanted.len() > TARGETS_MAX {
                warn!(
                    job = job.name,
                    targets = of_this,
                    max = TARGETS_MAX,
                    "too many targets; the job is not scraped"
                );
                wanted.retain(|(name, ..), _| *name != job.name);
            } else if job.targets_max > 0 && of_this > job.targets_max {
                let max = job.targets_max;
                refused.insert(
                    job.name.clone(),
                    format!("target_limit exceeded (number of targets: {of_this}, limit: {max})"),
                );
            }
        }
        *self.dropped.lock() = dropped;
        *self.refused.lock() = refused;
        self.bury().await;
        let ended: Vec<Running> = {
            let mut running = self.running.lock();
            let gone: Vec<Key> = running.keys().filter(|key| !wanted.contains_key(*key)).cloned().collect();
            for (key, (job, target)) in wanted {
                running.entry(key).or_insert_with(|| self.start(job, target, stop.clone()));
            }
            gone.iter().filter_map(|key| running.remove(key)).collect()
        };
        ended.iter().for_each(|one| one.gone.cancel());
        for one in ended {
            let _ = one.task.await;
        }
    }

    /// Nobody scrapes a target whose task came to a panic: it is begun anew with the next look.
    async fn bury(&self) {
        let ended: Vec<Running> = {
            let mut running = self.running.lock();
            let ended: Vec<Key> = running
                .iter()
                .filter(|(_, one)| one.task.is_finished())
                .map(|(key, _)| key.clone())
                .collect();
            ended.iter().filter_map(|key| running.remove(key)).collect()
        };
        for one in ended {
            if let Err(wrong) = one.task.await
                && let Ok(panic) = wrong.try_into_panic()
            {
                self.panics.happened("scrape", &*panic);
            }
        }
    }

    fn start(self: &Arc<Self>, job: Arc<Job>, target: Target, stop: CancellationToken) -> Running {
        let status = Arc::new(Mutex::new(TargetStatus {
            job: job.name.clone(),
            url: target.url.clone(),
            discovered: target.discovered.clone(),
            labels: target.labels.clone(),
            interval: target.interval,
            timeout: target.timeout,
            last: None,
        }));
        let gone = CancellationToken::new();
        let task = tokio::spawn(self.clone().scrape_on(job, target, status.clone(), gone.clone(), stop));
        Running { status, gone, task }
    }

    /// One target, until it is gone or the agent stops.
    async fn scrape_on(
        self: Arc<Self>,
        job: Arc<Job>,
        target: Target,
        status: Arc<Mutex<TargetStatus>>,
        gone: CancellationToken,
        stop: CancellationToken,
    ) {
        let target = Arc::new(target);
        let mut scraper = Scraper::new(job.clone(), target.clone());
        let mut speaking = Speaking::new(&job.client, &target.url);
        // Targets of one job are spread over the interval, always alike.
        let interval_ms = target.interval.as_millis() as u64;
        let hash = target.labels.fingerprint() ^ xxhash_rust::xxh3::xxh3_64(target.url.as_bytes());
        let now_ms = self.clock.now_ms();
        let offset_ms =
            (hash % interval_ms + interval_ms - now_ms.rem_euclid(interval_ms as i64) as u64) % interval_ms;
        let first = tokio::time::Instant::now() + Duration::from_millis(offset_ms);
        let mut ticks = tokio::time::interval_at(first, target.interval);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let mut nominal_ms = now_ms + offset_ms as i64;
        loop {
            tokio::select! {
                _ = ticks.tick() => {}
                () = gone.cancelled() => break,
                () = stop.cancelled() => return,
            }
            let began_ms = self.clock.now_ms();
            while nominal_ms + (interval_ms as i64) <= began_ms {
                nominal_ms += interval_ms as i64;
            }
            let at_ms = if (began_ms - nominal_ms).abs() <= ON_TIME { nominal_ms } else { began_ms };
            nominal_ms += interval_ms as i64;
            let began = Instant::now();
            let refused = self.refused.lock().get(&job.name).cloned();
            let asked = async {
                if let Some(why) = refused {
                    return Err(why);
                }
                let _turn = self.turns.acquire().await;
                client::fetch(speaking.now()?, &job, &target).await
            };
            let fetched = tokio::select! {
                fetched = asked => fetched,
                () = gone.cancelled() => break,
                () = stop.cancelled() => return,
            };
            let took = began.elapsed();
            self.scrapes.fetch_add(1, Ordering::Relaxed);
            // A body of megabytes takes longer than an async thread may be kept.
            let worked = tokio::task::spawn_blocking(move || {
                let outcome = scraper.scraped(at_ms, took, fetched);
                (outcome, scraper)
            });
            let Some((outcome, kept)) = joined(worked.await) else { return };
            scraper = kept;
            if let Some(why) = &outcome.error {
                self.failures.fetch_add(1, Ordering::Relaxed);
                debug!(url = target.url, why, "scrape failed");
            }
            status.lock().last = Some(LastScrape { at_ms, took, error: outcome.error });
            self.queue.keep_metrics(&self.tenant, &outcome.batch).await;
        }
        let ended = scraper.ended(self.clock.now_ms());
        self.queue.keep_metrics(&self.tenant, &ended).await;
    }

    pub fn targets(&self) -> Targets {
        let active = self.running.lock().values().map(|running| running.status.lock().clone()).collect();
        let Dropped { shown: dropped, counts: dropped_counts } = self.dropped.lock().clone();
        let jobs = self.jobs.lock().iter().map(|job| job.name.clone()).collect();
        Targets { active, dropped, dropped_counts, jobs }
    }

    pub fn readings(&self) -> Vec<Reading> {
        let count = |count: &AtomicU64| count.load(Ordering::Relaxed) as f64;
        let targets = self.running.lock().len() as f64;
        vec![
            Reading::gauge("binnacle_agent_scrape_targets", "Targets that are scraped", targets),
            Reading::counter("binnacle_agent_scrapes_total", "Scrapes of targets", count(&self.scrapes)),
            Reading::counter(
                "binnacle_agent_scrape_failures_total",
                "Scrapes that failed",
                count(&self.failures),
            ),
        ]
    }
}
