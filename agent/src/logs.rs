//! Log lines of this machine: container files under /var/log/pods, plain files by glob, the journal of systemd.
//!
//! One loop reads a little of every file in turn, makes a batch of it and waits until the batch is safe in the queue; how
//! far each file was read goes into the queue with the lines and, now and then, into `positions.json`. So a restart reads
//! on where the safe lines end.

mod counts;
mod cri;
mod find;
mod follow;
mod follower;
mod journal;
mod level;
mod line;
mod multiline;
mod positions;
mod rotations;
mod rules;
mod source;
mod tail;
mod watch;

pub use counts::Counts;
pub use rules::Rules;

use crate::Config;
use crate::costs::Costs;
use crate::host::Host;
use crate::pods::Pods;
use crate::queue::Queue;
use follower::{Follower, Next, With};
use journal::Journal;
use model::{Clock, LogBatch};
use parking_lot::Mutex;
use positions::Positions;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;
use tracing::warn;

/// Between two looks at files that had nothing new.
const IDLE: Duration = Duration::from_millis(500);

/// Between two looks at a file that is about to be left for its successor.
const SOON: Duration = Duration::from_millis(25);

/// Between two looks for new files, and where the kernel tells of them.
const FIND_EVERY: Duration = Duration::from_secs(2);
const FIND_EVERY_WATCHED: Duration = Duration::from_secs(30);

const SAVE_EVERY: Duration = Duration::from_secs(5);

/// Waited after the disk refused a batch; the lines are kept and tried again.
const RETRY: Duration = Duration::from_secs(1);

/// What the tail is told by the rest of the agent.
pub struct Shared {
    pub host: Arc<Host>,
    pub pods: Pods,
    pub queue: Arc<Queue>,
    pub rules: Arc<Mutex<Arc<Rules>>>,
    pub counts: Arc<Counts>,
    pub costs: Costs,
}

pub async fn tail(config: Config, shared: Shared, clock: Arc<dyn Clock>, stop: CancellationToken) {
    let Shared { host, pods, queue, rules, counts, costs } = shared;
    let path = config.data_dir.join("positions.json");
    let mut saved = Positions::load(&path, &queue);
    let mut journal = Journal::start(&host, saved.journal.clone(), stop.clone());
    let rules_now = rules.lock().clone();
    let (host_root, globs, limits) = (host.clone(), config.log_files.clone(), Arc::default());
    let with = With { host, pods, globs, rules: rules_now, limits, counts };
    let mut follower = Some(Follower::new(with, saved.files.clone()));
    let mut watch = Some(watch::Watch::new());
    let (mut found, mut written, mut told) = (None::<Instant>, Instant::now(), false);
    while !stop.is_cancelled() {
        let (Some(mut reading), Some(mut watching)) = (follower.take(), watch.take()) else { return };
        let every = if watching.is_whole { FIND_EVERY_WATCHED } else { FIND_EVERY };
        let look = told || found.is_none_or(|at| at.elapsed() > every);
        if look {
            found = Some(Instant::now());
        }
        let (now_ns, host, rules) = (clock.now_ns(), host_root.clone(), rules.lock().clone());
        let costs = costs.clone();
        // Reading waits for the disk, and splitting lines is work.
        let read = tokio::task::spawn_blocking(move || {
            let read = costs.of("logs", || {
                reading.set_rules(rules);
                if look {
                    // Watched before it is looked at: what comes in between wakes the next look.
                    watching.look(&host.root);
                    reading.find();
                }
                reading.read(now_ns)
            });
            (reading, watching, read)
        });
        let (reading, watching, (mut batch, mut changed, next)) = match read.await {
            Ok(read) => read,
            Err(wrong) => {
                warn!(error = %wrong, "reading log files ended");
                return;
            }
        };
        (follower, watch) = (Some(reading), Some(watching));
        changed.journal = journal.take_into(&mut batch);
        if batch.records() > 0 {
            saved.apply(&changed);
            match push(&config, &queue, &batch, &changed, &stop).await {
                Some(seq) => saved.seq = seq,
                None => return,
            }
        }
        if written.elapsed() > SAVE_EVERY {
            written = Instant::now();
            save(&path, &mut saved, &follower, &queue).await;
        }
        told = false;
        if next < Next::Now {
            let changed = async {
                match &watch {
                    Some(watch) => watch.changed().await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = tokio::time::sleep(if next == Next::Soon { SOON } else { IDLE }) => {}
                () = changed => told = true,
                () = journal.waiting() => {}
                () = stop.cancelled() => {}
            }
        }
    }
    save(&path, &mut saved, &follower, &queue).await;
}

/// Files that would be followed: paths below the root, and whose a container's is.
pub fn found(host: &Host, globs: &[String]) -> Vec<(String, Option<String>)> {
    let mut found = find::containers(&host.root);
    found.extend(globs.iter().flat_map(|glob| find::by_glob(&host.root, glob)));
    let whose = |container: find::Container| {
        format!("{}/{} container {}", container.namespace, container.pod, container.name)
    };
    found.into_iter().map(|file| (file.path, file.container.map(whose))).collect()
}

/// The batch's place in the queue; `None` where the agent stops before the disk takes it.
async fn push(
    config: &Config,
    queue: &Queue,
    batch: &LogBatch,
    changed: &Positions,
    stop: &CancellationToken,
) -> Option<wal::Seq> {
    let positions = serde_json::to_vec(changed).unwrap_or_default();
    loop {
        match queue.push_logs(&config.tenant, batch, &positions).await {
            Ok(seq) => return Some(seq),
            Err(wrong) => warn!(error = %wrong, "log lines cannot be queued; reading waits"),
        }
        tokio::select! {
            () = tokio::time::sleep(RETRY) => {}
            () = stop.cancelled() => return None,
        }
    }
}

/// Only here, where no line is between its file and the queue, are all positions true at once.
async fn save(path: &std::path::Path, saved: &mut Positions, follower: &Option<Follower>, queue: &Queue) {
    if let Some(follower) = follower {
        saved.files = follower.positions();
    }
    let (path, bytes) = (path.to_owned(), saved.to_bytes());
    let written = tokio::task::spawn_blocking(move || Positions::save(&bytes, &path));
    match written.await {
        Ok(Ok(())) => queue.positions_are_saved(),
        Ok(Err(wrong)) => warn!(error = %wrong, "positions in log files cannot be written down"),
        Err(wrong) => warn!(error = %wrong, "positions in log files cannot be written down"),
    }
}

#[cfg(test)]
mod tests;
